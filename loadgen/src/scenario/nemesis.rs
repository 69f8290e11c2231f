//! Everything that can go wrong outside of shrike, again and again, held against an outside oracle.

mod clock;
mod disk;

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::bench::{Bench, ScenarioError};
use super::config::{self, Config, Exporter, Input};
use super::cost::{DRAIN_LIMIT, account_rows};
use super::endure::wait_for_all;
use super::fakes::{FakeProcess, Role, Vendor};
use super::process::Process;
use super::table::{Row, Target};
use clock::Clock;
use disk::{Ballast, SmallDisk};

use crate::generate::Stream;
use crate::hint;
use crate::produce::{Job, Progress, Rate, produce};
use crate::seed::Random;

/// What is done to shrike and to its world.
#[derive(Clone, Copy, Debug)]
enum Blow {
    /// SIGKILL, then a new process.
    Kill,
    /// SIGTERM, then a new process.
    Stop,
    /// SIGSTOP, then SIGCONT.
    Freeze,
    /// SIGHUP.
    Reload,
    /// A certificate of an authority that nobody trusts, then a right one again.
    Foreign,
    /// Another certificate of the same authority.
    Renewed,
    /// No space left where log and state are.
    Full,
    /// The same, and a process that is killed and started meanwhile.
    FullStart,
    /// SIGKILL, and a new process that finds its disk read-only for a while.
    ReadOnly,
    /// The wall clock is stepped.
    Clock,
    /// A destination plays this.
    Play(&'static str),
}

/// A seeded run of blows.
struct Nemesis<'a> {
    bench: &'a Bench,
    config: PathBuf,
    state: PathBuf,
    disk: Option<&'a SmallDisk>,
    clock: Option<&'a Clock>,
    fakes: &'a [FakeProcess],
    random: Random,
    process: Option<Process>,
    dealt: BTreeMap<&'static str, u64>,
}

/// A file grows while everything goes wrong; in the end each destination must have all of it.
pub(super) fn nemesis(bench: &Bench) -> Result<Vec<Row>, ScenarioError> {
    let mut settings = bench.settings.clone();
    settings.set.extend(SETTINGS.iter().map(|&set| set.to_owned()));
    for name in NAMES {
        settings.set.extend(EXPORTER.iter().map(|set| format!("exporters.{name}.{set}")));
    }
    let bench = Bench::new(settings, bench.dir().to_path_buf());
    let clock = Clock::make(&bench)?;
    let bench = &bench.with_env(clock.as_ref().map(Clock::env).unwrap_or_default());
    let place = bench.part("disk")?;
    let small = SmallDisk::mount(place.dir());
    let found = torment(bench, &place, (small.as_ref(), clock.as_ref()));
    if found.is_err() {
        // It goes with the run, and tells what happened.
        let left = bench.path("disk.left");
        let copied = Command::new("cp").arg("-a").arg(place.dir()).arg(&left).status();
        if copied.is_ok_and(|status| status.success()) {
            hint(format_args!("log and state as they are now: {}", left.display()));
        }
    }
    found
}

/// Does all of it, with log and state in a place of their own.
fn torment(
    bench: &Bench,
    place: &Bench,
    (disk, clock): (Option<&SmallDisk>, Option<&Clock>),
) -> Result<Vec<Row>, ScenarioError> {
    let fakes = [
        Role { name: NAMES[0], tls: true, ..Role::default() },
        Role { name: NAMES[1], vendor: Vendor::Splunk, tls: true, acks: true, ..Role::default() },
        Role { name: NAMES[2], vendor: Vendor::Webhook, ..Role::default() },
    ];
    let fakes = fakes.iter().map(|role| FakeProcess::start(bench, *role));
    let fakes: Vec<FakeProcess> = fakes.collect::<Result<_, _>>()?;
    let exporters =
        [Exporter::gzip(&fakes[0]), Exporter::plain(&fakes[1]), Exporter::plain(&fakes[2])];
    let path = bench.path("events.jsonl");
    let mut file =
        File::create(&path).map_err(ScenarioError::io(format!("write {}", path.display())))?;
    let input = Config { input: Input::File(path), ..Config::default() };
    let config = config::write(place, &input, &exporters)?;
    let (rate, seed) = (bench.settings.rate.unwrap_or(RATE), bench.settings.seed);
    let progress = Arc::new(Progress::default());
    let producer = std::thread::spawn({
        let progress = Arc::clone(&progress);
        let job = Job { events: u64::MAX, rate: Rate::PerSecond(rate), tick: TICK };
        move || produce(job, &mut Stream::new(seed), &mut file, &progress)
    });
    let mut nemesis = Nemesis {
        bench,
        config: config.clone(),
        state: place.path("state"),
        disk,
        clock,
        fakes: &fakes,
        random: Random::new(seed),
        process: Some(Process::shrike(bench, &config, &[], Stdio::null())?),
        dealt: BTreeMap::new(),
    };
    let raged = nemesis.rage();
    progress.stop.store(true, Ordering::Relaxed);
    let produced = producer.join().unwrap_or(Ok(0));
    raged?;
    let events = produced.map_err(ScenarioError::io("write events"))?;
    let mut rows: Vec<Row> = nemesis
        .dealt
        .iter()
        .map(|(what, &times)| Row::note(*what, times as f64, "times"))
        .collect();
    let blows: u64 = nemesis.dealt.values().sum();
    rows.push(Row::note("blows in all", blows as f64, "times"));
    let process = nemesis.process.take().expect("it runs at the end");
    let begin = Instant::now();
    let wait = |fake| wait_for_all(fake, events, (&process, CATCH_UP_LIMIT));
    let late = fakes.iter().try_for_each(wait);
    rows.push(Row::note("catching up afterwards", begin.elapsed().as_secs_f64(), "s"));
    // What is missing in the end is what this is about: the table tells.
    if let Err(error) = &late {
        hint(error);
    }
    process.terminate(DRAIN_LIMIT)?;
    for (name, bytes) in unsettled(bench, &config)? {
        let what = format!("  {name}: log behind its checkpoint");
        rows.push(Row::aim(what, bytes as f64, "bytes", Target::Exactly(0.0)));
    }
    rows.push(Row::note("events written to the file", events as f64, "events"));
    for arguments in [["audit", "verify"], ["log", "verify"]] {
        let code = check(bench, &config, &arguments)?;
        let what = format!("exit code of shrike {}", arguments.join(" "));
        rows.push(Row::aim(what, code, "", Target::Exactly(0.0)));
    }
    let mut faults = 0;
    for fake in fakes {
        let name = fake.name.clone();
        let report = fake.finish()?;
        let failed = report.statuses.iter().filter(|(status, _)| !(200..300).contains(*status));
        let failed: u64 = failed.map(|(_, times)| times).sum();
        faults += failed;
        rows.push(Row::note(format!("  {name}: requests"), report.requests as f64, ""));
        rows.push(Row::note(format!("  {name}: requests that failed"), failed as f64, ""));
        rows.extend(account_rows(&name, events, &report));
    }
    rows.push(Row::note("requests that failed", faults as f64, ""));
    Ok(rows)
}

impl Nemesis<'_> {
    /// Deals blows until the time is over; then everything is well again.
    fn rage(&mut self) -> Result<(), ScenarioError> {
        let begin = Instant::now();
        while begin.elapsed() < self.bench.settings.time {
            let script = self.draw_script();
            let victim = self.draw(self.fakes.len());
            self.fakes[victim].play(script.1)?;
            self.note(script.0);
            let blows = 1 + self.draw(3);
            for _ in 0..blows {
                self.rest(10, 150);
                let (name, blow) = BLOWS[self.draw(BLOWS.len())];
                self.deal(name, blow)?;
            }
            self.rest(10, 200);
            self.fakes[victim].play(CALM)?;
            self.rest(0, 150);
        }
        self.fakes.iter().try_for_each(|fake| fake.play(""))
    }

    fn deal(&mut self, name: &'static str, blow: Blow) -> Result<(), ScenarioError> {
        match blow {
            Blow::Kill => {
                self.running()?.kill()?;
                self.begin()?;
            }
            Blow::Stop => {
                self.wait_ready()?;
                self.running()?.terminate(DRAIN_LIMIT)?;
                self.begin()?;
            }
            Blow::Freeze => {
                self.signal("STOP")?;
                self.rest(50, 800);
                self.signal("CONT")?;
            }
            Blow::Reload => {
                self.wait_ready()?;
                self.signal("HUP")?;
            }
            Blow::Foreign => {
                let victim = self.draw(SECURE);
                self.fakes[victim].show("foreign")?;
                // Connections that are open keep what they have seen.
                self.fakes[victim].play("chance 0.5 reset before")?;
                self.rest(50, 600);
                self.fakes[victim].show("same")?;
                self.fakes[victim].play(CALM)?;
            }
            Blow::Renewed => {
                let victim = self.draw(SECURE);
                self.fakes[victim].show("same")?;
            }
            Blow::Full => {
                let Some(disk) = self.disk else { return Ok(()) };
                let ballast = Ballast::fill(disk.dir());
                self.rest(100, 1_000);
                drop(ballast);
            }
            Blow::FullStart => {
                let Some(disk) = self.disk else { return Ok(()) };
                let ballast = Ballast::fill(disk.dir());
                self.running()?.kill()?;
                self.begin()?;
                self.rest(100, 1_000);
                drop(ballast);
            }
            Blow::ReadOnly => {
                let Some(disk) = self.disk else { return Ok(()) };
                self.running()?.kill()?;
                let was_remounted = disk.remount("ro");
                self.begin()?;
                self.rest(50, 800);
                if !was_remounted || !disk.remount("rw") {
                    return Err(ScenarioError::Unreadable {
                        what: "the small disk".to_owned(),
                        why: "it cannot be mounted read-only and back".to_owned(),
                    });
                }
            }
            Blow::Clock => {
                let Some(clock) = self.clock else { return Ok(()) };
                clock.set(STEPS_S[self.draw(STEPS_S.len())])?;
            }
            Blow::Play(script) => {
                let victim = self.draw(self.fakes.len());
                self.fakes[victim].play(script)?;
                self.rest(30, 400);
                self.fakes[victim].play(CALM)?;
            }
        }
        self.note(name);
        Ok(())
    }

    /// The process, which must not have ended by itself.
    fn running(&mut self) -> Result<Process, ScenarioError> {
        let process = self.process.take().expect("one is running between two blows");
        if process.has_ended() {
            let what = "shrike, by itself,".to_owned();
            let (expected, said) = ("go on", process.said());
            return Err(ScenarioError::Late { what, expected, limit: Duration::ZERO, said });
        }
        Ok(process)
    }

    fn begin(&mut self) -> Result<(), ScenarioError> {
        let process = Process::shrike(self.bench, &self.config, &[], Stdio::null())?;
        self.process = Some(process);
        // Sometimes the next blow comes while the log is being opened.
        self.rest(5, 300);
        Ok(())
    }

    /// Before it listens to signals, they end it as they end any process.
    fn wait_ready(&mut self) -> Result<(), ScenarioError> {
        let begin = Instant::now();
        let socket = self.state.join("control.sock");
        while UnixStream::connect(&socket).is_err() {
            let process = self.running()?;
            if begin.elapsed() > READY_LIMIT {
                let (what, said) = ("shrike".to_owned(), process.said());
                let (expected, limit) = ("answer commands", READY_LIMIT);
                return Err(ScenarioError::Late { what, expected, limit, said });
            }
            self.process = Some(process);
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn signal(&mut self, name: &str) -> Result<(), ScenarioError> {
        let process = self.running()?;
        process.signal(name)?;
        self.process = Some(process);
        Ok(())
    }

    fn draw_script(&mut self) -> (&'static str, &'static str) {
        SCRIPTS[self.draw(SCRIPTS.len())]
    }

    fn draw(&mut self, below: usize) -> usize {
        self.random.below(below as u64) as usize
    }

    fn rest(&mut self, from_ms: u64, to_ms: u64) {
        let ms = from_ms + self.random.below(to_ms - from_ms);
        std::thread::sleep(Duration::from_millis(ms));
    }

    fn note(&mut self, name: &'static str) {
        *self.dealt.entry(name).or_default() += 1;
    }
}

/// How much of the log each checkpoint leaves.
fn unsettled(bench: &Bench, config: &Path) -> Result<Vec<(String, u64)>, ScenarioError> {
    let mut command = Command::new(&bench.settings.shrike);
    command.args(["cursor", "show", "--json", "--config"]).arg(config);
    let ran = command.output().map_err(ScenarioError::io("run shrike"))?;
    let said = text(&ran.stdout).into_owned();
    let unreadable = |why: String| ScenarioError::Unreadable { what: "the cursors".into(), why };
    let cursors: Vec<serde_json::Value> =
        serde_json::from_str(&said).map_err(|error| unreadable(error.to_string()))?;
    let mut found = Vec::new();
    for cursor in cursors {
        let number = |key: &str| cursor[key].as_u64().ok_or_else(|| unreadable(said.clone()));
        let name = cursor["exporter"].as_str().unwrap_or_default().to_owned();
        found.push((name, number("head")? - number("base")?));
    }
    Ok(found)
}

/// Runs a command of shrike's and gives its exit code, 1,000 where there is none.
fn check(bench: &Bench, config: &Path, arguments: &[&str]) -> Result<f64, ScenarioError> {
    let mut command = Command::new(&bench.settings.shrike);
    command.args(arguments).arg("--config").arg(config);
    for set in &bench.settings.set {
        command.arg("--set").arg(set);
    }
    let ran = command.output().map_err(ScenarioError::io("run shrike"))?;
    if !ran.status.success() {
        hint(format_args!("{}{}", text(&ran.stdout), text(&ran.stderr)));
    }
    Ok(f64::from(ran.status.code().unwrap_or(1_000)))
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// What destinations do to requests.
const SCRIPTS: &[(&str, &str)] = &[
    ("resets before the body is read", "chance 0.5 reset before"),
    ("resets after the body was taken", "chance 0.5 reset after"),
    ("half-open: nothing is read", "chance 0.4 hang 20s"),
    ("half-open: taken, no answer", "chance 0.4 mute 20s"),
    ("answers lost", "chance 0.5 lost"),
    ("slow reads", "slow-read 300000"),
    ("slow answers", "latency 1ms..900ms"),
    ("429 storm", "chance 0.8 throttle 1s"),
    ("429 storm with dates", "chance 0.8 throttle 1s date"),
    ("503 storm", "chance 0.8 status 503"),
    ("401 for a while", "chance 0.3 auth"),
    ("connections refused", "refuse"),
    ("bodies too large", "max-body 20000"),
    ("single events refused for now", "items 429 0.3"),
    ("acknowledgements lost and late", "ack-lost 0.3; ack-delay 500ms"),
    ("server restarts", "every 7 restart"),
];

/// What happens meanwhile.
const BLOWS: &[(&str, Blow)] = &[
    ("SIGKILL", Blow::Kill),
    ("SIGKILL", Blow::Kill),
    ("SIGTERM", Blow::Stop),
    ("SIGSTOP", Blow::Freeze),
    ("SIGHUP", Blow::Reload),
    ("TLS fails: foreign certificate", Blow::Foreign),
    ("certificate renewed", Blow::Renewed),
    ("disk full", Blow::Full),
    ("disk full while it starts", Blow::FullStart),
    ("disk read-only while it starts", Blow::ReadOnly),
    ("wall clock stepped", Blow::Clock),
    ("a second destination refuses connections", Blow::Play("refuse")),
    ("a second destination resets", Blow::Play("chance 0.7 reset after")),
];

/// How far the wall clock is from the right time: leaps of an adjustment, of a time zone, of a
/// battery that was empty, and beyond every age that something is kept for.
const STEPS_S: &[i64] =
    &[0, 0, 1, -1, 3_600, -3_600, 86_400, -86_400, 40 * 86_400, -10_000 * 86_400];
/// Between two scripts.
const CALM: &str = "latency 1ms..8ms";
/// Destinations: the first ones speak TLS.
const NAMES: [&str; 3] = ["elastic", "splunk", "webhook"];
const SECURE: usize = 2;

/// Small segments, so that all that retention does is met within a run.
const SETTINGS: &[&str] = &[
    "global.shutdown_timeout_ms=2000",
    "pipeline.max_event_bytes=1MiB",
    "log.segment_bytes=2MiB",
    "log.keep.bytes=4MiB",
    "log.max_bytes=32MiB",
    "audit.max_bytes=16MiB",
    "pipeline.quarantine.max_bytes=16MiB",
    "exporters.splunk.ack.timeout_secs=2",
    // How the endpoint says which events of a request it did not take.
    "exporters.webhook.partial_path=/result/failed",
];

/// Nothing is given up, however long it takes, so that the oracle is exact.
const EXPORTER: &[&str] = &[
    "on_lag=block",
    "dlq.max_bytes=8MiB",
    "batch.size=10",
    "retry.max_retries=1000",
    "retry.initial_backoff_ms=20",
    "retry.max_backoff_ms=200",
    "retry.max_retry_after_ms=1000",
    "retry.budget_percent=100",
    "circuit_breaker.open_ms=100",
    "timeout_ms=1500",
    "connection.connect_timeout_ms=1000",
];

/// The longest that catching up may take once all is well.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(600);
/// The longest that a start may take, with a full disk and everything else.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// Events a second, unless asked otherwise: the blows are the load.
const RATE: f64 = 1_500.0;
/// Time between two writes.
const TICK: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Script;

    #[test]
    fn every_destination_understands_what_it_is_to_play() {
        let played = BLOWS.iter().filter_map(|(_, blow)| match blow {
            Blow::Play(script) => Some(*script),
            _ => None,
        });
        for script in SCRIPTS.iter().map(|(_, script)| *script).chain(played).chain([CALM]) {
            assert!(Script::parse(script).is_ok(), "{script}");
        }
    }
}
