//! TLS and HTTP/2, with hyper's client.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body::Body;
use hyper_util::rt::{TokioExecutor, TokioIo};
use loadgen::fake::{Auth, Fake};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::client::{elastic, options};

/// A body of one piece.
struct One(Option<Bytes>);

impl Body for One {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Ready(self.0.take().map(|body| Ok(http_body::Frame::data(body))))
    }
}

fn fake(tls: bool, h2: bool) -> Fake {
    let mut options = options("");
    (options.tls, options.h2) = (tls, h2);
    elastic(options, Auth::Anybody)
}

fn trusting(pem: &str, alpn: &[&[u8]]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM");
    roots.add(certificate).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

/// Posts a body of a megabyte and returns the status.
async fn post<S>(stream: S, h2: bool) -> u16
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let line = "{\"create\":{\"_index\":\"logs\"}}\n{\"a\":\"";
    let body = format!("{line}{}\"}}\n", "x".repeat(1 << 20));
    let request = Request::post("http://localhost/_bulk")
        .header("content-type", "application/x-ndjson")
        .body(One(Some(body.into())))
        .expect("a request");
    let io = TokioIo::new(stream);
    let answer = if h2 {
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.expect("h2");
        tokio::spawn(connection);
        sender.send_request(request).await
    } else {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.expect("h1");
        tokio::spawn(connection);
        sender.send_request(request).await
    };
    answer.expect("an answer").status().as_u16()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

#[test]
fn http_2_is_spoken_when_offered() {
    block_on(async {
        for (tls, offered, asked, expected) in [
            (true, true, true, true),
            (true, true, false, false),
            (true, false, true, false),
            (false, true, true, true),
            (false, true, false, false),
            (false, false, false, false),
        ] {
            let fake = fake(tls, offered);
            let socket = TcpStream::connect(fake.addr()).await.expect("it listens");
            let status = match fake.authority_pem() {
                None => post(socket, asked).await,
                Some(pem) => {
                    let alpn: &[&[u8]] = if asked { &[b"h2", b"http/1.1"] } else { &[] };
                    let name = ServerName::try_from("localhost").expect("a name");
                    let stream = trusting(pem, alpn).connect(name, socket).await.expect("TLS");
                    let spoken = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    assert_eq!(spoken, expected, "tls, offered {offered}, asked {asked}");
                    post(stream, spoken).await
                }
            };
            assert_eq!(status, 200, "tls {tls}, offered {offered}, asked {asked}");
        }
    });
}

#[test]
fn a_swapped_certificate_is_trusted_only_from_the_same_authority() {
    block_on(async {
        let fake = fake(true, false);
        let pem = fake.authority_pem().expect("it speaks TLS").to_owned();
        for (body, trusted) in [("same", true), ("foreign", false), ("same", true)] {
            fake.swap_certificate(body).expect("a certificate");
            let socket = TcpStream::connect(fake.addr()).await.expect("it listens");
            let name = ServerName::try_from("127.0.0.1").expect("an address");
            let stream = trusting(&pem, &[]).connect(name, socket).await;
            assert_eq!(stream.is_ok(), trusted, "{body}");
        }
    });
}
