//! A fake Splunk HTTP Event Collector.
//!
//! Written from Splunk's manual (Format events for HTTP Event Collector, HTTP Event Collector REST
//! API endpoints, Troubleshoot HTTP Event Collector, About HTTP Event Collector Indexer
//! Acknowledgment).

mod acks;
mod code;
mod envelope;
mod skim;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::ids::Taken;
use super::json::Node;
use super::{Fault, Reply, Visit};
use crate::account::Book;
use crate::clock;
use crate::seed::Random;
use acks::Acks;
use code::Code;

/// A fake collector.
#[derive(Debug)]
pub struct Splunk {
    book: Arc<Book>,
    rules: Rules,
    acks: Mutex<Acks>,
    has_restarted: AtomicBool,
}

/// How the token is set up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// The token; any is good when there is none.
    pub token: Option<String>,
    /// Whether "Enable indexer acknowledgement" is ticked.
    pub acks: bool,
    /// Indexes that the token may write to; all when empty.
    pub indexes: Vec<String>,
}

impl Splunk {
    /// A collector that has just started.
    #[must_use]
    pub fn new(book: Arc<Book>, rules: Rules) -> Self {
        Self { book, rules, acks: Mutex::default(), has_restarted: AtomicBool::new(false) }
    }

    /// Answers one request.
    #[must_use]
    pub fn answer(&self, visit: &Visit<'_>) -> Reply {
        if let Some(Fault::Code(number)) = visit.plan.fault
            && let Some(code) = Code::find(number)
            && code.status != 200
        {
            return code.reply();
        }
        match self.route(visit) {
            Ok(reply) => reply,
            Err(code) => {
                // Nobody knows that a server has begun anew before he asks it.
                let is_unknown = code.number == 11 && self.has_restarted.load(Ordering::Relaxed);
                if CLIENT_FAULTS.contains(&code.number) && !is_probe(visit) && !is_unknown {
                    let what = format!("code {}: {}", code.number, code.text);
                    self.book.note_problem(&what, visit.body);
                }
                code.reply()
            }
        }
    }

    /// What the collector says with a failing status when the request is not to blame.
    pub(super) fn refuse(status: u16) -> Reply {
        let number = match status {
            401 => 3,
            403 => 4,
            429 => 26,
            500 => 8,
            503 => 9,
            // These come from the server in front, as HTML.
            _ => {
                let page = format!(
                    "<!doctype html><html><head><title>{status}</title></head><body><h1>{status}\
                     </h1><p>The request could not be served.</p></body></html>"
                );
                return Reply {
                    status,
                    content_type: "text/html; charset=UTF-8",
                    body: page.into(),
                    ..Reply::default()
                };
            }
        };
        Code::find(number).map(Code::reply).unwrap_or_default()
    }

    /// What it says of a request that it took.
    pub(super) fn swallow() -> Reply {
        code::of(0).reply()
    }

    /// The server starts again: channels and acknowledgements are gone.
    pub(super) fn restart(&self) {
        self.has_restarted.store(true, Ordering::Relaxed);
        *self.acks() = Acks::default();
    }

    fn route(&self, visit: &Visit<'_>) -> Result<Reply, &'static Code> {
        let path = visit.path.strip_suffix("/1.0").unwrap_or(visit.path);
        match (visit.method.as_str(), path) {
            ("GET", "/services/collector/health") => Ok(code::of(17).reply()),
            ("POST", "/services/collector" | "/services/collector/event") => {
                self.authenticate(visit)?;
                self.take(visit, Splunk::events)
            }
            ("POST", "/services/collector/raw") => {
                self.authenticate(visit)?;
                self.take(visit, Splunk::raw)
            }
            ("POST" | "GET", "/services/collector/ack") => {
                self.authenticate(visit)?;
                self.poll(visit)
            }
            _ => {
                self.book.note_problem("no such endpoint", visit.path.as_bytes());
                let text =
                    "{\"text\":\"The requested URL was not found on this server.\",\"code\":404}";
                Ok(Reply::json(404, text))
            }
        }
    }

    /// "Authorization: Splunk <hec_token>", or HTTP Basic with the token as the password.
    fn authenticate(&self, visit: &Visit<'_>) -> Result<(), &'static Code> {
        let header = visit.header("authorization");
        if header.is_empty() {
            let in_query = visit.parameters().any(|(key, _)| key == "token");
            return Err(code::of(if in_query { 16 } else { 2 }));
        }
        let (scheme, rest) = header.split_once(' ').ok_or(code::of(3))?;
        let token = if scheme.eq_ignore_ascii_case("splunk") {
            rest.trim().to_owned()
        } else if scheme.eq_ignore_ascii_case("basic") {
            let pair = STANDARD.decode(rest.trim()).map_err(|_| code::of(3))?;
            let pair = String::from_utf8(pair).map_err(|_| code::of(3))?;
            pair.split_once(':').ok_or(code::of(3))?.1.to_owned()
        } else {
            return Err(code::of(3));
        };
        match &self.rules.token {
            Some(good) if *good != token => Err(code::of(4)),
            _ => Ok(()),
        }
    }

    /// The channel of a request: "X-Splunk-Request-Channel" or the query; a GUID.
    fn channel(&self, visit: &Visit<'_>) -> Result<Option<String>, &'static Code> {
        let header = visit.header("x-splunk-request-channel");
        let query = || visit.parameters().find(|(key, _)| key == "channel").map(|(_, id)| id);
        let channel =
            if header.is_empty() { query().unwrap_or_default() } else { header.to_owned() };
        if channel.is_empty() {
            return if self.rules.acks { Err(code::of(10)) } else { Ok(None) };
        }
        if is_guid(&channel) { Ok(Some(channel.to_ascii_lowercase())) } else { Err(code::of(11)) }
    }

    fn take(
        &self,
        visit: &Visit<'_>,
        read: fn(&Self, &Visit<'_>, &mut Taken) -> Result<(), Reply>,
    ) -> Result<Reply, &'static Code> {
        // The answer to an empty body tells a good token, so it comes before the channel.
        if visit.body.trim_ascii().is_empty() {
            return Err(code::of(5));
        }
        let channel = self.channel(visit)?;
        let mut taken = Taken::default();
        if visit.plan.fault == Some(Fault::Forget) {
            return Ok(self.accept(visit, channel.as_deref(), taken));
        }
        let read = read(self, visit, &mut taken);
        taken.note(&self.book);
        match read {
            Ok(()) => Ok(self.accept(visit, channel.as_deref(), taken)),
            // What stood before the bad object is stored all the same.
            Err(reply) => Ok(Reply { accepted: taken.due, ..reply }),
        }
    }

    fn accept(&self, visit: &Visit<'_>, channel: Option<&str>, taken: Taken) -> Reply {
        let code = match visit.plan.fault {
            Some(Fault::Code(number)) => code::of(number),
            _ => code::of(0),
        };
        let Some(channel) = channel.filter(|_| self.rules.acks) else {
            return Reply { accepted: taken.due, ..code.reply() };
        };
        let is_lost = visit.plan.fault == Some(Fault::Forget)
            || Random::new(visit.seed).chance(visit.plan.ack_lost);
        let ready = (!is_lost).then(|| Instant::now() + visit.plan.delay + visit.plan.ack_delay);
        let id = self.acks().issue(channel, ready, taken.due.clone());
        let body =
            format!("{{\"text\":\"{}\",\"code\":{},\"ackId\":{id}}}", code.text, code.number);
        Reply { accepted: taken.due, ..Reply::json(code.status, body) }
    }

    /// `{"acks":[0,1]}` asks; `{"acks":{"0":true,"1":false}}` answers.
    fn poll(&self, visit: &Visit<'_>) -> Result<Reply, &'static Code> {
        if !self.rules.acks {
            return Err(code::of(14));
        }
        let channel = self.channel(visit)?.ok_or(code::of(10))?;
        let node = Node::parse(visit.body).map_err(|_| code::of(6))?;
        let Some(Node::List(asked)) = node.member("acks") else { return Err(code::of(6)) };
        let mut acks = self.acks();
        let pending = acks.channel(&channel).ok_or(code::of(11))?;
        let mut confirmed = Vec::new();
        let mut body = String::from("{\"acks\":{");
        for (at, id) in asked.iter().enumerate() {
            let Node::Number(id) = id else { return Err(code::of(6)) };
            // An id is a small whole number; what is none is unknown and so answered false.
            let done = pending.take(*id as u64, Instant::now());
            let comma = if at > 0 { "," } else { "" };
            body.push_str(&format!("{comma}\"{id}\":{}", done.is_some()));
            confirmed.extend(done.unwrap_or_default());
        }
        body.push_str("}}");
        drop(acks);
        self.book.note_confirmed(&confirmed, clock::now_ns());
        Ok(Reply::json(200, body))
    }

    fn acks(&self) -> MutexGuard<'_, Acks> {
        self.acks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An empty body is how clients ask whether a token is good.
fn is_probe(visit: &Visit<'_>) -> bool {
    visit.body.trim_ascii().is_empty()
}

/// Eight, four, four, four and twelve hexadecimal digits.
fn is_guid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Codes that tell a mistake in the request itself.
const CLIENT_FAULTS: &[u16] = &[3, 5, 6, 7, 10, 11, 12, 13, 14, 15, 16];
