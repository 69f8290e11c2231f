//! What must be withstood: dead destinations, kill -9.

use std::fs::File;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::bench::{Bench, ScenarioError};
use super::config::{self, Config, Exporter, Input};
use super::cost::{DRAIN_LIMIT, account_rows, write_failed};
use super::fakes::{FakeProcess, Role, Vendor};
use super::process::Process;
use super::table::{Row, Target};
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
    let usage = process.finish(DRAIN_LIMIT)?;
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

/// A file grows under load while shrike is killed and started again.
pub(super) fn kill(bench: &Bench) -> Result<Vec<Row>, ScenarioError> {
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
        if process.has_ended() {
            return process.finish(DRAIN_LIMIT).map(|_| Vec::new());
        }
        process.kill()?;
    }
    progress.stop.store(true, Ordering::Relaxed);
    let produced = producer.join().unwrap_or(Ok(0));
    let events = produced.map_err(ScenarioError::io(write))?;
    // The same file to its end, once: what the position in the checkpoint leaves of it.
    let path = path.to_string_lossy().into_owned();
    let arguments = ["--drain", "--input", &path];
    let process = Process::shrike(bench, &config, &arguments, Stdio::null())?;
    process.finish(DRAIN_LIMIT)?;
    let mut rows = vec![
        Row::note("kills", f64::from(bench.settings.kills), ""),
        Row::note("events appended", events as f64, "events"),
    ];
    for fake in fakes {
        let name = fake.name.clone();
        rows.extend(account_rows(&name, events, &fake.finish()?));
    }
    Ok(rows)
}

fn pair(bench: &Bench, script: &str) -> Result<Vec<FakeProcess>, ScenarioError> {
    let elastic = Role { name: "elastic", script, ..Role::default() };
    let splunk = Role { name: "splunk", vendor: Vendor::Splunk, acks: true, script, ..elastic };
    Ok(vec![FakeProcess::start(bench, elastic)?, FakeProcess::start(bench, splunk)?])
}

/// Time between two writes.
const TICK: Duration = Duration::from_micros(500);
