//! From an event to a document: schemas, syntaxes, writers, and the plan they compile to.

mod compile;
mod condition;
mod encoder;
mod excerpt;
mod filter;
pub mod json;
mod name;
mod pattern;
mod plan;
mod rows;
mod schema;
mod syntax;
mod tail;
mod template;
pub mod write;

pub use condition::{Condition, ConditionError};
pub use encoder::{Choices, Encoder};
pub use excerpt::Markup;
pub use filter::{Choice, ChoiceRule, Filter, FilterRules};
pub use name::Name;
pub use pattern::{GROUP, check_names};
pub use plan::{Plan, PlanError};
pub use schema::{
    Clean, Derive, Digest, Empty, Extract, Field, Format, Layout, Overrides, Pick, Pieces, Schema,
    Source, Write, row,
};
pub use syntax::{
    HEADS, JSON, JSON_LIST, MEMBERS, PATH, PATH_NAME, PROTOBUF, Syntax, TEXT, VISIBLE, escape_json,
};
pub use template::{Escape, RENDERED_MAX, Template, TemplateError, TemplateText};

/// The known word nearest to a mistaken one, when one is near.
fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|known| (strsim::jaro_winkler(word, known), known))
        .filter(|&(score, _)| score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}
