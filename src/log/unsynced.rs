//! What was written and is not durable yet, kept in memory: a disk that fails a sync may have
//! dropped it from the page cache, and what senders wait for must not be told durable then.

use std::collections::VecDeque;

use crate::event::Offset;

use super::frame::Window;

/// The groups that were written since the last sync, in order.
#[derive(Debug, Default)]
pub(crate) struct Unsynced {
    pieces: VecDeque<Piece>,
    /// Buffers of pieces that became durable.
    spare: Vec<Vec<u8>>,
}

/// Whole frames, one after the other.
#[derive(Debug)]
struct Piece {
    base: Offset,
    bytes: Vec<u8>,
}

impl Piece {
    fn end(&self) -> Offset {
        Offset::new(self.base.bytes() + self.bytes.len() as u64)
    }
}

impl Unsynced {
    /// Keeps a group that was written at `base`; returns an empty buffer for the next one.
    pub(crate) fn keep(&mut self, base: Offset, mut group: Vec<u8>) -> Vec<u8> {
        // Of small groups there may be hundreds between two syncs: a buffer each would be much.
        let last = self.pieces.back_mut().filter(|last| {
            last.end() == base && last.bytes.len() + group.len() <= JOINED_BYTES_MAX
        });
        if let Some(last) = last {
            last.bytes.extend_from_slice(&group);
            group.clear();
            return group;
        }
        if !group.is_empty() {
            self.pieces.push_back(Piece { base, bytes: group });
        }
        self.spare.pop().unwrap_or_default()
    }

    /// Lets go what is durable.
    pub(crate) fn forget_below(&mut self, durable: Offset) {
        let left = self.pieces.partition_point(|piece| piece.end() <= durable);
        for Piece { mut bytes, .. } in self.pieces.drain(..left) {
            if self.spare.len() < SPARE_MAX {
                bytes.clear();
                bytes.shrink_to(SPARE_BYTES_MAX);
                self.spare.push(bytes);
            }
        }
    }

    /// The frames from `from` on, where one of them starts.
    pub(crate) fn from(&self, from: Offset) -> impl Iterator<Item = Window<'_>> {
        self.pieces.iter().filter(move |piece| piece.end() > from).map(move |piece| {
            let base = from.max(piece.base);
            let start = usize::try_from(base.bytes() - piece.base.bytes()).expect("it has ended");
            Window { base, bytes: &piece.bytes[start..] }
        })
    }
}

/// Groups are joined up to this: as much as the largest have, so that these are not copied.
const JOINED_BYTES_MAX: usize = 256 << 10;

/// Buffers to be used again: at the highest rates some 4 MiB are between two syncs.
const SPARE_MAX: usize = 8;

/// Buffers grow for a long record and are given back afterwards.
const SPARE_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64) -> Offset {
        Offset::new(offset)
    }

    fn frames(unsynced: &Unsynced, from: u64) -> Vec<(u64, Vec<u8>)> {
        unsynced.from(at(from)).map(|it| (it.base.bytes(), it.bytes.to_vec())).collect()
    }

    #[test]
    fn what_is_not_durable_is_there_and_nothing_else() {
        let mut unsynced = Unsynced::default();
        unsynced.keep(at(64), b"one".to_vec());
        unsynced.keep(at(67), b"two".to_vec());
        // Behind a gap.
        unsynced.keep(at(100), b"three".to_vec());
        let three = (100, b"three".to_vec());
        assert_eq!(frames(&unsynced, 64), [(64, b"onetwo".to_vec()), three.clone()]);
        unsynced.forget_below(at(67));
        assert_eq!(frames(&unsynced, 67), [(67, b"two".to_vec()), three.clone()]);
        unsynced.forget_below(at(70));
        assert_eq!(frames(&unsynced, 70), [three]);
        unsynced.forget_below(at(105));
        assert_eq!(frames(&unsynced, 105), []);
    }

    #[test]
    fn large_groups_are_not_copied_and_small_ones_share_a_buffer() {
        let mut unsynced = Unsynced::default();
        let mut buffer = Vec::new();
        let mut base = 0;
        for _ in 0..1000 {
            buffer.extend_from_slice(&[7; 100]);
            buffer = unsynced.keep(at(base), buffer);
            assert!(buffer.is_empty());
            base += 100;
        }
        assert_eq!(unsynced.pieces.len(), 1);
        let large = vec![7; JOINED_BYTES_MAX];
        let address = large.as_ptr();
        unsynced.keep(at(base), large);
        assert_eq!(unsynced.pieces.back().expect("kept").bytes.as_ptr(), address);
        unsynced.forget_below(at(u64::MAX));
        assert!(unsynced.pieces.is_empty() && unsynced.spare.len() == 2);
    }
}
