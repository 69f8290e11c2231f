//! Counts beside the events: each delivered event once, and never in the way of events.

use std::io::BufReader;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};
use shrike::config::{Config, Flags, Host, System, Text};
use shrike::pipeline::{Ended, Engine, Status};
use shrike::vendors;

use crate::destination::{answer, request};
use crate::equation::assert_equation;
use crate::{PATIENCE, exporter, filled};

/// A collector on a loopback socket: takes batches, and counts that carry no batch.
struct Collector {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Counts that were taken, one object each.
    counts: Mutex<Vec<Value>>,
    /// Requests with counts.
    asked: AtomicU32,
    /// How many of them are refused before the first is taken.
    refusals: u32,
    /// Whether those are not answered at all.
    is_mute: bool,
    is_over: AtomicBool,
}

impl Collector {
    fn start(refusals: u32) -> Self {
        Self::begin(State { refusals, ..State::default() })
    }

    fn begin(state: State) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(state);
        let serving = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.is_over.load(Ordering::Acquire) {
                    return;
                }
                let state = Arc::clone(&serving);
                let Ok(stream) = stream else { return };
                thread::spawn(move || serve(&state, stream));
            }
        });
        Self { address, state }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::Release);
        // The accepting thread looks at the flag once more.
        drop(TcpStream::connect(self.address));
    }
}

fn serve(state: &State, stream: TcpStream) {
    let Ok(mut answers) = stream.try_clone() else { return };
    let mut requests = BufReader::new(stream);
    while let Some(request) = request(&mut requests) {
        // Batches are compressed, counts are not: that tells them apart.
        let is_counts = request.encoding.is_none() && !request.body.is_empty();
        let is_taken = !is_counts || take(state, &request.body);
        if !is_taken && state.is_mute {
            return;
        }
        let (status, body) = match is_taken {
            true => (200, json!({"text": "Success", "code": 0})),
            false => (503, json!({"text": "Server is busy", "code": 9})),
        };
        if answer(&mut answers, status, &body).is_err() {
            return;
        }
    }
}

fn take(state: &State, body: &[u8]) -> bool {
    if state.asked.fetch_add(1, Ordering::AcqRel) < state.refusals {
        return false;
    }
    let objects = serde_json::Deserializer::from_slice(body).into_iter::<Value>();
    let objects = objects.map(|object| object.expect("counts are JSON"));
    state.counts.lock().expect("no test panics while it holds it").extend(objects);
    true
}

fn config(dir: &Path, collectors: &[&Collector]) -> Config {
    let urls: Vec<_> = collectors.iter().map(|it| format!("http://{}", it.address)).collect();
    let state = dir.join("state");
    let text = format!(
        "version: 1.0.0\nglobal: {{state_dir: {}}}\npipeline: {{workers: 2}}\nexporters:\n  \
         one:\n    type: splunk\n    hec_url: {urls:?}\n    hec_token: t\n    use_ack: false\n    \
         from: earliest\n    metrics: {{enabled: true, index: counts, flush_interval_secs: 1}}\n",
        state.display(),
    );
    let text = Text::File { name: "test".to_owned(), text: text.into() };
    Config::load(&text, &Flags::default(), vendors::ALL, &System)
        .unwrap_or_else(|error| panic!("{error}"))
}

/// Delivers events and drains; returns how the engine ended.
fn run(collectors: &[&Collector], events: u32) -> Status {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let config = config(dir.path(), collectors);
    let log = filled(&config, 0..events, 700);
    let engine = Engine::start(log, config.engine_options(&Host::default())).expect("it starts");
    let ended = engine.drain(Instant::now() + PATIENCE);
    let status = assert_equation(engine.end());
    assert_eq!(ended, Ended::Settled, "{status:?}");
    assert_eq!(exporter(&status, "one").counts.delivered, u64::from(events), "{status:?}");
    status
}

/// Sums over all windows.
fn sums(collector: &Collector) -> (u64, u64) {
    let counts = collector.state.counts.lock().expect("no test panics while it holds it");
    let sum = |name: &str| counts.iter().map(|it| it["fields"][name].as_u64().expect(name)).sum();
    for count in counts.iter() {
        assert_eq!(count["event"], "metric");
        assert_eq!(count["index"], "counts");
        assert_eq!(count["fields"]["guard"], "egress_allowlist");
        assert_eq!(count["fields"]["severity"], "high");
    }
    (sum("metric_name:clawdstrike.events.total"), sum("metric_name:clawdstrike.events.denied"))
}

#[test]
fn every_delivered_event_is_counted_once() {
    let collector = Collector::start(0);
    let status = run(&[&collector], 5_000);
    assert_eq!(sums(&collector), (5_000, 5_000));
    assert_eq!(exporter(&status, "one").counts_lost, 0);
}

#[test]
fn a_window_that_fails_is_sent_once_more() {
    let collector = Collector::start(1);
    let status = run(&[&collector], 300);
    assert_eq!(sums(&collector), (300, 300));
    assert_eq!(exporter(&status, "one").counts_lost, 0);
}

#[test]
fn a_window_that_fails_twice_is_dropped_and_counted() {
    let collector = Collector::start(u32::MAX);
    let status = run(&[&collector], 300);
    let asked = collector.state.asked.load(Ordering::Acquire);
    assert!(asked > 0 && asked.is_multiple_of(2), "{asked} requests");
    assert_eq!(exporter(&status, "one").counts_lost, 300);
    let (_, error) = exporter(&status, "one").last_error.clone().expect("it is shown");
    assert!(error.contains("counts not taken"), "{error}");
}

#[test]
fn counts_that_may_have_arrived_are_told_to_nobody_else() {
    let state = State { refusals: 1, is_mute: true, ..State::default() };
    let (first, second) = (Collector::begin(state), Collector::start(0));
    run(&[&first, &second], 300);
    assert_eq!(sums(&first), (300, 300));
    assert_eq!(second.state.asked.load(Ordering::Acquire), 0, "its counts would be added");
}
