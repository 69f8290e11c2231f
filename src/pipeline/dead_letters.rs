//! The dead-letter store of one exporter: a log of its own, with small segments.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;
use serde_json::value::RawValue;

use crate::deliver::DeadLetter;
use crate::event::{Offset, Settle, Settled, Span};
use crate::log::{AppendError, Appender, Log, LogError, LogOptions, Mark};

/// Events that an exporter gave up, with the reason, until somebody replays or purges them.
#[derive(Debug)]
pub(crate) struct DeadLetters {
    log: Log,
    appender: Appender,
    bytes_max: u64,
    letters: Mutex<Letters>,
    /// Whether the store refuses so much that nothing more should be read.
    is_stuck: AtomicBool,
}

/// Letters on their way to the disk; their events are pending.
#[derive(Debug, Default)]
struct Letters {
    /// Written and not yet durable: they settle once they are.
    written: Vec<(Offset, Span)>,
    /// The store would not take them; oldest first.
    refused: VecDeque<Refused>,
    /// Bytes of those.
    refused_bytes: usize,
}

/// A letter that the store did not take yet.
#[derive(Debug)]
struct Refused {
    span: Span,
    mark: Mark,
    record: String,
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
        Ok(Self::over(log))
    }

    fn over(log: Log) -> Self {
        let appender = log.appender();
        Self {
            log,
            appender,
            bytes_max: BYTES_MAX,
            letters: Mutex::default(),
            is_stuck: AtomicBool::new(false),
        }
    }

    /// Writes a letter; its event stays pending until the letter is durable.
    ///
    /// # Errors
    /// When the store does not take it now: it is kept, and [`DeadLetters::try_again`] writes it.
    pub(crate) fn bury(
        &self,
        exporter: &str,
        letter: &DeadLetter,
        document: Option<&[u8]>,
    ) -> Result<(), AppendError> {
        let mark = Mark { received_ns: letter.item.received_ns, checked: true, ..Mark::default() };
        let span = letter.item.span;
        let record = record(exporter, letter, document);
        let mut letters = self.lock();
        // Behind those that wait already, so that the oldest is tried first.
        let written = match letters.refused.is_empty() {
            true => self.write(span, mark, &record, &mut letters),
            false => Ok(false),
        };
        // A letter that no segment holds is kept without its event rather than not at all: the
        // event's offset says where it lies in the log.
        let (written, record) = match written {
            Err(AppendError::TooLarge { .. }) => {
                let record = self::record(exporter, letter, None);
                (self.write(span, mark, &record, &mut letters), record)
            }
            written => (written, record),
        };
        if matches!(written, Ok(true)) {
            return Ok(());
        }
        letters.refused_bytes += record.len();
        letters.refused.push_back(Refused { span, mark, record });
        self.tell_stuck(&letters);
        written.map(drop)
    }

    /// Writes the letters that the store refused before, as far as it takes them now.
    ///
    /// # Errors
    /// When it still refuses; the rest waits for the next try.
    pub(crate) fn try_again(&self) -> Result<(), AppendError> {
        let mut letters = self.lock();
        while let Some(Refused { span, mark, record }) = letters.refused.pop_front() {
            if let Err(error) = self.write(span, mark, &record, &mut letters) {
                letters.refused.push_front(Refused { span, mark, record });
                return Err(error);
            }
            letters.refused_bytes -= record.len();
            self.tell_stuck(&letters);
        }
        Ok(())
    }

    /// Whether so many letters wait for the store that lanes should read nothing more.
    pub(crate) fn is_stuck(&self) -> bool {
        self.is_stuck.load(Ordering::Relaxed)
    }

    /// The events whose letters have become durable since the last call.
    pub(crate) fn settled(&self) -> Vec<Settled> {
        let durable = self.log.durable();
        let mut settled = Vec::new();
        self.lock().written.retain(|&(offset, span)| {
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
        let letters = self.lock();
        (letters.written.len() + letters.refused.len()) as u64
    }

    fn write(
        &self,
        span: Span,
        mark: Mark,
        record: &str,
        letters: &mut Letters,
    ) -> Result<bool, AppendError> {
        let offset = self.appender.append(record.as_bytes(), mark)?;
        letters.written.push((offset, span));
        Ok(true)
    }

    fn tell_stuck(&self, letters: &Letters) {
        let is_stuck = letters.refused_bytes >= REFUSED_BYTES_MAX;
        self.is_stuck.store(is_stuck, Ordering::Relaxed);
    }

    /// Changed by single calls, so that a panic elsewhere leaves it whole.
    fn lock(&self) -> MutexGuard<'_, Letters> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Bytes of letters that wait for a store which refuses them; then lanes read nothing more.
const REFUSED_BYTES_MAX: usize = 1 << 20;
/// Small segments, so that removing the oldest removes little.
const SEGMENT_BYTES: u64 = 8 << 20;
/// `dlq.max_bytes`: the oldest segment goes when the store is larger.
const BYTES_MAX: u64 = 50 << 20;
/// `dlq.max_age_days`.
const AGE_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);
