//! A door into the log: lines are checked, what they hold is appended.

use std::io::{self, Read};
use std::sync::Arc;

use super::check::{CheckOptions, Checker};
use super::counts::IntakeCounts;
use super::position::{Position, Positions, begin_note, position_note};
use super::quarantine::{Quarantine, QuarantineOptions};
use super::stream::{Account, Stream};
use crate::event::{Frame, Offset, Opening};
use crate::log::{AppendError, Appender, LogError, Read as Found, Reader};

/// Checks the lines of sources and appends what they hold.
///
/// After an error of the log nothing that came before is recognised any more: else events that are
/// not in the log yet would be taken for repeats, and be acknowledged.
#[derive(Debug)]
pub struct Door {
    pub(super) checker: Checker,
    appender: Appender,
    pub(super) quarantine: Option<Quarantine>,
    positions: Option<Arc<Positions>>,
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
    /// Where the positions that are appended are remembered.
    pub positions: Option<Arc<Positions>>,
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

impl DoorError {
    /// Whether the same may work later: the disk refuses, and goes on by itself once it works.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Read { .. } => false,
            Self::Append { error, .. } => matches!(error, AppendError::Disk(_)),
            Self::Quarantine { error, .. } => {
                matches!(error, LogError::Append(AppendError::Disk(_)) | LogError::Io { .. })
            }
        }
    }
}

impl Door {
    /// Opens records this way from now on; what is remembered stays.
    pub fn open_as(&mut self, opening: Arc<Opening>) {
        self.checker.open_as(opening);
    }

    /// Takes lines of at most so many bytes from now on, and remembers so many ids.
    pub fn bound(&mut self, line_bytes_max: usize, dedup_window: usize) {
        self.checker.bound(line_bytes_max, dedup_window);
    }

    /// Puts refused lines there from now on: into the store that it has, where that is the one, or
    /// into another. What that one holds stays in it.
    ///
    /// # Errors
    /// When the other store cannot be opened, or the disk refuses what the old one still has to
    /// write; nothing has changed then.
    pub fn quarantine_in(&mut self, options: &QuarantineOptions) -> Result<(), LogError> {
        match &mut self.quarantine {
            Some(quarantine) if quarantine.is_in(&options.dir) => {
                quarantine.bound(options.bytes_max);
            }
            old => {
                let new = Quarantine::open(options)?;
                old.as_mut().map_or(Ok(()), Quarantine::settle)?;
                *old = Some(new);
            }
        }
        Ok(())
    }

    /// A door with an empty window of ids.
    #[must_use]
    pub fn new(options: DoorOptions) -> Self {
        let DoorOptions { opening, mut check, appender, quarantine, positions } = options;
        check.record_bytes_max = check.record_bytes_max.min(appender.record_bytes_max());
        check.line_bytes_max = check.line_bytes_max.min(check.record_bytes_max);
        let counts = Arc::new(IntakeCounts::default());
        Self {
            checker: Checker::new(opening, check, Arc::clone(&counts)),
            appender,
            quarantine,
            positions,
            counts,
            last: None,
        }
    }

    /// What the door counts; it counts on after this call.
    #[must_use]
    pub fn counts(&self) -> Arc<IntakeCounts> {
        Arc::clone(&self.counts)
    }

    /// Bytes of a line without its ending, at most.
    #[must_use]
    pub fn line_bytes_max(&self) -> usize {
        self.checker.line_bytes_max()
    }

    /// The last record that was appended: once it is durable, everything before it is.
    #[must_use]
    pub fn last(&self) -> Option<Offset> {
        self.last
    }

    /// Puts the events of the log from `from` on into the window, as if they had just come in: a
    /// source that reads them again after a crash shall not repeat them.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn remember(&mut self, reader: &mut Reader, from: Offset) -> Result<(), LogError> {
        let end = reader.written();
        let mut at = from.max(reader.oldest());
        while at < end {
            match reader.read(at, end, CHUNK_BYTES)? {
                Found::Block(block) => {
                    for record in block.records() {
                        let frame = Frame { checked: false, ..record.frame };
                        self.checker.remember(frame, block.record(record));
                    }
                    at = block.span().to;
                }
                // What the disk cannot read is damaged: the next read tells.
                Found::Cold(span) => drop(reader.warm(span)),
                Found::Gone { oldest } => at = oldest,
                Found::Damaged { span, .. } => at = span.to,
                Found::End => break,
            }
        }
        Ok(())
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
        let mut stream = Stream::new(source_name, 0);
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut filled = 0;
        loop {
            let read = match source.read(&mut buffer[filled..]) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    let position = stream.position() + filled as u64;
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
                0 => self.take_rest(&mut stream, chunk, now()),
                _ => self.take(&mut stream, chunk, now()),
            };
            self.append(&mut stream, chunk, None)?;
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
        self.settle(&stream)?;
        Ok(stream.account())
    }

    /// Checks the complete lines of a chunk that begins where the last one's taken bytes ended.
    /// Returns the bytes taken; what they hold is to be appended next, from the same chunk.
    pub fn take(&mut self, stream: &mut Stream, chunk: &[u8], now_ns: u64) -> usize {
        let before = self.begin(stream, now_ns);
        let taken = stream.lines.take(&mut self.checker, chunk, now_ns, &mut stream.batch);
        self.note_duplicates(stream, before);
        taken
    }

    /// Checks what remains of a source that is known to be complete, to be appended next. Returns
    /// the bytes taken: all of them.
    pub fn take_rest(&mut self, stream: &mut Stream, rest: &[u8], now_ns: u64) -> usize {
        let before = self.begin(stream, now_ns);
        stream.lines.finish(&mut self.checker, rest, now_ns, &mut stream.batch);
        self.note_duplicates(stream, before);
        rest.len()
    }

    /// Appends what was taken from the chunk, and behind it where reading goes on, so that both
    /// become durable together.
    ///
    /// # Errors
    /// When the log or the quarantine do not take it. Called again with the same chunk, it goes on
    /// behind what they took.
    pub fn append(
        &mut self,
        stream: &mut Stream,
        chunk: &[u8],
        position: Option<&Position>,
    ) -> Result<(), DoorError> {
        let appended = self.append_all(stream, chunk, position);
        if appended.is_err() {
            self.checker.forget();
        }
        appended
    }

    /// Waits until everything that was appended, and kept in quarantine, is durable: only now may
    /// the sender be answered.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn settle(&mut self, stream: &Stream) -> Result<(), DoorError> {
        self.settle_quarantine(&stream.name)?;
        let Some(last) = self.last else { return Ok(()) };
        self.appender.wait_durable(last).map_err(append_error(stream))
    }

    /// Makes the refused lines durable.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn settle_quarantine(&mut self, source_name: &str) -> Result<(), DoorError> {
        let Some(quarantine) = &mut self.quarantine else { return Ok(()) };
        quarantine
            .settle()
            .map_err(|error| DoorError::Quarantine { source_name: source_name.into(), error })
    }

    /// Counts there from now on; returns where it counted before.
    pub(super) fn count_in(&mut self, counts: Arc<IntakeCounts>) -> Arc<IntakeCounts> {
        self.checker.count_in(Arc::clone(&counts));
        std::mem::replace(&mut self.counts, counts)
    }

    /// Forgets which events came: some of them were not appended.
    pub(super) fn forget(&mut self) {
        self.checker.forget();
    }

    fn begin(&mut self, stream: &mut Stream, now_ns: u64) -> u64 {
        debug_assert_eq!(stream.appended, 0, "what was taken is appended first");
        self.checker.set_format(stream.format);
        stream.batch.clear();
        stream.received_ns = now_ns;
        self.counts.class(crate::event::Class::Duplicate).load()
    }

    fn note_duplicates(&self, stream: &mut Stream, before: u64) {
        // The door serves one stream at a time, so the difference is this one's.
        let now = self.counts.class(crate::event::Class::Duplicate).load();
        stream.account.duplicates += now - before;
    }

    /// Appends the batch: the log's lock is taken once, after all lines were checked.
    fn append_all(
        &mut self,
        stream: &mut Stream,
        chunk: &[u8],
        position: Option<&Position>,
    ) -> Result<(), DoorError> {
        self.keep_rejected(stream, position.is_some())?;
        let records = stream.batch.len();
        if records > 0 || position.is_some() {
            let refused = append_error(stream);
            let noting = self.positions.as_deref().filter(|_| position.is_some());
            let noting = noting.map(Positions::noting);
            let mut group = self.appender.group();
            if position.is_some() && records > 0 && !stream.has_begun {
                let at = group.note(&begin_note(&stream.name)).map_err(&refused)?;
                if let Some(noting) = &noting {
                    noting.begin(&stream.name, at);
                }
                stream.has_begun = true;
            }
            for (record, mark) in stream.batch.records(chunk).skip(stream.appended) {
                self.last = Some(group.append(record, mark).map_err(&refused)?);
                stream.appended += 1;
            }
            if let Some(position) = position {
                self.last = Some(group.note(&position_note(position)).map_err(&refused)?);
            }
            if let (Some(noting), Some(position)) = (noting, position) {
                noting.set(position.clone());
            }
        }
        stream.account.events += records as u64;
        stream.account.rejected += stream.batch.rejected.len() as u64;
        (stream.appended, stream.kept, stream.has_begun) = (0, 0, false);
        Ok(())
    }

    /// Puts refused lines into quarantine; durable before a position says that they were taken.
    fn keep_rejected(&mut self, stream: &mut Stream, has_position: bool) -> Result<(), DoorError> {
        let Some(quarantine) = &mut self.quarantine else { return Ok(()) };
        if stream.batch.rejected.is_empty() {
            return Ok(());
        }
        let refused = |error| DoorError::Quarantine { source_name: stream.name.clone(), error };
        for rejected in &stream.batch.rejected[stream.kept..] {
            let kept = quarantine.keep(&stream.name, rejected, stream.received_ns);
            kept.map_err(LogError::from).map_err(refused)?;
            stream.kept += 1;
        }
        if has_position {
            quarantine.settle().map_err(refused)?;
        }
        Ok(())
    }
}

fn append_error(stream: &Stream) -> impl Fn(AppendError) -> DoorError + use<> {
    let (source_name, position) = (stream.name.clone(), stream.lines.position());
    move |error| DoorError::Append { source_name: source_name.clone(), position, error }
}

/// Bytes read at once: they stay in the second-level cache until they are appended.
const CHUNK_BYTES: usize = 256 << 10;
