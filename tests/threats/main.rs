//! Threat intelligence on its way: what is added to events, and what guards are told.

mod documents;
#[path = "../support/equation.rs"]
mod equation;
mod marks;
mod opening;
mod place;
mod privacy;
mod whole;
