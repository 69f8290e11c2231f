//! What others know of an event's values: asked once, before privacy, since nothing after it sees
//! the original.

use std::borrow::Cow;
use std::fmt;

use super::enrich::Constant;
use super::rewrite::{self, appended};
use super::{Event, FieldId as F, IndicatorType, Opened, Place, Severity};

/// Knows values of events; asked for every event, so it answers from memory.
pub trait Insight: fmt::Debug + Send + Sync {
    /// What is known of an event's values; nothing of most.
    fn of(&self, event: &Event<'_>) -> Option<Box<Known>>;
}

/// What is known of an event's values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The member `threat_intel` of our remarks, as JSON.
    pub remark: Vec<u8>,
    /// The indicator, for events that carry none; `indicator_field` in the remark says which field
    /// it was found in.
    pub indicator: Option<(IndicatorType, String)>,
    /// The tactic, for events that name none.
    pub tactic: Option<String>,
    /// The technique, for events that name none.
    pub technique: Option<String>,
    /// The severity that the event has from now on.
    pub severity: Option<Severity>,
}

impl Known {
    /// Adds itself to an opened event, its texts to the arena.
    #[cold]
    pub(super) fn add(
        &self,
        severities: &[Constant; Severity::ALL.len()],
        record: &[u8],
        arena: &mut Vec<u8>,
        out: &mut Opened,
    ) {
        out.intel = true;
        let start = arena.len();
        let remarks = out.places[F::Shrike as usize];
        match remarks.bytes(record, arena).to_vec() {
            own if own.len() > 2 => arena.extend_from_slice(&own[..own.len() - 1]),
            _ => arena.push(b'{'),
        }
        if arena.len() > start + 1 {
            arena.push(b',');
        }
        arena.extend_from_slice(b"\"");
        arena.extend_from_slice(MEMBER);
        arena.extend_from_slice(b"\":");
        arena.extend_from_slice(&self.remark);
        arena.push(b'}');
        place(F::Shrike, start, arena, out);
        if let Some((kind, value)) = &self.indicator {
            text(F::IndicatorType, kind.word(), arena, out);
            text(F::IndicatorValue, value, arena, out);
            out.indicator_type = *kind;
        }
        for (id, word) in [(F::Tactic, &self.tactic), (F::Technique, &self.technique)] {
            if let Some(word) = word {
                text(id, word, arena, out);
            }
        }
        if let Some(severity) = self.severity {
            out.severity = severity;
            severities[severity as usize].put(F::Severity, out);
        }
    }
}

/// Whether our remarks tell of a match, in an event that was opened before it was kept.
pub(super) fn is_noted(remarks: Place, record: &[u8], arena: &[u8]) -> bool {
    let mut is_noted = false;
    let remarks = remarks.bytes(record, arena);
    let _read = rewrite::each_entry(remarks, |entry| is_noted |= entry.is(MEMBER));
    is_noted
}

/// Where a value comes from that was added to an event.
pub(super) struct Origin<'a> {
    /// The path of the field that it was found in.
    pub(super) field: &'a [u8],
    /// The word for what it is.
    pub(super) kind: &'a [u8],
    /// The value.
    pub(super) value: Cow<'a, [u8]>,
}

/// The path of the field that an event's indicator was found in, where it carried none.
pub(super) fn indicator_field(remarks: &[u8]) -> Option<&[u8]> {
    let mut field = None;
    each(remarks, MEMBER, |known| {
        each(known, b"indicator_field", |path| field = Some(word(path)));
    });
    field
}

/// Our remarks without what identifies those matches whose value must not be told; `None` where
/// all of them stay.
pub(super) fn covered(
    remarks: &[u8],
    instead: &[u8],
    is_told: impl Fn(&Origin<'_>) -> bool,
) -> Option<Vec<u8>> {
    let mut is_changed = false;
    let mut out = Vec::with_capacity(remarks.len());
    let read = object(remarks, &mut out, |entry, out| {
        if !entry.is(MEMBER) {
            out.extend_from_slice(entry.value);
            return;
        }
        let read = object(entry.value, out, |entry, out| {
            if !entry.is(b"matches") {
                out.extend_from_slice(entry.value);
                return;
            }
            out.push(b'[');
            for (n, found) in rewrite::elements(entry.value).into_iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                is_changed |= one(found, instead, &is_told, out);
            }
            out.push(b']');
        });
        debug_assert!(read.is_some(), "we wrote it");
    });
    debug_assert!(read.is_some(), "opening has read it");
    is_changed.then_some(out)
}

/// Writes a match; says whether that which identifies it was left out.
fn one(
    found: &[u8],
    instead: &[u8],
    is_told: impl Fn(&Origin<'_>) -> bool,
    out: &mut Vec<u8>,
) -> bool {
    let mut origin = Origin { field: b"", kind: b"", value: Cow::Borrowed(b"") };
    let _read = rewrite::each_entry(found, |entry| match entry.key {
        b"field" => origin.field = word(entry.value),
        b"type" => origin.kind = word(entry.value),
        b"value" => origin.value = plain(entry.value),
        _ => {}
    });
    if is_told(&origin) {
        out.extend_from_slice(found);
        return false;
    }
    let value = origin.value.to_ascii_lowercase();
    let is_in =
        |text: &[u8]| memchr::memmem::find(&plain(text).to_ascii_lowercase(), &value).is_some();
    out.push(b'{');
    let mut is_first = true;
    let _read = rewrite::each_entry(found, |entry| {
        let value = match entry.key {
            b"value" => instead,
            // Whoever has the feed finds the value by the id.
            b"id" | b"name" => return,
            b"actor" | b"campaign" | b"malware" if is_in(entry.value) => return,
            _ => entry.value,
        };
        member(entry.key, &mut is_first, out);
        out.extend_from_slice(value);
    });
    out.push(b'}');
    true
}

/// Writes an object anew, the values by `write`.
fn object<'a>(
    json: &'a [u8],
    out: &mut Vec<u8>,
    mut write: impl FnMut(rewrite::Entry<'a>, &mut Vec<u8>),
) -> Option<()> {
    out.push(b'{');
    let mut is_first = true;
    let read = rewrite::each_entry(json, |entry| {
        member(entry.key, &mut is_first, out);
        write(entry, out);
    });
    out.push(b'}');
    read
}

/// Begins a member with a key as it stands in JSON.
fn member(key: &[u8], is_first: &mut bool, out: &mut Vec<u8>) {
    if !std::mem::replace(is_first, false) {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(key);
    out.extend_from_slice(b"\":");
}

/// Calls with the value of a member of an object.
fn each<'a>(json: &'a [u8], name: &[u8], mut call: impl FnMut(&'a [u8])) {
    let _read = rewrite::each_entry(json, |entry| {
        if entry.is(name) {
            call(entry.value);
        }
    });
}

/// A text of ours in JSON, which needs no escapes.
fn word(json: &[u8]) -> &[u8] {
    json.strip_prefix(b"\"").and_then(|it| it.strip_suffix(b"\"")).unwrap_or_default()
}

/// A text in JSON, its escapes undone.
fn plain(json: &[u8]) -> Cow<'_, [u8]> {
    match word(json) {
        text if text.contains(&b'\\') => Cow::Owned(rewrite::unescape(text)),
        text => Cow::Borrowed(text),
    }
}

fn text(id: F, text: &str, arena: &mut Vec<u8>, out: &mut Opened) {
    let start = arena.len();
    rewrite::quote(text.as_bytes(), arena);
    place(id, start, arena, out);
}

/// Makes what was appended since `start` the value of a field.
fn place(id: F, start: usize, arena: &[u8], out: &mut Opened) {
    out.places[id as usize] = appended(arena, start);
    out.escaped &= !id.bit();
    out.escaped |= u64::from(arena[start..].contains(&b'\\')) << id as u8;
}

/// The member of our remarks that says what matched.
const MEMBER: &[u8] = b"threat_intel";
