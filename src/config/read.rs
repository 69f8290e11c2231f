//! From a tree to the values of a table.

use super::expand::{Names, expand, name_host};
use super::key::one_of;
use super::mistake::nearest;
use super::parse::Parse;
use super::text::{self, Body, Entry, Node};
use super::value::{Found, Value, Values, join};
use super::{At, Default, Key, Kind, Mistake, Mistakes, Wrong};
use crate::deliver::Secret;

/// Reads what stands at a place by its table; every mistake is kept and reading goes on.
pub(super) fn read(
    node: &Node,
    place: &str,
    table: &[Key],
    names: &Names<'_>,
    mistakes: &mut Mistakes,
) -> Values {
    let mut values = Values::new(place, node.at.clone());
    let mut walk = Walk { table, names, values: &mut values, mistakes };
    match &node.body {
        Body::Map(entries) => walk.map(entries, ""),
        Body::Null | Body::Broken => {}
        _ => walk.expect_map(node, ""),
    }
    for key in table {
        if let Default::Is(text) = key.default {
            values.defaults.insert(key.path, default(key, text, names));
        }
    }
    names.shown.borrow_mut().add(table, &values);
    values
}

/// Adds the defaults of keys that cannot be written there and mean what they mean elsewhere.
pub(super) fn fill(values: &mut Values, table: &[Key], names: &Names<'_>) {
    for key in table {
        if let Default::Is(text) = key.default {
            let value = default(key, text, names);
            values.defaults.entry(key.path).or_insert(value);
        }
    }
}

struct Walk<'a, 'n> {
    table: &'a [Key],
    names: &'a Names<'n>,
    values: &'a mut Values,
    mistakes: &'a mut Mistakes,
}

impl Walk<'_, '_> {
    fn map(&mut self, entries: &[Entry], prefix: &str) {
        for entry in entries {
            if let Some((first, rest)) = entry.key.split_once('.') {
                let wrong = Wrong::Dotted { first: first.to_owned(), rest: rest.to_owned() };
                self.mistake(entry, prefix, wrong);
                continue;
            }
            let path = join(prefix, &entry.key);
            let key = self.table.iter().find(|key| key.spellings().any(|known| known == path));
            let is_step = self.table.iter().any(|key| key.spellings().any(|s| below(s, &path)));
            match (key, is_step, &entry.node.body) {
                (None, false, _) => {
                    let wrong = self.unknown(prefix, &entry.key);
                    self.mistake(entry, prefix, wrong);
                }
                (Some(key), _, Body::Null) if key.is_place() => {
                    let expected = key.kind.expected(&entry.key);
                    let found = "nothing".to_owned();
                    self.values.broken.insert(key.path);
                    self.mistake(entry, prefix, Wrong::Kind { expected, found });
                }
                (_, _, Body::Null) => {}
                (Some(key), _, Body::Broken) => {
                    self.values.broken.insert(key.path);
                }
                (_, _, Body::Broken) => {}
                (key, true, Body::Map(entries)) if key.is_none_or(|key| !key.kind.is_map()) => {
                    self.map(entries, &path);
                }
                (Some(key), _, _) => self.leaf(key, entry, path),
                (None, true, _) => self.expect_map(&entry.node, &path),
            }
        }
    }

    fn leaf(&mut self, key: &Key, entry: &Entry, spelling: String) {
        let place = join(&self.values.place, &spelling);
        let mut parse = Parse { names: self.names, mistakes: self.mistakes };
        let Some(mut value) = parse.value(key.kind, &entry.node, &place) else {
            self.values.broken.insert(key.path);
            return;
        };
        if let (true, Value::Bool(yes)) = (key.is_opposite(&spelling), &mut value) {
            *yes = !*yes;
        }
        let inside = inside(key.kind, &entry.node, &value);
        let at = entry.at.clone();
        if let Some(first) = self.values.written.get(key.path) {
            let from_flag = |at: &At| matches!(at, At::Flag(_));
            match (from_flag(&first.at), from_flag(&at)) {
                (true, false) => return,
                (false, true) => {}
                _ if first.value == value => return,
                _ => {
                    let other = join(&self.values.place, &first.spelling);
                    let wrong = Wrong::Conflict { other, at: first.at.clone() };
                    self.mistakes.add(Mistake::new(at, place, wrong));
                    return;
                }
            }
        }
        self.values.written.insert(key.path, Found { value, at, spelling, inside });
    }

    fn expect_map(&mut self, node: &Node, path: &str) {
        let expected = match self.steps(path).as_slice() {
            steps if steps.len() <= LISTED_MAX => {
                let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
                format!("a map with {}", one_of(&steps))
            }
            _ => "a map".to_owned(),
        };
        let wrong = Wrong::Kind { expected, found: node.word().to_owned() };
        let place = join(&self.values.place, path);
        self.mistakes.add(Mistake::new(node.at.clone(), place, wrong));
    }

    fn unknown(&self, prefix: &str, name: &str) -> Wrong {
        let spellings = || self.table.iter().flat_map(Key::spellings);
        let siblings = spellings().filter_map(|spelling| step(spelling, prefix));
        // The right word at the wrong level is the next best guess: `max_retries` for
        // `retry.max_retries`.
        let elsewhere = || {
            let key = self.table.iter().find(|key| key.path.rsplit('.').next() == Some(name))?;
            Some(join(&self.values.place, key.path))
        };
        if name == MERGE {
            return Wrong::Merge;
        }
        let nearest = nearest(name, siblings).or_else(elsewhere);
        let known = if nearest.is_none() { self.steps(prefix) } else { Vec::new() };
        Wrong::Unknown { nearest, known }
    }

    /// The canonical names that may follow a path, sorted.
    fn steps(&self, prefix: &str) -> Vec<String> {
        let steps = self.table.iter().filter_map(|key| step(key.path, prefix));
        let mut steps: Vec<String> = steps.map(str::to_owned).collect();
        steps.sort();
        steps.dedup();
        steps
    }

    fn mistake(&mut self, entry: &Entry, prefix: &str, wrong: Wrong) {
        let place = join(&self.values.place, &join(prefix, &entry.key));
        self.mistakes.add(Mistake::new(entry.at.clone(), place, wrong));
    }
}

/// The secrets that stand in a text; in a long one nobody needs to see a variable either.
fn inside(kind: Kind, node: &Node, value: &Value) -> Vec<Secret> {
    let is_word = matches!(
        kind,
        Kind::Choice(_) | Kind::ChoiceOrList(_) | Kind::Severity | Kind::Compression
    );
    let is_text = matches!(
        value,
        Value::Text(_) | Value::List(_) | Value::Texts(_) | Value::Maps(_) | Value::Map(_)
    );
    if is_word || !is_text {
        return Vec::new();
    }
    let is_long = matches!(kind, Kind::LongText(_));
    let parts = node.parts().into_iter().filter(|part| is_long || part.is_secret);
    parts.map(|part| part.text).collect()
}

/// The default of a row, as a value.
fn default(key: &Key, text: &str, names: &Names<'_>) -> Value {
    let mut mistakes = Mistakes::default();
    let mut node = text::parse_default(&name_host(text, names), &mut mistakes);
    expand(&mut node, &mut String::new(), names, &mut mistakes);
    let value = Parse { names, mistakes: &mut mistakes }.value(key.kind, &node, key.path);
    // A test reads every default of every table, so a bad one cannot be shipped.
    debug_assert!(mistakes.is_empty(), "the default of {} is wrong: {mistakes}", key.path);
    value.unwrap_or(Value::None)
}

/// Whether a dotted path lies below another.
fn below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.'))
}

/// The step that follows a prefix in a path.
fn step<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    let rest = match prefix.is_empty() {
        true => path,
        false => path.strip_prefix(prefix)?.strip_prefix('.')?,
    };
    rest.split('.').next()
}

/// What puts the keys of another map here, in YAML 1.1 alone.
const MERGE: &str = "<<";
/// Names that an error about a value's kind lists at most.
const LISTED_MAX: usize = 20;
