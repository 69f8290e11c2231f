//! The contract of an event for programs in any language: JSON Schema, and TypeScript types made
//! from it.
//!
//! It says what a producer should write. What intake also takes and repairs (other spellings of
//! words, blank texts, further top-level keys) is wider, and is flagged in the event.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{Category, EventType, FieldId as F, IndicatorType, Outcome, ResourceType, Severity};

/// What a field may hold.
#[derive(Clone, Copy, Debug)]
enum Shape {
    Text,
    NotBlank,
    Version,
    Uuid,
    Time,
    Truth,
    Port,
    Words(fn() -> Vec<&'static str>),
    /// Anything by name.
    Object,
    /// Texts by name.
    Texts,
}

/// Every field of the contract: whether it is needed, and its shape.
const FIELDS: &[(F, bool, Shape)] = &[
    (F::SchemaVersion, true, Shape::Version),
    (F::EventId, true, Shape::Uuid),
    (F::EventType, true, Shape::Words(|| EventType::ALL.iter().map(|it| it.word()).collect())),
    (F::EventCategory, true, Shape::Words(|| Category::ALL.iter().map(|it| it.word()).collect())),
    (F::Timestamp, true, Shape::Time),
    (F::IngestedAt, false, Shape::Time),
    (F::AgentId, true, Shape::NotBlank),
    (F::AgentName, true, Shape::NotBlank),
    (F::AgentVersion, true, Shape::NotBlank),
    (F::AgentType, true, Shape::NotBlank),
    (F::SessionId, true, Shape::NotBlank),
    (F::SessionUserId, false, Shape::Text),
    (F::SessionTenantId, false, Shape::Text),
    (F::SessionEnvironment, false, Shape::Text),
    (F::Outcome, true, Shape::Words(|| Outcome::ALL.iter().map(|it| it.word()).collect())),
    (F::Action, true, Shape::NotBlank),
    (
        F::IndicatorType,
        true,
        Shape::Words(|| IndicatorType::ALL.iter().map(|it| it.word()).collect()),
    ),
    (F::IndicatorValue, true, Shape::Text),
    (F::Tactic, false, Shape::Text),
    (F::Technique, false, Shape::Text),
    (F::Allowed, true, Shape::Truth),
    (F::Guard, true, Shape::NotBlank),
    (F::Severity, true, Shape::Words(|| Severity::ALL.iter().map(|it| it.word()).collect())),
    (F::Reason, true, Shape::Text),
    (F::PolicyHash, false, Shape::Text),
    (F::Ruleset, false, Shape::Text),
    (
        F::ResourceType,
        true,
        Shape::Words(|| ResourceType::ALL.iter().map(|it| it.word()).collect()),
    ),
    (F::ResourceName, true, Shape::NotBlank),
    (F::ResourcePath, false, Shape::Text),
    (F::ResourceHost, false, Shape::Text),
    (F::ResourcePort, false, Shape::Port),
    (F::Metadata, false, Shape::Object),
    (F::Labels, false, Shape::Texts),
];

/// Objects: their path, the name of their type, whether they are needed, and what they are.
const OBJECTS: &[(&str, &str, bool, &str)] = &[
    ("", "SecurityEvent", true, "One security decision taken for an AI agent."),
    ("agent", "Agent", true, "Who acted."),
    ("session", "Session", true, "In which session."),
    ("threat", "Threat", false, "What it may be part of."),
    ("threat.indicator", "Indicator", false, "What it may be recognised by."),
    ("decision", "Decision", true, "What was decided, and why."),
    ("resource", "Resource", true, "What it was about."),
];

/// The JSON Schema (draft 2020-12) of an event.
#[must_use]
pub fn json_schema() -> Value {
    let mut root = object("");
    root["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    root["$id"] = "urn:shrike:security-event:1".into();
    root
}

/// TypeScript types, made from the JSON Schema.
#[must_use]
pub fn typescript() -> String {
    let mut out = "// Made by `shrike schema typescript`; do not edit.\n".to_owned();
    interface(&json_schema(), &mut out);
    out
}

fn object(path: &str) -> Value {
    let below = |other: &str| match other.rsplit_once('.') {
        Some((place, name)) => (place == path).then(|| name.to_owned()),
        None => (path.is_empty() && !other.is_empty()).then(|| other.to_owned()),
    };
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for &(field, is_needed, shape) in FIELDS {
        let Some(name) = below(field.path()) else { continue };
        if is_needed {
            required.push(name.clone());
        }
        let mut schema = self::shape(shape, is_needed);
        schema["description"] = field.about().into();
        properties.insert(name, schema);
    }
    for &(other, _, is_needed, _) in OBJECTS {
        let Some(name) = below(other) else { continue };
        if is_needed {
            required.push(name.clone());
        }
        properties.insert(name, object(other));
    }
    let known = OBJECTS.iter().find(|it| it.0 == path).unwrap_or(&OBJECTS[0]);
    let (_, title, is_needed, about) = known;
    let kind = if *is_needed { json!("object") } else { json!(["object", "null"]) };
    json!({
        "title": title,
        "description": about,
        "type": kind,
        "properties": properties,
        "required": required,
    })
}

/// An optional field may also be null: programs write absent values so.
fn shape(shape: Shape, is_needed: bool) -> Value {
    let or_null = |name: &str| match is_needed {
        true => json!(name),
        false => json!([name, "null"]),
    };
    match shape {
        Shape::Text => json!({ "type": or_null("string") }),
        Shape::NotBlank => json!({ "type": or_null("string"), "pattern": r"\S" }),
        Shape::Version => json!({ "type": or_null("string"), "pattern": r"^1(\.|$)" }),
        Shape::Uuid => json!({
            "type": or_null("string"),
            "format": "uuid",
            "pattern": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
        }),
        Shape::Time => json!({
            "type": or_null("string"),
            "format": "date-time",
            "pattern": r"^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)$",
        }),
        Shape::Truth => json!({ "type": or_null("boolean") }),
        Shape::Port => json!({ "type": or_null("integer"), "minimum": 1, "maximum": 65535 }),
        Shape::Words(words) => json!({ "enum": words() }),
        Shape::Object => json!({ "type": or_null("object") }),
        Shape::Texts => json!({
            "type": or_null("object"),
            "additionalProperties": { "type": "string" },
        }),
    }
}

/// An interface for an object with a title, after those of the objects inside it.
fn interface(schema: &Value, out: &mut String) {
    let Some(properties) = schema["properties"].as_object() else { return };
    for inner in properties.values() {
        interface(inner, out);
    }
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    // Writing to a text cannot fail.
    let _ = write!(out, "\n/** {} */\n", text(&schema["description"]));
    let _ = writeln!(out, "export interface {} {{", text(&schema["title"]));
    for (name, inner) in properties {
        let mark = if required.contains(&name.as_str()) { "" } else { "?" };
        let _ = writeln!(out, "  /** {} */", text(&inner["description"]));
        let _ = writeln!(out, "  {name}{mark}: {};", type_of(inner));
    }
    out.push_str("}\n");
}

fn type_of(schema: &Value) -> String {
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<String> = words.iter().map(Value::to_string).collect();
        return words.join(" | ");
    }
    let of = |name: &str| match (name, &schema["title"], &schema["additionalProperties"]) {
        ("integer", ..) => "number".to_owned(),
        ("object", Value::String(title), _) => title.clone(),
        ("object", _, Value::Null) => "Record<string, unknown>".to_owned(),
        ("object", _, inner) => format!("Record<string, {}>", type_of(inner)),
        (name, ..) => name.to_owned(),
    };
    match &schema["type"] {
        Value::Array(names) => {
            let names: Vec<String> = names.iter().filter_map(Value::as_str).map(of).collect();
            names.join(" | ")
        }
        name => of(name.as_str().unwrap_or_default()),
    }
}
