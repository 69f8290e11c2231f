//! An exporter in virtual time: a log, lanes, a destination, and an auditor who trusts nobody.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shrike::deliver::{
    AckId, AckSettings, Action, Allowance, Batch, BatchId, BreakerSettings, Budget, Buffers, Fate,
    Framing, Gate, GateSettings, Level, Limits, Outcomes, Packing, Part, Prefix, Pushed,
    RateSettings, Reason, Resend, Reshape, RetrySettings, Sender, SenderSettings, TransportError,
    Verdict, Watermark,
};
use shrike::event::{Checkpoint, Counts, Offset, Settle, Settled, Severity, Span};

use crate::destination::{Destination, TIMEOUT};
use crate::script::{MS, Poison, S, Script};

/// A way to break the engine, to see whether the auditor notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// Events settle when they are sent.
    SettleEarly,
    /// A batch that should be retried is forgotten.
    ForgetRetry,
    /// Checkpoints say one record too much.
    CheckpointTooFar,
    /// What settles is told twice.
    SettleTwice,
    /// Checkpoints do not wait for the log to be durable.
    IgnoreDurable,
    /// An unreachable destination counts as a refusal.
    BurnInOutage,
    /// The end of a request that hangs is never told.
    LoseTimeout,
    /// Polls confirm everything they asked for.
    BelieveAcks,
    /// A partial answer's retries are taken for delivered.
    IgnorePartial,
    /// Dead letters settle without being stored.
    DropDeadLetters,
}

/// What a schedule amounted to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) steps: u64,
    pub(crate) requests: u64,
    pub(crate) crashes: u64,
    pub(crate) dead: u64,
    pub(crate) innocent: u64,
    pub(crate) copies: u64,
    pub(crate) virtual_ns: u64,
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
    Crash,
    Restart,
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
    claimed: VecDeque<u32>,
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
    cursor: u32,
    outcomes: Outcomes,
    // The disk.
    saved: Checkpoint,
    stored: Vec<bool>,
    // The auditor.
    places: Vec<Place>,
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
        let mut end = 0;
        let ends = (0..script.events).map(|_| {
            end += rng.u64(8..40);
            end
        });
        let ends: Vec<u64> = ends.collect();
        let limits = Limits {
            events: script.batch_events,
            body_bytes: script.batch_bytes,
            event_bytes: 1 << 20,
        };
        let packing = Packing {
            framing: &FRAMING,
            limits: Limits { body_bytes: limits.body_bytes.max(HUGE as u32 * 2), ..limits },
            encoding: script.encoding,
            level: 1,
            flush_on: Some(Severity::Critical),
        };
        let allowance = Budget::new(script.budget, 1).allowance();
        let mut world = Self {
            gate: gate(script, base),
            destination: Destination::new(script),
            packing: Arc::new(packing),
            buffers: Buffers::new(),
            allowance,
            lanes: Vec::new(),
            watermark: Watermark::begin(0, Offset::ZERO),
            cursor: 0,
            outcomes: Outcomes::default(),
            saved: Checkpoint::default(),
            stored: vec![false; script.events as usize],
            places: vec![Place::Unread; script.events as usize],
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
        script.crashes.iter().for_each(|&at| world.at(at, Event::Crash));
        script.restarts.iter().for_each(|&at| world.at(at, Event::Restart));
        world
    }

    /// A process begins: lanes that go on from the saved checkpoint.
    fn start(&mut self) {
        self.watermark = Watermark::open(&self.saved);
        self.gate = gate(self.script, self.time(0));
        self.cursor = 0;
        self.lanes = (0..self.script.lanes)
            .map(|lane| Lane {
                sender: Sender::new(
                    settings(self.script, lane, self.rng.u64(..)),
                    Arc::clone(&self.gate),
                    Arc::clone(&self.allowance),
                ),
                open: Vec::new(),
                claimed: VecDeque::new(),
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
            if self.now > self.script.healed + SETTLED_WITHIN {
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

    fn step(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Arrive => {
                let more = self.rng.u32(1..8).min(self.script.events - self.arrived);
                self.arrived += more;
                let later = self.rng.u64(..20 * MS);
                self.at(later, Event::Sync(u64::from(self.arrived)));
                if self.arrived < self.script.events {
                    self.at(self.script.arrival_gap, Event::Arrive);
                }
                (0..self.lanes.len()).for_each(|lane| self.wake(lane, self.now));
            }
            Event::Sync(arrived) => self.synced = self.synced.max(arrived as u32),
            Event::Save => {
                self.save()?;
                self.at(self.script.checkpoint_every, Event::Save);
            }
            Event::Wake { lane } => {
                if self.lanes[lane].wakes > self.now {
                    return Ok(());
                }
                self.lanes[lane].wakes = u64::MAX;
                self.run_lane(lane)?;
            }
            Event::Crash => self.crash()?,
            Event::Restart => self.destination.restart(self.now),
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

    fn sent(
        &mut self,
        lane: usize,
        id: BatchId,
        result: Result<Verdict, TransportError>,
    ) -> Result<(), String> {
        let now = self.instant();
        let sender = &mut self.lanes[lane].sender;
        match (self.mutation, result) {
            (Some(Mutation::LoseTimeout), Err(error))
                if error.kind == shrike::deliver::TransportErrorKind::Timeout => {}
            (Some(Mutation::ForgetRetry), Ok(Verdict { fate: Fate::Retry, .. })) => {
                sender.on_verdict(id, Verdict::new(Fate::Delivered, ""), now, &mut self.outcomes);
                self.outcomes.settled.clear();
            }
            (Some(Mutation::BurnInOutage), Err(_)) => {
                sender.on_verdict(id, Verdict::new(Fate::Reject, ""), now, &mut self.outcomes);
            }
            (Some(Mutation::IgnorePartial), Ok(Verdict { fate: Fate::Items(_), .. })) => {
                sender.on_verdict(id, Verdict::new(Fate::Delivered, ""), now, &mut self.outcomes);
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
            (_, Err(_)) => sender.on_acks_error(endpoint, group),
        }
        self.act(lane)
    }

    /// What a lane of the pipeline does whenever it runs.
    fn run_lane(&mut self, lane: usize) -> Result<(), String> {
        for n in 0..1000 {
            self.fill(lane)?;
            let now = self.instant();
            let action = self.lanes[lane].sender.poll(now, &mut self.outcomes);
            let had_outcomes = !self.outcomes.is_empty();
            if n > 990 {
                println!("{action:?} {:?}", self.outcomes);
            }
            self.act(lane)?;
            match action {
                Action::Send { id, endpoint, group, .. } => self.send(lane, id, endpoint, group)?,
                Action::PollAcks { endpoint, group, ids } => {
                    let end = self.destination.poll(endpoint, group, &ids, self.now);
                    let to = (endpoint, group);
                    self.at(end.after, Event::Polled { lane, to, ids, result: end.result });
                }
                Action::Probe { endpoint } => {
                    let end = self.destination.probe(endpoint, self.now);
                    self.at(end.after, Event::Probed { lane, endpoint, result: end.result });
                }
                Action::Wait(_) | Action::Idle if had_outcomes => {}
                Action::Wait(at) => {
                    let at = u64::try_from(at.duration_since(self.base).as_nanos());
                    let at = at.expect("within a schedule");
                    if at <= self.now {
                        return Err("a lane waits for the past".into());
                    }
                    self.wake(lane, at);
                    return Ok(());
                }
                Action::Idle => return Ok(()),
            }
        }
        Err("a lane never comes to rest".into())
    }

    fn send(
        &mut self,
        lane: usize,
        id: BatchId,
        endpoint: usize,
        group: u32,
    ) -> Result<(), String> {
        let batch = self.lanes[lane].sender.batch(id).ok_or("it sends a batch it has not")?;
        let body = batch.body().ok_or("it sends a batch without a body")?;
        let encoding = batch.encoding();
        let items: Vec<Span> = batch.items().iter().map(|item| item.span).collect();
        let end = self.destination.send(endpoint, group, &body, encoding, self.now);
        self.at(end.after, Event::Sent { lane, id, result: end.result });
        if self.mutation == Some(Mutation::SettleEarly) {
            for span in items {
                let event = self.event(span);
                if self.places[event as usize] == Place::Lane {
                    self.settle(&[self.one(event, Settle::Delivered)])?;
                }
            }
        }
        Ok(())
    }

    /// Reads the log into open batches, and closes what is to be closed.
    fn fill(&mut self, lane: usize) -> Result<(), String> {
        loop {
            let now = self.now;
            let at = self.instant();
            let Lane { sender, open, .. } = &mut self.lanes[lane];
            if let Some(ripe) = open
                .iter()
                .position(|(_, _, since)| sender.is_hungry(at) && now >= since + self.script.linger)
            {
                let (_, mut batch, _) = open.remove(ripe);
                batch.close();
                sender.enqueue(batch);
                continue;
            }
            if let Some(first) = open.iter().map(|(_, _, since)| since + self.script.linger).min()
                && first > now
            {
                self.wake(lane, first);
            }
            let Some(event) = self.next_event(lane)? else { return Ok(()) };
            if !self.push(lane, event) {
                self.lanes[lane].claimed.push_front(event);
                return Ok(());
            }
        }
    }

    /// The lane's next event: one it claimed, else it claims some more from the log.
    fn next_event(&mut self, lane: usize) -> Result<Option<u32>, String> {
        if let Some(event) = self.lanes[lane].claimed.pop_front() {
            return Ok(Some(event));
        }
        let upto = self.cursor + self.rng.u32(1..16);
        while self.cursor < self.arrived
            && (self.cursor < upto || self.lanes[lane].claimed.is_empty())
        {
            let event = self.cursor;
            self.cursor += 1;
            let start = Offset::new(self.start_of(event));
            if self.watermark.next_unsettled(start) > start {
                if !matches!(self.places[event as usize], Place::Settled(_)) {
                    return Err(format!("unsettled event {event} is skipped on resuming"));
                }
                continue;
            }
            self.places[event as usize] = Place::Lane;
            if event % 7 == 3 && !self.script.poison.contains_key(&event) {
                self.settle(&[self.one(event, Settle::Filtered)])?;
                continue;
            }
            self.lanes[lane].claimed.push_back(event);
        }
        Ok(self.lanes[lane].claimed.pop_front())
    }

    /// Pushes an event into the lane's open batch of its route; false when there is no room now.
    fn push(&mut self, lane: usize, event: u32) -> bool {
        let route = event % self.script.routes;
        let span = self.span(event);
        let Lane { sender, open, .. } = &mut self.lanes[lane];
        for _ in 0..2 {
            let found = open.iter_mut().position(|(of, _, _)| *of == route);
            let at = match found {
                Some(at) => at,
                None if !sender.room() => return false,
                None => {
                    let batch = Batch::new(&self.packing, route, &self.buffers, &self.allowance);
                    open.push((route, batch, self.now));
                    open.len() - 1
                }
            };
            let batch = &mut open[at].1;
            let pad = padding(self.script, event, None);
            let pushed = batch.push(span, u64::from(event), Severity::Info, |part, out| {
                assert_eq!(part, Part::Document);
                document(event, pad, out);
            });
            match pushed {
                Pushed::Fits => {
                    batch.turn(512);
                    return true;
                }
                Pushed::Full if !sender.room() => return false,
                Pushed::Full => {
                    let (_, mut batch, _) = open.remove(at);
                    batch.close();
                    sender.enqueue(batch);
                }
                Pushed::TooLarge => unreachable!("limits are above every document"),
            }
        }
        unreachable!("an empty batch takes any event")
    }

    /// Acts on outcomes, as the pipeline would.
    fn act(&mut self, lane: usize) -> Result<(), String> {
        let mut outcomes = std::mem::take(&mut self.outcomes);
        if self.mutation == Some(Mutation::SettleEarly) {
            outcomes.settled.clear();
        }
        self.settle(&outcomes.settled)?;
        for letter in outcomes.dead.drain(..) {
            let event = self.event(letter.item.span);
            self.judge_letter(event, letter.retryable)?;
            self.places[event as usize] = Place::Dying;
            if self.mutation == Some(Mutation::DropDeadLetters) {
                self.settle(&[self.one(event, Settle::DeadLettered)])?;
                continue;
            }
            let later = self.rng.u64(..50 * MS);
            self.at(later, Event::Stored { letter: event });
        }
        for reshape in outcomes.reshape.drain(..) {
            self.render_again(lane, &reshape);
        }
        for other in 0..self.lanes.len() {
            if outcomes.wake & (1 << other) != 0 && other != lane {
                self.wake(other, self.now);
            }
        }
        outcomes.clear();
        let left = std::mem::replace(&mut self.outcomes, outcomes);
        match left.is_empty() {
            true => Ok(()),
            // Giving an event up adds a dead letter.
            false => {
                self.outcomes = left;
                self.act(lane)
            }
        }
    }

    fn render_again(&mut self, lane: usize, reshape: &Reshape) {
        let again = || Batch::again(&self.packing, reshape, &self.buffers, &self.allowance);
        let mut batch = again();
        let sender = &mut self.lanes[lane].sender;
        for item in &reshape.items {
            let at = self.ends.partition_point(|end| *end <= item.span.from.bytes());
            let event = u32::try_from(at).expect("few events");
            let pad = padding(self.script, event, reshape.level);
            loop {
                let pushed = batch.push(item.span, item.received_ns, Severity::Info, |_, out| {
                    document(event, pad, out);
                });
                match pushed {
                    Pushed::Fits => break,
                    Pushed::Full => {
                        let mut full = std::mem::replace(&mut batch, again());
                        full.close();
                        sender.enqueue(full);
                    }
                    Pushed::TooLarge => {
                        sender.give_up(*item, reshape, Reason::default(), &mut self.outcomes);
                        break;
                    }
                }
            }
        }
        if !batch.is_empty() {
            batch.close();
            sender.enqueue(batch);
        }
    }

    fn settle(&mut self, settled: &[Settled]) -> Result<(), String> {
        for Settled { span, events, fate } in settled {
            let first = self.event(Span { from: span.from, to: span.from });
            for event in first..first + u32::try_from(*events).expect("few events") {
                let place = &mut self.places[event as usize];
                match (*place, fate) {
                    (Place::Lane, Settle::Delivered | Settle::Filtered) => {}
                    (Place::Dying, Settle::DeadLettered) => {}
                    (place, _) => {
                        return Err(format!("event {event} settles as {fate:?} from {place:?}"));
                    }
                }
                *place = Place::Settled(*fate);
                if *fate == Settle::Delivered && self.destination.copies[event as usize] == 0 {
                    return Err(format!("event {event} is settled and was not delivered"));
                }
                if *fate == Settle::DeadLettered && !self.stored[event as usize] {
                    return Err(format!("event {event} is settled and was not stored"));
                }
            }
            let last = self.ends[first as usize + *events as usize - 1];
            if last != span.to.bytes() {
                return Err(format!("{span:?} does not hold {events} events"));
            }
        }
        self.watermark.settle(settled);
        if self.mutation == Some(Mutation::SettleTwice) && self.rng.u8(..20) == 0 {
            self.watermark.settle(settled);
        }
        Ok(())
    }

    fn judge_letter(&mut self, event: u32, retryable: bool) -> Result<(), String> {
        self.tally.dead += 1;
        if self.script.poison.contains_key(&event) {
            return Ok(());
        }
        self.tally.innocent += 1;
        // Beside an event that breaks the destination, or where requests fail at random, others may
        // look guilty; they are kept as retryable.
        match retryable && !self.script.is_outage_only() {
            true => Ok(()),
            false => Err(format!("event {event} is a dead letter and nothing is wrong with it")),
        }
    }

    fn save(&mut self) -> Result<(), String> {
        let durable = match (self.mutation, self.synced) {
            (Some(Mutation::IgnoreDurable), _) => u64::MAX,
            (_, 0) => 0,
            (_, synced) => self.ends[synced as usize - 1],
        };
        let Some(mut checkpoint) = self.watermark.checkpoint(Offset::new(durable)) else {
            return Ok(());
        };
        if self.mutation == Some(Mutation::CheckpointTooFar) {
            let next = self.event(Span { from: checkpoint.base, to: checkpoint.base });
            let end = self.ends.get(next as usize).copied();
            checkpoint.base = end.map_or(checkpoint.base, Offset::new);
        }
        self.audit_checkpoint(&checkpoint)?;
        self.saved = checkpoint;
        Ok(())
    }

    /// A checkpoint covers settled, durable events only, and counts each of them once.
    fn audit_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), String> {
        if self.watermark.conflicts() != 0 {
            return Err("a span settled twice".into());
        }
        let mut counts = Counts::default();
        for event in 0..self.script.events {
            let span = self.span(event);
            let is_ahead = |ahead: &Span| ahead.from <= span.from && span.to <= ahead.to;
            if span.to > checkpoint.base && !checkpoint.ahead.iter().any(is_ahead) {
                continue;
            }
            if event >= self.synced {
                return Err(format!("the checkpoint covers event {event}, not yet durable"));
            }
            match self.places[event as usize] {
                Place::Settled(fate) => counts.add(fate, 1),
                place => return Err(format!("the checkpoint covers event {event}: {place:?}")),
            }
        }
        match counts == checkpoint.counts {
            true => Ok(()),
            false => Err(format!("counted {counts:?}, saved {:?}", checkpoint.counts)),
        }
    }

    /// The process dies; what was saved is what the next one has.
    fn crash(&mut self) -> Result<(), String> {
        self.tally.crashes += 1;
        self.life += 1;
        self.lanes.clear();
        if self.allowance.used() != 0 {
            return Err(format!("{} bytes are left after the lanes", self.allowance.used()));
        }
        if self.gate.in_flight() != 0 {
            return Err("slots are left after the lanes".into());
        }
        let covered = Watermark::open(&self.saved);
        for event in 0..self.script.events {
            let start = Offset::new(self.start_of(event));
            if covered.next_unsettled(start) == start {
                self.places[event as usize] = Place::Unread;
            }
        }
        // Arrivals and the destination's life go on; everything else belonged to the process.
        let now = self.now;
        for Reverse(due) in std::mem::take(&mut self.queue) {
            let stays = matches!(
                due.event,
                Event::Arrive | Event::Sync(_) | Event::Save | Event::Crash | Event::Restart
            );
            if stays {
                self.queue.push(Reverse(Due { life: self.life, at: due.at.max(now), ..due }));
            }
        }
        self.outcomes.clear();
        self.start();
        Ok(())
    }

    /// The equation, the budget and the slots, after every step.
    fn audit(&self) -> Result<(), String> {
        let counts = self.watermark.counts();
        let unread = self.places[..self.arrived as usize]
            .iter()
            .filter(|place| **place == Place::Unread)
            .count() as u64;
        let dying = self.places.iter().filter(|place| **place == Place::Dying).count() as u64;
        let lanes: u64 = self.lanes.iter().map(Lane::pending).sum();
        let pending = unread + dying + lanes;
        if u64::from(self.arrived) != counts.total() + pending {
            return Err(format!(
                "{} arrived, but {counts:?}, {unread} unread, {dying} dying, {lanes} in lanes",
                self.arrived
            ));
        }
        let used = self.allowance.used();
        let most = self.script.budget + BUDGET_SLACK;
        if used > most {
            return Err(format!("{used} bytes are held, {most} allowed"));
        }
        let slots = self.gate.in_flight();
        // A probe does not wait for a slot.
        if slots > self.script.concurrency + 1 {
            return Err(format!("{slots} requests are in flight"));
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        let is_settled = |place: &Place| matches!(place, Place::Settled(_));
        self.arrived == self.script.events && self.places.iter().all(is_settled)
    }

    /// Everything has settled: how, and how often.
    fn conclude(&mut self) -> Result<(), String> {
        self.synced = self.script.events;
        self.save()?;
        if self.saved.base.bytes() != self.ends[self.ends.len() - 1] || !self.saved.ahead.is_empty()
        {
            return Err(format!("everything has settled, but {:?} was saved", self.saved));
        }
        for (event, place) in (0..).zip(&self.places) {
            let copies = self.destination.copies[event as usize];
            let poison = self.script.poison.get(&event);
            let ends_well = match place {
                Place::Settled(Settle::Delivered) => copies > 0 && poison.is_none(),
                Place::Settled(Settle::DeadLettered) => self.stored[event as usize],
                Place::Settled(Settle::Filtered) => copies == 0,
                _ => false,
            };
            if !ends_well {
                return Err(format!("event {event}, {poison:?}, {copies} copies, is {place:?}"));
            }
            if copies > 1 && self.script.is_unambiguous() {
                return Err(format!("event {event} was delivered {copies} times"));
            }
            self.tally.copies += u64::from(copies);
        }
        self.tally.requests = self.destination.requests;
        self.tally.virtual_ns = self.now;
        self.lanes.clear();
        match self.allowance.used() {
            0 => Ok(()),
            used => Err(format!("{used} bytes are left at the end")),
        }
    }

    fn at(&mut self, after: u64, event: Event) {
        let at = match event {
            Event::Crash | Event::Restart => after,
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
        let Self { sender, open, claimed, wakes } = self;
        format!("{} unsent, {open:?} open, {claimed:?} claimed, wakes {wakes}", sender.pending())
    }

    fn pending(&self) -> u64 {
        let open: usize = self.open.iter().map(|(_, batch, _)| batch.events()).sum();
        (open + self.claimed.len()) as u64 + self.sender.pending()
    }
}

fn gate(script: &Script, epoch: Instant) -> Arc<Gate> {
    let settings = GateSettings {
        concurrency: script.concurrency,
        endpoints: script.endpoints,
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
    };
    Arc::new(Gate::new(settings, epoch))
}

fn settings(script: &Script, lane: u8, seed: u64) -> SenderSettings {
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
        order: script.order,
        resend: match script.idempotent {
            true => Resend::Idempotent,
            false => Resend::Ambiguous,
        },
        ambiguous_max: None,
        acks: AckSettings {
            poll_interval: Duration::from_secs(1),
            timeout: Duration::from_secs(60),
            pending_max: 20,
        },
        has_probe: script.has_probe,
        has_setup: script.idempotent,
        hold_interval: Duration::from_secs(60),
        seed,
    }
}

/// Bytes of padding in an event's document.
fn padding(script: &Script, event: u32, level: Option<Level>) -> u32 {
    let usual = u64::from(event) * 7919 % script.document_bytes;
    let pad = match (script.poison.get(&event), event % 23) {
        (Some(Poison::Huge), _) => HUGE,
        // Too large for the destination as it is, small enough when shrunk.
        (None, 11) => script.body_bytes_max as u64 * 2,
        _ => usual,
    };
    let pad = if level == Some(Level::Shrink) { pad / 4 } else { pad };
    u32::try_from(pad).expect("a few kilobytes")
}

fn document(event: u32, pad: u32, out: &mut Vec<u8>) {
    write!(out, "{event} {pad} ").expect("writing into memory");
    out.resize(out.len() + pad as usize, b'x');
}

/// Bytes of the padding of an event that nobody takes: above four times the destination's bound.
const HUGE: u64 = 200_000;

/// However bad it was, everything settles this long after the destination has healed.
const SETTLED_WITHIN: u64 = 12 * 3600 * S;

/// What may be held beyond the budget: one batch of at most this size, and copies of its halves.
const BUDGET_SLACK: u64 = 3 * HUGE * 2;
