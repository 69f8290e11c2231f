//! A fast hash of what an event says, to recognise the same event again.

use super::{Event, FieldId as F, rewrite};

/// A hash of the event's content under a secret seed.
///
/// Two records of the same event agree, also when their members come in another order: each
/// canonical field counts, but for the id (the key to compare under), `ingested_at` and
/// `metadata.shrike`, which differ with each way that an event may take (`design.md`, section 6).
/// The seed keeps producers from making collisions on purpose.
#[must_use]
pub fn content_hash(event: &Event<'_>, seed: u64) -> u64 {
    let mut hash = seed;
    for &id in F::ALL {
        if IGNORED & id.bit() == 0
            && let Some(value) = event.value(id)
        {
            hash = match id {
                F::Labels => labels_hash(value.json, hash),
                _ => text_hash(value.json, hash ^ id as u64),
            };
        }
    }
    hash
}

/// A hash of labels: Rust producers write them in a random order (`inputs.md`, section 1).
fn labels_hash(labels: &[u8], seed: u64) -> u64 {
    if labels == b"{}" {
        return seed;
    }
    let mut sum = 0_u64;
    rewrite::each_entry(labels, |label| {
        sum = sum.wrapping_add(text_hash(label.value, text_hash(label.key, seed)));
    });
    fold(sum ^ SPREAD[0], seed ^ SPREAD[1])
}

/// A hash of a text under a secret seed.
#[inline]
#[must_use]
pub fn text_hash(text: &[u8], seed: u64) -> u64 {
    let mut hash = fold(seed ^ SPREAD[0], text.len() as u64 ^ SPREAD[1]);
    if let Some(last) = text.last_chunk::<16>() {
        let (chunks, _) = text[..text.len() - 1].as_chunks::<16>();
        for chunk in chunks {
            hash = mix(hash, chunk);
        }
        // The last one may overlap the one before; the length tells them apart.
        return mix(hash, last);
    }
    let mut padded = [0; 16];
    padded[..text.len()].copy_from_slice(text);
    mix(hash, &padded)
}

/// Fields that say nothing of their own, or differ from way to way.
const IGNORED: u64 = F::EventId.bit()
    | F::IngestedAt.bit()
    | F::Shrike.bit()
    | F::CommandLine.bit()
    | F::TraceId.bit()
    | F::SpanId.bit()
    | F::Traceparent.bit();

/// Digits of pi: numbers without a pattern.
const SPREAD: [u64; 2] = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344];

#[inline(always)]
fn mix(hash: u64, bytes: &[u8; 16]) -> u64 {
    let both = u128::from_le_bytes(*bytes);
    fold(hash ^ both as u64, SPREAD[1] ^ (both >> 64) as u64)
}

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
