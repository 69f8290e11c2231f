//! Requests as they arrive: what tells one from another, what they say, and when they were made.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

use serde_json::Value;
use sha2::{Digest, Sha256};
use shrike::config::{Config, Flags, Host, System, Text};
use shrike::event::Time;
use shrike::pipeline::{Engine, Status};
use shrike::vendors;
use tempfile::TempDir;

use crate::destination::answer;
use crate::equation::assert_equation;
use crate::wait::{PATIENCE, comes_true};
use crate::{append_records, event, exporter, filled, run_to_the_end};

/// A configuration with these exporters, that keeps its state in this directory.
fn configured(dir: &TempDir, exporters: &str) -> Config {
    let state = dir.path().join("state");
    let text = format!(
        "version: 1.0.0\nglobal: {{state_dir: {}}}\nexporters:\n  {exporters}\n",
        state.display()
    );
    let text = Text::File { name: "test".to_owned(), text: text.into() };
    Config::load(&text, &Flags::default(), vendors::ALL, &System)
        .unwrap_or_else(|error| panic!("{error}"))
}

/// "Idempotency-Key: sha256 over the batch's ids" (`webhook.md`): what else the body says, such as
/// when it was closed, may be another after a crash.
#[test]
fn an_array_is_known_by_its_events_and_its_envelope_is_dated() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (address, requests) = receiver();
    let exporters = format!(
        "webhook: {{url: \"http://{address}/\", mode: array, envelope: true, \
         format: native, from: earliest}}"
    );
    let config = configured(&dir, &exporters);
    let before = Time::now().secs;
    run_to_the_end(&config, filled(&config, 0..3, 900));
    let Came { headers, body } = requests.recv_timeout(PATIENCE).expect("a request came");
    let key = &headers["idempotency-key"];
    let body: Value = serde_json::from_slice(&body).expect("an envelope is JSON");
    let events = body["events"].as_array().expect("it has events");
    let ids: String = events
        .iter()
        .map(|event| format!("{}\n", event["event_id"].as_str().expect("an event has an id")))
        .collect();
    let digest: String = Sha256::digest(ids).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(*key, digest);
    let sent = body["sent_at"].as_str().expect("it is dated");
    let sent = Time::parse(sent.as_bytes()).expect("it is a time").secs;
    assert!((before..=Time::now().secs).contains(&sent), "{body}");
}

/// "Response bodies are read up to 64 KiB" (`webhook.md`): whoever answers may be anybody.
#[test]
fn an_endless_answer_of_a_webhook_is_cut_and_counts_by_its_status() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    let (told, sent) = mpsc::channel();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut requests = BufReader::new(stream.try_clone().expect("there are descriptors"));
        request(&mut requests).expect("a request");
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n";
        let mut bytes = 0;
        let mut piece = head.as_bytes();
        // Until nobody reads any more.
        while stream.write_all(piece).is_ok() {
            bytes += piece.len();
            piece = &[b'x'; 65_536];
        }
        told.send(bytes).expect("the test waits");
    });
    let exporters = format!("webhook: {{url: \"http://{address}/\", mode: array, from: earliest}}");
    let config = configured(&dir, &exporters);
    let status = run_to_the_end(&config, filled(&config, 0..3, 900));
    assert_eq!(exporter(&status, "webhook").counts.delivered, 3);
    // What lies in the buffers of both systems was sent too.
    let bytes = sent.recv_timeout(PATIENCE).expect("the connection is ended");
    assert!(bytes < 12 << 20, "{bytes} bytes were taken");
}

/// "Metadata headers apply to the WHOLE request" (`sumo-logic.md`): whatever a line shows.
#[test]
fn what_lines_leave_out_still_divides_requests() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (address, requests) = receiver();
    let exporters = format!(
        "sumo_logic: {{http_source_url: \"http://{address}/\", compression: none, \
         from: earliest, fields: {{include_all: false, include: \
         [decision.reason]}}, partitioning: {{enabled: true, by_tenant: true}}}}"
    );
    let config = configured(&dir, &exporters);
    let log = filled(&config, 0..2, 900);
    append_records(&log, (2..5).map(|number| event(number, 900).replace("acme", "other")));
    run_to_the_end(&config, log);
    let mut lines = BTreeMap::new();
    while let Ok(Came { headers, body }) = requests.try_recv() {
        let of = (headers["x-sumo-category"].clone(), headers["x-sumo-fields"].clone());
        *lines.entry(of).or_insert(0) += body.split(|&byte| byte == b'\n').count() - 1;
    }
    let of = |tenant: &str| {
        let category = format!("security/clawdstrike/{tenant}");
        (category, format!("environment=test,tenant_id={tenant}"))
    };
    assert_eq!(lines, BTreeMap::from([(of("acme"), 2), (of("other"), 3)]));
}

/// Why it is held is what an operator has to know, not what came of requests under way since then.
#[test]
fn a_late_answer_does_not_hide_why_an_exporter_is_held() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    let (held, is_held) = mpsc::channel();
    thread::spawn(move || {
        let taken = || {
            let (stream, _) = listener.accept().expect("a connection");
            let mut requests = BufReader::new(stream.try_clone().expect("there are descriptors"));
            request(&mut requests).expect("a request");
            stream
        };
        let (mut first, mut second) = (taken(), taken());
        answer(&mut first, 302, &Value::Null).expect("it reads");
        is_held.recv().expect("the test goes on");
        answer(&mut second, 503, &Value::Null).expect("it reads");
    });
    let exporters = format!(
        "webhook: {{url: \"http://{address}/\", mode: array, batch: {{size: 1}}, \
         concurrency: 2, from: earliest}}"
    );
    let config = configured(&dir, &exporters);
    let log = filled(&config, 0..2, 900);
    let engine = Engine::start(log, config.engine_options(&Host::default())).expect("it starts");
    let of = |status: &Status| exporter(status, "webhook").clone();
    assert!(comes_true(|| of(&engine.status()).state == "config_failed"));
    held.send(()).expect("it waits");
    let is_late = |status: &Status| of(status).statuses.contains(&(503, 1));
    assert!(comes_true(|| is_late(&engine.status())));
    let status = assert_equation(engine.end());
    let (_, error) = of(&status).last_error.expect("an operator wants to know why");
    assert!(error.contains("302") && error.contains("redirects"), "{error}");
}

/// One request.
struct Came {
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

/// A destination that takes everything, and what came.
fn receiver() -> (SocketAddr, mpsc::Receiver<Came>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    let (came, requests) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(stream), came) = (stream, came.clone()) else { return };
            thread::spawn(move || serve(stream, &came));
        }
    });
    (address, requests)
}

fn serve(mut stream: TcpStream, came: &mpsc::Sender<Came>) {
    let mut requests = BufReader::new(stream.try_clone().expect("there are descriptors"));
    while let Some(request) = request(&mut requests) {
        let is_wanted = came.send(request).is_ok();
        if !is_wanted || answer(&mut stream, 200, &Value::Null).is_err() {
            return;
        }
    }
}

fn request(requests: &mut BufReader<TcpStream>) -> Option<Came> {
    let (mut headers, mut line) = (BTreeMap::new(), String::new());
    loop {
        line.clear();
        requests.read_line(&mut line).ok()?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => drop(headers.insert(name.to_owned(), value.to_owned())),
            None if line.trim_end().is_empty() => break,
            None => {}
        }
    }
    let mut body = vec![0; headers["content-length"].parse().ok()?];
    requests.read_exact(&mut body).ok()?;
    Some(Came { headers, body })
}
