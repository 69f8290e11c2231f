//! The `shrike` command, as operators run it.

#[path = "support/equation.rs"]
mod equation;
#[path = "support/wait.rs"]
mod wait;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

/// A working directory of its own, so that no test sees another's log.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("the directory is ours");
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shrike"));
        command.current_dir(&self.0).args(args).env_remove("COLUMNS").stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().expect("the command starts"))
    }

    /// The same with lines on standard input.
    fn run_with(&self, args: &[&str], input: &[u8]) -> Ran {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command starts");
        let mut stdin = child.stdin.take().expect("piped");
        // A command that ends early closes the pipe; its exit code tells.
        let _ = stdin.write_all(input);
        drop(stdin);
        Ran::of(child.wait_with_output().expect("the command ends"))
    }
}

/// How a command ended.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).expect("text"),
            err: String::from_utf8(output.stderr).expect("text"),
        }
    }

    #[track_caller]
    fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        equation::assert_equation_said(&self.err);
        self
    }
}

fn sample() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/security-events.jsonl");
    fs::read(path).expect("the sample is in the repository")
}

fn lines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte == b'\n').count()
}

#[test]
fn exit_codes_tell_what_happened() {
    let place = Place::new();
    let write = |name: &str, text: &str| {
        place.write(name, &format!("{text}global: {{state_dir: state}}\n"));
    };
    write("good.yaml", "exporters: {stdout: {}}\n");
    place.write("bad.yaml", "exporters: {stdout: {fromat: ecs}}\nlog: {max_byte: 1}\n");
    write("address.yaml", "exporters: {syslog: {address: 10.0.0.1, transport: tls}}\n");
    write(
        "template.yaml",
        "exporters: {webhook: {url: 'https://h/', template: '{\"a\": {{json message}}'}}\n",
    );
    place.write("block.yaml", "exporters: {webhook: {url: 'https://h/', template: '{{#if a}}'}}\n");
    write(
        "files.yaml",
        "exporters:\n  elastic: {nodes: 'https://h', auth: {type: none}, tls: {ca: /no/ca.pem}}\n\
         \x20 syslog: {address: h, transport: tls, tls: {ca: /no/other.pem}}\n",
    );
    write("same.yaml", "exporters: {a: {type: file, path: /o}, b: {type: file, path: /o}}\n");
    fs::write(place.path("latin.yaml"), b"global: {}\n# caf\xe9\n").expect("it is ours");
    let cases: &[(&[&str], i32, &str)] = &[
        (&["check", "--config", "good.yaml"], 0, ""),
        (
            &["check", "--config", "latin.yaml"],
            2,
            "latin.yaml: line 2 is no UTF-8, as which it must be saved; give a file that can be \
             read\n",
        ),
        (
            &["check", "--config", "same.yaml"],
            2,
            "same.yaml:1:56: exporters.b.path: `exporters.a.path` at same.yaml:1:29 writes there \
             already\n",
        ),
        (
            &["check", "--config", "bad.yaml"],
            2,
            "bad.yaml:1:22: exporters.stdout.fromat: unknown key; did you mean `format`?\n\
             bad.yaml:2:7: log.max_byte: unknown key; did you mean `max_bytes`?\n",
        ),
        (
            &["check", "--config", "address.yaml"],
            2,
            "address.yaml:1:13: exporters.syslog.tls.server_name: 10.0.0.1 is an address; expected \
             the name in its certificate, or a tls.fingerprint\n",
        ),
        (
            &["check", "--config", "block.yaml"],
            2,
            "block.yaml:1:42: exporters.webhook.template: line 1, column 10: it is no template from \
             here on; is a block such as {{#if}} not ended, or a brace missing?\n",
        ),
        (
            &["check", "--config", "files.yaml"],
            2,
            "files.yaml:2:59: exporters.elastic.tls.ca: /no/ca.pem is not there; put it there, or \
             name another file\n\
             files.yaml:3:46: exporters.syslog.tls.ca: /no/other.pem is not there; put it \
             there, or name another file\n",
        ),
        (
            &["check", "--config", "missing.yaml"],
            2,
            "missing.yaml: No such file or directory (os error 2); give a file that can be read\n",
        ),
        (
            &["check", "--set", "log.sync_ms=soon"],
            2,
            "--set log.sync_ms: log.sync_ms: expected a whole number in ms or a text such as 10s, \
             at most 1m, found `soon`\n",
        ),
        (&["check", "--set", "log.max_bytes"], 2, "--set: expected KEY=VALUE with a dotted key\n"),
        (
            &["check", "--to", "elastik"],
            2,
            "--to elastik: exporters.elastik: unknown exporter type; did you mean `elastic`?\n",
        ),
        (
            &["check", "--to", "stdout=https://a"],
            2,
            "--to stdout: exporters.stdout: stdout takes no URL; write --to stdout\n",
        ),
        (&["run", "--drain-timeout", "soon"], 2, "expected a time span such as 300s"),
        (&["fly"], 2, "unrecognized subcommand 'fly'"),
        (
            &["render", "tower"],
            2,
            "no exporter `tower` in embedded default; there are: stdout; `--to tower` adds one\n",
        ),
        (
            &["log", "cat"],
            1,
            "shrike: there is no log in ./shrike-data/log; `shrike append` or `shrike run` makes \
             one, `--config FILE` or `--log DIR` names another\n",
        ),
        (
            &["status"],
            1,
            "shrike: no shrike runs in ./shrike-data; `shrike run` starts one, `--config` names \
             another\n",
        ),
        (
            &["vendors", "elastik"],
            2,
            "unknown kind of destination `elastik`; expected one of: datadog, elastic, file, opsgenie, otlp, pagerduty, s3, slack, splunk, stdout, sumo_logic, syslog, teams, webhook\n",
        ),
        (&["append", "missing.jsonl"], 1, "shrike: missing.jsonl: No such file or directory"),
    ];
    for (args, code, expected) in cases {
        let ran = place.run(args);
        assert_eq!(ran.code, Some(*code), "{args:?}\n{}", ran.err);
        match expected.ends_with('\n') {
            true => assert_eq!(ran.err, *expected, "{args:?}"),
            false => assert!(ran.err.contains(expected), "{args:?}\n{}", ran.err),
        }
    }
    let said = place.run(&["check", "--config", "template.yaml"]);
    let note = "note: exporter webhook: of a sample event its template makes no body: what was \
                rendered is no JSON: ";
    assert!(said.out.contains(note) && said.out.contains("no mistakes"), "{}", said.out);
    // There is no space below /sys, and nobody but root is told that it could be made there.
    let said = place.run(&["check", "--set", "global.state_dir=/sys/shrike"]);
    let is_told = said.out.contains("bytes, and 0 are free there: it would wait for the others");
    assert!(is_told || said.err.contains("cannot be made"), "{said:?}");
    write("template.yaml", "exporters: {webhook: {url: 'https://h/', template: '[1]'}}\n");
    let said = place.run(&["check", "--config", "template.yaml"]);
    assert!(!said.out.contains("note"), "{}", said.out);
}

#[test]
fn what_is_appended_is_read_back_byte_for_byte() {
    let place = Place::new();
    let events = sample();
    place.run_with(&["append"], &events).ended(0);
    let cat = place.run(&["log", "cat"]).ended(0);
    assert_eq!(cat.out.as_bytes(), events);
    let count = lines(&events).to_string();
    let stat = place.run(&["log", "stat", "--json"]).ended(0).out;
    assert!(stat.contains(&format!("\"events\":{count}")), "{stat}");
    let verified = place.run(&["log", "verify"]).ended(0).out;
    assert!(verified.starts_with(&format!("{count} events in ")), "{verified}");
    assert_eq!(lines(place.run(&["log", "cat", "-n", "3"]).ended(0).out.as_bytes()), 3);
    assert_eq!(place.run(&["log", "cat", "--from", "2100-01-01T00:00:00Z"]).ended(0).out, "");
    assert_eq!(place.run(&["log", "cat", "--until", "1h"]).ended(0).out, "");
    assert_eq!(place.run(&["log", "cat", "--from", "1h"]).ended(0).out.as_bytes(), events);
}

/// A producer may write for days, and say little: what it wrote is in the log meanwhile.
#[test]
fn what_a_pipe_says_is_appended_as_soon_as_it_pauses() {
    let place = Place::new();
    let events = sample();
    let line: Vec<&[u8]> = events.split_inclusive(|&byte| byte == b'\n').collect();
    let mut command = place.command(&["append"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the command starts");
    let mut stdin = child.stdin.take().expect("piped");
    let (half, rest) = line[2].split_at(20);
    for (piece, count) in [(line[0], 1), (&[line[1], half].concat(), 2), (rest, 3)] {
        stdin.write_all(piece).expect("it reads");
        let expected = line[..count].concat();
        let is_there = || place.run(&["log", "cat"]).out.as_bytes() == expected;
        wait::wait_until("what was written", is_there);
    }
    drop(stdin);
    let ran = Ran::of(child.wait_with_output().expect("the command ends")).ended(0);
    assert!(ran.err.starts_with("3 appended, "), "{}", ran.err);
}

#[test]
fn a_compressed_file_is_read_like_any_other() {
    let place = Place::new();
    let events = sample();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&events).expect("memory");
    fs::write(place.path("a.gz"), packed.finish().expect("memory")).expect("it is ours");
    let packed = zstd::encode_all(&events[..], 1).expect("memory");
    fs::write(place.path("a.zst"), &packed).expect("it is ours");
    fs::write(place.path("half"), &packed[..packed.len() / 2]).expect("it is ours");
    place.run(&["append", "a.gz"]).ended(0);
    assert_eq!(place.run(&["log", "cat"]).ended(0).out.as_bytes(), events);
    let ran = place.run(&["run", "--drain", "--log", "other", "--input", "a.zst"]).ended(0);
    assert_eq!(lines(ran.out.as_bytes()), lines(&events), "{}", ran.err);
    let half = place.run(&["append", "half"]).ended(1).err;
    assert!(half.contains("half: "), "{half}");
}

#[test]
fn lines_that_are_no_events_are_refused_by_number() {
    let place = Place::new();
    let events = sample();
    let line: Vec<&[u8]> = events.split_inclusive(|&byte| byte == b'\n').collect();
    let input = [b"\n{}\n", line[0], b"no json\n", line[0], line[1].trim_ascii()].concat();
    let ran = place.run_with(&["append"], &input).ended(1);
    assert!(ran.err.starts_with("2 appended, "), "{}", ran.err);
    assert!(ran.err.contains("; 1 repeats, 2 rejected\n"), "{}", ran.err);
    let told = "line 2: unknown_format\nline 4: json_syntax\n`shrike log quarantine list --source";
    assert!(ran.err.contains(told), "{}", ran.err);
    place.write("none.jsonl", "");
    let none = place.run(&["append", "none.jsonl"]).ended(0);
    assert_eq!(none.err, "0 appended; 0 repeats, 0 rejected\n");
}

/// Whoever writes it may be killed half-way: what is whole is taken, and the rest is one thing.
#[test]
fn a_document_that_ends_half_way_is_refused_in_one_piece_with_a_word() {
    let place = Place::new();
    let line = sample().split(|&byte| byte == b'\n').next().expect("a line").to_vec();
    let event: serde_json::Value = serde_json::from_slice(&line).expect("an event is JSON");
    let spread = serde_json::to_string_pretty(&event).expect("so is this");
    let half = &spread[..spread.len() / 2];
    for (text, events) in
        [(half.to_owned(), 0), (format!("{spread}\n{half}"), 1), (format!("[{spread},{half}"), 1)]
    {
        let log = format!("log{}", text.len());
        let ran = place.run_with(&["run", "--drain", "--log", &log], text.as_bytes()).ended(0);
        let said = ran.err.lines().find(|line| line.contains("middle of a JSON document"));
        let said = said.unwrap_or_else(|| panic!("nobody is told: {}", ran.err));
        assert!(said.contains("\"input\":\"stdin\"") && said.contains("quarantine"), "{said}");
        let ended = format!("\"events\":{events},\"rejected\":1}}");
        assert!(ran.err.contains(&ended), "{}", ran.err);
    }
    let kept = place.run(&["log", "quarantine", "list", "--json"]).ended(0).out;
    assert_eq!((kept.lines().count(), kept.matches("json_syntax").count()), (3, 3), "{kept}");
}

#[test]
fn a_line_longer_than_any_event_is_refused_and_the_rest_goes_on() {
    let place = Place::new();
    let events = sample();
    let line: Vec<&[u8]> = events.split_inclusive(|&byte| byte == b'\n').collect();
    let input = [line[0], &vec![b'x'; 9 << 20], b"\n", line[1]].concat();
    let ran = place.run_with(&["append"], &input).ended(1);
    assert!(ran.err.starts_with("2 appended, "), "{}", ran.err);
    assert!(ran.err.ends_with("line 2: oversize\n"), "{}", ran.err);
}

#[test]
fn with_too_few_descriptors_a_run_does_all_its_work_or_says_why_not() {
    let lines = sample();
    let wanted = lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).count();
    let shrike = env!("CARGO_BIN_EXE_shrike");
    let mut ended = [0, 0];
    for limit in (16..64).step_by(2) {
        let place = Place::new();
        fs::write(place.path("events.jsonl"), &lines).expect("the directory is ours");
        let run = "run --drain --drain-timeout 20s --input events.jsonl --set pipeline.workers=4";
        let script = format!("ulimit -n {limit}; exec {shrike} {run}");
        let mut command = Command::new("sh");
        command.current_dir(&place.0).args(["-c", &script]).stdin(Stdio::null());
        let ran = Ran::of(command.output().expect("a shell"));
        match ran.code {
            Some(0) => assert_eq!(ran.out.lines().count(), wanted, "{limit}: {}", ran.err),
            // Never that it waited in vain for what nobody would do.
            code => assert!(code != Some(3) && !ran.err.is_empty(), "{limit}: {}", ran.err),
        }
        ended[usize::from(ran.code == Some(0))] += 1;
    }
    assert!(ended[0] > 0 && ended[1] > 0, "failed and done: {ended:?}");
}

#[test]
fn drain_sends_everything_and_rewinding_sends_it_again() {
    let place = Place::new();
    let events = sample();
    place.run_with(&["append"], &events).ended(0);
    let drain = ["run", "--drain", "--set", "inputs=[]", "--set", "exporters.stdout.from=earliest"];
    let first = place.run(&drain).ended(0).out;
    assert_eq!(lines(first.as_bytes()), lines(&events));
    assert_eq!(place.run(&drain).ended(0).out, "", "nothing is sent twice");
    let cursor = place.run(&["cursor", "rewind", "stdout", "--to", "earliest"]).ended(0).out;
    assert!(cursor.contains("stdout       1      0"), "{cursor}");
    assert_eq!(place.run(&drain).ended(0).out, first);
    let unknown = place.run(&["cursor", "rewind", "stdour", "--to", "earliest"]).ended(2).err;
    assert_eq!(unknown, "no cursor of exporter `stdour`; there are: stdout\n");
    let nowhere = place.run(&["cursor", "rewind", "stdout", "--to", "soon"]).ended(2).err;
    assert!(nowhere.starts_with("`soon` is no position; expected earliest, latest"), "{nowhere}");
    let beyond = place.run(&["cursor", "rewind", "stdout", "--to", "99999999"]).ended(1).err;
    assert!(beyond.contains("offset 99999999 lies beyond the end of the log, "), "{beyond}");
    let to_come = "2200-01-31T12:00:00Z";
    let to_come = place.run(&["cursor", "rewind", "stdout", "--to", to_come]).ended(1).err;
    assert!(to_come.contains("2200-01-31T12:00:00Z is still to come"), "{to_come}");
    let cursor = place.run(&["cursor", "show"]).ended(0).out;
    assert!(cursor.contains("stdout       1      0"), "{cursor}");
}

#[test]
fn a_damaged_cursor_is_set_anew_as_its_error_advises() {
    let place = Place::new();
    place.run_with(&["run", "--drain"], &sample()).ended(0);
    let file = place.path("shrike-data/log/cursors/stdout.cursor");
    let bytes = fs::read(&file).expect("it was saved");
    fs::write(&file, &bytes[..20]).expect("the directory is ours");
    let refused = place.run(&["run", "--drain"]).ended(1).err;
    assert!(refused.contains("stdout.cursor is damaged"), "{refused}");
    assert!(refused.contains("shrike cursor rewind EXPORTER --to earliest"), "{refused}");
    let shown = place.run(&["cursor", "show"]).ended(1).err;
    assert!(shown.contains("stdout.cursor is damaged"), "{shown}");
    place.run(&["cursor", "rewind", "stdout", "--to", "earliest"]).ended(0);
    let again = place.run(&["run", "--drain"]).ended(0);
    assert_eq!(again.out.lines().count(), lines(&sample()));
}

#[test]
fn rendering_shows_what_would_be_sent_and_sends_nothing() {
    let place = Place::new();
    let events = sample();
    let elastic =
        ["render", "elastic", "--to", "elastic", "--set", "exporters.elastic.auth.type=none"];
    let out = place.run_with(&elastic, &events).ended(0).out;
    let mut pairs = out.lines();
    while let (Some(action), Some(document)) = (pairs.next(), pairs.next()) {
        assert!(action.starts_with("{\"create\":{\"_index\":\""), "{action}");
        assert!(document.starts_with("{\"@timestamp\":\""), "{document}");
    }
    assert_eq!(lines(out.as_bytes()), 2 * lines(&events));
    assert!(!place.path("shrike-data").exists(), "no log is made");
}

#[test]
fn rendering_reads_lines_as_inputs_do() {
    let place = Place::new();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for name in ["clawdstrike-audit", "velar-audit", "openclaw-audit", "policy-events"] {
        let text = fs::read(fixtures.join(format!("{name}.jsonl"))).expect("it is there");
        let native = ["render", "stdout", "--set", "exporters.stdout.format=native"];
        let out = place.run_with(&native, &text).ended(0).out;
        assert_eq!(lines(out.as_bytes()), lines(&text), "{name}");
        assert!(out.lines().all(|line| line.starts_with("{\"schema_version\"")), "{out}");
    }
    let ran = place.run_with(&["render", "stdout"], b"\n[1]\n{}\n");
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (Some(1), "line 2: not_object\nline 3: unknown_format\n")
    );
}

#[test]
fn rules_send_each_event_to_the_exporters_that_they_choose() {
    let place = Place::new();
    place.write(
        "c.yaml",
        "global: {state_dir: s}\nfiltering: {exclude_types: [session_start]}\nrouting:\n  rules:\n\
         \x20   - {condition: severity >= 'high', exporters: [stdout_cef]}\n  default: [stdout]\n\
         exporters: {stdout: {format: native}, stdout_cef: {format: cef}}\n",
    );
    let run = ["run", "--drain", "--config", "c.yaml", "--input", "-"];
    let out = place.run_with(&run, &sample()).ended(0).out;
    let (cef, native): (Vec<_>, Vec<_>) = out.lines().partition(|line| line.starts_with("CEF:0"));
    let is_high = |line: &&str| {
        line.contains(r#""severity":"high""#) || line.contains(r#""severity":"critical""#)
    };
    let events = String::from_utf8(sample()).expect("text");
    let wanted: Vec<&str> =
        events.lines().filter(|line| !line.contains(r#""event_type":"session_start""#)).collect();
    let high = wanted.iter().filter(|line| is_high(line)).count();
    assert!(high > 0 && high < wanted.len() && wanted.len() < lines(&sample()), "{high}");
    assert_eq!((cef.len(), native.len()), (high, wanted.len() - high));
    assert!(!native.iter().any(is_high));
}

/// A `run` that has come up, and its standard error.
struct Running {
    child: Child,
    err: BufReader<std::process::ChildStderr>,
}

impl Running {
    fn start(place: &Place, args: &[&str]) -> Self {
        let mut command = place.command(args);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command starts");
        let err = BufReader::new(child.stderr.take().expect("piped"));
        let mut running = Self { child, err };
        running.wait_for("commands are answered");
        running
    }

    /// Reads the process's log up to a line with these words.
    fn wait_for(&mut self, words: &str) {
        let mut seen = String::new();
        loop {
            let mut line = String::new();
            let read = self.err.read_line(&mut line).expect("text");
            assert!(read > 0, "ended without `{words}`:\n{seen}");
            seen.push_str(&line);
            if line.contains(words) {
                return;
            }
        }
    }

    fn stop(mut self) -> Output {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
        let mut last_words = String::new();
        self.err.read_to_string(&mut last_words).expect("text");
        equation::assert_equation_said(&last_words);
        self.child.stdin.take();
        self.child.wait_with_output().expect("it ends")
    }
}

#[test]
fn commands_talk_to_the_running_process() {
    let place = Place::new();
    let events = sample();
    place.write("c.yaml", "global: {state_dir: shrike-data}\nexporters: {stdout: {}}\n");
    let running = Running::start(&place, &["run", "--config", "c.yaml"]);
    let appended = place.run_with(&["append"], &events).ended(0).err;
    assert!(appended.starts_with(&format!("{} appended, ", lines(&events))), "{appended}");
    let status = place.run(&["status"]).ended(0).out;
    assert!(status.contains("exporter  "), "{status}");
    let json = place.run(&["status", "--json"]).ended(0).out;
    assert!(json.contains(&format!("\"pid\":{}", running.child.id())), "{json}");
    let cursor = place.run(&["cursor", "show", "stdout"]).ended(0).out;
    assert!(cursor.contains("stdout"), "{cursor}");
    let unknown = place.run(&["cursor", "show", "stdour"]).ended(2).err;
    assert_eq!(unknown, "no exporter `stdour`; there are: stdout\n");
    let rewound = place.run(&["cursor", "rewind", "stdout", "--to", "earliest"]).ended(0).out;
    assert!(rewound.contains("stdout       1      0"), "{rewound}");
    let second = place.run(&["run", "--config", "c.yaml"]).ended(1).err;
    assert!(second.contains("is held by process"), "{second}");
    let stopped = running.stop();
    assert_eq!(stopped.status.code(), Some(0));
    let sent = lines(&stopped.stdout);
    // Rewinding may come before or after the first pass has sent them.
    assert!(sent >= lines(&events) && sent <= 2 * lines(&events), "{sent} lines");
    assert!(!place.path("shrike-data/control.sock").exists());
}

/// Two thirds of the memory of a busy process would be the rest of such pages.
#[test]
fn no_memory_comes_in_huge_pages() {
    let place = Place::new();
    place.write("c.yaml", "global: {state_dir: shrike-data}\nexporters: {stdout: {}}\n");
    let running = Running::start(&place, &["run", "--config", "c.yaml"]);
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.child.id()));
    let status = status.expect("it runs");
    // Kernels before 5.0 do not tell.
    assert!(!status.contains("THP_enabled:\t1"), "{status}");
    running.stop();
}

#[test]
fn a_reader_that_goes_away_ends_printing_quietly() {
    let place = Place::new();
    let events: Vec<u8> = sample().repeat(200);
    place.run_with(&["append"], &events).ended(0);
    let mut child = place
        .command(&["log", "cat"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    drop(child.stdout.take());
    let ran = Ran::of(child.wait_with_output().expect("it ends")).ended(0);
    assert_eq!(ran.err, "");
}

/// `shrike vendors | head -1`, and both outputs into such a pipe: no panic, no line about it.
#[test]
fn whoever_stops_reading_is_told_nothing() {
    let place = Place::new();
    place.run_with(&["append"], &[&sample()[..], b"no event\n"].concat()).ended(1);
    place.write("one.jsonl", "no event\n");
    let commands: [(&[&str], i32); 22] = [
        (&["check"], 0),
        (&["config", "show"], 0),
        (&["config", "schema"], 0),
        (&["schema", "json"], 0),
        (&["schema", "typescript"], 0),
        (&["vendors"], 0),
        (&["vendors", "elastic"], 0),
        (&["completions", "bash"], 0),
        (&["man"], 0),
        (&["--help"], 0),
        (&["test", "stdout", "--from", "earliest"], 0),
        (&["log", "cat"], 0),
        (&["log", "stat"], 0),
        (&["log", "verify"], 0),
        (&["log", "quarantine", "list"], 0),
        (&["log", "quarantine", "retry"], 1),
        (&["cursor", "show"], 0),
        (&["audit", "log"], 0),
        (&["audit", "verify"], 0),
        (&["dlq", "list"], 0),
        (&["dlq", "replay"], 0),
        (&["dlq", "purge", "--all"], 0),
    ];
    let failing: [(&[&str], i32); 5] = [
        (&["append", "one.jsonl"], 1),
        (&["render", "stdout", "one.jsonl"], 1),
        (&["status"], 1),
        (&["log", "quarantine", "show", "0"], 1),
        (&["vendors", "none"], 2),
    ];
    let gone = || std::io::pipe().expect("a pipe").1;
    for (args, code) in commands {
        let ran = Ran::of(place.command(args).stdout(gone()).output().expect("it ends"));
        assert_eq!((ran.code, ran.err.as_str()), (Some(code), ""), "{args:?}");
    }
    for (args, code) in commands.into_iter().chain(failing) {
        let ran = place.command(args).stdout(gone()).stderr(gone()).status().expect("it ends");
        assert_eq!(ran.code(), Some(code), "{args:?}");
    }
}

/// `shrike run --input FILE | head -1`: nobody comes in place of a reader who is gone.
#[test]
fn a_run_whose_lines_nobody_reads_ends() {
    let place = Place::new();
    let missing = place.run(&["run", "--input", "e.jsonl"]).ended(1).err;
    assert!(missing.contains("shrike: e.jsonl: No such file or directory"), "{missing}");
    assert!(!place.path("shrike-data").exists(), "what is not there leaves nothing behind");
    fs::write(place.path("e.jsonl"), sample()).expect("the directory is ours");
    let mut run = place.command(&["run", "--input", "e.jsonl"]);
    let gone = std::io::pipe().expect("a pipe").1;
    let ran = Ran::of(run.stdout(gone).output().expect("it ends")).ended(1);
    assert!(ran.err.contains("nobody reads the standard output any more"), "{}", ran.err);
    assert!(ran.err.contains("\"account\""), "{}", ran.err);
    let rest = place.run(&["run", "--drain"]).ended(0).out;
    assert_eq!(lines(rest.as_bytes()), lines(&sample()), "what nobody read is still there");
}

#[test]
fn secrets_are_in_no_error_and_no_dump() {
    let secrets =
        ["p4ssw0rd-in-the-file", "t0ken-in-the-env", "k3y-in-a-file", "hunter2-in-a-flag"];
    let place = Place::new();
    let file = place.path("key");
    place.write("key", secrets[2]);
    let config = |extra: &str| {
        format!(
            r"exporters:
  elastic:
    nodes: https://h:9200
    auth: {{username: u, password: {}}}
    headers: {{x-token: '${{TOKEN}}'}}
    proxy: http://u:{}@p:1
  splunk:
    hec_url: https://h:8088
    hec_token: '@{}'
{extra}",
            secrets[0],
            secrets[0],
            file.display()
        )
    };
    let extras = [
        "",
        "    concurrency: '${TOKEN}'\n",
        "    batch: {size: '${TOKEN}', max_bytes: '${TOKEN}'}\n    from: '${TOKEN}'\n",
        "    hec_token: two\n",
        "    metrics: {token: ['${TOKEN}']}\n    ack: {channel: '${TOKEN}'}\n",
        "    tls: {min_version: '${TOKEN}', ca: '${TOKEN}'}\n",
        "    headers: '${TOKEN}'\n    proxy: '${TOKEN}'\n    compression: '${TOKEN}'\n",
        "    type: '${TOKEN}'\n",
        "    auth: '${TOKEN}'\n",
        "    hec_urls: 'https://u:${TOKEN}@h'\nlog: {dir: \"${TOKEN}\\n\", io: '${TOKEN}'}\n",
        "  http: {url: '${TOKEN}'}\nversion: '${TOKEN}'\nglobal: {debug: '${TOKEN}'}\n",
    ];
    for extra in extras {
        place.write("c.yaml", &config(extra));
        // What the process does can be asked whatever the file says now.
        for (command, code) in [
            (&["check"][..], 2),
            (&["run", "--drain"], 2),
            (&["config", "show"], 2),
            (&["render", "splunk"], 2),
            (&["status"], 1),
        ] {
            let set = format!("exporters.splunk.hec_token={}", secrets[3]);
            let set_wrong = format!("exporters.splunk.ack.timeout_secs={}", "x");
            let mut shrike = place.command(command);
            shrike.args(["--config", "c.yaml", "--set", &set, "--set", &set_wrong]);
            let output = shrike.env("TOKEN", secrets[1]).output().expect("the command starts");
            let ran = Ran::of(output).ended(code);
            for secret in secrets {
                assert!(!ran.err.contains(secret) && !ran.out.contains(secret), "{}", ran.err);
            }
        }
    }
}

#[test]
fn completions_and_pages_come_from_the_arguments() {
    let place = Place::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let text = place.run(&["completions", shell]).ended(0).out;
        for word in ["rewind", "drain-timeout", "verify"] {
            assert!(text.contains(word), "{shell} has no {word}");
        }
    }
    assert!(place.run(&["man"]).ended(0).out.contains(".TH shrike 1"));
    place.run(&["man", "pages"]).ended(0);
    for page in ["shrike.1", "shrike-run.1", "shrike-log-verify.1", "shrike-cursor-rewind.1"] {
        assert!(place.path("pages").join(page).exists(), "{page}");
    }
}

/// The commands below one, as its help lists them.
fn commands(help: &str) -> Vec<String> {
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let list = list.take_while(|line| !line.is_empty());
    let names = list.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

fn describe(place: &Place, path: &[&str], out: &mut String) {
    let help = place.run(&[path, &["--help"]].concat()).ended(0).out;
    let title = [&["shrike"], path].concat().join(" ");
    out.push_str(&format!("\n## {title}\n\n```text\n{help}```\n"));
    for name in commands(&help) {
        describe(place, &[path, &[name.as_str()]].concat(), out);
    }
}

#[test]
fn the_command_reference_is_up_to_date() {
    let mut text =
        "# Command line\n\nMade from the command's own help by `UPDATE_DOCS=1 cargo test \
                    --test cli`; do not edit.\n"
            .to_owned();
    describe(&Place::new(), &[], &mut text);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &text).expect("docs can be written");
    }
    let stale = fs::read_to_string(&path).unwrap_or_default();
    assert!(stale == text, "docs/cli.md is stale: UPDATE_DOCS=1 cargo test --test cli");
}

#[test]
fn check_connect_asks_each_destination_and_fails_where_one_takes_nothing() {
    let place = Place::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let well = listener.local_addr().expect("a bound socket has an address");
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the command connects");
        let mut lines = BufReader::new(stream.try_clone().expect("a socket")).lines();
        let first = lines.next().expect("a request").expect("readable");
        while !lines.next().expect("headers end").expect("readable").is_empty() {}
        let body = r#"{"status":"yellow"}"#;
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(head.as_bytes()).expect("the command reads");
        first
    });
    let text = |name: &str, url: &str| {
        format!("  {name}: {{type: elastic, nodes: [\"{url}\"], auth: {{type: none}}}}\n")
    };
    let well = text("well", &format!("http://{well}"));
    place.write("well.yaml", &format!("exporters:\n{well}  stdout: {{}}\n"));
    let ran = place.run(&["check", "--connect", "--config", "well.yaml"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.out.contains("exporter well: takes events, answered in "), "{ran:?}");
    assert!(ran.out.contains("exporter stdout: nothing to ask"), "{ran:?}");
    let asked = answering.join().expect("one request came");
    assert!(asked.starts_with("GET /_cluster/health "), "{asked}");
    // Nobody listens there any more.
    place.write("gone.yaml", &format!("exporters:\n{well}"));
    let ran = place.run(&["check", "--connect", "--config", "gone.yaml"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.out.contains("exporter well: does not take events: network"), "{ran:?}");
    assert!(ran.err.contains("1 of 1 destinations would take no events"), "{ran:?}");
}
