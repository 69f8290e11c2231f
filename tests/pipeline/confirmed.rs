//! Destinations that confirm later: what goes out again since it was not confirmed.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};
use shrike::config::{Config, Host};
use shrike::pipeline::{Ended, Engine, ExporterStatus, Status, Wanted};
use tempfile::TempDir;

use crate::destination::{Request, answer, request};
use crate::engine::append;
use crate::equation::assert_equation;
use crate::wait::{PATIENCE, comes_true};
use crate::{config_of, event, exporter, filled};

/// A collector on a loopback socket that numbers what it takes, and confirms from one number on.
struct Collector {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    confirms_from: u64,
    /// Whether no event is good enough.
    refuses: bool,
    /// The documents of each request.
    came: Vec<Vec<Value>>,
}

impl Collector {
    fn start(confirms_from: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(Mutex::new(State { confirms_from, refuses: false, came: Vec::new() }));
        let kept = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let state = Arc::clone(&kept);
                thread::spawn(move || serve(stream, &state));
            }
        });
        Self { address, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds it")
    }
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) {
    let mut requests = BufReader::new(stream.try_clone().expect("there are descriptors"));
    while let Some(Request { target, body, .. }) = request(&mut requests) {
        let mut state = state.lock().expect("no test panics while it holds it");
        let (status, said) = said(&mut state, &target, &body);
        drop(state);
        if answer(&mut stream, status, &said).is_err() {
            return;
        }
    }
}

fn said(state: &mut State, target: &str, body: &[u8]) -> (u16, Value) {
    if target.starts_with("/services/collector/ack") {
        let asked: Value = serde_json::from_slice(body).expect("a question is JSON");
        let ids = asked["acks"].as_array().expect("a question names ids");
        let said = ids.iter().map(|id| id.as_u64().expect("an id is a number"));
        let said: BTreeMap<String, bool> =
            said.map(|id| (id.to_string(), id >= state.confirms_from)).collect();
        return (200, json!({ "acks": said }));
    }
    if !target.starts_with("/services/collector/event") || body.is_empty() {
        return (200, json!({"text": "HEC is healthy", "code": 17}));
    }
    if state.refuses {
        return (400, json!({"text": "Invalid data format", "code": 6}));
    }
    let documents = serde_json::Deserializer::from_slice(body).into_iter();
    state.came.push(documents.map(|it| it.expect("a document is JSON")).collect());
    (200, json!({"text": "Success", "code": 0, "ackId": state.came.len() - 1}))
}

fn config(dir: &TempDir, collector: &Collector, keys: &str) -> Config {
    let exporters = format!(
        "  splunk: {{hec_url: \"http://{}\", hec_token: t, compression: none, from: earliest, \
         use_ack: true, {keys}}}\n",
        collector.address
    );
    config_of(dir.path(), &exporters)
}

fn splunk(status: &Status) -> ExporterStatus {
    exporter(status, "splunk").clone()
}

/// An event that goes out only without its metadata goes out so each time it is rendered: what the
/// destination took once is no dead letter.
#[test]
fn an_event_that_was_made_to_fit_fits_when_it_is_sent_again() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let collector = Collector::start(1);
    let config = config(&dir, &collector, "ack: {timeout_secs: 1, poll_interval_ms: 10}");
    let log = filled(&config, 0..0, 900);
    let large = format!("\"metadata\":{{\"blob\":\"{}\"}}", "x".repeat(900_000));
    append(&log, [event(0, 900), event(1, 900).replace("\"metadata\":{}", &large)]);
    let engine = Engine::start(log, config.engine_options(&Host::default())).expect("it starts");
    let is_through = comes_true(|| splunk(&engine.status()).counts.total() == 2);
    let status = splunk(&assert_equation(engine.end()));
    assert!(is_through, "{status:?}");
    let events: Vec<usize> = collector.state().came.iter().map(Vec::len).collect();
    assert_eq!((status.counts.delivered, events), (2, vec![2, 2]));
}

/// "Shutdown flushes and waits for acks" (`design.md` 4), of what is sent beside the log as well.
#[test]
fn the_end_waits_for_the_confirmation_of_a_replayed_letter() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let collector = Collector::start(u64::MAX);
    collector.state().refuses = true;
    let config = config(&dir, &collector, "ack: {poll_interval_ms: 1000}");
    let log = filled(&config, 0..1, 900);
    let engine = Engine::start(log, config.engine_options(&Host::default())).expect("it starts");
    assert!(comes_true(|| splunk(&engine.status()).counts.dead_lettered == 1));
    collector.state().refuses = false;
    engine.replay("splunk", &Wanted::default(), None).expect("nothing else is replayed");
    assert!(comes_true(|| collector.state().came.len() == 1));
    collector.state().confirms_from = 0;
    assert_eq!(engine.flush(Instant::now() + PATIENCE), Ended::Settled);
    let status = splunk(&assert_equation(engine.end()));
    assert_eq!((status.counts.delivered, status.counts.dead_lettered), (1, 0), "{status:?}");
}
