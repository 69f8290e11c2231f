//! What is prepared in a cluster before the first event: lifecycle, template, write alias.
//!
//! Each step looks first and acts only where needed, so that running them again changes nothing.
//! What a person changed is left alone unless `init.overwrite` says otherwise.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::Documents;
use super::bulk::error_type;
use super::place::{Mode, names};
use crate::deliver::{Derived, Fate, Need, Options, Response, Verdict};

/// The lifecycle policy, as the body of its request.
pub(super) fn policy(options: &Options, _: &Derived) -> String {
    json!({ "policy": stamped(policy_value(options)) }).to_string()
}

/// The index template, as the body of its request.
pub(super) fn template(options: &Options, _: &Derived) -> String {
    let mut template = template_value(options);
    template["template"]["settings"] = settings(options);
    stamped(template).to_string()
}

/// The index template for serverless projects, which refuse settings of shards and lifecycle.
pub(super) fn template_bare(options: &Options, _: &Derived) -> String {
    stamped(template_value(options)).to_string()
}

/// The first index behind the write alias, as the body of its request.
pub(super) fn bootstrap(options: &Options, _: &Derived) -> String {
    let mut aliases = Map::new();
    if let Ok(names) = names(options) {
        aliases.insert(names.base, json!({ "is_write_index": true }));
    }
    json!({ "aliases": aliases }).to_string()
}

/// Compares the cluster's policy with ours.
pub(super) fn need_policy(response: &Response<'_>) -> Need {
    let name = response.options.text("index.ilm_policy").unwrap_or_default();
    let ours = stamped(policy_value(response.options));
    // An action more is another policy: with a rollover "ILM fails on every index" of a day.
    let is_same = |theirs: &Value, wanted: &Value| {
        holds(theirs, wanted) && holds(wanted, &without_additions(theirs))
    };
    need(response, &ours, |body| body.get(&name)?.get("policy").cloned(), is_same)
}

/// Compares the cluster's template with ours.
pub(super) fn need_template(response: &Response<'_>) -> Need {
    let mut ours = template_value(response.options);
    ours["template"]["settings"] = settings(response.options);
    let find = |body: &Value| body["index_templates"].get(0)?.get("index_template").cloned();
    need(response, &stamped(ours), find, holds)
}

/// Looks for the write alias.
pub(super) fn need_bootstrap(response: &Response<'_>) -> Need {
    match response.status {
        404 => return Need::Act,
        200 => {}
        status => return Need::Fail(format!("the alias cannot be read: status {status}")),
    }
    let Ok(Value::Object(indices)) = serde_json::from_slice(response.body) else {
        return Need::Fail("the answer names no indices".to_owned());
    };
    let marked = |index: &Value, mark: bool| {
        let aliases = index["aliases"].as_object();
        aliases.is_some_and(|all| all.values().any(|alias| alias["is_write_index"] == mark))
    };
    // "The write index may be explicitly disabled using is_write_index=false or the alias points to
    // multiple indices without one being designated as a write index": a single one needs no mark.
    let is_lone = indices.len() == 1 && !indices.values().any(|index| marked(index, false));
    if is_lone || indices.values().any(|index| marked(index, true)) {
        return Need::Done;
    }
    Need::Fail(
        "no index behind the alias takes writes: mark one with is_write_index: true".to_owned(),
    )
}

/// Reads the answer to creating the first index, of which the alias was missing before.
///
/// Another process may have been quicker, which another look tells.
pub(super) fn read_bootstrap(response: &Response<'_>) -> Option<Verdict> {
    let exists = response.status == 400
        && error_type(response.body)
            .is_some_and(|kind| kind == "resource_already_exists_exception");
    exists.then(|| {
        let mut verdict = Verdict::new(Fate::Retry, "config");
        verdict.reason.detail = "the first index is there and the alias was not: if it stays so, \
                                 add the alias to the index with is_write_index: true"
            .to_owned();
        verdict
    })
}

/// What a look at an existing object asks for.
fn need(
    response: &Response<'_>,
    ours: &Value,
    find: impl Fn(&Value) -> Option<Value>,
    is_same: impl Fn(&Value, &Value) -> bool,
) -> Need {
    match response.status {
        404 => return Need::Act,
        // Serverless projects have no lifecycle policies: "410 api_not_available_exception".
        410 => return Need::Done,
        200 => {}
        status => return Need::Fail(format!("it cannot be read: status {status}")),
    }
    let body: Value = match serde_json::from_slice(response.body) {
        Ok(body) => body,
        Err(error) => return Need::Fail(format!("the answer is no JSON: {error}")),
    };
    let Some(theirs) = find(&body) else { return Need::Act };
    let mut wanted = ours.clone();
    if let Some(wanted) = wanted.as_object_mut() {
        wanted.remove("_meta");
    }
    if is_same(&theirs, &wanted) {
        return Need::Done;
    }
    if response.options.is_on("init.overwrite") {
        return Need::Act;
    }
    // Ours of an older version, or of a configuration since changed; not what somebody edited,
    // which keeps our mark: a lifecycle made longer must not become short again.
    let is_ours = theirs["_meta"]["managed_by"] == MANAGER;
    if is_ours && theirs["_meta"]["digest"] == digest(&without_additions(&theirs)) {
        return Need::Act;
    }
    Need::Leave(
        "it exists and differs from what the configuration says; it is left as it is: set \
                 init.overwrite to replace it"
            .to_owned(),
    )
}

/// Whether everything wanted is there; the cluster may have filled in more.
fn holds(theirs: &Value, wanted: &Value) -> bool {
    match (theirs, wanted) {
        (Value::Object(theirs), Value::Object(wanted)) => {
            wanted.iter().all(|(key, value)| theirs.get(key).is_some_and(|it| holds(it, value)))
        }
        (Value::Array(theirs), Value::Array(wanted)) => {
            let pairs = theirs.iter().zip(wanted);
            theirs.len() == wanted.len() && pairs.into_iter().all(|(a, b)| holds(a, b))
        }
        // Settings come back as strings, whatever they were written as.
        (theirs, wanted) => scalar(theirs) == scalar(wanted),
    }
}

fn scalar(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Marks an object as ours and with a digest of its content, to tell our changes from others'.
fn stamped(mut object: Value) -> Value {
    object["_meta"] = json!({
        "description": "Security events of AI agents, shipped by shrike",
        "managed_by": MANAGER,
        "digest": digest(&object),
    });
    object
}

/// Members stand in the order of their names, so the same content has the same digest.
fn digest(object: &Value) -> String {
    let digest = Sha256::digest(object.to_string().as_bytes());
    digest[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The object as it was written: without our mark, and without what the cluster filled in.
fn without_additions(object: &Value) -> Value {
    match object {
        Value::Object(members) => {
            let is_added = |key: &str, value: &Value| {
                ADDED.iter().any(|(name, usual)| {
                    *name == key && usual.is_none_or(|usual| *value == Value::Bool(usual))
                })
            };
            let written = members.iter().filter(|(key, value)| !is_added(key, value));
            written.map(|(key, value)| (key.clone(), without_additions(value))).collect()
        }
        Value::Array(values) => values.iter().map(without_additions).collect(),
        other => other.clone(),
    }
}

/// Hot, warm after 7 days, cold after 30, gone after 90.
///
/// Daily indices must not roll over: "ILM fails on every index" whose alias does not point at it.
fn policy_value(options: &Options) -> Value {
    let mut hot = json!({ "set_priority": { "priority": 100 } });
    if Mode::of(options) != Mode::Daily {
        hot["rollover"] = json!({ "max_age": "1d", "max_primary_shard_size": "50gb" });
    }
    json!({ "phases": {
        "hot": { "min_age": "0ms", "actions": hot },
        "warm": { "min_age": "7d", "actions": {
            "shrink": { "number_of_shards": 1 },
            "forcemerge": { "max_num_segments": 1 },
            "set_priority": { "priority": 50 },
        } },
        "cold": { "min_age": "30d", "actions": { "set_priority": { "priority": 0 } } },
        "delete": { "min_age": "90d", "actions": { "delete": {} } },
    } })
}

/// The template without settings.
fn template_value(options: &Options) -> Value {
    let catches = names(options).map(|names| names.catches).unwrap_or_default();
    let documents = Documents::of(options);
    let mut template = json!({
        "index_patterns": [catches],
        "priority": 200,
        "template": { "mappings": mappings(documents) },
    });
    if documents == Documents::Ecs {
        template["composed_of"] = json!([ECS_COMPONENT]);
        template["ignore_missing_component_templates"] = json!([ECS_COMPONENT]);
    }
    if Mode::of(options) == Mode::DataStream {
        template["data_stream"] = json!({});
    }
    template
}

/// Settings in the form in which the cluster gives them back.
fn settings(options: &Options) -> Value {
    let number = |key: &str| options.number(key).unwrap_or(1).to_string();
    let mut index = json!({
        "number_of_shards": number("index.shards"),
        "number_of_replicas": number("index.replicas"),
    });
    if options.is_on("index.ilm") {
        index["lifecycle"] = json!({ "name": options.text("index.ilm_policy") });
        if let (Mode::Alias, Ok(names)) = (Mode::of(options), names(options)) {
            index["lifecycle"]["rollover_alias"] = json!(names.base);
        }
    }
    json!({ "index": index })
}

/// The mappings of every field that an ECS document may have (`elastic.md`, Setup), or of those
/// whose type nobody could guess.
///
/// A field gets its type from the first value that comes, for all that follow: texts are never
/// taken for dates, and objects with names of producers are single fields.
fn mappings(documents: Documents) -> Value {
    let fields = match documents {
        Documents::Ecs => FIELDS,
        Documents::Native => NATIVE_FIELDS,
        Documents::Ocsf => OCSF_FIELDS,
    };
    let mut properties = Map::new();
    for (path, kind) in fields {
        let mut names = path.split('.').peekable();
        let mut level = &mut properties;
        while let Some(name) = names.next() {
            if names.peek().is_none() {
                level.insert(name.to_owned(), kind.mapping());
                break;
            }
            let object = level.entry(name).or_insert_with(|| json!({ "properties": {} }));
            level = object["properties"].as_object_mut().expect("inner names are never leaves");
        }
    }
    let mut mappings = json!({ "date_detection": false, "properties": properties });
    if documents != Documents::Ecs {
        mappings["dynamic_templates"] = json!([{ "shrike_texts": {
            "match_mapping_type": "string",
            "mapping": Kind::Keyword.mapping(),
        } }]);
    }
    mappings
}

/// How a field is indexed.
#[derive(Clone, Copy)]
enum Kind {
    Boolean,
    Date,
    /// Any object at all, as one field: "dynamic objects explode the field count".
    Flattened,
    Float,
    Ip,
    Keyword,
    /// An object of keywords, as one field: component templates give `*.ip` or `*.created` other
    /// types wherever they stand.
    Labels,
    Long,
    Nested,
    /// Kept, never searched.
    Stored,
    Text,
    Wildcard,
}

impl Kind {
    fn mapping(self) -> Value {
        match self {
            Self::Boolean => json!({ "type": "boolean" }),
            Self::Date => json!({ "type": "date" }),
            Self::Flattened => {
                json!({ "type": "flattened", "ignore_above": 8191, "depth_limit": DEPTH_LIMIT })
            }
            Self::Float => json!({ "type": "float" }),
            Self::Ip => json!({ "type": "ip" }),
            Self::Keyword => json!({ "type": "keyword", "ignore_above": 1024 }),
            Self::Labels => json!({ "type": "flattened", "ignore_above": 1024 }),
            Self::Long => json!({ "type": "long" }),
            Self::Nested => json!({ "type": "nested" }),
            Self::Stored => json!({ "type": "keyword", "index": false, "doc_values": false }),
            Self::Text => json!({ "type": "match_only_text" }),
            Self::Wildcard => json!({ "type": "wildcard" }),
        }
    }
}

/// Objects inside each other in a field of [`Kind::Flattened`]: where they are more, Elasticsearch
/// refuses the document, from 20 on where nothing is said. Events are at most 128 deep, and what
/// is kept of their source stands three deeper.
const DEPTH_LIMIT: u32 = 150;

/// Who manages what is prepared here.
const MANAGER: &str = "shrike";

/// What a policy or template that is read has beside what was written, and with which value; none
/// is any.
const ADDED: &[(&str, Option<bool>)] = &[
    ("_meta", None),
    ("allow_custom_routing", Some(false)),
    ("allow_write_after_shrink", Some(false)),
    ("created_date", None),
    ("created_date_millis", None),
    ("delete_searchable_snapshot", Some(true)),
    ("hidden", Some(false)),
    ("modified_date", None),
    ("modified_date_millis", None),
];

/// The component template with the rest of ECS, where the cluster ships it (8.9 and later).
const ECS_COMPONENT: &str = "ecs@mappings";

/// The fields of a document and how each is indexed, inner objects by dots.
const FIELDS: &[(&str, Kind)] = &[
    ("@timestamp", Kind::Date),
    ("agent.id", Kind::Keyword),
    ("agent.name", Kind::Keyword),
    ("agent.type", Kind::Keyword),
    ("agent.version", Kind::Keyword),
    ("clawdstrike.allowed", Kind::Boolean),
    ("clawdstrike.environment", Kind::Keyword),
    ("clawdstrike.guard", Kind::Keyword),
    ("clawdstrike.metadata", Kind::Flattened),
    ("clawdstrike.outcome", Kind::Keyword),
    ("clawdstrike.policy_hash", Kind::Keyword),
    ("clawdstrike.resource.name", Kind::Keyword),
    ("clawdstrike.resource.path", Kind::Keyword),
    ("clawdstrike.resource.type", Kind::Keyword),
    ("clawdstrike.schema_version", Kind::Keyword),
    ("clawdstrike.session_id", Kind::Keyword),
    ("clawdstrike.tool.name", Kind::Keyword),
    ("destination.address", Kind::Keyword),
    ("destination.domain", Kind::Keyword),
    ("destination.ip", Kind::Ip),
    ("destination.port", Kind::Long),
    ("ecs.version", Kind::Keyword),
    ("event.action", Kind::Keyword),
    ("event.category", Kind::Keyword),
    ("event.code", Kind::Keyword),
    ("event.created", Kind::Date),
    ("event.dataset", Kind::Keyword),
    ("event.id", Kind::Keyword),
    ("event.kind", Kind::Keyword),
    ("event.module", Kind::Keyword),
    ("event.original", Kind::Stored),
    ("event.outcome", Kind::Keyword),
    ("event.reason", Kind::Keyword),
    ("event.risk_score", Kind::Float),
    ("event.severity", Kind::Long),
    ("event.type", Kind::Keyword),
    ("file.directory", Kind::Keyword),
    ("file.extension", Kind::Keyword),
    ("file.name", Kind::Keyword),
    ("file.path", Kind::Keyword),
    ("host.id", Kind::Keyword),
    ("host.name", Kind::Keyword),
    ("labels", Kind::Labels),
    ("message", Kind::Text),
    ("observer.product", Kind::Keyword),
    ("observer.version", Kind::Keyword),
    ("organization.id", Kind::Keyword),
    ("process.command_line", Kind::Wildcard),
    ("process.name", Kind::Keyword),
    ("related.hosts", Kind::Keyword),
    ("related.ip", Kind::Ip),
    ("related.user", Kind::Keyword),
    ("rule.name", Kind::Keyword),
    ("rule.ruleset", Kind::Keyword),
    ("service.environment", Kind::Keyword),
    ("session.id", Kind::Keyword),
    ("span.id", Kind::Keyword),
    ("tags", Kind::Keyword),
    ("threat.enrichments", Kind::Nested),
    ("threat.framework", Kind::Keyword),
    ("threat.indicator.name", Kind::Keyword),
    ("threat.indicator.type", Kind::Keyword),
    ("threat.tactic.id", Kind::Keyword),
    ("threat.tactic.name", Kind::Keyword),
    ("threat.technique.id", Kind::Keyword),
    ("threat.technique.name", Kind::Keyword),
    ("threat.technique.subtechnique.id", Kind::Keyword),
    ("trace.id", Kind::Keyword),
    ("url.path", Kind::Wildcard),
    ("user.id", Kind::Keyword),
];

/// Fields of canonical events, as [`FIELDS`].
const NATIVE_FIELDS: &[(&str, Kind)] = &[
    ("decision.reason", Kind::Text),
    ("ingested_at", Kind::Date),
    ("labels", Kind::Labels),
    ("metadata", Kind::Flattened),
    ("timestamp", Kind::Date),
];

/// Fields of OCSF events, as [`FIELDS`].
const OCSF_FIELDS: &[(&str, Kind)] = &[
    ("enrichments", Kind::Flattened),
    ("finding_info.created_time", Kind::Date),
    ("message", Kind::Text),
    ("metadata.logged_time", Kind::Date),
    ("time", Kind::Date),
    ("unmapped", Kind::Flattened),
];
