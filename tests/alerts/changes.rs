//! `change_events` on the binary: a reload that changed something is told, beside the events.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::binary::{Running, wait_until};
use crate::event::event;
use crate::{KEY, LEAKS, Place};

const KEYS: &str = "auto_resolve: {enabled: false}";
const OTHER: &str = "00000000aaaaaaaa00000000aaaaaaaa";

impl Place {
    /// With change events, and pages for monitoring.
    fn telling(script: &str) -> Self {
        let place = Self::with(KEYS, script);
        let links = "links: [{href: 'https://wiki.example/agents', text: Runbook}]";
        place.edit("routing_key:", &format!("change_events: true, {links}, routing_key:"));
        place.edit("exporters:", "admin: {listen: '127.0.0.1:0'}\nexporters:");
        place
    }
}

impl Running {
    /// A count of `/metrics`.
    fn metric(&self, name: &str) -> Option<f64> {
        let said = self.said();
        let address = said.split("\"address\":\"").nth(1)?.split('"').next()?;
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("it reads");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("text");
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }
}

const SENT: &str = "shrike_change_events_total{exporter=\"pagerduty\",result=\"sent\"}";
const FAILED: &str = "shrike_change_events_total{exporter=\"pagerduty\",result=\"failed\"}";

#[test]
fn a_reload_that_changed_something_is_told_once_without_secrets() {
    let place = Place::telling("");
    let running = place.start();
    // Nothing changed, or it is refused: there is nothing to tell.
    place.run(&["reload"], 0);
    place.edit("by_guard: {leak:", "by_guard: {leaks: nonsense, leak:");
    place.run(&["reload"], 2);
    place.edit("leaks: nonsense, ", "");
    // Another exporter, and this one with a secret.
    place.edit("api_key: k3y", "api_key: k3y, tags: ['té\"st']");
    place.edit(&format!("leak: {LEAKS}"), &format!("leak: {OTHER}"));
    let said = place.run(&["reload"], 0);
    wait_until("it is told", || !place.changes.all().is_empty());
    let told = place.changes.all();
    let change = &told[0];
    assert_eq!((told.len(), change.routing_key.as_str()), (1, KEY));
    assert!(change.summary.starts_with("Configuration of shrike changed on "), "{change:?}");
    assert!(change.summary.contains("lines, by user "), "{change:?}");
    assert_eq!(change.links, ["https://wiki.example/agents"]);
    // What the command says, secrets masked.
    assert!(!change.lines.is_empty(), "{said}");
    change.lines.iter().for_each(|line| assert!(said.contains(line.as_str()), "{line}: {said}"));
    let all = change.lines.join("\n");
    assert!(all.contains("tags") && !all.contains(LEAKS) && !all.contains(OTHER), "{all}");
    wait_until("it is counted", || running.metric(SENT) == Some(1.0));
    assert_eq!(running.metric(FAILED), Some(0.0));
    place.stop(running);
}

#[test]
fn a_change_that_is_not_taken_is_counted_and_keeps_no_event_back() {
    let place = Place::telling("on change status 500");
    let running = place.start();
    place.edit("api_key: k3y", "api_key: k3y, tags: [a]");
    place.run(&["reload"], 0);
    place.append(&[event(1, "leak", "s-1", "high")]);
    place.wait_open(LEAKS, "leak", "s-1");
    wait_until("it is counted", || running.metric(FAILED) == Some(1.0));
    assert!(place.exporters().iter().all(|it| it["state"] == "healthy"));
    assert!(place.changes.all().is_empty());
    let said = running.said();
    assert!(said.contains("change of the configuration not told"), "{said}");
    place.stop(running);
}
