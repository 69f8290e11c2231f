//! `loadgen account`.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use loadgen::account::{Report, compare};
use loadgen::say;

/// Hold accounts of fakes against what was appended.
///
/// Exit code 1 when any event is missing in any account, or was stored without ever having been
/// appended; events stored more than once are shown and allowed (delivery is at least once).
#[derive(Debug, Args)]
pub(crate) struct Account {
    /// How many events were appended, numbered from 0
    #[arg(long, value_name = "N")]
    expect: u64,
    /// Fail also when an event was stored more than once
    #[arg(long)]
    exactly_once: bool,
    /// Accounts as fakes wrote them
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Account {
    pub(crate) fn run(self) -> Result<ExitCode, Box<dyn Error>> {
        let mut is_good = true;
        say(format_args!(
            "{:<28} {:>12} {:>12} {:>12} {:>12} {:>10} {:>10} {:>9}",
            "account", "expected", "once", "more", "never", "beyond", "absorbed", "problems"
        ));
        for path in &self.files {
            let report = read(path)?;
            let comparison = compare(self.expect, &report);
            let totals = comparison.totals;
            is_good &= comparison.is_complete() && !(self.exactly_once && totals.more > 0);
            say(format_args!(
                "{:<28} {:>12} {:>12} {:>12} {:>12} {:>10} {:>10} {:>9}",
                path.file_name().unwrap_or_default().to_string_lossy(),
                self.expect,
                totals.once,
                totals.more,
                totals.never,
                totals.beyond,
                report.conflicts,
                report.problems.values().map(|problem| problem.times).sum::<u64>(),
            ));
            if !comparison.missing.is_empty() {
                say(format_args!("  missing, first of {}: {:?}", totals.never, comparison.missing));
            }
            for (what, problem) in &report.problems {
                say(format_args!(
                    "  {} x {what}: {}",
                    problem.times,
                    problem.example.escape_debug()
                ));
            }
        }
        Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }
}

fn read(path: &PathBuf) -> Result<Report, String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text)
        .map_err(|error| format!("{} is no account of a fake: {error}", path.display()))
}
