//! Chat on the binary: what repeats is left out and told with the next, and messages of a session
//! reply to its first, across kills; against strict fakes that keep every message.

#[path = "../support/equation.rs"]
mod equation;
mod place;
mod repeats;
mod threads;
