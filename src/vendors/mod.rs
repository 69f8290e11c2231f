//! The catalogue of destinations: one static table per vendor, no IO, no clock, no state.

mod datadog;
mod elastic;
mod file;
mod otlp;
mod s3;
mod splunk;
mod stdout;
mod sumo_logic;
mod syslog;
mod webhook;

pub use datadog::DATADOG;
pub use elastic::ELASTIC;
pub use file::FILE;
pub use otlp::OTLP;
pub use s3::S3;
pub use splunk::SPLUNK;
pub use stdout::STDOUT;
pub use sumo_logic::SUMO_LOGIC;
pub use syslog::SYSLOG;
pub use webhook::WEBHOOK;

use crate::deliver::Vendor;

/// Every vendor, by name.
pub static ALL: &[&Vendor] =
    &[&DATADOG, &ELASTIC, &FILE, &OTLP, &S3, &SPLUNK, &STDOUT, &SUMO_LOGIC, &SYSLOG, &WEBHOOK];

/// The vendor with this name or alias.
#[must_use]
pub fn find(name: &str) -> Option<&'static Vendor> {
    ALL.iter().copied().find(|vendor| vendor.name == name || vendor.aliases.contains(&name))
}
