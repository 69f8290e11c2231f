//! Where the values of references come from in a process that reads them again and again.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tracing::warn;
use zeroize::Zeroizing;

use super::{Lookup, System};
use crate::deliver::{Vault, VaultError, VaultFields, VaultSettings};

/// Environment, files and Vaults, with the last value of all that was read.
///
/// Each reading of a configuration is a round. Within a round a secret is asked for once. Vaults
/// that a round does not ask are forgotten, sessions and values included.
#[derive(Debug, Default)]
pub struct Sources {
    files: RefCell<BTreeMap<PathBuf, Zeroizing<String>>>,
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

    /// Ends a round: what it did not ask for is forgotten.
    pub fn end(&self) {
        let round = self.round.get();
        self.vaults.borrow_mut().retain(|known| known.round == round);
    }

    /// Every file that was read.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        self.files.borrow().keys().cloned().collect()
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
        match System.file(path) {
            Ok(text) => {
                files.insert(path.to_owned(), Zeroizing::new(text.clone()));
                Ok(text)
            }
            Err(problem) => match files.get(path).filter(|_| self.keeps()) {
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
