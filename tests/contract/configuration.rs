//! The JSON Schema of the configuration against the reader itself: both must agree.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use shrike::config::{
    Config, Error, Flags, INPUT, Key, Kind, Mistake, PATTERN, ROUTING_RULE, Sources, TOKEN, Text,
    Wrong, hook_keys, json_schema, keys_of, server_keys, top,
};
use shrike::vendors;

/// Values of every JSON type and of every spelling that a kind takes.
fn probes() -> Vec<Value> {
    let texts = ["", "true", "5", "10s", "1.5", "text", "none", "High", "${SHRIKE_UNSET:-x}"];
    let mut probes: Vec<Value> = texts.into_iter().map(Value::from).collect();
    let others = json!([null, true, 5, 1.5, -1, [], ["a"], [["a"]], {}, {"nonsense": {"a": 1}}]);
    probes.extend(others.as_array().into_iter().flatten().cloned());
    probes
}

/// A key at a place, under one of its spellings.
struct Spot {
    key: Key,
    /// As the reader names it.
    path: String,
    /// As the schema's judge names it (RFC 6901).
    pointer: String,
    /// The key that it lies below, where that is a value too: `compression` of its level.
    inside: Option<String>,
}

impl Spot {
    fn new(place: &str, spelling: &str, key: &Key) -> Self {
        let path = format!("{place}{spelling}");
        let pointer = format!("/{}", path.replace("[0]", ".0").replace('.', "/"));
        Self { key: *key, path, pointer, inside: None }
    }

    fn all() -> Vec<Self> {
        let tables = [
            "inputs",
            "exporters",
            "routing.rules",
            "privacy.patterns",
            "admin.tokens",
            "threat_intel.servers",
            "response_hooks",
            "version",
        ];
        let mut spots = Vec::new();
        for key in top().iter().filter(|key| !tables.contains(&key.path)) {
            spots.push(Self::new("", key.path, key));
        }
        let (hooks, servers) = (hook_keys(), server_keys());
        for (table, place) in [
            (hooks.as_slice(), "response_hooks"),
            (servers.as_slice(), "threat_intel.servers"),
            (INPUT, "inputs"),
            (ROUTING_RULE, "routing.rules"),
            (PATTERN, "privacy.patterns"),
            (TOKEN, "admin.tokens"),
        ] {
            spots.extend(table.iter().map(|key| Self::new(&format!("{place}[0]."), key.path, key)));
        }
        for vendor in vendors::ALL {
            let place = format!("exporters.{}.", vendor.name);
            // Keys that all share are looked at once.
            let is_own = |key: &Key| vendor.options.iter().any(|option| option.key == key.path);
            for key in keys_of(vendor) {
                let is_looked_at = vendor.name == "splunk" || is_own(&key);
                if !is_looked_at || key.path == "type" {
                    continue;
                }
                spots.push(Self::new(&place, key.path, &key));
                let aliases = key.aliases.iter().map(|alias| alias.trim_start_matches('!'));
                spots.extend(aliases.map(|alias| Self::new(&place, alias, &key)));
            }
        }
        let pointers: Vec<String> = spots.iter().map(|spot| spot.pointer.clone()).collect();
        for spot in &mut spots {
            let above = |it: &&String| spot.pointer != **it && is_below(&spot.pointer, it);
            spot.inside = pointers.iter().find(above).cloned();
        }
        spots
    }

    /// Whether one of two lies inside the other, or both inside a third.
    fn meets(&self, other: &Self) -> bool {
        let are_siblings = self.inside.is_some() && self.inside == other.inside;
        let (a, b) = (&self.pointer, &other.pointer);
        are_siblings || is_below(a, b) || is_below(b, a)
    }
}

fn is_below(pointer: &str, above: &str) -> bool {
    pointer.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Groups of spots that can be written at once; a reader tells a hundred mistakes at most.
fn groups(spots: Vec<Spot>) -> Vec<Vec<Spot>> {
    let mut groups: Vec<Vec<Spot>> = Vec::new();
    for spot in spots {
        let fits = |group: &&mut Vec<Spot>| {
            group.len() < GROUP && group.iter().all(|other| !other.meets(&spot))
        };
        match groups.iter_mut().find(fits) {
            Some(group) => group.push(spot),
            None => groups.push(vec![spot]),
        }
    }
    groups
}

/// Puts a value where a pointer says, through maps and the first items of lists.
fn put(root: &mut Value, pointer: &str, value: Value) {
    let mut steps = pointer.trim_start_matches('/').split('/').peekable();
    let mut at = root;
    while let Some(step) = steps.next() {
        let empty = match steps.peek() {
            Some(&"0") => json!([]),
            Some(_) => json!({}),
            None => value.clone(),
        };
        at = match at {
            Value::Array(items) => {
                if items.is_empty() {
                    items.push(empty);
                }
                &mut items[0]
            }
            Value::Object(map) => map.entry(step).or_insert(empty),
            other => panic!("{pointer} leads into {other}"),
        };
    }
}

/// The paths that the reader finds to be of the wrong kind, or unknown.
fn refused(config: &Value) -> Vec<String> {
    let text = Text::File { name: "c".to_owned(), text: config.to_string().into() };
    match Config::load(&text, &Flags::default(), vendors::ALL, &Sources::default()) {
        Ok(_) => Vec::new(),
        Err(Error::Wrong(mistakes)) => {
            let is_of_kind = |wrong: &Wrong| {
                matches!(wrong, Wrong::Kind { .. } | Wrong::Word { .. } | Wrong::Unknown { .. })
            };
            let is_refused = |it: &&Mistake| is_of_kind(&it.wrong);
            let of_kind = mistakes.iter().filter(is_refused);
            of_kind.map(|mistake| mistake.path.clone()).collect()
        }
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn the_schema_and_the_reader_agree_on_every_key() {
    let validator = jsonschema::validator_for(&json_schema(vendors::ALL)).expect("a schema");
    let mut found = Vec::new();
    for group in groups(Spot::all()) {
        for probe in probes() {
            let mut config = json!({});
            group.iter().for_each(|spot| put(&mut config, &spot.pointer, probe.clone()));
            let refused = refused(&config);
            let errors = validator.iter_errors(&config);
            let invalid: Vec<String> =
                errors.map(|error| error.instance_path().to_string()).collect();
            for Spot { key, path, pointer, inside } in &group {
                let is_of = |it: &String| {
                    let rest = it.strip_prefix(path.as_str());
                    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
                };
                let read = !refused.iter().any(is_of);
                let is_hit = |it: &String| is_below(it, pointer) || Some(it) == inside.as_ref();
                let valid = !invalid.iter().any(is_hit);
                // The schema says the form of a value; what a text means is the reader's alone.
                let is_finer = valid && probe.is_string();
                // Names of fields are a rule of their own to the reader.
                let is_named = matches!(key.kind, Kind::Mappings) && probe.is_object();
                if valid != read && !is_finer && !is_named {
                    let kind = key.kind;
                    let said = format!("{path} ({kind:?}): {probe}: schema {valid}, reader {read}");
                    found.push(said);
                }
            }
        }
    }
    assert!(found.is_empty(), "{} differences:\n{}", found.len(), found.join("\n"));
}

/// Keys in one configuration.
const GROUP: usize = 90;

#[test]
fn the_schema_takes_what_the_readme_shows_and_knows_names_and_types() {
    let validator = jsonschema::validator_for(&json_schema(vendors::ALL)).expect("a schema");
    for (config, expected) in [
        (json!({}), true),
        (json!({ "exporters": { "splunk_eu": { "index": "x" } } }), true),
        (json!({ "exporters": { "splunk_eu": { "indexx": "x" } } }), false),
        (json!({ "exporters": { "eu": { "type": "splunk", "index": "x" } } }), true),
        (json!({ "exporters": { "eu": { "type": "splunk", "indexx": "x" } } }), false),
        (json!({ "exporters": { "eu": { "index": "x" } } }), false),
        (json!({ "exporters": { "eu": { "type": "spunk" } } }), false),
        (json!({ "exporters": { "splunk": { "type": "elastic", "nodes": "https://a" } } }), true),
        (
            json!({ "exporters": { "splunk": { "type": "elastic", "hec_url": "https://a" } } }),
            false,
        ),
        (
            json!({ "exporters": { "splunk": { "routing": [{ "condition": "a", "index": "x" }] } } }),
            true,
        ),
        (json!({ "exporters": { "splunk": { "routing": [{ "index": "x" }] } } }), false),
        (json!({ "exporters": { "splunk": { "compression": { "level": 3 } } } }), true),
        (json!({ "exporters": { "splunk": { "compression": { "livel": 3 } } } }), false),
        (json!({ "global": { "labels": { "a": "b" } }, "globall": {} }), false),
    ] {
        assert_eq!(validator.is_valid(&config), expected, "{config}");
    }
}

#[test]
fn the_schema_takes_the_forms_of_other_documents_as_the_reader_does() {
    let validator = jsonschema::validator_for(&json_schema(vendors::ALL)).expect("a schema");
    let splunk = json!({ "hec_url": "https://a", "hec_token": "t" });
    let listed = json!({ "type": "splunk", "url": "https://a", "token": "t", "source_type": "s" });
    let hook = json!({ "url": "https://a" });
    let typed = json!({ "type": "webhook", "url": "https://a" });
    for (config, expected) in [
        (json!({ "exporters": [listed, listed] }), true),
        (json!({ "exporters": [{ "url": "https://a" }] }), false),
        (json!({ "exporters": [{ "type": "spunk", "url": "https://a" }] }), false),
        (json!({ "exporters": [{ "type": "splunk", "urll": "https://a" }] }), false),
        (json!({ "exporters": { "webhook": hook, "webhook_eu": hook } }), true),
        (
            json!({ "exporters": { "webhook": { "webhooks": [hook, hook], "batch_size": 5 } } }),
            true,
        ),
        (
            json!({ "exporters": { "webhooks": { "min_severity": "low", "webhooks": [hook] } } }),
            true,
        ),
        (
            json!({ "exporters": { "webhooks": { "min_severety": "low", "webhooks": [hook] } } }),
            false,
        ),
        (json!({ "exporters": { "webhooks": { "webhooks": [{ "urll": "https://a" }] } } }), false),
        (json!({ "exporters": { "webhooks": { "slack": typed } } }), true),
        (json!({ "exporters": { "webhooks": { "slack": hook } } }), false),
        (json!({ "exporters": { "webhook_eu": { "webhooks": [hook] } } }), false),
        (
            json!({ "exporters": { "alerting": { "pagerduty": typed, "retry": { "max_retries": 1 } } } }),
            true,
        ),
        (json!({ "exporters": { "alerting": { "min_severity": "high" } } }), false),
        (
            json!({ "siem": { "exporters": { "splunk": splunk }, "environment": "a" }, "listen": 1 }),
            true,
        ),
        (json!({ "siem": { "exporterz": {} } }), false),
        (json!({ "listen": 1 }), false),
        (json!({ "export": { "enabled": false, "filters": { "domains": ["a"] } } }), true),
        (json!({ "export": { "filters": { "domain": ["a"] } } }), false),
        (json!({ "export": { "labels": { "a": "b" } }, "listen": 1 }), false),
        (
            json!({ "exporters": { "webhook": {
                "url": "https://a", "queue": { "max_bytes": "2GiB", "persistent": true },
                "queue_capacity": 5, "runtime": { "queue_capacity": 5, "batch_size": 3 },
            } } }),
            true,
        ),
    ] {
        let text = Text::File { name: "c".to_owned(), text: config.to_string().into() };
        let read = Config::load(&text, &Flags::default(), vendors::ALL, &Sources::default());
        assert_eq!(read.is_ok(), expected, "the reader: {config}: {read:?}");
        assert_eq!(validator.is_valid(&config), expected, "the schema: {config}");
    }
}

#[test]
fn the_schema_documents_every_key() {
    let schema = json_schema(vendors::ALL);
    let of = |root: &Value, path: &str| {
        let at = path.split('.').try_fold(root, |at, step| {
            let maps = std::iter::once(at).chain(at["anyOf"].as_array().into_iter().flatten());
            maps.into_iter().find_map(|map| map["properties"].get(step))
        });
        at.and_then(|at| at["description"].as_str().map(str::to_owned))
    };
    for key in &top() {
        assert!(of(&schema, key.path).is_some(), "{}", key.path);
    }
    for key in hook_keys() {
        assert!(of(&schema["$defs"]["response_hook"], key.path).is_some(), "{}", key.path);
    }
    for vendor in vendors::ALL {
        let exporter = &schema["$defs"][format!("exporter.{}", vendor.name)];
        for key in keys_of(vendor) {
            assert!(of(exporter, key.path).is_some(), "{}: {}", vendor.name, key.path);
        }
    }
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let docs = fs::read_to_string(docs).expect("the reference is in the repository");
    assert!(docs.contains("`shrike config schema`"), "the reference says where it is");
}
