//! Digests on the binary: what is too much for a channel, and what is too old, is told of together
//! and counted to the last event, a kill or not; against strict fakes that keep every message.

#[path = "../support/binary.rs"]
mod binary;
mod chat;
#[path = "../support/event.rs"]
mod event;
#[path = "../support/fake.rs"]
mod fake;
mod flood;
mod said;
mod stale;
