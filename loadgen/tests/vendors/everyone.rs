//! Every vendor that takes batches at once: each gets every event, and all of them cost one
//! opening. Who is told of events one by one has tests of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use loadgen::account::Book;
use loadgen::fake::{
    self, Account, Auth, Datadog, Elastic, Fake, Manners, Otlp, Rules, S3, Splunk, SumoLogic,
    Vendor, Webhook, syslog,
};
use shrike::config::{Config, Flags, Host, System, Text};
use shrike::pipeline::{Ended, Engine};
use shrike::vendors;

use crate::equation::assert_equation;
use crate::{assert_complete, filled};

/// As many as one worker keeps opened: 32 blocks of 256 KiB.
const EVENTS: u64 = 3_000;

#[test]
fn all_vendors_get_every_event_from_one_opening() {
    let fakes = fakes();
    let book = Arc::new(Book::new("syslog"));
    let listen = ([127, 0, 0, 1], 0).into();
    let syslog = syslog::Syslog::start(book, listen, syslog::Transport::Counted, 1);
    let syslog = syslog.expect("a free port");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let addr = |name: &str| {
        let (_, fake) = fakes.iter().find(|(known, _)| *known == name).expect("it was started");
        fake.addr()
    };
    let config = format!(
        "version: 1.0.0\nglobal: {{state_dir: '{dir}/state'}}\npipeline: {{workers: 1}}\n\
         exporters:\n\
         \x20 datadog: {{from: earliest, api_key: k, endpoint: 'http://{}', \
                        metrics_endpoint: 'http://{}'}}\n\
         \x20 elastic: {{from: earliest, nodes: 'http://{}', auth: {{type: none}}}}\n\
         \x20 file: {{from: earliest, path: '{dir}/events.ndjson'}}\n\
         \x20 otlp: {{from: earliest, endpoint: 'http://{}'}}\n\
         \x20 s3: {{from: earliest, endpoint: 'http://{}', bucket: events, access_key_id: k, \
                    secret_access_key: s}}\n\
         \x20 splunk: {{from: earliest, hec_url: 'http://{}', hec_token: t}}\n\
         \x20 sumo_logic: {{from: earliest, http_source_url: 'http://{}/receiver/v1/http/x'}}\n\
         \x20 syslog: {{from: earliest, address: '{}'}}\n\
         \x20 webhook: {{from: earliest, url: 'http://{}/hook', mode: array}}\n",
        addr("datadog"),
        addr("datadog"),
        addr("elastic"),
        addr("otlp"),
        addr("s3"),
        addr("splunk"),
        addr("sumo-logic"),
        syslog.addr(),
        addr("webhook"),
        dir = dir.path().display(),
    );
    let text = Text::File { name: "test".to_owned(), text: config.into() };
    let config = Config::load(&text, &Flags::default(), vendors::ALL, &System)
        .unwrap_or_else(|error| panic!("{error}"));
    let in_batches = vendors::ALL.iter().filter(|vendor| vendor.limits.events > 1).count();
    assert_eq!(config.exporters.len() + 1, in_batches, "all but the standard output");
    let log = filled(&config, EVENTS);
    let engine = Engine::start(log, config.engine_options(&Host::default())).expect("it starts");
    let ended = engine.drain(Instant::now() + Duration::from_secs(120));
    let status = assert_equation(engine.end());
    assert_eq!(ended, Ended::Settled, "{status:?}");
    for exporter in &status.exporters {
        assert_eq!(exporter.counts.delivered, EVENTS, "{}", exporter.name);
    }
    // Whoever reads a block first opens it for all; none is forgotten before the last has it.
    assert_eq!(status.records_opened, EVENTS);
    syslog.settle();
    assert_complete(EVENTS, &syslog.report());
    fakes.iter().for_each(|(_, fake)| assert_complete(EVENTS, &fake.report()));
    let lines = std::fs::read_to_string(dir.path().join("events.ndjson")).expect("it was written");
    assert_eq!(lines.lines().count() as u64, EVENTS);
}

/// A fake of every vendor that answers requests.
fn fakes() -> Vec<(&'static str, Fake)> {
    let account = Account {
        bucket: "events".to_owned(),
        region: "us-east-1".to_owned(),
        key_id: "k".to_owned(),
        secret: "s".to_owned(),
        token: None,
    };
    let rules = Rules { token: Some("t".to_owned()), acks: true, indexes: Vec::new() };
    let start = |name: &'static str, vendor: fn(Arc<Book>) -> Vendor| (name, book_of(name, vendor));
    let mut fakes = vec![
        start("datadog", |book| Vendor::Datadog(Datadog::new(book, None))),
        start("elastic", |book| Vendor::Elastic(Elastic::new(book, Auth::Anybody))),
        start("otlp", |book| Vendor::Otlp(Otlp::new(book))),
        start("sumo-logic", |book| Vendor::SumoLogic(SumoLogic::new(book, None))),
        start("webhook", |book| Vendor::Webhook(Webhook::new(book, Manners::default()))),
    ];
    fakes.push(("s3", book_of("s3", |book| Vendor::S3(S3::new(book, account)))));
    fakes.push(("splunk", book_of("splunk", |book| Vendor::Splunk(Splunk::new(book, rules)))));
    fakes
}

fn book_of(name: &str, vendor: impl FnOnce(Arc<Book>) -> Vendor) -> fake::Fake {
    let book = Arc::new(Book::new(name));
    crate::fake(vendor(Arc::clone(&book)), book, "")
}
