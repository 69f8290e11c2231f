//! Files of other programs, however they are written, rotated and replaced: each line once.

#[path = "inputs/documents.rs"]
mod documents;
#[path = "inputs/packed.rs"]
mod packed;
#[path = "inputs/poll.rs"]
mod poll;
#[path = "inputs/positions.rs"]
mod positions;
#[path = "inputs/refused.rs"]
mod refused;
#[path = "inputs/rewritten.rs"]
mod rewritten;
#[path = "inputs/rotations.rs"]
mod rotations;
#[path = "inputs/rows.rs"]
mod rows;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use shrike::dialects;
use shrike::event::{Opening, OpeningOptions};
use shrike::intake::{
    Account, CheckOptions, Door, DoorOptions, Files, FilesOptions, Mode, Positions, SharedDoor,
};
use shrike::log::{IoChoice, Log, LogOptions, Read as Found};

/// A host: a log, files, and the process that reads them, which may start anew.
struct Host {
    dir: tempfile::TempDir,
    log: Log,
    running: Option<Running>,
    now: Instant,
}

struct Running {
    door: SharedDoor,
    positions: Arc<Positions>,
    files: Files,
}

impl Host {
    fn new() -> Self {
        Self::with_segments(4 << 20)
    }

    /// With segments of this size, which bounds a record.
    fn with_segments(segment_bytes: u64) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let (log, _) = Log::open(LogOptions {
            dir: dir.path().join("log"),
            segment_bytes,
            sync_interval: Duration::from_millis(1),
            io: IoChoice::Syscalls,
            ..LogOptions::default()
        })
        .expect("a log opens");
        Self { dir, log, running: None, now: Instant::now() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn start(&mut self, pattern: &str, mode: Option<Mode>) {
        self.start_with(pattern, mode, false);
    }

    /// Starts a process that reads these files; one that ran is gone as after a crash.
    fn start_with(&mut self, pattern: &str, mode: Option<Mode>, from_end: bool) {
        self.running = None;
        self.log.flush().expect("the disk takes it");
        let reader = self.log.reader();
        let (positions, torn) = Positions::open(self.path("inputs.json"), &reader).expect("opens");
        assert_eq!(torn, None);
        let positions = Arc::new(positions);
        let door = SharedDoor::new(Door::new(DoorOptions {
            opening: Arc::new(Opening::new(&OpeningOptions::default())),
            // Nothing is recognised by its id: what is read twice is in the log twice.
            check: CheckOptions {
                dialects: dialects::ALL,
                dedup_window: 0,
                ..CheckOptions::default()
            },
            appender: self.log.appender(),
            quarantine: None,
            positions: Some(Arc::clone(&positions)),
        }));
        let options = FilesOptions {
            path: self.path(pattern),
            mode,
            format: None,
            from_end,
            sniff: dialects::mode,
        };
        let files = Files::new(options, Arc::clone(&positions), self.now);
        self.running = Some(Running { door, positions, files });
    }

    fn stop(&mut self) {
        self.running = None;
    }

    /// One look at the files.
    fn step(&mut self) -> Duration {
        let running = self.running.as_mut().expect("it runs");
        let rest = running.files.step(&running.door, &AtomicBool::new(false), self.now);
        rest.expect("the log takes everything")
    }

    fn account(&self) -> Account {
        self.running.as_ref().expect("it runs").files.account()
    }

    /// Looks until nothing is new, paths included.
    fn settle(&mut self) {
        for _ in 0..4 {
            self.now += Duration::from_millis(300);
            while self.step().is_zero() {}
        }
    }

    /// The numbers of the events in the log.
    fn numbers(&mut self) -> Vec<u32> {
        if self.running.is_some() {
            self.settle();
        }
        self.log.flush().expect("the disk takes it");
        records(&self.log).iter().map(|it| number(it)).collect()
    }
}

impl Host {
    /// The same in order: which of several files is looked at first is nobody's promise.
    fn sorted(&mut self) -> Vec<u32> {
        let mut numbers = self.numbers();
        numbers.sort_unstable();
        numbers
    }
}

/// The durable records of a log.
fn records(log: &Log) -> Vec<Vec<u8>> {
    let mut reader = log.reader();
    let (mut all, mut at) = (Vec::new(), log.oldest());
    loop {
        match reader.read(at, log.durable(), 1 << 20).expect("a log reads") {
            Found::Block(block) => {
                all.extend(block.records().iter().map(|it| block.record(it).to_vec()));
                at = block.span().to;
            }
            Found::Cold(span) => reader.warm(span).expect("the disk reads"),
            Found::End => return all,
            other => panic!("{other:?}"),
        }
    }
}

/// The number in an event's reason.
fn number(record: &[u8]) -> u32 {
    let record = std::str::from_utf8(record).expect("events are text");
    let (_, rest) = record.split_once("\"reason\":\"n").expect("ours have a number");
    rest.split('"').next().and_then(|text| text.parse().ok()).expect("a number")
}

/// Lines of Velar's log.
fn lines(numbers: impl IntoIterator<Item = u32>) -> String {
    let line = |n| {
        format!(
            "{{\"timestamp\":\"2026-02-06T10:00:00Z\",\"method\":\"GET\",\"host\":\"h\",\
             \"decision\":\"allow\",\"reason\":\"n{n}\"}}\n"
        )
    };
    numbers.into_iter().map(line).collect()
}

/// Lines of the OpenClaw plugin.
fn claws(numbers: impl IntoIterator<Item = u32>) -> String {
    let line = |n| {
        format!(
            "{{\"type\":\"command\",\"resource\":\"ls\",\"decision\":\"denied\",\"guard\":\"g\",\
             \"reason\":\"n{n}\",\"id\":\"evt-{n}\",\"timestamp\":1770382800000}}\n"
        )
    };
    numbers.into_iter().map(line).collect()
}

/// Lines of `hush run`.
fn runs(run: &str, numbers: impl IntoIterator<Item = u32>) -> String {
    let line = |n| {
        format!(
            "{{\"eventId\":\"evt-{run}-{n}\",\"eventType\":\"custom\",\"sessionId\":\"{run}\",\
             \"timestamp\":\"2026-02-06T10:00:00Z\",\"data\":{{\"type\":\"custom\"}},\
             \"metadata\":{{\"decision\":{{\"allowed\":true,\"message\":\"n{n}\"}}}}}}\n"
        )
    };
    numbers.into_iter().map(line).collect()
}

fn append(path: &Path, text: &str) {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).expect("the directory is ours");
}

/// Truncates a file and writes it again, as programs do that keep everything in memory.
fn rewrite(path: &Path, text: &str) {
    fs::write(path, text).expect("the directory is ours");
}

fn upto(n: u32) -> Vec<u32> {
    (0..n).collect()
}

#[test]
fn only_complete_lines_are_taken() {
    let mut host = Host::new();
    let path = host.path("a.log");
    host.start("a.log", None);
    assert_eq!(host.numbers(), upto(0), "there is no file yet");
    let text = lines(0..3);
    let cut = text.len() - 20;
    append(&path, &text[..cut]);
    assert_eq!(host.numbers(), [0, 1]);
    append(&path, &text[cut..]);
    assert_eq!(host.numbers(), [0, 1, 2]);
    // Two objects on one line, and a long file.
    append(&path, &lines(3..5).replace("}\n{", "}{"));
    append(&path, &lines(5..5_000));
    assert_eq!(host.numbers(), upto(5_000));
    host.start("a.log", None);
    append(&path, &lines(5_000..5_001));
    assert_eq!(host.numbers(), upto(5_001), "goes on after a restart");
}

#[test]
fn a_file_is_read_from_its_end_only_when_it_was_there_at_the_first_start() {
    let mut host = Host::new();
    let half = lines(3..4);
    append(&host.path("a.log"), &(lines(0..3) + &half[..30]));
    host.start_with("*.log", None, true);
    assert_eq!(host.numbers(), upto(0));
    append(&host.path("a.log"), &half[30..]);
    append(&host.path("b.log"), &lines(4..6));
    assert_eq!(host.sorted(), [3, 4, 5], "a line that was half there is whole");
    host.stop();
    append(&host.path("a.log"), &lines(6..7));
    host.start_with("*.log", None, true);
    assert_eq!(host.sorted(), [3, 4, 5, 6]);
}

#[test]
fn a_file_is_read_from_its_end_at_the_very_first_start_only() {
    let mut host = Host::new();
    append(&host.path("a.log"), &lines(0..3));
    rewrite(&host.path("claws.log"), &claws(0..3));
    host.start_with("*.log", None, true);
    assert_eq!(host.numbers(), upto(0));
    host.stop();
    // Nothing was read of the one, and the other was not there, when the process went.
    append(&host.path("a.log"), &lines(3..5));
    append(&host.path("b.log"), &lines(5..7));
    host.start_with("*.log", None, true);
    assert_eq!(host.sorted(), [3, 4, 5, 6]);
    // A rewritten one without a line in its middle: what was passed over stays so.
    rewrite(&host.path("claws.log"), &(claws(0..1) + &claws(2..3) + &claws(77..78)));
    assert_eq!(host.sorted(), [3, 4, 5, 6, 77]);
    // The first start may find nothing at all.
    let mut empty = Host::new();
    empty.start_with("a.log", None, true);
    assert_eq!(empty.numbers(), upto(0));
    empty.stop();
    append(&empty.path("a.log"), &lines(0..2));
    empty.start_with("a.log", None, true);
    assert_eq!(empty.numbers(), upto(2));
}

#[test]
fn a_renamed_file_is_drained_before_the_new_one_is_read() {
    let mut host = Host::new();
    let path = host.path("a.log");
    append(&path, &lines(0..2));
    host.start("a.log", None);
    assert_eq!(host.numbers(), upto(2));
    // The writer holds the old file and never lets go.
    let mut held = OpenOptions::new().append(true).open(&path).expect("it is there");
    held.write_all(lines(2..3).as_bytes()).expect("ours");
    fs::rename(&path, host.path("a.log.1")).expect("ours");
    append(&path, &lines(3..5));
    assert_eq!(host.numbers(), upto(5));
    held.write_all(lines(5..6).as_bytes()).expect("ours");
    assert_eq!(host.numbers(), upto(6), "it may still grow");
    append(&path, &lines(6..7));
    fs::remove_file(host.path("a.log.1")).expect("ours");
    held.write_all(lines(7..8).trim_end().as_bytes()).expect("ours");
    drop(held);
    assert_eq!(host.numbers(), upto(7));
    host.now += Duration::from_secs(11);
    assert_eq!(host.numbers(), upto(8), "its last line needs no ending once it is gone");
}

#[test]
fn rotation_storms_lose_nothing() {
    let mut host = Host::new();
    let path = host.path("a.log");
    append(&path, &lines(0..1));
    host.start("a.log", None);
    assert_eq!(host.numbers(), upto(1));
    let mut next = 1;
    for round in 0..10 {
        // Several rotations between two looks, also while nobody runs.
        for turn in 0..3 {
            append(&path, &lines(next..next + 3));
            fs::rename(&path, host.path(&format!("a.log.{round}-{turn}"))).expect("ours");
            append(&path, &lines(next + 3..next + 4));
            next += 4;
        }
        if round % 2 == 0 {
            host.stop();
            host.start("a.log", None);
        }
        assert_eq!(host.sorted(), upto(next), "round {round}");
    }
}

#[test]
fn rotations_between_two_looks_are_found_whatever_is_at_the_path() {
    for pattern in ["a.log", "*.log"] {
        let mut host = Host::new();
        let path = host.path("a.log");
        let moved = |host: &Host, name: &str| fs::rename(&path, host.path(name)).expect("ours");
        // What a rotation left before the input began is not read, nor what only looks like it.
        append(&host.path("a.log.1"), &lines(900..903));
        append(&path, &lines(0..2));
        host.start(pattern, None);
        assert_eq!(host.numbers(), upto(2));
        fs::rename(host.path("a.log.1"), host.path("a.log.9")).expect("ours");
        append(&host.path("a.log.lock"), &lines(910..912));
        let mut next = 2;
        for round in 0..6 {
            for turn in 0..3 {
                append(&path, &lines(next..next + 3));
                moved(&host, &format!("a.log-{round}{turn}"));
                next += 3;
            }
            // Nothing is there at the time of the look, or an empty file, or one with lines.
            if round % 3 > 0 {
                let count = if round % 3 == 1 { 0 } else { 2 };
                append(&path, &lines(next..next + count));
                next += count;
            }
            assert_eq!(host.sorted(), upto(next), "{pattern}, round {round}");
        }
        // A copy of what was read, also of a rotated one, holds nothing new.
        fs::copy(host.path("a.log-22"), host.path("a.log-22.1")).expect("ours");
        append(&path, &lines(next..next + 2));
        fs::copy(&path, host.path("a.log.2")).expect("ours");
        assert_eq!(host.sorted(), upto(next + 2), "{pattern}");
        host.start(pattern, None);
        assert_eq!(host.sorted(), upto(next + 2), "{pattern}, started again");
        assert_eq!((host.account().gaps, host.account().rejected), (0, 0), "{pattern}");
    }
}

#[test]
fn a_file_that_nobody_saw_before_it_was_copied_and_cut_comes_from_the_copy() {
    let mut host = Host::new();
    let path = host.path("a.log");
    append(&path, &lines(0..3));
    host.start("a.log", None);
    assert_eq!(host.numbers(), upto(3));
    fs::copy(&path, host.path("a.log.1")).expect("ours");
    rewrite(&path, "");
    assert_eq!(host.numbers(), upto(3));
    // Written, copied and cut between two looks, while reading stands at the start.
    append(&path, &lines(3..6));
    fs::rename(host.path("a.log.1"), host.path("a.log.2")).expect("ours");
    fs::copy(&path, host.path("a.log.1")).expect("ours");
    rewrite(&path, "");
    assert_eq!(host.sorted(), upto(6));
    append(&path, &lines(6..8));
    assert_eq!(host.sorted(), upto(8));
    // Lines that were written between copying and cutting: the copy repeats nothing.
    append(&path, &lines(8..9));
    fs::copy(&path, host.path("a.log.3")).expect("ours");
    append(&path, &lines(9..10));
    assert_eq!(host.sorted(), upto(10));
    rewrite(&path, &lines(10..11));
    assert_eq!(host.sorted(), upto(11));
    host.start("a.log", None);
    assert_eq!(host.sorted(), upto(11));
}

#[test]
fn what_was_rotated_away_while_nobody_ran_costs_only_what_is_gone() {
    let mut host = Host::new();
    let path = host.path("a.log");
    append(&path, &lines(0..3));
    host.start("a.log", None);
    assert_eq!(host.numbers(), upto(3));
    let running = host.running.as_ref().expect("it runs");
    running.positions.save(&host.log).expect("the disk takes it");
    host.stop();
    // The file that was read is deleted by then; two that came after it are not.
    fs::remove_file(&path).expect("ours");
    append(&host.path("a.log.2"), &lines(3..5));
    append(&host.path("a.log.1"), &lines(5..7));
    append(&path, &lines(7..8));
    host.start("a.log", None);
    assert_eq!(host.sorted(), upto(8));
    assert_eq!(host.account().gaps, 1, "what else there was in between, nobody knows");
}

#[test]
fn a_copied_and_truncated_file_starts_again() {
    let mut host = Host::new();
    let path = host.path("a.log");
    append(&path, &lines(0..3));
    host.start("a.log", None);
    assert_eq!(host.numbers(), upto(3));
    fs::copy(&path, host.path("a.log.1")).expect("ours");
    rewrite(&path, &lines(3..4));
    assert_eq!(host.numbers(), upto(4), "shorter than before");
    // Longer than before by the time of the next look.
    rewrite(&path, &lines(4..9));
    assert_eq!(host.numbers(), upto(9));
    // While nobody looks: the rest is in the copy.
    host.stop();
    append(&path, &lines(9..11));
    fs::copy(&path, host.path("a.log.2")).expect("ours");
    rewrite(&path, &lines(11..12));
    host.start("a.log", None);
    assert_eq!(host.numbers(), upto(12));
}

#[test]
fn what_was_not_read_before_a_live_truncation_comes_from_the_copy() {
    let mut host = Host::new();
    let path = host.path("a.log");
    append(&path, &lines(0..3));
    host.start("a.log", None);
    assert_eq!(host.numbers(), upto(3));
    for round in 0..5 {
        let next = 3 + round * 9;
        // All of it happens between two looks: twice, and with a line that is half there.
        append(&path, &lines(next..next + 3));
        fs::copy(&path, host.path(&format!("a.log.{round}a"))).expect("ours");
        rewrite(&path, &lines(next + 3..next + 5));
        append(&path, &lines(next + 5..next + 6));
        fs::copy(&path, host.path(&format!("a.log.{round}b"))).expect("ours");
        rewrite(&path, &lines(next + 6..next + 8));
        let last = lines(next + 8..next + 9);
        append(&path, &last[..20]);
        assert_eq!(host.numbers(), upto(next + 8), "round {round}");
        append(&path, &last[20..]);
        if round == 3 {
            host.start("a.log", None);
        }
        assert_eq!(host.numbers(), upto(next + 9), "round {round}");
        assert_eq!(host.account().gaps, 0);
    }
}

#[test]
fn copies_that_the_pattern_matches_too_repeat_nothing() {
    let mut host = Host::new();
    let path = host.path("a.log");
    append(&path, &lines(0..3));
    host.start("a.log*", None);
    assert_eq!(host.sorted(), upto(3));
    // A backup, and a copy that is being made: nothing of them is new.
    fs::copy(&path, host.path("a.log.bak")).expect("ours");
    append(&host.path("a.log-half"), &lines(0..2)[..30]);
    assert_eq!(host.sorted(), upto(3));
    append(&host.path("a.log-half"), &lines(0..2)[30..]);
    assert_eq!(host.sorted(), upto(3));
    fs::remove_file(host.path("a.log-half")).expect("ours");
    for round in 0..4 {
        let next = 3 + round * 7;
        append(&path, &lines(next..next + 2));
        if round == 2 {
            // Nobody looks while it is rotated.
            host.stop();
        }
        // The older ones move on, as rotations do it; some lines are written meanwhile.
        for number in (1..=round).rev() {
            let of = |number| host.path(&format!("a.log.{number}"));
            fs::rename(of(number), of(number + 1)).expect("ours");
        }
        fs::copy(&path, host.path("a.log.1")).expect("ours");
        if round == 1 {
            // The copy is seen before the file is cut.
            assert_eq!(host.sorted(), upto(next + 2));
        }
        rewrite(&path, &lines(next + 2..next + 5));
        if round == 2 {
            host.start("a.log*", None);
        }
        assert_eq!(host.sorted(), upto(next + 5), "round {round}");
        append(&path, &lines(next + 5..next + 7));
        append(&host.path("a.log.9.gz"), "what is compressed is no line\n");
        assert_eq!(host.sorted(), upto(next + 7), "round {round}");
    }
    let rejected = host.account().rejected;
    assert_eq!((host.account().gaps, rejected), (0, 0));
    host.start("a.log*", None);
    assert_eq!(host.sorted(), upto(31));
    // One that goes its own way is a file of its own, and so is one of another's lines.
    append(&host.path("a.log.own"), &lines(40..42));
    assert_eq!(host.sorted(), [upto(31), vec![40, 41]].concat());
    append(&host.path("a.log.own"), &lines(42..43));
    assert_eq!(host.sorted(), [upto(31), vec![40, 41, 42]].concat());
}

#[test]
fn a_file_that_is_cut_off_without_a_copy_is_counted() {
    let mut host = Host::new();
    let path = host.path("a.log");
    append(&path, &lines(0..3));
    host.start("a.log", None);
    assert_eq!(host.numbers(), upto(3));
    append(&path, &lines(3..4));
    rewrite(&path, &lines(4..5));
    assert_eq!(host.numbers(), [0, 1, 2, 4]);
    assert_eq!(host.account().gaps, 1);
    host.start("a.log", None);
    assert_eq!(host.numbers(), [0, 1, 2, 4]);
    assert_eq!(host.account().gaps, 0, "it is told once");
    // A run that is replaced while its last line was half written.
    let path = host.path("hush.events.jsonl");
    let run = runs("one", 0..3);
    rewrite(&path, &run[..run.len() - 10]);
    host.start("hush.events.jsonl", None);
    host.settle();
    rewrite(&path, &runs("two", 5..6));
    assert_eq!(host.numbers(), [0, 1, 2, 4, 0, 1, 5]);
    assert_eq!(host.account().gaps, 1);
}

#[test]
fn a_writer_that_dies_inside_a_line_costs_that_line_only() {
    let mut host = Host::new();
    let path = host.path("a.log");
    host.start("a.log", None);
    let half = lines(2..3);
    append(&path, &(lines(0..2) + &half[..half.len() / 2]));
    assert_eq!(host.numbers(), [0, 1]);
    // Its successor knows nothing of it, and goes on behind it.
    append(&path, &lines(3..6));
    assert_eq!(host.numbers(), [0, 1, 4, 5]);
    assert_eq!(host.account().rejected, 1);
    append(&path, &lines(6..7));
    assert_eq!(host.numbers(), [0, 1, 4, 5, 6]);
}

#[test]
fn a_line_of_four_mebibytes_is_taken_and_a_longer_one_is_not() {
    let mut host = Host::with_segments(16 << 20);
    let path = host.path("a.log");
    host.start("a.log", None);
    let line = |n: u32, bytes: usize| {
        let short = lines(n..n + 1);
        let head = short.strip_suffix("}\n").expect("a line");
        let rest = bytes - head.len() - ",\"request_body_preview\":\"\"}".len();
        format!("{head},\"request_body_preview\":\"{}\"}}\n", "x".repeat(rest))
    };
    append(&path, &(lines(0..1) + &line(1, 4 << 20)));
    let long = line(9, (4 << 20) + 1) + &lines(2..3);
    // It comes in pieces, and none of them makes it an event.
    for piece in long.as_bytes().chunks(1 << 20) {
        append(&path, std::str::from_utf8(piece).expect("ASCII"));
        host.settle();
    }
    assert_eq!(host.numbers(), upto(3));
    assert_eq!(host.account().rejected, 1);
}

#[test]
fn each_run_is_read_from_its_start() {
    let mut host = Host::new();
    let path = host.path("hush.events.jsonl");
    let first = runs("one", 0..40);
    rewrite(&path, &first[..first.len() - 10]);
    host.start("hush.events.jsonl", None);
    assert_eq!(host.numbers(), upto(39), "the rest waits for the whole run");
    append(&path, &first[first.len() - 10..]);
    assert_eq!(host.numbers(), upto(40));
    // The next run is longer than the last one when it is seen first.
    rewrite(&path, &runs("two", 40..90));
    assert_eq!(host.numbers(), upto(90));
    host.stop();
    rewrite(&path, &runs("three", 90..93));
    host.start("hush.events.jsonl", None);
    assert_eq!(host.numbers(), upto(93));
}

#[test]
fn many_small_files_are_each_read_once() {
    let mut host = Host::new();
    let begun = fs::read_dir("/proc/self/fd").expect("Linux").count();
    for n in 0..3_000 {
        append(&host.path(&format!("f{n:04}.log")), &lines([n]));
    }
    host.start("*.log", None);
    let mut numbers = host.numbers();
    numbers.sort_unstable();
    assert_eq!(numbers, upto(3_000));
    let held = fs::read_dir("/proc/self/fd").expect("Linux").count();
    assert!(held < begun + 1_000, "{held} descriptors, {begun} before");
    host.now += Duration::from_secs(5);
    host.settle();
    // One that was closed meanwhile grows, one goes, one comes.
    append(&host.path("f0000.log"), &lines([3_000]));
    fs::remove_file(host.path("f0001.log")).expect("ours");
    append(&host.path("g.log"), &lines([3_001]));
    // Looking at so many paths may have taken long, and is then not done again soon.
    host.now += Duration::from_secs(120);
    let mut numbers = host.numbers();
    numbers.sort_unstable();
    assert_eq!(numbers, upto(3_002));
    // What the kernel tells of need not wait for the next look at all of them.
    append(&host.path("f0002.log"), &lines([3_002]));
    append(&host.path("new.log"), "");
    let deadline = Instant::now() + Duration::from_secs(20);
    while host.account().events < 3_003 && Instant::now() < deadline {
        host.step();
    }
    append(&host.path("new.log"), &lines([3_003]));
    while host.account().events < 3_004 && Instant::now() < deadline {
        host.step();
    }
    assert_eq!(host.account().events, 3_004);
    host.start("*.log", None);
    assert_eq!(host.numbers().len(), 3_004, "nothing comes again");
}
