//! Reading an answer's body, bounded.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::response::Parts;
use tokio::time::{Instant, timeout_at};

use super::super::{Answer, Applied, TransportError, TransportErrorKind};

/// An answer as far as it came.
pub(super) struct Received {
    /// What the caller gets.
    pub(super) result: Result<Answer, TransportError>,
    /// Whether the whole body was read, so that the connection is free again.
    pub(super) is_whole: bool,
    /// Whether the body was longer than the bound.
    pub(super) is_cut: bool,
}

/// How much of a body is read.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    /// Bytes at most.
    pub(super) bytes_max: usize,
    /// When reading ends.
    pub(super) deadline: Instant,
    /// Whether a success is only told by the body.
    pub(super) needs_body: bool,
}

/// Reads a body.
///
/// A longer body is cut: its status is known and says more than an error would, and a reader that
/// needs the rest finds a text that ends too early. A body that breaks off is an error where it
/// would have told of the success, which is lost then; any other status stands alone.
pub(super) async fn receive(
    head: Parts,
    wanted: Wanted,
    mut next: impl FnMut(&mut Context<'_>) -> Poll<Option<Result<Bytes, TransportError>>>,
) -> Received {
    let Wanted { bytes_max, deadline, needs_body } = wanted;
    let mut gathered = Gathered { first: Bytes::new(), all: BytesMut::new(), bytes_max };
    let reading = poll_fn(|cx| {
        loop {
            match ready!(next(cx)) {
                None => return Poll::Ready(Ok(true)),
                Some(Ok(piece)) => {
                    if !gathered.push(piece) {
                        return Poll::Ready(Ok(false));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Err(error)),
            }
        }
    });
    let ended = timeout_at(deadline, reading).await.unwrap_or_else(|_| Err(too_slow(head.status)));
    let answer = |body| Answer { status: head.status.as_u16(), headers: head.headers, body };
    match ended {
        Ok(is_whole) => {
            Received { result: Ok(answer(gathered.take())), is_whole, is_cut: !is_whole }
        }
        Err(error) if head.status.is_success() && needs_body => {
            Received { result: Err(error), is_whole: false, is_cut: false }
        }
        Err(_) => Received { result: Ok(answer(gathered.take())), is_whole: false, is_cut: false },
    }
}

fn too_slow(status: StatusCode) -> TransportError {
    TransportError {
        kind: TransportErrorKind::Timeout,
        applied: Applied::Maybe,
        detail: format!("status {} came, but not the whole answer in time", status.as_u16()),
    }
}

/// The pieces of a body; a single one is kept as it is.
struct Gathered {
    first: Bytes,
    all: BytesMut,
    bytes_max: usize,
}

impl Gathered {
    /// Takes a piece; false when it did not fit whole.
    fn push(&mut self, mut piece: Bytes) -> bool {
        let room = self.bytes_max - self.len();
        let fits = piece.len() <= room;
        piece.truncate(room);
        if self.len() == 0 {
            self.first = piece;
        } else {
            if self.all.is_empty() {
                self.all.extend_from_slice(&std::mem::take(&mut self.first));
            }
            self.all.extend_from_slice(&piece);
        }
        fits
    }

    fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    fn take(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.freeze() }
    }
}
