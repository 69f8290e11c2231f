//! Everything around `_bulk`: health, lifecycle policies, templates, indexes, data streams.

use std::collections::BTreeMap;

use super::answer::{Outcome, glob};
use super::dynamic::{Fields, Mapping};
use super::{Refusal, name};
use crate::fake::Reply;
use crate::fake::json::Node;

/// What was set up.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    policies: BTreeMap<String, serde_json::Value>,
    templates: BTreeMap<String, Template>,
    components: BTreeMap<String, serde_json::Value>,
    indexes: BTreeMap<String, serde_json::Value>,
    /// What documents made of the fields that no template knows, by index.
    fields: BTreeMap<String, Fields>,
}

#[derive(Debug)]
struct Template {
    body: serde_json::Value,
    patterns: Vec<String>,
    priority: f64,
    is_stream: bool,
    mapping: Mapping,
}

impl Cluster {
    /// Whether writing to this name makes or finds a data stream.
    pub(super) fn is_data_stream(&self, name: &str) -> bool {
        self.template_of(name).is_some_and(|template| template.is_stream)
    }

    /// The fields of an index that take any object.
    pub(super) fn flattened(&self, name: &str) -> Vec<String> {
        let template = self.template_of(name);
        template.into_iter().flat_map(|it| it.mapping.flattened()).map(str::to_owned).collect()
    }

    /// Maps the fields of a document, and makes the index where it is not there.
    pub(super) fn map(&mut self, index: &str, document: &Node) -> Result<(), String> {
        let known = self.fields.get(index).cloned().unwrap_or_default();
        let added = match self.template_of(index) {
            Some(template) => template.mapping.take(document, &known)?,
            None => Mapping::of(&serde_json::json!({})).take(document, &known)?,
        };
        if !added.is_empty() && (self.fields.len() < INDEXES_MAX || !known.is_empty()) {
            self.fields.entry(index.to_owned()).or_default().extend(added);
        }
        if !self.is_data_stream(index) && !self.has_alias(index) && self.indexes.len() < INDEXES_MAX
        {
            self.indexes.entry(index.to_owned()).or_insert_with(|| serde_json::json!({}));
        }
        Ok(())
    }

    fn has_alias(&self, name: &str) -> bool {
        self.indexes.values().any(|index| index["aliases"].get(name).is_some())
    }

    /// Why nothing can be written under a name, as far as aliases go.
    pub(super) fn alias_fault(&self, name: &str, is_required: bool) -> Option<Outcome> {
        let holders = self.indexes.values().filter_map(|index| index["aliases"].get(name));
        let marks: Vec<_> = holders.map(|alias| alias["is_write_index"].as_bool()).collect();
        if marks.is_empty() && is_required {
            let reason = format!(
                "no such index [{name}] and [require_alias] request flag is [true] and [{name}] is \
                 not an alias"
            );
            return Some(Outcome::failed(404, "index_not_found_exception", reason));
        }
        let takes_writes = marks.is_empty() || marks.contains(&Some(true)) || marks == [None];
        if takes_writes {
            return None;
        }
        let reason = format!(
            "no write index is defined for alias [{name}]. The write index may be explicitly \
             disabled using is_write_index=false or the alias points to multiple indices without \
             one being designated as a write index"
        );
        Some(Outcome::failed(400, "illegal_argument_exception", reason))
    }

    /// "If multiple templates match, the one with the highest priority applies."
    fn template_of(&self, name: &str) -> Option<&Template> {
        let matching = self
            .templates
            .values()
            .filter(|template| template.patterns.iter().any(|pattern| glob(pattern, name)));
        matching.max_by(|a, b| a.priority.total_cmp(&b.priority))
    }

    /// Answers a request that is no bulk request.
    pub(super) fn answer(
        &mut self,
        method: &str,
        segments: &[&str],
        body: &[u8],
    ) -> Result<Reply, Refusal> {
        match (method, segments) {
            ("GET" | "HEAD", []) => Ok(Reply::json(200, ABOUT)),
            ("GET", ["_cluster", "health"]) => Ok(Reply::json(200, HEALTH)),
            ("GET", ["_license"]) => Ok(Reply::json(200, LICENSE)),
            ("GET" | "HEAD", ["_ilm", "policy", name]) => found(&self.policies, "policy", name),
            ("PUT", ["_ilm", "policy", name]) => self.put_policy(name, body),
            ("GET" | "HEAD", ["_index_template", name]) => self.template(name),
            ("PUT" | "POST", ["_index_template", name]) => self.put_template(name, body),
            ("GET" | "HEAD", ["_component_template", name]) => {
                found(&self.components, "component template", name)
            }
            ("PUT" | "POST", ["_component_template", name]) => {
                self.components.insert((*name).to_owned(), json(body)?);
                acknowledged()
            }
            ("PUT", ["_data_stream", name]) => self.put_stream(name),
            ("GET" | "HEAD", ["_alias", name]) => self.alias(name),
            ("GET" | "HEAD", [name]) if !name.starts_with('_') => {
                found(&self.indexes, "index", name)
            }
            ("PUT", [name]) if !name.starts_with('_') => self.put_index(name, body),
            _ => Err(Refusal::illegal(format!(
                "no handler found for uri [/{}] and method [{method}]",
                segments.join("/")
            ))),
        }
    }

    /// Create or update lifecycle policy: `policy.phases` of hot, warm, cold, frozen, delete.
    fn put_policy(&mut self, name: &str, body: &[u8]) -> Result<Reply, Refusal> {
        let given = json(body)?;
        only_keys(&given, &["policy"], "put_lifecycle_request")?;
        let policy = &given["policy"];
        only_keys(policy, &["phases", "_meta", "deprecated"], "lifecycle_policy")?;
        let phases = policy["phases"]
            .as_object()
            .ok_or_else(|| Refusal::illegal("[lifecycle_policy] needs an object [phases]"))?;
        for (phase, content) in phases {
            let actions = PHASES.iter().find(|(name, _)| name == phase);
            let (_, known) = actions.ok_or_else(|| {
                Refusal::illegal(format!("lifecycle does not support phase [{phase}]"))
            })?;
            only_keys(content, &["min_age", "actions"], "phase")?;
            let given = content["actions"].as_object();
            let stray = given.and_then(|all| all.keys().find(|key| !known.contains(&&key[..])));
            if let Some(action) = stray {
                let reason = format!("invalid action [{action}] defined in phase [{phase}]");
                return Err(Refusal::illegal(reason));
            }
        }
        let version = self.policies.get(name).map_or(0, |old| old["version"].as_u64().unwrap_or(0));
        let stored = serde_json::json!({
            "version": version + 1,
            "modified_date": "2026-01-01T00:00:00.000Z",
            "policy": policy,
            "in_use_by": {"indices": [], "data_streams": [], "composable_templates": []},
        });
        self.policies.insert(name.to_owned(), stored);
        acknowledged()
    }

    /// Create or update index template: `index_patterns` is required, components must exist.
    fn put_template(&mut self, name: &str, body: &[u8]) -> Result<Reply, Refusal> {
        let given = json(body)?;
        only_keys(&given, TEMPLATE_KEYS, "index_template")?;
        let strings = |value: &serde_json::Value| -> Vec<String> {
            let texts = match value {
                serde_json::Value::String(text) => vec![text.clone()],
                _ => value.as_array().into_iter().flatten().filter_map(text_of).collect(),
            };
            texts.into_iter().flat_map(|text| split_list(&text)).collect()
        };
        let patterns = strings(&given["index_patterns"]);
        if patterns.is_empty() {
            return Err(Refusal::illegal("Required [index_patterns]"));
        }
        let ignored = strings(&given["ignore_missing_component_templates"]);
        let missing = strings(&given["composed_of"])
            .into_iter()
            .find(|one| !self.components.contains_key(one) && !ignored.contains(one));
        if let Some(missing) = missing {
            let reason = format!(
                "index template [{name}] invalid, cause [component template [{missing}] does not \
                 exist]"
            );
            return Err(Refusal::new(400, "invalid_index_template_exception", reason));
        }
        let template = Template {
            patterns,
            priority: given["priority"].as_f64().unwrap_or(0.0),
            is_stream: given.get("data_stream").is_some(),
            mapping: Mapping::of(&given),
            body: given,
        };
        self.templates.insert(name.to_owned(), template);
        acknowledged()
    }

    fn template(&self, name: &str) -> Result<Reply, Refusal> {
        let template = self.templates.get(name).ok_or_else(|| {
            let reason = format!("index template matching [{name}] not found");
            Refusal::new(404, "resource_not_found_exception", reason)
        })?;
        let one = serde_json::json!({"name": name, "index_template": template.body});
        Ok(Reply::json(200, serde_json::json!({"index_templates": [one]}).to_string()))
    }

    fn put_stream(&mut self, stream: &str) -> Result<Reply, Refusal> {
        if !self.is_data_stream(stream) {
            let reason = format!("no matching index template found for data stream [{stream}]");
            return Err(Refusal::illegal(reason));
        }
        acknowledged()
    }

    fn put_index(&mut self, index: &str, body: &[u8]) -> Result<Reply, Refusal> {
        // A name in a path may be encoded, as date math names are.
        let index = super::super::percent_decode(index);
        if let Some(reason) = name::fault(&index) {
            return Err(Refusal::new(400, "invalid_index_name_exception", reason));
        }
        if self.indexes.contains_key(&index) {
            let reason = format!("index [{index}] already exists");
            return Err(Refusal::new(400, "resource_already_exists_exception", reason));
        }
        let given = if body.is_empty() { serde_json::json!({}) } else { json(body)? };
        only_keys(&given, &["aliases", "mappings", "settings"], "create_index")?;
        let aliases = given["aliases"].as_object();
        let taken = aliases.and_then(|all| all.keys().find(|key| self.indexes.contains_key(*key)));
        if let Some(alias) = taken {
            let reason = format!(
                "Invalid alias name [{alias}]: an index or data stream exists with the same name \
                 as the alias"
            );
            return Err(Refusal::new(400, "invalid_alias_name_exception", reason));
        }
        self.indexes.insert(index.clone(), given);
        let answer = serde_json::json!({
            "acknowledged": true, "shards_acknowledged": true, "index": index,
        });
        Ok(Reply::json(200, answer.to_string()))
    }

    fn alias(&self, alias: &str) -> Result<Reply, Refusal> {
        let holders: serde_json::Map<_, _> = self
            .indexes
            .iter()
            .filter(|(_, body)| body["aliases"].get(alias).is_some())
            .map(|(name, body)| {
                (name.clone(), serde_json::json!({"aliases": {alias: body["aliases"][alias]}}))
            })
            .collect();
        if holders.is_empty() {
            let reason = format!("alias [{alias}] missing");
            return Err(Refusal::new(404, "aliases_not_found_exception", reason));
        }
        Ok(Reply::json(200, serde_json::Value::Object(holders).to_string()))
    }
}

fn text_of(value: &serde_json::Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn split_list(text: &str) -> Vec<String> {
    text.split(',').map(|part| part.trim().to_owned()).collect()
}

fn acknowledged() -> Result<Reply, Refusal> {
    Ok(Reply::json(200, "{\"acknowledged\":true}"))
}

fn found(
    all: &BTreeMap<String, serde_json::Value>,
    what: &str,
    name: &str,
) -> Result<Reply, Refusal> {
    let value = all.get(name).ok_or_else(|| {
        let kind = match what {
            "index" => "index_not_found_exception",
            _ => "resource_not_found_exception",
        };
        Refusal::new(404, kind, format!("{what} [{name}] not found"))
    })?;
    Ok(Reply::json(200, serde_json::json!({name: value}).to_string()))
}

fn json(body: &[u8]) -> Result<serde_json::Value, Refusal> {
    let error = |reason| Refusal::new(400, "x_content_parse_exception", reason);
    Node::parse(body).map_err(error)?;
    serde_json::from_slice(body).map_err(|source| error(source.to_string()))
}

fn only_keys(object: &serde_json::Value, known: &[&str], what: &str) -> Result<(), Refusal> {
    let members = object.as_object().ok_or_else(|| {
        Refusal::new(400, "x_content_parse_exception", format!("[{what}] is no object"))
    })?;
    match members.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => {
            let reason = format!("[{what}] unknown field [{key}]");
            Err(Refusal::new(400, "x_content_parse_exception", reason))
        }
    }
}

/// Indexes whose fields are kept; a client that invents more is not judged by them.
const INDEXES_MAX: usize = 1_000;
/// Phases with their actions (Index lifecycle, "Index lifecycle actions").
const PHASES: &[(&str, &[&str])] = &[
    (
        "hot",
        &[
            "set_priority",
            "unfollow",
            "rollover",
            "readonly",
            "downsample",
            "shrink",
            "forcemerge",
            "searchable_snapshot",
        ],
    ),
    (
        "warm",
        &[
            "set_priority",
            "unfollow",
            "readonly",
            "downsample",
            "allocate",
            "migrate",
            "shrink",
            "forcemerge",
        ],
    ),
    (
        "cold",
        &[
            "set_priority",
            "unfollow",
            "readonly",
            "downsample",
            "searchable_snapshot",
            "allocate",
            "migrate",
            "freeze",
        ],
    ),
    ("frozen", &["unfollow", "searchable_snapshot"]),
    ("delete", &["wait_for_snapshot", "delete"]),
];
/// Keys of a composable template.
const TEMPLATE_KEYS: &[&str] = &[
    "index_patterns",
    "template",
    "composed_of",
    "priority",
    "version",
    "_meta",
    "data_stream",
    "allow_auto_create",
    "ignore_missing_component_templates",
    "deprecated",
];
const ABOUT: &str = "{\"name\":\"fake\",\"cluster_name\":\"loadgen\",\"cluster_uuid\":\
    \"bG9hZGdlbi1mYWtlLWVsYXM\",\"version\":{\"number\":\"8.17.0\",\"build_flavor\":\"default\",\
    \"lucene_version\":\"9.12.0\",\"minimum_wire_compatibility_version\":\"7.17.0\",\
    \"minimum_index_compatibility_version\":\"7.0.0\"},\"tagline\":\"You Know, for Search\"}";
const HEALTH: &str = "{\"cluster_name\":\"loadgen\",\"status\":\"green\",\"timed_out\":false,\
    \"number_of_nodes\":1,\"number_of_data_nodes\":1,\"active_primary_shards\":1,\
    \"active_shards\":1,\"relocating_shards\":0,\"initializing_shards\":0,\
    \"unassigned_shards\":0}";
const LICENSE: &str = "{\"license\":{\"status\":\"active\",\"type\":\"basic\"}}";
