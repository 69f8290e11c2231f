//! The one writer: takes groups, writes them, publishes them, has them synced.
//!
//! Everything that changes `written` and `durable` happens on this thread, so their order needs no
//! locks. A group forms by itself while the one before is written; after that the writer waits a
//! moment for more, but never when it was idle.

use std::io;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::event::Offset;

use super::append::{GATHER_BYTES, Intake, Open, WriterState};
use super::cursors::is_full;
use super::engine::{DiskThread, Done, Prepared};
use super::error::{LogError, Refusal};
use super::handle::LogOptions;
use super::index;
use super::io::{LogFile, LogIo};
use super::layout::Taken;
use super::prepare::{Preparation, prepare};
use super::ring::Ring;
use super::shared::{Segment, Shared, segment_path};
use super::unsynced::Unsynced;

/// How often groups are made durable; it may change while the log is open.
#[derive(Debug)]
pub(crate) struct Pace {
    sync_ns: AtomicU64,
    sync_bytes: AtomicU64,
    /// How long segments are.
    pub(crate) segment_bytes: u64,
}

impl Pace {
    pub(crate) fn of(options: &LogOptions) -> Self {
        let segment_bytes = options.segment_bytes;
        let pace =
            Self { sync_ns: AtomicU64::new(0), sync_bytes: AtomicU64::new(0), segment_bytes };
        pace.set(options);
        pace
    }

    /// Has the next group follow these options.
    pub(crate) fn set(&self, options: &LogOptions) {
        let sync_ns = u64::try_from(options.sync_interval.as_nanos()).unwrap_or(u64::MAX);
        self.sync_ns.store(sync_ns, Ordering::Relaxed);
        self.sync_bytes.store(options.sync_bytes, Ordering::Relaxed);
    }

    /// At the latest after this much time.
    fn sync_interval(&self) -> Duration {
        Duration::from_nanos(self.sync_ns.load(Ordering::Relaxed))
    }

    /// Or after this many bytes.
    fn sync_bytes(&self) -> u64 {
        self.sync_bytes.load(Ordering::Relaxed)
    }
}

/// A segment that is being written, or comes next.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) segment: Arc<Segment>,
    pub(crate) file: Arc<LogFile>,
    pub(crate) index: Arc<LogFile>,
}

/// What the writer thread owns.
pub(crate) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) intake: Arc<Intake>,
    pub(super) io: Arc<dyn LogIo>,
    pub(super) pace: Arc<Pace>,
    pub(super) disk: DiskThread,
    pub(super) ring: Option<Ring>,
    pub(super) current: Active,
    pub(super) next: Option<Active>,
    /// The group that is being written.
    pub(super) taken: Taken,
    /// How much of it is in the files; it is held until all of it is.
    pub(super) progress: usize,
    pub(super) holding: bool,
    /// The groups before it that are not durable.
    pub(super) unsynced: Unsynced,
    /// Whether each record may be there only once.
    pub(super) is_store: bool,
    /// Files with unsynced bytes, in order.
    pub(super) dirty: Vec<Arc<LogFile>>,
    /// When the first of those bytes was written.
    pub(super) dirty_since: Option<Instant>,
    /// Up to where a running sync reaches.
    pub(super) syncing: Option<Offset>,
    /// When it was begun.
    pub(super) sync_began: Instant,
    /// What is not durable begins here, unless `durable` is further.
    pub(super) rewritten_from: Offset,
    pub(super) trouble: Option<Trouble>,
    pub(super) preparation: Preparation,
    pub(super) taken_at: Option<Instant>,
}

/// The disk refused; what to try again, and when.
pub(super) struct Trouble {
    pub(super) retry: Retry,
    pub(super) at: Instant,
    pub(super) pause: Duration,
}

/// What to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    /// The same bytes at the same place: there was no space.
    Write,
    /// Everything that is not durable, into a new segment.
    Relocate,
}

impl Retry {
    /// What a refused write asks for.
    pub(super) fn after(refusal: &Refusal) -> Self {
        if is_full(&refusal.source) { Self::Write } else { Self::Relocate }
    }
}

/// What to do next.
enum Step {
    /// A group was taken: write it.
    Write,
    /// The disk refused a while ago: try again.
    Retry,
    /// Have the next segment made.
    Prepare,
    /// Nothing to write before then, or before somebody wakes us.
    Sleep(Option<Instant>),
    /// Closed, and everything is durable.
    End,
}

impl Writer {
    /// Runs until the log is closed and everything is durable.
    pub(crate) fn run(mut self) -> Result<(), LogError> {
        self.intake.wake.attach();
        set_timer_slack();
        loop {
            self.take_answers();
            let now = Instant::now();
            match self.step(now) {
                Step::Write => {
                    self.write_group(now);
                    // Not only before a sleep: senders that never pause leave none.
                    self.start_sync(now);
                }
                Step::Retry => self.retry(now)?,
                Step::Prepare => self.prepare_next(),
                Step::Sleep(until) => {
                    self.start_sync(now);
                    let until = earliest(until, self.sync_at(now));
                    self.park(earliest(until, self.preparation.retry_at()));
                }
                Step::End => return self.end(),
            }
        }
    }

    /// Takes the next group, or says how long there is nothing to do.
    fn step(&mut self, now: Instant) -> Step {
        let intake = Arc::clone(&self.intake);
        let mut open = intake.lock();
        if let Some(trouble) = &self.trouble {
            // Somebody closed the log while the disk refuses: one more try, then it ends. Not while
            // a sync runs, which may still tell that what would be moved is durable where it is.
            let is_busy = self.preparation.is_running() || self.syncing.is_some();
            return match (now < trouble.at && !open.closed, is_busy) {
                (true, _) => Step::Sleep(Some(trouble.at)),
                (false, true) => Step::Sleep(None),
                (false, false) => Step::Retry,
            };
        }
        // Under the lock: an appender that waits for a segment is seen, or sees us awake.
        if self.needs_segment(&open) {
            return Step::Prepare;
        }
        let unsynced = self.shared.control.written().bytes() - self.unsynced_from().bytes();
        if self.syncing.is_some() && unsynced >= self.unsynced_bytes_max() {
            // The answer of the sync wakes us; appenders wait in the bounded group.
            return Step::Sleep(None);
        }
        let bytes = open.layout.bytes.len();
        if bytes == 0 {
            if open.closed && self.dirty.is_empty() && self.syncing.is_none() {
                return Step::End;
            }
            open.writer = WriterState::Idle;
            return Step::Sleep(None);
        }
        let gathered = self.taken_at.map(|at| at + GATHER);
        let urgent = bytes >= GATHER_BYTES || open.flush > open.layout.base || open.waiting > 0;
        if let Some(gathered) = gathered.filter(|&at| now < at && !urgent) {
            open.writer = WriterState::Gathering;
            return Step::Sleep(Some(gathered));
        }
        self.take(&mut open, now);
        Step::Write
    }

    fn take(&mut self, open: &mut Open, now: Instant) {
        debug_assert!(!self.holding, "a group is written before the next one is taken");
        let empty = std::mem::take(&mut self.taken);
        self.taken = open.layout.take(empty);
        self.progress = 0;
        self.holding = true;
        self.taken_at = Some(now);
        open.writer = WriterState::Busy;
        self.intake.signal_room(open);
    }

    fn write_group(&mut self, now: Instant) {
        match self.write_taken(now) {
            Ok(()) => self.publish_taken(),
            Err(refusal) => {
                let retry = Retry::after(&refusal);
                self.refuse(refusal, retry);
            }
        }
    }

    /// Writes the taken group; goes on where an earlier try stopped.
    pub(super) fn write_taken(&mut self, now: Instant) -> Result<(), Refusal> {
        let taken = std::mem::take(&mut self.taken);
        let written = self.write_pieces(&taken, now);
        self.taken = taken;
        written
    }

    fn write_pieces(&mut self, taken: &Taken, now: Instant) -> Result<(), Refusal> {
        while self.progress < taken.bytes.len() {
            let at = Offset::new(taken.base.bytes() + self.progress as u64);
            if at == self.current.segment.capacity_end() {
                self.rotate(&taken.filled);
            }
            let room = self.current.segment.capacity_end().bytes() - at.bytes();
            let rest = &taken.bytes[self.progress..];
            let len = usize::try_from(room).unwrap_or(usize::MAX).min(rest.len());
            self.mark_dirty(now);
            let is_last = len == rest.len();
            let sync = is_last && self.ring.is_some() && self.sync_due(taken.end, now);
            self.write_piece(at, &rest[..len], sync.then_some(taken.end))?;
            self.progress += len;
        }
        Ok(())
    }

    /// Writes bytes into the current segment; with a ring, the sync follows in the same call.
    pub(super) fn write_piece(
        &mut self,
        at: Offset,
        piece: &[u8],
        sync_to: Option<Offset>,
    ) -> Result<(), Refusal> {
        let file = &self.current.file;
        let position = at.bytes() - self.current.segment.base.bytes();
        let written = match (&mut self.ring, sync_to) {
            (None, _) => self.io.write(file, position, piece),
            (Some(ring), None) => ring.write(file, position, piece, &[]),
            (Some(ring), Some(to)) => {
                let written = ring.write(file, position, piece, &self.dirty);
                if written.is_ok() {
                    self.syncing = Some(to);
                    self.sync_began = Instant::now();
                    self.dirty.clear();
                    self.dirty_since = None;
                }
                written
            }
        };
        written.map_err(|source| Refusal { action: "write", path: file.path.clone(), source })
    }

    /// Shows readers what was written.
    pub(super) fn publish_taken(&mut self) {
        let mut taken = std::mem::take(&mut self.taken);
        for &(start, stripe) in &taken.filled {
            let Some(segment) = self.shared.find(start) else { continue };
            segment.stripes.store(segment.stripe_index(start), stripe);
        }
        let current = &self.current.segment;
        if taken.end < current.capacity_end() {
            current.stripes.store(current.stripe_index(taken.end), taken.stripe);
        }
        self.publish(taken.end);
        for &(start, stripe) in &taken.filled {
            self.write_index(start, &stripe);
        }
        self.unsynced.keep(taken.base, &mut taken.bytes);
        taken.clear();
        self.taken = taken;
        self.holding = false;
    }

    pub(super) fn publish(&mut self, end: Offset) {
        self.shared.control.publish_written(end);
        self.shared.wakers.signal_written(end);
    }

    /// Writes a stripe's entry into the index; it can be rebuilt, so nothing waits for it.
    pub(super) fn write_index(&mut self, start: Offset, stripe: &index::Stripe) {
        if start < self.current.segment.base {
            // The stripe before a rotation; `rotate` wrote its entry.
            return;
        }
        let segment = &self.current.segment;
        let (at, entry) = index::entry(segment.base, segment.stripe_index(start), stripe);
        if let Err(error) = self.io.write(&self.current.index, at, &entry) {
            let path = self.current.index.path.display();
            tracing::warn!(%path, %error, "cannot write an index; the next start rebuilds it");
        }
    }

    /// Goes on to the next segment.
    fn rotate(&mut self, filled: &[(Offset, index::Stripe)]) {
        let next = self.next.take().expect("records are laid only into segments that exist");
        for (start, stripe) in filled.iter().filter(|(start, _)| *start < next.segment.base) {
            self.write_index(*start, stripe);
        }
        // The index of a finished segment says how many events a damaged stripe held.
        let index = Arc::clone(&self.current.index);
        self.dirty.push(index);
        self.current = next;
    }

    /// Notes that the current segment has bytes to be synced.
    pub(super) fn mark_dirty(&mut self, now: Instant) {
        self.dirty_since.get_or_insert(now);
        if !self.dirty.iter().any(|file| Arc::ptr_eq(file, &self.current.file)) {
            self.dirty.push(Arc::clone(&self.current.file));
        }
    }

    /// Whether what lies below `end` should be synced now.
    fn sync_due(&self, end: Offset, now: Instant) -> bool {
        if self.syncing.is_some() || self.dirty.is_empty() {
            return false;
        }
        let unsynced = end.bytes() - self.unsynced_from().bytes();
        unsynced >= self.pace.sync_bytes() || self.sync_at(now).is_some_and(|at| at <= now)
    }

    /// When the running interval ends, or at once when somebody asked.
    fn sync_at(&self, now: Instant) -> Option<Instant> {
        let since =
            self.dirty_since.filter(|_| self.syncing.is_none() && self.trouble.is_none())?;
        let flush = self.intake.flush() > self.shared.control.durable();
        Some(if flush { now } else { since + self.pace.sync_interval() })
    }

    fn start_sync(&mut self, now: Instant) {
        let written = self.shared.control.written();
        if self.trouble.is_some() || self.holding || !self.sync_due(written, now) {
            return;
        }
        let files = std::mem::take(&mut self.dirty);
        self.dirty_since = None;
        self.syncing = Some(written);
        self.sync_began = now;
        let Some(ring) = &mut self.ring else { return self.disk.sync(files) };
        if let Err(error) = ring.sync(files) {
            self.on_synced(Err(error));
        }
    }

    /// Takes in what the disk thread and the ring have done.
    fn take_answers(&mut self) {
        if self.ring.as_ref().is_some_and(Ring::is_broken) {
            tracing::error!("io_uring failed: going on with plain calls");
            self.ring = None;
            if self.syncing.is_some() {
                self.on_synced(Err(io::Error::other("io_uring failed during a sync")));
            }
        }
        while let Some(synced) = self.ring.as_mut().and_then(Ring::poll) {
            self.on_synced(synced);
        }
        while let Some(done) = self.disk.poll() {
            match done {
                Done::Synced(synced) => self.on_synced(synced),
                Done::Prepared(Ok(prepared)) => self.on_prepared(prepared),
                Done::Prepared(Err(refusal)) => {
                    self.preparation.on_error(Instant::now());
                    let mut open = self.intake.lock();
                    open.segment_refusal = Some(Arc::new(refusal));
                    self.intake.signal_room(&open);
                }
            }
        }
    }

    fn on_synced(&mut self, synced: io::Result<()>) {
        let Some(end) = self.syncing.take() else { return };
        match synced {
            Ok(()) => {
                let took = self.sync_began.elapsed();
                self.shared.sync_seconds.observe(took.as_secs_f64());
                self.shared.control.publish_durable(end);
                self.unsynced.forget_below(end);
                self.shared.wakers.signal_durable(end);
                self.intake.signal_settled();
            }
            // The bytes may be gone from the page cache and reported as clean: asking again
            // would be answered with success (fsyncgate). They are written anew elsewhere.
            Err(source) => {
                let path = self.current.file.path.clone();
                self.refuse(Refusal { action: "sync", path, source }, Retry::Relocate);
            }
        }
    }

    fn on_prepared(&mut self, prepared: Prepared) {
        let active = self.activate(prepared);
        self.preparation.on_done();
        self.next = Some(active);
        let mut open = self.intake.lock();
        open.layout.spare = true;
        self.intake.on_segment(&mut open);
    }

    /// Adds a new segment to those that readers look at.
    pub(super) fn activate(&self, prepared: Prepared) -> Active {
        let Prepared { name, file, index } = prepared;
        let segment = Arc::new(Segment::new(&self.shared.dir, name));
        self.shared.push(Arc::clone(&segment));
        Active { segment, file, index }
    }

    /// Whether half of the current segment is used, or a record needs the next one.
    fn needs_segment(&self, open: &Open) -> bool {
        let end = self.current.segment.capacity_end().bytes();
        let left = end.saturating_sub(open.layout.next.bytes());
        let is_wanted = left <= self.pace.segment_bytes / 2;
        is_wanted && self.next.is_none() && self.preparation.is_due()
    }

    fn prepare_next(&mut self) {
        let end = self.current.segment.capacity_end();
        if self.intake.is_held.load(Ordering::Acquire) {
            return self.wait_for_room_below(end);
        }
        self.preparation.on_start();
        self.disk.prepare(prepare(&self.shared, &self.io, end, self.pace.segment_bytes));
    }

    /// Begins no segment while somebody needs what the bound on the log would take for it.
    fn wait_for_room_below(&mut self, end: Offset) {
        self.preparation.on_error(Instant::now());
        let path = segment_path(&self.shared.dir, end);
        let source = io::Error::other(
            "the log has reached its bound, and an exporter that blocks (`on_lag: block`) still \
             needs its oldest events",
        );
        let mut open = self.intake.lock();
        open.segment_refusal = Some(Arc::new(Refusal { action: "begin", path, source }));
        self.intake.signal_room(&open);
    }

    /// Tells appenders that the disk refuses, and plans the next try.
    pub(super) fn refuse(&mut self, refusal: Refusal, retry: Retry) {
        tracing::error!(%refusal, "the log cannot be written; trying again");
        let pause = match &self.trouble {
            None => RETRY_PAUSE,
            Some(trouble) => (trouble.pause * 2).min(RETRY_PAUSE_MAX),
        };
        // Once bytes must move, they must move, whatever fails meanwhile.
        let retry = match &self.trouble {
            Some(trouble) if trouble.retry == Retry::Relocate => Retry::Relocate,
            _ => retry,
        };
        let refusal = Arc::new(refusal);
        let at = Instant::now() + pause;
        self.trouble = Some(Trouble { retry, at, pause });
        let mut open = self.intake.lock();
        open.refusal = Some(refusal);
        open.writer = WriterState::Busy;
        self.intake.signal_room(&open);
        drop(open);
        self.intake.signal_settled();
    }
}

impl Writer {
    /// Sleeps until woken; with a ring, also until a sync ends.
    fn park(&mut self, until: Option<Instant>) {
        match &mut self.ring {
            None => self.intake.wake.park(until),
            Some(ring) => ring.park(until),
        }
    }

    /// Where the bytes begin that nobody has acknowledged.
    pub(super) fn unsynced_from(&self) -> Offset {
        self.shared.control.durable().max(self.rewritten_from)
    }

    /// How far `written` may run ahead of `durable`: that much must be written again when a sync
    /// fails, and is lost with the power.
    fn unsynced_bytes_max(&self) -> u64 {
        self.pace.sync_bytes().saturating_mul(4).max(UNSYNCED_BYTES_MAX)
    }

    /// Notes that the log ended in order.
    fn end(&mut self) -> Result<(), LogError> {
        let end = self.shared.control.durable();
        self.shared.control.close(end, &*self.io)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut open = self.intake.lock();
        open.closed = true;
        open.ended = true;
        self.intake.signal_room(&open);
        drop(open);
        self.intake.signal_settled();
    }
}

fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    a.into_iter().chain(b).min()
}

/// The pause in which a group forms is 0.2 ms; the usual slack of 0.05 ms would blur it.
fn set_timer_slack() {
    let wanted = NonZeroU64::new(TIMER_SLACK_NS);
    // Refused in some sandboxes; groups then form a little slower.
    let _refused = rustix::thread::set_current_timer_slack(wanted);
}

/// How long a group forms when the one before was written just now. At 20,000 single appends/s
/// this makes 5,000 calls of them, and adds 0.1 ms on average.
const GATHER: Duration = Duration::from_micros(200);

const TIMER_SLACK_NS: u64 = 1_000;

const UNSYNCED_BYTES_MAX: u64 = 16 << 20;

/// The first pause before the disk is tried again; doubled each time.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

const RETRY_PAUSE_MAX: Duration = Duration::from_secs(15);
