//! Cursors: the checkpoint of each exporter, one small file each, replaced as a whole.

use std::ffi::OsString;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::event::{Anchor, Checkpoint, Counts, Gap, GapReason, Offset, Span, Tally};

use super::error::LogError;
use super::frame::{crc, u32_at, u64_at};
use super::io::{Disk, LogIo};
use super::open::lock_file;
use super::shared::Shared;

/// The checkpoints in a log's directory, held by one process at a time.
pub struct Cursors {
    dir: PathBuf,
    io: Arc<dyn LogIo>,
    /// To keep checkpoints at or below `durable`; unknown where the log itself is not open.
    log: Option<Arc<Shared>>,
    /// The lease; none for reading only.
    lease: Option<File>,
    /// Two threads must not write the same draft.
    saving: Mutex<Reserve>,
}

/// Space that is kept so that a full disk does not stop checkpoints: whoever cannot save one cannot
/// let old segments go either, and the disk would stay full.
#[derive(Debug, Default)]
struct Reserve {
    /// When it was last tried to keep some.
    tried: Option<Instant>,
}

impl std::fmt::Debug for Cursors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cursors").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Cursors {
    /// Takes the lease over the cursors below a log's directory, without opening the log.
    ///
    /// # Errors
    /// When another process holds it, or the directory cannot be made.
    pub fn open(log_dir: &Path) -> Result<Self, LogError> {
        Self::lease(log_dir, Arc::new(Disk), None)
    }

    /// Looks at the cursors beside whatever process holds them; saving and removing are refused.
    #[must_use]
    pub fn look(log_dir: &Path) -> Self {
        let dir = log_dir.join(DIR);
        Self { dir, io: Arc::new(Disk), log: None, lease: None, saving: Mutex::default() }
    }

    pub(crate) fn lease(
        log_dir: &Path,
        io: Arc<dyn LogIo>,
        log: Option<Arc<Shared>>,
    ) -> Result<Self, LogError> {
        let dir = log_dir.join(DIR);
        match DirBuilder::new().mode(0o700).create(&dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(LogError::io("create", &dir)(error));
            }
            _ => {}
        }
        io.sync_dir(log_dir).map_err(LogError::io("sync", log_dir))?;
        // A process that ended between a rename and this left a name that the next power loss could
        // take back, after the log has let go what only the older checkpoint needs.
        io.sync_dir(&dir).map_err(LogError::io("sync", &dir))?;
        let lease = Some(lock_file(&dir.join("lease"))?);
        let this = Self { dir, io, log, lease, saving: Mutex::default() };
        this.keep_reserve(&mut Reserve::default());
        Ok(this)
    }

    /// The checkpoint saved under a name; `None` when there is none.
    ///
    /// # Errors
    /// When the file is damaged, of a newer version, or cannot be read.
    pub fn load(&self, name: &str) -> Result<Option<Checkpoint>, LogError> {
        let path = self.path(name)?;
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(LogError::io("read", &path)(error)),
        };
        parse(&bytes, &path).map(Some)
    }

    /// Saves a checkpoint durably, replacing the old one as a whole.
    ///
    /// # Errors
    /// When it reaches beyond `durable`, this is not the holder, or the disk refuses; the old one
    /// stays then.
    pub fn save(&self, name: &str, checkpoint: &Checkpoint) -> Result<(), LogError> {
        let path = self.path(name)?;
        self.require_lease(&path)?;
        let top = top(checkpoint);
        if let Some(log) = &self.log
            && top > log.control.durable()
        {
            let (name, durable) = (name.to_owned(), log.control.durable());
            return Err(LogError::PastDurable { name, base: top, durable });
        }
        let mut reserve = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        match self.save_file(&path, checkpoint) {
            Err(LogError::Io { source, .. }) if is_full(&source) => {
                self.remove_file(&self.dir.join(RESERVE))?;
                reserve.tried = Some(Instant::now());
                self.save_file(&path, checkpoint)
            }
            saved => {
                self.keep_reserve(&mut reserve);
                saved
            }
        }
    }

    /// The highest offset that a checkpoint speaks of: the log was durable up to there.
    pub(crate) fn top(&self) -> Offset {
        // What cannot be read says nothing here; it is told where the checkpoint is needed.
        let names = self.names().unwrap_or_default();
        let checkpoints = names.iter().filter_map(|name| self.load(name).ok().flatten());
        checkpoints.map(|it| top(&it)).max().unwrap_or(Offset::ZERO)
    }

    /// Where the receipts lie that checkpoints know; none where nobody has noted it.
    pub(crate) fn receipts(&self) -> Option<PathBuf> {
        let bytes = std::fs::read(self.dir.join(RECEIPTS)).ok()?;
        Some(PathBuf::from(OsString::from_vec(bytes)))
    }

    /// Notes that, durably, unless it is noted already.
    ///
    /// # Errors
    /// When this is not the holder, or the disk refuses; the old note stays then.
    pub(crate) fn note_receipts(&self, receipts: &Path) -> Result<(), LogError> {
        if self.receipts().is_some_and(|noted| noted == receipts) {
            return Ok(());
        }
        let path = self.dir.join(RECEIPTS);
        self.require_lease(&path)?;
        let _one_at_a_time = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        self.replace(&path, receipts.as_os_str().as_bytes())
    }

    fn save_file(&self, path: &Path, checkpoint: &Checkpoint) -> Result<(), LogError> {
        self.replace(path, &encode(checkpoint))
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), LogError> {
        let draft = path.with_extension("draft");
        self.remove_file(&draft)?;
        let file = self.io.create(&draft, 0).map_err(LogError::io("create", &draft))?;
        self.io.write(&file, 0, bytes).map_err(LogError::io("write", &draft))?;
        self.io.sync(&file).map_err(LogError::io("sync", &draft))?;
        self.io.rename(&draft, path).map_err(LogError::io("rename", &draft))?;
        self.io.sync_dir(&self.dir).map_err(LogError::io("sync", &self.dir))
    }

    /// The names that have a checkpoint, sorted.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn names(&self) -> Result<Vec<String>, LogError> {
        let entries = match std::fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(LogError::io("list", &self.dir)(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(LogError::io("list", &self.dir))?;
            let file_name = entry.file_name();
            let Some(stem) = file_name.to_str().and_then(|name| name.strip_suffix(SUFFIX)) else {
                continue;
            };
            names.extend(unescape(stem));
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Forgets a checkpoint, durably; one that is not there is no error.
    ///
    /// # Errors
    /// When this is not the holder, or the disk refuses.
    pub fn remove(&self, name: &str) -> Result<(), LogError> {
        let path = self.path(name)?;
        self.require_lease(&path)?;
        self.remove_file(&path)?;
        self.io.sync_dir(&self.dir).map_err(LogError::io("sync", &self.dir))
    }

    /// Lets go the space that is kept aside, for what has to be written before any checkpoint;
    /// false when there was none.
    pub(crate) fn spend_reserve(&self) -> bool {
        let mut reserve = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        reserve.tried = Some(Instant::now());
        let path = self.dir.join(RESERVE);
        path.exists() && self.remove_file(&path).is_ok()
    }

    /// Keeps space aside at once: some was freed, and others wait for it too.
    pub(crate) fn restock(&self) {
        let mut reserve = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        reserve.tried = None;
        self.keep_reserve(&mut reserve);
    }

    /// Keeps space aside, unless that was tried a moment ago.
    fn keep_reserve(&self, reserve: &mut Reserve) {
        let was_now = reserve.tried.is_some_and(|tried| tried.elapsed() < RESERVE_INTERVAL);
        let path = self.dir.join(RESERVE);
        if was_now || path.exists() {
            return;
        }
        reserve.tried = Some(Instant::now());
        if let Err(error) = self.io.create(&path, RESERVE_BYTES) {
            tracing::warn!(%error, "no space is kept for checkpoints on a full disk");
        }
    }

    fn path(&self, name: &str) -> Result<PathBuf, LogError> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(LogError::Name { name: name.to_owned() });
        }
        Ok(self.dir.join(format!("{}{SUFFIX}", escape(name))))
    }

    fn require_lease(&self, path: &Path) -> Result<(), LogError> {
        match self.lease {
            Some(_) => Ok(()),
            None => Err(LogError::io("change", path)(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "these cursors were opened for looking only",
            ))),
        }
    }

    fn remove_file(&self, path: &Path) -> Result<(), LogError> {
        match self.io.unlink(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(LogError::io("remove", path)(error))
            }
            _ => Ok(()),
        }
    }
}

fn top(checkpoint: &Checkpoint) -> Offset {
    checkpoint.ahead.last().map_or(checkpoint.base, |span| span.to.max(checkpoint.base))
}

fn encode(checkpoint: &Checkpoint) -> Vec<u8> {
    let Checkpoint {
        pass,
        start,
        base,
        tally,
        alert_below,
        ahead,
        gaps,
        counts,
        removals,
        anchor: Anchor { line, hash },
    } = checkpoint;
    // An earlier shrike reads what says nothing that it does not know.
    let alert_below = (*alert_below > Offset::ZERO).then_some(alert_below.bytes());
    let version = if alert_below.is_some() { VERSION } else { VERSION_UNMARKED };
    let mut out = Vec::with_capacity(HEAD_BYTES + 148 + ahead.len() * 16 + gaps.len() * 32);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&version.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&pass.to_le_bytes());
    for count in [ahead.len(), gaps.len()] {
        let count = u32::try_from(count).expect("spans are far fewer than bytes of memory");
        out.extend_from_slice(&count.to_le_bytes());
    }
    let Counts { delivered, dead_lettered, filtered, skipped, invalid } = *counts;
    let fates = [delivered, dead_lettered, filtered, skipped, invalid];
    let fixed = [start.bytes(), base.bytes(), tally.to.bytes(), tally.events];
    let hash = hash.chunks_exact(8).map(|chunk| u64_at(chunk, 0));
    let fixed = fixed.into_iter().chain(fates).chain([*removals, *line]).chain(hash);
    let fixed = fixed.chain(alert_below);
    let spans = ahead.iter().flat_map(|span| [span.from.bytes(), span.to.bytes()]);
    let gaps = gaps.iter().flat_map(|Gap { span, events, reason }| {
        [span.from.bytes(), span.to.bytes(), *events, *reason as u64]
    });
    for number in fixed.chain(spans).chain(gaps) {
        out.extend_from_slice(&number.to_le_bytes());
    }
    let sum = checksum(version, &out[HEAD_BYTES..]);
    out[CRC_AT..HEAD_BYTES].copy_from_slice(&sum.to_le_bytes());
    out
}

fn parse(bytes: &[u8], path: &Path) -> Result<Checkpoint, LogError> {
    let damaged = || LogError::Damaged {
        path: path.to_path_buf(),
        expected: "a checkpoint whose checksum is right",
        advice: "`shrike cursor rewind EXPORTER --to earliest` (or a time, or an offset) sets the \
                 cursor anew and replaces the file",
    };
    let body = bytes.get(HEAD_BYTES..).filter(|_| bytes.starts_with(MAGIC)).ok_or_else(damaged)?;
    let (found, sum) = (u32_at(bytes, MAGIC.len()), u32_at(bytes, CRC_AT));
    if sum != checksum(found, body) {
        return Err(damaged());
    }
    if found > VERSION {
        return Err(LogError::Version { path: path.to_path_buf(), found, known: VERSION });
    }
    if body.len() < COUNTS_BYTES {
        return Err(damaged());
    }
    let (ahead, gaps) = (u32_at(body, 4) as usize, u32_at(body, 8) as usize);
    let numbers: Vec<u64> =
        body[COUNTS_BYTES..].chunks_exact(8).map(|chunk| u64_at(chunk, 0)).collect();
    // Version 1 knew neither receipts nor reasons.
    let (fixed_len, gap_len) = match found {
        0 | 1 => (FIXED_V1, 3),
        VERSION_UNMARKED => (FIXED_V2, 4),
        _ => (FIXED, 4),
    };
    let expected = fixed_len as u64 + ahead as u64 * 2 + gaps as u64 * gap_len as u64;
    if numbers.len() as u64 != expected {
        return Err(damaged());
    }
    let (fixed, rest) = numbers.split_at(fixed_len);
    let (spans, gaps) = rest.split_at(ahead * 2);
    let span = |from: u64, to: u64| Span { from: Offset::new(from), to: Offset::new(to) };
    let reason = |gap: &[u64]| {
        let number = gap.get(3).copied().unwrap_or_default();
        let known = usize::try_from(number).ok().and_then(|at| GapReason::ALL.get(at));
        known.copied().unwrap_or_default()
    };
    let later = |at: usize| fixed.get(at).copied().unwrap_or_default();
    let mut anchor = Anchor { line: later(FIXED_V1 + 1), ..Anchor::default() };
    for (at, chunk) in anchor.hash.chunks_exact_mut(8).enumerate() {
        chunk.copy_from_slice(&later(FIXED_V1 + 2 + at).to_le_bytes());
    }
    Ok(Checkpoint {
        pass: u32_at(body, 0),
        start: Offset::new(fixed[0]),
        base: Offset::new(fixed[1]),
        tally: Tally { to: Offset::new(fixed[2]), events: fixed[3] },
        alert_below: Offset::new(later(FIXED_V2)),
        ahead: spans.chunks_exact(2).map(|pair| span(pair[0], pair[1])).collect(),
        gaps: gaps
            .chunks_exact(gap_len)
            .map(|gap| Gap { span: span(gap[0], gap[1]), events: gap[2], reason: reason(gap) })
            .collect(),
        counts: Counts {
            delivered: fixed[4],
            dead_lettered: fixed[5],
            filtered: fixed[6],
            skipped: fixed[7],
            invalid: fixed[8],
        },
        removals: later(FIXED_V1),
        anchor,
    })
}

/// The checksum of what follows it. Versions above 2 begin it with the version, so that a flipped
/// bit makes none of them of another.
fn checksum(version: u32, body: &[u8]) -> u32 {
    match version {
        ..=VERSION_UNMARKED => crc(body),
        version => crc(&[&version.to_le_bytes(), body].concat()),
    }
}

/// A name as a file name: all but letters, digits, `-` and `_` as `%` and two hexadecimal digits.
fn escape(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02x}")),
        }
    }
    out
}

/// The name behind a file name; `None` for a file that is none of ours.
fn unescape(stem: &str) -> Option<String> {
    let mut out = Vec::with_capacity(stem.len());
    let mut rest = stem.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first != b'%' {
            out.push(*first);
            rest = tail;
            continue;
        }
        let (digits, tail) = tail.split_at_checked(2)?;
        out.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = tail;
    }
    String::from_utf8(out).ok()
}

/// Whether there is no space left.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

const DIR: &str = "cursors";
/// Where the receipts lie that checkpoints know: the bytes of a path.
const RECEIPTS: &str = "receipts";
/// The file that keeps space aside.
const RESERVE: &str = "reserve";
/// Receipts that wait when lanes are halted for them, and drafts of a hundred exporters with long
/// lists of spans.
const RESERVE_BYTES: u64 = 2 << 20;
/// Between two tries to keep it.
const RESERVE_INTERVAL: Duration = Duration::from_secs(10);
const SUFFIX: &str = ".cursor";
const NAME_BYTES_MAX: usize = 128;

const MAGIC: &[u8; 8] = b"shrikecu";
const VERSION: u32 = 3;
/// What is written where no rewind asked for alerts, and earlier builds read.
const VERSION_UNMARKED: u32 = 2;
const CRC_AT: usize = 12;
/// Magic, version, checksum of the rest.
const HEAD_BYTES: usize = 16;
/// Pass, number of spans, number of gaps.
const COUNTS_BYTES: usize = 12;
/// Start, base, tally and fates: the numbers before the spans in version 1.
const FIXED_V1: usize = 9;
/// And the number of the last removal, the line and the hash of the receipts.
const FIXED_V2: usize = FIXED_V1 + 6;
/// And how far events are told of one by one.
const FIXED: usize = FIXED_V2 + 1;
