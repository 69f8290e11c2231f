//! How the documents of a route are rendered at each level.

use crate::deliver::{Level, Shape};
use crate::event::FieldId;
use crate::transform::{Overrides, Plan, Schema};

/// A plan per level.
#[derive(Debug)]
pub(super) struct Plans {
    usual: Plan,
    shrunk: Plan,
    plain: Option<Plan>,
    marked: Option<Plan>,
}

/// What the plans of a route are compiled from, beside what the operator changes.
pub(super) struct Levels {
    pub(super) shape: &'static Shape,
    /// The document that the format names.
    pub(super) document: &'static Schema,
    /// The text of plans for a resend.
    pub(super) mark: Option<(&'static str, &'static str)>,
    /// Bytes of an event at most.
    pub(super) bytes_max: u32,
}

impl Plans {
    /// Compiles them.
    pub(super) fn compile(levels: &Levels, overrides: &Overrides) -> Result<Self, String> {
        let &Levels { shape, document, mark, bytes_max } = levels;
        let usual = shape.chain(document);
        let around = |document: Option<&'static Schema>| {
            document.map_or_else(|| usual.clone(), |document| shape.around(document))
        };
        let compile = |chain: &[&'static Schema], overrides: &Overrides| {
            Plan::compile(chain, overrides).map_err(|error| error.to_string())
        };
        Ok(Self {
            usual: compile(&usual, overrides)?,
            shrunk: compile(&around(shape.small), &shrunk(overrides, bytes_max))?,
            plain: shape.plain.map(|_| compile(&around(shape.plain), overrides)).transpose()?,
            marked: mark.map(|mark| compile(&usual, &with(overrides, mark))).transpose()?,
        })
    }

    /// The plan of a level.
    pub(super) fn at(&self, level: Option<Level>) -> &Plan {
        match level {
            None => &self.usual,
            Some(Level::Shrink) => &self.shrunk,
            Some(Level::Plain) => self.plain.as_ref().unwrap_or(&self.shrunk),
            Some(Level::Resend) => self.marked.as_ref().unwrap_or(&self.usual),
        }
    }
}

/// The overrides with one more text.
pub(super) fn with(overrides: &Overrides, (name, text): (&str, &str)) -> Overrides {
    let mut with = overrides.clone();
    with.texts.push((name.to_owned(), text.to_owned()));
    with
}

/// What is left out when a document is too large: metadata, then labels; the rest is capped.
///
/// A document has about 30 texts, of which one or two are long, and escapes seldom double them: a
/// 32nd of the limit each is little enough, but for ids and digests: cut, they name nothing. What
/// is still too large is given up.
fn shrunk(overrides: &Overrides, bytes_max: u32) -> Overrides {
    let mut shrunk = with(overrides, (TRUNCATED, "true"));
    shrunk.deny.extend([FieldId::Metadata, FieldId::Labels]);
    shrunk.raw = None;
    let characters = u16::try_from(bytes_max / 32).unwrap_or(u16::MAX).max(DIGEST_CHARACTERS);
    shrunk.characters_max = match shrunk.characters_max {
        0 => characters,
        most => most.min(characters),
    };
    shrunk
}

/// Characters of the longest id that is used widely: SHA-256 in hexadecimal digits.
const DIGEST_CHARACTERS: u16 = 64;
/// The text that plans of [`Level::Shrink`] are compiled with, so that documents say what happened.
const TRUNCATED: &str = "truncated";
