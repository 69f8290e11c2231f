//! Clawdstrike: entries of hushd's dead-letter file, which wrap an event (`inputs.md`, 1 and 6).

use super::draft::member;
use super::rules::find;
use crate::event::{Class, each_entry, entries};
use crate::intake::{Dialect, Kind, Mapped, Mode, Source};

/// One entry: the event inside is taken out.
pub(super) static DEAD_LETTER: Dialect = Dialect {
    name: "security_event",
    keys: &[("exporter", Kind::Any), ("failed_at", Kind::Any), ("event", Kind::Object)],
    mode: Mode::Append,
    map,
};

fn map(source: &Source<'_>, out: &mut Mapped) -> Result<(), Class> {
    let event = find(source.members, "event").ok_or(Class::MissingField)?;
    let mut letter = Vec::new();
    for entry in source.members.iter().filter(|entry| !entry.is(b"event")) {
        member(entry.key, entry.value, &mut letter);
    }
    let mut members = Vec::new();
    let mut metadata: &[u8] = b"{}";
    for entry in entries(event) {
        match entry.is(b"metadata") {
            true => metadata = entry.value,
            false => member(entry.key, entry.value, &mut members),
        }
    }
    let mut own = Vec::new();
    let mut displaced = None;
    if each_entry(metadata, |entry| match entry.is(b"shrike") {
        true => displaced = Some(entry.value),
        false => member(entry.key, entry.value, &mut own),
    })
    .is_none()
        && metadata != b"null"
    {
        member(b"value", metadata, &mut own);
    }
    let mut shrike = b"\"format\":\"security_event\",\"dlq\":{".to_vec();
    shrike.extend_from_slice(&letter);
    shrike.push(b'}');
    if let Some(displaced) = displaced {
        member(b"displaced", displaced, &mut shrike);
    }
    out.event(|out| {
        out.push(b'{');
        out.extend_from_slice(&members);
        out.extend_from_slice(if members.is_empty() {
            b"\"metadata\":{"
        } else {
            b",\"metadata\":{"
        });
        out.extend_from_slice(&own);
        out.extend_from_slice(if own.is_empty() { b"\"shrike\":{" } else { b",\"shrike\":{" });
        out.extend_from_slice(&shrike);
        out.extend_from_slice(b"}}}");
    });
    Ok(())
}
