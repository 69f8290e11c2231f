//! The doors into the log: lines are checked, repaired, recognised when they come again, appended;
//! what is no event goes to quarantine.

mod batch;
mod check;
mod counts;
mod dialect;
mod door;
mod files;
mod http;
mod items;
mod lines;
mod position;
mod quarantine;
mod retry;
mod rows;
mod shared;
mod stream;
mod tail;
mod unix;
mod window;

pub use batch::{Batch, Rejected};
pub use check::{CheckOptions, Checker};
pub use counts::IntakeCounts;
pub use dialect::{Dialect, Kind, Mapped, Source};
pub use door::{Door, DoorError, DoorOptions};
pub use files::{Files, FilesOptions};
pub use http::{HttpInput, HttpOptions, Token};
pub use lines::Lines;
pub use position::{Position, Positions, Print};
pub use quarantine::{Quarantine, QuarantineOptions, QuarantineStore, Refused, WantedLines};
pub use retry::{Retried, Retrying};
pub use rows::{Column, Rows, RowsOptions, Table};
pub use shared::{Chunk, SharedDoor};
pub use stream::{Account, Stream};
pub use tail::Mode;
pub use unix::UnixInput;
