//! What keeps the process itself from its work, and what does not.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use shrike::config::Host;
use shrike::deliver::{Call, CallBody, Purpose, Responses, Vendor, When};
use shrike::log::{Disk, Log, LogFile, LogIo, Mark};
use shrike::pipeline::{Ended, Engine};
use shrike::vendors;

use crate::destination::{Destination, Manner};
use crate::disk::as_the_disk;
use crate::equation::assert_equation;
use crate::wait::{PATIENCE, comes_true};
use crate::{append, config, config_of, event, exporter, filled};

/// A disk that makes no file while it is full, whatever goes.
struct FullDisk {
    is_full: AtomicBool,
}

impl LogIo for FullDisk {
    as_the_disk!(write, truncate, sync, sync_dir, boot, no_ring, rename, unlink);

    fn create(&self, path: &Path, bytes: u64) -> io::Result<LogFile> {
        match self.is_full.load(Ordering::Acquire) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Disk.create(path, bytes),
        }
    }
}

#[test]
fn a_full_disk_keeps_from_work_and_a_destination_that_is_away_does_not() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let away = Destination::start(Manner::Busy);
    let keys = "
    retry: {initial_backoff_ms: 5, max_backoff_ms: 20}
    circuit_breaker: {failure_threshold: 2, open_ms: 50}";
    let config = config(dir.path(), &[("one", &away, keys)]);
    let disk = Arc::new(FullDisk { is_full: AtomicBool::new(false) });
    let io: Arc<dyn LogIo> = disk.clone();
    let (log, _) = Log::open_on(config.log.clone(), io).expect("there is space");
    append(&log, 0..1_000, 900);
    let engine =
        Engine::start(log.clone(), config.engine_options(&Host::default())).expect("it starts");
    assert!(comes_true(|| exporter(&engine.status(), "one").state == "circuit_open"));
    assert!(comes_true(|| engine.unwell().is_empty()), "{:?}", engine.unwell());

    disk.is_full.store(true, Ordering::Release);
    let appender = log.appender();
    let append_one = |number| {
        let mark = Mark { received_ns: u64::from(number) + 1, checked: true, ..Mark::default() };
        appender.append(event(number, 900).as_bytes(), mark).is_ok()
    };
    // What is prepared already still fills.
    let mut number = 1_000;
    let is_refused = || {
        (0..500).any(|_| {
            number += 1;
            !append_one(number)
        })
    };
    assert!(comes_true(is_refused));
    let is_told = || {
        append_one(number);
        engine.unwell().iter().any(|wrong| wrong.contains("its disk is full"))
    };
    assert!(comes_true(is_told), "{:?}", engine.unwell());

    disk.is_full.store(false, Ordering::Release);
    let is_well = || append_one(number) && engine.unwell().is_empty();
    assert!(comes_true(is_well), "{:?}", engine.unwell());
    log.flush().expect("there is space again");
    drop(assert_equation(engine.end()));
}

/// A webhook whose answers cannot be read without a panic.
fn defective() -> &'static Vendor {
    const CALLS: &[Call] = &[Call {
        purpose: Purpose::Send,
        when: When::Always,
        method: "POST",
        path: "",
        query: &[],
        headers: &[("content-type", "{content_type}")],
        body: CallBody::Batch,
        responses: Responses { rows: &[], read: Some(|_| panic!("on purpose")) },
    }];
    let webhook = vendors::ALL.iter().find(|it| it.name == "webhook").expect("it is there");
    Box::leak(Box::new(Vendor { calls: CALLS, conversation: None, ..**webhook }))
}

#[test]
fn a_lane_that_panics_is_told() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Accept);
    let text = format!(
        "  one: {{type: webhook, url: 'http://{}/x', mode: array, from: earliest}}\n",
        destination.address
    );
    let config = config_of(dir.path(), &text);
    let log = filled(&config, 0..3, 900);
    let mut options = config.engine_options(&Host::default());
    options.exporters[0].settings.vendor = defective();
    let engine = Engine::start(log, options).expect("it starts");
    assert!(engine.defects().is_empty(), "{:?}", engine.defects());
    let is_told = || engine.unwell().iter().any(|wrong| wrong.contains("by a defect of shrike"));
    assert!(comes_true(is_told), "{:?}", engine.unwell());
    assert!(!engine.defects().is_empty(), "only a restart mends it");
    let status = engine.status();
    let one = exporter(&status, "one");
    assert_eq!(one.state, "degraded");
    let last_error = one.last_error.as_ref().map(|(_, text)| text.as_str());
    assert!(last_error.is_some_and(|text| text.contains("a defect of shrike")), "{last_error:?}");
    // Nobody waits for what has ended, and what it held is counted where it is: in the log.
    assert_eq!(engine.drain(Instant::now() + PATIENCE), Ended::Left(3));
    let status = assert_equation(engine.end());
    assert_eq!((exporter(&status, "one").in_range, exporter(&status, "one").pending), (3, 3));
}
