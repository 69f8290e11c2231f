//! A search for any of some literals in a record, many places at a time.
//!
//! Each of three bytes in a row says, by both its halves, which of eight groups of literals may
//! begin with it at that place; only where all three agree on a group are bytes compared
//! (Hyperscan's Teddy, at as many places at once as the processor can).

use aho_corasick::AhoCorasick;

#[cfg(target_arch = "x86_64")]
use super::super::scan;
use super::marks::Look;
#[cfg(target_arch = "x86_64")]
use super::marks::load;

/// A search for any of some literals.
#[derive(Debug)]
pub(super) enum Literals {
    /// On vector instructions, where the processor has them.
    Vectors(Box<Vectors>),
    /// By an automaton: many literals, or short ones.
    Automaton(AhoCorasick),
}

/// Literals of three bytes or more, and which groups of them bytes may begin.
#[derive(Debug)]
pub(super) struct Vectors {
    literals: Vec<Vec<u8>>,
    /// For each of the first three bytes: the groups by its lower half, and by its upper half.
    groups: [[[u8; 16]; 2]; FIRST],
    look: Look,
}

impl Literals {
    /// A search; `None` where there is nothing to search for.
    pub(super) fn new(literals: &[Vec<u8>], look: Look) -> Option<Self> {
        if literals.is_empty() {
            return None;
        }
        let has_short = literals.iter().any(|literal| literal.len() < FIRST);
        if look == Look::Portable || has_short || literals.len() > VECTORS_MAX {
            let built = AhoCorasick::new(literals);
            return Some(Self::Automaton(built.expect("texts of a configuration fit the search")));
        }
        Some(Self::Vectors(Box::new(Vectors::new(literals, look))))
    }

    /// Whether one of the literals is in a text.
    #[inline]
    pub(super) fn finds(&self, text: &[u8]) -> bool {
        match self {
            Self::Vectors(search) => search.finds(text),
            Self::Automaton(search) => search.is_match(text),
        }
    }
}

impl Vectors {
    fn new(literals: &[Vec<u8>], look: Look) -> Self {
        let mut literals = literals.to_vec();
        literals.sort();
        literals.dedup();
        let mut groups = [[[0; 16]; 2]; FIRST];
        for (number, group) in grouped(&literals).iter().enumerate() {
            for ([lower, upper], halves) in groups.iter_mut().zip(&group.0) {
                for half in 0..16 {
                    lower[half] |= (halves[0] >> half & 1) as u8 * (1 << number);
                    upper[half] |= (halves[1] >> half & 1) as u8 * (1 << number);
                }
            }
        }
        Self { literals, groups, look }
    }

    fn finds(&self, text: &[u8]) -> bool {
        match self.look {
            #[cfg(target_arch = "x86_64")]
            Look::Avx512 => {
                // SAFETY: the function needs AVX-512BW and nothing else, and `Look` found it.
                unsafe { self.finds_avx512(text) }
            }
            #[cfg(target_arch = "x86_64")]
            Look::Avx2 => {
                // SAFETY: the function needs AVX2 and nothing else, and `Look` found it.
                unsafe { self.finds_avx2(text) }
            }
            Look::Portable => (0..text.len()).any(|at| self.begins(&text[at..])),
        }
    }

    /// Whether a text begins with one of the literals.
    #[inline(never)]
    fn begins(&self, text: &[u8]) -> bool {
        let Some(first) = text.first() else { return false };
        let start = self.literals.partition_point(|literal| literal[0] < *first);
        let mut alike = self.literals[start..].iter().take_while(|literal| literal[0] == *first);
        alike.any(|literal| text.starts_with(literal))
    }

    /// Whether a literal begins at one of these places of a text.
    #[inline]
    fn begins_at(&self, text: &[u8], mut places: u64) -> bool {
        while places != 0 {
            if text.get(places.trailing_zeros() as usize..).is_some_and(|it| self.begins(it)) {
                return true;
            }
            places &= places - 1;
        }
        false
    }

    /// Whether a literal begins at one of the places that windows of a text are asked for.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn finds_at<const REACH: usize>(
        &self,
        text: &[u8],
        places: impl Fn(&[u8; REACH]) -> u64,
    ) -> bool {
        let mut rest = text;
        while let Some(window) = rest.first_chunk() {
            let places = places(window);
            if places != 0 && self.begins_at(rest, places) {
                return true;
            }
            rest = &rest[REACH - (FIRST - 1)..];
        }
        if let Some(window) = text.last_chunk() {
            return self.begins_at(window, places(window));
        }
        let mut last = [0; REACH];
        last[..text.len()].copy_from_slice(text);
        self.begins_at(text, places(&last))
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn finds_avx2(&self, text: &[u8]) -> bool {
        use std::arch::x86_64::{
            __m256i, _mm256_and_si256, _mm256_cmpeq_epi8, _mm256_movemask_epi8, _mm256_set1_epi8,
            _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_srli_epi16,
        };
        const REACH: usize = 32 + FIRST - 1;

        let tables = self.groups.map(|[lower, upper]| (load(&lower, &lower), load(&upper, &upper)));
        let halves = _mm256_set1_epi8(15);
        // A byte beyond ASCII begins no literal: a shuffle gives 0 for its lower half.
        let groups = |bytes: __m256i, (lower, upper): (__m256i, __m256i)| {
            let half = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), halves);
            _mm256_and_si256(_mm256_shuffle_epi8(lower, bytes), _mm256_shuffle_epi8(upper, half))
        };
        let places = |window: &[u8; REACH]| {
            let from =
                |at: usize| match (window[at..].first_chunk(), window[at + 16..].first_chunk()) {
                    (Some(low), Some(high)) => load(low, high),
                    _ => _mm256_setzero_si256(),
                };
            let [a, b, c] = tables;
            let all = _mm256_and_si256(groups(from(0), a), groups(from(1), b));
            let all = _mm256_and_si256(all, groups(from(2), c));
            let none = _mm256_cmpeq_epi8(all, _mm256_setzero_si256());
            u64::from(!_mm256_movemask_epi8(none) as u32)
        };
        self.finds_at(text, places)
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512bw")]
    fn finds_avx512(&self, text: &[u8]) -> bool {
        use std::arch::x86_64::{
            __m512i, _mm_set_epi64x, _mm512_and_si512, _mm512_broadcast_i32x4, _mm512_set1_epi8,
            _mm512_setzero_si512, _mm512_shuffle_epi8, _mm512_srli_epi16, _mm512_test_epi8_mask,
        };
        const REACH: usize = 64 + FIRST - 1;

        let table = |bytes: [u8; 16]| {
            let number = u128::from_le_bytes(bytes);
            _mm512_broadcast_i32x4(_mm_set_epi64x((number >> 64) as i64, number as i64))
        };
        let tables = self.groups.map(|[lower, upper]| (table(lower), table(upper)));
        let halves = _mm512_set1_epi8(15);
        let groups = |bytes: __m512i, (lower, upper): (__m512i, __m512i)| {
            let half = _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), halves);
            _mm512_and_si512(_mm512_shuffle_epi8(lower, bytes), _mm512_shuffle_epi8(upper, half))
        };
        let places = |window: &[u8; REACH]| {
            let from = |at: usize| match window[at..].first_chunk() {
                Some(bytes) => scan::load(bytes),
                None => _mm512_setzero_si512(),
            };
            let [a, b, c] = tables;
            let all = _mm512_and_si512(groups(from(0), a), groups(from(1), b));
            _mm512_test_epi8_mask(all, groups(from(2), c))
        };
        self.finds_at(text, places)
    }
}

/// A group of literals: for each of the first bytes, which lower and which upper halves they have.
#[derive(Clone, Copy)]
struct Group([[u16; 2]; FIRST]);

impl Group {
    fn of(literal: &[u8]) -> Self {
        Self(std::array::from_fn(|i| [1 << (literal[i] & 15), 1 << (literal[i] >> 4)]))
    }

    fn with(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|i| [0, 1].map(|half| self.0[i][half] | other.0[i][half])))
    }

    /// Beginnings that the group cannot tell from its own.
    fn beginnings(&self) -> u32 {
        self.0.as_flattened().iter().map(|halves| halves.count_ones()).product()
    }
}

/// Groups of literals that are told from as few other texts as can be: the two that are cheapest
/// together become one until there are few enough.
fn grouped(literals: &[Vec<u8>]) -> Vec<Group> {
    let mut groups: Vec<Group> = literals.iter().map(|literal| Group::of(literal)).collect();
    while groups.len() > GROUPS {
        let pairs = (1..groups.len()).flat_map(|one| (0..one).map(move |other| (one, other)));
        let cost = |&(one, other): &(usize, usize)| {
            let (one, other): (&Group, &Group) = (&groups[one], &groups[other]);
            let apart = one.beginnings() + other.beginnings();
            i64::from(one.with(other).beginnings()) - i64::from(apart)
        };
        let Some((one, other)) = pairs.min_by_key(cost) else { break };
        let merged = groups.swap_remove(one);
        groups[other] = groups[other].with(&merged);
    }
    groups
}

/// Bytes by which places are looked for: the shortest literal has no more.
const FIRST: usize = 3;
/// Groups of literals: a bit each.
const GROUPS: usize = 8;
/// Literals up to which few places agree by chance.
const VECTORS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn literals(words: &[&str]) -> Vec<Vec<u8>> {
        words.iter().map(|word| word.as_bytes().to_vec()).collect()
    }

    /// Literals of all lengths, more than there are groups.
    const WORDS: &[&str] = &[
        "abc",
        "abd",
        "defghijk",
        "xox",
        "eyJ",
        "ghp_",
        "gho_",
        "-----BEGIN",
        "\\u002",
        "Bearer",
        "glpat-",
        "AKIA",
        "sk-ant-",
    ];

    #[test]
    fn literals_are_found_wherever_they_stand_and_nothing_else_is() {
        for &look in Look::all() {
            let search = Literals::new(&literals(WORDS), look).expect("there are some");
            for len in 0..200 {
                let text = vec![b'x'; len];
                assert!(!search.finds(&text), "{look:?} {len}");
                for word in WORDS {
                    for at in [0, 1, 31, 32, 62, 63, 64, len.saturating_sub(word.len())] {
                        if at + word.len() > len {
                            continue;
                        }
                        let mut text = text.clone();
                        text[at..at + word.len()].copy_from_slice(word.as_bytes());
                        assert!(search.finds(&text), "{look:?} {word} at {at} of {len}");
                    }
                    // All but its last byte, at the end and before the end.
                    let cut = &word.as_bytes()[..word.len() - 1];
                    let mut ends = text.clone();
                    ends.extend_from_slice(cut);
                    assert!(!search.finds(&ends), "{look:?} {word} cut at {len}");
                    ends.push(0xe9);
                    assert!(!search.finds(&ends), "{look:?} {word} cut before the end, {len}");
                }
            }
        }
    }

    #[test]
    fn each_way_to_search_says_the_same() {
        let words = literals(WORDS);
        // Bytes of the words themselves, so that many places agree by chance.
        let bytes: Vec<u8> = words.concat();
        let mut state = 1_u32;
        for round in 0..2_000 {
            let text: Vec<u8> = (0..round % 150)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    bytes[(state >> 16) as usize % bytes.len()]
                })
                .collect();
            let expected =
                (0..text.len()).any(|at| words.iter().any(|word| text[at..].starts_with(word)));
            for &look in Look::all() {
                let search = Literals::new(&words, look).expect("there are some");
                assert_eq!(search.finds(&text), expected, "{look:?} {text:?}");
            }
        }
    }

    #[test]
    fn what_vectors_cannot_hold_is_searched_by_an_automaton() {
        let many: Vec<Vec<u8>> =
            (0..=VECTORS_MAX).map(|n| format!("word-{n}-").into_bytes()).collect();
        for words in [many, literals(&["ab"])] {
            let search = Literals::new(&words, Look::new()).expect("there are some");
            assert!(matches!(search, Literals::Automaton(_)));
            assert!(search.finds(&[b"..", words[0].as_slice()].concat()));
            assert!(!search.finds(b"..word-x-"));
        }
        assert!(Literals::new(&[], Look::new()).is_none());
    }
}
