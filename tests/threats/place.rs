//! A directory with a configuration, a feed, and shrike in it as operators run it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use loadgen::account::Book;
use loadgen::fake::{self, Fake, Script, TAXII_COLLECTION, Taxii, TaxiiFeed, TaxiiTerms, Vendor};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::equation::assert_equation_said;

/// A fake TAXII server.
pub(crate) struct Server {
    fake: Fake,
    pub(crate) feed: TaxiiFeed,
}

impl Server {
    /// At this port, or any.
    pub(crate) fn start(port: u16) -> Self {
        let book = Arc::new(Book::new("taxii"));
        let terms = TaxiiTerms {
            user: Some(("reader".to_owned(), "s3cr3t-of-reader".to_owned())),
            ..TaxiiTerms::default()
        };
        let taxii = Taxii::new(Arc::clone(&book), terms);
        let feed = taxii.feed();
        let options = fake::Options {
            listen: SocketAddr::from(([127, 0, 0, 1], port)),
            control: None,
            tls: false,
            h2: false,
            threads: 1,
            script: Script::parse("").expect("the script is right"),
            seed: 1,
            judge_every: 1,
            account: None,
        };
        let fake = Fake::start(Vendor::Taxii(taxii), book, options).expect("it starts");
        Self { fake, feed }
    }

    pub(crate) fn port(&self) -> u16 {
        self.fake.addr().port()
    }

    /// Ends it; what was asked of it must have been right.
    pub(crate) fn stop(self) {
        let report = self.fake.report();
        self.fake.stop();
        assert!(report.problems.is_empty(), "{:?}", report.problems);
    }

    /// The server as a configuration names it.
    pub(crate) fn keys(port: u16) -> String {
        format!(
            "{{name: fake, url: 'http://127.0.0.1:{port}', collection_id: '{TAXII_COLLECTION}', \
             auth: {{type: basic, username: reader, password: s3cr3t-of-reader}}, \
             requests_per_minute: 6000}}"
        )
    }
}

/// An indicator of a domain, as a feed sends it.
pub(crate) fn indicator(domain: &str) -> Value {
    // Of the same domain always the same one.
    let number: u32 = domain.bytes().fold(7, |sum, byte| sum.wrapping_mul(31) + u32::from(byte));
    json!({
        "type": "indicator", "spec_version": "2.1",
        "id": format!("indicator--26ffb872-1dd9-446e-b6f5-{number:012x}"),
        "created": "2026-01-01T00:00:00.000Z", "modified": "2026-01-01T00:00:00.000Z",
        "name": format!("C2 at {domain}"), "pattern_type": "stix", "confidence": 85,
        "pattern": format!("[domain-name:value = '{domain}']"),
        "valid_from": "2026-01-01T00:00:00Z", "indicator_types": ["malicious-activity"],
    })
}

/// A working directory with a configuration.
pub(crate) struct Place {
    dir: TempDir,
    pub(crate) feed_port: u16,
}

impl Place {
    /// Four files in four formats, and this server, with further keys of `threat_intel`.
    pub(crate) fn new(feed_port: u16, keys: &str) -> Self {
        let place = Self { dir: tempfile::tempdir().expect("a directory"), feed_port };
        let server = Server::keys(feed_port);
        place.configure(&format!(
            "{{enabled: true, servers: [{server}], feed: {{interval_minutes: 1s}}, {keys}}}"
        ));
        place
    }

    pub(crate) fn configure(&self, intel: &str) {
        let file = |format: &str| {
            let path = self.path().join(format);
            format!("  {format}: {{type: file, path: {}, format: {format}}}\n", path.display())
        };
        let files: String = ["native", "ecs", "ocsf", "cef"].map(file).concat();
        let config = format!(
            "global: {{state_dir: state}}\nlog: {{segment_bytes: 8MiB}}\npipeline: {{workers: 2}}\n\
             admin: {{listen: '127.0.0.1:0'}}\n\
             inputs: [{{type: http, listen: '127.0.0.1:0', token: s3cr3t-of-guards}}]\n\
             threat_intel: {intel}\nexporters:\n{files}"
        );
        std::fs::write(self.path().join("shrike.yaml"), config).expect("the directory is ours");
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shrike"));
        command.current_dir(&self.dir).args(["--config", "shrike.yaml"]).args(args);
        command.env_remove("COLUMNS").stdin(Stdio::null());
        command
    }

    /// Runs a command; what it printed, and its exit code.
    pub(crate) fn run(&self, args: &[&str]) -> (String, Option<i32>) {
        let output = self.command(args).output().expect("the command starts");
        let text = [output.stdout, output.stderr].concat();
        (String::from_utf8(text).expect("text"), output.status.code())
    }

    /// Starts `shrike run`, and waits until it takes commands.
    pub(crate) fn start(&self) -> Running {
        let said = self.path().join("stderr");
        let err = std::fs::OpenOptions::new().create(true).append(true).open(&said);
        let mut command = self.command(&["run"]);
        command.stdout(Stdio::null()).stderr(err.expect("the directory is ours"));
        let child = command.spawn().expect("the command starts");
        let mut running = Running { child, said, address: None };
        wait_until("it takes commands", || self.run(&["status", "--json"]).1 == Some(0));
        let input = self.status()["inputs"][0]["name"].clone();
        let address = input.as_str().and_then(|name| name.strip_prefix("http ")?.parse().ok());
        running.address = address;
        running
    }

    pub(crate) fn status(&self) -> Value {
        let (text, code) = self.run(&["status", "--json"]);
        assert_eq!(code, Some(0), "{text}");
        serde_json::from_str(&text).expect("JSON")
    }

    /// How the feed is.
    pub(crate) fn feed(&self) -> Value {
        self.status()["threat_intel"]["feeds"][0].clone()
    }

    /// What was written in a format.
    pub(crate) fn written(&self, format: &str) -> String {
        std::fs::read_to_string(self.path().join(format)).unwrap_or_default()
    }
}

/// A running process; it is told to stop when dropped.
pub(crate) struct Running {
    child: Child,
    said: PathBuf,
    address: Option<SocketAddr>,
}

impl Running {
    /// One request to its input; status and body.
    pub(crate) fn post(&self, path: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(self.address.expect("it listens")).expect("it listens");
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer s3cr3t-of-guards\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("it takes a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let status = head[9..12].parse().expect("a status");
        (status, serde_json::from_str(body).unwrap_or_default())
    }

    /// What a guard is told of a domain: the verdict, and whether a feed is stale.
    pub(crate) fn ask(&self, domain: &str) -> (String, bool) {
        let body = json!({"items": [{"type": "domain", "value": domain}]}).to_string();
        let (status, answer) = self.post("/v1/threat-intel/check", &body);
        assert_eq!(status, 200, "{answer}");
        let item = &answer["items"][0];
        let verdict = item["verdict"].as_str().expect("a verdict").to_owned();
        (verdict, item["stale"].as_bool().expect("stale or not"))
    }

    pub(crate) fn verdict(&self, domain: &str) -> String {
        self.ask(domain).0
    }

    /// What Prometheus reads.
    pub(crate) fn metrics(&self) -> String {
        let said = self.said();
        let shown = said.lines().rfind(|line| line.contains("metrics are shown"));
        let line: Value = serde_json::from_str(shown.expect("it shows them")).expect("JSON");
        let address = line["address"].as_str().expect("an address");
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").expect("it takes a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer.split_once("\r\n\r\n").expect("a head and a body").1.to_owned()
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// What it wrote to standard error.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.said).expect("it wrote something")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.try_wait().expect("it is ours").is_some() {
            return;
        }
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it runs");
        let code = self.child.wait().expect("it ends").code();
        if !std::thread::panicking() {
            assert_eq!(code, Some(0), "{}", self.said());
            assert!(!self.said().contains("s3cr3t"), "{}", self.said());
            assert_equation_said(&self.said());
        }
    }
}

/// Waits until it holds, and fails after a minute.
#[track_caller]
pub(crate) fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}
