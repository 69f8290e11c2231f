//! What a failing disk or a careless hand took of a log: what was not acknowledged is written
//! again, what cannot come back is counted and told, and reading goes on.

#[path = "log_disk/records.rs"]
mod records;
#[path = "log_disk/refuse.rs"]
mod refuse;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use records::{append, eventually, files, open_on, options, read_all, record};
use refuse::{Call, Refusing};
use shrike::event::{Offset, Span};
use shrike::log::{Log, LogIo, LogOptions, Mark, STRIPE_BYTES, sweep};

#[test]
fn what_a_failed_sync_took_from_the_page_cache_is_written_from_memory() {
    // Some, several stripes of them, and more than a segment.
    for count in [10, 1_500, 4_000] {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = Refusing::losing();
        let log = open_on(dir.path(), &disk);
        append(&log, 0, 100).expect("appended");
        log.flush().expect("flushed");
        disk.refuse(Call::Sync, libc::EIO);
        let taken = append(&log, 100, 100 + count).unwrap_or_default().len() as u64;
        let noted = log.appender().group().note(b"all of them").is_ok();
        disk.wait();
        eventually(|| log.flush().ok());
        // Whoever waited for these was told that they are durable.
        let found = read_all(&mut log.reader());
        let numbers: BTreeSet<u64> = found.numbers.iter().copied().collect();
        let missing = (0..100 + taken).filter(|number| !numbers.contains(number)).count();
        assert_eq!(missing, 0, "of {taken}");
        let mut notes = 0;
        log.reader().notes(Offset::ZERO, |_, _| notes += 1).expect("readable");
        assert!(!noted || notes > 0, "the note is gone");
        log.close().expect("closed");
        let log = open_on(dir.path(), &disk);
        let again: BTreeSet<u64> = read_all(&mut log.reader()).numbers.into_iter().collect();
        assert_eq!(again, numbers);
    }
}

/// The numbers of the records in a store, in order.
fn stored(log: &Log) -> Vec<u64> {
    let mut numbers = Vec::new();
    sweep(&mut log.reader(), |_, bytes| {
        numbers.push(u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")));
        std::ops::ControlFlow::Continue(())
    })
    .expect("readable");
    numbers
}

#[test]
fn a_failed_sync_leaves_each_record_of_a_store_once() {
    for disk in [Refusing::new(), Refusing::losing()] {
        let dir = tempfile::tempdir().expect("a directory");
        let options = || LogOptions { is_store: true, ..options(dir.path()) };
        let open = || {
            let disk = Arc::clone(&disk) as Arc<dyn LogIo>;
            Log::open_on(options(), disk).expect("opened").0
        };
        let log = open();
        append(&log, 0, 10).expect("appended");
        log.flush().expect("flushed");
        for _ in 0..3 {
            disk.refuse(Call::Sync, libc::EIO);
        }
        append(&log, 10, 20).expect("appended");
        disk.wait();
        eventually(|| log.flush().ok());
        append(&log, 20, 30).expect("appended");
        log.flush().expect("flushed");
        assert_eq!(stored(&log), (0..30).collect::<Vec<_>>());
        log.close().expect("closed");
        assert_eq!(stored(&open()), (0..30).collect::<Vec<_>>(), "opened again");
    }
}

#[test]
fn a_missing_segment_is_damage_that_is_counted_and_read_past() {
    // With its index, which knows how many events it held, and without.
    for has_index in [true, false] {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = Refusing::new();
        let log = open_on(dir.path(), &disk);
        let mut offsets = Vec::new();
        for from in (0..16_000).step_by(100) {
            offsets.extend(append(&log, from, from + 100).expect("appended"));
        }
        log.flush().expect("flushed");
        log.close().expect("closed");
        let segment = 4 * STRIPE_BYTES;
        let (from, to) = (2 * segment, 4 * segment);
        let paths = [files(dir.path(), "log"), files(dir.path(), "index")].concat();
        for path in paths {
            let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a name");
            let base: u64 = name.parse().expect("an offset");
            let is_log = path.extension().is_some_and(|extension| extension == "log");
            if (from..to).contains(&base) && (is_log || !has_index) {
                fs::remove_file(&path).expect("removed");
            }
        }
        let is_gone = |at: &Offset| (from..to).contains(&at.bytes());
        let gone = offsets.iter().filter(|at| is_gone(at)).count() as u64;
        let kept: Vec<u64> =
            (0..16_000).filter(|&number| !is_gone(&offsets[number as usize])).collect();

        // The process that writes, and one that only reads.
        let (log, recovery) = Log::open(options(dir.path())).expect("opened");
        assert_eq!(recovery.missing_bytes, to - from, "{recovery}");
        assert!(recovery.to_string().contains("segments are missing"), "{recovery}");
        let foreign = shrike::log::Reader::open_dir(&dir.path().join("log")).expect("readable");
        for mut reader in [log.reader(), foreign] {
            let found = read_all(&mut reader);
            assert_eq!(found.numbers, kept);
            let damaged: u64 = found.damaged.iter().map(|(span, _)| span.bytes()).sum();
            assert_eq!(damaged, to - from, "all of it, and nothing else");
            let known: Option<u64> = found.damaged.iter().map(|(_, events)| *events).sum();
            assert_eq!(known, has_index.then_some(gone));
            let all = Span { from: Offset::ZERO, to: log.written() };
            let counted = kept.len() as u64 + known.unwrap_or(0);
            assert_eq!(reader.count(all).expect("counted"), counted);
            assert!(!reader.holds(Offset::new(from)) && reader.holds(Offset::new(to)));
            assert_eq!(
                reader.align(Offset::new(from)).expect("found"),
                offsets[kept_after(to, &offsets)]
            );
        }
        append(&log, 16_000, 16_001).expect("appended");
        log.flush().expect("flushed");
        // Retention takes it like any other: all of this was received long ago.
        let taken = log.retain(log.written()).expect("retained");
        assert!(log.oldest().bytes() >= to && taken.events > 0, "{taken:?}");
        assert_eq!(files(dir.path(), "index").len(), files(dir.path(), "log").len());
    }
}

/// The first of the offsets that lies at or above this one.
fn kept_after(at: u64, offsets: &[Offset]) -> usize {
    offsets.partition_point(|offset| offset.bytes() < at)
}

#[test]
fn a_full_disk_that_turns_out_a_bad_one_is_left_for_a_new_segment() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = Refusing::new();
    let log = open_on(dir.path(), &disk);
    append(&log, 0, 10).expect("appended");
    log.flush().expect("flushed");
    disk.spoil(&files(dir.path(), "log")[0]);
    disk.refuse(Call::Write, libc::ENOSPC);
    append(&log, 10, 20).expect("taken into the group");
    disk.wait();
    eventually(|| append(&log, 20, 21).ok());
    eventually(|| log.flush().ok());
    let found = read_all(&mut log.reader());
    assert_eq!((found.numbers, found.damaged), ((0..21).collect(), vec![]));
}

#[test]
fn a_disk_without_space_for_the_next_segment_is_not_full_before_that_is_needed() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = Refusing::new();
    let log = open_on(dir.path(), &disk);
    let mut number = 0;
    while log.written().bytes() < 5 * STRIPE_BYTES {
        append(&log, number, number + 100).expect("appended");
        log.flush().expect("flushed");
        number += 100;
    }
    (0..1_000).for_each(|_| disk.refuse(Call::Create, libc::ENOSPC));
    while log.written().bytes() < 7 * STRIPE_BYTES {
        append(&log, number, number + 10).expect("there is room in this segment");
        log.flush().expect("flushed");
        number += 10;
    }
    // What all have passed may go early, but nobody has to give anything up.
    eventually(|| (log.retainable(log.written()).expect("asked").segments == 1).then_some(()));
    assert!(disk.left() < 1_000);
    assert!(!log.is_full() && log.full_until().is_none());
    while append(&log, number, number + 1).is_ok() {
        number += 1;
    }
    assert!(log.is_full() && log.full_until().is_some());
}

/// Fills segments with records of these times, nanoseconds since 1970, and one more.
fn fill(log: &Log, times: &[u64]) {
    for (segment, &received_ns) in times.iter().chain(&[0]).enumerate() {
        let end = (segment as u64 + 1) * 4 * STRIPE_BYTES;
        let received_ns = if segment == times.len() { now_ns() } else { received_ns };
        let mark = Mark { received_ns, ..Mark::default() };
        while log.appender().append(&record(7), mark).expect("appended").bytes() + 4_000 < end {
            if segment == times.len() {
                break;
            }
        }
    }
    log.flush().expect("flushed");
}

fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_nanos()).expect("before 2554")
}

#[test]
fn segments_dated_in_the_future_go_with_those_behind_them() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = LogOptions { keep_age: Duration::from_secs(3_600), ..options(dir.path()) };
    let (log, _) = Log::open(options).expect("opened");
    let (now, hour, year) = (now_ns(), 3_600_000_000_000, 8_760 * 3_600_000_000_000);
    fill(&log, &[now + year, now - 2 * hour, now + year, now]);
    // The clock was wrong for a while; the second one tells how old the first is at least, and
    // nothing tells that of the third yet.
    let going = log.retainable(log.written()).expect("asked");
    assert_eq!(going.segments, 2);
}

#[test]
fn a_segment_that_the_disk_does_not_let_go_is_tried_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = Refusing::new();
    let options = LogOptions { keep_age: Duration::from_secs(1), ..options(dir.path()) };
    let (log, _) = Log::open_on(options, Arc::clone(&disk) as Arc<dyn LogIo>).expect("opened");
    fill(&log, &[1, 1, 1]);
    disk.refuse(Call::Unlink, libc::EIO);
    disk.refuse(Call::Unlink, libc::EIO);
    let there = files(dir.path(), "log").len();
    let gone = log.retain(log.written()).expect("they are no part of the log any more");
    assert_eq!((gone.segments, files(dir.path(), "log").len()), (3, there));
    log.remove_taken().expect_err("refused once more");
    assert_eq!(files(dir.path(), "log").len(), there, "none before the oldest");
    log.remove_taken().expect("removed");
    assert_eq!(files(dir.path(), "log").len(), there - 3);
}

#[test]
fn zeros_in_the_middle_of_a_segment_without_its_index_end_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = Refusing::new();
    let log = open_on(dir.path(), &disk);
    let mut offsets = Vec::new();
    for from in (0..6_000).step_by(100) {
        offsets.extend(append(&log, from, from + 100).expect("appended"));
    }
    log.flush().expect("flushed");
    log.close().expect("closed");
    // As a disk shows them that has lost a block, or could not read it.
    let bad = offsets.iter().position(|at| at.bytes() > STRIPE_BYTES * 3 / 2).expect("there");
    let path = &files(dir.path(), "log")[0];
    let file = fs::OpenOptions::new().write(true).open(path).expect("a file");
    file.write_all_at(&[0; 4096], offsets[bad].bytes()).expect("written");
    files(dir.path(), "index").iter().for_each(|path| fs::remove_file(path).expect("removed"));

    let (log, recovery) = Log::open(options(dir.path())).expect("opened");
    assert_eq!(recovery.damaged_stripes, 1, "{recovery}");
    let next = kept_after(2 * STRIPE_BYTES, &offsets) as u64;
    let expected: Vec<u64> = (0..bad as u64).chain(next..6_000).collect();
    assert_eq!(read_all(&mut log.reader()).numbers, expected);
}

#[test]
fn no_note_survives_the_records_before_it_in_an_earlier_segment() {
    let dir = tempfile::tempdir().expect("a directory");
    let (live, image) = (dir.path().join("live"), dir.path().join("image"));
    let never = LogOptions { sync_interval: Duration::from_secs(3_600), ..options(&live) };
    let (log, _) = Log::open(LogOptions { sync_bytes: u64::MAX, ..never }).expect("opened");
    append(&log, 0, 100).expect("appended");
    let durable = log.flush().expect("flushed");
    // Into the second segment, and a note behind all of it, none of which is synced.
    let mut offsets = Vec::new();
    for from in (100..3_500).step_by(100) {
        offsets.extend(append(&log, from, from + 100).expect("appended"));
    }
    let noted = log.appender().group().note(b"all of them").expect("noted");
    assert!(noted.bytes() > 4 * STRIPE_BYTES);
    eventually(|| (log.written() > noted).then_some(()));
    assert_eq!(log.durable(), durable);

    // The power goes: the disk has all of it but one block of the first segment.
    fs::create_dir_all(image.join("log")).expect("a directory");
    for entry in fs::read_dir(live.join("log")).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            let name = path.file_name().expect("a name");
            fs::copy(&path, image.join("log").join(name)).expect("copied");
        }
    }
    let write = |path: &std::path::Path, at: u64, bytes: &[u8]| {
        let file = fs::OpenOptions::new().write(true).open(path).expect("a file");
        file.write_all_at(bytes, at).expect("written");
    };
    let torn = 1_000;
    write(&files(&image, "log")[0], offsets[torn].bytes(), &[0; 512]);
    // Of another running of the kernel.
    write(&image.join("log/control"), 56, &[7; 16]);

    for _ in 0..2 {
        let (log, _) = Log::open(options(&image)).expect("opened");
        let mut notes = 0;
        log.reader().notes(Offset::ZERO, |_, _| notes += 1).expect("readable");
        assert_eq!(notes, 0, "an input would pass over what is lost");
        let found = read_all(&mut log.reader());
        assert_eq!(found.damaged, []);
        assert_eq!(found.numbers, (0..100 + torn as u64).collect::<Vec<_>>());
        log.close().expect("closed");
    }
}
