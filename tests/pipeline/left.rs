//! What is under way when somebody flushes, changes or ends an exporter.

use std::io::BufReader;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use shrike::config::Host;
use shrike::pipeline::{Engine, EngineOptions};
use tempfile::TempDir;

use crate::destination::{answer, request};
use crate::equation::assert_equation;
use crate::wait::{PATIENCE, comes_true};
use crate::{config_of, exporter, filled};

/// A destination that reads requests and answers none before it may.
struct Slow {
    address: SocketAddr,
    came: mpsc::Receiver<()>,
    may_answer: Arc<AtomicBool>,
}

impl Slow {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (told, came) = mpsc::channel();
        let may_answer = Arc::new(AtomicBool::new(false));
        let may = Arc::clone(&may_answer);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), told, may) = (stream, told.clone(), Arc::clone(&may)) else {
                    return;
                };
                thread::spawn(move || serve(stream, &told, &may));
            }
        });
        Self { address, came, may_answer }
    }

    fn answer(&self) {
        self.may_answer.store(true, Ordering::Release);
    }
}

fn serve(mut stream: TcpStream, told: &mpsc::Sender<()>, may_answer: &AtomicBool) {
    let mut requests = BufReader::new(stream.try_clone().expect("there are descriptors"));
    while request(&mut requests).is_some() {
        if told.send(()).is_err() {
            return;
        }
        while !may_answer.load(Ordering::Acquire) {
            thread::yield_now();
        }
        if answer(&mut stream, 200, &Value::Null).is_err() {
            return;
        }
    }
}

/// One webhook that sends nothing by itself within the hour, unless `keys` say otherwise.
fn options(dir: &TempDir, url: &str, keys: &str) -> EngineOptions {
    let text = format!(
        "  one: {{type: webhook, url: '{url}', mode: array, from: earliest, tls: \
         {{insecure_skip_verify: true}}{keys}}}\n"
    );
    config_of(dir.path(), &text).engine_options(&Host::default())
}

fn gathering(dir: &TempDir, url: &str) -> EngineOptions {
    options(dir, url, ", batch: {linger_ms: 3600000, flush_on_severity: none}")
}

fn started(dir: &TempDir, options: EngineOptions, events: u32) -> Engine {
    let log = filled(&config_of(dir.path(), ""), 0..events, 900);
    Engine::start(log, options).expect("it starts")
}

/// Not at all.
fn at_once() -> Instant {
    Instant::now() + Duration::from_millis(20)
}

#[test]
fn a_flush_cuts_no_request_off() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let slow = Slow::start();
    let engine = started(&dir, gathering(&dir, &format!("http://{}/", slow.address)), 3);
    // What was gathered goes out, and nobody waits for its answer.
    let has_come = || {
        engine.flush_exporter("one", at_once()).expect("it runs");
        slow.came.try_recv().is_ok()
    };
    assert!(comes_true(has_come), "{:?}", engine.status());
    engine.flush_exporter("one", at_once()).expect("it runs");
    slow.answer();
    assert!(comes_true(|| exporter(&engine.status(), "one").counts.delivered == 3));
    assert_eq!(slow.came.try_recv(), Err(mpsc::TryRecvError::Empty), "it went out again");
    let status = assert_equation(engine.end());
    let one = exporter(&status, "one");
    assert_eq!((one.requests, one.ambiguous, one.retried), (1, 0, 0));
}

#[test]
fn a_flush_waits_for_what_comes_of_it() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let slow = Slow::start();
    slow.answer();
    let engine = started(&dir, gathering(&dir, &format!("http://{}/", slow.address)), 3);
    let is_sent = || {
        let requests = exporter(&engine.status(), "one").requests;
        engine.flush_exporter("one", Instant::now() + PATIENCE).expect("it runs");
        let one = exporter(&engine.status(), "one").clone();
        assert!(requests < 1 || one.counts.delivered == 3, "{one:?}");
        one.requests > 0
    };
    assert!(comes_true(is_sent));
    let status = assert_equation(engine.end());
    assert_eq!(exporter(&status, "one").counts.delivered, 3);
}

#[test]
fn a_request_that_a_reload_leaves_is_counted_and_goes_out_again() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let slow = Slow::start();
    let url = format!("http://{}/", slow.address);
    let engine = started(&dir, options(&dir, &url, ""), 3);
    slow.came.recv_timeout(PATIENCE).expect("a request comes");
    engine.reload(options(&dir, &url, ", batch: {size: 7}"), at_once()).expect("it is as good");
    assert_eq!(exporter(&engine.status(), "one").ambiguous, 3);
    slow.answer();
    assert!(comes_true(|| exporter(&engine.status(), "one").counts.delivered == 3));
    let status = assert_equation(engine.end());
    let one = exporter(&status, "one");
    assert_eq!((one.requests, one.ambiguous), (2, 3));
}

#[test]
fn a_request_that_the_end_leaves_is_counted() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let slow = Slow::start();
    let engine = started(&dir, options(&dir, &format!("http://{}/", slow.address), ""), 3);
    slow.came.recv_timeout(PATIENCE).expect("a request comes");
    let status = assert_equation(engine.end());
    let one = exporter(&status, "one");
    assert_eq!((one.pending, one.ambiguous), (3, 3));
}

/// Whoever ends the process has waited long enough.
#[test]
fn a_change_that_is_hurried_waits_for_nothing() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let slow = Slow::start();
    let url = format!("http://{}/", slow.address);
    let engine = started(&dir, options(&dir, &url, ""), 3);
    slow.came.recv_timeout(PATIENCE).expect("a request comes");
    let began = Instant::now();
    thread::scope(|scope| {
        let changing = scope
            .spawn(|| engine.reload(options(&dir, &url, ", batch: {size: 7}"), began + PATIENCE));
        engine.hurry();
        changing.join().expect("it ends").expect("it is as good");
    });
    assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
    let status = assert_equation(engine.end());
    assert!(exporter(&status, "one").ambiguous >= 3, "{status:?}");
}

/// There was no connection to send it over: nobody has it.
#[test]
fn a_request_that_never_left_is_not_in_doubt() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    // Connections are made by the system; no handshake is ever answered.
    let silent = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = silent.local_addr().expect("a bound socket has an address");
    let engine = started(&dir, options(&dir, &format!("https://{address}/"), ""), 3);
    assert!(comes_true(|| exporter(&engine.status(), "one").requests == 1));
    let status = assert_equation(engine.end());
    let one = exporter(&status, "one");
    assert_eq!((one.pending, one.requests, one.ambiguous), (3, 1, 0));
}
