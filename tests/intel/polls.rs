//! Polls of TAXII servers over real sockets.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use loadgen::fake::{TaxiiManner, TaxiiTerms};
use shrike::deliver::Secret;
use shrike::event::Time;
use shrike::intel::{Client, FeedSpec, PollError, Progress, ServerSpec, TaxiiAuth, TaxiiVersion};

use crate::served::{Served, added, added_at, first, key, poll, tls, values};

const OBJECTS: &str = "/api1/collections/91a7b528-80eb-42ed-a74d-c6fbd5a26116/objects/";
const COLLECTION: &str = "/api1/collections/91a7b528-80eb-42ed-a74d-c6fbd5a26116/";

fn old() -> TaxiiTerms {
    TaxiiTerms { is_2_1: false, ..TaxiiTerms::default() }
}

/// Some time before now, in a poll's overlap with the server's clock.
fn is_about_now(time: Time) -> bool {
    let ago = Time::now().secs - time.secs;
    (0..30).contains(&ago)
}

#[test]
fn a_feed_is_read_page_by_page_and_then_from_where_it_was() {
    let served = Served::new(TaxiiTerms::default(), "");
    served.fill(0..250);
    let mut client = Client::open(&served.spec()).expect("it opens");
    let (found, polled) = poll(&mut client, Progress::default(), true);
    let polled = polled.expect("read");
    assert_eq!(found, values(0..250));
    assert_eq!((polled.pages, polled.anomalies, polled.is_cut), (3, 0, false));
    assert_eq!(polled.progress.cursor, Some(added_at(249)));
    assert!(polled.progress.synced.is_some_and(is_about_now));
    let query = "?limit=100&match%5Btype%5D=indicator";
    let asked = served.feed.take_asked();
    let expected = [
        "/taxii2/".to_owned(),
        "/api1/".to_owned(),
        COLLECTION.to_owned(),
        format!("{OBJECTS}{query}"),
        format!("{OBJECTS}{query}&next=p%2F0%2B100"),
        format!("{OBJECTS}{query}&next=p%2F1%2B200"),
    ];
    assert_eq!(asked, expected);

    // Nothing is new, and then something.
    let (found, polled) = poll(&mut client, polled.progress, false);
    let again = polled.expect("read");
    assert!(found.is_empty());
    assert_eq!(again.progress.cursor, Some(added_at(249)));
    let after = added(249).replace(':', "%3A");
    let query = format!("?added_after={after}&limit=100&match%5Btype%5D=indicator");
    assert_eq!(served.feed.take_asked(), [format!("{OBJECTS}{query}")]);
    served.fill(250..253);
    let (found, polled) = poll(&mut client, again.progress, false);
    assert_eq!(found, values(250..253));
    assert_eq!(polled.expect("read").progress.cursor, Some(added_at(252)));
    served.end();
}

#[test]
fn taxii_2_0_is_read_by_ranges() {
    for range_mark in ['=', ' '] {
        read_by_ranges(TaxiiTerms { page_max: 70, range_mark, ..old() });
    }
}

fn read_by_ranges(terms: TaxiiTerms) {
    let served = Served::new(terms, "");
    served.fill(0..150);
    let mut client = Client::open(&served.spec()).expect("it opens");
    let (found, polled) = poll(&mut client, Progress::default(), true);
    let polled = polled.expect("read");
    assert_eq!(found, values(0..150));
    assert_eq!((polled.pages, polled.anomalies), (3, 0));
    assert_eq!(polled.progress.cursor, Some(added_at(149)));
    assert_eq!(served.feed.take_asked()[0], "/taxii/");
    served.fill(150..151);
    let (found, polled) = poll(&mut client, polled.progress, false);
    assert_eq!(found, values(150..151));
    assert_eq!(polled.expect("read").progress.cursor, Some(added_at(150)));
    served.end();
}

#[test]
fn an_empty_feed_is_read() {
    for terms in [TaxiiTerms::default(), old()] {
        let served = Served::new(terms, "");
        let (found, polled) = first(&served.spec());
        let progress = polled.expect("read").progress;
        assert!(found.is_empty() && progress.cursor.is_none() && progress.synced.is_some());
        served.end();
    }
}

#[test]
fn a_written_api_root_needs_no_discovery() {
    let served = Served::new(TaxiiTerms::default(), "on taxii2 status 404");
    served.fill(0..1);
    let port = served.fake.addr().port();
    for root in ["/api1/", "api1", &format!("http://localhost:{port}/api1")] {
        let spec = ServerSpec { api_root: Some(root.to_owned()), ..served.spec() };
        assert_eq!(first(&spec).0, values(0..1));
    }
    // What an API root says of itself is not needed either.
    let spec = ServerSpec { api_root: Some("http://other.example/api1/".into()), ..served.spec() };
    let error = Client::open(&spec).expect_err("it would get the credentials").to_string();
    assert!(error.contains("elsewhere than http://localhost"), "{error}");
    served.end();
}

#[test]
fn kinds_and_a_begin_can_be_asked_for() {
    let served = Served::new(TaxiiTerms::default(), "");
    served.fill(0..10);
    let feed = FeedSpec {
        include_types: vec!["indicator".into(), "relationship".into()],
        added_after: Some(added_at(6)),
        ..FeedSpec::default()
    };
    let (found, polled) = first(&ServerSpec { feed, ..served.spec() });
    assert_eq!(found, values(7..10));
    assert!(polled.is_ok());
    let last = served.feed.take_asked().pop().expect("asked");
    assert!(last.contains("match%5Btype%5D=indicator%2Crelationship"), "{last}");
    let feed = FeedSpec { include_types: Vec::new(), ..FeedSpec::default() };
    first(&ServerSpec { feed, ..served.spec() }).1.expect("read");
    served.end();
}

#[test]
fn three_kinds_of_credentials_are_given() {
    let user = ("us\u{e9}r".to_owned(), "pa:ss".to_owned());
    let basic = TaxiiAuth::Basic {
        username: Secret::new(user.0.clone()),
        password: Secret::new(user.1.clone()),
    };
    let own = TaxiiAuth::Header {
        name: "X-OTX-API-KEY".to_owned(),
        value: Secret::new("k3y".to_owned()),
    };
    let header = |name, value: &str| TaxiiTerms {
        header: Some((name, value.to_owned())),
        ..TaxiiTerms::default()
    };
    let cases = [
        (TaxiiTerms { user: Some(user), ..TaxiiTerms::default() }, basic),
        (header("authorization", "Bearer k3y"), key("Bearer k3y")),
        (header("x-otx-api-key", "k3y"), own),
    ];
    for (terms, auth) in cases {
        let served = Served::new(terms, "");
        served.fill(0..1);
        let (found, _) = first(&ServerSpec { auth, ..served.spec() });
        assert_eq!(found, values(0..1));
        served.feed.take_asked();
        let (found, polled) = first(&ServerSpec { auth: key("Bearer wrong"), ..served.spec() });
        let error = polled.expect_err("it is refused");
        assert!(found.is_empty() && matches!(error, PollError::Auth { .. }), "{error}");
        assert!(!error.to_string().contains("wrong"), "{error}");
        // Once more, in case that what was read from files is another by now.
        assert_eq!(served.feed.take_asked(), ["/taxii2/", "/taxii2/"]);
        served.end();
    }
}

#[test]
fn a_certificate_tells_who_we_are() {
    let dir = tempfile::tempdir().expect("a directory");
    let served = Served::new(TaxiiTerms { needs_certificate: true, ..TaxiiTerms::default() }, "");
    served.fill(0..1);
    let with = tls(&served.fake, dir.path(), true);
    let (found, polled) = first(&ServerSpec { tls: with.clone(), ..served.spec() });
    assert_eq!(found, values(0..1), "{polled:?}");
    let without = tls(&served.fake, dir.path(), false);
    let (_, polled) = first(&ServerSpec { tls: without, ..served.spec() });
    let error = polled.expect_err("it is refused");
    assert!(!error.is_outage(), "{error}");
    // What lies in the files when a poll begins is shown.
    let renewed = tls(&served.fake, dir.path(), true);
    let files = [&renewed.client_cert_path, &renewed.client_key_path]
        .map(|path| path.clone().expect("it has one"));
    let good = files.each_ref().map(|path| std::fs::read(path).expect("it is ours"));
    let put = |texts: [&[u8]; 2]| {
        for (path, text) in files.iter().zip(texts) {
            std::fs::write(path, text).expect("it is ours");
        }
    };
    let strange = rcgen::generate_simple_self_signed(Vec::new()).expect("a key");
    put([strange.cert.pem().as_bytes(), strange.signing_key.serialize_pem().as_bytes()]);
    let spec = ServerSpec { tls: renewed, ..served.spec() };
    let mut client = Client::open(&spec).expect("it opens");
    poll(&mut client, Progress::default(), true).1.expect_err("a stranger is refused");
    put([&good[0], &good[1]]);
    let (found, polled) = poll(&mut client, Progress::default(), true);
    assert_eq!(found, values(0..1), "{polled:?}");
    // Certificates of this authority are not trusted without it.
    let unknown = shrike::deliver::TlsSettings { ca_cert_path: None, ..with };
    let (_, polled) = first(&ServerSpec { tls: unknown, ..served.spec() });
    assert!(matches!(polled, Err(PollError::Config { .. })), "{polled:?}");
    served.end();
}

#[test]
fn what_passes_is_tried_again() {
    let scripts = [
        "requests 3..4 status 503",
        "requests 4..5 status 500",
        "requests 0..1 status 429",
        "requests 4..5 reset after",
        "requests 4..5 lost",
        "requests 4..6 status 504",
    ];
    for script in scripts {
        let served = Served::new(TaxiiTerms::default(), script);
        served.fill(0..150);
        let (found, polled) = first(&served.spec());
        assert_eq!(found, values(0..150), "{script}: {polled:?}");
        served.end();
    }
}

#[test]
fn retry_after_is_honoured() {
    let served = Served::new(TaxiiTerms::default(), "requests 3..4 throttle 3s");
    served.fill(0..1);
    let begun = Instant::now();
    let (found, _) = first(&served.spec());
    assert_eq!(found, values(0..1));
    assert!(begun.elapsed() >= Duration::from_secs(3));
    served.end();
}

#[test]
fn what_was_read_before_an_outage_stays_and_is_read_again() {
    let served = Served::new(TaxiiTerms::default(), "requests 4..9 status 503");
    served.fill(0..150);
    let mut client = Client::open(&served.spec()).expect("it opens");
    let (found, polled) = poll(&mut client, Progress::default(), true);
    let error = polled.expect_err("it is away");
    assert!(error.is_outage() && error.to_string().contains("status 503"), "{error}");
    assert_eq!(found, values(0..100));
    let (found, polled) = poll(&mut client, Progress::default(), true);
    assert_eq!(found, values(0..150), "{polled:?}");
    served.end();
}

#[test]
fn what_does_not_fit_is_told() {
    let served = Served::new(TaxiiTerms { can_read: false, ..TaxiiTerms::default() }, "");
    let spec = served.spec();
    let text = |spec: &ServerSpec| {
        let error = first(spec).1.expect_err("it does not fit");
        assert!(matches!(error, PollError::Config { .. }), "{error}");
        error.to_string()
    };
    assert!(text(&spec).contains("`can_read` is false"));
    for (script, expected) in [
        ("on objects status 404", "see `api_root` and `collection_id`"),
        ("on taxii2 status 404", "see `url` and `version`, or set `api_root`"),
        ("status 301", "redirects are not followed"),
        ("status 400", "see `url`, `version` and `feed`"),
        ("status 406", "neither TAXII 2.1 nor 2.0"),
        ("status 415", "neither TAXII 2.1 nor 2.0"),
    ] {
        let served = Served::new(TaxiiTerms::default(), script);
        let told = text(&served.spec());
        assert!(told.contains(expected), "{script}: {told}");
        served.end();
    }
    let unknown = ServerSpec { collection_id: "a/../b".into(), ..spec };
    assert!(text(&unknown).contains("see `api_root` and `collection_id`"));
    assert_eq!(served.feed.take_asked().last().expect("asked"), "/api1/collections/a%2F..%2Fb/");
    served.fake.stop();
}

#[test]
fn the_other_version_is_tried_once() {
    for (terms, other) in [(old(), TaxiiVersion::V2_1), (TaxiiTerms::default(), TaxiiVersion::V2_0)]
    {
        // The fake takes its own paths and types only, and says 406 to those of the other.
        let served = Served::new(terms, "");
        served.fill(0..120);
        let spec =
            ServerSpec { version: other, api_root: Some("/api1/".to_owned()), ..served.spec() };
        let mut client = Client::open(&spec).expect("it opens");
        let (found, polled) = poll(&mut client, Progress::default(), true);
        assert_eq!(found, values(0..120), "{polled:?}");
        served.feed.take_asked();
        // It is remembered.
        let (_, polled) = poll(&mut client, polled.expect("read").progress, false);
        polled.expect("read");
        assert_eq!(served.feed.take_asked().len(), 1);
        served.fake.stop();
    }
}

#[test]
fn too_much_is_halved() {
    for terms in [TaxiiTerms::default(), old()] {
        let served = Served::new(terms, "");
        served.fill(0..60);
        served.feed.set_manner(TaxiiManner::TooLargeAbove(30));
        let (found, polled) = first(&served.spec());
        assert_eq!(found, values(0..60));
        assert_eq!(polled.expect("read").pages, 3, "25 objects each");
        served.feed.set_manner(TaxiiManner::TooLargeAbove(0));
        let (_, polled) = first(&served.spec());
        let error = polled.expect_err("not even one").to_string();
        assert!(error.contains("status 413") && error.contains("one object"), "{error}");
        served.end();
    }
}

#[test]
fn an_answer_has_a_bound() {
    let served = Served::new(TaxiiTerms::default(), "");
    served.fill(0..60);
    let bounded = |response_bytes_max| {
        let feed = FeedSpec { response_bytes_max, ..FeedSpec::default() };
        first(&ServerSpec { feed, ..served.spec() })
    };
    let (found, polled) = bounded(10_000);
    assert_eq!(found, values(0..60), "{polled:?}");
    let (_, polled) = bounded(300);
    let error = polled.expect_err("one is longer").to_string();
    assert!(error.contains("longer than `max_response_bytes` (300)"), "{error}");
    served.end();
}

#[test]
fn paging_that_contradicts_itself_ends() {
    let cases = [
        (TaxiiManner::RepeatsPage, 100, true),
        (TaxiiManner::MoreWithoutNext, 100, true),
        (TaxiiManner::NextWithoutMore, 100, false),
    ];
    for (manner, count, is_cut) in cases {
        let served = Served::new(TaxiiTerms::default(), "");
        served.fill(0..250);
        served.feed.set_manner(manner);
        let mut client = Client::open(&served.spec()).expect("it opens");
        let (mut found, polled) = poll(&mut client, Progress::default(), true);
        let polled = polled.expect("read");
        let repeated = found.split_off(count as usize);
        assert_eq!(found, values(0..count), "{manner:?}");
        assert!(repeated.is_empty() || repeated == values(0..100), "{manner:?}");
        assert_eq!((polled.anomalies, polled.is_cut), (1, is_cut), "{manner:?}");
        assert_eq!(polled.progress.sync_begun.is_some(), is_cut);
        // The next poll goes on there.
        served.feed.set_manner(TaxiiManner::Proper);
        let (found, polled) = poll(&mut client, polled.progress, false);
        let from = if is_cut { count - 1 } else { count };
        assert_eq!(found, values(from..250), "{manner:?}");
        let progress = polled.expect("read").progress;
        assert!(progress.synced.is_some() && progress.sync_begun.is_none());
        served.end();
    }
}

/// A `next` is opaque: one that stands for a session, as in OASIS's medallion, is always the same.
#[test]
fn next_may_stay_the_same_while_pages_go_on() {
    let served = Served::new(TaxiiTerms::default(), "");
    served.fill(0..450);
    served.feed.set_manner(TaxiiManner::KeepsNext);
    let (found, polled) = first(&served.spec());
    let polled = polled.expect("read");
    assert_eq!(found, values(0..450));
    assert_eq!((polled.pages, polled.anomalies, polled.is_cut), (5, 0, false));
    served.end();
}

#[test]
fn a_poll_has_a_bound_and_the_next_goes_on() {
    for terms in [TaxiiTerms::default(), old()] {
        let served = Served::new(terms, "");
        served.fill(0..250);
        let feed = FeedSpec { pages_max: 2, ..FeedSpec::default() };
        let mut client = Client::open(&ServerSpec { feed, ..served.spec() }).expect("it opens");
        let (found, polled) = poll(&mut client, Progress::default(), true);
        let polled = polled.expect("read");
        assert_eq!(found, values(0..200));
        assert!(polled.is_cut && polled.progress.synced.is_none());
        assert_eq!(polled.anomalies, 0);
        let (found, polled) = poll(&mut client, polled.progress, false);
        assert_eq!(found, values(199..250));
        let progress = polled.expect("read").progress;
        assert_eq!((progress.cursor, progress.sync_begun), (Some(added_at(249)), None));
        served.end();
    }
}

#[test]
fn without_its_dates_the_servers_clock_tells() {
    let served = Served::new(TaxiiTerms::default(), "");
    served.fill(0..3);
    served.feed.set_manner(TaxiiManner::NoDates);
    let (_, polled) = first(&served.spec());
    let cursor = polled.expect("read").progress.cursor.expect("a date");
    assert!(is_about_now(cursor), "{cursor:?}");
    served.end();
}

#[test]
fn an_answer_that_breaks_off_is_no_end() {
    let served = Served::new(TaxiiTerms::default(), "");
    served.fill(0..3);
    served.feed.set_manner(TaxiiManner::BrokenJson);
    let (found, polled) = first(&served.spec());
    let error = polled.expect_err("half a page is none");
    assert!(found.is_empty() && error.is_outage(), "{error}");
    assert!(error.to_string().contains("expected a JSON object"), "{error}");
    served.end();

    // Half of the bytes that were promised.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    let server = std::thread::spawn(move || {
        let mut count = 0;
        for socket in listener.incoming() {
            let Ok(mut socket) = socket else { continue };
            let mut request = [0; 4096];
            let read = socket.read(&mut request).expect("a request");
            if read == 0 || request.starts_with(b"GET /end") {
                break;
            }
            count += 1;
            let head = "HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{\"objects\":[";
            socket.write_all(head.as_bytes()).expect("sent");
        }
        count
    });
    let spec = ServerSpec {
        url: format!("http://localhost:{port}").parse().expect("a URL"),
        api_root: Some("/a/".to_owned()),
        collection_id: "c".to_owned(),
        ..ServerSpec::default()
    };
    let error = first(&spec).1.expect_err("it breaks off");
    assert!(error.is_outage(), "{error}");
    let mut end = std::net::TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    end.write_all(b"GET /end HTTP/1.1\r\n\r\n").expect("sent");
    assert_eq!(server.join().expect("it ends"), 5, "once, and four times again");
}
