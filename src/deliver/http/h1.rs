//! One HTTP/1.1 connection: a request at a time (RFC 9112).

use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::rc::Rc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::super::tls::io_words;
use super::super::{Applied, TransportError, TransportErrorKind};
use super::answer::{Received, Wanted, receive};
use super::pool::Slot;
use super::wire::{Progress, Whole, Wire};

/// A connection; its bytes move in a task of their own, so that a close is noticed while it idles.
pub(super) struct H1 {
    sender: http1::SendRequest<Whole>,
    progress: Rc<Progress>,
    task: AbortHandle,
    /// When it was made.
    pub(super) born: Instant,
    /// When its last answer was read.
    pub(super) idle_since: Instant,
    /// Whether it has carried an answer.
    pub(super) is_used: bool,
}

impl H1 {
    /// Starts on a fresh connection; the slot is given back when it is closed.
    pub(super) async fn open(wire: Wire, slot: Slot) -> Result<Self, TransportError> {
        let progress = wire.progress();
        let (sender, connection) = http1::Builder::new()
            .handshake(wire)
            .await
            .map_err(|error| broken(&error, &progress))?;
        let task = tokio::task::spawn_local(async move {
            // Whoever waits for an answer is told the error by the sender.
            let _ = connection.await;
            drop(slot);
        });
        let now = Instant::now();
        Ok(Self {
            sender,
            progress,
            task: task.abort_handle(),
            born: now,
            idle_since: now,
            is_used: false,
        })
    }

    /// Whether the peer has not closed it, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Waits until the former answer is done with; false when the connection is closed.
    pub(super) async fn is_ready(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    /// Sends a request and waits for the head of the answer.
    ///
    /// Dropping the future leaves the connection in the middle of an exchange: close it.
    pub(super) async fn ask(
        &mut self,
        request: Request<Bytes>,
    ) -> Result<Response<Incoming>, TransportError> {
        self.progress.begin();
        let request = request.map(|body| Whole::new(body, &self.progress));
        self.sender.send_request(request).await.map_err(|error| broken(&error, &self.progress))
    }

    /// Reads the rest of an answer.
    pub(super) async fn read(&mut self, response: Response<Incoming>, wanted: Wanted) -> Received {
        let (head, mut body) = response.into_parts();
        let progress = &self.progress;
        receive(head, wanted, |cx| {
            Pin::new(&mut body).poll_frame(cx).map(|frame| {
                // Trailers count as an empty piece.
                let data = |frame: http_body::Frame<Bytes>| frame.into_data().unwrap_or_default();
                frame.map(|frame| frame.map(data).map_err(|error| broken(&error, progress)))
            })
        })
        .await
    }

    /// Whether the kernel has taken the whole request.
    pub(super) fn is_sent(&self) -> bool {
        self.progress.is_whole()
    }

    /// Closes at once, whatever is under way.
    pub(super) fn abort(&self) {
        self.task.abort();
    }
}

/// What an error of the engine means; its own texts may quote the peer, so they are not used.
fn broken(error: &hyper::Error, progress: &Progress) -> TransportError {
    use TransportErrorKind::{Network, Protocol};
    let applied = if progress.is_whole() { Applied::Maybe } else { Applied::No };
    if let Some(rejection) = progress.rejection() {
        return rejection;
    }
    let cause = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    let (kind, detail) = if error.is_parse_too_large() {
        (Protocol, "the head of the answer is too large".to_owned())
    } else if error.is_parse() {
        (Protocol, "the answer is not HTTP/1.1".to_owned())
    } else if let Some(cause) = cause {
        (Network, io_words(cause))
    } else if error.is_incomplete_message() {
        (Network, "closed by the peer in the middle of an exchange".to_owned())
    } else {
        (Network, "closed before the request was sent".to_owned())
    };
    TransportError { kind, applied, detail }
}
