//! The documents that several vendors take: native, ECS.

mod derive;
mod ecs;
mod native;

pub use ecs::ECS;
pub use native::NATIVE;

use crate::transform::{Format, Schema};

/// The schema of a format, `None` where a format has none yet.
#[must_use]
pub fn by_format(format: Format) -> Option<&'static Schema> {
    match format {
        Format::Native => Some(&NATIVE),
        Format::Ecs => Some(&ECS),
        Format::Cef | Format::Ocsf => None,
    }
}
