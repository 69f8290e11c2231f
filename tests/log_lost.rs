//! What a failing disk or a careless hand took of a log: what was not acknowledged is written
//! again, what cannot come back is counted and told, and reading goes on.

#[path = "log_disk/records.rs"]
mod records;
#[path = "log_disk/refuse.rs"]
mod refuse;

use std::collections::BTreeSet;
use std::sync::Arc;

use records::{append, eventually, open_on, options, read_all};
use refuse::{Call, Refusing};
use shrike::event::Offset;
use shrike::log::{Log, LogIo, LogOptions, sweep};

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
