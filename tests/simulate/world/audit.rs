//! The auditor: where each event is, and whether what the engine says of it is true.

use shrike::deliver::{BatchId, Outcomes, Sent, Settling};
use shrike::event::{Checkpoint, Counts, Offset, Settle, Settled, Span};

use crate::mutation::Mutation;
use crate::script::S;

use super::{Lane, Place, World};

impl World<'_> {
    pub(super) fn settle(&mut self, settled: &[Settled]) -> Result<(), String> {
        for Settled { span, events, fate } in settled {
            let first = self.event(Span { from: span.from, to: span.from });
            for event in first..first + u32::try_from(*events).expect("few events") {
                match (self.places[event as usize], fate) {
                    (Place::Lane, Settle::Delivered | Settle::Filtered) => {}
                    (Place::Lane, Settle::Skipped) if !self.script.give_ups.is_empty() => {}
                    (Place::Dying, Settle::DeadLettered) => {}
                    (place, _) => {
                        return Err(format!("event {event} settles as {fate:?} from {place:?}"));
                    }
                }
                self.put(event, Place::Settled(*fate));
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

    /// Notes which events a request carried, as receipts tell of it.
    pub(super) fn note_sent(&mut self, lane: usize, id: BatchId) {
        let Some(batch) = self.lanes[lane].sender.batch(id) else { return };
        let events = batch.items().iter().map(|item| self.event(item.span)).collect();
        let sent = Sent { bytes: self.answered.len() as u64, ..Sent::default() };
        self.answered.push(events);
        self.lanes[lane].sender.note_sent(id, sent);
    }

    /// Whatever is delivered is so by a request that carried it.
    pub(super) fn judge_requests(&self, outcomes: &Outcomes) -> Result<(), String> {
        let mut told = 0;
        for Settling { sent, pieces } in &outcomes.requests {
            let carried = &self.answered[usize::try_from(sent.bytes).expect("few requests")];
            for Settled { span, events, .. } in &outcomes.settled[pieces.clone()] {
                told += events;
                let first = self.event(Span { from: span.from, to: span.from });
                let last = first + u32::try_from(*events).expect("few events");
                if let Some(other) = (first..last).find(|event| !carried.contains(event)) {
                    return Err(format!("event {other} has the receipt of another request"));
                }
            }
        }
        let delivered = outcomes.settled.iter().filter(|it| it.fate == Settle::Delivered);
        match delivered.map(|it| it.events).sum::<u64>() {
            delivered if delivered == told => Ok(()),
            delivered => Err(format!("{delivered} events delivered, {told} of them by requests")),
        }
    }

    pub(super) fn judge_letter(&mut self, event: u32, retryable: bool) -> Result<(), String> {
        self.tally.dead += 1;
        if self.script.poison.contains_key(&event) {
            return Ok(());
        }
        self.tally.innocent += 1;
        match retryable && self.script.may_confuse() {
            true => Ok(()),
            false => Err(format!("event {event} is a dead letter and nothing is wrong with it")),
        }
    }

    /// The checkpoint over what has settled and is durable, where it moved.
    pub(super) fn checkpoint(&mut self) -> Result<Option<Checkpoint>, String> {
        let durable = match (self.mutation, self.synced) {
            (Some(Mutation::IgnoreDurable), _) => u64::MAX,
            (_, 0) => 0,
            (_, synced) => self.ends[synced as usize - 1],
        };
        let Some(mut checkpoint) = self.watermark.checkpoint(Offset::new(durable)) else {
            return Ok(None);
        };
        if self.mutation == Some(Mutation::CheckpointTooFar) {
            let next = self.event(Span { from: checkpoint.base, to: checkpoint.base });
            let end = self.ends.get(next as usize).copied();
            checkpoint.base = end.map_or(checkpoint.base, Offset::new);
        }
        self.audit_checkpoint(&checkpoint)?;
        Ok(Some(checkpoint))
    }

    /// A checkpoint covers settled, durable events only, and counts each of them once.
    pub(super) fn audit_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), String> {
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

    /// The equation, the budget and the slots, after every step.
    pub(super) fn audit(&self) -> Result<(), String> {
        let counts = self.watermark.counts();
        let unread = u64::from(self.arrived - self.taken);
        if self.tally.steps.is_multiple_of(BOARD_EVERY) {
            self.audit_board(unread)?;
            self.audit_places()?;
        }
        let dying = u64::from(self.dying);
        let lanes: u64 = self.lanes.iter().map(Lane::pending).sum();
        let pending = unread + dying + lanes;
        if u64::from(self.arrived) != counts.total() + pending {
            return Err(format!(
                "{} arrived, but {counts:?}, {unread} unread, {dying} dying, {lanes} in lanes",
                self.arrived
            ));
        }
        let used = self.allowance.used();
        // Beyond the budget there may be one event that fits into no share, and the copies that are
        // made when a batch is cut in two.
        let most = self.script.budget + 6 * self.script.huge_bytes();
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

    /// What the board and its claims leave to be read is what nobody has read.
    fn audit_board(&self, unread: u64) -> Result<(), String> {
        let head = self.head();
        let claims = self.lanes.iter().filter_map(|lane| lane.claim);
        let claims = claims.map(|claim| Span { from: claim.position, to: claim.end });
        let pieces = self.board.unread_below(head, &claims.collect::<Vec<_>>());
        let left = pieces.into_iter().flat_map(|it| self.starting_in((it.from, it.to)));
        let left = left.filter(|&event| !self.is_resumed(event)).count() as u64;
        match left == unread {
            true => Ok(()),
            false => Err(format!("{unread} events are unread, and the board knows of {left}")),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.done == self.script.events && !self.watermark.has_gaps()
    }

    pub(super) fn put(&mut self, event: u32, place: Place) {
        let before = std::mem::replace(&mut self.places[event as usize], place);
        for (place, by) in [(before, -1), (place, 1)] {
            let count = match place {
                Place::Unread => continue,
                Place::Lane => None,
                Place::Dying => Some(&mut self.dying),
                Place::Settled(_) => Some(&mut self.done),
            };
            if let Some(count) = count {
                *count = count.checked_add_signed(by).expect("never below zero");
            }
            self.taken = self.taken.checked_add_signed(by).expect("never below zero");
        }
    }

    /// Everything has settled: how, and how often.
    pub(super) fn conclude(&mut self) -> Result<(), String> {
        self.synced = self.script.events;
        self.conclude_disk()?;
        self.judge_order()?;
        for (event, place) in (0..).zip(&self.places) {
            let copies = self.destination.copies[event as usize];
            let poison = self.script.poison.get(&event);
            let ends_well = match place {
                Place::Settled(Settle::Delivered) => {
                    let removed = |(_, letter): &(u64, u32)| *letter == event;
                    let has_ended = poison.is_none() || self.script.ends(event);
                    copies > 0 && (has_ended || self.disk.removals.iter().any(removed))
                }
                // Told by a gap record: `conclude_disk` has looked.
                Place::Settled(Settle::Skipped) => true,
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
        self.tally.faults = self.destination.faults;
        self.tally.virtual_s = self.now / S;
        self.lanes.clear();
        match self.allowance.used() {
            0 => Ok(()),
            used => Err(format!("{used} bytes are left at the end")),
        }
    }
}

/// Steps between two looks at the board.
const BOARD_EVERY: u64 = 32;
