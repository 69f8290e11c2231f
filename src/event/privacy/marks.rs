//! Which bytes of a record a pattern could be about that the search for literals does not find,
//! many at a time.

use memchr::memmem;

/// What was seen of 64 bytes: bit i of each is about byte i.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// ASCII digits.
    pub digits: u64,
    /// What stands between the digits of one number: dots, blanks, `-`, `+`, brackets.
    pub between: u64,
    /// `=` and `:`.
    pub assigns: u64,
    /// Quotes.
    pub quotes: u64,
    /// Backslashes.
    pub backslashes: u64,
}

/// Words of three bytes that are looked for at once.
pub(super) type Words = [[u8; 3]; 2];

/// Bytes of one [`Marks`].
pub(super) const WINDOW: usize = 64;

/// Bit of a class of bytes.
const DIGIT: u8 = 1;
const BETWEEN: u8 = 2;
const ASSIGN: u8 = 4;
const QUOTE: u8 = 8;
const BACKSLASH: u8 = 16;

/// The classes of a byte are those that both its halves may have; no byte beyond ASCII has any.
const LOW: [u8; 16] = {
    let mut low = [DIGIT; 16];
    let mut i = 10;
    while i < 16 {
        low[i] = 0;
        i += 1;
    }
    // Of 0x2_: blank, brackets, `+`, `-`, `.`.
    let mut between = 0;
    while between < BETWEEN_BYTES.len() {
        low[(BETWEEN_BYTES[between] & 15) as usize] |= BETWEEN;
        between += 1;
    }
    low[(b'"' & 15) as usize] |= QUOTE;
    low[(b'=' & 15) as usize] |= ASSIGN;
    low[(b':' & 15) as usize] |= ASSIGN;
    low[(b'\\' & 15) as usize] |= BACKSLASH;
    low
};
const HIGH: [u8; 16] = {
    let mut high = [0; 16];
    high[2] = BETWEEN | QUOTE;
    high[3] = DIGIT | ASSIGN;
    high[5] = BACKSLASH;
    high
};
const BETWEEN_BYTES: &[u8; 6] = b" ()+-.";

const fn class(byte: u8) -> u8 {
    LOW[(byte & 15) as usize] & HIGH[(byte >> 4) as usize]
}

/// Looks at bytes in the way that is fastest on this processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Look {
    /// 32 bytes in one step.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// One by one.
    #[default]
    Portable,
}

impl Look {
    /// The way for this processor.
    pub(super) fn new() -> Self {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            return Self::Avx2;
        }
        Self::Portable
    }

    /// Whether something is seen in one of the windows of a text; `sees` is asked for each, in
    /// order, until it is.
    #[inline]
    pub(super) fn any(self, text: &[u8], sees: impl FnMut(&Marks) -> bool) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                // SAFETY: the function needs AVX2 and nothing else, and `new` found it.
                unsafe { any_avx2(text, sees) }
            }
            Self::Portable => any(text, one, sees),
        }
    }

    /// Whether one of these words is in a text.
    #[inline]
    pub(super) fn finds(self, text: &[u8], words: &Words) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                // SAFETY: the function needs AVX2 and nothing else, and `new` found it.
                unsafe { finds_avx2(text, words) }
            }
            Self::Portable => words.iter().any(|word| memmem::find(text, word).is_some()),
        }
    }
}

#[inline(always)]
fn any(
    text: &[u8],
    one: impl Fn(&[u8; WINDOW]) -> Marks,
    mut sees: impl FnMut(&Marks) -> bool,
) -> bool {
    let (windows, rest) = text.as_chunks::<WINDOW>();
    if windows.iter().any(|window| sees(&one(window))) {
        return true;
    }
    let mut last = [0; WINDOW];
    last[..rest.len()].copy_from_slice(rest);
    sees(&one(&last))
}

#[inline]
fn one(window: &[u8; WINDOW]) -> Marks {
    let mut marks = Marks::default();
    for (i, &byte) in window.iter().enumerate() {
        let class = u64::from(class(byte));
        let bit = |of: u8| ((class / u64::from(of)) & 1) << i;
        marks.digits |= bit(DIGIT);
        marks.between |= bit(BETWEEN);
        marks.assigns |= bit(ASSIGN);
        marks.quotes |= bit(QUOTE);
        marks.backslashes |= bit(BACKSLASH);
    }
    marks
}

/// Two halves, each of which becomes one load.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
fn load(low: &[u8; 16], high: &[u8; 16]) -> std::arch::x86_64::__m256i {
    use std::arch::x86_64::{_mm_set_epi64x, _mm256_set_m128i};
    let half = |bytes: &[u8; 16]| {
        let number = u128::from_le_bytes(*bytes);
        _mm_set_epi64x((number >> 64) as i64, number as i64)
    };
    _mm256_set_m128i(half(high), half(low))
}

/// Each word is compared at 32 places at once: its bytes with the text from there, from the next
/// place and from the one after.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn finds_avx2(text: &[u8], words: &Words) -> bool {
    use std::arch::x86_64::{
        __m256i, _mm256_and_si256, _mm256_cmpeq_epi8, _mm256_movemask_epi8, _mm256_or_si256,
        _mm256_set1_epi8,
    };
    const PLACES: usize = 32;
    const REACH: usize = PLACES + 2;

    let all = |byte: u8| _mm256_set1_epi8(byte as i8);
    let bytes = |word: &[u8; 3]| [all(word[0]), all(word[1]), all(word[2])];
    let (one, other) = (bytes(&words[0]), bytes(&words[1]));
    let from = |window: &[u8; REACH], at: usize| match (
        window[at..].first_chunk(),
        window[at + 16..].first_chunk(),
    ) {
        (Some(low), Some(high)) => load(low, high),
        _ => all(0),
    };
    let begins_in = |window: &[u8; REACH]| {
        let (a, b, c) = (from(window, 0), from(window, 1), from(window, 2));
        let is = |word: &[__m256i; 3]| {
            let begins =
                _mm256_and_si256(_mm256_cmpeq_epi8(a, word[0]), _mm256_cmpeq_epi8(b, word[1]));
            _mm256_and_si256(begins, _mm256_cmpeq_epi8(c, word[2]))
        };
        _mm256_movemask_epi8(_mm256_or_si256(is(&one), is(&other))) != 0
    };
    let mut rest = text;
    while let Some(window) = rest.first_chunk() {
        if begins_in(window) {
            return true;
        }
        rest = &rest[PLACES..];
    }
    let mut last = [0; REACH];
    last[..rest.len()].copy_from_slice(rest);
    begins_in(&last)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn any_avx2(text: &[u8], sees: impl FnMut(&Marks) -> bool) -> bool {
    use std::arch::x86_64::{
        __m256i, _mm256_and_si256, _mm256_movemask_epi8, _mm256_set1_epi8, _mm256_shuffle_epi8,
        _mm256_slli_epi16, _mm256_srli_epi16,
    };

    let (low, high) = (load(&LOW, &LOW), load(&HIGH, &HIGH));
    let halves = _mm256_set1_epi8(15);
    // A shuffle gives 0 for bytes beyond ASCII, whatever else they have.
    let classes = |bytes: __m256i| {
        let upper = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), halves);
        _mm256_and_si256(_mm256_shuffle_epi8(low, bytes), _mm256_shuffle_epi8(high, upper))
    };
    let mask = |a: __m256i, b: __m256i| {
        let bits = |it: __m256i| u64::from(_mm256_movemask_epi8(it) as u32);
        bits(a) | bits(b) << 32
    };
    let look = |window: &[u8; WINDOW]| {
        let ([a, b, c, d], _) = window.as_chunks::<16>() else { return one(window) };
        let (a, b) = (classes(load(a, b)), classes(load(c, d)));
        Marks {
            digits: mask(_mm256_slli_epi16::<7>(a), _mm256_slli_epi16::<7>(b)),
            between: mask(_mm256_slli_epi16::<6>(a), _mm256_slli_epi16::<6>(b)),
            assigns: mask(_mm256_slli_epi16::<5>(a), _mm256_slli_epi16::<5>(b)),
            quotes: mask(_mm256_slli_epi16::<4>(a), _mm256_slli_epi16::<4>(b)),
            backslashes: mask(_mm256_slli_epi16::<3>(a), _mm256_slli_epi16::<3>(b)),
        }
    };
    any(text, look, sees)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_those_bytes_and_no_others() {
        for byte in 0..=255 {
            let expected = match byte {
                b'0'..=b'9' => DIGIT,
                b' ' | b'(' | b')' | b'+' | b'-' | b'.' => BETWEEN,
                b'=' | b':' => ASSIGN,
                b'"' => QUOTE,
                b'\\' => BACKSLASH,
                _ => 0,
            };
            assert_eq!(class(byte), expected, "{byte}");
        }
    }

    #[test]
    fn words_are_found_wherever_they_stand() {
        let words = [*b"abc", *b"xox"];
        for len in 0..140 {
            let text = vec![b'x'; len];
            assert!(!Look::new().finds(&text, &words), "{len}");
            for at in 0..len.saturating_sub(2) {
                for word in words {
                    let mut text = text.clone();
                    text[at..at + 3].copy_from_slice(&word);
                    for look in [Look::new(), Look::Portable] {
                        assert!(look.finds(&text, &words), "{len} {at}");
                    }
                }
            }
            let mut cut = vec![b'x'; len];
            cut.extend_from_slice(b"ab");
            assert!(!Look::new().finds(&cut, &words), "{len}");
        }
    }

    #[test]
    fn each_way_to_look_says_the_same() {
        let text: Vec<u8> = (0..4096u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u8 ^ (i >> 8) as u8)
            .collect();
        let seen = |look: Look, text: &[u8]| {
            let mut all = Vec::new();
            let found = look.any(text, |marks| {
                all.push(*marks);
                false
            });
            assert!(!found);
            all
        };
        for len in (0..200).chain([text.len()]) {
            let (fast, slow) =
                (seen(Look::new(), &text[..len]), seen(Look::Portable, &text[..len]));
            assert_eq!(fast, slow, "{len} bytes");
            assert_eq!(slow.len(), len / WINDOW + 1);
        }
    }
}
