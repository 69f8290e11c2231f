//! A bulk destination on a loopback socket that keeps what it accepted and answers as told.

#![allow(dead_code, reason = "each test crate that shares this file uses a part of it")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// How a destination answers bulk requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Takes everything.
    Accept,
    /// Reads requests and never answers.
    Hang,
    /// Takes everything and never answers, as if every answer were lost.
    Swallow,
    /// 503 to everything.
    Busy,
    /// Refuses events whose id ends in this digit, for ever.
    Refuse(char),
    /// 401 to everything.
    Lock,
    /// 413 to everything.
    Narrow,
    /// Knows no index whose name begins so: 404 for each of its events.
    Lacks(&'static str),
    /// Takes everything, and says that shards are missing.
    Red,
    /// Takes bulk requests and log records, and refuses to be asked how it is.
    Bare,
}

/// A running destination; it stops accepting when dropped.
pub(crate) struct Destination {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

struct State {
    manner: Mutex<Manner>,
    /// How often each event was accepted, and in which order first.
    accepted: Mutex<BTreeMap<String, u32>>,
    order: Mutex<Vec<String>>,
    /// Gap records, as they came.
    gaps: Mutex<Vec<Value>>,
    /// Connections that are open.
    open: Mutex<usize>,
    closed: Condvar,
    is_over: AtomicBool,
}

/// Counts a connection as open until it is dropped.
struct Connection(Arc<State>);

impl Connection {
    fn new(state: &Arc<State>) -> Self {
        *state.open.lock().expect("no test panics while it holds it") += 1;
        Self(Arc::clone(state))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Ok(mut open) = self.0.open.lock() {
            *open -= 1;
        }
        self.0.closed.notify_all();
    }
}

impl Destination {
    /// Listens on a free port.
    pub(crate) fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(State {
            manner: Mutex::new(manner),
            accepted: Mutex::default(),
            gaps: Mutex::default(),
            order: Mutex::default(),
            open: Mutex::new(0),
            closed: Condvar::new(),
            is_over: AtomicBool::new(false),
        });
        let serving = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.is_over.load(Ordering::Acquire) {
                    return;
                }
                let Ok(stream) = stream else { return };
                let connection = Connection::new(&serving);
                thread::spawn(move || serve(&connection.0, stream));
            }
        });
        Self { address, state }
    }

    /// Answers otherwise from now on.
    pub(crate) fn turn(&self, manner: Manner) {
        *self.state.manner.lock().expect("no test panics while it holds it") = manner;
    }

    /// Gap records that were accepted, repeats included.
    pub(crate) fn gaps(&self) -> Vec<Value> {
        self.state.gaps.lock().expect("no test panics while it holds it").clone()
    }

    /// How often each event was accepted.
    pub(crate) fn accepted(&self) -> BTreeMap<String, u32> {
        self.state.accepted.lock().expect("no test panics while it holds it").clone()
    }

    /// How many different events were accepted.
    pub(crate) fn count(&self) -> usize {
        self.state.accepted.lock().expect("no test panics while it holds it").len()
    }

    /// Waits until everything that a dead process had sent is taken in, and all is closed.
    pub(crate) fn settle(&self) {
        // Connections are accepted in order: once this one is answered, all before it are known.
        let mut last = TcpStream::connect(self.address).expect("it listens");
        last.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("it reads");
        last.read_exact(&mut [0]).expect("it answers");
        drop(last);
        let open = self.state.open.lock().expect("no test panics while it holds it");
        let closed = &self.state.closed;
        let (open, _) = closed
            .wait_timeout_while(open, PATIENCE, |open| *open > 0)
            .expect("no test panics while it holds it");
        assert_eq!(*open, 0, "connections are left open");
    }

    /// The events in the order in which they came first.
    pub(crate) fn order(&self) -> Vec<String> {
        self.state.order.lock().expect("no test panics while it holds it").clone()
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::Release);
        // The accepting thread looks at the flag once more.
        drop(TcpStream::connect(self.address));
    }
}

/// Serves one connection until it closes.
fn serve(state: &State, stream: TcpStream) {
    let Ok(mut answers) = stream.try_clone() else { return };
    let mut requests = BufReader::new(stream);
    while let Some(Request { target, body, .. }) = request(&mut requests) {
        let manner = *state.manner.lock().expect("no test panics while it holds it");
        let (status, answer) = match manner {
            Manner::Red if target.contains("_cluster/health") => (200, json!({"status": "red"})),
            Manner::Lock if target == "/_cluster/health" => (403, json!({"error": "not you"})),
            Manner::Bare if target == "/_cluster/health" => (400, json!("unsupported path")),
            Manner::Bare if target == "/v1/logs" => logs(&body),
            Manner::Lock if target == "/v1/logs" => (401, json!({"error": "who are you"})),
            Manner::Accept if target == "/ordered" => (200, ordered(state, &body)),
            Manner::Busy if target == "/ordered" => (503, json!({"error": "busy"})),
            _ if !target.contains("_bulk") => (200, json!({"status": "green"})),
            Manner::Hang => loop {
                thread::park();
            },
            Manner::Swallow => {
                bulk(state, &body, manner);
                continue;
            }
            Manner::Busy => (503, json!({"error": "busy"})),
            Manner::Lock => (401, json!({"error": "who are you"})),
            Manner::Narrow => (413, json!({"error": "too large"})),
            Manner::Accept | Manner::Red | Manner::Bare | Manner::Lacks(_) | Manner::Refuse(_) => {
                (200, bulk(state, &body, manner))
            }
        };
        if self::answer(&mut answers, status, &answer).is_err() {
            return;
        }
    }
}

/// Takes log records, and as Fluent Bit 5.1.1 does no request without any.
fn logs(body: &[u8]) -> (u16, Value) {
    let request: Value = serde_json::from_slice(body).expect("requests are JSON");
    match request["resourceLogs"].as_array().is_some_and(|logs| !logs.is_empty()) {
        true => (200, json!({})),
        false => (400, json!("invalid request: deserialisation error")),
    }
}

/// Takes in canonical events, one a line; repeats count too.
fn ordered(state: &State, body: &[u8]) -> Value {
    for line in body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        let event: Value = serde_json::from_slice(line).expect("a document is JSON");
        let id = event["event_id"].as_str().expect("an event has an id").to_owned();
        let mut accepted = state.accepted.lock().expect("no test panics while it holds it");
        *accepted.entry(id.clone()).or_insert(0) += 1;
        state.order.lock().expect("no test panics while it holds it").push(id);
    }
    json!({})
}

/// Takes in the events of a body and answers for each.
fn bulk(state: &State, body: &[u8], manner: Manner) -> Value {
    let text = std::str::from_utf8(body).expect("bodies are UTF-8");
    assert!(text.ends_with('\n'), "a bulk body ends with a line feed");
    let lines: Vec<&str> = text.lines().collect();
    let mut items = Vec::new();
    let mut has_errors = false;
    for pair in lines.chunks(2) {
        let action: Value = serde_json::from_str(pair[0]).expect("an action line is JSON");
        let document: Value = serde_json::from_str(pair[1]).expect("a document is JSON");
        let id = action["create"]["_id"].as_str().expect("an action has an id").to_owned();
        assert_eq!(document["event"]["id"].as_str(), Some(id.as_str()));
        let index = action["create"]["_index"].as_str().expect("an action has an index");
        let (status, kind, reason) = match manner {
            Manner::Refuse(digit) if id.ends_with(digit) => {
                (400, "document_parsing_exception", "not this one")
            }
            Manner::Lacks(lacked) if index.starts_with(lacked) => {
                (404, "index_not_found_exception", "no such index")
            }
            _ => (201, "", ""),
        };
        if status != 201 {
            has_errors = true;
            let error = json!({"type": kind, "reason": reason});
            items.push(json!({"create": {"status": status, "error": error}}));
            continue;
        }
        if pair[1].contains("export_gap") {
            state.gaps.lock().expect("no test panics while it holds it").push(document);
            items.push(json!({"create": {"status": 201}}));
            continue;
        }
        let mut accepted = state.accepted.lock().expect("no test panics while it holds it");
        let times = accepted.entry(id.clone()).or_insert(0);
        *times += 1;
        if *times == 1 {
            state.order.lock().expect("no test panics while it holds it").push(id);
            items.push(json!({"create": {"status": 201}}));
        } else {
            has_errors = true;
            let error = json!({"type": "version_conflict_engine_exception", "reason": "exists"});
            items.push(json!({"create": {"status": 409, "error": error}}));
        }
    }
    json!({"took": 1, "errors": has_errors, "items": items})
}

/// One request.
pub(crate) struct Request {
    pub(crate) target: String,
    /// `content-encoding`, where there is one.
    pub(crate) encoding: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// Reads one request.
pub(crate) fn request(requests: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    requests.read_line(&mut line).ok()?;
    let target = line.split(' ').nth(1)?.to_owned();
    let (mut length, mut encoding) = (0, None);
    loop {
        line.clear();
        requests.read_line(&mut line).ok()?;
        let header = line.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if let Some(value) = header.strip_prefix("content-encoding:") {
            encoding = Some(value.trim().to_owned());
        }
    }
    let mut body = vec![0; length];
    requests.read_exact(&mut body).ok()?;
    Some(Request { target, encoding, body })
}

/// Answers a request.
pub(crate) fn answer(stream: &mut TcpStream, status: u16, body: &Value) -> std::io::Result<()> {
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes())
}

/// How long connections of a dead process may take to be seen as closed.
const PATIENCE: Duration = Duration::from_secs(30);
