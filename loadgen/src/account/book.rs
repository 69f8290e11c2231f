//! The live account of one fake vendor.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::{Latency, Percentiles, Span, Tally};
use crate::id::EventId;

/// What a fake vendor has stored and seen; shared by its connections.
#[derive(Debug)]
pub struct Book {
    vendor: String,
    /// The run whose events are counted: that of the first event; `NO_RUN` before.
    run: AtomicU64,
    stored: Tally,
    /// Per request, not per event: everything that is no plain counter.
    rest: Mutex<Rest>,
}

#[derive(Debug, Default)]
struct Rest {
    /// What each index has, for vendors that refuse a known id.
    indexes: HashMap<String, Arc<Tally>>,
    /// Events of other producers, by index and id.
    foreign: HashMap<String, u64>,
    foreign_dropped: u64,
    statuses: BTreeMap<u16, u64>,
    requests: u64,
    events: u64,
    conflicts: u64,
    refused: u64,
    wire_bytes: u64,
    body_bytes: u64,
    problems: BTreeMap<String, Problem>,
    order: Order,
    newest: Option<u64>,
    accepted: Latency,
    confirmed: Latency,
}

/// A fault of the client, found by the vendor's documentation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// How often.
    pub times: u64,
    /// The first case, cut to a few hundred bytes.
    pub example: String,
}

/// How far events were from the order of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Neighbours inside one body that descend; a batch keeps log order, so this is 0.
    pub descents_within: u64,
    /// Bodies that began below an event of an earlier body; lanes run side by side, so this may be.
    pub descents_across: u64,
    /// The farthest such step back, in events.
    pub distance_max: u64,
}

/// One request as the account sees it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Visit {
    /// Bytes as they came over the wire.
    pub wire_bytes: u64,
    /// Bytes after decompression.
    pub body_bytes: u64,
}

impl Book {
    /// An empty account.
    #[must_use]
    pub fn new(vendor: &str) -> Self {
        Self {
            vendor: vendor.to_owned(),
            run: AtomicU64::new(NO_RUN),
            stored: Tally::default(),
            rest: Mutex::default(),
        }
    }

    /// Counts an event as stored, wherever that is.
    pub fn store(&self, id: EventId) {
        if self.is_ours(id) {
            self.stored.add(id.sequence);
        } else {
            self.store_foreign("", &id.text());
        }
    }

    /// Counts an event that carries no id of ours; returns whether it is new in this index.
    pub fn store_foreign(&self, index: &str, id: &str) -> bool {
        let mut rest = self.rest();
        if rest.foreign.len() >= FOREIGN_MAX {
            rest.foreign_dropped += 1;
            return true;
        }
        let times = rest.foreign.entry(format!("{index}/{id}")).or_default();
        *times += 1;
        *times == 1
    }

    /// Whether the event belongs to the run of this account; the first event decides.
    pub fn is_ours(&self, id: EventId) -> bool {
        let run = u64::from(id.run);
        match self.run.load(Ordering::Relaxed) {
            NO_RUN => {
                let first =
                    self.run.compare_exchange(NO_RUN, run, Ordering::Relaxed, Ordering::Relaxed);
                first.map_or_else(|seen| seen == run, |_| true)
            }
            seen => seen == run,
        }
    }

    /// The ids that an index has, to tell a known one.
    pub fn index(&self, name: &str) -> Arc<Tally> {
        let mut rest = self.rest();
        if let Some(tally) = rest.indexes.get(name) {
            return Arc::clone(tally);
        }
        Arc::clone(rest.indexes.entry(name.to_owned()).or_default())
    }

    /// How many of these events are in indexes whose names fit.
    pub fn count(&self, ids: &[EventId], fits: impl Fn(&str) -> bool) -> u64 {
        let rest = self.rest();
        let tallies: Vec<&Arc<Tally>> =
            rest.indexes.iter().filter(|(name, _)| fits(name)).map(|(_, tally)| tally).collect();
        let has = |id: &&EventId| {
            self.is_ours(**id) && tallies.iter().any(|tally| tally.times(id.sequence) > 0)
        };
        ids.iter().filter(has).count() as u64
    }

    /// Counts the events of a body that were due at these times and have these numbers.
    pub fn note_order(&self, sequences: &[u64]) {
        let (Some(&first), Some(&last)) = (sequences.first(), sequences.last()) else { return };
        let within = sequences.windows(2).filter(|pair| pair[0] >= pair[1]).count() as u64;
        let mut rest = self.rest();
        rest.order.descents_within += within;
        if let Some(newest) = rest.newest.filter(|&newest| newest > first) {
            rest.order.descents_across += 1;
            rest.order.distance_max = rest.order.distance_max.max(newest - first);
        }
        rest.newest = rest.newest.max(Some(last));
    }

    /// Counts a request and its answer.
    pub fn note_request(&self, status: u16, visit: Visit) {
        let mut rest = self.rest();
        rest.requests += 1;
        *rest.statuses.entry(status).or_default() += 1;
        rest.wire_bytes += visit.wire_bytes;
        rest.body_bytes += visit.body_bytes;
    }

    /// Counts what became of the events of one request.
    pub fn note_events(&self, stored: u64, conflicts: u64, refused: u64) {
        let mut rest = self.rest();
        rest.events += stored;
        rest.conflicts += conflicts;
        rest.refused += refused;
    }

    /// Records that events were answered as accepted now.
    pub fn note_accepted(&self, scheduled: &[u64], now_ns: u64) {
        let mut rest = self.rest();
        for &due in scheduled {
            rest.accepted.record(due, now_ns);
        }
    }

    /// Records that events were reported as safe now.
    pub fn note_confirmed(&self, scheduled: &[u64], now_ns: u64) {
        let mut rest = self.rest();
        for &due in scheduled {
            rest.confirmed.record(due, now_ns);
        }
    }

    /// Notes a fault of the client.
    pub fn note_problem(&self, what: &str, example: &[u8]) {
        let mut rest = self.rest();
        if rest.problems.len() >= PROBLEMS_MAX && !rest.problems.contains_key(what) {
            return;
        }
        let cut = &example[..example.len().min(EXAMPLE_BYTES_MAX)];
        let fresh = || Problem { times: 0, example: String::from_utf8_lossy(cut).into_owned() };
        rest.problems.entry(what.to_owned()).or_insert_with(fresh).times += 1;
    }

    /// Forgets all latencies, so that a warm-up does not count.
    pub fn clear_latency(&self) {
        let mut rest = self.rest();
        rest.accepted.clear();
        rest.confirmed.clear();
    }

    /// The account as it stands.
    #[must_use]
    pub fn report(&self) -> Report {
        let spans = self.stored.spans();
        let rest = self.rest();
        Report {
            vendor: self.vendor.clone(),
            run: u8::try_from(self.run.load(Ordering::Relaxed)).ok(),
            requests: rest.requests,
            statuses: rest.statuses.clone(),
            events: rest.events,
            conflicts: rest.conflicts,
            refused: rest.refused,
            foreign_once: rest.foreign.values().filter(|&&times| times == 1).count() as u64,
            foreign_more: rest.foreign.values().filter(|&&times| times > 1).count() as u64,
            foreign_dropped: rest.foreign_dropped,
            wire_bytes: rest.wire_bytes,
            body_bytes: rest.body_bytes,
            problems: rest.problems.clone(),
            order: rest.order,
            accepted: rest.accepted.percentiles(),
            confirmed: rest.confirmed.percentiles(),
            spans,
        }
    }

    fn rest(&self) -> MutexGuard<'_, Rest> {
        // Plain counters stay usable whatever a panicking connection left.
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An account as it is written and compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What the fake played.
    pub vendor: String,
    /// The run whose events are in `spans`; none before the first event.
    pub run: Option<u8>,
    /// Requests that were answered or dropped on purpose.
    pub requests: u64,
    /// Answers by status; 0 is a request that got none.
    pub statuses: BTreeMap<u16, u64>,
    /// Events stored, those of others included.
    pub events: u64,
    /// Events refused because the index had their id.
    pub conflicts: u64,
    /// Events refused for any other reason.
    pub refused: u64,
    /// Events of other producers stored once.
    pub foreign_once: u64,
    /// Events of other producers stored more than once.
    pub foreign_more: u64,
    /// Events of other producers beyond the bound of the account.
    pub foreign_dropped: u64,
    /// Bytes as they came over the wire, bodies only.
    pub wire_bytes: u64,
    /// Bytes of bodies after decompression.
    pub body_bytes: u64,
    /// Faults of the client.
    pub problems: BTreeMap<String, Problem>,
    /// How far from the log's order.
    pub order: Order,
    /// Due until accepted.
    pub accepted: Percentiles,
    /// Due until reported safe.
    pub confirmed: Percentiles,
    /// How often each event was stored.
    pub spans: Vec<Span>,
}

/// No event has been seen.
const NO_RUN: u64 = u64::MAX;
/// Ids of other producers kept; more are only counted.
const FOREIGN_MAX: usize = 1 << 20;
/// Kinds of problems kept; there are fewer rules than that.
const PROBLEMS_MAX: usize = 256;
/// Bytes of an example: enough to see what was wrong.
const EXAMPLE_BYTES_MAX: usize = 400;
