//! What a field is: as a template says, else as the first value that came makes it.
//!
//! Dynamic field mapping and Dynamic templates: the first value of a name decides its type for all
//! that follow, and a value that does not fit refuses its whole document.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::answer::glob;
use crate::clock;
use crate::fake::json::Node;

/// Types of fields by path, inner objects by dots.
pub(super) type Fields = BTreeMap<String, String>;

/// What a template says of the fields of its indexes.
#[derive(Clone, Debug, Default)]
pub(super) struct Mapping {
    /// Types that are written.
    fields: Fields,
    rules: Vec<Rule>,
    detects_dates: bool,
}

/// A dynamic template.
#[derive(Clone, Debug)]
struct Rule {
    paths: Vec<String>,
    /// The JSON type that it is for; any where there is none.
    of: Option<String>,
    becomes: String,
}

impl Mapping {
    /// Reads a template; what its components bring stands before its own rules.
    pub(super) fn of(template: &serde_json::Value) -> Self {
        let mappings = &template["template"]["mappings"];
        let composed = template["composed_of"].as_array();
        let is_ecs = composed.is_some_and(|all| all.iter().any(|one| one == "ecs@mappings"));
        let ecs = ECS.iter().filter(|_| is_ecs).map(|&(path, becomes)| Rule {
            paths: vec![path.to_owned()],
            of: None,
            becomes: becomes.to_owned(),
        });
        let own = mappings["dynamic_templates"].as_array().into_iter().flatten();
        let own = own.flat_map(|named| named.as_object().into_iter().flatten());
        let own = own.map(|(_, rule)| Rule {
            paths: match rule.get("path_match").or_else(|| rule.get("match")) {
                Some(serde_json::Value::String(path)) => vec![path.clone()],
                Some(paths) => paths.as_array().into_iter().flatten().filter_map(text).collect(),
                None => vec!["*".to_owned()],
            },
            of: rule["match_mapping_type"].as_str().map(str::to_owned),
            becomes: rule["mapping"]["type"].as_str().unwrap_or("text").to_owned(),
        });
        let mut fields = Fields::new();
        collect(&mappings["properties"], "", &mut fields);
        Self {
            fields,
            rules: ecs.chain(own).collect(),
            detects_dates: mappings["date_detection"] != false,
        }
    }

    /// The fields that take any object.
    pub(super) fn flattened(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().filter(|(_, kind)| *kind == "flattened").map(|(path, _)| &**path)
    }

    /// Takes a document in; why it is refused, else the fields that it adds to its index.
    pub(super) fn take(&self, document: &Node, known: &Fields) -> Result<Fields, String> {
        let mut added = Fields::new();
        self.walk(document, "", known, &mut added)?;
        let all = self.fields.len() + known.len() + added.len();
        if all > FIELDS_MAX && !added.is_empty() {
            return Err(format!("Limit of total fields [{FIELDS_MAX}] has been exceeded"));
        }
        Ok(added)
    }

    fn walk(
        &self,
        node: &Node,
        path: &str,
        known: &Fields,
        added: &mut Fields,
    ) -> Result<(), String> {
        let kind = self.fields.get(path).or_else(|| known.get(path)).or_else(|| added.get(path));
        let kind = kind.map(String::as_str);
        match node {
            Node::Null => Ok(()),
            Node::List(nodes) => {
                nodes.iter().try_for_each(|node| self.walk(node, path, known, added))
            }
            Node::Object(_) if kind == Some("flattened") => Ok(()),
            Node::Object(members) => {
                let is_leaf = kind.is_some_and(|kind| !["object", "nested"].contains(&kind));
                if is_leaf {
                    let kind = kind.unwrap_or_default();
                    return Err(format!("failed to parse field [{path}] of type [{kind}]"));
                }
                if kind.is_none() && !path.is_empty() {
                    added.insert(path.to_owned(), "object".to_owned());
                }
                members.iter().try_for_each(|(key, node)| {
                    let dot = if path.is_empty() { "" } else { "." };
                    self.walk(node, &format!("{path}{dot}{key}"), known, added)
                })
            }
            value => {
                let kind = match kind {
                    Some(kind) => kind.to_owned(),
                    None => self.guess(path, value),
                };
                if !fits(&kind, value) {
                    return Err(format!("failed to parse field [{path}] of type [{kind}]"));
                }
                if !self.fields.contains_key(path) && !known.contains_key(path) {
                    added.insert(path.to_owned(), kind);
                }
                Ok(())
            }
        }
    }

    /// The type that a first value gives its field.
    fn guess(&self, path: &str, value: &Node) -> String {
        let found = match value {
            Node::Bool(_) => "boolean",
            Node::Number(number) if number.fract() == 0.0 => "long",
            Node::Number(_) => "double",
            // "Date detection": before any rule for texts.
            Node::Text(text) if self.detects_dates && is_date(text) => "date",
            _ => "string",
        };
        let name = path.rsplit('.').next().unwrap_or(path);
        let holds = |rule: &&Rule| {
            rule.of.as_deref().is_none_or(|of| of == found || of == "*")
                && rule.paths.iter().any(|pattern| glob(pattern, path) || glob(pattern, name))
        };
        match (self.rules.iter().find(holds), found) {
            (Some(rule), _) => rule.becomes.clone(),
            (None, "string") => "text".to_owned(),
            (None, found) => found.to_owned(),
        }
    }
}

/// Whether a field of a type takes a value that is no object.
fn fits(kind: &str, value: &Node) -> bool {
    let text = match value {
        Node::Text(text) => Some(text.as_str()),
        _ => None,
    };
    match kind {
        "date" => text.map_or(matches!(value, Node::Number(_)), is_date),
        "ip" => text.is_some_and(|text| text.parse::<IpAddr>().is_ok()),
        "geo_point" => text.is_some_and(|text| {
            text.split_once(',').is_some_and(|(a, b)| is_number(a) && is_number(b))
        }),
        "long" | "double" | "float" => {
            text.map_or(matches!(value, Node::Number(_)), |text| text.is_empty() || is_number(text))
        }
        "boolean" => text
            .map_or(matches!(value, Node::Bool(_)), |text| ["", "true", "false"].contains(&text)),
        "object" | "nested" | "flattened" => false,
        _ => true,
    }
}

fn is_number(text: &str) -> bool {
    text.trim().parse::<f64>().is_ok()
}

/// "strict_date_optional_time", or that with blanks for the T.
fn is_date(text: &str) -> bool {
    clock::parse(text.as_bytes()).is_some()
        || (text.len() == 10 && clock::parse(format!("{text}T00:00:00Z").as_bytes()).is_some())
}

/// The types that a mapping writes.
fn collect(properties: &serde_json::Value, path: &str, out: &mut Fields) {
    for (key, field) in properties.as_object().into_iter().flatten() {
        let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let kind = field["type"].as_str().unwrap_or("object");
        out.insert(below.clone(), kind.to_owned());
        collect(&field["properties"], &below, out);
    }
}

fn text(value: &serde_json::Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// `index.mapping.total_fields.limit`.
const FIELDS_MAX: usize = 1_000;

/// Rules of the component template ecs@mappings that look at no value (8.9 and later).
const ECS: &[(&str, &str)] = &[
    ("*.ip", "ip"),
    ("*_ip", "ip"),
    ("*.location", "geo_point"),
    ("*.created", "date"),
    ("*.end", "date"),
    ("*.ingested", "date"),
    ("*.start", "date"),
    ("*.timestamp", "date"),
    ("*_timestamp", "date"),
    ("*_score*", "float"),
];
