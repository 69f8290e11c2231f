//! A canonical event: its fields, its enumerations, and a record opened into a borrowed view.

mod class;
mod field;
mod offset;
mod view;
mod word;

pub use class::{Class, Classes, Treatment};
pub use field::FieldId;
pub use offset::{Checkpoint, Counts, Gap, Offset, Settle, Settled, Span};
pub use view::{Event, Frame, Opened, Place, Time, Value};
pub use word::{Category, EventType, IndicatorType, Outcome, ResourceType, Severity};
