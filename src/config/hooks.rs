//! `response_hooks`: each is an exporter whose events are chosen by a condition, and whose requests
//! ask for actions.

use super::exporter::{Build, Read, Setting, is_name, paths, wrong_name};
use super::key::key;
use super::read::{fill, read};
use super::shared::SHARED;
use super::text::Node;
use super::value::Values;
use super::{Default, Exporter, HookSettings, Key, Kind, Mistake, Mistakes, Wrong};
use crate::pipeline::HookSpec;
use crate::transform::Condition;
use crate::vendors::hook::HOOK;
use Default::{Is, Unset};

/// The keys of a hook that are not of its requests.
const OWN: &[Key] = &[
    key(
        "when",
        Kind::Text(4096),
        Unset("required"),
        "Which events it answers, such as `severity == 'critical'`: the grammar of routing rules.",
    ),
    key(
        "action",
        Kind::Choice(ACTIONS),
        Unset("required"),
        "What it does: `webhook` sends a request. `pagerduty` and `opsgenie` are refused: hooks of this \
         version trigger through no exporter.",
    ),
    key(
        "params.headers",
        Kind::Secrets,
        Is("{}"),
        "Further request headers; their values are kept secret.",
    ),
    key(
        "params.exporter",
        Kind::Text(64),
        Unset("none"),
        "The exporter of actions `pagerduty` and `opsgenie`.",
    ),
    key("timeout_ms", Kind::Span(1, 30_000), Is("5000"), "How long a request may take."),
    key(
        "rate_limit.requests_per_second",
        Kind::Int(1, 1_000_000),
        Is("1"),
        "Requests a second at most.",
    ),
    key(
        "rate_limit.burst_size",
        Kind::Int(1, 1_000_000),
        Is("5"),
        "Requests at once after a quiet time.",
    ),
    key(
        "cooldown_seconds",
        Kind::Span(0, 30 * 86_400_000),
        Is("0"),
        "After an action, how long events of the same idempotency key cause no other; by when events \
         were received.",
    ),
    key(
        "max_age",
        Kind::Span(1_000, 30 * 86_400_000),
        Is("300s"),
        "Older events cause no action, and an action that does not succeed within it becomes a dead \
         letter.",
    ),
    key(
        "dry_run",
        Kind::Bool,
        Is("false"),
        "Sends nothing: what would have been asked for is logged and counted.",
    ),
];

/// The keys of exporters that hooks have as well.
const ALIKE: &[&str] = &[
    "enabled",
    "allow_http",
    "from",
    "lag_max_bytes",
    "on_lag",
    "alert_after_ms",
    "proxy",
    "dlq.",
    "retry.",
    "circuit_breaker.",
    "rate_limit.",
    "tls.",
    "connection.",
];

/// The keys of one of `response_hooks`.
#[must_use]
pub fn hook_keys() -> Vec<Key> {
    let mut keys: Vec<Key> = HOOK.options.iter().map(Key::of).chain(OWN.iter().copied()).collect();
    // `max_age` says how long a hook tries.
    let is_alike = |key: &&Key| {
        let is = |it: &str| key.path == it || it.ends_with('.') && key.path.starts_with(it);
        key.path != "retry.max_age" && ALIKE.iter().copied().any(is)
    };
    for key in SHARED.iter().filter(is_alike) {
        if keys.iter().all(|own| own.path != key.path) {
            // The other spellings are of documents about exporters.
            keys.push(Key { aliases: &[], ..*key });
        }
    }
    keys
}

/// Reads the hook at a place of the list.
pub(super) fn hook(
    number: usize,
    node: &Node,
    setting: &Setting<'_>,
    mistakes: &mut Mistakes,
) -> (String, Read) {
    let place = format!("response_hooks[{number}]");
    let table = hook_keys();
    let before = mistakes.count();
    let mut values = read(node, &place, &table, setting.names, mistakes);
    fill(&mut values, SHARED, setting.names);
    for key in ["name", "when", "action"].into_iter().filter(|key| !values.is_written(key)) {
        let wrong = Wrong::Rule(format!("a hook needs `{key}`"));
        mistakes.add(Mistake::new(node.at.clone(), place.as_str(), wrong));
    }
    let name = values.text("name").unwrap_or_default();
    if !name.is_empty() && !is_name(&name) {
        values.mistake("name", wrong_name(), mistakes);
    }
    is_to_be_had(&values, setting, mistakes);
    let when = condition(&values, mistakes);
    let mut build = Build {
        vendor: &HOOK,
        headers: "params.headers",
        values: &values,
        setting,
        mistakes,
        before,
        notes: Vec::new(),
    };
    let mut exporter = build.exporter(&name, &table);
    let notes = build.notes;
    let age_max = values.span("max_age").unwrap_or_default();
    exporter.settings.retry.age_max = Some(age_max);
    let spec = HookSpec {
        cooldown: values.span("cooldown_seconds").unwrap_or_default(),
        age_max,
        is_dry: values.is_on("dry_run"),
        path: setting.state_dir.join("hooks").join(&name),
    };
    debug_assert_eq!(values.unasked(&table), Vec::<&str>::new(), "keys without effect");
    let paths = paths(&exporter.settings, &values);
    let is_on = values.is_on("enabled");
    let exporter = when.filter(|_| is_on).map(|when| {
        let hook = Some(HookSettings { when, spec, place });
        Box::new(Exporter { hook, ..exporter })
    });
    let conversions = values.conversions();
    (name, Read { exporter, notes, conversions, paths, credentials_interval: None })
}

/// Tells of actions that hooks of this version do not have.
fn is_to_be_had(values: &Values, setting: &Setting<'_>, mistakes: &mut Mistakes) {
    let action = values.text("action").unwrap_or_default();
    let has_exporter = values.is_written("params.exporter");
    if action == "webhook" && has_exporter {
        let wrong = "is of actions pagerduty and opsgenie; a webhook has `params.url`";
        values.mistake("params.exporter", Wrong::Rule(wrong.to_owned()), mistakes);
    }
    if ACTIONS[1..].contains(&action.as_str()) && values.is_on("enabled") {
        let wrong = match setting.vendors.iter().any(|vendor| vendor.name == action) {
            true => format!(
                "hooks of this version send webhooks only: nothing would be triggered; an exporter \
                 of type {action} triggers by itself for the events that its `filter` or a routing \
                 rule chooses"
            ),
            false => format!(
                "{action} needs an exporter of that type, which this version does not have: \
                 nothing would be triggered; use `action: webhook` with `params.url`, to something \
                 that calls it, or a `webhook` exporter whose `template` writes its body"
            ),
        };
        values.mistake("action", Wrong::Rule(wrong), mistakes);
    }
}

fn condition(values: &Values, mistakes: &mut Mistakes) -> Option<Condition> {
    let compiled = Condition::compile(&values.text("when")?);
    compiled.map_err(|error| values.mistake("when", Wrong::Rule(error.to_string()), mistakes)).ok()
}

/// The allowlist: no hook runs code of its own.
const ACTIONS: &[&str] = &["webhook", "pagerduty", "opsgenie"];
