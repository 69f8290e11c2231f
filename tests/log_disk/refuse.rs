//! A disk that refuses what a test names, as often as the test says.

#[path = "../support/disk.rs"]
mod disk;

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use disk::as_the_disk;
use shrike::log::{Disk, LogFile, LogIo};

/// What is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Create,
    Write,
    Sync,
}

/// The real disk, but for the calls that were named.
#[derive(Default)]
pub(crate) struct Refusing {
    next: Mutex<VecDeque<(Call, i32)>>,
    refused: Condvar,
    creating: Mutex<()>,
}

impl Refusing {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Refuses the next such call on a segment with this error number.
    pub(crate) fn refuse(&self, call: Call, errno: i32) {
        self.next.lock().expect("no panic").push_back((call, errno));
    }

    /// Waits until everything that was named has been refused.
    #[allow(dead_code, reason = "each test crate that shares this file uses a part of it")]
    pub(crate) fn wait(&self) {
        let next = self.next.lock().expect("no panic");
        drop(self.refused.wait_while(next, |next| !next.is_empty()).expect("no panic"));
    }

    /// Lets the next such call on a segment through, before what is named later.
    #[allow(dead_code, reason = "each test crate that shares this file uses a part of it")]
    pub(crate) fn allow(&self, call: Call) {
        self.refuse(call, 0);
    }

    /// While this is held no segment is made: the disk takes its time.
    #[allow(dead_code, reason = "each test crate that shares this file uses a part of it")]
    pub(crate) fn hold(&self) -> MutexGuard<'_, ()> {
        self.creating.lock().expect("no panic")
    }

    fn check(&self, call: Call, path: &Path) -> io::Result<()> {
        if path.extension().is_none_or(|extension| extension != "log") {
            return Ok(());
        }
        let mut next = self.next.lock().expect("no panic");
        match next.front() {
            Some((refused, errno)) if *refused == call => {
                let error = io::Error::from_raw_os_error(*errno);
                next.pop_front();
                self.refused.notify_all();
                if error.raw_os_error() == Some(0) { Ok(()) } else { Err(error) }
            }
            _ => Ok(()),
        }
    }
}

impl LogIo for Refusing {
    as_the_disk!(truncate, rename, unlink, sync_dir, boot, no_ring);

    fn create(&self, path: &Path, bytes: u64) -> io::Result<LogFile> {
        drop(self.creating.lock().expect("no panic"));
        self.check(Call::Create, path)?;
        Disk.create(path, bytes)
    }

    fn write(&self, file: &LogFile, at: u64, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.check(Call::Write, &file.path) {
            // As a full disk does: a part is written.
            Disk.write(file, at, &bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        Disk.write(file, at, bytes)
    }

    fn sync(&self, file: &LogFile) -> io::Result<()> {
        self.check(Call::Sync, &file.path)?;
        Disk.sync(file)
    }
}
