//! Chat on the binary: what repeats is left out and told with the next, and messages of a session
//! reply to its first, across kills; against strict fakes that keep every message.

#[path = "../support/binary.rs"]
mod binary;
mod channels;
#[path = "../support/event.rs"]
mod event;
#[path = "../support/fake.rs"]
mod fake;
mod place;
mod repeats;
mod threads;
