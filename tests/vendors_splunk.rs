//! Splunk: addresses, tokens, requests of every kind, what is indexed, counts, partial batches.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Deserializer, Value, json};
use shrike::config::{Config, Flags, System, Text};
use shrike::deliver::{
    AckId, Binding, Channel, CompiledCall, Credentials, Derived, Encoding, OptionValue, Options,
    Purpose, Request, Secret, Tally, Via, Window,
};
use shrike::event::{Severity, Time};
use shrike::transform::Format;
use shrike::vendors;
use shrike::vendors::splunk::SPLUNK;

fn via() -> Via {
    let channel = Channel::parse("0AEEAC95-AC74-4AA9-B30D-6C4C0AC581BA").expect("a UUID");
    Via { endpoint: 1, group: 3, channel }
}

const CHANNEL: &str = "0aeeac95-ac74-4aa9-b30d-6c4c0ac581ba";

fn options(pairs: &[(&'static str, &str)]) -> Options {
    let mut options = Options::default();
    for &(key, text) in pairs {
        let value = match (key, text) {
            ("hec_token" | "metrics.token", _) => OptionValue::Secret(Secret::new(text.to_owned())),
            (_, "true" | "false") => OptionValue::Bool(text == "true"),
            ("hec_url", _) => OptionValue::List(text.split(' ').map(str::to_owned).collect()),
            ("indexed_fields", _) if text.contains(' ') => {
                OptionValue::List(text.split_whitespace().map(str::to_owned).collect())
            }
            _ => OptionValue::Text(text.to_owned()),
        };
        options.set(key, value);
    }
    options
}

fn defaults(more: &[(&'static str, &str)]) -> Options {
    let mut pairs = vec![
        ("hec_token", "t0ken"),
        ("host", "edge-7"),
        ("index", "main"),
        ("source", "clawdstrike"),
        ("sourcetype", "clawdstrike:security"),
        ("use_ack", "true"),
    ];
    pairs.retain(|(key, _)| more.iter().all(|(other, _)| other != key));
    pairs.extend_from_slice(more);
    options(&pairs)
}

fn compile(purpose: Purpose, options: &Options) -> CompiledCall {
    let derived = (SPLUNK.derive)(options).expect("the options are right");
    let credentials = (SPLUNK.auth)(options).expect("there is a token");
    let call = SPLUNK.call(purpose, options, Format::Native).expect("the vendor has it");
    CompiledCall::compile(call, &binding(options, &derived, &credentials)).expect("it compiles")
}

fn binding<'a>(
    options: &'a Options,
    derived: &'a Derived,
    credentials: &'a Credentials,
) -> Binding<'a> {
    Binding {
        vendor: &SPLUNK,
        options,
        derived,
        format: Format::Native,
        credentials,
        headers: &[],
        encoding: Encoding::Gzip,
        timeout: Duration::from_secs(30),
    }
}

fn line(request: &Request) -> String {
    format!("{} {}", request.method, request.path)
}

#[test]
fn a_url_that_names_the_service_is_cut() {
    let cases: &[(&str, Result<&[&str], &str>)] = &[
        ("https://hec.example:8088", Ok(&["https://hec.example:8088/"])),
        ("https://hec.example:8088/", Ok(&["https://hec.example:8088/"])),
        ("https://hec.example:8088/services/collector", Ok(&["https://hec.example:8088/"])),
        ("https://hec.example/services/collector/event", Ok(&["https://hec.example/"])),
        ("https://hec.example/proxy/services/collector/", Ok(&["https://hec.example/proxy"])),
        ("https://a.example https://b.example", Ok(&["https://a.example/", "https://b.example/"])),
        ("hec.example:8088", Err("absolute URLs")),
        ("https://x:token@hec.example", Err("credentials")),
        ("https://hec.example/?token=x", Err("query")),
    ];
    for (urls, expected) in cases {
        match ((SPLUNK.endpoints)(&options(&[("hec_url", urls)])), expected) {
            (Ok(uris), Ok(expected)) => {
                let uris: Vec<String> = uris.iter().map(ToString::to_string).collect();
                assert_eq!(&uris, expected, "{urls}");
            }
            (Err(problem), Err(word)) => assert!(problem.problem.contains(word), "{problem}"),
            (found, _) => panic!("{urls}: {found:?}"),
        }
    }
    assert_eq!((SPLUNK.endpoints)(&Options::default()).expect_err("required").key, "hec_url");
}

#[test]
fn events_go_to_the_event_endpoint_with_token_and_channel() {
    let call = compile(Purpose::Send, &defaults(&[]));
    let request = call.carrying(via(), Bytes::from_static(b"{}"));
    assert_eq!(line(&request), "POST /services/collector/event");
    assert_eq!(request.headers["authorization"], "Splunk t0ken");
    assert!(request.headers["authorization"].is_sensitive());
    assert_eq!(request.headers["x-splunk-request-channel"], CHANNEL);
    assert_eq!(request.headers["content-type"], "application/json");
    assert_eq!(request.headers["content-encoding"], "gzip");
    assert_eq!((request.endpoint, request.group), (1, 3));
}

#[test]
fn lines_carry_no_indexed_fields() {
    for (endpoint, fields, is_right) in
        [("raw", "minimal", false), ("raw", "guard user", false), ("event", "full", true)]
    {
        let options = defaults(&[("endpoint", endpoint), ("indexed_fields", fields)]);
        match (SPLUNK.derive)(&options) {
            Ok(_) => assert!(is_right, "{endpoint} {fields}"),
            Err(problem) => {
                assert!(!is_right && problem.key == "indexed_fields", "{problem}");
                assert!(problem.problem.contains("endpoint: raw"), "{problem}");
            }
        }
    }
}

#[test]
fn lines_go_to_the_raw_endpoint_with_everything_in_the_query() {
    let options = defaults(&[("endpoint", "raw"), ("sourcetype", "a b&c")]);
    let request = compile(Purpose::Send, &options).carrying(via(), Bytes::new());
    let query = "index=main&sourcetype=a%20b%26c&source=clawdstrike&host=edge-7";
    let path = format!("POST /services/collector/raw?channel={CHANNEL}&{query}");
    assert_eq!(line(&request), path);
    assert_eq!(request.headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(request.headers["x-splunk-request-channel"], CHANNEL);
}

#[test]
fn all_pending_ids_are_asked_for_at_once() {
    let call = compile(Purpose::Poll, &defaults(&[]));
    let request = call.asking(via(), &[AckId(0), AckId(17), AckId(u64::MAX)]);
    assert_eq!(line(&request), format!("POST /services/collector/ack?channel={CHANNEL}"));
    assert_eq!(request.body, "{\"acks\":[0,17,18446744073709551615]}");
    assert_eq!(request.headers["x-splunk-request-channel"], CHANNEL);
    assert!(!request.headers.contains_key("content-encoding"));
}

#[test]
fn nothing_is_asked_for_without_acks() {
    let options = defaults(&[("use_ack", "false")]);
    assert!(SPLUNK.call(Purpose::Poll, &options, Format::Native).is_none());
}

#[test]
fn the_token_is_tested_with_an_empty_batch() {
    let options = defaults(&[("endpoint", "raw")]);
    let request = compile(Purpose::Probe, &options).plain(via());
    assert_eq!(line(&request), "POST /services/collector/event");
    assert!(request.body.is_empty() && !request.headers.contains_key("content-encoding"));
    let health = compile(Purpose::Health, &options).plain(via());
    assert_eq!(line(&health), "GET /services/collector/health");
}

#[test]
fn channels_are_uuids_and_differ_by_group() {
    let random = Channel::from_random([0xff; 16]);
    assert_eq!(random.to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    let channel = Channel::parse(CHANNEL).expect("a UUID");
    assert_eq!(channel.to_string(), CHANNEL);
    assert_eq!(channel.for_group(0), channel);
    assert_ne!(channel.for_group(1), channel.for_group(2));
    let short = &CHANNEL[1..];
    let joined = CHANNEL.replace('-', "");
    for wrong in ["", short, joined.as_str(), "0aeeac95-ac74-4aa9-b30d-6c4c0ac581bg"] {
        assert_eq!(Channel::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn what_is_not_asked_for_is_not_indexed() {
    let cases: &[(&str, Result<usize, &str>)] = &[
        // The fields left out, of 15.
        ("minimal", Ok(9)),
        ("full", Ok(0)),
        ("severity user ", Ok(13)),
        ("severity usre ", Err("usre")),
    ];
    for (chosen, expected) in cases {
        match ((SPLUNK.derive)(&defaults(&[("indexed_fields", chosen)])), expected) {
            (Ok(derived), Ok(left_out)) => {
                assert_eq!(derived.omit.len(), *left_out, "{chosen}");
                assert!(derived.omit.iter().all(|key| key.starts_with("fields.")));
            }
            (Err(problem), Err(word)) => assert!(problem.problem.contains(word), "{problem}"),
            (found, _) => panic!("{chosen}: {found:?}"),
        }
    }
}

#[test]
fn counts_are_one_metric_per_guard_and_severity() {
    let options = defaults(&[("metrics.enabled", "true"), ("metrics.index", "m")]);
    let meter = SPLUNK.meter.expect("it takes counts");
    assert!(meter.when.holds(&options, Format::Native));
    assert!(!meter.when.holds(&defaults(&[]), Format::Native));
    let tally = |guard, severity, event_type, total, denied| Tally {
        guard,
        severity,
        event_type,
        total,
        denied,
    };
    let tallies = [
        tally("egress \"x\"", Severity::High, "egress_blocked", 3, 3),
        tally("egress \"x\"", Severity::High, "policy_allow", 4, 0),
        tally("shell", Severity::Info, "policy_allow", 5, 0),
    ];
    let window = Window {
        end: Time { secs: 1_770_368_410, nanos: 0 },
        length: Duration::from_secs(10),
        host: "machine",
        tallies: &tallies,
        whole: &tallies,
        part: 0,
        lag_events: 0,
        latencies_ms: &[],
    };
    let mut body = Vec::new();
    (meter.write)(&window, &options, &Derived::NONE, &mut body);
    let metrics: Vec<Value> =
        Deserializer::from_slice(&body).into_iter().collect::<Result<_, _>>().expect("JSON");
    let expected = |total: u64, denied: u64, guard: &str, severity: &str| {
        json!({
            "time": 1_770_368_410, "event": "metric", "host": "edge-7", "source": "clawdstrike",
            "index": "m",
            "fields": {
                "metric_name:clawdstrike.events.total": total,
                "metric_name:clawdstrike.events.denied": denied,
                "guard": guard, "severity": severity,
            },
        })
    };
    assert_eq!(metrics, [expected(7, 3, "egress \"x\"", "high"), expected(5, 0, "shell", "info")]);
    let request = compile(Purpose::Metrics, &options).carrying(via(), body.into());
    assert_eq!(line(&request), "POST /services/collector/event");
    assert!(!request.headers.contains_key("content-encoding"), "counts go as they are");
}

#[test]
fn counts_need_an_index_and_may_have_a_token_of_their_own() {
    let problem = (SPLUNK.derive)(&defaults(&[("metrics.enabled", "true")]));
    assert_eq!(problem.expect_err("required").key, "metrics.index");
    let auth = SPLUNK.meter.and_then(|meter| meter.auth).expect("it has one");
    let own = auth(&defaults(&[("metrics.token", "m3trics")])).expect("a token");
    assert_eq!(own[0].1.expose(), "Splunk m3trics");
    let shared = auth(&defaults(&[])).expect("a token");
    assert_eq!(shared[0].1.expose(), "Splunk t0ken");
}

#[test]
fn a_missing_token_is_named() {
    assert_eq!((SPLUNK.auth)(&Options::default()).expect_err("required").key, "hec_token");
    assert_eq!((SPLUNK.auth)(&options(&[("hec_token", " ")])).expect_err("empty").key, "hec_token");
}

/// "800 MiB on current Enterprise, 1 MB on old ones; Splunk Cloud about 5 MiB" (`splunk.md`, Wire).
#[test]
fn bodies_are_small_by_default_and_may_be_larger() {
    let bytes_max = |keys: &str| {
        let of = "exporters: {splunk: {hec_url: 'https://a:8088', hec_token: t";
        let text = Text::File { name: "test".to_owned(), text: format!("{of}, {keys}}}}}").into() };
        let config = Config::load(&text, &Flags::default(), vendors::ALL, &System);
        config.unwrap_or_else(|error| panic!("{error}")).exporters[0].settings.batch.bytes_max
    };
    assert_eq!(bytes_max(""), 1_000_000);
    assert_eq!(bytes_max("batch: {max_bytes: 5MiB}"), 5 << 20);
}
