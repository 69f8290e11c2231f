//! Damage on disk, as the process meets it: a clear message, and the rest goes on.

use std::fs::{self, File, OpenOptions, remove_file};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, prlimit};

use crate::destination::{Destination, Manner};
use crate::event::id;
use crate::place::{Place, READY, Shrike, events};
use crate::wait::{PATIENCE, comes_true};

/// Fills three segments of which nothing is sent yet.
const EVENTS: u32 = 6_000;

#[test]
fn a_flipped_bit_costs_the_rest_of_its_stripe_and_is_counted() {
    let one = Destination::start(Manner::Accept);
    let place = Place::new(&[("one", &one)], "");
    place.fill(0..EVENTS);
    flip(&place.log_files("log")[0], 300_000);
    let ended = place.drained().with(1).saying(&["ERROR", "skipped", "checksums do not match"]);
    let account = ended.account("one");
    assert_eq!(account.in_range, u64::from(EVENTS));
    assert!((1..=1_500).contains(&account.counts.skipped), "{account:?}");
    assert_eq!(account.counts.delivered + account.counts.skipped, u64::from(EVENTS));
    assert_eq!(one.accepted().len() as u64, account.counts.delivered);
    // Said once, not at every start.
    place.fill(EVENTS..EVENTS + 10);
    let again = place.drained().with(0).account("one");
    assert_eq!(again.counts.skipped, account.counts.skipped);
    assert_eq!(again.counts.delivered, account.counts.delivered + 10);
}

#[test]
fn a_flipped_bit_in_the_last_stripe_is_told_and_stops_nothing() {
    let one = Destination::start(Manner::Accept);
    let place = Place::new(&[("one", &one)], "");
    place.fill(0..1_000);
    flip(&place.log_files("log")[0], 300_000);
    let ended = place.drained().with(1).saying(&["ERROR", "skipped", "checksums do not match"]);
    let account = ended.account("one");
    // No index entry says yet how many events the stripe held; what is known to be lost fails.
    assert!((1..1_000).contains(&account.counts.delivered), "{account:?}");
    assert_eq!(one.accepted().len() as u64, account.counts.delivered);
    place.fill(1_000..1_010);
    let again = place.drained().with(1).saying(&["WARN", "the log lost events"]).account("one");
    assert_eq!(again.counts.delivered, account.counts.delivered + 10);
}

#[test]
fn what_was_delivered_before_the_log_lost_it_stays_in_the_account() {
    let one = Destination::start(Manner::Accept);
    let place = Place::new(&[("one", &one)], "");
    place.fill(0..200);
    place.drained().with(0);
    flip(&place.log_files("log")[0], 3_000);
    place.fill(200..300);
    let ended = place.drained().saying(&["WARN", "the log lost events"]);
    let account = ended.account("one");
    assert_eq!((account.in_range, account.counts.delivered), (300, 300), "{}", ended.said);
    assert_eq!(one.accepted().len(), 300);
    let again = place.drained().account("one");
    assert_eq!((again.in_range, again.counts.delivered), (300, 300));
}

#[test]
fn a_truncated_segment_loses_what_was_cut_off_and_nothing_else() {
    let one = Destination::start(Manner::Accept);
    let place = Place::new(&[("one", &one)], "");
    place.fill(0..EVENTS);
    let segments = place.log_files("log");
    let cut = segments.iter().rev().find(|path| holds_events(path)).expect("a segment in use");
    let file = OpenOptions::new().write(true).open(cut).expect("the directory is ours");
    file.set_len(200_000).expect("shorter is possible");
    let ended = place.drained().saying(&["WARN", "the log lost events", "bytes from"]);
    let account = ended.account("one");
    let arrived = one.accepted().len();
    assert_eq!(account.counts.delivered, arrived as u64);
    assert!((4_000..EVENTS as usize).contains(&arrived), "{arrived} arrived: {account:?}");
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    place.fill(EVENTS..EVENTS + 10);
    place.drained().with(0).account("one");
    assert_eq!(one.accepted().len(), arrived + 10);
}

#[test]
fn a_deleted_checkpoint_is_told_and_begins_where_the_configuration_says() {
    let one = Destination::start(Manner::Accept);
    let place = Place::new(&[("one", &one)], "");
    place.fill(0..500);
    place.drained().with(0);
    remove_file(place.path("state/log/cursors/one.cursor")).expect("it was saved");
    let ended = place.drained().with(0).saying(&["WARN", "no checkpoint", "\"one\""]);
    let account = ended.account("one");
    assert_eq!((account.in_range, account.counts.delivered), (500, 500));
    assert_eq!(account.duplicates, 500, "all came twice, and that is counted");
    assert_eq!(one.accepted().len(), 500);
}

#[test]
fn a_log_that_was_deleted_or_restored_sends_what_comes_new() {
    for is_restored in [false, true] {
        let one = Destination::start(Manner::Accept);
        let place = Place::new(&[("one", &one)], "");
        place.fill(0..200);
        place.drained().with(0);
        let kept: Vec<_> = [place.log_files("log"), place.log_files("index")].concat();
        let kept = kept.into_iter().chain([place.path("state/log/control")]);
        let kept: Vec<_> = kept.map(|it| (fs::read(&it).expect("it is ours"), it)).collect();
        place.fill(200..EVENTS);
        place.drained().with(0);
        for path in [place.log_files("log"), place.log_files("index")].concat() {
            remove_file(path).expect("it is ours");
        }
        remove_file(place.path("state/log/control")).expect("it is there");
        if is_restored {
            kept.iter().for_each(|(bytes, path)| fs::write(path, bytes).expect("it is ours"));
        }
        place.fill(EVENTS..EVENTS + 5);
        let account = place.drained().account("one");
        let all = u64::from(EVENTS) + 5;
        assert_eq!((account.in_range, account.counts.delivered), (all, all), "{is_restored}");
        assert_eq!(one.accepted().len() as u64, all);
        assert!(one.accepted().values().all(|&times| times == 1), "{is_restored}");
        let again = place.drained().with(0).account("one");
        assert_eq!((again.in_range, again.counts.delivered), (all, all), "{is_restored}");
    }
}

#[test]
fn deleted_indexes_are_made_again() {
    let one = Destination::start(Manner::Accept);
    let place = Place::new(&[("one", &one)], "");
    place.fill(0..EVENTS);
    place.log_files("index").iter().for_each(|path| remove_file(path).expect("it is ours"));
    let ended = place.drained().with(0).saying(&["index of", "made again"]);
    assert_eq!(ended.account("one").counts.delivered, u64::from(EVENTS));
    assert_eq!(one.accepted().len(), EVENTS as usize);
}

#[test]
fn without_its_control_page_a_log_goes_on() {
    let one = Destination::start(Manner::Accept);
    let place = Place::new(&[("one", &one)], "");
    place.fill(0..EVENTS);
    remove_file(place.path("state/log/control")).expect("it is there");
    let ended = place.drained().with(0).saying(&["log without its control page"]);
    assert_eq!(ended.account("one").counts.delivered, u64::from(EVENTS));
    place.fill(EVENTS..EVENTS + 10);
    let account = place.drained().with(0).account("one");
    assert_eq!(account.counts.delivered, u64::from(EVENTS) + 10);
    assert_eq!(one.accepted().len(), EVENTS as usize + 10);
    assert!(one.accepted().values().all(|&times| times == 1));
}

#[test]
fn a_disk_that_refuses_is_told_and_nothing_acknowledged_is_lost() {
    let one = Destination::start(Manner::Accept);
    let place = Place::new(&[("one", &one)], "");
    place.fill(0..100);
    // Past its limit a write fails instead of ending the process, as with a full disk.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_shrike"), "run"]);
    command.arg("--config").arg(place.path("config.yaml"));
    let shrike = Shrike::start(command);
    shrike.wait_for(READY);
    place.fill(100..200);
    assert!(comes_true(|| one.accepted().len() == 200), "{} came", one.accepted().len());
    // What is not durable when the disk fails is written once more, and a checkpoint covers only
    // what is.
    assert!(comes_true(|| place.checkpoint("one").counts.delivered == 200));
    let usual = limit(&shrike, Some(1));
    let refused = place.append(200..300);
    let told = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(told.contains("cannot") && told.contains("once the disk works"), "{told}");
    shrike.wait_for("the log cannot be written; trying again");
    limit(&shrike, usual);
    assert!(comes_true(|| place.append(300..400).status.success()), "it goes on by itself");
    let arrived = || one.accepted().contains_key(&id(399));
    assert!(comes_true(arrived), "acknowledged and not sent");
    shrike.terminate();
    let account = shrike.ended(PATIENCE).with(0).account("one");
    assert_eq!(account.counts.delivered, account.in_range);
    for number in (0..200).chain(300..400) {
        assert!(one.accepted().contains_key(&id(number)), "{number} is missing");
    }
}

#[test]
fn an_input_waits_for_the_disk_tells_once_and_goes_on() {
    let one = Destination::start(Manner::Accept);
    let place = Place::new(&[("one", &one)], "");
    let path = place.path("events.jsonl");
    std::fs::write(&path, events(0..100)).expect("the directory is ours");
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_shrike"), "run"]);
    command.arg("--config").arg(place.path("config.yaml"));
    let file = format!("{{type: file, path: {}, mode: append}}", path.display());
    command.arg("--set").arg(format!("inputs=[{file}, {{type: stdin}}]"));
    command.stdin(Stdio::piped());
    let mut shrike = Shrike::start(command);
    let mut stdin = shrike.stdin();
    stdin.write_all(&events(100..200)).expect("it reads");
    assert!(comes_true(|| one.accepted().len() == 200), "{} came", one.accepted().len());
    // What is not durable when the disk fails is written once more, and a checkpoint covers only
    // what is.
    assert!(comes_true(|| place.checkpoint("one").counts.delivered == 200));
    let usual = limit(&shrike, Some(1));
    // No more than a pipe holds: nobody reads meanwhile.
    stdin.write_all(&events(200..250)).expect("a pipe holds that");
    let mut file = OpenOptions::new().append(true).open(&path).expect("it is ours");
    file.write_all(&events(2_000..3_000)).expect("our own limit is the usual one");
    shrike.wait_for("the log cannot be written; trying again");
    shrike.wait_for("input waits for the disk");
    limit(&shrike, usual);
    stdin.write_all(&events(250..1_200)).expect("it reads on");
    let arrived = || one.accepted().len();
    assert!(comes_true(|| arrived() == 2_200), "{} came", arrived());
    drop(stdin);
    shrike.terminate();
    let ended = shrike.ended(PATIENCE).with(0);
    assert_eq!(ended.account("one").in_range, 2_200, "each is in the log once");
    for name in ["stdin", "events.jsonl"] {
        let told = |words: &str| {
            let is_it = |line: &&str| line.contains(words) && line.contains(name);
            ended.said.lines().filter(is_it).count()
        };
        assert_eq!(told("input waits for the disk"), told("input goes on"), "{}", ended.said);
        assert!(told("input failed") == 0 && told("input waits for the disk") <= 2);
    }
}

#[test]
fn a_command_for_which_no_descriptor_is_left_costs_little_and_is_answered_later() {
    let one = Destination::start(Manner::Accept);
    let place = Place::new(&[("one", &one)], "");
    place.fill(0..10);
    let shrike = place.run(&[]);
    shrike.wait_for(READY);
    assert!(comes_true(|| place.checkpoint("one").counts.delivered == 10));
    let usual = getrlimit(Resource::Nofile);
    let descriptors = |limit| {
        prlimit(Some(shrike.pid()), Resource::Nofile, limit).expect("a child of ours");
    };
    let spent = || {
        let pid = shrike.pid().as_raw_nonzero();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
        let (_, fields) = stat.rsplit_once(')').expect("its name stands in brackets");
        let ticks = fields.split_whitespace().skip(11).take(2).map(|it| it.parse::<u64>());
        ticks.map(|it| it.expect("a number")).sum::<u64>()
    };
    descriptors(Rlimit { current: Some(1), ..usual });
    let waiting = UnixStream::connect(place.path("state/control.sock")).expect("it listens");
    let before = spent();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(2) {
        std::thread::park_timeout(Duration::from_millis(100));
    }
    let ticks = spent() - before;
    assert!(ticks < 40, "{ticks} hundredths of a second of 200");
    descriptors(usual);
    drop(waiting);
    assert_eq!(place.ran(&["status"]).status.code(), Some(0));
    let ended = shrike.stopped().with(0);
    assert_eq!(ended.account("one").in_range, 10);
    assert_eq!(ended.said.matches("a command cannot be taken").count(), 1, "{}", ended.said);
}

/// Limits how long files of a process may become; returns the limit before.
fn limit(shrike: &Shrike, bytes: Option<u64>) -> Option<u64> {
    let limit = Rlimit { current: bytes, maximum: None };
    prlimit(Some(shrike.pid()), Resource::Fsize, limit).expect("a child of ours").current
}

fn flip(path: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).expect("it is ours");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("it is that long");
    file.write_all_at(&[byte[0] ^ 4], at).expect("it is ours");
}

/// Whether anything follows the segment's head.
fn holds_events(path: &Path) -> bool {
    let mut bytes = [0; 4096];
    File::open(path).and_then(|file| file.read_exact_at(&mut bytes, 0)).expect("it is ours");
    bytes[1024..].iter().any(|&byte| byte != 0)
}

#[test]
fn the_account_holds_when_old_segments_are_gone() {
    let one = Destination::start(Manner::Accept);
    let place = Place::new(&[("one", &one)], "");
    place.fill(0..EVENTS);
    let shrike = place.run(&["--set", "log.keep.bytes=1MiB"]);
    shrike.wait_for(READY);
    let segments = place.log_files("log").len();
    assert!(comes_true(|| one.accepted().len() == EVENTS as usize));
    assert!(comes_true(|| place.log_files("log").len() < segments), "nothing was removed");
    shrike.terminate();
    let account = shrike.ended(PATIENCE).with(0).account("one");
    assert_eq!((account.in_range, account.counts.delivered), (EVENTS.into(), EVENTS.into()));
    let account = place.drained().with(0).account("one");
    assert_eq!((account.in_range, account.counts.delivered), (EVENTS.into(), EVENTS.into()));
}
