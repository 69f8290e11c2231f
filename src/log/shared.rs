//! What the writer and the readers share: the control page and the list of segments.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use crate::event::Offset;
use crate::metrics::Histogram;

use super::STRIPE_BYTES;
use super::control::Control;
use super::error::LogError;
use super::frame::{HEAD_BYTES, Head};
use super::holes;
use super::index::{self, Stripes};
use super::io::LogIo;
use super::segment::Mapping;
use super::waker::Wakers;

/// One log, as this process sees it.
pub(crate) struct Shared {
    /// The directory.
    pub(crate) dir: PathBuf,
    /// The published offsets.
    pub(crate) control: Arc<Control>,
    /// Who wants to be woken.
    pub(crate) wakers: Arc<Wakers>,
    /// Ascending by base, never overlapping.
    segments: RwLock<Vec<Arc<Segment>>>,
    /// Whether the writer is another process, so that segments come and go by themselves.
    pub(crate) foreign: bool,
    /// How long each sync took.
    pub(crate) sync_seconds: Histogram,
    /// The disk, as far as it says what is cold.
    pub(crate) io: Arc<dyn LogIo>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// One segment's file, known by its name.
#[derive(Debug)]
pub(crate) struct Segment {
    /// Where it starts.
    pub(crate) base: Offset,
    /// How long it is.
    pub(crate) bytes: u64,
    /// Its name.
    pub(crate) path: PathBuf,
    /// What lies in its stripes.
    pub(crate) stripes: Stripes,
    /// Whether its file is gone, though retention did not take it.
    pub(crate) is_missing: bool,
    /// Where its frames end; its length until it is sealed before that.
    end: AtomicU64,
    /// Mapped when it is first read.
    mapping: OnceLock<Mapping>,
}

impl Shared {
    pub(crate) fn new(
        dir: PathBuf,
        control: Control,
        segments: Vec<Arc<Segment>>,
        wakers: Wakers,
        io: Arc<dyn LogIo>,
    ) -> Self {
        let foreign = wakers.are_foreign();
        let (control, wakers) = (Arc::new(control), Arc::new(wakers));
        let (segments, sync_seconds) = (RwLock::new(segments), Histogram::new(SECONDS));
        Self { dir, control, wakers, segments, foreign, sync_seconds, io }
    }

    /// The segments that can be read, oldest first.
    pub(crate) fn readable(&self) -> Vec<Arc<Segment>> {
        let mut segments = self.segments();
        segments.retain(|segment| !segment.is_missing);
        segments
    }

    /// The segments, oldest first.
    pub(crate) fn segments(&self) -> Vec<Arc<Segment>> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds the newest segment.
    pub(crate) fn push(&self, segment: Arc<Segment>) {
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        debug_assert!(segments.last().is_none_or(|last| last.capacity_end() <= segment.base));
        segments.push(segment);
    }

    /// Takes the oldest `count` segments off the list.
    pub(crate) fn remove_oldest(&self, count: usize) {
        self.segments.write().unwrap_or_else(PoisonError::into_inner).drain(..count);
    }

    /// The segment that holds `at`, else the first one after it.
    pub(crate) fn find(&self, at: Offset) -> Option<Arc<Segment>> {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        let index = segments.partition_point(|segment| segment.capacity_end() <= at);
        segments.get(index).cloned()
    }

    /// Looks at the directory again; for readers of other processes.
    pub(crate) fn refresh(&self) -> Result<(), LogError> {
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        let mut found = self.look(&segments)?;
        if found.iter().any(|segment| segment.is_missing) {
            // A listing may leave out a segment that is made meanwhile, and show the next one.
            found = self.look(&segments)?;
        }
        *segments = found;
        Ok(())
    }

    /// The segments that are there now, those that are known among them.
    fn look(&self, known: &[Arc<Segment>]) -> Result<Vec<Arc<Segment>>, LogError> {
        let mut found = Vec::new();
        for name in list(&self.dir)? {
            // A file that was seen before it had its length is another one now.
            let is_same = |segment: &&Arc<Segment>| {
                segment.base == name.base && segment.bytes == name.bytes && !segment.is_missing
            };
            let old = known.iter().find(is_same);
            found.push(match old {
                Some(segment) => Arc::clone(segment),
                None => Arc::new(Segment::new(&self.dir, name)),
            });
        }
        Ok(holes::fill(&self.dir, found, self.control.durable()))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.wakers.end(&self.control);
    }
}

/// What a directory says of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    /// Where it starts.
    pub(crate) base: Offset,
    /// The file's length; what it was made with, where somebody cut it off.
    pub(crate) bytes: u64,
}

impl Segment {
    /// A segment that ends where its file ends.
    pub(crate) fn new(dir: &Path, name: Name) -> Self {
        Self {
            base: name.base,
            bytes: name.bytes,
            path: segment_path(dir, name.base),
            stripes: Stripes::new(name.bytes),
            is_missing: false,
            end: AtomicU64::new(name.base.bytes() + name.bytes),
            mapping: OnceLock::new(),
        }
    }

    /// A segment whose file is gone. Of a long hole only what an index could tell is kept.
    pub(crate) fn missing(dir: &Path, name: Name) -> Self {
        let known = Name { bytes: name.bytes.min(SEGMENT_BYTES_MAX), ..name };
        let (bytes, end) = (name.bytes, AtomicU64::new(name.base.bytes() + name.bytes));
        Self { bytes, end, is_missing: true, ..Self::new(dir, known) }
    }

    /// Where its stripes end of which anything can be known.
    pub(crate) fn known_end(&self) -> Offset {
        Offset::new(self.base.bytes() + self.stripes.len() as u64 * STRIPE_BYTES)
    }

    /// What it takes of the disk.
    pub(crate) fn disk_bytes(&self) -> u64 {
        if self.is_missing { 0 } else { self.bytes }
    }

    /// Where its file ends.
    pub(crate) fn capacity_end(&self) -> Offset {
        Offset::new(self.base.bytes() + self.bytes)
    }

    /// Where its frames end, as far as that is known.
    pub(crate) fn end(&self) -> Offset {
        Offset::new(self.end.load(Ordering::Acquire))
    }

    /// Ends it before its file does.
    pub(crate) fn seal(&self, end: Offset) {
        self.end.store(end.bytes(), Ordering::Release);
    }

    /// The position of the stripe that holds `at`.
    pub(crate) fn stripe_index(&self, at: Offset) -> usize {
        usize::try_from((at.bytes() - self.base.bytes()) / STRIPE_BYTES)
            .expect("a segment has less than 2^32 stripes")
    }

    /// Where `at` lies in the file and the mapping.
    pub(crate) fn position(&self, at: Offset) -> usize {
        usize::try_from(at.bytes() - self.base.bytes()).expect("64-bit addresses")
    }

    /// Its bytes, mapped on first use.
    pub(crate) fn mapping(&self) -> io::Result<&Mapping> {
        if let Some(mapping) = self.mapping.get() {
            return Ok(mapping);
        }
        let mapping = Mapping::new(&File::open(&self.path)?, self.bytes)?;
        // Another reader may have been faster; one mapping is kept.
        Ok(self.mapping.get_or_init(|| mapping))
    }

    /// Reads the index file again; for readers of other processes.
    pub(crate) fn refresh_index(&self, dir: &Path) {
        // A missing or unreadable index leaves stripes unknown, and they are scanned instead.
        let _unknown = index::load(&index_path(dir, self.base), self.base, &self.stripes);
    }
}

/// The segments in a directory, ascending.
pub(crate) fn list(dir: &Path) -> Result<Vec<Name>, LogError> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(LogError::io("list", dir))? {
        let entry = entry.map_err(LogError::io("list", dir))?;
        let file_name = entry.file_name();
        let Some(base) = file_name.to_str().and_then(segment_base) else { continue };
        let bytes = match entry.metadata() {
            Ok(metadata) => metadata.len() / STRIPE_BYTES * STRIPE_BYTES,
            // Retention was faster.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(LogError::io("inspect", &entry.path())(error)),
        };
        names.push(Name { base, bytes });
    }
    names.sort_unstable_by_key(|name| name.base);
    for at in 0..names.len() {
        let next = names.get(at + 1).map_or(u64::MAX, |next| next.base.bytes());
        let name = &mut names[at];
        let room = next - name.base.bytes();
        if name.bytes < room {
            name.bytes = made_bytes(dir, name.base).min(room).max(name.bytes);
        }
    }
    Ok(names)
}

/// How long the segment at `base` was made: as its head says, else as far as its index reaches.
fn made_bytes(dir: &Path, base: Offset) -> u64 {
    let mut head = [0; HEAD_BYTES];
    let file = File::open(segment_path(dir, base));
    let read = file.and_then(|file| file.read_exact_at(&mut head, 0));
    let bytes = match read.ok().and_then(|()| Head::read(&head, base)) {
        Some(head) => head.segment_bytes,
        None => index::stripes(&index_path(dir, base)) * STRIPE_BYTES,
    };
    bytes.min(SEGMENT_BYTES_MAX) / STRIPE_BYTES * STRIPE_BYTES
}

/// The file of the segment that starts at `base`.
pub(crate) fn segment_path(dir: &Path, base: Offset) -> PathBuf {
    dir.join(format!("{base:020}.{SEGMENT_SUFFIX}"))
}

/// The file of that segment's index.
pub(crate) fn index_path(dir: &Path, base: Offset) -> PathBuf {
    dir.join(format!("{base:020}.{INDEX_SUFFIX}"))
}

/// Where the segments start that have an index, ascending.
pub(crate) fn indexes(dir: &Path) -> io::Result<Vec<Offset>> {
    let mut bases = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        bases.extend(entry?.file_name().to_str().and_then(|name| parse_name(name, INDEX_SUFFIX)));
    }
    bases.sort_unstable();
    Ok(bases)
}

fn segment_base(name: &str) -> Option<Offset> {
    parse_name(name, SEGMENT_SUFFIX)
}

fn parse_name(name: &str, suffix: &str) -> Option<Offset> {
    let digits = name.strip_suffix(suffix)?.strip_suffix('.')?;
    let is_ours = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
    let base: u64 = digits.parse().ok()?;
    (is_ours && base.is_multiple_of(STRIPE_BYTES)).then(|| Offset::new(base))
}

/// Stripes are numbered with 32 bits, and a segment is mapped whole.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 16 << 30;

const SEGMENT_SUFFIX: &str = "log";
const INDEX_SUFFIX: &str = "index";

/// From a disk with a battery to one that stalls.
const SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
