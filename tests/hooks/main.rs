//! Response hooks as operators have them: the binary, against something that is told to act.

#[path = "../support/binary.rs"]
mod binary;
#[path = "../support/event.rs"]
mod event;
#[path = "../support/fake.rs"]
mod fake;
mod receiver;
mod through;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::ops::Deref;
use std::time::{Duration, Instant};

use binary::{quiet, wait_until};
use event::id;
use receiver::Receiver;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use shrike::log::Cursors;

/// A place with hooks.
struct Place(binary::Place);

impl Deref for Place {
    type Target = binary::Place;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Place {
    /// Hooks, and a file that takes every event.
    fn new(hooks: &str) -> Self {
        let place = Self(binary::Place::new("").knowing("HOOK_KEY", SECRET));
        place.configure_hooks(hooks);
        place
    }

    fn configure_hooks(&self, hooks: &str) {
        let path = self.path("out.jsonl");
        let file = format!("  file: {{path: {}, format: native}}\n", path.display());
        self.configure(&quiet(&format!("{file}response_hooks:\n{hooks}")));
    }

    #[track_caller]
    fn append(&self, events: &[Event]) {
        let lines: String = events.iter().map(Event::line).collect();
        self.append_lines(&lines);
    }

    /// Waits until a count of a hook is so high.
    #[track_caller]
    fn wait_for(&self, name: &str, count: &str, wanted: u64) {
        wait_until(count, || self.exporter(name)["hook"][count].as_u64() >= Some(wanted));
    }

    /// Events in the file that takes all.
    fn written(&self) -> usize {
        std::fs::read_to_string(self.path("out.jsonl")).map_or(0, |text| text.lines().count())
    }
}

/// A critical event, or a lesser one.
struct Event {
    number: u32,
    session: &'static str,
    severity: &'static str,
}

impl Event {
    fn line(&self) -> String {
        let Self { number, session, severity } = self;
        format!(
            "{{\"schema_version\":\"1.0.0\",\"event_id\":\"{}\",\"event_type\":\"secret_detected\",\
             \"event_category\":\"network\",\"timestamp\":\"2026-02-06T09:00:00.125Z\",\
             \"agent\":{{\"id\":\"coder-01\",\"name\":\"hushd\",\"version\":\"0.1.0\",\
             \"type\":\"clawdstrike\"}},\"session\":{{\"id\":\"{session}\"}},\
             \"outcome\":\"failure\",\"action\":\"egress\",\"threat\":{{}},\
             \"decision\":{{\"allowed\":false,\"guard\":\"secret_leak\",\
             \"severity\":\"{severity}\",\"reason\":\"key AKIAIOSFODNN7EXAMPLE\"}},\
             \"resource\":{{\"type\":\"network\",\"name\":\"exfil.example\"}},\"metadata\":{{}},\
             \"labels\":{{}}}}\n",
            id(*number)
        )
    }
}

fn critical(number: u32, session: &'static str) -> Event {
    Event { number, session, severity: "critical" }
}

fn low(number: u32) -> Event {
    Event { number, session: "s-low", severity: "low" }
}

/// A hook that answers critical events, with these further keys.
fn hook(name: &str, receiver: &Receiver, keys: &str) -> String {
    let address = receiver.address;
    let params = if keys.contains("params:") {
        String::new()
    } else {
        format!(", params: {{url: 'http://{address}/act'}}")
    };
    format!(
        "  - {{name: {name}, when: \"severity == 'critical'\", action: webhook{params}, \
         rate_limit: {{requests_per_second: 1000, burst_size: 1000}}, \
         retry: {{initial_backoff_ms: 10, max_backoff_ms: 50}}{keys}}}\n"
    )
}

/// RFC 2104.
fn hmac(key: &str, text: &str) -> String {
    let pad = |with: u8| {
        let mut block = [with; 64];
        block.iter_mut().zip(key.bytes()).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    let outer = Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize();
    outer.iter().map(|byte| format!("{byte:02x}")).collect()
}

const SECRET: &str = "hook-k3y";

#[test]
fn an_action_says_what_happened_and_is_signed() {
    let receiver = Receiver::start(Some(204));
    let params = format!(
        ", params: {{url: 'http://{}/act?k={SECRET}', method: PUT, headers: {{X-Team: red}}, \
         payload: {{runbook: isolate, tries: 3, deep: {{on: true, list: [a, '5', null]}}}}, \
         auth: {{secret: \"${{HOOK_KEY}}\"}}}}, idempotency_key: '{{hook}}/{{session_id}}/{{guard}}'",
        receiver.address
    );
    let place = Place::new(&hook("isolate", &receiver, &params));
    let running = place.start();
    place.append(&[low(1), critical(2, "s \u{fc}%"), low(3)]);
    let asked = receiver.wait_for(1).remove(0);
    let body = asked.json();
    assert_eq!(asked.method, "PUT");
    assert_eq!(
        asked.key(),
        "isolate/s%20%C3%BC%25/secret_leak",
        "safe in a header, and unambiguous"
    );
    assert_eq!((&body["hook"], &body["event"]["event_id"]), (&"isolate".into(), &id(2).into()));
    let payload =
        "{\"deep\":{\"list\":[\"a\",\"5\",null],\"on\":true},\"runbook\":\"isolate\",\"tries\":3}";
    assert_eq!(body["response"].to_string(), payload);
    assert!(!asked.body.contains("AKIA"), "the event after privacy: {}", asked.body);
    let fired = body["fired_at"].as_str().expect("a time");
    assert!(fired.starts_with("20") && fired.ends_with('Z'), "{fired}");
    let keys: Vec<&str> = body.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(keys, ["event", "fired_at", "hook", "idempotency_key", "response"]);
    assert_eq!(asked.header("x-team"), "red");
    assert_eq!(asked.header("content-type"), "application/json");
    let signature = asked.header("x-shrike-signature");
    let (time, digest) = signature.split_once(",v1=").expect("two parts");
    let time = time.strip_prefix("t=").expect("a time");
    assert_eq!(digest, hmac(SECRET, &format!("{time}.{}", asked.body)));
    place.wait_for("isolate", "succeeded", 1);
    wait_until("all are written", || place.written() == 3);
    let status = place.exporter("isolate");
    assert_eq!((&status["delivered"], &status["filtered"]), (&1.into(), &2.into()), "{status}");
    let said = running.stop();
    assert_eq!(receiver.asked().len(), 1);
    assert!(!said.contains(SECRET), "{said}");
}

#[test]
fn a_cooldown_holds_across_kills() {
    let receiver = Receiver::start(Some(200));
    let keys = ", cooldown_seconds: 300, idempotency_key: '{hook}:{session_id}'";
    let place = Place::new(&hook("isolate", &receiver, keys));
    let running = place.start();
    place.append(&[critical(1, "a"), critical(2, "a"), critical(3, "b")]);
    receiver.wait_for(2);
    // Once a checkpoint covers them, only what was written down knows of the actions.
    let cursors = Cursors::look(&place.path("state/log"));
    let saved = || cursors.load("isolate").expect("it is replaced as a whole").unwrap_or_default();
    wait_until("the checkpoint covers all", || saved().counts.total() == 3);
    running.kill();
    assert_eq!(receiver.asked().len(), 2);
    let running = place.start();
    place.append(&[critical(4, "a"), critical(5, "c"), critical(6, "b")]);
    wait_until("the third session", || receiver.keys().contains(&"isolate:c".to_owned()));
    wait_until("all are read", || place.exporter("isolate")["pending"] == 0);
    running.stop();
    let events: Vec<String> = receiver
        .asked()
        .iter()
        .map(|it| it.json()["event"]["event_id"].as_str().expect("an id").to_owned())
        .collect();
    assert_eq!(events, [id(1), id(3), id(5)]);
}

#[test]
fn what_was_under_way_is_asked_for_again_with_its_key_and_bytes() {
    let receiver = Receiver::start(None);
    let keys = ", cooldown_seconds: 300, idempotency_key: '{hook}:{session_id}'";
    let place = Place::new(&hook("isolate", &receiver, keys));
    let running = place.start();
    place.append(&[critical(1, "a"), critical(2, "a")]);
    let first = receiver.wait_for(1).remove(0);
    running.kill();
    receiver.turn(Some(200));
    // Time passes, which bodies must not tell.
    let second = Instant::now() + Duration::from_millis(1100);
    wait_until("another second", || Instant::now() > second);
    let running = place.start();
    place.wait_for("isolate", "succeeded", 1);
    place.wait_for("isolate", "suppressed", 1);
    let asked = receiver.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[1].key(), first.key());
    assert_eq!(asked[1].body, first.body);
    running.stop();
}

#[test]
fn a_dry_run_sends_nothing_and_says_what_it_would() {
    let receiver = Receiver::start(Some(200));
    let keys = ", dry_run: true, cooldown_seconds: 300, idempotency_key: '{hook}:{session_id}'";
    let place = Place::new(&hook("isolate", &receiver, keys));
    let running = place.start();
    place.append(&[critical(1, "a"), critical(2, "a"), low(3), critical(4, "b")]);
    place.wait_for("isolate", "not_sent", 2);
    place.wait_for("isolate", "suppressed", 1);
    let status = place.exporter("isolate");
    assert_eq!((&status["filtered"], &status["requests"]), (&4.into(), &0.into()), "{status}");
    let refused = place.run(&["dlq", "replay", "isolate"], 1);
    assert!(refused.contains("nothing is sent while its `dry_run` is true"), "{refused}");
    // Once it is none, what was not done keeps nothing from being done.
    place.configure_hooks(&hook("isolate", &receiver, &keys.replace("dry_run: true, ", "")));
    place.run(&["reload"], 0);
    place.append(&[critical(5, "a")]);
    assert_eq!(receiver.wait_for(1)[0].key(), "isolate:a");
    let said = running.stop();
    let told: Vec<&str> = said.lines().filter(|line| line.contains("dry run")).collect();
    assert_eq!(told.len(), 2, "{said}");
    assert!(told[0].contains("isolate:a") && told[0].contains(&id(1)), "{}", told[0]);
}

#[test]
fn what_waited_too_long_causes_nothing() {
    let receiver = Receiver::start(Some(200));
    let place = Place::new(&hook("isolate", &receiver, ", max_age: 1s, from: earliest"));
    place.append(&[critical(1, "a"), critical(2, "b")]);
    let late = Instant::now() + Duration::from_millis(1100);
    wait_until("it is too late", || Instant::now() > late);
    let running = place.start();
    place.wait_for("isolate", "stale", 2);
    assert_eq!(place.exporter("isolate")["filtered"], 2);
    place.configure_hooks(&hook("isolate", &receiver, ""));
    place.run(&["reload"], 0);
    place.append(&[critical(3, "c")]);
    receiver.wait_for(1);
    running.stop();
    assert_eq!(receiver.keys(), [format!("isolate:{}", id(3))]);
}

#[test]
fn a_dead_hook_delays_nobody_and_its_actions_become_dead_letters() {
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = closed.local_addr().expect("it is bound");
    drop(closed);
    let receiver = Receiver::start(Some(200));
    let dead = format!(
        ", max_age: 8s, idempotency_key: '{{hook}}:{{session_id}}', \
         params: {{url: 'http://{address}/act'}}"
    );
    let hooks = hook("dead", &receiver, &dead) + &hook("live", &receiver, "");
    let place = Place::new(&hooks);
    let running = place.start();
    place.append(&[critical(1, "a"), low(2), critical(3, "b")]);
    receiver.wait_for(2);
    wait_until("the file has all", || place.written() == 3);
    assert_eq!(place.exporter("dead")["pending"], 2, "it is tried");
    place.wait_for("dead", "failed", 1);
    // The other one waited behind it; when its turn comes it is too old, or nearly.
    wait_until("both have met their end", || place.exporter("dead")["pending"] == 0);
    let listed = place.run(&["dlq", "list", "dead"], 0);
    assert!(listed.contains(&id(1)), "{listed}");
    // Somebody listens there again, and the letter is sent with the same key.
    place.configure_hooks(
        &(hook("dead", &receiver, ", idempotency_key: '{hook}:{session_id}'")
            + &hook("live", &receiver, "")),
    );
    place.run(&["reload"], 0);
    place.run(&["dlq", "replay", "dead"], 0);
    receiver.wait_for(3);
    assert!(receiver.keys().contains(&"dead:a".to_owned()));
    running.stop();
    place.run(&["audit", "verify"], 0);
}

#[test]
fn a_refused_action_is_a_dead_letter_and_the_next_one_goes_on() {
    let receiver = Receiver::start(Some(400));
    let place = Place::new(&hook("isolate", &receiver, ""));
    let running = place.start();
    place.append(&[critical(1, "a")]);
    place.wait_for("isolate", "failed", 1);
    receiver.turn(Some(202));
    place.append(&[critical(2, "a")]);
    place.wait_for("isolate", "succeeded", 1);
    let listed = place.run(&["dlq", "list", "isolate"], 0);
    assert!(listed.contains(&id(1)) && listed.contains("400"), "{listed}");
    running.stop_with(1);
}

#[test]
fn what_a_receiver_echoes_shows_no_secret() {
    let receiver = Receiver::start(Some(400));
    let keys = format!(
        ", params: {{url: 'http://{}/', headers: {{X-Key: in-a-header}}, \
         payload: {{deep: [\"a ${{HOOK_KEY}}\"], open: shown}}}}",
        receiver.address
    );
    let place = Place::new(&hook("isolate", &receiver, &keys));
    let running = place.start();
    place.append(&[critical(1, "a")]);
    place.wait_for("isolate", "failed", 1);
    assert_eq!(receiver.asked()[0].json()["response"]["deep"][0], format!("a {SECRET}"));
    let listed = place.run(&["dlq", "list", "isolate", "--json"], 0);
    assert!(listed.contains("shown"), "what is no secret is told: {listed}");
    let said = listed + &place.run(&["status"], 0) + &running.stop_with(1);
    for secret in ["in-a-header", SECRET] {
        assert!(!said.contains(secret), "{secret}: {said}");
    }
}

/// Whatever was under way: of one key there is one action, however often it is asked for.
#[test]
fn of_one_key_there_is_one_action_whenever_it_is_killed() {
    const SESSIONS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let receiver = Receiver::start(Some(200));
    let keys = ", cooldown_seconds: 3600, idempotency_key: '{hook}:{session_id}', from: earliest";
    let place = Place::new(&hook("isolate", &receiver, keys));
    let mut chance = fastrand::Rng::with_seed(fastrand::u64(..));
    println!("seed {}", chance.get_seed());
    let mut number = 0;
    for round in 0..8 {
        let running = place.start();
        let known = &SESSIONS[..=round];
        let events: Vec<Event> = (0..20)
            .map(|_| {
                number += 1;
                critical(number, known[chance.usize(..known.len())])
            })
            .collect();
        place.append(&events);
        // Between the first request and all of them.
        let until = Instant::now() + Duration::from_millis(chance.u64(..150));
        wait_until("a moment", || Instant::now() > until);
        running.kill();
    }
    let running = place.start();
    wait_until("all are read", || place.exporter("isolate")["pending"] == 0);
    let status = place.exporter("isolate");
    running.stop();
    let mut causes = BTreeMap::new();
    for asked in receiver.asked() {
        let event = asked.json()["event"]["event_id"].clone();
        let first =
            causes.entry(asked.key()).or_insert_with(|| (event.clone(), asked.body.clone()));
        assert_eq!(*first, (event, asked.body.clone()), "another action, or other bytes");
    }
    assert!(!causes.is_empty());
    let delivered = status["delivered"].as_u64().expect("a count");
    assert_eq!(delivered, causes.len() as u64, "{status}");
    assert_eq!(status["filtered"].as_u64(), Some(u64::from(number) - delivered), "{status}");
}

#[test]
fn a_slow_receiver_is_given_up_in_time_and_asked_again() {
    let receiver = Receiver::start(None);
    let place = Place::new(&hook("isolate", &receiver, ", timeout_ms: 150"));
    let running = place.start();
    place.append(&[critical(1, "a")]);
    receiver.wait_for(2);
    receiver.turn(Some(200));
    place.wait_for("isolate", "succeeded", 1);
    let asked = receiver.asked();
    assert!(asked.iter().all(|it| it.key() == asked[0].key() && it.body == asked[0].body));
    assert_eq!(asked[1].header("x-shrike-attempt"), "2");
    running.stop();
}

#[test]
fn actions_are_limited_to_their_rate() {
    let receiver = Receiver::start(Some(200));
    let keys = format!(
        "  - {{name: slow, when: default, action: webhook, params: {{url: 'http://{}/'}}, \
         rate_limit: {{requests_per_second: 2, burst_size: 2}}}}\n",
        receiver.address
    );
    let place = Place::new(&keys);
    let running = place.start();
    let events: Vec<Event> = (0..5).map(|number| critical(number, "a")).collect();
    place.append(&events);
    let asked = receiver.wait_for(5);
    // Two at once, then one every half second; the first may be noted late.
    let took = asked[4].at - asked[0].at;
    assert!(took >= Duration::from_millis(700), "{took:?}");
    let numbers: Vec<String> = (0..5).map(|number| format!("slow:{}", id(number))).collect();
    assert_eq!(receiver.keys(), numbers, "in the log's order");
    running.stop();
}

#[test]
fn a_reload_changes_hooks_and_keeps_what_they_know() {
    let (one, two) = (Receiver::start(Some(200)), Receiver::start(Some(200)));
    let keys = ", cooldown_seconds: 300, idempotency_key: '{hook}:{session_id}'";
    let place = Place::new(&hook("isolate", &one, keys));
    let running = place.start();
    place.append(&[critical(1, "a")]);
    one.wait_for(1);
    place.configure_hooks(&(hook("isolate", &two, keys) + &hook("page", &two, "")));
    let told = place.run(&["reload"], 0);
    assert!(told.contains("isolate") && told.contains("page"), "{told}");
    place.append(&[critical(2, "a"), critical(3, "b")]);
    wait_until("both act", || two.asked().len() == 3);
    let mut keys = two.keys();
    keys.sort();
    let (second, third) = (format!("page:{}", id(2)), format!("page:{}", id(3)));
    assert_eq!(keys, ["isolate:b".to_owned(), second, third], "the cooldown of `a` holds");
    place.configure_hooks(&hook("page", &two, ""));
    place.run(&["reload"], 0);
    place.append(&[critical(4, "c")]);
    two.wait_for(4);
    running.stop();
    assert_eq!((one.asked().len(), two.asked().len()), (1, 4));
}

/// A gap record tells destinations what they miss; here it would be an action nobody asked for.
#[test]
fn what_a_hook_misses_is_counted_and_causes_no_action() {
    let receiver = Receiver::start(Some(503));
    let keys = ", lag_max_bytes: 1MiB, circuit_breaker: {open_ms: 500}";
    let place = Place::new(&hook("isolate", &receiver, keys));
    let running = place.start();
    place.append(&[critical(0, "a")]);
    receiver.wait_for(1);
    let many: Vec<Event> = (1..4000).map(low).collect();
    place.append(&many);
    let skipped = || place.exporter("isolate")["skipped"].as_u64();
    wait_until("the first is given up", || skipped() > Some(0));
    let told = "events were lost: none of them caused an action";
    wait_until("that is told", || running.said().contains(told));
    receiver.turn(Some(200));
    place.append(&[critical(4000, "b")]);
    place.wait_for("isolate", "succeeded", 1);
    wait_until("nothing is left to tell", || place.exporter("isolate")["gaps"] == 0);
    let keys = receiver.keys();
    assert_eq!(keys.last(), Some(&format!("isolate:{}", id(4000))));
    assert!(receiver.asked().iter().all(|it| !it.body.contains("export_gap")), "{keys:?}");
    running.stop_with(1);
}

#[test]
fn commands_know_hooks_by_name() {
    let receiver = Receiver::start(Some(200));
    let keys = format!(
        ", params: {{url: 'http://{}/{SECRET}', headers: {{X-Key: {SECRET}}}, \
         payload: {{runbook: isolate, key: \"${{HOOK_KEY}}\"}}}}",
        receiver.address
    );
    let place = Place::new(&hook("isolate", &receiver, &keys));
    let checked = place.run(&["check"], 0);
    assert!(checked.contains("exporter isolate: hook, format native"), "{checked}");
    let connected = place.run(&["check", "--connect"], 0);
    assert!(connected.contains("exporter isolate: nothing to ask"), "{connected}");
    assert_eq!(receiver.asked().len(), 0, "asking is an action");
    let shown = place.run(&["config", "show"], 0);
    assert!(shown.contains("url: \"***\"") && shown.contains("payload: \"***\""), "{shown}");
    assert!(!shown.contains(SECRET), "{shown}");
    let events = low(1).line() + &critical(2, "a").line() + &critical(3, "b").line();
    let rendered = place.run_with(&["render", "isolate"], &events, 0);
    let bodies = rendered.lines().filter(|line| line.starts_with('{'));
    let keys: Vec<String> = bodies
        .map(|line| serde_json::from_str::<Value>(line).expect("each body is JSON"))
        .map(|body| body["idempotency_key"].as_str().expect("a key").to_owned())
        .collect();
    assert_eq!(keys, [format!("isolate:{}", id(2)), format!("isolate:{}", id(3))], "{rendered}");
    assert!(rendered.contains("\"key\":\"***\"") && !rendered.contains(SECRET), "{rendered}");
    let running = place.start();
    place.append(&[critical(2, "a")]);
    receiver.wait_for(1);
    place.wait_for("isolate", "succeeded", 1);
    let status = place.run(&["status"], 0);
    assert!(status.contains("isolate: a hook: fired 1, 1 succeeded, 0 failed"), "{status}");
    assert!(place.run(&["cursor", "show", "isolate"], 0).contains("isolate"));
    let told = place.run(&["audit", "show", "--event", &id(2)], 0);
    assert!(told.contains("isolate"), "{told}");
    // A rewind reads again what was asked for a moment ago: the keys are the same.
    place.run(&["cursor", "rewind", "isolate", "--to", "earliest"], 0);
    let asked = receiver.wait_for(2);
    assert_eq!(asked[0].key(), asked[1].key());
    // On nothing old, whoever wishes it, and whether it runs or not.
    let really = &["cursor", "rewind", "isolate", "--to", "earliest", "--really-alert"];
    let while_it_runs = place.run(really, 1);
    running.stop();
    for refused in [while_it_runs, place.run(really, 1)] {
        assert!(refused.contains("exporter isolate: it is a response hook"), "{refused}");
    }
    let refused = place.run(&["test", "isolate", "--from", "1h", "--to", "http://127.0.0.1:1"], 2);
    assert!(refused.contains("is a response hook"), "{refused}");
}
