//! Huffman codes as deflate writes them, and the bits of a stream (RFC 1951, 3.1.1 and 3.2.2).

/// A code for symbols below `N`.
pub(super) struct Code<const N: usize> {
    /// The bits of each symbol's code, the first one lowest, and above them how many they are.
    packed: [u32; N],
}

impl<const N: usize> Code<N> {
    /// The shortest code for symbols that come so often, none of it longer than this; a symbol that
    /// never comes has none.
    ///
    /// Two symbols always have one, since some readers refuse a code that is not complete.
    pub(super) fn new(counts: &[u32; N], bits_max: u32) -> Self {
        let mut keys = [0_u64; N];
        let mut used = 0;
        let seen = counts.iter().filter(|&&count| count > 0).count();
        let mut missing = 2_usize.saturating_sub(seen);
        for (symbol, &count) in counts.iter().enumerate() {
            if count > 0 || missing > 0 {
                missing -= usize::from(count == 0);
                keys[used] = u64::from(count.max(1)) << 16 | symbol as u64;
                used += 1;
            }
        }
        let keys = &mut keys[..used];
        keys.sort_unstable();
        let mut weights = [0_u32; N];
        for (weight, key) in weights.iter_mut().zip(keys.iter()) {
            *weight = (key >> 16) as u32;
        }
        lengths_of(&mut weights[..used]);
        let per_length = shortened(&weights[..used], bits_max);
        let mut lengths = [0_u32; N];
        // The rarest first: they get the longest codes.
        let mut rest = keys.iter();
        for (length, &count) in per_length.iter().enumerate().rev() {
            for key in rest.by_ref().take(count as usize) {
                lengths[(key & 0xffff) as usize] = length as u32;
            }
        }
        Self { packed: canonical(&lengths, &per_length) }
    }

    /// The bits of a symbol, and how many they are; none are those of a symbol without a code.
    #[inline(always)]
    pub(super) fn of(&self, symbol: usize) -> (u32, u32) {
        let packed = self.packed[symbol];
        (packed & 0xffff, packed >> 16)
    }
}

/// Turns weights in ascending order into code lengths, in place (Moffat and Katajainen, "In-place
/// calculation of minimum-redundancy codes", 1995): first into sums with links to their parents,
/// then into depths of inner nodes, then into depths of leaves.
fn lengths_of(weights: &mut [u32]) {
    let count = weights.len();
    debug_assert!(count >= 2, "a code has two symbols");
    weights[0] += weights[1];
    let (mut root, mut leaf) = (0, 2);
    for next in 1..count - 1 {
        let mut sum = 0;
        for _ in 0..2 {
            let takes_root = root < next && (leaf >= count || weights[root] < weights[leaf]);
            if takes_root {
                sum += weights[root];
                weights[root] = next as u32;
                root += 1;
            } else {
                sum += weights[leaf];
                leaf += 1;
            }
        }
        // What was summed up lies before this place, or is the leaf that lay here.
        weights[next] = sum;
    }
    weights[count - 2] = 0;
    for inner in (0..count - 2).rev() {
        weights[inner] = weights[weights[inner] as usize] + 1;
    }
    let (mut inner, mut next) = (count - 1, count);
    let (mut free, mut depth) = (1, 0);
    while free > 0 {
        let mut taken = 0;
        while inner > 0 && weights[inner - 1] == depth {
            taken += 1;
            inner -= 1;
        }
        for _ in taken..free {
            next -= 1;
            weights[next] = depth;
        }
        free = 2 * taken;
        depth += 1;
    }
}

/// How many codes have each length, once none is longer than `bits_max`: too long ones become as
/// short as allowed, and others one bit longer until all of them fit.
fn shortened(lengths: &[u32], bits_max: u32) -> [u32; BITS_MAX + 1] {
    let mut per_length = [0; BITS_MAX + 1];
    let longest = bits_max as usize;
    for &length in lengths {
        per_length[length.min(bits_max) as usize] += 1;
    }
    let share = |(length, &count): (usize, &u32)| u64::from(count) << (longest - length);
    let mut taken: u64 = per_length[..=longest].iter().enumerate().skip(1).map(share).sum();
    while taken > 1 << longest {
        per_length[longest] -= 1;
        let shorter = (1..longest).rev().find(|&length| per_length[length] > 0);
        let shorter = shorter.expect("a code that is too full has shorter ones");
        per_length[shorter] -= 1;
        per_length[shorter + 1] += 2;
        taken -= 1;
    }
    per_length
}

/// The codes themselves: in the order of their lengths, then of their symbols (RFC 1951, 3.2.2).
fn canonical<const N: usize>(lengths: &[u32; N], per_length: &[u32; BITS_MAX + 1]) -> [u32; N] {
    let mut next = [0_u32; BITS_MAX + 1];
    for length in 1..=BITS_MAX {
        let shorter = if length > 1 { per_length[length - 1] } else { 0 };
        next[length] = (next[length - 1] + shorter) << 1;
    }
    let mut packed = [0; N];
    for (packed, &length) in packed.iter_mut().zip(lengths).filter(|(_, length)| **length > 0) {
        let code = &mut next[length as usize];
        *packed = code.reverse_bits() >> (32 - length) | length << 16;
        *code += 1;
    }
    packed
}

/// The head of a block: the lengths of both codes, in runs, in a code of their own (3.2.7).
pub(super) struct Lengths {
    runs: [Run; RUNS_MAX],
    count: usize,
    code: Code<RUN_SYMBOLS>,
    /// How many lengths each of the codes has up to its last symbol, and the code for runs.
    used: [usize; 3],
}

/// A length, or a run of lengths.
#[derive(Clone, Copy, Default)]
struct Run {
    symbol: u8,
    /// What its symbol leaves open, and the bits for it.
    more: u8,
    extra: u8,
}

impl Lengths {
    pub(super) fn new<const N: usize, const M: usize>(
        literals: &Code<N>,
        distances: &Code<M>,
    ) -> Self {
        let length = |packed: &u32| (packed >> 16) as u8;
        let used = |packed: &[u32]| packed.iter().rposition(|&it| it > 0).map_or(0, |at| at + 1);
        let (first, second) = (used(&literals.packed), used(&distances.packed));
        let mut all = [0; RUNS_MAX];
        let both = literals.packed[..first].iter().chain(&distances.packed[..second]);
        all.iter_mut().zip(both).for_each(|(to, packed)| *to = length(packed));
        let (mut runs, mut counts) = ([Run::default(); RUNS_MAX], [0; RUN_SYMBOLS]);
        let all = &all[..first + second];
        let (mut at, mut count) = (0, 0);
        while at < all.len() {
            let value = all[at];
            let alike = all[at..].iter().take_while(|&&length| length == value).count();
            let is_repeat = at > 0 && all[at - 1] == value;
            let (symbol, least, most, extra) = match (value, alike) {
                (0, 11..) => (18, 11, 138, 7),
                (0, 3..) => (17, 3, 10, 3),
                (_, 3..) if is_repeat => (16, 3, 6, 2),
                _ => (value, 1, 1, 0),
            };
            let taken = alike.min(most);
            runs[count] = Run { symbol, more: (taken - least) as u8, extra };
            counts[usize::from(symbol)] += 1;
            count += 1;
            at += taken;
        }
        let code = Code::new(&counts, RUN_BITS_MAX);
        let third = ORDER.iter().rposition(|&symbol| code.of(symbol).1 > 0).map_or(0, |at| at + 1);
        Self { runs, count, code, used: [first, second, third.max(4)] }
    }

    pub(super) fn write(&self, bits: &mut Bits) {
        let [first, second, third] = self.used.map(|used| used as u32);
        // Not the last block; codes of its own.
        bits.put(0b100, 3);
        bits.put(first - 257, 5);
        bits.put(second - 1, 5);
        bits.put(third - 4, 4);
        for &symbol in &ORDER[..self.used[2]] {
            bits.put(self.code.of(symbol).1, 3);
        }
        for run in &self.runs[..self.count] {
            let (code, count) = self.code.of(usize::from(run.symbol));
            bits.put(code | u32::from(run.more) << count, count + u32::from(run.extra));
        }
    }
}

/// Bits on their way into bytes, the first one lowest.
pub(super) struct Bits {
    /// Room for a block, and for a word at its end.
    bytes: Box<[u8]>,
    place: Place,
}

/// Where writing goes on: in which byte, and what was begun of it.
#[derive(Clone, Copy, Default)]
pub(super) struct Place {
    at: usize,
    word: u64,
    count: u32,
}

impl Place {
    /// Bits since the buffer was drained.
    pub(super) fn bits(&self) -> usize {
        8 * self.at + self.count as usize
    }
}

impl Bits {
    /// Room for blocks that are shorter than this.
    pub(super) fn new(bytes_max: usize) -> Self {
        let room = bytes_max + 2 * size_of::<u64>();
        Self { bytes: vec![0; room].into_boxed_slice(), place: Place::default() }
    }

    /// Appends a few bits.
    pub(super) fn put(&mut self, bits: u32, count: u32) {
        let mut writer = self.writer();
        writer.add(bits, count);
        writer.flush();
        self.place = writer.done();
    }

    /// Fills the byte that was begun.
    pub(super) fn align(&mut self) {
        let count = self.place.count.next_multiple_of(8) - self.place.count;
        self.put(0, count);
    }

    /// Appends all whole bytes, and forgets them.
    pub(super) fn drain(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes[..self.place.at]);
        self.place.at = 0;
    }

    /// For many bits: it holds its place by itself, so that it stays in registers.
    #[inline(always)]
    pub(super) fn writer(&mut self) -> Writer<'_> {
        Writer { bytes: &mut self.bytes, place: self.place }
    }

    /// Where the next bit goes.
    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// Goes on where a writer stopped, or where it began: what it wrote is then forgotten.
    pub(super) fn resume(&mut self, place: &Place) {
        self.place = *place;
    }
}

/// Writes bits.
pub(super) struct Writer<'a> {
    bytes: &'a mut [u8],
    place: Place,
}

impl Writer<'_> {
    /// Adds bits that there is room for in a word: 56 since the last flush.
    #[inline(always)]
    pub(super) fn add(&mut self, bits: u32, count: u32) {
        let place = &mut self.place;
        debug_assert!(place.count + count <= 64, "a word holds them");
        place.word |= u64::from(bits) << (place.count & 63);
        place.count += count;
    }

    /// Writes whole bytes; less than one stays.
    #[inline(always)]
    pub(super) fn flush(&mut self) {
        let place = &mut self.place;
        let room = self.bytes.get_mut(place.at..).and_then(|rest| rest.first_chunk_mut());
        *room.expect("a block is shorter than its room") = place.word.to_le_bytes();
        place.at += (place.count / 8) as usize;
        place.word >>= place.count & 56;
        place.count &= 7;
    }

    /// Where the next one goes on.
    pub(super) fn done(self) -> Place {
        self.place
    }
}

/// Bits of a code at most (RFC 1951, 3.2.7).
const BITS_MAX: usize = 15;
/// The same for the code of the head.
const RUN_BITS_MAX: u32 = 7;
/// Symbols of the head's code: lengths, and three kinds of runs.
const RUN_SYMBOLS: usize = 19;
/// Lengths in a head: 286 and 30.
const RUNS_MAX: usize = 316;
/// The order in which the head tells its own code.
const ORDER: [usize; RUN_SYMBOLS] =
    [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

#[cfg(test)]
mod tests {
    use super::*;

    /// The share of all words that the codes of these counts take, in 2^-15.
    fn check<const N: usize>(counts: [u32; N], bits_max: u32) -> Code<N> {
        let code = Code::new(&counts, bits_max);
        let mut taken = 0;
        for (symbol, &count) in counts.iter().enumerate() {
            let (bits, length) = code.of(symbol);
            assert!(length <= bits_max && bits < 1 << length, "{symbol}: {bits:b}, {length}");
            assert!(count == 0 || length > 0, "symbol {symbol} comes and has no code");
            taken += if length > 0 { 1 << (15 - length) } else { 0 };
            for (other, &often) in counts.iter().enumerate() {
                let (prefix, short) = code.of(other);
                let differs = bits & ((1 << short) - 1) != prefix;
                assert!(other == symbol || short == 0 || short > length || differs, "a prefix");
                let is_shorter = often > count && count > 0 && short > length;
                assert!(!is_shorter, "{other} comes more often than {symbol}");
            }
        }
        assert_eq!(taken, 1 << 15, "a code is complete");
        code
    }

    #[test]
    fn codes_are_complete_and_short_where_it_counts() {
        check([0; 19], 7);
        check([0, 0, 5], 14);
        check([1; 19], 7);
        let mut rng = fastrand::Rng::with_seed(3);
        for round in 0..200 {
            check::<30>(std::array::from_fn(|_| rng.u32(..) >> rng.u32(16..32)), 14);
            check::<19>(std::array::from_fn(|at| rng.u32(..) >> (12 + (at + round) % 20)), 7);
        }
        let code = check([8, 4, 2, 1, 1], 14);
        assert_eq!([0, 1, 2, 3, 4].map(|symbol| code.of(symbol).1), [1, 2, 3, 4, 4]);
    }

    #[test]
    fn no_code_is_longer_than_allowed() {
        // Each weight is the sum of those before: the deepest tree there is.
        let mut counts = [1_u32; 40];
        for at in 2..24 {
            counts[at] = counts[at - 1] + counts[at - 2];
        }
        check(counts, 14);
        check(counts, 7);
    }

    #[test]
    fn bits_come_out_in_their_order() {
        let (mut bits, mut out) = (Bits::new(64), Vec::new());
        bits.put(0b1, 1);
        bits.put(0b10_1010_1010, 10);
        bits.drain(&mut out);
        bits.align();
        bits.put(0xff, 8);
        bits.drain(&mut out);
        assert_eq!(out, [0b0101_0101, 0b101, 0xff]);
    }
}
