//! The board of stripes, in every order of two lanes' steps.

use std::sync::Arc;

use loom::thread;
use models::event::Offset;
use models::pipeline::board::{Board, Claim};

const STRIPE: u64 = 16;

/// A thread is taken off where it could go on at most this often in one order; without a bound two
/// of the models take hours.
const PREEMPTIONS: Option<usize> = Some(3);

fn at(stripe: u64, within: u64) -> Offset {
    Offset::new(stripe * STRIPE + within)
}

/// Runs a model of two threads and the one that made them.
fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = PREEMPTIONS;
    builder.check(model);
}

#[test]
fn neighbours_that_finish_at_once_move_the_mark() {
    check(|| {
        let board = Arc::new(Board::new(at(0, 0), 2, STRIPE));
        let claims = [0, 1].map(|lane| board.claim(lane, at(2, 0)).expect("each has its stripe"));
        let threads = claims.map(|claim| {
            let board = Arc::clone(&board);
            thread::spawn(move || board.finish(claim.stripe))
        });
        threads.into_iter().for_each(|thread| thread.join().expect("no lane fails"));
        assert_eq!(board.low(), at(2, 0), "all is finished and the mark stands");
    });
}

#[test]
fn two_lanes_read_each_stripe_once() {
    check(|| {
        let board = Arc::new(Board::new(at(0, 4), 2, STRIPE));
        let head = at(3, 0);
        let work = move |board: &Board, lane: usize| -> Vec<Claim> {
            let claims = std::iter::from_fn(|| board.claim(lane, head));
            claims.inspect(|claim| board.finish(claim.stripe)).collect()
        };
        let other = Arc::clone(&board);
        let thread = thread::spawn(move || work(&other, 1));
        let mut read = work(&board, 0);
        read.extend(thread.join().expect("no lane fails"));
        // A lane that found nothing for it looks again when it is woken, or a second later.
        board.leave(1);
        read.extend(work(&board, 0));
        read.sort_by_key(|claim| claim.stripe);
        let places: Vec<_> = read.iter().map(|claim| claim.position).collect();
        assert_eq!(places, [at(0, 4), at(1, 0), at(2, 0)]);
        assert_eq!(board.low(), head);
    });
}

#[test]
fn a_slot_that_is_handed_on_is_never_taken_for_the_old_one() {
    check(|| {
        // The window is four stripes: the fifth has the slot of the first.
        let board = Arc::new(Board::new(at(0, 0), 2, STRIPE));
        let first = board.claim(0, at(1, 0)).expect("there is something to read");
        let other = Arc::clone(&board);
        let thread = thread::spawn(move || other.claim(1, at(6, 0)));
        board.finish(first.stripe);
        let taken = board.claim(0, at(5, 0));
        let other = thread.join().expect("no lane fails");
        assert_ne!(taken, other, "one of them has it");
        assert!([taken, other].into_iter().flatten().all(|claim| claim.stripe > 0));
        assert_eq!(board.low(), at(1, 0));
    });
}

#[test]
fn what_is_given_back_is_read_on_by_one_lane() {
    check(|| {
        let board = Arc::new(Board::new(at(0, 0), 2, STRIPE));
        let claim = board.claim(0, at(1, 0)).expect("there is something to read");
        let other = Arc::clone(&board);
        let thread = thread::spawn(move || other.claim(1, at(1, 0)));
        board.release(claim.stripe, at(0, 7));
        let again = board.claim(0, at(1, 0));
        let other = thread.join().expect("no lane fails");
        let taken: Vec<_> = [again, other].into_iter().flatten().collect();
        assert_eq!(taken.len(), 1, "{taken:?}");
        assert_eq!(taken[0].position, at(0, 7));
    });
}

#[test]
fn what_retention_takes_no_lane_reads() {
    check(|| {
        let board = Arc::new(Board::new(at(0, 0), 1, STRIPE));
        let other = Arc::clone(&board);
        let thread = thread::spawn(move || {
            let claim = other.claim(0, at(2, 0));
            claim.iter().for_each(|claim| other.finish(claim.stripe));
            claim
        });
        let mut pieces = Vec::new();
        let mut skip = |board: &Board| {
            let settled = board.skip(at(2, 0), |span| {
                pieces.push((span.from, span.to));
                Ok::<_, ()>(())
            });
            settled.expect("nothing fails");
        };
        skip(&board);
        let read = thread.join().expect("no lane fails").map(|it| (it.position, it.end));
        skip(&board);
        pieces.extend(read);
        pieces.sort_by_key(|(from, _)| *from);
        assert_eq!(pieces, [(at(0, 0), at(1, 0)), (at(1, 0), at(2, 0))]);
        assert_eq!(board.low(), at(2, 0));
    });
}
