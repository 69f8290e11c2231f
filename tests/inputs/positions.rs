//! Where reading goes on, beside the log and in it.

#[path = "../log_disk/refuse.rs"]
mod refuse;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use refuse::{Call, Refusing};
use shrike::dialects;
use shrike::event::{Opening, OpeningOptions};
use shrike::intake::{CheckOptions, Door, DoorOptions, Position, Positions, Stream};
use shrike::log::{IoChoice, Log, LogIo, LogOptions, Mark};

use super::{Host, append, lines, rewrite, upto};

#[test]
fn a_position_is_saved_with_every_note_below_it() {
    let host = Host::new();
    let path = host.path("inputs.json");
    let reader = host.log.reader();
    let positions = Arc::new(Positions::open(path.clone(), &reader).expect("opens").0);
    let mut door = Door::new(DoorOptions {
        opening: Arc::new(Opening::new(&OpeningOptions::default())),
        check: CheckOptions { dialects: dialects::ALL, ..CheckOptions::default() },
        appender: host.log.appender(),
        quarantine: None,
        positions: Some(Arc::clone(&positions)),
    });
    let at = |inode, offset| Position {
        source: format!("file {inode}"),
        device: 1,
        inode,
        offset,
        ..Position::default()
    };
    let mut bring = |n: u32, position: &Position| {
        let text = lines(n..n + 1);
        let mut stream = Stream::new(&position.source, 0);
        door.take(&mut stream, text.as_bytes(), 1);
        door.append(&mut stream, text.as_bytes(), Some(position)).expect("the log takes it");
    };
    bring(0, &at(1, 10));
    // Another input saves before the first one's thread runs on.
    bring(1, &at(2, 20));
    positions.save(&host.log).expect("the disk takes it");
    bring(2, &at(3, 30));
    host.log.flush().expect("the disk takes it");
    let (again, torn) = Positions::open(path, &host.log.reader()).expect("opens");
    assert_eq!(torn, None);
    for (inode, offset) in [(1, 10), (2, 20), (3, 30)] {
        assert_eq!(again.find(1, inode), Some(at(inode, offset)));
    }
}

/// What it says of older notes would be lost, and files be read again from their beginning.
#[test]
fn positions_of_a_newer_version_are_left_to_it() {
    let host = Host::new();
    let path = host.path("inputs.json");
    let newer = "{\"v\":2,\"offset\":\"0x40\",\"places\":{}}";
    std::fs::write(&path, newer).expect("the directory is ours");
    let error = Positions::open(path.clone(), &host.log.reader()).expect_err("it is newer");
    let text = error.to_string();
    assert!(text.contains("version 2") && text.contains("use the newer shrike"), "{text}");
    std::fs::write(&path, "{\"v\":1,\"off").expect("the directory is ours");
    Positions::open(path, &host.log.reader()).expect("damage is told and left out");
}

#[test]
fn a_log_without_notes_is_not_searched_for_them_at_each_start() {
    let host = Host::new();
    let path = host.path("inputs.json");
    let positions = Positions::open(path.clone(), &host.log.reader()).expect("opens").0;
    let appender = host.log.appender();
    let grow = |mib: usize| {
        for _ in 0..mib {
            appender.append(&vec![b'x'; 1 << 20], Mark::default()).expect("the disk takes it");
        }
        host.log.flush().expect("the disk takes it");
        positions.save(&host.log).expect("the disk takes it");
        std::fs::read_to_string(&path).ok()
    };
    assert_eq!(grow(1), None, "little was appended, and nothing noted");
    let saved = grow(20).expect("it is behind by much");
    let saved: serde_json::Value = serde_json::from_str(&saved).expect("it is JSON");
    assert_eq!(saved["offset"], host.log.written().bytes(), "notes from here on count");
}

#[test]
fn positions_survive_without_the_log_and_with_an_old_file() {
    let mut host = Host::new();
    let path = host.path("a.log");
    append(&path, &lines(0..3));
    host.start("a.log", None);
    assert_eq!(host.numbers(), upto(3));
    let running = host.running.as_ref().expect("it runs");
    running.positions.save(&host.log).expect("the disk takes it");
    let saved = fs::read(host.path("inputs.json")).expect("it was saved");
    append(&path, &lines(3..5));
    assert_eq!(host.numbers(), upto(5));
    // The file is older than the notes of the log.
    rewrite(&host.path("inputs.json"), std::str::from_utf8(&saved).expect("text"));
    host.start("a.log", None);
    assert_eq!(host.numbers(), upto(5));
    // It cannot be read: the notes alone are enough.
    rewrite(&host.path("inputs.json"), "garbage");
    host.start("a.log", None);
    assert_eq!(host.numbers(), upto(5));
}

/// The disk may refuse in the middle of a chunk, and the process end before it goes on.
#[test]
fn what_came_without_its_position_is_known_at_the_next_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = Refusing::new();
    let options = LogOptions {
        dir: dir.path().join("log"),
        segment_bytes: 4 << 20,
        sync_interval: Duration::from_millis(1),
        io: IoChoice::Syscalls,
        ..LogOptions::default()
    };
    let (log, _) = Log::open_on(options, Arc::clone(&disk) as Arc<dyn LogIo>).expect("it opens");
    let path = dir.path().join("inputs.json");
    let start = || {
        let (positions, torn) = Positions::open(path.clone(), &log.reader()).expect("it opens");
        let positions = Arc::new(positions);
        let door = Door::new(DoorOptions {
            opening: Arc::new(Opening::new(&OpeningOptions::default())),
            check: CheckOptions { dialects: dialects::ALL, ..CheckOptions::default() },
            appender: log.appender(),
            quarantine: None,
            positions: Some(Arc::clone(&positions)),
        });
        (door, positions, torn)
    };
    let (mut door, positions, torn) = start();
    assert_eq!(torn, None);
    (0..1_000).for_each(|_| disk.refuse(Call::Create, libc::ENOSPC));
    let mut stream = Stream::new("a.log", 0);
    let long = format!("\"host\":\"{}\"", "h".repeat(64 << 10));
    // Each is longer than a segment.
    let mut chunks =
        (0..9_u32).map(|n| lines(64 * n..64 * (n + 1)).replace("\"host\":\"h\"", &long));
    let cut = chunks.find(|chunk| {
        door.take(&mut stream, chunk.as_bytes(), 1);
        let (source, offset) = ("a.log".to_owned(), stream.position());
        let position = Position { source, device: 1, inode: 1, offset, ..Position::default() };
        door.append(&mut stream, chunk.as_bytes(), Some(&position)).is_err()
    });
    let cut = cut.expect("the disk is full");
    // Another input that goes on lets positions be written.
    positions.set(Position { source: "b".to_owned(), ..Position::default() });
    positions.save(&log).expect("the disk takes it");
    let (mut door, _, torn) = start();
    door.remember(&mut log.reader(), torn.expect("it is seen")).expect("the log reads");
    let mut stream = Stream::new("a.log", 0);
    door.take(&mut stream, cut.as_bytes(), 1);
    assert!(stream.account().duplicates > 0, "{:?}", stream.account());
}
