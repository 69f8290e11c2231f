//! The dead-letter store of one exporter: a log of its own, with small segments.

mod letter;

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::value::RawValue;

pub(crate) use letter::{Gone, Leaving, letter_text};
pub use letter::{Letter, LetterStore, TakenOut, Wanted};
use letter::{Record, Removal, VERSION, note_removed, of_newer, walk};

use crate::deliver::{DeadLetter, DeadLetterSettings, Moved, Sent, quote};
use crate::event::{Checkpoint, Offset, Settle, Settled, Span, Time};
use crate::log::{
    AppendError, Appender, Log, LogError, LogIo, LogOptions, Mark, RawBlock, Read, Reader, Removed,
};
use crate::metrics::Counter;

/// Events that an exporter gave up, with the reason, until somebody replays or purges them.
#[derive(Debug)]
pub(crate) struct DeadLetters {
    exporter: String,
    /// Which run this is, as its letters say.
    run: u64,
    /// None where dead letters are only counted.
    store: Option<Store>,
    state: Mutex<State>,
    /// Whether the store refuses so much that nothing more should be read.
    is_stuck: AtomicBool,
    /// Letters that are there.
    live: Counter,
    gone: Counter,
    /// Letters that made room for newer ones, or grew too old.
    pub(crate) evicted: Counter,
}

#[derive(Debug)]
struct Store {
    log: Log,
    appender: Appender,
}

#[derive(Debug, Default)]
struct State {
    /// Written and not yet durable: they take effect once they are.
    written: Vec<(Offset, Effect)>,
    /// The store would not take them; oldest first.
    refused: VecDeque<Refused>,
    /// Bytes of those.
    refused_bytes: usize,
    /// Letters that are gone.
    removed: Removed,
    /// The number of the last removal.
    number: u64,
    /// What is settled whatever happens: the checkpoint on disk, without its gaps.
    saved: Checkpoint,
}

impl State {
    /// What records do that are not durable yet.
    fn effects(&self) -> impl Iterator<Item = &Effect> {
        let written = self.written.iter().map(|(_, effect)| effect);
        written.chain(self.refused.iter().map(|refused| &refused.effect))
    }
}

/// A record that the store did not take yet.
#[derive(Debug)]
struct Refused {
    effect: Effect,
    mark: Mark,
    record: String,
}

/// What a record does once it is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// An event is a dead letter, in the pass that gave it up.
    Settle { pass: u32, settled: Settled, sent: Option<Sent> },
    /// Events that were given up have met another end after all; the removal has this number.
    Move { moved: Moved, sent: Option<Sent>, number: u64 },
    /// None that the account knows.
    Keep,
}

/// A letter that is being replayed.
#[derive(Clone, Debug)]
pub(crate) struct Replayed {
    /// Where it lies in the store.
    pub(crate) span: Span,
    /// What it says, without its event.
    pub(crate) letter: Letter,
    /// When its event was received, nanoseconds since 1970.
    pub(crate) received_ns: u64,
}

/// What reading on in a store found.
pub(crate) enum Found {
    /// A letter.
    Letter(Box<Replayed>),
    /// A letter whose event would be read again after a crash: not before its checkpoint is saved.
    Unsaved,
    /// Bytes that have to be fetched first.
    Cold(Span),
    /// Nothing up to here; there may be more.
    Nothing,
    /// The end of what was wanted.
    End,
}

/// A position in a store, and the block around it.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) at: Offset,
    pub(crate) until: Offset,
    block: Option<(RawBlock, usize)>,
}

impl DeadLetters {
    /// Opens the store of an exporter, and puts in order what a crash left of it.
    ///
    /// Letters of events that the checkpoint does not cover go: these events are read again, and
    /// meet their end again. What was delivered from here after the checkpoint was saved is told by
    /// the next [`DeadLetters::take_effects`].
    ///
    /// # Errors
    /// When the directory cannot be made or read, or another process writes to it.
    pub(crate) fn open(
        exporter: &str,
        settings: &DeadLetterSettings,
        checkpoint: &Checkpoint,
        io: Arc<dyn LogIo>,
    ) -> Result<Self, LogError> {
        let mut this = Self {
            exporter: exporter.to_owned(),
            run: Time::now().ns(),
            store: None,
            state: Mutex::default(),
            is_stuck: AtomicBool::new(false),
            live: Counter::default(),
            gone: Counter::default(),
            evicted: Counter::default(),
        };
        if !settings.is_enabled {
            return Ok(this);
        }
        if let Some(parent) = settings.dir.parent() {
            let mut builder = std::fs::DirBuilder::new();
            let made = builder.recursive(true).mode(0o700).create(parent);
            made.map_err(LogError::io("create", parent))?;
        }
        let (log, _) = Log::open_on(options(settings), io)?;
        let appender = log.appender();
        let store = Store { log, appender };
        let unsettled = this.recover(&store, &settings.dir, checkpoint)?;
        this.store = Some(store);
        if !unsettled.is_empty() {
            this.remove(&unsettled, Gone::Unsettled, checkpoint.pass, None);
        }
        Ok(this)
    }

    /// Keeps as much as these settings say from now on, of the same store.
    pub(crate) fn bound(&self, settings: &DeadLetterSettings) {
        self.store.iter().for_each(|store| store.log.keep(&options(settings)));
    }

    /// Reads the whole store once; returns the letters of events that are not settled.
    fn recover(
        &mut self,
        store: &Store,
        dir: &Path,
        checkpoint: &Checkpoint,
    ) -> Result<Vec<Leaving>, LogError> {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        state.number = checkpoint.removals;
        state.saved = kept(checkpoint);
        let (mut letters, mut newer) = (Vec::new(), None);
        walk(&mut store.log.reader(), |span, record| {
            match &record {
                Record::Letter(letter) => {
                    let event = Offset::new(letter.offset);
                    letters.push((Leaving { letter: span, event }, is_open(letter, checkpoint)));
                }
                Record::Removal(removal) if removal.number > state.number => {
                    let number = removal.number;
                    if let Some(moved) = removal.moved(&letters) {
                        state.written.push((span.from, Effect::Move { moved, sent: None, number }));
                    }
                    state.number = number;
                }
                Record::Removal(_) | Record::Newer(_) | Record::Unreadable => {}
            }
            newer = record.newer();
            note_removed(record, &mut state.removed);
            if newer.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        if let Some(found) = newer {
            return Err(of_newer(dir, found));
        }
        letters.retain(|(it, _)| !state.removed.has(it.letter.from));
        self.live.add(letters.len() as u64);
        Ok(letters.into_iter().filter(|(_, is_open)| *is_open).map(|(it, _)| it).collect())
    }

    /// Writes a letter; its event stays pending until the letter is durable.
    ///
    /// # Errors
    /// When the store does not take it now: it is kept, and [`DeadLetters::try_again`] writes it.
    pub(crate) fn bury(
        &self,
        letter: &Letter,
        received_ns: u64,
        (span, sent): (Span, Option<Sent>),
    ) -> Result<(), AppendError> {
        let settled = Settled { span, events: 1, fate: Settle::DeadLettered };
        self.live.add(u64::from(self.store.is_some()));
        self.keep(letter, received_ns, Effect::Settle { pass: letter.pass, settled, sent })
    }

    /// Writes a letter again that was replayed in vain; it takes the place of the old one.
    ///
    /// # Errors
    /// As [`DeadLetters::bury`].
    pub(crate) fn bury_again(
        &self,
        letter: &Letter,
        received_ns: u64,
        old: Span,
    ) -> Result<(), AppendError> {
        self.lock().removed.add((old.from.bytes(), old.from.bytes() + 1));
        self.keep(letter, received_ns, Effect::Keep)
    }

    /// Removes letters of events that were given up in `pass`, for what a request did if one did.
    pub(crate) fn remove(&self, taken: &[Leaving], why: Gone, pass: u32, sent: Option<Sent>) {
        for taken in taken.chunks(REMOVED_MAX) {
            let mut state = self.lock();
            let pieces: Vec<(u64, u64)> =
                taken.iter().map(|it| (it.letter.from.bytes(), it.letter.to.bytes())).collect();
            let gone = taken.iter().filter(|it| !state.removed.has(it.letter.from)).count();
            self.gone.add(gone as u64);
            pieces.iter().for_each(|&piece| state.removed.add(piece));
            state.number += 1;
            let number = state.number;
            let events = taken.len() as u64;
            let moved = |to| if why.fate() == Some(to) { events } else { 0 };
            let removal = Removal {
                v: VERSION,
                removed: pieces,
                why: why.word().to_owned(),
                number,
                pass,
                delivered: moved(Settle::Delivered),
                filtered: moved(Settle::Filtered),
                at: Time::now().text(),
            };
            let effect = match removal.moved_at(taken.iter().map(|it| it.event).collect()) {
                Some(moved) => Effect::Move { moved, sent, number },
                None => Effect::Keep,
            };
            let record = serde_json::to_string(&removal).expect("it is plain");
            let mark = Mark { received_ns: Time::now().ns(), checked: true, ..Mark::default() };
            // Refused records are written by the keeper; until then a crash replays them again.
            let _ = self.write_or_wait(Refused { effect, mark, record }, &mut state);
        }
    }

    fn keep(&self, letter: &Letter, received_ns: u64, effect: Effect) -> Result<(), AppendError> {
        // A letter ages from its writing, however old its event is.
        let mark = Mark { received_ns: Time::now().ns(), checked: true, ..Mark::default() };
        let letter = &Letter { received_ns: Some(received_ns), ..letter.clone() };
        let record = serde_json::to_string(letter).expect("it is plain");
        let mut state = self.lock();
        let refused = Refused { effect, mark, record };
        let longest = self.store.as_ref().map(|store| store.appender.record_bytes_max());
        if longest.is_none_or(|longest| refused.record.len() <= longest) {
            return self.write_or_wait(refused, &mut state);
        }
        // Longer than a segment: kept without its event rather than not at all. Its offset says
        // where it lies in the log.
        let (exporter, offset, bytes) = (&self.exporter, letter.offset, refused.record.len());
        let advice = "longer than a segment of its store: raise `dlq.max_bytes`";
        tracing::warn!(exporter, offset, bytes, advice, "dead letter without its event");
        let record = serde_json::to_string(&Letter { event: None, ..letter.clone() });
        let record = record.expect("it is plain");
        self.write_or_wait(Refused { record, ..refused }, &mut state)
    }

    /// Writes a record, behind those that wait already.
    fn write_or_wait(&self, record: Refused, state: &mut State) -> Result<(), AppendError> {
        state.refused_bytes += record.record.len();
        state.refused.push_back(record);
        self.write_refused(state)
    }

    /// Writes the records that the store did not take before, as far as it takes them now.
    ///
    /// # Errors
    /// When it still refuses; the rest waits for the next try.
    pub(crate) fn try_again(&self) -> Result<(), AppendError> {
        self.write_refused(&mut self.lock())
    }

    fn write_refused(&self, state: &mut State) -> Result<(), AppendError> {
        let mut written = Ok(true);
        while let Some(record) = state.refused.pop_front() {
            written = self.write(&record, state);
            if !matches!(written, Ok(true)) {
                state.refused.push_front(record);
                break;
            }
            state.refused_bytes -= record.record.len();
        }
        self.tell_stuck(state);
        written.map(drop)
    }

    /// Waits until everything written so far is durable.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn flush(&self) -> Result<(), LogError> {
        self.store.iter().try_for_each(|store| store.log.flush().map(drop))
    }

    /// Notes what is settled whatever happens: a checkpoint that was saved.
    pub(crate) fn note_saved(&self, checkpoint: &Checkpoint) {
        if self.store.is_some() {
            self.lock().saved = kept(checkpoint);
        }
    }

    /// Whether so many letters wait for the store that lanes should read nothing more.
    pub(crate) fn is_stuck(&self) -> bool {
        self.is_stuck.load(Ordering::Relaxed)
    }

    /// What has become durable since the last call.
    pub(crate) fn take_effects(&self) -> Vec<Effect> {
        let durable = self.store.as_ref().map_or(FAR, |store| store.log.durable());
        let mut effects = Vec::new();
        let mut state = self.lock();
        let taken = state.written.extract_if(.., |(offset, _)| *offset < durable);
        effects.extend(taken.map(|(_, effect)| effect));
        self.tell_stuck(&state);
        effects
    }

    /// Events whose letters are not durable yet.
    pub(crate) fn waiting(&self) -> u64 {
        let state = self.lock();
        state.effects().filter(|effect| matches!(effect, Effect::Settle { .. })).count() as u64
    }

    /// Where those of a pass lie in the log.
    pub(crate) fn unsettled(&self, of: u32) -> Vec<Span> {
        let span = |effect: &Effect| match effect {
            Effect::Settle { pass, settled, .. } if *pass == of => Some(settled.span),
            _ => None,
        };
        self.lock().effects().filter_map(span).collect()
    }

    /// Letters that are there.
    pub(crate) fn live(&self) -> u64 {
        self.live.load().saturating_sub(self.gone.load())
    }

    /// Whether it was this run that gave up the event of a letter.
    pub(crate) fn has_given_up(&self, letter: &Letter) -> bool {
        letter.run == self.run
    }

    /// Everything that is durable in the store now; `None` where there is none.
    pub(crate) fn place(&self) -> Option<Place> {
        let log = &self.store.as_ref()?.log;
        Some(Place { at: log.oldest(), until: log.durable(), block: None })
    }

    /// For reading letters.
    pub(crate) fn reader(&self) -> Option<Reader> {
        self.store.as_ref().map(|store| store.log.reader())
    }

    /// The next letter that is wanted; looks at one block at most.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) fn next(
        &self,
        reader: &mut Reader,
        place: &mut Place,
        wanted: &Wanted,
    ) -> Result<Found, LogError> {
        if place.block.is_none() {
            match reader.read(place.at, place.until, BLOCK_BYTES)? {
                Read::Block(block) => place.block = Some((block, 0)),
                Read::Cold(span) => return Ok(Found::Cold(span)),
                Read::Gone { oldest } => place.at = oldest,
                Read::Damaged { span, .. } => place.at = span.to,
                Read::End => return Ok(Found::End),
            }
        }
        let Some((block, at)) = &mut place.block else { return Ok(Found::Nothing) };
        while let Some(record) = block.records().get(*at) {
            *at += 1;
            let span = Span { from: record.frame.offset, to: record.next };
            let written_ns = record.frame.received_ns;
            let is_gone = self.lock().removed.has(span.from);
            if is_gone {
                continue;
            }
            if let Record::Letter(letter) = Record::parse(block.record(record))
                && wanted.fits(span.from, &letter)
            {
                if is_open(&letter, &self.lock().saved) {
                    *at -= 1;
                    return Ok(Found::Unsaved);
                }
                let received_ns = letter.received_ns.unwrap_or(written_ns);
                let letter = Letter { event: None, ..*letter };
                return Ok(Found::Letter(Box::new(Replayed { span, letter, received_ns })));
            }
        }
        place.at = block.span().to;
        place.block = None;
        Ok(Found::Nothing)
    }

    /// How many letters are wanted.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) fn count(&self, wanted: &Wanted) -> Result<u64, LogError> {
        let Some(store) = &self.store else { return Ok(0) };
        let mut letters = 0;
        walk(&mut store.log.reader(), |span, record| {
            let is_one =
                matches!(record, Record::Letter(letter) if wanted.fits(span.from, &letter));
            letters += u64::from(is_one && !self.lock().removed.has(span.from));
            ControlFlow::Continue(())
        })?;
        Ok(letters)
    }

    /// Removes what is wanted; says how many letters that were.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) fn purge(&self, wanted: &Wanted) -> Result<u64, LogError> {
        let Some(store) = &self.store else { return Ok(0) };
        // Of what is not durable nobody knows yet where it will lie.
        self.flush()?;
        let mut purged: Vec<(Leaving, u32)> = Vec::new();
        walk(&mut store.log.reader(), |span, record| {
            if let Record::Letter(letter) = record
                && wanted.fits(span.from, &letter)
                && !self.lock().removed.has(span.from)
            {
                let event = Offset::new(letter.offset);
                purged.push((Leaving { letter: span, event }, letter.pass));
            }
            ControlFlow::Continue(())
        })?;
        for run in purged.chunk_by(|a, b| a.1 == b.1) {
            let taken: Vec<Leaving> = run.iter().map(|(taken, _)| *taken).collect();
            self.remove(&taken, Gone::Purged, run[0].1, None);
        }
        self.flush()?;
        Ok(purged.len() as u64)
    }

    /// Removes the oldest letters beyond the store's bounds; says how many were lost. The segment
    /// that is being written ends when its oldest letter is too old, and goes when its newest is.
    pub(crate) fn retain(&self) -> Result<u64, LogError> {
        let Some(Store { log, .. }) = &self.store else { return Ok(0) };
        let removed = log.remove_taken();
        let pinned = log.written();
        let going = log.retainable(pinned)?;
        if going.segments == 0 {
            log.end_aged()?;
            return removed.map(|()| 0);
        }
        let mut lost = 0;
        walk(&mut log.reader(), |span, record| {
            if span.from >= going.span.to {
                return ControlFlow::Break(());
            }
            let is_letter = matches!(record, Record::Letter(_));
            lost += u64::from(is_letter && !self.lock().removed.has(span.from));
            ControlFlow::Continue(())
        })?;
        let gone = log.retain(pinned)?;
        self.lock().removed.forget_below(gone.span.to);
        self.evicted.add(lost);
        self.gone.add(lost);
        Ok(lost)
    }

    /// Writes a record, unless the store has no room just now; without a store it takes effect at
    /// once.
    fn write(&self, record: &Refused, state: &mut State) -> Result<bool, AppendError> {
        let offset = match &self.store {
            Some(store) => store.appender.try_append(record.record.as_bytes(), record.mark)?,
            None => Some(Offset::ZERO),
        };
        state.written.extend(offset.map(|offset| (offset, record.effect.clone())));
        Ok(offset.is_some())
    }

    fn tell_stuck(&self, state: &State) {
        let is_full = state.written.len() >= WRITTEN_MAX;
        let is_stuck = is_full || state.refused_bytes >= REFUSED_BYTES_MAX;
        self.is_stuck.store(is_stuck, Ordering::Relaxed);
    }

    /// Changed by single calls, so that a panic elsewhere leaves it whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The letter of an event that was given up just now.
    pub(crate) fn letter(
        &self,
        dead: &DeadLetter,
        pass: u32,
        options: &crate::deliver::Options,
        document: Option<Vec<u8>>,
    ) -> Letter {
        let class = dead.reason.class;
        debug_assert!(Letter::CLASSES.contains(&class), "`{class}` is no class of letters");
        let now = Time::now();
        let failing_for = dead
            .failed_since
            .map_or(Duration::ZERO, |since| Instant::now().saturating_duration_since(since));
        let failing_ns = u64::try_from(failing_for.as_nanos()).unwrap_or(u64::MAX);
        let event = document
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .and_then(|text| RawValue::from_string(text).ok());
        Letter {
            v: VERSION,
            exporter: self.exporter.clone(),
            pass,
            event_id: event.as_deref().and_then(event_id),
            offset: dead.item.span.from.bytes(),
            received_ns: None,
            first_failed_at: Time::from_ns(now.ns().saturating_sub(failing_ns)).text(),
            failed_at: now.text(),
            attempts: dead.attempts,
            replays: 0,
            run: self.run,
            replaces: None,
            class: class.to_owned(),
            http_status: dead.reason.status,
            code: dead.reason.code,
            error: quote(dead.reason.detail.as_bytes(), options),
            retryable: dead.retryable,
            event,
        }
    }
}

/// How the log of a store is kept.
fn options(settings: &DeadLetterSettings) -> LogOptions {
    LogOptions {
        dir: settings.dir.clone(),
        segment_bytes: segment_bytes(settings.bytes_max),
        keep_bytes: settings.bytes_max,
        keep_age: settings.age_max,
        bytes_max: settings.bytes_max,
        is_store: true,
        ..LogOptions::default()
    }
}

/// Whether a letter is of an event that is read again where this is the checkpoint.
fn is_open(letter: &Letter, checkpoint: &Checkpoint) -> bool {
    // A letter that replaced another is of an event that was settled before.
    letter.pass == checkpoint.pass
        && letter.replaces.is_none()
        && !checkpoint.covers(Offset::new(letter.offset))
}

/// What of a checkpoint tells which events are settled.
fn kept(checkpoint: &Checkpoint) -> Checkpoint {
    let &Checkpoint { pass, base, ref ahead, .. } = checkpoint;
    Checkpoint { pass, base, ahead: ahead.clone(), ..Checkpoint::default() }
}

/// The id that an event says.
fn event_id(event: &RawValue) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Id {
        event_id: Option<String>,
    }
    serde_json::from_str::<Id>(event.get()).ok()?.event_id
}

/// Small segments, so that removing the oldest removes little; several even in a small store.
fn segment_bytes(bytes_max: u64) -> u64 {
    const MIB: u64 = 1 << 20;
    (bytes_max / 4 / MIB * MIB).clamp(2 * MIB, 8 * MIB)
}

const FAR: Offset = Offset::new(u64::MAX);
/// Bytes of records that wait for a store which refuses them; then lanes read nothing more.
const REFUSED_BYTES_MAX: usize = 1 << 20;
/// Records that are written and did not take effect yet, while the keeper or the disk hangs; then
/// lanes read nothing more either.
const WRITTEN_MAX: usize = 1 << 14;
/// Letters that one removal names: a line of 40 kB at most.
const REMOVED_MAX: usize = 1000;
/// Bytes read at once.
const BLOCK_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::log::Disk;

    fn settings(dir: &Path) -> DeadLetterSettings {
        DeadLetterSettings {
            is_enabled: true,
            dir: dir.join("letters"),
            bytes_max: 64 << 20,
            age_max: Duration::from_secs(3600),
            auto_replay: false,
        }
    }

    #[test]
    fn a_letter_that_is_too_old_goes_when_no_other_comes() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut settings = settings(dir.path());
        let checkpoint = Checkpoint { base: Offset::new(1 << 30), ..Checkpoint::default() };
        let open = |settings: &DeadLetterSettings| {
            let letters = DeadLetters::open("a", settings, &checkpoint, Arc::new(Disk));
            letters.expect("the directory is ours")
        };
        let files = || {
            let files = std::fs::read_dir(dir.path().join("letters")).expect("it is ours");
            let files = files.map(|file| file.expect("it is ours").path());
            let read = files.filter(|it| it.is_file()).map(std::fs::read);
            read.map(|bytes| bytes.expect("it is ours")).collect::<Vec<_>>()
        };
        let holds = |text: &str| {
            files().iter().any(|bytes| memchr::memmem::find(bytes, text.as_bytes()).is_some())
        };
        let span = Span { from: Offset::new(0), to: Offset::new(64) };
        let bury = |letters: &DeadLetters, text: &str| {
            let event = RawValue::from_string(format!("\"{text}\""));
            let letter = Letter { event: event.ok(), ..Letter::default() };
            letters.bury(&letter, 1, (span, None)).expect("there is room");
            // It is kept where the next segment is not ready.
            while letters.try_again().is_err() || letters.lock().refused_bytes > 0 {}
            letters.flush().expect("the disk is well");
        };
        let letters = open(&settings);
        bury(&letters, "planted-first");
        assert_eq!(letters.retain().expect("it is read"), 0, "it was written just now");
        assert!(letters.live() == 1 && holds("planted-first"));
        settings.age_max = Duration::ZERO;
        letters.bound(&settings);
        let begun = Instant::now();
        while letters.live() > 0 {
            letters.retain().expect("it is read");
            assert!(begun.elapsed() < Duration::from_secs(60), "it stays");
        }
        assert!(!holds("planted-first"), "its bytes go with it");
        assert_eq!(letters.evicted.load(), 1);
        // Nothing that could be ended is left, and what comes is kept again, also by the next run.
        let at = letters.place().map(|place| place.until);
        (0..10).for_each(|_| _ = letters.retain().expect("it is read"));
        assert_eq!(letters.place().map(|place| place.until), at);
        settings.age_max = Duration::from_secs(3600);
        letters.bound(&settings);
        bury(&letters, "planted-second");
        drop(letters);
        let letters = open(&settings);
        assert_eq!((letters.live(), letters.retain().expect("it is read")), (1, 0));
        assert!(holds("planted-second"));
    }

    #[test]
    fn records_whose_effects_nobody_takes_are_bounded() {
        let dir = tempfile::tempdir().expect("a directory");
        let settings = DeadLetterSettings { is_enabled: false, ..settings(dir.path()) };
        let letters = DeadLetters::open("a", &settings, &Checkpoint::default(), Arc::new(Disk));
        let letters = letters.expect("it is only counted");
        let at = |n: usize| Offset::new(64 * n as u64);
        for n in 0..WRITTEN_MAX {
            assert!(!letters.is_stuck(), "{n}");
            let span = Span { from: at(n), to: at(n + 1) };
            letters.bury(&Letter::default(), 1, (span, None)).expect("there is room");
        }
        assert!(letters.is_stuck(), "nothing more is read");
        assert_eq!(letters.take_effects().len(), WRITTEN_MAX);
        assert!(!letters.is_stuck());
    }

    #[test]
    fn a_letter_ages_from_its_writing_and_its_event_from_its_receipt() {
        let dir = tempfile::tempdir().expect("a directory");
        let settings = settings(dir.path());
        let checkpoint = Checkpoint { base: Offset::new(1 << 30), ..Checkpoint::default() };
        let letters = DeadLetters::open("a", &settings, &checkpoint, Arc::new(Disk));
        let letters = letters.expect("the directory is ours");
        // Of an event of 1970, and more than one segment of it.
        let event = RawValue::from_string(format!("\"{}\"", "x".repeat(500_000)));
        let letter = Letter { event: event.ok(), ..Letter::default() };
        let span = Span { from: Offset::new(0), to: Offset::new(64) };
        for _ in 0..40 {
            // It is kept where the next segment is not ready.
            let _ = letters.bury(&letter, 1, (span, None));
            while letters.try_again().is_err() || letters.lock().refused_bytes > 0 {}
        }
        letters.flush().expect("the disk is well");
        assert_eq!(letters.retain().expect("it is read"), 0, "they were written just now");
        assert_eq!(letters.live(), 40);
        let mut place = letters.place().expect("there is a store");
        let mut reader = letters.reader().expect("there is a store");
        let found = letters.next(&mut reader, &mut place, &Wanted::default());
        let Ok(Found::Letter(found)) = found else { panic!("they are there") };
        assert_eq!(found.received_ns, 1, "the clock that judges the event");
        // A lower bound holds at once.
        letters.bound(&DeadLetterSettings { bytes_max: 8 << 20, ..settings });
        letters.retain().expect("it is read");
        assert!((1..=16).contains(&letters.live()), "{} of 500 kB in 8 MiB", letters.live());
    }
}
