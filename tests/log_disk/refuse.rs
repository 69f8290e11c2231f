//! A disk that refuses what a test names, as often as the test says.

#[path = "../support/disk.rs"]
mod disk;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use disk::as_the_disk;
use shrike::log::{Disk, LogFile, LogIo};

/// What is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Create,
    Write,
    Sync,
    Unlink,
}

/// Where pieces of a file lie, and how long they are.
type Pieces = Vec<(u64, usize)>;

/// The real disk, but for the calls that were named.
#[derive(Default)]
pub(crate) struct Refusing {
    next: Mutex<VecDeque<(Call, i32)>>,
    refused: Condvar,
    creating: Mutex<()>,
    /// A file that takes no more bytes.
    bad: Mutex<Option<PathBuf>>,
    /// What was written to each file since it was synced, where a refused sync loses that.
    unsynced: Option<Mutex<BTreeMap<PathBuf, Pieces>>>,
}

impl Refusing {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A disk that has lost what it would not sync, and a kernel that has dropped it from memory.
    #[allow(dead_code, reason = "each test crate that shares this file uses a part of it")]
    pub(crate) fn losing() -> Arc<Self> {
        Arc::new(Self { unsynced: Some(Mutex::default()), ..Self::default() })
    }

    /// Refuses the next such call on a segment with this error number.
    pub(crate) fn refuse(&self, call: Call, errno: i32) {
        self.next.lock().expect("no panic").push_back((call, errno));
    }

    /// How much of what was named is still to be refused.
    #[allow(dead_code, reason = "each test crate that shares this file uses a part of it")]
    pub(crate) fn left(&self) -> usize {
        self.next.lock().expect("no panic").len()
    }

    /// Writes nothing more to this file, once what was named is refused.
    #[allow(dead_code, reason = "each test crate that shares this file uses a part of it")]
    pub(crate) fn spoil(&self, path: &Path) {
        *self.bad.lock().expect("no panic") = Some(path.to_path_buf());
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

    fn note(&self, path: &Path, change: impl FnOnce(&mut Pieces)) {
        if let Some(unsynced) = &self.unsynced {
            change(unsynced.lock().expect("no panic").entry(path.to_path_buf()).or_default());
        }
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
    as_the_disk!(truncate, rename, sync_dir, boot, no_ring);

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.check(Call::Unlink, path)?;
        Disk.unlink(path)
    }

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
        if self.left() == 0 && self.bad.lock().expect("no panic").as_ref() == Some(&file.path) {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        self.note(&file.path, |written| written.push((at, bytes.len())));
        Disk.write(file, at, bytes)
    }

    fn sync(&self, file: &LogFile) -> io::Result<()> {
        if let Err(error) = self.check(Call::Sync, &file.path) {
            self.note(&file.path, |written| {
                for (at, len) in written.drain(..) {
                    Disk.write(file, at, &vec![0; len]).expect("the disk is well");
                }
            });
            return Err(error);
        }
        self.note(&file.path, Vec::clear);
        Disk.sync(file)
    }
}
