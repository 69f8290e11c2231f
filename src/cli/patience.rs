//! Waiting for a disk that is full or read-only when the process starts.

use std::error::Error;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use tracing::{error, info};

use super::Exit;

/// Tries again what the disk refuses.
pub(crate) struct Patience<F, G> {
    /// Whether the process was told to end.
    pub(crate) is_over: F,
    /// When the last try is the end of it, if ever.
    pub(crate) until: Option<Instant>,
    /// Is told what the disk refuses, whenever it does.
    pub(crate) on_wait: G,
}

impl<F: Fn() -> bool, G: Fn(String)> Patience<F, G> {
    /// Tries until the disk has space and can be written; `None` when the process was told to end
    /// meanwhile, or time is over. A service that ended instead would be started again and again,
    /// and given up by whoever starts it.
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
            if !may_pass(&problem) {
                return Err(problem);
            }
            if self.is_late() {
                error!(%problem, "the disk could not be written within `--drain-timeout`");
                return Ok(None);
            }
            if told.is_none_or(|told| told.elapsed() >= TELL_INTERVAL) {
                error!(%problem, "the disk cannot be written: waiting until it can");
                told = Some(Instant::now());
            }
            (self.on_wait)(problem.to_string());
            let again = Instant::now() + TRY_INTERVAL;
            while Instant::now() < again {
                if (self.is_over)() {
                    return Ok(None);
                }
                thread::sleep(LOOK_INTERVAL);
            }
        }
    }

    /// How a process ends that waited in vain: it has lost nothing.
    pub(crate) fn in_vain(&self) -> Exit {
        if self.is_late() { Exit::Unfinished } else { Exit::Done }
    }

    fn is_late(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
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
