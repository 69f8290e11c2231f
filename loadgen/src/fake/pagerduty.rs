//! A fake of PagerDuty's Events API v2.
//!
//! Written from PagerDuty's documentation (Send an Alert Event; Events API v2 overview).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::ids::Taken;
use super::json::{Node, quote};
use super::{Fault, Reply, Visit};
use crate::account::Book;

/// A fake Events API of one account.
#[derive(Debug)]
pub struct PagerDuty {
    book: Arc<Book>,
    /// Integration keys that exist; any of the right form when there are none.
    keys: Vec<String>,
    incidents: Incidents,
    changes: Changes,
}

/// The change events that came, in their order.
#[derive(Clone, Debug, Default)]
pub struct Changes(Arc<Mutex<Vec<Change>>>);

/// One change event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Which integration it is of.
    pub routing_key: String,
    /// What it says.
    pub summary: String,
    /// What `custom_details.changes` lists.
    pub lines: Vec<String>,
    /// Where its links lead.
    pub links: Vec<String>,
}

impl Changes {
    /// All that came.
    #[must_use]
    pub fn all(&self) -> Vec<Change> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What happened to each incident, by integration key and dedup key.
#[derive(Clone, Debug, Default)]
pub struct Incidents(Arc<Mutex<BTreeMap<(String, String), Incident>>>);

/// One incident.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Incident {
    /// Events that opened or refreshed it.
    pub triggers: u64,
    /// How often it was opened: once, and once more after each resolve.
    pub opened: u64,
    /// Whether it is open.
    pub is_open: bool,
    /// How often it was resolved while it was open.
    pub resolved: u64,
    /// How often it was acknowledged while it was open.
    pub acknowledged: u64,
    /// Whether somebody looks after it.
    pub is_acknowledged: bool,
    /// The how manieth event the last trigger said it is; 0 where it did not.
    pub repeat_count: f64,
    /// What the last trigger said.
    pub summary: String,
    /// How bad the last trigger said it is.
    pub severity: String,
}

impl Incidents {
    /// The incidents as they stand.
    #[must_use]
    pub fn all(&self) -> BTreeMap<(String, String), Incident> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl PagerDuty {
    /// An account without incidents.
    #[must_use]
    pub fn new(book: Arc<Book>, keys: Vec<String>) -> Self {
        Self { book, keys, incidents: Incidents::default(), changes: Changes::default() }
    }

    /// Its incidents, as it goes on.
    #[must_use]
    pub fn incidents(&self) -> Incidents {
        self.incidents.clone()
    }

    /// The changes that it was told, as it goes on.
    #[must_use]
    pub fn changes(&self) -> Changes {
        self.changes.clone()
    }

    /// Answers one request.
    #[must_use]
    pub fn answer(&self, visit: &Visit<'_>) -> Reply {
        if visit.path == "/" {
            return Reply { status: 404, ..Reply::default() };
        }
        let is_change = visit.path == "/v2/change/enqueue";
        if visit.path != "/v2/enqueue" && !is_change {
            self.book.note_problem("no such endpoint", visit.path.as_bytes());
            return Reply { status: 404, ..Reply::default() };
        }
        if visit.method != http::Method::POST {
            self.book.note_problem("events are posted", visit.method.as_str().as_bytes());
            return Reply { status: 405, ..Reply::default() };
        }
        if !visit.header("content-type").starts_with("application/json") {
            self.book.note_problem("another content type", visit.header("content-type").as_bytes());
        }
        if !visit.header("authorization").is_empty() {
            self.book.note_problem("the key belongs into the body alone", b"");
        }
        let event = match Node::parse(visit.body) {
            Ok(event) => event,
            Err(problem) => return self.invalid(&problem, visit.body),
        };
        if is_change {
            return self.take_change(visit, &event);
        }
        let action = match self.read(&event) {
            Ok(action) => action,
            Err(problem) => return self.invalid(&problem, visit.body),
        };
        let mut taken = Taken::default();
        if visit.plan.fault != Some(Fault::Forget) {
            if let Action::Trigger { .. } = action {
                let name = event.at("payload.custom_details.event_id").and_then(Node::text);
                let place = event.at("routing_key").and_then(Node::text).unwrap_or_default();
                taken.store_text(&self.book, visit.body, place, name.unwrap_or_default());
            }
            self.act(&event, action);
        }
        taken.note(&self.book);
        let key = event.member("dedup_key").and_then(Node::text).unwrap_or_default();
        let body = format!(
            "{{\"status\":\"success\",\"message\":\"Event processed\",\"dedup_key\":{}}}",
            quote(key)
        );
        Reply { accepted: taken.due, ..Reply::json(202, body) }
    }

    /// "Send Change Events": they open nothing and call nobody.
    fn take_change(&self, visit: &Visit<'_>, event: &Node) -> Reply {
        match self.read_change(event) {
            Ok(change) => {
                if visit.plan.fault != Some(Fault::Forget) {
                    let mut changes = self.changes.0.lock().unwrap_or_else(PoisonError::into_inner);
                    changes.push(change);
                }
                let body = "{\"status\":\"success\",\"message\":\"Change event processed\"}";
                Reply::json(202, body.to_owned())
            }
            Err(problem) => self.invalid(&problem, visit.body),
        }
    }

    /// What it says with a failing status.
    pub(super) fn refuse(status: u16) -> Reply {
        Reply::json(status, format!("{{\"status\":\"error\",\"message\":\"status {status}\"}}"))
    }

    fn invalid(&self, problem: &str, body: &[u8]) -> Reply {
        self.book.note_problem(problem, body);
        let body = format!(
            "{{\"status\":\"invalid event\",\"message\":\"Event object is invalid\",\
             \"errors\":[{}]}}",
            quote(problem)
        );
        Reply::json(400, body)
    }

    /// The integration that an event is of.
    fn read_key(&self, event: &Node) -> Result<String, String> {
        let key = text_of(event, "routing_key")?.ok_or("'routing_key' is missing or blank")?;
        if key.chars().count() != 32 {
            return Err("Length of 'routing_key' is incorrect (should be 32 characters)".to_owned());
        }
        if !self.keys.is_empty() && !self.keys.contains(&key) {
            return Err("'routing_key' is no integration of this account".to_owned());
        }
        Ok(key)
    }

    /// Judges a change event: other members than these are none of its.
    fn read_change(&self, event: &Node) -> Result<Change, String> {
        only(event, &["routing_key", "payload", "links"], "the change event")?;
        let routing_key = self.read_key(event)?;
        let payload = event.member("payload").ok_or("'payload' is missing or blank")?;
        only(payload, &["summary", "source", "timestamp", "custom_details"], "the payload")?;
        let summary = text_of(payload, "summary")?.filter(|it| !it.is_empty());
        let summary = summary.ok_or("'payload.summary' is missing or blank")?;
        if summary.chars().count() > 1024 {
            return Err("'payload.summary' is too long (maximum is 1024 characters)".to_owned());
        }
        text_of(payload, "source")?;
        if let Some(time) = text_of(payload, "timestamp")? {
            crate::clock::parse(time.as_bytes()).ok_or("'payload.timestamp' is no time")?;
        }
        let details = payload.member("custom_details");
        if details.is_some_and(|it| !matches!(it, Node::Object(_))) {
            return Err("'payload.custom_details' is no object".to_owned());
        }
        list(event, "links", &["href", "text"], "href")?;
        let items = |node: Option<&Node>| match node {
            Some(Node::List(items)) => items.clone(),
            _ => Vec::new(),
        };
        let text = |item: &Node| item.text().unwrap_or_default().to_owned();
        let lines = items(details.and_then(|it| it.member("changes")));
        let lines = lines.iter().map(text).collect();
        let links = items(event.member("links"));
        let links = links.iter().filter_map(|link| link.member("href").map(text)).collect();
        Ok(Change { routing_key, summary, lines, links })
    }

    /// Judges an event.
    fn read(&self, event: &Node) -> Result<Action, String> {
        only(event, TOP, "the event")?;
        let text = |name: &str| text_of(event, name);
        self.read_key(event)?;
        let dedup = text("dedup_key")?;
        if dedup.as_ref().is_some_and(|key| key.chars().count() > 255) {
            return Err("'dedup_key' is too long (maximum is 255 characters)".to_owned());
        }
        match text("event_action")?.as_deref() {
            Some("trigger") => {}
            Some("acknowledge") if dedup.is_some() => return Ok(Action::Acknowledge),
            Some("resolve") if dedup.is_some() => return Ok(Action::Resolve),
            Some("acknowledge" | "resolve") => return Err("'dedup_key' is missing".to_owned()),
            _ => return Err("'event_action' must be trigger, acknowledge or resolve".to_owned()),
        }
        for name in ["client", "client_url"] {
            text(name)?;
        }
        let payload = event.member("payload").ok_or("'payload' is missing or blank")?;
        only(payload, PAYLOAD, "the payload")?;
        let summary = text_of(payload, "summary")?.filter(|it| !it.is_empty());
        let summary = summary.ok_or("'payload.summary' is missing or blank")?;
        if summary.chars().count() > 1024 {
            return Err("'payload.summary' is too long (maximum is 1024 characters)".to_owned());
        }
        text_of(payload, "source")?
            .filter(|it| !it.is_empty())
            .ok_or("'payload.source' is missing or blank")?;
        let severity = text_of(payload, "severity")?.unwrap_or_default();
        if !["critical", "error", "warning", "info"].contains(&severity.as_str()) {
            return Err(format!("'payload.severity' is invalid: {severity}"));
        }
        for name in ["component", "group", "class"] {
            text_of(payload, name)?;
        }
        if let Some(time) = text_of(payload, "timestamp")? {
            crate::clock::parse(time.as_bytes()).ok_or("'payload.timestamp' is no time")?;
        }
        if payload.member("custom_details").is_some_and(|it| !matches!(it, Node::Object(_))) {
            return Err("'payload.custom_details' is no object".to_owned());
        }
        list(event, "links", &["href", "text"], "href")?;
        list(event, "images", &["src", "href", "alt"], "src")?;
        Ok(Action::Trigger { summary, severity })
    }

    fn act(&self, event: &Node, action: Action) {
        let text = |name: &str| event.member(name).and_then(Node::text).unwrap_or_default();
        let key = (text("routing_key").to_owned(), text("dedup_key").to_owned());
        let mut all = self.incidents.0.lock().unwrap_or_else(PoisonError::into_inner);
        match action {
            Action::Trigger { summary, severity } => {
                let incident = all.entry(key).or_default();
                incident.triggers += 1;
                incident.opened += u64::from(!incident.is_open);
                incident.is_acknowledged &= incident.is_open;
                incident.is_open = true;
                (incident.summary, incident.severity) = (summary, severity);
                let count = event.at("payload.custom_details.repeat_count");
                incident.repeat_count = match count {
                    Some(&Node::Number(count)) => count,
                    _ => 0.0,
                };
            }
            // "If there is no open alert with this key, the event is ignored."
            Action::Resolve => {
                let is_elsewhere = all.iter().any(|((_, dedup), it)| *dedup == key.1 && it.is_open);
                match all.get_mut(&key) {
                    Some(incident) => {
                        incident.resolved += u64::from(incident.is_open);
                        incident.is_open = false;
                    }
                    // Ignored in silence as well, and the incident stays open for ever.
                    None if is_elsewhere => {
                        self.book.note_problem("resolved by another key", key.1.as_bytes());
                    }
                    None => {}
                }
            }
            // The same holds here, and nobody would know that it came too early.
            Action::Acknowledge => match all.get_mut(&key).filter(|incident| incident.is_open) {
                Some(incident) => {
                    incident.acknowledged += 1;
                    incident.is_acknowledged = true;
                }
                None => self.book.note_problem("acknowledged while not open", key.1.as_bytes()),
            },
        }
    }
}

/// What an event asks for.
#[derive(Debug, PartialEq, Eq)]
enum Action {
    Trigger { summary: String, severity: String },
    Acknowledge,
    Resolve,
}

/// A member that is a text where it is there.
fn text_of(node: &Node, name: &str) -> Result<Option<String>, String> {
    match node.member(name) {
        None | Some(Node::Null) => Ok(None),
        Some(Node::Text(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("'{name}' is no string")),
    }
}

/// Members that exist: others would be lost silently.
fn only(node: &Node, known: &[&str], what: &str) -> Result<(), String> {
    let Node::Object(members) = node else { return Err(format!("{what} is no object")) };
    match members.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        Some((name, _)) => Err(format!("{what} has no '{name}'")),
        None => Ok(()),
    }
}

fn list(event: &Node, name: &str, known: &[&str], required: &str) -> Result<(), String> {
    let Some(node) = event.member(name) else { return Ok(()) };
    let Node::List(items) = node else { return Err(format!("'{name}' is no array")) };
    for item in items {
        only(item, known, name)?;
        let target = text_of(item, required)?.unwrap_or_default();
        if !target.starts_with("http://") && !target.starts_with("https://") {
            return Err(format!("'{name}' has an item without {required}"));
        }
    }
    Ok(())
}

const TOP: &[&str] = &[
    "routing_key",
    "event_action",
    "dedup_key",
    "payload",
    "images",
    "links",
    "client",
    "client_url",
];
const PAYLOAD: &[&str] = &[
    "summary",
    "source",
    "severity",
    "timestamp",
    "component",
    "group",
    "class",
    "custom_details",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(event: &str) -> Result<Action, String> {
        let fake = PagerDuty::new(Arc::new(Book::new("pagerduty")), Vec::new());
        fake.read(&Node::parse(event.as_bytes()).expect("JSON"))
    }

    #[test]
    fn an_event_must_have_what_the_api_asks_for() {
        let key = "0123456789abcdef0123456789abcdef";
        let good = format!(
            "{{\"routing_key\":\"{key}\",\"event_action\":\"trigger\",\"dedup_key\":\"a\",\
             \"payload\":{{\"summary\":\"s\",\"source\":\"x\",\"severity\":\"error\"}}}}"
        );
        assert!(judged(&good).is_ok());
        for (from, to) in [
            (key, "short"),
            ("trigger", "open"),
            ("\"severity\":\"error\"", "\"severity\":\"high\""),
            ("\"summary\":\"s\",", ""),
            ("\"source\":\"x\"", "\"source\":\"\""),
            ("\"dedup_key\"", "\"dedupKey\""),
            ("\"summary\":\"s\"", &format!("\"summary\":\"{}\"", "\u{e9}".repeat(1025))),
            ("\"dedup_key\":\"a\"", &format!("\"dedup_key\":\"{}\"", "a".repeat(256))),
            ("\"payload\"", "\"links\":[{\"text\":\"x\"}],\"payload\""),
        ] {
            assert!(judged(&good.replace(from, to)).is_err(), "{to}");
        }
        let resolve = format!(
            "{{\"routing_key\":\"{key}\",\"event_action\":\"resolve\",\"dedup_key\":\"a\"}}"
        );
        assert_eq!(judged(&resolve), Ok(Action::Resolve));
    }
}
