//! A fake Elasticsearch: the `_bulk` API and what a shipper needs around it.
//!
//! Written from the reference of Elasticsearch 8.17 and 9.x (Bulk API, Common options, Index
//! lifecycle, Index templates, Data streams, Create index) and from what its REST layer answers to
//! requests that break the rules.

mod answer;
mod bulk;
mod cluster;
mod dynamic;
mod name;
mod skim;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Reply, Visit};
use crate::account::Book;
use crate::id::EventId;
use answer::Filter;
use cluster::Cluster;

/// A fake Elasticsearch cluster.
#[derive(Debug)]
pub struct Elastic {
    book: Arc<Book>,
    auth: Auth,
    cluster: Mutex<Cluster>,
    /// Filters by query string: a client uses one or two.
    filters: Mutex<HashMap<String, Arc<Filter>>>,
}

/// Who may come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Anybody.
    Anybody,
    /// The bearer of `Authorization: ApiKey base64(id:key)`.
    ApiKey {
        /// `id:key` in the clear.
        pair: String,
    },
    /// HTTP Basic (RFC 7617).
    Basic {
        /// `user:password` in the clear.
        pair: String,
    },
}

/// An error that answers the whole request.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refusal {
    status: u16,
    kind: &'static str,
    reason: String,
}

impl Refusal {
    fn new(status: u16, kind: &'static str, reason: impl Into<String>) -> Self {
        Self { status, kind, reason: reason.into() }
    }

    fn illegal(reason: impl Into<String>) -> Self {
        Self::new(400, "illegal_argument_exception", reason)
    }

    fn reply(&self) -> Reply {
        let cause = serde_json::json!({"type": self.kind, "reason": self.reason});
        let mut error = cause.clone();
        error["root_cause"] = serde_json::Value::Array(vec![cause]);
        let body = serde_json::json!({"error": error, "status": self.status});
        Reply::json(self.status, body.to_string())
    }
}

impl Elastic {
    /// An empty cluster.
    #[must_use]
    pub fn new(book: Arc<Book>, auth: Auth) -> Self {
        Self { book, auth, cluster: Mutex::default(), filters: Mutex::default() }
    }

    /// Answers one request.
    #[must_use]
    pub fn answer(&self, visit: &Visit<'_>) -> Reply {
        dress(match self.route(visit) {
            Ok(reply) => reply,
            Err(refusal) => {
                if refusal.status != 404 && refusal.status != 401 {
                    self.book.note_problem(refusal.kind, refusal.reason.as_bytes());
                }
                refusal.reply()
            }
        })
    }

    /// What it says of a bulk request of `create` actions that it took, by its lines.
    pub(in crate::fake) fn swallow(body: &[u8]) -> Reply {
        let items = memchr::memchr_iter(b'\n', body).count() / 2;
        let items = r#"{"create":{"status":201}},"#.repeat(items);
        let items = items.trim_end_matches(',');
        Reply::json(200, format!(r#"{{"took":1,"errors":false,"items":[{items}]}}"#))
    }

    /// What the server says with a failing status when the request is not to blame.
    pub(in crate::fake) fn refuse(status: u16) -> Reply {
        dress(match status {
            // The transport refuses a body that is too long before any API sees it.
            413 => Reply { status, ..Reply::default() },
            401 => Refusal::new(401, "security_exception", "unable to authenticate user").reply(),
            403 => Refusal::new(403, "security_exception", "action is unauthorized").reply(),
            429 => Refusal::new(
                429,
                "es_rejected_execution_exception",
                "rejected execution of coordinating operation",
            )
            .reply(),
            400 | 415 => {
                Refusal::new(400, "x_content_parse_exception", "the body cannot be read").reply()
            }
            // Gateways in front of the cluster answer these, in HTML.
            502..=504 => Reply {
                status,
                content_type: "text/html",
                body: "<html><body>upstream unavailable</body></html>".into(),
                ..Reply::default()
            },
            _ => Refusal::new(status, "exception", "asked for by the fault script").reply(),
        })
    }

    fn route(&self, visit: &Visit<'_>) -> Result<Reply, Refusal> {
        self.authenticate(visit)?;
        let segments: Vec<&str> = visit.path.split('/').filter(|part| !part.is_empty()).collect();
        match (visit.method.as_str(), &segments[..]) {
            ("POST" | "PUT", ["_bulk"]) => self.bulk(visit, None),
            ("POST" | "PUT", [index, "_bulk"]) => self.bulk(visit, Some(index)),
            (_, ["_bulk"] | [_, "_bulk"]) => Err(Refusal::new(
                405,
                "method_not_allowed",
                format!("Incorrect HTTP method for uri [{}], allowed: [PUT, POST]", visit.path),
            )),
            ("POST" | "GET", [_, "_refresh"]) => {
                Ok(Reply::json(200, r#"{"_shards":{"total":2,"successful":1,"failed":0}}"#))
            }
            ("POST" | "GET", [pattern, "_count"]) => self.count(pattern, visit.body),
            (method, segments) => {
                let mut cluster = self.cluster.lock().unwrap_or_else(PoisonError::into_inner);
                cluster.answer(method, segments, visit.body)
            }
        }
    }

    /// Count API, of a query by ids alone.
    fn count(&self, pattern: &str, body: &[u8]) -> Result<Reply, Refusal> {
        let query: serde_json::Value =
            serde_json::from_slice(body).map_err(|error| Refusal::illegal(error.to_string()))?;
        let values = query["query"]["ids"]["values"].as_array();
        let values = values.ok_or_else(|| Refusal::illegal("[ids] requires a values array"))?;
        let ids = values.iter().filter_map(|id| EventId::parse(id.as_str()?.as_bytes()));
        let ids: Vec<EventId> = ids.collect();
        let count = self.book.count(&ids, |name| answer::glob(pattern, name));
        let shards = serde_json::json!({"total": 1, "successful": 1, "skipped": 0, "failed": 0});
        let answer = serde_json::json!({"count": count, "_shards": shards});
        Ok(Reply::json(200, answer.to_string()))
    }

    /// "Authorization: ApiKey" takes the base64 of `id:key`; Basic that of `user:password`.
    fn authenticate(&self, visit: &Visit<'_>) -> Result<(), Refusal> {
        let (scheme, pair) = match &self.auth {
            Auth::Anybody => return Ok(()),
            Auth::ApiKey { pair } => ("ApiKey", pair),
            Auth::Basic { pair } => ("Basic", pair),
        };
        let header = visit.header("authorization");
        let (given, credentials) = header.split_once(' ').unwrap_or((header, ""));
        let decoded = STANDARD.decode(credentials.trim()).unwrap_or_default();
        if given.eq_ignore_ascii_case(scheme) && decoded == pair.as_bytes() {
            return Ok(());
        }
        let reason = if header.is_empty() {
            format!("missing authentication credentials for REST request [{}]", visit.path)
        } else {
            format!("unable to authenticate with provided credentials for [{}]", visit.path)
        };
        Err(Refusal::new(401, "security_exception", reason))
    }

    fn bulk(&self, visit: &Visit<'_>, index: Option<&str>) -> Result<Reply, Refusal> {
        self.content_type(visit)?;
        let query = bulk::Query::parse(visit)?;
        if visit.body.is_empty() {
            return Err(Refusal::new(400, "parse_exception", "request body is required"));
        }
        let filter = self.filter(&query.filter_path);
        let may_skim = !visit.strict && index.is_none() && query == query.plain();
        if may_skim && let Some(reply) = self.skim(visit, &filter) {
            return Ok(reply);
        }
        self.judge(visit, index, &query, &filter)
    }

    /// Bulk takes "application/x-ndjson" or "application/json", and their versioned forms.
    fn content_type(&self, visit: &Visit<'_>) -> Result<(), Refusal> {
        let given = visit.header("content-type");
        let kind = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let known = [
            "application/x-ndjson",
            "application/json",
            "application/vnd.elasticsearch+x-ndjson",
            "application/vnd.elasticsearch+json",
        ];
        if known.contains(&kind.as_str()) {
            return Ok(());
        }
        let reason = format!("Content-Type header [{given}] is not supported");
        Err(Refusal::new(406, "media_type_header_exception", reason))
    }

    fn filter(&self, path: &str) -> Arc<Filter> {
        let mut filters = self.filters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(filter) = filters.get(path) {
            return Arc::clone(filter);
        }
        let filter = Arc::new(Filter::new(path));
        if filters.len() < FILTERS_MAX {
            filters.insert(path.to_owned(), Arc::clone(&filter));
        }
        filter
    }
}

/// Adds the headers that every answer has.
fn dress(mut reply: Reply) -> Reply {
    // Official clients check this header and refuse a server without it.
    reply.headers.push(("x-elastic-product", "Elasticsearch".to_owned()));
    if reply.status == 401 {
        let schemes = "Basic realm=\"security\", charset=\"UTF-8\", ApiKey".to_owned();
        reply.headers.push(("www-authenticate", schemes));
    }
    reply
}

/// Filters kept; a client that invents new ones only loses the cache.
const FILTERS_MAX: usize = 64;
