//! The catalogue of destinations: one static table per vendor, no IO, no clock, no state.

pub mod datadog;
pub mod elastic;
pub mod file;
pub mod hook;
pub mod opsgenie;
pub mod otlp;
pub mod pagerduty;
pub mod s3;
pub mod slack;
pub mod splunk;
pub mod stdout;
pub mod sumo_logic;
pub mod syslog;
pub mod teams;
pub mod webhook;

use crate::deliver::Vendor;

/// Every vendor, by name. Response hooks, which have a table of their own in the configuration, are
/// none.
pub static ALL: &[&Vendor] = &[
    &datadog::DATADOG,
    &elastic::ELASTIC,
    &file::FILE,
    &opsgenie::OPSGENIE,
    &otlp::OTLP,
    &pagerduty::PAGERDUTY,
    &s3::S3,
    &slack::SLACK,
    &splunk::SPLUNK,
    &stdout::STDOUT,
    &sumo_logic::SUMO_LOGIC,
    &syslog::SYSLOG,
    &teams::TEAMS,
    &webhook::WEBHOOK,
];

/// The vendor with this name or alias.
#[must_use]
pub fn find(name: &str) -> Option<&'static Vendor> {
    ALL.iter().copied().find(|vendor| vendor.name == name || vendor.aliases.contains(&name))
}
