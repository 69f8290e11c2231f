//! The file exporter on real files: the account holds, and what is on the disk can be read.

#[path = "support/equation.rs"]
mod equation;
#[path = "support/wait.rs"]
mod wait;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::thread;
use std::time::Instant;

use equation::assert_equation;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use shrike::config::{Config, Flags, Host, System, Text};
use shrike::event::FieldId;
use shrike::log::{Log, Mark};
use shrike::pipeline::{Ended, Engine, EngineOptions, Status};
use shrike::transform::Source::Event;
use shrike::transform::write::value;
use shrike::transform::{Layout, Schema, row};
use shrike::vendors;
use wait::{PATIENCE, comes_true, wait_until};

const SAMPLES: &str = include_str!("fixtures/security-events.jsonl");

/// A log that holds the samples this many times, and how an engine exports them.
fn prepare(dir: &Path, exporters: &str, times: usize) -> (Log, EngineOptions) {
    let text = format!(
        "version: 1.0.0\nglobal: {{state_dir: '{}'}}\nlog: {{segment_bytes: 16MiB}}\n\
         pipeline: {{workers: 2}}\nexporters: {exporters}\n",
        dir.join("state").display()
    );
    let text = Text::File { name: "test".to_owned(), text: text.into() };
    let config = Config::load(&text, &Flags::default(), vendors::ALL, &System)
        .unwrap_or_else(|error| panic!("{error}"));
    let (log, _) = Log::open(config.log.clone()).expect("the directory is ours");
    let appender = log.appender();
    for record in SAMPLES.lines().cycle().take(times * 30) {
        let mark = Mark { received_ns: 1_770_381_000_000_000_000, ..Mark::default() };
        appender.append(record.as_bytes(), mark).expect("there is room");
    }
    log.flush().expect("the disk takes it");
    (log, config.engine_options(&Host::default()))
}

fn start(dir: &Path, exporters: &str, times: usize) -> Engine {
    let (log, options) = prepare(dir, exporters, times);
    Engine::start(log, options).expect("it starts")
}

fn run(dir: &Path, exporters: &str, times: usize) -> Status {
    let engine = start(dir, exporters, times);
    let ended = engine.drain(Instant::now() + PATIENCE);
    let status = assert_equation(engine.end());
    assert_eq!(ended, Ended::Settled, "{status:?}");
    status
}

/// Ended files and the one that grows, oldest first.
fn files(dir: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(dir).expect("it is ours");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.is_file())
        .collect();
    paths.sort_by_key(|path| (path.ends_with("events.ndjson"), path.clone()));
    paths.iter().map(|path| fs::read(path).expect("readable")).collect()
}

fn ids(text: &str) -> Vec<String> {
    let id = |line: &str| {
        let event: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
        event["event_id"].as_str().expect("every event has an id").to_owned()
    };
    text.lines().map(id).collect()
}

#[test]
fn every_event_is_on_the_disk_once_and_in_order() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let keys = format!(
        "{{file: {{path: '{}', from: earliest, rotate: {{bytes: 300000}}, \
         batch: {{max_bytes: 50000}}}}}}",
        dir.path().join("events.ndjson").display()
    );
    let status = run(dir.path(), &keys, 40);
    assert_eq!(status.exporters[0].counts.delivered, 1200);
    let found = files(dir.path());
    assert!(found.len() >= 3, "{} files", found.len());
    assert!(found.iter().all(|file| file.len() <= 300_000));
    let text = String::from_utf8(found.concat()).expect("UTF-8");
    let expected: Vec<_> = ids(SAMPLES).into_iter().cycle().take(1200).collect();
    assert_eq!(ids(&text), expected);
    let mode = fs::metadata(dir.path().join("events.ndjson")).expect("it is there").permissions();
    assert_eq!(mode.mode() & 0o777, 0o600, "events are not for everybody");
}

#[test]
fn compressed_bodies_are_read_as_one_file() {
    for (word, ends) in [("zstd", "zst"), ("gzip", "gz")] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join(format!("events.ndjson.{ends}"));
        let keys = format!(
            "{{file: {{path: '{}', from: earliest, compression: {word}, \
             batch: {{max_bytes: 50000}}, format: ocsf}}}}",
            path.display()
        );
        run(dir.path(), &keys, 20);
        let bytes = fs::read(&path).expect("it is there");
        let mut text = String::new();
        match word {
            "zstd" => {
                text = String::from_utf8(zstd::decode_all(&bytes[..]).expect("frames"))
                    .expect("UTF-8");
            }
            _ => {
                let mut reader = flate2::read::MultiGzDecoder::new(&bytes[..]);
                reader.read_to_string(&mut text).expect("members");
            }
        }
        assert_eq!(text.lines().count(), 600, "{word}");
        assert!(text.len() > 4 * bytes.len(), "{word} makes it smaller");
        assert!(text.lines().all(|line| line.contains("\"class_uid\":")));
    }
}

#[test]
fn a_directory_that_is_not_there_is_an_outage() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("later/events.ndjson");
    let keys = format!(
        "{{file: {{path: '{}', from: earliest, \
         retry: {{initial_backoff_ms: 5, max_backoff_ms: 20}}, \
         circuit_breaker: {{failure_threshold: 1, open_ms: 20}}}}}}",
        path.display()
    );
    let engine = start(dir.path(), &keys, 5);
    wait_until("it fails", || engine.status().exporters[0].last_error.is_some());
    let status = engine.status();
    let found = &status.exporters[0];
    assert_eq!((found.counts.total(), found.pending), (0, 150), "{found:?}");
    fs::create_dir(dir.path().join("later")).expect("ours");
    let ended = engine.drain(Instant::now() + PATIENCE);
    let status = assert_equation(engine.end());
    assert_eq!(ended, Ended::Settled, "{status:?}");
    assert_eq!(fs::read_to_string(path).expect("it is there").lines().count(), 150);
}

/// A file that takes nothing, like one on a disk that hangs, until its pipe is read.
fn hang(path: &Path) -> fs::File {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("the name is free");
    let flags = OFlags::NONBLOCK.bits().try_into().expect("a flag");
    let mut options = fs::OpenOptions::new();
    let mut pipe = options.read(true).write(true).custom_flags(flags).open(path).expect("ours");
    while pipe.write(&[b'\n'; 4096]).is_ok() {}
    pipe
}

#[test]
fn a_disk_that_hangs_stops_no_other_exporter() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let hung = |at: usize| dir.path().join(format!("hung-{at}"));
    let pipes: Vec<_> = (0..12).map(|at| hang(&hung(at))).collect();
    let path = dir.path().join("events.ndjson");
    let exporter =
        |name: &str, path: &Path| format!("{name}: {{path: '{}', from: earliest}}", path.display());
    let mut all: Vec<_> = (0..12).map(|at| exporter(&format!("file_{at}"), &hung(at))).collect();
    all.push(exporter("file", &path));
    let engine = start(dir.path(), &format!("{{{}}}", all.join(", ")), 20);
    wait_until("the others go on", || {
        let status = engine.status();
        status.exporters.iter().any(|it| it.name == "file" && it.counts.delivered == 600)
    });
    let status = assert_equation(engine.end());
    let delivered = status.exporters.iter().map(|it| it.counts.delivered);
    assert_eq!(delivered.sum::<u64>(), 600, "{status:?}");
    drop(pipes);
}

#[test]
fn a_disk_that_hangs_is_told_and_waited_for() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("events.ndjson");
    let mut pipe = hang(&path);
    let keys = format!(
        "{{file: {{path: '{}', from: earliest, timeout_ms: 50, \
         retry: {{initial_backoff_ms: 5, max_backoff_ms: 20}}, \
         circuit_breaker: {{failure_threshold: 1, open_ms: 20}}}}}}",
        path.display()
    );
    let engine = start(dir.path(), &keys, 5);
    wait_until("it is told", || {
        let status = engine.status();
        let told = status.exporters[0].last_error.as_ref();
        told.is_some_and(|(_, error)| error.contains("the disk has not taken"))
    });
    assert_eq!(engine.status().exporters[0].pending, 150);
    fs::remove_file(&path).expect("ours");
    let reading = thread::spawn(move || {
        let mut read = vec![0; 1 << 20];
        wait_until("what hung goes on", || pipe.read(&mut read).is_err() && path.exists());
        path
    });
    let ended = engine.drain(Instant::now() + PATIENCE);
    let status = assert_equation(engine.end());
    assert_eq!(ended, Ended::Settled, "{status:?}");
    let path = reading.join().expect("it went on");
    assert_eq!(fs::read_to_string(path).expect("it is there").lines().count(), 150);
}

#[test]
fn two_exporters_do_not_write_one_file() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("events.ndjson");
    // A configuration that names one path twice is refused; a link says the same in other words.
    std::os::unix::fs::symlink(dir.path(), dir.path().join("link")).expect("ours");
    let other = dir.path().join("link/events.ndjson");
    let keys = |path: &Path| format!("{{path: '{}', from: earliest}}", path.display());
    let exporters = format!("{{file_a: {}, file_b: {}}}", keys(&path), keys(&other));
    let engine = start(dir.path(), &exporters, 5);
    let does_one_write = || {
        let status = engine.status();
        let refused = status.exporters.iter().filter_map(|it| it.last_error.as_ref());
        let said = refused.filter(|(_, text)| text.contains("another exporter")).count();
        let delivered: u64 = status.exporters.iter().map(|it| it.counts.delivered).sum();
        said == 1 && delivered == 150
    };
    assert!(comes_true(does_one_write), "{:?}", engine.status());
    drop(assert_equation(engine.end()));
    let text = fs::read_to_string(path).expect("it is there");
    assert_eq!(ids(&text).len(), 150, "one of them wrote, and the other waits");
}

#[test]
fn documents_that_lack_what_their_schema_asks_for_are_counted() {
    /// A schema whose documents never have what it asks for.
    static LACKING: Schema = Schema {
        name: "lacking",
        layout: Layout::Table(&[row("id", Event(FieldId::EventId, value))]),
        check: Some(|document| !document.starts_with(b"{\"id\":")),
        ..Schema::BASE
    };
    for (validate, lacks, looked_at) in [
        ("all", false, 3000..=3000),
        ("all", true, 3000..=3000),
        ("off", true, 0..=0),
        // One of a hundred, by offset.
        ("sample", true, 10..=90),
    ] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("events.ndjson");
        let keys = format!(
            "{{file: {{path: '{}', from: earliest, format: ocsf}}}}\n\
             schema: {{validate: {validate}}}",
            path.display()
        );
        let (log, mut options) = prepare(dir.path(), &keys, 100);
        if lacks {
            options.exporters[0].document = &LACKING;
        }
        let engine = Engine::start(log, options).expect("it starts");
        assert_eq!(engine.drain(Instant::now() + PATIENCE), Ended::Settled);
        let status = assert_equation(engine.end());
        let found = &status.exporters[0];
        assert!(looked_at.contains(&found.schema_checked), "{validate}: {found:?}");
        assert_eq!(found.schema_invalid, if lacks { found.schema_checked } else { 0 });
        assert_eq!(found.counts.delivered, 3000, "looking changes nothing");
        assert_eq!(found.schema_left_out, 0, "OCSF has a place for everything");
    }
}

#[test]
fn what_a_schema_has_no_place_for_is_counted() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let keys = format!(
        "{{file: {{path: '{}', from: earliest, format: cef}}}}\nschema: {{validate: all}}",
        dir.path().join("events.cef").display()
    );
    let (log, options) = prepare(dir.path(), &keys, 10);
    let engine = Engine::start(log, options).expect("it starts");
    assert_eq!(engine.drain(Instant::now() + PATIENCE), Ended::Settled);
    let found = &assert_equation(engine.end()).exporters[0];
    let (without, all) = (found.schema_left_out, found.schema_checked);
    assert!(without > 0 && without <= all, "{without} of {all} have metadata or labels");
}

#[test]
fn a_path_that_is_none_is_refused() {
    for keys in ["", "path: events.ndjson", "path: /"] {
        let text = format!("exporters: {{file: {{{keys}}}}}");
        let text = Text::File { name: "test".to_owned(), text: text.into() };
        let error = Config::load(&text, &Flags::default(), vendors::ALL, &System).map(|_| ());
        let error = error.expect_err(keys).to_string();
        assert!(error.contains("expected the absolute path of a file"), "{keys}: {error}");
    }
}
