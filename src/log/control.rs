//! The control page: the published offsets, shared with every process that reads the log.
//!
//! The file is made whole, synced and renamed into place; after that it is changed only through its
//! mapping, by single atomic stores. It never grows, so publishing an offset cannot fault on a full
//! disk, and after a power loss each number is one that was once stored.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use rustix::thread::futex;

use crate::event::Offset;

use super::error::LogError;
use super::io::{LogFile, LogIo};
use super::segment::SharedPage;

/// The mapped page.
#[derive(Debug)]
pub(crate) struct Control {
    page: SharedPage,
    file: LogFile,
}

/// What the page said before this opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Readers had been shown everything below.
    pub(crate) written: Offset,
    /// Everything below had been synced.
    pub(crate) durable: Offset,
    /// Retention had taken everything below.
    pub(crate) oldest: Offset,
    /// No offset at or above had ever been shown.
    pub(crate) reserved: Offset,
    /// Where the log was closed in order; `None` while it was open.
    pub(crate) closed: Option<Offset>,
    /// The running of the kernel that wrote it.
    pub(crate) boot: [u8; 16],
}

impl Control {
    /// Opens the page in `dir`; `None` when it is missing or cannot be trusted.
    pub(crate) fn open(dir: &Path) -> Result<Option<Self>, LogError> {
        Self::map(dir, LogFile::open, SharedPage::new)
    }

    /// The same for a reader: on a disk that cannot be written nobody changes the page, and what a
    /// reader would write into it is of use to himself only.
    pub(crate) fn look(dir: &Path) -> Result<Option<Self>, LogError> {
        match Self::open(dir) {
            Err(LogError::Io { source, .. }) if source.kind() == ErrorKind::ReadOnlyFilesystem => {
                Self::map(dir, LogFile::look, SharedPage::copy)
            }
            opened => opened,
        }
    }

    fn map(
        dir: &Path,
        open: impl FnOnce(&Path) -> io::Result<LogFile>,
        map: impl FnOnce(&File, usize) -> io::Result<SharedPage>,
    ) -> Result<Option<Self>, LogError> {
        let path = path(dir);
        let file = match open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(LogError::io("open", &path)(error)),
        };
        let page = match map(&file.file, PAGE_BYTES) {
            Ok(page) => page,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(LogError::io("map", &path)(error)),
        };
        let control = Self { page, file };
        if control.load(MAGIC_AT) != MAGIC {
            return Ok(None);
        }
        let version = control.page.u32(VERSION_AT).load(Ordering::Acquire);
        if version > VERSION {
            return Err(LogError::Version { path, found: version, known: VERSION });
        }
        let found = control.found();
        let ordered = found.oldest <= found.durable
            && found.durable <= found.written
            && found.written <= found.reserved;
        Ok(ordered.then_some(control))
    }

    /// Makes a new page that says `found`, durably, in place of any old one.
    pub(crate) fn create(dir: &Path, found: Found, io: &dyn LogIo) -> Result<Self, LogError> {
        let (path, draft) = (path(dir), dir.join(DRAFT));
        match io.unlink(&draft) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(LogError::io("remove", &draft)(error));
            }
            _ => {}
        }
        let mut bytes = vec![0; PAGE_BYTES];
        bytes[MAGIC_AT..MAGIC_AT + 8].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[VERSION_AT..VERSION_AT + 4].copy_from_slice(&VERSION.to_le_bytes());
        for (at, offset) in [
            (WRITTEN_AT, found.written),
            (DURABLE_AT, found.durable),
            (OLDEST_AT, found.oldest),
            (RESERVED_AT, found.reserved),
            (CLOSED_AT, found.closed.map_or(OPEN, |offset| offset)),
        ] {
            bytes[at..at + 8].copy_from_slice(&offset.bytes().to_le_bytes());
        }
        bytes[BOOT_AT..BOOT_AT + 16].copy_from_slice(&found.boot);
        let file = io.create(&draft, PAGE_BYTES as u64).map_err(LogError::io("create", &draft))?;
        io.write(&file, 0, &bytes).map_err(LogError::io("write", &draft))?;
        io.sync(&file).map_err(LogError::io("sync", &draft))?;
        io.rename(&draft, &path).map_err(LogError::io("rename", &draft))?;
        io.sync_dir(dir).map_err(LogError::io("sync", dir))?;
        let page = SharedPage::new(&file.file, PAGE_BYTES).map_err(LogError::io("map", &path))?;
        Ok(Self { page, file: LogFile { path, ..file } })
    }

    /// What the page says.
    pub(crate) fn found(&self) -> Found {
        let closed = Offset::new(self.load(CLOSED_AT));
        let mut boot = [0; 16];
        boot[..8].copy_from_slice(&self.load(BOOT_AT).to_le_bytes());
        boot[8..].copy_from_slice(&self.load(BOOT_AT + 8).to_le_bytes());
        Found {
            written: self.written(),
            durable: self.durable(),
            oldest: self.oldest(),
            reserved: Offset::new(self.load(RESERVED_AT)),
            closed: (closed != OPEN).then_some(closed),
            boot,
        }
    }

    /// Readers may see everything below.
    #[inline]
    pub(crate) fn written(&self) -> Offset {
        Offset::new(self.load(WRITTEN_AT))
    }

    /// Everything below survives a power loss.
    #[inline]
    pub(crate) fn durable(&self) -> Offset {
        Offset::new(self.load(DURABLE_AT))
    }

    /// Everything below is gone.
    #[inline]
    pub(crate) fn oldest(&self) -> Offset {
        Offset::new(self.load(OLDEST_AT))
    }

    /// Offsets below may be shown.
    pub(crate) fn reserved(&self) -> Offset {
        Offset::new(self.load(RESERVED_AT))
    }

    /// Shows readers everything below `offset`; wakes those of other processes that asked.
    pub(crate) fn publish_written(&self, offset: Offset) {
        debug_assert!(offset <= self.reserved(), "shown before it was reserved");
        debug_assert!(offset >= self.written(), "written went back");
        self.number(WRITTEN_AT).store(offset.bytes(), Ordering::SeqCst);
        self.signal();
    }

    /// Tells that everything below `offset` is durable.
    pub(crate) fn publish_durable(&self, offset: Offset) {
        debug_assert!(offset <= self.written(), "durable before it was written");
        self.number(DURABLE_AT).store(offset.bytes(), Ordering::SeqCst);
        self.signal();
    }

    /// Tells that everything below `offset` is gone.
    pub(crate) fn publish_oldest(&self, offset: Offset) {
        self.number(OLDEST_AT).store(offset.bytes(), Ordering::SeqCst);
    }

    /// Promises durably that no offset at or above `offset` is shown before the next promise.
    pub(crate) fn reserve(&self, offset: Offset, io: &dyn LogIo) -> Result<(), LogError> {
        self.number(RESERVED_AT).store(offset.bytes(), Ordering::SeqCst);
        self.sync(io)
    }

    /// Notes durably that the log is open in this running of the kernel.
    pub(crate) fn begin(&self, found: Found, io: &dyn LogIo) -> Result<(), LogError> {
        self.number(RESERVED_AT).store(found.reserved.bytes(), Ordering::SeqCst);
        self.number(WRITTEN_AT).store(found.written.bytes(), Ordering::SeqCst);
        self.number(DURABLE_AT).store(found.durable.bytes(), Ordering::SeqCst);
        self.number(OLDEST_AT).store(found.oldest.bytes(), Ordering::SeqCst);
        self.number(CLOSED_AT).store(OPEN.bytes(), Ordering::SeqCst);
        let (low, high) = found.boot.split_at(8);
        for (at, half) in [(BOOT_AT, low), (BOOT_AT + 8, high)] {
            self.number(at).store(super::frame::u64_at(half, 0), Ordering::SeqCst);
        }
        self.sync(io)
    }

    /// Notes durably that the log was closed in order, with nothing at or above `offset`.
    pub(crate) fn close(&self, offset: Offset, io: &dyn LogIo) -> Result<(), LogError> {
        self.number(CLOSED_AT).store(offset.bytes(), Ordering::SeqCst);
        self.sync(io)
    }

    /// Waits until the writer publishes something after `seen` was loaded, for other processes.
    pub(crate) fn wait(&self, seen: u32) {
        self.armed().store(1, Ordering::SeqCst);
        // Interrupted or changed meanwhile: the caller looks at the offsets in any case.
        let _changed = futex::wait(self.sequence(), futex::Flags::empty(), seen, None);
    }

    /// The number that changes with each wake-up; load it before looking at the offsets.
    pub(crate) fn seen(&self) -> u32 {
        self.armed().store(1, Ordering::SeqCst);
        self.sequence().load(Ordering::SeqCst)
    }

    /// Wakes everybody who waits on the page, in any process.
    pub(crate) fn wake_all(&self) {
        self.sequence().fetch_add(1, Ordering::SeqCst);
        let _woken = futex::wake(self.sequence(), futex::Flags::empty(), i32::MAX as u32);
    }

    /// The file behind the page.
    pub(crate) fn path(&self) -> &Path {
        &self.file.path
    }

    /// Costs one load while nobody waits; a waiter that died costs one call, once.
    #[inline]
    fn signal(&self) {
        if self.armed().load(Ordering::SeqCst) != 0 {
            self.armed().store(0, Ordering::SeqCst);
            self.wake_all();
        }
    }

    fn sync(&self, io: &dyn LogIo) -> Result<(), LogError> {
        io.sync(&self.file).map_err(LogError::io("sync", self.path()))
    }

    #[inline]
    fn load(&self, at: usize) -> u64 {
        self.number(at).load(Ordering::SeqCst)
    }

    #[inline]
    fn number(&self, at: usize) -> &AtomicU64 {
        self.page.u64(at)
    }

    fn sequence(&self) -> &AtomicU32 {
        self.page.u32(SEQUENCE_AT)
    }

    fn armed(&self) -> &AtomicU32 {
        self.page.u32(ARMED_AT)
    }
}

/// The name of the control page.
pub(crate) const NAME: &str = "control";

fn path(dir: &Path) -> PathBuf {
    dir.join(NAME)
}

const DRAFT: &str = "control.new";
const PAGE_BYTES: usize = 4096;
const MAGIC: u64 = u64::from_le_bytes(*b"shrikect");
const VERSION: u32 = 1;

/// The `closed` of a log that is open.
const OPEN: Offset = Offset::new(u64::MAX);

// Stored little-endian by being native: the page is shared by processes of one host only.
const _: () = assert!(cfg!(target_endian = "little"), "the control page is little-endian");

const MAGIC_AT: usize = 0;
const VERSION_AT: usize = 8;
const WRITTEN_AT: usize = 16;
const DURABLE_AT: usize = 24;
const OLDEST_AT: usize = 32;
const RESERVED_AT: usize = 40;
const CLOSED_AT: usize = 48;
const BOOT_AT: usize = 56;
const SEQUENCE_AT: usize = 72;
const ARMED_AT: usize = 76;
