//! TAXII 2.0 and 2.1: what to ask next, and what an answer means; no network, no clock.
//!
//! A poll finds the API root (where none is configured), looks at the collection, then reads its
//! objects page by page: by `next` in 2.1, by ranges in 2.0. How far the feed is read is told by
//! the server's own dates, since clocks differ.

use std::collections::HashSet;
use std::time::Duration;

use http::header::{CONTENT_RANGE, RETRY_AFTER};
use http::{HeaderMap, Uri};
use serde::Deserialize;

use super::cache::Progress;
use super::client::{date, scrubbed};
use super::page::{Page, Told, hash};
use super::spec::{ServerSpec, TaxiiVersion};
use crate::deliver::{percent_encoded, retry_after};
use crate::event::Time;

/// One request: always a GET without a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    /// Path and query, below the host.
    pub(super) path: String,
    pub(super) accept: &'static str,
    /// The `Range` header of 2.0.
    pub(super) range: Option<String>,
}

/// Why an answer does not help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Another attempt may do.
    Later { wait: Option<Duration>, problem: String },
    /// It does not know us.
    Auth(String),
    /// What the configuration says does not fit the server.
    Config(String),
}

/// What is known of a server over several polls.
#[derive(Clone, Debug)]
pub(super) struct Session {
    version: TaxiiVersion,
    /// Whether the other version was tried in place of the configured one.
    is_other: bool,
    /// The path of the API root, with slashes at both ends; none asks discovery.
    root: Option<String>,
    /// Whether the collection was found fit.
    is_checked: bool,
    /// Objects of one page; fewer after a page that was too large.
    limit: u32,
    /// What stands between `items` and a range of 2.0: HTTP has `=` (RFC 7233, 3.1), the standard
    /// shows a blank (2.0, 3.4.3), and servers take the one or the other.
    range_mark: char,
}

/// One poll.
#[derive(Debug)]
pub(super) struct Poll<'a> {
    spec: &'a ServerSpec,
    session: &'a mut Session,
    progress: Progress,
    begun: Time,
    is_full: bool,
    stage: Stage,
    /// What the next page of 2.1 is asked by.
    next: Option<String>,
    /// The pages of 2.1 that came: their objects, and what the next one is asked by.
    seen: HashSet<(u64, Option<u64>)>,
    /// The first object of the next page of 2.0.
    start: u64,
    pages: u32,
    anomalies: u64,
    /// The newest date that the server added an object at.
    newest: Option<Time>,
    /// The server's clock at the first page.
    first_date: Option<Time>,
    has_objects: bool,
    /// Whether it ended before the feed did.
    is_cut: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Discovery,
    Root,
    Collection,
    Objects,
    Done,
}

/// What a poll came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Polled {
    /// How far the feed is read now.
    pub progress: Progress,
    /// Pages that were read.
    pub pages: u32,
    /// Pages whose paging contradicts itself.
    pub anomalies: u64,
    /// Whether there is more.
    pub is_cut: bool,
    /// Whether there is more, and no date of the server says where the next poll may go on: it
    /// begins anew.
    pub is_stuck: bool,
}

impl Session {
    pub(super) fn new(spec: &ServerSpec) -> Result<Self, String> {
        let root = spec.api_root.as_deref().map(|root| root_path(&spec.url, root)).transpose()?;
        let (version, limit) = (spec.version, spec.feed.page_size.max(1));
        let (is_other, is_checked, range_mark) = (false, false, '=');
        Ok(Self { version, is_other, root, is_checked, limit, range_mark })
    }
}

impl<'a> Poll<'a> {
    /// A poll that begins now and goes on where the last one ended; a full one reads all of the
    /// feed.
    pub(super) fn new(
        spec: &'a ServerSpec,
        session: &'a mut Session,
        progress: Progress,
        is_full: bool,
        now: Time,
    ) -> Self {
        // A page that was too large may be none another time.
        session.limit = spec.feed.page_size.max(1);
        let mut poll = Self {
            spec,
            session,
            progress,
            begun: now,
            is_full,
            stage: Stage::Done,
            next: None,
            seen: HashSet::new(),
            start: 0,
            pages: 0,
            anomalies: 0,
            newest: None,
            first_date: None,
            has_objects: false,
            is_cut: false,
        };
        poll.stage = poll.first_stage();
        poll
    }

    fn first_stage(&self) -> Stage {
        match (&self.session.root, self.session.is_checked) {
            (None, _) => Stage::Discovery,
            (Some(_), false) => Stage::Root,
            (Some(_), true) => Stage::Objects,
        }
    }

    /// What to ask next; nothing when all is read.
    pub(super) fn ask(&self) -> Option<Ask> {
        let version = self.session.version;
        let accept = match (version, self.stage) {
            (TaxiiVersion::V2_1, _) => ACCEPT_2_1,
            (TaxiiVersion::V2_0, Stage::Objects) => ACCEPT_STIX_2_0,
            (TaxiiVersion::V2_0, _) => ACCEPT_2_0,
        };
        let root = self.session.root.as_deref().unwrap_or("/");
        let collection = percent_encoded(&self.spec.collection_id);
        let path = match self.stage {
            Stage::Discovery => discovery_path(&self.spec.url, version),
            Stage::Root => root.to_owned(),
            Stage::Collection => format!("{root}collections/{collection}/"),
            Stage::Objects => {
                let query = self.query();
                let mark = if query.is_empty() { "" } else { "?" };
                format!("{root}collections/{collection}/objects/{mark}{query}")
            }
            Stage::Done => return None,
        };
        let is_ranged = version == TaxiiVersion::V2_0 && self.stage == Stage::Objects;
        let last = self.start.saturating_add(u64::from(self.session.limit) - 1);
        let range =
            is_ranged.then(|| format!("items{}{}-{last}", self.session.range_mark, self.start));
        Some(Ask { path, accept, range })
    }

    fn query(&self) -> String {
        let mut pairs: Vec<(&str, String)> = Vec::new();
        if let Some(time) = self.added_after() {
            pairs.push(("added_after", micros(time)));
        }
        if self.session.version == TaxiiVersion::V2_1 {
            pairs.push(("limit", self.session.limit.to_string()));
        }
        if !self.spec.feed.include_types.is_empty() {
            pairs.push(("match[type]", self.spec.feed.include_types.join(",")));
        }
        if let Some(next) = &self.next {
            pairs.push(("next", next.clone()));
        }
        let pairs = pairs.iter();
        let pairs =
            pairs.map(|(key, value)| format!("{}={}", encoded_key(key), percent_encoded(value)));
        pairs.collect::<Vec<_>>().join("&")
    }

    fn added_after(&self) -> Option<Time> {
        let cursor = self.progress.cursor.filter(|_| !self.is_full);
        cursor.or(self.spec.feed.added_after)
    }

    /// Takes the answer to [`Poll::ask`]; gives the objects that it holds.
    pub(super) fn answer(
        &mut self,
        status: u16,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Told, Refusal> {
        if body.len() > self.spec.feed.response_bytes_max {
            let bound = self.spec.feed.response_bytes_max;
            let problem = format!("an answer is longer than `max_response_bytes` ({bound})");
            return self.shrink(&problem);
        }
        match (status, self.stage) {
            (200..=299, Stage::Objects) => self.page(status, headers, body),
            (200..=299, _) => self.found(body).map(|()| Told::default()),
            (304, Stage::Objects) => self.end(),
            // Some servers say so when nothing is newer; that the collection is there was seen.
            (404, Stage::Objects) if !self.is_full && self.progress.cursor.is_some() => self.end(),
            // A range that begins behind the last object.
            (416, Stage::Objects) if self.session.version == TaxiiVersion::V2_0 => self.end(),
            (400, Stage::Objects) if self.swaps_range_mark() => Ok(Told::default()),
            (413, Stage::Objects) => self.shrink(&format!("status 413{}", self.said(body))),
            (406 | 415, _) => self.swap_version(status, body),
            // What an API root says of itself is not needed.
            (400..=499, Stage::Root) if !matches!(status, 401 | 403 | 408 | 425 | 429) => {
                self.stage = Stage::Collection;
                Ok(Told::default())
            }
            _ => Err(self.refusal(status, headers, body)),
        }
    }

    /// What the poll came to, once there is nothing more to ask.
    pub(super) fn polled(&self) -> Polled {
        let old = self.progress;
        // A second of overlap, since its clock may stand a little ahead of its dates.
        let by_clock =
            self.first_date.filter(|_| self.has_objects).map(|date| before(date, SECOND));
        let read = match (self.is_cut, self.newest) {
            // Others may have been added at the very same time.
            (true, Some(newest)) => Some(before(newest, Duration::from_micros(1))),
            (true, None) => None,
            (false, newest) => newest.or(by_clock),
        };
        let cursor = match self.is_full {
            true => read.or(old.cursor),
            false => read.max(old.cursor),
        };
        let is_stuck = self.is_cut && self.newest.is_none();
        // A reading of the whole feed may take several polls.
        let begun = if self.is_full { Some(self.begun) } else { old.sync_begun };
        let (synced, sync_begun) = match (begun, self.is_cut) {
            (Some(_), true) if is_stuck => (old.synced, None),
            (Some(begun), true) => (old.synced, Some(begun)),
            (Some(begun), false) => (Some(begun), None),
            (None, _) => (old.synced, None),
        };
        let asked = match self.is_full && !is_stuck {
            true => self.spec.feed.asked(),
            false => old.asked,
        };
        let progress = Progress { cursor, synced, sync_begun, asked, read: old.read };
        let Self { pages, anomalies, is_cut, .. } = *self;
        Polled { progress, pages, anomalies, is_cut, is_stuck }
    }

    /// Discovery, an API root or a collection.
    fn found(&mut self, body: &[u8]) -> Result<(), Refusal> {
        let unreadable = |what: &str, error: serde_json::Error| {
            let problem = format!("expected {what} as JSON: {error}");
            Refusal::Config(format!("{problem}; see that `url` leads to a TAXII server"))
        };
        self.stage = match self.stage {
            Stage::Discovery => {
                let found: Discovery = serde_json::from_slice(body)
                    .map_err(|error| unreadable("the discovery of a TAXII server", error))?;
                let root = found.default.or_else(|| found.api_roots.into_iter().next());
                let root = root.ok_or_else(|| {
                    Refusal::Config("discovery names no API root; set `api_root`".to_owned())
                })?;
                let path = root_path(&self.spec.url, &root).map_err(Refusal::Config)?;
                self.session.root = Some(path);
                Stage::Root
            }
            Stage::Collection => {
                let found: Collection = serde_json::from_slice(body)
                    .map_err(|error| unreadable("a collection", error))?;
                self.check(&found)?;
                self.session.is_checked = true;
                Stage::Objects
            }
            Stage::Root | Stage::Objects | Stage::Done => Stage::Collection,
        };
        Ok(())
    }

    fn check(&self, found: &Collection) -> Result<(), Refusal> {
        let id = &self.spec.collection_id;
        if !found.can_read {
            let problem = format!("collection {id} may not be read with these credentials");
            return Err(Refusal::Config(format!("{problem} (`can_read` is false)")));
        }
        let is_stix = |media: &String| media.contains("stix+json");
        if !found.media_types.is_empty() && !found.media_types.iter().any(is_stix) {
            let problem = format!("collection {id} has no STIX, but {:?}", found.media_types);
            return Err(Refusal::Config(problem));
        }
        Ok(())
    }

    fn page(&mut self, status: u16, headers: &HeaderMap, body: &[u8]) -> Result<Told, Refusal> {
        let later = |problem| Refusal::Later { wait: None, problem };
        let page = Page::parse(body).map_err(|error| later(error.to_string()))?;
        if self.pages == 0 {
            self.first_date = date(headers);
        }
        self.pages += 1;
        self.has_objects |= !page.objects.is_empty();
        let added = headers.get(DATE_ADDED_LAST).and_then(|it| Time::parse(it.as_bytes()));
        self.newest = self.newest.max(added);
        match self.session.version {
            TaxiiVersion::V2_1 => self.turn(page.more, page.next.as_deref(), page.objects.mark),
            TaxiiVersion::V2_0 => self.advance(status, headers, page.objects.count()),
        }
        if self.stage == Stage::Objects && self.pages >= self.spec.feed.pages_max {
            self.cut();
        }
        let (mut objects, kinds) = (page.objects, &self.spec.feed.include_types);
        if !kinds.is_empty() {
            objects.keep_kinds(kinds);
        }
        Ok(objects)
    }

    /// The next page of 2.1.
    ///
    /// "The value of the next property is opaque" (3.7): it may stand for a session and stay the
    /// same while pages go on. Only one with objects that came already leads nowhere; `mark` is the
    /// same for those.
    fn turn(&mut self, more: bool, next: Option<&str>, mark: u64) {
        let is_new = self.seen.insert((mark, next.map(hash)));
        match (more, next.filter(|next| !next.is_empty())) {
            (false, None) => self.stage = Stage::Done,
            (false, Some(_)) => {
                self.anomalies += 1;
                self.stage = Stage::Done;
            }
            (true, Some(next)) if is_new => self.next = Some(next.to_owned()),
            (true, _) => {
                self.anomalies += 1;
                self.cut();
            }
        }
    }

    /// The next range of 2.0.
    fn advance(&mut self, status: u16, headers: &HeaderMap, count: u64) {
        let range = headers.get(CONTENT_RANGE).and_then(|it| content_range(it.to_str().ok()?));
        match range {
            None if status == 200 || count == 0 => self.stage = Stage::Done,
            // It says that there is more, but not where.
            None => {
                self.anomalies += 1;
                self.cut();
            }
            Some((_, last, Some(total))) if last + 1 >= total => self.stage = Stage::Done,
            Some((_, _, None)) if count == 0 => self.stage = Stage::Done,
            Some((first, last, _)) if first == self.start && last >= first => self.start = last + 1,
            Some(_) => {
                self.anomalies += 1;
                self.cut();
            }
        }
    }

    fn cut(&mut self) {
        self.is_cut = true;
        self.stage = Stage::Done;
    }

    fn end(&mut self) -> Result<Told, Refusal> {
        self.stage = Stage::Done;
        Ok(Told::default())
    }

    /// Asks for half as much.
    fn shrink(&mut self, problem: &str) -> Result<Told, Refusal> {
        let hint = "raise `max_response_bytes`, or ask the operator of the server";
        if self.stage != Stage::Objects {
            return Err(Refusal::Config(format!("{problem}; {hint}")));
        }
        if self.session.limit == 1 {
            return Err(Refusal::Config(format!("{problem}, with one object a page; {hint}")));
        }
        self.session.limit = (self.session.limit / 2).max(1);
        Ok(Told::default())
    }

    /// Whether ranges are to be written in the other way now.
    fn swaps_range_mark(&mut self) -> bool {
        let may_help = self.session.version == TaxiiVersion::V2_0 && self.pages == 0;
        let is_first = self.session.range_mark == '=';
        // The next poll begins as HTTP has it.
        self.session.range_mark = if may_help && is_first { ' ' } else { '=' };
        may_help && is_first
    }

    fn swap_version(&mut self, status: u16, body: &[u8]) -> Result<Told, Refusal> {
        if self.session.is_other {
            // The next poll begins as it was configured.
            (self.session.version, self.session.is_other) = (self.spec.version, false);
            let problem =
                format!("status {status}{}: it takes neither TAXII 2.1 nor 2.0", self.said(body));
            return Err(Refusal::Config(format!("{problem}; see `url`, `api_root` and `version`")));
        }
        self.session.is_other = true;
        self.session.version = match self.session.version {
            TaxiiVersion::V2_0 => TaxiiVersion::V2_1,
            TaxiiVersion::V2_1 => TaxiiVersion::V2_0,
        };
        self.session.is_checked = false;
        if self.spec.api_root.is_none() {
            self.session.root = None;
        }
        self.stage = self.first_stage();
        (self.next, self.start) = (None, 0);
        Ok(Told::default())
    }

    fn refusal(&mut self, status: u16, headers: &HeaderMap, body: &[u8]) -> Refusal {
        let what = match self.stage {
            Stage::Discovery => "discovery",
            Stage::Root => "the API root",
            Stage::Collection => "the collection",
            Stage::Objects | Stage::Done => "the objects",
        };
        let problem = format!("{what}: status {status}{}", self.said(body));
        match status {
            401 | 403 => Refusal::Auth(problem),
            408 | 425 | 429 | 500..=599 => {
                let wait = retry_after(headers).filter(|_| headers.contains_key(RETRY_AFTER));
                Refusal::Later { wait, problem }
            }
            404 => {
                // Next time it is looked for again.
                self.session.is_checked = false;
                if self.spec.api_root.is_none() {
                    self.session.root = None;
                }
                let hint = match self.stage {
                    Stage::Discovery => "see `url` and `version`, or set `api_root`",
                    _ => "see `api_root` and `collection_id`",
                };
                Refusal::Config(format!("{problem}; {hint}"))
            }
            300..=399 => {
                let hint = "redirects are not followed: give the URL that it leads to";
                Refusal::Config(format!("{problem}; {hint}"))
            }
            _ => Refusal::Config(format!("{problem}; see `url`, `version` and `feed`")),
        }
    }

    /// What the body of an error says, in front of which it fits, without our credentials.
    fn said(&self, body: &[u8]) -> String {
        let Ok(error) = serde_json::from_slice::<ErrorBody>(body) else { return String::new() };
        let text = [error.title, error.description].join(" ");
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        // Before it is cut: half a key is not found any more.
        let line = scrubbed(line, self.spec);
        let line = line.chars().filter(|it| !it.is_control()).take(SAID_CHARS_MAX);
        let line: String = line.collect();
        if line.is_empty() { line } else { format!(" ({line})") }
    }
}

impl Refusal {
    /// The same, its text made another.
    pub(super) fn map(self, change: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::Later { wait, problem } => Self::Later { wait, problem: change(problem) },
            Self::Auth(problem) => Self::Auth(change(problem)),
            Self::Config(problem) => Self::Config(change(problem)),
        }
    }
}

#[derive(Deserialize)]
struct Discovery {
    #[serde(default)]
    default: Option<String>,
    #[serde(default)]
    api_roots: Vec<String>,
}

#[derive(Deserialize)]
struct Collection {
    can_read: bool,
    #[serde(default)]
    media_types: Vec<String>,
}

/// What TAXII puts into an error (2.1, 3.6.1).
#[derive(Deserialize)]
struct ErrorBody {
    #[serde(default)]
    title: String,
    #[serde(default)]
    description: String,
}

/// The path of an API root, with slashes at both ends; a whole URL has to be on the same host,
/// which alone is to see the credentials.
fn root_path(url: &Uri, root: &str) -> Result<String, String> {
    let path = match root.contains("://") {
        false => root.to_owned(),
        true => {
            let root: Uri = root.parse().map_err(|_| format!("the API root {root} is no URL"))?;
            let place = |uri: &Uri| (uri.scheme_str() == Some("https"), host(uri), port(uri));
            if place(&root) != place(url) {
                let here = format!("{}://{}", url.scheme_str().unwrap_or("https"), host(url));
                return Err(format!(
                    "the API root {root} is elsewhere than {here}; set `url` to its host"
                ));
            }
            root.path().to_owned()
        }
    };
    match path.trim_matches('/') {
        "" => Ok("/".to_owned()),
        steps => Ok(format!("/{steps}/")),
    }
}

fn host(uri: &Uri) -> String {
    uri.host().unwrap_or_default().to_ascii_lowercase()
}

fn port(uri: &Uri) -> u16 {
    uri.port_u16().unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 })
}

/// Where discovery is: below the URL, unless that is it.
fn discovery_path(url: &Uri, version: TaxiiVersion) -> String {
    let path = url.path().trim_matches('/');
    let last = path.rsplit('/').next().unwrap_or_default();
    let step = match version {
        TaxiiVersion::V2_1 => "taxii2",
        TaxiiVersion::V2_0 => "taxii",
    };
    match (path, last) {
        ("", _) => format!("/{step}/"),
        (path, "taxii2" | "taxii") => format!("/{path}/"),
        (path, _) => format!("/{path}/{step}/"),
    }
}

/// `items 0-99/200`, its total unknown where it is `*`.
fn content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("items")?.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let number = |text: &str| text.trim().parse().ok();
    let total = match total.trim() {
        "*" => None,
        total => Some(number(total)?),
    };
    Some((number(first)?, number(last)?, total)).filter(|(_, last, _)| *last < u64::MAX)
}

/// RFC 3339 in UTC with microseconds, as TAXII writes times.
fn micros(time: Time) -> String {
    let text = Time { nanos: 0, ..time }.text();
    let whole = text.split('.').next().unwrap_or_default();
    format!("{whole}.{:06}Z", time.nanos / 1000)
}

fn before(time: Time, wait: Duration) -> Time {
    let nanos = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
    Time::from_ns(time.ns().saturating_sub(nanos))
}

/// Brackets are none of the characters that a query takes (RFC 3986, 3.4).
fn encoded_key(key: &str) -> String {
    key.replace('[', "%5B").replace(']', "%5D")
}

const ACCEPT_2_1: &str = "application/taxii+json;version=2.1";
const ACCEPT_2_0: &str = "application/vnd.oasis.taxii+json; version=2.0";
const ACCEPT_STIX_2_0: &str = "application/vnd.oasis.stix+json; version=2.0";
const DATE_ADDED_LAST: &str = "x-taxii-date-added-last";
const SECOND: Duration = Duration::from_secs(1);
/// Characters of a server's own words in an error.
const SAID_CHARS_MAX: usize = 200;

#[cfg(test)]
mod tests;
