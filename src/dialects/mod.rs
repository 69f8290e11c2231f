//! The dialects: one file per producer of foreign records, from which they become events.
//!
//! A file is a table of keys and a mapping (`inputs.md`, sections 6 and 7). Mappings are
//! deterministic and lossless: the same line gives the same event and id, and with
//! `metadata.shrike` the line can be built again.

mod adapter;
mod attributes;
mod audit;
mod audit_v2;
mod claude_code;
mod dead_letter;
mod draft;
mod falco;
mod irm;
mod openclaw;
mod otlp;
mod policy_event;
mod protobuf;
mod receipt;
mod rules;
mod sse;
mod velar;

use crate::event::entries;
use crate::intake::{Binary, Dialect, Mode, Service, Table};

/// Every dialect in the order in which records are told apart; canonical events come before.
pub static ALL: &[&Dialect] = &[
    &dead_letter::DEAD_LETTER,
    &policy_event::POLICY_EVENT,
    &audit_v2::AUDIT_V2,
    &audit_v2::AUDIT_V2_ROW,
    &audit::AUDIT,
    &openclaw::OPENCLAW,
    &adapter::ADAPTER,
    &irm::IRM,
    &receipt::RECEIPT,
    &velar::VELAR,
    &otlp::OTLP,
    &falco::FALCO,
    &sse::SSE,
];

/// OTLP logs as protobuf.
pub static PROTOBUF: &Binary = &protobuf::PROTOBUF;

/// The API of hushd.
pub static API: &Service = &audit::API;

/// The table of hushd's ledger.
pub static LEDGER: &Table = &audit::LEDGER;

/// How the producer of a file writes it, told by its first line.
#[must_use]
pub fn mode(line: &[u8]) -> Mode {
    let members = entries(line.trim_ascii());
    let dialect = Dialect::of(ALL, &members, |_| true);
    dialect.map_or(Mode::Append, |dialect| dialect.mode)
}

/// How the producer of a format writes its files, where a file's beginning may not tell: a document
/// on one line needs no ending.
#[must_use]
pub fn mode_of(format: &str) -> Option<Mode> {
    let dialect = ALL.iter().find(|dialect| dialect.name == format)?;
    (dialect.mode == Mode::Document).then_some(dialect.mode)
}

/// Names that an input's `format` takes beside `auto`.
pub const NAMES: &[&str] = &[
    "security_event",
    "clawdstrike.audit",
    "clawdstrike.audit_v2",
    "clawdstrike.openclaw",
    "clawdstrike.policy_event",
    "clawdstrike.adapter",
    "clawdstrike.irm",
    "clawdstrike.sse",
    "clawdstrike.receipt",
    "velar.audit",
    "otlp.logs",
    "falco",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dialect_has_a_name_that_can_be_configured() {
        for dialect in ALL {
            assert!(NAMES.contains(&dialect.name), "{}", dialect.name);
        }
        for name in NAMES {
            assert!(ALL.iter().any(|dialect| dialect.name == *name), "{name}");
        }
    }
}
