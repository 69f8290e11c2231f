//! The one door of this process: inputs and commands go through it, so that an event which comes
//! twice is recognised wherever it comes from.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shrike::config::Config;
use shrike::control::{Appended, Rejected};
use shrike::event::{Class, Opening};
use shrike::intake::{
    self, Account, CheckOptions, DoorError, DoorOptions, Lines, Quarantine, QuarantineOptions,
};
use shrike::log::{Appender, Log};

use super::{Failure, failed, position};

/// Checks lines and appends those that are events.
pub(crate) struct Door {
    door: Mutex<intake::Door>,
    appender: Appender,
    log: Log,
}

impl Door {
    /// Into this log.
    pub(crate) fn open(config: &Config, log: &Log) -> Result<Self, Failure> {
        let quarantine = Quarantine::open(&QuarantineOptions {
            dir: config.pipeline.quarantine_dir.clone(),
            bytes_max: config.pipeline.quarantine_bytes_max,
        });
        let bytes_max = usize::try_from(config.pipeline.event_bytes_max).unwrap_or(usize::MAX);
        let door = intake::Door::new(DoorOptions {
            opening: Arc::new(Opening::new(&config.opening_options())),
            check: CheckOptions {
                line_bytes_max: bytes_max,
                dedup_window: config.pipeline.dedup_window,
                ..CheckOptions::default()
            },
            appender: log.appender(),
            quarantine: Some(quarantine.map_err(failed)?),
        });
        Ok(Self { door: Mutex::new(door), appender: log.appender(), log: log.clone() })
    }

    /// Appends every line that is an event, and returns once they are durable.
    pub(crate) fn append(&self, lines: &[u8]) -> Result<Appended, String> {
        let mut source = Lines::new(0);
        let mut account = Account::default();
        let now = position::now();
        let mut first_rejected = Vec::new();
        let (last, before) = {
            let mut door = self.lock();
            let skipped = door.counts().class(Class::Duplicate).load();
            let mut append = || -> Result<(), DoorError> {
                let taken = door.chunk(&mut source, lines, COMMAND, now, &mut account)?;
                list(lines, door.rejected(), &mut first_rejected);
                let rest = &lines[taken..];
                door.finish(&mut source, rest, COMMAND, now, &mut account)?;
                list(lines, door.rejected(), &mut first_rejected);
                Ok(())
            };
            append().map_err(told)?;
            (door.last(), skipped)
        };
        if let Some(last) = last {
            // The lock is free meanwhile: others append into the same group commit.
            self.appender.wait_durable(last).map_err(|error| error.to_string())?;
        }
        let repeats = self.lock().counts().class(Class::Duplicate).load();
        Ok(Appended {
            appended: account.events,
            duplicates: repeats.saturating_sub(before),
            rejected: account.rejected,
            first_rejected,
            durable: self.log.durable().bytes(),
        })
    }

    /// Takes complete lines of an input; they are appended, not yet durable.
    pub(crate) fn take(
        &self,
        lines: &mut Lines,
        chunk: &[u8],
        name: &str,
        account: &mut Account,
    ) -> Result<usize, DoorError> {
        self.lock().chunk(lines, chunk, name, position::now(), account)
    }

    /// Takes the rest of an input that has come to its end.
    pub(crate) fn finish(
        &self,
        lines: &mut Lines,
        rest: &[u8],
        name: &str,
        account: &mut Account,
    ) -> Result<usize, DoorError> {
        self.lock().finish(lines, rest, name, position::now(), account)
    }

    /// Waits until everything that was taken is durable.
    pub(crate) fn settle(&self, name: &str, at: u64) -> Result<(), DoorError> {
        self.lock().settle(name, at)
    }

    fn lock(&self) -> MutexGuard<'_, intake::Door> {
        self.door.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
/// Rejected lines that are listed; the others are counted.
pub(crate) const REJECTED_MAX: usize = 10;
