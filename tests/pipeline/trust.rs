//! Failing disks and damaged state: each stops what it concerns, and nothing is lost.

use std::fs;
use std::time::Instant;

use shrike::config::Host;
use shrike::event::Offset;
use shrike::pipeline::{Ended, Engine};

use crate::destination::{Destination, Manner};
use crate::{
    PATIENCE, append_records, config, event, exporter, filled, records, run_to_the_end, wait_for,
};

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
    assert!(wait_for(PATIENCE, || right.count() == 1_000));
    let status = engine.status();
    let stopped = exporter(&status, "left");
    assert_eq!(stopped.state, "stopped");
    let (_, problem) = stopped.last_error.clone().expect("an operator wants to know why");
    assert!(problem.contains("left.cursor is damaged"), "{problem}");
    assert!(problem.contains("shrike cursor rewind"), "{problem}");
    assert_eq!(left.accepted().len(), 500, "nothing was sent from a place that nobody knows");

    let deadline = Instant::now() + PATIENCE;
    engine.rewind("left", Offset::ZERO, deadline).expect("the advice works");
    let ended = engine.drain(Instant::now() + PATIENCE);
    let status = engine.end();
    assert_eq!(ended, Ended::Settled, "{status:?}");
    let left_status = exporter(&status, "left");
    assert_eq!((left_status.counts.delivered, left_status.in_range), (1_000, 1_000));
    assert_eq!(left.accepted().len(), 1_000);
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
    assert!(wait_for(PATIENCE, || one()
        .last_error
        .is_some_and(|(_, text)| { text.contains("dead letter not written") })));
    // Lanes move, so that an event may be between two counts for a moment.
    let is_whole = || {
        let one = one();
        one.pending > 0 && one.counts.total() + one.pending == one.in_range
    };
    assert!(wait_for(PATIENCE, is_whole), "{:?}", one());

    fs::remove_file(&store).expect("the directory is ours");
    fs::rename(&aside, &store).expect("the directory is ours");
    let ended = engine.drain(Instant::now() + PATIENCE);
    let status = engine.end();
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
    // A route is held for ten seconds before its events are set aside.
    let arrived = || destination.accepted().len() == 3_000;
    assert!(wait_for(Duration::from_secs(60), arrived), "{:?}", one());
    let is_whole = || {
        let one = one();
        one.pending == 3_000 && one.counts.total() + one.pending == one.in_range
    };
    assert!(wait_for(Duration::from_secs(20), is_whole), "{:?}", one());
    assert_eq!(one().counts.dead_lettered, 0);

    // Nobody prepares the index by itself: a probe every minute finds it. A restart asks at once.
    destination.turn(Manner::Accept);
    drop(engine.end());
    drop(log.close());
    let status = run_to_the_end(&config, filled(&config, 0..0, 900));
    let one = exporter(&status, "one");
    assert_eq!((one.counts.delivered, one.in_range), (6_000, 6_000), "{one:?}");
    assert_eq!(destination.accepted().len(), 6_000);
}
