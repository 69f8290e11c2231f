//! Values of a document as a template sees them, numbers as they are written.
//!
//! Templates compute with 64-bit floats, which hold neither `1e400` nor 30 digits. Such numbers
//! are texts with a mark before them; no text of an event has that character.

use memchr::memmem;
use serde_json::{Number, Value};

use super::super::json;

/// Stands before the text of a number: a noncharacter, which texts "should never be given"
/// (Unicode, 23.7) and in which U+FFFD stands for it.
const MARK: char = '\u{fdd0}';
/// The same as bytes.
const MARK_BYTES: &[u8] = "\u{fdd0}".as_bytes();

/// The value of JSON text that was checked.
pub(super) fn value(json: &[u8]) -> Value {
    match json.first() {
        Some(b'{') => {
            let member = |(name, json)| (text(name), value(json));
            Value::Object(json::members(json).map(member).collect())
        }
        Some(b'[') => Value::Array(json::elements(json).map(value).collect()),
        Some(b'"') => Value::String(text(json::string(json).unwrap_or_default())),
        Some(b't') => Value::Bool(true),
        Some(b'f') => Value::Bool(false),
        Some(b'n') | None => Value::Null,
        Some(_) => number(json),
    }
}

/// A value as JSON.
pub(super) fn as_json(value: &Value) -> String {
    let text = value.to_string();
    let mut pieces = text.split("\"\u{fdd0}");
    let mut json = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (number, rest) = piece.split_once('"').unwrap_or((piece, ""));
        json.push_str(number);
        json.push_str(rest);
    }
    json
}

/// Text without marks, as it is to be seen.
pub(super) fn shown(text: &str) -> &str {
    text.strip_prefix(MARK).unwrap_or(text)
}

/// Hands on the pieces of rendered text between marks.
pub(super) fn pieces<'t>(rendered: &'t [u8], mut take: impl FnMut(&'t [u8])) {
    let mut from = 0;
    for at in memmem::find_iter(rendered, MARK_BYTES) {
        take(&rendered[from..at]);
        from = at + MARK_BYTES.len();
    }
    take(&rendered[from..]);
}

/// Whether two values are the same, numbers in whatever spelling.
pub(super) fn is_equal(a: &Value, b: &Value) -> bool {
    let is_marked = |value: &Value| value.as_str().is_some_and(|text| text.starts_with(MARK));
    let number = |value: &Value| match value.as_str() {
        Some(text) => text.strip_prefix(MARK)?.parse::<f64>().ok(),
        None => value.as_f64(),
    };
    a == b || (is_marked(a) != is_marked(b) && number(a).is_some() && number(a) == number(b))
}

fn text(escaped: &[u8]) -> String {
    let is_ours = |char| if char == MARK { char::REPLACEMENT_CHARACTER } else { char };
    json::characters(escaped).map(is_ours).collect()
}

fn number(json: &[u8]) -> Value {
    let written = String::from_utf8_lossy(json);
    let number = serde_json::from_str::<Number>(&written);
    // What is nothing in any spelling is false.
    let is_exact = |it: &Number| it.to_string() == written || it.as_f64() == Some(0.0);
    match number.ok().filter(is_exact) {
        Some(number) => Value::Number(number),
        None => Value::String(format!("{MARK}{written}")),
    }
}
