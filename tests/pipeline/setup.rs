//! What is prepared before the first event, by which node, and what is said where that fails.

use std::io::BufReader;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shrike::config::{Config, Flags, Host, System, Text};
use shrike::pipeline::{Ended, Engine};
use shrike::vendors;
use tempfile::TempDir;

use crate::destination::{Request, answer, request};
use crate::equation::assert_equation;
use crate::wait::{PATIENCE, comes_true, comes_true_within};
use crate::{exporter, filled, run_to_the_end};

/// How a cluster answers a request: status and body.
type Answering = dyn Fn(&Request) -> (u16, Value) + Send + Sync;

/// What came, in order: paths without their query.
type Came = Arc<Mutex<Vec<String>>>;

/// A cluster without anything in it answers on this socket.
fn cluster(
    listener: TcpListener,
    answering: impl Fn(&Request) -> (u16, Value) + Send + Sync + 'static,
) -> Came {
    let came = Came::default();
    let (seen, answering): (_, Arc<Answering>) = (Arc::clone(&came), Arc::new(answering));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(mut stream), seen) = (stream, Arc::clone(&seen)) else { return };
            let answering = Arc::clone(&answering);
            thread::spawn(move || {
                let clone = stream.try_clone().expect("there are descriptors");
                let mut requests = BufReader::new(clone);
                while let Some(request) = request(&mut requests) {
                    let path = request.target.split('?').next().unwrap_or_default().to_owned();
                    seen.lock().expect("nobody panics with it").push(path);
                    let (status, body) = answering(&request);
                    if answer(&mut stream, status, &body).is_err() {
                        return;
                    }
                }
            });
        }
    });
    came
}

/// Nothing is there yet, and everything can be made.
fn empty(request: &Request) -> (u16, Value) {
    match request.target.contains("_bulk") {
        true => (200, items(request, &json!({"create": {"status": 201}}))),
        // A look has no body.
        false if request.body.is_empty() => (404, json!({"error": {"type": "missing"}})),
        false => (200, json!({"acknowledged": true})),
    }
}

/// The same item for each event.
fn items(request: &Request, item: &Value) -> Value {
    let events = request.body.iter().filter(|&&byte| byte == b'\n').count() / 2;
    json!({"took": 1, "errors": true, "items": vec![item; events]})
}

fn configured(dir: &TempDir, nodes: &[SocketAddr], more: &str) -> Config {
    let nodes: Vec<String> = nodes.iter().map(|node| format!("\"http://{node}\"")).collect();
    let text = format!(
        "version: 1.0.0\nglobal: {{state_dir: {}}}\nexporters:\n  elastic:\n    nodes: [{}]\n    \
         auth: {{type: none}}\n    compression: none\n    from: earliest\n{more}",
        dir.path().join("state").display(),
        nodes.join(", ")
    );
    let text = Text::File { name: "test".to_owned(), text: text.into() };
    Config::load(&text, &Flags::default(), vendors::ALL, &System)
        .unwrap_or_else(|error| panic!("{error}"))
}

fn bound() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    (listener, address)
}

/// What was made before the first events came.
fn made_before_events(came: &Came) -> bool {
    let came = came.lock().expect("nobody panics with it");
    let of = |what: &str| came.iter().filter(|path| path.contains(what)).count();
    let first = came.iter().position(|path| path.contains("_bulk")).expect("events came");
    let template = came.iter().rposition(|path| path.contains("_index_template"));
    // Once looked for, once made.
    of("_ilm") == 2 && of("_index_template") == 2 && template.is_some_and(|at| at < first)
}

#[test]
fn another_node_is_prepared_where_the_first_is_away() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (gone, away) = bound();
    drop(gone);
    let (listener, address) = bound();
    let came = cluster(listener, empty);
    let config = configured(&dir, &[away, address], "");
    run_to_the_end(&config, filled(&config, 0..20, 900));
    assert!(made_before_events(&came), "{came:?}");
}

/// Documents in an index without its template are mapped by guesses, for ever.
#[test]
fn a_cluster_that_comes_up_late_is_prepared_before_events_come() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (gone, address) = bound();
    drop(gone);
    let config = configured(&dir, &[address], "");
    let log = filled(&config, 0..20, 900);
    let engine = Engine::start(log, config.engine_options(&Host::default())).expect("it starts");
    // Lanes are woken many times meanwhile, which is no reason to give up.
    let ended = engine.drain(Instant::now() + Duration::from_millis(2500));
    assert!(matches!(ended, Ended::Pending(_)), "{ended:?}");
    // It is ready all the same: inputs have to take what comes.
    assert_eq!(exporter(&engine.status(), "elastic").state, "circuit_open");
    let came = cluster(TcpListener::bind(address).expect("nobody took the port"), empty);
    assert_eq!(engine.drain(Instant::now() + PATIENCE), Ended::Settled);
    assert_eq!(exporter(&engine.status(), "elastic").state, "healthy");
    drop(assert_equation(engine.end()));
    assert!(made_before_events(&came), "{came:?}");
}

/// "A failure degrades health, export continues" (`elastic.md`, Setup).
#[test]
fn a_preparation_that_is_refused_shows_as_degraded_and_events_go_on() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (listener, address) = bound();
    cluster(listener, |request| match request.target.contains("_index_template") {
        true if !request.body.is_empty() => (400, json!({"error": {"reason": "same priority"}})),
        _ => empty(request),
    });
    let config = configured(&dir, &[address], "");
    let log = filled(&config, 0..20, 900);
    let engine = Engine::start(log, config.engine_options(&Host::default())).expect("it starts");
    let of = || exporter(&engine.status(), "elastic").clone();
    assert!(comes_true(|| of().counts.delivered == 20), "{:?}", of());
    assert_eq!(of().state, "degraded");
    let (_, error) = of().last_error.expect("an operator wants to know why");
    assert!(error.contains("index template") && error.contains("same priority"), "{error}");
    drop(assert_equation(engine.end()));
}

/// "403 security_exception -> auth" (`elastic.md`, Wire): for hours nothing would be said.
#[test]
fn events_that_are_held_one_by_one_say_why() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (listener, address) = bound();
    cluster(listener, |request| {
        let error = json!({"type": "security_exception", "reason": "create_doc is unauthorized"});
        match request.target.contains("_bulk") {
            true => (200, items(request, &json!({"create": {"status": 403, "error": error}}))),
            false => empty(request),
        }
    });
    let config = configured(&dir, &[address], "    init: {enabled: false}\n");
    let log = filled(&config, 0..20, 900);
    let engine = Engine::start(log, config.engine_options(&Host::default())).expect("it starts");
    let of = || exporter(&engine.status(), "elastic").clone();
    assert!(comes_true(|| of().state == "degraded" && of().last_error.is_some()));
    let (_, error) = of().last_error.expect("it was there");
    assert!(error.contains("403") && error.contains("create_doc is unauthorized"), "{error}");
    assert!(of().failing.is_some(), "nothing arrives, and that is to be told once it lasts");
    drop(assert_equation(engine.end()));
}

/// "404 index_not_found: run setup once, else hold" (`elastic.md`).
#[test]
fn events_whose_index_is_made_meanwhile_go_on_at_once() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (listener, address) = bound();
    let made = AtomicU32::new(0);
    cluster(listener, move |request| {
        let is_template = request.target.contains("_index_template");
        if request.target.contains("_bulk") && made.load(Ordering::Acquire) < 2 {
            let error = json!({"type": "index_not_found_exception", "reason": "no such index"});
            return (200, items(request, &json!({"create": {"status": 404, "error": error}})));
        }
        if is_template && !request.body.is_empty() {
            // That takes longer than sending once more would.
            thread::park_timeout(Duration::from_millis(200));
            made.fetch_add(1, Ordering::AcqRel);
        }
        empty(request)
    });
    let config = configured(&dir, &[address], "");
    let log = filled(&config, 0..20, 900);
    let engine = Engine::start(log, config.engine_options(&Host::default())).expect("it starts");
    let of = || exporter(&engine.status(), "elastic").clone();
    let is_through = comes_true_within(HELD / 2, || of().counts.delivered == 20);
    let requests = of().requests;
    drop(assert_equation(engine.end()));
    assert!(is_through, "it is held after {requests} requests");
}

/// How long a route that is not set up waits.
const HELD: Duration = Duration::from_secs(60);
