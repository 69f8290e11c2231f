//! Forms in which other documents write the same configuration: wrappers, lists, groups, queues.
//!
//! The tree is brought into the one form that the tables read, before flags and references; every
//! piece keeps its place, so that a mistake in it is told where it was written. What was changed is
//! told in notes of `shrike check`.

use super::expand::{Names, expand};
use super::mistake::nearest;
use super::parse::Parse;
use super::text::{Body, Entry, Node};
use super::value::Value;
use super::{At, FILTER, Key, Kind, Mistake, Mistakes, SHARED, Wrong, top};
use crate::deliver::Vendor;

/// What a tree said in another form.
#[derive(Default)]
pub(super) struct Converted {
    /// What was changed, for people.
    pub(super) notes: Vec<String>,
    /// Whether the exporters of a wrapper are to run, with the path of the key.
    pub(super) switches: Vec<(String, Node)>,
}

/// Brings a tree into the form that the tables read.
pub(super) fn convert(
    root: &mut Node,
    vendors: &[&'static Vendor],
    mistakes: &mut Mistakes,
) -> Converted {
    let (notes, switches) = (Vec::new(), Vec::new());
    let mut convert = Convert { vendors, mistakes, notes, switches };
    if take(root, "siem").is_some_and(|entry| convert.unwrap(root, entry)) {
        convert.pass_over(root);
    }
    if let Some(entry) = take(root, "export") {
        convert.unwrap(root, entry);
    }
    let exporters = entries(root).into_iter().flatten().find(|entry| entry.key == "exporters");
    if let Some(exporters) = exporters {
        convert.list(exporters);
        if let Body::Map(entries) = &mut exporters.node.body {
            convert.groups(entries);
            entries.iter_mut().for_each(|entry| convert.exporter(entry));
        }
    }
    Converted { notes: convert.notes, switches: convert.switches }
}

/// Switches all exporters off where a wrapper says so, once references can be followed.
pub(super) fn switch(
    root: &mut Node,
    switches: Vec<(String, Node)>,
    names: &Names<'_>,
    mistakes: &mut Mistakes,
) {
    let mut is_on = true;
    for (mut path, mut node) in switches {
        expand(&mut node, &mut path, names, mistakes);
        let value = Parse { names, mistakes }.value(Kind::Bool, &node, &path);
        is_on &= !matches!(value, Some(Value::Bool(false)));
    }
    let exporters = entries(root).into_iter().flatten().find(|entry| entry.key == "exporters");
    let (false, Some(exporters)) = (is_on, exporters.and_then(|it| entries(&mut it.node))) else {
        return;
    };
    for Entry { node, .. } in exporters {
        if matches!(node.body, Body::Null) {
            node.body = Body::Map(Vec::new());
        }
        let at = node.at.clone();
        if let Some(keys) = entries(node) {
            // What a flag says of one exporter stands beside it, and wins.
            keys.retain(|entry| entry.key != "enabled" || matches!(entry.at, At::Flag(_)));
            let off = Node::scalar(at.clone(), "false".to_owned());
            keys.push(Entry { key: "enabled".to_owned(), at, node: off });
        }
    }
}

struct Convert<'a> {
    vendors: &'a [&'static Vendor],
    mistakes: &'a mut Mistakes,
    notes: Vec<String>,
    switches: Vec<(String, Node)>,
}

impl Convert<'_> {
    /// Moves what a wrapper holds to the top; false where it holds nothing to move.
    fn unwrap(&mut self, root: &mut Node, wrapper: Entry) -> bool {
        let Entry { key: wrapper, at, node } = wrapper;
        let inner = match node.body {
            Body::Map(inner) => inner,
            Body::Null => return true,
            _ => {
                let found = node.word().to_owned();
                let wrong = Wrong::Kind { expected: "a map".to_owned(), found };
                self.mistakes.add(Mistake::new(at, wrapper, wrong));
                return false;
            }
        };
        for Entry { key, at, node } in inner {
            if key == "enabled" {
                if !matches!(node.body, Body::Null) {
                    self.switches.push((format!("{wrapper}.enabled"), node));
                }
                continue;
            }
            let path = match key.as_str() {
                "filters" | "filter" => "filtering".to_owned(),
                "environment" | "tenant_id" | "labels" => format!("global.{key}"),
                _ => key.clone(),
            };
            self.notes.push(format!("{at}: {wrapper}.{key} is read as `{path}`"));
            self.put(root, &path, Entry { key, at, node });
        }
        true
    }

    /// Leaves out the keys of the program whose file this is. A key that is nearly one of ours is
    /// kept, so that a misspelled one is told.
    fn pass_over(&mut self, root: &mut Node) {
        let table = top();
        let steps = || table.iter().filter_map(|key| key.path.split('.').next());
        let Some(entries) = entries(root) else { return };
        entries.retain(|entry| {
            let is_ours = steps().any(|step| step == entry.key) || entry.key == "export";
            if is_ours || nearest(&entry.key, steps()).is_some() {
                return true;
            }
            let (at, key) = (&entry.at, entry.key.escape_debug());
            self.notes.push(format!("{at}: {key} belongs to another program and is ignored"));
            false
        });
    }

    /// A list of exporters becomes a map: each is named by its type, repeats are counted.
    fn list(&mut self, exporters: &mut Entry) {
        let Body::List(nodes) = &mut exporters.node.body else { return };
        let mut named: Vec<Entry> = Vec::with_capacity(nodes.len());
        for (n, node) in std::mem::take(nodes).into_iter().enumerate() {
            let place = format!("exporters[{n}]");
            let word = match node.below("type").map(|node| &node.body) {
                Some(Body::Scalar(scalar)) => scalar.text.to_string(),
                _ => {
                    let wrong = Wrong::Rule("an exporter in a list needs `type`".to_owned());
                    self.mistakes.add(Mistake::new(node.at.clone(), place, wrong));
                    continue;
                }
            };
            let is_named = |vendor: &&&'static Vendor| {
                vendor.name == word || vendor.aliases.contains(&word.as_str())
            };
            let known = self.vendors.iter().find(is_named);
            let name = known.map_or(word.as_str(), |vendor| vendor.name);
            let repeats = |count: usize| match count {
                1 => name.to_owned(),
                count => format!("{name}_{count}"),
            };
            let is_free = |key: &String| named.iter().all(|entry| entry.key != *key);
            let key = (1..).map(repeats).find(is_free).expect("one of them is not taken yet");
            self.notes.push(format!("{}: {place} is read as `exporters.{key}`", node.at));
            named.push(Entry { key, at: node.at.clone(), node });
        }
        exporters.node.body = Body::Map(named);
    }

    /// Groups become their members, which inherit what the group says.
    fn groups(&mut self, entries: &mut Vec<Entry>) {
        let mut singles: Vec<Entry> = Vec::with_capacity(entries.len());
        for entry in std::mem::take(entries) {
            let members = match members_of(&entry) {
                Some(names) => self.members(entry, names),
                None => vec![entry],
            };
            for member in members {
                match singles.iter().find(|single| single.key == member.key) {
                    Some(first) => {
                        let wrong = Wrong::Duplicate(first.at.clone());
                        let place = format!("exporters.{}", member.key);
                        self.mistakes.add(Mistake::new(member.at, place, wrong));
                    }
                    None => singles.push(member),
                }
            }
        }
        *entries = singles;
    }

    fn members(&mut self, group: Entry, names: &[&str]) -> Vec<Entry> {
        let Body::Map(inner) = group.node.body else { return Vec::new() };
        let is_member = |entry: &Entry| names.contains(&entry.key.as_str());
        let (members, shared): (Vec<Entry>, Vec<Entry>) = inner.into_iter().partition(is_member);
        let mut singles = Vec::with_capacity(members.len());
        for Entry { key, at, node } in members {
            match node.body {
                Body::List(nodes) => {
                    let name = key.strip_suffix('s').unwrap_or(&key).to_owned();
                    for (n, node) in nodes.into_iter().enumerate() {
                        let (key, at) = (format!("{name}_{n}"), node.at.clone());
                        singles.push(Entry { key, at, node });
                    }
                }
                _ => singles.push(Entry { key, at, node }),
            }
        }
        for single in &mut singles {
            let (at, group, key) = (&single.at, &group.key, &single.key);
            self.notes.push(format!("{at}: exporters.{group} is read as `exporters.{key}`"));
            if matches!(single.node.body, Body::Null) {
                single.node.body = Body::Map(Vec::new());
            }
            shared.iter().for_each(|entry| inherit(&mut single.node, entry, &entry.key));
        }
        singles
    }

    /// What one exporter says about queues, which are not there.
    fn exporter(&mut self, exporter: &mut Entry) {
        let place = format!("exporters.{}", exporter.key);
        let node = &mut exporter.node;
        for &path in QUEUES {
            if let Some(queue) = take_below(node, path) {
                self.queue(node, &place, path, queue);
            }
        }
    }

    /// A queue's bound in bytes and what happens when it is full mean the same for the log.
    fn queue(&mut self, exporter: &mut Node, place: &str, path: &str, queue: Entry) {
        let at = queue.at.clone();
        let mut mapped = Vec::new();
        if let Body::Map(inner) = queue.node.body {
            for mut entry in inner {
                let spelled = entry.key.clone();
                let Some((_, key)) = QUEUE_KEYS.iter().find(|(known, _)| *known == spelled) else {
                    continue;
                };
                if *key == "on_lag" && !means_on_lag(&mut entry.node) {
                    continue;
                }
                mapped.push(format!("`{path}.{spelled}` is `{key}`"));
                let inner_place = format!("{place}.{key}");
                self.merge(exporter, key, &inner_place, entry);
            }
        }
        let mapped = match mapped.is_empty() {
            true => "`lag_max_bytes` and `on_lag` bound them".to_owned(),
            false => mapped.join(", "),
        };
        self.notes.push(format!(
            "{at}: {place}.{path}: there is no queue, waiting events stay in the log; {mapped}"
        ));
    }

    /// Puts a piece at a dotted path; what is there already must not say the same thing twice.
    fn put(&mut self, root: &mut Node, path: &str, entry: Entry) {
        match path.split_once('.') {
            None => self.merge(root, path, path, entry),
            Some((first, rest)) => {
                let at = entry.at.clone();
                let inner = Entry { key: rest.to_owned(), ..entry };
                let node = Node { at: at.clone(), body: Body::Map(vec![inner]) };
                self.merge(root, first, first, Entry { key: first.to_owned(), at, node });
            }
        }
    }

    fn merge(&mut self, parent: &mut Node, key: &str, place: &str, entry: Entry) {
        let Some(siblings) = entries(parent) else { return };
        let Some(old) = siblings.iter_mut().find(|sibling| sibling.key == key) else {
            siblings.push(Entry { key: key.to_owned(), ..entry });
            return;
        };
        match (&mut old.node.body, entry.node.body) {
            (Body::Null, body) => old.node = Node { at: entry.node.at, body },
            (_, Body::Null) => {}
            (Body::Map(_), Body::Map(inner)) => {
                for entry in inner {
                    let key = entry.key.clone();
                    self.merge(&mut old.node, &key, &format!("{place}.{key}"), entry);
                }
            }
            _ => {
                let wrong = Wrong::Duplicate(old.at.clone());
                self.mistakes.add(Mistake::new(entry.at, place, wrong));
            }
        }
    }
}

/// The members that this exporter may have as a group; none where it is an exporter itself.
fn members_of(entry: &Entry) -> Option<&'static [&'static str]> {
    let (_, names) = GROUPS.iter().find(|(group, _)| *group == entry.key)?;
    let Body::Map(inner) = &entry.node.body else { return None };
    let has = |name: &&str| inner.iter().any(|entry| entry.key == *name);
    (names.iter().any(has) && !has(&"type")).then_some(*names)
}

/// Gives a member what its group says, key by key, unless it says so itself in any spelling.
fn inherit(member: &mut Node, entry: &Entry, path: &str) {
    let rows = || SHARED.iter().chain(FILTER);
    let row = rows().find(|key| key.spellings().any(|spelling| spelling == path));
    match (&entry.node.body, row) {
        (Body::Map(inner), None) => {
            for entry in inner {
                inherit(member, entry, &format!("{path}.{}", entry.key));
            }
        }
        (_, row) => {
            let spellings = row.map_or_else(|| vec![path], |row: &Key| row.spellings().collect());
            if !spellings.iter().any(|spelling| member.below(spelling).is_some()) {
                let steps: Vec<&str> = path.split('.').collect();
                put_new(member, &steps, entry);
            }
        }
    }
}

/// Puts a copy at a path where nothing is; a member that is no map is told later.
fn put_new(node: &mut Node, steps: &[&str], entry: &Entry) {
    let Some(siblings) = entries(node) else { return };
    match steps {
        [] => {}
        [last] => siblings.push(Entry { key: (*last).to_owned(), ..entry.clone() }),
        [first, rest @ ..] => {
            let at = match siblings.iter().position(|sibling| sibling.key == *first) {
                Some(at) => at,
                None => {
                    let at = entry.at.clone();
                    let node = Node::map(at.clone());
                    siblings.push(Entry { key: (*first).to_owned(), at, node });
                    siblings.len() - 1
                }
            };
            put_new(&mut siblings[at].node, rest, entry);
        }
    }
}

/// Turns the word for a full queue into that for a lag; false where there is none.
fn means_on_lag(node: &mut Node) -> bool {
    let Body::Scalar(scalar) = &mut node.body else { return false };
    let word = match scalar.text.as_str() {
        "block" | "backpressure" => "block",
        "drop_oldest" | "drop-oldest" | "skip" => "skip",
        _ => return false,
    };
    word.clone_into(&mut scalar.text);
    true
}

fn entries(node: &mut Node) -> Option<&mut Vec<Entry>> {
    match &mut node.body {
        Body::Map(entries) => Some(entries),
        _ => None,
    }
}

fn take(node: &mut Node, key: &str) -> Option<Entry> {
    let entries = entries(node)?;
    let at = entries.iter().position(|entry| entry.key == key)?;
    Some(entries.remove(at))
}

/// The same for a dotted path.
fn take_below(node: &mut Node, path: &str) -> Option<Entry> {
    match path.split_once('.') {
        None => take(node, path),
        Some((first, rest)) => {
            let entry = entries(node)?.iter_mut().find(|entry| entry.key == first)?;
            take_below(&mut entry.node, rest)
        }
    }
}

/// Groups of exporters in the planning documents, and what may be in each; a list of `webhooks` is
/// `webhook_0` and so on.
pub(super) const GROUPS: &[(&str, &[&str])] = &[
    ("alerting", &["pagerduty", "opsgenie"]),
    ("webhook", &["slack", "teams", "webhooks"]),
    ("webhooks", &["slack", "teams", "webhooks"]),
];
/// Keys of an exporter that speak of queues.
pub(super) const QUEUES: &[&str] =
    &["queue", "queue_capacity", "runtime.queue_capacity", "capacity", "spill"];
/// What they say that is true of the log as well.
const QUEUE_KEYS: &[(&str, &str)] = &[
    ("max_bytes", "lag_max_bytes"),
    ("on_full", "on_lag"),
    ("overflow", "on_lag"),
    ("policy", "on_lag"),
];
