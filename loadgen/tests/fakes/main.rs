//! The fakes against hand-written requests.

mod client;
mod elastic;
mod faults;
mod splunk;
mod syslog;
mod transport;
