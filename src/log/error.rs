//! What can go wrong with the log, and what to do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::event::Offset;

/// Why the log could not be opened, read or kept.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A call to the file system failed.
    #[error("cannot {action} {path}: {source}{}", advice(source))]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has it.
    #[error(
        "{path} is held by process {holder}: one process at a time may write here; \
         stop that one, or have it do it: `shrike status`, `shrike append`, `shrike reload` ask it"
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The process that wrote itself into the lock file.
        holder: String,
    },
    /// A file of a version that this build does not know.
    #[error(
        "{path} has format version {found}, this build reads up to {known}: \
         use the newer shrike that wrote it"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// The version it carries.
        found: u32,
        /// The newest version that this build reads.
        known: u32,
    },
    /// A file is not what its name says.
    #[error("{path} is damaged: expected {expected}; {advice}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What it should have held.
        expected: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// An option is out of its range.
    #[error("log.{key} is {found}, expected {expected}")]
    Option {
        /// The key, as the configuration writes it.
        key: &'static str,
        /// The value.
        found: u64,
        /// What it may be.
        expected: String,
    },
    /// An exporter's name cannot name a file.
    #[error("{name:?} cannot name a cursor: expected 1 to 128 bytes")]
    Name {
        /// The name.
        name: String,
    },
    /// A checkpoint would pass what is safe on disk.
    #[error(
        "the checkpoint of {name} reaches {base}, but only {durable} is durable: \
         a checkpoint never passes durable offsets; wait for the next group commit"
    )]
    PastDurable {
        /// The exporter.
        name: String,
        /// How far the checkpoint reaches.
        base: Offset,
        /// How far the log is durable.
        durable: Offset,
    },
    /// The writer is gone, after a failure or because the log was closed.
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// Why a record was not taken, or is not durable.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// The record is longer than a segment can hold.
    #[error("the record has {bytes} bytes, the log takes at most {bytes_max}")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The longest one that is taken.
        bytes_max: usize,
    },
    /// The disk refuses; the log tries again by itself.
    #[error(transparent)]
    Disk(#[from] Arc<Refusal>),
    /// The log was closed.
    #[error("the log is closed: nothing is appended any more")]
    Closed,
}

/// What the disk refused last; kept until it works again.
#[derive(Debug)]
pub struct Refusal {
    /// What was tried, as a verb.
    pub action: &'static str,
    /// On what.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { action, path, source } = self;
        write!(f, "cannot {action} {}: {source}{}", path.display(), advice(source))?;
        f.write_str("; nothing was lost, appending goes on by itself once the disk works")
    }
}

impl std::error::Error for Refusal {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl LogError {
    /// Tells which call on which path failed; for `map_err`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }
}

/// What to do about the errors that people meet.
fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free space on this file system, or lower log.max_bytes and log.keep; where it \
             cannot hold the first segment, lower log.segment_bytes"
        }
        io::ErrorKind::PermissionDenied => "; run this as the user to whom the directory belongs",
        io::ErrorKind::ReadOnlyFilesystem => "; mount the file system for writing",
        _ => "",
    }
}
