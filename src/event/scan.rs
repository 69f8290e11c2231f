//! Finds the end of JSON string text, many bytes at a time.
//!
//! The SSE2 instructions are part of every x86-64 processor, so nothing is detected at run time, and a
//! vector is loaded from two integers, which the compiler turns into one load: no pointers.
//! `docs/decisions/parsing.md` has the figures, also of AVX2, which was not worth its cost.

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
    fn a_start_past_the_end_finds_nothing() {
        assert_eq!(special(b"abc", 3), 3);
        assert_eq!(special(b"abc", 9), 3);
    }
}
