//! Lost events are counted exactly and told to their destination, whatever is lost and why.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use shrike::config::{Config, Host};
use shrike::event::{Checkpoint, Offset};
use shrike::log::{Cursors, Disk, Log, LogFile, LogIo, Mark};
use shrike::pipeline::{ByHand, Ended, Engine, Period, read_receipts};

use crate::destination::{Destination, Manner};
use crate::disk::as_the_disk;
use crate::equation::assert_equation;
use crate::wait::{PATIENCE, comes_true};
use crate::{append, config, event, exporter, filled};

/// The counts that gap records say, each gap once.
fn told(destination: &Destination) -> (u64, Vec<String>) {
    let mut gaps: Vec<Value> = destination.gaps();
    gaps.sort_by_key(|gap| gap["event"]["id"].to_string());
    gaps.dedup_by_key(|gap| gap["event"]["id"].to_string());
    let metadata = |gap: &Value, key: &str| {
        let text = gap.to_string();
        let at = text.find("\"export_gap\":{").unwrap_or_else(|| panic!("no gap in {text}"));
        let gap: Value = {
            let rest = &text[at + "\"export_gap\":".len()..];
            let end = rest.find('}').expect("objects end") + 1;
            serde_json::from_str(&rest[..end]).expect("it is JSON")
        };
        gap[key].clone()
    };
    let count = gaps.iter().map(|gap| metadata(gap, "count").as_u64().expect("a number")).sum();
    let reasons = gaps.iter().map(|gap| metadata(gap, "reason").to_string()).collect();
    (count, reasons)
}

/// The events that the audit says were skipped.
fn skips_noted(config: &Config) -> u64 {
    let path = &config.receipts.as_ref().expect("receipts are written").path;
    let mut events = 0;
    read_receipts(path, Period::ALWAYS, |receipt, _| {
        if receipt.action == "skip" {
            let number = receipt.detail.split(' ').next().expect("it has words");
            events += number.parse::<u64>().expect("it begins with their number");
        }
    })
    .expect("the chain is there");
    events
}

const LAGGING: &str = "
    lag_max_bytes: 2MiB
    retry: {initial_backoff_ms: 5, max_backoff_ms: 20}
    circuit_breaker: {failure_threshold: 2, open_ms: 50}";

#[test]
fn an_exporter_that_lags_too_far_skips_and_says_how_many_to_its_destination() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (ill, well) = (Destination::start(Manner::Busy), Destination::start(Manner::Accept));
    let config = config(dir.path(), &[("ill", &ill, LAGGING), ("well", &well, "")]);
    let log = filled(&config, 0..10_000, 900);
    let engine =
        Engine::start(log.clone(), config.engine_options(&Host::default())).expect("it starts");
    let status = |engine: &Engine| exporter(&engine.status(), "ill").clone();
    assert!(comes_true(|| status(&engine).counts.skipped > 0));
    assert!(comes_true(|| status(&engine).gaps > 0));
    // The gap survives a restart, and grows in the next run.
    let before = exporter(&assert_equation(engine.end()), "ill").clone();
    assert_eq!(before.counts.total(), before.counts.skipped);
    append(&log, 10_000..20_000, 900);
    log.close().expect("the disk takes it");
    let log = filled(&config, 0..0, 900);
    let engine =
        Engine::start(log.clone(), config.engine_options(&Host::default())).expect("it starts");
    assert!(comes_true(|| status(&engine).failing.is_some()));
    let failing = Instant::now();
    // One gap's record is on its way, and the next one grows however long the outage lasts.
    for from in [20_000, 24_000, 28_000] {
        let before = status(&engine).counts.skipped;
        append(&log, from..from + 4_000, 900);
        assert!(comes_true(|| status(&engine).counts.skipped > before + 1_000));
        assert!(comes_true(|| status(&engine).gaps > 0));
    }
    // Within its bound nothing more is skipped: what comes after is no part of the outage.
    let bound = config.exporters[0].settings.lag_bytes_max.expect("it is configured");
    assert!(comes_true(|| status(&engine).lag_bytes <= bound), "{:?}", status(&engine));
    // Before the status: a machine that has others to serve may let this thread wait in between.
    let since = failing.elapsed();
    let one = status(&engine);
    // Skipping is no arriving: the outage goes on, and so does the time after which it is told.
    let lasts = one.failing.unwrap_or_default();
    assert!(lasts >= since, "{since:?}: {one:?}");
    assert!(one.gaps <= 2, "an outage makes few records: {one:?}");
    assert!(ill.gaps().is_empty());
    ill.turn(Manner::Accept);
    let ended = engine.drain(Instant::now() + PATIENCE);
    let end = assert_equation(engine.end());
    assert_eq!(ended, Ended::Settled, "{end:?}");
    let one = exporter(&end, "ill");
    assert_eq!((one.in_range, one.pending, one.gaps), (32_000, 0, 0), "{one:?}");
    assert_eq!(one.counts.delivered as usize, ill.accepted().len());
    let (count, reasons) = told(&ill);
    assert_eq!(count, one.counts.skipped, "every lost event is told, once");
    assert!(reasons.iter().all(|reason| reason == "\"lag\""), "{reasons:?}");
    assert!(reasons.len() <= 2, "an outage makes few records: {reasons:?}");
    assert_eq!(skips_noted(&config), one.counts.skipped, "every lost event stands in the audit");
    assert!(well.gaps().is_empty(), "who lost nothing is told nothing");
    assert_eq!(well.accepted().len(), 32_000);
}

#[test]
fn a_damaged_stripe_is_told_as_such() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Accept);
    let config = config(dir.path(), &[("one", &destination, "")]);
    filled(&config, 0..4_000, 900).close().expect("the disk takes it");
    flip(&config.log.dir, (1 << 20) + 300_000);
    let log = filled(&config, 0..0, 900);
    let engine = Engine::start(log, config.engine_options(&Host::default())).expect("it starts");
    let ended = engine.drain(Instant::now() + PATIENCE);
    let status = assert_equation(engine.end());
    assert_eq!(ended, Ended::Settled, "{status:?}");
    let one = exporter(&status, "one");
    assert!(one.counts.skipped > 0, "{one:?}");
    assert_eq!(told(&destination), (one.counts.skipped, vec!["\"corrupt\"".to_owned()]));
}

/// Changes one byte of the first segment.
fn flip(dir: &Path, at: u64) {
    use std::os::unix::fs::FileExt as _;
    let path = dir.join(format!("{:020}.log", 0));
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).expect("it is there");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("it is long enough");
    file.write_all_at(&[byte[0] ^ 1], at).expect("the directory is ours");
}

/// A disk with so many bytes left; files give theirs back when they go.
struct SmallDisk {
    free: AtomicU64,
}

/// The least that a file takes.
const BLOCK: u64 = 4096;

fn bytes_of(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |meta| meta.len().next_multiple_of(BLOCK).max(BLOCK))
}

impl LogIo for SmallDisk {
    as_the_disk!(write, truncate, sync, sync_dir, boot, no_ring);

    fn create(&self, path: &Path, bytes: u64) -> io::Result<LogFile> {
        let bytes_needed = bytes.next_multiple_of(BLOCK).max(BLOCK);
        self.free
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |free| {
                free.checked_sub(bytes_needed)
            })
            .map_err(|_| io::ErrorKind::StorageFull)?;
        Disk.create(path, bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let replaced = bytes_of(to);
        Disk.rename(from, to)?;
        self.free.fetch_add(replaced, Ordering::AcqRel);
        Ok(())
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let bytes = bytes_of(path);
        Disk.unlink(path)?;
        self.free.fetch_add(bytes, Ordering::AcqRel);
        Ok(())
    }
}

#[test]
fn a_full_disk_lets_the_oldest_segment_go_and_the_log_goes_on() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Busy);
    let keys = "
    retry: {initial_backoff_ms: 5, max_backoff_ms: 20}
    circuit_breaker: {failure_threshold: 2, open_ms: 50}";
    let config: Config = config(dir.path(), &[("one", &destination, keys)]);
    let disk = Arc::new(SmallDisk { free: AtomicU64::new(1 << 40) });
    let io: Arc<dyn LogIo> = disk.clone();
    let (log, _) = Log::open_on(config.log.clone(), io).expect("there is space");
    let engine =
        Engine::start(log.clone(), config.engine_options(&Host::default())).expect("it starts");
    append(&log, 0..15_000, 900);
    disk.free.store(0, Ordering::Release);
    // What is prepared already still fills; then the disk refuses, until a segment has gone.
    let appender = log.appender();
    let mut refused = 0;
    let mut number = 15_000;
    let deadline = Instant::now() + PATIENCE;
    while number < 40_000 {
        assert!(Instant::now() < deadline, "the log did not go on: {:?}", engine.status());
        let mark = Mark { received_ns: u64::from(number) + 1, checked: true, ..Mark::default() };
        match appender.append(event(number, 900).as_bytes(), mark) {
            Ok(_) => number += 1,
            Err(_) => {
                refused += 1;
                std::thread::yield_now();
            }
        }
    }
    log.flush().expect("there is space again");
    assert!(refused > 0, "the disk was full for a while");
    destination.turn(Manner::Accept);
    let ended = engine.drain(Instant::now() + PATIENCE);
    let status = assert_equation(engine.end());
    assert_eq!(ended, Ended::Settled, "{status:?}");
    let one = exporter(&status, "one");
    assert_eq!(one.in_range, 40_000, "{one:?}");
    assert!(one.counts.skipped > 0 && one.counts.delivered > 0, "{one:?}");
    assert_eq!(told(&destination).0, one.counts.skipped);
    let checkpoint = shrike::log::Cursors::look(&config.log.dir).load("one").expect("it is whole");
    assert_eq!(checkpoint.expect("it was saved").base, status.written);
}

/// "`lag_max_bytes` and `on_lag: skip | block`": what comes in waits at the bound, not at the end of
/// a segment.
#[test]
fn an_exporter_that_blocks_holds_up_what_comes_in_at_its_own_bound() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let ill = Destination::start(Manner::Busy);
    let keys = "
    on_lag: block
    lag_max_bytes: 1MiB
    retry: {initial_backoff_ms: 5, max_backoff_ms: 20}
    circuit_breaker: {failure_threshold: 2, open_ms: 50}";
    let config = config(dir.path(), &[("ill", &ill, keys)]);
    let log = filled(&config, 0..1, 900);
    let engine =
        Engine::start(log.clone(), config.engine_options(&Host::default())).expect("it starts");
    let appender = log.appender();
    let append = |number: u32| {
        let mark = Mark { received_ns: u64::from(number) + 1, checked: true, ..Mark::default() };
        appender.append(event(number, 900).as_bytes(), mark)
    };
    let mut number = 1;
    let refused = loop {
        assert!(log.written().bytes() < 8 << 20, "half a segment, and nobody is held up");
        match append(number) {
            Ok(_) => number += 1,
            Err(refused) => break refused.to_string(),
        }
        // About a megabyte a second; the lag is looked at once a second, and later where a disk or
        // a processor that others use holds up whoever looks: then this waits for it.
        let is_over = log.written().bytes() > 3 << 20;
        std::thread::park_timeout(Duration::from_millis(if is_over { 20 } else { 1 }));
    };
    assert!(refused.contains("on_lag: block"), "{refused}");
    assert!(log.written().bytes() > 1 << 20, "within its bound nobody is held up");
    ill.turn(Manner::Accept);
    assert!(comes_true(|| append(number).is_ok()), "the log goes on by itself");
    log.flush().expect("there is room");
    let ended = engine.drain(Instant::now() + PATIENCE);
    let status = assert_equation(engine.end());
    assert_eq!(ended, Ended::Settled, "{status:?}");
    let one = exporter(&status, "ill");
    let all = u64::from(number) + 1;
    assert_eq!((one.in_range, one.counts.delivered, one.counts.skipped), (all, all, 0), "{one:?}");
}

#[test]
fn an_exporter_that_blocks_loses_nothing_and_holds_up_what_comes_in() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (ill, well) = (Destination::start(Manner::Busy), Destination::start(Manner::Accept));
    let keys = "
    on_lag: block
    retry: {initial_backoff_ms: 5, max_backoff_ms: 20}
    circuit_breaker: {failure_threshold: 2, open_ms: 50}";
    let mut config = config(dir.path(), &[("ill", &ill, keys), ("well", &well, "")]);
    (config.log.segment_bytes, config.log.keep_bytes) = (2 << 20, 0);
    config.log.bytes_max = 8 << 20;
    let log = filled(&config, 0..1, 900);
    let engine =
        Engine::start(log.clone(), config.engine_options(&Host::default())).expect("it starts");
    let appender = log.appender();
    let append = |number: u32| {
        let mark = Mark { received_ns: u64::from(number) + 1, checked: true, ..Mark::default() };
        appender.append(event(number, 900).as_bytes(), mark)
    };
    let deadline = Instant::now() + PATIENCE;
    let mut number = 1;
    let refused = loop {
        assert!(Instant::now() < deadline, "nobody held up {number} events");
        match append(number) {
            Ok(_) => number += 1,
            Err(refused) => break refused.to_string(),
        }
    };
    assert!(refused.contains("on_lag: block"), "{refused}");
    assert_eq!(log.oldest(), Offset::ZERO, "all of it is needed");
    ill.turn(Manner::Accept);
    assert!(comes_true(|| append(number).is_ok()), "the log goes on by itself");
    log.flush().expect("there is room");
    let ended = engine.drain(Instant::now() + PATIENCE);
    assert!(comes_true(|| log.oldest() > Offset::ZERO), "what all have passed goes");
    let status = assert_equation(engine.end());
    assert_eq!(ended, Ended::Settled, "{status:?}");
    let one = exporter(&status, "ill");
    let all = u64::from(number) + 1;
    assert_eq!((one.in_range, one.counts.delivered, one.counts.skipped), (all, all, 0), "{one:?}");
    assert_eq!(ill.count() as u64, all);
}

/// "A skip is never silent: counted" (`design.md` 2), also where the log is not to be counted now.
#[test]
fn what_cannot_be_counted_is_not_skipped() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Accept);
    let config = config(dir.path(), &[("one", &destination, "\n    lag_max_bytes: 1MiB")]);
    let log = filled(&config, 0..10, 900);
    // In the middle of a stripe, so that the index does not know how many events are left of it.
    let start = log.written();
    let cursors = Cursors::open(&config.log.dir).expect("nobody else has them");
    let checkpoint = Checkpoint { start, base: start, ..Checkpoint::default() };
    cursors.save("one", &checkpoint).expect("the disk takes it");
    drop(cursors);
    append(&log, 10..3_000, 900);
    // Nobody has looked at it since it was written.
    let mut engine = ByHand::start(log.clone(), config.engine_options(&Host::default()))
        .expect("what is on disk is whole");
    // As when the process has no descriptor left to map it with.
    let segment = config.log.dir.join(format!("{:020}.log", 0));
    let aside = config.log.dir.join("aside");
    fs::rename(&segment, &aside).expect("the directory is ours");
    engine.look_after();
    fs::rename(&aside, &segment).expect("the directory is ours");
    let one = engine.status(0);
    assert_eq!((one.counts.total(), one.pending), (0, 2_990), "{one:?}");
    engine.look_after();
    let one = engine.status(0);
    assert!(one.counts.skipped > 1_000, "{one:?}");
    assert_eq!(one.counts.skipped + one.pending, 2_990, "{one:?}");
}
