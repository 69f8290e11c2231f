//! Rendering events again: smaller, marked as a resend, or after their body was let go.

use std::sync::Arc;
use std::time::Instant;

use super::super::alerts::Name;
use super::super::block::At;
use super::super::exporter::{DEFECT, TOO_LARGE};
use super::fill::{because, placed};
use super::{Lane, Templated};
use crate::deliver::{Batch, DeadLetter, Fold, Item, Level, Part, Pushed, Reason, Reshape};
use crate::event::{
    Context, Event, FieldId, GapReason, Narrowed, Offset, Settle, Settled, Span, attempt,
};
use crate::log::LogError;

/// What reading one event again found.
enum Found {
    /// It went into the batch.
    In,
    /// The batch is full: it goes into the next.
    Full,
    /// It waits for another one of this conversation.
    Waits(Name),
    /// It cannot be rendered: it is given up.
    Lost(Reason),
    /// It is told of in a digest.
    Gathered,
    /// Its bytes have to be fetched first, or cannot be read now.
    Cold,
}

impl Lane {
    /// Renders what the sender asked for, oldest first; stops where bytes have to be fetched.
    pub(super) fn render_again(&mut self, now: Instant) {
        while !self.warming {
            let Some(reshape) = self.again.pop_front() else { return };
            if let Some(rest) = self.render_one(reshape, now) {
                self.again.push_front(rest);
            }
            self.act(now);
        }
    }

    /// Renders as many of the events as fit one batch; returns the rest.
    fn render_one(&mut self, mut reshape: Reshape, now: Instant) -> Option<Reshape> {
        if let Some(fold) = reshape.fold.take() {
            self.render_digest(reshape, fold);
            return None;
        }
        let allowance = &self.exporter.allowance;
        let mut batch = Batch::again(&reshape.packing, &reshape, &self.buffers, allowance);
        let mut done = 0;
        for item in &reshape.items {
            match self.render_item(*item, &reshape, &mut batch, now) {
                Found::In => {}
                Found::Waits(name) => self.wait_again(name, *item, &reshape),
                Found::Gathered => self.sender.take_back(1),
                Found::Lost(reason) => {
                    self.sender.give_up(*item, &reshape, reason, &mut self.outcomes);
                }
                Found::Full | Found::Cold => break,
            }
            done += 1;
        }
        if !batch.is_empty() {
            batch.date(self.body_time());
            batch.close();
            self.sender.enqueue(batch);
        }
        reshape.items.drain(..done);
        (!reshape.items.is_empty()).then_some(reshape)
    }

    /// Renders many events as the one that stands for them. That one is of no incident and of no
    /// conversation.
    fn render_digest(&mut self, mut reshape: Reshape, fold: Arc<Fold>) {
        let allowance = &self.exporter.allowance;
        let mut batch = Batch::again(&reshape.packing, &reshape, &self.buffers, allowance);
        let Item { span, received_ns, .. } = reshape.items[0];
        let pushed = self.with_record(&fold.record, |lane, event| {
            let route = &lane.exporter.routes[reshape.route as usize];
            let (plan, severity) = (route.plan(reshape.level, event, 0).0, event.opened.severity);
            batch.push(span, received_ns, severity, |part, body| match part {
                Part::Prefix => route.prefix.iter().for_each(|plan| plan.encode(event, body)),
                Part::Document => plan.encode(event, body),
                Part::Id => body.extend_from_slice(event.text(FieldId::EventId)),
            })
        });
        let lost = match pushed {
            Some(Pushed::Fits) => {
                batch.date(self.body_time());
                batch.close();
                batch.fold(fold, reshape.items);
                self.sender.enqueue(batch);
                return;
            }
            Some(Pushed::Defect) => because(DEFECT),
            // It was made to be small and to be opened.
            _ => because(TOO_LARGE),
        };
        for item in std::mem::take(&mut reshape.items) {
            self.sender.give_up(item, &reshape, lost.clone(), &mut self.outcomes);
        }
    }

    fn render_item(
        &mut self,
        item: Item,
        reshape: &Reshape,
        batch: &mut Batch,
        now: Instant,
    ) -> Found {
        if self.is_aside() {
            let number = item.span.from.bytes();
            let rendered = self.with_ticket(number, |lane, entry, event| {
                let again = Item { span: entry.span, received_ns: entry.received_ns, ..item };
                match lane.gather_again(again, event, reshape, now) {
                    true => Found::Gathered,
                    false => lane.push_again(again, event, reshape, batch),
                }
            });
            return match rendered {
                Ok(found) => found,
                Err(true) => Found::Cold,
                Err(false) => Found::Lost(lost("no longer readable")),
            };
        }
        let block = match self.once(item.span) {
            Ok(At::Block(block)) => block,
            Ok(At::Cold(span)) => {
                self.warm(span);
                return Found::Cold;
            }
            Ok(At::Gone(_) | At::End) => return Found::Lost(lost("removed by retention")),
            Ok(At::Damaged(_)) => return Found::Lost(lost("damaged in the log")),
            Err(problem) => {
                self.on_unreadable(&problem, now);
                return Found::Cold;
            }
        };
        let entry = block.entry(0);
        let Ok(event) = &entry.event else { return Found::Lost(lost("no longer readable")) };
        let mut room = Narrowed::default();
        let exporter = Arc::clone(&self.exporter);
        let Some(event) = attempt(|| exporter.sees(*event, &mut room)) else {
            return Found::Lost(because(DEFECT));
        };
        match self.gather_again(item, &event, reshape, now) {
            true => Found::Gathered,
            false => self.push_again(item, &event, reshape, batch),
        }
    }

    /// Renders an event as it is asked for, unless it was too large and gets no smaller.
    fn push_again(
        &mut self,
        item: Item,
        event: &Event<'_>,
        reshape: &Reshape,
        batch: &mut Batch,
    ) -> Found {
        self.place_again(item.span, event, reshape.route as usize);
        if let Some(name) = self.say(item.span.from, event, reshape.route as usize, true) {
            return Found::Waits(name);
        }
        // As when it was read first: what goes out only smaller goes out so each time.
        let found = self
            .push_at(reshape.level, item, event, reshape, batch)
            .or_else(|| self.push_at(Some(Level::Shrink), item, event, reshape, batch));
        found.unwrap_or_else(|| Found::Lost(because(TOO_LARGE)))
    }

    /// The same at one level; nothing where no batch holds it as it was rendered.
    fn push_at(
        &mut self,
        level: Option<Level>,
        item: Item,
        event: &Event<'_>,
        reshape: &Reshape,
        batch: &mut Batch,
    ) -> Option<Found> {
        let left_out = self.alerting.left_out();
        let context = Context { left_out, thread: self.talking.thread(item.span.from) };
        let event = &placed(event, self.alerting.number(), &context);
        let route = &self.exporter.routes[reshape.route as usize];
        let severity = event.opened.severity;
        let (plan, _) = route.plan(level, event, self.clock);
        let Templated { document, text } = &mut self.templated;
        if let Err(problem) = route.fill_template(event, self.clock, document, text) {
            let (class, detail) = (problem.class(), problem.to_string());
            return Some(Found::Lost(Reason { class, detail, ..Reason::default() }));
        }
        if let Some(reason) = &reshape.history.shrink {
            document.clear();
            let rendered = attempt(|| {
                route.prefix.iter().for_each(|plan| plan.encode(event, document));
                match route.template.is_some() {
                    true => document.extend_from_slice(text),
                    false => plan.encode(event, document),
                }
            });
            if rendered.is_none() {
                return Some(Found::Lost(because(DEFECT)));
            }
            if document.len() >= item.bytes() {
                return Some(Found::Lost(reason.clone()));
            }
        }
        let (span, received_ns) = (item.span, item.received_ns);
        let pushed = batch.push(span, received_ns, severity, |part, body| match part {
            Part::Prefix => route.prefix.iter().for_each(|plan| plan.encode(event, body)),
            Part::Document if route.template.is_some() => body.extend_from_slice(text),
            Part::Document => plan.encode(event, body),
            Part::Id => body.extend_from_slice(event.text(FieldId::EventId)),
        });
        match pushed {
            Pushed::Fits => {
                self.talking.on_pushed(span.from);
                Some(Found::In)
            }
            Pushed::Full => Some(Found::Full),
            Pushed::TooLarge => None,
            Pushed::Defect => Some(Found::Lost(because(DEFECT))),
        }
    }

    /// Gives an event up: it goes into the dead-letter store once its bytes are at hand, and
    /// settles once it is durable there.
    pub(super) fn bury(&mut self, letter: DeadLetter, now: Instant) {
        if self.is_aside() {
            return self.bury_aside(&letter, now);
        }
        self.burying.push_back(letter);
        self.bury_waiting(now);
    }

    /// Writes the letters of events that were given up, oldest first; stops where bytes have to be
    /// fetched.
    pub(super) fn bury_waiting(&mut self, now: Instant) {
        while !self.warming {
            let Some(letter) = self.burying.pop_front() else { return };
            if let Some(letter) = self.bury_one(letter, now) {
                self.burying.push_front(letter);
            }
        }
    }

    /// Writes one letter; gives it back where the bytes of its event cannot be had now. Once it is
    /// written the log lets go of them.
    fn bury_one(&mut self, letter: DeadLetter, now: Instant) -> Option<DeadLetter> {
        let span = letter.item.span;
        let is_lost = letter.reason.class == LOST;
        let found = self.once(span);
        let event: Option<Event<'_>> = match &found {
            Ok(At::Block(block)) => block.entry(0).event.ok(),
            Ok(At::Cold(span)) if !is_lost => {
                self.warm(*span);
                return Some(letter);
            }
            Err(problem) if !is_lost => {
                self.on_unreadable(problem, now);
                return Some(letter);
            }
            _ => None,
        };
        let mut room = Narrowed::default();
        // What may not be seen whole and cannot be narrowed is not kept either.
        let event = event.and_then(|event| attempt(|| self.exporter.sees(event, &mut room)));
        self.on_alert_refused(event.as_ref(), span);
        let is_gone = matches!(found, Ok(At::Gone(_) | At::End));
        if is_gone || is_lost {
            // There is nothing to keep.
            let reason = match found {
                Ok(At::Damaged(_)) => GapReason::Damage,
                _ => GapReason::Retention,
            };
            let skipped = Settled { span, events: 1, fate: Settle::Skipped };
            self.exporter.settle_lost(self.number, &[skipped], reason);
            return None;
        }
        let document = event.and_then(|event| {
            let mut document = Vec::new();
            attempt(|| self.exporter.native.encode(&event, &mut document)).map(|()| document)
        });
        self.exporter.bury(self.number, &letter, document);
        None
    }

    /// Gives up what retention needs the place of.
    pub(super) fn give_up_unburied(&mut self, floor: Offset) {
        let settled = &mut self.outcomes.settled;
        self.burying.retain(|letter| {
            let span = letter.item.span;
            let is_below = span.to <= floor;
            if is_below {
                settled.push(Settled { span, events: 1, fate: Settle::Skipped });
            }
            !is_below
        });
    }

    /// The single record that was read before, as it lies in the log now.
    fn once(&self, span: Span) -> Result<At, LogError> {
        match self.bench.blocks.borrow_mut().once(span.from, span.to) {
            // Its segment is no more.
            Ok(At::Block(block)) if block.len() == 0 => Ok(At::End),
            found => found,
        }
    }
}

fn lost(why: &str) -> Reason {
    Reason { class: LOST, detail: why.to_owned(), ..Reason::default() }
}

/// The class of events that the log no longer has.
const LOST: &str = "skipped";
