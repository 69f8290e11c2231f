//! Events that are too old to be told of one by one.

use shrike::event::{Checkpoint, Offset};
use shrike::log::Cursors;

use crate::binary::{Clock, Place, quiet, wait_until};
use crate::chat::{Chat, digest, event, settled};
use crate::event::id;

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
    let said = place.run(&["dlq", "replay", "--exporter", "chat"], 0);
    let told = "0 of 6 delivered, 6 too old and told of in a digest, 0 stay";
    assert!(said.contains(told), "{said}");
    assert_eq!(chat.told("usual"), (0, 6), "{:?}", chat.bodies("usual"));
    wait_until("the letters are gone", || {
        let exporter = place.exporter("chat");
        ["letters", "delivered", "dead_lettered", "filtered"].map(|key| exporter[key].as_u64())
            == [Some(0), Some(0), Some(0), Some(6)]
    });
    assert_eq!(place.exporter("chat")["digests"]["stale"], 6);
    let shown = place.run(&["audit", "show", "--event", &id(0)], 0);
    assert!(shown.contains("chat: filtered, told of in a digest by a replay at"), "{shown}");
    place.run(&["cursor", "rewind", "chat", "--to", "earliest"], 0);
    let exporter = settled(&place, "chat", 6);
    assert_eq!((&exporter["filtered"], &exporter["digests"]["stale"]), (&6.into(), &12.into()));
    assert_eq!(chat.digests("usual"), [6, 6]);
    running.stop();
    place.run(&["audit", "verify"], 0);
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

/// What the cursor's file says.
fn saved(place: &Place) -> Checkpoint {
    let saved = Cursors::look(&place.path("state/log")).load("chat").expect("it is whole");
    saved.expect("it was saved")
}

/// Waits until nothing more is told of one by one since a rewind asked for that.
#[track_caller]
fn wait_unmarked(place: &Place) {
    wait_until("the mark is gone", || saved(place).alert_below == Offset::ZERO);
}

#[test]
fn a_rewind_that_is_to_alert_tells_of_each_event_up_to_the_head_that_it_met() {
    for chat in [Chat::slack(""), Chat::teams("")] {
        let (kind, url) = (chat.fake.report().vendor, chat.url("usual"));
        let keys = "max_age: 1m, from: earliest, rate_limit: {per_minute: 6000, burst: 100}";
        let (place, clock) = place(&kind, &url, keys);
        let running = place.start();
        place.append(&(0..6).map(|n| event(n, "leak", "high")).collect::<Vec<_>>());
        settled(&place, "chat", 6);
        assert_eq!(chat.told("usual"), (6, 0), "{:?}", chat.digests("usual"));
        clock.leap(61);
        // Without a word more they are told of together.
        place.run(&["cursor", "rewind", "chat", "--to", "earliest"], 0);
        let exporter = settled(&place, "chat", 6);
        assert_eq!(chat.told("usual"), (6, 6), "{:?}", chat.digests("usual"));
        assert_eq!((&exporter["delivered"], &exporter["filtered"]), (&0.into(), &6.into()));

        place.run(&["cursor", "rewind", "chat", "--to", "earliest", "--really-alert"], 0);
        let exporter = settled(&place, "chat", 6);
        assert_eq!(chat.told("usual"), (12, 6), "{exporter} {:?}", chat.digests("usual"));
        assert_eq!((&exporter["delivered"], &exporter["filtered"]), (&6.into(), &0.into()));
        wait_unmarked(&place);
        // What is done is written down with the next save.
        wait_until("both rewinds are written down", || {
            let audit = place.run(&["audit", "log"], 0);
            let rewinds = audit.lines().filter(|it| it.contains("rewind chat"));
            rewinds.map(|it| it.contains("--really-alert")).eq([false, true])
        });

        // The next one is as any other.
        place.run(&["cursor", "rewind", "chat", "--to", "earliest"], 0);
        settled(&place, "chat", 6);
        assert_eq!(chat.told("usual"), (12, 12), "{:?}", chat.digests("usual"));
        running.stop();
        chat.assert_in_order();
    }
}

#[test]
fn a_rewind_that_is_to_alert_is_remembered_through_kills() {
    let chat = Chat::slack("");
    let url = chat.url("usual");
    // Critical ones wait for the rate, however long that takes.
    let keys = "max_age: 1m, from: latest, rate_limit: {per_minute: 600, burst: 1}";
    let (place, clock) = place("slack", &url, keys);
    place.append(&(0..100).map(|n| event(n, "leak", "critical")).collect::<Vec<_>>());
    let running = place.start();
    clock.leap(61);
    assert_eq!(chat.told("usual"), (0, 0));
    place.run(&["cursor", "rewind", "chat", "--to", "earliest", "--really-alert"], 0);
    wait_until("some are settled", || saved(&place).counts.delivered > 10);
    running.kill();
    assert!(saved(&place).alert_below > Offset::ZERO);
    // What comes later is as old as that when it is read, and is judged as always.
    place.append(&(100..103).map(|n| event(n, "leak", "critical")).collect::<Vec<_>>());
    clock.leap(61);
    let running = place.start();
    let before = place.exporter("chat")["delivered"].as_u64();
    assert!(before > Some(10), "it went on where it was: {before:?}");
    wait_until("more are settled", || place.exporter("chat")["delivered"].as_u64() > Some(40));
    running.kill();
    let running = place.start();
    let exporter = settled(&place, "chat", 103);
    assert_eq!((&exporter["delivered"], &exporter["filtered"]), (&100.into(), &3.into()));
    assert_eq!(chat.digests("usual"), [3]);
    let said = chat.bodies("usual");
    let untold: Vec<u64> = (0..100)
        .filter(|n| !said.iter().any(|body| body.contains(&format!("/srv/{n}/.env"))))
        .collect();
    assert!(untold.is_empty(), "{untold:?}");
    wait_unmarked(&place);
    running.stop();
    chat.assert_in_order();
}

#[test]
fn a_rewind_that_is_to_alert_may_be_asked_for_while_nothing_runs() {
    let chat = Chat::slack("");
    let url = chat.url("usual");
    let keys = "max_age: 1m, rate_limit: {per_minute: 6000, burst: 100}";
    let (place, clock) = place("slack", &url, keys);
    place.append(&(0..6).map(|n| event(n, "leak", "high")).collect::<Vec<_>>());
    clock.leap(61);
    place.run(&["cursor", "rewind", "chat", "--to", "earliest", "--really-alert"], 0);
    let cursor = place.run(&["cursor", "show", "chat", "--json"], 0);
    let cursor: serde_json::Value = serde_json::from_str(&cursor).expect("JSON");
    assert_eq!(cursor[0]["alert_below"], cursor[0]["head"], "{cursor}");
    let running = place.start();
    settled(&place, "chat", 6);
    assert_eq!(chat.told("usual"), (6, 0), "{:?}", chat.digests("usual"));
    wait_unmarked(&place);
    let audit = place.run(&["audit", "log"], 0);
    assert!(audit.contains("--really-alert"), "{audit}");
    running.stop();
    chat.assert_in_order();
}
