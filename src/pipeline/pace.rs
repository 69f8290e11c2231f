//! Keeps the lanes of a worker close together, so that what one has opened serves the others.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use crate::event::Offset;

/// Where the lanes of a worker read that only lack its time.
///
/// Lanes share a block only while it is among the last that were opened. Under load lanes that have
/// drifted further apart would stay so, since each gets the same time, and every block would be
/// opened once for each. So a lane ahead leaves its turns to those that are behind and could use
/// them. It waits for no destination: a lane that cannot send is not counted.
///
/// One that catches up from far behind leaves turns to those at the head of the log too: what they
/// lag by is soon read, and their destinations are used to being told at once. From time to time it
/// rests, too: inputs, the log and whoever else shares the cores would wait for the kernel's next
/// tick, some 4 ms each, and the events at the head with them.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    seats: RefCell<Vec<Weak<Place>>>,
    /// When those that catch up went on after their last rest.
    begun: Cell<Option<Instant>>,
}

/// A lane's seat on its worker.
#[derive(Debug)]
pub(crate) struct Seat(Rc<Place>);

#[derive(Debug, Default)]
struct Place {
    /// Where the lane reads next; nothing while it lacks something else than time.
    next: Cell<Option<Offset>>,
    /// How far it had read, and when it last came further close to the head of the log.
    read: Cell<Option<Offset>>,
    live: Cell<Option<Instant>>,
}

impl Seat {
    /// Notes where the lane reads next; `None` while it lacks something else than time.
    pub(crate) fn note(&self, place: Option<Offset>) {
        self.0.next.set(place);
    }

    /// Notes how far the lane has read.
    pub(crate) fn note_read(&self, to: Option<Offset>, head: Offset, now: Instant) {
        let has_moved = to.is_some() && self.0.read.replace(to) != to;
        if has_moved && to.is_some_and(|to| is_live(to, head)) {
            self.0.live.set(Some(now));
        }
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
        let places = |seat: &Weak<Place>| seat.upgrade()?.next.get();
        let is_live = |place: Offset| is_live(place, head);
        !is_live(from) && self.seats.borrow().iter().filter_map(places).any(is_live)
    }

    /// Until when a lane that would go on at `from` should rest, with all of this worker that are
    /// as far behind the head of the log while another tells its destination what comes.
    pub(crate) fn rest(&self, from: Offset, head: Offset, now: Instant) -> Option<Instant> {
        let times = |seat: &Weak<Place>| seat.upgrade()?.live.get();
        let is_recent = |at: Instant| now.saturating_duration_since(at) < LIVE_TIME;
        if is_live(from, head) || !self.seats.borrow().iter().filter_map(times).any(is_recent) {
            return None;
        }
        let is_this = |begun: &Instant| now < *begun + WORK_TIME + REST_TIME;
        let begun = self.begun.get().filter(is_this).unwrap_or(now);
        self.begun.set(Some(begun));
        (now >= begun + WORK_TIME).then_some(begun + WORK_TIME + REST_TIME)
    }

    /// Whether a lane that would open a block at `from` should let others go first. Close to the
    /// head of the log it never should: there it is in time for its destination.
    pub(crate) fn is_ahead(&self, from: Offset, head: Offset) -> bool {
        if is_live(from, head) {
            return false;
        }
        let behind = |by: u64| from.bytes().saturating_sub(by);
        let near = behind(REACH_BYTES)..behind(CLOSE_BYTES);
        let places = |seat: &Weak<Place>| seat.upgrade()?.next.get();
        self.seats.borrow().iter().filter_map(places).any(|place| near.contains(&place.bytes()))
    }
}

/// Whether a lane that reads here is close to the head of the log.
fn is_live(place: Offset, head: Offset) -> bool {
    head.bytes() < place.bytes() + LIVE_BYTES
}

/// Lanes this close share their blocks: half of what a worker keeps opened.
const CLOSE_BYTES: u64 = 4 << 20;
/// Further behind than this, a lane is left to itself: it would take others a quarter of a second
/// to wait for it.
const REACH_BYTES: u64 = 64 << 20;
/// Where less than this is left to read, nobody waits, and those who have more do.
const LIVE_BYTES: u64 = 8 << 20;
/// A lane that has read nothing for this long has nothing to tell.
const LIVE_TIME: Duration = Duration::from_millis(100);
/// Those that catch up beside it work so long, then rest so long.
const WORK_TIME: Duration = Duration::from_millis(1);
const REST_TIME: Duration = Duration::from_millis(1);

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
    fn who_is_far_behind_rests_from_time_to_time_beside_one_that_is_told_what_comes() {
        let pace = Pace::default();
        let live = pace.seat();
        let (at, head) = (Offset::new(100 * MIB), Offset::new(200 * MIB));
        let begin = Instant::now();
        let after = |us: u64| begin + Duration::from_micros(us);
        let rest = |us: u64| pace.rest(at, head, after(us));
        live.note_read(Some(Offset::new(150 * MIB)), head, begin);
        assert_eq!([0, 1_500].map(rest), [None; 2], "the other is far behind itself");
        live.note_read(Some(Offset::new(199 * MIB)), head, begin);
        assert_eq!([0, 999].map(rest), [None; 2], "it works first");
        assert_eq!([1_000, 1_900].map(rest), [Some(after(2_000)); 2], "all rest at once");
        assert_eq!([2_000, 2_999].map(rest), [None; 2], "and go on");
        assert_eq!(rest(3_000), Some(after(4_000)));
        assert_eq!([20_000, 20_900].map(rest), [None; 2], "whoever got no core rested enough");
        assert_eq!(pace.rest(Offset::new(195 * MIB), head, after(21_000)), None, "it is live");
        live.note_read(Some(Offset::new(199 * MIB)), head, after(90_000));
        assert_eq!([100_000, 101_000].map(rest), [None; 2], "the other reads nothing");
        live.note_read(Some(head), head, after(103_000));
        assert_eq!(rest(103_000), None, "it does again: work first");
        assert_eq!(rest(104_000), Some(after(105_000)));
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
