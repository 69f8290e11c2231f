//! What is known now, and what is counted of it.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};

use super::cache::{OUTDATED, OVER, UNSURE};
use super::lookup::Refused;
use super::pattern::{SignKind, Unsupported};
use super::snapshot::{Match, Snapshot};
use super::stix::Skip;
use crate::event::Time;
use crate::metrics::{Counter, Gauge, Histogram, Spread};

/// What is known now: asked by any thread without a lock, swapped whole.
#[derive(Debug)]
pub struct Intel {
    snapshot: ArcSwap<Snapshot>,
    sources: ArcSwap<Vec<Arc<Source>>>,
    counts: IntelCounts,
}

/// What is counted of all feeds together.
#[derive(Debug)]
pub struct IntelCounts {
    /// Values that guards asked for.
    pub lookups: Counter,
    /// Those of them that matched.
    pub hits: Counter,
    /// Values of events that were looked up.
    pub looked_up: Spread,
    /// Events that something matched, each as often as it was opened.
    pub marked: Counter,
    /// Indicators dropped from a full cache because they were over.
    pub evicted_expired: Counter,
    /// Indicators dropped from a full cache that still held.
    pub evicted_full: Counter,
    /// By position in [`SKIP_REASONS`].
    skipped: [Counter; SKIP_REASONS.len()],
}

/// One feed, as it is counted.
#[derive(Debug)]
pub struct Source {
    /// Its name.
    pub name: Arc<str>,
    /// Polls that read all there was.
    pub polled: Counter,
    /// Polls that ended before the feed did.
    pub cut: Counter,
    /// Polls that failed.
    pub failed: Counter,
    /// How long polls took.
    pub poll_seconds: Histogram,
    /// When the last poll succeeded, seconds since 1970; 0 is never.
    pub last_success: Gauge,
    /// 1 when three intervals passed without a poll that succeeded.
    pub stale: Gauge,
    /// Indicators that it gave and that are kept.
    pub indicators: Gauge,
    /// Pages whose `more` and `next` contradict each other.
    pub paging_anomalies: Counter,
    /// Why its last poll failed, or did not read all there is.
    problem: Mutex<Option<String>>,
}

/// What is known, held on to for a question or some.
pub struct Reading(Guard<Arc<Snapshot>>);

impl Deref for Reading {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.0
    }
}

impl Default for Intel {
    fn default() -> Self {
        Self {
            snapshot: ArcSwap::default(),
            sources: ArcSwap::default(),
            counts: IntelCounts {
                lookups: Counter::default(),
                hits: Counter::default(),
                looked_up: Spread::default(),
                marked: Counter::default(),
                evicted_expired: Counter::default(),
                evicted_full: Counter::default(),
                skipped: std::array::from_fn(|_| Counter::default()),
            },
        }
    }
}

impl Intel {
    /// What is known now. It is kept in memory while it is held: not for long.
    #[must_use]
    pub fn read(&self) -> Reading {
        Reading(self.snapshot.load())
    }

    /// What a snapshot knows of a value, the surest first; counted.
    pub fn check<'a>(
        &self,
        reading: &'a Reading,
        kind: SignKind,
        value: &str,
        now: Time,
    ) -> Vec<&'a Match> {
        let found = reading.check(kind, value, now);
        self.counts.lookups.add(1);
        if !found.is_empty() {
            self.counts.hits.add(1);
        }
        found
    }

    /// Whether a feed has not been read for so long that what it would tell now is missing.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.sources.load().iter().any(|source| source.stale.load() > 0)
    }

    /// Has questions from now on answered from this.
    pub fn swap(&self, snapshot: Snapshot) {
        self.snapshot.store(Arc::new(snapshot));
    }

    /// What is counted of all feeds together.
    #[must_use]
    pub fn counts(&self) -> &IntelCounts {
        &self.counts
    }

    /// The feeds, in the order of the configuration.
    #[must_use]
    pub fn sources(&self) -> Arc<Vec<Arc<Source>>> {
        self.sources.load_full()
    }

    /// Has these feeds from now on; what is counted of one that stays goes on.
    pub fn set_sources(&self, names: &[Arc<str>]) -> Arc<Vec<Arc<Source>>> {
        let known = self.sources.load();
        let sources = names.iter().map(|name| {
            let known = known.iter().find(|it| it.name == *name);
            known.map_or_else(|| Arc::new(Source::new(Arc::clone(name))), Arc::clone)
        });
        let sources = Arc::new(sources.collect::<Vec<_>>());
        self.sources.store(Arc::clone(&sources));
        sources
    }
}

impl IntelCounts {
    /// Counts objects, values or pages of a feed that were not used, by one of [`SKIP_REASONS`].
    pub fn skip(&self, reason: &str, count: u64) {
        let at = SKIP_REASONS.iter().position(|it| *it == reason);
        debug_assert!(at.is_some(), "no such reason: {reason}");
        if let Some(at) = at {
            self.skipped[at].add(count);
        }
    }

    /// How many were not used, by reason.
    pub fn skipped(&self) -> impl Iterator<Item = (&'static str, u64)> {
        SKIP_REASONS.iter().zip(&self.skipped).map(|(reason, count)| (*reason, count.load()))
    }
}

impl Source {
    fn new(name: Arc<str>) -> Self {
        Self {
            name,
            polled: Counter::default(),
            cut: Counter::default(),
            failed: Counter::default(),
            poll_seconds: Histogram::new(POLL_SECONDS),
            last_success: Gauge::default(),
            stale: Gauge::default(),
            indicators: Gauge::default(),
            paging_anomalies: Counter::default(),
            problem: Mutex::default(),
        }
    }

    /// Why its last poll failed, or did not read all there is; none otherwise.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says why its last poll failed.
    pub fn set_problem(&self, problem: Option<String>) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}

/// Why something that a feed sent is not used.
pub const SKIP_REASONS: &[&str] = &[
    Skip::Kind.word(),
    Skip::Malformed.word(),
    Skip::PatternType.word(),
    Skip::Relationship.word(),
    Skip::Marking.word(),
    Unsupported::Together.word(),
    Unsupported::Negated.word(),
    Unsupported::Comparison.word(),
    Unsupported::Property.word(),
    Unsupported::Malformed.word(),
    Unsupported::TooLong.word(),
    Refused::Malformed.word(),
    Refused::PublicSuffix.word(),
    Refused::EveryAddress.word(),
    UNSURE,
    OVER,
    OUTDATED,
];

/// Bounds of the time that a poll takes, seconds: one page to a feed of a thousand.
const POLL_SECONDS: &[f64] = &[0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_of_a_feed_that_stays_goes_on() {
        let intel = Intel::default();
        let sources = intel.set_sources(&["a".into(), "b".into()]);
        sources[1].polled.add(3);
        sources[1].set_problem(Some("away".to_owned()));
        let sources = intel.set_sources(&["b".into(), "c".into()]);
        assert_eq!((sources[0].polled.load(), sources[1].polled.load()), (3, 0));
        assert_eq!(intel.sources()[0].problem().as_deref(), Some("away"));
    }

    #[test]
    fn every_reason_is_counted_by_its_name() {
        let counts = Intel::default().counts;
        for reason in SKIP_REASONS {
            counts.skip(reason, 2);
        }
        assert!(counts.skipped().all(|(_, count)| count == 2));
        let names: std::collections::HashSet<_> = SKIP_REASONS.iter().collect();
        assert_eq!(names.len(), SKIP_REASONS.len());
    }

    #[test]
    fn a_question_is_answered_from_what_was_swapped_in() {
        let intel = Intel::default();
        let now = Time { secs: 0, nanos: 0 };
        let before = intel.read();
        let listed = super::super::Listed {
            sign: super::super::Sign { kind: SignKind::Domain, value: "a.example".into() },
            source: "x".into(),
            confidence: 50,
            is_benign: false,
            until: Time { secs: 9, nanos: 0 },
            about: Arc::default(),
        };
        intel.swap(Snapshot::new([listed], &super::super::Rules::default()));
        assert!(intel.check(&before, SignKind::Domain, "a.example", now).is_empty());
        assert_eq!(intel.check(&intel.read(), SignKind::Domain, "a.example", now).len(), 1);
        assert_eq!((intel.counts().lookups.load(), intel.counts().hits.load()), (2, 1));
    }
}
