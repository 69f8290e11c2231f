//! A cursor for the program that embeds the log: its events, one after another, opened and
//! filtered.

use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::event::{Event, Frame, Offset, Opened, Opening, OpeningOptions, Span, attempt};
use crate::log::{Log, LogError, RawBlock, Read, Reader, Waker};
use crate::transform::{Filter, FilterRules};

/// Reads the events of a log in order, from an offset on, as they are written.
///
/// Events are opened as exporters see them: defaults, enrichment and privacy applied, as the
/// options say. A subscription is a reader of its own: it holds nothing up, is not saved, and does
/// not keep the log from being removed behind it. To go on after a restart, keep
/// [`Subscription::position`] and begin there.
#[derive(Debug)]
pub struct Subscription {
    reader: Reader,
    waker: Waker,
    opening: Opening,
    filter: Filter,
    opened: Opened,
    arena: Vec<u8>,
    block: Option<RawBlock>,
    /// The record of the block that comes next.
    next: usize,
    at: Offset,
}

/// What comes next.
#[derive(Debug)]
pub enum Next<'a> {
    /// An event that the filter lets through, valid until the next call.
    Event(Event<'a>),
    /// A piece of the log that is removed or damaged, so that events are missed.
    Missed(Span),
    /// Nothing more until the deadline.
    Idle,
}

impl Subscription {
    /// Begins at an offset: [`Log::oldest`], [`Log::written`], or where another one ended.
    ///
    /// # Errors
    /// When the process has no file descriptor left.
    pub fn new(
        log: &Log,
        from: Offset,
        rules: FilterRules,
        options: &OpeningOptions,
    ) -> Result<Self, LogError> {
        let reader = log.reader();
        let waker = reader.waker()?;
        let from = reader.align(from.max(reader.oldest()))?;
        Ok(Self {
            reader,
            waker,
            opening: Opening::new(options),
            filter: Filter::new(rules),
            opened: Opened::default(),
            arena: Vec::new(),
            block: None,
            next: 0,
            at: from,
        })
    }

    /// Where the next call goes on.
    #[must_use]
    pub fn position(&self) -> Offset {
        self.at
    }

    /// The next event; waits for one until the deadline. Records that are no events are passed
    /// over: exporters count and keep them.
    ///
    /// # Errors
    /// When a segment cannot be read.
    pub fn next(&mut self, deadline: Instant) -> Result<Next<'_>, LogError> {
        loop {
            while let Some(frame) = self.open_one() {
                if self.passes(frame) {
                    return Ok(Next::Event(self.event(frame)));
                }
            }
            if let Some(missed) = self.load()? {
                return Ok(Next::Missed(missed));
            }
            if self.block.is_none() && !self.wait(deadline) {
                return Ok(Next::Idle);
            }
        }
    }

    /// Opens the next record of the block that is an event.
    fn open_one(&mut self) -> Option<Frame> {
        let block = self.block.as_ref()?;
        while let Some(raw) = block.records().get(self.next) {
            self.next += 1;
            self.at = match block.records().get(self.next) {
                Some(following) => following.frame.offset,
                None => block.span().to,
            };
            self.opening.begin(&mut self.arena);
            let record = block.record(raw);
            let (arena, opened) = (&mut self.arena, &mut self.opened);
            let open = || self.opening.open(&raw.frame, record, arena, opened).is_ok();
            if attempt(open).unwrap_or_default() {
                return Some(raw.frame);
            }
        }
        self.at = block.span().to;
        self.block = None;
        None
    }

    fn event(&self, frame: Frame) -> Event<'_> {
        let record = match (&self.block, self.next.checked_sub(1)) {
            (Some(block), Some(at)) => block.records().get(at).map(|raw| block.record(raw)),
            _ => None,
        };
        Event::new(&self.opened, frame, record.unwrap_or_default(), &self.arena)
    }

    fn passes(&self, frame: Frame) -> bool {
        self.filter.passes(&self.event(frame))
    }

    /// Reads the next block; a piece that cannot be read is returned and passed over.
    fn load(&mut self) -> Result<Option<Span>, LogError> {
        loop {
            let missed = match self.reader.read(self.at, self.reader.written(), BLOCK_BYTES)? {
                Read::Block(block) => {
                    (self.block, self.next) = (Some(block), 0);
                    return Ok(None);
                }
                // The second read takes what it gets, and waits for the disk here.
                Read::Cold(_) => continue,
                Read::End => return Ok(None),
                Read::Gone { oldest } => Span { from: self.at, to: oldest },
                Read::Damaged { span, .. } => span,
            };
            self.at = missed.to;
            return Ok(Some(missed));
        }
    }

    /// Waits until more is written; false where the deadline came first.
    fn wait(&self, deadline: Instant) -> bool {
        if self.waker.arm(self.at) {
            return true;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).unwrap_or(FOREVER);
        let mut fds = [PollFd::new(&self.waker, PollFlags::IN)];
        // An interruption is a wakening too early: the caller looks and waits again.
        let _ready = poll(&mut fds, Some(&timeout));
        self.waker.clear();
        self.reader.written() > self.at || Instant::now() < deadline
    }
}

/// Bytes read at once: what a worker reads, too.
const BLOCK_BYTES: usize = 256 << 10;
/// Longer than any process lives.
const FOREVER: Timespec = Timespec { tv_sec: 1 << 40, tv_nsec: 0 };
