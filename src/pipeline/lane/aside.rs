//! What goes out beside the log: gap records, and dead letters that are sent again.
//!
//! One lane of each exporter does only this. It has the exporter's gate, routes and plans like the
//! others, and reads no stripes: each of its events has a ticket, whose number stands where the
//! others have an offset.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::super::block::Entry;
use super::super::dead_letters::{Found, Gone, Leaving, Replayed, Wanted, letter_text};
use super::super::gap::gap_record;
use super::super::operations::Operation;
use super::super::replay::{Job, Progress};
use super::super::stop::Stage;
use super::alerting::Arrived;
use super::fill::{Taken, UNREADABLE_WAIT};
use super::{Lane, Turn};
use crate::deliver::{DeadLetter, Health, Outcomes};
use crate::event::{Event, Frame, Gap, Offset, Opened, Settle, Settled, Span, Time, attempt};
use crate::log::{LogError, Read, Reader};

/// The state of the lane beside the log.
#[derive(Debug, Default)]
pub(super) struct Aside {
    letters: Option<Reader>,
    /// What is on its way, by number.
    tickets: BTreeMap<u64, Ticket>,
    last: u64,
    /// Numbers that are not in a batch yet.
    ready: VecDeque<u64>,
    /// No letter is taken before.
    due: Option<Instant>,
    pace: Pace,
    opened: Opened,
    arena: Vec<u8>,
    /// Whether letters that may succeed should be sent again once the destination is well.
    wants_replay: bool,
}

/// One event beside the log.
#[derive(Debug)]
enum Ticket {
    Gap(Gap),
    /// A letter, the number of the job that took it, and its incident, where it is of one.
    Letter(Box<Replayed>, u64, Option<Arrived>),
}

/// What letters share that go at once: the request, by its number, the pass, and why.
type Meant = (Option<usize>, u32, Gone);

/// What a ticket's event is.
enum Text {
    Event(String),
    Cold(Span),
    /// It cannot be read now.
    Unread(LogError),
    None,
}

/// How fast the exporter delivers, looked at about once a second.
#[derive(Debug, Default)]
struct Pace {
    seen: Option<(Instant, u64)>,
    /// Events a second.
    rate: f64,
}

impl Pace {
    fn look(&mut self, delivered: u64, now: Instant) {
        let Some((at, before)) = self.seen else {
            self.seen = Some((now, delivered));
            return;
        };
        let passed = now.saturating_duration_since(at);
        if passed >= LOOK_INTERVAL {
            let rate = delivered.saturating_sub(before) as f64 / passed.as_secs_f64();
            self.rate = self.rate / 2.0 + rate / 2.0;
            self.seen = Some((now, delivered));
        }
    }
}

impl Aside {
    pub(super) fn new(letters: Option<Reader>) -> Self {
        Self { letters, wants_replay: true, ..Self::default() }
    }

    /// When it has something to do by itself.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether everything that was taken has met its end.
    pub(super) fn is_quiet(&self) -> bool {
        self.tickets.is_empty()
    }

    fn ticket(&mut self, ticket: Ticket) {
        self.last += 1;
        self.tickets.insert(self.last, ticket);
        self.ready.push_back(self.last);
    }
}

impl Ticket {
    /// Where the letter lies, if it is one.
    fn letter(&self) -> Option<Offset> {
        match self {
            Self::Letter(replayed, ..) => Some(replayed.span.from),
            Self::Gap(_) => None,
        }
    }
}

impl Lane {
    /// Whether this is the lane beside the log.
    pub(super) fn is_aside(&self) -> bool {
        self.aside.is_some()
    }

    /// Takes on gap records and dead letters for one turn.
    pub(super) fn fill_aside(&mut self, stage: Stage, now: Instant) -> Turn {
        if stage >= Stage::Flush {
            return Turn::Dry;
        }
        let is_stuck = self.exporter.is_stuck();
        if self.warming || !self.again.is_empty() || is_stuck || !self.sender.room() {
            return Turn::Full;
        }
        self.take_gap();
        self.begin_replay(now);
        if let Err(turn) = self.take_letters(now) {
            return turn;
        }
        self.push_ready(now)
    }

    /// Takes one gap on. While its record is on its way the next one grows, so that an outage of
    /// hours ends with a few records.
    fn take_gap(&mut self) {
        let Some(aside) = &mut self.aside else { return };
        if aside.tickets.values().any(|ticket| matches!(ticket, Ticket::Gap(_))) {
            return;
        }
        let Some(gap) = self.exporter.watermark().take_gap() else { return };
        if self.exporter.hook.is_some() {
            // Nobody asked for an action in answer to it.
            let (exporter, events, reason) = (self.exporter.name(), gap.events, gap.reason.word());
            tracing::warn!(
                exporter,
                events,
                reason,
                "events were lost: none of them caused an action"
            );
            self.exporter.watermark().close_gap(gap);
            return;
        }
        tracing::warn!(
            exporter = self.exporter.name(),
            events = gap.events,
            reason = gap.reason.word(),
            "gap record is sent"
        );
        aside.ticket(Ticket::Gap(gap));
    }

    /// Begins a replay by itself when the destination has become well.
    fn begin_replay(&mut self, now: Instant) {
        let exporter = &self.exporter;
        let Some(aside) = &mut self.aside else { return };
        aside.pace.look(exporter.watermark().counts().delivered, now);
        let is_dry = exporter.hook.as_ref().is_some_and(|hook| hook.spec.is_dry);
        if !exporter.settings.dead_letters.auto_replay || is_dry {
            return;
        }
        // One that somebody asked for may want few letters: the others wait for its end.
        let is_displaced = exporter.replays.take_displaced();
        // Events that are refused for good tell nothing of those that may succeed.
        if is_displaced || exporter.gate.requests_health(now) != Health::Healthy {
            aside.wants_replay = true;
            return;
        }
        if !aside.wants_replay || exporter.dead_letters.live() == 0 {
            return;
        }
        let wanted = Wanted { replays_below: Some(AUTO_REPLAYS_MAX), ..Wanted::default() };
        let progress = Progress { is_running: true, is_automatic: true, ..Progress::default() };
        let place = exporter.dead_letters.place();
        // While one that somebody asked for is running, it waits: that one may want other letters.
        let (until, is_instead) = (Offset::ZERO, false);
        let job = Job { number: 0, wanted, rate: None, place, until, is_instead, progress };
        aside.wants_replay = exporter.replays.begin(job).is_err();
        if !aside.wants_replay {
            let detail = format!("{} letters, by itself", exporter.dead_letters.live());
            let operation = Operation::by_itself("dlq_replay", exporter.name(), detail);
            self.bench.shared.operations.note(operation);
        }
    }

    /// Takes letters from the store, as many as the pace allows.
    fn take_letters(&mut self, now: Instant) -> Result<(), Turn> {
        let exporter = self.exporter.clone();
        let Some(aside) = &mut self.aside else { return Ok(()) };
        if aside.due.is_some_and(|due| due > now) || !aside.ready.is_empty() {
            return Ok(());
        }
        aside.due = None;
        let mut slot = exporter.replays.lock();
        let Some(job) = slot.as_mut().filter(|job| job.progress.is_running) else { return Ok(()) };
        let per_second = per_second(job, &aside.pace);
        let (Some(reader), Some(place)) = (&mut aside.letters, &mut job.place) else {
            job.progress.is_running = !(job.place.is_none() && job.progress.is_settled());
            return Ok(());
        };
        let (mut cold, mut pause) = (None, None);
        let mut found = Vec::new();
        // A job that replaced another meets letters which that one has sent and nobody answered.
        let under_way: BTreeSet<Offset> =
            aside.tickets.values().filter_map(Ticket::letter).collect();
        let at_once = match per_second {
            // The conversion ends at the largest number there is.
            Some(per_second) => (per_second.ceil() as usize).clamp(1, LETTERS_AT_ONCE),
            None => LETTERS_AT_ONCE,
        };
        while found.len() < at_once {
            match exporter.dead_letters.next(reader, place, &job.wanted) {
                Ok(Found::Letter(replayed)) if under_way.contains(&replayed.span.from) => {}
                Ok(Found::Letter(replayed)) => found.push(replayed),
                Ok(Found::Unsaved) => {
                    pause = Some(SAVE_WAIT);
                    break;
                }
                // One block a turn: others want this thread too.
                Ok(Found::Nothing) => break,
                Ok(Found::Cold(span)) => {
                    cold = Some((reader.clone(), span));
                    break;
                }
                Ok(Found::End) => {
                    job.place = None;
                    break;
                }
                Err(problem) => {
                    // For want of descriptors or memory: tried again later.
                    exporter.note_error(format!("dead letters not readable: {problem}"), now);
                    pause = Some(UNREADABLE_WAIT);
                    break;
                }
            }
        }
        let taken = found.len() as u64;
        let number = job.number;
        found.into_iter().for_each(|replayed| aside.ticket(Ticket::Letter(replayed, number, None)));
        job.progress.sent += taken;
        job.progress.wanted = job.progress.wanted.max(job.progress.sent);
        job.progress.is_running = job.place.is_some() || !job.progress.is_settled();
        let wait = wait_for(job, taken, per_second, exporter.settings.rate.per_second);
        let wait = wait.filter(|_| taken > 0).max(pause);
        aside.due = wait.map(|wait| now + wait);
        drop(slot);
        if let Some((reader, span)) = cold {
            self.warm_from(reader, span);
            return Err(Turn::Full);
        }
        Ok(())
    }

    /// Renders what has a ticket and is in no batch yet.
    fn push_ready(&mut self, now: Instant) -> Turn {
        let mut rendered = 0;
        while let Some(&number) = self.aside.as_ref().and_then(|aside| aside.ready.front()) {
            if rendered >= LETTERS_AT_ONCE {
                return Turn::More;
            }
            rendered += 1;
            let taken =
                self.with_ticket(number, |lane, entry, event| lane.take_event(entry, event, now));
            match taken {
                Ok(Taken::Full) | Err(true) => return Turn::Full,
                Ok(Taken::Done) => {}
                Err(false) => self.keep_ticket(number),
            }
            self.aside.iter_mut().for_each(|aside| {
                aside.ready.pop_front();
            });
        }
        let has_more = self.aside.as_ref().is_some_and(|aside| aside.due.is_none())
            && self.exporter.replays.lock().as_ref().is_some_and(|job| job.place.is_some());
        if has_more { Turn::More } else { Turn::Dry }
    }

    /// Opens the event of a ticket for `act`.
    ///
    /// # Errors
    /// `true` when its bytes have to be fetched first, `false` when there is no event.
    pub(super) fn with_ticket<T>(
        &mut self,
        number: u64,
        act: impl FnOnce(&mut Self, &Entry<'_>, &Event<'_>) -> T,
    ) -> Result<T, bool> {
        let Some(aside) = &mut self.aside else { return Err(false) };
        let Some(ticket) = aside.tickets.get(&number) else { return Err(false) };
        let (text, received_ns) = match ticket {
            Ticket::Gap(gap) => {
                let (pass, now) = (self.exporter.pass(), Time::now());
                let record = gap_record(self.exporter.name(), pass, gap, now);
                (Text::Event(record), now.ns())
            }
            Ticket::Letter(replayed, ..) => {
                (letter_event(aside.letters.as_mut(), replayed.span), replayed.received_ns)
            }
        };
        let text = match text {
            Text::Event(text) => text,
            Text::Cold(span) => {
                let reader = aside.letters.clone();
                reader.into_iter().for_each(|reader| self.warm_from(reader, span));
                return Err(true);
            }
            Text::Unread(problem) => {
                self.on_unreadable(&problem, Instant::now());
                return Err(true);
            }
            Text::None => return Err(false),
        };
        let (mut arena, mut opened) =
            (std::mem::take(&mut aside.arena), std::mem::take(&mut aside.opened));
        let opening = self.bench.openings.load();
        let span = ticket_span(number);
        let frame = Frame { offset: span.from, received_ns, checked: true, ..Frame::default() };
        opening.begin(&mut arena);
        // Letters were concealed before they were kept; a second hash would hide them from those
        // who look for the first.
        let open = || opening.open_prepared(&frame, text.as_bytes(), &mut arena, &mut opened);
        let result = match attempt(open) {
            Some(Ok(())) => {
                let record = text.as_bytes();
                let event = Event::new(&opened, frame, record, &arena);
                let entry = Entry { span, received_ns, event: Ok(event) };
                Ok(act(self, &entry, &event))
            }
            _ => Err(false),
        };
        self.aside.iter_mut().for_each(|aside| {
            (aside.arena, aside.opened) = (std::mem::take(&mut arena), std::mem::take(&mut opened));
        });
        result
    }

    /// Whether the event at an offset, or of a ticket, was asked for by itself, however old it is.
    pub(super) fn is_asked_for(&self, at: Offset) -> bool {
        let Some(aside) = &self.aside else { return at < self.exporter.alert_below() };
        let Some(Ticket::Letter(_, number, _)) = aside.tickets.get(&at.bytes()) else {
            return false;
        };
        let job = self.exporter.replays.lock();
        job.as_ref().is_some_and(|job| job.number == *number && job.wanted.really_alert)
    }

    /// Keeps the incident of a letter with its ticket.
    pub(super) fn hold_for_letter(&mut self, ticket: Span, of: Arrived) {
        let tickets = self.aside.as_mut().map(|aside| &mut aside.tickets);
        let ticket = tickets.and_then(|tickets| tickets.get_mut(&ticket.from.bytes()));
        if let Some(Ticket::Letter(.., incident)) = ticket {
            *incident = Some(of);
        }
    }

    /// Notes that tickets have arrived.
    pub(super) fn settle_aside(&mut self, Outcomes { settled, requests, .. }: &Outcomes) {
        let exporter = self.exporter.clone();
        let Some(aside) = &mut self.aside else { return };
        let mut letters: Vec<(Meant, Leaving)> = Vec::new();
        let mut jobs: Vec<(u64, Gone)> = Vec::new();
        let (mut redeemed, mut arrived) = (0, Vec::new());
        for (at, Settled { span, fate, .. }) in settled.iter().enumerate() {
            let request = requests.iter().position(|it| it.pieces.contains(&at));
            let why = match fate {
                Settle::Filtered => Gone::Digested,
                _ => Gone::Replayed,
            };
            for number in span.from.bytes()..span.to.bytes() {
                match aside.tickets.remove(&number) {
                    Some(Ticket::Gap(gap)) => {
                        exporter.watermark().close_gap(gap);
                        exporter.counters.gap_records.add(1);
                    }
                    Some(Ticket::Letter(replayed, job, incident)) => {
                        arrived.extend(incident.filter(|_| why == Gone::Replayed));
                        redeemed += u64::from(exporter.dead_letters.has_given_up(&replayed.letter));
                        let (pass, event) = (replayed.letter.pass, replayed.letter.offset);
                        let event = Offset::new(event);
                        letters
                            .push(((request, pass, why), Leaving { letter: replayed.span, event }));
                        jobs.push((job, why));
                    }
                    None => debug_assert!(false, "a ticket settled twice"),
                }
            }
        }
        // First, so that whoever is killed in between finds the letter and sends it again.
        self.note_arrived(&arrived);
        letters.sort_unstable_by_key(|(meant, taken)| (*meant, taken.letter.from));
        for run in letters.chunk_by(|a, b| a.0 == b.0) {
            let taken: Vec<Leaving> = run.iter().map(|(_, taken)| *taken).collect();
            let (request, pass, why) = run[0].0;
            let sent = request.map(|at| requests[at].sent);
            exporter.dead_letters.remove(&taken, why, pass, sent);
            if why == Gone::Replayed {
                exporter.counters.replayed.add(taken.len() as u64);
            }
        }
        exporter.counters.redeemed.add(redeemed);
        for run in jobs.chunk_by(|a, b| a == b) {
            let (job, why) = run[0];
            self.note_ended(job, |progress| match why {
                Gone::Digested => progress.digested += run.len() as u64,
                _ => progress.delivered += run.len() as u64,
            });
        }
    }

    /// Takes back a ticket whose event was refused: a letter is written again with what happened,
    /// a gap record is let go.
    pub(super) fn bury_aside(&mut self, dead: &DeadLetter, now: Instant) {
        let exporter = self.exporter.clone();
        let number = dead.item.span.from.bytes();
        let Some(aside) = &mut self.aside else { return };
        match aside.tickets.remove(&number) {
            Some(Ticket::Gap(gap)) => {
                let problem = &dead.reason.detail;
                let name = exporter.name();
                tracing::error!(
                    exporter = name,
                    problem,
                    events = gap.events,
                    "gap record refused"
                );
                exporter.counters.gap_records_refused.add(1);
                exporter.watermark().close_gap(gap);
            }
            Some(Ticket::Letter(replayed, job, _)) => {
                match letter_text_of(aside.letters.as_mut(), &replayed) {
                    Ok(Some(text)) => exporter.bury_again(dead, &replayed, text),
                    // Written again without its event the letter would have lost it.
                    Ok(None) => tell_kept(exporter.name(), &replayed),
                    Err(problem) => {
                        let text = format!("dead letter stays as it was: {problem}");
                        exporter.note_error(text, now);
                    }
                }
                self.note_ended(job, |progress| progress.kept += 1);
            }
            None => debug_assert!(false, "a ticket settled twice"),
        }
    }

    /// Takes back a ticket without an event: its letter stays as it is.
    fn keep_ticket(&mut self, number: u64) {
        let Some(aside) = &mut self.aside else { return };
        if let Some(Ticket::Letter(replayed, job, _)) = aside.tickets.remove(&number) {
            tell_kept(self.exporter.name(), &replayed);
            self.note_ended(job, |progress| progress.kept += 1);
        }
    }

    /// Counts letters for the job that took them, unless another has replaced it.
    fn note_ended(&self, number: u64, count: impl FnOnce(&mut Progress)) {
        let mut slot = self.exporter.replays.lock();
        if let Some(job) = slot.as_mut().filter(|job| job.number == number) {
            count(&mut job.progress);
            job.progress.is_running = job.place.is_some() || !job.progress.is_settled();
        }
    }
}

/// How many letters a job may take in a second, where that is bounded.
fn per_second(job: &Job, pace: &Pace) -> Option<f64> {
    match (job.progress.is_automatic, job.rate) {
        (true, _) => Some((pace.rate / AUTO_SHARE).max(AUTO_RATE_MIN)),
        (false, rate) => rate.map(|rate| f64::from(rate.max(1))),
    }
}

/// How long the next letters wait, after so many were taken.
fn wait_for(
    job: &Job,
    taken: u64,
    per_second: Option<f64>,
    requests: Option<u32>,
) -> Option<Duration> {
    let per_second = per_second?;
    let by_events = taken as f64 / per_second;
    // One request carries what was taken; where requests are limited, they are shared as well.
    let by_requests = match (job.progress.is_automatic, requests) {
        (true, Some(requests)) => AUTO_SHARE / f64::from(requests.max(1)),
        _ => 0.0,
    };
    Some(Duration::from_secs_f64(by_events.max(by_requests)))
}

/// Says that a letter cannot be sent again.
fn tell_kept(exporter: &str, replayed: &Replayed) {
    let offset = replayed.letter.offset;
    tracing::warn!(exporter, offset, "dead letter without its event stays");
}

/// The event of a letter.
fn letter_event(reader: Option<&mut Reader>, span: Span) -> Text {
    let Some(reader) = reader else { return Text::None };
    match reader.read(span.from, span.to, 1) {
        Ok(Read::Block(block)) => letter_text(&block).map_or(Text::None, Text::Event),
        Ok(Read::Cold(span)) => Text::Cold(span),
        Ok(Read::End | Read::Gone { .. } | Read::Damaged { .. }) => Text::None,
        Err(problem) => Text::Unread(problem),
    }
}

/// The same where it was read just now already.
fn letter_text_of(
    reader: Option<&mut Reader>,
    replayed: &Replayed,
) -> Result<Option<Vec<u8>>, LogError> {
    let Some(reader) = reader else { return Ok(None) };
    loop {
        match letter_event(Some(reader), replayed.span) {
            Text::Event(text) => return Ok(Some(text.into_bytes())),
            // The same offset is answered so once.
            Text::Cold(_) => {}
            Text::Unread(problem) => return Err(problem),
            Text::None => return Ok(None),
        }
    }
}

fn ticket_span(number: u64) -> Span {
    Span { from: Offset::new(number), to: Offset::new(number + 1) }
}

/// Letters taken or rendered in one turn.
const LETTERS_AT_ONCE: usize = 100;
/// A replay that begins by itself gets this part of the exporter's rate: a tenth.
const AUTO_SHARE: f64 = 10.0;
/// And at least this many events a second, so that a quiet exporter's letters go too.
const AUTO_RATE_MIN: f64 = 1.0;
/// A letter is replayed this often without anybody asking for it.
const AUTO_REPLAYS_MAX: u32 = 3;
/// A letter whose checkpoint is not saved yet is looked at again after this: about when it is.
const SAVE_WAIT: Duration = Duration::from_millis(100);
/// Between two looks at the exporter's rate.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_by_itself_takes_a_tenth_and_goes_on_where_nothing_else_does() {
        let automatic = Progress { is_automatic: true, ..Progress::default() };
        let job = |rate, progress| Job {
            number: 0,
            wanted: Wanted::default(),
            rate,
            place: None,
            until: Offset::ZERO,
            is_instead: false,
            progress,
        };
        let of = |job: &Job, rate| per_second(job, &Pace { rate, ..Pace::default() });
        let by_itself = job(None, automatic);
        assert_eq!([0.0, 4.0, 50.0].map(|rate| of(&by_itself, rate)), [1.0, 1.0, 5.0].map(Some));
        assert_eq!(of(&job(None, Progress::default()), 50.0), None);
        assert_eq!(of(&job(Some(20), Progress::default()), 50.0), Some(20.0));
    }
}
