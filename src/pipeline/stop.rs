//! How far the engine is to go on.

use std::sync::atomic::{AtomicU8, Ordering};

/// What lanes are asked to do; it only ever goes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Stage {
    /// Read and send.
    Run,
    /// The log grows no more: send everything up to its head without lingering, then end.
    Drain,
    /// Read nothing more: send what is rendered, wait for its end, then end.
    Flush,
    /// End at once; what is not settled is still in the log.
    Abort,
}

/// The stage, shared by every lane.
#[derive(Debug, Default)]
pub(crate) struct Stop(AtomicU8);

impl Stop {
    /// Goes on to a later stage.
    pub(crate) fn raise(&self, stage: Stage) {
        self.0.fetch_max(stage as u8, Ordering::AcqRel);
    }

    /// The stage now.
    pub(crate) fn stage(&self) -> Stage {
        match self.0.load(Ordering::Acquire) {
            0 => Stage::Run,
            1 => Stage::Drain,
            2 => Stage::Flush,
            _ => Stage::Abort,
        }
    }
}
