//! OTLP logs as protobuf, the usual encoding of OTLP over HTTP: they become the JSON of the same
//! export, which [`super::otlp`] maps.
//!
//! Read by tables and written as it is read, so that a body of a few bytes cannot take a thousand
//! times its size in memory, as it can where each empty message becomes a structure. Field numbers
//! are those of `opentelemetry/proto/logs/v1/logs.proto`; fields that are not there are left out.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::intake::{Binary, Undecoded};
use crate::protobuf::{Wire, field, fields, put_bytes, put_number};

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

/// The JSON of an export of at most so many bytes.
fn decode(body: &[u8], bytes_max: usize) -> Result<Vec<u8>, Undecoded> {
    if body.is_empty() {
        return Ok(b"{\"resourceLogs\":[]}".to_vec());
    }
    let mut json = Vec::with_capacity(2 * body.len());
    let bounds = Bounds { depth: 0, bytes_max };
    message(&EXPORT, body, bounds, &mut json).map_err(|wrong| match wrong {
        Wrong::Field(names, problem) => Undecoded::Malformed { place: place(&names), problem },
        Wrong::TooLarge => Undecoded::TooLarge,
    })?;
    Ok(json)
}

/// The names that lead to a field, innermost first, as a path that people can read.
fn place(names: &[&str]) -> String {
    let path: Vec<&str> = names.iter().rev().copied().take(NAMES_MAX).collect();
    match names.len() {
        0 => "the whole".to_owned(),
        1..=NAMES_MAX => path.join("."),
        _ => path.join(".") + "...",
    }
}

/// Why a message cannot be read.
enum Wrong {
    /// The fields that lead to it, innermost first, and what is wrong with the last of them.
    Field(Vec<&'static str>, &'static str),
    TooLarge,
}

impl Wrong {
    const fn here(problem: &'static str) -> Self {
        Self::Field(Vec::new(), problem)
    }

    fn inside(mut self, name: &'static str) -> Self {
        if let Self::Field(names, _) = &mut self {
            names.push(name);
        }
        self
    }
}

/// Where in a body a message stands, and how much all of it may become.
#[derive(Clone, Copy)]
struct Bounds {
    depth: usize,
    bytes_max: usize,
}

/// The answer to an export of which something was refused (`ExportLogsServiceResponse`).
fn answer(rejected: u64, text: &str) -> Vec<u8> {
    if rejected == 0 {
        return Vec::new();
    }
    let mut partial = Vec::new();
    put_number(1, rejected, &mut partial);
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
    bounds: Bounds,
    out: &mut Vec<u8>,
) -> Result<(), Wrong> {
    if out.len() > bounds.bytes_max {
        return Err(Wrong::TooLarge);
    }
    if bounds.depth > DEPTH_MAX {
        return Err(Wrong::here("messages stand inside each other too deep"));
    }
    let last = last_of(message, bytes).ok_or(Wrong::here("expected whole fields of a message"))?;
    let begin = out.len();
    out.push(b'{');
    for (number, name, kind) in message.rows {
        if message.is_choice && last != *number {
            continue;
        }
        let mut found = fields(bytes).filter(|(it, _)| it == number).map(|(_, value)| value);
        let is_list = matches!(kind, Kind::Many(_));
        let first = if is_list { found.next() } else { found.by_ref().last() };
        let Some(mut value) = first else { continue };
        if out.len() > begin + 1 {
            out.push(b',');
        }
        out.push(b'"');
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(if is_list { b"\":[" } else { b"\":" });
        loop {
            one(kind, value, bounds, out).map_err(|wrong| wrong.inside(name))?;
            let Some(next) = found.next() else { break };
            out.push(b',');
            value = next;
        }
        if is_list {
            out.push(b']');
        }
    }
    out.push(b'}');
    Ok(())
}

fn one(kind: &Kind, value: Wire<'_>, bounds: Bounds, out: &mut Vec<u8>) -> Result<(), Wrong> {
    let written = match (kind, value) {
        (Kind::Text, Wire::Bytes(bytes)) => {
            text(bytes, out);
            return Ok(());
        }
        (Kind::One(inner) | Kind::Many(inner), Wire::Bytes(bytes)) => {
            return message(inner, bytes, Bounds { depth: bounds.depth + 1, ..bounds }, out);
        }
        (Kind::Bool, Wire::Varint(number)) => (number != 0).to_string(),
        // Numbers of 32 bits are sent with their sign in 64.
        (Kind::Number, Wire::Varint(number)) => (number as u32).to_string(),
        (Kind::Long, Wire::Varint(number)) => format!("\"{}\"", number.cast_signed()),
        (Kind::Fixed64, Wire::Eight(bytes)) => format!("\"{}\"", u64::from_le_bytes(bytes)),
        (Kind::Fixed32, Wire::Four(bytes)) => u32::from_le_bytes(bytes).to_string(),
        (Kind::Double, Wire::Eight(bytes)) => double(f64::from_le_bytes(bytes)),
        (Kind::Hex, Wire::Bytes(bytes)) => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("\"{digits}\"")
        }
        (Kind::Base64, Wire::Bytes(bytes)) => format!("\"{}\"", BASE64_STANDARD.encode(bytes)),
        _ => return Err(Wrong::here("has another type than in `logs.proto`")),
    };
    out.extend_from_slice(written.as_bytes());
    Ok(())
}

/// A text as JSON; bytes that are no UTF-8 stay as they are, and are told and repaired as those of
/// every other record.
fn text(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for chunk in bytes.utf8_chunks() {
        let valid = serde_json::Value::from(chunk.valid()).to_string();
        out.extend_from_slice(&valid.as_bytes()[1..valid.len() - 1]);
        out.extend_from_slice(chunk.invalid());
    }
    out.push(b'"');
}

fn double(number: f64) -> String {
    match number {
        f64::INFINITY => "\"Infinity\"".to_owned(),
        f64::NEG_INFINITY => "\"-Infinity\"".to_owned(),
        number if number.is_nan() => "\"NaN\"".to_owned(),
        number => serde_json::Value::from(number).to_string(),
    }
}

/// The number of the last field that the message knows, 0 where there is none; nothing where the
/// bytes are no message.
fn last_of(message: &Message, mut bytes: &[u8]) -> Option<u64> {
    let mut last = 0;
    while !bytes.is_empty() {
        let (number, _) = field(&mut bytes)?;
        if message.rows.iter().any(|(known, ..)| *known == number) {
            last = number;
        }
    }
    Some(last)
}

/// Messages inside each other: an event takes 128 levels of JSON, three for each value in a value.
const DEPTH_MAX: usize = 64;
/// Names that tell a place: those of the record, of an attribute, and of two values inside it.
const NAMES_MAX: usize = 9;
