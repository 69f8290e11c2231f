//! Positions in the log, and what an exporter has settled of it.

use std::fmt;

/// A byte position in the log, never reused.
///
/// Offsets grow only. They are positions, not counts: `Offset(4096)` is the frame that starts 4,096
/// bytes after the first byte that the log ever held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(u64);

impl Offset {
    /// The start of every log.
    pub const ZERO: Self = Self(0);

    /// The position `bytes` after the start.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The position as a number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A half-open piece of the log: `from` is inside, `to` is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The first byte inside.
    pub from: Offset,
    /// The first byte after it.
    pub to: Offset,
}

impl Span {
    /// The bytes between the two ends.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.to.0.saturating_sub(self.from.0)
    }
}

/// How many events ended in each fate, since the pass began.
///
/// `design.md` 1: `in_range(start, head)` equals the sum of these and what is pending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Accepted by the destination, duplicates of an earlier attempt included.
    pub delivered: u64,
    /// Kept in the dead-letter store.
    pub dead_lettered: u64,
    /// Deliberately not sent.
    pub filtered: u64,
    /// Given up by retention, or lost with a damaged stripe.
    pub skipped: u64,
    /// Records that could not be opened.
    pub invalid: u64,
}

impl Counts {
    /// The sum over all fates.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.delivered + self.dead_lettered + self.filtered + self.skipped + self.invalid
    }

    /// Adds `events` of one fate.
    pub fn add(&mut self, fate: Settle, events: u64) {
        *match fate {
            Settle::Delivered => &mut self.delivered,
            Settle::DeadLettered => &mut self.dead_lettered,
            Settle::Filtered => &mut self.filtered,
            Settle::Skipped => &mut self.skipped,
            Settle::Invalid => &mut self.invalid,
        } += events;
    }
}

/// The end of an event at one exporter; each event has exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Settle {
    /// The destination has it.
    Delivered,
    /// The dead-letter store has it.
    DeadLettered,
    /// Deliberately not sent.
    Filtered,
    /// Given up by retention, or lost with a damaged stripe.
    Skipped,
    /// Could not be opened; quarantined.
    Invalid,
}

/// A piece of the log whose `events` events all ended in `fate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// From the first record to the start of the one after the last.
    pub span: Span,
    /// The events inside.
    pub events: u64,
    /// How they ended.
    pub fate: Settle,
}

/// A piece of the log that an exporter lost events of, until its gap record is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// From the first lost event to the end of the last; others in between may have arrived.
    pub span: Span,
    /// The lost events, as far as they can be counted.
    pub events: u64,
    /// Why they are lost.
    pub reason: GapReason,
}

/// Why events are lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GapReason {
    /// The exporter lagged further behind than it may.
    #[default]
    Lag,
    /// The log reached its bound before the exporter read them.
    Retention,
    /// The disk does not give them back as they were written.
    Damage,
}

impl GapReason {
    /// All, by number.
    pub const ALL: [Self; 3] = [Self::Lag, Self::Retention, Self::Damage];

    /// The word in gap records.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Lag => "lag",
            Self::Retention => "retention",
            Self::Damage => "corrupt",
        }
    }
}

/// A line of the receipts' chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Anchor {
    /// Its number; 0 is before the first.
    pub line: u64,
    /// The hash of everything up to it.
    pub hash: [u8; 32],
}

/// Events of a pass, counted before retention may take them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Everything from the start of the pass to here is counted.
    pub to: Offset,
    /// How many events that is.
    pub events: u64,
}

/// What an exporter has settled: everything below `base`, and the spans `ahead` of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which pass over the log this is; a rewind begins a new one.
    pub pass: u32,
    /// Where the pass began.
    pub start: Offset,
    /// Everything from `start` to here is settled.
    pub base: Offset,
    /// What the pass had to do, as far as the log may not tell any more.
    pub tally: Tally,
    /// Events below are told of one by one, however old they are, since a rewind asked for that;
    /// zero where none did, and once all of them are settled.
    pub alert_below: Offset,
    /// Settled spans above `base`: ascending, disjoint, never adjacent.
    pub ahead: Vec<Span>,
    /// Gaps whose record is still to be sent.
    pub gaps: Vec<Gap>,
    /// The events of all settled spans, by fate.
    pub counts: Counts,
    /// Removals of dead letters up to this number are in the counts.
    pub removals: u64,
    /// The receipts' chain when this was saved.
    pub anchor: Anchor,
}

impl Checkpoint {
    /// Whether the event at this offset is settled.
    #[must_use]
    pub fn covers(&self, at: Offset) -> bool {
        // There may be a hundred thousand of them, and each dead letter asks.
        let next = self.ahead.partition_point(|it| it.to <= at);
        at < self.base || self.ahead.get(next).is_some_and(|it| it.from <= at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_covers_what_its_spans_hold() {
        let span = |from, to| Span { from: Offset::new(from), to: Offset::new(to) };
        let ahead = vec![span(20, 30), span(31, 40), span(64, 65)];
        let checkpoint = Checkpoint { base: Offset::new(10), ahead, ..Checkpoint::default() };
        let covered: Vec<u64> = (0..70).filter(|at| checkpoint.covers(Offset::new(*at))).collect();
        let expected: Vec<u64> = (0..10).chain(20..30).chain(31..40).chain([64]).collect();
        assert_eq!(covered, expected);
    }
}
