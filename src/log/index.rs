//! The sparse index: what lies in each stripe of a segment.
//!
//! In memory it is a table of atomics that the writer fills before it publishes; on disk it is a
//! small file beside the segment, rebuilt from the records when it is missing or damaged. It
//! answers counts and times without reading records, and says how many events a damaged stripe had.

use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::event::Offset;

use super::STRIPE_BYTES;
use super::frame::{chain, crc, u32_at, u64_at};
use super::io::{LogFile, LogIo};

/// What lies in one stripe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stripe {
    /// Whether records start here.
    pub(crate) state: State,
    /// The records that start in it.
    pub(crate) events: u32,
    /// The checksums of their frames, chained.
    pub(crate) sum: u32,
    /// The earliest time of receipt, nanoseconds since 1970.
    pub(crate) from_ns: u64,
    /// The latest one.
    pub(crate) to_ns: u64,
    /// Where the last frame that starts in it ends.
    pub(crate) end: Offset,
    /// Whether a note may start in it.
    pub(crate) has_notes: bool,
}

/// Whether records start in a stripe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum State {
    /// Nothing was written into it, or nothing is known about it.
    #[default]
    Unknown = 0,
    /// Frames start at its first byte.
    Owned = 1,
    /// It belongs to a record that starts in an earlier stripe.
    Continued = 2,
}

impl State {
    fn of(word: u32) -> Self {
        match word & !NO_NOTES {
            1 => Self::Owned,
            2 => Self::Continued,
            _ => Self::Unknown,
        }
    }
}

impl Stripe {
    /// Adds one record.
    #[inline]
    pub(crate) fn add(&mut self, received_ns: u64, frame_crc: u32, end: Offset) {
        self.from_ns = if self.events == 0 { received_ns } else { self.from_ns.min(received_ns) };
        self.to_ns = self.to_ns.max(received_ns);
        self.events += 1;
        self.sum = chain(self.sum, frame_crc);
        self.end = end;
        self.state = State::Owned;
    }

    fn entry(&self, start: Offset) -> [u8; ENTRY_BYTES] {
        let mut entry = [0; ENTRY_BYTES];
        entry[4..8].copy_from_slice(&self.word().to_le_bytes());
        entry[8..12].copy_from_slice(&self.events.to_le_bytes());
        entry[12..16].copy_from_slice(&self.sum.to_le_bytes());
        entry[16..24].copy_from_slice(&self.from_ns.to_le_bytes());
        entry[24..32].copy_from_slice(&self.to_ns.to_le_bytes());
        entry[32..40].copy_from_slice(&self.end.bytes().to_le_bytes());
        entry[40..48].copy_from_slice(&start.bytes().to_le_bytes());
        let crc = crc(&entry[4..]);
        entry[..4].copy_from_slice(&crc.to_le_bytes());
        entry
    }

    /// The state, and what it says of notes.
    fn word(&self) -> u32 {
        self.state as u32 | if self.has_notes { 0 } else { NO_NOTES }
    }

    fn parse(entry: &[u8], start: Offset) -> Option<Self> {
        let whole = u32_at(entry, 0) == crc(&entry[4..]) && u64_at(entry, 40) == start.bytes();
        let word = u32_at(entry, 4);
        let state = State::of(word);
        (whole && state != State::Unknown).then(|| Self {
            state,
            has_notes: word & NO_NOTES == 0,
            events: u32_at(entry, 8),
            sum: u32_at(entry, 12),
            from_ns: u64_at(entry, 16),
            to_ns: u64_at(entry, 24),
            end: Offset::new(u64_at(entry, 32)),
        })
    }
}

/// The stripes of one segment, filled by the writer, read by anybody.
#[derive(Debug)]
pub(crate) struct Stripes(Box<[Cell]>);

/// A stripe in memory. `state`, the same word as on disk, is stored last and loaded first.
#[derive(Debug, Default)]
struct Cell {
    state: AtomicU32,
    events: AtomicU32,
    sum: AtomicU32,
    from_ns: AtomicU64,
    to_ns: AtomicU64,
    end: AtomicU64,
}

impl Stripes {
    /// A table for a segment of this length.
    pub(crate) fn new(segment_bytes: u64) -> Self {
        Self((0..segment_bytes / STRIPE_BYTES).map(|_| Cell::default()).collect())
    }

    /// How many stripes the segment has.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The stripe at this position in the segment.
    ///
    /// While the writer still fills the stripe, the numbers may be of different moments; readers
    /// use them only for stripes that lie wholly below `written`.
    pub(crate) fn load(&self, index: usize) -> Stripe {
        // Of a hole in the log nothing may be known.
        let Some(cell) = self.0.get(index) else { return Stripe::default() };
        let word = cell.state.load(Ordering::Acquire);
        Stripe {
            state: State::of(word),
            has_notes: word & NO_NOTES == 0,
            events: cell.events.load(Ordering::Relaxed),
            sum: cell.sum.load(Ordering::Relaxed),
            from_ns: cell.from_ns.load(Ordering::Relaxed),
            to_ns: cell.to_ns.load(Ordering::Relaxed),
            end: Offset::new(cell.end.load(Ordering::Relaxed)),
        }
    }

    /// Sets the stripe; only the writer, and opening before there is one, do.
    pub(crate) fn store(&self, index: usize, stripe: Stripe) {
        let cell = &self.0[index];
        cell.events.store(stripe.events, Ordering::Relaxed);
        cell.sum.store(stripe.sum, Ordering::Relaxed);
        cell.from_ns.store(stripe.from_ns, Ordering::Relaxed);
        cell.to_ns.store(stripe.to_ns, Ordering::Relaxed);
        cell.end.store(stripe.end.bytes(), Ordering::Relaxed);
        cell.state.store(stripe.word(), Ordering::Release);
    }
}

/// The index file's entry for one stripe, and where it lies in the file.
pub(crate) fn entry(base: Offset, index: usize, stripe: &Stripe) -> (u64, [u8; ENTRY_BYTES]) {
    let start = Offset::new(base.bytes() + index as u64 * STRIPE_BYTES);
    (index as u64 * ENTRY_BYTES as u64, stripe.entry(start))
}

/// Reads an index file; stripes whose entry is missing or damaged stay unknown.
pub(crate) fn load(path: &Path, base: Offset, stripes: &Stripes) -> io::Result<()> {
    let file = LogFile::open(path)?;
    let mut bytes = vec![0; stripes.len() * ENTRY_BYTES];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.file.read_at(&mut bytes[filled..], filled as u64)? {
            0 => break,
            n => filled += n,
        }
    }
    for (index, entry) in bytes[..filled].chunks_exact(ENTRY_BYTES).enumerate() {
        let start = Offset::new(base.bytes() + index as u64 * STRIPE_BYTES);
        if let Some(stripe) = Stripe::parse(entry, start) {
            stripes.store(index, stripe);
        }
    }
    Ok(())
}

/// How many stripes an index file reaches to; none where it cannot be read.
pub(crate) fn stripes(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |found| found.len() / ENTRY_BYTES as u64)
}

/// Makes an index file, or opens the one that is there.
pub(crate) fn create(path: &Path, io: &dyn LogIo) -> io::Result<LogFile> {
    match io.create(path, 0) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => LogFile::open(path),
        made => made,
    }
}

/// Added to the state where no note starts in the stripe; entries of earlier builds say nothing.
const NO_NOTES: u32 = 1 << 8;

/// The bytes of one entry.
const ENTRY_BYTES: usize = 48;
