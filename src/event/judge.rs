//! Judges what one pass found: types, times, words, defaults, flags.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::enrich::Constant;
use super::home::Group;
use super::open::Opening;
use super::rewrite::{self, Kept, Remarks, appended};
use super::time::{self, Form};
use super::walk::Found;
use super::{
    Category, Class, Classes, EventType, FieldId as F, Frame, IndicatorType, Opened, Outcome,
    Place, Reject, ResourceType, Severity, Time, id,
};

/// The judgement of one record.
pub(super) struct Judge<'a> {
    opening: &'a Opening,
    frame: &'a Frame,
    record: &'a [u8],
    arena: &'a mut Vec<u8>,
    out: &'a mut Opened,
    flags: Classes,
    /// What goes to `metadata.shrike.source`.
    kept: Kept,
    /// Fields that were filled in.
    defaulted: u64,
}

/// The keys that tell a canonical event from other dialects (`inputs.md`, section 6, row 1), beside
/// the object `decision`.
const DETECTED: u64 = F::SchemaVersion.bit() | F::EventId.bit();

/// Fields without which there is no event. The agent's name and the severity have defaults.
const REQUIRED: u64 = DETECTED
    | F::EventType.bit()
    | F::EventCategory.bit()
    | F::Timestamp.bit()
    | F::AgentId.bit()
    | F::AgentVersion.bit()
    | F::AgentType.bit()
    | F::SessionId.bit()
    | F::Outcome.bit()
    | F::Action.bit()
    | F::Allowed.bit()
    | F::Guard.bit()
    | F::Reason.bit()
    | F::ResourceType.bit()
    | F::ResourceName.bit();

/// Fields that a blank text does not fill.
const NOT_BLANK: u64 =
    (REQUIRED | F::AgentName.bit()) & !(F::Reason.bit() | F::Timestamp.bit() | F::Allowed.bit());

/// The member of our remarks that lists flags.
static FLAGS: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new("flags"));

/// Both halves of an indicator; one alone says nothing.
const INDICATOR: u64 = F::IndicatorType.bit() | F::IndicatorValue.bit();

impl<'a> Judge<'a> {
    #[inline]
    pub(super) fn new(
        opening: &'a Opening,
        frame: &'a Frame,
        record: &'a [u8],
        arena: &'a mut Vec<u8>,
        out: &'a mut Opened,
    ) -> Self {
        let flags = frame.repaired;
        Self { opening, frame, record, arena, out, flags, kept: Kept::default(), defaulted: 0 }
    }

    /// Judges the record; `Err` when it is no event.
    #[inline]
    pub(super) fn judge(mut self, found: &Found) -> Result<(), Reject> {
        self.out.escaped = found.escaped;
        self.out.intel = false;
        self.out.plain_labels = found.plain_labels;
        self.out.may_velar = found.velar;
        if found.present & DETECTED != DETECTED || found.objects & Group::Decision.bit() == 0 {
            return Err(self.reject(Class::UnknownFormat, None));
        }
        if found.odd != 0 || found.odd_objects != 0 {
            self.odd(found)?;
        }
        let missing = REQUIRED & !found.present;
        if missing != 0 {
            let field = F::ALL.iter().copied().find(|id| missing & id.bit() != 0);
            return Err(self.reject(Class::MissingField, field));
        }
        self.identity(found);
        self.times()?;
        self.words();
        self.severity();
        self.optional(found);
        self.enrich(found);
        self.metadata(found);
        self.remark(found);
        Ok(())
    }

    #[cold]
    fn reject(&self, class: Class, field: Option<F>) -> Reject {
        Reject { class, at: 0, field }
    }

    #[inline(always)]
    fn has(&self, id: F) -> bool {
        self.out.places[id as usize].is_present()
    }

    #[inline(always)]
    fn json(&self, id: F) -> &[u8] {
        self.out.places[id as usize].bytes(self.record, self.arena)
    }

    /// The text of a string without its quotes.
    #[inline(always)]
    fn text(&self, id: F) -> &[u8] {
        text(self.json(id))
    }

    /// Whether a text is there and more than blanks.
    #[inline(always)]
    fn says(&self, id: F) -> bool {
        self.has(id) && !rewrite::is_blank_text(self.json(id))
    }

    fn clear(&mut self, id: F) {
        self.out.places[id as usize] = Place::default();
        self.out.escaped &= !id.bit();
    }

    /// Replaces a field by what was appended to the arena since `start`.
    fn replace(&mut self, id: F, start: usize) {
        self.out.places[id as usize] = appended(self.arena, start);
        let escaped = memchr::memchr(b'\\', &self.arena[start..]).is_some();
        self.out.escaped &= !id.bit();
        self.out.escaped |= u64::from(escaped) << id as u8;
    }

    fn default(&mut self, id: F, constant: Constant) {
        constant.put(id, self.out);
        self.defaulted |= id.bit();
    }

    /// Drops an optional value that cannot be used; the original is kept.
    fn drop_unusable(&mut self, id: F) {
        self.flags.insert(Class::OutOfRange);
        self.kept.fields |= id.bit();
        self.clear(id);
    }

    /// Values that are not of their field's type.
    #[cold]
    fn odd(&mut self, found: &Found) -> Result<(), Reject> {
        for &id in F::ALL.iter().filter(|id| found.odd & id.bit() != 0) {
            let is_null = self.json(id) == b"null";
            let has_default = id == F::AgentName || id == F::Severity;
            match id {
                F::Metadata if !is_null => {}
                _ if is_null && (REQUIRED & id.bit() == 0) => self.clear(id),
                _ if REQUIRED & id.bit() != 0 || has_default => {
                    return Err(self.reject(Class::WrongType, Some(id)));
                }
                _ => self.drop_unusable(id),
            }
        }
        for (group, field) in [
            (Group::Agent, F::AgentId),
            (Group::Session, F::SessionId),
            (Group::Resource, F::ResourceType),
        ] {
            if found.odd_objects & group.bit() != 0 {
                return Err(self.reject(Class::WrongType, Some(field)));
            }
        }
        for group in [Group::Threat, Group::Indicator] {
            if found.odd_objects & group.bit() != 0 {
                self.kept.groups |= group.bit();
                self.flags.insert(Class::OutOfRange);
            }
        }
        Ok(())
    }

    /// Version, id, agent: blank texts are replaced, ids become UUIDs.
    #[inline]
    fn identity(&mut self, found: &Found) {
        if found.perhaps_blank & NOT_BLANK != 0 {
            self.blank(found.perhaps_blank & NOT_BLANK);
        }
        if !self.has(F::AgentName) {
            self.name_agent();
        }
        let version = self.text(F::SchemaVersion);
        if !(version.starts_with(b"1.") || version == b"1") || found.unknown {
            self.flags.insert(Class::UnknownSchemaVersion);
        }
        if found.duplicate {
            self.flags.insert(Class::DuplicateKey);
        }
        if !id::is_uuid(self.text(F::EventId)) {
            self.identify();
        }
    }

    /// Required texts that are perhaps blank.
    #[cold]
    fn blank(&mut self, perhaps: u64) {
        for &id in F::ALL.iter().filter(|id| perhaps & id.bit() != 0) {
            if !rewrite::is_blank(self.text(id)) {
                continue;
            }
            self.flags.insert(Class::EmptyField);
            let constant = match id {
                F::SchemaVersion => self.opening.version,
                F::AgentId => self.opening.agent_id,
                F::SessionId => self.opening.session_id,
                F::Guard => self.opening.engine,
                // These have rules of their own, which see that nothing is there.
                F::AgentName | F::EventId => {
                    self.clear(id);
                    continue;
                }
                _ => self.opening.unknown,
            };
            self.default(id, constant);
        }
    }

    /// The agent's name falls back to its id.
    #[cold]
    fn name_agent(&mut self) {
        self.out.places[F::AgentName as usize] = self.out.places[F::AgentId as usize];
        let escaped = self.out.escaped & F::AgentId.bit() != 0;
        self.out.escaped |= u64::from(escaped) << F::AgentName as u8;
        self.defaulted |= F::AgentName.bit();
    }

    /// Makes a UUID of another id (`inputs.md` 7.0).
    #[cold]
    fn identify(&mut self) {
        let source_id = if self.has(F::EventId) { self.text(F::EventId) } else { b"" };
        let text = rewrite::unescape(source_id);
        let known = id::uuid_of(&text);
        let derive = || id::derived_id("security_event", source_id, self.record);
        let uuid = known.unwrap_or_else(derive);
        let is_respelled = known.is_some_and(|uuid| text.eq_ignore_ascii_case(&uuid));
        if !is_respelled && !source_id.is_empty() {
            self.kept.fields |= F::EventId.bit();
        }
        let start = self.arena.len();
        rewrite::quote(&uuid, self.arena);
        self.replace(F::EventId, start);
    }

    #[inline]
    fn times(&mut self) -> Result<(), Reject> {
        let Some(stamp) = time::parse(self.text(F::Timestamp)) else {
            return Err(self.reject(Class::BadTimestamp, Some(F::Timestamp)));
        };
        self.out.time = stamp.time;
        if stamp.form != Form::Canonical {
            self.respell(F::Timestamp, stamp);
        }
        if self.has(F::IngestedAt) {
            match time::parse(self.text(F::IngestedAt)) {
                Some(stamp) if stamp.form == Form::Canonical => {}
                Some(stamp) => self.respell(F::IngestedAt, stamp),
                None => self.drop_unusable(F::IngestedAt),
            }
        }
        let received_ns = self.frame.received_ns;
        // A frame without a time of receipt (a dry run) has no clock to compare with.
        if received_ns == 0 {
            return Ok(());
        }
        let received = Time {
            secs: (received_ns / 1_000_000_000) as i64,
            nanos: (received_ns % 1_000_000_000) as u32,
        };
        let ahead = stamp.time.secs - received.secs;
        let future = i64::from(self.opening.options.max_future_skew_secs);
        let past = i64::from(self.opening.options.max_past_age_secs);
        if ahead > future || ahead < -past {
            self.flags.insert(Class::ClockSkew);
        }
        if self.opening.options.ingested_at && !self.has(F::IngestedAt) {
            let start = self.arena.len();
            time::write_millis(received, self.arena);
            self.out.places[F::IngestedAt as usize] = appended(self.arena, start);
        }
        Ok(())
    }

    /// Writes a time in the canonical spelling; the original is kept.
    #[cold]
    fn respell(&mut self, id: F, stamp: time::Stamp) {
        if stamp.form == Form::NoZone {
            self.flags.insert(Class::TimestampNoZone);
        }
        self.kept.fields |= id.bit();
        let start = self.arena.len();
        time::write(stamp.time, self.arena);
        self.replace(id, start);
    }

    #[inline]
    fn words(&mut self) {
        let event_type = EventType::parse(self.text(F::EventType));
        let category = Category::parse(self.text(F::EventCategory));
        let outcome = Outcome::parse(self.text(F::Outcome));
        let resource_type = ResourceType::parse(self.text(F::ResourceType));
        let allowed = self.json(F::Allowed) == b"true";
        let unknown = event_type == EventType::Other
            || category == Category::Other
            || outcome == Outcome::Other
            || resource_type == ResourceType::Other;
        // A blank word was replaced already and flagged as empty.
        if unknown && self.is_unknown_word() {
            self.flags.insert(Class::UnknownEnum);
        }
        if matches!((allowed, outcome), (true, Outcome::Failure) | (false, Outcome::Success)) {
            self.flags.insert(Class::InconsistentOutcome);
        }
        self.out.event_type = event_type;
        self.out.category = category;
        self.out.outcome = outcome;
        self.out.resource_type = resource_type;
        self.out.allowed = allowed;
    }

    /// Whether one of the words is of no enumeration and not of our making either.
    #[cold]
    fn is_unknown_word(&self) -> bool {
        let ours = |id: F| self.defaulted & id.bit() != 0;
        (EventType::parse(self.text(F::EventType)) == EventType::Other && !ours(F::EventType))
            || (Category::parse(self.text(F::EventCategory)) == Category::Other
                && !ours(F::EventCategory))
            || (Outcome::parse(self.text(F::Outcome)) == Outcome::Other && !ours(F::Outcome))
            || (ResourceType::parse(self.text(F::ResourceType)) == ResourceType::Other
                && !ours(F::ResourceType))
    }

    #[inline]
    fn severity(&mut self) {
        if self.has(F::Severity) {
            let word = self.text(F::Severity);
            if let Some(&severity) =
                Severity::ALL.iter().find(|severity| severity.word().as_bytes() == word)
            {
                self.out.severity = severity;
                return;
            }
        }
        self.odd_severity();
    }

    /// A severity that is absent or not one of the five words.
    ///
    /// A denial must never fall to `info`: it would be filtered out of every alert.
    #[cold]
    fn odd_severity(&mut self) {
        let word = if self.has(F::Severity) { self.text(F::Severity) } else { b"" };
        let known = Severity::parse(word);
        if rewrite::is_blank(word) {
            if self.has(F::Severity) {
                self.flags.insert(Class::EmptyField);
            }
        } else {
            self.kept.fields |= F::Severity.bit();
            if known.is_none() {
                self.flags.insert(Class::UnknownEnum);
            }
        }
        let rule = if self.out.allowed { Severity::Info } else { Severity::High };
        let severity = known.unwrap_or(rule);
        if known.is_none() {
            self.defaulted |= F::Severity.bit();
        }
        self.out.severity = severity;
        self.opening.severities[severity as usize].put(F::Severity, self.out);
    }

    /// The port and the indicator.
    #[inline]
    fn optional(&mut self, found: &Found) {
        if self.has(F::ResourcePort) {
            match port(self.json(F::ResourcePort)) {
                Some(0) => self.clear(F::ResourcePort),
                Some(_) => {}
                None => self.drop_unusable(F::ResourcePort),
            }
        }
        self.out.indicator_type = IndicatorType::Other;
        let indicator = found.present & INDICATOR;
        if indicator == 0 {
            return;
        }
        if indicator != INDICATOR || !self.has(F::IndicatorType) || !self.has(F::IndicatorValue) {
            return self.half_indicator();
        }
        self.out.indicator_type = IndicatorType::parse(self.text(F::IndicatorType));
        if self.out.indicator_type == IndicatorType::Other {
            self.flags.insert(Class::UnknownEnum);
        }
    }

    #[cold]
    fn half_indicator(&mut self) {
        for id in [F::IndicatorType, F::IndicatorValue] {
            if self.has(id) {
                self.drop_unusable(id);
            }
        }
    }

    /// Constants and the ATT&CK table, in the order of `canonical-event.md`, Enrichment.
    #[inline]
    fn enrich(&mut self, found: &Found) {
        let opening = self.opening;
        for (id, constant) in
            [(F::SessionEnvironment, opening.environment), (F::SessionTenantId, opening.tenant_id)]
        {
            // A blank text in the event is no explicit value.
            if let Some(constant) = constant
                && !self.says(id)
            {
                constant.put(id, self.out);
            }
        }
        self.labels(found);
        if !self.says(F::Technique) {
            let text = |id: F| text(self.out.places[id as usize].bytes(self.record, self.arena));
            let tactic = self.says(F::Tactic).then(|| text(F::Tactic));
            let (guard, event_type) = (text(F::Guard), text(F::EventType));
            opening.techniques.apply(guard, event_type, tactic, self.out);
        }
    }

    #[inline]
    fn labels(&mut self, found: &Found) {
        let configured = self.opening.labels_object;
        if !self.has(F::Labels) || self.json(F::Labels) == b"{}" {
            if let Some(constant) = configured {
                constant.put(F::Labels, self.out);
                self.out.plain_labels = false;
            }
        } else if configured.is_some() || found.odd_label || found.may_repeat {
            self.rewrite_labels(found);
        }
    }

    /// Labels that are not all strings, may repeat, or are joined by configured ones.
    fn rewrite_labels(&mut self, found: &Found) {
        // Labels still lie in the record: nothing replaces them before.
        let labels = self.out.places[F::Labels as usize].bytes(self.record, &[]);
        let mut once = Vec::new();
        let repeated = found.may_repeat && rewrite::without_repeats(labels, &mut once);
        if repeated {
            self.flags.insert(Class::DuplicateKey);
        }
        if found.odd_label {
            self.flags.insert(Class::LabelType);
        }
        let start = self.arena.len();
        let labels = if repeated { &once } else { labels };
        rewrite::labels(labels, &self.opening.labels, self.arena);
        self.replace(F::Labels, start);
        self.out.plain_labels = false;
    }

    #[inline]
    fn metadata(&mut self, found: &Found) {
        let odd = found.odd & F::Metadata.bit() != 0;
        if self.has(F::Metadata) && (odd || found.may_repeat || found.shrike.is_some()) {
            if self.cut_metadata(found) {
                return;
            }
            self.rewrite_metadata(found);
        }
    }

    /// Metadata that is no object, may repeat keys, or holds our reserved member.
    #[cold]
    fn rewrite_metadata(&mut self, found: &Found) {
        let mut once = Vec::new();
        if found.may_repeat && rewrite::without_repeats(self.json(F::Metadata), &mut once) {
            self.flags.insert(Class::DuplicateKey);
        } else {
            once.clear();
            once.extend_from_slice(self.json(F::Metadata));
        }
        let start = self.arena.len();
        rewrite::metadata(&once, self.arena);
        self.replace(F::Metadata, start);
    }

    /// Metadata that intake wrote: our member is the last one and is cut off. Whether it was so.
    fn cut_metadata(&mut self, found: &Found) -> bool {
        let (Some(shrike), false) = (found.shrike, found.may_repeat) else { return false };
        if !self.frame.mapped || found.odd & F::Metadata.bit() != 0 {
            return false;
        }
        let record = self.record;
        let metadata = self.out.places[F::Metadata as usize].bytes(record, &[]);
        let shrike = shrike.bytes(record, &[]);
        let before = metadata.strip_suffix(b"}").and_then(|rest| rest.strip_suffix(shrike));
        let before = before.and_then(|rest| rest.strip_suffix(b"\"shrike\":"));
        let own = match before {
            Some([b'{']) => &b"{"[..],
            Some([own @ .., b',']) => own,
            _ => return false,
        };
        let start = self.arena.len();
        self.arena.extend_from_slice(own);
        self.arena.push(b'}');
        // Without a backslash in all of it, there is none in this part.
        match found.escaped & F::Metadata.bit() {
            0 => self.out.places[F::Metadata as usize] = appended(self.arena, start),
            _ => self.replace(F::Metadata, start),
        }
        true
    }

    /// What is to be said of the event under `metadata.shrike`.
    #[inline]
    fn remark(&mut self, found: &Found) {
        let nothing = self.flags.is_empty()
            && self.defaulted == 0
            && self.kept == Kept::default()
            && found.shrike.is_none();
        if (!nothing || found.unknown) && !self.copy_remarks(found) {
            self.write_remarks(found);
        }
        self.out.flags = self.flags;
    }

    /// Takes over what intake wrote, where nothing is to be added; whether it was so.
    fn copy_remarks(&mut self, found: &Found) -> bool {
        let is_ours = self.frame.mapped
            && self.flags.is_empty()
            && self.defaulted == 0
            && self.kept == Kept::default()
            && !found.unknown
            && !found.may_repeat;
        let Some(place) = found.shrike.filter(|_| is_ours) else { return false };
        let shrike = place.bytes(self.record, &[]);
        // Flags are to be read, and what is no object of ours is nothing.
        if shrike.len() <= 2 || shrike[0] != b'{' || FLAGS.find(shrike).is_some() {
            return false;
        }
        let may_escape = found.escaped & F::Metadata.bit() != 0;
        let escaped = may_escape && memchr::memchr(b'\\', shrike).is_some();
        self.out.places[F::Shrike as usize] = place;
        self.out.escaped &= !F::Shrike.bit();
        self.out.escaped |= u64::from(escaped) << F::Shrike as u8;
        true
    }

    #[cold]
    fn write_remarks(&mut self, found: &Found) {
        let own = found.shrike.map(|place| place.bytes(self.record, self.arena).to_vec());
        let (mapped, displaced) = if self.frame.mapped { (own, None) } else { (None, own) };
        let mut members = Vec::new();
        if found.unknown || self.kept != Kept::default() {
            rewrite::source(Group::Root, self.record.trim_ascii_start(), self.kept, &mut members);
            self.flags = self.flags.union(rewrite::drop_repeated_members(&mut members));
        }
        let remarks = Remarks {
            mapped: mapped.as_deref(),
            source: members,
            defaulted: self.defaulted,
            flags: self.flags,
            displaced: displaced.as_deref(),
        };
        let start = self.arena.len();
        self.flags = rewrite::shrike(&remarks, self.arena);
        self.replace(F::Shrike, start);
    }
}

/// The text of a JSON string; the whole of anything else.
#[inline(always)]
fn text(json: &[u8]) -> &[u8] {
    match json {
        [b'"', text @ .., b'"'] => text,
        other => other,
    }
}

/// A port, if it is one: a whole number that fits 16 bits.
fn port(json: &[u8]) -> Option<u16> {
    str::from_utf8(json).ok()?.parse().ok()
}
