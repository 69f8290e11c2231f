//! The cache's file: written whole beside the old one and renamed, so that either is there.
//!
//! Lines of JSON: a header with the version, for each feed a line and its objects, and a last line
//! with the BLAKE3 of all before it. How far a feed is read stands in the same file as what it
//! told, so that neither is newer than the other.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::cache::{Cache, Feed, FeedTerms, Kept, Progress, Seen};

/// Why the cache could not be written or read.
#[derive(Debug, thiserror::Error)]
#[error(
    "threat_intel: cannot {what} {path}: {source}; see that its directory exists, belongs to this \
     user and has room, or set `threat_intel.cache.persistent: false`"
)]
pub struct SavedError {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// What became of the file at start.
#[derive(Debug, PartialEq, Eq)]
pub enum Loaded {
    /// There is none.
    Nothing,
    /// It is read; how many indicators it had of feeds that are still configured.
    Indicators(usize),
    /// It is none of ours or damaged; it lies where the path says now.
    Corrupt {
        /// Its new name.
        aside: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// One line of the file.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Line<'a> {
    Shrike { format: &'a str, version: u32 },
    Feed { key: &'a str, progress: Progress },
    Indicator(&'a str, &'a Kept),
    Behind(&'a str, &'a Seen),
    End { blake3: String },
}

/// The same as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Read {
    Shrike { format: String, version: u32 },
    Feed { key: String, progress: Progress },
    Indicator(String, Kept),
    Behind(String, Seen),
    End { blake3: String },
}

impl Cache {
    /// Writes all of it; when this returns, it is there after a power loss too.
    ///
    /// # Errors
    /// When the file cannot be written; the old one is left as it was.
    pub fn save(&self, path: &Path) -> Result<(), SavedError> {
        let failed = |what| move |source| SavedError { what, path: path.to_owned(), source };
        if let Some(dir) = directory(path) {
            std::fs::create_dir_all(dir).map_err(failed("make the directory of"))?;
        }
        let draft = beside(path, "draft");
        self.write(&draft).map_err(failed("write the cache to"))?;
        std::fs::rename(&draft, path).map_err(failed("rename the draft of"))?;
        let synced = directory(path).map_or(Ok(()), |dir| File::open(dir)?.sync_all());
        synced.map_err(failed("sync the directory of"))
    }

    fn write(&self, draft: &Path) -> io::Result<()> {
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut out = Hashed {
            hasher: blake3::Hasher::new(),
            inner: BufWriter::with_capacity(WRITE_BYTES, options.open(draft)?),
        };
        line(&mut out, &Line::Shrike { format: FORMAT, version: VERSION })?;
        for (key, feed) in &self.feeds {
            line(&mut out, &Line::Feed { key, progress: feed.progress })?;
            for (id, kept) in &feed.indicators {
                line(&mut out, &Line::Indicator(id, kept))?;
            }
            for (id, seen) in &feed.behind {
                line(&mut out, &Line::Behind(id, seen))?;
            }
        }
        let blake3 = out.hasher.finalize().to_hex().to_string();
        line(&mut out, &Line::End { blake3 })?;
        out.inner.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    }

    /// Reads what was saved of the feeds that the cache has; a damaged file is put aside.
    ///
    /// # Errors
    /// When the file is there and cannot be read, or not be put aside.
    pub fn load(&mut self, path: &Path) -> Result<Loaded, SavedError> {
        let failed = |what| move |source| SavedError { what, path: path.to_owned(), source };
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Loaded::Nothing),
            opened => opened.map_err(failed("open"))?,
        };
        let problem = match feeds(file) {
            Ok(feeds) => return Ok(Loaded::Indicators(self.take(feeds))),
            Err(Unreadable::Io(error)) => return Err(failed("read")(error)),
            Err(Unreadable::Corrupt(problem)) => problem,
        };
        let aside = beside(path, "corrupt");
        std::fs::rename(path, &aside).map_err(failed("put aside the damaged file"))?;
        Ok(Loaded::Corrupt { aside, problem })
    }

    /// Takes over what was read of the feeds that it has.
    fn take(&mut self, feeds: Vec<(String, Feed)>) -> usize {
        let mut count = 0;
        for (key, read) in feeds {
            if let Some(feed) = self.feeds.get_mut(&key) {
                let terms = feed.terms.clone();
                *feed = Feed { terms, ..read };
                count += self.indicators(&key);
            }
        }
        count
    }
}

enum Unreadable {
    Io(io::Error),
    Corrupt(String),
}

fn feeds(file: File) -> Result<Vec<(String, Feed)>, Unreadable> {
    let mut feeds: Vec<(String, Feed)> = Vec::new();
    let mut hasher = blake3::Hasher::new();
    let mut file = BufReader::new(file);
    let mut text = Vec::new();
    let mut number = 0_usize;
    let corrupt =
        |number: usize, problem: &str| Unreadable::Corrupt(format!("line {number}: {problem}"));
    loop {
        text.clear();
        number += 1;
        let mut line = (&mut file).take(LINE_BYTES_MAX);
        line.read_until(b'\n', &mut text).map_err(Unreadable::Io)?;
        if text.last() != Some(&b'\n') {
            return Err(corrupt(number, "expected a whole line; the last one ends the file"));
        }
        let read: Read = serde_json::from_slice(&text)
            .map_err(|error| corrupt(number, &format!("expected a line of the cache: {error}")))?;
        match (number, read) {
            (1, Read::Shrike { format, version }) if format == FORMAT && version == VERSION => {}
            (1, Read::Shrike { format, version }) => {
                let found = format!("expected {FORMAT} {VERSION}, found {format} {version}");
                return Err(corrupt(1, &found));
            }
            (1, _) | (_, Read::Shrike { .. }) => {
                return Err(corrupt(number, "expected the header first, and only there"));
            }
            (_, Read::Feed { key, progress }) => {
                let terms = FeedTerms { key: key.clone(), ..FeedTerms::default() };
                feeds.push((key, Feed { progress, ..Feed::new(terms) }));
            }
            (_, Read::End { blake3 }) => {
                let is_last = file.bytes().next().is_none();
                return match is_last && hasher.finalize().to_hex().as_str() == blake3 {
                    true => Ok(feeds),
                    false => Err(corrupt(number, "expected the BLAKE3 of all before it, last")),
                };
            }
            (_, Read::Indicator(id, mut kept)) => match feeds.last_mut() {
                Some((_, feed)) => {
                    Arc::make_mut(&mut kept.own).id.clone_from(&id);
                    kept.weigh();
                    feed.indicators.insert(id, kept);
                }
                None => return Err(corrupt(number, "expected a feed first")),
            },
            (_, Read::Behind(id, seen)) => match feeds.last_mut() {
                Some((_, feed)) => drop(feed.behind.insert(id, seen)),
                None => return Err(corrupt(number, "expected a feed first")),
            },
        }
        hasher.update(&text);
    }
}

/// Writes through a hash.
struct Hashed<W> {
    hasher: blake3::Hasher,
    inner: W,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn line(out: &mut impl Write, line: &Line<'_>) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

fn directory(path: &Path) -> Option<&Path> {
    path.parent().map(|dir| if dir.as_os_str().is_empty() { Path::new(".") } else { dir })
}

/// The same name with an ending behind it.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

const FORMAT: &str = "threat intelligence";
const VERSION: u32 = 1;
/// Bytes of a line that are read; an indicator has at most a pattern, and bounded texts.
const LINE_BYTES_MAX: u64 = 4 << 20;
/// Bytes that are written at once.
const WRITE_BYTES: usize = 256 << 10;
