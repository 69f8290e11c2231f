//! A disk that is full or read-only for a while: waited for, told, and all goes on by itself.

use std::cell::Cell;
use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::destination::{Destination, Manner};
use crate::place::{Place, READY, Shrike, events};
use crate::wait::{PATIENCE, comes_true};
use crate::watched::{Watched, Weather};

#[test]
fn a_start_waits_for_a_disk_that_is_full_or_read_only() {
    let one = Destination::start(Manner::Accept);
    let place = Place::new(&[("one", &one)], "");
    let reasons = ["No space left on device", "Read-only file system"];
    for (number, reason) in (0..).zip(reasons) {
        place.fill(number * 100..(number + 1) * 100);
        let weather = Weather::default();
        match number {
            0 => weather.full(),
            _ => weather.read_only(),
        }
        let run = ["run", "--set", "admin.listen=127.0.0.1:0"];
        let start = || Watched::under(place.command(&run), &place.path("state"), &weather);
        let waiting = start();
        waiting.wait_for("the disk cannot be written: waiting until it can");
        assert!(waiting.has_said(reason), "{reason}");
        // Told to end, it has lost nothing.
        waiting.terminate();
        waiting.ended(PATIENCE).with(0).saying(&["ERROR", "waiting until it can", reason]);
        let drain = place.command(&["run", "--drain", "--drain-timeout", "100ms"]);
        let late = Watched::under(drain, &place.path("state"), &weather).ended(PATIENCE);
        late.with(3).saying(&["ERROR", "within `--drain-timeout`", reason]);
        let waiting = start();
        waiting.wait_for("the disk cannot be written: waiting until it can");
        // Whoever asks whether it lives must not end it.
        waiting.wait_for("metrics are shown");
        assert!(page(&waiting, "/healthz").starts_with("HTTP/1.1 200 "));
        let unready = page(&waiting, "/readyz");
        assert!(unready.starts_with("HTTP/1.1 503 ") && unready.contains(reason), "{unready}");
        weather.fair();
        waiting.wait_for(READY);
        assert!(comes_true(|| page(&waiting, "/readyz").starts_with("HTTP/1.1 200 ")));
        let expected = (number as usize + 1) * 100;
        let arrived = comes_true(|| one.accepted().len() == expected);
        assert!(arrived, "{reason}: {} came", one.accepted().len());
        waiting.terminate();
        let ended = waiting.ended(PATIENCE).with(0).saying(&["INFO", "can be written again"]);
        assert_eq!(ended.account("one").counts.delivered, expected as u64);
    }
}

/// As evidence is looked at.
#[test]
fn what_is_kept_can_be_looked_at_where_nothing_can_be_written() {
    let one = Destination::start(Manner::Accept);
    let place = Place::new(&[("one", &one)], "");
    place.fill(0..100);
    place.drained();
    let weather = Weather::default();
    weather.read_only();
    for args in [
        &["log", "cat"][..],
        &["log", "stat"],
        &["log", "verify"],
        &["log", "quarantine", "list"],
        &["cursor", "show"],
        &["dlq", "list"],
        &["dlq", "stats"],
        &["audit", "verify"],
        &["audit", "log"],
    ] {
        println!("{args:?}");
        Watched::under(place.command(args), &place.path("state"), &weather).ended(PATIENCE).with(0);
    }
}

/// A page of a process that has said where it shows them.
fn page(shrike: &Shrike, path: &str) -> String {
    let said = shrike.said();
    let (_, address) = said.split_once("\"address\":\"").expect("it listens");
    let (address, _) = address.split_once('"').expect("JSON");
    let mut stream = TcpStream::connect(address).expect("it listens");
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers and closes");
    answer
}

#[test]
fn a_disk_that_becomes_read_only_is_told_once_and_all_goes_on_when_it_can_be_written() {
    let one = Destination::start(Manner::Accept);
    let place = Place::new(&[("one", &one)], "");
    let path = place.path("events.jsonl");
    std::fs::write(&path, events(0..100)).expect("the directory is ours");
    let input = format!("inputs=[{{type: file, path: {}, mode: append}}]", path.display());
    let command = place.command(&["run", "--set", &input, "--set", "log.io=syscalls"]);
    let weather = Weather::default();
    let shrike = Watched::under(command, &place.path("state"), &weather);
    assert!(comes_true(|| one.accepted().len() == 100), "{} came", one.accepted().len());
    weather.read_only();
    let mut file = OpenOptions::new().append(true).open(&path).expect("it is ours");
    file.write_all(&events(100..3_000)).expect("the weather is in another directory");
    shrike.wait_for("the log cannot be written; trying again");
    shrike.wait_for("input waits for the disk");
    assert!(shrike.has_said("Read-only file system"));
    weather.fair();
    let arrived = comes_true(|| one.accepted().len() == 3_000);
    assert!(arrived, "{} came", one.accepted().len());
    shrike.wait_for("input goes on");
    shrike.terminate();
    let ended = shrike.ended(PATIENCE).with(0);
    let account = ended.account("one");
    assert_eq!((account.counts.delivered, account.pending), (account.in_range, 0), "{account:?}");
    // What the log could not make durable it may have written once more.
    assert!(account.in_range >= 3_000, "{account:?}");
    for what in ["receipts not written", "checkpoint not saved"] {
        let times = ended.said.matches(what).count();
        assert!(times <= 1, "{what} is told {times} times\n{}", ended.said);
    }
    let audit = place.ran(&["audit", "verify"]);
    assert!(audit.status.success(), "{}", String::from_utf8_lossy(&audit.stdout));
}

#[test]
fn a_disk_that_the_log_has_filled_is_freed_by_giving_up_the_oldest() {
    let one = Destination::start(Manner::Busy);
    let place = Place::new(&[("one", &one)], "shutdown_timeout_ms: 60000");
    let weather = Weather::default();
    let keys = [
        "log.io=syscalls",
        "exporters.one.retry={initial_backoff_ms: 5, max_backoff_ms: 20}",
        "exporters.one.circuit_breaker={failure_threshold: 2, open_ms: 50}",
    ];
    let mut command = place.command(&["run"]);
    for key in keys {
        command.arg("--set").arg(key);
    }
    let shrike = Watched::under(command, &place.path("state"), &weather);
    shrike.wait_for(READY);
    place.fill(0..6_000);
    weather.filled();
    // What is prepared already still fills; then nothing can be appended, written down or saved.
    let number = Cell::new(6_000);
    let append = || {
        let from = number.replace(number.get() + 500);
        place.append(from..number.get()).status.success()
    };
    let is_refused = (0..60).any(|_| !append());
    assert!(is_refused, "the disk never was full");
    // Giving up needs receipts and a checkpoint first: there is space aside for both.
    shrike.wait_for("lag bound reached: events skipped");
    if !comes_true(append) {
        panic!("nothing is appended any more:\n{}", shrike.stopped().said);
    }
    one.turn(Manner::Accept);
    let stat = || String::from_utf8_lossy(&place.ran(&["status", "--json"]).stdout).into_owned();
    assert!(comes_true(|| stat().replace(' ', "").contains("\"pending\":0")), "{}", stat());
    shrike.terminate();
    let ended = shrike.ended(PATIENCE).with(1);
    let account = ended.account("one");
    assert!(account.counts.skipped > 0 && account.counts.delivered > 0, "{account:?}");
    assert!(comes_true(|| !one.gaps().is_empty()), "nobody is told of a gap");
    let audit = place.ran(&["audit", "verify"]);
    assert!(audit.status.success(), "{}", String::from_utf8_lossy(&audit.stdout));
}
