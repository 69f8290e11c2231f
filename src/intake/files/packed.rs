//! Copies of followed files that a rotation compressed: what was not read before is unpacked into a
//! file without a name, and read there like any other copy.

use std::cmp::Reverse;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::{Files, Identity, Look, Position, SEPARATORS};
use crate::intake::position::Print;

/// How a copy is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Gzip,
    Zstd,
    /// Nothing here unpacks it.
    Other,
}

/// A copy that was unpacked.
#[derive(Debug)]
pub(super) struct Unpacked {
    pub(super) path: PathBuf,
    /// Of the compressed file, whose times are those of what it was made from.
    pub(super) identity: Identity,
    pub(super) modified_ns: i128,
    /// The lines, in a file that is gone when nobody reads it.
    pub(super) file: File,
}

impl Packing {
    /// How the name of a file says that it is compressed.
    pub(super) fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "gz" => Some(Self::Gzip),
            "zst" => Some(Self::Zstd),
            "xz" | "bz2" | "lz4" => Some(Self::Other),
            _ => None,
        }
    }

    /// The lines of a compressed file from its start.
    fn lines(self, mut file: &File) -> io::Result<Box<dyn Read + '_>> {
        file.rewind()?;
        Ok(match self {
            Self::Gzip => {
                Box::new(Decoded(flate2::read::MultiGzDecoder::new(BufReader::new(file))))
            }
            Self::Zstd => Box::new(Decoded(zstd::Decoder::new(file)?)),
            Self::Other => return Err(io::ErrorKind::Unsupported.into()),
        })
    }

    /// Whether a file holds a line with this print at its start.
    ///
    /// # Errors
    /// Also while it is still being written.
    pub(super) fn begins(self, file: &File, first: Print) -> io::Result<bool> {
        let mut start = Vec::new();
        self.lines(file)?.take(first.bytes).read_to_end(&mut start)?;
        Ok(Print::of(&start) == first)
    }

    /// Unpacks a file into one without a name in this directory.
    ///
    /// # Errors
    /// When it is damaged, still being written or too large, or the disk takes no more.
    pub(super) fn unpack(self, file: &File, dir: &Path) -> io::Result<File> {
        let mut unpacked = nameless(dir)?;
        let copied = io::copy(&mut self.lines(file)?.take(BYTES_MAX + 1), &mut unpacked)?;
        match copied > BYTES_MAX {
            true => Err(damaged(format!("holds more than {BYTES_MAX} bytes"))),
            false => Ok(unpacked),
        }
    }
}

/// What a decoder gives, which tells what is damaged from what the system refuses.
struct Decoded<R>(R);

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::Interrupted => error,
            _ if error.raw_os_error().is_some() => error,
            _ => damaged(error),
        })
    }
}

fn damaged(problem: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

/// Whether the system refused for want of something that it may have again: descriptors, memory,
/// room.
fn may_pass(error: &io::Error) -> bool {
    use io::ErrorKind::{OutOfMemory, QuotaExceeded, StorageFull};
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    [OutOfMemory, QuotaExceeded, StorageFull].contains(&error.kind())
        || code.is_some_and(|code| [Errno::MFILE, Errno::NFILE].contains(&code))
}

impl Files {
    /// The compressed copy that holds the place up to which a file was read, the newest of them.
    ///
    /// # Errors
    /// When the system has no room or descriptor to look at one now.
    pub(super) fn packed_copy(
        &mut self,
        dir: &Path,
        position: &Position,
    ) -> io::Result<Option<Unpacked>> {
        let name = Path::new(&position.source).file_name().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        let readable = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        let entries = match fs::read_dir(readable) {
            Ok(entries) => entries.flatten().take(super::FILES_MAX),
            Err(error) if may_pass(&error) => return Err(error),
            Err(_) => return Ok(None),
        };
        let paths = entries.map(|entry| dir.join(entry.file_name()));
        let mut found: Vec<(i128, PathBuf, Packing)> = paths
            .filter_map(|path| {
                let packing = Packing::of(&path).filter(|it| *it != Packing::Other)?;
                let other = path.file_name()?.to_str()?;
                other.strip_prefix(name.as_str())?.strip_prefix(SEPARATORS)?;
                let metadata = fs::metadata(&path).ok().filter(fs::Metadata::is_file)?;
                Some((Look::of(&metadata).modified_ns, path, packing))
            })
            .collect();
        found.sort_by_key(|(modified_ns, ..)| Reverse(*modified_ns));
        for (modified_ns, path, packing) in found {
            match self.unpacked_copy(&path, packing, position) {
                Ok(Some((identity, file))) => {
                    return Ok(Some(Unpacked { path, identity, modified_ns, file }));
                }
                Ok(None) => {}
                Err(error) if may_pass(&error) => return Err(error),
                Err(error) => self.tell(&path, &error),
            }
        }
        Ok(None)
    }

    /// What a compressed file holds, if that is the place up to which a file was read.
    fn unpacked_copy(
        &self,
        path: &Path,
        packing: Packing,
        position: &Position,
    ) -> io::Result<Option<(Identity, File)>> {
        let file = File::open(path)?;
        let identity = Identity::of(&file.metadata()?);
        if let Some(first) = position.first {
            match packing.begins(&file, first) {
                Ok(true) => {}
                Err(error) if may_pass(&error) => return Err(error),
                Ok(false) | Err(_) => return Ok(None),
            }
        }
        let unpacked = packing.unpack(&file, self.positions.dir())?;
        let is_it = super::holds(&unpacked, position).unwrap_or(false);
        Ok(is_it.then_some((identity, unpacked)))
    }
}

/// A new file without a name.
fn nameless(dir: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    for n in 0..NAMES_MAX {
        let path = dir.join(format!("unpacked.{n}"));
        match options.open(&path) {
            Ok(file) => {
                // Whoever has the file has its name, until it is gone.
                fs::remove_file(&path)?;
                return Ok(file);
            }
            // Of another input at this moment, or of a process that was killed.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    let problem = format!("{NAMES_MAX} files `unpacked.*` are in {}; remove them", dir.display());
    Err(io::Error::new(io::ErrorKind::StorageFull, problem))
}

/// Names that are tried: a file has one for a moment only.
const NAMES_MAX: u32 = 1024;
/// Bytes of an unpacked copy at most: a log of that size was to be rotated before.
const BYTES_MAX: u64 = 16 << 30;

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::FileExt as _;

    use super::*;

    /// Inputs read side by side, also those of processes that share a directory.
    #[test]
    fn whoever_unpacks_at_the_same_time_has_a_file_of_its_own() {
        let dir = tempfile::tempdir().expect("a directory");
        // What a killed process left.
        fs::write(dir.path().join("unpacked"), "left").expect("it is ours");
        let each = |by: u8| {
            for round in 0..5_000 {
                let mut file = nameless(dir.path()).unwrap_or_else(|error| {
                    panic!("input {by}, round {round}: {error}");
                });
                file.write_all(&[by]).expect("it is ours");
                let mut said = [0; 2];
                assert_eq!(file.read_at(&mut said, 0).expect("it is ours"), 1);
                assert_eq!(said[0], by);
            }
        };
        std::thread::scope(|scope| (0..8).for_each(|by| drop(scope.spawn(move || each(by)))));
        assert_eq!(fs::read_dir(dir.path()).expect("it is ours").count(), 1);
    }

    #[test]
    fn what_was_compressed_in_parts_is_whole() {
        let dir = tempfile::tempdir().expect("a directory");
        let gzip = |text: &[u8]| {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            out.write_all(text).expect("memory");
            out.finish().expect("memory")
        };
        let zstd = |text: &[u8]| zstd::encode_all(text, 1).expect("memory");
        let cases = [
            (Packing::Gzip, gzip(b"one\n"), gzip(b"two\n")),
            (Packing::Zstd, zstd(b"one\n"), zstd(b"two\n")),
        ];
        for (packing, one, two) in cases {
            let path = dir.path().join("packed");
            fs::write(&path, [one, two].concat()).expect("it is ours");
            let file = File::open(&path).expect("it is there");
            assert!(packing.begins(&file, Print::of(b"one\n")).expect("it is whole"));
            assert!(!packing.begins(&file, Print::of(b"two\n")).expect("it is whole"));
            let unpacked = packing.unpack(&file, dir.path()).expect("it is whole");
            let mut text = [0; 9];
            assert_eq!(unpacked.read_at(&mut text, 0).expect("it is ours"), 8);
            assert_eq!(&text[..8], b"one\ntwo\n");
            let half = fs::read(&path).expect("it is there");
            fs::write(&path, &half[..half.len() - 3]).expect("it is ours");
            packing.unpack(&file, dir.path()).expect_err("it is still being written");
        }
        assert!(!dir.path().join("unpacked").exists());
    }
}
