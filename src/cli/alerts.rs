//! `shrike alerts`: incidents that the running process keeps.

use std::io::{self, Write as _};

use shrike::control::Error;
use shrike::pipeline::{AlertChange, AlertList};

use super::args::{Alerts, Shared};
use super::ask::running;
use super::table::Table;
use super::{Exit, Failure, failed, hint, say};

/// Runs a command about incidents.
pub(crate) fn alerts(shared: &Shared, command: &Alerts) -> Result<Exit, Failure> {
    match command {
        Alerts::List { exporter, key, limit, json } => {
            let prefix = key.as_deref().unwrap_or_default();
            let found = running(shared)?.alerts(exporter, prefix, *limit).map_err(failed)?;
            list(&found, *json)
        }
        Alerts::Ack { exporter, key } => change(shared, exporter, key, AlertChange::Acknowledge),
        Alerts::Resolve { exporter, key } => change(shared, exporter, key, AlertChange::Resolve),
    }
}

fn list(found: &AlertList, as_json: bool) -> Result<Exit, Failure> {
    let left = found.open.saturating_sub(found.alerts.len() as u64);
    let text = match as_json {
        true => serde_json::to_string(found).map_err(failed)? + "\n",
        false => shown(found),
    };
    io::stdout().write_all(text.as_bytes()).map_err(Failure::io("standard output"))?;
    if left > 0 && !as_json {
        hint(format_args!("{left} more; `--limit` prints more, a key only those that begin so"));
    }
    Ok(Exit::Done)
}

fn shown(found: &AlertList) -> String {
    let heads = ["key", "status", "severity", "events", "opened", "last seen", "last sent"];
    let mut table = Table::new(&heads);
    for alert in &found.alerts {
        let alert = alert.clone();
        table.row([
            alert.key,
            alert.status,
            alert.severity,
            alert.count.to_string(),
            alert.opened_at,
            alert.last_seen,
            alert.last_sent.unwrap_or_else(|| "refused".to_owned()),
        ]);
    }
    table.text()
}

fn change(
    shared: &Shared,
    exporter: &str,
    key: &str,
    change: AlertChange,
) -> Result<Exit, Failure> {
    let word = match change {
        AlertChange::Acknowledge => "acknowledged",
        AlertChange::Resolve => "resolved",
    };
    match running(shared)?.alert(exporter, key, change) {
        Ok(0) => Err(Failure::Engine(format!(
            "{key}: no incident with this key is open at {exporter}; \
             `shrike alerts list {exporter}` prints those that are"
        ))),
        Ok(incidents) => {
            let one = if incidents == 1 { "" } else { " by each of its routing keys" };
            say(format_args!("{key}: {word}{one}"));
            Ok(Exit::Done)
        }
        Err(Error::Refused(problem)) => Err(Failure::Engine(format!("{key}: {problem}"))),
        Err(error) => Err(failed(error)),
    }
}
