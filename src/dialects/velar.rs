//! Velar: the audit log of the privacy proxy (`inputs.md` 3, 7.3).

use super::draft::{Draft, member, string};
use super::rules::{Known, find, last_of_each};
use crate::event::{Class, FieldId as F, elements, entries, is_blank_text, quote};
use crate::intake::{Dialect, Kind, Mapped, Mode, Source};

/// One finished request or tunnel.
pub(super) static VELAR: Dialect = Dialect {
    name: NAME,
    keys: &[
        ("method", Kind::Text),
        ("host", Kind::Any),
        ("decision", Kind::Text),
        ("reason", Kind::Any),
    ],
    mode: Mode::Append,
    map,
};

const NAME: &str = "velar.audit";

const NAMES: &[&str; 14] = &[
    "timestamp",
    "host",
    "path",
    "reason",
    "method",
    "decision",
    "status_code",
    "sanitized",
    "sanitized_items",
    "request_id",
    "hostname",
    "velar_version",
    "sanitized_count",
    "sanitized_types",
];

/// Kinds of secrets; whatever else is masked is personal data: email, phone, person, org, loc.
const SECRETS: &[&[u8]] = &[
    b"api_key",
    b"jwt",
    b"aws_access_key",
    b"aws_secret_key",
    b"aws_session_token",
    b"gcp_api_key",
    b"gcp_service_account",
    b"azure_connection_string",
    b"azure_sas_token",
    b"private_key",
    b"db_url",
    b"high_entropy",
    b"hex_secret",
];

fn map(source: &Source<'_>, out: &mut Mapped) -> Result<(), Class> {
    let mut draft = Draft::new(NAME, source);
    let known = Known::read(source.members, NAMES, &mut draft, |_, _| {});
    let (timestamp, host) = (known.required(0)?, known.required(1)?);
    let (reason, method) = (known.required(3)?, known.required(4)?);
    let decision = known.required(5)?;
    let word = string(decision).unwrap_or_default();
    let allowed = word == b"allow" || word == b"mitm";
    let items = Items::read(&known);

    draft.id("request_id", known.get(9));
    draft.json(F::Timestamp, timestamp);
    draft.word(F::Action, "egress");
    draft.word(F::EventCategory, "network");
    draft.allowed(allowed);
    if !allowed && word != b"block" {
        draft.flag(Class::UnknownEnum);
    }
    let (event_type, severity) = match (allowed, items.is_sanitized, items.has_secret) {
        (false, ..) => ("egress_blocked", "high"),
        (true, true, true) => ("secret_detected", "medium"),
        (true, true, false) => ("guard_warn", "low"),
        (true, false, _) => ("policy_allow", "info"),
    };
    draft.word(F::EventType, event_type);
    draft.default(F::Severity, severity);
    draft.word(F::Guard, if items.is_sanitized { "velar.sanitizer" } else { "velar.policy" });
    draft.json(F::Reason, reason);
    place(&mut draft, host, known.get(2), allowed);
    agent(&mut draft, source, known.get(10), known.get(11));
    draft.group("velar", |members| {
        let skipped = ["timestamp", "host", "path", "reason"];
        for entry in last_of_each(source.members) {
            if !skipped.iter().any(|name| entry.is(name.as_bytes())) {
                member(entry.key, entry.value, members);
            }
        }
        let derived = Derived { source, method, word, reason, items: &items };
        derived.write(known.get(6).is_some(), members);
    });
    draft.finish(out);
    Ok(())
}

/// What was masked.
struct Items<'a> {
    is_sanitized: bool,
    has_secret: bool,
    count: usize,
    /// Kinds, sorted, each once.
    kinds: Vec<&'a [u8]>,
}

impl<'a> Items<'a> {
    fn read(known: &Known<'a, 14>) -> Self {
        let list = |at: usize| known.get(at).map(elements).unwrap_or_default();
        // A record may say how many and which kinds without saying where.
        let (items, named) = (list(8), list(13));
        let mut kinds = Vec::with_capacity(items.len() + named.len());
        kinds.extend(named.iter().filter_map(|json| string(json)));
        let is_counted =
            known.get(12).is_some_and(|json| matches!(json.first(), Some(b'1'..=b'9')));
        let count = if items.is_empty() { named.len() } else { items.len() };
        for item in &items {
            let kind = entries(item).into_iter().rev().find(|entry| entry.is(b"type"));
            kinds.extend(kind.and_then(|entry| string(entry.value)));
        }
        kinds.sort_unstable();
        kinds.dedup();
        Self {
            is_sanitized: known.get(7) == Some(b"true") || count > 0 || is_counted,
            has_secret: kinds.iter().any(|kind| SECRETS.contains(kind)),
            count,
            kinds,
        }
    }
}

/// Resource and indicator.
fn place<'a>(draft: &mut Draft<'a>, host: &'a [u8], path: Option<&'a [u8]>, allowed: bool) {
    draft.word(F::ResourceType, "network");
    draft.json(F::ResourceName, host);
    if is_blank_text(host) {
        draft.keep("host", host);
    } else {
        draft.json(F::ResourceHost, host);
        if !allowed {
            draft.word(F::IndicatorType, "domain");
            draft.json(F::IndicatorValue, host);
        }
    }
    draft.optional(F::ResourcePath, "path", path, None);
}

/// Agent and session: Velar names neither, newer versions may name the host.
fn agent<'a>(
    draft: &mut Draft<'a>,
    source: &Source<'_>,
    hostname: Option<&'a [u8]>,
    version: Option<&'a [u8]>,
) {
    let hostname = hostname.filter(|json| string(json).is_some() && !is_blank_text(json));
    match hostname {
        Some(json) => draft.json(F::AgentId, json),
        None => draft.default(F::AgentId, "velar"),
    }
    draft.word(F::AgentName, "velar");
    match version.filter(|json| string(json).is_some() && !is_blank_text(json)) {
        Some(json) => draft.json(F::AgentVersion, json),
        None => draft.word(F::AgentVersion, "unknown"),
    }
    draft.word(F::AgentType, "velar");
    let mut session = b"\"velar:".to_vec();
    match hostname.and_then(string) {
        Some(text) => session.extend_from_slice(text),
        None => {
            let mut quoted = Vec::new();
            quote(source.host.as_bytes(), &mut quoted);
            session.extend_from_slice(&quoted[1..quoted.len() - 1]);
        }
    }
    session.push(b'"');
    draft.own(F::SessionId, |out| out.extend_from_slice(&session));
    draft.mark_default(F::SessionId);
}

/// What follows from the record.
struct Derived<'a> {
    source: &'a Source<'a>,
    method: &'a [u8],
    word: &'a [u8],
    reason: &'a [u8],
    items: &'a Items<'a>,
}

impl Derived<'_> {
    fn write(&self, has_status: bool, members: &mut Vec<u8>) {
        let is_inspected = (self.word == b"mitm" && !has_status) || self.items.is_sanitized;
        let kind: &[u8] = match (self.method, is_inspected) {
            (b"\"CONNECT\"", _) => b"\"connect\"",
            (_, true) => b"\"inspected\"",
            _ => b"\"request\"",
        };
        self.add("kind", kind, members);
        if let Some(rule) = rule(string(self.reason).unwrap_or_default()) {
            self.add("rule_id", &[b"\"", rule, b"\""].concat(), members);
        }
        if !self.items.is_sanitized {
            return;
        }
        self.add("sanitized_count", self.items.count.to_string().as_bytes(), members);
        let mut kinds = b"[".to_vec();
        for (n, kind) in self.items.kinds.iter().enumerate() {
            kinds.extend_from_slice(if n == 0 { b"\"" } else { b",\"" });
            kinds.extend_from_slice(kind);
            kinds.push(b'"');
        }
        kinds.push(b']');
        self.add("sanitized_types", &kinds, members);
    }

    /// Adds a member, unless the record has one of that name itself.
    fn add(&self, name: &str, value: &[u8], members: &mut Vec<u8>) {
        if find(self.source.members, name).is_none() {
            member(name.as_bytes(), value, members);
        }
    }
}

/// The rule's id in a reason; ids may contain parentheses themselves.
fn rule(reason: &[u8]) -> Option<&[u8]> {
    let start = memchr::memmem::find(reason, b" (")? + 2;
    reason[start..].strip_suffix(b")")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_what_stands_in_the_outer_parentheses() {
        for (reason, expected) in [
            ("matched rule (mitm-openai)", Some("mitm-openai")),
            ("matched rule (team (eu) \u{2013} llm)", Some("team (eu) \u{2013} llm")),
            ("default allow (default)", Some("default")),
            ("without a rule", None),
            ("half (open", None),
        ] {
            assert_eq!(rule(reason.as_bytes()), expected.map(str::as_bytes), "{reason}");
        }
    }
}
