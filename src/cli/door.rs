//! The one door of this process: inputs and commands go through it, so that an event which comes
//! twice is recognised wherever it comes from.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use shrike::config::{Config, Host};
use shrike::control::{Appended, Rejected};
use shrike::event::{Class, Opening, Span};
use shrike::intake::{
    self, CheckOptions, DoorError, DoorOptions, IntakeCounts, Positions, Quarantine,
    QuarantineOptions, Questions, Retried, Retrying, SharedDoor, Stream, WantedLines,
};
use shrike::log::{Appender, Log, LogError};
use shrike::pipeline::Unreadable;

use super::walk::{Met, Then, walk};
use super::{Failure, position};

/// Checks lines and appends those that are events.
pub(crate) struct Door {
    pub(crate) shared: SharedDoor,
    /// Where inputs go on.
    pub(crate) positions: Arc<Positions>,
    appender: Appender,
    log: Log,
    counts: Arc<IntakeCounts>,
    /// What answers guards.
    pub(crate) questions: Questions,
    /// Held by whoever needs the quarantine to stay the same one.
    retrying: Mutex<()>,
}

impl Door {
    /// Into this log.
    ///
    /// # Errors
    /// When the quarantine, the positions or the log cannot be read or written.
    pub(crate) fn open(
        config: &Config,
        log: &Log,
        questions: &Questions,
    ) -> Result<Self, LogError> {
        let quarantine = Quarantine::open(&quarantine_options(config));
        let bytes_max = line_bytes_max(config);
        let mut reader = log.reader();
        let path: PathBuf = config.global.state_dir.join(POSITIONS);
        let (positions, torn) = Positions::open(path, &reader)?;
        let positions = Arc::new(positions);
        let mut door = intake::Door::new(DoorOptions {
            opening: Arc::new(Opening::new(&config.opening_options())),
            check: CheckOptions {
                line_bytes_max: bytes_max,
                dedup_window: config.pipeline.dedup_window,
                dialects: shrike::dialects::ALL,
                host: Host::look().name,
                ..CheckOptions::default()
            },
            appender: log.appender(),
            quarantine: Some(quarantine?),
            positions: Some(Arc::clone(&positions)),
        });
        if let Some(from) = torn {
            door.remember(&mut reader, from)?;
        }
        let counts = door.counts();
        Ok(Self {
            counts,
            shared: SharedDoor::new(door),
            positions,
            appender: log.appender(),
            log: log.clone(),
            questions: questions.clone(),
            retrying: Mutex::default(),
        })
    }

    /// Takes in and keeps what a configuration says from now on.
    ///
    /// # Errors
    /// When another quarantine cannot be opened; nothing has changed then.
    pub(crate) fn change(&self, config: &Config) -> Result<(), LogError> {
        let _retrying = self.retrying.lock().unwrap_or_else(PoisonError::into_inner);
        let mut door = self.shared.lock();
        door.quarantine_in(&quarantine_options(config))?;
        door.bound(line_bytes_max(config), config.pipeline.dedup_window);
        // Mappings ask whether a tenant is configured.
        door.open_as(Arc::new(Opening::new(&config.opening_options())));
        Ok(())
    }

    /// Appends every line that is an event, and returns once they are durable.
    pub(crate) fn append(&self, lines: &[u8]) -> Result<Appended, String> {
        let mut stream = Stream::new(COMMAND, 0);
        let now = position::now();
        let mut first_rejected = Vec::new();
        let last = {
            let mut door = self.shared.lock();
            let taken = door.take(&mut stream, lines, now);
            list(lines, stream.rejected(), &mut first_rejected);
            door.append(&mut stream, lines, None).map_err(told)?;
            let rest = &lines[taken..];
            door.take_rest(&mut stream, rest, now);
            list(lines, stream.rejected(), &mut first_rejected);
            door.append(&mut stream, rest, None).map_err(told)?;
            door.settle_quarantine(COMMAND).map_err(told)?;
            door.last()
        };
        if let Some(last) = last {
            // The lock is free meanwhile: others append into the same group commit.
            self.appender.wait_durable(last).map_err(|error| error.to_string())?;
        }
        let account = stream.account();
        Ok(Appended {
            appended: account.events,
            duplicates: account.duplicates,
            rejected: account.rejected,
            first_rejected,
            durable: self.log.durable().bytes(),
        })
    }

    /// Looks at refused lines again, and appends those that are events.
    pub(crate) fn retry(&self, wanted: &WantedLines) -> Result<Retried, String> {
        let _same_store = self.retrying.lock().unwrap_or_else(PoisonError::into_inner);
        let mut retrying = Retrying::default();
        loop {
            let last = {
                let mut door = self.shared.lock();
                door.retry(wanted, &mut retrying, position::now()).map_err(told)?;
                door.last()
            };
            if let Some(last) = last {
                self.appender.wait_durable(last).map_err(|error| error.to_string())?;
            }
            self.shared.lock().retried(&mut retrying).map_err(told)?;
            if !retrying.has_more() {
                return Ok(retrying.sum);
            }
        }
    }

    /// What was wrong with what came in, counted since the start.
    pub(crate) fn classes(&self) -> Vec<(Class, u64)> {
        Class::ALL.iter().map(|&class| (class, self.counts.class(class).load())).collect()
    }

    /// Puts a record of the log into quarantine that no exporter could open.
    pub(crate) fn keep(&self, found: Unreadable) {
        let Unreadable { at, to, class } = found;
        let mut reader = self.log.reader();
        let span = Span { from: at, to };
        let kept = walk(&mut reader, span, |met| {
            let Met::Block(block) = met else { return Ok(Then::On) };
            for record in block.records() {
                let bytes = block.record(record);
                let received_ns = record.frame.received_ns;
                let kept = self.shared.lock().keep_of_log(at, class, bytes, received_ns);
                kept.map_err(|error| Failure::Engine(told(error)))?;
            }
            Ok(Then::Stop)
        });
        if let Err(problem) = kept {
            tracing::warn!(offset = %at, %problem, "record not put into quarantine; the log has it");
        }
    }

    /// What waits for the log itself.
    pub(crate) fn appender(&self) -> Appender {
        self.appender.clone()
    }

    /// Writes down where inputs go on, so that opening needs few of the log's notes.
    pub(crate) fn save_positions(&self) {
        if let Err(error) = self.positions.save(&self.log) {
            tracing::warn!(%error, "the positions of inputs are in the log only");
        }
    }
}

fn quarantine_options(config: &Config) -> QuarantineOptions {
    QuarantineOptions {
        dir: config.pipeline.quarantine_dir.clone(),
        bytes_max: config.pipeline.quarantine_bytes_max,
    }
}

fn line_bytes_max(config: &Config) -> usize {
    usize::try_from(config.pipeline.event_bytes_max).unwrap_or(usize::MAX)
}

/// Lists refused lines by number.
fn list(text: &[u8], rejected: &[intake::Rejected], first: &mut Vec<Rejected>) {
    for rejected in rejected.iter().take(REJECTED_MAX.saturating_sub(first.len())) {
        let at = usize::try_from(rejected.offset).unwrap_or(usize::MAX).min(text.len());
        let line = text[..at].iter().filter(|&&byte| byte == b'\n').count() as u64 + 1;
        first.push(Rejected { line, class: rejected.class.name().to_owned() });
    }
}

/// The whole chain of causes in one sentence.
fn told(error: DoorError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

/// The name of a command's lines in quarantine.
const COMMAND: &str = "append";
/// The file with the positions of inputs, below the state directory.
const POSITIONS: &str = "inputs.json";
/// Rejected lines that are listed; the others are counted.
pub(crate) const REJECTED_MAX: usize = 10;
