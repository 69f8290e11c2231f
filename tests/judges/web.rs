//! What programs of others make of our requests: Python's `gzip`, `json` and `hmac`, the zstd tool,
//! and an emulator of S3.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use loadgen::generate::Stream;
use serde_json::Value;

use crate::equation::assert_equation_said;
use crate::tools::{self, Service};

/// Events, which every one of the exporters sends.
const EVENTS: u64 = 500;

#[test]
fn every_event_arrives_once_in_bodies_that_others_open() {
    let (Some(python), Some(zstd)) = (tools::find("python"), tools::find("zstd")) else { return };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (events, secret) = (write_events(dir.path(), EVENTS), "a secret of both ends");
    let mut judge = tools::script(&python, "receive.py");
    judge.arg(tools::wrap(&zstd, dir.path())).arg(secret).arg(&events);
    let (judge, port) = Service::start(judge);
    let at = format!("http://127.0.0.1:{}", port.trim());
    let exporters = format!(
        "  lines: {{type: webhook, url: '{at}/lines', mode: ndjson, compression: gzip, \
         auth: {{type: hmac, secret: '{secret}'}}, {PATIENT}}}\n\
         \x20 array: {{type: webhook, url: '{at}/array', mode: array, compression: zstd, \
         method: PUT, format: native, auth: {{type: hmac, secret: '{secret}'}}, {PATIENT}}}\n\
         \x20 otlp: {{endpoint: '{at}', protocol: http/json, {PATIENT}}}\n\
         \x20 binary: {{type: otlp, endpoint: '{at}/binary', {PATIENT}}}\n\
         \x20 splunk: {{hec_url: '{at}', hec_token: '12345678-1234-1234-1234-123456789012', \
         compression: gzip, use_ack: false, format: ecs, {PATIENT}}}\n\
         \x20 datadog: {{endpoint: '{at}', metrics_endpoint: '{at}', compression: zstd, \
         api_key: '0123456789abcdef0123456789abcdef', metrics: {{flush_interval_secs: 1}}, \
         {PATIENT}}}\n\
         \x20 sumo_logic: {{url: '{at}/sumo', compression: none, {PATIENT}}}\n\
         \x20 elastic: {{nodes: ['{at}'], auth: {{type: none}}, init: {{enabled: false}}, \
         compression: gzip, {PATIENT}}}\n"
    );
    let output = drain(dir.path(), &exporters);
    let (said, verdict) = (String::from_utf8_lossy(&output.stderr), judge.end());
    assert!(output.status.success() && verdict.approves, "{}\n{said}", verdict.text);
    assert_eq!(verdict.text.trim_end(), format!("{} events judged", 8 * EVENTS));
    assert_account(&said, 8, EVENTS);
}

/// A signature of another secret is refused, or the judge above says nothing.
#[test]
fn the_judge_of_signatures_refuses_another_secret() {
    let Some(python) = tools::find("python") else { return };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut judge = tools::script(&python, "receive.py");
    judge.args(["zstd", "ours"]).arg(write_events(dir.path(), 1));
    let (judge, port) = Service::start(judge);
    let exporters = format!(
        "  lines: {{type: webhook, url: 'http://127.0.0.1:{}/lines', mode: ndjson, \
         auth: {{type: hmac, secret: theirs}}}}\n",
        port.trim()
    );
    let output = drain(dir.path(), &exporters);
    assert_eq!(output.status.code(), Some(1), "refused for good: {output:?}");
    let verdict = judge.end();
    assert!(!verdict.approves);
    assert!(verdict.text.contains("the signature is of something else"), "{}", verdict.text);
}

#[test]
fn an_emulator_of_s3_takes_every_event_into_one_object() {
    let (Some(python), Some(zstd)) = (tools::find("python"), tools::find("zstd")) else { return };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let events = write_events(dir.path(), EVENTS);
    let mut judge = tools::script(&python, "s3.py");
    judge.arg(tools::wrap(&zstd, dir.path())).arg(&events);
    let (judge, told) = Service::start(judge);
    let told: Value = serde_json::from_str(&told).expect("it says where it serves");
    let exporter = |secret: &str, prefix: &str, signing: &str| {
        format!(
            "  s3: {{endpoint: {}, bucket: {}, region: {}, access_key_id: {}, \
             secret_access_key: {secret}, payload_signing: {signing}, \
             key_prefix: '{prefix}dt={{date:%Y-%m-%d}}/hour={{date:%H}}/', \
             batch: {{linger_ms: 200, max_bytes: 100KB}}, \
             {PATIENT}}}\n",
            told["url"], told["bucket"], told["region"], told["id"]
        )
    };
    // A key that may only put objects is found right without one, and another secret is told.
    let check = |secret: &str| check(dir.path(), &exporter(secret, "events/", "auto"));
    let (status, said) = check(&told["secret"].to_string());
    assert!(status == Some(0) && said.contains("exporter s3: takes events"), "{said}");
    let (status, said) = check("another");
    assert!(status == Some(2) && said.contains("SignatureDoesNotMatch"), "{said}");
    // What the key may not, and a signature of another secret, the emulator refuses.
    for (name, secret, prefix, signing) in [
        ("denied", told["secret"].to_string(), "other/", "always"),
        ("unsigned", "another".into(), "events/", "never"),
    ] {
        let place = dir.path().join(name);
        fs::create_dir(&place).expect("the directory is ours");
        fs::write(place.join("events.jsonl"), fs::read(&events).expect("written above"))
            .expect("the directory is ours");
        let output = drain_within(&place, &exporter(&secret, prefix, signing), "3s");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{name}: held: {said}");
        assert!(said.contains("\"delivered\":0,"), "{name}: {said}");
    }
    // Half of them with the whole body signed, half with its checksum alone.
    let lines = fs::read_to_string(&events).expect("written above");
    let lines: Vec<&str> = lines.lines().collect();
    for (signing, half) in ["always", "never"].into_iter().zip(lines.chunks(lines.len() / 2)) {
        let place = dir.path().join(signing);
        fs::create_dir(&place).expect("the directory is ours");
        fs::write(place.join("events.jsonl"), half.join("\n")).expect("the directory is ours");
        let exporter = exporter(&told["secret"].to_string(), "events/", signing);
        let output = drain(&place, &exporter);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{signing}: {said}");
        assert_account(&said, 1, EVENTS / 2);
    }
    let verdict = judge.end();
    assert!(verdict.approves, "{}", verdict.text);
    assert!(verdict.text.starts_with(&format!("{EVENTS} events in ")), "{}", verdict.text);
}

/// Random events of one hour.
pub(crate) fn write_events(dir: &Path, count: u64) -> PathBuf {
    let path = dir.join("events.jsonl");
    let mut stream = Stream::new(11);
    let mut lines = Vec::new();
    while stream.sequence() < count {
        lines.extend_from_slice(stream.one(1_770_368_400_000_000_000));
        lines.push(b'\n');
    }
    fs::write(&path, lines).expect("the directory is ours");
    path
}

/// Nothing is sent again because somebody had to wait for a core.
pub(crate) const PATIENT: &str = "timeout_ms: 5m, connection: {connect_timeout_ms: 1m}";

/// Runs the real process on `events.jsonl` until all is settled.
pub(crate) fn drain(dir: &Path, exporters: &str) -> Output {
    drain_within(dir, exporters, "180s")
}

fn drain_within(dir: &Path, exporters: &str, limit: &str) -> Output {
    let config = format!(
        "version: '1.0.0'\nglobal: {{state_dir: '{}'}}\nlog: {{segment_bytes: 16MiB}}\n\
         exporters:\n{exporters}",
        dir.join("state").display()
    );
    fs::write(dir.join("shrike.yaml"), config).expect("the directory is ours");
    let mut command = tools::shrike();
    command.current_dir(dir).args(["run", "--config", "shrike.yaml", "--input", "events.jsonl"]);
    command.args(["--drain", "--drain-timeout", limit]);
    command.output().expect("the program is built")
}

/// What `shrike check --connect` says of the exporters, and how it ends.
fn check(dir: &Path, exporters: &str) -> (Option<i32>, String) {
    let config = format!("version: '1.0.0'\nexporters:\n{exporters}");
    fs::write(dir.join("check.yaml"), config).expect("the directory is ours");
    let mut command = tools::shrike();
    command.current_dir(dir).args(["check", "--connect", "--config", "check.yaml"]);
    let output = command.output().expect("the program is built");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Every exporter delivered every event, by the account at the end.
pub(crate) fn assert_account(said: &str, exporters: usize, events: u64) {
    let accounts = said.lines().filter(|line| line.contains("\"message\":\"account\""));
    let accounts: Vec<Value> =
        accounts.map(|line| serde_json::from_str(line).expect("it is JSON")).collect();
    assert_eq!(accounts.len(), exporters, "{said}");
    assert_equation_said(said);
    for account in accounts {
        assert_eq!((&account["in_range"], &account["delivered"]), (&events.into(), &events.into()));
    }
}
