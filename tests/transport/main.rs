//! The transports against real sockets: small servers that do one thing each, right or wrong.

mod kit;
mod plain;
mod sockets;
mod streams;
mod terms;
mod ways;
