//! What may not leave is nowhere: the whole program runs, and everything that it writes or sends
//! is searched.
//!
//! Secrets of the configuration and personal data of events are planted. They go to destinations of
//! many kinds, of which some refuse, and some answer with all that they were sent. Then bodies,
//! the process's log, status, dead letters, receipts, metrics and every file of the state directory
//! are searched, in all spellings that a text may take on its way. Originals are in the event log,
//! and nowhere else.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use aho_corasick::AhoCorasick;
use serde_json::{Value, json};

use crate::world::event;

/// Secrets of the configuration.
const SECRETS: &[(&str, &str)] = &[
    ("HEC", "s3cr3t-hec-0f1e2d3c"),
    ("ES", "s3cr3t-es-0f1e2d3c"),
    ("DD", "s3cr3t-dd-0f1e2d3c4b5a69788796a5b4c3d2"),
    ("SUMO", "s3cr3t-sumo-0f1e2d3c"),
    ("HOOK", "s3cr3t-hook-0f1e2d3c"),
    ("HEAD", "s3cr3t-head-0f1e2d3c"),
    ("GENIE", "s3cr3t-genie-0f1e2d3c"),
    ("PD", "s3cr3tpd0f1e2d3c0f1e2d3c0f1e2d3c"),
    ("PDROUTE", "s3cr3troute0f1e2d3c0f1e2d3c0f1e2"),
    ("SALT", "s3cr3t-salt-0f1e2d3c4b5a6978"),
    ("EVIL", "s3cr3t-evil-0f1e2d3c"),
];

/// Texts of events that nobody downstream may see, and where they are planted.
const PLANTED: &[(&str, &str)] = &[
    // Concealed by their field.
    ("/session/user_id", "planted.hashed@example.org"),
    ("/resource/path", "/home/planted-masked/wallet"),
    ("/metadata/user", "planted-denied-name"),
    ("/metadata/velar/request_body_preview", "planted preview of a body"),
    ("/labels/owner", "planted-redacted-label"),
    // Found by patterns, wherever they stand.
    ("/decision/reason", "key AKIAPLANTEDKEY0QX7ZP used"),
    ("/metadata/command_line", "curl -H 'Authorization: Bearer plantedBEARERabcdefghij0123456789'"),
    ("/metadata/a", "ghp_plantedPLANTEDplantedPLANTEDplanted0"),
    ("/metadata/b", "mail planted.person@example.org please"),
    ("/metadata/c", "card 4111 1111 1111 1111 ok"),
    ("/metadata/d", "badge BADGE-471147114711"),
    ("/metadata/f", "-H 'Authorization: Basic cGxhbnRlZDpwbGFudGVkLWJhc2lj'"),
    ("/metadata/g", "key sk-ant-api03-plantedANTHROPICkey0123456789"),
    ("/metadata/h", "clone https://planted:planted.urlpass@git.example/x"),
    ("/metadata/i", r#"body {\"password\":\"planted-nested-pass\",\"b\":1}"#),
    (
        "/metadata/e",
        "line\n-----BEGIN RSA PRIVATE KEY-----\nMIIEplantedkeymaterial\n-----END RSA PRIVATE KEY-----",
    ),
];

/// What of it must not be seen.
const NEEDLES: &[&str] = &[
    "planted.hashed@example.org",
    "/home/planted-masked",
    "planted-denied-name",
    "planted preview",
    "planted-redacted-label",
    "AKIAPLANTEDKEY0QX7ZP",
    "plantedBEARERabcdefghij",
    "ghp_plantedPLANTED",
    "planted.person@example.org",
    "4111 1111 1111 1111",
    "BADGE-471147114711",
    "MIIEplantedkeymaterial",
    "cGxhbnRlZDpwbGFudGVkLWJhc2lj",
    "plantedANTHROPICkey",
    "planted.urlpass",
    "planted-nested-pass",
];

/// Destinations on one address, told apart by path; they keep all bodies.
struct Destinations {
    address: SocketAddr,
    bodies: Arc<Mutex<Vec<(String, String)>>>,
}

impl Destinations {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&bodies);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let kept = Arc::clone(&kept);
                // Whoever hangs up has said enough.
                thread::spawn(move || drop(serve(&kept, &stream)));
            }
        });
        Self { address, bodies }
    }

    /// Bodies whose target has these words.
    fn bodies(&self, target: &str) -> Vec<String> {
        let bodies = self.bodies.lock().expect("no test panics in here");
        let of = bodies.iter().filter(|(to, body)| to.contains(target) && !body.is_empty());
        of.map(|(_, body)| body.clone()).collect()
    }
}

fn serve(kept: &Mutex<Vec<(String, String)>>, stream: &TcpStream) -> std::io::Result<()> {
    let mut requests = BufReader::new(stream);
    let mut answers = stream;
    loop {
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let start = head.len();
            if requests.read_line(&mut head)? == 0 {
                return Ok(());
            }
            let line = head[start..].trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().unwrap_or(0);
            }
        }
        let mut body = vec![0; length];
        requests.read_exact(&mut body)?;
        let body = String::from_utf8_lossy(&body).into_owned();
        let target = head.split(' ').nth(1).unwrap_or("").to_owned();
        let (status, text) = answer(&target, &head, &body);
        kept.lock().expect("no test panics in here").push((target, body));
        let length = text.len();
        let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\n\r\n{text}");
        answers.write_all(head.as_bytes())?;
    }
}

/// Elasticsearch refuses each document and repeats it; the evil one repeats all that it was told.
fn answer(target: &str, head: &str, body: &str) -> (u16, String) {
    if target.contains("/_bulk") {
        let documents = body.lines().skip(1).step_by(2);
        let refused = |document: &str| {
            let reason = format!("failed to parse {document}");
            json!({ "create": { "_index": "x", "status": 400,
                "error": { "type": "document_parsing_exception", "reason": reason } } })
        };
        let items: Vec<Value> = documents.map(refused).collect();
        return (200, json!({ "took": 1, "errors": true, "items": items }).to_string());
    }
    if target.contains("/evil") {
        let echo = format!("unauthorised: {head} {body}");
        return (403, json!({ "text": echo, "code": 4, "error": echo }).to_string());
    }
    if target.contains("/api/v2/logs") {
        return (202, "{}".to_owned());
    }
    (200, r#"{"text":"Success","code":0}"#.to_owned())
}

/// Everything of the program that can be searched.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn shrike(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shrike"));
        command.args(arguments).args(["--config", "c.yaml"]).current_dir(self.dir.path());
        SECRETS.iter().for_each(|(name, secret)| {
            command.env(name, secret);
        });
        command
    }

    fn said(&self, arguments: &[&str]) -> String {
        let output = self.shrike(arguments).output().expect("the command starts");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// Every file below the state directory but those that keep originals, with its bytes.
    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let (mut found, mut dirs) = (Vec::new(), vec![self.path("state")]);
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).expect("it is ours") {
                let path = entry.expect("it is ours").path();
                let mode = fs::symlink_metadata(&path).expect("it is there").permissions().mode();
                assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
                let keeps_originals = path.ends_with("state/log") || path.ends_with("quarantine");
                if path.is_dir() && !keeps_originals {
                    dirs.push(path);
                } else if path.is_file() {
                    let bytes = fs::read(&path).expect("it is ours");
                    found.push((path.display().to_string(), bytes));
                }
            }
        }
        found
    }
}

fn configuration(http: SocketAddr, syslog: SocketAddr, dir: &Path) -> String {
    let dir = dir.display();
    let all = "private_key, aws_key, github_token, slack_token, bearer, llm_key, url_password, email, \
               credit_card, ssn, phone, ipv4, generic_secret";
    format!(
        r#"
global: {{state_dir: {dir}/state, shutdown_timeout_ms: 500, log: {{level: trace, format: json}}}}
admin: {{listen: "127.0.0.1:0"}}
schema: {{validate: all, include_raw: true}}
inputs: [{{type: file, path: {dir}/events.jsonl}}]
privacy:
  hash_fields: [session.user_id]
  hash_salt: "${{SALT}}"
  mask_fields: [resource.path]
  fields: {{deny: [metadata.user]}}
  redact_fields: [labels.owner]
  builtin_patterns: [{all}]
  patterns: [{{name: badge, regex: "BADGE-[0-9]{{12}}"}}]
exporters:
  splunk: {{hec_url: "http://{http}", hec_token: "${{HEC}}", use_ack: false}}
  elastic:
    nodes: ["http://{http}"]
    auth: {{username: shrike, password: "${{ES}}"}}
    init: {{enabled: false}}
    retry: {{max_retries: 0}}
  datadog: {{endpoint: "http://{http}", api_key: "${{DD}}"}}
  sumo_logic: {{http_source_url: "http://{http}/receiver/v1/http/${{SUMO}}"}}
  webhook:
    url: "http://{http}/hook?sig=${{HOOK}}"
    headers: {{x-key: "${{HEAD}}"}}
  webhook_evil:
    url: "http://{http}/evil?sig=${{EVIL}}"
    auth: {{type: bearer, token: "${{EVIL}}"}}
  splunk_evil: {{hec_url: "http://{http}/evil", hec_token: "${{EVIL}}", use_ack: false}}
  otlp: {{endpoint: "http://{http}"}}
  opsgenie:
    {{api_endpoint: "http://{http}", api_key: "${{GENIE}}", min_severity: none, only_denied: false,
    deduplication: {{window_seconds: 0}}}}
  pagerduty:
    {{api_endpoint: "http://{http}", routing_key: "${{PD}}", min_severity: none, only_denied: false,
    deduplication: {{window_seconds: 0}}}}
  pagerduty_evil:
    api_endpoint: "http://{http}/evil"
    routing_key: "${{PD}}"
    filter: {{min_severity: none, only_denied: false}}
    routing: {{rules: [{{condition: default, routing_key: "${{PDROUTE}}"}}]}}
  syslog_cef: {{address: "{syslog}", transport: tcp, format: cef}}
  file_ocsf: {{path: {dir}/out.jsonl, format: ocsf}}
  stdout: {{format: ecs}}
"#
    )
}

/// A text as it may be spelled on its way.
fn spellings(text: &str) -> Vec<String> {
    use base64::Engine as _;
    let mut spellings = vec![
        text.to_owned(),
        text.replace('/', r"\/"),
        text.replace('@', "%40").replace('/', "%2F").replace(' ', "%20"),
        text.replace('@', "%40").replace('/', "%2F").replace(' ', "+"),
        text.replace('@', r"\u0040"),
    ];
    // A piece inside a longer text starts at any of three places of base64's groups.
    for skip in 0..3 {
        let rest = &text.as_bytes()[skip..];
        let whole = &rest[..rest.len() / 3 * 3];
        spellings.push(base64::engine::general_purpose::STANDARD.encode(whole));
    }
    spellings
}

/// Finds every planted text in any spelling, in one pass: stores are megabytes of files.
struct Search {
    all: AhoCorasick,
    /// The text that each spelling is of.
    texts: Vec<&'static str>,
}

impl Search {
    fn new() -> Self {
        let secrets = SECRETS.iter().map(|(_, secret)| *secret);
        let of = |text: &'static str| spellings(text).into_iter().map(move |it| (it, text));
        let (all, texts): (Vec<String>, Vec<&str>) =
            NEEDLES.iter().copied().chain(secrets).flat_map(of).unzip();
        Self { all: AhoCorasick::new(all).expect("few texts"), texts }
    }

    /// Says which planted texts are in a text.
    fn leaks(&self, place: &str, text: &[u8]) -> BTreeSet<String> {
        let found = self.all.find_overlapping_iter(text);
        found.map(|it| format!("{place}: {}", self.texts[it.pattern().as_usize()])).collect()
    }
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // What has ended is not there any more.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_was_planted_is_in_the_event_log_and_nowhere_else() {
    let place = Place { dir: tempfile::tempdir().expect("a directory") };
    let http = Destinations::start();
    let receiver = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let syslog = receiver.local_addr().expect("it is bound");
    let messages = Arc::new(Mutex::new(Vec::new()));
    let received = Arc::clone(&messages);
    thread::spawn(move || {
        for mut stream in receiver.incoming().map_while(Result::ok) {
            let received = Arc::clone(&received);
            thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(n @ 1..) = stream.read(&mut bytes) {
                    received.lock().expect("no panics in here").extend_from_slice(&bytes[..n]);
                }
            });
        }
    });
    let mut config = configuration(http.address, syslog, place.dir.path());
    config = config.replace("use_ack: false}", "use_ack: false, compression: none}");
    fs::write(place.path("c.yaml"), config).expect("the directory is ours");
    fs::write(place.path("events.jsonl"), "").expect("the directory is ours");
    let set: Vec<String> = ["elastic", "datadog", "sumo_logic", "webhook", "webhook_evil", "otlp"]
        .map(|name| format!("--set=exporters.{name}.compression=none"))
        .into();
    let out = fs::File::create(place.path("stdout")).expect("the directory is ours");
    let err = fs::File::create(place.path("stderr")).expect("the directory is ours");
    let mut command = place.shrike(&["run"]);
    let child = command.args(set).stdout(out).stderr(err).stdin(Stdio::null()).spawn();
    let mut running = Running(child.expect("the command starts"));
    let mut planted = event();
    for (at, text) in PLANTED {
        put(&mut planted, at, text);
    }
    let mut lines = String::new();
    for n in 0..EVENTS {
        planted["event_id"] = format!("019c322d-fa80-7f99-8d84-b44109f5{n:04x}").into();
        lines += &format!("{planted}\n");
    }
    // A line that is none goes to quarantine, a foreign one is mapped.
    lines += "{\"schema_version\":\"1.0.0\",\"event_id\":\"planted-denied-name\"}\n";
    let file = fs::OpenOptions::new().append(true).open(place.path("events.jsonl"));
    file.and_then(|mut file| file.write_all(lines.as_bytes())).expect("the directory is ours");
    // Everything has come as far as it can.
    let deadline = Instant::now() + Duration::from_secs(300);
    let status = loop {
        let text = place.said(&["status", "--json"]);
        let status: Value = serde_json::from_str(&text).unwrap_or_default();
        let of = |name: &str| {
            let exporters = status["exporters"].as_array().into_iter().flatten();
            exporters.into_iter().find(|it| it["name"] == name).cloned().unwrap_or_default()
        };
        let taking = [
            "splunk",
            "datadog",
            "sumo_logic",
            "webhook",
            "otlp",
            "opsgenie",
            "pagerduty",
            "syslog_cef",
            "file_ocsf",
            "stdout",
        ];
        let are_done = taking.iter().all(|name| of(name)["delivered"] == EVENTS)
            && of("elastic")["dead_lettered"] == EVENTS
            && ["splunk_evil", "webhook_evil", "pagerduty_evil"]
                .iter()
                .all(|name| !of(name)["last_error"].is_null());
        if are_done {
            break text;
        }
        let log = fs::read_to_string(place.path("stderr")).unwrap_or_default();
        assert!(Instant::now() < deadline, "not done: {text}\n{log}");
        assert!(running.0.try_wait().expect("a child").is_none(), "{log}");
    };
    let log = fs::read_to_string(place.path("stderr")).expect("the directory is ours");
    let metrics = metrics(&log);
    let mut texts = vec![("status --json".to_owned(), status.into_bytes())];
    texts.push(("metrics".to_owned(), metrics.into_bytes()));
    for command in COMMANDS {
        texts.push((command.join(" "), place.said(command).into_bytes()));
    }
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&running.0),
        rustix::process::Signal::TERM,
    )
    .expect("it runs");
    running.0.wait().expect("it ends");
    let said = fs::read_to_string(place.path("stderr")).expect("the directory is ours");
    crate::equation::assert_equation_said(&said);
    texts.extend(place.files());
    for name in ["stdout", "stderr", "out.jsonl"] {
        texts.push((name.to_owned(), fs::read(place.path(name)).expect("it was written")));
    }
    texts.push(("syslog".to_owned(), messages.lock().expect("no panics in here").clone()));
    for target in TARGETS {
        let bodies = http.bodies(target);
        assert!(!bodies.is_empty(), "nothing came to {target}");
        // There a key has its place in the body.
        let keys = SECRETS.iter().filter(|(name, _)| name.starts_with("PD"));
        let unkeyed =
            |body: String| keys.clone().fold(body, |body, (_, key)| body.replace(key, ""));
        let named = bodies.into_iter().map(|body| match target {
            &"/v2/enqueue" | &"/evil" => (format!("body of {target}"), unkeyed(body).into_bytes()),
            _ => (format!("body of {target}"), body.into_bytes()),
        });
        texts.extend(named);
    }
    for needed in ["body of /hook", "syslog", "out.jsonl", "stdout", "dlq list --json", "stderr"] {
        let is_seen = |(name, text): &(String, Vec<u8>)| name == needed && text.len() > 500;
        assert!(texts.iter().any(is_seen), "{needed} says nothing");
    }
    let search = Search::new();
    let found: BTreeSet<String> =
        texts.iter().flat_map(|(name, text)| search.leaks(name, text)).collect();
    assert!(found.is_empty(), "{found:#?}");
    // The search itself works: the log has all of the events, and nothing of the configuration.
    let originals = place.said(&["log", "cat"]);
    let in_log = search.leaks("log", originals.as_bytes());
    assert_eq!(in_log.len(), NEEDLES.len(), "{in_log:#?}");
}

/// What people ask a running process.
const COMMANDS: &[&[&str]] = &[
    &["status"],
    &["dlq", "list", "--json"],
    &["dlq", "stats"],
    &["config", "show"],
    &["check"],
    &["reload"],
    &["render", "splunk", "events.jsonl"],
    &["render", "pagerduty", "events.jsonl"],
    &["audit", "verify"],
];

/// Where the destinations take events.
const TARGETS: &[&str] = &[
    "/services/collector",
    "/_bulk",
    "/api/v2/logs",
    "/receiver",
    "/hook",
    "/v1/logs",
    "/v2/enqueue",
    "/v2/alerts",
    "/evil",
];

fn put(event: &mut Value, at: &str, text: &str) {
    let (above, name) = at.rsplit_once('/').expect("a pointer has a slash");
    let object = event.pointer_mut(above).expect("the event has it");
    object[name] = text.into();
}

/// The page for monitoring, at the address that the log tells.
fn metrics(log: &str) -> String {
    let mut lines = log.lines().filter(|line| line.contains("metrics are shown"));
    let address = lines.next_back().and_then(|line| line.split("\"address\":\"").nth(1));
    let address = address.and_then(|rest| rest.split('"').next()).expect("it is shown");
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("text");
    text
}

/// Enough for a batch or two of each kind.
const EVENTS: u64 = 40;
