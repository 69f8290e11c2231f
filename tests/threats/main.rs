//! Threat intelligence on its way: what is added to events, and what guards are told.

#[path = "../support/binary.rs"]
mod binary;
mod documents;
mod marks;
mod opening;
mod place;
mod privacy;
mod whole;
