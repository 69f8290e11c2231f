//! One file of another program, read while it is written (`inputs.md` 5.2).

mod document;

use std::collections::HashSet;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

pub(super) use self::document::behind as behind_document;
use super::door::DoorError;
use super::position::{PRINT_BYTES_MAX, Position, Print, modified_ns};
use super::shared::{Chunk, SharedDoor};
use super::stream::{Account, Stream};

/// How a program writes its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It only adds; the file is rotated by a new name, or copied and truncated.
    #[default]
    Append,
    /// It truncates and writes everything again for each event.
    Rewrite,
    /// It begins the file anew with each run.
    PerRun,
    /// It writes one document, an object or an array, over any number of lines.
    Document,
}

/// Which file this is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Identity {
    pub(super) device: u64,
    pub(super) inode: u64,
}

/// What a file was like when it was last looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) bytes: u64,
    pub(super) modified_ns: i128,
}

/// A file and how far it was read.
#[derive(Debug)]
pub(super) struct Tail {
    /// The path by which it was found; the quarantine and positions name it so.
    pub(super) path: PathBuf,
    pub(super) identity: Identity,
    mode: Mode,
    format: Option<&'static str>,
    offset: u64,
    last: Option<Print>,
    first: Option<Print>,
    /// Open while there is something to read.
    open: Option<Box<Open>>,
    look: Option<Look>,
    /// What it was like when it was read last.
    reading: Option<Look>,
    /// Whether it made no sense at the last look, and is to be looked at again.
    is_waiting: bool,
    /// Lines of a rewritten file that were taken, as hashes.
    seen: Option<Box<Seen>>,
    /// The line of a rewritten file that is too long, while its end was not met.
    long: Option<Long>,
    account: Account,
}

/// A line of a rewritten file that is longer than the longest.
#[derive(Clone, Copy, Debug)]
struct Long {
    /// The hash of its beginning.
    start: u64,
    /// Whether its refusal was kept before.
    is_known: bool,
}

#[derive(Debug)]
struct Open {
    file: File,
    stream: Stream,
}

/// Lines that were taken from a file that is written again and again.
#[derive(Debug)]
struct Seen {
    lines: HashSet<u64>,
    hashing: RandomState,
}

/// What reading needs from its surroundings.
#[derive(Clone, Copy)]
pub(super) struct Around<'a> {
    pub(super) door: &'a SharedDoor,
    pub(super) is_stopped: &'a AtomicBool,
}

/// What a look at a file led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Polled {
    /// Nothing new.
    Idle,
    /// It is being written at this moment: look again soon.
    Unsettled,
    /// Bytes were read up to this position.
    Read(Position),
    /// It was cut off, or is another one in the same place: what it held behind its position is
    /// not in it. Reading goes on after [`Tail::restart`].
    Replaced,
    /// Somebody asked to stop.
    Stopped,
}

impl Identity {
    pub(super) fn of(metadata: &std::fs::Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    /// The file in which a position is.
    pub(super) fn of_position(position: &Position) -> Self {
        Self { device: position.device, inode: position.inode }
    }
}

impl Look {
    pub(super) fn of(metadata: &std::fs::Metadata) -> Self {
        Self { bytes: metadata.len(), modified_ns: modified_ns(metadata) }
    }
}

impl Tail {
    /// A file that is read from this byte on, which must begin a line.
    pub(super) fn new(path: &Path, identity: Identity, mode: Mode, offset: u64) -> Self {
        Self {
            path: path.to_owned(),
            identity,
            mode,
            format: None,
            offset,
            last: None,
            first: None,
            open: None,
            look: None,
            reading: None,
            is_waiting: false,
            seen: matches!(mode, Mode::Rewrite | Mode::Document).then(Box::default),
            long: None,
            account: Account::default(),
        }
    }

    /// The same, all of whose records are of this dialect.
    pub(super) fn with_format(self, format: Option<&'static str>) -> Self {
        Self { format, ..self }
    }

    /// Goes on where an earlier process stopped, if it is still the same file.
    pub(super) fn resume(&mut self, file: File, position: &Position) -> io::Result<bool> {
        if !holds(&file, position)? {
            return Ok(false);
        }
        self.offset = position.offset;
        (self.last, self.first) = (position.last, position.first);
        match &mut self.seen {
            Some(_) if self.mode == Mode::Document => self.resume_document(&file, position)?,
            Some(seen) => seen.fill(&file, position.offset)?,
            None => {}
        }
        self.attach(file);
        Ok(true)
    }

    /// Reads from this open file from now on.
    pub(super) fn attach(&mut self, file: File) {
        let stream = Stream::new(&self.path.to_string_lossy(), self.offset);
        let stream = stream.with_format(self.format);
        self.open = Some(Box::new(Open { file, stream }));
    }

    /// Whether it holds a file descriptor.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether the file differs from what it was when it was last read.
    pub(super) fn is_changed(&self, look: Look) -> bool {
        self.is_waiting
            || self.look != Some(look)
            || (self.mode == Mode::Document && self.reading != Some(look))
    }

    /// Gives the file descriptor back, unless a line is half taken.
    pub(super) fn close(&mut self) {
        let is_between = |open: &Open| open.stream.line_start() == open.stream.position();
        if self.open.as_deref().is_some_and(is_between) {
            self.open = None;
        }
    }

    /// Whether the open file has no name any more.
    pub(super) fn is_unlinked(&self) -> bool {
        self.metadata().is_none_or(|metadata| metadata.nlink() == 0)
    }

    /// What the open file is like.
    pub(super) fn metadata(&self) -> Option<std::fs::Metadata> {
        self.open.as_ref().and_then(|open| open.file.metadata().ok())
    }

    /// What the file was like when all of it was read last.
    pub(super) fn looked(&self) -> Option<Look> {
        self.look
    }

    /// The open file, once more.
    pub(super) fn file(&self) -> Option<File> {
        self.open.as_ref().and_then(|open| open.file.try_clone().ok())
    }

    /// Whether all that another file holds is in this one, which `source` is, or was read from it
    /// before it was cut. `look` is the other's, taken before now.
    pub(super) fn covers(&self, source: &File, other: &File, look: Look) -> io::Result<bool> {
        let own = Look::of(&source.metadata()?);
        let is_whole = own.bytes >= self.offset
            && self.last.map_or(Ok(true), |last| print_at(source, last, self.offset))?;
        if !is_whole {
            // It was cut: the copy was made before, and its rest is read once that is noticed.
            return Ok(self.last.is_some() && holds(other, &self.position())?);
        }
        // A copy was made of what was there then, and a file that is added to only grows.
        Ok(look.bytes <= own.bytes && are_same(source, other, look.bytes)?)
    }

    /// Reads what is new, up to one buffer.
    pub(super) fn poll(
        &mut self,
        around: Around<'_>,
        buffer: &mut Vec<u8>,
    ) -> Result<Polled, DoorError> {
        let polled = self.look(around, buffer)?;
        self.is_waiting = self.mode == Mode::Rewrite && polled == Polled::Unsettled;
        Ok(polled)
    }

    fn look(&mut self, around: Around<'_>, buffer: &mut Vec<u8>) -> Result<Polled, DoorError> {
        let Some(open) = &self.open else { return Ok(Polled::Idle) };
        let metadata = open.file.metadata().map_err(|error| self.unreadable(error))?;
        let look = Look::of(&metadata);
        if self.mode == Mode::Document {
            return self.poll_document(look, around);
        }
        let before = self.look;
        if before == Some(look) && !self.is_unsettled(look) {
            return Ok(Polled::Idle);
        }
        if before != Some(look)
            && !self.is_continued(look).map_err(|error| self.unreadable(error))?
        {
            if self.mode != Mode::Rewrite {
                return Ok(Polled::Replaced);
            }
            self.look = Some(look);
            return Ok(Polled::Unsettled);
        }
        if self.long.is_some() && self.reading != Some(look) {
            // It may be another line by now.
            self.go_back();
        }
        self.reading = Some(look);
        if self.mode == Mode::Rewrite && before == Some(look) {
            return self.settled(look, around, buffer);
        }
        let polled = self.read(around, buffer)?;
        if polled == Polled::Idle {
            self.look = Some(look);
        }
        Ok(polled)
    }

    /// Whether the next look will find that it was cut off, or is another one in the same place.
    pub(super) fn is_replaced(&self) -> bool {
        let Some(look) = self.metadata().map(|it| Look::of(&it)) else { return false };
        let is_added_to = matches!(self.mode, Mode::Append | Mode::PerRun) && self.is_changed(look);
        is_added_to && !self.is_continued(look).unwrap_or(true)
    }

    /// Whether a rewritten file stood still at a moment when it made no sense.
    fn is_unsettled(&self, look: Look) -> bool {
        self.mode == Mode::Rewrite
            && (look.bytes < self.offset || !self.is_continued(look).unwrap_or(true))
    }

    /// Takes the last line, which has no ending: the file is known to be finished.
    ///
    /// A file that is gone is forgotten; one that has another name is known further on, since it
    /// may be met again.
    pub(super) fn finish(&mut self, around: Around<'_>) -> Result<Polled, DoorError> {
        if self.mode == Mode::Document && self.open.is_some() {
            return self.finish_document(around);
        }
        // What was unpacked never had a name; the file that it is from may be met again.
        let is_own = |metadata: std::fs::Metadata| Identity::of(&metadata) == self.identity;
        let finished = self.is_unlinked() && self.metadata().is_none_or(is_own);
        let Some(mut open) = self.open.take() else { return Ok(Polled::Idle) };
        let mut rest = Vec::new();
        let mut at = open.stream.position();
        loop {
            let start = rest.len();
            rest.resize(start + REST_BYTES, 0);
            let read = read_at(&open.file, &mut rest[start..], at);
            let read = read.map_err(|error| self.unreadable(error))?;
            rest.truncate(start + read);
            at += read as u64;
            if read == 0 {
                break;
            }
        }
        let ended = !finished;
        let position = Position { finished, ended, offset: at, last: None, ..self.position() };
        let chunk = Chunk { bytes: &rest, is_rest: true };
        let Around { door, is_stopped } = around;
        let before = open.stream.account();
        let taken =
            door.bring(&mut open.stream, chunk, is_stopped, |_, _| Some(position.clone()))?;
        self.count(before, open.stream.account());
        Ok(if taken.is_some() { Polled::Read(position) } else { Polled::Stopped })
    }

    /// Where reading goes on.
    pub(super) fn position(&self) -> Position {
        Position {
            source: self.path.to_string_lossy().into_owned(),
            device: self.identity.device,
            inode: self.identity.inode,
            offset: self.offset,
            last: self.last,
            first: self.first,
            ..Position::default()
        }
    }

    /// How its producer writes it.
    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    /// Bytes that it was seen to hold behind its position, when it was last looked at.
    pub(super) fn unread(&self) -> u64 {
        self.look.map_or(0, |look| look.bytes.saturating_sub(self.offset))
    }

    /// Whether what was taken still lies before the offset.
    fn is_continued(&self, look: Look) -> io::Result<bool> {
        // Parts of a line that is too long are taken before its end is there.
        let taken = self.open.as_ref().map_or(0, |open| open.stream.position());
        let is_shorter = self.mode != Mode::Rewrite && look.bytes < taken;
        if is_shorter || look.bytes < self.offset {
            return Ok(false);
        }
        let Some(open) = &self.open else { return Ok(true) };
        if self.mode == Mode::PerRun
            && let Some(first) = self.first
            && !print_at(&open.file, first, first.bytes)?
        {
            return Ok(false);
        }
        self.last.map_or(Ok(true), |last| print_at(&open.file, last, self.offset))
    }

    /// Begins at the start: it is another file in the same place.
    pub(super) fn restart(&mut self) {
        (self.offset, self.last, self.first) = (0, None, None);
        self.go_back();
    }

    /// Goes on at the position, whatever was taken of a line behind it.
    fn go_back(&mut self) {
        self.long = None;
        if let Some(open) = &mut self.open {
            open.stream.seek(self.offset);
        }
    }

    /// A rewritten file that stood still since the last look.
    fn settled(
        &mut self,
        look: Look,
        around: Around<'_>,
        buffer: &mut Vec<u8>,
    ) -> Result<Polled, DoorError> {
        if look.bytes == 0 {
            // It was cleared; what was shipped stays shipped.
            self.restart();
            return Ok(Polled::Read(self.position()));
        }
        let is_whole = self.open.as_ref().is_some_and(|open| {
            let mut end = [0];
            read_at(&open.file, &mut end, look.bytes - 1).is_ok_and(|read| read == 1)
                && end[0] == b'\n'
        });
        if !is_whole {
            return Ok(Polled::Unsettled);
        }
        self.restart();
        // It may be longer than what is read at once.
        self.look = None;
        self.read(around, buffer)
    }

    /// Reads and takes one buffer of complete lines.
    fn read(&mut self, around: Around<'_>, buffer: &mut Vec<u8>) -> Result<Polled, DoorError> {
        let Some(mut open) = self.open.take() else { return Ok(Polled::Idle) };
        let polled = self.read_open(&mut open, around, buffer);
        self.open = Some(open);
        polled
    }

    fn read_open(
        &mut self,
        open: &mut Open,
        around: Around<'_>,
        buffer: &mut Vec<u8>,
    ) -> Result<Polled, DoorError> {
        buffer.resize(buffer.len().max(BUFFER_BYTES), 0);
        loop {
            let start = open.stream.position();
            let filled = fill(&open.file, buffer, start).map_err(|error| self.unreadable(error))?;
            let chunk = &buffer[..filled];
            let is_inside_line = open.stream.line_start() != start;
            let account = open.stream.account();
            let taken = match self.mode {
                Mode::Rewrite => self.bring_rewritten(open, chunk, around)?,
                _ => self.bring(open, chunk, is_inside_line, around)?,
            };
            self.count(account, open.stream.account());
            match taken {
                None => return Ok(Polled::Stopped),
                Some(0) if filled == buffer.len() => {
                    // Bounded: a line longer than the longest is taken as too long.
                    let longer = 2 * buffer.len();
                    buffer.resize(longer, 0);
                }
                Some(0) => return Ok(Polled::Idle),
                Some(_) => {
                    buffer.truncate(BUFFER_BYTES);
                    return Ok(Polled::Read(self.position()));
                }
            }
        }
    }

    /// Brings the lines of a chunk.
    fn bring(
        &mut self,
        open: &mut Open,
        chunk: &[u8],
        is_inside_line: bool,
        around: Around<'_>,
    ) -> Result<Option<usize>, DoorError> {
        if memchr::memchr(b'\n', chunk).is_none() && chunk.len() < BUFFER_BYTES {
            return Ok(Some(0));
        }
        let Around { door, is_stopped } = around;
        let chunk_bytes = Chunk { bytes: chunk, is_rest: false };
        let taken = door.bring(&mut open.stream, chunk_bytes, is_stopped, |stream, taken| {
            self.note(stream.line_start(), &chunk[..taken], is_inside_line);
            (taken > 0).then(|| self.position())
        })?;
        Ok(taken)
    }

    /// Brings those lines of a rewritten file that did not come before.
    fn bring_rewritten(
        &mut self,
        open: &mut Open,
        chunk: &[u8],
        around: Around<'_>,
    ) -> Result<Option<usize>, DoorError> {
        let Around { door, is_stopped } = around;
        if self.long.is_some() {
            return self.pass_long(open, chunk, around);
        }
        let taken = memchr::memrchr(b'\n', chunk).map_or(0, |end| end + 1);
        if taken == 0 {
            let is_long = chunk.len() >= BUFFER_BYTES
                && chunk.len() > door.lock().line_bytes_max() + ENDING_BYTES;
            let Some(seen) = self.seen.as_deref().filter(|_| is_long) else { return Ok(Some(0)) };
            let start = seen.hash(&chunk[..BUFFER_BYTES]);
            self.long = Some(Long { start, is_known: seen.lines.contains(&start) });
            return self.pass_long(open, chunk, around);
        }
        let fresh = self.unseen(&chunk[..taken]);
        let after = open.stream.position() + taken as u64;
        // The lines that are left out leave no gap: the stream counts what it is given.
        let chunk_bytes = Chunk { bytes: &fresh, is_rest: false };
        let brought = door.bring(&mut open.stream, chunk_bytes, is_stopped, |_, _| {
            self.note(after, &chunk[..taken], false);
            Some(self.position())
        })?;
        open.stream.seek(after);
        Ok(brought.map(|_| taken))
    }

    /// Takes a piece of a line that is longer than the longest: its refusal is kept once, however
    /// often the file is written again.
    fn pass_long(
        &mut self,
        open: &mut Open,
        chunk: &[u8],
        around: Around<'_>,
    ) -> Result<Option<usize>, DoorError> {
        let Some(long) = self.long else { return Ok(Some(0)) };
        let end = memchr::memchr(b'\n', chunk).map(|end| end + 1);
        let piece = &chunk[..end.unwrap_or(chunk.len())];
        let after = open.stream.position() + piece.len() as u64;
        if end.is_some() {
            let print = print_before(&open.file, after).map_err(|error| self.unreadable(error))?;
            (self.offset, self.last, self.long) = (after, print, None);
            if let Some(seen) = &mut self.seen {
                seen.insert(long.start);
            }
        }
        if long.is_known {
            open.stream.seek(after);
            return Ok(Some(piece.len()));
        }
        let Around { door, is_stopped } = around;
        let piece = Chunk { bytes: piece, is_rest: false };
        door.bring(&mut open.stream, piece, is_stopped, |_, _| end.map(|_| self.position()))
    }

    /// The lines that were not seen; all of them are seen now.
    fn unseen(&mut self, lines: &[u8]) -> Vec<u8> {
        let mut fresh = Vec::with_capacity(lines.len());
        for line in lines.split_inclusive(|&byte| byte == b'\n') {
            if self.seen.as_deref_mut().is_none_or(|seen| seen.add(line)) {
                fresh.extend_from_slice(line);
            }
        }
        fresh
    }

    /// Notes how far a chunk was taken, and what identifies the place.
    fn note(&mut self, line_start: u64, taken: &[u8], is_inside_line: bool) {
        let has_moved = self.offset != line_start;
        self.offset = line_start;
        // Behind the complete lines may be the start of one that is too long.
        let Some(end) = memchr::memrchr(b'\n', taken) else {
            if has_moved {
                self.last = None;
            }
            return;
        };
        let (taken, text) = (&taken[..=end], &taken[..end]);
        let start = memchr::memrchr(b'\n', text).map(|end| end + 1);
        self.last = match start {
            Some(start) => Some(Print::of(&taken[start..])),
            None => (!is_inside_line).then(|| Print::of(taken)),
        };
        if self.first.is_none() && line_start == taken.len() as u64 {
            let end = memchr::memchr(b'\n', taken).map_or(taken.len(), |end| end + 1);
            self.first = Some(Print::of_start(&taken[..end]));
        }
    }

    fn count(&mut self, before: Account, after: Account) {
        // A document is read from its start again.
        let bytes = before.bytes.min(after.bytes);
        self.account = self.account.plus(after.minus(Account { bytes, ..before }));
    }

    /// What became of what was taken since this was asked last.
    pub(super) fn take_account(&mut self) -> Account {
        std::mem::take(&mut self.account)
    }

    fn unreadable(&self, error: io::Error) -> DoorError {
        let source_name = self.path.to_string_lossy().into_owned();
        DoorError::Read { source_name, position: self.offset, error }
    }
}

impl Default for Seen {
    fn default() -> Self {
        Self { lines: HashSet::new(), hashing: RandomState::new() }
    }
}

impl Seen {
    /// Whether the line is new; it is known from now on.
    fn add(&mut self, line: &[u8]) -> bool {
        self.insert(self.hash(line))
    }

    fn hash(&self, line: &[u8]) -> u64 {
        self.hashing.hash_one(line)
    }

    fn insert(&mut self, hash: u64) -> bool {
        if self.lines.len() >= SEEN_MAX {
            tracing::warn!(lines = SEEN_MAX, "a rewritten file has more lines than are remembered");
            self.lines.clear();
        }
        self.lines.insert(hash)
    }

    /// Remembers the lines below an offset.
    fn fill(&mut self, file: &File, offset: u64) -> io::Result<()> {
        let mut at = 0;
        let mut buffer = vec![0; BUFFER_BYTES];
        while at < offset {
            let filled = fill(file, &mut buffer, at)?;
            let below = usize::try_from(offset - at).unwrap_or(usize::MAX).min(filled);
            let Some(end) = memchr::memrchr(b'\n', &buffer[..below]) else {
                if filled < buffer.len() {
                    return Ok(());
                }
                if buffer.len() >= SEEN_LINE_BYTES_MAX {
                    // Too long for an event: its beginning is remembered, its rest passed over.
                    self.insert(self.hash(&buffer[..BUFFER_BYTES]));
                    at = line_end(file, at)?;
                    continue;
                }
                let longer = 2 * buffer.len();
                buffer.resize(longer, 0);
                continue;
            };
            for line in buffer[..=end].split_inclusive(|&byte| byte == b'\n') {
                self.add(line);
                if line.len() > BUFFER_BYTES {
                    self.insert(self.hash(&line[..BUFFER_BYTES]));
                }
            }
            at += end as u64 + 1;
        }
        Ok(())
    }
}

/// Whether what a position says was taken still lies before it.
pub(super) fn holds(file: &File, position: &Position) -> io::Result<bool> {
    if file.metadata()?.len() < position.offset {
        return Ok(false);
    }
    for (print, end) in [
        (position.first, position.first.map_or(0, |first| first.bytes)),
        (position.last, position.offset),
    ] {
        if let Some(print) = print
            && !print_at(file, print, end)?
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether two files begin with the same bytes, so many.
fn are_same(one: &File, other: &File, bytes: u64) -> io::Result<bool> {
    let (mut left, mut right) = (vec![0; COMPARED_BYTES], vec![0; COMPARED_BYTES]);
    let mut at = 0;
    while at < bytes {
        let most = usize::try_from(bytes - at).unwrap_or(COMPARED_BYTES).min(COMPARED_BYTES);
        let read = fill(one, &mut left[..most], at)?;
        let is_there = read == most && fill(other, &mut right[..most], at)? == most;
        if !is_there || left[..most] != right[..most] {
            return Ok(false);
        }
        at += most as u64;
    }
    Ok(true)
}

/// Where the line ends that holds this byte.
fn line_end(file: &File, mut at: u64) -> io::Result<u64> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = read_at(file, &mut buffer, at)?;
        match memchr::memchr(b'\n', &buffer[..read]) {
            Some(end) => return Ok(at + end as u64 + 1),
            None if read == 0 => return Ok(at),
            None => at += read as u64,
        }
    }
}

/// The print of the line that ends here; none at the start of the file.
pub(super) fn print_before(file: &File, end: u64) -> io::Result<Option<Print>> {
    let start = end.saturating_sub(PRINT_BYTES_MAX as u64);
    let mut bytes = vec![0; usize::try_from(end - start).unwrap_or(PRINT_BYTES_MAX)];
    let read = fill(file, &mut bytes, start)?;
    let Some(text) = bytes[..read].strip_suffix(b"\n") else { return Ok(None) };
    let line = memchr::memrchr(b'\n', text).map_or(0, |end| end + 1);
    Ok(Some(Print::of(&bytes[line..read])))
}

/// Where the last complete line of a file ends.
pub(super) fn last_line_end(file: &File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut buffer = vec![0; 64 << 10];
    while end > 0 {
        let start = end.saturating_sub(buffer.len() as u64);
        let len = usize::try_from(end - start).unwrap_or(buffer.len());
        let read = read_at(file, &mut buffer[..len], start)?;
        if let Some(found) = memchr::memrchr(b'\n', &buffer[..read]) {
            return Ok(start + found as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Whether the bytes before `end` are the ones that were printed.
pub(super) fn print_at(file: &File, print: Print, end: u64) -> io::Result<bool> {
    let Some(start) = end.checked_sub(print.bytes) else { return Ok(false) };
    let mut bytes = vec![0; usize::try_from(print.bytes).unwrap_or(0).min(BUFFER_BYTES)];
    let read = fill(file, &mut bytes, start)?;
    Ok(Print::of(&bytes[..read]) == print)
}

/// Fills the buffer from this place on, as far as the file goes.
fn fill(file: &File, buffer: &mut [u8], start: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match read_at(file, &mut buffer[filled..], start + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, at) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// Bytes that are read at once.
const BUFFER_BYTES: usize = 256 << 10;
/// Bytes of two files that are compared at once.
const COMPARED_BYTES: usize = 64 << 10;
/// Bytes of an unfinished line that are read at once.
const REST_BYTES: usize = 64 << 10;
/// Bytes of a line's ending, `\r\n`, at most.
const ENDING_BYTES: usize = 2;
/// Bytes of a line that is looked at as a whole when what was taken is read again: no event has
/// more.
const SEEN_LINE_BYTES_MAX: usize = 16 << 20;
/// Lines of a rewritten file that are remembered: its writer holds all of them in memory as well.
const SEEN_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn tail() -> Tail {
        let identity = Identity { device: 1, inode: 2 };
        Tail::new(Path::new("events.jsonl"), identity, Mode::Append, 0)
    }

    #[test]
    fn the_last_line_before_one_too_long_is_noted() {
        let mut tail = tail();
        tail.note(4, b"one\n", false);
        tail.note(14, b"two\nthree\nfour, which is too lo", false);
        assert_eq!((tail.offset, tail.last), (14, Some(Print::of(b"three\n"))));
        assert_eq!(tail.first, Some(Print::of_start(b"one\n")));
        // More of the long line moves nothing.
        tail.note(14, b"ng, and on it goes", true);
        assert_eq!((tail.offset, tail.last), (14, Some(Print::of(b"three\n"))));
        // Its end is no line that could be looked at as a whole.
        tail.note(60, b" to here\n", true);
        assert_eq!((tail.offset, tail.last), (60, None));
    }

    #[test]
    fn the_first_line_is_noted_before_one_too_long() {
        let mut tail = tail();
        tail.note(4, b"one\ntwo, which is too lo", false);
        assert_eq!((tail.offset, tail.last), (4, Some(Print::of(b"one\n"))));
        assert_eq!(tail.first, Some(Print::of_start(b"one\n")));
    }
}
