//! Following the feed: a lane in order reads only the records that its exporter takes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::block::At;
use super::super::feed::{Mark, Piece};
use super::fill::Taken;
use super::{Lane, Turn};
use crate::event::{Offset, Settle, Settled, Span};

/// What following the feed brought.
pub(super) enum Fed {
    /// Nothing: the lane opens the block itself, or there is none.
    Alone,
    /// Records were taken or left out; about this many bytes were handled.
    Took(usize),
    /// The turn ends: there is no room, bytes are cold, or somebody else opens what comes next.
    Ends,
}

/// How patiently a lane waits for others to open blocks.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// Since when it waits for the next block.
    since: Option<Instant>,
    /// Up to here it opens blocks without waiting.
    alone_until: Offset,
    /// Waits in a row that brought nothing.
    vain: u32,
    /// Time waited while far behind.
    spent: Duration,
}

/// How one mark ended.
enum Marked {
    Done,
    Full,
    /// It cannot be read by itself.
    Unread,
}

impl Lane {
    /// Takes one piece of the feed, or a part of it.
    pub(super) fn follow(&mut self, bytes_max: usize, now: Instant) -> Fed {
        let exporter = Arc::clone(&self.exporter);
        let Some(feed) = &exporter.feed else { return Fed::Alone };
        let head = self.bench.tide.head();
        if !self.claim(head) {
            return Fed::Alone;
        }
        let Some(reading) = self.reading.as_ref().filter(|reading| reading.block.is_none()) else {
            return Fed::Alone;
        };
        let (position, until) = (reading.position, head.min(reading.claim.end));
        let piece = feed.find(position);
        // Where earlier runs settled something, or retention gave up, each record is looked at.
        let is_plain = position >= exporter.floor() && position >= exporter.resumed_to();
        let fed = match piece {
            _ if !is_plain || position >= until => Fed::Alone,
            Some(piece) => {
                self.patience.heard(is_far(position, head), now);
                self.take_piece(&piece, position, bytes_max, now)
            }
            None if self.bench.blocks.borrow().has(position, until) => Fed::Alone,
            None if self.waits(position, head, now) => return Fed::Ends,
            None => Fed::Alone,
        };
        feed.rest();
        fed
    }

    /// When a wait for somebody else to open a block is over.
    pub(super) fn patience_ends(&self) -> Option<Instant> {
        self.patience.since.map(|since| since + self.wait_max())
    }

    /// One block may take others this long to open; whoever is slower is stuck at its destination.
    fn wait_max(&self) -> Duration {
        self.exporter.settings.latency_target / WAITS_PER_TARGET
    }

    fn take_piece(&mut self, piece: &Piece, from: Offset, bytes_max: usize, now: Instant) -> Fed {
        let Some(marks) = &piece.marks else { return Fed::Alone };
        if from == piece.span.from {
            self.bench.blocks.borrow().counters.fed.add(1);
        }
        let (mut position, mut bytes) = (from, PIECE_BYTES);
        for (at, mark) in marks.iter().enumerate().skip(piece.mark_at(from)) {
            if bytes >= bytes_max {
                return Fed::Took(bytes);
            }
            if !self.leave_out(piece, at, Span { from: position, to: mark.span.from }) {
                return Fed::Alone;
            }
            match self.take_mark(mark, now) {
                Marked::Done => {}
                Marked::Full => return Fed::Ends,
                Marked::Unread => return Fed::Alone,
            }
            position = mark.span.to;
            self.go_to(position);
            bytes += usize::try_from(mark.span.bytes()).unwrap_or(usize::MAX);
        }
        if !self.leave_out(piece, marks.len(), Span { from: position, to: piece.span.to }) {
            return Fed::Alone;
        }
        Fed::Took(bytes)
    }

    /// Settles the records before a mark as filtered; false where nobody can count them.
    fn leave_out(&mut self, piece: &Piece, at: usize, span: Span) -> bool {
        let counted = piece.filtered(span.from, at);
        let Some(events) = counted.or_else(|| self.bench.reader.count(span).ok()) else {
            return false;
        };
        if span.from < span.to {
            self.note_many(Settled { span, events, fate: Settle::Filtered });
            self.go_to(span.to);
        }
        true
    }

    /// Reads, routes and renders one record that the exporter takes.
    fn take_mark(&mut self, mark: &Mark, now: Instant) -> Marked {
        if let Some(class) = mark.reject {
            self.on_invalid(mark.span, class);
            return Marked::Done;
        }
        let found = self.bench.blocks.borrow_mut().once(mark.span.from, mark.span.to);
        let block = match found {
            Ok(At::Block(block)) if block.len() == 1 => block,
            Ok(At::Cold(span)) => {
                self.warm(span);
                return Marked::Full;
            }
            // Opening the whole block says what is wrong, and settles it.
            _ => return Marked::Unread,
        };
        let entry = block.entry(0);
        let Ok(event) = &entry.event else { return Marked::Unread };
        if entry.span != mark.span {
            return Marked::Unread;
        }
        match self.take_event(&entry, event, now) {
            Taken::Done => Marked::Done,
            Taken::Full => Marked::Full,
        }
    }

    /// Whether somebody else will open what comes next soon enough.
    fn waits(&mut self, position: Offset, head: Offset, now: Instant) -> bool {
        let wait_max = self.wait_max();
        let patience = &mut self.patience;
        if position < patience.alone_until || !self.bench.feeds.will_be_opened(position) {
            patience.since = None;
            return false;
        }
        let since = *patience.since.get_or_insert(now);
        let is_over = now.saturating_duration_since(since) >= wait_max;
        if !is_over && (patience.spent < wait_max * WAITS_SPENT_MAX || !is_far(position, head)) {
            return true;
        }
        // Those who read there are slow: go on alone, each time further.
        let alone = ALONE_BYTES << patience.vain;
        let vain = (patience.vain + 1).min(VAIN_MAX);
        let alone_until = Offset::new(position.bytes().saturating_add(alone));
        *patience = Patience { alone_until, vain, ..Patience::default() };
        false
    }

    /// How a turn ends that brought nothing because of what is missing.
    pub(super) fn dry(&self) -> Turn {
        if self.warming { Turn::Full } else { Turn::Dry }
    }
}

impl Patience {
    /// Somebody else told of the next block.
    fn heard(&mut self, is_far: bool, now: Instant) {
        let waited = self.since.take().map_or(Duration::ZERO, |since| now - since);
        self.spent = if is_far { self.spent + waited } else { Duration::ZERO };
        self.vain = 0;
    }
}

fn is_far(position: Offset, head: Offset) -> bool {
    head.bytes().saturating_sub(position.bytes()) > FAR_BYTES
}

/// What handling a piece counts for in a turn, beside the records that are taken.
const PIECE_BYTES: usize = 1024;
/// A wait for one block is this part of the latency target: 100 ms of the usual 500 ms.
const WAITS_PER_TARGET: u32 = 5;
/// What a lane opens alone after a wait in vain: a block, then twice as much each time.
const ALONE_BYTES: u64 = 256 << 10;
/// Doublings of that: 32 MiB, read in less time than the wait before it.
const VAIN_MAX: u32 = 7;
/// Further behind than this, time counts.
const FAR_BYTES: u64 = 64 << 20;
/// A lane that is far behind and waits for lanes that are slow as well goes on alone after so many
/// whole waits.
const WAITS_SPENT_MAX: u32 = 10;
