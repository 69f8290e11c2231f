//! What a document says: rows of keys and sources, before compiling.

use super::Encoder;
use crate::event::{Event, FieldId, Value};

/// A kind of document: its syntax and its rows.
#[derive(Debug)]
pub struct Schema {
    /// The name, for errors and `shrike vendors`.
    pub name: &'static str,
    /// How objects, keys and texts are written.
    pub syntax: &'static Syntax,
    /// What is written.
    pub layout: Layout,
}

/// What is written.
#[derive(Debug)]
pub enum Layout {
    /// These rows.
    Table(&'static [Field]),
    /// Shared rows, and further rows by kind of event.
    Cases {
        /// Rows of every document.
        shared: &'static [Field],
        /// Picks the case, an index below `cases.len()`.
        pick: fn(&Event<'_>) -> usize,
        /// The rows of each case.
        cases: &'static [&'static [Field]],
    },
    /// Text with `{dotted.path}` placeholders; `{{` and `}}` are braces.
    Template(&'static str),
}

/// One row: a key and where its value comes from.
#[derive(Debug)]
pub struct Field {
    /// The dotted key; keys that share a prefix become one object where the syntax nests.
    pub key: &'static str,
    /// Where the value comes from.
    pub source: Source,
    /// Characters at most, 0 for no limit; longer values are cut at a character boundary.
    pub max: u16,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug)]
pub enum Source {
    /// A field of the event, written by this writer; nothing is written when it is absent.
    Event(FieldId, Write),
    /// Computed from these fields; the row is dropped when it returns false.
    Derived(&'static [FieldId], Derive),
    /// A constant, as JSON text.
    Constant(&'static str),
    /// A text known at start-up: an option of the exporter or a fact about the host; absent ones
    /// leave no row.
    Option(&'static str),
    /// An option whose text has placeholders for event fields, such as an index name.
    Pattern(&'static str),
    /// The next schema of the chain, as an object.
    Doc,
    /// The next schema of the chain, as text in a string.
    DocText,
}

/// Writes one value, as the syntax of the encoder spells it.
pub type Write = fn(&mut Encoder<'_>, Value<'_>);

/// Writes something computed; returns false when there is nothing to write.
pub type Derive = fn(&mut Encoder<'_>, &Event<'_>) -> bool;

/// How objects, keys and texts are written.
#[derive(Debug)]
pub struct Syntax {
    /// The name.
    pub name: &'static str,
    /// Opens an object.
    pub open: &'static str,
    /// Closes it.
    pub close: &'static str,
    /// Between two rows.
    pub between: &'static str,
    /// Before a key, after a key.
    pub key: (&'static str, &'static str),
    /// Before a text value, after a text value.
    pub text: (&'static str, &'static str),
    /// Whether dotted keys become objects.
    pub nests: bool,
    /// What a byte of text becomes when it cannot stand as it is; `None` for bytes that can.
    pub escape: fn(u8) -> Option<&'static str>,
}

/// The formats an operator chooses from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// The canonical event.
    Native,
    /// Elastic Common Schema.
    Ecs,
    /// Common Event Format.
    Cef,
    /// Open Cybersecurity Schema Framework.
    Ocsf,
}

impl Format {
    /// Every format.
    pub const ALL: &[Self] = &[Self::Native, Self::Ecs, Self::Cef, Self::Ocsf];

    /// The word in the configuration.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Ecs => "ecs",
            Self::Cef => "cef",
            Self::Ocsf => "ocsf",
        }
    }
}

/// What the operator and the host change about a schema.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Texts by name for `Source::Option` and `Source::Pattern`: options, derived texts, host
    /// facts.
    pub texts: Vec<(String, String)>,
    /// A field's default target is replaced by this dotted key.
    pub mappings: Vec<(FieldId, String)>,
    /// Where set, only these fields (and required targets) are written.
    pub allow: Vec<FieldId>,
    /// These fields are not written.
    pub deny: Vec<FieldId>,
    /// Dotted keys that are left out.
    pub omit: Vec<String>,
    /// Rows to add: dotted key, text.
    pub add: Vec<(String, String)>,
    /// Whether threat indicators of permitted events are written too (`schema.indicators: all`).
    pub indicators_all: bool,
    /// The schema whose document is added as text (`schema.include_raw`).
    pub raw: Option<&'static Schema>,
}
