//! Gap records: telling a destination which events it will never get (`design.md` 2).

use serde_json::json;

use super::own_record::{OwnRecord, own_record};
use crate::event::{Gap, Severity, Time, derived_id};

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
    let many = match events {
        0 => "events that nobody can count any more,".to_owned(),
        events => format!("{events} events"),
    };
    let told = format!(
        "{many} between offsets {from} and {to} of the log were not sent to {exporter}: {why}"
    );
    own_record(&OwnRecord {
        event_type: EVENT_TYPE,
        id: &id,
        time: now,
        exporter,
        guard: "shrike_export",
        is_allowed: false,
        severity: Severity::High,
        reason: &told,
        details: json!({
            "exporter": exporter,
            "from": from.bytes(),
            "to": to.bytes(),
            "count": events,
            "reason": why,
        }),
    })
}

/// The type of these events.
const EVENT_TYPE: &str = "export_gap";
