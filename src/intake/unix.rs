//! Events over a Unix socket: lines, from any number of programs at once.

use std::fs::{self, Permissions};
use std::io;
use std::net::Shutdown;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::warn;

use super::shared::SharedDoor;
use super::stream::{Account, Stream};

/// A listening socket and its threads; dropping it removes the socket, and takes what was written
/// to it until then.
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
    connections: Mutex<Vec<Arc<UnixStream>>>,
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

impl UnixInput {
    /// Takes no more than what was written until now, and tells what became of everything.
    #[must_use]
    pub fn end(mut self) -> Account {
        self.close();
        self.account()
    }

    fn close(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.shared.stop();
        // Linux wakes a thread that waits in accept when its socket is shut down, and still gives
        // it those that were connected by then. At the path there may be another one by now.
        let woken = rustix::net::shutdown(&*self.listener, rustix::net::Shutdown::Both).is_ok();
        if fs::metadata(&self.path).is_ok_and(|it| it.ino() == self.inode) {
            // Nothing is lost if it stays: the next process replaces it.
            let _stays = fs::remove_file(&self.path);
        }
        if woken {
            let _ended = thread.join();
        }
        self.shared.wait_for_end();
    }
}

impl Drop for UnixInput {
    fn drop(&mut self) {
        self.close();
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
        shared.wait_for_room();
        let stream = match listener.accept() {
            Ok((stream, _)) => Arc::new(stream),
            // None is left that was connected before.
            Err(_) if shared.is_stopped() => return,
            Err(error) => {
                if !std::mem::replace(&mut is_refusal_told, true) {
                    warn!(input = shared.name, %error, "cannot accept a connection; tried again");
                }
                std::thread::sleep(ACCEPT_PAUSE);
                continue;
            }
        };
        is_refusal_told = false;
        // Where they come and go at the bound, it is one crowd.
        is_crowd_told &= shared.enter(&stream) > CONNECTIONS_MAX / 2;
        let (serving, reading) = (Arc::clone(shared), Arc::clone(&stream));
        let spawned = std::thread::Builder::new()
            .name("shrike-unix".to_owned())
            .spawn(move || serving.read(&reading));
        if let Err(error) = spawned {
            shared.leave(&stream);
            warn!(input = shared.name, %error, "cannot start a thread for a connection");
        }
    }
}

impl Shared {
    /// Reads one connection to its end.
    fn read(&self, stream: &Arc<UnixStream>) {
        let mut before = Account::default();
        let show = |account: Account| {
            let mut all = self.account.lock().unwrap_or_else(PoisonError::into_inner);
            *all = all.plus(account).minus(before);
            before = account;
        };
        let lines = Stream::new(&self.name, 0).with_format(self.format);
        if let Err(error) = self.door.read_out(lines, &mut &**stream, &self.is_stopped, show) {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            warn!(input = self.name, %error, cause, "a connection ended early");
        }
        self.leave(stream);
    }

    /// Waits until one connection more may be read.
    fn wait_for_room(&self) {
        let is_full = |connections: &mut Vec<_>| connections.len() >= CONNECTIONS_MAX;
        let waited = self.ended.wait_while(self.connections(), is_full);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Waits until all that was written is taken.
    fn wait_for_end(&self) {
        let is_read = |connections: &mut Vec<_>| !connections.is_empty();
        let waited = self.ended.wait_timeout_while(self.connections(), END_WAIT, is_read);
        let (connections, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if !connections.is_empty() {
            let left = connections.len();
            warn!(input = self.name, left, "connections are still read that should have ended");
        }
    }

    fn is_full(&self) -> bool {
        self.connections().len() >= CONNECTIONS_MAX
    }

    fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Acquire)
    }

    /// Reads one connection more; of an input that ends, what was written by now. Says how many
    /// there are.
    fn enter(&self, stream: &Arc<UnixStream>) -> usize {
        let mut connections = self.connections();
        if self.is_stopped() {
            end(stream);
        }
        connections.push(Arc::clone(stream));
        connections.len()
    }

    fn leave(&self, stream: &Arc<UnixStream>) {
        self.connections().retain(|it| !Arc::ptr_eq(it, stream));
        self.ended.notify_all();
    }

    fn stop(&self) {
        // Held, so that nobody enters between.
        let connections = self.connections();
        self.is_stopped.store(true, Ordering::Release);
        connections.iter().for_each(|stream| end(stream));
        self.ended.notify_all();
    }

    fn connections(&self) -> MutexGuard<'_, Vec<Arc<UnixStream>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nothing more can be written, and what was written comes to its end.
fn end(stream: &UnixStream) {
    // One that its writer closed is at its end.
    let _ended = stream.shutdown(Shutdown::Read);
}

/// Connections that are read at a time, each with a thread and a buffer of its own.
const CONNECTIONS_MAX: usize = 64;
/// How long those are waited for whose ends are read.
const END_WAIT: Duration = Duration::from_secs(10);
/// After a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
