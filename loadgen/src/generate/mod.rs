//! Canonical events by seed: realistic, of every kind, cheap enough for a million a second.
//!
//! A [`Pool`] is rendered once. A [`Stream`] walks through it again and again and patches only what
//! differs from event to event: the id and the time.

mod event;
mod pool;
mod words;

pub use pool::{Batch, Pool, Stream};
