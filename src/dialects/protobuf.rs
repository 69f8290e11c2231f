//! OTLP logs as protobuf, the usual encoding of OTLP over HTTP: they become the JSON of the same
//! export, which [`super::otlp`] maps.
//!
//! Read by tables and written as it is read, so that a body of a few bytes cannot take a thousand
//! times its size in memory, as it can where each empty message becomes a structure. Field numbers
//! are those of `opentelemetry/proto/logs/v1/logs.proto`; fields that are not there are left out.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::intake::Binary;

/// Logs in protobuf.
pub(super) static PROTOBUF: Binary =
    Binary { content_type: "application/x-protobuf", decode, answer, refusal };

/// A message: its fields in the order in which they are written.
struct Message {
    rows: &'static [(u64, &'static str, Kind)],
    /// Only the last field counts: a `oneof`.
    is_choice: bool,
}

/// What a field holds, and how JSON writes it (`opentelemetry-proto`, JSON Protobuf Encoding).
enum Kind {
    Text,
    Bool,
    /// A number of 32 bits, as it is.
    Number,
    /// One of 64 bits, as a text.
    Long,
    /// Eight bytes, as a text.
    Fixed64,
    /// Four bytes.
    Fixed32,
    Double,
    /// Ids of traces and spans.
    Hex,
    Base64,
    One(&'static Message),
    Many(&'static Message),
}

static EXPORT: Message = all(&[(1, "resourceLogs", Kind::Many(&RESOURCE_LOGS))]);
static RESOURCE_LOGS: Message = all(&[
    (1, "resource", Kind::One(&RESOURCE)),
    (2, "scopeLogs", Kind::Many(&SCOPE_LOGS)),
    (3, "schemaUrl", Kind::Text),
]);
static RESOURCE: Message =
    all(&[(1, "attributes", Kind::Many(&KEY_VALUE)), (2, "droppedAttributesCount", Kind::Number)]);
static SCOPE_LOGS: Message = all(&[
    (1, "scope", Kind::One(&SCOPE)),
    (2, "logRecords", Kind::Many(&LOG_RECORD)),
    (3, "schemaUrl", Kind::Text),
]);
static SCOPE: Message = all(&[
    (1, "name", Kind::Text),
    (2, "version", Kind::Text),
    (3, "attributes", Kind::Many(&KEY_VALUE)),
    (4, "droppedAttributesCount", Kind::Number),
]);
static LOG_RECORD: Message = all(&[
    (1, "timeUnixNano", Kind::Fixed64),
    (11, "observedTimeUnixNano", Kind::Fixed64),
    (2, "severityNumber", Kind::Number),
    (3, "severityText", Kind::Text),
    (5, "body", Kind::One(&ANY_VALUE)),
    (6, "attributes", Kind::Many(&KEY_VALUE)),
    (7, "droppedAttributesCount", Kind::Number),
    (8, "flags", Kind::Fixed32),
    (9, "traceId", Kind::Hex),
    (10, "spanId", Kind::Hex),
    (12, "eventName", Kind::Text),
]);
static KEY_VALUE: Message = all(&[(1, "key", Kind::Text), (2, "value", Kind::One(&ANY_VALUE))]);
static ANY_VALUE: Message = Message {
    rows: &[
        (1, "stringValue", Kind::Text),
        (2, "boolValue", Kind::Bool),
        (3, "intValue", Kind::Long),
        (4, "doubleValue", Kind::Double),
        (5, "arrayValue", Kind::One(&ARRAY_VALUE)),
        (6, "kvlistValue", Kind::One(&KEY_VALUES)),
        (7, "bytesValue", Kind::Base64),
    ],
    is_choice: true,
};
static ARRAY_VALUE: Message = all(&[(1, "values", Kind::Many(&ANY_VALUE))]);
static KEY_VALUES: Message = all(&[(1, "values", Kind::Many(&KEY_VALUE))]);

const fn all(rows: &'static [(u64, &'static str, Kind)]) -> Message {
    Message { rows, is_choice: false }
}

/// A field as it came.
#[derive(Clone, Copy)]
enum Wire<'a> {
    Varint(u64),
    Eight([u8; 8]),
    Four([u8; 4]),
    Bytes(&'a [u8]),
}

/// The JSON of an export of at most so many bytes; nothing where the bytes are none.
fn decode(body: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
    let mut json = Vec::with_capacity(2 * body.len());
    message(&EXPORT, body, 0, bytes_max, &mut json)?;
    if body.is_empty() {
        json.clear();
        json.extend_from_slice(b"{\"resourceLogs\":[]}");
    }
    Some(json)
}

/// The answer to an export of which something was refused (`ExportLogsServiceResponse`).
fn answer(rejected: u64, text: &str) -> Vec<u8> {
    if rejected == 0 {
        return Vec::new();
    }
    let mut partial = Vec::new();
    put_varint(1 << 3, &mut partial);
    put_varint(rejected, &mut partial);
    put_bytes(2, text.as_bytes(), &mut partial);
    let mut out = Vec::new();
    put_bytes(1, &partial, &mut out);
    out
}

/// The answer to one that was refused as a whole (`google.rpc.Status`).
fn refusal(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(2, text.as_bytes(), &mut out);
    out
}

fn message(
    message: &Message,
    bytes: &[u8],
    depth: usize,
    bytes_max: usize,
    out: &mut Vec<u8>,
) -> Option<()> {
    if depth > DEPTH_MAX || out.len() > bytes_max {
        return None;
    }
    let begin = out.len();
    out.push(b'{');
    let last = last_of(bytes)?;
    for (number, name, kind) in message.rows {
        if message.is_choice && last != *number {
            continue;
        }
        let mut found = fields(bytes).filter(|(it, _)| it == number).map(|(_, value)| value);
        let many = match kind {
            Kind::Many(inner) => Some(*inner),
            _ => None,
        };
        let first = if many.is_some() { found.next() } else { found.by_ref().last() };
        let Some(mut value) = first else { continue };
        if out.len() > begin + 1 {
            out.push(b',');
        }
        out.extend_from_slice(format!("\"{name}\":").as_bytes());
        let Some(inner) = many else {
            one(kind, value, depth, bytes_max, out)?;
            continue;
        };
        out.push(b'[');
        loop {
            one(&Kind::One(inner), value, depth, bytes_max, out)?;
            let Some(next) = found.next() else { break };
            out.push(b',');
            value = next;
        }
        out.push(b']');
    }
    out.push(b'}');
    Some(())
}

fn one(
    kind: &Kind,
    value: Wire<'_>,
    depth: usize,
    bytes_max: usize,
    out: &mut Vec<u8>,
) -> Option<()> {
    let text = match (kind, value) {
        (Kind::Text, Wire::Bytes(bytes)) => {
            let text = str::from_utf8(bytes).ok()?;
            return serde_json::to_writer(out, text).ok();
        }
        (Kind::One(inner) | Kind::Many(inner), Wire::Bytes(bytes)) => {
            return message(inner, bytes, depth + 1, bytes_max, out);
        }
        (Kind::Bool, Wire::Varint(number)) => (number != 0).to_string(),
        // Numbers of 32 bits are sent with their sign in 64.
        (Kind::Number, Wire::Varint(number)) => (number as u32).to_string(),
        (Kind::Long, Wire::Varint(number)) => format!("\"{}\"", number.cast_signed()),
        (Kind::Fixed64, Wire::Eight(bytes)) => format!("\"{}\"", u64::from_le_bytes(bytes)),
        (Kind::Fixed32, Wire::Four(bytes)) => u32::from_le_bytes(bytes).to_string(),
        (Kind::Double, Wire::Eight(bytes)) => match f64::from_le_bytes(bytes) {
            number if number.is_nan() => "\"NaN\"".to_owned(),
            f64::INFINITY => "\"Infinity\"".to_owned(),
            f64::NEG_INFINITY => "\"-Infinity\"".to_owned(),
            number => serde_json::to_string(&number).ok()?,
        },
        (Kind::Hex, Wire::Bytes(bytes)) => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("\"{digits}\"")
        }
        (Kind::Base64, Wire::Bytes(bytes)) => format!("\"{}\"", BASE64_STANDARD.encode(bytes)),
        _ => return None,
    };
    out.extend_from_slice(text.as_bytes());
    Some(())
}

/// The fields of a message with their numbers, up to the first that is none.
fn fields(mut bytes: &[u8]) -> impl Iterator<Item = (u64, Wire<'_>)> {
    std::iter::from_fn(move || field(&mut bytes))
}

/// The number of the last field, 0 where there is none; nothing where the bytes are no message.
fn last_of(mut bytes: &[u8]) -> Option<u64> {
    let mut last = 0;
    while !bytes.is_empty() {
        (last, _) = field(&mut bytes)?;
    }
    Some(last)
}

fn field<'a>(bytes: &mut &'a [u8]) -> Option<(u64, Wire<'a>)> {
    let key = take_varint(bytes)?;
    let value = match key & 7 {
        0 => Wire::Varint(take_varint(bytes)?),
        1 => Wire::Eight(take_array(bytes)?),
        2 => {
            let length = usize::try_from(take_varint(bytes)?).ok()?;
            let (value, rest) = bytes.split_at_checked(length)?;
            *bytes = rest;
            Wire::Bytes(value)
        }
        5 => Wire::Four(take_array(bytes)?),
        // Groups, which this format does not use.
        _ => return None,
    };
    (key >> 3 > 0).then_some((key >> 3, value))
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn take_array<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (array, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*array)
}

fn put_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number as u8 & 0x7f) | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_bytes(field: u64, bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(field << 3 | 2, out);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Messages inside each other: an event takes 128 levels of JSON, three for each value in a value.
const DEPTH_MAX: usize = 64;
