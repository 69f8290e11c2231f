//! Which bytes of a record a pattern without literals could be about, many at a time.

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

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn any_avx2(text: &[u8], sees: impl FnMut(&Marks) -> bool) -> bool {
    use std::arch::x86_64::{
        __m256i, _mm256_and_si256, _mm256_movemask_epi8, _mm256_set_epi64x, _mm256_set1_epi8,
        _mm256_shuffle_epi8, _mm256_slli_epi16, _mm256_srli_epi16,
    };

    let number = |bytes: &[u8; 8]| i64::from_le_bytes(*bytes);
    let load = |bytes: &[u8; 32]| match bytes.as_chunks::<8>().0 {
        [a, b, c, d] => _mm256_set_epi64x(number(d), number(c), number(b), number(a)),
        _ => _mm256_set1_epi8(0),
    };
    let table = |half: &[u8; 16]| {
        let mut twice = [0; 32];
        twice[..16].copy_from_slice(half);
        twice[16..].copy_from_slice(half);
        load(&twice)
    };
    let (low, high) = (table(&LOW), table(&HIGH));
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
        let ([a, b], _) = window.as_chunks::<32>() else { return one(window) };
        let (a, b) = (classes(load(a)), classes(load(b)));
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
