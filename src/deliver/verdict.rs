//! What an answer means: fate of the events, pace of the exporter, reason.

use std::time::Duration;

/// What one answer means for a batch and for the exporter's pace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What becomes of the batch.
    pub fate: Fate,
    /// How fast to go on; independent of the fate, since an accepted batch may still ask us to slow
    /// down.
    pub pace: Pace,
    /// Why, for counters, dead letters and people.
    pub reason: Reason,
}

/// What becomes of the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Every event is with the destination.
    Delivered,
    /// Accepted, not yet confirmed: poll for this id.
    Pending(AckId),
    /// Accepted as a request with this name: ask by [`Purpose::Verify`] what became of it.
    ///
    /// [`Purpose::Verify`]: super::Purpose::Verify
    Requested(String),
    /// One fate per event, for all events of the batch, in its order.
    Items(Vec<ItemFate>),
    /// Answer to a poll: these ids are confirmed, the others still wait.
    Confirmed(Vec<AckId>),
    /// Send the same bytes again.
    Retry,
    /// Too large: send it in halves; a single event is reshaped, then rejected.
    Split,
    /// Somewhere in it is a bad event: send halves until it is found.
    Bisect,
    /// Render again at this level and send.
    Reshape(Level),
    /// What the document answers to is not there any more: forget it, render again and send.
    Orphan,
    /// Wait, spending no attempt, until the cause is gone.
    Hold {
        /// What is wrong.
        cause: Cause,
        /// How much of the exporter it stops.
        scope: Scope,
    },
    /// The destination will never take it.
    Reject,
    /// The destination does not do what this option asks: set it to false for this run, say so, and
    /// go on. A sent batch is sent again; batches that a poll asked for count as delivered, since
    /// they were accepted and nothing more will ever be known.
    Without(&'static str),
    /// The destination does not know the channel: take a new one for the connection group. A sent
    /// batch is sent again, once, then it holds as [`Cause::Config`]; batches that wait for a
    /// confirmation on the old channel are sent again.
    Rechannel,
}

/// What becomes of one event of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemFate {
    /// The destination has it.
    Delivered,
    /// The destination already had it.
    Duplicate,
    /// The destination took it, but put it aside (an Elasticsearch failure store).
    Degraded,
    /// Send it again.
    Retry(Reason),
    /// The destination will never take it.
    Reject(Reason),
    /// Something else stops it: hold its route.
    Hold(Cause, Reason),
}

/// The id under which a destination confirms a batch later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AckId(pub u64);

/// How much smaller or plainer an event is rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// Without metadata, labels and with a short reason.
    Shrink,
    /// As plain text.
    Plain,
    /// Marked as sent before, as [`Vendor::resend_mark`] says.
    ///
    /// [`Vendor::resend_mark`]: super::Vendor::resend_mark
    Resend,
}

/// Why an exporter, or one route of it, waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Credentials do not work.
    Auth,
    /// The destination is set up otherwise than the configuration says.
    Config,
    /// The destination cannot be reached or is out of order.
    Outage,
}

/// How much of an exporter a hold stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// All of it.
    Exporter,
    /// The batch's route only.
    Route,
    /// The endpoint that answered only; others go on.
    Endpoint,
}

/// How fast an exporter goes on; beside a hold of [`Scope::Endpoint`] it speaks of that endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As before.
    Keep,
    /// Slower: the adaptive limiter halves its rate.
    Ease,
    /// Not before this much time has passed; `None` leaves it to the backoff.
    Pause(Option<Duration>),
}

/// Why a verdict was given.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Reason {
    /// The HTTP status, 0 when there was no answer.
    pub status: u16,
    /// The destination's own code, where it gave one.
    pub code: Option<i64>,
    /// The class, for counters: `throttled`, `unavailable`, `timeout`, `network`, `auth`,
    /// `rejected`, `too_large`, `config`, `ambiguous`, `accepted`; or `unread`, for an event that
    /// the destination never looked at because it stopped at an earlier one of the same batch.
    pub class: &'static str,
    /// The destination's words, capped and scrubbed; empty when it said nothing.
    pub detail: String,
}

impl Verdict {
    /// A verdict with this fate and class, at the same pace.
    #[must_use]
    pub const fn new(fate: Fate, class: &'static str) -> Self {
        let reason = Reason { status: 0, code: None, class, detail: String::new() };
        Self { fate, pace: Pace::Keep, reason }
    }

    /// The same verdict at another pace.
    #[must_use]
    pub const fn at(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// Whether the destination refuses or lacks the call itself, so that a simpler one may be asked
    /// instead: [`Purpose::Hello`] after [`Purpose::Health`].
    ///
    /// [`Purpose::Hello`]: super::Purpose::Hello
    /// [`Purpose::Health`]: super::Purpose::Health
    #[must_use]
    pub fn is_not_offered(&self) -> bool {
        matches!(self.reason.status, 400 | 403 | 404 | 405 | 410)
    }
}
