//! Faults: what a client sees, and what the account says of it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use loadgen::fake::{Auth, Fake};
use loadgen::id::EventId;

use crate::client::{elastic, options, send};

const NDJSON: (&str, &str) = ("Content-Type", "application/x-ndjson");
const BULK: &str = "POST /_bulk";

fn item(sequence: u64) -> String {
    let id = EventId { sequence, scheduled_ns: 1_795_191_846_000_000_000, run: 1 }.text();
    format!("{{\"create\":{{\"_index\":\"logs\",\"_id\":\"{id}\"}}}}\n{{}}\n")
}

fn fake(script: &str) -> Fake {
    elastic(options(script), Auth::Anybody)
}

#[test]
fn what_is_lost_before_applying_is_not_stored_and_after_is() {
    for (script, is_stored) in [
        ("reset before", false),
        ("hang 1ms", false),
        ("reset after", true),
        ("lost", true),
        ("mute 1ms", true),
    ] {
        let fake = fake(script);
        send(&fake, BULK, &[NDJSON], item(0).as_bytes()).expect_err(script);
        let report = fake.report();
        assert_eq!(report.events, u64::from(is_stored), "{script}");
        assert_eq!(report.statuses.get(&0), Some(&1), "{script}: {report:?}");
        assert_eq!(report.accepted.events, 0, "{script}: nobody was told");
    }
}

#[test]
fn a_reset_is_a_reset_and_a_loss_is_an_end() {
    for (script, kind) in [
        ("reset before", Some(std::io::ErrorKind::ConnectionReset)),
        ("reset after", Some(std::io::ErrorKind::ConnectionReset)),
        ("lost", None),
    ] {
        let fake = fake(script);
        let mut socket = TcpStream::connect(fake.addr()).expect("it listens");
        let body = item(0);
        let head = "POST /_bulk HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
        write!(socket, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).expect("it is sent");
        let mut bytes = Vec::new();
        let read = socket.read_to_end(&mut bytes);
        assert_eq!(read.err().map(|error| error.kind()), kind, "{script}");
        assert!(bytes.is_empty(), "{script}: {}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn statuses_and_retry_after_come_as_scripted() {
    let cases = [
        ("status 503", 503, ""),
        ("status 502", 502, "text/html"),
        ("throttle 7s", 429, "retry-after: 7"),
        ("throttle 5s date", 429, " gmt"),
        ("auth", 401, "www-authenticate"),
        ("max-body 20", 413, ""),
        ("requests 1.. status 503", 200, ""),
    ];
    for (script, status, part) in cases {
        let fake = fake(script);
        let answer = send(&fake, BULK, &[NDJSON], item(0).as_bytes()).expect("an answer");
        assert_eq!(answer.status, status, "{script}: {answer:?}");
        assert!(answer.head.to_lowercase().contains(part), "{script}: {answer:?}");
        assert_eq!(fake.report().events, u64::from(status == 200), "{script}");
        assert!(fake.report().problems.is_empty(), "{script}: the client did nothing wrong");
    }
}

#[test]
fn what_is_swallowed_is_answered_as_taken_and_counted_by_its_bytes_alone() {
    let fake = fake("on bulk swallow");
    let body = item(0) + &item(1);
    let answer = send(&fake, BULK, &[NDJSON], body.as_bytes()).expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = answer.json();
    assert_eq!(answer["errors"], false);
    let items = answer["items"].as_array().expect("items");
    assert!(items.len() == 2 && items.iter().all(|item| item["create"]["status"] == 201));
    let report = fake.report();
    assert_eq!((report.events, report.body_bytes), (0, body.len() as u64), "{report:?}");
    let other = send(&fake, "GET /_cluster/health", &[], b"").expect("an answer");
    assert_eq!(other.status, 200, "other requests are answered as ever: {other:?}");
}

#[test]
fn latency_and_slow_reads_take_their_time() {
    for script in ["latency 60ms", "slow-read 2000"] {
        let fake = fake(script);
        let begin = Instant::now();
        let answer = send(&fake, BULK, &[NDJSON], item(0).as_bytes()).expect("an answer");
        assert_eq!(answer.status, 200);
        assert!(begin.elapsed() >= Duration::from_millis(50), "{script}: {:?}", begin.elapsed());
    }
}

#[test]
fn a_refused_connection_is_reset_at_once() {
    let fake = fake("refuse");
    send(&fake, BULK, &[NDJSON], item(0).as_bytes()).expect_err("refused");
    assert_eq!(fake.report().requests, 0);
}

#[test]
fn a_script_can_be_changed_while_it_plays() {
    let fake = fake("status 500");
    let post = |body: &str| send(&fake, "POST /_script", &[], body.as_bytes()).expect("control");
    let bulk = || send(&fake, BULK, &[NDJSON], item(0).as_bytes()).expect("an answer").status;
    assert_eq!(bulk(), 500);
    let refused = post("explode");
    assert!(refused.status == 400 && refused.body.contains("explode"), "{refused:?}");
    assert_eq!((bulk(), post("").status, bulk()), (500, 200, 200));
    let account = send(&fake, "GET /_account", &[], b"").expect("control").json();
    assert_eq!((&account["requests"], &account["events"]), (&3.into(), &1.into()));
}

#[test]
fn ages_run_from_the_due_time_to_the_answer() {
    let fake = fake("latency 30ms");
    let due = loadgen::clock::now_ns() - 1_000_000_000;
    let id = EventId { sequence: 0, scheduled_ns: due, run: 1 }.text();
    let body = format!("{{\"create\":{{\"_index\":\"logs\",\"_id\":\"{id}\"}}}}\n{{}}\n");
    send(&fake, BULK, &[NDJSON], body.as_bytes()).expect("an answer");
    let ages = fake.report().accepted;
    assert!(ages.events == 1 && ages.max_us >= 1_030_000.0, "{ages:?}");
}
