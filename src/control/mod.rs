//! The socket through which commands talk to a running process.
//!
//! `state_dir/control.sock`, mode 0600. A connection carries requests one after another, each one
//! line of JSON, each answered by one line; [`Request::Append`] is followed by the records
//! themselves. Every line names the protocol's version, and every length is bounded.
//!
//! Beside it, on `admin.listen`, are the pages for monitoring and, for those who hold a token, an
//! API that asks the same requests.

mod admin;
mod api;
mod client;
mod exposition;
mod intel;
mod protocol;
mod reload;
mod server;

pub use admin::{Access, Admin, Observe};
pub use client::Client;
pub use exposition::{Numbers, exposition};
pub use intel::{FeedStatus, IntelStatus};
pub use protocol::{
    ALERTS_MAX, APPEND_BYTES_MAX, AlertStatus, Answer, Appended, Change, CursorStatus,
    DigestStatus, ExporterStatus, Health, HookStatus, InputStatus, LastError, LogStatus, Rejected,
    ReloadReport, Request, Rewind, Status, Target, ThreadStatus, VERSION,
};
pub use reload::{ReloadCounts, ReloadNumbers};
pub use server::{Serve, Server};

use std::io;
use std::path::{Path, PathBuf};

/// What went wrong between a command and the running process.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket cannot be made, reached, read or written.
    #[error("{path}: {source}{advice}", path = .path.display(), advice = advice(source))]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The process went away while it was asked.
    #[error(
        "{path}: the process that was asked ended before it answered; what it wrote to standard \
         error tells why, and what it had done by then is kept: ask again once it runs",
        path = .path.display()
    )]
    Gone {
        /// The socket.
        path: PathBuf,
    },
    /// The other side does not speak this protocol.
    #[error("{path}: {problem}; both sides must be the same shrike", path = .path.display())]
    Protocol {
        /// The socket.
        path: PathBuf,
        /// What was wrong with it.
        problem: String,
    },
    /// The running process refused.
    #[error("{0}")]
    Refused(String),
}

fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => "; run this as the user that shrike runs as",
        _ => "",
    }
}

/// The socket of the process that works in this directory.
#[must_use]
pub fn socket(state_dir: &Path) -> PathBuf {
    state_dir.join("control.sock")
}
