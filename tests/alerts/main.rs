//! Incidents of alerting exporters on the binary: repeats are left out and counted, worse ones and
//! those behind the window go, what is quiet is resolved by the key that opened it, and a kill
//! changes none of that; against strict fakes that know what is open.

#[path = "../support/equation.rs"]
mod equation;

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use equation::assert_equation_said;
use loadgen::account::Book;
use loadgen::fake::{self, Alerts, Fake, Incident, Incidents, Opsgenie, PagerDuty, Script, Vendor};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

const KEY: &str = "0123456789abcdef0123456789abcdef";
const LEAKS: &str = "fedcba9876543210fedcba9876543210";

/// A working directory, and what it sends to.
struct Place {
    dir: TempDir,
    pager: (Fake, Incidents, Arc<Book>),
    genie: (Fake, Alerts, Arc<Book>),
}

impl Place {
    /// Both vendors with the same keys of their incidents.
    fn new(keys: &str) -> Self {
        Self::with(keys, "")
    }

    /// The same, where the vendors do what a script says.
    fn with(keys: &str, script: &str) -> Self {
        let (pager_book, genie_book) =
            (Arc::new(Book::new("pagerduty")), Arc::new(Book::new("opsgenie")));
        let pager = PagerDuty::new(Arc::clone(&pager_book), vec![KEY.into(), LEAKS.into()]);
        let genie = Opsgenie::new(Arc::clone(&genie_book), Some("k3y".to_owned()));
        let (incidents, alerts) = (pager.incidents(), genie.alerts());
        let place = Self {
            dir: tempfile::tempdir().expect("a directory"),
            pager: (started(Vendor::PagerDuty(pager), &pager_book, script), incidents, pager_book),
            genie: (started(Vendor::Opsgenie(genie), &genie_book, script), alerts, genie_book),
        };
        place.configure(keys);
        place
    }

    fn configure(&self, keys: &str) {
        let text = format!(
            "global: {{state_dir: state, watch_config: false}}\nlog: {{segment_bytes: 8MiB}}\n\
             pipeline: {{workers: 2}}\nexporters:\n  \
             pagerduty: {{api_endpoint: 'http://{}', routing_key: {KEY}, \
             routing: {{by_guard: {{leak: {LEAKS}}}}}, {keys}}}\n  \
             opsgenie: {{api_endpoint: 'http://{}', api_key: k3y, flavor: jsm, {keys}}}\n",
            self.pager.0.addr(),
            self.genie.0.addr(),
        );
        std::fs::write(self.path("shrike.yaml"), text).expect("the directory is ours");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs a command to its end; what it printed.
    #[track_caller]
    fn run(&self, args: &[&str], input: &str) -> String {
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
    fn append(&self, events: &[Value]) {
        let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
        self.run(&["append"], &lines);
    }

    /// Starts `shrike run` and waits until it takes commands.
    fn start(&self) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shrike"));
        command.current_dir(&self.dir).args(["--config", "shrike.yaml", "run"]);
        let said = std::fs::File::create(self.path("said")).expect("the directory is ours");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        let running = Running(command.spawn().expect("it starts"));
        let socket = self.path("state/control.sock");
        wait_until("it takes commands", || UnixStream::connect(&socket).is_ok());
        running
    }

    fn exporters(&self) -> Vec<Value> {
        let status: Value =
            serde_json::from_str(&self.run(&["status", "--json"], "")).expect("it is JSON");
        status["exporters"].as_array().expect("a list").clone()
    }

    /// Waits until a count of both exporters is so high.
    #[track_caller]
    fn wait_for(&self, of: &str, count: &str, wanted: u64) {
        let is_there = |it: &Value| it[of][count].as_u64() >= Some(wanted);
        wait_until(count, || self.exporters().iter().all(is_there));
    }

    /// An incident and the alert that is the same elsewhere.
    #[track_caller]
    fn both(&self, key: &str, guard: &str, session: &str) -> (Incident, loadgen::fake::Alert) {
        let incident = self.pager.1.all().remove(&(key.to_owned(), format!("{guard}:{session}")));
        let alert = self.genie.1.all().remove(&format!("clawdstrike-{guard}-{session}"));
        (incident.expect("an incident"), alert.expect("an alert"))
    }

    /// Stops it in order, where the books of both vendors are in order too.
    #[track_caller]
    fn stop(&self, mut running: Running) {
        kill_process(Pid::from_child(&running.0), Signal::TERM).expect("it runs");
        let code = running.0.wait().expect("it ends").code();
        let said = std::fs::read_to_string(self.path("said")).expect("it is there");
        assert_eq!(code, Some(0), "{said}");
        assert_equation_said(&said);
        for book in [&self.pager.2, &self.genie.2] {
            assert!(book.report().problems.is_empty(), "{:?}", book.report().problems);
        }
    }
}

/// A running process.
struct Running(Child);

impl Running {
    /// Kills it as a crash would.
    fn kill(mut self) {
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
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
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

fn event(number: u32, guard: &str, session: &str, severity: &str) -> Value {
    json!({
        "schema_version": "1.0.0",
        "event_id": format!("019c322d-fa80-7f99-8d84-0000{number:08x}"),
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

#[test]
fn repeats_are_left_out_across_kills_and_worse_ones_go() {
    let place = Place::new("auto_resolve: {enabled: false}");
    let running = place.start();
    let repeats: Vec<Value> = (0..50).map(|n| event(n, "leak", "s-1", "high")).collect();
    place.append(&repeats);
    place.wait_for("alerts", "deduplicated", 49);
    running.kill();
    let running = place.start();
    place.append(&[event(60, "leak", "s-1", "high"), event(61, "leak", "s-2", "high")]);
    place.append(&[event(62, "leak", "s-1", "critical"), event(63, "leak", "s-1", "critical")]);
    // Whatever was read again: 52 of the first session and one of the second.
    wait_until("all is settled", || {
        place.exporters().iter().all(|it| it["pending"] == 0 && it["alerts"]["open"] == 2)
    });
    let (incident, alert) = place.both(LEAKS, "leak", "s-1");
    assert_eq!((incident.opened, incident.severity.as_str()), (1, "critical"));
    assert_eq!((alert.opened, alert.priority.as_str()), (1, "P1"));
    // The how manieth event of its incident it was, each counted once.
    assert_eq!((incident.repeat_count, alert.repeat_count.as_str()), (52.0, "52"));
    assert!((2..=3).contains(&incident.triggers), "{incident:?}");
    let (second, _) = place.both(LEAKS, "leak", "s-2");
    assert_eq!((second.triggers, second.repeat_count), (1, 0.0));
    let metrics = place.run(&["status"], "");
    assert!(metrics.contains("2 incidents open"), "{metrics}");
    place.stop(running);
}

#[test]
fn what_is_quiet_is_resolved_by_the_key_that_opened_it_after_a_kill_too() {
    let place = Place::new("auto_resolve: {after_minutes: 1}");
    let running = place.start();
    let begun = Instant::now();
    place.append(&[event(1, "leak", "s/1 é", "high"), event(2, "egress", "s-2", "high")]);
    wait_until("both are open", || {
        place.pager.1.all().len() == 2 && place.genie.1.all().len() == 2
    });
    running.kill();
    // It lasts: the last event counts, not the first.
    wait_until("some time has passed", || begun.elapsed() >= Duration::from_secs(20));
    let running = place.start();
    place.append(&[event(3, "egress", "s-2", "high")]);
    place.wait_for("alerts", "resolved", 1);
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(59), "{took:?}");
    let (leak, leak_alert) = place.both(LEAKS, "leak", "s/1 é");
    assert_eq!((leak.opened, leak.resolved, leak.is_open), (1, 1, false));
    assert_eq!((leak_alert.opened, leak_alert.is_open), (1, false));
    let (egress, egress_alert) = place.both(KEY, "egress", "s-2");
    assert!(egress.is_open && egress_alert.is_open, "{egress:?} {egress_alert:?}");
    running.kill();
    // What was resolved is forgotten, what is open is not; a new one opens it anew.
    let running = place.start();
    place.append(&[event(4, "leak", "s/1 é", "high")]);
    wait_until("it is open again", || place.both(LEAKS, "leak", "s/1 é").0.is_open);
    place.wait_for("alerts", "resolved", 1);
    assert!(!place.both(KEY, "egress", "s-2").0.is_open);
    assert_eq!(place.both(LEAKS, "leak", "s/1 é").0.opened, 2);
    place.stop(running);
}

#[test]
fn what_cannot_be_resolved_now_is_tried_again() {
    let place = Place::with("auto_resolve: {after_minutes: 1}", "from 45s to 75s status 503");
    let running = place.start();
    place.append(&[event(1, "leak", "s-1", "high")]);
    wait_until("both are open", || {
        place.pager.1.all().len() == 1 && place.genie.1.all().len() == 1
    });
    place.wait_for("alerts", "resolve_failed", 1);
    assert!(place.both(LEAKS, "leak", "s-1").0.is_open);
    place.wait_for("alerts", "resolved", 1);
    let (incident, alert) = place.both(LEAKS, "leak", "s-1");
    assert_eq!((incident.opened, incident.resolved, incident.is_open), (1, 1, false));
    assert!(!alert.is_open, "{alert:?}");
    place.stop(running);
}
