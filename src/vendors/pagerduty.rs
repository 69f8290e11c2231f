//! PagerDuty: incidents through the Events API v2.

mod alert;
mod change;

use std::ops::RangeInclusive;
use std::time::Duration;

use http::Uri;

use crate::deliver::{
    AUTO_RESOLVE, Call, CallBody, Cause, DEDUPLICATION, Derived, Encoding, Fate, Framing, Kind,
    Level, Limits, MAX_AGE, Opt, Options, Order, Pace, Problem, Purpose, RESOLVE_AFTER, Resend,
    Response, Responses, RouteMap, Scope, Secret, Shape, Vendor, Verdict, When, opt, problem,
    quote, retry_after,
};
use crate::transform::{Format, check_names};

/// PagerDuty (`pagerduty.md`).
pub static PAGERDUTY: Vendor = Vendor {
    name: "pagerduty",
    about: "PagerDuty: incidents for denied events, joined by session, keys by guard and tenant",
    options: OPTIONS,
    formats: &[Format::Native],
    shapes: &[(When::Always, TRIGGER)],
    endpoints: place,
    derive,
    // "Body 512 KB."
    limits: Limits { events: 1, body_bytes: 512_000, event_bytes: 512_000 },
    encodings: &[Encoding::Identity],
    calls: CALLS,
    usual: &[("filter.min_severity", "high"), ("filter.only_denied", "true")],
    route_keys: &["routing_key"],
    route_maps: &[
        key_map("routing.by_guard", "guard", "Routing keys by guard; they win over all others."),
        key_map("routing.by_tenant", "tenant_id", "Routing keys by tenant."),
    ],
    // A trigger of a key that is open changes that incident.
    resend: Resend::Idempotent,
    // One key that is refused does not keep the incidents of others.
    order: Order::Loose,
    // "About 120 calls per minute per integration key."
    alert: Some(&alert::KEYS),
    route_rate: Some(("rate_limit.per_key_per_minute", "rate_limit.per_key_burst")),
    ..Vendor::BASE
};

/// The line end is for people.
pub(super) const TRIGGER: Shape = Shape {
    document: Some(&alert::TRIGGER),
    events: Some(1),
    framing: Framing { after: "\n", ..Shape::BASE.framing },
    ..Shape::BASE
};

const fn key_map(key: &'static str, name: &'static str, about: &'static str) -> RouteMap {
    let option: &[_] = &[(When::Always, "routing_key")];
    RouteMap { key, name, kind: Kind::Secret, option, adds: false, about }
}

const CALLS: &[Call] = &[
    Call {
        purpose: Purpose::Send,
        when: When::Always,
        method: "POST",
        path: "/v2/enqueue",
        query: &[],
        headers: &[],
        body: CallBody::Batch,
        responses: Responses { rows: SEND_ROWS, read: Some(read_send) },
    },
    // "They must use the same routing_key as the trigger."
    Call {
        purpose: Purpose::Resolve,
        when: When::Always,
        method: "POST",
        path: "/v2/enqueue",
        query: &[],
        headers: &[],
        body: CallBody::Text("application/json", resolve),
        responses: Responses { rows: SEND_ROWS, read: Some(read_send) },
    },
    Call {
        purpose: Purpose::Acknowledge,
        when: When::Always,
        method: "POST",
        path: "/v2/enqueue",
        query: &[],
        headers: &[],
        body: CallBody::Text("application/json", acknowledge),
        responses: Responses { rows: SEND_ROWS, read: Some(read_send) },
    },
    Call {
        purpose: Purpose::Change,
        when: When::Is(CHANGES, "true"),
        method: "POST",
        path: "/v2/change/enqueue",
        query: &[],
        headers: &[],
        body: CallBody::Change("application/json", change::write),
        responses: Responses { rows: SEND_ROWS, read: Some(read_send) },
    },
    // "No health endpoint: reachability. Never send a fake trigger": whatever it answers, it is
    // there.
    Call {
        purpose: Purpose::Hello,
        when: When::Always,
        method: "GET",
        path: "/",
        query: &[],
        headers: &[],
        body: CallBody::Empty,
        responses: Responses {
            rows: &[(100..=599, Verdict::new(Fate::Delivered, "accepted"))],
            read: None,
        },
    },
];

const SEND_ROWS: &[(RangeInclusive<u16>, Verdict)] = &[
    (401..=401, route(Cause::Auth, "auth")),
    (403..=403, route(Cause::Auth, "auth")),
    // Not the Events API.
    (404..=405, CONFIG),
    // "413 -> drop custom_details.metadata, retry once."
    (413..=413, Verdict::new(Fate::Reshape(Level::Shrink), "too_large")),
];

const CONFIG: Verdict =
    Verdict::new(Fate::Hold { cause: Cause::Config, scope: Scope::Exporter }, "config");

/// Each integration key has events and limits of its own.
const fn route(cause: Cause, class: &'static str) -> Verdict {
    Verdict::new(Fate::Hold { cause, scope: Scope::Route }, class)
}

fn read_send(response: &Response<'_>) -> Option<Verdict> {
    match response.status {
        // "The service advises waits of 30 s or more", for this key.
        429 => {
            let wait = retry_after(response.headers).unwrap_or_default().max(THROTTLED_MIN);
            Some(route(Cause::Outage, "throttled").at(Pace::Pause(Some(wait))))
        }
        // No event is at fault where the key is.
        400 if blames_key(response.body) => {
            let mut verdict = route(Cause::Config, "config");
            verdict.reason.detail = quote(response.body, response.options);
            Some(verdict)
        }
        _ => None,
    }
}

/// Whether `{"status":"invalid event","message":"..","errors":[..]}` speaks of the routing key.
fn blames_key(body: &[u8]) -> bool {
    let answer: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let errors = answer.as_ref().and_then(|answer| answer["errors"].as_array());
    let mut words = errors.into_iter().flatten().filter_map(serde_json::Value::as_str);
    words.any(|words| {
        let words = words.to_ascii_lowercase();
        ["routing_key", "routing key", "integration key"].iter().any(|key| words.contains(key))
    })
}

fn resolve(options: &Options, _: &Derived) -> String {
    about("resolve", options)
}

fn acknowledge(options: &Options, _: &Derived) -> String {
    about("acknowledge", options)
}

/// "Acknowledge/resolve need only routing_key, event_action, dedup_key."
fn about(action: &str, options: &Options) -> String {
    let key = options.secret("routing_key").map_or("", Secret::expose).trim();
    format!(
        "{{\"routing_key\":\"{key}\",\"event_action\":\"{action}\",\"dedup_key\":\"{{incident}}\"}}"
    )
}

fn place(options: &Options) -> Result<Vec<Uri>, Problem> {
    let region = options.text("region");
    let url = match options.url("api_endpoint").filter(|url| !url.is_empty()) {
        // As people copy it from the documentation.
        Some(url) => url.trim_end_matches('/').trim_end_matches("/v2/enqueue"),
        None if region.as_deref() == Some("eu") => EU,
        None => US,
    };
    let uri: Uri = url.parse().map_err(|_| problem("api_endpoint", "is no URL"))?;
    uri.host().ok_or_else(|| problem("api_endpoint", "needs a host"))?;
    Ok(vec![uri])
}

/// The key, and what follows from several keys.
fn derive(options: &Options) -> Result<Derived, Problem> {
    let key = options.secret("routing_key").map(Secret::expose);
    let key = key.ok_or_else(|| problem("routing_key", "is required"))?.trim();
    if key.len() != KEY_BYTES || !key.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        let expected = "is no routing key; expected 32 letters and digits, the integration key of \
                        an Events API v2 integration";
        return Err(problem("routing_key", expected));
    }
    let template = options.text(TEMPLATE).unwrap_or_default();
    check_names(&template, VARIABLES).map_err(|wrong| problem(TEMPLATE, wrong))?;
    let mut omit = Vec::new();
    if options.text("custom_details").as_deref() == Some("false") {
        omit.push("payload.custom_details");
    }
    let mut texts = vec![("key", key.to_owned())];
    let images = alert::images(options)?;
    texts.extend(alert::links(options)?.map(|links| ("links.json", links)));
    let url = options.url("base_url").filter(|url| !url.is_empty());
    // The event's id follows.
    texts.extend(url.map(|url| ("event_url", format!("{}/events/", url.trim_end_matches('/')))));
    if texts.len() > 1 {
        texts.push(("links.any", "true".to_owned()));
    }
    texts.extend(images.map(|images| ("images.json", images)));
    Ok(Derived { texts, omit, ..Derived::NONE })
}

const US: &str = "https://events.pagerduty.com";
const EU: &str = "https://events.eu.pagerduty.com";
/// "The routing_key (32 chars)."
const KEY_BYTES: usize = 32;
/// The key of telling changes of the configuration.
const CHANGES: &str = "change_events";
/// The key of the template of dedup keys.
pub(super) const TEMPLATE: &str = "deduplication.key_template";
/// "Backoff floor 30 s."
const THROTTLED_MIN: Duration = Duration::from_secs(30);
/// What a dedup key may follow from.
const VARIABLES: &[&str] = &[
    "guard",
    "session_id",
    "resource",
    "tenant_id",
    "tenant",
    "event_type",
    "agent_id",
    "environment",
    "severity",
];
/// What an incident may be.
const SEVERITIES: &[&str] = &["critical", "error", "warning", "info"];

const fn mapped(key: &'static str, default: &'static str, about: &'static str) -> Opt {
    opt(key, Kind::Choice(SEVERITIES), Some(default), about)
}

const OPTIONS: &[Opt] = &[
    opt("routing_key", Kind::Secret, None, "Integration key of an Events API v2 integration."),
    opt("region", Kind::Choice(&["us", "eu"]), Some("us"), "Service region of the account."),
    opt("api_endpoint", Kind::Url, None, "Events API instead of the region's, such as a proxy."),
    mapped("severity_mapping.critical", "critical", "What a critical event becomes."),
    mapped("severity_mapping.high", "error", "What a high one becomes."),
    mapped("severity_mapping.medium", "warning", "What a medium one becomes."),
    mapped("severity_mapping.low", "info", "What a low one becomes."),
    mapped("severity_mapping.info", "info", "What an info becomes."),
    Opt {
        aliases: &["dedup_key_template"],
        ..opt(
            TEMPLATE,
            Kind::Text(1024),
            Some("\"{guard}:{session_id}\""),
            "Events with the same key are one incident; what an event lacks is `default`.",
        )
    },
    DEDUPLICATION,
    AUTO_RESOLVE,
    RESOLVE_AFTER,
    MAX_AGE,
    opt(
        "custom_details",
        Kind::Bool,
        Some("true"),
        "Whether incidents carry the event's details and metadata.",
    ),
    opt(
        CHANGES,
        Kind::Bool,
        Some("false"),
        "Whether a reload that changed something is told as a change event, to the service of `routing_key`.",
    ),
    opt(
        "rate_limit.per_key_per_minute",
        Kind::Int(1, 6000),
        Some("100"),
        "Events a minute to each routing key.",
    ),
    opt(
        "rate_limit.per_key_burst",
        Kind::Int(1, 1000),
        Some("20"),
        "Events at once to a key after a quiet time.",
    ),
    opt(
        "base_url",
        Kind::Url,
        None,
        "Where people find events: links lead to /events/ID below it.",
    ),
    opt("links", Kind::Maps(&["href", "text"]), Some("[]"), "Further links of every incident."),
    opt(
        "images",
        Kind::Maps(&["src", "href", "alt"]),
        Some("[]"),
        "Images of every incident: src is an https URL; href, where it leads, and alt are optional.",
    ),
    opt("client", Kind::Text(255), Some("shrike"), "What the incident says it comes from."),
    opt("client_url", Kind::Url, None, "Where that is."),
];
