//! The dead-letter store of one exporter: a log of its own, with small segments.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;
use serde_json::value::RawValue;

use crate::deliver::DeadLetter;
use crate::event::{Offset, Settle, Settled, Span};
use crate::log::{Appender, Log, LogError, LogOptions, Mark};

/// Events that an exporter gave up, with the reason, until somebody replays or purges them.
#[derive(Debug)]
pub(crate) struct DeadLetters {
    log: Log,
    appender: Appender,
    bytes_max: u64,
    /// Letters that are written and not yet durable: they settle once they are.
    waiting: Mutex<Vec<(Offset, Span)>>,
}

impl DeadLetters {
    /// Opens the store of an exporter below the state directory.
    ///
    /// # Errors
    /// When the directory cannot be made or read, or another process writes to it.
    pub(crate) fn open(state_dir: &Path, exporter: &str) -> Result<Self, LogError> {
        let options = LogOptions {
            dir: state_dir.join("dlq").join(exporter),
            segment_bytes: SEGMENT_BYTES,
            keep_bytes: BYTES_MAX,
            keep_age: AGE_MAX,
            bytes_max: BYTES_MAX,
            ..LogOptions::default()
        };
        let (log, _) = Log::open(options)?;
        let appender = log.appender();
        Ok(Self { log, appender, bytes_max: BYTES_MAX, waiting: Mutex::default() })
    }

    /// Writes a letter; its event stays pending until the letter is durable.
    ///
    /// # Errors
    /// When the store cannot write: the event then stays pending.
    pub(crate) fn bury(
        &self,
        exporter: &str,
        letter: &DeadLetter,
        document: Option<&[u8]>,
    ) -> Result<(), String> {
        let record = record(exporter, letter, document);
        let mark = Mark { received_ns: letter.item.received_ns, checked: true, ..Mark::default() };
        let offset =
            self.appender.append(record.as_bytes(), mark).map_err(|error| error.to_string())?;
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push((offset, letter.item.span));
        Ok(())
    }

    /// The events whose letters have become durable since the last call.
    pub(crate) fn settled(&self) -> Vec<Settled> {
        let durable = self.log.durable();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut settled = Vec::new();
        waiting.retain(|&(offset, span)| {
            let is_durable = offset < durable;
            if is_durable {
                settled.push(Settled { span, events: 1, fate: Settle::DeadLettered });
            }
            !is_durable
        });
        settled
    }

    /// Events whose letters are not durable yet.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).len() as u64
    }

    /// Removes the oldest letters beyond the store's bounds.
    pub(crate) fn retain(&self) -> Result<(), LogError> {
        let written = self.log.written();
        let oldest_kept = written.bytes().saturating_sub(self.bytes_max);
        self.log.retain(Offset::new(oldest_kept)).map(drop)
    }
}

/// The letter as one line of JSON (`pipeline.md`, Dead-letter store).
fn record(exporter: &str, letter: &DeadLetter, document: Option<&[u8]>) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let failing_for = letter
        .failed_since
        .map_or(Duration::ZERO, |since| Instant::now().saturating_duration_since(since));
    let event = document
        .and_then(|bytes| std::str::from_utf8(bytes).ok())
        .and_then(|text| RawValue::from_string(text.to_owned()).ok());
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    json!({
        "v": 1,
        "exporter": exporter,
        "offset": letter.item.span.from.bytes(),
        "first_failed_at_ms": millis(now.saturating_sub(failing_for)),
        "failed_at_ms": millis(now),
        "attempts": letter.attempts,
        "class": letter.reason.class,
        "http_status": letter.reason.status,
        "code": letter.reason.code,
        "error": letter.reason.detail,
        "retryable": letter.retryable,
        "event": event,
    })
    .to_string()
}

/// Small segments, so that removing the oldest removes little.
const SEGMENT_BYTES: u64 = 8 << 20;
/// `dlq.max_bytes`: the oldest segment goes when the store is larger.
const BYTES_MAX: u64 = 50 << 20;
/// `dlq.max_age_days`.
const AGE_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);
