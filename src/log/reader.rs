//! Reading: blocks of checked records straight from the page cache, counts, times.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use crate::event::{Offset, Span};

use super::STRIPE_BYTES;
use super::block::{RawBlock, RawRecord, Read};
use super::control::Control;
use super::error::LogError;
use super::frame::{HEADER_BYTES, Parsed, Window, starts_stripe, stripe_end, stripe_start};
use super::index::State;
use super::io::Disk;
use super::layout::is_own;
use super::open::refuse_newer;
use super::shared::{Segment, Shared};
use super::waker::{Waker, Wakers};

/// Reads the log, on any thread and in any process; a clone is another reader.
#[derive(Clone, Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    /// The segment of the last read.
    segment: Option<Arc<Segment>>,
    /// What was answered as cold: the same offset is not again.
    cold: Option<Offset>,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, segment: None, cold: None }
    }

    /// Opens a log for reading only, beside whatever process writes it; takes no lock.
    ///
    /// # Errors
    /// When there is no log, it is of a newer version, or the files may not be read and its control
    /// page not be written (it holds the flag that asks for a wake-up); a read-only disk is no
    /// reason.
    pub fn open_dir(dir: &Path) -> Result<Self, LogError> {
        let control = Control::look(dir)?.ok_or_else(|| LogError::Damaged {
            path: dir.join(super::control::NAME),
            expected: "the control page of a log",
            advice: "open the log for writing once, as `shrike run` does: it rebuilds the page",
        })?;
        let dir = dir.to_path_buf();
        let shared = Shared::new(dir, control, Vec::new(), Wakers::foreign(), Arc::new(Disk));
        shared.refresh()?;
        for segment in shared.segments() {
            // Retention may be faster; a file that cannot be read is told where it is read.
            let Ok(file) = File::open(&segment.path) else { continue };
            let known = refuse_newer(&segment.path, &file, segment.base);
            if let Err(newer @ LogError::Version { .. }) = known {
                return Err(newer);
            }
        }
        Ok(Self::new(Arc::new(shared)))
    }

    /// The same where there may be no log, which is `None`: what may not be looked at is no such
    /// place.
    ///
    /// # Errors
    /// As [`Reader::open_dir`], and when it cannot be found out whether there is one.
    pub fn find_dir(dir: &Path) -> Result<Option<Self>, LogError> {
        match dir.try_exists().map_err(LogError::io("look for", dir))? {
            true => Self::open_dir(dir).map(Some),
            false => Ok(None),
        }
    }

    /// Everything below can be read.
    #[must_use]
    pub fn written(&self) -> Offset {
        self.shared.control.written()
    }

    /// Everything below survives a power loss.
    #[must_use]
    pub fn durable(&self) -> Offset {
        self.shared.control.durable()
    }

    /// Everything below is gone.
    #[must_use]
    pub fn oldest(&self) -> Offset {
        self.shared.control.oldest()
    }

    /// Whether the byte at an offset lies in a segment that is there.
    #[must_use]
    pub fn holds(&self, at: Offset) -> bool {
        self.shared
            .find(at)
            .is_some_and(|segment| segment.base <= at && at < segment.end() && !segment.is_missing)
    }

    /// Makes a waker for this log.
    ///
    /// # Errors
    /// When the process has no file descriptor or thread left.
    pub fn waker(&self) -> Result<Waker, LogError> {
        Waker::new(Arc::clone(&self.shared))
    }

    /// Reads records that start in `from..until`, at most `bytes_max` bytes, but at least one.
    ///
    /// `from` is where a record or a stripe starts. A block never crosses the end of a stripe,
    /// unless it is one record that owns several; then its span ends where that record's stripes
    /// end. A stripe that such a record owns, but does not start in, reads as a block without
    /// records, so every stripe can be read by itself.
    ///
    /// # Errors
    /// When a segment cannot be opened or mapped. Damage on the disk is no error, but an answer.
    pub fn read(
        &mut self,
        from: Offset,
        until: Offset,
        bytes_max: usize,
    ) -> Result<Read, LogError> {
        let written = self.written();
        let until = until.min(written);
        if from < self.oldest() {
            return Ok(Read::Gone { oldest: self.oldest() });
        }
        if from >= until {
            return Ok(Read::End);
        }
        let Some(segment) = self.find(from)? else { return Ok(Read::End) };
        let to = self.hole_end(&segment, from, written)?;
        if to > from && from < self.oldest() {
            // Taken just now: what looks like a hole was none.
            return Ok(Read::Gone { oldest: self.oldest() });
        }
        if to > from {
            let span = Span { from, to: to.min(until) };
            return Ok(Read::Block(RawBlock::new(segment, span, 0, Vec::new())));
        }
        if segment.is_missing {
            return Ok(Self::missing(&segment, from, written));
        }
        let bounds = Bounds {
            from,
            stop: until.min(stripe_end(from)).min(segment.end()),
            limit: written.min(segment.end()),
            bytes_max: bytes_max.max(1) as u64,
        };
        match segment.mapping() {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound && from < self.oldest() => {
                return Ok(Read::Gone { oldest: self.oldest() });
            }
            Err(error) => return Err(LogError::io("map", &segment.path)(error)),
        }
        if let Some(span) = self.cold_span(&segment, bounds) {
            self.cold = Some(from);
            return Ok(Read::Cold(span));
        }
        self.cold = None;
        self.block(segment, bounds)
    }

    /// Brings a span into memory, waiting for the disk; for a thread that may wait.
    ///
    /// # Errors
    /// When the disk cannot read it. Reading again then tells what is damaged.
    pub fn warm(&self, span: Span) -> Result<(), LogError> {
        for segment in self.shared.readable() {
            let from = span.from.max(segment.base);
            let to = span.to.min(segment.end());
            if from >= to {
                continue;
            }
            let mapping = segment.mapping().map_err(LogError::io("map", &segment.path))?;
            let (start, end) = (segment.position(from), segment.position(to));
            match mapping.populate(start, end - start) {
                // Kernels before 5.14: reading fills the same page cache.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    read_through(&segment, start, end)
                }
                populated => populated,
            }
            .map_err(LogError::io("read", &segment.path))?;
        }
        Ok(())
    }

    /// The events that start in the span, exactly; from the index for whole stripes.
    ///
    /// Parts of the span that are gone or not yet written count nothing. Events of a damaged
    /// stripe count where its damage begins, as [`Read::Damaged`] says them, and those of a missing
    /// segment as far as its index is left.
    ///
    /// # Errors
    /// When a segment cannot be mapped.
    pub fn count(&self, span: Span) -> Result<u64, LogError> {
        let span = self.clip(span)?;
        let mut events = 0;
        for segment in self.shared.segments() {
            let mut at = span.from.max(segment.base);
            let to = span.to.min(segment.end()).min(segment.known_end());
            while at < to {
                let end = stripe_end(at);
                let stripe = segment.stripes.load(segment.stripe_index(at));
                let whole = starts_stripe(at) && end <= span.to && stripe.state != State::Unknown;
                events += match whole {
                    true => u64::from(stripe.events),
                    false if segment.is_missing => 0,
                    false => self.count_part(&segment, Span { from: at, to: to.min(end) })?,
                };
                at = end;
            }
        }
        Ok(events)
    }

    /// The first record received at or after this time, nanoseconds since 1970; `written` if none.
    ///
    /// # Errors
    /// When a segment cannot be mapped.
    pub fn seek_time(&self, received_ns: u64) -> Result<Offset, LogError> {
        let span = self.clip(Span { from: Offset::ZERO, to: self.written() })?;
        for segment in self.shared.readable() {
            let mut at = span.from.max(segment.base);
            let to = span.to.min(segment.end());
            while at < to {
                let stripe = segment.stripes.load(segment.stripe_index(at));
                let may_hold = stripe.to_ns >= received_ns && stripe.events > 0;
                let found = match may_hold || stripe.state == State::Unknown {
                    true => self.seek_in(&segment, at, |frame| frame.received_ns >= received_ns)?,
                    false => None,
                };
                if let Some(offset) = found {
                    return Ok(offset);
                }
                at = stripe_end(at);
            }
        }
        Ok(span.to)
    }

    /// The first record at or after an offset that people gave; `written` if none.
    ///
    /// # Errors
    /// When a segment cannot be mapped.
    pub fn align(&self, offset: Offset) -> Result<Offset, LogError> {
        let span = self.clip(Span { from: offset, to: self.written() })?;
        for segment in self.shared.readable() {
            let mut at = span.from.max(segment.base);
            let to = span.to.min(segment.end());
            while at < to {
                if let Some(found) = self.seek_in(&segment, at, |frame| frame.offset >= at)? {
                    return Ok(found);
                }
                at = stripe_end(at);
            }
        }
        Ok(span.to)
    }

    /// Visits the notes from `from` on, which is where a record, a note or a stripe starts, in
    /// their order. What is damaged is passed over, and so is what the log noted for itself.
    ///
    /// # Errors
    /// When a segment cannot be mapped.
    pub fn notes(
        &self,
        from: Offset,
        mut visit: impl FnMut(Offset, &[u8]),
    ) -> Result<(), LogError> {
        let span = self.clip(Span { from, to: self.written() })?;
        for segment in self.shared.readable() {
            let mut at = span.from.max(segment.base);
            let to = span.to.min(segment.end());
            if at >= to {
                continue;
            }
            segment.mapping().map_err(LogError::io("map", &segment.path))?;
            let window = window(&segment, to);
            while at < to {
                // Most stripes have no notes, and the index says so: their pages are not touched.
                let stripe = segment.stripes.load(segment.stripe_index(at));
                let is_whole = starts_stripe(at) && stripe_end(at) <= to;
                let is_plain = stripe.state == State::Owned && !stripe.has_notes && is_whole;
                if starts_stripe(at) && stripe.state == State::Continued || is_plain {
                    at = stripe_end(at);
                    continue;
                }
                at = match Parsed::skim(window, at) {
                    Parsed::Note { start, len, next } => {
                        let note = &window.bytes[start..start + len];
                        if !is_own(note) {
                            visit(at, note);
                        }
                        next
                    }
                    Parsed::Record { next, .. } | Parsed::Filler { next } => next,
                    Parsed::Seal => break,
                    Parsed::Bad => stripe_end(at),
                };
            }
        }
        Ok(())
    }

    /// Appends the raw bytes of a span as they lie there, for quarantine.
    ///
    /// # Errors
    /// When a segment cannot be mapped.
    pub fn copy_raw(&self, span: Span, out: &mut Vec<u8>) -> Result<(), LogError> {
        for segment in self.shared.readable() {
            let from = span.from.max(segment.base);
            let to = span.to.min(segment.capacity_end());
            if from < to {
                let mapping = segment.mapping().map_err(LogError::io("map", &segment.path))?;
                let (start, end) = (segment.position(from), segment.position(to));
                out.extend_from_slice(&mapping.bytes()[start..end]);
            }
        }
        Ok(())
    }
}

/// What one read may look at.
#[derive(Clone, Copy)]
struct Bounds {
    from: Offset,
    /// No record at or above is taken.
    stop: Offset,
    /// No byte at or above is looked at.
    limit: Offset,
    bytes_max: u64,
}

impl Reader {
    /// The segment that holds `from`, or the next one above.
    fn find(&mut self, from: Offset) -> Result<Option<Arc<Segment>>, LogError> {
        if let Some(segment) = &self.segment
            && segment.base <= from
            && from < segment.capacity_end()
        {
            return Ok(Some(Arc::clone(segment)));
        }
        let found = self.look(from)?;
        self.segment.clone_from(&found);
        Ok(found)
    }

    /// The same, for an offset below `written`: its file has its length by now, also where another
    /// process had only begun it when the directory was last looked at.
    fn look(&self, from: Offset) -> Result<Option<Arc<Segment>>, LogError> {
        let found = self.shared.find(from);
        let is_incomplete = found.as_ref().is_none_or(|segment| segment.base > from);
        if !(self.shared.foreign && is_incomplete) {
            return Ok(found);
        }
        self.shared.refresh()?;
        Ok(self.shared.find(from))
    }

    /// Where reading goes on when no frame can start at `from`; `from` itself otherwise.
    fn hole_end(
        &self,
        segment: &Segment,
        from: Offset,
        written: Offset,
    ) -> Result<Offset, LogError> {
        if from < segment.base {
            return Ok(segment.base);
        }
        if from >= segment.end() {
            return self.next_base(segment, written);
        }
        let stripe = segment.stripes.load(segment.stripe_index(from));
        let is_owned = starts_stripe(from) && stripe.state == State::Continued;
        Ok(if is_owned { stripe_end(from) } else { from })
    }

    /// Where the segment after this one starts.
    fn next_base(&self, segment: &Segment, written: Offset) -> Result<Offset, LogError> {
        let next = self.look(segment.capacity_end())?;
        Ok(next.map_or(written, |next| next.base.min(written)))
    }

    /// What has to be read from the disk first.
    fn cold_span(&self, segment: &Segment, bounds: Bounds) -> Option<Span> {
        if self.cold == Some(bounds.from) {
            return None;
        }
        let mapping = segment.mapping().ok()?;
        let start = segment.position(bounds.from);
        let wanted = bounds.bytes_max.min(bounds.stop.bytes() - bounds.from.bytes());
        let len = usize::try_from(wanted).expect("at most a stripe");
        if !mapping.resident(start, len) || self.shared.io.is_cold(&segment.path) {
            return Some(Span { from: bounds.from, to: bounds.stop });
        }
        // One record that owns stripes is checked as a whole.
        let header =
            &mapping.bytes()[start..(start + HEADER_BYTES).min(segment.position(bounds.limit))];
        let bytes = Parsed::claimed_bytes(header, bounds.from)?;
        let end = Offset::new(bounds.from.bytes().saturating_add(bytes)).min(bounds.limit);
        let len = usize::try_from(end.bytes() - bounds.from.bytes()).expect("64-bit addresses");
        let cold = end > bounds.stop && !mapping.resident(start, len);
        cold.then_some(Span { from: bounds.from, to: end })
    }

    /// Checks records until a bound is reached.
    fn block(&self, segment: Arc<Segment>, bounds: Bounds) -> Result<Read, LogError> {
        let window = window(&segment, bounds.limit);
        let mut records: Vec<RawRecord> = Vec::with_capacity(RECORDS_USUAL);
        let origin = segment.position(bounds.from);
        let (mut at, mut end) = (bounds.from, origin);
        while at < bounds.stop {
            window.fetch_ahead(at);
            match Parsed::parse(window, at) {
                Parsed::Record { frame, start, len, next, .. } => {
                    let is_over = next.bytes() - bounds.from.bytes() > bounds.bytes_max;
                    if is_over && !records.is_empty() {
                        break;
                    }
                    let start_in = u32::try_from(start - origin).expect("bounded by a stripe");
                    let len_in = u32::try_from(len).expect("a frame's length has 32 bits");
                    records.push(RawRecord { frame, start: start_in, len: len_in, next });
                    (at, end) = (next, start + len);
                }
                Parsed::Filler { next } | Parsed::Note { next, .. } => {
                    at = next.min(bounds.limit.max(at));
                    skip_to(&mut records, at);
                    if next > at {
                        break;
                    }
                }
                Parsed::Seal => {
                    at = self.next_base(&segment, bounds.limit.max(self.written()))?;
                    skip_to(&mut records, at);
                }
                Parsed::Bad if records.is_empty() => {
                    return Ok(self.damaged(&segment, bounds, at));
                }
                Parsed::Bad => break,
            }
        }
        let span = Span { from: bounds.from, to: at };
        Ok(Read::Block(RawBlock::new(segment, span, end - origin, records)))
    }

    /// A stripe of a segment whose file is gone.
    fn missing(segment: &Segment, from: Offset, limit: Offset) -> Read {
        let stripe = segment.stripes.load(segment.stripe_index(from));
        let is_known = starts_stripe(from) && stripe.state == State::Owned;
        let events = is_known.then_some(u64::from(stripe.events));
        Read::Damaged { span: Span { from, to: stripe_end(from).min(limit) }, events }
    }

    fn damaged(&self, segment: &Segment, bounds: Bounds, at: Offset) -> Read {
        let to = stripe_end(at).min(bounds.limit);
        let stripe = segment.stripes.load(segment.stripe_index(at));
        let is_known = stripe.state == State::Owned && to == stripe_end(at);
        let events = is_known.then(|| {
            let mut good = 0;
            self.walk(segment, at, |_, _| {
                good += 1;
                ControlFlow::Continue(())
            });
            u64::from(stripe.events).saturating_sub(good)
        });
        Read::Damaged { span: Span { from: bounds.from, to }, events }
    }

    /// Counts the events that start in a part of one stripe.
    fn count_part(&self, segment: &Segment, part: Span) -> Result<u64, LogError> {
        segment.mapping().map_err(LogError::io("map", &segment.path))?;
        let (mut inside, mut good) = (0_u64, 0_u64);
        let stop = self.walk(segment, part.from, |offset, _| {
            good += 1;
            inside += u64::from(offset >= part.from && offset < part.to);
            ControlFlow::Continue(())
        });
        if let Some(bad) = stop
            && bad >= part.from
            && bad < part.to
        {
            let stripe = segment.stripes.load(segment.stripe_index(part.from));
            inside += u64::from(stripe.events).saturating_sub(good);
        }
        Ok(inside)
    }

    /// The first record of the stripe at or after `at` that is wanted.
    fn seek_in(
        &self,
        segment: &Segment,
        at: Offset,
        wanted: impl Fn(&crate::event::Frame) -> bool,
    ) -> Result<Option<Offset>, LogError> {
        segment.mapping().map_err(LogError::io("map", &segment.path))?;
        let mut found = None;
        self.walk(segment, at, |offset, frame| {
            if offset >= at && wanted(frame) {
                found = Some(offset);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        Ok(found)
    }

    /// Visits the records of the stripe that holds `at`; returns where a bad frame ended it.
    fn walk(
        &self,
        segment: &Segment,
        at: Offset,
        mut visit: impl FnMut(Offset, &crate::event::Frame) -> ControlFlow<()>,
    ) -> Option<Offset> {
        let stripe = segment.stripes.load(segment.stripe_index(at));
        if stripe.state == State::Continued || segment.mapping().is_err() {
            return None;
        }
        let window = window(segment, self.written().min(segment.end()));
        let mut next = stripe_start(at);
        let stop = stripe_end(at).min(self.written()).min(segment.end());
        while next < stop {
            match Parsed::parse(window, next) {
                Parsed::Record { frame, next: after, .. } => {
                    if visit(next, &frame).is_break() {
                        return None;
                    }
                    next = after;
                }
                Parsed::Note { next: after, .. } | Parsed::Filler { next: after } => next = after,
                Parsed::Seal => return None,
                Parsed::Bad => return Some(next),
            }
        }
        None
    }

    /// Cuts a span to what can be read, and looks at the directory again where others write.
    fn clip(&self, span: Span) -> Result<Span, LogError> {
        if self.shared.foreign {
            self.shared.refresh()?;
            for segment in self.shared.readable() {
                segment.refresh_index(&self.shared.dir);
            }
        }
        Ok(Span { from: span.from.max(self.oldest()), to: span.to.min(self.written()) })
    }
}

/// The segment's bytes below `limit`. The caller has seen that it can be mapped.
fn window(segment: &Segment, limit: Offset) -> Window<'_> {
    let bytes = segment.mapping().map_or(&[][..], super::segment::Mapping::bytes);
    let end = segment.position(limit.max(segment.base)).min(bytes.len());
    Window { base: segment.base, bytes: &bytes[..end] }
}

/// Lets the last record point past filler.
fn skip_to(records: &mut [RawRecord], at: Offset) {
    if let Some(record) = records.last_mut() {
        record.next = at;
    }
}

/// Reads a part of the file, which leaves it in the page cache.
fn read_through(segment: &Segment, start: usize, end: usize) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::open(&segment.path)?;
    let mut buffer = vec![0; (STRIPE_BYTES as usize / 4).min(end - start)];
    let mut at = start;
    while at < end {
        let n = file.read_at(&mut buffer, at as u64)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        at += n;
    }
    Ok(())
}

/// Records that usually fit a block of 256 KiB, for one allocation per block.
const RECORDS_USUAL: usize = 256;
