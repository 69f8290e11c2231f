//! How threat intelligence is.

use serde::{Deserialize, Serialize};

use crate::intel::{Intel, SignKind};

/// How threat intelligence is, where it is switched on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct IntelStatus {
    /// Indicators that are known, by what they are of.
    pub indicators: Vec<(String, u64)>,
    /// Values that guards asked for, and those of them that matched.
    pub lookups: u64,
    /// As [`IntelStatus::lookups`].
    pub hits: u64,
    /// Values of events that were looked up.
    pub looked_up: u64,
    /// Events that something matched, each as often as it was opened.
    pub marked: u64,
    /// The feeds.
    pub feeds: Vec<FeedStatus>,
}

/// How a feed is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FeedStatus {
    /// Its name.
    pub name: String,
    /// Indicators of it that are used.
    pub indicators: u64,
    /// Polls that did not fail.
    pub polled: u64,
    /// Polls that failed.
    pub failed: u64,
    /// When the last poll succeeded, seconds since 1970; 0 is never.
    pub last_success: u64,
    /// Whether three intervals passed without one.
    pub stale: bool,
    /// Why the last poll failed, or did not read all there is.
    pub problem: Option<String>,
}

impl IntelStatus {
    /// How it is now.
    #[must_use]
    pub fn of(intel: &Intel) -> Self {
        let (snapshot, counts) = (intel.read(), intel.counts());
        let sources = intel.sources();
        let feeds = sources.iter().map(|source| FeedStatus {
            name: source.name.to_string(),
            indicators: source.indicators.load(),
            polled: source.polled.load() + source.cut.load(),
            failed: source.failed.load(),
            last_success: source.last_success.load(),
            stale: source.stale.load() > 0,
            problem: source.problem(),
        });
        let indicators = SignKind::ALL.map(|kind| (kind.word().to_owned(), snapshot.size(kind)));
        Self {
            indicators: indicators.to_vec(),
            lookups: counts.lookups.load(),
            hits: counts.hits.load(),
            looked_up: counts.looked_up.load(),
            marked: counts.marked.load(),
            feeds: feeds.collect(),
        }
    }
}
