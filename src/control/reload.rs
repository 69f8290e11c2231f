//! What is counted about the configuration of a running process.

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
        }
    }
}
