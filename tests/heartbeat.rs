//! Heartbeats on the binary: they go while all is well, and no more while something is not.

#[path = "support/binary.rs"]
mod binary;
#[path = "support/event.rs"]
mod event;
#[path = "support/fake.rs"]
mod fake;

use std::sync::Arc;

use binary::{Place, quiet, wait_until};
use event::event;
use fake::{assert_in_order, started};
use loadgen::account::Book;
use loadgen::fake::{Opsgenie, Vendor};
use rustix::process::Signal;

/// Two exporters, of which one may have a key that does not work, and a hook that has no heartbeat
/// of its own.
fn config(base: &str, key: &str) -> String {
    quiet(&format!(
        "  \
         opsgenie: {{flavor: jsm, api_endpoint: '{base}', api_key: k3y, \
         heartbeat: {{enabled: true, name: 'host 1/é', interval_minutes: 10s}}}}\n  \
         opsgenie_two: {{flavor: jsm, api_endpoint: '{base}', api_key: {key}}}\n\
         response_hooks:\n  \
         - {{name: call, when: 'severity == \"info\"', action: opsgenie, \
         params: {{exporter: opsgenie}}}}\n"
    ))
}

#[test]
fn heartbeats_stop_while_an_exporter_is_held_and_go_on_behind_it() {
    let book = Arc::new(Book::new("opsgenie"));
    let account = Opsgenie::new(Arc::clone(&book), Some("k3y".to_owned()));
    let pings = account.pings();
    let fake = started(Vendor::Opsgenie(account), &book, "");
    let base = format!("http://{}/jsm/ops/integration", fake.addr());
    // Percent-encoded, and never another.
    let came = || {
        let all = pings.all();
        assert!(all.keys().all(|name| name == "host%201%2F%C3%A9"), "{all:?}");
        all.values().sum::<u64>()
    };

    let place = Place::new(&config(&base, "wrong"));
    let running = place.start();
    // Nothing was refused yet: the first one goes at start.
    wait_until("the first heartbeat", || came() >= 1);

    place.append(&[event(1, "leak", "s-1", "critical")]);
    wait_until("it is held", || place.exporter("opsgenie_two")["state"] == "auth_failed");
    let before = came();
    wait_until("one is left out", || running.said().contains("no heartbeat is sent"));
    let said = running.said();
    assert!(said.contains("exporter opsgenie_two: auth_failed"), "{said}");
    assert_eq!(came(), before);

    place.configure(&config(&base, "k3y"));
    running.signal(Signal::HUP);
    wait_until("they go on", || came() > before);
    running.stop();
    assert_in_order(&book);
}
