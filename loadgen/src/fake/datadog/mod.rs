//! A fake Datadog: the intake of logs, the API for metrics, and the check of a key.
//!
//! Written from Datadog's documentation (API reference: Send logs, Submit metrics, Submit
//! distribution points, Validate API key; Log collection: Reserved attributes; Getting started:
//! Defining tags).

mod log;
mod series;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Reply, Visit};
use crate::account::Book;

/// A fake site.
#[derive(Debug)]
pub struct Datadog {
    book: Arc<Book>,
    /// The key of the organisation; any is good when there is none.
    key: Option<String>,
    points: Points,
}

/// The points of metrics that were taken, by series and time.
#[derive(Clone, Debug, Default)]
pub struct Points(Arc<Mutex<BTreeMap<(String, i64), f64>>>);

impl Points {
    /// The sum over time of every series of a metric that has this tag; any where it is empty.
    #[must_use]
    pub fn sum(&self, metric: &str, tag: &str) -> f64 {
        let fits = |series: &str| {
            let mut parts = series.split('|');
            parts.next() == Some(metric) && (tag.is_empty() || parts.any(|part| part == tag))
        };
        self.lock().iter().filter(|((series, _), _)| fits(series)).map(|(_, value)| value).sum()
    }

    /// The newest point of a metric.
    #[must_use]
    pub fn last(&self, metric: &str) -> Option<f64> {
        let points = self.lock();
        let of_metric =
            points.iter().filter(|((name, _), _)| name.split('|').next() == Some(metric));
        of_metric.max_by_key(|((_, time), _)| *time).map(|(_, &value)| value)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, i64), f64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Datadog {
    /// A site that has nothing yet.
    #[must_use]
    pub fn new(book: Arc<Book>, key: Option<String>) -> Self {
        Self { book, key, points: Points::default() }
    }

    /// What it takes of metrics, as it goes on.
    #[must_use]
    pub fn points(&self) -> Points {
        self.points.clone()
    }

    /// Answers one request.
    #[must_use]
    pub fn answer(&self, visit: &Visit<'_>) -> Reply {
        let given = visit.header("dd-api-key");
        let is_known = match &self.key {
            Some(key) => given == key,
            None => !given.is_empty(),
        };
        if !is_known {
            return Self::refuse(403);
        }
        match (visit.method.as_str(), visit.path) {
            ("GET", "/api/v1/validate") => Reply::json(200, "{\"valid\":true}"),
            ("POST", "/api/v2/logs") => self.logs(visit),
            ("POST", "/api/v2/series") => self.series(visit),
            ("POST", "/api/v1/distribution_points") => self.distributions(visit),
            _ => {
                self.book.note_problem("no such endpoint", visit.path.as_bytes());
                Self::refuse(404)
            }
        }
    }

    /// What the site says with a failing status.
    pub(super) fn refuse(status: u16) -> Reply {
        let title = match status {
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            408 => "Request Timeout",
            413 => "Payload Too Large",
            429 => "Too Many Requests",
            503 => "Service Unavailable",
            _ => "Error",
        };
        Reply::json(
            status,
            format!("{{\"errors\":[{{\"status\":\"{status}\",\"title\":\"{title}\"}}]}}"),
        )
    }

    /// "application/json" is what both take.
    fn is_json(&self, visit: &Visit<'_>) -> bool {
        let is_json = visit.header("content-type").starts_with("application/json");
        if !is_json {
            self.book.note_problem("Content-Type is not application/json", b"");
        }
        is_json
    }
}
