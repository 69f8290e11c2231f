//! A configuration as it is in effect: canonical names, defaults filled in, secrets masked.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

use super::value::{Value, Values, join};
use super::{Key, Kind, time};
use crate::deliver::Secret;

/// Every key with its value, without any secret.
#[derive(Clone, Debug, Default)]
pub struct Shown(BTreeMap<String, Piece>);

/// One value as YAML.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    text: String,
    /// Tells secrets apart within this process, and says nothing about them.
    mark: u64,
}

impl Shown {
    /// Notes the values of one table.
    pub(super) fn add(&mut self, table: &[Key], values: &Values) {
        // What an item of a list does not say may not even be allowed there.
        let is_item = values.place.ends_with(']');
        for key in table.iter().filter(|key| !is_item || values.has(key.path)) {
            let Some(value) = values.peek(key.path) else { continue };
            let mut mark = 0;
            if let Some(text) = text(key.kind, value, &mut mark) {
                let text = without(text, values.inside(key.path), &mut mark);
                self.0.insert(join(&values.place, key.path), Piece { text, mark });
            }
        }
    }

    /// The whole as YAML that could be read again, secrets aside.
    #[must_use]
    pub fn yaml(&self) -> String {
        let mut root = Tree::default();
        for (path, piece) in &self.0 {
            let mut tree = &mut root;
            for step in path.split('.').flat_map(|step| step.split_inclusive('[')) {
                tree = tree.below.entry(Step::parse(step)).or_default();
            }
            tree.text = Some(&piece.text);
        }
        let mut out = String::new();
        root.write(0, &mut out);
        out
    }

    /// Shows what another one has of some keys.
    pub fn keep(&mut self, other: &Self, is_kept: impl Fn(&str) -> bool) {
        self.0.retain(|key, _| !is_kept(key));
        let kept = other.0.iter().filter(|(key, _)| is_kept(key));
        self.0.extend(kept.map(|(key, piece)| (key.clone(), piece.clone())));
    }

    /// What is different in a newer one, a line for each key.
    #[must_use]
    pub fn changes(&self, newer: &Self) -> Vec<String> {
        let gone = self.0.keys().filter(|key| !newer.0.contains_key(*key));
        let mut lines: Vec<String> = gone.map(|key| format!("- {key}")).collect();
        for (key, piece) in &newer.0 {
            match self.0.get(key) {
                None => lines.push(format!("+ {key}: {}", piece.text)),
                Some(old) if old.text != piece.text => {
                    lines.push(format!("{key}: {} -> {}", old.text, piece.text));
                }
                Some(old) if old.mark != piece.mark => {
                    lines.push(format!("{key}: another secret"));
                }
                Some(_) => {}
            }
        }
        lines
    }
}

/// A step of a path: a name, or a position in a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Item(usize),
    Name(String),
}

impl Step {
    fn parse(text: &str) -> Self {
        let text = text.trim_end_matches('[');
        match text.strip_suffix(']').and_then(|number| number.parse().ok()) {
            Some(number) => Self::Item(number),
            None => Self::Name(text.to_owned()),
        }
    }
}

#[derive(Debug, Default)]
struct Tree<'a> {
    text: Option<&'a str>,
    below: BTreeMap<Step, Tree<'a>>,
}

impl Tree<'_> {
    fn write(&self, indent: usize, out: &mut String) {
        for (step, tree) in &self.below {
            out.push_str(&"  ".repeat(indent));
            match step {
                Step::Name(name) => {
                    out.push_str(name);
                    out.push(':');
                }
                Step::Item(_) => out.push('-'),
            }
            // `compression: gzip` says everything; the keys below it are another way to say it.
            match tree.text {
                Some(text) => {
                    out.push(' ');
                    out.push_str(text);
                    out.push('\n');
                }
                None => {
                    out.push('\n');
                    tree.write(indent + 1, out);
                }
            }
        }
    }
}

/// A value as YAML; nothing for pieces that other tables read.
fn text(kind: Kind, value: &Value, mark: &mut u64) -> Option<String> {
    Some(match (kind, value) {
        (Kind::IntOrAuto(..), Value::None) => "auto".to_owned(),
        (_, Value::None) => "none".to_owned(),
        (Kind::Url | Kind::Urls, Value::Text(url)) => quoted(without_query(url)),
        (Kind::Urls, Value::List(urls)) => flow(urls.iter().map(|url| quoted(without_query(url)))),
        (_, Value::Text(text)) => quoted(text),
        (_, Value::Secret(secret) | Value::Object(secret, _)) => masked(secret, mark),
        (_, Value::Bool(yes)) => yes.to_string(),
        (Kind::Span(..) | Kind::SpanOrNone(_), Value::Int(number)) => super::key::span(*number),
        (Kind::Size(..), Value::Int(bytes)) => super::key::size(*bytes),
        (Kind::Hundredths(..), Value::Int(number)) => {
            format!("{}.{:02}", number / 100, number % 100)
        }
        (Kind::Start, Value::Int(nanoseconds)) => quoted(&time::text(*nanoseconds)),
        (_, Value::Int(number)) => number.to_string(),
        (_, Value::List(texts)) => flow(texts.iter().map(|text| quoted(text))),
        (_, Value::Texts(pairs)) => {
            map(pairs.iter().map(|(name, text)| (name.as_str(), quoted(text))))
        }
        (_, Value::Secrets(pairs)) => {
            map(pairs.iter().map(|(name, secret)| (name.as_str(), masked(secret, mark))))
        }
        (_, Value::Maps(maps)) => flow(
            maps.iter()
                .map(|pairs| map(pairs.iter().map(|(name, text)| (name.as_str(), quoted(text))))),
        ),
        (kind, Value::Map(pairs)) => {
            let kind = match kind {
                Kind::Map(kind) => Kind::of(kind),
                kind => kind,
            };
            let shown =
                |(name, value): &(String, Value)| Some((name.clone(), text(kind, value, mark)?));
            let pairs: Vec<_> = pairs.iter().filter_map(shown).collect();
            map(pairs.iter().map(|(name, text)| (name.as_str(), text.clone())))
        }
        (_, Value::Mitre(rows)) => map(rows.iter().map(|row| {
            let words = [("tactic", &row.tactic), ("technique", &row.technique)];
            let words = words.into_iter().filter_map(|(name, word)| Some((name, word.as_ref()?)));
            (row.key.as_str(), map(words.map(|(name, word)| (name, quoted(word)))))
        })),
        (_, Value::Node(_)) => return None,
    })
}

fn masked(secret: &Secret, mark: &mut u64) -> String {
    note(secret, mark);
    "\"***\"".to_owned()
}

/// Lets one secret be told from another.
fn note(secret: &Secret, mark: &mut u64) {
    static KEYS: OnceLock<RandomState> = OnceLock::new();
    let keys = KEYS.get_or_init(RandomState::new);
    *mark = keys.hash_one((*mark, secret.expose()));
}

/// A value without the secrets that stand in it.
fn without(text: String, inside: &[Secret], mark: &mut u64) -> String {
    inside.iter().fold(text, |text, secret| {
        note(secret, mark);
        text.replace(&escaped(secret.expose()), "***")
    })
}

/// A URL's query may carry a key.
fn without_query(url: &str) -> &str {
    url.split('?').next().unwrap_or_default()
}

/// A double-quoted scalar.
fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text))
}

/// The text as it stands between double quotes.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    // Unescaped, a line end would be read as a space.
    text.replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t")
}

fn flow(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

fn map<'a>(pairs: impl Iterator<Item = (&'a str, String)>) -> String {
    let pairs = pairs.map(|(name, text)| format!("{}: {text}", quoted(name)));
    format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
}
