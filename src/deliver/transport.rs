//! The seam between deciding and the network.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};

/// One request, ready to go; the transport adds the host and its own headers.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which of the exporter's endpoints, by position.
    pub endpoint: usize,
    /// Which connection group: acknowledgements and cookies stay within one.
    pub group: u32,
    /// The method.
    pub method: Method,
    /// Path and query, appended to the endpoint's own path.
    pub path: String,
    /// Headers, credentials included.
    pub headers: HeaderMap,
    /// The body as it goes over the wire.
    pub body: Bytes,
    /// How long to wait for the whole answer.
    pub timeout: Duration,
    /// Whether a success is only told by the answer's body; else its status is all there is to it,
    /// and a body that breaks off takes nothing back.
    pub needs_body: bool,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, cut at the transport's bound.
    pub body: Bytes,
}

/// Why nothing came back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {detail}")]
pub struct TransportError {
    /// What failed.
    pub kind: TransportErrorKind,
    /// Whether the destination may have acted on the request.
    pub applied: Applied,
    /// In words, scrubbed of URLs and credentials.
    pub detail: String,
}

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TransportErrorKind {
    /// The name could not be resolved.
    #[error("name not resolved")]
    Dns,
    /// No connection: refused, unreachable, timed out, or the proxy said no.
    #[error("no connection")]
    Connect,
    /// The TLS handshake broke off.
    #[error("TLS handshake failed")]
    TlsIo,
    /// The certificate, or what we ask of TLS, was not accepted: a matter of configuration.
    #[error("certificate not accepted")]
    TlsRejected,
    /// Its address is none that may be connected to: a matter of configuration too.
    #[error("address not permitted")]
    Forbidden,
    /// The connection broke.
    #[error("connection lost")]
    Network,
    /// The server, alive, turned the request away before acting on it: a refused stream, or one
    /// above a GOAWAY (RFC 9113 8.7, 6.8).
    #[error("turned away")]
    Refused,
    /// No whole answer in time.
    #[error("timed out")]
    Timeout,
    /// The answer was not HTTP, or too large.
    #[error("unreadable answer")]
    Protocol,
}

/// Whether the destination may have acted on a request that was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Applied {
    /// Certainly not: never sent whole, refused stream, or above a GOAWAY.
    No,
    /// Nobody can tell.
    Maybe,
}

/// Sends requests: one implementation per kind of network.
#[expect(async_fn_in_trait, reason = "workers are single-threaded; futures need not be Send")]
pub trait Transport {
    /// Sends one request and waits for its answer; dropping the future abandons the request.
    async fn send(&self, request: Request) -> Result<Answer, TransportError>;
}
