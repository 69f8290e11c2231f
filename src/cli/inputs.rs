//! The inputs of `run`: each is read by a thread of its own, through the door.

use std::fs::File;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::pipe::fcntl_setpipe_size;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use shrike::config::Input;
use shrike::control::InputStatus;
use shrike::intake::{
    Account, DoorError, Files, FilesOptions, HttpInput, HttpOptions, Poll, PollOptions, Rows,
    RowsOptions, ServerIdentity, Unfolded, UnixInput, Unpacked,
};
use tracing::{error, info, warn};

use super::Failure;
use super::door::Door;

/// The running inputs; clones look at the same ones.
#[derive(Clone)]
pub(crate) struct Inputs(Arc<Mutex<All>>);

/// Those that run, and what those took that run no more.
#[derive(Default)]
struct All {
    list: Vec<One>,
    gone: Vec<Arc<Running>>,
}

/// An input as it is configured, and as it runs.
#[derive(Clone)]
struct One {
    input: Input,
    running: Arc<Running>,
    identity: Arc<ServerIdentity>,
}

/// One input and how far it is.
struct Running {
    name: String,
    appended: AtomicU64,
    duplicates: AtomicU64,
    rejected: AtomicU64,
    gaps: AtomicU64,
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
    /// Asks a service again and again.
    Poll(Box<Poll>),
    /// Reads a table that grows.
    Rows(RowsOptions),
    /// Listens; the input has threads of its own.
    Http(HttpInput),
    /// The same.
    Unix(UnixInput),
}

impl Inputs {
    /// Opens every input and starts reading.
    ///
    /// # Errors
    /// When one cannot be opened: nothing is read then.
    pub(crate) fn start(inputs: &[Input], door: &Arc<Door>) -> Result<Self, Failure> {
        let all = All { list: begin(inputs, door)?, gone: Vec::new() };
        Ok(Self(Arc::new(Mutex::new(all))))
    }

    /// Runs these from now on: those that did not change are not touched, others end where they are
    /// and go on there if they come back. Says whether anything changed.
    ///
    /// # Errors
    /// When one cannot be opened: those that ran before run again then.
    pub(crate) fn reload(&self, inputs: &[Input], door: &Arc<Door>) -> Result<bool, Failure> {
        let mut rest = inputs.to_vec();
        let (kept, ending): (Vec<One>, Vec<One>) =
            self.lock().list.clone().into_iter().partition(|one| {
                match rest.iter().position(|input| *input == one.input) {
                    Some(at) => {
                        rest.swap_remove(at);
                        true
                    }
                    None => false,
                }
            });
        if rest.is_empty() && ending.is_empty() {
            return Ok(false);
        }
        if rest.iter().any(Input::is_stdin) {
            let text = "standard input can be read from the start only: restart, or leave it out";
            return Err(Failure::Usage(text.to_owned()));
        }
        // Addresses and files are free once those that had them have ended.
        ending.iter().for_each(|one| one.running.is_stopped.store(true, Ordering::Release));
        // Whoever reads standard input sits there until something comes, and takes that.
        wait_for(ending.iter().filter(|one| !one.input.is_stdin()));
        let (begun, problem) = match begin(&rest, door) {
            Ok(begun) => (begun, None),
            Err(problem) => {
                let before: Vec<Input> = ending.iter().map(|one| one.input.clone()).collect();
                (begin(&before, door)?, Some(problem))
            }
        };
        let mut all = self.lock();
        all.gone.extend(ending.into_iter().map(|one| one.running));
        all.list = kept.into_iter().chain(begun).collect();
        // In the order in which they are written.
        let place = |one: &One| inputs.iter().position(|input| *input == one.input);
        all.list.sort_by_key(place);
        problem.map_or(Ok(true), Err)
    }

    /// Whether every input has come to its end, its events durable.
    pub(crate) fn have_ended(&self) -> bool {
        self.lock().list.iter().all(|one| one.running.has_ended.load(Ordering::Acquire))
    }

    /// Whether an input ended early because of an error.
    pub(crate) fn have_failed(&self) -> bool {
        self.lock().ever().any(|running| running.has_failed.load(Ordering::Acquire))
    }

    /// Lines that were refused, over all inputs.
    pub(crate) fn rejected(&self) -> u64 {
        self.lock().ever().map(|running| running.rejected.load(Ordering::Acquire)).sum()
    }

    /// Takes nothing more in but what was sent by now. A thread that waits for its source stays
    /// there.
    pub(crate) fn stop(&self) {
        let all = self.lock().list.clone();
        all.iter().for_each(|one| one.running.is_stopped.store(true, Ordering::Release));
        wait_for(
            all.iter().filter(|one| matches!(one.input, Input::Http { .. } | Input::Unix { .. })),
        );
    }

    /// Reads certificates again whose files changed; says which inputs show another one now.
    pub(crate) fn renew_certificates(&self) -> Vec<String> {
        let all = self.lock();
        let one =
            |one: &One| renew(&one.running.name, &one.identity).then(|| one.running.name.clone());
        all.list.iter().filter_map(one).collect()
    }

    /// How they are.
    pub(crate) fn status(&self) -> Vec<InputStatus> {
        self.lock().list.iter().map(|one| one.running.status()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl All {
    fn ever(&self) -> impl Iterator<Item = &Arc<Running>> {
        self.list.iter().map(|one| &one.running).chain(&self.gone)
    }
}

/// Waits until these inputs, which were told to, have ended.
fn wait_for<'a>(ending: impl Iterator<Item = &'a One>) {
    let patience = Instant::now() + END_WAIT;
    for one in ending {
        while !one.running.has_ended.load(Ordering::Acquire) && Instant::now() < patience {
            thread::sleep(END_INTERVAL);
        }
    }
}

/// Opens inputs and starts reading; nothing is read where one cannot be opened.
fn begin(inputs: &[Input], door: &Arc<Door>) -> Result<Vec<One>, Failure> {
    let opened = inputs.iter().map(|input| open(input, door)).collect::<Result<Vec<_>, _>>()?;
    let mut begun = Vec::with_capacity(opened.len());
    for (Opened { work, name, identity }, input) in opened.into_iter().zip(inputs) {
        let running = Arc::new(Running::new(name));
        let (door, reading) = (Arc::clone(door), Arc::clone(&running));
        thread::Builder::new()
            .name("shrike-input".to_owned())
            .spawn(move || {
                let reading = &*reading;
                let ended = catch_unwind(AssertUnwindSafe(|| reading.read(work, &door)));
                if ended.is_err() {
                    // The panic itself was told already; whoever waits for the end learns of it.
                    error!(input = reading.name, "input failed by a defect of shrike; others run");
                    reading.has_failed.store(true, Ordering::Release);
                    reading.has_ended.store(true, Ordering::Release);
                }
            })
            .map_err(Failure::io("starting a thread for an input"))?;
        begun.push(One { input: input.clone(), running, identity });
    }
    Ok(begun)
}

/// What the thread of an input does, what it is called, and what it shows to whoever connects.
struct Opened {
    work: Work,
    name: String,
    identity: Arc<ServerIdentity>,
}

fn open(input: &Input, door: &Arc<Door>) -> Result<Opened, Failure> {
    let mut identity = Arc::default();
    let (work, name) = match input {
        Input::Stdin { format } => {
            // Four chunks may wait in a pipe; what is none, or may not, stays as it is.
            let _ = fcntl_setpipe_size(io::stdin(), PIPE_BYTES);
            (Work::Finite(Box::new(Unfolded::new(io::stdin())), *format), "stdin".to_owned())
        }
        Input::File { path, follow: false, format, .. } => {
            (Work::Finite(open_file(path)?, *format), path.display().to_string())
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
        Input::Http { listen, token, body_bytes_max, tls, format } => {
            identity = ServerIdentity::open(tls.clone())
                .map(Arc::new)
                .map_err(Failure::io("`tls` of an http input"))?;
            let options = HttpOptions {
                listen: *listen,
                token: token.clone(),
                body_bytes_max: *body_bytes_max,
                identity: Arc::clone(&identity),
                format: *format,
                binary: shrike::dialects::PROTOBUF,
                questions: door.questions.clone(),
            };
            let input = HttpInput::start(options, door.shared.clone(), door.appender())
                .map_err(Failure::io(format!("listening on {listen}")))?;
            let name = format!("http {}", input.address());
            info!(input = name, "listening");
            (Work::Http(input), name)
        }
        Input::Hushd { url, token, interval, ca_cert_path, from_end } => {
            let is_tls = url.scheme_str() == Some("https");
            let tls = is_tls.then(|| client_tls(ca_cert_path.as_deref())).transpose()?;
            let options = PollOptions {
                url: url.clone(),
                service: shrike::dialects::API,
                token: token.clone(),
                tls,
                interval: *interval,
                from_end: *from_end,
                answer_bytes_max: ANSWER_BYTES_MAX,
            };
            let poll = Poll::new(options, Arc::clone(&door.positions))
                .map_err(Failure::io(url.to_string()))?;
            (Work::Poll(Box::new(poll)), url.to_string())
        }
        Input::Sqlite { path, from_end } => {
            let options = RowsOptions {
                path: path.clone(),
                table: shrike::dialects::LEDGER,
                from_end: *from_end,
            };
            (Work::Rows(options), path.display().to_string())
        }
        Input::Unix { path, format } => {
            let name = path.display().to_string();
            let input = UnixInput::start(path, *format, door.shared.clone())
                .map_err(Failure::io(name.clone()))?;
            (Work::Unix(input), name)
        }
    };
    Ok(Opened { work, name, identity })
}

/// Reads a listener's certificate again where its files changed; says whether it did.
pub(crate) fn renew(listener: &str, identity: &ServerIdentity) -> bool {
    match identity.renew() {
        Ok(is_other) => {
            if is_other {
                info!(listener, "certificate read again");
            }
            is_other
        }
        Err(problem) => {
            warn!(listener, %problem, "certificate not read again; the last one stays");
            false
        }
    }
}

/// How the certificate of a service that is asked is checked.
fn client_tls(authorities: Option<&Path>) -> Result<Arc<rustls::ClientConfig>, Failure> {
    let mut roots = rustls::RootCertStore::empty();
    match authorities {
        Some(path) => {
            let wrong = |error: &dyn std::fmt::Display| {
                let error = io::Error::new(io::ErrorKind::InvalidData, error.to_string());
                Failure::io(path.display().to_string())(error)
            };
            let found = CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))?;
            for certificate in found {
                let certificate = certificate.map_err(|error| wrong(&error))?;
                roots.add(certificate).map_err(|error| wrong(&error))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::io("TLS")(io::Error::other(error)))?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

fn open_file(path: &PathBuf) -> Result<Box<dyn Read + Send>, Failure> {
    let name = path.display().to_string();
    let file = File::open(path).map_err(Failure::io(name))?;
    Ok(Box::new(Unfolded::new(Unpacked::new(file))))
}

impl Running {
    fn new(name: String) -> Self {
        Self {
            name,
            appended: AtomicU64::new(0),
            duplicates: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            gaps: AtomicU64::new(0),
            has_ended: AtomicBool::new(false),
            has_failed: AtomicBool::new(false),
            is_stopped: AtomicBool::new(false),
        }
    }

    fn read(&self, work: Work, door: &Door) {
        let done = match work {
            Work::Finite(mut source, format) => {
                let show = |account| self.show(account);
                door.shared.read(&self.name, &mut source, format, &self.is_stopped, show)
            }
            Work::Http(input) => Ok(self.watch(|| input.account())),
            Work::Unix(input) => {
                self.watch(|| input.account());
                let account = input.end();
                self.show(account);
                Ok(account)
            }
            Work::Files(options) => {
                let now = Instant::now();
                let mut files = Files::new(options, Arc::clone(&door.positions), now);
                self.follow(door, |now| {
                    let rest = files.step(&door.shared, &self.is_stopped, now)?;
                    Ok((rest, files.account()))
                })
            }
            Work::Poll(mut poll) => self.follow(door, |_| {
                poll.step(&door.shared, &self.is_stopped)?;
                Ok((Duration::ZERO, poll.account()))
            }),
            Work::Rows(options) => {
                let mut rows = Rows::new(options, Arc::clone(&door.positions));
                self.follow(door, |_| {
                    let rest = rows.step(&door.shared, &self.is_stopped)?;
                    Ok((rest, rows.account()))
                })
            }
        };
        door.save_positions();
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

    /// Takes step after step until it is stopped; each tells how long nothing needs to be done.
    fn follow(
        &self,
        door: &Door,
        mut step: impl FnMut(Instant) -> Result<(Duration, Account), DoorError>,
    ) -> Result<Account, DoorError> {
        let mut now = Instant::now();
        let mut saved = now;
        let mut account = Account::default();
        let mut refusals = Refusals::default();
        while !self.is_stopped.load(Ordering::Acquire) {
            let rest;
            (rest, account) = step(now)?;
            self.show(account);
            refusals.tell(&self.name, account.rejected, now);
            if now.saturating_duration_since(saved) >= SAVE_INTERVAL {
                door.save_positions();
                saved = now;
            }
            if rest > Duration::ZERO {
                thread::sleep(rest);
            }
            now = Instant::now();
        }
        Ok(account)
    }

    /// Shows what an input with threads of its own took, until it is stopped.
    fn watch(&self, account: impl Fn() -> Account) -> Account {
        let mut refusals = Refusals::default();
        while !self.is_stopped.load(Ordering::Acquire) {
            let now = account();
            self.show(now);
            refusals.tell(&self.name, now.rejected, Instant::now());
            thread::sleep(WATCH_INTERVAL);
        }
        account()
    }

    fn status(&self) -> InputStatus {
        InputStatus {
            name: self.name.clone(),
            appended: self.appended.load(Ordering::Acquire),
            duplicates: self.duplicates.load(Ordering::Acquire),
            rejected: self.rejected.load(Ordering::Acquire),
            gaps: self.gaps.load(Ordering::Acquire),
            ended: self.has_ended.load(Ordering::Acquire),
            failed: self.has_failed.load(Ordering::Acquire),
        }
    }

    fn show(&self, account: Account) {
        self.appended.store(account.events, Ordering::Release);
        self.duplicates.store(account.duplicates, Ordering::Release);
        self.rejected.store(account.rejected, Ordering::Release);
        self.gaps.store(account.gaps, Ordering::Release);
    }
}

/// What was told of lines that are no events: a file of another format would fill the log.
#[derive(Debug, Default)]
struct Refusals {
    lines: u64,
    told: Option<Instant>,
}

impl Refusals {
    /// Tells of those that came since it was told last, unless that was a moment ago.
    fn tell(&mut self, input: &str, lines: u64, now: Instant) {
        let was_now = self.told.is_some_and(|told| now.duration_since(told) < REFUSALS_INTERVAL);
        if lines == self.lines || was_now {
            return;
        }
        let new = lines - self.lines;
        *self = Self { lines, told: Some(now) };
        warn!(
            input,
            lines = new,
            "lines that are no events; `shrike log quarantine list` shows which and why"
        );
    }
}

/// The time from one telling to the next.
const REFUSALS_INTERVAL: Duration = Duration::from_secs(60);
/// How long an input that is to end is waited for, and how often it is looked at.
const END_WAIT: Duration = Duration::from_secs(10);
const END_INTERVAL: Duration = Duration::from_millis(5);
/// How often the counts of an input that listens are taken over.
const WATCH_INTERVAL: Duration = Duration::from_millis(50);
/// What a pipe may hold: as much as the kernel lets anybody have (`/proc/sys/fs/pipe-max-size`).
const PIPE_BYTES: usize = 1 << 20;
/// Bytes of what a service answers at most: all of it is in memory.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// How often the positions are written down beside the log.
const SAVE_INTERVAL: Duration = Duration::from_secs(5);
