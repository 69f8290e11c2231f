//! Flags that override the file.

use std::path::PathBuf;
use std::sync::Arc;

use super::text::{self, Body, Entry, Node, Source};
use super::{At, Mistake, Mistakes, Wrong};
use crate::deliver::{Kind, Vendor};

/// What the command line says about the configuration, in the order in which it is applied.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// The flags.
    pub list: Vec<Flag>,
}

/// One flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flag {
    /// `--set key=value`: a dotted key, and a value as YAML.
    Set(String),
    /// `--to name` or `--to name=url`: an exporter.
    To(String),
    /// `--input file` or `--input -`: read this once, instead of the configured inputs.
    Input(PathBuf),
    /// `--log dir`: the log's directory.
    Log(PathBuf),
    /// The state directory of the process that runs, whatever the file says by now.
    StateDir(PathBuf),
}

impl Flag {
    /// Whether it names an exporter, so that the embedded default's own is not wanted.
    pub(super) fn names_exporter(&self) -> bool {
        match self {
            Self::To(_) => true,
            Self::Set(text) => text.starts_with("exporters."),
            Self::Input(_) | Self::Log(_) | Self::StateDir(_) => false,
        }
    }
}

impl Flags {
    /// Changes the tree as the flags say.
    pub(super) fn apply(
        &self,
        root: &mut Node,
        vendors: &[&'static Vendor],
        mistakes: &mut Mistakes,
    ) {
        for flag in &self.list {
            match flag {
                Flag::Set(text) => set(root, text, mistakes),
                Flag::To(text) => to(root, text, vendors, mistakes),
                Flag::Input(_) => {}
                Flag::Log(dir) => {
                    let at = At::Flag(Arc::from("--log"));
                    // Relative to where the command runs, not to the state directory.
                    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.clone());
                    let node = Node::scalar(at.clone(), literal(&dir.to_string_lossy()));
                    put(root, "log.dir", &at, node, mistakes);
                }
                Flag::StateDir(dir) => {
                    let at = At::Flag(Arc::from("the running process"));
                    let node = Node::scalar(at.clone(), literal(&dir.to_string_lossy()));
                    put(root, "global.state_dir", &at, node, mistakes);
                }
            }
        }
        let inputs: Vec<Node> = self.list.iter().filter_map(input).collect();
        if let Some(first) = inputs.first() {
            let at = first.at.clone();
            let node = Node { at: at.clone(), body: Body::List(inputs) };
            put(root, "inputs", &at, node, mistakes);
        }
    }
}

fn set(root: &mut Node, text: &str, mistakes: &mut Mistakes) {
    let (key, value) = match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => (key, value),
        // The text may hold a secret, so the error does not repeat it.
        _ => {
            let at = At::Flag(Arc::from("--set"));
            let wrong = Wrong::Rule("expected KEY=VALUE with a dotted key".to_owned());
            mistakes.add(Mistake::new(at, "", wrong));
            return;
        }
    };
    let flag: Arc<str> = Arc::from(format!("--set {}", shown(key)));
    let at = At::Flag(flag.clone());
    let node = text::parse_value(value, &Source::Flag(flag), mistakes);
    put(root, key, &at, node, mistakes);
}

fn to(root: &mut Node, text: &str, vendors: &[&'static Vendor], mistakes: &mut Mistakes) {
    let (name, url) = match text.split_once('=') {
        Some((name, url)) => (name, Some(url)),
        None => (text, None),
    };
    let at = At::Flag(Arc::from(format!("--to {}", shown(name))));
    let place = format!("exporters.{}", shown(name));
    if name.is_empty() || name.contains('.') {
        let wrong = Wrong::Rule("expected NAME or NAME=URL".to_owned());
        mistakes.add(Mistake::new(at, "", wrong));
        return;
    }
    let Some(url) = url else {
        if root.below(&place).is_none() {
            put(root, &place, &at, Node::map(at.clone()), mistakes);
        }
        return;
    };
    // The longest type that the name starts with; an unknown one is told with the others.
    let vendor = vendors
        .iter()
        .filter(|vendor| {
            std::iter::once(&vendor.name).chain(vendor.aliases).any(|word| name.starts_with(word))
        })
        .max_by_key(|vendor| vendor.name.len());
    let key = vendor.and_then(|vendor| {
        vendor
            .options
            .iter()
            .find(|option| matches!(option.kind, Kind::Url | Kind::Urls | Kind::SecretUrl))
    });
    match (vendor, key) {
        (_, Some(key)) => {
            let node = Node::scalar(at.clone(), literal(url));
            put(root, &format!("{place}.{}", key.key), &at, node, mistakes);
            // Whoever writes http on the command line means it.
            if url.starts_with("http://") {
                let node = Node::scalar(at.clone(), "true".to_owned());
                put(root, &format!("{place}.allow_http"), &at, node, mistakes);
            }
        }
        (Some(vendor), None) => {
            let wrong = Wrong::Rule(format!("{} takes no URL; write --to {name}", vendor.name));
            mistakes.add(Mistake::new(at, place, wrong));
        }
        (None, None) => put(root, &place, &at, Node::map(at.clone()), mistakes),
    }
}

fn input(flag: &Flag) -> Option<Node> {
    let Flag::Input(path) = flag else { return None };
    let at = At::Flag(Arc::from("--input"));
    let entry = |key: &str, text: String| Entry {
        key: key.to_owned(),
        at: at.clone(),
        node: Node::scalar(at.clone(), text),
    };
    let entries = match path.as_os_str() == "-" {
        true => vec![entry("type", "stdin".to_owned())],
        false => vec![
            entry("type", "file".to_owned()),
            entry("path", literal(&path.to_string_lossy())),
            entry("follow", "false".to_owned()),
        ],
    };
    Some(Node { at: at.clone(), body: Body::Map(entries) })
}

/// Puts a node at a dotted path, making the maps on the way; numbers are positions in lists.
fn put(root: &mut Node, path: &str, at: &At, node: Node, mistakes: &mut Mistakes) {
    let mut place = root;
    for step in path.split('.') {
        place = match descend(place, step, at) {
            Ok(next) => next,
            Err(wrong) => {
                mistakes.add(Mistake::new(at.clone(), shown(path), wrong));
                return;
            }
        };
    }
    *place = node;
}

/// The node one step below; what is there as one value gives way to a map.
fn descend<'a>(place: &'a mut Node, step: &str, at: &At) -> Result<&'a mut Node, Wrong> {
    if !matches!(place.body, Body::List(_) | Body::Map(_)) {
        place.body = Body::Map(Vec::new());
    }
    match &mut place.body {
        Body::List(nodes) => {
            let index = step.parse().ok().filter(|&index: &usize| index <= nodes.len());
            let Some(index) = index else {
                let text = format!("`{}` is no position in a list of {}", shown(step), nodes.len());
                return Err(Wrong::Rule(text));
            };
            if index == nodes.len() {
                nodes.push(Node::map(at.clone()));
            }
            Ok(&mut nodes[index])
        }
        Body::Map(entries) => {
            let index = entries.iter().position(|entry| entry.key == step).unwrap_or_else(|| {
                let node = Node::map(at.clone());
                entries.push(Entry { key: step.to_owned(), at: at.clone(), node });
                entries.len() - 1
            });
            // The flag is to blame for whatever is wrong from here on.
            entries[index].at = at.clone();
            Ok(&mut entries[index].node)
        }
        Body::Null | Body::Broken | Body::Scalar(_) => unreachable!("made a map above"),
    }
}

/// A text in which no reference is looked for.
fn literal(text: &str) -> String {
    text.replace("${", "$${")
}

/// The name part of a flag, cut and without control characters.
fn shown(text: &str) -> String {
    text.chars().take(SHOWN_MAX).collect::<String>().escape_debug().to_string()
}

/// Characters of a flag that an error repeats.
const SHOWN_MAX: usize = 120;
