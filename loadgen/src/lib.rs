//! loadgen: seeded load, fake vendors and exact accounts for shrike.
//!
//! It knows shrike only from outside: events go in as any producer writes them, and requests are
//! judged by the vendors' documentation, never by shrike's own tables.

pub mod account;
pub mod clock;
pub mod fake;
pub mod generate;
pub mod id;
pub mod otlp;
pub mod produce;
pub mod realtime;
pub mod scenario;
pub mod seed;

use std::fmt::Display;
use std::io::{self, Write as _};

/// Prints a line; whoever has stopped reading is told nothing.
pub fn say(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// The same on standard error.
pub fn hint(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}
