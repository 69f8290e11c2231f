//! Canonical events that shrike itself tells destinations of.

use serde_json::{Value, json};

use crate::event::{Severity, Time};

/// What differs between them.
pub(super) struct OwnRecord<'a> {
    /// The type, under which the metadata holds the details too.
    pub(super) event_type: &'a str,
    pub(super) id: &'a str,
    pub(super) time: Time,
    /// The exporter that it is about.
    pub(super) exporter: &'a str,
    pub(super) guard: &'a str,
    pub(super) is_allowed: bool,
    pub(super) severity: Severity,
    pub(super) reason: &'a str,
    pub(super) details: Value,
}

/// One of them, as a record.
pub(super) fn own_record(it: &OwnRecord<'_>) -> String {
    let OwnRecord { event_type, exporter, details, is_allowed, .. } = it;
    json!({
        "schema_version": "1.0.0",
        "event_id": it.id,
        "event_type": event_type,
        "event_category": "configuration",
        "timestamp": it.time.text(),
        "agent": {
            "id": "shrike",
            "name": "shrike",
            "version": env!("CARGO_PKG_VERSION"),
            "type": "clawdstrike",
        },
        "session": {"id": "shrike"},
        "outcome": if *is_allowed { "success" } else { "failure" },
        "action": "export",
        "threat": {},
        "decision": {
            "allowed": is_allowed,
            "guard": it.guard,
            "severity": it.severity.word(),
            "reason": it.reason,
        },
        "resource": {"type": "configuration", "name": exporter},
        "metadata": {(*event_type): details},
        "labels": {},
    })
    .to_string()
}
