//! The socket between commands and a running process.

#[path = "support/wait.rs"]
mod wait;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use shrike::control::{
    APPEND_BYTES_MAX, Answer, Appended, Change, Client, CursorStatus, Error, ExporterStatus,
    ReloadReport, Request, Rewind, Serve, Server, Status, Target, socket,
};
use shrike::intake::{Retried, WantedLines};
use shrike::pipeline::{Alert, AlertChange, AlertList, Progress, Wanted};
use wait::wait_until;

/// Keeps what it is given.
#[derive(Default)]
struct Kept {
    appended: Mutex<Vec<u8>>,
    rewound: Mutex<Vec<(String, Rewind)>>,
    noted: Mutex<Vec<(String, Result<Answer, String>)>>,
    /// Whether it panics when it is asked for its status.
    is_broken: AtomicBool,
}

impl Serve for Kept {
    fn status(&self) -> Result<Status, String> {
        assert!(!self.is_broken.load(Ordering::Relaxed), "on purpose");
        let exporter = ExporterStatus {
            name: "tower".to_owned(),
            state: "circuit_open".to_owned(),
            lag_seconds: 1.5,
            ..ExporterStatus::default()
        };
        Ok(Status { version: "1".to_owned(), exporters: vec![exporter], ..Status::default() })
    }

    fn cursors(&self, exporter: Option<&str>) -> Result<Vec<CursorStatus>, String> {
        match exporter {
            None | Some("tower") => {
                Ok(vec![CursorStatus { exporter: "tower".to_owned(), ..CursorStatus::default() }])
            }
            Some(other) => Err(format!("no exporter {other}; there is: tower")),
        }
    }

    fn rewind(&self, exporter: &str, wanted: Rewind) -> Result<CursorStatus, String> {
        self.rewound.lock().expect("no test panics in here").push((exporter.to_owned(), wanted));
        Ok(CursorStatus { pass: 2, ..CursorStatus::default() })
    }

    fn replay(
        &self,
        exporter: &str,
        wanted: &Wanted,
        rate: Option<u32>,
    ) -> Result<Progress, String> {
        let letters = wanted.class.as_ref().map_or(0, |class| class.len() as u64);
        match exporter {
            "tower" => Ok(Progress {
                is_running: true,
                wanted: letters,
                sent: u64::from(rate.unwrap_or(0)),
                ..Progress::default()
            }),
            other => Err(format!("no exporter {other}")),
        }
    }

    fn replayed(&self, _exporter: &str) -> Result<Progress, String> {
        Ok(Progress { delivered: 3, ..Progress::default() })
    }

    fn purge(&self, _exporter: &str, wanted: &Wanted) -> Result<u64, String> {
        Ok(wanted.since.unwrap_or(0))
    }

    fn reload(&self, actor: &str) -> Result<ReloadReport, String> {
        Ok(ReloadReport { changes: vec![actor.to_owned()], ..ReloadReport::default() })
    }

    fn config(&self) -> Result<String, String> {
        Ok("exporters:\n".to_owned())
    }

    fn change(&self, exporter: &str, change: Change, actor: &str) -> Result<String, String> {
        match exporter {
            "tower" => Ok(format!("{change:?} by {actor}")),
            other => Err(format!("no exporter {other}")),
        }
    }

    fn alerts(&self, exporter: &str, prefix: &str, limit: u32) -> Result<AlertList, String> {
        let alert = Alert { key: format!("{exporter} {prefix}"), ..Alert::default() };
        Ok(AlertList { open: u64::from(limit), alerts: vec![alert] })
    }

    fn alert(&self, exporter: &str, key: &str, change: AlertChange) -> Result<u64, String> {
        match (exporter, change) {
            ("tower", AlertChange::Acknowledge) => Ok(key.len() as u64),
            _ => Err(format!("{exporter}: {key} not resolved")),
        }
    }

    fn retry(&self, wanted: &WantedLines) -> Result<Retried, String> {
        Ok(Retried { wanted: wanted.id.unwrap_or(0), ..Retried::default() })
    }

    fn note(&self, by: &str, request: &Request, outcome: &Result<Answer, String>) {
        let mut noted = self.noted.lock().expect("no test panics in here");
        if matches!(request, Request::Purge { .. }) {
            noted.push((by.to_owned(), outcome.clone()));
        }
    }

    fn append(&self, lines: &[u8]) -> Result<Appended, String> {
        self.appended.lock().expect("no test panics in here").extend_from_slice(lines);
        let appended = u64::try_from(lines.iter().filter(|&&b| b == b'\n').count()).expect("few");
        Ok(Appended { appended, ..Appended::default() })
    }
}

fn serve(dir: &Path) -> (Server, Arc<Kept>) {
    let kept = Arc::new(Kept::default());
    let server = Server::open(dir, kept.clone()).expect("a fresh directory takes a socket");
    (server, kept)
}

fn client(dir: &Path) -> Client {
    Client::connect(dir).expect("the socket is ours").expect("the server listens")
}

/// One line sent as it is, one line back.
fn raw(dir: &Path, line: &[u8]) -> String {
    let mut stream = UnixStream::connect(socket(dir)).expect("the server listens");
    stream.write_all(line).expect("the server reads");
    stream.shutdown(std::net::Shutdown::Write).expect("the socket is open");
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).expect("the server answers");
    answer
}

#[test]
fn every_request_is_answered_on_one_connection() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_server, kept) = serve(dir.path());
    let mut client = client(dir.path());
    let status = client.status().expect("a status");
    assert_eq!(status.exporters[0].state, "circuit_open");
    assert_eq!(client.cursors(None).expect("cursors")[0].exporter, "tower");
    let to = Target::Time(1_700_000_000_000_000_000);
    let rewinds = [false, true].map(|really_alert| Rewind { to, really_alert });
    for wanted in rewinds {
        assert_eq!(client.rewind("tower", wanted).expect("a cursor")[0].pass, 2);
    }
    let uid = rustix::process::getuid().as_raw();
    let report = client.reload().expect("a report");
    let by = format!("user {uid}, process {}", std::process::id());
    assert_eq!(report.changes, std::slice::from_ref(&by), "who asks is known");
    let rewound = rewinds.map(|wanted| ("tower".to_owned(), wanted));
    assert_eq!(*kept.rewound.lock().expect("no panics"), rewound);
    let wanted = Wanted { class: Some("four".to_owned()), since: Some(9), ..Wanted::default() };
    let begun = client.replay("tower", &wanted, Some(5)).expect("it begins");
    assert_eq!((begun.is_running, begun.wanted, begun.sent), (true, 4, 5));
    assert_eq!(client.replayed("tower").expect("it says").delivered, 3);
    assert_eq!(client.purge("tower", &wanted).expect("it does"), 9);
    assert_eq!(*kept.noted.lock().expect("no panics"), [(by, Ok(Answer::Purged(9)))]);
    assert_eq!(client.config().expect("it says"), "exporters:\n");
    let changed = client.change("tower", Change::Pause).expect("it does");
    assert!(changed.starts_with("Pause by user "), "{changed}");
    let listed = client.alerts("tower", "a:", u32::MAX).expect("it says");
    assert_eq!((listed.open, listed.alerts[0].key.as_str()), (1000, "tower a:"), "bounded");
    assert_eq!(client.alert("tower", "a:b", AlertChange::Acknowledge).expect("it does"), 3);
    let refused = client.alert("tower", "a:b", AlertChange::Resolve).expect_err("it does not");
    assert_eq!(refused.to_string(), "tower: a:b not resolved");
    let lines = WantedLines { id: Some(7), ..WantedLines::default() };
    assert_eq!(client.retry(&lines).expect("it does").wanted, 7);
    assert!(client.replay("towr", &wanted, None).is_err());
    for lines in [&b"{}\n{}\n"[..], b"{}\n", b""] {
        let count = lines.iter().filter(|&&b| b == b'\n').count();
        assert_eq!(client.append(lines).expect("appended").appended, count as u64);
    }
    assert_eq!(*kept.appended.lock().expect("no panics"), b"{}\n{}\n{}\n");
}

#[test]
fn a_refusal_is_told_and_the_connection_lives_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_server, _) = serve(dir.path());
    let mut client = client(dir.path());
    let refused = client.cursors(Some("towr")).expect_err("there is no such exporter");
    assert_eq!(refused.to_string(), "no exporter towr; there is: tower");
    assert!(client.status().is_ok());
}

#[test]
fn only_the_owner_may_connect() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_server, _) = serve(dir.path());
    let mode = std::fs::metadata(socket(dir.path())).expect("it exists").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn nobody_listens_before_and_after() {
    let dir = tempfile::tempdir().expect("a directory");
    assert!(Client::connect(dir.path()).expect("no socket is no error").is_none());
    let (server, _) = serve(dir.path());
    drop(server);
    assert!(Client::connect(dir.path()).expect("no socket is no error").is_none());
    assert_eq!(std::fs::read_dir(dir.path()).expect("a directory").count(), 0, "nothing is left");
}

#[test]
fn the_socket_of_a_dead_process_is_replaced() {
    let dir = tempfile::tempdir().expect("a directory");
    drop(UnixListener::bind(socket(dir.path())).expect("a fresh directory"));
    assert!(Client::connect(dir.path()).expect("a dead socket is no error").is_none());
    let (_server, _) = serve(dir.path());
    assert!(client(dir.path()).status().is_ok());
}

#[test]
fn a_successor_keeps_its_socket_when_its_predecessor_goes() {
    let dir = tempfile::tempdir().expect("a directory");
    let (first, _) = serve(dir.path());
    let (_second, _) = serve(dir.path());
    drop(first);
    assert!(client(dir.path()).status().is_ok());
}

/// Whoever tidies up a directory may take the socket for a leftover.
#[test]
fn a_socket_that_is_removed_is_made_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let (server, _) = serve(dir.path());
    let mut before = client(dir.path());
    for _ in 0..2 {
        std::fs::remove_file(socket(dir.path())).expect("it is there");
        let connect = || Client::connect(dir.path()).expect("no socket is no error");
        wait_until("it is made again", || connect().is_some());
        assert!(client(dir.path()).status().is_ok());
        let mode = std::fs::metadata(socket(dir.path())).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    assert!(before.status().is_ok(), "who was connected stays so");
    drop((before, server));
    assert_eq!(std::fs::read_dir(dir.path()).expect("a directory").count(), 0, "nothing is left");
}

#[test]
fn nonsense_is_refused_with_its_reason() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_server, _) = serve(dir.path());
    let long = [vec![b' '; 65 << 10], b"\n".to_vec()].concat();
    let append =
        format!("{{\"v\":1,\"request\":{{\"append\":{{\"bytes\":{}}}}}}}\n", APPEND_BYTES_MAX + 1);
    let cases: &[(&[u8], &str)] = &[
        (b"{\"v\":2,\"request\":\"fly\"}\n", "protocol version 2, expected 1"),
        (b"{\"v\":1,\"request\":\"fly\"}\n", "no request: unknown variant `fly`"),
        (b"{\"v\":1,\"request\":\"status\",\"more\":1}\n", "no request: unknown field `more`"),
        (b"hello\n", "no request: "),
        (b"{\"v\":1,\"request\":\"status\"}", "expected a line of at most 65536 bytes"),
        (&long, "expected a line of at most 65536 bytes"),
        (append.as_bytes(), "8388609 bytes in one request, at most 8388608"),
    ];
    for (line, expected) in cases {
        let answer = raw(dir.path(), line);
        let shown = String::from_utf8_lossy(&line[..line.len().min(80)]);
        assert!(answer.contains(expected), "{shown}: {answer}");
        assert!(answer.contains("\"v\":1"), "{answer}");
    }
}

#[test]
fn an_append_that_is_too_long_is_refused_before_it_is_sent() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_server, kept) = serve(dir.path());
    let lines = vec![b'x'; APPEND_BYTES_MAX as usize + 1];
    let refused = client(dir.path()).append(&lines).expect_err("too long");
    assert!(matches!(refused, Error::Refused(_)), "{refused}");
    assert!(kept.appended.lock().expect("no panics").is_empty());
}

#[test]
fn half_an_append_changes_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_server, kept) = serve(dir.path());
    let mut stream = UnixStream::connect(socket(dir.path())).expect("the server listens");
    let text = b"{\"v\":1,\"request\":{\"append\":{\"bytes\":100}}}\n{}\n{}\n";
    stream.write_all(text).expect("the server reads");
    stream.shutdown(std::net::Shutdown::Write).expect("the socket is open");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the server closes");
    assert_eq!(answer, b"");
    assert!(kept.appended.lock().expect("no panics").is_empty());
}

#[test]
fn too_many_commands_are_told_to_come_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_server, _) = serve(dir.path());
    let mut clients: Vec<Client> = (0..16).map(|_| client(dir.path())).collect();
    for client in &mut clients {
        client.status().expect("sixteen may talk at once");
    }
    let refused = client(dir.path()).status().expect_err("the seventeenth may not");
    assert!(refused.to_string().contains("already connected"), "{refused}");
}

#[test]
fn whoever_panics_gives_its_place_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_server, kept) = serve(dir.path());
    kept.is_broken.store(true, Ordering::Relaxed);
    for _ in 0..40 {
        let problem = client(dir.path()).status().expect_err("it panics").to_string();
        assert!(problem.contains("ended before it answered"), "{problem}");
    }
    kept.is_broken.store(false, Ordering::Relaxed);
    client(dir.path()).status().expect("all the others have gone");
}

#[test]
fn a_socket_that_cannot_take_its_place_leaves_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(socket(dir.path())).expect("in the way");
    let kept = Arc::new(Kept::default());
    Server::open(dir.path(), kept).expect_err("a directory has its name");
    let left = std::fs::read_dir(dir.path()).expect("readable").count();
    assert_eq!(left, 1, "only what was in the way");
}

/// A process closes what is quiet for a minute, and a pipe may be quiet for longer.
#[test]
fn a_connection_that_was_closed_while_it_was_quiet_is_made_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let listener = UnixListener::bind(socket(dir.path())).expect("the directory is ours");
    let mut client = client(dir.path());
    drop(listener.accept().expect("it is connected"));
    let answering = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("it connects again");
        let mut asked = BufReader::new(stream.try_clone().expect("there are descriptors"));
        let mut request = String::new();
        asked.read_line(&mut request).expect("it asks");
        let mut lines = [0; 6];
        asked.read_exact(&mut lines).expect("the lines follow");
        let answer = "{\"v\":1,\"ok\":{\"appended\":{\"appended\":2,\"duplicates\":0,\
                      \"rejected\":0,\"first_rejected\":[],\"durable\":9}}}\n";
        (&stream).write_all(answer.as_bytes()).expect("it reads");
        (request, lines)
    });
    let appended = client.append(b"{}\n{}\n").expect("it is asked again");
    assert_eq!((appended.appended, appended.durable), (2, 9));
    let (request, lines) = answering.join().expect("it answers");
    assert_eq!(request, "{\"v\":1,\"request\":{\"append\":{\"bytes\":6}}}\n");
    assert_eq!(&lines, b"{}\n{}\n");
}

#[test]
fn a_process_that_ends_before_it_answers_is_told_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let listener = UnixListener::bind(socket(dir.path())).expect("the directory is ours");
    let closing = std::thread::spawn(move || drop(listener.accept()));
    let mut client = client(dir.path());
    let problem = client.status().expect_err("nobody answers").to_string();
    closing.join().expect("it only closes");
    assert!(problem.contains("ended before it answered"), "{problem}");
    let again = client.status().expect_err("nobody is there").to_string();
    assert!(again.contains("ended before it answered"), "{again}");
}
