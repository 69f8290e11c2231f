//! What an engine is before it has threads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use super::engine::{EngineError, EngineOptions, Running, Shared, build, receipts, started};
use super::keeper::Keeper;
use super::kept::open_kept;
use super::measure::Deeds;
use super::network::Way;
use super::stopped::Stopped;
use super::ways::ways;
use super::wellness::Watch;
use crate::deliver::Budget;
use crate::log::Log;

/// Everything of an engine but its threads.
pub(super) struct Prepared {
    pub(super) keeper: Keeper,
    pub(super) budget: Arc<Budget>,
    /// The ways of each running exporter's lanes.
    pub(super) ways: Vec<Vec<Way>>,
    /// How many threads there are to be.
    pub(super) workers: usize,
}

impl Prepared {
    /// Opens what an engine keeps on disk and compiles its exporters.
    pub(super) fn new(log: Log, options: EngineOptions) -> Result<Self, EngineError> {
        let workers = match options.workers {
            0 => thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        };
        let reader = log.reader();
        let cursors = Arc::new(log.cursors()?);
        let latest = match options.from_the_start {
            true => reader.oldest(),
            false => reader.written(),
        };
        let receipts_path = options.receipts.as_ref().map(|receipts| receipts.path.clone());
        let budget = Budget::new(options.in_flight_bytes, options.exporters.len());
        let (mut running, mut stopped, mut lanes) = (Vec::new(), Vec::new(), Vec::new());
        for (number, spec) in options.exporters.into_iter().enumerate() {
            let allowance = budget.allowance();
            let receipts = receipts_path.as_deref();
            let kept = open_kept(&spec, (&log, &reader, &cursors), (receipts, latest));
            let (checkpoint, dead_letters) = match kept {
                Ok(kept) => kept,
                // The destinations share nothing: what one keeps and cannot use stops that alone.
                Err(EngineError::Log(problem)) => {
                    let one = Stopped::new(spec, number, allowance, &problem);
                    stopped.push(one.tried_again(&problem, latest));
                    continue;
                }
                Err(problem) => return Err(problem),
            };
            let ways = ways(&spec, workers)?;
            let exporter = build(
                spec.clone(),
                checkpoint,
                (allowance, dead_letters, Deeds::default()),
                &ways,
                workers,
                (options.work, options.receipts.is_some()),
            )?;
            running.push(Running { exporter, spec, number });
            lanes.push(ways);
        }
        let receipts_bytes_max = options.receipts.as_ref().map_or(0, |receipts| receipts.bytes_max);
        let receipts = receipts(options.receipts, &running, (&log, &cursors))?;
        let shared = Arc::new(Shared::default());
        shared.operations.note(started(&running, &stopped, options.work));
        let keeper = Keeper {
            log,
            reader,
            cursors,
            swapping: Arc::default(),
            exporters: Arc::new(Mutex::new(running)),
            stopped: Arc::new(Mutex::new(stopped)),
            log_bytes_max: Arc::new(AtomicU64::new(options.log_bytes_max)),
            receipts_bytes_max: Arc::new(AtomicU64::new(receipts_bytes_max)),
            shared,
            receipts: Arc::new(Mutex::new(receipts)),
            work: options.work,
            told: BTreeMap::new(),
            proven: Instant::now(),
            refused: BTreeSet::new(),
            skips: BTreeMap::new(),
            buried: BTreeMap::new(),
            watch: Watch::default(),
            saved: BTreeMap::new(),
        };
        Ok(Self { keeper, budget, ways: lanes, workers })
    }
}
