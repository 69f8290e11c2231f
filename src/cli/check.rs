//! `shrike check`.

use std::io::{self, Write as _};

use super::args::Shared;
use super::{Exit, Failure, settings};

/// Reads the configuration and says what it found.
pub(crate) fn check(shared: &Shared) -> Result<Exit, Failure> {
    let config = settings::load(shared, Vec::new())?;
    let mut out = io::stdout().lock();
    let mut print = |line: String| writeln!(out, "{line}").map_err(Failure::io("standard output"));
    for note in &config.notes {
        print(format!("note: {note}"))?;
    }
    for exporter in &config.exporters {
        let settings = &exporter.settings;
        print(format!(
            "exporter {}: {}, format {}",
            settings.name,
            settings.vendor.name,
            settings.format.word()
        ))?;
    }
    for name in &config.disabled {
        print(format!("exporter {name}: disabled"))?;
    }
    print(format!("{}: no mistakes", config.origin))?;
    Ok(Exit::Done)
}
