//! `shrike check`.

use std::io::{self, Write as _};

use shrike::config::{Flag, Host};
use shrike::pipeline::Render;

use super::args::Shared;
use super::{Exit, Failure, configured, settings};

/// Reads the configuration and says what it found.
pub(crate) fn check(shared: &Shared, to: &[String]) -> Result<Exit, Failure> {
    let config = settings::load(shared, to.iter().cloned().map(Flag::To).collect())?;
    let host = Host::look();
    for exporter in &config.exporters {
        Render::new(&config.exporter_spec(exporter, &host)).map_err(configured)?;
    }
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
