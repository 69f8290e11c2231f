//! A connection's byte stream, as hyper and h2 see it, and how far a request got on it.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::rt::ReadBufCursor;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::super::TransportError;
use super::super::tls::late_rejection;

/// A connected stream with or without TLS.
///
/// A failed write does not end it: the rest is discarded and reading goes on, because a server that
/// refuses a request early (413) answers, closes, and resets what we still send. The answer lies in
/// our receive buffer then; whether there is one, reading tells.
pub(super) struct Wire {
    stream: Stream,
    progress: Rc<Progress>,
    scratch: Box<[u8; SCRATCH_BYTES]>,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// How far the present request of a connection got, and what only the stream itself can tell.
#[derive(Debug, Default)]
pub(super) struct Progress {
    stage: Cell<Stage>,
    is_body_queued: Cell<bool>,
    write_failure: Cell<Option<io::ErrorKind>>,
    rejection: RefCell<Option<TransportError>>,
}

/// How much of a request the kernel has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Nothing.
    #[default]
    Nothing,
    /// At least a byte, not all.
    Partly,
    /// All of it.
    Whole,
}

impl Progress {
    /// Begins a request.
    pub(super) fn begin(&self) {
        self.stage.set(Stage::Nothing);
        self.is_body_queued.set(false);
    }

    /// Whether the kernel has taken every byte of the request, so that the peer may have it.
    pub(super) fn is_whole(&self) -> bool {
        self.stage.get() == Stage::Whole
    }

    /// The peer's verdict on our certificate, if it came after the handshake.
    ///
    /// The engines hand errors on as texts or not at all, so it is kept where it was read.
    pub(super) fn rejection(&self) -> Option<TransportError> {
        self.rejection.borrow().clone()
    }

    fn on_read(&self, result: &Poll<io::Result<()>>) {
        if let Poll::Ready(Err(error)) = result
            && let Some(rejection) = late_rejection(error)
        {
            self.rejection.replace(Some(rejection));
        }
    }

    fn on_write(&self) {
        if self.stage.get() == Stage::Nothing {
            self.stage.set(Stage::Partly);
        }
    }

    /// Both HTTP engines flush the stream only when they have no byte left themselves.
    fn on_flush(&self) {
        if self.stage.get() == Stage::Partly && self.is_body_queued.get() {
            self.stage.set(Stage::Whole);
        }
    }
}

impl Wire {
    /// Wraps a plaintext connection.
    pub(super) fn plain(tcp: TcpStream) -> Self {
        Self::new(Stream::Plain(tcp))
    }

    /// Wraps a TLS connection.
    pub(super) fn tls(tls: TlsStream<TcpStream>) -> Self {
        Self::new(Stream::Tls(Box::new(tls)))
    }

    fn new(stream: Stream) -> Self {
        Self { stream, progress: Rc::default(), scratch: Box::new([0; SCRATCH_BYTES]) }
    }

    /// Where the progress of the present request can be read.
    pub(super) fn progress(&self) -> Rc<Progress> {
        Rc::clone(&self.progress)
    }

    /// What becomes of a write: a failure is noted and the bytes count as taken.
    fn taken(&self, result: io::Result<usize>, len: usize) -> usize {
        match result {
            Ok(n) => {
                self.progress.on_write();
                n
            }
            Err(error) => {
                self.progress.write_failure.set(Some(error.kind()));
                len
            }
        }
    }
}

impl Stream {
    fn poll_read(
        &mut self,
        progress: &Progress,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let result = match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        };
        progress.on_read(&result);
        result
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.stream.poll_read(&this.progress, cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.progress.write_failure.get().is_some() {
            return Poll::Ready(Ok(buf.len()));
        }
        let result = ready!(match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Stream::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        });
        Poll::Ready(Ok(self.taken(result, buf.len())))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let len = bufs.iter().map(|buf| buf.len()).sum();
        if self.progress.write_failure.get().is_some() {
            return Poll::Ready(Ok(len));
        }
        let result = ready!(match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Stream::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, bufs),
        });
        Poll::Ready(Ok(self.taken(result, len)))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.progress.write_failure.get().is_some() {
            return Poll::Ready(Ok(()));
        }
        let result = ready!(match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_flush(cx),
        });
        match result {
            Ok(()) => self.progress.on_flush(),
            Err(error) => self.progress.write_failure.set(Some(error.kind())),
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

/// hyper reads into memory that is not initialised, which takes `unsafe` to lend to tokio. Only
/// answers are read here, some per cent of what is sent, so they take one more copy instead.
impl hyper::rt::Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let room = buf.remaining().min(SCRATCH_BYTES);
        let mut read = ReadBuf::new(&mut this.scratch[..room]);
        ready!(this.stream.poll_read(&this.progress, cx, &mut read))?;
        buf.put_slice(read.filled());
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(self, cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write_vectored(self, cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(self, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_shutdown(self, cx)
    }
}

/// A request body that is there as a whole.
pub(super) struct Whole {
    bytes: Bytes,
    progress: Rc<Progress>,
}

impl Whole {
    /// The body of the request that begins on the connection with this progress.
    pub(super) fn new(bytes: Bytes, progress: &Rc<Progress>) -> Self {
        progress.is_body_queued.set(bytes.is_empty());
        Self { bytes, progress: Rc::clone(progress) }
    }
}

impl Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.bytes.is_empty() {
            return Poll::Ready(None);
        }
        self.progress.is_body_queued.set(true);
        Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}

/// Bytes of an answer read at a time: one TLS record, and most bulk answers in a few calls.
const SCRATCH_BYTES: usize = 16 * 1024;
