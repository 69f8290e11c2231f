//! A fake endpoint for webhooks, as strict as a careful receiver: method, credentials, signature,
//! content type and body, and one effect per `Idempotency-Key`.
//!
//! Written from the contract that shrike states for webhooks, and from draft-ietf-httpapi-
//! idempotency-key-header: "the first request with a key is executed, a retry is not again".

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use super::ids::{self, Taken};
use super::{Categories, Fault, Reply, Visit};
use crate::account::Book;
use crate::clock;
use crate::seed::Random;

/// A fake endpoint.
#[derive(Debug)]
pub struct Webhook {
    book: Arc<Book>,
    manners: Manners,
    /// Bytes of the body that came with each key.
    keys: Mutex<HashMap<String, Executed>>,
    paths: Categories,
}

/// What the endpoint asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manners {
    /// The method; any of POST, PUT and PATCH when there is none.
    pub method: Option<&'static str>,
    /// The bearer token; none is asked for when there is none.
    pub bearer: Option<String>,
    /// The key of signatures; none is asked for when there is none.
    pub signed: Option<String>,
}

/// A request that was executed, by its key.
#[derive(Debug)]
struct Executed {
    /// Bytes of its body.
    bytes: usize,
    /// What was answered.
    said: String,
}

impl Webhook {
    /// An endpoint that has nothing yet.
    #[must_use]
    pub fn new(book: Arc<Book>, manners: Manners) -> Self {
        Self { book, manners, keys: Mutex::default(), paths: Categories::default() }
    }

    /// How many events came to each path, as it goes on.
    #[must_use]
    pub fn paths(&self) -> Categories {
        self.paths.clone()
    }

    /// Answers one request.
    #[must_use]
    pub fn answer(&self, visit: &Visit<'_>) -> Reply {
        if visit.method == http::Method::GET {
            return Reply { status: 204, ..Reply::default() };
        }
        let methods: &[&str] = &["POST", "PUT", "PATCH"];
        let method = visit.method.as_str();
        if !methods.contains(&method) || self.manners.method.is_some_and(|it| it != method) {
            self.book.note_problem("another method", method.as_bytes());
            return Self::refuse(405);
        }
        let bearer = visit.header("authorization").strip_prefix("Bearer ");
        if self.manners.bearer.as_deref().is_some_and(|good| bearer != Some(good)) {
            return Self::refuse(401);
        }
        if let Err(problem) = self.verify(visit) {
            self.book.note_problem(problem, visit.header("x-shrike-signature").as_bytes());
            return Self::refuse(401);
        }
        if visit.plan.fault == Some(Fault::Forget) {
            return Reply { status: 200, ..Reply::default() };
        }
        if !visit.header("x-shrike-attempt").parse::<u32>().is_ok_and(|attempt| attempt > 0) {
            self.book.note_problem("X-Shrike-Attempt counts from 1", b"");
        }
        if !visit.header("user-agent").starts_with("shrike/") {
            self.book.note_problem("the sender has no name", b"");
        }
        let key = visit.header("idempotency-key");
        if key.is_empty() {
            self.book.note_problem("no Idempotency-Key", visit.body);
            return Self::refuse(400);
        }
        if let Err(problem) = well_formed(visit) {
            self.book.note_problem(&problem, visit.body);
            return Self::refuse(400);
        }
        // Held until it is executed, so that a second one of the same key finds what it said.
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        match keys.get(key) {
            Some(before) if before.bytes != visit.body.len() => {
                self.book.note_problem("one key for two bodies", key.as_bytes());
                return Self::refuse(422);
            }
            // The draft, 2.6: the result of the completed operation, success or error.
            Some(before) => return Reply::json(200, before.said.clone()),
            None => {}
        }
        let mut taken = Taken::default();
        let mut failed = Vec::new();
        let mut random = Random::new(visit.seed);
        match ids::skim(&self.book, visit.body) {
            Some(ids) => {
                self.paths.add(visit.path, ids.len() as u64);
                for id in ids {
                    match visit.plan.items {
                        Some((_, share)) if random.chance(share) => failed.push(id.text()),
                        _ => taken.store(&self.book, id),
                    }
                }
            }
            None => taken.store_text(&self.book, visit.body, "webhook", key),
        }
        taken.note(&self.book);
        let body = match visit.plan.items {
            Some(_) => serde_json::json!({"result": {"failed": failed}}).to_string(),
            None => String::new(),
        };
        keys.insert(key.to_owned(), Executed { bytes: visit.body.len(), said: body.clone() });
        drop(keys);
        Reply { accepted: taken.due, ..Reply::json(200, body) }
    }

    /// What the endpoint says with a failing status.
    pub(super) fn refuse(status: u16) -> Reply {
        Reply::json(status, format!("{{\"error\":\"status {status}\"}}"))
    }

    /// `t=SECONDS,v1=HEX`: HMAC-SHA-256 of the time, a dot and the body, at most five minutes old.
    fn verify(&self, visit: &Visit<'_>) -> Result<(), &'static str> {
        let Some(secret) = &self.manners.signed else { return Ok(()) };
        let header = visit.header("x-shrike-signature");
        let (time, digest) = header.split_once(",v1=").ok_or("no signature")?;
        let time = time.strip_prefix("t=").ok_or("no time in the signature")?;
        let seconds: u64 = time.parse().map_err(|_| "no time in the signature")?;
        let now = clock::now_ns() / clock::NS_PER_SECOND;
        if now.abs_diff(seconds) > 300 {
            return Err("an old signature");
        }
        if visit.header("date").is_empty() {
            return Err("a signed request without a date");
        }
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
        mac.update(format!("{time}.").as_bytes());
        mac.update(visit.body);
        let found: String =
            mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        if found == digest { Ok(()) } else { Err("a signature of another body") }
    }
}

/// "In an envelope `count` is how many events there are."
fn counts(body: &[u8]) -> Result<(), String> {
    #[derive(serde::Deserialize)]
    struct Envelope {
        events: Vec<serde::de::IgnoredAny>,
        count: usize,
    }
    if !body.starts_with(b"{\"source\":\"shrike\"") {
        return Ok(());
    }
    let envelope: Envelope = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    match envelope.events.len() == envelope.count {
        true => Ok(()),
        false => Err(format!("{} events, counted {}", envelope.events.len(), envelope.count)),
    }
}

/// Whether the body is what its type says.
fn well_formed(visit: &Visit<'_>) -> Result<(), String> {
    let media = visit.header("content-type");
    let is_json = |text: &[u8]| {
        serde_json::from_slice::<serde::de::IgnoredAny>(text).map_err(|error| error.to_string())
    };
    if media.starts_with("application/json") {
        is_json(visit.body).map_err(|error| format!("the body is no JSON: {error}"))?;
        counts(visit.body)
    } else if media.starts_with("application/x-ndjson") {
        let lines = visit.body.strip_suffix(b"\n").ok_or("the last line has no end")?;
        let mut lines = lines.split(|&byte| byte == b'\n');
        let bad = lines.find_map(|line| is_json(line).err());
        bad.map_or(Ok(()), |error| Err(format!("a line is no JSON: {error}")))
    } else if media.is_empty() {
        Err("no content type".to_owned())
    } else {
        Ok(())
    }
}
