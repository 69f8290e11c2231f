//! Gap records: telling a destination which events it will never get (`design.md` 2).

use serde_json::json;

use crate::event::{Gap, Time, derived_id};

/// The canonical event that tells one exporter's destination of a gap.
///
/// The id depends only on what is lost, so that a destination which knows ids keeps one record
/// however often it is sent.
#[must_use]
pub fn gap_record(exporter: &str, pass: u32, gap: &Gap, now: Time) -> String {
    let Gap { span, events, reason } = gap;
    let (from, to, why) = (span.from, span.to, reason.word());
    let what = format!("{exporter}:{pass}:{from}:{to}:{events}:{why}");
    let id = derived_id(EVENT_TYPE, what.as_bytes(), b"");
    let id = String::from_utf8_lossy(&id);
    let told = format!(
        "{events} events between offsets {from} and {to} of the log were not sent to {exporter}: \
         {why}"
    );
    json!({
        "schema_version": "1.0.0",
        "event_id": id,
        "event_type": EVENT_TYPE,
        "event_category": "configuration",
        "timestamp": now.text(),
        "agent": {
            "id": "shrike",
            "name": "shrike",
            "version": env!("CARGO_PKG_VERSION"),
            "type": "clawdstrike",
        },
        "session": {"id": "shrike"},
        "outcome": "failure",
        "action": "export",
        "threat": {},
        "decision": {
            "allowed": false,
            "guard": "shrike_export",
            "severity": "high",
            "reason": told,
        },
        "resource": {"type": "configuration", "name": exporter},
        "metadata": {
            "export_gap": {
                "exporter": exporter,
                "from": from.bytes(),
                "to": to.bytes(),
                "count": events,
                "reason": why,
            },
        },
        "labels": {},
    })
    .to_string()
}

/// The type of these events.
const EVENT_TYPE: &str = "export_gap";
