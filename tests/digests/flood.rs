//! More events than a channel takes.

use std::time::Duration;

use crate::binary::{Place, quiet, wait_until};
use crate::chat::{Chat, digest, event, settled};

/// A webhook exporter of each kind, with these keys.
fn exporter(chat: &Chat, keys: &str) -> String {
    let (kind, url) = (chat.fake.report().vendor, chat.url("usual"));
    quiet(&format!("  chat: {{type: {kind}, webhook_url: '{url}', {keys}}}\n"))
}

/// Five a second, and what waits for more than a second is told of together.
const PACE: &str = "rate_limit: {per_minute: 300, burst: 5}, flood: {max_wait_ms: 1000}";

#[test]
fn what_is_too_much_is_told_of_together_and_counted_to_the_last() {
    for chat in [Chat::slack(""), Chat::teams("")] {
        let place = Place::new(&exporter(&chat, PACE));
        let running = place.start();
        let severity = |n: u32| if n % 60 == 7 { "critical" } else { "high" };
        let guard = |n: u32| if n.is_multiple_of(3) { "egress_allowlist" } else { "secret_leak" };
        let events: Vec<_> = (0..300).map(|n| event(n, guard(n), severity(n))).collect();
        place.append(&events);
        let exporter = settled(&place, "chat", 300);
        let (one_by_one, together) = chat.told("usual");
        let digests = chat.digests("usual");
        assert_eq!(one_by_one + together, 300, "{digests:?}");
        assert!((1..=4).contains(&digests.len()), "{digests:?}");
        for body in chat.bodies("usual") {
            let is_critical = body.contains("CRITICAL") || body.to_lowercase().contains("critical");
            let Some((of, sum)) = digest(&body) else { continue };
            assert_eq!(of, sum, "guard by guard: {body}");
            assert!(!is_critical, "no critical one is in it: {body}");
        }
        // Five critical events, each with a message of its own.
        for number in (0..300).filter(|n| n % 60 == 7) {
            let path = format!("/srv/{number}/.env");
            let of = chat.bodies("usual").into_iter().filter(|body| body.contains(&path)).count();
            assert_eq!(of, 1, "{path}");
        }
        assert_eq!(exporter["delivered"], 300);
        assert_eq!(exporter["digests"]["events"], together, "{exporter}");
        assert_eq!(exporter["digests"]["sent"], digests.len());
        running.stop();
        chat.assert_in_order();
    }
}

#[test]
fn a_channel_in_a_flood_does_not_hold_up_another() {
    let chat = Chat::slack("");
    let keys = format!(
        "min_severity: info, rate_limit: {{per_minute: 60, burst: 5}}, \
         routing: {{by_guard: {{quiet: '{}'}}}}",
        chat.url("quiet")
    );
    let place = Place::new(&exporter(&chat, &keys));
    let running = place.start();
    let mut events: Vec<_> = (0..500).map(|n| event(n, "loud", "high")).collect();
    events.push(event(500, "quiet", "high"));
    place.append(&events);
    wait_until("the other channel has its message", || chat.told("quiet") == (1, 0));
    // Behind the flood it would come after all of it.
    let (one_by_one, _) = chat.told("usual");
    assert!(one_by_one < 200, "{one_by_one}");
    let exporter = settled(&place, "chat", 501);
    assert_eq!(exporter["delivered"], 501);
    let (one_by_one, together) = chat.told("usual");
    assert_eq!(one_by_one + together, 500);
    assert_eq!(chat.digests("usual").len(), 1, "{:?}", chat.digests("usual"));
    running.stop();
    chat.assert_in_order();
}

#[test]
fn critical_events_of_one_channel_do_not_hold_up_another() {
    let chat = Chat::slack("");
    let keys = format!(
        "min_severity: info, rate_limit: {{per_minute: 240, burst: 5}}, \
         routing: {{by_guard: {{quiet: '{}'}}}}",
        chat.url("quiet")
    );
    let place = Place::new(&exporter(&chat, &keys));
    let running = place.start();
    // More than a lane has under way at once.
    let mut events: Vec<_> = (0..90).map(|n| event(n, "loud", "critical")).collect();
    events.push(event(90, "quiet", "high"));
    place.append(&events);
    wait_until("the other channel has its message", || chat.told("quiet") == (1, 0));
    let (one_by_one, _) = chat.told("usual");
    assert!(one_by_one < 20, "{one_by_one}");
    running.kill();
    let before = chat.bodies("usual").len();
    let running = place.start();
    let exporter = settled(&place, "chat", 91);
    assert_eq!((exporter["delivered"].as_u64(), exporter["parked"].as_u64()), (Some(91), Some(0)));
    // In the log's order, each with a message of its own.
    let bodies = chat.bodies("usual");
    let number = |body: &String| {
        let (_, rest) = body.split_once("/srv/").expect("a path");
        rest.split_once('/').expect("a path").0.parse::<u32>().expect("a number")
    };
    let after: Vec<u32> = bodies[before..].iter().map(number).collect();
    assert!(after.is_sorted(), "{after:?}");
    let mut all: Vec<u32> = bodies.iter().map(number).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all, (0..90).collect::<Vec<_>>());
    running.stop();
    chat.assert_in_order();
}

#[test]
fn a_kill_loses_none_of_what_was_to_be_told_of_together() {
    let chat = Chat::slack("");
    let keys = "rate_limit: {per_minute: 60, burst: 5}, flood: {max_wait_ms: 2000}";
    let place = Place::new(&exporter(&chat, keys));
    let running = place.start();
    let events: Vec<_> = (0..300).map(|n| event(n, "leak", "high")).collect();
    place.append(&events);
    wait_until("some were told of", || chat.told("usual").0 >= 5);
    assert!(chat.digests("usual").is_empty(), "the digest has to wait for its turn");
    running.kill();
    let before = chat.told("usual").0;
    let running = place.start();
    settled(&place, "chat", 300);
    let (one_by_one, together) = chat.told("usual");
    // What was posted before the kill and not noted may be told of twice, nothing is missing.
    assert!((300..=300 + before).contains(&(one_by_one + together)), "{one_by_one} {together}");
    assert!(together >= 200, "{together}");
    running.stop();
    chat.assert_in_order();
}

#[test]
fn events_in_an_even_stream_above_the_pace_are_told_of_again_and_again() {
    let chat = Chat::slack("");
    let place = Place::new(&exporter(&chat, PACE));
    let running = place.start();
    // 30 a second for 6 s: each digest has its turn although others come all the time.
    for round in 0..12 {
        let events: Vec<_> = (0..15).map(|n| event(round * 15 + n, "leak", "low")).collect();
        place.append(&events);
        std::thread::park_timeout(Duration::from_millis(400));
    }
    settled(&place, "chat", 180);
    let (one_by_one, together) = chat.told("usual");
    assert_eq!(one_by_one + together, 180);
    assert!(chat.digests("usual").len() >= 2, "{:?}", chat.digests("usual"));
    running.stop();
    chat.assert_in_order();
}
