//! Starts workers and keeper, tells how they are, and ends them.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::anchors::go_on;
use super::block::BlockCounters;
use super::dead_letters::{DeadLetters, Wanted};
use super::exporter::{Exporter, ExporterSpec};
use super::feed::{Feed, Feeds};
use super::keeper::{Chain, Keeper};
use super::measure::Deeds;
use super::network::Way;
use super::new_pass::NewPass;
use super::openings::Openings;
use super::operations::{Operation, Operations};
use super::places::route_places;
use super::prepared::Prepared;
use super::receipts::{ReceiptOptions, Receipts};
use super::reload::{HELD_WAIT, Intended};
use super::replay::{Job, Progress};
use super::status::{ExporterStatus, Status};
use super::stop::Stage;
use super::stopped::Stopped;
use super::unreadable::Unreadables;
use super::ways::{concurrency, endpoints, ways};
use super::wellness::Wellness;
use super::worker::{LaneSpec, Worker, WorkerSpec};
use crate::deliver::{Allowance, Budget, Gate, GateSettings, Order, TransportSetupError};
use crate::event::{Checkpoint, Class, Offset, Opening, OpeningOptions, Span};
use crate::log::{Cursors, Log, LogError, Reader};
use crate::metrics::Counter;

/// What an engine is started with.
#[derive(Debug)]
pub struct EngineOptions {
    /// The exporters.
    pub exporters: Vec<ExporterSpec>,
    /// How records are opened.
    pub opening: OpeningOptions,
    /// Threads; 0 is one per core that the process may use.
    pub workers: usize,
    /// The bound on bytes of unsettled batches.
    pub in_flight_bytes: u64,
    /// The hard bound of the log, for exporters without one of their own.
    pub log_bytes_max: u64,
    /// Whether `latest` means `earliest` for an exporter without a checkpoint: a first run whose
    /// inputs are finite should export them.
    pub from_the_start: bool,
    /// What the exporters do.
    pub work: Work,
    /// Where receipts are kept; none are written without.
    pub receipts: Option<ReceiptOptions>,
}

/// What the exporters of an engine do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Work {
    /// Everything: they read the log and send it.
    #[default]
    All,
    /// Only what goes out beside the log: dead letters that are replayed, and gap records.
    Aside,
}

/// Why an engine does not start.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// An exporter's settings contradict its vendor's tables.
    #[error("exporter {name}: {problem}")]
    Exporter {
        /// The exporter.
        name: String,
        /// What is wrong, what was expected.
        problem: String,
    },
    /// An exporter's transport cannot be set up.
    #[error("exporter {name}: {source}")]
    Transport {
        /// The exporter.
        name: String,
        /// What is wrong.
        source: TransportSetupError,
    },
    /// The log, a checkpoint or a dead-letter store cannot be used.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The receipts cannot be opened.
    #[error("receipts in {path}: {source}; `audit.path` names another place", path = .path.display())]
    Receipts {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel gives no thread.
    #[error("no thread could be started: {0}; allow the process more threads")]
    Thread(io::Error),
    /// The kernel gives no file descriptor.
    #[error("no worker could be started: {0}; allow the process more open files (`ulimit -n`)")]
    Descriptors(io::Error),
}

/// What every worker sees of the engine.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Records that could not be opened, each counted once.
    pub(crate) invalid: Counter,
    pub(super) unreadable: Unreadables,
    /// What was done, until the keeper writes it down.
    pub(crate) operations: Operations,
    /// Whether all do their work, as the keeper found last.
    pub(crate) wellness: Wellness,
    /// Lanes that panicked: what they had claimed waits for the next start.
    pub(crate) lanes_lost: Counter,
}

impl Shared {
    /// What has ended by a defect.
    pub(crate) fn defects(&self) -> Option<String> {
        match self.lanes_lost.load() {
            0 => None,
            lanes => Some(format!("{lanes} lanes ended by a defect of shrike: restart it")),
        }
    }

    /// Notes a record that could not be opened; the first exporter that meets it says so.
    pub(crate) fn on_invalid(&self, span: Span, class: Class) {
        if self.unreadable.note(span, class) {
            self.invalid.add(1);
            tracing::warn!(offset = %span.from, class = class.name(), "record not readable");
        }
    }
}

/// A running engine. Dropping it without [`Engine::end`] leaves its threads to the process.
#[derive(Debug)]
pub struct Engine {
    pub(super) log: Log,
    pub(super) reader: Reader,
    pub(super) cursors: Arc<Cursors>,
    /// What may be in flight, divided; a reload may divide anew.
    pub(super) budget: Mutex<Arc<Budget>>,
    pub(super) exporters: Arc<Mutex<Vec<Running>>>,
    pub(super) stopped: Arc<Mutex<Vec<Stopped>>>,
    pub(super) workers: Vec<Worker>,
    keeper: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
    pub(super) shared: Arc<Shared>,
    blocks: Arc<BlockCounters>,
    /// What has settled, provably, if receipts are kept.
    pub(super) receipts: Chain,
    pub(super) feeds: Arc<Feeds>,
    pub(super) openings: Arc<Openings>,
    pub(super) work: Work,
    /// How far exporters may fall behind that say nothing of it.
    pub(super) log_bytes_max: Arc<AtomicU64>,
    /// Bytes of receipts that are kept.
    pub(super) receipts_bytes_max: Arc<AtomicU64>,
    /// What exporters did in this run, those that are gone included.
    deeds: Mutex<BTreeMap<String, Deeds>>,
    /// Held by whoever stops and starts exporters.
    pub(super) operating: Mutex<()>,
    /// Whether nobody waits any more for what exporters have under way that are swapped.
    pub(super) is_hurried: AtomicBool,
    /// Held while exporters are swapped, so that nobody saves one that is no more.
    pub(super) swapping: Arc<Mutex<()>>,
    started: Instant,
}

/// A running exporter and what it was started from.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    pub(crate) exporter: Arc<Exporter>,
    pub(super) spec: ExporterSpec,
    /// Its number, which says where a single lane lives.
    pub(super) number: usize,
}

/// How waiting for the exporters ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Everything that was to be settled is.
    Settled,
    /// Every lane has ended, or is held; what they left is still in the log.
    Left(u64),
    /// Time ran out, and lanes go on; what is pending is still in the log.
    Pending(u64),
}

impl Engine {
    /// Starts workers and keeper over a log.
    ///
    /// # Errors
    /// When an exporter cannot be compiled, a store not be opened, or a thread not be started.
    /// Nothing runs then. An exporter whose own state is damaged stays stopped, and says so; the
    /// others run.
    pub fn start(log: Log, mut options: EngineOptions) -> Result<Self, EngineError> {
        let opening = Opening::new(&std::mem::take(&mut options.opening));
        let work = options.work;
        let Prepared { keeper, budget, ways: lanes, workers: count } = Prepared::new(log, options)?;
        let Keeper { log, reader, cursors, exporters, stopped, swapping, shared, .. } = &keeper;
        let (log, reader, cursors) = (log.clone(), reader.clone(), Arc::clone(cursors));
        let (exporters, stopped) = (Arc::clone(exporters), Arc::clone(stopped));
        let (swapping, shared) = (Arc::clone(swapping), Arc::clone(shared));
        let log_bytes_max = Arc::clone(&keeper.log_bytes_max);
        let receipts_bytes_max = Arc::clone(&keeper.receipts_bytes_max);
        let (budget, receipts) = (Mutex::new(budget), Arc::clone(&keeper.receipts));
        let openings = Arc::new(Openings::new(opening));
        let blocks = Arc::new(BlockCounters::default());
        let feeds = Arc::new(Feeds::default());
        feeds.set(running(&exporters).iter().map(|it| Arc::clone(&it.exporter)).collect());
        let start = |index| {
            Worker::start(WorkerSpec {
                index,
                reader: reader.clone(),
                openings: Arc::clone(&openings),
                counters: Arc::clone(&blocks),
                shared: Arc::clone(&shared),
                feeds: Arc::clone(&feeds),
            })
        };
        let workers = (0..count).map(start).collect::<Result<Vec<_>, _>>()?;
        for (running, ways) in running(&exporters).iter().zip(lanes) {
            place(&workers, running, ways);
        }
        let deeds = running(&exporters)
            .iter()
            .map(|it| (it.exporter.name().to_owned(), it.exporter.deeds()))
            .collect();
        let keeper = Some(keeper.start().map_err(EngineError::Thread)?);
        Ok(Self {
            log,
            reader,
            cursors,
            budget,
            openings,
            work,
            operating: Mutex::new(()),
            is_hurried: AtomicBool::new(false),
            swapping,
            exporters,
            stopped,
            workers,
            keeper,
            shared,
            blocks,
            feeds,
            receipts,
            log_bytes_max,
            receipts_bytes_max,
            deeds: Mutex::new(deeds),
            started: Instant::now(),
        })
    }

    /// How everything is now.
    #[must_use]
    pub fn status(&self) -> Status {
        let now = Instant::now();
        let status = |running: &Running| ExporterStatus::new(&running.exporter, &self.reader, now);
        // Copied, since counting in the log takes its time.
        let all = running(&self.exporters).clone();
        let mut exporters: Vec<_> = all.iter().map(status).collect();
        exporters.extend(self.lock_stopped().iter().map(|stopped| stopped.status(now)));
        exporters.sort_by(|a, b| a.name.cmp(&b.name));
        Status {
            uptime: now.saturating_duration_since(self.started),
            io: self.log.io().to_string(),
            oldest: self.log.oldest(),
            written: self.log.written(),
            durable: self.log.durable(),
            sync_seconds: self.log.sync_seconds(),
            invalid: self.shared.invalid.load(),
            blocks_opened: self.blocks.opened.load(),
            blocks_shared: self.blocks.shared.load(),
            blocks_fed: self.blocks.fed.load(),
            records_opened: self.blocks.records.load(),
            losses_of_removed: self.losses_but_of(&exporters),
            exporters,
        }
    }

    /// What keeps the process itself from its work, one sentence each: its disk, or a defect. A
    /// destination that is away does not.
    #[must_use]
    pub fn unwell(&self) -> Vec<String> {
        self.shared.wellness.wrong(Instant::now()).own
    }

    /// What of the process itself has ended by a defect, one sentence each: only a restart mends
    /// that.
    #[must_use]
    pub fn defects(&self) -> Vec<String> {
        self.shared.defects().into_iter().collect()
    }

    /// What an exporter of this name did in this run so far.
    pub(super) fn deeds(&self, name: &str) -> Deeds {
        let mut deeds = self.deeds.lock().unwrap_or_else(PoisonError::into_inner);
        deeds.entry(name.to_owned()).or_default().clone()
    }

    fn losses_but_of(&self, exporters: &[ExporterStatus]) -> u64 {
        let deeds = self.deeds.lock().unwrap_or_else(PoisonError::into_inner);
        let is_gone = |name: &str| exporters.iter().all(|it| it.name != name);
        deeds.iter().filter(|(name, _)| is_gone(name)).map(|(_, it)| it.counters.losses()).sum()
    }

    /// Begins a new pass of an exporter; the others are not disturbed.
    ///
    /// What the old pass has under way is waited for until `deadline`, then left. Returns how many
    /// events it had not settled that lie before the new one: they are sent no more.
    ///
    /// # Errors
    /// When there is no such exporter, it cannot be compiled again, or it is a response hook that
    /// is to act on old events.
    pub fn rewind(&self, name: &str, new: NewPass, deadline: Instant) -> Result<u64, EngineError> {
        let _one_at_a_time = self.operate();
        if let Some(left) = self.begin_stopped(name, new)? {
            return Ok(left);
        }
        let found = |running: &Running| running.exporter.name() == name;
        let old = running(&self.exporters).iter().find(|it| found(it)).cloned();
        let old = old.ok_or_else(|| EngineError::Exporter {
            name: name.to_owned(),
            problem: "there is no such exporter; `shrike status` lists them".to_owned(),
        })?;
        new.permit(&old.spec)?;
        let ways = ways(&old.spec, self.workers.len())?;
        self.stop_all(std::slice::from_ref(&old), deadline);
        let _swapping = self.swap();
        let left = new.leaves(&self.close(&old.exporter), &self.reader)?;
        let (last, counts) = {
            let watermark = old.exporter.watermark();
            (watermark.resume(), watermark.counts())
        };
        old.exporter.hand_over(counts);
        // Gaps are still to be told, also those of the last moment, and what was removed stays
        // removed.
        let intended = Intended { spec: old.spec.clone(), ways };
        self.follow(&old, intended, new.after(last)).map(|()| left)
    }

    /// Waits until every exporter has settled everything that is in the log now, or until the
    /// deadline. Nothing may be appended meanwhile.
    pub fn drain(&self, deadline: Instant) -> Ended {
        self.raise(Stage::Drain);
        self.wait_for(deadline, |_| false)
    }

    /// Reads nothing more, and waits for what was sent until the deadline; for what is held only a
    /// moment.
    pub fn flush(&self, deadline: Instant) -> Ended {
        self.raise(Stage::Flush);
        let began = Instant::now();
        let patience = HELD_WAIT.min(deadline.saturating_duration_since(began));
        self.wait_for(deadline, |it| it.is_kept_back() && began.elapsed() >= patience)
    }

    /// Has whoever swaps exporters wait for nothing more that they have under way: the end is near.
    pub fn hurry(&self) {
        self.is_hurried.store(true, Ordering::Release);
    }

    /// Ends all threads; checkpoints are saved.
    #[must_use]
    pub fn end(mut self) -> Status {
        self.raise(Stage::Abort);
        let mut has_panicked = false;
        for worker in std::mem::take(&mut self.workers) {
            if worker.join().is_err() {
                has_panicked = true;
                tracing::error!("a worker panicked; its events are still in the log");
            }
        }
        if let Some((stop, keeper)) = self.keeper.take() {
            drop(stop);
            if keeper.join().is_err() {
                tracing::error!("the keeper panicked; a restart sends more events twice");
                debug_assert!(false, "the keeper panicked");
            }
        }
        // Whoever was waited for is no more.
        self.log.hold(false);
        let status = self.status();
        // Nothing moves any more, so the sum is exact: an event too many or too few is a bug.
        let torn = status.exporters.iter().find(|exporter| !exporter.is_whole());
        debug_assert!(has_panicked || torn.is_none(), "the account does not hold: {torn:?}");
        for Running { exporter, .. } in running(&self.exporters).iter() {
            let conflicts = exporter.watermark().conflicts();
            debug_assert!(has_panicked || conflicts == 0, "{}: settled twice", exporter.name());
        }
        status
    }

    /// Sends dead letters of an exporter again: those that are wanted, at most so many events a
    /// second. Returns at once; [`Engine::replayed`] says how far it is.
    ///
    /// # Errors
    /// When there is no such exporter, its store cannot be read, or a replay is running.
    pub fn replay(
        &self,
        name: &str,
        wanted: &Wanted,
        rate: Option<u32>,
    ) -> Result<Progress, EngineError> {
        let exporter = self.find(name)?;
        if exporter.hook.as_ref().is_some_and(|hook| hook.spec.is_dry) {
            let problem = "nothing is sent while its `dry_run` is true".to_owned();
            return Err(EngineError::Exporter { name: name.to_owned(), problem });
        }
        let letters = exporter.dead_letters.count(wanted)?;
        let place = exporter.dead_letters.place();
        let progress = Progress { is_running: letters > 0, wanted: letters, ..Progress::default() };
        let (wanted, until) = (wanted.clone(), Offset::ZERO);
        let is_instead = false;
        let job = Job { number: 0, wanted, rate, place, until, is_instead, progress };
        let begun = exporter.replays.begin(job).map_err(|running| EngineError::Exporter {
            name: name.to_owned(),
            problem: format!(
                "a replay is running: {} of {} letters; wait for its end",
                running.ended(),
                running.wanted
            ),
        })?;
        tracing::info!(exporter = name, letters, "replay of dead letters begins");
        exporter.wake_aside();
        Ok(begun)
    }

    /// How far the last replay of an exporter is; nothing where there was none.
    ///
    /// # Errors
    /// When there is no such exporter.
    pub fn replayed(&self, name: &str) -> Result<Progress, EngineError> {
        Ok(self.find(name)?.replays.progress().unwrap_or_default())
    }

    /// Removes dead letters for ever; returns how many.
    ///
    /// # Errors
    /// When there is no such exporter, or its store cannot be read or written.
    pub fn purge(&self, name: &str, wanted: &Wanted) -> Result<u64, EngineError> {
        let letters = self.find(name)?.dead_letters.purge(wanted)?;
        tracing::warn!(exporter = name, letters, "dead letters purged");
        Ok(letters)
    }

    pub(super) fn find(&self, name: &str) -> Result<Arc<Exporter>, EngineError> {
        let running = running(&self.exporters);
        let found = running.iter().find(|it| it.exporter.name() == name);
        found.map(|it| Arc::clone(&it.exporter)).ok_or_else(|| {
            let stopped = self.lock_stopped();
            let why = stopped.iter().find(|it| it.name() == name).map(|it| it.problem().to_owned());
            let none =
                || "there is no such running exporter; `shrike status` lists them".to_owned();
            let problem = why.map_or_else(none, |why| format!("it does not run: {why}"));
            EngineError::Exporter { name: name.to_owned(), problem }
        })
    }

    fn raise(&self, stage: Stage) {
        running(&self.exporters).iter().for_each(|running| running.exporter.raise(stage));
    }

    /// Waits for the lanes to end by themselves, but for those of exporters that are left.
    fn wait_for(&self, deadline: Instant, is_left: impl Fn(&Exporter) -> bool) -> Ended {
        let have_ended = || {
            // While exporters are exchanged, those that have ended may go on as others.
            let _operating = match self.operating.try_lock() {
                Err(TryLockError::WouldBlock) => return false,
                operating => operating,
            };
            running(&self.exporters).iter().all(|Running { exporter, .. }| {
                let has_ended = exporter.has_ended() || is_left(exporter);
                has_ended && exporter.dead_letters.waiting() == 0
            })
        };
        wait_until(deadline, have_ended);
        // Looked at first: counts are exact once lanes are at rest. While they move, an event may
        // be between two counts, and nothing pending does not mean that all is settled.
        let have_ended = have_ended();
        let pending = self.status().exporters.iter().map(|exporter| exporter.pending).sum();
        match (have_ended, pending) {
            (true, 0) => Ended::Settled,
            (true, pending) => Ended::Left(pending),
            (false, pending) => Ended::Pending(pending),
        }
    }
}

/// What the chain of receipts says of a start.
pub(super) fn started(running: &[Running], stopped: &[Stopped], work: Work) -> Operation {
    let names = running.iter().map(|it| it.exporter.name());
    let names: Vec<&str> = names.chain(stopped.iter().map(Stopped::name)).collect();
    let (version, pid, names) = (env!("CARGO_PKG_VERSION"), std::process::id(), names.join(","));
    let what = if work == Work::Aside { ", for dead letters only" } else { "" };
    let detail = format!("shrike {version}, process {pid}, exporters {names}{what}");
    Operation::by_itself("start", "", detail)
}

/// The running exporters; the lock is held for a look or a swap, never on the event path.
pub(crate) fn running(exporters: &Mutex<Vec<Running>>) -> MutexGuard<'_, Vec<Running>> {
    exporters.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn wait_until(deadline: Instant, is_done: impl Fn() -> bool) {
    while !is_done() && Instant::now() < deadline {
        thread::sleep(LOOK_INTERVAL);
    }
}

pub(super) fn build(
    spec: ExporterSpec,
    checkpoint: Checkpoint,
    (allowance, dead_letters, deeds): (Arc<Allowance>, Arc<DeadLetters>, Deeds),
    ways: &[Way],
    workers: usize,
    (work, has_receipts): (Work, bool),
) -> Result<Arc<Exporter>, EngineError> {
    let endpoints = endpoints(&spec)?.len().max(1);
    let slots = u32::try_from(concurrency(&spec, workers)).unwrap_or(u32::MAX);
    let gate = GateSettings::new(&spec.settings, endpoints, slots, route_places(&spec));
    let gate = Arc::new(Gate::new(gate, Instant::now()));
    // A filter that takes everything leaves nothing to tell, and one worker shares its blocks.
    let is_fed = spec.settings.order() != Order::Any && workers > 1;
    let feed = (is_fed && !spec.filter.is_open()).then(|| Feed::new(checkpoint.base));
    let mut exporter =
        Exporter::compile(spec, checkpoint, allowance, gate, (dead_letters, deeds), ways.len())?;
    exporter.feed = feed;
    exporter.leave_to_letters();
    if has_receipts {
        exporter.keep_receipts();
    }
    if work == Work::Aside {
        exporter.read_nothing();
    }
    Ok(Arc::new(exporter))
}

/// Hands the lanes of an exporter to the workers, the one beside the log last.
pub(super) fn place(workers: &[Worker], running: &Running, mut ways: Vec<Way>) {
    let is_single = ways.len() == 1;
    ways.extend(ways.first().map(Way::beside));
    for (number, way) in ways.into_iter().enumerate() {
        if running.exporter.is_aside_only && !running.exporter.is_aside(number) {
            continue;
        }
        // Single lanes are spread over the workers; of several, each worker has one.
        let home = if is_single { running.number } else { number };
        let exporter = Arc::clone(&running.exporter);
        workers[home % workers.len()].add(LaneSpec { exporter, number, way });
    }
}

/// Opens the receipts, and notes where every exporter goes on.
pub(super) fn receipts(
    options: Option<ReceiptOptions>,
    running: &[Running],
    (log, cursors): (&Log, &Cursors),
) -> Result<Option<Receipts>, EngineError> {
    let Some(options) = options else { return Ok(None) };
    let mut receipts = go_on(options, log.disk(), cursors)?;
    for Running { exporter, .. } in running {
        receipts.resume(exporter.name(), exporter.pass(), exporter.counts_before());
    }
    Ok(Some(receipts))
}

/// How often ending is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);
/// Lanes that were told to end at once do so within a turn.
pub(super) const ABORT_WAIT: Duration = Duration::from_secs(5);
