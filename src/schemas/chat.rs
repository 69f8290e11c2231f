//! What messages to people have in common: which say the same, and how many were left out.

use time::OffsetDateTime;

use crate::event::{Event, FieldId as F, LeftOut};
use crate::transform::{Encoder, Layout, Schema, Source, json, row};

/// What joins messages of a channel that say the same, in the row `key`: guard, resource and
/// session.
pub static SAME: Schema = Schema {
    name: "what a message repeats",
    layout: Layout::Table(&[row("key", Source::Derived(SAID, same))]),
    required: &["key"],
    ..Schema::BASE
};

const SAID: &[F] = &[
    F::Guard,
    F::ResourceType,
    F::ResourceName,
    F::ResourcePath,
    F::ResourceHost,
    F::ResourcePort,
    F::SessionId,
];

fn same(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    encoder.open_text();
    for &field in SAID {
        encoder.characters(event.text(field));
        // Stands in no field of anybody who does not mean to look like another.
        encoder.plain(b"\x1f");
    }
    encoder.close_text();
    true
}

/// What joins messages of a channel to one thread, in the row `key`: the session, where the event
/// has one.
pub static SESSION: Schema = Schema {
    name: "session of a message",
    layout: Layout::Table(&[row("key", Source::Derived(&[F::SessionId, F::Shrike], session))]),
    required: &["key"],
    ..Schema::BASE
};

fn session(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    // What opening wrote into an event without one is nobody's.
    let defaulted = event.value(F::Shrike).and_then(|it| json::member(it.json, b"defaulted"));
    let mut defaulted = json::elements(defaulted.unwrap_or_default());
    if defaulted.any(|field| field == b"\"session.id\"") {
        return false;
    }
    encoder.text(event.text(F::SessionId));
    true
}

/// Appends `Repeated 3 times since 2026-02-06 09:00 UTC`, without quotes; nothing where nothing was
/// left out.
pub fn repeated(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    let Some(LeftOut { events, since }) = event.left_out() else { return false };
    let time = OffsetDateTime::from_unix_timestamp(since).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (date, hour, minute) = (time.date(), time.hour(), time.minute());
    let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
    let times = if events == 1 { "time" } else { "times" };
    encoder.raw(
        format!(
            "Repeated {events} {times} since {year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC"
        )
        .as_bytes(),
    );
    true
}
