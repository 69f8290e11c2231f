//! What survives: the process going down, the machine going down, at any moment.

#[path = "../log_disk/mod.rs"]
mod log_disk;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use log_disk::{Promised, Random, Recorder, wait_written};
use shrike::event::{Checkpoint, Offset, Span};
use shrike::log::{
    Cursors, Ended, Group, IoChoice, Log, LogIo, LogOptions, Mark, Read, Recovery, STRIPE_BYTES,
};

/// Records by offset.
type Records = BTreeMap<u64, Vec<u8>>;

/// What was appended and is not known to be lost.
#[derive(Clone, Default)]
struct Appended {
    records: Records,
    /// Offsets of records that were shown to readers and then lost: never to be used again.
    burnt: BTreeSet<u64>,
}

fn options(dir: &Path) -> LogOptions {
    LogOptions {
        dir: dir.to_path_buf(),
        segment_bytes: 3 * STRIPE_BYTES,
        // Syncs come only when the schedule asks.
        sync_interval: Duration::from_secs(3600),
        sync_bytes: u64::MAX,
        io: IoChoice::Syscalls,
        keep_bytes: 9 * STRIPE_BYTES,
        ..LogOptions::default()
    }
}

/// Runs a seeded schedule of appends, syncs, checkpoints and retention; returns the checkpoints
/// that were saved, with the number of changes made by then.
fn run(
    log: &Log,
    recorder: &Recorder,
    random: &mut Random,
    appended: &mut Appended,
) -> Vec<(usize, Offset)> {
    let appender = log.appender();
    let waker = log.reader().waker().expect("a waker");
    let cursors = log.cursors().expect("the lease");
    let mut saved = Vec::new();
    let mut flushing = Vec::new();
    for step in 0..12 + random.below(12) {
        let last = append_some(&mut appender.group(), random, step, appended);
        match random.below(5) {
            0 | 1 => drop(log.flush().expect("flushed")),
            // While the next groups are written.
            2 => {
                let log = log.clone();
                flushing.push(std::thread::spawn(move || log.flush().expect("flushed")));
            }
            _ => wait_written(&waker, last),
        }
        if random.below(3) == 0 {
            let base = log.durable();
            let checkpoint = Checkpoint { pass: step as u32, base, ..Checkpoint::default() };
            cursors.save("elastic", &checkpoint).expect("saved");
            saved.push((recorder.len(), base));
        }
        if random.below(8) == 0 {
            log.retain(log.durable()).expect("retained");
        }
    }
    for thread in flushing {
        thread.join().expect("flushed");
    }
    saved
}

/// A log that was appended to for a while, in its first life.
struct Life {
    dir: tempfile::TempDir,
    log: Log,
    recorder: Arc<Recorder>,
    appended: Appended,
    /// Its checkpoints, each with how much was recorded by then.
    saved: Vec<(usize, Offset)>,
}

impl Life {
    fn new(random: &mut Random) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let live = dir.path().join("0");
        std::fs::create_dir(&live).expect("a directory");
        let recorder = Recorder::new(&live, 1);
        let (log, _) = Log::open_on(options(&live), Arc::clone(&recorder) as Arc<dyn LogIo>)
            .expect("a new log");
        let mut appended = Appended::default();
        let saved = run(&log, &recorder, random, &mut appended);
        Self { dir, log, recorder, appended, saved }
    }
}

fn append_some(
    group: &mut Group<'_>,
    random: &mut Random,
    step: u64,
    appended: &mut Appended,
) -> Offset {
    let mut last = Offset::ZERO;
    for _ in 0..1 + random.below(5) {
        let len = match random.below(24) {
            0 => STRIPE_BYTES as usize - 40 + random.below(700_000) as usize,
            1 | 2 => random.below(400_000) as usize,
            _ => random.below(2_000) as usize,
        };
        let fill = random.next();
        let mut bytes = fill.to_le_bytes().repeat(len / 8 + 1);
        bytes.truncate(len);
        let mark = Mark { received_ns: step + 1, ..Mark::default() };
        last = group.append(&bytes, mark).expect("appended");
        let is_new = appended.records.insert(last.bytes(), bytes).is_none();
        assert!(is_new && !appended.burnt.contains(&last.bytes()), "{last} is used twice");
    }
    if random.below(2) == 0 {
        last = group.note(b"all before this was taken").expect("noted");
    }
    last
}

/// Where the last note lies; the start of the log where there is none.
fn last_note(log: &Log) -> Offset {
    let mut last = Offset::ZERO;
    log.reader().notes(log.oldest(), |at, _| last = at).expect("readable");
    last
}

/// Everything that can be read; nothing may be damaged, and counting must agree.
fn read_all(log: &Log) -> Records {
    let mut reader = log.reader();
    let mut found = Records::new();
    let mut at = log.oldest();
    loop {
        match reader.read(at, log.written(), 256 << 10).expect("readable") {
            Read::Block(block) => {
                for record in block.records() {
                    found.insert(record.frame.offset.bytes(), block.record(record).to_vec());
                }
                assert!(block.span().to > at, "reading stops at {at}");
                at = block.span().to;
            }
            Read::Cold(span) => reader.warm(span).expect("warm"),
            Read::End => break,
            other => panic!("at {at}: {other:?}"),
        }
    }
    let all = Span { from: log.oldest(), to: log.written() };
    assert_eq!(reader.count(all).expect("counted"), found.len() as u64, "the count differs");
    found
}

/// Opens what a crash left, checks it against what was promised, and goes on appending.
fn reopen(
    dir: &Path,
    boot: u8,
    promised: Promised,
    kept: u64,
    appended: &mut Appended,
    random: &mut Random,
) -> (Log, Recovery, Arc<Recorder>, Vec<(usize, Offset)>) {
    let recorder = Recorder::new(dir, boot);
    let (log, recovery) =
        Log::open_on(options(dir), Arc::clone(&recorder) as Arc<dyn LogIo>).expect("reopened");
    let found = read_all(&log);
    for (offset, bytes) in appended.records.range(promised.oldest..kept) {
        let same = found.get(offset).is_some_and(|found| found == bytes);
        assert!(same, "the record at {offset} is lost: {promised:?}, {recovery}");
    }
    for (offset, bytes) in &found {
        assert!(appended.records.get(offset) == Some(bytes), "nobody appended this at {offset}");
    }
    // An input that finds a note does not bring again what the note stands behind.
    let noted = last_note(&log).bytes().max(promised.oldest);
    for (offset, bytes) in appended.records.range(promised.oldest..noted) {
        let is_there = found.get(offset).is_some_and(|found| found == bytes);
        assert!(is_there, "a note at {noted} survived the record at {offset}: {recovery}");
    }
    assert!(recovery.resumed.bytes() >= promised.durable, "{promised:?}, {recovery}");
    let (kept, lost): (Records, Records) = std::mem::take(&mut appended.records)
        .into_iter()
        .partition(|(at, _)| found.contains_key(at));
    appended.records = kept;
    appended.burnt.extend(lost.into_keys().filter(|at| *at < promised.written));
    let saved = run(&log, &recorder, random, appended);
    let expected = appended.records.range(log.oldest().bytes()..);
    assert!(read_all(&log).iter().eq(expected), "after going on: {recovery}");
    (log, recovery, recorder, saved)
}

fn checkpoint_is_kept(dir: &Path, saved: &[(usize, Offset)], count: usize, log: &Log) {
    let promised = saved.iter().rev().find(|(by, _)| *by <= count);
    let found = Cursors::look(dir).load("elastic").expect("whole");
    if let Some((_, base)) = promised {
        let found = found.as_ref().expect("a saved checkpoint");
        assert!(found.base >= *base, "an older checkpoint came back");
    }
    if let Some(found) = found {
        assert!(found.base <= log.durable(), "the checkpoint passes the log");
    }
}

#[test]
fn a_power_loss_takes_nothing_durable_and_no_offset_is_used_twice() {
    for seed in 1..=SEEDS {
        println!("seed {seed}");
        let random = &mut Random::new(seed);
        let Life { dir, log: _log, recorder, appended, saved } = Life::new(random);
        for crash in 1..=CRASHES {
            let count = recorder.any_moment(random);
            let promised = recorder.promised("", count);
            let image = dir.path().join(format!("{crash}"));
            recorder.power_loss(count, &image, random);
            let mut appended = appended.clone();
            let (log, recovery, second, _) =
                reopen(&image, 2, promised, promised.durable, &mut appended, random);
            assert!(
                recovery.resumed.bytes() >= promised.written || recovery.ended == Ended::New,
                "an offset that was shown is used again: {promised:?}, {recovery}"
            );
            checkpoint_is_kept(&image, &saved, count, &log);
            // Once more, perhaps while the log was being opened.
            let count = second.any_moment(random);
            let again = second.promised("", count);
            let image = dir.path().join(format!("{crash}.again"));
            second.power_loss(count, &image, random);
            let safe = again.durable.max(promised.durable);
            reopen(&image, 3, again, safe, &mut appended, random);
            std::fs::remove_dir_all(&image).expect("removed");
        }
    }
}

#[test]
fn a_process_that_ends_loses_nothing_that_was_written() {
    for seed in 1..=SEEDS {
        println!("seed {seed}");
        let random = &mut Random::new(seed ^ 0xABCD);
        let Life { dir, log: _log, recorder, appended, saved } = Life::new(random);
        for crash in 1..=CRASHES {
            let count = recorder.any_moment(random);
            let promised = recorder.promised("", count);
            let image = dir.path().join(format!("{crash}"));
            recorder.process_loss(count, &image, random);
            let mut appended = appended.clone();
            let (log, recovery, _, _) =
                reopen(&image, 1, promised, promised.written, &mut appended, random);
            assert_eq!(recovery.lost, None);
            checkpoint_is_kept(&image, &saved, count, &log);
        }
    }
}

#[test]
fn what_a_killed_process_left_is_durable_before_it_is_called_so() {
    for seed in 1..=SEEDS {
        println!("seed {seed}");
        let random = &mut Random::new(seed ^ 0x5EED);
        let dir = tempfile::tempdir().expect("a directory");
        let image = |name: &str| dir.path().join(name);
        std::fs::create_dir(image("live")).expect("a directory");
        let recorder = Recorder::new(&image("live"), 1);
        let (log, _) =
            Log::open_on(options(&image("live")), Arc::clone(&recorder) as Arc<dyn LogIo>)
                .expect("a new log");
        let waker = log.reader().waker().expect("a waker");
        let mut appended = Appended::default();
        // Over several segments, none of them ever synced.
        while log.written().bytes() < 7 * STRIPE_BYTES {
            let last = append_some(&mut log.appender().group(), random, 0, &mut appended);
            wait_written(&waker, last);
        }
        // The same running of the kernel; one whose boot id is another, as some containers show at
        // each start; and an opening whose sync had failed before this one.
        for (name, boot, start) in [
            ("killed", 1, Recorder::after_kill as fn(&Path, u8) -> Arc<Recorder>),
            ("renamed", 2, Recorder::after_kill),
            ("refused", 1, Recorder::after_failed_sync),
        ] {
            recorder.process_loss(recorder.len(), &image(name), random);
            let second = start(&image(name), boot);
            let (reopened, recovery) =
                Log::open_on(options(&image(name)), Arc::clone(&second) as Arc<dyn LogIo>)
                    .expect("reopened");
            assert!(reopened.durable() >= recovery.resumed, "what is there is durable now");
            let promised = second.promised("", second.len());
            let dark = image(&format!("{name}.dark"));
            second.power_loss(second.len(), &dark, random);
            // The last write may have been cut off by the kill.
            let found = read_all(&reopened);
            let mut appended = appended.clone();
            appended.records.retain(|at, _| found.contains_key(at));
            assert!(!found.is_empty(), "{name}");
            reopen(&dark, 3, promised, promised.durable, &mut appended, random);
        }
    }
}

#[test]
fn a_name_that_a_killed_process_left_is_durable_before_anything_relies_on_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let (log, _) = Log::open(options(dir.path())).expect("a new log");
    log.cursors().expect("the lease").save("elastic", &Checkpoint::default()).expect("saved");
    log.close().expect("closed");
    let recorder = Recorder::after_kill(dir.path(), 1);
    let (log, _) = Log::open_on(options(dir.path()), Arc::clone(&recorder) as Arc<dyn LogIo>)
        .expect("reopened");
    // The checkpoint may have got its name just before the kill; the log lets go what it passed.
    let _cursors = log.cursors().expect("the lease");
    assert!(recorder.has_synced(&dir.path().join("cursors")));
}

/// Schedules per test, and crashes per schedule.
const SEEDS: u64 = 10;
const CRASHES: u64 = 6;
