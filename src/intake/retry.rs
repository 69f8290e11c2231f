//! Looks at refused lines again: a newer version may understand what an older one did not.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::door::{Door, DoorError};
use super::quarantine::{Refused, WantedLines};
use super::stream::{Account, Stream};
use crate::event::{Class, Offset, Span};
use crate::log::LogError;

/// What became of refused lines that were looked at again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Retried {
    /// Lines that were wanted.
    pub wanted: u64,
    /// Those of them that are events, and out of quarantine.
    pub taken: u64,
    /// Events that were appended.
    pub appended: u64,
    /// Events that the log had already.
    pub duplicates: u64,
    /// Lines that stay, since they are no events.
    pub refused: u64,
    /// Lines that stay, since only their beginning is kept.
    pub cut: u64,
}

/// A part of the lines, looked at again: durable before it is taken out.
#[derive(Debug, Default)]
pub struct Retrying {
    /// What became of them so far.
    pub sum: Retried,
    /// Where the next part begins; none after the last.
    next: Option<Offset>,
    /// What was there when it began.
    until: Option<Offset>,
    /// What is to be taken out.
    done: Vec<Span>,
}

impl Retrying {
    /// Whether there is more.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.next.is_some()
    }
}

impl Door {
    /// Looks at the next part of the wanted lines, and appends those that are events.
    ///
    /// The caller waits until [`Door::last`] is durable, then calls [`Door::retried`].
    ///
    /// # Errors
    /// When the quarantine cannot be read, or the log does not take the events.
    pub fn retry(
        &mut self,
        wanted: &WantedLines,
        retrying: &mut Retrying,
        now_ns: u64,
    ) -> Result<(), DoorError> {
        let from = retrying.next.unwrap_or(Offset::ZERO);
        let found = match &mut self.quarantine {
            Some(quarantine) => {
                let until = *retrying.until.get_or_insert_with(|| quarantine.log().written());
                quarantine.some(wanted, from, until)
            }
            None => Ok((Vec::new(), None)),
        };
        let (lines, next) = found.map_err(unreadable)?;
        retrying.next = next;
        for (span, line) in lines {
            retrying.sum.wanted += 1;
            match line.is_whole() {
                true => self.retry_line(&line, span, retrying, now_ns)?,
                false => retrying.sum.cut += 1,
            }
        }
        Ok(())
    }

    fn retry_line(
        &mut self,
        line: &Refused,
        span: Span,
        retrying: &mut Retrying,
        now_ns: u64,
    ) -> Result<(), DoorError> {
        // A line that stays was counted when it came; what becomes an event counts as one now.
        let counts = self.count_in(Arc::default());
        let account = self.take_line(line, now_ns);
        let seen = self.count_in(counts);
        match account? {
            None => retrying.sum.refused += 1,
            Some(account) => {
                self.counts().add_all(&seen);
                retrying.sum.taken += 1;
                retrying.sum.appended += account.events;
                retrying.sum.duplicates += account.duplicates;
                retrying.done.push(span);
            }
        }
        Ok(())
    }

    /// Appends what the line holds, if all of it is events of its format now.
    fn take_line(&mut self, line: &Refused, now_ns: u64) -> Result<Option<Account>, DoorError> {
        let bytes = line.kept();
        let format = line.format.as_deref().map(|name| self.checker.format_named(name));
        // A version that knows its format may take it.
        if format == Some(None) {
            return Ok(None);
        }
        let begun = || Stream::new(&line.source, 0).with_format(format.flatten());
        if !self.is_all_events(begun(), &bytes, now_ns) {
            return Ok(None);
        }
        let mut stream = begun();
        self.take_rest(&mut stream, &bytes, now_ns);
        let before = stream.account();
        let is_event = !stream.batch.is_empty() || before.duplicates > 0;
        if !stream.rejected().is_empty() || !is_event {
            if is_event {
                // What was recognised of it is not in the log.
                self.forget();
            }
            return Ok(None);
        }
        self.append(&mut stream, &bytes, None)?;
        Ok(Some(stream.account()))
    }

    /// Whether a line holds events and nothing else, without remembering them as events that came.
    fn is_all_events(&mut self, mut stream: Stream, bytes: &[u8], now_ns: u64) -> bool {
        let counts = self.count_in(Arc::default());
        let window = self.checker.set_aside();
        self.take_rest(&mut stream, bytes, now_ns);
        self.checker.put_back(window);
        self.count_in(counts);
        stream.rejected().is_empty() && !stream.batch.is_empty()
    }

    /// Takes out what has become events, which are durable.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn retried(&mut self, retrying: &mut Retrying) -> Result<(), DoorError> {
        let done = std::mem::take(&mut retrying.done);
        match &mut self.quarantine {
            Some(quarantine) if !done.is_empty() => quarantine.remove(&done).map_err(unreadable),
            _ => Ok(()),
        }
    }

    /// Puts a record of the log into quarantine that could not be opened; durable when this
    /// returns. False where it is there already.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn keep_of_log(
        &mut self,
        at: Offset,
        class: Class,
        record: &[u8],
        received_ns: u64,
    ) -> Result<bool, DoorError> {
        let Some(quarantine) = &mut self.quarantine else { return Ok(false) };
        let is_new = quarantine.keep_of_log(at, class, record, received_ns).map_err(unreadable)?;
        quarantine.settle().map_err(unreadable)?;
        Ok(is_new)
    }
}

fn unreadable(error: LogError) -> DoorError {
    DoorError::Quarantine { source_name: "quarantine".to_owned(), error }
}
