//! A log record, as the JSON encoding of OTLP spells it: camel case, 64-bit numbers as texts, ids
//! as hexadecimal digits.

use crate::event::{Event, FieldId as F, Value};
use crate::transform::Source::{Derived, DocText, Event as Field, OneOf, Part};
use crate::transform::write::{severity, value};
use crate::transform::{Empty, Encoder, Field as Row, Layout, Schema, json, row};

/// The event: its reason as the body, every field as an attribute.
pub(super) static RECORD: Schema = Schema {
    name: "otlp log record",
    layout: Layout::Table(&[
        TIME,
        OBSERVED,
        SEVERITY,
        SEVERITY_TEXT,
        EVENT_NAME,
        row("body.stringValue", Field(F::Reason, value)),
        row("attributes", Derived(ATTRIBUTES, attributes)),
        TRACE,
        SPAN,
    ]),
    required: &["timeUnixNano"],
    empty: Empty::Drop,
    ..Schema::BASE
};

/// A document of another schema as the body, with what tells one event from another.
pub(super) static AROUND: Schema = Schema {
    name: "otlp envelope",
    layout: Layout::Table(&[
        TIME,
        OBSERVED,
        SEVERITY,
        SEVERITY_TEXT,
        EVENT_NAME,
        row("body.stringValue", DocText),
        row("attributes", Derived(&[F::EventId], id)),
        TRACE,
        SPAN,
    ]),
    required: &["timeUnixNano"],
    empty: Empty::Drop,
    ..Schema::BASE
};

const TIME: Row = row("timeUnixNano", Derived(&[F::Timestamp], time));
const OBSERVED: Row = row("observedTimeUnixNano", Derived(&[F::Timestamp], observed));
const SEVERITY: Row = row("severityNumber", OneOf(&[F::Severity], severity, NUMBERS));
const SEVERITY_TEXT: Row = row("severityText", Field(F::Severity, value));
const EVENT_NAME: Row = row("eventName", Field(F::EventType, value));
const TRACE: Row = row("traceId", Part(&[F::TraceId, F::Traceparent], trace));
const SPAN: Row = row("spanId", Part(&[F::SpanId, F::Traceparent], span));

/// INFO, INFO2, WARN, ERROR, FATAL (Logs Data Model, SeverityNumber).
pub(super) const NUMBERS: &[&str] = &["9", "10", "13", "17", "21"];

fn time(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    text_number(encoder, nanos(event))
}

/// The event's time in nanoseconds since 1970.
pub(super) fn nanos(event: &Event<'_>) -> u64 {
    let time = event.opened.time;
    let nanos = i128::from(time.secs) * 1_000_000_000 + i128::from(time.nanos);
    // The field is unsigned: what was before 1970 is said to be unknown.
    u64::try_from(nanos).unwrap_or(0)
}

fn observed(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    text_number(encoder, event.frame.received_ns)
}

fn text_number(encoder: &mut Encoder<'_>, number: u64) -> bool {
    encoder.open_text();
    encoder.number(number);
    encoder.close_text();
    true
}

fn trace(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    id_text(encoder, hex_id::<32>(&[event.text(F::TraceId), parent(event, 1)]))
}

fn span(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    id_text(encoder, hex_id::<16>(&[event.text(F::SpanId), parent(event, 2)]))
}

/// A part of a traceparent (W3C Trace Context, 3.2.2).
pub(super) fn parent<'a>(event: &Event<'a>, part: usize) -> &'a [u8] {
    let parts = event.text(F::Traceparent).split(|&byte| byte == b'-');
    parts.clone().nth(part).filter(|_| parts.count() >= 4).unwrap_or_default()
}

/// The first of the texts that is an id of so many digits; one of zeros is none.
pub(super) fn hex_id<'t, const DIGITS: usize>(texts: &[&'t [u8]]) -> Option<&'t [u8]> {
    let is_id = |text: &&'t [u8]| {
        text.len() == DIGITS
            && text.iter().all(u8::is_ascii_hexdigit)
            && text.iter().any(|&digit| digit != b'0')
    };
    texts.iter().copied().find(is_id)
}

fn id_text(encoder: &mut Encoder<'_>, digits: Option<&[u8]>) -> bool {
    let Some(digits) = digits else { return false };
    encoder.text(digits);
    true
}

fn id(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    encoder.literal(b"[");
    attribute(encoder, event, F::EventId, true);
    encoder.literal(b"]");
    true
}

/// Every field that is there, under its own name.
fn attributes(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    encoder.literal(b"[");
    let mut is_first = true;
    for &field in ATTRIBUTES {
        is_first &= !attribute(encoder, event, field, is_first);
    }
    encoder.literal(b"]");
    true
}

/// Writes a field as an attribute; whether it is there.
fn attribute(encoder: &mut Encoder<'_>, event: &Event<'_>, field: F, is_first: bool) -> bool {
    let Some(json) = present(event, field) else { return false };
    if !is_first {
        encoder.literal(b",");
    }
    encoder.literal(b"{\"key\":\"");
    encoder.raw(field.path().as_bytes());
    encoder.literal(b"\",\"value\":");
    any(encoder, json, 0);
    encoder.literal(b"}");
    true
}

/// The field as JSON, where it says something.
pub(super) fn present<'a>(event: &Event<'a>, field: F) -> Option<&'a [u8]> {
    let Value { json, .. } = event.value(field)?;
    (!matches!(json, b"\"\"" | b"{}")).then_some(json)
}

/// Whether a member has a value.
pub(super) fn is_there(&(_, value): &(&[u8], &[u8])) -> bool {
    value != b"null"
}

/// JSON as an AnyValue.
fn any(encoder: &mut Encoder<'_>, value: &[u8], depth: usize) {
    encoder.literal(b"{");
    match value.first() {
        Some(b'"') => {
            encoder.literal(b"\"stringValue\":");
            encoder.text(json::string(value).unwrap_or_default());
        }
        Some(b'{' | b'[') if depth == DEPTH_MAX => {
            encoder.literal(b"\"stringValue\":");
            encoder.quoted(value);
        }
        Some(b'{') => {
            encoder.literal(b"\"kvlistValue\":{\"values\":[");
            for (at, (name, value)) in json::members(value).filter(is_there).enumerate() {
                if at > 0 {
                    encoder.literal(b",");
                }
                encoder.literal(b"{\"key\":");
                encoder.text(name);
                encoder.literal(b",\"value\":");
                any(encoder, value, depth + 1);
                encoder.literal(b"}");
            }
            encoder.literal(b"]}");
        }
        Some(b'[') => {
            encoder.literal(b"\"arrayValue\":{\"values\":[");
            for (at, value) in json::elements(value).enumerate() {
                if at > 0 {
                    encoder.literal(b",");
                }
                any(encoder, value, depth + 1);
            }
            encoder.literal(b"]}");
        }
        Some(b't' | b'f') => {
            encoder.literal(b"\"boolValue\":");
            encoder.raw(value);
        }
        Some(b'-' | b'0'..=b'9') if integer(value).is_some() => {
            encoder.literal(b"\"intValue\":\"");
            encoder.raw(value);
            encoder.literal(b"\"");
        }
        Some(b'-' | b'0'..=b'9') if double(value).is_none() => {
            encoder.literal(b"\"stringValue\":");
            encoder.text(value);
        }
        Some(b'-' | b'0'..=b'9') => {
            encoder.literal(b"\"doubleValue\":");
            encoder.raw(value);
            // Some readers take a number without a point for none (Fluent Bit 5.1.1).
            if !value.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
                encoder.literal(b".0");
            }
        }
        // "Null values within arrays may be replaced by 0, false or empty strings" where they cannot
        // be sent, so that places stay; elsewhere they are left out. A value without a kind would
        // be right by the protocol, and receivers refuse whole requests for one.
        _ => encoder.literal(b"\"stringValue\":\"\""),
    }
    encoder.literal(b"}");
}

/// The number where it is whole and within 64 bits.
pub(super) fn integer(number: &[u8]) -> Option<i64> {
    str::from_utf8(number).ok()?.parse().ok()
}

/// The number where 64 bits of floating point hold it: readers refuse a whole request for 1e999.
pub(super) fn double(number: &[u8]) -> Option<f64> {
    str::from_utf8(number).ok()?.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Objects deeper than this are texts: a receiver bounds its depth too.
pub(super) const DEPTH_MAX: usize = 8;

/// What becomes an attribute, under its path.
pub(super) const ATTRIBUTES: &[F] = &[
    F::EventId,
    F::EventType,
    F::EventCategory,
    F::SchemaVersion,
    F::Outcome,
    F::Action,
    F::AgentId,
    F::AgentName,
    F::AgentVersion,
    F::AgentType,
    F::SessionId,
    F::SessionUserId,
    F::SessionTenantId,
    F::SessionEnvironment,
    F::Allowed,
    F::Guard,
    F::Severity,
    F::PolicyHash,
    F::Ruleset,
    F::ResourceType,
    F::ResourceName,
    F::ResourcePath,
    F::ResourceHost,
    F::ResourcePort,
    F::IndicatorType,
    F::IndicatorValue,
    F::Tactic,
    F::Technique,
    F::Metadata,
    F::Labels,
];
