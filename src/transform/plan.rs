//! A chain of schemas compiled to flat lists of operations, and their execution.

use sha2::{Digest as _, Sha256};

use super::encoder::{Choices, Codec, Encoder};
use super::name::Name;
use super::pattern::DatePart;
use super::schema::{Clean, Derive, Digest, Empty, Extract, Overrides, Pick, Schema, Write};
use super::tail::Tail;
use super::{compile, json, write};
use crate::event::{Event, FieldId, Opened, Place, Value};

/// A compiled chain of schemas.
///
/// Everything static is spelled once, in one arena; an event's values are all that is written per
/// event. Encoding cannot fail, allocates nothing but room in the buffer, and gives the same bytes
/// for the same event.
#[derive(Debug)]
pub struct Plan {
    /// Text of all operations, and a window's width of padding behind it.
    pub(super) arena: Vec<u8>,
    /// One list per combination of cases, in the order of `picks`, for events that have all sure
    /// fields.
    pub(super) programs: Vec<Vec<Op>>,
    /// The same for events that lack one.
    pub(super) careful: Vec<Vec<Op>>,
    /// Fields that programs write without looking, by [`FieldId::bit`].
    pub(super) sure: u64,
    /// What picks the case of each schema that has cases: outermost first, with their number.
    pub(super) picks: Vec<(PickCase, usize)>,
    /// How each schema of the chain is spelled.
    pub(super) codecs: Vec<Codec>,
    /// Names in templates and patterns.
    pub(super) names: Vec<Name>,
    /// Patterns.
    pub(super) patterns: Vec<Pattern>,
    /// Dates in templates.
    pub(super) dates: Vec<Vec<DatePart>>,
    /// Texts of rows that have one of several.
    pub(super) texts: Vec<Span>,
    /// Member names used by other rows, by members operation.
    pub(super) taken: Vec<Vec<String>>,
    /// Fields that nothing may read, by [`FieldId::bit`].
    pub(super) hidden: u64,
    /// What derived rows ask for.
    pub(super) choices: Choices,
}

/// Picks the case of a schema.
pub(super) type PickCase = fn(&Event<'_>) -> usize;

/// Why a chain does not compile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The chain has no schema.
    #[error("a plan needs at least one schema")]
    Empty,
    /// A row asks for a next schema, and there is none; or a schema stands where no row asks.
    #[error("schema `{schema}`: {problem}")]
    Chain {
        /// The schema's name.
        schema: &'static str,
        /// What is wrong with its place in the chain.
        problem: &'static str,
    },
    /// Two rows have one key.
    #[error(
        "schema `{schema}`: two sources write `{key}`; map one of them to another key or deny it"
    )]
    Twice {
        /// The schema's name.
        schema: &'static str,
        /// The key.
        key: String,
    },
    /// A key is a value for one row and an object for another.
    #[error("schema `{schema}`: `{key}` is a value and cannot hold `{inner}`; choose another key")]
    Inside {
        /// The schema's name.
        schema: &'static str,
        /// The key that has a value.
        key: String,
        /// The key inside it.
        inner: String,
    },
    /// A key that the schema's syntax cannot write.
    #[error("schema `{schema}`: `{key}` is no key; expected {expected}")]
    Key {
        /// The schema's name.
        schema: &'static str,
        /// The key.
        key: String,
        /// What keys its syntax has.
        expected: &'static str,
    },
    /// An override takes away what the schema must have.
    #[error("schema `{schema}`: `{key}` is required; {cause} would remove it")]
    Required {
        /// The schema's name.
        schema: &'static str,
        /// The key.
        key: &'static str,
        /// The override that removes it.
        cause: String,
    },
    /// A key to leave out that no row has.
    #[error("no key `{key}` to leave out{hint}")]
    Omit {
        /// The key.
        key: String,
        /// The nearest key, as a question.
        hint: String,
    },
    /// Part of the metadata cannot be denied alone, because metadata is copied whole.
    #[error("`{field}` is part of `metadata`, which is copied whole; deny `metadata` instead")]
    Part {
        /// The field's path.
        field: &'static str,
    },
    /// A template or pattern does not parse.
    #[error("`{name}`, character {}: {problem}", at + 1)]
    Pattern {
        /// The option or schema that holds the text.
        name: String,
        /// The byte where it stops, from 0.
        at: usize,
        /// What is wrong, and what was expected.
        problem: String,
    },
    /// More objects inside objects than a plan keeps track of.
    #[error("schema `{schema}`: objects nest deeper than {}", Plan::DEPTH_MAX)]
    Deep {
        /// The schema's name.
        schema: &'static str,
    },
}

/// Bytes that are copied at once where a piece is at most so long.
pub(super) const WINDOW: usize = 64;

/// The widest lead of a copied field: a key with the objects it alone is in.
pub(super) const LEAD: usize = 32;

/// The widest trail of a copied field: brackets and a separator.
pub(super) const TRAIL: usize = 8;

/// Bytes that are kept for the length of a message with a document: most have 128 to 16,383.
pub(super) const LENGTH_ROOM: usize = 2;

/// A piece of the arena.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) len: u32,
}

/// What a row with a dynamic value needs beside the value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// Fields of which one must be there, by [`FieldId::bit`].
    pub(super) fields: u64,
    /// The key and what stands before the value.
    pub(super) lead: Span,
    /// The separator, and the brackets of objects that end with this row.
    pub(super) trail: Span,
    /// Which codec spells it.
    pub(super) codec: u8,
    /// Characters at most, 0 for no limit.
    pub(super) max: u16,
    /// What becomes of it where its text is empty.
    pub(super) empty: Empty,
}

/// One step of a program.
#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    /// Text.
    Text(Span),
    /// A field that is surely there, as it lies in the record; lead and trail as in [`Op::Copy`].
    Say { field: FieldId, lead: Span, trail: Span },
    /// A field as it lies in the record; lead and trail are at most a window wide.
    Copy { field: FieldId, drops_empty: bool, lead: Span, trail: Span },
    /// A field through a writer.
    Write { row: Row, field: FieldId, write: Write },
    /// A text taken from the event, as it is; quotes are part of what stands around it, which is
    /// as in [`Op::Copy`].
    Extract { fields: u64, lead: Span, trail: Span, extract: Extract },
    /// The same as the codec spells it.
    Spell { row: Row, extract: Extract },
    /// A computed row.
    Derive { row: Row, derive: Derive },
    /// The members of a field's object.
    Members { row: Row, field: FieldId, taken: u16 },
    /// Computed members.
    DeriveMembers { row: Row, derive: Derive, taken: u16 },
    /// Text that accompanies any of these fields.
    With { fields: u64, empty: Empty, text: Span },
    /// One of several texts.
    OneOf { pick: Pick, first: u16, count: u16 },
    /// An option with placeholders.
    Pattern { row: Row, pattern: u16 },
    /// A value in a template.
    Value { codec: u8, name: u16 },
    /// A date in a template.
    Date { codec: u8, date: u16 },
    /// An object begins; what was written is remembered in the slot. Without any of its fields it
    /// is left out, and the next step is `after`.
    Open { slot: u8, text: Span, fields: u64, after: u16 },
    /// An object ends; one that is empty is taken back.
    Close { slot: u8, between: u8, text: Span },
    /// An object in which something is written ends.
    Trim { between: u8, text: Span },
    /// The document, or an object that may stay empty, ends.
    End { slot: u8, between: u8, text: Span },
    /// A message ends whose length stands at the end of what opened it.
    Measure { slot: u8 },
}

impl Op {
    /// What an operation asks for that always has something to write: a bit that no field has and
    /// that every event is given, also one without any field.
    pub(super) const ANY: u64 = 1 << 63;
}

/// An option with placeholders, ready to be written.
#[derive(Debug)]
pub(super) struct Pattern {
    pub(super) pieces: Vec<PatternPiece>,
    pub(super) clean: &'static Clean,
    /// Bytes that all values together may have.
    pub(super) values_max: usize,
}

/// A piece of a pattern.
#[derive(Debug)]
pub(super) enum PatternPiece {
    /// Text, spelled.
    Text(Vec<u8>),
    /// Text of a pattern that may become a digest.
    Plain(String),
    Value(Name),
    Date(Vec<DatePart>),
    /// A group begins.
    Group,
}

/// Where an object began and where its first row stands.
#[derive(Clone, Copy, Default)]
struct Mark {
    start: usize,
    inside: usize,
}

impl Plan {
    /// Objects that may be open at once.
    ///
    /// ECS nests 4 deep, an envelope adds 1; mapped keys may add some.
    pub const DEPTH_MAX: usize = 16;

    /// Compiles a chain, outermost schema first.
    ///
    /// # Errors
    /// When an override contradicts the schemas, or a text with placeholders does not parse.
    pub fn compile(chain: &[&'static Schema], overrides: &Overrides) -> Result<Self, PlanError> {
        compile::compile(chain, overrides)
    }

    /// Appends the event's document.
    pub fn encode(&self, event: &Event<'_>, out: &mut Vec<u8>) {
        if self.hidden == 0 {
            return self.run(event, out);
        }
        let opened = without(event.opened, self.hidden);
        self.run(&Event { opened: &opened, ..*event }, out);
    }

    /// Whether nothing in its documents follows from the event but the hour of its time.
    #[must_use]
    pub fn says_hour_alone(&self) -> bool {
        let is_fixed = |piece: &PatternPiece| !matches!(piece, PatternPiece::Value(_));
        let is_so = |op: &Op| match *op {
            Op::Text(_) | Op::Open { .. } | Op::Close { .. } | Op::Trim { .. } | Op::End { .. } => {
                true
            }
            // Its parts go down to the hour.
            Op::Date { .. } => true,
            Op::Pattern { pattern, .. } => {
                self.patterns[usize::from(pattern)].pieces.iter().all(is_fixed)
            }
            _ => false,
        };
        self.programs.iter().chain(&self.careful).flatten().all(is_so)
    }

    fn run(&self, event: &Event<'_>, out: &mut Vec<u8>) {
        let (present, filled) = present(event.opened);
        let present = present | Op::ANY;
        let mut program = 0;
        for &(pick, cases) in &self.picks {
            program = program * cases + pick(event).min(cases - 1);
        }
        let mut tail = Tail::new(out);
        let mut marks = [Mark::default(); Self::DEPTH_MAX];
        // An id and its caption stand side by side and are picked alike.
        let mut last: Option<(Pick, usize)> = None;
        let is_sure = filled & self.sure == self.sure;
        let programs = if is_sure { &self.programs } else { &self.careful };
        let ops = programs[program].as_slice();
        let mut rest = ops.iter();
        while let Some(op) = rest.next() {
            match *op {
                Op::Text(text) => self.text(text, &mut tail),
                Op::Say { field, lead, trail } => {
                    self.say([lead, trail], event, field, &mut tail);
                }
                Op::Copy { field, drops_empty, lead, trail } => {
                    if present & field.bit() != 0 {
                        self.copy(event, field, drops_empty, [lead, trail], &mut tail);
                    }
                }
                Op::OneOf { pick, first, count } => {
                    let picked = match last {
                        Some((before, picked)) if std::ptr::fn_addr_eq(before, pick) => picked,
                        _ => pick(event, self.choices),
                    };
                    last = Some((pick, picked));
                    if picked < usize::from(count) {
                        self.text(self.texts[usize::from(first) + picked], &mut tail);
                    }
                }
                Op::With { fields, empty, text } => {
                    if present & fields != 0 && says(event, present & fields, empty) {
                        self.text(text, &mut tail);
                    }
                }
                Op::Extract { fields, lead, trail, extract } => {
                    if present & fields != 0 {
                        let text = extract(event, self.choices);
                        if !text.is_empty() {
                            self.extracted(text, event, [lead, trail], &mut tail);
                        }
                    }
                }
                Op::Derive { row, derive } => {
                    if present & row.fields != 0 {
                        tail = self.row(row, tail, |encoder| derive(encoder, event));
                    }
                }
                Op::Open { slot, text, fields, after } => {
                    if present & fields == 0 {
                        rest = ops[usize::from(after)..].iter();
                        continue;
                    }
                    let start = tail.len();
                    self.text(text, &mut tail);
                    marks[usize::from(slot)] = Mark { start, inside: tail.len() };
                }
                Op::Close { slot, between, text } => {
                    let mark = marks[usize::from(slot)];
                    if tail.len() == mark.inside {
                        tail.truncate(mark.start);
                    } else {
                        tail.truncate(tail.len() - usize::from(between));
                        self.text(text, &mut tail);
                    }
                }
                Op::Trim { between, text } => {
                    tail.truncate(tail.len() - usize::from(between));
                    self.text(text, &mut tail);
                }
                Op::End { slot, between, text } => {
                    let mark = marks[usize::from(slot)];
                    if tail.len() != mark.inside {
                        tail.truncate(tail.len() - usize::from(between));
                    }
                    self.text(text, &mut tail);
                }
                Op::Measure { slot } => {
                    tail.measure(marks[usize::from(slot)].inside - LENGTH_ROOM, LENGTH_ROOM);
                }
                _ => tail = self.rare(op, event, present, tail),
            }
        }
    }

    /// The operations that programs have few of.
    fn rare<'a>(&'a self, op: &Op, event: &Event<'_>, present: u64, tail: Tail<'a>) -> Tail<'a> {
        let limited = |codec: u8, tail: Tail<'a>, characters: u16| {
            Encoder::new(tail, &self.codecs[usize::from(codec)], self.choices, characters)
        };
        let encoder = |codec: u8, tail: Tail<'a>| limited(codec, tail, 0);
        match *op {
            Op::Write { row, field, write } => {
                let value = event.value(field);
                let kept = |value: &Value<'_>| !row.empty.drops(value.json);
                let Some(value) = value.filter(kept) else { return tail };
                self.row(row, tail, |encoder| {
                    write(encoder, value);
                    true
                })
            }
            Op::Spell { row, extract } if present & row.fields != 0 => {
                let text = extract(event, self.choices);
                if text.is_empty() {
                    return tail;
                }
                self.row(row, tail, |encoder| {
                    encoder.characters(text);
                    true
                })
            }
            Op::Pattern { row, pattern } => {
                let pattern = &self.patterns[usize::from(pattern)];
                self.row(row, tail, |encoder| pattern.write(event, encoder))
            }
            Op::Members { row, field, taken } => {
                let Some(value) = event.value(field) else { return tail };
                let mut encoder = encoder(row.codec, tail).beside(&self.taken[usize::from(taken)]);
                encoder.members(value);
                encoder.into_tail()
            }
            Op::DeriveMembers { row, derive, taken } if present & row.fields != 0 => {
                let encoder = limited(row.codec, tail, row.max);
                let mut encoder = encoder.beside(&self.taken[usize::from(taken)]);
                derive(&mut encoder, event);
                encoder.into_tail()
            }
            Op::Value { codec, name } => {
                let mut encoder = encoder(codec, tail);
                if let Some(value) = self.names[usize::from(name)].value(event) {
                    write::bare(&mut encoder, value);
                }
                encoder.into_tail()
            }
            Op::Date { codec, date } => {
                let mut encoder = encoder(codec, tail);
                write::date(&self.dates[usize::from(date)], event, &mut encoder);
                encoder.into_tail()
            }
            _ => tail,
        }
    }

    /// Copies a field with what stands around it.
    #[inline(always)]
    fn copy(
        &self,
        event: &Event<'_>,
        field: FieldId,
        drops_empty: bool,
        [lead, trail]: [Span; 2],
        tail: &mut Tail<'_>,
    ) {
        let place = event.opened.places[field as usize];
        let (bytes, len) = place.reach(event.record, event.arena);
        if drops_empty && len == 2 && bytes[0] == b'"' {
            return;
        }
        self.around(lead, (bytes, len), trail, tail);
    }

    /// Appends the first `len` bytes of `bytes` between two texts.
    ///
    /// What is copied at once is hardly wider than what most values have: the stores are what
    /// rendering waits for.
    #[inline(always)]
    fn around(&self, lead: Span, (bytes, len): (&[u8], usize), trail: Span, tail: &mut Tail<'_>) {
        let (before, after) = (self.piece::<LEAD>(lead), self.piece::<TRAIL>(trail));
        if let Some(value) = bytes.first_chunk::<LEAD>()
            && len <= LEAD
        {
            return tail.windows(before, (value, len), after);
        }
        if let Some(value) = bytes.first_chunk::<WINDOW>()
            && len <= WINDOW
        {
            return tail.windows(before, (value, len), after);
        }
        tail.window(before.0, before.1);
        tail.long(&bytes[..len]);
        tail.window(after.0, after.1);
    }

    /// Appends a text taken from the event with what stands around it.
    #[inline(always)]
    fn extracted(
        &self,
        text: &[u8],
        event: &Event<'_>,
        [lead, trail]: [Span; 2],
        tail: &mut Tail<'_>,
    ) {
        // Most of them are pieces of the record, behind which a window may go on.
        let start = text.as_ptr().addr().wrapping_sub(event.record.as_ptr().addr());
        match event.record.get(start..) {
            Some(bytes) if bytes.len() >= text.len() => {
                self.around(lead, (bytes, text.len()), trail, tail);
            }
            _ => {
                self.text(lead, tail);
                tail.append(text);
                self.text(trail, tail);
            }
        }
    }

    /// Appends a field as it lies in the record between two texts.
    #[inline(always)]
    fn say(
        &self,
        [lead, trail]: [Span; 2],
        event: &Event<'_>,
        field: FieldId,
        tail: &mut Tail<'_>,
    ) {
        let place = event.opened.places[field as usize];
        let value = place.reach(event.record, event.arena);
        self.around(lead, value, trail, tail);
    }

    /// Writes a row, or takes it back when there is nothing to write.
    #[inline]
    fn row<'a>(
        &'a self,
        row: Row,
        mut tail: Tail<'a>,
        write: impl FnOnce(&mut Encoder<'a>) -> bool,
    ) -> Tail<'a> {
        let start = tail.len();
        self.text(row.lead, &mut tail);
        let codec = &self.codecs[usize::from(row.codec)];
        let mut encoder = Encoder::new(tail, codec, self.choices, row.max);
        let written = write(&mut encoder);
        let mut tail = encoder.into_tail();
        if written {
            self.text(row.trail, &mut tail);
        } else {
            tail.truncate(start);
        }
        tail
    }

    /// Appends a piece of the arena.
    #[inline(always)]
    fn text(&self, span: Span, tail: &mut Tail<'_>) {
        if span.len as usize <= LEAD {
            self.window::<LEAD>(span, tail);
        } else {
            tail.long(&self.arena[span.start as usize..][..span.len as usize]);
        }
    }

    /// Appends a piece of the arena that is at most this wide.
    #[inline(always)]
    fn window<const WIDTH: usize>(&self, span: Span, tail: &mut Tail<'_>) {
        let (window, len) = self.piece::<WIDTH>(span);
        tail.window(window, len);
    }

    /// A piece of the arena that is at most this wide, and what lies behind it.
    #[inline(always)]
    fn piece<const WIDTH: usize>(&self, span: Span) -> (&[u8; WIDTH], usize) {
        let window = self.arena[span.start as usize..].first_chunk();
        (window.expect("the arena is padded"), span.len as usize)
    }
}

/// Whether one of these fields, which the event has, leaves a row.
fn says(event: &Event<'_>, fields: u64, empty: Empty) -> bool {
    if empty == Empty::Keep {
        return true;
    }
    let mut rest = fields & !Op::ANY;
    while rest != 0 {
        let field = FieldId::ALL[rest.trailing_zeros() as usize];
        if event.value(field).is_some_and(|value| !empty.drops(value.json)) {
            return true;
        }
        rest &= rest - 1;
    }
    false
}

/// Which fields the event has, and which have more than an empty text, by [`FieldId::bit`].
#[inline]
fn present(opened: &Opened) -> (u64, u64) {
    // One byte per field first, which the compiler does many at a time: 0 for nothing, 3 for more
    // than an empty text. Then eight bytes become eight bits by one multiplication, which moves
    // byte i to bit 56 + i.
    const ONES: u64 = u64::MAX / 255;
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let mut lens = [0; 64];
    for (len, place) in lens.iter_mut().zip(&opened.places) {
        *len = place.len_up_to_3();
    }
    let (words, _) = lens.as_chunks::<8>();
    words.iter().rev().fold((0, 0), |(present, filled), word| {
        let word = u64::from_le_bytes(*word);
        let (low, high) = (word & ONES, word >> 1 & ONES);
        let gathered = |bits: u64| bits.wrapping_mul(GATHER) >> 56;
        (present << 8 | gathered(low | high), filled << 8 | gathered(low & high))
    })
}

/// The same judgements without the places of these fields.
fn without(opened: &Opened, hidden: u64) -> Opened {
    let mut opened = opened.clone();
    for (place, id) in opened.places.iter_mut().zip(FieldId::ALL) {
        if hidden & id.bit() != 0 {
            *place = Place::default();
        }
    }
    opened
}

impl Pattern {
    /// Writes the text; false when nothing is left of it.
    fn write(&self, event: &Event<'_>, encoder: &mut Encoder<'_>) -> bool {
        if let Some(digest) = self.clean.digest {
            return self.write_whole(digest, event, encoder);
        }
        let mut left = self.values_max;
        let (mut first, mut is_cut) = (true, false);
        encoder.open_text();
        for group in self.pieces.split(|piece| matches!(piece, PatternPiece::Group)) {
            if self.clean.absent.is_empty() && is_absent(group, event) {
                continue;
            }
            for piece in group {
                match piece {
                    PatternPiece::Text(text) => {
                        let text = if first { self.beginning(text) } else { text };
                        encoder.spelled(text);
                        first &= text.is_empty();
                    }
                    PatternPiece::Date(parts) => {
                        write::date(parts, event, encoder);
                        first = false;
                    }
                    PatternPiece::Value(name) => {
                        let value = name.value(event).map_or(&b""[..], Value::text);
                        let absent = self.clean.absent.as_bytes();
                        let text = if value.is_empty() { absent } else { value };
                        is_cut |= text.len() > left;
                        let mut is_written = self.value(text, first, &mut left, encoder);
                        if !is_written && !value.is_empty() {
                            is_written = self.value(absent, first, &mut left, encoder);
                        }
                        first &= !is_written;
                    }
                    PatternPiece::Plain(_) | PatternPiece::Group => {}
                }
            }
        }
        if is_cut && self.clean.tells_cut {
            encoder.char('~');
            self.digest(event).chars().for_each(|digit| encoder.char(digit));
        }
        encoder.close_text();
        !first
    }

    /// The first half of BLAKE3 over all values, in hexadecimal digits.
    fn digest(&self, event: &Event<'_>) -> String {
        let mut hasher = blake3::Hasher::new();
        for piece in &self.pieces {
            if let PatternPiece::Value(name) = piece {
                let value = name.value(event).map_or(&b""[..], Value::text);
                // Told apart by their lengths: what one ends with, the next could begin with.
                hasher.update(&(value.len() as u64).to_le_bytes()).update(value);
            }
        }
        hasher.finalize().to_hex()[..DIGEST_DIGITS].to_owned()
    }

    /// Writes the text whole, or its beginning and its digest; false when it is empty.
    fn write_whole(&self, digest: Digest, event: &Event<'_>, encoder: &mut Encoder<'_>) -> bool {
        let mut bytes = 0;
        self.characters(event, |char| bytes += char.len_utf8());
        encoder.open_text();
        if bytes <= usize::from(digest.above) {
            self.characters(event, |char| encoder.char(char));
            encoder.close_text();
            return bytes > 0;
        }
        let (mut whole, mut left) = (Sha256::new(), usize::from(digest.keeps));
        self.characters(event, |char| {
            whole.update(char.encode_utf8(&mut [0; 4]).as_bytes());
            // What comes behind a character that does not fit stays away too.
            match left.checked_sub(char.len_utf8()) {
                Some(rest) => {
                    left = rest;
                    encoder.char(char);
                }
                None => left = 0,
            }
        });
        encoder.char('~');
        for byte in whole.finalize() {
            for digit in [byte >> 4, byte & 15] {
                encoder.char(char::from(b"0123456789abcdef"[usize::from(digit)]));
            }
        }
        encoder.close_text();
        true
    }

    /// Every character of the text, its values cleaned, in order.
    fn characters(&self, event: &Event<'_>, mut take: impl FnMut(char)) {
        for piece in &self.pieces {
            match piece {
                PatternPiece::Plain(text) => text.chars().for_each(&mut take),
                PatternPiece::Value(name) => {
                    let value = name.value(event).map_or(&b""[..], Value::text);
                    let value = if value.is_empty() { self.clean.absent.as_bytes() } else { value };
                    json::characters(value).map(self.clean.each).for_each(&mut take);
                }
                PatternPiece::Date(parts) => {
                    write::date_characters(parts, event.opened.time, &mut take);
                }
                PatternPiece::Text(_) | PatternPiece::Group => {}
            }
        }
    }

    /// The text without what nothing begins with.
    fn beginning<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        let is_left_out = |byte: &u8| self.clean.not_first.as_bytes().contains(byte);
        let start = text.iter().position(|byte| !is_left_out(byte)).unwrap_or(text.len());
        &text[start..]
    }

    /// Writes a value's characters; whether there were any.
    fn value(&self, text: &[u8], first: bool, left: &mut usize, encoder: &mut Encoder<'_>) -> bool {
        let mut last = None;
        let mut rest = text;
        let mut own = match self.clean.value_max {
            0 => usize::MAX,
            most => usize::from(most),
        };
        while let Some((char, len)) = json::character(rest) {
            rest = &rest[len..];
            let char = (self.clean.each)(char);
            if first && last.is_none() && self.clean.not_first.contains(char) {
                continue;
            }
            if last.is_none() && self.clean.value_not_first.contains(char) {
                continue;
            }
            if last == Some(char) && self.clean.not_twice.contains(char) {
                continue;
            }
            if char.len_utf8() > *left || own == 0 {
                break;
            }
            own -= 1;
            *left -= char.len_utf8();
            encoder.char(char);
            last = Some(char);
        }
        last.is_some()
    }
}

/// 128 bits: nobody finds two texts with one digest by chance.
const DIGEST_DIGITS: usize = 32;

/// Whether a group has values and all of them are absent.
fn is_absent(group: &[PatternPiece], event: &Event<'_>) -> bool {
    let mut values = group.iter().filter_map(|piece| match piece {
        PatternPiece::Value(name) => Some(name.value(event).is_none_or(|it| it.text().is_empty())),
        _ => None,
    });
    values.next().is_some_and(|first| first && values.all(|is_absent| is_absent))
}
