//! Appending and reading in one process: what goes in comes out, once, in order.

use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use shrike::event::{Class, Classes, Offset, Span};
use shrike::log::{
    AppendError, Ended, IoChoice, IoKind, Log, LogError, LogOptions, Mark, Priority, Read, Reader,
    STRIPE_BYTES, Waker,
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
    read_on(reader, &mut { from })
}

/// The same, moving `at` behind what was read.
fn read_on(reader: &mut Reader, at: &mut Offset) -> Vec<(Offset, Vec<u8>)> {
    let mut records = Vec::new();
    loop {
        match reader.read(*at, Offset::new(u64::MAX), 256 << 10).expect("readable") {
            Read::Block(block) => {
                for record in block.records() {
                    records.push((record.frame.offset, block.record(record).to_vec()));
                }
                assert!(block.span().to > *at, "reading goes on");
                assert!(block.is_intact());
                *at = block.span().to;
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
        let (log, recovery) = Log::open(options(dir.path(), io)).expect("a new log");
        assert_eq!(recovery.ended, Ended::New);
        let appender = log.appender();
        let mut expected = Vec::new();
        for (number, len) in lengths(400).enumerate() {
            let bytes = record(number as u64, len);
            let offset = appender.append(&bytes, mark(number as u64 + 1)).expect("appended");
            expected.push((offset, bytes));
        }
        let end = log.flush().expect("flushed");
        assert_eq!((log.written(), log.durable()), (end, end));
        let mut reader = log.reader();
        assert!(read_all(&mut reader, Offset::ZERO) == expected, "{io:?}: records differ");
        let all = Span { from: Offset::ZERO, to: end };
        assert_eq!(reader.count(all).expect("counted"), expected.len() as u64);
        log.close().expect("closed");

        let (log, recovery) = Log::open(options(dir.path(), io)).expect("the same log");
        assert_eq!((recovery.ended, recovery.resumed), (Ended::Closed, end));
        assert_eq!((recovery.torn_bytes, recovery.lost), (0, None));
        assert!(read_all(&mut log.reader(), Offset::ZERO) == expected, "{io:?}: after opening");
    }
}

#[test]
fn notes_lie_among_the_records_and_count_for_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let (log, _) = Log::open(options(dir.path(), IoChoice::Syscalls)).expect("a new log");
    let appender = log.appender();
    let (mut expected, mut notes) = (Vec::new(), Vec::new());
    for (number, len) in lengths(200).enumerate() {
        let bytes = record(number as u64, len);
        let mut group = appender.group();
        // Notes close to each other first, then hardly any: most stripes have none.
        let is_noted = if number < 100 { number % 3 != 1 } else { number % 40 == 0 };
        if is_noted {
            let note = format!("note {number}").repeat(1 + number * 20).into_bytes();
            notes.push((group.note(&note).expect("noted"), note));
        }
        let offset = group.append(&bytes, mark(number as u64 + 1)).expect("appended");
        expected.push((offset, bytes));
    }
    let last = appender.group().note(b"the last").expect("noted");
    notes.push((last, b"the last".to_vec()));
    let end = log.flush().expect("flushed");
    let check = |log: &Log| {
        assert!(read_all(&mut log.reader(), Offset::ZERO) == expected, "records differ");
        let all = Span { from: Offset::ZERO, to: end };
        assert_eq!(log.reader().count(all).expect("counted"), expected.len() as u64);
        for from in [0, 50, notes.len() - 1] {
            let mut found = Vec::new();
            let start = if from == 0 { Offset::ZERO } else { notes[from].0 };
            log.reader().notes(start, |at, note| found.push((at, note.to_vec()))).expect("read");
            assert!(found == notes[from..], "notes differ from {start}");
        }
    };
    check(&log);
    log.close().expect("closed");
    let (log, recovery) = Log::open(options(dir.path(), IoChoice::Syscalls)).expect("the same log");
    assert_eq!((recovery.ended, recovery.resumed), (Ended::Closed, end));
    check(&log);
    let too_long = appender.group().note(&vec![b'x'; 1 << 17]);
    assert!(matches!(too_long, Err(AppendError::TooLarge { .. } | AppendError::Closed)));
}

#[test]
fn each_stripe_can_be_read_by_itself_and_together_they_are_all() {
    let dir = tempfile::tempdir().expect("a directory");
    let (log, _) = Log::open(options(dir.path(), IoChoice::Syscalls)).expect("a new log");
    let appender = log.appender();
    let mut expected = Vec::new();
    for (number, len) in lengths(300).enumerate() {
        let bytes = record(number as u64, len);
        expected.push(appender.append(&bytes, mark(7)).expect("appended"));
    }
    let end = log.flush().expect("flushed");
    let mut found = Vec::new();
    let mut reader = log.reader();
    for stripe in 0..end.bytes().div_ceil(STRIPE_BYTES) {
        let span = Span {
            from: Offset::new(stripe * STRIPE_BYTES),
            to: Offset::new(((stripe + 1) * STRIPE_BYTES).min(end.bytes())),
        };
        let (mut at, mut events) = (span.from, 0);
        while at < span.to {
            match reader.read(at, span.to, 10_000).expect("readable") {
                Read::Block(block) => {
                    let is_long = block.records().len() == 1
                        && block.bytes().len() as u64 + 24 > STRIPE_BYTES / 2;
                    assert!(is_long || block.bytes().len() <= 10_000, "bytes_max holds");
                    for raw in block.records() {
                        assert!(raw.frame.offset >= span.from && raw.frame.offset < span.to);
                        found.push(raw.frame.offset);
                    }
                    events += block.records().len() as u64;
                    at = block.span().to;
                }
                Read::Cold(span) => reader.warm(span).expect("warm"),
                other => panic!("stripe {stripe}: {other:?}"),
            }
        }
        assert_eq!(reader.count(span).expect("counted"), events, "stripe {stripe}");
    }
    assert_eq!(found, expected);
    let mut boundaries = expected.windows(2).step_by(7);
    assert!(
        boundaries.all(|pair| {
            reader.count(Span { from: pair[0], to: pair[1] }).expect("counted") == 1
        })
    );
}

#[test]
fn many_threads_append_and_none_is_lost_or_mixed_up() {
    for io in IO {
        let dir = tempfile::tempdir().expect("a directory");
        let (log, _) = Log::open(options(dir.path(), io)).expect("a new log");
        let threads: Vec<_> = (0..4_u64)
            .map(|thread| {
                let appender = log.appender();
                thread::spawn(move || {
                    for number in 0..2_000 {
                        let bytes = record(thread << 32 | number, 600);
                        appender.append(&bytes, mark(number)).expect("appended");
                    }
                    let last = appender.append(b"the last one", mark(0)).expect("appended");
                    appender.wait_durable(last).expect("durable");
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("no panic");
        }
        assert_eq!(log.written(), log.durable());
        let mut next = [0; 4];
        for (_, bytes) in read_all(&mut log.reader(), Offset::ZERO) {
            if bytes == b"the last one" {
                continue;
            }
            let number = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
            let thread = (number >> 32) as usize;
            assert_eq!(bytes, record(number, 600));
            assert_eq!(number & 0xFFFF_FFFF, next[thread], "in the order of its thread");
            next[thread] += 1;
        }
        assert_eq!(next, [2_000; 4]);
    }
}

#[test]
fn what_is_not_durable_stays_bounded_though_nobody_pauses() {
    const BYTES_MAX: u64 = 16 << 20;
    const GROUP_BYTES_MAX: u64 = 1 << 20;
    for io in IO {
        let dir = tempfile::tempdir().expect("a directory");
        let options = LogOptions {
            segment_bytes: 256 * STRIPE_BYTES,
            sync_bytes: 1 << 20,
            ..options(dir.path(), io)
        };
        let (log, _) = Log::open(options).expect("a new log");
        let record = record(0, 16 << 10);
        thread::scope(|scope| {
            for _ in 0..2 {
                let appender = log.appender();
                let record = &record;
                scope.spawn(move || {
                    for received_ns in 0..6_000 {
                        appender.append(record, mark(received_ns)).expect("appended");
                    }
                });
            }
            let mut most = 0;
            while log.written() < Offset::new(180 << 20) {
                let written = log.written().bytes();
                most = most.max(written.saturating_sub(log.durable().bytes()));
                thread::sleep(Duration::from_micros(200));
            }
            assert!(most <= BYTES_MAX + GROUP_BYTES_MAX, "{io:?}: {most} bytes were not durable");
        });
        log.close().expect("closed");
    }
}

/// Whether the kernel has a writer's thread in its real-time class (proc_pid_stat(5): `policy`).
fn some_writer_is_realtime() -> bool {
    let tasks = std::fs::read_dir("/proc/self/task").expect("tasks");
    let stats =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok());
    let mut writers = stats.filter(|stat| stat.contains("(log-write)"));
    writers.any(|stat| {
        let (_, fields) = stat.rsplit_once(") ").expect("a name in parentheses");
        fields.split(' ').nth(38) == Some(SCHED_RR)
    })
}

const SCHED_RR: &str = "2";

#[test]
fn the_writer_runs_before_others_where_it_is_told_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let (log, _) = Log::open(options(dir.path(), IoChoice::Auto)).expect("a new log");
    assert_eq!(log.priority(), Priority::Usual);
    assert!(!some_writer_is_realtime());
    log.close().expect("closed");
    let options = LogOptions { is_realtime: true, ..options(dir.path(), IoChoice::Auto) };
    let (log, _) = Log::open(options).expect("the same log");
    assert_eq!(log.priority() == Priority::Realtime, some_writer_is_realtime());
    log.close().expect("closed");
}

#[test]
fn a_waker_rings_once_per_arming_and_never_too_early() {
    for io in IO {
        let dir = tempfile::tempdir().expect("a directory");
        let (log, _) = Log::open(options(dir.path(), io)).expect("a new log");
        let appender = log.appender();
        // The first segment's head is written by then, and rings no more.
        let (reader, mut at) = (log.reader(), log.flush().expect("flushed"));
        let waker = reader.waker().expect("a waker");
        for number in 0..200 {
            assert!(!waker.arm(log.written().max(at)), "nothing new yet");
            let offset = appender.append(&record(number, 100), mark(number)).expect("appended");
            wait(&waker);
            assert!(log.written() > offset);
            assert!(waker.arm(offset), "already there");
            waker.clear();
            at = log.written();
        }
        let offset = appender.append(b"last", mark(0)).expect("appended");
        if !waker.arm_durable(offset) {
            wait(&waker);
        }
        assert!(log.durable() > offset);
    }
}

#[test]
fn a_reader_of_another_process_is_woken_through_the_shared_page() {
    let dir = tempfile::tempdir().expect("a directory");
    let (log, _) = Log::open(options(dir.path(), IoChoice::Syscalls)).expect("a new log");
    // What another process does, in this one: it shares nothing with `log` but the files.
    let mut foreign = Reader::open_dir(&dir.path().join("log")).expect("readable");
    let waker = foreign.waker().expect("a waker");
    let expected: Vec<Vec<u8>> = lengths(150).map(|len| record(5, len)).collect();
    let found = thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let (mut found, mut at) = (Vec::new(), Offset::ZERO);
            loop {
                let new = read_on(&mut foreign, &mut at);
                found.extend(new.into_iter().map(|(_, bytes)| bytes));
                if found.len() == expected.len() {
                    return found;
                }
                if !waker.arm(at) {
                    wait(&waker);
                }
            }
        });
        for bytes in &expected {
            log.appender().append(bytes, mark(1)).expect("appended");
        }
        log.flush().expect("flushed");
        reading.join().expect("no panic")
    });
    assert!(found == expected, "in order, each once");
    let rest = read_all(&mut foreign, Offset::ZERO);
    assert_eq!(rest.len(), 150);
    let all = Span { from: Offset::ZERO, to: log.written() };
    assert_eq!(foreign.count(all).expect("counted"), 150);
}

/// The writer names a segment before it gives it its length, and a reader of another process may
/// look at the directory in between.
#[test]
fn a_segment_that_was_seen_before_it_had_its_length_is_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let (log, _) = Log::open(options(dir.path(), IoChoice::Syscalls)).expect("a new log");
    for len in lengths(150) {
        log.appender().append(&record(5, len), mark(1)).expect("appended");
    }
    log.flush().expect("flushed");
    let files = std::fs::read_dir(dir.path().join("log")).expect("the log's directory");
    let mut segments: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    segments.sort();
    assert!(segments.len() > 3, "{segments:?}");
    let (whole, aside) = (&segments[1], dir.path().join("aside"));
    std::fs::rename(whole, &aside).expect("renamed");
    std::fs::File::create(whole).expect("an empty file");
    let mut foreign = Reader::open_dir(&dir.path().join("log")).expect("readable");
    std::fs::rename(&aside, whole).expect("renamed back");
    assert_eq!(read_all(&mut foreign, Offset::ZERO).len(), 150);
}

#[test]
fn a_killed_writer_loses_nothing_that_was_written() {
    if let Ok(dir) = std::env::var(CHILD) {
        append_until_killed(&PathBuf::from(dir));
    }
    let dir = tempfile::tempdir().expect("a directory");
    let mut expected = 0;
    for round in 0..8 {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "a_killed_writer_loses_nothing_that_was_written", "--nocapture"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        // Numbers that a reader was shown; the kill comes somewhere behind them.
        let shown = lines
            .map_while(Result::ok)
            .filter_map(|line| line.strip_prefix("shown ").and_then(|n| n.parse::<u64>().ok()))
            .nth(20 + round * 13)
            .expect("the child appends");
        child.kill().expect("killed");
        child.wait().expect("gone");
        let (log, recovery) =
            Log::open(options(dir.path(), IoChoice::Syscalls)).expect("opens by itself");
        assert_eq!(recovery.ended, Ended::Crashed, "{recovery}");
        assert_eq!(recovery.lost, None);
        let found = read_all(&mut log.reader(), Offset::ZERO);
        for (number, (_, bytes)) in found.iter().enumerate() {
            assert_eq!(bytes[..8], (number as u64).to_le_bytes(), "each once, in order");
        }
        assert!(found.len() as u64 > shown, "{shown} was shown, {} are there", found.len());
        assert!(found.len() > expected, "earlier rounds stay");
        expected = found.len();
        drop(log);
    }
}

/// The child: goes on with the numbers that are there, and tells those that a reader can see.
fn append_until_killed(dir: &Path) -> ! {
    let (log, _) = Log::open(options(dir, IoChoice::Auto)).expect("opened");
    let mut number = read_all(&mut log.reader(), Offset::ZERO).len() as u64;
    let waker = log.reader().waker().expect("a waker");
    loop {
        let mut last = Offset::ZERO;
        for _ in 0..50 {
            let bytes = record(number, 8 + (number * 37 % 3_000) as usize);
            last = log.appender().append(&bytes, mark(number)).expect("appended");
            number += 1;
        }
        // A signal may still be on its way from the time before.
        while !waker.arm(last) {
            wait(&waker);
        }
        println!("shown {}", number - 1);
    }
}

#[test]
fn retention_keeps_what_is_pinned_until_the_hard_bound() {
    let dir = tempfile::tempdir().expect("a directory");
    let segment = 2 * STRIPE_BYTES;
    let options = LogOptions {
        segment_bytes: segment,
        keep_bytes: 3 * segment,
        bytes_max: 8 * segment,
        keep_age: Duration::from_secs(3_600),
        ..options(dir.path(), IoChoice::Syscalls)
    };
    let (log, _) = Log::open(options).expect("a new log");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64;
    let mut reader = log.reader();
    let fill = |segments: u64| {
        for number in 0..segments * 210 {
            log.appender().append(&record(number, 10_000), mark(now)).expect("appended");
        }
        log.flush().expect("flushed")
    };
    fill(6);
    let held = match reader.read(Offset::ZERO, log.written(), 5_000).expect("readable") {
        Read::Block(block) => block,
        other => panic!("{other:?}"),
    };
    let nothing = log.retain(Offset::ZERO).expect("asked");
    assert_eq!((nothing.events, nothing.segments), (0, 0), "pinned, and below the hard bound");

    let pinned = Offset::new(2 * segment + 5);
    let planned = log.retainable(pinned).expect("asked");
    let share = reader.count(planned.span).expect("counted");
    let taken = log.retain(pinned).expect("taken");
    assert_eq!(planned, taken);
    assert_eq!(taken.segments, 2, "only what lies wholly below the pin");
    assert_eq!(taken.span, Span { from: Offset::ZERO, to: Offset::new(2 * segment) });
    assert_eq!(taken.events, share);
    assert!(taken.events > 400);
    assert_eq!(log.oldest(), taken.span.to);
    assert!(matches!(
        reader.read(Offset::ZERO, log.written(), 1).expect("answered"),
        Read::Gone { oldest } if oldest == taken.span.to
    ));
    assert_eq!(held.record(&held.records()[0]), record(0, 10_000), "a block keeps its bytes");

    fill(6);
    let forced = log.retain(Offset::ZERO).expect("taken");
    assert!(forced.segments > 0, "the hard bound takes what is pinned");
    let left = read_all(&mut reader, log.oldest()).len() as u64;
    let span = Span { from: log.oldest(), to: log.written() };
    assert_eq!(left, 12 * 210 - taken.events - forced.events);
    assert_eq!(reader.count(span).expect("counted"), left);
    log.close().expect("closed");
    let files = std::fs::read_dir(dir.path().join("log")).expect("a directory").count();
    assert!(files <= 2 * 8 + 4, "{files} files are left");
}

#[test]
fn age_alone_makes_passed_segments_go() {
    let dir = tempfile::tempdir().expect("a directory");
    let segment = 2 * STRIPE_BYTES;
    let options = LogOptions {
        segment_bytes: segment,
        keep_age: Duration::from_secs(3_600),
        ..options(dir.path(), IoChoice::Syscalls)
    };
    let (log, _) = Log::open(options).expect("a new log");
    for number in 0..600 {
        log.appender().append(&record(number, 10_000), mark(1)).expect("appended");
    }
    let end = log.flush().expect("flushed");
    assert_eq!(log.retain(end).expect("taken").segments, 2, "received in 1970");
    assert!(log.oldest() < end, "what is being written stays");
}

#[test]
fn a_time_leads_to_the_first_record_received_then() {
    let dir = tempfile::tempdir().expect("a directory");
    let (log, _) = Log::open(options(dir.path(), IoChoice::Syscalls)).expect("a new log");
    let offsets: Vec<Offset> = (0..3_000)
        .map(|number| log.appender().append(&record(number, 2_000), mark(number * 10)))
        .map(|appended| appended.expect("appended"))
        .collect();
    let end = log.flush().expect("flushed");
    let foreign = Reader::open_dir(&dir.path().join("log")).expect("readable");
    for reader in [log.reader(), foreign] {
        for number in (1..3_000).step_by(271) {
            let found = reader.seek_time(number as u64 * 10 - 5).expect("found");
            assert_eq!(found, offsets[number]);
            let between = Offset::new(offsets[number].bytes() - 3);
            assert_eq!(reader.align(between).expect("found"), offsets[number]);
        }
        assert_eq!(reader.seek_time(0).expect("found"), offsets[0]);
        assert_eq!(reader.seek_time(u64::MAX).expect("none"), end);
    }
}

#[test]
fn frames_keep_what_intake_said() {
    let dir = tempfile::tempdir().expect("a directory");
    let (log, _) = Log::open(options(dir.path(), IoChoice::Syscalls)).expect("a new log");
    let mut repaired = Classes::NONE;
    repaired.insert(Class::Bom);
    let marks = [
        Mark::default(),
        Mark { received_ns: u64::MAX, checked: true, mapped: false, repaired },
        Mark { received_ns: 1, checked: false, mapped: true, repaired: Classes::NONE },
    ];
    for mark in marks {
        log.appender().append(b"{}", mark).expect("appended");
    }
    log.flush().expect("flushed");
    let Read::Block(block) =
        log.reader().read(Offset::ZERO, log.written(), 4096).expect("readable")
    else {
        panic!("a block");
    };
    let found: Vec<Mark> = block
        .records()
        .iter()
        .map(|raw| Mark {
            received_ns: raw.frame.received_ns,
            checked: raw.frame.checked,
            mapped: raw.frame.mapped,
            repaired: raw.frame.repaired,
        })
        .collect();
    assert_eq!(found, marks);
}

#[test]
fn what_cannot_be_taken_is_refused_with_its_bound() {
    let dir = tempfile::tempdir().expect("a directory");
    let wrong = [
        LogOptions { segment_bytes: STRIPE_BYTES + 1, ..options(dir.path(), IoChoice::Auto) },
        LogOptions { segment_bytes: STRIPE_BYTES, ..options(dir.path(), IoChoice::Auto) },
        LogOptions { bytes_max: STRIPE_BYTES, ..options(dir.path(), IoChoice::Auto) },
    ];
    for options in wrong {
        let error = Log::open(options).expect_err("refused");
        assert!(matches!(error, LogError::Option { .. }), "{error}");
    }
    let (log, _) = Log::open(options(dir.path(), IoChoice::IoUring)).expect("a new log");
    assert_eq!(log.io(), IoKind::IoUring);
    let appender = log.appender();
    let bytes_max = appender.record_bytes_max();
    appender.append(&vec![b'x'; bytes_max], mark(1)).expect("just fits");
    let refused = appender.append(&vec![b'x'; bytes_max + 1], mark(1)).expect_err("too long");
    assert!(matches!(refused, AppendError::TooLarge { .. }), "{refused}");
    log.clone().close().expect("closed");
    let refused = appender.append(b"late", mark(1)).expect_err("closed");
    assert!(matches!(refused, AppendError::Closed), "{refused}");
    let late = Offset::new(u64::MAX - 1);
    assert!(matches!(appender.wait_durable(late), Err(AppendError::Closed)));
    assert_eq!(read_all(&mut log.reader(), Offset::ZERO).len(), 1);
}

const CHILD: &str = "SHRIKE_TEST_LOG_CHILD";
