//! Events over HTTP: `POST /v1/events` takes one object, an array, or lines of objects, and
//! `POST /v1/logs` what OTLP exporters send as JSON.
//!
//! A request is answered with 2xx only when what it brought is durable, and tells what became of
//! each item.

use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ALLOW, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::door::DoorError;
use super::items::items;
use super::shared::{SharedDoor, now_ns};
use super::stream::{Account, Stream};
use crate::log::{AppendError, Appender};

/// How events are taken over HTTP.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The token that senders have to show; none for everybody who reaches the address.
    pub token: Option<Token>,
    /// Bytes of a body at most, compressed and not.
    pub body_bytes_max: usize,
    /// The certificate to show; none for plain HTTP.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// The dialect of all records; `None` lets each one tell.
    pub format: Option<&'static str>,
}

/// A token, of which only the hash is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

impl Token {
    /// The token with this text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The listening socket and its thread; dropping it ends both.
#[derive(Debug)]
pub struct HttpInput {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What all connections share.
struct Shared {
    door: SharedDoor,
    appender: Appender,
    options: HttpOptions,
    name: String,
    account: Mutex<Account>,
    /// Room for bodies, in pieces of [`PIECE_BYTES`].
    room: Arc<Semaphore>,
    connections: AtomicUsize,
    stop: Notify,
}

impl HttpInput {
    /// Listens and takes events.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub fn start(options: HttpOptions, door: SharedDoor, appender: Appender) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(options.listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            door,
            appender,
            name: format!("http {address}"),
            options,
            account: Mutex::default(),
            room: Arc::new(Semaphore::new(BODIES_BYTES_MAX / PIECE_BYTES)),
            connections: AtomicUsize::new(0),
            stop: Notify::new(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(REQUESTS_MAX)
            .build()?;
        let serving = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("shrike-http".to_owned())
            .spawn(move || runtime.block_on(accept(listener, &serving)))?;
        Ok(Self { address, shared, thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What became of everything so far.
    #[must_use]
    pub fn account(&self) -> Account {
        *self.shared.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HttpInput {
    fn drop(&mut self) {
        self.shared.stop.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic there was told already.
            let _ended = thread.join();
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("name", &self.name).finish_non_exhaustive()
    }
}

async fn accept(listener: std::net::TcpListener, shared: &Arc<Shared>) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return warn!(input = shared.name, %error, "cannot listen"),
    };
    let tls = shared.options.tls.clone().map(TlsAcceptor::from);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.stop.notified() => return,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, usually: others end, and it goes on.
                warn!(input = shared.name, %error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if shared.connections.fetch_add(1, Ordering::AcqRel) >= CONNECTIONS_MAX {
            shared.connections.fetch_sub(1, Ordering::AcqRel);
            debug!(input = shared.name, "too many connections");
            continue;
        }
        let (shared, tls) = (Arc::clone(shared), tls.clone());
        tokio::spawn(async move {
            connection(stream, tls, &shared).await;
            shared.connections.fetch_sub(1, Ordering::AcqRel);
        });
    }
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, shared: &Arc<Shared>) {
    // An answer is one small write; it must not wait for an acknowledgement of ours.
    let _unsupported = stream.set_nodelay(true);
    let served = match tls {
        None => serve(stream, shared).await,
        Some(acceptor) => match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => serve(stream, shared).await,
            Ok(Err(error)) => return debug!(input = shared.name, %error, "TLS failed"),
            Err(_) => return debug!(input = shared.name, "TLS took too long"),
        },
    };
    if let Err(error) = served {
        debug!(input = shared.name, %error, "a connection ended early");
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    shared: &Arc<Shared>,
) -> hyper::Result<()> {
    let service = service_fn(|request| {
        let shared = Arc::clone(shared);
        async move { Ok::<_, Infallible>(answer(request, shared).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

/// What a request is answered with.
struct Reply {
    status: StatusCode,
    body: Value,
    retry_after: Option<u64>,
}

impl Reply {
    fn error(status: StatusCode, text: &str) -> Self {
        Self { status, body: json!({ "error": text }), retry_after: None }
    }

    fn later(status: StatusCode, text: &str, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..Self::error(status, text) }
    }
}

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Response<Once> {
    let is_logs = request.uri().path() == LOGS_PATH;
    let mut reply = match taken(request, shared).await {
        Ok(reply) | Err(reply) => reply,
    };
    if is_logs {
        reply.body = for_exporter(&reply);
    }
    let mut response = Response::new(Once(Some(Bytes::from(reply.body.to_string() + "\n"))));
    *response.status_mut() = reply.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    if let Some(seconds) = reply.retry_after {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    match reply.status {
        StatusCode::UNAUTHORIZED => {
            headers.insert(WWW_AUTHENTICATE, http::HeaderValue::from_static("Bearer"));
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            headers.insert(ALLOW, http::HeaderValue::from_static("POST"));
        }
        _ => {}
    }
    response
}

/// The body that OTLP wants: what was refused of a request that was taken, else a status.
fn for_exporter(reply: &Reply) -> Value {
    let count = |name: &str| reply.body.get(name).and_then(Value::as_u64).unwrap_or(0);
    match (reply.status, count("rejected")) {
        (StatusCode::OK, 0) => json!({}),
        (StatusCode::OK, rejected) => json!({"partialSuccess": {
            "rejectedLogRecords": rejected.to_string(),
            "errorMessage": "what was refused is in quarantine with its class",
        }}),
        _ => {
            let text = reply.body.get("error").and_then(Value::as_str);
            json!({"message": text.unwrap_or("nothing of it is an event; it is in quarantine")})
        }
    }
}

async fn taken(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Reply, Reply> {
    let (head, body) = request.into_parts();
    if head.uri.path() != PATH && head.uri.path() != LOGS_PATH {
        let text = "events are taken at /v1/events, OTLP logs at /v1/logs";
        return Err(Reply::error(StatusCode::NOT_FOUND, text));
    }
    if head.method != Method::POST {
        return Err(Reply::error(StatusCode::METHOD_NOT_ALLOWED, "expected POST"));
    }
    if !is_permitted(&head.headers, shared.options.token.as_ref()) {
        let text = "expected `Authorization: Bearer` with the input's token";
        return Err(Reply::error(StatusCode::UNAUTHORIZED, text));
    }
    if head.uri.path() == LOGS_PATH && !is_json(&head.headers) {
        let text =
            "expected content-type application/json: set the exporter's protocol to http/json";
        return Err(Reply::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    let encoding = Encoding::of(&head.headers)?;
    let cap = shared.options.body_bytes_max;
    let declared = head.headers.get(CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse().ok());
    if declared.is_some_and(|bytes: usize| bytes > cap) {
        return Err(too_large(cap));
    }
    // A body that is compressed needs room for what it becomes.
    let needed = match encoding {
        Encoding::Identity => declared.unwrap_or(cap),
        Encoding::Gzip | Encoding::Zstd => declared.unwrap_or(cap) + cap,
    };
    let pieces = u32::try_from(needed.div_ceil(PIECE_BYTES)).unwrap_or(u32::MAX);
    let most = BODIES_BYTES_MAX / PIECE_BYTES;
    let pieces = pieces.min(u32::try_from(most).unwrap_or(u32::MAX));
    let Ok(room) = Arc::clone(&shared.room).try_acquire_many_owned(pieces) else {
        let text = "too much is under way; send it again later";
        return Err(Reply::later(StatusCode::TOO_MANY_REQUESTS, text, BUSY_SECONDS));
    };
    let body = match timeout(BODY_TIMEOUT, collect(body, cap)).await {
        Ok(body) => body?,
        Err(_) => {
            return Err(Reply::error(StatusCode::REQUEST_TIMEOUT, "the body took too long"));
        }
    };
    let worked = tokio::task::spawn_blocking(move || {
        let reply = work(&body, encoding, &shared);
        drop(room);
        reply
    });
    worked.await.unwrap_or_else(|_panic| {
        Err(Reply::error(StatusCode::INTERNAL_SERVER_ERROR, "the input failed"))
    })
}

fn is_permitted(headers: &HeaderMap, token: Option<&Token>) -> bool {
    let Some(Token(expected)) = token else { return true };
    let given = headers.get(AUTHORIZATION).map(http::HeaderValue::as_bytes);
    let given = given.and_then(|value| {
        let (scheme, token) = value.split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
    });
    // Hashes are compared, so that the time tells nothing of the token.
    given.is_some_and(|token| Sha256::digest(token.trim_ascii())[..] == expected[..])
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).map_or(&b""[..], http::HeaderValue::as_bytes);
    let kind = value.split(|&byte| byte == b';').next().unwrap_or_default();
    kind.trim_ascii().eq_ignore_ascii_case(b"application/json")
}

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

impl Encoding {
    fn of(headers: &HeaderMap) -> Result<Self, Reply> {
        let value = headers.get(CONTENT_ENCODING).map_or(&b""[..], http::HeaderValue::as_bytes);
        match value.trim_ascii().to_ascii_lowercase().as_slice() {
            b"" | b"identity" => Ok(Self::Identity),
            b"gzip" | b"x-gzip" => Ok(Self::Gzip),
            b"zstd" => Ok(Self::Zstd),
            _ => {
                let text = "expected content-encoding gzip, zstd or none";
                Err(Reply::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, text))
            }
        }
    }

    /// The body as it was before, at most `cap` bytes.
    fn decode(self, body: &[u8], cap: usize) -> Result<Vec<u8>, Reply> {
        let mut plain = Vec::new();
        let most = cap as u64 + 1;
        let read = match self {
            Self::Identity => return Ok(body.to_vec()),
            Self::Gzip => {
                flate2::read::MultiGzDecoder::new(body).take(most).read_to_end(&mut plain)
            }
            Self::Zstd => zstd::stream::read::Decoder::new(body)
                .and_then(|decoder| decoder.take(most).read_to_end(&mut plain)),
        };
        match read {
            Ok(bytes) if bytes <= cap => Ok(plain),
            Ok(_) => Err(too_large(cap)),
            Err(_) => {
                let text = "the body is not what its content-encoding says";
                Err(Reply::error(StatusCode::BAD_REQUEST, text))
            }
        }
    }
}

fn too_large(cap: usize) -> Reply {
    let text = format!("a body has at most {cap} bytes; send fewer events at a time");
    Reply::error(StatusCode::PAYLOAD_TOO_LARGE, &text)
}

/// Reads a body of at most `cap` bytes.
async fn collect(body: Incoming, cap: usize) -> Result<Vec<u8>, Reply> {
    let mut body = pin!(body);
    let mut all = Vec::new();
    while let Some(frame) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
        let frame = frame.map_err(|_| {
            Reply::error(StatusCode::BAD_REQUEST, "the body ended before its length")
        })?;
        let Ok(piece) = frame.into_data() else { continue };
        if all.len() + piece.len() > cap {
            return Err(too_large(cap));
        }
        all.extend_from_slice(&piece);
    }
    Ok(all)
}

/// Takes what a body holds and waits until it is durable.
fn work(body: &[u8], encoding: Encoding, shared: &Shared) -> Result<Reply, Reply> {
    let plain = encoding.decode(body, shared.options.body_bytes_max)?;
    let lines = items(&plain);
    let mut stream = Stream::new(&shared.name, 0).with_format(shared.options.format);
    let mut listed = Vec::new();
    let last = {
        let mut door = shared.door.lock();
        let now = now_ns();
        for line in lines.split_inclusive(|&byte| byte == b'\n') {
            let before = stream.account();
            door.take(&mut stream, line, now);
            let class = stream.rejected().first().map(|rejected| rejected.class.name());
            door.append(&mut stream, line, None).map_err(refused)?;
            let after = stream.account();
            listed.push(match class {
                Some(class) => json!({"status": "rejected", "class": class}),
                None if after.events > before.events => json!({"status": "accepted"}),
                None if after.duplicates > before.duplicates => json!({"status": "duplicate"}),
                // A blank line is no item.
                None => continue,
            });
        }
        door.settle_quarantine(&shared.name).map_err(refused)?;
        door.last()
    };
    if let Some(last) = last {
        // The door is free meanwhile: others append into the same group commit.
        shared.appender.wait_durable(last).map_err(|error| {
            refused(DoorError::Append { source_name: shared.name.clone(), position: 0, error })
        })?;
    }
    let account = stream.account();
    let mut all = shared.account.lock().unwrap_or_else(PoisonError::into_inner);
    *all = all.plus(account);
    drop(all);
    let is_refused = account.events + account.duplicates == 0 && account.rejected > 0;
    let status = if is_refused { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let body = json!({
        "accepted": account.events,
        "duplicates": account.duplicates,
        "rejected": account.rejected,
        "items": listed,
    });
    Ok(Reply { status, body, retry_after: None })
}

/// The answer while the log takes nothing; the sender keeps its events.
fn refused(error: DoorError) -> Reply {
    match error {
        DoorError::Append { error: AppendError::Closed, .. } => {
            Reply::later(StatusCode::SERVICE_UNAVAILABLE, "shrike is stopping", DISK_SECONDS)
        }
        _ => Reply::later(
            StatusCode::TOO_MANY_REQUESTS,
            "the log takes nothing at present; send it again later",
            DISK_SECONDS,
        ),
    }
}

/// A body of one piece.
struct Once(Option<Bytes>);

impl Body for Once {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

/// Where events are taken.
const PATH: &str = "/v1/events";
/// Where OTLP exporters send logs.
const LOGS_PATH: &str = "/v1/logs";
/// Bytes of bodies under way over all connections, compressed and not.
const BODIES_BYTES_MAX: usize = 64 << 20;
/// The unit in which that is counted.
const PIECE_BYTES: usize = 1 << 10;
/// Requests that are checked or wait for the group commit at a time.
const REQUESTS_MAX: usize = 64;
/// Connections at a time; more are closed at once.
const CONNECTIONS_MAX: usize = 1024;
/// How long a TLS handshake, a request's head and its body may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// After a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What `Retry-After` says when much is under way, and when the disk refuses.
const BUSY_SECONDS: u64 = 1;
const DISK_SECONDS: u64 = 5;
