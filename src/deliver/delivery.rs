//! What becomes of events on their way: history, outcomes, and the meaning of having no answer.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::batch::{Item, Packing, settle};
use super::fold::Fold;
use super::watermark::Sent;
use super::{Cause, Fate, Level, Pace, Reason, Scope, TransportError, TransportErrorKind, Verdict};
use crate::event::{Settle, Settled};

/// Names a batch within one lane; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchId(pub u64);

/// What happened to a batch so far; halves and renderings again carry it on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The first batch that they were in.
    pub first: Option<BatchId>,
    /// Requests that carried these events.
    pub attempts: u32,
    /// Failed retries while the destination otherwise accepted; only these use up
    /// `retry.max_retries`.
    pub failures: u32,
    /// Whether a request failed that may have failed because of these events.
    pub is_suspect: bool,
    /// Failures in a row, for the backoff.
    pub row: u32,
    /// Requests that were neither answered nor certainly not applied.
    pub ambiguous: u32,
    /// Renderings that the destination asked for.
    pub reshapes: u32,
    /// The level at which the events were last rendered; `None` is the usual plan.
    pub level: Option<Level>,
    /// Why they are to be rendered smaller, until that is done.
    pub shrink: Option<Reason>,
    /// When the first request failed.
    pub failed_since: Option<Instant>,
    /// Whether a new channel was taken for them once.
    pub is_rechannelled: bool,
    /// Whether their batch was cut or made smaller since the last request with them, as an answer
    /// asked: the next one is no retry.
    pub is_cut: bool,
    /// Whether an option was switched off for them once.
    pub is_without: bool,
    /// What the last request that failed met.
    pub last: Option<Reason>,
    /// Answers that held something because of them, and when the last one came.
    pub holds: u32,
    /// See `holds`.
    pub held_at: Option<Instant>,
    /// Whether others were taken meanwhile: they wait alone.
    pub is_apart: bool,
    /// Whether they wait until the destination is prepared again.
    pub awaits_setup: bool,
}

impl History {
    /// Whether the events were in a batch up to this one.
    #[must_use]
    pub fn is_of(&self, newest: BatchId) -> bool {
        self.first.is_some_and(|first| first <= newest)
    }

    /// Whether the next request is one more with what was sent already.
    pub(super) fn is_retry(&self) -> bool {
        self.attempts > 0 && !self.is_cut
    }
}

/// Events to be rendered again from the log, into batches of [`super::Batch::again`].
#[derive(Clone, Debug)]
pub struct Reshape {
    /// The events; their byte ranges say only how long they were.
    pub items: Vec<Item>,
    /// The route they belong to.
    pub route: u32,
    /// How their batch was made: all of them fit batches of this kind.
    pub packing: Arc<Packing>,
    /// The level to render at; `None` is the usual plan.
    pub level: Option<Level>,
    /// Carried on into the new batch.
    pub history: History,
    /// What is rendered in place of all of them, where they are told of in a digest.
    pub fold: Option<Arc<Fold>>,
}

impl Reshape {
    /// Whether its events and those of another may go into one batch.
    ///
    /// Only what no request has carried: of a batch that was cut in two the halves would be one
    /// again, for ever, and what was refused would keep others back.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        let is_new = |it: &Self| it.history.attempts == 0 && it.fold.is_none();
        is_new(self)
            && is_new(other)
            && (self.route, self.level) == (other.route, other.level)
            && self.packing.heads == other.packing.heads
    }
}

/// Events for the dead-letter store; they settle once they are durable there.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The event.
    pub item: Item,
    /// Why, in the destination's words where it had some.
    pub reason: Reason,
    /// Requests that carried it.
    pub attempts: u32,
    /// Whether sending it again may help.
    pub retryable: bool,
    /// When its first request failed, where one failed before the last.
    pub failed_since: Option<Instant>,
    /// How receipts tell of the last request that was answered, where there was one.
    pub sent: Option<Sent>,
}

/// Something that may be put right before the exporter is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Ask for the credentials anew.
    Refresh,
    /// Prepare the destination again.
    Setup,
}

/// What the caller has to act on after a call into [`super::Sender`]; it clears them afterwards.
#[derive(Debug, Default)]
pub struct Outcomes {
    /// Delivered events.
    pub settled: Vec<Settled>,
    /// Which of them a request settled that was noted, in their order.
    pub requests: Vec<Settling>,
    /// When the first event was received, for each batch of which something was delivered;
    /// nanoseconds since 1970.
    pub received: Vec<u64>,
    /// Events for the dead-letter store.
    pub dead: Vec<DeadLetter>,
    /// Events to be rendered again.
    pub reshape: Vec<Reshape>,
    /// Counts since the last clearing.
    pub tally: Tally,
    /// Lanes of this exporter to wake, by bit.
    pub wake: u64,
    /// To be done at once; the batch that asked for it is sent again then. For other credentials it
    /// waits a moment, as all do.
    pub remedy: Option<Remedy>,
    /// Options to be taken as off for this run: the destination does not do what they ask.
    pub without: Vec<&'static str>,
    /// What an operator has to put right before anything can go on, where no answer says it.
    pub problem: Option<&'static str>,
}

/// What one request settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settling {
    /// The request.
    pub sent: Sent,
    /// Where in [`Outcomes::settled`].
    pub pieces: Range<usize>,
}

/// Counts of what happened, in events where nothing else is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Sent again after a failure.
    pub retried: u64,
    /// In requests that nobody can tell the end of, at destinations that keep two copies.
    pub ambiguous: u64,
    /// The destination had them already.
    pub duplicates: u64,
    /// Taken, but put aside by the destination.
    pub degraded: u64,
    /// Digests that were delivered.
    pub digests: u64,
    /// Delivered in digests.
    pub digested: u64,
    /// Told of in digests since they were too old to be sent.
    pub stale: u64,
    /// Rendered again as resends after their acknowledgement did not come.
    pub resent: u64,
    /// Accepted, and confirmed later.
    pub awaited: u64,
    /// Of these, confirmed, or given up waiting for.
    pub answered: u64,
    /// Accepted, and nobody told whether they were processed; they count as delivered.
    pub unverified: u64,
    /// Requests that were cut in halves, for size or to find a bad event.
    pub halved: u64,
    /// Acknowledgement ids that the destination began anew, in channels.
    pub ack_resets: u64,
    /// Failed requests that were no attempt, since the destination was out of order.
    pub outage: u64,
}

impl Outcomes {
    /// Whether there is nothing to act on.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.settled.is_empty()
            && self.dead.is_empty()
            && self.reshape.is_empty()
            && self.wake == 0
            && self.remedy.is_none()
            && self.without.is_empty()
            && self.problem.is_none()
            && self.tally == Tally::default()
    }

    /// Notes that events have settled, by the request that is named, if one is.
    pub(super) fn settle<'a>(
        &mut self,
        sent: Option<Sent>,
        items: impl IntoIterator<Item = &'a Item>,
        fate: Settle,
    ) {
        let (from, mut items) = (self.settled.len(), items.into_iter());
        if let Some(sent) = sent {
            // A piece of its own, though it goes on where that of another request ends.
            let Some(&Item { span, .. }) = items.next() else { return };
            self.settled.push(Settled { span, events: 1, fate });
            settle(items, fate, &mut self.settled);
            self.requests.push(Settling { sent, pieces: from..self.settled.len() });
        } else {
            settle(items, fate, &mut self.settled);
        }
    }

    /// Forgets everything, keeping the memory.
    pub fn clear(&mut self) {
        self.settled.clear();
        self.requests.clear();
        self.received.clear();
        self.dead.clear();
        self.reshape.clear();
        self.tally = Tally::default();
        self.wake = 0;
        self.remedy = None;
        self.without.clear();
        self.problem = None;
    }
}

/// What it means that no answer came (`pipeline.md`, Retry).
#[must_use]
pub fn judge_transport(error: &TransportError) -> Verdict {
    let (fate, class) = match error.kind {
        // A certificate that is not accepted, or an address that is not permitted, is a matter of
        // configuration: trying again changes nothing, and no event is at fault.
        TransportErrorKind::TlsRejected | TransportErrorKind::Forbidden => {
            (Fate::Hold { cause: Cause::Config, scope: Scope::Endpoint }, "config")
        }
        TransportErrorKind::Timeout => (Fate::Retry, "timeout"),
        TransportErrorKind::Dns
        | TransportErrorKind::Connect
        | TransportErrorKind::TlsIo
        | TransportErrorKind::Network
        | TransportErrorKind::Refused
        | TransportErrorKind::Protocol => (Fate::Retry, "network"),
    };
    let reason = Reason { status: 0, code: None, class, detail: error.to_string() };
    Verdict { fate, pace: Pace::Keep, reason }
}

/// Whether a request was turned away before anything acted on it, by a server that is alive: a
/// refused stream, or one above a GOAWAY. It may go again at once. A connection that broke before
/// the request was whole is not that: something about the request may break it every time.
pub(super) fn is_turned_away(error: &TransportError) -> bool {
    error.kind == TransportErrorKind::Refused
}

/// How the deciding half of delivery is set up for one exporter.
#[derive(Clone, Debug)]
pub struct AckSettings {
    /// Whether anything is confirmed after it was accepted.
    pub is_used: bool,
    /// How often all pending ids of a channel are asked for.
    pub poll_interval: Duration,
    /// How long an id may stay unconfirmed before its events are sent again.
    pub timeout: Duration,
    /// Batches of one lane that may wait at once.
    pub pending_max: usize,
}

impl Default for AckSettings {
    /// The defaults of `splunk.md`.
    fn default() -> Self {
        Self {
            is_used: true,
            poll_interval: Duration::from_secs(1),
            timeout: Duration::from_secs(300),
            pending_max: 1000,
        }
    }
}
