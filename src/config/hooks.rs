//! `response_hooks`: each is an exporter whose events are chosen by a condition, and whose requests
//! ask for actions.

use super::exporter::{Build, Read, Setting, is_name, paths, problems, wrong_name};
use super::key::key;
use super::read::{fill, read};
use super::shared::SHARED;
use super::text::Node;
use super::value::Values;
use super::{Default, Exporter, HookSettings, Key, Kind, Mistake, Mistakes, Wrong};
use crate::deliver::{ConnectionSettings, OptionValue, Options, Settings};
use crate::pipeline::HookSpec;
use crate::transform::Condition;
use crate::vendors::hook::{HOOK, THROUGH, Through};
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
        "What it does: `webhook` sends a request, `pagerduty` triggers an incident, `opsgenie` makes an \
         alert.",
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
        "The exporter that actions `pagerduty` and `opsgenie` go through: the hook has its key, endpoint, \
         connection, mapping and routing.",
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
    others: &Others<'_>,
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
    let through = THROUGH.iter().find(|it| values.text("action").as_deref() == Some(it.action));
    let lender = lender(&values, &table, through, others, mistakes);
    let when = condition(&values, mistakes);
    let (mut vendor, mut lent) = (&HOOK, Options::default());
    if let Some((through, lender)) = through.zip(lender) {
        vendor = through.vendor;
        lent = lender.settings.options.clone();
        let template = values.text("idempotency_key").unwrap_or_default();
        lent.set(through.template, OptionValue::Text(template));
    }
    let is_well = |it: &Exporter| problems(it.settings.vendor, &it.settings.options).is_empty();
    let mut build = Build {
        vendor,
        headers: "params.headers",
        values: &values,
        lent,
        setting,
        mistakes,
        // What is wrong with the other exporter is told there.
        before: if lender.is_none_or(is_well) { before } else { 0 },
        notes: Vec::new(),
    };
    let mut exporter = build.exporter(&name, &table);
    let notes = build.notes;
    if let Some(lender) = lender {
        exporter = borrowing(exporter, lender);
    }
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

/// What hooks may go through.
pub(super) struct Others<'a> {
    /// Those that run, other hooks among them.
    pub(super) exporters: &'a [Exporter],
    pub(super) disabled: &'a [String],
    /// Every name, also of those that could not be read.
    pub(super) names: &'a [String],
}

/// The exporter that a hook goes through, and what is wrong where it cannot.
fn lender<'a>(
    values: &Values,
    table: &[Key],
    through: Option<&Through>,
    others: &Others<'a>,
    mistakes: &mut Mistakes,
) -> Option<&'a Exporter> {
    let named = values.text("params.exporter");
    let Some(&Through { action, .. }) = through else {
        if named.is_some() && values.text("action").is_some() {
            let wrong = "is of actions pagerduty and opsgenie; a webhook has `params.url`";
            values.mistake("params.exporter", Wrong::Rule(wrong.to_owned()), mistakes);
        }
        return None;
    };
    for key in HOOK.options {
        let _asked = values.value(key.key);
    }
    if !values.is_on("enabled") {
        return None;
    }
    let is_way = |path: &str| {
        let is_params = path.starts_with("params.") && path != "params.exporter";
        is_params
            || ["proxy", "allow_http"].contains(&path)
            || WAYS.iter().any(|it| path.starts_with(it))
    };
    for key in table.iter().filter(|key| is_way(key.path) && values.is_written(key.path)) {
        let wrong = format!("has no effect with action {action}: that is as the exporter has it");
        values.mistake(key.path, Wrong::Rule(wrong), mistakes);
    }
    let mut refuse = |key: &str, wrong: String| values.mistake(key, Wrong::Rule(wrong), mistakes);
    let Some(named) = named else {
        let wrong = "needs `params.exporter`, the name of an exporter of that type, whose key and \
                     endpoint it uses";
        refuse("action", format!("{action} {wrong}"));
        return None;
    };
    let is_named = |it: &&Exporter| it.hook.is_none() && it.settings.name == named;
    let found = others.exporters.iter().find(is_named);
    match found.map(|it| it.settings.vendor.name) {
        Some(kind) if kind == action => return found,
        Some(kind) => refuse(
            "params.exporter",
            format!("`{named}` is of type {kind}; action {action} needs one of type {action}"),
        ),
        None if others.disabled.contains(&named) => refuse(
            "params.exporter",
            format!("`{named}` is switched off (`enabled: false`); a hook needs one that runs"),
        ),
        // What is wrong with it is told there.
        None if others.names.contains(&named) => {}
        None => refuse(
            "params.exporter",
            format!("there is no exporter `{named}`; action {action} needs one of type {action}"),
        ),
    }
    None
}

/// A hook that goes the way of another exporter, and tells no more than that does.
fn borrowing(hook: Exporter, lender: &Exporter) -> Exporter {
    let Settings { tls, connection, headers, .. } = lender.settings.clone();
    let connection = ConnectionSettings { timeout: hook.settings.connection.timeout, ..connection };
    Exporter {
        settings: Settings { tls, connection, headers, ..hook.settings },
        privacy: lender.privacy.clone(),
        routes: lender.routes.clone(),
        ..hook
    }
}

fn condition(values: &Values, mistakes: &mut Mistakes) -> Option<Condition> {
    let compiled = Condition::compile(&values.text("when")?);
    compiled.map_err(|error| values.mistake("when", Wrong::Rule(error.to_string()), mistakes)).ok()
}

/// Keys of the way to a destination.
const WAYS: &[&str] = &["tls.", "connection."];

/// The allowlist: no hook runs code of its own.
const ACTIONS: &[&str] = &["webhook", "pagerduty", "opsgenie"];
