//! Events over HTTP: `POST /v1/events` takes one object, an array, or lines of objects, and
//! `POST /v1/logs` what OTLP exporters send.
//!
//! A request is answered with 2xx only when what it brought is durable, and tells what became of
//! each item. Guards, which send events here, also ask here what is known of a value.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::{
    ALLOW, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ORIGIN, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Body;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::door::DoorError;
use super::identity::ServerIdentity;
use super::items::items;
use super::listen::{AtTheEnd, ListenOptions, Listening, Once, Token};
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
    /// The certificate to show, if any.
    pub identity: Arc<ServerIdentity>,
    /// The dialect of all records; `None` lets each one tell.
    pub format: Option<&'static str>,
    /// How logs are read that are no JSON.
    pub binary: &'static Binary,
    /// What answers guards.
    pub questions: Questions,
}

/// Answers the body of a question from memory: nothing where nobody can be asked, else the answer
/// as JSON, or what was expected.
#[derive(Clone)]
pub struct Questions(Arc<Answers>);

type Answers = dyn Fn(&[u8]) -> Option<Result<Vec<u8>, String>> + Send + Sync;

impl Questions {
    /// Questions that are answered so.
    pub fn new(
        answer: impl Fn(&[u8]) -> Option<Result<Vec<u8>, String>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(answer))
    }
}

impl Default for Questions {
    /// Nobody can be asked.
    fn default() -> Self {
        Self::new(|_| None)
    }
}

impl fmt::Debug for Questions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Questions")
    }
}

/// An encoding of logs other than JSON, and of the answers to them.
#[derive(Debug)]
pub struct Binary {
    /// Its media type.
    pub content_type: &'static str,
    /// The same logs as JSON of about this many bytes at most. Texts that are no UTF-8 keep their
    /// bytes, which the door repairs.
    pub decode: fn(&[u8], usize) -> Result<Vec<u8>, Undecoded>,
    /// The answer to logs that were taken but for so many records, and what became of those.
    pub answer: fn(u64, &str) -> Vec<u8>,
    /// The answer to logs that were refused, and why.
    pub refusal: fn(&str) -> Vec<u8>,
}

/// Why a body is no logs in an encoding.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecoded {
    /// It is not what its media type says.
    #[error("{place}: {problem}")]
    Malformed {
        /// The names of the fields that lead to what is wrong.
        place: String,
        /// What is wrong, and what was expected.
        problem: &'static str,
    },
    /// It becomes larger than it may.
    #[error("too large as JSON")]
    TooLarge,
}

/// The listening socket and its thread; dropping it ends both.
#[derive(Debug)]
pub struct HttpInput {
    address: SocketAddr,
    shared: Arc<Shared>,
    _listening: Listening,
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
}

impl HttpInput {
    /// Listens and takes events.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub fn start(options: HttpOptions, door: SharedDoor, appender: Appender) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(options.listen)?;
        let address = listener.local_addr()?;
        let name = format!("http {address}");
        let listen = ListenOptions {
            name: name.clone(),
            identity: Arc::clone(&options.identity),
            connections_max: CONNECTIONS_MAX,
            requests_max: REQUESTS_MAX,
            head_timeout: HEAD_TIMEOUT,
            at_the_end: AtTheEnd::Wait,
        };
        let room = Arc::new(Semaphore::new(PIECES_MAX));
        let account = Mutex::default();
        let shared = Arc::new(Shared { door, appender, options, name, account, room });
        let serving = Arc::clone(&shared);
        let _listening = Listening::start(listener, listen, move |request, _| {
            answer(request, Arc::clone(&serving))
        })?;
        Ok(Self { address, shared, _listening })
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

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a request is answered with.
struct Reply {
    status: StatusCode,
    body: Value,
    /// The body as it is sent, where it is JSON text already.
    text: Option<Vec<u8>>,
    retry_after: Option<u64>,
}

impl Reply {
    fn error(status: StatusCode, text: &str) -> Self {
        Self { status, body: json!({ "error": text }), text: None, retry_after: None }
    }

    /// Records that were refused.
    fn rejected(&self) -> u64 {
        self.body.get("rejected").and_then(Value::as_u64).unwrap_or(0)
    }

    /// Why nothing was taken.
    fn problem(&self) -> &str {
        let text = self.body.get("error").and_then(Value::as_str);
        text.unwrap_or("nothing of it is an event; it is in quarantine")
    }

    fn later(status: StatusCode, text: &str, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..Self::error(status, text) }
    }
}

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Response<Once> {
    let is_logs = request.uri().path() == LOGS_PATH;
    let binary = shared.options.binary;
    let is_binary = is_logs && is_of_type(request.headers(), binary.content_type);
    let mut reply = match taken(request, shared).await {
        Ok(reply) | Err(reply) => reply,
    };
    let text = reply.text.take();
    let (kind, body) = match (is_logs, is_binary) {
        (true, true) => (binary.content_type, in_binary(&reply, binary)),
        (true, false) => (JSON, (for_exporter(&reply).to_string() + "\n").into_bytes()),
        (false, _) => (JSON, text.unwrap_or_else(|| (reply.body.to_string() + "\n").into_bytes())),
    };
    let mut response = Response::new(Once::new(body));
    *response.status_mut() = reply.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
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
    match (reply.status, reply.rejected()) {
        (StatusCode::OK, 0) => json!({}),
        (StatusCode::OK, rejected) => json!({"partialSuccess": {
            "rejectedLogRecords": rejected.to_string(),
            "errorMessage": QUARANTINED,
        }}),
        _ => json!({ "message": reply.problem() }),
    }
}

/// The same in the encoding in which the logs came.
fn in_binary(reply: &Reply, binary: &Binary) -> Vec<u8> {
    match reply.status {
        StatusCode::OK => (binary.answer)(reply.rejected(), QUARANTINED),
        _ => (binary.refusal)(reply.problem()),
    }
}

async fn taken(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Reply, Reply> {
    let (head, body) = request.into_parts();
    if ![PATH, LOGS_PATH, QUESTIONS_PATH].contains(&head.uri.path()) {
        let text = "events are taken at /v1/events, OTLP logs at /v1/logs; guards ask at \
                    /v1/threat-intel/check";
        return Err(Reply::error(StatusCode::NOT_FOUND, text));
    }
    if head.method != Method::POST {
        return Err(Reply::error(StatusCode::METHOD_NOT_ALLOWED, "expected POST"));
    }
    let token = shared.options.token.as_ref();
    if token.is_some_and(|token| !token.is_shown(&head.headers)) {
        let text = "expected `Authorization: Bearer` with the input's token";
        return Err(Reply::error(StatusCode::UNAUTHORIZED, text));
    }
    if token.is_none() && head.headers.contains_key(ORIGIN) {
        // Of all programs on this host only browsers say so, and they do for any page.
        let text = "a web page sent this: set the input's `token` if it may";
        return Err(Reply::error(StatusCode::FORBIDDEN, text));
    }
    if head.uri.path() == QUESTIONS_PATH {
        return answered(&head.headers, body, &shared).await;
    }
    let is_logs = head.uri.path() == LOGS_PATH;
    let is_binary = is_logs && is_of_type(&head.headers, shared.options.binary.content_type);
    if is_logs && !is_binary && !is_of_type(&head.headers, JSON) {
        let other = shared.options.binary.content_type;
        let text = format!("expected content-type {JSON} or {other}");
        return Err(Reply::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, &text));
    }
    let encoding = Encoding::of(&head.headers)?;
    let cap = shared.options.body_bytes_max;
    let declared = head.headers.get(CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse().ok());
    if declared.is_some_and(|bytes: usize| bytes > cap) {
        return Err(too_large(cap));
    }
    let mut room = Room::new(&shared.room);
    if room.is_short_of(declared.unwrap_or(0)) {
        return Err(busy());
    }
    let body = whole(body, cap, |bytes| room.hold(bytes)).await?;
    let worked = tokio::task::spawn_blocking(move || {
        let kind = match (is_logs, is_binary) {
            (true, true) => Content::Binary,
            (true, false) => Content::Logs,
            (false, _) => Content::Items,
        };
        work(body, encoding, kind, (&shared, &mut room))
    });
    worked.await.unwrap_or_else(|_panic| {
        Err(Reply::error(StatusCode::INTERNAL_SERVER_ERROR, "the input failed"))
    })
}

/// Answers a guard at once, and not behind events that are checked or wait for the disk.
async fn answered(headers: &HeaderMap, body: Incoming, shared: &Shared) -> Result<Reply, Reply> {
    let encoding = Encoding::of(headers)?;
    let cap = QUESTIONS_BYTES_MAX.min(shared.options.body_bytes_max);
    // Questions are small, and are not kept waiting by events.
    let body = encoding.decode(whole(body, cap, |_| Ok(())).await?, cap, |_| Ok(()))?;
    match (shared.options.questions.0)(&body) {
        Some(Ok(text)) => Ok(Reply {
            status: StatusCode::OK,
            body: Value::Null,
            text: Some(text),
            retry_after: None,
        }),
        Some(Err(problem)) => Err(Reply::error(StatusCode::BAD_REQUEST, &problem)),
        None => {
            let text = "threat intelligence is switched off; see `threat_intel.enabled`";
            Err(Reply::error(StatusCode::NOT_FOUND, text))
        }
    }
}

fn is_of_type(headers: &HeaderMap, expected: &str) -> bool {
    let value = headers.get(CONTENT_TYPE).map_or(&b""[..], http::HeaderValue::as_bytes);
    let kind = value.split(|&byte| byte == b';').next().unwrap_or_default();
    kind.trim_ascii().eq_ignore_ascii_case(expected.as_bytes())
}

/// What a body holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    /// An object, an array, or lines.
    Items,
    /// One export of logs as JSON.
    Logs,
    /// The same in the other encoding.
    Binary,
}

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Identity,
    Gzip,
    /// RFC 1950 (RFC 9110, 8.4.1.2).
    Deflate,
    Zstd,
}

impl Encoding {
    fn of(headers: &HeaderMap) -> Result<Self, Reply> {
        let value = headers.get(CONTENT_ENCODING).map_or(&b""[..], http::HeaderValue::as_bytes);
        match value.trim_ascii().to_ascii_lowercase().as_slice() {
            b"" | b"identity" => Ok(Self::Identity),
            b"gzip" | b"x-gzip" => Ok(Self::Gzip),
            b"deflate" => Ok(Self::Deflate),
            b"zstd" => Ok(Self::Zstd),
            _ => {
                let text = "expected content-encoding gzip, deflate, zstd or none";
                Err(Reply::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, text))
            }
        }
    }

    /// The body as it was before, at most `cap` bytes; `hold` is told of those it becomes.
    fn decode(
        self,
        body: Vec<u8>,
        cap: usize,
        hold: impl FnMut(usize) -> Result<(), Reply>,
    ) -> Result<Vec<u8>, Reply> {
        let body_bytes = body.as_slice();
        match self {
            Self::Identity => Ok(body),
            Self::Gzip => inflate(flate2::read::MultiGzDecoder::new(body_bytes), cap, hold),
            Self::Deflate => inflate(flate2::read::ZlibDecoder::new(body_bytes), cap, hold),
            Self::Zstd => {
                let decoder = zstd::stream::read::Decoder::new(body_bytes);
                inflate(decoder.map_err(|_| not_encoded())?, cap, hold)
            }
        }
    }
}

fn inflate(
    mut decoder: impl Read,
    cap: usize,
    mut hold: impl FnMut(usize) -> Result<(), Reply>,
) -> Result<Vec<u8>, Reply> {
    let mut plain = Vec::new();
    loop {
        let start = plain.len();
        plain.resize(start + INFLATED_BYTES, 0);
        let read = match decoder.read(&mut plain[start..]) {
            Ok(read) => read,
            Err(_) => return Err(not_encoded()),
        };
        plain.truncate(start + read);
        match read {
            0 => return Ok(plain),
            _ if plain.len() > cap => return Err(too_large(cap)),
            _ => hold(read)?,
        }
    }
}

/// Room that one request holds: for what came of its body, and for what that becomes.
#[derive(Debug)]
struct Room {
    pieces: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

impl Room {
    fn new(pieces: &Arc<Semaphore>) -> Self {
        Self { pieces: Arc::clone(pieces), held: None, bytes: 0 }
    }

    /// Whether there is less room than for so many bytes at this moment.
    fn is_short_of(&self, bytes: usize) -> bool {
        bytes.div_ceil(PIECE_BYTES).min(PIECES_MAX) > self.pieces.available_permits()
    }

    /// Holds so many bytes more.
    fn hold(&mut self, bytes: usize) -> Result<(), Reply> {
        self.bytes += bytes;
        let has = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        // A request alone may need more than all, and then has it.
        let more = self.bytes.div_ceil(PIECE_BYTES).min(PIECES_MAX).saturating_sub(has);
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        let more = Arc::clone(&self.pieces).try_acquire_many_owned(more).map_err(|_| busy())?;
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        Ok(())
    }
}

fn busy() -> Reply {
    let text = "too much is under way; send it again later";
    Reply::later(StatusCode::TOO_MANY_REQUESTS, text, BUSY_SECONDS)
}

fn not_encoded() -> Reply {
    let text = "the body is not what its content-encoding says";
    Reply::error(StatusCode::BAD_REQUEST, text)
}

fn too_large(cap: usize) -> Reply {
    let text = format!("a body has at most {cap} bytes; send fewer items at a time");
    Reply::error(StatusCode::PAYLOAD_TOO_LARGE, &text)
}

fn too_large_as_json(cap: usize) -> Reply {
    let text = format!("logs take at most {cap} bytes as JSON; send fewer at a time");
    Reply::error(StatusCode::PAYLOAD_TOO_LARGE, &text)
}

/// Reads a body of at most `cap` bytes; `hold` is told of those that came.
async fn whole(
    body: Incoming,
    cap: usize,
    hold: impl FnMut(usize) -> Result<(), Reply>,
) -> Result<Vec<u8>, Reply> {
    let too_slow = |_| Reply::error(StatusCode::REQUEST_TIMEOUT, "the body took too long");
    timeout(BODY_TIMEOUT, collect(body, cap, hold)).await.map_err(too_slow)?
}

async fn collect(
    body: Incoming,
    cap: usize,
    mut hold: impl FnMut(usize) -> Result<(), Reply>,
) -> Result<Vec<u8>, Reply> {
    let mut body = pin!(body);
    let mut all = Vec::new();
    loop {
        let next = timeout(PIECE_TIMEOUT, poll_fn(|context| body.as_mut().poll_frame(context)));
        let Ok(next) = next.await else {
            let text = "no more of the body came";
            return Err(Reply::error(StatusCode::REQUEST_TIMEOUT, text));
        };
        let Some(frame) = next else { return Ok(all) };
        let frame = frame.map_err(|_| {
            Reply::error(StatusCode::BAD_REQUEST, "the body ended before its length")
        })?;
        let Ok(piece) = frame.into_data() else { continue };
        if all.len() + piece.len() > cap {
            return Err(too_large(cap));
        }
        hold(piece.len())?;
        all.extend_from_slice(&piece);
    }
}

/// Takes what a body holds and waits until it is durable.
fn work(
    body: Vec<u8>,
    encoding: Encoding,
    kind: Content,
    (shared, room): (&Shared, &mut Room),
) -> Result<Reply, Reply> {
    let cap = shared.options.body_bytes_max;
    let mut plain = encoding.decode(body, cap, |bytes| room.hold(bytes))?;
    if kind == Content::Binary {
        let bytes_max = cap.saturating_mul(BINARY_GROWTH);
        let kind = shared.options.binary.content_type;
        let refusal = |problem| match problem {
            Undecoded::TooLarge => too_large_as_json(bytes_max),
            Undecoded::Malformed { .. } => {
                let text = format!("the body is no export of logs in {kind}: {problem}");
                Reply::error(StatusCode::BAD_REQUEST, &text)
            }
        };
        plain = (shared.options.binary.decode)(&plain, bytes_max).map_err(refusal)?;
        room.hold(plain.len())?;
    }
    // "If the server receives an empty request [...] the server SHOULD respond with success."
    let is_nothing = kind == Content::Logs && is_empty_object(&plain);
    let lines = if is_nothing { Vec::new() } else { items(&plain) };
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
    Ok(Reply { status, body, text: None, retry_after: None })
}

fn is_empty_object(text: &[u8]) -> bool {
    let inside = text.trim_ascii().strip_prefix(b"{").and_then(|rest| rest.strip_suffix(b"}"));
    inside.is_some_and(|inside| inside.trim_ascii().is_empty())
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

/// Where events are taken.
const PATH: &str = "/v1/events";
/// Where OTLP exporters send logs.
const LOGS_PATH: &str = "/v1/logs";
/// Where guards ask.
const QUESTIONS_PATH: &str = "/v1/threat-intel/check";
/// Bytes of a question: a thousand values of 256 bytes.
const QUESTIONS_BYTES_MAX: usize = 256 << 10;
const JSON: &str = "application/json";
const QUARANTINED: &str = "what was refused is in quarantine with its class";
/// How many times its bytes a body that is no JSON may take as JSON, where names are spelled out.
const BINARY_GROWTH: usize = 4;
/// Bytes of bodies under way over all connections, compressed and not.
const BODIES_BYTES_MAX: usize = 64 << 20;
/// The unit in which that is counted.
const PIECE_BYTES: usize = 1 << 10;
const PIECES_MAX: usize = BODIES_BYTES_MAX / PIECE_BYTES;
/// Bytes that a decoder is asked for at once.
const INFLATED_BYTES: usize = 64 << 10;
/// Requests that are checked or wait for the group commit at a time.
const REQUESTS_MAX: usize = 64;
/// Connections at a time; one more takes the place of the one that was idle for the longest.
const CONNECTIONS_MAX: usize = 1024;
/// How long a connection may be idle, and a request's head may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a request's body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long nothing may come of it: what came already holds room.
const PIECE_TIMEOUT: Duration = Duration::from_secs(15);
/// What `Retry-After` says when much is under way, and when the disk refuses.
const BUSY_SECONDS: u64 = 1;
const DISK_SECONDS: u64 = 5;
