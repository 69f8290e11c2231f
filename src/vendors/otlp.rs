//! OpenTelemetry: logs over OTLP/HTTP, encoded in Protocol Buffers or as JSON.

mod binary;
mod record;

use std::ops::RangeInclusive;

use http::Uri;
use serde_json::json;

use crate::deliver::{
    Call, CallBody, Cause, Derived, Encoding, Fate, Framing, HOSTNAME, ItemFate, Kind, Limits, Opt,
    Options, Problem, Purpose, Reason, Resend, Response, Responses, Scope, Shape, Vendor, Verdict,
    When, problem, quote,
};
use crate::protobuf::{Wire, field, fields};
use crate::transform::Format;

/// Collectors and backends that take OTLP/HTTP (OTLP Specification 1.x, OTLP/HTTP).
pub static OTLP: Vendor = Vendor {
    name: "otlp",
    aliases: &["otlp_http", "opentelemetry"],
    about: "OpenTelemetry collectors and backends: logs over OTLP/HTTP, protobuf or JSON",
    options: OPTIONS,
    formats: &[Format::Native, Format::Ecs, Format::Cef, Format::Ocsf],
    shapes: &[
        (When::All(&[JSON, When::Format(Format::Native)]), RECORDS),
        (JSON, Shape { envelope: Some(&record::AROUND), document: None, ..RECORDS }),
        (When::Format(Format::Native), BINARY),
        (When::Always, Shape { envelope: Some(&binary::GROUP_AROUND), document: None, ..BINARY }),
    ],
    endpoints,
    derive,
    // The collector's receiver takes 20 MiB.
    limits: Limits { events: 10_000, body_bytes: 4 << 20, event_bytes: 1 << 20 },
    encodings: &[Encoding::Gzip, Encoding::Identity],
    calls: CALLS,
    resend: Resend::Ambiguous,
    ..Vendor::BASE
};

/// One resource, one scope, and its records; the head is made from the options.
const RECORDS: Shape = Shape {
    document: Some(&record::RECORD),
    framing: Framing { between: ",", tail: "]}]}]}", ..Shape::BASE.framing },
    ..Shape::BASE
};

/// Records one after the other, each with its resource and its scope.
const BINARY: Shape = Shape {
    envelope: Some(&binary::GROUP),
    document: Some(&binary::RECORD),
    framing: Framing { content_type: PROTOBUF, ..Shape::BASE.framing },
    ..Shape::BASE
};

const JSON: When = When::Is("protocol", HTTP_JSON);
/// "The following values MUST be supported for OTEL_EXPORTER_OTLP_PROTOCOL"; gRPC is another one.
const HTTP_JSON: &str = "http/json";
const HTTP_PROTOBUF: &str = "http/protobuf";
const PROTOBUF: &str = "application/x-protobuf";

const CALLS: &[Call] = &[
    SEND,
    // "An empty request is a success."
    Call {
        when: JSON,
        body: CallBody::Text("application/json", |_, _| "{\"resourceLogs\":[]}".to_owned()),
        ..PROBE
    },
    PROBE,
];

const PROBE: Call = Call {
    purpose: Purpose::Probe,
    body: CallBody::Text(PROTOBUF, |_, _| String::new()),
    responses: Responses { rows: SEND_ROWS, read: None },
    ..SEND
};

const SEND: Call = Call {
    purpose: Purpose::Send,
    when: When::Always,
    method: "POST",
    path: "/v1/logs",
    query: &[],
    headers: &[],
    body: CallBody::Batch,
    responses: Responses { rows: SEND_ROWS, read: Some(read_send) },
};

/// "429, 502, 503, 504 are retryable"; the usual rows hold for them.
const SEND_ROWS: &[(RangeInclusive<u16>, Verdict)] = &[
    (400..=400, Verdict::new(Fate::Bisect, "rejected")),
    (404..=405, CONFIG),
    (415..=415, CONFIG),
];

const CONFIG: Verdict =
    Verdict::new(Fate::Hold { cause: Cause::Config, scope: Scope::Exporter }, "config");

/// "If the request is only partially accepted: `partial_success` with the number of rejected
/// records. The client MUST NOT retry." Where it is all of them, each was refused; else nobody says
/// which ones, so all of them are put in doubt.
fn read_send(response: &Response<'_>) -> Option<Verdict> {
    if response.status != 200 {
        return None;
    }
    let found = match serde_json::from_slice(response.body) {
        Ok(answer) => partial_in_json(&answer),
        Err(_) => partial_in_binary(response.body),
    };
    let (rejected, words) = found.filter(|(rejected, _)| *rejected > 0)?;
    let words = quote(words.as_bytes(), response.options);
    let all = u64::try_from(response.events).unwrap_or(u64::MAX);
    if rejected >= all {
        let item = ItemFate::Reject(Reason::new("rejected", response.status, words));
        return Some(Verdict::new(Fate::Items(vec![item; response.events]), "rejected"));
    }
    let degraded = Fate::Items(vec![ItemFate::Degraded; response.events]);
    let mut verdict = Verdict::new(degraded, "partial");
    let colon = if words.is_empty() { "" } else { ": " };
    verdict.reason.detail = format!("{rejected} of {all} records were rejected{colon}{words}");
    Some(verdict)
}

/// How many records were rejected, and why.
fn partial_in_json(answer: &serde_json::Value) -> Option<(u64, String)> {
    let partial = &answer["partialSuccess"];
    let rejected = &partial["rejectedLogRecords"];
    // 64-bit numbers are texts in this encoding; some send numbers all the same.
    let rejected =
        rejected.as_str().and_then(|it| it.parse().ok()).or_else(|| rejected.as_u64())?;
    Some((rejected, partial["errorMessage"].as_str().unwrap_or_default().to_owned()))
}

/// ExportLogsServiceResponse.partial_success: rejected_log_records and error_message.
fn partial_in_binary(answer: &[u8]) -> Option<(u64, String)> {
    let mut rest = answer;
    let mut found = None;
    while !rest.is_empty() {
        let (1, Wire::Bytes(partial)) = field(&mut rest)? else { continue };
        let (mut rejected, mut words) = (0, String::new());
        for member in fields(partial) {
            match member {
                (1, Wire::Varint(count)) => rejected = count,
                (2, Wire::Bytes(text)) => words = String::from_utf8_lossy(text).into_owned(),
                _ => {}
            }
        }
        found = Some((rejected, words));
    }
    found
}

fn endpoints(options: &Options) -> Result<Vec<Uri>, Problem> {
    let key = "endpoint";
    let urls = options.list(key);
    if urls.is_empty() {
        return Err(problem(key, "is required, such as http://localhost:4318"));
    }
    let parse = |url: &str| {
        let base = url.trim_end_matches('/').strip_suffix("/v1/logs").unwrap_or(url);
        let uri: Option<Uri> = base.trim_end_matches('/').parse().ok();
        uri.filter(|uri| uri.host().is_some())
            .ok_or_else(|| problem(key, "needs URLs like http://localhost:4318"))
    };
    urls.into_iter().map(parse).collect()
}

/// The resource, which stands before the records.
fn derive(options: &Options) -> Result<Derived, Problem> {
    let mut attributes = Vec::new();
    for (name, key) in [("service.name", "service_name"), ("host.name", "host_name")] {
        let text = options.text(key).filter(|text| !text.is_empty());
        attributes.extend(text.map(|text| (name.to_owned(), text)));
    }
    for pair in options.list("resource_attributes") {
        let parts = pair.split_once('=').filter(|(name, _)| !name.is_empty());
        let (name, text) = parts
            .ok_or_else(|| problem("resource_attributes", format!("{pair:?} is no name=value")))?;
        if attributes.iter().any(|(known, _)| known == name) {
            return Err(problem("resource_attributes", format!("has {name:?} twice")));
        }
        attributes.push((name.to_owned(), text.to_owned()));
    }
    let (scope, version) = ("shrike", env!("CARGO_PKG_VERSION"));
    if options.text("protocol").as_deref() != Some(HTTP_JSON) {
        let around = binary::around(&attributes, scope, version);
        return Ok(Derived { around, ..Derived::NONE });
    }
    let attributes: Vec<_> = attributes
        .into_iter()
        .map(|(key, text)| json!({"key": key, "value": {"stringValue": text}}))
        .collect();
    let resource = json!({ "attributes": attributes });
    let scope = json!({"name": scope, "version": version});
    let head = format!(
        "{{\"resourceLogs\":[{{\"resource\":{resource},\"scopeLogs\":[{{\"scope\":{scope},\
         \"logRecords\":["
    );
    Ok(Derived { head: Some(head), ..Derived::NONE })
}

const OPTIONS: &[Opt] = &[
    Opt {
        key: "endpoint",
        aliases: &["url"],
        kind: Kind::Urls,
        default: None,
        about: "Collectors, used in turn, such as http://localhost:4318; /v1/logs is added.",
    },
    Opt {
        key: "protocol",
        aliases: &[],
        kind: Kind::Choice(&[HTTP_PROTOBUF, HTTP_JSON]),
        default: Some(HTTP_PROTOBUF),
        about: "Encoding of requests, in the words of OTEL_EXPORTER_OTLP_PROTOCOL; some receivers take \
                protobuf only.",
    },
    Opt {
        key: "service_name",
        aliases: &[],
        kind: Kind::Text(255),
        default: Some("clawdstrike"),
        about: "Name of the service (service.name).",
    },
    Opt {
        key: "host_name",
        aliases: &[],
        kind: Kind::Text(255),
        default: Some(HOSTNAME),
        about: "Name of the host (host.name); the machine's where none is written.",
    },
    Opt {
        key: "resource_attributes",
        aliases: &[],
        kind: Kind::List,
        default: Some("[]"),
        about: "Further attributes of the resource, as name=value.",
    },
];
