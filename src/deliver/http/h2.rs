//! One HTTP/2 connection: many requests at a time (RFC 9113).
//!
//! The engine is used below hyper, because what counts here is hidden above it: how much of a body
//! was sent, which streams a GOAWAY cut off, and how many streams the server allows.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response};
use tokio::time::Instant;

use super::super::tls::io_words;
use super::super::{Applied, TransportError, TransportErrorKind};
use super::answer::{Received, Wanted, receive};
use super::pool::Slot;
use super::wire::{Progress, Wire};

/// A connection, shared by the requests on it; it closes when the last handle is gone.
pub(super) struct H2 {
    sender: SendRequest<Bytes>,
    progress: Rc<Progress>,
    is_closed: Rc<Cell<bool>>,
    /// Whether the server has said how many requests it takes at a time, as far as is known.
    pub(super) is_settled: Rc<Cell<bool>>,
    /// Requests on it now.
    pub(super) streams: Cell<usize>,
    /// When it was made.
    pub(super) born: Instant,
    /// When its last request ended.
    pub(super) idle_since: Cell<Instant>,
}

/// A request under way on a connection.
///
/// Dropping it resets the stream (CANCEL) unless both sides are done; the connection goes on.
pub(super) struct Exchange {
    response: ResponseFuture,
    sending: SendStream<Bytes>,
    progress: Rc<Progress>,
    rest: Bytes,
    /// Whether the end of the request was queued: all its bytes then have room at the peer.
    is_sent: bool,
    /// Whether the peer wants no more of the body.
    is_stopped: bool,
}

/// Why there is no answer.
pub(super) struct Broken {
    pub(super) error: TransportError,
    /// Whether the server has said that the connection takes no new streams.
    pub(super) is_going: bool,
    /// Whether the server asks for HTTP/1.1 instead (RFC 9113 7).
    pub(super) wants_http1: bool,
}

impl H2 {
    /// Starts on a fresh connection; the slot is given back when it is closed.
    pub(super) async fn open(wire: Wire, slot: Slot) -> Result<Self, TransportError> {
        let progress = wire.progress();
        let (sender, connection) = h2::client::Builder::new()
            .enable_push(false)
            .initial_window_size(ANSWER_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_header_list_size(HEAD_BYTES_MAX)
            .max_send_buffer_size(SEND_BUFFER_BYTES)
            .initial_max_send_streams(STREAMS_BEFORE_SETTINGS)
            .handshake::<_, Bytes>(wire)
            .await
            .map_err(|error| broken(&error, false, &progress).error)?;
        let is_closed = Rc::new(Cell::new(false));
        let is_settled = Rc::new(Cell::new(false));
        let flags = (Rc::clone(&is_closed), Rc::clone(&is_settled));
        tokio::task::spawn_local(async move {
            run(connection, &slot, &flags.1).await;
            flags.0.set(true);
            drop(slot);
        });
        let now = Instant::now();
        Ok(Self {
            sender,
            progress,
            is_closed,
            is_settled,
            streams: Cell::new(0),
            born: now,
            idle_since: Cell::new(now),
        })
    }

    /// Whether the connection is not closed, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        !self.is_closed.get()
    }

    /// How many requests the server takes at a time.
    pub(super) fn streams_max(&self) -> usize {
        self.sender.current_max_send_streams()
    }

    /// Opens a stream for a request.
    pub(super) async fn begin(&self, request: Request<Bytes>) -> Result<Exchange, Broken> {
        let mut sender = self.sender.clone();
        poll_fn(|cx| sender.poll_ready(cx))
            .await
            .map_err(|error| broken(&error, false, &self.progress))?;
        let (head, rest) = request.into_parts();
        let is_sent = rest.is_empty();
        let (response, sending) = sender
            .send_request(Request::from_parts(head, ()), is_sent)
            .map_err(|error| broken(&error, false, &self.progress))?;
        let progress = Rc::clone(&self.progress);
        Ok(Exchange { response, sending, progress, rest, is_sent, is_stopped: false })
    }
}

impl Exchange {
    /// Sends the body and waits for the head of the answer, which may come before the body's end.
    pub(super) async fn head(&mut self) -> Result<Response<RecvStream>, Broken> {
        let result = poll_fn(|cx| {
            self.push(cx);
            Pin::new(&mut self.response).poll(cx)
        })
        .await;
        result.map_err(|error| broken(&error, self.is_sent, &self.progress))
    }

    /// Reads the rest of an answer.
    pub(super) async fn read(
        &mut self,
        response: Response<RecvStream>,
        wanted: Wanted,
    ) -> Received {
        let (head, mut body) = response.into_parts();
        let (is_sent, progress) = (self.is_sent, &self.progress);
        receive(head, wanted, |cx| {
            let piece = body.poll_data(cx);
            if let Poll::Ready(Some(Ok(piece))) = &piece {
                // Only fails for more than was received.
                let _ = body.flow_control().release_capacity(piece.len());
            }
            piece.map(|piece| {
                piece.map(|piece| piece.map_err(|error| broken(&error, is_sent, progress).error))
            })
        })
        .await
    }

    /// Whether the whole request was queued.
    pub(super) fn is_sent(&self) -> bool {
        self.is_sent
    }

    /// Sends as much of the body as the server has room for.
    fn push(&mut self, cx: &mut Context<'_>) {
        while !self.rest.is_empty() && !self.is_stopped {
            self.sending.reserve_capacity(self.rest.len());
            match self.sending.poll_capacity(cx) {
                Poll::Pending => return,
                Poll::Ready(Some(Ok(room))) => {
                    let piece = self.rest.split_to(room.min(self.rest.len()));
                    let is_last = self.rest.is_empty();
                    self.is_stopped = self.sending.send_data(piece, is_last).is_err();
                    self.is_sent = is_last && !self.is_stopped;
                }
                // The answer, or the reason why there is none, comes with the response.
                Poll::Ready(None | Some(Err(_))) => self.is_stopped = true,
            }
        }
    }
}

/// Moves a connection's bytes until it ends, and tells when the server's stream limit changes.
async fn run(
    mut connection: h2::client::Connection<Wire, Bytes>,
    slot: &Slot,
    is_settled: &Cell<bool>,
) {
    let mut streams_max = STREAMS_BEFORE_SETTINGS;
    poll_fn(|cx| {
        // Whoever waits for an answer is told the error by its stream.
        let ended = Pin::new(&mut connection).poll(cx).map(drop);
        let now = connection.max_concurrent_send_streams();
        if now != streams_max {
            streams_max = now;
            is_settled.set(true);
            slot.wake();
        }
        ended
    })
    .await;
}

/// What an error of the engine means; its own texts may quote the peer, so they are not used.
fn broken(error: &h2::Error, is_sent: bool, progress: &Progress) -> Broken {
    use TransportErrorKind::{Network, Protocol, Refused};
    if let Some(error) = progress.rejection() {
        return Broken { error, is_going: false, wants_http1: false };
    }
    let maybe = if is_sent { Applied::Maybe } else { Applied::No };
    let is_going = error.is_go_away() && error.is_remote();
    let reason = error.reason().unwrap_or(Reason::INTERNAL_ERROR);
    let (kind, applied, detail) = if let Some(cause) = error.get_io() {
        (Network, maybe, io_words(cause))
    } else if is_going {
        // The engine gives this error only to streams above the last one that the server took
        // (RFC 9113 6.8); the others run on, or end with the connection's own error.
        (Refused, Applied::No, format!("the server is closing the connection ({reason:?})"))
    } else if error.is_reset() && error.is_remote() {
        match reason {
            // RFC 9113 8.7: refused before any processing.
            Reason::REFUSED_STREAM => {
                (Refused, Applied::No, "the server refused the stream".to_owned())
            }
            Reason::HTTP_1_1_REQUIRED => {
                let detail = "the server wants HTTP/1.1; set connection.http2 to off";
                (Protocol, Applied::No, detail.to_owned())
            }
            _ => (Network, maybe, format!("the server reset the stream ({reason:?})")),
        }
    } else if error.is_library() {
        (Protocol, maybe, format!("the answer is not HTTP/2 ({reason:?})"))
    } else {
        (Network, maybe, "the connection is closed".to_owned())
    };
    let wants_http1 = error.is_remote() && reason == Reason::HTTP_1_1_REQUIRED;
    Broken { error: TransportError { kind, applied, detail }, is_going, wants_http1 }
}

/// Bytes of one answer that the server may send ahead of our reading.
const ANSWER_WINDOW_BYTES: u32 = 1024 * 1024;

/// The same over all answers of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// Bytes of an answer's headers.
const HEAD_BYTES_MAX: u32 = 64 * 1024;

/// Bytes of one body that lie in the engine's queue, as slices of the body: enough that the socket
/// never runs dry between two polls.
const SEND_BUFFER_BYTES: usize = 1024 * 1024;

/// Streams before the server says how many it takes. It says so in its first frame (RFC 9113 3.4),
/// so waiting costs the second request little, and nothing is refused for coming too early.
const STREAMS_BEFORE_SETTINGS: usize = 1;
