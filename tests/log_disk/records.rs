//! Numbered records: appended to a log on a disk of a test's own, read back, compared.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use shrike::event::{Offset, Span};
use shrike::log::{
    AppendError, IoChoice, Log, LogIo, LogOptions, Mark, Read, Reader, STRIPE_BYTES,
};

use super::refuse::Refusing;

pub(crate) fn options(dir: &Path) -> LogOptions {
    LogOptions {
        dir: dir.join("log"),
        segment_bytes: 4 * STRIPE_BYTES,
        sync_interval: Duration::from_millis(1),
        io: IoChoice::Syscalls,
        ..LogOptions::default()
    }
}

pub(crate) fn open_on(dir: &Path, disk: &Arc<Refusing>) -> Log {
    Log::open_on(options(dir), Arc::clone(disk) as Arc<dyn LogIo>).expect("opened").0
}

pub(crate) fn record(number: u64) -> Vec<u8> {
    number.to_le_bytes().repeat(200)
}

/// Appends records `from..to` as one group, all or an error.
pub(crate) fn append(log: &Log, from: u64, to: u64) -> Result<Vec<Offset>, AppendError> {
    let appender = log.appender();
    let mut group = appender.group();
    let append = |number| {
        let mark = Mark { received_ns: number, ..Mark::default() };
        group.append(&record(number), mark)
    };
    (from..to).map(append).collect()
}

/// What a reader finds: the numbers of whole records, and the spans that it cannot read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) numbers: Vec<u64>,
    pub(crate) damaged: Vec<(Span, Option<u64>)>,
}

pub(crate) fn read_all(reader: &mut Reader) -> Found {
    let mut found = Found::default();
    let mut at = reader.oldest();
    loop {
        match reader.read(at, Offset::new(u64::MAX), 64 << 10).expect("readable") {
            Read::Block(block) => {
                for raw in block.records() {
                    let bytes = block.record(raw);
                    let number = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
                    assert!(bytes == record(number), "record {number} is another");
                    found.numbers.push(number);
                }
                at = block.span().to;
            }
            // What cannot be warmed is damaged: the next read tells.
            Read::Cold(span) => drop(reader.warm(span)),
            Read::Damaged { span, events } => {
                assert!(span.to > at, "reading goes on");
                found.damaged.push((span, events));
                at = span.to;
            }
            Read::End => return found,
            gone @ Read::Gone { .. } => panic!("at {at}: {gone:?}"),
        }
    }
}

pub(crate) fn files(dir: &Path, suffix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("log")).expect("a directory");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == suffix));
    paths.sort_unstable();
    paths
}

/// Asks until there is an answer, at most 30 s; each round waits for the disk, so it does not spin.
pub(crate) fn eventually<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let start = std::time::Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "no answer within 30 s");
        std::thread::yield_now();
    }
}
