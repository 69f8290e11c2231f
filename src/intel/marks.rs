//! What is known of an event's values (`threat-intel.md`, Guard and enrichment).

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;

use super::current::Intel;
use super::pattern::SignKind;
use super::snapshot::{About, Match, Snapshot};
use super::spec::EscalateSpec;
use crate::event::{
    Event, FieldId as F, IndicatorType, Insight, Known, ResourceType, Severity, Time, quote,
    unescape, write_time,
};

/// Matches that an event tells of at most (`threat-intel.md`).
pub const MATCHES_MAX: usize = 10;

/// Looks an event's values up, and says what matched.
#[derive(Debug)]
pub struct Marks {
    intel: Arc<Intel>,
    escalate: Option<EscalateSpec>,
}

/// A match, and where in the event its value was.
#[derive(Clone, Copy)]
struct Hit<'a> {
    found: &'a Match,
    field: &'static str,
}

/// What was found first for an event, as it is written there.
struct First {
    kind: IndicatorType,
    value: String,
    field: &'static str,
}

impl Marks {
    /// Marks events with what is known at their time.
    #[must_use]
    pub fn new(intel: Arc<Intel>, escalate: Option<EscalateSpec>) -> Self {
        Self { intel, escalate }
    }
}

impl Insight for Marks {
    fn of(&self, event: &Event<'_>) -> Option<Box<Known>> {
        let snapshot = self.intel.read();
        if snapshot.is_empty() {
            return None;
        }
        let mut look = Look {
            snapshot: &snapshot,
            // What held when the event came: a replay finds the same.
            now: received(event),
            asked: 0,
            hits: Vec::new(),
            first: None,
        };
        look.event(event);
        let counts = self.intel.counts();
        counts.looked_up.add(look.asked);
        if look.hits.is_empty() {
            return None;
        }
        counts.marked.add(1);
        Some(Box::new(self.known(event, look)))
    }
}

impl Marks {
    #[cold]
    fn known(&self, event: &Event<'_>, mut look: Look<'_>) -> Known {
        look.keep_surest();
        let Look { hits, first, .. } = look;
        let confidence = hits.first().map_or(0, |hit| hit.found.confidence);
        let severity = self.escalate.filter(|rule| confidence >= rule.confidence_min);
        let severity = severity.map(|rule| rule.to_severity);
        let severity = severity.filter(|&severity| severity > event.opened.severity);
        let from = severity.map(|_| event.opened.severity);
        let has = |id: F| !event.text(id).is_empty();
        let (tactic, technique) = attack(&hits, event);
        let first = first.filter(|_| !has(F::IndicatorValue));
        let mut remark = remark(&hits, event, confidence, from);
        if let Some(first) = &first {
            remark.push(b',');
            member("indicator_field", first.field, &mut remark);
        }
        remark.push(b'}');
        Known {
            remark,
            indicator: first.map(|first| (first.kind, first.value)),
            tactic,
            technique,
            severity,
        }
    }
}

/// One event's values on their way through a snapshot.
struct Look<'a> {
    snapshot: &'a Snapshot,
    now: Time,
    asked: u64,
    hits: Vec<Hit<'a>>,
    first: Option<First>,
}

impl Look<'_> {
    fn event(&mut self, event: &Event<'_>) {
        let (host, path) = (text(event, F::ResourceHost), text(event, F::ResourcePath));
        if !host.is_empty() {
            self.value(SignKind::Domain, &host, "resource.host");
        }
        let is_network = event.opened.resource_type == ResourceType::Network;
        match &*path {
            "" => {}
            path if path.contains("://") => self.value(SignKind::Url, path, "resource.path"),
            path if is_network => self.request(&host, &text(event, F::ResourcePort), path),
            path => self.value(SignKind::Path, path, "resource.path"),
        }
        let indicator = text(event, F::IndicatorValue);
        let kind = match event.opened.indicator_type {
            // Most are what the resource says.
            _ if indicator.is_empty() || indicator == host || indicator == path => None,
            IndicatorType::Domain | IndicatorType::Ip => Some(SignKind::Domain),
            IndicatorType::Url => Some(SignKind::Url),
            IndicatorType::FileHash => Some(SignKind::FileHash),
            IndicatorType::FileName => Some(SignKind::FileName),
            IndicatorType::FilePath => Some(SignKind::Path),
            IndicatorType::Pattern | IndicatorType::Other => None,
        };
        if let Some(kind) = kind {
            self.value(kind, &indicator, "threat.indicator.value");
        }
        if self.snapshot.size(SignKind::FileHash) > 0
            && let Some(metadata) = event.value(F::Metadata)
        {
            // All of them: whoever is watched would put others before the one that tells.
            for hash in hashes(metadata.json) {
                self.value(SignKind::FileHash, hash, "metadata");
            }
        }
    }

    /// The path of a request, whose scheme no event tells.
    fn request(&mut self, host: &str, port: &str, path: &str) {
        let is_one = !host.is_empty() && path.starts_with('/');
        if is_one && self.snapshot.size(SignKind::Url) > 0 {
            let is_bare = host.contains(':') && !host.starts_with('[');
            let (open, close) = if is_bare { ("[", "]") } else { ("", "") };
            // Which of the two is usual depends on the scheme.
            let (colon, port) =
                if matches!(port, "" | "80" | "443") { ("", "") } else { (":", port) };
            let mut url = ROOM.take();
            for scheme in ["https://", "http://"] {
                url.clear();
                for part in [scheme, open, host, close, colon, port, path] {
                    url.push_str(part);
                }
                self.value(SignKind::Url, &url, "resource.path");
            }
            url.shrink_to(ROOM_BYTES_MAX);
            ROOM.set(url);
        }
    }

    fn value(&mut self, kind: SignKind, value: &str, field: &'static str) {
        self.asked += 1;
        let found = self.snapshot.check(kind, value, self.now);
        if let (None, Some(match_)) = (&self.first, found.first()) {
            let kind = indicator_type(match kind {
                SignKind::Domain => match_.kind,
                kind => kind,
            });
            self.first = Some(First { kind, value: value.to_owned(), field });
        }
        for found in found {
            let is_told = |hit: &Hit<'_>| {
                hit.found.about.id == found.about.id && hit.found.value == found.value
            };
            if !self.hits.iter().any(is_told) {
                self.hits.push(Hit { found, field });
            }
        }
        if self.hits.len() >= HITS_MAX {
            self.keep_surest();
        }
    }

    fn keep_surest(&mut self) {
        self.hits.sort_by_key(|hit| std::cmp::Reverse(hit.found.confidence));
        self.hits.truncate(MATCHES_MAX);
    }
}

thread_local! {
    /// A URL that is put together.
    static ROOM: RefCell<String> = const { RefCell::new(String::new()) };
}

/// When the event came; now, where nobody says it.
fn received(event: &Event<'_>) -> Time {
    match event.frame.received_ns {
        0 => Time::now(),
        ns => Time::from_ns(ns),
    }
}

/// The text of a field, its escapes undone.
fn text<'a>(event: &Event<'a>, id: F) -> Cow<'a, str> {
    let Some(value) = event.value(id) else { return Cow::Borrowed("") };
    match value.escaped {
        true => String::from_utf8_lossy(&unescape(value.text())).into_owned().into(),
        false => String::from_utf8_lossy(value.text()),
    }
}

const fn indicator_type(kind: SignKind) -> IndicatorType {
    match kind {
        SignKind::Domain => IndicatorType::Domain,
        SignKind::Ip => IndicatorType::Ip,
        SignKind::Url => IndicatorType::Url,
        SignKind::FileHash => IndicatorType::FileHash,
        SignKind::FileName => IndicatorType::FileName,
        SignKind::Path => IndicatorType::FilePath,
    }
}

/// What may be a hash among the texts of a JSON text, wherever it is nested: 32, 40 or 64
/// hexadecimal digits, perhaps behind the name of the digest (`sha256:`).
fn hashes(json: &[u8]) -> impl Iterator<Item = &str> {
    let mut from = 0;
    memchr::memchr_iter(b'"', json).filter_map(move |at| {
        let text = &json[from..at];
        from = at + 1;
        let digits = match text.len() {
            32..=80 => text.rsplit(|&byte| byte == b':').next()?,
            _ => return None,
        };
        let is_hash = matches!(digits.len(), 32 | 40 | 64);
        let is_hash = is_hash && digits.iter().all(u8::is_ascii_hexdigit);
        std::str::from_utf8(digits).ok().filter(|_| is_hash)
    })
}

/// The member of our remarks that says what matched; the brace at its end is the caller's.
fn remark(
    hits: &[Hit<'_>],
    event: &Event<'_>,
    confidence: u8,
    escalated_from: Option<Severity>,
) -> Vec<u8> {
    let mut out = b"{\"matches\":[".to_vec();
    for (n, hit) in hits.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        hit.write(event, &mut out);
    }
    out.push(b']');
    let mut ttps: Vec<&(String, String)> = Vec::new();
    for phase in exported(hits).flat_map(|about| &about.phases) {
        if !ttps.contains(&phase) && ttps.len() < MATCHES_MAX {
            ttps.push(phase);
        }
    }
    if !ttps.is_empty() {
        out.extend_from_slice(b",\"ttps\":[");
        for (n, (framework, phase)) in ttps.into_iter().enumerate() {
            out.extend_from_slice(if n > 0 { b",{" } else { b"{" });
            member("framework", framework, &mut out);
            out.push(b',');
            member("phase", phase, &mut out);
            out.push(b'}');
        }
        out.push(b']');
    }
    out.extend_from_slice(format!(",\"max_confidence\":{confidence}").as_bytes());
    if let Some(severity) = escalated_from {
        out.push(b',');
        member("escalated_from", severity.word(), &mut out);
    }
    out
}

/// What is said of those matches that may be told.
fn exported<'a>(hits: &'a [Hit<'a>]) -> impl Iterator<Item = &'a About> {
    hits.iter().map(|hit| &*hit.found.about).filter(|about| about.may_export)
}

impl Hit<'_> {
    /// Appends the match as JSON. What must not be told further is left out, and instead of the
    /// feed's value stands the event's own.
    fn write(&self, event: &Event<'_>, out: &mut Vec<u8>) {
        let own = match self.field {
            "resource.host" => Some(text(event, F::ResourceHost)),
            "resource.path" => Some(text(event, F::ResourcePath)),
            "threat.indicator.value" => Some(text(event, F::IndicatorValue)),
            // Hashes are equal.
            _ => None,
        };
        let own = own.filter(|_| !self.found.about.may_export);
        write_match(self.found, own.as_deref(), Some(self.field), out);
        out.push(b'}');
    }
}

/// Appends a match as JSON, `value` instead of the feed's; the brace at its end is the caller's.
pub(super) fn write_match(
    found: &Match,
    value: Option<&str>,
    field: Option<&str>,
    out: &mut Vec<u8>,
) {
    let about = &*found.about;
    let source = found.sources.first().map(|source| &**source);
    let text = |text: &'static str| Some(text);
    let shown = |text: &'_ Option<String>| text.clone().filter(|_| about.may_export);
    let (name, actor) = (shown(&about.name), shown(&about.actor));
    let (campaign, malware) = (shown(&about.campaign), shown(&about.malware));
    out.push(b'{');
    let members = [
        ("type", text(found.kind.word())),
        ("value", Some(value.unwrap_or(&found.value))),
        ("field", field),
        ("source", source),
        ("id", Some(about.id.as_str()).filter(|id| !id.is_empty())),
        ("name", name.as_deref()),
        ("actor", actor.as_deref()),
        ("campaign", campaign.as_deref()),
        ("malware", malware.as_deref()),
    ];
    for (key, text) in members {
        if let Some(text) = text {
            member(key, text, out);
            out.push(b',');
        }
    }
    out.extend_from_slice(format!("\"confidence\":{}", found.confidence).as_bytes());
    if found.sources.len() > 1 {
        out.extend_from_slice(b",\"sources\":[");
        for (n, source) in found.sources.iter().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            quote(source.as_bytes(), out);
        }
        out.push(b']');
    }
    if let Some(until) = about.valid_until {
        out.extend_from_slice(b",\"valid_until\":");
        write_time(until, out);
    }
}

fn member(key: &str, text: &str, out: &mut Vec<u8>) {
    quote(key.as_bytes(), out);
    out.push(b':');
    quote(text.as_bytes(), out);
}

/// Tactic and technique that the matches are linked with, as far as the event names none. A
/// technique joins only the tactic that it belongs to.
fn attack(hits: &[Hit<'_>], event: &Event<'_>) -> (Option<String>, Option<String>) {
    let (tactic, technique) = (text(event, F::Tactic), text(event, F::Technique));
    for about in exported(hits) {
        let phases = about.phases.iter().filter(|(framework, _)| framework == "mitre-attack");
        let ids = phases.filter_map(|(_, phase)| {
            TACTICS.iter().find(|(name, _)| name == phase).map(|(_, id)| *id)
        });
        let ids: Vec<&str> = ids.collect();
        let linked = about.techniques.first().map(|it| it.id.clone());
        let found = match (&*tactic, &*technique) {
            ("", "") => (ids.first().map(|&id| id.to_owned()), linked),
            (tactic, "") if ids.contains(&tactic) => (None, linked),
            _ => (None, None),
        };
        if found != (None, None) {
            return found;
        }
    }
    (None, None)
}

/// The tactics of ATT&CK for enterprises by their names in kill chains
/// (<https://attack.mitre.org/tactics/enterprise/>).
const TACTICS: &[(&str, &str)] = &[
    ("reconnaissance", "TA0043"),
    ("resource-development", "TA0042"),
    ("initial-access", "TA0001"),
    ("execution", "TA0002"),
    ("persistence", "TA0003"),
    ("privilege-escalation", "TA0004"),
    ("defense-evasion", "TA0005"),
    ("credential-access", "TA0006"),
    ("discovery", "TA0007"),
    ("lateral-movement", "TA0008"),
    ("collection", "TA0009"),
    ("command-and-control", "TA0011"),
    ("exfiltration", "TA0010"),
    ("impact", "TA0040"),
];
/// Bytes of room for a URL that a thread keeps: most are far shorter.
const ROOM_BYTES_MAX: usize = 8 << 10;
/// Matches of one event that are compared at a time: the surest ten of them are kept, then others
/// come to those.
const HITS_MAX: usize = 32;
