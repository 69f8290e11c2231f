//! `shrike append`: lines into the log, through the running process where one answers.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec};
use shrike::control::{APPEND_BYTES_MAX, Appended, Client, Rejected};
use shrike::event::Class;
use shrike::intake::{Questions, Unfolded, Unpacked};
use shrike::log::Log;

use super::args::Shared;
use super::door::{Door, REJECTED_MAX};
use super::progress::Progress;
use super::{Exit, Failure, failed, hint, settings};

/// Appends a file or standard input and says what became of it.
pub(crate) fn append(shared: &Shared, file: Option<&Path>) -> Result<Exit, Failure> {
    let mut lines = Lines::open(file)?;
    let state_dir = settings::state_dir(shared)?;
    let mut way = match Client::connect(&state_dir).map_err(failed)? {
        Some(client) => Way::Running(client),
        None => {
            let config = settings::load(shared, Vec::new())?;
            let (log, _) = Log::open(config.log.clone()).map_err(failed)?;
            Way::Own(
                Box::new(Door::open(&config, &log, &Questions::default()).map_err(failed)?),
                log,
            )
        }
    };
    let progress = Progress::bytes("append", lines.total);
    let mut sum = Appended::default();
    while lines.fill()? {
        let appended = match &mut way {
            Way::Running(client) => client.append(&lines.chunk).map_err(failed)?,
            Way::Own(door, _) => door.append(&lines.chunk).map_err(Failure::Engine)?,
        };
        add(&mut sum, appended, lines.before);
        progress.at(lines.read);
    }
    progress.end();
    let are_kept = sum.rejected > 0;
    for &line in &lines.oversize {
        reject(&mut sum, Rejected { line, class: Class::Oversize.name().to_owned() });
    }
    if let Way::Own(door, log) = way {
        drop(door);
        log.close().map_err(failed)?;
    }
    let durable = match sum.durable {
        0 => String::new(),
        offset => format!(", durable below {offset}"),
    };
    hint(format_args!(
        "{} appended{durable}; {} repeats, {} rejected",
        sum.appended, sum.duplicates, sum.rejected
    ));
    for Rejected { line, class } in &sum.first_rejected {
        hint(format_args!("line {line}: {class}"));
    }
    if are_kept {
        hint("`shrike log quarantine list --source append` has the lines that were rejected");
    }
    Ok(if sum.rejected == 0 { Exit::Done } else { Exit::Failed })
}

/// Who appends.
enum Way {
    /// The running process.
    Running(Client),
    /// This one, which holds the log's lock.
    Own(Box<Door>, Log),
}

/// Adds the account of one chunk; its line numbers count from the chunk's beginning.
fn add(sum: &mut Appended, appended: Appended, before: u64) {
    sum.appended += appended.appended;
    sum.duplicates += appended.duplicates;
    sum.durable = sum.durable.max(appended.durable);
    let listed = appended.first_rejected.len() as u64;
    for rejected in appended.first_rejected {
        reject(sum, Rejected { line: rejected.line + before, class: rejected.class });
    }
    sum.rejected += appended.rejected.saturating_sub(listed);
}

fn reject(sum: &mut Appended, rejected: Rejected) {
    sum.rejected += 1;
    if sum.first_rejected.len() < REJECTED_MAX {
        sum.first_rejected.push(rejected);
    }
}

/// Whole lines of a file or standard input, chunk by chunk.
struct Lines {
    from: BufReader<Box<dyn Read>>,
    /// What that reads, to see whether there is more at present.
    source: OwnedFd,
    name: String,
    /// Bytes of the file, 0 where nobody knows.
    total: u64,
    /// Bytes read so far.
    read: u64,
    /// Lines before the chunk.
    before: u64,
    /// Lines read so far.
    line: u64,
    chunk: Vec<u8>,
    /// Lines that were too long, by number.
    oversize: Vec<u64>,
}

impl Lines {
    fn open(file: Option<&Path>) -> Result<Self, Failure> {
        let (from, source, name, total): (Box<dyn Read>, _, _, _) = match file {
            Some(path) if path != Path::new("-") => {
                let name = path.display().to_string();
                let file = File::open(path).map_err(Failure::io(name.clone()))?;
                let bytes = file.metadata().map_err(Failure::io(name.clone()))?.len();
                // What comes out of a compressed one, nobody knows before.
                let is_packed = path.extension().is_some_and(|end| end == "gz" || end == "zst");
                let bytes = if is_packed { 0 } else { bytes };
                let source = again(&file).map_err(Failure::io(name.clone()))?;
                (Box::new(Unfolded::new(Unpacked::new(file), &name)), source, name, bytes)
            }
            _ => {
                let name = "standard input".to_owned();
                let source = again(io::stdin()).map_err(Failure::io(name.clone()))?;
                (Box::new(Unfolded::new(io::stdin(), &name)), source, name, 0)
            }
        };
        let from = BufReader::with_capacity(CHUNK_BYTES, from);
        Ok(Self {
            from,
            source,
            name,
            total,
            read: 0,
            before: 0,
            line: 0,
            chunk: Vec::with_capacity(2 * CHUNK_BYTES),
            oversize: Vec::new(),
        })
    }

    /// Reads the next chunk, which is what there is where the source pauses; false at the end.
    fn fill(&mut self) -> Result<bool, Failure> {
        self.chunk.clear();
        self.before = self.line;
        while self.chunk.len() < CHUNK_BYTES && (self.chunk.is_empty() || self.has_more()) {
            let start = self.chunk.len();
            let mut bounded = (&mut self.from).take(LINE_BYTES_MAX);
            let read = bounded.read_until(b'\n', &mut self.chunk);
            let read = read.map_err(Failure::io(self.name.clone()))? as u64;
            if read == 0 {
                break;
            }
            self.read += read;
            self.line += 1;
            let is_whole = self.chunk.ends_with(b"\n");
            if !is_whole && read == LINE_BYTES_MAX {
                // Longer than any event. A blank line stands for it, so that the others keep
                // their numbers.
                self.oversize.push(self.line);
                self.chunk.truncate(start);
                self.skip_line()?;
            }
            if !is_whole {
                self.chunk.push(b'\n');
            }
        }
        Ok(!self.chunk.is_empty())
    }

    /// Whether reading on waits for nobody, or for a moment only.
    fn has_more(&self) -> bool {
        let is_whole = memchr::memchr(b'\n', self.from.buffer()).is_some();
        // Where that cannot be told, reading tells what is wrong.
        is_whole
            || rustix::event::poll(&mut [PollFd::new(&self.source, PollFlags::IN)], Some(&PAUSE))
                .map_or(true, |ready| ready > 0)
    }

    /// Passes over the rest of a line.
    fn skip_line(&mut self) -> Result<(), Failure> {
        loop {
            let buffer = self.from.fill_buf().map_err(Failure::io(self.name.clone()))?;
            let (used, is_end) = match memchr::memchr(b'\n', buffer) {
                Some(at) => (at + 1, true),
                None => (buffer.len(), buffer.is_empty()),
            };
            self.from.consume(used);
            self.read += used as u64;
            if is_end {
                return Ok(());
            }
        }
    }
}

fn again(source: impl AsFd) -> io::Result<OwnedFd> {
    source.as_fd().try_clone_to_owned()
}

/// After such a pause of the source what came before it is appended.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// Bytes of lines that are sent, and made durable, together; a single line may be longer.
const CHUNK_BYTES: usize = 1 << 20;
/// Bytes of a line: with what else a chunk holds it fits into one request.
const LINE_BYTES_MAX: u64 = APPEND_BYTES_MAX as u64 - CHUNK_BYTES as u64;
