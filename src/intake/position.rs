//! Where reading of a source goes on: positions lie in the log, behind the records that they cover.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::event::Offset;
use crate::log::{Log, LogError, Reader};

/// Where reading of one source goes on (`inputs.md` 5.2, rule 2).
///
/// What is no file has neither device nor inode, and is known by its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The path by which the file was found, or the name of what is no file.
    #[serde(rename = "at")]
    pub source: String,
    /// The file's device.
    pub device: u64,
    /// The file itself: a path may come to mean another one.
    pub inode: u64,
    /// The first byte that was not taken.
    pub offset: u64,
    /// The last line that was taken; none where it was too long to be looked at as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Print>,
    /// The first line of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Print>,
    /// What came last from a source without places: hashes of ids, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recent: Vec<u64>,
    /// The file is finished: nothing more is read from it, and it is forgotten.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub finished: bool,
    /// The file was rotated, and its writer waited for in vain: what it held was read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ended: bool,
}

/// What tells a line from others: its length with its ending, and a hash of its last bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Print {
    /// Bytes that were hashed: the line with its ending, or the end of it.
    pub bytes: u64,
    /// The first half of their SHA-256.
    pub hash: u64,
}

/// The positions of all sources: in memory, in the log's notes, and now and then in a file.
#[derive(Debug)]
pub struct Positions {
    path: PathBuf,
    known: Mutex<BTreeMap<Key, Position>>,
    is_changed: AtomicBool,
    /// Notes from here on are not in the file.
    saved_to: AtomicU64,
    /// When the file was written before this process.
    saved_ns: Option<i128>,
    /// Held while the file is written: there is one draft.
    saving: Mutex<()>,
    /// Where records of each source begin whose position did not follow yet.
    begun: Mutex<BTreeMap<String, Offset>>,
}

/// Device and inode, since a path may come to mean another file; the name of what is no file.
type Key = (u64, u64, String);

/// The positions while one is appended: what is saved meanwhile would claim a note that it lacks.
#[derive(Debug)]
pub(super) struct Noting<'a> {
    known: MutexGuard<'a, BTreeMap<Key, Position>>,
    begun: &'a Mutex<BTreeMap<String, Offset>>,
    is_changed: &'a AtomicBool,
}

/// The file that repeats the positions.
#[derive(Serialize, Deserialize)]
struct Saved {
    v: u32,
    /// Notes from here on count.
    offset: u64,
    positions: Vec<Position>,
}

/// A note, as the log holds it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Note {
    At(Position),
    Begin { begin: String },
}

impl Print {
    /// The print of a line with its ending.
    #[must_use]
    pub fn of(line: &[u8]) -> Self {
        let end = &line[line.len().saturating_sub(PRINT_BYTES_MAX)..];
        let digest = Sha256::digest(end);
        let hash = digest.first_chunk().map_or(0, |half| u64::from_be_bytes(*half));
        Self { bytes: end.len() as u64, hash }
    }

    /// The print of the beginning of a file's first line.
    #[must_use]
    pub fn of_start(line: &[u8]) -> Self {
        Self::of(&line[..line.len().min(PRINT_BYTES_MAX)])
    }
}

impl Positions {
    /// The directory in which they are kept.
    pub(super) fn dir(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    /// Reads the file, if there is one, and the notes of the log since. Also tells from where on
    /// the log holds records whose position is missing, because a crash tore them apart.
    ///
    /// # Errors
    /// When the log cannot be read, or the file is of a newer version. One that cannot be read is
    /// told and left out.
    pub fn open(path: PathBuf, reader: &Reader) -> Result<(Self, Option<Offset>), LogError> {
        let saved_ns = fs::metadata(&path).ok().map(|it| modified_ns(&it));
        let saved = match read(&path) {
            Ok(saved) => saved,
            Err(newer @ LogError::Version { .. }) => return Err(newer),
            Err(error) => {
                tracing::warn!(%error, "cannot read the positions of inputs");
                None
            }
        };
        let saved = saved.unwrap_or(Saved { v: VERSION, offset: 0, positions: Vec::new() });
        let known = saved.positions.into_iter().map(|position| (key(&position), position));
        let mut known: BTreeMap<Key, Position> = known.collect();
        // A log that was begun anew has lower offsets than the one of which the file speaks.
        let from = if saved.offset > reader.written().bytes() { 0 } else { saved.offset };
        let mut begun = BTreeMap::new();
        reader.notes(Offset::new(from), |at, note| match serde_json::from_slice(note) {
            Ok(Note::Begin { begin }) => {
                begun.entry(begin).or_insert(at);
            }
            Ok(Note::At(position)) => {
                begun.remove(&position.source);
                store(&mut known, position);
            }
            Err(error) => tracing::warn!(%at, %error, "the log holds a note of another kind"),
        })?;
        let positions = Self {
            path,
            known: Mutex::new(known),
            is_changed: AtomicBool::new(false),
            saved_to: AtomicU64::new(from),
            saved_ns,
            saving: Mutex::default(),
            begun: Mutex::new(begun.clone()),
        };
        Ok((positions, begun.into_values().min()))
    }

    /// When the positions were saved last by an earlier process, nanoseconds since 1970.
    #[must_use]
    pub fn saved_ns(&self) -> Option<i128> {
        self.saved_ns
    }

    /// The position in this file; whether it is still the same file, its prints tell.
    #[must_use]
    pub fn find(&self, device: u64, inode: u64) -> Option<Position> {
        self.lock().get(&(device, inode, String::new())).cloned()
    }

    /// The position in a source of this name that is no file.
    #[must_use]
    pub fn named(&self, source: &str) -> Option<Position> {
        self.lock().get(&(0, 0, source.to_owned())).cloned()
    }

    /// The positions in files that were found at a path of this kind.
    #[must_use]
    pub fn of(&self, mut is_wanted: impl FnMut(&str) -> bool) -> Vec<Position> {
        let known = self.lock();
        known.values().filter(|position| is_wanted(&position.source)).cloned().collect()
    }

    /// Remembers a position that needs no note.
    pub fn set(&self, position: Position) {
        self.noting().set(position);
    }

    /// Holds the positions while a note is appended.
    pub(super) fn noting(&self) -> Noting<'_> {
        Noting { known: self.lock(), begun: &self.begun, is_changed: &self.is_changed }
    }

    /// Writes the file anew if anything changed, so that the log's older notes are not needed; also
    /// where the log has grown by much without any, so that the next start need not look for them.
    ///
    /// # Errors
    /// When the disk refuses; the notes are still in the log then.
    pub fn save(&self, log: &Log) -> Result<(), LogError> {
        let _one_at_a_time = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let behind = log.written().bytes().saturating_sub(self.saved_to.load(Ordering::Relaxed));
        if !self.is_changed.swap(false, Ordering::AcqRel) && behind < BEHIND_BYTES_MAX {
            return Ok(());
        }
        let saved = self.write(log);
        if saved.is_err() {
            self.is_changed.store(true, Ordering::Release);
        }
        saved
    }

    fn write(&self, log: &Log) -> Result<(), LogError> {
        // Nothing is noted meanwhile: those below are all in the copy.
        let known = self.lock();
        let written = log.written();
        // The next start has to see which records came without their position. Where that is long
        // ago it would not know them anyway.
        let begun = lock(&self.begun).values().min().copied().unwrap_or(written);
        let oldest = Offset::new(written.bytes().saturating_sub(TORN_BYTES_MAX));
        let offset = begun.max(oldest);
        let positions = known.values().cloned().collect();
        drop(known);
        // The file must not be ahead of what a power loss leaves of the log.
        log.flush()?;
        let saved = Saved { v: VERSION, offset: offset.bytes(), positions };
        let text = serde_json::to_vec(&saved).unwrap_or_default();
        replace(&self.path, &text).map_err(|source| LogError::Io {
            action: "write",
            path: self.path.clone(),
            source,
        })?;
        self.saved_to.store(written.bytes(), Ordering::Relaxed);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Position>> {
        lock(&self.known)
    }
}

impl Noting<'_> {
    /// Remembers that records of a source follow, whose position comes behind them.
    pub(super) fn begin(&self, source: &str, at: Offset) {
        lock(self.begun).entry(source.to_owned()).or_insert(at);
    }

    /// Remembers a position that the log has taken.
    pub(super) fn set(mut self, position: Position) {
        lock(self.begun).remove(&position.source);
        store(&mut self.known, position);
        self.is_changed.store(true, Ordering::Release);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// When a file was written last, nanoseconds since 1970.
pub(super) fn modified_ns(metadata: &fs::Metadata) -> i128 {
    i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec())
}

fn key(position: &Position) -> Key {
    let Position { device, inode, .. } = *position;
    let name = if (device, inode) == (0, 0) { position.source.clone() } else { String::new() };
    (device, inode, name)
}

fn store(known: &mut BTreeMap<Key, Position>, position: Position) {
    if position.finished {
        known.remove(&key(&position));
    } else {
        known.insert(key(&position), position);
    }
}

/// What the log is told before the records of a chunk.
pub(super) fn begin_note(source: &str) -> Vec<u8> {
    json!({ "begin": source }).to_string().into_bytes()
}

/// What the log is told behind them.
pub(super) fn position_note(position: &Position) -> Vec<u8> {
    serde_json::to_vec(position).unwrap_or_default()
}

fn read(path: &PathBuf) -> Result<Option<Saved>, LogError> {
    #[derive(Deserialize)]
    struct Version {
        v: u32,
    }
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LogError::io("read", path)(error)),
    };
    let wrong = |error: serde_json::Error| LogError::io("read", path)(error.into());
    // The version first: the rest of another one need not make sense here.
    match serde_json::from_slice(&text).map_err(wrong)? {
        Version { v } if v > VERSION => {
            Err(LogError::Version { path: path.clone(), found: v, known: VERSION })
        }
        Version { .. } => serde_json::from_slice(&text).map(Some).map_err(wrong),
    }
}

/// Replaces a file so that a crash leaves the old one or the new one.
fn replace(path: &PathBuf, text: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("draft");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    match path.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

/// Bytes of the log that a start goes through for notes, at most, after an orderly stop.
const BEHIND_BYTES_MAX: u64 = 16 << 20;

/// Bytes of the log at most that the next start goes through for records without their position.
const TORN_BYTES_MAX: u64 = 256 << 20;

/// The version of the file.
const VERSION: u32 = 1;

/// Bytes of a line that are hashed at most: its end tells it from others, and is cheap to compare.
pub(super) const PRINT_BYTES_MAX: usize = 4096;
