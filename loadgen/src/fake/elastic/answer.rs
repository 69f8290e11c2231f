//! Bulk answers, and what `filter_path` leaves of them.

use std::fmt::Write as _;

use super::super::json::quote;

/// What became of one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) status: u16,
    /// Type and reason, when it failed.
    pub(super) error: Option<(&'static str, String)>,
}

impl Outcome {
    pub(super) const CREATED: Self = Self { status: 201, error: None };

    pub(super) fn failed(status: u16, kind: &'static str, reason: impl Into<String>) -> Self {
        Self { status, error: Some((kind, reason.into())) }
    }

    /// "version conflict, document already exists": `create` found the id.
    pub(super) fn conflict(id: &str) -> Self {
        let reason =
            format!("[{id}]: version conflict, document already exists (current version [1])");
        Self::failed(409, "version_conflict_engine_exception", reason)
    }

    /// A fault that the script asked for, in the words that the server uses for it.
    pub(super) fn scripted(status: u16) -> Self {
        match status {
            429 => Self::failed(
                429,
                "es_rejected_execution_exception",
                "rejected execution of coordinating operation [coordinating_and_primary_bytes]",
            ),
            403 => Self::failed(
                403,
                "cluster_block_exception",
                "index blocked by: [FORBIDDEN/12/index read-only / allow delete (api)];",
            ),
            400 => Self::failed(400, "document_parsing_exception", "[1:2] failed to parse field"),
            404 => Self::failed(404, "index_not_found_exception", "no such index"),
            500.. => Self::failed(
                status,
                "unavailable_shards_exception",
                "primary shard is not active Timeout: [1m]",
            ),
            _ => Self::failed(status, "exception", "asked for by the fault script"),
        }
    }
}

/// Common options, Response filtering: "a comma separated list of filters expressed with the dot
/// notation"; `*` matches any part of a name, `**` any path, a leading `-` leaves out.
#[derive(Debug)]
pub(super) struct Filter {
    include: Vec<Vec<String>>,
    exclude: Vec<Vec<String>>,
    pub(super) fields: Fields,
}

/// Which parts of a bulk answer stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fields {
    took: bool,
    errors: bool,
    index: bool,
    id: bool,
    version: bool,
    result: bool,
    shards: bool,
    seq_no: bool,
    primary_term: bool,
    status: bool,
    error_type: bool,
    error_reason: bool,
}

impl Filter {
    pub(super) fn new(text: &str) -> Self {
        let words = || text.split(',').map(str::trim).filter(|word| !word.is_empty());
        let split = |word: &str| word.split('.').map(str::to_owned).collect();
        let include = words().filter(|word| !word.starts_with('-')).map(split).collect();
        let exclude = words().filter_map(|word| word.strip_prefix('-')).map(split).collect();
        let mut filter = Self { include, exclude, fields: Fields::NONE };
        filter.fields = Fields {
            took: filter.keeps("took"),
            errors: filter.keeps("errors"),
            index: filter.keeps("items.create._index"),
            id: filter.keeps("items.create._id"),
            version: filter.keeps("items.create._version"),
            result: filter.keeps("items.create.result"),
            shards: filter.keeps("items.create._shards"),
            seq_no: filter.keeps("items.create._seq_no"),
            primary_term: filter.keeps("items.create._primary_term"),
            status: filter.keeps("items.create.status"),
            error_type: filter.keeps("items.create.error.type"),
            error_reason: filter.keeps("items.create.error.reason"),
        };
        filter
    }

    fn keeps(&self, path: &str) -> bool {
        let path: Vec<&str> = path.split('.').collect();
        let any = |patterns: &[Vec<String>]| patterns.iter().any(|one| matches(one, &path));
        (self.include.is_empty() || any(&self.include)) && !any(&self.exclude)
    }
}

impl Fields {
    const NONE: Self = Self {
        took: false,
        errors: false,
        index: false,
        id: false,
        version: false,
        result: false,
        shards: false,
        seq_no: false,
        primary_term: false,
        status: false,
        error_type: false,
        error_reason: false,
    };

    /// Whether items of one status all look the same.
    pub(super) const fn is_uniform(self) -> bool {
        !(self.index || self.id || self.seq_no || self.error_reason)
    }

    /// Appends one item, without a comma; an item of which nothing is left disappears.
    pub(super) fn item(self, op: &str, index: &str, id: &str, outcome: &Outcome, out: &mut String) {
        let before = out.len();
        let mut object = Object::new(out, op);
        let stored = outcome.error.is_none();
        object.text(self.index, "_index", index);
        object.text(self.id, "_id", id);
        object.raw(self.version && stored, "_version", "1");
        object.raw(self.result && stored, "result", "\"created\"");
        let shards = "{\"total\":2,\"successful\":1,\"failed\":0}";
        object.raw(self.shards && stored, "_shards", shards);
        object.raw(self.seq_no && stored, "_seq_no", "0");
        object.raw(self.primary_term && stored, "_primary_term", "1");
        if let Some((kind, reason)) = &outcome.error {
            let mut error = String::new();
            let mut inner = Object { out: &mut error, members: 0 };
            inner.text(self.error_type, "type", kind);
            inner.text(self.error_reason, "reason", reason);
            let any = inner.members > 0;
            object.raw(any, "error", &format!("{{{error}}}"));
        }
        object.raw(self.status, "status", &outcome.status.to_string());
        if object.members == 0 {
            out.truncate(before);
        } else {
            out.push_str("}}");
        }
    }

    /// Joins the parts of the answer; `items` is the inside of the array.
    pub(super) fn whole(self, took_ms: u64, errors: bool, items: &str) -> String {
        let mut body = String::with_capacity(items.len() + 64);
        body.push('{');
        if self.errors {
            let _ = write!(body, "\"errors\":{errors},");
        }
        if self.took {
            let _ = write!(body, "\"took\":{took_ms},");
        }
        if !items.is_empty() {
            let _ = write!(body, "\"items\":[{items}],");
        }
        if body.ends_with(',') {
            body.pop();
        }
        body.push('}');
        body
    }
}

/// Writes the members of an object.
struct Object<'a> {
    out: &'a mut String,
    members: usize,
}

impl<'a> Object<'a> {
    fn new(out: &'a mut String, op: &str) -> Self {
        let _ = write!(out, "{{\"{op}\":{{");
        Self { out, members: 0 }
    }

    fn raw(&mut self, wanted: bool, key: &str, value: &str) {
        if wanted {
            let comma = if self.members > 0 { "," } else { "" };
            let _ = write!(self.out, "{comma}\"{key}\":{value}");
            self.members += 1;
        }
    }

    fn text(&mut self, wanted: bool, key: &str, value: &str) {
        if wanted {
            self.raw(true, key, &quote(value));
        }
    }
}

/// Whether a pattern names the path or something that holds it.
fn matches(pattern: &[String], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], _) => true,
        ([first, rest @ ..], _) if first == "**" => {
            (0..=path.len()).any(|skip| matches(rest, &path[skip..])) && !path.is_empty()
        }
        ([first, rest @ ..], [name, names @ ..]) => glob(first, name) && matches(rest, names),
        (_, []) => false,
    }
}

/// Whether a name matches a pattern with `*`.
pub(super) fn glob(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, tail)) => name.strip_prefix(head).is_some_and(|rest| {
            let cuts = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
            cuts.into_iter().any(|at| glob(tail, &rest[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(filter: &str, outcome: &Outcome) -> String {
        let mut out = String::new();
        Filter::new(filter).fields.item("create", "logs", "7", outcome, &mut out);
        out
    }

    #[test]
    fn a_filter_leaves_exactly_what_it_names() {
        let conflict = Outcome::failed(409, "version_conflict_engine_exception", "there");
        let cases = [
            ("items.*.status", &Outcome::CREATED, "{\"create\":{\"status\":201}}"),
            (
                "took,errors,items.*.status,items.*.error.type",
                &conflict,
                "{\"create\":{\"error\":{\"type\":\"version_conflict_engine_exception\"},\
                 \"status\":409}}",
            ),
            ("items.*.error", &Outcome::CREATED, ""),
            ("**.status", &Outcome::CREATED, "{\"create\":{\"status\":201}}"),
            (
                "items",
                &conflict,
                "{\"create\":{\"_index\":\"logs\",\"_id\":\"7\",\"error\":\
             {\"type\":\"version_conflict_engine_exception\",\"reason\":\"there\"},\
             \"status\":409}}",
            ),
            ("items.*.s*,-items.*.status", &Outcome::CREATED, ""),
        ];
        for (filter, outcome, expected) in cases {
            assert_eq!(item(filter, outcome), expected, "{filter}");
        }
    }

    #[test]
    fn an_answer_without_a_filter_is_whole() {
        let fields = Filter::new("").fields;
        let text = fields.whole(3, false, &item("", &Outcome::CREATED));
        let answer: serde_json::Value = serde_json::from_str(&text).expect("an answer is JSON");
        assert_eq!(answer["items"][0]["create"]["_shards"]["successful"], 1);
        assert_eq!((&answer["took"], &answer["errors"]), (&3.into(), &false.into()));
        assert_eq!(Filter::new("errors").fields.whole(3, true, ""), "{\"errors\":true}");
    }
}
