//! The HTTP transport against real sockets: small servers that do exactly one thing, right or wrong.

mod kit;
mod plain;
mod streams;
mod terms;
mod ways;
