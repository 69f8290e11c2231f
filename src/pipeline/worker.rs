//! One thread per core: a runtime, its lanes, and the blocks that they share.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::runtime::Builder;
use tokio::task::LocalSet;
use tracing::warn;

use super::block::{BlockCounters, Blocks};
use super::exporter::Exporter;
use super::lane::Lane;
use super::network::Way;
use super::stop::Stop;
use super::tide::Tide;
use super::{EngineError, Shared};
use crate::event::Opening;
use crate::log::Reader;

/// What a worker is started with.
pub(crate) struct WorkerSpec {
    /// Its number; it prefers the core of the same number.
    pub(crate) index: usize,
    pub(crate) reader: Reader,
    pub(crate) opening: Arc<Opening>,
    pub(crate) counters: Arc<BlockCounters>,
    pub(crate) shared: Arc<Shared>,
    /// The lanes that live here: exporter, lane number, way to the destination.
    pub(crate) lanes: Vec<(Arc<Exporter>, usize, Way)>,
}

/// What the lanes of one worker share.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) tide: Tide,
    pub(crate) blocks: RefCell<Blocks>,
    pub(crate) reader: Reader,
    pub(crate) shared: Arc<Shared>,
}

impl Bench {
    /// How far to go on.
    pub(crate) fn stop(&self) -> &Stop {
        &self.shared.stop
    }
}

/// Starts the thread of a worker; it ends when its lanes have.
///
/// # Errors
/// When the kernel gives no thread.
pub(crate) fn start(spec: WorkerSpec) -> Result<JoinHandle<()>, EngineError> {
    let name = format!("shrike-{}", spec.index);
    let start = move || {
        pin(spec.index);
        if let Err(problem) = run(spec) {
            // Without its event loop a worker cannot do anything; the others go on.
            tracing::error!(%problem, "worker ended");
        }
    };
    thread::Builder::new().name(name).spawn(start).map_err(EngineError::Thread)
}

fn run(spec: WorkerSpec) -> io::Result<()> {
    let runtime =
        Builder::new_current_thread().enable_all().max_blocking_threads(BLOCKING_MAX).build()?;
    let local = LocalSet::new();
    local.block_on(&runtime, async move {
        let waker = spec.reader.waker().map_err(io::Error::other)?;
        let bench = Rc::new(Bench {
            tide: Tide::new(spec.reader.clone(), waker)?,
            blocks: RefCell::new(Blocks::new(spec.reader.clone(), spec.opening, spec.counters)),
            reader: spec.reader,
            shared: spec.shared,
        });
        let watching = Rc::clone(&bench);
        let watch = tokio::task::spawn_local(async move { watching.tide.watch().await });
        let lanes: Vec<_> = spec
            .lanes
            .into_iter()
            .map(|(exporter, lane, way)| {
                let lane = Lane::new(exporter, lane, way.open(), Rc::clone(&bench));
                tokio::task::spawn_local(lane.run())
            })
            .collect();
        for lane in lanes {
            lane.await.map_err(io::Error::other)?;
        }
        watch.abort();
        Ok(())
    })
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

/// Threads for what would stall a worker: cold reads, name resolution, a full pipe.
const BLOCKING_MAX: usize = 4;
