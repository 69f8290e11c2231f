//! A vendor's own configuration keys, and their values for one exporter.

use std::collections::BTreeMap;
use std::fmt;

use zeroize::Zeroizing;

/// A configuration key that only one vendor has.
#[derive(Debug)]
pub struct Opt {
    /// The dotted key below the exporter.
    pub key: &'static str,
    /// Other accepted spellings.
    pub aliases: &'static [&'static str],
    /// What it takes.
    pub kind: Kind,
    /// The value where none is written, as YAML text; `None` is absent.
    pub default: Option<&'static str>,
    /// One sentence for the reference: meaning, unit, limit.
    pub about: &'static str,
}

/// A key with one spelling; tables name the others with `..opt(..)`.
#[must_use]
pub const fn opt(
    key: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    about: &'static str,
) -> Opt {
    Opt { key, aliases: &[], kind, default, about }
}

/// What a key takes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Text of at most this many bytes, without control characters.
    Text(usize),
    /// The same with line ends and tabs, such as a template.
    LongText(usize),
    /// A secret text.
    Secret,
    /// One absolute http or https URL.
    Url,
    /// One or more of them.
    Urls,
    /// One absolute http or https URL that is never shown, since it carries a key.
    SecretUrl,
    /// true or false.
    Bool,
    /// A whole number within these bounds.
    Int(u64, u64),
    /// A time span within these bounds in milliseconds, kept in milliseconds.
    Span(u64, u64),
    /// none, or a time span of at least so many milliseconds, kept in milliseconds.
    SpanOrNone(u64),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// One of these words, or a list of texts.
    ChoiceOrList(&'static [&'static str]),
    /// A list of texts.
    List,
    /// A UUID.
    Uuid,
    /// A map of anything, kept as the text of a JSON object of at most this many bytes.
    Object(usize),
    /// A list of maps from these names to texts.
    Maps(&'static [&'static str]),
}

/// A default that stands for the machine's host name; whoever fills in defaults replaces it.
pub const HOSTNAME: &str = "${hostname}";

/// A value of an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionValue {
    /// Text, a word, a URL, a UUID.
    Text(String),
    /// A secret.
    Secret(Secret),
    /// Yes or no.
    Bool(bool),
    /// A number.
    Int(u64),
    /// Several texts.
    List(Vec<String>),
    /// Several maps from name to text.
    Maps(Vec<Vec<(String, String)>>),
    /// The text of a JSON object that is never shown, since there are [`Self::Secrets`] in it.
    Object(Secret),
    /// Secrets that stand in something else, such as a header: for scrubbing alone.
    Secrets(Vec<Secret>),
}

/// The values of one exporter's own keys, defaults filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options(BTreeMap<&'static str, OptionValue>);

impl Options {
    /// Sets a value.
    pub fn set(&mut self, key: &'static str, value: OptionValue) {
        self.0.insert(key, value);
    }

    /// Lets two keys change their values; false where one has none.
    pub fn swap(&mut self, a: &'static str, b: &'static str) -> bool {
        let (Some(first), Some(second)) = (self.0.get(a).cloned(), self.0.get(b).cloned()) else {
            return false;
        };
        self.0.insert(a, second);
        self.0.insert(b, first);
        true
    }

    /// The others, without this one.
    #[must_use]
    pub fn without(&self, key: &str) -> Self {
        let others = self.0.iter().filter(|(other, _)| **other != key);
        Self(others.map(|(key, value)| (*key, value.clone())).collect())
    }

    /// The value of a key.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&OptionValue> {
        self.0.get(key)
    }

    /// The value of a key that takes text, or the printed form of a number or truth value.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<String> {
        match self.0.get(key)? {
            OptionValue::Text(text) => Some(text.clone()),
            OptionValue::Int(number) => Some(number.to_string()),
            OptionValue::Bool(yes) => Some(yes.to_string()),
            OptionValue::Secret(_)
            | OptionValue::Object(_)
            | OptionValue::Secrets(_)
            | OptionValue::List(_)
            | OptionValue::Maps(_) => None,
        }
    }

    /// Every value that has a text, with its key.
    pub fn texts(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.0.keys().filter_map(|&key| Some((key, self.text(key)?)))
    }

    /// The texts of a list, or the one text.
    #[must_use]
    pub fn list(&self, key: &str) -> Vec<&str> {
        match self.0.get(key) {
            Some(OptionValue::List(texts)) => texts.iter().map(String::as_str).collect(),
            Some(OptionValue::Text(text)) => vec![text],
            _ => Vec::new(),
        }
    }

    /// The maps of a key.
    #[must_use]
    pub fn maps(&self, key: &str) -> &[Vec<(String, String)>] {
        match self.0.get(key) {
            Some(OptionValue::Maps(maps)) => maps,
            _ => &[],
        }
    }

    /// The number of a key.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<u64> {
        match self.0.get(key)? {
            OptionValue::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// Whether the key is set to true.
    #[must_use]
    pub fn is_on(&self, key: &str) -> bool {
        self.0.get(key) == Some(&OptionValue::Bool(true))
    }

    /// Whether the key is set, and not to false or an empty text or list.
    #[must_use]
    pub fn is_set(&self, key: &str) -> bool {
        match self.0.get(key) {
            None | Some(OptionValue::Bool(false)) => false,
            Some(OptionValue::Text(text)) => !text.is_empty(),
            Some(OptionValue::List(texts)) => !texts.is_empty(),
            Some(OptionValue::Maps(maps)) => !maps.is_empty(),
            Some(OptionValue::Secret(secret) | OptionValue::Object(secret)) => {
                !secret.expose().is_empty()
            }
            Some(OptionValue::Secrets(secrets)) => !secrets.is_empty(),
            Some(OptionValue::Bool(true) | OptionValue::Int(_)) => true,
        }
    }

    /// The text of a key that takes a URL or an object, secret or not.
    #[must_use]
    pub fn url(&self, key: &str) -> Option<&str> {
        match self.0.get(key)? {
            OptionValue::Text(text) => Some(text),
            OptionValue::Secret(text) | OptionValue::Object(text) => Some(text.expose()),
            _ => None,
        }
    }

    /// Every secret, for scrubbing; of an object those in it.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.0.values().flat_map(|value| match value {
            OptionValue::Secret(secret) => std::slice::from_ref(secret),
            OptionValue::Secrets(secrets) => secrets.as_slice(),
            _ => &[],
        })
    }

    /// The secret of a key.
    #[must_use]
    pub fn secret(&self, key: &str) -> Option<&Secret> {
        match self.0.get(key)? {
            OptionValue::Secret(secret) => Some(secret),
            _ => None,
        }
    }
}

/// A mistake in an exporter's options.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct Problem {
    /// The key, below the exporter.
    pub key: String,
    /// What is wrong, what was expected, what to do.
    pub problem: String,
}

/// The mistake in this key.
pub fn problem(key: &str, problem: impl Into<String>) -> Problem {
    Problem { key: key.to_owned(), problem: problem.into() }
}

/// A text that is never printed and is wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes over a text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
