//! The files of one input: which there are, which were rotated, which are read now.

mod copies;
mod cuts;
mod foreign;
mod heard;
mod packed;
mod rotated;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tracing::warn;

use self::copies::KnownCopy;
use self::cuts::Cuts;
use self::foreign::Read;
use self::heard::Heard;
use self::packed::Packing;
use self::rotated::{AGAIN_INTERVAL, Beside, Drained};
use super::door::DoorError;
use super::items::is_spread;
use super::position::{Position, Positions};
use super::shared::{Chunk, SharedDoor};
use super::stream::{Account, Stream};
use super::tail::{
    Around, Identity, Look, Mode, Polled, Tail, behind_document, holds, last_line_end, print_before,
};

/// What one file input reads.
#[derive(Clone, Debug)]
pub struct FilesOptions {
    /// A path, or a pattern of paths.
    pub path: PathBuf,
    /// How the files are written; `None` is told by their beginning.
    pub mode: Option<Mode>,
    /// The dialect of all lines; `None` lets each line tell.
    pub format: Option<&'static str>,
    /// Whether what is in the files at the very first start of this input is passed over.
    pub from_end: bool,
    /// Tells from a file's first line how it is written.
    pub sniff: fn(&[u8]) -> Mode,
}

/// The files of one input.
#[derive(Debug)]
pub struct Files {
    options: FilesOptions,
    pattern: Option<glob::Pattern>,
    positions: Arc<Positions>,
    tails: BTreeMap<Identity, Followed>,
    /// Those of them that may be open or were rotated: among 100,000 files few are.
    busy: Vec<Identity>,
    /// Which file each path meant last.
    at: HashMap<PathBuf, Identity>,
    /// Copies of followed files that the pattern matches too.
    copies: HashMap<Identity, KnownCopy>,
    /// The folders of the files, where rotations put what had their paths.
    beside: BTreeMap<PathBuf, Beside>,
    /// When the newest file was written that an earlier process read at a path, nanoseconds since
    /// 1970.
    since: HashMap<PathBuf, i128>,
    /// Paths about which something was told already.
    told: HashSet<PathBuf>,
    buffer: Vec<u8>,
    next_scan: Instant,
    is_first_scan: bool,
    /// When files are looked for that were rotated while nobody looked.
    missed_at: Option<Instant>,
    /// Whether an earlier process ran this input.
    has_begun: bool,
    /// Whether files that are not known yet are read from their end.
    passes_over: bool,
    account: Account,
    cuts: Cuts,
    /// Files that are gone, by their times.
    read: Read,
    heard: Heard,
}

/// The files that were at paths of the input when it was looked which there are, and where.
type Present<'a> = HashMap<Identity, &'a Path>;

/// A file that is read, and what becomes of it.
#[derive(Debug)]
struct Followed {
    tail: Tail,
    /// Its path means another file now, or none: it ends when it grows no more.
    is_rotated: bool,
    /// When something was read from it last.
    active: Instant,
    /// It was cut off, and its rest cannot be looked for before.
    not_before: Option<Instant>,
}

impl Files {
    /// Looks for files; nothing is read yet.
    #[must_use]
    pub fn new(options: FilesOptions, positions: Arc<Positions>, now: Instant) -> Self {
        let text = options.path.to_string_lossy();
        let is_pattern = text.contains(['*', '?', '[']);
        let pattern = is_pattern.then(|| glob::Pattern::new(&text).ok()).flatten();
        let has_begun = positions.named(&text).is_some();
        let passes_over = options.from_end && !has_begun;
        let mut beside = BTreeMap::new();
        if !is_pattern {
            beside.insert(folder(&options.path), Beside::default());
        }
        Self {
            pattern,
            passes_over,
            has_begun,
            options,
            positions,
            tails: BTreeMap::new(),
            busy: Vec::new(),
            at: HashMap::new(),
            copies: HashMap::new(),
            beside,
            since: HashMap::new(),
            told: HashSet::new(),
            buffer: Vec::new(),
            next_scan: now,
            is_first_scan: true,
            missed_at: Some(now),
            account: Account::default(),
            cuts: Cuts::default(),
            read: Read::default(),
            heard: Heard::default(),
        }
    }

    /// Reads what is new; returns how long nothing needs to be done.
    ///
    /// # Errors
    /// When what was read cannot be taken, and waiting does not help. A file that cannot be read
    /// is told once and tried again.
    pub fn step(
        &mut self,
        door: &SharedDoor,
        is_stopped: &AtomicBool,
        now: Instant,
    ) -> Result<Duration, DoorError> {
        let around = Around { door, is_stopped };
        if now >= self.next_scan {
            let begun = cpu_time();
            let scanned = self.scan(around, now);
            self.find_busy();
            scanned?;
            let took = cpu_time().saturating_sub(begun);
            self.next_scan = now + SCAN_INTERVAL.max(took * SCAN_REST);
            // Fewer are all open, and looked at in a moment.
            if self.tails.len() > OPEN_MAX {
                self.heard.add(self.beside.keys());
            }
        } else {
            self.hear(around, now)?;
        }
        let mut has_read = false;
        for n in 0..self.busy.len() {
            if is_stopped.load(Ordering::Acquire) {
                return Ok(Duration::ZERO);
            }
            has_read |= self.poll(self.busy[n], around, now)?;
        }
        self.end_rotated(around, now)?;
        self.close_idle(now);
        self.cuts.tell(now);
        Ok(if has_read { Duration::ZERO } else { POLL_INTERVAL })
    }

    /// What became of all files so far.
    #[must_use]
    pub fn account(&self) -> Account {
        self.account
    }

    /// Follows a file from now on.
    fn follow(&mut self, identity: Identity, followed: Followed) {
        self.tails.insert(identity, followed);
        self.busy.push(identity);
    }

    /// Looks which files must be looked at more often than their paths.
    fn find_busy(&mut self) {
        let is_busy = |followed: &Followed| followed.tail.is_open() || followed.is_rotated;
        let busy = self.tails.iter().filter(|(_, followed)| is_busy(followed));
        self.busy.clear();
        self.busy.extend(busy.map(|(identity, _)| *identity));
    }

    /// Reads one buffer of a file; whether there was anything.
    fn poll(
        &mut self,
        identity: Identity,
        around: Around<'_>,
        now: Instant,
    ) -> Result<bool, DoorError> {
        let Some(followed) = self.tails.get_mut(&identity) else { return Ok(false) };
        if followed.not_before.is_some_and(|at| now < at) {
            return Ok(false);
        }
        let polled = followed.tail.poll(around, &mut self.buffer);
        self.account = self.account.plus(followed.tail.take_account());
        match polled {
            Ok(Polled::Read(_)) => {
                followed.active = now;
                Ok(true)
            }
            Ok(Polled::Replaced) => {
                followed.active = now;
                self.replaced(identity, around, now)
            }
            Ok(Polled::Idle | Polled::Unsettled | Polled::Stopped) => Ok(false),
            Err(DoorError::Read { error, .. }) => {
                let path = followed.tail.path.clone();
                followed.tail.close();
                self.tell(&path, &error);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// A file was cut off, or begun anew in the same place: its rest is looked for in a copy, and
    /// reading goes on at its start; false where that has to wait.
    fn replaced(
        &mut self,
        identity: Identity,
        around: Around<'_>,
        now: Instant,
    ) -> Result<bool, DoorError> {
        let Some(followed) = self.tails.get(&identity) else { return Ok(false) };
        let (position, unread) = (followed.tail.position(), followed.tail.unread());
        let path = followed.tail.path.display().to_string();
        match followed.tail.mode() {
            Mode::Append => {
                if let Drained::Refused(error) = self.drain_copy(&position, around, now)? {
                    let again = Some(now + AGAIN_INTERVAL);
                    self.tails.entry(identity).and_modify(|it| it.not_before = again);
                    self.tell(Path::new(&position.source), &error);
                    return Ok(false);
                }
            }
            // Each run begins the file anew; what was there of the last one's end is known.
            _ if unread > 0 => {
                self.account.gaps += 1;
                warn!(input = path, unread, "a run was replaced before its end was written");
            }
            _ => {}
        }
        // Others may have been made in between.
        self.next_scan = now;
        let Some(followed) = self.tails.get_mut(&identity) else { return Ok(false) };
        followed.not_before = None;
        followed.tail.restart();
        let start = followed.tail.position();
        // Else the same would be looked for again after a restart.
        note(&start, around)?;
        self.pass_copies(identity, around)?;
        Ok(true)
    }

    /// Reads a file until nothing is left but a line without its end.
    fn drain(
        &mut self,
        identity: Identity,
        around: Around<'_>,
        now: Instant,
    ) -> Result<(), DoorError> {
        while self.poll(identity, around, now)? && !around.is_stopped.load(Ordering::Acquire) {}
        Ok(())
    }

    /// Looks which files there are.
    fn scan(&mut self, around: Around<'_>, now: Instant) -> Result<(), DoorError> {
        let mut found = Vec::new();
        for path in self.paths() {
            match fs::metadata(&path) {
                Ok(it) if it.is_file() => found.push((path, Identity::of(&it), Look::of(&it))),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => self.tell(&path, &error),
            }
        }
        if self.pattern.is_some() {
            for (path, ..) in found.iter().filter(|(path, ..)| !self.at.contains_key(path)) {
                self.beside.entry(folder(path)).or_default();
            }
        }
        let present: Present<'_> =
            found.iter().map(|(path, identity, _)| (*identity, path.as_path())).collect();
        if self.missed_at.is_some_and(|at| at <= now) {
            self.find_missed(&present, around, now)?;
        }
        self.mark_rotated(&present, around, now)?;
        self.find_skipped(&present, around, now)?;
        let beside = &self.beside;
        self.copies.retain(|identity, copy| {
            present.contains_key(identity) || copy.is_beside(*identity, beside)
        });
        let mut open = self.tails.values().filter(|followed| followed.tail.is_open()).count();
        for (path, identity, look) in found {
            if around.is_stopped.load(Ordering::Acquire) {
                return Ok(());
            }
            match self.at.get_mut(&path) {
                Some(at) => *at = identity,
                None => _ = self.at.insert(path.clone(), identity),
            }
            self.meet((&path, identity, look), &mut open, around, now)?;
        }
        if self.is_first_scan && !self.has_begun {
            let source = self.options.path.to_string_lossy().into_owned();
            note(&Position { source, ..Position::default() }, around)?;
            self.passes_over = false;
        }
        self.is_first_scan = false;
        Ok(())
    }

    /// Reads a file that is at a path of the input if it is new, or was closed and has changed.
    fn meet(
        &mut self,
        (path, identity, look): (&Path, Identity, Look),
        open: &mut usize,
        around: Around<'_>,
        now: Instant,
    ) -> Result<(), DoorError> {
        match self.tails.get_mut(&identity) {
            Some(followed) if !followed.tail.is_open() && followed.tail.is_changed(look) => {
                if let Some(file) = open_same(path, identity) {
                    followed.tail.attach(file);
                    followed.active = now;
                }
            }
            Some(_) => return Ok(()),
            None => {
                if self.is_copy(path, identity, look) {
                    return Ok(());
                }
                self.begin(path, identity, around, now)?;
            }
        }
        // Descriptors are few: beyond those that may stay, one file is read after the other.
        if *open >= OPEN_MAX {
            self.drain(identity, around, now)?;
            self.tails.entry(identity).and_modify(|followed| followed.tail.close());
        }
        let followed = self.tails.get(&identity);
        *open += usize::from(followed.is_some_and(|followed| followed.tail.is_open()));
        Ok(())
    }

    /// Reads files of which the kernel says that they grew or appeared. What a rotation may have
    /// made waits until all paths are looked at.
    fn hear(&mut self, around: Around<'_>, now: Instant) -> Result<(), DoorError> {
        let heard = self.heard.take();
        let mut open = self.open_now();
        for path in heard {
            if around.is_stopped.load(Ordering::Acquire) {
                return Ok(());
            }
            let is_wanted = self.is_ours(&path) && !is_compressed(&path);
            let Some(it) = is_wanted.then(|| fs::metadata(&path).ok()).flatten() else { continue };
            let (identity, look) = (Identity::of(&it), Look::of(&it));
            let followed = self.tails.get(&identity);
            let is_open = followed.is_some_and(|followed| followed.tail.is_open());
            let is_plain = match self.at.get(&path) {
                Some(at) => *at == identity,
                None => followed.is_none() && self.has_name_of_its_own(&path),
            };
            if is_open || !is_plain || !it.is_file() {
                continue;
            }
            self.at.entry(path.clone()).or_insert(identity);
            self.meet((&path, identity, look), &mut open, around, now)?;
            if self.tails.get(&identity).is_some_and(|followed| followed.tail.is_open()) {
                self.busy.push(identity);
            }
        }
        Ok(())
    }

    /// How many files are open.
    fn open_now(&self) -> usize {
        let is_open = |it: &&Identity| self.tails.get(it).is_some_and(|it| it.tail.is_open());
        self.busy.iter().filter(is_open).count()
    }

    /// The paths that the input means now.
    fn paths(&mut self) -> Vec<PathBuf> {
        if self.pattern.is_none() {
            return vec![self.options.path.clone()];
        }
        match glob::glob(&self.options.path.to_string_lossy()) {
            // A compressed copy holds no lines; what was not read of it is found beside the path.
            Ok(paths) => {
                let mut found = Vec::new();
                for path in paths {
                    match path {
                        Ok(path) if is_compressed(&path) => {}
                        Ok(_) if found.len() >= FILES_MAX => {
                            let path = self.options.path.clone();
                            let text = format!("it means more than {FILES_MAX} files");
                            self.tell(&path, &io::Error::other(text));
                            break;
                        }
                        Ok(path) => found.push(path),
                        // A folder that nobody lets us into.
                        Err(refused) => {
                            let path = refused.path().to_owned();
                            self.tell(&path, refused.error());
                        }
                    }
                }
                found
            }
            Err(error) => {
                let path = self.options.path.clone();
                self.tell(&path, &io::Error::new(io::ErrorKind::InvalidInput, error));
                Vec::new()
            }
        }
    }

    /// Begins to read a file that was not there before.
    fn begin(
        &mut self,
        path: &Path,
        identity: Identity,
        around: Around<'_>,
        now: Instant,
    ) -> Result<(), DoorError> {
        let opened = self.open_new(path, identity);
        let (file, mode) = match opened {
            Ok(Some(opened)) => opened,
            Ok(None) => return Ok(()),
            Err(error) => {
                self.tell(path, &error);
                return Ok(());
            }
        };
        let mut tail = Tail::new(path, identity, mode, 0).with_format(self.options.format);
        let known = match self.positions.find(identity.device, identity.inode) {
            None if self.passes_over => match at_end(&tail, &file) {
                Ok(position) => {
                    note(&position, around)?;
                    Some(position)
                }
                Err(error) => {
                    self.tell(path, &error);
                    return Ok(());
                }
            },
            known => known,
        };
        if let Some(position) = known {
            let again = file.try_clone();
            match again.and_then(|again| tail.resume(again, &position)) {
                Ok(true) => {}
                Ok(false) => {
                    // Copied and truncated while nobody looked: the rest is in the copy.
                    if mode == Mode::Append
                        && let Drained::Refused(error) = self.drain_copy(&position, around, now)?
                    {
                        self.tell(path, &error);
                        return Ok(());
                    }
                    tail.attach(file);
                }
                Err(error) => {
                    self.tell(path, &error);
                    return Ok(());
                }
            }
        } else {
            // If it is rotated before anything of it was read, it is known as one to look for.
            note(&tail.position(), around)?;
            tail.attach(file);
        }
        self.told.remove(path);
        self.follow(identity, Followed { tail, is_rotated: false, active: now, not_before: None });
        Ok(())
    }

    /// Opens a file and learns how it is written; `None` while that cannot be told.
    fn open_new(&self, path: &Path, identity: Identity) -> io::Result<Option<(File, Mode)>> {
        let file = File::open(path)?;
        if Identity::of(&file.metadata()?) != identity {
            return Ok(None);
        }
        Ok(self.mode_of(&file)?.map(|mode| (file, mode)))
    }

    /// How a file is written; `None` while that cannot be told.
    fn mode_of(&self, file: &File) -> io::Result<Option<Mode>> {
        if let Some(mode) = self.options.mode {
            return Ok(Some(mode));
        }
        let mut start = vec![0; SNIFF_BYTES];
        let read = std::os::unix::fs::FileExt::read_at(file, &mut start, 0)?;
        let line = &start[..read];
        match is_spread(line) {
            Some(true) => return Ok(Some(Mode::Document)),
            None if read < SNIFF_BYTES => return Ok(None),
            _ => {}
        }
        let line = match memchr::memchr(b'\n', line) {
            Some(end) => &line[..end],
            None if read == SNIFF_BYTES => line,
            None => return Ok(None),
        };
        Ok(Some((self.options.sniff)(line)))
    }

    /// Gives back file descriptors where there are many.
    fn close_idle(&mut self, now: Instant) {
        let open = self.open_now();
        if open <= OPEN_MAX {
            return;
        }
        let idle = |followed: &&mut Followed| {
            !followed.is_rotated && now.saturating_duration_since(followed.active) > CLOSE_IDLE
        };
        for followed in self.tails.values_mut().filter(idle).take(open - OPEN_MAX) {
            followed.tail.close();
        }
    }

    /// Tells once what is wrong with a path.
    fn tell(&mut self, path: &Path, error: &io::Error) {
        if self.told.len() < FILES_MAX && self.told.insert(path.to_owned()) {
            warn!(input = %path.display(), %error, "cannot read an input's file; trying again");
        }
    }
}

/// The processor time of this thread: a machine that is busy with others makes a look no dearer.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let secs = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(secs, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Tells the log where a source is read on, without a record.
pub(super) fn note(position: &Position, around: Around<'_>) -> Result<(), DoorError> {
    let mut stream = Stream::new(&position.source, position.offset);
    let nothing = Chunk { bytes: b"", is_rest: false };
    let position = || Some(position.clone());
    around.door.bring(&mut stream, nothing, around.is_stopped, |_, _| position()).map(drop)
}

/// The position behind all that a file holds: its last complete line, or its document.
fn at_end(tail: &Tail, file: &File) -> io::Result<Position> {
    if tail.mode() == Mode::Document {
        return behind_document(tail, file);
    }
    let offset = last_line_end(file)?;
    Ok(Position { offset, last: print_before(file, offset)?, ..tail.position() })
}

/// The folder of a path; empty for the working directory.
fn folder(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).to_owned()
}

/// Opens a path if it still means this file.
fn open_same(path: &Path, identity: Identity) -> Option<File> {
    let file = File::open(path).ok()?;
    let metadata = file.metadata().ok()?;
    (Identity::of(&metadata) == identity).then_some(file)
}

/// Whether a name says that a rotation compressed the file.
fn is_compressed(path: &Path) -> bool {
    Packing::of(path).is_some()
}

/// The first file of a folder that is wanted. A listing may leave out what gets another name
/// meanwhile: such a folder is listed again before a file is taken for gone.
fn find_in(
    dir: &Path,
    mut is_wanted: impl FnMut(&Path, &fs::Metadata) -> bool,
) -> Option<(PathBuf, File)> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    for _ in 0..LISTINGS_MAX {
        let before = changed(dir);
        let (found, is_moving) = list(dir, &mut is_wanted);
        if found.is_some() || !(is_moving || changed(dir) != before) {
            return found;
        }
    }
    None
}

/// The same of one listing, and whether something moved away during it.
fn list(
    dir: &Path,
    is_wanted: &mut impl FnMut(&Path, &fs::Metadata) -> bool,
) -> (Option<(PathBuf, File)>, bool) {
    let mut is_moving = false;
    let Ok(entries) = fs::read_dir(dir) else { return (None, false) };
    for entry in entries.flatten().take(FILES_MAX) {
        let path = entry.path();
        let Ok(metadata) = fs::metadata(&path) else {
            is_moving |= fs::symlink_metadata(&path).is_err();
            continue;
        };
        if metadata.is_file() && is_wanted(&path, &metadata) {
            match open_same(&path, Identity::of(&metadata)) {
                Some(file) => return (Some((path, file)), false),
                None => is_moving = true,
            }
        }
    }
    (None, is_moving)
}

/// When a folder was changed last.
fn changed(dir: &Path) -> Option<i128> {
    fs::metadata(dir).ok().map(|metadata| Look::of(&metadata).modified_ns)
}

/// What a rotation puts between a name and what it adds.
const SEPARATORS: [char; 3] = ['.', '-', '_'];
/// How often open files are looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(25);
/// How often paths are looked at.
const SCAN_INTERVAL: Duration = Duration::from_millis(250);
/// Looking at many paths takes at most this part of the time, as 1 in so many.
const SCAN_REST: u32 = 20;
/// Files of one input.
const FILES_MAX: usize = 1 << 20;
/// Files that are kept open.
const OPEN_MAX: usize = 512;
/// How long a file was not written before its descriptor may go to others.
const CLOSE_IDLE: Duration = Duration::from_secs(2);
/// Listings of a folder at most whose files get other names meanwhile.
const LISTINGS_MAX: usize = 5;
/// Bytes of a file that tell how it is written.
const SNIFF_BYTES: usize = 64 << 10;
