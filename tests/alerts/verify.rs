//! `verify_requests` on the binary: alerts settle when Opsgenie has said what became of them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::binary::wait_until;
use crate::event::event;
use crate::fake::assert_in_order;
use crate::{Place, alias};

const KEYS: &str = "auto_resolve: {enabled: false}";
const VERIFY: &str = "verify_requests: true, ";

#[test]
fn an_alert_is_delivered_when_its_request_is_processed_after_a_kill_too() {
    let place = Place::of(KEYS, VERIFY, "ack-delay 3s");
    let running = place.start();
    place.append(&[event(1, "leak", "s-1", "high")]);
    wait_until("it is accepted", || !place.requests.asked().is_empty());
    running.kill();
    // What was not known to be processed is sent again, and the alias makes it no second alert.
    let running = place.start();
    wait_until("it is accepted again", || place.requests.asked().len() == 2);
    let accepted = Instant::now();
    wait_until("it is delivered", || place.exporter("opsgenie")["delivered"] == 1);
    assert!(accepted.elapsed() > Duration::from_secs(2), "not before it is processed");
    let asked = place.requests.asked();
    let last = asked.values().next_back().expect("there are two");
    assert!((2..=4).contains(last), "{asked:?}");
    let alert = &place.genie.1.all()[&alias("leak", "s-1")];
    assert_eq!((alert.opened, alert.count), (1, 2));
    assert_eq!(place.exporter("opsgenie")["unverified"], 0);
    place.stop(running);
}

#[test]
fn an_alert_that_is_not_made_is_a_dead_letter_and_keeps_none_back() {
    let place = Place::of(KEYS, VERIFY, "requests 0..30 on v2/alerts forget");
    let running = place.start();
    place.append(&[event(1, "leak", "s-1", "high")]);
    wait_until("it is given up", || place.exporter("opsgenie")["dead_lettered"] == 1);
    assert!(place.genie.1.all().is_empty());
    let said = place.run(&["dlq", "list", "opsgenie", "--json"], 0);
    assert!(said.contains("Alert creation is denied by policy"), "{said}");
    let before = place.requests.asked().len();
    place.append(&[event(2, "leak", "s-1", "high")]);
    wait_until("the next one goes", || place.requests.asked().len() > before);
    wait_until("it is given up too", || place.exporter("opsgenie")["dead_lettered"] == 2);
    running.kill();
    assert_in_order(&place.genie.2);
}

#[test]
fn what_nobody_tells_of_keeps_no_event_back_and_is_counted() {
    let place = Place::of(KEYS, VERIFY, "ack-lost 1");
    let running = place.start();
    let begun = Instant::now();
    place.append(&[event(1, "leak", "s-1", "high"), event(2, "leak", "s-2", "high")]);
    wait_until("both are there", || place.genie.1.all().len() == 2);
    let took = begun.elapsed();
    wait_until("they are settled", || place.exporter("opsgenie")["pending"] == 0);
    let (settled, status) = (begun.elapsed(), place.exporter("opsgenie"));
    assert_eq!((&status["delivered"], &status["unverified"]), (&2.into(), &2.into()));
    assert!(took < Duration::from_secs(25) && settled > Duration::from_secs(29), "{settled:?}");
    let said = place.run(&["status"], 0);
    assert!(said.contains("opsgenie: 2 accepted in this run, and not known"), "{said}");
    place.stop(running);
}

#[test]
fn a_question_that_is_refused_says_what_to_do() {
    let place = Place::of(KEYS, VERIFY, "on alerts/requests status 403");
    let running = place.start();
    place.append(&[event(1, "leak", "s-1", "high")]);
    wait_until("it is told", || {
        let status = place.exporter("opsgenie").to_string();
        status.contains("status 403") && status.contains("let the credentials read requests")
    });
    running.kill();
}

/// "Each settled batch appends one line: .. BLAKE3 of the bytes as sent, status" (`design.md` 4),
/// however long after its request it settles.
#[test]
fn an_alert_that_is_verified_later_has_the_receipt_of_its_own_request() {
    let place = Place::of(KEYS, VERIFY, "");
    let running = place.start();
    for number in 1..4 {
        place.append(&[event(number, "leak", &format!("s-{number}"), "high")]);
        let all = || place.genie.1.all().len() == number as usize;
        wait_until("it is accepted", all);
    }
    wait_until("they are delivered", || place.exporter("opsgenie")["delivered"] == 3);
    place.stop(running);
    let chain = std::fs::read_to_string(place.path("state/audit.jsonl"));
    let chain = chain.expect("it is written");
    let receipt = |line: &str| serde_json::from_str::<Value>(line).expect("a receipt");
    let of: Vec<Value> =
        chain.lines().map(receipt).filter(|it| it["exporter"] == "opsgenie").collect();
    let told: Vec<&Value> = of.iter().filter(|it| it["kind"] == "batch").collect();
    assert_eq!(told.len(), 3, "{of:?}");
    let bodies: BTreeSet<&str> = told.iter().filter_map(|it| it["body"].as_str()).collect();
    assert_eq!(bodies.len(), 3, "{told:?}");
    assert!(told.iter().all(|it| it["status"] == 202 && it["delivered"] == 1), "{told:?}");
}
