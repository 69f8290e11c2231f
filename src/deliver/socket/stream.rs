//! One connection to a receiver that answers nothing.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::client::TlsStream;

use super::super::tls::{AtOnce, JUDGEMENT, io_words, late_rejection};
use super::super::{Applied, TransportError, TransportErrorKind};
use super::outstanding::outstanding;

/// A connection, with what is known of its peer.
pub(super) struct Stream {
    io: Io,
    made: Instant,
    /// When it was last used.
    pub(super) idle_since: Instant,
    /// Whether nothing was sent over it yet.
    is_fresh: bool,
}

enum Io {
    Plain(TcpStream),
    Local(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    pub(super) fn plain(tcp: TcpStream) -> Self {
        Self::new(Io::Plain(tcp))
    }

    /// A connection to a receiver on this machine.
    pub(super) async fn local(path: &Path) -> Result<Self, TransportError> {
        let made = UnixStream::connect(path).await.map_err(|error| TransportError {
            kind: TransportErrorKind::Connect,
            applied: Applied::No,
            detail: io_words(&error),
        })?;
        Ok(Self::new(Io::Local(made)))
    }

    pub(super) fn tls(stream: TlsStream<TcpStream>) -> Self {
        Self::new(Io::Tls(Box::new(stream)))
    }

    fn new(io: Io) -> Self {
        let now = Instant::now();
        Self { io, made: now, idle_since: now, is_fresh: true }
    }

    /// Whether it may carry another body: it is young enough, and the peer has not ended it.
    pub(super) async fn is_good(&mut self, age_max: Duration) -> bool {
        self.made.elapsed() < age_max && self.heard().await.is_ok()
    }

    /// Writes a body and waits until the peer's system has all of it.
    ///
    /// That is the most that can be known: nothing tells what the receiver itself has read. A
    /// connection that breaks before leaves open how much arrived.
    pub(super) async fn send(
        &mut self,
        body: &[u8],
        deadline: Instant,
    ) -> Result<(), TransportError> {
        let io = &mut self.io;
        let write = async {
            io.write_all(body).await?;
            io.flush().await
        };
        match timeout_at(deadline, write).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(lost(&error)),
            Err(_) => return Err(slow("not all was taken in time")),
        }
        self.confirm(deadline).await?;
        if self.is_fresh {
            self.on_first().await?;
            self.is_fresh = false;
        }
        Ok(())
    }

    /// Waits until nothing is outstanding, and the peer has not ended the connection.
    async fn confirm(&mut self, deadline: Instant) -> Result<(), TransportError> {
        let mut pause = PAUSE_MIN;
        loop {
            self.heard().await?;
            let left = outstanding(self.io.socket()).map_err(|error| lost(&error))?;
            if left == 0 {
                return Ok(());
            }
            if Instant::now() + pause > deadline {
                return Err(slow(&format!("{left} bytes were not acknowledged in time")));
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Gives a server time to refuse our certificate after the first body.
    ///
    /// Some judge it by themselves once the handshake is over, and then a refusal comes when our
    /// bytes have long been acknowledged.
    async fn on_first(&mut self) -> Result<(), TransportError> {
        if !matches!(self.io, Io::Tls(_)) {
            return Ok(());
        }
        let io = &mut self.io;
        let ended = poll_fn(|cx| match drain(io, cx) {
            Poll::Ready(Err(error)) => Poll::Ready(error),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        });
        match timeout(JUDGEMENT, ended).await {
            Ok(error) => Err(lost(&error)),
            Err(_) => Ok(()),
        }
    }

    /// Takes in what the peer said; an error when it ended the connection.
    async fn heard(&mut self) -> Result<(), TransportError> {
        let io = &mut self.io;
        let heard = poll_fn(|cx| match drain(io, cx) {
            Poll::Pending => Poll::Ready(Ok(())),
            Poll::Ready(heard) => Poll::Ready(heard),
        });
        heard.await.map_err(|error| lost(&error))
    }
}

impl Drop for Stream {
    /// Tells the peer that no bytes were cut off: RFC 5425 4.4 asks for `close_notify`.
    ///
    /// Nothing waits here. An alert that does not fit into the socket's buffer, or is for a peer
    /// that has gone, is of no use to anybody.
    fn drop(&mut self) {
        if let Io::Tls(stream) = &mut self.io {
            let (tcp, session) = stream.get_mut();
            session.send_close_notify();
            // What was written before it has been acknowledged, so that one record is all there is.
            let _ = session.write_tls(&mut AtOnce(tcp));
        }
    }
}

/// Reads what is there; pending where the connection goes on, an error where it has ended.
///
/// Receivers say nothing; what one says all the same is dropped, a bounded piece at a time.
fn drain(io: &mut Io, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    let mut scratch = [0; 1024];
    for _ in 0..READS_MAX {
        let mut read = ReadBuf::new(&mut scratch);
        match Pin::new(&mut *io).poll_read(cx, &mut read) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) if read.filled().is_empty() => {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            Poll::Ready(Ok(())) => {}
        }
    }
    Poll::Ready(Ok(()))
}

fn lost(error: &io::Error) -> TransportError {
    if let Some(rejected) = late_rejection(error) {
        return rejected;
    }
    let kind = TransportErrorKind::Network;
    TransportError { kind, applied: Applied::Maybe, detail: io_words(error) }
}

fn slow(what: &str) -> TransportError {
    TransportError {
        kind: TransportErrorKind::Timeout,
        applied: Applied::Maybe,
        detail: what.to_owned(),
    }
}

impl Io {
    fn socket(&self) -> BorrowedFd<'_> {
        match self {
            Self::Plain(tcp) => tcp.as_fd(),
            Self::Local(local) => local.as_fd(),
            Self::Tls(stream) => stream.get_ref().0.as_fd(),
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        read: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, read),
            Self::Local(local) => Pin::new(local).poll_read(cx, read),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, read),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Local(local) => Pin::new(local).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Local(local) => Pin::new(local).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Local(local) => Pin::new(local).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}

/// Between two looks at what is outstanding: a round trip on the same network is shorter.
const PAUSE_MIN: Duration = Duration::from_millis(1);
/// And at the other end of the world.
const PAUSE_MAX: Duration = Duration::from_millis(16);
/// Pieces of what a peer says that are read in one turn.
const READS_MAX: usize = 16;
