//! Stopping under load.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::destination::{Destination, Manner};
use crate::equation::assert_equation_said;
use crate::place::{Place, READY};
use crate::wait::{PATIENCE, comes_true};

#[test]
fn a_stop_under_load_repeats_nothing_and_ends_long_before_its_time_is_over() {
    let one = Destination::start(Manner::Accept);
    let place = Place::new(&[("one", &one)], "shutdown_timeout_ms: 600000");
    place.fill(0..6_000);
    let shrike = place.run(&[]);
    shrike.wait_for(READY);
    assert!(comes_true(|| !one.accepted().is_empty()));
    shrike.terminate();
    let stopped = shrike.ended(PATIENCE).with(0);
    let account = stopped.account("one");
    assert_eq!(account.in_range, 6_000);
    assert_eq!(account.counts.delivered, one.accepted().len() as u64);
    let rest = place.drained().with(0).account("one");
    assert_eq!((rest.in_range, rest.counts.delivered), (6_000, 6_000));
    assert_eq!(one.accepted().len(), 6_000);
    assert!(one.accepted().values().all(|&times| times == 1), "nothing is sent twice");
}

#[test]
fn an_exporter_that_is_held_is_told_with_the_reason() {
    let one = Destination::start(Manner::Lock);
    let place = Place::new(&[("one", &one)], "shutdown_timeout_ms: 100");
    place.fill(0..100);
    let shrike = place.run(&[]);
    shrike.wait_for("\"to\":\"auth_failed\"");
    shrike.terminate();
    let words = ["WARN", "state changed", "\"one\"", "auth_failed", "401"];
    let account = shrike.ended(PATIENCE).with(0).saying(&words).account("one");
    assert_eq!((account.pending, account.counts.dead_lettered), (100, 0));
}

#[test]
fn a_stop_waits_for_answers_only_so_long_and_the_next_start_sends_the_rest() {
    let one = Destination::start(Manner::Swallow);
    let place = Place::new(&[("one", &one)], "shutdown_timeout_ms: 1000");
    place.fill(0..1_000);
    let shrike = place.run(&[]);
    shrike.wait_for(READY);
    assert!(comes_true(|| !one.accepted().is_empty()));
    let asked = Instant::now();
    shrike.terminate();
    let stopped = shrike.ended(PATIENCE).with(0);
    assert!(asked.elapsed() >= Duration::from_secs(1), "took {:?}", asked.elapsed());
    assert_eq!((stopped.account("one").pending, stopped.account("one").in_range), (1_000, 1_000));
    one.turn(Manner::Accept);
    let account = place.drained().with(0).account("one");
    assert_eq!((account.in_range, account.counts.delivered), (1_000, 1_000));
    assert_eq!(one.accepted().len(), 1_000);
}

#[test]
fn a_second_stop_ends_at_once_and_the_next_start_sends_the_rest() {
    let one = Destination::start(Manner::Swallow);
    let place = Place::new(&[("one", &one)], "shutdown_timeout_ms: 600000");
    place.fill(0..1_000);
    let shrike = place.run(&[]);
    shrike.wait_for(READY);
    assert!(comes_true(|| !one.accepted().is_empty()));
    shrike.terminate();
    shrike.wait_for("stopping");
    shrike.terminate();
    let account = shrike.ended(PATIENCE).with(0).account("one");
    assert_eq!((account.pending, account.in_range), (1_000, 1_000));
    one.turn(Manner::Accept);
    place.drained().with(0);
    assert_eq!(one.accepted().len(), 1_000);
}

#[test]
fn whoever_does_not_read_what_it_says_holds_up_nothing() {
    let one = Destination::start(Manner::Accept);
    let place = Place::new(&[("one", &one)], "log: {level: debug}");
    // A line each, far more than a pipe holds.
    place.fill(0..3_000);
    let mut command = place.command(&["run", "--set", "exporters.one.batch.size=1"]);
    let mut child = command.stderr(Stdio::piped()).spawn().expect("the command starts");
    let mut said = BufReader::new(child.stderr.take().expect("piped"));
    let arrived = comes_true(|| one.count() == 3_000);
    let (mut text, mut line) = (String::new(), String::new());
    while arrived && !line.contains("lines of this log were lost") {
        line.clear();
        assert!(said.read_line(&mut line).expect("text") > 0, "lost lines are not told:\n{text}");
        text += &line;
    }
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
    said.read_to_string(&mut text).expect("text");
    assert!(child.wait().expect("it ends").success(), "{text}");
    assert!(arrived, "{} came, then it waited for a reader", one.count());
    assert!(text.contains("\"account\""), "{text}");
    assert_equation_said(&text);
}

#[test]
fn a_destination_that_does_not_answer_its_preparation_holds_up_no_stop() {
    let one = Destination::start(Manner::Accept);
    let place = Place::new(&[("one", &one)], "shutdown_timeout_ms: 600000");
    // Connections are made, and nobody ever reads from them.
    let mute = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let node =
        format!("--set=exporters.one.nodes=['http://{}']", mute.local_addr().expect("bound"));
    let shrike = place.run(&[&node, "--set=exporters.one.init.enabled=true"]);
    shrike.wait_for(READY);
    mute.accept().expect("it asks for something");
    shrike.terminate();
    shrike.ended(PATIENCE).with(0);
}

/// The timeout of draining counts from the end of the inputs.
#[test]
fn an_input_without_an_end_is_told_where_that_keeps_draining_from_its_beginning() {
    let one = Destination::start(Manner::Accept);
    let place = Place::new(&[("one", &one)], "shutdown_timeout_ms: 1000");
    std::fs::write(place.path("a.ndjson"), "").expect("the directory is ours");
    let inputs = format!("inputs=[{{type: file, path: {}}}]", place.path("a.ndjson").display());
    let shrike = place.run(&["--drain", "--set", &inputs]);
    shrike.wait_for("has no end, so that draining does not begin");
    shrike.terminate();
    drop(shrike.ended(PATIENCE).with(0));
}
