//! Opening a log: after an orderly end, a crash of the process, or a power loss.
//!
//! Within one running of the kernel everything that was shown to readers is still there, so the log
//! goes on where it stopped. After a power loss only `durable` is promised: what was shown beyond
//! it may be gone, and its offsets must never be used again, so the log goes on in a new segment
//! above everything that was reserved.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::FlockOperation;

use crate::event::{Offset, Span};

use super::STRIPE_BYTES;
use super::control::{Control, Found};
use super::cursors::Cursors;
use super::engine::Prepared;
use super::error::LogError;
use super::frame::{HEAD_BYTES, HEADER_BYTES, Head, SEAL, VERSION, rest_header, stripe_end};
use super::holes;
use super::index::{self, State};
use super::io::{LogFile, LogIo};
use super::layout::Layout;
use super::prepare::{self, RESERVED_BYTES};
use super::scan::{Scan, scan};
use super::shared::{Name, Segment, index_path, list};
use super::writer::Active;

/// What opening found and did; one line for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// How the log had ended.
    pub ended: Ended,
    /// Where appending goes on.
    pub resumed: Offset,
    /// Bytes of a group that had been written in part, and are filler now.
    pub torn_bytes: u64,
    /// What had been shown to readers, and perhaps sent, but was lost with the power.
    pub lost: Option<Span>,
    /// Stripes whose index entry was missing or damaged, and was made again.
    pub rebuilt_stripes: u64,
    /// Stripes that hold a frame that cannot be read, among those looked at.
    pub damaged_stripes: u64,
    /// Bytes of segments whose files are gone, though retention did not take them.
    pub missing_bytes: u64,
}

/// How a log had ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// There was none.
    New,
    /// Closed in order.
    Closed,
    /// The process ended without closing it.
    Crashed,
    /// The machine went down while it was open.
    PowerLost,
    /// The control page was missing or damaged, so nobody knows.
    Unknown,
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.ended {
            Ended::New => "new log",
            Ended::Closed => "log closed in order",
            Ended::Crashed => "log left open by a process that ended",
            Ended::PowerLost => "log left open when the machine went down",
            Ended::Unknown => "log without its control page",
        })?;
        write!(f, ", goes on at {}", self.resumed)?;
        if self.torn_bytes > 0 {
            write!(f, ", {} torn bytes became filler", self.torn_bytes)?;
        }
        if let Some(lost) = self.lost {
            write!(
                f,
                ", {} bytes from {} on had been written, and are lost",
                lost.bytes(),
                lost.from
            )?;
        }
        if self.rebuilt_stripes > 0 {
            write!(f, ", index of {} stripes made again", self.rebuilt_stripes)?;
        }
        if self.damaged_stripes > 0 {
            write!(f, ", {} stripes are damaged", self.damaged_stripes)?;
        }
        if self.missing_bytes > 0 {
            write!(f, ", segments are missing: {} bytes", self.missing_bytes)?;
        }
        Ok(())
    }
}

/// An open log, before its writer runs.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) control: Control,
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) current: Active,
    pub(crate) next: Option<Active>,
    pub(crate) layout: Layout,
    pub(crate) recovery: Recovery,
}

/// Opens the log in `dir`, which the caller has locked.
pub(crate) fn open(dir: &Path, segment_bytes: u64, io: &dyn LogIo) -> Result<Opened, LogError> {
    let control = Control::open(dir)?;
    let found = control.as_ref().map(Control::found);
    // A checkpoint never passes `durable`: one beyond `written` has outlived the log, which was
    // deleted, or restored from an older copy.
    let shown = found.map_or(Offset::ZERO, |found| found.written).max(Cursors::look(dir).top());
    let durable = found.map_or(shown, |found| found.durable);
    let mut segments = holes::fill(dir, segments(dir, shown, io)?, durable);
    for segment in segments.iter().filter(|segment| segment.is_missing) {
        let (path, from, to) = (segment.path.display(), segment.base, segment.capacity_end());
        tracing::error!(%path, %from, %to, "a segment of the log is gone, and the events in it");
    }
    let ended = ended(found.as_ref(), &segments, io);
    let scan = scan(dir, &segments, found.as_ref(), io)?;
    // Beyond everything that any reader was ever shown.
    let above = segments.last().map_or(Offset::ZERO, |last| last.capacity_end());
    let above = found.map_or(above, |found| found.reserved.max(above)).max(shown);
    let above = Offset::new(above.bytes().next_multiple_of(STRIPE_BYTES));

    let is_whole = scan.end >= shown && !scan.sealed && !scan.is_cut && !scan.is_torn;
    let goes_on = is_whole && matches!(ended, Ended::Closed | Ended::Crashed) && scan.used > 0;
    make_durable(&segments[..scan.used], found.map(|found| found.durable), scan.end, io)?;
    let (current, next, layout, resumed) = match goes_on {
        true => resume(dir, segment_bytes, &mut segments, &scan, io)?,
        false => begin(dir, segment_bytes, &mut segments, &scan, above, io)?,
    };
    let missing = segments.iter().filter(|segment| segment.is_missing);
    let recovery = Recovery {
        ended,
        resumed,
        torn_bytes: scan.torn_bytes,
        lost: (scan.end < shown).then_some(Span { from: scan.end, to: shown }),
        rebuilt_stripes: scan.rebuilt,
        damaged_stripes: scan.damaged,
        missing_bytes: missing.map(|segment| segment.bytes).sum(),
    };
    let reserved = current.segment.capacity_end().bytes() + RESERVED_BYTES;
    let now = Found {
        written: resumed,
        durable: resumed,
        oldest: segments.first().map_or(resumed, |first| first.base),
        reserved: Offset::new(reserved).max(above),
        closed: None,
        boot: io.boot().unwrap_or_default(),
    };
    let control = match control {
        Some(control) => control.begin(now, io).map(|()| control)?,
        None => Control::create(dir, now, io)?,
    };
    Ok(Opened { control, segments, current, next, layout, recovery })
}

/// Makes the directory, for its owner only, and locks it; the file holds the lock while it lives.
pub(crate) fn lock(dir: &Path, io: &dyn LogIo) -> Result<File, LogError> {
    if !dir.exists() {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(dir).map_err(LogError::io("create", dir))?;
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            io.sync_dir(parent).map_err(LogError::io("sync", parent))?;
        }
    }
    lock_file(&dir.join("lock"))
}

/// Takes an exclusive lock that ends with the process, and writes who has it.
pub(crate) fn lock_file(path: &Path) -> Result<File, LogError> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(LogError::io("open", path))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut holder = String::new();
            // Only for the message: an unreadable holder is an unknown one.
            let _read = file.read_to_string(&mut holder);
            let holder = if holder.is_empty() { "unknown".into() } else { holder };
            return Err(LogError::Locked { path: path.to_path_buf(), holder });
        }
        Err(error) => return Err(LogError::io("lock", path)(error.into())),
    }
    // Over what is there, and cut off behind it: that needs no space on a full disk.
    let holder = std::process::id().to_string();
    file.write_all_at(holder.as_bytes(), 0).map_err(LogError::io("write", path))?;
    file.set_len(holder.len() as u64).map_err(LogError::io("write", path))?;
    Ok(file)
}

/// Leaves a segment alone that a newer shrike wrote.
pub(crate) fn refuse_newer(path: &Path, file: &File, base: Offset) -> Result<(), LogError> {
    let mut bytes = [0; HEAD_BYTES];
    // A head that cannot be read is damage like any other, or nothing was written yet.
    let read = file.read_exact_at(&mut bytes, 0);
    match read.ok().and_then(|()| Head::read(&bytes, base)) {
        Some(head) if head.version > VERSION => {
            let (path, found) = (path.to_path_buf(), head.version);
            Err(LogError::Version { path, found, known: VERSION })
        }
        _ => Ok(()),
    }
}

/// The segments that are there, their heads checked. `shown` is what readers were shown below.
fn segments(dir: &Path, shown: Offset, io: &dyn LogIo) -> Result<Vec<Arc<Segment>>, LogError> {
    let mut segments: Vec<Arc<Segment>> = Vec::new();
    let names = list(dir)?;
    for (index, &name) in names.iter().enumerate() {
        let segment = Segment::new(dir, name);
        let path = &segment.path;
        if name.bytes < STRIPE_BYTES {
            let is_last = index + 1 == names.len();
            if is_last && name.base >= shown {
                // Its making was cut short; nothing was ever written into it.
                io.unlink(path).map_err(LogError::io("remove", path))?;
            } else {
                let path = path.display();
                tracing::error!(%path, "a segment was cut off, and no index says what it held");
            }
            continue;
        }
        let file = File::open(path).map_err(LogError::io("open", path))?;
        refuse_newer(path, &file, name.base)?;
        if segments.last().is_some_and(|last| last.capacity_end() > name.base) {
            return Err(LogError::Damaged {
                path: path.clone(),
                expected: "offsets above those of the segment before it",
                advice: "move away the file that does not belong into this directory",
            });
        }
        segments.push(Arc::new(segment));
    }
    Ok(segments)
}

fn ended(found: Option<&Found>, segments: &[Arc<Segment>], io: &dyn LogIo) -> Ended {
    let Some(found) = found else {
        return if segments.is_empty() { Ended::New } else { Ended::Unknown };
    };
    if found.closed == Some(found.written) && found.durable == found.written {
        return Ended::Closed;
    }
    match io.boot() {
        Some(boot) if boot == found.boot => Ended::Crashed,
        _ => Ended::PowerLost,
    }
}

type Begun = (Active, Option<Active>, Layout, Offset);

/// Goes on right behind the last frame.
fn resume(
    dir: &Path,
    segment_bytes: u64,
    segments: &mut Vec<Arc<Segment>>,
    scan: &Scan,
    io: &dyn LogIo,
) -> Result<Begun, LogError> {
    let segment = Arc::clone(&segments[scan.used - 1]);
    let current = reopen(dir, segment, io)?;
    let next = match segments.get(scan.used) {
        // One of another length was made under other options; what is laid would not fit it.
        Some(spare)
            if spare.base == current.segment.capacity_end() && spare.bytes == segment_bytes =>
        {
            Some(reopen(dir, Arc::clone(spare), io)?)
        }
        _ => None,
    };
    let keep = scan.used + usize::from(next.is_some());
    remove_unused(dir, segments, keep, io)?;
    let mut layout = Layout::new(scan.end, current.segment.capacity_end(), segment_bytes);
    layout.stripe = scan.stripe;
    layout.spare = next.is_some();
    if scan.stripe.state == State::Continued {
        // The filler behind a long record was cut off; nothing else may follow it there.
        layout.fill();
    }
    // Torn bytes stay until they are overwritten: nobody reads beyond `written`.
    Ok((current, next, layout, scan.end))
}

/// Makes everything below `end` durable: what a process that ended left beyond `durable` is in the
/// page cache only, and not only in the last segment, which may have been begun just before.
///
/// It is written once more before it is synced. That process, or an opening before this one, may
/// have seen the sync fail; the kernel takes the bytes for clean then and would answer the next
/// sync with success. Without a control page nobody knows where they begin: all is synced.
fn make_durable(
    segments: &[Arc<Segment>],
    durable: Option<Offset>,
    end: Offset,
    io: &dyn LogIo,
) -> Result<(), LogError> {
    let trusted = durable.unwrap_or(Offset::ZERO);
    let is_wanted = |it: &&Arc<Segment>| it.capacity_end() > trusted && !it.is_missing;
    for segment in segments.iter().filter(is_wanted) {
        let error = |action| LogError::io(action, &segment.path);
        let file = LogFile::open(&segment.path).map_err(error("open"))?;
        if durable.is_some() {
            let (from, to) = (trusted.max(segment.base), end.min(segment.capacity_end()));
            write_again(segment, &file, Span { from, to }, io).map_err(error("write"))?;
        }
        io.sync(&file).map_err(error("sync"))?;
    }
    Ok(())
}

/// Writes a span of a segment to where it lies already, but for what cannot be read.
fn write_again(segment: &Segment, file: &LogFile, span: Span, io: &dyn LogIo) -> io::Result<()> {
    let mapping = segment.mapping()?;
    let mut at = span.from;
    while at < span.to {
        let next = stripe_end(at).min(span.to);
        let (from, to) = (segment.position(at), segment.position(next));
        let bytes = mapping.bytes()[from..to].to_vec();
        if !mapping.is_damaged(from, to - from) {
            io.write(file, from as u64, &bytes)?;
        }
        at = next;
    }
    Ok(())
}

/// Goes on in a new segment above all offsets that were ever shown.
fn begin(
    dir: &Path,
    segment_bytes: u64,
    segments: &mut Vec<Arc<Segment>>,
    scan: &Scan,
    above: Offset,
    io: &dyn LogIo,
) -> Result<Begun, LogError> {
    // Before the last one is sealed: what lies behind a torn place must not come back after it.
    remove_unused(dir, segments, scan.used, io)?;
    let last = segments.last().cloned();
    let before = last.as_ref().map_or(Offset::ZERO, |last| last.capacity_end());
    if let Some(last) = last {
        seal(&reopen(dir, last, io)?, scan, io)?;
    }
    let name = Name { base: above, bytes: segment_bytes };
    let prepared = prepare::create(dir, io, name).map_err(|refusal| LogError::Io {
        action: refusal.action,
        path: refusal.path,
        source: refusal.source,
    })?;
    let Prepared { name, file, index } = prepared;
    let segment = Arc::new(Segment::new(dir, name));
    segments.push(Arc::clone(&segment));
    let mut layout = Layout::new(above, above, segment_bytes);
    layout.jump(above, before);
    Ok((Active { segment, file, index }, None, layout, above))
}

/// Ends a segment at its last whole frame: what follows becomes filler.
fn seal(last: &Active, scan: &Scan, io: &dyn LogIo) -> Result<(), LogError> {
    let segment = &last.segment;
    let path = &segment.path;
    let mut end = scan.end;
    if stripe_end(end).bytes() - end.bytes() < HEADER_BYTES as u64 {
        // Too little room for a header: that rest is filler by itself.
        end = stripe_end(end);
    }
    if end < segment.capacity_end() {
        let position = end.bytes() - segment.base.bytes();
        let write = io.write(&last.file, position, &rest_header(SEAL, end));
        write.map_err(LogError::io("write", path))?;
        segment.seal(end);
    }
    write_index(last, io)?;
    io.sync(&last.file).map_err(LogError::io("sync", path))
}

/// Writes all entries of an index, those of unknown stripes as zeros, and makes them durable.
///
/// An entry below `durable` is believed without a look at the stripe, so none of what a lost
/// stripe held may come back with the next power loss.
pub(crate) fn write_index(active: &Active, io: &dyn LogIo) -> Result<(), LogError> {
    let segment = &active.segment;
    let bytes: Vec<u8> = (0..segment.stripes.len())
        .flat_map(|at| index::entry(segment.base, at, &segment.stripes.load(at)).1)
        .collect();
    let path = &active.index.path;
    io.write(&active.index, 0, &bytes).map_err(LogError::io("write", path))?;
    io.sync(&active.index).map_err(LogError::io("sync", path))
}

/// Opens the files of a segment for writing.
pub(crate) fn reopen(
    dir: &Path,
    segment: Arc<Segment>,
    io: &dyn LogIo,
) -> Result<Active, LogError> {
    let file = LogFile::open(&segment.path).map_err(LogError::io("open", &segment.path))?;
    let path = index_path(dir, segment.base);
    let index = index::create(&path, io).map_err(LogError::io("open", &path))?;
    Ok(Active { segment, file: Arc::new(file), index: Arc::new(index) })
}

/// Removes segments that were made ahead and hold nothing.
fn remove_unused(
    dir: &Path,
    segments: &mut Vec<Arc<Segment>>,
    keep: usize,
    io: &dyn LogIo,
) -> Result<(), LogError> {
    if segments.len() <= keep {
        return Ok(());
    }
    for segment in segments.drain(keep..) {
        remove(dir, &segment, io)?;
    }
    // A name that comes back after a power loss would lie below what is shown from now on.
    io.sync_dir(dir).map_err(LogError::io("sync", dir))
}

/// Removes a segment and its index.
pub(crate) fn remove(dir: &Path, segment: &Segment, io: &dyn LogIo) -> Result<(), LogError> {
    for path in [index_path(dir, segment.base), segment.path.clone()] {
        match io.unlink(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(LogError::io("remove", &path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_that_cannot_be_read_is_damage_and_refuses_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        // Reading a directory fails, as reading a bad sector does.
        let file = File::open(dir.path()).expect("opened");
        refuse_newer(dir.path(), &file, Offset::ZERO).expect("as any other damage");
    }
}
