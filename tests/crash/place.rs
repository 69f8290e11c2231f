//! A directory with a configuration, and the processes that run on it.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::ops::Range;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use shrike::event::{Checkpoint, Counts};
use shrike::log::Cursors;
use tempfile::TempDir;

use crate::destination::Destination;
use crate::equation::assert_equation_said;
use crate::event::id;
use crate::fed::fed;
use crate::wait::PATIENCE;

/// What a process says once it takes commands.
pub(crate) const READY: &str = "commands are answered";
/// Requests that an exporter of these tests has in flight at most.
pub(crate) const CONCURRENCY: u64 = 2;
/// Events that it sends in one of them at most.
pub(crate) const BATCH_EVENTS: u64 = 50;

/// A directory with a configuration.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    /// Two workers, small segments, and one exporter per destination that reads from the start.
    pub(crate) fn new(exporters: &[(&str, &Destination)], globals: &str) -> Self {
        let place = Self { dir: tempfile::tempdir().expect("a temporary directory") };
        let mut text = format!(
            "version: 1.0.0\nglobal: {{state_dir: {}, {globals}}}\nlog: {{segment_bytes: 2MiB}}\n\
             pipeline: {{workers: 2, max_event_bytes: 1MiB}}\nexporters:\n",
            place.path("state").display()
        );
        for (name, destination) in exporters {
            let address = destination.address;
            write!(
                text,
                "  {name}:\n    type: elastic\n    nodes: [\"http://{address}\"]\n    \
                 auth: {{type: none}}\n    init: {{enabled: false}}\n    from: earliest\n    \
                 compression: none\n    concurrency: {CONCURRENCY}\n    \
                 batch: {{size: {BATCH_EVENTS}}}\n"
            )
            .expect("a string takes all");
        }
        std::fs::write(place.path("config.yaml"), text).expect("the directory is ours");
        place
    }

    /// Something in the directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The files of the log with this suffix, oldest first.
    pub(crate) fn log_files(&self, suffix: &str) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.path("state/log")).expect("there is a log");
        let paths = entries.map(|entry| entry.expect("the directory is ours").path());
        let mut paths: Vec<PathBuf> =
            paths.filter(|path| path.extension().is_some_and(|it| it == suffix)).collect();
        paths.sort();
        paths
    }

    /// A command on this configuration.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shrike"));
        command.args(args).arg("--config").arg(self.path("config.yaml")).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn ran(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("the command starts")
    }

    /// Appends these events while nothing runs, or to what runs.
    #[track_caller]
    pub(crate) fn fill(&self, numbers: Range<u32>) {
        let ran = self.append(numbers);
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }

    /// Runs `shrike append` over these events; they are acknowledged when it succeeds.
    pub(crate) fn append(&self, numbers: Range<u32>) -> Output {
        fed(self.command(&["append"]), &events(numbers))
    }

    /// Starts `shrike run`.
    pub(crate) fn run(&self, args: &[&str]) -> Shrike {
        Shrike::start(self.command(&[&["run"], args].concat()))
    }

    /// Starts `shrike run --drain` and waits for its end.
    pub(crate) fn drained(&self) -> Ended {
        self.run(&["--drain", "--drain-timeout", "100s"]).ended(PATIENCE)
    }

    /// The events in the log.
    pub(crate) fn events_in_log(&self) -> u64 {
        let stat = self.ran(&["log", "stat", "--json"]);
        // A process that was killed at once may have made none.
        if String::from_utf8_lossy(&stat.stderr).contains("there is no log in") {
            return 0;
        }
        let text = String::from_utf8_lossy(&stat.stdout);
        let stat: Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}{stat:?}"));
        stat["events"].as_u64().expect("a count of events")
    }

    /// The ids of the events in the log, in its order.
    pub(crate) fn ids_in_log(&self) -> Vec<String> {
        let cat = self.ran(&["log", "cat"]);
        assert!(cat.status.success(), "{cat:?}");
        let id = |line: &str| -> String {
            let event: Value = serde_json::from_str(line).expect("events are JSON");
            event["event_id"].as_str().expect("an event has an id").to_owned()
        };
        std::str::from_utf8(&cat.stdout).expect("events are UTF-8").lines().map(id).collect()
    }

    /// The checkpoint of an exporter, as a crash left it.
    pub(crate) fn checkpoint(&self, exporter: &str) -> Checkpoint {
        let cursors = Cursors::look(&self.path("state/log"));
        cursors.load(exporter).expect("replaced as a whole").unwrap_or_default()
    }
}

/// A running process and what it said.
pub(crate) struct Shrike {
    child: Child,
    said: Arc<Said>,
}

/// The standard error of a process.
#[derive(Default)]
struct Said {
    text: Mutex<(String, bool)>,
    changed: Condvar,
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit code; none after a signal.
    pub(crate) code: Option<i32>,
    /// What it said on standard error.
    pub(crate) said: String,
}

/// What a process said of one exporter at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) in_range: u64,
    pub(crate) pending: u64,
    pub(crate) duplicates: u64,
    pub(crate) counts: Counts,
}

impl Shrike {
    /// Starts a command and listens to it.
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command starts");
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        let said = Arc::new(Said::default());
        let hearing = Arc::clone(&said);
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let mut text = hearing.lock();
                text.0 += &line;
                text.0.push('\n');
                hearing.changed.notify_all();
            }
            hearing.lock().1 = true;
            hearing.changed.notify_all();
        });
        Self { child, said }
    }

    /// Its standard input, where that is a pipe.
    pub(crate) fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("piped, and taken once")
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Waits until it has said these words.
    #[track_caller]
    pub(crate) fn wait_for(&self, words: &str) {
        let is_missing = |text: &mut (String, bool)| !text.0.contains(words) && !text.1;
        let waited = self.said.changed.wait_timeout_while(self.said.lock(), PATIENCE, is_missing);
        let (text, _) = waited.expect("no test panics while it holds it");
        assert!(text.0.contains(words), "nothing about `{words}`:\n{}", text.0);
    }

    /// Asks it to stop.
    pub(crate) fn terminate(&self) {
        kill_process(self.pid(), Signal::TERM).expect("it runs");
    }

    /// What it has said by now.
    pub(crate) fn said(&self) -> String {
        self.said.lock().0.clone()
    }

    /// Whether it has said these words by now.
    pub(crate) fn has_said(&self, words: &str) -> bool {
        self.said.lock().0.contains(words)
    }

    /// Whether it has closed its standard error, as it does at its end.
    pub(crate) fn has_ended(&self) -> bool {
        self.said.lock().1
    }

    /// Asks it to stop, where it still runs, and waits for its end.
    #[track_caller]
    pub(crate) fn stopped(self) -> Ended {
        // It may end just now; its exit code tells.
        let _gone = kill_process(self.pid(), Signal::TERM);
        self.ended(PATIENCE)
    }

    /// Kills it as a crash would.
    pub(crate) fn kill(mut self) -> Ended {
        kill_process(self.pid(), Signal::KILL).expect("it was not waited for yet");
        let code = self.child.wait().expect("it ends").code();
        Ended { code, said: self.said.lock().0.clone() }
    }

    /// Waits for its end by itself.
    #[track_caller]
    pub(crate) fn ended(mut self, longest: Duration) -> Ended {
        let runs = |text: &mut (String, bool)| !text.1;
        let waited = self.said.changed.wait_timeout_while(self.said.lock(), longest, runs);
        let (text, timeout) = waited.expect("no test panics while it holds it");
        let said = text.0.clone();
        drop(text);
        if timeout.timed_out() {
            self.child.kill().expect("it was not waited for yet");
        }
        let code = self.child.wait().expect("it ends").code();
        assert!(!timeout.timed_out(), "still running after {longest:?}:\n{said}");
        assert_equation_said(&said);
        Ended { code, said }
    }
}

/// A test that fails leaves no process behind.
impl Drop for Shrike {
    fn drop(&mut self) {
        // Nothing is to be done where it has ended.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

impl Said {
    fn lock(&self) -> MutexGuard<'_, (String, bool)> {
        self.text.lock().expect("no test panics while it holds it")
    }
}

impl Ended {
    /// Asserts an exit code.
    #[track_caller]
    pub(crate) fn with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.said);
        self
    }

    /// Asserts that it said all of these words in one line.
    #[track_caller]
    pub(crate) fn saying(self, words: &[&str]) -> Self {
        let has_all = |line: &str| words.iter().all(|word| line.contains(word));
        assert!(self.said.lines().any(has_all), "no line with {words:?}:\n{}", self.said);
        self
    }

    /// The account of an exporter.
    #[track_caller]
    pub(crate) fn account(&self, exporter: &str) -> Account {
        let lines = self.said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut accounts =
            lines.filter(|line| line["message"] == "account" && line["exporter"] == exporter);
        let line = accounts.next().unwrap_or_else(|| panic!("no account:\n{}", self.said));
        let number = |key: &str| line[key].as_u64().unwrap_or_else(|| panic!("{key}: {line}"));
        Account {
            in_range: number("in_range"),
            pending: number("pending"),
            duplicates: number("duplicates"),
            counts: Counts {
                delivered: number("delivered"),
                dead_lettered: number("dead_lettered"),
                filtered: number("filtered"),
                skipped: number("skipped"),
                invalid: number("invalid"),
            },
        }
    }
}

/// Lets the processes run for a random while.
pub(crate) fn let_run(chance: &mut fastrand::Rng, millis: Range<u64>) {
    thread::sleep(Duration::from_millis(chance.u64(millis)));
}

/// Canonical events of about 700 bytes as lines; the number is in the id.
pub(crate) fn events(numbers: Range<u32>) -> Vec<u8> {
    let mut lines = String::new();
    let reason = "r".repeat(160);
    for number in numbers {
        let id = id(number);
        writeln!(
            lines,
            "{{\"schema_version\":\"1.0.0\",\"event_id\":\"{id}\",\
             \"event_type\":\"guard_block\",\"event_category\":\"network\",\
             \"timestamp\":\"2026-02-06T09:00:00.125Z\",\"agent\":{{\"id\":\"coder-01\",\
             \"name\":\"hushd\",\"version\":\"0.1.0\",\"type\":\"clawdstrike\"}},\
             \"session\":{{\"id\":\"s-1\",\"tenant_id\":\"acme\",\"environment\":\"test\"}},\
             \"outcome\":\"failure\",\"action\":\"egress\",\"threat\":{{}},\
             \"decision\":{{\"allowed\":false,\"guard\":\"egress_allowlist\",\"severity\":\"high\",\
             \"reason\":\"{reason}\"}},\"resource\":{{\"type\":\"network\",\
             \"name\":\"exfil.example\",\"host\":\"exfil.example\",\"port\":443}},\
             \"metadata\":{{}},\"labels\":{{}}}}"
        )
        .expect("a string takes all");
    }
    lines.into_bytes()
}
