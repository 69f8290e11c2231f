//! Judges that others wrote: published definitions, parsers, receivers (docs/judges.md).
//!
//! `.ci/judges` installs them below the target directory. A test whose judge is missing says so and
//! looks at nothing; CI names what it installed, and there a missing one fails.

mod collector;
mod documents;
mod elastic;
#[path = "../support/equation.rs"]
mod equation;
mod metrics;
mod receivers;
#[path = "../support/rfc5424.rs"]
mod rfc5424;
mod taxii;
mod tools;
mod web;
