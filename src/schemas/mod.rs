//! The documents that several vendors take: native, ECS, CEF, OCSF, text.

mod cef;
mod chat;
mod check;
mod derive;
mod ecs;
mod native;
mod ocsf;
mod text;

pub use cef::CEF;
pub use chat::{SAME, SESSION, repeated};
pub use derive::{intelligence, matches};
pub use ecs::ECS;
pub use native::NATIVE;
pub use ocsf::OCSF;
pub use text::TEXT;

use crate::transform::{Format, Schema};

/// The schema of a format.
#[must_use]
pub fn by_format(format: Format) -> &'static Schema {
    match format {
        Format::Native => &NATIVE,
        Format::Ecs => &ECS,
        Format::Cef => &CEF,
        Format::Ocsf => &OCSF,
        Format::Text => &TEXT,
    }
}
