//! Threat intelligence: what feeds say of domains, addresses, URLs and files
//! (`threat-intel.md`).
//!
//! [`Signs`] are what a STIX pattern looks for, as far as it can be looked up; [`Page`] and
//! [`Object`] read what a feed sends, one bad object at a time; a [`Table`] finds values by their
//! [`Key`].

mod lookup;
mod pattern;
mod stix;

pub use lookup::{Key, Prefix, Refused, Table};
pub use pattern::{PATTERN_BYTES_MAX, Sign, SignKind, Signs, Unsupported};
pub use stix::{
    Entity, EntityKind, Indicator, Link, Object, PHASES_MAX, Page, PageError, Skip, TEXT_BYTES_MAX,
    Tlp, Verb,
};
