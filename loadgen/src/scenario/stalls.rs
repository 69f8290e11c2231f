//! How late the machine itself is: what a timer that does nothing else sees meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::table::Row;

/// A thread that sleeps for a millisecond, again and again, and notes by how much too long.
///
/// An event passes four such wake-ups on its way: nothing can be less late than they are.
pub(super) struct Stalls {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Duration>>,
}

impl Stalls {
    /// Begins to look; `None` where the machine has no thread left for it.
    pub(super) fn watch() -> Option<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&is_over);
        let look = move || {
            let mut late = Vec::new();
            while !told.load(Ordering::Acquire) && late.len() < LOOKS_MAX {
                let begin = Instant::now();
                thread::sleep(PAUSE);
                late.push(begin.elapsed().saturating_sub(PAUSE));
            }
            late
        };
        let thread = thread::Builder::new().name("stalls".to_owned()).spawn(look).ok()?;
        Some(Self { is_over, thread })
    }

    /// Ends it and says what it saw.
    pub(super) fn rows(self) -> Vec<Row> {
        self.is_over.store(true, Ordering::Release);
        rows(self.thread.join().unwrap_or_default())
    }
}

fn rows(mut late: Vec<Duration>) -> Vec<Row> {
    late.sort_unstable();
    let row = |what: &str, share: f64| {
        let at = (late.len() as f64 * share) as usize;
        let ms = late.get(at).map_or(0.0, |late| late.as_secs_f64() * 1_000.0);
        Row::note(format!("  a mere timer was late by, {what}"), ms, "ms")
    };
    vec![row("p50", 0.5), row("p99", 0.99), row("p99.9", 0.999)]
}

/// Short against what is measured, long against what looking costs.
const PAUSE: Duration = Duration::from_millis(1);
/// An hour of looking: 16 bytes each.
const LOOKS_MAX: usize = 3_600_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_say_how_late_a_timer_was() {
        let late: Vec<Duration> = (0..1_000).rev().map(Duration::from_millis).collect();
        let measured: Vec<f64> = rows(late).iter().map(|row| row.measured).collect();
        assert_eq!(measured, [500.0, 990.0, 999.0]);
        assert_eq!(rows(Vec::new()).len(), 3, "also where there was no time to look");
    }
}
