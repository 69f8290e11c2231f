//! Digests: one document that stands for many events of a route, and when there is cause for one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::batch::{Batch, Item};
use super::options::{Kind, Opt, opt};
use super::sender::{Entry, Sender, State};
use crate::event::{Settle, Severity};

/// The event that one document was rendered from in place of many; to render it again.
#[derive(Debug)]
pub struct Fold {
    /// The event, as a record.
    pub record: String,
    /// What becomes of the many once the document has arrived.
    pub fate: Settle,
}

/// How long events wait for the rate of their route, before they become a digest.
pub const FLOOD: Opt = opt(
    FLOOD_KEY,
    Kind::Span(0, 3_600_000),
    Some("5000"),
    "Events that would wait longer for `rate_limit` are told of in one message, a digest, but for critical ones.",
);

/// The key of [`FLOOD`].
pub const FLOOD_KEY: &str = "flood.max_wait_ms";

/// How long ago events may have been received that people are told of one by one.
pub const MAX_AGE: Opt = opt(
    MAX_AGE_KEY,
    Kind::SpanOrNone(1_000),
    Some("1h"),
    "Events that were received longer ago are not sent: one message tells of all of them, and they count as filtered.",
);

/// The key of [`MAX_AGE`].
pub const MAX_AGE_KEY: &str = "max_age";

impl Batch {
    /// Lets its one document stand for all these events.
    ///
    /// # Panics
    /// When it does not hold exactly one document.
    pub fn fold(&mut self, fold: Arc<Fold>, mut events: Vec<Item>) {
        assert!(self.items.len() == 1, "a digest is one document");
        assert!(!events.is_empty(), "a digest is of events");
        let Item { start, end, .. } = self.items[0];
        events.iter_mut().for_each(|item| (item.start, item.end) = (start, end));
        let more = size_of_val(events.as_slice()) as u64;
        self.charge.set(self.charge.bytes() + more);
        self.items = events;
        self.fold = Some(fold);
    }

    /// What its document stands for, where that is more than it names.
    #[must_use]
    pub fn folded(&self) -> Option<&Arc<Fold>> {
        self.fold.as_ref()
    }

    /// How many parts it can be cut into.
    pub(super) fn parts(&self) -> usize {
        if self.fold.is_some() { 1 } else { self.items.len() }
    }
}

impl Sender {
    /// How long an event waits that is enqueued now, for the rate of its route's place alone; none
    /// where that has no rate, or is held for another reason.
    #[must_use]
    pub fn wait_for(&self, route: u32, now: Instant) -> Duration {
        if self.is_held(route) {
            return Duration::ZERO;
        }
        let before = self.waiting_at(route).count() as u64;
        self.gate.places().delay(route, before, now)
    }

    /// Events that wait for the rate of some place.
    #[must_use]
    pub fn waiting(&self, now: Instant) -> usize {
        let places = self.gate.places();
        let is_limited = |entry: &&Entry| places.busy_until(entry.batch.route(), now).is_some();
        self.entries.iter().filter(|it| waits(it)).filter(is_limited).count()
    }

    /// When a digest for this route may be enqueued, so that it goes at once: its place takes
    /// something, and nothing else waits for it. `None` is once that has gone.
    #[must_use]
    pub fn free_at(&self, route: u32, now: Instant) -> Option<Instant> {
        let is_free = self.waiting_at(route).next().is_none();
        is_free.then(|| self.gate.places().busy_until(route, now).unwrap_or(now))
    }

    /// Whether something more urgent waits for the same place, which does not take both now. A
    /// digest has waited for that long enough when it is enqueued.
    pub(super) fn is_passed(&self, at: usize, now: Instant) -> bool {
        let own = &self.entries[at].batch;
        let is_critical = |batch: &Batch| batch.worst() >= Severity::Critical;
        if !self.gate.places().lets_pass() || is_critical(own) || own.folded().is_some() {
            return false;
        }
        let is_same = |batch: &Batch| self.is_same_place(batch.route(), own.route());
        let is_ready = |it: &&Entry| matches!(it.state, State::Ready);
        let mut behind = self.entries[at + 1..].iter().filter(is_ready).map(|it| &it.batch);
        if !behind.any(|batch| is_critical(batch) && is_same(batch)) {
            return false;
        }
        let others = self.waiting_at(own.route()).count() as u64 - 1;
        !self.gate.places().delay(own.route(), others, now).is_zero()
    }

    fn waiting_at(&self, route: u32) -> impl Iterator<Item = &Entry> {
        let is_same = move |it: &&Entry| self.is_same_place(it.batch.route(), route);
        self.entries.iter().filter(|it| waits(it)).filter(is_same)
    }
}

fn waits(entry: &Entry) -> bool {
    !matches!(entry.state, State::Flying(_))
}
