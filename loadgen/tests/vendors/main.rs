//! shrike's engine against the fakes, over real sockets: what was appended arrives, and the
//! vendor's rules hold for every body.

mod datadog;
#[path = "../../../tests/support/equation.rs"]
mod equation;
mod everyone;
mod otlp;
mod s3;
mod slack;
mod sumo_logic;
mod teams;
mod webhook;

use std::time::{Duration, Instant};

use equation::assert_equation;
use loadgen::account::{Book, Report, compare};
use loadgen::fake::{Fake, Options, Vendor};
use loadgen::generate::Stream;
use loadgen::produce::{Job, LogSource, Progress, Rate, produce};
use shrike::config::{Config, Flags, Host, System, Text};
use shrike::log::Log;
use shrike::pipeline::{Ended, Engine, Status};
use shrike::vendors;

/// A fake on a free port that judges every request.
pub(crate) fn fake(vendor: Vendor, book: std::sync::Arc<Book>, script: &str) -> Fake {
    let options = Options::playing(script).expect(script);
    Fake::start(vendor, book, options).expect("a free port")
}

/// Appends events and sends them by one exporter with these keys; how the engine ended.
pub(crate) fn deliver(events: u64, exporter: &str) -> Status {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let state = dir.path().join("state");
    let text = format!(
        "version: 1.0.0\nglobal: {{state_dir: {}}}\npipeline: {{workers: 2}}\nexporters:\n  \
         one:\n    from: earliest\n    \
         retry: {{initial_backoff_ms: 5, max_backoff_ms: 20}}\n{exporter}",
        state.display()
    );
    let text = Text::File { name: "test".to_owned(), text: text.into() };
    let config = Config::load(&text, &Flags::default(), vendors::ALL, &System)
        .unwrap_or_else(|error| panic!("{error}"));
    let log = filled(&config, events);
    let engine = Engine::start(log, config.engine_options(&Host::default())).expect("it starts");
    let ended = engine.drain(Instant::now() + Duration::from_secs(60));
    let status = assert_equation(engine.end());
    assert_eq!(ended, Ended::Settled, "{status:?}");
    status
}

/// A log with so many events in it.
pub(crate) fn filled(config: &Config, events: u64) -> Log {
    let (log, _) = Log::open(config.log.clone()).expect("the directory is ours");
    let mut source = LogSource::new(log.appender(), true);
    let job = Job { events, rate: Rate::Unlimited, tick: Duration::ZERO };
    produce(job, &mut Stream::new(1), &mut source, &Progress::default()).expect("there is room");
    log.flush().expect("the disk takes it");
    log
}

/// Whether everything arrived, and nothing was found wrong.
pub(crate) fn assert_complete(events: u64, report: &Report) {
    let comparison = compare(events, report);
    assert!(comparison.is_complete(), "{comparison:?}");
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    assert_eq!(report.order.descents_within, 0, "a batch keeps the log's order");
}
