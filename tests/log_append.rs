//! Appending and reading in one process: what goes in comes out, once, in order.

use std::os::fd::AsFd;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use shrike::event::{Offset, Span};
use shrike::log::{
    AppendError, IoChoice, IoKind, Log, LogError, LogOptions, Mark, Read, Reader, STRIPE_BYTES,
    Waker,
};

const IO: [IoChoice; 2] = [IoChoice::Syscalls, IoChoice::IoUring];

fn options(dir: &Path, io: IoChoice) -> LogOptions {
    LogOptions {
        dir: dir.join("log"),
        segment_bytes: 4 * STRIPE_BYTES,
        sync_interval: Duration::from_millis(2),
        io,
        ..LogOptions::default()
    }
}

fn mark(received_ns: u64) -> Mark {
    Mark { received_ns, checked: true, ..Mark::default() }
}

/// A record of any length whose bytes tell its number.
fn record(number: u64, len: usize) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.extend((8..len).map(|at| (number as usize * 31 + at * 7) as u8));
    bytes
}

/// Lengths that meet every edge of a stripe, from a seed.
fn lengths(count: usize) -> impl Iterator<Item = usize> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    (0..count).map(move |at| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        match at % 97 {
            13 => 1 << 20,
            41 => (1 << 20) - 24,
            59 => (2 << 20) + 17,
            77 => (1 << 20) - 64 - 24,
            _ => 8 + (state % 5_000) as usize,
        }
    })
}

/// Everything that a reader finds from `from` to `written`.
fn read_all(reader: &mut Reader, from: Offset) -> Vec<(Offset, Vec<u8>)> {
    let mut records = Vec::new();
    let mut at = from;
    loop {
        match reader.read(at, Offset::new(u64::MAX), 256 << 10).expect("readable") {
            Read::Block(block) => {
                for record in block.records() {
                    records.push((record.frame.offset, block.record(record).to_vec()));
                }
                assert!(block.span().to > at, "reading goes on");
                assert!(block.is_intact());
                at = block.span().to;
            }
            Read::Cold(span) => reader.warm(span).expect("warm"),
            Read::End => return records,
            other => panic!("expected a block at {at}, found {other:?}"),
        }
    }
}

fn wait(waker: &Waker) {
    let mut fds = [PollFd::from_borrowed_fd(waker.as_fd(), PollFlags::IN)];
    let patience = Timespec { tv_sec: 20, tv_nsec: 0 };
    assert_eq!(poll(&mut fds, Some(&patience)).expect("poll"), 1, "woken within 20 s");
    waker.clear();
}

#[test]
fn records_of_every_length_come_back_in_order() {
    for io in IO {
        let dir = tempfile::tempdir().expect("a directory");
        let (log, _) = Log::open(options(dir.path(), io)).expect("a new log");
        let appender = log.appender();
        let mut expected = Vec::new();
        for (number, len) in lengths(1_500).enumerate() {
            let bytes = record(number as u64, len);
            let offset = appender.append(&bytes, mark(number as u64 + 1)).expect("appended");
            expected.push((offset, bytes));
        }
        let end = log.flush().expect("flushed");
        assert_eq!((log.written(), log.durable()), (end, end));
        let mut reader = log.reader();
        let found = read_all(&mut reader, Offset::ZERO);
        assert_eq!(found.len(), expected.len(), "{io:?}");
        assert!(found == expected, "{io:?}: records differ");
        let all = Span { from: Offset::ZERO, to: end };
        assert_eq!(reader.count(all).expect("counted"), expected.len() as u64);
        log.close().expect("closed");
    }
}
