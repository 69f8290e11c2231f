//! From one node to one value of the kind that a row asks for.

use std::path::Path;

use http::Uri;
use http::uri::Authority;
use zeroize::Zeroizing;

use super::expand::Names;
use super::key::{ENCODINGS, SEVERITIES, SIZES, Unit};
use super::mistake::nearest;
use super::text::{Body, Entry, Node, Scalar};
use super::time;
use super::value::{Value, join};
use super::{Kind, Mistake, Mistakes, Wrong};
use crate::deliver::Secret;
use crate::event::{FieldId, Severity, Technique};

/// Makes values, and keeps what is wrong with them.
pub(super) struct Parse<'a, 'n> {
    pub(super) names: &'a Names<'n>,
    pub(super) mistakes: &'a mut Mistakes,
}

impl Parse<'_, '_> {
    /// The value of a node, or a mistake and nothing.
    pub(super) fn value(&mut self, kind: Kind, node: &Node, path: &str) -> Option<Value> {
        match (kind, &node.body) {
            (_, Body::Broken) => None,
            (Kind::Inputs, Body::List(_)) | (Kind::Exporters, Body::Map(_) | Body::List(_)) => {
                Some(Value::Node(node.clone()))
            }
            (
                Kind::Routes | Kind::Patterns | Kind::Tokens | Kind::Hooks | Kind::Servers,
                Body::List(_),
            ) => Some(Value::Node(node.clone())),
            (Kind::Object(max), Body::Map(_)) => self.object(max, node, path),
            (Kind::Texts, Body::Map(_)) => self.texts(node, path).map(Value::Texts),
            (Kind::Mappings, Body::Map(_)) => self.mappings(node, path).map(Value::Texts),
            (Kind::Secrets, Body::Map(_)) => self.secrets(node, path).map(Value::Secrets),
            (Kind::Maps(names), Body::List(nodes)) => {
                self.maps(names, nodes, path).map(Value::Maps)
            }
            (Kind::Map(kind), Body::Map(entries)) => {
                self.map(Kind::of(kind), entries, path).map(Value::Map)
            }
            (Kind::Mitre, Body::Map(_)) => self.mitre(node, path).map(Value::Mitre),
            (Kind::Urls, Body::List(nodes)) if nodes.is_empty() => {
                // Not the address where none is written: that may be another destination.
                let (expected, found) = (kind.expected(path), "an empty list".to_owned());
                self.wrong(node, path, Wrong::Kind { expected, found })
            }
            (Kind::List | Kind::Urls | Kind::ChoiceOrList(_), Body::List(nodes)) => {
                self.list(kind, nodes, path).map(Value::List)
            }
            (Kind::List, Body::Scalar(_)) => {
                self.list(kind, std::slice::from_ref(node), path).map(Value::List)
            }
            (_, Body::Scalar(scalar)) => self.scalar(kind, scalar, node, path),
            _ => self.wrong(node, path, kind_wrong(kind, node, path)),
        }
    }

    fn scalar(&mut self, kind: Kind, scalar: &Scalar, node: &Node, path: &str) -> Option<Value> {
        let text = scalar.text.as_str();
        let value = match kind {
            Kind::Secret => return self.secret(scalar, node, path).map(Value::Secret),
            Kind::SecretUrl => {
                let secret = self.secret(scalar, node, path)?;
                return match url_problem(secret.expose(), true) {
                    None => Some(Value::Secret(secret)),
                    Some(problem) => {
                        let (expected, found) = (kind.expected(path), problem.to_owned());
                        self.wrong(node, path, Wrong::Kind { expected, found })
                    }
                };
            }
            Kind::Proxy => match text {
                "none" | "env" => Some(Value::Text(text.to_owned())),
                url => url_problem(url, true)
                    .is_none()
                    .then(|| Value::Secret(Secret::new(url.to_owned()))),
            },
            Kind::Url | Kind::Urls => match url_problem(text, false) {
                None => Some(Value::Text(text.to_owned())),
                Some(problem) => {
                    let wrong =
                        Wrong::Kind { expected: kind.expected(path), found: problem.to_owned() };
                    return self.wrong(node, path, wrong);
                }
            },
            Kind::LongText(max) => {
                let is_plain = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
                let fits = text.len() <= max && text.chars().all(is_plain);
                fits.then(|| Value::Text(text.to_owned()))
            }
            Kind::Text(max) => is_text(text, max).then(|| Value::Text(text.to_owned())),
            Kind::Path if text == "~" || text.starts_with("~/") => {
                // A directory of that name would be made, and nothing found in it.
                return self.wrong(node, path, Wrong::Rule(NO_HOME.to_owned()));
            }
            Kind::Path => {
                let fits = !text.is_empty() && is_text(text, PATH_BYTES_MAX);
                fits.then(|| Value::Text(text.to_owned()))
            }
            Kind::Uuid => is_uuid(text).then(|| Value::Text(text.to_owned())),
            Kind::Version => is_version(text).then(|| Value::Text(text.to_owned())),
            Kind::Bool => truth(text).map(Value::Bool),
            Kind::Int(min, max) => whole(text, min, max).map(Value::Int),
            Kind::IntOrAuto(..) if text == "auto" => Some(Value::None),
            Kind::IntOrAuto(min, max) => whole(text, min, max).map(Value::Int),
            Kind::Hundredths(min, max) => hundredths(text, min, max).map(Value::Int),
            Kind::Size(min, max) => {
                size(text).filter(|bytes| (min..=max).contains(bytes)).map(Value::Int)
            }
            Kind::Span(min, max) => {
                let span = span(text, Unit::of_key(path));
                span.filter(|span| (min..=max).contains(span)).map(Value::Int)
            }
            Kind::SpanOrNone(_) if text == "none" => Some(Value::None),
            Kind::SpanOrNone(min) => {
                span(text, Unit::of_key(path)).filter(|&span| span >= min).map(Value::Int)
            }
            Kind::Choice(words) | Kind::ChoiceOrList(words) => {
                words.contains(&text).then(|| Value::Text(text.to_owned()))
            }
            Kind::Severity if text == "none" => Some(Value::None),
            Kind::Severity => {
                let severity = Severity::parse(text.as_bytes());
                severity.map(|severity| Value::Text(severity.word().to_owned()))
            }
            Kind::Start => match text {
                "earliest" | "latest" => Some(Value::Text(text.to_owned())),
                text => time::parse(text).map(Value::Int),
            },
            Kind::Compression => match truth(text) {
                Some(yes) => Some(Value::Bool(yes)),
                None => ENCODINGS.contains(&text).then(|| Value::Text(text.to_owned())),
            },
            _ => None,
        };
        match value {
            Some(value) => Some(value),
            None => self.wrong(node, path, kind_wrong(kind, node, path)),
        }
    }

    /// A secret: the text, or the content of the file that it names.
    fn secret(&mut self, scalar: &Scalar, node: &Node, path: &str) -> Option<Secret> {
        let text = scalar.text.as_str();
        let file = text.strip_prefix('@').or_else(|| text.strip_prefix("file:"));
        let text = match file {
            // A reference's own text is never read as another reference.
            Some(file) if !scalar.expanded && file.starts_with('/') => {
                match self.names.file(Path::new(file)) {
                    Ok(text) => text,
                    Err(wrong) => return self.wrong(node, path, wrong),
                }
            }
            _ => scalar.text.clone(),
        };
        let is_usable = !text.is_empty() && !text.chars().any(char::is_control);
        if !is_usable {
            let found = match text.is_empty() {
                true => "an empty one".to_owned(),
                false => "one with control characters, such as a line end".to_owned(),
            };
            return self.wrong(node, path, Wrong::Kind { expected: "a secret text".into(), found });
        }
        Some(Secret::new(text.as_str().to_owned()))
    }

    fn list(&mut self, kind: Kind, nodes: &[Node], path: &str) -> Option<Vec<String>> {
        if nodes.len() > LIST_MAX {
            let wrong = Wrong::TooLarge { what: "values", max: LIST_MAX };
            return self.wrong(&nodes[LIST_MAX], path, wrong);
        }
        let item = match kind {
            Kind::Urls => Kind::Url,
            _ => Kind::Text(TEXT_BYTES_MAX),
        };
        let mut texts = Vec::with_capacity(nodes.len());
        let mut is_whole = true;
        for (n, node) in nodes.iter().enumerate() {
            match self.value(item, node, &format!("{path}[{n}]")) {
                Some(Value::Text(text)) => texts.push(text),
                _ => is_whole = false,
            }
        }
        is_whole.then_some(texts)
    }

    fn texts(&mut self, node: &Node, path: &str) -> Option<Vec<(String, String)>> {
        self.pairs(node, path, |this, node, path| {
            match this.value(Kind::Text(TEXT_BYTES_MAX), node, path)? {
                Value::Text(text) => Some(text),
                _ => None,
            }
        })
    }

    fn mappings(&mut self, node: &Node, path: &str) -> Option<Vec<(String, String)>> {
        if let Body::Map(entries) = &node.body {
            for entry in entries.iter().filter(|entry| FieldId::parse(&entry.key).is_none()) {
                let paths = FieldId::ALL.iter().map(|field| field.path());
                let nearest = nearest(&entry.key, paths);
                let wrong = match nearest {
                    Some(near) => format!("no field of an event; did you mean `{near}`?"),
                    None => "no field of an event; `shrike vendors` lists none, see the event's \
                             reference"
                        .to_owned(),
                };
                let place = join(path, &entry.key);
                self.mistakes.add(Mistake::new(entry.at.clone(), place, Wrong::Rule(wrong)));
            }
        }
        let pairs = self.texts(node, path)?;
        Some(pairs.into_iter().filter(|(from, _)| FieldId::parse(from).is_some()).collect())
    }

    fn secrets(&mut self, node: &Node, path: &str) -> Option<Vec<(String, Secret)>> {
        self.pairs(node, path, |this, node, path| match this.value(Kind::Secret, node, path)? {
            Value::Secret(secret) => Some(secret),
            _ => None,
        })
    }

    fn mitre(&mut self, node: &Node, path: &str) -> Option<Vec<Technique>> {
        let pairs = self.pairs(node, path, |this, node, path| match &node.body {
            Body::Map(_) => this.texts(node, path).map(|pairs| (node.clone(), pairs)),
            _ => {
                let found = node.word().to_owned();
                let expected = "a map with tactic or technique".to_owned();
                this.wrong(node, path, Wrong::Kind { expected, found })
            }
        })?;
        let mut list = Vec::with_capacity(pairs.len());
        for (name, (node, pairs)) in pairs {
            let mut row = Technique { key: name, tactic: None, technique: None };
            for (key, text) in pairs {
                match key.as_str() {
                    "tactic" => row.tactic = Some(text),
                    "technique" => row.technique = Some(text),
                    key => {
                        let known = vec!["tactic".to_owned(), "technique".to_owned()];
                        let nearest = nearest(key, known.iter().map(String::as_str));
                        let at = node.below(key).map_or(&node.at, |node| &node.at).clone();
                        let place = join(&join(path, &row.key), key);
                        self.mistakes.add(Mistake::new(
                            at,
                            place,
                            Wrong::Unknown { nearest, known },
                        ));
                    }
                }
            }
            list.push(row);
        }
        Some(list)
    }

    fn maps(
        &mut self,
        names: &[&str],
        nodes: &[Node],
        path: &str,
    ) -> Option<Vec<Vec<(String, String)>>> {
        let mut maps = Vec::with_capacity(nodes.len());
        for (n, node) in nodes.iter().enumerate() {
            let path = format!("{path}[{n}]");
            let Body::Map(entries) = &node.body else {
                let expected = format!("a map with {}", super::key::one_of(names));
                let wrong = Wrong::Kind { expected, found: node.word().to_owned() };
                self.wrong::<()>(node, &path, wrong);
                continue;
            };
            for entry in entries.iter().filter(|entry| !names.contains(&entry.key.as_str())) {
                let nearest = nearest(&entry.key, names.iter().copied());
                let known = names.iter().map(|&name| name.to_owned()).collect();
                let known = if nearest.is_none() { known } else { Vec::new() };
                let wrong = Wrong::Unknown { nearest, known };
                let place = join(&path, &entry.key);
                self.mistakes.add(Mistake::new(entry.at.clone(), place, wrong));
            }
            maps.extend(self.texts(node, &path));
        }
        (maps.len() == nodes.len()).then_some(maps)
    }

    /// Entries that say nothing are mistakes: what was forgotten must not become what holds for
    /// all other values.
    fn map(&mut self, kind: Kind, entries: &[Entry], path: &str) -> Option<Vec<(String, Value)>> {
        if entries.len() > LIST_MAX {
            let wrong = Wrong::TooLarge { what: "entries", max: LIST_MAX };
            return self.wrong(&entries[LIST_MAX].node, path, wrong);
        }
        let mut pairs = Vec::with_capacity(entries.len());
        for entry in entries {
            let path = join(path, &entry.key);
            let value = match entry.node.body {
                Body::Null => self.wrong(&entry.node, &path, kind_wrong(kind, &entry.node, &path)),
                _ => self.value(kind, &entry.node, &path),
            };
            pairs.extend(value.map(|value| (entry.key.clone(), value)));
        }
        (pairs.len() == entries.len()).then_some(pairs)
    }

    fn pairs<T>(
        &mut self,
        node: &Node,
        path: &str,
        mut read: impl FnMut(&mut Self, &Node, &str) -> Option<T>,
    ) -> Option<Vec<(String, T)>> {
        let Body::Map(entries) = &node.body else { return None };
        if entries.len() > LIST_MAX {
            let wrong = Wrong::TooLarge { what: "entries", max: LIST_MAX };
            return self.wrong(node, path, wrong);
        }
        let mut pairs = Vec::with_capacity(entries.len());
        for entry in entries.iter().filter(|entry| !matches!(entry.node.body, Body::Null)) {
            let value = read(self, &entry.node, &join(path, &entry.key));
            pairs.extend(value.map(|value| (entry.key.clone(), value)));
        }
        Some(pairs)
    }

    /// A map as the text of a JSON object; secret where anything in it came by reference.
    fn object(&mut self, max: usize, node: &Node, path: &str) -> Option<Value> {
        let mut secrets = Vec::new();
        let json = Zeroizing::new(json(node, &mut secrets)?.to_string());
        match json.len() <= max {
            true if secrets.is_empty() => Some(Value::Text(json.to_string())),
            true => Some(Value::Object(Secret::new(json.to_string()), secrets)),
            false => {
                let (expected, found) = (Kind::Object(max).expected(path), json.len());
                let found = format!("one of {found} bytes");
                self.wrong(node, path, Wrong::Kind { expected, found })
            }
        }
    }

    fn wrong<T>(&mut self, node: &Node, path: &str, wrong: Wrong) -> Option<T> {
        self.mistakes.add(Mistake::new(node.at.clone(), path, wrong));
        None
    }
}

/// A node as JSON, by YAML's core schema; nothing where a part of it was told to be wrong.
fn json(node: &Node, secrets: &mut Vec<Secret>) -> Option<serde_json::Value> {
    use serde_json::Value as Json;
    Some(match &node.body {
        Body::Broken => return None,
        Body::Null => Json::Null,
        Body::Scalar(scalar) => {
            if scalar.expanded {
                secrets.push(Secret::new(scalar.text.to_string()));
            }
            let text = scalar.text.as_str();
            let is_typed = scalar.is_plain && !scalar.expanded;
            let typed = match text {
                _ if !is_typed => None,
                "true" | "True" | "TRUE" => Some(Json::Bool(true)),
                "false" | "False" | "FALSE" => Some(Json::Bool(false)),
                // What JSON reads as a number is one in YAML too.
                _ => serde_json::from_str(text).ok().filter(Json::is_number),
            };
            typed.unwrap_or_else(|| Json::String(text.to_owned()))
        }
        Body::List(nodes) => {
            let items = nodes.iter().map(|node| json(node, secrets));
            Json::Array(items.collect::<Option<_>>()?)
        }
        Body::Map(entries) => {
            let pair = |entry: &Entry| Some((entry.key.clone(), json(&entry.node, secrets)?));
            Json::Object(entries.iter().map(pair).collect::<Option<_>>()?)
        }
    })
}

/// What is wrong with a value that is not of its kind.
fn kind_wrong(kind: Kind, node: &Node, path: &str) -> Wrong {
    let expected = kind.expected(path);
    let Body::Scalar(scalar) = &node.body else {
        return Wrong::Kind { expected, found: node.word().to_owned() };
    };
    // A text is repeated only where no secret belongs and the file itself shows it.
    let is_open = !scalar.expanded
        && !matches!(
            kind,
            Kind::Secret
                | Kind::SecretUrl
                | Kind::Secrets
                | Kind::Proxy
                | Kind::Url
                | Kind::Urls
                | Kind::Text(_)
                | Kind::LongText(_)
                | Kind::Texts
                | Kind::Path
                | Kind::Map(_)
                | Kind::Maps(_)
                | Kind::Mitre
                | Kind::Mappings
                | Kind::Inputs
                | Kind::Exporters
                | Kind::Routes
                | Kind::Patterns
                | Kind::Tokens
                | Kind::Hooks
                | Kind::Object(_)
                | Kind::Servers
        );
    let has_control = scalar.text.chars().any(char::is_control);
    let found = match is_open {
        _ if scalar.text.is_empty() => "an empty text".to_owned(),
        true => format!("`{}`", shown(&scalar.text)),
        false if matches!(kind, Kind::Text(_) | Kind::Path) && has_control => {
            "one with a control character".to_owned()
        }
        false if matches!(kind, Kind::Text(_) | Kind::Path) => {
            format!("one of {} bytes", scalar.text.len())
        }
        false => "another text".to_owned(),
    };
    let words = match kind {
        Kind::Choice(words) | Kind::ChoiceOrList(words) => words,
        Kind::Severity => SEVERITIES,
        Kind::Compression => ENCODINGS,
        _ => return Wrong::Kind { expected, found },
    };
    let nearest = match is_open {
        true => nearest(&scalar.text, words.iter().copied()),
        false => None,
    };
    Wrong::Word { expected, found, nearest }
}

/// The beginning of a text, without control characters.
fn shown(text: &str) -> String {
    let start: String = text.chars().take(SHOWN_MAX).collect();
    let more = if start.len() < text.len() { ".." } else { "" };
    format!("{}{more}", start.escape_debug())
}

fn is_text(text: &str, max: usize) -> bool {
    text.len() <= max && !text.chars().any(char::is_control)
}

fn truth(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

fn digits(text: &str) -> Option<u64> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}

fn whole(text: &str, min: u64, max: u64) -> Option<u64> {
    digits(text).filter(|number| (min..=max).contains(number))
}

fn hundredths(text: &str, min: u64, max: u64) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    if part.len() > 2 {
        return None;
    }
    let part = digits(part)? * if part.len() == 1 { 10 } else { 1 };
    let number = digits(whole)?.checked_mul(100)?.checked_add(part)?;
    (min..=max).contains(&number).then_some(number)
}

/// A number and what follows it.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((digits(&text[..end])?, text[end..].trim_start()))
}

fn size(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let bytes = match unit {
        "" => 1,
        unit => SIZES.iter().find(|(symbol, _)| *symbol == unit)?.1,
    };
    number.checked_mul(bytes)
}

/// Milliseconds.
pub(super) fn span(text: &str, bare: Option<Unit>) -> Option<u64> {
    let (number, symbol) = number_and_unit(text)?;
    let unit = match symbol {
        "" => bare?,
        symbol => Unit::parse(symbol)?,
    };
    number.checked_mul(unit.milliseconds())
}

/// What is wrong with a URL, without repeating it: URLs may carry keys.
fn url_problem(text: &str, may_carry_credentials: bool) -> Option<&'static str> {
    let Ok(url) = text.parse::<Uri>() else { return Some("a text that is no URL") };
    if !text.contains("://") {
        return Some("a text without https:// before the host");
    }
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        return Some("a URL of another scheme");
    }
    let Some(authority) = url.authority() else { return Some("a URL without a host") };
    if authority.host().is_empty() {
        return Some("a URL without a host");
    }
    if authority.as_str().contains('@') && !may_carry_credentials {
        return Some("a URL with credentials; write them under their own keys");
    }
    (!has_port_or_none(authority)).then_some("a URL with a port that is not from 1 to 65535")
}

/// Whether what follows the host, if anything does, is a port.
fn has_port_or_none(authority: &Authority) -> bool {
    let place = authority.as_str().rsplit('@').next().unwrap_or_default();
    match place.strip_prefix(authority.host()) {
        None | Some("") => true,
        Some(_) => authority.port_u16().is_some_and(|port| port > 0),
    }
}

fn is_uuid(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12]) && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

fn is_version(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    (1..=3).contains(&parts.len()) && parts.iter().all(|part| digits(part).is_some())
}

/// Bytes of a text in a list or map.
const TEXT_BYTES_MAX: usize = 4096;
/// Bytes of a path; Linux takes 4,096 with the closing NUL.
const PATH_BYTES_MAX: usize = 4095;
/// What is wrong with a path that a shell would have replaced.
const NO_HOME: &str = "`~` is not replaced by a home; write `${HOME}`, or the whole path";

/// Values in a list or map.
const LIST_MAX: usize = 4096;
/// Characters of a wrong value that an error repeats.
const SHOWN_MAX: usize = 40;
