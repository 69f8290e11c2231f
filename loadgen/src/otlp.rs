//! The messages of OTLP logs, read and written by `prost`; and their JSON.
//!
//! Written from `opentelemetry/proto/logs/v1/logs.proto` and `common/v1/common.proto` of version
//! 1.9, and from nothing of shrike's.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use prost::Message;
use serde_json::{Map, Value, json};

/// ExportLogsServiceRequest.
#[derive(Clone, PartialEq, Message)]
pub struct Request {
    /// One element per resource.
    #[prost(message, repeated, tag = "1")]
    pub resource_logs: Vec<ResourceLogs>,
}

/// The logs of one resource.
#[derive(Clone, PartialEq, Message)]
pub struct ResourceLogs {
    /// Who speaks.
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    /// What it says, by scope.
    #[prost(message, repeated, tag = "2")]
    pub scope_logs: Vec<ScopeLogs>,
    /// The schema of the resource.
    #[prost(string, tag = "3")]
    pub schema_url: String,
}

/// A resource.
#[derive(Clone, PartialEq, Message)]
pub struct Resource {
    /// Its attributes.
    #[prost(message, repeated, tag = "1")]
    pub attributes: Vec<KeyValue>,
    /// How many of them are missing.
    #[prost(uint32, tag = "2")]
    pub dropped_attributes_count: u32,
}

/// The logs of one scope.
#[derive(Clone, PartialEq, Message)]
pub struct ScopeLogs {
    /// Which part of the program.
    #[prost(message, optional, tag = "1")]
    pub scope: Option<Scope>,
    /// Its records.
    #[prost(message, repeated, tag = "2")]
    pub log_records: Vec<LogRecord>,
    /// The schema of the records.
    #[prost(string, tag = "3")]
    pub schema_url: String,
}

/// An instrumentation scope.
#[derive(Clone, PartialEq, Message)]
pub struct Scope {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its version.
    #[prost(string, tag = "2")]
    pub version: String,
    /// Its attributes.
    #[prost(message, repeated, tag = "3")]
    pub attributes: Vec<KeyValue>,
    /// How many of them are missing.
    #[prost(uint32, tag = "4")]
    pub dropped_attributes_count: u32,
}

/// A record.
#[derive(Clone, PartialEq, Message)]
pub struct LogRecord {
    /// When it happened.
    #[prost(fixed64, tag = "1")]
    pub time_unix_nano: u64,
    /// When it was seen.
    #[prost(fixed64, tag = "11")]
    pub observed_time_unix_nano: u64,
    /// How bad, 1 to 24.
    #[prost(int32, tag = "2")]
    pub severity_number: i32,
    /// The same as its source says it.
    #[prost(string, tag = "3")]
    pub severity_text: String,
    /// What is said.
    #[prost(message, optional, tag = "5")]
    pub body: Option<AnyValue>,
    /// More of it.
    #[prost(message, repeated, tag = "6")]
    pub attributes: Vec<KeyValue>,
    /// How many of them are missing.
    #[prost(uint32, tag = "7")]
    pub dropped_attributes_count: u32,
    /// Flags of the trace.
    #[prost(fixed32, tag = "8")]
    pub flags: u32,
    /// Sixteen bytes.
    #[prost(bytes = "vec", tag = "9")]
    pub trace_id: Vec<u8>,
    /// Eight bytes.
    #[prost(bytes = "vec", tag = "10")]
    pub span_id: Vec<u8>,
    /// The name of the event.
    #[prost(string, tag = "12")]
    pub event_name: String,
}

/// An attribute.
#[derive(Clone, PartialEq, Message)]
pub struct KeyValue {
    /// Its name.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Its value.
    #[prost(message, optional, tag = "2")]
    pub value: Option<AnyValue>,
}

/// Any value, or none.
#[derive(Clone, PartialEq, Message)]
pub struct AnyValue {
    /// Which one.
    #[prost(oneof = "Any", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub value: Option<Any>,
}

/// A value.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Any {
    /// `string_value`
    #[prost(string, tag = "1")]
    Text(String),
    /// `bool_value`
    #[prost(bool, tag = "2")]
    Bool(bool),
    /// `int_value`
    #[prost(int64, tag = "3")]
    Int(i64),
    /// `double_value`
    #[prost(double, tag = "4")]
    Double(f64),
    /// `array_value`
    #[prost(message, tag = "5")]
    Array(ArrayValue),
    /// `kvlist_value`
    #[prost(message, tag = "6")]
    Pairs(KeyValueList),
    /// `bytes_value`
    #[prost(bytes = "vec", tag = "7")]
    Bytes(Vec<u8>),
}

/// Several values.
#[derive(Clone, PartialEq, Message)]
pub struct ArrayValue {
    /// In order.
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<AnyValue>,
}

/// Several values with keys.
#[derive(Clone, PartialEq, Message)]
pub struct KeyValueList {
    /// In order.
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<KeyValue>,
}

/// ExportLogsServiceResponse.
#[derive(Clone, PartialEq, Message)]
pub struct Answer {
    /// What was not taken.
    #[prost(message, optional, tag = "1")]
    pub partial_success: Option<PartialSuccess>,
}

/// ExportLogsPartialSuccess.
#[derive(Clone, PartialEq, Message)]
pub struct PartialSuccess {
    /// How many records were refused.
    #[prost(int64, tag = "1")]
    pub rejected_log_records: i64,
    /// Why.
    #[prost(string, tag = "2")]
    pub error_message: String,
}

/// `google.rpc.Status` without its details.
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    /// One of gRPC's codes.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// The same for people.
    #[prost(string, tag = "2")]
    pub message: String,
}

impl Request {
    /// The same as JSON (OTLP Specification, JSON Protobuf Encoding): camel case, numbers of 64
    /// bits as texts, ids in hexadecimal digits; defaults are left out, but for the times.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let resource_logs = self.resource_logs.iter().map(|it| {
            let resource = it.resource.as_ref().map(|it| {
                object([
                    ("attributes", pairs(&it.attributes)),
                    ("droppedAttributesCount", number(it.dropped_attributes_count.into())),
                ])
            });
            let scope_logs = it.scope_logs.iter().map(ScopeLogs::to_json).collect();
            object([
                ("resource", resource),
                ("scopeLogs", list(scope_logs)),
                ("schemaUrl", text(&it.schema_url)),
            ])
        });
        json!({"resourceLogs": resource_logs.collect::<Vec<_>>()})
    }
}

impl ScopeLogs {
    fn to_json(&self) -> Value {
        let scope = self.scope.as_ref().map(|it| {
            object([
                ("name", text(&it.name)),
                ("version", text(&it.version)),
                ("attributes", pairs(&it.attributes)),
                ("droppedAttributesCount", number(it.dropped_attributes_count.into())),
            ])
        });
        object([
            ("scope", scope),
            ("logRecords", list(self.log_records.iter().map(LogRecord::to_json).collect())),
            ("schemaUrl", text(&self.schema_url)),
        ])
    }
}

impl LogRecord {
    fn to_json(&self) -> Value {
        object([
            ("timeUnixNano", Some(json!(self.time_unix_nano.to_string()))),
            ("observedTimeUnixNano", Some(json!(self.observed_time_unix_nano.to_string()))),
            ("severityNumber", number(self.severity_number.into())),
            ("severityText", text(&self.severity_text)),
            ("eventName", text(&self.event_name)),
            ("body", self.body.as_ref().map(AnyValue::to_json)),
            ("attributes", pairs(&self.attributes)),
            ("droppedAttributesCount", number(self.dropped_attributes_count.into())),
            ("flags", number(self.flags.into())),
            ("traceId", text(&hex(&self.trace_id))),
            ("spanId", text(&hex(&self.span_id))),
        ])
    }
}

impl AnyValue {
    fn to_json(&self) -> Value {
        match &self.value {
            None => json!({}),
            Some(Any::Text(text)) => json!({"stringValue": text}),
            Some(Any::Bool(yes)) => json!({"boolValue": yes}),
            Some(Any::Int(number)) => json!({"intValue": number.to_string()}),
            Some(Any::Double(number)) => json!({"doubleValue": double(*number)}),
            Some(Any::Bytes(bytes)) => json!({"bytesValue": BASE64_STANDARD.encode(bytes)}),
            Some(Any::Array(array)) => {
                let values = list(array.values.iter().map(Self::to_json).collect());
                json!({"arrayValue": object([("values", values)])})
            }
            Some(Any::Pairs(list)) => {
                json!({"kvlistValue": object([("values", pairs(&list.values))])})
            }
        }
    }
}

fn double(number: f64) -> Value {
    match number {
        f64::INFINITY => json!("Infinity"),
        f64::NEG_INFINITY => json!("-Infinity"),
        number if number.is_nan() => json!("NaN"),
        number => json!(number),
    }
}

fn pairs(pairs: &[KeyValue]) -> Option<Value> {
    let pair = |it: &KeyValue| {
        object([("key", text(&it.key)), ("value", it.value.as_ref().map(AnyValue::to_json))])
    };
    list(pairs.iter().map(pair).collect())
}

fn object<const N: usize>(members: [(&str, Option<Value>); N]) -> Value {
    let there = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(Map::from_iter(there))
}

fn list(values: Vec<Value>) -> Option<Value> {
    (!values.is_empty()).then_some(Value::Array(values))
}

fn text(text: &str) -> Option<Value> {
    (!text.is_empty()).then(|| json!(text))
}

fn number(number: i64) -> Option<Value> {
    (number != 0).then(|| json!(number))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
