//! Splunk: the HTTP Event Collector, with indexer acknowledgement.

mod codes;
mod counts;
mod envelope;

use std::ops::RangeInclusive;

use http::Uri;

use crate::deliver::{
    Call, CallBody, Cause, Credentials, Derived, Effect, Encoding, Fate, Framing, HOSTNAME, Kind,
    Limits, Meter, Opt, OptionValue, Options, Pace, Prefix, Problem, Purpose, Resend, Responses,
    Scope, Secret, Shape, Vendor, Verdict, When, problem,
};
use crate::transform::Format;

/// Splunk Enterprise and Splunk Cloud (`splunk.md`).
pub static SPLUNK: Vendor = Vendor {
    name: "splunk",
    standby: Some(("hec_token", "token_rotation.standby_token")),
    about: "Splunk Enterprise and Cloud: HTTP Event Collector with indexer acknowledgement",
    options: OPTIONS,
    formats: Format::ALL,
    shapes: &[(When::Is("endpoint", "raw"), RAW), (When::Always, EVENT)],
    endpoints,
    auth: |options| token(options, "hec_token"),
    derive,
    effects: &[Effect {
        of: &["ack.poll_interval_ms", "ack.timeout_secs", "ack.max_pending"],
        when: When::Set("use_ack"),
        unless: "use_ack is true",
    }],
    // Old servers take 1 MB, which is the default; Splunk Cloud takes 5 MiB and Enterprise 800 MiB,
    // more than memory is for. An event longer than 800 KB is made smaller.
    limits: Limits { events: 10_000, body_bytes: 64 << 20, event_bytes: 800_000 },
    encodings: &[Encoding::Gzip, Encoding::Identity],
    calls: CALLS,
    route_keys: &["index", "sourcetype", "source"],
    // Nothing tells the collector that it has an event already; `event_id` tells people.
    resend: Resend::Ambiguous,
    // Behind a balancer only the indexer that took a batch can confirm it.
    cookies: true,
    resend_mark: Some(envelope::RESEND),
    meter: Some(&METER),
    ..Vendor::BASE
};

/// Objects one after the other; the line break is for people.
const EVENT: Shape = Shape {
    envelope: Some(&envelope::ENVELOPE),
    framing: Framing {
        head: "",
        prefix: Prefix::None,
        between: "\n",
        after: "",
        tail: "",
        content_type: "application/json",
    },
    ..Shape::BASE
};

/// Lines; everything but the event is in the query.
const RAW: Shape = Shape {
    framing: Framing {
        head: "",
        prefix: Prefix::None,
        between: "",
        after: "\n",
        tail: "",
        content_type: "text/plain; charset=utf-8",
    },
    ..Shape::BASE
};

const CALLS: &[Call] = &[
    Call {
        when: When::Is("endpoint", "raw"),
        path: "/services/collector/raw",
        query: &[
            ("channel", "{channel}"),
            ("index", "{index}"),
            ("sourcetype", "{sourcetype}"),
            ("source", "{source}"),
            ("host", "{host}"),
        ],
        ..SEND
    },
    SEND,
    Call {
        purpose: Purpose::Poll,
        when: When::Set("use_ack"),
        path: "/services/collector/ack",
        query: &[("channel", "{channel}")],
        body: CallBody::Acks("application/json", codes::write_acks),
        responses: Responses { rows: POLL_ROWS, read: Some(codes::read_poll) },
        ..SEND
    },
    // Health does not look at the token; an empty batch does.
    Call {
        purpose: Purpose::Probe,
        body: CallBody::Empty,
        responses: Responses { rows: PROBE_ROWS, read: Some(codes::read_probe) },
        ..SEND
    },
    Call {
        purpose: Purpose::Health,
        method: "GET",
        path: "/services/collector/health",
        headers: &[],
        body: CallBody::Empty,
        responses: Responses { rows: &[], read: Some(codes::read_other) },
        ..SEND
    },
    Call {
        purpose: Purpose::Metrics,
        when: When::Set("metrics.enabled"),
        body: CallBody::Counts,
        responses: Responses { rows: &[], read: Some(codes::read_other) },
        ..SEND
    },
];

const SEND: Call = Call {
    purpose: Purpose::Send,
    when: When::Always,
    method: "POST",
    path: "/services/collector/event",
    query: &[],
    headers: &[("x-splunk-request-channel", "{channel}")],
    body: CallBody::Batch,
    responses: Responses { rows: SEND_ROWS, read: Some(codes::read_send) },
};

/// Answers without a code: pages of the collector or of a balancer before it.
const SEND_ROWS: &[(RangeInclusive<u16>, Verdict)] = &[
    // A collector gives every 400 a code, so that this says nothing of the events: "Request Header
    // Or Cookie Too Large". A batch that alone meets it is searched all the same.
    (400..=400, Verdict::new(Fate::Retry, "ambiguous").at(Pace::Pause(None))),
    // No collector at this address, or it is switched off.
    (404..=405, CONFIG),
    // It takes gzip only: "deflate gets 415".
    (415..=415, CONFIG),
];

/// What takes events without being a collector may refuse a request without any, in words of its
/// own (Fluent Bit): the next events find out.
const PROBE_ROWS: &[(RangeInclusive<u16>, Verdict)] = &[
    (400..=400, Verdict::new(Fate::Reject, "rejected")),
    (404..=405, CONFIG),
    (415..=415, CONFIG),
];

/// Who gave an id has this address: what says otherwise stands before it, an ingress or a balancer.
/// Only code 14 says that there are no acknowledgements.
const POLL_ROWS: &[(RangeInclusive<u16>, Verdict)] = &[
    (400..=400, Verdict::new(Fate::Retry, "ambiguous")),
    (404..=405, Verdict::new(Fate::Retry, "ambiguous")),
];

const CONFIG: Verdict =
    Verdict::new(Fate::Hold { cause: Cause::Config, scope: Scope::Exporter }, "config");

static METER: Meter = Meter {
    when: When::Set("metrics.enabled"),
    interval: "metrics.flush_interval_secs",
    auth: Some(|options| match options.is_set("metrics.token") {
        true => token(options, "metrics.token"),
        false => token(options, "hec_token"),
    }),
    // About 300 bytes each: below a megabyte, which every collector takes.
    tallies_max: 2_000,
    tells_idle: false,
    write: counts::write,
    content_type: "application/json",
    latencies: None,
};

/// The collectors; a URL that already names the service is cut.
fn endpoints(options: &Options) -> Result<Vec<Uri>, Problem> {
    let urls = options.list("hec_url");
    if urls.is_empty() {
        return Err(problem("hec_url", "is required, such as https://splunk.example:8088"));
    }
    urls.into_iter().map(endpoint).collect()
}

fn endpoint(text: &str) -> Result<Uri, Problem> {
    let wrong = || problem("hec_url", "needs absolute URLs like https://splunk.example:8088");
    let base = text.find(SERVICE).map_or(text, |at| &text[..at]);
    let uri: Uri = base.trim_end_matches('/').parse().map_err(|_| wrong())?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    if !is_http || uri.host().is_none() {
        return Err(wrong());
    }
    if uri.query().is_some() || uri.authority().is_some_and(|at| at.as_str().contains('@')) {
        return Err(problem(
            "hec_url",
            "must carry neither credentials nor a query: set hec_token",
        ));
    }
    Ok(uri)
}

/// "`Bearer` is refused (401 code 3)."
fn token(options: &Options, key: &str) -> Result<Credentials, Problem> {
    let secret = options.secret(key).ok_or_else(|| problem(key, "is required"))?;
    let token = secret.expose().trim();
    if token.is_empty() {
        return Err(problem(key, "is empty"));
    }
    Ok(vec![("authorization", Secret::new(format!("Splunk {token}")))])
}

/// Which fields are indexed, and rules that join several keys.
fn derive(options: &Options) -> Result<Derived, Problem> {
    if options.is_on("metrics.enabled") && !options.is_set("metrics.index") {
        return Err(problem("metrics.index", "is required where metrics.enabled is true"));
    }
    let is_raw = options.text("endpoint").as_deref() == Some("raw");
    if is_raw && options.value("indexed_fields").is_some() {
        let text = "has no effect with endpoint: raw, where lines carry no fields beside the event; \
                    leave it out, or set endpoint: event";
        return Err(problem("indexed_fields", text));
    }
    let chosen: Vec<&str> = match options.value("indexed_fields") {
        Some(OptionValue::Text(word)) if word == "full" => {
            envelope::FIELDS.iter().map(|field| field.name).collect()
        }
        Some(OptionValue::List(names)) => names.iter().map(String::as_str).collect(),
        _ => envelope::FIELDS.iter().filter(|f| f.minimal).map(|f| f.name).collect(),
    };
    if let Some(name) = chosen.iter().find(|name| envelope::field(name).is_none()) {
        let known: Vec<&str> = envelope::FIELDS.iter().map(|field| field.name).collect();
        let text = format!("knows no {name:?}; it takes minimal, full, or of {}", known.join(", "));
        return Err(problem("indexed_fields", text));
    }
    // Lines have no envelope that something could be left out of.
    if is_raw {
        return Ok(Derived::NONE);
    }
    let left_out = envelope::FIELDS.iter().filter(|field| !chosen.contains(&field.name));
    Ok(Derived {
        texts: Vec::new(),
        omit: left_out.map(|field| field.key).collect(),
        ..Derived::NONE
    })
}

const SERVICE: &str = "/services/collector";

const OPTIONS: &[Opt] = &[
    Opt {
        key: "hec_url",
        aliases: &["url"],
        kind: Kind::Urls,
        default: None,
        about: "Collectors, used in turn and for each other, such as https://splunk.example:8088.",
    },
    Opt {
        key: "hec_token",
        aliases: &["token"],
        kind: Kind::Secret,
        default: None,
        about: "Token of the collector.",
    },
    Opt {
        key: "token_rotation.standby_token",
        aliases: &[],
        kind: Kind::Secret,
        default: None,
        about: "Token that is used instead when hec_token is refused, and the other way round.",
    },
    Opt {
        key: "endpoint",
        aliases: &[],
        kind: Kind::Choice(&["event", "raw"]),
        default: Some("event"),
        about: "Objects with time, host and fields, or lines that the source type takes apart.",
    },
    Opt {
        key: "index",
        aliases: &[],
        kind: Kind::Text(255),
        default: Some("main"),
        about: "Index; the token must be allowed to write to it.",
    },
    Opt {
        key: "sourcetype",
        aliases: &["source_type"],
        kind: Kind::Text(255),
        default: Some("clawdstrike:security"),
        about: "Source type.",
    },
    Opt {
        key: "source",
        aliases: &[],
        kind: Kind::Text(1024),
        default: Some("clawdstrike"),
        about: "Source.",
    },
    Opt {
        key: "host",
        aliases: &[],
        kind: Kind::Text(255),
        default: Some(HOSTNAME),
        about: "Host; the machine's name where none is written.",
    },
    Opt {
        key: "indexed_fields",
        aliases: &[],
        kind: Kind::ChoiceOrList(&["minimal", "full"]),
        default: None,
        about: "Which fields are indexed beside the event: minimal, as where none is written, full, \
                or a list of names. The raw endpoint has none.",
    },
    Opt {
        key: "use_ack",
        aliases: &["ack.enabled"],
        kind: Kind::Bool,
        default: Some("true"),
        about: "Whether a batch counts as delivered only once the indexers confirmed it.",
    },
    Opt {
        key: "ack_channel",
        aliases: &["ack.channel"],
        kind: Kind::Uuid,
        default: None,
        about: "Channel of the first connection group; random where none is written.",
    },
    Opt {
        key: "ack.poll_interval_ms",
        aliases: &[],
        kind: Kind::Span(10, 60_000),
        default: Some("1000"),
        about: "How often confirmations are asked for.",
    },
    Opt {
        key: "ack.timeout_secs",
        aliases: &[],
        kind: Kind::Span(1_000, 86_400_000),
        default: Some("300"),
        about: "After how long without confirmation a batch is sent again.",
    },
    Opt {
        key: "ack.max_pending",
        aliases: &[],
        kind: Kind::Int(1, 1_000_000),
        default: Some("10000"),
        about: "Batches that may wait for confirmation before sending pauses; memory.in_flight_bytes bounds them too.",
    },
    Opt {
        key: "metrics.enabled",
        aliases: &[],
        kind: Kind::Bool,
        default: Some("false"),
        about: "Whether counts per guard and severity go to a metrics index.",
    },
    Opt {
        key: "metrics.index",
        aliases: &[],
        kind: Kind::Text(255),
        default: None,
        about: "The metrics index.",
    },
    Opt {
        key: "metrics.token",
        aliases: &[],
        kind: Kind::Secret,
        default: None,
        about: "Token for it; hec_token where none is written.",
    },
    Opt {
        key: "metrics.flush_interval_secs",
        aliases: &[],
        kind: Kind::Int(1, 3_600),
        default: Some("10"),
        about: "Length of a window of counts, in seconds.",
    },
];
