//! TLS: who is trusted, who is refused, and what the refusal is called.

use std::net::SocketAddr;
use std::time::Duration;

use shrike::deliver::{
    Answer, Applied, ConnectionSettings, Http2, HttpTransport, TlsSettings, TlsVersion, Transport,
    TransportError, TransportErrorKind, TransportLimits, TransportSetupError,
};
use tokio::io::AsyncWriteExt;

use crate::kit::{
    Pki, SOON, Terms, post, read_head, run, send_err, send_ok, server, settings, tls_server, uri,
};

#[test]
fn a_certificate_is_judged_as_the_settings_say() {
    use TransportErrorKind::TlsRejected;
    let good = Pki::new("127.0.0.1");
    let named = Pki::new("es.example");
    let foreign = Pki::new("127.0.0.1");
    let expired = Pki::expired("127.0.0.1");
    let named_as = |pki: &Pki, name: &str| TlsSettings {
        server_name: Some(name.to_owned()),
        ..pki.trusting()
    };
    let careless = TlsSettings { insecure_skip_verify: true, ..TlsSettings::default() };
    // The server's certificate, our settings, words of the refusal.
    let cases = [
        (&good, good.trusting(), None),
        (&good, foreign.trusting(), Some("no trusted authority")),
        (&named, named.trusting(), Some("another name")),
        (&named, named_as(&named, "es.example"), None),
        (&good, named_as(&good, "es.example"), Some("another name")),
        (&expired, expired.trusting(), Some("expired")),
        (&named, careless.clone(), None),
        (&expired, careless, None),
    ];
    run(async {
        for (at, (pki, tls, refusal)) in cases.into_iter().enumerate() {
            let (address, _) = tls_server(pki, &Terms::default()).await;
            match (send(address, &tls, &settings(), 4).await, refusal) {
                (Ok(answer), None) => assert_eq!(answer.status, 200),
                (Err(error), Some(words)) => {
                    assert_eq!((error.kind, error.applied), (TlsRejected, Applied::No), "{error}");
                    assert!(error.detail.contains(words), "case {at}: {error}");
                }
                (result, _) => panic!("case {at}: {result:?}"),
            }
        }
    });
}

#[test]
fn the_systems_authorities_are_trusted_where_none_are_named() {
    run(async {
        let pki = Pki::new("127.0.0.1");
        let (address, _) = tls_server(&pki, &Terms::default()).await;
        let endpoints = [uri("https", address)];
        let tls = TlsSettings::default();
        match HttpTransport::new(&endpoints, &tls, &settings(), TransportLimits::new(1)) {
            Ok(transport) => {
                // The system does not know an authority made a moment ago.
                let error = send_err(&transport, post("x")).await;
                assert_eq!(error.kind, TransportErrorKind::TlsRejected, "{error}");
            }
            Err(error) => assert!(matches!(error, TransportSetupError::Roots { .. }), "{error}"),
        }
    });
}

#[test]
fn versions_below_the_least_are_refused() {
    const OLD: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS12];
    const NEW: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];
    run(async {
        let pki = Pki::new("127.0.0.1");
        let cases = [
            (OLD, TlsVersion::V1_2, true),
            (NEW, TlsVersion::V1_2, true),
            (NEW, TlsVersion::V1_3, true),
            (OLD, TlsVersion::V1_3, false),
        ];
        for (versions, min_version, is_fine) in cases {
            let terms = Terms { versions, ..Terms::default() };
            let (address, _) = tls_server(&pki, &terms).await;
            let tls = TlsSettings { min_version, ..pki.trusting() };
            match send(address, &tls, &settings(), 4).await {
                Ok(_) => assert!(is_fine),
                Err(error) => {
                    assert!(!is_fine, "{error}");
                    assert_eq!(error.kind, TransportErrorKind::TlsRejected);
                    assert!(error.detail.contains("min_version"), "{error}");
                }
            }
        }
    });
}

#[test]
fn a_client_certificate_is_shown_and_its_refusal_understood() {
    run(async {
        let pki = Pki::new("127.0.0.1");
        let foreign = Pki::new("127.0.0.1");
        let stranger =
            TlsSettings { ca_cert_path: pki.trusting().ca_cert_path, ..foreign.presenting() };
        for versions in [[&rustls::version::TLS12].as_slice(), &[&rustls::version::TLS13]] {
            let alpn: [&'static [&'static str]; 2] = [&[], &["h2"]];
            for (alpn, bytes) in alpn.into_iter().flat_map(|alpn| [(alpn, 4), (alpn, 8 << 20)]) {
                let terms = Terms { versions: leak(versions), alpn, wants_client: true };
                let (address, _) = tls_server(&pki, &terms).await;
                let answer = send(address, &pki.presenting(), &settings(), bytes).await;
                assert_eq!(answer.expect("accepted").status, 200);
                // None, and one of an authority that the server does not know. With TLS 1.3 the
                // refusal comes when the request is already on its way.
                for tls in [pki.trusting(), stranger.clone()] {
                    let error = send(address, &tls, &settings(), bytes).await.expect_err("refused");
                    assert_eq!(error.kind, TransportErrorKind::TlsRejected, "{error}");
                    assert_eq!(error.applied, Applied::No);
                    assert!(error.detail.contains("client"), "{error}");
                }
            }
        }
    });
}

#[test]
fn files_that_changed_are_read_before_the_next_connection() {
    run(async {
        let (old, new) = (Pki::new("127.0.0.1"), Pki::new("127.0.0.1"));
        let terms = Terms { wants_client: true, ..Terms::default() };
        let (address, _) = tls_server(&new, &terms).await;
        let transport = open(address, &old.presenting(), &settings()).expect("a transport");
        let error = send_err(&transport, post("x")).await;
        assert!(error.detail.contains("no trusted authority"), "{error}");
        old.file("ca.pem", &new.ca);
        let error = send_err(&transport, post("x")).await;
        assert!(error.detail.contains("client"), "{error}");
        // One of two files is replaced first: what was there is shown on.
        old.file("client.pem", &new.client.0);
        let error = send_err(&transport, post("x")).await;
        assert!(error.detail.contains("client"), "{error}");
        old.file("client.key", &new.client.1);
        send_ok(&transport).await;
        // Nor does a file that is gone for a moment take anything away.
        let tls = new.presenting();
        let (other, _) = tls_server(&new, &terms).await;
        let transport = open(other, &tls, &settings()).expect("a transport");
        std::fs::remove_file(tls.client_key_path.expect("it is named")).expect("ours");
        send_ok(&transport).await;
    });
}

#[test]
fn a_pin_holds_where_nothing_else_is_asked() {
    run(async {
        let pki = Pki::new("es.example");
        let (address, _) = tls_server(&pki, &Terms::default()).await;
        let pinned = |fingerprint| TlsSettings {
            insecure_skip_verify: true,
            fingerprint: Some(fingerprint),
            ..Pki::new("other.example").trusting()
        };
        let right = send(address, &pinned(pki.fingerprint()), &settings(), 4).await;
        assert_eq!(right.expect("it is the one").status, 200);
        let wrong = send(address, &pinned([7; 32]), &settings(), 4).await.expect_err("another");
        assert_eq!(wrong.kind, TransportErrorKind::TlsRejected, "{wrong}");
    });
}

#[test]
fn a_handshake_that_breaks_off_may_heal() {
    run(async {
        let pki = Pki::new("127.0.0.1");
        // What the server says to a hello; nothing and open is a time limit's matter.
        let cases = [
            (Some(""), "closed"),
            (Some("HTTP/1.1 400 Bad Request\r\n\r\n"), "plaintext"),
            (None, "1000 ms"),
        ];
        for (says, words) in cases {
            let (address, _) = server(move |_, mut tcp, _| async move {
                tcp.readable().await.expect("open");
                // All of the hello, so that closing does not reset.
                let _ = tcp.try_read(&mut [0; 4096]);
                match says {
                    Some(text) => tcp.write_all(text.as_bytes()).await.expect("written"),
                    None => std::future::pending().await,
                }
            })
            .await;
            let connect_timeout = match says {
                Some(_) => Duration::from_secs(5),
                None => SOON,
            };
            let connection = ConnectionSettings { connect_timeout, ..settings() };
            let error = send(address, &pki.trusting(), &connection, 4).await.expect_err("no TLS");
            let verdict = (error.kind, error.applied);
            assert_eq!(verdict, (TransportErrorKind::TlsIo, Applied::No), "{error}");
            assert!(error.detail.contains(words), "{error}");
        }
    });
}

#[test]
fn a_second_connection_resumes_the_session_of_the_first() {
    run(async {
        let pki = Pki::new("127.0.0.1");
        let (address, seen) = tls_server(&pki, &Terms::default()).await;
        let connection = ConnectionSettings { age_max: Duration::ZERO, ..settings() };
        let transport = open(address, &pki.trusting(), &connection).expect("a transport");
        send_ok(&transport).await;
        send_ok(&transport).await;
        let heads = seen.heads();
        assert_eq!(heads[0], "handshake Some(Full)");
        assert_eq!(heads[2], "handshake Some(Resumed)");
    });
}

#[test]
fn no_session_is_resumed_where_our_certificate_is_asked_for() {
    run(async {
        let pki = Pki::new("127.0.0.1");
        let terms = Terms { wants_client: true, ..Terms::default() };
        let (address, seen) = tls_server(&pki, &terms).await;
        let connection = ConnectionSettings { age_max: Duration::ZERO, ..settings() };
        let transport = open(address, &pki.presenting(), &connection).expect("a transport");
        send_ok(&transport).await;
        send_ok(&transport).await;
        let heads = seen.heads();
        assert_eq!(heads[0], "handshake Some(Full)");
        assert_eq!(heads[2], "handshake Some(Full)");
    });
}

#[test]
fn a_large_body_arrives_as_it_was() {
    run(async {
        let pki = Pki::new("127.0.0.1");
        for http2 in [Http2::Auto, Http2::Off] {
            let terms = Terms { alpn: &["h2", "http/1.1"], ..Terms::default() };
            let (address, seen) = tls_server(&pki, &terms).await;
            let connection = ConnectionSettings { http2, ..settings() };
            let transport = open(address, &pki.trusting(), &connection).expect("a transport");
            let body: Vec<u8> = (0..5_000_011_u32).map(|n| (n % 251) as u8).collect();
            for round in 1..3 {
                let answer = transport.send(post(body.clone())).await.expect("an answer");
                assert_eq!(answer.status, 200);
                assert!(seen.requests.borrow()[round].1 == body, "the body changed on its way");
            }
        }
    });
}

#[test]
fn an_answer_that_comes_before_the_body_is_sent_is_the_answer() {
    run(async {
        let pki = Pki::new("127.0.0.1");
        let acceptor = pki.acceptor(&Terms::default());
        let (address, _) = server(move |_, tcp, _| {
            let acceptor = acceptor.clone();
            async move {
                let mut tls = acceptor.accept(tcp).await.expect("a handshake");
                read_head(&mut tls).await.expect("a head");
                let answer = "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 3\r\n\r\nbig";
                tls.write_all(answer.as_bytes()).await.expect("written");
                tls.flush().await.expect("flushed");
            }
        })
        .await;
        let transport = open(address, &pki.trusting(), &settings()).expect("a transport");
        for _ in 0..6 {
            let answer = transport.send(post(vec![b'x'; 24 << 20])).await.expect("an answer");
            assert_eq!((answer.status, &answer.body[..]), (413, &b"big"[..]));
        }
    });
}

#[test]
fn a_mistake_in_a_file_is_named_with_its_line() {
    let pki = Pki::new("127.0.0.1");
    let other = Pki::new("127.0.0.1");
    let two = format!("comment\n{}{}", pki.ca, pki.ca);
    // The second certificate loses a character of its fourth line.
    let begin = two.lines().enumerate().filter(|(_, line)| line.starts_with("-----BEGIN"));
    let (line, _) = begin.last().expect("two certificates");
    let damage =
        |(at, text): (usize, &str)| if at == line + 3 { "?".to_owned() } else { text.to_owned() };
    let damaged: Vec<String> = two.lines().enumerate().map(damage).collect();
    let empty = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let locked =
        "\n-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let ca = |text: &str| TlsSettings {
        ca_cert_path: Some(pki.file("ca.pem", text)),
        ..TlsSettings::default()
    };
    let key = |text: &str| TlsSettings {
        client_cert_path: Some(pki.file("c.pem", &pki.client.0)),
        client_key_path: Some(pki.file("c.key", text)),
        ..pki.trusting()
    };
    // The file's text is read when the case runs, so each is judged before the next is written.
    let check = |tls: TlsSettings, words: &[&str]| {
        let address = "127.0.0.1:1".parse().expect("an address");
        let error = open(address, &tls, &settings()).map(drop).expect_err("a mistake").to_string();
        for word in words {
            assert!(error.contains(word), "{word:?} is not in: {error}");
        }
    };
    let line = format!("line {}", line + 1);
    check(ca(&damaged.join("\n")), &["tls.ca_cert_path", "ca.pem", &line, "damaged", "expected"]);
    check(ca(empty), &["ca.pem line 1", "not a certificate", "expected PEM certificates"]);
    check(ca(""), &["ca.pem line 1", "no certificate"]);
    check(ca(&pki.client.1), &["ca.pem line 1", "no certificate"]);
    check(key(locked), &["tls.client_key_path", "c.key line 2", "encrypted", "openssl pkey"]);
    check(key(&pki.client.0), &["c.key line 1", "no private key"]);
    check(
        key("-----BEGIN PRIVATE KEY-----\n?\n-----END PRIVATE KEY-----\n"),
        &["c.key line 1", "damaged"],
    );
    check(key(&other.client.1), &["c.key", "cannot be used", "expected the private key of"]);
    let nowhere = Some("/nowhere/ca.pem".into());
    check(
        TlsSettings { ca_cert_path: nowhere, ..ca("") },
        &["tls.ca_cert_path", "/nowhere/ca.pem"],
    );
    let half = TlsSettings { client_key_path: None, ..key("") };
    check(half, &["tls.client_key_path", "missing", "expected both"]);
    let name = Some("not a name".to_owned());
    check(TlsSettings { server_name: name, ..pki.trusting() }, &["tls.server_name", "not a name"]);
}

fn open(
    address: SocketAddr,
    tls: &TlsSettings,
    connection: &ConnectionSettings,
) -> Result<HttpTransport, TransportSetupError> {
    HttpTransport::new(&[uri("https", address)], tls, connection, TransportLimits::new(2))
}

async fn send(
    address: SocketAddr,
    tls: &TlsSettings,
    connection: &ConnectionSettings,
    bytes: usize,
) -> Result<Answer, TransportError> {
    let transport = open(address, tls, connection).expect("a transport");
    transport.send(post(vec![b'x'; bytes])).await
}

/// The server's list of versions lives as long as the program.
fn leak(
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> &'static [&'static rustls::SupportedProtocolVersion] {
    versions.to_vec().leak()
}
