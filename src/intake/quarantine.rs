//! Keeps what is no event, so that nothing disappears.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::batch::Rejected;
use crate::event::Offset;
use crate::log::{AppendError, Appender, Log, LogError, LogOptions, Mark};

/// Where the quarantine lies and how long it grows.
#[derive(Clone, Debug)]
pub struct QuarantineOptions {
    /// Its directory.
    pub dir: PathBuf,
    /// Bytes at most; the oldest segment goes first.
    pub bytes_max: u64,
}

/// Refused lines: a log of its own with small segments.
#[derive(Debug)]
pub struct Quarantine {
    log: Log,
    appender: Appender,
    bytes_max: u64,
    /// Bytes appended since the bound was last looked at.
    since_retained: u64,
}

impl Quarantine {
    /// Opens the store.
    ///
    /// # Errors
    /// When the directory cannot be made or read, or another process writes to it.
    pub fn open(options: &QuarantineOptions) -> Result<Self, LogError> {
        let (log, _) = Log::open(LogOptions {
            dir: options.dir.clone(),
            segment_bytes: SEGMENT_BYTES,
            keep_bytes: options.bytes_max,
            keep_age: KEEP_AGE,
            bytes_max: options.bytes_max,
            yields_when_full: false,
            ..LogOptions::default()
        })?;
        let appender = log.appender();
        Ok(Self { log, appender, bytes_max: options.bytes_max, since_retained: 0 })
    }

    /// Keeps a refused line of `source`.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn keep(
        &mut self,
        source: &str,
        rejected: &Rejected,
        received_ns: u64,
    ) -> Result<(), AppendError> {
        let record = json!({
            "v": 1,
            "class": rejected.class.name(),
            "source": source,
            "offset": rejected.offset,
            "length": rejected.length,
            "received": received_ns,
            "bytes": STANDARD.encode(&rejected.kept),
            "sha256": rejected.sha256.map(hex),
        });
        let record = record.to_string();
        let mark = Mark { received_ns, checked: true, ..Mark::default() };
        match self.appender.append(record.as_bytes(), mark) {
            // Longer than a segment in base64: the beginning must do.
            Err(AppendError::TooLarge { .. }) if rejected.kept.len() > KEPT_BYTES => {
                let kept = rejected.kept[..KEPT_BYTES].to_vec();
                return self.keep(source, &Rejected { kept, ..rejected.clone() }, received_ns);
            }
            appended => appended.map(drop)?,
        }
        self.since_retained += record.len() as u64;
        Ok(())
    }

    /// Makes everything durable, and removes the oldest beyond the bound.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn settle(&mut self) -> Result<(), LogError> {
        if self.since_retained == 0 {
            return Ok(());
        }
        let end = self.log.flush()?;
        self.since_retained = 0;
        let oldest_kept = end.bytes().saturating_sub(self.bytes_max);
        self.log.retain(Offset::new(oldest_kept)).map(drop)
    }

    /// The store, for reading.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }
}

fn hex(bytes: [u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Small segments, so that removing the oldest removes little.
const SEGMENT_BYTES: u64 = 8 << 20;

/// A month: time enough to look why.
const KEEP_AGE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Bytes kept of a line that does not fit as a whole.
const KEPT_BYTES: usize = 4096;
