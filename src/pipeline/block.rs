//! Blocks of the log, opened once and shared by the lanes of a worker.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use super::exporter::Exporter;
use super::feed::Feeds;
use super::openings::Openings;
use crate::event::{Class, Event, Offset, Opened, Opening, Span, attempt};
use crate::log::{LogError, RawBlock, RawRecord, Read, Reader, STRIPE_BYTES};
use crate::metrics::Counter;

/// A piece of the log whose records are opened.
#[derive(Debug)]
pub(crate) struct Block {
    raw: RawBlock,
    slots: Vec<Slot>,
    arena: Vec<u8>,
}

/// One record of a block.
#[derive(Debug)]
struct Slot {
    record: RawRecord,
    opened: Opened,
    reject: Option<Class>,
}

/// One record of a block, as lanes see it.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    /// From the record to the one after it.
    pub(crate) span: Span,
    /// When it was received, nanoseconds since 1970.
    pub(crate) received_ns: u64,
    /// The event, or why there is none.
    pub(crate) event: Result<Event<'a>, Class>,
}

impl Block {
    /// What it covers: the next block begins where it ends.
    pub(crate) fn span(&self) -> Span {
        within_stripe(self.raw.span())
    }

    /// How many records it holds.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The record at a position below [`Self::len`].
    pub(crate) fn entry(&self, at: usize) -> Entry<'_> {
        let slot = &self.slots[at];
        let start = slot.record.start as usize;
        let record = &self.raw.bytes()[start..start + slot.record.len as usize];
        let frame = slot.record.frame;
        Entry {
            span: within_stripe(Span { from: frame.offset, to: slot.record.next }),
            received_ns: frame.received_ns,
            event: match slot.reject {
                Some(class) => Err(class),
                None => Ok(Event::new(&slot.opened, frame, record, &self.arena)),
            },
        }
    }
}

/// What lies at a position of the log.
#[derive(Debug)]
pub(crate) enum At {
    /// An opened block that begins there.
    Block(Rc<Block>),
    /// Bytes that are not in memory: warm them off this thread, then ask again.
    Cold(Span),
    /// Nothing yet.
    End,
    /// Retention took it; the log begins here now.
    Gone(Offset),
    /// It cannot be read.
    Damaged(Span),
}

/// Memory for the records of a block.
type Room = (Vec<Slot>, Vec<u8>);

/// The blocks that a worker opened last.
#[derive(Debug)]
pub(crate) struct Blocks {
    reader: Reader,
    openings: Arc<Openings>,
    opening: Arc<Opening>,
    /// The number of `opening`.
    number: u64,
    recent: VecDeque<Rc<Block>>,
    /// Room of blocks that nobody holds any more, to be used again.
    spare: Vec<Room>,
    pub(crate) counters: Arc<BlockCounters>,
    feeds: Arc<Feeds>,
}

/// How often blocks were opened, for the claim that fan-out costs one opening.
#[derive(Debug, Default)]
pub struct BlockCounters {
    /// Blocks that were opened.
    pub opened: Counter,
    /// Blocks that a lane found opened already.
    pub shared: Counter,
    /// Blocks of which a lane that needs order took only the records it wants.
    pub fed: Counter,
    /// Records that were opened.
    pub records: Counter,
}

impl Blocks {
    /// No blocks yet.
    pub(crate) fn new(
        reader: Reader,
        openings: Arc<Openings>,
        counters: Arc<BlockCounters>,
        feeds: Arc<Feeds>,
    ) -> Self {
        let recent = VecDeque::with_capacity(RECENT_MAX + 1);
        let (number, opening) = (openings.number(), openings.load());
        Self { reader, openings, opening, number, recent, spare: Vec::new(), counters, feeds }
    }

    /// Whether the block that begins at `from` is opened here already.
    pub(crate) fn has(&self, from: Offset, until: Offset) -> bool {
        self.known(from, until).is_some()
    }

    fn known(&self, from: Offset, until: Offset) -> Option<&Rc<Block>> {
        self.recent.iter().rev().find(|block| {
            let span = block.span();
            span.from == from && span.to <= until
        })
    }

    /// The block that begins at `from` and ends at `until` at the latest, for this exporter.
    ///
    /// # Errors
    /// When the log cannot be read at all.
    pub(crate) fn at(
        &mut self,
        from: Offset,
        until: Offset,
        opener: &Exporter,
    ) -> Result<At, LogError> {
        self.look_at_opening();
        if let Some(block) = self.known(from, until) {
            self.counters.shared.add(1);
            return Ok(At::Block(Rc::clone(block)));
        }
        match self.reader.read(from, until, BLOCK_BYTES)? {
            Read::Block(raw) => Ok(At::Block(self.open(raw, opener))),
            Read::Cold(span) => Ok(At::Cold(span)),
            Read::End => Ok(At::End),
            Read::Gone { oldest } => Ok(At::Gone(oldest)),
            Read::Damaged { span, .. } => Ok(At::Damaged(span)),
        }
    }

    /// The single record at a position, without keeping it.
    ///
    /// # Errors
    /// When the log cannot be read at all.
    pub(crate) fn once(&mut self, from: Offset, until: Offset) -> Result<At, LogError> {
        self.look_at_opening();
        let known = self.recent.iter().find(|block| {
            let span = block.span();
            span.from == from && block.len() == 1
        });
        if let Some(block) = known {
            return Ok(At::Block(Rc::clone(block)));
        }
        match self.reader.read(from, until, 1)? {
            // Rooms are for whole blocks; one record needs little.
            Read::Block(raw) => Ok(At::Block(Rc::new(self.open_records(raw, Room::default())))),
            Read::Cold(span) => Ok(At::Cold(span)),
            Read::End => Ok(At::End),
            Read::Gone { oldest } => Ok(At::Gone(oldest)),
            Read::Damaged { span, .. } => Ok(At::Damaged(span)),
        }
    }

    /// Forgets blocks that were opened in another way than is wanted now.
    fn look_at_opening(&mut self) {
        let number = self.openings.number();
        if number != self.number {
            self.number = number;
            self.opening = self.openings.load();
            self.recent.clear();
        }
    }

    /// Opens every record of a block and keeps the block.
    fn open(&mut self, raw: RawBlock, opener: &Exporter) -> Rc<Block> {
        let room = self.spare.pop().unwrap_or_default();
        let block = Rc::new(self.open_records(raw, room));
        self.counters.opened.add(1);
        self.feeds.post(&block, opener);
        self.recent.push_back(Rc::clone(&block));
        while self.recent.len() > RECENT_MAX {
            let oldest = self.recent.pop_front().and_then(Rc::into_inner);
            if let Some(Block { slots, arena, .. }) = oldest
                && self.spare.len() < SPARE_MAX
            {
                self.spare.push((slots, arena));
            }
        }
        block
    }

    fn open_records(&mut self, raw: RawBlock, (mut slots, mut arena): Room) -> Block {
        slots.clear();
        arena.clear();
        self.opening.begin(&mut arena);
        for record in raw.records() {
            let start = record.start as usize;
            let bytes = &raw.bytes()[start..start + record.len as usize];
            slots.push(Slot { record: *record, opened: Opened::default(), reject: None });
            let slot = slots.last_mut().expect("one was pushed just now");
            let begin = arena.len();
            let open = || self.opening.open(&record.frame, bytes, &mut arena, &mut slot.opened);
            slot.reject = match attempt(open) {
                Some(opened) => opened.err().map(|reject| reject.class),
                None => {
                    arena.truncate(begin);
                    Some(Class::Defect)
                }
            };
        }
        self.counters.records.add(slots.len() as u64);
        Block { raw, slots, arena }
    }
}

/// Cuts a span at the end of the stripe that it begins in.
///
/// The stripes that a large record owns beyond its first are read, found empty and settled by
/// themselves, by whichever lane claims them.
fn within_stripe(span: Span) -> Span {
    let end = (span.from.bytes() / STRIPE_BYTES + 1) * STRIPE_BYTES;
    Span { to: span.to.min(Offset::new(end)), ..span }
}

/// Bytes of records in a block: they and their places fit the second-level cache of one core.
const BLOCK_BYTES: usize = 256 << 10;
/// Blocks kept opened: lanes within 8 MiB of each other share them.
const RECENT_MAX: usize = 32;
/// Rooms kept for new blocks; more are only free when lanes let go of many at once.
const SPARE_MAX: usize = 4;
