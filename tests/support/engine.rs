//! An engine in the process of the test.

#![allow(dead_code, reason = "each test crate that shares this file uses a part of it")]

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use shrike::config::{Config, Host};
use shrike::log::{Log, Mark};
use shrike::pipeline::{Ended, Engine, Status};

use super::equation::assert_equation;
use super::wait::PATIENCE;

/// Appends records that are known to be events, as received now.
pub(crate) fn append(log: &Log, records: impl IntoIterator<Item = impl ToString>) {
    let appender = log.appender();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is after 1970");
    let received_ns = u64::try_from(now.as_nanos()).expect("until 2554");
    for record in records {
        let mark = Mark { received_ns, checked: true, ..Mark::default() };
        appender.append(record.to_string().as_bytes(), mark).expect("there is room");
    }
    log.flush().expect("the disk takes it");
}

/// Runs until all is settled; how it ended.
#[track_caller]
pub(crate) fn drained(config: &Config, log: &Log) -> Status {
    let engine =
        Engine::start(log.clone(), config.engine_options(&Host::default())).expect("it starts");
    let ended = engine.drain(Instant::now() + PATIENCE);
    let status = assert_equation(engine.end());
    assert_eq!(ended, Ended::Settled, "{status:?}");
    status
}
