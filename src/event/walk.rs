//! One pass over a record: checks the JSON, finds the canonical fields.
//!
//! Producers write the canonical order without blanks, so each object is read as if its members
//! came in that order: a comparison with the next key at a known place, which the processor
//! predicts. What remains (other orders, unknown members, keys with escapes) goes through a general
//! loop.

use super::home::{Group, Member, is_same_key, lookup};
use super::json::{After, Json, Keys, Step};
use super::scan::Specials;
use super::{Class, FieldId as F, Place};

/// What one pass over a record found, beside the places.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    /// Fields that are there, of whatever type, by [`F::bit`].
    pub present: u64,
    /// Fields whose value is not of the expected type.
    pub odd: u64,
    /// Strings that are empty, start with a blank or carry a backslash: perhaps blank.
    pub perhaps_blank: u64,
    /// Fields whose text carries a backslash.
    pub escaped: u64,
    /// Objects that are there and objects, by [`Group::bit`].
    pub objects: u8,
    /// Objects that are there and something else.
    pub odd_objects: u8,
    /// Whether members without a canonical home are there.
    pub unknown: bool,
    /// Whether a canonical key came twice.
    pub duplicate: bool,
    /// Whether keys beside the canonical ones may have come twice: to be looked at exactly.
    pub may_repeat: bool,
    /// Whether a label is no string.
    pub odd_label: bool,
    /// Whether all labels are plain ([`Opened::plain_labels`](super::Opened::plain_labels)).
    pub plain_labels: bool,
    /// Whether half of a surrogate pair stands alone somewhere.
    pub lone: bool,
    /// Whether a key beside the canonical ones may be one of `json::PREVIEWS`.
    pub previews: bool,
    /// Whether a key of the metadata may be `velar`.
    pub velar: bool,
    /// The member `shrike` of the metadata.
    pub shrike: Option<Place>,
}

/// Reads a whole record.
///
/// The text must be UTF-8 and shorter than 2 GiB; places are relative to it. A refusal is a class
/// and the byte where reading stopped.
#[inline]
pub(super) fn walk(
    specials: &Specials<'_>,
    depth_max: usize,
    places: &mut [Place; F::COUNT],
) -> Result<Found, (Class, usize)> {
    *places = [Place::default(); F::COUNT];
    let json = Json::new(specials, depth_max);
    let mut walk = Walk { json, places, found: Found::default() };
    match walk.record() {
        Ok(()) => {
            let Walk { json, found, .. } = walk;
            let Json { suspect: may_repeat, lone, previews, .. } = json;
            Ok(Found { may_repeat, lone, previews, ..found })
        }
        Err(class) => Err((class, walk.json.stopped_at)),
    }
}

struct Walk<'a> {
    json: Json<'a, 'a>,
    places: &'a mut [Place; F::COUNT],
    found: Found,
}

impl Walk<'_> {
    #[inline(always)]
    fn record(&mut self) -> Step {
        let at = self.json.blanks(0);
        if self.json.byte(at) != b'{' {
            return Err(self.json.no_object(at));
        }
        let end = self.object(Group::Root, at, 1, Self::root_in_order)?;
        let end = self.json.blanks(end);
        if end < self.json.text.len() {
            return Err(self.json.stop(end, Class::TrailingData));
        }
        Ok(())
    }

    /// An object whose members have canonical homes; `in_order` reads those that come in canonical
    /// order.
    #[inline(always)]
    fn object(
        &mut self,
        group: Group,
        at: usize,
        depth: usize,
        in_order: impl FnOnce(&mut Self, usize) -> Step<After>,
    ) -> Step<usize> {
        let first = match self.json.open(at, depth)? {
            After::Next(at) => at,
            After::End(end) => return Ok(end),
        };
        match in_order(self, first)? {
            After::End(end) => Ok(end),
            After::Next(at) => self.in_any_order(group, at, depth),
        }
    }

    /// The value of a member that should be an object with canonical members.
    #[inline(always)]
    fn group(
        &mut self,
        group: Group,
        at: usize,
        depth: usize,
        in_order: impl FnOnce(&mut Self, usize) -> Step<After>,
    ) -> Step<usize> {
        let at = self.json.blanks(at);
        if self.json.byte(at) == b'{' {
            self.found.objects |= group.bit();
            return self.object(group, at, depth, in_order);
        }
        self.odd_group(group, at, depth)
    }

    /// Something else where a group should be; one that is not needed may be null.
    #[cold]
    #[inline(never)]
    fn odd_group(&mut self, group: Group, at: usize, depth: usize) -> Step<usize> {
        let end = self.json.value(at, depth - 1, Keys::NONE)?;
        let is_optional = matches!(group, Group::Threat | Group::Indicator);
        if !(is_optional && self.json.eat(at, b"null").is_some()) {
            self.found.odd_objects |= group.bit();
        }
        Ok(end)
    }

    /// The same, for a group that only the record tells.
    fn any_group(&mut self, group: Group, at: usize) -> Step<usize> {
        match group {
            // The root is in no object; its key is none.
            Group::Root => Err(self.json.stop(at, Class::JsonSyntax)),
            Group::Agent => self.agent(at),
            Group::Session => self.session(at),
            Group::Threat => self.threat(at),
            Group::Indicator => self.indicator(at),
            Group::Decision => self.decision(at),
            Group::Resource => self.resource(at),
        }
    }
}

/// Reads the text with this key if it is next: key, colon and opening quote are compared at once.
macro_rules! next_text {
    ($walk:ident, $at:ident, $key:literal, $id:expr) => {
        if let Some(text) = $walk.json.eat($at, $key) {
            let end = $walk.rest_of_text(text, $id)?;
            match $walk.json.after_member(end)? {
                After::Next(next) => $at = next,
                After::End(end) => return Ok(After::End(end)),
            }
        }
    };
}

/// Reads the member with this key if it is next; returns from the function when the object ends.
macro_rules! next {
    ($at:ident, $key:literal, $walk:ident.$read:ident($($argument:expr)?)) => {
        if let Some(value) = $walk.json.eat($at, $key) {
            let end = $walk.$read(value $(, $argument)?)?;
            match $walk.json.after_member(end)? {
                After::Next(next) => $at = next,
                After::End(end) => return Ok(After::End(end)),
            }
        }
    };
}

/// The canonical order of each object.
impl Walk<'_> {
    #[inline(always)]
    fn root_in_order(&mut self, mut at: usize) -> Step<After> {
        next_text!(self, at, b"\"schema_version\":\"", F::SchemaVersion);
        next_text!(self, at, b"\"event_id\":\"", F::EventId);
        next_text!(self, at, b"\"event_type\":\"", F::EventType);
        next_text!(self, at, b"\"event_category\":\"", F::EventCategory);
        next_text!(self, at, b"\"timestamp\":\"", F::Timestamp);
        next_text!(self, at, b"\"ingested_at\":\"", F::IngestedAt);
        next!(at, b"\"agent\":", self.agent());
        next!(at, b"\"session\":", self.session());
        next_text!(self, at, b"\"outcome\":\"", F::Outcome);
        next_text!(self, at, b"\"action\":\"", F::Action);
        next!(at, b"\"threat\":", self.threat());
        next!(at, b"\"decision\":", self.decision());
        next!(at, b"\"resource\":", self.resource());
        next!(at, b"\"metadata\":", self.metadata());
        next!(at, b"\"labels\":", self.labels());
        Ok(After::Next(at))
    }

    #[inline(always)]
    fn agent_in_order(&mut self, mut at: usize) -> Step<After> {
        next_text!(self, at, b"\"id\":\"", F::AgentId);
        next_text!(self, at, b"\"name\":\"", F::AgentName);
        next_text!(self, at, b"\"version\":\"", F::AgentVersion);
        next_text!(self, at, b"\"type\":\"", F::AgentType);
        Ok(After::Next(at))
    }

    #[inline(always)]
    fn session_in_order(&mut self, mut at: usize) -> Step<After> {
        next_text!(self, at, b"\"id\":\"", F::SessionId);
        next_text!(self, at, b"\"user_id\":\"", F::SessionUserId);
        next_text!(self, at, b"\"tenant_id\":\"", F::SessionTenantId);
        next_text!(self, at, b"\"environment\":\"", F::SessionEnvironment);
        Ok(After::Next(at))
    }

    #[inline(always)]
    fn threat_in_order(&mut self, mut at: usize) -> Step<After> {
        next!(at, b"\"indicator\":", self.indicator());
        next_text!(self, at, b"\"tactic\":\"", F::Tactic);
        next_text!(self, at, b"\"technique\":\"", F::Technique);
        Ok(After::Next(at))
    }

    #[inline(always)]
    fn indicator_in_order(&mut self, mut at: usize) -> Step<After> {
        next_text!(self, at, b"\"type\":\"", F::IndicatorType);
        next_text!(self, at, b"\"value\":\"", F::IndicatorValue);
        Ok(After::Next(at))
    }

    #[inline(always)]
    fn decision_in_order(&mut self, mut at: usize) -> Step<After> {
        next!(at, b"\"allowed\":", self.allowed());
        next_text!(self, at, b"\"guard\":\"", F::Guard);
        next_text!(self, at, b"\"severity\":\"", F::Severity);
        next_text!(self, at, b"\"reason\":\"", F::Reason);
        next_text!(self, at, b"\"policy_hash\":\"", F::PolicyHash);
        next_text!(self, at, b"\"ruleset\":\"", F::Ruleset);
        Ok(After::Next(at))
    }

    #[inline(always)]
    fn resource_in_order(&mut self, mut at: usize) -> Step<After> {
        next_text!(self, at, b"\"type\":\"", F::ResourceType);
        next_text!(self, at, b"\"name\":\"", F::ResourceName);
        next_text!(self, at, b"\"path\":\"", F::ResourcePath);
        next_text!(self, at, b"\"host\":\"", F::ResourceHost);
        next!(at, b"\"port\":", self.port());
        Ok(After::Next(at))
    }

    /// The members that are left, by lookup.
    #[inline(never)]
    fn in_any_order(&mut self, group: Group, mut at: usize, depth: usize) -> Step<usize> {
        let mut unknown = Keys::NONE;
        loop {
            let (key, escaped, value) = self.json.key(at)?;
            let end = match lookup(group, key, escaped) {
                Some(member) => self.member(member, value)?,
                None => {
                    self.found.unknown = true;
                    self.json.note_key(&mut unknown, key, escaped);
                    self.json.value(value, depth, unknown)?
                }
            };
            match self.json.after_member(end)? {
                After::Next(next) => at = next,
                After::End(end) => return Ok(end),
            }
        }
    }

    /// The value of a canonical member out of its order; a second one replaces the first.
    fn member(&mut self, member: Member, at: usize) -> Step<usize> {
        match member {
            Member::Text(id) => {
                self.forget(id.bit());
                self.text_field(at, id)
            }
            Member::Allowed => {
                self.forget(F::Allowed.bit());
                self.allowed(at)
            }
            Member::Port => {
                self.forget(F::ResourcePort.bit());
                self.port(at)
            }
            Member::Object(group) => {
                if (self.found.objects | self.found.odd_objects) & group.bits() != 0 {
                    self.found.duplicate = true;
                    self.found.objects &= !group.bits();
                    self.found.odd_objects &= !group.bits();
                }
                self.forget(group.fields());
                self.any_group(group, at)
            }
            Member::Metadata => {
                self.forget(METADATA);
                self.found.shrike = None;
                self.metadata(at)
            }
            Member::Labels => {
                self.forget(F::Labels.bit());
                self.found.odd_label = false;
                self.found.plain_labels = false;
                self.labels(at)
            }
        }
    }

    /// Takes back what an earlier member with the same key left.
    fn forget(&mut self, fields: u64) {
        if self.found.present & fields == 0 {
            return;
        }
        self.found.duplicate = true;
        for &id in F::ALL {
            if fields & id.bit() != 0 {
                self.places[id as usize] = Place::default();
            }
        }
        for set in [
            &mut self.found.present,
            &mut self.found.odd,
            &mut self.found.perhaps_blank,
            &mut self.found.escaped,
        ] {
            *set &= !fields;
        }
    }
}

/// Fields that come from the member `metadata`.
const METADATA: u64 = F::Metadata.bit()
    | F::CommandLine.bit()
    | F::TraceId.bit()
    | F::SpanId.bit()
    | F::Traceparent.bit();

/// Objects with canonical members.
impl Walk<'_> {
    #[inline(always)]
    fn agent(&mut self, at: usize) -> Step<usize> {
        self.group(Group::Agent, at, 2, Self::agent_in_order)
    }

    #[inline(always)]
    fn session(&mut self, at: usize) -> Step<usize> {
        self.group(Group::Session, at, 2, Self::session_in_order)
    }

    #[inline(always)]
    fn threat(&mut self, at: usize) -> Step<usize> {
        self.group(Group::Threat, at, 2, Self::threat_in_order)
    }

    #[inline(always)]
    fn indicator(&mut self, at: usize) -> Step<usize> {
        self.group(Group::Indicator, at, 3, Self::indicator_in_order)
    }

    #[inline(always)]
    fn decision(&mut self, at: usize) -> Step<usize> {
        self.group(Group::Decision, at, 2, Self::decision_in_order)
    }

    #[inline(always)]
    fn resource(&mut self, at: usize) -> Step<usize> {
        self.group(Group::Resource, at, 2, Self::resource_in_order)
    }
}

/// Values of canonical members: each returns the place behind it.
impl Walk<'_> {
    #[inline(always)]
    fn set(&mut self, id: F, start: usize, end: usize) -> usize {
        self.places[id as usize] = place(start, end);
        self.found.present |= id.bit();
        end
    }

    #[inline(always)]
    fn text_field(&mut self, at: usize, id: F) -> Step<usize> {
        let start = self.json.blanks(at);
        if self.json.byte(start) != b'"' {
            return self.odd_field(start, id);
        }
        self.rest_of_text(start + 1, id)
    }

    /// A text whose opening quote was read.
    #[inline(always)]
    fn rest_of_text(&mut self, text: usize, id: F) -> Step<usize> {
        let (end, escaped) = self.json.string(text - 1)?;
        if escaped {
            self.found.escaped |= id.bit();
        }
        // In ASCII the blanks come before the quote, which ends an empty text.
        let first = self.json.byte(text);
        if first <= b'"' || escaped {
            self.found.perhaps_blank |= id.bit();
        }
        Ok(self.set(id, text - 1, end))
    }

    /// A value that is not of the field's type.
    #[cold]
    #[inline(never)]
    fn odd_field(&mut self, start: usize, id: F) -> Step<usize> {
        let depth = 1 + id.path().bytes().filter(|&byte| byte == b'.').count();
        let end = self.json.value(start, depth, Keys::NONE)?;
        self.found.odd |= id.bit();
        Ok(self.set(id, start, end))
    }

    #[inline(always)]
    fn allowed(&mut self, at: usize) -> Step<usize> {
        let start = self.json.blanks(at);
        let end = self.json.eat(start, b"true").or_else(|| self.json.eat(start, b"false"));
        match end {
            Some(end) => Ok(self.set(F::Allowed, start, end)),
            None => self.odd_field(start, F::Allowed),
        }
    }

    #[inline(always)]
    fn port(&mut self, at: usize) -> Step<usize> {
        let start = self.json.blanks(at);
        if !self.json.byte(start).is_ascii_digit() {
            return self.odd_field(start, F::ResourcePort);
        }
        let end = self.json.number(start)?;
        Ok(self.set(F::ResourcePort, start, end))
    }

    #[inline]
    fn metadata(&mut self, at: usize) -> Step<usize> {
        let start = self.json.blanks(at);
        if self.json.byte(start) != b'{' {
            return self.odd_container(start, F::Metadata);
        }
        self.json.any_escape = false;
        let mut keys = Keys::NONE;
        let mut after = self.json.open(start, 2)?;
        loop {
            let at = match after {
                After::Next(at) => at,
                After::End(end) => return Ok(self.set_container(F::Metadata, start, end)),
            };
            let (key, escaped, value) = self.json.key(at)?;
            self.json.note_key(&mut keys, key, escaped);
            let end = self.json.value(value, 2, keys)?;
            self.note_metadata(key, escaped, value, end);
            after = self.json.after_member(end)?;
        }
    }

    #[inline]
    fn labels(&mut self, at: usize) -> Step<usize> {
        let start = self.json.blanks(at);
        if self.json.byte(start) != b'{' {
            return self.odd_container(start, F::Labels);
        }
        self.json.any_escape = false;
        let mut keys = Keys::NONE;
        let mut after = self.json.open(start, 2)?;
        // Bytes of the object if there is nothing between its tokens.
        let (mut bytes, mut says_all) = (1, true);
        loop {
            let at = match after {
                After::Next(at) => at,
                After::End(end) => {
                    let labels = &self.json.text[start..end];
                    self.found.plain_labels = bytes == labels.len()
                        && says_all
                        && !self.found.odd_label
                        && !self.json.any_escape
                        && memchr::memchr(b'.', labels).is_none();
                    return Ok(self.set_container(F::Labels, start, end));
                }
            };
            let (key, escaped, value) = self.json.key(at)?;
            self.json.note_key(&mut keys, key, escaped);
            self.found.odd_label |= self.json.byte(value) != b'"';
            let end = self.json.value(value, 2, keys)?;
            says_all &= !key.is_empty() && end - value > 2;
            bytes += key.len() + 4 + end - value;
            after = self.json.after_member(end)?;
        }
    }

    #[inline(always)]
    fn set_container(&mut self, id: F, start: usize, end: usize) -> usize {
        if self.json.any_escape {
            self.found.escaped |= id.bit();
        }
        self.set(id, start, end)
    }

    /// Metadata or labels that are no object.
    #[cold]
    fn odd_container(&mut self, start: usize, id: F) -> Step<usize> {
        self.json.any_escape = false;
        let end = self.json.value(start, 1, Keys::NONE)?;
        self.found.odd |= id.bit();
        Ok(self.set_container(id, start, end))
    }

    /// Notes the members of the metadata that are fields of their own, or ours.
    #[inline(always)]
    fn note_metadata(&mut self, key: &[u8], key_escaped: bool, start: usize, end: usize) {
        // Lengths and first letters of the five names; few others share them.
        let perhaps = matches!((key.len(), key.first()), (6..=12, Some(b's' | b't' | b'c')));
        self.found.velar |= key == b"velar" || key_escaped;
        if perhaps || key_escaped {
            self.note_perhaps(key, key_escaped, start, end);
        }
    }

    #[inline(never)]
    fn note_perhaps(&mut self, key: &[u8], key_escaped: bool, start: usize, end: usize) {
        let id = match key {
            b"trace_id" => F::TraceId,
            b"span_id" => F::SpanId,
            b"traceparent" => F::Traceparent,
            b"command_line" => F::CommandLine,
            _ => {
                if key == b"shrike" || key_escaped && is_same_key(key, b"shrike") {
                    self.found.shrike = Some(place(start, end));
                }
                return;
            }
        };
        // The last one counts, also when it is no string.
        self.places[id as usize] = Place::default();
        self.found.present &= !id.bit();
        self.found.escaped &= !id.bit();
        let value = &self.json.text[start..end];
        if value[0] == b'"' {
            let escaped = memchr::memchr(b'\\', value).is_some();
            self.found.escaped |= u64::from(escaped) << id as u8;
            self.set(id, start, end);
        }
    }
}

/// The place of a value in the record, which is shorter than 2 GiB.
#[inline(always)]
fn place(start: usize, end: usize) -> Place {
    Place::record(start as u32, (end - start) as u32)
}
