//! Passes of an exporter whose checkpoint is gone.

use std::path::Path;

use super::EngineError;
use super::dead_letters::LetterStore;
use super::receipts::{Period, read_receipts};
use crate::event::Checkpoint;

/// What is known of an exporter whose checkpoint is gone.
#[derive(Clone, Copy, Debug)]
pub struct Traces<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where its dead letters lie.
    pub letters: &'a Path,
    /// The file of receipts, if any are written.
    pub receipts: Option<&'a Path>,
}

impl Traces<'_> {
    /// The checkpoint that a new pass comes after: of the last pass that anybody speaks of.
    ///
    /// # Errors
    /// When dead letters or receipts cannot be read.
    pub fn last(self) -> Result<Checkpoint, EngineError> {
        let first = self.first_unused()?;
        // The lost checkpoint was of the first pass at least.
        Ok(Checkpoint { pass: first.pass.saturating_sub(1), ..first })
    }

    /// The first pass that neither a dead letter nor a receipt speaks of, from nothing on.
    ///
    /// Whoever began a pass again that was there before would take its letters, and what was
    /// replayed of them, for its own, and count events that it never had.
    pub(super) fn first_unused(self) -> Result<Checkpoint, EngineError> {
        let (mut last, removals) = LetterStore::last(self.letters)?;
        if let Some(path) = self.receipts {
            let refuse = |source| EngineError::Receipts { path: path.to_path_buf(), source };
            let (_head, _flaws) = read_receipts(path, Period::ALWAYS, |receipt, _| {
                // Operations are of no pass.
                if receipt.exporter == self.name && receipt.action.is_empty() {
                    last = last.max(Some(receipt.pass));
                }
            })
            .map_err(refuse)?;
        }
        let pass = last.map_or(0, |last| last + 1);
        Ok(Checkpoint { pass, removals, ..Checkpoint::default() })
    }
}
