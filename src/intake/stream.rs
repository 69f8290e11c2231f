//! One source on its way through a door: what it brought, and what of that is in the log.

use super::batch::{Batch, Rejected};
use super::lines::Lines;

/// A source of lines; each reader of a source has one.
///
/// What a chunk holds is checked once, and stays here until all of it is appended: a door that was
/// refused by the disk goes on behind the last record that it appended.
#[derive(Debug)]
pub struct Stream {
    pub(super) name: String,
    /// The only dialect of its records; none where each line tells its own.
    pub(super) format: Option<&'static str>,
    pub(super) lines: Lines,
    pub(super) batch: Batch,
    /// When the chunk was received, nanoseconds since 1970.
    pub(super) received_ns: u64,
    /// Refused lines of the batch that are in quarantine.
    pub(super) kept: usize,
    /// Whether the log knows that records of this chunk follow.
    pub(super) has_begun: bool,
    /// Records of the batch that are in the log.
    pub(super) appended: usize,
    pub(super) account: Account,
}

/// What became of a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Bytes of the source that were taken.
    pub bytes: u64,
    /// Events that were appended.
    pub events: u64,
    /// Lines that were refused.
    pub rejected: u64,
    /// Events that came before.
    pub duplicates: u64,
    /// Times that a source was cut off where it may have held more than was read.
    pub gaps: u64,
}

impl Account {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes + other.bytes,
            events: self.events + other.events,
            rejected: self.rejected + other.rejected,
            duplicates: self.duplicates + other.duplicates,
            gaps: self.gaps + other.gaps,
        }
    }
}

impl Account {
    /// The part that came after `before`.
    #[must_use]
    pub fn minus(self, before: Self) -> Self {
        Self {
            bytes: self.bytes - before.bytes,
            events: self.events - before.events,
            rejected: self.rejected - before.rejected,
            duplicates: self.duplicates - before.duplicates,
            gaps: self.gaps - before.gaps,
        }
    }
}

impl Stream {
    /// A source of this name from this byte on, which must begin a line.
    #[must_use]
    pub fn new(name: &str, position: u64) -> Self {
        Self {
            name: name.to_owned(),
            format: None,
            lines: Lines::new(position),
            batch: Batch::default(),
            received_ns: 0,
            kept: 0,
            has_begun: false,
            appended: 0,
            account: Account::default(),
        }
    }

    /// The same source, all of whose records are of this dialect; `None` lets each line tell.
    #[must_use]
    pub fn with_format(self, format: Option<&'static str>) -> Self {
        Self { format, ..self }
    }

    /// Its name, as quarantine and the log's notes write it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first byte of the source that was not taken.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.lines.position()
    }

    /// The first byte of the line that comes next, which may be taken in part already.
    #[must_use]
    pub fn line_start(&self) -> u64 {
        self.lines.line_start()
    }

    /// Goes on at another byte, which must begin a line.
    pub fn seek(&mut self, position: u64) {
        self.lines = Lines::new(position);
    }

    /// The lines that the last chunk refused.
    #[must_use]
    pub fn rejected(&self) -> &[Rejected] {
        &self.batch.rejected
    }

    /// What became of it so far.
    #[must_use]
    pub fn account(&self) -> Account {
        Account { bytes: self.lines.position(), ..self.account }
    }
}
