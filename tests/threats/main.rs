//! Threat intelligence on its way: what is added to events, and what guards are told.

mod marks;
mod opening;
