//! Where the values of references come from in a process that reads them again and again.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tracing::warn;
use zeroize::Zeroizing;

use super::{Lookup, System};
use crate::deliver::{Vault, VaultError, VaultFields, VaultSettings};

/// Environment, files and Vaults, with the last value of all that was read.
///
/// Each reading of a configuration is a round. Within a round a secret is asked for once. Files and
/// Vaults that a round did not ask are forgotten at its end, sessions and values included.
#[derive(Debug, Default)]
pub struct Sources {
    files: RefCell<BTreeMap<PathBuf, File>>,
    vaults: RefCell<Vec<Known>>,
    keep: Cell<Keep>,
    round: Cell<u64>,
    /// What kept its last value, since the start.
    kept: Cell<u64>,
}

/// What becomes of a source that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// It is a mistake; a Vault that is away keeps its last values all the same.
    #[default]
    Nothing,
    /// It has its last value.
    Last,
}

/// A file and what it said.
#[derive(Debug)]
struct File {
    /// Its last content; none where it could not be read yet.
    text: Option<Zeroizing<String>>,
    /// As it was before it was read: what is written meanwhile shows at the next look.
    stamp: Option<Stamp>,
    round: u64,
}

/// What tells one content of a file from another: a link that points elsewhere shows as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(u64, u64, i64, i64, u64);

impl Stamp {
    /// How a file is now; none where there is none.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let found = std::fs::metadata(path).ok()?;
        Some(Self(found.dev(), found.ino(), found.mtime(), found.mtime_nsec(), found.len()))
    }
}

/// A Vault and what it said.
#[derive(Debug)]
struct Known {
    vault: Vault,
    secrets: BTreeMap<String, (u64, VaultFields)>,
    round: u64,
}

impl Sources {
    /// Begins a round.
    pub fn begin(&self, keep: Keep) {
        self.keep.set(keep);
        self.round.set(self.round.get() + 1);
    }

    /// Ends a round whose configuration runs: what it did not ask for is forgotten.
    pub fn end(&self) {
        let round = self.round.get();
        self.vaults.borrow_mut().retain(|known| known.round == round);
        self.files.borrow_mut().retain(|_, file| file.round == round);
    }

    /// Whether a file is another than when it was read or looked at last, or is there now.
    #[must_use]
    pub fn have_changed(&self) -> bool {
        let mut files = self.files.borrow_mut();
        let look = |(path, file): (&PathBuf, &mut File)| {
            let now = Stamp::of(path);
            std::mem::replace(&mut file.stamp, now) != now
        };
        // All of them, so that each change is told once.
        files.iter_mut().map(look).fold(false, |any, one| any | one)
    }

    /// How often something could not be read and kept its last value.
    #[must_use]
    pub fn kept(&self) -> u64 {
        self.kept.get()
    }

    /// Renews the tokens of Vaults whose time has come; what fails logs in again when it is asked.
    pub fn renew(&self, now: Instant) {
        for known in self.vaults.borrow_mut().iter_mut() {
            if let Err(problem) = known.vault.renew(now) {
                warn!(%problem, "token not renewed; the next reading logs in again");
            }
        }
    }

    fn keeps(&self) -> bool {
        self.keep.get() == Keep::Last
    }
}

impl Lookup for Sources {
    fn variable(&self, name: &str) -> Option<String> {
        System.variable(name)
    }

    fn file(&self, path: &Path) -> std::io::Result<String> {
        let mut files = self.files.borrow_mut();
        let (stamp, round) = (Stamp::of(path), self.round.get());
        let read = System.file(path);
        let file = files.entry(path.to_owned()).or_insert(File { text: None, stamp, round });
        (file.stamp, file.round) = (stamp, round);
        match read {
            Ok(text) => {
                file.text = Some(Zeroizing::new(text.clone()));
                Ok(text)
            }
            Err(problem) => match file.text.as_ref().filter(|_| self.keeps()) {
                Some(text) => {
                    let file = path.display();
                    warn!(%file, %problem, "not read again; its last content stays");
                    self.kept.set(self.kept.get() + 1);
                    Ok(text.to_string())
                }
                None => Err(problem),
            },
        }
    }

    fn hostname(&self) -> String {
        System.hostname()
    }

    fn vault(&self, settings: &VaultSettings, path: &str) -> Result<VaultFields, VaultError> {
        let round = self.round.get();
        let mut vaults = self.vaults.borrow_mut();
        let at = match vaults.iter().position(|known| known.vault.settings() == settings) {
            Some(at) => at,
            None => {
                let vault = Vault::open(settings)?;
                vaults.push(Known { vault, secrets: BTreeMap::new(), round });
                vaults.len() - 1
            }
        };
        let known = &mut vaults[at];
        known.round = round;
        if let Some((read, fields)) = known.secrets.get(path)
            && *read == round
        {
            return Ok(fields.clone());
        }
        match known.vault.read(path) {
            Ok(fields) => {
                known.secrets.insert(path.to_owned(), (round, fields.clone()));
                Ok(fields)
            }
            Err(problem) => match known.secrets.get_mut(path) {
                Some((read, fields)) if self.keeps() || problem.is_outage() => {
                    warn!(%problem, "not read again; its last values stay");
                    self.kept.set(self.kept.get() + 1);
                    // Asked once a round, also when it does not answer.
                    *read = round;
                    Ok(fields.clone())
                }
                _ => Err(problem),
            },
        }
    }
}
