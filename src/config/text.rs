//! YAML text to a tree in which every key and value knows where it stands.
//!
//! `saphyr-parser` gives events with marks; the tree is built here, because duplicate keys, nodes
//! beyond the bounds and documents after the first are mistakes that a loader would swallow.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, StrInput};
use zeroize::Zeroizing;

use super::{Mistake, Mistakes, Wrong};
use crate::deliver::Secret;

/// A piece of configuration and its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Where it stands.
    pub(super) at: At,
    /// What it is.
    pub(super) body: Body,
}

/// What a piece of configuration is.
#[derive(Clone, Debug)]
pub(super) enum Body {
    /// Nothing: `null`, `~` or no text. It counts as not written.
    Null,
    /// A value whose reference does not hold; told already, so nothing more is said about it.
    Broken,
    /// One value.
    Scalar(Scalar),
    /// Several, in order.
    List(Vec<Node>),
    /// Named ones, in order; names are unique.
    Map(Vec<Entry>),
}

/// One value, before anybody asked for a kind.
#[derive(Clone)]
pub(super) struct Scalar {
    /// The text, perhaps a secret.
    pub(super) text: Zeroizing<String>,
    /// Whether it contains anything that the file itself does not show: then no error repeats it.
    pub(super) expanded: bool,
    /// What of that nobody is to see.
    pub(super) parts: Vec<Part>,
    /// Whether it stands without quotes, so that it may be a number or a truth value.
    pub(super) is_plain: bool,
}

/// What stands for a reference in a text.
#[derive(Clone)]
pub(super) struct Part {
    pub(super) text: Secret,
    /// Whether it came from where secrets are kept, and not from the environment.
    pub(super) is_secret: bool,
}

/// A named piece of configuration.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The name.
    pub(super) key: String,
    /// Where the name stands.
    pub(super) at: At,
    /// What it names.
    pub(super) node: Node,
}

/// Where a piece of configuration stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// In a file.
    Place {
        /// The file, as it was named.
        file: Arc<str>,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
    },
    /// On the command line: the flag, without its value.
    Flag(Arc<str>),
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Place { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

impl fmt::Debug for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Node {
    /// A value that stands at this place.
    pub(super) fn scalar(at: At, text: String) -> Self {
        let text = Zeroizing::new(text);
        Self {
            at,
            body: Body::Scalar(Scalar {
                text,
                expanded: false,
                parts: Vec::new(),
                is_plain: false,
            }),
        }
    }

    /// A map without entries.
    pub(super) fn map(at: At) -> Self {
        Self { at, body: Body::Map(Vec::new()) }
    }

    /// The node below this dotted path, if every step is a map.
    pub(super) fn below(&self, path: &str) -> Option<&Self> {
        path.split('.').try_fold(self, |node, step| match &node.body {
            Body::Map(entries) => {
                entries.iter().find(|entry| entry.key == step).map(|entry| &entry.node)
            }
            _ => None,
        })
    }

    /// What stands for references at and below it.
    pub(super) fn parts(&self) -> Vec<Part> {
        match &self.body {
            Body::Null | Body::Broken => Vec::new(),
            Body::Scalar(scalar) => scalar.parts.clone(),
            Body::List(nodes) => nodes.iter().flat_map(Self::parts).collect(),
            Body::Map(entries) => entries.iter().flat_map(|entry| entry.node.parts()).collect(),
        }
    }

    /// What it is, in a word for errors.
    pub(super) fn word(&self) -> &'static str {
        match self.body {
            Body::Null | Body::Broken => "nothing",
            Body::Scalar(_) => "a single value",
            Body::List(_) => "a list",
            Body::Map(_) => "a map",
        }
    }
}

/// Reads one YAML document; an empty text is an empty map.
pub(super) fn parse(text: &str, source: &Source, mistakes: &mut Mistakes) -> Node {
    let mut builder = Builder::new(source);
    let empty = Node::map(source.start());
    if text.len() > TEXT_BYTES_MAX {
        let wrong = Wrong::TooLarge { what: "bytes", max: TEXT_BYTES_MAX };
        mistakes.add(Mistake::new(source.start(), "", wrong));
        return empty;
    }
    let mut parser = Parser::new(StrInput::new(text));
    while let Some(next) = parser.next_event() {
        let (event, mark) = match next {
            Ok((event, span)) => (event, span.start),
            Err(error) => {
                let at = source.at(*error.marker());
                mistakes.add(Mistake::new(at, "", Wrong::Syntax(error.info().to_owned())));
                return empty;
            }
        };
        if let Err(wrong) = builder.on_event(event, mark, mistakes) {
            mistakes.add(Mistake::new(source.at(mark), builder.path(), wrong));
            return empty;
        }
    }
    match builder.root {
        Some(Node { body: Body::Null, .. }) | None => empty,
        Some(root) => root,
    }
}

/// Reads the default of a row; `{}` and `[]` are empty.
pub(super) fn parse_default(text: &str, mistakes: &mut Mistakes) -> Node {
    parse_value(text, &Source::Flag(Arc::from("default")), mistakes)
}

/// Reads a value given on the command line.
pub(super) fn parse_value(text: &str, source: &Source, mistakes: &mut Mistakes) -> Node {
    match text.is_empty() {
        true => Node { at: source.start(), body: Body::Null },
        false => parse(text, source, mistakes),
    }
}

/// Where a text comes from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// A file of this name.
    File(Arc<str>),
    /// A flag, whose text has no lines worth counting.
    Flag(Arc<str>),
}

impl Source {
    /// The first character.
    pub(super) fn start(&self) -> At {
        self.at(Marker::new(0, 1, 0))
    }

    fn at(&self, mark: Marker) -> At {
        match self {
            Self::File(file) => {
                At::Place { file: file.clone(), line: mark.line(), column: mark.col() + 1 }
            }
            Self::Flag(flag) => At::Flag(flag.clone()),
        }
    }
}

/// Builds the tree without recursion, so that depth costs no stack.
struct Builder<'a> {
    source: &'a Source,
    /// Open lists and maps, outermost first, each with its anchor.
    open: Vec<(usize, Open)>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
}

enum Open {
    List(At, Vec<Node>),
    Map(At, Vec<Entry>, Option<(String, At)>),
}

impl<'a> Builder<'a> {
    fn new(source: &'a Source) -> Self {
        Self { source, open: Vec::new(), anchors: BTreeMap::new(), nodes: 0, root: None }
    }

    fn on_event(&mut self, e: Event<'_>, mark: Marker, out: &mut Mistakes) -> Result<(), Wrong> {
        let at = self.source.at(mark);
        match e {
            Event::Scalar(text, style, anchor, tag) => {
                let known_tag = tag.is_none_or(|tag| tag.is_yaml_core_schema());
                if !known_tag {
                    return Err(Wrong::Tag);
                }
                let is_null =
                    style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null" | "Null");
                if let Some((_, Open::Map(_, _, key @ None))) = self.open.last_mut() {
                    *key = Some((text.into_owned(), at));
                    return Ok(());
                }
                let mut node = match is_null {
                    true => Node { at, body: Body::Null },
                    false => Node::scalar(at, text.into_owned()),
                };
                if let Body::Scalar(scalar) = &mut node.body {
                    scalar.is_plain = style == ScalarStyle::Plain;
                }
                self.close(anchor, node, out)
            }
            Event::SequenceStart(anchor, _) => self.open(anchor, Open::List(at, Vec::new())),
            Event::MappingStart(anchor, _) => self.open(anchor, Open::Map(at, Vec::new(), None)),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some((anchor, Open::List(at, nodes))) => {
                    self.close(anchor, Node { at, body: Body::List(nodes) }, out)
                }
                Some((anchor, Open::Map(at, entries, _))) => {
                    self.close(anchor, Node { at, body: Body::Map(entries) }, out)
                }
                None => Ok(()),
            },
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(Wrong::Syntax("the alias names no earlier anchor".to_owned()));
                };
                self.nodes += count(&node);
                self.close(0, node, out)
            }
            Event::DocumentStart(_) if self.root.is_some() => Err(Wrong::SecondDocument),
            _ => Ok(()),
        }
    }

    fn open(&mut self, anchor: usize, open: Open) -> Result<(), Wrong> {
        if let Some((_, Open::Map(_, _, None))) = self.open.last() {
            return Err(Wrong::KeyKind);
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(Wrong::TooLarge { what: "levels", max: DEPTH_MAX });
        }
        self.open.push((anchor, open));
        Ok(())
    }

    /// Puts a finished node where it belongs.
    fn close(&mut self, anchor: usize, node: Node, out: &mut Mistakes) -> Result<(), Wrong> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(Wrong::TooLarge { what: "values", max: NODES_MAX });
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let path = self.path();
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some((_, Open::List(_, nodes))) => nodes.push(node),
            Some((_, Open::Map(_, entries, key))) => {
                let Some((key, at)) = key.take() else { return Err(Wrong::KeyKind) };
                match entries.iter().find(|entry| entry.key == key) {
                    Some(first) => {
                        out.add(Mistake::new(at, path, Wrong::Duplicate(first.at.clone())));
                    }
                    None => entries.push(Entry { key, at, node }),
                }
            }
        }
        Ok(())
    }

    /// The dotted path of what is being read.
    fn path(&self) -> String {
        let mut path = String::new();
        for (_, open) in &self.open {
            match open {
                Open::List(_, nodes) => path.push_str(&format!("[{}]", nodes.len())),
                Open::Map(_, _, Some((key, _))) => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(key);
                }
                Open::Map(..) => {}
            }
        }
        path
    }
}

fn count(node: &Node) -> usize {
    1 + match &node.body {
        Body::List(nodes) => nodes.iter().map(count).sum(),
        Body::Map(entries) => entries.iter().map(|entry| count(&entry.node)).sum(),
        Body::Null | Body::Broken | Body::Scalar(_) => 0,
    }
}

/// Bytes of a configuration text; the largest real ones have some ten thousand.
pub(super) const TEXT_BYTES_MAX: usize = 4 << 20;
/// Values in a configuration, aliases counted each time, so that no alias bomb unfolds.
const NODES_MAX: usize = 100_000;
/// Nested lists and maps; the deepest key has seven.
const DEPTH_MAX: usize = 32;
