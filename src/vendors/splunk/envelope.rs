//! The object around each event: time, place, and what is indexed.
//!
//! "Only these keys exist: time, host, source, sourcetype, index, event, fields. An unknown key is
//! answered 200 but silently ends parsing."

use crate::event::{Event, FieldId as F, Value};
use crate::transform::{Encoder, Field, Layout, Schema, Source};

/// A field that may be indexed beside the event.
pub(super) struct Indexed {
    /// Its name in Splunk.
    pub(super) name: &'static str,
    /// Its key in the envelope.
    pub(super) key: &'static str,
    /// Whether `indexed_fields: minimal` has it.
    pub(super) minimal: bool,
}

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
    syntax: &super::super::elastic::JSON,
    layout: Layout::Table(&[
        row("time", Source::Derived(&[F::Timestamp], time)),
        row("host", Source::Option("host")),
        row("source", Source::Option("source")),
        row("sourcetype", Source::Option("sourcetype")),
        row("index", Source::Option("index")),
        row("event", Source::Doc),
        row("fields.severity", Source::Event(F::Severity, text)),
        row("fields.guard", Source::Event(F::Guard, text)),
        row("fields.environment", Source::Derived(&[F::SessionEnvironment], environment)),
        row("fields.tenant_id", Source::Derived(&[F::SessionTenantId], tenant)),
        row("fields.mitre_tactic", Source::Event(F::Tactic, text)),
        row("fields.mitre_technique", Source::Event(F::Technique, text)),
        row("fields.agent_id", Source::Event(F::AgentId, text)),
        row("fields.session_id", Source::Event(F::SessionId, text)),
        row("fields.user", Source::Event(F::SessionUserId, text)),
        row("fields.decision_allowed", Source::Event(F::Allowed, text)),
        row("fields.resource_type", Source::Event(F::ResourceType, text)),
        row("fields.resource_name", Source::Event(F::ResourceName, text)),
        row("fields.resource_path", Source::Event(F::ResourcePath, text)),
        row("fields.dest_host", Source::Event(F::ResourceHost, text)),
        row("fields.dest_port", Source::Event(F::ResourcePort, text)),
        row("fields.shrike_resend", Source::Option("resend")),
    ]),
};

const fn row(key: &'static str, source: Source) -> Field {
    Field { key, source, max: 0 }
}

/// "Flat object; string, or array of strings": numbers and truth values become strings.
fn text(encoder: &mut Encoder<'_>, value: Value<'_>) {
    encoder.raw(b"\"");
    encoder.raw(value.text());
    encoder.raw(b"\"");
}

/// Epoch seconds with six digits, from integers: the server keeps microseconds.
fn time(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    let at = event.opened.time;
    let (secs, micros) = match at.secs {
        secs @ 0.. => (secs.unsigned_abs(), at.nanos / 1000),
        // Before 1970 the fraction counts down from the next second.
        secs => match (1_000_000 - at.nanos / 1000) % 1_000_000 {
            0 => (secs.unsigned_abs(), 0),
            micros => (secs.unsigned_abs() - 1, micros),
        },
    };
    let sign = if at.secs < 0 { "-" } else { "" };
    encoder.raw(format!("{sign}{secs}.{micros:06}").as_bytes());
    true
}

fn environment(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    or(encoder, event.text(F::SessionEnvironment), b"unknown")
}

fn tenant(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    or(encoder, event.text(F::SessionTenantId), b"default")
}

fn or(encoder: &mut Encoder<'_>, text: &[u8], fallback: &[u8]) -> bool {
    encoder.raw(b"\"");
    encoder.raw(if text.is_empty() { fallback } else { text });
    encoder.raw(b"\"");
    true
}
