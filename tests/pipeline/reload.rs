//! Reloading under load: what did not change is not touched, and the account holds.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Instant;

use shrike::config::Host;
use shrike::pipeline::{Ended, Engine, EngineOptions, Reloaded};

use crate::destination::{Destination, Manner};
use crate::equation::assert_equation;
use crate::wait::{PATIENCE, comes_true};
use crate::{append, config, exporter, filled};

/// The options of the engine with these exporters.
fn options(dir: &std::path::Path, exporters: &[(&str, &Destination, &str)]) -> EngineOptions {
    config(dir, exporters).engine_options(&Host::default())
}

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

#[test]
fn reloads_under_load_lose_and_repeat_nothing() {
    const RELOADS: u32 = 56;
    const EVENTS_PER_RELOAD: u32 = 200;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (changes, stays, comes) = (
        Destination::start(Manner::Accept),
        Destination::start(Manner::Accept),
        Destination::start(Manner::Accept),
    );
    let both = [("changes", &changes, ""), ("stays", &stays, "")];
    let log = filled(&config(dir.path(), &both), 0..1_000, 900);
    let engine = Engine::start(log.clone(), options(dir.path(), &both)).expect("it starts");
    let is_over = AtomicBool::new(false);
    // As many events as the destinations take, so that every reload finds some under way.
    let allowed = AtomicU32::new(1_000);
    let events = thread::scope(|scope| {
        let appending = scope.spawn(|| {
            let mut number = 1_000;
            while !is_over.load(Ordering::Acquire) {
                if number >= allowed.load(Ordering::Acquire) {
                    thread::yield_now();
                    continue;
                }
                append(&log, number..number + 50, 900);
                number += 50;
            }
            number
        });
        for round in 0..RELOADS {
            allowed.fetch_add(EVENTS_PER_RELOAD, Ordering::AcqRel);
            let size = if round % 2 == 0 { "\n    batch: {size: 7}" } else { "" };
            let mut wanted = vec![("changes", &changes, size), ("stays", &stays, "")];
            let is_here = round % 8 >= 4;
            if is_here {
                wanted.push(("comes", &comes, ""));
            }
            let reloaded =
                engine.reload(options(dir.path(), &wanted), soon()).expect("it is right");
            assert_eq!(reloaded.changed, ["changes"]);
            assert_eq!(reloaded.added.is_empty(), round % 8 != 4, "{round}: {reloaded:?}");
            assert_eq!(reloaded.removed.is_empty(), round == 0 || round % 8 != 0, "{round}");
            let same = engine.reload(options(dir.path(), &wanted), soon()).expect("it is right");
            assert_eq!(same, Reloaded::default());
        }
        is_over.store(true, Ordering::Release);
        appending.join().expect("it appends")
    });
    let ended = engine.drain(Instant::now() + PATIENCE);
    let status = assert_equation(engine.end());
    assert_eq!(ended, Ended::Settled, "{status:?}");
    let events = u64::from(events);
    for (name, destination) in [("changes", &changes), ("stays", &stays), ("comes", &comes)] {
        let account = exporter(&status, name);
        assert_eq!((account.in_range, account.counts.delivered), (events, events), "{name}");
        assert_eq!(destination.accepted().len() as u64, events, "{name}");
        assert!(destination.accepted().values().all(|&times| times == 1), "{name}");
    }
}

#[test]
fn a_reload_that_cannot_be_compiled_changes_nothing() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Accept);
    let here = [("one", &destination, "")];
    let log = filled(&config(dir.path(), &here), 0..100, 900);
    let engine = Engine::start(log.clone(), options(dir.path(), &here)).expect("it starts");
    let more = [("one", &destination, "\n    batch: {size: 7}"), ("two", &destination, "")];
    let mut wrong = options(dir.path(), &more);
    let path = dir.path().join("nothing.pem");
    wrong.exporters[1].settings.tls.ca_cert_path = Some(path);
    let https = "https://127.0.0.1:9".to_owned();
    let nodes = shrike::deliver::OptionValue::List(vec![https]);
    wrong.exporters[1].settings.options.set("nodes", nodes);
    let refused = engine.reload(wrong, soon()).expect_err("there is no such file").to_string();
    assert!(refused.contains("nothing.pem"), "{refused}");
    let status = engine.status();
    assert_eq!(status.exporters.len(), 1);
    // It runs as it did: the same again is no change.
    let same = engine.reload(options(dir.path(), &here), soon()).expect("it is right");
    assert!(same.is_nothing(), "{same:?}");
    assert!(comes_true(|| destination.count() == 100));
    drop(assert_equation(engine.end()));
}

#[test]
fn held_exporters_are_changed_at_once_and_go_on() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Lock);
    let here = [("one", &destination, "")];
    let log = filled(&config(dir.path(), &here), 0..500, 900);
    let engine = Engine::start(log, options(dir.path(), &here)).expect("it starts");
    assert!(comes_true(|| engine.refused() == ["one"]));
    destination.turn(Manner::Accept);
    let other = [("one", &destination, "\n    batch: {size: 70}")];
    let began = Instant::now();
    let reloaded = engine.reload(options(dir.path(), &other), began + 5 * PATIENCE);
    assert_eq!(reloaded.expect("it is right").changed, ["one"]);
    assert!(began.elapsed() < PATIENCE, "it waited for what is held");
    assert!(comes_true(|| destination.count() == 500));
    assert!(engine.refused().is_empty());
    let ended = engine.drain(soon());
    let status = assert_equation(engine.end());
    assert_eq!(ended, Ended::Settled, "{status:?}");
    let one = exporter(&status, "one");
    assert_eq!((one.in_range, one.counts.delivered), (500, 500));
}
