//! Small stores: logs that are read as a whole, and whose records can be removed again.
//!
//! Dead letters and refused lines are such. Nothing in a log changes, so a removal is one more
//! record, which names the pieces that are gone.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::event::Offset;

use super::block::{RawRecord, Read};
use super::error::LogError;
use super::reader::Reader;

/// Visits every durable record from the oldest on, on a thread that may wait for the disk: one that
/// is not may come to lie elsewhere, and its removal would name the wrong place.
///
/// # Errors
/// When the store cannot be read at all; what is damaged is passed over.
pub fn sweep(
    reader: &mut Reader,
    mut visit: impl FnMut(&RawRecord, &[u8]) -> ControlFlow<()>,
) -> Result<(), LogError> {
    let mut at = reader.oldest();
    loop {
        let end = reader.durable();
        match reader.read(at, end, BLOCK_BYTES)? {
            Read::Block(block) => {
                for record in block.records() {
                    if visit(record, block.record(record)).is_break() {
                        return Ok(());
                    }
                }
                at = block.span().to;
            }
            // What the disk cannot read is damaged: the next read tells.
            Read::Cold(span) => drop(reader.warm(span)),
            Read::Gone { oldest } => at = oldest,
            Read::Damaged { span, .. } => at = span.to,
            Read::End => return Ok(()),
        }
    }
}

/// Pieces of a store whose records are gone; neighbours are one piece.
#[derive(Clone, Debug, Default)]
pub struct Removed(BTreeMap<u64, u64>);

impl Removed {
    /// Notes that a piece is gone.
    pub fn add(&mut self, (mut from, mut to): (u64, u64)) {
        if let Some((&start, &end)) = self.0.range(..=from).next_back().filter(|it| *it.1 >= from) {
            self.0.remove(&start);
            (from, to) = (start, to.max(end));
        }
        while let Some((&start, &end)) = self.0.range(from..=to).next() {
            self.0.remove(&start);
            to = to.max(end);
        }
        self.0.insert(from, to);
    }

    /// Whether the record at an offset is gone.
    #[must_use]
    pub fn has(&self, at: Offset) -> bool {
        let piece = self.0.range(..=at.bytes()).next_back();
        piece.is_some_and(|(_, &to)| to > at.bytes())
    }

    /// Forgets what retention took.
    pub fn forget_below(&mut self, oldest: Offset) {
        while let Some(piece) = self.0.first_entry().filter(|it| *it.get() <= oldest.bytes()) {
            piece.remove();
        }
    }
}

/// Bytes read at once.
const BLOCK_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_that_touch_are_one() {
        let mut rng = fastrand::Rng::with_seed(11);
        for _ in 0..300 {
            let mut removed = Removed::default();
            let mut plain = [false; 64];
            for _ in 0..12 {
                let (from, length) = (rng.usize(..60), rng.usize(1..5));
                let to = (from + length).min(64);
                plain[from..to].fill(true);
                removed.add((from as u64, to as u64));
            }
            for (at, is_removed) in plain.iter().enumerate() {
                assert_eq!(removed.has(Offset::new(at as u64)), *is_removed, "{removed:?}");
            }
            let pieces = plain.chunk_by(|a, b| a == b).filter(|piece| piece[0]).count();
            assert_eq!(removed.0.len(), pieces);
            removed.forget_below(Offset::new(64));
            assert!(removed.0.is_empty());
        }
    }
}
