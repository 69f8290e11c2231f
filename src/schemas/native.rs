//! The canonical event itself (`canonical-event.md`): lossless, in canonical order.
//!
//! A clean record that nothing was added to or taken from comes out byte for byte as it went in.

use super::check;
use crate::event::FieldId as F;
use crate::transform::Source::{Constant, Event, Option, When};
use crate::transform::write::value;
use crate::transform::{Field, Layout, Schema, row};

/// The canonical event as JSON.
pub static NATIVE: Schema = Schema {
    name: "native",
    layout: Layout::Table(ROWS),
    required: &["event_id", "timestamp"],
    check: Some(check::native),
    ..Schema::BASE
};

const ROWS: &[Field] = &[
    row("schema_version", Event(F::SchemaVersion, value)),
    row("event_id", Event(F::EventId, value)),
    row("event_type", Event(F::EventType, value)),
    row("event_category", Event(F::EventCategory, value)),
    row("timestamp", Event(F::Timestamp, value)),
    row("ingested_at", Event(F::IngestedAt, value)),
    row("agent.id", Event(F::AgentId, value)),
    row("agent.name", Event(F::AgentName, value)),
    row("agent.version", Event(F::AgentVersion, value)),
    row("agent.type", Event(F::AgentType, value)),
    row("session.id", Event(F::SessionId, value)),
    row("session.user_id", Event(F::SessionUserId, value)),
    row("session.tenant_id", Event(F::SessionTenantId, value)),
    row("session.environment", Event(F::SessionEnvironment, value)),
    row("outcome", Event(F::Outcome, value)),
    row("action", Event(F::Action, value)),
    row("threat.*", Constant("{}")),
    row("threat.indicator.type", Event(F::IndicatorType, value)),
    row("threat.indicator.value", Event(F::IndicatorValue, value)),
    row("threat.tactic", Event(F::Tactic, value)),
    row("threat.technique", Event(F::Technique, value)),
    row("decision.allowed", Event(F::Allowed, value)),
    row("decision.guard", Event(F::Guard, value)),
    row("decision.severity", Event(F::Severity, value)),
    row("decision.reason", Event(F::Reason, value)),
    row("decision.policy_hash", Event(F::PolicyHash, value)),
    row("decision.ruleset", Event(F::Ruleset, value)),
    row("resource.type", Event(F::ResourceType, value)),
    row("resource.name", Event(F::ResourceName, value)),
    row("resource.path", Event(F::ResourcePath, value)),
    row("resource.host", Event(F::ResourceHost, value)),
    row("resource.port", Event(F::ResourcePort, value)),
    row("metadata.*", Constant("{}")),
    row("metadata.*", Event(F::Metadata, value)),
    row("metadata.shrike.*", Event(F::Shrike, value)),
    row("metadata.shrike.truncated", When("truncated", "true")),
    row("metadata.shrike.host.name", Option("host.name")),
    row("metadata.shrike.host.machine_id", Option("host.machine_id")),
    row("metadata.shrike.host.version", Option("product.version")),
    row("labels.*", Constant("{}")),
    row("labels.*", Event(F::Labels, value)),
];
