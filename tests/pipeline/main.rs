//! Log, engine and destinations over real sockets: the account holds, whatever happens.

mod account;
mod cold;
mod confirmed;
mod defects;
mod destination;
#[path = "../support/disk.rs"]
mod disk;
#[path = "../support/engine.rs"]
mod engine;
#[path = "../support/equation.rs"]
mod equation;
mod gaps;
mod held;
mod left;
mod letters;
mod meter;
mod ordered;
mod poison;
mod reload;
mod requests;
mod rewind;
mod setup;
mod stalled;
mod trust;
#[path = "../support/wait.rs"]
mod wait;
mod well;

use std::path::Path;
use std::time::Instant;

use destination::{Destination, Manner};
use engine::{append as append_records, drained};
use equation::assert_equation;
use shrike::config::{Config, Flags, Host, System, Text};
use shrike::event::Offset;
use shrike::log::Log;
use shrike::pipeline::{Ended, Engine, EngineOptions, ExporterStatus, NewPass, Status};
use shrike::vendors;
use wait::{PATIENCE, comes_true};

#[test]
fn two_exporters_get_every_event_once() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (left, right) = (Destination::start(Manner::Accept), Destination::start(Manner::Accept));
    let config = config(dir.path(), &[("left", &left, ""), ("right", &right, "")]);
    let log = filled(&config, 0..20_000, 900);
    let status = run_to_the_end(&config, log);
    for (name, destination) in [("left", &left), ("right", &right)] {
        let exporter = exporter(&status, name);
        assert_eq!((exporter.in_range, exporter.counts.delivered), (20_000, 20_000), "{name}");
        assert_eq!(destination.accepted().len(), 20_000, "{name}");
        assert!(destination.accepted().values().all(|&times| times == 1), "{name}");
    }
}

/// Where both keep up: a lane whose thread does not get to run has its stripes read by others, and
/// what they read is opened once more.
#[test]
fn two_exporters_that_keep_up_share_one_opening() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (left, right) = (Destination::start(Manner::Accept), Destination::start(Manner::Accept));
    let config = config(dir.path(), &[("left", &left, ""), ("right", &right, "")]);
    let log = filled(&config, 0..0, 900);
    let engine =
        Engine::start(log.clone(), config.engine_options(&Host::default())).expect("it starts");
    // Less than half a stripe at a time, so that at most one stripe is new to anybody.
    let step = 400;
    for from in (0..6_000).step_by(step) {
        append(&log, from..from + step as u32, 900);
        let have_all = || {
            let count = (from as usize) + step;
            left.count() == count && right.count() == count
        };
        assert!(comes_true(have_all), "{} and {}", left.count(), right.count());
    }
    let status = assert_equation(engine.end());
    assert!(
        status.records_opened * 100 <= 6_000 * 105,
        "{} openings of 6000 records for two exporters",
        status.records_opened
    );
}

/// What comes due while a lane is at work is due when it looks around next.
#[test]
fn a_batch_that_lingers_for_less_than_a_turn_takes_goes_out_at_once() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Accept);
    let config = config(dir.path(), &[("one", &destination, "\n    latency_target_ms: 1")]);
    let log = filled(&config, 0..0, 900);
    let engine =
        Engine::start(log.clone(), config.engine_options(&Host::default())).expect("it starts");
    let took = (0..8).map(|number| {
        append(&log, number..number + 1, 900);
        let appended = Instant::now();
        assert!(comes_true(|| destination.count() as u32 > number));
        appended.elapsed()
    });
    let took: Vec<_> = took.collect();
    assert_equation(engine.end());
    let late = took.iter().filter(|took| took.as_millis() >= 900).count();
    assert!(late <= 2, "lanes look around once a second when nothing wakes them: {took:?}");
}

/// Of two that have much to read, the one behind goes first until both read the same blocks.
#[test]
fn two_exporters_that_have_drifted_apart_come_together_again() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (left, right) = (Destination::start(Manner::Accept), Destination::start(Manner::Accept));
    let one_worker = |config: &Config, log| {
        let options = EngineOptions { workers: 1, ..config.engine_options(&Host::default()) };
        let engine = Engine::start(log, options).expect("it starts");
        assert_eq!(engine.drain(Instant::now() + PATIENCE), Ended::Settled);
        assert_equation(engine.end())
    };
    let before = config(dir.path(), &[("left", &left, "")]);
    let log = filled(&before, 0..3_000, 4_000);
    one_worker(&before, log.clone());
    append(&log, 3_000..12_000, 4_000);
    let both = config(dir.path(), &[("left", &left, ""), ("right", &right, "")]);
    let status = one_worker(&both, log);
    assert_eq!((left.count(), right.count()), (12_000, 12_000));
    assert!(
        status.records_opened < 18_500,
        "{} openings of 12000 records; 21000 where each opens for itself",
        status.records_opened
    );
}

#[test]
fn an_exporter_that_hangs_slows_no_other() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (well, ill) = (Destination::start(Manner::Accept), Destination::start(Manner::Hang));
    let config = config(dir.path(), &[("well", &well, ""), ("ill", &ill, "")]);
    let log = filled(&config, 0..10_000, 900);
    let engine = Engine::start(log, config.engine_options(&Host::default())).expect("it starts");
    let is_done = comes_true(|| well.count() == 10_000);
    let status = engine.status();
    drop(assert_equation(engine.end()));
    assert!(is_done, "the well one has {} of 10000", well.accepted().len());
    assert_eq!(exporter(&status, "ill").counts.delivered, 0);
    let ill = exporter(&status, "ill");
    assert_eq!(ill.counts.total() + ill.pending, ill.in_range);
}

#[test]
fn a_restart_goes_on_at_the_checkpoint() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Accept);
    let config = config(dir.path(), &[("one", &destination, "")]);
    let first = run_to_the_end(&config, filled(&config, 0..3_000, 900));
    assert_eq!(exporter(&first, "one").counts.delivered, 3_000);
    let second = run_to_the_end(&config, filled(&config, 3_000..5_000, 900));
    assert_eq!(exporter(&second, "one").counts.delivered, 5_000, "counts go on");
    assert!(destination.accepted().values().all(|&times| times == 1), "nothing was sent twice");
    assert_eq!(destination.accepted().len(), 5_000);
}

#[test]
fn an_outage_is_not_a_failure_of_events() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Busy);
    let config = config(dir.path(), &[("one", &destination, QUICK)]);
    let log = filled(&config, 0..2_000, 900);
    let engine = Engine::start(log, config.engine_options(&Host::default())).expect("it starts");
    assert!(comes_true(|| { exporter(&engine.status(), "one").state == "circuit_open" }));
    let held = engine.status();
    let one = exporter(&held, "one");
    assert_eq!((one.counts.total(), one.pending), (0, 2_000), "{one:?}");
    destination.turn(Manner::Accept);
    let ended = engine.drain(Instant::now() + PATIENCE);
    let status = assert_equation(engine.end());
    assert_eq!(ended, Ended::Settled, "{status:?}");
    assert_eq!(exporter(&status, "one").counts.delivered, 2_000);
    assert_eq!(destination.accepted().len(), 2_000);
}

#[test]
fn refused_credentials_hold_and_lose_nothing() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Lock);
    let config = config(dir.path(), &[("one", &destination, QUICK)]);
    let log = filled(&config, 0..500, 900);
    let engine = Engine::start(log, config.engine_options(&Host::default())).expect("it starts");
    assert!(comes_true(|| { exporter(&engine.status(), "one").state == "auth_failed" }));
    let status = assert_equation(engine.end());
    let one = exporter(&status, "one");
    assert_eq!((one.counts.total(), one.pending, one.in_range), (0, 500, 500));
    let (_, error) = one.last_error.clone().expect("an operator wants to know why");
    assert!(error.contains("auth"), "{error}");
}

#[test]
fn refused_events_become_dead_letters_and_the_others_arrive() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Refuse('7'));
    let config = config(dir.path(), &[("one", &destination, "")]);
    let status = run_to_the_end(&config, filled(&config, 0..1_000, 900));
    let one = exporter(&status, "one");
    assert_eq!((one.counts.delivered, one.counts.dead_lettered), (937, 63), "{one:?}");
    assert_eq!(destination.accepted().len(), 937);
    let letters = records(&dir.path().join("state/dlq/one"));
    assert_eq!(letters.len(), 63);
    for letter in &letters {
        assert_eq!(letter["class"], "rejected");
        assert_eq!(letter["http_status"], 400);
        assert!(letter["event"]["event_id"].as_str().is_some_and(|id| id.ends_with('7')));
        assert!(letter["error"].as_str().is_some_and(|error| error.contains("not this one")));
    }
}

#[test]
fn records_larger_than_a_stripe_are_delivered() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Accept);
    let config = config(dir.path(), &[("one", &destination, "")]);
    let log = filled(&config, 0..10, 2_500_000);
    append(&log, 10..2_000, 900);
    let status = run_to_the_end(&config, log);
    let one = exporter(&status, "one");
    assert_eq!((one.counts.delivered, one.in_range), (2_000, 2_000), "{one:?}");
    assert_eq!(one.base, status.written, "the checkpoint passes filler and owned stripes");
}

#[test]
fn a_rewind_begins_a_new_pass_and_leaves_others_alone() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (left, right) = (Destination::start(Manner::Accept), Destination::start(Manner::Accept));
    let config = config(dir.path(), &[("left", &left, ""), ("right", &right, "")]);
    let log = filled(&config, 0..1_000, 900);
    let engine = Engine::start(log, config.engine_options(&Host::default())).expect("it starts");
    let arrived = || left.count() == 1_000 && right.accepted().len() == 1_000;
    assert!(comes_true(arrived));
    let deadline = Instant::now() + PATIENCE;
    engine.rewind("left", NewPass::at(Offset::ZERO), deadline).expect("there is such an exporter");
    assert!(engine.rewind("middle", NewPass::at(Offset::ZERO), deadline).is_err());
    let ended = engine.drain(Instant::now() + PATIENCE);
    let status = assert_equation(engine.end());
    assert_eq!(ended, Ended::Settled, "{status:?}");
    assert!(left.accepted().values().all(|&times| times == 2));
    assert!(right.accepted().values().all(|&times| times == 1));
    assert_eq!(exporter(&status, "left").pass, 1);
    assert_eq!(exporter(&status, "left").duplicates, 1_000);
    assert_eq!(exporter(&status, "right").pass, 0);
}

#[test]
fn who_takes_events_and_refuses_questions_is_well() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Bare);
    let at = destination.address;
    let config = config_of(
        dir.path(),
        &format!(
            "  bulk: {{type: elastic, nodes: \"http://{at}\", auth: {{type: none}}, \
             init: {{enabled: false}}, from: earliest, compression: none, \
             health_interval_ms: 20}}\n  \
             otlp: {{endpoint: \"http://{at}\", protocol: http/json, from: earliest, compression: none, \
             health_interval_ms: 20}}\n"
        ),
    );
    let log = filled(&config, 0..0, 900);
    let engine =
        Engine::start(log.clone(), config.engine_options(&Host::default())).expect("it starts");
    let health = |name: &str| exporter(&engine.status(), name).health.clone();
    let is = |name: &str, well: bool| health(name).is_some_and(|it| it.is_healthy == well);
    // VictoriaLogs 1.26.0 knows no health of a cluster; the root answers.
    assert!(comes_true(|| is("bulk", true)), "{:?}", health("bulk"));
    assert!(comes_true(|| is("otlp", false)), "nothing else is known of it");
    append(&log, 0..10, 900);
    assert!(comes_true(|| is("otlp", true)), "{:?}", health("otlp"));
    destination.turn(Manner::Lock);
    append(&log, 10..20, 900);
    assert!(comes_true(|| is("otlp", false)), "{:?}", health("otlp"));
}

#[test]
fn a_red_cluster_is_shown_and_holds_nothing() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (red, shy) = (Destination::start(Manner::Red), Destination::start(Manner::Lock));
    let often = "\n    health_interval_ms: 20";
    let config = config(dir.path(), &[("red", &red, often), ("shy", &shy, often)]);
    let log = filled(&config, 0..500, 900);
    let engine = Engine::start(log, config.engine_options(&Host::default())).expect("it starts");
    let health = |name: &str| exporter(&engine.status(), name).health.clone();
    let is_red =
        || health("red").is_some_and(|health| !health.is_healthy && health.text.contains("red"));
    assert!(comes_true(is_red), "{:?}", health("red"));
    // Without the privilege to see the cluster's health, the root answers.
    let is_well = |name: &str| health(name).is_some_and(|health| health.is_healthy);
    assert!(comes_true(|| is_well("shy")), "{:?}", health("shy"));
    assert!(comes_true(|| red.count() == 500));
    red.turn(Manner::Accept);
    assert!(comes_true(|| is_well("red")), "{:?}", health("red"));
    drop(assert_equation(engine.end()));
}

/// Keys that make failures visible at once.
const QUICK: &str = "
    retry: {initial_backoff_ms: 5, max_backoff_ms: 20}
    circuit_breaker: {failure_threshold: 2, open_ms: 50}";

/// A configuration with one exporter per destination, each from the beginning of the log.
fn config(dir: &Path, exporters: &[(&str, &Destination, &str)]) -> Config {
    let exporters = exporters.iter().map(|(name, destination, keys)| {
        format!(
            "  {name}:\n    type: elastic\n    nodes: [\"http://{}\"]\n    \
             auth: {{type: none}}\n    \
             init: {{enabled: false}}\n    from: earliest\n    compression: none{keys}\n",
            destination.address
        )
    });
    config_of(dir, &exporters.collect::<String>())
}

fn config_of(dir: &Path, exporters: &str) -> Config {
    let state = dir.join("state");
    let text = format!(
        "version: 1.0.0\nglobal: {{state_dir: {}}}\nlog: {{segment_bytes: 16MiB}}\n\
         pipeline: {{workers: 2}}\nexporters:\n{exporters}",
        state.display()
    );
    let text = Text::File { name: "test".to_owned(), text: text.into() };
    Config::load(&text, &Flags::default(), vendors::ALL, &System)
        .unwrap_or_else(|error| panic!("{error}"))
}

/// A log that holds these events and more of what was there.
fn filled(config: &Config, numbers: std::ops::Range<u32>, bytes: usize) -> Log {
    let (log, _) = Log::open(config.log.clone()).expect("the directory is ours");
    append(&log, numbers, bytes);
    log
}

fn append(log: &Log, numbers: std::ops::Range<u32>, bytes: usize) {
    append_records(log, numbers.map(|number| event(number, bytes)));
}

/// A canonical event of about this many bytes; the number is in its id, as hexadecimal digits.
fn event(number: u32, bytes: usize) -> String {
    let reason = "r".repeat(bytes.saturating_sub(560));
    format!(
        "{{\"schema_version\":\"1.0.0\",\"event_id\":\"019c322d-fa80-7f99-8d84-0000{number:08x}\",\
         \"event_type\":\"guard_block\",\"event_category\":\"network\",\
         \"timestamp\":\"2026-02-06T09:00:00.125Z\",\"agent\":{{\"id\":\"coder-01\",\
         \"name\":\"hushd\",\"version\":\"0.1.0\",\"type\":\"clawdstrike\"}},\
         \"session\":{{\"id\":\"s-1\",\"tenant_id\":\"acme\",\"environment\":\"test\"}},\
         \"outcome\":\"failure\",\"action\":\"egress\",\"threat\":{{}},\
         \"decision\":{{\"allowed\":false,\"guard\":\"egress_allowlist\",\"severity\":\"high\",\
         \"reason\":\"{reason}\"}},\"resource\":{{\"type\":\"network\",\
         \"name\":\"exfil.example\",\"host\":\"exfil.example\",\"port\":443}},\
         \"metadata\":{{}},\"labels\":{{}}}}"
    )
}

fn run_to_the_end(config: &Config, log: Log) -> Status {
    let status = drained(config, &log);
    log.close().expect("the disk takes it");
    status
}

fn exporter<'a>(status: &'a Status, name: &str) -> &'a ExporterStatus {
    let found = status.exporters.iter().find(|exporter| exporter.name == name);
    found.unwrap_or_else(|| panic!("no exporter {name}"))
}

/// The records of a store, as JSON.
fn records(dir: &Path) -> Vec<serde_json::Value> {
    let mut reader = shrike::log::Reader::open_dir(dir).expect("the store exists");
    let (mut at, mut found) = (reader.oldest(), Vec::new());
    loop {
        match reader.read(at, reader.written(), 1 << 20).expect("the store is readable") {
            shrike::log::Read::Block(block) => {
                for record in block.records() {
                    let record = serde_json::from_slice(block.record(record));
                    found.push(record.expect("letters are JSON"));
                }
                at = block.span().to;
            }
            shrike::log::Read::Cold(span) => reader.warm(span).expect("the disk is well"),
            shrike::log::Read::End => return found,
            other => panic!("unexpected: {other:?}"),
        }
    }
}
