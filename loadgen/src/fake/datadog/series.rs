//! Metrics: points by series and time, of which a second one replaces the first.

use super::Datadog;
use crate::clock;
use crate::fake::json::Node;
use crate::fake::{Reply, Visit};

impl Datadog {
    /// "The metrics end-point allows you to post time-series data."
    pub(super) fn series(&self, visit: &Visit<'_>) -> Reply {
        if !self.is_json(visit) {
            return Self::refuse(415);
        }
        let is_plain = visit.header("content-encoding").is_empty();
        if visit.body.len() > SERIES_BYTES_MAX || (is_plain && visit.body.len() > SENT_BYTES_MAX) {
            self.book.note_problem("a payload of metrics is too large", b"");
            return Self::refuse(413);
        }
        let parsed = Node::parse(visit.body);
        let Some(Node::List(all)) = parsed.as_ref().ok().and_then(|node| node.member("series"))
        else {
            self.book.note_problem("the body is no {\"series\": [..]}", visit.body);
            return Self::refuse(400);
        };
        let mut errors = Vec::new();
        for series in all {
            match point(series) {
                Ok((name, time, value)) => {
                    if self.points.lock().insert((name.clone(), time), value).is_some() {
                        self.book.note_problem("a point replaced another", name.as_bytes());
                    }
                }
                Err(problem) => errors.push(problem),
            }
        }
        for error in &errors {
            self.book.note_problem(error, visit.body);
        }
        Reply::json(202, serde_json::json!({ "errors": errors }).to_string())
    }

    /// "The distribution points end-point": points of a time and a list of values.
    pub(super) fn distributions(&self, visit: &Visit<'_>) -> Reply {
        let parsed = Node::parse(visit.body);
        let Some(Node::List(all)) = parsed.as_ref().ok().and_then(|node| node.member("series"))
        else {
            self.book.note_problem("the body is no {\"series\": [..]}", visit.body);
            return Self::refuse(400);
        };
        for series in all {
            let is_right = series.member("metric").and_then(Node::text).is_some_and(is_metric)
                && matches!(series.member("points"), Some(Node::List(points))
                    if points.iter().all(is_distribution_point));
            if !is_right {
                self.book.note_problem("a distribution is not as it must be", visit.body);
                return Self::refuse(400);
            }
        }
        Reply::json(202, "{\"status\":\"ok\"}")
    }
}

/// The one point of a series, under a name of metric, host and tags.
fn point(series: &Node) -> Result<(String, i64, f64), String> {
    let metric = series.member("metric").and_then(Node::text).unwrap_or_default();
    if !is_metric(metric) {
        return Err(format!("{metric:?} is no name of a metric"));
    }
    let kind = series.member("type");
    let has_interval =
        matches!(series.member("interval"), Some(Node::Number(secs)) if *secs >= 1.0);
    match kind {
        Some(Node::Number(kind)) if (0.0..=3.0).contains(kind) => {
            if (*kind == 1.0 || *kind == 2.0) && !has_interval {
                return Err(format!("{metric}: a count or rate needs an interval"));
            }
        }
        other => return Err(format!("{metric}: the type is {other:?}, not 0 to 3")),
    }
    for key in keys(series) {
        if !SERIES_KEYS.contains(&key) {
            return Err(format!("{metric}: there is no key {key}"));
        }
    }
    let Some(Node::List(points)) = series.member("points") else {
        return Err(format!("{metric}: no points"));
    };
    let [point] = points.as_slice() else {
        return Err(format!("{metric}: {} points of one window", points.len()));
    };
    let (Some(Node::Number(time)), Some(Node::Number(value))) =
        (point.member("timestamp"), point.member("value"))
    else {
        return Err(format!("{metric}: a point is a timestamp and a value"));
    };
    let now = (clock::now_ns() / clock::NS_PER_SECOND) as f64;
    if *time > now + 600.0 || *time < now - 3_600.0 {
        return Err(format!("{metric}: the timestamp is more than 10 min ahead or 1 h old"));
    }
    let mut name = metric.to_owned();
    let resources = series.member("resources");
    let Some(Node::List(resources)) = resources else {
        return Err(format!("{metric}: without a host, two senders overwrite each other"));
    };
    let texts = |node: &Node, key: &str| node.member(key).and_then(Node::text).map(str::to_owned);
    for resource in resources {
        let (kind, host) = (texts(resource, "type"), texts(resource, "name"));
        let (Some(kind), Some(host)) = (kind, host) else {
            return Err(format!("{metric}: a resource has a type and a name"));
        };
        name += &format!("|{kind}={host}");
    }
    if let Some(Node::List(tags)) = series.member("tags") {
        for tag in tags {
            name += &format!("|{}", tag.text().ok_or("a tag is no text")?);
        }
    }
    Ok((name, *time as i64, *value))
}

fn keys(node: &Node) -> Vec<&str> {
    match node {
        Node::Object(members) => members.iter().map(|(key, _)| key.as_str()).collect(),
        _ => Vec::new(),
    }
}

/// "Start with a letter; ASCII alphanumerics, underscores and periods; at most 200 characters."
fn is_metric(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(fits)
        && name.len() <= 200
}

fn is_distribution_point(point: &Node) -> bool {
    let Node::List(pair) = point else { return false };
    let [Node::Number(_), Node::List(values)] = pair.as_slice() else { return false };
    !values.is_empty() && values.iter().all(|value| matches!(value, Node::Number(_)))
}

/// The keys of `MetricSeries`.
const SERIES_KEYS: &[&str] = &[
    "metric",
    "type",
    "interval",
    "metadata",
    "points",
    "resources",
    "source_type_name",
    "tags",
    "unit",
];
/// "The maximum payload size is 500 kilobytes (512000 bytes). Compressed payloads must have a
/// decompressed size of less than 5 megabytes (5242880 bytes)."
const SENT_BYTES_MAX: usize = 512_000;
const SERIES_BYTES_MAX: usize = 5_242_880;
