//! Which bytes of a record a pattern could be about that the search for literals does not find,
//! many at a time.

#[cfg(target_arch = "x86_64")]
use super::super::scan;

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

/// Whoever is asked about the windows of a text, in order.
pub(super) trait Sees {
    /// Whether enough was seen with this window.
    fn sees(&mut self, marks: &Marks) -> bool;
}

/// Looks at bytes in the way that is fastest on this processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Look {
    /// 64 bytes in one step.
    #[cfg(target_arch = "x86_64")]
    Avx512,
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
        *Self::all().first().expect("one needs nothing")
    }

    /// The ways that this processor has, the fastest first.
    pub(super) fn all() -> &'static [Self] {
        const ALL: &[Look] = &[
            #[cfg(target_arch = "x86_64")]
            Look::Avx512,
            #[cfg(target_arch = "x86_64")]
            Look::Avx2,
            Look::Portable,
        ];
        #[cfg(target_arch = "x86_64")]
        if !scan::has_avx512() {
            let has_avx2 = std::arch::is_x86_feature_detected!("avx2");
            return &ALL[if has_avx2 { 1 } else { 2 }..];
        }
        ALL
    }

    /// Shows the windows of a text, and gives back whoever has seen enough, or all.
    #[inline]
    pub(super) fn show<S: Sees>(self, text: &[u8], sees: S) -> S {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                // SAFETY: the function needs AVX-512BW and nothing else, and `new` found it.
                unsafe { show_avx512(text, sees) }
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                // SAFETY: the function needs AVX2 and nothing else, and `new` found it.
                unsafe { show_avx2(text, sees) }
            }
            Self::Portable => show(text, one, sees),
        }
    }
}

#[inline(always)]
fn show<S: Sees>(text: &[u8], one: impl Fn(&[u8; WINDOW]) -> Marks, mut sees: S) -> S {
    let (windows, rest) = text.as_chunks::<WINDOW>();
    for window in windows {
        if sees.sees(&one(window)) {
            return sees;
        }
    }
    let mut last = [0; WINDOW];
    last[..rest.len()].copy_from_slice(rest);
    sees.sees(&one(&last));
    sees
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
pub(super) fn load(low: &[u8; 16], high: &[u8; 16]) -> std::arch::x86_64::__m256i {
    use std::arch::x86_64::{_mm_set_epi64x, _mm256_set_m128i};
    let half = |bytes: &[u8; 16]| {
        let number = u128::from_le_bytes(*bytes);
        _mm_set_epi64x((number >> 64) as i64, number as i64)
    };
    _mm256_set_m128i(half(high), half(low))
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn show_avx2<S: Sees>(text: &[u8], sees: S) -> S {
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
    show(text, look, sees)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512bw")]
fn show_avx512<S: Sees>(text: &[u8], sees: S) -> S {
    use std::arch::x86_64::{
        _mm_set_epi64x, _mm512_and_si512, _mm512_broadcast_i32x4, _mm512_set1_epi8,
        _mm512_shuffle_epi8, _mm512_srli_epi16, _mm512_test_epi8_mask,
    };

    let table = |bytes: &[u8; 16]| {
        let number = u128::from_le_bytes(*bytes);
        _mm512_broadcast_i32x4(_mm_set_epi64x((number >> 64) as i64, number as i64))
    };
    let (low, high) = (table(&LOW), table(&HIGH));
    let halves = _mm512_set1_epi8(15);
    let look = |window: &[u8; WINDOW]| {
        let bytes = scan::load(window);
        let upper = _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), halves);
        let classes =
            _mm512_and_si512(_mm512_shuffle_epi8(low, bytes), _mm512_shuffle_epi8(high, upper));
        let mask = |class: u8| _mm512_test_epi8_mask(classes, _mm512_set1_epi8(class as i8));
        Marks {
            digits: mask(DIGIT),
            between: mask(BETWEEN),
            assigns: mask(ASSIGN),
            quotes: mask(QUOTE),
            backslashes: mask(BACKSLASH),
        }
    };
    show(text, look, sees)
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
    fn each_way_to_look_says_the_same() {
        let text: Vec<u8> = (0..4096u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u8 ^ (i >> 8) as u8)
            .collect();
        let seen = |look: &Look, text: &[u8]| look.show(text, All::default()).0;
        for len in (0..200).chain([text.len()]) {
            let slow = seen(&Look::Portable, &text[..len]);
            assert_eq!(slow.len(), len / WINDOW + 1);
            for look in Look::all() {
                assert_eq!(seen(look, &text[..len]), slow, "{look:?}, {len} bytes");
            }
        }
    }

    /// Whoever keeps what every window shows.
    #[derive(Default)]
    struct All(Vec<Marks>);

    impl Sees for All {
        fn sees(&mut self, marks: &Marks) -> bool {
            self.0.push(*marks);
            false
        }
    }
}
