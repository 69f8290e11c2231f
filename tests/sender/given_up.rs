//! Events that retention needs the place of.

use std::time::Duration;

use shrike::deliver::{Action, Applied, Health, TransportErrorKind};
use shrike::event::Offset;

use crate::Lane;

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
