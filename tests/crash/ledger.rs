//! A ledger under kills: every row is in the log, and once, while its owner goes on.

use rusqlite::{Connection, params};

use crate::destination::{Destination, Manner};
use crate::event::id;
use crate::kill::{kills, seeded};
use crate::place::{Place, READY, let_run};
use crate::wait::{PATIENCE, comes_true};

#[test]
fn a_ledger_is_in_the_log_once_after_every_kill() {
    let mut chance = seeded();
    let one = Destination::start(Manner::Accept);
    let place = Place::new(&[("one", &one)], "");
    let path = place.path("audit.db");
    let owner = Connection::open(&path).expect("the directory is ours");
    let begin = format!("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; {TABLE}");
    owner.execute_batch(&begin).expect("a new table");
    let input = format!("inputs=[{{type: sqlite, path: {}}}]", path.display());
    let args = ["--set", &input];
    let mut next = 0;
    for _ in 0..kills() {
        let shrike = place.run(&args);
        if chance.u8(..4) > 0 {
            shrike.wait_for(READY);
        }
        for _ in 0..chance.u32(1..6) {
            insert(&owner, next..next + ROWS);
            next += ROWS;
            let_run(&mut chance, 0..120);
        }
        shrike.kill();
        if chance.u8(..3) == 0 {
            // Rows are numbered anew while nobody looks.
            owner.execute_batch("VACUUM").expect("it is the owner's");
        }
    }
    let shrike = place.run(&args);
    let all = || place.events_in_log() >= u64::from(next);
    assert!(comes_true(all), "{} of {next} events", place.events_in_log());
    // All may be there from before, while it does not listen to signals yet.
    shrike.wait_for(READY);
    shrike.terminate();
    shrike.ended(PATIENCE).with(0);
    assert_eq!(place.ids_in_log(), (0..next).map(id).collect::<Vec<_>>(), "once, in order");
}

#[test]
fn a_ledger_whose_table_comes_late_is_told_and_read_once_it_is_there() {
    let one = Destination::start(Manner::Accept);
    let place = Place::new(&[("one", &one)], "");
    let path = place.path("audit.db");
    std::fs::write(&path, "").expect("the directory is ours");
    let shrike =
        place.run(&["--set", &format!("inputs=[{{type: sqlite, path: {}}}]", path.display())]);
    shrike.wait_for("it has no table `audit_events`");
    let owner = Connection::open(&path).expect("the directory is ours");
    owner.execute_batch(TABLE).expect("a new table");
    insert(&owner, 0..10);
    assert!(comes_true(|| place.events_in_log() == 10));
    shrike.terminate();
    shrike.ended(PATIENCE).with(0).saying(&["the database is read again"]);
}

const TABLE: &str = "CREATE TABLE audit_events (id TEXT PRIMARY KEY, timestamp TEXT,
                     event_type TEXT, action_type TEXT, target TEXT, decision TEXT, metadata TEXT)";

fn insert(owner: &Connection, numbers: std::ops::Range<u32>) {
    let together = owner.unchecked_transaction().expect("nobody else writes");
    for n in numbers {
        together
            .execute(
                "INSERT INTO audit_events VALUES (?1, '2026-02-06T12:00:01.5+00:00', 'check',
                 'file_access', '/etc/hosts', 'allowed', '{\"policy_hash\":\"f95a\"}')",
                params![id(n)],
            )
            .expect("a new row");
    }
    together.commit().expect("the disk takes it");
}

/// Rows that the owner writes at a time.
const ROWS: u32 = 400;
