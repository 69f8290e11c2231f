//! Keeps what is no event, so that nothing disappears.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::batch::Rejected;
use crate::event::{Class, Offset, Span, Time};
use crate::log::{
    AppendError, Appender, Log, LogError, LogOptions, Mark, Reader, Removed, STRIPE_BYTES, sweep,
};

/// Where the quarantine lies and how long it grows.
#[derive(Clone, Debug)]
pub struct QuarantineOptions {
    /// Its directory.
    pub dir: PathBuf,
    /// Bytes at most; the oldest segment goes first.
    pub bytes_max: u64,
}

/// Refused lines: a log of its own with small segments.
#[derive(Debug)]
pub struct Quarantine {
    dir: PathBuf,
    log: Log,
    appender: Appender,
    bytes_max: u64,
    /// Bytes appended since the bound was last looked at.
    since_retained: u64,
    /// What the store holds, once somebody asked.
    known: Option<Known>,
}

/// What a store says of itself.
#[derive(Debug, Default)]
struct Known {
    removed: Removed,
    /// Where those records of the log lie that are kept.
    of_log: BTreeSet<u64>,
}

/// A line that is no event, as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Refused {
    /// Version of the record.
    pub v: u32,
    /// What is wrong.
    pub class: String,
    /// Where it came from: an input, a command, or `log`.
    pub source: String,
    /// The only dialect that it may be of, as its source said; none where it tells its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Where it began there, bytes.
    pub offset: u64,
    /// Its bytes without the ending.
    pub length: u64,
    /// When it came, nanoseconds since 1970.
    pub received: u64,
    /// The bytes in base64: all of them, or the first of a line that is too long.
    pub bytes: String,
    /// SHA-256 of all bytes, where not all are kept.
    pub sha256: Option<String>,
    /// Pieces of the store whose lines are gone: the record of a removal.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<(u64, u64)>,
}

impl Refused {
    /// The bytes that are kept.
    #[must_use]
    pub fn kept(&self) -> Vec<u8> {
        STANDARD.decode(&self.bytes).unwrap_or_default()
    }

    /// Whether all of it is kept.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.sha256.is_none() && self.kept().len() as u64 == self.length
    }

    fn parse(record: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(record).ok()
    }
}

/// Which refused lines are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WantedLines {
    /// Those that came at or after this time, nanoseconds since 1970.
    pub since: Option<u64>,
    /// Those of this class.
    pub class: Option<String>,
    /// Those of this source.
    pub source: Option<String>,
    /// The one at this offset of the store.
    pub id: Option<u64>,
}

impl WantedLines {
    /// Whether it is one of those.
    #[must_use]
    pub fn fits(&self, at: Offset, line: &Refused) -> bool {
        self.since.is_none_or(|since| line.received >= since)
            && self.class.as_ref().is_none_or(|class| *class == line.class)
            && self.source.as_ref().is_none_or(|source| *source == line.source)
            && self.id.is_none_or(|id| id == at.bytes())
    }
}

/// A quarantine, looked at beside whatever process writes it.
#[derive(Debug)]
pub struct QuarantineStore {
    dir: PathBuf,
    reader: Reader,
    known: Known,
}

impl QuarantineStore {
    /// Opens the store in a directory; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn look(dir: &Path) -> Result<Option<Self>, LogError> {
        let Some(mut reader) = Reader::find_dir(dir)? else { return Ok(None) };
        let known = Known::read(dir, &mut reader)?;
        Ok(Some(Self { dir: dir.to_path_buf(), reader, known }))
    }

    /// Visits the lines that are there and wanted, oldest first, with their offsets in the store.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn visit(
        &mut self,
        wanted: &WantedLines,
        mut visit: impl FnMut(Offset, &Refused) -> ControlFlow<()>,
    ) -> Result<(), LogError> {
        let removed = &self.known.removed;
        walk(&self.dir, &mut self.reader, |span, line| {
            let is_there = line.removed.is_empty() && !removed.has(span.from);
            match is_there && wanted.fits(span.from, line) {
                true => visit(span.from, line),
                false => ControlFlow::Continue(()),
            }
        })
    }
}

impl Known {
    fn read(dir: &Path, reader: &mut Reader) -> Result<Self, LogError> {
        let mut known = Self::default();
        walk(dir, reader, |_, line| {
            line.removed.iter().for_each(|&piece| known.removed.add(piece));
            if line.source == OF_LOG {
                known.of_log.insert(line.offset);
            }
            ControlFlow::Continue(())
        })?;
        Ok(known)
    }
}

/// How the log of a store is kept.
fn log_options(options: &QuarantineOptions) -> LogOptions {
    LogOptions {
        dir: options.dir.clone(),
        // At least two, however small the store is to be.
        segment_bytes: SEGMENT_BYTES.min(options.bytes_max / 2 / STRIPE_BYTES * STRIPE_BYTES),
        keep_bytes: options.bytes_max,
        keep_age: KEEP_AGE,
        bytes_max: options.bytes_max,
        is_store: true,
        ..LogOptions::default()
    }
}

/// Lines, each with its place.
type Placed = Vec<(Span, Refused)>;

fn walk(
    dir: &Path,
    reader: &mut Reader,
    mut visit: impl FnMut(Span, &Refused) -> ControlFlow<()>,
) -> Result<(), LogError> {
    let mut newer = None;
    sweep(reader, |record, bytes| {
        let span = Span { from: record.frame.offset, to: record.next };
        match Refused::parse(bytes) {
            Some(line) if line.v > VERSION => {
                newer = Some(line.v);
                ControlFlow::Break(())
            }
            Some(line) => visit(span, &line),
            None => ControlFlow::Continue(()),
        }
    })?;
    let path = dir.to_path_buf();
    newer.map_or(Ok(()), |found| Err(LogError::Version { path, found, known: VERSION }))
}

impl Quarantine {
    /// Opens the store.
    ///
    /// # Errors
    /// When the directory cannot be made or read, or another process writes to it.
    pub fn open(options: &QuarantineOptions) -> Result<Self, LogError> {
        let (log, _) = Log::open(log_options(options))?;
        let appender = log.appender();
        let (dir, bytes_max) = (options.dir.clone(), options.bytes_max);
        Ok(Self { dir, log, appender, bytes_max, since_retained: 0, known: None })
    }

    /// Whether it lies there.
    pub(super) fn is_in(&self, dir: &Path) -> bool {
        self.dir == dir
    }

    /// Keeps this many bytes from now on.
    pub(super) fn bound(&mut self, bytes_max: u64) {
        self.bytes_max = bytes_max;
        self.log.keep(&log_options(&QuarantineOptions { dir: self.dir.clone(), bytes_max }));
    }

    /// Keeps a refused line of `source`.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn keep(
        &mut self,
        source: &str,
        rejected: &Rejected,
        received_ns: u64,
    ) -> Result<(), AppendError> {
        let record = json!({
            "v": VERSION,
            "class": rejected.class.name(),
            "source": source,
            "format": rejected.format,
            "offset": rejected.offset,
            "length": rejected.length,
            "received": received_ns,
            "bytes": STANDARD.encode(&rejected.kept),
            "sha256": rejected.sha256.map(hex),
        });
        let record = record.to_string();
        let mark = Mark { received_ns, checked: true, ..Mark::default() };
        match self.appender.append(record.as_bytes(), mark) {
            // Longer than a segment in base64: the beginning must do.
            Err(AppendError::TooLarge { .. }) if rejected.kept.len() > KEPT_BYTES => {
                let kept = rejected.kept[..KEPT_BYTES].to_vec();
                let hash = || Sha256::digest(&rejected.kept).into();
                let sha256 = Some(rejected.sha256.unwrap_or_else(hash));
                let beginning = Rejected { kept, sha256, ..rejected.clone() };
                return self.keep(source, &beginning, received_ns);
            }
            appended => appended.map(drop)?,
        }
        self.since_retained += record.len() as u64;
        Ok(())
    }

    /// Keeps a record of the log that could not be opened; false where it is kept already.
    ///
    /// # Errors
    /// When the store cannot be read, or the disk refuses.
    pub fn keep_of_log(
        &mut self,
        at: Offset,
        class: Class,
        record: &[u8],
        received_ns: u64,
    ) -> Result<bool, LogError> {
        if !self.known()?.of_log.insert(at.bytes()) {
            return Ok(false);
        }
        let (kept, length) = (record.to_vec(), record.len() as u64);
        let offset = at.bytes();
        let rejected = Rejected { class, offset, length, kept, sha256: None, format: None };
        let kept = self.keep(OF_LOG, &rejected, received_ns);
        if kept.is_err() {
            self.known()?.of_log.remove(&at.bytes());
        }
        kept?;
        Ok(true)
    }

    /// Lines that are there and wanted, from `from` on: so many bytes of them, and where to go on.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(super) fn some(
        &mut self,
        wanted: &WantedLines,
        from: Offset,
        until: Offset,
    ) -> Result<(Placed, Option<Offset>), LogError> {
        self.log.flush()?;
        let mut reader = self.log.reader();
        let dir = self.dir.clone();
        let removed = &self.known()?.removed;
        let (mut found, mut bytes, mut next) = (Vec::new(), 0, None);
        walk(&dir, &mut reader, |span, line| {
            if span.from >= until {
                return ControlFlow::Break(());
            }
            let is_there = line.removed.is_empty() && !removed.has(span.from);
            if span.from < from || !is_there || !wanted.fits(span.from, line) {
                return ControlFlow::Continue(());
            }
            if bytes >= SOME_BYTES {
                next = Some(span.from);
                return ControlFlow::Break(());
            }
            bytes += line.bytes.len();
            found.push((span, line.clone()));
            ControlFlow::Continue(())
        })?;
        Ok((found, next))
    }

    /// Takes lines out: they are events now.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(super) fn remove(&mut self, spans: &[Span]) -> Result<(), LogError> {
        for spans in spans.chunks(REMOVED_MAX) {
            let removed: Vec<(u64, u64)> =
                spans.iter().map(|span| (span.from.bytes(), span.to.bytes())).collect();
            let record = json!({ "v": VERSION, "removed": removed }).to_string();
            let mark = Mark { received_ns: Time::now().ns(), checked: true, ..Mark::default() };
            self.appender.append(record.as_bytes(), mark)?;
            self.since_retained += record.len() as u64;
            let known = self.known()?;
            removed.into_iter().for_each(|piece| known.removed.add(piece));
        }
        self.settle()
    }

    fn known(&mut self) -> Result<&mut Known, LogError> {
        let known = match self.known.take() {
            Some(known) => known,
            None => {
                self.log.flush()?;
                Known::read(&self.dir, &mut self.log.reader())?
            }
        };
        Ok(self.known.insert(known))
    }

    /// Makes everything durable, and removes the oldest beyond the bound.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn settle(&mut self) -> Result<(), LogError> {
        if self.since_retained == 0 {
            return Ok(());
        }
        let end = self.log.flush()?;
        self.since_retained = 0;
        let oldest_kept = end.bytes().saturating_sub(self.bytes_max);
        self.log.retain(Offset::new(oldest_kept)).map(drop)
    }

    /// The store, for reading.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }
}

fn hex(bytes: [u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Version of the records.
const VERSION: u32 = 1;
/// The source of records that the log itself has.
const OF_LOG: &str = "log";
/// Bytes of lines that are looked at again at once, as they are kept.
const SOME_BYTES: usize = 4 << 20;
/// Lines that one removal names: a record of 40 kB at most.
const REMOVED_MAX: usize = 1000;

/// Small segments, so that removing the oldest removes little.
const SEGMENT_BYTES: u64 = 8 << 20;

/// A month: time enough to look why.
const KEEP_AGE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Bytes kept of a line that does not fit as a whole.
const KEPT_BYTES: usize = 4096;
