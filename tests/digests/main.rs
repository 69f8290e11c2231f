//! Digests on the binary: what is too much for a channel, and what is too old, is told of together
//! and counted to the last event, a kill or not; against strict fakes that keep every message.

#[path = "../support/equation.rs"]
mod equation;
mod flood;
mod place;
mod said;
mod stale;
