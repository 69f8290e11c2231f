//! Events that are too old to be told of one by one.

use crate::binary::{Clock, Place, quiet, wait_until};
use crate::chat::{Chat, digest, event, settled};

/// A place with an exporter of this kind, and its clock.
fn place(kind: &str, url: &str, keys: &str) -> (Place, Clock) {
    let exporter = format!("  chat: {{type: {kind}, webhook_url: '{url}', {keys}}}\n");
    Place::new(&quiet(&exporter)).timed()
}

#[test]
fn old_events_are_told_of_together_and_count_as_filtered() {
    for chat in [Chat::slack(""), Chat::teams("")] {
        let (kind, url) = (chat.fake.report().vendor, chat.url("usual"));
        let (place, clock) = place(&kind, &url, "max_age: 1m, from: earliest");
        let old: Vec<_> = (0..400).map(|n| event(n, "leak", "critical")).collect();
        place.append(&old);
        clock.leap(61);
        let running = place.start();
        place.append(&[event(400, "leak", "high")]);
        let exporter = settled(&place, "chat", 401);
        assert_eq!(chat.told("usual"), (1, 400), "{:?}", chat.digests("usual"));
        assert_eq!(chat.digests("usual").len(), 1);
        assert_eq!((&exporter["delivered"], &exporter["filtered"]), (&1.into(), &400.into()));
        assert_eq!(exporter["digests"]["stale"], 400);
        let body = chat.bodies("usual").into_iter().find(|body| digest(body).is_some());
        let body = body.expect("there is one");
        assert!(body.contains("critical") && body.contains("leak x 400"), "{body}");
        running.stop();
        chat.assert_in_order();
    }
}

#[test]
fn what_is_read_or_replayed_again_later_is_told_of_together() {
    let chat = Chat::slack("requests 0..12 status 400");
    let url = chat.url("usual");
    let keys = "max_age: 1m, rate_limit: {per_minute: 6000, burst: 100}";
    let (place, clock) = place("slack", &url, keys);
    let running = place.start();
    let events: Vec<_> = (0..6).map(|n| event(n, "leak", "high")).collect();
    place.append(&events);
    let exporter = settled(&place, "chat", 6);
    assert_eq!(exporter["letters"], 6, "each was refused twice: {exporter}");
    clock.leap(61);
    place.run(&["dlq", "replay", "--exporter", "chat"], 0);
    assert_eq!(chat.told("usual"), (0, 6), "{:?}", chat.bodies("usual"));
    wait_until("the letters are gone", || {
        let exporter = place.exporter("chat");
        ["letters", "delivered", "dead_lettered"].map(|key| exporter[key].as_u64())
            == [Some(0), Some(6), Some(0)]
    });
    place.run(&["cursor", "rewind", "chat", "--to", "earliest"], 0);
    let exporter = settled(&place, "chat", 6);
    assert_eq!((&exporter["filtered"], &exporter["digests"]["stale"]), (&6.into(), &6.into()));
    assert_eq!(chat.digests("usual"), [6, 6]);
    running.stop();
    chat.assert_in_order();
}

#[test]
fn letters_that_are_really_wanted_are_posted_one_by_one() {
    let chat = Chat::slack("requests 0..12 status 400");
    let url = chat.url("usual");
    let keys = "max_age: 1m, rate_limit: {per_minute: 6000, burst: 100}";
    let (place, clock) = place("slack", &url, keys);
    let running = place.start();
    let events: Vec<_> = (0..6).map(|n| event(n, "leak", "high")).collect();
    place.append(&events);
    settled(&place, "chat", 6);
    clock.leap(61);
    place.run(&["dlq", "replay", "--exporter", "chat", "--really-alert"], 0);
    assert_eq!(chat.told("usual"), (6, 0), "{:?}", chat.bodies("usual"));
    running.stop();
    chat.assert_in_order();
}
