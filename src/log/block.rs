//! Records as they are read: checked, still where they lie.

use std::sync::Arc;

use crate::event::{Frame, Offset, Span};

use super::shared::Segment;

/// What reading at an offset found.
#[derive(Debug)]
pub enum Read {
    /// Whole records; none when only filler lies there: go on at its span's end.
    Block(RawBlock),
    /// Not in memory: have [`super::Reader::warm`] read it on a thread that may wait, then read
    /// again. The same offset is answered so once; the next read takes what it gets.
    Cold(Span),
    /// Nothing is written yet between the two offsets.
    End,
    /// Retention took it.
    Gone {
        /// What is still there begins here.
        oldest: Offset,
    },
    /// No record can be read here: go on at the span's end.
    Damaged {
        /// From the damaged frame to the end of its stripe.
        span: Span,
        /// The events that were inside, where the index knows.
        events: Option<u64>,
    },
}

/// Whole records, in order, their checksums right; keeps the bytes in place.
///
/// The bytes are those of the page cache. Should the disk fail under them later on, they read as
/// zeros, and [`RawBlock::is_intact`] says so.
#[derive(Clone, Debug)]
pub struct RawBlock {
    segment: Arc<Segment>,
    start: usize,
    len: usize,
    span: Span,
    records: Vec<RawRecord>,
}

/// One record of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawRecord {
    /// What the frame says.
    pub frame: Frame,
    /// The record's first byte in [`RawBlock::bytes`].
    pub start: u32,
    /// The record's length, bytes.
    pub len: u32,
    /// Where the next record starts, filler skipped as far as it was written.
    pub next: Offset,
}

impl RawBlock {
    pub(crate) fn new(
        segment: Arc<Segment>,
        span: Span,
        len: usize,
        records: Vec<RawRecord>,
    ) -> Self {
        let start = if len == 0 { 0 } else { segment.position(span.from) };
        Self { segment, start, len, span, records }
    }

    /// From the first frame to where reading goes on.
    #[must_use]
    pub fn span(&self) -> Span {
        self.span
    }

    /// The bytes that hold the records, frames included.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        if self.len == 0 {
            return &[];
        }
        let mapping = self.segment.mapping().expect("mapped when the block was read");
        &mapping.bytes()[self.start..self.start + self.len]
    }

    /// The records, ascending.
    #[must_use]
    pub fn records(&self) -> &[RawRecord] {
        &self.records
    }

    /// The bytes of one of its records.
    #[must_use]
    pub fn record(&self, record: &RawRecord) -> &[u8] {
        &self.bytes()[record.start as usize..][..record.len as usize]
    }

    /// Whether the bytes could be read each time so far, and none was replaced by zeros.
    ///
    /// Ask after the last look at the bytes, where a wrong byte would matter.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        let Ok(mapping) = self.segment.mapping() else { return false };
        self.len == 0 || !mapping.is_damaged(self.start, self.len)
    }
}
