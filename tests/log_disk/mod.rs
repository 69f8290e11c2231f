//! Disks for tests: one that records every change, to build what a power loss would have left of
//! it; one that refuses on request; one that does not wait.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use shrike::event::Offset;
use shrike::log::{Disk, LogFile, LogIo, Waker};

/// A seeded generator (xorshift64*): a printed seed replays.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 11) % end
    }
}

/// One change, as the log asked for it.
#[derive(Clone, Debug)]
enum Change {
    Create {
        ino: u64,
        path: PathBuf,
        bytes: u64,
    },
    Write {
        ino: u64,
        at: u64,
        bytes: Vec<u8>,
    },
    Truncate {
        ino: u64,
        bytes: u64,
    },
    /// Ended; all writes before change number `begun` are safe.
    Sync {
        ino: u64,
        begun: usize,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Unlink {
        path: PathBuf,
    },
    SyncDir {
        dir: PathBuf,
        begun: usize,
    },
    /// A sync that was only pretended.
    Lie,
}

/// A change, and what the control pages of all logs held when it had been made.
#[derive(Clone)]
struct Step {
    change: Change,
    /// By directory.
    control: BTreeMap<PathBuf, Vec<u8>>,
}

/// A sync that the disk pretends to have made.
pub(crate) type Lie = fn(&Path) -> bool;

/// A real disk that remembers what was asked of it, in order.
pub(crate) struct Recorder {
    dir: PathBuf,
    boot: [u8; 16],
    /// What it only pretends to sync: files, and directories.
    lie: Option<Lie>,
    /// Directories with a control page.
    logs: Mutex<BTreeSet<PathBuf>>,
    /// How many of the steps only tell what was there before.
    begin: usize,
    steps: Mutex<Vec<Step>>,
    /// The file behind an inode number; numbers are used again after an unlink, files are not.
    files: Mutex<HashMap<u64, u64>>,
    /// Files so far: two threads make some at the same time.
    made: AtomicU64,
}

/// What was promised at some moment of the recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Promised {
    pub(crate) written: u64,
    pub(crate) durable: u64,
    pub(crate) oldest: u64,
}

impl Recorder {
    /// Starts with what is in the directory, all of it safe.
    pub(crate) fn new(dir: &Path, boot: u8) -> Arc<Self> {
        Self::start(dir, boot, None, |_| true)
    }

    /// The same, but the disk does not sync everything that it says it has.
    pub(crate) fn lying(dir: &Path, boot: u8, lie: Option<Lie>) -> Arc<Self> {
        Self::start(dir, boot, lie, |_| true)
    }

    /// Starts with what a killed process left: its segments are in the page cache only.
    pub(crate) fn after_kill(dir: &Path, boot: u8) -> Arc<Self> {
        Self::start(dir, boot, None, |path| path.extension().is_none_or(|it| it != "log"))
    }

    /// The same after a sync that failed: the kernel has kept the bytes in the page cache and
    /// forgotten that the disk lacks them, so that no later sync writes them.
    pub(crate) fn after_failed_sync(dir: &Path, boot: u8) -> Arc<Self> {
        let mut recorder = Self::after_kill(dir, boot);
        let this = Arc::get_mut(&mut recorder).expect("just made");
        let steps = this.steps.get_mut().expect("no panic while recording");
        let is_segment = |change: &Change| match change {
            Change::Create { path, .. } => path.extension().is_some_and(|it| it == "log"),
            _ => false,
        };
        let segments: BTreeSet<u64> = steps
            .iter()
            .filter(|step| is_segment(&step.change))
            .filter_map(|step| match step.change {
                Change::Create { ino, .. } => Some(ino),
                _ => None,
            })
            .collect();
        for step in steps {
            if let Change::Write { ino, bytes, .. } = &mut step.change
                && segments.contains(ino)
            {
                bytes.clear();
            }
        }
        recorder
    }

    fn start(dir: &Path, boot: u8, lie: Option<Lie>, is_safe: impl Fn(&Path) -> bool) -> Arc<Self> {
        let mut recorder = Self {
            begin: 0,
            dir: dir.to_path_buf(),
            boot: [boot; 16],
            lie,
            logs: Mutex::default(),
            steps: Mutex::default(),
            files: Mutex::default(),
            made: AtomicU64::new(0),
        };
        let mut dirs = vec![dir.to_path_buf()];
        while let Some(dir) = dirs.pop() {
            let entries = fs::read_dir(&dir).into_iter().flatten();
            let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
            // As the file system lists them is not as a seed repeats them.
            paths.sort_unstable();
            for path in paths {
                if path.is_dir() {
                    dirs.push(path);
                    continue;
                }
                let is_synced = is_safe(&path);
                let ino = recorder.note_existing(path);
                if is_synced {
                    let begun = recorder.len();
                    recorder.note(Change::Sync { ino, begun });
                }
            }
            let begun = recorder.len();
            recorder.note(Change::SyncDir { dir, begun });
        }
        recorder.begin = recorder.len();
        Arc::new(recorder)
    }

    /// How many changes there were so far.
    pub(crate) fn len(&self) -> usize {
        self.steps().len()
    }

    /// Whether the names of a directory were made durable since the recording began.
    pub(crate) fn has_synced(&self, of: &Path) -> bool {
        let is_it = |step: &Step| matches!(&step.change, Change::SyncDir { dir, .. } if dir == of);
        self.steps()[self.begin..].iter().any(is_it)
    }

    /// Any moment of the recording, as a number of changes.
    pub(crate) fn any_moment(&self, random: &mut Random) -> usize {
        self.begin + random.below((self.len() - self.begin) as u64 + 1) as usize
    }

    /// What readers of the log in a directory below had been promised when the first `count`
    /// changes had been made.
    pub(crate) fn promised(&self, log: &str, count: usize) -> Promised {
        let dir = self.dir.join(log);
        let steps = self.steps();
        let number = |page: &[u8], at: usize| match page.get(at..at + 8) {
            Some(bytes) => u64::from_le_bytes(bytes.try_into().expect("eight bytes")),
            None => 0,
        };
        let pages = steps[..count].iter().filter_map(|step| step.control.get(&dir));
        Promised {
            written: pages.clone().map(|page| number(page, 16)).max().unwrap_or(0),
            durable: pages.clone().map(|page| number(page, 24)).max().unwrap_or(0),
            oldest: pages.map(|page| number(page, 32)).max().unwrap_or(0),
        }
    }

    /// Builds what is found after the power went when `count` changes had been made.
    pub(crate) fn power_loss(&self, count: usize, into: &Path, random: &mut Random) {
        let steps = self.steps();
        let steps = &steps[..count];
        // Between nothing and everything of what was not synced reached the disk.
        let odds = [0, 15, 50, 85, 100][random.below(5) as usize];
        let names = names_after(steps, &|random| random.below(100) < odds, random);
        for (path, ino) in names {
            let image = self.image(into, &path);
            let is_control = path.file_name().is_some_and(|name| name == "control");
            match control_after(steps, &path, ino, random).filter(|_| is_control) {
                Some(page) => put(&image, 0, &page),
                None => content_after(steps, ino, odds, &image, random),
            }
        }
    }

    /// Builds what is found after the process alone went: every change is there, the last write
    /// perhaps in part.
    pub(crate) fn process_loss(&self, count: usize, into: &Path, random: &mut Random) {
        let steps = self.steps();
        let steps = &steps[..count];
        let names = names_after(steps, &|_| true, random);
        for (path, ino) in names {
            let image = self.image(into, &path);
            for (number, step) in steps.iter().enumerate() {
                match &step.change {
                    Change::Create { ino: of, bytes, .. } | Change::Truncate { ino: of, bytes }
                        if *of == ino =>
                    {
                        image.set_len(*bytes).expect("its length");
                    }
                    Change::Write { ino: of, at, bytes } if *of == ino => {
                        let is_last = number + 1 == steps.len();
                        let len = if is_last {
                            random.below(bytes.len() as u64 + 1) as usize
                        } else {
                            bytes.len()
                        };
                        put(&image, *at, &bytes[..len]);
                    }
                    _ => {}
                }
            }
            if path.file_name().is_some_and(|name| name == "control")
                && let Some(page) = path.parent().and_then(|dir| steps.last()?.control.get(dir))
            {
                put(&image, 0, page);
            }
        }
    }

    /// A file of an image.
    fn image(&self, into: &Path, path: &Path) -> File {
        let path = into.join(path.strip_prefix(&self.dir).expect("below the recorder's directory"));
        fs::create_dir_all(path.parent().expect("a file has one")).expect("a directory");
        File::create(&path).expect("a file")
    }

    fn note_existing(&self, path: PathBuf) -> u64 {
        let file = LogFile::open(&path).expect("readable");
        let bytes = fs::read(&path).expect("readable");
        let ino = self.new_file(&file);
        self.note(Change::Create { ino, path, bytes: bytes.len() as u64 });
        // Holes stay holes: an image is made thousands of times.
        let is_hole = |sector: &[u8]| sector == &[0; SECTOR_BYTES as usize][..sector.len()];
        let sectors: Vec<_> = bytes.chunks(SECTOR_BYTES as usize).collect();
        let mut at = 0;
        for run in sectors.chunk_by(|a, b| is_hole(a) == is_hole(b)) {
            let bytes = run.concat();
            let next = at + bytes.len() as u64;
            if !is_hole(run[0]) {
                self.note(Change::Write { ino, at, bytes });
            }
            at = next;
        }
        ino
    }

    fn new_file(&self, file: &LogFile) -> u64 {
        let mut files = self.files.lock().expect("no panic while recording");
        let id = self.made.fetch_add(1, Ordering::Relaxed);
        files.insert(file.file.metadata().expect("open").ino(), id);
        id
    }

    fn file(&self, file: &LogFile) -> u64 {
        let files = self.files.lock().expect("no panic while recording");
        files[&file.file.metadata().expect("open").ino()]
    }

    fn steps(&self) -> MutexGuard<'_, Vec<Step>> {
        self.steps.lock().expect("no panic while recording")
    }

    fn note(&self, change: Change) {
        let mut steps = self.steps();
        let mut logs = self.logs.lock().expect("no panic while recording");
        if let Change::Create { path, .. } | Change::Rename { to: path, .. } = &change
            && path.file_name().is_some_and(|name| name == "control")
        {
            logs.extend(path.parent().map(Path::to_path_buf));
        }
        // A rename over the page may be under way: nothing to remember yet.
        let page = |dir: &PathBuf| Some((dir.clone(), fs::read(dir.join("control")).ok()?));
        let control = logs.iter().filter_map(page).collect();
        steps.push(Step { change, control });
    }

    fn lies(&self, path: &Path) -> bool {
        self.lie.is_some_and(|lie| lie(path.strip_prefix(&self.dir).unwrap_or(path)))
    }
}

impl LogIo for Recorder {
    fn create(&self, path: &Path, bytes: u64) -> io::Result<LogFile> {
        let file = Disk.create(path, bytes)?;
        let ino = self.new_file(&file);
        self.note(Change::Create { ino, path: path.to_path_buf(), bytes });
        Ok(file)
    }

    fn write(&self, file: &LogFile, at: u64, bytes: &[u8]) -> io::Result<()> {
        let ino = self.file(file);
        Disk.write(file, at, bytes)?;
        self.note(Change::Write { ino, at, bytes: bytes.to_vec() });
        Ok(())
    }

    fn truncate(&self, file: &LogFile, bytes: u64) -> io::Result<()> {
        let ino = self.file(file);
        Disk.truncate(file, bytes)?;
        self.note(Change::Truncate { ino, bytes });
        Ok(())
    }

    fn sync(&self, file: &LogFile) -> io::Result<()> {
        let (ino, begun) = (self.file(file), self.len());
        let is_lie = self.lies(&file.path);
        self.note(if is_lie { Change::Lie } else { Change::Sync { ino, begun } });
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Disk.rename(from, to)?;
        self.note(Change::Rename { from: from.to_path_buf(), to: to.to_path_buf() });
        Ok(())
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        Disk.unlink(path)?;
        self.note(Change::Unlink { path: path.to_path_buf() });
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let begun = self.len();
        let dir = dir.to_path_buf();
        let is_lie = self.lies(&dir);
        self.note(if is_lie { Change::Lie } else { Change::SyncDir { dir, begun } });
        Ok(())
    }

    fn boot(&self) -> Option<[u8; 16]> {
        Some(self.boot)
    }

    fn allows_ring(&self) -> bool {
        false
    }
}

/// Which names are there, and what they name.
fn names_after(
    steps: &[Step],
    survives: &dyn Fn(&mut Random) -> bool,
    random: &mut Random,
) -> BTreeMap<PathBuf, u64> {
    let safe_until = |path: &Path| {
        steps.iter().rev().find_map(|step| match &step.change {
            Change::SyncDir { dir, begun } if Some(dir.as_path()) == path.parent() => Some(*begun),
            _ => None,
        })
    };
    let mut names: BTreeMap<PathBuf, u64> = BTreeMap::new();
    let mut drafts: BTreeMap<PathBuf, u64> = BTreeMap::new();
    for (number, step) in steps.iter().enumerate() {
        let path = match &step.change {
            Change::Create { path, .. } | Change::Unlink { path } => path,
            Change::Rename { to, .. } => to,
            _ => continue,
        };
        let is_safe = safe_until(path).is_some_and(|until| number < until) || survives(random);
        match &step.change {
            Change::Create { ino, path, .. } => {
                drafts.insert(path.clone(), *ino);
                // Not beside a file whose move away is lost.
                if is_safe && !names.contains_key(path) {
                    names.insert(path.clone(), *ino);
                }
            }
            Change::Unlink { path } if is_safe => {
                names.remove(path);
            }
            Change::Rename { from, to } if is_safe => {
                names.remove(from);
                names.insert(to.clone(), drafts[from]);
            }
            _ => {}
        }
    }
    names
}

/// What a file holds: all that was synced, and any part of the rest, sector by sector.
fn content_after(steps: &[Step], ino: u64, odds: u64, image: &File, random: &mut Random) {
    let safe_until = steps.iter().rev().find_map(|step| match step.change {
        Change::Sync { ino: of, begun } if of == ino => Some(begun),
        _ => None,
    });
    for (number, step) in steps.iter().enumerate() {
        let is_safe = safe_until.is_some_and(|until| number < until);
        match &step.change {
            Change::Create { ino: of, bytes, .. } | Change::Truncate { ino: of, bytes }
                if *of == ino && (is_safe || random.below(100) < odds) =>
            {
                image.set_len(*bytes).expect("its length");
            }
            Change::Write { ino: of, at, bytes } if *of == ino && is_safe => {
                put(image, *at, bytes);
            }
            Change::Write { ino: of, at, bytes } if *of == ino => {
                let mut done = 0;
                while done < bytes.len() {
                    let position = at + done as u64;
                    let room = SECTOR_BYTES - (position % SECTOR_BYTES);
                    let len = (bytes.len() - done).min(room as usize);
                    if random.below(100) < odds {
                        put(image, position, &bytes[done..done + len]);
                    }
                    done += len;
                }
            }
            _ => {}
        }
    }
}

/// The control page is written back whenever the kernel likes: any state since its last sync,
/// often the oldest or the newest.
fn control_after(steps: &[Step], path: &Path, ino: u64, random: &mut Random) -> Option<Vec<u8>> {
    let dir = path.parent()?;
    let mut begin = None;
    for (number, step) in steps.iter().enumerate() {
        let has_page = step.control.contains_key(dir);
        match &step.change {
            Change::Sync { ino: of, .. } if *of == ino && has_page => begin = Some(number),
            Change::Rename { to, .. } if to == path && begin.is_none() && has_page => {
                begin = Some(number);
            }
            _ => {}
        }
    }
    let begin = begin?;
    let last = steps.len() - 1;
    let chosen = match random.below(4) {
        0 => begin,
        1 => last,
        _ => begin + random.below((last - begin) as u64 + 1) as usize,
    };
    steps[chosen].control.get(dir).cloned()
}

fn put(image: &File, at: u64, bytes: &[u8]) {
    image.write_all_at(bytes, at).expect("its bytes");
}

/// What a disk writes whole.
const SECTOR_BYTES: u64 = 512;

/// Waits until everything up to and with the record at `offset` can be read.
pub(crate) fn wait_written(waker: &Waker, offset: Offset) {
    while !waker.arm(offset) {
        let mut fds = [PollFd::new(waker, PollFlags::IN)];
        let patience = Timespec { tv_sec: 30, tv_nsec: 0 };
        assert_eq!(poll(&mut fds, Some(&patience)).expect("poll"), 1, "written within 30 s");
        waker.clear();
    }
}
