//! Requests over HTTP/1.1 and HTTP/2: connections kept, shared and bounded; errors told apart.

mod answer;
mod connect;
mod cookie;
mod destination;
mod h1;
mod h2;
mod pool;
mod wire;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONTENT_LENGTH, HOST, PROXY_AUTHORIZATION, TRANSFER_ENCODING, USER_AGENT,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Uri};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::proxy::proxy_wants_credentials;
use super::tls::TransportSetupError;
use super::{
    Answer, Applied, ConnectionSettings, Request, TlsSettings, Transport, TransportError,
    TransportErrorKind,
};
use crate::metrics::Counter;
use answer::{Received, Wanted};
use connect::{Version, connect};
use cookie::Jar;
pub use destination::Destination;
use destination::Endpoint;
use pool::{Bounds, Busy, Lease, Permit, Pool, Taken};

/// Sends requests over HTTP; one per worker and exporter.
///
/// It runs inside a `LocalSet` of a current-thread runtime: connections move their bytes in local
/// tasks. Dropping a request's future abandons the request: an HTTP/1.1 connection is closed, an
/// HTTP/2 stream reset. Dropping the transport closes idle connections.
pub struct HttpTransport {
    destination: Arc<Destination>,
    limits: TransportLimits,
    pools: Vec<Rc<Pool>>,
    jars: RefCell<HashMap<(usize, u32), Jar>>,
    counts: Arc<TransportCounts>,
    /// Whether nobody waits for answers any more, and who is told of that.
    is_abandoned: Cell<bool>,
    abandoned: Notify,
}

/// How much one transport may take.
#[derive(Clone, Copy, Debug)]
pub struct TransportLimits {
    /// Connections per endpoint: this worker's share of `connection.max_connections`.
    pub connections: usize,
    /// Requests at a time on one HTTP/2 connection; the server's own limit holds too.
    pub streams: usize,
    /// Bytes of an answer's body that are read; the rest is cut off.
    pub answer_bytes: usize,
    /// Whether cookies are kept, per endpoint and group.
    pub cookies: Cookies,
}

/// What is done with the cookies that a server sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cookies {
    /// They are ignored.
    Ignore,
    /// They are sent back, for balancers that stick to them.
    Keep,
}

/// What the transports of an exporter did.
#[derive(Debug, Default)]
pub struct TransportCounts {
    /// Connections made.
    pub connected: Counter,
    /// Attempts to make one that failed.
    pub refused: Counter,
    /// Requests sent again at once, because a kept connection was closed before it took them.
    pub resent: Counter,
    /// Requests that waited because all connections were in use.
    pub waited: Counter,
    /// Answers cut at their bound.
    pub cut: Counter,
}

impl TransportLimits {
    /// Limits for this many connections per endpoint; the rest as most vendors need it.
    #[must_use]
    pub const fn new(connections: usize) -> Self {
        Self { connections, streams: STREAMS, answer_bytes: ANSWER_BYTES, cookies: Cookies::Ignore }
    }
}

/// A request, resolved against its endpoint; every attempt copies only references.
struct Prepared {
    method: Method,
    target: PathAndQuery,
    headers: HeaderMap,
    body: Bytes,
    deadline: Instant,
    needs_body: bool,
}

/// Why an attempt failed.
struct Failed {
    error: TransportError,
    /// Whether another connection may do at once: this one went before it took the request.
    is_stale: bool,
}

impl HttpTransport {
    /// A transport to these endpoints; for one of several workers see [`HttpTransport::share`].
    pub fn new(
        endpoints: &[Uri],
        tls: &TlsSettings,
        connection: &ConnectionSettings,
        limits: TransportLimits,
    ) -> Result<Self, TransportSetupError> {
        let destination = Arc::new(Destination::new(endpoints, tls, connection)?);
        Ok(Self::share(&destination, limits))
    }

    /// One worker's transport to a destination that several share.
    #[must_use]
    pub fn share(destination: &Arc<Destination>, limits: TransportLimits) -> Self {
        let bounds = Bounds {
            connections: limits.connections,
            streams: limits.streams,
            idle: destination.connection.keep_alive,
            age: destination.connection.age_max,
        };
        Self {
            destination: Arc::clone(destination),
            limits,
            pools: destination
                .endpoints
                .iter()
                .map(|endpoint| Pool::new(bounds, endpoint.version, &destination.counts))
                .collect(),
            jars: RefCell::default(),
            counts: Arc::clone(&destination.counts),
            is_abandoned: Cell::new(false),
            abandoned: Notify::new(),
        }
    }

    /// Ends every request under way that waits for a connection or the head of its answer, as if
    /// its time were over: its error tells whether it may have been applied. None is sent any more.
    pub fn abandon(&self) {
        self.is_abandoned.set(true);
        self.abandoned.notify_waiters();
    }

    /// What comes of something in time; nothing where that is over.
    async fn in_time<T>(&self, deadline: Instant, what: impl Future<Output = T>) -> Option<T> {
        if self.is_abandoned.get() {
            return None;
        }
        tokio::select! {
            biased;
            came = timeout_at(deadline, what) => came.ok(),
            () = self.abandoned.notified() => None,
        }
    }

    fn prepare(&self, request: Request) -> Result<Prepared, TransportError> {
        let deadline = Instant::now() + request.timeout;
        let endpoint = &self.destination.endpoints[request.endpoint];
        let target = endpoint.target(request.path).ok_or_else(|| TransportError {
            kind: TransportErrorKind::Protocol,
            applied: Applied::No,
            detail: "the request's path is not one; percent-encode what is put into it".to_owned(),
        })?;
        let mut headers = request.headers;
        // Bodies are sent with their length; another framing could make two requests of one.
        headers.remove(TRANSFER_ENCODING);
        headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(AGENT));
        if let Some(authorization) = &endpoint.authorization {
            headers.entry(AUTHORIZATION).or_insert_with(|| authorization.clone());
        }
        // RFC 9110 8.6: also when there is no body, unless the method has no use for one.
        if !request.body.is_empty() || !matches!(request.method, Method::GET | Method::HEAD) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(request.body.len()));
        }
        if self.limits.cookies == Cookies::Keep {
            let mut jars = self.jars.borrow_mut();
            let jar = jars.entry((request.endpoint, request.group)).or_default();
            jar.attach(target.path(), endpoint.tls_name.is_some(), &mut headers);
        }
        let Request { method, body, needs_body, .. } = request;
        Ok(Prepared { method, target, headers, body, deadline, needs_body })
    }

    fn wanted(&self, prepared: &Prepared) -> Wanted {
        let Prepared { deadline, needs_body, .. } = *prepared;
        Wanted { bytes_max: self.limits.answer_bytes, deadline, needs_body }
    }

    /// Sends a request, on further connections if kept ones turn out to be closed.
    async fn attempts(
        &self,
        at: usize,
        group: u32,
        prepared: &Prepared,
    ) -> Result<Answer, TransportError> {
        let mut left = RESENDS_MAX;
        loop {
            match self.attempt(at, group, prepared).await {
                Ok(answer) => return Ok(answer),
                Err(failed) if failed.is_stale && left > 0 => {
                    left -= 1;
                    self.counts.resent.add(1);
                    self.pools[at].forget();
                }
                Err(failed) => return Err(failed.error),
            }
        }
    }

    async fn attempt(&self, at: usize, group: u32, prepared: &Prepared) -> Result<Answer, Failed> {
        let endpoint = &self.destination.endpoints[at];
        let pool = &self.pools[at];
        let taking = async {
            match pool.take(group).await? {
                Taken::Connect(permit) => self.connect(endpoint, group, permit).await,
                taken => Ok(taken),
            }
        };
        let taken = self.in_time(prepared.deadline, taking).await;
        let taken = taken.unwrap_or_else(|| Err(no_turn()));
        let taken = taken.map_err(|error| Failed { error, is_stale: false })?;
        let received = match taken {
            Taken::Kept(busy) => self.over_h1(endpoint, busy, prepared).await?,
            Taken::Shared(lease) => self.over_h2(endpoint, &lease, prepared).await?,
            Taken::Connect(_) => unreachable!("a permit was made into a connection above"),
        };
        if received.is_cut {
            self.counts.cut.add(1);
        }
        received.result.map_err(|error| Failed { error, is_stale: false })
    }

    async fn connect(
        &self,
        endpoint: &Endpoint,
        group: u32,
        mut permit: Permit,
    ) -> Result<Taken, TransportError> {
        let made = async {
            let (wire, version) = connect(&self.destination, endpoint).await?;
            Ok(match version {
                Version::Http1 => Line::Http1(h1::H1::open(wire, permit.slot()).await?),
                Version::Http2 => Line::Http2(h2::H2::open(wire, permit.slot()).await?),
            })
        };
        let made = made.await;
        match made {
            Ok(line) => {
                self.counts.connected.add(1);
                Ok(match line {
                    Line::Http1(line) => Taken::Kept(permit.made_h1(group, line)),
                    Line::Http2(line) => Taken::Shared(permit.made_h2(group, line)),
                })
            }
            Err(error) => {
                self.counts.refused.add(1);
                permit.failed(&error);
                Err(error)
            }
        }
    }

    async fn over_h1(
        &self,
        endpoint: &Endpoint,
        mut busy: Busy,
        prepared: &Prepared,
    ) -> Result<Received, Failed> {
        let line = busy.line();
        let is_kept = line.is_used;
        let request = prepared.for_h1(endpoint);
        let asking = self.in_time(prepared.deadline, line.ask(request)).await;
        let asked = asking.unwrap_or_else(|| Err(no_answer(line.is_sent())));
        let response = asked.map_err(|error| {
            let is_lost = error.kind == TransportErrorKind::Network;
            Failed { is_stale: is_kept && is_lost && error.applied == Applied::No, error }
        })?;
        if endpoint.is_forwarded && response.status() == 407 {
            return Err(Failed { error: proxy_wants_credentials(), is_stale: false });
        }
        let received = line.read(response, self.wanted(prepared)).await;
        // An early answer leaves part of the request unsent: nothing else can follow it.
        if received.is_whole && line.is_sent() {
            busy.keep();
        }
        Ok(received)
    }

    async fn over_h2(
        &self,
        endpoint: &Endpoint,
        lease: &Lease,
        prepared: &Prepared,
    ) -> Result<Received, Failed> {
        let beginning = lease.line().begin(prepared.for_h2(endpoint));
        let begun = self.in_time(prepared.deadline, beginning).await;
        let begun = begun.ok_or_else(|| Failed { error: no_turn(), is_stale: false })?;
        let mut exchange = begun.map_err(|broken| {
            // No stream was opened, so nothing can have been applied.
            lease.retire();
            Failed {
                is_stale: broken.error.kind != TransportErrorKind::Protocol,
                error: broken.error,
            }
        })?;
        match self.in_time(prepared.deadline, exchange.head()).await {
            Some(Ok(response)) => Ok(exchange.read(response, self.wanted(prepared)).await),
            Some(Err(broken)) => {
                let turns = broken.wants_http1 && endpoint.version.is_none();
                if turns {
                    endpoint.refuses_http2.store(true, Ordering::Relaxed);
                }
                let is_over = broken.is_going || turns;
                if is_over {
                    lease.retire();
                }
                let is_stale = is_over && broken.error.applied == Applied::No;
                Err(Failed { is_stale, error: broken.error })
            }
            None => {
                // Silence may be the connection's: later requests go over another.
                lease.retire();
                Err(Failed { error: no_answer(exchange.is_sent()), is_stale: false })
            }
        }
    }
}

enum Line {
    Http1(h1::H1),
    Http2(h2::H2),
}

impl Transport for HttpTransport {
    async fn send(&self, request: Request) -> Result<Answer, TransportError> {
        let (at, group) = (request.endpoint, request.group);
        let endpoint = &self.destination.endpoints[at];
        let named = |error: TransportError| TransportError {
            detail: format!("{}: {}", endpoint.authority, error.detail),
            ..error
        };
        let prepared = self.prepare(request).map_err(named)?;
        let answer = self.attempts(at, group, &prepared).await.map_err(named)?;
        if self.limits.cookies == Cookies::Keep {
            let mut jars = self.jars.borrow_mut();
            jars.entry((at, group)).or_default().learn(prepared.target.path(), &answer.headers);
        }
        Ok(answer)
    }
}

impl Prepared {
    /// The request in the form for an origin server, or for a proxy that forwards it.
    fn for_h1(&self, endpoint: &Endpoint) -> http::Request<Bytes> {
        let mut headers = self.headers.clone();
        headers.insert(HOST, endpoint.host_header.clone());
        if !endpoint.is_forwarded {
            return self.request(Uri::from(self.target.clone()), headers);
        }
        let server = endpoint.proxy.as_ref();
        if let Some(value) = server.and_then(|server| server.authorization.as_ref()) {
            headers.insert(PROXY_AUTHORIZATION, value.clone());
        }
        self.request(self.absolute(endpoint), headers)
    }

    fn for_h2(&self, endpoint: &Endpoint) -> http::Request<Bytes> {
        let mut headers = self.headers.clone();
        for name in HOP_HEADERS {
            headers.remove(name);
        }
        let mut request = self.request(self.absolute(endpoint), headers);
        *request.version_mut() = http::Version::HTTP_2;
        request
    }

    fn absolute(&self, endpoint: &Endpoint) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(endpoint.scheme.clone());
        parts.authority = Some(endpoint.authority.clone());
        parts.path_and_query = Some(self.target.clone());
        Uri::from_parts(parts).expect("scheme, authority and path are there")
    }

    fn request(&self, uri: Uri, headers: HeaderMap) -> http::Request<Bytes> {
        let mut request = http::Request::new(self.body.clone());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        request
    }
}

fn no_turn() -> TransportError {
    TransportError {
        kind: TransportErrorKind::Timeout,
        applied: Applied::No,
        detail: "no connection became free or was made in the request's time".to_owned(),
    }
}

fn no_answer(is_sent: bool) -> TransportError {
    let (applied, detail) = if is_sent {
        (Applied::Maybe, "the request was sent, but no answer came in time")
    } else {
        (Applied::No, "the request was not sent whole in time")
    };
    TransportError { kind: TransportErrorKind::Timeout, applied, detail: detail.to_owned() }
}

/// What HTTP/2 has no place for (RFC 9113 8.2.2).
const HOP_HEADERS: [&str; 4] = ["connection", "keep-alive", "proxy-connection", "upgrade"];

/// What we call ourselves.
const AGENT: &str = concat!("shrike/", env!("CARGO_PKG_VERSION"));

/// Requests at a time on one HTTP/2 connection: all streams share its window and its core, and
/// more of them only wait there instead of here.
const STREAMS: usize = 32;

/// The largest answer that is read: a bulk answer names every item of a batch, some with a reason.
const ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// Sending again at once, at most: one kept connection was closed, then a fresh one.
const RESENDS_MAX: u32 = 2;
