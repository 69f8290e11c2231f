//! `shrike status`: the exporters of the running process.

use std::io::{self, Write as _};

use shrike::control::{ExporterStatus, IntelStatus, Status};

use super::args::Shared;
use super::table::Table;
use super::{Exit, Failure, failed, position};

/// Asks the running process and prints what it says.
pub(crate) fn status(shared: &Shared, as_json: bool) -> Result<Exit, Failure> {
    let status = super::ask::running(shared)?.status().map_err(failed)?;
    let text = match as_json {
        true => serde_json::to_string(&status).map_err(failed)? + "\n",
        false => shown(&status),
    };
    io::stdout().write_all(text.as_bytes()).map_err(Failure::io("standard output"))?;
    Ok(Exit::Done)
}

fn shown(status: &Status) -> String {
    let since = position::now().saturating_sub(status.started) / 1_000_000_000;
    let log = &status.log;
    let mut text = format!(
        "shrike {}, process {}, for {}, {}\nlog {}: {} bytes, durable below {}, written with {}\n",
        status.version,
        status.pid,
        span(since as f64),
        status.state,
        log.dir,
        log.bytes,
        log.durable,
        log.io
    );
    for note in &status.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    if !status.inputs.is_empty() {
        let heads = ["input", "state", "appended", "repeats", "rejected", "gaps"];
        let mut table = Table::new(&heads);
        for input in &status.inputs {
            table.row([
                input.name.clone(),
                match (input.failed, input.ended) {
                    (true, _) => "failed",
                    (false, true) => "ended",
                    (false, false) => "open",
                }
                .to_owned(),
                input.appended.to_string(),
                input.duplicates.to_string(),
                input.rejected.to_string(),
                input.gaps.to_string(),
            ]);
        }
        text.push('\n');
        text.push_str(&table.text());
    }
    if let Some(intel) = &status.threat_intel {
        text.push('\n');
        text.push_str(&threats(intel));
    }
    text.push('\n');
    text.push_str(&exporters(&status.exporters));
    for exporter in &status.exporters {
        if let Some(health) = exporter.health.as_ref().filter(|health| !health.healthy) {
            let (ago, name) = (span(health.seconds_ago), &exporter.name);
            text.push_str(&format!("{name}: not healthy {ago} ago: {}\n", health.text));
        }
        if exporter.unverified > 0 {
            text.push_str(&format!(
                "{}: {} accepted in this run, and not known whether they were processed\n",
                exporter.name, exporter.unverified
            ));
        }
        if let Some(alerts) = exporter.alerts.filter(|alerts| !alerts.has_incidents) {
            let (name, left_out) = (&exporter.name, alerts.deduplicated);
            text.push_str(&format!("{name}: left out {left_out} repeats in this run\n"));
        }
        if let Some(alerts) = exporter.alerts.filter(|alerts| alerts.has_incidents) {
            text.push_str(&format!(
                "{}: {} incidents open, {}{} resolved in this run; left out {} repeats{}\n",
                exporter.name,
                alerts.open,
                match alerts.acknowledged {
                    0 => String::new(),
                    acknowledged => format!("{acknowledged} acknowledged and "),
                },
                alerts.resolved,
                alerts.deduplicated,
                match alerts.resolve_failed {
                    0 => String::new(),
                    failed => format!("; {failed} requests to resolve failed, tried again"),
                }
            ));
        }
        if let Some(threads) = &exporter.threads {
            text.push_str(&format!(
                "{}: {} threads known, {} begun in this run with {} replies\n",
                exporter.name, threads.known, threads.begun, threads.replies,
            ));
        }
        if let Some(hook) = &exporter.hook {
            let (name, dry) = (&exporter.name, if hook.dry_run { ", a dry run" } else { "" });
            text.push_str(&format!(
                "{name}: a hook{dry}: fired {}, {} succeeded, {} failed; left out {} within the \
                 cooldown, {} too old{}\n",
                hook.fired,
                hook.succeeded,
                hook.failed,
                hook.suppressed,
                hook.stale,
                match hook.not_sent {
                    0 => String::new(),
                    dry => format!("; {dry} not sent in dry runs"),
                }
            ));
        }
        if exporter.parked > 0 {
            let (name, parked) = (&exporter.name, exporter.parked);
            text.push_str(&format!("{name}: {parked} events are set aside, since their route or they alone are refused\n"));
        }
        if let Some(error) = &exporter.last_error {
            let ago = span(error.seconds_ago);
            text.push_str(&format!("{}: {ago} ago: {}\n", exporter.name, error.text));
        }
    }
    text
}

/// What feeds told, and how each is.
fn threats(intel: &IntelStatus) -> String {
    let known = intel.indicators.iter().filter(|(_, count)| *count > 0);
    let known: Vec<String> = known.map(|(kind, count)| format!("{count} {kind}")).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    let mut text = format!(
        "indicators: {known}; {} of {} values that guards asked for matched, events were marked {} times\n",
        intel.hits, intel.lookups, intel.marked
    );
    let mut table = Table::new(&["feed", "state", "indicators", "polls", "failed", "read"]);
    let now = position::now() / 1_000_000_000;
    for feed in &intel.feeds {
        let state = match (feed.stale, &feed.problem, feed.polled) {
            (true, ..) => "stale",
            (_, Some(_), _) => "failing",
            (.., 0) => "starting",
            _ => "ok",
        };
        table.row([
            feed.name.clone(),
            state.to_owned(),
            feed.indicators.to_string(),
            feed.polled.to_string(),
            feed.failed.to_string(),
            match feed.last_success {
                0 => "never".to_owned(),
                at => format!("{} ago", span(now.saturating_sub(at) as f64)),
            },
        ]);
    }
    text.push_str(&table.text());
    for feed in &intel.feeds {
        if let Some(problem) = &feed.problem {
            text.push_str(&format!("{}: {problem}\n", feed.name));
        }
    }
    text
}

fn exporters(exporters: &[ExporterStatus]) -> String {
    let heads = [
        "exporter",
        "state",
        "health",
        "pending",
        "lag bytes",
        "lag",
        "delivered",
        "dead",
        "retried",
    ];
    let mut table = Table::new(&heads);
    for exporter in exporters {
        table.row([
            exporter.name.clone(),
            exporter.state.clone(),
            health(exporter),
            exporter.pending.to_string(),
            exporter.lag_bytes.to_string(),
            span(exporter.lag_seconds),
            exporter.delivered.to_string(),
            exporter.dead_lettered.to_string(),
            exporter.retried.to_string(),
        ]);
    }
    table.text()
}

/// Well or not, and how long the answer took.
fn health(exporter: &ExporterStatus) -> String {
    match &exporter.health {
        None => "-".to_owned(),
        Some(health) => {
            let word = if health.healthy { "ok" } else { "bad" };
            format!("{word} {}", span(health.latency_seconds))
        }
    }
}

/// Seconds in a unit that people read at a glance.
fn span(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => format!("{:.0}ms", s * 1e3),
        s if s < 120.0 => format!("{s:.1}s"),
        s if s < 7200.0 => format!("{:.0}m", s / 60.0),
        s if s < 172_800.0 => format!("{:.1}h", s / 3600.0),
        s => format!("{:.1}d", s / 86_400.0),
    }
}
