//! An API without a cursor, asked again and again: each record once, the oldest first.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use shrike::dialects;
use shrike::event::{Opening, OpeningOptions};
use shrike::intake::{
    Bearer, CheckOptions, Door, DoorOptions, Poll, PollOptions, Positions, SharedDoor,
};

use super::{Host, records};

/// The daemon, as its documentation says: the newest first, at most `limit`, with a token.
struct Daemon {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

/// A connection, encrypted or not.
trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

#[derive(Default)]
struct State {
    /// Records, the oldest first.
    records: Vec<String>,
    /// Those who listen to its stream.
    listeners: Vec<Box<dyn Stream>>,
    /// The limits that were asked for.
    asked: Vec<usize>,
    /// Whether it takes no new connections, because it waits for those that there are to end.
    is_stopping: bool,
}

impl Daemon {
    fn start() -> Self {
        Self::start_with(None)
    }

    fn start_with(tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(Mutex::new(State::default()));
        let serving = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                match &tls {
                    None => serve(Box::new(stream), &serving),
                    Some(tls) => {
                        let session = rustls::ServerConnection::new(Arc::clone(tls));
                        let session = session.expect("the settings are right");
                        serve(Box::new(rustls::StreamOwned::new(session, stream)), &serving);
                    }
                }
            }
        });
        Self { address, state }
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn record(&self, numbers: impl IntoIterator<Item = u32>) {
        self.with(|state| state.records.extend(numbers.into_iter().map(record)));
    }
}

fn record(n: u32) -> String {
    format!(
        "{{\"id\":\"019c32d0-0000-7000-8000-{n:012x}\",\"timestamp\":\"2026-02-06T12:00:01Z\",\
         \"event_type\":\"check\",\"action_type\":\"shell\",\"decision\":\"allowed\",\
         \"message\":\"n{n}\"}}"
    )
}

/// Answers one request; the connection of a listener stays.
fn serve(mut stream: Box<dyn Stream>, state: &Mutex<State>) {
    let mut head = Vec::new();
    let mut piece = [0; 4096];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut piece) {
            Ok(read) if read > 0 => head.extend_from_slice(&piece[..read]),
            _ => return,
        }
    }
    let head = String::from_utf8(head).expect("a head is text").to_lowercase();
    let path = head.split(' ').nth(1).expect("a path");
    let answer = |stream: &mut dyn Stream, status: &str, kind: &str, body: &str| {
        let length = body.len();
        let text = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        // Who went away needs no answer.
        let _gone = stream.write_all(text.as_bytes());
    };
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    if state.is_stopping {
        return;
    }
    if !head.contains("authorization: bearer secret\r\n") {
        return answer(&mut *stream, "401 Unauthorized", "application/json", "{}");
    }
    if path == "/api/v1/events" {
        let text = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n: keep-alive\n\n";
        stream.write_all(text.as_bytes()).expect("it listens");
        state.listeners.push(stream);
        return;
    }
    let limit = path.strip_prefix("/api/v1/audit?limit=").expect("the only other page");
    let limit: usize = limit.parse().expect("a number");
    state.asked.push(limit);
    let page: Vec<&str> = state.records.iter().rev().take(limit).map(String::as_str).collect();
    let body = format!("{{\"events\":[{}],\"total\":{}}}", page.join(","), state.records.len());
    answer(&mut *stream, "200 OK", "application/json", &body);
}

/// A process that asks a daemon, and may start anew.
struct Asking {
    host: Host,
    running: Option<(SharedDoor, Poll)>,
}

impl Asking {
    fn new() -> Self {
        Self { host: Host::new(), running: None }
    }

    fn start(&mut self, daemon: &Daemon, change: impl FnOnce(&mut PollOptions)) {
        self.running = None;
        self.host.log.flush().expect("the disk takes it");
        let path = self.host.path("inputs.json");
        let (positions, torn) = Positions::open(path, &self.host.log.reader()).expect("opens");
        assert_eq!(torn, None);
        let positions = Arc::new(positions);
        let door = SharedDoor::new(Door::new(DoorOptions {
            opening: Arc::new(Opening::new(&OpeningOptions::default())),
            check: CheckOptions {
                dialects: dialects::ALL,
                dedup_window: 0,
                ..CheckOptions::default()
            },
            appender: self.host.log.appender(),
            quarantine: None,
            positions: Some(Arc::clone(&positions)),
        }));
        let mut options = PollOptions {
            url: format!("http://{}", daemon.address).parse().expect("a URL"),
            service: dialects::API,
            token: Some(Bearer::new("secret")),
            tls: None,
            interval: Duration::ZERO,
            from_end: false,
            answer_bytes_max: 64 << 20,
        };
        change(&mut options);
        let poll = Poll::new(options, positions).expect("it can be asked");
        self.running = Some((door, poll));
    }

    fn step(&mut self) {
        let (door, poll) = self.running.as_mut().expect("it runs");
        poll.step(door, &AtomicBool::new(false)).expect("the log takes everything");
    }

    /// Asks until so many events are in the log; their numbers.
    fn numbers(&mut self, events: usize) -> Vec<u32> {
        let begun = Instant::now();
        loop {
            self.step();
            self.host.log.flush().expect("the disk takes it");
            let all = records(&self.host.log);
            if all.len() >= events || begun.elapsed() > Duration::from_secs(40) {
                return all.iter().map(|it| super::number(it)).collect();
            }
        }
    }

    fn gaps(&self) -> u64 {
        self.running.as_ref().expect("it runs").1.account().gaps
    }
}

fn upto(n: u32) -> Vec<u32> {
    (0..n).collect()
}

#[test]
fn records_without_a_cursor_come_once_and_in_order() {
    let daemon = Daemon::start();
    daemon.record(0..250);
    let mut asking = Asking::new();
    asking.start(&daemon, |_| {});
    assert_eq!(asking.numbers(250), upto(250));
    assert_eq!(daemon.with(|state| state.asked.clone()), [100, 200, 400]);
    daemon.record(250..260);
    assert_eq!(asking.numbers(260), upto(260));
    // One was stamped before others and recorded after them.
    daemon.with(|state| state.records.insert(258, record(260)));
    assert_eq!(asking.numbers(261), upto(261));
    daemon.record(261..500);
    asking.start(&daemon, |_| {});
    assert_eq!(asking.numbers(500), upto(500), "while nobody asked");
    for _ in 0..3 {
        asking.step();
    }
    assert_eq!(asking.numbers(500).len(), 500, "nothing comes again");
    assert_eq!(asking.gaps(), 0);
}

#[test]
fn more_records_than_can_be_asked_for_are_a_gap() {
    let daemon = Daemon::start();
    daemon.record(0..1);
    let mut asking = Asking::new();
    asking.start(&daemon, |_| {});
    assert_eq!(asking.numbers(1), [0]);
    // They are no events, which costs less than if they were.
    let none = |n: u32| format!("{{\"id\":\"{n}\"}}");
    daemon.with(|state| state.records.extend((0..13_000).map(none)));
    asking.step();
    assert_eq!(asking.gaps(), 1);
}

/// An answer has its bound: what fits into it comes, and the rest is a gap.
#[test]
fn records_that_are_too_long_together_are_a_gap_and_no_hindrance() {
    let daemon = Daemon::start();
    daemon.record(0..1);
    let mut asking = Asking::new();
    asking.start(&daemon, |options| options.answer_bytes_max = 64 << 10);
    assert_eq!(asking.numbers(1), [0]);
    let long = |n: u32, bytes: usize| {
        record(n).replace("{\"id\"", &format!("{{\"x\":\"{}\",\"id\"", "x".repeat(bytes)))
    };
    // A hundred of them fit, and two hundred do not.
    daemon.with(|state| state.records.extend((1..201).map(|n| long(n, 400))));
    let (first, last) = ([0], 101..201);
    let expected: Vec<u32> = first.into_iter().chain(last).collect();
    assert_eq!((asking.numbers(101), asking.gaps()), (expected.clone(), 1));
    // Not even a hundred fit.
    daemon.with(|state| {
        state.records.clear();
        state.records.extend((201..241).map(|n| long(n, 2_000)));
    });
    let expected: Vec<u32> = expected.into_iter().chain(216..241).collect();
    assert_eq!((asking.numbers(126), asking.gaps()), (expected, 2));
}

#[test]
fn a_record_without_an_id_keeps_nobody_from_the_others() {
    let daemon = Daemon::start();
    daemon.record(0..2);
    daemon.with(|state| state.records.push("{\"event_type\":\"check\"}".to_owned()));
    daemon.record(2..4);
    let mut asking = Asking::new();
    asking.start(&daemon, |_| {});
    assert_eq!(asking.numbers(4), upto(4));
    daemon.record(4..6);
    assert_eq!(asking.numbers(6), upto(6));
    let (_, poll) = asking.running.as_ref().expect("it runs");
    assert_eq!(poll.account().rejected, 1, "it is refused once");
}

#[test]
fn records_that_were_removed_before_they_were_asked_for_are_a_gap() {
    let daemon = Daemon::start();
    daemon.record(0..5);
    let mut asking = Asking::new();
    asking.start(&daemon, |_| {});
    assert_eq!(asking.numbers(5), upto(5));
    // hushd keeps as many of the newest as it is told to (`max_audit_entries`).
    daemon.record(5..20);
    daemon.with(|state| state.records.drain(..8).count());
    assert_eq!(asking.numbers(17), [0, 1, 2, 3, 4, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
    assert_eq!(asking.gaps(), 1);
    daemon.record(20..22);
    daemon.with(|state| state.records.drain(..2).count());
    asking.numbers(19);
    assert_eq!(asking.gaps(), 1, "what is removed behind a known one was read");
    // Nothing is there at all: nothing can be told.
    daemon.with(|state| state.records.clear());
    asking.step();
    assert_eq!(asking.gaps(), 1);
}

#[test]
fn only_what_comes_after_the_very_first_start_is_wanted() {
    let daemon = Daemon::start();
    daemon.record(0..300);
    let mut asking = Asking::new();
    asking.start(&daemon, |options| options.from_end = true);
    asking.step();
    daemon.record(300..302);
    asking.start(&daemon, |options| options.from_end = true);
    assert_eq!(asking.numbers(2), [300, 301]);
}

#[test]
fn a_frame_of_the_stream_is_a_hint_to_ask() {
    let daemon = Daemon::start();
    let mut asking = Asking::new();
    asking.start(&daemon, |options| options.interval = Duration::from_secs(3_600));
    asking.step();
    let begun = Instant::now();
    while daemon.with(|state| state.listeners.is_empty()) {
        assert!(begun.elapsed() < Duration::from_secs(40), "it listens");
        asking.step();
    }
    daemon.record(0..1);
    daemon.with(|state| {
        let frame = b"event: check\ndata: {\"allowed\":true}\n\n";
        let listener = state.listeners.last_mut().expect("it listens");
        listener.write_all(frame).expect("it listens");
    });
    assert_eq!(asking.numbers(1), [0], "an hour before its time");
}

#[test]
fn hints_that_follow_each_other_leave_the_service_its_rest() {
    let daemon = Daemon::start();
    let mut asking = Asking::new();
    asking.start(&daemon, |options| options.interval = Duration::from_secs(3_600));
    let begun = Instant::now();
    while daemon.with(|state| state.listeners.is_empty()) {
        assert!(begun.elapsed() < Duration::from_secs(40), "it listens");
        asking.step();
    }
    let (begun, mut n) = (Instant::now(), 0);
    let before = daemon.with(|state| state.asked.len());
    while begun.elapsed() < Duration::from_secs(1) {
        daemon.record(n..n + 1);
        n += 1;
        daemon.with(|state| {
            let frame = b"event: check\ndata: {\"allowed\":true}\n\n";
            let listener = state.listeners.last_mut().expect("it listens");
            listener.write_all(frame).expect("it listens");
        });
        asking.step();
    }
    // The daemon answers a hundred questions a second of all who ask from one address.
    let tenths = usize::try_from(begun.elapsed().as_millis() / 100).expect("seconds");
    let asked = daemon.with(|state| state.asked.split_off(before));
    // Where more came than a page holds, a look asks for two pages, for four, and so on.
    let page = asked.iter().min().expect("it was asked");
    let looks = asked.iter().filter(|limit| *limit == page).count();
    assert!(looks <= tenths + 2, "{asked:?} in {tenths} tenths of a second");
    assert_eq!(asking.numbers(n as usize), upto(n));
}

#[test]
fn a_service_that_refuses_is_asked_again() {
    let daemon = Daemon::start();
    daemon.record(0..1);
    let mut asking = Asking::new();
    asking.start(&daemon, |options| options.token = Some(Bearer::new("wrong")));
    asking.step();
    assert_eq!(records(&asking.host.log).len(), 0);
    asking.start(&daemon, |_| {});
    assert_eq!(asking.numbers(1), [0]);
}

#[test]
fn a_service_that_stops_does_not_wait_for_who_listens() {
    // It ends once every connection has ended, as hushd does; that is seen by the next question,
    // and where that is far away by the next look whether the stream is still to be had.
    for interval in [Duration::from_secs(1), Duration::from_secs(3_600)] {
        let daemon = Daemon::start();
        let mut asking = Asking::new();
        asking.start(&daemon, |options| options.interval = interval);
        let begun = Instant::now();
        let mut listener = loop {
            assert!(begun.elapsed() < Duration::from_secs(40), "it listens");
            asking.step();
            if let Some(listener) = daemon.with(|state| state.listeners.pop()) {
                break listener;
            }
        };
        daemon.with(|state| state.is_stopping = true);
        let (ended, has_ended) = mpsc::channel();
        std::thread::spawn(move || {
            let _what_it_read = listener.read(&mut [0; 64]);
            ended.send(()).expect("the test waits");
        });
        while has_ended.try_recv().is_err() {
            assert!(begun.elapsed() < Duration::from_secs(40), "asked every {interval:?}");
            asking.step();
        }
    }
}

#[test]
fn a_service_that_is_away_is_waited_for() {
    // Nobody listens there any more.
    let away = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port");
    let daemon = Daemon::start();
    let mut asking = Asking::new();
    asking.start(&daemon, |options| {
        options.url = format!("http://{away}").parse().expect("a URL");
        options.interval = Duration::from_secs(3_600);
    });
    // It asks, then waits for a hint that cannot come.
    for _ in 0..3 {
        asking.step();
    }
    assert_eq!(records(&asking.host.log).len(), 0);
}

#[test]
fn a_service_is_asked_over_tls_and_only_by_its_own_certificate() {
    let pair = || {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]);
        let made = made.expect("a key");
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        (made.cert.der().clone(), key)
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let trusting = |certificate: &CertificateDer<'static>| {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate.clone()).expect("a certificate");
        let config = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("usual versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Some(Arc::new(config))
    };
    let ((certificate, key), (another, _)) = (pair(), pair());
    let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("usual versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .expect("a pair");
    let daemon = Daemon::start_with(Some(Arc::new(server)));
    daemon.record(0..120);
    let url = format!("https://{}", daemon.address);
    let mut asking = Asking::new();
    // Whoever shows another certificate is told nothing, not even the token.
    asking.start(&daemon, |options| {
        options.url = url.parse().expect("a URL");
        options.tls = trusting(&another);
    });
    for _ in 0..3 {
        asking.step();
    }
    assert_eq!(daemon.with(|state| state.asked.len()), 0);
    assert_eq!(records(&asking.host.log).len(), 0);
    asking.start(&daemon, |options| {
        options.url = url.parse().expect("a URL");
        options.tls = trusting(&certificate);
    });
    assert_eq!(asking.numbers(120), upto(120));
}
