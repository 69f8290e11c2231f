//! Opens records for tests of what is made from them.

pub(crate) mod cef;
pub(crate) mod ocsf;
pub(crate) mod rfc5424;
pub(crate) mod slack;
pub(crate) mod unique;

use shrike::event::{Event, Frame, Opened, Opening, OpeningOptions};
use shrike::transform::Plan;

/// 2026-02-06T12:30:00Z, in nanoseconds: when the samples were received.
pub(crate) const RECEIVED_NS: u64 = 1_770_381_000_000_000_000;

/// An opening that adds the configured things.
pub(crate) fn opening() -> Opening {
    Opening::new(&OpeningOptions {
        environment: Some("staging".to_owned()),
        labels: vec![("site".to_owned(), "eu.1".to_owned())],
        ..OpeningOptions::default()
    })
}

/// Opens a record and hands the event on; `None` when the record is no event.
pub(crate) fn with_event<T>(
    opening: &Opening,
    record: &[u8],
    then: impl FnOnce(&Event<'_>) -> T,
) -> Option<T> {
    let frame = Frame { received_ns: RECEIVED_NS, ..Frame::default() };
    let mut arena = Vec::new();
    opening.begin(&mut arena);
    let mut opened = Opened::default();
    opening.open(&frame, record, &mut arena, &mut opened).ok()?;
    Some(then(&Event::new(&opened, frame, record, &arena)))
}

/// The document of a record, `None` when the record is no event.
pub(crate) fn document(opening: &Opening, plan: &Plan, record: &[u8]) -> Option<Vec<u8>> {
    with_event(opening, record, |event| {
        let mut out = Vec::new();
        plan.encode(event, &mut out);
        out
    })
}
