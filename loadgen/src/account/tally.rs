//! How often each sequence number was seen: one saturating byte each.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use serde::{Deserialize, Serialize};

/// A counter for every sequence number, in chunks that are made when first touched.
///
/// Adding is one atomic increment, so that several threads of a fake share one tally without a
/// lock. A count stops at 255.
#[derive(Debug)]
pub struct Tally {
    chunks: Box<[OnceLock<Box<[AtomicU8]>>]>,
}

/// Neighbouring sequence numbers with the same count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The first sequence number.
    pub from: u64,
    /// How many there are.
    pub events: u64,
    /// How often each was seen; 255 stands for that or more.
    pub times: u8,
}

impl Default for Tally {
    fn default() -> Self {
        Self { chunks: (0..CHUNKS_MAX).map(|_| OnceLock::new()).collect() }
    }
}

impl Tally {
    /// Counts one sighting and returns how many there were before; nothing when the number is
    /// beyond the bound.
    pub fn add(&self, sequence: u64) -> Option<u8> {
        let (chunk, at) = (sequence / CHUNK, (sequence % CHUNK) as usize);
        let slot = self.chunks.get(usize::try_from(chunk).ok()?)?;
        let chunk = slot.get_or_init(|| (0..CHUNK).map(|_| AtomicU8::new(0)).collect());
        let before = chunk[at].fetch_add(1, Ordering::Relaxed);
        if before == u8::MAX {
            chunk[at].store(u8::MAX, Ordering::Relaxed);
        }
        Some(before)
    }

    /// How often a number was seen.
    #[must_use]
    pub fn times(&self, sequence: u64) -> u8 {
        let slot = self.chunks.get((sequence / CHUNK) as usize);
        let chunk = slot.and_then(OnceLock::get);
        chunk.map_or(0, |chunk| chunk[(sequence % CHUNK) as usize].load(Ordering::Relaxed))
    }

    /// Everything that was seen, as spans in ascending order; what was never seen is left out.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        for (number, slot) in self.chunks.iter().enumerate() {
            let Some(chunk) = slot.get() else { continue };
            for (at, count) in chunk.iter().enumerate() {
                let times = count.load(Ordering::Relaxed);
                let sequence = number as u64 * CHUNK + at as u64;
                match spans.last_mut() {
                    _ if times == 0 => {}
                    Some(last) if last.times == times && last.from + last.events == sequence => {
                        last.events += 1;
                    }
                    _ => spans.push(Span { from: sequence, events: 1, times }),
                }
            }
        }
        spans
    }
}

/// Sequence numbers of a chunk: 1 MiB of counters.
const CHUNK: u64 = 1 << 20;
/// Chunks of a tally: four thousand million events, over an hour at a million a second.
const CHUNKS_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_join_neighbours_with_equal_counts() {
        let tally = Tally::default();
        let numbers = (0..10).chain([4, 4, 5, CHUNK - 1, CHUNK, CHUNK + 1]);
        for number in numbers {
            assert!(tally.add(number).is_some());
        }
        let span = |from, events, times| Span { from, events, times };
        let expected =
            [span(0, 4, 1), span(4, 1, 3), span(5, 1, 2), span(6, 4, 1), span(CHUNK - 1, 3, 1)];
        assert_eq!(tally.spans(), expected);
        assert_eq!((tally.times(4), tally.times(77), tally.times(u64::MAX)), (3, 0, 0));
    }

    #[test]
    fn a_count_stops_at_255() {
        let tally = Tally::default();
        for _ in 0..600 {
            tally.add(3);
        }
        assert_eq!(tally.times(3), 255);
        assert_eq!(tally.add(CHUNK * CHUNKS_MAX as u64), None);
    }
}
