//! What the kernel says of folders with more files than can be open: a file that grows or appears
//! there is read at once, and not only when all paths are looked at.
//!
//! It is a hint. Some file systems say nothing, and a queue may overflow: the looks go on as if
//! nobody had said anything.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init};

/// Folders of which the kernel tells.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// None until there is a folder, or where the kernel has no room for more of them.
    queue: Option<OwnedFd>,
    folders: BTreeMap<i32, PathBuf>,
    /// Folders that were added, or could not be.
    asked: BTreeSet<PathBuf>,
}

impl Heard {
    /// Listens to these folders too.
    pub(super) fn add<'a>(&mut self, folders: impl Iterator<Item = &'a PathBuf>) {
        for folder in folders.take(FOLDERS_MAX) {
            if self.asked.len() >= FOLDERS_MAX || !self.asked.insert(folder.clone()) {
                continue;
            }
            if self.queue.is_none() {
                self.queue = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok();
            }
            let Some(queue) = &self.queue else { return };
            let readable = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            let what = WatchFlags::CREATE
                | WatchFlags::MODIFY
                | WatchFlags::MOVED_TO
                | WatchFlags::ONLYDIR;
            if let Ok(number) = add_watch(queue, readable, what) {
                self.folders.insert(number, folder.clone());
            }
        }
    }

    /// The paths of which something was said since the last call; not more than can be looked at
    /// meanwhile.
    pub(super) fn take(&mut self) -> BTreeSet<PathBuf> {
        let mut paths = BTreeSet::new();
        let Some(queue) = &self.queue else { return paths };
        let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
        let mut said = Reader::new(queue, &mut buffer);
        for _ in 0..EVENTS_MAX {
            // Nothing more, or nothing that could be read: the looks find it.
            let Ok(event) = said.next() else { break };
            let folder = self.folders.get(&event.wd());
            if let (Some(folder), Some(name)) = (folder, event.file_name()) {
                paths.insert(folder.join(OsStr::from_bytes(name.to_bytes())));
            }
        }
        paths
    }
}

/// Folders at most; the kernel gives a user some thousands, which others need too.
const FOLDERS_MAX: usize = 1024;
/// Bytes of what is said that are read at once.
const BUFFER_BYTES: usize = 16 << 10;
/// What is heard at once at most; the rest waits in the kernel.
const EVENTS_MAX: usize = 4096;
