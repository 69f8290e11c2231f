//! The pages for monitoring, as Prometheus and an orchestrator read them.

#[path = "pipeline/destination.rs"]
mod destination;
#[path = "support/engine.rs"]
mod engine;
#[path = "support/equation.rs"]
mod equation;
#[path = "support/wait.rs"]
mod wait;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use destination::{Destination, Manner};
use engine::append;
use prometheus_parse::{Sample, Scrape, Value};
use shrike::config::{AdminToken, Config, Flags, Host, Role, System, Text};
use shrike::control::{
    Access, Admin, Appended, Change, CursorStatus, InputStatus, Numbers, Observe, ReloadNumbers,
    ReloadReport, Rewind, Serve, Status,
};
use shrike::event::Class;
use shrike::intake::{Retried, Token, WantedLines};
use shrike::log::Log;
use shrike::pipeline::{AlertChange, AlertList, Engine, Progress, Wanted};
use shrike::vendors;
use wait::wait_until;

/// A running engine and what its inputs would say.
struct Process {
    engine: Engine,
    /// Whether it was asked to change an incident, and whether that is done.
    is_asked: AtomicBool,
    is_done: AtomicBool,
}

impl Process {
    fn new(engine: Engine) -> Arc<Self> {
        Arc::new(Self { engine, is_asked: AtomicBool::new(false), is_done: AtomicBool::new(false) })
    }
}

impl Observe for Process {
    fn numbers(&self) -> Option<Numbers> {
        let input = InputStatus {
            name: "a \"quoted\" \\ name\n".to_owned(),
            appended: 300,
            failed: true,
            ..InputStatus::default()
        };
        let status = self.engine.status();
        let lag_seconds = vec![("siem".to_owned(), 1.5)];
        Some(Numbers {
            classes: vec![(Class::NotObject, 3), (Class::ClockSkew, 2), (Class::Blank, 1)],
            status,
            inputs: vec![input],
            lag_seconds,
            reloads: ReloadNumbers::default(),
            refused: 0,
            intel: None,
        })
    }

    fn defects(&self) -> Vec<String> {
        self.engine.defects()
    }

    fn unready(&self) -> Vec<String> {
        let is_idle = self.engine.status().exporters.iter().any(|it| it.state == "starting");
        if is_idle { vec!["exporter siem is starting".to_owned()] } else { Vec::new() }
    }
}

/// Nothing is asked here: the admin API has tests of its own.
impl Serve for Process {
    fn status(&self) -> Result<Status, String> {
        Err(NOTHING.to_owned())
    }

    fn cursors(&self, _: Option<&str>) -> Result<Vec<CursorStatus>, String> {
        Err(NOTHING.to_owned())
    }

    fn rewind(&self, _: &str, _: Rewind) -> Result<CursorStatus, String> {
        Err(NOTHING.to_owned())
    }

    fn replay(&self, _: &str, _: &Wanted, _: Option<u32>) -> Result<Progress, String> {
        Err(NOTHING.to_owned())
    }

    fn replayed(&self, _: &str) -> Result<Progress, String> {
        Err(NOTHING.to_owned())
    }

    fn purge(&self, _: &str, _: &Wanted) -> Result<u64, String> {
        Err(NOTHING.to_owned())
    }

    fn reload(&self, _: &str) -> Result<ReloadReport, String> {
        Err(NOTHING.to_owned())
    }

    fn config(&self) -> Result<String, String> {
        Err(NOTHING.to_owned())
    }

    fn change(&self, _: &str, _: Change, _: &str) -> Result<String, String> {
        Err(NOTHING.to_owned())
    }

    fn alerts(&self, _: &str, _: &str, _: u32) -> Result<AlertList, String> {
        Err(NOTHING.to_owned())
    }

    fn alert(&self, _: &str, _: &str, _: AlertChange) -> Result<u64, String> {
        self.is_asked.store(true, Ordering::Release);
        while !self.is_done.load(Ordering::Acquire) {
            thread::park_timeout(Duration::from_millis(1));
        }
        Ok(1)
    }

    fn append(&self, _: &[u8]) -> Result<Appended, String> {
        Err(NOTHING.to_owned())
    }

    fn retry(&self, _: &WantedLines) -> Result<Retried, String> {
        Err(NOTHING.to_owned())
    }
}

const NOTHING: &str = "nothing is asked here";

/// One page: its status and its body.
fn page(address: SocketAddr, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers and closes");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head ends with an empty line");
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status");
    (status, body.to_owned())
}

fn scrape(address: SocketAddr) -> Vec<Sample> {
    let (status, text) = page(address, "GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!(status, 200);
    let scrape = Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).expect("it parses");
    let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).count();
    assert_eq!(scrape.docs.len(), names, "every name has its help");
    scrape.samples
}

fn number(samples: &[Sample], name: &str, labels: &[(&str, &str)]) -> f64 {
    let fits = |sample: &&Sample| {
        let has = |&(key, value): &(&str, &str)| sample.labels.get(key) == Some(value);
        sample.metric == name && labels.iter().all(has)
    };
    let found = samples.iter().find(fits).unwrap_or_else(|| panic!("no {name} {labels:?}"));
    match found.value {
        Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => value,
        ref other => panic!("{name} is {other:?}"),
    }
}

#[test]
fn the_account_is_told_in_prometheus_words() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Refuse('7'));
    let config = format!(
        "global: {{state_dir: {}}}\nlog: {{segment_bytes: 16MiB}}\npipeline: {{workers: 2}}\n\
         exporters:\n  siem:\n    type: elastic\n    nodes: [\"http://{}\"]\n    \
         auth: {{type: none}}\n    init: {{enabled: false}}\n    from: earliest\n    \
         compression: none\n",
        dir.path().join("state").display(),
        destination.address
    );
    let text = Text::File { name: "test".to_owned(), text: config.into() };
    let config = Config::load(&text, &Flags::default(), vendors::ALL, &System)
        .unwrap_or_else(|error| panic!("{error}"));
    let (log, _) = Log::open(config.log.clone()).expect("the directory is ours");
    append(&log, (0..300).map(event));
    let engine = Engine::start(log, config.engine_options(&Host::default())).expect("it starts");
    let process = Process::new(engine);
    let admin = shown(&process, Arc::default());
    let siem = [("exporter", "siem")];
    let mut samples = scrape(admin.address());
    wait_until("all is settled", || {
        samples = scrape(admin.address());
        let of = |fate| number(&samples, "shrike_account_events", &[siem[0], ("fate", fate)]);
        of("delivered") + of("dead_lettered") == 300.0
    });
    let fate = |fate| number(&samples, "shrike_account_events", &[siem[0], ("fate", fate)]);
    assert_eq!((fate("delivered"), fate("dead_lettered"), fate("pending")), (281.0, 19.0, 0.0));
    let fates = ["delivered", "dead_lettered", "filtered", "skipped", "invalid", "pending"];
    let sum: f64 = fates.into_iter().map(fate).sum();
    assert_eq!(sum, number(&samples, "shrike_account_in_range", &siem), "the equation");
    assert_eq!(number(&samples, "shrike_exporter_dlq_records", &siem), 19.0);
    assert_eq!(number(&samples, "shrike_events_received_total", &[]), 300.0);
    assert_eq!(number(&samples, "shrike_input_failed", &[]), 1.0);
    for reason in ["lag", "retention", "corrupt"] {
        let labels = [siem[0], ("reason", reason)];
        assert_eq!(number(&samples, "shrike_events_dropped_total", &labels), 0.0, "{reason}");
    }
    for (name, class, records) in [("invalid", "not_object", 3.0), ("flagged", "clock_skew", 2.0)] {
        let name = format!("shrike_events_{name}_total");
        assert_eq!(number(&samples, &name, &[("class", class)]), records, "{name}");
        let others = samples.iter().filter(|sample| sample.metric == name);
        assert_eq!(others.count(), 1, "other classes are no matter of {name}");
    }
    for name in ["events_awaiting", "events_resent_total", "events_degraded_total"] {
        assert_eq!(number(&samples, &format!("shrike_exporter_{name}"), &siem), 0.0, "{name}");
    }
    let requests =
        number(&samples, "shrike_exporter_requests_total", &[siem[0], ("status", "200")]);
    assert!(requests >= 1.0);
    let of = |name: &str| {
        let found = samples.iter().find(|sample| sample.metric == name);
        match &found.unwrap_or_else(|| panic!("no {name}")).value {
            Value::Histogram(buckets) => buckets.clone(),
            other => panic!("{name} is {other:?}"),
        }
    };
    let syncs = of("shrike_log_sync_seconds");
    assert!(syncs.last().is_some_and(|last| last.count >= 1.0), "the log was made durable");
    for name in ["request_seconds", "accept_latency_seconds", "batch_events", "batch_bytes"] {
        let buckets = of(&format!("shrike_exporter_{name}"));
        assert!(buckets.windows(2).all(|pair| pair[0].count <= pair[1].count), "{name}");
        assert_eq!(buckets.last().map(|last| last.count), Some(requests), "{name}");
    }
    // Of each batch of which something arrived.
    let confirmed = of("shrike_exporter_confirm_latency_seconds");
    let confirmed = confirmed.last().map_or(0.0, |last| last.count);
    assert!(confirmed >= 1.0 && confirmed <= requests, "{confirmed} of {requests}");
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    samples.iter().for_each(|sample| *kinds.entry(&sample.metric).or_default() += 1);
    assert!(kinds.keys().all(|name| name.starts_with("shrike_")), "{kinds:?}");
    let labels = ["class", "exporter", "fate", "input", "le", "reason", "result", "status"];
    let is_known = |key: &&String| labels.contains(&key.as_str());
    assert!(samples.iter().all(|it| it.labels.keys().all(|key| is_known(&key))), "never tenants");

    for (request, expected) in [
        ("GET /healthz HTTP/1.1\r\n\r\n", (200, "ok\n")),
        ("GET /readyz?verbose HTTP/1.1\r\n\r\n", (200, "ready\n")),
        ("HEAD /metrics HTTP/1.1\r\n\r\n", (200, "")),
        ("GET / HTTP/1.1\r\n\r\n", (404, "there are /metrics, /healthz, /readyz and /api/v1/\n")),
        ("POST /metrics HTTP/1.1\r\n\r\n", (405, "only GET and HEAD\n")),
        ("nonsense\r\n\r\n", (400, "")),
    ] {
        let (status, body) = page(admin.address(), request);
        assert_eq!((status, body.as_str()), expected, "{request}");
    }
    let address = admin.address();
    drop(admin);
    assert!(TcpListener::bind(address).is_ok(), "the address is free again");
    let process = Arc::into_inner(process).expect("nobody else holds it");
    drop(equation::assert_equation(process.engine.end()));
}

/// A page that a browser on this host shows may let its name become a loopback address, and is then
/// of the same origin as what listens there.
#[test]
fn pages_without_tokens_are_shown_to_no_other_name() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let process = Process::new(idle(dir.path()));
    let access = Arc::<Access>::default();
    let admin = shown(&process, Arc::clone(&access));
    let asked = |host: &str, path: &str| {
        page(admin.address(), &format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n"))
    };
    let rebound = format!("rebound.example:{}", admin.address().port());
    for path in ["/metrics", "/readyz", "/healthz", "/api/v1/exporters"] {
        let (status, told) = asked(&rebound, path);
        assert_eq!(status, 403, "{path}");
        assert!(told.contains("another host is named") && told.contains("admin.tokens"), "{told}");
    }
    assert_eq!(access.refused(), 4);
    assert_eq!(asked(&admin.address().to_string(), "/metrics").0, 200);
    // With tokens a name says nothing more: a proxy in front of it may hand on what it was asked.
    let (name, token) = ("eye".to_owned(), Token::new("a-token-of-enough-bytes"));
    access.set(&[AdminToken { name, token, role: Role::Viewer }]);
    assert_eq!((asked(&rebound, "/metrics").0, asked(&rebound, "/healthz").0), (401, 200));
    drop(admin);
    drop(process);
}

/// Where nobody needs a token to connect, whoever does must not keep a probe from its answer.
#[test]
fn connections_that_ask_nothing_make_room_for_those_that_do() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let process = Process::new(idle(dir.path()));
    let admin = shown(&process, Arc::default());
    let silent: Vec<TcpStream> =
        (0..40).map(|_| TcpStream::connect(admin.address()).expect("it listens")).collect();
    for _ in 0..40 {
        let health = page(admin.address(), "GET /healthz HTTP/1.1\r\n\r\n");
        assert_eq!(health, (200, "ok\n".to_owned()));
    }
    drop(silent);
    drop(admin);
    drop(process);
}

/// A destination may take half a minute to answer, and the end has no time for that.
#[test]
fn the_end_waits_for_no_request_of_the_api() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let process = Process::new(idle(dir.path()));
    let access = Arc::<Access>::default();
    let (name, token) = ("hand".to_owned(), Token::new("a-token-of-enough-bytes"));
    access.set(&[AdminToken { name, token, role: Role::Operator }]);
    let admin = shown(&process, access);
    let mut stream = TcpStream::connect(admin.address()).expect("it listens");
    let request = "POST /api/v1/exporters/x/alerts/KEY/ack HTTP/1.1\r\n\
                   authorization: Bearer a-token-of-enough-bytes\r\ncontent-length: 0\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("it reads");
    wait_until("it is asked", || process.is_asked.load(Ordering::Acquire));
    let ending = thread::spawn(move || drop(admin));
    wait_until("the end", || ending.is_finished());
    process.is_done.store(true, Ordering::Release);
    ending.join().expect("it ends");
}

/// An engine that has nothing to do.
fn idle(dir: &Path) -> Engine {
    let text = format!("global: {{state_dir: {}}}\nexporters: {{stdout: {{}}}}\n", dir.display());
    let text = Text::File { name: "test".to_owned(), text: text.into() };
    let config = Config::load(&text, &Flags::default(), vendors::ALL, &System)
        .unwrap_or_else(|error| panic!("{error}"));
    let (log, _) = Log::open(config.log.clone()).expect("the directory is ours");
    Engine::start(log, config.engine_options(&Host::default())).expect("it starts")
}

/// The pages of a process.
fn shown(process: &Arc<Process>, access: Arc<Access>) -> Admin {
    let any = "127.0.0.1:0".parse().expect("an address");
    Admin::open(any, Arc::default(), access, (process.clone(), process.clone()))
        .expect("an address is free")
}

fn event(number: u32) -> String {
    format!(
        "{{\"schema_version\":\"1.0.0\",\"event_id\":\"019c322d-fa80-7f99-8d84-0000{number:08x}\",\
         \"event_type\":\"guard_block\",\"event_category\":\"network\",\
         \"timestamp\":\"2026-02-06T09:00:00.125Z\",\"agent\":{{\"id\":\"coder-01\",\
         \"name\":\"hushd\",\"version\":\"0.1.0\",\"type\":\"clawdstrike\"}},\
         \"session\":{{\"id\":\"s-1\"}},\"outcome\":\"failure\",\"action\":\"egress\",\
         \"threat\":{{}},\"decision\":{{\"allowed\":false,\"guard\":\"egress_allowlist\",\
         \"severity\":\"high\",\"reason\":\"\"}},\"resource\":{{\"type\":\"network\",\
         \"name\":\"exfil.example\"}},\"metadata\":{{}},\"labels\":{{}}}}"
    )
}
