//! What one answer of a feed holds.
//!
//! Objects are read one by one, so that one that is wrong costs nothing but itself; one that is not
//! used is counted and not kept, since a page may be as long as `max_response_bytes`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hasher as _};

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::stix::{Object, Skip};

/// What one answer of a feed holds: an envelope of TAXII 2.1, or a bundle of STIX.
#[derive(Debug, Deserialize)]
pub struct Page<'a> {
    /// Whether there is more.
    #[serde(default)]
    pub more: bool,
    /// What to ask the next page by.
    #[serde(default, borrow)]
    pub next: Option<Cow<'a, str>>,
    /// What it tells.
    #[serde(default)]
    pub objects: Told,
}

/// The objects of a page that are used, and a count of those that are not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// In the order that they came in.
    pub objects: Vec<Object>,
    /// Those that are not used, by why.
    pub skipped: BTreeMap<Skip, u64>,
    /// The same for the same objects, in whatever order they came.
    pub(super) mark: u64,
}

impl Told {
    /// Whether it had no objects at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.skipped.is_empty()
    }

    /// How many objects it had, used or not.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.objects.len() as u64 + self.skipped.values().sum::<u64>()
    }

    /// Leaves out objects of other kinds than were asked for; markings are kept, since what they
    /// say of the others has to be known.
    pub(super) fn keep_kinds(&mut self, kinds: &[String]) {
        let before = self.objects.len();
        self.objects.retain(|object| match object {
            Object::Marking(..) => true,
            other => {
                let kind = other.id().split("--").next();
                kinds.iter().any(|it| Some(it.as_str()) == kind)
            }
        });
        let gone = before - self.objects.len();
        if gone > 0 {
            *self.skipped.entry(Skip::Kind).or_default() += gone as u64;
        }
    }
}

impl FromIterator<Result<Object, Skip>> for Told {
    fn from_iter<I: IntoIterator<Item = Result<Object, Skip>>>(objects: I) -> Self {
        let mut told = Self::default();
        for object in objects {
            match object {
                Ok(object) => told.objects.push(object),
                Err(reason) => *told.skipped.entry(reason).or_default() += 1,
            }
        }
        told
    }
}

impl<'de> Deserialize<'de> for Told {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Told;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of objects")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Told, A::Error> {
                let (mut error, mut mark) = (None, 0_u64);
                let next = std::iter::from_fn(|| match from.next_element::<&RawValue>() {
                    Ok(raw) => raw.map(|raw| {
                        mark = mark.wrapping_add(hash(raw.get()));
                        Object::parse(raw.get())
                    }),
                    Err(wrong) => {
                        error = Some(wrong);
                        None
                    }
                });
                let told = next.collect();
                error.map_or(Ok(Told { mark, ..told }), Err)
            }
        }
        from.deserialize_seq(Each)
    }
}

pub(super) fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}

/// Why an answer is no page.
#[derive(Debug, thiserror::Error)]
#[error("expected a JSON object with the member `objects`, as TAXII 2 answers: {0}")]
pub struct PageError(#[from] serde_json::Error);

impl<'a> Page<'a> {
    /// Reads an answer; an empty body is a page without objects.
    ///
    /// # Errors
    /// When it is no JSON object, or its members have other types.
    pub fn parse(body: &'a [u8]) -> Result<Self, PageError> {
        if body.trim_ascii().is_empty() {
            return Ok(Self { more: false, next: None, objects: Told::default() });
        }
        Ok(serde_json::from_slice(body)?)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const INDICATOR: &str = r#"{"type":"indicator","id":"indicator--1",
        "created":"2026-01-01T00:00:00Z","pattern":"[domain-name:value = 'evil.example']"}"#;

    #[test]
    fn objects_that_are_not_used_cost_a_count() {
        let body = format!(r#"{{"objects":[0{}]}}"#, ",0".repeat(99_999));
        let told = Page::parse(body.as_bytes()).expect("a page").objects;
        assert_eq!(told.skipped, BTreeMap::from([(Skip::Malformed, 100_000)]));
        assert_eq!((told.objects.capacity(), told.count()), (0, 100_000));
    }

    #[test]
    fn kinds_that_were_not_asked_for_are_left_out() {
        let malware = json!({ "type": "malware", "id": "malware--1", "name": "Ivy",
            "created": "2026-01-01T00:00:00Z" });
        let statement = json!({ "type": "marking-definition", "id": "marking-definition--1",
            "definition": { "statement": "(c)" } });
        let objects = [INDICATOR, &malware.to_string(), &statement.to_string()].map(Object::parse);
        let mut told: Told = objects.into_iter().collect();
        told.keep_kinds(&["indicator".to_owned()]);
        let ids: Vec<_> = told.objects.iter().map(|it| it.id().split('-').next()).collect();
        assert_eq!(ids, [Some("indicator"), Some("marking")]);
        assert_eq!(told.skipped, BTreeMap::from([(Skip::Kind, 1)]));
    }

    #[test]
    fn one_bad_object_costs_nothing_but_itself() {
        let body = format!(r#"{{"more":true,"next":"5","objects":[{INDICATOR},7,[],null]}}"#);
        let page = Page::parse(body.as_bytes()).expect("a page");
        assert_eq!((page.more, page.next.as_deref()), (true, Some("5")));
        let told = page.objects;
        assert_eq!((told.objects.len(), told.count()), (1, 4));
    }

    #[test]
    fn the_same_objects_are_known_by_their_mark() {
        let mark = |body: &str| Page::parse(body.as_bytes()).expect("a page").objects.mark;
        let both = mark(r#"{"objects":[{"id":1},{"id":2}]}"#);
        assert_eq!(mark(r#"{"generated":"now","objects":[{"id":2},{"id":1}]}"#), both);
        assert_ne!(mark(r#"{"objects":[{"id":1},{"id":3}]}"#), both);
        assert_ne!(mark(r#"{"objects":[{"id":1}]}"#), both);
    }

    #[test]
    fn a_page_may_be_empty_and_is_an_object() {
        for empty in ["", " \n", "{}", r#"{"objects":[]}"#] {
            assert!(Page::parse(empty.as_bytes()).expect(empty).objects.is_empty());
        }
        for other in ["[", "7", r#"{"objects":{}}"#, "<html>"] {
            let error = Page::parse(other.as_bytes()).expect_err(other).to_string();
            assert!(error.starts_with("expected a JSON object"), "{error}");
        }
        // What ignores members nested without end must not use up the stack.
        let deep = format!(r#"{{"x":{}1{}}}"#, "[".repeat(200_000), "]".repeat(200_000));
        let _either = Page::parse(deep.as_bytes());
        let deep = format!(r#"{{"objects":[{}1{}]}}"#, "[".repeat(200_000), "]".repeat(200_000));
        let page = Page::parse(deep.as_bytes()).map(|page| page.objects.count());
        assert!(page.is_err() || page.is_ok_and(|count| count == 1));
    }
}
