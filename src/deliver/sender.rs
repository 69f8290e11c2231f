//! One lane's batches from closing to settling: what to do next.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::acks::{Asking, Channels, Ticket};
use super::awaiting::Awaiting;
use super::backoff::Backoff;
use super::batch::Batch;
use super::budget::Allowance;
use super::delivery::{AckSettings, BatchId, DeadLetter, Outcomes, Reshape};
use super::gate::{Gate, Pass, Refused};
use super::standstill::Standstill;
use super::verify::Requests;
use super::watermark::Sent;
use super::{AckId, Applied, Cause, Level, Order, Reason, Resend, RetrySettings};
use crate::deliver::batch::Item;
use crate::event::Offset;

/// How a [`Sender`] is set up.
#[derive(Clone, Debug)]
pub struct SenderSettings {
    /// The lane's number within its exporter, below 64.
    pub lane: u8,
    /// How failures are tried again.
    pub retry: RetrySettings,
    /// Whether batches go one after the other, in the log's order.
    pub order: Order,
    /// Whether the destination recognises a resend.
    pub resend: Resend,
    /// Requests of uncertain end after which events are given up; `None` is no bound.
    pub ambiguous_max: Option<u32>,
    /// Confirmations.
    pub acks: AckSettings,
    /// Whether the vendor has a probe call; else one event of a batch is the probe.
    pub has_probe: bool,
    /// Whether the vendor has something to set up.
    pub has_setup: bool,
    /// How long a route with a wrong setup waits between tries.
    pub hold_interval: Duration,
    /// Whether some routes lead to addresses of their own: what one refuses, or that it is away,
    /// says nothing of the others, so that a hold is the place's.
    pub has_own_places: bool,
    /// How long one event may stop what comes behind it before it is given up, where order matters;
    /// `None` is no bound.
    pub standstill_max: Option<Duration>,
    /// Seeds the jitter; lanes have different ones.
    pub seed: u64,
}

/// What the lane should do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a batch; its end is told with [`Sender::on_verdict`] or
    /// [`Sender::on_transport_error`].
    Send {
        /// Which batch: see [`Sender::batch`].
        id: BatchId,
        /// To which endpoint.
        endpoint: usize,
        /// On which connection group.
        group: u32,
        /// The how manieth request with these events, from 1.
        attempt: u32,
        /// Whether the exporter is held and this tells if it still must be.
        is_probe: bool,
    },
    /// Ask which ids are confirmed; told with [`Sender::on_acks`] or
    /// [`Sender::on_acks_error`].
    PollAcks {
        /// At which endpoint.
        endpoint: usize,
        /// On which connection group.
        group: u32,
        /// The ids.
        ids: Vec<AckId>,
    },
    /// Ask what became of a request that was accepted; told with [`Sender::on_verified`].
    Verify {
        /// The batch that it carried.
        id: BatchId,
        /// How the destination named it.
        request: String,
        /// At which endpoint.
        endpoint: usize,
    },
    /// Make the vendor's probe call; told with [`Sender::on_probe`].
    Probe {
        /// At which endpoint.
        endpoint: usize,
    },
    /// Nothing until then, unless something is told or the lane is woken.
    Wait(Instant),
    /// Nothing at all until something is told.
    Idle,
}

/// Holds one lane's batches from closing to settling. Told the time; does no IO.
///
/// The caller loops: act on [`Sender::poll`] until it says `Wait` or `Idle`, tell it how requests
/// ended, and after each call act on the [`Outcomes`]. Dropping it gives its slots back; events
/// that have not settled are simply still in the log.
#[derive(Debug)]
pub struct Sender {
    pub(super) settings: SenderSettings,
    pub(super) gate: Arc<Gate>,
    pub(super) allowance: Arc<Allowance>,
    pub(super) backoff: Backoff,
    pub(super) rng: fastrand::Rng,
    pub(super) channels: Channels,
    pub(super) requests: Requests,
    /// Batches that are not accepted yet, in the log's order.
    pub(super) entries: Vec<Entry>,
    /// Accepted batches that wait for their confirmation, by id; without bodies.
    pub(super) accepted: Awaiting,
    /// Events that are being rendered again.
    pub(super) reshaping: u64,
    /// Channels whose ids ran backwards of late: how many, since when.
    pub(super) resets: (u32, Option<Instant>),
    /// When the probe call was last made.
    pub(super) probed: Instant,
    /// No batch holds an event below.
    pub(super) lowest: Offset,
    /// By place, where each has an address of its own.
    pub(super) standstills: BTreeMap<u32, Standstill>,
    /// When it was last asked what to do.
    asked: Instant,
    last_id: u64,
}

/// A batch that is not accepted yet.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: BatchId,
    pub(super) batch: Batch,
    pub(super) state: State,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    /// To be sent as soon as possible.
    Ready,
    /// Not before `due`, unless the exporter's hold ends first.
    Waiting { due: Instant, recoveries: u64 },
    /// With the destination.
    Flying(Flight),
}

/// A request under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    pub(super) ticket: Ticket,
    pub(super) sent: Instant,
    pub(super) is_probe: bool,
    /// Whether the destination was at work when it was sent.
    pub(super) was_well: bool,
    /// Whether its place is held, and this tells if it still must be.
    pub(super) is_trial: bool,
}

/// What there is to send.
enum Next {
    /// This entry, now.
    Now(usize),
    /// Something, then.
    Later(Instant),
    Nothing,
}

impl Sender {
    /// A lane without batches.
    #[must_use]
    pub fn new(settings: SenderSettings, gate: Arc<Gate>, allowance: Arc<Allowance>) -> Self {
        let probed = gate.epoch();
        assert!(settings.lane < LANES_MAX, "lanes are the bits of one word");
        Self {
            backoff: Backoff::new(&settings.retry),
            rng: fastrand::Rng::with_seed(settings.seed),
            channels: Channels::new(settings.acks.clone(), settings.lane),
            requests: Requests::default(),
            entries: Vec::new(),
            accepted: Awaiting::default(),
            reshaping: 0,
            resets: (0, None),
            probed,
            lowest: Offset::ZERO,
            standstills: BTreeMap::new(),
            asked: gate.epoch(),
            last_id: 0,
            settings,
            gate,
            allowance,
        }
    }

    /// Takes over a closed batch that holds at least one event.
    ///
    /// [`Sender::room`] is asked before one is filled; a batch of [`Batch::again`] always has room.
    pub fn enqueue(&mut self, batch: Batch) -> BatchId {
        assert!(batch.has_body(), "a batch is closed before it is sent");
        assert!(!batch.is_empty(), "a batch holds at least one event");
        if batch.is_again {
            let events = batch.events() as u64;
            debug_assert!(self.reshaping >= events, "more came back than was asked for");
            self.reshaping = self.reshaping.saturating_sub(events);
        }
        self.insert(batch, State::Ready)
    }

    /// Notes that an event cannot be rendered again; it becomes a dead letter.
    pub fn give_up(
        &mut self,
        item: Item,
        reshape: &Reshape,
        reason: Reason,
        outcomes: &mut Outcomes,
    ) {
        debug_assert!(self.reshaping > 0, "it was not asked for");
        self.reshaping = self.reshaping.saturating_sub(1);
        outcomes.dead.push(DeadLetter {
            item,
            reason,
            attempts: reshape.history.attempts,
            retryable: false,
            failed_since: reshape.history.failed_since,
            sent: None,
        });
    }

    /// Bounds how long what is sent next may be held, where events differ in that.
    pub fn hold_for(&mut self, age_max: Duration) {
        self.settings.retry.age_max = Some(age_max);
    }

    /// Whether another batch may be begun, and a full one enqueued.
    #[must_use]
    pub fn room(&self) -> bool {
        // What is ready while the exporter is held is not to be sent.
        let has_few = self.gate.held().is_some() || self.ready().count() < READY_MAX;
        self.may_enqueue() && has_few && self.allowance.has_room()
    }

    /// Whether a batch that is enqueued now would be sent at once: the time to close one that is
    /// full or has lingered. Where it is not, the lane is woken when it is.
    ///
    /// It asks for no memory: an open batch holds its own already.
    #[must_use]
    pub fn is_hungry(&self, now: Instant) -> bool {
        let is_wanted = match self.gate.held() {
            Some(_) => true,
            None => self.gate.is_open(self.settings.lane, now) && self.ready().next().is_none(),
        };
        is_wanted && self.may_enqueue()
    }

    fn may_enqueue(&self) -> bool {
        // While the exporter is held, a lane takes one batch to probe with.
        let is_wanted = self.gate.held().is_none() || self.lacks_probe();
        // What is not accepted yet will wait for its confirmation too.
        let room =
            ENTRIES_MAX.min(self.settings.acks.pending_max.saturating_sub(self.accepted.len()));
        // However many places are held, others go on.
        is_wanted && (self.entries.len() < room || self.entries.len() < room + self.trials())
    }

    /// Notes how receipts tell of the request that a batch went with: whatever settles its events,
    /// now or when they are confirmed.
    pub fn note_sent(&mut self, id: BatchId, sent: Sent) {
        if let Some(at) = self.position(id) {
            self.entries[at].batch.sent = Some(sent);
        }
    }

    /// A batch that was named by an [`Action`] and was not answered.
    #[must_use]
    pub fn batch(&self, id: BatchId) -> Option<&Batch> {
        self.entries.iter().find(|entry| entry.id == id).map(|entry| &entry.batch)
    }

    /// Events that have not settled, dead letters that are not durable yet not counted.
    #[must_use]
    pub fn pending(&self) -> u64 {
        let sending: usize = self.entries.iter().map(|entry| entry.batch.events()).sum();
        sending as u64 + self.accepted.events() + self.reshaping
    }

    /// Whether nothing is left to settle.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.accepted.is_empty() && self.reshaping == 0
    }

    /// The last batch that it took over.
    #[must_use]
    pub fn newest(&self) -> BatchId {
        BatchId(self.last_id)
    }

    /// Whether all batches up to one have settled, as they were or as parts, but for what was taken
    /// out: see [`Reshape`].
    #[must_use]
    pub fn has_ended_to(&self, newest: BatchId) -> bool {
        let sending = self.entries.iter().map(|it| &it.batch.history);
        sending.chain(self.accepted.histories()).all(|history| !history.is_of(newest))
    }

    /// The requests that are under way.
    pub fn flying(&self) -> impl Iterator<Item = BatchId> {
        let flying = |entry: &&Entry| matches!(entry.state, State::Flying(_));
        self.entries.iter().filter(flying).map(|entry| entry.id)
    }

    /// Lets go of a request that nobody waits for any more: its events are sent again some time.
    pub fn leave(&mut self, id: BatchId, applied: Applied, outcomes: &mut Outcomes) {
        let Some(mut ended) = self.end(id, outcomes) else { return };
        if applied == Applied::Maybe {
            self.count_ambiguous(&mut ended.batch, outcomes);
        }
        self.again(ended.id, ended.batch, State::Ready);
    }

    /// Lets go of what was accepted and is not confirmed: that is sent again as well.
    pub fn leave_unconfirmed(&self, outcomes: &mut Outcomes) {
        outcomes.tally.resent += self.accepted.events();
    }

    /// Batches that wait for their confirmation.
    #[must_use]
    pub fn unconfirmed(&self) -> usize {
        self.accepted.len()
    }

    /// Notes that parked events come back: they are rendered again, and enqueued.
    pub fn unpark(&mut self, reshape: &Reshape) {
        self.reshaping += reshape.items.len() as u64;
    }

    /// Notes that so many events which were to be rendered again wait elsewhere.
    pub fn take_back(&mut self, events: u64) {
        debug_assert!(self.reshaping >= events, "they were not asked for");
        self.reshaping = self.reshaping.saturating_sub(events);
    }

    /// What to do now. Asked again after each action, until it says `Wait` or `Idle`.
    pub fn poll(&mut self, now: Instant, outcomes: &mut Outcomes) -> Action {
        self.asked = now;
        self.expire_requests(now, outcomes);
        self.expire_ages(now, outcomes);
        let asking = self.asking(now);
        if let Some(question) = self.channels.poll(asking, now) {
            self.gate.charge(now);
            let (endpoint, group, ids) = (question.endpoint, question.group, question.ids);
            return Action::PollAcks { endpoint, group, ids };
        }
        // What could not be asked for is asked for before it is given up.
        if asking.from.is_none() {
            self.expire_acks(now, outcomes);
        }
        let probes_after = self.probes_after(now);
        let wait = match self.gate.pass(self.settings.lane, probes_after, now) {
            Pass::Free => match self.send_next(now, outcomes) {
                Ok(send) => return send,
                Err(wait) => {
                    self.slim_places(now);
                    wait
                }
            },
            Pass::Probe => return self.probe(now, outcomes),
            Pass::Wait(at) => {
                self.slim(now, outcomes);
                // With nothing to probe with, it is not this lane that ends the hold: whoever does
                // wakes it, and so does work.
                let has_work = !self.entries.is_empty() || self.reshaping > 0;
                match probes_after {
                    Some(_) => Some(at),
                    None => has_work.then(|| at.max(now + SLOT_WAIT)),
                }
            }
        };
        // Whatever is to be sent goes first.
        if let Some(question) = self.verify(now) {
            return question;
        }
        let asks = [self.channels.next(asking), self.requests.next(now)];
        let wakes = [wait, self.next_age(), self.next_room(now)].into_iter().chain(asks);
        match wakes.flatten().min() {
            Some(at) => Action::Wait(at),
            None => Action::Idle,
        }
    }

    /// When questions for confirmations may be asked: they wait as requests do while the
    /// destination asks for less, and while it is held they are no more frequent than probes.
    fn asking(&self, now: Instant) -> Asking {
        let usual = self.channels.interval();
        let interval = match self.gate.held() {
            Some((Cause::Outage, ..)) => usual.max(self.gate.breaker_open()),
            Some(_) => usual.max(self.settings.hold_interval),
            None => usual,
        };
        Asking { interval, from: self.gate.paused_until(now) }
    }

    /// Sends what is next, or says when to ask again.
    fn send_next(
        &mut self,
        now: Instant,
        outcomes: &mut Outcomes,
    ) -> Result<Action, Option<Instant>> {
        // When the budget has the next retry; first attempts do not wait for it.
        let mut retry_at = None;
        loop {
            let mut at = match self.next(retry_at, now) {
                Next::Now(at) => at,
                Next::Later(due) => return Err(Some(due)),
                Next::Nothing => return Err(None),
            };
            if !self.entries[at].batch.has_body() {
                let batch = self.entries.remove(at).batch;
                let level = batch.history.level;
                self.ask_again(batch, level, outcomes);
                continue;
            }
            let (batch, places) = (&self.entries[at].batch, self.gate.places());
            let (is_retry, route) = (batch.history.is_retry(), batch.route());
            if is_retry && let Err(later) = self.gate.admit_retry(now) {
                retry_at = Some(later);
                continue;
            }
            if let Err(refused) = self.gate.admit(self.settings.lane, now) {
                if is_retry {
                    self.gate.refund_retry();
                }
                return Err(Some(match refused {
                    Refused::Until(at) => at,
                    Refused::Slots => now + SLOT_WAIT,
                }));
            }
            let lost_after = self.gate.probe_timeout();
            if places.held(route).is_some() && !places.claim(route, lost_after, now) {
                // Another lane tries it.
                outcomes.wake |= self.gate.release();
                if is_retry {
                    self.gate.refund_retry();
                }
                continue;
            }
            // Whether it is away or one event breaks it, one event tells.
            if self.waits_by_place() && self.is_away(route) {
                at = self.cut_off_one(at);
            }
            return Ok(self.send(at, false, now, outcomes));
        }
    }

    /// What is next, by the log's order; where order matters, nothing overtakes. Retries are not
    /// before `retry_at`.
    fn next(&self, retry_at: Option<Instant>, now: Instant) -> Next {
        let is_strict = self.settings.order != Order::Any;
        if is_strict && self.reshaping > 0 {
            return Next::Nothing;
        }
        let (recovered, places) = (self.gate.recoveries(), self.gate.places());
        let mut later: Option<Instant> = None;
        let mut wait_for = |at: Instant| later = Some(later.map_or(at, |before| before.min(at)));
        for (at, entry) in self.entries.iter().enumerate() {
            let route = entry.batch.route();
            if let Some(hold) = places.held(route) {
                // One batch for the place is tried alone when its time has come; until then there
                // may be many places to look through.
                let is_another = || hold.retry_at <= now && self.first_of(route) != Some(at);
                let is_flying = matches!(entry.state, State::Flying(_));
                let is_able = entry.batch.has_body() || self.reshaping == 0;
                if is_flying || !is_able || is_another() {
                    continue;
                }
                let yields = places.wait(route, self.settings.lane);
                let yields = yields.then(|| self.yields(entry, hold.retry_at));
                let due = hold.retry_at + yields.unwrap_or_default();
                let due = retry_at.map_or(due, |retry| retry.max(due));
                // First be known to wait, then look again, as at the gate.
                match places.held(route).is_some() && due > now {
                    true => wait_for(due),
                    false => return Next::Now(at),
                }
                continue;
            }
            if let Some(free) = places.busy_until(route, now)
                && !matches!(entry.state, State::Flying(_))
            {
                // What comes behind it for the same place waits as well.
                wait_for(free);
                continue;
            }
            if self.is_passed(at, now) {
                continue;
            }
            if !entry.batch.has_body() && self.reshaping > 0 {
                // One batch at a time is rendered again: memory is bounded by what is being sent.
                continue;
            }
            let refused_until = retry_at.filter(|_| entry.batch.history.is_retry());
            match (entry.state, refused_until) {
                (State::Flying(_), _) => {}
                (State::Waiting { due, recoveries }, _)
                    if due > now
                        && (recoveries == recovered || entry.batch.history.is_apart)
                        && !self.was_prepared(entry) =>
                {
                    wait_for(due);
                }
                (_, Some(until)) => wait_for(until),
                (_, None) => return Next::Now(at),
            }
            if is_strict {
                break;
            }
        }
        later.map_or(Next::Nothing, Next::Later)
    }

    /// Whether an entry waited for a setup that has run meanwhile.
    fn was_prepared(&self, entry: &Entry) -> bool {
        entry.batch.history.awaits_setup && !self.gate.is_preparing()
    }

    /// Marks an entry as under way.
    pub(super) fn send(
        &mut self,
        at: usize,
        is_probe: bool,
        now: Instant,
        outcomes: &mut Outcomes,
    ) -> Action {
        let endpoint = self.gate.choose(now);
        let ticket = self.channels.ticket(endpoint, now);
        let (route, places) = (self.entries[at].batch.route(), self.gate.places());
        places.take(route, now);
        let is_trial = places.held(route).is_some();
        let was_well = match self.waits_by_place() {
            true => places.is_well(route),
            false => self.gate.is_well(),
        };
        let entry = &mut self.entries[at];
        let history = &mut entry.batch.history;
        history.attempts = history.attempts.saturating_add(1);
        history.is_cut = false;
        let (id, attempt) = (entry.id, history.attempts);
        if attempt == 1 {
            self.gate.earn_retry();
        } else {
            outcomes.tally.retried += entry.batch.events() as u64;
        }
        let flight = Flight { ticket, sent: now, is_probe, was_well, is_trial };
        entry.state = State::Flying(flight);
        Action::Send { id, endpoint, group: ticket.group, attempt, is_probe }
    }

    /// Asks the caller to render a batch's events again.
    pub(super) fn ask_again(&mut self, batch: Batch, level: Option<Level>, out: &mut Outcomes) {
        self.reshaping += batch.events() as u64;
        out.reshape.push(reshape(batch, level));
    }

    pub(super) fn insert(&mut self, mut batch: Batch, state: State) -> BatchId {
        self.last_id += 1;
        let id = BatchId(self.last_id);
        batch.history.first.get_or_insert(id);
        self.put(Entry { id, batch, state });
        id
    }

    /// Puts an entry where the log's order wants it.
    pub(super) fn put(&mut self, entry: Entry) {
        let first = |entry: &Entry| entry.batch.items().first().map(|item| item.span.from);
        let at = self.entries.partition_point(|other| first(other) < first(&entry));
        self.entries.insert(at, entry);
        self.lowest = Offset::ZERO;
    }

    pub(super) fn position(&self, id: BatchId) -> Option<usize> {
        self.entries.iter().position(|entry| entry.id == id)
    }

    /// Whether events for the place of this route have not settled, or must wait.
    #[must_use]
    pub fn has_route(&self, route: u32) -> bool {
        let sending = self.entries.iter().map(|entry| entry.batch.route());
        let mut routes = sending.chain(self.accepted.routes());
        self.is_held(route) || routes.any(|other| self.is_same_place(other, route))
    }

    /// Whether a request without events may go to this route now; it counts as one of its
    /// requests.
    pub fn admit_beside(&self, route: u32, now: Instant) -> bool {
        let is_free = self.gate.places().busy_until(route, now).is_none();
        if !is_free || !self.gate.is_open(self.settings.lane, now) {
            return false;
        }
        self.gate.charge(now);
        self.gate.places().take(route, now);
        true
    }

    /// Batches that could be sent now but for the gate.
    fn ready(&self) -> impl Iterator<Item = &Entry> {
        let places = self.gate.places();
        self.entries.iter().filter(move |entry| {
            let route = entry.batch.route();
            matches!(entry.state, State::Ready)
                && places.held(route).is_none()
                && places.busy_until(route, self.asked).is_none()
        })
    }

    /// When a lane that waits to close a batch, and is told of nothing, should look again.
    fn next_room(&self, now: Instant) -> Option<Instant> {
        match self.gate.paused_until(now) {
            Some(end) => Some(end),
            None if !self.allowance.has_room() => Some(now + self.room_wait()),
            None => None,
        }
    }

    /// Nothing but a batch to probe with is taken on while the exporter is held: outages are long.
    fn room_wait(&self) -> Duration {
        if self.gate.held().is_some() { HELD_WAIT } else { SLOT_WAIT }
    }

    fn next_age(&self) -> Option<Instant> {
        let age_max = self.settings.retry.age_max?;
        let idle = self.entries.iter().filter(|e| !matches!(e.state, State::Flying(_)));
        idle.filter_map(|entry| Some(entry.batch.history.failed_since? + age_max)).min()
    }
}

/// The events of a batch, to be rendered again.
pub(super) fn reshape(batch: Batch, level: Option<Level>) -> Reshape {
    let mut history = batch.history.clone();
    history.level = level;
    let (route, packing) = (batch.route(), Arc::clone(batch.packing()));
    let fold = batch.folded().cloned();
    Reshape { route, packing, level, history, fold, items: batch.into_items() }
}

impl Drop for Sender {
    fn drop(&mut self) {
        for entry in &self.entries {
            if let State::Flying(flight) = entry.state {
                self.gate.release();
                if flight.is_trial {
                    self.gate.places().unclaim(entry.batch.route(), flight.sent);
                }
            }
        }
    }
}

/// Lanes of one exporter: the bits of the word that says which ones wait.
pub const LANES_MAX: u8 = 64;

/// Closed batches that wait for a slot: one to send when it is free, one being closed.
const READY_MAX: usize = 2;

/// Batches of a lane that are not accepted yet. Only splitting goes beyond it, without more bytes.
const ENTRIES_MAX: usize = 64;

/// A lane that was refused a slot is woken; this is for the case that the waker is gone, and for
/// room in the budget, which nobody tells of.
const SLOT_WAIT: Duration = Duration::from_millis(100);

/// The same while the exporter is held.
const HELD_WAIT: Duration = Duration::from_secs(1);
