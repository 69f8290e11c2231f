//! The receiver of syslog against hand-written messages.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;

use loadgen::account::{Book, Report};
use loadgen::fake::syslog::{Syslog, Transport};
use loadgen::id::EventId;

/// A message with the event of this number in its structured data.
fn message(sequence: u64) -> String {
    let id = EventId { sequence, scheduled_ns: 1_770_381_000_000_000_000, run: 7 }.text();
    format!(
        "<86>1 2026-02-06T09:00:00.125Z h app a-1 guard_block [shrike@32473 eventId=\"{id}\"] x"
    )
}

fn report(transport: Transport, send: impl FnOnce(SocketAddr)) -> Report {
    let listen = "127.0.0.1:0".parse().expect("an address");
    let fake = Syslog::start(Arc::new(Book::new("syslog")), listen, transport, 1);
    let fake = fake.expect("there is a free port");
    send(fake.addr());
    fake.settle();
    fake.report()
}

fn stream(addr: SocketAddr, bytes: &[u8]) {
    let mut tcp = TcpStream::connect(addr).expect("it listens");
    tcp.write_all(bytes).expect("it reads");
}

#[test]
fn every_framing_is_read_and_every_event_is_booked_once() {
    let counted = |addr| {
        let bytes: String = (0..3)
            .map(|sequence| format!("{} {}", message(sequence).len(), message(sequence)))
            .collect();
        stream(addr, bytes.as_bytes());
    };
    let lines = |addr| {
        let bytes: String = (0..3).map(|sequence| message(sequence) + "\n").collect();
        stream(addr, bytes.as_bytes());
    };
    let datagrams = |addr| {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        for sequence in 0..3 {
            socket.send_to(message(sequence).as_bytes(), addr).expect("it is sent");
        }
    };
    for report in [
        report(Transport::Counted, counted),
        report(Transport::Lines, lines),
        report(Transport::Udp, datagrams),
    ] {
        assert_eq!((report.events, report.problems.len()), (3, 0), "{report:?}");
        assert_eq!(report.run, Some(7));
    }
}

#[test]
fn what_breaks_the_rules_is_told() {
    let cases: [(Transport, Vec<u8>, &str); 4] = [
        (Transport::Counted, b"012 <1>1 - - - -".to_vec(), "no count before a message"),
        (Transport::Counted, b"99999999 x".to_vec(), "longer than 64 KiB"),
        (Transport::Lines, message(1).replace("eventId=", "event id=").into_bytes(), "SD-NAME"),
        (Transport::Lines, b"<999>1 - - - - - -".to_vec(), "PRIVAL"),
    ];
    for (transport, bytes, expected) in cases {
        let report = report(transport, |addr| stream(addr, &[&bytes[..], b"\n"].concat()));
        let told = report.problems.keys().any(|what| what.contains(expected));
        assert!(told, "{expected}: {:?}", report.problems);
    }
    let long = message(1) + &"x".repeat(2048);
    let report = report(Transport::Udp, |addr| {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        socket.send_to(long.as_bytes(), addr).expect("it is sent");
    });
    assert!(report.problems.keys().any(|what| what.contains("RFC 5426")), "{report:?}");
}
