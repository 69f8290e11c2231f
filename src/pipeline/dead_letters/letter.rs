//! The records of a dead-letter store: letters, and removals of earlier ones.

use std::ops::ControlFlow;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::deliver::Moved;
use crate::event::{Offset, Settle, Span, Time};
use crate::log::{LogError, RawBlock, Reader, Removed, sweep};

/// An event that was given up, with the reason (`pipeline.md`, Dead-letter store).
///
/// A store holds one line of JSON per letter.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Letter {
    /// Version of the record.
    pub v: u32,
    /// The exporter that gave it up.
    pub exporter: String,
    /// In which of its passes over the log.
    pub pass: u32,
    /// The event's id, where it can be read.
    pub event_id: Option<String>,
    /// Where the event lies in the log.
    pub offset: u64,
    /// When the event was received, nanoseconds since 1970; a letter that does not say it lies in
    /// the store under that time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received_ns: Option<u64>,
    /// When the first request with it failed.
    pub first_failed_at: String,
    /// When it was given up.
    pub failed_at: String,
    /// Requests that carried it, those of replays included.
    pub attempts: u32,
    /// Replays that did not get it through.
    pub replays: u32,
    /// When the run began that gave it up, nanoseconds since 1970; 0 where nobody knows.
    #[serde(skip_serializing_if = "is_zero")]
    pub run: u64,
    /// The letter that this one takes the place of, by its offset in the store.
    pub replaces: Option<u64>,
    /// Why, for counters.
    pub class: String,
    /// The HTTP status, 0 when there was no answer.
    pub http_status: u16,
    /// The destination's own code, where it gave one.
    pub code: Option<i64>,
    /// The destination's words, scrubbed and capped.
    pub error: String,
    /// Whether sending it again may help.
    pub retryable: bool,
    /// The event in canonical form; none where it could not be kept.
    pub event: Option<Box<RawValue>>,
}

impl Default for Letter {
    fn default() -> Self {
        Self {
            v: VERSION,
            exporter: String::new(),
            pass: 0,
            event_id: None,
            offset: 0,
            received_ns: None,
            first_failed_at: String::new(),
            failed_at: String::new(),
            attempts: 0,
            replays: 0,
            run: 0,
            replaces: None,
            class: String::new(),
            http_status: 0,
            code: None,
            error: String::new(),
            retryable: false,
            event: None,
        }
    }
}

impl Letter {
    /// The classes that a letter may be of: those of answers that refuse or hold up
    /// ([`Reason::class`]), `expired` for what was held longer than `retry.max_age`, what a
    /// template could not say, and `defect` for what we could not render.
    ///
    /// [`Reason::class`]: crate::deliver::Reason::class
    pub const CLASSES: &'static [&'static str] = &[
        "ambiguous",
        "auth",
        "config",
        "defect",
        "expired",
        "network",
        "rejected",
        "template",
        "template_invalid_json",
        "throttled",
        "timeout",
        "too_large",
        "unavailable",
        "unread",
    ];
}

/// A note that letters are gone from the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Removal {
    pub(super) v: u32,
    /// Pieces of the store whose letters are gone.
    pub(super) removed: Vec<(u64, u64)>,
    /// In a word: see [`Gone`].
    pub(super) why: String,
    /// Its number; numbers of a store only grow.
    pub(super) number: u64,
    /// In which pass the events were given up.
    pub(super) pass: u32,
    /// Events of that pass that are delivered now.
    pub(super) delivered: u64,
    /// Those that are filtered now.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) filtered: u64,
    /// When.
    pub(super) at: String,
}

impl Removal {
    /// What it means for the account, where the letters before it are these.
    pub(super) fn moved(&self, letters: &[(Leaving, bool)]) -> Option<Moved> {
        let within = |&(from, to): &(u64, u64)| {
            let at = |offset| letters.partition_point(|(it, _)| it.letter.from.bytes() < offset);
            letters[at(from)..at(to).max(at(from))].iter().map(|(it, _)| it.event)
        };
        self.moved_at(self.removed.iter().flat_map(within).collect())
    }

    /// The same where their events lie there.
    pub(super) fn moved_at(&self, at: Vec<Offset>) -> Option<Moved> {
        let (fate, events) = match &*self.why {
            why if why == Gone::Replayed.word() => (Some(Settle::Delivered), self.delivered),
            why if why == Gone::Digested.word() => (Some(Settle::Filtered), self.filtered),
            why if why == Gone::Purged.word() => (None, 0),
            _ => return None,
        };
        Some(Moved { fate, pass: self.pass, events, at })
    }
}

/// A letter that goes, and where its event lies in the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaving {
    pub(crate) letter: Span,
    pub(crate) event: Offset,
}

/// Why letters are gone from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Gone {
    /// Their events were delivered after all.
    Replayed,
    /// A digest told of their events, which were too old for a message each.
    Digested,
    /// Somebody removed them.
    Purged,
    /// The log still has their events, which are read again.
    Unsettled,
}

impl Gone {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Replayed => "replayed",
            Self::Digested => "digested",
            Self::Purged => "purged",
            Self::Unsettled => "unsettled",
        }
    }

    /// What became of their events instead.
    pub(super) fn fate(self) -> Option<Settle> {
        match self {
            Self::Replayed => Some(Settle::Delivered),
            Self::Digested => Some(Settle::Filtered),
            Self::Purged | Self::Unsettled => None,
        }
    }
}

/// Which letters are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wanted {
    /// Those given up at or after this time, nanoseconds since 1970.
    pub since: Option<u64>,
    /// Those of this class.
    pub class: Option<String>,
    /// That of the event with this id.
    pub event_id: Option<String>,
    /// That which lies there in the store: one whose event could not be kept has no id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
    /// Only those that may succeed and were replayed in vain fewer times than this.
    pub replays_below: Option<u32>,
    /// Whether each is told of by itself, however old it is.
    pub really_alert: bool,
}

impl Wanted {
    /// The same of the one letter that is named so: by its event's id, or by its offset.
    #[must_use]
    pub fn of(self, name: &str) -> Self {
        match name.parse() {
            Ok(at) => Self { at: Some(at), ..self },
            Err(_) => Self { event_id: Some(name.to_owned()), ..self },
        }
    }

    /// How the one letter is named that is wanted, where it is one.
    #[must_use]
    pub fn named(&self) -> Option<String> {
        self.event_id.clone().or_else(|| self.at.map(|at| at.to_string()))
    }

    /// Whether a letter, which lies there, is one of those.
    #[must_use]
    pub fn fits(&self, at: Offset, letter: &Letter) -> bool {
        let failed_ns = || Time::parse(letter.failed_at.as_bytes()).map_or(0, Time::ns);
        self.at.is_none_or(|wanted| wanted == at.bytes())
            && self.since.is_none_or(|since| failed_ns() >= since)
            && self.class.as_ref().is_none_or(|class| *class == letter.class)
            && self.event_id.as_ref().is_none_or(|id| Some(id) == letter.event_id.as_ref())
            && self.replays_below.is_none_or(|most| letter.retryable && letter.replays < most)
    }
}

/// A letter that somebody took out of its store.
#[derive(Clone, Debug)]
pub struct TakenOut {
    /// The letter, without its event.
    pub letter: Letter,
    /// `replayed`, `digested` where a digest told of it, or `purged`.
    pub why: String,
    /// When.
    pub at: String,
}

/// A record of a store.
pub(super) enum Record {
    Letter(Box<Letter>),
    Removal(Removal),
    /// Of a version that a newer shrike writes.
    Newer(u32),
    /// Damaged within a right checksum.
    Unreadable,
}

impl Record {
    pub(super) fn parse(line: &[u8]) -> Self {
        let removal = || serde_json::from_slice(line).map(Self::Removal);
        let letter = || serde_json::from_slice(line).map(Self::Letter);
        #[derive(Deserialize)]
        struct Version {
            #[serde(default)]
            v: u32,
        }
        let newer = || serde_json::from_slice(line).ok().filter(|it: &Version| it.v > VERSION);
        let found = if line.starts_with(REMOVAL) { removal() } else { letter() };
        match found {
            Ok(Self::Letter(letter)) if letter.v > VERSION => Self::Newer(letter.v),
            Ok(found) => found,
            Err(_) => newer().map_or(Self::Unreadable, |newer| Self::Newer(newer.v)),
        }
    }
}

impl Record {
    /// Its version, where only a newer shrike reads it.
    pub(super) fn newer(&self) -> Option<u32> {
        match self {
            Self::Newer(version) => Some(*version),
            _ => None,
        }
    }
}

/// Says that a store is to be left to the shrike that wrote it.
pub(super) fn of_newer(dir: &Path, found: u32) -> LogError {
    LogError::Version { path: dir.to_path_buf(), found, known: VERSION }
}

/// A dead-letter store, looked at beside whatever process writes it.
#[derive(Debug)]
pub struct LetterStore {
    reader: Reader,
    removed: Removed,
}

impl LetterStore {
    /// Opens the store in a directory; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn look(dir: &Path) -> Result<Option<Self>, LogError> {
        let Some(mut reader) = Reader::find_dir(dir)? else { return Ok(None) };
        let (mut removed, mut newer) = (Removed::default(), None);
        walk(&mut reader, |_, record| {
            newer = record.newer();
            note_removed(record, &mut removed);
            if newer.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        match newer {
            Some(found) => Err(of_newer(dir, found)),
            None => Ok(Some(Self { reader, removed })),
        }
    }

    /// The last pass of which the store in a directory speaks, also in what it says of removals,
    /// and the number of the last of these.
    pub(in crate::pipeline) fn last(dir: &Path) -> Result<(Option<u32>, u64), LogError> {
        let mut reader = match Reader::find_dir(dir) {
            // Its making was cut short, or its control page is gone: opening it makes another.
            Ok(None) | Err(LogError::Damaged { .. }) => return Ok((None, 0)),
            Ok(Some(reader)) => reader,
            Err(problem) => return Err(problem),
        };
        let (mut last, mut number) = (None, 0);
        walk(&mut reader, |_, record| {
            let pass = match record {
                Record::Letter(letter) => Some(letter.pass),
                Record::Removal(removal) => {
                    number = number.max(removal.number);
                    Some(removal.pass)
                }
                Record::Newer(_) | Record::Unreadable => None,
            };
            last = last.max(pass);
            ControlFlow::Continue(())
        })?;
        Ok((last, number))
    }

    /// Visits the letters that are there and wanted, oldest first, with their offsets in the store.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn visit(
        &mut self,
        wanted: &Wanted,
        mut visit: impl FnMut(Offset, &Letter) -> ControlFlow<()>,
    ) -> Result<(), LogError> {
        let removed = &self.removed;
        walk(&mut self.reader, |span, record| match record {
            Record::Letter(letter)
                if wanted.fits(span.from, &letter) && !removed.has(span.from) =>
            {
                visit(span.from, &letter)
            }
            _ => ControlFlow::Continue(()),
        })
    }

    /// The wanted letters that were replayed or purged and whose segment is still there, oldest
    /// first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn taken_out(&mut self, wanted: &Wanted) -> Result<Vec<TakenOut>, LogError> {
        let (mut met, mut gone): (Vec<(Offset, Letter)>, Vec<TakenOut>) = (Vec::new(), Vec::new());
        walk(&mut self.reader, |span, record| {
            match record {
                Record::Letter(letter) if wanted.fits(span.from, &letter) => {
                    met.push((span.from, Letter { event: None, ..*letter }));
                }
                // Removals follow their letters. Events of `unsettled` ones were read again.
                Record::Removal(Removal { removed, why, at, .. })
                    if why != Gone::Unsettled.word() =>
                {
                    let is_in = |from: Offset| {
                        removed.iter().any(|(a, b)| (*a..*b).contains(&from.bytes()))
                    };
                    let taken = met.extract_if(.., |(from, _)| is_in(*from));
                    gone.extend(taken.map(|(_, letter)| TakenOut {
                        letter,
                        why: why.clone(),
                        at: at.clone(),
                    }));
                }
                _ => {}
            }
            ControlFlow::Continue(())
        })?;
        Ok(gone)
    }
}

/// Notes what a record says of earlier ones.
pub(super) fn note_removed(record: Record, removed: &mut Removed) {
    match record {
        Record::Removal(removal) => {
            removal.removed.into_iter().for_each(|piece| removed.add(piece))
        }
        Record::Letter(letter) => {
            letter.replaces.into_iter().for_each(|at| removed.add((at, at + 1)));
        }
        Record::Newer(_) | Record::Unreadable => {}
    }
}

/// Visits every record of a store, on a thread that may wait for the disk.
pub(super) fn walk(
    reader: &mut Reader,
    mut visit: impl FnMut(Span, Record) -> ControlFlow<()>,
) -> Result<(), LogError> {
    sweep(reader, |record, line| {
        let span = Span { from: record.frame.offset, to: record.next };
        visit(span, Record::parse(line))
    })
}

/// The event of the letter at a position, as it was kept; `None` where there is none.
pub(crate) fn letter_text(block: &RawBlock) -> Option<String> {
    let record = block.records().first()?;
    match Record::parse(block.record(record)) {
        Record::Letter(letter) => letter.event.map(|event| event.get().to_owned()),
        Record::Removal(_) | Record::Newer(_) | Record::Unreadable => None,
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Version of the records; 1 had neither pass nor times as text.
pub(super) const VERSION: u32 = 2;
/// How the line of a removal begins, and no other.
const REMOVAL: &[u8] = b"{\"v\":2,\"removed\":";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removal_is_told_from_a_letter_by_its_beginning() {
        let removal = Removal { v: VERSION, removed: vec![(3, 9)], ..Removal::default() };
        let line = serde_json::to_string(&removal).expect("it is plain");
        assert!(matches!(Record::parse(line.as_bytes()), Record::Removal(it) if it == removal));
        let letter = Letter { error: "{\"v\":2,\"removed\":".to_owned(), ..Letter::default() };
        let line = serde_json::to_string(&letter).expect("it is plain");
        assert!(matches!(Record::parse(line.as_bytes()), Record::Letter(_)));
        let first = br#"{"attempts":2,"class":"rejected","event":{"a":1},"v":1}"#;
        assert!(matches!(Record::parse(first), Record::Letter(it) if it.attempts == 2));
        assert!(matches!(Record::parse(b"[]x"), Record::Unreadable));
        for line in [&br#"{"v":3,"removed":[]}"#[..], br#"{"v":3,"attempts":{}}"#] {
            assert!(matches!(Record::parse(line), Record::Newer(3)));
        }
    }
}
