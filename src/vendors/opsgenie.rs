//! Opsgenie, and the same API of Jira Service Management: alerts for responders.

mod alert;

use std::ops::RangeInclusive;
use std::time::Duration;

use http::Uri;
use serde::Deserialize;

use crate::deliver::{
    AUTO_RESOLVE, Call, CallBody, Cause, Credentials, DEDUPLICATION, Derived, Encoding, Fate,
    Framing, HEARTBEAT_HEALTHY, HEARTBEAT_INTERVAL, Kind, Level, Limits, MAX_AGE, Opt, Options,
    Order, Pace, Problem, Purpose, RESOLVE_AFTER, RETRY_AFTER_MAX, Resend, Response, Responses,
    RouteMap, Scope, Secret, Shape, Vendor, Verdict, When, ambiguous, opt, problem, quote,
    retry_after,
};
use crate::transform::{Format, check_names};

/// Opsgenie (`opsgenie.md`).
pub static OPSGENIE: Vendor = Vendor {
    name: "opsgenie",
    about: "Opsgenie and Jira Service Management: alerts for denied events, teams by guard and severity",
    options: OPTIONS,
    formats: &[Format::Native],
    shapes: &[(When::Always, ALERT)],
    endpoints: place,
    auth,
    derive,
    notes,
    // Every field is bounded; together they are far below.
    limits: Limits { events: 1, body_bytes: 512_000, event_bytes: 512_000 },
    encodings: &[Encoding::Identity],
    calls: CALLS,
    usual: &[("filter.min_severity", "high"), ("filter.only_denied", "true")],
    route_maps: &[
        teams("routing.by_guard", "guard", "Teams that are called too, by guard."),
        teams("routing.by_severity", "severity", "Teams that are called too, by severity."),
    ],
    // "An open alert with the same alias only increments its count."
    resend: Resend::Idempotent,
    alert: Some(&alert::KEYS),
    order: Order::Strict,
    ..Vendor::BASE
};

/// The line end is for people.
pub(super) const ALERT: Shape = Shape {
    document: Some(&alert::ALERT),
    events: Some(1),
    framing: Framing { after: "\n", ..Shape::BASE.framing },
    ..Shape::BASE
};

const fn teams(key: &'static str, name: &'static str, about: &'static str) -> RouteMap {
    let option: &[_] = &[(When::Always, alert::TEAMS)];
    RouteMap { key, name, kind: Kind::List, option, adds: true, about }
}

const CALLS: &[Call] = &[
    Call {
        purpose: Purpose::Send,
        when: When::Always,
        method: "POST",
        path: "/v2/alerts",
        query: &[],
        headers: &[],
        body: CallBody::Batch,
        responses: Responses { rows: SEND_ROWS, read: Some(read_create) },
    },
    Call {
        purpose: Purpose::Verify,
        when: When::Is(VERIFY, "true"),
        method: "GET",
        path: "/v2/alerts/requests/{request}",
        query: &[],
        headers: &[],
        body: CallBody::Empty,
        responses: Responses { rows: VERIFY_ROWS, read: Some(read_request) },
    },
    Call {
        purpose: Purpose::Resolve,
        when: When::Always,
        method: "POST",
        path: "/v2/alerts/{incident}/close",
        // In the body the alias would be read as an id.
        query: &[("identifierType", "alias")],
        headers: &[],
        body: CallBody::Text("application/json", close),
        responses: Responses { rows: CLOSE_ROWS, read: Some(read_send) },
    },
    Call {
        purpose: Purpose::Acknowledge,
        when: When::Always,
        method: "POST",
        path: "/v2/alerts/{incident}/acknowledge",
        query: &[("identifierType", "alias")],
        headers: &[],
        body: CallBody::Text("application/json", close),
        responses: Responses { rows: ACKNOWLEDGE_ROWS, read: Some(read_send) },
    },
    Call {
        purpose: Purpose::Heartbeat,
        when: When::Is("heartbeat.enabled", "true"),
        method: "POST",
        path: "/v2/heartbeats/{heartbeat.name}/ping",
        query: &[],
        headers: &[],
        body: CallBody::Empty,
        responses: Responses { rows: SEND_ROWS, read: Some(read_send) },
    },
    // Whatever it answers, it is there; an alert is never made to find out.
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
    // "401, 403: auth / plan: hold", which the usual rows do; a plan may also be said to have ended.
    (402..=402, Verdict::new(Fate::Hold { cause: Cause::Auth, scope: Scope::Exporter }, "auth")),
    // Not the Alert API.
    (404..=405, CONFIG),
    (413..=413, Verdict::new(Fate::Reshape(Level::Shrink), "too_large")),
    (422..=422, Verdict::new(Fate::Reject, "rejected")),
];

/// It is not processed yet.
const VERIFY_ROWS: &[(RangeInclusive<u16>, Verdict)] =
    &[(404..=404, Verdict::new(Fate::Retry, "unavailable"))];

/// "404 on close: already gone: success."
const CLOSE_ROWS: &[(RangeInclusive<u16>, Verdict)] =
    &[(404..=404, Verdict::new(Fate::Delivered, "accepted"))];

/// There is no such alert to acknowledge.
const ACKNOWLEDGE_ROWS: &[(RangeInclusive<u16>, Verdict)] =
    &[(404..=404, Verdict::new(Fate::Reject, "rejected"))];

const CONFIG: Verdict =
    Verdict::new(Fate::Hold { cause: Cause::Config, scope: Scope::Exporter }, "config");

/// "429: retry, honour Retry-After / X-RateLimit-Period-In-Sec."
fn read_send(response: &Response<'_>) -> Option<Verdict> {
    if response.status != 429 || retry_after(response.headers).is_some() {
        return None;
    }
    let period = response.headers.get("x-ratelimit-period-in-sec")?.to_str().ok()?;
    let wait = Duration::from_secs(period.trim().parse().ok()?).min(RETRY_AFTER_MAX);
    Some(Verdict::new(Fate::Retry, "throttled").at(Pace::Pause(Some(wait))))
}

/// "Success is 202 with a requestId: asynchronous."
fn read_create(response: &Response<'_>) -> Option<Verdict> {
    if response.status != 202 || !response.options.is_on(VERIFY) {
        return read_send(response);
    }
    let answer: Accepted = serde_json::from_slice(response.body).ok()?;
    let is_name = (1..=REQUEST_BYTES_MAX).contains(&answer.request_id.len());
    is_name.then(|| Verdict::new(Fate::Requested(answer.request_id), "accepted"))
}

/// "Get Request Status": whether it was done, and what was done or why it was not.
fn read_request(response: &Response<'_>) -> Option<Verdict> {
    if response.status != 200 {
        return read_send(response);
    }
    let answer: Option<Processed> = serde_json::from_slice(response.body).ok();
    let Some(Processed { data }) = answer else {
        return Some(ambiguous("tells nothing of the request".to_owned()));
    };
    let told = [data.success, data.is_success];
    if told.contains(&Some(false)) {
        let status = data.status.unwrap_or_default();
        let mut verdict = Verdict::new(Fate::Reject, "rejected");
        verdict.reason.detail = quote(status.as_bytes(), response.options);
        return Some(verdict);
    }
    if told.contains(&Some(true)) {
        return None;
    }
    Some(ambiguous("tells no success or failure of the request".to_owned()))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Accepted {
    request_id: String,
}

#[derive(Deserialize)]
struct Processed {
    data: Outcome,
}

/// Both names of success stand in answers, and either in documents.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    success: Option<bool>,
    is_success: Option<bool>,
    status: Option<String>,
}

fn close(options: &Options, _: &Derived) -> String {
    let mut body = serde_json::json!({ "source": "shrike" });
    for key in ["user", "note"] {
        if let Some(text) = options.text(key) {
            body[key] = text.into();
        }
    }
    body.to_string()
}

fn place(options: &Options) -> Result<Vec<Uri>, Problem> {
    let is_eu = options.text("region").as_deref() == Some("eu");
    let is_jsm = is_jsm(options);
    let url = match options.url("api_endpoint").filter(|url| !url.is_empty()) {
        // As people copy it from the documentation.
        Some(url) => {
            let url = url.trim_end_matches('/').trim_end_matches("/alerts");
            url.trim_end_matches("/v2")
        }
        None if is_jsm && is_eu => {
            let wrong = "has no effect with flavor jsm, where one address serves all regions";
            return Err(problem("region", wrong));
        }
        None if is_jsm => JSM,
        None if is_eu => EU,
        None => US,
    };
    let uri: Uri = url.parse().map_err(|_| problem("api_endpoint", "is no URL"))?;
    uri.host().ok_or_else(|| problem("api_endpoint", "needs a host"))?;
    Ok(vec![uri])
}

fn is_jsm(options: &Options) -> bool {
    options.text("flavor").as_deref() == Some("jsm")
}

fn auth(options: &Options) -> Result<Credentials, Problem> {
    let key = options.secret("api_key").map(Secret::expose).map(str::trim);
    let key = key.filter(|key| !key.is_empty()).ok_or_else(|| problem("api_key", "is required"))?;
    Ok(vec![("authorization", Secret::new(format!("GenieKey {key}")))])
}

/// Opsgenie itself ends.
fn notes(options: &Options) -> Vec<String> {
    let ends = "Opsgenie is announced to shut down on 5 April 2027; move to Jira Service Management \
                and set `flavor: jsm`";
    (!is_jsm(options)).then(|| ends.to_owned()).into_iter().collect()
}

fn derive(options: &Options) -> Result<Derived, Problem> {
    let template = options.text(ALIAS).unwrap_or_default();
    check_names(&template, VARIABLES).map_err(|wrong| problem(ALIAS, wrong))?;
    let mut texts = Vec::new();
    texts.extend(alert::tags(options).map(|json| ("tags.json", json)));
    texts.extend(alert::responders(options)?.map(|json| ("responders.json", json)));
    texts.extend(alert::visible_to(options)?.map(|json| ("visible_to.json", json)));
    texts.extend(alert::actions(options)?.map(|json| ("actions.json", json)));
    Ok(Derived { texts, ..Derived::NONE })
}

const US: &str = "https://api.opsgenie.com";
const EU: &str = "https://api.eu.opsgenie.com";
const JSM: &str = "https://api.atlassian.com/jsm/ops/integration";
/// The key of asking what became of requests.
const VERIFY: &str = "verify_requests";
/// A request is named by a UUID; whatever is longer is none.
const REQUEST_BYTES_MAX: usize = 100;
/// The key of the template of aliases.
pub(super) const ALIAS: &str = "alias_template";
/// What an alias may follow from.
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
/// "Values P1..P5 only."
const PRIORITIES: &[&str] = &["P1", "P2", "P3", "P4", "P5"];

const fn mapped(key: &'static str, default: &'static str, about: &'static str) -> Opt {
    opt(key, Kind::Choice(PRIORITIES), Some(default), about)
}

const OPTIONS: &[Opt] = &[
    opt("api_key", Kind::Secret, None, "Key of an API integration."),
    opt(
        "flavor",
        Kind::Choice(&["opsgenie", "jsm"]),
        Some("opsgenie"),
        "Opsgenie, or Jira Service Management, which takes its place.",
    ),
    opt("region", Kind::Choice(&["us", "eu"]), Some("us"), "Region of the Opsgenie account."),
    opt("api_endpoint", Kind::Url, None, "API instead of that of flavor and region."),
    opt(
        "responders",
        Kind::Maps(&["type", "id", "name", "username"]),
        Some("[]"),
        "Who is called: type team, user, escalation or schedule, with id or name, users with id or username; at most 50 with those of `routing`.",
    ),
    opt(
        "visible_to",
        Kind::Maps(&["type", "id", "name", "username"]),
        Some("[]"),
        "Teams and users that see alerts without being called; at most 50.",
    ),
    mapped("priority_mapping.critical", "P1", "What a critical event becomes."),
    mapped("priority_mapping.high", "P2", "What a high one becomes."),
    mapped("priority_mapping.medium", "P3", "What a medium one becomes."),
    mapped("priority_mapping.low", "P4", "What a low one becomes."),
    mapped("priority_mapping.info", "P5", "What an info becomes."),
    opt(
        "tags",
        Kind::List,
        Some("[]"),
        "Tags of every alert beside those of guard, severity and event type; cut at 50 characters, 17 are sent.",
    ),
    opt(
        "actions",
        Kind::List,
        Some("[]"),
        "Actions that alerts offer; at most 10 of 50 characters.",
    ),
    Opt {
        aliases: &["dedup_key_template"],
        ..opt(
            ALIAS,
            Kind::Text(1024),
            Some("\"clawdstrike-{guard}-{session_id}\""),
            "Events with the same alias are one alert; what an event lacks is `default`.",
        )
    },
    DEDUPLICATION,
    AUTO_RESOLVE,
    RESOLVE_AFTER,
    MAX_AGE,
    opt(
        "heartbeat.enabled",
        Kind::Bool,
        Some("false"),
        "Whether a heartbeat is kept alive, which must exist: Opsgenie alerts when it runs out.",
    ),
    opt("heartbeat.name", Kind::Text(100), Some("\"clawdstrike\""), "Name of that heartbeat."),
    opt(
        HEARTBEAT_INTERVAL,
        Kind::Span(10_000, 86_400_000),
        Some("5"),
        "Between two pings; the first goes at start. Opsgenie has to wait for longer.",
    ),
    opt(
        HEARTBEAT_HEALTHY,
        Kind::Bool,
        Some("true"),
        "Whether no ping goes while an exporter is held or delivers nothing, or the disk refuses.",
    ),
    opt(
        VERIFY,
        Kind::Bool,
        Some("false"),
        "Whether it is asked of every accepted alert if it was made; one that was not is a dead letter.",
    ),
    opt("user", Kind::Text(100), None, "Who is named as the one that made the alert."),
    opt("note", Kind::LongText(25_000), None, "A note that is added to every alert."),
];
