//! HTTP/2: one connection for many requests, and the frames that say what was not applied.

use shrike::deliver::{ConnectionSettings, Http2, HttpTransport, Transport, TransportLimits};

use crate::kit::{
    Pki, Terms, answer_streams, post, run, send_ok, server, settings, tls_server, transport, uri,
};

#[test]
fn http2_is_taken_where_alpn_offers_it() {
    run(async {
        let pki = Pki::new("127.0.0.1");
        let terms = Terms { alpn: &["h2", "http/1.1"], ..Terms::default() };
        // The setting, and whether a stream or an HTTP/1.1 request arrives.
        for (http2, is_stream) in [(Http2::Auto, true), (Http2::H2c, true), (Http2::Off, false)] {
            let (address, seen) = tls_server(&pki, &terms).await;
            let connection = ConnectionSettings { http2, ..settings() };
            let endpoints = [uri("https", address)];
            let limits = TransportLimits::new(2);
            let transport = HttpTransport::new(&endpoints, &pki.trusting(), &connection, limits)
                .expect("a transport");
            send_ok(&transport).await;
            send_ok(&transport).await;
            let heads = seen.heads();
            assert_eq!(heads.len(), 3, "{heads:?}");
            assert_eq!(heads[1].contains("HTTP/1.1"), !is_stream, "{}", heads[1]);
        }
    });
}

#[test]
fn http2_without_tls_is_spoken_where_the_setting_says_so() {
    run(async {
        let (address, seen) = server(|_, tcp, seen| answer_streams(tcp, seen)).await;
        let transport = transport(address, &ConnectionSettings { http2: Http2::H2c, ..settings() });
        let body = vec![b'x'; 1_000_000];
        let answer = transport.send(post(body.clone())).await.expect("an answer");
        assert_eq!(answer.status, 200);
        assert_eq!(seen.requests.borrow()[0].1, body);
        assert_eq!(seen.connections.get(), 1);
    });
}
