//! A deflate encoder for bodies whose documents are alike (RFC 1951).
//!
//! One probe for eight bytes at a place and none inside of what was found: documents repeat long
//! texts at the distance of one document or a few, and shorter repeats cost as many bits as they
//! save. The bytes before a block are looked at where they lie, so nothing is copied but the
//! result. `docs/decisions/compression.md` has the figures.

use super::huffman::{Bits, Code, Lengths};

/// A stream of blocks; between two of them it holds less than a byte.
pub(super) struct Deflate {
    /// Where eight bytes with this hash stood last: the lower half of the place.
    ///
    /// What is out of date does no harm, since bytes are compared where it points.
    table: Box<[u16; 1 << HASH_BITS]>,
    repeats: Vec<Repeat>,
    counts: Counts,
    bits: Bits,
}

/// Some bytes as they are, then a copy of earlier ones.
struct Repeat {
    literals: u16,
    length: u16,
    /// How far back they begin, less one.
    distance: u16,
    /// The symbol of the distance.
    symbol: u16,
}

/// How often each symbol comes in a block.
struct Counts {
    /// Bytes, the end of the block, lengths.
    literals: [u32; LITERALS],
    /// Lengths of copies, less the shortest that the format knows.
    lengths: [u32; LENGTHS],
    distances: [u32; DISTANCES],
}

impl Deflate {
    /// A stream at its start.
    pub(super) fn new() -> Self {
        Self {
            table: Box::new([0; 1 << HASH_BITS]),
            repeats: Vec::with_capacity(BLOCK_BYTES / MATCH_MIN),
            counts: Counts {
                literals: [0; LITERALS],
                lengths: [0; LENGTHS],
                distances: [0; DISTANCES],
            },
            bits: Bits::new(BLOCK_BYTES),
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
            let end = raw.len().min(at + BLOCK_BYTES);
            self.block(&raw[..end], at, out);
            at = end;
        }
    }

    /// Ends the stream; the next one begins.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        // The last block has the fixed code, and in it nothing but the end: seven zeros.
        self.bits.put(0b011, 10);
        self.bits.align();
        self.bits.drain(out);
        // A new stream writes the same.
        self.table.fill(0);
    }

    fn block(&mut self, raw: &[u8], from: usize, out: &mut Vec<u8>) {
        self.find(raw, from);
        let symbols = self.counts.symbols();
        let literals = Code::new(&symbols, CODE_BITS_MAX);
        let distances = Code::new(&self.counts.distances, CODE_BITS_MAX);
        let lengths = Lengths::new(&literals, &distances);
        let bits = lengths.bits() + self.counts.bits(&symbols, &literals, &distances);
        let input = &raw[from..];
        if bits.div_ceil(8) >= input.len() as u64 {
            self.store(input, out);
            return;
        }
        lengths.write(&mut self.bits);
        self.emit(input, &literals, &distances);
        self.bits.drain(out);
    }

    /// Writes a block as it is.
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

    /// Finds what stood before, and counts symbols.
    fn find(&mut self, raw: &[u8], from: usize) {
        let Self { table, repeats, counts, .. } = self;
        repeats.clear();
        counts.clear();
        let (mut at, mut kept) = (from, from);
        loop {
            let (mut here, found) = search(raw, at, table, &mut counts.literals);
            let Some(distance) = found else {
                raw[here..].iter().for_each(|&byte| counts.literals[usize::from(byte)] += 1);
                return;
            };
            let mut there = here - usize::from(distance) - 1;
            // A search that skips places may have come in one byte late.
            if here > at && there > 0 && raw[here - 1] == raw[there - 1] {
                (here, there) = (here - 1, there - 1);
                counts.literals[usize::from(raw[here])] -= 1;
            }
            let length = common(&raw[here..], &raw[there..]);
            let symbol = distance_symbol(distance);
            counts.lengths[(length - LENGTH_MIN) % LENGTHS] += 1;
            counts.distances[usize::from(symbol)] += 1;
            let short = |bytes: usize| u16::try_from(bytes).expect("no longer than a block");
            let literals = short(here - kept);
            repeats.push(Repeat { literals, length: short(length), distance, symbol });
            table[hash(word(raw, here + 1))] = low(here + 1);
            at = here + length;
            kept = at;
        }
    }

    /// Writes the block's bytes and copies in its codes.
    fn emit(&mut self, input: &[u8], literals: &Code<LITERALS>, distances: &Code<DISTANCES>) {
        let lengths: [u32; LENGTHS] = std::array::from_fn(|at| {
            let symbol = usize::from(LENGTH_SYMBOL[at]);
            let (code, count) = literals.of(END + 1 + symbol);
            let more = at as u32 + LENGTH_MIN as u32 - u32::from(LENGTH_BASE[symbol]);
            (code | more << count) | (count + u32::from(LENGTH_EXTRA[symbol])) << 24
        });
        let mut writer = self.bits.writer();
        let mut rest = input;
        for repeat in &self.repeats {
            let (bytes, after) = rest.split_at(usize::from(repeat.literals));
            writer.bytes(bytes, literals);
            let packed = lengths[usize::from(repeat.length).wrapping_sub(LENGTH_MIN) % LENGTHS];
            writer.add(packed & 0xff_ffff, packed >> 24);
            let (code, count) = distances.of(usize::from(repeat.symbol));
            let extra = u32::from(repeat.symbol.saturating_sub(2) / 2);
            let more = u32::from(repeat.distance) & ((1 << extra) - 1);
            writer.add(code | more << count, count + extra);
            // A length has 14 and 5 bits at most, a distance 14 and 13, and 7 were there.
            writer.flush();
            rest = &after[usize::from(repeat.length)..];
        }
        writer.bytes(rest, literals);
        let (code, count) = literals.of(END);
        writer.add(code, count);
        writer.flush();
        let place = writer.done();
        self.bits.resume(&place);
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

    /// Bits of the block behind its head.
    fn bits(
        &self,
        symbols: &[u32; LITERALS],
        literals: &Code<LITERALS>,
        distances: &Code<DISTANCES>,
    ) -> u64 {
        let extra = |symbol: usize| match symbol.checked_sub(END + 1) {
            Some(at) => u32::from(LENGTH_EXTRA[at]),
            None => 0,
        };
        let firsts = symbols.iter().enumerate().map(|(symbol, &count)| {
            u64::from(count) * u64::from(literals.of(symbol).1 + extra(symbol))
        });
        let seconds = self.distances.iter().enumerate().map(|(symbol, &count)| {
            let extra = symbol as u32 / 2;
            u64::from(count) * u64::from(distances.of(symbol).1 + extra.saturating_sub(1))
        });
        firsts.chain(seconds).sum()
    }
}

/// Looks from `at` on for eight bytes that stood before; returns where, and how far back less one.
///
/// Counts the bytes that it passes. Not inlined: it keeps all that it needs in registers.
#[inline(never)]
fn search(
    raw: &[u8],
    at: usize,
    table: &mut [u16; 1 << HASH_BITS],
    literals: &mut [u32; LITERALS],
) -> (usize, Option<u16>) {
    let limit = raw.len().saturating_sub(SEARCH_END);
    let mut here = at;
    while here < limit {
        let eight = word(raw, here);
        let slot = &mut table[hash(eight)];
        let distance = low(here).wrapping_sub(*slot).wrapping_sub(1);
        *slot = low(here);
        let there = here.wrapping_sub(usize::from(distance) + 1).min(here);
        let differs = eight ^ word(raw, there);
        // One condition, since each alone could not be predicted: what is further back than the
        // format knows has the upper bit.
        if differs | u64::from(distance & TOO_FAR) == 0 {
            return (here, Some(distance));
        }
        literals[usize::from(raw[here])] += 1;
        here += 1;
        // Where nothing was found for a while, every other place is enough.
        if here - at > SLOW {
            literals[usize::from(raw[here])] += 1;
            here += 1;
        }
    }
    (here, None)
}

/// How many bytes are alike, as far as one copy goes.
#[inline(always)]
fn common(here: &[u8], there: &[u8]) -> usize {
    let here = &here[..here.len().min(LENGTH_MAX)];
    let there = &there[..here.len()];
    let ((ours, our_rest), (others, other_rest)) = (here.as_chunks::<16>(), there.as_chunks());
    for (at, (one, other)) in ours.iter().zip(others).enumerate() {
        let differs = u128::from_le_bytes(*one) ^ u128::from_le_bytes(*other);
        if differs != 0 {
            return 16 * at + differs.trailing_zeros() as usize / 8;
        }
    }
    let rest = our_rest.iter().zip(other_rest).take_while(|(one, other)| one == other).count();
    16 * ours.len() + rest
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

/// Bytes of a block at most: enough that its head, some 80 bytes, and its codes cost little.
const BLOCK_BYTES: usize = 64 << 10;

/// Places that are remembered: 16 KiB of them leave room in the first-level cache.
const HASH_BITS: u32 = 13;
/// 2^64 divided by the golden ratio.
const SPREAD: u64 = 0x9e37_79b1_85eb_ca87;
/// Bytes that are looked for. Fewer made bodies larger: a short copy costs what its bytes cost.
const MATCH_MIN: usize = 8;
/// Bytes at the end of a block in which no copy begins: eight for the place itself and for the one
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
/// One below the longest that the format has: four codes and what is left of a byte then fit a
/// word.
const CODE_BITS_MAX: u32 = 14;

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
            }
        }
    }
}
