//! The little of an HTTP client that inputs need: a request without a body, and its answer.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HOST, USER_AGENT};
use http::{HeaderValue, Request, Response, Uri};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A server that is asked.
#[derive(Clone, Debug)]
pub(super) struct Target {
    host: String,
    port: u16,
    /// The path before that of a request, without a slash at its end.
    base: String,
    authority: String,
    tls: Option<(Arc<rustls::ClientConfig>, ServerName<'static>)>,
}

impl Target {
    /// The server of this address; `tls` is used where its scheme is https.
    pub(super) fn new(url: &Uri, tls: Option<Arc<rustls::ClientConfig>>) -> io::Result<Self> {
        let wrong = |text: &str| io::Error::new(io::ErrorKind::InvalidInput, text.to_owned());
        let authority = url.authority().ok_or_else(|| wrong("the URL names no host"))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let is_tls = match url.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong("expected http:// or https://")),
        };
        let tls = match tls {
            Some(config) if is_tls => {
                let name = ServerName::try_from(host.clone());
                Some((config, name.map_err(|_| wrong("the URL's host is no name for TLS"))?))
            }
            None if is_tls => return Err(wrong("https needs trusted authorities")),
            _ => None,
        };
        Ok(Self {
            port: authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            base: url.path().trim_end_matches('/').to_owned(),
            authority: authority.as_str().to_owned(),
            host,
            tls,
        })
    }
}

/// The body of a page, at most so many bytes.
pub(super) async fn get(
    target: &Target,
    path: &str,
    token: Option<&str>,
    bytes_max: usize,
) -> io::Result<Vec<u8>> {
    let mut body = open(target, path, token).await?;
    let mut all = Vec::new();
    while let Some(piece) = next(&mut body).await {
        all.extend_from_slice(&piece.map_err(io::Error::other)?);
        if all.len() > bytes_max {
            let text = format!("the answer is longer than {bytes_max} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
    }
    Ok(all)
}

/// Asks for a page; its body is still to come.
pub(super) async fn open(target: &Target, path: &str, token: Option<&str>) -> io::Result<Incoming> {
    let stream = TcpStream::connect((target.host.as_str(), target.port)).await?;
    stream.set_nodelay(true)?;
    let response = match &target.tls {
        None => ask(stream, target, path, token).await?,
        Some((config, name)) => {
            let connector = TlsConnector::from(Arc::clone(config));
            let stream = connector.connect(name.clone(), stream).await?;
            ask(stream, target, path, token).await?
        }
    };
    match response.status().as_u16() {
        200 => Ok(response.into_body()),
        401 | 403 => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("HTTP {}: the token is missing, wrong, or may not read", response.status()),
        )),
        _ => Err(io::Error::other(format!("HTTP {}", response.status()))),
    }
}

/// The next piece of a body.
pub(super) async fn next(body: &mut Incoming) -> Option<super::poll::Piece> {
    loop {
        let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await?;
        match frame.map(Frame::into_data) {
            Ok(Ok(piece)) => return Some(Ok(piece)),
            Ok(Err(_trailers)) => {}
            Err(error) => return Some(Err(error)),
        }
    }
}

async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    target: &Target,
    path: &str,
    token: Option<&str>,
) -> io::Result<Response<Incoming>> {
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // It ends with its only answer, or with the runtime.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection ended early");
        }
    });
    let mut request = Request::get(format!("{}{path}", target.base))
        .header(HOST, &target.authority)
        .header(ACCEPT, "application/json, text/event-stream")
        .header(USER_AGENT, concat!("shrike/", env!("CARGO_PKG_VERSION")));
    if let Some(token) = token {
        let mut value =
            HeaderValue::try_from(format!("Bearer {token}")).map_err(io::Error::other)?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    let request = request.body(Nothing).map_err(io::Error::other)?;
    sender.send_request(request).await.map_err(io::Error::other)
}

/// A body that is none.
struct Nothing;

impl Body for Nothing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }
}
