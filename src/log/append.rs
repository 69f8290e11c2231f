//! Appending: many threads copy records into the group that the writer takes next.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::event::Offset;

use super::cursors::is_full;
use super::engine::Wake;
use super::error::{AppendError, Refusal};
use super::frame::Mark;
use super::layout::{Layout, NOTE_BYTES_MAX};
use super::shared::Shared;

/// A door into the log, for many threads.
///
/// A record is copied once, into the current group. Nobody waits for the disk, unless the group
/// is full because the disk is slower than the senders.
#[derive(Clone, Debug)]
pub struct Appender {
    intake: Arc<Intake>,
}

impl Appender {
    pub(crate) fn new(intake: Arc<Intake>) -> Self {
        Self { intake }
    }

    /// Appends one record, and returns where it will lie.
    ///
    /// The record is neither readable nor durable yet when this returns. The offset is final,
    /// unless the disk fails before the record is durable: then the record is written again
    /// further on.
    ///
    /// # Errors
    /// When the record is too long, the disk refuses, or the log is closed. Nothing was appended.
    pub fn append(&self, record: &[u8], mark: Mark) -> Result<Offset, AppendError> {
        self.group().append(record, mark)
    }

    /// Appends one record where there is room for it at once; `None` where the disk is slower than
    /// the senders, or the next segment is not ready.
    ///
    /// # Errors
    /// As [`Appender::append`].
    pub fn try_append(&self, record: &[u8], mark: Mark) -> Result<Option<Offset>, AppendError> {
        let mut group = self.group();
        group.fits(record)?;
        group.try_lay(|layout| layout.push(record, mark))
    }

    /// Ends the segment that ends at `end`, where it is the one being filled; false where the next
    /// one is not ready.
    ///
    /// # Errors
    /// When the disk refuses, or the log is closed.
    pub(crate) fn try_end_segment(&self, end: Offset) -> Result<bool, AppendError> {
        let laid = self.group().try_lay(|layout| layout.end_segment(end))?;
        Ok(laid.is_some())
    }

    /// Starts a group of appends that take the lock once.
    ///
    /// Nobody else appends meanwhile, so do only this.
    #[must_use]
    pub fn group(&self) -> Group<'_> {
        Group { intake: &self.intake, open: Some(self.intake.lock()) }
    }

    /// Waits until the record at `after`, and all before it, are durable.
    ///
    /// # Errors
    /// When the disk refuses or the log is closed before. The record may become durable later.
    pub fn wait_durable(&self, after: Offset) -> Result<(), AppendError> {
        self.intake.wait_durable(Offset::new(after.bytes() + 1))
    }

    /// The longest record that is taken, bytes.
    #[must_use]
    pub fn record_bytes_max(&self) -> usize {
        self.intake.record_bytes_max
    }
}

/// Appends under one lock; the writer sees them when this is dropped, or the group is full.
pub struct Group<'a> {
    intake: &'a Intake,
    /// Always there, but while waiting for room.
    open: Option<MutexGuard<'a, Open>>,
}

impl Group<'_> {
    /// Appends one record; as [`Appender::append`].
    ///
    /// # Errors
    /// As [`Appender::append`]; earlier records of the group stay appended.
    pub fn append(&mut self, record: &[u8], mark: Mark) -> Result<Offset, AppendError> {
        self.fits(record)?;
        self.lay(|layout| layout.push(record, mark))
    }

    /// Appends a note: it lies in its order among the records and becomes durable with them, but
    /// it is no event, and only [`super::Reader::notes`] finds it.
    ///
    /// # Errors
    /// As [`Group::append`].
    pub fn note(&mut self, note: &[u8]) -> Result<Offset, AppendError> {
        if note.len() > NOTE_BYTES_MAX {
            let bytes = note.len();
            return Err(AppendError::TooLarge { bytes, bytes_max: NOTE_BYTES_MAX });
        }
        self.lay(|layout| layout.push_note(note))
    }

    fn fits(&self, record: &[u8]) -> Result<(), AppendError> {
        let (bytes, bytes_max) = (record.len(), self.intake.record_bytes_max);
        if bytes > bytes_max {
            return Err(AppendError::TooLarge { bytes, bytes_max });
        }
        Ok(())
    }

    /// Lays one frame, waiting for room where there is none.
    #[inline]
    fn lay(&mut self, push: impl Fn(&mut Layout) -> Option<Offset>) -> Result<Offset, AppendError> {
        loop {
            if let Some(offset) = self.try_lay(&push)? {
                return Ok(offset);
            }
            self.wait_for_room();
        }
    }

    /// Lays one frame where there is room; wakes the writer where there is none.
    #[inline]
    fn try_lay(
        &mut self,
        push: impl Fn(&mut Layout) -> Option<Offset>,
    ) -> Result<Option<Offset>, AppendError> {
        let open = self.open.as_mut().expect("put back after each wait");
        if open.closed {
            return Err(AppendError::Closed);
        }
        if let Some(refusal) = &open.refusal {
            return Err(AppendError::Disk(Arc::clone(refusal)));
        }
        if open.layout.bytes.len() < open.group_bytes_max {
            if let Some(offset) = push(&mut open.layout) {
                return Ok(Some(offset));
            }
            if let Some(refusal) = open.segment_refusal.clone() {
                open.has_stopped = true;
                return Err(AppendError::Disk(refusal));
            }
        } else if let Some(refusal) = &open.hold {
            return Err(AppendError::Disk(Arc::clone(refusal)));
        }
        if open.writer != WriterState::Busy {
            open.writer = WriterState::Busy;
            self.intake.wake.wake();
        }
        Ok(None)
    }

    fn wait_for_room(&mut self) {
        let mut open = self.open.take().expect("put back after each wait");
        open.waiting += 1;
        let mut open = self.intake.room.wait(open).unwrap_or_else(PoisonError::into_inner);
        open.waiting -= 1;
        self.open = Some(open);
    }
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        let Some(mut open) = self.open.take() else { return };
        let bytes = open.layout.bytes.len();
        let wake = match open.writer {
            WriterState::Idle => bytes > 0,
            WriterState::Gathering => bytes >= GATHER_BYTES,
            WriterState::Busy => false,
        };
        if wake {
            open.writer = WriterState::Busy;
            drop(open);
            self.intake.wake.wake();
        }
    }
}

/// What appenders and the writer share.
#[derive(Debug)]
pub(crate) struct Intake {
    open: Mutex<Open>,
    /// Signalled when the writer has taken a group, or refuses.
    room: Condvar,
    /// Signalled when more is durable, or the disk refuses; with `settled`.
    settled: Condvar,
    waits: Mutex<()>,
    pub(crate) wake: Wake,
    pub(crate) shared: Arc<Shared>,
    pub(crate) record_bytes_max: usize,
    /// Whether nothing is taken, since somebody needs what the bound on the log would take for it.
    pub(crate) is_held: AtomicBool,
}

/// The open group.
#[derive(Debug)]
pub(crate) struct Open {
    /// The records, laid out.
    pub(crate) layout: Layout,
    /// What the writer is doing.
    pub(crate) writer: WriterState,
    /// Everything below shall be durable soon.
    pub(crate) flush: Offset,
    /// Why nothing is taken at present.
    pub(crate) refusal: Option<Arc<Refusal>>,
    /// Why there is no next segment at present.
    pub(crate) segment_refusal: Option<Arc<Refusal>>,
    /// Whether somebody was refused for want of it: the segments that are there are full.
    has_stopped: bool,
    /// Why nothing is taken while somebody is behind; groups have no room then.
    hold: Option<Arc<Refusal>>,
    /// A group takes at most this and one more record.
    group_bytes_max: usize,
    /// Appenders that wait for room.
    pub(crate) waiting: u32,
    /// Nothing is taken any more.
    pub(crate) closed: bool,
    /// The writer has ended, so nothing becomes durable any more.
    pub(crate) ended: bool,
}

/// What the writer is doing, so that appenders wake it only when that is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriterState {
    /// Asleep until there is something.
    Idle,
    /// Asleep for a moment so that a group forms.
    Gathering,
    /// Awake, or woken already: it will look again before it sleeps.
    Busy,
}

impl Intake {
    pub(crate) fn new(layout: Layout, wake: Wake, shared: Arc<Shared>, bytes_max: usize) -> Self {
        let open = Open {
            layout,
            writer: WriterState::Busy,
            flush: Offset::ZERO,
            refusal: None,
            segment_refusal: None,
            has_stopped: false,
            hold: None,
            group_bytes_max: GROUP_BYTES_MAX,
            waiting: 0,
            closed: false,
            ended: false,
        };
        Self {
            open: Mutex::new(open),
            room: Condvar::new(),
            settled: Condvar::new(),
            waits: Mutex::new(()),
            wake,
            shared,
            record_bytes_max: bytes_max,
            is_held: AtomicBool::new(false),
        }
    }

    /// The open group. A thread that panicked under the lock cannot have left half a frame: the
    /// copy itself does not panic.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes nothing from now on, for this reason, or goes on where there is none.
    pub(crate) fn hold(&self, reason: Option<Refusal>) {
        self.is_held.store(reason.is_some(), Ordering::Release);
        let mut open = self.lock();
        // An appender looks at the room in the group anyway: none is all it costs.
        open.group_bytes_max = if reason.is_some() { 0 } else { GROUP_BYTES_MAX };
        open.hold = reason.map(Arc::new);
        self.signal_room(&open);
    }

    /// Lets appenders that wait for room look again.
    pub(crate) fn signal_room(&self, open: &Open) {
        if open.waiting > 0 {
            self.room.notify_all();
        }
    }

    /// Lets those who wait for `durable` look again.
    pub(crate) fn signal_settled(&self) {
        drop(self.waits.lock().unwrap_or_else(PoisonError::into_inner));
        self.settled.notify_all();
    }

    /// Whether the disk has no space for what is appended.
    pub(crate) fn is_full(&self) -> bool {
        let open = self.lock();
        let of_segment = open.segment_refusal.as_ref().filter(|_| open.has_stopped);
        [open.refusal.as_ref(), of_segment].into_iter().flatten().any(|it| is_full(&it.source))
    }

    /// Whether the disk will have none soon, though what there is may still take some.
    pub(crate) fn lacks_space(&self) -> bool {
        let open = self.lock();
        let refusals = [&open.refusal, &open.segment_refusal];
        refusals.into_iter().flatten().any(|refusal| is_full(&refusal.source))
    }

    /// There is a next segment, or there will be.
    pub(crate) fn on_segment(&self, open: &mut Open) {
        (open.segment_refusal, open.has_stopped) = (None, false);
        self.signal_room(open);
    }

    /// Asks for everything appended so far to become durable without delay; returns its end.
    pub(crate) fn request_flush(&self) -> Offset {
        let mut open = self.lock();
        let end = open.layout.next;
        open.flush = open.flush.max(end);
        open.writer = WriterState::Busy;
        drop(open);
        self.wake.wake();
        end
    }

    /// Up to where somebody waits for the disk.
    pub(crate) fn flush(&self) -> Offset {
        self.lock().flush
    }

    /// Waits until everything below `end` is durable.
    pub(crate) fn wait_durable(&self, end: Offset) -> Result<(), AppendError> {
        loop {
            let waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
            if self.shared.control.durable() >= end {
                return Ok(());
            }
            let open = self.lock();
            if let Some(refusal) = &open.refusal {
                return Err(AppendError::Disk(Arc::clone(refusal)));
            }
            let never = open.ended || (open.closed && end > open.layout.next);
            if never {
                return Err(AppendError::Closed);
            }
            drop(open);
            drop(self.settled.wait(waits).unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Takes nothing any more; what was taken is still written.
    pub(crate) fn close(&self) {
        let mut open = self.lock();
        open.closed = true;
        open.flush = open.layout.next;
        open.writer = WriterState::Busy;
        self.room.notify_all();
        drop(open);
        self.wake.wake();
    }
}

/// A group takes at most this and one more record; two of them stay in the second-level cache.
const GROUP_BYTES_MAX: usize = 512 << 10;

/// A group of this size is worth a call, however short the time since the last one.
pub(crate) const GATHER_BYTES: usize = 64 << 10;
