//! Passes of an exporter whose checkpoint is gone.

use std::path::Path;

use super::dead_letters::LetterStore;
use super::receipts::{Period, read_receipts};
use super::{EngineError, ExporterSpec};

/// The first pass that neither a dead letter nor a receipt of an exporter speaks of.
///
/// Whoever began a pass again that was there before would take its letters, and what was replayed
/// of them, for its own, and count events that it never had.
pub(super) fn first_unused(
    spec: &ExporterSpec,
    receipts: Option<&Path>,
) -> Result<u32, EngineError> {
    let mut last = LetterStore::last_pass(&spec.settings.dead_letters.dir)?;
    if let Some(path) = receipts {
        let refuse = |source| EngineError::Receipts { path: path.to_path_buf(), source };
        let name = &spec.settings.name;
        let (_head, _flaws) = read_receipts(path, Period::ALWAYS, |receipt, _| {
            // Operations are of no pass.
            if receipt.exporter == *name && receipt.action.is_empty() {
                last = last.max(Some(receipt.pass));
            }
        })
        .map_err(refuse)?;
    }
    Ok(last.map_or(0, |last| last + 1))
}
