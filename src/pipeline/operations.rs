//! What people and the process itself did to a running engine, for the chain of receipts.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::anchors::go_on;
use super::receipts::ReceiptOptions;
use super::{Engine, EngineError};
use crate::event::Anchor;
use crate::log::{Cursors, Disk};

/// Something that was done: a start, a rewind, a reload, a replay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operation {
    /// What, in a word: `start`, `rewind`, `replay`.
    pub action: &'static str,
    /// To which exporter; empty for all.
    pub exporter: String,
    /// Who: a user, a signal, or `shrike` itself.
    pub actor: String,
    /// What else there is to say, scrubbed.
    pub detail: String,
}

impl Operation {
    /// Something that the process did by itself.
    #[must_use]
    pub fn by_itself(action: &'static str, exporter: &str, detail: String) -> Self {
        Self { action, exporter: exporter.to_owned(), actor: SHRIKE.to_owned(), detail }
    }
}

/// What was done and has no line yet.
#[derive(Debug, Default)]
pub(crate) struct Operations(Mutex<VecDeque<Operation>>);

impl Operations {
    /// Notes something; the keeper writes it within a moment.
    pub(crate) fn note(&self, operation: Operation) {
        let mut waiting = self.lock();
        if waiting.len() >= WAITING_MAX {
            let Operation { action, exporter, actor, detail } = operation;
            tracing::error!(
                action,
                exporter,
                actor,
                detail,
                "too much was done to be written down"
            );
            return;
        }
        waiting.push_back(operation);
    }

    /// What was noted since the last call.
    pub(crate) fn take(&self) -> VecDeque<Operation> {
        std::mem::take(&mut *self.lock())
    }

    /// Changed by single calls, so that a panic elsewhere leaves it whole.
    fn lock(&self) -> MutexGuard<'_, VecDeque<Operation>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Writes into the chain of receipts what was done.
    pub fn note(&self, operation: Operation) {
        self.shared.operations.note(operation);
    }
}

/// Writes what was done while no engine runs; the caller holds the cursors' lease. Returns where
/// the chain ends, to be anchored.
///
/// # Errors
/// When the chain cannot be written.
pub fn note_operation(
    options: ReceiptOptions,
    operation: &Operation,
    cursors: &Cursors,
) -> Result<Anchor, EngineError> {
    let path = options.path.clone();
    let mut receipts = go_on(options, Arc::new(Disk), cursors)?;
    receipts.note(operation);
    receipts.flush().map_err(|source| EngineError::Receipts { path, source })?;
    Ok(receipts.head())
}

/// The actor of what nobody asked for.
const SHRIKE: &str = "shrike";
/// The keeper takes them ten times a second; more than so many is a script gone wrong.
const WAITING_MAX: usize = 1000;
