//! Events over a Unix socket: lines, from any number of programs at once.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::warn;

use super::shared::SharedDoor;
use super::stream::Account;

/// A listening socket and its threads; dropping it removes the socket.
#[derive(Debug)]
pub struct UnixInput {
    path: PathBuf,
    inode: u64,
    listener: Arc<UnixListener>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    door: SharedDoor,
    name: String,
    format: Option<&'static str>,
    account: Mutex<Account>,
    connections: AtomicUsize,
    is_stopped: AtomicBool,
}

impl UnixInput {
    /// Listens at a path; a socket there that nobody answers is replaced.
    ///
    /// # Errors
    /// When the socket cannot be made, or another process listens there.
    pub fn start(path: &Path, format: Option<&'static str>, door: SharedDoor) -> io::Result<Self> {
        let listener = Arc::new(listen(path)?);
        let inode = fs::metadata(path)?.ino();
        let shared = Arc::new(Shared {
            door,
            name: path.display().to_string(),
            format,
            account: Mutex::default(),
            connections: AtomicUsize::new(0),
            is_stopped: AtomicBool::new(false),
        });
        let (accepting, serving) = (Arc::clone(&listener), Arc::clone(&shared));
        let thread = std::thread::Builder::new()
            .name("shrike-unix".to_owned())
            .spawn(move || accept(&accepting, &serving))?;
        Ok(Self { path: path.to_owned(), inode, listener, shared, thread: Some(thread) })
    }

    /// What became of everything so far.
    #[must_use]
    pub fn account(&self) -> Account {
        *self.shared.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnixInput {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::Release);
        // Linux wakes a thread that waits in accept when its socket is shut down. At the path there
        // may be another one by now.
        let woken = rustix::net::shutdown(&*self.listener, rustix::net::Shutdown::Both).is_ok();
        if fs::metadata(&self.path).is_ok_and(|it| it.ino() == self.inode) {
            // Nothing is lost if it stays: the next process replaces it.
            let _stays = fs::remove_file(&self.path);
        }
        if let (true, Some(thread)) = (woken, self.thread.take()) {
            let _ended = thread.join();
        }
    }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_socket());
    if is_socket {
        if UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there"));
        }
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    // Programs of the same group may send.
    fs::set_permissions(path, Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// What was told of connections that were not taken, since one was.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Refusal,
    TooMany,
}

fn accept(listener: &UnixListener, shared: &Arc<Shared>) {
    // A sender that tries again and again must not fill the log of the process.
    let mut told = Told::Nothing;
    for stream in listener.incoming() {
        if shared.is_stopped.load(Ordering::Acquire) {
            return;
        }
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                if std::mem::replace(&mut told, Told::Refusal) != Told::Refusal {
                    warn!(input = shared.name, %error, "cannot accept a connection; tried again");
                }
                std::thread::sleep(ACCEPT_PAUSE);
                continue;
            }
        };
        if shared.connections.fetch_add(1, Ordering::AcqRel) >= CONNECTIONS_MAX {
            shared.connections.fetch_sub(1, Ordering::AcqRel);
            if std::mem::replace(&mut told, Told::TooMany) != Told::TooMany {
                warn!(input = shared.name, most = CONNECTIONS_MAX, "too many connections");
            }
            continue;
        }
        told = Told::Nothing;
        let serving = Arc::clone(shared);
        let spawned = std::thread::Builder::new()
            .name("shrike-unix".to_owned())
            .spawn(move || serving.read(stream));
        if let Err(error) = spawned {
            shared.connections.fetch_sub(1, Ordering::AcqRel);
            warn!(input = shared.name, %error, "cannot start a thread for a connection");
        }
    }
}

impl Shared {
    /// Reads one connection to its end.
    fn read(&self, mut stream: UnixStream) {
        let mut before = Account::default();
        let show = |account: Account| {
            let mut all = self.account.lock().unwrap_or_else(PoisonError::into_inner);
            *all = all.plus(account).minus(before);
            before = account;
        };
        let read = self.door.read(&self.name, &mut stream, self.format, &self.is_stopped, show);
        if let Err(error) = read {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            warn!(input = self.name, %error, cause, "a connection ended early");
        }
        self.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Connections at a time, each with a thread and a buffer of its own.
const CONNECTIONS_MAX: usize = 64;
/// After a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
