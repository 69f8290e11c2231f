//! The first command of the README: real events, all the way, to watch.

use std::io::{BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::bench::{Bench, ScenarioError};
use super::config::{self, Config, Exporter, Input};
use super::cost::{DRAIN_LIMIT, account_rows};
use super::fakes::{FakeProcess, Role, Vendor};
use super::late::wait_for;
use super::process::Process;
use super::table::{Row, Target};
use crate::account::{Report, compare};
use crate::generate::Stream;
use crate::produce::{Job, Progress, Rate, produce};
use crate::say;

/// Samples first, so that their ECS lines can be shown; then a live load.
pub(super) fn demo(bench: &Bench) -> Result<Vec<Row>, ScenarioError> {
    let rate = bench.settings.rate.unwrap_or(5_000.0);
    let elastic = FakeProcess::start(bench, Role { name: "elastic", ..Role::default() })?;
    let splunk =
        Role { name: "splunk", vendor: Vendor::Splunk, acks: true, tls: true, ..Role::default() };
    let splunk = FakeProcess::start(bench, splunk)?;
    let exporters = [Exporter::plain(&elastic), Exporter::gzip(&splunk)];
    let input = Config { input: Input::Stdin, stdout: true, ..Config::default() };
    let config = config::write(bench, &input, &exporters)?;
    let mut process = Process::shrike(bench, &config, &["--drain"], Stdio::piped())?;
    let mut stdin = process.stdin().expect("standard input is a pipe");
    let feed = "write events to shrike";
    for (_, text) in SAMPLES {
        stdin.write_all(text.as_bytes()).map_err(ScenarioError::io(feed))?;
    }
    say(format_args!("{SAMPLE_COUNT} shipped samples, as ECS (the first of each kind):"));
    show_lines(bench, &process)?;
    // Ages count from here on: what came before waited for the start.
    for fake in [&elastic, &splunk] {
        wait_for(fake, SAMPLE_COUNT, &process)?;
        fake.clear_latency()?;
    }
    let progress = Arc::new(Progress::default());
    let events = bench.events_at(rate);
    let job = Job { events, rate: Rate::PerSecond(rate), tick: Duration::from_millis(1) };
    let seed = bench.settings.seed;
    let producer = std::thread::spawn({
        let progress = Arc::clone(&progress);
        move || produce(job, &mut Stream::new(seed), &mut stdin, &progress)
    });
    watch(&[&elastic, &splunk], &progress, events + SAMPLE_COUNT, &process)?;
    producer.join().unwrap_or(Ok(0)).map_err(ScenarioError::io(feed))?;
    let usage = process.finish(DRAIN_LIMIT)?;
    say("");
    let mut rows = vec![Row::note("shrike's anonymous memory", usage.anonymous_max_mib(), "MiB")];
    for fake in [elastic, splunk] {
        let name = fake.name.clone();
        let report = fake.finish()?;
        say(sentence(&name, events, &report));
        let p99 = report.accepted.p99_us / 1_000.0;
        rows.push(Row::note(format!("  {name}: append -> accepted p99"), p99, "ms"));
        let samples = report.foreign_once as f64;
        let target = Target::Exactly(SAMPLE_COUNT as f64);
        rows.push(Row::aim(format!("  {name}: samples, each once"), samples, "events", target));
        rows.extend(account_rows(&name, events, &report));
    }
    say("");
    Ok(rows)
}

/// What the account of a destination comes to.
fn sentence(name: &str, events: u64, report: &Report) -> String {
    let totals = compare(events, report).totals;
    let missing = totals.never + SAMPLE_COUNT.saturating_sub(report.foreign_once);
    let all = events + SAMPLE_COUNT;
    match (missing, totals.more) {
        (0, 0) => format!("{name} has all {all} events, each once."),
        (0, more) => format!("{name} has all {all} events, {more} of them more than once."),
        (missing, _) => format!("{name} LACKS OR REPEATS {missing} of {all} events."),
    }
}

/// Shows the first ECS line of each kind of samples as soon as all are there.
fn show_lines(bench: &Bench, process: &Process) -> Result<(), ScenarioError> {
    let path = bench.path("shrike.out");
    let what = format!("read {}", path.display());
    let begin = Instant::now();
    loop {
        let file = std::fs::File::open(&path).map_err(ScenarioError::io(what.clone()))?;
        let lines: Vec<String> = BufReader::new(file)
            .lines()
            .collect::<Result<_, _>>()
            .map_err(ScenarioError::io(what.clone()))?;
        let is_late = begin.elapsed() > LINES_LIMIT || process.has_ended();
        if lines.len() as u64 >= SAMPLE_COUNT || is_late {
            let mut first = 0;
            for (name, text) in SAMPLES {
                // They are printed in the order of the log.
                let Some(line) = lines.get(first) else { break };
                let cut: String = line.chars().take(COLUMNS).collect();
                say(format_args!(
                    "  {name}: {cut}{}",
                    if cut.len() < line.len() { "..." } else { "" }
                ));
                first += text.lines().count();
            }
            say("");
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Prints the table again and again until everything has arrived.
fn watch(
    fakes: &[&FakeProcess],
    progress: &Progress,
    expected: u64,
    process: &Process,
) -> Result<(), ScenarioError> {
    let is_terminal = std::io::stdout().is_terminal();
    let mut last: Vec<u64> = vec![0; fakes.len()];
    let mut before = Instant::now();
    let begin = Instant::now();
    for round in 0.. {
        std::thread::sleep(REFRESH);
        let reports: Vec<Report> =
            fakes.iter().map(|fake| fake.report()).collect::<Result<_, _>>()?;
        let elapsed = before.elapsed().as_secs_f64();
        before = Instant::now();
        if is_terminal && round > 0 {
            let _ = write!(std::io::stdout(), "\x1b[{}A", fakes.len() + 1);
        }
        let appended = progress.events.load(Ordering::Relaxed) + SAMPLE_COUNT;
        // In a file one head is enough.
        if is_terminal || round == 0 {
            say(format_args!(
                "{:<10} {:>12} {:>12} {:>11} {:>9} {:>9} {:>9} {:>9}",
                "vendor", "appended", "stored", "events/s", "p50 ms", "p99 ms", "twice", "problems"
            ));
        }
        for ((fake, report), last) in fakes.iter().zip(&reports).zip(&mut last) {
            let rate = report.events.saturating_sub(*last) as f64 / elapsed;
            *last = report.events;
            let twice: u64 = report.spans.iter().filter(|s| s.times > 1).map(|s| s.events).sum();
            say(format_args!(
                "{:<10} {appended:>12} {:>12} {rate:>11.0} {:>9.2} {:>9.2} {twice:>9} {:>9}",
                fake.name,
                report.events,
                report.accepted.p50_us / 1_000.0,
                report.accepted.p99_us / 1_000.0,
                report.problems.len(),
            ));
        }
        let is_done = reports.iter().all(|report| report.events >= expected);
        if is_done || process.has_ended() || begin.elapsed() > DRAIN_LIMIT {
            return Ok(());
        }
    }
    Ok(())
}

/// The samples of `inputs.md` 9.
const SAMPLES: &[(&str, &str)] = &[
    ("canonical events", include_str!("../../samples/security-events.jsonl")),
    ("Clawdstrike's audit", include_str!("../../samples/clawdstrike-audit.jsonl")),
    ("Velar's audit", include_str!("../../samples/velar-audit.jsonl")),
];
/// Lines in them.
const SAMPLE_COUNT: u64 = 96;
/// Characters shown of each.
const COLUMNS: usize = 150;
/// How long to wait for them; the table says the rest.
const LINES_LIMIT: Duration = Duration::from_secs(5);
/// Time between two tables.
const REFRESH: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_are_as_many_as_the_account_expects() {
        let lines = SAMPLES.iter().map(|(_, text)| text.lines().count() as u64).sum::<u64>();
        assert_eq!(lines, SAMPLE_COUNT);
    }
}
