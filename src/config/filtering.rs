//! Which events go where: `filtering` for all exporters, `filter` of one, and top-level rules.

use super::expand::Names;
use super::key::key;
use super::mistake::nearest;
use super::read::read;
use super::text::{Body, Node};
use super::value::{Value, Values};
use super::{Default, Key, Kind, Mistake, Mistakes, RoutingRule, Wrong};
use crate::event::{EventType, Severity};
use crate::transform::{Condition, FilterRules};
use Default::{Is, Unset};

/// The rows of a filter below this prefix; the aliases are those of its severity, guards
/// and denials.
macro_rules! rows {
    ($prefix:literal, $severity:expr, $include:expr, $exclude:expr, $denied:expr) => {
        &[
            key(
                concat!($prefix, ".min_severity"),
                Kind::Severity,
                Is("none"),
                "The least severity.",
            )
            .also($severity),
            key(
                concat!($prefix, ".include_types"),
                Kind::List,
                Is("[]"),
                "Types of events to take; empty is all, here and below.",
            ),
            key(
                concat!($prefix, ".exclude_types"),
                Kind::List,
                Is("[]"),
                "Types of events to leave out; leaving out wins, here and below.",
            ),
            key(concat!($prefix, ".include_guards"), Kind::List, Is("[]"), "Guards to take.")
                .also($include),
            key(concat!($prefix, ".exclude_guards"), Kind::List, Is("[]"), "Guards to leave out.")
                .also($exclude),
            key(concat!($prefix, ".include_tenants"), Kind::List, Is("[]"), "Tenants to take."),
            key(
                concat!($prefix, ".exclude_tenants"),
                Kind::List,
                Is("[]"),
                "Tenants to leave out.",
            ),
            key(
                concat!($prefix, ".only_denied"),
                Kind::Bool,
                Is("false"),
                "Only events that were denied.",
            )
            .also($denied),
            key(
                concat!($prefix, ".min_sanitized_count"),
                Kind::Int(0, u64::MAX),
                Is("0"),
                "The least `metadata.velar.sanitized_count`.",
            ),
            key(
                concat!($prefix, ".domains"),
                Kind::List,
                Is("[]"),
                "Resource hosts to take, with subdomains; an event without a host is left out.",
            ),
            key(
                concat!($prefix, ".exclude_paths"),
                Kind::List,
                Is("[]"),
                "Beginnings of resource paths to leave out.",
            ),
            key(
                concat!($prefix, ".exclude_internal"),
                Kind::Bool,
                Is("false"),
                "Leaves out loopback and health-check traffic.",
            ),
        ]
    };
}

/// Keys that choose the events of an exporter.
pub const FILTER: &[Key] =
    rows!("filter", &["min_severity"], &["include_guards"], &["exclude_guards"], &["only_denied"]);

/// Keys that choose the events of all exporters.
pub const FILTERING: &[Key] = rows!("filtering", &[], &[], &[], &[]);

/// Keys of one of `routing.rules`.
pub const ROUTING_RULE: &[Key] = &[
    key(
        "condition",
        Kind::Text(4096),
        Unset("required"),
        "Which events the rule is for, such as `severity >= 'high'`; `default` is all.",
    ),
    key("exporters", Kind::List, Unset("required"), "The exporters that take them."),
    key(
        "stop",
        Kind::Bool,
        Is("true"),
        "Whether later rules are not asked about these events; false lets them add exporters.",
    ),
];

/// The rules that a table's values say, and notes about words that are probably misspelled.
pub(super) fn rules(
    values: &Values,
    table: &'static [Key],
    notes: &mut Vec<String>,
    mistakes: &mut Mistakes,
) -> FilterRules {
    let named = |name: &str| {
        let row = table.iter().find(|key| key.path.rsplit('.').next() == Some(name));
        row.expect("both tables have every row").path
    };
    let list = |name: &str| match values.value(named(name)) {
        Some(Value::List(texts)) => texts.clone(),
        _ => Vec::new(),
    };
    for name in ["include_types", "exclude_types"] {
        for word in list(name) {
            let is_known = EventType::parse(word.as_bytes()) != EventType::Other;
            let near = nearest(&word, EventType::ALL.iter().map(|known| known.word()));
            if let (false, Some(near)) = (is_known, near) {
                notes.push(format!(
                    "{}: `{}` is no event type of ours; did you mean `{near}`?",
                    values.place_of(named(name)),
                    word.escape_debug()
                ));
            }
        }
    }
    // As an unset variable leaves one.
    for (name, wrong) in [("exclude_paths", EVERY_PATH), ("domains", NO_DOMAIN)] {
        if list(name).iter().any(|text| text.trim().is_empty()) {
            values.mistake(named(name), Wrong::Rule(wrong.to_owned()), mistakes);
        }
    }
    let severity = values.text(named("min_severity"));
    FilterRules {
        min_severity: severity
            .and_then(|word| Severity::parse(word.as_bytes()))
            .unwrap_or_default(),
        include_types: list("include_types"),
        exclude_types: list("exclude_types"),
        include_guards: list("include_guards"),
        exclude_guards: list("exclude_guards"),
        include_tenants: list("include_tenants"),
        exclude_tenants: list("exclude_tenants"),
        only_denied: values.is_on(named("only_denied")),
        min_sanitized_count: values.int(named("min_sanitized_count")).unwrap_or(0),
        domains: list("domains"),
        exclude_paths: list("exclude_paths"),
        exclude_internal: values.is_on(named("exclude_internal")),
    }
}

/// What is wrong with an empty text among the beginnings of paths.
const EVERY_PATH: &str = "has an empty text, with which every path begins: no event would be \
                          left; remove it";
/// And among domains.
const NO_DOMAIN: &str = "has an empty text, which is no domain; remove it";

/// The top-level rules; `known` are the names of all exporters, disabled ones included.
pub(super) fn routing(
    values: &Values,
    known: &[String],
    names: &Names<'_>,
    mistakes: &mut Mistakes,
) -> Vec<RoutingRule> {
    let Some(Body::List(nodes)) = values.node("routing.rules").map(|node| &node.body) else {
        return Vec::new();
    };
    let rule = |(n, node): (usize, &Node)| {
        let place = format!("routing.rules[{n}]");
        let rule = read(node, &place, ROUTING_RULE, names, mistakes);
        let exporters = exporter_names(&rule, "exporters", known, mistakes);
        for key in ["condition", "exporters"].into_iter().filter(|key| !rule.is_written(key)) {
            let wrong = Wrong::Rule(format!("a rule needs `{key}`"));
            mistakes.add(Mistake::new(node.at.clone(), place.as_str(), wrong));
        }
        let stops = rule.is_on("stop");
        match Condition::compile(&rule.text("condition")?) {
            Ok(condition) => Some(RoutingRule { condition, exporters, stops }),
            Err(error) => {
                rule.mistake("condition", Wrong::Rule(error.to_string()), mistakes);
                None
            }
        }
    };
    nodes.iter().enumerate().filter_map(rule).collect()
}

/// The exporters that a key names; each must exist.
pub(super) fn exporter_names(
    values: &Values,
    key: &'static str,
    known: &[String],
    mistakes: &mut Mistakes,
) -> Vec<String> {
    let Some(Value::List(wanted)) = values.value(key) else { return Vec::new() };
    for name in wanted.iter().filter(|name| !known.contains(name)) {
        let near = nearest(name, known.iter().map(String::as_str));
        let hint = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "there is none".to_owned(),
            None => format!("there are: {}", known.join(", ")),
        };
        let wrong = format!("no exporter `{}`; {hint}", name.escape_debug());
        values.mistake(key, Wrong::Rule(wrong), mistakes);
    }
    wanted.clone()
}
