//! What other programs may rely on: the contract of events, the schema of the configuration, and
//! the library.

mod configuration;
mod events;
mod library;
