//! What must be withstood: dead destinations, kill -9.

use std::fs::File;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::bench::{Bench, ScenarioError};
use super::config::{self, Config, Exporter, Input};
use super::cost::{DRAIN_LIMIT, account_rows, append_to, write_failed};
use super::fakes::{FakeProcess, Role, Vendor};
use super::process::Process;
use super::table::{Row, Target};
use crate::account::compare;
use crate::generate::Stream;
use crate::produce::{Job, Progress, Rate, produce};
use crate::seed::Random;

/// Every vendor is dead from the start; after the load they come back.
pub(super) fn outage(bench: &Bench) -> Result<Vec<Row>, ScenarioError> {
    let rate = bench.settings.rate.unwrap_or(20_000.0);
    let events = bench.events_at(rate);
    let fakes = pair(bench, "refuse")?;
    let exporters: Vec<Exporter<'_>> = fakes.iter().map(Exporter::plain).collect();
    let input = Config { input: Input::Stdin, ..Config::default() };
    let config = config::write(bench, &input, &exporters)?;
    let mut process = Process::shrike(bench, &config, &["--drain"], Stdio::piped())?;
    let mut stdin = process.stdin().expect("standard input is a pipe");
    let job = Job { events, rate: Rate::PerSecond(rate), tick: TICK };
    let mut stream = Stream::new(bench.settings.seed);
    produce(job, &mut stream, &mut stdin, &Progress::default())
        .map_err(|error| write_failed(error, &process))?;
    fakes.iter().try_for_each(|fake| fake.play(""))?;
    drop(stdin);
    // What gathered in a long time takes long, also on a machine that does other things.
    let usage = process.finish(DRAIN_LIMIT + bench.settings.time)?;
    let dead_s = bench.settings.time.as_secs_f64();
    let early = usage.anonymous_between_mib(dead_s * 0.2, dead_s * 0.5);
    let late = usage.anonymous_between_mib(dead_s * 0.7, dead_s);
    let mut rows = vec![
        Row::aim("anonymous memory", usage.anonymous_max_mib(), "MiB", Target::AtMost(96.0)),
        Row::note("  while dead, first half", early, "MiB"),
        // Flat: no more than what allocators keep back.
        Row::aim("  while dead, last third", late, "MiB", Target::AtMost(early * 1.05 + 1.0)),
        Row::note("  wall time to deliver all", usage.wall_s - dead_s, "s"),
    ];
    for fake in fakes {
        let name = fake.name.clone();
        rows.extend(account_rows(&name, events, &fake.finish()?));
    }
    Ok(rows)
}

/// Every round more events are durable in the log, then shrike is killed while it sends them.
pub(super) fn kill(bench: &Bench) -> Result<Vec<Row>, ScenarioError> {
    let fakes = pair(bench, "latency 1ms..40ms")?;
    let exporters: Vec<Exporter<'_>> = fakes.iter().map(Exporter::plain).collect();
    let config = config::write(bench, &Config::default(), &exporters)?;
    let kills = bench.settings.kills.max(1);
    let each = bench.settings.events.div_ceil(u64::from(kills)).max(1);
    let mut random = Random::new(bench.settings.seed);
    for round in 0..u64::from(kills) {
        append_to(bench, round * each, each)?;
        let process = Process::shrike(bench, &config, &[], Stdio::null())?;
        // From before the log is open until well into steady running.
        std::thread::sleep(Duration::from_millis(5 + random.below(400)));
        kill_running(process)?;
    }
    let process = Process::shrike(bench, &config, &["--drain"], Stdio::null())?;
    process.finish(DRAIN_LIMIT)?;
    kill_rows(bench, fakes, each * u64::from(kills))
}

/// A file grows under load while shrike is killed and started again.
pub(super) fn kill_file(bench: &Bench) -> Result<Vec<Row>, ScenarioError> {
    let rate = bench.settings.rate.unwrap_or(20_000.0);
    let fakes = pair(bench, "latency 1ms..10ms")?;
    let exporters: Vec<Exporter<'_>> = fakes.iter().map(Exporter::plain).collect();
    let path = bench.path("events.jsonl");
    let write = format!("write {}", path.display());
    let mut file = File::create(&path).map_err(ScenarioError::io(write.clone()))?;
    let input = Config { input: Input::File(path.clone()), ..Config::default() };
    let config = config::write(bench, &input, &exporters)?;
    let progress = Arc::new(Progress::default());
    let seed = bench.settings.seed;
    let producer = std::thread::spawn({
        let progress = Arc::clone(&progress);
        let job = Job { events: u64::MAX, rate: Rate::PerSecond(rate), tick: TICK };
        move || produce(job, &mut Stream::new(seed), &mut file, &progress)
    });
    let mut random = Random::new(seed);
    for _ in 0..bench.settings.kills {
        let process = Process::shrike(bench, &config, &[], Stdio::null())?;
        // From before the log is open until well into steady running.
        std::thread::sleep(Duration::from_millis(20 + random.below(480)));
        kill_running(process)?;
    }
    progress.stop.store(true, Ordering::Relaxed);
    let produced = producer.join().unwrap_or(Ok(0));
    let events = produced.map_err(ScenarioError::io(write))?;
    let process = Process::shrike(bench, &config, &[], Stdio::null())?;
    let late =
        fakes.iter().try_for_each(|fake| wait_for_all(fake, events, (&process, CATCH_UP_LIMIT)));
    // What is missing in the end is what this is about: the table tells.
    if let Err(error @ ScenarioError::Io { .. }) = late {
        return Err(error);
    }
    process.terminate(DRAIN_LIMIT)?;
    kill_rows(bench, fakes, events)
}

/// Kills a process that must still be running.
fn kill_running(process: Process) -> Result<(), ScenarioError> {
    if process.has_ended() {
        let what = "shrike, by itself,".to_owned();
        let (expected, said) = ("go on until it was killed", process.said());
        return Err(ScenarioError::Late { what, expected, limit: Duration::ZERO, said });
    }
    process.kill().map(drop)
}

fn kill_rows(
    bench: &Bench,
    fakes: Vec<FakeProcess>,
    events: u64,
) -> Result<Vec<Row>, ScenarioError> {
    let kills = f64::from(bench.settings.kills.max(1));
    let mut rows =
        vec![Row::note("kills", kills, ""), Row::note("events appended", events as f64, "events")];
    for fake in fakes {
        let name = fake.name.clone();
        let report = fake.finish()?;
        let again = report.conflicts + compare(events, &report).totals.surplus;
        let what = format!("  {name}: sent again, each kill");
        let target = Target::AtMost(WINDOW_EVENTS);
        rows.push(Row::aim(what, again as f64 / kills, "events", target));
        rows.extend(account_rows(&name, events, &report));
    }
    Ok(rows)
}

/// Waits until a fake has each of so many events.
pub(super) fn wait_for_all(
    fake: &FakeProcess,
    events: u64,
    (process, limit): (&Process, Duration),
) -> Result<(), ScenarioError> {
    let begin = Instant::now();
    loop {
        let totals = compare(events, &fake.report()?).totals;
        if totals.never == 0 {
            return Ok(());
        }
        if begin.elapsed() > limit || process.has_ended() {
            let what = format!("shrike ({} events missing at {})", totals.never, fake.name);
            let expected = "deliver everything";
            return Err(ScenarioError::Late { what, expected, limit, said: process.said() });
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn pair(bench: &Bench, script: &str) -> Result<Vec<FakeProcess>, ScenarioError> {
    let elastic = Role { name: "elastic", script, ..Role::default() };
    let splunk = Role { name: "splunk", vendor: Vendor::Splunk, acks: true, script, ..elastic };
    Ok(vec![FakeProcess::start(bench, elastic)?, FakeProcess::start(bench, splunk)?])
}

/// The longest that catching up may take after the last kill.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(120);
/// What a crash may send again: the unsettled window, 48 MiB of bodies of 1,000-byte events.
const WINDOW_EVENTS: f64 = 50_331.0;
/// Time between two writes.
const TICK: Duration = Duration::from_micros(500);
