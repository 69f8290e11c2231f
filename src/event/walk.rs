//! One pass over a record: checks the JSON, finds the canonical fields.
//!
//! Producers write the canonical order without blanks, so each object is read as if its members came
//! in that order: a comparison with the next key at a known place, which the processor predicts. What
//! remains (other orders, unknown members, keys with escapes) goes through a general loop.

use super::home::{Group, Member, is_same_key, lookup};
use super::json::{Json, Step};
use super::{Class, FieldId as F, Place};

/// What one pass over a record found, beside the places.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    /// Fields that are there, of whatever type, by [`F::bit`].
    pub present: u64,
    /// Fields whose value is not of the expected type.
    pub odd: u64,
    /// Strings that are empty or start with a blank or a backslash: perhaps blank.
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
    /// Whether half of a surrogate pair stands alone somewhere.
    pub lone: bool,
    /// The member `shrike` of the metadata.
    pub shrike: Option<Place>,
}

/// Reads a whole record.
///
/// The text must be UTF-8 and shorter than 2 GiB; places are relative to it. A refusal is a class
/// and the byte where reading stopped.
#[inline]
pub(super) fn walk(
    text: &[u8],
    depth_max: usize,
    places: &mut [Place; F::COUNT],
) -> Result<Found, (Class, usize)> {
    *places = [Place::default(); F::COUNT];
    let json = Json::new(text, depth_max);
    let mut walk = Walk { json, places, found: Found::default() };
    match walk.record() {
        Ok(()) => {
            let Walk { json, found, .. } = walk;
            Ok(Found { may_repeat: json.suspect, lone: json.lone, ..found })
        }
        Err(class) => Err((class, walk.json.at)),
    }
}

struct Walk<'a> {
    json: Json<'a>,
    places: &'a mut [Place; F::COUNT],
    found: Found,
}

impl Walk<'_> {
    #[inline(always)]
    fn record(&mut self) -> Step {
        self.json.blanks();
        if self.json.peek() != b'{' {
            return Err(self.json.no_object());
        }
        self.object(Group::Root, 1, Self::root_in_order)?;
        self.json.blanks();
        if self.json.is_at_end() { Ok(()) } else { Err(Class::TrailingData) }
    }

    /// An object whose members have canonical homes; `in_order` reads those that come in canonical
    /// order and says whether any are left.
    #[inline(always)]
    fn object(
        &mut self,
        group: Group,
        depth: usize,
        in_order: impl FnOnce(&mut Self) -> Step<bool>,
    ) -> Step {
        if self.json.open(depth)? && in_order(self)? {
            return self.in_any_order(group, depth);
        }
        Ok(())
    }

    /// The value of a member that should be an object with canonical members.
    #[inline(always)]
    fn group(
        &mut self,
        group: Group,
        depth: usize,
        in_order: impl FnOnce(&mut Self) -> Step<bool>,
    ) -> Step {
        self.json.blanks();
        if self.json.peek() == b'{' {
            self.found.objects |= group.bit();
            return self.object(group, depth, in_order);
        }
        self.found.odd_objects |= group.bit();
        self.json.value(depth - 1)
    }

    /// The same, for a group that only the record tells.
    fn any_group(&mut self, group: Group, depth: usize) -> Step {
        match group {
            // The root is in no object; its key is none.
            Group::Root => Err(Class::JsonSyntax),
            Group::Agent => self.group(group, depth, Self::agent_in_order),
            Group::Session => self.group(group, depth, Self::session_in_order),
            Group::Threat => self.group(group, depth, Self::threat_in_order),
            Group::Indicator => self.group(group, depth, Self::indicator_in_order),
            Group::Decision => self.group(group, depth, Self::decision_in_order),
            Group::Resource => self.group(group, depth, Self::resource_in_order),
        }
    }
}

/// Reads the member with this key if it is next; returns from the function when the object ends.
macro_rules! next {
    ($walk:ident, $key:literal, $read:expr) => {
        if $walk.json.eat($key) {
            $read?;
            if !$walk.json.more()? {
                return Ok(false);
            }
        }
    };
}

/// The canonical order of each object. They return whether members are left.
impl Walk<'_> {
    #[inline(always)]
    fn root_in_order(&mut self) -> Step<bool> {
        next!(self, b"\"schema_version\":", self.text_field(F::SchemaVersion));
        next!(self, b"\"event_id\":", self.text_field(F::EventId));
        next!(self, b"\"event_type\":", self.text_field(F::EventType));
        next!(self, b"\"event_category\":", self.text_field(F::EventCategory));
        next!(self, b"\"timestamp\":", self.text_field(F::Timestamp));
        next!(self, b"\"ingested_at\":", self.text_field(F::IngestedAt));
        next!(self, b"\"agent\":", self.group(Group::Agent, 2, Self::agent_in_order));
        next!(self, b"\"session\":", self.group(Group::Session, 2, Self::session_in_order));
        next!(self, b"\"outcome\":", self.text_field(F::Outcome));
        next!(self, b"\"action\":", self.text_field(F::Action));
        next!(self, b"\"threat\":", self.group(Group::Threat, 2, Self::threat_in_order));
        next!(self, b"\"decision\":", self.group(Group::Decision, 2, Self::decision_in_order));
        next!(self, b"\"resource\":", self.group(Group::Resource, 2, Self::resource_in_order));
        next!(self, b"\"metadata\":", self.metadata());
        next!(self, b"\"labels\":", self.labels());
        Ok(true)
    }

    #[inline(always)]
    fn agent_in_order(&mut self) -> Step<bool> {
        next!(self, b"\"id\":", self.text_field(F::AgentId));
        next!(self, b"\"name\":", self.text_field(F::AgentName));
        next!(self, b"\"version\":", self.text_field(F::AgentVersion));
        next!(self, b"\"type\":", self.text_field(F::AgentType));
        Ok(true)
    }

    #[inline(always)]
    fn session_in_order(&mut self) -> Step<bool> {
        next!(self, b"\"id\":", self.text_field(F::SessionId));
        next!(self, b"\"user_id\":", self.text_field(F::SessionUserId));
        next!(self, b"\"tenant_id\":", self.text_field(F::SessionTenantId));
        next!(self, b"\"environment\":", self.text_field(F::SessionEnvironment));
        Ok(true)
    }

    #[inline(always)]
    fn threat_in_order(&mut self) -> Step<bool> {
        next!(self, b"\"indicator\":", self.group(Group::Indicator, 3, Self::indicator_in_order));
        next!(self, b"\"tactic\":", self.text_field(F::Tactic));
        next!(self, b"\"technique\":", self.text_field(F::Technique));
        Ok(true)
    }

    #[inline(always)]
    fn indicator_in_order(&mut self) -> Step<bool> {
        next!(self, b"\"type\":", self.text_field(F::IndicatorType));
        next!(self, b"\"value\":", self.text_field(F::IndicatorValue));
        Ok(true)
    }

    #[inline(always)]
    fn decision_in_order(&mut self) -> Step<bool> {
        next!(self, b"\"allowed\":", self.allowed());
        next!(self, b"\"guard\":", self.text_field(F::Guard));
        next!(self, b"\"severity\":", self.text_field(F::Severity));
        next!(self, b"\"reason\":", self.text_field(F::Reason));
        next!(self, b"\"policy_hash\":", self.text_field(F::PolicyHash));
        next!(self, b"\"ruleset\":", self.text_field(F::Ruleset));
        Ok(true)
    }

    #[inline(always)]
    fn resource_in_order(&mut self) -> Step<bool> {
        next!(self, b"\"type\":", self.text_field(F::ResourceType));
        next!(self, b"\"name\":", self.text_field(F::ResourceName));
        next!(self, b"\"path\":", self.text_field(F::ResourcePath));
        next!(self, b"\"host\":", self.text_field(F::ResourceHost));
        next!(self, b"\"port\":", self.port());
        Ok(true)
    }

    /// The members that are left, by lookup.
    #[inline(never)]
    fn in_any_order(&mut self, group: Group, depth: usize) -> Step {
        let keys_base = self.json.keys_len();
        loop {
            let (key, escaped) = self.json.key()?;
            match lookup(group, key, escaped) {
                Some(member) => self.member(member, depth)?,
                None => {
                    self.found.unknown = true;
                    self.json.note_key(keys_base, key, escaped);
                    self.json.value(depth)?;
                }
            }
            if !self.json.more()? {
                self.json.forget_keys(keys_base);
                return Ok(());
            }
        }
    }

    /// The value of a canonical member out of its order; a second one replaces the first.
    fn member(&mut self, member: Member, depth: usize) -> Step {
        match member {
            Member::Text(id) => {
                self.forget(id.bit());
                self.text_field(id)
            }
            Member::Allowed => {
                self.forget(F::Allowed.bit());
                self.allowed()
            }
            Member::Port => {
                self.forget(F::ResourcePort.bit());
                self.port()
            }
            Member::Object(group) => {
                if (self.found.objects | self.found.odd_objects) & group.bits() != 0 {
                    self.found.duplicate = true;
                    self.found.objects &= !group.bits();
                    self.found.odd_objects &= !group.bits();
                }
                self.forget(group.fields());
                self.any_group(group, depth + 1)
            }
            Member::Metadata => {
                self.forget(METADATA);
                self.found.shrike = None;
                self.metadata()
            }
            Member::Labels => {
                self.forget(F::Labels.bit());
                self.found.odd_label = false;
                self.labels()
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

/// Values of canonical members.
impl Walk<'_> {
    #[inline(always)]
    fn set(&mut self, id: F, start: usize) {
        self.places[id as usize] = Place::record(start as u32, (self.json.at - start) as u32);
        self.found.present |= id.bit();
    }

    #[inline(always)]
    fn text_field(&mut self, id: F) -> Step {
        self.json.blanks();
        if self.json.peek() != b'"' {
            return self.odd_field(id);
        }
        let start = self.json.at;
        let escaped = self.json.string()?;
        let first = self.json.text[start + 1];
        self.found.escaped |= u64::from(escaped) << id as u8;
        self.found.perhaps_blank |= u64::from(first <= b'"' || first == b'\\') << id as u8;
        self.set(id, start);
        Ok(())
    }

    /// A value that is not of the field's type.
    #[cold]
    fn odd_field(&mut self, id: F) -> Step {
        let start = self.json.at;
        let depth = 1 + id.path().bytes().filter(|&byte| byte == b'.').count();
        self.json.value(depth)?;
        self.found.odd |= id.bit();
        self.set(id, start);
        Ok(())
    }

    #[inline(always)]
    fn allowed(&mut self) -> Step {
        self.json.blanks();
        let start = self.json.at;
        if !self.json.eat(b"true") && !self.json.eat(b"false") {
            return self.odd_field(F::Allowed);
        }
        self.set(F::Allowed, start);
        Ok(())
    }

    #[inline(always)]
    fn port(&mut self) -> Step {
        self.json.blanks();
        let start = self.json.at;
        if !self.json.peek().is_ascii_digit() {
            return self.odd_field(F::ResourcePort);
        }
        self.json.number()?;
        self.set(F::ResourcePort, start);
        Ok(())
    }

    #[inline]
    fn metadata(&mut self) -> Step {
        self.json.blanks();
        let start = self.json.at;
        self.json.any_escape = false;
        if self.json.peek() != b'{' {
            self.json.value(1)?;
            self.found.odd |= F::Metadata.bit();
        } else {
            self.metadata_members()?;
        }
        self.found.escaped |= u64::from(self.json.any_escape) << F::Metadata as u8;
        self.set(F::Metadata, start);
        Ok(())
    }

    #[inline]
    fn metadata_members(&mut self) -> Step {
        let keys_base = self.json.keys_len();
        let mut more = self.json.open(2)?;
        while more {
            let (key, escaped) = self.json.key()?;
            self.json.note_key(keys_base, key, escaped);
            let start = self.json.at;
            self.json.value(2)?;
            self.note_metadata(key, escaped, start);
            more = self.json.more()?;
        }
        self.json.forget_keys(keys_base);
        Ok(())
    }

    #[inline]
    fn label_members(&mut self) -> Step {
        let keys_base = self.json.keys_len();
        let mut more = self.json.open(2)?;
        while more {
            let (key, escaped) = self.json.key()?;
            self.json.note_key(keys_base, key, escaped);
            self.found.odd_label |= self.json.peek() != b'"';
            self.json.value(2)?;
            more = self.json.more()?;
        }
        self.json.forget_keys(keys_base);
        Ok(())
    }

    /// Notes the members of the metadata that are fields of their own, or ours.
    #[inline]
    fn note_metadata(&mut self, key: &[u8], key_escaped: bool, start: usize) {
        let id = match key {
            b"trace_id" => F::TraceId,
            b"span_id" => F::SpanId,
            b"traceparent" => F::Traceparent,
            b"command_line" => F::CommandLine,
            b"shrike" => {
                self.found.shrike =
                    Some(Place::record(start as u32, (self.json.at - start) as u32));
                return;
            }
            _ => {
                if key_escaped && is_same_key(key, b"shrike") {
                    self.found.shrike =
                        Some(Place::record(start as u32, (self.json.at - start) as u32));
                }
                return;
            }
        };
        // The last one counts, also when it is no string.
        self.places[id as usize] = Place::default();
        self.found.present &= !id.bit();
        self.found.escaped &= !id.bit();
        if self.json.text[start] == b'"' {
            let escaped = memchr::memchr(b'\\', &self.json.text[start..self.json.at]).is_some();
            self.found.escaped |= u64::from(escaped) << id as u8;
            self.set(id, start);
        }
    }

    #[inline]
    fn labels(&mut self) -> Step {
        self.json.blanks();
        let start = self.json.at;
        self.json.any_escape = false;
        if self.json.peek() != b'{' {
            self.json.value(1)?;
            self.found.odd |= F::Labels.bit();
        } else {
            self.label_members()?;
        }
        self.found.escaped |= u64::from(self.json.any_escape) << F::Labels as u8;
        self.set(F::Labels, start);
        Ok(())
    }
}
