//! OpenTelemetry: logs as OTLP/JSON, of which one line holds many records (`inputs.md` 4).
//!
//! Audit records that hushd sends this way are unwrapped; those of Claude Code have rules of their
//! own. Everything else is what a program said: nothing was decided, and nobody knows how it ended.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::attributes::Attributes;
use super::draft::{Draft, member, string};
use super::rules::{find, last_of_each};
use super::{audit, claude_code};
use crate::event::{
    Class, Entry, FieldId as F, Severity, Time, elements, entries, is_blank_text, unescape, values,
    write_time,
};
use crate::intake::{Dialect, Kind, Mapped, Mode, Source};

/// One export, with its resources, scopes and records.
pub(super) static OTLP: Dialect =
    Dialect { name: NAME, keys: &[("resourceLogs", Kind::Any)], mode: Mode::Append, map };

const NAME: &str = "otlp.logs";
/// When something happened, as its source says.
const TIME: &str = "timeUnixNano";

/// A record with what it belongs to.
pub(super) struct Record<'a> {
    pub(super) members: &'a [Entry<'a>],
    pub(super) own: &'a Attributes<'a>,
    pub(super) group: &'a Group<'a>,
}

/// What records of one scope share.
pub(super) struct Group<'a> {
    resource: &'a [u8],
    pub(super) resource_attributes: Attributes<'a>,
    scope: &'a [u8],
    /// Members of the lists around that have no home elsewhere, as objects with their names.
    rest: Vec<(&'static str, Vec<u8>)>,
}

fn map(source: &Source<'_>, out: &mut Mapped) -> Result<(), Class> {
    let resources = find(source.members, "resourceLogs").ok_or(Class::MissingField)?;
    if resources.first() != Some(&b'[') {
        return Err(Class::WrongType);
    }
    for resource_logs in elements(resources) {
        let resource_logs = entries(resource_logs);
        let scopes = find(&resource_logs, "scopeLogs").map(elements).unwrap_or_default();
        for scope_logs in scopes {
            let scope_logs = entries(scope_logs);
            let group = Group::read(&resource_logs, &scope_logs);
            let records = find(&scope_logs, "logRecords").map(elements).unwrap_or_default();
            group.map(&records, source, out)?;
        }
    }
    Ok(())
}

impl<'a> Group<'a> {
    fn read(resource_logs: &[Entry<'a>], scope_logs: &[Entry<'a>]) -> Self {
        let resource = find(resource_logs, "resource").unwrap_or_default();
        let members = entries(resource);
        let resource_attributes = Attributes::read(find(&members, "attributes"));
        let mut others = Vec::new();
        if let Some(list) = resource_attributes.others() {
            member(b"attributes", &list, &mut others);
        }
        let rest = [
            ("resource", rest(&members, &["attributes"], others)),
            ("resourceLogs", rest(resource_logs, &["resource", "scopeLogs"], Vec::new())),
            ("scopeLogs", rest(scope_logs, &["scope", "logRecords"], Vec::new())),
        ];
        Self {
            resource,
            resource_attributes,
            scope: find(scope_logs, "scope").unwrap_or_default(),
            rest: rest.into_iter().filter(|(_, object)| !object.is_empty()).collect(),
        }
    }

    /// Maps the records of one scope; what is none is refused without its neighbours.
    fn map(&self, records: &[&[u8]], source: &Source<'_>, out: &mut Mapped) -> Result<(), Class> {
        // The group is hashed once: it may be long, and its records many.
        let mut hash = Sha256::new();
        hash.update(self.resource);
        hash.update([0x1f]);
        hash.update(self.scope);
        let group = hash.finalize();
        let mut repeats: HashMap<&[u8], u32> = HashMap::new();
        for record in records {
            // Each event repeats what its group says, so that a line could grow without bound.
            if out.bytes() > MAPPED_BYTES_MAX {
                return Err(Class::Oversize);
            }
            let repeat = repeats.entry(record).or_default();
            let mut part = [&group[..], &[0x1f], record].concat();
            if *repeat > 0 {
                part.extend_from_slice(format!("\u{1f}{repeat}").as_bytes());
            }
            *repeat += 1;
            if record.first() != Some(&b'{') {
                out.refuse(Class::NotObject, &self.alone(record));
                continue;
            }
            let members = entries(record);
            let part = Source { line: &part, members: &members, ..*source };
            let own = Attributes::read(find(&members, "attributes"));
            let one = Record { members: &members, own: &own, group: self };
            if let Err(class) = one.map(&part, out) {
                out.refuse(class, &self.alone(record));
            }
        }
        Ok(())
    }
}

impl Group<'_> {
    /// An export of this record alone, so that what was refused can be tried again.
    fn alone(&self, record: &[u8]) -> Vec<u8> {
        let around = |name: &str, value: &[u8]| match value.is_empty() {
            true => Vec::new(),
            false => [b"\"", name.as_bytes(), b"\":", value, b","].concat(),
        };
        let (resource, scope) = (around("resource", self.resource), around("scope", self.scope));
        let beside = |list: &str| {
            let (_, object) = self.rest.iter().find(|(name, _)| *name == list)?;
            Some([&object[1..object.len() - 1], b","].concat())
        };
        let beside = |list| beside(list).unwrap_or_default();
        let head: &[u8] = b"{\"resourceLogs\":[{";
        let scopes = [&beside("resourceLogs")[..], b"\"scopeLogs\":[{"].concat();
        let records = [&beside("scopeLogs")[..], b"\"logRecords\":["].concat();
        [head, &resource, &scopes, &scope, &records, record, b"]}]}]}"].concat()
    }
}

impl<'a> Record<'a> {
    /// A text among the attributes of the record, or of its resource.
    pub(super) fn text(&self, name: &str) -> Option<&'a [u8]> {
        self.own.text(name).or_else(|| self.group.resource_attributes.text(name))
    }

    /// The body where it is a text.
    pub(super) fn body(&self) -> Option<&'a [u8]> {
        let body = entries_of(find(self.members, "body")?);
        find(&body, "stringValue").filter(|json| string(json).is_some())
    }

    /// The name of the event: an attribute, or a member in newer versions.
    pub(super) fn name(&self) -> Option<&'a [u8]> {
        let member = find(self.members, "eventName").filter(|json| !is_blank(json));
        self.own.text("event.name").or(member)
    }

    fn map(&self, part: &Source<'_>, out: &mut Mapped) -> Result<(), Class> {
        if let Some(raw) = self.own.text("hush.audit.raw_json")
            && self.unwrap(&unescape(string(raw).unwrap_or_default()), part, out)
        {
            return Ok(());
        }
        let mut draft = Draft::new(NAME, part);
        draft.id("log.record.uid", self.own.text("log.record.uid"));
        let time = self.time(&mut draft)?;
        match (self.body().filter(|json| !is_blank(json)), self.name()) {
            (Some(json), _) => draft.json(F::Reason, json),
            (None, Some(json)) => {
                draft.json(F::Reason, json);
                draft.mark_default(F::Reason);
            }
            (None, None) => draft.default(F::Reason, "log record"),
        }
        self.severity(&mut draft);
        self.agent(&mut draft);
        if !claude_code::decide(&mut draft, self) {
            self.observe(&mut draft);
        }
        self.metadata(&mut draft, time);
        draft.finish(out);
        Ok(())
    }

    /// hushd's own record, which one attribute holds as a whole; whether it was one.
    fn unwrap(&self, raw: &[u8], part: &Source<'_>, out: &mut Mapped) -> bool {
        let is_one = raw.first() == Some(&b'{') && str::from_utf8(raw).is_ok();
        if !is_one {
            return false;
        }
        let (found, is_whole) = values(raw);
        if !is_whole || found.len() != 1 {
            return false;
        }
        let members = entries(raw);
        if !audit::AUDIT.matches(&members) {
            return false;
        }
        let mut around = Vec::new();
        if !self.group.resource.is_empty() {
            member(b"resource", self.group.resource, &mut around);
        }
        if !self.group.scope.is_empty() {
            member(b"scope", self.group.scope, &mut around);
        }
        // The resource stands there as a whole.
        for (name, object) in self.group.rest.iter().filter(|(name, _)| *name != "resource") {
            member(name.as_bytes(), object, &mut around);
        }
        let message = find(&members, "message");
        for entry in self.members {
            let is_message = || self.body() == message && entries_of(entry.value).len() == 1;
            let is_repeated = entry.is(b"attributes") || (entry.is(b"body") && is_message());
            if !is_repeated {
                member(entry.key, entry.value, &mut around);
            }
        }
        if let Some(others) = self.own.but("hush.audit.") {
            member(b"attributes", &others, &mut around);
        }
        let own =
            Source { line: raw, members: &members, wrapped: Some(("otlp", &around)), ..*part };
        (audit::AUDIT.map)(&own, out).is_ok()
    }

    /// The time of the record, else of its observation, else of receipt. Returns whether the
    /// timestamp leads back to the first of them.
    fn time(&self, draft: &mut Draft<'_>) -> Result<bool, Class> {
        for name in [TIME, "observedTimeUnixNano"] {
            let Some(json) = find(self.members, name).filter(|json| *json != b"null") else {
                continue;
            };
            let text = string(json).unwrap_or(json);
            let ns: u64 = str::from_utf8(text)
                .ok()
                .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|text| text.parse().ok())
                .ok_or(Class::BadTimestamp)?;
            if ns == 0 {
                continue;
            }
            draft.own(F::Timestamp, |out| write_time(Time::from_ns(ns), out));
            if name != TIME {
                draft.mark_default(F::Timestamp);
                return Ok(false);
            }
            return Ok(string(json).is_some() && text == ns.to_string().as_bytes());
        }
        let received = Time::from_ns(draft.received_ns());
        draft.own(F::Timestamp, |out| write_time(received, out));
        draft.mark_default(F::Timestamp);
        Ok(false)
    }

    /// The severity by its number, four to each name, else by its name.
    fn severity(&self, draft: &mut Draft<'_>) {
        let number =
            find(self.members, "severityNumber").and_then(|json| str::from_utf8(json).ok());
        let word = match number.and_then(|text| text.parse::<u8>().ok()) {
            Some(1..=12) => Some("info"),
            Some(13..=16) => Some("medium"),
            Some(17..=20) => Some("high"),
            Some(21..=24) => Some("critical"),
            _ => None,
        };
        let text = find(self.members, "severityText").and_then(string).unwrap_or_default();
        match word.or_else(|| Severity::parse(text).map(Severity::word)) {
            Some(word) => draft.word(F::Severity, word),
            None => draft.default(F::Severity, "info"),
        }
    }

    fn agent(&self, draft: &mut Draft<'a>) {
        let rows: [(F, &[&str], &'static str); 4] = [
            (F::AgentId, &["service.instance.id", "service.name"], "otlp"),
            (F::AgentName, &["service.name"], "otlp"),
            (F::AgentVersion, &["service.version", "app.version"], "unknown"),
            (F::SessionId, &["session.id"], "unknown"),
        ];
        for (field, names, default) in rows {
            match names.iter().find_map(|name| self.text(name)).filter(|json| !is_blank(json)) {
                Some(json) => draft.json(field, json),
                None => draft.default(field, default),
            }
        }
        draft.word(F::AgentType, "otlp");
        for (field, names) in [
            (F::SessionUserId, ["user.id", "user.account_uuid", "enduser.id"]),
            (F::SessionTenantId, ["organization.id", "tenant.id", "tenant_id"]),
        ] {
            let is_free = field != F::SessionTenantId || !draft.has_tenant();
            if let Some(json) = names.iter().find_map(|name| self.text(name)).filter(|_| is_free) {
                draft.json(field, json);
            }
        }
        let scope = entries_of(self.group.scope);
        match find(&scope, "name").filter(|json| string(json).is_some() && !is_blank(json)) {
            Some(json) => draft.json(F::Guard, json),
            None => draft.default(F::Guard, "otlp"),
        }
    }

    /// What a program said that decides nothing.
    pub(super) fn observe(&self, draft: &mut Draft<'a>) {
        draft.allowed(true);
        draft.word(F::Outcome, "unknown");
        draft.mark_default(F::Allowed);
        draft.mark_default(F::Outcome);
        draft.word(F::EventType, "policy_allow");
        match self.name() {
            Some(json) => draft.json(F::Action, json),
            None => draft.default(F::Action, "log"),
        }
        // Names of the semantic conventions, the most telling first.
        const RESOURCES: &[(&str, &str, Option<F>)] = &[
            ("gen_ai.tool.name", "tool", None),
            ("tool_name", "tool", None),
            ("file.path", "file", Some(F::ResourcePath)),
            ("server.address", "network", Some(F::ResourceHost)),
            ("process.command_line", "process", None),
        ];
        for &(name, kind, field) in RESOURCES {
            let Some(json) = self.own.text(name).filter(|json| !is_blank(json)) else { continue };
            draft.word(F::ResourceType, kind);
            draft.word(F::EventCategory, kind);
            draft.json(F::ResourceName, json);
            if let Some(field) = field {
                draft.json(field, json);
            }
            return;
        }
        draft.word(F::ResourceType, "configuration");
        draft.word(F::EventCategory, "configuration");
        match self.text("service.name").filter(|json| !is_blank(json)) {
            Some(json) => draft.json(F::ResourceName, json),
            None => draft.default(F::ResourceName, "unknown"),
        }
    }

    /// Everything the record says, under `metadata.otlp`.
    fn metadata(&self, draft: &mut Draft<'a>, has_time: bool) {
        // Unless a rule of a producer found another reason.
        let body = self.body().filter(|json| !is_blank(json));
        let reason_is_body = body.is_some_and(|json| draft.says(F::Reason, json));
        draft.group("otlp", |members| {
            for entry in last_of_each(self.members) {
                let is_told = entry.is(b"attributes")
                    || (reason_is_body && entry.is(b"body") && entries_of(entry.value).len() == 1)
                    || (has_time && entry.is(TIME.as_bytes()));
                if !is_told {
                    member(entry.key, entry.value, members);
                }
            }
            self.own.write("attributes", members);
            self.group.resource_attributes.write("resource", members);
            if !self.group.scope.is_empty() {
                member(b"scope", self.group.scope, members);
            }
        });
        if let Some(list) = self.own.others() {
            draft.keep("attributes", &list);
        }
        for (name, object) in &self.group.rest {
            draft.keep(name, object);
        }
    }
}

/// The members that are not among these, with others, as an object; nothing where there are none.
fn rest(members: &[Entry<'_>], told: &[&str], others: Vec<u8>) -> Vec<u8> {
    let mut rest = others;
    for entry in last_of_each(members) {
        if !told.iter().any(|name| entry.is(name.as_bytes())) {
            member(entry.key, entry.value, &mut rest);
        }
    }
    if rest.is_empty() {
        return rest;
    }
    [b"{", rest.as_slice(), b"}"].concat()
}

fn entries_of(json: &[u8]) -> Vec<Entry<'_>> {
    if json.first() == Some(&b'{') { entries(json) } else { Vec::new() }
}

fn is_blank(json: &[u8]) -> bool {
    string(json).is_none() || is_blank_text(json)
}

/// Bytes of the events of one line at most.
const MAPPED_BYTES_MAX: usize = 64 << 20;
