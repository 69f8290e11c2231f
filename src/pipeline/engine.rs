//! Starts workers and keeper, tells how they are, and ends them.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::block::BlockCounters;
use super::dead_letters::DeadLetters;
use super::exporter::{Exporter, ExporterSpec};
use super::keeper::Keeper;
use super::network::Way;
use super::status::{ExporterStatus, Status};
use super::stop::{Stage, Stop};
use super::worker::{self, WorkerSpec};
use crate::deliver::{
    self, Budget, Cookies, Destination, Gate, GateSettings, Order, TransportLimits,
    TransportSetupError, Wire,
};
use crate::event::{Checkpoint, Class, Opening, OpeningOptions, Span};
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
    /// Where dead letters are kept.
    pub state_dir: PathBuf,
    /// The hard bound of the log, for exporters without one of their own.
    pub log_bytes_max: u64,
    /// Whether `latest` means `earliest` for an exporter without a checkpoint: a first run whose
    /// inputs are finite should export them.
    pub from_the_start: bool,
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
    /// The kernel gives no thread.
    #[error("no thread could be started: {0}; allow the process more threads")]
    Thread(io::Error),
}

/// What every worker sees of the engine.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) stop: Stop,
    /// Records that could not be opened, each counted once.
    pub(crate) invalid: Counter,
    /// The highest invalid record so far, so that exporters that meet it again do not count twice.
    invalid_seen: AtomicU64,
}

impl Shared {
    /// Notes a record that could not be opened; the first exporter that meets it says so.
    pub(crate) fn on_invalid(&self, span: Span, class: Class) {
        let at = span.from.bytes() + 1;
        if self.invalid_seen.fetch_max(at, Ordering::Relaxed) < at {
            self.invalid.add(1);
            tracing::warn!(offset = %span.from, class = class.name(), "record not readable");
        }
    }
}

/// A running engine. Dropping it without [`Engine::end`] leaves its threads to the process.
#[derive(Debug)]
pub struct Engine {
    log: Log,
    reader: Reader,
    exporters: Vec<Arc<Exporter>>,
    workers: Vec<JoinHandle<()>>,
    keeper: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
    shared: Arc<Shared>,
    blocks: Arc<BlockCounters>,
    started: Instant,
}

/// How an engine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Everything that was to be settled is.
    Settled,
    /// Time ran out; what is pending is still in the log.
    Pending(u64),
}

impl Engine {
    /// Starts workers and keeper over a log.
    ///
    /// # Errors
    /// When an exporter cannot be compiled, a store not be opened, or a thread not be started.
    /// Nothing runs then.
    pub fn start(log: Log, options: EngineOptions) -> Result<Self, EngineError> {
        let workers = match options.workers {
            0 => thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        };
        let reader = log.reader();
        let cursors = log.cursors()?;
        let budget = Budget::new(options.in_flight_bytes, options.exporters.len());
        let mut exporters = Vec::new();
        let mut lanes: Vec<Vec<(Arc<Exporter>, usize, Way)>> =
            (0..workers).map(|_| Vec::new()).collect();
        for (number, spec) in options.exporters.into_iter().enumerate() {
            let name = spec.settings.name.clone();
            let checkpoint = checkpoint(&cursors, &reader, &spec, options.from_the_start)?;
            let ways = ways(&spec, workers)?;
            let endpoints = endpoints(&spec)?.len().max(1);
            let concurrency = concurrency(&spec, workers);
            let slots = u32::try_from(concurrency).unwrap_or(u32::MAX);
            let gate =
                Gate::new(GateSettings::new(&spec.settings, endpoints, slots), Instant::now());
            let dead_letters = DeadLetters::open(&options.state_dir, &name)?;
            let exporter = Arc::new(Exporter::compile(
                spec,
                checkpoint,
                budget.allowance(),
                Arc::new(gate),
                dead_letters,
                ways.len(),
            )?);
            for (lane, way) in ways.into_iter().enumerate() {
                // Exporters that keep order have one lane; they are spread over the workers.
                let home = if exporter.wakes.len() == 1 { number + lane } else { lane };
                lanes[home % workers].push((Arc::clone(&exporter), lane, way));
            }
            exporters.push(exporter);
        }
        let shared = Arc::new(Shared {
            stop: Stop::default(),
            invalid: Counter::default(),
            invalid_seen: AtomicU64::new(0),
        });
        let opening = Arc::new(Opening::new(&options.opening));
        let blocks = Arc::new(BlockCounters::default());
        let mut threads = Vec::new();
        for (index, lanes) in lanes.into_iter().enumerate() {
            threads.push(worker::start(WorkerSpec {
                index,
                reader: reader.clone(),
                opening: Arc::clone(&opening),
                counters: Arc::clone(&blocks),
                shared: Arc::clone(&shared),
                lanes,
            })?);
        }
        let (stop, stopped) = mpsc::channel();
        let keeper = Keeper {
            log: log.clone(),
            reader: reader.clone(),
            cursors,
            exporters: exporters.clone(),
            log_bytes_max: options.log_bytes_max,
        };
        let keeper = thread::Builder::new()
            .name("shrike-keeper".to_owned())
            .spawn(move || keeper.run(&stopped))
            .map_err(EngineError::Thread)?;
        Ok(Self {
            log,
            reader,
            exporters,
            workers: threads,
            keeper: Some((stop, keeper)),
            shared,
            blocks,
            started: Instant::now(),
        })
    }

    /// How everything is now.
    #[must_use]
    pub fn status(&self) -> Status {
        let head = self.log.written();
        let now = Instant::now();
        Status {
            uptime: now.saturating_duration_since(self.started),
            io: self.log.io().to_string(),
            oldest: self.log.oldest(),
            written: head,
            durable: self.log.durable(),
            invalid: self.shared.invalid.load(),
            blocks_opened: self.blocks.opened.load(),
            blocks_shared: self.blocks.shared.load(),
            records_opened: self.blocks.records.load(),
            exporters: self
                .exporters
                .iter()
                .map(|exporter| ExporterStatus::new(exporter, &self.reader, head, now))
                .collect(),
        }
    }

    /// Waits until every exporter has settled everything that is in the log now, or until the
    /// deadline. Nothing may be appended meanwhile.
    pub fn drain(&self, deadline: Instant) -> Ended {
        self.raise(Stage::Drain);
        self.wait_for(deadline)
    }

    /// Reads nothing more, and waits for what was sent until the deadline.
    pub fn flush(&self, deadline: Instant) -> Ended {
        self.raise(Stage::Flush);
        self.wait_for(deadline)
    }

    /// Ends all threads; checkpoints are saved.
    pub fn end(mut self) -> Status {
        self.raise(Stage::Abort);
        for worker in self.workers.drain(..) {
            if worker.join().is_err() {
                tracing::error!("a worker panicked; its events are still in the log");
            }
        }
        if let Some((stop, keeper)) = self.keeper.take() {
            drop(stop);
            if keeper.join().is_err() {
                tracing::error!("the keeper panicked; a restart sends more events twice");
            }
        }
        self.status()
    }

    fn raise(&self, stage: Stage) {
        self.shared.stop.raise(stage);
        for exporter in &self.exporters {
            exporter.wake_all();
        }
    }

    /// Waits for the workers to end by themselves.
    fn wait_for(&self, deadline: Instant) -> Ended {
        while Instant::now() < deadline {
            let are_done = self.workers.iter().all(JoinHandle::is_finished);
            let letters: u64 =
                self.exporters.iter().map(|exporter| exporter.dead_letters.waiting()).sum();
            if are_done && letters == 0 {
                break;
            }
            thread::sleep(LOOK_INTERVAL);
        }
        let pending = self.status().exporters.iter().map(|exporter| exporter.pending).sum();
        match pending {
            0 => Ended::Settled,
            pending => Ended::Pending(pending),
        }
    }
}

/// Where an exporter goes on, or begins.
fn checkpoint(
    cursors: &Cursors,
    reader: &Reader,
    spec: &ExporterSpec,
    from_the_start: bool,
) -> Result<Checkpoint, EngineError> {
    if let Some(checkpoint) = cursors.load(&spec.settings.name)? {
        return Ok(checkpoint);
    }
    let start = match spec.settings.from {
        deliver::From::Latest if !from_the_start => reader.written(),
        deliver::From::Earliest | deliver::From::Latest => reader.oldest(),
        deliver::From::Time(received_ns) => reader.seek_time(received_ns)?,
    };
    let checkpoint = Checkpoint { start, base: start, ..Checkpoint::default() };
    // Saved at once: a crash before the first settled event must not lose where it began.
    cursors.save(&spec.settings.name, &checkpoint)?;
    Ok(checkpoint)
}

/// Requests in flight over all lanes.
fn concurrency(spec: &ExporterSpec, workers: usize) -> usize {
    match (spec.settings.vendor.order, spec.settings.concurrency) {
        (Order::Strict, _) => 1,
        (Order::Any, Some(concurrency)) => concurrency.max(1),
        (Order::Any, None) => CONCURRENCY_PER_WORKER * workers,
    }
}

fn endpoints(spec: &ExporterSpec) -> Result<Vec<http::Uri>, EngineError> {
    (spec.settings.vendor.endpoints)(&spec.settings.options).map_err(|problem| {
        EngineError::Exporter { name: spec.settings.name.clone(), problem: problem.to_string() }
    })
}

/// One way per lane: `min(workers, concurrency, connections)` of them where order does not
/// matter.
fn ways(spec: &ExporterSpec, workers: usize) -> Result<Vec<Way>, EngineError> {
    let settings = &spec.settings;
    let connections = settings.connection.connections_max.max(1);
    let lanes = match settings.vendor.order {
        Order::Strict => 1,
        Order::Any => {
            let usual = workers.min(concurrency(spec, workers)).min(connections);
            settings.lanes.map_or(usual, |lanes| lanes.clamp(1, workers))
        }
    };
    if settings.vendor.wire == Wire::Lines {
        return Ok(vec![Way::Lines; lanes]);
    }
    let refuse = |source| EngineError::Transport { name: settings.name.clone(), source };
    let destination = Destination::new(&endpoints(spec)?, &settings.tls, &settings.connection);
    let destination = Arc::new(destination.map_err(refuse)?);
    let cookies = if settings.vendor.cookies { Cookies::Keep } else { Cookies::Ignore };
    let share = (connections / lanes).max(1);
    let limits = TransportLimits { cookies, ..TransportLimits::new(share) };
    Ok(vec![Way::Http(destination, limits); lanes])
}

/// Requests in flight per worker, unless configured: one on its way, one being answered.
const CONCURRENCY_PER_WORKER: usize = 2;
/// How often ending is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);
