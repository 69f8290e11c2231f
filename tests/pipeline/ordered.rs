//! Exporters that need order: strictly in it, without opening the log once more.

use std::path::Path;
use std::time::Instant;

use shrike::config::{Config, Flags, Host, System, Text};
use shrike::deliver::{
    Call, CallBody, Encoding, Framing, Kind, Limits, Opt, Order, Problem, Purpose, Responses,
    Shape, Vendor, When,
};
use shrike::log::Log;
use shrike::pipeline::{Ended, Engine, Status};
use shrike::transform::Format;
use shrike::vendors;

use crate::destination::{Destination, Manner};
use crate::equation::assert_equation;
use crate::wait::{PATIENCE, comes_true};
use crate::{append_records, event, exporter, run_to_the_end};

/// A destination that wants its events in order, one canonical event a line.
static ORDERED: Vendor = Vendor {
    name: "ordered",
    about: "Lines in order, for tests",
    options: &[Opt {
        key: "url",
        aliases: &[],
        kind: Kind::Url,
        default: None,
        about: "Where it listens.",
    }],
    formats: &[Format::Native],
    shapes: &[(
        When::Always,
        Shape {
            framing: Framing {
                after: "\n",
                content_type: "application/x-ndjson",
                ..Shape::BASE.framing
            },
            ..Shape::BASE
        },
    )],
    endpoints: |options| {
        let wrong = |problem: &str| Problem { key: "url".to_owned(), problem: problem.to_owned() };
        let url = options.text("url").ok_or_else(|| wrong("is required"))?;
        Ok(vec![url.parse().map_err(|_| wrong("is no URL"))?])
    },
    limits: Limits { events: 50, body_bytes: 1_000_000, event_bytes: 1_000_000 },
    encodings: &[Encoding::Identity],
    calls: &[Call {
        purpose: Purpose::Send,
        when: When::Always,
        method: "POST",
        path: "/ordered",
        query: &[],
        headers: &[],
        body: CallBody::Batch,
        responses: Responses::USUAL,
    }],
    order: Order::Strict,
    ..Vendor::BASE
};

/// A configuration: exporters in order first, each with its filter, then one that takes all.
fn config(
    dir: &Path,
    ordered: &[(&str, &Destination)],
    bulk: Option<(&Destination, &str)>,
) -> Config {
    let state = dir.join("state");
    let mut text = format!(
        "version: 1.0.0\nglobal: {{state_dir: {}}}\nlog: {{segment_bytes: 16MiB}}\n\
         pipeline: {{workers: 2}}\nexporters:\n",
        state.display()
    );
    for (name, destination) in ordered {
        text += &format!(
            "  {name}:\n    type: ordered\n    url: \"http://{}\"\n    from: earliest\n    \
             filter: {{min_severity: critical}}\n    latency_target_ms: 60000\n    \
             retry: {{initial_backoff_ms: 5, max_backoff_ms: 20}}\n    \
             circuit_breaker: {{failure_threshold: 2, open_ms: 50}}\n",
            destination.address
        );
    }
    if let Some((destination, from)) = bulk {
        text += &format!(
            "  bulk:\n    type: elastic\n    nodes: [\"http://{}\"]\n    auth: {{type: none}}\n    \
             init: {{enabled: false}}\n    from: {from}\n    compression: none\n",
            destination.address
        );
    }
    let text = Text::File { name: "test".to_owned(), text: text.into() };
    let vendors: Vec<&'static Vendor> = vendors::ALL.iter().copied().chain([&ORDERED]).collect();
    Config::load(&text, &Flags::default(), &vendors, &System)
        .unwrap_or_else(|error| panic!("{error}"))
}

/// One event of a hundred is critical, at uneven distances.
fn is_rare(number: u32) -> bool {
    number % 200 == 7 || number % 200 == 60
}

fn add(log: &Log, numbers: std::ops::Range<u32>) {
    append_records(
        log,
        numbers.map(|number| match is_rare(number) {
            true => {
                event(number, 900).replace("\"severity\":\"high\"", "\"severity\":\"critical\"")
            }
            false => event(number, 900),
        }),
    );
}

fn rare_ids(numbers: std::ops::Range<u32>) -> Vec<String> {
    let id = |number| format!("019c322d-fa80-7f99-8d84-0000{number:08x}");
    numbers.filter(|&number| is_rare(number)).map(id).collect()
}

fn open(config: &Config) -> Log {
    Log::open(config.log.clone()).expect("the directory is ours").0
}

/// Every event is accounted for, and the rare ones came in order, each once.
#[track_caller]
fn assert_ordered(status: &Status, name: &str, destination: &Destination, events: u32) {
    let ids = rare_ids(0..events);
    let one = exporter(status, name);
    let (events, rare) = (u64::from(events), ids.len() as u64);
    assert_eq!((one.counts.delivered, one.counts.filtered), (rare, events - rare), "{one:?}");
    assert_eq!((one.in_range, one.pending), (events, 0), "{one:?}");
    assert_eq!(one.base, status.written, "everything is settled");
    assert!(destination.order() == ids, "{name}: not in order, or not each once");
}

#[test]
fn two_exporters_in_order_cost_no_second_opening() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (one, two) = (Destination::start(Manner::Accept), Destination::start(Manner::Accept));
    let bulk = Destination::start(Manner::Accept);
    let config = config(dir.path(), &[("one", &one), ("two", &two)], Some((&bulk, "earliest")));
    let log = open(&config);
    add(&log, 0..40_000);
    let status = run_to_the_end(&config, log);
    assert_ordered(&status, "one", &one, 40_000);
    assert_ordered(&status, "two", &two, 40_000);
    assert_eq!(exporter(&status, "bulk").counts.delivered, 40_000);
    // The records that each takes are read once more, by themselves.
    let alone = 2 * rare_ids(0..40_000).len() as u64;
    assert!(
        status.records_opened <= 40_000 * 105 / 100 + alone,
        "{} openings of 40000 records; {} blocks were fed",
        status.records_opened,
        status.blocks_fed
    );
    assert!(status.blocks_fed > 200, "{status:?}");
}

#[test]
fn an_exporter_in_order_needs_no_other() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let one = Destination::start(Manner::Accept);
    let config = config(dir.path(), &[("one", &one)], None);
    let log = open(&config);
    add(&log, 0..10_000);
    let status = run_to_the_end(&config, log);
    assert_ordered(&status, "one", &one, 10_000);
    assert_eq!((status.blocks_fed, status.records_opened), (0, 10_000));
}

#[test]
fn an_exporter_in_order_that_starts_far_behind_catches_up() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (one, bulk) = (Destination::start(Manner::Accept), Destination::start(Manner::Accept));
    let config = config(dir.path(), &[("one", &one)], Some((&bulk, "latest")));
    let log = open(&config);
    add(&log, 0..10_000);
    let engine =
        Engine::start(log.clone(), config.engine_options(&Host::default())).expect("it starts");
    // Pieces of all sizes while it runs: they are read as they come.
    for at in 0..100 {
        let from = 10_000 + at * 100;
        add(&log, from..from + 100);
    }
    assert!(comes_true(|| bulk.count() == 10_000));
    let ended = engine.drain(Instant::now() + PATIENCE);
    let status = assert_equation(engine.end());
    assert_eq!(ended, Ended::Settled, "{status:?}");
    assert_ordered(&status, "one", &one, 20_000);
    assert_eq!(exporter(&status, "bulk").counts.delivered, 10_000);
}

#[test]
fn a_restart_keeps_order_and_account() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (one, bulk) = (Destination::start(Manner::Busy), Destination::start(Manner::Accept));
    let config = config(dir.path(), &[("one", &one)], Some((&bulk, "earliest")));
    let log = open(&config);
    add(&log, 0..10_000);
    let engine =
        Engine::start(log.clone(), config.engine_options(&Host::default())).expect("it starts");
    // What is filtered settles ahead of what cannot be sent.
    assert!(comes_true(|| {
        let status = engine.status();
        let one = exporter(&status, "one");
        one.counts.filtered > 0 && one.state == "circuit_open"
    }));
    let status = assert_equation(engine.end());
    let held = exporter(&status, "one");
    assert_eq!((held.counts.delivered, held.in_range), (0, 10_000), "{held:?}");
    assert_eq!(held.counts.total() + held.pending, 10_000, "{held:?}");
    log.close().expect("the disk takes it");
    one.turn(Manner::Accept);
    let status = run_to_the_end(&config, open(&config));
    assert_ordered(&status, "one", &one, 10_000);
}
