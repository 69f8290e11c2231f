//! Rewinding and ending what runs: nothing of the old pass is forgotten.

use std::fs;
use std::time::{Duration, Instant};

use shrike::config::Host;
use shrike::event::{Counts, Offset};
use shrike::log::Mark;
use shrike::pipeline::{Ended, Engine, NewPass, Period, Receipt, read_receipts};

use crate::destination::{Destination, Manner};
use crate::equation::assert_equation;
use crate::wait::{PATIENCE, comes_true};
use crate::{append, config, config_of, exporter, filled, run_to_the_end};

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

#[test]
fn what_an_old_pass_settled_last_has_receipts_and_a_sum() {
    const PASSES: u32 = 12;
    const EVENTS: u32 = 300;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Accept);
    let config = config(dir.path(), &[("one", &destination, "\n    batch: {size: 10}")]);
    let log = filled(&config, 0..0, 900);
    let engine =
        Engine::start(log.clone(), config.engine_options(&Host::default())).expect("it starts");
    let mut accepted = Vec::new();
    for pass in 0..PASSES {
        append(&log, pass * EVENTS..(pass + 1) * EVENTS, 900);
        let before = accepted.iter().sum::<usize>();
        assert!(comes_true(|| destination.count() > before + EVENTS as usize / 2));
        // With requests under way, which end before the new pass begins.
        engine.rewind("one", NewPass::at(log.written()), soon()).expect("it runs");
        accepted.push(destination.count() - before);
    }
    drop(assert_equation(engine.end()));

    let mut receipts: Vec<Receipt> = Vec::new();
    let path = dir.path().join("state/audit.jsonl");
    let read = read_receipts(&path, Period::ALWAYS, |receipt, _| receipts.push(receipt.clone()));
    assert!(read.expect("they are readable").1.is_empty());
    for (pass, accepted) in (0..).zip(accepted) {
        let of = || receipts.iter().filter(|it| it.exporter == "one" && it.pass == pass);
        let batches = of().filter(|it| it.kind == "batch" || it.kind == "settled");
        let delivered: u64 = batches.map(|it| it.delivered).sum();
        assert_eq!(delivered, accepted as u64, "pass {pass}");
        let sum = of().rfind(|it| it.kind == "sum").map(Receipt::counts);
        assert_eq!(sum, Some(Counts { delivered, ..Counts::default() }), "pass {pass}");
    }
}

#[test]
fn what_was_lost_before_a_rewind_is_lost_in_this_run() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Accept);
    let config = config(dir.path(), &[("one", &destination, "")]);
    let log = filled(&config, 0..10, 900);
    // As a program may append it.
    log.appender().append(b"{\"no\":\"event\"}", Mark::default()).expect("there is room");
    log.flush().expect("the disk takes it");
    let engine =
        Engine::start(log.clone(), config.engine_options(&Host::default())).expect("it starts");
    let one = || exporter(&engine.status(), "one").clone();
    assert!(comes_true(|| one().counts.total() == 11), "{:?}", one());
    assert_eq!((one().counts.invalid, one().losses), (1, 1));
    engine.rewind("one", NewPass::at(log.written()), soon()).expect("it runs");
    assert_eq!((one().counts.invalid, one().losses), (0, 1), "of the new pass, and of the run");
    let status = assert_equation(engine.end());
    assert_eq!(exporter(&status, "one").losses, 1);
}

#[test]
fn an_exporter_that_cannot_be_built_anew_is_stopped_with_the_reason() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let key = "0123456789abcdef0123456789abcdef";
    let (one, other) = (Destination::start(Manner::Accept), Destination::start(Manner::Accept));
    let config = |other_keys: &str| {
        config_of(
            dir.path(),
            &format!(
                "  pager: {{type: pagerduty, api_endpoint: 'http://{}', routing_key: {key}}}\n  \
                 other: {{type: elastic, nodes: 'http://{}', auth: {{type: none}}, \
                 init: {{enabled: false}}, from: earliest, compression: none{other_keys}}}\n",
                one.address, other.address
            ),
        )
    };
    let log = filled(&config(""), 0..10, 900);
    let options = || config("").engine_options(&Host::default());
    let find = |name: &str| {
        let found = options().exporters.into_iter().find(|it| it.settings.name == name);
        found.expect("it is configured")
    };
    let path = find("pager").alerts.expect("it keeps incidents").path;
    let engine = Engine::start(log.clone(), options()).expect("it starts");
    assert!(comes_true(|| other.count() == 10));
    // The table of its incidents cannot be read any more.
    fs::remove_file(&path).ok();
    fs::create_dir_all(&path).expect("the directory is ours");
    let refused =
        engine.rewind("pager", NewPass::at(Offset::ZERO), soon()).expect_err("it cannot be read");
    assert!(refused.to_string().contains("alerts/pager"), "{refused}");
    let pager = exporter(&engine.status(), "pager").clone();
    let why = pager.last_error.clone().map(|(_, text)| text).unwrap_or_default();
    assert_eq!(pager.state, "stopped", "{pager:?}");
    assert!(why.contains("alerts/pager") && why.contains("restart"), "{why}");
    engine.rewind("pager", NewPass::at(log.written()), soon()).expect_err("still not");
    assert_eq!(exporter(&engine.status(), "pager").state, "stopped");

    fs::remove_dir(&path).expect("it is empty");
    engine.rewind("pager", NewPass::at(log.written()), soon()).expect("it can");
    let pager = exporter(&engine.status(), "pager").clone();
    assert!(pager.state != "stopped" && pager.pass > 0, "{pager:?}");

    // A reload that meets the same changes the others all the same.
    fs::remove_file(&path).ok();
    fs::create_dir_all(&path).expect("the directory is ours");
    let mut changed = config(", batch: {size: 7}").engine_options(&Host::default());
    for exporter in changed.exporters.iter_mut().filter(|it| it.settings.name == "pager") {
        exporter.settings.batch.linger *= 2;
    }
    changed.exporters.sort_by_key(|it| it.settings.name != "pager");
    engine.reload(changed, soon()).expect_err("the table cannot be read");
    assert_eq!(exporter(&engine.status(), "pager").state, "stopped");
    append(&log, 10..20, 900);
    assert!(comes_true(|| other.count() == 20), "{:?}", engine.status());
    drop(assert_equation(engine.end()));
    drop(log.close());
    // Its position is known: a restart goes on there.
    fs::remove_dir(&path).expect("it is empty");
    let log = filled(&config(""), 0..0, 900);
    let engine = Engine::start(log, options()).expect("it starts");
    let again = exporter(&engine.status(), "pager").clone();
    assert_eq!((again.pass, again.start), (pager.pass, pager.start));
    drop(assert_equation(engine.end()));
}

/// What it has under way is one probe: an end that waits for more of it waits for nothing.
#[test]
fn a_held_exporter_does_not_hold_up_the_end() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (held, well) = (Destination::start(Manner::Lock), Destination::start(Manner::Accept));
    let lacking = Destination::start(Manner::Lacks("alerts"));
    let route = "\n    index: alerts";
    let all = [("held", &held, ""), ("well", &well, ""), ("route", &lacking, route)];
    let config = config(dir.path(), &all);
    let log = filled(&config, 0..500, 900);
    let engine = Engine::start(log, config.engine_options(&Host::default())).expect("it starts");
    assert!(comes_true(|| engine.refused() == ["held"] && well.count() == 500));
    assert!(comes_true(|| exporter(&engine.status(), "route").state == "degraded"));
    let began = Instant::now();
    let ended = engine.flush(began + Duration::from_secs(60));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(ended, Ended::Left(1_000), "{:?}", engine.status());
    drop(assert_equation(engine.end()));
    // Nothing of it is lost, and draining waits for it.
    held.turn(Manner::Accept);
    lacking.turn(Manner::Accept);
    let status = run_to_the_end(&config, filled(&config, 0..0, 900));
    assert_eq!(exporter(&status, "held").counts.delivered, 500);
    assert!(held.accepted().values().all(|&times| times == 1));
}
