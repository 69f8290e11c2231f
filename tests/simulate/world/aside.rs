//! What goes out beside the log: gap records, and letters that are sent again.

use shrike::deliver::{Fate, OnLag, Verdict};
use shrike::event::{Gap, Offset, Settle};
use shrike::pipeline::{Lag, Lagging};

use super::{Event, Lane, Place, World};
use crate::mutation::Mutation;
use crate::script::{MS, S};

impl World<'_> {
    /// Gives up what lags, as the keeper does.
    pub(super) fn give_up(&mut self) -> Result<(), String> {
        let (head, base) = (self.head(), self.watermark.base());
        // Sometimes the disk is full: the oldest stripes have to go, whatever the bound.
        let full_until = match self.rng.u8(..4) {
            0 => base.bytes().next_multiple_of(self.script.stripe) + self.script.stripe,
            _ => 0,
        };
        let full_until = Offset::new(full_until).min(head);
        let lag = Lag { head, base, bytes_max: self.script.lag_bytes_max, full_until };
        let Lagging::GivesUp(floor) = lag.judge(OnLag::Skip) else { return Ok(()) };
        let most = Offset::new(head.bytes().saturating_sub(lag.bytes_max)).max(full_until);
        let floor = match self.mutation {
            Some(Mutation::GiveUpTooMuch) => Offset::new(floor.bytes() + self.script.stripe),
            _ => floor,
        };
        let mut pieces = Vec::new();
        let skipped = self.board.skip(floor, |span| {
            pieces.push((span.from, span.to));
            Ok::<_, String>(())
        });
        skipped?;
        for piece in pieces {
            for event in self.starting_in(piece) {
                if self.is_resumed(event) || self.mutation == Some(Mutation::ForgetSkip) {
                    continue;
                }
                if self.places[event as usize] != Place::Unread {
                    return Err(format!("event {event} is given up and was read"));
                }
                if self.start_of(event) >= most.bytes() {
                    return Err(format!("event {event} is given up without need"));
                }
                self.put(event, Place::Lane);
                self.settle(&[self.one(event, Settle::Skipped)])?;
            }
        }
        self.floor = self.floor.max(floor);
        for lane in 0..self.lanes.len() {
            let Lane { sender, parking, .. } = &mut self.lanes[lane];
            sender.give_up_below(floor, &mut self.outcomes);
            parking.give_up_below(floor, &mut self.outcomes.settled);
            self.act(lane)?;
            self.run_lane(lane)?;
        }
        Ok(())
    }

    /// Sends the record of a gap; one is on its way at a time, and the next one grows.
    pub(super) fn look_after_gaps(&mut self) {
        if self.has_gap_under_way {
            return;
        }
        let Some(gap) = self.watermark.take_gap() else { return };
        self.has_gap_under_way = true;
        self.send_gap(gap, 0);
    }

    fn send_gap(&mut self, gap: Gap, later: u64) {
        let end = self.destination.probe(0, self.now + later);
        let has_arrived = end.result.is_ok_and(|Verdict { fate, .. }| fate == Fate::Delivered);
        self.at(later + end.after, Event::GapSent { gap, has_arrived });
    }

    pub(super) fn on_gap_sent(&mut self, gap: Gap, has_arrived: bool) {
        if has_arrived {
            self.told.push(gap);
        } else if self.mutation != Some(Mutation::ForgetGap) {
            let later = self.rng.u64(S..30 * S);
            return self.send_gap(gap, later);
        }
        self.watermark.close_gap(gap);
        self.has_gap_under_way = false;
    }

    /// Sends letters again, of events whose end is on the disk.
    pub(super) fn replay(&mut self) {
        let durable = shrike::deliver::Watermark::open(&self.disk.durable());
        for event in 0..self.script.events {
            let start = Offset::new(self.start_of(event));
            let is_letter = self.places[event as usize] == Place::Settled(Settle::DeadLettered);
            let is_covered = durable.next_unsettled(start) > start;
            if !is_letter || !is_covered || !self.replaying.insert(event) {
                continue;
            }
            let end = self.destination.probe(0, self.now);
            let is_taken = end.result.is_ok_and(|Verdict { fate, .. }| fate == Fate::Delivered);
            if is_taken && self.rng.bool() {
                self.destination.apply(&[event]);
                self.at(end.after, Event::Replayed { letter: event });
            } else {
                self.replaying.remove(&event);
            }
        }
    }

    /// The destination has it: the letter is removed, and that is durable a little later.
    pub(super) fn on_replayed(&mut self, letter: u32) {
        // Removals are records of one log: they become durable in their order.
        self.removed_at = self.removed_at.max(self.now) + self.rng.u64(..20 * MS);
        self.at(self.removed_at - self.now, Event::Removed { letter });
    }

    pub(super) fn on_removed(&mut self, letter: u32) {
        let last = self.disk.removals.last().map_or(0, |(number, _)| *number);
        let number = last.max(self.disk.saved().removals) + 1;
        self.disk.removals.push((number, letter));
        self.tally.replayed += 1;
        self.watermark.move_letters(Settle::Delivered, 1, number);
        self.put(letter, Place::Settled(Settle::Delivered));
    }
}
