//! Exporters that are held: what ends it, and what goes on beside it.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;
use shrike::config::Host;
use shrike::log::Log;
use shrike::pipeline::{Engine, ExporterStatus, Status};
use tempfile::TempDir;

use crate::destination::{Destination, Manner, answer};
use crate::engine::append;
use crate::equation::assert_equation;
use crate::wait::comes_true;
use crate::{config, config_of, event, exporter, filled, records};

/// A destination on a loopback socket that keeps the paths of its requests.
struct Receiver {
    address: SocketAddr,
    came: Arc<Mutex<Vec<String>>>,
}

/// The status for a request to this path.
type Says = dyn Fn(&str) -> u16 + Send + Sync;

impl Receiver {
    fn start(says: impl Fn(&str) -> u16 + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let came = Arc::new(Mutex::default());
        let (kept, says): (_, Arc<Says>) = (Arc::clone(&came), Arc::new(says));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let (kept, says) = (Arc::clone(&kept), Arc::clone(&says));
                thread::spawn(move || serve(stream, &kept, &*says));
            }
        });
        Self { address, came }
    }

    /// How many requests came to this path.
    fn count(&self, path: &str) -> usize {
        let came = self.came.lock().expect("no test panics while it holds it");
        came.iter().filter(|it| *it == path).count()
    }
}

fn serve(mut stream: TcpStream, came: &Mutex<Vec<String>>, says: &Says) {
    let mut requests = BufReader::new(stream.try_clone().expect("there are descriptors"));
    while let Some(path) = request(&mut requests) {
        let status = says(&path);
        came.lock().expect("no test panics while it holds it").push(path);
        if answer(&mut stream, status, &Value::Null).is_err() {
            return;
        }
    }
}

/// Reads a request; its path.
fn request(requests: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    requests.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        line.clear();
        requests.read_line(&mut line).ok()?;
        match line.trim_end().split_once(": ") {
            Some(("content-length", text)) => length = text.parse().ok()?,
            None if line.trim_end().is_empty() => break,
            _ => {}
        }
    }
    requests.read_exact(&mut vec![0; length]).ok()?;
    Some(path)
}

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address")
}

/// An engine on a log of its own.
fn start(dir: &TempDir, exporters: &str) -> (Engine, Log) {
    let config = config_of(dir.path(), exporters);
    let log = filled(&config, 0..0, 900);
    let options = config.engine_options(&Host::default());
    (Engine::start(log.clone(), options).expect("it starts"), log)
}

/// An event of this tenant.
fn of_tenant(number: u32, tenant: &str) -> String {
    event(number, 900).replace("acme", tenant)
}

/// Who tells how the destination is may be away while it takes events: another host, another
/// service.
#[test]
fn a_place_that_only_tells_health_keeps_no_exporter_held() {
    let quick = "circuit_breaker: {failure_threshold: 2, open_ms: 50}, \
                 retry: {initial_backoff_ms: 1}, from: earliest";
    let nobody = nobody();
    for (name, keys) in [
        ("webhook", format!("health: {{url: \"http://{nobody}/\"}}, url: ")),
        ("datadog", format!("api_key: k, metrics_endpoint: \"http://{nobody}/\", endpoint: ")),
    ] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let failures = AtomicU32::new(4);
        let receiver = Receiver::start(move |_| {
            let less = |left: u32| left.checked_sub(1);
            let is_ill = failures.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).is_ok();
            if is_ill { 500 } else { 200 }
        });
        let exporters = format!("  {name}: {{{keys}\"http://{}/\", {quick}}}\n", receiver.address);
        let config = config_of(dir.path(), &exporters);
        let log = filled(&config, 0..3, 900);
        let engine =
            Engine::start(log, config.engine_options(&Host::default())).expect("it starts");
        let delivered = |status: &Status| exporter(status, name).counts.delivered;
        let is_through = comes_true(|| delivered(&engine.status()) == 3);
        let status = assert_equation(engine.end());
        assert!(is_through, "{:?}", exporter(&status, name));
    }
}

/// A source whose address is not good any more stops what is for it, and nothing else.
#[test]
fn a_route_with_a_url_of_its_own_is_held_alone() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let receiver = Receiver::start(|path| if path == "/alerts" { 401 } else { 200 });
    let at = receiver.address;
    let (engine, log) = start(
        &dir,
        &format!(
            "  sumo_logic: {{http_source_url: \"http://{at}/main\", from: earliest, routing: \
             [{{condition: \"tenant_id == 'other'\", http_source_url: \"http://{at}/alerts\"}}]}}\n"
        ),
    );
    append(&log, [of_tenant(0, "other")]);
    // Once more after the credentials were asked for anew.
    assert!(comes_true(|| receiver.count("/alerts") == 2));
    append(&log, (1..4).map(|number| event(number, 900)));
    let one = |status: &Status| exporter(status, "sumo_logic").clone();
    let is_through = comes_true(|| one(&engine.status()).counts.delivered == 3);
    let status = assert_equation(engine.end());
    assert!(is_through, "{:?}", one(&status));
    assert_eq!((one(&status).pending, one(&status).state), (1, "degraded"));
}

/// "Other 4xx: permanent" (`pipeline.md`): a place that follows from the event is the event's.
#[test]
fn a_path_that_is_not_there_holds_no_other_path() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let receiver = Receiver::start(|path| if path == "/in/bad" { 404 } else { 200 });
    let (engine, log) = start(
        &dir,
        &format!(
            "  webhook: {{url: \"http://{}/in\", path_template: \"/{{tenant_id}}\", \
             from: earliest}}\n",
            receiver.address
        ),
    );
    let tenants = ["bad", "good1", "bad", "good2"];
    append(&log, (0..4).map(|number| of_tenant(number, tenants[number as usize])));
    let one = |status: &Status| exporter(status, "webhook").clone();
    let is_settled = || one(&engine.status()).counts.total() == 4;
    let is_through = comes_true(is_settled);
    let status = assert_equation(engine.end());
    assert!(is_through, "{:?}", one(&status));
    assert_eq!((one(&status).counts.delivered, one(&status).counts.dead_lettered), (2, 2));
    let letters = records(&dir.path().join("state/dlq/webhook"));
    assert!(letters.iter().all(|letter| letter["http_status"] == 404), "{letters:?}");
}

/// One tenant's index that is not there, or may not be written to, is no other tenant's.
#[test]
fn an_index_that_is_missing_holds_no_other() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Lacks("x-gone"));
    let index = "\n    index: {name: \"x-{tenant_id}\", ilm: false}";
    let config = config(dir.path(), &[("one", &destination, index)]);
    let log = filled(&config, 0..0, 900);
    let tenants = ["gone", "acme", "acme"];
    let event = |number: u32| of_tenant(number, tenants[number as usize % 3]);
    append(&log, (0..600).map(event));
    let engine =
        Engine::start(log.clone(), config.engine_options(&Host::default())).expect("it starts");
    let one = |status: &Status| exporter(status, "one").clone();
    let have = |delivered: u64, parked: u64| {
        let is = |it: ExporterStatus| (it.counts.delivered, it.parked) == (delivered, parked);
        comes_true(|| is(one(&engine.status())))
    };
    assert!(have(400, 200), "{:?}", one(&engine.status()));
    append(&log, (600..660).map(event));
    assert!(have(440, 220), "{:?}", one(&engine.status()));
    let status = assert_equation(engine.end());
    assert_eq!((one(&status).state, one(&status).counts.dead_lettered), ("degraded", 0));
    let (_, error) = one(&status).last_error.expect("an operator wants to know why");
    assert!(error.contains("404"), "{error}");
}
