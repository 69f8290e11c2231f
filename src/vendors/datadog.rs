//! Datadog: logs, counts as metrics, trace correlation.

mod document;
mod place;
mod series;
mod tags;
mod trace;

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::deliver::{
    Age, AgeOf, Call, CallBody, Cause, Choice, Credentials, Derived, Encoding, Fate, Framing,
    HOSTNAME, Kind, Limits, Meter, Opt, Options, Problem, Purpose, Resend, Response, Responses,
    Scope, Secret, Shape, Vendor, Verdict, When, ambiguous, problem, quote,
};
use crate::transform::Format;

/// Datadog (`datadog.md`).
pub static DATADOG: Vendor = Vendor {
    name: "datadog",
    about: "Datadog: logs of every site, counts as metrics, trace correlation",
    options: OPTIONS,
    formats: &[Format::Native, Format::Ecs, Format::Cef, Format::Ocsf],
    shapes: &[
        (When::Format(Format::Native), LOGS),
        (When::Format(Format::Cef), Shape { envelope: Some(&document::TEXT), ..FOREIGN }),
        (When::Always, FOREIGN),
    ],
    endpoints: place::intakes,
    // Another site is another copy of the data's home: only an outage sends anything there.
    choice: Choice::First,
    aside: place::apis,
    auth,
    derive,
    // "5 MB uncompressed per request, 1000 logs per array, 1 MB per log."
    limits: Limits { events: 1_000, body_bytes: 4_500_000, event_bytes: 1_000_000 },
    encodings: &[Encoding::Gzip, Encoding::Zstd, Encoding::Deflate, Encoding::Identity],
    calls: CALLS,
    // The intake knows no ids; `event_id` tells people.
    resend: Resend::Ambiguous,
    ages: AGES,
    meter: Some(&METER),
    ..Vendor::BASE
};

/// "Body: JSON array of log objects"; the line breaks are for people.
const LOGS: Shape = Shape {
    document: Some(&document::LOG),
    framing: Framing { head: "[", between: ",\n", tail: "]", ..Shape::BASE.framing },
    ..Shape::BASE
};

/// The same around a document of another schema.
const FOREIGN: Shape = Shape { envelope: Some(&document::AROUND), document: None, ..LOGS };

/// "Event time at most 18 h old and 2 h ahead": older logs may be dated anew or dropped.
const AGES: &[Age] = &[
    Age { of: AgeOf::Before(Duration::from_secs(18 * 3600)), text: ("timing", "late:true,") },
    Age { of: AgeOf::Ahead(Duration::from_secs(2 * 3600)), text: ("timing", "ahead:true,") },
];

const CALLS: &[Call] = &[
    SEND,
    // Another intake than the site's need not know this call, and what does not answer it may take
    // events all the same: it tells people of the key, and one log tells whether a hold can end.
    Call {
        purpose: Purpose::Health,
        when: When::Any(&[When::Unset("endpoint"), When::Set("metrics_endpoint")]),
        method: "GET",
        path: "/api/v1/validate",
        body: CallBody::Empty,
        responses: Responses { rows: &[], read: Some(read_validation) },
        ..SEND
    },
    Call {
        purpose: Purpose::Metrics,
        when: When::Set("metrics.enabled"),
        path: "/api/v2/series",
        body: CallBody::Counts,
        responses: Responses { rows: &[], read: Some(read_series) },
        ..SEND
    },
    Call {
        purpose: Purpose::Latencies,
        when: When::Set("metrics.distributions"),
        path: "/api/v1/distribution_points",
        body: CallBody::Counts,
        responses: Responses { rows: &[], read: Some(read_series) },
        ..SEND
    },
];

const SEND: Call = Call {
    purpose: Purpose::Send,
    when: When::Always,
    method: "POST",
    path: "/api/v2/logs",
    query: &[],
    headers: &[("dd-evp-origin", "shrike"), ("dd-evp-origin-version", env!("CARGO_PKG_VERSION"))],
    body: CallBody::Batch,
    responses: Responses { rows: SEND_ROWS, read: None },
};

/// The usual rows hold for the rest: 403 comes during incidents too, so nothing is dropped on it.
const SEND_ROWS: &[(RangeInclusive<u16>, Verdict)] = &[
    (400..=400, Verdict::new(Fate::Bisect, "rejected")),
    // Not an intake, or one that does not know the encoding.
    (404..=405, CONFIG),
    (415..=415, CONFIG),
];

const CONFIG: Verdict =
    Verdict::new(Fate::Hold { cause: Cause::Config, scope: Scope::Exporter }, "config");

static METER: Meter = Meter {
    when: When::Set("metrics.enabled"),
    interval: "metrics.flush_interval_secs",
    auth: None,
    // 512,000 bytes a body; a guard's series has about 250 bytes, and tags of the operator's.
    tallies_max: 500,
    tells_idle: true,
    write: series::write,
    content_type: "application/json",
    latencies: Some(series::write_latencies),
};

/// "200 {"valid":true}; 403 = bad key."
fn read_validation(response: &Response<'_>) -> Option<Verdict> {
    if response.status != 200 {
        return None;
    }
    let answer: Option<serde_json::Value> = serde_json::from_slice(response.body).ok();
    Some(match answer.as_ref().and_then(|answer| answer["valid"].as_bool()) {
        Some(true) => Verdict::new(Fate::Delivered, "accepted"),
        Some(false) => {
            Verdict::new(Fate::Hold { cause: Cause::Auth, scope: Scope::Exporter }, "auth")
        }
        None => ambiguous("the answer does not say whether the key is valid".to_owned()),
    })
}

/// "202 {"errors":[]}; a non-empty list is a partial loss: count it."
fn read_series(response: &Response<'_>) -> Option<Verdict> {
    if !(200..300).contains(&response.status) {
        return None;
    }
    let answer: serde_json::Value = serde_json::from_slice(response.body).ok()?;
    let errors = answer["errors"].as_array().filter(|errors| !errors.is_empty())?;
    let mut verdict = Verdict::new(Fate::Reject, "rejected");
    let words: Vec<&str> = errors.iter().filter_map(serde_json::Value::as_str).collect();
    verdict.reason.detail = quote(words.join("; ").as_bytes(), response.options);
    Some(verdict)
}

fn auth(options: &Options) -> Result<Credentials, Problem> {
    let key = options.secret("api_key").ok_or_else(|| problem("api_key", "is required"))?;
    let key = key.expose().trim();
    if key.is_empty() {
        return Err(problem("api_key", "is empty"));
    }
    Ok(vec![("dd-api-key", Secret::new(key.to_owned()))])
}

/// The operator's tags, cleaned, and what is left out of documents.
fn derive(options: &Options) -> Result<Derived, Problem> {
    let tags = tags::configured(&options.list("logs.tags"), "logs.tags")?;
    tags::configured(&options.list("metrics.tags"), "metrics.tags")?;
    // The event's own tags follow, see the row `ddtags`.
    let text: String = tags.iter().map(|tag| format!("{tag},")).collect();
    if options.is_on("metrics.distributions") && !options.is_on("metrics.enabled") {
        return Err(problem("metrics.distributions", "needs metrics.enabled"));
    }
    let mut omit = Vec::new();
    if !options.is_on("apm.enabled") {
        omit.extend(["dd", "otel"]);
    }
    if options.text("logs.include_metadata").as_deref() == Some("false") {
        if options.text("format").is_some_and(|format| format != "native") {
            let text = "is for format: native; another document goes without them by \
                        privacy.deny: [metadata, labels]";
            return Err(problem("logs.include_metadata", text));
        }
        omit.extend(["metadata", "labels"]);
    }
    Ok(Derived { texts: vec![("tags", text)], omit, ..Derived::NONE })
}

const OPTIONS: &[Opt] = &[
    Opt {
        key: "api_key",
        aliases: &[],
        kind: Kind::Secret,
        default: None,
        about: "API key of the organisation.",
    },
    Opt {
        key: "app_key",
        aliases: &[],
        kind: Kind::Secret,
        default: None,
        about: "Application key, for installing dashboards and monitors; sending needs none.",
    },
    Opt {
        key: "site",
        aliases: &[],
        kind: Kind::Text(255),
        default: Some("datadoghq.com"),
        about: "Site of the organisation, such as us3.datadoghq.com, datadoghq.eu or ddog-gov.com.",
    },
    Opt {
        key: "endpoint",
        aliases: &[],
        kind: Kind::Url,
        default: None,
        about: "Intake of logs instead of the site's, such as a private link or a proxy.",
    },
    Opt {
        key: "metrics_endpoint",
        aliases: &[],
        kind: Kind::Url,
        default: None,
        about: "API for metrics and for testing the key instead of the site's; where only endpoint is written, metrics go there, and the key is not tested.",
    },
    Opt {
        key: "failover.sites",
        aliases: &[],
        kind: Kind::List,
        default: Some("[]"),
        about: "Sites of the same residency that take over, in order, during an outage of `site`.",
    },
    Opt {
        key: "format",
        aliases: &[],
        kind: Kind::Choice(&["native", "ecs", "cef", "ocsf"]),
        default: Some("native"),
        about: "Datadog's own attributes, or a document of another schema inside the log.",
    },
    Opt {
        key: "logs.service",
        aliases: &["service"],
        kind: Kind::Text(100),
        default: Some("clawdstrike"),
        about: "Service of the logs.",
    },
    Opt {
        key: "logs.source",
        aliases: &["source"],
        kind: Kind::Text(100),
        default: Some("clawdstrike"),
        about: "Source of the logs (ddsource), which picks the pipeline.",
    },
    Opt {
        key: "logs.tags",
        aliases: &["tags"],
        kind: Kind::List,
        default: Some("[]"),
        about: "Tags of every log, such as team:security; at most 50.",
    },
    Opt {
        key: "logs.hostname",
        aliases: &["hostname"],
        kind: Kind::Text(255),
        default: Some(HOSTNAME),
        about: "Host of the logs; the machine's name where none is written.",
    },
    Opt {
        key: "logs.include_metadata",
        aliases: &[],
        kind: Kind::Bool,
        default: Some("true"),
        about: "Whether logs of format native carry metadata and labels; labels are tags all the same.",
    },
    Opt {
        key: "metrics.enabled",
        aliases: &[],
        kind: Kind::Bool,
        default: Some("true"),
        about: "Whether counts of delivered events are sent as metrics.",
    },
    Opt {
        key: "metrics.prefix",
        aliases: &[],
        kind: Kind::Text(150),
        default: Some("clawdstrike.security"),
        about: "What the names of metrics begin with.",
    },
    Opt {
        key: "metrics.tags",
        aliases: &[],
        kind: Kind::List,
        default: Some("[]"),
        about: "Tags of every metric; at most 50.",
    },
    Opt {
        key: "metrics.flush_interval_secs",
        aliases: &[],
        kind: Kind::Int(1, 600),
        default: Some("10"),
        about: "Length of a window of counts, in seconds.",
    },
    Opt {
        key: "metrics.distributions",
        aliases: &[],
        kind: Kind::Bool,
        default: Some("false"),
        about: "Whether latency goes as a distribution instead of three gauges.",
    },
    Opt {
        key: "apm.enabled",
        aliases: &[],
        kind: Kind::Bool,
        default: Some("false"),
        about: "Whether logs carry the trace ids that metadata has.",
    },
    Opt {
        key: "apm.service",
        aliases: &[],
        kind: Kind::Text(100),
        default: Some("clawdstrike"),
        about: "Service of the traces (dd.service).",
    },
    Opt {
        key: "apm.env",
        aliases: &[],
        kind: Kind::Text(100),
        default: Some("production"),
        about: "Environment of the traces (dd.env), and tag of the metrics, unless metrics.tags has an env.",
    },
];
