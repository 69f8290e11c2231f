//! A disk that stalls: neither the account nor memory suffers.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use shrike::config::{Config, Host};
use shrike::log::{Disk, Log, LogFile, LogIo};
use shrike::pipeline::{Ended, Engine};

use crate::destination::{Destination, Manner};
use crate::disk::as_the_disk;
use crate::equation::assert_equation;
use crate::letters::letters;
use crate::wait::{PATIENCE, comes_true};
use crate::{append, append_records, config, config_of, event, exporter};

/// The real disk, where some files, or those of a directory, are not synced for a while.
struct Stalling {
    path: PathBuf,
    is_stalled: Arc<AtomicBool>,
}

impl LogIo for Stalling {
    as_the_disk!(create, write, truncate, rename, unlink, sync_dir, boot, no_ring);

    fn sync(&self, file: &LogFile) -> io::Result<()> {
        while file.path.starts_with(&self.path) && self.is_stalled.load(Ordering::Acquire) {
            thread::park_timeout(Duration::from_millis(5));
        }
        Disk.sync(file)
    }
}

/// A log on such a disk.
fn stalling(config: &Config, path: PathBuf, is_stalled: &Arc<AtomicBool>) -> Log {
    let io = Stalling { path, is_stalled: Arc::clone(is_stalled) };
    let (log, _) = Log::open_on(config.log.clone(), Arc::new(io)).expect("the directory is ours");
    log
}

/// A disk that stalls for longer than a change waits: what is to become a letter becomes one.
#[test]
fn events_whose_letters_are_not_durable_at_a_change_settle_once() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Refuse('7'));
    let config = config(dir.path(), &[("one", &destination, "")]);
    let is_stalled = Arc::new(AtomicBool::new(false));
    let letters_dir = config.exporters[0].settings.dead_letters.dir.clone();
    let log = stalling(&config, letters_dir, &is_stalled);
    let options = || config.engine_options(&Host::default());
    let engine = Engine::start(log.clone(), options()).expect("it starts");
    is_stalled.store(true, Ordering::Release);
    append(&log, 0..1_000, 900);
    let one = || exporter(&engine.status(), "one").clone();
    assert!(comes_true(|| one().counts.delivered == 937 && one().pending == 63), "{:?}", one());
    // Whoever reads them again delivers them.
    destination.turn(Manner::Accept);
    let mut changed = options();
    changed.exporters[0].settings.batch.linger *= 2;
    let reloaded = engine.reload(changed, Instant::now() + PATIENCE).expect("it is right");
    assert_eq!(reloaded.changed, ["one"]);
    append(&log, 1_000..1_100, 900);
    assert!(comes_true(|| one().counts.delivered == 1_037), "{:?}", one());
    is_stalled.store(false, Ordering::Release);
    let ended = engine.drain(Instant::now() + PATIENCE);
    let status = assert_equation(engine.end());
    assert_eq!(ended, Ended::Settled, "{status:?}");
    let one = exporter(&status, "one");
    assert_eq!((one.counts.delivered, one.counts.dead_lettered), (1_037, 63), "{one:?}");
    assert_eq!(letters(&config).len(), 63);
    assert_eq!(destination.accepted().len(), 1_037);
}

/// "Everything is bounded" (`style.md`): what has settled waits in memory for receipts and
/// checkpoints, which wait for the disk.
#[test]
fn while_receipts_wait_for_the_disk_nothing_more_settles() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let lines = dir.path().join("lines");
    let text = format!(
        "  one: {{type: file, path: '{}', from: earliest, filter: {{min_severity: high}}}}\n",
        lines.display()
    );
    let config = config_of(dir.path(), &text);
    let is_stalled = Arc::new(AtomicBool::new(false));
    let log = stalling(&config, dir.path().join("state/audit.jsonl"), &is_stalled);
    let engine = Engine::start(log.clone(), config.engine_options(&Host::default()));
    let engine = engine.expect("it starts");
    is_stalled.store(true, Ordering::Release);
    // Every other one is filtered, so that each is a piece of its own.
    let one = |number: u32| match number % 2 {
        0 => event(number, 0),
        _ => event(number, 0).replace("\"high\"", "\"low\""),
    };
    append_records(&log, (0..EVENTS).map(one));
    let settled = || exporter(&engine.status(), "one").counts.total();
    assert!(comes_true(|| settled() >= WAITING_MAX / 2), "{}", settled());
    let stands = Duration::from_secs(2);
    assert!(matches!(engine.drain(Instant::now() + stands), Ended::Pending(_)));
    assert!(settled() < WAITING_MAX + UNDER_WAY_MAX, "{} events settled", settled());
    is_stalled.store(false, Ordering::Release);
    let ended = engine.drain(Instant::now() + PATIENCE);
    let status = assert_equation(engine.end());
    assert_eq!(ended, Ended::Settled, "{status:?}");
    let counts = exporter(&status, "one").counts;
    assert_eq!((counts.delivered, counts.filtered), (EVENTS as u64 / 2, EVENTS as u64 / 2));
}

/// Pieces of the log that may wait, and events that are under way when that is reached.
const WAITING_MAX: u64 = 1 << 17;
const UNDER_WAY_MAX: u64 = 20_000;
const EVENTS: u32 = 180_000;
