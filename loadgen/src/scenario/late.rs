//! How late events are, from the time they were due until a vendor has them.

use std::process::Stdio;
use std::time::{Duration, Instant};

use super::bench::{Bench, ScenarioError};
use super::config::{self, Config, Exporter, Input};
use super::cost::{DRAIN_LIMIT, account_rows, write_failed};
use super::fakes::{FakeProcess, Role, Vendor};
use super::process::{Process, Usage};
use super::stalls::Stalls;
use super::table::{Row, Target};
use crate::account::{Percentiles, Report};
use crate::generate::Stream;
use crate::produce::{Job, Progress, Rate, produce};

/// One live run: how much, how fast, into what.
struct Live<'a> {
    rate: Rate,
    events: u64,
    tick: Duration,
    exporters: &'a [Exporter<'a>],
    /// Events before this moment do not count for the latency.
    warm_up: Duration,
}

/// TLS, gzip, 20,000 a second, answers after 5 ms.
pub(super) fn latency_20k(bench: &Bench) -> Result<Vec<Row>, ScenarioError> {
    let rate = bench.settings.rate.unwrap_or(20_000.0);
    let (mut rows, usage) = tls_gzip(bench, rate)?;
    rows[0].target = Some(Target::AtMost(30.0));
    rows[1].target = Some(Target::AtMost(100.0));
    rows.push(memory(&usage));
    Ok(rows)
}

/// 70 % of the most that goes through.
pub(super) fn latency_70(bench: &Bench) -> Result<Vec<Row>, ScenarioError> {
    let part = bench.part("saturation")?;
    let fakes = answering_after_5_ms(&part)?;
    let exporters: Vec<Exporter<'_>> = fakes.iter().map(Exporter::gzip).collect();
    let live = Live {
        rate: Rate::Unlimited,
        events: bench.settings.events,
        tick: Duration::ZERO,
        exporters: &exporters,
        warm_up: Duration::ZERO,
    };
    let usage = run(&part, &live)?;
    drop(fakes);
    let most = bench.settings.events as f64 / usage.wall_s;
    let (mut rows, usage) = tls_gzip(bench, most * 0.7)?;
    rows[0].target = Some(Target::AtMost(500.0));
    rows.insert(0, Row::note("the most that goes through", most, "events/s"));
    rows.push(memory(&usage));
    Ok(rows)
}

/// One event a second.
pub(super) fn trickle(bench: &Bench) -> Result<Vec<Row>, ScenarioError> {
    let fakes = answering_after_5_ms(bench)?;
    let exporters: Vec<Exporter<'_>> = fakes.iter().map(Exporter::gzip).collect();
    let live = Live {
        rate: Rate::PerSecond(1.0),
        events: bench.events_at(1.0) + 2,
        tick: Duration::ZERO,
        exporters: &exporters,
        warm_up: Duration::from_secs(2),
    };
    let events = live.events;
    let usage = run(bench, &live)?;
    let mut rows = finish(fakes, events)?;
    rows[0].target = Some(Target::AtMost(50.0));
    rows.push(memory(&usage));
    Ok(rows)
}

/// No linger, plaintext, an instant vendor.
pub(super) fn floor(bench: &Bench) -> Result<Vec<Row>, ScenarioError> {
    let role = Role { name: "elastic", ..Role::default() };
    let fakes = vec![FakeProcess::start(bench, role)?];
    let exporters: Vec<Exporter<'_>> =
        fakes.iter().map(|fake| Exporter { linger_ms: Some(0), ..Exporter::plain(fake) }).collect();
    let rate = bench.settings.rate.unwrap_or(20_000.0);
    let live = Live {
        rate: Rate::PerSecond(rate),
        events: bench.events_at(rate),
        tick: Duration::from_micros(50),
        exporters: &exporters,
        warm_up: WARM_UP,
    };
    let events = live.events;
    let stalls = Stalls::watch();
    let usage = run(bench, &live)?;
    let stalls = stalls.map_or_else(Vec::new, Stalls::rows);
    let mut rows = finish(fakes, events)?;
    rows[0].target = Some(Target::AtMost(1.5));
    rows.extend(stalls);
    rows.push(memory(&usage));
    Ok(rows)
}

/// The same load beside a healthy and beside a hanging neighbour.
pub(super) fn slow_lane(bench: &Bench) -> Result<Vec<Row>, ScenarioError> {
    let rate = bench.settings.rate.unwrap_or(20_000.0);
    let mut ages = Vec::new();
    let mut rows = Vec::new();
    for (part, script) in [("healthy", ""), ("hanging", "hang")] {
        let part = bench.part(part)?;
        let good = FakeProcess::start(&part, Role { name: "good", ..Role::default() })?;
        let vendor = Vendor::Splunk;
        let bad = Role { name: "bad", vendor, script, ..Role::default() };
        let bad = FakeProcess::start(&part, bad)?;
        let events = part.events_at(rate);
        let exporters = [Exporter::plain(&good), Exporter::plain(&bad)];
        let input = Config { input: Input::Stdin, ..Config::default() };
        let config = config::write(&part, &input, &exporters)?;
        let mut process = Process::shrike(&part, &config, &[], Stdio::piped())?;
        let mut stdin = process.stdin().expect("standard input is a pipe");
        let job = Job { events, rate: Rate::PerSecond(rate), tick: TICK };
        let mut stream = Stream::new(bench.settings.seed);
        produce(job, &mut stream, &mut stdin, &Progress::default())
            .map_err(|error| write_failed(error, &process))?;
        let report = wait_for(&good, events, &process)?;
        process.kill()?;
        ages.push(report.accepted.p99_us / 1_000.0);
        rows.extend(account_rows("good", events, &good.finish()?));
    }
    rows.insert(0, Row::note("p99 beside a healthy neighbour", ages[0], "ms"));
    // A hundredth of a second of noise on a shared machine is not what this is about.
    let bound = (ages[0] * 1.1).max(ages[0] + 5.0);
    let target = Target::AtMost(bound);
    rows.insert(1, Row::aim("p99 beside a hanging neighbour", ages[1], "ms", target));
    Ok(rows)
}

fn tls_gzip(bench: &Bench, rate: f64) -> Result<(Vec<Row>, Usage), ScenarioError> {
    let fakes = answering_after_5_ms(bench)?;
    let exporters: Vec<Exporter<'_>> = fakes.iter().map(Exporter::gzip).collect();
    let live = Live {
        rate: Rate::PerSecond(rate),
        events: bench.events_at(rate),
        tick: TICK,
        exporters: &exporters,
        warm_up: WARM_UP,
    };
    let events = live.events;
    let stalls = Stalls::watch();
    let usage = run(bench, &live)?;
    let stalls = stalls.map_or_else(Vec::new, Stalls::rows);
    let mut rows = finish(fakes, events)?;
    rows.extend(stalls);
    Ok((rows, usage))
}

fn answering_after_5_ms(bench: &Bench) -> Result<Vec<FakeProcess>, ScenarioError> {
    let role =
        Role { name: "elastic", tls: true, script: "on bulk latency 5ms", ..Role::default() };
    Ok(vec![FakeProcess::start(bench, role)?])
}

/// Feeds shrike on its standard input until everything is settled.
fn run(bench: &Bench, live: &Live<'_>) -> Result<Usage, ScenarioError> {
    let input = Config { input: Input::Stdin, ..Config::default() };
    let config = config::write(bench, &input, live.exporters)?;
    let mut process = Process::shrike(bench, &config, &["--drain"], Stdio::piped())?;
    let mut stdin = process.stdin().expect("standard input is a pipe");
    let mut stream = Stream::new(bench.settings.seed);
    let warm = match live.rate {
        Rate::PerSecond(rate) => (live.warm_up.as_secs_f64() * rate) as u64,
        Rate::Unlimited => 0,
    };
    let warm = warm.min(live.events / 2);
    for (events, is_warm_up) in [(warm, true), (live.events - warm, false)] {
        let job = Job { events, rate: live.rate, tick: live.tick };
        produce(job, &mut stream, &mut stdin, &Progress::default())
            .map_err(|error| write_failed(error, &process))?;
        if is_warm_up {
            live.exporters.iter().try_for_each(|exporter| exporter.fake.clear_latency())?;
        }
    }
    drop(stdin);
    process.finish(DRAIN_LIMIT)
}

/// Ends the fakes; the rows begin with p99 and p99.9 of the first.
fn finish(fakes: Vec<FakeProcess>, events: u64) -> Result<Vec<Row>, ScenarioError> {
    let mut rows = Vec::new();
    for fake in fakes {
        let name = fake.name.clone();
        let report = fake.finish()?;
        rows.extend(age_rows("append -> accepted", &report.accepted));
        if report.confirmed.events > 0 {
            rows.extend(age_rows("append -> confirmed", &report.confirmed));
        }
        rows.extend(account_rows(&name, events, &report));
    }
    Ok(rows)
}

fn age_rows(what: &str, ages: &Percentiles) -> Vec<Row> {
    let row = |part: &str, us: f64| Row::note(format!("{what} {part}"), us / 1_000.0, "ms");
    vec![
        row("p99", ages.p99_us),
        row("p99.9", ages.p999_us),
        row("p50", ages.p50_us),
        row("p90", ages.p90_us),
        row("max", ages.max_us),
    ]
}

/// Waits until a fake has stored so many events.
pub(super) fn wait_for(
    fake: &FakeProcess,
    events: u64,
    process: &Process,
) -> Result<Report, ScenarioError> {
    let begin = Instant::now();
    loop {
        let report = fake.report()?;
        if report.events >= events {
            return Ok(report);
        }
        if begin.elapsed() > DRAIN_LIMIT || process.has_ended() {
            let what = format!("shrike ({} of {events} events at {})", report.events, fake.name);
            let said = process.said();
            let expected = "deliver everything";
            return Err(ScenarioError::Late { what, expected, limit: DRAIN_LIMIT, said });
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn memory(usage: &Usage) -> Row {
    Row::aim("anonymous memory", usage.anonymous_max_mib(), "MiB", Target::AtMost(96.0))
}

/// Time between two writes: fine against 30 ms, coarse enough to leave the cores to shrike.
const TICK: Duration = Duration::from_micros(250);
/// Connections, certificates and templates are made in this time.
const WARM_UP: Duration = Duration::from_secs(1);
