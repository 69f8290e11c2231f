//! What repeats.

use loadgen::fake::Posts;

use crate::binary::wait_until;
use crate::event::{event, number};
use crate::place::Place;

/// The numbers of the events that were posted, and how many repeats each told.
#[track_caller]
fn posted(posts: &Posts) -> Vec<(u32, u64)> {
    let told = |body: &str| body.split("Repeated ").nth(1)?.split_once(" time")?.0.parse().ok();
    posts.all().iter().map(|post| (number(&post.body), told(&post.body).unwrap_or(0))).collect()
}

#[test]
fn repeats_are_counted_and_told_with_the_next_across_kills() {
    let place = Place::webhooks("dedup_window_seconds: 300");
    let running = place.start();
    let repeats: Vec<_> = (0..50).map(|n| event(n, "leak", "s-1", "high")).collect();
    place.append(&repeats);
    place.append(&[event(50, "leak", "s-2", "high"), event(51, "egress", "s-1", "high")]);
    place.settle();
    let left_out = |it: &serde_json::Value| it["alerts"]["deduplicated"].as_u64();
    assert!(place.exporters().iter().all(|it| left_out(it) == Some(49)));
    running.kill();
    // What is read again is counted once, and a worse one goes at once and tells of the others.
    let running = place.start();
    place.append(&[event(60, "leak", "s-1", "high"), event(61, "leak", "s-1", "critical")]);
    place.append(&[event(62, "leak", "s-1", "critical")]);
    place.settle();
    running.kill();
    let running = place.start();
    place.clock.pass(300);
    place.append(&[event(70, "leak", "s-1", "high")]);
    place.settle();
    for posts in [&place.slack.1, &place.teams.1] {
        let mut posted = posted(posts);
        posted.retain(|it| *it != (0, 0) && *it != (50, 0) && *it != (51, 0));
        // What a killed process had sent and not noted stands there twice, and says the same.
        posted.dedup();
        assert_eq!(posted, [(61, 50), (70, 1)]);
    }
    let status = place.run(&["status"], 0);
    assert!(status.contains(" repeats in this run"), "{status}");
    let metrics = place.run(&["status", "--json"], 0);
    assert!(metrics.contains("\"has_incidents\":false"), "{metrics}");
    place.stop(running);
}

#[test]
fn what_waits_for_a_held_channel_goes_after_a_reload_and_a_kill() {
    let place = Place::bot("dedup_window_seconds: 300", "");
    place.slack.1.close("C1", Some("channel_not_found"));
    let running = place.start();
    place.append(&[event(1, "leak", "s-1", "high"), event(2, "leak", "s-1", "high")]);
    let pending = || place.exporters()[0]["pending"].as_u64();
    wait_until("the repeat is left out", || pending() == Some(1));
    place.clock.pass(300);
    place.append(&[event(3, "leak", "s-1", "high")]);
    place.append(&[event(4, "leak", "s-1", "critical")]);
    wait_until("all but the repeat wait", || pending() == Some(3));
    wait_until("some are set aside", || place.exporters()[0]["parked"].as_u64() > Some(0));
    place.configure_bot("dedup_window_seconds: 300, identity: {username: reloaded}");
    place.run(&["reload"], 0);
    assert_eq!(pending(), Some(3));
    running.kill();
    let running = place.start();
    wait_until("they are read again", || pending() == Some(3));
    // A held channel is tried once a minute, and at every start.
    running.kill();
    place.slack.1.close("C1", None);
    let running = place.start();
    place.settle();
    let mut posted = posted(&place.slack.1);
    posted.dedup();
    assert_eq!(posted, [(1, 0), (3, 1), (4, 0)]);
    place.stop(running);
}

#[test]
fn without_a_window_all_are_posted() {
    let place = Place::webhooks("dedup_window_seconds: 0");
    let running = place.start();
    let repeats: Vec<_> = (0..20).map(|n| event(n, "leak", "s-1", "high")).collect();
    place.append(&repeats);
    place.settle();
    assert_eq!(posted(&place.slack.1), (0..20).map(|n| (n, 0)).collect::<Vec<_>>());
    assert_eq!(place.teams.1.all().len(), 20);
    place.stop(running);
}
