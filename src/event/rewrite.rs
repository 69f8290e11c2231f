//! Rewrites parts of a record that cannot be copied as they are.
//!
//! Nothing here runs for a clean record, so it may allocate. The texts were checked already; a text
//! that was not gives a wrong copy, never a panic.

use std::collections::HashMap;
use std::ops::Range;

use super::home::{Group, Member, is_same_key, lookup};
use super::json::{After, Json, Keys, unit_after};
use super::scan::{Specials, is_special};
use super::{Class, Classes, FieldId as F, Place};

/// Levels that opening lets pass at most.
const DEPTH_MAX: usize = 128;

/// A member of an object.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The key between its quotes.
    pub key: &'a [u8],
    /// Whether the key carries a backslash.
    pub escaped: bool,
    /// The value as JSON text.
    pub value: &'a [u8],
}

impl Entry<'_> {
    /// Whether this is the member with this name.
    #[inline]
    #[must_use]
    pub fn is(&self, name: &[u8]) -> bool {
        if self.escaped { is_same_key(self.key, name) } else { is_equal(self.key, name) }
    }
}

/// Whether two short texts are equal: words from both their ends are, which may overlap.
#[inline]
fn is_equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    match a.len() {
        4..8 => ends::<4>(a) == ends::<4>(b),
        8..=16 => ends::<8>(a) == ends::<8>(b),
        _ => a == b,
    }
}

/// The first and the last bytes of a text.
#[inline(always)]
fn ends<const N: usize>(text: &[u8]) -> (Option<&[u8; N]>, Option<&[u8; N]>) {
    (text.first_chunk(), text.last_chunk())
}

/// Calls with each member of an object, in the order of the text; returns early when it is none.
pub fn each_entry<'a>(object: &'a [u8], mut call: impl FnMut(Entry<'a>)) -> Option<()> {
    if object.first() != Some(&b'{') {
        return None;
    }
    let specials = Specials::new(object);
    let mut json = Json::new(&specials, DEPTH_MAX);
    let mut after = json.open(0, 1).ok()?;
    while let After::Next(at) = after {
        let (key, escaped, start) = json.key(at).ok()?;
        let end = json.value(start, 1, Keys::ANY).ok()?;
        call(Entry { key, escaped, value: &object[start..end] });
        after = json.after_member(end).ok()?;
    }
    Some(())
}

/// The members of an object that was opened once, in the order of the text; none of anything else.
#[must_use]
pub fn entries(object: &[u8]) -> Vec<Entry<'_>> {
    let mut entries = Vec::with_capacity(MEMBERS_USUAL);
    each_entry(object, |entry| entries.push(entry));
    entries
}

/// The members of a text that is one object without anything that opening would repair or refuse,
/// whatever its members are; `None` of any other text.
pub(super) fn clean_entries(text: &[u8], depth_max: usize) -> Option<Vec<Entry<'_>>> {
    let specials = Specials::new(text);
    if !specials.ascii && str::from_utf8(text).is_err() {
        return None;
    }
    let mut json = Json::new(&specials, depth_max);
    let start = json.blanks(0);
    if json.byte(start) != b'{' {
        return None;
    }
    let mut entries = Vec::with_capacity(MEMBERS_USUAL);
    let mut after = json.open(start, 1).ok()?;
    loop {
        let at = match after {
            After::Next(at) => at,
            After::End(end) => {
                let is_whole = json.blanks(end) == text.len() && !json.lone;
                return is_whole.then_some(entries);
            }
        };
        let (key, escaped, value) = json.key(at).ok()?;
        let end = json.value(value, 1, Keys::ANY).ok()?;
        entries.push(Entry { key, escaped, value: &text[value..end] });
        after = json.after_member(end).ok()?;
    }
}

/// Members that there is room for at once: records of other producers have about a dozen.
const MEMBERS_USUAL: usize = 16;

/// Where the JSON values of a text lie, which follow each other with nothing but blanks between
/// them, and whether the text holds nothing else. It must be UTF-8.
#[must_use]
pub fn values(text: &[u8]) -> (Vec<Range<usize>>, bool) {
    let specials = Specials::new(text);
    let mut json = Json::new(&specials, DEPTH_MAX);
    let mut values = Vec::new();
    let mut at = json.blanks(0);
    while at < text.len() {
        let Ok(end) = json.value(at, 0, Keys::ANY) else { return (values, false) };
        values.push(at..end);
        at = json.blanks(end);
    }
    (values, true)
}

/// The elements of an array, in the order of the text.
#[must_use]
pub fn elements(array: &[u8]) -> Vec<&[u8]> {
    fn read<'a>(array: &'a [u8], elements: &mut Vec<&'a [u8]>) -> Option<()> {
        if array.first() != Some(&b'[') {
            return None;
        }
        let specials = Specials::new(array);
        let mut json = Json::new(&specials, DEPTH_MAX);
        let mut after = json.open(0, 1).ok()?;
        while let After::Next(start) = after {
            let end = json.value(start, 1, Keys::ANY).ok()?;
            elements.push(&array[start..end]);
            after = json.after_element(end).ok()?;
        }
        Some(())
    }
    let mut elements = Vec::new();
    read(array, &mut elements);
    elements
}

/// The bytes that the text of a JSON string stands for; halves of surrogate pairs become U+FFFD.
#[must_use]
pub fn unescape(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        if text[at] != b'\\' {
            bytes.push(text[at]);
            at += 1;
            continue;
        }
        let Some(unit) = unit_after(text, at) else {
            bytes.push(match text.get(at + 1) {
                Some(b'b') => 8,
                Some(b'f') => 12,
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(&byte) => byte,
                None => b'\\',
            });
            at += 2;
            continue;
        };
        at += 6;
        let low = unit_after(text, at).filter(|low| (0xdc00..=0xdfff).contains(low));
        let code = match (unit, low) {
            (0xd800..=0xdbff, Some(low)) => {
                at += 6;
                0x10000 + (u32::from(unit - 0xd800) << 10) + u32::from(low - 0xdc00)
            }
            _ => u32::from(unit),
        };
        let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
        bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
    bytes
}

/// Appends a JSON string that stands for this text.
///
/// Control characters have their short escape where there is one (RFC 8259, 7), as most writers of
/// JSON spell them: what another channel says of the same record then is the same bytes.
pub fn quote(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = rest.iter().position(|&byte| is_special(byte)) {
        let byte = rest[at];
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0x08 => out.extend_from_slice(b"\\b"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\r' => out.extend_from_slice(b"\\r"),
            _ => {
                out.extend_from_slice(b"\\u00");
                for digit in [byte >> 4, byte & 15] {
                    out.push(b"0123456789abcdef"[usize::from(digit)]);
                }
            }
        }
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Appends the value with only the last member of each key, at every level; whether there was any
/// other.
pub(super) fn without_repeats(value: &[u8], out: &mut Vec<u8>) -> bool {
    match value.first() {
        Some(b'{') => {
            let members = entries(value);
            let keys = members.iter().map(|entry| unescape(entry.key));
            let last: HashMap<Vec<u8>, usize> = keys.zip(0..).collect();
            let mut kept: Vec<usize> = last.into_values().collect();
            kept.sort_unstable();
            let mut repeated = kept.len() < members.len();
            out.push(b'{');
            for (n, i) in kept.into_iter().enumerate() {
                comma(n, out);
                key(members[i].key, out);
                repeated |= without_repeats(members[i].value, out);
            }
            out.push(b'}');
            repeated
        }
        Some(b'[') => {
            let mut repeated = false;
            out.push(b'[');
            for (n, element) in elements(value).into_iter().enumerate() {
                comma(n, out);
                repeated |= without_repeats(element, out);
            }
            out.push(b']');
            repeated
        }
        _ => {
            out.extend_from_slice(value);
            false
        }
    }
}

/// Appends the metadata without the member `shrike`; what is no object goes under `value`.
pub(super) fn metadata(value: &[u8], out: &mut Vec<u8>) {
    out.push(b'{');
    if value.first() == Some(&b'{') {
        let mut n = 0;
        each_entry(value, |entry| {
            if !entry.is(b"shrike") {
                comma(n, out);
                member(entry.key, entry.value, out);
                n += 1;
            }
        });
    } else {
        member(b"value", value, out);
    }
    out.push(b'}');
}

/// A configured label: its key, plain and as JSON text without quotes, and its value as JSON text.
#[derive(Clone, Debug)]
pub(super) struct Label {
    pub name: Vec<u8>,
    pub key: Vec<u8>,
    pub value: Vec<u8>,
}

/// Configured labels, at most; a set of them is a mask.
pub(super) const LABELS_MAX: usize = 64;

/// Appends the labels, each value made a string, and the configured ones that the event does not
/// have itself. It does not allocate: configured labels are merged into each event that has some.
pub(super) fn labels(value: &[u8], configured: &[Label], out: &mut Vec<u8>) {
    let mut n = 0;
    let mut seen = 0_u64;
    out.push(b'{');
    each_entry(value, |entry| {
        comma(n, out);
        key(entry.key, out);
        match entry.value.first() {
            Some(b'"') => out.extend_from_slice(entry.value),
            _ => quote(entry.value, out),
        }
        n += 1;
        for (i, label) in configured.iter().take(LABELS_MAX).enumerate() {
            seen |= u64::from(entry.is(&label.name)) << i;
        }
    });
    for (i, label) in configured.iter().take(LABELS_MAX).enumerate() {
        if seen & 1 << i == 0 {
            comma(n, out);
            member(&label.key, &label.value, out);
            n += 1;
        }
    }
    out.push(b'}');
}

/// What `metadata.shrike` says of an event.
#[derive(Debug, Default)]
pub(super) struct Remarks<'a> {
    /// What intake wrote there already.
    pub mapped: Option<&'a [u8]>,
    /// Members for `source`, without braces.
    pub source: Vec<u8>,
    /// Fields that were filled in.
    pub defaulted: u64,
    /// What was not clean.
    pub flags: Classes,
    /// The member `shrike` of the source itself.
    pub displaced: Option<&'a [u8]>,
}

/// The flags that intake wrote; names of later versions are not flags of ours.
fn mapped_flags(shrike: &[u8]) -> Classes {
    let mut flags = Classes::NONE;
    let listed = entries(shrike).into_iter().filter(|entry| entry.is(b"flags"));
    for name in listed.flat_map(|entry| elements(entry.value)) {
        let is_it = |class: &Class| name[1..name.len() - 1] == *class.name().as_bytes();
        if let Some(&class) = Class::ALL.iter().filter(|_| name.len() > 2).find(|c| is_it(c)) {
            flags.insert(class);
        }
    }
    flags
}

/// Appends the object `metadata.shrike`, nothing at all when it would be empty; returns all flags,
/// also those that intake wrote.
pub(super) fn shrike(remarks: &Remarks<'_>, out: &mut Vec<u8>) -> Classes {
    let start = out.len();
    let mapped = remarks.mapped.map(entries).unwrap_or_default();
    let find = |name: &[u8]| mapped.iter().find(|entry| entry.is(name)).map(|entry| entry.value);
    let flags = remarks.mapped.map_or(remarks.flags, |it| mapped_flags(it).union(remarks.flags));
    let mut n = 0;
    out.push(b'{');
    let mut begin = |name: &[u8], out: &mut Vec<u8>| {
        comma(n, out);
        key(name, out);
        n += 1;
    };
    if let Some(format) = find(b"format") {
        begin(b"format", out);
        out.extend_from_slice(format);
    }
    let source = find(b"source").map_or(&b""[..], inside);
    if !source.is_empty() || !remarks.source.is_empty() {
        begin(b"source", out);
        out.push(b'{');
        joined(source, &remarks.source, out);
        out.push(b'}');
    }
    let defaulted = find(b"defaulted").map_or(&b""[..], inside);
    let names = F::ALL.iter().filter(|id| remarks.defaulted & id.bit() != 0).map(|id| id.path());
    let names = names.map(|path| format!("\"{path}\"")).collect::<Vec<_>>().join(",");
    if !defaulted.is_empty() || !names.is_empty() {
        begin(b"defaulted", out);
        out.push(b'[');
        joined(defaulted, names.as_bytes(), out);
        out.push(b']');
    }
    if !flags.is_empty() {
        begin(b"flags", out);
        for (i, class) in flags.iter().enumerate() {
            out.push(if i == 0 { b'[' } else { b',' });
            quote(class.name().as_bytes(), out);
        }
        out.push(b']');
    }
    if let Some(displaced) = remarks.displaced.or_else(|| find(b"displaced")) {
        begin(b"displaced", out);
        out.extend_from_slice(displaced);
    }
    const OURS: [&[u8]; 5] = [b"format", b"source", b"defaulted", b"flags", b"displaced"];
    for entry in mapped.iter().filter(|entry| !OURS.iter().any(|name| entry.is(name))) {
        begin(entry.key, out);
        out.extend_from_slice(entry.value);
    }
    if n == 0 {
        out.truncate(start);
    } else {
        out.push(b'}');
    }
    flags
}

/// What of a record goes to `metadata.shrike.source`, beside members without a canonical home.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    /// Fields whose original text was replaced or dropped.
    pub fields: u64,
    /// Objects that were something else.
    pub groups: u8,
}

/// Appends the members for `source`: those without a home and those in `kept`, at their paths.
pub(super) fn source(group: Group, object: &[u8], kept: Kept, out: &mut Vec<u8>) {
    let start = out.len();
    for entry in entries(object) {
        let before = out.len();
        comma(before - start, out);
        let is_kept = match lookup(group, entry.key, entry.escaped) {
            None => true,
            Some(Member::Object(inner)) if entry.value.first() == Some(&b'{') => {
                key(entry.key, out);
                out.push(b'{');
                let inside = out.len();
                source(inner, entry.value, kept, out);
                if out.len() == inside {
                    out.truncate(before);
                } else {
                    out.push(b'}');
                }
                continue;
            }
            Some(Member::Object(inner)) => kept.groups & inner.bit() != 0,
            Some(Member::Text(id)) => kept.fields & id.bit() != 0,
            Some(Member::Allowed) => kept.fields & F::Allowed.bit() != 0,
            Some(Member::Port) => kept.fields & F::ResourcePort.bit() != 0,
            Some(Member::Metadata) => kept.fields & F::Metadata.bit() != 0,
            Some(Member::Labels) => kept.fields & F::Labels.bit() != 0,
        };
        if is_kept {
            member(entry.key, entry.value, out);
        } else {
            out.truncate(before);
        }
    }
}

/// Leaves only the last of members with the same key, in a list without braces.
pub(super) fn drop_repeated_members(members: &mut Vec<u8>) -> Classes {
    let mut object = vec![b'{'];
    object.append(members);
    object.push(b'}');
    let mut once = Vec::new();
    let mut classes = Classes::NONE;
    if without_repeats(&object, &mut once) {
        classes.insert(Class::DuplicateKey);
        object = once;
    }
    members.extend_from_slice(inside(&object));
    classes
}

/// Whether a JSON value is a string of nothing but blanks.
#[must_use]
pub fn is_blank_text(json: &[u8]) -> bool {
    match json {
        [b'"', text @ .., b'"'] => match text.first() {
            None => true,
            Some(first) if *first > b' ' && *first < 0x80 && *first != b'\\' => false,
            Some(_) => is_blank(text),
        },
        _ => false,
    }
}

/// Whether a text, the inside of a JSON string, is nothing but blanks.
pub(super) fn is_blank(text: &[u8]) -> bool {
    String::from_utf8_lossy(&unescape(text)).trim().is_empty()
}

/// Replaces each half of a surrogate pair that stands alone by U+FFFD, in place; whether any did.
pub(super) fn replace_lone_surrogates(text: &mut [u8]) -> bool {
    let (mut at, mut replaced) = (0, false);
    while let Some(found) = text.get(at..).and_then(|rest| memchr::memchr(b'\\', rest)) {
        at += found;
        let Some(code) = unit_after(text, at) else {
            at += 2;
            continue;
        };
        let is_pair = (0xd800..=0xdbff).contains(&code)
            && unit_after(text, at + 6).is_some_and(|low| (0xdc00..=0xdfff).contains(&low));
        if (0xd800..=0xdfff).contains(&code) && !is_pair {
            text[at..at + 6].copy_from_slice(b"\\ufffd");
            replaced = true;
        }
        at += if is_pair { 12 } else { 6 };
    }
    replaced
}

/// The place of what was appended to the arena since `start`.
pub(super) fn appended(arena: &[u8], start: usize) -> Place {
    Place::arena(start as u32, (arena.len() - start) as u32)
}

fn comma(n: usize, out: &mut Vec<u8>) {
    if n > 0 {
        out.push(b',');
    }
}

fn key(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(text);
    out.extend_from_slice(b"\":");
}

/// Appends a key and its value.
pub(super) fn member(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    key(name, out);
    out.extend_from_slice(value);
}

/// The text between the brackets of a container.
fn inside(container: &[u8]) -> &[u8] {
    container.get(1..container.len().saturating_sub(1)).unwrap_or_default().trim_ascii()
}

/// Two lists of members or elements as one.
fn joined(first: &[u8], second: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(first);
    comma(usize::from(!first.is_empty() && !second.is_empty()), out);
    out.extend_from_slice(second);
}
