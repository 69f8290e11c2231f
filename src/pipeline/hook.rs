//! When a response hook acts: which events cause an action, and which come too late or too soon.
//!
//! Decided by when events were received, so that reading the log again decides the same. What was
//! decided is written down before the action is asked for: a process that is killed asks again with
//! the same key and time, and the cooldown holds.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::info;

use super::store::{Form, Size, Store, Table};
use crate::event::{Offset, Time};
use crate::log::LogError;
use crate::metrics::Counter;

/// What makes an exporter a response hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookSpec {
    /// How long after an action another one of the same key is not asked for.
    pub cooldown: Duration,
    /// Older events cause no action.
    pub age_max: Duration,
    /// Whether nothing is sent.
    pub is_dry: bool,
    /// Where actions are written down.
    pub path: PathBuf,
}

/// What a hook did, beside the fates of its events.
#[derive(Debug, Default)]
pub struct HookCounters {
    /// Actions that were asked for.
    pub fired: Counter,
    /// Events of an action that was asked for within the cooldown.
    pub suppressed: Counter,
    /// Events that were too old.
    pub stale: Counter,
    /// Actions that would have been asked for, were it no dry run.
    pub dry: Counter,
    /// Keys that made room for newer ones within their cooldown.
    pub forgotten: Counter,
}

/// What becomes of an event that a hook answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    /// Its action is due.
    Due,
    /// Its action was asked for before, by a process that did not see the end; when first, in
    /// seconds since 1970.
    Again(i64),
    /// It is too old.
    Stale,
    /// Its action was asked for within the cooldown.
    Suppressed,
}

/// The judgement of one hook, and its memory.
#[derive(Debug)]
pub(crate) struct Hook {
    pub(crate) spec: HookSpec,
    memory: Store<Memory>,
    told: Mutex<Told>,
}

/// The name of an action: half of BLAKE3 over its key.
type Name = [u8; 16];

/// An action that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fired {
    name: Name,
    /// When its event was received.
    received_ns: u64,
    /// Where its event begins.
    offset: Offset,
    /// When it was asked for first, in seconds since 1970.
    at: i64,
}

#[derive(Debug, Default)]
struct Memory {
    cooldown: Duration,
    last: HashMap<Name, Fired>,
    /// The same in order; those that are in `last` no more, or differently, are passed over.
    order: VecDeque<Fired>,
}

/// What was logged of a dry run in this second.
#[derive(Debug, Default)]
struct Told {
    since: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl Hook {
    /// A hook that remembers what its file says; a file that is not there is made for the first
    /// action.
    ///
    /// # Errors
    /// When the file is of another version, or cannot be read.
    pub(crate) fn open(spec: HookSpec) -> Result<Self, LogError> {
        let memory = Memory { cooldown: spec.cooldown, ..Memory::default() };
        let memory = match spec.is_dry {
            // What was not done keeps nothing from being done.
            true => Store::in_memory(memory),
            false => Store::open(&spec.path, memory)?,
        };
        Ok(Self { spec, memory, told: Mutex::default() })
    }

    /// What becomes of an event.
    pub(crate) fn judge(&self, key: &[u8], offset: Offset, received_ns: u64, now: Time) -> Judged {
        if age(received_ns, now) > self.spec.age_max {
            return Judged::Stale;
        }
        match self.memory.hold().last.get(&name(key)) {
            Some(fired) if fired.offset == offset => Judged::Again(fired.at),
            Some(fired) if self.is_near(fired.received_ns, received_ns) => Judged::Suppressed,
            _ => Judged::Due,
        }
    }

    /// Writes down that an action is asked for now; returns how many keys had to be forgotten.
    ///
    /// # Errors
    /// When the disk refuses; nothing is noted then.
    pub(crate) fn note(
        &self,
        key: &[u8],
        offset: Offset,
        received_ns: u64,
        now: Time,
    ) -> io::Result<u64> {
        let fired = Fired { name: name(key), received_ns, offset, at: now.secs };
        let mut memory = self.memory.hold();
        memory.append(&fired.record())?;
        Ok(memory.keep(fired))
    }

    /// How long an event may still be tried.
    pub(crate) fn left(&self, received_ns: u64, now: Time) -> Duration {
        self.spec.age_max.saturating_sub(age(received_ns, now))
    }

    /// Makes durable what was written down, and leaves out of the file what is of no use any more.
    ///
    /// # Errors
    /// When the disk refuses; it is tried again, then with a new file.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.memory.sync()
    }

    /// Logs an action that a dry run did not ask for.
    pub(crate) fn tell_dry(&self, exporter: &str, key: &[u8], event_id: &[u8], now: Instant) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.since.is_none_or(|since| now.saturating_duration_since(since) >= TOLD_INTERVAL) {
            (told.since, told.lines) = (Some(now), 0);
        }
        if told.lines == TOLD_MAX {
            told.left_out += 1;
            return;
        }
        told.lines += 1;
        let left_out = std::mem::take(&mut told.left_out);
        // As it stands in the header.
        let key = String::from_utf8_lossy(key);
        let key = key.split_once(':').map_or(&*key, |(_, key)| key).trim();
        let event_id = String::from_utf8_lossy(event_id);
        info!(exporter, key, %event_id, left_out, "dry run: this action is not asked for");
    }

    /// Whether two events are within one cooldown, whichever way the clock went.
    fn is_near(&self, a: u64, b: u64) -> bool {
        Duration::from_nanos(a.abs_diff(b)) < self.spec.cooldown
    }
}

impl Memory {
    /// Remembers an action, and forgets those whose cooldown is over; returns how many others had
    /// to go.
    fn keep(&mut self, fired: Fired) -> u64 {
        self.last.insert(fired.name, fired);
        self.order.push_back(fired);
        let mut forgotten = 0;
        while let Some(&oldest) = self.order.front() {
            let is_current = self.last.get(&oldest.name) == Some(&oldest);
            let apart = Duration::from_nanos(fired.received_ns.abs_diff(oldest.received_ns));
            // The last one may have to be asked for again.
            let is_over = apart >= self.cooldown && oldest != fired;
            let is_one_too_many = self.last.len() > KEYS_MAX;
            if is_current && !is_over && !is_one_too_many {
                break;
            }
            forgotten += u64::from(is_current && !is_over);
            if is_current {
                self.last.remove(&oldest.name);
            }
            self.order.pop_front();
        }
        forgotten
    }
}

impl Table for Memory {
    const FORM: Form = Form { magic: b"shrikefi", version: 1, size: Size::Fixed(RECORD_BYTES) };

    fn restore(&mut self, record: &[u8]) -> bool {
        Fired::parse(record).map(|fired| self.keep(fired)).is_some()
    }

    fn records(&self, each: &mut dyn FnMut(&[u8])) {
        let is_current = |fired: &&Fired| self.last.get(&fired.name) == Some(*fired);
        self.order.iter().filter(is_current).for_each(|fired| each(&fired.record()));
    }
}

impl Fired {
    fn record(&self) -> [u8; RECORD_BYTES] {
        let mut record = [0; RECORD_BYTES];
        record[..16].copy_from_slice(&self.name);
        record[16..24].copy_from_slice(&self.received_ns.to_le_bytes());
        record[24..32].copy_from_slice(&self.offset.bytes().to_le_bytes());
        record[32..40].copy_from_slice(&self.at.to_le_bytes());
        record
    }

    fn parse(record: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(u64::from_le_bytes(*record.get(at..)?.first_chunk()?));
        Some(Self {
            name: *record.first_chunk()?,
            received_ns: number(16)?,
            offset: Offset::new(number(24)?),
            at: number(32)?.cast_signed(),
        })
    }
}

fn name(key: &[u8]) -> Name {
    *blake3::hash(key).as_bytes().first_chunk().expect("a hash is longer")
}

/// How long ago something was received; a clock that was put back makes nothing old.
fn age(received_ns: u64, now: Time) -> Duration {
    Duration::from_nanos(now.ns().saturating_sub(received_ns))
}

/// Name, two times, an offset.
const RECORD_BYTES: usize = 40;
/// Keys that are remembered: a busy hook of a thousand actions a second has so many in a minute.
const KEYS_MAX: usize = 65_536;
/// Lines of one dry run in [`TOLD_INTERVAL`]; the others are counted in the next line.
const TOLD_MAX: u32 = 5;
const TOLD_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn spec(dir: &Path, cooldown: u64) -> HookSpec {
        let (cooldown, age_max) = (Duration::from_secs(cooldown), Duration::from_secs(300));
        HookSpec { cooldown, age_max, is_dry: false, path: dir.join("hooks/isolate") }
    }

    fn open(spec: &HookSpec) -> Hook {
        Hook::open(spec.clone()).expect("the file is ours")
    }

    fn at(secs: i64) -> Time {
        Time { secs, nanos: 0 }
    }

    /// An event received at a second and an offset, judged as it is received; noted where due.
    fn take(hook: &Hook, key: &str, offset: u64, second: u64) -> Judged {
        let (offset, received, now) =
            (Offset::new(offset), second * SECOND, at(i64::try_from(second).expect("small")));
        let judged = hook.judge(key.as_bytes(), offset, received, now);
        if judged == Judged::Due {
            assert_eq!(hook.note(key.as_bytes(), offset, received, now).expect("it is ours"), 0);
        }
        judged
    }

    #[test]
    fn one_action_a_key_and_cooldown_across_processes() {
        let dir = tempfile::tempdir().expect("a directory");
        let spec = spec(dir.path(), 60);
        let hook = open(&spec);
        assert_eq!(take(&hook, "a", 1, 1000), Judged::Due);
        assert_eq!(take(&hook, "b", 2, 1001), Judged::Due);
        assert_eq!(take(&hook, "a", 3, 1059), Judged::Suppressed);
        drop(hook);
        let hook = open(&spec);
        assert_eq!(take(&hook, "a", 1, 1000), Judged::Again(1000), "it may not have arrived");
        assert_eq!(take(&hook, "a", 3, 1059), Judged::Suppressed);
        assert_eq!(take(&hook, "a", 4, 1060), Judged::Due);
        assert_eq!(take(&hook, "a", 5, 1119), Judged::Suppressed);
        // The clock was put back: a little is the same time, an hour another.
        assert_eq!(take(&hook, "a", 6, 1050), Judged::Suppressed);
        assert_eq!(take(&hook, "a", 7, 400), Judged::Due);
    }

    #[test]
    fn without_a_cooldown_only_the_last_action_is_known_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let spec = spec(dir.path(), 0);
        let hook = open(&spec);
        assert_eq!(take(&hook, "a", 1, 1000), Judged::Due);
        assert_eq!(take(&hook, "a", 2, 1000), Judged::Due);
        assert_eq!(take(&open(&spec), "a", 2, 1000), Judged::Again(1000));
    }

    #[test]
    fn what_is_too_old_causes_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let hook = open(&spec(dir.path(), 60));
        let judge = |now| hook.judge(b"a", Offset::new(1), 1000 * SECOND, at(now));
        assert_eq!(judge(1300), Judged::Due);
        assert_eq!(judge(1301), Judged::Stale);
        assert_eq!(judge(900), Judged::Due, "the clock was put back");
        assert_eq!(hook.left(1000 * SECOND, at(1100)), Duration::from_secs(200));
    }

    #[test]
    fn a_file_of_a_newer_version_stays_for_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let spec = spec(dir.path(), 60);
        take(&open(&spec), "a", 1, 1000);
        let mut bytes = std::fs::read(&spec.path).expect("it is there");
        bytes[8] = 2;
        std::fs::write(&spec.path, bytes).expect("it is ours");
        let problem = Hook::open(spec).expect_err("nobody knows what it says");
        assert!(matches!(problem, LogError::Version { found: 2, known: 1, .. }), "{problem}");
    }

    #[test]
    fn file_and_memory_are_bounded() {
        let dir = tempfile::tempdir().expect("a directory");
        let spec = spec(dir.path(), 60);
        let hook = open(&spec);
        for n in 0..10_000 {
            assert_eq!(take(&hook, &format!("k{n}"), n + 1, 1000 + n), Judged::Due);
            if n % 100 == 0 {
                hook.sync().expect("the disk is well");
            }
        }
        let len = std::fs::metadata(&spec.path).expect("it is there").len();
        assert!(len < 200_000, "{len} bytes for 60 keys");
        assert_eq!(hook.memory.hold().last.len(), 60);
        assert_eq!(take(&open(&spec), "k9999", 20_000, 11_000), Judged::Suppressed);
        let mut forgotten = 0;
        for n in 0..KEYS_MAX as u64 {
            let (key, offset) = (format!("m{n}"), Offset::new(30_000 + n));
            let noted = hook.note(key.as_bytes(), offset, 11_000 * SECOND, at(11_000));
            forgotten += noted.expect("the disk is well");
        }
        assert_eq!(hook.memory.hold().last.len(), KEYS_MAX);
        assert_eq!(forgotten, 59, "those of the last minute");
    }
}
