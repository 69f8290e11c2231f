//! The pages for monitoring: `/metrics`, `/healthz` and `/readyz`, on a loopback address.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::exposition::{Numbers, exposition};

/// What the pages are made from.
pub trait Observe: Send + Sync + 'static {
    /// The numbers now; `None` while the process ends.
    fn numbers(&self) -> Option<Numbers>;

    /// What keeps the process from its work, one sentence each; empty when it is ready.
    fn unready(&self) -> Vec<String>;
}

/// The listener and its threads; dropping it closes the address.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Admin {
    /// Listens on an address.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub fn open(address: SocketAddr, observe: Arc<dyn Observe>) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("admin".to_owned())
            .spawn(move || accept(&listener, &observe, &stopped))?;
        Ok(Self { address, stop, thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // A connection of our own wakes the thread that waits for one.
        let is_woken = TcpStream::connect_timeout(&self.address, IDLE).is_ok();
        if let (true, Some(thread)) = (is_woken, self.thread.take()) {
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, observe: &Arc<dyn Observe>, stop: &AtomicBool) {
    let open = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        if stop.load(Ordering::Acquire) {
            return;
        }
        let Ok(stream) = stream else { continue };
        if open.fetch_add(1, Ordering::AcqRel) >= CONNECTIONS_MAX {
            open.fetch_sub(1, Ordering::AcqRel);
            let _ = answer(&stream, 503, "text/plain", "too many connections\n", Method::Get);
            continue;
        }
        let (observe, one) = (Arc::clone(observe), Arc::clone(&open));
        let spawned = std::thread::Builder::new().name("admin-page".to_owned()).spawn(move || {
            // Whoever asked and went away needs no answer.
            let _ = serve(&stream, &*observe);
            one.fetch_sub(1, Ordering::AcqRel);
        });
        if spawned.is_err() {
            open.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Get,
    Head,
}

/// Answers one request and closes.
fn serve(stream: &TcpStream, observe: &dyn Observe) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_write_timeout(Some(IDLE))?;
    let mut reader = BufReader::new(stream).take(HEAD_BYTES_MAX);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_ascii_whitespace();
    let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    // The rest of the head is read so that closing does not reset the connection.
    let mut rest = String::new();
    while reader.read_line(&mut rest)? > 2 {
        rest.clear();
    }
    let method = match method {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        _ => return answer(stream, 405, TEXT, "only GET and HEAD\n", Method::Get),
    };
    let path = target.split('?').next().unwrap_or("");
    match path {
        "/metrics" => match observe.numbers() {
            Some(numbers) => answer(stream, 200, METRICS, &exposition(&numbers), method),
            None => answer(stream, 503, TEXT, "stopping\n", method),
        },
        "/healthz" => answer(stream, 200, TEXT, "ok\n", method),
        "/readyz" => match observe.unready() {
            problems if problems.is_empty() => answer(stream, 200, TEXT, "ready\n", method),
            problems => answer(stream, 503, TEXT, &(problems.join("\n") + "\n"), method),
        },
        _ => {
            let pages = "there are /metrics, /healthz and /readyz\n";
            answer(stream, 404, TEXT, pages, method)
        }
    }
}

fn answer(
    mut stream: &TcpStream,
    status: u16,
    content_type: &str,
    body: &str,
    method: Method,
) -> io::Result<()> {
    let reason = match status {
        200 => "OK",
        404 => "Not Found",
        405 => "Method Not Allowed",
        _ => "Service Unavailable",
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\ncontent-type: {content_type}\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n"
    );
    let body = if method == Method::Head { "" } else { body };
    stream.write_all((head + body).as_bytes())
}

const TEXT: &str = "text/plain; charset=utf-8";
/// Prometheus' text format.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Bytes of a request.
const HEAD_BYTES_MAX: u64 = 16 << 10;
/// Requests at once; scrapers are few.
const CONNECTIONS_MAX: usize = 16;
/// How long a request may take to come.
const IDLE: Duration = Duration::from_secs(5);
