//! Dead letters: replayed, refused again, purged; the account holds all the while.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use shrike::config::{Config, Host};
use shrike::event::{Checkpoint, Offset};
use shrike::log::Cursors;
use shrike::pipeline::{Ended, Engine, Letter, LetterStore, NewPass, Progress, Wanted, Work};

use crate::destination::{Destination, Manner};
use crate::equation::assert_equation;
use crate::wait::{PATIENCE, comes_true, comes_true_within};
use crate::{append, append_records, config, config_of, event, exporter, filled, run_to_the_end};

/// The letters of the exporter `one`, oldest first.
pub(crate) fn letters(config: &Config) -> Vec<Letter> {
    let dir = &config.exporters[0].settings.dead_letters.dir;
    let mut store = LetterStore::look(dir).expect("it is readable").expect("there is one");
    let mut found = Vec::new();
    let all = |_: Offset, letter: &Letter| {
        found.push(letter.clone());
        ControlFlow::Continue(())
    };
    store.visit(&Wanted::default(), all).expect("it is readable");
    found
}

fn start(config: &Config, numbers: std::ops::Range<u32>) -> Engine {
    let log = filled(config, numbers, 900);
    Engine::start(log, config.engine_options(&Host::default())).expect("it starts")
}

/// Replays until it is through.
pub(crate) fn replay(engine: &Engine, wanted: &Wanted) -> Progress {
    engine.replay("one", wanted, None).expect("nothing else is replayed");
    let is_over = || !engine.replayed("one").expect("it runs").is_running;
    assert!(comes_true(is_over), "{:?}", engine.replayed("one"));
    engine.replayed("one").expect("it runs")
}

#[test]
fn a_replayed_letter_is_gone_and_its_event_is_delivered() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Refuse('7'));
    let config = config(dir.path(), &[("one", &destination, "")]);
    drop(run_to_the_end(&config, filled(&config, 0..1_000, 900)));
    let first = letters(&config);
    assert_eq!(first.len(), 63);
    assert!(first.iter().all(|letter| letter.attempts == 1 && letter.class == "rejected"));
    assert!(
        first.iter().all(|letter| letter.event_id.as_ref().is_some_and(|id| id.ends_with('7')))
    );

    let engine = start(&config, 0..0);
    // Refused again: the letters stay, and say so.
    let again =
        replay(&engine, &Wanted { class: Some("rejected".to_owned()), ..Wanted::default() });
    assert_eq!((again.wanted, again.delivered, again.kept), (63, 0, 63), "{again:?}");
    let are_written = || letters(&config).iter().all(|letter| letter.replays == 1);
    assert!(comes_true(are_written), "they are soon to be read");
    let second = letters(&config);
    assert_eq!(second.len(), 63);
    for (letter, before) in second.iter().zip(&first) {
        assert_eq!((letter.attempts, letter.replays), (2, 1));
        assert_eq!((&letter.event_id, letter.offset), (&before.event_id, before.offset));
        assert_eq!(letter.first_failed_at, before.first_failed_at);
        let event = |letter: &Letter| letter.event.as_ref().map(|event| event.get().to_owned());
        assert_eq!(event(letter), event(before), "nothing is added twice");
    }
    let none = replay(&engine, &Wanted { class: Some("timeout".to_owned()), ..Wanted::default() });
    assert_eq!((none.wanted, none.sent), (0, 0));

    // One arrives, then the others.
    destination.turn(Manner::Accept);
    let id = second[5].event_id.clone();
    let one = replay(&engine, &Wanted { event_id: id.clone(), ..Wanted::default() });
    assert_eq!((one.wanted, one.delivered), (1, 1));
    let is_gone = || letters(&config).iter().all(|letter| letter.event_id != id);
    assert!(comes_true(is_gone), "the removal is soon to be read");
    let rest = replay(&engine, &Wanted::default());
    assert_eq!((rest.wanted, rest.delivered, rest.kept), (62, 62, 0));
    let is_moved = || exporter(&engine.status(), "one").counts.delivered == 1_000;
    assert!(comes_true(is_moved));
    let status = assert_equation(engine.end());
    let one = exporter(&status, "one");
    assert_eq!((one.counts.delivered, one.counts.dead_lettered, one.letters), (1_000, 0, 0));
    assert_eq!((one.in_range, one.replayed), (1_000, 63));
    assert_eq!(destination.accepted().len(), 1_000);
    assert!(destination.accepted().values().all(|&times| times == 1), "ids are kept");

    // What moved stays moved, in the checkpoint or told by the store.
    let status = run_to_the_end(&config, filled(&config, 1_000..1_010, 900));
    let one = exporter(&status, "one");
    assert_eq!((one.counts.delivered, one.counts.dead_lettered, one.letters), (1_010, 0, 0));
}

/// What is told as delivered is so in the account of an end that comes right behind it.
#[test]
fn a_replay_counts_however_soon_the_end_comes() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Refuse('7'));
    let config = config(dir.path(), &[("one", &destination, "")]);
    drop(run_to_the_end(&config, filled(&config, 0..100, 0)));
    destination.turn(Manner::Accept);
    let engine = start(&config, 0..0);
    let told = replay(&engine, &Wanted::default());
    let counts = exporter(&assert_equation(engine.end()), "one").counts;
    assert_eq!((told.kept, counts.dead_lettered, counts.delivered), (0, 0, 100), "{told:?}");
}

#[test]
fn an_event_that_cannot_be_made_smaller_is_not_sent_once_more() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Narrow);
    let config = config(dir.path(), &[("one", &destination, "")]);
    let log = filled(&config, 0..1, 0);
    let more = format!("\"metadata\":{{\"note\":\"{}\"}}", "x".repeat(900));
    append_records(&log, [event(1, 0).replace("\"metadata\":{}", &more)]);
    drop(run_to_the_end(&config, log));
    let found = letters(&config);
    assert!(found.iter().all(|it| it.class == "too_large" && it.http_status == 413), "{found:?}");
    let mut attempts: Vec<(u64, u32)> = found.iter().map(|it| (it.offset, it.attempts)).collect();
    attempts.sort_unstable();
    let attempts: Vec<u32> = attempts.into_iter().map(|(_, attempts)| attempts).collect();
    assert_eq!(attempts, [2, 3], "together, alone, and the long one without what it can spare");
}

/// A reload, a flush or a rewind makes another exporter of it, and whoever asked for the replay
/// waits for its end.
#[test]
fn a_replay_goes_on_whatever_becomes_of_its_exporter() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Refuse('7'));
    let config = config(dir.path(), &[("one", &destination, "")]);
    drop(run_to_the_end(&config, filled(&config, 0..1_000, 900)));
    destination.turn(Manner::Accept);
    let engine = start(&config, 0..0);
    engine.replay("one", &Wanted::default(), Some(20)).expect("nothing else is replayed");
    let progress = || engine.replayed("one").expect("it runs");
    let deadline = Instant::now() + PATIENCE;
    assert!(comes_true(|| progress().delivered > 0), "{:?}", progress());
    engine.flush_exporter("one", deadline).expect("it runs");
    let flushed = progress();
    assert!(flushed.is_running && flushed.wanted == 63, "{flushed:?}");
    engine.rewind("one", NewPass::at(engine.status().written), deadline).expect("it runs");
    assert!(comes_true(|| !progress().is_running), "{:?}", progress());
    let through = progress();
    assert_eq!((through.wanted, through.delivered, through.kept), (63, 63, 0), "{through:?}");
    drop(assert_equation(engine.end()));
    assert!(letters(&config).is_empty());
    assert_eq!(destination.accepted().len(), 1_000);
}

#[test]
fn a_removal_whose_checkpoint_was_lost_is_counted_once() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Refuse('7'));
    let config = config(dir.path(), &[("one", &destination, "")]);
    drop(run_to_the_end(&config, filled(&config, 0..1_000, 900)));
    let cursor = config.log.dir.join("cursors/one.cursor");
    let before = fs::read(&cursor).expect("it was saved");
    destination.turn(Manner::Accept);
    let engine = start(&config, 0..0);
    assert_eq!(replay(&engine, &Wanted::default()).delivered, 63);
    drop(assert_equation(engine.end()));
    // As after a crash between the store's sync and the checkpoint's.
    fs::write(&cursor, before).expect("the directory is ours");
    for _ in 0..2 {
        let engine = start(&config, 0..0);
        let is_moved = || exporter(&engine.status(), "one").counts.delivered == 1_000;
        assert!(comes_true(is_moved), "{:?}", engine.status());
        let status = assert_equation(engine.end());
        let one = exporter(&status, "one");
        assert_eq!((one.counts.dead_lettered, one.letters), (0, 0), "{one:?}");
    }
}

#[test]
fn a_letter_is_not_sent_before_the_checkpoint_of_its_event_is_saved() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Refuse('7'));
    let config = config(dir.path(), &[("one", &destination, "")]);
    let log = filled(&config, 0..0, 900);
    let engine = Engine::start(log.clone(), config.engine_options(&Host::default()));
    let engine = engine.expect("it starts");
    // A file in the place of the directory lets no checkpoint be saved.
    let (cursors, aside) = (config.log.dir.join("cursors"), config.log.dir.join("aside"));
    fs::rename(&cursors, &aside).expect("the directory is ours");
    fs::write(&cursors, b"").expect("the directory is ours");
    append(&log, 0..1_000, 900);
    let one = || exporter(&engine.status(), "one").clone();
    assert!(comes_true(|| one().counts.dead_lettered == 63), "{:?}", one());
    destination.turn(Manner::Accept);
    // After a crash now the log would be read again, and each of these would be sent by both.
    engine.replay("one", &Wanted::default(), None).expect("nothing else is replayed");
    assert!(!comes_true_within(Duration::from_millis(500), || destination.accepted().len() > 937));
    let progress = engine.replayed("one").expect("it runs");
    assert!(progress.is_running && progress.sent == 0, "{progress:?}");

    fs::remove_file(&cursors).expect("the directory is ours");
    fs::rename(&aside, &cursors).expect("the directory is ours");
    let is_over = || !engine.replayed("one").expect("it runs").is_running;
    assert!(comes_true(is_over), "{:?}", engine.replayed("one"));
    assert!(comes_true(|| one().counts.delivered == 1_000), "{:?}", one());
    drop(assert_equation(engine.end()));
    assert!(destination.accepted().values().all(|&times| times == 1));
}

#[test]
fn letters_of_events_that_are_read_again_are_decided_again() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Refuse('7'));
    let config = config(dir.path(), &[("one", &destination, "")]);
    drop(run_to_the_end(&config, filled(&config, 0..1_000, 900)));
    // As after a crash between the letters' sync and the checkpoint behind them.
    let cursors = Cursors::open(&config.log.dir).expect("nobody else has them");
    cursors.save("one", &Checkpoint::default()).expect("the disk takes it");
    drop(cursors);
    let status = run_to_the_end(&config, filled(&config, 0..0, 900));
    let one = exporter(&status, "one");
    assert_eq!((one.counts.dead_lettered, one.letters), (63, 63), "{one:?}");
    assert_eq!(letters(&config).len(), 63, "no event has two");
}

#[test]
fn purged_letters_are_gone_and_their_events_stay_given_up() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Refuse('7'));
    let config = config(dir.path(), &[("one", &destination, "")]);
    drop(run_to_the_end(&config, filled(&config, 0..1_000, 900)));
    let engine = start(&config, 0..0);
    let id = letters(&config)[0].event_id.clone();
    assert_eq!(
        engine.purge("one", &Wanted { event_id: id, ..Wanted::default() }).expect("it is"),
        1
    );
    assert_eq!(letters(&config).len(), 62);
    assert_eq!(engine.purge("one", &Wanted::default()).expect("it is"), 62);
    assert_eq!(engine.purge("one", &Wanted::default()).expect("it is"), 0);
    assert!(letters(&config).is_empty());
    let status = assert_equation(engine.end());
    let one = exporter(&status, "one");
    assert_eq!((one.counts.dead_lettered, one.letters), (63, 0), "{one:?}");
}

/// A configuration whose letters go again by themselves, and as many of them.
fn expired(dir: &Path, destination: &Destination, letters: u32) -> Config {
    let keys = "
    retry: {initial_backoff_ms: 5, max_backoff_ms: 20, max_age: 300ms}
    circuit_breaker: {failure_threshold: 2, open_ms: 50}
    dlq: {auto_replay: true}";
    let config = config(dir, &[("one", destination, keys)]);
    let engine = start(&config, 0..letters);
    let one = || exporter(&engine.status(), "one").clone();
    assert!(comes_true(|| one().letters == u64::from(letters)), "{:?}", one());
    drop(assert_equation(engine.end()));
    config
}

#[test]
fn letters_that_may_succeed_are_replayed_by_themselves_once_the_destination_is_well() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Busy);
    let config = expired(dir.path(), &destination, 4);
    assert!(letters(&config).iter().all(|letter| letter.retryable));
    destination.turn(Manner::Accept);
    // A new run finds the destination well at once.
    let engine = start(&config, 0..0);
    assert!(comes_true(|| destination.count() == 4));
    let one = || exporter(&engine.status(), "one").clone();
    assert!(comes_true(|| one().counts.delivered == 4), "{:?}", one());
    let status = assert_equation(engine.end());
    assert_eq!(exporter(&status, "one").letters, 0);
}

#[test]
fn letters_go_on_by_themselves_after_a_replay_of_others_that_somebody_asked_for() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Busy);
    let config = expired(dir.path(), &destination, 6);
    destination.turn(Manner::Accept);
    let engine = start(&config, 0..0);
    let progress = || engine.replayed("one").expect("it runs");
    assert!(comes_true(|| progress().is_automatic && progress().delivered > 0), "{:?}", progress());
    let others = Wanted { class: Some("timeout".to_owned()), ..Wanted::default() };
    assert_eq!(replay(&engine, &others).wanted, 0);
    assert!(destination.count() < 6, "a quiet exporter's letters go one a second");
    assert!(comes_true(|| destination.count() == 6), "{:?}", progress());
    drop(assert_equation(engine.end()));
}

#[test]
fn who_looks_after_letters_only_removes_nothing_that_others_need() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (well, ill) = (Destination::start(Manner::Accept), Destination::start(Manner::Busy));
    let mut config = config(dir.path(), &[("one", &well, ""), ("two", &ill, "")]);
    config.log.segment_bytes = 2 << 20;
    config.log.keep_bytes = 0;
    let log = filled(&config, 0..10_000, 900);
    let engine = Engine::start(log.clone(), config.engine_options(&Host::default()));
    let engine = engine.expect("it starts");
    assert!(comes_true(|| well.count() == 10_000));
    drop(assert_equation(engine.end()));
    assert_eq!(log.oldest(), Offset::ZERO, "the other exporter needs all of it");

    let alone = |work| {
        let mut options = config.engine_options(&Host::default());
        options.work = work;
        options.exporters.retain(|spec| spec.settings.name == "one");
        Engine::start(log.clone(), options).expect("it starts")
    };
    // Retention is looked at once a second.
    let engine = alone(Work::Aside);
    assert!(!comes_true_within(Duration::from_millis(2_500), || log.oldest() > Offset::ZERO));
    drop(assert_equation(engine.end()));
    // An engine that reads the log for this one alone would have removed it.
    let engine = alone(Work::All);
    assert!(comes_true(|| log.oldest() > Offset::ZERO));
    drop(assert_equation(engine.end()));
}

#[test]
fn letters_of_an_earlier_pass_count_for_none_of_the_new_one() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Refuse('7'));
    let config = config(dir.path(), &[("one", &destination, "")]);
    drop(run_to_the_end(&config, filled(&config, 0..1_000, 900)));
    destination.turn(Manner::Accept);
    let engine = start(&config, 0..0);
    let deadline = Instant::now() + PATIENCE;
    engine.rewind("one", NewPass::at(Offset::ZERO), deadline).expect("there is such an exporter");
    let one = || exporter(&engine.status(), "one").clone();
    assert!(comes_true(|| one().counts.delivered == 1_000), "{:?}", one());
    assert_eq!((one().pass, one().letters), (1, 63), "they are of the pass before");
    assert_eq!(replay(&engine, &Wanted::default()).delivered, 63);
    assert!(comes_true(|| one().letters == 0), "{:?}", one());
    drop(assert_equation(engine.end()));
    // Nor does a restart that finds their removals.
    let status = run_to_the_end(&config, filled(&config, 1_000..1_010, 900));
    let one = exporter(&status, "one");
    assert_eq!((one.counts.delivered, one.counts.dead_lettered), (1_010, 0), "{one:?}");
    assert_eq!((one.in_range, one.letters), (1_010, 0), "{one:?}");
}

#[test]
fn a_letter_is_sent_once_whoever_asks_again_meanwhile() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Refuse('7'));
    let config = config(dir.path(), &[("one", &destination, "")]);
    drop(run_to_the_end(&config, filled(&config, 0..1_000, 900)));
    destination.turn(Manner::Accept);
    let engine = start(&config, 0..0);
    engine.replay("one", &Wanted::default(), Some(20)).expect("nothing else is replayed");
    let refused = engine.replay("one", &Wanted::default(), None).expect_err("one is running");
    assert!(refused.to_string().contains("a replay is running"), "{refused}");
    let one = || exporter(&engine.status(), "one").clone();
    assert!(comes_true(|| one().counts.delivered == 1_000), "{:?}", one());
    let is_over = || !engine.replayed("one").expect("it runs").is_running;
    assert!(comes_true(is_over));
    drop(assert_equation(engine.end()));
    assert!(destination.accepted().values().all(|&times| times == 1));
}

#[test]
fn nothing_is_removed_before_the_checkpoints_that_count_it_are_saved() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Accept);
    let mut config = config(dir.path(), &[("one", &destination, "")]);
    config.log.segment_bytes = 2 << 20;
    config.log.keep_bytes = 0;
    let log = filled(&config, 0..0, 900);
    let engine = Engine::start(log.clone(), config.engine_options(&Host::default()));
    let engine = engine.expect("it starts");
    let (cursors, aside) = (config.log.dir.join("cursors"), config.log.dir.join("aside"));
    fs::rename(&cursors, &aside).expect("the directory is ours");
    fs::write(&cursors, b"").expect("the directory is ours");
    append(&log, 0..10_000, 900);
    let one = || exporter(&engine.status(), "one").clone();
    assert!(comes_true(|| one().counts.delivered == 10_000), "{:?}", one());
    // Retention is looked at once a second; a crash now would read all of it again.
    assert!(!comes_true_within(Duration::from_millis(2_500), || log.oldest() > Offset::ZERO));
    fs::remove_file(&cursors).expect("the directory is ours");
    fs::rename(&aside, &cursors).expect("the directory is ours");
    assert!(comes_true(|| log.oldest() > Offset::ZERO));
    drop(assert_equation(engine.end()));
    drop(log.close());
    let status = run_to_the_end(&config, filled(&config, 10_000..10_010, 900));
    let one = exporter(&status, "one");
    assert_eq!((one.counts.delivered, one.in_range), (10_010, 10_010), "{one:?}");
    assert_eq!(one.counts.skipped, 0, "{one:?}");
}

#[test]
fn a_pass_begun_after_a_damaged_checkpoint_owns_no_letter_of_an_earlier_one() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Refuse('7'));
    let config = config(dir.path(), &[("one", &destination, "")]);
    drop(run_to_the_end(&config, filled(&config, 0..100, 900)));
    let rewind = |engine: &Engine, to: Offset| {
        engine
            .rewind("one", NewPass::at(to), Instant::now() + PATIENCE)
            .expect("it can begin anew");
    };
    // Letters of passes 0 and 1.
    let engine = start(&config, 0..0);
    rewind(&engine, Offset::ZERO);
    assert_eq!(engine.drain(Instant::now() + PATIENCE), Ended::Settled);
    let before = exporter(&assert_equation(engine.end()), "one").clone();
    assert_eq!((before.pass, before.counts.dead_lettered, before.letters), (1, 6, 12));
    let cursor = config.log.dir.join("cursors/one.cursor");
    let mut bytes = fs::read(&cursor).expect("it was saved");
    bytes[40] ^= 1;
    fs::write(&cursor, bytes).expect("the directory is ours");

    let log = filled(&config, 0..0, 900);
    let end = log.written();
    let engine = Engine::start(log, config.engine_options(&Host::default())).expect("it starts");
    rewind(&engine, end);
    destination.turn(Manner::Accept);
    let replayed = replay(&engine, &Wanted::default());
    assert_eq!((replayed.delivered, replayed.kept), (12, 0), "{replayed:?}");
    let after = exporter(&assert_equation(engine.end()), "one").clone();
    assert_eq!((after.pass, after.in_range, after.letters), (2, 0, 0), "{after:?}");
    assert_eq!(after.counts.total(), 0, "none of those events is of this pass: {after:?}");

    // Nor does one that begins without any checkpoint.
    fs::remove_file(&cursor).expect("it was saved");
    let status = run_to_the_end(&config, filled(&config, 0..0, 900));
    let again = exporter(&status, "one");
    let told = "receipts speak of what pass 2 replayed";
    assert_eq!((again.pass, again.counts.delivered), (3, 100), "{told}: {again:?}");
    fs::remove_file(&cursor).expect("it was saved");
    let status = run_to_the_end(&config, filled(&config, 0..0, 900));
    let last = exporter(&status, "one");
    assert_eq!((last.pass, last.counts.delivered), (4, 100), "receipts speak of pass 3: {last:?}");
}

/// What cannot be rendered never reaches a request, whichever lane meets it.
#[test]
fn a_letter_that_cannot_be_rendered_stays() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Accept);
    let config = config_of(
        dir.path(),
        &format!(
            "  one: {{type: webhook, url: 'http://{}/', format: native, from: earliest, \
             strict_template: true, template: '{{\"a\": \"{{{{metadata.none}}}}\"}}'}}\n",
            destination.address
        ),
    );
    drop(run_to_the_end(&config, filled(&config, 0..3, 0)));
    let first = letters(&config);
    assert!(first.len() == 3 && first.iter().all(|letter| letter.class == "template"), "{first:?}");
    let engine = start(&config, 0..0);
    let again = replay(&engine, &Wanted::default());
    assert_eq!((again.wanted, again.delivered, again.kept), (3, 0, 3), "{again:?}");
    let are_written = || letters(&config).iter().all(|letter| letter.replays == 1);
    assert!(comes_true(are_written), "they are soon to be read");
    assert!(letters(&config).iter().all(|letter| letter.event.is_some()));
    let status = assert_equation(engine.end());
    assert_eq!(exporter(&status, "one").counts.dead_lettered, 3);
}
