//! Something that is told to act, on a loopback socket: it keeps what it was asked for.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// A request for an action.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
    pub(crate) at: Instant,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("bodies are JSON")
    }

    /// The key that header and body agree on.
    #[track_caller]
    pub(crate) fn key(&self) -> String {
        assert_eq!(self.json()["idempotency_key"], self.header("idempotency-key"));
        self.header("idempotency-key").to_owned()
    }
}

/// A running receiver; it answers with a status, or never.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

struct State {
    asked: Mutex<Vec<Asked>>,
    came: Condvar,
    status: Mutex<Option<u16>>,
}

impl Receiver {
    pub(crate) fn start(status: Option<u16>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let state =
            State { asked: Mutex::default(), came: Condvar::new(), status: Mutex::new(status) };
        let state = Arc::new(state);
        let serving = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&serving);
                thread::spawn(move || serve(&state, stream));
            }
        });
        Self { address, state }
    }

    /// Answers otherwise from now on.
    pub(crate) fn turn(&self, status: Option<u16>) {
        *self.state.status.lock().expect("no test panics while it holds it") = status;
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.state.asked.lock().expect("no test panics while it holds it").clone()
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        self.asked().iter().map(Asked::key).collect()
    }

    /// Waits for so many requests.
    #[track_caller]
    pub(crate) fn wait_for(&self, requests: usize) -> Vec<Asked> {
        let asked = self.state.asked.lock().expect("no test panics while it holds it");
        let is_short = |asked: &mut Vec<Asked>| asked.len() < requests;
        let waited = self.state.came.wait_timeout_while(asked, PATIENCE, is_short);
        let (asked, _) = waited.expect("no test panics while it holds it");
        assert!(asked.len() >= requests, "{} of {requests} requests came", asked.len());
        asked.clone()
    }
}

fn serve(state: &State, stream: TcpStream) {
    let Ok(mut answers) = stream.try_clone() else { return };
    let mut requests = BufReader::new(stream);
    while let Some(asked) = request(&mut requests) {
        // Whether somebody is there asks for nothing.
        if asked.method == "GET" {
            let answer = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
            if answers.write_all(answer).is_err() {
                return;
            }
            continue;
        }
        let status = *state.status.lock().expect("no test panics while it holds it");
        // Some receivers show what they refuse.
        let told = format!("{:?} {}", asked.headers, asked.json()["response"]);
        state.asked.lock().expect("no test panics while it holds it").push(asked);
        state.came.notify_all();
        let Some(status) = status else { continue };
        let length = told.len();
        let answer = format!("HTTP/1.1 {status} Said\r\ncontent-length: {length}\r\n\r\n{told}");
        if answers.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn request(requests: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut line = String::new();
    requests.read_line(&mut line).ok()?;
    let method = line.split(' ').next().filter(|word| !word.is_empty())?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        requests.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(Some(0), |text| text.parse().ok())?;
    let mut body = vec![0; length];
    requests.read_exact(&mut body).ok()?;
    let body = String::from_utf8(body).expect("bodies are text");
    Some(Asked { method, headers, body, at: Instant::now() })
}

const PATIENCE: Duration = Duration::from_secs(120);
