//! Reloading under load: what did not change is not touched, and the account holds.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Instant;

use shrike::config::Host;
use shrike::event::Counts;
use shrike::log::{Cursors, Disk, Log, LogFile, LogIo, LogOptions};
use shrike::pipeline::{Ended, Engine, EngineOptions, Period, Reloaded, read_receipts};

use crate::destination::{Destination, Manner};
use crate::disk::as_the_disk;
use crate::equation::assert_equation;
use crate::wait::{PATIENCE, comes_true};
use crate::{append, config, exporter, filled};

/// The options of the engine with these exporters.
fn options(dir: &Path, exporters: &[(&str, &Destination, &str)]) -> EngineOptions {
    config(dir, exporters).engine_options(&Host::default())
}

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

#[test]
fn reloads_under_load_lose_and_repeat_nothing() {
    const RELOADS: u32 = 56;
    const EVENTS_PER_RELOAD: u32 = 200;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (changes, stays, comes) = (
        Destination::start(Manner::Accept),
        Destination::start(Manner::Accept),
        Destination::start(Manner::Accept),
    );
    let both = [("changes", &changes, ""), ("stays", &stays, "")];
    let log = filled(&config(dir.path(), &both), 0..1_000, 900);
    let engine = Engine::start(log.clone(), options(dir.path(), &both)).expect("it starts");
    let is_over = AtomicBool::new(false);
    // As many events as the destinations take, so that every reload finds some under way.
    let allowed = AtomicU32::new(1_000);
    let events = thread::scope(|scope| {
        let appending = scope.spawn(|| {
            let mut number = 1_000;
            while !is_over.load(Ordering::Acquire) {
                if number >= allowed.load(Ordering::Acquire) {
                    thread::yield_now();
                    continue;
                }
                append(&log, number..number + 50, 900);
                number += 50;
            }
            number
        });
        for round in 0..RELOADS {
            allowed.fetch_add(EVENTS_PER_RELOAD, Ordering::AcqRel);
            let size = if round % 2 == 0 { "\n    batch: {size: 7}" } else { "" };
            let mut wanted = vec![("changes", &changes, size), ("stays", &stays, "")];
            let is_here = round % 8 >= 4;
            if is_here {
                wanted.push(("comes", &comes, ""));
            }
            let reloaded =
                engine.reload(options(dir.path(), &wanted), soon()).expect("it is right");
            assert_eq!(reloaded.changed, ["changes"]);
            assert_eq!(reloaded.added.is_empty(), round % 8 != 4, "{round}: {reloaded:?}");
            assert_eq!(reloaded.removed.is_empty(), round == 0 || round % 8 != 0, "{round}");
            let same = engine.reload(options(dir.path(), &wanted), soon()).expect("it is right");
            assert_eq!(same, Reloaded::default());
        }
        is_over.store(true, Ordering::Release);
        appending.join().expect("it appends")
    });
    let ended = engine.drain(Instant::now() + PATIENCE);
    let status = assert_equation(engine.end());
    assert_eq!(ended, Ended::Settled, "{status:?}");
    let events = u64::from(events);
    for (name, destination) in [("changes", &changes), ("stays", &stays), ("comes", &comes)] {
        let account = exporter(&status, name);
        assert_eq!((account.in_range, account.counts.delivered), (events, events), "{name}");
        assert_eq!(destination.accepted().len() as u64, events, "{name}");
        assert!(destination.accepted().values().all(|&times| times == 1), "{name}");
    }
}

#[test]
fn a_reload_that_cannot_be_compiled_changes_nothing() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Accept);
    let here = [("one", &destination, "")];
    let log = filled(&config(dir.path(), &here), 0..100, 900);
    let engine = Engine::start(log.clone(), options(dir.path(), &here)).expect("it starts");
    let more = [("one", &destination, "\n    batch: {size: 7}"), ("two", &destination, "")];
    let mut wrong = options(dir.path(), &more);
    let path = dir.path().join("nothing.pem");
    wrong.exporters[1].settings.tls.ca_cert_path = Some(path);
    let https = "https://127.0.0.1:9".to_owned();
    let nodes = shrike::deliver::OptionValue::List(vec![https]);
    wrong.exporters[1].settings.options.set("nodes", nodes);
    let refused = engine.reload(wrong, soon()).expect_err("there is no such file").to_string();
    assert!(refused.contains("nothing.pem"), "{refused}");
    let status = engine.status();
    assert_eq!(status.exporters.len(), 1);
    // It runs as it did: the same again is no change.
    let same = engine.reload(options(dir.path(), &here), soon()).expect("it is right");
    assert!(same.is_nothing(), "{same:?}");
    assert!(comes_true(|| destination.count() == 100));
    drop(assert_equation(engine.end()));
}

#[test]
fn held_exporters_are_changed_at_once_and_go_on() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Lock);
    let here = [("one", &destination, "")];
    let log = filled(&config(dir.path(), &here), 0..500, 900);
    let engine = Engine::start(log, options(dir.path(), &here)).expect("it starts");
    assert!(comes_true(|| engine.refused() == ["one"]));
    destination.turn(Manner::Accept);
    let other = [("one", &destination, "\n    batch: {size: 70}")];
    let began = Instant::now();
    let reloaded = engine.reload(options(dir.path(), &other), began + 5 * PATIENCE);
    assert_eq!(reloaded.expect("it is right").changed, ["one"]);
    assert!(began.elapsed() < PATIENCE, "it waited for what is held");
    assert!(comes_true(|| destination.count() == 500));
    assert!(engine.refused().is_empty());
    let ended = engine.drain(soon());
    let status = assert_equation(engine.end());
    assert_eq!(ended, Ended::Settled, "{status:?}");
    let one = exporter(&status, "one");
    assert_eq!((one.in_range, one.counts.delivered), (500, 500));
}

/// A disk that takes no more checkpoints of some exporters once it is full.
#[derive(Debug)]
struct Full {
    cursors: Vec<PathBuf>,
    is_full: Arc<AtomicBool>,
}

impl LogIo for Full {
    as_the_disk!(create, write, truncate, sync, unlink, sync_dir, boot, no_ring);

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        match self.is_full.load(Ordering::Acquire) && self.cursors.iter().any(|it| it == to) {
            true => Err(io::ErrorKind::QuotaExceeded.into()),
            false => Disk.rename(from, to),
        }
    }
}

/// A disk that takes no more receipts once it is full.
struct NoReceipts {
    path: PathBuf,
    is_full: Arc<AtomicBool>,
}

impl LogIo for NoReceipts {
    as_the_disk!(create, truncate, rename, sync, unlink, sync_dir, boot, no_ring);

    fn write(&self, file: &LogFile, at: u64, bytes: &[u8]) -> io::Result<()> {
        match self.is_full.load(Ordering::Acquire) && file.path == self.path {
            true => Err(io::Error::other("no more")),
            false => Disk.write(file, at, bytes),
        }
    }
}

/// "dead letter durable -> receipt -> checkpoint" (`design.md` 4).
#[test]
fn an_exporter_that_goes_leaves_no_checkpoint_over_what_has_no_receipt() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (stays, goes) = (Destination::start(Manner::Accept), Destination::start(Manner::Accept));
    let here = [("stays", &stays, ""), ("goes", &goes, "")];
    let config = config(dir.path(), &here);
    let path = config.receipts.as_ref().expect("they are on by default").path.clone();
    let is_full = Arc::new(AtomicBool::new(false));
    let disk = NoReceipts { path: path.clone(), is_full: Arc::clone(&is_full) };
    let (log, _) = Log::open_on(config.log.clone(), Arc::new(disk)).expect("the directory is ours");
    let engine = Engine::start(log.clone(), options(dir.path(), &here)).expect("it starts");
    is_full.store(true, Ordering::Release);
    append(&log, 0..100, 900);
    let have_all = |number| stays.count() == number && goes.count() == number;
    assert!(comes_true(|| have_all(100)));
    let left = [("stays", &stays, "")];
    let refused = engine.reload(options(dir.path(), &left), soon());
    let saved = || {
        let saved = Cursors::look(&config.log.dir).load("goes").expect("it is whole");
        saved.expect("it began somewhere")
    };
    assert_eq!(saved().counts, Counts::default(), "it says more than the receipts");
    let refused = refused.expect_err("nothing says what it has settled").to_string();
    assert!(refused.contains("audit.jsonl"), "{refused}");
    append(&log, 100..200, 900);
    assert!(comes_true(|| have_all(200)), "{} and {}", stays.count(), goes.count());
    is_full.store(false, Ordering::Release);
    let reloaded = engine.reload(options(dir.path(), &left), soon()).expect("there is room");
    assert_eq!(reloaded.removed, ["goes"]);
    let (mut delivered, mut last) = (0, 0);
    read_receipts(&path, Period::ALWAYS, |receipt, anchor| {
        if receipt.exporter == "goes" && receipt.kind == "batch" {
            (delivered, last) = (delivered + receipt.delivered, anchor.line);
        }
    })
    .expect("they are readable");
    assert_eq!((delivered, saved().counts.delivered), (200, 200));
    assert!(saved().anchor.line >= last, "{:?} knows no end of them", saved().anchor);
    drop(assert_equation(engine.end()));
}

/// An exporter whose position cannot be written down goes on where it is, and so do all others:
/// nobody looks after what the configuration does not name.
#[test]
fn a_reload_that_the_disk_refuses_changes_nothing() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (before, after, gone, new) = (
        Destination::start(Manner::Accept),
        Destination::start(Manner::Accept),
        Destination::start(Manner::Accept),
        Destination::start(Manner::Accept),
    );
    let here = [("changes", &before, ""), ("goes", &gone, "")];
    let config = config(dir.path(), &here);
    let cursor = |name: &str| config.log.dir.join("cursors").join(format!("{name}.cursor"));
    let is_full = Arc::new(AtomicBool::new(false));
    let cursors = vec![cursor("goes"), cursor("comes")];
    let disk = Full { cursors, is_full: Arc::clone(&is_full) };
    let (log, _) = Log::open_on(config.log.clone(), Arc::new(disk)).expect("the directory is ours");
    let engine = Engine::start(log.clone(), options(dir.path(), &here)).expect("it starts");
    append(&log, 0..100, 900);
    assert!(comes_true(|| before.count() == 100 && gone.count() == 100));
    is_full.store(true, Ordering::Release);
    let removed = [("changes", &after, "")];
    let added = [("changes", &after, ""), ("goes", &gone, ""), ("comes", &new, "")];
    for (wanted, name) in [(&removed[..], "goes"), (&added[..], "comes")] {
        let refused = engine.reload(options(dir.path(), wanted), soon());
        let refused = refused.expect_err("its checkpoint is not saved").to_string();
        assert!(refused.contains(&format!("{name}.draft")), "{refused}");
        assert_eq!(engine.status().exporters.len(), 2, "{name}");
        let same = engine.reload(options(dir.path(), &here), soon()).expect("nothing is written");
        assert!(same.is_nothing(), "{name}: {same:?}");
    }
    append(&log, 100..200, 900);
    assert!(comes_true(|| before.count() == 200 && gone.count() == 200));
    assert_eq!((after.count(), new.count()), (0, 0), "events went where nobody wants them");
    is_full.store(false, Ordering::Release);
    let wanted = [("changes", &after, ""), ("comes", &new, "")];
    let reloaded = engine.reload(options(dir.path(), &wanted), soon()).expect("there is room");
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let (added, changed, removed) = (names(&["comes"]), names(&["changes"]), names(&["goes"]));
    assert_eq!(reloaded, Reloaded { added, changed, removed });
    append(&log, 200..300, 900);
    assert!(comes_true(|| after.count() == 100 && new.count() == 300));
    let ended = engine.drain(soon());
    let status = assert_equation(engine.end());
    assert_eq!(ended, Ended::Settled, "{status:?}");
    assert_eq!((before.count(), gone.count()), (200, 200), "nothing twice");
}

/// What exporters find on disk is looked at before anything changes.
#[test]
fn a_reload_that_finds_damage_changes_nothing() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (before, after) = (Destination::start(Manner::Accept), Destination::start(Manner::Accept));
    let here = [("changes", &before, "")];
    let log = filled(&config(dir.path(), &here), 0..100, 900);
    let engine = Engine::start(log.clone(), options(dir.path(), &here)).expect("it starts");
    assert!(comes_true(|| before.count() == 100));
    let config = config(dir.path(), &here);
    let cursors = config.log.dir.join("cursors");
    fs::write(cursors.join("torn.cursor"), b"nothing of ours").expect("the directory is ours");
    let letters = dir.path().join("state/dlq");
    fs::write(letters.join("filed"), b"").expect("the directory is ours");
    let taken = LogOptions { dir: letters.join("taken"), ..config.log };
    let _taken = Log::open(taken).expect("the directory is ours");
    let elsewhere = "\n    dlq: {path: dlq/taken}";
    for (keys, name, told) in [
        ("", "torn", "torn.cursor is damaged"),
        ("", "filed", "dlq/filed"),
        ("", "taken", "dlq/taken"),
        (elsewhere, "other", "dlq/taken"),
    ] {
        let wanted = [("changes", &after, keys), ("sound", &after, ""), (name, &after, "")];
        let refused = engine.reload(options(dir.path(), &wanted), soon());
        let refused = refused.expect_err("nobody can use it").to_string();
        assert!(refused.contains(told), "{refused}");
        assert_eq!(engine.status().exporters.len(), 1, "{name}");
        // It never ran, so that nobody knows of a place where it would go on.
        assert!(!cursors.join("sound.cursor").exists(), "{name}");
    }
    append(&log, 100..200, 900);
    assert!(comes_true(|| before.count() == 200));
    assert_eq!(after.count(), 0, "events went where nobody wants them");
    drop(assert_equation(engine.end()));
}
