//! What a document says: rows of keys and sources, before compiling.

use super::{Choices, Encoder, Syntax};
use crate::event::{Event, FieldId, Severity, Value};

/// A kind of document: its syntax and its rows.
///
/// Statics are written with `..Schema::BASE`, so that a concept which one schema needs does not
/// touch the others.
#[derive(Debug)]
pub struct Schema {
    /// The name, for errors and `shrike vendors`.
    pub name: &'static str,
    /// How objects, keys and texts are written.
    pub syntax: &'static Syntax,
    /// What is written.
    pub layout: Layout,
    /// Dotted keys that no override may remove.
    pub required: &'static [&'static str],
    /// Where the native document goes as text when it is asked for (`include_raw`); `None` where
    /// the schema has no such place.
    pub raw: Option<&'static str>,
    /// Whether rows whose text is empty are written.
    pub empty: Empty,
    /// What always follows it in a chain, for the document it asks for: a document in two syntaxes,
    /// such as a header and pairs behind it, is two schemas.
    pub next: Option<&'static Schema>,
    /// Whether a key means nothing without another one that names it: no mapping may take it.
    pub is_labelled: fn(&str) -> bool,
    /// Fields that it has no place for; how many documents go without one is counted in a sample.
    pub leaves_out: &'static [FieldId],
    /// Keys that begin so are left out where the document has the rest of the key at its top:
    /// whoever reads both takes them for one field with two values. Empty for none.
    pub yields: &'static str,
    /// Whether a document of it has what every one must have, for looking at a sample of them.
    pub check: Option<fn(&[u8]) -> bool>,
}

impl PartialEq for Schema {
    /// Each is one static.
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Schema {
    /// A schema that says nothing; statics name what they have and take the rest from here.
    pub const BASE: Self = Self {
        name: "",
        syntax: &super::JSON,
        layout: Layout::Table(&[]),
        required: &[],
        raw: None,
        empty: Empty::Keep,
        next: None,
        is_labelled: |_| false,
        leaves_out: &[],
        yields: "",
        check: None,
    };
}

/// What becomes of a row whose text is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Empty {
    /// It is written, so that nothing is lost.
    Keep,
    /// It is left out, as ECS and OCSF ask for.
    Drop,
    /// So is one of nothing but blanks, which CEF cannot tell from what stands between two pairs.
    DropBlank,
}

impl Empty {
    /// Whether a value in JSON leaves no row.
    #[inline]
    pub(super) fn drops(self, json: &[u8]) -> bool {
        match self {
            Self::Keep => false,
            Self::Drop => json == b"\"\"",
            Self::DropBlank => {
                let inside = json.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
                inside.is_some_and(|text| text.iter().all(|&byte| byte == b' '))
            }
        }
    }
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
        /// Picks the case, an index below `cases.len()`; a larger one counts as the last.
        pick: fn(&Event<'_>) -> usize,
        /// The rows of each case.
        cases: &'static [&'static [Field]],
    },
    /// Text with `{name}` placeholders; `{{` and `}}` are braces.
    ///
    /// A name is a field's dotted path or its short name (`name.rs`), `document` or
    /// `document_text` for the next schema of the chain, else a text of the overrides. A value is
    /// written as the syntax spells text, without its quotes.
    Template(&'static str),
}

/// One row: a key and where its value comes from.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The dotted key; keys that share a prefix become one object where the syntax nests.
    ///
    /// A key that ends in `.*` writes the members of an object into its parent. A constant of that
    /// kind writes nothing, and keeps the parent even when nothing else is in it.
    pub key: &'static str,
    /// Where the value comes from.
    pub source: Source,
    /// Characters at most, 0 for no limit; longer values are cut at a character boundary.
    pub max: u16,
}

/// A row without a limit.
#[must_use]
pub const fn row(key: &'static str, source: Source) -> Field {
    Field { key, source, max: 0 }
}

impl Field {
    /// The same row, cut to this many characters.
    #[must_use]
    pub const fn max(self, characters: u16) -> Self {
        Self { max: characters, ..self }
    }
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug)]
pub enum Source {
    /// A field of the event, written by this writer; nothing is written when it is absent.
    Event(FieldId, Write),
    /// Computed from these fields, also when none is there; the row is dropped when it returns
    /// false.
    Derived(&'static [FieldId], Derive),
    /// The same, asked only when one of the fields is there.
    Part(&'static [FieldId], Derive),
    /// A text taken from the event, asked for only when one of these fields is there.
    Extracted(&'static [FieldId], Extract),
    /// The same as the only element of an array; of JSON syntaxes only.
    Listed(&'static [FieldId], Extract),
    /// A constant, as JSON text.
    Constant(&'static str),
    /// A constant, as JSON text, that accompanies any of these fields, such as a label. Where a
    /// field is mapped to another key, what accompanies it alone stays away.
    With(&'static [FieldId], &'static str),
    /// One of these constants, as JSON text, picked from these fields, also when none is there; a
    /// pick beyond the last leaves no row.
    OneOf(&'static [FieldId], Pick, &'static [&'static str]),
    /// One of these texts known at start-up, picked from these fields, also when none is there; a
    /// pick beyond the last leaves no row.
    OneOption(&'static [FieldId], Pick, &'static [&'static str]),
    /// A constant, as JSON text, that is written when this text is known.
    When(&'static str, &'static str),
    /// A text known at start-up: an option of the exporter or a fact about the host; absent ones
    /// leave no row.
    Option(&'static str),
    /// A text known at start-up, and what stands when it is absent.
    OptionOr(&'static str, &'static str),
    /// JSON text known at start-up, as it is; absent ones leave no row.
    OptionJson(&'static str),
    /// Texts known at start-up, one after the other, and what is computed behind them within the
    /// same text.
    ///
    /// It is computed for every event and appends characters, without quotes.
    Continued(&'static [&'static str], &'static [FieldId], Derive),
    /// An option whose text has placeholders for event fields, such as an index name, and what
    /// its values are cleaned of.
    Pattern(&'static str, &'static Clean),
    /// Another schema of the same event, as it is, beside the chain.
    Also(&'static Schema),
    /// The same, where this text is known.
    AlsoWhen(&'static str, &'static Schema),
    /// The next schema of the chain, as it is; inside JSON, text of another syntax is quoted.
    Doc,
    /// The next schema of the chain, as text in a string.
    DocText,
    /// The next schema of the chain, as it is, as the end of messages inside each other: before it
    /// stand these pieces, and behind each piece the length of all that follows (Protocol Buffers).
    DocInside(Pieces),
}

/// What stands before the lengths of messages inside each other, outermost first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pieces {
    /// Tags.
    Tags(&'static [&'static str]),
    /// What the overrides say ([`Overrides::around`]).
    Around,
}

/// Writes one value, as the syntax of the encoder spells it.
pub type Write = fn(&mut Encoder<'_>, Value<'_>);

/// Writes something computed; returns false when there is nothing to write.
///
/// Under a key that ends in `.*` it writes members, each with its separator behind it.
pub type Derive = fn(&mut Encoder<'_>, &Event<'_>) -> bool;

/// Takes a text out of an event, or one that is always the same: JSON text without quotes, still
/// escaped. An empty one leaves no row.
pub type Extract = for<'e> fn(&Event<'e>, Choices) -> &'e [u8];

/// Picks one of the constants of a [`Source::OneOf`] by its index.
pub type Pick = fn(&Event<'_>, Choices) -> usize;

/// What the values in a [`Source::Pattern`] are cleaned of; the owner of the pattern says.
#[derive(Debug)]
pub struct Clean {
    /// What a character of a value becomes.
    pub each: fn(char) -> char,
    /// Characters that the text does not begin with; they are left out there.
    pub not_first: &'static str,
    /// What stands for an absent or empty value.
    pub absent: &'static str,
    /// Bytes that the text has at most; values are cut at a character boundary.
    pub bytes_max: u16,
    /// Characters that a value has at most, 0 for no limit.
    pub value_max: u16,
    /// Characters that a value does not have twice in a row.
    pub not_twice: &'static str,
    /// Characters that no value begins with; they are left out there.
    pub value_not_first: &'static str,
    /// Whether a text that was cut ends with a digest of its values, so that those which differ
    /// behind the cut still do.
    pub tells_cut: bool,
    /// What becomes of a text that is too long to stand as it is but must stay its own.
    pub digest: Option<Digest>,
}

/// How a long text becomes a short one that no other text becomes: its beginning, `~` and the
/// SHA-256 of the whole in hexadecimal digits.
#[derive(Clone, Copy, Debug)]
pub struct Digest {
    /// Longer ones, in bytes.
    pub above: u16,
    /// Bytes of the beginning that stay, cut between characters.
    pub keeps: u16,
}

impl Clean {
    /// Cleans nothing away; an absent value takes its group with it.
    pub const BASE: Self = Self {
        each: |char| char,
        not_first: "",
        absent: "",
        bytes_max: u16::MAX,
        value_max: 0,
        not_twice: "",
        value_not_first: "",
        tells_cut: false,
        digest: None,
    };
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
    /// A sentence for people.
    Text,
}

impl Format {
    /// Every format.
    pub const ALL: &[Self] = &[Self::Native, Self::Ecs, Self::Cef, Self::Ocsf, Self::Text];

    /// The word in the configuration.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Ecs => "ecs",
            Self::Cef => "cef",
            Self::Ocsf => "ocsf",
            Self::Text => "text",
        }
    }

    /// Whether documents are lines of text instead of JSON.
    #[must_use]
    pub const fn is_plain(self) -> bool {
        matches!(self, Self::Cef | Self::Text)
    }
}

/// What the operator and the host change about a schema.
///
/// Allow and deny reach every schema of a chain; omitted keys are those of the outermost; mapped
/// and added ones belong to the innermost, which is the document.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// Texts by name for `Source::Option` and `Source::Pattern`: options, derived texts, host
    /// facts.
    pub texts: Vec<(String, String)>,
    /// The pieces of [`Pieces::Around`], as they stand.
    pub around: Vec<Vec<u8>>,
    /// A field's default target is replaced by this dotted key.
    ///
    /// The default target is the first row that writes the field; further rows made from it stay.
    pub mappings: Vec<(FieldId, String)>,
    /// Where set, only these fields (and required targets) are written.
    pub allow: Vec<FieldId>,
    /// These fields are not written, except by required targets.
    pub deny: Vec<FieldId>,
    /// Dotted keys that are left out.
    pub omit: Vec<String>,
    /// Rows to add: dotted key, text.
    pub add: Vec<(String, String)>,
    /// Characters that the text of any row has at most, 0 for no limit.
    pub characters_max: u16,
    /// Whether threat indicators of permitted events are written too (`schema.indicators: all`).
    pub indicators_all: bool,
    /// From which severity on a denial is an alert (`alert_min_severity`); `None` is never.
    pub alert_min: Option<Severity>,
    /// Whether U+FFFD stands for U+0000 in names of metadata and labels.
    pub replaces_nul: bool,
    /// The schema whose document is added as text (`schema.include_raw`).
    pub raw: Option<&'static Schema>,
    /// One of so many documents is looked at (`schema.validate`); 0 is none.
    pub checked_every: u32,
}
