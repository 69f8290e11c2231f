//! A fake TAXII server of one collection, 2.1 or 2.0.
//!
//! Written from the OASIS standards TAXII 2.1 and TAXII 2.0. It is stricter than servers have to
//! be: whatever a server may refuse, it refuses, and notes as a problem.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;

use super::json::{Node, quote};
use super::{Reply, Visit};
use crate::account::Book;

/// A fake TAXII server.
#[derive(Debug)]
pub struct Taxii {
    book: Arc<Book>,
    terms: TaxiiTerms,
    feed: TaxiiFeed,
}

/// Whom a fake TAXII server serves, and how.
#[derive(Clone, Debug)]
pub struct TaxiiTerms {
    /// `2.1`, else 2.0.
    pub is_2_1: bool,
    /// A name and a password, where basic credentials are asked for.
    pub user: Option<(String, String)>,
    /// A header and its value, where a key is asked for.
    pub header: Option<(&'static str, String)>,
    /// Whether clients have to show a certificate of its authority.
    pub needs_certificate: bool,
    /// Objects of a page at most, whatever is asked for.
    pub page_max: usize,
    /// Whether the collection may be read.
    pub can_read: bool,
    /// What stands between `items` and a range: `=` as HTTP has it, or a blank as TAXII 2.0 shows
    /// it (3.4.3).
    pub range_mark: char,
}

impl Default for TaxiiTerms {
    fn default() -> Self {
        Self {
            is_2_1: true,
            user: None,
            header: None,
            needs_certificate: false,
            page_max: 100,
            can_read: true,
            range_mark: '=',
        }
    }
}

/// What a page of a fake TAXII server has wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TaxiiManner {
    /// Nothing.
    #[default]
    Proper,
    /// Nothing either: `next` stands for a session and stays the same, as medallion has it.
    KeepsNext,
    /// Asked by `next`, it sends the same page again.
    RepeatsPage,
    /// There is more, and no way to it.
    MoreWithoutNext,
    /// There is no more, and a way to it.
    NextWithoutMore,
    /// No date says when an object was added.
    NoDates,
    /// The JSON breaks off.
    BrokenJson,
    /// More than this many objects are too much to ask for (413).
    TooLargeAbove(u64),
}

/// A query's keys and their values, decoded.
type Query = HashMap<String, String>;

/// What a fake TAXII server serves and was asked, as it goes on.
#[derive(Clone, Debug, Default)]
pub struct TaxiiFeed(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    objects: Vec<Stored>,
    manner: TaxiiManner,
    /// What each `next` stands for: the rest of the query, and how many objects lie before.
    tokens: HashMap<String, (String, usize)>,
    asked: Vec<String>,
}

#[derive(Clone, Debug)]
struct Stored {
    /// Microseconds, in UTC with Z: texts sort as times do.
    added: String,
    kind: String,
    id: String,
    version: String,
    text: String,
}

impl TaxiiFeed {
    /// Adds an object as the server's newest; `added` is a time with microseconds and `Z`.
    ///
    /// # Panics
    /// When the object is no STIX or the time is written in another way.
    pub fn add(&self, added: &str, object: &str) {
        assert!(is_micros(added), "{added} is no time with microseconds");
        let node = Node::parse(object.as_bytes()).expect("an object is JSON");
        let text = |name: &str| node.member(name).and_then(Node::text).unwrap_or_default();
        let version = [text("modified"), text("created")].into_iter().find(|it| !it.is_empty());
        let stored = Stored {
            added: added.to_owned(),
            kind: text("type").to_owned(),
            id: text("id").to_owned(),
            version: version.unwrap_or_default().to_owned(),
            text: object.to_owned(),
        };
        assert!(stored.id.starts_with(&stored.kind), "{object} is no STIX");
        let mut state = self.state();
        state.objects.push(stored);
        // "sorted in ascending order by the date it was added" (2.1, 5.4).
        state.objects.sort_by(|a, b| a.added.cmp(&b.added));
    }

    /// Forgets all objects.
    pub fn clear(&self) {
        self.state().objects.clear();
    }

    /// Has pages from now on wrong in this way.
    pub fn set_manner(&self, manner: TaxiiManner) {
        self.state().manner = manner;
    }

    /// The paths and queries that were asked since this was asked last.
    pub fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state().asked)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taxii {
    /// A server with an empty collection.
    #[must_use]
    pub fn new(book: Arc<Book>, terms: TaxiiTerms) -> Self {
        Self { book, terms, feed: TaxiiFeed::default() }
    }

    /// Its collection, as it goes on.
    #[must_use]
    pub fn feed(&self) -> TaxiiFeed {
        self.feed.clone()
    }

    pub(super) const fn needs_certificate(&self) -> bool {
        self.terms.needs_certificate
    }

    /// Answers one request.
    #[must_use]
    pub fn answer(&self, visit: &Visit<'_>) -> Reply {
        let mark = if visit.query.is_empty() { "" } else { "?" };
        self.feed.state().asked.push(format!("{}{mark}{}", visit.path, visit.query));
        if visit.method != http::Method::GET {
            return self.wrong(405, "feeds are read by GET", visit.method.as_str());
        }
        // "Requests with a body": a GET has none (2.1, 3.4.1).
        if visit.headers.contains_key(http::header::CONTENT_TYPE) || !visit.body.is_empty() {
            return self.wrong(400, "a GET has no content", visit.header("content-type"));
        }
        // "All URLs ... MUST have a trailing slash" (2.1, 3.2; 2.0, 4.1.1).
        if !visit.path.ends_with('/') {
            return self.wrong(404, "paths end in a slash", visit.path);
        }
        if visit.query.contains(['+', '[', ']', ' ']) {
            return self.wrong(400, "the query is not percent-encoded", visit.query);
        }
        if let Err(reply) = self.authenticate(visit) {
            return *reply;
        }
        let objects = format!("{ROOT}collections/{COLLECTION}/objects/");
        let is_objects = visit.path == objects;
        if !self.accepts(visit, is_objects) {
            return self.wrong(406, "another Accept", visit.header("accept"));
        }
        if !is_objects && !visit.query.is_empty() {
            return self.wrong(400, "no such query here", visit.query);
        }
        let collection = format!("{ROOT}collections/{COLLECTION}/");
        let discovery = if self.terms.is_2_1 { "/taxii2/" } else { "/taxii/" };
        match visit.path {
            path if path == discovery => self.reply(format!(
                "{{\"title\":\"fake\",\"default\":\"{ROOT}\",\"api_roots\":[\"{ROOT}\"]}}"
            )),
            ROOT => {
                let version = if self.terms.is_2_1 { TAXII_2_1 } else { "taxii-2.0" };
                self.reply(format!(
                    "{{\"title\":\"root\",\"versions\":[\"{version}\"],\"max_content_length\":1048576}}"
                ))
            }
            path if path == collection => self.reply(format!(
                "{{\"id\":\"{COLLECTION}\",\"title\":\"all\",\"can_read\":{},\"can_write\":false,\
                 \"media_types\":[\"{}\"]}}",
                self.terms.can_read,
                if self.terms.is_2_1 { "application/stix+json;version=2.1" } else { STIX_2_0 },
            )),
            path if path == objects && self.terms.is_2_1 => self.page(visit),
            path if path == objects => self.range(visit),
            _ => {
                self.book.note_problem("no such endpoint", visit.path.as_bytes());
                Self::refuse(404)
            }
        }
    }

    /// What it says with a failing status.
    #[must_use]
    pub fn refuse(status: u16) -> Reply {
        let title = http::StatusCode::from_u16(status).ok().and_then(|it| it.canonical_reason());
        let title = title.unwrap_or("refused");
        let body = format!("{{\"title\":\"{title}\",\"http_status\":\"{status}\"}}");
        Reply { status, content_type: TAXII_2_1, body: body.into(), ..Reply::default() }
    }

    fn wrong(&self, status: u16, what: &str, example: &str) -> Reply {
        self.book.note_problem(what, example.as_bytes());
        let body = format!(
            "{{\"title\":\"{what}\",\"description\":{},\"http_status\":\"{status}\"}}",
            quote(example)
        );
        Reply { status, content_type: TAXII_2_1, body: body.into(), ..Reply::default() }
    }

    fn authenticate(&self, visit: &Visit<'_>) -> Result<(), Box<Reply>> {
        let basic = self.terms.user.as_ref().map(|(user, password)| {
            let both =
                base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
            ("authorization", format!("Basic {both}"))
        });
        let header = self.terms.header.clone();
        let wanted: Vec<_> = basic.into_iter().chain(header).collect();
        if wanted.is_empty() && visit.headers.contains_key("authorization") {
            return Err(Box::new(self.wrong(400, "nobody asked for credentials", "")));
        }
        for (name, value) in wanted {
            if visit.header(name) != value {
                let mut reply = Self::refuse(401);
                reply.headers.push(("www-authenticate", "Basic realm=\"taxii\"".to_owned()));
                return Err(Box::new(reply));
            }
        }
        Ok(())
    }

    fn accepts(&self, visit: &Visit<'_>, is_objects: bool) -> bool {
        let accept = visit.header("accept").replace("; ", ";");
        let wanted = match (self.terms.is_2_1, is_objects) {
            (true, _) => TAXII_2_1,
            (false, true) => STIX_2_0,
            (false, false) => TAXII_2_0,
        };
        accept == wanted.replace("; ", ";")
    }

    fn reply(&self, body: String) -> Reply {
        let content_type = if self.terms.is_2_1 { TAXII_2_1 } else { TAXII_2_0 };
        Reply { status: 200, content_type, body: body.into(), ..Reply::default() }
    }

    /// The objects that a query asks for, and the query without what pages it.
    fn matching(
        &self,
        visit: &Visit<'_>,
        known: &[&str],
    ) -> Result<(Vec<Stored>, Query), Box<Reply>> {
        let mut query = Query::new();
        for (key, value) in visit.parameters() {
            if !known.contains(&key.as_str()) {
                return Err(Box::new(self.wrong(400, "no such key of a query", &key)));
            }
            if query.insert(key.clone(), value).is_some() {
                return Err(Box::new(self.wrong(400, "a key of a query came twice", &key)));
            }
        }
        let after = query.get("added_after").cloned().unwrap_or_default();
        if !after.is_empty() && !is_micros(&after) {
            return Err(Box::new(self.wrong(
                400,
                "added_after is no time in microseconds",
                &after,
            )));
        }
        let kinds = query.get("match[type]").cloned().unwrap_or_default();
        let kinds: Vec<&str> = kinds.split(',').filter(|it| !it.is_empty()).collect();
        let state = self.feed.state();
        // "last" is what is meant where no version is asked for (2.1, 3.4.1).
        let mut newest: HashMap<&str, &str> = HashMap::new();
        for object in &state.objects {
            let known = newest.entry(&object.id).or_default();
            *known = (*known).max(&object.version);
        }
        let is_asked = |object: &&Stored| {
            let is_kind = kinds.is_empty() || kinds.contains(&object.kind.as_str());
            object.added > after && is_kind && newest[&*object.id] == object.version
        };
        let found: Vec<Stored> = state.objects.iter().filter(is_asked).cloned().collect();
        Ok((found, query))
    }

    /// Objects of 2.1: an envelope, paged by `limit` and `next` (5.4).
    fn page(&self, visit: &Visit<'_>) -> Reply {
        let (found, mut query) = match self.matching(visit, QUERY_2_1) {
            Ok(matching) => matching,
            Err(reply) => return *reply,
        };
        let (limit, next) = (query.remove("limit"), query.remove("next"));
        let limit = match limit.as_deref().map(str::parse::<u64>) {
            None => u64::MAX,
            Some(Ok(limit)) if limit > 0 => limit,
            Some(_) => return self.wrong(400, "limit is no number above 0", visit.query),
        };
        let mut query: Vec<_> = query.into_iter().collect();
        query.sort();
        let query = format!("{query:?}");
        let mut state = self.feed.state();
        if let TaxiiManner::TooLargeAbove(most) = state.manner
            && limit > most
        {
            return Self::refuse(413);
        }
        let start = match &next {
            None => 0,
            Some(next) => match state.tokens.get(next) {
                Some((asked, start)) if *asked == query => *start,
                Some(_) => {
                    drop(state);
                    return self.wrong(
                        400,
                        "next goes with the query that it came from",
                        visit.query,
                    );
                }
                None => {
                    drop(state);
                    return self.wrong(400, "no such next", next);
                }
            },
        };
        let room = usize::try_from(limit).unwrap_or(usize::MAX).min(self.terms.page_max);
        let page: Vec<Stored> = found.iter().skip(start).take(room).cloned().collect();
        let end = start + page.len();
        let is_more = end < found.len();
        let token = format!("p/{}+{end}", state.tokens.len());
        let mut members = String::new();
        match (state.manner, is_more) {
            (TaxiiManner::KeepsNext | TaxiiManner::RepeatsPage, true) => {
                let token = next.unwrap_or(token);
                let end = if state.manner == TaxiiManner::RepeatsPage { start } else { end };
                write!(members, "\"more\":true,\"next\":{},", quote(&token)).expect("a text grows");
                state.tokens.insert(token, (query, end));
            }
            (TaxiiManner::MoreWithoutNext, true) => members.push_str("\"more\":true,"),
            (TaxiiManner::NextWithoutMore, _) => {
                write!(members, "\"more\":false,\"next\":{},", quote(&token))
                    .expect("a text grows");
            }
            (_, true) => {
                write!(members, "\"more\":true,\"next\":{},", quote(&token)).expect("a text grows");
                state.tokens.insert(token, (query, end));
            }
            (_, false) => {}
        }
        let manner = state.manner;
        drop(state);
        let texts: Vec<&str> = page.iter().map(|it| it.text.as_str()).collect();
        let body = match texts.is_empty() {
            // "If the ... resource is empty, an empty envelope" (2.1, 3.7).
            true => "{}".to_owned(),
            false => format!("{{{members}\"objects\":[{}]}}", texts.join(",")),
        };
        dated(self.reply(broken(body, manner)), &page, manner)
    }

    /// Objects of 2.0: a bundle, paged by ranges (3.4, 5.4).
    fn range(&self, visit: &Visit<'_>) -> Reply {
        let found = match self.matching(visit, QUERY_2_0) {
            Ok((found, _)) => found,
            Err(reply) => return *reply,
        };
        let header = visit.header("range");
        let bounds = header.strip_prefix("items").and_then(|it| it.split_once('-'));
        let other = if self.terms.range_mark == '=' { ' ' } else { '=' };
        if header.strip_prefix("items").is_some_and(|it| it.starts_with(other)) {
            return Self::refuse(400);
        }
        let mark = self.terms.range_mark;
        let bounds = bounds.and_then(|(a, b)| Some((a.strip_prefix(mark)?, b)));
        let bounds =
            bounds.and_then(|(a, b)| Some((a.parse::<usize>().ok()?, b.parse::<usize>().ok()?)));
        let (first, last) = match (header, bounds) {
            ("", _) => (0, usize::MAX - 1),
            (_, Some((first, last))) if first <= last => (first, last),
            _ => return self.wrong(400, "the range is none of items", header),
        };
        let manner = self.feed.state().manner;
        if let TaxiiManner::TooLargeAbove(most) = manner
            && (last - first) as u64 >= most
        {
            return Self::refuse(413);
        }
        if first > 0 && first >= found.len() {
            return Self::refuse(416);
        }
        let room = (last - first + 1).min(self.terms.page_max);
        let page: Vec<Stored> = found.iter().skip(first).take(room).cloned().collect();
        let texts: Vec<&str> = page.iter().map(|it| it.text.as_str()).collect();
        let objects = match texts.is_empty() {
            true => String::new(),
            false => format!(",\"objects\":[{}]", texts.join(",")),
        };
        let body = format!(
            "{{\"type\":\"bundle\",\"id\":\"bundle--0\",\"spec_version\":\"2.0\"{objects}}}"
        );
        let mut reply = self.reply(broken(body, manner));
        reply.content_type = STIX_2_0;
        if page.len() < found.len() {
            reply.status = 206;
            let end = first + page.len() - 1;
            reply.headers.push(("content-range", format!("items {first}-{end}/{}", found.len())));
        }
        dated(reply, &page, manner)
    }
}

fn broken(body: String, manner: TaxiiManner) -> String {
    match manner {
        TaxiiManner::BrokenJson => body[..body.len() - 1].to_owned(),
        _ => body,
    }
}

/// With the dates at which the first and the last object of the page were added.
fn dated(mut reply: Reply, page: &[Stored], manner: TaxiiManner) -> Reply {
    if let (Some(first), Some(last)) = (page.first(), page.last())
        && manner != TaxiiManner::NoDates
    {
        reply.headers.push(("x-taxii-date-added-first", first.added.clone()));
        reply.headers.push(("x-taxii-date-added-last", last.added.clone()));
    }
    reply
}

/// `2026-01-31T12:00:00.000000Z`.
fn is_micros(text: &str) -> bool {
    const FORM: &[u8] = b"0000-00-00T00:00:00.000000Z";
    text.len() == FORM.len()
        && text.bytes().zip(FORM).all(|(byte, &form)| match form {
            b'0' => byte.is_ascii_digit(),
            form => byte == form,
        })
}

/// The collection that there is.
pub const TAXII_COLLECTION: &str = COLLECTION;
const COLLECTION: &str = "91a7b528-80eb-42ed-a74d-c6fbd5a26116";
const ROOT: &str = "/api1/";
const TAXII_2_1: &str = "application/taxii+json;version=2.1";
const TAXII_2_0: &str = "application/vnd.oasis.taxii+json; version=2.0";
const STIX_2_0: &str = "application/vnd.oasis.stix+json; version=2.0";
const QUERY_2_1: &[&str] = &[
    "added_after",
    "limit",
    "next",
    "match[id]",
    "match[type]",
    "match[version]",
    "match[spec_version]",
];
const QUERY_2_0: &[&str] = &["added_after", "match[id]", "match[type]", "match[version]"];
