//! Disks for tests: one that records every change, to build what a power loss would have left of
//! it; one that refuses on request; one that does not wait.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
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
}

/// What the control page held when a change had been made.
#[derive(Clone)]
struct Step {
    change: Change,
    control: Vec<u8>,
}

/// A real disk that remembers what was asked of it, in order.
pub(crate) struct Recorder {
    dir: PathBuf,
    boot: [u8; 16],
    /// How many of the steps only tell what was there before.
    begin: usize,
    steps: Mutex<Vec<Step>>,
    /// The file behind an inode number; numbers are used again after an unlink, files are not.
    files: Mutex<HashMap<u64, u64>>,
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
        Self::start(dir, boot, |_| true)
    }

    /// Starts with what a killed process left: its segments are in the page cache only.
    #[allow(dead_code, reason = "shared with the tests of faults")]
    pub(crate) fn after_kill(dir: &Path, boot: u8) -> Arc<Self> {
        Self::start(dir, boot, |path| path.extension().is_none_or(|it| it != "log"))
    }

    fn start(dir: &Path, boot: u8, is_safe: impl Fn(&Path) -> bool) -> Arc<Self> {
        let mut recorder = Self {
            begin: 0,
            dir: dir.to_path_buf(),
            boot: [boot; 16],
            steps: Mutex::new(Vec::new()),
            files: Mutex::new(HashMap::new()),
        };
        for dir in [dir.to_path_buf(), dir.join("cursors")] {
            for entry in fs::read_dir(&dir).into_iter().flatten() {
                let path = entry.expect("an entry").path();
                if path.is_file() {
                    let is_synced = is_safe(&path);
                    let ino = recorder.note_existing(path);
                    if is_synced {
                        let begun = recorder.len();
                        recorder.note(Change::Sync { ino, begun });
                    }
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
    #[allow(dead_code, reason = "shared with the tests of faults")]
    pub(crate) fn has_synced(&self, of: &Path) -> bool {
        let is_it = |step: &Step| matches!(&step.change, Change::SyncDir { dir, .. } if dir == of);
        self.steps()[self.begin..].iter().any(is_it)
    }

    /// Any moment of the recording, as a number of changes.
    pub(crate) fn any_moment(&self, random: &mut Random) -> usize {
        self.begin + random.below((self.len() - self.begin) as u64 + 1) as usize
    }

    /// What readers had been promised when the first `count` changes had been made.
    pub(crate) fn promised(&self, count: usize) -> Promised {
        let steps = self.steps();
        let number = |page: &[u8], at: usize| match page.get(at..at + 8) {
            Some(bytes) => u64::from_le_bytes(bytes.try_into().expect("eight bytes")),
            None => 0,
        };
        let pages = steps[..count].iter().map(|step| &step.control);
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
            let bytes = content_after(steps, ino, odds, random);
            let bytes = match path.file_name().is_some_and(|name| name == "control") {
                true => control_after(steps, ino, random).unwrap_or(bytes),
                false => bytes,
            };
            write(into, &self.dir, &path, &bytes);
        }
    }

    /// Builds what is found after the process alone went: every change is there, the last write
    /// perhaps in part.
    pub(crate) fn process_loss(&self, count: usize, into: &Path, random: &mut Random) {
        let steps = self.steps();
        let steps = &steps[..count];
        let names = names_after(steps, &|_| true, random);
        for (path, ino) in names {
            let mut bytes = Vec::new();
            for (number, step) in steps.iter().enumerate() {
                match &step.change {
                    Change::Create { ino: of, bytes: len, .. } if *of == ino => {
                        bytes = vec![0; *len as usize];
                    }
                    Change::Write { ino: of, at, bytes: written } if *of == ino => {
                        let is_last = number + 1 == steps.len();
                        let len = if is_last {
                            random.below(written.len() as u64 + 1) as usize
                        } else {
                            written.len()
                        };
                        put(&mut bytes, *at, &written[..len]);
                    }
                    _ => {}
                }
            }
            if path.file_name().is_some_and(|name| name == "control")
                && let Some(last) = steps.last().filter(|step| !step.control.is_empty())
            {
                bytes.clone_from(&last.control);
            }
            write(into, &self.dir, &path, &bytes);
        }
    }

    fn note_existing(&self, path: PathBuf) -> u64 {
        let file = LogFile::open(&path).expect("readable");
        let bytes = fs::read(&path).expect("readable");
        let ino = self.new_file(&file);
        self.note(Change::Create { ino, path, bytes: bytes.len() as u64 });
        self.note(Change::Write { ino, at: 0, bytes });
        ino
    }

    fn new_file(&self, file: &LogFile) -> u64 {
        let mut files = self.files.lock().expect("no panic while recording");
        let id = self.len() as u64;
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
        // A rename over the page or its creation is under way: nothing to remember yet.
        let control = fs::read(self.dir.join("control")).unwrap_or_default();
        steps.push(Step { change, control });
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

    fn sync(&self, file: &LogFile) -> io::Result<()> {
        let (ino, begun) = (self.file(file), self.len());
        self.note(Change::Sync { ino, begun });
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
        self.note(Change::SyncDir { dir: dir.to_path_buf(), begun });
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
                if is_safe {
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
fn content_after(steps: &[Step], ino: u64, odds: u64, random: &mut Random) -> Vec<u8> {
    let safe_until = steps.iter().rev().find_map(|step| match step.change {
        Change::Sync { ino: of, begun } if of == ino => Some(begun),
        _ => None,
    });
    let mut content = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        let is_safe = safe_until.is_some_and(|until| number < until);
        match &step.change {
            Change::Create { ino: of, bytes, .. } if *of == ino => {
                let has_length = is_safe || random.below(100) < odds;
                content = vec![0; if has_length { *bytes as usize } else { 0 }];
            }
            Change::Write { ino: of, at, bytes } if *of == ino => {
                let mut done = 0;
                while done < bytes.len() {
                    let position = at + done as u64;
                    let room = SECTOR_BYTES - (position % SECTOR_BYTES);
                    let len = (bytes.len() - done).min(room as usize);
                    if is_safe || random.below(100) < odds {
                        put(&mut content, position, &bytes[done..done + len]);
                    }
                    done += len;
                }
            }
            _ => {}
        }
    }
    content
}

/// The control page is written back whenever the kernel likes: any state since its last sync.
fn control_after(steps: &[Step], ino: u64, random: &mut Random) -> Option<Vec<u8>> {
    let mut begin = None;
    for (number, step) in steps.iter().enumerate() {
        match step.change {
            Change::Sync { ino: of, .. } if of == ino && !step.control.is_empty() => {
                begin = Some(number);
            }
            Change::Rename { .. } if begin.is_none() && !step.control.is_empty() => {
                begin = Some(number);
            }
            _ => {}
        }
    }
    let begin = begin?;
    let chosen = begin + random.below((steps.len() - begin) as u64) as usize;
    Some(steps[chosen].control.clone())
}

fn put(content: &mut Vec<u8>, at: u64, bytes: &[u8]) {
    let (start, end) = (at as usize, at as usize + bytes.len());
    if content.len() < end {
        content.resize(end, 0);
    }
    content[start..end].copy_from_slice(bytes);
}

fn write(into: &Path, from: &Path, path: &Path, bytes: &[u8]) {
    let path = into.join(path.strip_prefix(from).expect("below the log's directory"));
    fs::create_dir_all(path.parent().expect("a file has one")).expect("a directory");
    let file = fs::File::create(&path).expect("a file");
    // Holes instead of zeros: an image is made thousands of times.
    file.set_len(bytes.len() as u64).expect("its length");
    for (index, chunk) in bytes.chunks(SECTOR_BYTES as usize).enumerate() {
        if chunk != &[0; SECTOR_BYTES as usize][..chunk.len()] {
            file.write_all_at(chunk, index as u64 * SECTOR_BYTES).expect("its bytes");
        }
    }
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
