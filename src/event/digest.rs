//! A fast hash of what an event says, to recognise the same event again.

use super::{Event, FieldId as F};

/// A hash of the event's content under a secret seed.
///
/// Two records of the same event agree, also when their members come in another order: each
/// canonical field counts, but for the id (the key to compare under), `ingested_at` and
/// `metadata.shrike`, which differ with each way that an event may take (`design.md`, section 6).
/// The seed keeps producers from making collisions on purpose.
#[must_use]
pub fn content_hash(event: &Event<'_>, seed: u64) -> u64 {
    // A sum of hashes that do not wait for each other.
    let mut sum = 0_u64;
    for (i, place) in event.opened.places.iter().enumerate() {
        if !place.is_present() || IGNORED & (1 << i) != 0 {
            continue;
        }
        let json = place.bytes(event.record, event.arena);
        let seed = seed ^ SPREAD[0].rotate_left(i as u32);
        sum = sum.wrapping_add(match i {
            LABELS => labels_hash(json, seed),
            _ => text_hash(json, seed),
        });
    }
    fold(sum ^ SPREAD[0], seed ^ SPREAD[1])
}

/// A hash of labels in any order: Rust producers write them in a random one (`inputs.md`, section
/// 1).
///
/// The pieces between commas are summed up. A comma may stand inside a text, but labels with the
/// same pieces at other places, in an event that is the same otherwise, are no reason to doubt.
fn labels_hash(labels: &[u8], seed: u64) -> u64 {
    let members = labels.get(1..labels.len() - 1).unwrap_or_default();
    let mut sum = 0_u64;
    let mut start = 0;
    for end in memchr::memchr_iter(b',', members).chain([members.len()]) {
        sum = sum.wrapping_add(text_hash(&members[start..end], seed));
        start = end + 1;
    }
    if members.is_empty() { 0 } else { sum }
}

/// A hash of a text under a secret seed.
#[inline]
#[must_use]
pub fn text_hash(text: &[u8], seed: u64) -> u64 {
    let len = text.len() as u64;
    let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
    let half = |bytes: &[u8; 4]| u64::from(u32::from_le_bytes(*bytes));
    // First and last bytes may overlap; the length tells such texts apart.
    let (first, last) = match (text.first_chunk(), text.last_chunk()) {
        (Some(first), Some(last)) => (word(first), word(last)),
        _ => match (text.first_chunk(), text.last_chunk()) {
            (Some(first), Some(last)) => (half(first), half(last)),
            _ => (text.iter().fold(0, |all, &byte| all << 8 | u64::from(byte)), 0),
        },
    };
    let mut hash = seed ^ len.wrapping_mul(SPREAD[1]);
    if len > 16 {
        let inside = &text[8..text.len() - 8];
        let step = |hash: u64, chunk: &[u8; 16], spread: u64| {
            let both = u128::from_le_bytes(*chunk);
            fold(hash ^ both as u64, spread ^ (both >> 64) as u64)
        };
        // Two chains that do not wait for each other; bulky texts are most of what is hashed.
        let (pairs, rest) = inside.as_chunks::<32>();
        let mut other = hash ^ SPREAD[0];
        for pair in pairs {
            let (chunks, _) = pair.as_chunks::<16>();
            hash = step(hash, &chunks[0], SPREAD[1]);
            other = step(other, &chunks[1], SPREAD[0]);
        }
        if !pairs.is_empty() {
            hash = fold(hash ^ SPREAD[0], other ^ SPREAD[1]);
        }
        if let Some(chunk) = rest.first_chunk() {
            hash = step(hash, chunk, SPREAD[1]);
        }
        // What the chunks leave over lies in the 24 bytes before the last 8, or in these.
        if let Some(before) = text[..text.len() - 8].last_chunk::<16>() {
            hash = step(hash, before, SPREAD[0]);
        }
    }
    fold(hash ^ first, SPREAD[0] ^ last)
}

/// Fields that say nothing of their own, or differ from way to way.
const IGNORED: u64 = F::EventId.bit()
    | F::IngestedAt.bit()
    | F::Shrike.bit()
    | F::CommandLine.bit()
    | F::TraceId.bit()
    | F::SpanId.bit()
    | F::Traceparent.bit();

/// The labels among the fields.
const LABELS: usize = F::Labels as usize;

/// Digits of pi: numbers without a pattern.
const SPREAD: [u64; 2] = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344];

/// Both halves of the product, so that each bit of each factor reaches each bit of the result.
#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn labels_hash_alike_in_any_order() {
        let hash = |labels: &str| labels_hash(labels.as_bytes(), 7);
        let labels = hash(r#"{"a":"1","b":"2,3"}"#);
        assert_eq!(labels, hash(r#"{"b":"2,3","a":"1"}"#));
        assert_ne!(labels, hash(r#"{"b":"1","a":"2,3"}"#));
        assert_ne!(labels, hash(r#"{"a":"1"}"#));
        assert_eq!(hash("{}"), 0);
    }

    #[test]
    fn texts_that_differ_hash_differently() {
        let mut hashes = HashSet::new();
        let mut text = vec![0; 100];
        for len in 0..=text.len() {
            assert!(hashes.insert(text_hash(&text[..len], 7)), "length {len}");
        }
        for at in 0..text.len() {
            for bit in 0..8 {
                text[at] ^= 1 << bit;
                assert!(hashes.insert(text_hash(&text, 7)), "bit {bit} of byte {at}");
                text[at] ^= 1 << bit;
            }
        }
        assert!(hashes.insert(text_hash(&text, 8)), "the seed counts");
    }
}
