//! Copies of followed files that a rotation compressed: what was not read before is unpacked into a
//! file without a name, and read there like any other copy.

use std::cmp::Reverse;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::{Files, Identity, Look, Position, SEPARATORS};
use crate::intake::position::Print;

/// How a copy is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Gzip,
    Zstd,
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
    /// How the name of a file says that it is compressed; none where we cannot unpack it.
    pub(super) fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "gz" => Some(Self::Gzip),
            "zst" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The lines of a compressed file from its start.
    fn lines(self, mut file: &File) -> io::Result<Box<dyn Read + '_>> {
        file.rewind()?;
        Ok(match self {
            Self::Gzip => Box::new(flate2::read::MultiGzDecoder::new(BufReader::new(file))),
            Self::Zstd => Box::new(zstd::Decoder::new(file)?),
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
            true => Err(io::Error::other(format!("holds more than {BYTES_MAX} bytes"))),
            false => Ok(unpacked),
        }
    }
}

impl Files {
    /// The compressed copy that holds the place up to which a file was read, the newest of them.
    pub(super) fn packed_copy(&mut self, dir: &Path, position: &Position) -> Option<Unpacked> {
        // Without prints anything would pass for a copy.
        position.last?;
        let name = Path::new(&position.source).file_name()?.to_string_lossy().into_owned();
        let readable = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        let entries = fs::read_dir(readable).ok()?.flatten().take(super::FILES_MAX);
        let paths = entries.map(|entry| dir.join(entry.file_name()));
        let mut found: Vec<(i128, PathBuf, Packing, File)> = paths
            .filter_map(|path| {
                let packing = Packing::of(&path)?;
                let other = path.file_name()?.to_str()?;
                other.strip_prefix(name.as_str())?.strip_prefix(SEPARATORS)?;
                let file = File::open(&path).ok()?;
                let metadata = file.metadata().ok().filter(fs::Metadata::is_file)?;
                Some((Look::of(&metadata).modified_ns, path, packing, file))
            })
            .collect();
        found.sort_by_key(|(modified_ns, ..)| Reverse(*modified_ns));
        for (modified_ns, path, packing, file) in found {
            let begins = position.first.map_or(Ok(true), |first| packing.begins(&file, first));
            if !begins.unwrap_or(false) {
                continue;
            }
            let unpacked = packing.unpack(&file, self.positions.dir());
            let metadata = file.metadata();
            match (unpacked, metadata) {
                (Ok(file), Ok(metadata)) if super::holds(&file, position).unwrap_or(false) => {
                    let identity = Identity::of(&metadata);
                    return Some(Unpacked { path, identity, modified_ns, file });
                }
                (Ok(_), Ok(_)) => {}
                (Err(error), _) | (_, Err(error)) => self.tell(&path, &error),
            }
        }
        None
    }
}

/// A new file without a name.
fn nameless(dir: &Path) -> io::Result<File> {
    let path = dir.join("unpacked");
    // What a killed process left, or another input is about to take the name from.
    let _none = fs::remove_file(&path);
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    let _taken = fs::remove_file(&path);
    Ok(file)
}

/// Bytes of an unpacked copy at most: a log of that size was to be rotated before.
const BYTES_MAX: u64 = 16 << 30;

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::FileExt as _;

    use super::*;

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
