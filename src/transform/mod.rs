//! From an event to a document: schemas, syntaxes, writers, and the plan they compile to.

mod encoder;
mod plan;
mod schema;

pub use encoder::Encoder;
pub use plan::{Plan, PlanError};
pub use schema::{Derive, Field, Format, Layout, Overrides, Schema, Source, Syntax, Write};
