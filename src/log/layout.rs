//! Where the next record goes: frames, stripes and segments, before anything touches a disk.

use crate::event::Offset;

use super::STRIPE_BYTES;
use super::frame::{
    self, HEAD_BYTES, HEADER_BYTES, Head, Mark, VERSION, frame_bytes, starts_stripe, stripe_end,
    stripe_start,
};
use super::index::{State, Stripe};

/// Lays frames one after the other into a buffer that will be written in one piece.
#[derive(Debug)]
pub(crate) struct Layout {
    /// The frames so far.
    pub(crate) bytes: Vec<u8>,
    /// Where the first of them lies.
    pub(crate) base: Offset,
    /// Where the next frame goes.
    pub(crate) next: Offset,
    /// The end of the segment that `next` lies in.
    pub(crate) segment_end: Offset,
    /// Whether the segment after that exists already, so that frames may go there.
    pub(crate) spare: bool,
    /// The stripe that is being filled.
    pub(crate) stripe: Stripe,
    /// Stripes that were filled since the buffer was taken, with their starts.
    pub(crate) filled: Vec<(Offset, Stripe)>,
    segment_bytes: u64,
}

impl Layout {
    /// Goes on at `next`, in a segment of `segment_bytes` that ends at `segment_end`.
    pub(crate) fn new(next: Offset, segment_end: Offset, segment_bytes: u64) -> Self {
        Self {
            bytes: Vec::new(),
            base: next,
            next,
            segment_end,
            spare: false,
            stripe: OPEN_STRIPE,
            filled: Vec::new(),
            segment_bytes,
        }
    }

    /// The longest record that a segment of this length takes, bytes.
    ///
    /// A record that owns stripes cannot have the first one, which starts with the segment's head.
    pub(crate) fn record_bytes_max(segment_bytes: u64) -> usize {
        let whole = (segment_bytes - STRIPE_BYTES).min(RECORD_BYTES_MAX);
        usize::try_from(whole).expect("at most 64 MiB") - HEADER_BYTES
    }

    /// Appends one record; `None` when the next segment is needed first.
    #[inline]
    pub(crate) fn push(&mut self, record: &[u8], mark: Mark) -> Option<Offset> {
        let at = self.place(frame_bytes(record.len()))?;
        let crc = frame::push_record(at, record, mark, &mut self.bytes);
        let end = self.end();
        self.stripe.add(mark.received_ns, crc, end);
        self.next = end;
        if end >= stripe_end(at) {
            self.close_owned(at);
        }
        Some(at)
    }

    /// Appends one note; `None` when the next segment is needed first.
    pub(crate) fn push_note(&mut self, note: &[u8]) -> Option<Offset> {
        debug_assert!(note.len() <= NOTE_BYTES_MAX, "a note never owns a stripe");
        let at = self.place(frame_bytes(note.len()))?;
        frame::push_note(at, note, &mut self.bytes);
        self.next = self.end();
        self.stripe.end = self.next;
        self.stripe.has_notes = true;
        if self.next >= stripe_end(at) {
            self.close_owned(at);
        }
        Some(at)
    }

    /// Makes the rest of the segment that ends at `end` filler, where it is the one being filled,
    /// and begins the next with a note; `None` when that one is needed first.
    pub(crate) fn end_segment(&mut self, end: Offset) -> Option<Offset> {
        if self.segment_end != end {
            return Some(self.next);
        }
        while self.next < end {
            self.fill();
        }
        self.push_note(ENDED)
    }

    /// Goes to the start of a new segment, leaving the current one, which ends at `before`, as it
    /// is.
    pub(crate) fn jump(&mut self, base: Offset, before: Offset) {
        assert!(self.bytes.is_empty(), "a buffer is one piece of the log");
        self.stripe = OPEN_STRIPE;
        self.base = base;
        self.start_segment(base, before);
    }

    /// Takes what has been laid so far, leaving `empty` to be filled next.
    pub(crate) fn take(&mut self, mut empty: Taken) -> Taken {
        std::mem::swap(&mut self.bytes, &mut empty.bytes);
        std::mem::swap(&mut self.filled, &mut empty.filled);
        empty.base = self.base;
        empty.end = self.next;
        empty.stripe = self.stripe;
        self.base = self.next;
        empty
    }

    /// Finds the place of a frame, filling stripes and starting a segment as needed.
    #[inline]
    fn place(&mut self, bytes: u64) -> Option<Offset> {
        loop {
            if self.next == self.segment_end {
                if !self.spare {
                    return None;
                }
                self.spare = false;
                self.start_segment(self.segment_end, self.segment_end);
            }
            let room = stripe_end(self.next).bytes() - self.next.bytes();
            if bytes <= room {
                return Some(self.next);
            }
            let owned = bytes.next_multiple_of(STRIPE_BYTES);
            let fits_whole_stripes =
                starts_stripe(self.next) && self.next.bytes() + owned <= self.segment_end.bytes();
            if bytes > STRIPE_BYTES && fits_whole_stripes {
                return Some(self.next);
            }
            self.fill();
        }
    }

    /// Makes the rest of the stripe filler.
    pub(crate) fn fill(&mut self) {
        let start = stripe_start(self.next);
        frame::push_filler(self.next, &mut self.bytes);
        self.next = self.end();
        self.close(start);
    }

    /// Closes the stripe that starts at or before `at`, and those that a long record owns.
    fn close_owned(&mut self, at: Offset) {
        let mut start = stripe_start(at);
        self.close(start);
        loop {
            start = stripe_end(start);
            if start >= self.next {
                return;
            }
            self.stripe = Stripe { state: State::Continued, end: self.next, ..Stripe::default() };
            if stripe_end(start) > self.next {
                self.fill();
                return;
            }
            self.close(start);
        }
    }

    fn close(&mut self, start: Offset) {
        self.filled.push((start, self.stripe));
        self.stripe = OPEN_STRIPE;
    }

    fn start_segment(&mut self, base: Offset, before: Offset) {
        let head = Head { version: VERSION, base, segment_bytes: self.segment_bytes, before };
        head.push(&mut self.bytes);
        self.next = Offset::new(base.bytes() + HEAD_BYTES as u64);
        self.segment_end = Offset::new(base.bytes() + self.segment_bytes);
        self.stripe.end = self.next;
    }

    fn end(&self) -> Offset {
        Offset::new(self.base.bytes() + self.bytes.len() as u64)
    }
}

/// One piece of the log, to be written and then published.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// The frames.
    pub(crate) bytes: Vec<u8>,
    /// Where they lie.
    pub(crate) base: Offset,
    /// Where they end.
    pub(crate) end: Offset,
    /// Stripes that they filled.
    pub(crate) filled: Vec<(Offset, Stripe)>,
    /// The stripe at `end`, as far as it goes.
    pub(crate) stripe: Stripe,
}

impl Taken {
    /// Forgets what was written, keeping memory up to a bound for the next piece.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES_MAX);
        self.filled.clear();
    }
}

/// A stripe that frames are about to start in.
pub(crate) const OPEN_STRIPE: Stripe = Stripe {
    state: State::Owned,
    events: 0,
    sum: 0,
    from_ns: 0,
    to_ns: 0,
    end: Offset::ZERO,
    has_notes: false,
};

/// What the first note behind a segment says that was ended early.
const ENDED: &[u8] = b"the segment before was ended for its age";

/// What the first note of a segment says that depends on nothing before it that was not durable.
pub(crate) const MOVED: &[u8] = b"what was not durable before is written again from here on";

/// Whether the log wrote a note for itself.
pub(crate) fn is_own(note: &[u8]) -> bool {
    [ENDED, MOVED].contains(&note)
}

/// No record is longer, whatever the segment: it must fit into memory a few times.
const RECORD_BYTES_MAX: u64 = 64 << 20;

/// A note is about something, not the thing itself.
pub(crate) const NOTE_BYTES_MAX: usize = 64 << 10;

/// Buffers grow for a long record and are given back afterwards.
const KEPT_BYTES_MAX: usize = 2 << 20;
