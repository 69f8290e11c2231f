//! A log: what Datadog reserves, and the event under names that its pages use.

use super::{tags, trace};
use crate::event::{Event, FieldId as F};
use crate::transform::Source::{
    Continued, Derived, Doc, Event as Value, Extracted, OneOf, Option, Part, When,
};
use crate::transform::write::{rfc3339_millis, severity, value};
use crate::transform::{Empty, Encoder, Field, Layout, Schema, row};

/// The event as attributes of a log.
pub(super) static LOG: Schema = Schema {
    name: "datadog log",
    layout: Layout::Table(&[
        TIMESTAMP,
        MESSAGE,
        STATUS,
        SOURCE,
        SERVICE,
        HOSTNAME,
        TAGS,
        EVENT_ID,
        row("schema_version", Value(F::SchemaVersion, value)),
        row("event_type", Value(F::EventType, value)),
        row("event_category", Value(F::EventCategory, value)),
        row("action", Value(F::Action, value)),
        row("security.outcome", Value(F::Outcome, value)),
        row("security.guard", Value(F::Guard, value)),
        row("security.severity", Value(F::Severity, value)),
        row("security.reason", Value(F::Reason, value)),
        row("security.allowed", Value(F::Allowed, value)),
        row("security.policy_hash", Value(F::PolicyHash, value)),
        row("security.ruleset", Value(F::Ruleset, value)),
        row("agent.id", Value(F::AgentId, value)),
        row("agent.name", Value(F::AgentName, value)),
        row("agent.version", Value(F::AgentVersion, value)),
        row("agent.type", Value(F::AgentType, value)),
        row("session.id", Value(F::SessionId, value)),
        row("session.user_id", Value(F::SessionUserId, value)),
        row("session.tenant_id", Value(F::SessionTenantId, value)),
        row("session.environment", Value(F::SessionEnvironment, value)),
        row("usr.id", Extracted(&[F::SessionUserId], |event, _| event.text(F::SessionUserId))),
        row("resource.type", Value(F::ResourceType, value)),
        row("resource.name", Value(F::ResourceName, value)),
        row("resource.path", Value(F::ResourcePath, value)),
        row("resource.host", Value(F::ResourceHost, value)),
        row("resource.port", Value(F::ResourcePort, value)),
        row("threat.indicator.type", Value(F::IndicatorType, value)),
        row("threat.indicator.value", Value(F::IndicatorValue, value)),
        row("threat.tactic", Value(F::Tactic, value)),
        row("threat.technique", Value(F::Technique, value)),
        TRACE[0],
        TRACE[1],
        TRACE[2],
        TRACE[3],
        TRACE[4],
        TRACE[5],
        TRACE[6],
        row("metadata.*", Value(F::Metadata, value)),
        row("metadata.shrike.*", Value(F::Shrike, value)),
        row("metadata.shrike.truncated", When("truncated", "true")),
        row("metadata.shrike.host.name", Option("host.name")),
        row("metadata.shrike.host.machine_id", Option("host.machine_id")),
        row("metadata.shrike.host.version", Option("product.version")),
        row("labels.*", Value(F::Labels, value)),
    ]),
    required: &["message", "event_id"],
    empty: Empty::Drop,
    ..Schema::BASE
};

/// What Datadog reserves, around a document of another schema.
pub(super) static AROUND: Schema = Schema {
    name: "datadog envelope",
    layout: Layout::Table(&[
        TIMESTAMP,
        MESSAGE,
        STATUS,
        SOURCE,
        SERVICE,
        HOSTNAME,
        TAGS,
        EVENT_ID,
        TRACE[0],
        TRACE[1],
        TRACE[2],
        TRACE[3],
        TRACE[4],
        TRACE[5],
        TRACE[6],
        row("event", Doc),
    ]),
    required: &["message", "event_id"],
    empty: Empty::Drop,
    ..Schema::BASE
};

/// The same around a line of text, which is the message.
pub(super) static TEXT: Schema = Schema {
    name: "datadog text",
    layout: Layout::Table(&[
        TIMESTAMP,
        row("message", Doc),
        STATUS,
        SOURCE,
        SERVICE,
        HOSTNAME,
        TAGS,
        EVENT_ID,
        TRACE[0],
        TRACE[1],
        TRACE[2],
        TRACE[3],
        TRACE[4],
        TRACE[5],
        TRACE[6],
    ]),
    required: &["message", "event_id"],
    empty: Empty::Drop,
    ..Schema::BASE
};

const TIMESTAMP: Field = row("timestamp", Derived(&[F::Timestamp], rfc3339_millis));
const MESSAGE: Field = row("message", Derived(&[F::Guard, F::Allowed, F::Reason], message));
const STATUS: Field = row("status", OneOf(&[F::Severity], severity, STATUSES));
const SOURCE: Field = row("ddsource", Option("logs.source"));
const SERVICE: Field = row("service", Option("logs.service"));
const HOSTNAME: Field = row("hostname", Option("logs.hostname"));
const TAGS: Field = row("ddtags", Continued(&["timing", "tags"], tags::FIELDS, tags::of_event));
const EVENT_ID: Field = row("event_id", Value(F::EventId, value));

/// Where a log joins a trace.
const TRACE: [Field; 7] = [
    row("dd.trace_id", Part(trace::FIELDS, trace::id)),
    row("dd.span_id", Part(trace::FIELDS, trace::span)),
    row("dd.parent_id", Part(trace::FIELDS, trace::parent)),
    row("dd.service", Option("apm.service")),
    row("dd.env", Option("apm.env")),
    row("dd.version", Extracted(&[F::AgentVersion], |event, _| event.text(F::AgentVersion))),
    row("otel.trace_id", Part(trace::FIELDS, trace::whole)),
];

/// "info, low -> info; medium -> warn; high -> error; critical -> critical."
const STATUSES: &[&str] = &["\"info\"", "\"info\"", "\"warn\"", "\"error\"", "\"critical\""];

/// `[guard] BLOCKED: reason`.
fn message(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    let verdict: &[u8] = if event.opened.allowed { b"] ALLOWED: " } else { b"] BLOCKED: " };
    encoder.open_text();
    encoder.literal(b"[");
    encoder.characters(event.text(F::Guard));
    encoder.raw(verdict);
    encoder.characters(event.text(F::Reason));
    encoder.close_text();
    true
}
