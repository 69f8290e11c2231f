//! Replaying dead letters: what is asked for, and how far it is.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::dead_letters::{Place, Wanted};
use crate::event::Offset;

/// How far a replay is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Whether it still runs.
    pub is_running: bool,
    /// Whether nobody asked for it.
    pub is_automatic: bool,
    /// Letters that were wanted when it began.
    pub wanted: u64,
    /// Letters that were sent, or tried to.
    pub sent: u64,
    /// Events that have arrived; their letters are gone.
    pub delivered: u64,
    /// Events that a digest told of, since they were too old; their letters are gone.
    #[serde(default)]
    pub digested: u64,
    /// Letters that stay: refused again, or without their event.
    pub kept: u64,
}

impl Progress {
    /// Letters that were sent and have met their end.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.delivered + self.digested + self.kept
    }

    /// Whether every letter that was sent has met its end.
    pub(crate) fn is_settled(&self) -> bool {
        self.ended() >= self.sent
    }
}

/// A replay that was asked for.
#[derive(Debug)]
pub(crate) struct Job {
    /// Which one it is, so that letters of one before it are not counted for it; given by
    /// [`Replays::begin`].
    pub(crate) number: u64,
    pub(crate) wanted: Wanted,
    /// Events a second at most; `None` is as fast as the destination takes them.
    pub(crate) rate: Option<u32>,
    /// How far it has read; gone once it has read everything.
    pub(crate) place: Option<Place>,
    /// Where what it reads ends; given by [`Replays::begin`].
    pub(crate) until: Offset,
    /// Whether it took the place of one that had begun by itself and not ended; given by
    /// [`Replays::begin`].
    pub(crate) is_instead: bool,
    pub(crate) progress: Progress,
}

/// The replay of one exporter: commands ask for it, the lane beside the log does it.
#[derive(Debug, Default)]
pub(crate) struct Replays(Mutex<Option<Job>>);

impl Replays {
    /// Changed by single calls, so that a panic elsewhere leaves it whole.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Option<Job>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on with what another exporter of the same store replayed that has ended, from the
    /// beginning of the store: nobody answers any more what that one had under way, and what has
    /// arrived is gone from there. Without a place it ends.
    pub(crate) fn take_over(&self, ended: &Self, place: Option<Place>) {
        let Some(mut job) = ended.lock().take() else { return };
        if job.progress.is_running {
            job.progress.sent = job.progress.ended();
            job.progress.is_running = place.is_some();
            job.place = place;
            job.place.iter_mut().for_each(|place| place.until = job.until);
        }
        *self.lock() = Some(job);
    }

    /// Whether one that had begun by itself lost its place before it ended; told once.
    pub(crate) fn take_displaced(&self) -> bool {
        self.lock().as_mut().is_some_and(|job| std::mem::take(&mut job.is_instead))
    }

    /// How far the last one is.
    pub(crate) fn progress(&self) -> Option<Progress> {
        self.lock().as_ref().map(|job| job.progress)
    }

    /// Begins another; one that somebody asked for and that still runs stays.
    ///
    /// # Errors
    /// How far that one is.
    pub(crate) fn begin(&self, mut job: Job) -> Result<Progress, Progress> {
        let mut slot = self.lock();
        job.number = slot.as_ref().map_or(0, |last| last.number) + 1;
        // Where nothing is wanted there is nothing to read.
        job.place = job.place.filter(|_| job.progress.is_running);
        job.until = job.place.as_ref().map_or(Offset::ZERO, |place| place.until);
        match slot.as_ref().map(|job| job.progress) {
            Some(running) if running.is_running && !running.is_automatic => Err(running),
            last => {
                // What it does not want itself is left to do.
                let is_left = |last: Progress| last.is_running && last.is_automatic;
                let was_instead = slot.as_ref().is_some_and(|last| last.is_instead);
                job.is_instead =
                    !job.progress.is_automatic && (last.is_some_and(is_left) || was_instead);
                let progress = job.progress;
                *slot = Some(job);
                Ok(progress)
            }
        }
    }
}
