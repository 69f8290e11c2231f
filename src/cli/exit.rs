//! How a command ends.

use std::io;
use std::process::ExitCode;

use shrike::config;

use super::hint;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All went well.
    Done,
    /// Something was lost, refused or damaged.
    Failed,
    /// Draining took too long; the rest is still in the log.
    Unfinished,
}

impl Exit {
    /// The process's exit code.
    pub(crate) fn code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Unfinished => 3,
        })
    }
}

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// An argument is wrong in a way that only the configuration shows.
    #[error("{0}")]
    Usage(String),
    /// Reading or writing failed.
    #[error("{what}: {source}{}", advice(source))]
    Io {
        /// What was read or written.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// Anything that the engine reports.
    #[error("{0}")]
    Engine(String),
}

/// What to do about the error that whoever only looks around meets.
fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => "; run this as the user to whom it belongs",
        _ => "",
    }
}

impl Failure {
    /// Names what was read or written.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// Says on standard error what happened, and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            // Whoever reads our output has seen enough: `shrike log cat | head`.
            Self::Io { source, .. } if source.kind() == io::ErrorKind::BrokenPipe => {
                ExitCode::SUCCESS
            }
            Self::Config(_) | Self::Usage(_) => {
                hint(format_args!("{self}"));
                ExitCode::from(2)
            }
            Self::Io { .. } | Self::Engine(_) => {
                hint(format_args!("shrike: {self}"));
                ExitCode::FAILURE
            }
        }
    }
}
