//! What the log costs: `cargo bench --bench log` for single steps, `cargo bench --bench log --
//! cost` for CPU seconds per million records of 1,000 bytes, user and system, all threads.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use criterion::{BatchSize, Criterion, Throughput};
use shrike::event::{Offset, Span};
use shrike::log::{IoChoice, Log, LogOptions, Mark, Parsed, Read, Window};

const RECORD_BYTES: usize = 1_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().position(|argument| argument == "cost") {
        Some(at) => cost(&arguments[at + 1..]),
        None => {
            let mut criterion = Criterion::default().configure_from_args();
            steps(&mut criterion);
            criterion.final_summary();
        }
    }
}

/// One step at a time.
fn steps(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory");
    let (log, _) = Log::open(options(dir.path(), IoChoice::Syscalls)).expect("a new log");
    let appender = log.appender();
    let record = record();
    let mut group = criterion.benchmark_group("log");
    group.throughput(Throughput::Elements(1));
    group.bench_function("crc32c", |bencher| {
        bencher.iter(|| crc_fast::crc32_iscsi(black_box(&record)));
    });
    group.bench_function("append", |bencher| {
        bencher.iter(|| appender.append(black_box(&record), mark()).expect("appended"));
    });
    group.bench_function("append in groups of 100", |bencher| {
        bencher.iter_custom(|count| {
            let start = Instant::now();
            let mut left = count;
            while left > 0 {
                let mut group = appender.group();
                for _ in 0..left.min(100) {
                    group.append(black_box(&record), mark()).expect("appended");
                }
                left -= left.min(100);
            }
            start.elapsed()
        });
    });
    log.flush().expect("flushed");
    drop(log);

    let dir = tempfile::tempdir().expect("a directory");
    let (log, _) = Log::open(options(dir.path(), IoChoice::Syscalls)).expect("a new log");
    append(&log, 20_000);
    let block = first_block(&log);
    let frame = Window { base: block.span().from, bytes: block.bytes() };
    let at = block.records()[0].frame.offset;
    group.bench_function("frame checked", |bencher| {
        bencher.iter(|| Parsed::parse(black_box(frame), at));
    });
    group.throughput(Throughput::Elements(block.records().len() as u64));
    let mut reader = log.reader();
    let span = block.span();
    group.bench_function("block of 256 KiB read", |bencher| {
        bencher.iter_batched(
            || (),
            |()| reader.read(span.from, span.to, 256 << 10).expect("readable"),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// CPU seconds per million records: append to durable, then read with checksums.
fn cost(arguments: &[String]) {
    let usage = "cost [syscalls|io_uring] [DIR] [COUNT] [RATE]";
    let io = match arguments.first().map(String::as_str) {
        None | Some("syscalls") => IoChoice::Syscalls,
        Some("io_uring") => IoChoice::IoUring,
        Some(other) => panic!("expected {usage}, found {other}"),
    };
    let made = tempfile::tempdir().expect("a directory");
    let dir = arguments.get(1).map_or(made.path().to_path_buf(), PathBuf::from);
    let count: u64 = arguments.get(2).map_or(2_000_000, |count| count.parse().expect(usage));
    let rate: Option<u64> = arguments.get(3).map(|rate| rate.parse().expect(usage));
    let _ = std::fs::remove_dir_all(dir.join("log"));
    let (log, recovery) = Log::open(options(&dir, io)).expect("a log");
    println!("{} records of {RECORD_BYTES} bytes, {}: {recovery}", count, log.io());

    let (cpu, wall) = (cpu_seconds(), Instant::now());
    match rate {
        None => append(&log, count),
        Some(rate) => append_at(&log, count, rate),
    }
    log.flush().expect("flushed");
    report("append to durable", count, cpu, wall);

    let (cpu, wall) = (cpu_seconds(), Instant::now());
    assert_eq!(read(&log), count);
    report("read with checksums", count, cpu, wall);

    let (cpu, wall) = (cpu_seconds(), Instant::now());
    let all = Span { from: Offset::ZERO, to: log.written() };
    assert_eq!(log.reader().count(all).expect("counted"), count);
    report("count by index", count, cpu, wall);
    log.close().expect("closed");
}

fn append(log: &Log, count: u64) {
    let (appender, record) = (log.appender(), record());
    let mut left = count;
    while left > 0 {
        let mut group = appender.group();
        for _ in 0..left.min(64) {
            group.append(&record, mark()).expect("appended");
        }
        left -= left.min(64);
    }
}

/// Single appends at a rate; tells how long each took until it could be read.
fn append_at(log: &Log, count: u64, rate: u64) {
    let (appender, record) = (log.appender(), record());
    let mut waits = Vec::with_capacity(count as usize);
    let mut slowest = Duration::ZERO;
    let (sender, receiver) = std::sync::mpsc::channel::<(Offset, Instant)>();
    let reader = log.reader();
    let watcher = std::thread::spawn(move || {
        let waker = reader.waker().expect("a waker");
        for (offset, start) in receiver {
            while !waker.arm(offset) {
                let mut fds = [rustix::event::PollFd::new(&waker, rustix::event::PollFlags::IN)];
                rustix::event::poll(&mut fds, None).expect("poll");
                waker.clear();
            }
            waits.push(start.elapsed());
        }
        waits
    });
    let start = Instant::now();
    for number in 0..count {
        let due = start + Duration::from_nanos(number * 1_000_000_000 / rate);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let before = Instant::now();
        let offset = appender.append(&record, mark()).expect("appended");
        slowest = slowest.max(before.elapsed());
        sender.send((offset, before)).expect("the watcher lives");
    }
    drop(sender);
    let mut waits = watcher.join().expect("the watcher lives");
    waits.sort_unstable();
    let at = |part: f64| waits[((waits.len() - 1) as f64 * part) as usize];
    println!(
        "append -> written: p50 {:?}, p99 {:?}, p99.9 {:?}, max {:?}; slowest append {slowest:?}",
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    );
}

fn read(log: &Log) -> u64 {
    let mut reader = log.reader();
    let (mut at, mut count) = (Offset::ZERO, 0);
    loop {
        match reader.read(at, Offset::new(u64::MAX), 256 << 10).expect("readable") {
            Read::Block(block) => {
                count += block.records().len() as u64;
                at = block.span().to;
            }
            Read::Cold(span) => reader.warm(span).expect("warm"),
            Read::End => return count,
            other => panic!("expected a block, found {other:?}"),
        }
    }
}

fn first_block(log: &Log) -> shrike::log::RawBlock {
    log.flush().expect("flushed");
    let mut reader = log.reader();
    loop {
        match reader.read(Offset::ZERO, log.written(), 256 << 10).expect("readable") {
            Read::Block(block) => return block,
            Read::Cold(span) => reader.warm(span).expect("warm"),
            other => panic!("expected a block, found {other:?}"),
        }
    }
}

fn options(dir: &Path, io: IoChoice) -> LogOptions {
    LogOptions { dir: dir.join("log"), io, ..LogOptions::default() }
}

fn record() -> Vec<u8> {
    (0..RECORD_BYTES).map(|at| b' ' + (at * 7 % 90) as u8).collect()
}

fn mark() -> Mark {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    Mark { received_ns: since.as_nanos() as u64, checked: true, ..Mark::default() }
}

fn report(what: &str, count: u64, cpu: f64, wall: Instant) {
    let (cpu, wall) = (cpu_seconds() - cpu, wall.elapsed().as_secs_f64());
    let millions = count as f64 / 1e6;
    println!(
        "{what}: {:.3} CPU-s per million, {:.2} million/s, {:.2} GB/s",
        cpu / millions,
        millions / wall,
        (count as usize * RECORD_BYTES) as f64 / wall / 1e9
    );
}

/// User and system time of all threads so far.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
