//! The values of one table, as its rows' kinds made them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::text::Node;
use super::{At, Key, Mistake, Mistakes, Wrong};
use crate::deliver::Secret;
use crate::event::Technique;

/// One value.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// The word that says there is none: `none`, `auto`.
    None,
    /// A text or word.
    Text(String),
    /// A text that is never shown.
    Secret(Secret),
    /// true or false.
    Bool(bool),
    /// A number; spans are in milliseconds, sizes in bytes, times in nanoseconds since 1970.
    Int(u64),
    /// A JSON object in which something came by reference, and that.
    Object(Secret, Vec<Secret>),
    /// Texts in order.
    List(Vec<String>),
    /// Named texts in order.
    Texts(Vec<(String, String)>),
    /// Named secrets in order.
    Secrets(Vec<(String, Secret)>),
    /// Several maps of named texts.
    Maps(Vec<Vec<(String, String)>>),
    /// Named values in order.
    Map(Vec<(String, Value)>),
    /// ATT&CK by guard or event type.
    Mitre(Vec<Technique>),
    /// Something that another table reads.
    Node(Node),
}

impl PartialEq for Value {
    /// Whether two spellings of a key say the same; pieces for other tables never do.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None) => true,
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Secret(a), Self::Secret(b)) => a == b,
            (Self::Object(a, _), Self::Object(b, _)) => a == b,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::List(a), Self::List(b)) => a == b,
            (Self::Texts(a), Self::Texts(b)) => a == b,
            (Self::Secrets(a), Self::Secrets(b)) => a == b,
            (Self::Map(a), Self::Map(b)) => a == b,
            (Self::Maps(a), Self::Maps(b)) => a == b,
            _ => false,
        }
    }
}

/// A value that was written.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) value: Value,
    pub(super) at: At,
    /// The spelling that was used.
    pub(super) spelling: String,
    /// Secrets that stand in it, where it is none itself.
    pub(super) inside: Vec<Secret>,
}

/// The values of one table at one place.
#[derive(Debug)]
pub(super) struct Values {
    /// The dotted path of the place, empty at the top.
    pub(super) place: String,
    /// Where the place stands.
    pub(super) at: At,
    pub(super) written: BTreeMap<&'static str, Found>,
    pub(super) defaults: BTreeMap<&'static str, Value>,
    /// Keys whose value is a mistake that was told.
    pub(super) broken: BTreeSet<&'static str>,
    /// Keys that somebody asked for: a key that nobody asks for would be accepted without effect.
    asked: RefCell<BTreeSet<&'static str>>,
}

impl Values {
    pub(super) fn new(place: &str, at: At) -> Self {
        Self {
            place: place.to_owned(),
            at,
            written: BTreeMap::new(),
            defaults: BTreeMap::new(),
            broken: BTreeSet::new(),
            asked: RefCell::default(),
        }
    }

    /// The value of a key, or its default.
    pub(super) fn value(&self, key: &'static str) -> Option<&Value> {
        self.asked.borrow_mut().insert(key);
        match self.written.get(key) {
            Some(found) => Some(&found.value),
            None => self.defaults.get(key),
        }
    }

    /// The same, without asking for it: for people.
    pub(super) fn peek(&self, key: &str) -> Option<&Value> {
        self.written.get(key).map(|found| &found.value).or_else(|| self.defaults.get(key))
    }

    /// Secrets that stand in a value, for people.
    pub(super) fn inside(&self, key: &str) -> &[Secret] {
        self.written.get(key).map_or(&[], |found| &found.inside)
    }

    /// Secrets that stand in values which are none themselves.
    pub(super) fn all_inside(&self) -> impl Iterator<Item = &Secret> {
        self.written.values().flat_map(|found| &found.inside)
    }

    /// Whether a key was written, for people.
    pub(super) fn has(&self, key: &str) -> bool {
        self.written.contains_key(key)
    }

    /// Whether a key was written, even if wrongly.
    pub(super) fn is_written(&self, key: &'static str) -> bool {
        self.asked.borrow_mut().insert(key);
        self.written.contains_key(key) || self.broken.contains(key)
    }

    pub(super) fn text(&self, key: &'static str) -> Option<String> {
        match self.value(key)? {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        }
    }

    pub(super) fn path(&self, key: &'static str) -> Option<PathBuf> {
        self.text(key).map(PathBuf::from)
    }

    pub(super) fn is_on(&self, key: &'static str) -> bool {
        matches!(self.value(key), Some(Value::Bool(true)))
    }

    pub(super) fn int(&self, key: &'static str) -> Option<u64> {
        match self.value(key)? {
            Value::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// A number that fits the type, since its row bounds it.
    pub(super) fn number<T: TryFrom<u64>>(&self, key: &'static str) -> Option<T> {
        self.int(key).and_then(|number| T::try_from(number).ok())
    }

    pub(super) fn span(&self, key: &'static str) -> Option<Duration> {
        self.int(key).map(Duration::from_millis)
    }

    pub(super) fn texts(&self, key: &'static str) -> Vec<(String, String)> {
        match self.value(key) {
            Some(Value::Texts(pairs)) => pairs.clone(),
            _ => Vec::new(),
        }
    }

    pub(super) fn secrets(&self, key: &'static str) -> Vec<(String, Secret)> {
        match self.value(key) {
            Some(Value::Secrets(pairs)) => pairs.clone(),
            _ => Vec::new(),
        }
    }

    pub(super) fn node(&self, key: &'static str) -> Option<&Node> {
        match self.value(key)? {
            Value::Node(node) => Some(node),
            _ => None,
        }
    }

    /// What is written in a file under another spelling, for people.
    pub(super) fn conversions(&self) -> Vec<String> {
        let other = |(key, found): (&&'static str, &Found)| match found.at {
            At::Place { .. } if found.spelling != **key => {
                let place = join(&self.place, &found.spelling);
                Some(format!("{}: {place} is read as `{key}`", found.at))
            }
            _ => None,
        };
        self.written.iter().filter_map(other).collect()
    }

    /// The place of a key for people: where it is written, and its spelling there.
    pub(super) fn place_of(&self, key: &str) -> String {
        match self.written.get(key) {
            Some(found) => format!("{}: {}", found.at, join(&self.place, &found.spelling)),
            None => join(&self.place, key),
        }
    }

    /// Where a key is written, else where the table is.
    pub(super) fn at_of(&self, key: &str) -> At {
        self.written.get(key).map_or(&self.at, |found| &found.at).clone()
    }

    /// A mistake at a key: where it is written, else at the place of the table.
    pub(super) fn mistake(&self, key: &str, wrong: Wrong, mistakes: &mut Mistakes) {
        let (at, spelling) = match self.written.get(key) {
            Some(found) => (found.at.clone(), found.spelling.as_str()),
            None => (self.at.clone(), key),
        };
        mistakes.add(Mistake::new(at, join(&self.place, spelling), wrong));
    }

    /// The keys of the table that nobody asked for.
    pub(super) fn unasked(&self, table: &[Key]) -> Vec<&'static str> {
        let asked = self.asked.borrow();
        table.iter().map(|key| key.path).filter(|path| !asked.contains(path)).collect()
    }
}

/// A dotted path one step longer.
pub(super) fn join(place: &str, step: &str) -> String {
    match (place.is_empty(), step.is_empty()) {
        (true, _) => step.to_owned(),
        (_, true) => place.to_owned(),
        _ => format!("{place}.{step}"),
    }
}
