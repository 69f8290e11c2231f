//! A batch: the framed body of one request, and which events of the log lie in it.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::budget::{Allowance, Charge};
use super::buffers::Buffers;
use super::compress::{CUT_BYTES, Compressor, HISTORY_BYTES, decompress};
use super::delivery::{History, Reshape};
use super::fold::Fold;
use super::watermark::Sent;
use super::{Encoding, Framing, Limits, Prefix};
use crate::event::{Settle, Settled, Severity, Span, attempt};

/// How the batches of one route are made; shared by its lanes.
#[derive(Clone, Debug)]
pub struct Packing {
    /// What stands around and between documents.
    pub framing: &'static Framing,
    /// How much one request may carry: the vendor's limits, or fewer events where configured.
    pub limits: Limits,
    /// Bytes before compression at which a body closes; a single event may be larger.
    pub body_bytes: u32,
    /// How bodies are compressed.
    pub encoding: Encoding,
    /// The level of the encoding.
    pub level: u32,
    /// Events this severe make a batch urgent.
    pub flush_on: Option<Severity>,
    /// What requests have that follows from their events.
    pub heads: Heads,
    /// What stands before the first document, in place of the framing's head.
    pub head: Option<Box<str>>,
    /// Whether requests say which events they carry, so that their ids are kept.
    pub keeps_ids: bool,
}

impl Packing {
    /// What stands before the first document.
    #[must_use]
    pub fn head(&self) -> &str {
        self.head.as_deref().unwrap_or(self.framing.head)
    }
}

/// What a request has that follows from its events, beside what the call says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heads {
    /// What stands between the endpoint's own path and that of the call.
    pub path: String,
    /// Further headers.
    pub headers: HeaderMap,
}

impl Heads {
    /// Reads lines of name, colon and value, as a plan in the syntax [`HEADS`] renders them.
    ///
    /// [`HEADS`]: crate::transform::HEADS
    #[must_use]
    pub fn parse(lines: &[u8]) -> Self {
        let mut heads = Self::default();
        for line in lines.split(|&byte| byte == b'\n') {
            if let Some(path) = line.strip_prefix(PATH_HEAD) {
                heads.path = String::from_utf8_lossy(path).into_owned();
                continue;
            }
            let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
            // The syntax leaves nothing in a value that no header may hold.
            let name = HeaderName::from_bytes(&line[..colon]);
            let value = HeaderValue::from_bytes(&line[colon + 1..]);
            if let (Ok(name), Ok(value)) = (name, value) {
                heads.headers.insert(name, value);
            }
        }
        heads
    }
}

/// One event of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// From the start of its record to the start of the next.
    pub span: Span,
    /// When it was received, nanoseconds since 1970.
    pub received_ns: u64,
    /// The first byte of its prefix, in the body before compression.
    pub start: u32,
    /// The byte after its last, separators between items not counted.
    pub end: u32,
}

impl Item {
    /// Bytes of the event in its batch's body, before compression.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        (self.end - self.start) as usize
    }
}

/// What a rendering is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The document that stands before the event's own ([`Prefix::Document`]).
    Prefix,
    /// The event's document.
    Document,
    /// The event's id, where ids are kept; it is not in the body.
    Id,
}

/// Whether an event went into the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It is in.
    Fits,
    /// It was taken back: close this batch and push into the next.
    Full,
    /// It was taken back, and no batch will hold it: render it smaller, or give it up.
    TooLarge,
    /// It was taken back, since rendering it met a defect: give it up.
    Defect,
}

/// A body under construction, then closed, then perhaps dropped while its events still wait.
pub struct Batch {
    packing: Arc<Packing>,
    buffers: Buffers,
    pub(super) charge: Charge,
    pub(super) items: Vec<Item>,
    /// What its one document stands for, if it is a digest.
    pub(super) fold: Option<Arc<Fold>>,
    route: u32,
    is_urgent: bool,
    worst: Severity,
    raw_bytes: usize,
    count_digits: usize,
    /// The time that its body says, in seconds since 1970.
    dated: i64,
    digest: Digest,
    /// The ids of its events, each ended by a line feed, where they are kept.
    ids: Vec<u8>,
    body: Body,
    /// Whether its events were asked for with a [`Reshape`].
    pub(super) is_again: bool,
    /// Its last request, where receipts tell of it.
    pub(super) sent: Option<Sent>,
    pub(super) history: History,
}

/// BLAKE3 of the body as sent: taken while its bytes are still in the core's own cache, which
/// takes half of the time that an answer would wait for it.
enum Digest {
    /// Nobody asked for it.
    Unasked,
    /// That of so many bytes of an open body.
    Begun(Box<blake3::Hasher>, usize),
    /// That of the closed body.
    Done([u8; 32]),
}

enum Body {
    Open(Open),
    Closed(Bytes),
    Dropped,
}

/// A body under construction: `raw` is what was rendered and is not yet in `out`.
struct Open {
    raw: Vec<u8>,
    compressed: usize,
    compressor: Option<Compressor>,
    out: Vec<u8>,
}

impl Batch {
    /// An empty batch for a route, counted against an exporter's allowance.
    #[must_use]
    pub fn new(
        packing: &Arc<Packing>,
        route: u32,
        buffers: &Buffers,
        allowance: &Arc<Allowance>,
    ) -> Self {
        let mut raw = buffers.take();
        if packing.encoding == Encoding::Identity {
            // Room for the largest body at once: growing would copy it again and again, and what
            // is never written costs no memory.
            raw.reserve_exact(packing.limits.body_bytes.min(packing.body_bytes) as usize);
        }
        raw.extend_from_slice(packing.head().as_bytes());
        Self {
            packing: Arc::clone(packing),
            buffers: buffers.clone(),
            charge: allowance.charge(),
            items: buffers.take_items(),
            fold: None,
            route,
            is_urgent: false,
            worst: Severity::Info,
            raw_bytes: raw.len(),
            count_digits: 3,
            dated: 0,
            digest: Digest::Unasked,
            ids: Vec::new(),
            body: Body::Open(Open { raw, compressed: 0, compressor: None, out: Vec::new() }),
            is_again: false,
            sent: None,
            history: History::default(),
        }
    }

    /// An empty batch for events that are rendered again; it carries on their history.
    #[must_use]
    pub fn again(
        packing: &Arc<Packing>,
        reshape: &Reshape,
        buffers: &Buffers,
        allowance: &Arc<Allowance>,
    ) -> Self {
        let mut batch = Self::new(packing, reshape.route, buffers, allowance);
        batch.is_again = true;
        batch.history = History { shrink: None, ..reshape.history.clone() };
        batch
    }

    /// Renders an event into the body, or takes it back.
    ///
    /// `render` appends the part that it is asked for and nothing else; framing is written here.
    ///
    /// # Panics
    /// When the batch is closed.
    pub fn push(
        &mut self,
        span: Span,
        received_ns: u64,
        severity: Severity,
        mut render: impl FnMut(Part, &mut Vec<u8>),
    ) -> Pushed {
        let Body::Open(open) = &mut self.body else { panic!("a closed batch takes no more") };
        let Packing { framing, limits, flush_on, .. } = *self.packing;
        let is_first = self.items.is_empty();
        if self.items.len() >= limits.events as usize && !is_first {
            return Pushed::Full;
        }
        let mark = open.raw.len();
        if !is_first {
            open.raw.extend_from_slice(framing.between.as_bytes());
        }
        let start = open.raw.len();
        let raw = &mut open.raw;
        let rendered = attempt(|| {
            if matches!(framing.prefix, Prefix::Document(_)) {
                render(Part::Prefix, raw);
                raw.extend_from_slice(framing.after.as_bytes());
            }
            match framing.prefix {
                Prefix::OctetCount => {
                    counted(raw, &mut self.count_digits, |raw| render(Part::Document, raw))
                }
                Prefix::None | Prefix::Document(_) => {
                    let document = raw.len();
                    render(Part::Document, raw);
                    raw.len() - document
                }
            }
        });
        let Some(document_bytes) = rendered else {
            open.raw.truncate(mark);
            return Pushed::Defect;
        };
        open.raw.extend_from_slice(framing.after.as_bytes());

        let end = open.raw.len();
        let tail_bytes = framing.tail_bytes_max();
        let around = self.packing.head().len() + tail_bytes;
        let body_bytes_max = limits.body_bytes as usize;
        let alone = around + (end - start);
        if document_bytes > limits.event_bytes as usize || alone > body_bytes_max {
            open.raw.truncate(mark);
            return Pushed::TooLarge;
        }
        let raw_bytes = self.raw_bytes + (end - mark);
        let items = (self.items.len() + 1) * size_of::<Item>();
        let held = (end + open.out.len() + self.ids.len() + items) as u64;
        // A body closes before it is larger than wanted, but one event that is larger goes alone.
        let closes_at = body_bytes_max.min(self.packing.body_bytes as usize);
        let fits = raw_bytes + tail_bytes <= closes_at;
        if !is_first && (!fits || !self.charge.cover(held)) {
            open.raw.truncate(mark);
            return Pushed::Full;
        }
        if is_first {
            self.charge.set(held.max(self.charge.bytes()));
        }
        self.is_urgent |= flush_on.is_some_and(|flush_on| severity >= flush_on);
        self.worst = self.worst.max(severity);
        let place = |at: usize| u32::try_from(self.raw_bytes + at - mark).expect("limits are u32");
        self.items.push(Item { span, received_ns, start: place(start), end: place(end) });
        self.raw_bytes = raw_bytes;
        if self.packing.keeps_ids {
            render(Part::Id, &mut self.ids);
            self.ids.push(b'\n');
        }
        Pushed::Fits
    }

    /// Notes the time that the body says, in seconds since 1970, where its framing has one.
    pub fn date(&mut self, now: i64) {
        self.dated = now;
    }

    /// Compresses at most `bytes` of what was rendered; says how many are left for later turns.
    ///
    /// Called between pushes with [`TURN_BYTES`], so that timers and other lanes are not stalled.
    pub fn turn(&mut self, bytes: usize) -> usize {
        let Body::Open(open) = &mut self.body else { return 0 };
        if self.packing.encoding == Encoding::Identity {
            self.digest.turn(&open.raw);
            return 0;
        }
        if open.compressor.is_none() && open.raw.len() < COMPRESSED_MIN {
            return 0;
        }
        open.begin(&self.packing, &self.buffers);
        open.turn(bytes)
    }

    /// Ends the body and compresses the rest of it; nothing more can be pushed.
    ///
    /// Turns come first: what they left is compressed here in one go.
    pub fn close(&mut self) {
        let Body::Open(open) = &mut self.body else { return };
        let tail = self.packing.framing.tail(self.items.len(), self.dated);
        open.raw.extend_from_slice(tail.as_bytes());
        self.raw_bytes += tail.len();
        open.begin(&self.packing, &self.buffers);
        let body = open.finish(&self.buffers);
        debug_assert!(self.packing.encoding != Encoding::Identity || body.len() == self.raw_bytes);
        self.digest.finish(&body);
        let items = self.items.len() * size_of::<Item>();
        self.charge.set((body.len() + self.ids.len() + items) as u64);
        self.body = Body::Closed(self.buffers.lend(body));
    }

    /// The body as it goes over the wire; none while the batch is open or after it was dropped.
    #[must_use]
    pub fn body(&self) -> Option<Bytes> {
        match &self.body {
            Body::Closed(body) => Some(body.clone()),
            Body::Open(_) | Body::Dropped => None,
        }
    }

    /// The body before compression; none while the batch is open or after it was dropped.
    pub(super) fn plain(&self) -> Option<Cow<'_, [u8]>> {
        let Body::Closed(body) = &self.body else { return None };
        Some(match self.packing.encoding {
            Encoding::Identity => Cow::Borrowed(body),
            encoding => {
                let mut opened = Vec::new();
                decompress(encoding, body, self.raw_bytes, &mut opened);
                Cow::Owned(opened)
            }
        })
    }

    /// Takes the digest of the body while it is built, for [`Self::digest`].
    pub fn keep_digest(&mut self) {
        if matches!(self.body, Body::Open(_)) {
            self.digest = Digest::Begun(Box::default(), 0);
        }
    }

    /// BLAKE3 of the body as it goes over the wire; none while there is no such body.
    #[must_use]
    pub fn digest(&self) -> Option<[u8; 32]> {
        match (&self.digest, &self.body) {
            (_, Body::Open(_) | Body::Dropped) => None,
            (Digest::Done(digest), _) => Some(*digest),
            (_, Body::Closed(body)) => Some(*blake3::hash(body).as_bytes()),
        }
    }

    /// The ids of its events, each ended by a line feed; empty where they are not kept, and after
    /// the body was dropped.
    #[must_use]
    pub fn ids(&self) -> &[u8] {
        &self.ids
    }

    /// Whether it has a closed body to send.
    #[must_use]
    pub fn has_body(&self) -> bool {
        matches!(self.body, Body::Closed(_))
    }

    /// Lets go of a closed body: what is sent next is rendered again from the log.
    pub fn drop_body(&mut self) {
        debug_assert!(!matches!(self.body, Body::Open(_)), "an open batch is not sent yet");
        self.body = Body::Dropped;
        self.ids = Vec::new();
        self.charge.set((self.items.len() * size_of::<Item>()) as u64);
    }

    /// Gives up the items of a batch without a body, which are kept elsewhere in so many bytes.
    pub(super) fn put_items_away(&mut self, kept_bytes: u64) {
        debug_assert!(matches!(self.body, Body::Dropped), "a body is of its items");
        self.buffers.give_items(std::mem::take(&mut self.items));
        self.charge.set(kept_bytes);
    }

    /// Takes them back.
    pub(super) fn take_items_back(&mut self, items: impl Iterator<Item = Item>) {
        self.items = self.buffers.take_items();
        self.items.extend(items);
        self.charge.set(size_of_val(self.items.as_slice()) as u64);
    }

    /// A closed batch of the kept items, their bytes copied; `keep` is asked by position.
    ///
    /// The bytes of each item are those that were sent before.
    ///
    /// # Panics
    /// When the batch is open or its body was dropped.
    #[must_use]
    pub fn select(&self, keep: impl Fn(usize) -> bool) -> Self {
        let Body::Closed(body) = &self.body else {
            panic!("only a closed batch has bytes to copy")
        };
        let mut opened = self.buffers.take();
        let raw: &[u8] = match self.packing.encoding {
            Encoding::Identity => body,
            encoding => {
                decompress(encoding, body, self.raw_bytes, &mut opened);
                &opened
            }
        };
        let allowance = self.charge.allowance();
        let mut kept = Self::new(&self.packing, self.route, &self.buffers, allowance);
        let mut ids = self.ids.split_inclusive(|&byte| byte == b'\n');
        for (at, item) in self.items.iter().enumerate() {
            let id = ids.next().unwrap_or_default();
            if keep(at) {
                kept.copy(*item, &raw[item.start as usize..item.end as usize]);
                kept.ids.extend_from_slice(id);
            }
        }
        kept.history = self.history.clone();
        (kept.is_urgent, kept.worst) = (self.is_urgent, self.worst);
        kept.dated = self.dated;
        kept.close();
        self.buffers.give(opened);
        kept
    }

    /// Lets go of the other items, whether there is a body or not; some are kept.
    pub(super) fn retain(&mut self, keep: impl Fn(&Item) -> bool) {
        if self.fold.is_some() {
            // Its document stands for those that are left as well; the charge is theirs to keep.
            self.items.retain(keep);
        } else if self.has_body() {
            *self = self.select(|at| keep(&self.items[at]));
        } else {
            self.items.retain(keep);
            self.charge.set(size_of_val(self.items.as_slice()) as u64);
        }
        debug_assert!(!self.items.is_empty(), "an empty batch is sent nowhere");
    }

    /// Cuts a batch without a body after its first `events`; the second part is there if any are
    /// left.
    pub(super) fn split_dropped(mut self, events: usize) -> (Self, Option<Self>) {
        debug_assert!(matches!(self.body, Body::Dropped), "bytes are cut by selecting");
        let events = if self.fold.is_some() { self.items.len() } else { events };
        let events = events.min(self.items.len());
        let mut items = self.buffers.take_items();
        items.extend(self.items.drain(events..));
        if items.is_empty() {
            return (self, None);
        }
        let mut charge = self.charge.allowance().charge();
        charge.set(size_of_val(items.as_slice()) as u64);
        self.charge.set(size_of_val(self.items.as_slice()) as u64);
        let rest = Self {
            packing: Arc::clone(&self.packing),
            buffers: self.buffers.clone(),
            charge,
            items,
            fold: None,
            route: self.route,
            is_urgent: self.is_urgent,
            worst: self.worst,
            raw_bytes: self.raw_bytes,
            count_digits: self.count_digits,
            dated: self.dated,
            digest: Digest::Unasked,
            ids: Vec::new(),
            body: Body::Dropped,
            is_again: false,
            sent: None,
            history: self.history.clone(),
        };
        (self, Some(rest))
    }

    /// Appends an item that was rendered before.
    fn copy(&mut self, item: Item, bytes: &[u8]) {
        let Body::Open(open) = &mut self.body else { unreachable!("it was just made") };
        let between = match self.items.is_empty() {
            true => "",
            false => self.packing.framing.between,
        };
        open.raw.extend_from_slice(between.as_bytes());
        open.raw.extend_from_slice(bytes);
        let start = self.raw_bytes + between.len();
        self.raw_bytes = start + bytes.len();
        let place = |at: usize| u32::try_from(at).expect("no larger than what it was copied from");
        self.items.push(Item { start: place(start), end: place(self.raw_bytes), ..item });
    }

    /// Whether it has as many events as a request may carry.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.items.len() >= self.packing.limits.events as usize
    }

    /// The events, in the order of the body.
    #[must_use]
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// How many events are in it.
    #[must_use]
    pub fn events(&self) -> usize {
        self.items.len()
    }

    /// Whether nothing was pushed yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Bytes of the body before compression.
    #[must_use]
    pub fn raw_bytes(&self) -> usize {
        self.raw_bytes
    }

    /// What the request that carries it has, beside what the call says.
    #[must_use]
    pub fn heads(&self) -> &Heads {
        &self.packing.heads
    }

    /// How it was made, for what is rendered again.
    pub(super) fn packing(&self) -> &Arc<Packing> {
        &self.packing
    }

    /// The content encoding of the body.
    #[must_use]
    pub fn encoding(&self) -> Encoding {
        self.packing.encoding
    }

    /// The route all its events belong to.
    #[must_use]
    pub fn route(&self) -> u32 {
        self.route
    }

    /// Whether it holds an event that should not linger.
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        self.is_urgent
    }

    /// How severe its worst event is.
    pub(super) fn worst(&self) -> Severity {
        self.worst
    }

    /// What happened to its events so far.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The items, taken out of the batch; its body and its charge are let go.
    pub(super) fn into_items(mut self) -> Vec<Item> {
        std::mem::take(&mut self.items)
    }
}

impl Open {
    /// Takes a compressor, where bodies are compressed and there is none yet.
    fn begin(&mut self, packing: &Packing, buffers: &Buffers) {
        if self.compressor.is_none() {
            self.compressor = buffers.take_compressor(packing.encoding, packing.level);
            if self.compressor.is_some() {
                self.out = buffers.take();
            }
        }
    }

    fn turn(&mut self, bytes: usize) -> usize {
        if self.compressor.is_none() {
            return 0;
        }
        // Whole turns only: what is compressed in small pieces becomes larger.
        if let Some(end) = self.compressed.checked_add(bytes).filter(|&end| end <= self.raw.len()) {
            self.compress(end);
        }
        if self.compressed >= COMPRESSED_KEPT_MAX {
            let cut = (self.compressed - HISTORY_BYTES) / CUT_BYTES * CUT_BYTES;
            self.raw.drain(..cut);
            self.compressed -= cut;
        }
        self.raw.len() - self.compressed
    }

    fn compress(&mut self, end: usize) {
        if let Some(compressor) = &mut self.compressor {
            compressor.write(&self.raw[..end], self.compressed, &mut self.out);
            self.compressed = end;
        }
    }

    /// The whole body; buffers and compressor go back to the pool.
    fn finish(&mut self, buffers: &Buffers) -> Vec<u8> {
        self.compress(self.raw.len());
        let raw = std::mem::take(&mut self.raw);
        let Some(compressor) = self.compressor.take() else { return raw };
        buffers.give_compressor(compressor.finish(&mut self.out));
        buffers.give(raw);
        std::mem::take(&mut self.out)
    }
}

impl Digest {
    /// Takes in what an open body has, in whole turns.
    fn turn(&mut self, body: &[u8]) {
        if let Self::Begun(hasher, taken) = self {
            let end = body.len() / TURN_BYTES * TURN_BYTES;
            hasher.update(body.get(*taken..end).unwrap_or_default());
            *taken = end.max(*taken);
        }
    }

    /// Takes in the rest of a body that is closed.
    fn finish(&mut self, body: &[u8]) {
        if let Self::Begun(hasher, taken) = self {
            hasher.update(body.get(*taken..).unwrap_or_default());
            *self = Self::Done(*hasher.finalize().as_bytes());
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.buffers.give_items(std::mem::take(&mut self.items));
        if let Body::Open(open) = &mut self.body {
            self.buffers.give(std::mem::take(&mut open.raw));
            self.buffers.give(std::mem::take(&mut open.out));
        }
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = match self.body {
            Body::Open(_) => "open",
            Body::Closed(_) => "closed",
            Body::Dropped => "dropped",
        };
        f.debug_struct("Batch")
            .field("events", &self.items.len())
            .field("route", &self.route)
            .field("raw_bytes", &self.raw_bytes)
            .field("body", &body)
            .field("history", &self.history)
            .finish_non_exhaustive()
    }
}

/// Joins items that ended alike into as few spans as possible.
pub(super) fn settle<'a>(
    items: impl IntoIterator<Item = &'a Item>,
    fate: Settle,
    out: &mut Vec<Settled>,
) {
    for item in items {
        match out.last_mut() {
            Some(last) if last.fate == fate && last.span.to == item.span.from => {
                last.span.to = item.span.to;
                last.events += 1;
            }
            _ => out.push(Settled { span: item.span, events: 1, fate }),
        }
    }
}

/// Appends a document with its length and a space before it (RFC 6587, 3.4.1); returns the length.
///
/// The length is known afterwards only, so room is left for as many digits as the one before had:
/// documents of one body are alike, and the bytes seldom move.
fn counted(raw: &mut Vec<u8>, digits: &mut usize, render: impl FnOnce(&mut Vec<u8>)) -> usize {
    let at = raw.len();
    raw.resize(at + *digits + 1, b' ');
    render(raw);
    let bytes = raw.len() - at - *digits - 1;
    let needed = bytes.checked_ilog10().map_or(1, |log| log as usize + 1);
    if needed != *digits {
        raw.splice(at..at + *digits, std::iter::repeat_n(b' ', needed));
        *digits = needed;
    }
    let mut rest = bytes;
    for place in raw[at..at + needed].iter_mut().rev() {
        *place = b'0' + u8::try_from(rest % 10).expect("a digit");
        rest /= 10;
    }
    bytes
}

/// What a line with a path begins with ([`PATH_NAME`]).
///
/// [`PATH_NAME`]: crate::transform::PATH_NAME
const PATH_HEAD: &[u8] = b":path:";

/// Bytes compressed in one turn: about 80 microseconds of gzip.
pub const TURN_BYTES: usize = 64 << 10;

/// Smaller bodies are compressed when they close: a lane may have hundreds open, and a compressor
/// takes more memory than they do.
const COMPRESSED_MIN: usize = 16 << 10;

/// Bytes that are in `out` already are let go at this size, but for those that compressing what
/// follows looks at.
const COMPRESSED_KEPT_MAX: usize = 256 << 10;
