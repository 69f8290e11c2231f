//! A directory with a configuration, a feed, and shrike in it as operators run it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::ops::Deref;
use std::sync::Arc;

use loadgen::account::Book;
use loadgen::fake::{Fake, Options, TAXII_COLLECTION, Taxii, TaxiiFeed, TaxiiTerms, Vendor};
use serde_json::{Value, json};

use crate::binary;

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
        let listen = SocketAddr::from(([127, 0, 0, 1], port));
        let playing = Options::playing("").expect("nothing is played");
        let options = Options { listen, ..playing };
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

/// A place with a feed.
pub(crate) struct Place {
    place: binary::Place,
    pub(crate) feed_port: u16,
}

impl Deref for Place {
    type Target = binary::Place;

    fn deref(&self) -> &Self::Target {
        &self.place
    }
}

impl Place {
    /// Four files in four formats, and this server, with further keys of `threat_intel`.
    pub(crate) fn new(feed_port: u16, keys: &str) -> Self {
        let place = Self { place: binary::Place::new(""), feed_port };
        let server = Server::keys(feed_port);
        place.configure_intel(&format!(
            "{{enabled: true, servers: [{server}], feed: {{interval_minutes: 1s}}, {keys}}}"
        ));
        place
    }

    pub(crate) fn configure_intel(&self, intel: &str) {
        let file = |format: &str| {
            let path = self.path(format);
            format!("  {format}: {{type: file, path: {}, format: {format}}}\n", path.display())
        };
        let files: String = ["native", "ecs", "ocsf", "cef"].map(file).concat();
        self.configure(&format!(
            "global: {{state_dir: state}}\nlog: {{segment_bytes: 8MiB}}\npipeline: {{workers: 2}}\n\
             admin: {{listen: '127.0.0.1:0'}}\n\
             inputs: [{{type: http, listen: '127.0.0.1:0', token: s3cr3t-of-guards}}]\n\
             threat_intel: {intel}\nexporters:\n{files}"
        ));
    }

    /// Starts `shrike run` and waits until guards can ask it.
    #[track_caller]
    pub(crate) fn start(&self) -> Running {
        let process = self.place.start();
        let input = self.status()["inputs"][0]["name"].clone();
        let address = input.as_str().and_then(|name| name.strip_prefix("http ")?.parse().ok());
        Running { process, address: address.expect("it listens") }
    }

    /// How the feed is.
    pub(crate) fn feed(&self) -> Value {
        self.status()["threat_intel"]["feeds"][0].clone()
    }

    /// What was written in a format.
    pub(crate) fn written(&self, format: &str) -> String {
        std::fs::read_to_string(self.path(format)).unwrap_or_default()
    }
}

/// A running process that guards ask.
pub(crate) struct Running {
    process: binary::Running,
    address: SocketAddr,
}

impl Running {
    /// One request to its input; status and body.
    pub(crate) fn post(&self, path: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
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
        let said = self.process.said();
        let shown = said.lines().rfind(|line| line.contains("metrics are shown"));
        let line: Value = serde_json::from_str(shown.expect("it shows them")).expect("JSON");
        let address = line["address"].as_str().expect("an address");
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .expect("it takes a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer.split_once("\r\n\r\n").expect("a head and a body").1.to_owned()
    }

    /// Kills it as a crash would.
    #[track_caller]
    pub(crate) fn kill(self) {
        assert_silent(&self.process.said());
        self.process.kill();
    }

    /// Stops it in order.
    #[track_caller]
    pub(crate) fn stop(self) {
        assert_silent(&self.process.stop());
    }
}

/// It says none of the secrets that it was told.
#[track_caller]
fn assert_silent(said: &str) {
    assert!(!said.contains("s3cr3t"), "{said}");
}
