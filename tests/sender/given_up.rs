//! Events that retention needs the place of, and those whose destination has lost what they answer
//! to.

use std::time::Duration;

use shrike::deliver::{
    AckId, Action, Applied, Fate, Health, Level, Parked, TransportErrorKind, Verdict,
};
use shrike::event::Offset;

use crate::{Lane, ROUTE};

#[test]
fn a_lane_whose_events_were_given_up_in_an_outage_rests_until_there_are_others() {
    let mut lane = Lane::new();
    lane.enqueue(1, 0);
    for _ in 0..5 {
        let sent = lane.send_later();
        lane.error(sent.id, TransportErrorKind::Connect, Applied::No);
    }
    assert_eq!(lane.gate.health(lane.now), Health::CircuitOpen);
    lane.wait(Duration::from_secs(300));
    lane.sender.give_up_below(Offset::new(u64::MAX), &mut lane.out);
    assert!(lane.sender.is_empty());
    assert!(matches!(lane.poll(), Action::Idle), "{:?}", lane.poll());
    lane.enqueue(1, 0);
    assert!(lane.send_later().is_probe);
}

/// What retention needs the place of goes from every batch, also from one that reaches beyond it: a
/// single event that stays would keep a whole segment, and a full disk full.
#[test]
fn a_batch_across_the_place_that_is_given_up_keeps_the_rest() {
    for is_dropped in [false, true] {
        let mut lane = Lane::new();
        lane.enqueue(300, 0);
        lane.enqueue(10, 0);
        for _ in 0..5 {
            let sent = lane.send_later();
            lane.error(sent.id, TransportErrorKind::Connect, Applied::No);
        }
        if is_dropped {
            // A lane that waits keeps offsets only.
            lane.wait(Duration::from_secs(300));
            let probe = lane.send_later();
            lane.error(probe.id, TransportErrorKind::Connect, Applied::No);
            assert!(matches!(lane.poll(), Action::Wait(_)));
        }
        let before = lane.sender.pending();
        assert_eq!(before, 310);
        let floor = Offset::new(120);
        lane.sender.give_up_below(floor, &mut lane.out);
        let skipped: u64 = lane.out.settled.iter().map(|settled| settled.events).sum();
        assert_eq!((skipped, lane.sender.pending()), (120, 190), "dropped: {is_dropped}");
        assert!(lane.out.settled.iter().all(|settled| settled.span.to <= floor));
    }
}

/// They are rendered again as they were, and no retry is spent on that; what goes on answering so
/// is no matter of theirs.
#[test]
fn what_answers_to_nothing_is_rendered_again_a_few_times() {
    for level in [None, Some(Level::Plain)] {
        let mut lane = Lane::new();
        lane.enqueue(1, 0);
        let mut sent = lane.send();
        if let Some(level) = level {
            lane.answer(sent.id, Fate::Reshape(level));
            let reshape = lane.out.reshape.pop().expect("it is to be rendered plainly");
            lane.render(&reshape);
            sent = lane.send();
        }
        for _ in usize::from(level.is_some())..3 {
            lane.answer(sent.id, Fate::Orphan);
            let reshape = lane.out.reshape.pop().expect("it is to be rendered again");
            assert_eq!((reshape.level, reshape.items.len()), (level, 1));
            assert_eq!(lane.sender.pending(), 1, "it is pending meanwhile");
            lane.render(&reshape);
            sent = lane.send();
        }
        assert_eq!(lane.out.tally.outage, 0);
        lane.answer(sent.id, Fate::Orphan);
        assert_eq!(lane.dead(), [0]);
        assert!(lane.out.dead.iter().all(|letter| letter.retryable), "another time it may");
    }
}

/// What waits elsewhere for another is not waited for here.
#[test]
fn what_is_taken_back_is_pending_elsewhere() {
    let mut lane = Lane::new();
    lane.enqueue(1, 0);
    let sent = lane.send();
    lane.answer(sent.id, Fate::Orphan);
    let reshape = lane.out.reshape.pop().expect("it is to be rendered again");
    lane.sender.take_back(1);
    assert!(lane.sender.is_empty());
    lane.sender.unpark(&reshape);
    lane.render(&reshape);
    let sent = lane.send();
    lane.answer(sent.id, Fate::Delivered);
    assert_eq!(lane.delivered(), 1);
}

/// Retention may take what was left to try with, and leave what is set aside.
#[test]
fn a_held_route_of_which_only_parked_events_are_left_is_tried_with_those() {
    let mut lane = Lane::new();
    for _ in 0..3 {
        lane.enqueue(1, 1);
    }
    let held = lane.send();
    lane.answer(held.id, ROUTE);
    lane.wait(Duration::from_secs(10));
    let mut parked = Vec::new();
    lane.sender.park(Duration::from_secs(10), lane.now, &mut parked);
    let events = |it: &Parked| it.reshape.items[0].span.from.bytes();
    assert_eq!(parked.iter().map(events).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(lane.sender.wants_trial(1), Some(0), "one is left that did not fail");
    lane.sender.give_up_below(Offset::new(2), &mut lane.out);
    assert!(lane.sender.is_empty());
    assert_eq!(lane.sender.held_routes().count(), 1);
    lane.wait(Duration::from_secs(50));
    assert_eq!([1, 0].map(|it| lane.sender.wants_trial(it)), [Some(u32::MAX), None]);
    let first = parked.remove(1).reshape;
    lane.sender.unpark(&first);
    assert_eq!(lane.sender.wants_trial(1), None, "one is under way");
    lane.render(&first);
    assert_eq!(lane.sender.wants_trial(1), Some(0));
    let tried = lane.send();
    assert_eq!(lane.sender.wants_trial(1), None, "it is tried");
    assert_eq!(tried.events, [2]);
    lane.answer(tried.id, Fate::Delivered);
    assert_eq!(lane.sender.held_routes().count(), 0);
}

/// Whoever flushes wants to know when all of it has met its end.
#[test]
fn what_is_cut_or_rendered_again_has_not_ended_before_its_parts_have() {
    let mut lane = Lane::new();
    lane.enqueue(2, 0);
    let newest = lane.sender.newest();
    assert!(!lane.sender.has_ended_to(newest));
    let sent = lane.send();
    lane.answer(sent.id, Fate::Split);
    lane.enqueue(1, 0);
    assert!(!lane.sender.has_ended_to(newest), "its halves are to be sent");
    let (one, two, late) = (lane.send(), lane.send(), lane.send());
    lane.answer(one.id, Fate::Delivered);
    lane.answer(two.id, Fate::Split);
    let reshape = lane.out.reshape.pop().expect("it is to be rendered smaller");
    assert!(reshape.history.is_of(newest), "a half is rendered again");
    lane.render(&reshape);
    let shrunk = lane.send();
    lane.answer(shrunk.id, Fate::Pending(AckId(0)));
    assert!(!lane.sender.has_ended_to(newest), "it is not confirmed");
    let confirmed = Verdict::new(Fate::Confirmed(vec![AckId(0)]), "test");
    lane.sender.on_acks(shrunk.endpoint, shrunk.group, confirmed, lane.now, &mut lane.out);
    lane.error(late.id, TransportErrorKind::Connect, Applied::No);
    assert!(lane.sender.has_ended_to(newest), "{:?}", lane.sender);
    assert!(!lane.sender.has_ended_to(lane.sender.newest()), "what came later has not");
}
