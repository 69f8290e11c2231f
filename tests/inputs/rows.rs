//! Rows of a ledger that its owner fills, shortens, compacts and replaces: each once.

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rusqlite::{Connection, params};
use serde_json::Value;
use shrike::dialects;
use shrike::event::{Opening, OpeningOptions};
use shrike::intake::{
    Account, CheckOptions, Door, DoorOptions, Positions, Rows, RowsOptions, SharedDoor, Stream,
    Unfolded,
};
use shrike::log::Log;

use super::{Host, records};

/// A daemon's ledger, and the process that reads it, which may start anew.
struct Ledger {
    host: Host,
    running: Option<(SharedDoor, Rows)>,
}

impl Ledger {
    fn new() -> Self {
        Self { host: Host::new(), running: None }
    }

    fn path(&self) -> PathBuf {
        self.host.path("audit.db")
    }

    fn log(&self) -> &Log {
        &self.host.log
    }

    /// Starts to read; what ran before is gone as after a crash.
    fn start(&mut self, from_end: bool, dedup_window: usize) {
        self.running = None;
        self.log().flush().expect("the disk takes it");
        let path = self.host.path("inputs.json");
        let (positions, torn) = Positions::open(path, &self.log().reader()).expect("opens");
        assert_eq!(torn, None);
        let positions = Arc::new(positions);
        let door = SharedDoor::new(Door::new(DoorOptions {
            opening: Arc::new(Opening::new(&OpeningOptions::default())),
            check: CheckOptions {
                dialects: dialects::ALL,
                dedup_window,
                ..CheckOptions::default()
            },
            appender: self.log().appender(),
            quarantine: None,
            positions: Some(Arc::clone(&positions)),
        }));
        let options = RowsOptions { path: self.path(), table: dialects::LEDGER, from_end };
        self.running = Some((door, Rows::new(options, positions)));
    }

    /// Looks until nothing is new; the numbers of all events in the log.
    fn numbers(&mut self) -> Vec<u32> {
        if let Some((door, rows)) = &mut self.running {
            let is_stopped = AtomicBool::new(false);
            while rows.step(door, &is_stopped).expect("the log takes everything").is_zero() {}
        }
        self.log().flush().expect("the disk takes it");
        records(self.log()).iter().map(|it| super::number(it)).collect()
    }

    fn account(&self) -> Account {
        self.running.as_ref().expect("it runs").1.account()
    }
}

/// The table as hushd makes it.
fn create(path: &PathBuf) -> Connection {
    let owner = Connection::open(path).expect("the directory is ours");
    let mode: String =
        owner.query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0)).expect("it can");
    assert_eq!(mode, "wal");
    owner
        .execute_batch(
            "CREATE TABLE audit_events (id TEXT PRIMARY KEY, timestamp TEXT NOT NULL,
             event_type TEXT NOT NULL, action_type TEXT NOT NULL, target TEXT,
             decision TEXT NOT NULL, guard TEXT, severity TEXT, message TEXT, session_id TEXT,
             agent_id TEXT, metadata TEXT, metadata_enc BLOB,
             created_at TEXT DEFAULT (datetime('now')))",
        )
        .expect("a new table");
    owner
}

fn insert(owner: &Connection, numbers: impl IntoIterator<Item = u32>) {
    for n in numbers {
        let id = format!("019c32d0-0000-7000-8000-{n:012x}");
        owner
            .execute(
                "INSERT INTO audit_events (id, timestamp, event_type, action_type, target,
                 decision, message, metadata)
                 VALUES (?1, '2026-02-06T12:00:01+00:00', 'check', 'shell', 'ls', 'allowed', ?2,
                 ?3)",
                params![id, format!("n{n}"), "{\n \"a\": 1.50\n}"],
            )
            .expect("a new row");
    }
}

fn upto(n: u32) -> Vec<u32> {
    (0..n).collect()
}

#[test]
fn rows_are_read_once_while_their_owner_writes() {
    let mut ledger = Ledger::new();
    ledger.start(false, 0);
    assert_eq!(ledger.numbers(), upto(0), "there is no database yet");
    let owner = create(&ledger.path());
    assert_eq!(ledger.numbers(), upto(0));
    insert(&owner, 0..3);
    assert_eq!(ledger.numbers(), upto(3), "they lie in the write-ahead log only");
    let checkpoint = || {
        let busy = owner.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
        assert_eq!(busy, Ok(0), "nobody keeps the log from being shortened");
    };
    checkpoint();
    insert(&owner, 3..1_500);
    assert_eq!(ledger.numbers(), upto(1_500), "more than is taken at once");
    ledger.running = None;
    insert(&owner, 1_500..1_502);
    checkpoint();
    ledger.start(false, 0);
    insert(&owner, 1_502..1_503);
    assert_eq!(ledger.numbers(), upto(1_503));
    assert_eq!(ledger.account().gaps, 0);
    let record: Value = serde_json::from_slice(&records(ledger.log())[7]).expect("JSON");
    assert_eq!(record["timestamp"], "2026-02-06T12:00:01Z");
    assert_eq!(record["metadata"]["a"].to_string(), "1.5");
}

#[test]
fn numbers_that_the_rows_get_anew_repeat_nothing() {
    let mut ledger = Ledger::new();
    let owner = create(&ledger.path());
    insert(&owner, 0..10);
    ledger.start(false, 0);
    assert_eq!(ledger.numbers(), upto(10));
    // The row cap removes the oldest, also what was read last.
    let cap = |kept: u32| {
        owner
            .execute(
                "DELETE FROM audit_events WHERE rowid <= (SELECT max(rowid) FROM audit_events) - ?1",
                [kept],
            )
            .expect("the rows are there");
    };
    cap(4);
    insert(&owner, 10..12);
    assert_eq!(ledger.numbers(), upto(12));
    cap(3);
    owner.execute_batch("VACUUM").expect("nobody keeps it from it");
    insert(&owner, 12..14);
    assert_eq!(ledger.numbers(), upto(14), "numbered anew while it is read");
    ledger.running = None;
    cap(2);
    owner.execute_batch("VACUUM").expect("nobody keeps it from it");
    insert(&owner, 14..20);
    ledger.start(false, 0);
    assert_eq!(ledger.numbers(), upto(20), "and while it is not");
    assert_eq!(ledger.account().gaps, 0);
    // Removed before they were read: 20 to 24.
    insert(&owner, 20..28);
    cap(3);
    assert_eq!(ledger.numbers(), [upto(20), vec![25, 26, 27]].concat());
    assert_eq!(ledger.account().gaps, 1);
    // Another database at the path; the old one is read to its end.
    insert(&owner, 28..29);
    for end in ["", "-wal", "-shm"] {
        let name = format!("audit.db{end}");
        fs::rename(ledger.host.path(&name), ledger.host.path(&format!("old.db{end}")))
            .expect("ours");
    }
    let other = create(&ledger.path());
    insert(&other, 30..33);
    let all = [upto(20), (25..29).collect(), (30..33).collect()].concat();
    assert_eq!(ledger.numbers(), all);
    ledger.start(false, 0);
    assert_eq!(ledger.numbers(), all);
}

#[test]
fn a_ledger_is_read_from_its_end_at_the_very_first_start_only() {
    let mut ledger = Ledger::new();
    let owner = create(&ledger.path());
    insert(&owner, 0..3);
    ledger.start(true, 0);
    assert_eq!(ledger.numbers(), upto(0));
    ledger.running = None;
    insert(&owner, 3..5);
    ledger.start(true, 0);
    assert_eq!(ledger.numbers(), [3, 4]);
}

#[test]
fn the_ledger_says_what_the_other_channels_of_the_daemon_say() {
    const AUDIT: &str = include_str!("../fixtures/clawdstrike-audit.jsonl");
    let mut ledger = Ledger::new();
    let owner = create(&ledger.path());
    ledger.start(false, 1_000);
    let mut rows = 0;
    for line in AUDIT.lines() {
        let record: Value = serde_json::from_str(line).expect("the sample is JSON");
        let text = |key: &str| record[key].as_str().map(str::to_owned);
        // The daemon writes the zone as an offset here, and its metadata as text.
        let time = text("timestamp").map(|time| time.replace('Z', "+00:00"));
        // As it stands in the line: the order of its members is part of the record.
        let metadata = line.split_once("\"metadata\":").map(|(_, it)| it.strip_suffix('}'));
        owner
            .execute(
                "INSERT INTO audit_events (id, timestamp, event_type, action_type, target,
                 decision, guard, severity, message, session_id, agent_id, metadata)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
                params![
                    text("id"),
                    time,
                    text("event_type"),
                    text("action_type"),
                    text("target"),
                    text("decision"),
                    text("guard"),
                    text("severity"),
                    text("message"),
                    text("session_id"),
                    text("agent_id"),
                    metadata.flatten(),
                ],
            )
            .expect("a new row");
        rows += 1;
    }
    let (door, reader) = ledger.running.as_mut().expect("it runs");
    while reader.step(door, &AtomicBool::new(false)).expect("taken").is_zero() {}
    assert_eq!((reader.account().events, reader.account().rejected), (rows, 0));
    // The same from its file: nothing of it is new.
    let mut stream = Stream::new("file", 0);
    let mut door = door.lock();
    door.take(&mut stream, AUDIT.as_bytes(), 1);
    door.append(&mut stream, AUDIT.as_bytes(), None).expect("the log takes it");
    assert_eq!((stream.account().events, stream.account().duplicates), (0, rows));
    // The same as its API exports it for people: over lines.
    let records: Vec<String> = AUDIT.lines().map(|it| it.replace("{\"", "{\n  \"")).collect();
    let spread = format!("[\n{}\n]\n", records.join(",\n"));
    let mut lines = Vec::new();
    Unfolded::new(spread.as_bytes(), "spread").read_to_end(&mut lines).expect("it is in memory");
    let mut stream = Stream::new("export", 0);
    door.take(&mut stream, &lines, 1);
    door.append(&mut stream, &lines, None).expect("the log takes it");
    assert_eq!((stream.account().events, stream.account().duplicates), (0, rows));
}

#[test]
fn control_characters_are_the_same_in_the_ledger_and_in_the_file() {
    // As hushd 0.1.0 writes it: short escapes where JSON has them.
    const LINE: &str = concat!(
        r#"{"id":"01a227c8-d77f-7501-a8f0-8ca938b82da2","timestamp":"2026-02-06T12:00:01Z","#,
        r#""event_type":"check","action_type":"file_access","#,
        r#""target":"/tmp/\"a\\b\"\n\t\r\b\f\u001f.txt","decision":"allowed"}"#,
    );
    let mut ledger = Ledger::new();
    let owner = create(&ledger.path());
    ledger.start(false, 1_000);
    owner
        .execute(
            "INSERT INTO audit_events (id, timestamp, event_type, action_type, target, decision)
             VALUES ('01a227c8-d77f-7501-a8f0-8ca938b82da2', '2026-02-06T12:00:01+00:00', 'check',
             'file_access', ?1, 'allowed')",
            params!["/tmp/\"a\\b\"\n\t\r\u{8}\u{c}\u{1f}.txt"],
        )
        .expect("a new row");
    let (door, reader) = ledger.running.as_mut().expect("it runs");
    while reader.step(door, &AtomicBool::new(false)).expect("taken").is_zero() {}
    let mut stream = Stream::new("file", 0);
    let mut door = door.lock();
    let line = format!("{LINE}\n");
    door.take(&mut stream, line.as_bytes(), 1);
    door.append(&mut stream, line.as_bytes(), None).expect("the log takes it");
    assert_eq!((stream.account().events, stream.account().duplicates), (0, 1));
}

#[test]
fn encrypted_metadata_is_told() {
    let mut ledger = Ledger::new();
    let owner = create(&ledger.path());
    insert(&owner, 0..1);
    owner
        .execute("UPDATE audit_events SET metadata = NULL, metadata_enc = x'00ff'", [])
        .expect("one row");
    ledger.start(false, 0);
    assert_eq!(ledger.numbers(), [0]);
    let record: Value = serde_json::from_slice(&records(ledger.log())[0]).expect("JSON");
    assert_eq!(record["metadata"]["shrike"]["flags"], serde_json::json!(["encrypted_metadata"]));
}
