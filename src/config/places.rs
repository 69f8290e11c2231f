//! Where things lie: what commands need that look at them, and send nothing.

use std::path::{Path, PathBuf};

use super::expand::Lookup;
use super::flags::Flags;
use super::{Config, Error, Mistake, Text, Wrong};
use crate::deliver::Vendor;
use crate::pipeline::ReceiptOptions;

/// Where a configuration keeps what outlives the process.
///
/// Secrets are not among it, so that whoever looks at what is kept needs none of them.
#[derive(Clone, Debug)]
pub struct Places {
    /// Directory for everything that outlives the process.
    pub state_dir: PathBuf,
    /// Directory of the event log.
    pub log_dir: PathBuf,
    /// Where receipts are kept, if anywhere.
    pub receipts: Option<ReceiptOptions>,
    /// Directory for lines and records that are no events.
    pub quarantine_dir: PathBuf,
    /// The dead letters of each exporter that is switched on, sorted by name.
    pub letters: Vec<Letters>,
    /// Those of these exporters that are response hooks.
    pub hooks: Vec<String>,
}

/// Where the dead letters of an exporter lie.
#[derive(Clone, Debug)]
pub struct Letters {
    /// The exporter's name.
    pub exporter: String,
    /// Their directory.
    pub dir: PathBuf,
}

impl Places {
    /// Reads a text and flags as far as they say where things lie: what else is wrong, or refers to
    /// what is not there, is passed over. No Vault is asked, unless a place depends on it.
    ///
    /// # Errors
    /// What is wrong with the places.
    pub fn read(
        text: &Text,
        flags: &Flags,
        vendors: &[&'static Vendor],
        lookup: &dyn Lookup,
    ) -> Result<Self, Error> {
        let resolve = |lookup: &dyn Lookup| {
            let (config, mut mistakes) = Config::resolve(text, flags, vendors, lookup)?;
            mistakes.retain(is_of_place);
            match mistakes.is_empty() {
                true => Ok(Self::of(&config)),
                false => Err(mistakes.into_error()),
            }
        };
        resolve(&Near(lookup)).or_else(|_| resolve(lookup))
    }

    fn of(config: &Config) -> Self {
        let letters = |it: &super::Exporter| Letters {
            exporter: it.settings.name.clone(),
            dir: it.settings.dead_letters.dir.clone(),
        };
        let hooks = config.exporters.iter().filter(|it| it.hook.is_some());
        Self {
            state_dir: config.global.state_dir.clone(),
            log_dir: config.log.dir.clone(),
            receipts: config.receipts.clone(),
            quarantine_dir: config.pipeline.quarantine_dir.clone(),
            letters: config.exporters.iter().map(letters).collect(),
            hooks: hooks.map(|it| it.settings.name.clone()).collect(),
        }
    }
}

/// Environment and files without any Vault.
struct Near<'a>(&'a dyn Lookup);

impl Lookup for Near<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        self.0.variable(name)
    }

    fn file(&self, path: &Path) -> std::io::Result<String> {
        self.0.file(path)
    }

    fn hostname(&self) -> String {
        self.0.hostname()
    }
}

/// Whether a mistake leaves unknown where something lies.
fn is_of_place(mistake: &Mistake) -> bool {
    let path = mistake.path.as_str();
    if matches!(mistake.wrong, Wrong::Unknown { .. }) && !path.contains('.') {
        // A section that is misspelled may be any.
        return true;
    }
    let concerns = |path: &str, place: &str| lies_in(path, place) || lies_in(place, path);
    match path.strip_prefix("exporters").map(|rest| rest.splitn(3, '.').nth(2)) {
        None => OF_ALL.iter().any(|place| concerns(path, place)),
        Some(None) => true,
        Some(Some(key)) => OF_EXPORTER.iter().any(|place| concerns(key, place)),
    }
}

/// Whether a dotted path is another or lies below it.
fn lies_in(path: &str, other: &str) -> bool {
    let rest = path.strip_prefix(other);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || other.is_empty())
}

/// The keys that say where things lie, and sections of such.
const OF_ALL: &[&str] = &["audit", "global.state_dir", "log", "pipeline.quarantine"];
/// The same of an exporter; without its type nothing is known of it.
const OF_EXPORTER: &[&str] = &["dlq", "type"];
