//! What Elasticsearch answers: bulk answers item by item, errors, health.
//!
//! Bulk API, <https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-bulk>.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, IgnoredAny, MapAccess, Visitor};

use crate::deliver::{
    Cause, Fate, ItemFate, Pace, Reason, Response, Scope, Verdict, ambiguous, quote,
};

/// Reads the answer to a bulk request.
///
/// "200 with `errors:true` is normal": the items tell each event's fate, by position.
pub(super) fn read_bulk(response: &Response<'_>) -> Option<Verdict> {
    match response.status {
        200 => Some(read_items(response)),
        // A block on the cluster is no matter of credentials; older servers say 403 for it.
        403 if error_type(response.body).is_some_and(|kind| kind == CLUSTER_BLOCK) => {
            Some(Verdict::new(Fate::Retry, "unavailable").at(Pace::Pause(None)))
        }
        // An older server does not know a parameter that the configuration asks for.
        400 if words(response.body).is_some_and(|words| words.says("unrecognized parameter")) => {
            let hold = Fate::Hold { cause: Cause::Config, scope: Scope::Exporter };
            Some(Verdict::new(hold, "config"))
        }
        _ => None,
    }
}

/// Reads the answer to a cluster health request: red is ill, yellow is fine.
pub(super) fn read_health(response: &Response<'_>) -> Option<Verdict> {
    #[derive(Deserialize)]
    struct Health<'a> {
        #[serde(borrow)]
        status: Cow<'a, str>,
    }
    // All that a receiver without a cluster has to say (Fluent Bit 5.1.1).
    if response.status != 200 || response.body.trim_ascii() == b"{}" {
        return None;
    }
    let Ok(health) = serde_json::from_slice::<Health<'_>>(response.body) else {
        return Some(ambiguous("the answer has no cluster status".to_owned()));
    };
    if health.status != "red" {
        return None;
    }
    let hold = Fate::Hold { cause: Cause::Outage, scope: Scope::Exporter };
    let mut verdict = Verdict::new(hold, "unavailable");
    "cluster health is red: primary shards are missing".clone_into(&mut verdict.reason.detail);
    Some(verdict)
}

/// The type of a request's error.
pub(super) fn error_type(body: &[u8]) -> Option<Cow<'_, str>> {
    words(body)?.kind
}

/// A request's error: `{"error":{"type":..,"reason":..},"status":..}`.
fn words(body: &[u8]) -> Option<Words<'_>> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        error: Words<'a>,
    }
    serde_json::from_slice::<Body<'_>>(body).ok().map(|body| body.error)
}

/// One fate per item.
///
/// Nearly all items of an answer are the same bytes (`{"create":{"status":201}}`), so an item whose
/// bytes equal those of the item before it is not read again.
fn read_items(response: &Response<'_>) -> Verdict {
    let mut walk = Walk { body: response.body, at: 0 };
    let Some(fates) = walk.answer(response) else {
        return ambiguous("the answer is no bulk answer".to_owned());
    };
    if fates.count != response.events {
        return ambiguous(format!("{} items for {} events", fates.count, response.events));
    }
    let Some(items) = fates.items else {
        return Verdict::new(Fate::Delivered, "accepted");
    };
    let busy =
        items.iter().any(|item| matches!(item, ItemFate::Retry(why) if why.class == "throttled"));
    let pace = if busy { Pace::Ease } else { Pace::Keep };
    Verdict::new(Fate::Items(items), "accepted").at(pace)
}

/// The fates so far; `items` is only there once one is not [`ItemFate::Delivered`].
#[derive(Default)]
struct Fates {
    count: usize,
    items: Option<Vec<ItemFate>>,
}

impl Fates {
    fn push(&mut self, fate: ItemFate) {
        self.count += 1;
        match &mut self.items {
            Some(items) => items.push(fate),
            None if fate == ItemFate::Delivered => {}
            None => {
                let mut items = vec![ItemFate::Delivered; self.count - 1];
                items.push(fate);
                self.items = Some(items);
            }
        }
    }
}

/// A walk over the answer's members and items, without a tree.
struct Walk<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Walk<'a> {
    /// The whole answer: an object with `items`.
    fn answer(&mut self, response: &Response<'_>) -> Option<Fates> {
        let mut fates = None;
        if !self.eat(b'{') {
            return None;
        }
        loop {
            let key: Cow<'a, str> = self.value::<Text<'a>>()?.0;
            if !self.eat(b':') {
                return None;
            }
            if key == "items" && fates.is_none() {
                fates = Some(self.items(response)?);
            } else {
                self.value::<IgnoredAny>()?;
            }
            if self.eat(b',') {
                continue;
            }
            let ends = self.eat(b'}') && self.rest().is_empty();
            return fates.filter(|_| ends);
        }
    }

    fn items(&mut self, response: &Response<'_>) -> Option<Fates> {
        let mut fates = Fates::default();
        if !self.eat(b'[') {
            return None;
        }
        if self.eat(b']') {
            return Some(fates);
        }
        let (mut last, mut fate): (&[u8], _) = (b"", ItemFate::Delivered);
        // One more item than events is already one too many: the walk need not see the others.
        while fates.count <= response.events {
            if !last.is_empty() && self.body[self.at..].starts_with(last) {
                self.at += last.len();
            } else {
                self.rest();
                let start = self.at;
                let item = self.value::<Item<'a>>()?;
                last = &self.body[start..self.at];
                fate = item_fate(&item, response);
            }
            fates.push(fate.clone());
            if self.eat(b',') {
                continue;
            }
            return self.eat(b']').then_some(fates);
        }
        Some(fates)
    }

    /// Skips white space; what follows.
    fn rest(&mut self) -> &'a [u8] {
        let rest = self.body[self.at..].trim_ascii_start();
        self.at = self.body.len() - rest.len();
        rest
    }

    fn eat(&mut self, byte: u8) -> bool {
        let is_next = self.rest().first() == Some(&byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn value<T: Deserialize<'a>>(&mut self) -> Option<T> {
        let rest = self.rest();
        let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<T>();
        let value = values.next()?.ok()?;
        self.at += values.byte_offset();
        Some(value)
    }
}

/// The fate of one item (`elastic.md`, Wire).
fn item_fate(item: &Item<'_>, response: &Response<'_>) -> ItemFate {
    let words = item.error.as_ref();
    let kind = words.and_then(|words| words.kind.as_deref()).unwrap_or("");
    let text = words.and_then(|words| words.reason.as_deref()).unwrap_or("");
    let why = |class| {
        let detail = quote(format!("{kind}: {text}").as_bytes(), response.options);
        Reason::new(class, item.status, detail)
    };
    match item.status {
        200..=299 if item.failure_store.as_deref() == Some("used") => ItemFate::Degraded,
        200..=299 => ItemFate::Delivered,
        // `create` found the id: an earlier attempt, or an earlier run, brought it.
        409 if kind.is_empty() || kind == "version_conflict_engine_exception" => {
            ItemFate::Duplicate
        }
        429 => ItemFate::Retry(why("throttled")),
        _ if BUSY.contains(&kind) => ItemFate::Retry(why("throttled")),
        _ if kind == CLUSTER_BLOCK || kind == "unavailable_shards_exception" => {
            ItemFate::Retry(why("unavailable"))
        }
        409 | 500..=599 => ItemFate::Retry(why("unavailable")),
        401 | 403 => ItemFate::Hold(Cause::Auth, why("auth")),
        404 => ItemFate::Hold(Cause::Config, why("config")),
        _ if is_about_setup(kind, text) => ItemFate::Hold(Cause::Config, why("config")),
        _ => ItemFate::Reject(why("rejected")),
    }
}

/// Whether an error says that the cluster is not set up for us, rather than that the event is bad.
///
/// These come as 400 for every event alike; giving the events up would lose all of them for one
/// mistake of an operator: a closed index, no shard left at midnight, a pipeline's name, an alias
/// over indices none of which takes writes.
fn is_about_setup(kind: &str, reason: &str) -> bool {
    kind == "index_closed_exception"
        || kind == "validation_exception"
        || reason.starts_with("pipeline with id [")
        || reason.contains("maximum normal shards open")
        || reason.contains("no write index is defined for alias [")
}

/// One element of `items`: the operation's name and its result.
struct Item<'a> {
    status: u16,
    error: Option<Words<'a>>,
    failure_store: Option<Cow<'a, str>>,
}

/// The inside of an item.
#[derive(Deserialize)]
struct ItemBody<'a> {
    status: u16,
    #[serde(borrow, default)]
    error: Option<Words<'a>>,
    #[serde(borrow, default)]
    failure_store: Option<Text<'a>>,
}

/// An error: its type and reason.
#[derive(Deserialize)]
struct Words<'a> {
    #[serde(borrow, default, rename = "type", deserialize_with = "optional_text")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "optional_text")]
    reason: Option<Cow<'a, str>>,
}

impl Words<'_> {
    fn says(&self, text: &str) -> bool {
        self.reason.as_deref().is_some_and(|reason| reason.contains(text))
    }
}

/// A string, borrowed where it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn optional_text<'de, D: de::Deserializer<'de>>(
    from: D,
) -> Result<Option<Cow<'de, str>>, D::Error> {
    Ok(Option::<Text<'de>>::deserialize(from)?.map(|text| text.0))
}

impl<'de> Deserialize<'de> for Item<'de> {
    fn deserialize<D: de::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct One;
        impl<'de> Visitor<'de> for One {
            type Value = Item<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with one member, named after the operation")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Item<'de>, A::Error> {
                let entry = map.next_entry::<IgnoredAny, ItemBody<'de>>()?;
                let (_, body) = entry.ok_or_else(|| de::Error::invalid_length(0, &self))?;
                if map.next_key::<IgnoredAny>()?.is_some() {
                    return Err(de::Error::invalid_length(2, &self));
                }
                let failure_store = body.failure_store.map(|text| text.0);
                Ok(Item { status: body.status, error: body.error, failure_store })
            }
        }
        from.deserialize_map(One)
    }
}

/// What a read-only or not yet recovered index or cluster answers.
const CLUSTER_BLOCK: &str = "cluster_block_exception";

/// Errors that say "not now", whatever the status beside them.
const BUSY: &[&str] = &["es_rejected_execution_exception", "circuit_breaking_exception"];
