//! What is said of paths, by key and place, before anything is opened.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use shrike::config::{Config, Flags, Looked, Text};
use shrike::config::{Lookup as _, System};
use shrike::vendors;

use crate::world::Fixed;

/// A directory with what tests find there.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().expect("a directory"));
        fs::write(place.path().join("file"), "text").expect("it is ours");
        fs::create_dir(place.path().join("dir")).expect("it is ours");
        drop(UnixListener::bind(place.path().join("socket")).expect("it is ours"));
        symlink("/nowhere/at/all", place.path().join("dangling")).expect("it is ours");
        place
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// What is found where a text names paths; `DIR` in it is this directory, also in answers.
    fn look(&self, text: &str) -> (Looked, String, String) {
        let dir = self.path().display().to_string();
        let text = text.replace("DIR", &dir);
        let text = Text::File { name: "c".to_owned(), text: text.into() };
        let config = Config::load(&text, &Flags::default(), vendors::ALL, &Fixed);
        let looked = config.expect("it has no other mistakes").look_at_paths();
        let plain = |text: String| text.replace(&dir, "DIR");
        let wrong = looked.wrong.as_ref().map(ToString::to_string).unwrap_or_default();
        let late = looked.late.join("\n");
        (looked, plain(wrong), plain(late))
    }
}

/// A text behind a state directory that can be made, and what is wrong with its paths.
const WRONG: &[(&str, &str)] = &[
    (
        "log: {dir: DIR/file/log}",
        "2:7: log.dir: cannot be made: DIR/file is no directory; name another place",
    ),
    (
        "log: {dir: DIR/dangling/log}",
        "2:7: log.dir: DIR/dangling is a link to nothing: make what it points to",
    ),
    (
        "pipeline: {quarantine: {path: DIR/file}}",
        "2:25: pipeline.quarantine.path: DIR/file is no directory; name another place",
    ),
    ("audit: {path: DIR/dir}", "2:9: audit.path: DIR/dir is a directory; name a file in it"),
    (
        "admin:\n  listen: 127.0.0.1:0\n  tls:\n    cert_path: DIR/file\n    key_path: DIR/no.pem",
        "5:5: admin.tls.cert_path: DIR/file holds no certificate in PEM form\n\
         c:6:5: admin.tls.key_path: DIR/no.pem is not there; put it there, or name another file",
    ),
    (
        "exporters: {file: {path: DIR/no/out}}",
        "2:20: exporters.file.path: the directory DIR/no: No such file or directory (os error 2); \
         make it, or name another",
    ),
    (
        "exporters: {stdout: {dlq: {path: DIR/file}}}",
        "2:28: exporters.stdout.dlq.path: DIR/file is no directory; name another place",
    ),
    (
        "exporters:\n  syslog:\n    address: h\n    transport: tls\n    tls:\n      cert: DIR/no\n      \
         key: DIR/file",
        "7:7: exporters.syslog.tls.cert: DIR/no is not there; put it there, or name another file\n\
         c:8:7: exporters.syslog.tls.key: DIR/file: no items found; expected a private key in PEM form",
    ),
    (
        "inputs: [{type: file, path: DIR/dir}]",
        "2:23: inputs[0].path: DIR/dir is a directory; name a file, or a pattern such as DIR/dir/*.jsonl",
    ),
    (
        "inputs: [{type: file, path: DIR/socket}]",
        "2:23: inputs[0].path: DIR/socket is no file that could be followed; a pipe is read with \
         `follow: false`",
    ),
    (
        "inputs: [{type: file, path: 'DIR/file/*'}]",
        "2:23: inputs[0].path: DIR/file is no directory; name another pattern",
    ),
    (
        "inputs: [{type: file, path: DIR/no, follow: false}]",
        "2:23: inputs[0].path: DIR/no is not there; put it there, or name another file",
    ),
    (
        "inputs: [{type: sqlite, path: DIR/file}]",
        "2:25: inputs[0].path: DIR/file is no SQLite database",
    ),
    (
        "inputs: [{type: unix, path: DIR/file}]",
        "2:23: inputs[0].path: DIR/file is there and is no socket; name another place",
    ),
    (
        "inputs: [{type: unix, path: DIR/no/sock}]",
        "2:23: inputs[0].path: the directory DIR/no: No such file or directory (os error 2); make \
         it, or name another",
    ),
    (
        "inputs:\n- type: http\n  tls:\n    cert_path: DIR/dir\n    key_path: DIR/file",
        "5:5: inputs[0].tls.cert_path: DIR/dir is a directory; name a file\n\
         c:6:5: inputs[0].tls.key_path: DIR/file: no items found; expected a private key in PEM form",
    ),
];

#[test]
fn a_path_that_cannot_be_used_is_told_by_its_key() {
    let place = Place::new();
    for (text, expected) in WRONG {
        let (_, wrong, late) = place.look(&format!("global: {{state_dir: DIR/state}}\n{text}\n"));
        assert_eq!(wrong, format!("c:{expected}"), "{text}");
        assert_eq!(late, "", "{text}");
    }
    assert!(!place.path().join("state").exists(), "looking makes nothing");
}

#[test]
fn one_mistake_about_the_state_directory_is_enough() {
    let place = Place::new();
    let text = "global: {state_dir: DIR/file/state}\nexporters:\n  stdout: {dlq: {path: DIR/file}}\n\
                \x20 file: {path: DIR/out}\n";
    let (looked, wrong, _) = place.look(text);
    assert_eq!(
        wrong,
        "c:1:10: global.state_dir: cannot be made: DIR/file is no directory; name another place\n\
         c:3:18: exporters.stdout.dlq.path: DIR/file is no directory; name another place"
    );
    assert!(
        looked.is_wrong_in("exporters.stdout") && !looked.is_wrong_in("exporters.file"),
        "{wrong}"
    );
}

#[test]
fn a_socket_has_a_short_path() {
    let place = Place::new();
    let long = "d".repeat(100);
    for (text, expected) in [
        (format!("global: {{state_dir: DIR/{long}}}"), "c:1:10: global.state_dir"),
        (
            format!("global: {{state_dir: DIR/s}}\ninputs: [{{type: unix, path: DIR/{long}}}]"),
            "c:2:23: inputs[0].path",
        ),
    ] {
        let (_, wrong, _) = place.look(&text);
        assert!(
            wrong.starts_with(&format!("{expected}: the path of the socket DIR/{long}")),
            "{wrong}"
        );
        assert!(wrong.ends_with("at most 107 are possible: name a shorter one"), "{wrong}");
    }
}

#[test]
fn an_input_that_is_not_there_may_still_come() {
    let place = Place::new();
    for (input, expected) in [
        ("type: file, path: DIR/late.jsonl", "DIR/late.jsonl is not there"),
        (
            "type: file, path: DIR/no/late.jsonl",
            "DIR/no/late.jsonl is not there, nor is its directory DIR/no",
        ),
        (
            "type: file, path: 'DIR/no/*.jsonl'",
            "DIR/no/*.jsonl is not there, nor is its directory DIR/no",
        ),
        ("type: sqlite, path: DIR/late.db", "DIR/late.db is not there"),
    ] {
        let (looked, wrong, late) =
            place.look(&format!("global: {{state_dir: DIR/state}}\ninputs: [{{{input}}}]\n"));
        let place = if input.contains("sqlite") { "2:25" } else { "2:23" };
        assert_eq!(
            late,
            format!("c:{place}: inputs[0].path: {expected}; it is read as soon as it appears")
        );
        assert_eq!(wrong, "");
        assert_eq!(looked.lines().count(), 1);
    }
}

#[test]
fn what_is_there_and_fits_is_not_mentioned() {
    let place = Place::new();
    fs::write(place.path().join("empty.db"), "").expect("it is ours");
    let text = "global: {state_dir: DIR/new/state}\ninputs:\n  - {type: file, path: DIR/file}\n  - \
                {type: file, path: 'DIR/*.jsonl'}\n  - {type: sqlite, path: DIR/empty.db}\n  - \
                {type: unix, path: DIR/sock}\nexporters: {file: {path: DIR/dir/out}}\n";
    let (looked, ..) = place.look(text);
    assert_eq!(looked.lines().collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn what_others_may_not_read_is_told_to_them() {
    let place = Place::new();
    let file = place.path().join("secret");
    fs::write(&file, "").expect("it is ours");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o000);
    fs::set_permissions(&file, mode).expect("it is ours");
    // Root may read everything; then there is nothing to tell.
    let may = fs::File::open(&file).is_ok();
    let text = "global: {state_dir: DIR/state}\ninputs: [{type: file, path: DIR/secret}]\n";
    let (_, wrong, _) = place.look(text);
    let user = rustix::process::getuid().as_raw();
    let told = format!(
        "c:2:23: inputs[0].path: DIR/secret cannot be read by user {user}: Permission denied (os \
         error 13); permit it to the user that shrike runs as"
    );
    assert_eq!(wrong, if may { String::new() } else { told });
}

#[test]
fn a_secret_is_not_waited_for_in_a_pipe() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("secret");
    let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
    rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).expect("a pipe");
    let found = System.file(&path).map_err(|error| error.to_string());
    assert_eq!(found, Err("is a pipe; expected a file".to_owned()));
}
