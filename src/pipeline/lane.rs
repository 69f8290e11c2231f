//! One lane of an exporter: reads stripes, fills batches, and keeps requests under way.

mod again;
mod alerting;
mod aside;
mod digest;
mod exchange;
mod fed;
mod fill;
mod hooked;
mod opens;
mod parked;
mod talking;

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::task::{JoinSet, yield_now};
use tokio::time::sleep_until;

use super::balance::Load;
use super::block::Block;
use super::board::{Board, Claim};
use super::changes;
use super::exporter::Exporter;
use super::health;
use super::heartbeat;
use super::meter::Noted;
use super::network::{Network, Way};
use super::pace::Seat;
use super::parking::Parking;
use super::route::Route;
use super::stop::Stage;
use super::worker::Bench;
use crate::deliver::{BatchId, Buffers, DeadLetter, Order, Outcomes, Reshape, Sender};
use crate::event::{Narrowed, Offset, Privacy, Settled, Span};
use alerting::Alerting;
use aside::Aside;
use digest::Gathering;
use exchange::{Calls, Ended};
use fed::Patience;
use hooked::Acting;
use opens::{Look, Open, Opens, Target};
use talking::Talking;

/// One lane. It lives on one worker; nothing of it is shared but through its exporter.
pub(crate) struct Lane {
    exporter: Arc<Exporter>,
    number: usize,
    bench: Rc<Bench>,
    sender: Sender,
    outcomes: Outcomes,
    buffers: Buffers,
    /// The batches under construction.
    opens: Opens,
    /// Which of them the event at hand goes into.
    target: Target,
    reading: Option<Reading>,
    seat: Seat,
    /// Turns in a row that it left to others.
    left: u32,
    /// What it sends instead of what it reads, in the lane beside the log.
    aside: Option<Aside>,
    /// For others to open blocks, where the exporter needs order.
    patience: Patience,
    /// Events to be rendered again, oldest first.
    again: VecDeque<Reshape>,
    /// Events that are given up and whose bytes have to be fetched for their letters, oldest first.
    /// Each was in a batch of this lane, which reads nothing more meanwhile.
    burying: VecDeque<DeadLetter>,
    /// Events whose route is held.
    parking: Parking,
    /// Events that are told of together.
    gathering: Gathering,
    /// Where events are made narrower, where the exporter sees less than others; gone while one is.
    view: Option<Box<View>>,
    /// What was read and not sent, until it is told to the watermark.
    settled: Vec<Settled>,
    calls: Calls,
    network: Rc<Network>,
    /// For questions that must not keep batches waiting.
    network_beside: Option<Rc<Network>>,
    tasks: JoinSet<Ended>,
    /// Under which key each event in a batch counts, where the vendor takes counts.
    noted: Option<Noted>,
    /// What runs beside the events as long as the lane does.
    beside: JoinSet<()>,
    /// Whether cold bytes are being fetched; nothing is read meanwhile.
    warming: bool,
    /// Since when nothing can be sent although something was read.
    stuck_since: Option<Instant>,
    /// What a template was given and made of the event at hand.
    templated: Templated,
    /// Seconds since 1970, as of this turn; 0 where nothing that is sent depends on it.
    clock: i64,
    /// Events so far, where they are numbered.
    sequence: Option<u32>,
    /// The action that a response hook asks for, or asked for last.
    acting: Option<Acting>,
    /// How far it is with sending what it has gathered, as somebody asked.
    flushing: Flushing,
    /// What it knows of incidents.
    alerting: Alerting,
    /// What it knows of conversations.
    talking: Talking,
}

/// What somebody asked for that is to go out at once.
#[derive(Clone, Copy, Debug, Default)]
struct Flushing {
    /// How often.
    wanted: u64,
    /// The last batch that was gathered then, until all of them have ended.
    newest: Option<BatchId>,
}

/// Room for templates.
#[derive(Default)]
struct Templated {
    document: Vec<u8>,
    text: Vec<u8>,
}

/// How an exporter sees events that it may not see whole.
struct View {
    privacy: Arc<Privacy>,
    room: Narrowed,
}

/// A claimed stripe, and how far it was read.
struct Reading {
    claim: Claim,
    /// The next record to read.
    position: Offset,
    block: Option<(Rc<Block>, usize)>,
}

/// How a turn of filling ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// There may be more to do at once.
    More,
    /// Nothing is left to read.
    Dry,
    /// Nothing more can be taken on before something ends.
    Full,
}

impl Lane {
    pub(crate) fn new(exporter: Arc<Exporter>, number: usize, way: &Way, bench: Rc<Bench>) -> Self {
        let sender = exporter.sender(number);
        let mut beside = JoinSet::new();
        if exporter.prepares(number) {
            beside.spawn_local(health::watch(Arc::clone(&exporter), way.beside().open()));
            if changes::is_wanted(&exporter) {
                beside.spawn_local(changes::run(Arc::clone(&exporter), way.beside().open()));
            }
            if heartbeat::is_wanted(&exporter) {
                let (shared, network) = (Arc::clone(&bench.shared), way.beside().open());
                beside.spawn_local(heartbeat::run(Arc::clone(&exporter), shared, network));
            }
        }
        let calls = Calls::new(&exporter, number);
        Self {
            opens: Opens::new(exporter.routes.len(), exporter.partitions_max()),
            target: Target::default(),
            sender,
            outcomes: Outcomes::default(),
            buffers: Buffers::new(),
            reading: None,
            seat: bench.pace.seat(),
            left: 0,
            aside: exporter.is_aside(number).then(|| Aside::new(exporter.dead_letters.reader())),
            patience: Patience::default(),
            view: exporter
                .privacy
                .clone()
                .filter(|_| !exporter.is_aside(number))
                .map(|privacy| Box::new(View { privacy, room: Narrowed::default() })),
            again: VecDeque::new(),
            burying: VecDeque::new(),
            parking: Parking::default(),
            gathering: Gathering::new(&exporter),
            settled: Vec::new(),
            network: Rc::new(way.open()),
            network_beside: calls.verifies().then(|| Rc::new(way.beside().open())),
            tasks: JoinSet::new(),
            noted: exporter.ledger.as_ref().map(|_| Noted::default()),
            beside,
            warming: false,
            stuck_since: None,
            templated: Templated::default(),
            clock: 0,
            sequence: exporter.settings.is_numbered().then_some(0),
            acting: None,
            flushing: Flushing::default(),
            alerting: Alerting::default(),
            talking: Talking::default(),
            calls,
            exporter,
            number,
            bench,
        }
    }

    /// Runs until the engine stops, or until everything is sent when it drains.
    pub(crate) async fn run(mut self) {
        self.prepare().await;
        loop {
            let stage = self.exporter.stop.stage();
            if stage == Stage::Abort {
                self.leave().await;
                break;
            }
            let now = Instant::now();
            self.look_at_the_clock();
            self.give_up_below_floor(now);
            self.exchange(now);
            self.park(now);
            self.bury_waiting(now);
            self.render_again(now);
            self.talk_on(now);
            let turn = match self.is_aside() {
                true => self.fill_aside(stage, now),
                false => self.fill(stage, now),
            };
            self.look_after_incidents(stage, turn, now);
            self.close_gathered(stage, turn, now);
            self.exchange(now);
            self.tell_of_flush();
            self.publish();
            self.keep_pace(turn, now);
            if turn == Turn::More {
                self.make_way(now).await;
                self.collect();
                continue;
            }
            if self.is_done(stage, turn) {
                break;
            }
            self.give_back_if_stuck(now);
            self.wait(stage, turn, now).await;
        }
        self.keep_pace(Turn::Dry, Instant::now());
        self.give_back();
        if !self.is_aside() {
            self.exporter.board.leave(self.number);
        }
        self.publish();
        self.beside.abort_all();
        self.exporter.end(self.number);
    }

    /// Notes what time it is, where documents or bodies say something of it.
    fn look_at_the_clock(&mut self) {
        if self.exporter.routes.iter().any(Route::tells_time) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.clock = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        }
    }

    /// The time that bodies say: an action that is asked for again says when it was first.
    fn body_time(&self) -> i64 {
        self.acting.as_ref().map_or(self.clock, |acting| acting.at)
    }

    /// Gives up what retention has given up, as far as it was not sent.
    fn give_up_below_floor(&mut self, now: Instant) {
        let floor = self.exporter.floor();
        if floor > Offset::ZERO && !self.is_aside() {
            // An open batch would be filled up with what comes behind, and wait as long as that.
            let is_below = |open: &Open| {
                open.batch.items().first().is_some_and(|first| first.span.to <= floor)
            };
            while let Some(slot) = self.opens.oldest(is_below) {
                self.close(slot);
            }
            self.sender.give_up_below(floor, &mut self.outcomes);
            self.give_up_parked(floor);
            self.give_up_waiting(floor);
            self.give_up_gathered(floor);
            self.give_up_unburied(floor);
            self.act(now);
        }
    }

    /// Tells the exporter how this lane is.
    fn publish(&mut self) {
        self.tell(|_| {});
        let state = &self.exporter.lanes[self.number];
        state.parked.store(self.parking.refused(), Ordering::Relaxed);
        let has_held_route = self.sender.held_routes().next().is_some();
        state.has_held_route.store(has_held_route, Ordering::Relaxed);
    }

    /// Tells the account what was settled while reading and what this lane has, and changes the
    /// board with it.
    fn tell(&mut self, change: impl FnOnce(&Board)) {
        let nowhere = Span { from: Offset::ZERO, to: Offset::ZERO };
        let unread = self.reading.as_ref();
        let unread = unread.map_or(nowhere, |it| Span { from: it.position, to: it.claim.end });
        let events = if self.is_aside() { 0 } else { self.events() };
        self.exporter.tell(self.number, &self.settled, Load { unread, events }, change);
        self.settled.clear();
    }

    /// Events that were read and are neither settled nor in a letter.
    fn events(&self) -> u64 {
        let open: usize = self.opens.iter().map(|open| open.batch.events()).sum();
        let waiting = self.parking.events() + self.talking.events() + self.gathering.events();
        self.sender.pending() + waiting + open as u64 + self.burying.len() as u64
    }

    /// Gives the unread rest of the stripe back, where it holds one.
    fn give_back(&mut self) {
        if let Some(Reading { claim, position, .. }) = self.reading.take() {
            self.tell(|board| board.release(claim.stripe, position));
        }
    }

    /// Tells the other lanes of this worker where it reads next, if it only lacks their time.
    fn keep_pace(&self, turn: Turn, now: Instant) {
        let at = self.reading.as_ref().map(|reading| reading.position);
        self.seat.note(at.filter(|_| turn == Turn::More));
        self.seat.note_read(at, self.bench.tide.head(), now);
    }

    /// Lets others go first before its next turn.
    async fn make_way(&self, now: Instant) {
        let at = self.reading.as_ref().map(|reading| reading.position);
        match at.and_then(|at| self.bench.pace.rest(at, self.bench.tide.head(), now)) {
            Some(until) => sleep_until(until.into()).await,
            None => yield_now().await,
        }
    }

    /// Whether nothing is left to do for this stage.
    fn is_done(&self, stage: Stage, turn: Turn) -> bool {
        let is_quiet = self.sender.is_empty()
            && self.again.is_empty()
            && self.burying.is_empty()
            && !self.warming
            && self.gathering.is_empty()
            && !self.is_asking()
            && self.opens.is_empty();
        if let Some(aside) = &self.aside {
            // What was not taken yet is still in its store.
            return match stage {
                Stage::Run => false,
                Stage::Drain => {
                    let is_last = self.exporter.readers_have_ended();
                    is_last && is_quiet && aside.is_quiet() && !self.exporter.watermark().has_gaps()
                }
                Stage::Flush => is_quiet,
                Stage::Abort => true,
            };
        }
        match stage {
            Stage::Run => false,
            Stage::Drain => {
                let waiting = self.parking.events() + self.talking.events();
                is_quiet && turn == Turn::Dry && waiting == 0
            }
            Stage::Flush => is_quiet,
            Stage::Abort => true,
        }
    }

    /// Closes what is gathered as far as its time has come, or all of it where somebody asks.
    fn close_gathered(&mut self, stage: Stage, turn: Turn, now: Instant) {
        let wanted = self.exporter.flushes.load(Ordering::Acquire);
        let is_wanted = wanted != self.flushing.wanted;
        let stage = if is_wanted { stage.max(Stage::Flush) } else { stage };
        self.close_due(stage, turn, now);
        self.close_digests(stage, turn, now);
        if is_wanted {
            self.flushing = Flushing { wanted, newest: Some(self.sender.newest()) };
        }
    }

    /// Tells whoever asked that what was gathered then has gone out and has ended.
    fn tell_of_flush(&mut self) {
        let Flushing { wanted, newest: Some(newest) } = self.flushing else { return };
        let mut taken_out = self.again.iter().map(|reshape| &reshape.history);
        let is_over = self.sender.has_ended_to(newest)
            && !taken_out.any(|history| history.is_of(newest))
            && !self.parking.has_any_of(newest);
        if is_over {
            self.exporter.lanes[self.number].flushed.store(wanted, Ordering::Release);
            self.flushing.newest = None;
        }
    }

    /// Closes the batches whose time has come.
    fn close_due(&mut self, stage: Stage, turn: Turn, now: Instant) {
        self.opens.hurry(self.bench.tide.head());
        let has_stripe = self.reading.is_some() || self.is_aside();
        let is_dry = turn == Turn::Dry;
        loop {
            let look = Look {
                now,
                stage,
                is_dry,
                at: self.reading.as_ref().map(|reading| reading.position),
                is_between: is_dry && !has_stripe,
                is_hungry: self.sender.is_hungry(now),
                has_room: self.sender.room(),
            };
            let settings = &self.exporter.settings.batch;
            // The oldest first: one that fills up again at once must not keep the others waiting.
            let slot = self.opens.oldest(|open| open.is_due(settings, &look));
            let Some(slot) = slot else { return };
            self.close(slot);
        }
    }

    /// Ends a batch and hands it to the sender; where order matters, after those of the same place
    /// that were begun before it.
    fn close(&mut self, slot: usize) {
        while let Some(first) = self.begun_before(slot) {
            self.hand_over(first);
        }
        self.hand_over(slot);
    }

    /// The first of the batches that have to go before this one.
    fn begun_before(&self, slot: usize) -> Option<usize> {
        let (exporter, own) = (&self.exporter, self.opens.batch_of(slot)?.route());
        let place = |route: u32| exporter.places[route as usize];
        let first = match exporter.settings.order() {
            Order::Any => return None,
            Order::Strict => self.opens.first(|_| true),
            Order::Loose => self.opens.first(|batch| place(batch.route()) == place(own)),
        };
        first.filter(|&first| first != slot)
    }

    /// Ends a batch and hands it to the sender.
    fn hand_over(&mut self, slot: usize) {
        let Some(mut batch) = self.opens.take(slot) else { return };
        batch.date(self.body_time());
        batch.close();
        self.sender.enqueue(batch);
    }

    /// Gives back the unread rest of the stripe when nothing could be sent for a while, so that a
    /// lane that can send reads it.
    fn give_back_if_stuck(&mut self, now: Instant) {
        let Some(since) = self.stuck_since else { return };
        if now.saturating_duration_since(since) < STUCK_AFTER {
            return;
        }
        if self.reading.is_some() {
            self.give_back();
            self.exporter.wake_all();
        }
    }

    /// Waits for the next thing to happen: an answer, a timer, new bytes in the log, a word from
    /// another lane. What came due since this turn began, at `now`, is due at once.
    async fn wait(&mut self, stage: Stage, turn: Turn, now: Instant) {
        let deadline = self.next_deadline(now);
        // A lane that reads nothing more must not wait for what is there already: that never
        // yields to the tasks that send.
        let may_read = !self.is_aside() && !self.warming && stage < Stage::Flush;
        let wants_more = turn == Turn::Dry && may_read;
        let beyond = self.reading_from();
        let tide = &self.bench.tide;
        let woken = self.exporter.wakes[self.number].notified();
        tokio::select! {
            biased;
            Some(ended) = self.tasks.join_next() => self.on_ended(ended),
            () = woken => {}
            () = tide.past(beyond), if wants_more => {}
            () = sleep_until(deadline.into()) => {}
        }
        self.collect();
    }

    /// Where there was nothing to read.
    fn reading_from(&self) -> Offset {
        match &self.reading {
            Some(reading) => reading.position,
            // Without a claim there was no stripe with anything new in it for this lane: the head
            // has to enter another stripe first.
            None => self.exporter.board.next_claim(self.bench.tide.head()),
        }
    }

    /// The earliest time behind `now` at which something is due by itself: what was due then and is
    /// still there could not be acted on.
    fn next_deadline(&self, now: Instant) -> Instant {
        let settings = self.exporter.settings.batch;
        let lingering = self.opens.iter().flat_map(|open| {
            let linger = self.sender.is_hungry(now).then_some(settings.linger);
            [linger, settings.interval].map(|wait| wait.map(|wait| open.since + wait))
        });
        let stuck = self.stuck_since.filter(|_| self.reading.is_some());
        // What waits for a held route is set aside some time after that, whoever wakes this lane.
        let is_parting = self.sender.held_routes().next().is_some();
        lingering
            .chain([is_parting.then_some(now + IDLE_WAIT)])
            .chain([self.calls.due, stuck.map(|since| since + STUCK_AFTER), self.patience_ends()])
            .chain([self.aside.as_ref().and_then(Aside::due)])
            .flatten()
            .chain(self.gathering.wakes(&self.sender, now))
            .filter(|&at| at > now)
            .min()
            .unwrap_or(now + IDLE_WAIT)
    }

    /// Takes in everything that has ended meanwhile.
    fn collect(&mut self) {
        while let Some(ended) = self.tasks.try_join_next() {
            self.on_ended(ended);
        }
    }
}

/// A lane whose slots are all busy this long lets others read its stripe. Shorter waits are the
/// normal state of a saturated exporter, and giving back costs another opening.
const STUCK_AFTER: Duration = Duration::from_millis(250);
/// Lanes look around this often even when nothing wakes them: held state is also a matter of time.
const IDLE_WAIT: Duration = Duration::from_secs(1);
