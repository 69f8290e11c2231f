//! The account at every moment: whoever asks while lanes go on sees each event in one place.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use shrike::config::Host;
use shrike::event::Offset;
use shrike::pipeline::{Engine, NewPass};

use crate::destination::{Destination, Manner};
use crate::equation::assert_equation;
use crate::wait::{PATIENCE, comes_true};
use crate::{append, config, exporter, filled};

/// "At every instant and across restarts" (`design.md` 1): while stripes are claimed, read to their
/// end and given back, while requests settle, letters become durable, retention skips, and a pass
/// begins anew.
#[test]
fn whoever_asks_at_any_time_finds_each_event_in_one_place() {
    const EVENTS: u32 = 3_000;
    const BURSTS: u32 = 12;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (all, some) = (Destination::start(Manner::Accept), Destination::start(Manner::Refuse('7')));
    let away = Destination::start(Manner::Busy);
    let lags = "
    retry: {initial_backoff_ms: 5, max_backoff_ms: 20}
    lag_max_bytes: 4MiB";
    let config = config(
        dir.path(),
        &[
            ("all", &all, ""),
            ("away", &away, lags),
            ("none", &all, "\n    filter: {min_severity: critical}"),
            ("some", &some, ""),
        ],
    );
    let log = filled(&config, 0..0, 900);
    let engine =
        Engine::start(log.clone(), config.engine_options(&Host::default())).expect("it starts");
    let is_over = AtomicBool::new(false);
    let (looks, torn) = thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let (mut looks, mut torn) = (0, Vec::new());
            while !is_over.load(Ordering::Acquire) {
                let status = engine.status();
                looks += 1;
                torn.extend(status.exporters.into_iter().filter(|it| !it.is_whole()));
            }
            (looks, torn)
        });
        for burst in 0..BURSTS {
            let from = burst * EVENTS / BURSTS;
            append(&log, from..from + EVENTS / BURSTS, 8_000);
            if burst == BURSTS / 2 {
                let deadline = Instant::now() + PATIENCE;
                engine.rewind("none", NewPass::at(Offset::ZERO), deadline).expect("it runs");
            }
        }
        let one = |name| exporter(&engine.status(), name).clone();
        let is_done = comes_true(|| {
            let settled = |name| one(name).pending == 0;
            ["all", "none", "some"].into_iter().all(settled) && one("away").counts.skipped > 0
        });
        is_over.store(true, Ordering::Release);
        assert!(is_done, "{:?}", engine.status());
        asking.join().expect("asking harms nobody")
    });
    let first = torn.first();
    assert!(torn.is_empty(), "{} of {looks} looks saw no whole account: {first:?}", torn.len());
    let status = assert_equation(engine.end());
    let one = |name| exporter(&status, name);
    assert_eq!(one("all").counts.delivered, u64::from(EVENTS));
    assert!(one("some").counts.dead_lettered > 0, "{:?}", one("some"));
    assert!(one("away").pending > 0, "{:?}", one("away"));
}
