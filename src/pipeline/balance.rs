//! The two sides of an exporter's account, seen in one moment (`design.md` 1).
//!
//! An event is on the board, with a lane, in a letter that is not durable yet, or settled. Whatever
//! takes it from one to another does so while it holds the watermark, and whoever adds up holds it
//! as well: between two turns of a lane as within one, no event is in two of them or in none. A
//! claim alone needs no lock, since a stripe that was claimed counts as unread until its lane says
//! how far it read. Lanes do that once a turn and once a stripe, never per event.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::board::Board;
use super::exporter::{Exporter, LaneState};
use crate::deliver::{Outcomes, Settling};
use crate::event::{Counts, GapReason, Offset, Settled, Span, Tally};
use crate::log::Reader;

/// What an exporter has settled and what it has not, of one moment.
#[derive(Clone, Debug)]
pub(crate) struct Balance {
    /// Which pass over the log.
    pub(crate) pass: u32,
    /// Where the pass began.
    pub(crate) start: Offset,
    /// Everything below is settled.
    pub(crate) base: Offset,
    /// Events below are told of one by one.
    pub(crate) alert_below: Offset,
    /// Settled events by fate.
    pub(crate) counts: Counts,
    /// Those that were lost, by reason.
    pub(crate) lost: [u64; GapReason::ALL.len()],
    /// Gaps whose record is still to be delivered.
    pub(crate) gaps: u64,
    /// Where the log ended.
    pub(crate) head: Offset,
    /// Events from the start of the pass to there.
    pub(crate) in_range: u64,
    /// Events that are not settled.
    pub(crate) pending: u64,
}

/// What a lane has between two turns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// What it has not read of the stripe that it claimed; empty at its end, or without one.
    pub(crate) unread: Span,
    /// Events in its batches, and those that wait in it.
    pub(crate) events: u64,
}

/// Events of a lane. Below zero within a turn: what was read in it is still told as unread.
#[derive(Debug, Default)]
pub(crate) struct LaneEvents(AtomicI64);

/// What is still to be counted, of one moment.
struct Uncounted {
    /// What nobody has read.
    unread: Vec<Span>,
    /// Events of lanes and of letters that are not durable.
    taken: i64,
    /// What was counted before retention could take it.
    tally: Tally,
}

impl LaneEvents {
    /// Notes that so many met their end, or are in letters; whoever does holds the watermark.
    pub(crate) fn part_with(&self, events: u64) {
        self.0.fetch_sub(signed(events), Ordering::Relaxed);
    }

    /// Notes that so many were taken on.
    pub(crate) fn take_on(&self, events: u64) {
        self.0.fetch_add(signed(events), Ordering::Relaxed);
    }
}

impl Exporter {
    /// Notes what a lane has settled while it read and what it holds since, and changes the board
    /// in the same moment.
    pub(crate) fn tell(
        &self,
        lane: usize,
        settled: &[Settled],
        load: Load,
        change: impl FnOnce(&Board),
    ) {
        let state = &self.lanes[lane];
        let mut watermark = self.watermark();
        if !settled.is_empty() {
            watermark.settle(settled);
        }
        state.unread_from.store(load.unread.from.bytes(), Ordering::Release);
        state.unread_to.store(load.unread.to.bytes(), Ordering::Release);
        state.events.0.store(signed(load.events), Ordering::Relaxed);
        change(&self.board);
    }

    /// Notes what of a lane's events settled, each with the request that settled it.
    pub(crate) fn settle_all(&self, lane: usize, outcomes: &Outcomes) {
        let Outcomes { settled, requests, .. } = outcomes;
        if settled.is_empty() {
            return;
        }
        let mut watermark = self.watermark();
        let mut at = 0;
        for Settling { sent, pieces } in requests {
            if at < pieces.start {
                watermark.settle(&settled[at..pieces.start]);
            }
            watermark.settle_sent(*sent, &settled[pieces.clone()]);
            at = pieces.end;
        }
        if at < settled.len() {
            watermark.settle(&settled[at..]);
        }
        self.lanes[lane].events.part_with(events(settled));
    }

    /// Notes what of a lane's events is lost for this reason.
    pub(crate) fn settle_lost(&self, lane: usize, lost: &[Settled], reason: GapReason) {
        let mut watermark = self.watermark();
        watermark.settle_for(lost, reason);
        self.lanes[lane].events.part_with(events(lost));
    }

    /// Everything that is settled and everything that is not, of this moment. Both sides are
    /// counted, neither is what the other leaves, so that the account can be wrong.
    pub(crate) fn balance(&self, reader: &Reader) -> Balance {
        let mut looks = 1;
        loop {
            let oldest = reader.oldest();
            let balance = self.look(reader);
            // What retention takes meanwhile is in the tally of the next look.
            if reader.oldest() == oldest || looks == LOOKS_MAX {
                return balance;
            }
            looks += 1;
        }
    }

    fn look(&self, reader: &Reader) -> Balance {
        let (balance, Uncounted { unread, taken, tally }) = self.moment(reader);
        let count = |span| reader.count(span).unwrap_or(0);
        let parts = unread.into_iter().flat_map(|span| self.unsettled(span));
        let pending = parts.map(count).fold(taken, |sum, events| sum + signed(events));
        let untallied = Span { from: balance.start.max(tally.to), to: balance.head };
        let in_range = tally.events + count(untallied);
        Balance { in_range, pending: u64::try_from(pending).unwrap_or(0), ..balance }
    }

    /// What is told at this moment, and what is to be counted where it stays.
    fn moment(&self, reader: &Reader) -> (Balance, Uncounted) {
        let watermark = self.watermark();
        // No lane has told of anything behind this.
        let head = reader.written();
        let balance = Balance {
            pass: watermark.pass(),
            start: watermark.start(),
            base: watermark.base(),
            alert_below: watermark.alert_below(),
            counts: watermark.counts(),
            lost: watermark.lost(),
            gaps: watermark.gaps().len() as u64,
            head,
            in_range: 0,
            pending: 0,
        };
        let of_lanes: i64 =
            self.lanes.iter().map(|lane| lane.events.0.load(Ordering::Relaxed)).sum();
        let in_letters = self.dead_letters.unsettled(balance.pass).len() as u64;
        let claimed: Vec<Span> = self.lanes.iter().map(LaneState::unread).collect();
        let (unread, taken) = match self.has_lost_lane() {
            // It tells no more what it held: all that is not settled is read again.
            true => (watermark.uncovered(head), 0),
            false => (self.board.unread_below(head, &claimed), of_lanes + signed(in_letters)),
        };
        (balance, Uncounted { unread, taken, tally: watermark.tally() })
    }
}

impl LaneState {
    /// What it has not read of the stripe that it claimed, as it told last.
    pub(crate) fn unread(&self) -> Span {
        let load = |at: &AtomicU64| Offset::new(at.load(Ordering::Acquire));
        Span { from: load(&self.unread_from), to: load(&self.unread_to) }
    }
}

/// How many events these are.
fn events(settled: &[Settled]) -> u64 {
    settled.iter().map(|it| it.events).sum()
}

fn signed(events: u64) -> i64 {
    i64::try_from(events).expect("a log holds fewer events than bytes")
}

/// Looks at an exporter while retention goes on, which it does once a second at most.
const LOOKS_MAX: usize = 4;
