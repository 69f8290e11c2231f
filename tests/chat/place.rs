//! A working directory, a workspace of Slack and a team of Teams, and the binary between them.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use loadgen::account::Book;
use loadgen::fake::{
    self, Fake, Post, Posts, Script, Slack, TEAMS_QUERY, Teams, TeamsManner, Vendor,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::equation::assert_equation_said;

/// A working directory, and what it sends to.
pub(crate) struct Place {
    dir: TempDir,
    pub(crate) slack: (Fake, Posts, Arc<Book>),
    pub(crate) teams: (Fake, Posts, Arc<Book>),
}

/// As fast as the fakes take it: people are not asked here.
const FAST: &str = "rate_limit: {per_minute: 6000, burst: 1000}";

impl Place {
    /// A bot of Slack with these keys, where the workspace does what a script says.
    pub(crate) fn bot(keys: &str, script: &str) -> Self {
        let place = Self::new(script);
        place.configure_bot(keys);
        place
    }

    /// Writes the configuration of a bot with these keys.
    pub(crate) fn configure_bot(&self, keys: &str) {
        self.configure(&format!(
            "  slack: {{from: earliest, bot_token: xoxb-s3cret, channel: C1, api_base: 'http://{}/api', {FAST}, \
             {keys}}}\n",
            self.slack.0.addr(),
        ));
    }

    /// Webhooks of both with the same keys.
    pub(crate) fn webhooks(keys: &str) -> Self {
        let place = Self::new("");
        place.configure(&format!(
            "  slack: {{from: earliest, webhook_url: 'http://{}/services/T/B/usual', {FAST}, {keys}}}\n  \
             teams: {{from: earliest, webhook_url: 'http://{}/workflows/usual?{TEAMS_QUERY}', {FAST}, {keys}}}\n",
            place.slack.0.addr(),
            place.teams.0.addr(),
        ));
        place
    }

    fn new(script: &str) -> Self {
        let (slack_book, teams_book) = (Arc::new(Book::new("slack")), Arc::new(Book::new("teams")));
        let slack = Slack::new(Arc::clone(&slack_book), Some("xoxb-s3cret".to_owned()));
        let teams = Teams::new(Arc::clone(&teams_book), TeamsManner::default());
        let (messages, cards) = (slack.posts(), teams.posts());
        Self {
            dir: tempfile::tempdir().expect("a directory"),
            slack: (started(Vendor::Slack(slack), &slack_book, script), messages, slack_book),
            teams: (started(Vendor::Teams(teams), &teams_book, ""), cards, teams_book),
        }
    }

    fn configure(&self, exporters: &str) {
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

    pub(crate) fn exporters(&self) -> Vec<Value> {
        let status: Value =
            serde_json::from_str(&self.run(&["status", "--json"], "")).expect("it is JSON");
        status["exporters"].as_array().expect("a list").clone()
    }

    /// Waits until nothing waits any more.
    #[track_caller]
    pub(crate) fn settle(&self) {
        wait_until("all is settled", || self.exporters().iter().all(|it| it["pending"] == 0));
    }

    /// Stops it in order, where the books of both are in order too.
    #[track_caller]
    pub(crate) fn stop(&self, mut running: Running) {
        kill_process(Pid::from_child(&running.0), Signal::TERM).expect("it runs");
        let code = running.0.wait().expect("it ends").code();
        let said = std::fs::read_to_string(self.path("said")).expect("it is there");
        assert_eq!(code, Some(0), "{said}");
        assert_equation_said(&said);
        for book in [&self.slack.2, &self.teams.2] {
            assert!(book.report().problems.is_empty(), "{:?}", book.report().problems);
        }
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
    let deadline = Instant::now() + Duration::from_secs(180);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited for: {what}");
        thread::park_timeout(Duration::from_millis(50));
    }
}

fn started(vendor: Vendor, book: &Arc<Book>, script: &str) -> Fake {
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

/// The number of the event that a message is about.
#[track_caller]
pub(crate) fn number(post: &Post) -> u32 {
    let at = post.body.find(ID).expect("an id of ours") + ID.len();
    u32::from_str_radix(&post.body[at..at + 8], 16).expect("a number")
}

/// What the ids of events begin with.
const ID: &str = "019c322d-fa80-7f99-8d84-0000";

pub(crate) fn event(number: u32, guard: &str, session: &str, severity: &str) -> Value {
    json!({
        "schema_version": "1.0.0",
        "event_id": format!("{ID}{number:08x}"),
        "event_type": "secret_detected",
        "event_category": "file",
        "timestamp": "2026-02-06T09:00:03.12Z",
        "agent": {"id": "coder-01", "name": "hushd", "version": "0.1.0", "type": "clawdstrike"},
        "session": {"id": session},
        "outcome": "failure",
        "action": "write",
        "threat": {},
        "decision": {
            "allowed": false, "guard": guard, "severity": severity, "reason": "a key",
        },
        "resource": {"type": "file", "name": ".env", "path": "/srv/.env"},
        "metadata": {},
        "labels": {},
    })
}
