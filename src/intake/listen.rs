//! An HTTP server on one thread: connections, TLS and their bounds; what is answered is its
//! owner's.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::identity::ServerIdentity;

/// How a server listens.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// What the process's log calls it.
    pub name: String,
    /// The certificate to show, if any.
    pub identity: Arc<ServerIdentity>,
    /// Connections at a time; for more, one without a request is closed, or the new one.
    pub connections_max: usize,
    /// Requests at a time that do blocking work.
    pub requests_max: usize,
    /// How long the head of a request may take.
    pub head_timeout: Duration,
    /// What becomes of requests at the end.
    pub at_the_end: AtTheEnd,
}

/// What becomes of blocking work that is under way when a server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtTheEnd {
    /// It is waited for.
    Wait,
    /// It goes on, and nobody hears of it.
    Leave,
}

/// A listening socket and its thread; dropping it ends both.
#[derive(Debug)]
pub struct Listening {
    stop: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

/// A token, of which only the hash is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

/// A body of one piece.
#[derive(Debug)]
pub struct Once(Option<Bytes>);

impl Token {
    /// The token with this text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// Whether a request shows it: `Authorization: Bearer TOKEN`.
    #[must_use]
    pub fn is_shown(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(AUTHORIZATION).map(http::HeaderValue::as_bytes);
        let given = given.and_then(|value| {
            let (scheme, token) = value.split_at_checked(7)?;
            scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
        });
        // Hashes are compared, so that the time tells nothing of the token.
        given.is_some_and(|token| Sha256::digest(token.trim_ascii())[..] == self.0[..])
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Listening {
    /// Serves a bound socket on a thread of its own; `answer` is asked for each request.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start<A, F>(listener: TcpListener, options: ListenOptions, answer: A) -> io::Result<Self>
    where
        A: Fn(Request<Incoming>, SocketAddr) -> F + Send + Sync + 'static,
        F: Future<Output = Response<Once>> + Send + 'static,
    {
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(options.requests_max)
            .build()?;
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        let serving = move || {
            let at_the_end = options.at_the_end;
            runtime.block_on(accept(listener, options, answer, &stopped));
            match at_the_end {
                AtTheEnd::Wait => drop(runtime),
                AtTheEnd::Leave => runtime.shutdown_background(),
            }
        };
        let thread = std::thread::Builder::new().name("shrike-http".to_owned()).spawn(serving)?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic there was told already.
            let _ended = thread.join();
        }
    }
}

impl Once {
    /// This body.
    #[must_use]
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self(Some(body.into()))
    }
}

async fn accept<A, F>(listener: TcpListener, options: ListenOptions, answer: A, stop: &Notify)
where
    A: Fn(Request<Incoming>, SocketAddr) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Once>> + Send + 'static,
{
    let ListenOptions { name, identity, connections_max, head_timeout, .. } = options;
    let (name, answer): (Arc<str>, _) = (name.into(), Arc::new(answer));
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return warn!(input = &*name, %error, "cannot listen"),
    };
    let seats = Arc::new(Seats::default());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.notified() => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, usually: others end, and it goes on.
                warn!(input = &*name, %error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(seat) = seats.take(connections_max) else {
            debug!(input = &*name, "too many connections");
            continue;
        };
        let (tls, name) = (identity.tls().map(TlsAcceptor::from), Arc::clone(&name));
        let (answer, number) = (Arc::clone(&answer), seat.number);
        let serving = tokio::spawn(async move {
            let one = One { peer, head_timeout, seat: &seat, name: &name };
            connection(stream, tls, one, &*answer).await;
        });
        // It has not begun: this thread is the only one that runs it.
        seats.lock().idle.push_back((number, serving.abort_handle()));
    }
}

/// The connections that a server has.
#[derive(Debug, Default)]
struct Seats(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    open: usize,
    last: u64,
    /// Those without a request, the longest first.
    idle: VecDeque<(u64, AbortHandle)>,
}

/// The seat of one connection, free again when that ends.
#[derive(Debug)]
struct Seat {
    number: u64,
    seats: Arc<Seats>,
}

impl Seats {
    /// A seat for a new connection; one that has sat idle for the longest gives up its own.
    fn take(self: &Arc<Self>, most: usize) -> Option<Seat> {
        let mut taken = self.lock();
        if taken.open >= most {
            let (_, longest) = taken.idle.pop_front()?;
            longest.abort();
        }
        taken.open += 1;
        taken.last += 1;
        Some(Seat { number: taken.last, seats: Arc::clone(self) })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Notes that a request has come; what closes the connection when it is idle again.
    fn work(&self) -> Option<AbortHandle> {
        let mut taken = self.seats.lock();
        let at = taken.idle.iter().position(|(number, _)| *number == self.number)?;
        taken.idle.remove(at).map(|(_, handle)| handle)
    }

    /// Notes that its request was answered.
    fn rest(&self, handle: Option<AbortHandle>) {
        let idle = handle.map(|handle| (self.number, handle));
        self.seats.lock().idle.extend(idle);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.lock();
        taken.open -= 1;
        taken.idle.retain(|(number, _)| *number != self.number);
    }
}

/// One connection.
struct One<'a> {
    peer: SocketAddr,
    head_timeout: Duration,
    seat: &'a Seat,
    name: &'a str,
}

async fn connection<A, F>(stream: TcpStream, tls: Option<TlsAcceptor>, one: One<'_>, answer: &A)
where
    A: Fn(Request<Incoming>, SocketAddr) -> F,
    F: Future<Output = Response<Once>>,
{
    let name = one.name;
    // An answer is one small write; it must not wait for an acknowledgement of ours.
    let _unsupported = stream.set_nodelay(true);
    let served = match tls {
        None => serve(stream, one, answer).await,
        Some(acceptor) => match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => serve(stream, one, answer).await,
            Ok(Err(error)) => return debug!(input = name, %error, "TLS failed"),
            Err(_) => return debug!(input = name, "TLS took too long"),
        },
    };
    if let Err(error) = served {
        debug!(input = name, %error, "a connection ended early");
    }
}

async fn serve<A, F>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    One { peer, head_timeout, seat, .. }: One<'_>,
    answer: &A,
) -> hyper::Result<()>
where
    A: Fn(Request<Incoming>, SocketAddr) -> F,
    F: Future<Output = Response<Once>>,
{
    let service = service_fn(|request| {
        let handle = seat.work();
        let answered = answer(request, peer);
        async move {
            let answered = answered.await;
            seat.rest(handle);
            Ok::<_, Infallible>(answered)
        }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

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

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// After a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
