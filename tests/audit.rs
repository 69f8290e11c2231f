//! `shrike audit`: receipts prove the account, and tell what was done to them.

#[path = "support/binary.rs"]
mod binary;
#[path = "pipeline/destination.rs"]
mod destination;
#[path = "support/event.rs"]
mod event;
#[path = "support/siem.rs"]
mod siem;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use binary::{Place, quiet, wait_until};
use destination::{Destination, Manner};
use event::{events, id};
use rustix::process::{Signal, getuid};
use siem::siem;

#[test]
fn receipts_prove_the_account_and_tell_an_events_fate() {
    let destination = Destination::start(Manner::Refuse('7'));
    let place = siem(&destination);
    place.append_lines(&events(0..640));
    place.run(&["run", "--drain"], 1);
    let first = place.run(&["audit", "verify"], 0);
    let account = "siem, pass 0: 640 settled = 600 delivered + 40 dead-lettered";
    assert!(first.contains(account), "{first}");
    assert!(first.contains("chain, sums and anchors are right"), "{first}");
    destination.turn(Manner::Accept);
    place.run(&["dlq", "replay"], 0);
    place.append_lines(&events(640..700));
    place.run(&["run", "--drain"], 0);
    let account = "siem, pass 0: 700 settled = 700 delivered + 0 dead-lettered";
    let second = place.run(&["audit", "verify"], 0);
    assert!(second.contains(account), "{second}");
    let arrived = place.run(&["audit", "show", "--event", &id(5)], 0);
    assert!(arrived.contains("siem: delivered at ") && arrived.contains("status 200"), "{arrived}");
    let refused = place.run(&["audit", "show", "--event", &id(7)], 0);
    assert!(refused.contains("siem: dead_lettered at "), "{refused}");
    let by_replay = "siem: delivered by a replay of its dead letter at ";
    assert!(refused.contains(by_replay), "{refused}");
    let unknown = place.run(&["audit", "show", "--event", &id(9_999)], 1);
    assert!(unknown.contains("it never came, or retention took it"), "{unknown}");
    place.run(&["audit", "show", "--event", ""], 2);
    place.run(&["cursor", "rewind", "siem", "--to", "earliest"], 0);
    place.run(&["run", "--drain"], 0);
    let again = place.run(&["audit", "verify"], 0);
    assert!(again.contains("siem, pass 1: 700 settled = 700 delivered"), "{again}");
    // Both passes are compared with the log; only what was settled twice by one would be wrong.
    assert!(again.contains("1400 events compared with the log"), "{again}");

    let done = place.run(&["audit", "log"], 0);
    let by = format!("by user {}, process ", rustix::process::getuid().as_raw());
    let has = |what: &str| done.lines().any(|line| line.contains(what) && line.contains(&by));
    assert!(has("rewind siem") && has("dlq_replay siem"), "{done}");
    assert_eq!(done.matches("start  by shrike").count(), 4, "{done}");
    assert_eq!(done.matches("stop  by shrike").count(), 4, "{done}");
    let json = place.run(&["audit", "log", "--json", "--from", "1h"], 0);
    assert_eq!(json.lines().count(), done.lines().count());
    assert!(json.lines().any(|line| line.contains("\"action\":\"rewind\"")), "{json}");
    assert!(place.run(&["audit", "log", "--to", "1h"], 0).is_empty());
    place.run(&["audit", "verify", "--from", "1h", "--to", "2h"], 2);
}

/// The chain outlives letters: whatever became of them is told when their store is gone.
#[test]
fn what_became_of_a_letter_is_told_when_its_store_is_gone() {
    let destination = Destination::start(Manner::Refuse('7'));
    let place = siem(&destination);
    place.append_lines(&events(0..40));
    place.run(&["run", "--drain"], 1);
    let shown = |n| place.run(&["audit", "show", "--event", &id(n)], 0);
    let buried = shown(7);
    assert!(buried.contains("siem: dead_lettered at "), "{buried}");
    assert!(buried.contains(", attempt 1, status 200, body "), "the request is told: {buried}");
    place.run(&["dlq", "purge", "--id", &id(7)], 0);
    destination.turn(Manner::Accept);
    place.run(&["cursor", "rewind", "siem", "--to", "latest"], 0);
    place.run(&["dlq", "replay"], 0);
    let check = || {
        let purged = shown(7);
        assert_eq!(purged.matches("siem: dead letter purged at ").count(), 1, "{purged}");
        let replayed = shown(0x17);
        let by_replay = "siem: delivered by a replay of its dead letter at ";
        assert_eq!(replayed.matches(by_replay).count(), 1, "{replayed}");
        let line = replayed.lines().find(|line| line.starts_with(by_replay)).expect("it is there");
        assert!(line.contains(", pass 0, attempt 1, status 200, body "), "{replayed}");
        assert!(!(purged + &replayed).contains("is not kept"));
        place.run(&["audit", "verify"], 0);
    };
    check();
    std::fs::remove_dir_all(place.path("state/dlq/siem")).expect("it is there");
    check();
    place.run(&["run", "--drain"], 0);
    check();
}

/// What an earlier pass did with an event says nothing of the one that is under way.
#[test]
fn an_event_that_is_pending_again_is_told_so() {
    let destination = Destination::start(Manner::Accept);
    let place = siem(&destination);
    place.append_lines(&events(0..3));
    place.run(&["run", "--drain"], 0);
    place.run(&["cursor", "rewind", "siem", "--to", "earliest"], 0);
    place.append_lines(&events(5..6));
    let shown = |n| place.run(&["audit", "show", "--event", &id(n)], 0);
    let again = shown(2);
    assert!(again.contains("siem: delivered at "), "{again}");
    assert!(again.ends_with("siem: pending, pass 1\n"), "{again}");
    assert!(shown(5).ends_with("siem: pending, pass 1\n"));
    destination.turn(Manner::Refuse('2'));
    place.run(&["run", "--drain"], 1);
    let refused = shown(2);
    let lines: Vec<&str> = refused.lines().collect();
    assert!(lines[1].contains("delivered at") && lines[1].contains("pass 0"), "{refused}");
    assert!(lines[2].contains("dead_lettered at") && lines[2].contains("pass 1"), "{refused}");
    assert!(lines[3].starts_with("siem: dead letter since "), "{refused}");
    assert_eq!(lines.len(), 4, "{refused}");
}

/// Destinations have UUIDs; producers may have written others (`evt_`, capitals, no UUID at all).
#[test]
fn an_event_is_found_under_the_id_that_its_destination_has() {
    let destination = Destination::start(Manner::Refuse('7'));
    let place = siem(&destination);
    let capitals = id(0xab).to_uppercase();
    let written = [format!("evt_{}", id(1)), capitals, "call-\\u00e9-8".to_owned()];
    let lines: Vec<String> = (1..).zip(&written).map(|(n, it)| renamed(n, it)).collect();
    place.append_lines(&lines.concat());
    place.append_lines(&events(7..8));
    place.run(&["run", "--drain"], 1);
    let derived: Vec<String> =
        destination.accepted().into_keys().filter(|it| it.as_bytes()[14] == b'8').collect();
    assert_eq!(derived.len(), 1, "{:?}", destination.accepted());
    let whole = place.run(&["log", "cat"], 0);
    assert!(whole.contains(&written[0]), "producers' ids stay as they are: {whole}");
    for (asked, at) in [
        (id(1).as_str(), "offset 64"),
        (&written[0], "offset 64"),
        (&id(0xab), "offset "),
        (&written[1], "offset "),
        (&derived[0], "offset "),
        ("call-\u{e9}-8", "offset "),
    ] {
        let shown = place.run(&["audit", "show", "--event", asked], 0);
        assert!(shown.contains(at) && shown.contains("siem: delivered at "), "{asked}: {shown}");
    }
    place.run(&["audit", "show", "--event", "call-"], 1);
    // A letter has the id that the destination was told.
    let refused = place.run(&["audit", "show", "--event", &format!("EVT_{}", id(7))], 1);
    assert!(!refused.contains("dead letter since"), "{refused}");
    let refused = place.run(&["audit", "show", "--event", &id(7).to_uppercase()], 0);
    assert!(refused.contains("siem: dead letter since "), "{refused}");
}

/// The line of an event whose producer wrote another id.
fn renamed(number: u32, id: &str) -> String {
    let line = events(number..number + 1);
    line.replacen(&self::id(number), id, 1)
}

/// Receipts are counted over all runs of a pass; a destination that did not answer has no status.
#[test]
fn what_is_told_of_a_pass_is_told_of_all_its_runs() {
    let destination = Destination::start(Manner::Accept);
    let place = siem(&destination);
    place.append_lines(&events(0..10));
    place.run(&["run", "--drain"], 0);
    let receipts = |told: &str| {
        let line = told.lines().find(|it| it.starts_with("siem, pass 0")).expect("the exporter");
        let count = line.rsplit_once("; ").and_then(|(_, it)| it.split_once(' ')).expect("a count");
        count.0.parse::<u32>().expect("a number")
    };
    let first = receipts(&place.run(&["audit", "verify"], 0));
    place.run(&["run", "--drain"], 0);
    let second = place.run(&["audit", "verify"], 0);
    assert!(first > 0 && receipts(&second) >= first, "{first}, then {second}");
    assert_eq!(receipts(&place.run(&["audit", "verify", "--to", "1h"], 0)), 0);
}

#[test]
fn what_people_ask_of_a_running_process_is_in_the_chain() {
    let destination = Destination::start(Manner::Accept);
    let place = siem(&destination);
    place.append_lines(&events(0..10));
    let running = place.start();
    place.run(&["cursor", "rewind", "siem", "--to", "earliest"], 0);
    // As without a running process.
    let told = place.run(&["cursor", "rewind", "sien", "--to", "earliest"], 2);
    assert!(told.contains("no exporter `sien`; there are: siem"), "{told}");
    place.run(&["cursor", "show", "sien"], 2);
    place.run(&["dlq", "purge", "--all"], 0);
    place.edit("siem:\n", "siem:\n    concurrency: 3\n");
    running.signal(Signal::HUP);
    let chain = place.path("state/audit.jsonl");
    let says = |what: &str| std::fs::read_to_string(&chain).expect("it is there").contains(what);
    // Whoever is first finds the change: the signal, or the look at the file.
    wait_until("it is said", || says("\"action\":\"reload\",\"actor\":\"SIGHUP\""));
    wait_until("with what changed", || says("+ exporters.siem.concurrency: 3"));
    place.configure(&(place.configuration() + "nonsense: 1\n"));
    running.signal(Signal::HUP);
    wait_until("it is refused", || says("refused: shrike.yaml:"));
    running.stop();
    for what in ["pass 1 begins at ", "refused: ", "\"action\":\"dlq_purge\"", "\"stop\""] {
        assert!(says(what), "{what}");
    }
}

#[test]
fn a_period_is_proven_by_itself() {
    let destination = Destination::start(Manner::Refuse('7'));
    let place = siem(&destination);
    for from in [0, 100, 200] {
        place.append_lines(&events(from..from + 100));
        place.run(&["run", "--drain"], 1);
    }
    let path = place.path("state/audit.jsonl");
    let whole = std::fs::read_to_string(&path).expect("it was written");
    let lines: Vec<String> = whole.lines().map(str::to_owned).collect();
    let begins = |line: &&String| line.contains("\"kind\":\"begin\"");
    let runs: Vec<String> = lines.iter().filter(begins).map(|line| at(line)).collect();
    let last = place.run(&["audit", "verify", "--from", &runs[2]], 0);
    assert!(last.contains("siem, pass 0: 100 settled in this time = "), "{last}");
    assert!(last.contains("100 events compared with the log"), "{last}");
    let middle = ["audit", "verify", "--from", &runs[1], "--to", &runs[2]];
    assert!(place.run(&middle, 0).contains("100 settled in this time"));

    // A line of the middle: what came before and after is as it was.
    let is_batch = |line: &String| line.contains("\"kind\":\"batch\"");
    let batches: Vec<usize> = (0..lines.len()).filter(|&at| is_batch(&lines[at])).collect();
    let wanted = |&&n: &&usize| at(&lines[n]) >= runs[1] && at(&lines[n]) < runs[2];
    let batch = *batches.iter().find(wanted).expect("the middle sent something");
    let mut removed = lines.clone();
    removed.remove(batch);
    let mut altered = lines.clone();
    altered[batch] = altered[batch].replacen("\"status\":200", "\"status\":201", 1);
    let mut garbled = lines.clone();
    garbled[batch].insert(0, 'x');
    for changed in [removed, altered, garbled] {
        assert_ne!(changed, lines);
        std::fs::write(&path, changed.join("\n") + "\n").expect("the directory is ours");
        assert!(place.run(&middle, 1).contains("WRONG"));
        place.run(&["audit", "verify", "--to", &runs[1]], 0);
        place.run(&["audit", "verify", "--from", &runs[2]], 0);
        place.run(&["audit", "verify"], 1);
    }

    // A chain whose hashes are right and that tells a lie: the log knows better.
    let mut doubled = lines.clone();
    doubled.insert(batch + 1, lines[batch].clone());
    std::fs::write(&path, forged(&doubled)).expect("the directory is ours");
    let twice = place.run(&middle, 1);
    assert!(twice.contains("siem settles some events twice"), "{twice}");
    assert!(!twice.contains("does not follow"), "{twice}");
    let mut fewer = lines.clone();
    let counted = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).expect("a receipt");
        line["delivered"].as_u64().expect("a count")
    };
    let delivered = counted(&fewer[batch]);
    let less = format!("\"delivered\":{}", delivered - 1);
    fewer[batch] = fewer[batch].replacen(&format!("\"delivered\":{delivered}"), &less, 1);
    std::fs::write(&path, forged(&fewer)).expect("the directory is ours");
    let counted = place.run(&middle, 1);
    assert!(counted.contains("settles 99 events where the log has 100"), "{counted}");
    std::fs::write(&path, whole).expect("the directory is ours");
    place.run(&["audit", "verify"], 0);
}

/// What is settled and not covered by a checkpoint is settled again after a crash.
#[test]
fn what_a_crash_took_back_counts_once() {
    let destination = Destination::start(Manner::Accept);
    let place = siem(&destination);
    place.append_lines(&events(0..100));
    place.run(&["run", "--drain"], 0);
    let cursor = place.path("state/log/cursors/siem.cursor");
    let saved = std::fs::read(&cursor).expect("it was saved");
    let running = place.start();
    // Nothing can take the place of a directory: receipts are written, the checkpoint is not.
    std::fs::remove_file(&cursor).expect("it is ours");
    std::fs::create_dir(&cursor).expect("it is ours");
    place.append_lines(&events(100..160));
    let chain = place.path("state/audit.jsonl");
    let read = || std::fs::read_to_string(&chain).expect("it is there");
    let is_sum =
        |line: &str| line.contains("\"kind\":\"sum\"") && line.contains("\"delivered\":160,");
    wait_until("there are receipts", || read().lines().any(is_sum));
    running.kill();
    std::fs::remove_dir(&cursor).expect("it is ours");
    std::fs::write(&cursor, saved).expect("it is ours");
    place.run(&["run", "--drain"], 0);
    assert_eq!(destination.accepted().len(), 160);
    let twice = destination.accepted().values().filter(|&&times| times == 2).count();
    assert_eq!(twice, 60);

    let all = place.run(&["audit", "verify"], 0);
    assert!(all.contains("siem, pass 0: 160 settled = 160 delivered"), "{all}");
    assert!(all.contains("; 160 events compared with the log"), "{all}");
    let begins: Vec<String> =
        read().lines().filter(|line| line.contains("\"kind\":\"begin\"")).map(at).collect();
    // The whole crash, what it took back, and what came again.
    for (from, to, count) in [(1, None, 60), (1, Some(2), 60), (2, None, 60), (0, None, 160)] {
        let mut args = vec!["audit", "verify", "--from", &begins[from]];
        to.iter().for_each(|&to| args.extend(["--to", &begins[to]]));
        let told = place.run(&args, 0);
        let settled = format!("siem, pass 0: {count} settled in this time = {count} delivered");
        assert!(told.contains(&settled), "{args:?}: {told}");
        let compared = format!("; {count} events compared with the log");
        assert!(told.contains(&compared), "{args:?}: {told}");
    }
}

/// When a receipt was written.
fn at(line: &str) -> String {
    let line: serde_json::Value = serde_json::from_str(line).expect("a receipt");
    line["at"].as_str().expect("a time").to_owned()
}

/// The lines with numbers and hashes as if they had been written so.
fn forged(lines: &[String]) -> String {
    let (mut hash, mut text) = ([0; 32], String::new());
    for (n, line) in lines.iter().enumerate() {
        let (_, rest) = line.split_once(',').expect("a number comes first");
        let rest = &rest[..rest.len() - ",\"h\":\"".len() - 64 - 2];
        let line = format!("{{\"n\":{},{rest}", n + 1);
        let mut hasher = blake3::Hasher::new();
        hasher.update(&hash).update(line.as_bytes());
        hash = *hasher.finalize().as_bytes();
        text += &format!("{line},\"h\":\"{}\"}}\n", hasher.finalize().to_hex());
    }
    text
}

/// Receipts of an earlier `audit.path` stay provable: those that come later know where they end.
#[test]
fn receipts_of_an_earlier_place_are_verified_where_they_are() {
    let destination = Destination::start(Manner::Accept);
    let place = siem(&destination);
    place.append_lines(&events(0..20));
    place.run(&["run", "--drain"], 0);
    place.configure(&(place.configuration() + "audit: {path: other.jsonl}\n"));
    place.append_lines(&events(20..30));
    let begun = place.run(&["run", "--drain"], 0);
    assert!(begun.contains("they begin anew"), "it is said: {begun}");
    let now = place.run(&["audit", "verify"], 0);
    assert!(now.contains("were written before these"), "{now}");
    let file = place.path("state/audit.jsonl");
    let name = file.to_str().expect("a path of letters");
    let earlier = place.run(&["audit", "verify", "--file", name], 0);
    assert!(earlier.contains("20 settled = 20 delivered"), "{earlier}");
    assert!(earlier.contains("came after them and knows receipt"), "{earlier}");
    // Its end is cut off: nobody who came later knows what is left.
    let lines = std::fs::read_to_string(&file).expect("it is ours");
    let left: Vec<&str> = lines.lines().collect();
    let left = left[..left.len() - 4].join("\n") + "\n";
    std::fs::write(&file, left).expect("the directory is ours");
    let cut = place.run(&["audit", "verify", "--file", name], 0);
    assert!(cut.contains("whether more came after receipt"), "{cut}");
    place.run(&["audit", "verify", "--file", "state/nothing.jsonl"], 2);
    // A line that is changed is found there as well.
    std::fs::write(&file, lines.replacen("\"delivered\":20", "\"delivered\":19", 1))
        .expect("the directory is ours");
    assert!(place.run(&["audit", "verify", "--file", name], 1).contains("WRONG"));
}

/// Whoever goes on after an end that was cut off, or that is another one, writes down that it is.
#[test]
fn receipts_that_were_cut_off_stay_missing_whoever_goes_on() {
    let destination = Destination::start(Manner::Refuse('7'));
    let place = siem(&destination);
    for from in [0, 20] {
        place.append_lines(&events(from..from + 20));
        place.run(&["run", "--drain"], 1);
    }
    let path = place.path("state/audit.jsonl");
    let kept = [path.clone(), place.path("state/log/cursors/siem.cursor")];
    let whole = kept.clone().map(|it| std::fs::read(it).expect("it was written"));
    let text = String::from_utf8(whole[0].clone()).expect("text");
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let rewind: &[&str] = &["cursor", "rewind", "siem", "--to", "latest"];
    let runs: [(&[&str], i32); 3] =
        [(&["run", "--drain"], 0), (rewind, 0), (&["dlq", "replay"], 1)];
    for cut in [1, 4, lines.len()] {
        for (command, code) in runs {
            for (path, bytes) in kept.iter().zip(&whole) {
                std::fs::write(path, bytes).expect("the directory is ours");
            }
            let (left, end) = (lines.len() - cut, lines.len());
            std::fs::write(&path, lines[..left].concat()).expect("the directory is ours");
            if left == 0 {
                std::fs::remove_file(&path).expect("it is there");
            }
            place.run(&["audit", "verify"], 1);
            place.run(command, code);
            let wrong = format!("receipts {} to {end} are missing", left + 1);
            for _ in 0..2 {
                let said = place.run(&["audit", "verify"], 1);
                assert_eq!(said.matches("WRONG").count(), 1, "{command:?}, {cut}: {said}");
                assert!(said.contains(&wrong), "{command:?}, {cut}: {said}");
                let done = place.run(&["audit", "log"], 0);
                assert!(done.contains(&format!("a checkpoint knows receipt {end}")), "{done}");
                // It is told once.
                place.run(&["run", "--drain"], 0);
            }
        }
    }
}

/// A chain that goes on after others is right at once, for exporters that run and for those that
/// do not.
#[test]
fn receipts_that_go_on_where_they_were_before_are_right() {
    let destination = Destination::start(Manner::Accept);
    let place = siem(&destination);
    let text = place.configuration();
    let other = "  other: {type: file, path: PATH, from: earliest}\n"
        .replace("PATH", &place.path("lines").display().to_string());
    let configure = |keys: String| place.configure(&format!("{text}{keys}"));
    configure(other.clone());
    place.append_lines(&events(0..20));
    place.run(&["run", "--drain"], 0);
    // Elsewhere, with more and with fewer lines than the first has by then.
    for (runs, name) in [(1, "short.jsonl"), (4, "long.jsonl")] {
        configure(format!("{other}audit: {{path: {name}}}\n"));
        for run in 0..runs {
            place.append_lines(&events(20 + run * 10..30 + run * 10));
            place.run(&["run", "--drain"], 0);
        }
        place.run(&["audit", "verify"], 0);
        configure(String::new());
        for _ in 0..2 {
            let back = place.run(&["run", "--drain"], 0);
            assert!(!back.contains("missing at the end"), "{name}: {back}");
            let now = place.run(&["audit", "verify"], 0);
            assert!(now.contains("were written before these"), "{name}: {now}");
        }
        let file = place.path("state").join(name);
        let name = file.to_str().expect("a path of letters");
        let elsewhere = place.run(&["audit", "verify", "--file", name], 0);
        assert!(elsewhere.contains("came after them and knows receipt"), "{elsewhere}");
    }
}

#[test]
fn a_line_that_is_changed_removed_or_moved_is_found() {
    let destination = Destination::start(Manner::Refuse('7'));
    let place = siem(&destination);
    for from in [0, 100, 200, 300] {
        place.append_lines(&events(from..from + 100));
        place.run(&["run", "--drain"], 1);
    }
    let path = place.path("state/audit.jsonl");
    let whole = std::fs::read_to_string(&path).expect("it was written");
    let lines: Vec<&str> = whole.lines().collect();
    assert!(lines.len() > 12, "{}", lines.len());
    let check = |changed: Vec<String>, what: &str| {
        std::fs::write(&path, changed.join("\n") + "\n").expect("the directory is ours");
        let said = place.run(&["audit", "verify"], 1);
        assert!(said.contains("WRONG"), "{what}: {said}");
    };
    let copy = || lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    for at in 1..lines.len() {
        let mut removed = copy();
        removed.remove(at);
        check(removed, &format!("line {at} removed"));
        let mut moved = copy();
        moved.swap(at - 1, at);
        check(moved, &format!("line {at} moved"));
        // Any byte: here the time, the numbers and the hash, in turn.
        let mut altered = copy();
        let digits: Vec<usize> = altered[at]
            .char_indices()
            .filter(|(_, c)| c.is_ascii_digit())
            .map(|(i, _)| i)
            .collect();
        let place = digits[at * 7 % digits.len()];
        let digit = if &altered[at][place..=place] == "3" { "4" } else { "3" };
        altered[at].replace_range(place..=place, digit);
        check(altered, &format!("line {at} changed"));
    }
    let mut newer = copy();
    newer[5] = newer[5].replacen("\"kind\":", "\"v\":9,\"kind\":", 1);
    check(newer, "a version that nobody wrote");
    let mut doubled = copy();
    doubled.insert(4, lines[3].to_owned());
    check(doubled, "a line twice");
    std::fs::write(&path, &whole).expect("the directory is ours");
    place.run(&["audit", "verify"], 0);
}

/// The commands that look at what is kept.
const LOOKING: &[&[&str]] = &[
    &["log", "cat"],
    &["log", "stat"],
    &["log", "verify"],
    &["log", "quarantine", "list"],
    &["cursor", "show"],
    &["dlq", "list"],
    &["dlq", "stats"],
    &["dlq", "show", "1"],
    &["audit", "verify"],
    &["audit", "show", "--event", "1"],
    &["audit", "log"],
    &["test", "stdout", "--from", "1h"],
];

/// An empty account of a wrong place would be taken for that of the right one.
#[test]
fn where_nothing_is_kept_no_account_is_told() {
    let place = Place::new(&quiet("  stdout: {}\n"));
    for args in LOOKING {
        let told = place.run(args, 1);
        assert!(told.starts_with("shrike: there is no log in "), "{args:?}: {told}");
    }
    assert!(!place.path("state").exists(), "looking makes nothing");
    // Where there is a log, stores may well be empty.
    place.append_lines(&events(0..1));
    for args in [["dlq", "list"], ["dlq", "stats"], ["audit", "log"], ["audit", "verify"]] {
        place.run(&args, 0);
    }
    place.run(&["log", "quarantine", "list"], 0);
}

/// What may not be read is not taken for what is not there.
#[test]
fn who_may_not_look_is_told_so() {
    let place = Place::new(&quiet("  stdout: {}\n"));
    place.append_lines(&events(0..1));
    let mode = |name: &str, mode| {
        fs::set_permissions(place.path(name), Permissions::from_mode(mode)).expect("it is ours")
    };
    // Nothing is hidden from root; what root has built may be hidden from others.
    let (is_root, binary) = (getuid().is_root(), place.path("shrike"));
    mode("", 0o755);
    let built = place.command(&[]).get_program().to_owned();
    if is_root && fs::hard_link(&built, &binary).is_err() {
        fs::copy(&built, &binary).expect("there is space");
    }
    mode("state", if is_root { 0o700 } else { 0 });
    for args in LOOKING {
        let mut command = place.command(args);
        if is_root {
            let asked = command;
            command = Command::new(&binary);
            command.current_dir(place.path("")).args(asked.get_args()).uid(NOBODY).gid(NOBODY);
        }
        let ran = command.output().expect("it may be run");
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_eq!((ran.status.code(), ran.stdout.len()), (Some(1), 0), "{args:?}: {said}");
        let is_told = said.contains("Permission denied (os error 13); run this as the user");
        assert!(is_told, "{args:?}: {said}");
    }
    mode("state", 0o700);
}

/// A user who owns nothing.
const NOBODY: u32 = 65_534;
