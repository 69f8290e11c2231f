//! Proxies, and secrets on all ways.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use shrike::deliver::{
    Applied, ConnectionSettings, Destination, Http2, HttpTransport, Proxy, Request, Secret,
    TlsSettings, Transport, TransportError, TransportErrorKind, TransportLimits,
};
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;

use crate::kit::{
    Pki, SOON, Seen, Terms, answer_all, answer_streams, friendly, header, post, read_head, run,
    send_err, send_ok, server, settings, tls_server, uri,
};

#[test]
fn an_encrypted_destination_is_reached_through_a_tunnel() {
    run(async {
        let pki = Pki::new("127.0.0.1");
        let (address, _) = tls_server(&pki, &Terms::default()).await;
        let (proxy, seen) = tunnels("HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n").await;
        let connection = through(&format!("http://user:pa%3Ass@{proxy}"));
        let endpoints = [uri("https", address)];
        let limits = TransportLimits::new(1);
        let transport = HttpTransport::new(&endpoints, &pki.trusting(), &connection, limits);
        let transport = transport.expect("a transport");
        send_ok(&transport).await;
        send_ok(&transport).await;
        let heads = seen.heads();
        assert_eq!(heads.len(), 1, "one tunnel: {heads:?}");
        assert!(heads[0].starts_with(&format!("CONNECT {address} HTTP/1.1\r\n")), "{}", heads[0]);
        assert_eq!(header(&heads[0], "host"), Some(address.to_string().as_str()));
        assert_eq!(header(&heads[0], "proxy-authorization"), Some("Basic dXNlcjpwYTpzcw=="));
    });
}

#[test]
fn an_address_of_version_6_stands_in_brackets() {
    run(async {
        let (proxy, seen) = server(|_, mut tcp, seen| async move {
            seen.note(read_head(&mut tcp).await.expect("a head"), Vec::new());
            tcp.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await.expect("written");
        })
        .await;
        let endpoints = ["https://[2001:db8::1]:8443".parse().expect("a URL")];
        let pki = Pki::new("127.0.0.1");
        let connection = through(&format!("http://{proxy}"));
        let limits = TransportLimits::new(1);
        let transport = HttpTransport::new(&endpoints, &pki.trusting(), &connection, limits);
        send_err(&transport.expect("a transport"), post("x")).await;
        let head = seen.heads().remove(0);
        assert!(head.starts_with("CONNECT [2001:db8::1]:8443 HTTP/1.1\r\n"), "{head}");
        assert_eq!(header(&head, "host"), Some("[2001:db8::1]:8443"));
    });
}

#[test]
fn http2_known_beforehand_goes_through_a_tunnel_too() {
    run(async {
        let (address, streams) = server(|_, tcp, seen| answer_streams(tcp, seen)).await;
        let (proxy, seen) = tunnels("HTTP/1.0 200 OK\r\n\r\n").await;
        let connection =
            ConnectionSettings { http2: Http2::H2c, ..through(&format!("http://{proxy}")) };
        send_ok(&plain(address, &connection)).await;
        assert_eq!((seen.heads().len(), streams.heads().len()), (1, 1));
    });
}

#[test]
fn a_plaintext_destination_is_named_to_the_proxy_in_each_request() {
    run(async {
        let address = "127.0.0.1:9".parse().expect("an address");
        let (proxy, seen) = friendly().await;
        let transport = plain(address, &through(&format!("http://user:pass@{proxy}")));
        send_ok(&transport).await;
        let head = seen.heads().remove(0);
        assert!(head.starts_with("POST http://127.0.0.1:9/in HTTP/1.1\r\n"), "{head}");
        assert_eq!(header(&head, "host"), Some("127.0.0.1:9"));
        assert_eq!(header(&head, "proxy-authorization"), Some("Basic dXNlcjpwYXNz"));
    });
}

#[test]
fn a_destination_itself_never_sees_the_proxys_credentials() {
    run(async {
        let pki = Pki::new("127.0.0.1");
        let (address, seen) = tls_server(&pki, &Terms::default()).await;
        let (proxy, _) = tunnels("HTTP/1.1 200 OK\r\n\r\n").await;
        let connection = through(&format!("http://user:pass@{proxy}"));
        let endpoints = [uri("https", address)];
        let limits = TransportLimits::new(1);
        let transport = HttpTransport::new(&endpoints, &pki.trusting(), &connection, limits);
        send_ok(&transport.expect("a transport")).await;
        assert_eq!(header(&seen.heads()[1], "proxy-authorization"), None);
    });
}

#[test]
fn a_proxy_that_refuses_is_no_connection() {
    run(async {
        // What the proxy answers, and words of the error.
        let cases = [
            ("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", "407"),
            ("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "502"),
            ("SSH-2.0-OpenSSH_9.6\r\n\r\n", "not HTTP"),
            ("HTTP/1.1 200 O", "closed"),
        ];
        let pki = Pki::new("127.0.0.1");
        let address = "127.0.0.1:9".parse().expect("an address");
        for (says, words) in cases {
            let (proxy, _) = server(move |_, mut tcp, _| async move {
                read_head(&mut tcp).await.expect("a head");
                tcp.write_all(says.as_bytes()).await.expect("written");
            })
            .await;
            let error = refused(address, &pki, &through(&format!("http://{proxy}"))).await;
            assert!(error.detail.contains(words), "{words:?} is not in: {error}");
        }
    });
}

#[test]
fn a_forwarding_proxys_407_is_not_the_destinations_answer() {
    run(async {
        let says = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
        let (proxy, _) = server(move |_, tcp, seen| answer_all(tcp, seen, says)).await;
        let address = "127.0.0.1:9".parse().expect("an address");
        let transport = plain(address, &through(&format!("http://{proxy}")));
        let error = send_err(&transport, post("x")).await;
        let verdict = (error.kind, error.applied);
        assert_eq!(verdict, (TransportErrorKind::Connect, Applied::No), "{error}");
        // Without a proxy in between, the same status is an answer like any other.
        let (address, _) = server(move |_, tcp, seen| answer_all(tcp, seen, says)).await;
        let answer = plain(address, &settings()).send(post("x")).await.expect("an answer");
        assert_eq!(answer.status, 407);
    });
}

#[test]
fn a_silent_or_absent_proxy_is_no_connection() {
    run(async {
        let pki = Pki::new("127.0.0.1");
        let address = "127.0.0.1:9".parse().expect("an address");
        let (proxy, _) = server(|_, mut tcp, _| async move {
            read_head(&mut tcp).await.expect("a head");
            std::future::pending::<()>().await;
        })
        .await;
        let connect_timeout = SOON;
        let silent = ConnectionSettings { connect_timeout, ..through(&format!("http://{proxy}")) };
        let error = refused(address, &pki, &silent).await;
        assert!(error.detail.contains("no tunnel"), "{error}");
        let unused = tokio::net::TcpSocket::new_v4().expect("a socket");
        unused.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        let absent = unused.local_addr().expect("an address");
        let error = refused(address, &pki, &through(&format!("http://{absent}"))).await;
        assert!(error.detail.contains("the proxy"), "{error}");
    });
}

#[test]
fn no_error_or_log_line_carries_a_secret() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(lines.clone())
        .finish();
    let logged = tracing::subscriber::set_default(subscriber);
    let mut texts = run(async {
        let mut texts = Vec::new();
        for (at, way) in WAYS.iter().enumerate() {
            texts.extend(way_texts(at, way).await);
        }
        texts
    });
    drop(logged);
    let count = texts.len();
    texts.push(lines.text());
    assert!(texts[count].contains("insecure_skip_verify is on"), "nothing was logged");
    assert_eq!(count, 2 * WAYS.len() * SERVERS, "an error and a destination each");
    for text in &texts {
        for secret in SECRETS {
            assert!(!text.contains(secret), "{secret} is in: {text}");
        }
    }
}

/// Settings that lead to errors of different kinds.
const WAYS: &[(&str, Http2, bool)] = &[
    ("http", Http2::Auto, false),
    ("http", Http2::H2c, false),
    ("https", Http2::Auto, false),
    ("http", Http2::Auto, true),
    ("https", Http2::Auto, true),
];

/// Servers that fail: closing, silent, not HTTP.
const SERVERS: usize = 3;

/// In the user part, path and query of the URL, in a header, in the body, for the proxy.
const SECRETS: [&str; 9] = [
    "hunter2user",
    "hunter2pass",
    "hunter2path",
    "hunter2query",
    "hunter2header",
    "hunter2body",
    "hunter2proxy",
    // user:pass of the URL and of the proxy, as they travel.
    "aHVudGVyMnVzZXI6aHVudGVyMnBhc3M",
    "cDpodW50ZXIycHJveHk",
];

async fn way_texts(at: usize, way: &(&str, Http2, bool)) -> Vec<String> {
    let &(scheme, http2, is_proxied) = way;
    let mut texts = Vec::new();
    for kind in 0..SERVERS {
        let (address, _) = server(move |_, mut tcp, _| async move {
            match kind {
                0 => {}
                1 => std::future::pending().await,
                _ => {
                    tcp.readable().await.expect("open");
                    // An echo: what a careless error would quote.
                    let mut said = vec![0; 4096];
                    let n = tcp.try_read(&mut said).unwrap_or(0);
                    let _ = tcp.write_all(&said[..n]).await;
                }
            }
        })
        .await;
        let url =
            format!("{scheme}://hunter2user:hunter2pass@{address}/hunter2path?sig=hunter2query");
        let proxy = match is_proxied {
            true => Proxy::Url(Secret::new(format!("http://p:hunter2proxy@{address}"))),
            false => Proxy::None,
        };
        let connect_timeout = Duration::from_millis(50);
        let connection = ConnectionSettings { http2, proxy, connect_timeout, ..settings() };
        let tls = TlsSettings { insecure_skip_verify: true, ..TlsSettings::default() };
        let endpoints = [url.parse().expect("a URL")];
        let destination = Destination::new(&endpoints, &tls, &connection).expect("a destination");
        texts.push(format!("{destination:?}"));
        let destination = std::sync::Arc::new(destination);
        let transport = HttpTransport::share(&destination, TransportLimits::new(1));
        let mut headers = HeaderMap::new();
        headers.insert("x-key", HeaderValue::from_static("hunter2header"));
        let timeout = Duration::from_millis(100);
        let request = Request { headers, timeout, ..post("hunter2body") };
        let error = send_err(&transport, request).await;
        texts.push(format!("{at} {error} {error:?}"));
    }
    texts
}

/// Log lines, collected.
#[derive(Clone, Default)]
struct Lines(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("not poisoned")).into_owned()
    }
}

impl std::io::Write for Lines {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("not poisoned").extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl tracing_subscriber::fmt::MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// A proxy that answers CONNECT with this text and then passes bytes on.
async fn tunnels(says: &'static str) -> (SocketAddr, Rc<Seen>) {
    server(move |_, mut tcp, seen| async move {
        let head = read_head(&mut tcp).await.expect("a head");
        let target = head.split(' ').nth(1).expect("a target").to_owned();
        seen.note(head, Vec::new());
        let mut onward = TcpStream::connect(target).await.expect("the destination listens");
        tcp.write_all(says.as_bytes()).await.expect("written");
        let _ = copy_bidirectional(&mut tcp, &mut onward).await;
    })
    .await
}

fn through(proxy: &str) -> ConnectionSettings {
    ConnectionSettings { proxy: Proxy::Url(Secret::new(proxy.to_owned())), ..settings() }
}

fn plain(address: SocketAddr, connection: &ConnectionSettings) -> HttpTransport {
    crate::kit::transport(address, connection)
}

/// The error of an https destination behind a proxy that gives no tunnel.
async fn refused(
    address: SocketAddr,
    pki: &Pki,
    connection: &ConnectionSettings,
) -> TransportError {
    let limits = TransportLimits::new(1);
    let transport =
        HttpTransport::new(&[uri("https", address)], &pki.trusting(), connection, limits);
    let error = send_err(&transport.expect("a transport"), post("x")).await;
    let verdict = (error.kind, error.applied);
    assert_eq!(verdict, (TransportErrorKind::Connect, Applied::No), "{error}");
    error
}
