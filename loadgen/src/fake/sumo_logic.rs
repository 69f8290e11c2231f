//! Fake HTTP sources of a Sumo Logic collector.
//!
//! Written from Sumo Logic's documentation (Upload Data to an HTTP Source; HTTP Logs and Metrics
//! Source; Fields; Source categories).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::ids::{self, Taken};
use super::json::Node;
use super::{Fault, Reply, Visit};
use crate::account::Book;

/// A fake collector with one source, or any.
#[derive(Debug)]
pub struct SumoLogic {
    book: Arc<Book>,
    /// The end of the source's URL; any is good when there is none.
    source: Option<String>,
    categories: Categories,
}

/// How many lines each category has.
#[derive(Clone, Debug, Default)]
pub struct Categories(Arc<Mutex<BTreeMap<String, u64>>>);

impl Categories {
    /// Adds to a count.
    pub(super) fn add(&self, name: &str, events: u64) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(name.to_owned()).or_default() += events;
    }

    /// The counts as they stand.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl SumoLogic {
    /// A collector that has nothing yet.
    #[must_use]
    pub fn new(book: Arc<Book>, source: Option<String>) -> Self {
        Self { book, source, categories: Categories::default() }
    }

    /// What it takes by category, as it goes on.
    #[must_use]
    pub fn categories(&self) -> Categories {
        self.categories.clone()
    }

    /// Answers one request.
    #[must_use]
    pub fn answer(&self, visit: &Visit<'_>) -> Reply {
        let Some(source) = visit.path.strip_prefix("/receiver/v1/http/") else {
            self.book.note_problem("no such endpoint", visit.path.as_bytes());
            return Self::refuse(404);
        };
        let token = visit.header("x-sumo-token");
        let given = if source.is_empty() { token } else { source };
        if given.is_empty() || self.source.as_deref().is_some_and(|good| good != given) {
            return Self::refuse(401);
        }
        if visit.method != http::Method::POST {
            self.book.note_problem("a source takes POST", visit.method.as_str().as_bytes());
            return Self::refuse(405);
        }
        if visit.plan.fault == Some(Fault::Forget) {
            return Reply { status: 200, ..Reply::default() };
        }
        let mut taken = Taken::default();
        let skimmed = (!visit.strict).then(|| ids::skim(&self.book, visit.body)).flatten();
        match skimmed {
            Some(ids) => ids.into_iter().for_each(|id| taken.store(&self.book, id)),
            None => self.judge(visit, &mut taken),
        }
        taken.note(&self.book);
        Reply { status: 200, accepted: taken.due, ..Reply::default() }
    }

    /// What the collector says with a failing status.
    pub(super) fn refuse(status: u16) -> Reply {
        let body = format!("{{\"status\":{status},\"code\":\"source:error\"}}");
        Reply::json(status, body)
    }

    /// Everything is taken; what is then not found where the sender means it is a fault.
    fn judge(&self, visit: &Visit<'_>, taken: &mut Taken) {
        let note = |what: &str, example: &[u8]| self.book.note_problem(what, example);
        if visit.body.len() > BODY_BYTES_MAX {
            note("a body above the recommended megabyte", b"");
        }
        if !visit.body.ends_with(b"\n") {
            note("the last line has no end", visit.body);
        }
        if visit.parameters().next().is_some() {
            note("a query is ignored", visit.query.as_bytes());
        }
        for header in visit.headers.keys().map(http::HeaderName::as_str) {
            if header.starts_with("x-sumo-") && !HEADERS.contains(&header) {
                note("there is no such header", header.as_bytes());
            }
        }
        let category = visit.header("x-sumo-category");
        if let Some(problem) = category_problem(category) {
            note(problem, category.as_bytes());
        }
        let fields = self.fields(visit.header("x-sumo-fields"));
        let is_json = visit.header("content-type").starts_with("application/json");
        let mut lines = 0;
        for line in visit.body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            if line.len() > LINE_BYTES_MAX {
                note("a line above 64 KB is split", &line[..100]);
            }
            if is_json {
                self.judge_json(line, category, &fields);
            } else if !line.iter().take(40).any(u8::is_ascii_digit) {
                note("no time near the start of a line", line);
            }
            if line.contains(&b'\r') {
                note("a carriage return inside a line", line);
            }
            taken.store_text(&self.book, line, category, &String::from_utf8_lossy(line));
            lines += 1;
        }
        let mut counts = self.categories.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(category.to_owned()).or_default() += lines;
    }

    /// A JSON line: its time comes first, and what it says of itself is what the headers say.
    fn judge_json(&self, line: &[u8], category: &str, fields: &[(String, String)]) {
        let note = |what: &str| self.book.note_problem(what, line);
        let Ok(node) = Node::parse(line) else { return note("a line is no JSON") };
        let Node::Object(members) = &node else { return note("a line is no object") };
        if members.iter().any(|(key, _)| key == "_type") {
            return;
        }
        let is_time = |text: &str| crate::clock::parse(text.as_bytes()).is_some();
        let first = members.first().and_then(|(_, value)| value.text());
        if !first.is_some_and(is_time) {
            note("the first key of a line is no time");
        }
        let paths = [
            ("tenant_id", "session.tenant_id"),
            ("environment", "session.environment"),
            ("severity", "decision.severity"),
            ("guard", "decision.guard"),
            ("event_type", "event_type"),
            ("outcome", "outcome"),
        ];
        for (name, path) in paths {
            let header = fields.iter().find(|(field, _)| field == name).map(|(_, value)| value);
            let own = node.at(path).and_then(Node::text).filter(|text| !text.is_empty());
            if let (Some(header), Some(own)) = (header, own)
                && *header != own.replace([',', '='], "_")
            {
                note("metadata of another event");
            }
        }
        // The last parts of a partitioned category are the event's own.
        let severities = ["info", "low", "medium", "high", "critical"];
        let part = category.rsplit('/').find(|part| severities.contains(part));
        let own = node.at("decision.severity").and_then(Node::text);
        if part.is_some() && part != own {
            note("an event in the partition of another severity");
        }
    }

    /// `k=v,k2=v2`: "at most 30 fields, names and values of at most 255 characters".
    fn fields(&self, header: &str) -> Vec<(String, String)> {
        let mut fields: Vec<(String, String)> = Vec::new();
        for pair in header.split(',').filter(|_| !header.is_empty()) {
            match pair.split_once('=') {
                Some((name, value))
                    if !name.is_empty()
                        && !value.is_empty()
                        && !value.contains('=')
                        && name.len() <= 255
                        && value.len() <= 255 =>
                {
                    fields.push((name.to_owned(), value.to_owned()));
                }
                _ => self.book.note_problem("X-Sumo-Fields is no k=v,k=v", header.as_bytes()),
            }
        }
        if fields.len() > 30 {
            self.book.note_problem("more than 30 fields", header.as_bytes());
        }
        fields
    }
}

fn category_problem(category: &str) -> Option<&'static str> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.-/".contains(c);
    match category {
        "" => Some("no category"),
        _ if category.len() > 1024 => Some("a category above 1,024 characters"),
        _ if !category.chars().all(fits) => Some("a category with other characters"),
        _ if category.split('/').any(|part| part.is_empty() || part == "..") => {
            Some("a category with an empty part")
        }
        _ => None,
    }
}

/// "Name, host, category, fields" can be overridden by headers.
const HEADERS: &[&str] = &[
    "x-sumo-name",
    "x-sumo-host",
    "x-sumo-category",
    "x-sumo-fields",
    "x-sumo-token",
    "x-sumo-client",
];
/// "We recommend a data payload of 100 KB to 1 MB before compression."
const BODY_BYTES_MAX: usize = 1_000_000;
/// "Messages longer than 64 KB are split."
const LINE_BYTES_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_category_is_a_path_of_plain_parts() {
        for good in ["security/clawdstrike", "a", "a/b-1/c_d.e"] {
            assert_eq!(category_problem(good), None, "{good}");
        }
        let long = "a".repeat(1025);
        for bad in ["", "a//b", "a/../b", "a b", "a/{tenant}", "a/", long.as_str()] {
            assert!(category_problem(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn fields_are_pairs() {
        let book = Arc::new(Book::new("sumo-logic"));
        let sumo = SumoLogic::new(Arc::clone(&book), None);
        assert_eq!(sumo.fields("a=b,c=d").len(), 2);
        assert!(book.report().problems.is_empty());
        for bad in ["a=b,", "a", "=b", "a=b=c", ",a=b"] {
            let before = book.report().problems.values().map(|one| one.times).sum::<u64>();
            sumo.fields(bad);
            let after = book.report().problems.values().map(|one| one.times).sum::<u64>();
            assert!(after > before, "{bad}");
        }
    }
}
