//! A fake of Opsgenie's Alert API, which Jira Service Management offers too.
//!
//! Written from Opsgenie's documentation (Alert API, Create Alert; Authentication; Response).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::ids::Taken;
use super::json::{Node, quote};
use super::{Fault, Reply, Visit};
use crate::account::Book;
use crate::seed::Random;

/// A fake Alert API of one account.
#[derive(Debug)]
pub struct Opsgenie {
    book: Arc<Book>,
    /// The key of the integration; any when there is none.
    key: Option<String>,
    alerts: Alerts,
    pings: Pings,
    requests: Requests,
}

/// What was accepted to make alerts, and how often each was asked for, by request.
#[derive(Clone, Debug, Default)]
pub struct Requests(Arc<Mutex<BTreeMap<String, Request>>>);

/// One accepted request.
#[derive(Clone, Debug)]
struct Request {
    alias: String,
    /// When it is processed; never where nobody will say that it was.
    ready: Option<Instant>,
    /// Whether the alert was made.
    is_done: bool,
    asked: u64,
}

impl Requests {
    /// How often each was asked for, by what came of it so far.
    #[must_use]
    pub fn asked(&self) -> BTreeMap<String, u64> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(name, request)| (name.clone(), request.asked)).collect()
    }

    /// Keeps one under a name that no other has.
    fn take(&self, request: Request) -> String {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name = format!("{}{:012x}", &REQUEST[..24], all.len() + 1);
        all.insert(name.clone(), request);
        name
    }
}

/// Pings by heartbeat, its name as it stood in the path.
#[derive(Clone, Debug, Default)]
pub struct Pings(Arc<Mutex<BTreeMap<String, u64>>>);

impl Pings {
    /// How many came so far.
    #[must_use]
    pub fn all(&self) -> BTreeMap<String, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The open alerts by alias.
#[derive(Clone, Debug, Default)]
pub struct Alerts(Arc<Mutex<BTreeMap<String, Alert>>>);

/// One alert.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alert {
    /// Requests that made or counted it.
    pub count: u64,
    /// How often it was made: once, and once more after each time it was closed.
    pub opened: u64,
    /// Whether it is open.
    pub is_open: bool,
    /// Whether somebody looks after it.
    pub is_acknowledged: bool,
    /// The how manieth event the last one said it is; empty where it did not.
    pub repeat_count: String,
    /// How urgent the last one said it is.
    pub priority: String,
    /// Whom the last one calls: type and what tells them apart.
    pub responders: Vec<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// What the last one said.
    pub message: String,
}

impl Alerts {
    /// The alerts as they stand.
    #[must_use]
    pub fn all(&self) -> BTreeMap<String, Alert> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Opsgenie {
    /// An account without alerts.
    #[must_use]
    pub fn new(book: Arc<Book>, key: Option<String>) -> Self {
        Self {
            book,
            key,
            alerts: Alerts::default(),
            pings: Pings::default(),
            requests: Requests::default(),
        }
    }

    /// Its alerts, as it goes on.
    #[must_use]
    pub fn alerts(&self) -> Alerts {
        self.alerts.clone()
    }

    /// The pings of its heartbeats, as it goes on.
    #[must_use]
    pub fn pings(&self) -> Pings {
        self.pings.clone()
    }

    /// What it accepted, as it goes on.
    #[must_use]
    pub fn requests(&self) -> Requests {
        self.requests.clone()
    }

    /// Answers one request.
    #[must_use]
    pub fn answer(&self, visit: &Visit<'_>) -> Reply {
        if visit.method == http::Method::GET
            && let Some(name) = PATHS
                .iter()
                .find_map(|path| visit.path.strip_prefix(path)?.strip_prefix("/requests/"))
        {
            return self.tell(visit, name);
        }
        if visit.method == http::Method::GET {
            return Self::refuse(404);
        }
        if let Some(name) = heartbeat(visit.path) {
            return self.ping(visit, name);
        }
        let about = PATHS.iter().find_map(|path| {
            let (alias, change) =
                visit.path.strip_prefix(path)?.strip_prefix('/')?.split_once('/')?;
            let change = match change {
                "close" => Change::Close,
                "acknowledge" => Change::Acknowledge,
                _ => return None,
            };
            Some((alias, change))
        });
        if about.is_none() && !PATHS.contains(&visit.path) {
            self.book.note_problem("no such endpoint", visit.path.as_bytes());
            return Self::refuse(404);
        }
        if visit.method != http::Method::POST {
            self.book.note_problem("alerts are posted", visit.method.as_str().as_bytes());
            return Self::refuse(405);
        }
        let key = visit.header("authorization").strip_prefix("GenieKey ").unwrap_or_default();
        if key.is_empty() || self.key.as_deref().is_some_and(|good| good != key) {
            return Self::refuse(401);
        }
        if !visit.header("content-type").starts_with("application/json") {
            self.book.note_problem("another content type", visit.header("content-type").as_bytes());
        }
        let request = match Node::parse(visit.body) {
            Ok(request) => request,
            Err(problem) => {
                self.book.note_problem(&problem, visit.body);
                return Self::refuse(400);
            }
        };
        if let Some((alias, change)) = about {
            return self.change(visit, alias, change, &request);
        }
        let alert = match judge(&request) {
            Ok(alert) => alert,
            Err(problem) => {
                self.book.note_problem(&problem, visit.body);
                let body = format!(
                    "{{\"message\":\"Request body is not processable. Please check the errors.\",\
                     \"errors\":{{\"alert\":{}}},\"took\":0.001,\"requestId\":\"{REQUEST}\"}}",
                    quote(&problem)
                );
                return Reply::json(422, body);
            }
        };
        let mut taken = Taken::default();
        if visit.plan.fault != Some(Fault::Forget) {
            let alias = request.member("alias").and_then(Node::text).unwrap_or_default();
            let name = request.at("details.event_id").and_then(Node::text).unwrap_or_default();
            taken.store_text(&self.book, visit.body, alias, name);
            let mut alerts = self.alerts.0.lock().unwrap_or_else(PoisonError::into_inner);
            let before = alerts.get(alias).cloned().unwrap_or_default();
            let (count, is_open) = (before.count + 1, true);
            let opened = before.opened + u64::from(!before.is_open);
            let is_acknowledged = before.is_acknowledged && before.is_open;
            let alert = Alert { count, opened, is_open, is_acknowledged, ..alert };
            alerts.insert(alias.to_owned(), alert);
        }
        taken.note(&self.book);
        let is_lost = Random::new(visit.seed).chance(visit.plan.ack_lost);
        let ready = (!is_lost).then(|| Instant::now() + visit.plan.delay + visit.plan.ack_delay);
        let alias = request.member("alias").and_then(Node::text).unwrap_or_default().to_owned();
        let is_done = visit.plan.fault != Some(Fault::Forget);
        let name = self.requests.take(Request { alias, ready, is_done, asked: 0 });
        let body = format!(
            "{{\"result\":\"Request will be processed\",\"took\":0.302,\"requestId\":\"{name}\"}}"
        );
        Reply { accepted: taken.due, ..Reply::json(202, body) }
    }

    /// "Close Alert" and "Acknowledge Alert": by alias where the query says so, else by an id that
    /// nobody has.
    fn change(&self, visit: &Visit<'_>, alias: &str, change: Change, request: &Node) -> Reply {
        let known = |name: &&str| ["source", "user", "note"].contains(name);
        let Node::Object(members) = request else { return Self::refuse(422) };
        if !members.iter().all(|(name, value)| known(&name.as_str()) && value.text().is_some()) {
            self.book.note_problem("no request about an alert", visit.body);
            return Self::refuse(422);
        }
        let alias = super::percent_decode(alias);
        let mut alerts = self.alerts.0.lock().unwrap_or_else(PoisonError::into_inner);
        match alerts.get_mut(&*alias).filter(|_| visit.query == "identifierType=alias") {
            Some(alert) => {
                let is_done = visit.plan.fault != Some(Fault::Forget);
                match change {
                    Change::Close => alert.is_open &= !is_done,
                    Change::Acknowledge => alert.is_acknowledged |= is_done && alert.is_open,
                }
                let body = format!(
                    "{{\"result\":\"Request will be processed\",\"took\":0.107,\
                     \"requestId\":\"{REQUEST}\"}}"
                );
                Reply::json(202, body)
            }
            None => {
                self.book.note_problem("no such alert", alias.as_bytes());
                Self::refuse(404)
            }
        }
    }

    /// "Get Request Status": 404 until it is processed.
    fn tell(&self, visit: &Visit<'_>, name: &str) -> Reply {
        let key = visit.header("authorization").strip_prefix("GenieKey ").unwrap_or_default();
        if key.is_empty() || self.key.as_deref().is_some_and(|good| good != key) {
            return Self::refuse(401);
        }
        let mut all = self.requests.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(request) = all.get_mut(name) else {
            self.book.note_problem("no such request", name.as_bytes());
            return Self::refuse(404);
        };
        request.asked += 1;
        if request.ready.is_none_or(|ready| Instant::now() < ready) {
            return Self::refuse(404);
        }
        let (is_done, alias) = (request.is_done, quote(&request.alias));
        let status = if is_done { "Created alert" } else { "Alert creation is denied by policy" };
        let body = format!(
            "{{\"data\":{{\"success\":{is_done},\"action\":\"Create\",\
             \"processedAt\":\"2026-02-06T09:00:04.12Z\",\"integrationId\":\"{REQUEST}\",\
             \"isSuccess\":{is_done},\"status\":\"{status}\",\"alertId\":\"\",\
             \"alias\":{alias}}},\"took\":0.02,\"requestId\":\"{REQUEST}\"}}"
        );
        Reply::json(200, body)
    }

    /// Takes a ping of a heartbeat.
    fn ping(&self, visit: &Visit<'_>, name: &str) -> Reply {
        let key = visit.header("authorization").strip_prefix("GenieKey ").unwrap_or_default();
        if key.is_empty() || self.key.as_deref().is_some_and(|good| good != key) {
            return Self::refuse(401);
        }
        if visit.method != http::Method::POST || !visit.body.is_empty() {
            self.book.note_problem("a ping is posted without a body", visit.body);
        }
        if visit.plan.fault != Some(Fault::Forget) {
            let mut pings = self.pings.0.lock().unwrap_or_else(PoisonError::into_inner);
            *pings.entry(name.to_owned()).or_default() += 1;
        }
        let body = format!(
            "{{\"result\":\"PONG - Heartbeat received\",\"took\":0.01,\"requestId\":\"{REQUEST}\"}}"
        );
        Reply::json(202, body)
    }

    /// What it says with a failing status.
    pub(super) fn refuse(status: u16) -> Reply {
        let body = format!(
            "{{\"message\":\"status {status}\",\"took\":0.001,\"requestId\":\"{REQUEST}\"}}"
        );
        Reply::json(status, body)
    }
}

/// What a request asks for about one alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Close,
    Acknowledge,
}

/// Holds an alert against the fields and limits of "Create Alert".
fn judge(request: &Node) -> Result<Alert, String> {
    let Node::Object(members) = request else { return Err("the body is no object".to_owned()) };
    if let Some((name, _)) = members.iter().find(|(name, _)| !FIELDS.contains(&name.as_str())) {
        return Err(format!("there is no field {name}"));
    }
    for &(name, most) in TEXTS {
        let length = match request.member(name) {
            None => continue,
            Some(Node::Text(text)) => text.chars().count(),
            Some(_) => return Err(format!("{name} is no string")),
        };
        if length > most {
            return Err(format!("{name} has {length} characters, at most {most}"));
        }
    }
    let text = |name: &str| request.member(name).and_then(Node::text).unwrap_or_default();
    if text("message").is_empty() {
        return Err("message may not be empty".to_owned());
    }
    if !["P1", "P2", "P3", "P4", "P5"].contains(&text("priority")) {
        return Err("priority is one of P1 to P5".to_owned());
    }
    let responders = people(request, "responders", &["team", "user", "escalation", "schedule"])?;
    people(request, "visibleTo", &["team", "user"])?;
    texts(request, "actions", 10)?;
    let tags = texts(request, "tags", 20)?;
    details(request)?;
    let (priority, message) = (text("priority").to_owned(), text("message").to_owned());
    let repeat_count = request.at("details.repeat_count").and_then(Node::text);
    let repeat_count = repeat_count.unwrap_or_default().to_owned();
    Ok(Alert { priority, responders, tags, message, repeat_count, ..Alert::default() })
}

/// "Map of key-value pairs: string values, 8000 characters in total."
fn details(request: &Node) -> Result<(), String> {
    let members = match request.member("details") {
        None => return Ok(()),
        Some(Node::Object(members)) => members,
        Some(_) => return Err("details is no object".to_owned()),
    };
    let mut total = 0;
    for (name, value) in members {
        let text = value.text().ok_or_else(|| format!("details.{name} is no string"))?;
        total += name.chars().count() + text.chars().count();
    }
    if total > 8000 { Err(format!("details have {total} characters")) } else { Ok(()) }
}

fn texts(request: &Node, name: &str, most: usize) -> Result<Vec<String>, String> {
    let items = match request.member(name) {
        None => return Ok(Vec::new()),
        Some(Node::List(items)) if items.len() <= most => items,
        Some(_) => return Err(format!("{name} is no array of at most {most}")),
    };
    let text = |item: &Node| match item.text() {
        Some(text) if (1..=50).contains(&text.chars().count()) => Ok(text.to_owned()),
        _ => Err(format!("{name} has an item that is no text of 1 to 50 characters")),
    };
    items.iter().map(text).collect()
}

fn people(request: &Node, name: &str, types: &[&str]) -> Result<Vec<String>, String> {
    let items = match request.member(name) {
        None => return Ok(Vec::new()),
        Some(Node::List(items)) if items.len() <= 50 => items,
        Some(_) => return Err(format!("{name} is no array of at most 50")),
    };
    let mut all = Vec::new();
    for item in items {
        let text = |key: &str| item.member(key).and_then(Node::text).unwrap_or_default();
        let by = if text("type") == "user" { "username" } else { "name" };
        let told = if text("id").is_empty() { text(by) } else { text("id") };
        if !types.contains(&text("type")) || told.is_empty() {
            return Err(format!("{name} has an item without a type and what tells it"));
        }
        all.push(format!("{} {told}", text("type")));
    }
    Ok(all)
}

/// The name in the path of a ping.
fn heartbeat(path: &str) -> Option<&str> {
    let path = path.strip_prefix("/jsm/ops/integration").unwrap_or(path);
    let name = path.strip_prefix("/v2/heartbeats/")?.strip_suffix("/ping")?;
    (!name.is_empty() && !name.contains('/')).then_some(name)
}

const PATHS: &[&str] = &["/v2/alerts", "/jsm/ops/integration/v2/alerts"];
const REQUEST: &str = "43a29c5c-3dbf-4fa4-9c26-f4f71023e120";
const FIELDS: &[&str] = &[
    "message",
    "alias",
    "description",
    "responders",
    "visibleTo",
    "actions",
    "tags",
    "details",
    "entity",
    "source",
    "priority",
    "user",
    "note",
];
/// Texts, and how many characters they have at most.
const TEXTS: &[(&str, usize)] = &[
    ("message", 130),
    ("alias", 512),
    ("description", 15_000),
    ("entity", 512),
    ("source", 100),
    ("priority", 2),
    ("user", 100),
    ("note", 25_000),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_held_against_every_limit() {
        let good = "{\"message\":\"m\",\"alias\":\"a\",\"priority\":\"P1\",\"details\":{\"k\":\"v\"},\
                    \"tags\":[\"t\"],\"responders\":[{\"type\":\"team\",\"name\":\"x\"}]}";
        let judged = |text: &str| judge(&Node::parse(text.as_bytes()).expect("JSON"));
        assert_eq!(judged(good).map(|alert| alert.responders), Ok(vec!["team x".to_owned()]));
        for (from, to) in [
            ("\"m\"", format!("\"{}\"", "\u{e9}".repeat(131))),
            ("\"m\"", "\"\"".to_owned()),
            ("\"a\"", format!("\"{}\"", "a".repeat(513))),
            ("P1", "P6".to_owned()),
            ("\"v\"", "7".to_owned()),
            ("\"v\"", format!("\"{}\"", "v".repeat(8000))),
            ("\"t\"", format!("\"{}\"", "t".repeat(51))),
            ("\"name\"", "\"username\"".to_owned()),
            ("\"alias\"", "\"Alias\"".to_owned()),
        ] {
            assert!(judged(&good.replace(from, &to)).is_err(), "{to}");
        }
    }
}
