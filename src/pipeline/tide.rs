//! Wakes the lanes of a worker when the log has grown.

use std::cell::Cell;
use std::io;

use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use crate::event::Offset;
use crate::log::{Reader, Waker};

/// The head of the log, as one worker's lanes wait for it.
///
/// The writer signals a worker once per wait, not once per append: it is armed with the lowest
/// offset that any lane waits for.
#[derive(Debug)]
pub(crate) struct Tide {
    reader: Reader,
    waker: AsyncFd<Waker>,
    risen: Notify,
    /// The lowest offset that is waited for; the highest possible when nobody waits.
    armed: Cell<Offset>,
}

impl Tide {
    /// Watches the log of this reader; call inside the worker's runtime.
    ///
    /// # Errors
    /// When the kernel gives no event descriptor.
    pub(crate) fn new(reader: Reader, waker: Waker) -> io::Result<Self> {
        let waker = AsyncFd::new(waker)?;
        Ok(Self { reader, waker, risen: Notify::new(), armed: Cell::new(NEVER) })
    }

    /// Where the written part of the log ends.
    pub(crate) fn head(&self) -> Offset {
        self.reader.written()
    }

    /// Waits until something is written past this offset.
    pub(crate) async fn past(&self, offset: Offset) {
        loop {
            // The notification is prepared before arming, so that a signal in between is not lost.
            let risen = self.risen.notified();
            let mut risen = std::pin::pin!(risen);
            risen.as_mut().enable();
            if self.reader.written() > offset {
                return;
            }
            if offset < self.armed.get() {
                self.armed.set(offset);
                if self.waker.get_ref().arm(offset) {
                    self.armed.set(NEVER);
                    return;
                }
            }
            risen.await;
        }
    }

    /// Passes the writer's signals on; runs as long as the worker.
    pub(crate) async fn watch(&self) -> io::Result<()> {
        loop {
            let mut ready = self.waker.readable().await?;
            self.waker.get_ref().clear();
            ready.clear_ready();
            self.armed.set(NEVER);
            self.risen.notify_waiters();
        }
    }
}

const NEVER: Offset = Offset::new(u64::MAX);
