//! How long to wait before trying again.

use std::time::Duration;

use super::RetrySettings;

/// Waits that grow with each failure, fully jittered.
///
/// Full jitter: uniform between nothing and the grown wait, so that lanes and hosts which failed
/// together do not come back together.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The longest first wait.
    pub initial: Duration,
    /// The longest wait of all.
    pub max: Duration,
    /// Each is this much longer than the one before, in percent (200 doubles).
    pub percent: u32,
}

impl Backoff {
    /// As configured.
    #[must_use]
    pub fn new(retry: &RetrySettings) -> Self {
        Self {
            initial: retry.initial_backoff,
            max: retry.backoff_max,
            percent: retry.backoff_percent,
        }
    }

    /// The longest wait after this many failures in a row, counted from 1.
    #[must_use]
    pub fn ceiling(&self, failures: u32) -> Duration {
        let mut wait = self.initial.min(self.max);
        for _ in 1..failures.min(STEPS_MAX) {
            if wait >= self.max {
                break;
            }
            wait = wait.saturating_mul(self.percent) / 100;
        }
        wait.min(self.max)
    }

    /// A wait after this many failures in a row.
    #[must_use]
    pub fn wait(&self, failures: u32, rng: &mut fastrand::Rng) -> Duration {
        let ceiling = u64::try_from(self.ceiling(failures).as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(rng.u64(0..=ceiling))
    }
}

/// Growing stops here: at any multiplier above 1 the longest wait is reached, and at 1 nothing
/// grows.
const STEPS_MAX: u32 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff =
        Backoff { initial: Duration::from_secs(1), max: Duration::from_secs(30), percent: 200 };

    #[test]
    fn ceilings_double_up_to_the_longest() {
        let secs: Vec<u64> = (1..8).map(|n| BACKOFF.ceiling(n).as_secs()).collect();
        assert_eq!(secs, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(BACKOFF.ceiling(u32::MAX), BACKOFF.max);
    }

    #[test]
    fn waits_fill_the_whole_range() {
        let mut rng = fastrand::Rng::with_seed(1);
        let waits: Vec<Duration> = (0..1000).map(|_| BACKOFF.wait(3, &mut rng)).collect();
        let quarter = Duration::from_secs(1);
        assert!(waits.iter().all(|wait| *wait <= quarter * 4));
        for from in 0..4 {
            let inside = |w: &&Duration| **w >= quarter * from && **w <= quarter * (from + 1);
            let share = waits.iter().filter(inside).count();
            assert!((200..300).contains(&share), "quarter {from}: {share} of 1000");
        }
    }
}
