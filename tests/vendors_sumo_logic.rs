//! Sumo Logic: sources, headers that follow from events, chosen fields, escapes.

#[path = "support/config.rs"]
mod config;
mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use serde_json::{Value, json};
use shrike::config::{Config, Host};
use shrike::deliver::{
    Binding, Channel, CompiledCall, Encoding, Heads, OptionValue, Options, Parcel, Purpose, Secret,
    Via,
};
use shrike::event::{Event, Frame, Opened, Opening, OpeningOptions};
use shrike::pipeline::Render;
use shrike::transform::{Format, Overrides, Plan};
use shrike::vendors::sumo_logic::SUMO_LOGIC;
use support::{document, opening};

const SAMPLES: &str = include_str!("fixtures/security-events.jsonl");

const VIA: Via = Via { endpoint: 0, group: 0, channel: Channel::from_random([7; 16]) };

fn options(pairs: &[(&'static str, &str)]) -> Options {
    let mut options = Options::default();
    for &(key, text) in pairs {
        let value = match (key, text) {
            ("http_source_url" | "auth_token", _) => {
                OptionValue::Secret(Secret::new(text.to_owned()))
            }
            (_, "true" | "false") => OptionValue::Bool(text == "true"),
            ("fields.include" | "fields.exclude" | "metadata_fields", _) => {
                OptionValue::List(text.split_whitespace().map(str::to_owned).collect())
            }
            _ => OptionValue::Text(text.to_owned()),
        };
        options.set(key, value);
    }
    options
}

/// The headers of requests with these records, each distinct set once.
fn heads(options: &Options, records: &[String]) -> BTreeSet<String> {
    let derived = (SUMO_LOGIC.derive)(options).expect("the options are right");
    let texts = derived.texts.iter().map(|(name, text)| ((*name).to_owned(), text.clone()));
    let overrides = Overrides { texts: texts.collect(), ..Overrides::default() };
    let shape = SUMO_LOGIC.shape(options, Format::Native).expect("it has one");
    let schema = shape.heads.expect("headers follow from events");
    let plan = Plan::compile(&[schema], &overrides).expect("it compiles");
    let opening = opening();
    let spelled = records.iter().map(|record| {
        let heads = document(&opening, &plan, record.as_bytes()).expect("an event");
        String::from_utf8(heads).expect("UTF-8")
    });
    spelled.collect()
}

fn samples() -> Vec<String> {
    SAMPLES.lines().map(str::to_owned).collect()
}

/// A sample whose tenant, environment and guard are these.
fn record(tenant: &str, environment: &str, guard: &str) -> String {
    let sample = SAMPLES.lines().next().expect("a sample");
    let mut record: Value = serde_json::from_str(sample).expect("samples are JSON");
    record["session"]["tenant_id"] = json!(tenant);
    record["session"]["environment"] = json!(environment);
    record["decision"]["guard"] = json!(guard);
    record.to_string()
}

#[test]
fn a_category_has_a_part_for_what_is_there() {
    let options = options(&[
        ("source_category", "sec/{x}"),
        ("metadata_fields", ""),
        ("partitioning.enabled", "true"),
        ("partitioning.by_tenant", "true"),
        ("partitioning.by_severity", "true"),
        ("partitioning.by_guard", "true"),
    ]);
    let cases = [
        (record("acme", "p", "shell"), "sec/{x}/acme/info/shell"),
        (record("", "p", "shell"), "sec/{x}/info/shell"),
        (record("../../etc", "p", "a b"), "sec/{x}/._._etc/info/a_b"),
        (record("a\"\n\u{e9}", "p", "g"), "sec/{x}/a___/info/g"),
    ];
    for (record, category) in cases {
        let found = heads(&options, &[record]);
        assert_eq!(found.into_iter().next().expect("one"), format!("x-sumo-category:{category}"));
    }
}

#[test]
fn fields_are_pairs_of_what_is_there() {
    let of = |fields: &str, siem: &str, record: String| {
        let options = options(&[
            ("source_category", "c"),
            ("metadata_fields", fields),
            ("cloud_siem.forward", siem),
        ]);
        let found = heads(&options, &[record]).into_iter().next().expect("one");
        let fields = found.strip_prefix("x-sumo-category:c").expect("the category").trim_start();
        fields.strip_prefix("x-sumo-fields:").unwrap_or(fields).to_owned()
    };
    let (both, tenant) = ("environment tenant_id", "tenant_id");
    let long = "x".repeat(300);
    let cases = [
        (both, "false", record("acme", "prod", "g"), "environment=prod,tenant_id=acme"),
        (both, "false", record("", "prod", "g"), "environment=prod"),
        ("tenant_id environment", "false", record("", "prod", "g"), "environment=prod"),
        (tenant, "true", record("", "", "g"), "_siemForward=true"),
        (tenant, "false", record("", "", "g"), ""),
        ("guard", "false", record("", "", "a,b=c\u{e9}"), "guard=a_b_c_"),
        (tenant, "false", record(&long, "", "g"), &format!("tenant_id={}", &long[..255])),
    ];
    for (fields, siem, record, expected) in cases {
        assert_eq!(of(fields, siem, record), expected, "{fields} {siem}");
    }
}

#[test]
fn samples_of_one_tenant_share_requests() {
    let options =
        options(&[("source_category", "c"), ("metadata_fields", "environment tenant_id")]);
    let found = heads(&options, &samples());
    assert!(found.len() > 1 && found.len() < 8, "{found:?}");
    for heads in found {
        for line in heads.lines() {
            let (_, value) = line.split_once(':').expect("a name and a value");
            assert!(HeaderValue::from_str(value).is_ok(), "{line}");
        }
    }
}

#[test]
fn a_request_goes_to_the_source_itself_with_its_metadata() {
    let options = options(&[
        ("http_source_url", "https://c.example/receiver/v1/http/k3y"),
        ("auth_token", "t0ken"),
        ("source_category", "sec"),
        ("source_name", "n"),
        ("source_host", "edge-7"),
        ("health.mode", "probe"),
        ("metadata_fields", ""),
    ]);
    let derived = (SUMO_LOGIC.derive)(&options).expect("the options are right");
    let credentials = (SUMO_LOGIC.auth)(&options).expect("there is a token");
    let compile = |purpose| {
        let call = SUMO_LOGIC.call(purpose, &options, Format::Native).expect("it has one");
        let binding = Binding {
            vendor: &SUMO_LOGIC,
            options: &options,
            derived: &derived,
            format: Format::Native,
            credentials: &credentials,
            headers: &[],
            encoding: Encoding::Gzip,
            timeout: Duration::from_secs(30),
        };
        CompiledCall::compile(call, &binding).expect("it compiles")
    };
    let mut heads = Heads::default();
    heads.headers.insert("x-sumo-category", HeaderValue::from_static("sec/acme"));
    let parcel = Parcel { heads: &heads, ids: b"", digest: None, attempt: 1, sent: 0 };
    let request = compile(Purpose::Send).carrying_with(VIA, Bytes::from_static(b"x"), &parcel);
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", ""));
    for (name, value) in [
        ("x-sumo-category", "sec/acme"),
        ("x-sumo-name", "n"),
        ("x-sumo-host", "edge-7"),
        ("x-sumo-token", "t0ken"),
        ("content-type", "application/json"),
        ("content-encoding", "gzip"),
    ] {
        assert_eq!(request.headers[name], value);
    }
    assert!(request.headers["x-sumo-token"].is_sensitive());
    assert!(!request.needs_body, "a success that breaks off behind its head is one");
    assert!(!request.headers.contains_key("x-sumo-timestamp"), "there is no such header");
    let look = compile(Purpose::Health).plain(VIA);
    assert_eq!(look.headers["x-sumo-category"], "sec/healthcheck");
    let line: Value = serde_json::from_slice(&look.body).expect("JSON");
    assert_eq!(line["_type"], "health_check");
    let line: Value =
        serde_json::from_slice(&compile(Purpose::Health).plain_at(VIA, 1_770_368_403).body)
            .expect("JSON");
    assert_eq!(line["timestamp"], "2026-02-06T09:00:03Z");
    let probe = SUMO_LOGIC.calls.iter().find(|call| call.purpose == Purpose::Probe);
    assert!(probe.is_none(), "holds would ask more often");
    assert_eq!(SUMO_LOGIC.health_interval_min, Duration::from_secs(300), "a look is billed");
}

#[test]
fn mistakes_are_named() {
    let cases: &[(&[(&'static str, &str)], &str)] = &[
        (&[("metadata_fields", "reason")], "metadata_fields"),
        (&[("fields.include", "agent")], "fields.include"),
        (&[("fields.include_all", "false")], "fields.include"),
        (&[("fields.exclude", "decision.raeson")], "fields.exclude"),
        (&[("fields.exclude", "metadata.")], "fields.exclude"),
        (&[("fields.exclude", "metadata.shrike.host")], "fields.exclude"),
        (&[("fields.include_all", "false"), ("fields.include", "label.team")], "fields.include"),
        (&[("fields.exclude", "event_id")], "fields.exclude"),
        (&[("timestamp_field", "a.b"), ("format", "json")], "timestamp_field"),
    ];
    for (pairs, key) in cases {
        assert_eq!((SUMO_LOGIC.derive)(&options(pairs)).expect_err(key).key, *key, "{pairs:?}");
    }
    let url = |url| (SUMO_LOGIC.endpoints)(&options(&[("http_source_url", url)]));
    assert_eq!(url("https://c.example/receiver/v1/http/k3y").expect("a URL").len(), 1);
    let problem = url("https://c.example/receiver/v1/http/k3y?a=b").expect_err("a query");
    assert!(!problem.problem.contains("k3y"), "{problem}");
    assert!((SUMO_LOGIC.endpoints)(&Options::default()).is_err());
}

#[test]
fn no_text_breaks_a_line() {
    let sample = SAMPLES.lines().next().expect("a sample");
    let mut record: Value = serde_json::from_str(sample).expect("samples are JSON");
    record["decision"]["reason"] = json!("a\r\n\"b\" \\c\u{7}");
    for (format, expected) in [
        ("text", "ALLOWED - a\\n\\n\\\"b\\\" \\\\c  | event_id="),
        ("key_value", "reason=\"a\\n\\n\\\"b\\\" \\\\c \" session_id="),
    ] {
        let options = options(&[("format", format)]);
        let shape = SUMO_LOGIC.shape(&options, Format::Native).expect("it has one");
        let chain = shape.chain(&shrike::schemas::NATIVE);
        let plan = Plan::compile(&chain, &Overrides::default()).expect("it compiles");
        let line = document(&opening(), &plan, record.to_string().as_bytes()).expect("an event");
        let line = String::from_utf8(line).expect("UTF-8");
        assert!(line.contains(expected), "{line}");
        assert!(!line.contains(char::is_control), "{line:?}");
    }
}

/// A configuration of one exporter with these keys.
fn load(keys: &str) -> Result<Config, String> {
    let text =
        format!("exporters: {{sumo_logic: {{http_source_url: 'https://c.example/k3y', {keys}}}}}");
    config::load(&text)
}

#[test]
fn lines_have_the_fields_that_were_asked_for_and_no_others() {
    let sample = SAMPLES.lines().next().expect("a sample");
    let mut record: Value = serde_json::from_str(sample).expect("samples are JSON");
    record["metadata"] = json!({"velar": {"a": 1, "b": 2}, "trace_id": "t"});
    record["labels"] = json!({"team": "t", "app.io/x": "y"});
    let opening = Opening::new(&OpeningOptions::default());
    let line = |fields: &str| {
        let config = load(&format!("fields: {{{fields}}}")).unwrap_or_else(|it| panic!("{it}"));
        let options = config.engine_options(&Host { name: "h".to_owned(), machine_id: None });
        let mut render = Render::new(&options.exporters[0]).expect("it compiles");
        let (mut arena, mut opened, mut out) = (Vec::new(), Opened::default(), Vec::new());
        let (frame, record) = (Frame::default(), record.to_string());
        opening.begin(&mut arena);
        opening.open(&frame, record.as_bytes(), &mut arena, &mut opened).expect("an event");
        let event = Event::new(&opened, frame, record.as_bytes(), &arena);
        assert!(render.event(&event, 0, &mut out));
        let mut line: Value = serde_json::from_slice(&out).expect("a line is JSON");
        for always in ["timestamp", "event_id"] {
            assert!(line.as_object_mut().expect("an object").remove(always).is_some());
        }
        line
    };
    let only = |paths: &str| line(&format!("include_all: false, include: [{paths}]"));
    let reason = record["decision"]["reason"].clone();
    assert_eq!(only("decision.reason"), json!({"decision": {"reason": reason}}));
    assert_eq!(only("labels.app.io/x"), json!({"labels": {"app.io/x": "y"}}));
    assert_eq!(only("metadata.velar.b"), json!({"metadata": {"velar": {"b": 2}}}));
    assert_eq!(
        only("metadata.trace_id, labels"),
        json!({"metadata": {"trace_id": "t"}, "labels": record["labels"]})
    );
    let host = json!({"name": "h", "version": env!("CARGO_PKG_VERSION")});
    assert_eq!(only("metadata.shrike"), json!({"metadata": {"shrike": {"host": host}}}));
    let whole = only("metadata");
    assert_eq!(whole["metadata"]["shrike"]["host"], host);
    assert_eq!(whole["metadata"]["velar"], record["metadata"]["velar"]);

    let but = |paths: &str| line(&format!("exclude: [{paths}]"));
    let some = but("metadata.velar.a, metadata.trace_id, labels.team, metadata.shrike");
    assert_eq!(some["metadata"], json!({"velar": {"b": 2}}));
    assert_eq!(some["labels"], json!({"app.io/x": "y"}));
    assert_eq!(some["session"], record["session"]);
    let none = but("metadata, labels");
    assert!(none.get("metadata").is_none() && none.get("labels").is_none(), "{none}");

    let both =
        load("fields: {include_all: false, include: [labels.team]}, privacy: {allow: [agent]}");
    assert!(both.map(|_| ()).expect_err("two lists").contains("privacy.allow"));
}

#[test]
fn the_url_is_a_secret_in_every_mistake() {
    let cases = [
        "{http_source_url: 'https://c.example/k3y', fromat: json}",
        "{http_source_url: 'http://c.example/k3y'}",
        "{http_source_url: 'ftp://c.example/k3y'}",
        "{http_source_url: 'https://c.example/k3y?x=1'}",
        "{http_source_url: 'https://c.example/k3y', routing: [{condition: \"severity == 'low'\", http_source_url: 'c.example/k3y'}]}",
    ];
    for keys in cases {
        let error = config::load(&format!("exporters: {{sumo_logic: {keys}}}"));
        let error = error.map(|_| ()).expect_err(keys);
        assert!(!error.contains("k3y"), "{error}");
    }
}
