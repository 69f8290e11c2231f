//! What is counted about the configuration of a running process.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::metrics::Counter;

/// Reloads and readings of credentials since the start.
#[derive(Debug, Default)]
pub struct ReloadCounts {
    /// Configurations that took effect.
    pub reloaded: Counter,
    /// Configurations that were refused.
    pub refused: Counter,
    /// Readings of all that the configuration refers to.
    pub refreshed: Counter,
    /// Readings in which something kept its last value.
    pub refresh_failed: Counter,
    is_refused: AtomicBool,
}

impl ReloadCounts {
    /// Notes whether the configuration that was read last is another than the one that runs.
    pub fn note_refused(&self, is_refused: bool) {
        self.is_refused.store(is_refused, Ordering::Relaxed);
    }
}

/// The same at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReloadNumbers {
    /// As in [`ReloadCounts`].
    pub reloaded: u64,
    /// As in [`ReloadCounts`].
    pub refused: u64,
    /// As in [`ReloadCounts`].
    pub refreshed: u64,
    /// As in [`ReloadCounts`].
    pub refresh_failed: u64,
    /// Whether the configuration that was read last was refused.
    pub is_refused: bool,
}

impl ReloadNumbers {
    /// The counts now.
    #[must_use]
    pub fn of(counts: &ReloadCounts) -> Self {
        Self {
            reloaded: counts.reloaded.load(),
            refused: counts.refused.load(),
            refreshed: counts.refreshed.load(),
            refresh_failed: counts.refresh_failed.load(),
            is_refused: counts.is_refused.load(Ordering::Relaxed),
        }
    }
}
