//! What sending costs: CPU seconds of the sending thread per gigabyte of request bodies, beside
//! what the kernel and the cipher take alone.
//!
//! `cargo bench --bench transport [-- NAME]`. The receiver is a thread of its own and is not
//! counted. Each figure is the median of several rounds, since the machine may be shared.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use rcgen::{CertificateParams, KeyPair};
use rustix::time::{ClockId, clock_gettime};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use shrike::deliver::{
    ConnectionSettings, Http2, HttpTransport, Proxy, Reach, Request, TlsSettings, Transport,
    TransportLimits,
};

fn main() {
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let pki = Pki::new();
    println!(
        "{:<34} {:>10} {:>10} {:>12} {:>16}",
        "way, body", "CPU-s/GB", "GB/s", "us/request", "times the floor"
    );
    for &bytes in &[1_000_000_usize, 100_000, 10_000] {
        let mut floor = None;
        for way in WAYS {
            if wanted.as_ref().is_none_or(|name| way.name.contains(name.as_str())) {
                floor = report(way, bytes, &pki, floor);
            }
        }
    }
}

/// One way to send.
struct Way {
    name: &'static str,
    is_tls: bool,
    how: How,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// Blocking writes of the whole body, no HTTP: the limit.
    Raw,
    Http1,
    Http2,
}

const WAYS: &[Way] = &[
    Way { name: "plain, write(2) alone", is_tls: false, how: How::Raw },
    Way { name: "plain, HTTP/1.1", is_tls: false, how: How::Http1 },
    Way { name: "plain, HTTP/2", is_tls: false, how: How::Http2 },
    Way { name: "TLS, rustls alone", is_tls: true, how: How::Raw },
    Way { name: "TLS, HTTP/1.1", is_tls: true, how: How::Http1 },
    Way { name: "TLS, HTTP/2", is_tls: true, how: How::Http2 },
];

/// Measures one way and prints it beside the floor, which it gives back for those that follow.
fn report(way: &Way, bytes: usize, pki: &Pki, floor: Option<f64>) -> Option<f64> {
    let requests = (ROUND_BYTES / bytes).max(1);
    let mut rounds: Vec<(f64, f64)> =
        (0..ROUNDS).map(|_| round(way, bytes, requests, pki)).collect();
    rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (cpu, wall) = rounds[ROUNDS / 2];
    let gigabytes = (bytes * requests) as f64 / 1e9;
    let floor = if way.how == How::Raw { Some(cpu) } else { floor };
    println!(
        "{:<34} {:>10.3} {:>10.2} {:>12.1} {:>16}",
        format!("{}, {} kB", way.name, bytes / 1000),
        cpu / gigabytes,
        gigabytes / wall,
        cpu / requests as f64 * 1e6,
        floor.map(|floor| format!("{:.2}", cpu / floor)).unwrap_or_default(),
    );
    floor
}

/// CPU and wall seconds for so many requests, after one that warms the connection.
fn round(way: &Way, bytes: usize, requests: usize, pki: &Pki) -> (f64, f64) {
    let address = receiver(way, bytes, pki);
    let body = Bytes::from(vec![b'x'; bytes]);
    match way.how {
        How::Raw if way.is_tls => {
            let tcp = connect(address);
            let name = ServerName::try_from("localhost").expect("a name");
            let mut session = rustls::ClientConnection::new(pki.client(), name).expect("a session");
            session.set_buffer_limit(Some(256 * 1024));
            let mut stream = rustls::StreamOwned::new(session, tcp);
            raw(&mut stream, &body, requests)
        }
        How::Raw => raw(&mut connect(address), &body, requests),
        How::Http1 | How::Http2 => over_http(way, address, &body, requests),
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let tcp = TcpStream::connect(address).expect("the receiver listens");
    tcp.set_nodelay(true).expect("a TCP socket");
    tcp
}

fn raw(stream: &mut (impl Read + Write), body: &[u8], requests: usize) -> (f64, f64) {
    let mut exchange = || {
        stream.write_all(body).expect("written");
        stream.flush().expect("flushed");
        stream.read_exact(&mut [0; 2]).expect("answered");
    };
    exchange();
    let start = (cpu(), Instant::now());
    for _ in 0..requests {
        exchange();
    }
    (cpu() - start.0, start.1.elapsed().as_secs_f64())
}

fn over_http(way: &Way, address: SocketAddr, body: &Bytes, requests: usize) -> (f64, f64) {
    let scheme = if way.is_tls { "https" } else { "http" };
    let uri: Uri = format!("{scheme}://localhost:{}", address.port()).parse().expect("a URL");
    let tls = TlsSettings { insecure_skip_verify: true, ..TlsSettings::default() };
    let connection = ConnectionSettings {
        connect_timeout: Duration::from_secs(5),
        timeout: Duration::from_secs(30),
        keep_alive: Duration::from_secs(60),
        connections_max: 1,
        age_max: Duration::from_secs(300),
        reach: Reach::Anywhere,
        http2: match way.how {
            How::Http2 => Http2::H2c,
            _ => Http2::Off,
        },
        proxy: Proxy::None,
    };
    let transport = HttpTransport::new(&[uri], &tls, &connection, TransportLimits::new(1))
        .expect("a transport");
    let request = || Request {
        endpoint: 0,
        group: 0,
        method: Method::POST,
        path: "/_bulk".to_owned(),
        headers: HeaderMap::new(),
        body: body.clone(),
        timeout: Duration::from_secs(30),
        needs_body: true,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("rt");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let first = transport.send(request()).await.expect("answered");
        assert_eq!(first.status, 200);
        let start = (cpu(), Instant::now());
        for _ in 0..requests {
            transport.send(request()).await.expect("answered");
        }
        (cpu() - start.0, start.1.elapsed().as_secs_f64())
    })
}

/// CPU seconds of this thread so far.
fn cpu() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

/// A thread that takes one connection, throws bodies away and answers.
fn receiver(way: &Way, bytes: usize, pki: &Pki) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let how = way.how;
    let config = way.is_tls.then(|| pki.server(how));
    std::thread::spawn(move || {
        let (mut tcp, _) = listener.accept().expect("a connection");
        tcp.set_nodelay(true).expect("a TCP socket");
        match (how, config) {
            (How::Http2, config) => receive_streams(tcp, config),
            (_, None) => receive(&mut tcp, how, bytes),
            (_, Some(config)) => {
                let session = rustls::ServerConnection::new(config).expect("a session");
                receive(&mut rustls::StreamOwned::new(session, tcp), how, bytes);
            }
        }
    });
    address
}

fn receive(stream: &mut (impl Read + Write), how: How, bytes: usize) {
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let mut left = bytes;
        if how == How::Http1 {
            let mut head = Vec::new();
            let end = loop {
                match stream.read(&mut buffer) {
                    Ok(0) | Err(_) => return,
                    Ok(n) => head.extend_from_slice(&buffer[..n]),
                }
                if let Some(at) = memchr::memmem::find(&head, b"\r\n\r\n") {
                    break at + 4;
                }
            };
            left -= head.len() - end;
        }
        while left > 0 {
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(n) => left -= n,
            }
        }
        let answer: &[u8] = match how {
            How::Raw => b"ok",
            _ => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        };
        if stream.write_all(answer).and_then(|()| stream.flush()).is_err() {
            return;
        }
    }
}

fn receive_streams(tcp: TcpStream, config: Option<Arc<rustls::ServerConfig>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("rt");
    runtime.block_on(async {
        tcp.set_nonblocking(true).expect("a TCP socket");
        let tcp = tokio::net::TcpStream::from_std(tcp).expect("a TCP socket");
        match config {
            None => answer_streams(tcp).await,
            Some(config) => {
                let acceptor = tokio_rustls::TlsAcceptor::from(config);
                answer_streams(acceptor.accept(tcp).await.expect("a handshake")).await;
            }
        }
    });
}

async fn answer_streams(stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) {
    let mut connection = h2::server::Builder::new()
        .initial_window_size(4 << 20)
        .initial_connection_window_size(16 << 20)
        .handshake::<_, Bytes>(stream)
        .await
        .expect("HTTP/2");
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let mut body = request.into_body();
        let reading = async {
            while let Some(Ok(piece)) = body.data().await {
                let _ = body.flow_control().release_capacity(piece.len());
            }
        };
        // Streams move only while the connection is polled.
        tokio::select! {
            () = reading => {}
            _ = std::future::poll_fn(|cx| connection.poll_closed(cx)) => return,
        }
        let _ = respond.send_response(http::Response::new(()), true);
    }
}

struct Pki {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Pki {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        Self { certificate: params.self_signed(&key).expect("a certificate"), key }
    }

    fn server(&self, how: How) -> Arc<rustls::ServerConfig> {
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("TLS")
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.der().clone()], key)
            .expect("a matching key");
        if how == How::Http2 {
            config.alpn_protocols = vec![b"h2".to_vec()];
        }
        Arc::new(config)
    }

    fn client(&self) -> Arc<rustls::ClientConfig> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.der().clone()).expect("a certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("TLS")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }
}

/// Bytes of bodies in a round.
const ROUND_BYTES: usize = 500_000_000;

/// Rounds per figure.
const ROUNDS: usize = 5;
