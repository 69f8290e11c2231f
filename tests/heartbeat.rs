//! Heartbeats on the binary: they go while all is well, and no more while something is not.

#[path = "support/equation.rs"]
mod equation;

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use equation::assert_equation_said;
use loadgen::account::Book;
use loadgen::fake::{self, Fake, Opsgenie, Script, Vendor};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

/// A running process, which ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
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

/// Two exporters, of which one may have a key that does not work, and a hook that has no heartbeat
/// of its own.
fn configure(dir: &Path, base: &str, key: &str) {
    let text = format!(
        "global: {{state_dir: state, watch_config: false}}\nlog: {{segment_bytes: 8MiB}}\n\
         pipeline: {{workers: 1}}\nexporters:\n  \
         opsgenie: {{flavor: jsm, api_endpoint: '{base}', api_key: k3y, \
         heartbeat: {{enabled: true, name: 'host 1/é', interval_minutes: 1}}}}\n  \
         opsgenie_two: {{flavor: jsm, api_endpoint: '{base}', api_key: {key}}}\n\
         response_hooks:\n  \
         - {{name: call, when: 'severity == \"info\"', action: opsgenie, \
         params: {{exporter: opsgenie}}}}\n"
    );
    std::fs::write(dir.join("shrike.yaml"), text).expect("the directory is ours");
}

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shrike"));
    command.current_dir(dir).args(["--config", "shrike.yaml"]).args(args);
    command
}

fn event() -> String {
    let event = json!({
        "schema_version": "1.0.0",
        "event_id": "019c322d-fa80-7f99-8d84-000000000001",
        "event_type": "secret_detected",
        "event_category": "file",
        "timestamp": "2026-02-06T09:00:03.12Z",
        "agent": {"id": "coder-01", "name": "hushd", "version": "0.1.0", "type": "clawdstrike"},
        "session": {"id": "s-1"},
        "outcome": "failure",
        "action": "write",
        "threat": {},
        "decision": {
            "allowed": false, "guard": "leak", "severity": "critical", "reason": "a key",
        },
        "resource": {"type": "file", "name": ".env", "path": "/srv/.env"},
        "metadata": {},
        "labels": {},
    });
    format!("{event}\n")
}

#[test]
fn heartbeats_stop_while_an_exporter_is_held_and_go_on_behind_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let book = Arc::new(Book::new("opsgenie"));
    let account = Opsgenie::new(Arc::clone(&book), Some("k3y".to_owned()));
    let pings = account.pings();
    let options = fake::Options {
        listen: "127.0.0.1:0".parse().expect("an address"),
        control: None,
        tls: false,
        h2: false,
        threads: 1,
        script: Script::parse("").expect("the script is right"),
        seed: 1,
        judge_every: 1,
        account: None,
    };
    let fake = Fake::start(Vendor::Opsgenie(account), Arc::clone(&book), options);
    let fake = fake.expect("it starts");
    let base = format!("http://{}/jsm/ops/integration", fake.addr());
    // Percent-encoded, and never another.
    let came = || {
        let all = pings.all();
        assert!(all.keys().all(|name| name == "host%201%2F%C3%A9"), "{all:?}");
        all.values().sum::<u64>()
    };

    configure(dir.path(), &base, "wrong");
    let said = dir.path().join("said");
    let file = std::fs::File::create(&said).expect("the directory is ours");
    let mut run = command(dir.path(), &["run"]);
    let child = run.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn();
    let mut running = Running(child.expect("it starts"));
    let said = || std::fs::read_to_string(&said).expect("it is there");
    // Nothing was refused yet: the first one goes at start.
    wait_until("the first heartbeat", || came() >= 1);

    let mut append = command(dir.path(), &["append"]);
    let child = append.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut child = child.expect("it starts");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(event().as_bytes()).expect("it reads");
    drop(stdin);
    assert!(child.wait().expect("it ends").success());
    wait_until("one is left out", || said().contains("no heartbeat is sent"));
    assert!(said().contains("exporter opsgenie_two: auth_failed"), "{}", said());
    assert_eq!(came(), 1);

    configure(dir.path(), &base, "k3y");
    kill_process(Pid::from_child(&running.0), Signal::HUP).expect("it runs");
    wait_until("they go on", || came() == 2);
    kill_process(Pid::from_child(&running.0), Signal::TERM).expect("it runs");
    let code = running.0.wait().expect("it ends").code();
    assert_eq!(code, Some(0), "{}", said());
    assert_equation_said(&said());
    assert!(book.report().problems.is_empty(), "{:?}", book.report().problems);
}
