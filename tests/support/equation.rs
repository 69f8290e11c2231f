//! The account that every run of the engine must end with:
//! `in_range = delivered + dead_lettered + filtered + skipped + invalid + pending`.

use serde_json::Value;
use shrike::pipeline::Status;

/// Asserts it for each exporter of an engine that has ended, or is at rest.
#[track_caller]
#[allow(dead_code, reason = "each test crate has engines or processes")]
pub(crate) fn assert_equation(status: Status) -> Status {
    for exporter in &status.exporters {
        let sum = exporter.counts.total() + exporter.pending;
        assert_eq!(sum, exporter.in_range, "the account does not hold: {exporter:?}");
    }
    status
}

/// Asserts it for each account that a process said at its end; one that was killed says none.
#[track_caller]
#[allow(dead_code, reason = "each test crate has engines or processes")]
pub(crate) fn assert_equation_said(said: &str) {
    let json = |line| serde_json::from_str::<Value>(line).ok();
    let lines = said.lines().filter_map(json);
    for line in lines.filter(|line| line["message"] == "account") {
        let number = |key: &str| line[key].as_u64().unwrap_or_else(|| panic!("{key}: {line}"));
        let fates = ["delivered", "dead_lettered", "filtered", "skipped", "invalid", "pending"];
        let sum: u64 = fates.iter().map(|key| number(key)).sum();
        assert_eq!(sum, number("in_range"), "the account does not hold: {line}");
    }
}
