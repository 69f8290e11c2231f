//! The server around a fake vendor: connections, faults, control.

use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdTcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::body::{self, BodyError, Encoding, Whole};
use super::cut::Cut;
use super::tls::{Authority, TlsError};
use super::{Fault, Plan, Reply, Script, ScriptError, Vendor, Visit};
use crate::account::{self, Book, Report};
use crate::clock;
use crate::seed::Random;

/// How a fake is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where to listen for control only, in plaintext and free of faults.
    pub control: Option<SocketAddr>,
    /// Whether to speak TLS.
    pub tls: bool,
    /// Whether to offer HTTP/2, by ALPN over TLS and by prior knowledge without.
    pub h2: bool,
    /// Threads, each with its own runtime.
    pub threads: usize,
    /// What to do to clients.
    pub script: Script,
    /// Seed of the script's draws.
    pub seed: u64,
    /// Every how many requests one is judged in full; 1 judges all.
    pub judge_every: u64,
    /// Where the account is written.
    pub account: Option<PathBuf>,
}

impl Options {
    /// On a free port of this machine alone: one thread that plays this script and judges all.
    pub fn playing(script: &str) -> Result<Self, ScriptError> {
        Ok(Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            control: None,
            tls: false,
            h2: false,
            threads: 1,
            script: Script::parse(script)?,
            seed: 1,
            judge_every: 1,
            account: None,
        })
    }
}

/// Why a fake could not start.
#[derive(Debug, thiserror::Error)]
pub enum FakeError {
    /// The address is taken or not ours.
    #[error("cannot listen on {listen}: {source}; choose another address or port 0")]
    Listen {
        /// Where.
        listen: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// No thread or runtime could be had.
    #[error("cannot start a thread of the fake: {0}")]
    Start(#[source] std::io::Error),
    /// No certificate could be had.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No such certificate.
    #[error("cannot show the certificate {0:?}; expected `same` or `foreign`, on a fake with TLS")]
    Certificate(String),
    /// The account could not be written.
    #[error("cannot write the account to {path}: {source}")]
    Account {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// A running fake.
pub struct Fake {
    shared: Arc<Shared>,
    addr: SocketAddr,
    control: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

/// What the threads of a fake share.
struct Shared {
    vendor: Vendor,
    book: Arc<Book>,
    play: Mutex<Play>,
    connections: AtomicU64,
    judge_every: u64,
    account: Option<PathBuf>,
    authority: Option<Authority>,
    tls: Mutex<Option<Arc<ServerConfig>>>,
    h2: bool,
}

/// The script as it is being played.
struct Play {
    script: Script,
    since: Instant,
    requests: u64,
    random: Random,
}

impl Fake {
    /// Starts a fake; it serves until it is stopped.
    pub fn start(vendor: Vendor, book: Arc<Book>, options: Options) -> Result<Self, FakeError> {
        let (listener, addr) = listen(options.listen)?;
        let mut control = options.control.map(listen).transpose()?;
        let control_addr = control.as_ref().map(|&(_, addr)| addr);
        let alpn: &[&[u8]] = if options.h2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
        let mut authority = options.tls.then(|| Authority::new(alpn)).transpose()?;
        if let Some(authority) = &mut authority {
            authority.needs_certificate = vendor.needs_certificate();
        }
        let tls = authority.as_ref().map(Authority::server).transpose()?;
        let play = Play {
            script: options.script,
            since: Instant::now(),
            requests: 0,
            random: Random::new(options.seed),
        };
        let shared = Arc::new(Shared {
            vendor,
            book,
            play: Mutex::new(play),
            connections: AtomicU64::new(0),
            judge_every: options.judge_every.max(1),
            account: options.account,
            authority,
            tls: Mutex::new(tls),
            h2: options.h2,
        });
        let (stop, stopped) = watch::channel(false);
        let threads = (0..options.threads.max(1))
            .map(|number| {
                let listener = listener.try_clone()?;
                let control = control.take().map(|(listener, _)| listener);
                let (shared, stopped) = (Arc::clone(&shared), stopped.clone());
                std::thread::Builder::new()
                    .name(format!("fake-{number}"))
                    .spawn(move || run(listener, control, shared, stopped))
            })
            .collect::<Result<_, _>>()
            .map_err(FakeError::Start)?;
        Ok(Self { shared, addr, control: control_addr, stop, threads })
    }

    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where it listens for control only.
    #[must_use]
    pub const fn control(&self) -> Option<SocketAddr> {
        self.control
    }

    /// The certificate to trust, as PEM, when it speaks TLS.
    #[must_use]
    pub fn authority_pem(&self) -> Option<&str> {
        self.shared.authority.as_ref().map(|authority| authority.pem.as_str())
    }

    /// A fresh certificate for a client and its key, as PEM, when it speaks TLS.
    pub fn client_pem(&self) -> Option<Result<(String, String), FakeError>> {
        let authority = self.shared.authority.as_ref();
        authority.map(|authority| authority.client().map_err(FakeError::Tls))
    }

    /// The account as it stands.
    #[must_use]
    pub fn report(&self) -> Report {
        self.shared.book.report()
    }

    /// Writes the account to where the options said.
    pub fn write_account(&self) -> Result<(), FakeError> {
        self.shared.write_account()
    }

    /// Shows new connections another certificate: `same` or `foreign` authority.
    pub fn swap_certificate(&self, word: &str) -> Result<(), FakeError> {
        self.shared.swap_certificate(word)
    }

    /// Plays another script from its beginning.
    pub fn play(&self, script: &str) -> Result<(), ScriptError> {
        self.shared.begin(Script::parse(script)?);
        Ok(())
    }

    /// Drops every connection and waits for the threads.
    pub fn stop(self) {
        // Both ends are ours; a thread that has ended already needs no telling.
        let _ = self.stop.send(true);
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

fn listen(listen: SocketAddr) -> Result<(StdTcpListener, SocketAddr), FakeError> {
    let bound = StdTcpListener::bind(listen).and_then(|listener| {
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        Ok((listener, addr))
    });
    bound.map_err(|source| FakeError::Listen { listen, source })
}

fn run(
    listener: StdTcpListener,
    control: Option<StdTcpListener>,
    shared: Arc<Shared>,
    mut stopped: watch::Receiver<bool>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a current-thread runtime needs an epoll descriptor only");
    runtime.block_on(async {
        if let Some(control) = control {
            tokio::spawn(serve_control(control, Arc::clone(&shared)));
        }
        let listener = TcpListener::from_std(listener).expect("the listener does not block");
        loop {
            tokio::select! {
                _ = stopped.changed() => return,
                accepted = listener.accept() => {
                    // A connection that was gone before it was accepted is the peer's business.
                    let Ok((socket, _)) = accepted else { continue };
                    tokio::spawn(connection(socket, Arc::clone(&shared)));
                }
            }
        }
    });
}

/// Answers control requests and nothing else.
async fn serve_control(listener: StdTcpListener, shared: Arc<Shared>) {
    let listener = TcpListener::from_std(listener).expect("the listener does not block");
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        let shared = Arc::clone(&shared);
        let service = service_fn(move |request: Request<Incoming>| {
            let shared = Arc::clone(&shared);
            async move {
                let (parts, incoming) = request.into_parts();
                let path = parts.uri.path();
                if !CONTROL.contains(&path) {
                    return Ok(respond(Reply { status: 404, ..Reply::default() }));
                }
                let body = body::collect(incoming, CONTROL_BYTES_MAX, None).await;
                Ok::<_, Gone>(respond(shared.control(path, &body.unwrap_or_default())))
            }
        });
        let builder = hyper::server::conn::http1::Builder::new();
        tokio::spawn(builder.serve_connection(TokioIo::new(socket), service));
    }
}

async fn connection(socket: TcpStream, shared: Arc<Shared>) {
    shared.connections.fetch_add(1, Ordering::Relaxed);
    let _ = socket.set_nodelay(true);
    let twin = socket2::SockRef::from(&socket).try_clone();
    let Ok(twin) = twin else { return };
    let cut = Arc::new(Cut::new(twin.into()));
    if shared.refuses() {
        cut.reset();
        return;
    }
    let tls = shared.tls.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match tls {
        None => {
            let is_h2 = shared.h2 && starts_with_preface(&socket).await;
            serve(socket, is_h2, shared, cut).await;
        }
        Some(config) => {
            // A handshake that fails is what some tests ask for; the client reports it.
            let Ok(stream) = TlsAcceptor::from(config).accept(socket).await else { return };
            let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            serve(stream, is_h2, shared, cut).await;
        }
    }
}

/// Whether the client opens with HTTP/2's preface (RFC 9113, 3.3 and 3.4).
async fn starts_with_preface(socket: &TcpStream) -> bool {
    let mut first = [0; 4];
    matches!(socket.peek(&mut first).await, Ok(4) if first == *b"PRI ")
}

async fn serve<S>(stream: S, is_h2: bool, shared: Arc<Shared>, cut: Arc<Cut>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn({
        let cut = Arc::clone(&cut);
        move |request| answer(request, Arc::clone(&shared), Arc::clone(&cut))
    });
    let io = TokioIo::new(stream);
    let cut = cut.now.notified();
    // How a connection ends is the client's to report, so errors are dropped here.
    if is_h2 {
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(H2_WINDOW_BYTES);
        builder.initial_connection_window_size(H2_WINDOW_BYTES * 4);
        builder.max_frame_size(H2_FRAME_BYTES);
        tokio::select! { _ = builder.serve_connection(io, service) => {}, () = cut => {} }
    } else {
        let builder = hyper::server::conn::http1::Builder::new();
        tokio::select! { _ = builder.serve_connection(io, service) => {}, () = cut => {} }
    }
}

/// The connection is gone on purpose.
#[derive(Debug, thiserror::Error)]
#[error("the fault script ended this connection")]
struct Gone;

async fn answer(
    request: Request<Incoming>,
    shared: Arc<Shared>,
    cut: Arc<Cut>,
) -> Result<Response<Whole>, Gone> {
    let (parts, incoming) = request.into_parts();
    if CONTROL.contains(&parts.uri.path()) {
        let body = body::collect(incoming, CONTROL_BYTES_MAX, None).await.unwrap_or_default();
        return Ok(respond(shared.control(parts.uri.path(), &body)));
    }
    let (number, plan, seed) = shared.next(parts.uri.path());
    match plan.fault {
        Some(Fault::ResetBefore) => return shared.gone(&cut, Duration::ZERO).await,
        Some(Fault::Hang(time)) => return shared.gone(&cut, time).await,
        _ => {}
    }
    let received = receive(&parts, incoming, &shared, &plan).await;
    let (reply, visit) = match received {
        Err(reply) => (reply, account::Visit::default()),
        Ok((body, wire_bytes)) => {
            let visit = account::Visit { wire_bytes, body_bytes: body.len() as u64 };
            let reply = match &plan.fault {
                Some(Fault::Status(status)) => shared.vendor.refuse(*status, &parts.headers),
                Some(Fault::Throttle { wait, date }) => {
                    let refusal = shared.vendor.refuse(429, &parts.headers);
                    throttle(refusal, *wait, *date)
                }
                Some(Fault::Swallow) => shared.vendor.swallow(&body),
                Some(Fault::Restart) => {
                    shared.vendor.restart();
                    return shared.gone(&cut, Duration::ZERO).await;
                }
                _ => shared.vendor.answer(&Visit {
                    method: &parts.method,
                    path: parts.uri.path(),
                    query: parts.uri.query().unwrap_or_default(),
                    headers: &parts.headers,
                    body: &body,
                    plan: &plan,
                    seed,
                    strict: number % shared.judge_every == 0,
                }),
            };
            (reply, visit)
        }
    };
    finish(reply, visit, &plan, &shared, &cut).await
}

/// Ends a request that was applied: late, lost or in order.
async fn finish(
    reply: Reply,
    visit: account::Visit,
    plan: &Plan,
    shared: &Shared,
    cut: &Cut,
) -> Result<Response<Whole>, Gone> {
    if !plan.delay.is_zero() {
        tokio::time::sleep(plan.delay).await;
    }
    match plan.fault {
        Some(Fault::ResetAfter) => return shared.gone(cut, Duration::ZERO).await,
        Some(Fault::Mute(time)) => return shared.gone(cut, time).await,
        Some(Fault::Lost) => {
            shared.book.note_request(0, visit);
            cut.close();
            return Err(Gone);
        }
        _ => {}
    }
    shared.book.note_request(reply.status, visit);
    if !reply.accepted.is_empty() {
        shared.book.note_accepted(&reply.accepted, clock::now_ns());
    }
    Ok(respond(reply))
}

/// Reads and decompresses a body; the refusal when it cannot be had.
async fn receive(
    parts: &http::request::Parts,
    incoming: Incoming,
    shared: &Shared,
    plan: &Plan,
) -> Result<(Bytes, u64), Reply> {
    let bytes_max = plan.body_bytes_max.unwrap_or_else(|| shared.vendor.body_bytes_max());
    let header = parts.headers.get(http::header::CONTENT_ENCODING);
    let word = header.and_then(|value| value.to_str().ok()).unwrap_or("identity");
    let word = if shared.vendor.keeps_encodings() { "identity" } else { word };
    let encoding = Encoding::parse(word);
    let known = encoding.is_some_and(|encoding| shared.vendor.encodings().contains(&encoding));
    let received = async {
        let wire = body::collect(incoming, bytes_max, plan.pace).await?;
        let wire_bytes = wire.len() as u64;
        if !known && !word.eq_ignore_ascii_case("identity") {
            return Err(BodyError::Encoding(word.to_owned()));
        }
        let is_swallowed = plan.fault == Some(Fault::Swallow);
        if is_swallowed && !shared.vendor.counts_what_it_swallows() {
            return Ok((wire, wire_bytes));
        }
        Ok((body::decode(encoding, wire, bytes_max)?, wire_bytes))
    };
    received.await.map_err(|error| {
        let status = match error {
            BodyError::TooLarge { .. } => 413,
            BodyError::Encoding(_) => 415,
            BodyError::Broken(_) | BodyError::Damaged { .. } => 400,
        };
        // A broken connection and a bound that the script set are no faults of the client.
        let is_fault = matches!(error, BodyError::Encoding(_) | BodyError::Damaged { .. });
        if is_fault {
            shared.book.note_problem("the body cannot be decoded", error.to_string().as_bytes());
        }
        shared.vendor.refuse(status, &parts.headers)
    })
}

/// "429 with Retry-After": delay seconds or an HTTP date (RFC 9110, 10.2.3).
fn throttle(mut reply: Reply, wait: Duration, date: bool) -> Reply {
    let value = if date {
        let due = clock::now_ns() / clock::NS_PER_SECOND + wait.as_secs();
        clock::http_date(due)
    } else {
        wait.as_secs_f64().ceil().to_string()
    };
    reply.headers.push(("retry-after", value));
    reply
}

fn respond(reply: Reply) -> Response<Whole> {
    let mut builder = Response::builder().status(reply.status);
    if !reply.content_type.is_empty() {
        builder = builder.header(http::header::CONTENT_TYPE, reply.content_type);
    }
    for (name, value) in reply.headers {
        builder = builder.header(name, value);
    }
    builder.body(Whole::new(reply.body)).expect("statuses and headers are our own")
}

impl Shared {
    /// The number of this request, what happens to it, and a seed for its items.
    fn next(&self, path: &str) -> (u64, Plan, u64) {
        let mut play = self.play();
        let play = &mut *play;
        let number = play.requests;
        play.requests += 1;
        let plan = play.script.plan(path, number, play.since.elapsed(), &mut play.random);
        (number, plan, play.random.bits())
    }

    fn refuses(&self) -> bool {
        let mut play = self.play();
        let play = &mut *play;
        play.script.refuses(play.since.elapsed(), &mut play.random)
    }

    fn begin(&self, script: Script) {
        let mut play = self.play();
        play.script = script;
        play.since = Instant::now();
        play.requests = 0;
    }

    fn play(&self) -> MutexGuard<'_, Play> {
        self.play.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits, then resets the connection.
    async fn gone(&self, cut: &Cut, time: Duration) -> Result<Response<Whole>, Gone> {
        self.book.note_request(0, account::Visit::default());
        tokio::time::sleep(time).await;
        cut.reset();
        Err(Gone)
    }

    fn control(&self, path: &str, body: &[u8]) -> Reply {
        match path {
            "/_account" => {
                if let Err(error) = self.write_account() {
                    return failure(500, &error);
                }
                Reply::json(200, account_text(&self.book.report()))
            }
            "/_script" => match Script::parse(&String::from_utf8_lossy(body)) {
                Err(error) => failure(400, &error),
                Ok(script) => {
                    self.begin(script);
                    Reply::json(200, "{}")
                }
            },
            "/_certificate" => {
                let word = String::from_utf8_lossy(body.trim_ascii()).into_owned();
                match self.swap_certificate(&word) {
                    Ok(()) => Reply::json(200, "{}"),
                    Err(error) => failure(400, &error),
                }
            }
            _ => {
                self.book.clear_latency();
                Reply::json(200, "{}")
            }
        }
    }

    /// New connections see another certificate: of the same authority, or of a foreign one.
    fn swap_certificate(&self, word: &str) -> Result<(), FakeError> {
        let fresh = match (&self.authority, word) {
            (Some(authority), "" | "same") => authority.server()?,
            (Some(_), "foreign") => Authority::new(&[b"http/1.1"])?.server()?,
            _ => return Err(FakeError::Certificate(word.to_owned())),
        };
        *self.tls.lock().unwrap_or_else(PoisonError::into_inner) = Some(fresh);
        Ok(())
    }

    fn write_account(&self) -> Result<(), FakeError> {
        let Some(path) = &self.account else { return Ok(()) };
        write_account(path, &self.book.report())
    }
}

/// Writes an account beside its file and renames it, so that a reader never sees half of it.
pub fn write_account(path: &Path, report: &Report) -> Result<(), FakeError> {
    let fresh = path.with_extension("part");
    std::fs::write(&fresh, account_text(report))
        .and_then(|()| std::fs::rename(&fresh, path))
        .map_err(|source| FakeError::Account { path: path.to_owned(), source })
}

fn failure(status: u16, error: &impl std::fmt::Display) -> Reply {
    Reply::json(status, serde_json::json!({"error": error.to_string()}).to_string())
}

fn account_text(report: &Report) -> String {
    serde_json::to_string(report).expect("a report holds numbers and texts only")
}

/// Paths of the fake itself; no vendor has them.
const CONTROL: &[&str] = &["/_account", "/_script", "/_certificate", "/_latency"];
/// Bytes of a script.
const CONTROL_BYTES_MAX: usize = 1 << 20;
/// Bytes in flight on a stream before the client has to wait: a whole body, so that flow control
/// does not decide the throughput.
const H2_WINDOW_BYTES: u32 = 16 << 20;
/// Bytes of a frame: large ones cost less to take apart.
const H2_FRAME_BYTES: u32 = 256 << 10;
