//! The seam to the disk: every call that changes the log goes through here, and whatever else has
//! to agree with it after a crash (cursors, letters, receipts).
//!
//! Tests put a recorder in front of [`Disk`] and replay what a power loss would have left.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;

/// How the log talks to the disk.
///
/// Reading is not part of it: reads change nothing, and go through mappings. Only whether bytes
/// have to be fetched first is.
pub trait LogIo: Send + Sync {
    /// Makes a new file of this length, its space allocated, for its owner only.
    ///
    /// # Errors
    /// As the system says; the file is gone again then.
    fn create(&self, path: &Path, bytes: u64) -> io::Result<LogFile>;

    /// Writes all bytes at a position.
    ///
    /// # Errors
    /// As the system says; some of the bytes may be written.
    fn write(&self, file: &LogFile, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes a file this long.
    ///
    /// # Errors
    /// As the system says.
    fn truncate(&self, file: &LogFile, bytes: u64) -> io::Result<()>;

    /// Makes what was written durable (`fdatasync`).
    ///
    /// # Errors
    /// As the system says. The state of the file's unsynced bytes is unknown from then on; trying
    /// again may report success for bytes that are lost.
    fn sync(&self, file: &LogFile) -> io::Result<()>;

    /// Gives a file another name, replacing what had it.
    ///
    /// # Errors
    /// As the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a name.
    ///
    /// # Errors
    /// As the system says.
    fn unlink(&self, path: &Path) -> io::Result<()>;

    /// Makes a directory's names durable.
    ///
    /// # Errors
    /// As the system says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Tells one running of the kernel from another; `None` where that is unknown.
    ///
    /// Within one running everything that was written is still there, synced or not.
    fn boot(&self) -> Option<[u8; 16]>;

    /// Whether io_uring may write these files past this seam.
    fn allows_ring(&self) -> bool;

    /// Whether what is read of a file has to be fetched first, though the kernel has it in memory.
    fn is_cold(&self, _path: &Path) -> bool {
        false
    }
}

/// An open file of the log.
#[derive(Debug)]
pub struct LogFile {
    /// The file.
    pub file: File,
    /// Its name when it was opened.
    pub path: PathBuf,
}

/// The real thing: plain system calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl LogIo for Disk {
    fn create(&self, path: &Path, bytes: u64) -> io::Result<LogFile> {
        let file =
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        match allocate(&file, bytes) {
            Ok(()) => Ok(LogFile { file, path: path.to_path_buf() }),
            Err(error) => {
                // The name must not stay: a segment's existence reserves its offsets.
                std::fs::remove_file(path)?;
                Err(error)
            }
        }
    }

    fn write(&self, file: &LogFile, at: u64, bytes: &[u8]) -> io::Result<()> {
        file.file.write_all_at(bytes, at)
    }

    fn truncate(&self, file: &LogFile, bytes: u64) -> io::Result<()> {
        file.file.set_len(bytes)
    }

    fn sync(&self, file: &LogFile) -> io::Result<()> {
        Ok(rustix::fs::fdatasync(&file.file)?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn boot(&self) -> Option<[u8; 16]> {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
        Some(u128::from_str_radix(&digits, 16).ok()?.to_le_bytes())
    }

    fn allows_ring(&self) -> bool {
        true
    }
}

impl LogFile {
    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// As the system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Self { file, path: path.to_path_buf() })
    }

    /// The same for reading only.
    pub(crate) fn look(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::open(path)?, path: path.to_path_buf() })
    }
}

/// Reserves the file's blocks, so that writing into it cannot run out of space.
fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) => Ok(()),
        // File systems without it (some network and copying ones): write the zeros.
        Err(rustix::io::Errno::OPNOTSUPP) => {
            let zeros = vec![0; 1 << 20];
            let mut at = 0;
            while at < bytes {
                let n = (bytes - at).min(zeros.len() as u64);
                file.write_all_at(&zeros[..usize::try_from(n).expect("at most 1 MiB")], at)?;
                at += n;
            }
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
