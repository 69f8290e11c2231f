//! A running `shrike` whose configuration, files and tokens change.

mod api;
mod bounds;
#[path = "../support/equation.rs"]
mod equation;
mod inputs;
mod secrets;
#[path = "../support/tls.rs"]
mod tls;
mod vault;
#[path = "../support/wait.rs"]
mod wait;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use wait::wait_until;

/// A collector that takes events with one token and refuses all others.
pub(crate) struct Collector {
    address: SocketAddr,
    state: Arc<Mutex<Seen>>,
}

struct Seen {
    token: &'static str,
    /// Whether what comes with it is bad.
    is_picky: bool,
    /// Requests by token and answer.
    answers: BTreeMap<(String, u16), usize>,
    /// Events that were taken.
    events: usize,
}

impl Collector {
    pub(crate) fn start(token: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let seen = Seen { token, is_picky: false, answers: BTreeMap::new(), events: 0 };
        let state = Arc::new(Mutex::new(seen));
        let serving = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&serving);
                thread::spawn(move || serve(&state, stream));
            }
        });
        Self { address, state }
    }

    pub(crate) fn takes(&self, token: &'static str) {
        self.seen().token = token;
    }

    pub(crate) fn rejects(&self, is_picky: bool) {
        self.seen().is_picky = is_picky;
    }

    pub(crate) fn events(&self) -> usize {
        self.seen().events
    }

    fn answered(&self, token: &str, status: u16) -> usize {
        self.seen().answers.get(&(token.to_owned(), status)).copied().unwrap_or(0)
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.state.lock().expect("no test panics while it holds it")
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, events: usize) {
        wait_until(&format!("{events} events"), || self.events() >= events);
    }
}

fn serve(state: &Mutex<Seen>, stream: TcpStream) {
    let Ok(mut answers) = stream.try_clone() else { return };
    let mut requests = BufReader::new(stream);
    loop {
        let (mut length, mut token, mut target) = (0, String::new(), None);
        loop {
            let mut line = String::new();
            if requests.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let line = line.trim();
            if line.is_empty() {
                break;
            }
            target.get_or_insert_with(|| line.split(' ').nth(1).unwrap_or("").to_owned());
            let Some((name, value)) = line.split_once(": ") else { continue };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().unwrap_or(0),
                "authorization" => value.trim_start_matches("Splunk ").clone_into(&mut token),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        if requests.read_exact(&mut body).is_err() {
            return;
        }
        let mut seen = state.lock().expect("no test panics while it holds it");
        let is_known = token == seen.token;
        let is_event = target.is_some_and(|target| target.contains("/event"));
        let (status, text) = match (is_event, is_known) {
            (false, _) => (200, r#"{"text":"HEC is healthy","code":17}"#),
            (true, false) => (403, r#"{"text":"Invalid token","code":4}"#),
            (true, true) if seen.is_picky => (400, r#"{"text":"Invalid data format","code":6}"#),
            (true, true) if body.is_empty() => (400, r#"{"text":"No data","code":5}"#),
            (true, true) => (200, r#"{"text":"Success","code":0}"#),
        };
        // One without events only asks for the token.
        if is_event && !body.is_empty() {
            *seen.answers.entry((token, status)).or_insert(0) += 1;
        }
        if status == 200 && is_event {
            let text = String::from_utf8(body).expect("bodies are text");
            seen.events += text.matches(r#""schema_version""#).count();
        }
        drop(seen);
        let length = text.len();
        let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\n\r\n{text}");
        if answers.write_all(head.as_bytes()).is_err() {
            return;
        }
    }
}

/// A directory with a configuration and a file that is followed.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self(tempfile::tempdir().expect("a directory"));
        place.write("events.jsonl", "");
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("the directory is ours");
    }

    pub(crate) fn configure(&self, collector: &Collector, keys: &str) {
        self.write("c.yaml", &self.text(collector, keys));
    }

    pub(crate) fn text(&self, collector: &Collector, keys: &str) -> String {
        let dir = self.0.path().display();
        format!(
            "global: {{state_dir: {dir}/state}}\npipeline: {{dedup_window: 0}}\ninputs: [{{type: file, path: \
             {dir}/events.jsonl}}]\nexporters:\n  splunk:\n    hec_url: http://{}\n    use_ack: \
             false\n    compression: none\n    from: earliest\n{keys}",
            collector.address
        )
    }

    /// Writes a certificate and its key.
    pub(crate) fn certificate(&self) -> tls::Pair {
        let pair = tls::Pair::new();
        self.write("cert.pem", &pair.cert_pem);
        self.write("key.pem", &pair.key_pem);
        pair
    }

    /// The sample's events.
    pub(crate) fn sample(&self) -> Vec<u8> {
        let sample =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/security-events.jsonl");
        fs::read(sample).expect("the sample is in the repository")
    }

    /// Appends the sample's events; says how many.
    pub(crate) fn append(&self) -> usize {
        let sample = self.sample();
        let file = fs::OpenOptions::new().append(true).open(self.path("events.jsonl"));
        file.and_then(|mut file| file.write_all(&sample)).expect("the directory is ours");
        sample.iter().filter(|&&byte| byte == b'\n').count()
    }

    /// The file that is followed, as the input calls it.
    pub(crate) fn events(&self) -> String {
        self.path("events.jsonl").display().to_string()
    }

    /// The chain of receipts.
    pub(crate) fn audit(&self) -> String {
        fs::read_to_string(self.path("state/audit.jsonl")).expect("it is written")
    }

    /// What a command that succeeds prints.
    #[track_caller]
    pub(crate) fn said(&self, arguments: &[&str]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_shrike"))
            .args(["--config", "c.yaml"])
            .args(arguments)
            .current_dir(&self.0)
            .output()
            .expect("the command starts");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), &output.stderr);
        assert!(output.status.success(), "{arguments:?}: {out}{}", String::from_utf8_lossy(err));
        out.into_owned()
    }

    pub(crate) fn run(&self) -> Running {
        self.run_with(&["--set", "global.log.format=json"])
    }

    pub(crate) fn run_with(&self, arguments: &[&str]) -> Running {
        self.run_from(arguments, Stdio::null())
    }

    /// With a pipe to its standard input.
    pub(crate) fn run_fed(&self) -> (Running, ChildStdin) {
        let mut running = self.run_from(&["--set", "global.log.format=json"], Stdio::piped());
        let stdin = running.child.stdin.take().expect("piped");
        (running, stdin)
    }

    fn run_from(&self, arguments: &[&str], stdin: Stdio) -> Running {
        let mut child = Command::new(env!("CARGO_BIN_EXE_shrike"))
            .args(["run", "--config", "c.yaml"])
            .args(arguments)
            .current_dir(&self.0)
            .stdin(stdin)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command starts");
        let err = BufReader::new(child.stderr.take().expect("piped"));
        let mut running = Running { child, err, seen: String::new() };
        running.wait_for("commands are answered");
        running
    }
}

pub(crate) struct Running {
    child: Child,
    err: BufReader<ChildStderr>,
    seen: String,
}

impl Running {
    /// Where the pages for monitoring are.
    pub(crate) fn pages(&self) -> SocketAddr {
        self.address("metrics are shown", "\"address\":\"")
    }

    /// Where the input over HTTP is.
    pub(crate) fn listens(&self) -> SocketAddr {
        self.address("listening", "\"input\":\"http ")
    }

    fn address(&self, words: &str, before: &str) -> SocketAddr {
        let mut lines = self.seen.lines().filter(|line| line.contains(words));
        let address = lines.next_back().and_then(|line| line.split(before).nth(1));
        let address = address.and_then(|rest| rest.split('"').next()).expect("it is shown");
        address.parse().expect("an address")
    }

    /// The page for monitoring.
    pub(crate) fn metrics(&self) -> String {
        self.page("/metrics")
    }

    /// A page with its head.
    pub(crate) fn page(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.pages()).expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("text");
        text
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// The pages come before or after the commands.
    #[track_caller]
    pub(crate) fn wait_for_pages(&mut self) {
        const SHOWN: &str = "metrics are shown";
        if !self.seen.contains(SHOWN) {
            self.wait_for(SHOWN);
        }
    }

    /// Reads the process's log up to a line with these words.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, words: &str) {
        loop {
            let mut line = String::new();
            let read = self.err.read_line(&mut line).expect("text");
            assert!(read > 0, "ended without `{words}`:\n{}", self.seen);
            self.seen.push_str(&line);
            if line.contains(words) {
                return;
            }
        }
    }

    /// Ends it; returns all that it logged.
    #[track_caller]
    pub(crate) fn stop(self) -> String {
        self.stop_with(0)
    }

    /// The same where it ends with this code.
    pub(crate) fn stop_with(self, code: i32) -> String {
        self.signal(Signal::TERM);
        self.end_with(code)
    }

    /// The same where it ends by itself.
    pub(crate) fn end_with(mut self, code: i32) -> String {
        self.err.read_to_string(&mut self.seen).expect("text");
        let status = self.child.wait().expect("it ends");
        assert_eq!(status.code(), Some(code), "{}", self.seen);
        equation::assert_equation_said(&self.seen);
        std::mem::take(&mut self.seen)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A test that fails leaves nothing behind; what has ended is not there any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_hangup_reads_the_file_again_and_a_wrong_one_changes_nothing() {
    let place = Place::new();
    let collector = Collector::start("s3cr3t-one");
    place.configure(&collector, "    hec_token: s3cr3t-one\n");
    let mut running = place.run();
    let first = place.append();
    collector.wait_for(first);
    // Wrong: refused with its place, and the old one runs on.
    place.configure(&collector, "    hec_token: s3cr3t-two\n    batch: {sise: 5}\n");
    running.signal(Signal::HUP);
    running.wait_for("configuration refused; the running one stays");
    let second = place.append();
    collector.wait_for(first + second);
    // Right: another token and a smaller batch, and a key that only a start looks at.
    collector.takes("s3cr3t-two");
    let keys = "    hec_token: s3cr3t-two\n    batch: {size: 5}\nlog: {segment_bytes: 32MiB}\n";
    place.configure(&collector, keys);
    running.signal(Signal::HUP);
    running.wait_for("configuration reloaded");
    let third = place.append();
    collector.wait_for(first + second + third);
    let log = running.stop();
    assert!(log.contains("unknown key; did you mean `size`?"), "{log}");
    assert!(log.contains("+ exporters.splunk.batch.size: 5"), "{log}");
    assert!(log.contains("exporters.splunk.hec_token: another secret"), "{log}");
    assert!(log.contains(r#""change":"log.segment_bytes: 256MiB -> 32MiB""#), "{log}");
    assert!(log.contains("takes effect after a restart"), "{log}");
    assert!(log.contains("the log was opened with it"), "{log}");
    assert!(!log.contains("s3cr3t"), "{log}");
    assert_eq!(collector.events(), first + second + third, "nothing twice");
    assert_eq!(collector.answered("s3cr3t-two", 403) + collector.answered("s3cr3t-one", 403), 0);
    let account = format!(r#""in_range":{0},"delivered":{0}"#, first + second + third);
    assert!(log.contains(&account), "{log}");
}

#[test]
fn how_the_process_logs_and_how_much_is_kept_changes_while_it_runs() {
    let place = Place::new();
    let collector = Collector::start("s3cr3t-one");
    let keys = "    hec_token: s3cr3t-one\n";
    place.configure(&collector, keys);
    let running = place.run_with(&[]);
    let with = |format: &str, more: &str| {
        let text = place.text(&collector, keys) + more;
        let global = format!("global: {{log: {{format: {format}}}, ");
        place.write("c.yaml", &text.replacen("global: {", &global, 1));
        place.said(&["reload"])
    };
    let said = with("text", "audit: {max_bytes: 2MiB}\n");
    assert!(said.contains("+ global.log.format: \"text\""), "{said}");
    assert!(said.contains("audit.max_bytes"), "{said}");
    assert!(!said.contains("restart"), "{said}");
    let said =
        with("text", "log: {sync_ms: 5, keep: {age: 1d}}\nmemory: {in_flight_bytes: 8MiB}\n");
    assert!(said.contains("log.sync_ms: 20ms -> 5ms"), "{said}");
    assert!(said.contains("memory.in_flight_bytes: 48MiB -> 8MiB"), "{said}");
    assert!(!said.contains("restart"), "{said}");
    with("json", "");
    let log = running.stop();
    let kinds: Vec<bool> = log.lines().map(|line| line.starts_with('{')).collect();
    let first_text = kinds.iter().position(|is_json| !is_json).expect("some are text");
    let last_text = kinds.iter().rposition(|is_json| !is_json).expect("some are text");
    assert!(first_text > 0 && last_text + 1 < kinds.len(), "JSON, text, and JSON again:\n{log}");
    assert!(kinds[first_text..=last_text].iter().all(|is_json| !is_json), "{log}");
    assert!(log.contains(" INFO configuration reloaded actor="), "{log}");
}

#[test]
fn a_mounted_secret_that_is_replaced_is_read_again() {
    let place = Place::new();
    let collector = Collector::start("s3cr3t-one");
    // As a cluster mounts it: the name is a link into `..data`, which is a link that is replaced.
    let mount = place.path("mount");
    let put = |version: &str, token: &str| {
        fs::create_dir_all(mount.join(version)).expect("the directory is ours");
        fs::write(mount.join(version).join("hec"), token).expect("the directory is ours");
        std::os::unix::fs::symlink(version, mount.join("..new")).expect("the directory is ours");
        fs::rename(mount.join("..new"), mount.join("..data")).expect("the directory is ours");
    };
    put("..1", "s3cr3t-one\n");
    std::os::unix::fs::symlink("..data/hec", mount.join("hec")).expect("the directory is ours");
    let keys = format!(
        "    hec_token: '${{secret:hec}}'\ncredentials: {{provider: k8s_secret, k8s_secret: \
         {{mount: {}}}}}\n",
        mount.display()
    );
    place.configure(&collector, &keys);
    let mut running = place.run();
    let first = place.append();
    collector.wait_for(first);
    collector.takes("s3cr3t-two");
    put("..2", "s3cr3t-two\n");
    running.wait_for("configuration reloaded");
    let second = place.append();
    collector.wait_for(first + second);
    // Gone for a while: the last value stays in use.
    fs::remove_file(mount.join("..data")).expect("the directory is ours");
    running.wait_for("not read again; its last content stays");
    let third = place.append();
    collector.wait_for(first + second + third);
    let log = running.stop();
    assert!(!log.contains("s3cr3t"), "{log}");
    assert_eq!(collector.events(), first + second + third);
}

#[test]
fn the_standby_token_is_used_when_the_other_is_refused() {
    let place = Place::new();
    let collector = Collector::start("s3cr3t-standby");
    let keys = "    hec_token: s3cr3t-first\n    token_rotation: {standby_token: s3cr3t-standby}\n";
    place.configure(&collector, keys);
    let mut running = place.run();
    let first = place.append();
    running.wait_for("credentials refused: others are used now");
    collector.wait_for(first);
    assert!(collector.answered("s3cr3t-first", 403) > 0);
    // And back, once the standby one is refused.
    collector.takes("s3cr3t-first");
    let second = place.append();
    collector.wait_for(first + second);
    let log = running.stop();
    assert!(!log.contains("s3cr3t"), "{log}");
    assert_eq!(collector.events(), first + second, "nothing twice, nothing lost");
}

#[test]
fn the_standby_token_is_used_while_draining() {
    let place = Place::new();
    let collector = Collector::start("s3cr3t-standby");
    let keys = "    hec_token: s3cr3t-first\n    token_rotation: {standby_token: s3cr3t-standby}\n";
    place.configure(&collector, keys);
    let events = place.append();
    // It ends by itself, on a machine that stands still for a while as well.
    let drain = ["--drain", "--drain-timeout", "1h", "--set", "inputs.0.follow=false"];
    let log = place.run_with(&drain).end_with(0);
    assert!(log.contains("credentials refused: others are used now"), "{log}");
    assert_eq!(collector.events(), events, "nothing twice, nothing lost");
}

#[test]
fn other_exporters_are_drained_as_well_and_other_inputs_are_refused() {
    let place = Place::new();
    let collector = Collector::start("s3cr3t-other");
    let finite = |keys: &str| {
        place.text(&collector, keys).replace("events.jsonl}", "events.jsonl, follow: false}")
    };
    place.write("c.yaml", &finite("    hec_token: s3cr3t-wrong\n"));
    let events = place.append();
    let mut running = place.run_with(&["--drain", "--drain-timeout", "1h"]);
    wait_until("a refusal", || collector.answered("s3cr3t-wrong", 403) > 0);
    let text = finite("    hec_token: s3cr3t-other\n");
    place.write("c.yaml", &text.replace("{type: file,", "{type: stdin}, {type: file,"));
    running.wait_for("inputs: shrike drains; what is read changes no more");
    place.write("c.yaml", &text);
    let log = running.end_with(0);
    assert!(log.contains("configuration reloaded"), "{log}");
    assert_eq!(collector.events(), events, "nothing twice, nothing lost");
}

#[test]
fn a_file_that_changes_is_read_again_by_itself() {
    let place = Place::new();
    let collector = Collector::start("s3cr3t-one");
    place.configure(&collector, "    hec_token: s3cr3t-one\n");
    let mut running = place.run();
    place.configure(&collector, "    hec_token: s3cr3t-one\n    batch: {size: 5}\n");
    running.wait_for("configuration reloaded");
    place.configure(&collector, "    hec_token: s3cr3t-one\n    batch: {sise: 6}\n");
    running.wait_for("configuration refused; the running one stays");
    // Once by itself; asked, it is refused again, with the reason.
    let (code, text) = place.shrike(&["reload"]);
    assert_eq!(code, Some(2), "{text}");
    let expected = "refused, the running configuration stays:\nc.yaml:11:13: \
                    exporters.splunk.batch.sise: unknown key; did you mean `size`?";
    assert!(text.contains(expected), "{text}");
    place.configure(&collector, "    hec_token: s3cr3t-one\n    batch: {size: 6}\n");
    let (code, text) = place.shrike(&["reload"]);
    assert_eq!(code, Some(0), "{text}");
    let uid = rustix::process::getuid().as_raw();
    running.wait_for(&format!("\"actor\":\"user {uid}, process "));
    let log = running.stop();
    assert!(log.contains("\"actor\":\"file change\""), "{log}");
    assert_eq!(log.matches("configuration refused").count(), 2, "{log}");
}

#[test]
fn the_account_is_exact_after_many_reloads_under_load() {
    // By hand: SHRIKE_RELOADS=1000.
    let reloads = std::env::var("SHRIKE_RELOADS").ok().and_then(|it| it.parse().ok());
    let reloads: usize = reloads.unwrap_or(12);
    let place = Place::new();
    let collector = Collector::start("s3cr3t-one");
    let keys = |n: usize| {
        let lines = place.path("lines.jsonl");
        // In turn: nothing, another batch, a further exporter, a wrong text.
        let more = match n % 4 {
            0 | 1 => "  lines: {type: file, enabled: false, path: PATH}\n",
            2 => "  lines: {type: file, from: earliest, path: PATH}\n",
            _ => "  lines: {type: file, path: PATH, nonsense: 1}\n",
        };
        let more = more.replace("PATH", &lines.display().to_string());
        let (size, memory, chain) = (5 + n % 4, 8 + n % 3, n % 5);
        format!(
            "    hec_token: s3cr3t-one\n    batch: {{size: {size}}}\n    dlq: {{path: \
             letters-{chain}}}\n{more}global: {{state_dir: {}, watch_config: false}}\nmemory: \
             {{in_flight_bytes: {memory}MiB}}\naudit: {{path: chain-{chain}.jsonl}}\n",
            place.path("state").display()
        )
    };
    let configure = |n: usize| {
        let text = place.text(&collector, &keys(n));
        let (_, text) = text.split_once('\n').expect("the first line names the directory");
        place.write("c.yaml", text);
    };
    configure(0);
    let mut running = place.run();
    let mut client = shrike::control::Client::connect(&place.path("state"))
        .expect("the socket is ours")
        .expect("it runs");
    let mut events = 0;
    let mut refused = 0;
    for n in 1..=reloads {
        events += place.append();
        configure(n);
        refused += usize::from(client.reload().is_err());
        // Reloaded or refused; a log that nobody reads would hold the process up.
        running.wait_for("configuration re");
    }
    assert_eq!(refused, (reloads + 1) / 4, "every fourth");
    configure(0);
    client.reload().expect("it is right");
    collector.wait_for(events);
    let log = running.stop();
    let account = format!(r#""exporter":"splunk","in_range":{events},"delivered":{events},"#);
    assert!(log.contains(&account), "{account}: {log}");
    assert_eq!(collector.events(), events, "nothing twice, nothing lost");
    place.said(&["audit", "verify"]);
}
