//! Waiting for a fact.

#![allow(dead_code, reason = "each test crate that shares this file uses a part of it")]

use std::thread;
use std::time::{Duration, Instant};

/// Waits until it holds; fails when patience is over.
#[track_caller]
pub(crate) fn wait_until(what: &str, holds: impl FnMut() -> bool) {
    assert!(comes_true(holds), "waited for: {what}");
}

/// Looks again and again until it holds, or patience is over.
#[must_use]
pub(crate) fn comes_true(holds: impl FnMut() -> bool) -> bool {
    comes_true_within(PATIENCE, holds)
}

/// The same, or the time is over.
#[must_use]
pub(crate) fn comes_true_within(longest: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    loop {
        let looked = Instant::now();
        if holds() {
            return true;
        }
        if begun.elapsed() > longest {
            return false;
        }
        // What is waited for needs the core: a look that runs a command leaves it as long again.
        thread::park_timeout(looked.elapsed().max(PAUSE));
    }
}

/// A debug build on a busy machine takes its time; whoever waits longer waits for nothing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// Between two looks that cost nothing.
const PAUSE: Duration = Duration::from_millis(2);
