//! A transport that appends bodies to a file, and begins a new one by size and by time.
//!
//! A body counts as taken once it is on the disk. What a failed write left is taken back, and what
//! a crash left ends its file, so that no line and no compressed frame is glued to half of one.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::HeaderMap;
use rustix::fs::{FlockOperation, RenameFlags, flock};
use rustix::io::Errno;
use time::OffsetDateTime;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::errand::errand;
use super::tls::io_words;
use super::{Answer, Applied, Options, Request, Transport, TransportError, TransportErrorKind};

/// Which file is written, and when the next one begins.
#[derive(Clone, Debug)]
pub struct FileSettings {
    /// The file that grows.
    pub path: PathBuf,
    /// Bytes at which it ends; one body may be larger.
    pub bytes_max: u64,
    /// Seconds of one file, in windows since 1970; 0 for no limit.
    pub window_secs: u64,
    /// Ended files that are kept, 0 for all.
    pub kept: usize,
    /// Whether what a stopped process left may be continued; a compressed end tells nothing.
    pub is_plain: bool,
}

impl FileSettings {
    /// The settings that the options name: `path`, `rotate.bytes`, `rotate.interval_secs` and
    /// `rotate.keep`.
    #[must_use]
    pub fn of(options: &Options, is_plain: bool) -> Self {
        let number = |key: &str| options.number(key).unwrap_or(0);
        Self {
            path: PathBuf::from(options.text("path").unwrap_or_default()),
            bytes_max: number("rotate.bytes"),
            window_secs: number("rotate.interval_secs"),
            kept: usize::try_from(number("rotate.keep")).unwrap_or(usize::MAX),
            is_plain,
        }
    }
}

/// Appends bodies to files; those of one exporter, one after the other.
#[derive(Clone, Debug)]
pub struct Files(Arc<Mutex<Writer>>);

#[derive(Debug)]
struct Writer {
    settings: FileSettings,
    open: Option<Open>,
}

/// The file that grows.
#[derive(Debug)]
struct Open {
    file: File,
    bytes: u64,
    window: u64,
}

impl Files {
    /// Opens nothing yet.
    #[must_use]
    pub fn new(settings: FileSettings) -> Self {
        Self(Arc::new(Mutex::new(Writer { settings, open: None })))
    }
}

impl Transport for Files {
    /// Waits for the write before, also where nobody else does any more: it may hang with the disk.
    async fn send(&self, request: Request) -> Result<Answer, TransportError> {
        let deadline = Instant::now() + request.timeout;
        let waiting = timeout_at(deadline, Arc::clone(&self.0).lock_owned()).await;
        let mut writer = waiting.map_err(|_| too_slow(Applied::No, request.timeout))?;
        let write = errand("shrike-file", move || writer.append(&request.body, now_secs()));
        match timeout_at(deadline, write).await {
            Ok(Ok(Ok(()))) => {
                Ok(Answer { status: 200, headers: HeaderMap::new(), body: Bytes::new() })
            }
            Ok(Ok(Err(failed))) => Err(failed),
            Ok(Err(error)) => Err(failed(Applied::Maybe, &error)),
            Err(_) => Err(too_slow(Applied::Maybe, request.timeout)),
        }
    }
}

impl Writer {
    /// Appends a body and waits until the disk has it.
    fn append(&mut self, body: &[u8], now_secs: u64) -> Result<(), TransportError> {
        let unapplied = |error: io::Error| failed(Applied::No, &error);
        self.look();
        if self.open.is_none() {
            self.open = Some(self.begin(now_secs).map_err(unapplied)?);
        }
        if self.open.as_ref().is_some_and(|open| self.ends_before(open, body.len(), now_secs)) {
            self.end().map_err(unapplied)?;
            self.open = Some(self.begin(now_secs).map_err(unapplied)?);
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        if let Err(error) = open.file.write_all(body) {
            let is_whole = open.file.set_len(open.bytes).is_ok();
            // What could not be taken back ends its file.
            if !is_whole {
                self.open = None;
                return Err(failed(Applied::Maybe, &error));
            }
            return Err(unapplied(error));
        }
        open.bytes += body.len() as u64;
        if let Err(error) = open.file.sync_data() {
            // The kernel forgets what it could not write, so this file is not asked again.
            let _ = self.end();
            return Err(failed(Applied::Maybe, &error));
        }
        Ok(())
    }

    /// Looks whether the file that grows is still the one of that name: what others moved or
    /// removed is theirs, and what they cut is as long as they left it.
    fn look(&mut self) {
        let path = &self.settings.path;
        let Some(open) = &mut self.open else { return };
        let same = open.file.metadata().ok().zip(fs::metadata(path).ok());
        match same.filter(|(ours, named)| (ours.dev(), ours.ino()) == (named.dev(), named.ino())) {
            Some((ours, _)) => open.bytes = ours.len(),
            None => {
                let path = path.display();
                tracing::info!(%path, "the file was moved or removed; a new one begins");
                self.open = None;
            }
        }
    }

    /// Whether the file is over before this body.
    fn ends_before(&self, open: &Open, body: usize, now_secs: u64) -> bool {
        let FileSettings { bytes_max, .. } = self.settings;
        let is_full = bytes_max > 0 && open.bytes + body as u64 > bytes_max;
        open.bytes > 0 && (is_full || open.window != self.window(now_secs))
    }

    /// Opens the file, or begins it anew where its end cannot be trusted.
    fn begin(&self, now_secs: u64) -> io::Result<Open> {
        let path = &self.settings.path;
        let mut file = open(path)?;
        let (mut bytes, mut window) = (file.metadata()?.len(), self.window(now_secs));
        if bytes > 0 {
            let written = file.metadata()?.modified()?.duration_since(UNIX_EPOCH);
            window = self.window(written.map_or(now_secs, |since| since.as_secs()));
            if !(self.settings.is_plain && ends_with_lf(&mut file)?) {
                self.put_aside()?;
                file = open(path)?;
                (bytes, window) = (0, self.window(now_secs));
            }
        }
        sync_folder(path)?;
        Ok(Open { file, bytes, window })
    }

    /// Gives the file its last name. Its lock keeps others from it until then.
    fn end(&mut self) -> io::Result<()> {
        let ended = self.open.take();
        self.put_aside()?;
        drop(ended);
        sync_folder(&self.settings.path)?;
        self.remove_oldest()
    }

    fn put_aside(&self) -> io::Result<()> {
        let path = &self.settings.path;
        for _ in 0..TRIES_MAX {
            match rename_new(path, &aside(path, OffsetDateTime::now_utc())) {
                Ok(()) => return Ok(()),
                // Somebody else moved or removed it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                // Another file ended in this microsecond.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("every name for an ended file is taken"))
    }

    /// Removes ended files beyond those that are kept, by their names oldest first.
    fn remove_oldest(&self) -> io::Result<()> {
        let FileSettings { path, kept, .. } = &self.settings;
        if *kept == 0 {
            return Ok(());
        }
        let mut ended: Vec<PathBuf> = fs::read_dir(folder(path))?
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|other| is_ended(path, other))
            .collect();
        ended.sort();
        for old in ended.iter().take(ended.len().saturating_sub(*kept)) {
            fs::remove_file(old)?;
        }
        Ok(())
    }

    fn window(&self, secs: u64) -> u64 {
        secs.checked_div(self.settings.window_secs).unwrap_or(0)
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options.read(true).append(true).create(true).mode(0o600).open(path)?;
    // Two writers would cut into each other's lines.
    flock(&file, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| io::Error::other("another exporter or process writes this file"))?;
    Ok(file)
}

/// Gives a file a name that no other has.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    let dir = rustix::fs::CWD;
    match rustix::fs::renameat_with(dir, from, dir, to, RenameFlags::NOREPLACE) {
        // renameat2(2): "The filesystem does not support one of the flags", as NFS.
        Err(Errno::INVAL | Errno::NOSYS) => rename_checked(from, to),
        renamed => Ok(renamed?),
    }
}

/// The same where the system cannot look and rename at once. Names of ended files are ours, and
/// whoever ends one holds its lock.
fn rename_checked(from: &Path, to: &Path) -> io::Result<()> {
    match fs::symlink_metadata(to) {
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(from, to),
    }
}

fn ends_with_lf(file: &mut File) -> io::Result<bool> {
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// Makes names durable: a file that a crash forgets was not written.
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder(path))?.sync_all()
}

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// The name of an ended file: `events.ndjson` becomes `events-20260206T090000.123456Z.ndjson`.
fn aside(path: &Path, now: OffsetDateTime) -> PathBuf {
    let (date, (hour, minute, second, micro)) = (now.date(), now.time().as_hms_micro());
    let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
    let (mut name, ends) = parts(path);
    name.push(format!("-{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}.{micro:06}Z"));
    name.push(ends);
    path.with_file_name(name)
}

/// Whether this is the name of a file that ended.
fn is_ended(path: &Path, other: &Path) -> bool {
    let (stem, ends) = parts(path);
    let name = other.file_name().unwrap_or_default().as_encoded_bytes();
    let middle = name
        .strip_prefix(stem.as_encoded_bytes())
        .and_then(|rest| rest.strip_suffix(ends.as_encoded_bytes()));
    let shape = |byte: &u8| if byte.is_ascii_digit() { b'0' } else { *byte };
    middle.is_some_and(|middle| middle.iter().map(shape).eq(*b"-00000000T000000.000000Z"))
}

/// The name up to its first dot, and the rest.
fn parts(path: &Path) -> (OsString, OsString) {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let dot =
        name.char_indices().skip(1).find(|&(_, char)| char == '.').map_or(name.len(), |it| it.0);
    (OsString::from(&name[..dot]), OsString::from(&name[dot..]))
}

fn failed(applied: Applied, error: &io::Error) -> TransportError {
    let detail = match error.raw_os_error() {
        Some(_) => io_words(error),
        None => error.to_string(),
    };
    TransportError { kind: TransportErrorKind::Network, applied, detail }
}

fn too_slow(applied: Applied, limit: Duration) -> TransportError {
    let detail = format!("the disk has not taken what was written within {} ms", limit.as_millis());
    TransportError { kind: TransportErrorKind::Timeout, applied, detail }
}

fn now_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

/// Names that are tried for an ended file, each with a later time.
const TRIES_MAX: u32 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(dir: &Path, settings: impl FnOnce(&mut FileSettings)) -> Writer {
        let mut it = FileSettings {
            path: dir.join("events.ndjson"),
            bytes_max: 0,
            window_secs: 0,
            kept: 0,
            is_plain: true,
        };
        settings(&mut it);
        Writer { settings: it, open: None }
    }

    /// Every file's text, ended ones first.
    fn files(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).expect("it is ours");
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
        paths.sort();
        paths.iter().map(|path| fs::read_to_string(path).expect("text")).collect()
    }

    #[test]
    fn files_end_by_size_and_by_time() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut by_size = writer(dir.path(), |it| it.bytes_max = 5);
        for body in ["a\n", "b\n", "c\n", "a long one\n", "d\n"] {
            by_size.append(body.as_bytes(), 0).expect("there is room");
        }
        assert_eq!(files(dir.path()), ["a\nb\n", "c\n", "a long one\n", "d\n"]);
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut by_time = writer(dir.path(), |it| it.window_secs = 60);
        for (body, now) in [("a\n", 59), ("b\n", 60), ("c\n", 119), ("d\n", 300)] {
            by_time.append(body.as_bytes(), now).expect("there is room");
        }
        assert_eq!(files(dir.path()), ["a\n", "b\nc\n", "d\n"]);
    }

    #[test]
    fn only_ended_files_of_ours_are_removed() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let others = ["events-1.ndjson", "events-20260206T090000.123456Z.ndjson.bak", "x.ndjson"];
        others.iter().for_each(|name| fs::write(dir.path().join(name), "theirs").expect("ours"));
        let mut writer = writer(dir.path(), |it| (it.bytes_max, it.kept) = (1, 2));
        for body in ["a\n", "b\n", "c\n", "d\n", "e\n"] {
            writer.append(body.as_bytes(), 0).expect("there is room");
        }
        let left = files(dir.path());
        let ours: Vec<_> = left.iter().filter(|text| *text != "theirs").collect();
        assert_eq!((ours.len(), left.len()), (3, 6), "{left:?}");
        assert!(["c\n", "d\n", "e\n"].iter().all(|text| left.iter().any(|it| it == text)));
    }

    #[test]
    fn half_a_line_is_never_continued() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("events.ndjson");
        fs::write(&path, "whole\n").expect("ours");
        writer(dir.path(), |_| ()).append(b"more\n", now_secs()).expect("there is room");
        assert_eq!(files(dir.path()), ["whole\nmore\n"]);
        fs::write(&path, "whole\nha").expect("ours");
        writer(dir.path(), |_| ()).append(b"more\n", now_secs()).expect("there is room");
        assert_eq!(files(dir.path()), ["whole\nha", "more\n"]);
        writer(dir.path(), |it| it.is_plain = false).append(b"zst", 0).expect("there is room");
        assert_eq!(files(dir.path()), ["whole\nha", "more\n", "zst"]);
    }

    #[test]
    fn a_file_that_was_moved_or_removed_begins_anew() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("events.ndjson");
        let mut writer = writer(dir.path(), |it| it.bytes_max = 5);
        writer.append(b"a\n", 0).expect("there is room");
        fs::rename(&path, dir.path().join("a.moved")).expect("ours");
        writer.append(b"b\n", 0).expect("there is room");
        assert_eq!(files(dir.path()), ["a\n", "b\n"]);
        fs::remove_file(&path).expect("ours");
        writer.append(b"c\n", 0).expect("there is room");
        writer.append(b"d\n", 0).expect("there is room");
        assert_eq!(files(dir.path()), ["a\n", "c\nd\n"]);
        // What another program began under the name is continued as a file of ours would be.
        fs::rename(&path, dir.path().join("b.moved")).expect("ours");
        fs::write(&path, "e\n").expect("ours");
        writer.append(b"f\n", 0).expect("there is room");
        writer.append(b"g\n", 0).expect("there is room");
        assert_eq!(files(dir.path()), ["a\n", "c\nd\n", "e\nf\n", "g\n"]);
        // In the moment of its end as well.
        fs::remove_file(&path).expect("ours");
        writer.end().expect("it is gone already");
        writer.append(b"h\n", 0).expect("there is room");
        assert_eq!(fs::read_to_string(&path).expect("text"), "h\n");
    }

    #[test]
    fn a_file_that_was_cut_keeps_its_size_in_mind() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("events.ndjson");
        let mut writer = writer(dir.path(), |it| it.bytes_max = 5);
        writer.append(b"a\nb\n", 0).expect("there is room");
        fs::write(&path, "").expect("ours");
        writer.append(b"c\n", 0).expect("there is room");
        writer.append(b"d\n", 0).expect("there is room");
        assert_eq!(files(dir.path()), ["c\nd\n"]);
    }

    #[test]
    fn an_ended_file_replaces_no_other() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        for rename in [rename_new, rename_checked] {
            fs::write(&from, "new").expect("ours");
            fs::write(&to, "old").expect("ours");
            let error = rename(&from, &to).expect_err("it is taken");
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
            assert_eq!(files(dir.path()), ["new", "old"]);
            fs::remove_file(&to).expect("ours");
            rename(&from, &to).expect("it is free");
            assert_eq!(files(dir.path()), ["new"]);
            fs::remove_file(&to).expect("ours");
            let error = rename(&from, &to).expect_err("there is none");
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
        }
    }

    #[test]
    fn a_file_has_one_writer() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (mut first, mut second) = (writer(dir.path(), |_| ()), writer(dir.path(), |_| ()));
        first.append(b"a\n", 0).expect("there is room");
        let refused = second.append(b"b\n", 0).expect_err("the first one holds it");
        assert!(refused.detail.contains("another exporter"), "{refused}");
        drop(first);
        second.append(b"b\n", 0).expect("it is free");
        assert_eq!(files(dir.path()), ["a\nb\n"]);
    }
}
