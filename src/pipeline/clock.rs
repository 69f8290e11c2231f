//! When the system's clock is set, and by how much.
//!
//! Windows and quiet times are told by stamps that survive a process, so that they are those of the
//! wall clock. Whoever sets that makes nothing older: the stamps go with it.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Notices when the wall clock is set.
#[derive(Debug)]
pub(crate) struct Clock(Mutex<Seen>);

/// Both clocks at one time.
#[derive(Clone, Copy, Debug)]
struct Seen {
    steady: Instant,
    wall: i64,
}

impl Clock {
    /// A clock that is looked at for the first time; `wall` is in seconds since 1970.
    pub(crate) fn new(wall: i64, steady: Instant) -> Self {
        Self(Mutex::new(Seen { steady, wall }))
    }

    /// By how many seconds the wall clock was set since it was looked at before, if it was.
    ///
    /// A machine that was suspended looks the same, and nothing has happened on it meanwhile.
    pub(crate) fn step(&self, wall: i64, steady: Instant) -> Option<i64> {
        // Changed by a single assignment, so that a panic elsewhere leaves it whole.
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = steady.saturating_duration_since(seen.steady).as_secs();
        let step = wall.saturating_sub(seen.wall.saturating_add_unsigned(passed));
        if step.unsigned_abs() < STEP_SECS_MIN {
            return None;
        }
        *seen = Seen { steady, wall };
        Some(step)
    }
}

/// Less makes no window much longer or shorter; it counts once it has become more.
const STEP_SECS_MIN: u64 = 5;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_clock_that_is_set_is_told_once_and_time_that_passes_is_not() {
        let begin = Instant::now();
        let clock = Clock::new(1000, begin);
        let step = |wall, passed| clock.step(wall, begin + Duration::from_secs(passed));
        assert_eq!(step(1000, 0), None);
        assert_eq!(step(4600, 3600), None);
        assert_eq!(step(8200, 3600), Some(3600));
        assert_eq!(step(8201, 3601), None);
        assert_eq!(step(101, 3701), Some(-8200));
        // A little each day adds up.
        assert_eq!([103, 105, 106].map(|wall| step(wall, 3701)), [None, None, Some(5)]);
        // Whoever looked at the clocks before another one, and comes after it.
        assert_eq!(step(105, 3700), None);
    }
}
