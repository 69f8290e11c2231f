//! Servers, certificates and requests for the tests.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::Digest as _;
use shrike::deliver::{
    Answer, ConnectionSettings, Http2, HttpTransport, Proxy, Reach, Request, TlsSettings,
    Transport, TransportError, TransportLimits,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;

/// Runs a test on one thread, as a worker does; a test that hangs fails.
pub(crate) fn run<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime starts");
    let guarded = async { tokio::time::timeout(Duration::from_secs(120), test).await };
    tokio::task::LocalSet::new().block_on(&runtime, guarded).expect("the test ends in time")
}

/// What a server saw, shared with the test.
#[derive(Default)]
pub(crate) struct Seen {
    /// Connections accepted.
    pub(crate) connections: Cell<usize>,
    /// Connections open now, and the most at a time.
    pub(crate) open: Cell<usize>,
    pub(crate) open_max: Cell<usize>,
    /// Requests read whole: head and body.
    pub(crate) requests: RefCell<Vec<(String, Vec<u8>)>>,
    /// Told at every change.
    pub(crate) changed: tokio::sync::Notify,
}

impl Seen {
    pub(crate) fn note(&self, head: String, body: Vec<u8>) {
        self.requests.borrow_mut().push((head, body));
        self.changed.notify_waiters();
    }

    /// Waits until what was seen is as asked.
    pub(crate) async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        loop {
            let changed = self.changed.notified();
            if is_so(self) {
                return;
            }
            changed.await;
        }
    }

    pub(crate) fn heads(&self) -> Vec<String> {
        self.requests.borrow().iter().map(|(head, _)| head.clone()).collect()
    }
}

/// A server that serves each connection with `serve(number, connection, seen)`.
pub(crate) async fn server<F>(
    serve: impl Fn(usize, TcpStream, Rc<Seen>) -> F + 'static,
) -> (SocketAddr, Rc<Seen>)
where
    F: Future<Output = ()> + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let seen = Rc::new(Seen::default());
    let shared = Rc::clone(&seen);
    spawn_local(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            // Else a reset could overtake an answer that waits for Nagle's algorithm.
            tcp.set_nodelay(true).expect("a TCP socket");
            let seen = Rc::clone(&shared);
            let number = seen.connections.get();
            seen.connections.set(number + 1);
            seen.open.set(seen.open.get() + 1);
            seen.open_max.set(seen.open_max.get().max(seen.open.get()));
            seen.changed.notify_waiters();
            let serving = serve(number, tcp, Rc::clone(&seen));
            spawn_local(async move {
                serving.await;
                seen.open.set(seen.open.get() - 1);
                seen.changed.notify_waiters();
            });
        }
    });
    (address, seen)
}

/// A server that answers every request with `200 ok`, and keeps connections.
pub(crate) async fn friendly() -> (SocketAddr, Rc<Seen>) {
    server(|_, tcp, seen| answer_all(tcp, seen, OK)).await
}

/// Answers every request of a connection with the same text.
pub(crate) async fn answer_all(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    seen: Rc<Seen>,
    answer: &'static str,
) {
    while let Some((head, body)) = read_request(&mut stream).await {
        seen.note(head, body);
        if stream.write_all(answer.as_bytes()).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}

/// A time limit that passes: long enough that a busy machine gets everything before it done.
pub(crate) const SOON: Duration = Duration::from_secs(1);

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Reads the head of a request, up to and with the empty line.
pub(crate) async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).expect("heads are ASCII"))
}

/// Reads a whole request with a content length.
pub(crate) async fn read_request(
    stream: &mut (impl AsyncRead + Unpin),
) -> Option<(String, Vec<u8>)> {
    let head = read_head(stream).await?;
    let mut body = vec![0; header(&head, "content-length").map_or(0, |n| n.parse().expect("n"))];
    stream.read_exact(&mut body).await.ok()?;
    Some((head, body))
}

/// The value of a header in a head.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// A request with a body to the first endpoint.
pub(crate) fn post(body: impl Into<Bytes>) -> Request {
    Request {
        endpoint: 0,
        group: 0,
        method: Method::POST,
        path: "/in".to_owned(),
        headers: HeaderMap::new(),
        body: body.into(),
        timeout: Duration::from_secs(20),
        needs_body: true,
    }
}

pub(crate) fn settings() -> ConnectionSettings {
    ConnectionSettings {
        connect_timeout: Duration::from_secs(5),
        timeout: Duration::from_secs(20),
        keep_alive: Duration::from_secs(60),
        connections_max: 4,
        age_max: Duration::from_secs(300),
        reach: Reach::Anywhere,
        http2: Http2::Auto,
        proxy: Proxy::None,
    }
}

pub(crate) fn uri(scheme: &str, address: SocketAddr) -> Uri {
    format!("{scheme}://{address}").parse().expect("a URL")
}

/// A plaintext transport with default limits.
pub(crate) fn transport(address: SocketAddr, connection: &ConnectionSettings) -> HttpTransport {
    let tls = TlsSettings::default();
    let limits = TransportLimits::new(connection.connections_max);
    HttpTransport::new(&[uri("http", address)], &tls, connection, limits).expect("a transport")
}

/// Sends a small body and expects `200 ok`.
pub(crate) async fn send_ok(transport: &HttpTransport) -> Answer {
    let answer = transport.send(post("body")).await.expect("an answer");
    assert_eq!((answer.status, &answer.body[..]), (200, &b"ok"[..]));
    answer
}

/// Sends a request that must fail.
pub(crate) async fn send_err(transport: &HttpTransport, request: Request) -> TransportError {
    transport.send(request).await.map(|answer| answer.status).expect_err("no answer")
}

/// An authority with certificates for a server and a client, and their files.
pub(crate) struct Pki {
    pub(crate) ca: String,
    pub(crate) server: (String, String),
    pub(crate) client: (String, String),
    dir: tempfile::TempDir,
}

impl Pki {
    /// Certificates for a server of this name.
    pub(crate) fn new(name: &str) -> Self {
        Self::until(name, 4096)
    }

    /// The same, all of them expired long ago but the authority's.
    pub(crate) fn expired(name: &str) -> Self {
        Self::until(name, 2001)
    }

    fn until(name: &str, year: i32) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "test authority");
        let key = KeyPair::generate().expect("a key");
        let ca = params.self_signed(&key).expect("a certificate").pem();
        let issuer = Issuer::new(params, key);
        let issue = |name: &str| {
            let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
            let key = KeyPair::generate().expect("a key");
            let certificate = params.signed_by(&key, &issuer).expect("a certificate");
            (certificate.pem(), key.serialize_pem())
        };
        let dir = tempfile::tempdir().expect("a directory");
        Self { ca, server: issue(name), client: issue("client"), dir }
    }

    /// Writes a file for the settings to name.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }

    /// Settings that trust this authority.
    pub(crate) fn trusting(&self) -> TlsSettings {
        let ca_cert_path = Some(self.file("ca.pem", &self.ca));
        TlsSettings { ca_cert_path, ..TlsSettings::default() }
    }

    /// The same with the client's certificate.
    pub(crate) fn presenting(&self) -> TlsSettings {
        TlsSettings {
            client_cert_path: Some(self.file("client.pem", &self.client.0)),
            client_key_path: Some(self.file("client.key", &self.client.1)),
            ..self.trusting()
        }
    }

    /// The digest of the server's certificate.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        let chain = CertificateDer::from_pem_slice(self.server.0.as_bytes()).expect("ours");
        sha2::Sha256::digest(chain.as_ref()).into()
    }

    /// The server's side of the handshake.
    pub(crate) fn acceptor(&self, terms: &Terms) -> tokio_rustls::TlsAcceptor {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(terms.versions)
            .expect("known versions");
        let builder = if terms.wants_client {
            let mut roots = rustls::RootCertStore::empty();
            let ca = CertificateDer::from_pem_slice(self.ca.as_bytes()).expect("our certificate");
            roots.add(ca).expect("our authority");
            let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
                Arc::new(roots),
                provider,
            );
            builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
        } else {
            builder.with_no_client_auth()
        };
        let chain = CertificateDer::from_pem_slice(self.server.0.as_bytes()).expect("ours");
        let key = PrivateKeyDer::from_pem_slice(self.server.1.as_bytes()).expect("our key");
        let mut config = builder.with_single_cert(vec![chain], key).expect("a matching key");
        config.alpn_protocols = terms.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        tokio_rustls::TlsAcceptor::from(Arc::new(config))
    }
}

/// What a TLS server asks for and offers.
pub(crate) struct Terms {
    pub(crate) versions: &'static [&'static rustls::SupportedProtocolVersion],
    pub(crate) alpn: &'static [&'static str],
    pub(crate) wants_client: bool,
}

impl Default for Terms {
    fn default() -> Self {
        Self { versions: rustls::ALL_VERSIONS, alpn: &[], wants_client: false }
    }
}

/// A TLS server that answers everything with `200 ok` over what was negotiated.
pub(crate) async fn tls_server(pki: &Pki, terms: &Terms) -> (SocketAddr, Rc<Seen>) {
    let acceptor = pki.acceptor(terms);
    server(move |_, tcp, seen| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(tls) = acceptor.accept(tcp).await else { return };
            let is_h2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
            let kind = tls.get_ref().1.handshake_kind();
            seen.note(format!("handshake {kind:?}"), Vec::new());
            if is_h2 {
                answer_streams(tls, seen).await;
            } else {
                answer_all(tls, seen, OK).await;
            }
        }
    })
    .await
}

/// Answers every stream of an HTTP/2 connection with `200 ok`.
pub(crate) async fn answer_streams(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    seen: Rc<Seen>,
) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let seen = Rc::clone(&seen);
        spawn_local(async move {
            let (head, body) = request.into_parts();
            let Some(body) = read_stream(body).await else { return };
            let head = format!("{} {} {:?}", head.method, head.uri, head.headers);
            seen.note(head, body);
            let Ok(mut sending) = respond.send_response(http::Response::new(()), false) else {
                return;
            };
            let _ = sending.send_data(Bytes::from_static(b"ok"), true);
        });
    }
}

/// Reads a whole body, giving window back.
pub(crate) async fn read_stream(mut body: h2::RecvStream) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece.ok()?;
        body.flow_control().release_capacity(piece.len()).ok()?;
        all.extend_from_slice(&piece);
    }
    Some(all)
}
