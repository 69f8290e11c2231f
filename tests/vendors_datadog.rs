//! Datadog: sites, keys, requests of every kind, traces, ages, windows of counts.

mod support;

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use shrike::deliver::{
    Binding, Channel, Choice, CompiledCall, Derived, Encoding, OptionValue, Options, Purpose,
    Request, Secret, Tally, Via, Window,
};
use shrike::event::{Severity, Time};
use shrike::schemas::{CEF, NATIVE};
use shrike::transform::{Format, Overrides, Plan};
use shrike::vendors::datadog::DATADOG;
use support::{document, opening};

const VIA: Via = Via { endpoint: 1, group: 0, channel: Channel::from_random([7; 16]) };

fn options(pairs: &[(&'static str, &str)]) -> Options {
    let mut options = Options::default();
    options.set("api_key", OptionValue::Secret(Secret::new("k3y".to_owned())));
    for &(key, text) in pairs {
        let value = match (key, text) {
            ("api_key", _) => OptionValue::Secret(Secret::new(text.to_owned())),
            (_, "true" | "false") => OptionValue::Bool(text == "true"),
            ("failover.sites" | "logs.tags" | "metrics.tags", _) => {
                OptionValue::List(text.split(' ').map(str::to_owned).collect())
            }
            _ => OptionValue::Text(text.to_owned()),
        };
        options.set(key, value);
    }
    options
}

fn compile(purpose: Purpose, options: &Options) -> CompiledCall {
    let derived = (DATADOG.derive)(options).expect("the options are right");
    let credentials = (DATADOG.auth)(options).expect("there is a key");
    let call = DATADOG.call(purpose, options, Format::Native).expect("the vendor has it");
    let binding = Binding {
        vendor: &DATADOG,
        options,
        derived: &derived,
        format: Format::Native,
        credentials: &credentials,
        headers: &[],
        encoding: Encoding::Zstd,
        timeout: Duration::from_secs(30),
    };
    CompiledCall::compile(call, &binding).expect("it compiles")
}

fn line(request: &Request) -> String {
    format!("{} {}", request.method, request.path)
}

#[test]
fn every_site_has_its_hosts_and_an_unknown_one_is_refused() {
    let sites = [
        "datadoghq.com",
        "us3.datadoghq.com",
        "us5.datadoghq.com",
        "datadoghq.eu",
        "ap1.datadoghq.com",
        "ap2.datadoghq.com",
        "ddog-gov.com",
        "uk1.datadoghq.com",
    ];
    for site in sites {
        let options = options(&[("site", site)]);
        let intake = (DATADOG.endpoints)(&options).expect(site);
        let api = (DATADOG.aside)(&options).expect(site);
        assert_eq!(intake[0].to_string(), format!("https://http-intake.logs.{site}/"));
        assert_eq!(api[0].to_string(), format!("https://api.{site}/"));
    }
    let unknown =
        ["datadoghq.org", "evil-datadoghq.com", "a.b.datadoghq.com", "x1@datadoghq.com", "", "US3"];
    for site in unknown {
        let problem = (DATADOG.endpoints)(&options(&[("site", site)])).expect_err(site);
        assert_eq!(problem.key, "site", "{site}");
        let elsewhere = options(&[
            ("site", site),
            ("endpoint", "https://intake.example/api/v2/logs"),
            ("metrics_endpoint", "https://api.example/api/v2/series"),
        ]);
        let urls =
            |found: Vec<http::Uri>| found.iter().map(ToString::to_string).collect::<Vec<_>>();
        let intake = urls((DATADOG.endpoints)(&elsewhere).expect("it is set"));
        let api = urls((DATADOG.aside)(&elsewhere).expect("it is set"));
        assert_eq!(
            (intake, api),
            (vec!["https://intake.example/".into()], vec!["https://api.example/".into()])
        );
    }
}

#[test]
fn sites_take_over_only_within_one_residency() {
    assert_eq!(DATADOG.choice, Choice::First);
    let good = options(&[
        ("site", "us3.datadoghq.com"),
        ("failover.sites", "us5.datadoghq.com datadoghq.com"),
    ]);
    assert_eq!((DATADOG.endpoints)(&good).expect("all in the US").len(), 3);
    assert_eq!((DATADOG.aside)(&good).expect("all in the US").len(), 3);
    for (site, other) in [
        ("datadoghq.com", "datadoghq.eu"),
        ("datadoghq.com", "ap1.datadoghq.com"),
        ("datadoghq.com", "ddog-gov.com"),
        ("datadoghq.com", "nowhere.example"),
    ] {
        let options = options(&[("site", site), ("failover.sites", other)]);
        assert_eq!((DATADOG.endpoints)(&options).expect_err(other).key, "failover.sites");
    }
}

#[test]
fn logs_go_to_the_intake_and_all_else_to_the_api_beside_it() {
    let options = options(&[
        ("failover.sites", "us3.datadoghq.com"),
        ("metrics.enabled", "true"),
        ("metrics.distributions", "true"),
    ]);
    let request = compile(Purpose::Send, &options).carrying(VIA, Bytes::from_static(b"[]"));
    assert_eq!(line(&request), "POST /api/v2/logs");
    assert_eq!(request.endpoint, 1, "the second site's intake");
    assert_eq!(request.headers["dd-api-key"], "k3y");
    assert!(request.headers["dd-api-key"].is_sensitive());
    assert_eq!(request.headers["dd-evp-origin"], "shrike");
    assert_eq!(request.headers["dd-evp-origin-version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(request.headers["content-type"], "application/json");
    assert_eq!(request.headers["content-encoding"], "zstd");
    let health = compile(Purpose::Health, &options).plain(VIA);
    assert_eq!((line(&health).as_str(), health.endpoint), ("GET /api/v1/validate", 3));
    let counts = compile(Purpose::Metrics, &options).carrying(VIA, Bytes::new());
    assert_eq!((line(&counts).as_str(), counts.endpoint), ("POST /api/v2/series", 3));
    assert!(!counts.headers.contains_key("content-encoding"), "counts go as they are");
    let latencies = compile(Purpose::Latencies, &options).carrying(VIA, Bytes::new());
    assert_eq!(line(&latencies), "POST /api/v1/distribution_points");
}

#[test]
fn with_an_intake_alone_nothing_goes_to_the_public_api() {
    let intake = ("endpoint", "https://intake.example/api/v2/logs");
    let alone =
        options(&[intake, ("metrics.enabled", "true"), ("failover.sites", "us3.datadoghq.com")]);
    let aside = |options: &Options| {
        let places = (DATADOG.aside)(options).expect("they are right");
        places.iter().map(|uri| uri.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(aside(&alone), ["https://intake.example/", "https://api.us3.datadoghq.com/"]);
    let health = |options: &Options| DATADOG.call(Purpose::Health, options, Format::Native);
    assert!(health(&alone).is_none(), "an intake need not know the keys");
    let both = options(&[intake, ("metrics_endpoint", "https://api.example")]);
    assert_eq!(aside(&both), ["https://api.example/"]);
    assert!(health(&both).is_some());
    assert!(health(&options(&[])).is_some());
}

#[test]
fn a_missing_key_and_bad_tags_are_named() {
    assert_eq!((DATADOG.auth)(&Options::default()).expect_err("required").key, "api_key");
    assert_eq!((DATADOG.auth)(&options(&[("api_key", " ")])).expect_err("empty").key, "api_key");
    let many = "a ".repeat(51);
    for tags in ["123", many.trim_end()] {
        assert_eq!(
            (DATADOG.derive)(&options(&[("logs.tags", tags)])).expect_err(tags).key,
            "logs.tags"
        );
    }
    let problem = (DATADOG.derive)(&options(&[("metrics.distributions", "true")]));
    assert_eq!(problem.expect_err("without counts").key, "metrics.distributions");
}

/// Whoever says it means privacy, which another schema's document would not have.
#[test]
fn metadata_is_left_out_where_that_has_an_effect() {
    for (format, is_right) in [("native", true), ("ecs", false), ("ocsf", false), ("cef", false)] {
        let said = options(&[("format", format), ("logs.include_metadata", "false")]);
        match (DATADOG.derive)(&said) {
            Ok(derived) => assert!(is_right && derived.omit.contains(&"labels"), "{format}"),
            Err(problem) => {
                assert!(!is_right && problem.key == "logs.include_metadata", "{problem}");
                assert!(problem.problem.contains("privacy.deny"), "{problem}");
            }
        }
    }
}

/// The log of a sample event with this metadata, traces on; `text` as plans of an age have it.
fn log(metadata: &Value, age: Option<(&str, &str)>) -> Value {
    let options = options(&[("apm.enabled", "true"), ("logs.tags", "team:red")]);
    let derived: Derived = (DATADOG.derive)(&options).expect("the options are right");
    let own = |(name, text): (&str, &str)| (name.to_owned(), text.to_owned());
    let mut texts: Vec<_> = derived.texts.iter().map(|(name, text)| own((name, text))).collect();
    texts.extend(age.map(own));
    let overrides = Overrides { texts, ..Overrides::default() };
    let shape = DATADOG.shape(&options, Format::Native).expect("it has one");
    let plan = Plan::compile(&shape.chain(&NATIVE), &overrides).expect("it compiles");
    let sample = include_str!("fixtures/security-events.jsonl").lines().next().expect("a sample");
    let mut record: Value = serde_json::from_str(sample).expect("samples are JSON");
    record["metadata"] = metadata.clone();
    let log = document(&opening(), &plan, record.to_string().as_bytes()).expect("an event");
    serde_json::from_slice(&log).expect("JSON")
}

#[test]
fn trace_ids_become_decimal_and_wide_ones_are_kept() {
    let wide = "8abd18d08f36d7d51832b154b1c957ab";
    let parent = format!("00-{wide}-06a328da49cbf3fa-01");
    let (trace, span) = ("1743650983063934891", "478270903437489146");
    let both = json!({"trace_id": trace, "span_id": span});
    let cases: &[(Value, Value, Value)] = &[
        (json!({"traceparent": parent}), both.clone(), json!(wide)),
        (json!({"trace_id": wide, "span_id": "06a328da49cbf3fa"}), both, json!(wide)),
        (
            json!({"traceparent": parent, "span_id": "00000000000000ff"}),
            json!({"trace_id": trace, "span_id": "255", "parent_id": span}),
            json!(wide),
        ),
        (
            json!({"dd": {"trace_id": "1234567890123456", "span_id": 7, "parent_id": "6"}}),
            json!({"trace_id": "1234567890123456", "span_id": "7", "parent_id": "6"}),
            Value::Null,
        ),
        (
            json!({"trace_id": 1_234_567_890_123_456_789_u64, "span_id": 1_234_567_890_123_456_u64}),
            json!({"trace_id": "1234567890123456789", "span_id": "1234567890123456"}),
            Value::Null,
        ),
        (
            json!({"trace_id": 7, "span_id": 8, "parent_span_id": 9}),
            json!({"trace_id": "7", "span_id": "8", "parent_id": "9"}),
            Value::Null,
        ),
        (json!({"trace_id": 1.5, "span_id": -7, "parent_span_id": true}), json!({}), Value::Null),
        (json!({"trace_id": "nonsense", "traceparent": "00-xyz"}), json!({}), Value::Null),
        (json!({"trace_id": "0".repeat(32)}), json!({}), Value::Null),
        (json!({}), json!({}), Value::Null),
    ];
    for (metadata, dd, otel) in cases {
        let log = log(metadata, None);
        let mut found = log["dd"].clone();
        found.as_object_mut().expect("version at least").remove("version");
        assert_eq!((&found, &log["otel"]["trace_id"]), (dd, otel), "{metadata}");
    }
}

#[test]
fn logs_that_datadog_may_date_anew_say_so() {
    let now = 1_000_000_000;
    let told = |time: i64| {
        let age = DATADOG.ages.iter().find(|age| age.is_reached(time, now));
        age.map(|age| age.text.1)
    };
    let hours = |hours: i64| now + hours * 3_600;
    assert_eq!(told(hours(-19)), Some("late:true,"));
    assert_eq!((told(hours(-18)), told(now), told(hours(2))), (None, None, None));
    assert_eq!(told(hours(3)), Some("ahead:true,"));
    assert_eq!((told(i64::MIN), told(i64::MAX)), (Some("late:true,"), Some("ahead:true,")));
    let tags = log(&json!({}), Some(("timing", "late:true,")))["ddtags"].clone();
    let tags = tags.as_str().expect("text");
    assert!(tags.starts_with("late:true,team:red,event_type:session_start,"), "{tags}");
}

/// "Duplicates removed", also where an event says what the operator says of every log.
#[test]
fn a_tag_of_the_operators_is_sent_once() {
    let options = options(&[("logs.tags", "team:red env:production Owner:Blue")]);
    let derived: Derived = (DATADOG.derive)(&options).expect("the options are right");
    let own = |(name, text): &(&str, String)| ((*name).to_owned(), text.clone());
    let texts = derived.texts.iter().map(own).collect();
    let overrides = Overrides { texts, ..Overrides::default() };
    let sample = include_str!("fixtures/security-events.jsonl").lines().next().expect("a sample");
    let mut record: Value = serde_json::from_str(sample).expect("samples are JSON");
    record["session"]["environment"] = json!("production");
    record["labels"] = json!({"team": "red", "owner": "BLUE", "team ": "red", "ow": "ner:blue"});
    for format in [Format::Native, Format::Cef] {
        let shape = DATADOG.shape(&options, format).expect("it has one");
        let document = if format == Format::Cef { &CEF } else { &NATIVE };
        let plan = Plan::compile(&shape.chain(document), &overrides).expect("it compiles");
        let log = self::document(&opening(), &plan, record.to_string().as_bytes());
        let log: Value = serde_json::from_slice(&log.expect("an event")).expect("JSON");
        let tags = log["ddtags"].as_str().expect("text");
        assert!(tags.starts_with("team:red,env:production,owner:blue,event_type:"), "{tags}");
        let mut each: Vec<&str> = tags.split(',').collect();
        assert!(each.contains(&"team_:red") && each.contains(&"ow:ner:blue"), "{tags}");
        each.sort_unstable();
        assert!(each.windows(2).all(|pair| pair[0] != pair[1]), "{tags}");
    }
}

#[test]
fn a_log_that_is_too_large_loses_metadata_and_says_so() {
    let options = options(&[]);
    let derived: Derived = (DATADOG.derive)(&options).expect("the options are right");
    let truncated = ("truncated".to_owned(), "true".to_owned());
    let overrides = Overrides {
        texts: vec![truncated],
        deny: vec![shrike::event::FieldId::Metadata, shrike::event::FieldId::Labels],
        omit: derived.omit.iter().map(|&key| key.to_owned()).collect(),
        ..Overrides::default()
    };
    let shape = DATADOG.shape(&options, Format::Native).expect("it has one");
    let plan = Plan::compile(&shape.chain(&NATIVE), &overrides).expect("it compiles");
    let sample = include_str!("fixtures/security-events.jsonl").lines().next().expect("a sample");
    let log = document(&opening(), &plan, sample.as_bytes()).expect("an event");
    let log: Value = serde_json::from_slice(&log).expect("JSON");
    assert_eq!(log["metadata"], json!({"shrike": {"truncated": true}}));
    assert_eq!(log.get("labels"), None);
}

fn tally<'a>(guard: &'a str, event_type: &'a str, total: u64, denied: u64) -> Tally<'a> {
    Tally { guard, severity: Severity::High, event_type, total, denied }
}

fn window<'a>(tallies: &'a [Tally<'a>], part: usize, latencies_ms: &'a [u32]) -> Window<'a> {
    Window {
        end: Time { secs: 1_770_368_410, nanos: 5 },
        length: Duration::from_secs(10),
        host: "machine",
        tallies: &tallies[part..],
        whole: tallies,
        part,
        lag_events: 42,
        latencies_ms,
    }
}

#[test]
fn counts_are_one_point_per_series_at_the_windows_end() {
    let options = options(&[
        ("logs.hostname", "edge-7"),
        ("metrics.enabled", "true"),
        ("metrics.prefix", "p"),
        ("metrics.tags", "Team:Red"),
        ("apm.env", "prod"),
    ]);
    let meter = DATADOG.meter.expect("it takes counts");
    let tallies = [tally("Egress x", "egress_blocked", 3, 3), tally("shell", "policy_allow", 5, 0)];
    let latencies: Vec<u32> = (1..=100).collect();
    let series = |part: usize| {
        let mut body = Vec::new();
        (meter.write)(&window(&tallies, part, &latencies), &options, &Derived::NONE, &mut body);
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        body["series"].as_array().expect("a list").clone()
    };
    let first = series(0);
    let find = |metric: &str, tag: &str| {
        let fits = |one: &&Value| {
            let tags = one["tags"].as_array().expect("a list");
            one["metric"] == metric && (tag.is_empty() || tags.contains(&json!(tag)))
        };
        let found: Vec<&Value> = first.iter().filter(fits).collect();
        assert_eq!(found.len(), 1, "{metric} {tag}");
        found[0]["points"][0]["value"].as_f64().expect("a number")
    };
    for (metric, tag, value) in [
        ("p.events.total", "", 8.0),
        ("p.events.allowed", "", 5.0),
        ("p.events.denied", "", 3.0),
        ("p.events.by_outcome", "outcome:denied", 3.0),
        ("p.events.by_guard", "guard:egress_x", 3.0),
        ("p.events.by_guard", "guard:shell", 5.0),
        ("p.events.by_severity", "severity:high", 8.0),
        ("p.events.by_type", "event_type:policy_allow", 5.0),
        ("p.export.lag_events", "", 42.0),
        ("p.export.latency_seconds.p50", "", 0.05),
        ("p.export.latency_seconds.p99", "", 0.099),
    ] {
        assert_eq!(find(metric, tag), value, "{metric} {tag}");
    }
    let total = first.iter().find(|one| one["metric"] == "p.events.total").expect("checked above");
    let expected = json!({
        "metric": "p.events.total", "type": 1, "interval": 10, "unit": "event",
        "points": [{"timestamp": 1_770_368_410, "value": 8}],
        "tags": ["team:red", "env:prod"], "resources": [{"type": "host", "name": "edge-7"}],
    });
    assert_eq!(total, &expected);
    // The second part has the guards that the first has not, and no sum once more.
    let second = series(1);
    let metrics: Vec<&Value> = second.iter().map(|one| &one["metric"]).collect();
    assert_eq!(metrics, [&json!("p.events.by_guard")]);
}

#[test]
fn latency_is_a_distribution_where_asked_for() {
    let options = options(&[
        ("metrics.enabled", "true"),
        ("metrics.distributions", "true"),
        ("metrics.prefix", "p"),
    ]);
    let write = DATADOG.meter.and_then(|meter| meter.latencies).expect("it has one");
    let mut body = Vec::new();
    write(&window(&[], 0, &[]), &options, &Derived::NONE, &mut body);
    assert!(body.is_empty(), "no values, no point");
    write(&window(&[], 0, &[1, 2_500]), &options, &Derived::NONE, &mut body);
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(body["series"][0]["metric"], "p.export.latency_seconds");
    assert_eq!(body["series"][0]["points"], json!([[1_770_368_410, [0.001, 2.5]]]));
    let mut gauges = Vec::new();
    let meter = DATADOG.meter.expect("it takes counts");
    (meter.write)(&window(&[], 0, &[1]), &options, &Derived::NONE, &mut gauges);
    assert!(!String::from_utf8_lossy(&gauges).contains("latency"), "not both");
}
