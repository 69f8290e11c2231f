//! The process's own log: JSON lines on standard error, text on a terminal.

use std::io::{self, IsTerminal as _};

use shrike::config::{Config, LogFormat, LogLevel};
use tracing::Level;

/// Starts logging as configured; a second call changes nothing.
pub(crate) fn start(config: &Config) {
    let level = match config.global.log_level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Trace => Level::TRACE,
    };
    let is_text = match config.global.log_format {
        Some(format) => format == LogFormat::Text,
        None => io::stderr().is_terminal(),
    };
    let lines = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(io::stderr)
        .with_target(false)
        .with_ansi(is_text && io::stderr().is_terminal());
    let started = match is_text {
        true => lines.compact().try_init(),
        false => lines.json().flatten_event(true).try_init(),
    };
    // A subscriber that is already there is a test's or an embedder's: theirs wins.
    drop(started);
}
