//! Events over a Unix socket: lines, from any number of programs at once.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
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
    connections: Mutex<usize>,
    /// A connection ended, or the input does.
    ended: Condvar,
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
            connections: Mutex::default(),
            ended: Condvar::new(),
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
        self.shared.stop();
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

fn accept(listener: &UnixListener, shared: &Arc<Shared>) {
    // A sender that tries again and again must not fill the log of the process.
    let mut is_refusal_told = false;
    let mut is_crowd_told = false;
    loop {
        // Those that are beyond wait in the socket's queue, and so does what they wrote.
        if shared.is_full() && !std::mem::replace(&mut is_crowd_told, true) {
            warn!(input = shared.name, most = CONNECTIONS_MAX, "further connections wait");
        }
        if !shared.wait_for_room() {
            return;
        }
        let accepted = listener.accept();
        if shared.is_stopped.load(Ordering::Acquire) {
            return;
        }
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                if !std::mem::replace(&mut is_refusal_told, true) {
                    warn!(input = shared.name, %error, "cannot accept a connection; tried again");
                }
                std::thread::sleep(ACCEPT_PAUSE);
                continue;
            }
        };
        is_refusal_told = false;
        let mut connections = shared.connections();
        // Where they come and go at the bound, it is one crowd.
        is_crowd_told &= *connections > CONNECTIONS_MAX / 2;
        *connections += 1;
        drop(connections);
        let serving = Arc::clone(shared);
        let spawned = std::thread::Builder::new()
            .name("shrike-unix".to_owned())
            .spawn(move || serving.read(stream));
        if let Err(error) = spawned {
            shared.leave();
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
        self.leave();
    }

    /// Waits until one connection more may be read; false where the input ends.
    fn wait_for_room(&self) -> bool {
        let is_full = |connections: &mut usize| {
            *connections >= CONNECTIONS_MAX && !self.is_stopped.load(Ordering::Acquire)
        };
        let waited = self.ended.wait_while(self.connections(), is_full);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        !self.is_stopped.load(Ordering::Acquire)
    }

    fn is_full(&self) -> bool {
        *self.connections() >= CONNECTIONS_MAX
    }

    fn leave(&self) {
        *self.connections() -= 1;
        self.ended.notify_all();
    }

    fn stop(&self) {
        // Held, so that nobody looks before and waits after.
        let _held = self.connections();
        self.is_stopped.store(true, Ordering::Release);
        self.ended.notify_all();
    }

    fn connections(&self) -> MutexGuard<'_, usize> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connections that are read at a time, each with a thread and a buffer of its own.
const CONNECTIONS_MAX: usize = 64;
/// After a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
