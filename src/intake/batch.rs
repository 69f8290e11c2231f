//! What a chunk of lines became, before it is appended.

use std::ops::Range;

use crate::event::Class;
use crate::log::Mark;

/// Records to append, and lines that are no events.
///
/// Clean lines stay where they are, in the chunk; only repaired and mapped ones are written here.
#[derive(Debug, Default)]
pub struct Batch {
    records: Vec<Record>,
    own: Vec<u8>,
    /// Lines that are no events.
    pub rejected: Vec<Rejected>,
}

#[derive(Clone, Debug)]
struct Record {
    place: Place,
    mark: Mark,
}

#[derive(Clone, Debug)]
enum Place {
    Chunk(Range<usize>),
    Own(Range<usize>),
}

/// A line that is no event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// What is wrong.
    pub class: Class,
    /// Where it begins in its source, bytes.
    pub offset: u64,
    /// Its bytes without the ending.
    pub length: u64,
    /// The bytes: all of them, or the first 4 KiB of a line that is too long.
    pub kept: Vec<u8>,
    /// SHA-256 of all bytes, where not all are kept.
    pub sha256: Option<[u8; 32]>,
    /// The only dialect that it may be of; none where it tells its own.
    pub format: Option<&'static str>,
}

impl Batch {
    /// Forgets everything, keeping the room.
    pub fn clear(&mut self) {
        self.records.clear();
        self.own.clear();
        self.rejected.clear();
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The records with what their frames shall say, in order; `chunk` is the one that was read.
    pub fn records<'a>(&'a self, chunk: &'a [u8]) -> impl Iterator<Item = (&'a [u8], Mark)> {
        self.records.iter().map(move |record| {
            let bytes = match &record.place {
                Place::Chunk(range) => &chunk[range.clone()],
                Place::Own(range) => &self.own[range.clone()],
            };
            (bytes, record.mark)
        })
    }

    /// Adds a record that lies in the chunk.
    pub(super) fn add_place(&mut self, range: Range<usize>, mark: Mark) {
        self.records.push(Record { place: Place::Chunk(range), mark });
    }

    /// Adds a record that lies nowhere else.
    pub(super) fn add_bytes(&mut self, bytes: &[u8], mark: Mark) {
        let start = self.own.len();
        self.own.extend_from_slice(bytes);
        self.records.push(Record { place: Place::Own(start..self.own.len()), mark });
    }
}
