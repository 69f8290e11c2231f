//! OTLP in Protocol Buffers: read by `prost`, it says what the same events say in JSON.
//!
//! `UPDATE_GOLDEN=1 cargo test --test vendors_otlp` writes `tests/golden/otlp/protobuf*.txt` again:
//! a record a line, as bytes with their escapes.

mod support;

use std::path::Path;

use loadgen::otlp::Request;
use proptest::prelude::*;
use prost::Message as _;
use serde_json::{Value, json};
use shrike::deliver::{Derived, OptionValue, Options};
use shrike::event::FieldId;
use shrike::schemas;
use shrike::transform::{Format, Overrides, Plan};
use shrike::vendors;
use support::{document, opening};

const SAMPLES: &str = include_str!("fixtures/security-events.jsonl");

/// An exporter: its plan, and what stands around documents.
struct Exporter {
    plan: Plan,
    head: String,
    between: &'static str,
    tail: &'static str,
}

impl Exporter {
    fn new(protocol: &str, format: Format, change: &Overrides) -> Self {
        let vendor = vendors::find("otlp").expect("it is in the catalogue");
        let mut options = Options::default();
        let text = |text: &str| OptionValue::Text(text.to_owned());
        options.set("protocol", text(protocol));
        options.set("host_name", text("edge-7"));
        options.set("service_name", text("clawdstrike"));
        // A resource of more than 127 bytes, whose length takes two.
        let attributes = ["deployment.environment.name=prod", LONG].map(str::to_owned);
        options.set("resource_attributes", OptionValue::List(attributes.to_vec()));
        let Derived { head, around, .. } = (vendor.derive)(&options).expect("they are right");
        let shape = vendor.shape(&options, format).expect("it takes the format");
        let overrides = Overrides { around, ..change.clone() };
        let plan = Plan::compile(&shape.chain(schemas::by_format(format)), &overrides);
        Self {
            plan: plan.expect("it compiles"),
            head: head.unwrap_or_default(),
            between: shape.framing.between,
            tail: shape.framing.tail,
        }
    }

    /// The body with these records, and where each ends.
    fn body(&self, records: &[&[u8]]) -> (Vec<u8>, Vec<usize>) {
        let (mut body, mut ends) = (self.head.clone().into_bytes(), Vec::new());
        for record in records {
            if !ends.is_empty() {
                body.extend_from_slice(self.between.as_bytes());
            }
            body.extend(document(&opening(), &self.plan, record).expect("it is an event"));
            ends.push(body.len());
        }
        body.extend_from_slice(self.tail.as_bytes());
        (body, ends)
    }
}

const LONG: &str = "note=a text of more than one hundred and twenty-seven bytes, as attributes of a \
                    resource may well be where somebody writes down what a host is there for";

/// Each record of a request in JSON with its resource and its scope, alike however they are grouped
/// and wherever JSON and Protocol Buffers write the same thing in several ways.
fn records(request: &Value) -> Vec<Value> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut found = Vec::new();
    for group in list(&request["resourceLogs"]) {
        for scope in list(&group["scopeLogs"]) {
            for mut record in list(&scope["logRecords"]) {
                for id in ["traceId", "spanId"] {
                    if let Some(text) = record[id].as_str() {
                        record[id] = json!(text.to_lowercase());
                    }
                }
                let record = plain(record);
                found.push(json!([plain(group["resource"].clone()), scope["scope"], record]));
            }
        }
    }
    found
}

/// Values without empty lists, members and keys, and with one spelling of each number.
fn plain(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.into_iter().map(|(name, value)| match name.as_str() {
                "doubleValue" => {
                    (name, json!(format!("{:.13e}", value.as_f64().expect("a number"))))
                }
                "intValue" => {
                    let number: i64 = value.as_str().expect("a text").parse().expect("64 bits");
                    (name, json!(number))
                }
                _ => (name, plain(value)),
            });
            let is_there = |(name, value): &(String, Value)| match value {
                Value::Null => false,
                Value::Array(values) => !values.is_empty(),
                Value::String(text) if name.ends_with("UnixNano") => text != "0",
                Value::String(text) => name != "key" || !text.is_empty(),
                _ => true,
            };
            Value::Object(members.filter(is_there).collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(plain).collect()),
        value => value,
    }
}

/// What `prost` reads, every byte of which is a field that the protocol has, written once.
fn read(body: &[u8]) -> Value {
    let request = Request::decode(body).expect("it is a request");
    assert_eq!(request.encoded_len(), body.len(), "something is unknown or written in vain");
    request.to_json()
}

/// Compares the two encodings of one event.
fn check(record: &[u8], format: Format, change: &Overrides) {
    let (json, _) = Exporter::new("http/json", format, change).body(&[record]);
    let (binary, _) = Exporter::new("http/protobuf", format, change).body(&[record]);
    let expected = serde_json::from_slice(&json).expect("the other encoding is JSON");
    assert_eq!(records(&read(&binary)), records(&expected));
}

/// Where texts are cut, names of the operator's are left out: an event that is too large.
fn without_names() -> Overrides {
    Overrides { deny: vec![FieldId::Metadata, FieldId::Labels], ..Overrides::default() }
}

#[test]
fn records_of_the_samples_are_as_written_down() {
    let samples: Vec<&[u8]> = SAMPLES.lines().map(str::as_bytes).collect();
    for (file, format) in [("protobuf.txt", Format::Native), ("protobuf_ecs.txt", Format::Ecs)] {
        let exporter = Exporter::new("http/protobuf", format, &Overrides::default());
        let (body, ends) = exporter.body(&samples);
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let lines =
            starts.zip(&ends).map(|(start, &end)| format!("{}\n", body[start..end].escape_ascii()));
        let text: String = lines.collect();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/otlp").join(file);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &text).expect("the golden file can be written");
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        for (at, (found, golden)) in text.lines().zip(golden.lines()).enumerate() {
            assert_eq!(found, golden, "{file} line {}", at + 1);
        }
        assert_eq!(golden, text, "{file}: UPDATE_GOLDEN=1 writes it");
    }
}

#[test]
fn both_encodings_say_the_same_of_every_sample() {
    let cut = Overrides { characters_max: 7, ..without_names() };
    let denied = Overrides { deny: vec![FieldId::Metadata, FieldId::Reason], ..without_names() };
    let allowed = Overrides { allow: vec![FieldId::AgentId], ..Overrides::default() };
    for record in SAMPLES.lines() {
        for change in [&Overrides::default(), &cut, &denied, &allowed] {
            for format in [Format::Native, Format::Ecs, Format::Ocsf, Format::Cef] {
                check(record.as_bytes(), format, change);
            }
        }
    }
}

#[test]
fn any_run_of_records_is_a_request() {
    let samples: Vec<&[u8]> = SAMPLES.lines().map(str::as_bytes).collect();
    let (body, ends) =
        Exporter::new("http/protobuf", Format::Native, &Overrides::default()).body(&samples);
    let whole = records(&read(&body));
    for from in 0..samples.len() {
        for to in from..samples.len() {
            let start = if from == 0 { 0 } else { ends[from - 1] };
            assert_eq!(records(&read(&body[start..ends[to]])), whole[from..=to]);
        }
    }
}

#[test]
fn an_event_before_1970_has_no_time() {
    let record = SAMPLES.lines().next().expect("there are samples");
    let event: Value = serde_json::from_str(record).expect("samples are JSON");
    let time = event["timestamp"].as_str().expect("a text");
    let record = record.replace(time, "1969-07-20T20:17:40.000000000Z");
    check(record.as_bytes(), Format::Native, &Overrides::default());
}

/// JSON text of every kind, spelled as producers may.
fn any_json() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        any::<String>().prop_map(|text| json!(text).to_string()),
        "[a-z ]{0,200}".prop_map(|text| json!(text).to_string()),
        Just("\"\\u00e9\\/\\ud83e\\udd85\\n\"".to_owned()),
    ];
    let leaf = prop_oneof![
        text,
        any::<i64>().prop_map(|number| number.to_string()),
        any::<u64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| json!(number).to_string()),
        prop::sample::select(vec![
            "0",
            "-0",
            "-0.0",
            "1E3",
            "1e-7",
            "-123456789012345678901",
            "1e999",
            "-1e400",
            "true",
            "false",
            "null",
            "\"\"",
            "{}",
            "[]",
            "[null]",
            "{\"a\":null}",
        ])
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(12, 60, 4, |inner| {
        let pair = (any::<String>(), inner.clone());
        let pairs = prop::collection::btree_map(pair.0, pair.1, 0..4).prop_map(|pairs| {
            let pairs: Vec<String> =
                pairs.iter().map(|(name, value)| format!("{} : {value}", json!(name))).collect();
            format!("{{{}}}", pairs.join(" , "))
        });
        let values = prop::collection::vec(inner, 0..4)
            .prop_map(|values| format!("[ {} ]", values.join(",\t")));
        prop_oneof![pairs, values]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn both_encodings_say_the_same_of_any_event(
        metadata in any_json(),
        reason in any::<String>(),
        guard in any::<String>(),
        port in any::<i32>(),
        trace in "[0-9a-fA-F]{30,34}",
        characters_max in prop_oneof![Just(0_u16), 1..40_u16],
        at in any::<prop::sample::Index>(),
    ) {
        let all: Vec<&str> = SAMPLES.lines().collect();
        let mut record: Value = serde_json::from_str(all[at.index(all.len())]).expect("samples are JSON");
        record["decision"]["reason"] = json!(reason);
        record["decision"]["guard"] = json!(guard);
        record["resource"]["port"] = json!(port);
        record["metadata"] = json!({"trace_id": trace, "any": "@"});
        let record = record.to_string().replace("\"@\"", &metadata);
        let change = match characters_max {
            0 => Overrides::default(),
            _ => Overrides { characters_max, ..without_names() },
        };
        if document(&opening(), &Exporter::new("http/json", Format::Native, &change).plan, record.as_bytes()).is_some() {
            for format in [Format::Native, Format::Ecs] {
                check(record.as_bytes(), format, &change);
            }
        }
    }
}
