//! Several routes that lead to one channel.

use crate::binary::wait_until;
use crate::event::{event, number};
use crate::place::Place;

#[test]
fn a_channel_that_takes_nothing_holds_all_routes_that_lead_there() {
    let routes = "dedup_window_seconds: 0, routing: {by_guard: {leak: C1, egress: C1, other: C2}}";
    let place = Place::bot(routes, "");
    place.slack.1.close("C1", Some("channel_not_found"));
    let running = place.start();
    let guards = ["leak", "egress", "usual", "leak", "other", "egress"];
    let events: Vec<_> =
        (0..).zip(guards).map(|(n, guard)| event(n, guard, "s-1", "high")).collect();
    place.append(&events);
    // One is left to try with.
    wait_until("the others are set aside", || place.exporter("slack")["parked"] == 4);
    let posted = |place: &Place| -> Vec<u32> {
        place.slack.1.all().iter().map(|post| number(&post.body)).collect()
    };
    assert_eq!(posted(&place), [4], "another channel takes its own");
    running.kill();
    place.slack.1.close("C1", None);
    let running = place.start();
    place.settle();
    let mut posted = posted(&place);
    posted.sort_unstable();
    posted.dedup();
    assert_eq!(posted, [0, 1, 2, 3, 4, 5]);
    place.stop(running);
}

#[test]
fn messages_of_several_routes_to_one_channel_come_in_the_order_of_the_log() {
    let place =
        Place::bot("dedup_window_seconds: 0, routing: {by_guard: {leak: C1, egress: C1}}", "");
    let guards = ["leak", "egress", "egress"].into_iter().cycle();
    let events: Vec<_> =
        (0..60).zip(guards).map(|(n, guard)| event(n, guard, "s-1", "high")).collect();
    place.append(&events);
    let running = place.start();
    place.settle();
    let posted: Vec<u32> = place.slack.1.all().iter().map(|post| number(&post.body)).collect();
    assert_eq!(posted, (0..60).collect::<Vec<_>>());
    place.stop(running);
}

#[test]
fn a_session_of_many_critical_events_leaves_room_for_other_channels() {
    let keys = "dedup_window_seconds: 0, threading: {enabled: true}, \
                routing: {by_guard: {other: C2}}";
    let place = Place::bot(keys, "");
    place.edit("per_minute: 6000, burst: 1000", "per_minute: 240, burst: 5");
    let running = place.start();
    // They wait for the root together, more than a lane has under way.
    let loud: Vec<_> = (0..100).map(|n| event(n, "leak", "s-1", "critical")).collect();
    place.append(&loud);
    let posted =
        |channel: &str| place.slack.1.all().iter().filter(|post| post.channel == channel).count();
    wait_until("the root is answered", || posted("C1") > 1);
    place.append(&[event(100, "other", "s-2", "high")]);
    wait_until("the other channel has its message", || posted("C2") == 1);
    assert!(posted("C1") < 25, "{}", posted("C1"));
    place.settle();
    let numbers = place.slack.1.all();
    let numbers: Vec<u32> = numbers.iter().map(|post| number(&post.body)).collect();
    let loud: Vec<u32> = numbers.into_iter().filter(|number| *number < 100).collect();
    assert_eq!(loud, (0..100).collect::<Vec<_>>());
    place.stop(running);
}
