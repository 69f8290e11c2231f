//! Hooks that trigger through an exporter, against the strict fakes of PagerDuty and Opsgenie.

use std::sync::Arc;

use loadgen::account::Book;
use loadgen::fake::{Opsgenie, PagerDuty, Vendor};

use super::*;
use crate::fake::{assert_in_order, started};

const KEY: &str = "0123456789abcdef0123456789abcdef";
const LEAKS: &str = "fedcba9876543210fedcba9876543210";
const GENIE: &str = "genie-k3y";

/// An exporter that takes nothing by itself, and a hook through it.
fn write(place: &Place, exporter: &str, keys: &str) {
    let kind = exporter.split(':').next().expect("a name");
    let text = format!(
        "  {exporter}\nresponse_hooks:\n  - {{name: page, \
         when: \"severity == 'critical'\", action: {kind}, params: {{exporter: {kind}}}, \
         idempotency_key: '{{hook}}:{{session_id}}', rate_limit: {{requests_per_second: 1000, \
         burst_size: 1000}}, retry: {{initial_backoff_ms: 10, max_backoff_ms: 50}}{keys}}}\n"
    );
    place.configure(&quiet(&text));
}

fn pagerduty(address: std::net::SocketAddr) -> String {
    format!(
        "pagerduty: {{routing_key: {KEY}, api_endpoint: 'http://{address}', include_guards: [none], \
         severity_mapping: {{critical: warning}}, client: soc, \
         routing: {{by_guard: {{secret_leak: {LEAKS}}}}}}}"
    )
}

#[test]
fn an_incident_is_triggered_with_key_mapping_and_routing_of_the_exporter() {
    let book = Arc::new(Book::new("pagerduty"));
    let vendor = PagerDuty::new(Arc::clone(&book), vec![LEAKS.to_owned()]);
    let incidents = vendor.incidents();
    let fake = started(Vendor::PagerDuty(vendor), &book, "");
    let place = Place::new("");
    write(&place, &pagerduty(fake.addr()), ", cooldown_seconds: 300");
    let running = place.start();
    place.append(&[low(1), critical(2, "a"), critical(3, "a"), critical(4, "b")]);
    place.wait_for("page", "succeeded", 2);
    place.wait_for("page", "suppressed", 1);
    let status = place.exporter("page");
    assert_eq!((&status["delivered"], &status["filtered"]), (&2.into(), &2.into()), "{status}");
    let all = incidents.all();
    let keys: Vec<_> = all.keys().map(|(key, dedup)| (key.as_str(), dedup.as_str())).collect();
    assert_eq!(keys, [(LEAKS, "page:a"), (LEAKS, "page:b")]);
    assert!(all.values().all(|it| it.triggers == 1 && it.severity == "warning"), "{all:?}");
    assert_eq!(place.exporter("pagerduty")["delivered"], 0, "the exporter itself takes none");
    let rendered = place.run_with(&["render", "page"], &critical(9, "z").line(), 0);
    let body = rendered.lines().find(|line| line.starts_with('{')).expect("a trigger");
    let body: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(body["dedup_key"], "page:z");
    assert_eq!(body["payload"]["custom_details"]["hook"], "page");
    assert_eq!(body["client"], "soc");
    let shown = place.run(&["config", "show"], 0) + &place.run(&["status"], 0) + &rendered;
    let said = shown + &running.stop();
    for key in [KEY, LEAKS] {
        assert!(!said.contains(key), "{said}");
    }
    assert_in_order(&book);
}

#[test]
fn an_alert_is_made_once_whenever_it_is_killed() {
    let book = Arc::new(Book::new("opsgenie"));
    let vendor = Opsgenie::new(Arc::clone(&book), Some(GENIE.to_owned()));
    let alerts = vendor.alerts();
    let fake = started(Vendor::Opsgenie(vendor), &book, "every 3 status 503");
    let place = Place::new("");
    let exporter = format!(
        "opsgenie: {{api_key: {GENIE}, api_endpoint: 'http://{}', include_guards: [none], \
         responders: [{{type: team, name: soc}}], routing: {{by_guard: {{secret_leak: [leaks]}}}}}}",
        fake.addr()
    );
    write(&place, &exporter, ", cooldown_seconds: 3600, from: earliest");
    let mut chance = fastrand::Rng::with_seed(fastrand::u64(..));
    println!("seed {}", chance.get_seed());
    for round in 0..5 {
        let running = place.start();
        let events: Vec<Event> =
            (0..8).map(|n| critical(round * 8 + n, ["a", "b", "c", "d"][n as usize % 4])).collect();
        place.append(&events);
        let until = Instant::now() + Duration::from_millis(chance.u64(..150));
        wait_until("a moment", || Instant::now() > until);
        running.kill();
    }
    let running = place.start();
    wait_until("all are read", || place.exporter("page")["pending"] == 0);
    let status = place.exporter("page");
    assert_eq!((&status["delivered"], &status["filtered"]), (&4.into(), &36.into()), "{status}");
    let said = running.stop();
    let all = alerts.all();
    assert_eq!(all.keys().collect::<Vec<_>>(), ["page:a", "page:b", "page:c", "page:d"]);
    for alert in all.values() {
        assert_eq!(alert.responders, ["team soc", "team leaks"]);
        // Asked again by a process that did not see the answer, and joined by the alias.
        assert!(alert.count <= 6, "{alert:?}");
    }
    assert!(!said.contains(GENIE), "{said}");
    assert_in_order(&book);
}

#[test]
fn what_is_refused_is_a_dead_letter_and_what_is_out_waits() {
    let receiver = Receiver::start(Some(400));
    let place = Place::new("");
    write(&place, &pagerduty(receiver.address), ", max_age: 60s");
    let running = place.start();
    place.append(&[critical(1, "a")]);
    place.wait_for("page", "failed", 1);
    receiver.turn(Some(503));
    place.append(&[critical(2, "b")]);
    receiver.wait_for(4);
    receiver.turn(Some(202));
    place.wait_for("page", "succeeded", 1);
    let asked = receiver.asked();
    assert!(asked[1..].iter().all(|it| it.body == asked[1].body), "{asked:?}");
    let listed = place.run(&["dlq", "list", "page", "--json"], 0);
    assert!(listed.contains(&id(1)) && !listed.contains(LEAKS), "{listed}");
    place.run(&["dlq", "replay", "page"], 0);
    place.wait_for("page", "succeeded", 2);
    let replayed = receiver.asked().pop().expect("it came").json();
    assert_eq!(replayed["dedup_key"], "page:a", "with the same key");
    // A dry run sends nothing here either.
    write(&place, &pagerduty(receiver.address), ", dry_run: true");
    place.run(&["reload"], 0);
    let before = receiver.asked().len();
    place.append(&[critical(3, "c")]);
    place.wait_for("page", "not_sent", 1);
    assert_eq!(receiver.asked().len(), before);
    running.stop();
}
