//! A disk that fails, is full, lies, or lost a file: a clear answer, and the rest goes on.

#[path = "log_disk/records.rs"]
mod records;
#[path = "log_disk/refuse.rs"]
mod refuse;

use std::fs::{self, File, OpenOptions};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use records::{Found, append, eventually, files, open_on, options, read_all, record};
use refuse::{Call, Refusing};
use shrike::event::{Anchor, Checkpoint, Counts, Gap, GapReason, Offset, Span, Tally};
use shrike::log::{
    Cursors, Ended, IoChoice, IoKind, Log, LogError, LogIo, LogOptions, Mark, Read, Reader,
    STRIPE_BYTES, sweep,
};

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).expect("a file");
    file.write_all_at(bytes, at).expect("written");
}

#[test]
fn a_failed_sync_is_not_asked_again_and_loses_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = Refusing::new();
    let log = open_on(dir.path(), &disk);
    append(&log, 0, 100).expect("appended");
    let safe = log.flush().expect("flushed");

    disk.refuse(Call::Sync, libc::EIO);
    append(&log, 100, 200).expect("appended");
    disk.wait();
    // Until the bytes are somewhere else appenders are told; then all goes on.
    eventually(|| log.flush().ok());
    let resumed = append(&log, 200, 201).expect("appended");
    log.flush().expect("flushed");

    let first_end = safe.bytes().next_multiple_of(4 * STRIPE_BYTES);
    assert!(resumed[0].bytes() > first_end, "the failed segment is left");
    let found = read_all(&mut log.reader());
    assert_eq!(found.damaged, []);
    // The copies are new events: those that were not acknowledged come twice, none is missing.
    let mut numbers = found.numbers.clone();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers, (0..=200).collect::<Vec<_>>());
    let all = Span { from: Offset::ZERO, to: log.written() };
    assert_eq!(log.reader().count(all).expect("counted"), found.numbers.len() as u64);
    log.close().expect("closed");

    let log = open_on(dir.path(), &disk);
    assert_eq!(read_all(&mut log.reader()), found);
}

#[test]
fn a_sync_that_fails_again_and_again_moves_on_without_copying_copies() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = Refusing::new();
    let log = open_on(dir.path(), &disk);
    for _ in 0..3 {
        disk.refuse(Call::Sync, libc::EIO);
    }
    append(&log, 0, 50).expect("appended");
    disk.wait();
    eventually(|| log.flush().ok());
    let found = read_all(&mut log.reader());
    assert_eq!(found.damaged, []);
    assert!(found.numbers.len() <= 50 * 4, "one copy per failure, not 2^n");
    assert!((0..50).all(|number| found.numbers.contains(&number)));
}

#[test]
fn a_full_disk_refuses_appends_and_goes_on_when_there_is_space() {
    for (errno, call) in [(libc::ENOSPC, Call::Write), (libc::EDQUOT, Call::Write)] {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = Refusing::new();
        let log = open_on(dir.path(), &disk);
        append(&log, 0, 10).expect("appended");
        let before = log.flush().expect("flushed");
        disk.refuse(call, errno);
        disk.refuse(call, errno);
        append(&log, 10, 20).expect("taken into the group");
        disk.wait();
        assert_eq!(log.written(), before, "nothing is half-published");
        eventually(|| append(&log, 20, 21).ok());
        log.flush().expect("flushed");
        let found = read_all(&mut log.reader());
        assert_eq!(found, Found { numbers: (0..21).collect(), damaged: vec![] });
    }
}

#[test]
fn no_space_for_a_segment_is_told_and_passes() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = Refusing::new();
    let log = open_on(dir.path(), &disk);
    disk.refuse(Call::Create, libc::ENOSPC);
    let mut taken = 0;
    let error = loop {
        match append(&log, taken, taken + 1) {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    let text = error.to_string();
    assert!(text.contains("cannot create") && text.contains("free space"), "{text}");
    eventually(|| append(&log, taken, taken + 1).ok());
    log.flush().expect("flushed");
    let expected = Found { numbers: (0..=taken).collect(), damaged: vec![] };
    assert_eq!(read_all(&mut log.reader()), expected);
}

#[test]
fn a_full_disk_takes_back_what_all_have_passed_and_no_letters() {
    for (is_store, going) in [(false, 1), (true, 0)] {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = Refusing::new();
        let options = LogOptions { is_store, keep_age: Duration::MAX, ..options(dir.path()) };
        let (log, _) = Log::open_on(options, Arc::clone(&disk) as Arc<dyn LogIo>).expect("opened");
        let mut number = 0;
        while log.written().bytes() < 5 * STRIPE_BYTES {
            append(&log, number, number + 100).expect("appended");
            log.flush().expect("flushed");
            number += 100;
        }
        let passed = log.written();
        assert_eq!(log.retainable(passed).expect("asked").segments, 0, "within every bound");
        (0..1_000).for_each(|_| disk.refuse(Call::Create, libc::ENOSPC));
        let error = loop {
            match append(&log, number, number + 1) {
                Ok(_) => number += 1,
                Err(error) => break error.to_string(),
            }
        };
        assert!(error.contains("free space"), "{error}");
        // A store's letters are passed by nobody before somebody looked at them.
        assert_eq!(log.retainable(passed).expect("asked").segments, going, "{error}");
        let taken = log.retain(passed).expect("asked");
        assert_eq!((taken.segments, taken.events > 0), (going, going > 0));
    }
}

#[test]
fn who_must_not_wait_is_told_that_no_segment_is_ready() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = Refusing::new();
    let log = open_on(dir.path(), &disk);
    let held = disk.hold();
    let append = |number| {
        log.appender().try_append(&record(number), Mark::default()).expect("the disk is well")
    };
    let (mut taken, mut refused) = (0, 0);
    let end = (log.written().bytes() + 1).next_multiple_of(4 * STRIPE_BYTES);
    // The segment that is open takes some; then the answer comes, and comes at once.
    while refused < 1000 {
        match append(taken) {
            Some(at) => {
                assert!(at.bytes() < end, "{at} is in a segment that is not made");
                (taken, refused) = (taken + 1, 0);
            }
            None => refused += 1,
        }
    }
    drop(held);
    eventually(|| append(taken));
    log.flush().expect("flushed");
    let expected = Found { numbers: (0..=taken).collect(), damaged: vec![] };
    assert_eq!(read_all(&mut log.reader()), expected);
}

#[test]
fn a_write_error_moves_everything_to_a_new_segment() {
    // In the middle of a segment, and when a group reaches into the next one.
    for (before, writes) in [(10, 0), (2_400, 0), (2_400, 1)] {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = Refusing::new();
        let log = open_on(dir.path(), &disk);
        append(&log, 0, before).expect("appended");
        log.flush().expect("flushed");
        for _ in 0..writes {
            disk.allow(Call::Write);
        }
        disk.refuse(Call::Write, libc::EIO);
        append(&log, before, before + 300).expect("taken into the group");
        let noted = log.appender().group().note(b"behind them");
        disk.wait();
        let end = before + 301;
        eventually(|| append(&log, end - 1, end).ok());
        // A flush that begins before the writer has moved the group is told of the error too.
        eventually(|| log.flush().ok());
        let found = read_all(&mut log.reader());
        let expected = Found { numbers: (0..end).collect(), damaged: vec![] };
        assert_eq!(found, expected);
        let mut notes = 0;
        log.reader().notes(Offset::ZERO, |_, _| notes += 1).expect("read");
        assert_eq!(notes, u32::from(noted.is_ok()), "moved with the records");
        log.close().expect("closed");
        for _ in 0..2 {
            let log = open_on(dir.path(), &disk);
            let again = read_all(&mut log.reader());
            assert_eq!(again.damaged, [], "{before}, {writes}");
            let mut numbers = again.numbers;
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers, expected.numbers);
        }
    }
}

#[test]
fn flipped_bits_cost_their_stripe_and_are_counted() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = Refusing::new();
    let log = open_on(dir.path(), &disk);
    let offsets = append(&log, 0, 2_500).expect("appended");
    log.close().expect("closed");
    let bad = 1_000;
    let (at, stripe) = (offsets[bad].bytes(), offsets[bad].bytes() / STRIPE_BYTES);
    overwrite(&files(dir.path(), "log")[0], at + 300, b"rotten");

    let log = open_on(dir.path(), &disk);
    let mut reader = log.reader();
    let lost = offsets[bad..].iter().filter(|o| o.bytes() / STRIPE_BYTES == stripe).count();
    let to = Offset::new((stripe + 1) * STRIPE_BYTES);
    let span = Span { from: offsets[bad], to };
    let found = read_all(&mut reader);
    assert_eq!(found.damaged, [(span, Some(lost as u64))]);
    let rest = bad + lost;
    let expected: Vec<u64> = (0..bad as u64).chain(rest as u64..2_500).collect();
    assert_eq!(found.numbers, expected);
    // The account holds: what can be read and what is damaged is all that was appended.
    let all = Span { from: Offset::ZERO, to: log.written() };
    assert_eq!(reader.count(all).expect("counted"), 2_500);
    for split in [offsets[bad], offsets[bad + 1], offsets[bad / 2], to] {
        let below = reader.count(Span { from: Offset::ZERO, to: split }).expect("counted");
        let above = reader.count(Span { from: split, to: log.written() }).expect("counted");
        assert_eq!(below + above, 2_500, "split at {split}");
    }
    let mut raw = Vec::new();
    reader.copy_raw(span, &mut raw).expect("raw bytes");
    assert_eq!(raw.len() as u64, span.bytes());
}

#[test]
fn a_truncated_segment_under_a_mapping_is_damage_not_death() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = Refusing::new();
    let log = open_on(dir.path(), &disk);
    let offsets = append(&log, 0, 3_000).expect("appended");
    log.flush().expect("flushed");
    let mut reader = log.reader();
    let block = match reader.read(Offset::ZERO, log.written(), 1).expect("readable") {
        Read::Block(block) => block,
        other => panic!("{other:?}"),
    };
    let late = first_block_at(&mut reader, offsets[2_000]);
    assert_eq!(read_all(&mut reader).numbers.len(), 3_000);

    // Somebody cuts the file in the middle of its second stripe, while it is mapped.
    let cut = STRIPE_BYTES + STRIPE_BYTES / 2;
    let file = OpenOptions::new().write(true).open(&files(dir.path(), "log")[0]).expect("a file");
    file.set_len(cut).expect("cut");
    let found = read_all(&mut reader);
    let segment = 4 * STRIPE_BYTES;
    let is_left = |at: u64| at + 1_624 < cut || at > segment;
    let whole = offsets.iter().filter(|offset| is_left(offset.bytes())).count();
    assert_eq!(found.numbers.len(), whole, "what is not cut off is read");
    let lost: u64 = found.damaged.iter().map(|(_, events)| events.expect("indexed")).sum();
    assert_eq!(whole as u64 + lost, 3_000);
    assert!(block.is_intact());
    assert!(late.bytes().iter().all(|&byte| byte == 0), "zeros under the guard");
    assert!(!late.is_intact(), "and the block says so");
}

fn first_block_at(reader: &mut Reader, at: Offset) -> shrike::log::RawBlock {
    loop {
        match reader.read(at, Offset::new(u64::MAX), 4096).expect("readable") {
            Read::Block(block) => return block,
            Read::Cold(span) => reader.warm(span).expect("warm"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_segment_truncated_while_closed_opens_and_counts_what_is_gone() {
    // In the middle, below the head, and all of it: the index still knows what was there.
    for (cut, at) in [(2 * STRIPE_BYTES, 0), (900_000, 1), (20, 1), (0, 1), (0, 0)] {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = Refusing::new();
        let log = open_on(dir.path(), &disk);
        append(&log, 0, 9_000).expect("appended");
        let end = log.flush().expect("flushed");
        log.close().expect("closed");
        let path = &files(dir.path(), "log")[at];
        File::options().write(true).open(path).expect("a file").set_len(cut).expect("cut");

        let log = open_on(dir.path(), &disk);
        assert_eq!(log.written(), end, "appending goes on where it was");
        let mut foreign = Reader::open_dir(&dir.path().join("log")).expect("opened");
        for reader in [&mut log.reader(), &mut foreign] {
            let all = Span { from: Offset::ZERO, to: log.written() };
            assert_eq!(reader.count(all).expect("counted"), 9_000, "{cut}");
            let found = read_all(reader);
            assert!(found.numbers.ends_with(&[8_998, 8_999]), "{cut}");
            let lost: u64 = found.damaged.iter().map(|(_, events)| events.expect("known")).sum();
            assert_eq!(found.numbers.len() as u64 + lost, 9_000, "{cut}");
        }
        assert!(path.exists(), "what is left of it is not removed");
        append(&log, 9_000, 9_001).expect("appended");
        log.flush().expect("flushed");
    }
}

#[test]
fn a_truncated_last_segment_keeps_what_is_left_and_appending_goes_on() {
    for cut in [STRIPE_BYTES + 40_000, 900_000, 20, 0] {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = Refusing::new();
        let log = open_on(dir.path(), &disk);
        // Some way into the third segment's third stripe.
        append(&log, 0, 6_500).expect("appended");
        let end = log.flush().expect("flushed");
        log.close().expect("closed");
        let of = end.bytes() / (4 * STRIPE_BYTES);
        let path = &files(dir.path(), "log")[usize::try_from(of).expect("a few")];
        File::options().write(true).open(path).expect("a file").set_len(cut).expect("cut");

        let (log, recovery) = Log::open(options(dir.path())).expect("opened");
        assert!(recovery.lost.is_some(), "it says so: {recovery}");
        assert!(log.written() >= end, "no offset is used again: {recovery}");
        append(&log, 6_500, 6_600).expect("appended");
        log.flush().expect("flushed");
        let found = read_all(&mut log.reader());
        assert!(found.numbers.ends_with(&(6_500..6_600).collect::<Vec<_>>()), "{cut}");
        let whole = found.numbers.len() as u64;
        let left = of * 4 * STRIPE_BYTES / 1_640 + cut / 1_700;
        assert!(whole >= left, "{cut}: {whole} of {left}");
        log.close().expect("closed");
        let log = open_on(dir.path(), &disk);
        assert_eq!(read_all(&mut log.reader()).numbers, found.numbers, "{cut}");
    }
}

#[test]
fn a_store_is_read_past_what_the_disk_cannot_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = Refusing::new();
    let log = open_on(dir.path(), &disk);
    append(&log, 0, 6_000).expect("appended");
    log.flush().expect("flushed");
    let first = &files(dir.path(), "log")[0];
    File::options().write(true).open(first).expect("a file").set_len(STRIPE_BYTES).expect("cut");
    let mut numbers = Vec::new();
    let swept = sweep(&mut log.reader(), |_, bytes| {
        numbers.push(u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")));
        ControlFlow::Continue(())
    });
    swept.expect("what is damaged is passed over");
    assert!(numbers.starts_with(&[0, 1]) && numbers.ends_with(&[5_998, 5_999]));
}

#[test]
fn a_log_that_was_taken_away_goes_on_above_its_cursors() {
    for is_restored in [false, true] {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, older) = (dir.path().join("log"), dir.path().join("older"));
        let (log, _) = Log::open(options(dir.path())).expect("a new log");
        append(&log, 0, 100).expect("appended");
        log.close().expect("closed");
        copy_files(&path, &older);
        let (log, _) = Log::open(options(dir.path())).expect("opened");
        append(&log, 100, 5_000).expect("appended");
        let base = log.flush().expect("flushed");
        let ahead = vec![Span { from: Offset::new(base.bytes() - 9), to: base }];
        let behind = Offset::new(base.bytes() - 10);
        let checkpoint = Checkpoint { base: behind, ahead, ..Checkpoint::default() };
        log.cursors().expect("the lease").save("elastic", &checkpoint).expect("saved");
        log.close().expect("closed");
        for suffix in ["log", "index"] {
            files(dir.path(), suffix).iter().for_each(|path| fs::remove_file(path).expect("ours"));
        }
        fs::remove_file(path.join("control")).expect("ours");
        if is_restored {
            copy_files(&older, &path);
        }

        let (log, recovery) = Log::open(options(dir.path())).expect("opened");
        assert!(recovery.resumed >= base, "what was settled is not used again: {recovery}");
        let lost = recovery.lost.expect("the cursor knows of more");
        assert_eq!(lost.to, base, "{recovery}");
        let new = append(&log, 5_000, 5_001).expect("appended");
        log.flush().expect("flushed");
        assert!(new[0] >= base);
        let kept = if is_restored { 0..100 } else { 0..0 };
        let expected = Found { numbers: kept.chain([5_000]).collect(), damaged: vec![] };
        assert_eq!(read_all(&mut log.reader()), expected);
        log.close().expect("closed");
        let (_log, recovery) = Log::open(options(dir.path())).expect("opened");
        assert_eq!(recovery.lost, None, "said once");
    }
}

/// Copies the files of a directory, but none of the directories in it.
fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("copied");
        }
    }
}

#[test]
fn a_log_opened_with_another_segment_length_is_gone_on_with() {
    for bytes in [2 * STRIPE_BYTES, 8 * STRIPE_BYTES] {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = Refusing::new();
        let log = open_on(dir.path(), &disk);
        // More than half a segment, so that the next one is made.
        append(&log, 0, 2_000).expect("appended");
        log.flush().expect("flushed");
        eventually(|| (files(dir.path(), "log").len() == 2).then_some(()));
        log.close().expect("closed");
        let other = LogOptions { segment_bytes: bytes, ..options(dir.path()) };
        let (log, _) = Log::open(other).expect("opened");
        for from in (2_000..16_000).step_by(100) {
            append(&log, from, from + 100).expect("appended");
        }
        log.flush().expect("flushed");
        let expected = Found { numbers: (0..16_000).collect(), damaged: vec![] };
        assert!(read_all(&mut log.reader()) == expected, "{bytes}");
        log.close().expect("closed");
        let (log, recovery) = Log::open(options(dir.path())).expect("opened");
        assert_eq!((recovery.ended, recovery.lost), (Ended::Closed, None));
        assert!(read_all(&mut log.reader()) == expected, "{bytes}");
    }
}

#[test]
fn a_deleted_or_damaged_index_is_made_again() {
    let damages: [fn(&Path); 3] = [
        |path| fs::remove_file(path).expect("removed"),
        |path| overwrite(path, 50, b"rotten"),
        |path| File::options().write(true).open(path).expect("open").set_len(70).expect("cut"),
    ];
    for damage in damages {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = Refusing::new();
        let log = open_on(dir.path(), &disk);
        append(&log, 0, 6_000).expect("appended");
        let end = log.flush().expect("flushed");
        log.close().expect("closed");
        for path in files(dir.path(), "index") {
            if fs::metadata(&path).expect("there").len() > 0 {
                damage(&path);
            }
        }
        let (log, recovery) = Log::open(options(dir.path())).expect("opened");
        assert_eq!(recovery.ended, Ended::Closed);
        assert!(recovery.rebuilt_stripes > 0, "{recovery}");
        assert_eq!(log.written(), end);
        let all = Span { from: Offset::ZERO, to: end };
        assert_eq!(log.reader().count(all).expect("counted"), 6_000);
        assert_eq!(read_all(&mut log.reader()).numbers.len(), 6_000);
    }
}

#[test]
fn a_deleted_or_damaged_control_page_costs_no_event_and_no_offset() {
    let damages: [fn(&Path); 3] = [
        |path| fs::remove_file(path).expect("removed"),
        |path| overwrite(path, 0, b"rotten"),
        // A durable offset above the written one.
        |path| overwrite(path, 24, &u64::MAX.to_le_bytes()),
    ];
    for damage in damages {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = Refusing::new();
        let log = open_on(dir.path(), &disk);
        append(&log, 0, 3_000).expect("appended");
        let end = log.flush().expect("flushed");
        log.close().expect("closed");
        damage(&dir.path().join("log/control"));

        let (log, recovery) = Log::open(options(dir.path())).expect("opened");
        assert_eq!(recovery.ended, Ended::Unknown);
        assert!(recovery.resumed > end, "above everything that was ever shown: {recovery}");
        append(&log, 3_000, 3_010).expect("appended");
        log.flush().expect("flushed");
        let expected = Found { numbers: (0..3_010).collect(), damaged: vec![] };
        assert_eq!(read_all(&mut log.reader()), expected);
    }
}

#[test]
fn newer_versions_are_refused_with_a_reason() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = Refusing::new();
    drop(open_on(dir.path(), &disk));
    overwrite(&dir.path().join("log/control"), 8, &9_u32.to_le_bytes());
    let error = Log::open(options(dir.path())).expect_err("newer");
    assert!(matches!(error, LogError::Version { found: 9, .. }), "{error}");
    assert!(error.to_string().contains("use the newer shrike"), "{error}");
    overwrite(&dir.path().join("log/control"), 8, &1_u32.to_le_bytes());

    // A segment alone; whoever only reads would take what is in it for what it is not.
    let segment = dir.path().join("log/00000000000000000000.log");
    let mut head = std::fs::read(&segment).expect("it is there")[..64].to_vec();
    head[32..36].copy_from_slice(&9_u32.to_le_bytes());
    let sum = crc_fast::crc32_iscsi(&head[4..]).to_le_bytes();
    head[..4].copy_from_slice(&sum);
    overwrite(&segment, 0, &head);
    let errors = [
        Log::open(options(dir.path())).expect_err("newer"),
        Reader::open_dir(&dir.path().join("log")).expect_err("newer"),
    ];
    for error in errors {
        assert!(matches!(error, LogError::Version { found: 9, .. }), "{error}");
    }
}

#[test]
fn a_second_writer_is_refused_and_told_who_holds_the_log() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = Refusing::new();
    let log = open_on(dir.path(), &disk);
    let error = Log::open(options(dir.path())).expect_err("locked");
    assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
    log.close().expect("closed");
    Log::open(options(dir.path())).expect("free again");
}

#[test]
fn checkpoints_survive_whole_or_are_refused_whole() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = Refusing::new();
    let log = open_on(dir.path(), &disk);
    append(&log, 0, 100).expect("appended");
    let end = log.flush().expect("flushed");
    let span = |from, to| Span { from: Offset::new(from), to: Offset::new(to) };
    let checkpoint = Checkpoint {
        pass: 3,
        start: Offset::new(64),
        base: Offset::new(4_000),
        tally: Tally { to: Offset::new(640), events: 9 },
        alert_below: Offset::new(7_777),
        ahead: vec![span(5_000, 6_000), span(7_000, 7_100)],
        gaps: vec![Gap { span: span(64, 640), events: 7, reason: GapReason::Damage }],
        removals: 77,
        anchor: Anchor { line: 9, hash: std::array::from_fn(|at| at as u8) },
        counts: Counts { delivered: 1, dead_lettered: 2, filtered: 3, skipped: 4, invalid: 5 },
    };
    let cursors = log.cursors().expect("the lease");
    assert_eq!(cursors.load("a").expect("none"), None);
    for name in ["a", "elastic eu/1", "%2f.."] {
        cursors.save(name, &checkpoint).expect("saved");
        assert_eq!(cursors.load(name).expect("whole").as_ref(), Some(&checkpoint));
    }
    assert_eq!(cursors.names().expect("listed"), ["%2f..", "a", "elastic eu/1"]);
    cursors.remove("elastic eu/1").expect("removed");
    assert_eq!(cursors.names().expect("listed"), ["%2f..", "a"]);

    let ahead = vec![Span { from: end, to: Offset::new(end.bytes() + 1) }];
    let beyond = Checkpoint { ahead, ..checkpoint.clone() };
    let refused = cursors.save("a", &beyond).expect_err("beyond durable");
    assert!(matches!(refused, LogError::PastDurable { .. }), "{refused}");
    assert!(matches!(cursors.load(""), Err(LogError::Name { .. })));
    assert!(matches!(Cursors::open(&dir.path().join("log")), Err(LogError::Locked { .. })));
    let look = Cursors::look(&dir.path().join("log"));
    assert_eq!(look.load("a").expect("whole").as_ref(), Some(&checkpoint));
    look.remove("a").expect_err("only looking");

    let path = dir.path().join("log/cursors/a.cursor");
    let unmarked = Checkpoint { alert_below: Offset::ZERO, ..checkpoint.clone() };
    for (saved, version) in [(&checkpoint, 3), (&unmarked, 2)] {
        cursors.save("a", saved).expect("saved");
        let whole = fs::read(&path).expect("readable");
        assert_eq!(whole[8], version);
        for (at, bit) in (0..whole.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            fs::write(&path, &bytes).expect("written");
            let error = cursors.load("a").expect_err("a flipped bit is seen");
            // Of the version's as well: it is no other shrike's.
            assert!(matches!(error, LogError::Damaged { .. }), "byte {at}, bit {bit}: {error}");
        }
        for at in 0..whole.len() {
            fs::write(&path, &whole[..at]).expect("written");
            cursors.load("a").expect_err("a cut is seen");
        }
    }
    fs::remove_file(&path).expect("removed");
    assert_eq!(cursors.load("a").expect("none"), None);
}

#[test]
fn checkpoints_of_every_version_are_read_but_of_newer_ones() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = Refusing::new();
    let log = open_on(dir.path(), &disk);
    let cursors = log.cursors().expect("the lease");
    let path = dir.path().join("log/cursors/a.cursor");
    // As `docs/log-format.md` says it.
    let write = |version: u32, numbers: &[u64]| {
        let mut rest: Vec<u8> = [3_u32, 0, 1].iter().flat_map(|it| it.to_le_bytes()).collect();
        rest.extend(numbers.iter().flat_map(|it| it.to_le_bytes()));
        let begin = if version > 2 { version.to_le_bytes().to_vec() } else { Vec::new() };
        let sum = crc_fast::crc32_iscsi(&[begin, rest.clone()].concat());
        let head = [&b"shrikecu"[..], &version.to_le_bytes(), &sum.to_le_bytes()].concat();
        fs::write(&path, [head, rest].concat()).expect("written");
    };
    // Start, base, tally, fates; removals, the line of the receipts, its hash; the mark.
    let of_first = [64, 4_000, 640, 9, 1, 2, 3, 4, 5];
    let of_second = [77, 9, 0, 0, 0, 0];
    let gap = [64, 640, 7];
    let expected = Checkpoint {
        pass: 3,
        start: Offset::new(64),
        base: Offset::new(4_000),
        tally: Tally { to: Offset::new(640), events: 9 },
        counts: Counts { delivered: 1, dead_lettered: 2, filtered: 3, skipped: 4, invalid: 5 },
        gaps: vec![Gap {
            span: Span { from: Offset::new(64), to: Offset::new(640) },
            events: 7,
            reason: GapReason::Lag,
        }],
        ..Checkpoint::default()
    };
    write(1, &[&of_first[..], &gap].concat());
    assert_eq!(cursors.load("a").expect("read"), Some(expected.clone()));
    let gaps = vec![Gap { reason: GapReason::Damage, ..expected.gaps[0] }];
    let anchor = Anchor { line: 9, hash: [0; 32] };
    let expected = Checkpoint { removals: 77, anchor, gaps, ..expected };
    write(2, &[&of_first[..], &of_second, &gap, &[2]].concat());
    assert_eq!(cursors.load("a").expect("read"), Some(expected.clone()));
    let alert_below = Offset::new(8_888);
    let expected = Checkpoint { alert_below, ..expected };
    write(3, &[&of_first[..], &of_second, &[8_888], &gap, &[2]].concat());
    assert_eq!(cursors.load("a").expect("read"), Some(expected));
    write(3, &[&of_first[..], &of_second, &gap, &[2]].concat());
    assert!(matches!(cursors.load("a"), Err(LogError::Damaged { .. })));
    write(4, &[1, 2, 3]);
    let error = cursors.load("a").expect_err("newer");
    assert!(matches!(error, LogError::Version { found: 4, known: 3, .. }), "{error}");
    assert!(error.to_string().contains("use the newer shrike"), "{error}");
}

#[test]
fn without_io_uring_auto_goes_on_and_a_demand_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().to_path_buf();
    // A filter holds for its thread and those that it starts: this is a sandbox of its own.
    std::thread::spawn(move || {
        deny_io_uring();
        let demand = LogOptions { io: IoChoice::IoUring, ..options(&path) };
        let refused = Log::open(demand).expect_err("denied");
        assert!(refused.to_string().contains("io_uring"), "{refused}");
        let auto = LogOptions { io: IoChoice::Auto, ..options(&path) };
        let (log, _) = Log::open(auto).expect("opened");
        assert_eq!(log.io(), IoKind::Syscalls);
        append(&log, 0, 10).expect("appended");
        log.flush().expect("flushed");
        assert_eq!(read_all(&mut log.reader()).numbers.len(), 10);
    })
    .join()
    .expect("as above");
}

/// Answers `io_uring_setup` with EPERM from now on, as container runtimes do.
fn deny_io_uring() {
    let load = |k| libc::sock_filter { code: 0x20, jt: 0, jf: 0, k };
    let answer = |k| libc::sock_filter { code: 0x06, jt: 0, jf: 0, k };
    let setup = u32::try_from(libc::SYS_io_uring_setup).expect("a small number");
    let mut filter = [
        load(0),
        libc::sock_filter { code: 0x15, jt: 0, jf: 1, k: setup },
        answer(libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        answer(libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: 4, filter: filter.as_mut_ptr() };
    // SAFETY: takes numbers only.
    let answered = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(answered, 0, "no new privileges");
    // SAFETY: the program and its filter live until the call returns; the kernel copies them.
    let answered =
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) };
    assert_eq!(answered, 0, "the filter is installed");
}
