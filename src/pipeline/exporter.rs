//! A running exporter: what its lanes share, compiled at start-up.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tracing::info;

use super::EngineError;
use super::alerts::{AlertSpec, Alerts, At};
use super::balance::LaneEvents;
use super::board::{Board, Unread};
use super::changes::Changes;
use super::check::Check;
use super::clock::Clock;
use super::dead_letters::DeadLetters;
use super::feed::Feed;
use super::health;
use super::hook::{Hook, HookSpec};
use super::measure::{Deeds, ExporterCounters, Measures, Trouble, lost};
use super::meter::Ledger;
use super::places::{Places, route_places};
use super::replay::Replays;
use super::route::{Route, RouteSpec, derive};
use super::stop::{Stage, Stop};
use super::threads::{ThreadSpec, Threads};
use crate::deliver::{
    AckSettings, Allowance, Binding, CompiledCall, Derived, Gate, Health, Incidents, LANES_MAX,
    Order, Prepared, Problem, Purpose, STANDSTILL_MAX, Sender, SenderSettings, Sent, Settings,
    Setup, Watermark, Wire,
};
use crate::event::{Checkpoint, Counts, Event, Narrowed, Offset, Privacy, Settled, Span, Time};
use crate::log::STRIPE_BYTES;
use crate::transform::{Filter, Overrides, Plan, Schema};

/// One exporter as it is configured, with the schemas that its format names.
#[derive(Clone, Debug, PartialEq)]
pub struct ExporterSpec {
    /// The keys.
    pub settings: Settings,
    /// The schema of its documents.
    pub document: &'static Schema,
    /// The schema of its dead letters: the canonical event.
    pub native: &'static Schema,
    /// What operator and host change about the schemas; options are added here.
    pub overrides: Overrides,
    /// Which events it takes.
    pub filter: Filter,
    /// What it sees less than the others.
    pub privacy: Option<Arc<Privacy>>,
    /// Where single events go instead of the base settings; the first that holds.
    pub routes: Vec<RouteSpec>,
    /// When it acts, if it is a response hook.
    pub hook: Option<HookSpec>,
    /// How it keeps incidents, if it does.
    pub alerts: Option<AlertSpec>,
    /// How it keeps conversations, if it does.
    pub threads: Option<ThreadSpec>,
}

/// A running exporter. Lanes share it, and touch what changes in it per stripe, per request or per
/// batch.
#[derive(Debug)]
pub(crate) struct Exporter {
    pub(crate) settings: Settings,
    pub(crate) derived: Derived,
    pub(crate) filter: Filter,
    /// What it sees less than the others.
    pub(crate) privacy: Option<Arc<Privacy>>,
    /// The base settings first, then the routes in order.
    pub(crate) routes: Vec<Route>,
    /// For each route the first one that leads to the same place.
    pub(crate) places: Vec<u32>,
    /// Whether some routes lead to addresses that the others do not.
    has_own_places: bool,
    pub(crate) gate: Arc<Gate>,
    pub(crate) board: Board,
    pub(crate) allowance: Arc<Allowance>,
    pub(crate) counters: Arc<ExporterCounters>,
    /// Wakes each lane: a slot is free, work was given back, or it is time to stop.
    pub(crate) wakes: Vec<Notify>,
    /// How documents are looked at, where they are.
    pub(super) check: Option<Check>,
    /// How dead letters are written.
    pub(crate) native: Plan,
    pub(crate) dead_letters: Arc<DeadLetters>,
    /// What of them is being sent again.
    pub(crate) replays: Replays,
    /// Whether nothing is read: only what goes out beside the log.
    pub(crate) is_aside_only: bool,
    /// What each lane holds.
    pub(crate) lanes: Vec<LaneState>,
    /// How far its lanes go on.
    pub(crate) stop: Stop,
    /// How often somebody asked for what is gathered to go out at once.
    pub(crate) flushes: AtomicU64,
    /// Everything below was given up by retention.
    pub(crate) floor: AtomicU64,
    /// What others tell its one lane, where it needs order.
    pub(crate) feed: Option<Feed>,
    /// What the stamps of its tables are told by.
    clock: Clock,
    /// Which events cause actions, where it is a response hook.
    pub(crate) hook: Option<Hook>,
    /// Which incidents are open at the destination, where it has some.
    pub(crate) alerts: Option<Alerts>,
    /// What documents answer to, where any do.
    pub(crate) threads: Option<Threads>,
    /// Changes of the configuration that it is to tell of.
    pub(crate) changes: Changes,
    /// Counts that are sent beside the events, where the vendor takes some.
    pub(crate) ledger: Option<Ledger>,
    /// Wakes what runs beside the lanes: one of them ended, or it is time to stop.
    pub(crate) aside: Notify,
    /// How the destination said it is.
    pub(crate) health: health::Found,
    /// What is measured of its requests.
    pub(crate) measures: Arc<Measures>,
    /// Since when nothing arrives.
    pub(crate) trouble: Trouble,
    /// Whether its credentials were refused and nobody has looked for others since.
    pub(crate) wants_others: AtomicBool,
    is_prepared: AtomicBool,
    /// Whether something could not be prepared.
    is_ill_prepared: AtomicBool,
    /// Whether receipts wait for the disk.
    pub(crate) is_halted: AtomicBool,
    /// Lanes that a defect has ended.
    lost_lanes: AtomicU64,
    /// Whether receipts are written.
    pub(crate) has_receipts: bool,
    watermark: Mutex<Watermark>,
    last_error: Mutex<Option<LastError>>,
    /// What was settled before this run, or will be by its letters, so that resuming lanes leave it
    /// out.
    resumed: Checkpoint,
}

/// What one lane holds, as it tells after each turn.
#[derive(Debug, Default)]
pub(crate) struct LaneState {
    /// The unread part of the stripe it claimed; equal when there is none.
    pub(crate) unread_from: AtomicU64,
    pub(crate) unread_to: AtomicU64,
    /// Events in its batches, and those that wait for a route.
    pub(crate) events: LaneEvents,
    /// The latter alone.
    pub(crate) parked: AtomicU64,
    /// Whether one of its routes is held.
    pub(crate) has_held_route: AtomicBool,
    /// Which of the exporter's flushes is through.
    pub(crate) flushed: AtomicU64,
    pub(crate) has_ended: AtomicBool,
}

/// The last thing that went wrong, for people.
#[derive(Clone, Debug)]
pub(crate) struct LastError {
    pub(crate) at: Instant,
    pub(crate) text: String,
}

impl Exporter {
    /// Compiles an exporter that goes on at its checkpoint.
    ///
    /// # Errors
    /// When an option, a schema override or a header contradicts the vendor's tables.
    pub(crate) fn compile(
        spec: ExporterSpec,
        checkpoint: Checkpoint,
        allowance: Arc<Allowance>,
        gate: Arc<Gate>,
        (dead_letters, deeds): (Arc<DeadLetters>, Deeds),
        lanes: usize,
    ) -> Result<Self, EngineError> {
        let name = &spec.settings.name;
        let refuse = |problem: String| EngineError::Exporter { name: name.clone(), problem };
        let mut routes = Vec::with_capacity(1 + spec.routes.len());
        let derived = derive(&spec.settings, &spec.settings.options).map_err(refuse)?;
        routes.push(Route::compile(&spec, None).map_err(refuse)?);
        let places = Places::find(&spec).map_err(refuse)?;
        let has_own_places = places.routes.iter().any(|&shift| shift > 0);
        for (route, &shift) in spec.routes.iter().zip(&places.routes) {
            let mut route = Route::compile(&spec, Some(route)).map_err(refuse)?;
            route.send = route.send.shifted(shift);
            routes.push(route);
        }
        let (now, steady) = (Time::now().secs, Instant::now());
        let native = Plan::compile(&[spec.native], &without_facts(&spec.overrides))
            .map_err(|error| refuse(error.to_string()))?;
        Ok(Self {
            check: Check::compile(&spec).map_err(refuse)?,
            places: route_places(&spec).of,
            has_own_places,
            native,
            dead_letters,
            filter: spec.filter,
            privacy: spec.privacy,
            routes,
            gate,
            board: Board::new(checkpoint.base, lanes, STRIPE_BYTES),
            allowance,
            counters: deeds.counters,
            // One more than read: the lane beside the log.
            wakes: (0..=lanes).map(|_| Notify::new()).collect(),
            lanes: (0..=lanes).map(|_| LaneState::default()).collect(),
            replays: Replays::default(),
            is_aside_only: false,
            stop: Stop::default(),
            flushes: AtomicU64::new(0),
            floor: AtomicU64::new(0),
            feed: None,
            hook: spec.hook.map(Hook::open).transpose()?,
            clock: Clock::new(now, steady),
            alerts: spec.alerts.map(|spec| Alerts::open(spec, now)).transpose()?,
            threads: spec.threads.map(|spec| Threads::open(spec, now)).transpose()?,
            changes: Changes::default(),
            ledger: Ledger::compile(&spec.settings, &derived).map_err(refuse)?,
            aside: Notify::new(),
            health: health::Found::default(),
            measures: deeds.measures,
            trouble: Trouble::new(Instant::now()),
            wants_others: AtomicBool::new(false),
            is_prepared: AtomicBool::new(false),
            is_ill_prepared: AtomicBool::new(false),
            is_halted: AtomicBool::new(false),
            lost_lanes: AtomicU64::new(0),
            has_receipts: false,
            watermark: Mutex::new(Watermark::open(&checkpoint)),
            last_error: Mutex::new(None),
            resumed: checkpoint,
            derived,
            settings: spec.settings,
        })
    }

    /// The name: config key and metric label.
    pub(crate) fn name(&self) -> &str {
        &self.settings.name
    }

    /// An event of the log as this exporter may see it.
    pub(crate) fn sees<'a>(&self, event: Event<'a>, room: &'a mut Narrowed) -> Event<'a> {
        match &self.privacy {
            Some(privacy) => privacy.narrowed(event, room),
            None => event,
        }
    }

    /// The seconds since 1970 by the system's clock. Where that was set, what its tables know of
    /// goes with it: no window is longer or shorter for that.
    pub(crate) fn wall_secs(&self) -> i64 {
        let now = Time::now().secs;
        if let Some(step) = self.clock.step(now, Instant::now()) {
            info!(exporter = self.name(), seconds = step, "the clock was set: windows go on");
            self.alerts.iter().for_each(|alerts| alerts.shift(step));
            self.threads.iter().for_each(|threads| threads.shift(step));
        }
        now
    }

    /// The route of an event, by position.
    pub(crate) fn route_of(&self, event: &Event<'_>) -> usize {
        let holds = |route: &Route| route.condition.as_ref().is_some_and(|it| it.holds(event));
        self.routes.iter().position(holds).unwrap_or(0)
    }

    /// What earlier runs settled in this pass.
    pub(crate) fn counts_before(&self) -> Counts {
        self.resumed.counts
    }

    /// Events below are told of one by one, however old they are: a rewind asked for that.
    pub(crate) fn alert_below(&self) -> Offset {
        self.resumed.alert_below
    }

    /// What it did in this run, whichever one it was.
    pub(crate) fn deeds(&self) -> Deeds {
        Deeds { counters: Arc::clone(&self.counters), measures: Arc::clone(&self.measures) }
    }

    /// Goes on with what the one before it replayed.
    pub(crate) fn go_on_replaying(&self, old: &Self) {
        let is_same = Arc::ptr_eq(&self.dead_letters, &old.dead_letters);
        self.replays.take_over(&old.replays, is_same.then(|| self.dead_letters.place()).flatten());
    }

    /// Notes for whoever comes after it what it has lost; `counts` are its last ones.
    pub(crate) fn hand_over(&self, counts: Counts) {
        let counters = &self.counters;
        counters.lost.add(lost(counts).saturating_sub(lost(self.resumed.counts)));
        // Nobody waits any more for what was accepted and is not confirmed.
        let answered = counters.answered.load();
        counters.answered.add(counters.awaited.load().saturating_sub(answered));
    }

    /// How many batches with headers of their own a lane may have open at once.
    pub(crate) fn partitions_max(&self) -> usize {
        let most = self.settings.options.number("max_open_partitions");
        most.and_then(|most| usize::try_from(most).ok()).unwrap_or(PARTITIONS_MAX)
    }

    /// Notes settled events.
    pub(crate) fn settle(&self, settled: &[Settled]) {
        if !settled.is_empty() {
            self.watermark().settle(settled);
        }
    }

    /// Notes what a request settled.
    pub(crate) fn settle_sent(&self, sent: Sent, settled: &[Settled]) {
        self.watermark().settle_sent(sent, settled);
    }

    /// Whether nothing more should be read: what is settled cannot be written down, or whoever does
    /// that waits for the disk.
    pub(crate) fn is_stuck(&self) -> bool {
        let is_halted = self.is_halted.load(Ordering::Relaxed) || self.dead_letters.is_stuck();
        is_halted || self.watermark().unwritten() >= UNWRITTEN_MAX
    }

    /// Whether waiting for what it has under way is in vain: it is held, and all that goes out is a
    /// probe, or it waits for other credentials; or only a route that is held keeps some back.
    pub(crate) fn is_kept_back(&self) -> bool {
        let is_unconfirmed = self.counters.answered.load() < self.counters.awaited.load();
        let is_quiet = self.gate.in_flight() == 0 && !is_unconfirmed;
        self.gate.held().is_some()
            || self.gate.awaits_credentials(Instant::now())
            || self.has_held_route() && is_quiet
    }

    /// The next offset at or after this one that earlier runs have not settled.
    pub(crate) fn next_unsettled(&self, offset: Offset) -> Offset {
        // What this run settles is never read again, so the checkpoint of the start is enough.
        let ahead = &self.resumed.ahead;
        let at = ahead.partition_point(|span| span.to <= offset);
        match ahead.get(at) {
            Some(span) if span.from <= offset => span.to,
            _ => offset,
        }
    }

    /// Where what earlier runs settled ahead of their checkpoint ends.
    pub(crate) fn resumed_to(&self) -> Offset {
        self.resumed.ahead.last().map_or(Offset::ZERO, |span| span.to)
    }

    /// Whether one of its lanes reads at this offset soon, as far as it depends on us.
    pub(crate) fn is_about_to_read(&self, at: Offset) -> bool {
        let is_working = self.stop.stage() < Stage::Flush
            && !self.lanes_have_ended()
            && self.gate.held().is_none();
        is_working
            && match self.board.unread(at) {
                Unread::Free => true,
                Unread::No => false,
                Unread::Held(stripe) => {
                    let mut spans = self.lanes.iter().map(LaneState::unread);
                    // A lane that claimed it just now has not said so yet.
                    spans.find(|span| span.to == stripe.to).is_none_or(|span| span.from <= at)
                }
            }
    }

    /// The parts of a span that earlier runs have not settled.
    pub(crate) fn unsettled(&self, span: Span) -> Vec<Span> {
        let mut parts = Vec::new();
        let mut from = self.next_unsettled(span.from);
        while from < span.to {
            let ahead = &self.resumed.ahead;
            let at = ahead.partition_point(|settled| settled.to <= from);
            let to = ahead.get(at).map_or(span.to, |settled| settled.from.min(span.to));
            parts.push(Span { from, to });
            from = self.next_unsettled(to);
        }
        parts
    }

    /// Events that wait while others go on: their route or they alone are refused.
    pub(crate) fn parked(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.parked.load(Ordering::Relaxed)).sum()
    }

    /// Whether a route is held while others go on.
    pub(crate) fn has_held_route(&self) -> bool {
        self.lanes.iter().any(|lane| lane.has_held_route.load(Ordering::Relaxed))
    }

    /// The watermark; locked per settled batch, never per event.
    pub(crate) fn watermark(&self) -> MutexGuard<'_, Watermark> {
        // A panic elsewhere leaves it whole: it is changed by single calls.
        self.watermark.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether everything from one place to another is settled; of an earlier pass nothing is read
    /// again.
    pub(crate) fn has_settled(&self, from: At, to: At) -> bool {
        from.pass != self.pass() || self.watermark().next_unsettled(from.offset) > to.offset
    }

    /// Everything below was given up.
    pub(crate) fn floor(&self) -> Offset {
        Offset::new(self.floor.load(Ordering::Acquire))
    }

    /// Gives up everything below; lanes settle what they hold of it as skipped.
    pub(crate) fn raise_floor(&self, floor: Offset) {
        self.floor.fetch_max(floor.bytes(), Ordering::AcqRel);
        self.wake_all();
    }

    /// Has every lane send what it has gathered; the number is asked for by `has_flushed`.
    pub(crate) fn flush(&self) -> u64 {
        let wanted = self.flushes.fetch_add(1, Ordering::AcqRel) + 1;
        self.wake_all();
        wanted
    }

    /// Whether what was gathered then has gone out and has ended.
    pub(crate) fn has_flushed(&self, wanted: u64) -> bool {
        self.lanes.iter().all(|lane| {
            lane.flushed.load(Ordering::Acquire) >= wanted || lane.has_ended.load(Ordering::Acquire)
        })
    }

    /// Takes every lane on to a later stage.
    pub(crate) fn raise(&self, stage: Stage) {
        self.stop.raise(stage);
        self.wake_all();
    }

    /// Whether every lane has ended, and what runs beside them.
    pub(crate) fn has_ended(&self) -> bool {
        self.lanes_have_ended() && self.ledger.as_ref().is_none_or(Ledger::has_ended)
    }

    /// Notes that a lane has ended.
    pub(crate) fn end(&self, lane: usize) {
        self.lanes[lane].has_ended.store(true, Ordering::Release);
        if !self.is_aside(lane) {
            self.feed.iter().for_each(Feed::close);
        }
        self.aside.notify_one();
        self.wake_aside();
    }

    /// Notes that a lane has ended by a defect: what it held is read again by the next start.
    pub(crate) fn lose(&self, lane: usize, now: Instant) {
        self.lost_lanes.fetch_add(1, Ordering::Release);
        self.note_error(LOST_LANE.to_owned(), now);
        self.end(lane);
        self.wake_all();
    }

    /// Whether any has.
    pub(crate) fn has_lost_lane(&self) -> bool {
        self.lost_lanes.load(Ordering::Acquire) > 0
    }

    /// Whether a lane is the one beside the log.
    pub(crate) fn is_aside(&self, lane: usize) -> bool {
        lane + 1 == self.lanes.len()
    }

    /// Whether a lane prepares the destination for all.
    pub(crate) fn prepares(&self, lane: usize) -> bool {
        if self.is_aside_only { self.is_aside(lane) } else { lane == 0 }
    }

    /// Wakes the lane beside the log.
    pub(crate) fn wake_aside(&self) {
        self.wakes.last().iter().for_each(|wake| wake.notify_one());
    }

    /// Whether every lane that reads has ended.
    pub(crate) fn readers_have_ended(&self) -> bool {
        let (_, readers) = self.lanes.split_last().expect("there is the lane beside the log");
        readers.iter().all(|lane| lane.has_ended.load(Ordering::Acquire))
    }

    /// Reads nothing that is to become a dead letter and is not durable yet: whoever was before it
    /// gave that up, and the store tells when it is settled.
    pub(crate) fn leave_to_letters(&mut self) {
        let resumed = &mut self.resumed;
        resumed.ahead.extend(self.dead_letters.unsettled(resumed.pass));
        resumed.ahead.sort_unstable();
        resumed.ahead.dedup_by(|next, last| {
            let touches = next.from <= last.to;
            last.to = if touches { last.to.max(next.to) } else { last.to };
            touches
        });
    }

    /// Lets nothing be read: only what goes out beside the log.
    pub(crate) fn read_nothing(&mut self) {
        self.is_aside_only = true;
        let (_, readers) = self.lanes.split_last().expect("there is the lane beside the log");
        readers.iter().for_each(|lane| lane.has_ended.store(true, Ordering::Release));
    }

    /// Keeps a journal for receipts.
    pub(crate) fn keep_receipts(&mut self) {
        self.has_receipts = true;
        self.watermark().keep_journal();
    }

    /// Which pass over the log this is.
    pub(crate) fn pass(&self) -> u32 {
        self.resumed.pass
    }

    /// Whether every lane has ended.
    pub(crate) fn lanes_have_ended(&self) -> bool {
        self.lanes.iter().all(|lane| lane.has_ended.load(Ordering::Acquire))
    }

    /// Wakes every lane.
    pub(crate) fn wake_all(&self) {
        self.wakes.iter().for_each(Notify::notify_one);
        self.aside.notify_one();
    }

    /// Wakes the lanes whose bits are set.
    pub(crate) fn wake(&self, lanes: u64) {
        for (lane, wake) in self.wakes.iter().enumerate() {
            if lanes >> lane & 1 == 1 {
                wake.notify_one();
            }
        }
    }

    /// Whether events may be sent: preparing the destination is through.
    pub(crate) fn is_prepared(&self) -> bool {
        self.is_prepared.load(Ordering::Acquire)
    }

    /// How it is: what goes through the gate, and what is kept back behind it.
    pub(crate) fn condition(&self, now: Instant) -> Health {
        let is_ill_prepared = self.is_ill_prepared.load(Ordering::Relaxed);
        let is_away = !self.is_prepared() && self.trouble.since(now).is_some();
        match self.gate.health(now) {
            // Nothing has gone through the gate yet that could have closed it.
            Health::Healthy if is_away => Health::CircuitOpen,
            Health::Healthy if is_ill_prepared || self.has_lost_lane() => Health::Degraded,
            Health::Healthy if self.parked() > 0 || self.has_held_route() => Health::Degraded,
            health => health,
        }
    }

    /// Notes whether something could not be prepared.
    pub(crate) fn note_prepared(&self, prepared: &Prepared) {
        self.is_ill_prepared.store(prepared.is_degraded(), Ordering::Relaxed);
    }

    /// Lets every lane send.
    pub(crate) fn set_prepared(&self) {
        self.is_prepared.store(true, Ordering::Release);
        self.wake_all();
    }

    /// The vendor's setup with the base settings.
    pub(crate) fn setup(&self) -> Result<Setup, Problem> {
        let settings = &self.settings;
        let credentials = (settings.vendor.auth)(&settings.options)?;
        Setup::compile(&Binding::new(settings, &self.derived, &credentials))
    }

    /// The deciding half of one lane.
    pub(crate) fn sender(&self, lane: usize) -> Sender {
        let settings = &self.settings;
        let mut seed = [0; 8];
        seed.copy_from_slice(&self.seed(lane)[..8]);
        let number = |key: &str| settings.options.number(key);
        let usual = AckSettings::default();
        let readers = (self.lanes.len() - 1).max(1);
        let vendor = settings.vendor;
        let has_call = |purpose| vendor.call(purpose, &settings.options, settings.format).is_some();
        let acks = AckSettings {
            is_used: has_call(Purpose::Poll),
            poll_interval: number("ack.poll_interval_ms")
                .map_or(usual.poll_interval, Duration::from_millis),
            timeout: number("ack.timeout_secs").map_or(usual.timeout, Duration::from_millis),
            pending_max: number("ack.max_pending")
                .and_then(|pending| usize::try_from(pending).ok())
                // Each lane that reads has its share, and one at least.
                .map_or(usual.pending_max, |pending| (pending / readers).max(1)),
        };
        let sender = SenderSettings {
            lane: u8::try_from(lane).unwrap_or(LANES_MAX - 1),
            retry: settings.retry,
            order: settings.order(),
            resend: vendor.resend,
            ambiguous_max: vendor.ambiguous_max,
            acks,
            has_probe: has_call(Purpose::Probe),
            has_setup: !vendor.setup.is_empty(),
            has_own_places: self.has_own_places,
            hold_interval: HOLD_INTERVAL,
            // What a file or a pipe does not take is never one event's fault.
            standstill_max: (settings.order() != Order::Any && vendor.wire == Wire::Http)
                .then_some(STANDSTILL_MAX),
            seed: u64::from_le_bytes(seed),
        };
        Sender::new(sender, Arc::clone(&self.gate), Arc::clone(&self.allowance))
    }

    /// Bytes for jitter and channels, different for each lane and each run.
    pub(crate) fn seed(&self, lane: usize) -> [u8; 16] {
        seed(self.name(), lane)
    }

    /// Adds up what the deciding half counted.
    pub(crate) fn count(&self, incidents: &Incidents) {
        let counters = &self.counters;
        counters.retried.add(incidents.retried);
        counters.ambiguous.add(incidents.ambiguous);
        counters.duplicates.add(incidents.duplicates);
        counters.degraded.add(incidents.degraded);
        counters.digests.add(incidents.digests);
        counters.digested.add(incidents.digested);
        counters.stale.add(incidents.stale);
        counters.resent.add(incidents.resent);
        counters.awaited.add(incidents.awaited);
        counters.answered.add(incidents.answered);
        counters.unverified.add(incidents.unverified);
        counters.outages.add(incidents.outage);
    }

    /// Remembers what went wrong last.
    pub(crate) fn note_error(&self, text: String, now: Instant) {
        let mut last = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(LastError { at: now, text });
    }

    /// What went wrong last.
    pub(crate) fn last_error(&self) -> Option<LastError> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The call of this purpose with the base settings, if the vendor has one.
    pub(crate) fn call(&self, purpose: Purpose) -> Option<CompiledCall> {
        let settings = &self.settings;
        let call = settings.vendor.call(purpose, &settings.options, settings.format)?;
        let credentials = (settings.vendor.auth)(&settings.options).unwrap_or_default();
        CompiledCall::compile(call, &Binding::new(settings, &self.derived, &credentials)).ok()
    }
}

/// Bytes for jitter and channels, different each time.
pub(super) fn seed(name: &str, lane: usize) -> [u8; 16] {
    let random = RandomState::new();
    let half = |salt: u8| random.hash_one((name, lane, salt)).to_le_bytes();
    let mut seed = [0; 16];
    seed[..8].copy_from_slice(&half(0));
    seed[8..].copy_from_slice(&half(1));
    seed
}

/// Half of a seed, for what takes less.
pub(super) fn half(seed: [u8; 16]) -> [u8; 8] {
    let mut half = [0; 8];
    half.copy_from_slice(&seed[..8]);
    half
}

/// Dead letters carry no facts of this host: they get them when they are sent, as all do.
fn without_facts(overrides: &Overrides) -> Overrides {
    let mut overrides = overrides.clone();
    let is_fact = |name: &str| name.starts_with("host.") || name.starts_with("product.");
    overrides.texts.retain(|(name, _)| !is_fact(name));
    overrides
}

/// What an operator reads of a lane that a defect has ended.
const LOST_LANE: &str = "a lane ended by a defect of shrike: restart it";
/// Class and words of events that no request can carry.
pub(super) const TOO_LARGE: (&str, &str) =
    ("too_large", "larger than the destination takes, even without metadata");
/// The same of events that cannot be rendered.
pub(super) const DEFECT: (&str, &str) =
    ("defect", "rendering it met a defect of shrike, which its log tells of");
/// How long a route with a wrong setup waits between tries (`pipeline.md`, Retry).
const HOLD_INTERVAL: Duration = Duration::from_secs(60);
/// Batches with headers of their own that a lane has open at once, where nothing else is written.
const PARTITIONS_MAX: usize = 256;
/// Pieces of the log that have settled and wait for receipts and checkpoint, 4 MiB of memory: at
/// the highest rates, every other event filtered, the keeper may take some tenths of a second.
const UNWRITTEN_MAX: usize = 1 << 17;
