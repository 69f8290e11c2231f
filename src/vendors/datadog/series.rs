//! Counts as metrics: one point per series and window, since a second one replaces the first.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::tags;
use crate::deliver::{Derived, Options, Tally, Window};

/// Appends the series of one part of a window (`datadog.md`, Wire: metrics).
///
/// Sums over guards go with the first part alone; guards are never cut between parts.
pub(super) fn write(window: &Window<'_>, options: &Options, _: &Derived, out: &mut Vec<u8>) {
    let writer = Writer::new(window, options);
    let mut series = Vec::new();
    if window.part == 0 {
        let whole = window.whole;
        let total = sum(whole, |tally| tally.total);
        let denied = sum(whole, |tally| tally.denied);
        if total > 0 {
            let rows = [("total", total), ("allowed", total - denied), ("denied", denied)];
            series.extend(rows.map(|(name, count)| writer.count(name, None, count)));
            for (word, count) in [("allowed", total - denied), ("denied", denied)] {
                series.push(writer.count("by_outcome", Some(("outcome", word)), count));
            }
        }
        for (word, count) in grouped(whole, |tally| tally.severity.word()) {
            series.push(writer.count("by_severity", Some(("severity", word)), count));
        }
        for (word, count) in grouped(whole, |tally| tally.event_type) {
            series.push(writer.count("by_type", Some(("event_type", word)), count));
        }
        series.push(writer.gauge("export.lag_events", window.lag_events as f64, "event"));
        if !options.is_on("metrics.distributions") {
            series.extend(latencies(window, &writer));
        }
    }
    // Two guards may have one tag: then they are one series.
    let mut guards: BTreeMap<String, u64> = BTreeMap::new();
    for tally in window.tallies {
        *guards.entry(tag("guard", tally.guard)).or_default() += tally.total;
    }
    for (guard, count) in guards {
        series.push(writer.tagged("by_guard", Some(guard), count));
    }
    out.extend_from_slice(json!({ "series": series }).to_string().as_bytes());
}

/// Appends the latencies of a window as one point of a distribution; nothing where there are none.
pub(super) fn write_latencies(
    window: &Window<'_>,
    options: &Options,
    _: &Derived,
    out: &mut Vec<u8>,
) {
    if window.latencies_ms.is_empty() {
        return;
    }
    let writer = Writer::new(window, options);
    let values: Vec<f64> = window.latencies_ms.iter().map(|&ms| seconds(ms)).collect();
    let series = json!({
        "metric": writer.name("export.latency_seconds"),
        "points": [[window.end.secs, values]],
        "tags": writer.tags,
        "host": writer.host,
        "type": "distribution",
    });
    out.extend_from_slice(json!({ "series": [series] }).to_string().as_bytes());
}

fn latencies(window: &Window<'_>, writer: &Writer) -> Vec<Value> {
    let Some(last) = window.latencies_ms.len().checked_sub(1) else { return Vec::new() };
    let quantiles = [("p50", 50), ("p95", 95), ("p99", 99)];
    let gauge = |(name, percent)| {
        let ms = window.latencies_ms[last * percent / 100];
        writer.gauge(&format!("export.latency_seconds.{name}"), seconds(ms), "second")
    };
    quantiles.map(gauge).into()
}

/// What all series of a window share.
struct Writer {
    prefix: String,
    tags: Vec<String>,
    host: String,
    end: i64,
    interval: u64,
}

impl Writer {
    fn new(window: &Window<'_>, options: &Options) -> Self {
        // Mistakes in them were refused when the exporter was made.
        let mut tags =
            tags::configured(&options.list("metrics.tags"), "metrics.tags").unwrap_or_default();
        // A series of two environments would be found under both.
        if !tags.iter().any(|tag| tag.starts_with("env:")) {
            tags.extend(options.text("apm.env").map(|env| tag("env", &env)));
        }
        Self {
            prefix: options.text("metrics.prefix").unwrap_or_default(),
            tags,
            host: options.text("logs.hostname").unwrap_or_else(|| window.host.to_owned()),
            end: window.end.secs,
            interval: window.length.as_secs().max(1),
        }
    }

    fn name(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    fn count(&self, name: &str, by: Option<(&str, &str)>, count: u64) -> Value {
        self.tagged(name, by.map(|(key, word)| tag(key, word)), count)
    }

    fn tagged(&self, name: &str, tag: Option<String>, count: u64) -> Value {
        let tags: Vec<&String> = self.tags.iter().chain(&tag).collect();
        json!({
            "metric": self.name(&format!("events.{name}")),
            "type": COUNT,
            "interval": self.interval,
            "points": [{"timestamp": self.end, "value": count}],
            "tags": tags,
            "resources": [{"type": "host", "name": self.host}],
            "unit": "event",
        })
    }

    fn gauge(&self, name: &str, value: f64, unit: &str) -> Value {
        json!({
            "metric": self.name(name),
            "type": GAUGE,
            "points": [{"timestamp": self.end, "value": value}],
            "tags": self.tags,
            "resources": [{"type": "host", "name": self.host}],
            "unit": unit,
        })
    }
}

/// A tag of a metric, under the same rules as those of logs.
fn tag(key: &str, word: &str) -> String {
    let tag = format!("{key}:{word}");
    let cleaned = tags::configured(&[&tag], key).ok().and_then(|mut tags| tags.pop());
    cleaned.unwrap_or_default()
}

fn sum(tallies: &[Tally<'_>], count: fn(&Tally<'_>) -> u64) -> u64 {
    tallies.iter().map(count).sum()
}

/// Totals by a word, each once.
fn grouped<'a>(tallies: &[Tally<'a>], word: fn(&Tally<'a>) -> &'a str) -> BTreeMap<&'a str, u64> {
    let mut groups = BTreeMap::new();
    for tally in tallies {
        *groups.entry(word(tally)).or_default() += tally.total;
    }
    groups
}

fn seconds(ms: u32) -> f64 {
    f64::from(ms) / 1000.0
}

/// Types of metrics in API v2.
const COUNT: u8 = 1;
const GAUGE: u8 = 3;
