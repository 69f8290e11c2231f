//! The inputs of `run`: each is read by a thread of its own, through the door.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use shrike::config::Input;
use shrike::control::InputStatus;
use shrike::intake::{Account, Chunk, DoorError, Files, FilesOptions, Stream};
use tracing::{error, info};

use super::Failure;
use super::door::Door;

/// The running inputs; clones look at the same ones.
#[derive(Clone)]
pub(crate) struct Inputs(Arc<Vec<Arc<Running>>>);

/// One input and how far it is.
struct Running {
    name: String,
    appended: AtomicU64,
    duplicates: AtomicU64,
    rejected: AtomicU64,
    has_ended: AtomicBool,
    has_failed: AtomicBool,
    is_stopped: AtomicBool,
}

/// What an input's thread does.
enum Work {
    /// Reads this to its end.
    Finite(Box<dyn Read + Send>, Option<&'static str>),
    /// Follows files.
    Files(FilesOptions),
}

impl Inputs {
    /// Opens every input and starts reading.
    ///
    /// # Errors
    /// When one cannot be opened: nothing is read then.
    pub(crate) fn start(inputs: &[Input], door: &Arc<Door>) -> Result<Self, Failure> {
        let mut opened: Vec<(Work, Arc<Running>)> = Vec::new();
        for input in inputs {
            let (work, name) = match input {
                Input::Stdin { format } => {
                    (Work::Finite(Box::new(io::stdin()), *format), "stdin".to_owned())
                }
                Input::File { path, follow: false, format, .. } => {
                    (Work::Finite(open(path)?, *format), path.display().to_string())
                }
                Input::File { path, format, mode, from_end, .. } => {
                    let options = FilesOptions {
                        path: path.clone(),
                        mode: *mode,
                        from_end: *from_end,
                        format: *format,
                        sniff: shrike::dialects::mode,
                    };
                    (Work::Files(options), path.display().to_string())
                }
            };
            opened.push((work, Arc::new(Running::new(name))));
        }
        let running = opened.iter().map(|(_, running)| Arc::clone(running)).collect();
        for (work, running) in opened {
            let door = Arc::clone(door);
            thread::Builder::new()
                .name("shrike-input".to_owned())
                .spawn(move || running.read(work, &door))
                .map_err(Failure::io("starting a thread for an input"))?;
        }
        Ok(Self(Arc::new(running)))
    }

    /// Whether every input has come to its end, its events durable.
    pub(crate) fn have_ended(&self) -> bool {
        self.0.iter().all(|input| input.has_ended.load(Ordering::Acquire))
    }

    /// Whether an input ended early because of an error.
    pub(crate) fn have_failed(&self) -> bool {
        self.0.iter().any(|input| input.has_failed.load(Ordering::Acquire))
    }

    /// Lines that were refused, over all inputs.
    pub(crate) fn rejected(&self) -> u64 {
        self.0.iter().map(|input| input.rejected.load(Ordering::Acquire)).sum()
    }

    /// Takes nothing more in. A thread that waits for its source stays there; it appends nothing.
    pub(crate) fn stop(&self) {
        self.0.iter().for_each(|input| input.is_stopped.store(true, Ordering::Release));
    }

    /// How they are.
    pub(crate) fn status(&self) -> Vec<InputStatus> {
        let status = |input: &Arc<Running>| InputStatus {
            name: input.name.clone(),
            appended: input.appended.load(Ordering::Acquire),
            duplicates: input.duplicates.load(Ordering::Acquire),
            rejected: input.rejected.load(Ordering::Acquire),
            ended: input.has_ended.load(Ordering::Acquire),
        };
        self.0.iter().map(status).collect()
    }
}

fn open(path: &PathBuf) -> Result<Box<dyn Read + Send>, Failure> {
    let name = path.display().to_string();
    let file = File::open(path).map_err(Failure::io(name))?;
    Ok(Box::new(file))
}

impl Running {
    fn new(name: String) -> Self {
        Self {
            name,
            appended: AtomicU64::new(0),
            duplicates: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            has_ended: AtomicBool::new(false),
            has_failed: AtomicBool::new(false),
            is_stopped: AtomicBool::new(false),
        }
    }

    fn read(&self, work: Work, door: &Door) {
        let done = match work {
            Work::Finite(mut source, format) => self.pump(&mut source, format, door),
            Work::Files(options) => self.follow(options, door),
        };
        match done {
            Ok(account) => {
                info!(
                    input = self.name,
                    events = account.events,
                    rejected = account.rejected,
                    "input ended"
                );
            }
            Err(problem) => {
                self.has_failed.store(true, Ordering::Release);
                let cause = std::error::Error::source(&problem).map(ToString::to_string);
                error!(input = self.name, %problem, cause, "input failed");
            }
        }
        self.has_ended.store(true, Ordering::Release);
    }

    /// Moves chunks from the source to the door until the source ends.
    fn pump(
        &self,
        source: &mut impl Read,
        format: Option<&'static str>,
        door: &Door,
    ) -> Result<Account, DoorError> {
        let mut stream = Stream::new(&self.name, 0).with_format(format);
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut filled = 0;
        while !self.is_stopped.load(Ordering::Acquire) {
            let read = match source.read(&mut buffer[filled..]) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    let position = stream.position() + filled as u64;
                    let source_name = self.name.clone();
                    return Err(DoorError::Read { source_name, position, error });
                }
            };
            if self.is_stopped.load(Ordering::Acquire) {
                break;
            }
            filled += read;
            let chunk = Chunk { bytes: &buffer[..filled], is_rest: read == 0 };
            let brought = door.shared.bring(&mut stream, chunk, &self.is_stopped, |_, _| None)?;
            let Some(taken) = brought else { break };
            self.show(stream.account());
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
        door.shared.settle(&stream, &self.is_stopped)?;
        Ok(stream.account())
    }

    /// Follows files until it is stopped.
    fn follow(&self, options: FilesOptions, door: &Door) -> Result<Account, DoorError> {
        let mut now = Instant::now();
        let mut files = Files::new(options, Arc::clone(&door.positions), now);
        let mut saved = now;
        while !self.is_stopped.load(Ordering::Acquire) {
            let rest = files.step(&door.shared, &self.is_stopped, now)?;
            self.show(files.account());
            if now.saturating_duration_since(saved) >= SAVE_INTERVAL {
                door.save_positions();
                saved = now;
            }
            if rest > Duration::ZERO {
                thread::sleep(rest);
            }
            now = Instant::now();
        }
        door.save_positions();
        Ok(files.account())
    }

    fn show(&self, account: Account) {
        self.appended.store(account.events, Ordering::Release);
        self.duplicates.store(account.duplicates, Ordering::Release);
        self.rejected.store(account.rejected, Ordering::Release);
    }
}

/// Bytes that are read at once: a pipe holds 64 KiB, a file's pages come faster in larger pieces.
const CHUNK_BYTES: usize = 256 << 10;
/// How often the positions are written down beside the log.
const SAVE_INTERVAL: Duration = Duration::from_secs(5);
