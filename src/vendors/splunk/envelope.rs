//! The object around each event: time, place, and what is indexed.
//!
//! "Only these keys exist: time, host, source, sourcetype, index, event, fields. An unknown key is
//! answered 200 but silently ends parsing."

use crate::event::{Event, FieldId as F};
use crate::transform::{Choices, Empty, Layout, Schema, Source, row, write};

/// A field that may be indexed beside the event.
pub(super) struct Indexed {
    /// Its name in Splunk.
    pub(super) name: &'static str,
    /// Its key in the envelope.
    pub(super) key: &'static str,
    /// Whether `indexed_fields: minimal` has it.
    pub(super) minimal: bool,
}

/// What marks a batch that is sent again because nothing confirmed it.
pub(super) const RESEND: (&str, &str) = ("fields.shrike_resend", "1");

/// The field with this name.
pub(super) fn field(name: &str) -> Option<&'static Indexed> {
    FIELDS.iter().find(|field| field.name == name)
}

/// Everything that can be indexed. The reason never is: it is free text without bound.
pub(super) const FIELDS: &[Indexed] = &[
    Indexed { name: "severity", key: "fields.severity", minimal: true },
    Indexed { name: "guard", key: "fields.guard", minimal: true },
    Indexed { name: "environment", key: "fields.environment", minimal: true },
    Indexed { name: "tenant_id", key: "fields.tenant_id", minimal: true },
    Indexed { name: "mitre_tactic", key: "fields.mitre_tactic", minimal: true },
    Indexed { name: "mitre_technique", key: "fields.mitre_technique", minimal: true },
    Indexed { name: "agent_id", key: "fields.agent_id", minimal: false },
    Indexed { name: "session_id", key: "fields.session_id", minimal: false },
    Indexed { name: "user", key: "fields.user", minimal: false },
    Indexed { name: "decision_allowed", key: "fields.decision_allowed", minimal: false },
    Indexed { name: "resource_type", key: "fields.resource_type", minimal: false },
    Indexed { name: "resource_name", key: "fields.resource_name", minimal: false },
    Indexed { name: "resource_path", key: "fields.resource_path", minimal: false },
    Indexed { name: "dest_host", key: "fields.dest_host", minimal: false },
    Indexed { name: "dest_port", key: "fields.dest_port", minimal: false },
];

/// The envelope.
pub(super) static ENVELOPE: Schema = Schema {
    name: "HEC envelope",
    layout: Layout::Table(&[
        row("time", Source::Derived(&[F::Timestamp], write::epoch_seconds)),
        row("host", Source::Option("host")),
        row("source", Source::Option("source")),
        row("sourcetype", Source::Option("sourcetype")),
        row("index", Source::Option("index")),
        row("event", Source::Doc),
        row("fields.severity", Source::Event(F::Severity, write::text)),
        row("fields.guard", Source::Event(F::Guard, write::text)),
        row("fields.environment", Source::Extracted(ENVIRONMENT, environment)),
        row("fields.tenant_id", Source::Extracted(TENANT, tenant)),
        row("fields.mitre_tactic", Source::Event(F::Tactic, write::text)),
        row("fields.mitre_technique", Source::Event(F::Technique, write::text)),
        row("fields.agent_id", Source::Event(F::AgentId, write::text)),
        row("fields.session_id", Source::Event(F::SessionId, write::text)),
        row("fields.user", Source::Event(F::SessionUserId, write::text)),
        row("fields.decision_allowed", Source::Event(F::Allowed, write::text)),
        row("fields.resource_type", Source::Event(F::ResourceType, write::text)),
        row("fields.resource_name", Source::Event(F::ResourceName, write::text)),
        row("fields.resource_path", Source::Event(F::ResourcePath, write::text)),
        row("fields.dest_host", Source::Event(F::ResourceHost, write::text)),
        row("fields.dest_port", Source::Event(F::ResourcePort, write::text)),
        row(RESEND.0, Source::Option(RESEND.0)),
    ]),
    required: &["time", "event"],
    // A blank field would be refused, or found by searches for it.
    empty: Empty::Drop,
    // "A name that is both indexed and a JSON top-level key shows up as a duplicated multivalue":
    // OCSF has `severity` there, in words of its own.
    yields: "fields.",
    ..Schema::BASE
};

/// Rows are only asked for events that have one of their fields; every event has an id, so that the
/// fallback is written too.
const ENVIRONMENT: &[F] = &[F::SessionEnvironment, F::EventId];
const TENANT: &[F] = &[F::SessionTenantId, F::EventId];

fn environment<'a>(event: &Event<'a>, _: Choices) -> &'a [u8] {
    or(event.text(F::SessionEnvironment), b"unknown")
}

fn tenant<'a>(event: &Event<'a>, _: Choices) -> &'a [u8] {
    or(event.text(F::SessionTenantId), b"default")
}

/// The text, or what stands for an absent or empty one.
fn or<'a>(text: &'a [u8], fallback: &'static [u8]) -> &'a [u8] {
    if text.is_empty() { fallback } else { text }
}
