//! A sentence for people, which begins with the time.

use super::check;
use crate::event::{Event, FieldId as F};
use crate::transform::{Encoder, Layout, Schema, Source, Syntax, json, row};

/// `{timestamp} [{SEVERITY}] {guard}: {ALLOWED or BLOCKED} - {reason} | event_id=.. session_id=..`
pub static TEXT: Schema = Schema {
    name: "text",
    syntax: &SENTENCE,
    layout: Layout::Table(&[row("line", Source::Derived(SAID, sentence))]),
    check: Some(check::text),
    ..Schema::BASE
};

/// What a sentence says.
const SAID: &[F] =
    &[F::Timestamp, F::Severity, F::Guard, F::Allowed, F::Reason, F::EventId, F::SessionId];

fn sentence(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    let verdict: &[u8] = if event.opened.allowed { b": ALLOWED - " } else { b": BLOCKED - " };
    encoder.characters(event.text(F::Timestamp));
    encoder.literal(b" [");
    for c in json::characters(event.text(F::Severity)) {
        encoder.char(c.to_ascii_uppercase());
    }
    encoder.literal(b"] ");
    encoder.characters(event.text(F::Guard));
    encoder.raw(verdict);
    encoder.characters(event.text(F::Reason));
    encoder.literal(b" | event_id=");
    encoder.characters(event.text(F::EventId));
    encoder.literal(b" session_id=");
    encoder.characters(event.text(F::SessionId));
    true
}

/// One value, its key not written, on one line.
static SENTENCE: Syntax = Syntax {
    name: "sentence",
    open: "",
    close: "",
    between: " ",
    key: ("", "="),
    names: false,
    is_key: |key| !key.is_empty(),
    keys: "a name",
    text: ("", ""),
    nests: false,
    verbatim: false,
    counts_bytes: false,
    escape,
};

/// "Replace CR/LF with `\\n`, `\"` with `\\\"`, `\\` with `\\\\`" (`sumo-logic.md`, Formats).
fn escape(byte: u8) -> Option<&'static str> {
    match byte {
        b'\n' | b'\r' => Some("\\n"),
        b'"' => Some("\\\""),
        b'\\' => Some("\\\\"),
        0..=31 | 127 => Some(" "),
        _ => None,
    }
}
