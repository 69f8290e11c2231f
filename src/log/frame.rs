//! A record on disk: its header, its checksum, and where the next one starts.
//!
//! `docs/log-format.md` says every byte. Parsing takes bytes from a disk that may lie: it never
//! panics and never looks outside the window that it is given.

use crate::event::{Classes, Frame, Offset};

use super::STRIPE_BYTES;

/// What the caller says of a record, beside its bytes; the frame stores it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// When it was received, nanoseconds since 1970.
    pub received_ns: u64,
    /// Whether intake has opened it once already.
    pub checked: bool,
    /// Whether intake mapped it from another dialect.
    pub mapped: bool,
    /// What intake repaired.
    pub repaired: Classes,
}

/// Consecutive bytes of the log, from a known offset on.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    /// Where the first byte lies in the log.
    pub base: Offset,
    /// The bytes; nothing after them is looked at.
    pub bytes: &'a [u8],
}

impl Window<'_> {
    /// Asks the processor for the bytes that a reader who is at `at` comes to after the next
    /// records: its own guess ends at each page, and their checksums would wait for memory.
    #[inline]
    pub(crate) fn fetch_ahead(self, at: Offset) {
        let start = at.bytes().wrapping_sub(self.base.bytes()).wrapping_add(AHEAD_BYTES as u64);
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        let Some(ahead) = self.bytes.get(start..) else { return };
        super::segment::prefetch(&ahead[..ahead.len().min(AHEAD_BYTES / 2)]);
    }
}

/// How far ahead of a reader bytes are asked for.
const AHEAD_BYTES: usize = 2048;

/// What lies at an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A record whose checksum is right.
    Record {
        /// What the frame says.
        frame: Frame,
        /// The record's first byte, counted from the window's start.
        start: usize,
        /// The record's length.
        len: usize,
        /// Where the next frame starts.
        next: Offset,
        /// The checksum as stored, for the stripe's own checksum.
        crc: u32,
    },
    /// What somebody noted beside the records; no event.
    Note {
        /// The note's first byte, counted from the window's start.
        start: usize,
        /// The note's length.
        len: usize,
        /// Where the next frame starts.
        next: Offset,
    },
    /// Nothing to read until `next`: a segment's head, or the unused rest of a stripe.
    Filler {
        /// Where the next frame starts.
        next: Offset,
    },
    /// Nothing more was written into this segment.
    Seal,
    /// No frame: never written, torn, or damaged.
    Bad,
}

/// The bytes of a frame before the record.
pub(crate) const HEADER_BYTES: usize = 24;

/// Frames start at multiples of this, so that headers never straddle a cache line badly.
pub(crate) const ALIGN: u64 = 8;

/// The bytes of a segment's head, frame included.
pub(crate) const HEAD_BYTES: usize = HEADER_BYTES + 40;

/// The version of the format that this build writes.
pub(crate) const VERSION: u32 = 1;

/// What a segment says about itself in its first frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The format's version.
    pub(crate) version: u32,
    /// Where the segment starts in the log.
    pub(crate) base: Offset,
    /// How many bytes it has.
    pub(crate) segment_bytes: u64,
    /// Where the segment before it ends; zero where none was, or an earlier build wrote this.
    pub(crate) before: Offset,
}

impl Parsed {
    /// Reads the frame at `at`, checksum included.
    #[must_use]
    #[inline]
    pub fn parse(window: Window<'_>, at: Offset) -> Self {
        let stripe_end = stripe_end(at);
        let room = stripe_end.bytes() - at.bytes();
        if room < HEADER_BYTES as u64 {
            return Self::Filler { next: stripe_end };
        }
        let Some(start) = at.bytes().checked_sub(window.base.bytes()) else { return Self::Bad };
        let Ok(start) = usize::try_from(start) else { return Self::Bad };
        let Some(rest) = window.bytes.get(start..) else { return Self::Bad };
        let Some(header) = Header::read(rest) else { return Self::Bad };
        match header.kind {
            RECORD => record(rest, header, at, start),
            HEAD => match record(rest, header, at, start) {
                Self::Record { next, .. } => Self::Filler { next },
                _ => Self::Bad,
            },
            NOTE => match record(rest, header, at, start) {
                Self::Record { start, len, next, .. } => Self::Note { start, len, next },
                _ => Self::Bad,
            },
            FILLER | SEAL => {
                let spans_room = u64::from(header.len) + HEADER_BYTES as u64 == room;
                if !spans_room || !header.matches(&rest[4..HEADER_BYTES], at) {
                    return Self::Bad;
                }
                if header.kind == SEAL { Self::Seal } else { Self::Filler { next: stripe_end } }
            }
            _ => Self::Bad,
        }
    }

    /// Reads the frame at `at` for what is no record: of a record only the header is looked at, so
    /// that a whole log can be gone through for its notes. The checksum of notes is checked.
    #[must_use]
    pub(crate) fn skim(window: Window<'_>, at: Offset) -> Self {
        let header = usize::try_from(at.bytes().saturating_sub(window.base.bytes()))
            .ok()
            .and_then(|start| window.bytes.get(start..))
            .unwrap_or_default();
        match Self::claimed_bytes(header, at) {
            Some(bytes) => Self::Filler { next: Offset::new(at.bytes() + bytes) },
            None => Self::parse(window, at),
        }
    }

    /// How many bytes the frame at `at` claims, unless the header is impossible.
    ///
    /// Only the length is read, so a reader can make the whole frame resident before it checks it.
    #[must_use]
    pub(crate) fn claimed_bytes(header: &[u8], at: Offset) -> Option<u64> {
        let header = Header::read(header)?;
        let bytes = (HEADER_BYTES as u64 + u64::from(header.len)).next_multiple_of(ALIGN);
        let fits = bytes <= stripe_end(at).bytes() - at.bytes() || starts_stripe(at);
        (header.kind == RECORD && fits).then_some(bytes)
    }
}

impl Head {
    /// Reads the head of the segment whose bytes start at `base`.
    pub(crate) fn read(bytes: &[u8], base: Offset) -> Option<Self> {
        let window = Window { base, bytes };
        let Parsed::Filler { .. } = Parsed::parse(window, base) else { return None };
        let body = bytes.get(HEADER_BYTES..HEAD_BYTES)?;
        let (magic, body) = body.split_at(8);
        if magic != MAGIC {
            return None;
        }
        Some(Self {
            version: u32_at(body, 0),
            base: Offset::new(u64_at(body, 8)),
            segment_bytes: u64_at(body, 16),
            before: Offset::new(u64_at(body, 24)),
        })
    }

    /// Appends the head's frame.
    pub(crate) fn push(self, out: &mut Vec<u8>) {
        let mut body = [0; HEAD_BYTES - HEADER_BYTES];
        body[..8].copy_from_slice(MAGIC);
        body[8..12].copy_from_slice(&self.version.to_le_bytes());
        body[16..24].copy_from_slice(&self.base.bytes().to_le_bytes());
        body[24..32].copy_from_slice(&self.segment_bytes.to_le_bytes());
        body[32..].copy_from_slice(&self.before.bytes().to_le_bytes());
        push(HEAD, self.base, &body, Mark::default(), out);
    }
}

/// The bytes of one record's frame at `at`, for tests of what reads them.
#[doc(hidden)]
#[must_use]
pub fn laid(at: Offset, received_ns: u64, record: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    push_record(at, record, Mark { received_ns, ..Mark::default() }, &mut out);
    out
}

/// Appends a record's frame that will lie at `at`, padded to the alignment; returns its checksum.
#[inline]
pub(crate) fn push_record(at: Offset, record: &[u8], mark: Mark, out: &mut Vec<u8>) -> u32 {
    push(RECORD, at, record, mark, out)
}

/// Appends a note's frame that will lie at `at`.
pub(crate) fn push_note(at: Offset, note: &[u8], out: &mut Vec<u8>) {
    push(NOTE, at, note, Mark::default(), out);
}

/// Appends filler from `at` to the end of its stripe.
pub(crate) fn push_filler(at: Offset, out: &mut Vec<u8>) {
    let room = stripe_end(at).bytes() - at.bytes();
    let end = out.len() + usize::try_from(room).expect("a stripe is 1 MiB");
    if room >= HEADER_BYTES as u64 {
        out.extend_from_slice(&rest_header(FILLER, at));
    }
    out.resize(end, 0);
}

/// The header that makes the rest of a stripe filler, or ends the segment there.
///
/// Its checksum covers the header only, so that the rest may hold anything: torn frames, old
/// bytes, zeros.
pub(crate) fn rest_header(kind: u16, at: Offset) -> [u8; HEADER_BYTES] {
    let room = stripe_end(at).bytes() - at.bytes();
    debug_assert!(room >= HEADER_BYTES as u64);
    let len = u32::try_from(room).expect("a stripe is 1 MiB") - HEADER_BYTES as u32;
    let mut header = [0; HEADER_BYTES];
    header[4..8].copy_from_slice(&len.to_le_bytes());
    header[16..18].copy_from_slice(&kind.to_le_bytes());
    let crc = crc(&header[4..]) ^ fold(at);
    header[..4].copy_from_slice(&crc.to_le_bytes());
    header
}

/// The bytes of a frame around a record of this length.
pub(crate) const fn frame_bytes(record_bytes: usize) -> u64 {
    (HEADER_BYTES as u64 + record_bytes as u64).next_multiple_of(ALIGN)
}

/// The end of the stripe that `at` lies in.
#[inline]
pub(crate) const fn stripe_end(at: Offset) -> Offset {
    Offset::new((at.bytes() / STRIPE_BYTES + 1) * STRIPE_BYTES)
}

/// The start of the stripe that `at` lies in.
#[inline]
pub(crate) const fn stripe_start(at: Offset) -> Offset {
    Offset::new(at.bytes() / STRIPE_BYTES * STRIPE_BYTES)
}

/// Whether a stripe starts here.
#[inline]
pub(crate) const fn starts_stripe(at: Offset) -> bool {
    at.bytes().is_multiple_of(STRIPE_BYTES)
}

/// CRC32C (Castagnoli, RFC 3720 appendix B.4).
#[inline]
pub(crate) fn crc(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// Chains the checksum of one more frame into a stripe's.
#[inline]
pub(crate) fn chain(sum: u32, crc: u32) -> u32 {
    // An odd multiplier makes the chain depend on the order of the frames.
    (sum ^ crc).wrapping_mul(0x9E37_79B1).rotate_left(13)
}

/// Reads a little-endian number; the caller has checked the length.
#[inline]
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes were cut"))
}

/// Reads a little-endian number; the caller has checked the length.
#[inline]
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes were cut"))
}

/// A frame's fixed part.
#[derive(Clone, Copy)]
struct Header {
    crc: u32,
    len: u32,
    received_ns: u64,
    kind: u16,
    flags: u16,
    repaired: u32,
}

impl Header {
    #[inline]
    fn read(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..HEADER_BYTES)?;
        let word = u32_at(bytes, 16);
        Some(Self {
            crc: u32_at(bytes, 0),
            len: u32_at(bytes, 4),
            received_ns: u64_at(bytes, 8),
            kind: word as u16,
            flags: (word >> 16) as u16,
            repaired: u32_at(bytes, 20),
        })
    }

    #[inline]
    fn matches(self, covered: &[u8], at: Offset) -> bool {
        crc(covered) ^ fold(at) == self.crc
    }
}

#[inline]
fn record(rest: &[u8], header: Header, at: Offset, start: usize) -> Parsed {
    let len = header.len as usize;
    let bytes = frame_bytes(len);
    let stays_inside = bytes <= stripe_end(at).bytes() - at.bytes();
    if !stays_inside && !starts_stripe(at) {
        return Parsed::Bad;
    }
    let Some(covered) = rest.get(4..HEADER_BYTES + len) else { return Parsed::Bad };
    if !header.matches(covered, at) {
        return Parsed::Bad;
    }
    Parsed::Record {
        frame: Frame {
            offset: at,
            received_ns: header.received_ns,
            checked: header.flags & CHECKED != 0,
            mapped: header.flags & MAPPED != 0,
            repaired: Classes::from_bits(header.repaired),
            number: 0,
        },
        start: start + HEADER_BYTES,
        len,
        next: Offset::new(at.bytes() + bytes),
        crc: header.crc,
    }
}

#[inline]
fn push(kind: u16, at: Offset, record: &[u8], mark: Mark, out: &mut Vec<u8>) -> u32 {
    let len = u32::try_from(record.len()).expect("the appender bounds records below 4 GiB");
    let flags = if mark.checked { CHECKED } else { 0 } | if mark.mapped { MAPPED } else { 0 };
    let mut header = [0; HEADER_BYTES];
    header[4..8].copy_from_slice(&len.to_le_bytes());
    header[8..16].copy_from_slice(&mark.received_ns.to_le_bytes());
    header[16..18].copy_from_slice(&kind.to_le_bytes());
    header[18..20].copy_from_slice(&flags.to_le_bytes());
    header[20..24].copy_from_slice(&mark.repaired.bits().to_le_bytes());
    let start = out.len();
    out.extend_from_slice(&header);
    out.extend_from_slice(record);
    let crc = crc(&out[start + 4..]) ^ fold(at);
    out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
    let padding = frame_bytes(record.len()) as usize - HEADER_BYTES - record.len();
    out.extend_from_slice(&[0; ALIGN as usize][..padding]);
    crc
}

/// The offset as 32 bits, mixed into every checksum: a frame that lies anywhere else than where it
/// was written (a stale block, a copied file) is no frame.
#[inline]
const fn fold(at: Offset) -> u32 {
    let units = at.bytes() / ALIGN;
    (units as u32) ^ ((units >> 32) as u32).wrapping_mul(0x9E37_79B1)
}

const MAGIC: &[u8; 8] = b"shrikelg";

const RECORD: u16 = 1;
pub(crate) const FILLER: u16 = 2;
pub(crate) const SEAL: u16 = 3;
const HEAD: u16 = 4;
const NOTE: u16 = 5;

const CHECKED: u16 = 1;
const MAPPED: u16 = 2;
