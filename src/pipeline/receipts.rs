//! Receipts: a hash-chained line for each settled batch, so that the account can be proven later.
//!
//! A file of JSON lines. Each line ends with the BLAKE3 of the hash before it and its own text, so
//! that no line can be changed, removed or moved without all later ones telling. The chain's head
//! is anchored in every checkpoint, which tells when the end was cut off.

mod end;
mod read;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::end::{End, Line, end_of, line_of};
pub use self::read::{Flaw, Period, read_receipts};
use super::operations::Operation;
use crate::deliver::{Entry, Moved};
use crate::event::{Anchor, Counts, Offset, Settle, Settled, Span, Time};
use crate::log::{LogFile, LogIo};

/// Where receipts are kept and how long they grow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptOptions {
    /// The file; older ones lie beside it, with the number of their last line.
    pub path: PathBuf,
    /// Bytes of all of them at most; the oldest file goes first.
    pub bytes_max: u64,
}

/// One line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Receipt {
    /// Its number, from 1.
    pub n: u64,
    /// When it was written.
    pub at: String,
    /// `begin` of a file, `resume` of an exporter, `batch`, `settled` without a request, `replay`
    /// or `purge` of dead letters, `sum`, `done` for what people and the process itself did, or
    /// `lost` for what was missing when this was written.
    pub kind: String,
    /// Version of the lines, in each file's first.
    #[serde(skip_serializing_if = "is_zero")]
    pub v: u32,
    /// The number of the oldest line that is kept, in each `begin`.
    #[serde(skip_serializing_if = "is_zero")]
    pub oldest: u64,
    /// Which exporter.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub exporter: String,
    /// Which of its passes over the log.
    #[serde(skip_serializing_if = "is_zero")]
    pub pass: u32,
    /// Requests that carried the batch.
    #[serde(skip_serializing_if = "is_zero")]
    pub attempts: u32,
    /// The status of the answer.
    #[serde(skip_serializing_if = "is_zero")]
    pub status: u16,
    /// Bytes of the body as sent.
    #[serde(skip_serializing_if = "is_zero")]
    pub bytes: u64,
    /// BLAKE3 of these bytes, as hexadecimal digits.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub body: String,
    /// Which events, by fate: pieces of the log as differences (see [`spans`]).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub delivered_at: String,
    /// As above.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub dead_lettered_at: String,
    /// As above.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub filtered_at: String,
    /// As above.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub skipped_at: String,
    /// As above.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub invalid_at: String,
    /// Events by fate: of this line, or of the whole pass in `resume` and `sum`.
    pub delivered: u64,
    /// As above.
    pub dead_lettered: u64,
    /// As above.
    pub filtered: u64,
    /// As above.
    pub skipped: u64,
    /// As above.
    pub invalid: u64,
    /// Events that moved from `dead_lettered` to `delivered`.
    #[serde(skip_serializing_if = "is_zero")]
    pub replayed: u64,
    /// Events that moved from `dead_lettered` to `filtered`: a digest told of them.
    #[serde(skip_serializing_if = "is_zero")]
    pub digested: u64,
    /// In which pass the events of dead letters were given up, where that is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub letters_of: Option<u32>,
    /// What was done, in a word.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub action: String,
    /// Who did it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub actor: String,
    /// What else there is to say of it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The last line that is known of other receipts, which came before these.
    #[serde(skip_serializing_if = "is_zero")]
    pub after: u64,
    /// Its hash, as hexadecimal digits; in a `begin` that of the line before the oldest, which goes
    /// then.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub after_hash: String,
}

impl Receipt {
    /// The events by fate.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let &Self { delivered, dead_lettered, filtered, skipped, invalid, .. } = self;
        Counts { delivered, dead_lettered, filtered, skipped, invalid }
    }

    /// What was found to be missing of these receipts when this was written.
    #[must_use]
    pub fn lost(&self) -> Option<&str> {
        (self.kind == LOST).then_some(&self.detail)
    }

    /// What these receipts know of the ones before them.
    #[must_use]
    pub fn before(&self) -> Option<Anchor> {
        let hash = unhex(&self.after_hash)?;
        (self.after > 0).then_some(Anchor { line: self.after, hash })
    }

    /// The fate that this line gives to the event at an offset.
    #[must_use]
    pub fn fate_of(&self, at: Offset) -> Option<&'static str> {
        let has = |list: &str| spans(list).iter().any(|it| it.from <= at && at < it.to);
        self.lists().into_iter().find(|(_, list)| has(list)).map(|(fate, _)| fate)
    }

    /// The pieces of the log that this line settles, whatever their fate.
    #[must_use]
    pub fn settled(&self) -> Vec<Span> {
        self.lists().into_iter().flat_map(|(_, list)| spans(list)).collect()
    }

    fn lists(&self) -> [(&'static str, &str); 5] {
        [
            ("delivered", &self.delivered_at),
            ("dead_lettered", &self.dead_lettered_at),
            ("filtered", &self.filtered_at),
            ("skipped", &self.skipped_at),
            ("invalid", &self.invalid_at),
        ]
    }

    fn with(mut self, counts: Counts) -> Self {
        let Counts { delivered, dead_lettered, filtered, skipped, invalid } = counts;
        (self.delivered, self.dead_lettered, self.filtered) = (delivered, dead_lettered, filtered);
        (self.skipped, self.invalid) = (skipped, invalid);
        self
    }

    /// What an entry of an exporter's journal says, of these pieces.
    fn of(exporter: &str, pass: u32, entry: &Entry, settled: &[Settled]) -> Self {
        let mut counts = Counts::default();
        settled.iter().for_each(|it| counts.add(it.fate, it.events));
        let list = |fate| {
            let pieces = settled.iter().filter(|it| it.fate == fate && it.events > 0);
            list(pieces.map(|it| it.span))
        };
        let kind = match (&entry.sent, &entry.moved) {
            (_, Some(Moved { fate: Some(_), .. })) => "replay",
            (_, Some(_)) => "purge",
            (Some(_), None) => "batch",
            (None, None) => "settled",
        };
        let body = entry.sent.map(|sent| hex(&sent.digest)).unwrap_or_default();
        let sent = entry.sent.unwrap_or_default();
        Self {
            kind: kind.to_owned(),
            exporter: exporter.to_owned(),
            pass,
            attempts: sent.attempts,
            status: sent.status,
            bytes: sent.bytes,
            body,
            delivered_at: list(Settle::Delivered),
            dead_lettered_at: list(Settle::DeadLettered),
            filtered_at: list(Settle::Filtered),
            skipped_at: list(Settle::Skipped),
            invalid_at: list(Settle::Invalid),
            ..Self::default()
        }
        .with(counts)
        .moving(entry.moved.as_ref())
    }

    /// The same with the dead letters that have met another end; each is named by where it begins.
    fn moving(self, moved: Option<&Moved>) -> Self {
        let Some(Moved { fate, pass, events, at }) = moved else { return self };
        let first_byte = |&at: &Offset| Span { from: at, to: Offset::new(at.bytes() + 1) };
        let (at, letters_of) =
            (list(at.iter().map(first_byte)), (*pass != self.pass).then_some(*pass));
        let moved = Self { letters_of, ..self };
        match fate {
            Some(Settle::Filtered) => Self { filtered_at: at, digested: *events, ..moved },
            Some(_) => Self { delivered_at: at, replayed: *events, ..moved },
            None => Self { dead_lettered_at: at, ..moved },
        }
    }
}

/// What the keeper has to write for one exporter.
#[derive(Debug)]
pub(crate) struct Account<'a> {
    pub(crate) exporter: &'a str,
    pub(crate) pass: u32,
    pub(crate) journal: Vec<Entry>,
    /// Everything that is settled, those of the journal included.
    pub(crate) counts: Counts,
}

/// The writer of the chain.
pub(crate) struct Receipts {
    options: ReceiptOptions,
    io: Arc<dyn LogIo>,
    file: LogFile,
    /// Bytes of the file that are synced.
    written: u64,
    head: Anchor,
    /// The last line when it was opened.
    opened: u64,
    /// Lines that are not on disk yet.
    waiting: Vec<u8>,
    /// Bytes of the older files, oldest first.
    older: VecDeque<(PathBuf, u64)>,
    /// The number of the oldest line that is kept.
    oldest: u64,
    /// Whether the file was put aside, and the next one is not made yet.
    is_aside: bool,
}

impl std::fmt::Debug for Receipts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receipts").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Receipts {
    /// Opens the chain, and cuts off what a crash left of a line.
    ///
    /// # Errors
    /// When the files cannot be made, read or written.
    pub(crate) fn open(options: ReceiptOptions, io: Arc<dyn LogIo>) -> io::Result<Self> {
        if let Some(parent) = options.path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        }
        let mut file = open(&options.path, &*io)?;
        // What is written here is worth nothing under a name that the next power loss takes back:
        // one that was made just now, or by a process that ended before it had synced it.
        io.sync_dir(dir_of(&options.path))?;
        refuse_newer(&mut file.file)?;
        let older = older_files(&options.path)?;
        let bytes = file.file.metadata()?.len();
        let End { last, whole: written } = end_of(&file.file)?;
        let head = match last {
            Some(head) => head,
            None if bytes > UNSYNCED_BYTES_MAX => {
                return Err(io::Error::other(format!(
                    "no receipt in {bytes} bytes: something else, or destroyed; move it away, and the \
                 receipts go on in a new file"
                )));
            }
            // A new file after the last one that was put aside.
            None => {
                let last = older.back().map(|(path, _)| File::open(path)).transpose()?;
                let end = last.map(|last| end_of(&last)).transpose()?;
                end.and_then(|end| end.last).unwrap_or_default()
            }
        };
        if written < bytes {
            let (path, cut) = (options.path.display(), bytes - written);
            tracing::warn!(%path, last = head.line, cut, "the end of the receipts was torn: cut off");
        }
        io.truncate(&file, written)?;
        let (opened, waiting, is_aside) = (head.line, Vec::new(), false);
        let first = first_of(older.front().map_or(&options.path, |(path, _)| path))?;
        let oldest = first.unwrap_or(head.line + 1);
        let mut this =
            Self { options, io, file, written, head, opened, waiting, older, oldest, is_aside };
        this.begin(None);
        Ok(this)
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.options.path
    }

    /// The last line that was there when it was opened; 0 where it begins.
    pub(crate) fn last_of_before(&self) -> u64 {
        self.opened
    }

    /// The last line.
    pub(crate) fn head(&self) -> Anchor {
        self.head
    }

    /// Notes where an exporter goes on: what it has settled, as its checkpoint says.
    pub(crate) fn resume(&mut self, exporter: &str, pass: u32, counts: Counts) {
        let (kind, exporter) = ("resume".to_owned(), exporter.to_owned());
        self.push(Receipt { kind, exporter, pass, ..Receipt::default() }.with(counts));
    }

    /// Adds what an exporter has settled since the last time.
    pub(crate) fn add(&mut self, account: &Account<'_>) {
        let Account { exporter, pass, journal, counts } = account;
        if journal.is_empty() {
            return;
        }
        for entry in journal {
            let (first, more) = entry.settled.split_at(entry.settled.len().min(PIECES_MAX));
            self.push(Receipt::of(exporter, *pass, entry, first));
            let beyond = Entry { sent: entry.sent, ..Entry::default() };
            for more in more.chunks(PIECES_MAX) {
                self.push(Receipt::of(exporter, *pass, &beyond, more));
            }
        }
        let (kind, exporter) = ("sum".to_owned(), (*exporter).to_owned());
        self.push(Receipt { kind, exporter, pass: *pass, ..Receipt::default() }.with(*counts));
    }

    /// Adds what was done.
    pub(crate) fn note(&mut self, operation: &Operation) {
        let Operation { action, exporter, actor, detail } = operation;
        self.push(Receipt {
            kind: "done".to_owned(),
            exporter: exporter.clone(),
            action: (*action).to_owned(),
            actor: actor.clone(),
            detail: detail.chars().take(DETAIL_CHARS).collect(),
            ..Receipt::default()
        });
    }

    /// Notes which other receipts these come after, as far as anybody knows: else nobody could tell
    /// whether the end of those is still there.
    pub(crate) fn come_after(&mut self, last: Anchor, detail: String) {
        let operation = Operation::by_itself("receipts", "", detail);
        let Operation { action, actor, detail, .. } = operation;
        self.push(Receipt {
            kind: "done".to_owned(),
            action: action.to_owned(),
            actor,
            detail: detail.chars().take(DETAIL_CHARS).collect(),
            after: last.line,
            after_hash: if last.line > 0 { hex(&last.hash) } else { String::new() },
            ..Receipt::default()
        });
    }

    /// Whether these have a line that a checkpoint knows; one that retention took was there.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(crate) fn has(&self, known: Anchor) -> io::Result<bool> {
        let older = self.older.iter().rev().map(|(path, _)| path);
        for path in [&self.options.path].into_iter().chain(older) {
            match line_of(&File::open(path)?, known.line)? {
                Line::Here(hash) => return Ok(hash == known.hash),
                Line::Missing => return Ok(false),
                Line::Before => {}
            }
        }
        Ok(true)
    }

    /// Notes that a line which a checkpoint knows is not there, or is another one: for ever, since
    /// that checkpoint will soon know nothing of it.
    pub(crate) fn miss(&mut self, known: Anchor) {
        let (first, line) = (self.opened + 1, known.line);
        let detail = match line < first {
            true => format!("receipt {line} is another one than a checkpoint knows"),
            false => {
                format!("receipts {first} to {line} are missing: a checkpoint knows receipt {line}")
            }
        };
        let Operation { action, actor, detail, .. } = Operation::by_itself("receipts", "", detail);
        self.push(Receipt {
            kind: LOST.to_owned(),
            action: action.to_owned(),
            actor,
            detail,
            after: line,
            after_hash: hex(&known.hash),
            ..Receipt::default()
        });
    }

    /// Keeps this many bytes from now on; it shows when the file is next put aside.
    pub(crate) fn keep(&mut self, bytes_max: u64) {
        self.options.bytes_max = bytes_max;
    }

    /// Bytes that the disk has not taken yet.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Writes and syncs all lines; a file that has grown is put aside, and the oldest go.
    ///
    /// # Errors
    /// When the disk refuses: the lines wait, and nothing of them may be taken for written.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.write()?;
        if self.written < self.options.bytes_max / FILES {
            return Ok(());
        }
        let gone = self.put_aside()?;
        // Nothing goes before it is written that it went.
        self.write()?;
        for _ in 0..gone {
            let Some((path, _)) = self.older.pop_front() else { break };
            self.io.unlink(&path)?;
        }
        self.io.sync_dir(dir_of(&self.options.path))
    }

    fn write(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        if self.is_aside {
            self.file = open(&self.options.path, &*self.io)?;
            self.io.sync_dir(dir_of(&self.options.path))?;
            (self.written, self.is_aside) = (0, false);
        }
        while !self.waiting.is_empty() {
            let bytes = self.waiting.len().min(UNSYNCED_BYTES_MAX as usize);
            // A part that was written before an error is written over.
            self.io.truncate(&self.file, self.written)?;
            self.io.write(&self.file, self.written, &self.waiting[..bytes])?;
            self.io.sync(&self.file)?;
            self.written += bytes as u64;
            self.waiting.drain(..bytes);
        }
        Ok(())
    }

    fn push(&mut self, receipt: Receipt) {
        let receipt = Receipt { n: self.head.line + 1, at: Time::now().text(), ..receipt };
        let text = serde_json::to_string(&receipt).expect("it is plain");
        let text = text.strip_suffix('}').expect("an object ends so");
        let hash = chained(&self.head.hash, text.as_bytes());
        self.waiting.extend_from_slice(text.as_bytes());
        self.waiting.extend_from_slice(format!("{HASH}{}\"}}\n", hex(&hash)).as_bytes());
        self.head = Anchor { line: receipt.n, hash };
    }

    /// Puts the file aside and begins another; returns how many of the older ones are to go.
    fn put_aside(&mut self) -> io::Result<usize> {
        let aside = aside(&self.options.path, self.head.line);
        self.io.rename(&self.options.path, &aside)?;
        self.older.push_back((aside, self.written));
        (self.written, self.is_aside) = (0, true);
        let most = self.options.bytes_max - self.options.bytes_max / FILES;
        let mut bytes: u64 = self.older.iter().map(|(_, bytes)| bytes).sum();
        let is_over = |length: &u64| {
            let is_over = bytes > most;
            bytes -= length;
            is_over
        };
        let gone = self.older.iter().map(|&(_, length)| length).take_while(is_over).count();
        let last = gone.checked_sub(1).map(|last| File::open(&self.older[last].0)).transpose()?;
        let last = last.map(|last| end_of(&last)).transpose()?.and_then(|end| end.last);
        self.oldest = last.map_or(self.oldest, |last| last.line + 1);
        self.begin(last);
        Ok(gone)
    }

    /// Begins a file, or goes on with one: which lines are kept, and which goes last of the others.
    fn begin(&mut self, gone: Option<Anchor>) {
        self.push(Receipt {
            kind: "begin".to_owned(),
            v: VERSION,
            oldest: self.oldest,
            after_hash: gone.map(|gone| hex(&gone.hash)).unwrap_or_default(),
            ..Receipt::default()
        });
    }
}

/// A line, its hash, and the text that the hash is of.
fn parse(line: &[u8]) -> Option<(Receipt, [u8; 32], &[u8])> {
    let receipt: Receipt = serde_json::from_slice(line).ok()?;
    let at = line.len().checked_sub(HASH.len() + 64 + 2)?;
    let (text, rest) = line.split_at(at);
    let digits = rest.strip_prefix(HASH.as_bytes())?.strip_suffix(b"\"}")?;
    let hash = unhex(std::str::from_utf8(digits).ok()?)?;
    Some((receipt, hash, text))
}

fn unhex(digits: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(0..32) {
        *byte = u8::from_str_radix(digits.get(pair * 2..pair * 2 + 2)?, 16).ok()?;
    }
    Some(hash)
}

/// Leaves a file alone that a newer shrike wrote: its first line says so.
fn refuse_newer(file: &mut File) -> io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    let mut line = Vec::new();
    BufReader::new(file.take(FIRST_BYTES_MAX)).read_until(b'\n', &mut line)?;
    let first = line.strip_suffix(b"\n").and_then(parse);
    first.map_or(Ok(()), |(first, ..)| known(&first))
}

/// The number of a file's first line.
fn first_of(path: &Path) -> io::Result<Option<u64>> {
    let mut line = Vec::new();
    BufReader::new(File::open(path)?.take(FIRST_BYTES_MAX)).read_until(b'\n', &mut line)?;
    Ok(line.strip_suffix(b"\n").and_then(parse).map(|(first, ..)| first.n))
}

/// Whether this shrike knows what a line means.
fn known(receipt: &Receipt) -> io::Result<()> {
    match receipt.v {
        found if found > VERSION => Err(io::Error::other(format!(
            "version {found}, and this shrike reads versions up to {VERSION}; use the newer shrike \
             that wrote it"
        ))),
        _ => Ok(()),
    }
}

fn open(path: &Path, io: &dyn LogIo) -> io::Result<LogFile> {
    match LogFile::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => io.create(path, 0),
        opened => opened,
    }
}

fn dir_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}

fn aside(path: &Path, line: u64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    // Padded, so that names sort as numbers do.
    name.push(format!(".{line:020}"));
    PathBuf::from(name)
}

/// The files that were put aside, oldest first, with their lengths.
fn older_files(path: &Path) -> io::Result<VecDeque<(PathBuf, u64)>> {
    let (dir, name) = (dir_of(path), path.file_name());
    let name = name.unwrap_or_default().to_string_lossy().into_owned() + ".";
    let mut found = Vec::new();
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(VecDeque::new()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let file = entry.file_name().to_string_lossy().into_owned();
        let number = file.strip_prefix(&name).filter(|rest| rest.len() == 20);
        if number.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit())) {
            found.push((entry.path(), entry.metadata()?.len()));
        }
    }
    found.sort();
    Ok(found.into())
}

fn chained(before: &[u8; 32], text: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(before);
    hasher.update(text);
    *hasher.finalize().as_bytes()
}

/// Pieces of the log as text: each the distance from the end of the one before, and its length, in
/// hexadecimal digits: `1000+3e8,0+200`.
fn list(spans: impl Iterator<Item = Span>) -> String {
    use std::fmt::Write as _;
    let mut spans: Vec<Span> = spans.collect();
    spans.sort_unstable();
    let (mut text, mut before) = (String::new(), 0);
    for span in spans {
        let comma = if text.is_empty() { "" } else { "," };
        let distance = span.from.bytes().saturating_sub(before);
        // Writing to a text cannot fail.
        let _ = write!(text, "{comma}{distance:x}+{:x}", span.bytes());
        before = span.to.bytes();
    }
    text
}

/// The pieces that such a text names; those that make no sense are left out.
#[must_use]
pub fn spans(list: &str) -> Vec<Span> {
    let mut at = 0_u64;
    let pair = |piece: &str| {
        let (distance, length) = piece.split_once('+')?;
        let number = |text: &str| u64::from_str_radix(text, 16).ok();
        Some((number(distance)?, number(length)?))
    };
    let pieces = list.split(',').filter_map(pair);
    pieces
        .map(|(distance, length)| {
            let from = at.saturating_add(distance);
            at = from.saturating_add(length);
            Span { from: Offset::new(from), to: Offset::new(at) }
        })
        .collect()
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

/// Version of the lines.
const VERSION: u32 = 1;
/// What a line is called that tells of others which are missing.
const LOST: &str = "lost";
/// What stands before a line's hash.
const HASH: &str = ",\"h\":\"";
/// Files among which the bytes are shared.
const FILES: u64 = 4;
/// Characters of what is said beside an operation, so that every last line is short.
const DETAIL_CHARS: usize = 4096;
/// Bytes between two syncs: so much of the end may be torn after a power loss.
const UNSYNCED_BYTES_MAX: u64 = 1 << 20;
/// Pieces of the log in a line, each of 34 bytes at most: lines stay below 64 KiB.
const PIECES_MAX: usize = 1800;
/// The first line of a file is short.
const FIRST_BYTES_MAX: u64 = 64 << 10;
