//! What was written and is not durable yet, kept in memory: a disk that fails a sync may have
//! dropped it from the page cache, and what senders wait for must not be told durable then.

use std::collections::VecDeque;

use crate::event::Offset;

use super::frame::Window;

/// The groups that were written since the last sync, in order.
#[derive(Debug, Default)]
pub(crate) struct Unsynced {
    pieces: VecDeque<Piece>,
    /// Buffers of pieces that became durable. Had anew and given back thousands of times a second
    /// they would take hundreds of megabytes, as long as the allocator keeps what it got back.
    spare: Vec<Vec<u8>>,
    /// How many of them nobody has needed in this many syncs.
    unused: usize,
    syncs: u32,
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
    /// Keeps a group that was written at `base`, and empties it for the next one.
    ///
    /// Copied, since a group's buffer has room for the largest, and goes to and fro between the
    /// threads that fill and write it: kept as they are, they took many times what they held.
    pub(crate) fn keep(&mut self, base: Offset, group: &mut Vec<u8>) {
        let last = self
            .pieces
            .back_mut()
            .filter(|last| last.end() == base && last.bytes.len() + group.len() <= PIECE_BYTES);
        match last {
            Some(last) => last.bytes.extend_from_slice(group),
            None if group.is_empty() => {}
            None => {
                let mut bytes = self.spare.pop().unwrap_or_default();
                bytes.reserve_exact(group.len().max(PIECE_BYTES));
                bytes.extend_from_slice(group);
                self.pieces.push_back(Piece { base, bytes });
            }
        }
        group.clear();
    }

    /// Lets go what is durable.
    pub(crate) fn forget_below(&mut self, durable: Offset) {
        let left = self.pieces.partition_point(|piece| piece.end() <= durable);
        self.unused = self.unused.min(self.spare.len());
        for Piece { mut bytes, .. } in self.pieces.drain(..left) {
            if bytes.capacity() == PIECE_BYTES {
                bytes.clear();
                self.spare.push(bytes);
            }
        }
        self.syncs += 1;
        if self.syncs == UNUSED_SYNCS {
            // As many as one burst needed are not needed for ever.
            self.spare.truncate(self.spare.len() - self.unused);
            (self.unused, self.syncs) = (self.spare.len(), 0);
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

/// What a piece has room for, unless one group is longer: a full group and a usual record.
const PIECE_BYTES: usize = 640 << 10;

/// Buffers that nobody needed in so many syncs are given back.
const UNUSED_SYNCS: u32 = 1024;

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
        unsynced.keep(at(64), &mut b"one".to_vec());
        unsynced.keep(at(67), &mut b"two".to_vec());
        // Behind a gap.
        unsynced.keep(at(100), &mut b"three".to_vec());
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
    fn what_is_kept_takes_little_more_than_it_holds() {
        let mut unsynced = Unsynced::default();
        let mut base = 0;
        let mut group = Vec::with_capacity(1 << 20);
        let mut write = |unsynced: &mut Unsynced, groups: usize, bytes: usize| {
            for _ in 0..groups {
                group.resize(bytes, 7);
                unsynced.keep(at(base), &mut group);
                assert!(group.is_empty() && group.capacity() == 1 << 20);
                base += bytes as u64;
            }
            base
        };
        let room = |unsynced: &Unsynced| -> usize {
            let pieces = unsynced.pieces.iter().map(|piece| &piece.bytes);
            pieces.chain(&unsynced.spare).map(Vec::capacity).sum()
        };
        let mut end = write(&mut unsynced, 10_000, 100);
        assert_eq!(room(&unsynced), 2 * PIECE_BYTES);
        end = end.max(write(&mut unsynced, 100, 200_000));
        assert!(room(&unsynced) < 30 << 20, "{} for 21 MB", room(&unsynced));
        unsynced.forget_below(at(end));
        assert!(unsynced.spare.len() > 30 && room(&unsynced) < 30 << 20);
        for _ in 0..2 * UNUSED_SYNCS {
            end = write(&mut unsynced, 3, 200_000);
            unsynced.forget_below(at(end));
        }
        assert!(unsynced.spare.len() <= 3, "{} are kept", unsynced.spare.len());
        write(&mut unsynced, 1, 900_000);
        unsynced.forget_below(at(u64::MAX));
        assert!(room(&unsynced) <= 3 * PIECE_BYTES, "one that was longer goes");
    }
}
