//! What others know of an event's values: asked once, before privacy, since nothing after it sees
//! the original.

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
    /// The indicator, for events that carry none.
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
