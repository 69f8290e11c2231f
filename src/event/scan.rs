//! Finds the bytes of a JSON text that end or interrupt its strings, many at a time.
//!
//! AVX-512 compares 64 bytes into a mask where a processor has it. SSE2 is part of every x86-64
//! processor, and a vector of it is loaded from two integers, which the compiler turns into one
//! load: no pointers. `docs/decisions/parsing.md` has the figures, also of AVX2, which was not
//! worth its cost.

/// Where the special bytes of a text lie: quotes, backslashes and control characters, which cannot
/// stand inside a JSON string as they are (RFC 8259, section 7).
///
/// One look at the whole text replaces one at each string: finding the end of a string is then a
/// load and a count, and no string waits for the vectors of the one before.
#[derive(Debug)]
pub(super) struct Specials<'a> {
    /// The text itself.
    pub text: &'a [u8],
    /// Whether the text is ASCII as a whole.
    pub ascii: bool,
    /// Bit i of the bytes, in order, is set when byte i of the text is special, or is its end.
    map: [u8; MAP_BYTES],
}

/// Bytes of a text that are mapped; most events are shorter. What lies beyond is searched.
const MAPPED: usize = 4096;

/// A bit per byte, and room to read eight bytes from each.
const MAP_BYTES: usize = MAPPED / 8 + 8;

/// Bytes looked at in one step.
const WINDOW: usize = 32;

impl<'a> Specials<'a> {
    /// Maps the text.
    #[inline]
    pub(super) fn new(text: &'a [u8]) -> Self {
        let mut map = [0; MAP_BYTES];
        let mapped = text.len().min(MAPPED);
        let ascii = map_text(&text[..mapped], &mut map);
        Self { text, ascii: ascii && text[mapped..].is_ascii(), map }
    }

    /// The first special byte at or after `at`; the length of the text when there is none.
    #[inline(always)]
    pub(super) fn next(&self, at: usize) -> usize {
        if at < MAPPED {
            let found = self.bits(at);
            if found != 0 {
                return at + found.trailing_zeros() as usize;
            }
        }
        self.next_far(at)
    }

    /// The next special byte of a long string.
    #[inline(never)]
    fn next_far(&self, mut at: usize) -> usize {
        while at < MAPPED {
            let found = self.bits(at);
            if found != 0 {
                return at + found.trailing_zeros() as usize;
            }
            // What lies beyond the map is not known to be clean.
            at = (at + 64 - at % 8).min(MAPPED);
        }
        search(self.text, at)
    }

    /// At least 57 bits of the map from this one on.
    #[inline(always)]
    fn bits(&self, at: usize) -> u64 {
        let bytes = self.map.get(at / 8..).and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes) >> (at % 8))
    }
}

/// Maps a text of [`MAPPED`] bytes at most, and its end if it has fewer; says whether it is ASCII.
#[inline]
fn map_text(text: &[u8], map: &mut [u8; MAP_BYTES]) -> bool {
    #[cfg(target_arch = "x86_64")]
    if has_avx512() {
        // SAFETY: the function needs AVX-512BW and nothing else, and the processor has it.
        return unsafe { map_avx512(text, map) };
    }
    map_windows(text, map)
}

/// The same by windows of any processor.
#[inline]
fn map_windows(text: &[u8], map: &mut [u8; MAP_BYTES]) -> bool {
    let (words, _) = map.as_chunks_mut::<4>();
    let (windows, rest) = text.as_chunks::<WINDOW>();
    let mut beyond = 0;
    for (window, word) in windows.iter().zip(words.iter_mut()) {
        let seen = look(window);
        beyond |= seen.beyond_ascii;
        *word = seen.special.to_le_bytes();
    }
    if text.len() < MAPPED {
        let mut last = [b' '; WINDOW];
        last[..rest.len()].copy_from_slice(rest);
        // A control character stands for the end: a search that gets there stops.
        last[rest.len()] = 0;
        let seen = look(&last);
        beyond |= seen.beyond_ascii;
        words[windows.len()] = seen.special.to_le_bytes();
    }
    beyond == 0
}

/// The same at 64 bytes in one step.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512bw")]
fn map_avx512(text: &[u8], map: &mut [u8; MAP_BYTES]) -> bool {
    use std::arch::x86_64::{
        __m512i, _mm512_cmpeq_epi8_mask, _mm512_cmplt_epu8_mask, _mm512_mask_loadu_epi8,
        _mm512_movepi8_mask, _mm512_set1_epi8,
    };

    let all = |byte: u8| _mm512_set1_epi8(byte as i8);
    let special = |bytes: __m512i| {
        _mm512_cmpeq_epi8_mask(bytes, all(b'"'))
            | _mm512_cmpeq_epi8_mask(bytes, all(b'\\'))
            | _mm512_cmplt_epu8_mask(bytes, all(0x20))
    };
    let (words, _) = map.as_chunks_mut::<8>();
    let (windows, rest) = text.as_chunks::<WIDE>();
    let mut beyond = 0;
    for (window, word) in windows.iter().zip(words.iter_mut()) {
        let bytes = load(window);
        beyond |= _mm512_movepi8_mask(bytes);
        *word = special(bytes).to_le_bytes();
    }
    if text.len() < MAPPED {
        let present = (1 << rest.len()) - 1;
        // SAFETY: no byte is read but those of the rest, which the mask tells.
        let bytes = unsafe { _mm512_mask_loadu_epi8(all(b' '), present, rest.as_ptr().cast()) };
        beyond |= _mm512_movepi8_mask(bytes);
        // The end counts as special: a search that gets there stops.
        words[windows.len()] = (special(bytes) | 1 << rest.len()).to_le_bytes();
    }
    beyond == 0
}

/// Bytes of the widest vector.
#[cfg(target_arch = "x86_64")]
pub(super) const WIDE: usize = 64;

/// Whether the processor compares vectors of 64 bytes.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(super) fn has_avx512() -> bool {
    std::arch::is_x86_feature_detected!("avx512bw")
}

/// All of a window: put together from words, it would not become one load.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512bw")]
#[inline]
pub(super) fn load(window: &[u8; WIDE]) -> std::arch::x86_64::__m512i {
    // SAFETY: the window has the 64 bytes that are read, wherever they lie.
    unsafe { std::arch::x86_64::_mm512_loadu_si512(window.as_ptr().cast()) }
}

/// How many of the bytes, from the lowest, are ASCII digits before the first that is none.
#[inline(always)]
pub(super) fn leading_digits(word: u64) -> usize {
    // A digit has 3 in its upper half, also with 6 added; nothing else has both. A carry comes only
    // from bytes that are no digits and reaches only bytes above them.
    let threes = ONES * 0x30;
    let other = (word ^ threes) | (word.wrapping_add(ONES * 6) ^ threes);
    ((other & (ONES * 0xf0)).trailing_zeros() / 8) as usize
}

/// The first special byte at or after `at`, without a map.
fn search(text: &[u8], mut at: usize) -> usize {
    while let Some(window) = text.get(at..).and_then(|rest| rest.first_chunk()) {
        let found = look(window).special;
        if found != 0 {
            return at + found.trailing_zeros() as usize;
        }
        at += WINDOW;
    }
    let rest = text.get(at..).unwrap_or_default();
    rest.iter().position(|&byte| is_special(byte)).map_or(text.len(), |found| at + found)
}

/// What a look at one window shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    /// Bit i is set when byte i is special.
    special: u32,
    /// Not 0 when a byte is beyond ASCII.
    beyond_ascii: u32,
}

#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[inline(always)]
fn look(window: &[u8; WINDOW]) -> Seen {
    // SAFETY: the function needs SSE2 and nothing else; the build enables it, or this one would not
    // be compiled (its `cfg`).
    unsafe { look_sse2(window) }
}

#[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
#[inline(always)]
fn look(window: &[u8; WINDOW]) -> Seen {
    look_portable(window)
}

#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[target_feature(enable = "sse2")]
#[inline]
fn look_sse2(window: &[u8; WINDOW]) -> Seen {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x,
        _mm_set1_epi8,
    };

    let load = |low: &[u8; 8], high: &[u8; 8]| {
        _mm_set_epi64x(i64::from_le_bytes(*high), i64::from_le_bytes(*low))
    };
    let special = |bytes: __m128i| {
        let quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
        let backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
        let control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
        _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, backslash), control)) as u32
    };
    let ([a, b, c, d], _) = window.as_chunks::<8>() else {
        // A window is four words; the compiler knows it too and leaves this out.
        return look_portable(window);
    };
    let (low, high) = (load(a, b), load(c, d));
    Seen {
        special: special(low) | special(high) << 16,
        beyond_ascii: _mm_movemask_epi8(_mm_or_si128(low, high)) as u32,
    }
}

/// The same without vectors: what other processors run and what tests compare with.
#[inline(always)]
fn look_portable(window: &[u8; WINDOW]) -> Seen {
    let (words, _) = window.as_chunks::<8>();
    let (mut special, mut merged) = (0, 0);
    for (i, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        merged |= word & TOPS;
        // The product gathers the lowest bit of each byte in its highest byte, in order.
        let gathered = (special_tops(word) >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        special |= (gathered as u32) << (8 * i);
    }
    Seen { special, beyond_ascii: (merged >> 32 | merged) as u32 }
}

const ONES: u64 = 0x0101_0101_0101_0101;
const TOPS: u64 = 0x8080_8080_8080_8080;

/// The top bit of each byte that is special: exact, since no sum carries from one byte to the next.
#[inline(always)]
fn special_tops(word: u64) -> u64 {
    const LOWS: u64 = !TOPS;
    let zero_bytes = |x: u64| !(((x & LOWS) + LOWS) | x) & TOPS;
    let quote = zero_bytes(word ^ (ONES * b'"' as u64));
    let backslash = zero_bytes(word ^ (ONES * b'\\' as u64));
    let control = zero_bytes(word & (ONES * 0xe0));
    quote | backslash | control
}

/// Whether a byte is special.
pub(super) fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &[u8]) {
        let specials = Specials::new(text);
        assert_eq!(specials.ascii, text.is_ascii());
        let mut expected = text.len();
        for at in (0..text.len()).rev() {
            if is_special(text[at]) {
                expected = at;
            }
            // Each start near the places where something changes; others are alike.
            if at < 130 || at % 64 < 3 || at.abs_diff(MAPPED) < 70 || text.len() - at < 70 {
                assert_eq!(specials.next(at), expected, "from {at} of {}", text.len());
            }
        }
        assert_eq!(specials.next(text.len()), text.len());
    }

    #[test]
    fn each_byte_at_each_distance_is_found_as_by_looking_one_by_one() {
        for byte in 0..=255u8 {
            for distance in (0..70).chain([MAPPED - 1, MAPPED, MAPPED + 40]) {
                for tail in [0, 1, 40] {
                    let mut text = vec![b'a'; distance];
                    text.push(byte);
                    text.extend(std::iter::repeat_n(b'z', tail));
                    check(&text);
                }
            }
        }
    }

    #[test]
    fn texts_of_each_length_end_where_they_end() {
        for len in (0..200).chain(MAPPED - 40..MAPPED + 40) {
            check(&vec![b'a'; len]);
            check(&vec![0xe9; len]);
        }
    }

    #[test]
    fn each_way_to_map_says_the_same() {
        let bytes: Vec<u8> = (0..MAPPED as u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
            .map(|byte| if byte % 3 == 0 { byte } else { byte & 0x7f | 0x40 })
            .collect();
        for len in (0..300).chain(MAPPED - 70..=MAPPED) {
            for text in [&bytes[..len], &vec![b'a'; len]] {
                let (mut fast, mut slow) = ([0; MAP_BYTES], [0; MAP_BYTES]);
                let ascii = map_text(text, &mut fast);
                assert_eq!(ascii, map_windows(text, &mut slow), "{len}");
                assert_eq!(ascii, text.is_ascii(), "{len}");
                assert!(fast == slow, "{len}");
            }
        }
    }

    #[test]
    fn windows_without_vectors_say_the_same() {
        let mut window = [0u8; WINDOW];
        for round in 0..4096u32 {
            for (i, byte) in window.iter_mut().enumerate() {
                *byte = (round.wrapping_mul(2_654_435_761).rotate_left(i as u32) >> 7) as u8;
            }
            let special =
                (0..WINDOW).fold(0, |found, i| found | u32::from(is_special(window[i])) << i);
            for seen in [look(&window), look_portable(&window)] {
                assert_eq!(seen.special, special, "{window:?}");
                assert_eq!(seen.beyond_ascii == 0, window.is_ascii(), "{window:?}");
            }
        }
    }

    #[test]
    fn leading_digits_are_counted() {
        for byte in 0..=255u8 {
            for digits in 0..=8 {
                for fill in [b'0', b'7', b'9', byte] {
                    let mut text = [fill; 8];
                    text[..digits].fill(b'5');
                    if digits < 8 {
                        text[digits] = byte;
                    }
                    let expected = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
                    assert_eq!(leading_digits(u64::from_le_bytes(text)), expected, "{text:?}");
                }
            }
        }
    }
}
