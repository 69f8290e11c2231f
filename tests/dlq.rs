//! `shrike dlq` and `shrike log quarantine`, as operators run them.

#[path = "pipeline/destination.rs"]
mod destination;

use std::io::Write as _;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use destination::{Destination, Manner};
use serde_json::Value;
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

    fn start(&self) -> Running {
        let mut command = self.command(&["run"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let running = Running(command.spawn().expect("the command starts"));
        let socket = self.0.path().join("state/control.sock");
        wait_for(|| std::os::unix::net::UnixStream::connect(&socket).is_ok());
        running
    }

    fn letters(&self, args: &[&str]) -> Vec<Value> {
        let text = self.run(&[&["dlq", "list", "--json"], args].concat(), 0);
        text.lines().map(|line| serde_json::from_str(line).expect("a letter is JSON")).collect()
    }
}

/// A running process; it is told to stop when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
        self.0.wait().expect("it ends");
    }
}

#[track_caller]
fn told(output: Output, code: i32) -> String {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}\n{err}");
    out + &err
}

#[track_caller]
fn wait_for(holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "it did not come to pass");
        std::thread::yield_now();
    }
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
fn letters_are_seen_replayed_and_purged_without_a_running_process() {
    let destination = Destination::start(Manner::Refuse('7'));
    let place = Place::new(&destination, "[]");
    place.run_with(&["append"], &events(0..64), 0);
    place.run(&["run", "--drain"], 1);
    assert_eq!(place.letters(&[]).len(), 4);
    assert_eq!(place.letters(&["--class", "rejected", "--since", "1h", "-n", "3"]).len(), 3);
    assert!(place.letters(&["--class", "timeout"]).is_empty());
    assert!(place.letters(&["--since", "2500-01-01T00:00:00Z"]).is_empty());
    let stats = place.run(&["dlq", "stats"], 0);
    assert!(stats.contains("siem            4            0"), "{stats}");
    assert!(stats.contains("siem: 4 rejected") && stats.contains("not this one"), "{stats}");
    let id = "019c322d-fa80-7f99-8d84-000000000017";
    let shown: Value = serde_json::from_str(&place.run(&["dlq", "show", id], 0)).expect("JSON");
    assert_eq!((&shown["event"]["event_id"], &shown["http_status"]), (&id.into(), &400.into()));
    place.run(&["dlq", "show", "019c322d-fa80-7f99-8d84-000000000018"], 1);
    assert!(place.run(&["dlq", "list", "--exporter", "sien"], 2).contains("there are: siem"));

    let dry = place.run(&["dlq", "replay", "--dry-run"], 0);
    assert_eq!(dry.lines().count(), 5, "{dry}");
    assert_eq!(place.letters(&[]).len(), 4, "nothing was sent");
    let vain = place.run(&["dlq", "replay", "--id", id], 1);
    assert_eq!(vain, "siem: 0 of 1 delivered, 1 stay\n");
    destination.turn(Manner::Accept);
    let done = place.run(&["dlq", "replay", "--id", id], 0);
    assert_eq!(done, "siem: 1 of 1 delivered, 0 stay\n");
    assert_eq!(destination.accepted().get(id), Some(&1));
    assert_eq!(place.letters(&[]).len(), 3);

    assert!(place.run(&["dlq", "purge"], 2).contains("say --all"));
    assert_eq!(place.run(&["dlq", "purge", "--class", "timeout"], 0), "siem: 0 removed\n");
    assert_eq!(place.run(&["dlq", "purge", "--all"], 0), "siem: 3 removed\n");
    assert!(place.letters(&[]).is_empty());
    assert_eq!(destination.accepted().len(), 61);
}

#[test]
fn a_running_process_replays_and_the_others_only_look() {
    let destination = Destination::start(Manner::Refuse('7'));
    let place = Place::new(&destination, "[]");
    let running = place.start();
    place.run_with(&["append"], &events(0..640), 0);
    wait_for(|| place.letters(&[]).len() == 40);
    destination.turn(Manner::Accept);
    let done = place.run(&["dlq", "replay", "--rate", "1000"], 0);
    assert_eq!(done, "siem: 40 of 40 delivered, 0 stay\n");
    let is_moved = || {
        let status: Value =
            serde_json::from_str(&place.run(&["status", "--json"], 0)).expect("JSON");
        let siem = &status["exporters"][0];
        siem["delivered"] == 640 && siem["dead_lettered"] == 0 && siem["letters"] == 0
    };
    wait_for(is_moved);
    assert_eq!(place.run(&["dlq", "purge", "--all"], 0), "siem: 0 removed\n");
    drop(running);
    assert!(destination.accepted().values().all(|&times| times == 1));
}
