//! Checks a line: opens it once, repairs it, maps it, recognises what came before.

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::Arc;

use super::batch::{Batch, Rejected};
use super::counts::IntakeCounts;
use super::dialect::{Dialect, Mapped, Source};
use super::window::{Met, Window};
use crate::event::{
    Class, Classes, Entry, Event, FieldId as F, Frame, Opened, Opening, Reject, attempt,
    content_hash, derived_id, entries, renamed, repair, text_hash, values,
};
use crate::log::Mark;

/// What lines may be, and what is remembered of them.
#[derive(Clone, Debug)]
pub struct CheckOptions {
    /// Bytes of a line without its ending, at most.
    pub line_bytes_max: usize,
    /// Bytes of a record, at most: repaired and mapped ones may be longer than their line.
    pub record_bytes_max: usize,
    /// Ids that are remembered to recognise an event that comes again; 0 for none.
    pub dedup_window: usize,
    /// The dialects beside the canonical event, in the order in which they are asked.
    pub dialects: &'static [&'static Dialect],
    /// The name of this machine, for dialects that name none.
    pub host: String,
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self {
            line_bytes_max: 4 << 20,
            record_bytes_max: 16 << 20,
            dedup_window: 65_536,
            dialects: &[],
            host: "unknown".to_owned(),
        }
    }
}

/// Checks the lines of one door.
#[derive(Debug)]
pub struct Checker {
    opening: Arc<Opening>,
    options: CheckOptions,
    counts: Arc<IntakeCounts>,
    window: Option<Window>,
    /// Keeps producers from making ids or contents that collide.
    seed: u64,
    arena: Vec<u8>,
    opened: Opened,
    mapped: Mapped,
    /// The only dialect that is asked; none for all of them.
    format: Option<&'static str>,
    /// Whether the line before was of a dialect: the next one most likely is too.
    is_foreign: bool,
    /// Events and their bytes that are not counted yet: once for each chunk is enough.
    events: u64,
    bytes: u64,
}

/// A line on its way.
#[derive(Clone, Copy, Debug)]
struct Piece<'a> {
    /// Its text, as far as it was not looked at yet.
    text: &'a [u8],
    /// Where the text begins in the chunk; `None` for a text of our own making.
    at: Option<usize>,
    /// Where its line begins in the source.
    offset: u64,
    frame: Frame,
    /// Of a mapped text: its dialect, and the line that it was.
    origin: Option<(&'static str, &'a [u8])>,
}

impl Checker {
    /// Opens records this way from now on; what is remembered stays.
    pub fn open_as(&mut self, opening: Arc<Opening>) {
        self.arena.clear();
        opening.begin(&mut self.arena);
        self.opening = opening;
    }

    /// A checker with an empty window.
    #[must_use]
    pub fn new(opening: Arc<Opening>, options: CheckOptions, counts: Arc<IntakeCounts>) -> Self {
        let mut arena = Vec::new();
        opening.begin(&mut arena);
        Self {
            opening,
            counts,
            window: Window::new(options.dedup_window),
            options,
            seed: RandomState::new().hash_one("seed"),
            arena,
            opened: Opened::default(),
            mapped: Mapped::default(),
            format: None,
            is_foreign: false,
            events: 0,
            bytes: 0,
        }
    }

    /// Takes lines of at most so many bytes from now on, and remembers so many ids.
    pub(super) fn bound(&mut self, line_bytes_max: usize, dedup_window: usize) {
        self.options.line_bytes_max = line_bytes_max.min(self.options.record_bytes_max);
        if self.options.dedup_window == dedup_window {
            return;
        }
        self.options.dedup_window = dedup_window;
        self.window = match &self.window {
            Some(window) => window.resized(dedup_window),
            None => Window::new(dedup_window),
        };
    }

    /// Counts there from now on.
    pub(super) fn count_in(&mut self, counts: Arc<IntakeCounts>) {
        self.counts = counts;
    }

    /// Forgets which events came: the last ones were not appended.
    pub(super) fn forget(&mut self) {
        self.window.iter_mut().for_each(Window::forget);
    }

    /// Knows no event until the window is put back.
    pub(super) fn set_aside(&mut self) -> Option<Window> {
        self.window.take()
    }

    /// Knows again what it knew when this was set aside.
    pub(super) fn put_back(&mut self, window: Option<Window>) {
        self.window = window;
    }

    /// Takes the next lines for records of this dialect only; `None` for any.
    pub(super) fn set_format(&mut self, format: Option<&'static str>) {
        self.format = format;
    }

    /// The only dialect that lines may be of.
    pub(super) fn format(&self) -> Option<&'static str> {
        self.format
    }

    /// The format of this name, where there is one.
    pub(super) fn format_named(&self, name: &str) -> Option<&'static str> {
        let names = self.options.dialects.iter().map(|dialect| dialect.name);
        names.chain([CANONICAL]).find(|it| *it == name)
    }

    /// Remembers an event of the log as one that came in.
    pub(super) fn remember(&mut self, frame: Frame, record: &[u8]) {
        self.opening.rewind(&mut self.arena);
        let piece = Piece { text: record, at: None, offset: 0, frame, origin: None };
        if self.window.is_none()
            || self.opening.open_exact(&frame, record, &mut self.arena, &mut self.opened).is_err()
        {
            return;
        }
        let event = self.event(&piece);
        let id = text_hash(event.text(F::EventId), self.seed);
        let content = content_hash(&event, self.seed);
        self.meet(id, content);
    }

    /// Counts the events of a chunk.
    pub(super) fn count_events(&mut self) {
        self.counts.events.add(std::mem::take(&mut self.events));
        self.counts.bytes.add(std::mem::take(&mut self.bytes));
    }

    /// Bytes of a line without its ending, at most.
    pub(super) fn line_bytes_max(&self) -> usize {
        self.options.line_bytes_max
    }

    /// Counts a line that never came to be checked.
    pub(super) fn count(&self, class: Class) {
        self.counts.class(class).add(1);
    }

    /// Checks the line at `range` of a chunk: adds its records, or its refusal, to the batch.
    ///
    /// `offset` is where the line begins in its source; `noted` is what reading saw of it.
    #[inline]
    pub(super) fn line(
        &mut self,
        chunk: &[u8],
        range: Range<usize>,
        offset: u64,
        noted: Classes,
        received_ns: u64,
        out: &mut Batch,
    ) {
        let text = &chunk[range.clone()];
        let frame = Frame { received_ns, repaired: noted, ..Frame::default() };
        let piece = Piece { text, at: Some(range.start), offset, frame, origin: None };
        let whole = attempt(|| self.whole(piece, out)).unwrap_or(Err(Class::Defect));
        match whole {
            Ok(()) => {}
            Err(Class::Blank) => self.counts.class(Class::Blank).add(1),
            Err(class) => self.refuse(class, text, offset, out),
        }
    }

    /// Adds the records of a whole line to the batch; `Err` is the class of its refusal.
    #[inline]
    fn whole(&mut self, piece: Piece<'_>, out: &mut Batch) -> Result<(), Class> {
        if let Some(result) = self.foreign(piece, out) {
            return result;
        }
        let Err(reject) = self.open(&piece, out) else { return Ok(()) };
        if reject.class == Class::JsonSyntax && piece.text.trim_ascii().is_empty() {
            return Err(Class::Blank);
        }
        self.again(piece, reject, out)
    }

    /// Counts a refusal and hands it on.
    fn refuse(&self, class: Class, text: &[u8], offset: u64, out: &mut Batch) {
        self.refuse_of(self.format, class, text, offset, out);
    }

    /// The same of what is to be of this format, whichever its source is of.
    fn refuse_of(
        &self,
        format: Option<&'static str>,
        class: Class,
        text: &[u8],
        offset: u64,
        out: &mut Batch,
    ) {
        self.counts.class(class).add(1);
        out.rejected.push(Rejected {
            class,
            offset,
            length: text.len() as u64,
            kept: text.to_vec(),
            sha256: None,
            format,
        });
    }

    /// Opens a text as it is, and adds it to the batch.
    #[inline]
    fn open(&mut self, piece: &Piece<'_>, out: &mut Batch) -> Result<(), Reject> {
        self.fits(piece.text)?;
        self.opening.rewind(&mut self.arena);
        self.opening.open_exact(&piece.frame, piece.text, &mut self.arena, &mut self.opened)?;
        if piece.origin.is_none() && self.is_of_another_format() {
            return Err(Reject { class: Class::UnknownFormat, at: 0, field: None });
        }
        let Some(window) = &self.window else {
            self.add(piece, out);
            return Ok(());
        };
        let event = self.event(piece);
        let id = text_hash(event.text(F::EventId), self.seed);
        window.expect(id);
        let content = content_hash(&event, self.seed);
        match self.meet(id, content) {
            Met::Never => self.add(piece, out),
            Met::Same => self.counts.class(Class::Duplicate).add(1),
            Met::Other => return self.rename(piece, content, out),
        }
        Ok(())
    }

    /// Whether all lines are to be of a dialect, so that a canonical event is no line of theirs.
    #[inline]
    fn is_of_another_format(&self) -> bool {
        self.format.is_some_and(|name| name != CANONICAL)
    }

    #[inline]
    fn fits(&self, record: &[u8]) -> Result<(), Reject> {
        let at = self.options.record_bytes_max;
        let too_long = record.len() > at;
        if too_long { Err(Reject { class: Class::Oversize, at, field: None }) } else { Ok(()) }
    }

    fn event<'a>(&'a self, piece: &Piece<'a>) -> Event<'a> {
        Event::new(&self.opened, piece.frame, piece.text, &self.arena)
    }

    #[inline]
    fn meet(&mut self, id: u64, content: u64) -> Met {
        self.window.as_mut().map_or(Met::Never, |window| window.meet(id, content))
    }

    /// Adds an opened text as a record.
    #[inline]
    fn add(&mut self, piece: &Piece<'_>, out: &mut Batch) {
        let Frame { received_ns, mapped, repaired, .. } = piece.frame;
        let mark = Mark { received_ns, checked: true, mapped, repaired };
        match piece.at {
            Some(at) => out.add_place(at..at + piece.text.len(), mark),
            None => out.add_bytes(piece.text, mark),
        }
        self.events += 1;
        self.bytes += piece.text.len() as u64;
        self.counts.add(self.opened.flags);
    }

    /// Gives an event whose id belongs to another one an id of its own.
    #[cold]
    fn rename(&mut self, piece: &Piece<'_>, content: u64, out: &mut Batch) -> Result<(), Reject> {
        let event = self.event(piece);
        let own_id = event.text(F::EventId);
        let (format, line) = piece.origin.unwrap_or((CANONICAL, piece.text));
        let id = derived_id(format, own_id, line);
        let record = renamed(&event, &id);
        self.fits(&record)?;
        let mut frame = piece.frame;
        frame.mapped = true;
        frame.repaired.insert(Class::DuplicateId);
        // Remarks may lie one level deeper than they lay: what does not open now never does.
        self.opening.rewind(&mut self.arena);
        self.opening.open_exact(&frame, &record, &mut self.arena, &mut self.opened)?;
        // The same line again has the same derived id and is then known.
        if self.meet(text_hash(&id, self.seed), content) != Met::Never {
            self.counts.class(Class::Duplicate).add(1);
            return Ok(());
        }
        self.add(&Piece { text: &record, at: None, frame, origin: None, ..*piece }, out);
        Ok(())
    }

    /// What can be done for a text that does not open as it is; `Err` is the class of its refusal.
    #[cold]
    fn again(&mut self, piece: Piece<'_>, reject: Reject, out: &mut Batch) -> Result<(), Class> {
        match reject.class {
            Class::TrailingData => self.split(piece, out),
            Class::UnknownFormat => self.map(piece, &entries(piece.text.trim_ascii_start()), out),
            class => {
                let Some(repaired) = repair(piece.text, class) else { return Err(class) };
                let mut frame = piece.frame;
                frame.repaired = frame.repaired.union(repaired.classes);
                let mended = Piece { text: &repaired.text, at: None, frame, origin: None, ..piece };
                match self.open(&mended, out) {
                    Ok(()) => Ok(()),
                    // A repaired text needs no second repair, but may be several or foreign.
                    Err(again) if may_follow_repair(again.class) => self.again(mended, again, out),
                    Err(again) => Err(repaired.refused(again).class),
                }
            }
        }
    }

    /// Several objects on one line: each is an event, and a broken remainder is refused.
    fn split(&mut self, piece: Piece<'_>, out: &mut Batch) -> Result<(), Class> {
        let mut frame = piece.frame;
        frame.repaired.insert(Class::TrailingData);
        let (values, is_whole) = values(piece.text);
        let mut result = if is_whole { Ok(()) } else { Err(Class::JsonSyntax) };
        for value in values {
            let at = piece.at.map(|at| at + value.start);
            let one = Piece { text: &piece.text[value], at, frame, origin: None, ..piece };
            let opened = match self.open(&one, out) {
                Ok(()) => Ok(()),
                Err(reject) => self.again(one, reject, out),
            };
            result = result.and(opened);
        }
        result
    }

    /// Maps a line that follows one of a dialect without opening it first, which would only say
    /// that it is no event; `None` where opening would say anything else.
    #[inline]
    fn foreign(&mut self, piece: Piece<'_>, out: &mut Batch) -> Option<Result<(), Class>> {
        if !std::mem::take(&mut self.is_foreign) || self.fits(piece.text).is_err() {
            return None;
        }
        let members = self.opening.foreign(piece.text)?;
        Some(self.map(piece, &members, out))
    }

    /// A record of another dialect, with these members.
    fn map(
        &mut self,
        piece: Piece<'_>,
        members: &[Entry<'_>],
        out: &mut Batch,
    ) -> Result<(), Class> {
        let is_asked = |dialect: &Dialect| self.format.is_none_or(|name| dialect.name == name);
        let dialect = Dialect::of(self.options.dialects, members, is_asked);
        let dialect = dialect.ok_or(Class::UnknownFormat)?;
        self.is_foreign = true;
        let source = Source {
            line: piece.text,
            members,
            received_ns: piece.frame.received_ns,
            host: &self.options.host,
            has_tenant: self.opening.has_tenant(),
            wrapped: None,
        };
        let mut mapped = std::mem::take(&mut self.mapped);
        mapped.clear();
        let mut result = (dialect.map)(&source, &mut mapped);
        if result.is_ok() {
            let frame = Frame { mapped: true, ..piece.frame };
            let is_one = mapped.is_one();
            for event in mapped.events() {
                // Each of several has an origin of its own, else ids made of it would meet.
                let origin = Some((dialect.name, if is_one { piece.text } else { event }));
                let one = Piece { text: event, at: None, frame, origin, ..piece };
                match self.open(&one, out) {
                    Ok(()) => {}
                    Err(reject) if is_one => result = Err(reject.class),
                    // It is mapped already.
                    Err(reject) => {
                        let format = self.format.map(|_| CANONICAL);
                        self.refuse_of(format, reject.class, event, piece.offset, out);
                    }
                }
            }
            for (class, part) in mapped.refused() {
                self.refuse(class, part, piece.offset, out);
            }
        }
        self.mapped = mapped;
        result
    }
}

/// The format of canonical events.
const CANONICAL: &str = "security_event";

/// Whether a repaired text that was refused so may still hold events.
fn may_follow_repair(class: Class) -> bool {
    matches!(class, Class::TrailingData | Class::UnknownFormat)
}
