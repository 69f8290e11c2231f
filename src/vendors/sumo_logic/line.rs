//! Lines: JSON or pairs. Each begins with the time, since Sumo Logic reads it there.

use crate::event::FieldId as F;
use crate::transform::Source::{Constant, Event as Value, Option, When};
use crate::transform::write::{text, value};
use crate::transform::{Empty, Layout, Schema, Syntax, row};

/// The canonical event, its time first.
pub(super) static JSON_LINE: Schema = Schema {
    name: "sumo logic json",
    layout: Layout::Table(&[
        row("timestamp", Value(F::Timestamp, value)),
        row("event_id", Value(F::EventId, value)),
        row("event_type", Value(F::EventType, value)),
        row("event_category", Value(F::EventCategory, value)),
        row("schema_version", Value(F::SchemaVersion, value)),
        row("ingested_at", Value(F::IngestedAt, value)),
        row("agent.id", Value(F::AgentId, value)),
        row("agent.name", Value(F::AgentName, value)),
        row("agent.version", Value(F::AgentVersion, value)),
        row("agent.type", Value(F::AgentType, value)),
        row("session.id", Value(F::SessionId, value)),
        row("session.user_id", Value(F::SessionUserId, value)),
        row("session.tenant_id", Value(F::SessionTenantId, value)),
        row("session.environment", Value(F::SessionEnvironment, value)),
        row("outcome", Value(F::Outcome, value)),
        row("action", Value(F::Action, value)),
        row("threat.indicator.type", Value(F::IndicatorType, value)),
        row("threat.indicator.value", Value(F::IndicatorValue, value)),
        row("threat.tactic", Value(F::Tactic, value)),
        row("threat.technique", Value(F::Technique, value)),
        row("decision.allowed", Value(F::Allowed, value)),
        row("decision.guard", Value(F::Guard, value)),
        row("decision.severity", Value(F::Severity, value)),
        row("decision.reason", Value(F::Reason, value)),
        row("decision.policy_hash", Value(F::PolicyHash, value)),
        row("decision.ruleset", Value(F::Ruleset, value)),
        row("resource.type", Value(F::ResourceType, value)),
        row("resource.name", Value(F::ResourceName, value)),
        row("resource.path", Value(F::ResourcePath, value)),
        row("resource.host", Value(F::ResourceHost, value)),
        row("resource.port", Value(F::ResourcePort, value)),
        row("metadata.*", Constant("{}")),
        row("metadata.*", Value(F::Metadata, value)),
        row("metadata.shrike.*", Value(F::Shrike, value)),
        row("metadata.shrike.truncated", When("truncated", "true")),
        row("metadata.shrike.host.name", Option("host.name")),
        row("metadata.shrike.host.machine_id", Option("host.machine_id")),
        row("metadata.shrike.host.version", Option("product.version")),
        row("labels.*", Value(F::Labels, value)),
    ]),
    required: &["event_id"],
    ..Schema::BASE
};

/// `timestamp=".." event_id=".." ..`.
pub(super) static KEY_VALUE: Schema = Schema {
    name: "sumo logic pairs",
    syntax: &PAIRS,
    layout: Layout::Table(&[
        row("timestamp", Value(F::Timestamp, text)),
        row("event_id", Value(F::EventId, text)),
        row("event_type", Value(F::EventType, text)),
        row("guard", Value(F::Guard, text)),
        row("severity", Value(F::Severity, text)),
        row("allowed", Value(F::Allowed, text)),
        row("reason", Value(F::Reason, text)),
        row("session_id", Value(F::SessionId, text)),
        row("user_id", Value(F::SessionUserId, text)),
        row("tenant_id", Value(F::SessionTenantId, text)),
        row("resource_type", Value(F::ResourceType, text)),
        row("resource_path", Value(F::ResourcePath, text)),
        row("resource_host", Value(F::ResourceHost, text)),
        row("truncated", When("truncated", "true")),
    ]),
    required: &["event_id"],
    empty: Empty::Drop,
    ..Schema::BASE
};

/// `key="value"`, one space between.
static PAIRS: Syntax = Syntax {
    name: "pairs",
    open: "",
    close: "",
    between: " ",
    key: ("", "="),
    names: true,
    is_key: |key| !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'),
    keys: "a name of letters, digits and underscores",
    text: ("\"", "\""),
    nests: false,
    verbatim: false,
    counts_bytes: false,
    escape,
};

/// "Text and key_value replace CR/LF with `\n`, `"` with `\"`, `\` with `\\`."
fn escape(byte: u8) -> std::option::Option<&'static str> {
    match byte {
        b'\n' | b'\r' => Some("\\n"),
        b'"' => Some("\\\""),
        b'\\' => Some("\\\\"),
        0..=31 | 127 => Some(" "),
        _ => None,
    }
}
