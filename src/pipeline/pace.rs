//! Keeps the lanes of a worker close together, so that what one has opened serves the others.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use crate::event::Offset;

/// Where the lanes of a worker read that only lack its time.
///
/// Lanes share a block only while it is among the last that were opened. Under load lanes that have
/// drifted further apart would stay so, since each gets the same time, and every block would be
/// opened once for each. So a lane ahead leaves its turns to those that are behind and could use
/// them. It waits for no destination: a lane that cannot send is not counted.
///
/// One that catches up from far behind leaves turns to those at the head of the log too: what they
/// lag by is soon read, and their destinations are used to being told at once.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    seats: RefCell<Vec<Weak<Cell<Option<Offset>>>>>,
}

/// A lane's seat on its worker.
#[derive(Debug)]
pub(crate) struct Seat(Rc<Cell<Option<Offset>>>);

impl Seat {
    /// Notes where the lane reads next; `None` while it lacks something else than time.
    pub(crate) fn note(&self, place: Option<Offset>) {
        self.0.set(place);
    }
}

impl Pace {
    /// A seat for one more lane, as long as it lives.
    pub(crate) fn seat(&self) -> Seat {
        let seat = Seat(Rc::default());
        let mut seats = self.seats.borrow_mut();
        seats.retain(|seat| seat.strong_count() > 0);
        seats.push(Rc::downgrade(&seat.0));
        seat
    }

    /// Whether a lane that goes on at `from` is far behind the head of the log, while another of
    /// this worker is close to it and could go on too.
    pub(crate) fn is_behind_live(&self, from: Offset, head: Offset) -> bool {
        let is_live = |place: Offset| head.bytes() < place.bytes() + LIVE_BYTES;
        let places = |seat: &Weak<Cell<Option<Offset>>>| seat.upgrade()?.get();
        !is_live(from) && self.seats.borrow().iter().filter_map(places).any(is_live)
    }

    /// Whether a lane that would open a block at `from` should let others go first. Close to the
    /// head of the log it never should: there it is in time for its destination.
    pub(crate) fn is_ahead(&self, from: Offset, head: Offset) -> bool {
        if head.bytes() < from.bytes() + LIVE_BYTES {
            return false;
        }
        let behind = |by: u64| from.bytes().saturating_sub(by);
        let near = behind(REACH_BYTES)..behind(CLOSE_BYTES);
        let places = |seat: &Weak<Cell<Option<Offset>>>| seat.upgrade()?.get();
        self.seats.borrow().iter().filter_map(places).any(|place| near.contains(&place.bytes()))
    }
}

/// Lanes this close share their blocks: half of what a worker keeps opened.
const CLOSE_BYTES: u64 = 4 << 20;
/// Further behind than this, a lane is left to itself: it would take others a quarter of a second
/// to wait for it.
const REACH_BYTES: u64 = 64 << 20;
/// Where less than this is left to read, nobody waits, and those who have more do.
const LIVE_BYTES: u64 = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_lane_lets_those_go_first_that_are_behind_and_could_go() {
        let pace = Pace::default();
        let (ahead, behind) = (pace.seat(), pace.seat());
        let (at, head) = (Offset::new(100 * MIB), Offset::new(200 * MIB));
        ahead.note(Some(at));
        assert!(!pace.is_ahead(at, head), "nobody else has anything to do");
        behind.note(Some(Offset::new(60 * MIB)));
        assert!(pace.is_ahead(at, head));
        assert!(!pace.is_ahead(Offset::new(60 * MIB), head), "the last one always goes on");
        behind.note(None);
        assert!(!pace.is_ahead(at, head), "it waits for its destination");
        behind.note(Some(Offset::new(60 * MIB)));
        drop(behind);
        assert!(!pace.is_ahead(at, head), "it has ended");
    }

    #[test]
    fn who_is_far_behind_lets_those_go_first_that_are_at_the_head() {
        let pace = Pace::default();
        let (far, live) = (pace.seat(), pace.seat());
        let (at, head) = (Offset::new(100 * MIB), Offset::new(200 * MIB));
        far.note(Some(at));
        assert!(!pace.is_behind_live(at, head), "it is alone");
        live.note(Some(Offset::new(199 * MIB)));
        assert!(pace.is_behind_live(at, head));
        assert!(!pace.is_behind_live(Offset::new(195 * MIB), head), "both are live");
        live.note(Some(Offset::new(150 * MIB)));
        assert!(!pace.is_behind_live(at, head), "both are behind");
        live.note(None);
        assert!(!pace.is_behind_live(at, head), "the other has nothing to read");
    }

    #[test]
    fn nobody_waits_for_who_is_close_or_far_or_when_it_is_live() {
        let pace = Pace::default();
        let other = pace.seat();
        let (at, head) = (Offset::new(100 * MIB), Offset::new(200 * MIB));
        for (place, waits) in [(97, false), (95, true), (36, true), (35, false), (101, false)] {
            other.note(Some(Offset::new(place * MIB)));
            assert_eq!(pace.is_ahead(at, head), waits, "{place}");
        }
        other.note(Some(Offset::new(60 * MIB)));
        assert!(!pace.is_ahead(at, Offset::new(107 * MIB)), "it is close to the head");
    }
}
