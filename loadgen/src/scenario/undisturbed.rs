//! What one destination may not do to another, and acknowledgements under fire.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::bench::{Bench, ScenarioError};
use super::config::{self, Config, Exporter, Input};
use super::cost::{DRAIN_LIMIT, account_rows, prefill};
use super::fakes::{FakeProcess, Role, Vendor};
use super::late::wait_for;
use super::process::Process;
use super::table::{Row, Target};
use crate::account::Report;
use crate::generate::Stream;
use crate::produce::{Job, Progress, Rate, produce};
use crate::realtime;

/// A written log into Splunk: without acknowledgements, then with ones that come late.
pub(super) fn acks(bench: &Bench) -> Result<Vec<Row>, ScenarioError> {
    let mut bench = bench.part("acks")?;
    // For several seconds: in fewer, all that is sent fits into what may wait.
    bench.settings.events = bench.settings.events.max(ACKS_EVENTS);
    let mut rates = Vec::new();
    let mut rows = Vec::new();
    for (name, acks, script) in [("without", false, ""), ("late", true, "ack-delay 2s")] {
        let part = bench.part(name)?;
        prefill(&part)?;
        let vendor = Vendor::Splunk;
        let role = Role { name: "splunk", vendor, acks, script, ..Role::default() };
        let fake = FakeProcess::start(&part, role)?;
        let config = config::write(&part, &Config::default(), &[Exporter::plain(&fake)])?;
        let process = Process::shrike(&part, &config, &["--drain"], Stdio::null())?;
        // From the first event that was taken, so that starting does not count.
        wait_for(&fake, 1, &process)?;
        let (begin, first) = (Instant::now(), fake.report()?.events);
        let last = wait_for(&fake, bench.settings.events, &process)?.events;
        rates.push((last - first) as f64 / begin.elapsed().as_secs_f64());
        let usage = process.finish(DRAIN_LIMIT)?;
        let memory = usage.anonymous_max_mib();
        let what = format!("anonymous memory, {name}");
        rows.push(Row::aim(what, memory, "MiB", Target::AtMost(96.0)));
        rows.extend(account_rows("splunk", bench.settings.events, &fake.finish()?));
    }
    rows.insert(0, Row::note("without acknowledgements", rates[0], "events/s"));
    rows.insert(1, Row::note("acknowledged after 2 s", rates[1], "events/s"));
    let share = rates[1] / rates[0];
    rows.insert(2, Row::aim("  of that without", share, "x", Target::AtLeast(0.95)));
    Ok(rows)
}

/// Events that take several times as long as an acknowledgement.
const ACKS_EVENTS: u64 = 4_000_000;

/// Everything that can go wrong between a batch and its acknowledgement, at once.
pub(super) fn acks_fire(bench: &Bench) -> Result<Vec<Row>, ScenarioError> {
    let mut bench = bench.part("fire")?;
    // Short waits, so that what is never acknowledged is sent again within the run.
    let set = ["ack.timeout_secs=3", "ack.poll_interval_ms=100", "circuit_breaker.open_ms=500"];
    bench.settings.set.extend(set.map(|set| format!("exporters.splunk.{set}")));
    prefill(&bench)?;
    let vendor = Vendor::Splunk;
    let role = Role { name: "splunk", vendor, acks: true, script: FIRE, ..Role::default() };
    let fake = FakeProcess::start(&bench, role)?;
    let config = config::write(&bench, &Config::default(), &[Exporter::plain(&fake)])?;
    let process = Process::shrike(&bench, &config, &["--drain"], Stdio::null())?;
    let usage = process.finish(DRAIN_LIMIT)?;
    let report = fake.finish()?;
    let events = bench.settings.events;
    let again = report.events.saturating_sub(events);
    let mut rows = vec![
        Row::note("wall time to confirm all", usage.wall_s, "s"),
        Row::note("requests", report.requests as f64, ""),
        Row::note("  without an answer", count(&report, 0), ""),
        Row::note("  refused for a moment", count(&report, 503), ""),
        Row::note("events sent again", again as f64, "events"),
        Row::aim("anonymous memory", usage.anonymous_max_mib(), "MiB", Target::AtMost(96.0)),
    ];
    // Whoever asks for an acknowledgement just after a restart asks on a channel that is no more:
    // a fault of nobody, unlike all others.
    let mut faults = report;
    faults.problems.retain(|what, _| !what.starts_with(CHANNEL_GONE));
    rows.extend(account_rows("splunk", events, &faults));
    Ok(rows)
}

/// Two destinations under a quarter of the load that they can take; one dies and comes back.
pub(super) fn catch_up(bench: &Bench) -> Result<Vec<Row>, ScenarioError> {
    let (mut live, rate, most) = Live::quarter(bench, "lame")?;
    let third = bench.settings.time / 3;
    let before = live.p99_over(third)?;
    live.other.play("reset before")?;
    let while_dead = live.p99_over(third)?;
    let from = live.other.report()?.events;
    live.good.clear_latency()?;
    live.other.play("")?;
    // The breaker lets one probe through from time to time: catching up begins with it.
    let healed = Instant::now();
    let mut begin = healed;
    while live.other.report()?.events == from {
        begin = Instant::now();
        live.require_running(healed)?;
        thread::sleep(LOOK / 5);
    }
    let to = loop {
        let now = live.other.report()?.events;
        if now + (rate / 5.0) as u64 >= live.produced() {
            break now;
        }
        live.require_running(begin)?;
        thread::sleep(LOOK);
    };
    let caught = (to - from) as f64 / begin.elapsed().as_secs_f64();
    let during = live.good.report()?.accepted.p99_us / 1_000.0;
    let mut rows = vec![
        Row::note("the most that goes through", most, "events/s"),
        Row::note("input, a quarter of it", rate, "events/s"),
        Row::note("events that waited", (to - from) as f64, "events"),
        Row::aim("catching up", caught / rate, "x input", Target::AtLeast(3.0)),
        Row::note("p99 of the other, both well", before, "ms"),
        aside("p99 of the other, one dead", while_dead, before),
        aside("p99 of the other, catching up", during, before),
    ];
    rows.extend(live.end()?);
    Ok(rows)
}

/// The same load; then one of the two is sent everything again, from the beginning.
pub(super) fn replay(bench: &Bench) -> Result<Vec<Row>, ScenarioError> {
    let (mut live, rate, most) = Live::quarter(bench, "again")?;
    let half = bench.settings.time / 2;
    let before = live.p99_over(half)?;
    live.good.clear_latency()?;
    let there = live.other.report()?.events;
    let (begin, conflicts) = (Instant::now(), live.other.report()?.conflicts);
    live.rewind(bench, "again")?;
    let again = loop {
        // Elasticsearch knows the ids: what comes again is refused as a conflict.
        let again = live.other.report()?.conflicts - conflicts;
        if again >= there {
            break again;
        }
        live.require_running(begin)?;
        thread::sleep(LOOK);
    };
    let replayed = again as f64 / begin.elapsed().as_secs_f64();
    let during = live.good.report()?.accepted.p99_us / 1_000.0;
    let mut rows = vec![
        Row::note("the most that goes through", most, "events/s"),
        Row::note("input, a quarter of it", rate, "events/s"),
        Row::note("events sent again", again as f64, "events"),
        Row::note("  so many a second", replayed, "events/s"),
        Row::note("p99 of the other, before", before, "ms"),
        aside("p99 of the other, during the replay", during, before),
    ];
    rows.extend(live.end()?);
    Ok(rows)
}

/// Shrike under steady load, into two destinations.
struct Live {
    good: FakeProcess,
    other: FakeProcess,
    process: Process,
    progress: Arc<Progress>,
    producer: JoinHandle<std::io::Result<u64>>,
}

impl Live {
    /// Finds out what goes through, then begins with a quarter of it; warm when this returns.
    fn quarter(bench: &Bench, other: &str) -> Result<(Self, f64, f64), ScenarioError> {
        let most = saturation(&bench.part("saturation")?)?;
        let rate = bench.settings.rate.unwrap_or(most / 4.0);
        let part = bench.part("live")?;
        let well = Role { name: "good", is_remote: true, ..Role::default() };
        let good = FakeProcess::start(&part, well)?;
        let other = FakeProcess::start(&part, Role { name: other, ..Role::default() })?;
        let input = Config { input: Input::Stdin, ..Config::default() };
        let exporters = [Exporter::plain(&good), Exporter::plain(&other)];
        let config = config::write(&part, &input, &exporters)?;
        let mut short = part.part("short")?;
        short.settings.set.push(format!("exporters.{}.circuit_breaker.open_ms=500", other.name));
        let mut process = Process::shrike(&short, &config, &["--drain"], Stdio::piped())?;
        let mut stdin = process.stdin().expect("standard input is a pipe");
        let progress = Arc::new(Progress::default());
        let producer = thread::spawn({
            let (progress, seed) = (Arc::clone(&progress), bench.settings.seed);
            let job = Job { events: u64::MAX, rate: Rate::PerSecond(rate), tick: TICK };
            move || {
                realtime::raise();
                produce(job, &mut Stream::new(seed), &mut stdin, &progress)
            }
        });
        let live = Self { good, other, process, progress, producer };
        wait_for(&live.good, rate as u64, &live.process)?;
        wait_for(&live.other, rate as u64, &live.process)?;
        Ok((live, rate, most))
    }

    /// Events that shrike was given.
    fn produced(&self) -> u64 {
        self.progress.events.load(Ordering::Relaxed)
    }

    /// The good one's latency over a time, milliseconds.
    fn p99_over(&mut self, time: Duration) -> Result<f64, ScenarioError> {
        self.good.clear_latency()?;
        thread::sleep(time);
        Ok(self.good.report()?.accepted.p99_us / 1_000.0)
    }

    /// Sends everything to an exporter again.
    fn rewind(&self, bench: &Bench, exporter: &str) -> Result<(), ScenarioError> {
        let part = bench.part("live")?;
        let mut command = Command::new(&bench.settings.shrike);
        command.args(["cursor", "rewind", exporter, "--to", "earliest", "--config"]);
        command.arg(part.path("shrike.yaml"));
        Process::start("rewind", command, Stdio::null(), &part)?.finish(DRAIN_LIMIT).map(drop)
    }

    fn require_running(&self, begin: Instant) -> Result<(), ScenarioError> {
        if begin.elapsed() < DRAIN_LIMIT && !self.process.has_ended() {
            return Ok(());
        }
        let (what, said) = ("shrike".to_owned(), self.process.said());
        Err(ScenarioError::Late { what, expected: "catch up", limit: DRAIN_LIMIT, said })
    }

    /// Ends the load, and holds both accounts against it.
    fn end(self) -> Result<Vec<Row>, ScenarioError> {
        self.progress.stop.store(true, Ordering::Relaxed);
        let produced = self.producer.join().unwrap_or(Ok(0));
        let events = produced.map_err(ScenarioError::io("write events to shrike"))?;
        let usage = self.process.finish(DRAIN_LIMIT)?;
        let memory = usage.anonymous_max_mib();
        let mut rows = vec![Row::aim("anonymous memory", memory, "MiB", Target::AtMost(96.0))];
        for fake in [self.good, self.other] {
            let name = fake.name.clone();
            rows.extend(account_rows(&name, events, &fake.finish()?));
        }
        Ok(rows)
    }
}

/// The most events a second that go the whole way, from standard input to two destinations at once.
fn saturation(bench: &Bench) -> Result<f64, ScenarioError> {
    let good = FakeProcess::start(bench, Role { name: "good", ..Role::default() })?;
    let other = FakeProcess::start(bench, Role { name: "other", ..Role::default() })?;
    let exporters = [Exporter::plain(&good), Exporter::plain(&other)];
    let input = Config { input: Input::Stdin, ..Config::default() };
    let config = config::write(bench, &input, &exporters)?;
    let mut process = Process::shrike(bench, &config, &["--drain"], Stdio::piped())?;
    let mut stdin = process.stdin().expect("standard input is a pipe");
    let events = bench.settings.events;
    let job = Job { events, rate: Rate::Unlimited, tick: TICK };
    produce(job, &mut Stream::new(bench.settings.seed), &mut stdin, &Progress::default())
        .map_err(ScenarioError::io("write events to shrike"))?;
    drop(stdin);
    let usage = process.finish(DRAIN_LIMIT)?;
    Ok(events as f64 / usage.wall_s)
}

/// A latency that may be a tenth longer than before, or 5 ms.
fn aside(what: &str, measured: f64, before: f64) -> Row {
    Row::aim(what, measured, "ms", Target::AtMost((before * 1.1).max(before + 5.0)))
}

fn count(report: &Report, status: u16) -> f64 {
    report.statuses.get(&status).copied().unwrap_or(0) as f64
}

/// Polls whose answers are lost or refused, a service that is down for a second, batches that are
/// never acknowledged, restarts that begin the ids again, requests whose answers are lost.
const FIRE: &str = "ack-delay 200ms; on ack chance 0.2 lost; on ack chance 0.1 code 9; \
                    from 1s to 2s on ack status 503; ack-lost 0.02; every 150 restart; \
                    chance 0.01 lost; chance 0.01 code 9";
/// How the fake names a poll on a channel that a restart took.
const CHANNEL_GONE: &str = "code 11: ";
/// Time between two writes.
const TICK: Duration = Duration::from_micros(500);
/// Time between two looks at a fake.
const LOOK: Duration = Duration::from_millis(50);
