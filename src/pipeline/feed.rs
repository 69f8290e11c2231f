//! What workers tell an exporter that needs order about blocks that they opened.
//!
//! Such an exporter has one lane on one worker, but its events lie in blocks that lanes of other
//! exporters open on every worker. Whoever opens a block evaluates its filter right there and posts
//! which records it takes; the lane then reads only those. It follows the log strictly by offset,
//! and opens blocks itself wherever nobody tells it about them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::block::Block;
use super::exporter::Exporter;
use crate::deliver::Order;
use crate::event::{Class, Offset, Span};
use crate::transform::Filter;

/// What was posted to one exporter; touched once per block.
#[derive(Debug)]
pub(crate) struct Feed {
    pieces: Mutex<BTreeMap<Offset, Arc<Piece>>>,
    /// Where its lane reads: what ends below is of no use any more.
    position: AtomicU64,
    /// The offset that its lane waits for; the highest possible when it does not.
    awaited: AtomicU64,
}

/// A block, as an exporter's filter sees it.
#[derive(Debug)]
pub(crate) struct Piece {
    /// What the block covers.
    pub(crate) span: Span,
    /// The records that the exporter takes, or that could not be opened; `None` where so many are
    /// taken that opening the block again is cheaper than reading them one by one.
    pub(crate) marks: Option<Vec<Mark>>,
    /// Filtered records after the last mark.
    pub(crate) rest: u64,
}

/// One record that an exporter does not simply leave out.
#[derive(Debug)]
pub(crate) struct Mark {
    /// From the record to the one after it.
    pub(crate) span: Span,
    /// Filtered records between the mark before, or the start of the block, and this one.
    pub(crate) filtered: u64,
    /// Why it could not be opened, if so.
    pub(crate) reject: Option<Class>,
}

/// The exporters that run, for whoever opens a block.
#[derive(Debug, Default)]
pub(crate) struct Feeds(RwLock<Vec<Arc<Exporter>>>);

impl Feeds {
    /// Tells about these exporters from now on.
    pub(crate) fn set(&self, exporters: Vec<Arc<Exporter>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = exporters;
    }

    /// Tells exporters that need order about a block which was opened for another one.
    pub(crate) fn post(&self, block: &Block, opener: &Exporter) {
        let exporters = self.0.read().unwrap_or_else(PoisonError::into_inner);
        for exporter in exporters.iter() {
            let Some(feed) = &exporter.feed else { continue };
            if std::ptr::eq(Arc::as_ptr(exporter), opener) || !feed.wants(block.span()) {
                continue;
            }
            let is_awaited = feed.add(Piece::new(block, &exporter.filter));
            if is_awaited {
                exporter.wake(1);
            }
        }
    }

    /// Whether a lane of an exporter without order is about to read what lies at an offset.
    pub(crate) fn will_be_opened(&self, at: Offset) -> bool {
        let exporters = self.0.read().unwrap_or_else(PoisonError::into_inner);
        exporters.iter().any(|exporter| {
            exporter.settings.order() == Order::Any && exporter.is_about_to_read(at)
        })
    }
}

impl Feed {
    /// Nothing posted yet, for a lane that begins at `start`.
    pub(crate) fn new(start: Offset) -> Self {
        Self {
            pieces: Mutex::default(),
            position: AtomicU64::new(start.bytes()),
            awaited: AtomicU64::new(NEVER),
        }
    }

    /// The piece that holds this offset; what lies below is forgotten.
    pub(crate) fn find(&self, position: Offset) -> Option<Arc<Piece>> {
        self.position.store(position.bytes(), Ordering::Relaxed);
        // Set before looking: a piece that is added later finds it, since both hold the lock.
        self.awaited.store(position.bytes(), Ordering::Relaxed);
        let mut pieces = self.pieces();
        while pieces.first_key_value().is_some_and(|(_, piece)| piece.span.to <= position) {
            pieces.pop_first();
        }
        let (_, piece) = pieces.range(..=position).next_back()?;
        (piece.span.to > position).then(|| Arc::clone(piece))
    }

    /// Its lane waits no more.
    pub(crate) fn rest(&self) {
        self.awaited.store(NEVER, Ordering::Relaxed);
    }

    /// Its lane has ended: nothing is of use any more.
    pub(crate) fn close(&self) {
        self.position.store(NEVER, Ordering::Relaxed);
        self.pieces().clear();
    }

    /// Whether a block is worth telling about: neither read already nor far away.
    fn wants(&self, span: Span) -> bool {
        let position = self.position.load(Ordering::Relaxed);
        span.to.bytes() > position && span.from.bytes() < position.saturating_add(AHEAD_BYTES)
    }

    /// Adds a piece; says whether the lane waits for it.
    fn add(&self, piece: Piece) -> bool {
        let span = piece.span;
        let mut pieces = self.pieces();
        let is_known = pieces.get(&span.from).is_some_and(|known| known.span.to >= span.to);
        if !is_known {
            pieces.insert(span.from, Arc::new(piece));
        }
        if pieces.len() > PIECES_MAX {
            pieces.pop_last();
        }
        let awaited = Offset::new(self.awaited.load(Ordering::Relaxed));
        span.from <= awaited && awaited < span.to
    }

    fn pieces(&self) -> MutexGuard<'_, BTreeMap<Offset, Arc<Piece>>> {
        // Changed by single calls, so that a panic elsewhere leaves it whole.
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Piece {
    fn new(block: &Block, filter: &Filter) -> Self {
        let marks_max = block.len() * MATCHES_MAX_PERCENT / 100;
        let mut marks = Vec::new();
        let mut filtered = 0;
        for at in 0..block.len() {
            let entry = block.entry(at);
            let reject = match &entry.event {
                Ok(event) if !filter.passes(event) => {
                    filtered += 1;
                    continue;
                }
                Ok(_) => None,
                Err(class) => Some(*class),
            };
            if marks.len() == marks_max {
                return Self { span: block.span(), marks: None, rest: 0 };
            }
            marks.push(Mark { span: entry.span, filtered, reject });
            filtered = 0;
        }
        Self { span: block.span(), marks: Some(marks), rest: filtered }
    }

    /// The first mark at or after an offset, by position.
    pub(crate) fn mark_at(&self, position: Offset) -> usize {
        let marks = self.marks.as_deref().unwrap_or_default();
        marks.partition_point(|mark| mark.span.from < position)
    }

    /// Filtered records from an offset to a mark, or to the end past the last one; `None` where
    /// the offset is neither the start of the block nor next to a mark, so that nobody counted.
    pub(crate) fn filtered(&self, position: Offset, at: usize) -> Option<u64> {
        let marks = self.marks.as_deref().unwrap_or_default();
        let before = match at.checked_sub(1) {
            Some(before) => marks[before].span.to,
            None => self.span.from,
        };
        let (to, counted) = match marks.get(at) {
            Some(mark) => (mark.span.from, mark.filtered),
            None => (self.span.to, self.rest),
        };
        match position {
            // Asked first: next to both there is nothing in between, and nothing was counted.
            position if position == before => Some(counted),
            position if position == to => Some(0),
            _ => None,
        }
    }
}

/// How far ahead of a lane blocks are worth remembering: lanes of others may be 8 MiB apart, and
/// are a few stripes ahead of each other when they share the work.
const AHEAD_BYTES: u64 = 32 << 20;
/// Pieces kept for one lane; at the head of a quiet log they may be as small as one record.
const PIECES_MAX: usize = 1024;
/// Above this share of matching records the lane opens the block itself: a record read alone costs
/// about five times its part of a block.
const MATCHES_MAX_PERCENT: usize = 20;
const NEVER: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: u64, to: u64) -> Span {
        Span { from: Offset::new(from), to: Offset::new(to) }
    }

    fn piece(from: u64, to: u64) -> Piece {
        Piece { span: span(from, to), marks: Some(Vec::new()), rest: 1 }
    }

    #[test]
    fn a_piece_is_found_by_any_offset_in_it() {
        let feed = Feed::new(Offset::ZERO);
        for (from, to) in [(0, 100), (100, 150), (100, 200), (100, 120), (300, 400)] {
            feed.add(piece(from, to));
        }
        let found = |at| feed.find(Offset::new(at)).map(|piece| piece.span);
        assert_eq!(found(0), Some(span(0, 100)));
        assert_eq!(found(99), Some(span(0, 100)));
        assert_eq!(found(100), Some(span(100, 200)), "the longer of two");
        assert_eq!(found(250), None);
        assert_eq!(found(300), Some(span(300, 400)));
        assert_eq!(found(100), None, "what lies below is forgotten");
    }

    #[test]
    fn the_lane_is_woken_for_what_it_waits_for() {
        let feed = Feed::new(Offset::ZERO);
        assert!(feed.find(Offset::new(50)).is_none());
        assert!(!feed.add(piece(60, 70)));
        assert!(feed.add(piece(40, 60)));
        feed.rest();
        assert!(!feed.add(piece(50, 80)));
    }

    #[test]
    fn a_feed_is_bounded() {
        let feed = Feed::new(Offset::new(1000));
        assert!(!feed.wants(span(900, 1000)), "read already");
        assert!(feed.wants(span(900, 1001)));
        assert!(!feed.wants(span(1000 + AHEAD_BYTES, 2000 + AHEAD_BYTES)), "too far away");
        for at in 0..2000 {
            feed.add(piece(1000 + at, 1001 + at));
        }
        assert_eq!(feed.pieces().len(), PIECES_MAX);
        assert!(feed.find(Offset::new(1000)).is_some(), "the nearest are kept");
        feed.close();
        assert!(!feed.wants(span(0, u64::MAX)));
    }

    #[test]
    fn filtered_records_are_counted_between_marks() {
        let mark = |from, to, filtered| Mark { span: span(from, to), filtered, reject: None };
        let marks = Some(vec![mark(20, 30, 2), mark(30, 40, 0), mark(70, 80, 3)]);
        let piece = Piece { span: span(0, 100), marks, rest: 4 };
        let cases = [
            (0, 0, Some(2)),
            (20, 0, Some(0)),
            (30, 1, Some(0)),
            (40, 2, Some(3)),
            (70, 2, Some(0)),
            (80, 3, Some(4)),
            (100, 3, Some(0)),
            (10, 0, None),
            (60, 2, None),
        ];
        for (position, at, filtered) in cases {
            let position = Offset::new(position);
            assert_eq!(piece.mark_at(position), at, "{position}");
            assert_eq!(piece.filtered(position, at), filtered, "{position}");
        }
    }
}
