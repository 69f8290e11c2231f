//! What waits, and what ends that: exporters and routes that are held, probes, what is set aside.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::act::{Ended, Failure, FailureKind};
use super::batch::Batch;
use super::delivery::{BatchId, Outcomes, Remedy, Reshape};
use super::gate::{REFRESH_WAIT, Remedied, Success};
use super::places::PlaceHold;
use super::sender::{Action, Entry, Flight, Sender, State, reshape};
use super::standstill::Standstill;
use super::{Cause, Fate, Order, Pace, Reason, Scope, Verdict};

/// Events that wait and were taken out of a [`Sender`]; they are still pending.
#[derive(Debug)]
pub struct Parked {
    /// When they are tried again, where they wait alone and not for their route.
    pub until: Option<Instant>,
    /// The events.
    pub reshape: Reshape,
}

impl Sender {
    /// The routes whose places are held, and why.
    pub fn held_routes(&self) -> impl Iterator<Item = (u32, Cause)> {
        self.gate.places().held_routes()
    }

    /// Whether a route's place is held.
    #[must_use]
    pub fn is_held(&self, route: u32) -> bool {
        self.gate.places().held(route).is_some()
    }

    /// Takes out what waits alone, and the batches for places that are held for `after`, but for
    /// one each to try with.
    ///
    /// They stay pending; the caller keeps them elsewhere and brings them back by rendering them
    /// again once their time has come, or [`Sender::is_held`] no longer says so of the route.
    pub fn park(&mut self, after: Duration, now: Instant, out: &mut Vec<Parked>) {
        let mut at = 0;
        while at < self.entries.len() {
            match self.parts_with(at, after, now) {
                Some(until) => {
                    let batch = self.entries.remove(at).batch;
                    let level = batch.history.level;
                    out.push(Parked { until, reshape: reshape(batch, level) });
                }
                None => at += 1,
            }
        }
    }

    /// Whether an entry is to be taken out, and until when.
    fn parts_with(&self, at: usize, after: Duration, now: Instant) -> Option<Option<Instant>> {
        let Entry { batch, state, .. } = &self.entries[at];
        if let State::Waiting { due, .. } = *state
            && batch.history.is_apart
            && !batch.history.awaits_setup
            && due > now
        {
            return Some(Some(due));
        }
        let hold = self.gate.places().held(batch.route())?;
        let is_long = now.saturating_duration_since(hold.since) >= after;
        let is_idle = !matches!(state, State::Flying(_));
        let is_first = self.first_of(batch.route()) == Some(at);
        (is_long && is_idle && !is_first).then_some(None)
    }

    /// The batch that is tried next at the held place of a route: one under way; else the first, or
    /// where order does not matter the one that failed or was refused least.
    pub(super) fn first_of(&self, route: u32) -> Option<usize> {
        let entries = self.entries.iter().enumerate();
        let own = entries.filter(|(_, it)| self.is_same_place(it.batch.route(), route));
        let best = own.min_by_key(|(_, entry)| {
            let is_idle = !matches!(entry.state, State::Flying(_));
            (is_idle, self.refusals(entry))
        });
        best.map(|(at, _)| at)
    }

    /// How often a batch failed or was refused, where another one may be tried before it.
    fn refusals(&self, entry: &Entry) -> u32 {
        if self.settings.order == Order::Any { entry.batch.history.row } else { 0 }
    }

    /// Of what was set aside for the held place of a route, what failed less often than so is
    /// wanted here to try it with: anything where nothing is here, nothing while one is tried.
    #[must_use]
    pub fn wants_trial(&self, route: u32) -> Option<u32> {
        if !self.is_held(route) || self.reshaping > 0 {
            return None;
        }
        let Some(first) = self.first_of(route) else { return Some(u32::MAX) };
        let entry = &self.entries[first];
        (!matches!(entry.state, State::Flying(_))).then(|| self.refusals(entry))
    }

    /// Whether places are away each by itself, and may be passed then.
    pub(super) fn waits_by_place(&self) -> bool {
        self.settings.has_own_places && self.settings.order != Order::Strict
    }

    /// What stands still at the place of a route: one with an address of its own does so by itself,
    /// whatever others accept.
    pub(super) fn standstill(&mut self, route: u32) -> &mut Standstill {
        let place = if self.waits_by_place() { self.gate.places().number(route) } else { 0 };
        let longest = self.settings.standstill_max;
        self.standstills.entry(place).or_insert_with(|| Standstill::new(longest))
    }

    /// Whether a place is held since it is out of order.
    pub(super) fn is_away(&self, route: u32) -> bool {
        self.gate.places().held(route).is_some_and(|hold| hold.cause == Cause::Outage)
    }

    pub(super) fn is_same_place(&self, one: u32, other: u32) -> bool {
        self.gate.places().is_same(one, other)
    }

    /// Finds out whether the hold can end: by the vendor's call, else with a single event.
    pub(super) fn probe(&mut self, now: Instant, outcomes: &mut Outcomes) -> Action {
        if self.probes_by_call() {
            self.gate.charge(now);
            self.probed = now;
            return Action::Probe { endpoint: self.gate.choose(now) };
        }
        // Where an event tells nothing either, the call is asked again.
        self.gate.ask_event(false);
        let mut at = self.probe_entry(now).expect("asked before the probe was claimed");
        at = self.cut_off_one(at);
        self.gate.admit_probe(now);
        self.send(at, true, now, outcomes)
    }

    /// Makes a batch of its own of the first event of one; where that is then.
    pub(super) fn cut_off_one(&mut self, at: usize) -> usize {
        if self.entries[at].batch.parts() <= 1 {
            return at;
        }
        let Entry { batch, .. } = self.entries.remove(at);
        let one = batch.select(|item| item == 0);
        self.insert(batch.select(|item| item != 0), State::Ready);
        let id = self.insert(one, State::Ready);
        self.position(id).expect("just inserted")
    }

    /// Whether the vendor's call is the next probe.
    pub(super) fn probes_by_call(&self) -> bool {
        self.settings.has_probe && !self.gate.asks_event()
    }

    /// How long it leaves the probe to other lanes, if there is something to probe with: what
    /// failed least goes first, whoever has it.
    pub(super) fn probes_after(&self, now: Instant) -> Option<Duration> {
        if self.probes_by_call() {
            return Some(Duration::ZERO);
        }
        let entry = &self.entries[self.probe_entry(now)?];
        let due = self.gate.held().map_or(now, |(_, _, due)| due);
        Some(self.patience(entry.batch.history.row, due))
    }

    /// How long it leaves the trial of a place, which is due then, to other lanes.
    pub(super) fn yields(&self, entry: &Entry, due: Instant) -> Duration {
        self.patience(self.refusals(entry), due)
    }

    /// How long what failed so often is left for other lanes. Once all have failed for hours, they
    /// draw lots, anew each time: else the same one might always be the first.
    fn patience(&self, failures: u32, due: Instant) -> Duration {
        if failures < YIELDS_MAX {
            return YIELD * failures;
        }
        let lot = self.gate.ns(due) ^ u64::from(self.settings.lane);
        YIELD * YIELDS_MAX + LOTS.mul_f64(fastrand::Rng::with_seed(lot).f64())
    }

    /// The entry to probe with, if it can be sent.
    fn probe_entry(&self, now: Instant) -> Option<usize> {
        self.candidate(now).filter(|&at| self.entries[at].batch.has_body())
    }

    /// The entry that the next probe is about: of a route that need not wait, if there is one, and
    /// the one that failed or was refused least. Probes go round, so that an event which breaks the
    /// destination each time, or is refused for what is in it, does not keep the hold up; where
    /// order matters they cannot.
    fn candidate(&self, now: Instant) -> Option<usize> {
        let singles = self.entries.iter().filter(|entry| entry.batch.parts() == 1).count();
        let entries = self.entries.iter().enumerate();
        let able = entries.filter(|&(at, entry)| {
            !matches!(entry.state, State::Flying(_)) && self.overtakes_none(at)
        });
        let best = able.min_by_key(|(_, entry)| {
            let batch = &entry.batch;
            let hold = self.gate.places().held(batch.route());
            let must_wait = hold.is_some_and(|hold| hold.retry_at > now);
            // An outage of days must not cut everything into single events.
            let cuts_more = singles >= SINGLES_MAX && batch.parts() > 1;
            (must_wait, cuts_more, batch.history.row, hold.is_some(), !batch.has_body())
        });
        best.map(|(at, _)| at)
    }

    /// Whether nothing lies before an entry that has to go first.
    fn overtakes_none(&self, at: usize) -> bool {
        let route = self.entries[at].batch.route();
        match self.settings.order {
            Order::Any => true,
            Order::Strict => at == 0 && self.reshaping == 0,
            Order::Loose => {
                let before = &self.entries[..at];
                let is_other = |it: &Entry| !self.is_same_place(it.batch.route(), route);
                self.reshaping == 0 && before.iter().all(is_other)
            }
        }
    }

    /// Whether all that is here has failed, or is for a place that is known to be away, so that a
    /// batch more would tell if they are to blame.
    pub(super) fn lacks_probe(&self) -> bool {
        // By a call of its own, or where nothing may pass, another batch tells nothing.
        let is_of_use = !self.settings.has_probe && self.settings.order != Order::Strict;
        let tells_nothing = |entry: &Entry| {
            let is_place = self.waits_by_place() && self.is_away(entry.batch.route());
            entry.batch.history.is_suspect || is_place
        };
        self.reshaping == 0
            && (self.entries.is_empty() || is_of_use && self.entries.iter().all(tells_nothing))
    }

    /// Lets go of the bodies of what waits at places that are held for long: one batch is kept for
    /// each to try it with, there may be many of them, and others need the memory.
    pub(super) fn slim_places(&mut self, now: Instant) {
        for entry in &mut self.entries {
            if matches!(entry.state, State::Flying(_)) || !entry.batch.has_body() {
                continue;
            }
            let hold = self.gate.places().held(entry.batch.route());
            let is_long = |hold: PlaceHold| {
                let since = now.saturating_duration_since(hold.since);
                since >= SLIM_AFTER && hold.retry_at > now + SLIM_AHEAD
            };
            if hold.is_some_and(is_long) {
                entry.batch.drop_body();
            }
        }
    }

    /// At how many held places a batch waits to try them with that takes no memory.
    pub(super) fn trials(&self) -> usize {
        let places = self.gate.places();
        let without_body = self.entries.iter().filter(|entry| !entry.batch.has_body());
        let routes = without_body.map(|entry| entry.batch.route());
        let held = routes.filter(|&route| self.is_held(route));
        held.map(|route| places.number(route)).collect::<BTreeSet<_>>().len()
    }

    /// Lets go of bodies while the exporter is held: the log has the events.
    ///
    /// The body to probe with next stays. Where it is gone already, one event is rendered again.
    pub(super) fn slim(&mut self, now: Instant, outcomes: &mut Outcomes) {
        let Some((_, since, _)) = self.gate.held() else { return };
        if now.saturating_duration_since(since) < SLIM_AFTER {
            return;
        }
        let kept = if self.probes_by_call() { None } else { self.candidate(now) };
        for (at, entry) in self.entries.iter_mut().enumerate() {
            let is_idle = !matches!(entry.state, State::Flying(_));
            if is_idle && Some(at) != kept && entry.batch.has_body() {
                entry.batch.drop_body();
            }
        }
        if let Some(at) = kept
            && !self.entries[at].batch.has_body()
            && self.reshaping == 0
        {
            let Entry { batch, .. } = self.entries.remove(at);
            let level = batch.history.level;
            let (one, rest) = batch.split_dropped(1);
            if let Some(rest) = rest {
                self.insert(rest, State::Ready);
            }
            self.ask_again(one, level, outcomes);
        }
    }

    /// Takes in that the destination was prepared again, as far as it let itself be: whatever
    /// waited for that is tried now.
    pub fn on_prepared(&self, now: Instant, outcomes: &mut Outcomes) {
        outcomes.wake |= self.gate.end_setup(now);
    }

    /// Takes in how the vendor's probe call ended; `None` is no answer.
    pub fn on_probe(
        &mut self,
        endpoint: usize,
        verdict: Option<Verdict>,
        now: Instant,
        outcomes: &mut Outcomes,
    ) {
        if let Some(Verdict { pace: Pace::Pause(Some(wait)), .. }) = verdict {
            self.gate.pause(wait, now);
        }
        match verdict.map(|verdict| verdict.fate) {
            Some(Fate::Delivered) => {
                outcomes.wake |= self.gate.answered(endpoint, Success::Yes, true, self.probed);
            }
            Some(Fate::Hold { cause, .. }) => self.gate.hold(cause, now),
            // It is at work and refuses this call alone, which some do that take events: one
            // request, which is all that goes at first, finds out.
            Some(Fate::Reject) => {
                outcomes.wake |= self.gate.answered(endpoint, Success::No, true, self.probed);
            }
            // Whoever answered says nothing of events: one of them finds out.
            Some(_) => {
                self.gate.ask_event(true);
                self.gate.hold_on(now);
            }
            None => {
                self.gate.fail(endpoint, true, now);
                self.gate.hold_on(now);
            }
        }
    }

    /// Stops what the cause stops, and keeps the batch.
    pub(super) fn on_hold(
        &mut self,
        ended: Ended,
        (cause, scope): (Cause, Scope),
        failure: Failure,
        now: Instant,
        outcomes: &mut Outcomes,
    ) {
        let Flight { ticket, sent, is_probe, .. } = ended.flight;
        if scope == Scope::Endpoint && self.gate.fail(ticket.endpoint, true, now) {
            let Ended { id, batch, .. } = ended;
            return self.again(id, batch, State::Ready);
        }
        // Nobody stands in for it: what it says now, it may not say in a moment.
        if scope == Scope::Endpoint && cause == Cause::Outage {
            return self.fail_where(ended, failure, false, now, outcomes);
        }
        self.standstill(ended.batch.route()).on_outage();
        let scope = if self.settings.has_own_places { Scope::Route } else { scope };
        let Ended { id, mut batch, .. } = ended;
        batch.history.failed_since.get_or_insert(now);
        batch.history.last = Some(failure.reason.clone());
        batch.history.row = batch.history.row.saturating_add(1);
        batch.history.is_apart |= self.is_apart(&batch, scope, failure.kind);
        batch.history.holds = batch.history.holds.saturating_add(1);
        batch.history.held_at = Some(now);
        batch.history.awaits_setup = false;
        if batch.history.is_apart && !is_probe {
            if cause == Cause::Config && self.settings.has_setup {
                self.ask_for_setup(&mut batch, sent, now, outcomes);
            }
            return self.wait_alone(id, batch, &failure.reason, now, outcomes);
        }
        let has_remedy = match cause {
            Cause::Auth => true,
            Cause::Config => self.settings.has_setup,
            Cause::Outage => false,
        };
        let route = batch.route();
        // Others that are accepted say nothing of a place that refuses again.
        let is_held = self.gate.places().held(route).is_some_and(|hold| hold.since < sent);
        let is_again = scope == Scope::Route && is_held;
        let remedied = match has_remedy && !is_probe && !is_again {
            true => self.gate.remedy(cause, sent, now),
            false => Remedied::InVain,
        };
        if remedied != Remedied::InVain && cause == Cause::Auth {
            // The same once more is no better, and whoever shows it again and again is locked out.
            match scope {
                Scope::Route => self.hold_route_for(route, cause, REFRESH_WAIT, now),
                Scope::Exporter | Scope::Endpoint => self.gate.await_credentials(now),
            }
        }
        if remedied != Remedied::InVain && cause == Cause::Config {
            if remedied == Remedied::Now {
                self.gate.begin_setup(now);
            }
            self.await_setup(route, scope, failure.pace, now);
        }
        match (remedied, scope) {
            (Remedied::Now, _) => {
                outcomes.remedy = Some(match cause {
                    Cause::Auth => Remedy::Refresh,
                    Cause::Config | Cause::Outage => Remedy::Setup,
                });
            }
            (Remedied::Before, _) => {}
            (Remedied::InVain, Scope::Route) => {
                self.hold_route(route, cause, failure.pace, now);
                if is_probe {
                    // The exporter is well enough to say what is wrong with one route.
                    outcomes.wake |= self.gate.answered(ticket.endpoint, Success::No, true, sent);
                }
            }
            (Remedied::InVain, Scope::Exporter | Scope::Endpoint) => {
                self.gate.adapt(failure.pace, Success::No, sent, now);
                self.gate.hold(cause, now);
            }
        }
        if let Some(batch) = self.judge(batch, &failure.reason, FailureKind::Items, now, outcomes) {
            self.again(id, batch, State::Ready);
        }
    }

    /// Waits until the destination is prepared again: before, the same answer says nothing.
    fn await_setup(&self, route: u32, scope: Scope, pace: Pace, now: Instant) {
        match scope {
            _ if !self.gate.is_preparing() => {}
            Scope::Route => self.hold_route(route, Cause::Config, pace, now),
            Scope::Exporter | Scope::Endpoint => self.gate.rest(self.settings.hold_interval, now),
        }
    }

    /// Has the destination prepared again for events of a request of `sent` that are refused beside
    /// others, where that was not tried of late.
    fn ask_for_setup(&self, batch: &mut Batch, sent: Instant, now: Instant, out: &mut Outcomes) {
        if self.gate.begin_setup_apart(self.settings.hold_interval, sent, now) {
            out.remedy = Some(Remedy::Setup);
        }
        batch.history.awaits_setup = self.gate.is_preparing();
    }

    /// Whether what an answer holds is of these events alone, since others were taken: by the same
    /// answer, or since the one before held something for them.
    fn is_apart(&self, batch: &Batch, scope: Scope, kind: FailureKind) -> bool {
        let took_since = |at: Instant| match scope {
            Scope::Route => self.gate.places().took_since(batch.route(), at),
            Scope::Exporter | Scope::Endpoint => self.gate.took_since(at),
        };
        let is_beside = kind == FailureKind::Items || batch.history.held_at.is_some_and(took_since);
        self.settings.order == Order::Any && is_beside
    }

    /// Keeps events that are refused while others are taken: an index that is closed, a place that
    /// is another one's. They are tried less often each time.
    fn wait_alone(
        &mut self,
        id: BatchId,
        batch: Batch,
        reason: &Reason,
        now: Instant,
        outcomes: &mut Outcomes,
    ) {
        let doublings = (batch.history.holds - 1).min(ALONE_DOUBLINGS_MAX);
        let due = now + self.settings.hold_interval * (1 << doublings);
        if let Some(batch) = self.judge(batch, reason, FailureKind::Items, now, outcomes) {
            self.again(id, batch, State::Waiting { due, recoveries: self.gate.recoveries() });
        }
    }

    fn hold_route(&self, route: u32, cause: Cause, pace: Pace, now: Instant) {
        let wait = match (pace, cause) {
            (Pace::Pause(Some(wait)), _) => self.gate.capped(wait),
            (_, Cause::Outage) => self.gate.breaker_open(),
            (_, Cause::Auth | Cause::Config) => self.settings.hold_interval,
        };
        self.hold_route_for(route, cause, wait, now);
    }

    pub(super) fn hold_route_for(&self, route: u32, cause: Cause, wait: Duration, now: Instant) {
        self.gate.places().hold(route, cause, now + wait, now);
    }
}

/// Single events that are probed with in turn; more are not cut off for it.
const SINGLES_MAX: usize = 64;

/// A lane leaves the probe to others for so long per failure of what it has, a second at most, and
/// then for a part of another one.
const YIELD: Duration = Duration::from_millis(5);
const YIELDS_MAX: u32 = 200;
const LOTS: Duration = Duration::from_secs(1);

/// What waits alone is tried after a minute at first, and after four at last.
const ALONE_DOUBLINGS_MAX: u32 = 2;

/// Bodies are kept this long into a hold: short ones then cost no rendering.
const SLIM_AFTER: Duration = Duration::from_secs(10);
/// What is to be tried within this time keeps its body.
const SLIM_AHEAD: Duration = Duration::from_secs(5);
