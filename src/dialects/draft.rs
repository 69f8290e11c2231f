//! An event under construction: what a dialect says of each field, written once, in order.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::event::{
    Class, Classes, Entry, FieldId as F, derived_id, each_entry, is_blank_text, quote, uuid_of,
};
use crate::intake::{Mapped, Source};

/// The text of one field.
#[derive(Clone, Copy, Debug)]
enum Text<'a> {
    /// The field is absent.
    None,
    /// JSON text of the source: a string with its quotes, or anything else as it is.
    Json(&'a [u8]),
    /// A plain word that needs no escape.
    Word(&'static str),
    /// JSON text of our own, from one place of [`Draft::own`] to another.
    Own(usize, usize),
}

/// Writes members of the event, each with a comma behind it: key and field.
macro_rules! members {
    ($draft:ident, $out:ident, { $($key:literal: $id:ident),* $(,)? }) => {
        $($draft.member(concat!("\"", $key, "\":"), F::$id, $out);)*
    };
}

/// Writes an object of the event with its members, and a comma.
macro_rules! object {
    ($draft:ident, $out:ident, $name:literal $members:tt) => {
        $out.extend_from_slice(concat!("\"", $name, "\":{").as_bytes());
        members!($draft, $out, $members);
        close($out);
    };
}

/// An event that a dialect fills in.
///
/// What the source says and no field can hold goes to `metadata.shrike.source`, so that the source
/// record can be built again.
pub(super) struct Draft<'a> {
    format: &'static str,
    source: &'a Source<'a>,
    fields: [Text<'a>; F::COUNT],
    /// Texts of our own making, one behind the other.
    own: Vec<u8>,
    /// Members of `metadata.shrike.source`, without braces.
    kept: Vec<u8>,
    /// Members of `metadata`, without braces; the source's own object comes first.
    group: Vec<u8>,
    metadata: &'a [u8],
    defaulted: u64,
    /// Whether the source had no metadata at all.
    has_no_metadata: bool,
    flags: Classes,
}

impl<'a> Draft<'a> {
    /// An event of which nothing is known yet.
    pub(super) fn new(format: &'static str, source: &'a Source<'a>) -> Self {
        Self {
            format,
            source,
            fields: [Text::None; F::COUNT],
            own: Vec::new(),
            kept: Vec::new(),
            group: Vec::new(),
            metadata: b"",
            defaulted: 0,
            has_no_metadata: false,
            flags: Classes::NONE,
        }
    }

    /// Notes what is not clean.
    pub(super) fn flag(&mut self, class: Class) {
        self.flags.insert(class);
    }

    /// Keeps a member of the source that has no home.
    pub(super) fn keep(&mut self, key: &str, value: &[u8]) {
        member(key.as_bytes(), value, &mut self.kept);
    }

    /// Keeps a member under the key that the source gave it.
    pub(super) fn keep_entry(&mut self, entry: &Entry<'_>) {
        member(entry.key, entry.value, &mut self.kept);
    }

    /// Whether something is said of a field.
    pub(super) fn has(&self, id: F) -> bool {
        !matches!(self.fields[id as usize], Text::None)
    }

    /// Whether a field is this JSON text of the source.
    pub(super) fn says(&self, id: F, value: &[u8]) -> bool {
        matches!(self.fields[id as usize], Text::Json(json) if json == value)
    }

    /// The name of this machine.
    pub(super) fn host(&self) -> &'a str {
        self.source.host
    }

    /// When the record was received, nanoseconds since 1970.
    pub(super) fn received_ns(&self) -> u64 {
        self.source.received_ns
    }

    /// Whether a tenant is configured.
    pub(super) fn has_tenant(&self) -> bool {
        self.source.has_tenant
    }

    /// Sets a field to a word.
    pub(super) fn word(&mut self, id: F, word: &'static str) {
        self.fields[id as usize] = Text::Word(word);
    }

    /// Sets a field to a word because the source says nothing of it.
    pub(super) fn default(&mut self, id: F, word: &'static str) {
        self.word(id, word);
        self.defaulted |= id.bit();
    }

    /// Says that a field does not come from the source.
    pub(super) fn mark_default(&mut self, id: F) {
        self.defaulted |= id.bit();
    }

    /// Sets a field to JSON text of the source.
    pub(super) fn json(&mut self, id: F, value: &'a [u8]) {
        self.fields[id as usize] = Text::Json(value);
    }

    /// Sets a field to a text that is not escaped yet.
    pub(super) fn text(&mut self, id: F, text: &[u8]) {
        self.own(id, |out| quote(text, out));
    }

    /// Sets a field to what another one is.
    pub(super) fn same(&mut self, id: F, as_id: F) {
        self.fields[id as usize] = self.fields[as_id as usize];
    }

    /// Sets a field to JSON text of our own, which `write` appends.
    pub(super) fn own(&mut self, id: F, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.own.len();
        write(&mut self.own);
        self.fields[id as usize] = Text::Own(start, self.own.len());
    }

    /// Sets a field to an optional string of the source: absent, null and blank fall to the
    /// default; what is blank or no string is kept and flagged.
    pub(super) fn optional(
        &mut self,
        id: F,
        key: &str,
        value: Option<&'a [u8]>,
        default: Option<&'static str>,
    ) {
        match value {
            Some(json) if string(json).is_some() => match default {
                Some(word) if is_blank_text(json) => {
                    self.keep(key, json);
                    self.word(id, word);
                    self.flag(Class::EmptyField);
                }
                _ => self.json(id, json),
            },
            other => {
                if let Some(json) = other {
                    self.keep(key, json);
                    if json != b"null" {
                        self.flag(Class::OutOfRange);
                    }
                }
                if let Some(word) = default {
                    self.default(id, word);
                }
            }
        }
    }

    /// The event's id: a UUID of the source as it is, else one derived from the line.
    pub(super) fn id(&mut self, key: &str, value: Option<&'a [u8]>) {
        let text = value.and_then(string).unwrap_or_default();
        let uuid = uuid_of(text);
        if let Some(json) = value
            && uuid.is_none_or(|uuid| uuid != text)
        {
            self.keep(key, json);
        }
        match (value, uuid) {
            (Some(json), Some(uuid)) if uuid == text => self.json(F::EventId, json),
            (_, uuid) => {
                let id = uuid.unwrap_or_else(|| derived_id(self.format, text, self.source.line));
                self.text(F::EventId, &id);
            }
        }
    }

    /// An id of the line alone, where the source's own ids may collide.
    pub(super) fn derive_id(&mut self, key: &str, value: &'a [u8]) {
        let id = derived_id(self.format, string(value).unwrap_or_default(), self.source.line);
        self.keep(key, value);
        self.text(F::EventId, &id);
    }

    /// Whether the action was let through, and the outcome that follows.
    pub(super) fn allowed(&mut self, allowed: bool) {
        self.word(F::Allowed, if allowed { "true" } else { "false" });
        self.word(F::Outcome, if allowed { "success" } else { "failure" });
    }

    /// The source's own metadata; what is no object goes under `value`.
    pub(super) fn metadata(&mut self, value: Option<&'a [u8]>) {
        match value {
            Some(value) => {
                self.metadata = value;
                if value == b"null" {
                    self.metadata = b"";
                    self.keep("metadata", value);
                }
            }
            None => self.has_no_metadata = true,
        }
    }

    /// A group of members in the metadata, which `write` writes without braces.
    pub(super) fn group(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        let mut members = Vec::with_capacity(256);
        write(&mut members);
        if !members.is_empty() {
            let mut object = Vec::with_capacity(members.len() + 2);
            object.push(b'{');
            object.append(&mut members);
            object.push(b'}');
            member(name.as_bytes(), &object, &mut self.group);
        }
    }

    /// Writes the event.
    pub(super) fn finish(self, out: &mut Mapped) {
        out.event(|out| self.write(out));
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.reserve(self.source.line.len() + 512);
        out.extend_from_slice(b"{\"schema_version\":\"1.0.0\",");
        members!(self, out, {
            "event_id": EventId,
            "event_type": EventType,
            "event_category": EventCategory,
            "timestamp": Timestamp,
        });
        object!(self, out, "agent" {
            "id": AgentId,
            "name": AgentName,
            "version": AgentVersion,
            "type": AgentType,
        });
        object!(self, out, "session" {
            "id": SessionId,
            "user_id": SessionUserId,
            "tenant_id": SessionTenantId,
            "environment": SessionEnvironment,
        });
        members!(self, out, { "outcome": Outcome, "action": Action });
        out.extend_from_slice(b"\"threat\":{");
        if self.has(F::IndicatorValue) {
            object!(self, out, "indicator" { "type": IndicatorType, "value": IndicatorValue });
        }
        members!(self, out, { "tactic": Tactic, "technique": Technique });
        close(out);
        object!(self, out, "decision" {
            "allowed": Allowed,
            "guard": Guard,
            "severity": Severity,
            "reason": Reason,
            "policy_hash": PolicyHash,
            "ruleset": Ruleset,
        });
        object!(self, out, "resource" {
            "type": ResourceType,
            "name": ResourceName,
            "path": ResourcePath,
            "host": ResourceHost,
            "port": ResourcePort,
        });
        out.extend_from_slice(b"\"metadata\":{");
        let displaced = self.write_metadata(out);
        self.write_remarks(displaced, out);
        out.extend_from_slice(b"},\"labels\":{}}");
    }

    /// Writes a member and a comma, if something is said of the field; the key comes with its
    /// quotes and its colon.
    #[inline(always)]
    fn member(&self, key: &'static str, id: F, out: &mut Vec<u8>) {
        let text = self.fields[id as usize];
        if !matches!(text, Text::None) {
            out.extend_from_slice(key.as_bytes());
            self.value(text, out);
        }
    }

    fn value(&self, text: Text<'_>, out: &mut Vec<u8>) {
        match text {
            Text::None => {}
            Text::Json(json) => out.extend_from_slice(json),
            Text::Own(start, end) => out.extend_from_slice(&self.own[start..end]),
            // The only words that are no strings.
            Text::Word(word @ ("true" | "false")) => out.extend_from_slice(word.as_bytes()),
            Text::Word(word) => {
                out.push(b'"');
                out.extend_from_slice(word.as_bytes());
                out.push(b'"');
            }
        }
        out.push(b',');
    }

    /// Writes the source's metadata and our groups, each member with a comma behind it; returns the
    /// member that has our reserved name.
    fn write_metadata(&self, out: &mut Vec<u8>) -> Option<&'a [u8]> {
        let mut displaced = None;
        if self.metadata.first() == Some(&b'{') {
            if may_name(self.metadata, &[&SHRIKE]) {
                each_entry(self.metadata, |entry| {
                    displaced = if entry.is(b"shrike") { Some(entry.value) } else { displaced };
                });
            }
            match displaced {
                None => {
                    let inside = &self.metadata[1..self.metadata.len() - 1];
                    out.extend_from_slice(inside.trim_ascii());
                    comma(out);
                }
                Some(_) => {
                    each_entry(self.metadata, |entry| {
                        if !entry.is(b"shrike") {
                            put(entry.key, entry.value, out);
                        }
                    });
                }
            }
        } else if !self.metadata.is_empty() {
            put(b"value", self.metadata, out);
        }
        if !self.group.is_empty() {
            out.extend_from_slice(&self.group);
            out.push(b',');
        }
        displaced
    }

    /// Writes `metadata.shrike`, the last member.
    fn write_remarks(&self, displaced: Option<&[u8]>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\"shrike\":{\"format\":\"");
        out.extend_from_slice(self.format.as_bytes());
        out.push(b'"');
        if !self.kept.is_empty() {
            out.extend_from_slice(b",\"source\":{");
            out.extend_from_slice(&self.kept);
            out.push(b'}');
        }
        if self.defaulted != 0 || self.has_no_metadata {
            out.extend_from_slice(b",\"defaulted\":[");
            let paths = F::ALL.iter().filter(|id| self.defaulted & id.bit() != 0);
            let paths = paths.map(|id| id.path()).chain(self.has_no_metadata.then_some("metadata"));
            list(paths, out);
        }
        if !self.flags.is_empty() {
            out.extend_from_slice(b",\"flags\":[");
            list(self.flags.iter().map(Class::name), out);
        }
        if let Some(displaced) = displaced {
            out.extend_from_slice(b",\"displaced\":");
            out.extend_from_slice(displaced);
        }
        if let Some((name, members)) = self.source.wrapped {
            out.extend_from_slice(b",\"");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":{");
            out.extend_from_slice(members);
            out.push(b'}');
        }
        out.push(b'}');
    }
}

/// Whether an object may have a member with one of these names: a look at its text, before it is
/// read.
pub(super) fn may_name(object: &[u8], names: &[&LazyLock<Finder<'_>>]) -> bool {
    names.iter().any(|name| name.find(object).is_some()) || memchr::memchr(b'\\', object).is_some()
}

/// The text of a JSON string without its quotes, still with its escapes; `None` of anything else.
pub(super) fn string(json: &[u8]) -> Option<&[u8]> {
    match json {
        [b'"', text @ .., b'"'] => Some(text),
        _ => None,
    }
}

/// Appends a member to a list without braces.
pub(super) fn member(key: &[u8], value: &[u8], out: &mut Vec<u8>) {
    if !out.is_empty() {
        out.push(b',');
    }
    put(key, value, out);
    out.pop();
}

/// Appends a member and a comma.
fn put(key: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(key);
    out.extend_from_slice(b"\":");
    out.extend_from_slice(value);
    out.push(b',');
}

fn comma(out: &mut Vec<u8>) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
}

/// Ends an object in place of the comma behind its last member, and begins the next member.
fn close(out: &mut Vec<u8>) {
    if out.last() == Some(&b',') {
        out.pop();
    }
    out.extend_from_slice(b"},");
}

/// Writes plain words as a list, and its end.
fn list<'w>(words: impl Iterator<Item = &'w str>, out: &mut Vec<u8>) {
    for (n, word) in words.enumerate() {
        if n > 0 {
            out.push(b',');
        }
        out.push(b'"');
        out.extend_from_slice(word.as_bytes());
        out.push(b'"');
    }
    out.push(b']');
}

/// The member of the metadata that is ours.
static SHRIKE: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new("shrike"));
