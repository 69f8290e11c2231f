//! Writing through io_uring: a group and its sync in one call, one thread for both.
//!
//! The ring belongs to the writer thread. Buffers and files stay alive until the kernel has
//! answered for them: `write` waits for its own answer, and a running sync holds its files.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use io_uring::{IoUring, opcode, squeue, types};

use super::engine::Wake;
use super::io::LogFile;

/// The writer's ring.
pub(crate) struct Ring {
    ring: IoUring,
    wake: Arc<OwnedFd>,
    /// Whether a poll of the wake-up descriptor is under way.
    watching: bool,
    /// What the kernel said to the last write.
    written: Option<i32>,
    /// The files of the running sync; each answers once.
    syncing: Vec<Arc<LogFile>>,
    answers: usize,
    failure: Option<i32>,
    /// The ring itself failed; nothing may be asked of it any more.
    broken: bool,
}

impl Ring {
    /// Makes a ring, unless the kernel or the sandbox does not allow it.
    pub(crate) fn probe(wake: &Wake) -> io::Result<Self> {
        let ring: IoUring = IoUring::builder().build(ENTRIES)?;
        let mut probe = io_uring::Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        let needed = [opcode::Write::CODE, opcode::Fsync::CODE, opcode::PollAdd::CODE];
        let can_wait = ring.params().is_feature_ext_arg();
        if !can_wait || needed.iter().any(|&code| !probe.is_supported(code)) {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "the kernel is too old"));
        }
        let wake = wake.event().ok_or(io::ErrorKind::Unsupported)?;
        Ok(Self {
            ring,
            wake,
            watching: false,
            written: None,
            syncing: Vec::new(),
            answers: 0,
            failure: None,
            broken: false,
        })
    }

    /// Whether the ring failed as such, and plain calls have to take over.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Writes all bytes; with the same call, `sync` is synced while the caller goes on.
    pub(crate) fn write(
        &mut self,
        file: &LogFile,
        at: u64,
        bytes: &[u8],
        sync: &[Arc<LogFile>],
    ) -> io::Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            let rest = &bytes[done..];
            let len = rest.len().min(WRITE_BYTES_MAX);
            let is_last = len == rest.len();
            let linked = if is_last && self.fit(sync) { sync } else { &[] };
            let write = opcode::Write::new(fd(file), rest.as_ptr(), len as u32)
                .offset(at + done as u64)
                .build()
                .user_data(WRITE);
            self.push(if linked.is_empty() { write } else { write.flags(LINK) });
            self.push_sync(linked);
            let n = self.wait_written()?;
            if n < len && !linked.is_empty() {
                // An error or a short write breaks the chain: the syncs were cancelled.
                self.forget_sync()?;
            }
            if n == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            done += n;
        }
        // Too many for one chain: now that the bytes are in the files the order is of no matter.
        if self.syncing.is_empty() && !sync.is_empty() {
            self.push_sync(sync);
            self.submit()?;
        }
        Ok(())
    }

    /// Whether a write and its syncs go to the kernel in one call. It ends a chain with the call,
    /// and what is left would not wait for the write.
    fn fit(&mut self, sync: &[Arc<LogFile>]) -> bool {
        let queue = self.ring.submission();
        sync.len() < queue.capacity() - queue.len()
    }

    /// Has the files synced, in order, while the caller goes on.
    pub(crate) fn sync(&mut self, files: Vec<Arc<LogFile>>) -> io::Result<()> {
        self.push_sync(&files);
        self.submit()
    }

    /// The answer of the running sync, once it is there.
    pub(crate) fn poll(&mut self) -> Option<io::Result<()>> {
        self.reap();
        if self.syncing.is_empty() || self.answers < self.syncing.len() {
            return None;
        }
        self.syncing.clear();
        self.answers = 0;
        Some(self.failure.take().map_or(Ok(()), |code| Err(io::Error::from_raw_os_error(code))))
    }

    /// Sleeps until woken, until a sync has ended, or until the deadline.
    pub(crate) fn park(&mut self, until: Option<Instant>) {
        if !self.watching {
            let poll = opcode::PollAdd::new(types::Fd(self.wake.as_raw_fd()), POLLIN);
            self.push(poll.build().user_data(WAKE));
            self.watching = true;
        }
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let waited = match left {
            None => self.ring.submitter().submit_and_wait(1),
            Some(left) => {
                let time = types::Timespec::from(left);
                let args = types::SubmitArgs::new().timespec(&time);
                self.ring.submitter().submit_with_args(1, &args)
            }
        };
        if let Err(error) = waited {
            let expected = [libc::ETIME, libc::EINTR, libc::EAGAIN, libc::EBUSY];
            self.broken |= !error.raw_os_error().is_some_and(|code| expected.contains(&code));
        }
        self.reap();
        if !self.watching {
            Wake::clear(&self.wake);
        }
    }

    fn push_sync(&mut self, files: &[Arc<LogFile>]) {
        debug_assert!(files.is_empty() || self.syncing.is_empty(), "one sync at a time");
        for (index, file) in files.iter().enumerate() {
            let sync = opcode::Fsync::new(fd(file)).flags(types::FsyncFlags::DATASYNC);
            let sync = sync.build().user_data(SYNC);
            let is_last = index + 1 == files.len();
            self.push(if is_last { sync } else { sync.flags(LINK) });
        }
        self.syncing.extend(files.iter().cloned());
    }

    fn push(&mut self, entry: squeue::Entry) {
        let mut queue = self.ring.submission();
        if queue.is_full() {
            drop(queue);
            // Hands over what is queued; an error shows again when the caller submits.
            let _submitted = self.submit();
            queue = self.ring.submission();
        }
        // SAFETY: the file and the buffer of the entry live until its answer is reaped: `write`
        // does not return before, `syncing` holds the files, `wake` lives as long as the ring. A
        // ring that failed is dropped with its unsubmitted entries.
        let pushed = unsafe { queue.push(&entry) };
        drop(queue);
        self.broken |= pushed.is_err();
    }

    /// Hands the queued entries to the kernel.
    fn submit(&mut self) -> io::Result<()> {
        loop {
            if self.broken {
                return Err(io::Error::other("the io_uring failed"));
            }
            match self.ring.submit() {
                Ok(_) if self.ring.submission().is_empty() => return Ok(()),
                Ok(_) => {}
                Err(error) if is_passing(&error) => self.reap(),
                Err(error) => {
                    self.broken = true;
                    return Err(error);
                }
            }
        }
    }

    /// Waits for the answer of the one running write.
    fn wait_written(&mut self) -> io::Result<usize> {
        self.submit()?;
        loop {
            self.reap();
            match self.written.take() {
                Some(code @ ..0) => {
                    self.forget_sync()?;
                    return Err(io::Error::from_raw_os_error(-code));
                }
                Some(n) => return Ok(n as usize),
                None => self.wait(),
            }
        }
    }

    /// Waits until a cancelled sync has answered, and forgets it.
    fn forget_sync(&mut self) -> io::Result<()> {
        while self.answers < self.syncing.len() {
            self.submit()?;
            self.wait();
            self.reap();
        }
        self.syncing.clear();
        (self.answers, self.failure) = (0, None);
        Ok(())
    }

    /// Waits for any answer. A failing wait is only a shorter one: the loop around asks again.
    fn wait(&mut self) {
        let _any = self.ring.submit_and_wait(1);
    }

    fn reap(&mut self) {
        for answer in self.ring.completion() {
            match answer.user_data() {
                WRITE => self.written = Some(answer.result()),
                WAKE => self.watching = false,
                _ => {
                    self.answers += 1;
                    if answer.result() < 0 {
                        self.failure.get_or_insert(-answer.result());
                    }
                }
            }
        }
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("syncing", &self.syncing.len()).finish_non_exhaustive()
    }
}

fn fd(file: &LogFile) -> types::Fd {
    types::Fd(file.file.as_raw_fd())
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY))
}

/// One write, its syncs, one poll; a log rotates through few files between two syncs.
const ENTRIES: u32 = 16;

/// The kernel writes at most 2 GiB at a time.
const WRITE_BYTES_MAX: usize = 1 << 30;

const LINK: squeue::Flags = squeue::Flags::IO_LINK;
const POLLIN: u32 = libc::POLLIN as u32;

const WRITE: u64 = 1;
const SYNC: u64 = 2;
const WAKE: u64 = 3;

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::io::{Read as _, Write as _};
    use std::path::Path;

    use super::*;

    fn ring() -> Ring {
        Ring::probe(&Wake::polled().expect("an eventfd")).expect("the tests' kernel has io_uring")
    }

    fn log_file(file: File) -> Arc<LogFile> {
        Arc::new(LogFile { file, path: Path::new("test").to_path_buf() })
    }

    fn wait_synced(ring: &mut Ring) -> io::Result<()> {
        loop {
            if let Some(synced) = ring.poll() {
                return synced;
            }
            ring.park(None);
        }
    }

    #[test]
    fn a_write_and_its_sync_go_in_one_call() {
        let made = tempfile::tempfile().expect("a file");
        let file = log_file(made.try_clone().expect("a descriptor"));
        let mut ring = ring();
        ring.write(&file, 3, b"hello", &[Arc::clone(&file)]).expect("written");
        wait_synced(&mut ring).expect("synced");
        ring.write(&file, 8, b", log", &[]).expect("written");
        assert!(ring.poll().is_none(), "no sync was asked for");
        ring.sync(vec![Arc::clone(&file), Arc::clone(&file)]).expect("asked");
        wait_synced(&mut ring).expect("both synced");
        let mut found = [0; 13];
        std::os::unix::fs::FileExt::read_exact_at(&made, &mut found, 0).expect("readable");
        assert_eq!(&found, b"\0\0\0hello, log");
    }

    #[test]
    fn a_failed_write_cancels_its_sync_and_leaves_the_ring_usable() {
        let good = log_file(tempfile::tempfile().expect("a file"));
        let full = OpenOptions::new().write(true).open("/dev/full").expect("a device");
        let full = log_file(full);
        let mut ring = ring();
        let refused = ring.write(&full, 0, b"x", &[Arc::clone(&good)]).expect_err("full");
        assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
        assert!(ring.poll().is_none(), "the cancelled sync is forgotten");
        ring.write(&good, 0, b"x", &[Arc::clone(&good)]).expect("written");
        wait_synced(&mut ring).expect("synced");
        assert!(!ring.is_broken());
    }

    #[test]
    fn no_file_is_synced_before_the_write_however_many_there_are() {
        for files in [16, 40, 100] {
            let mut ring = ring();
            // A write that takes its time: the pipe is full until somebody reads.
            let (reader, writer) = std::io::pipe().expect("a pipe");
            let full = rustix::pipe::fcntl_getpipe_size(&writer).expect("its size");
            (&writer).write_all(&vec![0; full]).expect("as much fits");
            let pipe = log_file(File::from(std::os::fd::OwnedFd::from(writer)));
            let made = || log_file(tempfile::tempfile().expect("a file"));
            let sync: Vec<_> = (0..files).map(|_| made()).collect();
            let draining = std::thread::spawn(move || {
                // As long as the syncs would take, twice.
                let file = tempfile::tempfile().expect("a file");
                for _ in 0..2 * files {
                    file.sync_data().expect("synced");
                }
                (&reader).read_exact(&mut vec![0; full]).expect("it was written");
                reader
            });
            ring.write(&pipe, 0, b"late", &sync).expect("written");
            assert_eq!(ring.answers, 0, "a sync of {files} ended before the write");
            wait_synced(&mut ring).expect("synced");
            draining.join().expect("no panic");
        }
    }

    #[test]
    fn a_failed_sync_is_told() {
        let full = OpenOptions::new().write(true).open("/dev/full").expect("a device");
        let mut ring = ring();
        ring.sync(vec![log_file(full)]).expect("asked");
        wait_synced(&mut ring).expect_err("a device cannot be synced");
    }
}
