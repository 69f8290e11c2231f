//! The program as scripts use it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};

use loadgen::id::EventId;

fn loadgen(arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_loadgen");
    Command::new(program).args(arguments).output().expect("the program is built")
}

#[test]
fn generate_writes_lines_by_seed() {
    let lines = |seed: &str| {
        let out = loadgen(&["generate", "--events", "10", "--seed", seed]);
        assert!(out.status.success(), "{out:?}");
        let text = String::from_utf8(out.stdout).expect("UTF-8");
        // Without the ids and times, which differ from run to run.
        let rest = text.lines().map(|line| line.split("\"agent\"").nth(1).map(str::to_owned));
        rest.collect::<Option<Vec<_>>>().expect("every event has an agent")
    };
    assert_eq!(lines("3").len(), 10);
    assert_eq!(lines("3"), lines("3"));
    assert_ne!(lines("3"), lines("4"));
}

#[test]
fn an_account_that_misses_an_event_fails() {
    let dir = tempfile::tempdir().expect("a directory");
    let account = dir.path().join("account.json");
    let account = account.to_str().expect("UTF-8");
    let mut fake = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["fake", "elastic", "--until-eof", "--account", account])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program is built");
    let mut ready = String::new();
    let out = fake.stdout.take().expect("a pipe");
    BufReader::new(out).read_line(&mut ready).expect("a line");
    let ready: serde_json::Value = serde_json::from_str(&ready).expect("JSON");
    let mut socket = TcpStream::connect(ready["listen"].as_str().expect("text")).expect("it is up");
    let body: String = [0, 1, 3].map(item).concat();
    let head = "POST /_bulk HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n";
    let length = body.len();
    write!(socket, "{head}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}")
        .expect("it is sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(fake.stdin.take());
    assert!(fake.wait().expect("it ends").success());
    for (expect, code, part) in [("2", 1, "beyond"), ("4", 1, "[2]"), ("6", 1, "[2, 4, 5]")] {
        let out = loadgen(&["account", "--expect", expect, account]);
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        assert_eq!(out.status.code(), Some(code), "{expect}: {text}");
        assert!(text.contains(part), "{expect}: {text}");
    }
}

#[test]
fn a_whole_account_succeeds_and_a_broken_one_says_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.to_str().expect("UTF-8").to_owned()
    };
    let report = |times: u8| {
        let span = loadgen::account::Span { from: 0, events: 5, times };
        let report = loadgen::account::Report { spans: vec![span], ..Default::default() };
        serde_json::to_string(&report).expect("JSON")
    };
    let (once, twice) = (write("once", &report(1)), write("twice", &report(2)));
    let broken = write("broken", "{");
    let cases: &[(&[&str], i32)] = &[
        (&["account", "--expect", "5", &once, &twice], 0),
        (&["account", "--expect", "5", "--exactly-once", &once], 0),
        (&["account", "--expect", "5", "--exactly-once", &once, &twice], 1),
        (&["account", "--expect", "5", &broken], 2),
        (&["account", "--expect", "5", "no/such/file"], 2),
        (&["fake", "elastic", "--script", "explode"], 2),
    ];
    for (arguments, code) in cases {
        let out = loadgen(arguments);
        assert_eq!(out.status.code(), Some(*code), "{arguments:?}: {out:?}");
    }
}

fn item(sequence: u64) -> String {
    let id = EventId { sequence, scheduled_ns: 1_795_191_846_000_000_000, run: 1 }.text();
    format!("{{\"create\":{{\"_index\":\"logs\",\"_id\":\"{id}\"}}}}\n{{}}\n")
}

/// `loadgen scenario list | head -1`: no panic.
#[test]
fn whoever_stops_reading_is_told_nothing() {
    for args in [&["scenario", "list"][..], &["generate", "--events", "1000"], &["--help"]] {
        let gone = std::io::pipe().expect("a pipe").1;
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
        let ran = command.args(args).stdout(gone).output().expect("it ends");
        assert!(ran.status.success() && ran.stderr.is_empty(), "{args:?}: {ran:?}");
    }
}
