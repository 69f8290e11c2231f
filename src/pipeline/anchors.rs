//! Receipts held against what the checkpoints know of them.
//!
//! Each checkpoint knows the line that was the last when it was saved, and that line was on disk
//! before. Whoever goes on with the chain is anchored anew, so that what is not there must be
//! written down first: else nobody could tell it afterwards.

use std::path::Path;
use std::sync::Arc;

use super::engine::EngineError;
use super::receipts::{Period, ReceiptOptions, Receipts, read_receipts};
use crate::event::{Anchor, Checkpoint};
use crate::log::{Cursors, LogIo};

/// Opens the receipts that go on after those which the checkpoints know.
///
/// # Errors
/// When the files cannot be read or written.
pub(super) fn go_on(
    options: ReceiptOptions,
    io: Arc<dyn LogIo>,
    cursors: &Cursors,
) -> Result<Receipts, EngineError> {
    let path = options.path.clone();
    let refuse = |source| EngineError::Receipts { path: path.clone(), source };
    let mut receipts = Receipts::open(options, io).map_err(refuse)?;
    let noted = cursors.receipts();
    match noted.as_ref().filter(|noted| **noted != path) {
        Some(elsewhere) => come_from(elsewhere, &mut receipts, cursors)?,
        None => hold_against(&mut receipts, noted.is_some(), cursors)?,
    }
    if let Err(problem) = cursors.note_receipts(&path) {
        tracing::warn!(%problem, "not noted where the receipts are");
    }
    Ok(receipts)
}

/// Writes down what the checkpoints know of these receipts and is not there.
fn hold_against(
    receipts: &mut Receipts,
    are_noted: bool,
    cursors: &Cursors,
) -> Result<(), EngineError> {
    let path = receipts.path().to_path_buf();
    let refuse = |source| EngineError::Receipts { path: path.clone(), source };
    let (head, saved) = (receipts.last_of_before(), saved(cursors)?);
    let mut known: Vec<Anchor> = saved.iter().map(|(_, it)| it.anchor).collect();
    known.sort_unstable_by_key(|anchor| anchor.line);
    known.dedup();
    let mut missing = known.split_off(known.partition_point(|anchor| anchor.line <= head));
    // The lines before the newest that is there hang on that one.
    let newest = known.pop().filter(|anchor| anchor.line > 0);
    if let Some(newest) = newest
        && !receipts.has(newest).map_err(refuse)?
    {
        missing.push(newest);
    }
    if missing.is_empty() {
        return Ok(());
    }
    for &anchor in &missing {
        let (known, place) = (anchor.line, path.display());
        if head == 0 && !are_noted {
            let problem = "they begin anew; `audit.path` was another, or the file is gone";
            tracing::warn!(known, %place, problem, "receipts are not here");
            let detail = format!("they begin anew: a checkpoint knows receipt {known} of others");
            receipts.come_after(anchor, detail);
        } else {
            tracing::error!(known, found = head, %place, "receipts are missing");
            receipts.miss(anchor);
        }
    }
    // Told once: these checkpoints know the new end from now on.
    receipts.flush().map_err(refuse)?;
    for (name, checkpoint) in saved.into_iter().filter(|(_, it)| missing.contains(&it.anchor)) {
        cursors.save(&name, &Checkpoint { anchor: receipts.head(), ..checkpoint })?;
    }
    Ok(())
}

/// Notes what checkpoints know of receipts at another place: nobody may look for it in these.
fn come_from(noted: &Path, receipts: &mut Receipts, cursors: &Cursors) -> Result<(), EngineError> {
    let path = receipts.path().to_path_buf();
    let refuse = |source| EngineError::Receipts { path: path.clone(), source };
    let saved = saved(cursors)?;
    // The same receipts, where only the directory has another name.
    let mut here: Vec<Anchor> = vec![Anchor::default()];
    read_receipts(&path, Period::ALWAYS, |_, anchor| {
        here.extend(saved.iter().any(|(_, it)| it.anchor == *anchor).then_some(*anchor));
    })
    .map_err(refuse)?;
    let mut others: Vec<Anchor> = Vec::new();
    for (name, checkpoint) in saved.into_iter().filter(|(_, it)| !here.contains(&it.anchor)) {
        let anchor = checkpoint.anchor;
        if !others.contains(&anchor) {
            let (line, noted) = (anchor.line, noted.display());
            let problem = "they begin anew or go on here; `audit.path` was another";
            tracing::warn!(exporter = name, known = line, %noted, problem, "receipts are elsewhere");
            let detail = format!("they begin anew or go on here, after receipt {line} of {noted}");
            receipts.come_after(anchor, detail);
            receipts.flush().map_err(refuse)?;
            others.push(anchor);
        }
        cursors.save(&name, &Checkpoint { anchor: Anchor::default(), ..checkpoint })?;
    }
    Ok(())
}

/// The checkpoints that can be read: one that is damaged knows nothing.
fn saved(cursors: &Cursors) -> Result<Vec<(String, Checkpoint)>, EngineError> {
    let load = |name: String| cursors.load(&name).ok().flatten().map(|it| (name, it));
    Ok(cursors.names()?.into_iter().filter_map(load).collect())
}
