//! Syslog over real sockets: log, engine and receivers of every transport.

#[path = "../support/engine.rs"]
mod engine;
#[path = "../support/equation.rs"]
mod equation;
mod receiver;
#[path = "../support/rfc5424.rs"]
mod rfc5424;
#[path = "../support/wait.rs"]
mod wait;

use std::path::Path;
use std::time::Instant;

use engine::append;
use equation::assert_equation;
use receiver::{Manner, Receiver};
use shrike::config::{Config, Flags, Host, System, Text};
use shrike::log::Log;
use shrike::pipeline::{Ended, Engine, ExporterStatus, Status};
use shrike::vendors;
use wait::{PATIENCE, comes_true};

#[test]
fn every_event_is_one_datagram() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let receiver = Receiver::udp();
    let keys = format!("address: '{}', transport: udp", receiver.address());
    let status = run_to_the_end(&config(dir.path(), &keys), 0..300, 700);
    assert_eq!(syslog(&status).counts.delivered, 300);
    assert!(comes_true(|| receiver.messages().len() == 300));
    for message in receiver.messages() {
        assert!(message.len() <= 2048, "receivers should take that much");
        let message = rfc5424::read(&message);
        assert_eq!((message.priority, message.msgid.as_str()), (83, "guard_block"));
    }
    assert_eq!(receiver.ids(), (0..300).map(id).collect());
}

#[test]
fn every_event_is_one_local_datagram() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let socket = dir.path().join("log.sock");
    let receiver = Receiver::unix(&socket);
    let keys = format!("address: '{}', transport: unix, payload: cef", socket.display());
    let status = run_to_the_end(&config(dir.path(), &keys), 0..200, 700);
    assert_eq!(syslog(&status).counts.delivered, 200);
    assert!(comes_true(|| receiver.messages().len() == 200));
    let messages = receiver.messages();
    assert!(messages.iter().all(|it| rfc5424::read(it).text.starts_with("CEF:0|Clawdstrike|")));
}

#[test]
fn lines_arrive_whole_over_a_local_stream() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let socket = dir.path().join("log.sock");
    let receiver = Receiver::unix_stream(&socket);
    let keys = format!("address: '{}', transport: unix, framing: newline", socket.display());
    let status = run_to_the_end(&config(dir.path(), &keys), 0..3_000, 900);
    assert_eq!(syslog(&status).counts.delivered, 3_000);
    // What was delivered was read: nobody has to be waited for.
    assert_once(&receiver, 3_000);
    assert_eq!(syslog(&status).ambiguous, 0);
}

#[test]
fn counted_messages_arrive_whole_over_tcp() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let receiver = Receiver::tcp(Manner::Counted);
    let keys = format!("address: '{}'", receiver.address());
    let status = run_to_the_end(&config(dir.path(), &keys), 0..5_000, 900);
    assert_eq!(syslog(&status).counts.delivered, 5_000);
    assert_once(&receiver, 5_000);
    assert_eq!(syslog(&status).ambiguous, 0);
}

#[test]
fn lines_arrive_whole_over_tcp() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let receiver = Receiver::tcp(Manner::Lines);
    let keys = format!("address: '{}', framing: newline, payload: ocsf", receiver.address());
    let status = run_to_the_end(&config(dir.path(), &keys), 0..3_000, 900);
    assert_eq!(syslog(&status).counts.delivered, 3_000);
    assert_once(&receiver, 3_000);
}

#[test]
fn tls_shows_our_certificate_and_checks_theirs() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let receiver = Receiver::tls(dir.path());
    let at = |name: &str| dir.path().join(name).display().to_string();
    let keys = format!(
        "address: 'localhost:{}', transport: tls, tls: {{ca_cert_path: '{}', \
         client_cert_path: '{}', client_key_path: '{}'}}",
        receiver.port(),
        at("ca.pem"),
        at("client.pem"),
        at("client.key")
    );
    let status = run_to_the_end(&config(dir.path(), &keys), 0..2_000, 900);
    assert_eq!(syslog(&status).counts.delivered, 2_000);
    assert_once(&receiver, 2_000);
    // RFC 5425 4.4: whoever closes says so first; else the receiver thinks that we were cut off.
    assert!(comes_true(|| receiver.connections() == receiver.closed() + receiver.cut()));
    assert!(receiver.closed() > 0);
    assert_eq!(receiver.cut(), 0, "of {} connections", receiver.connections());
}

#[test]
fn a_pinned_certificate_is_the_only_one() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let receiver = Receiver::tls(dir.path());
    let at = |name: &str| dir.path().join(name).display().to_string();
    let pin = std::fs::read_to_string(at("server.sha256")).expect("the receiver left it");
    let keys = |host: &str, pin: &str, more: &str| {
        format!(
            "address: '{host}:{}', transport: tls, tls: {{fingerprint: '{pin}', \
             client_cert_path: '{}', client_key_path: '{}'{more}}}",
            receiver.port(),
            at("client.pem"),
            at("client.key")
        )
    };
    // Neither the system's authorities nor the name matter to a pin alone.
    let status =
        run_to_the_end(&config(&dir.path().join("a"), &keys("127.0.0.1", &pin, "")), 0..100, 900);
    assert_eq!(syslog(&status).counts.delivered, 100);
    assert_once(&receiver, 100);
    let ca = format!(", ca_cert_path: '{}'", at("ca.pem"));
    let other = "00:".repeat(31) + "00";
    for (place, keys, words) in [
        ("b", keys("localhost", &other, &ca), "not the one of tls.fingerprint"),
        ("c", keys("localhost", &other, ""), "not the one of tls.fingerprint"),
        ("d", keys("127.0.0.1", &pin, &ca), "for another name"),
    ] {
        let engine = start(&config(&dir.path().join(place), &keys), 0..100, 900);
        let is_told = || {
            let last = syslog(&engine.status()).last_error.clone();
            last.is_some_and(|(_, error)| error.contains(words))
        };
        assert!(comes_true(is_told), "{place}: {:?}", syslog(&engine.status()).last_error);
        assert_eq!(syslog(&assert_equation(engine.end())).pending, 100);
    }
    assert_eq!(receiver.messages().len(), 100);
}

#[test]
fn numbered_messages_follow_each_other() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let receiver = Receiver::tcp(Manner::Counted);
    let keys = format!("address: '{}', meta: true", receiver.address());
    run_to_the_end(&config(dir.path(), &keys), 0..3_000, 900);
    assert_once(&receiver, 3_000);
    let numbers: Vec<u32> = receiver
        .messages()
        .iter()
        .map(|message| {
            let data = rfc5424::read(message).data;
            assert_eq!(data["timeQuality"]["tzKnown"], "1");
            data["meta"]["sequenceId"].parse().expect("a number")
        })
        .collect();
    assert!(numbers.iter().copied().eq(1..=3_000), "{numbers:?}");
    let ids = receiver.messages().into_iter().map(|message| rfc5424::read(&message).text);
    let ids: Vec<String> =
        ids.map(|text| text[text.find("019c").expect("an id")..][..36].to_owned()).collect();
    assert!(ids.iter().eq((0..3_000).map(id).collect::<Vec<_>>().iter()), "the log's order");
}

#[test]
fn without_our_certificate_nothing_counts_as_delivered() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let receiver = Receiver::tls(dir.path());
    let ca = dir.path().join("ca.pem");
    let cases = [
        format!(
            "localhost:{}', transport: tls, tls: {{ca_cert_path: '{}'",
            receiver.port(),
            ca.display()
        ),
        // An authority that the receiver's certificate is not from: the system's.
        format!("localhost:{}', transport: tls, tls: {{min_version: '1.2'", receiver.port()),
    ];
    for (at, keys) in cases.into_iter().enumerate() {
        let place = dir.path().join(at.to_string());
        let config = config(&place, &format!("address: '{keys}}}"));
        let engine = start(&config, 0..100, 900);
        // With TLS 1.3 the receiver judges our certificate when the handshake is over for us. The
        // first attempt waits for that: it knows the reason, and has sent nothing.
        let failed = || syslog(&engine.status()).last_error.clone();
        assert!(comes_true(|| failed().is_some()), "case {at}: {:?}", engine.status());
        let (_, error) = failed().expect("it failed");
        assert!(error.contains("certificate"), "case {at}: {error}");
        let is_held = || syslog(&engine.status()).state == "config_failed";
        assert!(comes_true(is_held), "case {at}: {:?}", engine.status());
        let status = assert_equation(engine.end());
        let found = syslog(&status);
        assert_eq!((found.counts.total(), found.pending), (0, 100), "{found:?}");
        assert_eq!((found.ambiguous, found.retried), (0, 0), "{found:?}");
        assert_eq!(receiver.messages().len(), 0);
    }
}

#[test]
fn a_connection_that_breaks_loses_nothing_and_says_what_is_unknown() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let receiver = Receiver::tcp(Manner::Breaks { after_bytes: 100_000 });
    let keys = format!("address: '{}', {QUICK}", receiver.address());
    let status = run_to_the_end(&config(dir.path(), &keys), 0..3_000, 900);
    let found = syslog(&status);
    assert_eq!((found.counts.delivered, found.counts.dead_lettered), (3_000, 0), "{found:?}");
    assert!(found.ambiguous > 0, "somebody must be told of possible duplicates: {found:?}");
    assert!(comes_true(|| receiver.ids().len() == 3_000), "{} arrived", receiver.ids().len());
}

#[test]
fn what_the_receiver_has_not_taken_is_not_delivered() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let receiver = Receiver::tcp(Manner::Sleeps);
    let keys = format!("address: '{}'", receiver.address());
    // Far more than the buffers of both systems hold.
    let engine = start(&config(dir.path(), &keys), 0..20_000, 1_500);
    assert!(comes_true(|| receiver.connections() > 0));
    let status = engine.status();
    assert!(syslog(&status).counts.delivered < 20_000, "{status:?}");
    receiver.wake();
    let ended = engine.drain(Instant::now() + PATIENCE);
    let status = assert_equation(engine.end());
    assert_eq!(ended, Ended::Settled, "{status:?}");
    assert_eq!(syslog(&status).counts.delivered, 20_000);
    assert!(comes_true(|| receiver.ids().len() == 20_000));
}

#[test]
fn the_next_receiver_stands_in_for_the_first() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (first, second) = (Receiver::tcp(Manner::Counted), Receiver::tcp(Manner::Counted));
    let dead = receiver::dead_address();
    let keys =
        format!("address: ['{dead}', '{}', '{}'], {QUICK}", first.address(), second.address());
    let status = run_to_the_end(&config(dir.path(), &keys), 0..1_000, 900);
    assert_eq!(syslog(&status).counts.delivered, 1_000);
    assert!(comes_true(|| first.ids().len() == 1_000));
    assert_eq!(second.ids().len(), 0, "the last is there for when the others are not");
}

#[test]
fn nobody_listening_is_an_outage_and_no_failure_of_events() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for transport in ["tcp", "udp"] {
        let address = receiver::dead_address();
        let place = dir.path().join(transport);
        let keys = format!("address: '{address}', transport: {transport}, {QUICK}");
        let engine = start(&config(&place, &keys), 0..100, 900);
        assert!(comes_true(|| syslog(&engine.status()).last_error.is_some()), "{transport}");
        let status = assert_equation(engine.end());
        let found = syslog(&status);
        assert_eq!((found.counts.dead_lettered, found.in_range), (0, 100), "{found:?}");
        assert_eq!(found.counts.delivered + found.pending, 100, "{found:?}");
    }
}

#[test]
fn a_message_that_is_too_long_is_shrunk_and_stays_json() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let receiver = Receiver::udp();
    let keys = format!("address: '{}', transport: udp", receiver.address());
    let status = run_to_the_end(&config(dir.path(), &keys), 0..10, 9_000);
    assert_eq!(syslog(&status).counts.delivered, 10, "{status:?}");
    assert!(comes_true(|| receiver.messages().len() == 10));
    for message in receiver.messages() {
        assert!(message.len() <= 2048);
        let said = rfc5424::read(&message).text;
        let event: serde_json::Value = serde_json::from_str(&said).expect("JSON is never cut");
        assert_eq!(event["metadata"]["shrike"]["truncated"], true);
        assert!(event["decision"]["reason"].as_str().is_some_and(|text| text.starts_with("rrr")));
    }
}

/// Keys that make failures visible at once.
const QUICK: &str = "retry: {initial_backoff_ms: 5, max_backoff_ms: 20}, \
                     circuit_breaker: {failure_threshold: 1, open_ms: 50}";

/// Every event once, in however many connections.
fn assert_once(receiver: &Receiver, events: usize) {
    assert!(comes_true(|| receiver.messages().len() >= events), "{}", receiver.messages().len());
    let messages = receiver.messages();
    assert_eq!(messages.len(), events);
    messages.iter().for_each(|message| drop(rfc5424::read(message)));
    assert_eq!(receiver.ids().len(), events);
}

fn config(dir: &Path, keys: &str) -> Config {
    let text = format!(
        "version: 1.0.0\nglobal: {{state_dir: '{}'}}\nlog: {{segment_bytes: 16MiB}}\n\
         pipeline: {{workers: 2}}\nexporters: {{syslog: {{from: earliest, {keys}}}}}\n",
        dir.join("state").display()
    );
    let text = Text::File { name: "test".to_owned(), text: text.into() };
    Config::load(&text, &Flags::default(), vendors::ALL, &System)
        .unwrap_or_else(|error| panic!("{error}"))
}

fn start(config: &Config, numbers: std::ops::Range<usize>, bytes: usize) -> Engine {
    let (log, _) = Log::open(config.log.clone()).expect("the directory is ours");
    append(&log, numbers.map(|number| event(number, bytes)));
    Engine::start(log, config.engine_options(&Host::default())).expect("it starts")
}

fn run_to_the_end(config: &Config, numbers: std::ops::Range<usize>, bytes: usize) -> Status {
    let engine = start(config, numbers, bytes);
    let ended = engine.drain(Instant::now() + PATIENCE);
    let status = assert_equation(engine.end());
    assert_eq!(ended, Ended::Settled, "{status:?}");
    status
}

fn syslog(status: &Status) -> &ExporterStatus {
    status.exporters.iter().find(|exporter| exporter.name == "syslog").expect("it is configured")
}

fn id(number: usize) -> String {
    format!("019c322d-fa80-7f99-8d84-0000{number:08x}")
}

/// A canonical event of about this many bytes.
fn event(number: usize, bytes: usize) -> String {
    let (id, reason) = (id(number), "r".repeat(bytes.saturating_sub(560)));
    serde_json::json!({
        "schema_version": "1.0.0", "event_id": id, "event_type": "guard_block",
        "event_category": "network", "timestamp": "2026-02-06T09:00:00.125Z",
        "agent": {"id": "coder-01", "name": "hushd", "version": "0.1.0", "type": "clawdstrike"},
        "session": {"id": "s-1", "tenant_id": "acme", "environment": "test"},
        "outcome": "failure", "action": "egress", "threat": {},
        "decision": {
            "allowed": false, "guard": "egress_allowlist", "severity": "high", "reason": reason,
        },
        "resource": {"type": "network", "name": "c2.example", "host": "c2.example", "port": 443},
        "metadata": {"note": "n".repeat(bytes / 9)}, "labels": {},
    })
    .to_string()
}
