//! A small disk: filled to the last page, and made read-only.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::hint;

/// A file system of its own, small enough to be filled; it goes with the run.
pub(super) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Nothing where that is not allowed, which is said aloud.
    pub(super) fn mount(dir: &Path) -> Option<Self> {
        let size = format!("size={DISK_BYTES}");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "shrike-nemesis"])
            .arg(dir)
            .stderr(Stdio::null())
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(dir.to_path_buf()));
        }
        hint(format_args!(
            "no small disk can be mounted here (that takes root): none is filled or made read-only"
        ));
        None
    }

    /// Where it is mounted.
    pub(super) fn dir(&self) -> &Path {
        &self.0
    }

    /// Lets nothing be changed, or everything again; false where somebody has a file open for
    /// writing.
    pub(super) fn remount(&self, how: &str) -> bool {
        let remounted = Command::new("mount")
            .args(["-o", &format!("remount,{how}")])
            .arg(&self.0)
            .stderr(Stdio::null())
            .status();
        remounted.is_ok_and(|status| status.success())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What still looks at it keeps it until it ends.
        let _gone = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A file that takes all the space there is, until it is dropped.
pub(super) struct Ballast(PathBuf);

impl Ballast {
    pub(super) fn fill(dir: &Path) -> Self {
        let ballast = Self(dir.join("ballast"));
        if let Ok(mut file) = File::create(&ballast.0) {
            // Down to the last page: first in large steps, then in small ones.
            for bytes in [1 << 20, 4096] {
                let zeros = vec![0; bytes];
                while file.write_all(&zeros).is_ok() {}
            }
        }
        ballast
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.0);
    }
}

/// Log, state, receipts, and what is kept for a full disk.
const DISK_BYTES: u64 = 128 << 20;
