//! Logs in Protocol Buffers, written by `prost`: they become the events that the same logs become
//! in JSON.

use loadgen::otlp::{
    Any, AnyValue, ArrayValue, KeyValue, KeyValueList, LogRecord, Request, Resource, ResourceLogs,
    Scope, ScopeLogs,
};
use proptest::prelude::*;
use proptest::sample::select;
use prost::Message as _;
use serde_json::{Value, json};
use shrike::dialects;
use shrike::intake::Undecoded;

use super::mapped;

/// Attributes that mean something to the mapping.
const KEYS: &[&str] = &[
    "service.name",
    "service.version",
    "service.instance.id",
    "session.id",
    "user.id",
    "tenant.id",
    "event.name",
    "gen_ai.tool.name",
    "file.path",
    "decision",
    "log.record.uid",
];

fn decode(body: &[u8]) -> Result<Vec<u8>, Undecoded> {
    (dialects::PROTOBUF.decode)(body, 64 << 20)
}

/// A record in a request by itself.
fn request_of(record: LogRecord) -> Request {
    let scope_logs = vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }];
    Request { resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }] }
}

/// The same in JSON, as an exporter sends it: without the times that are not known.
fn json_of(request: &Request) -> Value {
    let mut json = request.to_json();
    fn inside<'a>(json: &'a mut Value, name: &str) -> impl Iterator<Item = &'a mut Value> {
        json.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten()
    }
    let groups = inside(&mut json, "resourceLogs").flat_map(|it| inside(it, "scopeLogs"));
    for record in groups.flat_map(|it| inside(it, "logRecords")) {
        let record = record.as_object_mut().expect("records are objects");
        record.retain(|name, value| !name.ends_with("UnixNano") || *value != json!("0"));
    }
    json
}

fn value(any: Any) -> Option<AnyValue> {
    Some(AnyValue { value: Some(any) })
}

fn any_value() -> impl Strategy<Value = AnyValue> {
    let leaf = prop_oneof![
        4 => any::<String>().prop_map(Any::Text),
        1 => any::<bool>().prop_map(Any::Bool),
        2 => any::<i64>().prop_map(Any::Int),
        1 => any::<f64>().prop_map(Any::Double),
        1 => select(vec![0.0, -0.0, 1.0, 1e300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY])
            .prop_map(Any::Double),
        1 => prop::collection::vec(any::<u8>(), 0..20).prop_map(Any::Bytes),
    ];
    let leaf = prop::option::weighted(0.95, leaf).prop_map(|value| AnyValue { value });
    leaf.prop_recursive(5, 30, 4, |inner| {
        let key = any::<String>();
        let pair = (key, prop::option::weighted(0.9, inner.clone()))
            .prop_map(|(key, value)| KeyValue { key, value });
        let pairs = prop::collection::vec(pair, 0..4)
            .prop_map(|values| Any::Pairs(KeyValueList { values }));
        let array =
            prop::collection::vec(inner, 0..4).prop_map(|values| Any::Array(ArrayValue { values }));
        prop_oneof![pairs, array].prop_map(|any| AnyValue { value: Some(any) })
    })
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let key = prop_oneof![select(KEYS).prop_map(str::to_owned), any::<String>()];
    let text = prop_oneof![
        1 => any_value().prop_map(Some),
        2 => "[a-z./-]{0,12}".prop_map(|text| value(Any::Text(text))),
    ];
    prop::collection::vec((key, text).prop_map(|(key, value)| KeyValue { key, value }), 0..6)
}

fn log_record() -> impl Strategy<Value = LogRecord> {
    let time = prop_oneof![
        Just(0),
        1_700_000_000_000_000_000..1_800_000_000_000_000_000_u64,
        any::<u64>()
    ];
    let word = prop_oneof![Just(String::new()), Just("ERROR".to_owned()), any::<String>()];
    let name = prop_oneof![Just(String::new()), "[a-z.]{1,20}"];
    let id = |bytes: usize| prop::collection::vec(any::<u8>(), bytes);
    (
        (time.clone(), time, 0..=24_i32, word, name),
        prop::option::of(any_value()),
        attributes(),
        (any::<u32>(), any::<u32>(), id(16), id(8), any::<bool>()),
    )
        .prop_map(|((time, observed, severity, word, name), body, attributes, rest)| {
            let (dropped, flags, trace_id, span_id, is_traced) = rest;
            LogRecord {
                time_unix_nano: time,
                observed_time_unix_nano: observed,
                severity_number: severity,
                severity_text: word,
                body,
                attributes,
                dropped_attributes_count: dropped,
                flags,
                trace_id: if is_traced { trace_id } else { Vec::new() },
                span_id: if is_traced { span_id } else { Vec::new() },
                event_name: name,
            }
        })
}

fn request() -> impl Strategy<Value = Request> {
    let scope =
        (any::<String>(), any::<String>(), attributes()).prop_map(|(name, version, attributes)| {
            Scope { name, version, attributes, dropped_attributes_count: 0 }
        });
    let scope_logs = (
        prop::option::of(scope),
        prop::collection::vec(log_record(), 0..4),
        select(vec!["", "https://opentelemetry.io/schemas/1.27.0"]),
    )
        .prop_map(|(scope, log_records, url)| ScopeLogs {
            scope,
            log_records,
            schema_url: url.to_owned(),
        });
    let resource = (attributes(), any::<u32>()).prop_map(|(attributes, dropped)| Resource {
        attributes,
        dropped_attributes_count: dropped,
    });
    let resource_logs = (prop::option::of(resource), prop::collection::vec(scope_logs, 0..3))
        .prop_map(|(resource, scope_logs)| ResourceLogs {
            resource,
            scope_logs,
            schema_url: String::new(),
        });
    prop::collection::vec(resource_logs, 1..3).prop_map(|resource_logs| Request { resource_logs })
}

/// What the events of a line say, but for their ids, which follow from how a record was written.
fn events(line: &str) -> Vec<Value> {
    let events = mapped(line).into_iter().map(|(_, mut fields)| {
        if fields["metadata.shrike"]["format"] == json!("otlp.logs") {
            fields["event_id"] = Value::Null;
        }
        fields
    });
    events.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn logs_in_either_encoding_become_the_same_events(request in request()) {
        let decoded = decode(&request.encode_to_vec()).expect("it is a request");
        let decoded = String::from_utf8(decoded).expect("its texts are");
        let json = json_of(&request);
        let found: Value = serde_json::from_str(&decoded).expect("what is decoded is JSON");
        prop_assert_eq!(&found, &json);
        prop_assert_eq!(events(&decoded), events(&json.to_string()));
    }

    #[test]
    fn any_bytes_are_json_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(json) = decode(&body) {
            let text = String::from_utf8_lossy(&json);
            prop_assert!(serde_json::from_str::<Value>(&text).is_ok(), "{}", text);
        }
    }

    #[test]
    fn a_body_that_is_cut_is_told_where(request in request(), at in any::<prop::sample::Index>()) {
        let body = request.encode_to_vec();
        prop_assume!(!body.is_empty());
        let body = &body[..at.index(body.len())];
        match (decode(body), Request::decode(body)) {
            (Ok(_), Ok(_)) => {}
            (Err(Undecoded::Malformed { place, problem }), Err(_)) => {
                prop_assert!(!place.is_empty() && problem.starts_with("expected"), "{}", place);
            }
            (found, expected) => prop_assert!(false, "{found:?}, {expected:?}"),
        }
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let record = LogRecord { body: value(Any::Text("text".to_owned())), ..LogRecord::default() };
    let mut body = request_of(record).encode_to_vec();
    // The text of the body becomes a number.
    let at = body.len() - 6;
    assert_eq!(body[at], 0x0a);
    body.splice(at.., [0x08, 1, 0x08, 1, 0x08, 1]);
    let problem = decode(&body).expect_err("it is wrong");
    let told = "resourceLogs.scopeLogs.logRecords.body.stringValue: has another type than in \
                `logs.proto`";
    assert_eq!(problem.to_string(), told);
}

#[test]
fn fields_of_later_versions_are_left_out() {
    let body = value(Any::Text("text".to_owned()));
    let request = request_of(LogRecord { body, ..LogRecord::default() });
    let expected = json_of(&request);
    // AnyValue gets field 99 behind its value; everything around it is three bytes longer.
    let mut body = request.encode_to_vec();
    for length in [1, 3, 5, 7] {
        body[length] += 3;
    }
    body.extend_from_slice(&[0x98, 0x06, 0x01]);
    let found: Value = serde_json::from_slice(&decode(&body).expect("it is read")).expect("JSON");
    assert_eq!(found, expected);
}
