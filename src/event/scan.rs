//! Finds the end of JSON string text, many bytes at a time.
//!
//! The SSE2 instructions are part of every x86-64 processor, so nothing is detected at run time, and a
//! vector is loaded from two integers, which the compiler turns into one load: no pointers.
//! `docs/decisions/parsing.md` has the figures, also of AVX2, which was not worth its cost.

/// Where the special bytes of a text lie: bytes that cannot stand inside a JSON string as they are.
///
/// One look at the whole text, many bytes at a time, replaces one at each string: finding the end of
/// a string is then a load and a count, and no string waits for the vectors of the one before.
#[derive(Debug)]
pub(super) struct Specials<'a> {
    /// The text itself.
    pub text: &'a [u8],
    /// Bit i of the bytes, in order, is set when byte i of the text is special, or its end.
    map: [u8; MAPPED / 8 + 8],
    /// Whether each mapped byte, and each byte after them, is ASCII.
    pub ascii: bool,
}

/// Bytes of a text that are mapped; most events are shorter. What lies beyond is searched.
const MAPPED: usize = 4096;

impl<'a> Specials<'a> {
    #[inline]
    pub(super) fn new(text: &'a [u8]) -> Self {
        let mut specials = Self { text, map: [0; MAPPED / 8 + 8], ascii: true };
        let mapped = text.len().min(MAPPED);
        let (chunks, rest) = text[..mapped].as_chunks::<WINDOW>();
        let (words, _) = specials.map.as_chunks_mut::<4>();
        let mut merged = 0;
        for (chunk, word) in chunks.iter().zip(words.iter_mut()) {
            let (found, beyond) = specials_and_ascii(chunk);
            merged |= beyond;
            *word = found.to_le_bytes();
        }
        if !rest.is_empty() || text.len() < MAPPED {
            let mut last = [b' '; WINDOW];
            last[..rest.len()].copy_from_slice(rest);
            // The end of the text is a special place, too.
            last[rest.len()] = 0;
            let (found, beyond) = specials_and_ascii(&last);
            merged |= beyond;
            words[chunks.len()] = found.to_le_bytes();
        }
        specials.ascii = merged == 0 && text[mapped..].is_ascii();
        specials
    }

    /// The first special byte at or after `at`; the length of the text when there is none.
    #[inline(always)]
    pub(super) fn next(&self, at: usize) -> usize {
        if at < MAPPED {
            if let Some(bytes) = self.map.get(at / 8..).and_then(|rest| rest.first_chunk::<8>()) {
                let found = u64::from_le_bytes(*bytes) >> (at % 8);
                if found != 0 {
                    return at + found.trailing_zeros() as usize;
                }
            }
        }
        self.next_far(at)
    }

    #[inline(never)]
    fn next_far(&self, mut at: usize) -> usize {
        while at < MAPPED {
            let Some(bytes) = self.map.get(at / 8..).and_then(|rest| rest.first_chunk::<8>())
            else {
                break;
            };
            let found = u64::from_le_bytes(*bytes) >> (at % 8);
            if found != 0 {
                return at + found.trailing_zeros() as usize;
            }
            at += 64 - at % 8;
        }
        special(self.text, at.min(MAPPED.max(at)))
    }
}

/// The first byte at or after `at` that cannot stand inside a JSON string as it is: a quote, a
/// backslash or a control character; the length of the text when there is none.
#[inline(always)]
pub(super) fn special(text: &[u8], at: usize) -> usize {
    if let Some(window) = text.get(at..).and_then(|rest| rest.first_chunk::<WINDOW>()) {
        let found = specials(window);
        if found != 0 {
            return at + found.trailing_zeros() as usize;
        }
        return special_far(text, at + WINDOW);
    }
    special_near_end(text, at)
}

/// The same, without vectors: what other processors run and what tests compare with.
pub(super) fn special_portable(text: &[u8], mut at: usize) -> usize {
    while let Some(word) = text.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let found = specials_of_word(u64::from_le_bytes(*word));
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while at < text.len() && !is_special(text[at]) {
        at += 1;
    }
    at
}

/// Bytes looked at in one step: most names and words of an event end within.
const WINDOW: usize = 32;

/// Texts longer than a window, out of the caller's way.
fn special_far(text: &[u8], mut at: usize) -> usize {
    while let Some(window) = text.get(at..).and_then(|rest| rest.first_chunk::<WINDOW>()) {
        let found = specials(window);
        if found != 0 {
            return at + found.trailing_zeros() as usize;
        }
        at += WINDOW;
    }
    special_near_end(text, at)
}

/// The last bytes of a text, which no window fits.
#[inline(never)]
fn special_near_end(text: &[u8], at: usize) -> usize {
    special_portable(text, at.min(text.len()))
}

/// Bit i is set when byte i is special.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[inline(always)]
fn specials(window: &[u8; WINDOW]) -> u32 {
    // SAFETY: the function needs SSE2 and nothing else; the build enables it, or this one would not
    // be compiled (its `cfg`).
    unsafe { specials_sse2(window) }
}

#[inline(always)]
fn specials_and_ascii(window: &[u8; WINDOW]) -> (u32, u32) {
    unsafe { specials_sse2_ascii(window) }
}

#[target_feature(enable = "sse2")]
#[inline]
fn specials_sse2_ascii(window: &[u8; WINDOW]) -> (u32, u32) {
    use std::arch::x86_64::*;
    let half = |low: &[u8; 8], high: &[u8; 8]| {
        let bytes = _mm_set_epi64x(i64::from_le_bytes(*high), i64::from_le_bytes(*low));
        let quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
        let backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
        let control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
        let any = _mm_or_si128(_mm_or_si128(quote, backslash), control);
        (_mm_movemask_epi8(any) as u32, bytes)
    };
    match window.as_chunks::<8>().0 {
        [a, b, c, d] => {
            let (x, p) = half(a, b);
            let (y, q) = half(c, d);
            (x | y << 16, _mm_movemask_epi8(_mm_or_si128(p, q)) as u32)
        }
        _ => (0, 0),
    }
}

/// The same, where SSE2 is known to be there.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[target_feature(enable = "sse2")]
#[inline]
fn specials_sse2(window: &[u8; WINDOW]) -> u32 {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x,
        _mm_set1_epi8,
    };

    let half = |low: &[u8; 8], high: &[u8; 8]| {
        let bytes = _mm_set_epi64x(i64::from_le_bytes(*high), i64::from_le_bytes(*low));
        let quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
        let backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
        let control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
        let any = _mm_or_si128(_mm_or_si128(quote, backslash), control);
        _mm_movemask_epi8(any) as u32
    };
    match window.as_chunks::<8>().0 {
        [a, b, c, d] => half(a, b) | half(c, d) << 16,
        // A window is four words; the compiler knows it too and leaves this out.
        _ => 0,
    }
}

/// Bit i is set when byte i is special.
#[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
#[inline(always)]
fn specials(window: &[u8; WINDOW]) -> u32 {
    specials_portable(window)
}

/// The same without vectors.
#[cfg(any(test, not(all(target_arch = "x86_64", target_feature = "sse2"))))]
#[inline(always)]
fn specials_portable(window: &[u8; WINDOW]) -> u32 {
    let (chunks, _) = window.as_chunks::<8>();
    let mut found = 0;
    for (i, chunk) in chunks.iter().enumerate() {
        // The product gathers the lowest bit of each byte in its highest byte, in order.
        let bits = specials_of_word(u64::from_le_bytes(*chunk)) >> 7;
        let gathered = bits.wrapping_mul(0x0102_0408_1020_4080) >> 56;
        found |= (gathered as u32) << (8 * i);
    }
    found
}

/// The top bit of each byte that is special: exact, since no sum carries from one byte to the next.
#[inline(always)]
fn specials_of_word(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x8080_8080_8080_8080;
    const LOWS: u64 = !TOPS;
    let zero_bytes = |x: u64| !(((x & LOWS) + LOWS) | x) & TOPS;
    let quote = zero_bytes(word ^ (ONES * b'"' as u64));
    let backslash = zero_bytes(word ^ (ONES * b'\\' as u64));
    let control = zero_bytes(word & (ONES * 0xe0));
    quote | backslash | control
}

/// How many of the bytes, from the lowest, are ASCII digits before the first that is none.
#[inline(always)]
pub(super) fn leading_digits(word: u64) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // A digit has 3 in its upper half, also with 6 added; nothing else has both. A carry comes only
    // from bytes that are no digits and reaches only bytes above them.
    let threes = ONES * 0x30;
    let other = (word ^ threes) | (word.wrapping_add(ONES * 6) ^ threes);
    ((other & (ONES * 0xf0)).trailing_zeros() / 8) as usize
}

/// Whether a byte cannot stand inside a JSON string as it is (RFC 8259, section 7).
fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_at_each_distance_is_found_as_by_looking_one_by_one() {
        for byte in 0..=255u8 {
            for distance in 0..100 {
                for tail in [0, 1, 7, 40] {
                    let mut text = vec![b'a'; distance];
                    text.push(byte);
                    text.extend(std::iter::repeat_n(0xe9, tail));
                    let expected =
                        text.iter().position(|&byte| is_special(byte)).unwrap_or(text.len());
                    assert_eq!(special(&text, 0), expected, "{byte} after {distance}");
                    assert_eq!(special_portable(&text, 0), expected, "{byte} after {distance}");
                }
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
            let expected =
                (0..WINDOW).fold(0, |found, i| found | u32::from(is_special(window[i])) << i);
            assert_eq!(specials(&window), expected, "{window:?}");
            assert_eq!(specials_portable(&window), expected, "{window:?}");
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

    #[test]
    fn a_start_past_the_end_finds_nothing() {
        assert_eq!(special(b"abc", 3), 3);
        assert_eq!(special(b"abc", 9), 3);
    }
}
