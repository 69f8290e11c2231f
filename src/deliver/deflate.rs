//! A deflate encoder for bodies whose documents are alike (RFC 1951).
//!
//! One probe for eight bytes at a place and none inside of what was found: documents repeat long
//! texts at the distance of one document or a few, and shorter repeats cost as many bits as they
//! save. Bytes are written while they are looked at, in codes that were made from those before
//! them, which are alike as well. The bytes before a piece are looked at where they lie, so nothing
//! is copied but the result. `docs/decisions/compression.md` has the figures.

use super::huffman::{Bits, Code, Lengths, Writer};

/// A stream of blocks; between two calls it holds less than a byte.
pub(super) struct Deflate {
    table: Box<Table>,
    /// What the next block's codes are made from, and how many bytes that was.
    counts: Counts,
    counted: usize,
    /// Those of the block that is open.
    codes: Option<Box<Codes>>,
    /// Bytes that it still takes.
    left: usize,
    bits: Bits,
}

/// Where eight bytes with a hash stood last: the lower half of the place.
///
/// What is out of date does no harm, since bytes are compared where it points.
struct Table([u16; 1 << HASH_BITS]);

/// How often each symbol came.
struct Counts {
    /// Bytes, the end of the block, lengths.
    literals: [u32; LITERALS],
    /// Lengths of copies, less the shortest that the format knows.
    lengths: [u32; LENGTHS],
    distances: [u32; DISTANCES],
}

/// The codes of a block: each symbol has one.
struct Codes {
    literals: Code<LITERALS>,
    distances: Code<DISTANCES>,
    /// The code of each length with the bits that its symbol leaves open, and above them how many
    /// they are.
    lengths: [u32; LENGTHS],
}

/// Earlier bytes that come again.
struct Repeat {
    length: usize,
    /// How far back they begin, less one.
    distance: u16,
}

/// What takes bytes and copies, one after the other.
trait Sink {
    /// Bytes as they are.
    fn literals<const N: usize>(&mut self, bytes: [u8; N]);
    /// One byte as it is, if so: without a branch that could not be predicted.
    fn perhaps(&mut self, byte: u8, is_literal: bool);
    fn repeat(&mut self, repeat: &Repeat);
}

impl Deflate {
    /// A stream at its start.
    pub(super) fn new() -> Self {
        Self {
            table: Box::new(Table([0; 1 << HASH_BITS])),
            counts: Counts {
                literals: [0; LITERALS],
                lengths: [0; LENGTHS],
                distances: [0; DISTANCES],
            },
            counted: 0,
            codes: None,
            left: 0,
            bits: Bits::new(PIECE_BITS_MAX / 8),
        }
    }

    /// Compresses `raw[from..]`.
    ///
    /// What stands before `from` is what this stream took in last: at least as much of it as
    /// [`DISTANCE_MAX`], or all. From one call to the next it may lose a multiple of 64 KiB at its
    /// beginning.
    pub(super) fn write(&mut self, raw: &[u8], from: usize, out: &mut Vec<u8>) {
        let mut at = from;
        while at < raw.len() {
            if self.left == 0 {
                self.end();
            }
            let (before, begins) = (self.bits.place(), self.codes.is_none());
            if begins {
                self.begin(raw, at);
            }
            let uncounted = self.left.saturating_sub(COUNTED_BYTES);
            let most = if uncounted > 0 { uncounted } else { self.left };
            let end = raw.len().min(at + PIECE_BYTES.min(most));
            self.piece(&raw[..end], at);
            if self.bits.place().bits() - before.bits() > 8 * (end - at) {
                self.bits.resume(&before);
                if begins {
                    // With its head taken back, there is no block to end.
                    self.codes = None;
                }
                self.end();
                self.store(&raw[at..end], out);
            }
            self.bits.drain(out);
            at = end;
        }
    }

    /// Ends the stream; the next one begins.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        self.end();
        // The last block has the fixed code, and in it nothing but the end: seven zeros.
        self.bits.put(0b011, 10);
        self.bits.align();
        self.bits.drain(out);
        // A new stream writes the same.
        self.table.clear();
        self.counts.clear();
        self.counted = 0;
    }

    /// Begins a block, with codes for what was counted or, at a stream's start, for what comes.
    fn begin(&mut self, raw: &[u8], from: usize) {
        let mut least = 1;
        self.left = if self.counted < COUNTED_BYTES { COUNTED_BYTES } else { BLOCK_BYTES };
        if self.counted == 0 {
            let seen = &raw[..raw.len().min(from + FIRST_SEEN_BYTES)];
            self.table.search(seen, from, &mut self.counts);
            self.table.clear();
            if seen.len() == raw.len() {
                // The block ends with what was seen: nothing else needs a code.
                (least, self.left) = (0, raw.len() - from);
            }
        }
        let codes = Box::new(Codes::new(&self.counts, least));
        Lengths::new(&codes.literals, &codes.distances).write(&mut self.bits);
        self.codes = Some(codes);
    }

    /// Ends the block that is open, if one is.
    fn end(&mut self) {
        if let Some(codes) = self.codes.take() {
            let (code, count) = codes.literals.of(END);
            self.bits.put(code, count);
        }
        self.left = 0;
    }

    /// Writes some of a block; what comes last in it is counted for the next one.
    fn piece(&mut self, raw: &[u8], from: usize) {
        let codes = self.codes.as_deref().expect("a block is open");
        let mut coded = Coded { writer: self.bits.writer(), codes };
        if self.left > COUNTED_BYTES {
            self.table.search(raw, from, &mut coded);
        } else {
            if self.left == COUNTED_BYTES {
                self.counts.clear();
                self.counted = 0;
            }
            self.table.search(raw, from, &mut (&mut coded, &mut self.counts));
            self.counted += raw.len() - from;
        }
        let after = coded.writer.done();
        self.bits.resume(&after);
        self.left -= raw.len() - from;
    }

    /// Writes bytes as they are, in blocks of their own.
    fn store(&mut self, input: &[u8], out: &mut Vec<u8>) {
        for piece in input.chunks(STORED_MAX) {
            self.bits.put(0b000, 3);
            self.bits.align();
            self.bits.drain(out);
            let len = u16::try_from(piece.len()).expect("pieces are that short");
            out.extend_from_slice(&len.to_le_bytes());
            out.extend_from_slice(&(!len).to_le_bytes());
            out.extend_from_slice(piece);
        }
    }
}

impl Table {
    fn clear(&mut self) {
        self.0.fill(0);
    }

    /// Tells `sink` all of `raw[from..]`, with copies of what stood before.
    ///
    /// Not inlined: it keeps all that it needs in registers.
    #[inline(never)]
    fn search<S: Sink>(&mut self, raw: &[u8], from: usize, sink: &mut S) {
        let limit = raw.len().saturating_sub(SEARCH_END);
        let mut at = from;
        let rest = loop {
            let (here, there) = match self.next(raw, at, limit, sink) {
                Ok(found) => found,
                Err(rest) => break rest,
            };
            let length = common(&raw[here..], &raw[there..]);
            sink.repeat(&Repeat { length, distance: low(here - there - 1) });
            self.0[hash(word(raw, here + 1))] = low(here + 1);
            at = here + length;
        };
        raw[rest..].iter().for_each(|&byte| sink.literals([byte]));
    }

    /// Looks from `at` on for eight bytes that stood before: where they stand, and where they did.
    ///
    /// Tells `sink` what it passes, and where that ends if nothing is found.
    #[inline(always)]
    fn next<S: Sink>(
        &mut self,
        raw: &[u8],
        at: usize,
        limit: usize,
        sink: &mut S,
    ) -> Result<(usize, usize), usize> {
        let mut here = at;
        while here < limit && here - at < SLOW {
            if let Some(there) = self.probe(raw, here) {
                return Ok((here, there));
            }
            sink.literals([raw[here]]);
            here += 1;
        }
        // Where nothing was found for a while, every other place is enough: one may have come in
        // one byte late.
        here += 1;
        while here < limit {
            if let Some(there) = self.probe(raw, here) {
                let late = usize::from(there > 0 && raw[here - 1] == raw[there - 1]);
                sink.perhaps(raw[here - 1], late == 0);
                return Ok((here - late, there - late));
            }
            sink.literals([raw[here - 1], raw[here]]);
            here += 2;
        }
        Err(here - 1)
    }

    /// Where the eight bytes at a place stood last, if not too far back; the place is noted.
    #[inline(always)]
    fn probe(&mut self, raw: &[u8], here: usize) -> Option<usize> {
        let eight = word(raw, here);
        let slot = &mut self.0[hash(eight)];
        let distance = low(here).wrapping_sub(*slot).wrapping_sub(1);
        *slot = low(here);
        let there = here.wrapping_sub(usize::from(distance) + 1).min(here);
        let differs = eight ^ word(raw, there);
        // One condition, since each alone could not be predicted: what is further back than the
        // format knows has the upper bit.
        (differs | u64::from(distance & TOO_FAR) == 0).then_some(there)
    }
}

impl Counts {
    fn clear(&mut self) {
        self.literals.fill(0);
        self.lengths.fill(0);
        self.distances.fill(0);
    }

    /// How often each symbol of the first code comes.
    fn symbols(&self) -> [u32; LITERALS] {
        let mut symbols = self.literals;
        symbols[END] = 1;
        for (&count, &symbol) in self.lengths.iter().zip(&LENGTH_SYMBOL) {
            symbols[END + 1 + usize::from(symbol)] += count;
        }
        symbols
    }
}

impl Sink for Counts {
    #[inline(always)]
    fn literals<const N: usize>(&mut self, bytes: [u8; N]) {
        bytes.iter().for_each(|&byte| self.literals[usize::from(byte)] += 1);
    }

    #[inline(always)]
    fn perhaps(&mut self, byte: u8, is_literal: bool) {
        self.literals[usize::from(byte)] += u32::from(is_literal);
    }

    #[inline(always)]
    fn repeat(&mut self, repeat: &Repeat) {
        self.lengths[(repeat.length - LENGTH_MIN) % LENGTHS] += 1;
        self.distances[usize::from(distance_symbol(repeat.distance))] += 1;
    }
}

impl Codes {
    /// Codes for what comes about as often as was counted, or `least` times in [`OFTEN`].
    fn new(counts: &Counts, least: u32) -> Self {
        let often = |count: u32| count * OFTEN + least;
        let literals = Code::new(&counts.symbols().map(often), CODE_BITS_MAX);
        let distances = Code::new(&counts.distances.map(often), CODE_BITS_MAX);
        let lengths = std::array::from_fn(|at| {
            let symbol = usize::from(LENGTH_SYMBOL[at]);
            let (code, count) = literals.of(END + 1 + symbol);
            let more = at as u32 + LENGTH_MIN as u32 - u32::from(LENGTH_BASE[symbol]);
            (code | more << count) | (count + u32::from(LENGTH_EXTRA[symbol])) << 24
        });
        Self { literals, distances, lengths }
    }
}

/// Writes in the codes of a block.
struct Coded<'a> {
    writer: Writer<'a>,
    codes: &'a Codes,
}

impl Sink for Coded<'_> {
    #[inline(always)]
    fn literals<const N: usize>(&mut self, bytes: [u8; N]) {
        for byte in bytes {
            let (code, count) = self.codes.literals.of(usize::from(byte));
            self.writer.add(code, count);
        }
        self.writer.flush();
    }

    #[inline(always)]
    fn perhaps(&mut self, byte: u8, is_literal: bool) {
        let (code, count) = self.codes.literals.of(usize::from(byte));
        let all = u32::from(is_literal).wrapping_neg();
        // A repeat follows, which flushes.
        self.writer.add(code & all, count & all);
    }

    #[inline(always)]
    fn repeat(&mut self, repeat: &Repeat) {
        let packed = self.codes.lengths[(repeat.length - LENGTH_MIN) % LENGTHS];
        self.writer.add(packed & 0xff_ffff, packed >> 24);
        let symbol = distance_symbol(repeat.distance);
        let (code, count) = self.codes.distances.of(usize::from(symbol));
        let extra = u32::from(symbol.saturating_sub(2) / 2);
        let more = u32::from(repeat.distance) & ((1 << extra) - 1);
        self.writer.add(code | more << count, count + extra);
        // A byte has 13 bits at most, a length 13 and 5, a distance 13 and 13, and 7 were there.
        self.writer.flush();
    }
}

impl<A: Sink, B: Sink> Sink for (&mut A, &mut B) {
    #[inline(always)]
    fn literals<const N: usize>(&mut self, bytes: [u8; N]) {
        self.0.literals(bytes);
        self.1.literals(bytes);
    }

    #[inline(always)]
    fn perhaps(&mut self, byte: u8, is_literal: bool) {
        self.0.perhaps(byte, is_literal);
        self.1.perhaps(byte, is_literal);
    }

    #[inline(always)]
    fn repeat(&mut self, repeat: &Repeat) {
        self.0.repeat(repeat);
        self.1.repeat(repeat);
    }
}

/// How many bytes are alike, as far as one copy goes.
#[inline(always)]
fn common(here: &[u8], there: &[u8]) -> usize {
    let here = &here[..here.len().min(LENGTH_MAX)];
    let there = &there[..here.len()];
    let ((ours, our_rest), (others, other_rest)) = (here.as_chunks(), there.as_chunks());
    for (at, (one, other)) in ours.iter().zip(others).enumerate() {
        let alike = alike(one, other);
        if alike != u64::MAX {
            return 64 * at + alike.trailing_ones() as usize;
        }
    }
    let rest = our_rest.iter().zip(other_rest).take_while(|(one, other)| one == other).count();
    64 * ours.len() + rest
}

/// Which bytes are alike: a bit for each, the first one lowest.
#[inline(always)]
fn alike(one: &[u8; 64], other: &[u8; 64]) -> u64 {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
    // SAFETY: the build itself requires SSE2, which every x86-64 processor has.
    return unsafe { alike_sse2(one, other) };
    #[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
    return alike_portable(one, other);
}

/// Four vectors of 16, loaded from two integers each: the compiler makes one load of both.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[target_feature(enable = "sse2")]
#[inline]
fn alike_sse2(one: &[u8; 64], other: &[u8; 64]) -> u64 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_movemask_epi8, _mm_set_epi64x};

    let load = |bytes: &[u8; 16]| {
        let both = u128::from_le_bytes(*bytes);
        _mm_set_epi64x((both >> 64) as i64, both as i64)
    };
    let (ours, _) = one.as_chunks();
    let (others, _) = other.as_chunks();
    let pairs = ours.iter().zip(others).enumerate();
    let masks = pairs.map(|(at, (one, other))| {
        let mask = _mm_movemask_epi8(_mm_cmpeq_epi8(load(one), load(other)));
        u64::from(mask as u32) << (16 * at)
    });
    masks.fold(0, |all, mask| all | mask)
}

/// The same byte by byte: for other processors.
#[cfg(any(test, not(all(target_arch = "x86_64", target_feature = "sse2"))))]
fn alike_portable(one: &[u8; 64], other: &[u8; 64]) -> u64 {
    let bits = one.iter().zip(other).enumerate();
    bits.fold(0, |all, (at, (one, other))| all | u64::from(one == other) << at)
}

#[inline(always)]
fn word(raw: &[u8], at: usize) -> u64 {
    let bytes: [u8; 8] = raw[at..at + 8].try_into().expect("eight bytes");
    u64::from_le_bytes(bytes)
}

#[inline(always)]
fn hash(word: u64) -> usize {
    (word.wrapping_mul(SPREAD) >> (64 - HASH_BITS)) as usize
}

/// The lower half of a place: distances are far shorter than what it can tell apart.
#[inline(always)]
fn low(place: usize) -> u16 {
    place as u16
}

/// The symbol of a distance, given less one: two for each number of bits (RFC 1951, 3.2.5).
#[inline(always)]
fn distance_symbol(distance: u16) -> u16 {
    let distance = u32::from(distance);
    let extra = (distance | 1).ilog2().saturating_sub(1);
    (2 * extra + (distance >> extra)) as u16
}

/// Bytes that are looked at in one go; what they become is kept until then, since they may be
/// stored instead.
const PIECE_BYTES: usize = 64 << 10;
/// Bits of a piece at most, with the head of its block, should all of it be rare bytes.
const PIECE_BITS_MAX: usize = PIECE_BYTES * CODE_BITS_MAX as usize + (8 << 10);
/// Bytes of a block: making codes takes as long as compressing 4 KiB.
const BLOCK_BYTES: usize = 512 << 10;
/// The last bytes of a block, which are counted for the codes of the next one; and all that a
/// stream's first block takes.
const COUNTED_BYTES: usize = 64 << 10;
/// Bytes at a stream's start for which its first codes are made.
const FIRST_SEEN_BYTES: usize = 16 << 10;
/// What a symbol that came once outweighs one that never came.
const OFTEN: u32 = 16;

/// Places that are remembered: 16 KiB of them leave room in the first-level cache.
const HASH_BITS: u32 = 13;
/// 2^64 divided by the golden ratio.
const SPREAD: u64 = 0x9e37_79b1_85eb_ca87;
/// Bytes at the end of a piece in which no copy begins: eight for the place itself and for the one
/// behind it, and one for the place that is left out.
const SEARCH_END: usize = 10;
/// Places looked at one by one before every other one is left out.
const SLOW: usize = 4;

/// Bytes that a copy may lie back (RFC 1951, 3.2.5).
pub(super) const DISTANCE_MAX: usize = 32 << 10;
/// The bit of a distance, less one, that is too far.
const TOO_FAR: u16 = 0x8000;
const LENGTH_MIN: usize = 3;
const LENGTH_MAX: usize = 258;
/// Bytes of a block that is written as it is.
const STORED_MAX: usize = 65_535;

/// Symbols of the first code: bytes, the end of the block, 29 of lengths.
const LITERALS: usize = END + 1 + LENGTH_BASE.len();
/// The symbol that ends a block.
const END: usize = 256;
const DISTANCES: usize = 30;
/// Different lengths of copies.
const LENGTHS: usize = LENGTH_MAX - LENGTH_MIN + 1;
/// Two below the longest that the format has: a byte, a copy and what is left of a byte then fit a
/// word.
const CODE_BITS_MAX: u32 = 13;

/// The shortest length of each symbol (RFC 1951, 3.2.5).
const LENGTH_BASE: [u16; 29] = [
    3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131,
    163, 195, 227, 258,
];
/// Bits behind each of these symbols.
const LENGTH_EXTRA: [u8; 29] =
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];

/// The symbol of each length, counted from the first.
static LENGTH_SYMBOL: [u8; LENGTHS] = {
    let (mut symbols, mut at) = ([0; LENGTHS], 0);
    while at < LENGTHS {
        let mut symbol = LENGTH_BASE.len() - 1;
        while LENGTH_BASE[symbol] as usize > at + LENGTH_MIN {
            symbol -= 1;
        }
        symbols[at] = symbol as u8;
        at += 1;
    }
    symbols
};

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts that come again, noise that is stored, both in turn, cut anywhere; and what the stream
    /// was used for before leaves no trace.
    #[test]
    fn what_any_pieces_become_is_opened_by_another_library() {
        let mut rng = fastrand::Rng::with_seed(5);
        let mut stream = Deflate::new();
        for round in 0..24 {
            let mut raw = Vec::new();
            let most = 1 << rng.u32(4..21);
            let len = rng.usize(..most);
            while raw.len() < len {
                let own: Vec<u8> = (0..1 + raw.len() % 60).map(|_| rng.u8(..)).collect();
                let known = raw.len().min(rng.usize(..40_000));
                let known = raw[raw.len() - known..].iter().take(rng.usize(..400));
                let known: Vec<u8> = known.copied().collect();
                match (round % 3, raw.len() >> 17 & 1) {
                    (0, _) | (2, 0) => raw.extend([&known[..], &own].concat()),
                    _ => raw.extend(std::iter::repeat_with(|| rng.u8(..)).take(9000)),
                }
            }
            let (mut body, mut at, mut kept) = (Vec::new(), 0, 0);
            while at < raw.len() {
                let most = 1 << rng.u32(0..18);
                let end = raw.len().min(at + 1 + rng.usize(..most));
                stream.write(&raw[kept..end], at - kept, &mut body);
                at = end;
                kept = at.saturating_sub(DISTANCE_MAX) & !0xffff;
            }
            stream.finish(&mut body);
            let opened = miniz_oxide::inflate::decompress_to_vec(&body).expect("it is deflate");
            assert!(opened == raw, "round {round}");
            assert!(body.len() <= raw.len() + raw.len() / 100 + 64, "round {round}: it grew");
            let (mut first, mut second) = (Vec::new(), Vec::new());
            for (stream, out) in [(&mut stream, &mut first), (&mut Deflate::new(), &mut second)] {
                stream.write(&raw, 0, out);
                stream.finish(out);
            }
            assert!(first == second, "round {round}");
        }
    }

    /// The same as RFC 1951 says it, one after the other.
    #[test]
    fn each_distance_has_the_symbol_of_the_format() {
        let (mut symbol, mut base) = (0, 1);
        for distance in 1..=DISTANCE_MAX {
            let extra = u32::from(u16::saturating_sub(symbol, 2)) / 2;
            if distance == base + (1 << extra) {
                (symbol, base) = (symbol + 1, distance);
            }
            assert_eq!(distance_symbol((distance - 1) as u16), symbol, "{distance}");
        }
        assert_eq!(usize::from(symbol), DISTANCES - 1);
    }

    #[test]
    fn common_bytes_are_counted_up_to_the_longest_copy() {
        for len in (0..70).chain(250..300) {
            for differs in (0..len).chain([len]) {
                let (here, mut there) = (vec![7; len], vec![7; len + 3]);
                there[differs] = 8;
                assert_eq!(common(&here, &there), differs.min(LENGTH_MAX).min(len));
                if let (Some(here), Some(there)) = (here.first_chunk(), there.first_chunk()) {
                    assert_eq!(alike(here, there), alike_portable(here, there), "{len} {differs}");
                }
            }
        }
    }
}
