//! The running process's side of the socket.

use std::fs::{self, Permissions};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use tracing::warn;

use super::protocol::{Answered, Asked, Outcome, REQUEST_BYTES_MAX};
use super::{
    ALERTS_MAX, APPEND_BYTES_MAX, Answer, Appended, Change, CursorStatus, Error, ReloadReport,
    Request, Rewind, Status, VERSION, socket,
};
use crate::intake::{Retried, WantedLines};
use crate::pipeline::{AlertChange, AlertList, Progress, Wanted};

/// What the running process does for commands; errors are sentences for the operator.
pub trait Serve: Send + Sync + 'static {
    /// How everything is.
    ///
    /// # Errors
    /// When the process is about to end.
    fn status(&self) -> Result<Status, String>;

    /// Where an exporter is, or all of them.
    ///
    /// # Errors
    /// When there is no such exporter.
    fn cursors(&self, exporter: Option<&str>) -> Result<Vec<CursorStatus>, String>;

    /// Begins a new pass of an exporter.
    ///
    /// # Errors
    /// When there is no such exporter or position, or it is a response hook that is to act on old
    /// events.
    fn rewind(&self, exporter: &str, wanted: Rewind) -> Result<CursorStatus, String>;

    /// Begins to send dead letters again.
    ///
    /// # Errors
    /// When there is no such exporter, or a replay is running.
    fn replay(
        &self,
        exporter: &str,
        wanted: &Wanted,
        rate: Option<u32>,
    ) -> Result<Progress, String>;

    /// How far the last replay is.
    ///
    /// # Errors
    /// When there is no such exporter.
    fn replayed(&self, exporter: &str) -> Result<Progress, String>;

    /// Removes dead letters for ever; says how many.
    ///
    /// # Errors
    /// When there is no such exporter, or its store cannot be written.
    fn purge(&self, exporter: &str, wanted: &Wanted) -> Result<u64, String>;

    /// Reads the configuration again and runs what it says; `actor` is who asked.
    ///
    /// # Errors
    /// When it is wrong: nothing has changed then.
    fn reload(&self, actor: &str) -> Result<ReloadReport, String>;

    /// The configuration that is in effect, as YAML without secrets.
    ///
    /// # Errors
    /// When the process is about to end.
    fn config(&self) -> Result<String, String>;

    /// Changes how an exporter runs; says how it is then, in a word.
    ///
    /// # Errors
    /// When there is no such exporter.
    fn change(&self, exporter: &str, change: Change, actor: &str) -> Result<String, String>;

    /// The open incidents of an exporter whose keys begin so, at most so many.
    ///
    /// # Errors
    /// When there is no such exporter, or it keeps no incidents.
    fn alerts(&self, exporter: &str, prefix: &str, limit: u32) -> Result<AlertList, String>;

    /// Asks a destination for a change of the incidents with a key; says how many have it.
    ///
    /// # Errors
    /// When there is no such exporter, it keeps no incidents, or the destination does not do it.
    fn alert(&self, exporter: &str, key: &str, change: AlertChange) -> Result<u64, String>;

    /// Appends lines and returns once they are durable.
    ///
    /// # Errors
    /// When the log cannot take them.
    fn append(&self, lines: &[u8]) -> Result<Appended, String>;

    /// Appends refused lines that are events now, and takes them out of quarantine.
    ///
    /// # Errors
    /// When the quarantine cannot be read, or the log cannot take them.
    fn retry(&self, wanted: &WantedLines) -> Result<Retried, String>;

    /// Is told what was asked, by whom, and what came of it.
    fn note(&self, _by: &str, _request: &Request, _outcome: &Result<Answer, String>) {}
}

/// The socket and its threads; dropping it removes the socket.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    listening: Arc<Mutex<Listening>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// The socket as it is now.
#[derive(Debug)]
struct Listening {
    listener: Arc<UnixListener>,
    inode: u64,
}

impl Server {
    /// Listens in this directory; the caller holds the log's lock, so a socket that is already
    /// there belongs to a process that is gone.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn open(state_dir: &Path, serve: Arc<dyn Serve>) -> Result<Self, Error> {
        let path = socket(state_dir);
        let io = |source| Error::Io { path: path.clone(), source };
        let listening = Arc::new(Mutex::new(listen(&path).map_err(io)?));
        let stop = Arc::new(AtomicBool::new(false));
        let accepting = Accept {
            path: path.clone(),
            listening: listening.clone(),
            serve,
            stop: stop.clone(),
            open: Arc::default(),
            has_told: false,
        };
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || accepting.run())
            .map_err(io)?;
        Ok(Self { path, listening, stop, thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        // Linux wakes a thread that waits for a socket when that is shut down.
        let woken = rustix::net::shutdown(&*listening.listener, rustix::net::Shutdown::Both);
        let woken = woken.is_ok();
        let is_ours = fs::metadata(&self.path).is_ok_and(|meta| meta.ino() == listening.inode);
        drop(listening);
        if is_ours {
            // Nothing is lost if it stays: the next process replaces it.
            let _ = fs::remove_file(&self.path);
        }
        if let (true, Some(thread)) = (woken, self.thread.take()) {
            let _ = thread.join();
        }
    }
}

/// Binds under another name, narrows the mode, then moves the socket into place: nobody can
/// connect in between, and a dead process's socket is replaced in one step.
fn listen(path: &Path) -> io::Result<Listening> {
    let early = path.with_extension(format!("{}", std::process::id()));
    match fs::remove_file(&early) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&early)?;
    // What is ready may be gone when it is taken.
    listener.set_nonblocking(true)?;
    let moved = || {
        fs::set_permissions(&early, Permissions::from_mode(0o600))?;
        let inode = fs::metadata(&early)?.ino();
        fs::rename(&early, path).map(|()| inode)
    };
    match moved() {
        Ok(inode) => Ok(Listening { listener: Arc::new(listener), inode }),
        Err(error) => {
            // What kept it from its place is told, not that it may stay here.
            let _ = fs::remove_file(&early);
            Err(error)
        }
    }
}

/// One of the connections, counted while it lasts, whatever ends it.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Takes connections until it is told to stop.
struct Accept {
    path: PathBuf,
    listening: Arc<Mutex<Listening>>,
    serve: Arc<dyn Serve>,
    stop: Arc<AtomicBool>,
    /// Connections that last.
    open: Arc<AtomicUsize>,
    /// Whether it was told that something does not go on.
    has_told: bool,
}

impl Accept {
    fn run(mut self) {
        let mut listener = self.listener();
        while !self.stop.load(Ordering::Acquire) {
            let mut fds = [PollFd::new(&*listener, PollFlags::IN)];
            let ready = rustix::event::poll(&mut fds, Some(&LOOK_INTERVAL));
            match ready.map(|ready| (ready > 0).then(|| listener.accept())) {
                Ok(Some(Ok((stream, _)))) => {
                    self.has_told = false;
                    self.take(stream);
                }
                Ok(Some(Err(problem))) => self.wait(&problem),
                Ok(None) => {
                    self.look();
                    listener = self.listener();
                }
                Err(problem) => self.wait(&problem.into()),
            }
        }
    }

    fn listener(&self) -> Arc<UnixListener> {
        self.listening.lock().unwrap_or_else(PoisonError::into_inner).listener.clone()
    }

    /// After something that passes by itself.
    fn wait(&mut self, problem: &io::Error) {
        if self.stop.load(Ordering::Acquire) || is_passing(problem) {
            return;
        }
        // Out of descriptors, usually: others end, and it goes on.
        if !std::mem::replace(&mut self.has_told, true) {
            warn!(%problem, "a command cannot be taken; tried again");
        }
        std::thread::sleep(ACCEPT_PAUSE);
    }

    /// Makes the socket again where somebody has removed it; another one in its place stays.
    fn look(&mut self) {
        let is_gone = fs::symlink_metadata(&self.path)
            .is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        if !is_gone {
            return;
        }
        let mut listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        if self.stop.load(Ordering::Acquire) {
            return;
        }
        let socket = self.path.display();
        match listen(&self.path) {
            Ok(again) => {
                *listening = again;
                self.has_told = false;
                warn!(%socket, "the control socket was removed; it is made again");
            }
            Err(problem) => {
                if !std::mem::replace(&mut self.has_told, true) {
                    warn!(%socket, %problem, "the control socket is gone; tried again");
                }
            }
        }
    }

    /// Answers a connection on a thread of its own.
    fn take(&self, stream: UnixStream) {
        let place = Place(self.open.clone());
        if self.open.fetch_add(1, Ordering::AcqRel) >= CONNECTIONS_MAX {
            let busy = format!("{CONNECTIONS_MAX} commands are already connected; try again");
            let _ = answer(&stream, Outcome::Error(busy));
            return;
        }
        let serve = self.serve.clone();
        // Where there is no thread, the place is given back here and the command sees the end.
        let _ = std::thread::Builder::new().name("command".to_owned()).spawn(move || {
            let _place = place;
            // A command that went away needs no answer.
            let _ = converse(&stream, &*serve);
        });
    }
}

/// Whether nothing is wrong: a signal came, or whoever connected is gone already.
fn is_passing(problem: &io::Error) -> bool {
    matches!(problem.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Answers requests until the command closes.
fn converse(stream: &UnixStream, serve: &dyn Serve) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_write_timeout(Some(IDLE))?;
    let by = peer(stream);
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    let mut records = Vec::new();
    loop {
        line.clear();
        (&mut reader).take(REQUEST_BYTES_MAX).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(());
        }
        let request = match parse(&line) {
            Ok(request) => request,
            Err(problem) => {
                // What follows cannot be told apart any more, so the connection ends.
                return answer(stream, Outcome::Error(problem));
            }
        };
        if let Request::Append { bytes } = request {
            let length = usize::try_from(bytes).expect("32 bits fit");
            records.resize(length, 0);
            reader.read_exact(&mut records)?;
        }
        let outcome = act(request.clone(), &records, &by, serve);
        serve.note(&by, &request, &outcome);
        let outcome = match outcome {
            Ok(done) => Outcome::Ok(done),
            Err(problem) => Outcome::Error(problem),
        };
        answer(stream, outcome)?;
    }
}

fn parse(line: &[u8]) -> Result<Request, String> {
    #[derive(serde::Deserialize)]
    struct Version {
        v: u32,
    }
    if !line.ends_with(b"\n") {
        return Err(format!("expected a line of at most {REQUEST_BYTES_MAX} bytes"));
    }
    // The version first: the rest of another version need not make sense here.
    let version: Version =
        serde_json::from_slice(line).map_err(|error| format!("no request: {error}"))?;
    if version.v != VERSION {
        return Err(format!("protocol version {}, expected {VERSION}", version.v));
    }
    let asked: Asked =
        serde_json::from_slice(line).map_err(|error| format!("no request: {error}"))?;
    match asked.request {
        Request::Append { bytes } if bytes > APPEND_BYTES_MAX => {
            Err(format!("{bytes} bytes in one request, at most {APPEND_BYTES_MAX}"))
        }
        request => Ok(request),
    }
}

/// Does what a request asks, for a command or a caller of the API.
pub(super) fn act(
    request: Request,
    records: &[u8],
    by: &str,
    serve: &dyn Serve,
) -> Result<Answer, String> {
    match request {
        Request::Status => serve.status().map(Answer::Status),
        Request::Cursors { exporter } => serve.cursors(exporter.as_deref()).map(Answer::Cursors),
        Request::Rewind { exporter, to, really_alert } => {
            let wanted = Rewind { to, really_alert };
            serve.rewind(&exporter, wanted).map(|cursor| Answer::Cursors(vec![cursor]))
        }
        Request::Replay { exporter, wanted, rate } => {
            serve.replay(&exporter, &wanted, rate).map(Answer::Replay)
        }
        Request::Replayed { exporter } => serve.replayed(&exporter).map(Answer::Replay),
        Request::Purge { exporter, wanted } => serve.purge(&exporter, &wanted).map(Answer::Purged),
        Request::Reload => serve.reload(by).map(Answer::Reloaded),
        Request::Config => serve.config().map(Answer::Config),
        Request::Change { exporter, change } => {
            serve.change(&exporter, change, by).map(Answer::Changed)
        }
        Request::Alerts { exporter, prefix, limit } => {
            serve.alerts(&exporter, &prefix, limit.min(ALERTS_MAX)).map(Answer::Alerts)
        }
        Request::Alert { exporter, key, change } => {
            serve.alert(&exporter, &key, change).map(Answer::Alert)
        }
        Request::Append { .. } => serve.append(records).map(Answer::Appended),
        Request::Retry { wanted } => serve.retry(&wanted).map(Answer::Retried),
    }
}

/// Who asks, as the kernel says.
fn peer(stream: &UnixStream) -> String {
    match rustix::net::sockopt::socket_peercred(stream) {
        Ok(peer) => {
            let (user, process) = (peer.uid.as_raw(), peer.pid.as_raw_pid());
            format!("user {user}, process {process}")
        }
        Err(_) => "somebody at the control socket".to_owned(),
    }
}

fn answer(mut stream: &UnixStream, answer: Outcome) -> io::Result<()> {
    let mut line = serde_json::to_vec(&Answered { v: VERSION, answer })?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// Commands at once; people and scripts need few.
const CONNECTIONS_MAX: usize = 16;
/// How long a connection may be quiet within a request or between two.
const IDLE: Duration = Duration::from_secs(60);
/// How often it is looked whether the socket is still there.
const LOOK_INTERVAL: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };
/// After a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
