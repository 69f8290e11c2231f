//! HTTP/1.1: reuse, bounds, answers of all kinds, and what broken exchanges mean.

use crate::kit::{friendly, header, post, run, send_ok, settings, transport};

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
        drop(post(""));
    });
}
