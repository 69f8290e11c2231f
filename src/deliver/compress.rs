//! Content encodings, as streams that are reset and used again.

use crc_fast::{CrcAlgorithm, Digest};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use zstd::zstd_safe::{CCtx, CParameter, DCtx, InBuffer, OutBuffer, ResetDirective};

use super::Encoding;
use super::deflate::{DISTANCE_MAX, Deflate};

/// A compressing stream.
pub(super) struct Compressor {
    encoding: Encoding,
    level: u32,
    stream: Stream,
}

enum Stream {
    Gzip(Box<Gzip>),
    Deflate(Box<Compress>),
    Zstd(CCtx<'static>),
}

/// Bare deflate with gzip's head and tail around it (RFC 1952): the checksum by carry-less
/// multiplication costs a tenth of that of the compressing library.
struct Gzip {
    deflate: Engine,
    checksum: Digest,
    /// Bytes taken in, modulo 2^32.
    bytes: u32,
    has_begun: bool,
}

/// What writes the blocks between gzip's head and tail.
enum Engine {
    /// Level 1: made for what we send.
    Fast(Box<Deflate>),
    Zlib(Compress),
}

impl Compressor {
    /// A stream at its start; `None` for the identity encoding.
    pub(super) fn new(encoding: Encoding, level: u32) -> Option<Self> {
        let deflate_level = Compression::new(level.min(DEFLATE_LEVEL_MAX));
        let stream = match encoding {
            Encoding::Identity => return None,
            Encoding::Gzip => Stream::Gzip(Box::new(Gzip::new(deflate_level))),
            // HTTP's `deflate` is the zlib format (RFC 9110, 8.4.1.2).
            Encoding::Deflate => Stream::Deflate(Box::new(Compress::new(deflate_level, true))),
            Encoding::Zstd => {
                let mut context = CCtx::create();
                let level = i32::try_from(level).unwrap_or(i32::MAX);
                // zstd itself brings a level that is too high down to its highest.
                zstd_ok(context.set_parameter(CParameter::CompressionLevel(level)));
                zstd_ok(context.set_parameter(CParameter::ChecksumFlag(true)));
                if level > ZSTD_LEVEL_NARROW {
                    zstd_ok(context.set_parameter(CParameter::WindowLog(ZSTD_WINDOW_LOG_MAX)));
                }
                Stream::Zstd(context)
            }
        };
        Some(Self { encoding, level, stream })
    }

    /// Whether it is for this encoding at this level.
    pub(super) fn is(&self, encoding: Encoding, level: u32) -> bool {
        self.encoding == encoding && self.level == level
    }

    /// Bytes of memory that it takes, about.
    pub(super) fn memory(&self) -> usize {
        match &self.stream {
            Stream::Zstd(context) => context.sizeof(),
            // zlib's windows and tables, and ours.
            _ => DEFLATE_MEMORY,
        }
    }

    /// Compresses `raw[from..]` to the end of `out`; some of it stays inside for now.
    ///
    /// What stands before `from` is what came last: at least [`HISTORY_BYTES`] of it, or all. From
    /// one call to the next a multiple of [`CUT_BYTES`] may go at its beginning.
    pub(super) fn write(&mut self, raw: &[u8], from: usize, out: &mut Vec<u8>) {
        let input = &raw[from..];
        match &mut self.stream {
            Stream::Gzip(gzip) => gzip.write(raw, from, out),
            Stream::Deflate(deflate) => deflate_all(deflate, input, out),
            Stream::Zstd(context) => {
                let mut input = InBuffer::around(input);
                while input.pos() < input.src.len() {
                    out.reserve(ROOM);
                    let end = out.len();
                    let mut room = OutBuffer::around_pos(out, end);
                    zstd_ok(context.compress_stream(&mut room, &mut input));
                }
            }
        }
    }

    /// Writes what is still inside, and the end of the stream; gives back one at its start.
    ///
    /// Only here is a stream reset. One that is left in the middle is dropped instead: zlib-rs 0.6
    /// carries an open block over a reset at level 1, and the next body could not be read.
    pub(super) fn finish(mut self, out: &mut Vec<u8>) -> Self {
        match &mut self.stream {
            Stream::Gzip(gzip) => gzip.finish(out),
            Stream::Deflate(deflate) => deflate_end(deflate, out),
            Stream::Zstd(context) => {
                let mut left = 1;
                while left > 0 {
                    out.reserve(ROOM);
                    let end = out.len();
                    let mut room = OutBuffer::around_pos(out, end);
                    left = zstd_ok(context.end_stream(&mut room));
                }
                zstd_ok(context.reset(ResetDirective::SessionOnly));
            }
        }
        self
    }
}

impl Gzip {
    fn new(level: Compression) -> Self {
        Self {
            deflate: match level == Compression::fast() {
                true => Engine::Fast(Box::new(Deflate::new())),
                false => Engine::Zlib(Compress::new(level, false)),
            },
            checksum: Digest::new(CrcAlgorithm::Crc32IsoHdlc),
            bytes: 0,
            has_begun: false,
        }
    }

    fn write(&mut self, raw: &[u8], from: usize, out: &mut Vec<u8>) {
        let input = &raw[from..];
        self.begin(out);
        self.checksum.update(input);
        // RFC 1952, 2.3.1: the length is counted modulo 2^32.
        self.bytes = self.bytes.wrapping_add(input.len() as u32);
        match &mut self.deflate {
            Engine::Fast(deflate) => deflate.write(raw, from, out),
            Engine::Zlib(deflate) => deflate_all(deflate, input, out),
        }
    }

    /// Writes the end of the stream; the next one begins.
    fn finish(&mut self, out: &mut Vec<u8>) {
        self.begin(out);
        match &mut self.deflate {
            Engine::Fast(deflate) => deflate.finish(out),
            Engine::Zlib(deflate) => deflate_end(deflate, out),
        }
        let checksum = u32::try_from(self.checksum.finalize_reset()).expect("32 bits of CRC-32");
        out.extend_from_slice(&checksum.to_le_bytes());
        out.extend_from_slice(&self.bytes.to_le_bytes());
        self.bytes = 0;
        self.has_begun = false;
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if !self.has_begun {
            out.extend_from_slice(&GZIP_HEAD);
            self.has_begun = true;
        }
    }
}

/// Compresses all of `input`; some of it stays inside.
fn deflate_all(deflate: &mut Compress, input: &[u8], out: &mut Vec<u8>) {
    let mut rest = input;
    while !rest.is_empty() {
        let before = deflate.total_in();
        deflate_step(deflate, rest, FlushCompress::None, out);
        rest = &rest[bytes(deflate.total_in() - before)..];
    }
}

/// Writes what is still inside, and begins the next stream.
fn deflate_end(deflate: &mut Compress, out: &mut Vec<u8>) {
    while deflate_step(deflate, &[], FlushCompress::Finish, out) != Status::StreamEnd {}
    deflate.reset();
}

/// One call to deflate, with room for what it writes.
///
/// flate2's own way of appending to a vector clears all of its spare room at each call: with a
/// reused buffer that costs more than compressing.
fn deflate_step(
    deflate: &mut Compress,
    input: &[u8],
    flush: FlushCompress,
    out: &mut Vec<u8>,
) -> Status {
    let end = out.len();
    let before = deflate.total_out();
    out.resize(end + ROOM, 0);
    let status = deflate
        .compress(input, &mut out[end..], flush)
        .expect("deflate fails only on a stream that was misused");
    out.truncate(end + bytes(deflate.total_out() - before));
    status
}

/// Appends the `raw_bytes` bytes that a body of ours held before it was compressed.
///
/// Only bodies that a [`Compressor`] wrote are opened, to copy byte ranges out of them: keeping
/// them compressed lets a window of the same memory hold about seven times the events.
pub(super) fn decompress(encoding: Encoding, body: &[u8], raw_bytes: usize, out: &mut Vec<u8>) {
    let start = out.len();
    // One byte more, so that deflate can reach its trailer without asking for room.
    out.reserve(raw_bytes + 1);
    match encoding {
        Encoding::Identity => out.extend_from_slice(body),
        Encoding::Gzip | Encoding::Deflate => {
            let mut stream = match encoding {
                Encoding::Gzip => Decompress::new_gzip(WINDOW_BITS),
                _ => Decompress::new(true),
            };
            let status = stream
                .decompress_vec(body, out, FlushDecompress::Finish)
                .expect("we wrote this body and its checksum holds");
            assert_eq!(status, Status::StreamEnd, "we know how long the body was");
        }
        Encoding::Zstd => {
            let mut context = DCtx::create();
            let mut input = InBuffer::around(body);
            let mut room = OutBuffer::around_pos(out, start);
            let left = zstd_ok(context.decompress_stream(&mut room, &mut input));
            assert_eq!(left, 0, "we know how long the body was");
        }
    }
    assert_eq!(out.len() - start, raw_bytes, "we know how long the body was");
}

fn bytes(count: u64) -> usize {
    usize::try_from(count).expect("no more than the slice that was given")
}

fn zstd_ok(result: Result<usize, usize>) -> usize {
    result.unwrap_or_else(|code| {
        unreachable!("zstd refused a call: {}", zstd::zstd_safe::get_error_name(code))
    })
}

/// Bytes before those to be compressed that a compressor may look at.
pub(super) const HISTORY_BYTES: usize = DISTANCE_MAX;

/// Bytes that may go at once at the beginning of what was compressed: their places then stay the
/// same in the 16 bits that are remembered of each.
pub(super) const CUT_BYTES: usize = 64 << 10;

/// The largest window of RFC 1951, as zlib counts it.
const WINDOW_BITS: u8 = 15;

/// RFC 1952, 2.3: its mark, deflate, no flags, no time, the fastest algorithm, an unknown system.
const GZIP_HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];

/// zlib's highest level.
const DEFLATE_LEVEL_MAX: u32 = 9;

/// Room made before each call, in bytes: large enough that a call seldom comes back for more.
const ROOM: usize = 16 << 10;

/// RFC 9659 3: "a conforming encoder MUST NOT generate frames requiring a window size larger than
/// 8 MB" where the content encoding is `zstd`; a receiver may refuse what needs more.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Up to this level zstd's own windows are not wider.
const ZSTD_LEVEL_NARROW: i32 = 19;

/// What a stream of deflate takes: its window, its tables and the block that it gathers.
const DEFLATE_MEMORY: usize = 300 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    const ENCODINGS: [Encoding; 3] = [Encoding::Gzip, Encoding::Deflate, Encoding::Zstd];

    fn text(len: usize) -> Vec<u8> {
        let mut rng = fastrand::Rng::with_seed(7);
        (0..len).map(|i| if i % 5 == 0 { rng.u8(..) } else { b'a' + rng.u8(..4) }).collect()
    }

    fn compressed(mut compressor: Compressor, raw: &[u8], piece: usize) -> (Vec<u8>, Compressor) {
        let mut out = Vec::new();
        let mut at = 0;
        while at < raw.len() {
            let end = raw.len().min(at + piece);
            compressor.write(&raw[..end], at, &mut out);
            at = end;
        }
        let compressor = compressor.finish(&mut out);
        (out, compressor)
    }

    #[test]
    fn what_went_in_comes_out_however_often_the_stream_was_used() {
        for encoding in ENCODINGS {
            for level in [0, 1, 6] {
                let mut compressor = Compressor::new(encoding, level).expect("not the identity");
                for (len, piece) in [(0, 1), (1, 1), (1000, 7), (300_000, 65_536), (70_000, 70_000)]
                {
                    let raw = text(len);
                    let body;
                    (body, compressor) = compressed(compressor, &raw, piece);
                    let mut opened = b"before".to_vec();
                    decompress(encoding, &body, raw.len(), &mut opened);
                    assert!(opened[6..] == raw, "{encoding:?} {level} {len}");
                }
            }
        }
    }

    #[test]
    fn no_frame_needs_a_wider_window_than_receivers_must_have() {
        for level in 1..=22 {
            let compressor = Compressor::new(Encoding::Zstd, level).expect("it compresses");
            let (frame, _) = compressed(compressor, b"a text", 6);
            // RFC 8878 3.1.1.1: magic number, then a descriptor whose bit 5 says that there is no
            // window, then exponent and mantissa of the window.
            assert_eq!(frame[4] & 0x20, 0, "a stream tells its window first");
            let base = 1_u64 << (10 + (frame[5] >> 3));
            let window = base + base / 8 * u64::from(frame[5] & 7);
            assert!(window <= 8 << 20, "level {level}: {window}");
        }
    }

    #[test]
    fn a_used_stream_writes_what_a_new_one_would() {
        for encoding in ENCODINGS {
            let raw = text(100_000);
            let fresh = || Compressor::new(encoding, 1).expect("not the identity");
            let (_, used) = compressed(fresh(), &raw[..30_000], 4096);
            let (again, _) = compressed(used, &raw, 4096);
            assert!(again == compressed(fresh(), &raw, 4096).0, "{encoding:?}");
        }
    }
}
