//! A bulk body judged in full: every line, every document.

use std::collections::HashMap;
use std::sync::Arc;

use super::answer::{Filter, Outcome};
use super::{Elastic, Refusal, name};
use crate::account::Tally;
use crate::clock;
use crate::fake::json::Node;
use crate::fake::{Reply, Visit};
use crate::id::EventId;
use crate::seed::Random;

/// The query of a bulk request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) filter_path: String,
    require_data_stream: bool,
    require_alias: bool,
    pipeline: Option<String>,
}

impl Query {
    /// "request [/_bulk] contains unrecognized parameter": the server refuses what it does not
    /// know.
    pub(super) fn parse(visit: &Visit<'_>) -> Result<Self, Refusal> {
        let mut query = Self::default();
        for (key, value) in visit.parameters() {
            let flag = || match value.as_str() {
                "" | "true" => Ok(true),
                "false" => Ok(false),
                _ => Err(Refusal::illegal(format!(
                    "Failed to parse value [{value}] as only [true] or [false] are allowed."
                ))),
            };
            match key.as_str() {
                "filter_path" => query.filter_path = value,
                "require_data_stream" => query.require_data_stream = flag()?,
                "require_alias" => query.require_alias = flag()?,
                "pipeline" => query.pipeline = Some(value),
                key if PARAMETERS.contains(&key) => {}
                _ => {
                    let reason = format!(
                        "request [{}] contains unrecognized parameter: [{key}]",
                        visit.path
                    );
                    return Err(Refusal::illegal(reason));
                }
            }
        }
        Ok(query)
    }

    /// The same query with nothing in it that changes how items are stored.
    pub(super) fn plain(&self) -> Self {
        Self { filter_path: self.filter_path.clone(), ..Self::default() }
    }
}

/// One item, parsed but not applied.
struct Item<'a> {
    op: String,
    index: String,
    id: Option<String>,
    require_data_stream: bool,
    require_alias: bool,
    document: &'a [u8],
}

impl Elastic {
    /// Parses the whole body first, as the server does: one bad action line refuses everything.
    pub(super) fn judge(
        &self,
        visit: &Visit<'_>,
        index: Option<&str>,
        query: &Query,
        filter: &Filter,
    ) -> Result<Reply, Refusal> {
        let items = parse(visit.body, index, query).inspect_err(|refusal| {
            let what = format!("the whole body is refused: {}", refusal.kind);
            self.book.note_problem(&what, visit.body);
        })?;
        let mut tallies: HashMap<&str, Arc<Tally>> = HashMap::new();
        let mut random = Random::new(visit.seed);
        let (mut due, mut numbers, mut text) = (Vec::new(), Vec::new(), String::new());
        let (mut stored, mut conflicts, mut refused) = (0, 0, 0);
        for item in &items {
            let scripted = visit.plan.items.filter(|&(_, share)| random.chance(share));
            let outcome = match scripted {
                Some((status, _)) => Outcome::scripted(status),
                None => {
                    let tally =
                        tallies.entry(&item.index).or_insert_with(|| self.book.index(&item.index));
                    self.apply(item, tally)
                }
            };
            match outcome.status {
                201 => {
                    stored += 1;
                    if let Some(id) = item.ours() {
                        due.push(id.scheduled_ns);
                        numbers.push(id.sequence);
                    }
                }
                409 => conflicts += 1,
                _ => refused += 1,
            }
            if !text.is_empty() && !text.ends_with(',') {
                text.push(',');
            }
            let id = item.id.as_deref().unwrap_or("generated");
            filter.fields.item(&item.op, &item.index, id, &outcome, &mut text);
        }
        if text.ends_with(',') {
            text.pop();
        }
        self.book.note_events(stored, conflicts, refused);
        self.book.note_order(&numbers);
        let body = filter.fields.whole(1, conflicts + refused > 0, &text);
        Ok(Reply { accepted: due, ..Reply::json(200, body) })
    }

    fn apply(&self, item: &Item<'_>, tally: &Tally) -> Outcome {
        let outcome = self.check(item);
        if outcome.status != 201 {
            let (kind, reason) =
                outcome.error.as_ref().map_or(("", ""), |(kind, reason)| (*kind, reason.as_str()));
            let case = [reason.as_bytes(), b"\n", item.document].concat();
            self.book.note_problem(&format!("an item is refused: {kind}"), &case);
            return outcome;
        }
        let known = match (item.ours(), &item.id) {
            (Some(id), _) if self.book.is_ours(id) => {
                let known = tally.add(id.sequence).is_some_and(|times| times > 0);
                if !known {
                    self.book.store(id);
                }
                known
            }
            (_, Some(id)) => !self.book.store_foreign(&item.index, id),
            // The server makes an id of its own, so the same document may come in again and again.
            (_, None) => {
                self.book
                    .note_problem("an item has no _id, so it is not idempotent", item.document);
                false
            }
        };
        if known { Outcome::conflict(item.id.as_deref().unwrap_or_default()) } else { outcome }
    }

    /// Everything that can be wrong with an item by itself.
    fn check(&self, item: &Item<'_>) -> Outcome {
        if let Some(reason) = name::fault(&item.index) {
            return Outcome::failed(400, "invalid_index_name_exception", reason);
        }
        let mut cluster = self.cluster();
        if let Some(fault) = cluster.alias_fault(&item.index, item.require_alias) {
            return fault;
        }
        let is_stream = cluster.is_data_stream(&item.index);
        if item.require_data_stream && !is_stream {
            let reason = format!(
                "the index creation request for [{}] has the require_data_stream flag set to true, \
                 but no matching index template with data stream template was found",
                item.index
            );
            return Outcome::failed(404, "index_not_found_exception", reason);
        }
        if is_stream && item.op != "create" {
            let reason = "only write ops with an op_type of create are allowed in data streams";
            return Outcome::failed(400, "illegal_argument_exception", reason);
        }
        if item.id.as_ref().is_some_and(String::is_empty) {
            let reason = "if _id is specified it must not be empty";
            return Outcome::failed(400, "illegal_argument_exception", reason);
        }
        let flattened = cluster.flattened(&item.index);
        let judged = document(item.document, is_stream, &flattened);
        match judged.and_then(|document| cluster.map(&item.index, &document)) {
            Err(reason) => Outcome::failed(400, "document_parsing_exception", reason),
            Ok(()) => Outcome::CREATED,
        }
    }

    fn cluster(&self) -> std::sync::MutexGuard<'_, super::cluster::Cluster> {
        self.cluster.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Item<'_> {
    fn ours(&self) -> Option<EventId> {
        EventId::parse(self.id.as_deref()?.as_bytes())
    }
}

/// "The final line of data must end with a newline character \n."
fn parse<'a>(body: &'a [u8], index: Option<&str>, query: &Query) -> Result<Vec<Item<'a>>, Refusal> {
    let Some(lines) = body.strip_suffix(b"\n") else {
        return Err(Refusal::illegal("The bulk request must be terminated by a newline [\\n]"));
    };
    let mut lines = lines.split(|&byte| byte == b'\n').enumerate();
    let mut items = Vec::new();
    while let Some((at, line)) = lines.next() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let (op, mut item) = action(at + 1, line, index, query)?;
        if op != "delete" {
            let (_, document) = lines.next().ok_or_else(|| {
                Refusal::illegal("The bulk request must be terminated by a newline [\\n]")
            })?;
            item.document = document;
        }
        items.push(item);
    }
    if items.is_empty() {
        let reason = "Validation Failed: 1: no requests added;";
        return Err(Refusal::new(400, "action_request_validation_exception", reason));
    }
    Ok(items)
}

/// Reads an action line: one operation, whose value is an object of known parameters.
fn action<'a>(
    line: usize,
    text: &'a [u8],
    index: Option<&str>,
    query: &Query,
) -> Result<(String, Item<'a>), Refusal> {
    let malformed =
        |what: String| Refusal::illegal(format!("Malformed action/metadata line [{line}], {what}"));
    let node = Node::parse(text).map_err(|error| {
        Refusal::new(400, "x_content_parse_exception", format!("[{line}:1] {error}"))
    })?;
    let Node::Object(members) = &node else {
        let what = format!("expected START_OBJECT but found [{}]", node.token());
        return Err(malformed(what));
    };
    let [(op, parameters)] = &members[..] else {
        return Err(malformed("expected FIELD_NAME but found [END_OBJECT]".to_owned()));
    };
    if !["create", "delete", "index", "update"].contains(&op.as_str()) {
        let what =
            format!("expected field [create], [delete], [index] or [update] but found [{op}]");
        return Err(malformed(what));
    }
    let Node::Object(parameters) = parameters else {
        let what = format!("expected START_OBJECT but found [{}]", parameters.token());
        return Err(malformed(what));
    };
    let mut item = Item {
        op: op.clone(),
        index: index.unwrap_or_default().to_owned(),
        id: None,
        require_data_stream: query.require_data_stream,
        require_alias: query.require_alias,
        document: b"",
    };
    for (key, value) in parameters {
        match (key.as_str(), value) {
            ("_index", Node::Text(text)) => item.index.clone_from(text),
            ("_id", Node::Text(text)) => item.id = Some(text.clone()),
            ("require_data_stream", Node::Bool(flag)) => item.require_data_stream = *flag,
            ("require_alias", Node::Bool(flag)) => item.require_alias = *flag,
            (key, Node::List(_) | Node::Object(_)) => {
                let token = value.token();
                let what = format!("expected a simple value for field [{key}] but found [{token}]");
                return Err(malformed(what));
            }
            (key, _) if ACTION_KEYS.contains(&key) => {}
            _ => {
                let reason =
                    format!("Action/metadata line [{line}] contains an unknown parameter [{key}]");
                return Err(Refusal::illegal(reason));
            }
        }
    }
    if item.index.is_empty() {
        let reason = "Validation Failed: 1: index is missing;";
        return Err(Refusal::new(400, "action_request_validation_exception", reason));
    }
    if let Some(bytes) = item.id.as_ref().map(String::len).filter(|&bytes| bytes > ID_BYTES_MAX) {
        let reason = format!(
            "Validation Failed: 1: id is too long, must be no longer than {ID_BYTES_MAX} bytes but \
             was: {bytes};"
        );
        return Err(Refusal::new(400, "action_request_validation_exception", reason));
    }
    Ok((op.clone(), item))
}

/// Reads a document; what the mapper refuses about it, whatever its fields are.
fn document(text: &[u8], is_stream: bool, flattened: &[String]) -> Result<Node, String> {
    let node = Node::parse(text).map_err(|error| format!("[1:1] failed to parse: {error}"))?;
    match fault(&node, is_stream, flattened) {
        Some(reason) => Err(reason),
        None => Ok(node),
    }
}

fn fault(node: &Node, is_stream: bool, flattened: &[String]) -> Option<String> {
    let Node::Object(members) = node else {
        return Some(format!("[1:1] expected START_OBJECT but found [{}]", node.token()));
    };
    // "Field [_id] is a metadata field and cannot be added inside a document."
    if let Some((key, _)) = members.iter().find(|(key, _)| METADATA_FIELDS.contains(&key.as_str()))
    {
        return Some(format!(
            "Field [{key}] is a metadata field and cannot be added inside a document. Use the \
             index API request parameters."
        ));
    }
    match node.at("@timestamp") {
        None if is_stream => {
            return Some("data stream timestamp field [@timestamp] is missing".to_owned());
        }
        Some(Node::Text(text)) if clock::parse(text.as_bytes()).is_none() => {
            return Some(format!(
                "failed to parse field [@timestamp] of type [date]: failed to parse date field \
                 [{text}] with format [strict_date_optional_time||epoch_millis]"
            ));
        }
        Some(Node::List(_) | Node::Object(_) | Node::Bool(_)) => {
            return Some("failed to parse field [@timestamp] of type [date]".to_owned());
        }
        _ => {}
    }
    field_fault(node, "", flattened)
}

/// Object field names may not be empty, blank, or start or end with a dot; inside a flattened
/// field anything goes.
fn field_fault(node: &Node, path: &str, flattened: &[String]) -> Option<String> {
    match node {
        Node::Object(_) if flattened.iter().any(|field| field == path) => None,
        Node::Object(members) => members.iter().find_map(|(key, value)| {
            if key.trim().is_empty() {
                return Some("field name cannot be an empty string".to_owned());
            }
            if key.split('.').any(|part| part.trim().is_empty()) {
                return Some(format!(
                    "field name cannot contain only whitespace or start or end with a dot: [{key}]"
                ));
            }
            let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            field_fault(value, &below, flattened)
        }),
        Node::List(nodes) => nodes.iter().find_map(|node| field_fault(node, path, flattened)),
        _ => None,
    }
}

/// Query parameters that change nothing here.
const PARAMETERS: &[&str] = &[
    "_source",
    "_source_excludes",
    "_source_includes",
    "error_trace",
    "format",
    "human",
    "include_source_on_error",
    "list_executed_pipelines",
    "pretty",
    "refresh",
    "routing",
    "timeout",
    "wait_for_active_shards",
];
/// Parameters of an action line beside the ones that are read.
const ACTION_KEYS: &[&str] = &[
    "_id",
    "_index",
    "dynamic_templates",
    "if_primary_term",
    "if_seq_no",
    "list_executed_pipelines",
    "op_type",
    "pipeline",
    "retry_on_conflict",
    "routing",
    "version",
    "version_type",
];
/// Metadata fields (Mapping, Metadata fields).
const METADATA_FIELDS: &[&str] =
    &["_doc_count", "_field_names", "_id", "_ignored", "_index", "_routing", "_source", "_tier"];
/// "The _id is limited to 512 bytes in size and larger values will be rejected."
const ID_BYTES_MAX: usize = 512;
