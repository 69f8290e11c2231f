//! Accounts held against what was appended.

use super::{Report, Span};

/// One account against what was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Which fake.
    pub vendor: String,
    /// How many events ended how.
    pub totals: Totals,
    /// The first sequence numbers that are missing.
    pub missing: Vec<u64>,
}

/// How many of the appended events were stored how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Exactly once.
    pub once: u64,
    /// More than once.
    pub more: u64,
    /// How many copies too many, over all of them.
    pub surplus: u64,
    /// Never.
    pub never: u64,
    /// Stored although never appended.
    pub beyond: u64,
}

impl Comparison {
    /// Whether everything that was appended arrived, and nothing else.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.totals.never == 0 && self.totals.beyond == 0
    }
}

/// Holds an account against `expect` appended events, numbered from 0.
#[must_use]
pub fn compare(expect: u64, report: &Report) -> Comparison {
    let mut totals = Totals::default();
    let mut missing = Vec::new();
    let mut next = 0;
    for span in &report.spans {
        missing.extend((next..span.from.min(expect)).take(MISSING_MAX - missing.len()));
        next = next.max(span.from + span.events);
        let inside = Span { events: span.events.min(expect.saturating_sub(span.from)), ..*span };
        totals.beyond += span.events - inside.events;
        match span.times {
            0 => {}
            1 => totals.once += inside.events,
            times => {
                totals.more += inside.events;
                totals.surplus += inside.events * u64::from(times - 1);
            }
        }
    }
    missing.extend((next..expect).take(MISSING_MAX - missing.len()));
    totals.never = expect - totals.once - totals.more;
    Comparison { vendor: report.vendor.clone(), totals, missing }
}

/// Missing numbers listed: enough to find the place in the log.
const MISSING_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_once_more_never_or_beyond() {
        let span = |from, events, times| Span { from, events, times };
        let cases: &[(u64, &[Span], Totals, &[u64])] = &[
            (0, &[], Totals::default(), &[]),
            (3, &[], Totals { never: 3, ..Totals::default() }, &[0, 1, 2]),
            (5, &[span(0, 5, 1)], Totals { once: 5, ..Totals::default() }, &[]),
            (
                10,
                &[span(1, 3, 1), span(6, 2, 3), span(8, 4, 1)],
                Totals { once: 5, more: 2, surplus: 4, never: 3, beyond: 2 },
                &[0, 4, 5],
            ),
            (2, &[span(7, 1, 2)], Totals { never: 2, beyond: 1, ..Totals::default() }, &[0, 1]),
        ];
        for (expect, spans, totals, missing) in cases {
            let report = Report { spans: spans.to_vec(), ..Report::default() };
            let comparison = compare(*expect, &report);
            assert_eq!((comparison.totals, &comparison.missing[..]), (*totals, *missing));
            assert_eq!(comparison.is_complete(), totals.never + totals.beyond == 0);
        }
    }
}
