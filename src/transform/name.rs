//! The names by which conditions, templates and patterns speak of an event.

use super::json;
use super::syntax::{JSON, spell};
use crate::event::{Event, FieldId as F, Value};

/// A field, or a value inside its labels or metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    field: F,
    /// Member names as JSON spells them, from the field's object downwards.
    path: Vec<Vec<u8>>,
}

impl Name {
    /// Reads a short name, a dotted path of a field, `labels.X` or `metadata.a.b`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(field) = field(text) {
            return Some(Self { field, path: Vec::new() });
        }
        // A label's name is all that follows, dots included; metadata is searched by level.
        let (field, path) = match text.split_once('.')? {
            ("labels", name) => (F::Labels, vec![name]),
            ("metadata", rest) => match rest.strip_prefix("shrike.") {
                Some(rest) => (F::Shrike, rest.split('.').collect()),
                None => (F::Metadata, rest.split('.').collect()),
            },
            _ => return None,
        };
        if path.iter().any(|name| name.is_empty()) {
            return None;
        }
        let spelled = |name: &str| spell(&JSON, name.as_bytes());
        Some(Self { field, path: path.into_iter().map(spelled).collect() })
    }

    /// Every name without those inside labels and metadata, for hints.
    pub fn known() -> impl Iterator<Item = &'static str> {
        SHORT.iter().map(|&(name, _)| name).chain(F::ALL.iter().map(|field| field.path()))
    }

    /// The word among these that is nearest to a mistaken one, when one is near.
    pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
        super::nearest(word, known)
    }

    /// The field it speaks of.
    #[must_use]
    pub fn field(&self) -> F {
        self.field
    }

    /// Whether it speaks of a whole field.
    #[must_use]
    pub fn is_field(&self) -> bool {
        self.path.is_empty()
    }

    /// The value in this event; null is none.
    #[must_use]
    pub fn value<'a>(&self, event: &Event<'a>) -> Option<Value<'a>> {
        let value = event.value(self.field)?;
        let found =
            self.path.iter().try_fold(value.json, |object, name| json::member(object, name))?;
        (found != b"null").then_some(Value { json: found, escaped: value.escaped })
    }
}

/// The field with this short name or dotted path.
fn field(text: &str) -> Option<F> {
    let short = SHORT.iter().find(|&&(name, _)| name == text);
    short.map(|&(_, field)| field).or_else(|| F::parse(text))
}

/// `pipeline.md`, routing; and the variables of the vendors' templates.
const SHORT: &[(&str, F)] = &[
    ("severity", F::Severity),
    ("guard", F::Guard),
    ("category", F::EventCategory),
    ("allowed", F::Allowed),
    ("reason", F::Reason),
    ("tenant_id", F::SessionTenantId),
    ("tenant", F::SessionTenantId),
    ("environment", F::SessionEnvironment),
    ("user_id", F::SessionUserId),
    ("agent_id", F::AgentId),
    ("session_id", F::SessionId),
    ("resource", F::ResourceName),
    ("ruleset", F::Ruleset),
    ("policy_hash", F::PolicyHash),
];
