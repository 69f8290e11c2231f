//! A transport that writes bodies to sockets: TCP, TLS, UDP, and both kinds on this machine.
//!
//! Nothing answers. A body counts as taken once the peer's system has acknowledged every byte, or,
//! with datagrams, once our own took them all; what broke before is unknown, and is said so.

mod datagram;
mod outstanding;
mod stream;

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Uri};
use rustls::pki_types::ServerName;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep_until, timeout};

use super::dial::{dial, resolve};
use super::reach::permitted;
use super::tls::server_name;
use super::{
    Answer, Applied, ConnectionSettings, Request, Tls, TlsSettings, Transport, TransportError,
    TransportErrorKind, TransportSetupError,
};
use datagram::Datagrams;
use stream::Stream;

/// Where bodies go, resolved once and shared by the transports of all workers.
#[derive(Debug)]
pub struct SocketDestination {
    endpoints: Vec<Endpoint>,
    connection: ConnectionSettings,
    tls: Option<Tls>,
}

#[derive(Debug)]
struct Endpoint {
    host: String,
    port: u16,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Tcp,
    Tls(ServerName<'static>),
    Udp,
    Unix(PathBuf),
    UnixStream(PathBuf),
}

impl SocketDestination {
    /// Resolves endpoints and reads the TLS files.
    ///
    /// Endpoints are `tcp://HOST:PORT`, `tls://HOST:PORT`, `udp://HOST:PORT`,
    /// `unix://localhost/PATH` for datagrams and `unix+stream://localhost/PATH`. Those of datagrams
    /// take bodies whose documents are framed by octet counts; each document becomes one datagram,
    /// without its count.
    ///
    /// # Errors
    /// When an endpoint is none of these, or a TLS file cannot be used.
    pub fn new(
        endpoints: &[Uri],
        tls: &TlsSettings,
        connection: &ConnectionSettings,
    ) -> Result<Self, TransportSetupError> {
        let endpoints: Vec<Endpoint> =
            endpoints.iter().map(Endpoint::parse).collect::<Result<_, _>>()?;
        // Certificates seldom carry addresses, and nobody else says which name to expect.
        let is_named = tls.server_name.is_some() || tls.fingerprint.is_some();
        let bare = endpoints.iter().find(|it| it.is_encrypted_address());
        if let Some(bare) = bare.filter(|_| !is_named && !tls.insecure_skip_verify) {
            return Err(TransportSetupError::Value {
                key: "tls.server_name".to_owned(),
                problem: format!("{} is an address", bare.host),
                expected: "the name in its certificate, or a tls.fingerprint",
            });
        }
        let is_encrypted = endpoints.iter().any(|it| matches!(it.kind, Kind::Tls(_)));
        let tls = is_encrypted.then(|| Tls::load(tls)).transpose()?;
        Ok(Self { endpoints, connection: connection.clone(), tls })
    }

    /// The addresses of an endpoint that may be connected to.
    async fn resolve(&self, endpoint: &Endpoint) -> Result<Vec<SocketAddr>, TransportError> {
        permitted(resolve(&endpoint.host, endpoint.port).await?, self.connection.reach)
    }
}

impl Endpoint {
    /// Whether its certificate would have to carry an address.
    fn is_encrypted_address(&self) -> bool {
        matches!(self.kind, Kind::Tls(_)) && self.host.parse::<IpAddr>().is_ok()
    }

    fn parse(uri: &Uri) -> Result<Self, TransportSetupError> {
        let wrong = |problem: String| TransportSetupError::Value {
            key: "address".to_owned(),
            problem,
            expected: "a host and a port, or a path for the transport unix",
        };
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let kind = match uri.scheme_str() {
            Some("tcp") => Kind::Tcp,
            Some("tls") => Kind::Tls(server_name(&host)?),
            Some("udp") => Kind::Udp,
            Some("unix") => Kind::Unix(PathBuf::from(uri.path())),
            Some("unix+stream") => Kind::UnixStream(PathBuf::from(uri.path())),
            _ => return Err(wrong(format!("{uri} has no scheme of a socket"))),
        };
        let port = match (uri.port_u16(), &kind) {
            (Some(port), _) => port,
            (None, Kind::Unix(_) | Kind::UnixStream(_)) => 0,
            (None, _) => return Err(wrong(format!("{uri} has no port"))),
        };
        Ok(Self { host, port, kind })
    }
}

/// Writes bodies to sockets; one per worker and exporter.
///
/// It runs inside a `LocalSet`: a local task closes what has been idle for too long.
pub struct SocketTransport {
    destination: Arc<SocketDestination>,
    /// Per endpoint, what is not in use.
    idle: Vec<Rc<Idle>>,
}

#[derive(Default)]
struct Idle {
    streams: RefCell<Vec<Stream>>,
    is_swept: Cell<bool>,
    datagrams: RefCell<Option<Rc<Datagrams>>>,
}

impl SocketTransport {
    /// One worker's transport to a destination that several share.
    #[must_use]
    pub fn share(destination: &Arc<SocketDestination>) -> Self {
        let idle = destination.endpoints.iter().map(|_| Rc::default()).collect();
        Self { destination: Arc::clone(destination), idle }
    }

    async fn send_datagrams(
        &self,
        at: usize,
        body: &Bytes,
        deadline: Instant,
    ) -> Result<Answer, TransportError> {
        let known = self.idle[at].datagrams.borrow().clone();
        let age_max = self.destination.connection.age_max;
        // Nothing tells that a receiver has moved, so its name is resolved again now and then.
        let datagrams = match known.filter(|it| it.made.elapsed() < age_max) {
            Some(datagrams) => datagrams,
            None => Rc::new(self.in_time(self.open(&self.destination.endpoints[at])).await?),
        };
        let answer = datagrams.send(body, deadline).await;
        // After an error the name is resolved again, and a local receiver has a new socket.
        *self.idle[at].datagrams.borrow_mut() = answer.is_ok().then_some(datagrams);
        answer
    }

    async fn open(&self, endpoint: &Endpoint) -> Result<Datagrams, TransportError> {
        match &endpoint.kind {
            Kind::Unix(path) => Datagrams::unix(path),
            _ => Datagrams::udp(&self.destination.resolve(endpoint).await?).await,
        }
    }

    async fn send_stream(
        &self,
        at: usize,
        body: &Bytes,
        deadline: Instant,
    ) -> Result<(), TransportError> {
        let mut stream = self.stream(at).await?;
        // A body without bytes asks whether there is a connection at all.
        if !body.is_empty() {
            stream.send(body, deadline).await?;
        }
        self.idle[at].keep(stream, self.destination.connection.keep_alive);
        Ok(())
    }

    /// A connection that is not in use and not ended, or a new one.
    async fn stream(&self, at: usize) -> Result<Stream, TransportError> {
        let ConnectionSettings { keep_alive, age_max, .. } = self.destination.connection;
        self.idle[at].close(keep_alive);
        loop {
            let kept = self.idle[at].streams.borrow_mut().pop();
            let Some(mut kept) = kept else { return self.connect(at).await };
            if kept.is_good(age_max).await {
                return Ok(kept);
            }
        }
    }

    async fn connect(&self, at: usize) -> Result<Stream, TransportError> {
        let SocketDestination { endpoints, connection, tls } = &*self.destination;
        let endpoint = &endpoints[at];
        let making = async {
            if let Kind::UnixStream(path) = &endpoint.kind {
                return Stream::local(path).await;
            }
            let addresses = self.destination.resolve(endpoint).await?;
            let tcp = dial(&addresses, SILENCE_MAX.min(connection.timeout)).await?;
            match (&endpoint.kind, tls) {
                (Kind::Tls(name), Some(tls)) => tls.connect(name, tcp, &[]).await.map(Stream::tls),
                _ => Ok(Stream::plain(tcp)),
            }
        };
        self.in_time(making).await
    }

    /// Makes a connection within the time that the settings allow.
    async fn in_time<T>(
        &self,
        making: impl Future<Output = Result<T, TransportError>>,
    ) -> Result<T, TransportError> {
        let limit = self.destination.connection.connect_timeout;
        timeout(limit, making).await.unwrap_or_else(|_| {
            Err(TransportError {
                kind: TransportErrorKind::Connect,
                applied: Applied::No,
                detail: format!("no connection within {} ms", limit.as_millis()),
            })
        })
    }
}

impl Idle {
    fn keep(self: &Rc<Self>, mut stream: Stream, keep_alive: Duration) {
        stream.idle_since = Instant::now();
        self.streams.borrow_mut().push(stream);
        self.sweep(keep_alive);
    }

    /// Closes connections that nobody uses, also when no body comes any more.
    fn sweep(self: &Rc<Self>, keep_alive: Duration) {
        if self.is_swept.replace(true) {
            return;
        }
        let idle = Rc::downgrade(self);
        spawn_local(async move {
            let mut next = Some(Instant::now() + keep_alive);
            while let Some(at) = next {
                sleep_until(at).await;
                next = idle.upgrade().and_then(|idle| {
                    let next = idle.close(keep_alive);
                    idle.is_swept.set(next.is_some());
                    next
                });
            }
        });
    }

    /// Closes what has been idle for too long; when the next one will be, if any is left.
    fn close(&self, keep_alive: Duration) -> Option<Instant> {
        let now = Instant::now();
        let mut streams = self.streams.borrow_mut();
        streams.retain(|stream| now < stream.idle_since + keep_alive);
        streams.iter().map(|stream| stream.idle_since + keep_alive).min()
    }
}

impl Transport for SocketTransport {
    async fn send(&self, request: Request) -> Result<Answer, TransportError> {
        let deadline = Instant::now() + request.timeout;
        let at = request.endpoint;
        match self.destination.endpoints[at].kind {
            Kind::Udp | Kind::Unix(_) => self.send_datagrams(at, &request.body, deadline).await,
            Kind::Tcp | Kind::Tls(_) | Kind::UnixStream(_) => {
                self.send_stream(at, &request.body, deadline).await?;
                Ok(Answer { status: 200, headers: HeaderMap::new(), body: Bytes::new() })
            }
        }
    }
}

/// How long sent bytes may stay unacknowledged before a connection counts as dead (`syslog.md`).
const SILENCE_MAX: Duration = Duration::from_secs(20);
