//! Threads: one root a session and channel, replies to it, and what makes a new one.

use std::collections::BTreeMap;

use loadgen::fake::{Post, Posts};
use serde_json::Value;

use crate::binary::wait_until;
use crate::event::{self, event};
use crate::fake::assert_in_order;
use crate::place::Place;

/// All repeats are posted.
const THREADS: &str = "dedup_window_seconds: 0, threading: {enabled: true}";

/// A message: the number of its event, where, and that of the message it answers to.
type Shown = (u32, &'static str, Option<u32>);

/// The number of the event that a message is about.
#[track_caller]
fn number(post: &Post) -> u32 {
    event::number(&post.body)
}

#[track_caller]
fn shown(posts: &Posts) -> Vec<Shown> {
    let all = posts.all();
    let of = |ts: &String| all.iter().find(|post| post.ts == *ts).map(number);
    let channel = |post: &Post| ["C1", "C2"].into_iter().find(|it| *it == post.channel);
    let shown = |post: &Post| {
        let answers = post.thread_ts.as_ref().and_then(of);
        (number(post), channel(post).expect("a channel of ours"), answers)
    };
    all.iter().map(shown).collect()
}

/// The session of a message, which its context names.
fn session(post: &Post) -> String {
    let at = post.body.split("*Session:* ").nth(1);
    at.and_then(|rest| rest.split('"').next()).unwrap_or_default().to_owned()
}

#[test]
fn the_first_of_a_session_is_the_root_and_the_others_reply() {
    let place = Place::bot(THREADS, "");
    let running = place.start();
    place.append(&[
        event(1, "leak", "s-1", "high"),
        event(2, "leak", "s-2", "critical"),
        event(3, "egress", "s-1", "critical"),
        event(4, "leak", "s-2", "low"),
        // Nobody's: what opening writes there is no session.
        event(5, "leak", "", "high"),
        event(6, "leak", "", "high"),
    ]);
    place.settle();
    let mut found = shown(&place.slack.1);
    found.sort_unstable();
    let root = |number| (number, "C1", None);
    let reply = |number, to| (number, "C1", Some(to));
    assert_eq!(found, [root(1), root(2), reply(3, 1), reply(4, 2), root(5), root(6)]);
    let broadcast: Vec<u32> =
        place.slack.1.all().iter().filter(|post| post.is_broadcast).map(number).collect();
    assert_eq!(broadcast, [3], "a critical reply alone");
    let status = &place.exporters()[0]["threads"];
    assert_eq!((&status["known"], &status["begun"]), (&2.into(), &2.into()));
    assert_eq!((&status["replies"], &status["lost"]), (&2.into(), &0.into()));
    let said = place.run(&["status"], 0);
    assert!(said.contains("slack: 2 threads known, 2 begun in this run with 2 replies"), "{said}");
    place.stop(running);
}

#[test]
fn many_first_messages_at_once_make_one_root_in_the_order_of_the_log() {
    let place = Place::bot(THREADS, "latency 5ms..20ms");
    let events: Vec<Value> =
        (0..300).map(|n| event(n, "leak", &format!("s-{}", n / 50 % 5), "high")).collect();
    place.append(&events);
    // It ends by itself once none waits any more.
    place.run(&["run", "--drain"], 0);
    let posts = place.slack.1.all();
    assert_eq!(posts.len(), 300);
    let mut by_session: BTreeMap<String, Vec<&Post>> = BTreeMap::new();
    posts.iter().for_each(|post| by_session.entry(session(post)).or_default().push(post));
    assert_eq!(by_session.len(), 5);
    for (session, posts) in by_session {
        let numbers: Vec<u32> = posts.iter().map(|post| number(post)).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{session}: {numbers:?}");
        let (root, replies) = posts.split_first().expect("there are some");
        assert_eq!(root.thread_ts, None, "{session}");
        let is_reply = |post: &&Post| post.thread_ts.as_ref() == Some(&root.ts);
        assert!(replies.iter().all(is_reply), "{session}");
    }
    assert_in_order(&place.slack.2);
}

#[test]
fn threads_go_on_after_a_kill_and_each_channel_has_its_own() {
    let keys = format!("{THREADS}, routing: {{by_severity: {{critical: C2}}}}");
    let place = Place::bot(&keys, "");
    let running = place.start();
    place.append(&[event(1, "leak", "s-1", "high"), event(2, "leak", "s-1", "critical")]);
    place.settle();
    running.kill();
    let running = place.start();
    place.append(&[event(3, "leak", "s-1", "critical"), event(4, "leak", "s-1", "high")]);
    place.settle();
    running.kill();
    let running = place.start();
    place.append(&[event(5, "leak", "s-1", "high")]);
    place.settle();
    let mut found = shown(&place.slack.1);
    // What a killed process had posted and not noted stands there twice, in the thread.
    found.sort_unstable();
    found.dedup();
    found.retain(|it| *it != (1, "C1", Some(1)) && *it != (2, "C2", Some(2)));
    let expected = [
        (1, "C1", None),
        (2, "C2", None),
        (3, "C2", Some(2)),
        (4, "C1", Some(1)),
        (5, "C1", Some(1)),
    ];
    assert_eq!(found, expected);
    place.stop(running);
}

#[test]
fn threads_go_on_after_a_reload() {
    let place = Place::bot(THREADS, "");
    let running = place.start();
    place.append(&[event(1, "leak", "s-1", "high")]);
    place.settle();
    place.configure_bot(&format!("{THREADS}, formatting: {{detailed: false}}"));
    let said = place.run(&["reload"], 0);
    assert!(said.contains("slack"), "{said}");
    place.append(&[event(2, "leak", "s-1", "high")]);
    place.settle();
    assert_eq!(shown(&place.slack.1), [(1, "C1", None), (2, "C1", Some(1))]);
    place.stop(running);
}

#[test]
fn a_kill_in_the_midst_costs_one_root_more_at_most() {
    let place = Place::bot(THREADS, "latency 10ms..30ms");
    let events: Vec<Value> =
        (0..200).map(|n| event(n, "leak", &format!("s-{}", n % 40), "high")).collect();
    place.append(&events);
    for upto in [20, 60, 110] {
        let running = place.start();
        wait_until("some are posted", || place.slack.1.all().len() >= upto);
        running.kill();
    }
    let running = place.start();
    place.settle();
    let posts = place.slack.1.all();
    let mut roots: BTreeMap<String, usize> = BTreeMap::new();
    for post in posts.iter().filter(|post| post.thread_ts.is_none()) {
        *roots.entry(session(post)).or_default() += 1;
    }
    assert_eq!(roots.len(), 40);
    // Of each kill, the one root whose answer nobody heard.
    assert!(roots.values().sum::<usize>() <= 40 + 3, "{roots:?}");
    let mut numbers: Vec<u32> = posts.iter().map(number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers, (0..200).collect::<Vec<_>>());
    place.stop(running);
}

#[test]
fn a_root_that_was_deleted_makes_place_for_one_new_one() {
    let place = Place::bot(THREADS, "");
    let running = place.start();
    place.append(&[event(1, "leak", "s-1", "high"), event(2, "leak", "s-1", "high")]);
    place.settle();
    let root = place.slack.1.all()[0].ts.clone();
    place.slack.1.delete(&root);
    let events: Vec<Value> = (3..20).map(|n| event(n, "leak", "s-1", "high")).collect();
    place.append(&events);
    place.settle();
    let expected: Vec<Shown> = [(1, "C1", None), (2, "C1", Some(1)), (3, "C1", None)]
        .into_iter()
        .chain((4..20).map(|n| (n, "C1", Some(3))))
        .collect();
    assert_eq!(shown(&place.slack.1), expected);
    let status = place.exporters()[0].clone();
    assert_eq!((&status["threads"]["lost"], &status["dead_lettered"]), (&1.into(), &0.into()));
    place.stop(running);
}

#[test]
fn a_root_whose_answer_is_lost_is_posted_once_more_and_answered_to() {
    // Behind the request that asks how it is.
    let place = Place::bot(THREADS, "requests 1..2 lost");
    let running = place.start();
    wait_until("it was asked", || !place.exporters()[0]["health"].is_null());
    let events: Vec<Value> = (0..5).map(|n| event(n, "leak", "s-1", "high")).collect();
    place.append(&events);
    place.settle();
    let posts = place.slack.1.all();
    let roots: Vec<&Post> = posts.iter().filter(|post| post.thread_ts.is_none()).collect();
    assert_eq!(roots.iter().map(|post| number(post)).collect::<Vec<_>>(), [0, 0]);
    assert!(posts.iter().skip(2).all(|post| post.thread_ts.as_ref() == Some(&roots[1].ts)));
    assert_eq!(posts.len(), 6);
    place.stop(running);
}

#[test]
fn a_channel_that_is_held_keeps_its_sessions_and_no_others() {
    let keys = format!("{THREADS}, routing: {{by_severity: {{critical: C2}}}}");
    let place = Place::bot(&keys, "");
    place.slack.1.close("C2", Some("is_archived"));
    let running = place.start();
    let burst = |severity: &str, from: u32| -> Vec<Value> {
        (from..from + 30).map(|n| event(n, "leak", "s-1", severity)).collect()
    };
    place.append(&burst("critical", 0));
    place.append(&burst("high", 100));
    wait_until("the others are posted", || place.slack.1.all().len() == 30);
    assert!(place.exporters()[0]["pending"] == 30, "{:?}", place.exporters());
    assert_eq!(shown(&place.slack.1)[0], (100, "C1", None));
    place.slack.1.close("C2", None);
    place.settle();
    let found = shown(&place.slack.1);
    let held: Vec<Shown> = found.into_iter().filter(|it| it.1 == "C2").collect();
    let expected: Vec<Shown> =
        std::iter::once((0, "C2", None)).chain((1..30).map(|n| (n, "C2", Some(0)))).collect();
    assert_eq!(held, expected);
    place.stop(running);
}

#[test]
fn what_is_sent_as_text_or_replayed_replies_too() {
    let place = Place::bot(THREADS, "");
    let running = place.start();
    place.append(&[event(1, "leak", "s-1", "high")]);
    place.settle();
    // Text is refused too, so that it becomes a dead letter.
    place.slack.1.close("C1", Some("no_text"));
    place.append(&[event(2, "leak", "s-1", "high"), event(3, "leak", "s-2", "high")]);
    place.settle();
    place.slack.1.close("C1", None);
    place.append(&[event(4, "leak", "s-2", "high"), event(5, "leak", "s-1", "high")]);
    place.settle();
    place.run(&["dlq", "replay", "slack"], 0);
    wait_until("they are replayed", || place.slack.1.all().len() == 5);
    let mut found = shown(&place.slack.1);
    found.sort_unstable();
    let expected = [
        (1, "C1", None),
        (2, "C1", Some(1)),
        (3, "C1", Some(4)),
        (4, "C1", None),
        (5, "C1", Some(1)),
    ];
    assert_eq!(found, expected, "a refused root leaves the place to the next");
    place.settle();
    place.stop(running);
}

#[test]
fn a_thread_lasts_as_long_as_it_is_used() {
    let place =
        Place::bot("dedup_window_seconds: 0, threading: {enabled: true, ttl_minutes: 1}", "");
    let running = place.start();
    let after = |seconds: i64, number: u32| {
        place.clock.pass(seconds);
        place.append(&[event(number, "leak", "s-1", "high")]);
        place.settle();
    };
    after(0, 1);
    after(35, 2);
    after(35, 3);
    after(60, 4);
    let expected = [(1, "C1", None), (2, "C1", Some(1)), (3, "C1", Some(1)), (4, "C1", None)];
    assert_eq!(shown(&place.slack.1), expected);
    place.stop(running);
}
