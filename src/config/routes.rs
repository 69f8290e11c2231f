//! The routes of one exporter: maps from a value of the event, and rules.

use super::expand::Names;
use super::exporter::option_value;
use super::read::read;
use super::shared::{ROUTING, RULES};
use super::text::{Body, Node};
use super::value::{Value, Values, join};
use super::{At, Default, Key, Kind, Mistake, Mistakes, RouteSettings, Wrong};
use crate::deliver::{OptionValue, Options, Problem, RouteMap, Vendor};
use crate::transform::{Condition, Format};

/// The keys of a destination's routes.
pub(super) fn keys(vendor: &'static Vendor) -> Vec<Key> {
    let rules = if vendor.route_maps.is_empty() { ROUTING } else { RULES };
    let maps = vendor.route_maps.iter().map(|map| Key {
        path: map.key,
        aliases: &[],
        kind: Kind::Map(map.kind),
        default: Default::Is("{}"),
        about: map.about,
    });
    maps.chain((!vendor.route_keys.is_empty()).then_some(rules)).collect()
}

/// A route, and where it is written.
pub(super) struct Routed {
    pub(super) route: RouteSettings,
    at: At,
    place: String,
    /// Whether the place is that of a rule, below which are keys.
    has_keys: bool,
}

impl Routed {
    /// Where a mistake in one of its values is told.
    pub(super) fn mistake(&self, problem: Problem) -> Mistake {
        let place = match self.has_keys {
            true => join(&self.place, &problem.key),
            false => self.place.clone(),
        };
        Mistake::new(self.at.clone(), place, Wrong::Rule(problem.problem))
    }
}

/// Reads the routes of one exporter.
pub(super) struct Routes<'a> {
    pub(super) vendor: &'static Vendor,
    pub(super) values: &'a Values,
    pub(super) options: &'a Options,
    pub(super) format: Format,
}

impl Routes<'_> {
    /// The routes in the order in which they are asked: the maps as the destination orders them,
    /// then the rules.
    pub(super) fn read(
        &self,
        table: &[Key],
        names: &Names<'_>,
        mistakes: &mut Mistakes,
    ) -> Vec<Routed> {
        let mut routes = Vec::new();
        for map in self.vendor.route_maps {
            let mut own = Vec::new();
            self.map(map, &mut own, mistakes);
            if map.adds {
                self.add_up(&mut routes, &own, mistakes);
            }
            routes.extend(own);
        }
        if !self.vendor.route_keys.is_empty() {
            self.rules(table, names, &mut routes, mistakes);
        }
        routes
    }

    fn map(&self, map: &RouteMap, routes: &mut Vec<Routed>, mistakes: &mut Mistakes) {
        let Some(Value::Map(pairs)) = self.values.value(map.key) else { return };
        let option = map.option.iter().find(|(when, _)| when.holds(self.options, self.format));
        for (name, value) in pairs {
            let place = join(&join(&self.values.place, map.key), name);
            let at = self.values.at_of(map.key);
            let told = |wrong: String| Mistake::new(at.clone(), place.as_str(), Wrong::Rule(wrong));
            let Some(&(_, option)) = option else {
                mistakes.add(told("has no effect with the other keys of this exporter".to_owned()));
                return;
            };
            let Some(condition) = Condition::is(map.name, name) else {
                mistakes.add(told(format!(
                    "no {} is called so; expected info, low, medium, high or critical",
                    map.name
                )));
                continue;
            };
            let options = option_value(value).map(|value| (option, value)).into_iter().collect();
            let route = RouteSettings { condition, options };
            routes.push(Routed { route, at, place, has_keys: false });
        }
    }

    /// Puts a route for both before those of earlier maps and of this one.
    fn add_up(&self, routes: &mut Vec<Routed>, own: &[Routed], mistakes: &mut Mistakes) {
        if routes.len().saturating_mul(own.len()) > PAIRS_MAX {
            let wrong = format!("more than {PAIRS_MAX} pairs of entries; write fewer");
            let place = join(&self.values.place, "routing");
            mistakes.add(Mistake::new(self.values.at.clone(), place, Wrong::Rule(wrong)));
            return;
        }
        let pair = |first: &Routed, second: &Routed| Routed {
            route: RouteSettings {
                condition: first.route.condition.clone().and(second.route.condition.clone()),
                options: both(&first.route.options, &second.route.options),
            },
            at: first.at.clone(),
            place: first.place.clone(),
            has_keys: false,
        };
        let pairs: Vec<Routed> = routes
            .iter()
            .flat_map(|first| own.iter().map(move |second| pair(first, second)))
            .collect();
        routes.splice(0..0, pairs);
    }

    /// The rules: each a condition and some of the keys that routes may override.
    fn rules(
        &self,
        table: &[Key],
        names: &Names<'_>,
        routes: &mut Vec<Routed>,
        mistakes: &mut Mistakes,
    ) {
        let (vendor, values) = (self.vendor, self.values);
        let key = if vendor.route_maps.is_empty() { ROUTING.path } else { RULES.path };
        let Some(node) = values.node(key) else { return };
        let Body::List(nodes) = &node.body else { return };
        let route_keys = table.iter().filter(|key| vendor.route_keys.contains(&key.path));
        let keys: Vec<Key> = std::iter::once(CONDITION).chain(route_keys.copied()).collect();
        for (n, node) in nodes.iter().enumerate() {
            let place = format!("{}.{key}[{n}]", values.place);
            routes.extend(rule(node, place, &keys, names, mistakes));
        }
    }
}

/// The lists of both, one after the other.
fn both(
    first: &[(&'static str, OptionValue)],
    second: &[(&'static str, OptionValue)],
) -> Vec<(&'static str, OptionValue)> {
    let mut all = first.to_vec();
    for (key, value) in second {
        let same = all.iter_mut().find(|(known, _)| known == key);
        match (same, value) {
            (Some((_, OptionValue::List(texts))), OptionValue::List(more)) => {
                texts.extend(more.iter().cloned());
            }
            (Some((_, known)), value) => *known = value.clone(),
            (None, value) => all.push((*key, value.clone())),
        }
    }
    all
}

fn rule(
    node: &Node,
    place: String,
    keys: &[Key],
    names: &Names<'_>,
    mistakes: &mut Mistakes,
) -> Option<Routed> {
    let rule = read(node, &place, keys, names, mistakes);
    let own = keys.iter().filter(|key| key.path != CONDITION.path);
    let options = own
        .filter(|key| rule.is_written(key.path))
        .filter_map(|key| Some((key.path, option_value(rule.value(key.path)?)?)))
        .collect();
    match rule.text(CONDITION.path).map(|text| Condition::compile(&text)) {
        Some(Ok(condition)) => {
            let route = RouteSettings { condition, options };
            Some(Routed { route, at: node.at.clone(), place, has_keys: true })
        }
        Some(Err(error)) => {
            rule.mistake(CONDITION.path, Wrong::Rule(error.to_string()), mistakes);
            None
        }
        None if rule.is_written(CONDITION.path) => None,
        None => {
            let wrong = Wrong::Rule("a rule needs a `condition`".to_owned());
            mistakes.add(Mistake::new(node.at.clone(), place, wrong));
            None
        }
    }
}

/// Routes that two maps make together; each is asked for every event.
const PAIRS_MAX: usize = 1000;
/// The key of a rule's condition.
const CONDITION: Key = super::key::key(
    "condition",
    Kind::Text(4096),
    Default::Unset("required"),
    "Which events the rule takes.",
);
