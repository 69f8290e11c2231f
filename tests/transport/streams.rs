//! HTTP/2: one connection for many requests, and the frames that say what was not applied.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use shrike::deliver::{
    Applied, ConnectionSettings, Http2, HttpTransport, Request, Transport, TransportErrorKind,
    TransportLimits,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::spawn_local;

use crate::kit::{
    OK, Pki, SOON, Seen, Terms, answer_all, answer_streams, post, read_stream, run, send_err,
    send_ok, server, settings, tls_server, transport, uri,
};

#[test]
fn http2_is_taken_where_alpn_offers_it() {
    run(async {
        let pki = Pki::new("127.0.0.1");
        let both: &[&str] = &["h2", "http/1.1"];
        // The setting, what the server offers, whether a stream or an HTTP/1.1 request arrives.
        let cases = [
            (Http2::Auto, both, true),
            (Http2::H2c, both, true),
            (Http2::Off, both, false),
            (Http2::Auto, &["http/1.1"], false),
            (Http2::Auto, &[], false),
        ];
        for (http2, alpn, is_stream) in cases {
            let terms = Terms { alpn, ..Terms::default() };
            let (address, seen) = tls_server(&pki, &terms).await;
            let connection = ConnectionSettings { http2, ..settings() };
            let endpoints = [uri("https", address)];
            let limits = TransportLimits::new(2);
            let transport = HttpTransport::new(&endpoints, &pki.trusting(), &connection, limits)
                .expect("a transport");
            send_ok(&transport).await;
            send_ok(&transport).await;
            let heads = seen.heads();
            assert_eq!(heads.len(), 3, "one handshake, two requests: {heads:?}");
            assert_eq!(heads[1].contains("HTTP/1.1"), !is_stream, "{}", heads[1]);
        }
    });
}

#[test]
fn http2_without_tls_is_spoken_where_the_setting_says_so() {
    run(async {
        let (address, seen) = server(|_, tcp, seen| answer_streams(tcp, seen)).await;
        let body = vec![b'x'; 3_000_000];
        let mut headers = HeaderMap::new();
        headers.insert("connection", HeaderValue::from_static("keep-alive"));
        let request = Request { headers, ..post(body.clone()) };
        let answer = transport(address, &prior()).send(request).await.expect("an answer");
        assert_eq!((answer.status, &answer.body[..]), (200, &b"ok"[..]));
        let requests = seen.requests.borrow();
        assert_eq!(requests[0].1, body);
        let head = &requests[0].0;
        assert!(head.starts_with(&format!("POST http://{address}/in ")), "{head}");
        assert!(head.contains("\"content-length\": \"3000000\""), "{head}");
        assert!(!head.contains("\"connection\""), "{head}");
    });
}

#[test]
fn requests_share_a_connection_up_to_the_servers_limit() {
    run(async {
        // Streams that the server takes, connections that we may have; connections made.
        for (streams, connections, expected) in [(100, 4, 1), (3, 1, 1), (1, 1, 1), (3, 3, 3)] {
            let gate = Rc::new(Notify::new());
            let active = Rc::new(Cell::new((0_usize, 0_usize)));
            let (opened, counted) = (Rc::clone(&gate), Rc::clone(&active));
            let (address, seen) = server(move |_, tcp, seen| {
                gated(tcp, seen, streams, Rc::clone(&opened), Rc::clone(&counted))
            })
            .await;
            let connection = ConnectionSettings { connections_max: connections, ..prior() };
            let transport = Rc::new(transport(address, &connection));
            let sends: Vec<_> = (0..9)
                .map(|_| {
                    let transport = Rc::clone(&transport);
                    spawn_local(async move { send_ok(&transport).await.status })
                })
                .collect();
            let room = (streams as usize * connections).min(9);
            for round in 1..=9_usize.div_ceil(room) {
                let so_far = (room * round).min(9);
                seen.until(|seen| seen.requests.borrow().len() == so_far).await;
                gate.notify_waiters();
            }
            for send in sends {
                assert_eq!(send.await.expect("no panic"), 200);
            }
            assert_eq!(seen.connections.get(), expected, "{streams} streams");
            assert_eq!(active.get().1, room);
        }
    });
}

#[test]
fn a_refused_stream_was_not_applied() {
    run(async {
        let (address, seen) = server(|_, tcp, seen| async move {
            let mut peer = Peer::accept(tcp, seen).await;
            while let Some(stream) = peer.request().await {
                peer.send(RST_STREAM, 0, stream, &7_u32.to_be_bytes()).await;
            }
        })
        .await;
        let transport = transport(address, &prior());
        for requests in 1..3 {
            let error = send_err(&transport, post("x")).await;
            assert_eq!((error.kind, error.applied), (TransportErrorKind::Refused, Applied::No));
            assert!(error.detail.contains("refused"), "{error}");
            // The server is busy: when to try again is not ours to say.
            assert_eq!(seen.requests.borrow().len(), requests);
        }
        assert_eq!(seen.connections.get(), 1);
    });
}

#[test]
fn a_server_that_asks_for_http1_gets_it_from_then_on() {
    run(async {
        let pki = Pki::new("127.0.0.1");
        let acceptor = pki.acceptor(&Terms { alpn: &["h2", "http/1.1"], ..Terms::default() });
        let (address, seen) = server(move |_, tcp, seen| {
            let acceptor = acceptor.clone();
            async move {
                let Ok(tls) = acceptor.accept(tcp).await else { return };
                if tls.get_ref().1.alpn_protocol() != Some(b"h2") {
                    return answer_all(tls, seen, OK).await;
                }
                let mut connection = h2::server::handshake(tls).await.expect("HTTP/2");
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    seen.note("refused".to_owned(), Vec::new());
                    respond.send_reset(h2::Reason::HTTP_1_1_REQUIRED);
                }
            }
        })
        .await;
        let endpoints = [uri("https", address)];
        let limits = TransportLimits::new(2);
        let transport = HttpTransport::new(&endpoints, &pki.trusting(), &settings(), limits);
        let transport = transport.expect("a transport");
        for _ in 0..2 {
            send_ok(&transport).await;
        }
        let heads = seen.heads();
        assert_eq!(heads.len(), 3, "{heads:?}");
        assert_eq!(heads[0], "refused");
        assert!(heads[1..].iter().all(|head| head.contains("HTTP/1.1")), "{heads:?}");
    });
}

#[test]
fn other_resets_and_closes_may_hide_an_applied_request() {
    run(async {
        // What the server does with a request, the size of its body, the error.
        let cases = [
            (Ends::Reset(2), 4, TransportErrorKind::Network, Applied::Maybe),
            (Ends::Reset(8), 4, TransportErrorKind::Network, Applied::Maybe),
            (Ends::Reset(13), 4, TransportErrorKind::Protocol, Applied::No),
            (Ends::Close, 4, TransportErrorKind::Network, Applied::Maybe),
            (Ends::Garbage, 4, TransportErrorKind::Protocol, Applied::Maybe),
            // The window is 65535 bytes, and the server gives no more.
            (Ends::Reset(2), 70_000, TransportErrorKind::Network, Applied::No),
            (Ends::Close, 70_000, TransportErrorKind::Network, Applied::No),
            (Ends::Silence, 70_000, TransportErrorKind::Timeout, Applied::No),
            (Ends::Silence, 4, TransportErrorKind::Timeout, Applied::Maybe),
        ];
        for (ends, bytes, kind, applied) in cases {
            let (address, _) = server(move |_, tcp, seen| async move {
                let mut peer = Peer::accept(tcp, seen).await;
                let stream = peer.begun().await.expect("a request");
                while peer.read < bytes.min(65_535) {
                    assert!(peer.frame().await.is_some());
                }
                match ends {
                    Ends::Reset(code) => {
                        peer.send(RST_STREAM, 0, stream, &u32::to_be_bytes(code)).await;
                        while peer.frame().await.is_some() {}
                    }
                    Ends::Garbage => peer.tcp.write_all(&[0xff; 64]).await.expect("written"),
                    Ends::Silence => while peer.frame().await.is_some() {},
                    Ends::Close => {}
                }
            })
            .await;
            let timeout = match ends {
                Ends::Silence => SOON,
                _ => Duration::from_secs(20),
            };
            let request = Request { timeout, ..post(vec![b'x'; bytes]) };
            let error = send_err(&transport(address, &prior()), request).await;
            assert_eq!((error.kind, error.applied), (kind, applied), "{ends:?} {bytes}: {error}");
        }
    });
}

#[derive(Clone, Copy, Debug)]
enum Ends {
    Reset(u32),
    Close,
    Garbage,
    Silence,
}

#[test]
fn streams_above_a_goaway_are_sent_again_and_those_below_are_answered() {
    run(async {
        let (address, seen) = server(|number, tcp, seen| async move {
            if number > 0 {
                return answer_streams(tcp, seen).await;
            }
            let mut peer = Peer::accept(tcp, seen).await;
            let first = peer.request().await.expect("a request");
            let second = peer.request().await.expect("a request");
            assert!(second > first);
            peer.goaway(first, 0).await;
            peer.answer(first, b"ok").await;
            while peer.frame().await.is_some() {}
        })
        .await;
        let transport = transport(address, &prior());
        let (one, two) = tokio::join!(transport.send(post("1")), transport.send(post("2")));
        assert_eq!(one.expect("below").status, 200);
        assert_eq!(two.expect("above, on another connection").status, 200);
        assert_eq!(seen.connections.get(), 2);
        send_ok(&transport).await;
        assert_eq!(seen.connections.get(), 2, "the connection that goes takes nothing new");
    });
}

#[test]
fn a_stream_above_every_goaway_was_not_applied() {
    run(async {
        let (address, seen) = server(|_, tcp, seen| async move {
            let mut peer = Peer::accept(tcp, seen).await;
            peer.request().await.expect("a request");
            peer.goaway(0, 11).await;
            while peer.frame().await.is_some() {}
        })
        .await;
        let error = send_err(&transport(address, &prior()), post("x")).await;
        assert_eq!((error.kind, error.applied), (TransportErrorKind::Refused, Applied::No));
        assert!(error.detail.contains("GOAWAY") || error.detail.contains("closing"), "{error}");
        assert_eq!(
            seen.connections.get(),
            3,
            "tried at once on fresh connections, but not for ever"
        );
    });
}

#[test]
fn a_stream_below_a_goaway_that_gets_no_answer_may_be_applied() {
    run(async {
        let (address, _) = server(|_, tcp, seen| async move {
            let mut peer = Peer::accept(tcp, seen).await;
            let stream = peer.request().await.expect("a request");
            peer.goaway(stream, 0).await;
        })
        .await;
        let error = send_err(&transport(address, &prior()), post("x")).await;
        assert_eq!((error.kind, error.applied), (TransportErrorKind::Network, Applied::Maybe));
    });
}

#[test]
fn an_answer_that_comes_before_the_body_is_sent_is_the_answer() {
    run(async {
        let (address, seen) = server(|_, tcp, seen| async move {
            let mut peer = Peer::accept(tcp, seen).await;
            while let Some(stream) = peer.begun().await {
                // 413 is in no table: a literal with the name of entry 8 (RFC 7541 6.2.2).
                peer.send(HEADERS, END_HEADERS, stream, b"\x08\x03413").await;
                peer.send(DATA, END_STREAM, stream, b"big").await;
                // RFC 9113 8.1: no need for the rest.
                peer.send(RST_STREAM, 0, stream, &0_u32.to_be_bytes()).await;
            }
        })
        .await;
        let transport = transport(address, &prior());
        for _ in 0..3 {
            let answer = transport.send(post(vec![b'x'; 60_000])).await.expect("an answer");
            assert_eq!((answer.status, &answer.body[..]), (413, &b"big"[..]));
        }
        let answer = transport.send(post(vec![b'x'; 8_000_000])).await.expect("an answer");
        assert_eq!((answer.status, &answer.body[..]), (413, &b"big"[..]));
        assert_eq!(seen.connections.get(), 1);
    });
}

#[test]
fn an_abandoned_stream_is_reset_and_the_connection_goes_on() {
    run(async {
        let resets = Rc::new(Cell::new(0));
        let counted = Rc::clone(&resets);
        let (address, seen) = server(move |_, tcp, seen| {
            let counted = Rc::clone(&counted);
            async move {
                let mut peer = Peer::accept(tcp, Rc::clone(&seen)).await;
                peer.request().await.expect("a request");
                while let Some(frame) = peer.frame().await {
                    if frame.kind == RST_STREAM {
                        counted.set(u32::from_be_bytes(frame.body[..].try_into().expect("4")));
                        seen.changed.notify_waiters();
                    } else if frame.flags & END_STREAM != 0 && frame.kind == DATA {
                        peer.answer(frame.stream, b"ok").await;
                    }
                }
            }
        })
        .await;
        let connection = ConnectionSettings { connections_max: 1, ..prior() };
        let transport = transport(address, &connection);
        tokio::select! {
            _ = transport.send(post("abandoned")) => unreachable!("the server does not answer"),
            () = seen.until(|seen| seen.requests.borrow().len() == 1) => {}
        }
        seen.until(|_| resets.get() == 8).await;
        send_ok(&transport).await;
        assert_eq!(seen.connections.get(), 1);
    });
}

#[test]
fn a_connection_that_fell_silent_takes_nothing_new() {
    run(async {
        let (address, seen) = server(|number, tcp, seen| async move {
            if number > 0 {
                return answer_streams(tcp, seen).await;
            }
            let mut peer = Peer::accept(tcp, seen).await;
            while peer.frame().await.is_some() {}
        })
        .await;
        let transport = transport(address, &prior());
        let timeout = SOON;
        let error = send_err(&transport, Request { timeout, ..post("x") }).await;
        assert_eq!((error.kind, error.applied), (TransportErrorKind::Timeout, Applied::Maybe));
        send_ok(&transport).await;
        assert_eq!(seen.connections.get(), 2);
    });
}

#[test]
fn an_answer_above_the_bound_is_cut() {
    run(async {
        let (address, seen) = server(|_, tcp, _| async move {
            let mut connection = h2::server::handshake(tcp).await.expect("HTTP/2");
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                spawn_local(async move {
                    read_stream(request.into_body()).await;
                    let answered = respond.send_response(http::Response::new(()), false);
                    let mut sending = answered.expect("an open stream");
                    let _ = sending.send_data(Bytes::from(vec![b'y'; 5000]), true);
                });
            }
        })
        .await;
        let limits = TransportLimits { answer_bytes: 1000, ..TransportLimits::new(1) };
        let tls = shrike::deliver::TlsSettings::default();
        let transport = HttpTransport::new(&[uri("http", address)], &tls, &prior(), limits);
        let transport = transport.expect("a transport");
        for _ in 0..3 {
            let answer = transport.send(post("x")).await.expect("an answer");
            assert_eq!((answer.status, answer.body.len()), (200, 1000));
        }
        assert_eq!(seen.connections.get(), 1);
    });
}

#[test]
fn a_server_that_speaks_http1_is_no_http2_server() {
    run(async {
        let (address, _) = server(|_, mut tcp, _| async move {
            let text = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
            tcp.readable().await.expect("open");
            tcp.write_all(text.as_bytes()).await.expect("written");
            let mut rest = Vec::new();
            let _ = tcp.read_to_end(&mut rest).await;
        })
        .await;
        let error = send_err(&transport(address, &prior()), post("x")).await;
        assert_eq!(error.kind, TransportErrorKind::Protocol, "{error}");
    });
}

/// HTTP/2 known beforehand.
fn prior() -> ConnectionSettings {
    ConnectionSettings { http2: Http2::H2c, ..settings() }
}

/// Answers each stream when the gate opens; counts the streams active now and at most.
async fn gated(
    tcp: TcpStream,
    seen: Rc<Seen>,
    streams: u32,
    gate: Rc<Notify>,
    active: Rc<Cell<(usize, usize)>>,
) {
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(streams);
    let mut connection = builder.handshake::<_, Bytes>(tcp).await.expect("HTTP/2");
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let (seen, gate, active) = (Rc::clone(&seen), Rc::clone(&gate), Rc::clone(&active));
        spawn_local(async move {
            let body = read_stream(request.into_body()).await.expect("a whole body");
            let now = active.get().0 + 1;
            active.set((now, active.get().1.max(now)));
            let passed = gate.notified();
            seen.note(String::new(), body);
            passed.await;
            active.set((active.get().0 - 1, active.get().1));
            let answered = respond.send_response(http::Response::new(()), false);
            answered
                .expect("an open stream")
                .send_data(Bytes::from_static(b"ok"), true)
                .expect("sent");
        });
    }
}

/// A server that writes its own frames (RFC 9113 4.1).
struct Peer {
    tcp: TcpStream,
    seen: Rc<Seen>,
    /// Bytes of bodies so far.
    read: usize,
}

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    body: Vec<u8>,
}

impl Peer {
    async fn accept(mut tcp: TcpStream, seen: Rc<Seen>) -> Self {
        let mut preface = [0; 24];
        tcp.read_exact(&mut preface).await.expect("a preface");
        assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let mut peer = Self { tcp, seen, read: 0 };
        peer.send(SETTINGS, 0, 0, &[]).await;
        peer
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, body: &[u8]) {
        let len = u32::try_from(body.len()).expect("small frames").to_be_bytes();
        let mut frame = vec![len[1], len[2], len[3], kind, flags];
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(body);
        self.tcp.write_all(&frame).await.expect("written");
    }

    /// The next frame; settings are acknowledged.
    async fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.tcp.read_exact(&mut head).await.ok()?;
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut body = vec![0; len as usize];
        self.tcp.read_exact(&mut body).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        if head[3] == SETTINGS && head[4] & ACK == 0 {
            self.send(SETTINGS, ACK, 0, &[]).await;
        }
        if head[3] == DATA {
            self.read += body.len();
        }
        Some(Frame { kind: head[3], flags: head[4], stream, body })
    }

    /// The stream of the next request, when its headers are there.
    async fn begun(&mut self) -> Option<u32> {
        loop {
            let frame = self.frame().await?;
            if frame.kind == HEADERS {
                return Some(frame.stream);
            }
        }
    }

    /// The stream of the next request, when it is there as a whole.
    async fn request(&mut self) -> Option<u32> {
        loop {
            let frame = self.frame().await?;
            if matches!(frame.kind, HEADERS | DATA) && frame.flags & END_STREAM != 0 {
                self.seen.note(String::new(), frame.body);
                return Some(frame.stream);
            }
        }
    }

    async fn goaway(&mut self, last: u32, reason: u32) {
        let mut body = last.to_be_bytes().to_vec();
        body.extend_from_slice(&reason.to_be_bytes());
        body.extend_from_slice(b"debug words of the server");
        self.send(GOAWAY, 0, 0, &body).await;
    }

    async fn answer(&mut self, stream: u32, body: &[u8]) {
        // Entry 8 of the static table is `:status: 200` (RFC 7541 A).
        self.send(HEADERS, END_HEADERS, stream, &[0x88]).await;
        self.send(DATA, END_STREAM, stream, body).await;
    }
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
