//! A working directory with a process in it, and the fakes that it sends to.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use loadgen::account::Book;
use loadgen::fake::{self, Fake, Posts, Script, Slack, TEAMS_QUERY, Teams, TeamsManner, Vendor};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::equation::assert_equation_said;

/// A working directory.
pub(crate) struct Place {
    dir: TempDir,
}

/// A chat that was told to.
pub(crate) struct Chat {
    pub(crate) fake: Fake,
    pub(crate) posts: Posts,
    book: Arc<Book>,
}

impl Chat {
    pub(crate) fn slack(script: &str) -> Self {
        let book = Arc::new(Book::new("slack"));
        let slack = Slack::new(Arc::clone(&book), None);
        let posts = slack.posts();
        Self { fake: started(Vendor::Slack(slack), &book, script), posts, book }
    }

    pub(crate) fn teams(script: &str) -> Self {
        let book = Arc::new(Book::new("teams"));
        let teams = Teams::new(Arc::clone(&book), TeamsManner::default());
        let posts = teams.posts();
        Self { fake: started(Vendor::Teams(teams), &book, script), posts, book }
    }

    /// The webhook of a channel.
    pub(crate) fn url(&self, channel: &str) -> String {
        let addr = self.fake.addr();
        match self.fake.report().vendor.as_str() {
            "slack" => format!("http://{addr}/services/T/B/{channel}"),
            _ => format!("http://{addr}/workflows/{channel}?{TEAMS_QUERY}"),
        }
    }

    /// The bodies that a channel got.
    pub(crate) fn bodies(&self, channel: &str) -> Vec<String> {
        let of = self.posts.all().into_iter().filter(|post| post.channel == channel);
        of.map(|post| post.body).collect()
    }

    /// The numbers of events that the digests of a channel told of, in order.
    pub(crate) fn digests(&self, channel: &str) -> Vec<u64> {
        self.bodies(channel).iter().filter_map(|body| digest(body).map(|(of, _)| of)).collect()
    }

    /// How many events a channel was told of: one by one, and in digests.
    pub(crate) fn told(&self, channel: &str) -> (u64, u64) {
        let bodies = self.bodies(channel);
        let digests = self.digests(channel);
        ((bodies.len() - digests.len()) as u64, digests.iter().sum())
    }

    /// Nothing that was posted is wrong.
    #[track_caller]
    pub(crate) fn assert_in_order(&self) {
        let report = self.book.report();
        assert!(report.problems.is_empty(), "{:?}", report.problems);
    }
}

/// How many events a message tells of, and of how many it says so guard by guard.
pub(crate) fn digest(body: &str) -> Option<(u64, u64)> {
    let words = [" more: ", " old events, not told of one by one: "];
    // The reason alone: the notification is cut.
    let (at, word) = words.iter().find_map(|word| Some((body.rfind(word)?, word)))?;
    let before = &body[..at];
    let from = before.rfind(|it: char| !it.is_ascii_digit()).map_or(0, |at| at + 1);
    let rest = &body[at + word.len()..];
    let guards = &rest[..rest.find("; highest severity").expect("it says that")];
    let counts = guards.split(", ").map(|part| {
        let count = part.rsplit(" x ").next().expect("a part");
        let count = count.strip_suffix(" of other guards").unwrap_or(count);
        count.parse::<u64>().unwrap_or_else(|_| panic!("a count: {part}"))
    });
    Some((before[from..].parse().expect("a number"), counts.sum()))
}

impl Place {
    pub(crate) fn new(exporters: &str) -> Self {
        let place = Self { dir: tempfile::tempdir().expect("a directory") };
        place.configure(exporters);
        place
    }

    pub(crate) fn configure(&self, exporters: &str) {
        let text = format!(
            "global: {{state_dir: state, watch_config: false}}\nlog: {{segment_bytes: 8MiB}}\n\
             pipeline: {{workers: 2}}\nexporters:\n{exporters}"
        );
        std::fs::write(self.path("shrike.yaml"), text).expect("the directory is ours");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs a command to its end; what it printed.
    #[track_caller]
    pub(crate) fn run(&self, args: &[&str], input: &str) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shrike"));
        command.current_dir(&self.dir).args(["--config", "shrike.yaml"]).args(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let mut stdin = child.stdin.take().expect("piped");
        // A command that reads nothing closes the pipe; its exit code tells.
        let _closed = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let problems = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {said}{problems}");
        said
    }

    #[track_caller]
    pub(crate) fn append(&self, events: &[Value]) {
        let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
        self.run(&["append"], &lines);
    }

    /// Starts `shrike run` and waits until it takes commands.
    pub(crate) fn start(&self) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shrike"));
        command.current_dir(&self.dir).args(["--config", "shrike.yaml", "run"]);
        let said = std::fs::File::create(self.path("said")).expect("the directory is ours");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        let running = Running(command.spawn().expect("it starts"));
        let socket = self.path("state/control.sock");
        wait_until("it takes commands", || UnixStream::connect(&socket).is_ok());
        running
    }

    /// What an exporter says of itself.
    pub(crate) fn exporter(&self, name: &str) -> Value {
        let status: Value =
            serde_json::from_str(&self.run(&["status", "--json"], "")).expect("it is JSON");
        let exporters = status["exporters"].as_array().expect("a list").clone();
        exporters.into_iter().find(|it| it["name"] == name).expect("it is there")
    }

    /// Waits until an exporter has nothing left to do.
    #[track_caller]
    pub(crate) fn wait_for_all_of(&self, name: &str, events: u64) -> Value {
        let fates = ["delivered", "dead_lettered", "filtered", "skipped", "invalid"];
        wait_until("all is settled", || {
            let exporter = self.exporter(name);
            let settled: u64 = fates.iter().filter_map(|fate| exporter[fate].as_u64()).sum();
            exporter["pending"] == 0 && settled >= events
        });
        self.exporter(name)
    }

    /// Stops it in order.
    #[track_caller]
    pub(crate) fn stop(&self, mut running: Running) {
        kill_process(Pid::from_child(&running.0), Signal::TERM).expect("it runs");
        let code = running.0.wait().expect("it ends").code();
        let said = std::fs::read_to_string(self.path("said")).expect("it is there");
        assert_eq!(code, Some(0), "{said}");
        assert_equation_said(&said);
    }
}

/// A running process.
pub(crate) struct Running(Child);

impl Running {
    /// Kills it as a crash would.
    pub(crate) fn kill(mut self) {
        kill_process(Pid::from_child(&self.0), Signal::KILL).expect("it runs");
        self.0.wait().expect("it ends");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Only where a test failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[track_caller]
pub(crate) fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(90);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited for: {what}");
        thread::park_timeout(Duration::from_millis(50));
    }
}

pub(crate) fn started(vendor: Vendor, book: &Arc<Book>, script: &str) -> Fake {
    let options = fake::Options {
        listen: "127.0.0.1:0".parse().expect("an address"),
        control: None,
        tls: false,
        h2: false,
        threads: 1,
        script: Script::parse(script).expect("the script is right"),
        seed: 1,
        judge_every: 1,
        account: None,
    };
    Fake::start(vendor, Arc::clone(book), options).expect("it starts")
}

/// An event of its own session.
pub(crate) fn event(number: u64, guard: &str, severity: &str) -> Value {
    json!({
        "schema_version": "1.0.0",
        "event_id": format!("019c322d-fa80-7f99-8d84-0000{number:08x}"),
        "event_type": "secret_detected",
        "event_category": "file",
        "timestamp": format!("2026-02-06T09:{:02}:{:02}.12Z", number / 60 % 60, number % 60),
        "agent": {"id": "coder-01", "name": "hushd", "version": "0.1.0", "type": "clawdstrike"},
        "session": {"id": format!("s-{number}")},
        "outcome": "failure",
        "action": "write",
        "threat": {},
        "decision": {
            "allowed": false, "guard": guard, "severity": severity, "reason": "a key",
        },
        "resource": {"type": "file", "name": ".env", "path": format!("/srv/{number}/.env")},
        "metadata": {},
        "labels": {},
    })
}
