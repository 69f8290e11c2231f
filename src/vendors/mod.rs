//! The catalogue of destinations: one static table per vendor, no IO, no clock, no state.

mod elastic;

pub use elastic::ELASTIC;

use crate::deliver::Vendor;

/// Every vendor, by name.
pub static ALL: &[&Vendor] = &[&ELASTIC];
