//! One door for all sources of a process, so that an event which comes twice is recognised
//! wherever it comes from.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tracing::{info, warn};

use super::door::{Door, DoorError};
use super::position::Position;
use super::stream::{Account, Stream};

/// A door that many threads go through, one chunk at a time.
#[derive(Clone, Debug)]
pub struct SharedDoor(Arc<Mutex<Door>>);

/// What a source brings.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    /// The bytes behind those that were taken last.
    pub bytes: &'a [u8],
    /// Whether the source ends with them, so that a line needs no ending.
    pub is_rest: bool,
}

impl SharedDoor {
    /// Shares a door.
    #[must_use]
    pub fn new(door: Door) -> Self {
        Self(Arc::new(Mutex::new(door)))
    }

    /// The door, for this thread alone.
    pub fn lock(&self) -> MutexGuard<'_, Door> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks and appends what a source brings, with the position that `position` makes of the
    /// bytes taken. While the disk refuses it waits, tells so once, and goes on by itself.
    ///
    /// Returns the bytes taken; `None` when `is_stopped` came first: then part of it may be in the
    /// log, and the position is not.
    ///
    /// # Errors
    /// When what was brought cannot be taken, and waiting does not help.
    pub fn bring(
        &self,
        stream: &mut Stream,
        chunk: Chunk<'_>,
        is_stopped: &AtomicBool,
        position: impl FnOnce(&Stream, usize) -> Option<Position>,
    ) -> Result<Option<usize>, DoorError> {
        let mut door = self.lock();
        let taken = match chunk.is_rest {
            true => door.take_rest(stream, chunk.bytes, now_ns()),
            false => door.take(stream, chunk.bytes, now_ns()),
        };
        let position = position(stream, taken);
        let mut appended = door.append(stream, chunk.bytes, position.as_ref());
        drop(door);
        let mut has_told = false;
        while let Err(refused) = appended {
            if !refused.may_pass() {
                return Err(refused);
            }
            if !std::mem::replace(&mut has_told, true) {
                let cause = std::error::Error::source(&refused).map(ToString::to_string);
                warn!(input = stream.name(), %refused, cause, "input waits for the disk");
            }
            if is_stopped.load(Ordering::Acquire) {
                return Ok(None);
            }
            thread::sleep(RETRY_INTERVAL);
            appended = self.lock().append(stream, chunk.bytes, position.as_ref());
        }
        if has_told {
            info!(input = stream.name(), "input goes on");
        }
        Ok(Some(taken))
    }

    /// Reads a source to its end, or until `is_stopped`; `show` is told how far it is.
    ///
    /// # Errors
    /// When the source cannot be read, or what it brings cannot be taken.
    pub fn read(
        &self,
        name: &str,
        source: &mut impl Read,
        format: Option<&'static str>,
        is_stopped: &AtomicBool,
        show: impl FnMut(Account),
    ) -> Result<Account, DoorError> {
        let goes_on = || !is_stopped.load(Ordering::Acquire);
        let stream = Stream::new(name, 0).with_format(format);
        self.read_while(stream, source, is_stopped, goes_on, show)
    }

    /// Reads a source to its end, which comes by itself once `is_stopped`: only a disk that refuses
    /// is not waited for then.
    pub(super) fn read_out(
        &self,
        stream: Stream,
        source: &mut impl Read,
        is_stopped: &AtomicBool,
        show: impl FnMut(Account),
    ) -> Result<Account, DoorError> {
        self.read_while(stream, source, is_stopped, || true, show)
    }

    fn read_while(
        &self,
        mut stream: Stream,
        source: &mut impl Read,
        is_stopped: &AtomicBool,
        goes_on: impl Fn() -> bool,
        mut show: impl FnMut(Account),
    ) -> Result<Account, DoorError> {
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut filled = 0;
        while goes_on() {
            let read = match source.read(&mut buffer[filled..]) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    let position = stream.position() + filled as u64;
                    let source_name = stream.name().to_owned();
                    return Err(DoorError::Read { source_name, position, error });
                }
            };
            // Whoever wrote this does not write it again: it is taken, also at the end.
            filled += read;
            let chunk = Chunk { bytes: &buffer[..filled], is_rest: read == 0 };
            let Some(taken) = self.bring(&mut stream, chunk, is_stopped, |_, _| None)? else {
                warn!(input = stream.name(), bytes = filled, "stopped while the disk refused");
                stream.account.gaps += 1;
                show(stream.account());
                break;
            };
            show(stream.account());
            if read == 0 {
                break;
            }
            buffer.copy_within(taken..filled, 0);
            filled -= taken;
            if filled == buffer.len() {
                // Bounded: the door takes a rest that is longer than the longest line as too long.
                buffer.resize(2 * filled, 0);
            }
        }
        self.settle(&stream, is_stopped)?;
        Ok(stream.account())
    }

    /// Waits until everything that came through is durable, also while the disk refuses.
    ///
    /// # Errors
    /// When waiting does not help.
    pub fn settle(&self, stream: &Stream, is_stopped: &AtomicBool) -> Result<(), DoorError> {
        loop {
            match self.lock().settle(stream) {
                Err(refused) if refused.may_pass() && !is_stopped.load(Ordering::Acquire) => {}
                settled => return settled,
            }
            thread::sleep(RETRY_INTERVAL);
        }
    }
}

/// The time, nanoseconds since 1970.
#[must_use]
pub(super) fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Bytes that are read at once: a pipe holds 64 KiB, a file's pages come faster in larger pieces.
const BUFFER_BYTES: usize = 256 << 10;
/// How often a disk that refuses is asked: the log itself tries no more often.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);
