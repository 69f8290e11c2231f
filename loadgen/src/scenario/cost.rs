//! What a million events cost, in CPU seconds of the whole process.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::bench::{Bench, ScenarioError};
use super::config::{self, Config, Exporter, Input};
use super::fakes::{FakeProcess, Role, Vendor};
use super::process::{Process, Usage};
use super::table::{Row, Target};
use crate::account::{Report, compare};
use crate::generate::Stream;
use crate::hint;
use crate::produce::{Job, Progress, Rate, produce};

/// Canonical lines on standard input, checked, appended, durable.
pub(super) fn intake(bench: &Bench) -> Result<Vec<Row>, ScenarioError> {
    let settings = &bench.settings;
    let input = Config { input: Input::Stdin, ..Config::default() };
    let config = config::write(bench, &input, &[])?;
    let mut process = Process::shrike(bench, &config, &["--drain"], Stdio::piped())?;
    let mut stdin = process.stdin().expect("standard input is a pipe");
    let job = Job { events: settings.events, rate: Rate::Unlimited, tick: Duration::ZERO };
    let mut stream = Stream::new(settings.seed);
    produce(job, &mut stream, &mut stdin, &Progress::default())
        .map_err(|error| write_failed(error, &process))?;
    drop(stdin);
    let usage = process.finish(DRAIN_LIMIT)?;
    Ok(cost_rows("intake", settings.events, &usage, 1.6))
}

/// Ready records by the library, durable.
pub(super) fn append(bench: &Bench) -> Result<Vec<Row>, ScenarioError> {
    let usage = prefill(bench)?;
    let mut rows = cost_rows("append", bench.settings.events, &usage, 0.8);
    let begin = std::time::Instant::now();
    let mut stream = Stream::new(bench.settings.seed);
    let mut left = bench.settings.events;
    while left > 0 {
        left -= stream.next(left.min(256), 256 << 10, |event| event).events;
    }
    let own = begin.elapsed().as_secs_f64() / bench.settings.events as f64 * 1e6;
    rows.push(Row::note("  of it the generator itself", own, "CPU-s/M"));
    Ok(rows)
}

/// ECS into Elasticsearch, plaintext.
pub(super) fn elastic_plain(bench: &Bench) -> Result<Vec<Row>, ScenarioError> {
    let role = Role { name: "elastic", ..Role::default() };
    job(bench, "log -> Elastic, ECS, plaintext", &[role], false, 2.2)
}

/// ECS into Elasticsearch, gzip.
pub(super) fn elastic_gzip(bench: &Bench) -> Result<Vec<Row>, ScenarioError> {
    let role = Role { name: "elastic", ..Role::default() };
    job(bench, "log -> Elastic, ECS, gzip", &[role], true, 4.2)
}

/// Native events into Splunk, gzip and TLS.
pub(super) fn splunk_gzip_tls(bench: &Bench) -> Result<Vec<Row>, ScenarioError> {
    let role = Role { name: "splunk", vendor: Vendor::Splunk, tls: true, ..Role::default() };
    job(bench, "log -> Splunk, native, gzip, TLS", &[role], true, 3.6)
}

/// Logs into Datadog, and the counts beside them.
pub(super) fn datadog(bench: &Bench) -> Result<Vec<Row>, ScenarioError> {
    let role = Role { name: "datadog", vendor: Vendor::Datadog, ..Role::default() };
    job(bench, "log -> Datadog, logs and counts, plaintext", &[role], false, 2.4)
}

/// JSON lines into Sumo Logic, by metadata fields.
pub(super) fn sumo_logic(bench: &Bench) -> Result<Vec<Row>, ScenarioError> {
    let role = Role { name: "sumo", vendor: Vendor::SumoLogic, ..Role::default() };
    job(bench, "log -> Sumo Logic, JSON, plaintext", &[role], false, 2.4)
}

/// Messages over TCP, native documents and structured data.
pub(super) fn syslog(bench: &Bench) -> Result<Vec<Row>, ScenarioError> {
    let role = Role { name: "syslog", vendor: Vendor::Syslog, ..Role::default() };
    job(bench, "log -> syslog, RFC 5424, TCP", &[role], false, 2.4)
}

/// Lines to any endpoint.
pub(super) fn webhook(bench: &Bench) -> Result<Vec<Row>, ScenarioError> {
    let role = Role { name: "webhook", vendor: Vendor::Webhook, ..Role::default() };
    job(bench, "log -> webhook, lines of JSON, plaintext", &[role], false, 2.4)
}

/// Records to an OTLP receiver.
pub(super) fn otlp(bench: &Bench) -> Result<Vec<Row>, ScenarioError> {
    let role = Role { name: "otlp", vendor: Vendor::Otlp, ..Role::default() };
    job(bench, "log -> OTLP/HTTP, protobuf, plaintext", &[role], false, 2.4)
}

/// The same in its other encoding.
pub(super) fn otlp_json(bench: &Bench) -> Result<Vec<Row>, ScenarioError> {
    let role = Role { name: "otlp", vendor: Vendor::OtlpJson, ..Role::default() };
    job(bench, "log -> OTLP/HTTP, JSON, plaintext", &[role], false, 2.4)
}

/// Objects of OCSF, zstd, by the hour.
pub(super) fn s3(bench: &Bench) -> Result<Vec<Row>, ScenarioError> {
    let role = Role { name: "s3", vendor: Vendor::S3, ..Role::default() };
    job(bench, "log -> S3, OCSF, no compression", &[role], false, 2.4)
}

/// Lines to a file, each body on the disk before the next.
pub(super) fn file(bench: &Bench) -> Result<Vec<Row>, ScenarioError> {
    job_beside(bench, "log -> file, native", &[], false, 2.4, true)
}

/// One of each, plaintext.
pub(super) fn everyone(bench: &Bench) -> Result<Vec<Row>, ScenarioError> {
    let role = |name, vendor| Role { name, vendor, ..Role::default() };
    let roles = [
        role("datadog", Vendor::Datadog),
        role("elastic", Vendor::Elastic),
        role("otlp", Vendor::Otlp),
        role("s3", Vendor::S3),
        role("splunk", Vendor::Splunk),
        role("sumo", Vendor::SumoLogic),
        role("syslog", Vendor::Syslog),
        role("webhook", Vendor::Webhook),
    ];
    // Nine times what one costs, less the opening of eight.
    job_beside(bench, "nine exporters, one of each, plaintext", &roles, false, 17.6, true)
}

/// Two of each, plaintext.
pub(super) fn four(bench: &Bench) -> Result<Vec<Row>, ScenarioError> {
    let elastic = |name| Role { name, ..Role::default() };
    let splunk = |name| Role { name, vendor: Vendor::Splunk, ..Role::default() };
    let roles =
        [elastic("elastic_a"), elastic("elastic_b"), splunk("splunk_a"), splunk("splunk_b")];
    job(bench, "four exporters, plaintext", &roles, false, 6.0)
}

/// One worker, then two.
pub(super) fn workers(bench: &Bench) -> Result<Vec<Row>, ScenarioError> {
    let mut walls = Vec::new();
    let mut costs = Vec::new();
    for workers in [1, 2] {
        let part = bench.part(&format!("workers-{workers}"))?;
        prefill(&part)?;
        // A fake that costs nothing and a body that costs much leave both cores to the workers.
        let (vendor, script) = (Vendor::Splunk, SWALLOW);
        let role = Role { name: "splunk", vendor, script, ..Role::default() };
        let fake = FakeProcess::start(&part, role)?;
        let settings = Config { workers: Some(workers), ..Config::default() };
        let config = config::write(&part, &settings, &[Exporter::gzip(&fake)])?;
        let process = Process::shrike(&part, &config, &["--drain"], Stdio::null())?;
        let usage = process.finish(DRAIN_LIMIT)?;
        drop(fake.finish()?);
        walls.push(usage.wall_s);
        costs.push(usage.cpu_s);
    }
    let events = bench.settings.events as f64;
    let ratio = walls[0] / walls[1];
    Ok(vec![
        Row::note("one worker", events / walls[0], "events/s"),
        Row::note("two workers", events / walls[1], "events/s"),
        Row::aim("two workers move, against one", ratio, "x", Target::AtLeast(1.8)),
        Row::aim(
            "CPU of two workers, against one (1.8 x needs <= 1.11)",
            costs[1] / costs[0],
            "x",
            Target::AtMost(1.11),
        ),
    ])
}

/// Prefills a log, drains it into the fakes, takes down the cost.
fn job(
    bench: &Bench,
    what: &str,
    roles: &[Role<'_>],
    gzip: bool,
    target: f64,
) -> Result<Vec<Row>, ScenarioError> {
    job_beside(bench, what, roles, gzip, target, false)
}

/// The same, perhaps with a file beside the fakes.
fn job_beside(
    bench: &Bench,
    what: &str,
    roles: &[Role<'_>],
    gzip: bool,
    target: f64,
    file: bool,
) -> Result<Vec<Row>, ScenarioError> {
    prefill(bench)?;
    let script = if bench.settings.swallow { SWALLOW } else { "" };
    let fakes: Vec<FakeProcess> = roles
        .iter()
        .map(|role| FakeProcess::start(bench, Role { script, ..*role }))
        .collect::<Result<_, _>>()?;
    let exporter = if gzip { Exporter::gzip } else { Exporter::plain };
    let exporters: Vec<Exporter<'_>> = fakes.iter().map(exporter).collect();
    let settings = Config { file, ..Config::default() };
    let config = config::write(bench, &settings, &exporters)?;
    let process = Process::shrike(bench, &config, &["--drain"], Stdio::null())?;
    let usage = process.finish(DRAIN_LIMIT)?;
    let mut rows = cost_rows(what, bench.settings.events, &usage, target);
    for fake in fakes {
        let (name, report) = (fake.name.clone(), fake.finish()?);
        if bench.settings.swallow {
            let bytes = report.body_bytes as f64;
            rows.push(Row::note(format!("  {name}: read, not counted"), bytes, "bytes"));
        } else {
            rows.extend(account_rows(&name, bench.settings.events, &report));
        }
    }
    Ok(rows)
}

/// Fills the log of a run; the cost of the process that did it.
pub(super) fn prefill(bench: &Bench) -> Result<Usage, ScenarioError> {
    append_to(bench, 0, bench.settings.events)
}

/// Appends events to the log of a run while nobody else writes it.
pub(super) fn append_to(bench: &Bench, first: u64, events: u64) -> Result<Usage, ScenarioError> {
    let mut command = Command::new(&bench.settings.loadgen);
    command.arg("append").arg("--log").arg(bench.path("log"));
    command.args(["--first", &first.to_string(), "--events", &events.to_string()]);
    command.args(["--seed", &bench.settings.seed.to_string()]);
    Process::start("append", command, Stdio::null(), bench)?.finish(DRAIN_LIMIT)
}

fn cost_rows(what: &str, events: u64, usage: &Usage, target: f64) -> Vec<Row> {
    let millions = events as f64 / 1e6;
    vec![
        Row::aim(what, usage.cpu_s / millions, "CPU-s/M", Target::AtMost(target)),
        Row::note("  throughput", events as f64 / usage.wall_s, "events/s"),
        Row::aim("  anonymous memory", usage.anonymous_max_mib(), "MiB", Target::AtMost(96.0)),
    ]
}

/// What an account must say after a scenario without faults and restarts.
pub(super) fn account_rows(name: &str, events: u64, report: &Report) -> Vec<Row> {
    let totals = compare(events, report).totals;
    let problems = report.problems.values().map(|problem| problem.times).sum::<u64>();
    for (what, problem) in &report.problems {
        hint(format_args!(
            "{name}: {} x {what}: {}",
            problem.times,
            problem.example.escape_debug()
        ));
    }
    let row = |what: &str, value: u64, target| {
        Row::aim(format!("  {name}: {what}"), value as f64, "events", target)
    };
    vec![
        row("never arrived", totals.never, Target::Exactly(0.0)),
        row("never appended", totals.beyond, Target::Exactly(0.0)),
        Row::note(format!("  {name}: more than once"), totals.more as f64, "events"),
        Row::note(format!("  {name}: duplicates refused"), report.conflicts as f64, "events"),
        // A batch keeps the log's order; across batches none is promised.
        Row::aim(
            format!("  {name}: out of order inside a body"),
            report.order.descents_within as f64,
            "times",
            Target::Exactly(0.0),
        ),
        Row::aim(format!("  {name}: problems"), problems as f64, "", Target::Exactly(0.0)),
    ]
}

/// A broken pipe says less than the process that broke it.
pub(super) fn write_failed(error: std::io::Error, process: &Process) -> ScenarioError {
    let what = format!("write events to shrike, which said:\n{}\n", process.said());
    ScenarioError::Io { what, source: error }
}

/// Whatever events come in by, they are read and answered as taken.
const SWALLOW: &str = "on _bulk swallow; on /collector/ swallow; on /events swallow";
/// The longest that draining may take.
pub(super) const DRAIN_LIMIT: Duration = Duration::from_secs(300);
