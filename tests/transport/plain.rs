//! HTTP/1.1: reuse, bounds, answers of all kinds, and what broken exchanges mean.

use std::future::Future;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Uri};
use shrike::deliver::{
    Applied, Cause, ConnectionSettings, Cookies, Destination, Fate, HttpTransport, Reach, Request,
    Scope, TlsSettings, Transport, TransportErrorKind, TransportLimits, judge_transport,
};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::task::{spawn_local, yield_now};

use crate::kit::{
    OK, SOON, Seen, friendly, header, post, read_head, read_request, run, send_err, send_ok,
    server, settings, transport, uri,
};

#[test]
fn a_connection_is_used_again() {
    run(async {
        let (address, seen) = friendly().await;
        let transport = transport(address, &settings());
        for _ in 0..5 {
            send_ok(&transport).await;
        }
        assert_eq!(seen.connections.get(), 1);
        let heads = seen.heads();
        assert!(heads[0].starts_with("POST /in HTTP/1.1\r\n"), "{}", heads[0]);
        assert_eq!(header(&heads[0], "host"), Some(address.to_string().as_str()));
        assert_eq!(header(&heads[0], "content-length"), Some("4"));
        assert!(header(&heads[0], "user-agent").is_some_and(|value| value.starts_with("shrike/")));
        assert_eq!(seen.requests.borrow()[4].1, b"body");
    });
}

#[test]
fn a_request_without_a_body_has_a_length_only_where_the_method_has_a_use_for_it() {
    run(async {
        let (address, seen) = friendly().await;
        let transport = transport(address, &settings());
        for (method, length) in [(Method::POST, Some("0")), (Method::GET, None)] {
            let request = Request { method, ..post("") };
            assert_eq!(transport.send(request).await.expect("an answer").status, 200);
            let head = seen.heads().pop().expect("a request");
            assert_eq!(header(&head, "content-length"), length, "{head}");
        }
    });
}

#[test]
fn a_request_cannot_smuggle_another_framing() {
    run(async {
        let (address, seen) = friendly().await;
        let transport = transport(address, &settings());
        let mut headers = HeaderMap::new();
        headers.insert("transfer-encoding", HeaderValue::from_static("chunked"));
        headers.insert("content-length", HeaderValue::from_static("1"));
        headers.insert("host", HeaderValue::from_static("elsewhere"));
        transport.send(Request { headers, ..post("body") }).await.expect("an answer");
        let head = seen.heads().remove(0);
        assert_eq!(header(&head, "transfer-encoding"), None);
        assert_eq!(header(&head, "content-length"), Some("4"));
        assert_eq!(header(&head, "host"), Some(address.to_string().as_str()));
    });
}

#[test]
fn connections_are_bounded_and_the_rest_waits() {
    run(async {
        let gate = Rc::new(Notify::new());
        let opened = Rc::clone(&gate);
        let (address, seen) = server(move |_, mut tcp, seen| {
            let gate = Rc::clone(&opened);
            async move {
                while let Some((head, body)) = read_request(&mut tcp).await {
                    let passed = gate.notified();
                    seen.note(head, body);
                    passed.await;
                    tcp.write_all(OK.as_bytes()).await.expect("written");
                }
            }
        })
        .await;
        let connection = ConnectionSettings { connections_max: 2, ..settings() };
        let endpoints = [uri("http", address)];
        let destination = Destination::new(&endpoints, &TlsSettings::default(), &connection);
        let destination = std::sync::Arc::new(destination.expect("a destination"));
        let transport = Rc::new(HttpTransport::share(&destination, TransportLimits::new(2)));
        let sends: Vec<_> = (0..6)
            .map(|_| {
                let transport = Rc::clone(&transport);
                spawn_local(async move { send_ok(&transport).await.status })
            })
            .collect();
        for round in 1..=3 {
            seen.until(|seen| seen.requests.borrow().len() == 2 * round).await;
            gate.notify_waiters();
        }
        for send in sends {
            assert_eq!(send.await.expect("no panic"), 200);
        }
        assert_eq!((seen.connections.get(), seen.open_max.get()), (2, 2));
        assert_eq!(destination.counts().connected.load(), 2);
        assert_eq!(destination.counts().waited.load(), 4);
    });
}

#[test]
fn a_group_has_its_own_connection_and_idle_ones_of_others_make_room() {
    run(async {
        let (address, seen) = friendly().await;
        let connection = ConnectionSettings { connections_max: 2, ..settings() };
        let transport = transport(address, &connection);
        // The groups asked for in turn, and the connections made after each.
        for (group, connections) in [(1, 1), (2, 2), (1, 2), (2, 2), (3, 3), (2, 3), (1, 4)] {
            transport.send(Request { group, ..post("x") }).await.expect("an answer");
            assert_eq!(seen.connections.get(), connections, "group {group}");
        }
        assert_eq!(seen.open_max.get(), 2);
    });
}

#[test]
fn a_connection_too_old_or_idle_for_too_long_is_made_anew() {
    run(async {
        let none = Duration::ZERO;
        for connection in [
            ConnectionSettings { age_max: none, ..settings() },
            ConnectionSettings { keep_alive: none, ..settings() },
        ] {
            let (address, seen) = friendly().await;
            // By name, so that each connection asks the resolver.
            let named = format!("http://localhost:{}", address.port()).parse().expect("a URL");
            let tls = TlsSettings::default();
            let transport =
                HttpTransport::new(&[named], &tls, &connection, TransportLimits::new(1));
            let transport = transport.expect("a transport");
            for connections in 1..4 {
                send_ok(&transport).await;
                assert_eq!(seen.connections.get(), connections);
            }
        }
    });
}

#[test]
fn an_idle_connection_is_closed_though_no_request_comes() {
    run(async {
        let (address, seen) = friendly().await;
        let keep_alive = Duration::from_millis(20);
        let transport = transport(address, &ConnectionSettings { keep_alive, ..settings() });
        send_ok(&transport).await;
        seen.until(|seen| seen.open.get() == 0).await;
    });
}

#[test]
fn a_transport_that_goes_closes_its_connections() {
    run(async {
        let (address, seen) = friendly().await;
        let transport = transport(address, &settings());
        send_ok(&transport).await;
        drop(transport);
        seen.until(|seen| seen.open.get() == 0).await;
    });
}

#[test]
fn a_connection_that_the_server_closed_while_idle_is_not_used() {
    run(async {
        let (address, seen) = server(|_, mut tcp, seen| async move {
            let (head, body) = read_request(&mut tcp).await.expect("a request");
            tcp.write_all(OK.as_bytes()).await.expect("written");
            seen.note(head, body);
        })
        .await;
        let transport = transport(address, &settings());
        for round in 1..20 {
            send_ok(&transport).await;
            assert_eq!(seen.connections.get(), round);
            seen.until(|seen| seen.open.get() == 0).await;
        }
    });
}

#[test]
fn a_close_that_lies_unread_in_the_socket_is_noticed_before_the_next_request() {
    // On a thread of its own, so that it closes while ours does not turn.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (tell, closed) = std::sync::mpsc::channel();
    let (go, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for tcp in listener.incoming() {
            let mut tcp = tcp.expect("a connection");
            let mut request = Vec::new();
            while !request.ends_with(b"body") {
                let mut byte = [0];
                tcp.read_exact(&mut byte).expect("a request");
                request.push(byte[0]);
            }
            tcp.write_all(OK.as_bytes()).expect("written");
            told.recv().expect("the test goes on");
            drop(tcp);
            tell.send(()).expect("the test waits");
        }
    });
    run(async {
        let transport = transport(address, &settings());
        for _ in 0..20 {
            send_ok(&transport).await;
            // The connection goes idle; then nothing turns until the server has closed.
            yield_now().await;
            go.send(()).expect("the server waits");
            closed.recv().expect("the server goes on");
        }
    });
}

#[test]
fn a_request_that_a_kept_connection_did_not_take_whole_is_sent_again() {
    run(async {
        // The first connection answers once, takes the head of the next request and breaks.
        let (address, seen) = server(|number, mut tcp, seen| async move {
            if number > 0 {
                return crate::kit::answer_all(tcp, seen, OK).await;
            }
            let (head, body) = read_request(&mut tcp).await.expect("a request");
            seen.note(head, body);
            tcp.write_all(OK.as_bytes()).await.expect("written");
            read_head(&mut tcp).await.expect("a head");
        })
        .await;
        let transport = transport(address, &settings());
        send_ok(&transport).await;
        let answer = transport.send(post(large())).await.expect("an answer");
        assert_eq!(answer.status, 200);
        assert_eq!(seen.connections.get(), 2);
        assert_eq!(seen.requests.borrow()[1].1.len(), LARGE);
    });
}

#[test]
fn a_request_that_a_kept_connection_took_whole_is_not_sent_again() {
    run(async {
        let (address, seen) = server(|_, mut tcp, seen| async move {
            let (head, body) = read_request(&mut tcp).await.expect("a request");
            seen.note(head, body);
            tcp.write_all(OK.as_bytes()).await.expect("written");
            let (head, body) = read_request(&mut tcp).await.expect("a request");
            seen.note(head, body);
        })
        .await;
        let transport = transport(address, &settings());
        send_ok(&transport).await;
        let error = send_err(&transport, post("body")).await;
        assert_eq!((error.kind, error.applied), (TransportErrorKind::Network, Applied::Maybe));
        assert_eq!((seen.connections.get(), seen.requests.borrow().len()), (1, 2));
    });
}

#[test]
fn answers_of_all_kinds_are_read() {
    let html = "HTTP/1.1 413 Too Large\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n\
                <html>too large</html>";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nTrailer: t\r\n\r\n";
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n\
                   HTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\nx";
    let cases = [
        (html, 413, "<html>too large</html>", false),
        (chunked, 200, "abcdefg", true),
        (interim, 201, "x", true),
        ("HTTP/1.1 204 No Content\r\n\r\n", 204, "", true),
        ("HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", 429, "", true),
        ("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\ny", 200, "y", false),
        ("HTTP/1.1 302 Found\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n", 302, "", true),
    ];
    run(async {
        for (text, status, body, is_kept) in cases {
            // Byte by byte, with a turn for everybody else after each.
            let (address, seen) = server(move |_, mut tcp, seen| async move {
                while let Some((head, body)) = read_request(&mut tcp).await {
                    seen.note(head, body);
                    for byte in text.bytes() {
                        tcp.write_all(&[byte]).await.expect("written");
                        yield_now().await;
                    }
                    if !is_kept {
                        return;
                    }
                }
            })
            .await;
            let transport = transport(address, &settings());
            for _ in 0..2 {
                let answer = transport.send(post("x")).await.expect("an answer");
                assert_eq!((answer.status, &answer.body[..]), (status, body.as_bytes()));
            }
            assert_eq!(seen.connections.get(), if is_kept { 1 } else { 2 }, "{text}");
        }
    });
}

#[test]
fn an_answer_that_comes_before_the_body_is_sent_is_the_answer() {
    run(async {
        for round in 0..10 {
            let (address, seen) = server(move |_, mut tcp, seen| async move {
                let head = read_head(&mut tcp).await.expect("a head");
                seen.note(head, Vec::new());
                let answer = "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 3\r\n\r\nbig";
                tcp.write_all(answer.as_bytes()).await.expect("written");
                // Closing with bytes unread resets the connection under the writer's hands; the
                // even rounds stay open instead, and never read on.
                if round % 2 == 0 {
                    std::future::pending::<()>().await;
                }
            })
            .await;
            let transport = transport(address, &settings());
            for connections in 1..3 {
                let answer = transport.send(post(large())).await.expect("an answer");
                assert_eq!((answer.status, &answer.body[..]), (413, &b"big"[..]));
                assert_eq!(seen.connections.get(), connections, "the connection was in mid-body");
            }
        }
    });
}

#[test]
fn a_broken_exchange_says_what_broke_and_whether_it_may_have_counted() {
    use Applied::{Maybe, No};
    use TransportErrorKind::{Network, Protocol};
    // What the server reads and says before it closes, the size of the body, the error.
    let cases = [
        (Reads::Nothing, "", 4, Network, Maybe),
        (Reads::Head, "", LARGE, Network, No),
        (Reads::All, "", 4, Network, Maybe),
        (Reads::All, "HTTP/1.1 200 OK\r\nContent-Le", 4, Network, Maybe),
        (Reads::All, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", 4, Network, Maybe),
        (
            Reads::All,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nsh",
            4,
            Network,
            Maybe,
        ),
        (Reads::All, "SSH-2.0-OpenSSH_9.6\r\n", 4, Protocol, Maybe),
        (Reads::All, "HTTP/1.1 2000 OK\r\n\r\n", 4, Protocol, Maybe),
    ];
    run(async {
        for (reads, text, bytes, kind, applied) in cases {
            let (address, _) = server(move |_, mut tcp, _| async move {
                match reads {
                    Reads::Nothing => tcp.readable().await.expect("readable"),
                    Reads::Head => drop(read_head(&mut tcp).await),
                    Reads::All => drop(read_request(&mut tcp).await),
                }
                tcp.write_all(text.as_bytes()).await.expect("written");
            })
            .await;
            let error = send_err(&transport(address, &settings()), post(vec![b'x'; bytes])).await;
            assert_eq!((error.kind, error.applied), (kind, applied), "{text:?} {error}");
            assert!(error.detail.starts_with(&address.to_string()), "{error}");
        }
    });
}

#[derive(Clone, Copy)]
enum Reads {
    Nothing,
    Head,
    All,
}

#[test]
fn a_failure_whose_answer_breaks_off_is_still_that_failure() {
    run(async {
        let (address, _) = server(|_, mut tcp, _| async move {
            read_request(&mut tcp).await.expect("a request");
            let text = "HTTP/1.1 503 Busy\r\nRetry-After: 3\r\nContent-Length: 100\r\n\r\nbecause";
            tcp.write_all(text.as_bytes()).await.expect("written");
        })
        .await;
        let answer = transport(address, &settings()).send(post("x")).await.expect("an answer");
        assert_eq!((answer.status, &answer.body[..]), (503, &b"because"[..]));
        assert_eq!(answer.headers["retry-after"], "3");
    });
}

#[test]
fn a_success_that_needs_no_body_stands_without_it() {
    run(async {
        // The rest of the body never comes: the connection ends, or it falls silent.
        for falls_silent in [false, true] {
            let (address, _) = server(move |_, mut tcp, _| async move {
                read_request(&mut tcp).await.expect("a request");
                let text = "HTTP/1.1 202 Accepted\r\nContent-Length: 100\r\n\r\nlong";
                tcp.write_all(text.as_bytes()).await.expect("written");
                if falls_silent {
                    assert!(read_request(&mut tcp).await.is_none(), "nothing else comes");
                }
            })
            .await;
            let transport = transport(address, &settings());
            let request = Request { timeout: SOON, ..post("x") };
            let error = send_err(&transport, request.clone()).await;
            assert_eq!(error.applied, Applied::Maybe, "{error}");
            let answer = transport.send(Request { needs_body: false, ..request }).await;
            let answer = answer.expect("its status says all");
            assert_eq!((answer.status, &answer.body[..]), (202, &b"long"[..]));
        }
    });
}

#[test]
fn an_answer_above_the_bound_is_cut_and_its_connection_closed() {
    run(async {
        let long = |declared: bool| {
            let body = "y".repeat(5000);
            let length =
                if declared { "Content-Length: 5000\r\n" } else { "Connection: close\r\n" };
            format!("HTTP/1.1 200 OK\r\n{length}\r\n{body}")
        };
        for declared in [true, false] {
            let (address, seen) = server(move |_, mut tcp, _| async move {
                read_request(&mut tcp).await.expect("a request");
                tcp.write_all(long(declared).as_bytes()).await.expect("written");
                // Until the other side closes.
                assert!(read_head(&mut tcp).await.is_none());
            })
            .await;
            let endpoints = [uri("http", address)];
            let limits = TransportLimits { answer_bytes: 1000, ..TransportLimits::new(1) };
            let destination = Destination::new(&endpoints, &TlsSettings::default(), &settings());
            let destination = std::sync::Arc::new(destination.expect("a destination"));
            let transport = HttpTransport::share(&destination, limits);
            let answer = transport.send(post("x")).await.expect("an answer");
            assert_eq!((answer.status, answer.body.len()), (200, 1000));
            assert_eq!(destination.counts().cut.load(), 1);
            seen.until(|seen| seen.open.get() == 0).await;
        }
    });
}

#[test]
fn a_request_that_times_out_says_whether_it_was_sent() {
    run(async {
        // Whether the server reads the request, the body, the verdict.
        for (reads, bytes, applied) in [(false, LARGE, Applied::No), (true, 4, Applied::Maybe)] {
            let (address, seen) = server(move |_, mut tcp, seen| async move {
                if reads {
                    let (head, body) = read_request(&mut tcp).await.expect("a request");
                    seen.note(head, body);
                    assert!(read_head(&mut tcp).await.is_none(), "closed, without a request");
                } else {
                    tcp.writable().await.expect("open");
                    std::future::pending::<()>().await;
                }
            })
            .await;
            let timeout = SOON;
            let request = Request { timeout, ..post(vec![b'x'; bytes]) };
            let error = send_err(&transport(address, &settings()), request).await;
            assert_eq!((error.kind, error.applied), (TransportErrorKind::Timeout, applied));
            if reads {
                seen.until(|seen| seen.open.get() == 0).await;
            }
        }
    });
}

#[test]
fn a_request_that_times_out_in_the_answer_keeps_what_a_failure_said() {
    run(async {
        for (status, is_answer) in [(200, false), (500, true)] {
            let (address, _) = server(move |_, mut tcp, _| async move {
                read_request(&mut tcp).await.expect("a request");
                let text = format!("HTTP/1.1 {status} S\r\nContent-Length: 9\r\n\r\npart");
                tcp.write_all(text.as_bytes()).await.expect("written");
                std::future::pending::<()>().await;
            })
            .await;
            let request = Request { timeout: SOON, ..post("x") };
            match transport(address, &settings()).send(request).await {
                Ok(answer) => {
                    assert!(is_answer);
                    assert_eq!((answer.status, &answer.body[..]), (500, &b"part"[..]));
                }
                Err(error) => {
                    assert!(!is_answer);
                    let verdict = (error.kind, error.applied);
                    assert_eq!(verdict, (TransportErrorKind::Timeout, Applied::Maybe));
                }
            }
        }
    });
}

#[test]
fn a_request_that_finds_no_connection_free_in_time_was_not_sent() {
    run(async {
        let (address, seen) = silent().await;
        let transport = transport(address, &settings_for(1));
        let mut first = pin!(transport.send(post("first")));
        assert!(poll(first.as_mut()).is_pending());
        let late = Request { timeout: Duration::from_millis(50), ..post("second") };
        let both = async {
            tokio::select! {
                _ = first => unreachable!("the server never answers"),
                error = send_err(&transport, late) => error,
            }
        };
        let error = both.await;
        assert_eq!((error.kind, error.applied), (TransportErrorKind::Timeout, Applied::No));
        assert_eq!(seen.connections.get(), 1);
    });
}

#[test]
fn an_abandoned_request_is_closed_and_leaves_room() {
    run(async {
        let (address, seen) = server(|number, mut tcp, seen| async move {
            if number > 0 {
                return crate::kit::answer_all(tcp, seen, OK).await;
            }
            let (head, body) = read_request(&mut tcp).await.expect("a request");
            seen.note(head, body);
            assert!(read_head(&mut tcp).await.is_none(), "closed, without a request");
        })
        .await;
        let transport = transport(address, &settings_for(1));
        tokio::select! {
            _ = transport.send(post("abandoned")) => unreachable!("the server never answers"),
            () = seen.until(|seen| seen.requests.borrow().len() == 1) => {}
        }
        for _ in 0..3 {
            send_ok(&transport).await;
        }
        assert_eq!(seen.connections.get(), 2);
        seen.until(|seen| seen.open.get() == 1).await;
    });
}

#[test]
fn no_connection_is_told_apart_from_no_name() {
    run(async {
        let unused = TcpSocket::new_v4().expect("a socket");
        unused.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        let refused = unused.local_addr().expect("an address");
        let cases = [
            (format!("http://{refused}"), TransportErrorKind::Connect, "refused"),
            // No resolver needs to ask anybody about an empty label.
            ("http://no..where:1".to_owned(), TransportErrorKind::Dns, "no..where"),
        ];
        for (url, kind, words) in cases {
            let endpoints = [url.parse().expect("a URL")];
            let tls = TlsSettings::default();
            let transport =
                HttpTransport::new(&endpoints, &tls, &settings(), TransportLimits::new(1));
            let error = send_err(&transport.expect("a transport"), post("x")).await;
            assert_eq!((error.kind, error.applied), (kind, Applied::No), "{error}");
            assert!(error.detail.contains(words), "{error}");
        }
    });
}

#[test]
fn connecting_has_a_time_limit_of_its_own() {
    run(async {
        // A listener whose queue is full leaves further connections unanswered.
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        let listener = socket.listen(1).expect("listening");
        let address = listener.local_addr().expect("an address");
        let mut queued = Vec::new();
        let patience = Duration::from_millis(200);
        while let Ok(tcp) = tokio::time::timeout(patience, TcpStream::connect(address)).await {
            queued.push(tcp.expect("connected"));
        }
        let connect_timeout = Duration::from_millis(250);
        let transport = transport(address, &ConnectionSettings { connect_timeout, ..settings() });
        let error = send_err(&transport, post("x")).await;
        assert_eq!((error.kind, error.applied), (TransportErrorKind::Connect, Applied::No));
        assert!(error.detail.contains("250 ms"), "{error}");
    });
}

#[test]
fn an_address_of_this_host_is_not_reached_where_that_is_not_permitted() {
    run(async {
        let (address, seen) = friendly().await;
        let public = ConnectionSettings { reach: Reach::Public, ..settings() };
        // Named or written, the address that was found is what counts.
        for host in ["127.0.0.1", "localhost"] {
            let uri: Uri = format!("http://{host}:{}", address.port()).parse().expect("a URL");
            let reaching = |connection: &ConnectionSettings| {
                let limits = TransportLimits::new(1);
                let uris = std::slice::from_ref(&uri);
                HttpTransport::new(uris, &TlsSettings::default(), connection, limits)
                    .expect("a transport")
            };
            let error = send_err(&reaching(&public), post("x")).await;
            assert_eq!((error.kind, error.applied), (TransportErrorKind::Forbidden, Applied::No));
            assert!(seen.heads().is_empty(), "nothing was sent");
        }
        let anywhere = transport(address, &settings());
        anywhere.send(post("x")).await.expect("an answer");
        let fate = judge_transport(&send_err(&transport(address, &public), post("x")).await).fate;
        assert_eq!(fate, Fate::Hold { cause: Cause::Config, scope: Scope::Endpoint });
    });
}

#[test]
fn cookies_stay_with_their_group_and_only_where_they_are_kept() {
    run(async {
        for (cookies, expected) in [(Cookies::Keep, Some("lb=s1")), (Cookies::Ignore, None)] {
            let (address, seen) = server(|_, tcp, seen| {
                let answer = "HTTP/1.1 200 OK\r\nSet-Cookie: lb=s1; Path=/; HttpOnly\r\n\
                              Content-Length: 2\r\n\r\nok";
                crate::kit::answer_all(tcp, seen, answer)
            })
            .await;
            let limits = TransportLimits { cookies, ..TransportLimits::new(2) };
            let tls = TlsSettings::default();
            let transport = HttpTransport::new(&[uri("http", address)], &tls, &settings(), limits);
            let transport = transport.expect("a transport");
            for (group, cookie) in [(0, None), (0, expected), (1, None), (1, expected)] {
                transport.send(Request { group, ..post("x") }).await.expect("an answer");
                let head = seen.heads().pop().expect("a request");
                assert_eq!(header(&head, "cookie"), cookie, "group {group}");
            }
        }
    });
}

#[test]
fn requests_go_to_the_endpoint_they_name() {
    run(async {
        let (first, seen_first) = friendly().await;
        let (second, seen_second) = friendly().await;
        let url = format!("http://user:p%40ss@{second}/es/?k=v");
        let endpoints = [uri("http", first), url.parse().expect("a URL")];
        let tls = TlsSettings::default();
        let transport = HttpTransport::new(&endpoints, &tls, &settings(), TransportLimits::new(1));
        let transport = transport.expect("a transport");
        transport.send(Request { endpoint: 1, ..post("x") }).await.expect("an answer");
        assert_eq!(seen_first.connections.get(), 0);
        let head = seen_second.heads().remove(0);
        assert!(head.starts_with("POST /es/in?k=v HTTP/1.1\r\n"), "{head}");
        assert_eq!(header(&head, "authorization"), Some("Basic dXNlcjpwQHNz"));
        assert_eq!(header(&head, "host"), Some(second.to_string().as_str()));
    });
}

/// A server that reads requests and never answers.
async fn silent() -> (SocketAddr, Rc<Seen>) {
    server(|_, mut tcp, seen| async move {
        while let Some((head, body)) = read_request(&mut tcp).await {
            seen.note(head, body);
        }
    })
    .await
}

fn settings_for(connections_max: usize) -> ConnectionSettings {
    ConnectionSettings { connections_max, ..settings() }
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// More than the socket buffers of both sides hold.
fn large() -> Vec<u8> {
    vec![b'x'; LARGE]
}

const LARGE: usize = 24 << 20;
