//! A trigger: who is called, what about, and by which key it is found again.

use http::Uri;

use crate::deliver::{Options, Problem};
use crate::event::{Event, FieldId as F, Value};
use crate::schemas;
use crate::transform::Source::{
    AlsoWhen, Constant, Derived, Event as From, Extracted, OneOption, Option as Text, OptionJson,
    Part, Pattern, When,
};
use crate::transform::write::{rfc3339_millis, severity, value};
use crate::transform::{
    Clean, Digest, Empty, Encoder, JSON_LIST, Layout, Schema, Source, json, row,
};

/// The body of a request that opens or refreshes an incident.
pub(super) static TRIGGER: Schema = Schema {
    name: "pagerduty trigger",
    layout: Layout::Table(&[
        row("routing_key", Text("key")),
        row("event_action", Constant("\"trigger\"")),
        row("dedup_key", Pattern("deduplication.key_template", &KEY)),
        row("payload.summary", Derived(SUMMARY, summary)).max(1024),
        row("payload.source", Derived(&[F::AgentId], source)),
        row("payload.severity", OneOption(&[F::Severity], severity, SEVERITIES)),
        row("payload.timestamp", Derived(&[F::Timestamp], rfc3339_millis)),
        row("payload.component", From(F::Guard, value)),
        row("payload.group", Extracted(TENANT, tenant)),
        row("payload.class", From(F::EventType, value)),
        // The response hook that triggers, where it is one.
        row("payload.custom_details.hook", Text("hook")),
        row("payload.custom_details.event_id", From(F::EventId, value)),
        row("payload.custom_details.event_type", From(F::EventType, value)),
        row("payload.custom_details.session_id", From(F::SessionId, value)),
        row("payload.custom_details.user_id", From(F::SessionUserId, value)),
        row("payload.custom_details.resource_type", From(F::ResourceType, value)),
        row("payload.custom_details.resource_name", From(F::ResourceName, value)),
        row("payload.custom_details.resource_path", From(F::ResourcePath, value)),
        row("payload.custom_details.resource_host", From(F::ResourceHost, value)),
        row("payload.custom_details.allowed", From(F::Allowed, value)),
        row("payload.custom_details.policy_hash", From(F::PolicyHash, value)),
        row("payload.custom_details.ruleset", From(F::Ruleset, value)),
        row("payload.custom_details.environment", From(F::SessionEnvironment, value)),
        row("payload.custom_details.mitre_tactic", From(F::Tactic, value)),
        row("payload.custom_details.mitre_technique", From(F::Technique, value)),
        row("payload.custom_details.threat_intel", Part(&[F::Shrike], matches)),
        row("payload.custom_details.repeat_count", Derived(&[], repeats)),
        row("payload.custom_details.metadata", From(F::Metadata, value)),
        row("payload.custom_details.truncated", When("truncated", "true")),
        row("links", AlsoWhen("links.any", &LINKS)),
        row("images", OptionJson("images.json")),
        row("client", Text("client")),
        row("client_url", Text("client_url")),
    ]),
    required: &["routing_key", "event_action", "dedup_key"],
    empty: Empty::Drop,
    ..Schema::BASE
};

/// What joins events to an incident.
pub(super) static KEYS: Schema = Schema {
    name: "pagerduty dedup key",
    layout: Layout::Table(&[row("key", Pattern("deduplication.key_template", &KEY))]),
    required: &["key"],
    ..Schema::BASE
};

/// Where people read on.
static LINKS: Schema = Schema {
    name: "links",
    syntax: &JSON_LIST,
    layout: Layout::Table(&[
        row("event", AlsoWhen("event_url", &EVENT_LINK)),
        row("others", OptionJson("links.json")),
    ]),
    ..Schema::BASE
};

static EVENT_LINK: Schema = Schema {
    name: "link to an event",
    layout: Layout::Table(&[
        row("href", Source::Continued(&["event_url"], &[F::EventId], event_id)),
        row("text", Constant("\"Event\"")),
    ]),
    ..Schema::BASE
};

/// "Key over 255 bytes: first 180 + `~` + sha256 hex."
static KEY: Clean = Clean {
    each: |char| if char.is_control() { '_' } else { char },
    absent: "default",
    digest: Some(Digest { above: 255, keeps: 180 }),
    ..Clean::BASE
};

/// The options with an incident's severity, from info to critical.
const SEVERITIES: &[&str] = &[
    "severity_mapping.info",
    "severity_mapping.low",
    "severity_mapping.medium",
    "severity_mapping.high",
    "severity_mapping.critical",
];

const SUMMARY: &[F] = &[F::Guard, F::Reason, F::EventType];

/// Every event has an id, so that the fallback is written too.
const TENANT: &[F] = &[F::SessionTenantId, F::EventId];

fn tenant<'a>(event: &Event<'a>, _: crate::transform::Choices) -> &'a [u8] {
    match event.text(F::SessionTenantId) {
        b"" => b"default",
        tenant => tenant,
    }
}

/// `[guard] reason`, on one line; the type of event where there is no reason.
fn summary(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    let (guard, reason) = (event.text(F::Guard), event.text(F::Reason));
    let about = if reason.is_empty() { event.text(F::EventType) } else { reason };
    if guard.is_empty() && about.is_empty() {
        return false;
    }
    encoder.open_text();
    if !guard.is_empty() {
        encoder.char('[');
        clean(encoder, guard);
        encoder.char(']');
        encoder.char(' ');
    }
    clean(encoder, about);
    encoder.close_text();
    true
}

/// "Reason with control characters is cleaned."
fn clean(encoder: &mut Encoder<'_>, text: &[u8]) {
    for char in json::characters(text) {
        encoder.char(if char.is_control() { ' ' } else { char });
    }
}

/// The how manieth event of its incident this is; not in the first.
fn repeats(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    if event.frame.number > 0 {
        encoder.number(u64::from(event.frame.number));
    }
    event.frame.number > 0
}

fn source(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    encoder.open_text();
    encoder.plain(b"clawdstrike-");
    encoder.characters(event.text(F::AgentId));
    encoder.close_text();
    true
}

fn event_id(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    encoder.characters(event.text(F::EventId));
    true
}

/// What threat intelligence matched.
fn matches(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    let Some(json) = schemas::intelligence(event, b"matches") else { return false };
    encoder.value(Value { json, escaped: true });
    true
}

/// The operator's links as the elements of an array.
pub(super) fn links(options: &Options) -> Result<Option<String>, Problem> {
    let mut links = Vec::new();
    for (n, link) in options.maps("links").iter().enumerate() {
        let wrong = |problem: &str| problem_in("links", "link", n, problem);
        let href = find(link, "href").ok_or_else(|| wrong("needs href, a URL"))?;
        if !is_url(href, &["http", "https"]) {
            return Err(wrong("href is no http or https URL"));
        }
        let text = find(link, "text").unwrap_or(href);
        links.push(serde_json::json!({ "href": href, "text": text }).to_string());
    }
    Ok((!links.is_empty()).then(|| links.join(",")))
}

/// The operator's images as an array; "this image must be served via HTTPS".
pub(super) fn images(options: &Options) -> Result<Option<String>, Problem> {
    let mut images = Vec::new();
    for (n, image) in options.maps("images").iter().enumerate() {
        let wrong = |problem: &str| problem_in("images", "image", n, problem);
        let src = find(image, "src").ok_or_else(|| wrong("needs src, a URL"))?;
        if !is_url(src, &["https"]) {
            return Err(wrong("src is no https URL"));
        }
        let mut json = serde_json::json!({ "src": src });
        if let Some(href) = find(image, "href") {
            if !is_url(href, &["http", "https"]) {
                return Err(wrong("href is no http or https URL"));
            }
            json["href"] = href.into();
        }
        if let Some(alt) = find(image, "alt") {
            json["alt"] = alt.into();
        }
        images.push(json);
    }
    Ok((!images.is_empty()).then(|| serde_json::Value::from(images).to_string()))
}

fn find<'a>(map: &'a [(String, String)], name: &str) -> Option<&'a str> {
    map.iter().find(|(key, _)| key == name).map(|(_, text)| text.as_str())
}

fn is_url(text: &str, schemes: &[&str]) -> bool {
    let uri: Option<Uri> = text.parse().ok();
    uri.is_some_and(|uri| {
        uri.scheme_str().is_some_and(|it| schemes.contains(&it)) && uri.host().is_some()
    })
}

fn problem_in(key: &str, what: &str, n: usize, problem: &str) -> Problem {
    Problem { key: key.to_owned(), problem: format!("{what} {}: {problem}", n + 1) }
}
