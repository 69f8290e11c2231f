//! Filling batches from the log.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::super::block::{At, Block, Entry};
use super::super::exporter::{DEFECT, TOO_LARGE};
use super::super::stop::Stage;
use super::fed::Fed;
use super::opens::Open;
use super::{Lane, Reading, Templated, Turn, View};
use crate::deliver::{Batch, DeadLetter, Item, Level, Part, Pushed, Reason, TURN_BYTES};
use crate::event::{
    Class, Context, Event, FieldId, Frame, GapReason, Offset, Settle, Settled, Span, attempt,
};
use crate::log::LogError;

/// What became of one record.
pub(super) enum Taken {
    /// It is settled or in a batch.
    Done,
    /// There is no room for it now.
    Full,
}

impl Lane {
    /// Reads and renders for one turn: at most about [`TURN_BYTES`] of documents.
    pub(super) fn fill(&mut self, stage: Stage, now: Instant) -> Turn {
        if stage >= Stage::Flush {
            return Turn::Dry;
        }
        let is_stuck = self.exporter.is_stuck();
        if self.warming || !self.again.is_empty() || is_stuck || !self.sender.room() {
            self.stuck_since.get_or_insert(now);
            return Turn::Full;
        }
        self.stuck_since = None;
        if self.leaves_turn() {
            return Turn::More;
        }
        let mut rendered = 0;
        while rendered < TURN_BYTES {
            match self.follow(TURN_BYTES - rendered, now) {
                Fed::Alone => {}
                Fed::Took(bytes) => {
                    rendered += bytes;
                    continue;
                }
                Fed::Ends => return Turn::Full,
            }
            if self.is_ahead() {
                break;
            }
            let Some((block, at)) = self.next_block() else { return self.dry() };
            let (read, bytes, taken) = self.take_records(&block, at, TURN_BYTES - rendered, now);
            rendered += bytes;
            self.move_on(&block, read);
            if matches!(taken, Taken::Full) {
                return Turn::Full;
            }
        }
        for batch in self.opens.batches() {
            batch.turn(TURN_BYTES);
        }
        Turn::More
    }

    /// Whether this turn is left to a lane of this worker that is close to the head of the log.
    fn leaves_turn(&mut self) -> bool {
        let at = self.reading.as_ref().map(|reading| reading.position);
        let head = self.bench.tide.head();
        let is_behind = at.is_some_and(|at| self.bench.pace.is_behind_live(at, head));
        self.left = if is_behind && self.left < LEFT_MAX { self.left + 1 } else { 0 };
        self.left > 0
    }

    /// Whether the next block is not opened yet, and others of this worker should go first.
    fn is_ahead(&self) -> bool {
        let Some(Reading { position, claim, block: None }) = &self.reading else { return false };
        let head = self.bench.tide.head();
        self.bench.pace.is_ahead(*position, head)
            && !self.bench.blocks.borrow().has(*position, head.min(claim.end))
    }

    /// Takes records of a block from `at` on; says where it stopped, and how many bytes that was.
    fn take_records(
        &mut self,
        block: &Block,
        mut at: usize,
        bytes_max: usize,
        now: Instant,
    ) -> (usize, usize, Taken) {
        let mut bytes = 0;
        while at < block.len() && bytes < bytes_max {
            let entry = block.entry(at);
            bytes += usize::try_from(entry.span.bytes()).unwrap_or(usize::MAX);
            if let Taken::Full = self.take(&entry, now) {
                return (at, bytes, Taken::Full);
            }
            at += 1;
        }
        (at, bytes, Taken::Done)
    }

    /// Takes one record, as far as earlier runs have not settled it.
    ///
    /// What is a record's depends on how the log was read: filler and notes behind it are its own
    /// where both were read at once, and stand for themselves where not. An earlier run may have
    /// settled the one without the other, and what is settled twice would hold up the checkpoint.
    fn take(&mut self, entry: &Entry<'_>, now: Instant) -> Taken {
        let span = entry.span;
        if span.from >= self.exporter.resumed_to() {
            return self.take_own(entry, now);
        }
        let mut parts = self.exporter.unsettled(span);
        if parts.first().is_some_and(|first| first.from == span.from) {
            let &Entry { received_ns, event, .. } = entry;
            let own = Entry { span: parts.remove(0), received_ns, event };
            if let Taken::Full = self.take_own(&own, now) {
                return Taken::Full;
            }
        }
        let filler = |span| Settled { span, events: 0, fate: Settle::Filtered };
        self.settled.extend(parts.into_iter().map(filler));
        Taken::Done
    }

    /// Filters, routes and renders one record.
    fn take_own(&mut self, entry: &Entry<'_>, now: Instant) -> Taken {
        let exporter = &self.exporter;
        if entry.span.to <= exporter.floor() {
            self.note(entry.span, Settle::Skipped);
            return Taken::Done;
        }
        let event = match &entry.event {
            Ok(event) => *event,
            Err(class) => {
                self.on_invalid(entry.span, *class);
                return Taken::Done;
            }
        };
        if !exporter.filter.passes(&event) {
            self.note(entry.span, Settle::Filtered);
            return Taken::Done;
        }
        self.take_event(entry, &event, now)
    }

    /// Routes and renders an event that the exporter takes, as far as it may see it.
    pub(super) fn take_event(
        &mut self,
        entry: &Entry<'_>,
        event: &Event<'_>,
        now: Instant,
    ) -> Taken {
        let Some(mut view) = self.view.take() else { return self.take_seen(entry, event, now) };
        let View { privacy, room } = &mut *view;
        let taken = match attempt(|| privacy.narrowed(*event, room)) {
            Some(seen) => self.take_seen(entry, &seen, now),
            None => self.give_up(entry, because(DEFECT), now),
        };
        self.view = Some(view);
        taken
    }

    /// Routes and renders an event as it is.
    fn take_seen(&mut self, entry: &Entry<'_>, event: &Event<'_>, now: Instant) -> Taken {
        let route = self.exporter.route_of(event);
        let how = &self.exporter.routes[route];
        let heads = how.heads.as_ref();
        let hour = how.heads_by_hour.then(|| event.text(FieldId::Timestamp).first_chunk().copied());
        let mut is_aimed = true;
        let render = heads.map(|plan| {
            |out: &mut Vec<u8>| is_aimed = attempt(|| plan.encode(event, out)).is_some()
        });
        self.target.aim(route, hour.flatten(), render);
        if !is_aimed {
            return self.give_up(entry, because(DEFECT), now);
        }
        // What is too old is of no incident, and what there is too much of may be one's first.
        let weighed = self
            .weigh(entry, event, now)
            .or_else(|| self.weigh_age(entry, event, now))
            .or_else(|| self.weigh_alert(entry, event, now))
            .or_else(|| self.weigh_flood(entry, event, now))
            .or_else(|| self.weigh_crowd(entry, now));
        if let Some(taken) = weighed {
            return taken;
        }
        if let Some(taken) = self.converse(entry, event) {
            return taken;
        }
        if !self.make_room(now) {
            return Taken::Full;
        }
        if let Err(reason) = self.fill_template(route, event) {
            return self.give_up(entry, reason, now);
        }
        match self.push(entry, event, None, now) {
            Pushed::Fits => {
                self.close_full();
                Taken::Done
            }
            Pushed::Full => self.push_into_next(entry, event, now),
            Pushed::TooLarge => self.push_shrunk(entry, event, now),
            Pushed::Defect => self.give_up(entry, because(DEFECT), now),
        }
    }

    /// Renders an event through its route's template, for the push that follows.
    pub(super) fn fill_template(&mut self, route: usize, event: &Event<'_>) -> Result<(), Reason> {
        let Templated { document, text } = &mut self.templated;
        let filled = self.exporter.routes[route].fill_template(event, self.clock, document, text);
        filled.map_err(|problem| Reason {
            class: problem.class(),
            detail: problem.to_string(),
            ..Reason::default()
        })
    }

    /// Puts an event that cannot be rendered into the dead letters.
    fn give_up(&mut self, entry: &Entry<'_>, reason: Reason, now: Instant) -> Taken {
        let item = Item { span: entry.span, received_ns: entry.received_ns, start: 0, end: 0 };
        let letter = DeadLetter {
            item,
            reason,
            attempts: 0,
            retryable: false,
            failed_since: None,
            sent: None,
        };
        self.bury(letter, now);
        Taken::Done
    }

    /// Closes the batch that was pushed into longest ago, where too many are open for one more;
    /// whether the event at hand may be pushed.
    fn make_room(&mut self, now: Instant) -> bool {
        if self.opens.has_room(&self.target) {
            return true;
        }
        self.exporter.counters.closed_early.add(1);
        if let Some(slot) = self.opens.least_used() {
            self.close(slot);
        }
        self.exchange(now);
        self.sender.room()
    }

    /// Closes the batch that was pushed into, where no more events may go into it: one that holds a
    /// single event would never be pushed into again.
    fn close_full(&mut self) {
        let Some(slot) = self.opens.find(&self.target) else { return };
        let is_full = self.opens.batch(slot).is_some_and(|batch| batch.is_full());
        if is_full && self.sender.room() {
            self.close(slot);
        }
    }

    /// Closes the full batch and begins the next with this event, if there is room.
    fn push_into_next(&mut self, entry: &Entry<'_>, event: &Event<'_>, now: Instant) -> Taken {
        if let Some(slot) = self.opens.find(&self.target) {
            self.close(slot);
        }
        self.exchange(now);
        if !self.sender.room() {
            return Taken::Full;
        }
        match self.push(entry, event, None, now) {
            Pushed::Fits => Taken::Done,
            Pushed::Full => Taken::Full,
            Pushed::TooLarge => self.push_shrunk(entry, event, now),
            Pushed::Defect => self.give_up(entry, because(DEFECT), now),
        }
    }

    /// Renders an event that is too large without what it can do without; else it is given up.
    fn push_shrunk(&mut self, entry: &Entry<'_>, event: &Event<'_>, now: Instant) -> Taken {
        match self.push(entry, event, Some(Level::Shrink), now) {
            Pushed::Fits => Taken::Done,
            Pushed::Full => Taken::Full,
            Pushed::TooLarge => self.give_up(entry, because(TOO_LARGE), now),
            Pushed::Defect => self.give_up(entry, because(DEFECT), now),
        }
    }

    /// Renders an event into the batch that it is aimed at.
    fn push(
        &mut self,
        entry: &Entry<'_>,
        event: &Event<'_>,
        level: Option<Level>,
        now: Instant,
    ) -> Pushed {
        let (route, sequence) = (self.target.route, self.sequence.map(next_number));
        let (left_out, offset) = (self.alerting.left_out(), entry.span.from);
        let context = Context { left_out, thread: self.talking.thread(offset) };
        let number = sequence.unwrap_or(self.alerting.number());
        // Copying an event costs what rendering a small one does: only where something is known.
        let is_told = number != 0 || context != Context::default();
        let told = is_told.then(|| placed(event, number, &context));
        let event = told.as_ref().unwrap_or(event);
        let how = &self.exporter.routes[route];
        let slot = self.opens.find(&self.target).unwrap_or_else(|| {
            let number = u32::try_from(route).expect("routes are counted in config lines");
            let packing = self.target.packing(&how.packing);
            let allowance = &self.exporter.allowance;
            let mut batch = Batch::new(&packing, number, &self.buffers, allowance);
            if self.exporter.has_receipts || how.send.asks_digest() {
                batch.keep_digest();
            }
            self.opens.insert(&self.target, batch, now)
        });
        let batch = self.opens.batch(slot).expect("it was found or put there just now");
        let severity = event.opened.severity;
        let (plan, is_untimely) = how.plan(level, event, self.clock);
        let (has_template, text) = (how.template.is_some(), &self.templated.text);
        let pushed = batch.push(entry.span, entry.received_ns, severity, |part, body| match part {
            Part::Prefix => how.prefix.iter().for_each(|plan| plan.encode(event, body)),
            Part::Document if has_template => body.extend_from_slice(text),
            Part::Document => plan.encode(event, body),
            Part::Id => body.extend_from_slice(event.text(FieldId::EventId)),
        });
        if pushed == Pushed::Fits {
            self.sequence = sequence;
            self.exporter.check(entry.span.from, event, &self.buffers);
        }
        if is_untimely && pushed == Pushed::Fits {
            self.exporter.counters.untimely.add(1);
        }
        if batch.is_empty() {
            drop(self.opens.take(slot));
        }
        if let (Some(noted), Pushed::Fits) = (&mut self.noted, pushed) {
            noted.note(event, &self.exporter);
        }
        if pushed == Pushed::Fits {
            self.talking.on_pushed(offset);
        }
        pushed
    }

    /// Holds a stripe with something left to read, a new one where need be; false if there is none.
    pub(super) fn claim(&mut self, head: Offset) -> bool {
        let is_read = |reading: &mut Reading| {
            reading.block.is_none() && reading.position >= reading.claim.end
        };
        if let Some(Reading { claim, .. }) = self.reading.take_if(is_read) {
            self.tell(|board| board.finish(claim.stripe));
        }
        if self.reading.is_none() {
            let Some(claim) = self.exporter.board.claim(self.number, head) else { return false };
            let position = claim.position;
            self.close_above(position);
            self.reading = Some(Reading { claim, position, block: None });
        }
        true
    }

    /// Notes that everything below an offset was taken.
    pub(super) fn go_to(&mut self, position: Offset) {
        if let Some(reading) = &mut self.reading {
            reading.position = position;
        }
    }

    /// The block to read next and the position in it; claims a stripe where none is held.
    fn next_block(&mut self) -> Option<(Rc<Block>, usize)> {
        loop {
            let head = self.bench.tide.head();
            if !self.claim(head) {
                return None;
            }
            let reading = self.reading.as_mut().expect("claimed just now at the latest");
            if let Some((block, at)) = &reading.block {
                return Some((Rc::clone(block), *at));
            }
            let (position, until) = (reading.position, head.min(reading.claim.end));
            let found = self.bench.blocks.borrow_mut().at(position, until, &self.exporter);
            match found {
                Ok(At::Block(block)) if block.len() == 0 => {
                    reading.position = block.span().to;
                    self.pass_filler(block.span());
                }
                Ok(At::Block(block)) => {
                    let first = block.entry(0).span.from;
                    reading.block = Some((block, 0));
                    self.pass_filler(Span { from: position, to: first });
                }
                Ok(At::End) => return None,
                Ok(At::Cold(span)) => {
                    self.warm(span);
                    return None;
                }
                Ok(At::Gone(oldest)) => {
                    let to = oldest.min(reading.claim.end);
                    self.lose(Span { from: position, to }, GapReason::Retention)?;
                }
                Ok(At::Damaged(span)) => self.lose(span, GapReason::Damage)?,
                Err(problem) => {
                    self.on_unreadable(&problem, Instant::now());
                    return None;
                }
            }
        }
    }

    /// Closes the batches that hold events from above this offset: a batch keeps the log's order,
    /// and a stripe that another lane gave back may lie below what was read last.
    fn close_above(&mut self, offset: Offset) {
        let is_above =
            |open: &Open| open.batch.items().last().is_some_and(|item| item.span.from > offset);
        while let Some(slot) = self.opens.oldest(is_above) {
            self.close(slot);
        }
    }

    /// Notes how far a block was read.
    fn move_on(&mut self, block: &Rc<Block>, at: usize) {
        let Some(reading) = &mut self.reading else { return };
        if at < block.len() {
            reading.position = block.entry(at).span.from;
            reading.block = Some((Rc::clone(block), at));
        } else {
            let to = block.span().to;
            let from = block.entry(block.len() - 1).span.to;
            reading.position = to;
            reading.block = None;
            self.pass_filler(Span { from, to });
        }
    }

    /// Settles bytes that hold no event, so that the checkpoint can pass them.
    fn pass_filler(&mut self, span: Span) {
        if span.from < span.to {
            for span in self.exporter.unsettled(span) {
                self.settled.push(Settled { span, events: 0, fate: Settle::Filtered });
            }
        }
    }

    /// The log cannot be read at all now, for want of descriptors or memory: tried again later.
    pub(super) fn on_unreadable(&mut self, problem: &LogError, now: Instant) {
        tracing::error!(exporter = self.exporter.name(), %problem, "log not readable");
        self.exporter.note_error(format!("log not readable: {problem}"), now);
        self.rest(UNREADABLE_WAIT);
    }

    /// Settles what cannot be read as skipped, as far as earlier runs have not settled it; nothing
    /// where nobody can count it now.
    fn lose(&mut self, span: Span, reason: GapReason) -> Option<()> {
        let mut lost = Vec::new();
        for part in self.exporter.unsettled(span) {
            match self.bench.reader.count(part) {
                Ok(events) => lost.push(Settled { span: part, events, fate: Settle::Skipped }),
                Err(problem) => {
                    self.on_unreadable(&problem, Instant::now());
                    return None;
                }
            }
        }
        for Settled { span: Span { from, to }, events, .. } in &lost {
            let name = self.exporter.name();
            let why = match reason {
                GapReason::Lag | GapReason::Retention => "removed by retention before it was read",
                GapReason::Damage => "damaged: checksums do not match",
            };
            tracing::error!(exporter = name, %from, %to, events, why, "skipped");
        }
        self.exporter.settle_lost(self.number, &lost, reason);
        self.go_to(span.to);
        Some(())
    }

    /// A record that could not be opened: quarantined once, counted by every exporter.
    pub(super) fn on_invalid(&mut self, span: Span, class: Class) {
        self.bench.shared.on_invalid(span, class);
        self.note(span, Settle::Invalid);
    }

    /// Notes the end of one event; neighbours of the same fate are told together.
    pub(super) fn note(&mut self, span: Span, fate: Settle) {
        self.note_many(Settled { span, events: 1, fate });
    }

    /// The same for a row of events.
    pub(super) fn note_many(&mut self, settled: Settled) {
        let Settled { span, events, fate } = settled;
        match self.settled.last_mut() {
            Some(last) if last.fate == fate && last.span.to == span.from => {
                last.span.to = span.to;
                last.events += events;
            }
            _ => self.settled.push(settled),
        }
    }
}

/// The event with what is known of it beside its record.
pub(super) fn placed<'a>(event: &Event<'a>, number: u32, context: &'a Context<'a>) -> Event<'a> {
    Event { frame: Frame { number, ..event.frame }, context: Some(context), ..*event }
}

/// Why an event is given up, by class and words.
pub(super) fn because((class, detail): (&'static str, &str)) -> Reason {
    Reason { class, detail: detail.to_owned(), ..Reason::default() }
}

/// The number after this one: 1 to 2147483647, then 1 again (RFC 5424, 7.3.1).
fn next_number(last: u32) -> u32 {
    last % NUMBER_MAX + 1
}

/// The largest number of an event.
const NUMBER_MAX: u32 = 2_147_483_647;

/// A lane that is far behind takes every ninth turn at least, however much there is at the head.
const LEFT_MAX: u32 = 8;

/// How long a log that cannot be read is left alone.
pub(super) const UNREADABLE_WAIT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_begin_anew_behind_the_largest() {
        assert_eq!([0, 1, NUMBER_MAX - 1, NUMBER_MAX].map(next_number), [1, 2, NUMBER_MAX, 1]);
    }
}
