//! A directory with a configuration, and shrike's commands in it as operators run them.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::destination::Destination;

/// A working directory with a configuration.
pub(crate) struct Place(TempDir);

impl Place {
    /// One exporter, `siem`, that sends to this destination.
    pub(crate) fn new(destination: &Destination, inputs: &str) -> Self {
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

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// A command of shrike with this configuration.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shrike"));
        command.current_dir(&self.0).args(["--config", "shrike.yaml"]).args(args);
        command.env_remove("COLUMNS").stdin(Stdio::null());
        command
    }

    /// Runs a command; returns what it printed.
    #[track_caller]
    pub(crate) fn run(&self, args: &[&str], code: i32) -> String {
        told(self.command(args).output().expect("the command starts"), code)
    }

    /// The same with lines on standard input.
    #[track_caller]
    pub(crate) fn run_with(&self, args: &[&str], input: &str, code: i32) -> String {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command starts");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(input.as_bytes()).expect("it reads");
        drop(stdin);
        told(child.wait_with_output().expect("it ends"), code)
    }

    /// Starts `shrike run`, and waits until it takes commands.
    pub(crate) fn start(&self) -> Running {
        let mut command = self.command(&["run"]);
        let said = self.path().join("stderr");
        let err = std::fs::File::create(&said).expect("the directory is ours");
        command.stdout(Stdio::null()).stderr(err);
        let running = Running(command.spawn().expect("the command starts"), said);
        let socket = self.path().join("state/control.sock");
        wait_for(|| std::os::unix::net::UnixStream::connect(&socket).is_ok());
        running
    }
}

/// A running process; it is told to stop when dropped.
pub(crate) struct Running(Child, PathBuf);

impl Running {
    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("it runs");
    }

    /// The time that it spent on a processor, in ticks of 10 ms.
    #[allow(dead_code, reason = "each test crate that shares this file uses a part of it")]
    pub(crate) fn ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).expect("it runs");
        let (_, fields) = stat.rsplit_once(')').expect("the name of the program");
        // utime and stime, the 14th and the 15th (proc_pid_stat(5)).
        let ticks = fields.split_whitespace().skip(11).take(2);
        ticks.map(|field| field.parse::<u64>().expect("a number")).sum()
    }

    /// Tells it to stop, unless it has; its exit code.
    pub(crate) fn end(&mut self) -> Option<i32> {
        if self.0.try_wait().expect("it is ours").is_none() {
            self.signal(Signal::TERM);
        }
        self.0.wait().expect("it ends").code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
        if !std::thread::panicking() {
            let said = std::fs::read_to_string(&self.1).expect("the directory is ours");
            assert!(said.contains("\"account\""), "{said}");
            super::equation::assert_equation_said(&said);
        }
    }
}

#[track_caller]
fn told(output: Output, code: i32) -> String {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}\n{err}");
    super::equation::assert_equation_said(&err);
    out + &err
}

/// Waits until it holds, and fails after a minute.
#[track_caller]
pub(crate) fn wait_for(holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "it did not come to pass");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// Canonical events, one a line, whose ids end in these numbers.
pub(crate) fn events(numbers: std::ops::Range<u32>) -> String {
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
