//! A table that survives: its changes are records in a small file, each with a check.
//!
//! Every change is appended before it counts, so that a process that is killed finds it again.
//! Where the file has become long or cannot be trusted, a copy of what is of use takes its place.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::warn;

use crate::log::LogError;

/// How the records of a file are told from others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    /// What the file begins with.
    pub(crate) magic: &'static [u8; 8],
    /// Which version of the records follows.
    pub(crate) version: u32,
    /// How long a record is.
    pub(crate) size: Size,
}

/// How long the records of a file are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Size {
    /// All of so many bytes.
    Fixed(usize),
    /// Each of its own length, up to so many bytes.
    Upto(usize),
}

/// What a [`Store`] keeps: built from its records, and written as records.
pub(crate) trait Table {
    /// How its records are told.
    const FORM: Form;

    /// Takes in a record as it was appended; false where it says nothing that is understood.
    fn restore(&mut self, record: &[u8]) -> bool;

    /// Tells the records that make the table as it is.
    fn records(&self, each: &mut dyn FnMut(&[u8]));
}

/// A table and its file, which is made for the first change.
#[derive(Debug)]
pub(crate) struct Store<T> {
    /// Nowhere for a table that need not survive.
    path: Option<PathBuf>,
    kept: Mutex<Kept<T>>,
}

/// The table of a [`Store`] while nobody else changes it.
pub(crate) struct Held<'a, T> {
    path: Option<&'a Path>,
    kept: MutexGuard<'a, Kept<T>>,
}

#[derive(Debug)]
struct Kept<T> {
    table: T,
    file: Option<Arc<File>>,
    /// Bytes of the file that are whole.
    len: u64,
    /// How many it had when it was last a copy of what is of use.
    copied: u64,
    /// Whether something of the file is not durable.
    is_dirty: bool,
    /// Whether its name is not.
    is_new: bool,
    /// Whether the file says that it is of an earlier version than what is appended.
    is_old: bool,
    /// Whether the disk has failed it, so that another file has to take its place.
    is_suspect: bool,
    /// What was written since a copy was begun, which replaces the file.
    since: Option<Vec<u8>>,
}

impl<T: Table> Store<T> {
    /// The table as the file has it; `table` is the empty one.
    ///
    /// # Errors
    /// When the file is of a newer version, or cannot be read.
    pub(crate) fn open(path: &Path, table: T) -> Result<Self, LogError> {
        let kept = Mutex::new(Kept::load(path, table)?);
        Ok(Self { path: Some(path.to_owned()), kept })
    }

    /// A table without a file.
    pub(crate) fn in_memory(table: T) -> Self {
        Self { path: None, kept: Mutex::new(Kept::new(table)) }
    }

    /// The table, to look at and to change.
    pub(crate) fn hold(&self) -> Held<'_, T> {
        // Changed by single calls, so that a panic elsewhere leaves it whole.
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        Held { path: self.path.as_deref(), kept }
    }

    /// Makes durable what was appended, and leaves out of the file what is of no use any more.
    ///
    /// # Errors
    /// When the disk refuses; it is tried again, then with a new file.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let (file, is_new, copy) = {
            let mut kept = self.hold().kept;
            if !kept.is_dirty {
                return Ok(());
            }
            kept.is_dirty = false;
            let is_new = std::mem::take(&mut kept.is_new);
            (kept.file.clone(), is_new, kept.begin_copy())
        };
        // Without the lock: whoever wants the table must not wait for the disk.
        let synced = match (copy, file) {
            (Some(copy), _) => self.replace(path, &copy),
            (None, Some(file)) => file.sync_data().and_then(|()| match is_new {
                true => sync_dir(path),
                false => Ok(()),
            }),
            (None, None) => Ok(()),
        };
        if synced.is_err() {
            let mut kept = self.hold().kept;
            // What the system did not write may be gone: all of it is written again.
            (kept.since, kept.is_dirty, kept.is_suspect) = (None, true, true);
        }
        synced
    }

    /// Puts a copy where the file is, with what was written meanwhile.
    fn replace(&self, path: &Path, copy: &[u8]) -> io::Result<()> {
        let draft = path.with_extension("draft");
        let file = create(&draft)?;
        file.write_all_at(copy, 0)?;
        file.sync_data()?;
        let mut kept = self.hold().kept;
        let since = kept.since.take().unwrap_or_default();
        let len = copy.len() as u64;
        file.write_all_at(&since, len)?;
        std::fs::rename(&draft, path)?;
        (kept.file, kept.len) = (Some(Arc::new(file)), len + since.len() as u64);
        (kept.copied, kept.is_old) = (len, false);
        kept.is_dirty = kept.is_suspect || !since.is_empty();
        drop(kept);
        sync_dir(path)
    }
}

impl<T: Table> Held<'_, T> {
    /// Appends a record to the file, which is made where there is none.
    ///
    /// # Errors
    /// When the disk refuses; nothing is appended then.
    pub(crate) fn append(&mut self, record: &[u8]) -> io::Result<()> {
        let Some(path) = self.path else { return Ok(()) };
        let kept = &mut *self.kept;
        if kept.is_old {
            // An earlier version must not take the records of this one for damage.
            kept.renew(path)?;
        }
        let mut framed = Vec::with_capacity(record.len() + FRAME_BYTES);
        frame(T::FORM.size, record, &mut framed);
        let file = match &kept.file {
            Some(file) => Arc::clone(file),
            None => {
                let (file, head) = (create(path)?, head(&T::FORM));
                file.write_all_at(&head, 0)?;
                (kept.len, kept.is_new) = (head.len() as u64, true);
                Arc::clone(kept.file.insert(Arc::new(file)))
            }
        };
        // At its place, so that a part that was written before is written over.
        file.write_all_at(&framed, kept.len)?;
        kept.len += framed.len() as u64;
        kept.since.iter_mut().for_each(|since| since.extend_from_slice(&framed));
        kept.is_dirty = true;
        Ok(())
    }
}

impl<T> Held<'_, T> {
    /// Has all of the table written anew: it was changed otherwise than by records.
    pub(crate) fn rewrite(&mut self) {
        let kept = &mut *self.kept;
        if kept.file.is_some() {
            (kept.is_suspect, kept.is_dirty) = (true, true);
        }
    }
}

impl<T> Deref for Held<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.kept.table
    }
}

impl<T> DerefMut for Held<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.kept.table
    }
}

impl<T> Kept<T> {
    fn new(table: T) -> Self {
        let (file, since, len, copied) = (None, None, 0, 0);
        let (is_dirty, is_new, is_old, is_suspect) = (false, false, false, false);
        Self { table, file, len, copied, is_dirty, is_new, is_old, is_suspect, since }
    }
}

impl<T: Table> Kept<T> {
    fn load(path: &Path, table: T) -> Result<Self, LogError> {
        let failed = |action| {
            let path = path.to_owned();
            move |source| LogError::Io { action, path, source }
        };
        let mut kept = Self::new(table);
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(kept),
            Err(source) => return Err(failed("open")(source)),
        };
        let bytes = std::fs::read(path).map_err(failed("read"))?;
        let Form { magic, version: known, size } = T::FORM;
        let version = bytes.strip_prefix(magic.as_slice()).and_then(|rest| rest.first_chunk());
        let Some(found) = version.copied().map(u32::from_le_bytes) else {
            warn!(path = %path.display(), "not a file of this kind: it begins anew");
            return Ok(kept);
        };
        if found > known {
            return Err(LogError::Version { path: path.to_owned(), found, known });
        }
        let mut rest = &bytes[HEAD_BYTES..];
        while let Some((record, behind)) = split(size, rest) {
            if !kept.table.restore(record) {
                break;
            }
            rest = behind;
        }
        // A kill in the midst of writing leaves a part of a record.
        if !is_torn(size, rest) {
            let beyond = rest.len();
            warn!(path = %path.display(), beyond, "records are damaged: the rest is forgotten");
        }
        let whole = (bytes.len() - rest.len()) as u64;
        // What lies behind must not come back once something is written before it.
        file.set_len(whole).map_err(failed("cut"))?;
        // A process that was killed may have written what is not on the disk.
        (kept.file, kept.len, kept.is_dirty) = (Some(Arc::new(file)), whole, true);
        kept.is_old = found < known;
        Ok(kept)
    }

    /// Puts a copy of this version where the file is.
    fn renew(&mut self, path: &Path) -> io::Result<()> {
        let copy = self.copy();
        let draft = path.with_extension("draft");
        let file = create(&draft)?;
        file.write_all_at(&copy, 0)?;
        file.sync_data()?;
        std::fs::rename(&draft, path)?;
        (self.file, self.len) = (Some(Arc::new(file)), copy.len() as u64);
        (self.copied, self.is_new, self.is_old) = (self.len, true, false);
        Ok(())
    }

    /// A copy of what is of use, where the file has much that is not or cannot be trusted.
    fn begin_copy(&mut self) -> Option<Vec<u8>> {
        if !self.is_suspect && self.len <= self.copied * 2 + SPARE_BYTES {
            return None;
        }
        (self.since, self.is_suspect) = (Some(Vec::new()), false);
        Some(self.copy())
    }

    fn copy(&self) -> Vec<u8> {
        let mut bytes = head(&T::FORM).to_vec();
        self.table.records(&mut |record| frame(T::FORM.size, record, &mut bytes));
        bytes
    }
}

fn head(form: &Form) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..8].copy_from_slice(form.magic);
    head[8..].copy_from_slice(&form.version.to_le_bytes());
    head
}

/// Appends a record with its check, behind its length where that is its own.
fn frame(size: Size, record: &[u8], out: &mut Vec<u8>) {
    match size {
        Size::Fixed(bytes) => assert_eq!(record.len(), bytes, "all records are of one length"),
        Size::Upto(bytes_max) => {
            assert!(record.len() <= bytes_max, "{} bytes are too many", record.len());
            let len = u32::try_from(record.len()).expect("bounds are far below");
            out.extend_from_slice(&len.to_le_bytes());
        }
    }
    out.extend_from_slice(record);
    out.extend_from_slice(&check(record));
}

/// The first record and what follows; nothing where it is not whole.
fn split(size: Size, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = match size {
        Size::Fixed(len) => (len, bytes),
        Size::Upto(bytes_max) => {
            let (len, rest) = bytes.split_first_chunk()?;
            let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
            (Some(len).filter(|&len| len <= bytes_max)?, rest)
        }
    };
    let (record, rest) = rest.split_at_checked(len)?;
    let (sum, rest) = rest.split_first_chunk()?;
    (*sum == check(record)).then_some((record, rest))
}

/// Whether what is left is less than a record could be.
fn is_torn(size: Size, rest: &[u8]) -> bool {
    rest.len()
        < match size {
            Size::Fixed(bytes) => bytes + CHECK_BYTES,
            Size::Upto(bytes_max) => match rest.first_chunk().map(|len| u32::from_le_bytes(*len)) {
                Some(len) if len as usize <= bytes_max => len as usize + FRAME_BYTES,
                Some(_) => 0,
                None => FRAME_BYTES,
            },
        }
}

fn check(record: &[u8]) -> [u8; CHECK_BYTES] {
    *blake3::hash(record).as_bytes().first_chunk().expect("a hash is longer")
}

/// A new file for its owner only, in a directory that may be new as well.
fn create(path: &Path) -> io::Result<File> {
    if let Some(dir) = path.parent() {
        DirBuilder::new().mode(0o700).recursive(true).create(dir)?;
    }
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn sync_dir(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

/// Magic and version.
const HEAD_BYTES: usize = 12;
const CHECK_BYTES: usize = 8;
/// What a record costs beside itself at most: its length and its check.
const FRAME_BYTES: usize = 4 + CHECK_BYTES;
/// What a file may have beyond twice of what was of use: about 1,000 small records.
const SPARE_BYTES: u64 = 48 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Numbers by name: `name=number`; a name alone removes.
    #[derive(Debug, Default)]
    struct Numbers(BTreeMap<String, String>);

    impl Table for Numbers {
        const FORM: Form = Form { magic: b"shriketn", version: 3, size: Size::Upto(100) };

        fn restore(&mut self, record: &[u8]) -> bool {
            let Ok(text) = std::str::from_utf8(record) else { return false };
            match text.split_once('=') {
                Some((name, number)) => self.0.insert(name.to_owned(), number.to_owned()),
                None => self.0.remove(text),
            };
            true
        }

        fn records(&self, each: &mut dyn FnMut(&[u8])) {
            self.0.iter().for_each(|(name, number)| each(format!("{name}={number}").as_bytes()));
        }
    }

    fn open(path: &Path) -> Store<Numbers> {
        Store::open(path, Numbers::default()).expect("the file is ours")
    }

    fn put(store: &Store<Numbers>, record: &str) {
        let mut held = store.hold();
        held.append(record.as_bytes()).expect("the disk is well");
        assert!(held.restore(record.as_bytes()));
    }

    fn shown(store: &Store<Numbers>) -> String {
        let mut texts = Vec::new();
        let each = &mut |it: &[u8]| texts.push(String::from_utf8_lossy(it).into_owned());
        store.hold().records(each);
        texts.join(" ")
    }

    #[test]
    fn a_table_survives_its_process() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("new/numbers");
        let store = open(&path);
        for record in ["a=1", "bb=22", "a=3", "c=", "bb"] {
            put(&store, record);
        }
        assert_eq!(shown(&open(&path)), "a=3 c=");
        store.sync().expect("the disk is well");
        assert_eq!(shown(&open(&path)), "a=3 c=");
    }

    #[test]
    fn a_torn_end_is_written_over() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("numbers");
        let store = open(&path);
        for record in ["a=1", "b=2", "c=3"] {
            put(&store, record);
        }
        let whole = std::fs::read(&path).expect("it is there");
        for cut in 1..=FRAME_BYTES + 3 {
            std::fs::write(&path, &whole[..whole.len() - cut]).expect("it is ours");
            let store = open(&path);
            assert_eq!(shown(&store), "a=1 b=2", "{cut}");
            put(&store, "d=4");
            assert_eq!(shown(&open(&path)), "a=1 b=2 d=4", "{cut}");
        }
        // Damage in between does not bring back what lies behind it.
        for at in HEAD_BYTES + FRAME_BYTES + 3..HEAD_BYTES + 2 * (FRAME_BYTES + 3) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x41;
            std::fs::write(&path, &damaged).expect("it is ours");
            let store = open(&path);
            assert_eq!(shown(&store), "a=1", "{at}");
            put(&store, "d=4");
            assert_eq!(shown(&open(&path)), "a=1 d=4", "{at}");
        }
    }

    #[test]
    fn a_file_of_another_kind_begins_anew() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("numbers");
        std::fs::write(&path, b"something else altogether").expect("it is ours");
        let store = open(&path);
        put(&store, "a=1");
        assert_eq!(shown(&open(&path)), "a=1");
        let mut bytes = std::fs::read(&path).expect("it is there");
        bytes[8] = 4;
        std::fs::write(&path, bytes).expect("it is ours");
        let problem = Store::open(&path, Numbers::default()).expect_err("it is newer");
        assert!(matches!(problem, LogError::Version { found: 4, known: 3, .. }), "{problem}");
    }

    #[test]
    fn a_file_of_an_earlier_version_says_so_no_more_once_it_is_changed() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("numbers");
        put(&open(&path), "a=1");
        let version = || std::fs::read(&path).expect("it is there")[8];
        let mut bytes = std::fs::read(&path).expect("it is there");
        bytes[8] = 2;
        std::fs::write(&path, bytes).expect("it is ours");
        let store = open(&path);
        assert_eq!((shown(&store).as_str(), version()), ("a=1", 2));
        put(&store, "b=2");
        assert_eq!((shown(&open(&path)).as_str(), version()), ("a=1 b=2", 3));
        store.sync().expect("the disk is well");
        put(&store, "c=3");
        assert_eq!(shown(&open(&path)), "a=1 b=2 c=3");
    }

    #[test]
    fn what_is_written_while_a_copy_is_made_is_in_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("numbers");
        let store = open(&path);
        put(&store, "a=1");
        let copy = {
            let mut kept = store.hold().kept;
            kept.is_suspect = true;
            kept.begin_copy().expect("the file is suspect")
        };
        put(&store, "b=2");
        store.replace(&path, &copy).expect("the disk is well");
        put(&store, "c=3");
        assert_eq!(shown(&open(&path)), "a=1 b=2 c=3");
    }

    #[test]
    fn a_file_is_bounded_by_what_is_of_use() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("numbers");
        let store = open(&path);
        for n in 0..20_000 {
            put(&store, &format!("k{}={n}", n % 100));
            if n % 100 == 0 {
                store.sync().expect("the disk is well");
            }
        }
        let len = std::fs::metadata(&path).expect("it is there").len();
        assert!(len < 60_000, "{len} bytes for 100 numbers");
        assert_eq!(shown(&open(&path)), shown(&store));
    }
}
