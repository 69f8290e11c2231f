//! Routes of one exporter: limits of their own, and waits of their own.

use std::time::Duration;

use shrike::deliver::{Action, Cause, Fate, Order, Pace, Remedy, RouteRate, Scope, Verdict};

use crate::Lane;

/// There is nothing to send now.
#[track_caller]
fn assert_idle(lane: &mut Lane) {
    let action = lane.poll();
    assert!(matches!(action, Action::Wait(_) | Action::Idle), "{action:?}");
}

#[test]
fn each_place_that_routes_lead_to_has_a_limit_of_its_own() {
    let mut lane = Lane::with(|_, sender| {
        sender.order = Order::Loose;
        // The third route leads where the first one does.
        let places = vec![0, 1, 0];
        sender.route_rate =
            Some(RouteRate { per_minute: 60, burst: 2, places, lets_critical_pass: false });
    });
    for route in [0, 2, 0, 1, 0] {
        lane.enqueue(1, route);
    }
    for expected in [0, 1, 3] {
        let sent = lane.send();
        assert_eq!(sent.events, [expected], "the burst of one place does not stop another");
        lane.answer(sent.id, Fate::Delivered);
    }
    assert!(lane.sender.room(), "what waits for its place leaves room for others");
    for expected in [2, 4] {
        assert_idle(&mut lane);
        lane.wait(Duration::from_secs(1));
        let sent = lane.send();
        assert_eq!(sent.events, [expected], "one a second, in the log's order");
        lane.answer(sent.id, Fate::Delivered);
    }
}

#[test]
fn a_throttled_route_waits_alone_for_as_long_as_it_was_asked_to() {
    let mut lane = Lane::with(|_, sender| sender.order = Order::Loose);
    for route in [1, 2, 1] {
        lane.enqueue(1, route);
    }
    let sent = lane.send();
    let hold = Fate::Hold { cause: Cause::Outage, scope: Scope::Route };
    let wait = Pace::Pause(Some(Duration::from_secs(20)));
    lane.verdict(sent.id, Verdict::new(hold, "throttled").at(wait));
    let other = lane.send();
    assert_eq!(other.events, [1]);
    lane.answer(other.id, Fate::Delivered);
    lane.wait(Duration::from_secs(19));
    assert_idle(&mut lane);
    lane.wait(Duration::from_secs(1));
    for expected in [0, 2] {
        let sent = lane.send();
        assert_eq!(sent.events, [expected]);
        lane.answer(sent.id, Fate::Delivered);
    }
}

/// That others are accepted says nothing of a key that is refused.
#[test]
fn a_route_whose_key_is_refused_waits_alone_and_shows_it_seldom() {
    let mut lane = Lane::with(|_, sender| sender.order = Order::Loose);
    lane.enqueue(1, 1);
    let (mut refused, mut refreshes) = (Vec::new(), 0);
    for second in 0..130 {
        lane.enqueue(1, 2);
        loop {
            let action = lane.poll();
            let Some(sent) = lane.sent(&action) else { break };
            let hold = Fate::Hold { cause: Cause::Auth, scope: Scope::Route };
            let is_refused = sent.events == [0];
            refused.extend(is_refused.then_some(second));
            lane.answer(sent.id, if is_refused { hold } else { Fate::Delivered });
            refreshes += u32::from(lane.out.remedy.take() == Some(Remedy::Refresh));
        }
        assert_eq!(lane.delivered(), second + 1, "the others go on");
        lane.wait(Duration::from_secs(1));
    }
    assert_eq!((refused, refreshes), (vec![0, 3, 63, 123], 1));
}
