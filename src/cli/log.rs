//! `shrike log`: print the log, measure it, check it.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use serde_json::json;
use shrike::config::time;
use shrike::event::{Frame, Opened, Opening, OpeningOptions, Span};
use shrike::log::{RawBlock, Reader};

use super::args::{Log, Shared};
use super::progress::Progress;
use super::quarantine::quarantine;
use super::walk::{Met, Then, last, walk};
use super::{Exit, Failure, failed, hint, position, settings};

/// Runs a command about the log.
pub(crate) fn log(shared: &Shared, command: &Log) -> Result<Exit, Failure> {
    let places = settings::places(shared)?;
    let reader = || open(&places.log_dir);
    match command {
        Log::Cat { from, until, limit } => {
            let mut reader = reader()?;
            let edge = |text: &Option<String>, usual: &str| {
                let target = position::parse(text.as_deref().unwrap_or(usual))?;
                position::find(target, &reader).map_err(failed)
            };
            let span = Span { from: edge(from, "earliest")?, to: edge(until, "latest")? };
            cat(&mut reader, span, limit.unwrap_or(u64::MAX))
        }
        Log::Stat { json } => stat(&mut reader()?, &places.log_dir, *json),
        Log::Verify => verify(&mut reader()?),
        Log::Quarantine(command) => quarantine(shared, &places, command),
    }
}

/// Opens the log in a directory for reading, or says what to do.
pub(crate) fn open(dir: &Path) -> Result<Reader, Failure> {
    Reader::find_dir(dir).map_err(failed)?.ok_or_else(|| missing(dir))
}

/// Says what to do where there is no log. Also who looks at what lies beside one is told: an empty
/// account of a wrong place would be taken for that of the right one.
pub(crate) fn missing(dir: &Path) -> Failure {
    let dir = dir.display();
    Failure::Engine(format!(
        "there is no log in {dir}; `shrike append` or `shrike run` makes one, `--config FILE` or \
         `--log DIR` names another"
    ))
}

fn cat(reader: &mut Reader, span: Span, limit: u64) -> Result<Exit, Failure> {
    let mut out = BufWriter::with_capacity(OUT_BYTES, io::stdout().lock());
    let (mut left, mut exit) = (limit, Exit::Done);
    walk(reader, span, |met| {
        match met {
            Met::Block(block) => {
                for record in block.records() {
                    if left == 0 {
                        return Ok(Then::Stop);
                    }
                    left -= 1;
                    out.write_all(block.record(record))
                        .and_then(|()| out.write_all(b"\n"))
                        .map_err(Failure::io("standard output"))?;
                }
            }
            Met::Damaged(span, events) => {
                exit = Exit::Failed;
                hint(format_args!("{}", damage(span, events)));
            }
            Met::Gone(span) => {
                hint(format_args!("{} to {}: removed meanwhile", span.from, span.to))
            }
        }
        Ok(Then::On)
    })?;
    out.flush().map_err(Failure::io("standard output"))?;
    Ok(exit)
}

fn stat(reader: &mut Reader, dir: &Path, as_json: bool) -> Result<Exit, Failure> {
    let (oldest, written, durable) = (reader.oldest(), reader.written(), reader.durable());
    let events = reader.count(Span { from: oldest, to: written }).map_err(failed)?;
    let mut first = None;
    walk(reader, Span { from: oldest, to: written }, |met| {
        if let Met::Block(block) = met {
            first = block.records().first().map(|record| record.frame.received_ns);
        }
        Ok(if first.is_some() { Then::Stop } else { Then::On })
    })?;
    let last = last(reader, written)?;
    let disk_bytes = disk_bytes(dir)?;
    let text = match as_json {
        true => {
            let stat = json!({
                "dir": dir.display().to_string(),
                "oldest": oldest.bytes(),
                "written": written.bytes(),
                "durable": durable.bytes(),
                "events": events,
                "disk_bytes": disk_bytes,
                "first_received": first.map(time::text),
                "last_received": last.map(time::text),
            });
            format!("{stat}\n")
        }
        false => {
            let when = |time: Option<u64>| time.map_or_else(|| "-".to_owned(), time::text);
            format!(
                "directory       {}\n\
                 oldest offset   {oldest}\n\
                 written below   {written}\n\
                 durable below   {durable}\n\
                 events          {events}\n\
                 bytes on disk   {disk_bytes}\n\
                 first received  {}\n\
                 last received   {}\n",
                dir.display(),
                when(first),
                when(last)
            )
        }
    };
    io::stdout().write_all(text.as_bytes()).map_err(Failure::io("standard output"))?;
    Ok(Exit::Done)
}

fn verify(reader: &mut Reader) -> Result<Exit, Failure> {
    let span = Span { from: reader.oldest(), to: reader.written() };
    let progress = Progress::bytes("verify", span.bytes());
    let mut check = Check::new();
    let mut lines = Vec::new();
    walk(reader, span, |met| {
        match met {
            Met::Block(block) => {
                check.block(block);
                if !block.is_intact() {
                    lines.push(damage(block.span(), None));
                }
                progress.at(block.span().to.bytes() - span.from.bytes());
            }
            Met::Damaged(span, events) => lines.push(damage(span, events)),
            Met::Gone(span) => {
                lines.push(format!("{} to {}: removed meanwhile", span.from, span.to))
            }
        }
        Ok(Then::On)
    })?;
    progress.end();
    let damaged = lines.len();
    for (class, count) in &check.rejected {
        lines.push(format!("{count} records are no events: {class}"));
    }
    let (events, bytes) = (check.events, span.bytes());
    lines.push(match damaged {
        0 => format!("{events} events in {bytes} bytes, every checksum right"),
        damaged => format!("{events} events in {bytes} bytes, {damaged} pieces damaged"),
    });
    let text = lines.join("\n") + "\n";
    io::stdout().write_all(text.as_bytes()).map_err(Failure::io("standard output"))?;
    Ok(if damaged == 0 && check.rejected.is_empty() { Exit::Done } else { Exit::Failed })
}

/// Opens every record, as an exporter would.
struct Check {
    opening: Opening,
    arena: Vec<u8>,
    opened: Opened,
    events: u64,
    /// Records that are no events, by class.
    rejected: BTreeMap<&'static str, u64>,
}

impl Check {
    fn new() -> Self {
        Self {
            // What is configured adds to events and conceals; it never refuses one.
            opening: Opening::new(&OpeningOptions::default()),
            arena: Vec::new(),
            opened: Opened::default(),
            events: 0,
            rejected: BTreeMap::new(),
        }
    }

    fn block(&mut self, block: &RawBlock) {
        for record in block.records() {
            self.opening.begin(&mut self.arena);
            let frame: &Frame = &record.frame;
            let bytes = block.record(record);
            match self.opening.open(frame, bytes, &mut self.arena, &mut self.opened) {
                Ok(()) => self.events += 1,
                Err(reject) => *self.rejected.entry(reject.class.name()).or_default() += 1,
            }
        }
    }
}

fn damage(span: Span, events: Option<u64>) -> String {
    let events = match events {
        Some(events) => format!("{events} events"),
        None => "an unknown number of events".to_owned(),
    };
    format!("{} to {}: damaged, with {events}", span.from, span.to)
}

/// Bytes that the directory's files take, as the file system counts them.
fn disk_bytes(dir: &Path) -> Result<u64, Failure> {
    use std::os::unix::fs::MetadataExt as _;
    let context = || Failure::io(dir.display().to_string());
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir).map_err(context())? {
        let meta = entry.and_then(|entry| entry.metadata()).map_err(context())?;
        // POSIX counts blocks of 512 bytes, whatever the file system's own are.
        bytes += meta.blocks() * 512;
    }
    Ok(bytes)
}

/// Bytes gathered before they are written out.
const OUT_BYTES: usize = 256 << 10;
