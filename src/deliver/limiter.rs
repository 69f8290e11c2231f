//! How many requests a second, and how many of them retries: two buckets without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Pace, RateSettings};

/// A token bucket as one number: the time at which it will be full again (GCRA).
#[derive(Debug, Default)]
pub(super) struct Bucket(AtomicU64);

impl Bucket {
    /// Takes a token, or says when there will be one.
    fn take(&self, now_ns: u64, interval_ns: u64, burst: u64) -> Result<(), u64> {
        let tolerance = interval_ns.saturating_mul(burst.saturating_sub(1));
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |full| {
                let is_free = full <= now_ns.saturating_add(tolerance);
                is_free.then(|| full.max(now_ns).saturating_add(interval_ns))
            })
            .map(drop)
            .map_err(|full| full.saturating_sub(tolerance))
    }

    /// When there is a token.
    pub(super) fn free_at(&self, interval_ns: u64, burst: u64) -> u64 {
        let tolerance = interval_ns.saturating_mul(burst.saturating_sub(1));
        self.0.load(Ordering::Acquire).saturating_sub(tolerance)
    }

    /// How long whoever takes a token behind so many others waits for it.
    pub(super) fn delay(&self, before: u64, now_ns: u64, interval_ns: u64, burst: u64) -> u64 {
        let taken = self.0.load(Ordering::Acquire).max(now_ns);
        let tolerance = interval_ns.saturating_mul(burst.saturating_sub(1));
        let free = taken.saturating_add(interval_ns.saturating_mul(before));
        free.saturating_sub(tolerance).saturating_sub(now_ns)
    }

    /// Leaves no token; the next one comes after an interval.
    fn empty(&self, now_ns: u64, interval_ns: u64, burst: u64) {
        let tolerance = interval_ns.saturating_mul(burst.saturating_sub(1));
        let full = now_ns.saturating_add(tolerance).saturating_add(interval_ns);
        self.0.fetch_max(full, Ordering::AcqRel);
    }

    /// Takes a token that is owed, free or not.
    pub(super) fn charge(&self, now_ns: u64, interval_ns: u64) {
        let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |full| {
            Some(full.max(now_ns).saturating_add(interval_ns))
        });
    }
}

/// Limits requests, and learns the rate that a destination takes.
#[derive(Debug)]
pub(super) struct Limiter {
    settings: RateSettings,
    bucket: Bucket,
    /// Thousandths of a request per second; 0 is no limit.
    rate: AtomicU64,
    /// The rate before the first throttling, for exporters without a configured limit.
    ceiling: AtomicU64,
    eased_ns: AtomicU64,
    /// The second (upper half) and its requests so far; and the last whole one.
    current: AtomicU64,
    last: AtomicU64,
}

impl Limiter {
    pub(super) fn new(settings: RateSettings) -> Self {
        Self {
            rate: AtomicU64::new(settings.per_second.map_or(0, |rate| u64::from(rate) * 1000)),
            settings,
            bucket: Bucket::default(),
            ceiling: AtomicU64::new(0),
            eased_ns: AtomicU64::new(0),
            current: AtomicU64::new(0),
            last: AtomicU64::new(0),
        }
    }

    /// Takes a request's token, or says when there will be one.
    pub(super) fn take(&self, now_ns: u64) -> Result<(), u64> {
        match self.interval_ns() {
            0 => {}
            interval => self.bucket.take(now_ns, interval, self.burst())?,
        }
        self.observe(now_ns);
        Ok(())
    }

    /// Counts a request that does not wait, such as a poll.
    pub(super) fn charge(&self, now_ns: u64) {
        match self.interval_ns() {
            0 => {}
            interval => self.bucket.charge(now_ns, interval),
        }
        self.observe(now_ns);
    }

    /// Slows down or speeds up, after an answer to a request that was sent at `sent_ns`.
    pub(super) fn adapt(&self, pace: Pace, is_success: bool, sent_ns: u64, now_ns: u64) {
        if !self.settings.adaptive {
            return;
        }
        match pace {
            Pace::Ease | Pace::Pause(_) => self.ease(sent_ns, now_ns),
            Pace::Keep if is_success => self.raise(),
            Pace::Keep => {}
        }
    }

    /// The limit in thousandths of a request per second; 0 is none.
    pub(super) fn rate(&self) -> u64 {
        self.rate.load(Ordering::Relaxed)
    }

    /// Whether throttling was answered within this time.
    pub(super) fn eased_within(&self, time: Duration, now_ns: u64) -> bool {
        let eased = self.eased_ns.load(Ordering::Relaxed);
        eased != 0 && now_ns.saturating_sub(eased) < ns(time)
    }

    /// Halves the rate, once for all requests that were under way when it was halved last, and once
    /// a second: only then it shows what a rate does. What was saved up for a burst is lost.
    fn ease(&self, sent_ns: u64, now_ns: u64) {
        let eased = self.eased_ns.load(Ordering::Acquire);
        let is_over = now_ns.saturating_sub(eased) >= SECOND_NS;
        let is_news = eased == 0 || (sent_ns > eased && is_over);
        let swap = || {
            self.eased_ns.compare_exchange(
                eased,
                now_ns.max(1),
                Ordering::AcqRel,
                Ordering::Acquire,
            )
        };
        if !is_news || swap().is_err() {
            return;
        }
        let floor = u64::from(self.settings.per_second_min).max(1) * 1000;
        let rate = match self.rate() {
            0 => {
                let observed = self.observed(now_ns).max(floor);
                self.ceiling.store(observed * CEILING_FACTOR, Ordering::Relaxed);
                observed
            }
            rate => rate,
        };
        self.rate.store((rate / 2).max(floor), Ordering::Relaxed);
        self.bucket.empty(now_ns, self.interval_ns(), self.burst());
    }

    /// Requests at once after a quiet time: at a lower rate than the configured one as many fewer,
    /// at a learned one those of two seconds.
    fn burst(&self) -> u64 {
        let rate = self.rate();
        let burst = match self.settings.per_second {
            Some(most) => u64::from(self.settings.burst) * rate / (u64::from(most) * 1000).max(1),
            None => 2 * rate / 1000,
        };
        burst.max(1)
    }

    /// 5 % more, up to what is configured; without a limit, it ends well above what was observed.
    fn raise(&self) {
        let _ = self.rate.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |rate| {
            let more = rate + (rate / 20).max(1);
            match self.settings.per_second {
                _ if rate == 0 => None,
                Some(most) => Some(more.min(u64::from(most) * 1000)),
                None if more > self.ceiling.load(Ordering::Relaxed) => Some(0),
                None => Some(more),
            }
        });
    }

    fn interval_ns(&self) -> u64 {
        // A limit below one request in 1,000 seconds cannot be written, so this is never 0.
        SECOND_NS.saturating_mul(1000).checked_div(self.rate()).unwrap_or(0)
    }

    fn observe(&self, now_ns: u64) {
        let second = (now_ns / SECOND_NS) & u64::from(u32::MAX);
        let _ = self.current.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |seen| {
            // Whoever looked at the clock before the second began, and comes after it did, counts
            // in it: going back would forget what both seconds have.
            if seen >> 32 >= second {
                return Some(seen + 1);
            }
            self.last.store(seen, Ordering::Relaxed);
            Some(second << 32 | 1)
        });
    }

    /// Thousandths of requests per second, over this second and the one before.
    fn observed(&self, now_ns: u64) -> u64 {
        let second = (now_ns / SECOND_NS) & u64::from(u32::MAX);
        let count = |word: u64, of: u64| match word >> 32 == of {
            true => word & u64::from(u32::MAX),
            false => 0,
        };
        let current = self.current.load(Ordering::Relaxed);
        let last = self.last.load(Ordering::Relaxed);
        let before = second.wrapping_sub(1) & u64::from(u32::MAX);
        let most = [count(current, second), count(current, before), count(last, before)];
        most.into_iter().max().unwrap_or(0) * 1000
    }
}

/// Retries may be this share of first attempts, and a few a second besides.
#[derive(Debug)]
pub(super) struct RetryBudget {
    percent: u64,
    /// Hundredths of a retry that first attempts have earned.
    earned: AtomicU64,
    bucket: Bucket,
}

impl RetryBudget {
    pub(super) fn new(percent: u32) -> Self {
        Self { percent: u64::from(percent), earned: AtomicU64::new(0), bucket: Bucket::default() }
    }

    /// Notes a first attempt.
    pub(super) fn earn(&self) {
        self.add(self.percent);
    }

    /// Gives a retry back that was not made.
    pub(super) fn refund(&self) {
        self.add(100);
    }

    fn add(&self, hundredths: u64) {
        let _ = self.earned.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |earned| {
            Some((earned + hundredths).min(EARNED_MAX))
        });
    }

    /// Takes a retry, or says when there will be one.
    pub(super) fn take(&self, now_ns: u64) -> Result<(), u64> {
        let spent = self
            .earned
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |earned| earned.checked_sub(100));
        match spent {
            Ok(_) => Ok(()),
            Err(_) => self.bucket.take(now_ns, SECOND_NS / RETRIES_PER_SECOND, RETRIES_PER_SECOND),
        }
    }
}

/// A duration in whole nanoseconds, capped.
pub(super) fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

const SECOND_NS: u64 = 1_000_000_000;

/// Retries a second that need no first attempts to be earned (`pipeline.md`, Retry).
const RETRIES_PER_SECOND: u64 = 10;

/// 1,000 retries can be saved up, in hundredths.
const EARNED_MAX: u64 = 100_000;

/// A learned limit ends at this many times the rate at which it was learned.
const CEILING_FACTOR: u64 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(per_second: Option<u32>, burst: u32) -> Limiter {
        Limiter::new(RateSettings { per_second, burst, adaptive: true, per_second_min: 1 })
    }

    fn granted(limiter: &Limiter, from_ns: u64, to_ns: u64) -> u64 {
        let mut now = from_ns;
        let mut count = 0;
        while now < to_ns {
            match limiter.take(now) {
                Ok(()) => count += 1,
                Err(at) => {
                    assert!(at > now);
                    now = at;
                }
            }
        }
        count
    }

    #[test]
    fn a_bucket_grants_its_burst_and_then_its_rate() {
        let limiter = limiter(Some(10), 20);
        assert_eq!(granted(&limiter, 0, 1), 20);
        assert_eq!(granted(&limiter, 1, 10 * SECOND_NS), 99);
    }

    #[test]
    fn throttling_halves_the_rate_once_per_flight_and_second_and_success_raises_it() {
        const LATER: u64 = SECOND_NS + 10;
        let limiter = limiter(Some(100), 1);
        limiter.adapt(Pace::Ease, false, 5, 10);
        limiter.adapt(Pace::Ease, false, 6, LATER);
        assert_eq!(limiter.rate(), 50_000, "both were sent before it was halved");
        limiter.adapt(Pace::Ease, false, 12, LATER - 1);
        assert_eq!(limiter.rate(), 50_000, "a second is not over");
        limiter.adapt(Pace::Ease, false, 12, LATER);
        assert_eq!(limiter.rate(), 25_000);
        limiter.adapt(Pace::Keep, true, 14, 15);
        assert_eq!(limiter.rate(), 26_250);
        for _ in 0..100 {
            limiter.adapt(Pace::Keep, true, 14, 15);
        }
        assert_eq!(limiter.rate(), 100_000);
        for second in 100..200 {
            limiter.adapt(Pace::Ease, false, second * SECOND_NS, second * SECOND_NS + 1);
        }
        assert_eq!(limiter.rate(), 1_000, "never below the lowest");
    }

    #[test]
    fn an_unlimited_exporter_learns_half_of_what_it_sent_and_forgets_it() {
        let limiter = limiter(None, 1);
        for n in 0..300 {
            limiter.take(n * SECOND_NS / 200).expect("no limit");
        }
        limiter.adapt(Pace::Ease, false, 1, 3 * SECOND_NS / 2);
        assert_eq!(limiter.rate(), 100_000, "half of 200 a second");
        let mut successes = 0;
        while limiter.rate() != 0 {
            limiter.adapt(Pace::Keep, true, 1, 2 * SECOND_NS);
            successes += 1;
        }
        assert!((40..50).contains(&successes), "{successes}");
    }

    #[test]
    fn a_request_of_the_second_before_does_not_hide_what_was_sent() {
        let limiter = limiter(None, 1);
        for n in 0..200 {
            limiter.take(n * SECOND_NS / 200).expect("no limit");
        }
        // Another thread looked at the clock earlier, and came later.
        for at in [SECOND_NS + 1, SECOND_NS - 1, SECOND_NS + 2] {
            limiter.take(at).expect("no limit");
        }
        limiter.adapt(Pace::Ease, false, 1, SECOND_NS + 3);
        assert_eq!(limiter.rate(), 100_000, "half of 200 a second");
    }

    #[test]
    fn what_was_saved_up_is_not_sent_into_a_destination_that_throttles() {
        // The usual settings: no limit, and a burst that means nothing.
        let usual = limiter(None, u32::MAX);
        for n in 0..300 {
            usual.take(n * SECOND_NS / 200).expect("no limit");
        }
        let now = 3 * SECOND_NS / 2;
        usual.adapt(Pace::Ease, false, 1, now);
        assert_eq!(granted(&usual, now, now + SECOND_NS), 99, "at the learned rate at once");
        assert_eq!(granted(&usual, now + 60 * SECOND_NS, now + 60 * SECOND_NS + 1), 200);
        let limited = limiter(Some(100), 500);
        limited.adapt(Pace::Ease, false, 1, now);
        assert_eq!(granted(&limited, now, now + SECOND_NS), 49);
        assert_eq!(granted(&limited, now + 60 * SECOND_NS, now + 60 * SECOND_NS + 1), 250);
    }

    #[test]
    fn retries_are_a_fifth_of_first_attempts_and_ten_a_second() {
        let budget = RetryBudget::new(20);
        let spend = |now| std::iter::from_fn(|| budget.take(now).ok()).count();
        assert_eq!(spend(0), 10);
        assert_eq!(spend(SECOND_NS), 10);
        (0..100).for_each(|_| budget.earn());
        assert_eq!(spend(2 * SECOND_NS), 30);
    }
}
