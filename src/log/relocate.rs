//! After a failed sync or write: what nobody has acknowledged is written again, elsewhere.
//!
//! A failed `fdatasync` is never asked again: the kernel may have marked the lost pages as clean
//! and would answer with success. It may have dropped them too, so that they are written from
//! memory. The old bytes stay where they are and stay readable as long as they are; the copies are
//! new events with new offsets, so the account stays exact and the destination may see an event
//! twice, never not at all. In a store each record is there once: it has only the copies.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use crate::event::{Offset, Span};

use super::error::{LogError, Refusal};
use super::frame::{HEADER_BYTES, Mark, Parsed, SEAL, Window, rest_header, stripe_end};
use super::index::Stripe;
use super::io::LogIo;
use super::layout::{Layout, MOVED, Taken};
use super::open::{reopen, write_index};
use super::prepare;
use super::shared::{Name, Segment};
use super::writer::{Active, Retry, Writer};

impl Writer {
    /// Tries again what the disk refused; ends the writer when the log is being closed.
    pub(super) fn retry(&mut self, now: Instant) -> Result<(), LogError> {
        let trouble = self.trouble.as_ref().expect("only called in trouble");
        let tried = match trouble.retry {
            Retry::Write => self.write_taken(now),
            Retry::Relocate => self.relocate(now),
        };
        match tried {
            Ok(()) => {
                self.trouble = None;
                if self.holding {
                    self.publish_taken();
                }
                let mut open = self.intake.lock();
                open.refusal = None;
                self.intake.signal_room(&open);
                tracing::info!("the log can be written again");
                Ok(())
            }
            Err(refusal) if self.intake.lock().closed => {
                let Refusal { action, path, source } = refusal;
                Err(LogError::Io { action, path, source })
            }
            Err(refusal) => {
                // A disk that was full may have become a bad one meanwhile.
                let retry = Retry::after(&refusal);
                self.refuse(refusal, retry);
                Ok(())
            }
        }
    }

    /// Writes everything that is not durable into a new segment, and publishes it there.
    fn relocate(&mut self, now: Instant) -> Result<(), Refusal> {
        let intake = Arc::clone(&self.intake);
        // Held throughout: the offsets of what waits in the group change too.
        let mut open = intake.lock();
        let old = Span { from: self.unsynced_from(), to: self.shared.control.written() };
        let mut moved = Moved::default();
        let first = self.next_segment()?;
        let old_active = std::mem::replace(&mut self.current, first);
        let base = self.current.segment.base;
        // Of a store nobody reads what is not durable. Its old records go before there are new
        // ones, so that no crash leaves both.
        let end = if self.is_store { old.from } else { old.to };
        if self.is_store {
            self.seal_below(base, end);
        }
        let mut layout = Layout::new(base, base, self.pace.segment_bytes);
        layout.jump(base, base);
        layout.push_note(MOVED).expect("the segment has room for its first note");
        self.dirty.clear();
        let kept = std::mem::take(&mut self.unsynced);
        let copied = kept
            .from(old.from)
            .try_for_each(|window| self.copy(window, &mut layout, &mut moved))
            .and_then(|()| {
                let held = if self.holding { self.taken.bytes.clone() } else { Vec::new() };
                let held = Window { base: self.taken.base, bytes: &held };
                self.copy(held, &mut layout, &mut moved)
            })
            .and_then(|()| {
                let waiting = Window { base: open.layout.base, bytes: &open.layout.bytes };
                self.copy(waiting, &mut layout, &mut moved)
            })
            .and_then(|()| self.flush_copies(&mut layout));
        if let Err(refusal) = copied {
            // Nothing of the copies was shown: the last segment is written from its start next
            // time, those before it hold nothing.
            self.next = Some(std::mem::replace(&mut self.current, old_active));
            self.unsynced = kept;
            for segment in moved.filled {
                segment.seal(segment.base);
            }
            return Err(refusal);
        }
        if !self.is_store {
            self.seal_below(base, end);
        }
        let stripe = layout.stripe;
        self.current.segment.stripes.store(self.current.segment.stripe_index(layout.next), stripe);
        self.rewritten_from = base;
        self.holding = false;
        self.taken.clear();
        layout.spare = self.next.is_some();
        let end = layout.next;
        open.layout = layout;
        open.flush = end;
        self.dirty_since = Some(now);
        self.publish(end);
        let events = moved.events;
        let what = "wrote unacknowledged events again into a new segment";
        tracing::warn!(events, from = %old.from, to = %base, "{what}");
        Ok(())
    }

    /// The prepared segment, else a new one, made while everybody waits.
    fn next_segment(&mut self) -> Result<Active, Refusal> {
        if let Some(next) = self.next.take() {
            return Ok(next);
        }
        let (base, bytes) = (self.current.segment.capacity_end(), self.pace.segment_bytes);
        prepare::reserve(&self.shared, &*self.io, Offset::new(base.bytes() + bytes))?;
        let name = Name { base, bytes };
        let prepared = prepare::create(&self.shared.dir, &*self.io, name)?;
        Ok(self.activate(prepared))
    }

    /// Copies the records of one window, which starts at a frame.
    fn copy(
        &mut self,
        window: Window<'_>,
        layout: &mut Layout,
        moved: &mut Moved,
    ) -> Result<(), Refusal> {
        let end = Offset::new(window.base.bytes() + window.bytes.len() as u64);
        let mut at = window.base;
        while at < end {
            match Parsed::parse(window, at) {
                Parsed::Record { frame, start, len, next, .. } => {
                    let mark = Mark {
                        received_ns: frame.received_ns,
                        checked: frame.checked,
                        mapped: frame.mapped,
                        repaired: frame.repaired,
                    };
                    let record = &window.bytes[start..start + len];
                    while layout.push(record, mark).is_none() {
                        self.extend(layout, moved)?;
                    }
                    moved.events += 1;
                    if layout.bytes.len() >= COPY_BYTES {
                        self.flush_copies(layout)?;
                    }
                    at = next;
                }
                Parsed::Note { start, len, next } => {
                    let note = &window.bytes[start..start + len];
                    while layout.push_note(note).is_none() {
                        self.extend(layout, moved)?;
                    }
                    at = next;
                }
                Parsed::Filler { next } => at = next,
                Parsed::Seal | Parsed::Bad => unreachable!("this process laid it, in memory"),
            }
        }
        Ok(())
    }

    /// Goes on in one more segment: the copies filled the one before.
    fn extend(&mut self, layout: &mut Layout, moved: &mut Moved) -> Result<(), Refusal> {
        self.flush_copies(layout)?;
        let next = self.next_segment()?;
        let filled = std::mem::replace(&mut self.current, next);
        moved.filled.push(filled.segment);
        layout.spare = true;
        Ok(())
    }

    /// Writes the copies laid so far.
    fn flush_copies(&mut self, layout: &mut Layout) -> Result<(), Refusal> {
        let empty = Taken::default();
        let mut piece = layout.take(empty);
        if !piece.bytes.is_empty() {
            self.write_piece(piece.base, &piece.bytes, None)?;
        }
        self.mark_dirty(Instant::now());
        for (start, stripe) in &piece.filled {
            let segment = &self.current.segment;
            segment.stripes.store(segment.stripe_index(*start), *stripe);
            self.write_index(*start, stripe);
        }
        self.unsynced.keep(piece.base, &mut piece.bytes);
        layout.bytes = piece.bytes;
        Ok(())
    }

    /// Ends the old segments where readers had got to; on a failing disk, as far as possible.
    fn seal_below(&self, base: Offset, end: Offset) {
        // The last first: after a crash each that is left still goes on from the one before.
        for segment in self.shared.segments().into_iter().rev() {
            if segment.base >= base || segment.capacity_end() <= end {
                continue;
            }
            if segment.base > end {
                // Nothing of it was ever shown.
                for stripe in 0..segment.stripes.len() {
                    segment.stripes.store(stripe, Stripe::default());
                }
            }
            let end = end.max(segment.base);
            segment.seal(end);
            self.note(write_seal(&self.shared.dir, &segment, end, &*self.io));
        }
    }

    /// The disk was failing already; what could not be noted is found by scanning at the start.
    fn note(&self, written: Result<(), LogError>) {
        if let Err(error) = written {
            tracing::warn!(%error, "cannot end the failed segment; its end is found at the start");
        }
    }
}

/// Says on the disk where a segment ends, and what its last stripe holds.
fn write_seal(
    dir: &Path,
    segment: &Arc<Segment>,
    end: Offset,
    io: &dyn LogIo,
) -> Result<(), LogError> {
    let active = reopen(dir, Arc::clone(segment), io)?;
    if stripe_end(end).bytes() - end.bytes() >= HEADER_BYTES as u64 {
        let position = end.bytes() - segment.base.bytes();
        io.write(&active.file, position, &rest_header(SEAL, end))
            .map_err(LogError::io("write", &segment.path))?;
    }
    write_index(&active, io)
}

/// What was written again.
#[derive(Debug, Default)]
struct Moved {
    /// Segments that the copies filled before the one they end in.
    filled: Vec<Arc<Segment>>,
    /// Copies.
    events: u64,
}

/// How much is copied at a time.
const COPY_BYTES: usize = 512 << 10;
