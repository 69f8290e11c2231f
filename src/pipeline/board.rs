//! Which lane reads which stripe: claims by compare-and-swap, without a lock.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

use crate::event::{Offset, Span};

/// The stripes of the log that an exporter has not finished, and who reads them.
///
/// Stripe `i` prefers lane `i % lanes`, so that the lanes of one worker read the same stripes and
/// share its opened blocks. At low rates one stripe is active and one lane works; under load
/// stripes pile up and every lane finds its own.
///
/// Each stripe of the window has a slot, one word: stripe number, state, and how far it was read.
/// A slot passes from a finished stripe to the one 256 further on, so that an old claim can
/// never be taken for a new one.
#[derive(Debug)]
pub struct Board {
    slots: Box<[AtomicU64]>,
    /// The lowest stripe that is not finished.
    low: AtomicU64,
    /// Lanes that hold a claim or have not asked for one since, or have ended; their stripes may
    /// go to others.
    busy: Box<[AtomicBool]>,
    stripe_bytes: u64,
}

/// A lane's right to read one stripe from `position` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The stripe's number.
    pub stripe: u64,
    /// Where reading goes on.
    pub position: Offset,
    /// The end of the stripe.
    pub end: Offset,
}

/// What a board knows of an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// Nobody reads there: it was read, or lies too far ahead.
    No,
    /// Whoever claims its stripe next reads it.
    Free,
    /// A lane reads its stripe, from where it was claimed to the end.
    Held(Span),
}

impl Board {
    /// A board of `lanes` lanes that begin at `start`.
    ///
    /// # Panics
    /// When there is no lane, or a stripe is larger than a slot can say.
    #[must_use]
    pub fn new(start: Offset, lanes: usize, stripe_bytes: u64) -> Self {
        assert!(lanes > 0, "an exporter has at least one lane");
        assert!(stripe_bytes <= POSITION_MASK, "a position must fit its slot");
        let low = start.bytes() / stripe_bytes;
        let slots = (0..WINDOW).map(|_| AtomicU64::new(0)).collect::<Box<[_]>>();
        for stripe in low..low + WINDOW {
            let position = if stripe == low { start.bytes() % stripe_bytes } else { 0 };
            slots[slot_of(stripe)].store(pack(stripe, FREE, position), Ordering::Relaxed);
        }
        let busy = (0..lanes).map(|_| AtomicBool::new(false)).collect();
        Self { slots, low: AtomicU64::new(low), busy, stripe_bytes }
    }

    /// Claims a stripe for a lane: its own first, then one whose lane is busy.
    ///
    /// Only stripes with something to read below `head` are claimed.
    pub fn claim(&self, lane: usize, head: Offset) -> Option<Claim> {
        let low = self.low.load(Ordering::Acquire);
        let last = (head.bytes().div_ceil(self.stripe_bytes)).min(low + WINDOW);
        let own = |stripe: u64| stripe % self.busy.len() as u64 == lane as u64;
        let claim = (low..last)
            .filter(|&stripe| own(stripe))
            .find_map(|stripe| self.take(stripe, head))
            .or_else(|| {
                (low..last)
                    .filter(|&stripe| !own(stripe) && self.is_busy(stripe))
                    .find_map(|stripe| self.take(stripe, head))
            });
        self.busy[lane].store(claim.is_some(), Ordering::Release);
        claim
    }

    /// The offset that the head has to pass before an unclaimed lane finds something to claim.
    #[must_use]
    pub fn next_claim(&self, head: Offset) -> Offset {
        let stripe = head.bytes() / self.stripe_bytes;
        let (number, state, _) = unpack(self.slot(stripe));
        if number == stripe & STRIPE_MASK && state == FREE {
            return head;
        }
        Offset::new(head.bytes().next_multiple_of(self.stripe_bytes))
    }

    /// Says that a lane asks for nothing more: its stripes go to others.
    pub fn leave(&self, lane: usize) {
        self.busy[lane].store(true, Ordering::Release);
    }

    /// Gives back the unread rest of a stripe; where nothing is left it is finished.
    pub fn release(&self, stripe: u64, position: Offset) {
        let within = position.bytes() - stripe * self.stripe_bytes;
        debug_assert!(within <= self.stripe_bytes, "a lane left its stripe");
        if within == self.stripe_bytes {
            // Whoever claimed it would find nothing to read, and take that for the log's end.
            return self.finish(stripe);
        }
        self.slots[slot_of(stripe)].store(pack(stripe, FREE, within), Ordering::Release);
    }

    /// Says that a stripe was read to its end.
    ///
    /// A record larger than a stripe owns the stripes after its own too. They are claimed like any
    /// other and found empty, so that nobody has to know who reads the record.
    pub fn finish(&self, stripe: u64) {
        self.slots[slot_of(stripe)].store(pack(stripe, DONE, 0), Ordering::Release);
        self.advance();
    }

    /// Takes every stripe below `floor` that nobody reads; `settle` is told of each piece, and what
    /// it returns is kept until the piece is finished.
    ///
    /// Retention calls it for an exporter that lags too far, and counts the pieces as skipped.
    ///
    /// # Errors
    /// Why `settle` could not; that piece and those behind it are still to be read.
    pub fn skip<Guard, E>(
        &self,
        floor: Offset,
        mut settle: impl FnMut(Span) -> Result<Guard, E>,
    ) -> Result<(), E> {
        let floor_stripe = floor.bytes() / self.stripe_bytes;
        loop {
            let low = self.low.load(Ordering::Acquire);
            let mut has_taken = false;
            for stripe in low..floor_stripe.min(low + WINDOW) {
                let Some(claim) = self.take(stripe, Offset::new(u64::MAX)) else { continue };
                let kept = match settle(Span { from: claim.position, to: claim.end }) {
                    Ok(kept) => kept,
                    Err(problem) => {
                        self.release(stripe, claim.position);
                        self.advance();
                        return Err(problem);
                    }
                };
                has_taken = true;
                self.slots[slot_of(stripe)].store(pack(stripe, DONE, 0), Ordering::Release);
                drop(kept);
            }
            self.advance();
            let has_moved = self.low.load(Ordering::Acquire) != low;
            if !has_taken || !has_moved {
                return Ok(());
            }
        }
    }

    /// The lowest stripe that is not finished, as an offset: nothing below it is unread.
    #[must_use]
    pub fn low(&self) -> Offset {
        Offset::new(self.low.load(Ordering::Acquire) * self.stripe_bytes)
    }

    /// The pieces below `head` that no lane has read yet.
    ///
    /// A stripe that was claimed is unread from where its claim began, unless the lane that holds
    /// it has told in `claimed` what it has not read of it. Nothing may be finished or given back
    /// meanwhile; claims do no harm.
    #[must_use]
    pub fn unread_below(&self, head: Offset, claimed: &[Span]) -> Vec<Span> {
        let low = self.low.load(Ordering::Acquire);
        let last = head.bytes().div_ceil(self.stripe_bytes);
        let mut pieces = Vec::new();
        for stripe in low..last.min(low + WINDOW) {
            let (number, state, position) = unpack(self.slot(stripe));
            if number != stripe & STRIPE_MASK || state == DONE {
                continue;
            }
            let end = Offset::new((stripe + 1) * self.stripe_bytes);
            let told = claimed.iter().find(|span| state == HELD && span.to == end);
            let from =
                told.map_or(Offset::new(stripe * self.stripe_bytes + position), |it| it.from);
            pieces.push(Span { from, to: end.min(head) });
        }
        let beyond = Offset::new((low + WINDOW) * self.stripe_bytes);
        pieces.push(Span { from: beyond, to: head });
        pieces.retain(|piece| piece.from < piece.to);
        pieces
    }

    /// Whether what lies at an offset is still to be read.
    pub(crate) fn unread(&self, at: Offset) -> Unread {
        let low = self.low.load(Ordering::Acquire);
        let stripe = at.bytes() / self.stripe_bytes;
        if stripe < low || stripe >= low + WINDOW {
            return Unread::No;
        }
        let (number, state, position) = unpack(self.slot(stripe));
        let from = stripe * self.stripe_bytes;
        match state {
            _ if number != stripe & STRIPE_MASK => Unread::No,
            FREE if from + position <= at.bytes() => Unread::Free,
            HELD => Unread::Held(Span {
                from: Offset::new(from + position),
                to: Offset::new(from + self.stripe_bytes),
            }),
            _ => Unread::No,
        }
    }

    /// Takes one stripe if it is free and has something to read.
    fn take(&self, stripe: u64, head: Offset) -> Option<Claim> {
        let word = self.slot(stripe);
        let (number, state, position) = unpack(word);
        let start = stripe * self.stripe_bytes + position;
        if number != stripe & STRIPE_MASK || state != FREE || start >= head.bytes() {
            return None;
        }
        self.slots[slot_of(stripe)]
            .compare_exchange(
                word,
                pack(stripe, HELD, position),
                Ordering::AcqRel,
                Ordering::Relaxed,
            )
            .ok()?;
        let end = Offset::new((stripe + 1) * self.stripe_bytes);
        Some(Claim { stripe, position: Offset::new(start), end })
    }

    /// Moves the low mark over finished stripes and hands their slots on.
    ///
    /// Two lanes may finish neighbouring stripes at once: one writes its slot and reads the mark,
    /// the other writes the mark and reads that slot. The fence lets at least one of them see what
    /// the other wrote. Without it both may see what was before, and nobody moves the mark until
    /// another stripe is finished.
    fn advance(&self) {
        loop {
            fence(Ordering::SeqCst);
            let low = self.low.load(Ordering::Acquire);
            let word = self.slot(low);
            if unpack(word) != (low & STRIPE_MASK, DONE, 0) {
                return;
            }
            let next = pack(low + WINDOW, FREE, 0);
            let slot = &self.slots[slot_of(low)];
            if slot.compare_exchange(word, next, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                // Only the winner of the slot moves the mark, so it moves by one each time.
                self.low.store(low + 1, Ordering::Release);
            }
        }
    }

    fn is_busy(&self, stripe: u64) -> bool {
        let lane = stripe % self.busy.len() as u64;
        self.busy[usize::try_from(lane).unwrap_or(0)].load(Ordering::Acquire)
    }

    fn slot(&self, stripe: u64) -> u64 {
        self.slots[slot_of(stripe)].load(Ordering::Acquire)
    }
}

fn slot_of(stripe: u64) -> usize {
    (stripe % WINDOW) as usize
}

fn pack(stripe: u64, state: u64, position: u64) -> u64 {
    (stripe & STRIPE_MASK) << 26 | state << 24 | position
}

fn unpack(word: u64) -> (u64, u64, u64) {
    (word >> 26, word >> 24 & 3, word & POSITION_MASK)
}

/// Stripes that may be claimed at once, from the lowest unfinished one on. A lane that holds the
/// lowest stripe while its destination is slow must not stop the others: 256 MiB of room.
const WINDOW: u64 = 256;
/// 38 bits of stripe number: 2^38 stripes of 1 MiB are more than an offset can say.
const STRIPE_MASK: u64 = (1 << 38) - 1;
const POSITION_MASK: u64 = (1 << 24) - 1;
const FREE: u64 = 0;
const HELD: u64 = 1;
const DONE: u64 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    const STRIPE: u64 = 1 << 20;

    fn at(stripe: u64, within: u64) -> Offset {
        Offset::new(stripe * STRIPE + within)
    }

    #[test]
    fn a_stripe_is_claimed_once() {
        let board = Board::new(at(3, 100), 2, STRIPE);
        let claim = board.claim(1, at(3, 500)).expect("the first stripe has something to read");
        assert_eq!(claim, Claim { stripe: 3, position: at(3, 100), end: at(4, 0) });
        assert_eq!(board.claim(0, at(3, 900)), None);
        assert_eq!(board.claim(1, at(3, 900)), None);
    }

    #[test]
    fn nothing_is_claimed_without_something_to_read() {
        let board = Board::new(at(0, 0), 1, STRIPE);
        assert_eq!(board.claim(0, at(0, 0)), None);
        assert!(board.claim(0, at(0, 1)).is_some());
    }

    #[test]
    fn a_lane_takes_its_own_stripes_and_those_of_busy_lanes() {
        let board = Board::new(at(0, 0), 2, STRIPE);
        let head = at(4, 0);
        // Lane 1 is not busy, so lane 0 leaves stripe 1 to it.
        assert_eq!(board.claim(0, head).map(|claim| claim.stripe), Some(0));
        board.finish(0);
        assert_eq!(board.claim(0, head).map(|claim| claim.stripe), Some(2));
        assert_eq!(board.claim(1, head).map(|claim| claim.stripe), Some(1));
        board.finish(2);
        assert_eq!(board.claim(0, head).map(|claim| claim.stripe), Some(3));
    }

    #[test]
    fn the_rest_of_a_stripe_goes_to_whoever_asks_next() {
        let board = Board::new(at(0, 0), 2, STRIPE);
        let head = at(1, 0);
        let claim = board.claim(0, head).expect("there is something to read");
        board.release(claim.stripe, at(0, 700));
        // Lane 0 prefers it, but has not asked again: it cannot send.
        assert_eq!(board.claim(1, head).map(|claim| claim.position), Some(at(0, 700)));
    }

    #[test]
    fn a_stripe_that_is_given_back_at_its_end_is_finished() {
        let board = Board::new(at(0, 0), 1, STRIPE);
        let head = at(2, 0);
        let claim = board.claim(0, head).expect("there is something to read");
        board.release(claim.stripe, claim.end);
        assert_eq!(board.claim(0, head).map(|claim| claim.position), Some(at(1, 0)));
    }

    #[test]
    fn the_stripes_of_a_lane_that_has_ended_go_to_others() {
        let board = Board::new(at(1, 0), 2, STRIPE);
        let head = at(2, 0);
        // Lane 1 found nothing else to do while lane 0 held its stripe.
        let claim = board.claim(1, head).expect("there is something to read");
        assert!(board.claim(0, at(1, 0)).is_none());
        board.finish(claim.stripe);
        assert!(board.claim(1, head).is_none());
        board.release(2, at(2, 0));
        board.release(3, at(3, 0));
        assert_eq!(board.claim(0, at(4, 0)).map(|claim| claim.stripe), Some(2));
        assert_eq!(board.claim(0, at(4, 0)), None, "lane 1 may ask for its stripe yet");
        board.leave(1);
        assert_eq!(board.claim(0, at(4, 0)).map(|claim| claim.stripe), Some(3));
    }

    #[test]
    fn the_low_mark_waits_for_the_lowest_stripe() {
        let board = Board::new(at(0, 0), 2, STRIPE);
        let head = at(2, 0);
        assert!(board.claim(0, head).is_some());
        assert!(board.claim(1, head).is_some());
        board.finish(1);
        assert_eq!(board.low(), at(0, 0));
        board.finish(0);
        assert_eq!(board.low(), at(2, 0));
    }

    #[test]
    fn skipping_takes_what_nobody_reads() {
        let board = Board::new(at(0, 40), 2, STRIPE);
        let head = at(600, 5);
        assert!(board.claim(1, head).is_some(), "lane 1 holds stripe 1");
        let mut taken = Vec::new();
        let skipped = board.skip(at(300, 0), |span| {
            taken.push(span);
            Ok::<_, ()>(())
        });
        assert_eq!(skipped, Ok(()));
        let bytes: u64 = taken.iter().map(|span| span.bytes()).sum();
        // The window ends 256 stripes after the held one's; what is beyond is skipped next time.
        assert_eq!(taken.first(), Some(&Span { from: at(0, 40), to: at(1, 0) }));
        assert_eq!(bytes, 256 * STRIPE - STRIPE - 40 + STRIPE);
        assert_eq!(board.low(), at(1, 0));
    }

    #[test]
    fn what_cannot_be_settled_is_still_to_be_read() {
        let board = Board::new(at(0, 40), 1, STRIPE);
        let upto = |stripe: u64| {
            board.skip(at(5, 0), |span| if span.from < at(stripe, 0) { Ok(()) } else { Err(()) })
        };
        let unread = |head| board.unread_below(head, &[]);
        let piece = |from, to| Span { from, to };
        assert_eq!((upto(0), unread(at(1, 0))), (Err(()), vec![piece(at(0, 40), at(1, 0))]));
        assert_eq!((upto(3), board.low()), (Err(()), at(3, 0)));
        assert_eq!(unread(at(4, 0)), [piece(at(3, 0), at(4, 0))]);
        assert_eq!((upto(9), board.low()), (Ok(()), at(5, 0)));
    }

    #[test]
    fn a_claimed_stripe_is_unread_until_its_lane_tells_otherwise() {
        let board = Board::new(at(0, 10), 2, STRIPE);
        let head = at(2, 30);
        let piece = |from, to| Span { from, to };
        let (first, last) = (piece(at(0, 10), at(1, 0)), piece(at(2, 0), head));
        let all = [first, piece(at(1, 0), at(2, 0)), last];
        assert_eq!(board.unread_below(head, &[]), all);
        assert!(board.claim(1, head).is_some(), "lane 1 holds stripe 1");
        assert_eq!(board.unread_below(head, &[]), all);
        let told = piece(at(1, 7), at(2, 0));
        assert_eq!(board.unread_below(head, &[told]), [first, told, last]);
        let read = piece(at(2, 0), at(2, 0));
        assert_eq!(board.unread_below(head, &[read]), [first, last]);
        board.finish(1);
        assert_eq!(board.unread_below(head, &[]), [first, last]);
    }

    #[test]
    fn neighbours_that_finish_at_once_move_the_mark() {
        let boards: Vec<Board> = (0..20_000).map(|_| Board::new(at(0, 0), 2, STRIPE)).collect();
        let head = at(2, 0);
        let ready = [AtomicU64::new(0), AtomicU64::new(0)];
        std::thread::scope(|scope| {
            for lane in 0..2 {
                let (boards, ready) = (&boards, &ready);
                scope.spawn(move || {
                    for (round, board) in boards.iter().enumerate() {
                        let claim = board.claim(lane, head).expect("each lane has its stripe");
                        ready[lane].store(round as u64 + 1, Ordering::SeqCst);
                        while ready[1 - lane].load(Ordering::SeqCst) <= round as u64 {
                            std::hint::spin_loop();
                        }
                        board.finish(claim.stripe);
                    }
                });
            }
        });
        let stuck = boards.iter().filter(|board| board.low() != head).count();
        assert_eq!(stuck, 0, "boards whose stripes are finished and whose mark is not");
    }

    #[test]
    fn many_lanes_read_each_stripe_once() {
        let board = Board::new(at(0, 0), 4, STRIPE);
        let head = at(2000, 0);
        let seen: Vec<Vec<u64>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|lane| {
                    let board = &board;
                    scope.spawn(move || {
                        let mut stripes = Vec::new();
                        while board.low() < head {
                            if let Some(claim) = board.claim(lane, head) {
                                stripes.push(claim.stripe);
                                board.finish(claim.stripe);
                            }
                        }
                        stripes
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no lane fails")).collect()
        });
        let mut all: Vec<u64> = seen.into_iter().flatten().collect();
        all.sort_unstable();
        assert_eq!(all, (0..2000).collect::<Vec<_>>());
    }
}
