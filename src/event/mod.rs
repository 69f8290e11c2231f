//! A canonical event: its fields, its enumerations, and a record opened into a borrowed view.

mod attempt;
mod class;
mod contract;
mod digest;
mod enrich;
mod field;
mod home;
mod id;
mod insight;
mod json;
mod judge;
mod offset;
mod open;
mod owned;
mod privacy;
mod rename;
mod repair;
mod rewrite;
mod scan;
mod time;
mod view;
mod walk;
mod word;

pub use attempt::attempt;
pub use class::{Class, Classes, Treatment};
pub use contract::{json_schema, typescript};
pub use digest::{content_hash, text_hash};
pub use enrich::Technique;
pub use field::FieldId;
pub use id::{derived_id, uuid_of, uuid_text};
pub use insight::{Insight, Known};
pub use offset::{
    Anchor, Checkpoint, Counts, Gap, GapReason, Offset, Settle, Settled, Span, Tally,
};
pub use open::{Opening, OpeningOptions, Reject};
pub use owned::{
    Agent, Builder, Decision, Indicator, Resource, SecurityEvent, Session, Threat, Unfinished,
};
pub use privacy::{
    Narrowed, Needs, PathProblem, PatternRule, Privacy, PrivacyError, PrivacyList, PrivacyRules,
    Salt, privacy_paths,
};
pub use rename::renamed;
pub use repair::{Repaired, repair};
pub use rewrite::{Entry, each_entry, elements, entries, is_blank_text, quote, unescape, values};
pub use time::{Civil, write as write_time, write_millis};
pub use view::{Context, Event, Frame, LeftOut, Opened, Place, Time, Value};
pub use word::{Category, EventType, IndicatorType, Outcome, ResourceType, Severity};
