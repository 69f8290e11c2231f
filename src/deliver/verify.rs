//! Batches that were accepted as requests, of which each is asked for by itself.
//!
//! Unlike [acknowledgements](super::acks) a request has an id of its own that means nothing else,
//! and its end is told: it was done, or it failed for a reason. So one that failed is the
//! destination's refusal of its events and makes them dead letters with that reason: what it
//! refused once it refuses again, and whoever replays them decides. One that is not told of in time
//! was accepted all the same, as it counts without asking: it is delivered, and counted as
//! unverified, since sending it again for a lost question would only repeat what is there.
//!
//! Questions keep no event back: they go one at a time over a connection of their own, when nothing
//! is to be sent, and where too many wait the oldest is no longer asked for.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::act::{Retryable, arrive, bury};
use super::batch::Batch;
use super::delivery::{BatchId, Outcomes};
use super::sender::{Action, Sender};
use super::{Fate, Pace, Verdict};

/// The requests of one lane.
#[derive(Debug, Default)]
pub(super) struct Requests {
    waiting: BTreeMap<BatchId, Waiting>,
    /// The one that is asked for, and since when.
    asking: Option<BatchId>,
    /// No question before, as the destination wishes.
    paused: Option<Instant>,
}

#[derive(Debug)]
struct Waiting {
    request: String,
    endpoint: usize,
    /// Questions so far.
    asked: u32,
    due: Instant,
    until: Instant,
}

impl Requests {
    /// Notes a request to ask for.
    fn wait(&mut self, id: BatchId, request: String, endpoint: usize, now: Instant) {
        let (due, until) = (now + FIRST_WAIT, now + PATIENCE);
        self.waiting.insert(id, Waiting { request, endpoint, asked: 0, due, until });
    }

    /// The next question that is due.
    fn poll(&mut self, now: Instant) -> Option<(BatchId, String, usize)> {
        if self.asking.is_some() || self.paused.is_some_and(|until| now < until) {
            return None;
        }
        let (&id, next) = self.waiting.iter_mut().find(|(_, it)| it.due <= now)?;
        next.asked += 1;
        self.asking = Some(id);
        Some((id, next.request.clone(), next.endpoint))
    }

    /// Notes that a question has ended without a word: it is asked again.
    fn again(&mut self, id: BatchId, pause: Option<Duration>, now: Instant) {
        self.paused = pause.map(|pause| now + pause);
        if let Some(waiting) = self.waiting.get_mut(&id) {
            waiting.due = now + (FIRST_WAIT * (1 << waiting.asked.min(6))).min(WAIT_MAX);
        }
    }

    /// Takes out those that waited too long, and the oldest where too many wait.
    fn expire(&mut self, now: Instant) -> Vec<BatchId> {
        let beyond = self.waiting.len().saturating_sub(WAITING_MAX);
        let is_over = |(at, (id, it)): (usize, (&BatchId, &Waiting))| {
            (it.until <= now || at < beyond).then_some(*id)
        };
        let over: Vec<_> = self.waiting.iter().enumerate().filter_map(is_over).collect();
        over.iter().for_each(|id| drop(self.waiting.remove(id)));
        over
    }

    /// When there is something to do next.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        let due = self.waiting.values().map(|it| it.due).min();
        let due = due.filter(|_| self.asking.is_none());
        // A question that may not go yet is looked at again after a moment.
        let due = due.map(|due| due.max(now + LOOK_WAIT).max(self.paused.unwrap_or(now)));
        due.into_iter().chain(self.waiting.values().map(|it| it.until)).min()
    }
}

impl Sender {
    /// Keeps the spans of a batch until the destination has told what became of its request.
    pub(super) fn await_request(
        &mut self,
        (id, batch): (BatchId, Batch),
        (request, endpoint): (String, usize),
        now: Instant,
        outcomes: &mut Outcomes,
    ) {
        outcomes.tally.awaited += batch.events() as u64;
        self.accepted.insert(id, batch);
        self.requests.wait(id, request, endpoint, now);
        self.expire_requests(now, outcomes);
    }

    /// The next question, where one is due and the rate permits it.
    pub(super) fn verify(&mut self, now: Instant) -> Option<Action> {
        if !self.gate.is_open(self.settings.lane, now) {
            return None;
        }
        let (id, request, endpoint) = self.requests.poll(now)?;
        self.gate.charge(now);
        Some(Action::Verify { id, request, endpoint })
    }

    /// Takes in what the answer to a question means; `None` is no answer.
    pub fn on_verified(
        &mut self,
        id: BatchId,
        verdict: Option<Verdict>,
        now: Instant,
        outcomes: &mut Outcomes,
    ) {
        self.requests.asking.take_if(|asking| *asking == id);
        let (fate, pace, reason) = match verdict {
            Some(Verdict { fate, pace, reason }) => (fate, pace, reason),
            None => return self.requests.again(id, None, now),
        };
        let is_told = matches!(fate, Fate::Delivered | Fate::Reject);
        if !is_told {
            let pause = match pace {
                Pace::Pause(pause) => pause.map(|pause| self.gate.capped(pause)),
                Pace::Keep | Pace::Ease => None,
            };
            return self.requests.again(id, pause, now);
        }
        self.requests.waiting.remove(&id);
        // One that is no longer asked for is settled.
        let Some(batch) = self.accepted.remove(id) else { return };
        outcomes.tally.answered += batch.events() as u64;
        match fate {
            Fate::Delivered => arrive(&batch, outcomes),
            _ => bury(&batch, &reason, Retryable::No, outcomes),
        }
    }

    /// Counts as delivered what nobody told of in time.
    pub(super) fn expire_requests(&mut self, now: Instant, outcomes: &mut Outcomes) {
        if self.requests.waiting.is_empty() {
            return;
        }
        for id in self.requests.expire(now) {
            let Some(batch) = self.accepted.remove(id) else { continue };
            outcomes.tally.answered += batch.events() as u64;
            outcomes.tally.unverified += batch.events() as u64;
            arrive(&batch, outcomes);
        }
    }
}

/// Requests are done within a second, usually; then after twice as long, and so on.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait between two questions.
const WAIT_MAX: Duration = Duration::from_secs(8);
/// How long a request is asked for.
const PATIENCE: Duration = Duration::from_secs(30);
/// Requests of one lane that are asked for at once.
const WAITING_MAX: usize = 256;
/// Where the rate permits no question now.
const LOOK_WAIT: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_wakes_nobody_where_nothing_is_to_be_asked() {
        let (now, id) = (Instant::now(), BatchId(1));
        let mut requests = Requests::default();
        requests.wait(id, "r-1".to_owned(), 0, now);
        let later = now + FIRST_WAIT;
        assert!(requests.poll(later).is_some());
        assert_eq!(requests.next(later), Some(now + PATIENCE), "it is being asked for");
        requests.asking = None;
        requests.again(id, Some(Duration::from_secs(10)), later);
        assert_eq!(requests.next(later), Some(later + Duration::from_secs(10)));
        requests.waiting.remove(&id);
        assert_eq!(requests.next(later), None);
    }
}
