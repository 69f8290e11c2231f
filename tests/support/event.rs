//! Canonical events of a test's own, told apart by numbers in their ids.

#![allow(dead_code, reason = "each test crate that shares this file uses a part of it")]

use std::ops::Range;

use serde_json::{Value, json};

/// The id of an event.
pub(crate) fn id(number: u32) -> String {
    format!("{IDS}{number:08x}")
}

/// The number of the first event that is named in a text.
#[track_caller]
pub(crate) fn number(text: &str) -> u32 {
    let at = text.find(IDS).expect("an id of ours") + IDS.len();
    u32::from_str_radix(&text[at..at + 8], 16).expect("a number")
}

/// A key in a file that a guard found in a session.
pub(crate) fn event(number: u32, guard: &str, session: &str, severity: &str) -> Value {
    json!({
        "schema_version": "1.0.0",
        "event_id": id(number),
        "event_type": "secret_detected",
        "event_category": "file",
        "timestamp": "2026-02-06T09:00:03.12Z",
        "agent": {"id": "coder-01", "name": "hushd", "version": "0.1.0", "type": "clawdstrike"},
        "session": {"id": session},
        "outcome": "failure",
        "action": "write",
        "threat": {},
        "decision": {
            "allowed": false, "guard": guard, "severity": severity, "reason": "a key",
        },
        "resource": {"type": "file", "name": ".env", "path": "/srv/.env"},
        "metadata": {},
        "labels": {},
    })
}

/// Connections that a guard blocked, one a line.
pub(crate) fn events(numbers: Range<u32>) -> String {
    let line = |number: u32| {
        format!(
            "{{\"schema_version\":\"1.0.0\",\"event_id\":\"{}\",\"event_type\":\"guard_block\",\
             \"event_category\":\"network\",\"timestamp\":\"2026-02-06T09:00:00.125Z\",\
             \"agent\":{{\"id\":\"coder-01\",\"name\":\"hushd\",\"version\":\"0.1.0\",\
             \"type\":\"clawdstrike\"}},\"session\":{{\"id\":\"s-1\"}},\"outcome\":\"failure\",\
             \"action\":\"egress\",\"threat\":{{}},\"decision\":{{\"allowed\":false,\
             \"guard\":\"egress_allowlist\",\"severity\":\"high\",\"reason\":\"\"}},\
             \"resource\":{{\"type\":\"network\",\"name\":\"exfil.example\"}},\"metadata\":{{}},\
             \"labels\":{{}}}}\n",
            id(number)
        )
    };
    numbers.map(line).collect()
}

/// What the ids begin with.
const IDS: &str = "019c322d-fa80-7f99-8d84-0000";
