//! Counts for a metrics index: one object per guard and severity.

use serde_json::json;

use crate::deliver::{Derived, Options, Tally, Window};

/// Appends one metric event per guard and severity (`splunk.md`, Metrics).
pub(super) fn write(window: &Window<'_>, options: &Options, _derived: &Derived, out: &mut Vec<u8>) {
    // Types are told apart by the engine and not by this index, so neighbours are added up.
    let same = |a: &Tally<'_>, b: &Tally<'_>| a.guard == b.guard && a.severity == b.severity;
    for (at, tallies) in window.tallies.chunk_by(same).enumerate() {
        if at > 0 {
            out.push(b'\n');
        }
        let metric = json!({
            "time": window.end.secs,
            "event": "metric",
            "host": options.text("host").unwrap_or_else(|| window.host.to_owned()),
            "source": options.text("source"),
            "index": options.text("metrics.index"),
            "fields": {
                "metric_name:clawdstrike.events.total": sum(tallies, |tally| tally.total),
                "metric_name:clawdstrike.events.denied": sum(tallies, |tally| tally.denied),
                "guard": tallies[0].guard,
                "severity": tallies[0].severity.word(),
            },
        });
        out.extend_from_slice(metric.to_string().as_bytes());
    }
}

fn sum(tallies: &[Tally<'_>], count: fn(&Tally<'_>) -> u64) -> u64 {
    tallies.iter().map(count).sum()
}
