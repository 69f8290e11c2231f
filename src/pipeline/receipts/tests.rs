//! The chain: whatever is done to it shows, and what a crash leaves costs no line.

use super::*;
use crate::deliver::{Moved, Sent};
use crate::log::Disk;

const BYTES_MAX: u64 = 8000;

fn opened(path: &Path) -> Receipts {
    let options = ReceiptOptions { path: path.to_owned(), bytes_max: BYTES_MAX };
    Receipts::open(options, Arc::new(Disk)).expect("the directory is ours")
}

fn written(path: &Path, lines: u32) {
    let mut receipts = opened(path);
    for line in 0..lines {
        receipts.note(&Operation::by_itself("test", "", line.to_string()));
        receipts.flush().expect("the disk is well");
    }
}

fn flaws(path: &Path) -> Vec<String> {
    let read = read_receipts(path, Period::ALWAYS, |_, _| {}).expect("they are readable");
    read.1.into_iter().map(|flaw| flaw.problem).collect()
}

/// Whichever line of whichever file is missing or altered, also after the next start.
#[test]
fn whatever_is_done_to_any_line_is_found() {
    for lines in [5, 90] {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("audit.jsonl");
        written(&path, lines);
        assert_eq!(flaws(&path), [""; 0], "{lines} lines");
        let older = older_files(&path).expect("readable");
        let first = first_of(older.front().map_or(&path, |(path, _)| path)).expect("text");
        assert_eq!(first > Some(1), lines > 50, "the oldest go");
        for file in older.into_iter().map(|(path, _)| path).chain([path.clone()]) {
            let whole = fs::read_to_string(&file).expect("text");
            let all: Vec<&str> = whole.split_inclusive('\n').collect();
            for at in 0..all.len() {
                let is_end = file == path && at + 1 == all.len();
                let altered = all[at].replacen("\"at\":\"2", "\"at\":\"3", 1);
                for line in ["", "\n", &altered] {
                    let changed = [&all[..at], &[line], &all[at + 1..]].concat().concat();
                    fs::write(&file, changed).expect("the directory is ours");
                    // That the end was cut off only checkpoints know.
                    assert!(is_end || !flaws(&path).is_empty(), "{file:?}: {at}: {line:?}");
                }
            }
            fs::write(&file, whole).expect("the directory is ours");
        }
        written(&path, 1);
        assert_eq!(flaws(&path), [""; 0], "{lines} lines");
    }
}

#[test]
fn what_was_missing_at_a_start_stays_missing() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("audit.jsonl");
    written(&path, 90);
    let (oldest, _) = older_files(&path).expect("readable").pop_front().expect("some");
    fs::remove_file(oldest).expect("it is there");
    assert_eq!(flaws(&path).len(), 1, "{:?}", flaws(&path));
    written(&path, 1);
    assert!(flaws(&path)[0].ends_with("are missing"), "{:?}", flaws(&path));
}

#[test]
fn a_file_that_cannot_be_made_after_the_last_was_put_aside_is_made_later() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("audit.jsonl");
    let mut receipts = opened(&path);
    receipts.flush().expect("the disk is well");
    receipts.put_aside().expect("the disk is well");
    fs::create_dir(&path).expect("in the way");
    receipts.flush().expect_err("no file can have this name");
    fs::remove_dir(&path).expect("empty");
    for line in 0..20 {
        receipts.note(&Operation::by_itself("test", "", line.to_string()));
        receipts.flush().expect("the disk is well");
    }
    assert_eq!(flaws(&path), [""; 0]);
}

/// A file with some lines, and what is written behind them before the next start.
fn behind(lines: u32, more: &[u8]) -> (tempfile::TempDir, PathBuf, u64) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("audit.jsonl");
    let mut receipts = large(&path);
    for line in 0..lines {
        receipts.note(&Operation::by_itself("test", "", line.to_string()));
    }
    receipts.flush().expect("the disk is well");
    let head = receipts.head().line;
    let mut file = fs::OpenOptions::new().append(true).open(&path).expect("it is ours");
    std::io::Write::write_all(&mut file, more).expect("the disk is well");
    (dir, path, head)
}

fn large(path: &Path) -> Receipts {
    let options = ReceiptOptions { path: path.to_owned(), bytes_max: u64::MAX };
    Receipts::open(options, Arc::new(Disk)).expect("the directory is ours")
}

#[test]
fn what_a_crash_left_of_the_end_takes_no_whole_line_with_it() {
    let hole = [vec![0; 900_000], b"{\"n\":7}\n".repeat(9)].concat();
    for more in [vec![b'x'; 1_200_000], vec![0; 3_000_000], hole, b"{\"n\":".to_vec()] {
        let (_dir, path, head) = behind(20, &more);
        let mut receipts = large(&path);
        assert_eq!(receipts.last_of_before(), head, "{} bytes behind", more.len());
        receipts.flush().expect("the disk is well");
        assert_eq!(flaws(&path), [""; 0], "{} bytes behind", more.len());
    }
}

#[test]
fn whole_lines_that_are_no_receipts_stay_and_the_chain_goes_on() {
    let (_dir, path, head) = behind(5, "no receipt\n".repeat(100_000).as_bytes());
    let before = fs::metadata(&path).expect("it is there").len();
    let mut receipts = large(&path);
    assert_eq!(receipts.last_of_before(), head);
    receipts.flush().expect("the disk is well");
    assert!(fs::metadata(&path).expect("it is there").len() > before);
    assert_eq!(flaws(&path).len(), 100_000);
}

#[test]
fn a_last_line_of_any_length_is_found() {
    let (_dir, path, _) = behind(5, b"");
    let mut receipts = large(&path);
    let delivered_at = "0+1,".repeat(800_000);
    receipts.push(Receipt { delivered_at, ..Receipt::default() });
    let head = receipts.head();
    receipts.flush().expect("the disk is well");
    let mut receipts = large(&path);
    assert_eq!(receipts.last_of_before(), head.line);
    receipts.flush().expect("the disk is well");
    assert_eq!(flaws(&path), [""; 0]);
}

#[test]
fn a_large_file_that_is_no_chain_is_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("audit.jsonl");
    let options = || ReceiptOptions { path: path.clone(), bytes_max: u64::MAX };
    for text in ["something else", "something else\n"] {
        let text = text.repeat(100_000);
        fs::write(&path, &text).expect("the directory is ours");
        let refused = Receipts::open(options(), Arc::new(Disk)).expect_err("it is not ours");
        assert!(refused.to_string().contains("no receipt"), "{refused}");
        assert_eq!(fs::read_to_string(&path).expect("it is there"), text);
    }
}

/// A keeper that hangs for a while has much to write, and each line of it is short.
#[test]
fn however_much_settles_at_once_no_line_is_long() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("audit.jsonl");
    let mut receipts = large(&path);
    let fates = [Settle::Delivered, Settle::Filtered, Settle::DeadLettered];
    let piece = |n: u64| {
        let from = Offset::new((1 << 60) + n * 1000);
        let span = Span { from, to: Offset::new(from.bytes() + 900) };
        Settled { span, events: 1, fate: fates[n as usize % 3] }
    };
    let settled: Vec<Settled> = (0..100_000).map(piece).collect();
    let sent = Some(Sent { attempts: 1, status: 200, bytes: 7, digest: [7; 32] });
    let at = (0..1000).map(|n| Offset::new((1 << 60) + n * 1000)).collect();
    let moved = Moved { fate: Some(Settle::Delivered), pass: 0, events: 3, at };
    let journal = vec![
        Entry { settled: settled.clone(), ..Entry::default() },
        Entry { sent, settled: settled[..9_000].to_vec(), ..Entry::default() },
        Entry { moved: Some(moved), ..Entry::default() },
    ];
    receipts.add(&Account { exporter: "one", pass: 0, journal, counts: Counts::default() });
    receipts.flush().expect("the disk is well");
    let text = fs::read_to_string(&path).expect("it was written");
    let longest = text.lines().map(str::len).max().unwrap_or_default();
    assert!(longest < 64 << 10, "{longest} bytes");
    let (mut counts, mut found, mut replayed) = (Counts::default(), Vec::new(), 0);
    let read = read_receipts(&path, Period::ALWAYS, |receipt, _| {
        if receipt.kind == "batch" {
            assert_eq!((receipt.status, &*receipt.body), (200, &*hex(&[7; 32])));
        } else if receipt.kind == "settled" {
            let Counts { delivered, dead_lettered, filtered, .. } = receipt.counts();
            counts.delivered += delivered;
            counts.dead_lettered += dead_lettered;
            counts.filtered += filtered;
            assert_eq!(receipt.settled().len() as u64, receipt.counts().total());
            found.extend(receipt.settled());
        }
        replayed += receipt.replayed;
    });
    assert!(read.expect("it is readable").1.is_empty());
    found.sort_unstable();
    assert!(found.iter().eq(settled.iter().map(|it| &it.span)));
    let (delivered, filtered, dead_lettered) = (33_334, 33_333, 33_333);
    let all = Counts { delivered, filtered, dead_lettered, ..Counts::default() };
    assert_eq!((counts, replayed), (all, 3));
}
