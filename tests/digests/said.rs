//! What digests look like at each destination, byte for byte.
//!
//! `UPDATE_GOLDEN=1 cargo test --test digests said` writes the files again; review them like code.

use std::path::Path;

use serde_json::json;
use shrike::config::{Config, Flags, Host, System, Text};
use shrike::event::{Event, Frame, Opened, Opening, OpeningOptions, Time};
use shrike::pipeline::{Render, Summary, Why, digest_record};
use shrike::vendors;

/// Opens a record for `act`.
fn with<T>(record: &str, act: impl FnOnce(&Event<'_>) -> T) -> T {
    let opening = Opening::new(&OpeningOptions::default());
    let (mut arena, mut opened) = (Vec::new(), Opened::default());
    let frame = Frame { checked: true, ..Frame::default() };
    opening.begin(&mut arena);
    opening.open(&frame, record.as_bytes(), &mut arena, &mut opened).expect("an event");
    act(&Event::new(&opened, frame, record.as_bytes(), &arena))
}

/// The digests of a flood and of old events.
fn records() -> Vec<String> {
    let guards = ["egress_allowlist", "secret_leak", "<!channel> *guard*", "secret_leak"];
    let severities = ["low", "high", "medium", "critical"];
    let time = |at: usize| Time { secs: 1_770_368_400 + 61 * at as i64, nanos: 125_000_000 };
    let record = |at: usize| {
        json!({
            "schema_version": "1.0.0", "event_id": "019c322d-fa80-7f99-8d84-b44109f58c77",
            "event_type": "guard_block", "event_category": "file", "timestamp": time(at).text(),
            "outcome": "failure", "action": "x",
            "agent": {"id": "a", "name": "n", "version": "1", "type": "clawdstrike"},
            "session": {"id": "s"}, "resource": {"type": "file", "name": "f"}, "threat": {},
            "decision": {"allowed": false, "guard": guards[at % 4],
                "severity": severities[at % severities.len()], "reason": "r"},
            "metadata": {}, "labels": {},
        })
    };
    let of = |why, events: &[usize]| {
        let mut summary = Summary::new();
        events.iter().for_each(|&at| with(&record(at).to_string(), |event| summary.add(event)));
        digest_record("chat", why, &summary, "3:4096:8192:0", time(100))
    };
    vec![of(Why::Flood, &[0, 1, 2, 4, 5]), of(Why::Stale, &[0, 1, 2, 3, 4, 5, 6, 7])]
}

fn check(name: &str, records: &[String], keys: &str) {
    let text = format!("exporters:\n  {keys}\n");
    let text = Text::File { name: "test".to_owned(), text: text.into() };
    let config = Config::load(&text, &Flags::default(), vendors::ALL, &System)
        .unwrap_or_else(|error| panic!("{error}"));
    let options = config.engine_options(&Host::default());
    let mut render = Render::new(&options.exporters[0]).expect("it compiles");
    let mut body = Vec::new();
    for record in records {
        let is_taken = with(record, |event| render.event(event, 0, &mut body));
        assert!(is_taken, "{name}: {record}");
    }
    let body = String::from_utf8(body).expect("text");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &body).expect("the golden file can be written");
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(body, golden, "{name}: UPDATE_GOLDEN=1 writes it");
}

#[test]
fn digests_are_golden_at_every_destination() {
    let all = records();
    let keys = "slack: {webhook_url: 'https://hooks.example/services/T/B/X'}";
    check("slack/digests.txt", &all, keys);
    let keys = "teams: {webhook_url: 'https://flow.example/workflows/1?sig=s'}";
    check("teams/digests.txt", &all, keys);
    // An incident joins what is too much.
    let keys = "pagerduty: {routing_key: 0123456789abcdef0123456789abcdef}";
    check("pagerduty/digests.txt", &all[1..], keys);
    check("opsgenie/digests.txt", &all[1..], "opsgenie: {api_key: k, flavor: jsm}");
}
