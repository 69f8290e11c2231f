//! The doors into the log: lines are checked, repaired, recognised when they come again, appended;
//! what is no event goes to quarantine.

mod batch;
mod check;
mod counts;
mod dialect;
mod door;
mod lines;
mod quarantine;
mod window;

pub use batch::{Batch, Rejected};
pub use check::{CheckOptions, Checker};
pub use counts::IntakeCounts;
pub use dialect::{Dialect, Kind, Mapped, Source};
pub use door::{Account, Door, DoorError, DoorOptions};
pub use lines::Lines;
pub use quarantine::{Quarantine, QuarantineOptions};
