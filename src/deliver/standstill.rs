//! Where order matters: when the event that stops all behind it is given up.
//!
//! Nothing may overtake it, so nothing else can be asked whether the event is to blame or the
//! destination is out of order. What is told apart without asking is the way in which it fails:
//! whoever cannot be reached, is away, or names a time is out of order. Whoever takes the request
//! and then answers 500 or hangs up may mean the event; it has ten minutes to change its mind, and
//! after each event that was given up and none accepted twice as long.

use std::time::{Duration, Instant};

/// How long nothing has got past the first event.
#[derive(Debug)]
pub(super) struct Standstill {
    longest: Option<Duration>,
    /// Since when nothing but failures came that may be the event's, and how many.
    since: Option<Instant>,
    failures: u32,
    /// Events that were given up since anything was answered.
    given_up: u32,
}

impl Standstill {
    /// Nothing stands still; nothing is ever given up without a bound.
    pub(super) fn new(longest: Option<Duration>) -> Self {
        Self { longest, since: None, failures: 0, given_up: 0 }
    }

    /// Notes that the destination is at work.
    pub(super) fn end(&mut self) {
        *self = Self::new(self.longest);
    }

    /// Notes a failure that is not the event's.
    pub(super) fn on_outage(&mut self) {
        (self.since, self.failures) = (None, 0);
    }

    /// Notes a failure that may be the event's; whether it was so for long enough.
    pub(super) fn on_failure(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        self.failures = self.failures.saturating_add(1);
        self.longest.is_some_and(|longest| {
            let longest = longest.saturating_mul(1 << self.given_up.min(DOUBLINGS_MAX));
            let stands = now.saturating_duration_since(since);
            self.failures >= FAILURES_MIN && stands >= longest
        })
    }

    /// Notes that the event is given up; the next one has its time.
    pub(super) fn give_up(&mut self) {
        self.on_outage();
        self.given_up = self.given_up.saturating_add(1);
    }
}

/// How long an event may stop all behind it: twenty probes of a breaker as it is by default.
pub(crate) const STANDSTILL_MAX: Duration = Duration::from_secs(600);

/// Failures at least, however far they are from each other.
const FAILURES_MIN: u32 = 4;

/// Ten minutes doubled ten times is a week.
const DOUBLINGS_MAX: u32 = 10;
