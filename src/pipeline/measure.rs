//! What is counted and measured of each exporter.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::alerts::AlertCounters;
use super::changes::ChangeCounters;
use super::heartbeat::HeartbeatCounters;
use super::hook::HookCounters;
use super::threads::ThreadCounters;
use crate::event::Counts;
use crate::metrics::{Counter, Histogram};

/// Counts of one exporter, beside its fates.
#[derive(Debug, Default)]
pub struct ExporterCounters {
    /// Requests that were sent.
    pub requests: Counter,
    /// Bytes of bodies as they went over the wire.
    pub sent_bytes: Counter,
    /// Events sent again after a failure.
    pub retried: Counter,
    /// Events in requests whose end nobody can tell.
    pub ambiguous: Counter,
    /// Events that the destination had already.
    pub duplicates: Counter,
    /// Events that the destination took and put aside.
    pub degraded: Counter,
    /// Digests that were delivered.
    pub digests: Counter,
    /// Events that were delivered in digests.
    pub digested: Counter,
    /// Events that digests told of since they were too old to be sent.
    pub stale: Counter,
    /// Events rendered again and marked, since their acknowledgement did not come.
    pub resent: Counter,
    /// Events that were accepted and are confirmed later.
    pub awaited: Counter,
    /// Of these, events that were confirmed, or given up waiting for.
    pub answered: Counter,
    /// Events that were accepted, and nobody told whether they were processed.
    pub unverified: Counter,
    /// Failed requests that counted as no attempt.
    pub outages: Counter,
    /// Requests that carried counts and were taken.
    pub counts_sent: Counter,
    /// Delivered events whose counts were not taken.
    pub counts_lost: Counter,
    /// Events of an age that the destination treats in its own way, as they were rendered.
    pub untimely: Counter,
    /// Documents that were looked at (`schema.validate`).
    pub schema_checked: Counter,
    /// Those of them that lack what their schema asks for.
    pub schema_invalid: Counter,
    /// Of the documents that were looked at, those without a field that their schema cannot have.
    pub schema_left_out: Counter,
    /// Batches closed before their time, since too many were open at once.
    pub closed_early: Counter,
    /// Delivered or pending events whose guard was one too many for the counts.
    pub guards_other: Counter,
    /// Events that were given up.
    pub buried: Counter,
    /// Dead letters that were delivered after all.
    pub replayed: Counter,
    /// Those of them that this run had given up itself.
    pub redeemed: Counter,
    /// Events that were skipped or could not be opened, before the exporter was last changed.
    pub lost: Counter,
    /// Gap records that were delivered.
    pub gap_records: Counter,
    /// Gap records that the destination refused.
    pub gap_records_refused: Counter,
    /// What became of heartbeats.
    pub heartbeat: HeartbeatCounters,
    /// What became of changes that are told.
    pub changes: ChangeCounters,
    /// What a response hook did.
    pub hook: HookCounters,
    /// What became of incidents.
    pub alerts: AlertCounters,
    /// What became of conversations.
    pub threads: ThreadCounters,
}

impl ExporterCounters {
    /// Events of this run that are given up and were not delivered since, or are lost otherwise,
    /// before the exporter was last changed.
    pub(crate) fn losses(&self) -> u64 {
        // Read in this order, so that none is redeemed before it was given up.
        let redeemed = self.redeemed.load();
        self.buried.load().saturating_sub(redeemed) + self.lost.load()
    }
}

/// What one exporter did in this run: it outlives whatever a reload, a rewind or a pause makes of
/// the exporter.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deeds {
    pub(crate) counters: Arc<ExporterCounters>,
    pub(crate) measures: Arc<Measures>,
}

/// Events that are neither delivered nor kept.
pub(crate) fn lost(counts: Counts) -> u64 {
    counts.skipped + counts.invalid
}

/// Sizes, times and answers of an exporter's requests.
#[derive(Debug)]
pub(crate) struct Measures {
    pub(crate) request_seconds: Histogram,
    pub(crate) accept_seconds: Histogram,
    pub(crate) confirm_seconds: Histogram,
    pub(crate) batch_events: Histogram,
    pub(crate) batch_bytes: Histogram,
    /// By status; those that no server should send are counted as 0.
    statuses: Box<[Counter]>,
}

impl Default for Measures {
    fn default() -> Self {
        Self {
            request_seconds: Histogram::new(SECONDS),
            accept_seconds: Histogram::new(SECONDS),
            confirm_seconds: Histogram::new(SECONDS),
            batch_events: Histogram::whole(EVENTS),
            batch_bytes: Histogram::whole(BYTES),
            statuses: (0..STATUSES).map(|_| Counter::default()).collect(),
        }
    }
}

impl Measures {
    /// Counts an answer; 0 is none.
    pub(crate) fn note_status(&self, status: u16) {
        let at = usize::from(status);
        self.statuses[if at < STATUSES { at } else { 0 }].add(1);
    }

    /// The answers that came, by status.
    pub(crate) fn statuses(&self) -> Vec<(u16, u64)> {
        let counts = (0..).zip(self.statuses.iter().map(Counter::load));
        counts.filter(|&(_, count)| count > 0).collect()
    }
}

/// Since when nothing has arrived although it was tried.
#[derive(Debug)]
pub(crate) struct Trouble {
    epoch: Instant,
    /// Nanoseconds since the epoch, and one; 0 is no trouble.
    since: AtomicU64,
    is_told: AtomicBool,
}

impl Trouble {
    pub(crate) fn new(epoch: Instant) -> Self {
        Self { epoch, since: AtomicU64::new(0), is_told: AtomicBool::new(false) }
    }

    /// Notes that something did not arrive.
    pub(crate) fn begin(&self, now: Instant) {
        let at = now.saturating_duration_since(self.epoch).as_nanos();
        let at = u64::try_from(at).unwrap_or(u64::MAX - 1) + 1;
        // Only the first counts; the others leave it.
        let _ = self.since.compare_exchange(0, at, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Notes that something arrived.
    pub(crate) fn end(&self) {
        if self.since.load(Ordering::Relaxed) != 0 {
            self.since.store(0, Ordering::Release);
        }
    }

    /// How long it has lasted.
    pub(crate) fn since(&self, now: Instant) -> Option<Duration> {
        match self.since.load(Ordering::Acquire) {
            0 => None,
            at => {
                let since = self.epoch + Duration::from_nanos(at - 1);
                Some(now.saturating_duration_since(since))
            }
        }
    }

    /// What has to be told: it lasts longer than `after`, or that is over. Each is told once.
    pub(crate) fn news(&self, after: Duration, now: Instant) -> Option<News> {
        let lasting = self.since(now).filter(|lasting| *lasting >= after);
        match (lasting, self.is_told.load(Ordering::Relaxed)) {
            (Some(lasting), false) => {
                self.is_told.store(true, Ordering::Relaxed);
                Some(News::Failing(lasting))
            }
            (None, true) if self.since.load(Ordering::Acquire) == 0 => {
                self.is_told.store(false, Ordering::Relaxed);
                Some(News::Over)
            }
            _ => None,
        }
    }
}

/// A change that an operator should know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Nothing arrives, for so long.
    Failing(Duration),
    /// Something arrived again.
    Over,
}

/// From a loopback answer to the longest request timeout.
const SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];
const EVENTS: &[f64] = &[1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10_000.0];
/// From one event to the largest body that a destination takes.
const BYTES: &[f64] = &[1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6, 3e6, 1e7, 1e8];
/// HTTP has no status above 599.
const STATUSES: usize = 600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_told_once_it_lasts_and_once_it_is_over() {
        let epoch = Instant::now();
        let trouble = Trouble::new(epoch);
        let (after, second) = (Duration::from_secs(300), Duration::from_secs(1));
        assert_eq!(trouble.news(after, epoch), None);
        trouble.begin(epoch + second);
        trouble.begin(epoch + 100 * second);
        assert_eq!(trouble.news(after, epoch + 300 * second), None);
        let told = trouble.news(after, epoch + 302 * second);
        assert_eq!(told, Some(News::Failing(301 * second)), "since the first failure");
        assert_eq!(trouble.news(after, epoch + 400 * second), None);
        trouble.end();
        assert_eq!(trouble.news(after, epoch + 401 * second), Some(News::Over));
        assert_eq!(trouble.news(after, epoch + 402 * second), None);
        assert_eq!(trouble.since(epoch + 403 * second), None);
    }
}
