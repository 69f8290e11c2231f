//! Counters and gauges, fixed at start-up.
//!
//! The event path only adds to a counter that it already holds; names and labels are given once, by
//! whoever prints them.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// A count that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The count so far.
    #[must_use]
    pub fn load(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A count that many threads add to for each event: in cells of their own, so that none waits for
/// the memory of another.
#[derive(Debug, Default)]
pub struct Spread([Cell; CELLS]);

/// A count alone in its line of the processor's cache.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Cell(Counter);

impl Spread {
    /// Adds `n`.
    #[inline]
    pub fn add(&self, n: u64) {
        thread_local! {
            static CELL: usize = NEXT.fetch_add(1, Ordering::Relaxed) % CELLS;
        }
        self.0[CELL.with(|&cell| cell)].0.add(n);
    }

    /// The count so far.
    #[must_use]
    pub fn load(&self) -> u64 {
        self.0.iter().map(|cell| cell.0.load()).sum()
    }
}

/// The cell of the next thread.
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// Threads beyond so many share cells.
const CELLS: usize = 16;

/// A level that rises and falls.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Raises the level.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Lowers the level; it never wraps below zero in a correct program.
    #[inline]
    pub fn sub(&self, n: u64) {
        let before = self.0.fetch_sub(n, Ordering::Relaxed);
        debug_assert!(before >= n, "a gauge fell below zero: {before} - {n}");
    }

    /// Sets the level.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The level.
    #[must_use]
    pub fn load(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How often values fell below fixed bounds.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One more than there are bounds.
    counts: Box<[Counter]>,
    /// In parts of the unit.
    sum: Counter,
    /// How many of them make one.
    parts: f64,
}

/// A histogram at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// For each bound, how many values were at most that.
    pub below: Vec<(f64, u64)>,
    /// How many values there were.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
}

impl Histogram {
    /// With these bounds, ascending; the sum is of millionths.
    #[must_use]
    pub fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| Counter::default()).collect();
        Self { bounds, counts, sum: Counter::default(), parts: 1e6 }
    }

    /// The same for whole numbers, whose sum may be large: a day of bodies is tens of terabytes.
    #[must_use]
    pub fn whole(bounds: &'static [f64]) -> Self {
        Self { parts: 1.0, ..Self::new(bounds) }
    }

    /// Notes a value, once per request or batch.
    pub fn observe(&self, value: f64) {
        let at = self.bounds.partition_point(|&bound| bound < value);
        self.counts[at].add(1);
        // Casting saturates, so that nonsense stays a number.
        self.sum.add((value * self.parts) as u64);
    }

    /// The counts so far.
    #[must_use]
    pub fn load(&self) -> Observed {
        let mut count = 0;
        let mut below = Vec::with_capacity(self.bounds.len());
        for (&bound, counter) in self.bounds.iter().zip(&self.counts) {
            count += counter.load();
            below.push((bound, count));
        }
        count += self.counts.last().map_or(0, Counter::load);
        Observed { below, count, sum: self.sum.load() as f64 / self.parts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_add_to_one_count() {
        let count = Spread::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * CELLS {
                scope.spawn(|| (0..100).for_each(|_| count.add(2)));
            }
        });
        assert_eq!(count.load(), 2 * 100 * 2 * CELLS as u64);
    }

    #[test]
    fn a_histogram_counts_cumulatively() {
        let histogram = Histogram::new(&[1.0, 2.0]);
        for value in [0.5, 1.0, 1.5, 2.5, 100.0] {
            histogram.observe(value);
        }
        let observed = histogram.load();
        assert_eq!(observed.below, [(1.0, 2), (2.0, 3)]);
        assert_eq!((observed.count, observed.sum), (5, 105.5));
    }

    #[test]
    fn the_sum_of_many_bytes_is_not_less_than_that_of_few() {
        let histogram = Histogram::whole(&[1024.0]);
        (0..3).for_each(|_| histogram.observe(9e12));
        assert_eq!((histogram.load().count, histogram.load().sum), (3, 27e12));
    }
}
