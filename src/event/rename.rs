//! Gives a record another id.

use super::rewrite::{self, Remarks};
use super::{Event, FieldId as F};

/// The record with this event id; its own goes to `metadata.shrike.source.id` (`inputs.md`, section
/// 8, `duplicate_id`).
///
/// The result is a mapped record: its `metadata.shrike` is ours. Members keep their order and their
/// text.
#[must_use]
pub fn renamed(event: &Event<'_>, id: &[u8; 36]) -> Vec<u8> {
    let mut source = b"\"id\":".to_vec();
    source.extend_from_slice(event.value(F::EventId).map_or(b"\"\"", |value| value.json));
    let mut out = Vec::with_capacity(event.record.len() + 256);
    let mut has_metadata = false;
    for entry in rewrite::entries(event.record.trim_ascii_start()) {
        out.push(if out.is_empty() { b'{' } else { b',' });
        if entry.is(b"event_id") {
            out.extend_from_slice(b"\"event_id\":");
            rewrite::quote(id, &mut out);
        } else if entry.is(b"metadata") {
            has_metadata = true;
            out.extend_from_slice(b"\"metadata\":");
            metadata(event, entry.value, &source, &mut out);
        } else {
            rewrite::member(entry.key, entry.value, &mut out);
        }
    }
    if !has_metadata {
        out.extend_from_slice(b",\"metadata\":");
        metadata(event, b"{}", &source, &mut out);
    }
    out.push(b'}');
    out
}

/// The metadata with our remarks as its last member.
fn metadata(event: &Event<'_>, value: &[u8], source: &[u8], out: &mut Vec<u8>) {
    let value = if value == b"null" { b"{}" } else { value };
    let shrike = rewrite::entries(value).into_iter().rev().find(|entry| entry.is(b"shrike"));
    let shrike = shrike.map(|entry| entry.value);
    let mut remarks = Remarks { source: source.to_vec(), ..Remarks::default() };
    match event.frame.mapped {
        true => remarks.mapped = shrike,
        false => remarks.displaced = shrike,
    }
    rewrite::metadata(value, out);
    // `metadata` always ends with its brace.
    out.pop();
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    out.extend_from_slice(b"\"shrike\":");
    rewrite::shrike(&remarks, out);
    out.push(b'}');
}
