//! What runs beside the writer: a thread for what takes long, and how the writer is woken.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::Instant;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd};

use super::error::Refusal;
use super::io::{LogFile, LogIo};
use super::shared::Name;

/// Wakes the writer: a thread that is parked, or a descriptor that its ring polls.
#[derive(Clone, Debug)]
pub(crate) struct Wake {
    thread: Arc<OnceLock<Thread>>,
    event: Option<Arc<OwnedFd>>,
}

impl Wake {
    /// For a writer that parks its thread.
    pub(crate) fn parked() -> Self {
        Self { thread: Arc::new(OnceLock::new()), event: None }
    }

    /// For a writer that waits in a ring.
    pub(crate) fn polled() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { thread: Arc::new(OnceLock::new()), event: Some(Arc::new(event)) })
    }

    /// The descriptor to poll.
    pub(crate) fn event(&self) -> Option<Arc<OwnedFd>> {
        self.event.clone()
    }

    /// Names the calling thread as the one to wake.
    pub(crate) fn attach(&self) {
        self.thread.set(std::thread::current()).expect("one writer attaches, once");
    }

    /// Wakes the writer, or keeps its next sleep from beginning.
    pub(crate) fn wake(&self) {
        match &self.event {
            // Full means that it is woken 2^64 - 2 times already.
            Some(event) => drop(rustix::io::write(event, &1_u64.to_ne_bytes())),
            None => drop(self.thread.get().map(Thread::unpark)),
        }
    }

    /// Sleeps until woken, or until the deadline; for a writer without a ring.
    pub(crate) fn park(&self, deadline: Option<Instant>) {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        match (&self.event, left) {
            (None, None) => std::thread::park(),
            (None, Some(left)) => std::thread::park_timeout(left),
            (Some(event), left) => {
                let left = left.and_then(|left| Timespec::try_from(left).ok());
                let mut watched = [PollFd::new(event, PollFlags::IN)];
                // Interrupted is as good as woken: the writer looks around either way.
                let _ready = rustix::event::poll(&mut watched, left.as_ref());
                Self::clear(event);
            }
        }
    }

    /// Takes the signal off the descriptor.
    pub(crate) fn clear(event: &OwnedFd) {
        let mut count = [0; 8];
        // Nothing to take is fine.
        let _taken = rustix::io::read(event, &mut count);
    }
}

/// A new segment with its index, durable and ready to be written.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// Where it starts and how long it is.
    pub(crate) name: Name,
    /// The segment's file.
    pub(crate) file: Arc<LogFile>,
    /// Its index file.
    pub(crate) index: Arc<LogFile>,
}

/// Does what takes long on a thread of its own: syncs and new segments.
#[derive(Debug)]
pub(crate) struct DiskThread {
    jobs: Option<SyncSender<Job>>,
    done: Arc<Mutex<VecDeque<Done>>>,
    thread: Option<JoinHandle<()>>,
}

/// What is done, in order.
#[derive(Debug)]
pub(crate) enum Done {
    /// A sync ended.
    Synced(io::Result<()>),
    /// A segment is there, or not.
    Prepared(Result<Prepared, Refusal>),
}

/// Makes a segment at an offset, durably.
pub(crate) type Prepare = Box<dyn FnOnce() -> Result<Prepared, Refusal> + Send>;

enum Job {
    Sync(Vec<Arc<LogFile>>),
    Prepare(Prepare),
}

impl DiskThread {
    /// Starts it; it wakes the writer after each job.
    pub(crate) fn start(io: Arc<dyn LogIo>, wake: Wake) -> io::Result<Self> {
        // At most one sync and one new segment are under way at a time.
        let (jobs, queue) = sync_channel(2);
        let done = Arc::new(Mutex::new(VecDeque::with_capacity(2)));
        let results = Arc::clone(&done);
        let thread = std::thread::Builder::new()
            .name("log-disk".into())
            .spawn(move || run(&queue, &*io, &results, &wake))?;
        Ok(Self { jobs: Some(jobs), done, thread: Some(thread) })
    }

    /// Syncs the files, in order; the answer comes as [`Done::Synced`].
    pub(crate) fn sync(&self, files: Vec<Arc<LogFile>>) {
        self.send(Job::Sync(files));
    }

    /// Makes a segment; the answer comes as [`Done::Prepared`].
    pub(crate) fn prepare(&self, prepare: Prepare) {
        self.send(Job::Prepare(prepare));
    }

    /// What is done meanwhile.
    pub(crate) fn poll(&self) -> Option<Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn send(&self, job: Job) {
        let jobs = self.jobs.as_ref().expect("taken only when dropped");
        jobs.send(job).expect("the thread ends only after this side is dropped");
    }
}

impl Drop for DiskThread {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was reported by the panic hook already.
            let _ended = thread.join();
        }
    }
}

fn run(queue: &Receiver<Job>, io: &dyn LogIo, done: &Mutex<VecDeque<Done>>, wake: &Wake) {
    while let Ok(job) = queue.recv() {
        let answer = match job {
            Job::Sync(files) => Done::Synced(files.iter().try_for_each(|file| io.sync(file))),
            Job::Prepare(prepare) => Done::Prepared(prepare()),
        };
        done.lock().unwrap_or_else(PoisonError::into_inner).push_back(answer);
        wake.wake();
    }
}
