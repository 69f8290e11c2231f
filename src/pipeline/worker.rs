//! One thread per core: a runtime, its lanes, and the blocks that they share.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{Id, JoinError, JoinSet, LocalSet};
use tracing::warn;

use super::block::{BlockCounters, Blocks};
use super::exporter::Exporter;
use super::feed::Feeds;
use super::lane::Lane;
use super::meter;
use super::network::Way;
use super::openings::Openings;
use super::pace::Pace;
use super::tide::Tide;
use super::{EngineError, Shared};
use crate::log::Reader;

/// What a worker is started with.
pub(crate) struct WorkerSpec {
    /// Its number; it prefers the core of the same number.
    pub(crate) index: usize,
    pub(crate) reader: Reader,
    pub(crate) openings: Arc<Openings>,
    pub(crate) counters: Arc<BlockCounters>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) feeds: Arc<Feeds>,
}

/// A lane for a worker to run.
pub(crate) struct LaneSpec {
    pub(crate) exporter: Arc<Exporter>,
    pub(crate) number: usize,
    pub(crate) way: Way,
}

/// A running worker. It takes lanes until it is dropped, and ends when its lanes have.
#[derive(Debug)]
pub(crate) struct Worker {
    lanes: UnboundedSender<LaneSpec>,
    thread: JoinHandle<()>,
}

impl Worker {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the kernel gives no thread, or none of the descriptors that it needs: it could run no
    /// lane, and exporters without lanes look well.
    pub(crate) fn start(spec: WorkerSpec) -> Result<Self, EngineError> {
        let (lanes, arriving) = unbounded_channel();
        let name = format!("shrike-{}", spec.index);
        let mut building = Builder::new_current_thread();
        building.enable_all().max_blocking_threads(BLOCKING_MAX);
        let runtime = building.build().map_err(EngineError::Descriptors)?;
        let tide = {
            let _inside = runtime.enter();
            let waker = spec.reader.waker()?;
            Tide::new(spec.reader.clone(), waker).map_err(EngineError::Descriptors)?
        };
        let start = move || {
            pin(spec.index);
            if let Err(problem) = run(&runtime, tide, spec, arriving) {
                // The others go on.
                tracing::error!(%problem, "worker ended");
            }
            // A disk that hangs must not keep the process from ending.
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name(name).spawn(start).map_err(EngineError::Thread)?;
        Ok(Self { lanes, thread })
    }

    /// Hands over a lane; a worker that ended leaves it to the log.
    pub(crate) fn add(&self, lane: LaneSpec) {
        if self.lanes.send(lane).is_err() {
            tracing::error!("a worker has ended; a lane was not started");
        }
    }

    /// Waits until its lanes have ended.
    pub(crate) fn join(self) -> thread::Result<()> {
        drop(self.lanes);
        self.thread.join()
    }
}

/// What the lanes of one worker share.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) tide: Tide,
    pub(crate) blocks: RefCell<Blocks>,
    pub(crate) pace: Pace,
    pub(crate) reader: Reader,
    pub(crate) shared: Arc<Shared>,
    pub(crate) feeds: Arc<Feeds>,
    pub(crate) openings: Arc<Openings>,
}

fn run(
    runtime: &Runtime,
    tide: Tide,
    spec: WorkerSpec,
    mut arriving: UnboundedReceiver<LaneSpec>,
) -> io::Result<()> {
    let local = LocalSet::new();
    local.block_on(runtime, async move {
        let bench = Rc::new(Bench {
            tide,
            blocks: RefCell::new(Blocks::new(
                spec.reader.clone(),
                Arc::clone(&spec.openings),
                spec.counters,
                Arc::clone(&spec.feeds),
            )),
            pace: Pace::default(),
            reader: spec.reader,
            shared: spec.shared,
            feeds: spec.feeds,
            openings: spec.openings,
        });
        let watching = Rc::clone(&bench);
        let watch = tokio::task::spawn_local(async move { watching.tide.watch().await });
        let mut lanes = Lanes::default();
        loop {
            let arrived = tokio::select! {
                arrived = arriving.recv() => arrived,
                Some(ended) = lanes.tasks.join_next_with_id() => {
                    lanes.on_ended(ended, &bench.shared);
                    continue;
                }
            };
            let Some(LaneSpec { exporter, number, way }) = arrived else { break };
            if exporter.prepares(number) {
                let (reader, network) = (bench.reader.clone(), way.beside().open());
                lanes.tasks.spawn_local(meter::run(Arc::clone(&exporter), reader, network));
            }
            let lane = Lane::new(Arc::clone(&exporter), number, &way, Rc::clone(&bench));
            let task = lanes.tasks.spawn_local(lane.run());
            lanes.whose.insert(task.id(), (exporter, number));
        }
        while let Some(ended) = lanes.tasks.join_next_with_id().await {
            lanes.on_ended(ended, &bench.shared);
        }
        watch.abort();
        Ok(())
    })
}

/// The lanes of a worker, and what counts for them.
#[derive(Default)]
struct Lanes {
    tasks: JoinSet<()>,
    /// Whose lane a task is.
    whose: HashMap<Id, (Arc<Exporter>, usize)>,
}

impl Lanes {
    /// One that panicked has said so; what it held stays in the log, and its neighbours go on.
    fn on_ended(&mut self, ended: Result<(Id, ()), JoinError>, shared: &Shared) {
        let (id, is_lost) = match ended {
            Ok((id, ())) => (id, false),
            Err(problem) => (problem.id(), true),
        };
        let lane = self.whose.remove(&id);
        if is_lost {
            shared.lanes_lost.add(1);
            if let Some((exporter, number)) = lane {
                tracing::error!(exporter = exporter.name(), "a lane ended by a defect; restart");
                exporter.lose(number, Instant::now());
            }
        }
    }
}

/// Keeps the calling thread on one of the cores that the process may use.
fn pin(index: usize) {
    let pinned = sched_getaffinity(None).and_then(|allowed| {
        let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core)).collect();
        let mut one = CpuSet::new();
        one.set(cores[index % cores.len().max(1)]);
        sched_setaffinity(None, &one)
    });
    if let Err(problem) = pinned {
        warn!(worker = index, %problem, "not pinned to a core");
    }
}

/// Threads for cold reads, which would stall a worker: all read the same disk.
const BLOCKING_MAX: usize = 4;
