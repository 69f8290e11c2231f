//! The writer's handle: opening, publishing, retention, closing.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::event::{Offset, Span};
use crate::metrics::Observed;

use super::STRIPE_BYTES;
use super::append::{Appender, Intake};
use super::cursors::Cursors;
use super::engine::{DiskThread, Wake};
use super::error::{LogError, Refusal};
use super::index::State;
use super::io::{Disk, LogIo};
use super::layout::{Layout, Taken};
use super::open::{self, Recovery};
use super::prepare::Preparation;
use super::priority::{Priority, raise};
use super::reader::Reader;
use super::ring::Ring;
use super::shared::{SEGMENT_BYTES_MAX, Segment, Shared};
use super::unsynced::Unsynced;
use super::waker::Wakers;
use super::writer::{Pace, Writer};

/// How a log is kept; the `log:` section of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// Where it lies. It is made, for its owner only, where it is missing.
    pub dir: PathBuf,
    /// How long each segment is: a multiple of the stripe, at least two.
    pub segment_bytes: u64,
    /// Everything is durable at the latest this long after it was written.
    pub sync_interval: Duration,
    /// Or as soon as this many bytes wait for it.
    pub sync_bytes: u64,
    /// How the disk is asked.
    pub io: IoChoice,
    /// Whether the thread that writes goes before others, where the process may have that.
    pub is_realtime: bool,
    /// What every exporter has passed is kept up to this many bytes.
    pub keep_bytes: u64,
    /// And up to this age.
    pub keep_age: Duration,
    /// The log is never longer, whoever has not passed.
    pub bytes_max: u64,
    /// Whether it is a store, as of dead letters, whose records are read once they are durable and
    /// removed one by one. A full disk takes none of them back, since nobody has passed them, and
    /// what a failed sync has written again is there once.
    pub is_store: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("log"),
            segment_bytes: 256 << 20,
            sync_interval: Duration::from_millis(20),
            sync_bytes: 4 << 20,
            io: IoChoice::Auto,
            is_realtime: false,
            keep_bytes: 10 << 30,
            keep_age: Duration::from_secs(7 * 24 * 3600),
            bytes_max: 50 << 30,
            is_store: false,
        }
    }
}

/// How the disk shall be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IoChoice {
    /// As measured to be best; see `docs/decisions/log-io.md`.
    #[default]
    Auto,
    /// Through io_uring, or not at all.
    IoUring,
    /// Through plain calls.
    Syscalls,
}

/// How the disk is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoKind {
    /// Through io_uring.
    IoUring,
    /// Through plain calls.
    Syscalls,
}

impl fmt::Display for IoKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IoUring => "io_uring",
            Self::Syscalls => "syscalls",
        })
    }
}

/// The one writer's handle; clones share it, and the lock goes with the last one.
#[derive(Clone, Debug)]
pub struct Log {
    held: Arc<Held>,
}

/// What retention took, or would take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// From the oldest offset to the one that is the oldest afterwards.
    pub span: Span,
    /// The events inside.
    pub events: u64,
    /// The segments.
    pub segments: usize,
}

impl Log {
    /// Opens a log for writing, repairing what a crash left.
    ///
    /// # Errors
    /// When another process has it, an option is out of its range, the disk refuses, or the log is
    /// of a newer version.
    pub fn open(options: LogOptions) -> Result<(Self, Recovery), LogError> {
        Self::open_on(options, Arc::new(Disk))
    }

    /// Opens a log on another disk than the real one: tests record and fail its calls.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub fn open_on(options: LogOptions, io: Arc<dyn LogIo>) -> Result<(Self, Recovery), LogError> {
        check(&options)?;
        let (wake, ring) = engine(&options, &*io)?;
        let kind = if ring.is_some() { IoKind::IoUring } else { IoKind::Syscalls };
        let lock = open::lock(&options.dir, &*io)?;
        let opened = open::open(&options.dir, options.segment_bytes, &*io)?;
        let recovery = opened.recovery;
        let shared = Arc::new(Shared::new(
            options.dir.clone(),
            opened.control,
            opened.segments,
            Wakers::own(),
            Arc::clone(&io),
        ));
        let intake = Arc::new(Intake::new(
            opened.layout,
            wake.clone(),
            Arc::clone(&shared),
            Layout::record_bytes_max(options.segment_bytes),
        ));
        let thread_error = || LogError::io("start a thread for", &options.dir);
        let disk = DiskThread::start(Arc::clone(&io), wake).map_err(thread_error())?;
        let pace = Arc::new(Pace::of(&options));
        let writer = Writer {
            shared: Arc::clone(&shared),
            intake: Arc::clone(&intake),
            io: Arc::clone(&io),
            pace: Arc::clone(&pace),
            disk,
            ring,
            current: opened.current,
            next: opened.next,
            taken: Taken::default(),
            progress: 0,
            holding: false,
            unsynced: Unsynced::default(),
            is_store: options.is_store,
            dirty: Vec::new(),
            dirty_since: None,
            syncing: None,
            sync_began: Instant::now(),
            rewritten_from: Offset::ZERO,
            trouble: None,
            preparation: Preparation::Resting,
            taken_at: None,
        };
        let thread = std::thread::Builder::new()
            .name("log-write".into())
            .spawn(move || writer.run())
            .map_err(thread_error())?;
        let priority = if options.is_realtime { raise(&thread) } else { Priority::Usual };
        let writer = Mutex::new(Some(thread));
        let keep = RwLock::new(Keep::of(&options));
        let retaining = Mutex::new(Retaining { _lock: lock, taken: Vec::new() });
        let held = Held { shared, intake, io, kind, priority, pace, keep, writer, retaining };
        Ok((Self { held: Arc::new(held) }, recovery))
    }

    /// Keeps as much as these options say from now on, and makes it durable as often: `keep_bytes`,
    /// `keep_age`, `bytes_max`, `sync_interval` and `sync_bytes`. The others belong to opening.
    pub fn keep(&self, options: &LogOptions) {
        self.held.pace.set(options);
        // It may sleep as long as the interval was.
        self.held.intake.wake.wake();
        let mut keep = self.held.keep.write().unwrap_or_else(PoisonError::into_inner);
        *keep = Keep { is_store: keep.is_store, ..Keep::of(options) };
    }

    /// A door for threads that append.
    #[must_use]
    pub fn appender(&self) -> Appender {
        Appender::new(Arc::clone(&self.held.intake))
    }

    /// A reader in this process.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.held.shared))
    }

    /// The exporters' cursors, which never pass `durable`.
    ///
    /// # Errors
    /// When another process holds their lease, or the directory cannot be made.
    pub fn cursors(&self) -> Result<Cursors, LogError> {
        let shared = Arc::clone(&self.held.shared);
        Cursors::lease(&shared.dir.clone(), Arc::clone(&self.held.io), Some(shared))
    }

    /// The disk that it lies on, for what has to agree with it.
    pub(crate) fn disk(&self) -> Arc<dyn LogIo> {
        Arc::clone(&self.held.io)
    }

    /// How the disk is asked.
    #[must_use]
    pub fn io(&self) -> IoKind {
        self.held.kind
    }

    /// How soon the kernel runs the thread that writes.
    #[must_use]
    pub fn priority(&self) -> Priority {
        self.held.priority
    }

    /// Readers may read everything below.
    #[must_use]
    pub fn written(&self) -> Offset {
        self.held.shared.control.written()
    }

    /// A power loss takes nothing below.
    #[must_use]
    pub fn durable(&self) -> Offset {
        self.held.shared.control.durable()
    }

    /// How long it took to make groups durable, since this process opened the log.
    #[must_use]
    pub fn sync_seconds(&self) -> Observed {
        self.held.shared.sync_seconds.load()
    }

    /// Retention took everything below.
    #[must_use]
    pub fn oldest(&self) -> Offset {
        self.held.shared.control.oldest()
    }

    /// What [`Log::retain`] would take now, so that exporters can count their share before.
    ///
    /// # Errors
    /// When a segment cannot be read to count its events.
    pub fn retainable(&self, pinned: Offset) -> Result<Retained, LogError> {
        let (retained, _segments) = self.held.plan(pinned, FAR, SystemTime::now())?;
        Ok(retained)
    }

    /// Takes nothing while this holds: somebody is behind as far as he may be, or needs what the
    /// bound on the log would take, and appenders are refused with that reason.
    pub fn hold(&self, is_held: bool) {
        let intake = &self.held.intake;
        if intake.is_held.load(Ordering::Acquire) == is_held {
            return;
        }
        let reason = || Refusal {
            action: "append to",
            path: self.held.shared.dir.clone(),
            source: io::Error::other(
                "an exporter that blocks (`on_lag: block`) is as far behind as it may be, or still \
                 needs the oldest events of a log that has reached its bound",
            ),
        };
        intake.hold(is_held.then(reason));
    }

    /// Takes away old segments: those beyond `keep` that lie wholly below `pinned`, and, whoever
    /// has not passed them, those beyond `bytes_max` or 32,768. The segment being written always
    /// stays.
    ///
    /// # Errors
    /// When a segment cannot be read to count its events. A file that the disk does not let go is
    /// left to [`Log::remove_taken`].
    pub fn retain(&self, pinned: Offset) -> Result<Retained, LogError> {
        self.retain_up_to(pinned, FAR)
    }

    /// The same, but whatever the bounds say nothing at or above `limit` goes.
    ///
    /// # Errors
    /// As [`Log::retain`].
    pub fn retain_up_to(&self, pinned: Offset, limit: Offset) -> Result<Retained, LogError> {
        let held = &self.held;
        let mut retaining = held.retaining.lock().unwrap_or_else(PoisonError::into_inner);
        let (retained, segments) = held.plan(pinned, limit, SystemTime::now())?;
        if segments.is_empty() {
            return Ok(retained);
        }
        // Told first: a reader must not look for a file that is gone.
        held.shared.control.publish_oldest(retained.span.to);
        held.shared.remove_oldest(segments.len());
        retaining.taken.extend(segments);
        if let Err(problem) = held.remove_taken(&mut retaining) {
            // They are no part of the log any more, whatever becomes of the files.
            tracing::error!(%problem, "an old segment stays on the disk for now");
        }
        Ok(retained)
    }

    /// Removes the files of segments that [`Log::retain`] took while the disk refused; to be called
    /// again and again.
    ///
    /// # Errors
    /// When it still refuses.
    pub fn remove_taken(&self) -> Result<(), LogError> {
        let retaining = self.held.retaining.lock();
        self.held.remove_taken(&mut retaining.unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends the segment being written where its oldest record is older than `keep_age`: once its
    /// newest is too, [`Log::retain`] takes it. To be called again and again, since the next
    /// segment may not be ready.
    ///
    /// # Errors
    /// When the disk refuses, or the log is closed.
    pub fn end_aged(&self) -> Result<(), LogError> {
        let (held, written) = (&self.held, self.written());
        let is_active = |it: &&Arc<Segment>| it.base <= written && written < it.capacity_end();
        let segments = held.shared.segments();
        let Some(active) = segments.iter().find(is_active) else { return Ok(()) };
        let age = held.keep.read().unwrap_or_else(PoisonError::into_inner).age;
        let is_aged = |oldest| now_ns(SystemTime::now()).saturating_sub(oldest) > age.as_nanos();
        if oldest_ns(active).is_some_and(is_aged) {
            self.appender().try_end_segment(active.capacity_end()).map_err(LogError::Append)?;
        }
        Ok(())
    }

    /// Where the oldest segment ends, when there is no space left on the disk: what lies below has
    /// to go before anything can be appended.
    #[must_use]
    pub fn full_until(&self) -> Option<Offset> {
        if !self.held.intake.is_full() {
            return None;
        }
        let written = self.written();
        let segments = self.held.shared.segments();
        let oldest = segments.first().filter(|oldest| oldest.capacity_end() <= written)?;
        let after = self.held.shared.find(oldest.capacity_end());
        Some(after.map_or(oldest.capacity_end(), |segment| segment.base))
    }

    /// Whether the disk has no space for what is appended.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.held.intake.is_full()
    }

    /// Waits until everything appended so far is durable; returns its end.
    ///
    /// # Errors
    /// When the disk refuses, or the log is closed.
    pub fn flush(&self) -> Result<Offset, LogError> {
        let end = self.held.intake.request_flush();
        self.held.intake.wait_durable(end)?;
        Ok(end)
    }

    /// Takes no more records, makes all durable, and ends the log in order, for all clones.
    ///
    /// # Errors
    /// When the disk refuses; what is not durable then may be lost with the power.
    pub fn close(self) -> Result<(), LogError> {
        self.held.close()
    }
}

/// What the clones of a handle share.
struct Held {
    shared: Arc<Shared>,
    intake: Arc<Intake>,
    io: Arc<dyn LogIo>,
    kind: IoKind,
    priority: Priority,
    pace: Arc<Pace>,
    keep: RwLock<Keep>,
    writer: Mutex<Option<JoinHandle<Result<(), LogError>>>>,
    /// The mutex keeps two threads from retaining at once.
    retaining: Mutex<Retaining>,
}

/// What only the thread that retains needs.
struct Retaining {
    /// The directory's lock.
    _lock: File,
    /// Segments that are no part of the log any more, and whose files may still be there.
    taken: Vec<Arc<Segment>>,
}

#[derive(Clone, Copy, Debug)]
struct Keep {
    bytes: u64,
    age: Duration,
    bytes_max: u64,
    is_store: bool,
}

impl Keep {
    fn of(options: &LogOptions) -> Self {
        Self {
            bytes: options.keep_bytes,
            age: options.keep_age,
            bytes_max: options.bytes_max,
            is_store: options.is_store,
        }
    }
}

/// Beyond every offset.
const FAR: Offset = Offset::new(u64::MAX);

impl Held {
    /// Which segments may go, oldest first.
    fn plan(
        &self,
        pinned: Offset,
        limit: Offset,
        now: SystemTime,
    ) -> Result<(Retained, Vec<Arc<Segment>>), LogError> {
        let written = self.shared.control.written();
        let now_ns = now_ns(now);
        let segments = self.shared.segments();
        let mut bytes: u64 = segments.iter().map(|segment| segment.disk_bytes()).sum();
        let keep = *self.keep.read().unwrap_or_else(PoisonError::into_inner);
        let is_full = !keep.is_store && self.intake.lacks_space();
        let mut going = Vec::new();
        for (at, segment) in segments.iter().enumerate() {
            let is_finished = segment.capacity_end() <= written;
            let newest = newest_ns(&segments[at..], now_ns);
            let is_old = now_ns.saturating_sub(newest) > keep.age.as_nanos();
            // A full disk takes back what is kept beyond need, one segment at a time.
            let is_excess = bytes > keep.bytes || is_old || (is_full && going.is_empty());
            let is_passed = segment.end() <= pinned;
            let is_beyond = bytes > keep.bytes_max || segments.len() - at > SEGMENTS_MAX;
            let goes = is_beyond || (is_excess && is_passed);
            if !is_finished || !goes || segment.end() > limit {
                break;
            }
            bytes -= segment.disk_bytes();
            going.push(Arc::clone(segment));
        }
        let from = self.shared.control.oldest();
        let Some(last) = going.last() else {
            return Ok((Retained { span: Span { from, to: from }, ..Retained::default() }, going));
        };
        let after = self.shared.find(last.capacity_end());
        let to = after.map_or(last.capacity_end(), |segment| segment.base);
        let span = Span { from, to };
        let events = Reader::new(Arc::clone(&self.shared)).count(span)?;
        Ok((Retained { span, events, segments: going.len() }, going))
    }

    /// Removes the files of what was taken, oldest first.
    fn remove_taken(&self, retaining: &mut Retaining) -> Result<(), LogError> {
        if retaining.taken.is_empty() {
            return Ok(());
        }
        for segment in &retaining.taken {
            open::remove(&self.shared.dir, segment, &*self.io)?;
        }
        self.io.sync_dir(&self.shared.dir).map_err(LogError::io("sync", &self.shared.dir))?;
        retaining.taken.clear();
        Ok(())
    }

    fn close(&self) -> Result<(), LogError> {
        self.intake.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        match writer.map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(ended)) => ended,
            Some(Err(_panic)) => Err(LogError::Append(super::error::AppendError::Closed)),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "the log did not end in order");
        }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("dir", &self.shared.dir).finish_non_exhaustive()
    }
}

fn now_ns(now: SystemTime) -> u128 {
    now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos())
}

/// When the oldest of a segment's records was received, nanoseconds since 1970; none where it has
/// none.
fn oldest_ns(segment: &Segment) -> Option<u128> {
    let stripes = (0..segment.stripes.len()).map(|index| segment.stripes.load(index));
    let filled = stripes.filter(|stripe| stripe.state == State::Owned && stripe.events > 0);
    filled.map(|stripe| u128::from(stripe.from_ns)).min()
}

/// When the newest record of the first of these segments was received at the latest, nanoseconds
/// since 1970. Where that is not known, or was a time to come, as when the clock has been put back
/// since, it was before those of the segments behind it.
fn newest_ns(segments: &[Arc<Segment>], now_ns: u128) -> u128 {
    let newest = |segment: &Arc<Segment>| {
        let stripes = (0..segment.stripes.len()).map(|index| segment.stripes.load(index));
        let known = stripes.filter(|stripe| stripe.state == State::Owned && stripe.events > 0);
        known.map(|stripe| u128::from(stripe.to_ns)).max()
    };
    segments.iter().filter_map(newest).find(|&newest| newest <= now_ns).unwrap_or(now_ns)
}

fn check(options: &LogOptions) -> Result<(), LogError> {
    let segment_bytes = options.segment_bytes;
    let is_whole = segment_bytes.is_multiple_of(STRIPE_BYTES);
    if !is_whole || !(2 * STRIPE_BYTES..=SEGMENT_BYTES_MAX).contains(&segment_bytes) {
        let expected = format!("a multiple of {STRIPE_BYTES}, 2 MiB to 16 GiB");
        return Err(LogError::Option { key: "segment_bytes", found: segment_bytes, expected });
    }
    if options.bytes_max < 2 * segment_bytes {
        let expected = format!("at least two segments, {}", 2 * segment_bytes);
        return Err(LogError::Option { key: "max_bytes", found: options.bytes_max, expected });
    }
    Ok(())
}

/// What writes, and how it is woken.
fn engine(options: &LogOptions, io: &dyn LogIo) -> Result<(Wake, Option<Ring>), LogError> {
    let wants_ring = match options.io {
        IoChoice::IoUring => true,
        IoChoice::Auto => AUTO_IS_RING && io.allows_ring(),
        IoChoice::Syscalls => false,
    };
    if !wants_ring {
        return Ok((Wake::parked(), None));
    }
    let error = || LogError::io("set up io_uring for", &options.dir);
    let wake = Wake::polled().map_err(error())?;
    match Ring::probe(&wake) {
        Ok(ring) => Ok((wake, Some(ring))),
        Err(probe) if options.io == IoChoice::Auto => {
            tracing::info!(error = %probe, "no io_uring here: writing with plain calls");
            Ok((Wake::parked(), None))
        }
        Err(probe) => Err(error()(probe)),
    }
}

/// Segments of one log at most, however many bytes it may have: all are mapped, and a process has
/// some 65,000 mappings.
const SEGMENTS_MAX: usize = 1 << 15;

/// Whether io_uring is used where it works; measured in `docs/decisions/log-io.md`.
const AUTO_IS_RING: bool = false;
