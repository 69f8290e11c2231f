//! Writes an event anew, as the rules let it be seen.

use std::borrow::Cow;

use hmac::Mac as _;
use memchr::memmem;

use super::super::insight::{self, Origin};
use super::super::rewrite::{each_entry, is_blank_text, quote, unescape};
use super::super::{Event, FieldId as F, IndicatorType, Opened, Place};
use super::Privacy;
use super::path::DERIVED;
use super::pattern::Gates;
use super::walk::{Root, Walk};

/// What happens to a value, the stronger after the weaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Op {
    /// Only its last four characters stay.
    Mask,
    /// It becomes its keyed hash.
    Hash,
    /// The replacement stands for it.
    Redact,
    /// It goes.
    Remove,
}

/// One event on its way into new bytes.
pub(super) struct Change<'a> {
    pub(super) privacy: &'a Privacy,
    event: &'a Event<'a>,
    /// Which patterns may find something in it.
    gates: Gates,
    pub(super) out: &'a mut Vec<u8>,
    opened: Opened,
    ops: [Option<Op>; F::COUNT],
    /// Texts of covered fields, longest first: the event repeats some of them.
    copies: Vec<Copy<'a>>,
    pub(super) is_changed: bool,
}

/// The text of a covered field, and what stands for it.
struct Copy<'a> {
    text: Cow<'a, [u8]>,
    instead: Vec<u8>,
}

impl<'a> Change<'a> {
    pub(super) fn new(
        privacy: &'a Privacy,
        event: &'a Event<'a>,
        gates: Gates,
        out: &'a mut Vec<u8>,
    ) -> Self {
        let mut change = Self {
            privacy,
            event,
            gates,
            out,
            opened: Opened { plain_labels: false, ..event.opened.clone() },
            ops: privacy.fields,
            copies: Vec::new(),
            is_changed: false,
        };
        change.link();
        change
    }

    /// The changed event, its places relative to `out`; `None` when it is the same.
    pub(super) fn run(mut self) -> Option<Opened> {
        let start = self.out.len();
        let late = ADDED.iter().fold(DERIVED, |late, id| late | id.bit());
        for &id in F::ALL.iter().filter(|id| late & id.bit() == 0) {
            self.one(id);
        }
        self.cover_indicator();
        for &id in ADDED {
            self.one(id);
        }
        if !self.is_changed {
            self.out.truncate(start);
            return None;
        }
        self.derive();
        self.whole_indicator();
        self.opened.concealed = true;
        Some(self.opened)
    }

    fn one(&mut self, id: F) {
        if !self.event.has(id) {
            return;
        }
        match id {
            F::Metadata => self.container(id, Root::Metadata),
            F::Shrike => self.container(id, Root::Shrike),
            F::Labels => self.container(id, Root::Labels),
            id => self.field(id),
        }
    }

    /// Leaves out an indicator that intelligence added, where what it comes from is not told.
    fn cover_indicator(&mut self) {
        let Some(remarks) = self.event.value(F::Shrike).filter(|_| self.event.opened.intel) else {
            return;
        };
        let Some(field) = insight::indicator_field(remarks.json) else { return };
        let kind = self.event.opened.indicator_type.word().as_bytes();
        let origin = Origin { field, kind, value: says(self.event, F::IndicatorValue) };
        // An event that says one itself is not given another.
        let is_own = field == b"threat.indicator.value";
        if is_own || !self.is_told(&origin) {
            self.ops[F::IndicatorType as usize] = Some(Op::Remove);
            self.ops[F::IndicatorValue as usize] = Some(Op::Remove);
        }
    }

    /// Whether a value that was added may be told: only where all that it comes from was written as
    /// it is. Of a rule that changed it, it could be any part, in any spelling.
    fn is_told(&self, origin: &Origin<'_>) -> bool {
        let written = |id: F| self.opened.places[id as usize].bytes(self.out, &[]);
        let stays = |id: F| {
            let value = self.event.value(id);
            value.is_none_or(|value| value.json == written(id))
        };
        match origin.field {
            b"resource.host" => stays(F::ResourceHost),
            b"resource.path" => {
                // A request's URL is put together of all three.
                let is_file =
                    [&b"file_name"[..], b"file_path", b"path", b"file_hash"].contains(&origin.kind);
                let is_url_told = || stays(F::ResourceHost) && stays(F::ResourcePort);
                stays(F::ResourcePath) && (is_file || is_url_told())
            }
            b"threat.indicator.value" => stays(F::IndicatorValue),
            // It stands anywhere in there, in letters of either case.
            b"metadata" => {
                let value = origin.value.trim_ascii().to_ascii_lowercase();
                let metadata = written(F::Metadata).to_ascii_lowercase();
                memmem::find(&metadata, &value).is_some()
            }
            _ => false,
        }
    }

    /// Covers what repeats a covered field: a name that is the path, an indicator that is the host.
    fn link(&mut self) {
        let (ops, event) = (self.privacy.fields, self.event);
        let mut named = self.privacy.named;
        for group in LINKED {
            let is_named = |id: &&F| self.privacy.named & id.bit() != 0 && event.has(**id);
            for &id in group.iter().filter(is_named) {
                let Some(op) = ops[id as usize] else { continue };
                for &other in *group {
                    if other != id && event.has(other) && says(event, other) == says(event, id) {
                        let required = super::path::REQUIRED_TEXTS & other.bit() != 0;
                        let op = if required { op.min(Op::Redact) } else { op };
                        let linked = &mut self.ops[other as usize];
                        *linked = (*linked).max(Some(op));
                        named |= other.bit();
                    }
                }
            }
        }
        for &id in COPIED.iter().filter(|id| named & id.bit() != 0 && event.has(**id)) {
            let Some(op) = self.ops[id as usize] else { continue };
            let text = says(event, id);
            // A default says nothing about anybody.
            if !text.is_empty() && *text != *b"unknown" {
                let instead = self.instead(op, &text);
                self.copies.push(Copy { text, instead });
            }
        }
        self.copies.sort_by_key(|copy| std::cmp::Reverse(copy.text.len()));
    }

    /// Writes a field with a canonical home.
    fn field(&mut self, id: F) {
        let start = self.out.len();
        let json = self.event.value(id).map_or(&b""[..], |value| value.json);
        match self.ops[id as usize] {
            Some(Op::Remove) => self.is_changed = true,
            Some(op) => {
                self.op(op, json);
            }
            None => {
                let repeats = id == F::Reason && !self.copies.is_empty();
                match self.text(json, repeats) {
                    Some(text) => self.quoted(&text),
                    None => self.out.extend_from_slice(json),
                }
            }
        }
        // What replaces it may be nothing, and every event must have some.
        if is_needed(id) && is_blank_text(&self.out[start..]) {
            self.out.truncate(start);
            self.quoted(NEEDED);
        }
        self.place(id, start);
    }

    /// Writes metadata, our remarks or labels.
    fn container(&mut self, id: F, root: Root) {
        let start = self.out.len();
        let json = self.event.value(id).map_or(&b""[..], |value| value.json);
        let covered = (root == Root::Shrike && self.event.opened.intel).then(|| {
            let instead = &self.privacy.replacement_json;
            insight::covered(json, instead, |origin| self.is_told(origin))
        });
        let covered = covered.flatten();
        self.is_changed |= covered.is_some();
        let json = covered.as_deref().unwrap_or(json);
        if self.ops[id as usize].is_some() {
            self.is_changed = true;
        } else if Walk::new(json, root, self).run().is_none() {
            // Opening has read it before, so this does not happen; if it did, nothing may pass.
            self.out.truncate(start);
            self.is_changed = true;
        }
        if id == F::Shrike && &self.out[start..] == b"{}" {
            self.out.truncate(start);
        }
        self.place(id, start);
    }

    /// Notes that a field is what was written since `start`; absent, if nothing was.
    fn place(&mut self, id: F, start: usize) {
        let written = &self.out[start..];
        let escaped = memchr::memchr(b'\\', written).is_some();
        self.opened.places[id as usize] = Place::record(start as u32, written.len() as u32);
        self.opened.escaped &= !id.bit();
        self.opened.escaped |= u64::from(escaped) << id as u8;
    }

    /// Finds the fields that are members of the metadata in what became of it.
    fn derive(&mut self) {
        let ids = [F::CommandLine, F::TraceId, F::SpanId, F::Traceparent];
        for id in ids {
            self.opened.places[id as usize] = Place::default();
            self.opened.escaped &= !id.bit();
        }
        let place = self.opened.places[F::Metadata as usize];
        let metadata = place.bytes(self.out, &[]);
        let base = place.start();
        let (places, escaped) = (&mut self.opened.places, &mut self.opened.escaped);
        each_entry(metadata, |entry| {
            let name = |id: &F| id.path().strip_prefix("metadata.").unwrap_or_default();
            let found = ids.iter().find(|id| entry.key == name(id).as_bytes());
            let Some(&id) = found.filter(|_| entry.value.starts_with(b"\"")) else { return };
            // The value lies in the metadata, which begins at `base`.
            let at = entry.value.as_ptr() as usize - metadata.as_ptr() as usize;
            places[id as usize] = Place::record(base + at as u32, entry.value.len() as u32);
            *escaped |= u64::from(entry.value.contains(&b'\\')) << id as u8;
        });
    }

    /// One half of an indicator says nothing: both stay, or none.
    fn whole_indicator(&mut self) {
        let halves = [F::IndicatorType, F::IndicatorValue];
        if halves.iter().all(|&id| self.opened.places[id as usize].is_present()) {
            return;
        }
        for id in halves {
            self.opened.places[id as usize] = Place::default();
            self.opened.escaped &= !id.bit();
        }
        self.opened.indicator_type = IndicatorType::Other;
    }

    /// Writes what stands for a JSON value.
    pub(super) fn op(&mut self, op: Op, json: &[u8]) {
        self.is_changed = true;
        let is_text = json.first() == Some(&b'"');
        match op {
            Op::Redact | Op::Remove => self.out.extend_from_slice(&self.privacy.replacement_json),
            // Nothing has an end that could stay.
            Op::Mask if !is_text => self.out.extend_from_slice(&self.privacy.replacement_json),
            Op::Mask | Op::Hash => {
                let instead = self.instead(op, &text_of(json));
                self.quoted(&instead);
            }
        }
    }

    /// What a text has instead, where anything covered or found is in it; `None` where there is
    /// nothing.
    pub(super) fn text(&self, json: &[u8], repeats: bool) -> Option<Vec<u8>> {
        if json.first() != Some(&b'"') || (!repeats && self.gates == Gates::NONE) {
            return None;
        }
        let text = text_of(json);
        let mut changed: Option<Vec<u8>> = None;
        if repeats {
            for copy in &self.copies {
                let before = changed.as_deref().unwrap_or(&text);
                changed = copy.replaced(before).or(changed);
            }
        }
        if self.gates != Gates::NONE {
            let before = changed.as_deref().unwrap_or(&text);
            changed = self.privacy.patterns.apply(before, self.gates).or(changed);
        }
        changed
    }

    /// Whether the event may repeat a covered text.
    pub(super) fn has_copies(&self) -> bool {
        !self.copies.is_empty()
    }

    /// Writes a text that is not as it was.
    pub(super) fn quoted(&mut self, text: &[u8]) {
        self.is_changed = true;
        quote(text, self.out);
    }

    fn instead(&self, op: Op, text: &[u8]) -> Vec<u8> {
        match op {
            Op::Mask => masked(text),
            Op::Hash => match &self.privacy.key {
                Some(key) => {
                    let mut mac = key.clone();
                    mac.update(text);
                    let digest = mac.finalize().into_bytes();
                    digest.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(hex).collect()
                }
                // Compiling refuses hashes without a key.
                None => self.privacy.replacement.clone(),
            },
            Op::Redact | Op::Remove => self.privacy.replacement.clone(),
        }
    }
}

impl Copy<'_> {
    /// The text with what stands for the copies in it.
    fn replaced(&self, text: &[u8]) -> Option<Vec<u8>> {
        if self.text.len() < WORD_BYTES_MIN {
            return (text == &*self.text).then(|| self.instead.clone());
        }
        let mut out = Vec::new();
        let mut copied = 0;
        for at in memmem::find_iter(text, &self.text) {
            if self.text.len() < COPY_BYTES_MIN && !is_word(text, at, self.text.len()) {
                continue;
            }
            out.extend_from_slice(&text[copied..at]);
            out.extend_from_slice(&self.instead);
            copied = at + self.text.len();
        }
        if copied == 0 {
            return None;
        }
        out.extend_from_slice(&text[copied..]);
        Some(out)
    }
}

/// Whether destinations lack something in an event where this field says nothing.
fn is_needed(id: F) -> bool {
    super::path::REQUIRED_TEXTS & id.bit() != 0 && id != F::Reason
}

/// What stands where something must stand and the operator's replacement is blank.
const NEEDED: &[u8] = b"[REDACTED]";

/// The text of a field.
fn says<'a>(event: &Event<'a>, id: F) -> Cow<'a, [u8]> {
    text_of(event.value(id).map_or(b"\"\"", |value| value.json))
}

/// The text that a JSON string stands for; other values as they are.
fn text_of(json: &[u8]) -> Cow<'_, [u8]> {
    match json {
        [b'"', text @ .., b'"'] if memchr::memchr(b'\\', text).is_some() => {
            Cow::Owned(unescape(text))
        }
        [b'"', text @ .., b'"'] => Cow::Borrowed(text),
        other => Cow::Borrowed(other),
    }
}

/// Four stars, whatever the length, and the last four characters of a longer text.
fn masked(text: &[u8]) -> Vec<u8> {
    let mut out = b"****".to_vec();
    let is_start = |&at: &usize| text[at] & 0xc0 != 0x80;
    let starts = (0..text.len()).rev().filter(is_start);
    if let (Some(at), true) = (starts.clone().nth(3), starts.count() > 4) {
        out.extend_from_slice(&text[at..]);
    }
    out
}

fn hex(digit: u8) -> u8 {
    b"0123456789abcdef"[usize::from(digit)]
}

/// Fields that may say the same: one is covered with the other.
const LINKED: &[&[F]] = &[
    &[F::ResourcePath, F::ResourceName, F::ResourceHost, F::IndicatorValue],
    &[F::AgentId, F::AgentName],
];

/// Fields that intelligence adds to: they are written when it shows what is left of the others.
const ADDED: &[F] = &[F::IndicatorType, F::IndicatorValue, F::Shrike];

/// Fields whose texts are looked for where the event may repeat them: in the reason, in metadata,
/// remarks and labels.
const COPIED: &[F] = &[
    F::AgentId,
    F::AgentName,
    F::SessionId,
    F::SessionUserId,
    F::SessionTenantId,
    F::IndicatorValue,
    F::Reason,
    F::ResourceName,
    F::ResourcePath,
    F::ResourceHost,
];

/// Whether what is at a place of a text is no part of a longer word.
fn is_word(text: &[u8], at: usize, len: usize) -> bool {
    let is_letter = |byte: Option<&u8>| {
        byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_' || !byte.is_ascii())
    };
    let before = at.checked_sub(1).and_then(|before| text.get(before));
    !is_letter(before) && !is_letter(text.get(at + len))
}

/// Shorter texts are copies only where they are whole words: they are part of too many others.
const COPY_BYTES_MIN: usize = 4;
/// Shorter ones only where they are the whole text: a single letter is a word of its own.
const WORD_BYTES_MIN: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_keep_four_characters_of_longer_texts() {
        for (text, expected) in [
            ("", "****"),
            ("1234", "****"),
            ("12345", "****2345"),
            ("4111111111111111", "****1111"),
            ("d\u{e9}j\u{e0}\u{65e5}\u{672c}", "****j\u{e0}\u{65e5}\u{672c}"),
        ] {
            assert_eq!(masked(text.as_bytes()), expected.as_bytes(), "{text}");
        }
    }

    #[test]
    fn short_copies_are_found_as_whole_words_only() {
        let copy = |text: &'static str| Copy {
            text: Cow::Borrowed(text.as_bytes()),
            instead: b"*".to_vec(),
        };
        let replaced = |copied, text: &str| {
            copy(copied).replaced(text.as_bytes()).map(|it| String::from_utf8_lossy(&it).into())
        };
        assert_eq!(replaced("/etc/a", "cat /etc/a /etc/ab"), Some("cat * *b".to_owned()));
        assert_eq!(replaced("bob", "bobbin"), None);
        assert_eq!(replaced("bob", "bob"), Some("*".to_owned()));
        assert_eq!(replaced("bob", "(bob), bobs and bob's"), Some("(*), bobs and *'s".to_owned()));
        assert_eq!(replaced("bo", "bob bo_ \u{e9}bo bo\u{e9}"), None);
        assert_eq!(replaced("a", "a file of a"), None);
    }
}
