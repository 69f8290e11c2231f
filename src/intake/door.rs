//! A door for a finite source of lines, a file or standard input.

use std::io::{self, Read};
use std::sync::Arc;

use super::batch::{Batch, Rejected};
use super::check::{CheckOptions, Checker};
use super::counts::IntakeCounts;
use super::lines::Lines;
use super::quarantine::Quarantine;
use crate::event::{Offset, Opening};
use crate::log::{AppendError, Appender, LogError};

/// Checks the lines of sources and appends what they hold.
///
/// After an error of the log the events of the chunk may be in the log or not; coming again they
/// are appended again, since nothing that came before is recognised any more.
#[derive(Debug)]
pub struct Door {
    checker: Checker,
    appender: Appender,
    quarantine: Option<Quarantine>,
    batch: Batch,
    counts: Arc<IntakeCounts>,
    /// The last record that was appended.
    last: Option<Offset>,
}

/// What a door needs.
#[derive(Debug)]
pub struct DoorOptions {
    /// How events are opened.
    pub opening: Arc<Opening>,
    /// What lines may be.
    pub check: CheckOptions,
    /// Where events go.
    pub appender: Appender,
    /// Where refused lines go; without it they are counted only.
    pub quarantine: Option<Quarantine>,
}

/// What became of a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Bytes of the source that were taken.
    pub bytes: u64,
    /// Events that were appended.
    pub events: u64,
    /// Lines that were refused.
    pub rejected: u64,
}

/// Why a door cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// The source cannot be read.
    #[error("cannot read {source_name} at byte {position}")]
    Read {
        /// The source.
        source_name: String,
        /// Where.
        position: u64,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The log does not take the events.
    #[error("cannot append what {source_name} holds before byte {position}")]
    Append {
        /// The source.
        source_name: String,
        /// Where.
        position: u64,
        /// Why.
        #[source]
        error: AppendError,
    },
    /// The quarantine does not take a refused line.
    #[error("cannot keep a refused line of {source_name} in quarantine")]
    Quarantine {
        /// The source.
        source_name: String,
        /// Why.
        #[source]
        error: LogError,
    },
}

impl Door {
    /// A door with an empty window of ids.
    #[must_use]
    pub fn new(options: DoorOptions) -> Self {
        let DoorOptions { opening, mut check, appender, quarantine } = options;
        check.record_bytes_max = check.record_bytes_max.min(appender.record_bytes_max());
        check.line_bytes_max = check.line_bytes_max.min(check.record_bytes_max);
        let counts = Arc::new(IntakeCounts::default());
        Self {
            checker: Checker::new(opening, check, Arc::clone(&counts)),
            appender,
            quarantine,
            batch: Batch::default(),
            counts,
            last: None,
        }
    }

    /// What the door counts; it counts on after this call.
    #[must_use]
    pub fn counts(&self) -> Arc<IntakeCounts> {
        Arc::clone(&self.counts)
    }

    /// The last record that was appended: once it is durable, everything before it is.
    #[must_use]
    pub fn last(&self) -> Option<Offset> {
        self.last
    }

    /// The lines that the last chunk refused.
    #[must_use]
    pub fn rejected(&self) -> &[Rejected] {
        &self.batch.rejected
    }

    /// Reads a finite source to its end and returns once all its events are durable.
    ///
    /// `now` tells nanoseconds since 1970; it is asked once for each chunk.
    ///
    /// # Errors
    /// When the source cannot be read, or the log or the quarantine do not take what it holds.
    pub fn read(
        &mut self,
        source_name: &str,
        source: &mut impl Read,
        now: impl Fn() -> u64,
    ) -> Result<Account, DoorError> {
        let mut lines = Lines::new(0);
        let mut account = Account::default();
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut filled = 0;
        loop {
            let read = match source.read(&mut buffer[filled..]) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    let position = lines.position() + filled as u64;
                    return Err(DoorError::Read {
                        source_name: source_name.into(),
                        position,
                        error,
                    });
                }
            };
            filled += read;
            let chunk = &buffer[..filled];
            let taken = match read {
                0 => self.finish(&mut lines, chunk, source_name, now(), &mut account)?,
                _ => self.chunk(&mut lines, chunk, source_name, now(), &mut account)?,
            };
            if read == 0 {
                break;
            }
            buffer.copy_within(taken..filled, 0);
            filled -= taken;
            if filled == buffer.len() {
                // Bounded: a rest longer than the longest line is taken as too long.
                buffer.resize(2 * filled, 0);
            }
        }
        account.bytes = lines.position();
        self.settle(source_name, lines.position())?;
        Ok(account)
    }

    /// Takes the complete lines of a chunk that begins where the last one's taken bytes ended; they
    /// are appended, not yet durable. Returns the bytes taken.
    ///
    /// # Errors
    /// When the log or the quarantine do not take what the chunk holds.
    pub fn chunk(
        &mut self,
        lines: &mut Lines,
        chunk: &[u8],
        source_name: &str,
        now_ns: u64,
        account: &mut Account,
    ) -> Result<usize, DoorError> {
        self.batch.clear();
        let taken = lines.take(&mut self.checker, chunk, now_ns, &mut self.batch);
        self.append(chunk, lines.position(), source_name, now_ns, account)?;
        Ok(taken)
    }

    /// Takes what remains of a source that is known to be complete. Returns the bytes taken.
    ///
    /// # Errors
    /// As [`Door::chunk`].
    pub fn finish(
        &mut self,
        lines: &mut Lines,
        rest: &[u8],
        source_name: &str,
        now_ns: u64,
        account: &mut Account,
    ) -> Result<usize, DoorError> {
        self.batch.clear();
        lines.finish(&mut self.checker, rest, now_ns, &mut self.batch);
        self.append(rest, lines.position(), source_name, now_ns, account)?;
        Ok(rest.len())
    }

    /// Waits until everything that was appended, and kept in quarantine, is durable: only now may
    /// the sender be answered, or the position in the source stored.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn settle(&mut self, source_name: &str, position: u64) -> Result<(), DoorError> {
        if let Some(quarantine) = &mut self.quarantine {
            quarantine.settle().map_err(quarantine_error(source_name))?;
        }
        let Some(last) = self.last else { return Ok(()) };
        self.appender.wait_durable(last).map_err(append_error(source_name, position))
    }

    /// Appends the batch: the log's lock is taken once, after all lines were checked.
    fn append(
        &mut self,
        chunk: &[u8],
        position: u64,
        source_name: &str,
        now_ns: u64,
        account: &mut Account,
    ) -> Result<(), DoorError> {
        if !self.batch.is_empty() {
            let mut group = self.appender.group();
            for (record, mark) in self.batch.records(chunk) {
                match group.append(record, mark) {
                    Ok(offset) => self.last = Some(offset),
                    Err(error) => {
                        // Else the same events would be taken for repeats, and be acknowledged.
                        self.checker.forget();
                        return Err(append_error(source_name, position)(error));
                    }
                }
            }
        }
        account.events += self.batch.len() as u64;
        account.rejected += self.batch.rejected.len() as u64;
        if let Some(quarantine) = &mut self.quarantine {
            for rejected in &self.batch.rejected {
                let kept = quarantine.keep(source_name, rejected, now_ns).map_err(LogError::from);
                kept.map_err(quarantine_error(source_name))?;
            }
        }
        Ok(())
    }
}

fn append_error(source_name: &str, position: u64) -> impl Fn(AppendError) -> DoorError {
    move |error| DoorError::Append { source_name: source_name.into(), position, error }
}

fn quarantine_error(source_name: &str) -> impl Fn(LogError) -> DoorError {
    move |error| DoorError::Quarantine { source_name: source_name.into(), error }
}

/// Bytes read at once: they stay in the second-level cache until they are appended.
const CHUNK_BYTES: usize = 256 << 10;
