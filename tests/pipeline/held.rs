//! Exporters that are held: what ends it, and what goes on beside it.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use serde_json::Value;
use shrike::config::Host;
use shrike::pipeline::{Engine, Status};

use crate::destination::answer;
use crate::equation::assert_equation;
use crate::wait::comes_true;
use crate::{config_of, exporter, filled};

/// A destination on a loopback socket.
struct Receiver {
    address: SocketAddr,
}

/// The status for a request to this path.
type Says = dyn Fn(&str) -> u16 + Send + Sync;

impl Receiver {
    fn start(says: impl Fn(&str) -> u16 + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let says: Arc<Says> = Arc::new(says);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let says = Arc::clone(&says);
                thread::spawn(move || serve(stream, &*says));
            }
        });
        Self { address }
    }
}

fn serve(mut stream: TcpStream, says: &Says) {
    let mut requests = BufReader::new(stream.try_clone().expect("there are descriptors"));
    while let Some(path) = request(&mut requests) {
        if answer(&mut stream, says(&path), &Value::Null).is_err() {
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
