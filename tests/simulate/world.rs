//! An exporter in virtual time: a log, lanes, a destination, and an auditor who trusts nobody.

mod aside;
mod audit;
mod disk;
mod lane;
mod places;

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shrike::deliver::{
    AckId, AckSettings, Allowance, Applied, Batch, BatchId, BreakerSettings, Budget, Buffers,
    Choice, Fate, Framing, Gate, GateSettings, Level, Limits, Order, Outcomes, Packing, Prefix,
    RateSettings, Resend, RetrySettings, RoutePlaces, RouteRate, Scope, Sender, SenderSettings,
    TransportError, TransportErrorKind, Verdict, Watermark,
};
use shrike::event::{Gap, Offset, Settle, Settled, Severity, Span};
use shrike::pipeline::{Board, Claim, Parking};

use crate::destination::{Destination, TIMEOUT};
use crate::mutation::Mutation;
use crate::script::{Crash, MS, Poison, S, STANDSTILL_MAX, Script};
use disk::{Disk, Step};

/// What a schedule amounted to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) steps: u64,
    pub(crate) requests: u64,
    pub(crate) faults: u64,
    pub(crate) crashes: u64,
    pub(crate) power_losses: u64,
    pub(crate) skipped: u64,
    pub(crate) gaps: u64,
    pub(crate) replayed: u64,
    pub(crate) dead: u64,
    pub(crate) innocent: u64,
    pub(crate) copies: u64,
    pub(crate) virtual_s: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.requests += other.requests;
        self.faults += other.faults;
        self.crashes += other.crashes;
        self.power_losses += other.power_losses;
        self.skipped += other.skipped;
        self.gaps += other.gaps;
        self.replayed += other.replayed;
        self.dead += other.dead;
        self.innocent += other.innocent;
        self.copies += other.copies;
        self.virtual_s += other.virtual_s;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In the log, not read yet.
    Unread,
    /// With a lane: claimed, in a batch, or being rendered again.
    Lane,
    /// On its way into the dead-letter store.
    Dying,
    Settled(Settle),
}

enum Event {
    Arrive,
    Sync(u64),
    Save,
    Wake {
        lane: usize,
    },
    Crash(Crash),
    Restart,
    GiveUp,
    Replay,
    Disk(Step),
    GapSent {
        gap: Gap,
        has_arrived: bool,
    },
    Replayed {
        letter: u32,
    },
    Removed {
        letter: u32,
    },
    Sent {
        lane: usize,
        id: BatchId,
        result: Result<Verdict, TransportError>,
    },
    Polled {
        lane: usize,
        to: (usize, u32),
        ids: Vec<AckId>,
        result: Result<Verdict, TransportError>,
    },
    Probed {
        lane: usize,
        endpoint: usize,
        result: Result<Verdict, TransportError>,
    },
    Stored {
        letter: u32,
    },
}

struct Due {
    at: u64,
    turn: u64,
    /// Answers to requests of a process that has crashed are dropped.
    life: u32,
    event: Event,
}

struct Lane {
    sender: Sender,
    open: Vec<(u32, Batch, u64)>,
    /// The stripe that it reads; the position moves on.
    claim: Option<Claim>,
    parking: Parking,
    wakes: u64,
}

pub(crate) struct World<'a> {
    script: &'a Script,
    mutation: Option<Mutation>,
    rng: fastrand::Rng,
    base: Instant,
    now: u64,
    turn: u64,
    life: u32,
    queue: BinaryHeap<Reverse<Due>>,
    destination: Destination,
    // The log.
    ends: Vec<u64>,
    arrived: u32,
    synced: u32,
    // The process.
    packing: Arc<Packing>,
    buffers: Buffers,
    allowance: Arc<Allowance>,
    gate: Arc<Gate>,
    lanes: Vec<Lane>,
    watermark: Watermark,
    /// What the process found settled when it began.
    resumed: Watermark,
    board: Board,
    /// Everything below was given up.
    floor: Offset,
    outcomes: Outcomes,
    // The disk.
    disk: Disk,
    stored: Vec<bool>,
    removed_at: u64,
    /// How often there was nothing to save.
    idle_saves: u32,
    // Beside the log.
    has_gap_under_way: bool,
    replaying: BTreeSet<u32>,
    /// Gaps whose record the destination has.
    told: Vec<Gap>,
    // The auditor.
    places: Vec<Place>,
    /// Events that are not unread.
    taken: u32,
    /// When each event arrived.
    arrivals: Vec<u64>,
    /// When the process began.
    began: u64,
    /// Events that were set aside.
    aside: BTreeSet<u32>,
    /// When requests went to each place, within the last minute.
    asked: Vec<VecDeque<u64>>,
    /// Which events each request carried that was answered.
    answered: Vec<Vec<u32>>,
    dying: u32,
    done: u32,
    tally: Tally,
}

static FRAMING: Framing = Framing {
    head: "",
    prefix: Prefix::None,
    between: "",
    after: "\n",
    tail: "",
    content_type: "text/plain",
};

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.turn) == (other.at, other.turn)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.turn).cmp(&(other.at, other.turn))
    }
}

/// Runs a schedule to its end; says what is wrong where something is.
pub(crate) fn run(
    script: &Script,
    base: Instant,
    mutation: Option<Mutation>,
) -> Result<Tally, String> {
    let mut world = World::new(script, base, mutation);
    let told = |world: &World, problem: String| format!("at {} ms: {problem}", world.now / MS);
    match world.live() {
        Ok(()) => Ok(world.tally),
        Err(problem) => Err(told(&world, problem)),
    }
}

impl<'a> World<'a> {
    fn new(script: &'a Script, base: Instant, mutation: Option<Mutation>) -> Self {
        let mut rng = fastrand::Rng::with_seed(script.seed ^ 0x10C);
        let ends = lay_out(script, &mut rng);
        let limits = Limits {
            events: script.batch_events,
            body_bytes: script.batch_bytes,
            event_bytes: 1 << 20,
        };
        let packing = Packing {
            framing: &FRAMING,
            limits: Limits {
                body_bytes: limits.body_bytes.max(script.huge_bytes() as u32 * 2),
                ..limits
            },
            body_bytes: limits.body_bytes,
            encoding: script.encoding,
            level: 1,
            flush_on: Some(Severity::Critical),
            heads: shrike::deliver::Heads::default(),
            head: None,
            keeps_ids: false,
        };
        let allowance = Budget::new(script.budget, 1).allowance();
        let mut world = Self {
            gate: gate(script, mutation, base),
            destination: Destination::new(script),
            packing: Arc::new(packing),
            buffers: Buffers::new(),
            allowance,
            lanes: Vec::new(),
            watermark: Watermark::begin(0, Offset::ZERO),
            resumed: Watermark::begin(0, Offset::ZERO),
            board: Board::new(Offset::ZERO, 1, script.stripe),
            floor: Offset::ZERO,
            outcomes: Outcomes::default(),
            disk: Disk::default(),
            removed_at: 0,
            idle_saves: 0,
            has_gap_under_way: false,
            replaying: BTreeSet::new(),
            told: Vec::new(),
            stored: vec![false; script.events as usize],
            places: vec![Place::Unread; script.events as usize],
            taken: 0,
            arrivals: Vec::new(),
            began: 0,
            aside: BTreeSet::new(),
            asked: vec![VecDeque::new(); script.routes as usize],
            answered: Vec::new(),
            dying: 0,
            done: 0,
            tally: Tally::default(),
            queue: BinaryHeap::new(),
            arrived: 0,
            synced: 0,
            now: 0,
            turn: 0,
            life: 0,
            base,
            rng,
            ends,
            mutation,
            script,
        };
        world.start();
        world.at(0, Event::Arrive);
        world.at(script.checkpoint_every, Event::Save);
        script.crashes.iter().for_each(|&(at, crash)| world.at(at, Event::Crash(crash)));
        script.give_ups.iter().for_each(|&at| world.at(at, Event::GiveUp));
        script.replays.iter().for_each(|&at| world.at(at, Event::Replay));
        script.restarts.iter().for_each(|&at| world.at(at, Event::Restart));
        world
    }

    /// A process begins: lanes that go on from the saved checkpoint.
    fn start(&mut self) {
        let saved = self.disk.saved();
        self.watermark = Watermark::open(&saved);
        self.watermark.keep_journal();
        self.resumed = Watermark::open(&saved);
        self.board = Board::new(saved.base, usize::from(self.script.lanes), self.script.stripe);
        self.floor = Offset::ZERO;
        self.open_disk();
        self.has_gap_under_way = false;
        self.replaying.clear();
        self.gate = gate(self.script, self.mutation, self.time(0));
        self.began = self.now;
        self.asked.iter_mut().for_each(VecDeque::clear);
        self.lanes = (0..self.script.lanes)
            .map(|lane| Lane {
                sender: Sender::new(
                    settings(self.script, self.mutation, lane, self.rng.u64(..)),
                    Arc::clone(&self.gate),
                    Arc::clone(&self.allowance),
                ),
                open: Vec::new(),
                claim: None,
                parking: Parking::default(),
                wakes: 0,
            })
            .collect();
        (0..self.lanes.len()).for_each(|lane| self.wake(lane, self.now));
    }

    fn live(&mut self) -> Result<(), String> {
        while let Some(Reverse(due)) = self.queue.pop() {
            self.now = due.at;
            self.tally.steps += 1;
            if due.life == self.life {
                self.step(due.event)?;
            }
            self.audit()?;
            if self.is_done() {
                return self.conclude();
            }
            let is_late = self.now > self.script.healed + SETTLED_WITHIN;
            let is_restless = self.tally.steps > STEPS_MAX;
            if is_late
                || is_restless
                || self.heals_late()
                || self.now > self.script.healed + OTHERS_WITHIN && self.others_wait()
            {
                let left = self.places.iter().position(|p| !matches!(p, Place::Settled(_)));
                let health = self.gate.health(self.instant());
                let lanes: Vec<String> = self.lanes.iter().map(Lane::describe).collect();
                return Err(format!(
                    "event {left:?} has not settled; {}, {} bytes held, lanes: {lanes:#?}",
                    health.word(),
                    self.allowance.used()
                ));
            }
        }
        Err("nothing is due, and not everything has settled".into())
    }

    /// Whether events have not settled that no request ever broke over.
    fn others_wait(&self) -> bool {
        // Without a breaker nothing is probed with, and what shares a batch with them waits for
        // more to be accepted.
        if self.script.breaker_failures == 0 && self.script.order == Order::Any {
            return false;
        }
        let mut unsettled =
            (0..).zip(&self.places).filter(|(_, p)| !matches!(p, Place::Settled(_)));
        unsettled.any(|(event, _)| !self.script.ends(event))
    }

    fn step(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Arrive => {
                let more = self.rng.u32(1..8).min(self.script.events - self.arrived);
                self.arrived += more;
                self.arrivals.resize(self.arrived as usize, self.now);
                // A disk that is slow now and then: what settles meanwhile must wait for it.
                let later = self.rng.u64(..200 * MS);
                self.at(later, Event::Sync(u64::from(self.arrived)));
                if self.arrived < self.script.events {
                    self.at(self.script.arrival_gap, Event::Arrive);
                }
                (0..self.lanes.len()).for_each(|lane| self.wake(lane, self.now));
            }
            Event::Sync(arrived) => self.synced = self.synced.max(arrived as u32),
            Event::Save => {
                self.save()?;
                let later = self.script.checkpoint_every << self.idle_saves.min(7);
                self.at(later.min(SAVED_WITHIN), Event::Save);
            }
            Event::Wake { lane } => {
                if self.lanes[lane].wakes > self.now {
                    return Ok(());
                }
                self.lanes[lane].wakes = u64::MAX;
                self.run_lane(lane)?;
            }
            Event::Crash(crash) => self.crash(crash)?,
            Event::GiveUp => self.give_up()?,
            Event::Replay => self.replay(),
            Event::Disk(step) => self.on_disk(step)?,
            Event::GapSent { gap, has_arrived } => self.on_gap_sent(gap, has_arrived),
            Event::Replayed { letter } => self.on_replayed(letter),
            Event::Removed { letter } => self.on_removed(letter),
            Event::Restart => self.restart(),
            Event::Sent { lane, id, result } => {
                self.sent(lane, id, result)?;
                self.run_lane(lane)?;
            }
            Event::Polled { lane, to, ids, result } => {
                self.polled(lane, to, ids, result)?;
                self.run_lane(lane)?;
            }
            Event::Probed { lane, endpoint, result } => {
                let now = self.instant();
                let verdict = result.ok();
                let sender = &mut self.lanes[lane].sender;
                sender.on_probe(endpoint, verdict, now, &mut self.outcomes);
                self.act(lane)?;
                self.run_lane(lane)?;
            }
            Event::Stored { letter } => {
                self.stored[letter as usize] = true;
                self.settle(&[self.one(letter, Settle::DeadLettered)])?;
            }
        }
        Ok(())
    }

    /// The destination begins anew; connections end with it, and no answer comes on them later.
    fn restart(&mut self) {
        self.destination.restart(self.now);
        let mut queue = std::mem::take(&mut self.queue).into_vec();
        for Reverse(due) in &mut queue {
            let lost = || TransportError {
                kind: TransportErrorKind::Network,
                applied: Applied::Maybe,
                detail: "the destination began anew".into(),
            };
            if let Event::Sent { result, .. } | Event::Polled { result, .. } = &mut due.event {
                *result = Err(lost());
            }
        }
        self.queue = queue.into();
    }

    fn sent(
        &mut self,
        lane: usize,
        id: BatchId,
        result: Result<Verdict, TransportError>,
    ) -> Result<(), String> {
        let now = self.instant();
        if result.is_ok() {
            self.note_sent(lane, id);
        }
        let sender = &mut self.lanes[lane].sender;
        match (self.mutation, result) {
            (Some(Mutation::LoseTimeout), Err(error))
                if error.kind == TransportErrorKind::Timeout => {}
            (Some(Mutation::ForgetRetry), Ok(Verdict { fate: Fate::Retry, .. })) => {
                sender.on_verdict(id, Verdict::new(Fate::Delivered, ""), now, &mut self.outcomes);
                self.outcomes.settled.clear();
                self.outcomes.requests.clear();
            }
            (Some(Mutation::BurnInOutage), Err(_)) => {
                sender.on_verdict(id, Verdict::new(Fate::Reject, ""), now, &mut self.outcomes);
            }
            (Some(Mutation::IgnorePartial), Ok(Verdict { fate: Fate::Items(_), .. })) => {
                sender.on_verdict(id, Verdict::new(Fate::Delivered, ""), now, &mut self.outcomes);
            }
            (Some(Mutation::HoldAllForOne), Ok(mut verdict)) => {
                if let Fate::Hold { scope, .. } = &mut verdict.fate {
                    *scope = Scope::Exporter;
                }
                sender.on_verdict(id, verdict, now, &mut self.outcomes);
            }
            (_, Ok(verdict)) => sender.on_verdict(id, verdict, now, &mut self.outcomes),
            (_, Err(error)) => sender.on_transport_error(id, &error, now, &mut self.outcomes),
        }
        self.act(lane)
    }

    fn polled(
        &mut self,
        lane: usize,
        (endpoint, group): (usize, u32),
        ids: Vec<AckId>,
        result: Result<Verdict, TransportError>,
    ) -> Result<(), String> {
        let now = self.instant();
        let sender = &mut self.lanes[lane].sender;
        match (self.mutation, result) {
            (Some(Mutation::BelieveAcks), _) => {
                let verdict = Verdict::new(Fate::Confirmed(ids), "");
                sender.on_acks(endpoint, group, verdict, now, &mut self.outcomes);
            }
            (_, Ok(verdict)) => {
                sender.on_acks(endpoint, group, verdict, now, &mut self.outcomes);
            }
            (_, Err(_)) => sender.on_acks_error(endpoint, group, now),
        }
        self.act(lane)
    }

    /// The process dies; what was saved is what the next one has.
    fn crash(&mut self, crash: Crash) -> Result<(), String> {
        self.tally.crashes += 1;
        self.tally.power_losses += u64::from(crash == Crash::Power);
        self.life += 1;
        self.note_what_was_aside();
        self.lanes.clear();
        if self.allowance.used() != 0 {
            return Err(format!("{} bytes are left after the lanes", self.allowance.used()));
        }
        if self.gate.in_flight() != 0 {
            return Err("slots are left after the lanes".into());
        }
        self.lose(crash)?;
        // Arrivals and the destination's life go on; everything else belonged to the process.
        let now = self.now;
        for Reverse(due) in std::mem::take(&mut self.queue) {
            let stays = match due.event {
                Event::Arrive | Event::Save | Event::Crash(_) | Event::Restart => true,
                Event::GiveUp | Event::Replay => true,
                // What was not durable is gone, and is synced when it comes again.
                Event::Sync(_) => crash == Crash::Process,
                _ => false,
            };
            if stays {
                self.queue.push(Reverse(Due { life: self.life, at: due.at.max(now), ..due }));
            }
        }
        let arrives = |due: &Reverse<Due>| matches!(due.0.event, Event::Arrive);
        if self.arrived < self.script.events && !self.queue.iter().any(arrives) {
            self.at(self.script.arrival_gap, Event::Arrive);
        }
        self.outcomes.clear();
        self.start();
        Ok(())
    }

    fn at(&mut self, after: u64, event: Event) {
        let at = match event {
            Event::Crash(_) | Event::Restart | Event::GiveUp | Event::Replay => after,
            _ => self.now + after,
        };
        self.turn += 1;
        self.queue.push(Reverse(Due { at, turn: self.turn, life: self.life, event }));
    }

    fn wake(&mut self, lane: usize, at: u64) {
        let wakes = &mut self.lanes[lane].wakes;
        if at < *wakes || *wakes <= self.now {
            *wakes = at;
            self.at(at - self.now, Event::Wake { lane });
        }
    }

    fn instant(&self) -> Instant {
        self.time(self.now)
    }

    fn time(&self, ns: u64) -> Instant {
        self.base + Duration::from_nanos(ns)
    }

    fn start_of(&self, event: u32) -> u64 {
        event.checked_sub(1).map_or(0, |before| self.ends[before as usize])
    }

    fn span(&self, event: u32) -> Span {
        let (from, to) = (self.start_of(event), self.ends[event as usize]);
        Span { from: Offset::new(from), to: Offset::new(to) }
    }

    /// Where what has arrived ends.
    fn head(&self) -> Offset {
        Offset::new(self.start_of(self.arrived))
    }

    /// Whether an earlier process settled what starts there.
    fn is_resumed(&self, event: u32) -> bool {
        let start = Offset::new(self.start_of(event));
        self.resumed.next_unsettled(start) > start
    }

    /// The arrived events whose records start within a piece of the log.
    fn starting_in(&self, (from, to): (Offset, Offset)) -> std::ops::Range<u32> {
        let first = |at: Offset| {
            let before = self.ends.partition_point(|end| *end < at.bytes());
            // The record that starts at the end of the one before.
            let starts = |event: &usize| self.start_of(*event as u32) >= at.bytes();
            let found = (before..=self.ends.len()).find(starts).unwrap_or(self.ends.len());
            u32::try_from(found).expect("few events").min(self.arrived)
        };
        first(from)..first(to)
    }

    /// The event whose record starts where the span does.
    fn event(&self, span: Span) -> u32 {
        let at = self.ends.partition_point(|end| *end <= span.from.bytes());
        u32::try_from(at).expect("few events")
    }

    fn one(&self, event: u32, fate: Settle) -> Settled {
        Settled { span: self.span(event), events: 1, fate }
    }
}

impl Lane {
    fn describe(&self) -> String {
        let Self { sender, open, claim, parking, wakes } = self;
        let (unsent, aside) = (sender.pending(), parking.events());
        format!("{unsent} unsent, {aside} aside, {open:?} open, {claim:?} claimed, wakes {wakes}")
    }

    fn pending(&self) -> u64 {
        let open: usize = self.open.iter().map(|(_, batch, _)| batch.events()).sum();
        open as u64 + self.sender.pending() + self.parking.events()
    }
}

fn gate(script: &Script, mutation: Option<Mutation>, epoch: Instant) -> Arc<Gate> {
    let of = match mutation {
        Some(Mutation::SplitPlaces) => (0..script.routes).collect(),
        _ => script.places.clone(),
    };
    let rate = script.place_rate.map(|(per_minute, burst)| RouteRate {
        per_minute,
        burst,
        lets_critical_pass: false,
    });
    let settings = GateSettings {
        concurrency: script.concurrency,
        endpoints: script.endpoints,
        choice: Choice::Around,
        breaker: BreakerSettings {
            failures: script.breaker_failures,
            open: Duration::from_secs(30),
        },
        rate: RateSettings {
            per_second: script.per_second,
            burst: script.per_second.map_or(1, |rate| rate * 2),
            adaptive: script.adaptive,
            per_second_min: 1,
        },
        retry_percent: 20,
        retry_after_max: Duration::from_secs(300),
        hold_interval: Duration::from_secs(60),
        probe_timeout: Duration::from_nanos(2 * TIMEOUT),
        places: RoutePlaces { of, rate },
    };
    Arc::new(Gate::new(settings, epoch))
}

fn settings(script: &Script, mutation: Option<Mutation>, lane: u8, seed: u64) -> SenderSettings {
    let is_all = mutation == Some(Mutation::HoldAllForOne);
    let order = match mutation {
        Some(Mutation::Overtake) => Order::Any,
        _ => script.order,
    };
    SenderSettings {
        lane,
        retry: RetrySettings {
            retries_max: script.retries_max,
            initial_backoff: Duration::from_secs(1),
            backoff_max: Duration::from_secs(30),
            backoff_percent: 200,
            retry_after_max: Duration::from_secs(300),
            budget_percent: 20,
            age_max: None,
        },
        order,
        resend: match script.idempotent {
            true => Resend::Idempotent,
            false => Resend::Ambiguous,
        },
        ambiguous_max: None,
        acks: AckSettings {
            is_used: true,
            poll_interval: Duration::from_secs(1),
            timeout: Duration::from_secs(60),
            pending_max: 20,
        },
        has_probe: script.has_probe,
        has_setup: script.idempotent,
        has_own_places: script.routes > 1 && !is_all,
        hold_interval: Duration::from_secs(60),
        standstill_max: (script.order != Order::Any)
            .then_some(Duration::from_nanos(STANDSTILL_MAX)),
        seed,
    }
}

/// Where each record ends, with the filler behind it: none crosses into the next stripe.
fn lay_out(script: &Script, rng: &mut fastrand::Rng) -> Vec<u64> {
    let mut ends: Vec<u64> = Vec::new();
    let mut end: u64 = 0;
    for _ in 0..script.events {
        let bytes = rng.u64(8..40);
        if end % script.stripe + bytes > script.stripe {
            end = end.next_multiple_of(script.stripe);
            if let Some(before) = ends.last_mut() {
                *before = end;
            }
        }
        end += bytes;
        ends.push(end);
    }
    ends
}

/// Bytes of padding in an event's document.
fn padding(script: &Script, event: u32, level: Option<Level>) -> u32 {
    let usual = u64::from(event) * 7919 % script.document_bytes;
    let pad = match (script.poison.get(&event), event % 23) {
        (Some(Poison::Huge), _) => script.huge_bytes(),
        // Too large for the destination as it is, small enough when shrunk.
        (None, 11) => script.body_bytes_max as u64 * 2,
        _ => usual,
    };
    let pad = if level == Some(Level::Shrink) { pad / 4 } else { pad };
    u32::try_from(pad).expect("a few kilobytes")
}

fn document(event: u32, pad: u32, out: &mut Vec<u8>) {
    write!(out, "{event} {pad} ").expect("writing into memory");
    let mut left = pad as usize;
    while left > 0 {
        let piece = left.min(PADDING.len());
        out.extend_from_slice(&PADDING[..piece]);
        left -= piece;
    }
}

/// Between two looks at what there is to save, in an outage.
const SAVED_WITHIN: u64 = 60 * S;
/// Copied, since a build without optimisation fills bytes one by one.
const PADDING: [u8; 4096] = [b'x'; 4096];
/// However bad it was, everything settles this long after the destination has healed.
const SETTLED_WITHIN: u64 = 12 * 3600 * S;
/// Ten times what the longest schedules take: whoever asks again and again never rests.
const STEPS_MAX: u64 = 200_000;
/// And all but those that go on breaking their requests do so earlier.
const OTHERS_WITHIN: u64 = 9_000 * S;
