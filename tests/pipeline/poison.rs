//! Destinations over which one event breaks, and such as name a time.

use std::cell::Cell;
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use shrike::config::Host;
use shrike::pipeline::{Engine, Status};

use crate::destination::request;
use crate::engine::append;
use crate::equation::assert_equation;
use crate::wait::comes_true;
use crate::{config_of, event, exporter, filled};

/// Listens on a free port, and answers a body as it is told.
fn listen(says: impl Fn(&str) -> &'static str + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    let says = Arc::new(says);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let says = Arc::clone(&says);
            thread::spawn(move || {
                let mut requests = BufReader::new(stream.try_clone().expect("a descriptor"));
                while let Some(request) = request(&mut requests) {
                    let body = String::from_utf8(request.body).expect("it is not compressed");
                    let answer = format!("HTTP/1.1 {}content-length: 0\r\n\r\n", says(&body));
                    if stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn one(status: &Status) -> &shrike::pipeline::ExporterStatus {
    exporter(status, "webhook")
}

#[test]
fn an_event_over_which_the_destination_breaks_stops_no_other() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let address = listen(|body| match body.contains("-000000000000\"") {
        true => "500 Broken\r\n",
        false => "200 Taken\r\n",
    });
    let config = config_of(
        dir.path(),
        &format!(
            "  webhook: {{url: \"http://{address}/\", from: earliest, lanes: 1, concurrency: 1, \
             retry: {{initial_backoff_ms: 5, max_backoff_ms: 20}}, \
             circuit_breaker: {{failure_threshold: 2, open_ms: 50}}}}\n"
        ),
    );
    let log = filled(&config, 0..1, 900);
    let engine =
        Engine::start(log.clone(), config.engine_options(&Host::default())).expect("it starts");
    assert!(comes_true(|| one(&engine.status()).state == "circuit_open"));
    append(&log, (1..20).map(|number| event(number, 900)));
    assert!(comes_true(|| one(&engine.status()).counts.delivered == 19), "{:?}", engine.status());
    // Each one that is accepted meanwhile tells more.
    let next = Cell::new(20);
    let is_told = comes_true(|| {
        append(&log, [event(next.replace(next.get() + 1), 900)]);
        thread::park_timeout(Duration::from_millis(20));
        one(&engine.status()).counts.dead_lettered == 1
    });
    let status = assert_equation(engine.end());
    assert!(is_told, "{:?}", one(&status));
}

#[test]
fn a_time_that_a_destination_names_is_a_floor_for_probes() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let came: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let kept = Arc::clone(&came);
    let address = listen(move |_| {
        kept.lock().expect("no test panics while it holds it").push(Instant::now());
        "503 Busy\r\nretry-after: 2\r\n"
    });
    let config = config_of(
        dir.path(),
        &format!(
            "  webhook: {{url: \"http://{address}/\", from: earliest, lanes: 1, concurrency: 1, \
             retry: {{initial_backoff_ms: 5, max_backoff_ms: 20}}, \
             circuit_breaker: {{failure_threshold: 1, open_ms: 50}}}}\n"
        ),
    );
    let log = filled(&config, 0..9, 900);
    let engine = Engine::start(log, config.engine_options(&Host::default())).expect("it starts");
    let times = || came.lock().expect("no test panics while it holds it").clone();
    assert!(comes_true(|| times().len() >= 3));
    let status = assert_equation(engine.end());
    let gaps: Vec<Duration> = times().windows(2).map(|pair| pair[1] - pair[0]).collect();
    // It may have been on its way for a while, as long as the one before was not.
    assert!(gaps.iter().all(|gap| *gap > Duration::from_millis(1500)), "{gaps:?}");
    assert_eq!((one(&status).pending, one(&status).counts.dead_lettered), (9, 0));
}
