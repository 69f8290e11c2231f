//! The borrowed view over a record: where each field's value lies.

use super::{
    Category, Classes, EventType, FieldId, IndicatorType, Offset, Outcome, ResourceType, Severity,
};

/// An instant: seconds and nanoseconds since 1970, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    /// Whole seconds since 1970-01-01T00:00:00Z; negative before.
    pub secs: i64,
    /// Nanoseconds into the second, below 1,000,000,000.
    pub nanos: u32,
}

impl Time {
    /// Reads an RFC 3339 timestamp; `None` when the text is none.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        super::time::parse(text).map(|stamp| stamp.time)
    }
}

/// A JSON value as it will be copied: valid JSON, strings with their quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    /// The JSON text.
    pub json: &'a [u8],
    /// Whether a string in it carries a backslash.
    pub escaped: bool,
}

impl<'a> Value<'a> {
    /// The text of a string without its quotes, still with its escapes; the whole JSON text of
    /// anything else.
    #[must_use]
    pub fn text(self) -> &'a [u8] {
        match self.json {
            [b'"', text @ .., b'"'] => text,
            json => json,
        }
    }
}

/// Where a value lies: in the record, or in the block's arena when it was added or changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The first byte; the top bit says that it lies in the arena.
    start: u32,
    /// Bytes of JSON text; 0 says that the field is absent.
    len: u32,
}

impl Place {
    const ARENA: u32 = 1 << 31;

    /// A value inside the record.
    #[must_use]
    pub const fn record(start: u32, len: u32) -> Self {
        Self { start, len }
    }

    /// A value inside the arena.
    #[must_use]
    pub const fn arena(start: u32, len: u32) -> Self {
        Self { start: start | Self::ARENA, len }
    }

    /// Whether the field is there.
    #[must_use]
    pub const fn is_present(self) -> bool {
        self.len != 0
    }

    /// The bytes at this place.
    #[inline]
    #[must_use]
    pub fn bytes<'a>(self, record: &'a [u8], arena: &'a [u8]) -> &'a [u8] {
        let (bytes, start) = match self.start & Self::ARENA {
            0 => (record, self.start as usize),
            _ => (arena, (self.start & !Self::ARENA) as usize),
        };
        &bytes[start..start + self.len as usize]
    }

    /// Bytes of JSON text, 3 where there are more: what is longer than an empty text.
    #[inline]
    #[must_use]
    pub const fn len_up_to_3(self) -> u8 {
        if self.len < 3 { self.len as u8 } else { 3 }
    }

    /// The bytes from this place on, as far as its buffer goes, and how many of them are the value.
    ///
    /// Copies in whole words may read a little behind the value.
    #[inline]
    #[must_use]
    pub fn reach<'a>(self, record: &'a [u8], arena: &'a [u8]) -> (&'a [u8], usize) {
        let (bytes, start) = match self.start & Self::ARENA {
            0 => (record, self.start as usize),
            _ => (arena, (self.start & !Self::ARENA) as usize),
        };
        (&bytes[start..], self.len as usize)
    }

    /// Where the value ends in the record; `None` of one that lies in the arena.
    pub(super) const fn end_in_record(self) -> Option<usize> {
        let is_there = self.start & Self::ARENA == 0 && self.len != 0;
        if is_there { Some(self.start as usize + self.len as usize) } else { None }
    }

    /// Bytes of JSON text.
    pub(super) const fn len(self) -> u32 {
        self.len
    }

    /// Whether this byte of the record is part of the value.
    pub(super) const fn covers(self, at: usize) -> bool {
        // With the bit of the arena, it starts behind every record.
        let start = self.start as usize;
        start <= at && at < start + self.len as usize
    }

    /// The first byte in its buffer.
    pub(super) const fn start(self) -> u32 {
        self.start & !Self::ARENA
    }

    /// The same value after the record was copied to the arena, from byte `base`.
    #[must_use]
    pub const fn moved_to_arena(self, base: u32) -> Self {
        match self.start & Self::ARENA {
            0 if self.len > 0 => Self::arena(base + self.start, self.len),
            _ => self,
        }
    }
}

/// An opened record: typed judgements, and the place of each field's value.
///
/// It owns nothing: values lie in the record or in the arena of the block that opened it, so it
/// stays valid as long as both do. [`Event`] joins the three.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The place of each field, by id.
    pub places: [Place; FieldId::COUNT],
    /// Fields whose text carries a backslash, by [`FieldId::bit`].
    pub escaped: u64,
    /// The event's own time.
    pub time: Time,
    /// What happened.
    pub event_type: EventType,
    /// Which area.
    pub category: Category,
    /// How it ended.
    pub outcome: Outcome,
    /// How bad.
    pub severity: Severity,
    /// Kind of the resource.
    pub resource_type: ResourceType,
    /// Kind of the indicator, where one is present.
    pub indicator_type: IndicatorType,
    /// Whether the action was let through.
    pub allowed: bool,
    /// Whether threat intelligence matched.
    pub intel: bool,
    /// Whether privacy changed the event: every place lies in the arena then, and the record is
    /// out of reach.
    pub concealed: bool,
    /// Whether members that hold previews of content may be in its metadata.
    pub may_preview: bool,
    /// Whether a member `velar` may be in its metadata.
    pub may_velar: bool,
    /// Whether the labels, if any, are known to be plain: texts that are not empty, under names
    /// that are not either, without an escape, a dot, or anything between the tokens.
    pub plain_labels: bool,
    /// What was not clean about it.
    pub flags: Classes,
}

impl Default for Opened {
    fn default() -> Self {
        Self {
            places: [Place::default(); FieldId::COUNT],
            escaped: 0,
            time: Time::default(),
            event_type: EventType::Other,
            category: Category::Other,
            outcome: Outcome::Other,
            severity: Severity::Info,
            resource_type: ResourceType::Other,
            indicator_type: IndicatorType::Other,
            allowed: false,
            intel: false,
            concealed: false,
            may_preview: false,
            may_velar: false,
            plain_labels: false,
            flags: Classes::NONE,
        }
    }
}

impl Opened {
    /// The same after what its places are relative to was copied to the arena, from byte `base`.
    #[must_use]
    pub(super) fn moved_to_arena(mut self, base: u32) -> Self {
        for place in &mut self.places {
            *place = place.moved_to_arena(base);
        }
        self
    }
}

/// What the frame says of a record, beside its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Where the record lies.
    pub offset: Offset,
    /// When it was received, nanoseconds since 1970.
    pub received_ns: u64,
    /// Whether intake has opened it once already.
    pub checked: bool,
    /// Whether intake mapped it from another dialect and wrote `metadata.shrike` itself, as the
    /// last member.
    pub mapped: bool,
    /// What intake repaired, and opening cannot see any more.
    pub repaired: Classes,
    /// The how manieth event of its exporter in this run, from 1; 0 where nobody counts.
    pub number: u32,
}

/// A canonical event, borrowed from a record.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// The judgements and places.
    pub opened: &'a Opened,
    /// What the frame says.
    pub frame: Frame,
    /// The record's bytes; none where privacy changed the event.
    pub record: &'a [u8],
    /// The bytes that opening added.
    pub arena: &'a [u8],
    /// What is known of it beside its record, where anything is.
    pub context: Option<&'a Context<'a>>,
}

/// What is known of an event beside its record: what it means among those that went before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Context<'a> {
    /// Those that said the same and were left out.
    pub left_out: LeftOut,
    /// What the destination calls the document that this one answers to.
    pub thread: Option<&'a str>,
}

/// Events that were left out as repeats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// How many.
    pub events: u64,
    /// When the one that they repeat was sent, in seconds since 1970.
    pub since: i64,
}

impl<'a> Event<'a> {
    /// Joins what was opened with what it was opened from: a record that privacy put out of reach
    /// is not part of it.
    #[inline]
    #[must_use]
    pub fn new(opened: &'a Opened, frame: Frame, record: &'a [u8], arena: &'a [u8]) -> Self {
        let record = if opened.concealed { &[] } else { record };
        Self { opened, frame, record, arena, context: None }
    }

    /// Whether the field is there.
    #[inline]
    #[must_use]
    pub fn has(&self, id: FieldId) -> bool {
        self.opened.places[id as usize].is_present()
    }

    /// The field's value as JSON text.
    #[inline]
    #[must_use]
    pub fn value(&self, id: FieldId) -> Option<Value<'a>> {
        let place = self.opened.places[id as usize];
        if !place.is_present() {
            return None;
        }
        let json = place.bytes(self.record, self.arena);
        Some(Value { json, escaped: self.opened.escaped & id.bit() != 0 })
    }

    /// Those before it that said the same and were left out; nothing where none was.
    #[must_use]
    pub fn left_out(&self) -> Option<LeftOut> {
        self.context.map(|context| context.left_out).filter(|left_out| left_out.events > 0)
    }

    /// What the destination calls the document that this one answers to, if it answers to one.
    #[must_use]
    pub fn thread(&self) -> Option<&'a str> {
        self.context.and_then(|context| context.thread)
    }

    /// The field's text without quotes, still with JSON escapes; empty when the field is absent.
    #[inline]
    #[must_use]
    pub fn text(&self, id: FieldId) -> &'a [u8] {
        self.value(id).map_or(b"", Value::text)
    }
}
