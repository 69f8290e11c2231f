//! Incidents of alerting exporters on the binary: repeats are left out and counted, worse ones and
//! those behind the window go, what is quiet is resolved by the key that opened it, and a kill
//! changes none of that; against strict fakes that know what is open.

#[path = "../support/binary.rs"]
mod binary;
mod changes;
#[path = "../support/event.rs"]
mod event;
#[path = "../support/fake.rs"]
mod fake;
mod verify;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::ops::Deref;
use std::sync::Arc;
use std::thread;

use binary::{Clock, Running, quiet, wait_until};
use event::event;
use fake::{assert_in_order, started};
use loadgen::account::Book;
use loadgen::fake::{
    Alerts, Changes, Fake, Incident, Incidents, Opsgenie, PagerDuty, Requests, Vendor,
};
use serde_json::{Value, json};
use shrike::log::Cursors;

const KEY: &str = "0123456789abcdef0123456789abcdef";
const LEAKS: &str = "fedcba9876543210fedcba9876543210";

/// A place, and what it sends to.
struct Place {
    place: binary::Place,
    clock: Clock,
    pager: (Fake, Incidents, Arc<Book>),
    genie: (Fake, Alerts, Arc<Book>),
    requests: Requests,
    changes: Changes,
}

impl Deref for Place {
    type Target = binary::Place;

    fn deref(&self) -> &Self::Target {
        &self.place
    }
}

impl Place {
    /// Both vendors with the same keys of their incidents.
    fn new(keys: &str) -> Self {
        Self::with(keys, "")
    }

    /// The same, where the vendors do what a script says.
    fn with(keys: &str, script: &str) -> Self {
        Self::of(keys, "", script)
    }

    /// The same, with further keys of Opsgenie.
    fn of(keys: &str, genie_keys: &str, script: &str) -> Self {
        let (pager_book, genie_book) =
            (Arc::new(Book::new("pagerduty")), Arc::new(Book::new("opsgenie")));
        let pager = PagerDuty::new(Arc::clone(&pager_book), vec![KEY.into(), LEAKS.into()]);
        let genie = Opsgenie::new(Arc::clone(&genie_book), Some("k3y".to_owned()));
        let (incidents, alerts) = (pager.incidents(), genie.alerts());
        let (requests, changes) = (genie.requests(), pager.changes());
        let pager = (started(Vendor::PagerDuty(pager), &pager_book, script), incidents, pager_book);
        let genie = (started(Vendor::Opsgenie(genie), &genie_book, script), alerts, genie_book);
        let config = quiet(&format!(
            "  pagerduty: {{api_endpoint: 'http://{}', routing_key: {KEY}, \
             routing: {{by_guard: {{leak: {LEAKS}}}}}, {keys}}}\n  \
             opsgenie: {{api_endpoint: 'http://{}', api_key: k3y, flavor: jsm, \
             {genie_keys}{keys}}}\n",
            pager.0.addr(),
            genie.0.addr(),
        ));
        let (place, clock) = binary::Place::new(&config).timed();
        Self { place, clock, pager, genie, requests, changes }
    }

    /// An open incident as `shrike alerts list` prints it.
    #[track_caller]
    fn listed(&self, exporter: &str, key: &str) -> Value {
        let said = self.run(&["alerts", "list", exporter, key, "--json"], 0);
        let list: Value = serde_json::from_str(&said).expect("it is JSON");
        assert_eq!(list["open"], 1, "{said}");
        list["alerts"][0].clone()
    }

    /// Waits until both have the incident of a guard and a session, and know that.
    #[track_caller]
    fn wait_open(&self, place: &str, guard: &str, session: &str) {
        let (incident, alert) =
            ((place.to_owned(), format!("{guard}:{session}")), alias(guard, session));
        wait_until("both are open", || {
            self.pager.1.all().get(&incident).is_some_and(|it| it.is_open)
                && self.genie.1.all().get(&alert).is_some_and(|it| it.is_open)
                && self.exporters().iter().all(|it| it["pending"] == 0)
        });
    }

    /// Lets both vendors play another script.
    fn play(&self, script: &str) {
        for fake in [&self.pager.0, &self.genie.0] {
            fake.play(script).expect("the script is right");
        }
    }

    /// Waits until nothing waits any more.
    #[track_caller]
    fn settle(&self) {
        wait_until("all is settled", || self.exporters().iter().all(|it| it["pending"] == 0));
    }

    /// Waits until a count of both exporters is so high.
    #[track_caller]
    fn wait_for(&self, of: &str, count: &str, wanted: u64) {
        let is_there = |it: &Value| it[of][count].as_u64() >= Some(wanted);
        wait_until(count, || self.exporters().iter().all(is_there));
    }

    /// An incident and the alert that is the same elsewhere.
    #[track_caller]
    fn both(&self, key: &str, guard: &str, session: &str) -> (Incident, loadgen::fake::Alert) {
        let incident = self.pager.1.all().remove(&(key.to_owned(), format!("{guard}:{session}")));
        let alert = self.genie.1.all().remove(&format!("clawdstrike-{guard}-{session}"));
        (incident.expect("an incident"), alert.expect("an alert"))
    }

    /// Waits until the chain of receipts says all of this.
    #[track_caller]
    fn wait_audit(&self, words: &[&str]) {
        wait_until("it is audited", || {
            let said = self.run(&["audit", "log"], 0);
            words.iter().all(|word| said.contains(word))
        });
    }

    /// Stops it in order, where the books of both vendors are in order too.
    #[track_caller]
    fn stop(&self, running: Running) {
        running.stop();
        assert_in_order(&self.pager.2);
        assert_in_order(&self.genie.2);
    }
}

fn alias(guard: &str, session: &str) -> String {
    format!("clawdstrike-{guard}-{session}")
}

#[test]
fn repeats_are_left_out_across_kills_and_worse_ones_go() {
    let place = Place::new("auto_resolve: {enabled: false}");
    let running = place.start();
    let repeats: Vec<Value> = (0..50).map(|n| event(n, "leak", "s-1", "high")).collect();
    place.append(&repeats);
    place.wait_for("alerts", "deduplicated", 49);
    running.kill();
    let running = place.start();
    place.append(&[event(60, "leak", "s-1", "high"), event(61, "leak", "s-2", "high")]);
    place.append(&[event(62, "leak", "s-1", "critical"), event(63, "leak", "s-1", "critical")]);
    // Whatever was read again: 52 of the first session and one of the second.
    wait_until("all is settled", || {
        place.exporters().iter().all(|it| it["pending"] == 0 && it["alerts"]["open"] == 2)
    });
    let (incident, alert) = place.both(LEAKS, "leak", "s-1");
    assert_eq!((incident.opened, incident.severity.as_str()), (1, "critical"));
    assert_eq!((alert.opened, alert.priority.as_str()), (1, "P1"));
    // The how manieth event of its incident it was, each counted once.
    assert_eq!((incident.repeat_count, alert.repeat_count.as_str()), (52.0, "52"));
    assert!((2..=3).contains(&incident.triggers), "{incident:?}");
    let (second, _) = place.both(LEAKS, "leak", "s-2");
    assert_eq!((second.triggers, second.repeat_count), (1, 0.0));
    let metrics = place.run(&["status"], 0);
    assert!(metrics.contains("2 incidents open"), "{metrics}");
    place.stop(running);
}

#[test]
fn what_is_quiet_is_resolved_by_the_key_that_opened_it_after_a_kill_too() {
    let place = Place::new("auto_resolve: {after_minutes: 2}");
    let running = place.start();
    place.append(&[event(1, "leak", "s/1 é", "high"), event(2, "egress", "s-2", "high")]);
    wait_until("both are open", || {
        place.pager.1.all().len() == 2 && place.genie.1.all().len() == 2
    });
    running.kill();
    place.clock.pass(60);
    let running = place.start();
    place.append(&[event(3, "egress", "s-2", "high")]);
    place.settle();
    let none = |it: &Value| it["alerts"]["resolved"] == 0;
    assert!(place.exporters().iter().all(none), "{:?}", place.exporters());
    place.clock.pass(60);
    place.wait_for("alerts", "resolved", 1);
    let (leak, leak_alert) = place.both(LEAKS, "leak", "s/1 é");
    assert_eq!((leak.opened, leak.resolved, leak.is_open), (1, 1, false));
    assert_eq!((leak_alert.opened, leak_alert.is_open), (1, false));
    // It lasts: the last event counts, not the first.
    let (egress, egress_alert) = place.both(KEY, "egress", "s-2");
    assert!(egress.is_open && egress_alert.is_open, "{egress:?} {egress_alert:?}");
    running.kill();
    // What was resolved is forgotten, what is open is not; a new one opens it anew.
    let running = place.start();
    place.append(&[event(4, "leak", "s/1 é", "high")]);
    wait_until("it is open again", || place.both(LEAKS, "leak", "s/1 é").0.is_open);
    place.settle();
    place.clock.pass(60);
    place.wait_for("alerts", "resolved", 1);
    assert!(!place.both(KEY, "egress", "s-2").0.is_open);
    let (leak, _) = place.both(LEAKS, "leak", "s/1 é");
    assert_eq!((leak.opened, leak.is_open), (2, true));
    place.stop(running);
}

#[test]
fn a_clock_that_is_set_resolves_nothing_and_calls_nobody_again() {
    let place = Place::new("auto_resolve: {after_minutes: 2}");
    let running = place.start();
    place.append(&[event(1, "leak", "s-1", "high")]);
    place.wait_open(LEAKS, "leak", "s-1");
    // Past the first minute, in which nothing is resolved.
    place.clock.pass(61);
    let mut number = 1;
    for hours in [10, -20, 5] {
        place.clock.leap(hours * 3600);
        // Two turns of the lane at least.
        for _ in 0..2 {
            number += 1;
            place.append(&[event(number, "leak", "s-1", "high")]);
            place.wait_for("alerts", "deduplicated", u64::from(number) - 1);
        }
        assert!(place.exporters().iter().all(|it| it["alerts"]["resolved"] == 0), "{hours}");
    }
    let (incident, alert) = place.both(LEAKS, "leak", "s-1");
    assert_eq!((incident.opened, incident.triggers, alert.opened), (1, 1, 1));
    place.clock.pass(120);
    place.wait_for("alerts", "resolved", 1);
    place.stop(running);
}

#[test]
fn what_went_on_while_shrike_was_down_is_not_taken_for_quiet() {
    let place = Place::new("auto_resolve: {after_minutes: 1}");
    let running = place.start();
    place.append(&[event(1, "leak", "s-1", "high"), event(2, "leak", "s-2", "high")]);
    place.wait_open(LEAKS, "leak", "s-1");
    place.wait_open(LEAKS, "leak", "s-2");
    running.kill();
    place.clock.pass(3600);
    let running = place.start();
    // Its source was read a little later.
    wait_until("it has looked", || place.exporters().iter().all(|it| it["pending"] == 0));
    place.append(&[event(3, "leak", "s-1", "high")]);
    place.settle();
    let (incident, alert) = place.both(LEAKS, "leak", "s-1");
    assert_eq!((incident.opened, incident.resolved, alert.opened), (1, 0, 1));
    place.clock.pass(59);
    place.append(&[event(4, "leak", "s-1", "high")]);
    place.clock.pass(2);
    place.wait_for("alerts", "resolved", 1);
    assert!(place.both(LEAKS, "leak", "s-1").0.is_open, "it goes on");
    assert!(!place.both(LEAKS, "leak", "s-2").0.is_open, "it was quiet");
    place.stop(running);
}

#[test]
fn incidents_that_letters_open_are_known_and_resolved() {
    let place = Place::with("auto_resolve: {after_minutes: 1}", "status 422");
    let running = place.start();
    place.append(&[event(1, "leak", "s-1", "high"), event(2, "leak", "s-2", "high")]);
    wait_until("both are letters", || place.exporters().iter().all(|it| it["dead_lettered"] == 2));
    place.play("");
    place.clock.pass(61);
    // What never opened is let go.
    place.wait_for("alerts", "resolved", 2);
    assert!(place.exporters().iter().all(|it| it["alerts"]["open"] == 0));
    for exporter in ["pagerduty", "opsgenie"] {
        place.run(&["dlq", "replay", exporter], 0);
    }
    place.wait_for("alerts", "open", 2);
    place.wait_open(LEAKS, "leak", "s-2");
    let key = alias("leak", "s-2");
    place.run(&["alerts", "resolve", "opsgenie", &key], 0);
    assert!(!place.genie.1.all()[&key].is_open);
    running.kill();
    let running = place.start();
    place.settle();
    place.clock.pass(61);
    let is_over = |it: &Value| it["alerts"]["open"] == 0;
    wait_until("all are resolved", || place.exporters().iter().all(is_over));
    let (incident, alert) = place.both(LEAKS, "leak", "s-1");
    assert_eq!((incident.opened, incident.is_open, alert.is_open), (1, false, false));
    running.stop();
    // Opsgenie was asked to close what it had refused, which it says.
    assert_in_order(&place.pager.2);
}

#[test]
fn a_held_key_keeps_no_incident_of_another_from_being_resolved() {
    let place = Place::new("auto_resolve: {after_minutes: 1}");
    let routes = format!("{{leak: {LEAKS}, bad: {}}}", "b".repeat(32));
    place.edit(&format!("{{leak: {LEAKS}}}"), &routes);
    let running = place.start();
    // Of those that nobody takes, more than are looked at in one go, one is tried again and all
    // others are set aside.
    let refused: Vec<Value> =
        (0..1500).map(|n| event(n, "bad", &format!("s-{n}"), "high")).collect();
    place.append(&refused);
    place.append(&[event(1500, "leak", "s-1", "high")]);
    wait_until("they are set aside", || place.exporter("pagerduty")["parked"] == 1499);
    assert!(place.both(LEAKS, "leak", "s-1").0.is_open);
    place.clock.pass(60);
    place.wait_for("alerts", "resolved", 1);
    wait_until("it is resolved", || !place.both(LEAKS, "leak", "s-1").0.is_open);
    assert_eq!(place.exporter("pagerduty")["pending"], 1500);
    running.kill();
}

#[test]
fn what_cannot_be_resolved_now_is_tried_again() {
    let place = Place::new("auto_resolve: {after_minutes: 1}");
    let running = place.start();
    place.append(&[event(1, "leak", "s-1", "high")]);
    place.wait_open(LEAKS, "leak", "s-1");
    place.play("status 503");
    place.clock.pass(60);
    place.wait_for("alerts", "resolve_failed", 1);
    assert!(place.both(LEAKS, "leak", "s-1").0.is_open);
    place.play("");
    place.wait_for("alerts", "resolved", 1);
    let (incident, alert) = place.both(LEAKS, "leak", "s-1");
    assert_eq!((incident.opened, incident.resolved, incident.is_open), (1, 1, false));
    assert!(!alert.is_open, "{alert:?}");
    place.stop(running);
}

#[test]
fn people_acknowledge_and_resolve_and_a_kill_changes_none_of_it() {
    let place = Place::new("auto_resolve: {enabled: false}");
    let running = place.start();
    place.append(&[event(1, "leak", "s/1 \u{e9}", "high"), event(2, "egress", "s-2", "high")]);
    place.wait_open(LEAKS, "leak", "s/1 \u{e9}");
    place.wait_open(KEY, "egress", "s-2");
    let (key, alias) = ("leak:s/1 \u{e9}", alias("leak", "s/1 \u{e9}"));
    assert_eq!(
        place.run(&["alerts", "ack", "pagerduty", key], 0),
        format!("{key}: acknowledged\n")
    );
    place.run(&["alerts", "ack", "opsgenie", &alias], 0);
    // By the routing key that opened it; the other one is left alone.
    let (incident, alert) = place.both(LEAKS, "leak", "s/1 \u{e9}");
    assert_eq!((incident.acknowledged, incident.is_acknowledged), (1, true));
    assert!(alert.is_acknowledged, "{alert:?}");
    let (other, other_alert) = place.both(KEY, "egress", "s-2");
    assert!(!other.is_acknowledged && !other_alert.is_acknowledged);
    // Repeats count as before, and what is worse goes.
    place.append(&[event(3, "leak", "s/1 \u{e9}", "high")]);
    place.append(&[event(4, "leak", "s/1 \u{e9}", "critical")]);
    wait_until("the worse one is there", || {
        place.both(LEAKS, "leak", "s/1 \u{e9}").0.triggers == 2
    });
    running.kill();
    let running = place.start();
    for (exporter, key) in [("pagerduty", key), ("opsgenie", &alias)] {
        let found = place.listed(exporter, key);
        let told = (&found["status"], &found["count"], &found["severity"]);
        assert_eq!(told, (&json!("acked"), &json!(3), &json!("critical")));
        assert_eq!(
            place.run(&["alerts", "resolve", exporter, key], 0),
            format!("{key}: resolved\n")
        );
    }
    let (incident, alert) = place.both(LEAKS, "leak", "s/1 \u{e9}");
    assert!(!incident.is_open && !alert.is_open, "{incident:?} {alert:?}");
    // What comes then opens it anew, and nobody looks after that.
    place.append(&[event(5, "leak", "s/1 \u{e9}", "high")]);
    place.wait_open(LEAKS, "leak", "s/1 \u{e9}");
    assert_eq!(place.listed("pagerduty", key)["status"], "open");
    assert!(!place.both(LEAKS, "leak", "s/1 \u{e9}").0.is_acknowledged);
    let problems = place.run(&["alerts", "ack", "pagerduty", "leak:s-9"], 1);
    assert!(problems.contains("no incident with this key is open at pagerduty"), "{problems}");
    let key = format!("incident {key}: done");
    place.wait_audit(&["alert_ack", &key, "alert_resolve", "none is open"]);
    place.stop(running);
}

#[test]
fn an_acknowledgement_that_fails_is_told_and_not_tried_again() {
    let place = Place::with("auto_resolve: {enabled: false}", "on acknowledge status 503");
    let running = place.start();
    place.append(&[event(1, "leak", "s-1", "high")]);
    place.wait_open(LEAKS, "leak", "s-1");
    let alias = alias("leak", "s-1");
    let problems = place.run(&["alerts", "ack", "opsgenie", &alias], 1);
    assert!(problems.contains("not tried again: unavailable (status 503)"), "{problems}");
    let requests = || place.exporter("opsgenie")["requests"].clone();
    let before = requests();
    assert_eq!(place.listed("opsgenie", &alias)["status"], "open");
    // Else the event itself is sent once more.
    let cursors = Cursors::look(&place.path("state/log"));
    let saved = || cursors.load("opsgenie").expect("it is replaced as a whole").unwrap_or_default();
    wait_until("the checkpoint covers it", || saved().counts.total() == 1);
    running.kill();
    let running = place.start();
    place.append(&[event(2, "leak", "s-1", "high")]);
    wait_until("it is read", || place.listed("opsgenie", &alias)["count"] == 2);
    assert_eq!((before, requests()), (json!(2), json!(0)));
    assert!(!place.genie.1.all()[&alias].is_acknowledged);
    place.stop(running);
}

#[test]
fn an_acknowledgement_that_a_kill_interrupts_is_asked_for_once_more() {
    let place = Place::with("auto_resolve: {enabled: false}", "on acknowledge latency 4s");
    let running = place.start();
    place.append(&[event(1, "leak", "s-1", "high")]);
    place.wait_open(LEAKS, "leak", "s-1");
    let (alias, table) = (alias("leak", "s-1"), place.path("state/alerts/opsgenie"));
    let length = || std::fs::metadata(&table).expect("it is there").len();
    let before = length();
    thread::scope(|scope| {
        let asking = scope.spawn(|| place.run(&["alerts", "ack", "opsgenie", &alias], 1));
        wait_until("it is written down", || length() > before);
        running.kill();
        asking.join().expect("it ends and fails");
    });
    let running = place.start();
    wait_until("it is asked for", || place.listed("opsgenie", &alias)["status"] == "acked");
    assert!(place.genie.1.all()[&alias].is_acknowledged);
    place.stop(running);
}

#[test]
fn the_admin_api_lists_acknowledges_and_resolves() {
    let place = Place::new("auto_resolve: {enabled: false}");
    let (viewer, operator) = ("viewer-0123456789abcdef", "operator-0123456789abcdef");
    let more = format!(
        "  s3less: {{type: stdout}}\nadmin: {{listen: '127.0.0.1:0', tokens: [{{name: eye, token: {viewer}, role: viewer}}, \
         {{name: hand, token: {operator}, role: operator}}]}}\n"
    );
    place.configure(&(place.configuration() + &more));
    let running = place.start();
    place.append(&[event(1, "leak", "s/1 \u{e9}", "high")]);
    place.wait_open(LEAKS, "leak", "s/1 \u{e9}");
    let ask = |method: &str, path: &str, token: &str| {
        let said = running.said();
        let address = said.split("\"address\":\"").nth(1).or_else(|| said.split("address=").nth(1));
        let address =
            address.and_then(|it| it.split(['"', ' ', '\n']).next()).expect("it is shown");
        let mut stream = TcpStream::connect(address).expect("it listens");
        let request = format!(
            "{method} /api/v1/exporters/{path} HTTP/1.1\r\nhost: x\r\n\
             authorization: Bearer {token}\r\ncontent-length: 0\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        (head[9..12].parse::<u16>().expect("a status"), body.to_owned())
    };
    let (status, body) = ask("GET", "pagerduty/alerts", viewer);
    assert_eq!(status, 200, "{body}");
    let list: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(list["alerts"][0]["key"], "leak:s/1 \u{e9}");
    let key = "leak:s%2F1%20%c3%a9";
    assert_eq!(ask("POST", &format!("pagerduty/alerts/{key}/ack"), viewer).0, 403);
    let (status, body) = ask("POST", &format!("pagerduty/alerts/{key}/ack"), operator);
    assert_eq!((status, body.as_str()), (200, "{\"incidents\":1}\n"));
    assert!(place.both(LEAKS, "leak", "s/1 \u{e9}").0.is_acknowledged);
    assert_eq!(place.listed("pagerduty", "")["status"], "acked");
    let (status, body) = ask("POST", "pagerduty/alerts/leak:s-9/ack", operator);
    assert_eq!(status, 404, "{body}");
    assert!(body.contains("no incident with this key is open"), "{body}");
    assert_eq!(ask("POST", &format!("nobody/alerts/{key}/ack"), operator).0, 404);
    assert_eq!(ask("POST", "pagerduty/alerts/%ff/ack", operator).0, 400);
    assert_eq!(ask("GET", &format!("pagerduty/alerts/{key}/ack"), operator).0, 405);
    let (status, body) = ask("POST", &format!("s3less/alerts/{key}/resolve"), operator);
    assert_eq!(status, 409, "{body}");
    assert!(body.contains("it keeps no incidents"), "{body}");
    assert_eq!(ask("POST", &format!("pagerduty/alerts/{key}/resolve"), operator).0, 200);
    assert!(!place.both(LEAKS, "leak", "s/1 \u{e9}").0.is_open);
    place.wait_audit(&["alert_ack", "token hand, 127.0.0.1:"]);
    place.stop(running);
}

#[test]
fn an_acknowledgement_waits_until_the_incident_is_there() {
    let place = Place::with(
        "auto_resolve: {enabled: false}, circuit_breaker: {enabled: false}, \
         retry: {initial_backoff_ms: 200, max_backoff_ms: 1000}",
        "from 0s to 4s status 503",
    );
    let running = place.start();
    place.append(&[event(1, "leak", "s-1", "high")]);
    place.wait_for("alerts", "open", 1);
    thread::scope(|scope| {
        scope.spawn(|| place.run(&["alerts", "ack", "pagerduty", "leak:s-1"], 0));
        scope.spawn(|| place.run(&["alerts", "ack", "opsgenie", &alias("leak", "s-1")], 0));
    });
    let (incident, alert) = place.both(LEAKS, "leak", "s-1");
    assert!(incident.is_acknowledged && alert.is_acknowledged, "{incident:?} {alert:?}");
    place.stop(running);
}

#[test]
fn old_events_open_one_incident_together_which_is_resolved() {
    let keys = "from: earliest, max_age: 30s, auto_resolve: {after_minutes: 1}";
    let place = Place::new(keys);
    let guard = |n: u32| if n.is_multiple_of(2) { "egress" } else { "guards" };
    let old: Vec<Value> =
        (0..50).map(|n| event(n, guard(n), &format!("s-{n}"), "critical")).collect();
    place.append(&old);
    place.clock.pass(31);
    // Nothing is owed: whoever comes after a kill tells of them all the same.
    place.start().kill();
    let running = place.start();
    place.append(&[event(60, "egress", "s-60", "high")]);
    wait_until("all is settled", || {
        let is_settled = |it: &Value| it["pending"] == 0 && it["delivered"] == 1;
        place.exporters().iter().all(is_settled)
    });
    for exporter in place.exporters() {
        assert_eq!(exporter["filtered"], 50, "{exporter}");
    }
    let opened: Vec<_> = place.pager.1.all().into_keys().map(|(_, key)| key).collect();
    assert_eq!(opened, ["egress:s-60", "shrike:shrike"]);
    let (incident, alert) = place.both(KEY, "shrike", "shrike");
    assert_eq!((incident.severity.as_str(), alert.priority.as_str()), ("critical", "P1"));
    // Once more after the kill, if it had been posted and not noted.
    assert!((1..=2).contains(&incident.triggers), "{incident:?}");
    place.clock.pass(60);
    place.wait_for("alerts", "resolved", 2);
    let (incident, alert) = place.both(KEY, "shrike", "shrike");
    assert!(!incident.is_open && !alert.is_open, "{incident:?} {alert:?}");
    place.stop(running);
}

#[test]
fn a_rewind_that_is_to_alert_opens_an_incident_for_each_old_event() {
    let place = Place::new("from: earliest, max_age: 30s");
    let old: Vec<Value> =
        (0..20).map(|n| event(n, "leak", &format!("s-{n}"), "critical")).collect();
    place.append(&old);
    place.clock.pass(31);
    let running = place.start();
    let settle = |fate: &str| {
        wait_until("all is settled", || {
            place.exporters().iter().all(|it| it["pending"] == 0 && it[fate] == 20)
        });
    };
    settle("filtered");
    let opened =
        |guard: &str| place.pager.1.all().keys().filter(|(_, key)| key.starts_with(guard)).count();
    assert_eq!((opened("leak:"), opened("shrike:shrike")), (0, 1));
    for exporter in ["pagerduty", "opsgenie"] {
        place.run(&["cursor", "rewind", exporter, "--to", "earliest", "--really-alert"], 0);
    }
    settle("delivered");
    assert_eq!((opened("leak:"), opened("shrike:shrike")), (20, 1));
    for n in 0..20 {
        let (incident, alert) = place.both(LEAKS, "leak", &format!("s-{n}"));
        assert!(incident.is_open && alert.is_open, "{incident:?} {alert:?}");
    }
    place.stop(running);
}
