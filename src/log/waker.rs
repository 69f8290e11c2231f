//! Waking idle readers: an eventfd each, armed for one signal.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

use crate::event::Offset;

use super::control::Control;
use super::error::LogError;
use super::shared::Shared;

/// Wakes one reader through an eventfd, which is readable once what was armed has come.
///
/// A waker that is not armed costs the writer nothing, one that is armed one comparison per group.
#[derive(Debug)]
pub struct Waker {
    bell: Arc<Bell>,
    shared: Arc<Shared>,
}

impl Waker {
    pub(crate) fn new(shared: Arc<Shared>) -> Result<Self, LogError> {
        let made = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let event =
            made.map_err(io::Error::from).map_err(LogError::io("wake from", &shared.dir))?;
        let bell = Arc::new(Bell {
            event,
            written: AtomicU64::new(DISARMED),
            durable: AtomicU64::new(DISARMED),
        });
        shared.wakers.add(Arc::clone(&bell));
        if shared.foreign {
            shared.wakers.listen(&shared.control).map_err(LogError::io("watch", &shared.dir))?;
        }
        Ok(Self { bell, shared })
    }

    /// Asks for one signal once `written` is beyond `past`; true when it is already.
    ///
    /// After true there may still be a signal; it means nothing then.
    #[must_use = "no signal comes when it is true"]
    pub fn arm(&self, past: Offset) -> bool {
        let wakers = &self.shared.wakers;
        wakers.arm(&self.bell.written, &wakers.written_past, past);
        let already = self.shared.control.written() > past;
        if already {
            self.bell.written.store(DISARMED, Ordering::SeqCst);
        }
        already
    }

    /// Asks for one signal once `durable` is beyond `past`; true when it is already.
    #[must_use = "no signal comes when it is true"]
    pub fn arm_durable(&self, past: Offset) -> bool {
        let wakers = &self.shared.wakers;
        wakers.arm(&self.bell.durable, &wakers.durable_past, past);
        let already = self.shared.control.durable() > past;
        if already {
            self.bell.durable.store(DISARMED, Ordering::SeqCst);
        }
        already
    }

    /// Takes the signal, so that the eventfd is not readable any more.
    pub fn clear(&self) {
        let mut count = [0; 8];
        // Nothing to take is fine.
        let _taken = rustix::io::read(&self.bell.event, &mut count);
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.event.as_fd()
    }
}

impl Drop for Waker {
    fn drop(&mut self) {
        self.shared.wakers.remove(&self.bell);
    }
}

/// Who wants to be woken, and from where on.
#[derive(Debug)]
pub(crate) struct Wakers {
    bells: Mutex<Vec<Arc<Bell>>>,
    /// The lowest offset that somebody waits to be passed.
    written_past: AtomicU64,
    durable_past: AtomicU64,
    /// Set where the writer is another process: then a thread listens to the control page.
    listener: Option<Once>,
    ended: AtomicBool,
}

#[derive(Debug)]
struct Bell {
    event: OwnedFd,
    written: AtomicU64,
    durable: AtomicU64,
}

impl Bell {
    fn ring(&self) {
        // Full means that 2^64 - 2 signals wait: one is enough.
        let _rung = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
    }
}

impl Wakers {
    /// For the process that writes.
    pub(crate) fn own() -> Self {
        Self::new(None)
    }

    /// For a process that only reads.
    pub(crate) fn foreign() -> Self {
        Self::new(Some(Once::new()))
    }

    pub(crate) fn are_foreign(&self) -> bool {
        self.listener.is_some()
    }

    /// Wakes those who waited for `written` to get here.
    #[inline]
    pub(crate) fn signal_written(&self, end: Offset) {
        if end.bytes() > self.written_past.load(Ordering::SeqCst) {
            self.signal(end, &self.written_past, |bell| &bell.written);
        }
    }

    /// Wakes those who waited for `durable` to get here.
    pub(crate) fn signal_durable(&self, end: Offset) {
        if end.bytes() > self.durable_past.load(Ordering::SeqCst) {
            self.signal(end, &self.durable_past, |bell| &bell.durable);
        }
    }

    /// Ends the listening thread.
    pub(crate) fn end(&self, control: &Control) {
        self.ended.store(true, Ordering::SeqCst);
        if self.listener.as_ref().is_some_and(Once::is_completed) {
            control.wake_all();
        }
    }

    fn new(listener: Option<Once>) -> Self {
        Self {
            bells: Mutex::new(Vec::new()),
            written_past: AtomicU64::new(DISARMED),
            durable_past: AtomicU64::new(DISARMED),
            listener,
            ended: AtomicBool::new(false),
        }
    }

    fn add(&self, bell: Arc<Bell>) {
        self.bells.lock().unwrap_or_else(PoisonError::into_inner).push(bell);
    }

    fn remove(&self, gone: &Arc<Bell>) {
        let mut bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        bells.retain(|bell| !Arc::ptr_eq(bell, gone));
    }

    /// Arms first; the caller looks at the offset afterwards. The writer publishes first and looks
    /// at `lowest` afterwards, so one of the two sees the other.
    fn arm(&self, armed: &AtomicU64, lowest: &AtomicU64, past: Offset) {
        let bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        armed.store(past.bytes(), Ordering::SeqCst);
        lowest.fetch_min(past.bytes(), Ordering::SeqCst);
        drop(bells);
    }

    fn signal(&self, end: Offset, lowest: &AtomicU64, armed: fn(&Bell) -> &AtomicU64) {
        let bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left = DISARMED;
        for bell in bells.iter() {
            let past = armed(bell).load(Ordering::SeqCst);
            if past < end.bytes() {
                armed(bell).store(DISARMED, Ordering::SeqCst);
                bell.ring();
            } else {
                left = left.min(past);
            }
        }
        lowest.store(left, Ordering::SeqCst);
    }

    /// Listens to the control page, on one thread for all wakers of this reader.
    fn listen(self: &Arc<Self>, control: &Arc<Control>) -> io::Result<()> {
        let Some(listener) = &self.listener else { return Ok(()) };
        let mut started = Ok(());
        listener.call_once(|| {
            let (wakers, control) = (Arc::clone(self), Arc::clone(control));
            let thread = std::thread::Builder::new().name("log-listen".into());
            started = thread.spawn(move || wakers.run(&control)).map(|_detached| ());
        });
        started
    }

    fn run(&self, control: &Control) {
        loop {
            // Before looking whether it has ended: the signal of the end may come in between.
            let seen = control.seen();
            if self.ended.load(Ordering::SeqCst) {
                return;
            }
            self.signal_written(control.written());
            self.signal_durable(control.durable());
            control.wait(seen);
        }
    }
}

/// The offset past which a bell rings that nobody armed: none is beyond it.
const DISARMED: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::{Duration, Instant};

    use super::super::control::Found;
    use super::super::io::Disk;
    use super::*;

    #[test]
    fn a_reader_that_ends_while_its_listener_begins_leaves_no_thread() {
        let dir = tempfile::tempdir().expect("a directory");
        let found = Found {
            written: Offset::ZERO,
            durable: Offset::ZERO,
            oldest: Offset::ZERO,
            reserved: Offset::ZERO,
            closed: None,
            boot: [0; 16],
        };
        let control = Arc::new(Control::create(dir.path(), found, &Disk).expect("a page"));
        for round in 0..8_000_u32 {
            let wakers = Arc::new(Wakers::foreign());
            wakers.listen(&control).expect("a thread");
            (0..round % 2_000).for_each(|_| std::hint::spin_loop());
            wakers.end(&control);
            let patience = Instant::now() + Duration::from_secs(5);
            while Arc::strong_count(&wakers) > 1 {
                assert!(Instant::now() < patience, "round {round}: it listens on for ever");
                thread::yield_now();
            }
        }
    }
}
