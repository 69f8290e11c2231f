//! The JSON Schema of a configuration file, from the same tables that read it.
//!
//! Other forms that are read too are part of it: lists of exporters, groups, wrappers and queues. A
//! reference (`${VAR}`) is allowed wherever a single value is.

use serde_json::{Map, Value, json};

use super::forms::{GROUPS, QUEUES};
use super::key::{ENCODINGS, SEVERITIES, SIZES, Unit};
use super::{
    Default, FILTER, INPUT, Key, Kind, PATTERN, ROUTING_RULE, SHARED, TOKEN, hook_keys, keys_of,
    server_keys, top,
};
use crate::deliver::Vendor;
use crate::event::FieldId;

/// The schema (draft 2020-12) of a file with exporters to these destinations.
#[must_use]
pub fn json_schema(vendors: &[&'static Vendor]) -> Value {
    let mut defs = Map::new();
    for &vendor in vendors {
        let mut exporter = object(&keys_of(vendor));
        if !vendor.route_keys.is_empty() {
            let is_overridden = |key: &&Key| vendor.route_keys.contains(&key.path);
            let condition = ROUTING_RULE.iter().filter(|key| key.path == "condition").copied();
            let keys = vendor.options.iter().map(Key::of);
            let rule: Vec<Key> = keys.filter(|key| is_overridden(&key)).chain(condition).collect();
            let mut rule = object(&rule);
            rule["required"] = json!(["condition"]);
            let routing = &mut exporter["properties"]["routing"];
            // A list of rules, and where there are maps too, a map of both.
            match vendor.route_maps {
                [] => routing["items"] = rule,
                _ => {
                    routing["anyOf"][0]["items"] = rule.clone();
                    routing["anyOf"][1]["properties"]["rules"]["items"] = rule;
                }
            }
        }
        QUEUES.iter().for_each(|path| put_queue(&mut exporter, path));
        exporter["description"] = format!("{}.", vendor.about.trim_end_matches('.')).into();
        defs.insert(format!("exporter.{}", vendor.name), exporter);
    }
    defs.insert("exporters".to_owned(), exporters(vendors));
    defs.insert("input".to_owned(), object(INPUT));
    defs.insert("pattern".to_owned(), object(PATTERN));
    defs.insert("token".to_owned(), object(TOKEN));
    defs.insert("server".to_owned(), object(&server_keys()));
    defs.insert("response_hook".to_owned(), object(&hook_keys()));
    defs.insert("routing_rule".to_owned(), object(ROUTING_RULE));
    defs.insert("technique".to_owned(), technique());
    defs.insert("reference".to_owned(), json!({ "type": "string", "pattern": REFERENCE }));
    let mut root = wrapped(object(&top()));
    root["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    root["title"] = "Configuration of shrike".into();
    root["$defs"] = defs.into();
    root
}

/// The map of a table: dotted paths become objects inside each other.
fn object(table: &[Key]) -> Value {
    let mut root = Step::default();
    for key in table {
        for (nth, spelling) in key.spellings().enumerate() {
            let leaf = root.below(spelling);
            let mut value = kind(key.kind, spelling);
            let about = match (nth, key.is_opposite(spelling)) {
                (0, _) => key.about.to_owned(),
                (_, false) => format!("Another spelling of `{}`.", key.path),
                (_, true) => format!("The opposite of `{}`.", key.path),
            };
            value.insert("description".to_owned(), about.into());
            match key.default {
                _ if nth > 0 => {
                    value.insert("deprecated".to_owned(), true.into());
                }
                // Those that name another key or the machine are no values.
                Default::Is(text) if !text.contains("${") && !key.kind.is_secret() => {
                    value.insert("default".to_owned(), default(key.kind, text));
                }
                Default::Is(text) | Default::Unset(text) => {
                    let about = format!("{} Default: {text}.", key.about);
                    value.insert("description".to_owned(), about.into());
                }
            }
            leaf.value = Some(value);
        }
    }
    root.json()
}

/// One step of the dotted paths: a value, steps below, or both.
#[derive(Debug, std::default::Default)]
struct Step {
    value: Option<Map<String, Value>>,
    below: std::collections::BTreeMap<&'static str, Step>,
}

impl Step {
    fn below(&mut self, path: &'static str) -> &mut Self {
        path.split('.').fold(self, |step, name| step.below.entry(name).or_default())
    }

    fn json(self) -> Value {
        let is_inner = !self.below.is_empty();
        let properties: Map<String, Value> =
            self.below.into_iter().map(|(name, step)| (name.to_owned(), step.json())).collect();
        let map = json!({
            "type": ["object", "null"],
            "properties": properties,
            "additionalProperties": false,
        });
        match (self.value, is_inner) {
            (None, _) => map,
            (Some(value), false) => value.into(),
            // `compression: gzip`, or the same with its level.
            (Some(mut value), true) => {
                let description = value.remove("description");
                let default = value.remove("default");
                let mut both = json!({ "anyOf": [value, map] });
                both["description"] = description.unwrap_or_default();
                if let Some(default) = default {
                    both["default"] = default;
                }
                both
            }
        }
    }
}

/// A queue, whatever is said of it.
fn put_queue(exporter: &mut Value, path: &str) {
    let mut place = &mut exporter["properties"];
    let mut steps = path.split('.').peekable();
    while let Some(step) = steps.next() {
        place = &mut place[step];
        if steps.peek().is_some() {
            place = &mut place["properties"];
        }
    }
    let about = "There is no queue, waiting events stay in the log: `lag_max_bytes`, `on_lag`.";
    *place = json!({ "description": about, "deprecated": true });
}

/// The whole, or a part of it, inside `siem` or `export`. Beside `siem`, keys of the program whose
/// file it is are no mistakes.
fn wrapped(mut root: Value) -> Value {
    let steps: Vec<String> =
        root["properties"].as_object().into_iter().flat_map(Map::keys).cloned().collect();
    let at = |pointer: &str| json!({ "$ref": format!("#/properties/{pointer}") });
    let mut inner: Map<String, Value> = steps.iter().map(|step| (step.clone(), at(step))).collect();
    for (name, pointer) in [
        ("filters", "filtering"),
        ("filter", "filtering"),
        ("environment", "global/properties/environment"),
        ("tenant_id", "global/properties/tenant_id"),
        ("labels", "global/properties/labels"),
    ] {
        inner.insert(name.to_owned(), at(pointer));
    }
    let switch = json!({ "description": "false switches every exporter off." });
    inner.insert("enabled".to_owned(), switch);
    let wrapper = json!({
        "description": "The same keys, as other documents write them.",
        "deprecated": true,
        "type": ["object", "null"],
        "properties": inner,
        "additionalProperties": false,
    });
    for name in ["siem", "export"] {
        root["properties"][name] = wrapper.clone();
    }
    let names: Vec<&str> = steps.iter().map(String::as_str).chain(["siem", "export"]).collect();
    if let Some(root) = root.as_object_mut() {
        root.remove("additionalProperties");
    }
    root["if"] = json!({ "required": ["siem"] });
    root["else"] = json!({ "propertyNames": { "enum": names } });
    root
}

/// Exporters by name: their type is `type`, else what the name begins with. Or a list of them, each
/// with its type; or, under a group's name, several with what they share.
fn exporters(vendors: &[&'static Vendor]) -> Value {
    let names = |vendor: &'static Vendor| {
        std::iter::once(vendor.name).chain(vendor.aliases.iter().copied())
    };
    let definition =
        |vendor: &Vendor| json!({ "$ref": format!("#/$defs/exporter.{}", vendor.name) });
    let typed: Vec<Value> = vendors
        .iter()
        .map(|&vendor| {
            let words: Vec<&str> = names(vendor).collect();
            json!({
                "if": { "properties": { "type": { "enum": words } }, "required": ["type"] },
                "then": definition(vendor),
            })
        })
        .collect();
    let known: Vec<&str> = vendors.iter().copied().flat_map(names).collect();
    let by_type = json!({
        "properties": { "type": { "anyOf": [{ "enum": known }, { "$ref": "#/$defs/reference" }] } },
        "required": ["type"],
        "allOf": typed,
    });
    let (mut patterns, mut groups) = (Map::new(), Map::new());
    for &(name, members) in GROUPS {
        groups.insert(name.to_owned(), group(members, &by_type, vendors));
    }
    for &vendor in vendors {
        for name in names(vendor) {
            let rule = json!({
                "if": { "type": "object", "required": ["type"] },
                "then": by_type,
                "else": definition(vendor),
            });
            match groups.get_mut(name) {
                // The group's name is an exporter's too: members tell, where no type is said.
                Some(group) => {
                    *group = json!({
                        "if": {
                            "type": "object",
                            "anyOf": group["anyOf"],
                            "not": { "required": ["type"] },
                        },
                        "then": group.take(),
                        "else": rule,
                    });
                    patterns.insert(format!("^{name}[_-].*$"), rule);
                }
                None => _ = patterns.insert(format!("^{name}([_-].*)?$"), rule),
            }
        }
    }
    let map = json!({
        "type": ["object", "null"],
        "propertyNames": { "pattern": "^[a-z0-9_-]{1,64}$" },
        "properties": groups,
        "patternProperties": patterns,
        "additionalProperties": by_type,
    });
    one_or_many(&map, &by_type)
}

/// One thing, or a list of things. Not `anyOf`, which hides where in them a mistake is.
fn one_or_many(one: &Value, item: &Value) -> Value {
    json!({ "if": { "type": "array" }, "then": { "items": item }, "else": one })
}

/// Several exporters, and the keys that they share.
fn group(members: &[&str], by_type: &Value, vendors: &[&'static Vendor]) -> Value {
    let shared = SHARED.iter().chain(FILTER).filter(|key| key.path != "type").copied();
    let mut group = object(&shared.collect::<Vec<Key>>());
    let mut some = Vec::new();
    for &member in members {
        let single = member.strip_suffix('s').unwrap_or(member);
        let known = vendors.iter().find(|vendor| vendor.name == single);
        let one = match known {
            Some(vendor) => json!({
                "if": { "type": "object", "required": ["type"] },
                "then": by_type,
                "else": { "$ref": format!("#/$defs/exporter.{}", vendor.name) },
            }),
            None => by_type.clone(),
        };
        group["properties"][member] = one_or_many(&one, &one);
        some.push(json!({ "required": [member] }));
    }
    group["type"] = "object".into();
    group["anyOf"] = some.into();
    group
}

fn technique() -> Value {
    json!({
        "type": "object",
        "properties": {
            "tactic": { "type": ["string", "number", "null"] },
            "technique": { "type": ["string", "number", "null"] },
        },
        "additionalProperties": false,
    })
}

/// What a kind takes under a spelling, as the members of a schema.
fn kind(taken: Kind, spelling: &str) -> Map<String, Value> {
    let schema = match taken {
        Kind::Text(max) | Kind::LongText(max) => {
            either([json!({ "type": SCALAR, "maxLength": max }), reference()])
        }
        Kind::Secret => json!({ "type": SCALAR }),
        Kind::Uuid => json!({ "type": ["string", "null"] }),
        Kind::Version => json!({ "type": ["string", "number", "null"], "minimum": 0 }),
        Kind::Path => json!({ "type": SCALAR, "minLength": 1 }),
        Kind::Url | Kind::SecretUrl => either([url(), json!({ "type": "null" })]),
        Kind::Proxy => {
            either([json!({ "enum": ["none", "env"] }), url(), json!({ "type": "null" })])
        }
        Kind::Urls => either([url(), json!({ "type": "array", "items": url(), "minItems": 1 })]),
        Kind::Bool => {
            either([json!({ "type": ["boolean", "null"] }), json!({ "enum": TRUTHS }), reference()])
        }
        Kind::Int(min, max) => number(min, max),
        Kind::IntOrAuto(min, max) => either([json!({ "const": "auto" }), number(min, max)]),
        Kind::Hundredths(min, max) => either([
            json!({
                "type": ["number", "null"],
                "minimum": min as f64 / 100.0,
                "maximum": max as f64 / 100.0,
            }),
            json!({ "type": "string", "pattern": r"^[0-9]+(\.[0-9]{1,2})?$" }),
            reference(),
        ]),
        Kind::Size(min, max) => {
            let units: Vec<&str> = SIZES.iter().map(|(symbol, _)| *symbol).collect();
            either([
                json!({ "type": ["integer", "null"], "minimum": min, "maximum": max }),
                json!({ "type": "string", "pattern": format!("^[0-9]+ *({})?$", units.join("|")) }),
                reference(),
            ])
        }
        Kind::Span(min, _) => span(spelling, min),
        Kind::SpanOrNone(min) => either([json!({ "const": "none" }), span(spelling, min)]),
        Kind::Choice(words) => words_of(words),
        Kind::ChoiceOrList(words) => either([words_of(words), list()]),
        Kind::List => either([list(), json!({ "type": SCALAR })]),
        // Words of severities and their other spellings are read in any case.
        Kind::Severity => {
            let mut schema = either([
                json!({ "type": ["string", "null"], "pattern": format!("^(?i:{SEVERITY_WORDS})$") }),
                reference(),
            ]);
            schema["examples"] = SEVERITIES.into();
            schema
        }
        Kind::Texts | Kind::Secrets => {
            json!({ "type": ["object", "null"], "additionalProperties": { "type": SCALAR } })
        }
        Kind::Maps(names) => {
            let text = json!({ "type": SCALAR });
            let texts: Map<String, Value> =
                names.iter().map(|&name| (name.to_owned(), text.clone())).collect();
            json!({
                "type": ["array", "null"],
                "items": {
                    "type": "object",
                    "properties": texts,
                    "additionalProperties": false,
                },
            })
        }
        Kind::Map(of) => json!({
            "type": ["object", "null"],
            "additionalProperties": kind(Kind::of(of), spelling),
        }),
        Kind::Mappings => {
            let fields: Vec<&str> = FieldId::ALL.iter().map(|field| field.path()).collect();
            json!({
                "type": ["object", "null"],
                "propertyNames": { "enum": fields },
                "additionalProperties": { "type": SCALAR },
            })
        }
        Kind::Mitre => json!({
            "type": ["object", "null"],
            "additionalProperties": {
                "anyOf": [{ "$ref": "#/$defs/technique" }, { "type": "null" }],
            },
        }),
        Kind::Start => json!({ "type": ["string", "null"] }),
        Kind::Compression => {
            let truth = json!({ "type": ["boolean", "null"] });
            either([truth, json!({ "enum": TRUTHS }), words_of(ENCODINGS)])
        }
        Kind::Inputs => items("input"),
        Kind::Exporters => json!({ "$ref": "#/$defs/exporters" }),
        // A map of tables is another form of it.
        Kind::Routes => items("routing_rule"),
        Kind::Patterns => items("pattern"),
        Kind::Tokens => items("token"),
        Kind::Hooks => items("response_hook"),
        Kind::Object(_) => json!({ "type": ["object", "null"] }),
        Kind::Servers => items("server"),
    };
    match schema {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn either<const N: usize>(schemas: [Value; N]) -> Value {
    json!({ "anyOf": schemas.to_vec() })
}

fn reference() -> Value {
    json!({ "$ref": "#/$defs/reference" })
}

fn number(min: u64, max: u64) -> Value {
    either([
        json!({ "type": ["integer", "null"], "minimum": min, "maximum": max }),
        json!({ "type": "string", "pattern": "^[0-9]+$" }),
        reference(),
    ])
}

fn url() -> Value {
    either([json!({ "type": "string", "pattern": "^https?://." }), reference()])
}

fn words_of(words: &[&str]) -> Value {
    either([json!({ "enum": words }), json!({ "type": "null" }), reference()])
}

fn list() -> Value {
    json!({ "type": "array", "items": { "type": ["string", "number", "boolean"] } })
}

/// A whole number needs a unit in the name of its key.
fn span(spelling: &str, min: u64) -> Value {
    let units = "(ms|s|m|h|d)";
    let number = if min == 0 { "[0-9]+" } else { "0*[1-9][0-9]*" };
    match Unit::of_key(spelling) {
        Some(unit) => either([
            json!({
                "type": ["integer", "null"],
                "minimum": min.div_ceil(unit.milliseconds()),
            }),
            json!({ "type": "string", "pattern": format!("^{number} *{units}?$") }),
            reference(),
        ]),
        None => either([
            json!({ "type": ["string", "null"], "pattern": format!("^{number} *{units}$") }),
            reference(),
        ]),
    }
}

fn items(definition: &str) -> Value {
    json!({
        "type": ["array", "null"],
        "items": { "$ref": format!("#/$defs/{definition}") },
    })
}

/// The default as the value that it is.
fn default(kind: Kind, text: &str) -> Value {
    let plain = || Value::from(text.trim_matches('"'));
    match kind {
        Kind::Bool | Kind::Compression => {
            text.parse::<bool>().map_or_else(|_| plain(), Value::from)
        }
        Kind::Int(..) | Kind::IntOrAuto(..) | Kind::Size(..) | Kind::Span(..) => {
            text.parse::<u64>().map_or_else(|_| plain(), Value::from)
        }
        Kind::Hundredths(..) => text.parse::<f64>().map_or_else(|_| plain(), Value::from),
        Kind::List
        | Kind::Urls
        | Kind::Inputs
        | Kind::Routes
        | Kind::Maps(_)
        | Kind::Patterns
        | Kind::Tokens
        | Kind::Servers
        | Kind::Hooks => {
            let inner = text.trim_start_matches('[').trim_end_matches(']');
            let words = inner.split(',').map(str::trim).filter(|word| !word.is_empty());
            words.map(Value::from).collect()
        }
        Kind::Texts
        | Kind::Secrets
        | Kind::Mappings
        | Kind::Map(_)
        | Kind::Mitre
        | Kind::Exporters
        | Kind::Object(_) => json!({}),
        _ => plain(),
    }
}

/// Single values; YAML writes texts such as `8088` without quotes.
const SCALAR: [&str; 4] = ["string", "number", "boolean", "null"];
/// Truth values that were quoted.
const TRUTHS: [&str; 6] = ["true", "True", "TRUE", "false", "False", "FALSE"];
/// What a reference looks like.
const REFERENCE: &str = r"\$\{";
/// The words of severities, in any case.
const SEVERITY_WORDS: &str = "info|low|medium|high|critical|informational|warning|warn|error|none";
