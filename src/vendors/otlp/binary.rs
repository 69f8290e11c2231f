//! A log record in Protocol Buffers: what [`super::record`] says, by the numbers of
//! `opentelemetry/proto/logs/v1/logs.proto` and `common/v1/common.proto`.
//!
//! Every record stands in a `ResourceLogs` of its own. Requests are then one record after the
//! other, so that they can be split anywhere and compressed while they grow: the length of a
//! `ResourceLogs` of many would have to be known before the first.

use super::record::{
    ATTRIBUTES, DEPTH_MAX, NUMBERS, double, hex_id, integer, is_there, nanos, parent, present,
};
use crate::event::{Event, FieldId as F, Value};
use crate::protobuf::put_bytes;
use crate::transform::Source::{Derived, DocInside, Event as Field, OneOf, Part};
use crate::transform::write::severity;
use crate::transform::{Empty, Encoder, Field as Row, Layout, PROTOBUF, Pieces, Schema, json, row};

/// One `ResourceLogs` with one record, which is the event.
pub(super) static GROUP: Schema = ALONE;

/// The same around a document of another schema.
pub(super) static GROUP_AROUND: Schema = Schema { next: Some(&AROUND), ..ALONE };

const ALONE: Schema = Schema {
    name: "otlp resource logs",
    syntax: &PROTOBUF,
    layout: Layout::Table(&[row("resourceLogs", DocInside(Pieces::Around))]),
    required: &["resourceLogs"],
    ..Schema::BASE
};

/// The event: its reason as the body, every field as an attribute.
pub(super) static RECORD: Schema = Schema {
    name: "otlp log record",
    syntax: &PROTOBUF,
    layout: Layout::Table(&[
        TIME,
        OBSERVED,
        SEVERITY,
        SEVERITY_TEXT,
        EVENT_NAME,
        row("body.stringValue", Field(F::Reason, body)),
        row("attributes", Derived(ATTRIBUTES, attributes)),
        TRACE,
        SPAN,
    ]),
    required: &["timeUnixNano"],
    empty: Empty::Drop,
    ..Schema::BASE
};

/// A document of another schema as the body, with what tells one event from another.
static AROUND: Schema = Schema {
    name: "otlp envelope",
    syntax: &PROTOBUF,
    layout: Layout::Table(&[
        TIME,
        OBSERVED,
        SEVERITY,
        SEVERITY_TEXT,
        EVENT_NAME,
        row("attributes", Derived(&[F::EventId], id)),
        TRACE,
        SPAN,
        // LogRecord.body, and AnyValue.string_value in it.
        row("body.stringValue", DocInside(Pieces::Tags(&["\x2a", "\x0a"]))),
    ]),
    required: &["timeUnixNano"],
    empty: Empty::Drop,
    ..Schema::BASE
};

const TIME: Row = row("timeUnixNano", Derived(&[F::Timestamp], time));
const OBSERVED: Row = row("observedTimeUnixNano", Derived(&[F::Timestamp], observed));
const SEVERITY: Row = row("severityNumber", OneOf(&[F::Severity], severity, TAGGED_NUMBERS));
const SEVERITY_TEXT: Row = row("severityText", Field(F::Severity, severity_text));
const EVENT_NAME: Row = row("eventName", Field(F::EventType, event_name));
const TRACE: Row = row("traceId", Part(&[F::TraceId, F::Traceparent], trace));
const SPAN: Row = row("spanId", Part(&[F::SpanId, F::Traceparent], span));

/// LogRecord.severity_number, and each of [`NUMBERS`].
const TAGGED_NUMBERS: &[&str] = &["\x10\x09", "\x10\x0a", "\x10\x0d", "\x10\x11", "\x10\x15"];

/// What stands before each record: `ResourceLogs`, its resource of these attributes and its
/// `ScopeLogs`, the scope and the record; the length of each follows.
pub(super) fn around(attributes: &[(String, String)], name: &str, version: &str) -> Vec<Vec<u8>> {
    let mut resource = Vec::new();
    for (key, text) in attributes {
        let (mut value, mut pair) = (Vec::new(), Vec::new());
        put_bytes(1, text.as_bytes(), &mut value);
        put_bytes(1, key.as_bytes(), &mut pair);
        put_bytes(2, &value, &mut pair);
        put_bytes(1, &pair, &mut resource);
    }
    let (mut scope, mut before_scopes, mut before_record) = (Vec::new(), Vec::new(), Vec::new());
    put_bytes(1, name.as_bytes(), &mut scope);
    put_bytes(2, version.as_bytes(), &mut scope);
    put_bytes(1, &resource, &mut before_scopes);
    before_scopes.push(0x12);
    put_bytes(1, &scope, &mut before_record);
    before_record.push(0x12);
    vec![vec![0x0a], before_scopes, before_record]
}

fn time(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    fixed(encoder, b"\x09", nanos(event))
}

fn observed(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    fixed(encoder, b"\x59", event.frame.received_ns)
}

/// A number of eight bytes; 0 is what is not written.
fn fixed(encoder: &mut Encoder<'_>, tag: &[u8; 1], number: u64) -> bool {
    if number == 0 {
        return false;
    }
    encoder.literal(tag);
    encoder.literal(&number.to_le_bytes());
    true
}

fn severity_text(encoder: &mut Encoder<'_>, value: Value<'_>) {
    encoder.literal(b"\x1a");
    encoder.measured(|encoder| encoder.value_as_text(value));
}

fn event_name(encoder: &mut Encoder<'_>, value: Value<'_>) {
    encoder.literal(b"\x62");
    encoder.measured(|encoder| encoder.value_as_text(value));
}

fn body(encoder: &mut Encoder<'_>, value: Value<'_>) {
    encoder.literal(b"\x2a");
    encoder.measured(|encoder| string_value(encoder, value.text()));
}

fn trace(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    let found = hex_id::<32>(&[event.text(F::TraceId), parent(event, 1)]);
    bytes_of_hex(encoder, b"\x4a\x10", found)
}

fn span(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    let found = hex_id::<16>(&[event.text(F::SpanId), parent(event, 2)]);
    bytes_of_hex(encoder, b"\x52\x08", found)
}

/// An id as bytes behind its tag and length.
fn bytes_of_hex(encoder: &mut Encoder<'_>, head: &[u8; 2], digits: Option<&[u8]>) -> bool {
    let Some(digits) = digits else { return false };
    let half = |digit: u8| match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    };
    encoder.literal(head);
    for [high, low] in digits.as_chunks::<2>().0 {
        encoder.literal(&[half(*high) << 4 | half(*low)]);
    }
    true
}

fn id(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    present(event, F::EventId).is_some_and(|json| attribute(encoder, F::EventId, json))
}

/// Every field that is there, under its own name.
fn attributes(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    for &field in ATTRIBUTES {
        if let Some(json) = present(event, field) {
            attribute(encoder, field, json);
        }
    }
    true
}

/// LogRecord.attributes.
fn attribute(encoder: &mut Encoder<'_>, field: F, json: &[u8]) -> bool {
    let path = field.path().as_bytes();
    // A name of ours, which no limit on the event's texts cuts.
    pair(encoder, 0x32, path, json, 0, Encoder::raw);
    true
}

/// A KeyValue behind its tag and its length; the value is this deep.
fn pair<'e>(
    encoder: &mut Encoder<'e>,
    tag: u8,
    name: &[u8],
    value: &[u8],
    depth: usize,
    write_name: fn(&mut Encoder<'e>, &[u8]),
) {
    if let Some(text) = json::string(value)
        && !encoder.is_limited()
        && let Some(lengths) = short_lengths(name, text)
    {
        return short_pair(encoder, tag, lengths, name, text);
    }
    encoder.literal(&[tag]);
    encoder.measured(|encoder| {
        if !name.is_empty() {
            encoder.literal(b"\x0a");
            encoder.measured(|encoder| write_name(encoder, name));
        }
        encoder.literal(b"\x12");
        encoder.measured(|encoder| any(encoder, value, depth));
    });
}

/// The lengths of a name and a text as they stand in a KeyValue, where they are no more than that:
/// without escapes, and with all around them shorter than 128 bytes.
fn short_lengths(name: &[u8], text: &[u8]) -> Option<[u8; 2]> {
    let is_short = !name.is_empty() && name.len() + text.len() + SHORT_AROUND < 0x80;
    if !is_short || json::has_escape(name) || json::has_escape(text) {
        return None;
    }
    Some([u8::try_from(name.len()).ok()?, u8::try_from(text.len()).ok()?])
}

/// Bytes of a KeyValue of two short texts beside them.
const SHORT_AROUND: usize = 6;

/// A KeyValue whose lengths are known before it is written, each one byte.
fn short_pair(
    encoder: &mut Encoder<'_>,
    tag: u8,
    [name_len, text_len]: [u8; 2],
    name: &[u8],
    text: &[u8],
) {
    encoder.literal(&[tag, name_len + text_len + SHORT_AROUND as u8, 0x0a, name_len]);
    encoder.raw(name);
    encoder.literal(&[0x12, text_len + 2, 0x0a, text_len]);
    encoder.raw(text);
}

/// JSON as an AnyValue.
fn any(encoder: &mut Encoder<'_>, value: &[u8], depth: usize) {
    match value.first() {
        Some(b'"') => string_value(encoder, json::string(value).unwrap_or_default()),
        Some(b'{' | b'[') if depth == DEPTH_MAX => {
            encoder.literal(b"\x0a");
            encoder.measured(|encoder| encoder.quoted(value));
        }
        Some(b'{') => {
            encoder.literal(b"\x32");
            encoder.measured(|encoder| {
                for (name, value) in json::members(value).filter(is_there) {
                    pair(encoder, 0x0a, name, value, depth + 1, Encoder::text);
                }
            });
        }
        Some(b'[') => {
            encoder.literal(b"\x2a");
            encoder.measured(|encoder| {
                for value in json::elements(value) {
                    encoder.literal(b"\x0a");
                    encoder.measured(|encoder| any(encoder, value, depth + 1));
                }
            });
        }
        Some(b't') => encoder.literal(b"\x10\x01"),
        Some(b'f') => encoder.literal(b"\x10\x00"),
        Some(b'-' | b'0'..=b'9') => number(encoder, value),
        // As in JSON: a value without a kind is refused by receivers.
        _ => encoder.literal(b"\x0a\x00"),
    }
}

/// AnyValue.string_value, from escaped text.
fn string_value(encoder: &mut Encoder<'_>, text: &[u8]) {
    encoder.literal(b"\x0a");
    encoder.measured(|encoder| encoder.text(text));
}

/// AnyValue.int_value or double_value where 64 bits hold the number, else string_value.
fn number(encoder: &mut Encoder<'_>, digits: &[u8]) {
    if let Some(number) = integer(digits) {
        encoder.literal(b"\x18");
        return encoder.varint(number.cast_unsigned());
    }
    let Some(number) = double(digits) else { return string_value(encoder, digits) };
    encoder.literal(b"\x21");
    encoder.literal(&number.to_le_bytes());
}

const _: () = {
    // The same numbers, for whoever changes one of the lists.
    let mut at = 0;
    while at < NUMBERS.len() {
        let (digits, tagged) = (NUMBERS[at].as_bytes(), TAGGED_NUMBERS[at].as_bytes());
        let mut number = 0;
        let mut digit = 0;
        while digit < digits.len() {
            number = number * 10 + (digits[digit] - b'0');
            digit += 1;
        }
        assert!(tagged.len() == 2 && tagged[1] == number);
        at += 1;
    }
    assert!(TAGGED_NUMBERS.len() == NUMBERS.len());
};
