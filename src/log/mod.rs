//! The log: events are appended once, and every exporter reads them at its own pace.
//!
//! One process writes, through [`Log`]; any number of threads append, through [`Appender`]; any
//! number of threads and processes read, through [`Reader`]. `docs/log-format.md` says every byte
//! and what survives which kind of crash.
//!
//! An [`Offset`](crate::event::Offset) is final: it never goes back, and it is never used for
//! another event. Two of them are published: below `written` readers may read and send, below
//! `durable` a power loss takes nothing.

mod append;
mod block;
mod control;
mod cursors;
mod engine;
mod error;
mod frame;
mod handle;
mod holes;
mod index;
mod io;
mod layout;
mod open;
mod prepare;
mod priority;
mod reader;
mod relocate;
mod ring;
mod scan;
mod segment;
mod shared;
mod sweep;
mod unsynced;
mod waker;
mod writer;

pub use append::{Appender, Group};
pub use block::{RawBlock, RawRecord, Read};
pub use cursors::Cursors;
pub use error::{AppendError, LogError, Refusal};
#[doc(hidden)]
pub use frame::laid;
pub use frame::{Mark, Parsed, Window};
pub use handle::{IoChoice, IoKind, Log, LogOptions, Retained};
pub use io::{Disk, LogFile, LogIo};
pub use open::{Ended, Recovery};
pub use priority::Priority;
pub use reader::Reader;
pub use sweep::{Removed, sweep};
pub use waker::Waker;

/// The unit that readers start at and the index counts by; no record crosses into the next one
/// without owning it. 1 MiB is large against a record and small against a core's second.
pub const STRIPE_BYTES: u64 = 1 << 20;
