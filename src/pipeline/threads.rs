//! What the destination called the first document of each conversation, so that others answer to
//! it.
//!
//! Written down before the event of the document is settled, so that a process which is killed in
//! between answers to it too.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::alerts::Name;
use super::store::{Form, Size, Store, Table};
use crate::deliver::Settings;
use crate::log::LogError;
use crate::metrics::Counter;

/// How the conversations of an exporter are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadSpec {
    /// How long after the last document of a conversation the next begins a new one.
    pub ttl: Duration,
    /// Where they are written down.
    pub path: PathBuf,
}

/// What became of conversations, beside the fates of their events.
#[derive(Debug, Default)]
pub struct ThreadCounters {
    /// Conversations that were begun.
    pub begun: Counter,
    /// Documents that answered to the first of one.
    pub replies: Counter,
    /// Conversations that the destination knew no more.
    pub lost: Counter,
    /// Conversations that made room for newer ones.
    pub forgotten: Counter,
}

/// The conversations of one exporter.
#[derive(Debug)]
pub(crate) struct Threads {
    spec: ThreadSpec,
    store: Store<Known>,
}

/// One conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Thread {
    /// What the destination called its first document.
    id: Box<str>,
    /// When one of it was sent last, in seconds since 1970.
    used: i64,
}

/// The table, by name of place and key.
#[derive(Debug)]
struct Known {
    most: usize,
    all: HashMap<Name, Thread>,
    /// Since when each is not used.
    used: BTreeSet<(i64, Name)>,
}

impl ThreadSpec {
    /// How these keys keep conversations; nothing where there are none.
    #[must_use]
    pub fn of(settings: &Settings, state_dir: &Path) -> Option<Self> {
        let conversation = settings.vendor.conversation.as_ref()?;
        let options = &settings.options;
        if !conversation.when.holds(options, settings.format) {
            return None;
        }
        let ttl = options.number(conversation.ttl_minutes).map_or(USUAL_TTL, Duration::from_millis);
        let path = state_dir.join("threads").join(&settings.name);
        Some(Self { ttl, path })
    }
}

impl Threads {
    /// The conversations that the file says; one that is not there is made for the first.
    ///
    /// # Errors
    /// When the file is of another version, or cannot be read.
    pub(crate) fn open(spec: ThreadSpec, now: i64) -> Result<Self, LogError> {
        Self::with(spec, THREADS_MAX, now)
    }

    fn with(spec: ThreadSpec, most: usize, now: i64) -> Result<Self, LogError> {
        let known = Known { most, all: HashMap::new(), used: BTreeSet::new() };
        let threads = Self { store: Store::open(&spec.path, known)?, spec };
        let newest = threads.store.hold().used.last().map(|(used, _)| *used);
        // The clock was wrong when that was written, or is now: nobody knows how old it is.
        let ahead = newest.map(|newest| newest.saturating_sub(now)).filter(|ahead| *ahead > 0);
        ahead.into_iter().for_each(|ahead| threads.shift(-ahead));
        Ok(threads)
    }

    /// Lets all stamps go with the clock where that was set.
    pub(crate) fn shift(&self, secs: i64) {
        let mut table = self.store.hold();
        table.shift(secs);
        table.rewrite();
    }

    /// What documents of a conversation answer to now; nothing where the next begins it.
    pub(crate) fn find(&self, name: &Name, now: i64) -> Option<Box<str>> {
        let table = self.store.hold();
        let thread = table.all.get(name)?;
        let ttl = i64::try_from(self.spec.ttl.as_millis().div_ceil(1_000)).unwrap_or(i64::MAX);
        // A clock that was put back makes nothing old.
        (now.saturating_sub(thread.used) < ttl).then(|| thread.id.clone())
    }

    /// Notes that a document began a conversation and what it was called; how many others had to
    /// be forgotten for that.
    ///
    /// # Errors
    /// When the disk refuses; it is known all the same as long as this process runs.
    pub(crate) fn begin(&self, name: Name, id: &str, now: i64) -> io::Result<u64> {
        if id.len() > ID_BYTES_MAX {
            return Ok(0);
        }
        let thread = Thread { id: id.into(), used: now };
        let mut table = self.store.hold();
        let written = table.append(&thread.record(&name));
        let forgotten = table.put(name, thread);
        written.map(|()| forgotten)
    }

    /// Notes that a document answered to what is called so.
    ///
    /// # Errors
    /// As with [`Self::begin`].
    pub(crate) fn reply(&self, name: Name, id: &str, now: i64) -> io::Result<()> {
        let is_known = self.store.hold().all.get(&name).is_some_and(|thread| &*thread.id == id);
        if is_known { self.begin(name, id, now).map(|_| ()) } else { Ok(()) }
    }

    /// Forgets a conversation whose first document was called so, since the destination has; says
    /// whether it was known.
    ///
    /// # Errors
    /// When the disk refuses; it is forgotten all the same, and once more after a restart.
    pub(crate) fn forget(&self, name: &Name, id: &str) -> io::Result<bool> {
        let mut table = self.store.hold();
        // Another one may have been begun meanwhile.
        if table.all.get(name).is_none_or(|thread| &*thread.id != id) {
            return Ok(false);
        }
        table.remove(name);
        table.append(name).map(|()| true)
    }

    /// Conversations that are known.
    pub(crate) fn len(&self) -> usize {
        self.store.hold().all.len()
    }

    /// Makes durable what was written down.
    ///
    /// # Errors
    /// When the disk refuses; it is tried again, then with a new file.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.store.sync()
    }
}

impl Known {
    /// Puts a conversation, and forgets the one that was not used for longest where there are too
    /// many; how many that were. Reading the file does the same again.
    fn put(&mut self, name: Name, thread: Thread) -> u64 {
        self.remove(&name);
        self.used.insert((thread.used, name));
        self.all.insert(name, thread);
        let mut forgotten = 0;
        while self.all.len() > self.most
            && let Some(&(_, oldest)) = self.used.first()
        {
            self.remove(&oldest);
            forgotten += 1;
        }
        forgotten
    }

    /// Sets all stamps so many seconds later.
    fn shift(&mut self, secs: i64) {
        let later = |used: i64| used.saturating_add(secs);
        self.all.values_mut().for_each(|thread| thread.used = later(thread.used));
        self.used = self.used.iter().map(|(used, name)| (later(*used), *name)).collect();
    }

    fn remove(&mut self, name: &Name) {
        if let Some(thread) = self.all.remove(name) {
            self.used.remove(&(thread.used, *name));
        }
    }
}

impl Table for Known {
    const FORM: Form = Form { magic: b"shriketh", version: 1, size: Size::Upto(RECORD_BYTES_MAX) };

    fn restore(&mut self, record: &[u8]) -> bool {
        let Some((name, rest)) = record.split_first_chunk::<16>() else { return false };
        if rest.is_empty() {
            self.remove(name);
            return true;
        }
        Thread::parse(rest).map(|thread| self.put(*name, thread)).is_some()
    }

    fn records(&self, each: &mut dyn FnMut(&[u8])) {
        self.all.iter().for_each(|(name, thread)| each(&thread.record(name)));
    }
}

impl Thread {
    fn record(&self, name: &Name) -> Vec<u8> {
        let mut record = name.to_vec();
        record.extend_from_slice(&self.used.to_le_bytes());
        record.extend_from_slice(self.id.as_bytes());
        record
    }

    fn parse(record: &[u8]) -> Option<Self> {
        let (used, id) = record.split_first_chunk()?;
        Some(Self { used: i64::from_le_bytes(*used), id: std::str::from_utf8(id).ok()?.into() })
    }
}

/// Conversations of one exporter: "LRU 10000".
const THREADS_MAX: usize = 10_000;
/// What a destination may call a document; longer names are those of nobody.
const ID_BYTES_MAX: usize = 256;
/// A name, a time, and what the destination calls it.
const RECORD_BYTES_MAX: usize = 16 + 8 + ID_BYTES_MAX;
/// Where the vendor has no option for it.
const USUAL_TTL: Duration = Duration::from_secs(3_600);

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &Path, most: usize) -> Threads {
        let (ttl, path) = (Duration::from_secs(3600), dir.join("threads/chat"));
        Threads::with(ThreadSpec { ttl, path }, most, 1 << 40).expect("the file is ours")
    }

    const A: Name = [1; 16];
    const B: Name = [2; 16];

    #[test]
    fn a_conversation_lasts_while_it_is_used_across_processes() {
        let dir = tempfile::tempdir().expect("a directory");
        let threads = open(dir.path(), 10);
        assert_eq!(threads.find(&A, 1000), None);
        assert_eq!(threads.begin(A, "1.1", 1000).expect("the disk is well"), 0);
        assert_eq!(threads.find(&A, 4599).as_deref(), Some("1.1"));
        assert_eq!(threads.find(&A, 4600), None);
        threads.reply(A, "1.1", 4000).expect("the disk is well");
        // What answered to another one says nothing of it.
        threads.reply(A, "1.0", 9000).expect("the disk is well");
        let threads = open(dir.path(), 10);
        assert_eq!(threads.find(&A, 7599).as_deref(), Some("1.1"));
        assert_eq!(threads.find(&A, 7600), None);
        assert_eq!(threads.find(&A, 100).as_deref(), Some("1.1"), "the clock was put back");
        assert_eq!(threads.find(&B, 4000), None);
        threads.begin(A, "1.2", 8000).expect("the disk is well");
        assert_eq!(open(dir.path(), 10).find(&A, 8001).as_deref(), Some("1.2"));
    }

    #[test]
    fn a_clock_that_is_set_makes_none_older() {
        let dir = tempfile::tempdir().expect("a directory");
        let threads = open(dir.path(), 10);
        threads.begin(A, "1.1", 1000).expect("the disk is well");
        threads.begin(B, "1.2", 4000).expect("the disk is well");
        threads.shift(100_000);
        let found = |threads: &Threads, now| [A, B].map(|it| threads.find(&it, now).is_some());
        assert_eq!(found(&threads, 104_600), [false, true]);
        threads.sync().expect("the disk is well");
        let ThreadSpec { ttl, path } = threads.spec.clone();
        let behind = Threads::with(ThreadSpec { ttl, path }, 10, 500).expect("the file is ours");
        assert_eq!(found(&behind, 1_099), [true, true]);
        assert_eq!(found(&behind, 1_100), [false, true]);
        assert_eq!(found(&behind, 4_100), [false, false]);
    }

    #[test]
    fn a_lost_one_is_forgotten_unless_another_was_begun() {
        let dir = tempfile::tempdir().expect("a directory");
        let threads = open(dir.path(), 10);
        threads.begin(A, "1.1", 1000).expect("the disk is well");
        assert!(!threads.forget(&A, "1.0").expect("the disk is well"));
        assert!(threads.forget(&A, "1.1").expect("the disk is well"));
        assert_eq!((threads.find(&A, 1001), open(dir.path(), 10).len()), (None, 0));
    }

    #[test]
    fn a_name_that_is_too_long_is_none() {
        let dir = tempfile::tempdir().expect("a directory");
        let threads = open(dir.path(), 10);
        threads.begin(A, &"1".repeat(257), 1000).expect("the disk is well");
        assert_eq!(threads.find(&A, 1000), None);
        threads.begin(A, &"1".repeat(256), 1000).expect("the disk is well");
        assert!(open(dir.path(), 10).find(&A, 1000).is_some());
    }

    /// What the table should do, from everything that ever happened.
    #[derive(Default)]
    struct Naive(Vec<(Name, String, i64)>);

    impl Naive {
        fn used(&mut self, name: Name, id: &str, now: i64, most: usize) {
            self.0.retain(|it| it.0 != name);
            self.0.push((name, id.to_owned(), now));
            if self.0.len() > most {
                let oldest = self.0.iter().map(|it| (it.2, it.0)).min().expect("there are some");
                self.0.retain(|it| (it.2, it.0) != oldest);
            }
        }

        fn find(&self, name: Name, now: i64) -> Option<&str> {
            let found = self.0.iter().find(|it| it.0 == name && now - it.2 < 3600);
            found.map(|it| it.1.as_str())
        }
    }

    #[test]
    fn it_knows_what_everything_that_happened_says() {
        let seed = std::env::var("SEED").map_or(0, |text| text.parse().expect("a number"));
        println!("seed {seed}");
        for round in 0..60 {
            let mut random = fastrand::Rng::with_seed(seed * 1000 + round);
            let dir = tempfile::tempdir().expect("a directory");
            let (mut threads, mut naive, mut now) = (open(dir.path(), 6), Naive::default(), 1000);
            for step in 0..400 {
                let about = format!("seed {seed}, round {round}, step {step}");
                now += random.i64(0..400);
                let name: Name = [random.u8(0..10); 16];
                let id = format!("{}", random.u8(0..4));
                let known = naive.find(name, i64::MIN / 2).map(str::to_owned);
                match random.u8(0..8) {
                    0..=2 => {
                        threads.begin(name, &id, now).expect("the disk is well");
                        naive.used(name, &id, now, 6);
                    }
                    3 => {
                        threads.reply(name, &id, now).expect("the disk is well");
                        if known.as_deref() == Some(&id) {
                            naive.used(name, &id, now, 6);
                        }
                    }
                    4 => {
                        let forgotten = threads.forget(&name, &id).expect("the disk is well");
                        assert_eq!(forgotten, known.as_deref() == Some(&id), "{about}");
                        naive.0.retain(|it| it.0 != name || it.1 != id);
                    }
                    5 => threads = open(dir.path(), 6),
                    6 => threads.sync().expect("the disk is well"),
                    _ => {}
                }
                for name in (0..10).map(|it| [it; 16]) {
                    let found = threads.find(&name, now);
                    assert_eq!(found.as_deref(), naive.find(name, now), "{about}");
                }
            }
        }
    }
}
