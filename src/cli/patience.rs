//! Waiting for a disk that is full or read-only when the process starts.

use std::error::Error;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use tracing::{error, info};

/// Tries again what the disk refuses.
pub(crate) struct Patience<F> {
    /// Whether the process was told to end.
    pub(crate) is_over: F,
    /// When the reason of the last try is the end of it, if ever.
    pub(crate) until: Option<Instant>,
}

impl<F: Fn() -> bool> Patience<F> {
    /// Tries until the disk has space and can be written; `None` when the process was told to end
    /// meanwhile. A service that ended instead would be started again and again, and given up by
    /// whoever starts it.
    pub(crate) fn with<T, E: Error + 'static>(
        &self,
        mut attempt: impl FnMut() -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        let mut told: Option<Instant> = None;
        loop {
            let problem = match attempt() {
                Ok(done) => {
                    if told.is_some() {
                        info!("the disk can be written again: starting");
                    }
                    return Ok(Some(done));
                }
                Err(problem) => problem,
            };
            let is_late = self.until.is_some_and(|until| Instant::now() >= until);
            if is_late || !may_pass(&problem) {
                return Err(problem);
            }
            if told.is_none_or(|told| told.elapsed() >= TELL_INTERVAL) {
                error!(%problem, "the disk cannot be written: waiting until it can");
                told = Some(Instant::now());
            }
            let again = Instant::now() + TRY_INTERVAL;
            while Instant::now() < again {
                if (self.is_over)() {
                    return Ok(None);
                }
                thread::sleep(LOOK_INTERVAL);
            }
        }
    }
}

/// Whether there is no space, or nothing may be written, at present.
fn may_pass(problem: &(dyn Error + 'static)) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let mut cause = Some(problem);
    while let Some(error) = cause {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if matches!(kind, Some(StorageFull | QuotaExceeded | ReadOnlyFilesystem)) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Between two tries.
const TRY_INTERVAL: Duration = Duration::from_secs(1);
/// Between two lines that say what is waited for.
const TELL_INTERVAL: Duration = Duration::from_secs(60);
/// How soon a signal is seen.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
