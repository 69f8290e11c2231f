//! Failing disks and damaged state: each stops what it concerns, and nothing is lost.

use std::fs;
use std::time::{Duration, Instant};

use shrike::config::Host;
use shrike::deliver::From;
use shrike::event::Offset;
use shrike::pipeline::{Ended, Engine, NewPass, Wanted};

use crate::destination::{Destination, Manner};
use crate::equation::assert_equation;
use crate::wait::{PATIENCE, comes_true, comes_true_within};
use crate::{append, append_records, config, event, exporter, filled, records, run_to_the_end};

#[test]
fn a_damaged_checkpoint_stops_its_own_exporter_only() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (left, right) = (Destination::start(Manner::Accept), Destination::start(Manner::Accept));
    let config = config(dir.path(), &[("left", &left, ""), ("right", &right, "")]);
    drop(run_to_the_end(&config, filled(&config, 0..500, 900)));
    let cursor = config.log.dir.join("cursors/left.cursor");
    let mut bytes = fs::read(&cursor).expect("it was saved");
    bytes[40] ^= 1;
    fs::write(&cursor, bytes).expect("the directory is ours");

    let log = filled(&config, 500..1_000, 900);
    let engine = Engine::start(log, config.engine_options(&Host::default())).expect("it starts");
    assert!(comes_true(|| right.count() == 1_000));
    let status = engine.status();
    let stopped = exporter(&status, "left");
    assert_eq!(stopped.state, "stopped");
    let (_, problem) = stopped.last_error.clone().expect("an operator wants to know why");
    assert!(problem.contains("left.cursor is damaged"), "{problem}");
    assert!(problem.contains("shrike cursor rewind"), "{problem}");
    assert_eq!(left.accepted().len(), 500, "nothing was sent from a place that nobody knows");

    let deadline = Instant::now() + PATIENCE;
    engine.rewind("left", NewPass::at(Offset::ZERO), deadline).expect("the advice works");
    let ended = engine.drain(Instant::now() + PATIENCE);
    let status = assert_equation(engine.end());
    assert_eq!(ended, Ended::Settled, "{status:?}");
    let left_status = exporter(&status, "left");
    assert_eq!((left_status.counts.delivered, left_status.in_range), (1_000, 1_000));
    assert_eq!(left.accepted().len(), 1_000);
}

/// One that wants all, and one that wants only what is new.
#[test]
fn files_that_cannot_be_used_stop_their_own_exporter_until_they_can() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let [left, right, late] = [(); 3].map(|()| Destination::start(Manner::Accept));
    let mut config =
        config(dir.path(), &[("left", &left, ""), ("right", &right, ""), ("late", &late, "")]);
    let mut specs = config.exporters.iter_mut();
    specs.find(|it| it.settings.name == "late").expect("it is there").settings.from = From::Latest;
    let in_the_way = ["left", "late"].map(|name| dir.path().join("state/dlq").join(name));
    fs::create_dir_all(dir.path().join("state/dlq")).expect("the directory is ours");
    in_the_way.iter().for_each(|path| fs::write(path, "").expect("the directory is ours"));

    let log = filled(&config, 0..500, 900);
    let engine =
        Engine::start(log.clone(), config.engine_options(&Host::default())).expect("it starts");
    append(&log, 500..1_000, 900);
    assert!(comes_true(|| right.count() == 1_000));
    let status = engine.status();
    for name in ["left", "late"] {
        let (_, problem) = exporter(&status, name).last_error.clone().expect("a reason");
        assert_eq!(exporter(&status, name).state, "stopped");
        assert!(problem.contains(&format!("dlq/{name}")), "{problem}");
        let refused = engine.replay(name, &Wanted::default(), None).expect_err("it does not run");
        assert!(refused.to_string().contains(&problem), "{refused}");
    }
    let later = Instant::now() + Duration::from_secs(60);
    engine.start_stopped(later);
    assert_eq!(exporter(&engine.status(), "left").state, "stopped");
    in_the_way.iter().for_each(|path| fs::remove_file(path).expect("it is there"));
    engine.start_stopped(later);
    assert_eq!(exporter(&engine.status(), "left").state, "stopped", "it was tried just now");
    engine.start_stopped(later + Duration::from_secs(60));
    let ended = engine.drain(Instant::now() + PATIENCE);
    let status = assert_equation(engine.end());
    assert_eq!(ended, Ended::Settled, "{status:?}");
    assert_eq!((left.accepted().len(), late.accepted().len()), (1_000, 500));
}

#[test]
fn a_store_that_cannot_write_keeps_its_events_pending() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Refuse('7'));
    let config = config(dir.path(), &[("one", &destination, "")]);
    let log = filled(&config, 0..1, 900);
    let engine =
        Engine::start(log.clone(), config.engine_options(&Host::default())).expect("it starts");
    // The segment that is open, and the one that is prepared, take two letters each; a file in
    // the place of the directory lets no further one be made.
    let (store, aside) = (dir.path().join("state/dlq/one"), dir.path().join("state/aside"));
    fs::rename(&store, &aside).expect("the directory is ours");
    fs::write(&store, b"").expect("the directory is ours");
    append_records(&log, (0..9).map(|n| event(n * 16 + 7, 2_500_000)));
    append_records(&log, (0..100).map(|n| event(n * 16 + 1, 900)));
    let one = || exporter(&engine.status(), "one").clone();
    assert!(comes_true(|| one()
        .last_error
        .is_some_and(|(_, text)| { text.contains("dead letter not written") })));
    let stuck = one();
    assert!(stuck.pending > 0 && stuck.is_whole(), "{stuck:?}");

    fs::remove_file(&store).expect("the directory is ours");
    fs::rename(&aside, &store).expect("the directory is ours");
    let ended = engine.drain(Instant::now() + PATIENCE);
    let status = assert_equation(engine.end());
    assert_eq!(ended, Ended::Settled, "{status:?}");
    let one = exporter(&status, "one");
    assert_eq!((one.counts.delivered, one.counts.dead_lettered), (101, 9), "{one:?}");
    assert_eq!(records(&store).len(), 9);
}

#[test]
fn a_held_route_lets_the_others_go_on_and_loses_nothing() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Lacks("alerts"));
    let keys = "
    index: events
    retry: {initial_backoff_ms: 5, max_backoff_ms: 20}
    batch: {max_bytes: 100KB}
    routing: [{condition: \"severity == 'critical'\", index: alerts}]";
    let mut config = config(dir.path(), &[("one", &destination, keys)]);
    // Far less than the held events take: they would stop the others.
    config.in_flight_bytes = 1 << 20;
    let log = filled(&config, 0..0, 900);
    let engine = Engine::start(log.clone(), config.engine_options(&Host::default()));
    let engine = engine.expect("it starts");
    let alert = |number| event(number, 900).replace("\"high\"", "\"critical\"");
    append_records(&log, (0..3_000).map(alert));
    append_records(&log, (3_000..6_000).map(|number| event(number, 900)));
    let one = || exporter(&engine.status(), "one").clone();
    // Shown at once, and not only when its events are set aside, after ten seconds.
    assert!(comes_true(|| one().state == "degraded"), "{:?}", one());
    assert_eq!(one().parked, 0);
    let arrived = || destination.accepted().len() == 3_000;
    assert!(comes_true(arrived), "{:?}", one());
    assert!(comes_true(|| one().pending == 3_000), "{:?}", one());
    assert!(one().is_whole(), "{:?}", one());
    assert_eq!((one().counts.dead_lettered, one().state), (0, "degraded"));
    assert!(comes_true(|| one().parked > 2_000), "{:?}", one());

    // Nobody prepares the index by itself: a probe every minute finds it. A restart asks at once.
    destination.turn(Manner::Accept);
    drop(assert_equation(engine.end()));
    drop(log.close());
    let status = run_to_the_end(&config, filled(&config, 0..0, 900));
    let one = exporter(&status, "one");
    assert_eq!((one.counts.delivered, one.in_range), (6_000, 6_000), "{one:?}");
    assert_eq!(destination.accepted().len(), 6_000);
}

/// "After 10 s the events of a held route go to the exporter's parked log" (`design.md` 4), also
/// where nothing else happens meanwhile.
#[test]
fn what_waits_for_a_held_route_is_set_aside_though_nothing_else_comes() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Lacks("alerts"));
    let config = config(dir.path(), &[("one", &destination, "\n    index: alerts")]);
    let log = filled(&config, 0..1, 900);
    let engine =
        Engine::start(log.clone(), config.engine_options(&Host::default())).expect("it starts");
    let one = || exporter(&engine.status(), "one").clone();
    assert!(comes_true(|| one().state == "degraded"), "{:?}", one());
    append(&log, 1..2, 900);
    let soon = Duration::from_secs(30);
    assert!(
        comes_true_within(soon, || one().parked == 1),
        "one to try with, one aside: {:?}",
        one()
    );
    assert_eq!(one().pending, 2);
    drop(assert_equation(engine.end()));
}

#[test]
fn a_held_route_pins_the_log_no_further_than_the_lag_bound() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Lacks("alerts"));
    let keys = "
    index: events
    lag_max_bytes: 8MiB
    retry: {initial_backoff_ms: 5, max_backoff_ms: 20}
    batch: {max_bytes: 100KB}
    routing: [{condition: \"severity == 'critical'\", index: alerts}]";
    let mut config = config(dir.path(), &[("one", &destination, keys)]);
    config.in_flight_bytes = 1 << 20;
    let log = filled(&config, 0..0, 900);
    let engine = Engine::start(log.clone(), config.engine_options(&Host::default()));
    let engine = engine.expect("it starts");
    let alert = |number| event(number, 900).replace("\"high\"", "\"critical\"");
    append_records(&log, (0..3_000).map(alert));
    append_records(&log, (3_000..6_000).map(|number| event(number, 900)));
    let one = || exporter(&engine.status(), "one").clone();
    assert!(comes_true(|| destination.count() == 3_000), "{:?}", one());
    // Each lane sets its own aside, and one alone may deliver all others meanwhile.
    assert!(comes_true(|| one().parked > 2_000), "{:?}", one());
    // They hold the position where they lie, until the bound is reached.
    let first = one();
    assert!(first.base.bytes() < 1_000 && first.counts.skipped == 0, "{first:?}");
    append_records(&log, (6_000..13_000).map(|number| event(number, 900)));
    assert!(comes_true(|| one().counts.skipped == 3_000), "{:?}", one());
    assert!(comes_true(|| destination.count() == 10_000), "{:?}", one());
    let is_free = || one().pending == 0 && one().base == log.written();
    assert!(comes_true(is_free), "{:?}", one());
    assert!(comes_true(|| !destination.gaps().is_empty()), "nobody is told: {:?}", one());
    let status = assert_equation(engine.end());
    let one = exporter(&status, "one");
    assert_eq!((one.counts.delivered, one.counts.dead_lettered), (10_000, 0), "{one:?}");
}

#[test]
fn state_of_a_newer_version_is_left_to_it_with_a_reason() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (left, right) =
        (Destination::start(Manner::Refuse('7')), Destination::start(Manner::Accept));
    let config = config(dir.path(), &[("left", &left, ""), ("right", &right, "")]);
    drop(run_to_the_end(&config, filled(&config, 0..100, 900)));
    let problem = |config: &shrike::config::Config, numbers: std::ops::Range<u32>| {
        let until = numbers.end as usize;
        let log = filled(config, numbers, 900);
        let engine = Engine::start(log, config.engine_options(&Host::default()));
        let engine = engine.expect("the others start");
        assert!(comes_true(|| right.accepted().len() == until));
        let status = assert_equation(engine.end());
        let left = exporter(&status, "left");
        assert_eq!(left.state, "stopped");
        left.last_error.clone().expect("an operator wants to know why").1
    };

    // A cursor: the version follows the magic.
    let cursor = config.log.dir.join("cursors/left.cursor");
    let whole = fs::read(&cursor).expect("it was saved");
    let mut newer = whole.clone();
    newer[8] = 99;
    let sum = crc_fast::crc32_iscsi(&[&newer[8..12], &newer[16..]].concat());
    newer[12..16].copy_from_slice(&sum.to_le_bytes());
    fs::write(&cursor, &newer).expect("the directory is ours");
    let text = problem(&config, 100..200);
    assert!(text.contains("version 99") && text.contains("use the newer shrike"), "{text}");
    assert_eq!(fs::read(&cursor).expect("it is there"), newer, "it is not touched");
    fs::write(&cursor, &whole).expect("the directory is ours");

    // A dead letter.
    let store = dir.path().join("state/dlq/left");
    let aside = dir.path().join("aside");
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        fs::create_dir_all(to).expect("the directory is ours");
        for entry in fs::read_dir(from).expect("it is there") {
            let path = entry.expect("an entry").path();
            if path.is_file() {
                let name = path.file_name().expect("a file has a name");
                fs::copy(&path, to.join(name)).expect("the directory is ours");
            }
        }
    };
    copy(&store, &aside);
    let options = shrike::log::LogOptions {
        dir: store.clone(),
        segment_bytes: 8 << 20,
        ..shrike::log::LogOptions::default()
    };
    let (letters, _) = shrike::log::Log::open(options).expect("nobody else has it");
    append_records(&letters, [r#"{"v":9,"what":"nobody knows yet"}"#.to_owned()]);
    letters.close().expect("the disk takes it");
    let text = problem(&config, 200..300);
    assert!(text.contains("version 9") && text.contains("use the newer shrike"), "{text}");
    fs::remove_dir_all(&store).expect("the directory is ours");
    copy(&aside, &store);

    // The receipts: nothing can be proven without them, so nothing starts.
    let path = dir.path().join("state/audit.jsonl");
    let whole = fs::read_to_string(&path).expect("it was written");
    let newer = whole.replacen("\"kind\":\"begin\",\"v\":1", "\"kind\":\"begin\",\"v\":9", 1);
    assert_ne!(newer, whole);
    fs::write(&path, &newer).expect("the directory is ours");
    let log = filled(&config, 300..301, 900);
    let refused = Engine::start(log.clone(), config.engine_options(&Host::default()));
    let text = refused.expect_err("it is of a newer version").to_string();
    assert!(text.contains("audit.jsonl: version 9"), "{text}");
    assert_eq!(fs::read_to_string(&path).expect("it is there"), newer, "it is not touched");
    fs::write(&path, &whole).expect("the directory is ours");
    drop(log.close());
    let status = run_to_the_end(&config, filled(&config, 301..302, 900));
    assert_eq!(exporter(&status, "left").in_range, 302, "all of it goes on");
}

#[test]
fn a_note_that_was_settled_before_its_record_holds_up_no_checkpoint() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Hang);
    let config = config(dir.path(), &[("one", &destination, "")]);
    let log = filled(&config, 0..1, 900);
    let engine =
        Engine::start(log.clone(), config.engine_options(&Host::default())).expect("it starts");
    let one = |engine: &Engine| exporter(&engine.status(), "one").clone();
    assert!(comes_true(|| one(&engine).in_flight == 1), "{:?}", one(&engine));
    // Behind a record that was read and is on its way: read by itself, and settled at once.
    let note = || {
        log.appender().group().note(b"{}").expect("there is room");
    };
    note();
    log.flush().expect("the disk takes it");
    let saved = || {
        let cursors = shrike::log::Cursors::look(&config.log.dir);
        cursors.load("one").expect("replaced as a whole").unwrap_or_default()
    };
    assert!(comes_true(|| saved().ahead.len() == 1), "{:?}", saved());
    // And one that the next process alone sees.
    append_records(&log, (1..2).map(|number| event(number, 900)));
    note();
    log.flush().expect("the disk takes it");
    drop(assert_equation(engine.end()));
    log.close().expect("the disk takes it");

    // The next process reads record and note at once.
    destination.turn(Manner::Accept);
    let status = run_to_the_end(&config, filled(&config, 0..0, 900));
    let found = exporter(&status, "one");
    assert_eq!((found.counts.delivered, found.base), (2, status.written), "{found:?}");
    assert_eq!((saved().base, saved().ahead.len()), (status.written, 0), "{:?}", saved());
    let again = run_to_the_end(&config, filled(&config, 0..0, 900));
    assert_eq!(exporter(&again, "one").requests, 0, "nothing is left to be sent");
}
