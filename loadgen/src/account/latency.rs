//! How late events were, as histograms.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Ages of events: now less the time at which they were due.
///
/// The due time is the schedule's, not the moment of writing, so a stalled producer or a full pipe
/// counts as lateness (no coordinated omission).
#[derive(Clone, Debug)]
pub struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, NS_MAX, DIGITS);
        Self(histogram.expect("the bounds are constants that the crate takes"))
    }
}

impl Latency {
    /// Records one age.
    pub fn record(&mut self, scheduled_ns: u64, now_ns: u64) {
        self.0.saturating_record(now_ns.saturating_sub(scheduled_ns).max(1));
    }

    /// Adds another histogram.
    pub fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// The figures of the table.
    #[must_use]
    pub fn percentiles(&self) -> Percentiles {
        let us = |ns: u64| ns as f64 / 1_000.0;
        let at = |quantile| us(self.0.value_at_quantile(quantile));
        let empty = self.0.is_empty();
        Percentiles {
            events: self.0.len(),
            mean_us: if empty { 0.0 } else { self.0.mean() / 1_000.0 },
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: us(self.0.max()),
        }
    }
}

/// The figures of a histogram, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// How many events were measured.
    pub events: u64,
    /// The mean.
    pub mean_us: f64,
    /// Half of the events were faster.
    pub p50_us: f64,
    /// Nine of ten.
    pub p90_us: f64,
    /// 99 of 100.
    pub p99_us: f64,
    /// 999 of 1,000.
    pub p999_us: f64,
    /// The slowest.
    pub max_us: f64,
}

/// The longest age that is told apart: six hours; anything later is recorded as that.
const NS_MAX: u64 = 6 * 3_600 * 1_000_000_000;
/// Significant digits: 1 in 1,000 is finer than any target.
const DIGITS: u8 = 3;
