//! Wakes the lanes of a worker when the log has grown.

use std::cell::Cell;
use std::io;
use std::os::fd::AsFd;

use tokio::net::unix::pipe;
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
    waker: Waker,
    /// The waker's event descriptor, as the runtime polls it: an eventfd reads like a pipe.
    bell: pipe::Receiver,
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
        let event = waker.as_fd().try_clone_to_owned()?;
        let bell = pipe::Receiver::from_owned_fd_unchecked(event)?;
        Ok(Self { reader, waker, bell, risen: Notify::new(), armed: Cell::new(NEVER) })
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
                if self.waker.arm(offset) {
                    // Nobody is signalled now: those who relied on an earlier arming arm again.
                    self.armed.set(NEVER);
                    self.risen.notify_waiters();
                    return;
                }
            }
            risen.await;
        }
    }

    /// Passes the writer's signals on; runs as long as the worker.
    pub(crate) async fn watch(&self) -> io::Result<()> {
        loop {
            self.bell.readable().await?;
            match self.bell.try_read(&mut [0; 8]) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            }
            self.armed.set(NEVER);
            self.risen.notify_waiters();
        }
    }
}

const NEVER: Offset = Offset::new(u64::MAX);

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use tokio::runtime::Builder;
    use tokio::task::{LocalSet, spawn_local, yield_now};
    use tokio::time::timeout;

    use super::*;
    use crate::log::{Log, LogOptions, Mark};

    #[test]
    fn whoever_finds_that_it_need_not_wait_leaves_the_others_a_signal() {
        let dir = tempfile::tempdir().expect("a directory");
        let options = LogOptions { dir: dir.path().join("log"), ..LogOptions::default() };
        let (log, _) = Log::open(options).expect("a log");
        let (reader, appender) = (log.reader(), log.appender());
        let (ask, asked) = mpsc::channel::<()>();
        let append = move || {
            while asked.recv().is_ok() {
                appender.append(&[b' '; 64], Mark::default()).expect("there is room");
            }
        };
        thread::spawn(append);
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        LocalSet::new().block_on(&runtime, async {
            let waker = reader.waker().expect("a descriptor");
            let tide = Rc::new(Tide::new(reader.clone(), waker).expect("a pipe"));
            let watching = Rc::clone(&tide);
            spawn_local(async move { watching.watch().await });
            for round in 0..5_000_u64 {
                let head = tide.head();
                let (far, waiting) = (Offset::new(head.bytes() + 100), Rc::clone(&tide));
                let other = spawn_local(async move { waiting.past(far).await });
                yield_now().await;
                ask.send(()).expect("it appends");
                (0..round % 1_000).for_each(|_| std::hint::spin_loop());
                tide.past(head).await;
                ask.send(()).expect("it appends");
                let woken = timeout(Duration::from_secs(5), other).await;
                assert!(woken.is_ok(), "round {round}: it was never woken");
            }
        });
    }
}
