//! `shrike audit`: receipts prove the account, and tell what was done to them.

#[path = "pipeline/destination.rs"]
mod destination;

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use destination::{Destination, Manner};
use tempfile::TempDir;

/// A working directory with a configuration.
struct Place(TempDir);

impl Place {
    fn new(destination: &Destination, inputs: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let config = format!(
            "global: {{state_dir: state}}\nlog: {{segment_bytes: 8MiB}}\n\
             pipeline: {{workers: 2}}\ninputs: {inputs}\nexporters:\n  \
             siem:\n    type: elastic\n    \
             nodes: [\"http://{}\"]\n    auth: {{type: none}}\n    init: {{enabled: false}}\n    \
             from: earliest\n    compression: none\n",
            destination.address
        );
        std::fs::write(dir.path().join("shrike.yaml"), config).expect("the directory is ours");
        Self(dir)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shrike"));
        command.current_dir(&self.0).args(["--config", "shrike.yaml"]).args(args);
        command.env_remove("COLUMNS").stdin(Stdio::null());
        command
    }

    /// Runs a command; returns what it printed.
    #[track_caller]
    fn run(&self, args: &[&str], code: i32) -> String {
        told(self.command(args).output().expect("the command starts"), code)
    }

    /// The same with lines on standard input.
    #[track_caller]
    fn run_with(&self, args: &[&str], input: &str, code: i32) -> String {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command starts");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(input.as_bytes()).expect("it reads");
        drop(stdin);
        told(child.wait_with_output().expect("it ends"), code)
    }
}

#[track_caller]
fn told(output: Output, code: i32) -> String {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}\n{err}");
    out + &err
}

fn events(numbers: std::ops::Range<u32>) -> String {
    let event = |number: u32| {
        format!(
            "{{\"schema_version\":\"1.0.0\",\"event_id\":\"019c322d-fa80-7f99-8d84-\
             0000{number:08x}\",\"event_type\":\"guard_block\",\"event_category\":\"network\",\
             \"timestamp\":\"2026-02-06T09:00:00.125Z\",\"agent\":{{\"id\":\"coder-01\",\
             \"name\":\"hushd\",\"version\":\"0.1.0\",\"type\":\"clawdstrike\"}},\
             \"session\":{{\"id\":\"s-1\"}},\"outcome\":\"failure\",\"action\":\"egress\",\
             \"threat\":{{}},\"decision\":{{\"allowed\":false,\"guard\":\"egress_allowlist\",\
             \"severity\":\"high\",\"reason\":\"\"}},\"resource\":{{\"type\":\"network\",\
             \"name\":\"exfil.example\"}},\"metadata\":{{}},\"labels\":{{}}}}\n"
        )
    };
    numbers.map(event).collect()
}

#[test]
fn receipts_prove_the_account_and_tell_an_events_fate() {
    let destination = Destination::start(Manner::Refuse('7'));
    let place = Place::new(&destination, "[]");
    place.run_with(&["append"], &events(0..640), 0);
    place.run(&["run", "--drain"], 1);
    let first = place.run(&["audit", "verify"], 0);
    let account = "siem, pass 0: 640 settled = 600 delivered + 40 dead-lettered";
    assert!(first.contains(account), "{first}");
    assert!(first.contains("chain, sums and anchors are right"), "{first}");
    destination.turn(Manner::Accept);
    place.run(&["dlq", "replay"], 0);
    place.run_with(&["append"], &events(640..700), 0);
    place.run(&["run", "--drain"], 0);
    let account = "siem, pass 0: 700 settled = 700 delivered + 0 dead-lettered";
    let second = place.run(&["audit", "verify"], 0);
    assert!(second.contains(account), "{second}");
    let arrived = place.run(&["audit", "show", "--event", &id(5)], 0);
    assert!(arrived.contains("siem: delivered at ") && arrived.contains("status 200"), "{arrived}");
    let refused = place.run(&["audit", "show", "--event", &id(7)], 0);
    assert!(refused.contains("siem: dead_lettered at "), "{refused}");
    place.run(&["audit", "show", "--event", &id(9_999)], 1);
    place.run(&["cursor", "rewind", "siem", "--to", "earliest"], 0);
    place.run(&["run", "--drain"], 0);
    let again = place.run(&["audit", "verify"], 0);
    assert!(again.contains("siem, pass 1: 700 settled = 700 delivered"), "{again}");
}

#[test]
fn a_line_that_is_changed_removed_or_moved_is_found() {
    let destination = Destination::start(Manner::Refuse('7'));
    let place = Place::new(&destination, "[]");
    for from in [0, 100, 200, 300] {
        place.run_with(&["append"], &events(from..from + 100), 0);
        place.run(&["run", "--drain"], 1);
    }
    let path = place.0.path().join("state/audit.jsonl");
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
    let mut doubled = copy();
    doubled.insert(4, lines[3].to_owned());
    check(doubled, "a line twice");
    std::fs::write(&path, &whole).expect("the directory is ours");
    place.run(&["audit", "verify"], 0);
}

fn id(number: u32) -> String {
    format!("019c322d-fa80-7f99-8d84-0000{number:08x}")
}
