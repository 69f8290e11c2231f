//! A fake OTLP/HTTP receiver of logs in both encodings.
//!
//! Written from the OTLP Specification (OTLP/HTTP, JSON Protobuf Encoding) and the Logs Data Model.

use std::sync::Arc;

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use prost::Message as _;

use super::ids::{self, Taken};
use super::json::Node;
use super::{Fault, Reply, Visit};
use crate::account::Book;
use crate::otlp::{Answer, PartialSuccess, Request, Status};

/// A fake receiver.
#[derive(Debug)]
pub struct Otlp {
    book: Arc<Book>,
}

impl Otlp {
    /// A receiver that has nothing yet.
    #[must_use]
    pub fn new(book: Arc<Book>) -> Self {
        Self { book }
    }

    /// Answers one request.
    #[must_use]
    pub fn answer(&self, visit: &Visit<'_>) -> Reply {
        if (visit.method.as_str(), visit.path) != ("POST", "/v1/logs") {
            self.book.note_problem("no such endpoint", visit.path.as_bytes());
            return Self::refuse(404, visit.headers);
        }
        let Some(encoding) = Encoding::of(visit.headers) else {
            let problem = "Content-Type is neither application/json nor application/x-protobuf";
            self.book.note_problem(problem, b"");
            return Self::refuse(415, visit.headers);
        };
        let success = || match encoding {
            Encoding::Json => Reply::json(200, "{\"partialSuccess\":{}}"),
            Encoding::Protobuf => {
                let partial_success = Some(PartialSuccess::default());
                binary(200, &Answer { partial_success })
            }
        };
        if visit.plan.fault == Some(Fault::Forget) {
            return success();
        }
        let mut taken = Taken::default();
        let skimmed = (!visit.strict).then(|| ids::skim(&self.book, visit.body)).flatten();
        if let Some(ids) = skimmed {
            ids.into_iter().for_each(|id| taken.store(&self.book, id));
        } else if let Err(problem) = self.judge(encoding, visit.body, &mut taken) {
            self.book.note_problem(&problem, visit.body);
            return Self::refuse(400, visit.headers);
        }
        taken.note(&self.book);
        Reply { accepted: taken.due, ..success() }
    }

    /// "The response body MUST be a Status message", in the encoding of the request.
    pub(super) fn refuse(status: u16, headers: &HeaderMap) -> Reply {
        let message = format!("status {status}");
        match Encoding::of(headers) {
            Some(Encoding::Protobuf) => binary(status, &Status { code: 3, message }),
            _ => Reply::json(status, format!("{{\"code\":3,\"message\":\"{message}\"}}")),
        }
    }

    fn judge(&self, encoding: Encoding, body: &[u8], taken: &mut Taken) -> Result<(), String> {
        let request = match encoding {
            Encoding::Json => Node::parse(body).map_err(|error| format!("no JSON: {error}"))?,
            Encoding::Protobuf => node(body)?,
        };
        known(&request, &["resourceLogs"])?;
        for resource in list(&request, "resourceLogs")? {
            known(resource, &["resource", "scopeLogs", "schemaUrl"])?;
            let attributes = resource.member("resource").ok_or("no resource")?;
            let names = attributes_of(attributes)?;
            if !names.iter().any(|name| name == "service.name") {
                self.book.note_problem("a resource without service.name", b"");
            }
            for scope in list(resource, "scopeLogs")? {
                known(scope, &["scope", "logRecords", "schemaUrl"])?;
                for record in list(scope, "logRecords")? {
                    let id = judge_record(record)?;
                    taken.store_text(&self.book, id.as_bytes(), "otlp", &id);
                }
            }
        }
        Ok(())
    }
}

/// How a request is encoded.
#[derive(Clone, Copy)]
enum Encoding {
    Json,
    Protobuf,
}

impl Encoding {
    fn of(headers: &HeaderMap) -> Option<Self> {
        match headers.get(CONTENT_TYPE)?.to_str().ok()? {
            "application/json" => Some(Self::Json),
            PROTOBUF => Some(Self::Protobuf),
            _ => None,
        }
    }
}

fn binary(status: u16, message: &impl prost::Message) -> Reply {
    let body = message.encode_to_vec().into();
    Reply { status, content_type: PROTOBUF, body, ..Reply::default() }
}

/// A request in protobuf as its JSON, which is judged like the other encoding.
fn node(body: &[u8]) -> Result<Node, String> {
    let request = Request::decode(body).map_err(|error| format!("no protobuf: {error}"))?;
    // What is unknown is left out in reading; what is there twice, or is the default and written
    // all the same, is not written again.
    let (bytes, again) = (body.len(), request.encoded_len());
    if bytes != again {
        return Err(format!("of {bytes} bytes only {again} are fields of a request, each once"));
    }
    serde_json::from_value(request.to_json()).map_err(|error| error.to_string())
}

const PROTOBUF: &str = "application/x-protobuf";

/// Looks at a record; the event's id.
fn judge_record(record: &Node) -> Result<String, String> {
    known(record, RECORD_KEYS)?;
    for key in ["timeUnixNano", "observedTimeUnixNano"] {
        let text = record.member(key).and_then(Node::text).unwrap_or_default();
        if text.parse::<u64>().is_err() {
            return Err(format!("{key} is no text of digits: 64-bit numbers are texts"));
        }
    }
    match record.member("severityNumber") {
        Some(Node::Number(number)) if (1.0..=24.0).contains(number) => {}
        other => return Err(format!("severityNumber is {other:?}, not 1 to 24")),
    }
    for (key, digits) in [("traceId", 32), ("spanId", 16)] {
        let Some(id) = record.member(key) else { continue };
        let is_id = |text: &str| {
            text.len() == digits && text.bytes().all(|digit| digit.is_ascii_hexdigit())
        };
        if !id.text().is_some_and(is_id) {
            return Err(format!("{key} is no id of {digits} hexadecimal digits"));
        }
    }
    if let Some(body) = record.member("body") {
        any(body)?;
    }
    let names = attributes_of(record)?;
    let mut seen = std::collections::HashSet::new();
    if let Some(name) = names.iter().find(|name| !seen.insert(name.as_str())) {
        return Err(format!("two attributes {name}"));
    }
    let attributes = list(record, "attributes")?;
    let id = attributes.iter().find(|one| one.at("key").and_then(Node::text) == Some("event_id"));
    let id = id.and_then(|one| one.at("value.stringValue")).and_then(Node::text);
    id.map(str::to_owned).ok_or_else(|| "no event_id".to_owned())
}

/// The names of attributes, their values looked at.
fn attributes_of(node: &Node) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    for pair in list(node, "attributes")? {
        known(pair, &["key", "value"])?;
        let name = pair.member("key").and_then(Node::text).unwrap_or_default();
        if name.is_empty() {
            return Err("an attribute without a key".to_owned());
        }
        any(pair.member("value").ok_or("an attribute without a value")?)?;
        names.push(name.to_owned());
    }
    Ok(names)
}

/// "AnyValue: exactly one of these, or none."
fn any(value: &Node) -> Result<(), String> {
    let Node::Object(members) = value else { return Err("a value is no AnyValue".to_owned()) };
    match members.as_slice() {
        [] => Ok(()),
        [(kind, inner)] => match (kind.as_str(), inner) {
            ("stringValue", Node::Text(_)) | ("boolValue", Node::Bool(_)) => Ok(()),
            ("doubleValue", Node::Number(_)) => Ok(()),
            ("doubleValue", Node::Text(word)) if word.ends_with("Infinity") => Ok(()),
            ("intValue", Node::Text(digits)) if digits.parse::<i64>().is_ok() => Ok(()),
            ("arrayValue", inner) => list(inner, "values")?.iter().try_for_each(any),
            ("kvlistValue", inner) => list(inner, "values")?.iter().try_for_each(|pair| {
                known(pair, &["key", "value"])?;
                any(pair.member("value").ok_or("a pair without a value")?)
            }),
            _ => Err(format!("{kind} holds {}", inner.token())),
        },
        _ => Err("a value of several kinds".to_owned()),
    }
}

fn list<'a>(node: &'a Node, key: &str) -> Result<&'a [Node], String> {
    match node.member(key) {
        Some(Node::List(nodes)) => Ok(nodes),
        None => Ok(&[]),
        Some(other) => Err(format!("{key} is a {}", other.token())),
    }
}

/// "Receivers MUST ignore unknown fields": what they ignore is lost, so here it is a fault.
fn known(node: &Node, keys: &[&str]) -> Result<(), String> {
    let Node::Object(members) = node else { return Err("no object".to_owned()) };
    match members.iter().find(|(key, _)| !keys.contains(&key.as_str())) {
        Some((key, _)) => Err(format!("there is no key {key}")),
        None => Ok(()),
    }
}

/// The fields of LogRecord.
const RECORD_KEYS: &[&str] = &[
    "timeUnixNano",
    "observedTimeUnixNano",
    "severityNumber",
    "severityText",
    "body",
    "attributes",
    "droppedAttributesCount",
    "flags",
    "traceId",
    "spanId",
    "eventName",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::{LogRecord, ResourceLogs, ScopeLogs};

    #[test]
    fn a_request_in_protobuf_has_no_field_but_those_of_the_protocol() {
        let record = LogRecord { severity_number: 9, ..LogRecord::default() };
        let scope_logs = vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }];
        let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
        let mut body = Request { resource_logs }.encode_to_vec();
        assert!(node(&body).is_ok());
        for more in [&b"\x7a\x00"[..], b"\x08\x01", b"\x0a\x01"] {
            assert!(node(&[&body, more].concat()).is_err(), "{more:?}");
        }
        // The length of the whole is one more, and the number of the severity has a byte too many.
        let at = body.len() - 1;
        body.splice(at.., [0x89, 0x00]);
        for length in [1, 3, 5] {
            body[length] += 1;
        }
        assert!(Request::decode(&body[..]).is_ok() && node(&body).is_err());
    }

    #[test]
    fn a_record_is_judged_by_the_protocol() {
        let good = serde_json::json!({
            "timeUnixNano": "1", "observedTimeUnixNano": "2", "severityNumber": 9,
            "body": {"stringValue": "b"},
            "attributes": [{"key": "event_id", "value": {"stringValue": "e"}}],
        });
        let judge = |record: &serde_json::Value| {
            judge_record(&Node::parse(record.to_string().as_bytes()).expect("JSON"))
        };
        assert_eq!(judge(&good).as_deref(), Ok("e"));
        for (key, value) in [
            ("timeUnixNano", serde_json::json!(1)),
            ("severityNumber", serde_json::json!(0)),
            ("traceId", serde_json::json!("abc")),
            ("body", serde_json::json!({"stringValue": "b", "boolValue": true})),
            ("body", serde_json::json!({"intValue": 7})),
            ("time_unix_nano", serde_json::json!("1")),
        ] {
            let mut bad = good.clone();
            bad[key] = value.clone();
            assert!(judge(&bad).is_err(), "{key} {value}");
        }
    }
}
