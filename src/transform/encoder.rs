//! Appends values to the document under construction, as its syntax spells them.

use std::borrow::Cow;

use super::json;
use super::syntax::{Syntax, Table};
use super::tail::Tail;
use crate::event::{Severity, Value};
use crate::protobuf::varint;

/// Where writers append.
///
/// It knows the syntax of the document, and the layers of text that the document stands in: what a
/// writer appends is escaped for all of them at once.
#[derive(Debug)]
pub struct Encoder<'a> {
    tail: Tail<'a>,
    codec: &'a Codec,
    choices: Choices,
    /// Characters left for the texts of this row.
    left: u32,
    /// Characters that each member takes, where the row has several.
    each: u32,
    /// Member names that other rows of this object use.
    taken: &'a [String],
}

/// Bytes of a member's name that are changed at once.
const NAME_BYTES: usize = 32;
/// No limit on the characters of a row.
const UNLIMITED: u32 = u32::MAX;

/// What the operator chose that derived rows ask for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choices {
    /// Whether threat indicators of permitted events are written too.
    pub indicators_all: bool,
    /// From which severity on a denial is an alert; `None` is never.
    pub alert_min: Option<Severity>,
    /// Whether U+FFFD stands for U+0000 in names of members.
    pub replaces_nul: bool,
}

/// How one document of a chain is spelled inside the layers around it.
#[derive(Debug)]
pub(super) struct Codec {
    /// The document's own syntax.
    syntax: &'static Syntax,
    /// What bytes of the document become in the texts around it; `None` when there are none.
    through: Option<Table>,
    /// What characters become, in the document's own syntax and all around it.
    characters: Table,
    /// Before a text, after a text.
    quotes: (Vec<u8>, Vec<u8>),
    /// Between two rows.
    between: Vec<u8>,
    /// Whether the reader counts each character of ASCII as one.
    weighs_one: bool,
}

impl Codec {
    /// The spelling of `syntax` inside `layers`, innermost first.
    pub(super) fn new(syntax: &'static Syntax, layers: &[&'static Syntax]) -> Self {
        let through = (!layers.is_empty()).then(|| Table::fold(layers));
        let around: Vec<_> = std::iter::once(syntax).chain(layers.iter().copied()).collect();
        let mut codec = Self {
            syntax,
            through,
            characters: Table::fold(&around),
            quotes: (Vec::new(), Vec::new()),
            between: Vec::new(),
            weighs_one: false,
        };
        codec.weighs_one = (0..128).all(|byte| codec.weight(char::from(byte)) == 1);
        codec.quotes = (codec.fixed(syntax.text.0), codec.fixed(syntax.text.1));
        codec.between = codec.fixed(syntax.between);
        codec
    }

    /// The document's own syntax.
    pub(super) fn syntax(&self) -> &'static Syntax {
        self.syntax
    }

    /// Whether values of a record are copied as they are.
    pub(super) fn copies(&self) -> bool {
        self.syntax.verbatim && self.through.is_none()
    }

    /// The separator between two rows.
    pub(super) fn between(&self) -> &[u8] {
        &self.between
    }

    /// Text of the document's own syntax, for the layers around it.
    pub(super) fn fixed(&self, text: &str) -> Vec<u8> {
        let mut spelled = Vec::new();
        match &self.through {
            None => spelled.extend_from_slice(text.as_bytes()),
            Some(table) => table.map(text.as_bytes(), |piece| spelled.extend_from_slice(piece)),
        }
        spelled
    }

    /// Characters, spelled for the document and the layers around it.
    pub(super) fn spell(&self, text: &str) -> Vec<u8> {
        let mut spelled = Vec::new();
        self.characters.map(text.as_bytes(), |piece| spelled.extend_from_slice(piece));
        spelled
    }

    /// As much of a text as a row of so many characters takes, 0 for no limit.
    pub(super) fn beginning<'t>(&self, text: &'t str, characters: u16) -> &'t str {
        if characters == 0 {
            return text;
        }
        let mut left = u32::from(characters);
        let mut is_beyond = |char: char| match left.checked_sub(self.weight(char)) {
            Some(rest) => {
                left = rest;
                false
            }
            None => true,
        };
        let end = text.char_indices().find(|&(_, char)| is_beyond(char));
        end.map_or(text, |(end, _)| &text[..end])
    }

    /// How many characters, or bytes, the reader counts for this one.
    ///
    /// An escape that begins with a backslash is undone by the reader and counts as one; an entity
    /// such as `&amp;` counts as what it is.
    fn weight(&self, char: char) -> u32 {
        let escape = u8::try_from(char).ok().filter(u8::is_ascii).and_then(self.syntax.escape);
        match escape {
            Some(escape) if !escape.starts_with('\\') => {
                u32::try_from(escape.len()).unwrap_or(UNLIMITED)
            }
            _ if self.syntax.counts_bytes => u32::try_from(char.len_utf8()).unwrap_or(UNLIMITED),
            _ => 1,
        }
    }
}

impl<'a> Encoder<'a> {
    /// Goes on with a document, for one row: the most characters it takes, 0 for no limit.
    #[inline(always)]
    pub(super) fn new(tail: Tail<'a>, codec: &'a Codec, choices: Choices, characters: u16) -> Self {
        let left = if characters == 0 { UNLIMITED } else { u32::from(characters) };
        Self { tail, codec, choices, left, each: left, taken: &[] }
    }

    /// The same beside members of these names.
    pub(super) fn beside(self, taken: &'a [String]) -> Self {
        Self { taken, ..self }
    }

    /// The end of the document, for the next row.
    #[inline(always)]
    pub(super) fn into_tail(self) -> Tail<'a> {
        self.tail
    }

    /// Whether text of a record is appended as it is, whatever its length.
    #[must_use]
    pub fn copies(&self) -> bool {
        self.codec.copies() && !self.is_limited()
    }

    /// Whether the row takes only so many characters.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.left != UNLIMITED
    }

    /// Appends text that is already spelled for all layers.
    pub(super) fn spelled(&mut self, text: &[u8]) {
        self.tail.append(text);
    }

    /// Where the next byte goes, for [`Self::written`] and [`Self::take_back`].
    #[must_use]
    pub fn end(&self) -> usize {
        self.tail.len()
    }

    /// What stands in the buffer from there on.
    #[must_use]
    pub fn written(&self, from: usize) -> &[u8] {
        self.tail.written(from)
    }

    /// Takes back what this row has written from there on.
    pub fn take_back(&mut self, from: usize) {
        self.tail.truncate(from);
    }

    /// What the operator chose.
    #[must_use]
    pub fn choices(&self) -> Choices {
        self.choices
    }

    /// Appends fixed text of the document's own syntax, such as brackets.
    #[inline(always)]
    pub fn literal<const LEN: usize>(&mut self, text: &[u8; LEN]) {
        match &self.codec.through {
            None => self.tail.window(text, LEN),
            Some(table) => table.map(text, |piece| self.tail.append(piece)),
        }
    }

    /// Appends text of the document's own syntax, such as digits.
    #[inline]
    pub fn raw(&mut self, text: &[u8]) {
        match &self.codec.through {
            None => self.tail.append(text),
            Some(table) => table.map(text, |piece| self.tail.append(piece)),
        }
    }

    /// Appends a JSON value: as it is where the syntax takes JSON, else its text.
    pub fn value(&mut self, value: Value<'_>) {
        match value.json {
            [b'"', ..] => self.text(value.text()),
            json if !self.codec.syntax.verbatim => self.quoted(json),
            json @ [b'{' | b'[', ..] => self.container(json),
            json => self.raw(json),
        }
    }

    /// Appends a JSON value as text, also a number or a bool.
    pub fn value_as_text(&mut self, value: Value<'_>) {
        match json::string(value.json) {
            Some(text) => self.text(text),
            None => self.quoted(value.json),
        }
    }

    /// Appends a text: quotes, and escaped JSON text between them.
    #[inline]
    pub fn text(&mut self, text: &[u8]) {
        if self.codec.copies() && self.left == UNLIMITED {
            self.tail.window(b"\"", 1);
            self.tail.append(text);
            self.tail.window(b"\"", 1);
            return;
        }
        self.open_text();
        self.characters(text);
        self.close_text();
    }

    /// Appends a text that is not escaped yet.
    pub fn quoted(&mut self, plain: &[u8]) {
        self.open_text();
        self.plain(plain);
        self.close_text();
    }

    /// Begins a text that is composed of several pieces.
    #[inline]
    pub fn open_text(&mut self) {
        self.tail.append(&self.codec.quotes.0);
    }

    /// Ends a composed text.
    #[inline]
    pub fn close_text(&mut self) {
        self.tail.append(&self.codec.quotes.1);
    }

    /// Appends characters of escaped JSON text, without quotes.
    #[inline]
    pub fn characters(&mut self, text: &[u8]) {
        let text = if self.left == UNLIMITED { text } else { self.cut(text) };
        self.unescaped(text);
    }

    /// Appends characters that are not escaped yet, without quotes.
    pub fn plain(&mut self, text: &[u8]) {
        let mut rest = text;
        if self.left != UNLIMITED {
            let mut end = 0;
            while let Some((char, len)) = plain_character(&text[end..]) {
                if !self.spend(char) {
                    break;
                }
                end += len;
            }
            rest = &text[..end];
        }
        self.codec.characters.map(rest, |piece| self.tail.append(piece));
    }

    /// Appends one character, without quotes.
    pub fn char(&mut self, char: char) {
        if self.left == UNLIMITED || self.spend(char) {
            self.spell(char);
        }
    }

    /// Appends an unsigned number in decimal.
    pub fn number(&mut self, number: u64) {
        self.raw(itoa::Buffer::new().format(number).as_bytes());
    }

    /// Appends what `write` does, its length before it, as a message of Protocol Buffers has it.
    pub fn measured(&mut self, write: impl FnOnce(&mut Self)) {
        // Most of what stands in an event is shorter than 128 bytes, whose length takes one.
        let at = self.tail.len();
        self.tail.window(&[0], 1);
        write(self);
        self.tail.measure(at, 1);
    }

    /// Appends a number in as few bytes as it needs, as Protocol Buffers have it.
    pub fn varint(&mut self, number: u64) {
        let (bytes, len) = varint(number);
        self.tail.append(&bytes[..len]);
    }

    /// Appends the key of a member, for rows whose key ends in `.*`.
    ///
    /// Returns false, and appends nothing, when another row has that key.
    pub fn key(&mut self, name: &[u8]) -> bool {
        self.key_with(name, |byte| byte)
    }

    /// Appends the key of a member, each byte changed to another of ASCII or left as it is.
    pub fn key_with(&mut self, name: &[u8], change: impl Fn(u8) -> u8) -> bool {
        if self.taken.iter().any(|taken| is_name(taken, name, &change)) {
            return false;
        }
        self.left = self.each;
        self.raw(self.codec.syntax.key.0.as_bytes());
        if self.codec.syntax.verbatim {
            // Copied as it is, escapes and all, so it may be cut anywhere.
            for part in name.chunks(NAME_BYTES) {
                let mut changed = [0; NAME_BYTES];
                changed[..part.len()].copy_from_slice(part);
                changed.iter_mut().for_each(|byte| *byte = change(*byte));
                self.raw(&changed[..part.len()]);
            }
        } else {
            self.changed(name, change);
        }
        self.raw(self.codec.syntax.key.1.as_bytes());
        true
    }

    /// Appends a name's characters, without cutting through an escape.
    fn changed(&mut self, name: &[u8], change: impl Fn(u8) -> u8) {
        let mut rest = name;
        while let Some((&first, _)) = rest.split_first() {
            let run = rest.iter().position(|&byte| change(byte) != byte).unwrap_or(rest.len());
            let (text, after) = rest.split_at(run.max(1));
            match run {
                0 => self.unescaped(&[change(first)]),
                _ => self.unescaped(text),
            }
            rest = after;
        }
    }

    /// Appends the separator behind a member, for rows whose key ends in `.*`.
    pub fn between(&mut self) {
        self.tail.append(&self.codec.between);
    }

    /// The object with names that its reader takes.
    pub fn named<'v>(&self, object: Value<'v>) -> Cow<'v, [u8]> {
        match self.choices.replaces_nul && object.escaped && json::has_nul(object.json) {
            true => Cow::Owned(json::without_nul_names(object.json)),
            false => Cow::Borrowed(object.json),
        }
    }

    /// Appends the members of an object, each with its separator behind it.
    pub fn members(&mut self, object: Value<'_>) {
        let json = &self.named(object);
        let object = Value { json, ..object };
        if self.taken.is_empty() && self.codec.syntax.verbatim && !self.is_limited() {
            let inside = json::inside(object.json, b'{', b'}');
            if !inside.is_empty() {
                self.container(inside);
                self.between();
            }
            return;
        }
        for (name, value) in json::members(object.json) {
            if self.key(name) {
                self.value(Value { json: value, escaped: object.escaped });
                self.between();
            }
        }
    }

    /// Appends characters of escaped JSON text, without a limit.
    #[inline]
    fn unescaped(&mut self, text: &[u8]) {
        if self.codec.syntax.verbatim {
            return self.raw(text);
        }
        if !json::has_escape(text) {
            return self.codec.characters.map(text, |piece| self.tail.append(piece));
        }
        let mut rest = text;
        while !rest.is_empty() {
            let (plain, after) = rest.split_at(memchr::memchr(b'\\', rest).unwrap_or(rest.len()));
            self.codec.characters.map(plain, |piece| self.tail.append(piece));
            rest = after;
            if let Some((char, len)) = json::character(rest) {
                self.spell(char);
                rest = &rest[len..];
            }
        }
    }

    /// Appends one character, whatever the row still takes.
    pub(super) fn spell(&mut self, char: char) {
        let (tail, table) = (&mut self.tail, &self.codec.characters);
        if let Some(plain) = u8::try_from(char).ok().filter(|&byte| table.is_plain(byte)) {
            return tail.window(&[plain], 1);
        }
        table.map(char.encode_utf8(&mut [0; 4]).as_bytes(), |piece| tail.append(piece));
    }

    /// Appends JSON text that may have line breaks between its tokens, without them.
    ///
    /// A record that came by HTTP may be printed over several lines; a document never is.
    fn container(&mut self, json: &[u8]) {
        let mut rest = json;
        while let Some(end) = memchr::memchr2(b'\n', b'\r', rest) {
            self.raw(&rest[..end]);
            rest = &rest[end + 1..];
        }
        self.raw(rest);
    }

    /// As much of escaped JSON text as the row still takes.
    fn cut<'t>(&mut self, text: &'t [u8]) -> &'t [u8] {
        // Most texts are ASCII without escapes: bytes are characters then.
        if self.codec.weighs_one && text.is_ascii() && memchr::memchr(b'\\', text).is_none() {
            let taken = u32::try_from(text.len()).unwrap_or(UNLIMITED).min(self.left);
            self.left -= taken;
            return &text[..taken as usize];
        }
        let mut end = 0;
        while let Some((char, len)) = json::character(&text[end..]) {
            if !self.spend(char) {
                break;
            }
            end += len;
        }
        &text[..end]
    }

    /// Whether the row takes one more character; then it is counted.
    fn spend(&mut self, char: char) -> bool {
        match self.left.checked_sub(self.codec.weight(char)) {
            Some(left) => {
                self.left = left;
                true
            }
            None => {
                self.left = 0;
                false
            }
        }
    }
}

/// Whether escaped text is this name, once its ASCII characters are changed.
///
/// A name may be spelled with escapes that it does not need, and is the same name all the same.
fn is_name(name: &str, escaped: &[u8], change: impl Fn(u8) -> u8) -> bool {
    let mut rest = escaped;
    for char in name.chars() {
        let Some((found, len)) = json::character(rest) else { return false };
        let found = match u8::try_from(found).ok().filter(u8::is_ascii) {
            Some(byte) => char::from(change(byte)),
            None => found,
        };
        if found != char {
            return false;
        }
        rest = &rest[len..];
    }
    rest.is_empty()
}

fn plain_character(text: &[u8]) -> Option<(char, usize)> {
    match text.first()? {
        b'\\' => Some(('\\', 1)),
        _ => json::character(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::JSON;

    #[test]
    fn a_row_takes_as_many_characters_as_it_may() {
        let codec = Codec::new(&JSON, &[]);
        for text in ["plain text of ASCII", "line\\nand \\u00e9", "\u{e9}t\u{e9} \u{1f985}", ""] {
            let all = json::characters(text.as_bytes()).count();
            for limit in 1..30 {
                let mut out = Vec::new();
                let tail = Tail::new(&mut out);
                let mut encoder = Encoder::new(tail, &codec, Choices::default(), limit);
                let cut = encoder.cut(text.as_bytes()).len();
                let taken = json::characters(&text.as_bytes()[..cut]).count();
                assert_eq!(taken, all.min(usize::from(limit)), "{text:?}, {limit}");
                let left = usize::from(limit) - taken;
                assert_eq!(encoder.cut(b"more text than there is room").len(), left.min(28));
            }
        }
    }
}
