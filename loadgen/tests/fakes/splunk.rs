//! The fake HTTP Event Collector against hand-written requests, good and bad.

use crate::client::{Answer, Headers, options, send, splunk};
use loadgen::fake::{Fake, Rules};
use loadgen::id::EventId;

const TOKEN: (&str, &str) = ("Authorization", "Splunk secret");
const CHANNEL: (&str, &str) = ("X-Splunk-Request-Channel", "0aaa1111-2222-4333-8444-555566667777");
const EVENT: &str = "POST /services/collector/event";
const ACK: &str = "POST /services/collector/ack";

fn rules(acks: bool) -> Rules {
    Rules { token: Some("secret".to_owned()), acks, indexes: vec!["main".to_owned()] }
}

fn envelope(sequence: u64) -> String {
    let id = EventId { sequence, scheduled_ns: 1_795_191_846_000_000_000, run: 1 }.text();
    format!(
        "{{\"time\":1770368407.987654,\"host\":\"h\",\"source\":\"s\",\"sourcetype\":\"t\",\
         \"index\":\"main\",\"event\":{{\"event_id\":\"{id}\"}},\
         \"fields\":{{\"severity\":\"high\"}}}}"
    )
}

fn post(fake: &Fake, line: &str, body: &str) -> Answer {
    send(fake, line, &[TOKEN, CHANNEL], body.as_bytes()).expect("an answer")
}

fn stored(fake: &Fake) -> Vec<u64> {
    let spans = fake.report().spans;
    spans.iter().flat_map(|span| span.from..span.from + span.events).collect()
}

#[test]
fn envelopes_are_stored_however_they_are_stacked() {
    for between in ["", "\n", "\r\n \t"] {
        let fake = splunk(options(""), rules(false));
        let body: Vec<String> = (0..4).map(envelope).collect();
        let answer = post(&fake, EVENT, &body.join(between));
        assert_eq!(answer.body, "{\"text\":\"Success\",\"code\":0}", "{between:?}");
        assert_eq!(stored(&fake), [0, 1, 2, 3]);
        assert!(fake.report().problems.is_empty());
    }
}

#[test]
fn an_unknown_key_is_answered_200_and_loses_the_rest() {
    let fake = splunk(options(""), rules(false));
    let bad = envelope(1).replace("\"host\"", "\"hostname\"");
    let answer = post(&fake, EVENT, &(envelope(0) + &bad + &envelope(2)));
    assert_eq!((answer.status, stored(&fake)), (200, vec![0]));
    let report = fake.report();
    assert!(report.problems.keys().any(|what| what.contains("hostname")), "{report:?}");
}

#[test]
fn a_bad_envelope_has_its_code_and_number() {
    let swap = |from: &str, to: &str| envelope(1).replace(from, to);
    let cases: &[(&str, String, u64)] = &[
        ("no JSON", "{\"event\":".to_owned(), 6),
        ("a list", format!("[{}]", envelope(1)), 6),
        ("event null", "{\"event\":null}".to_owned(), 6),
        ("event false", "{\"event\":false}".to_owned(), 6),
        ("no event", "{\"time\":1}".to_owned(), 12),
        ("blank event", "{\"event\":\" \"}".to_owned(), 13),
        ("nested fields", swap("\"high\"", "{\"a\":\"b\"}"), 15),
        ("fields no object", swap("{\"severity\":\"high\"}", "\"x\""), 15),
        ("another index", swap("main", "secret"), 7),
        ("time with an exponent", swap("1770368407.987654", "1.7e9"), 6),
        ("time in words", swap("1770368407.987654", "\"yesterday\""), 6),
        ("host no string", swap("\"h\"", "7"), 6),
        ("a duplicate key", swap("\"source\"", "\"host\""), 6),
    ];
    for (name, bad, code) in cases {
        let fake = splunk(options(""), rules(false));
        let answer = post(&fake, EVENT, &(envelope(0) + bad + &envelope(2)));
        assert_eq!(answer.status, 400, "{name}: {answer:?}");
        let json = answer.json();
        assert_eq!((&json["code"], &json["invalid-event-number"]), (&(*code).into(), &1.into()));
        assert_eq!(stored(&fake), [0], "{name}: what stands before it is stored");
        assert!(!fake.report().problems.is_empty(), "{name}");
    }
}

#[test]
fn tokens_and_channels_are_checked() {
    let raw = "POST /services/collector/raw";
    let bad_channel = ("X-Splunk-Request-Channel", "my-channel");
    let cases: &[(&str, Headers<'_>, u16, u64)] = &[
        (EVENT, &[TOKEN, CHANNEL], 200, 0),
        ("POST /services/collector", &[TOKEN, CHANNEL], 200, 0),
        ("POST /services/collector/event/1.0", &[TOKEN, CHANNEL], 200, 0),
        // base64 of "x:secret".
        (EVENT, &[("Authorization", "Basic eDpzZWNyZXQ="), CHANNEL], 200, 0),
        (EVENT, &[CHANNEL], 401, 2),
        (EVENT, &[("Authorization", "Bearer secret"), CHANNEL], 401, 3),
        (EVENT, &[("Authorization", "secret"), CHANNEL], 401, 3),
        (EVENT, &[("Authorization", "Splunk other"), CHANNEL], 403, 4),
        ("POST /services/collector/event?token=secret", &[CHANNEL], 400, 16),
        (EVENT, &[TOKEN], 400, 10),
        (EVENT, &[TOKEN, bad_channel], 400, 11),
        (
            "POST /services/collector/raw?channel=0aaa1111-2222-4333-8444-555566667777",
            &[TOKEN],
            200,
            0,
        ),
        (raw, &[TOKEN], 400, 10),
    ];
    for (line, headers, status, code) in cases {
        let fake = splunk(options(""), rules(true));
        let answer = send(&fake, line, headers, envelope(0).as_bytes()).expect("an answer");
        assert_eq!(answer.status, *status, "{line} {headers:?}: {answer:?}");
        assert_eq!(answer.json()["code"], *code, "{line} {headers:?}");
    }
    let fake = splunk(options(""), rules(true));
    let probe = send(&fake, EVENT, &[TOKEN], b"").expect("an answer");
    assert_eq!((probe.status, &probe.json()["code"]), (400, &5.into()));
    assert!(fake.report().problems.is_empty(), "an empty body is how clients ask");
}

#[test]
fn encodings_other_than_gzip_are_refused_in_html() {
    for encoding in ["deflate", "zstd", "br"] {
        let fake = splunk(options(""), rules(false));
        let headers = [TOKEN, CHANNEL, ("Content-Encoding", encoding)];
        let answer = send(&fake, EVENT, &headers, envelope(0).as_bytes()).expect("an answer");
        assert_eq!(answer.status, 415);
        assert!(answer.body.starts_with("<!doctype html>"), "{answer:?}");
    }
}

#[test]
fn ids_count_from_0_and_are_forgotten_once_true() {
    let fake = splunk(options(""), rules(true));
    for expected in 0..3u64 {
        assert_eq!(post(&fake, EVENT, &envelope(expected)).json()["ackId"], expected);
    }
    let other = ("X-Splunk-Request-Channel", "1aaa1111-2222-4333-8444-555566667777");
    let first = send(&fake, EVENT, &[TOKEN, other], envelope(3).as_bytes()).expect("an answer");
    assert_eq!(first.json()["ackId"], 0, "each channel counts for itself");
    let poll = post(&fake, ACK, "{\"acks\":[0,2,9]}");
    assert_eq!(poll.body, "{\"acks\":{\"0\":true,\"2\":true,\"9\":false}}");
    let again = post(&fake, ACK, "{\"acks\":[0,1]}");
    assert_eq!(again.body, "{\"acks\":{\"0\":false,\"1\":true}}");
    assert_eq!(fake.report().confirmed.events, 3);
}

#[test]
fn polls_are_judged() {
    let off = splunk(options(""), rules(false));
    assert_eq!(post(&off, ACK, "{\"acks\":[0]}").json()["code"], 14);
    let on = splunk(options(""), rules(true));
    assert_eq!(post(&on, ACK, "{\"acks\":[0]}").json()["code"], 11, "an unknown channel");
    post(&on, EVENT, &envelope(0));
    assert_eq!(post(&on, ACK, "[0]").json()["code"], 6);
    let missing = send(&on, ACK, &[TOKEN], b"{\"acks\":[0]}").expect("an answer");
    assert_eq!(missing.json()["code"], 10);
}

#[test]
fn scripted_acknowledgements_are_late_lost_or_forgotten() {
    let late = splunk(options("ack-delay 1h"), rules(true));
    post(&late, EVENT, &envelope(0));
    assert_eq!(post(&late, ACK, "{\"acks\":[0]}").body, "{\"acks\":{\"0\":false}}");
    assert_eq!(stored(&late), [0]);
    let lost = splunk(options("ack-lost 1"), rules(true));
    post(&lost, EVENT, &envelope(0));
    assert_eq!(post(&lost, ACK, "{\"acks\":[0]}").body, "{\"acks\":{\"0\":false}}");
    assert_eq!(stored(&lost), [0]);
    let forgotten = splunk(options("on event forget"), rules(true));
    assert_eq!(post(&forgotten, EVENT, &envelope(0)).json()["ackId"], 0);
    assert_eq!(post(&forgotten, ACK, "{\"acks\":[0]}").body, "{\"acks\":{\"0\":false}}");
    assert!(stored(&forgotten).is_empty());
}

#[test]
fn a_restart_begins_the_ids_again() {
    let fake = splunk(options("requests 2..3 restart"), rules(true));
    assert_eq!(post(&fake, EVENT, &envelope(0)).json()["ackId"], 0);
    assert_eq!(post(&fake, EVENT, &envelope(1)).json()["ackId"], 1);
    send(&fake, EVENT, &[TOKEN, CHANNEL], envelope(2).as_bytes()).expect_err("it restarts");
    assert_eq!(post(&fake, ACK, "{\"acks\":[0,1]}").json()["code"], 11);
    assert_eq!(post(&fake, EVENT, &envelope(3)).json()["ackId"], 0);
}

#[test]
fn scripted_codes_answer_with_their_status() {
    for (code, status, is_stored) in
        [(9, 503, false), (26, 429, false), (23, 503, false), (24, 200, true), (25, 200, true)]
    {
        let fake = splunk(options(&format!("code {code}")), rules(true));
        let answer = post(&fake, EVENT, &envelope(0));
        assert_eq!((answer.status, &answer.json()["code"]), (status, &code.into()));
        assert_eq!(!stored(&fake).is_empty(), is_stored, "code {code}");
    }
}

#[test]
fn raw_lines_are_events() {
    let fake = splunk(options(""), rules(false));
    let line = "POST /services/collector/raw?channel=0aaa1111-2222-4333-8444-555566667777&index=m";
    let answer = post(&fake, line, &format!("{}\n{}\n", envelope(0), envelope(1)));
    assert_eq!((answer.status, stored(&fake)), (200, vec![0, 1]));
}

#[test]
fn skimming_and_judging_keep_the_same_account() {
    let mut loose = options("");
    loose.judge_every = 1_000;
    let fakes = [splunk(options(""), rules(false)), splunk(loose, rules(false))];
    for fake in &fakes {
        for round in 0..10u64 {
            let body: String = (round * 60..round * 60 + 100).map(envelope).collect();
            assert_eq!(post(fake, EVENT, &body).status, 200);
        }
    }
    let [strict, loose] = fakes.map(|fake| fake.report());
    assert_eq!((strict.spans, strict.order), (loose.spans, loose.order));
    assert_eq!((strict.events, loose.events), (1_000, 1_000));
}

#[test]
fn health_is_green_without_a_token() {
    let fake = splunk(options(""), rules(true));
    let answer = send(&fake, "GET /services/collector/health", &[], b"").expect("an answer");
    assert_eq!((answer.status, &answer.json()["code"]), (200, &17.into()));
}
