//! An OpenTelemetry collector that others wrote: Rotel takes what the real process sends, and shows
//! of every record what it read in it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::tools;
use crate::web::{PATIENT, assert_account, drain, write_events};

/// Events, which every one of the exporters sends.
const EVENTS: u64 = 500;

#[test]
fn a_collector_reads_every_record_once() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let Some(mut collector) = Collector::start(dir.path()) else { return };
    let events = write_events(dir.path(), EVENTS);
    let at = format!("http://{}", collector.address);
    let exporters = format!(
        "  otlp: {{endpoint: '{at}', {PATIENT}}}\n\
         \x20 plain: {{type: otlp, endpoint: '{at}', compression: none, format: ocsf, {PATIENT}}}\n\
         \x20 json: {{type: otlp, endpoint: '{at}', protocol: http/json, {PATIENT}}}\n"
    );
    let output = drain(dir.path(), &exporters);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_account(&said, 3, EVENTS);

    let read = collector.wait_for(3 * EVENTS);
    let mut expected: BTreeMap<String, Value> = BTreeMap::new();
    for line in fs::read_to_string(&events).expect("written above").lines() {
        let event: Value = serde_json::from_str(line).expect("events are JSON");
        expected.insert(event["event_id"].as_str().expect("an id").to_owned(), event);
    }
    let mut came: BTreeMap<&str, u32> = BTreeMap::new();
    for record in &read {
        let event = &expected[&record.id];
        *came.entry(&record.id).or_default() += 1;
        assert_eq!(record.name, event["event_type"], "{}", record.id);
        assert_eq!(record.severity, event["decision"]["severity"], "{}", record.id);
    }
    assert_eq!(came.len() as u64, EVENTS);
    assert!(came.values().all(|&times| times == 3), "{came:?}");
}

/// What is no OTLP is refused, or the judge above says nothing.
#[test]
fn the_collector_refuses_what_is_no_log_record() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let Some(collector) = Collector::start(dir.path()) else { return };
    let body = |record: &str| {
        format!("{{\"resourceLogs\":[{{\"scopeLogs\":[{{\"logRecords\":[{record}]}}]}}]}}")
    };
    let right = "{\"timeUnixNano\":\"1\",\"body\":{\"stringValue\":\"x\"}}";
    assert_eq!(collector.post(JSON, &body(right)), 200);
    for wrong in ["{\"timeUnixNano\":\"soon\"}", "{\"severityNumber\":\"bad\"}", "{\"body\":{}}"] {
        assert_eq!(collector.post(JSON, &body(wrong)), 400, "{wrong}");
    }
    // ResourceLogs, ScopeLogs, LogRecord, and a text that has one byte of two.
    assert_eq!(collector.post(PROTOBUF, "\n\u{8}\u{12}\u{6}\u{12}\u{4}*\u{2}\n\0"), 200);
    assert_eq!(collector.post(PROTOBUF, "\n\u{8}\u{12}\u{6}\u{12}\u{4}*\u{2}\n\u{2}"), 400);
}

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/x-protobuf";

/// A record as the collector shows it.
struct Record {
    id: String,
    name: String,
    severity: String,
}

/// A running collector.
struct Collector {
    child: Child,
    address: SocketAddr,
    said: PathBuf,
}

impl Collector {
    /// Starts one that shows what it reads; `None` where none is installed.
    fn start(dir: &Path) -> Option<Self> {
        let program = tools::find("rotel-agent")?;
        let (address, said) = (tools::own_address(4318), dir.join("rotel.txt"));
        let file = || File::create(&said).expect("the directory is ours");
        let mut command: Command = tools::command(&program);
        command.args(["start", "--otlp-http-endpoint", &address.to_string()]);
        command.args(["--otlp-grpc-endpoint", &tools::own_address(4317).to_string()]);
        command.args(["--exporter", "blackhole", "--debug-log", "logs"]);
        command.args(["--debug-log-verbosity", "detailed", "--pid-file"]).arg(dir.join("pid"));
        let child = command.stdout(file()).stderr(Stdio::null()).spawn().expect("it is installed");
        let mut collector = Self { child, address, said };
        collector.wait("listen", |it| TcpStream::connect(it.address).is_ok());
        Some(collector)
    }

    /// The status of an answer to a request.
    fn post(&self, kind: &str, body: &str) -> u16 {
        let mut tcp = TcpStream::connect(self.address).expect("it listens");
        let request = format!(
            "POST /v1/logs HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: \
             {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        tcp.write_all(request.as_bytes()).expect("it listens");
        let mut answer = Vec::new();
        tcp.read_to_end(&mut answer).expect("it answers");
        let answer = String::from_utf8_lossy(&answer);
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        status.unwrap_or_else(|| panic!("no status: {answer}"))
    }

    /// The records that it read, once there are so many.
    fn wait_for(&mut self, records: u64) -> Vec<Record> {
        let shown = |text: &str| text.matches("-> event_id: Str(").count() as u64;
        // What is looked at stands before the id.
        self.wait("read all", |it| shown(&it.text()) >= records);
        let text = self.text();
        let records = text.split("LogRecord #").skip(1);
        let line = |record: &str, name: &str| {
            let found = record.lines().find_map(|line| line.trim().strip_prefix(name));
            found.unwrap_or_else(|| panic!("no {name} in {record}")).trim().to_owned()
        };
        let read = records.map(|record| Record {
            id: line(record, "-> event_id: Str(").trim_end_matches(')').to_owned(),
            name: line(record, "EventName:"),
            severity: line(record, "SeverityText:"),
        });
        read.collect()
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.said).unwrap_or_default()
    }

    /// Looks again and again until something holds.
    fn wait(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                panic!("it ended before it could {what}: {status}: {}", self.text());
            }
            assert!(Instant::now() < deadline, "it did not {what}: {}", self.text());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a machine with far too much to do may take.
const PATIENCE: Duration = Duration::from_secs(180);
