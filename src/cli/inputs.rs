//! The inputs of `run`: each is read by a thread of its own, through the door.

use std::fmt::Display;
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
    /// Those that are to run and could not be opened again: their places were not free any more.
    lost: Vec<One>,
    gone: Vec<Arc<Running>>,
}

/// An input as it is configured, and as it runs.
#[derive(Clone)]
struct One {
    prepared: Prepared,
    running: Arc<Running>,
}

/// An input whose files are read: what is left is to take its place and to begin.
#[derive(Clone)]
struct Prepared {
    input: Input,
    /// What it shows to whoever connects.
    identity: Arc<ServerIdentity>,
    /// How it checks whom it asks.
    client: Option<Arc<rustls::ClientConfig>>,
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
        let list = begin(&prepare(inputs)?, door)?;
        Ok(Self(Arc::new(Mutex::new(All { list, ..All::default() }))))
    }

    /// Runs these from now on: those that did not change are not touched, others end where they are
    /// and go on there if they come back. Says whether anything changed.
    ///
    /// # Errors
    /// When one cannot be opened: those that ran before run again then, as soon as their places are
    /// free.
    pub(crate) fn reload(&self, inputs: &[Input], door: &Arc<Door>) -> Result<bool, Failure> {
        let mut rest = inputs.to_vec();
        let before = self.lock().list.clone();
        let order: Vec<Input> = before.iter().map(|one| one.prepared.input.clone()).collect();
        let (mut kept, ending): (Vec<One>, Vec<One>) = before.into_iter().partition(|one| {
            let found = rest.iter().position(|input| *input == one.prepared.input);
            found.map(|at| rest.swap_remove(at)).is_some()
        });
        if rest.is_empty() && ending.is_empty() {
            self.lock().give_up_lost();
            return Ok(false);
        }
        if rest.iter().any(Input::is_stdin) {
            let text = "standard input can be read from the start only: restart, or leave it out";
            return Err(Failure::Usage(text.to_owned()));
        }
        let prepared = prepare(&rest)?;
        // Addresses and positions are free once those that had them have ended. What is read to
        // its end has neither, and nobody could begin it again where it was.
        let (once, ending): (Vec<One>, Vec<One>) =
            ending.into_iter().partition(|one| is_finite(&one.prepared.input));
        end(&ending);
        match begin(&prepared, door) {
            Ok(begun) => {
                end(&once);
                kept.extend(begun);
                let mut all = self.lock();
                all.gone.extend(ending.into_iter().chain(once).map(|one| one.running));
                all.give_up_lost();
                all.show(kept, inputs);
                Ok(true)
            }
            Err(problem) => {
                kept.extend(once);
                let (back, lost) = again(ending, door);
                for one in &lost {
                    let input = &one.running.name;
                    error!(input, "not opened again; tried once a second");
                }
                let mut all = self.lock();
                all.lost.extend(lost);
                for (old, new) in back {
                    all.gone.push(old);
                    kept.push(new);
                }
                all.show(kept, &order);
                Err(problem)
            }
        }
    }

    /// Tries again to open those that are to run and do not.
    pub(crate) fn revive(&self, door: &Arc<Door>) {
        let lost = std::mem::take(&mut self.lock().lost);
        if lost.is_empty() {
            return;
        }
        let (back, lost) = again(lost, door);
        let mut all = self.lock();
        all.lost = lost;
        for (old, new) in back {
            info!(input = new.running.name, "opened again");
            all.gone.push(old);
            all.list.push(new);
        }
    }

    /// Whether every input has come to its end, its events durable.
    pub(crate) fn have_ended(&self) -> bool {
        let all = self.lock();
        let has_ended = |one: &One| one.running.has_ended.load(Ordering::Acquire);
        all.lost.is_empty() && all.list.iter().all(has_ended)
    }

    /// Those that come to no end by themselves.
    pub(crate) fn endless(&self) -> Vec<String> {
        let all = self.lock();
        let endless = all.list.iter().filter(|one| !is_finite(&one.prepared.input));
        endless.map(|one| one.running.name.clone()).collect()
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
        let listens =
            |one: &&One| matches!(one.prepared.input, Input::Http { .. } | Input::Unix { .. });
        wait_for(all.iter().filter(listens));
    }

    /// Reads certificates again whose files changed; says which inputs show another one now.
    pub(crate) fn renew_certificates(&self) -> Vec<String> {
        let all = self.lock();
        let one = |one: &One| {
            let name = &one.running.name;
            renew(name, &one.prepared.identity).then(|| name.clone())
        };
        all.list.iter().filter_map(one).collect()
    }

    /// How they are.
    pub(crate) fn status(&self) -> Vec<InputStatus> {
        let all = self.lock();
        all.list.iter().chain(&all.lost).map(|one| one.running.status()).collect()
    }

    /// Those that failed, or are to run and cannot be opened, one sentence each.
    pub(crate) fn wrong(&self) -> Vec<String> {
        let all = self.lock();
        let failed = all.list.iter().filter(|one| one.running.has_failed.load(Ordering::Acquire));
        let failed =
            failed.map(|one| format!("input {} has failed: see the log", one.running.name));
        let lost = all.lost.iter().map(|one| &one.running.name);
        failed
            .chain(lost.map(|name| format!("input {name} cannot be opened again: {AGAIN}")))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl All {
    fn ever(&self) -> impl Iterator<Item = &Arc<Running>> {
        self.list.iter().chain(&self.lost).map(|one| &one.running).chain(&self.gone)
    }

    /// Those that run now, in the order in which they are written.
    fn show(&mut self, list: Vec<One>, order: &[Input]) {
        self.list = list;
        self.list.sort_by_key(|one| order.iter().position(|it| *it == one.prepared.input));
    }

    /// Nobody wants those any more that could not be opened again, or they run as others.
    fn give_up_lost(&mut self) {
        self.gone.extend(self.lost.drain(..).map(|one| one.running));
    }
}

/// Whether an input comes to an end by itself, and cannot begin where it was.
fn is_finite(input: &Input) -> bool {
    matches!(input, Input::Stdin { .. } | Input::File { follow: false, .. })
}

/// Has inputs end, and waits for that a moment.
fn end(ending: &[One]) {
    ending.iter().for_each(|one| one.running.is_stopped.store(true, Ordering::Release));
    // Whoever reads standard input sits there until something comes, and takes that.
    wait_for(ending.iter().filter(|one| !one.prepared.input.is_stdin()));
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

/// Opens inputs again that have ended: each that could be as it ran and as it runs, and the others.
fn again(ended: Vec<One>, door: &Arc<Door>) -> (Vec<(Arc<Running>, One)>, Vec<One>) {
    let (mut back, mut lost) = (Vec::new(), Vec::new());
    for one in ended {
        match begin(std::slice::from_ref(&one.prepared), door) {
            Ok(begun) => back.extend(begun.into_iter().map(|new| (Arc::clone(&one.running), new))),
            Err(_) => lost.push(one),
        }
    }
    (back, lost)
}

/// Reads the files that inputs name beside what they take in; nothing is taken yet.
fn prepare(inputs: &[Input]) -> Result<Vec<Prepared>, Failure> {
    let prepared = inputs.iter().map(|input| {
        let (mut identity, mut client) = (Arc::default(), None);
        match input {
            Input::Http { tls, .. } => {
                let opened = ServerIdentity::open(tls.clone());
                identity = Arc::new(opened.map_err(Failure::io("`tls` of an http input"))?);
            }
            Input::Hushd { url, ca_cert_path, .. } if url.scheme_str() == Some("https") => {
                client = Some(client_tls(ca_cert_path.as_deref())?);
            }
            _ => {}
        }
        Ok(Prepared { input: input.clone(), identity, client })
    });
    prepared.collect()
}

/// Opens inputs and starts reading; nothing is read where one cannot be opened.
fn begin(inputs: &[Prepared], door: &Arc<Door>) -> Result<Vec<One>, Failure> {
    let opened = inputs.iter().map(|input| open(input, door)).collect::<Result<Vec<_>, _>>()?;
    let mut begun = Vec::with_capacity(opened.len());
    for ((work, name), prepared) in opened.into_iter().zip(inputs) {
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
        begun.push(One { prepared: prepared.clone(), running });
    }
    Ok(begun)
}

/// What the thread of an input does, and what it is called.
fn open(prepared: &Prepared, door: &Arc<Door>) -> Result<(Work, String), Failure> {
    let opened = match &prepared.input {
        Input::Stdin { format } => {
            // Four chunks may wait in a pipe; what is none, or may not, stays as it is.
            let _ = fcntl_setpipe_size(io::stdin(), PIPE_BYTES);
            (Work::Finite(Box::new(Unfolded::new(io::stdin(), STDIN)), *format), STDIN.to_owned())
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
        Input::Http { listen, token, body_bytes_max, format, .. } => {
            let options = HttpOptions {
                listen: *listen,
                token: token.clone(),
                body_bytes_max: *body_bytes_max,
                identity: Arc::clone(&prepared.identity),
                format: *format,
                binary: shrike::dialects::PROTOBUF,
                questions: door.questions.clone(),
            };
            let input = HttpInput::start(options, door.shared.clone(), door.appender())
                .map_err(|error| untaken("listen", *listen, &error))?;
            let name = format!("http {}", input.address());
            info!(input = name, "listening");
            (Work::Http(input), name)
        }
        Input::Hushd { url, token, interval, from_end, .. } => {
            let options = PollOptions {
                url: url.clone(),
                service: shrike::dialects::API,
                token: token.clone(),
                tls: prepared.client.clone(),
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
                .map_err(|error| untaken("path", &name, &error))?;
            (Work::Unix(input), name)
        }
    };
    Ok(opened)
}

/// Says which key of an input names a place that cannot be had.
fn untaken(key: &str, place: impl Display, error: &io::Error) -> Failure {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => "end what listens there, or name another place",
        _ => "name a place that the user may use whom shrike runs as,",
    };
    Failure::Engine(format!("listening on {place}: {error}; {advice} in `inputs[].{key}`"))
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
    let file = File::open(path).map_err(Failure::io(name.clone()))?;
    Ok(Box::new(Unfolded::new(Unpacked::new(file), &name)))
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

/// What becomes of an input whose place was taken.
const AGAIN: &str = "its place was taken while a refused configuration was tried; it is tried \
                     once a second";
/// The name of standard input, as status and quarantine show it.
const STDIN: &str = "stdin";
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
