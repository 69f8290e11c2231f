//! What the lanes of one exporter share: slots, rate, breaker, holds, endpoints.
//!
//! Lanes live on several threads. Everything here is an atomic, changed a few times per request and
//! never per event; nothing is locked.

use std::mem::take;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::hold::{Held, Hold};
use super::limiter::{Limiter, RetryBudget, ns};
use super::nodes::Nodes;
use super::places::{Places, RoutePlaces};
use super::{BreakerSettings, Cause, Choice, Pace, RateSettings, RetrySettings, Settings};

/// How a [`Gate`] is set up.
#[derive(Clone, Debug)]
pub struct GateSettings {
    /// Requests in flight over all lanes, at least 1.
    pub concurrency: u32,
    /// How many endpoints there are, at least 1.
    pub endpoints: usize,
    /// Which of them takes the next request.
    pub choice: Choice,
    /// When attempts stop for a while.
    pub breaker: BreakerSettings,
    /// How many requests a second.
    pub rate: RateSettings,
    /// Retries as a share of first attempts, in percent.
    pub retry_percent: u32,
    /// The longest `Retry-After` that is honoured.
    pub retry_after_max: Duration,
    /// How long an exporter with bad credentials or a wrong setup waits between probes.
    pub hold_interval: Duration,
    /// A probe that has not ended after this long is lost; longer than any request may take.
    pub probe_timeout: Duration,
    /// Where its routes lead.
    pub places: RoutePlaces,
}

/// The state of one exporter that its lanes share.
#[derive(Debug)]
pub struct Gate {
    settings: GateSettings,
    epoch: Instant,
    slots: AtomicU32,
    /// Slots that may be taken: fewer right after a hold, one more per success.
    open_slots: AtomicU32,
    /// Lanes that were refused a slot or are held, by bit.
    waiting: AtomicU64,
    pause_ns: AtomicU64,
    /// The end of the pause that the destination asked for itself.
    asked_ns: AtomicU64,
    limiter: Limiter,
    retries: RetryBudget,
    hold: Hold,
    held_since_ns: AtomicU64,
    failures: AtomicU32,
    /// When a request last failed.
    failed_ns: AtomicU64,
    /// When something that was accepted was last not confirmed, or the question for it failed.
    doubted_ns: AtomicU64,
    /// When events were last refused for what is in them.
    rejected_ns: AtomicU64,
    /// When the latest of the accepted requests was sent.
    accepted_ns: AtomicU64,
    /// The same of those that carried events.
    taken_ns: AtomicU64,
    /// Whether the vendor's probe call was answered and tells nothing: the next probe is an event.
    asks_event: AtomicBool,
    recoveries: AtomicU64,
    remedied_ns: [AtomicU64; 2],
    /// When preparing the destination again was last asked for.
    setup_ns: AtomicU64,
    /// Whether that is not through yet.
    is_preparing: AtomicBool,
    /// Until when other credentials are waited for.
    others_ns: AtomicU64,
    /// Events that were refused for good while none was accepted; [`ACCEPTS`] once one was.
    refused: AtomicU32,
    nodes: Nodes,
    places: Places,
}

/// How an exporter is doing, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Health {
    /// Requests succeed.
    Healthy,
    /// Something failed, was refused or not confirmed within the last half minute, or an endpoint
    /// is dead.
    Degraded,
    /// The destination asked for less.
    Throttled,
    /// Credentials do not work; held.
    AuthFailed,
    /// The destination is set up otherwise than configured; held.
    ConfigFailed,
    /// Out of order; held until a probe succeeds.
    CircuitOpen,
}

/// Why a request may not go now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Not before this time.
    Until(Instant),
    /// All slots are taken; the lane is woken when one is free.
    Slots,
}

/// What a lane may do, as far as holds go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    /// Send.
    Free,
    /// Send one probe and report how it ended.
    Probe,
    /// Nothing until then.
    Wait(Instant),
}

impl GateSettings {
    /// As configured, for this many endpoints and slots and these routes.
    #[must_use]
    pub fn new(
        settings: &Settings,
        endpoints: usize,
        concurrency: u32,
        places: RoutePlaces,
    ) -> Self {
        let RetrySettings { budget_percent, retry_after_max, .. } = settings.retry;
        Self {
            concurrency,
            endpoints,
            choice: settings.vendor.choice,
            breaker: settings.breaker,
            rate: settings.rate,
            retry_percent: budget_percent,
            retry_after_max,
            hold_interval: HOLD_INTERVAL,
            probe_timeout: settings.connection.connect_timeout + settings.connection.timeout * 2,
            places,
        }
    }
}

impl Gate {
    /// An open gate; `epoch` is no later than any time it is told.
    #[must_use]
    pub fn new(mut settings: GateSettings, epoch: Instant) -> Self {
        assert!(settings.concurrency > 0, "an exporter has at least one slot");
        Self {
            epoch,
            slots: AtomicU32::new(0),
            open_slots: AtomicU32::new(settings.concurrency),
            waiting: AtomicU64::new(0),
            pause_ns: AtomicU64::new(0),
            asked_ns: AtomicU64::new(0),
            limiter: Limiter::new(settings.rate),
            retries: RetryBudget::new(settings.retry_percent),
            hold: Hold::default(),
            held_since_ns: AtomicU64::new(0),
            failures: AtomicU32::new(0),
            failed_ns: AtomicU64::new(0),
            doubted_ns: AtomicU64::new(0),
            rejected_ns: AtomicU64::new(0),
            accepted_ns: AtomicU64::new(0),
            taken_ns: AtomicU64::new(0),
            asks_event: AtomicBool::new(false),
            recoveries: AtomicU64::new(0),
            remedied_ns: [AtomicU64::new(0), AtomicU64::new(0)],
            setup_ns: AtomicU64::new(0),
            is_preparing: AtomicBool::new(false),
            others_ns: AtomicU64::new(0),
            refused: AtomicU32::new(0),
            nodes: Nodes::new(settings.endpoints, settings.choice, settings.breaker.failures),
            places: Places::new(take(&mut settings.places), epoch),
            settings,
        }
    }

    /// How the exporter is doing.
    #[must_use]
    pub fn health(&self, now: Instant) -> Health {
        let is_recent = |at_ns| at_ns != 0 && self.ns(now).saturating_sub(at_ns) < ns(DEGRADED_FOR);
        match self.requests_health(now) {
            Health::Healthy if is_recent(self.rejected_ns.load(Ordering::Relaxed)) => {
                Health::Degraded
            }
            health => health,
        }
    }

    /// The same, whatever single events are refused for.
    #[must_use]
    pub fn requests_health(&self, now: Instant) -> Health {
        let now_ns = self.ns(now);
        match self.hold.load() {
            Held::Until(cause, _) | Held::Probing(cause, _) => return cause.into(),
            Held::No => {}
        }
        let [failed_ns, doubted_ns] =
            [&self.failed_ns, &self.doubted_ns].map(|at| at.load(Ordering::Relaxed));
        let failed_ns = failed_ns.max(doubted_ns);
        let has_failed = failed_ns != 0 && now_ns.saturating_sub(failed_ns) < ns(DEGRADED_FOR);
        let is_asked = self.asked_ns.load(Ordering::Relaxed) > now_ns;
        if is_asked || self.limiter.eased_within(DEGRADED_FOR, now_ns) {
            Health::Throttled
        } else if has_failed || self.nodes.alive() < self.nodes.count() {
            Health::Degraded
        } else {
            Health::Healthy
        }
    }

    /// Why the exporter is held, since when, and when it is probed next.
    #[must_use]
    pub fn held(&self) -> Option<(Cause, Instant, Instant)> {
        match self.hold.load() {
            Held::No => None,
            Held::Until(cause, probe_ns) | Held::Probing(cause, probe_ns) => {
                let since = self.held_since_ns.load(Ordering::Relaxed);
                let probe_ns = probe_ns.max(self.asked_ns.load(Ordering::Acquire));
                Some((cause, self.time(since), self.time(probe_ns)))
            }
        }
    }

    /// Whether it accepted a request since it was held or failed last.
    #[must_use]
    pub fn is_accepting(&self) -> bool {
        let accepted_ns = self.accepted_ns.load(Ordering::Acquire);
        matches!(self.hold.load(), Held::No) && accepted_ns > self.failed_ns.load(Ordering::Relaxed)
    }

    /// Whether it is held since its credentials do not work.
    #[must_use]
    pub fn has_bad_credentials(&self) -> bool {
        matches!(self.held(), Some((Cause::Auth, ..)))
    }

    /// Requests in flight.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.slots.load(Ordering::Relaxed)
    }

    /// The request limit now, in thousandths of a request per second; 0 is none.
    #[must_use]
    pub fn rate(&self) -> u64 {
        self.limiter.rate()
    }

    /// Whether a request of this lane would be let through now; a lane that finds no slot is woken
    /// when there is one.
    pub(super) fn is_open(&self, lane: u8, now: Instant) -> bool {
        if self.hold.load() != Held::No || self.paused_until(now).is_some() {
            return false;
        }
        let has_slot = || self.in_flight() < self.open_slots.load(Ordering::Acquire);
        if has_slot() {
            return true;
        }
        // First be known to wait, then look again, as in `admit`.
        self.waiting.fetch_or(1 << (lane % 64), Ordering::AcqRel);
        has_slot()
    }

    /// The end of a pause of the whole exporter.
    pub(super) fn paused_until(&self, now: Instant) -> Option<Instant> {
        let pause_ns = self.pause_ns.load(Ordering::Acquire);
        (pause_ns > self.ns(now)).then(|| self.time(pause_ns))
    }

    /// Whether the destination is at work, as far as anybody knows: a request that was sent when
    /// the last failure was known, whoever's it was, has been accepted. What is cut in two goes out
    /// in that very moment.
    ///
    /// The answer to one that was sent before may simply be late.
    pub(super) fn is_well(&self) -> bool {
        let failed_ns = self.failed_ns.load(Ordering::Acquire);
        failed_ns == 0 || self.accepted_ns.load(Ordering::Acquire) >= failed_ns
    }

    /// How often a hold ended; a waiting batch need not wait on once it changes.
    pub(super) fn recoveries(&self) -> u64 {
        self.recoveries.load(Ordering::Acquire)
    }

    /// Whether the lane may send, may probe, or must wait.
    ///
    /// `lane` is woken when a hold ends. It may probe so long `after` others that wait, or not at
    /// all. A granted probe is reported with [`Gate::answered`] or
    /// [`Gate::hold`], else it is lost after `probe_timeout`.
    pub(super) fn pass(&self, lane: u8, after: Option<Duration>, now: Instant) -> Pass {
        let now_ns = self.ns(now);
        let at = match self.hold.load() {
            Held::No => return Pass::Free,
            Held::Until(_, at) | Held::Probing(_, at) => at,
        };
        let own = 1 << (lane % 64);
        let is_alone = self.waiting.fetch_or(own, Ordering::AcqRel) & !own == 0;
        let after_ns = after.filter(|_| !is_alone).map_or(0, ns);
        let lost_ns = now_ns.saturating_add(ns(self.settings.probe_timeout));
        // A time that the destination names is a floor for probes as well.
        let asked_ns = self.asked_ns.load(Ordering::Acquire);
        let may_probe = after.is_some() && asked_ns.saturating_add(after_ns) <= now_ns;
        if may_probe && self.hold.claim(now_ns.saturating_sub(after_ns), lost_ns) {
            return Pass::Probe;
        }
        let at = at.max(asked_ns).saturating_add(after_ns);
        // The hold may have ended or moved in between; then the caller asks again at once.
        match self.hold.load() {
            Held::No => Pass::Free,
            Held::Until(_, later) | Held::Probing(_, later) => {
                let soonest = now_ns.saturating_add(ns(ASK_AGAIN));
                Pass::Wait(self.time(at.max(later).max(soonest)))
            }
        }
    }

    /// Takes a slot and a request's token.
    ///
    /// Every granted slot is given back with [`Gate::release`].
    pub(super) fn admit(&self, lane: u8, now: Instant) -> Result<(), Refused> {
        let now_ns = self.ns(now);
        if let Some(end) = self.paused_until(now) {
            return Err(Refused::Until(end));
        }
        if !self.take_slot() {
            // First be known to wait, then look again: else the slot that is given back in between
            // would wake nobody.
            self.waiting.fetch_or(1 << (lane % 64), Ordering::AcqRel);
            if !self.take_slot() {
                return Err(Refused::Slots);
            }
        }
        self.limiter.take(now_ns).map_err(|at_ns| {
            self.slots.fetch_sub(1, Ordering::AcqRel);
            Refused::Until(self.time(at_ns))
        })
    }

    /// Takes a slot for a probe, whatever is taken: a probe must not wait for requests that hang.
    pub(super) fn admit_probe(&self, now: Instant) {
        self.slots.fetch_add(1, Ordering::AcqRel);
        self.charge(now);
    }

    /// Counts a request that neither waits nor takes a slot: a poll or a probe call.
    pub(super) fn charge(&self, now: Instant) {
        self.limiter.charge(self.ns(now));
    }

    /// Gives a slot back; returns the lanes to wake.
    pub(super) fn release(&self) -> u64 {
        let before = self.slots.fetch_sub(1, Ordering::AcqRel);
        debug_assert!(before > 0, "a slot was given back twice");
        self.waiting.swap(0, Ordering::AcqRel)
    }

    /// Takes a retry from the budget, or says when there will be one.
    pub(super) fn admit_retry(&self, now: Instant) -> Result<(), Instant> {
        self.retries.take(self.ns(now)).map_err(|at_ns| self.time(at_ns))
    }

    /// Gives a retry back that was not made.
    pub(super) fn refund_retry(&self) {
        self.retries.refund();
    }

    /// Notes a first attempt.
    pub(super) fn earn_retry(&self) {
        self.retries.earn();
    }

    /// Leaves out an endpoint that is busy for so long, where there are others that take turns.
    pub(super) fn spare(&self, endpoint: usize, wait: Duration, now: Instant) {
        self.nodes.spare(endpoint, self.ns(now).saturating_add(ns(wait)));
    }

    /// The endpoint for the next request.
    pub(super) fn choose(&self, now: Instant) -> usize {
        self.nodes.choose(self.ns(now))
    }

    /// Notes that the destination is at work; returns the lanes to wake.
    ///
    /// `success` says whether it accepted anything, or answered that it will not; `sent` is when
    /// the request was.
    pub(super) fn answered(
        &self,
        endpoint: usize,
        success: Success,
        is_probe: bool,
        sent: Instant,
    ) -> u64 {
        self.failures.store(0, Ordering::Release);
        self.nodes.revive(endpoint);
        if success == Success::Yes {
            self.accepted_ns.fetch_max(self.ns(sent), Ordering::AcqRel);
            let most = self.settings.concurrency;
            let _ = self.open_slots.fetch_update(Ordering::AcqRel, Ordering::Acquire, |open| {
                (open < most).then_some(open + 1)
            });
        }
        // Any accepted request ends an outage. One that was under way when credentials or setup
        // broke proves nothing about them now; only a probe does.
        let ends = |cause| is_probe || cause == Cause::Outage;
        if self.hold.load() == Held::No || !self.hold.clear(ends) {
            return 0;
        }
        // A destination that comes back is met by one request at first, then by more with each
        // success: if it goes away again, few batches were on their way.
        self.open_slots.store(1, Ordering::Release);
        self.recoveries.fetch_add(1, Ordering::AcqRel);
        self.remedied_ns.iter().for_each(|at| at.store(0, Ordering::Release));
        self.waiting.swap(0, Ordering::AcqRel)
    }

    /// Whether events were accepted in a request that was sent after this time.
    pub(super) fn took_since(&self, at: Instant) -> bool {
        self.taken_ns.load(Ordering::Acquire) > self.ns(at)
    }

    /// Whether the next probe is an event though the vendor has a call for it.
    pub(super) fn asks_event(&self) -> bool {
        self.asks_event.load(Ordering::Acquire)
    }

    /// Says so, or that it need not be any more.
    pub(super) fn ask_event(&self, asks: bool) {
        self.asks_event.store(asks, Ordering::Release);
    }

    /// Notes that events of a request that was sent at this time were accepted.
    pub(super) fn accepts(&self, sent: Instant) {
        self.taken_ns.fetch_max(self.ns(sent), Ordering::AcqRel);
        if self.refused.load(Ordering::Relaxed) != ACCEPTS {
            self.refused.store(ACCEPTS, Ordering::Relaxed);
        }
    }

    /// Counts events that were refused for what is in them; whether so many were, and none
    /// accepted, that it is hardly the events that are wrong.
    pub(super) fn refuses_all(&self, events: usize) -> bool {
        let events = u32::try_from(events).unwrap_or(REFUSED_MAX).min(REFUSED_MAX);
        let count = |refused: u32| (refused != ACCEPTS).then(|| REFUSED_MAX.min(refused + events));
        let before = self.refused.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count);
        before.is_ok_and(|before| before + events >= REFUSED_MAX)
    }

    /// Notes a failed request of the kind that may be an outage; opens the breaker after several.
    ///
    /// Returns whether another endpoint is alive.
    pub(super) fn fail(&self, endpoint: usize, is_node: bool, now: Instant) -> bool {
        let now_ns = self.ns(now);
        self.failed_ns.fetch_max(now_ns.max(1), Ordering::AcqRel);
        // A preferred endpoint is a whole site: whatever fails there in a row, others may take it.
        let is_node = is_node || self.settings.choice == Choice::First;
        let another = is_node && self.nodes.bury(endpoint, now_ns);
        if another {
            return true;
        }
        let failures = self.failures.fetch_add(1, Ordering::AcqRel).saturating_add(1);
        let threshold = self.settings.breaker.failures;
        let is_held = self.hold.load() != Held::No;
        if threshold != 0 && failures >= threshold && !is_held {
            // What was accepted last carried no event: the vendor's call says that all is well, and
            // what goes then breaks each time.
            let accepted_ns = self.accepted_ns.load(Ordering::Acquire);
            self.ask_event(accepted_ns > self.taken_ns.load(Ordering::Acquire));
            self.hold(Cause::Outage, now);
        }
        false
    }

    /// Notes that events were refused for what is in them. It is shown.
    pub(super) fn rejects(&self, now: Instant) {
        self.rejected_ns.fetch_max(self.ns(now).max(1), Ordering::AcqRel);
    }

    /// Notes that what was accepted was not confirmed. It is shown, and says nothing of requests.
    pub(super) fn doubt(&self, now: Instant) {
        self.doubted_ns.fetch_max(self.ns(now).max(1), Ordering::AcqRel);
    }

    /// Holds the exporter until a probe succeeds; a running probe has failed.
    pub(super) fn hold(&self, cause: Cause, now: Instant) {
        let now_ns = self.ns(now);
        let wait = match cause {
            Cause::Outage => self.settings.breaker.open,
            Cause::Auth | Cause::Config => self.settings.hold_interval,
        };
        if self.hold.set(cause, now_ns.saturating_add(ns(wait))) {
            self.held_since_ns.store(now_ns, Ordering::Relaxed);
        }
    }

    /// Holds on for the same cause after a probe that failed without naming another.
    pub(super) fn hold_on(&self, now: Instant) {
        match self.hold.load() {
            Held::No => {}
            Held::Until(cause, _) | Held::Probing(cause, _) => self.hold(cause, now),
        }
    }

    /// Whether a remedy for this cause should be tried before holding, for a request of `sent`.
    ///
    /// One is tried per cause until something succeeds; requests sent before it say nothing of it.
    pub(super) fn remedy(&self, cause: Cause, sent: Instant, now: Instant) -> Remedied {
        let at = match cause {
            Cause::Auth => &self.remedied_ns[0],
            Cause::Config => &self.remedied_ns[1],
            Cause::Outage => return Remedied::InVain,
        };
        let (sent_ns, now_ns) = (self.ns(sent), self.ns(now).max(1));
        match at.compare_exchange(0, now_ns, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Remedied::Now,
            Err(remedied) if sent_ns <= remedied => Remedied::Before,
            Err(_) => Remedied::InVain,
        }
    }

    /// Notes that the destination is being prepared again.
    pub(super) fn begin_setup(&self, now: Instant) {
        self.setup_ns.store(self.ns(now).max(1), Ordering::Release);
        self.is_preparing.store(true, Ordering::Release);
    }

    /// The same for events of a request of `sent` that are refused beside others, if it is long
    /// since that was asked for: others that are taken do not show that it helped. Whether it is to
    /// be prepared now.
    pub(super) fn begin_setup_apart(&self, every: Duration, sent: Instant, now: Instant) -> bool {
        let (before, now_ns) = (self.setup_ns.load(Ordering::Acquire), self.ns(now).max(1));
        let is_long = before == 0 || before.saturating_add(ns(every)) <= self.ns(sent);
        let order = (Ordering::AcqRel, Ordering::Relaxed);
        let is_first = || self.setup_ns.compare_exchange(before, now_ns, order.0, order.1).is_ok();
        let begins = is_long && is_first();
        if begins {
            self.is_preparing.store(true, Ordering::Release);
        }
        begins
    }

    /// Whether the destination is being prepared again.
    #[must_use]
    pub fn is_preparing(&self) -> bool {
        self.is_preparing.load(Ordering::Acquire)
    }

    /// Notes that this is through, so that what waited for it is tried; returns the lanes to wake.
    pub(super) fn end_setup(&self, now: Instant) -> u64 {
        self.is_preparing.store(false, Ordering::Release);
        // What the destination asked for itself stays.
        self.pause_ns.store(self.asked_ns.load(Ordering::Acquire), Ordering::Release);
        self.places.hasten(Cause::Config, now) | self.waiting.swap(0, Ordering::AcqRel)
    }

    /// Sends nothing for a moment: other credentials may be on their way.
    pub(super) fn await_credentials(&self, now: Instant) {
        self.rest(REFRESH_WAIT, now);
        let until = self.ns(now).saturating_add(ns(REFRESH_WAIT));
        self.others_ns.fetch_max(until, Ordering::AcqRel);
    }

    /// Whether nothing is sent since other credentials may be on their way.
    #[must_use]
    pub fn awaits_credentials(&self, now: Instant) -> bool {
        self.ns(now) < self.others_ns.load(Ordering::Acquire)
    }

    /// Forgets remedies that came before a request which was accepted: they helped.
    pub(super) fn forget_remedies(&self, sent: Instant) {
        let sent_ns = self.ns(sent);
        for at in &self.remedied_ns {
            let remedied = at.load(Ordering::Acquire);
            if remedied != 0 && remedied < sent_ns {
                let _ = at.compare_exchange(remedied, 0, Ordering::AcqRel, Ordering::Acquire);
            }
        }
    }

    /// A `Retry-After`, no longer than is honoured.
    pub(super) fn capped(&self, wait: Duration) -> Duration {
        wait.min(self.settings.retry_after_max)
    }

    /// How long an outage waits for its probe.
    pub(super) fn breaker_open(&self) -> Duration {
        self.settings.breaker.open
    }

    /// Slows down or speeds up as an answer asks.
    pub(super) fn adapt(&self, pace: Pace, success: Success, sent: Instant, now: Instant) {
        let now_ns = self.ns(now);
        self.limiter.adapt(pace, success == Success::Yes, self.ns(sent), now_ns);
        if let Pace::Pause(Some(wait)) = pace {
            self.pause(wait, now);
        }
    }

    /// Sends nothing for as long as the destination asked for.
    pub(super) fn pause(&self, wait: Duration, now: Instant) {
        let until = self.ns(now).saturating_add(ns(self.capped(wait)));
        self.asked_ns.fetch_max(until, Ordering::AcqRel);
        self.pause_ns.fetch_max(until, Ordering::AcqRel);
    }

    /// Sends nothing for a moment after a failure, though nobody asked for it.
    pub(super) fn rest(&self, wait: Duration, now: Instant) {
        let until = self.ns(now).saturating_add(ns(wait));
        self.pause_ns.fetch_max(until, Ordering::AcqRel);
    }

    /// The places of its routes.
    pub(super) fn places(&self) -> &Places {
        &self.places
    }

    /// Failures in a row that mean an outage; 0 is never.
    pub(super) fn failures_max(&self) -> u32 {
        self.settings.breaker.failures
    }

    /// How long nothing is told of a probe that is lost.
    pub(super) fn probe_timeout(&self) -> Duration {
        self.settings.probe_timeout
    }

    pub(super) fn epoch(&self) -> Instant {
        self.epoch
    }

    fn take_slot(&self) -> bool {
        let most = self.open_slots.load(Ordering::Acquire);
        self.slots
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |taken| {
                (taken < most).then_some(taken + 1)
            })
            .is_ok()
    }

    /// Nanoseconds since its beginning.
    pub(super) fn ns(&self, time: Instant) -> u64 {
        ns(time.saturating_duration_since(self.epoch))
    }

    fn time(&self, ns: u64) -> Instant {
        time_after(self.epoch, ns)
    }
}

/// So many nanoseconds later.
pub(super) fn time_after(epoch: Instant, ns: u64) -> Instant {
    epoch + Duration::from_nanos(ns.min(FAR_NS))
}

/// Whether a request was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Success {
    Yes,
    No,
}

/// What is known about a remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedied {
    /// To be tried now.
    Now,
    /// Tried since the request was sent.
    Before,
    /// Tried before the request was sent: it did not help.
    InVain,
}

impl From<Cause> for Health {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Auth => Self::AuthFailed,
            Cause::Config => Self::ConfigFailed,
            Cause::Outage => Self::CircuitOpen,
        }
    }
}

impl Health {
    /// The word for status and metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Throttled => "throttled",
            Self::AuthFailed => "auth_failed",
            Self::ConfigFailed => "config_failed",
            Self::CircuitOpen => "circuit_open",
        }
    }
}

/// Refused events, with none accepted, after which something else is taken to be wrong.
const REFUSED_MAX: u32 = 100;
/// Said of a destination that has accepted a request.
const ACCEPTS: u32 = u32::MAX;

/// How long an exporter waits between probes after 401, 403 or a wrong setup (`pipeline.md`).
const HOLD_INTERVAL: Duration = Duration::from_secs(60);

/// How long other credentials are waited for: whoever reads them looks every second for who needs
/// some.
pub(super) const REFRESH_WAIT: Duration = Duration::from_secs(3);

/// How long a failure shows in the health.
const DEGRADED_FOR: Duration = Duration::from_secs(30);

/// A lane whose claim to probe was just taken by another asks again after this long.
const ASK_AGAIN: Duration = Duration::from_millis(1);

/// A hundred years: keeps times that mean `never` within what `Instant` can hold.
const FAR_NS: u64 = 100 * 365 * 86_400 * 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(epoch: Instant) -> Gate {
        let settings = GateSettings {
            concurrency: 4,
            endpoints: 1,
            choice: Choice::Around,
            breaker: BreakerSettings { failures: 5, open: Duration::from_secs(30) },
            rate: RateSettings { per_second: None, burst: 1, adaptive: false, per_second_min: 1 },
            retry_percent: 20,
            retry_after_max: Duration::from_secs(300),
            hold_interval: Duration::from_secs(60),
            probe_timeout: Duration::from_secs(60),
            places: RoutePlaces::default(),
        };
        Gate::new(settings, epoch)
    }

    #[test]
    fn the_answer_that_ends_an_outage_leaves_a_hold_that_begins_beside_it() {
        let now = Instant::now();
        let gates: Vec<Gate> = (0..5_000).map(|_| gate(now)).collect();
        gates.iter().for_each(|gate| gate.hold(Cause::Outage, now));
        let ready = [AtomicU32::new(0), AtomicU32::new(0)];
        let each = |own: usize, act: &dyn Fn(&Gate)| {
            for (round, gate) in (1..).zip(&gates) {
                ready[own].store(round, Ordering::SeqCst);
                while ready[1 - own].load(Ordering::SeqCst) < round {
                    std::hint::spin_loop();
                }
                act(gate);
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                each(0, &|gate| {
                    let _woken = gate.answered(0, Success::Yes, false, now);
                });
            });
            scope.spawn(|| each(1, &|gate| gate.hold(Cause::Auth, now)));
        });
        let open = gates.iter().filter(|gate| !gate.has_bad_credentials()).count();
        assert_eq!(open, 0, "gates that bad credentials do not hold");
    }
}
