//! Exporters that did not start, since what they keep on disk cannot be used: the others run.

use std::fmt::Display;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::dead_letters::DeadLetters;
use super::engine::{EngineError, Running, build, place, running};
use super::exporter::{Exporter, ExporterSpec};
use super::kept::{open_kept, open_letters, traces};
use super::network::Way;
use super::new_pass::NewPass;
use super::status::ExporterStatus;
use super::ways::ways;
use super::{Engine, Operation};
use crate::deliver::Allowance;
use crate::event::{Checkpoint, Offset};
use crate::log::LogError;

/// An exporter that did not start.
#[derive(Debug)]
pub(crate) struct Stopped {
    pub(super) spec: ExporterSpec,
    pub(super) number: usize,
    allowance: Arc<Allowance>,
    problem: String,
    since: Instant,
    /// When it is tried again; never where its state has to be set anew.
    again: Option<Instant>,
    /// Where it begins if it wants only what is new and has no checkpoint.
    latest: Offset,
}

impl Stopped {
    /// One whose state somebody has to set anew.
    pub(super) fn new(
        spec: ExporterSpec,
        number: usize,
        allowance: Arc<Allowance>,
        problem: &dyn Display,
    ) -> Self {
        let name = &spec.settings.name;
        tracing::error!(exporter = name, %problem, "exporter stopped; the others run");
        let (problem, since) = (problem.to_string(), Instant::now());
        Self { spec, number, allowance, problem, since, again: None, latest: Offset::ZERO }
    }

    /// The same, tried again where another time may help.
    pub(super) fn tried_again(self, problem: &LogError, latest: Offset) -> Self {
        let is_lasting = matches!(problem, LogError::Damaged { .. } | LogError::Version { .. });
        let again = (!is_lasting).then(|| self.since + TRY_INTERVAL);
        Self { again, latest, ..self }
    }

    /// The exporter's name.
    pub(super) fn name(&self) -> &str {
        &self.spec.settings.name
    }

    /// What keeps it from starting.
    pub(super) fn problem(&self) -> &str {
        &self.problem
    }

    /// How it is started; with other settings that is tried at once.
    pub(super) fn set_spec(&mut self, spec: ExporterSpec) {
        if self.spec != spec {
            self.again = Some(Instant::now());
        }
        self.spec = spec;
    }

    pub(super) fn status(&self, now: Instant) -> ExporterStatus {
        let ago = now.saturating_duration_since(self.since);
        ExporterStatus::stopped(&self.spec.settings, ago, &self.problem)
    }
}

impl Engine {
    /// Starts the exporters whose files could not be used before and can be now. Whoever runs the
    /// engine calls this every now and then; each is tried every few seconds.
    pub fn start_stopped(&self, now: Instant) {
        let is_due = |it: &Stopped| it.again.is_some_and(|again| again <= now);
        if !self.lock_stopped().iter().any(is_due) {
            return;
        }
        let _one_at_a_time = self.operate();
        let due: Vec<String> = self
            .lock_stopped()
            .iter()
            .filter(|it| is_due(it))
            .map(|it| it.name().to_owned())
            .collect();
        for name in due {
            match self.start_again(&name) {
                Ok(()) => {
                    tracing::info!(
                        exporter = name,
                        "exporter started: its files can be used again"
                    );
                    let detail = "its files can be used again".to_owned();
                    self.note(Operation::by_itself("start", &name, detail));
                }
                Err(problem) => self.put_off(&name, &problem, now),
            }
        }
    }

    /// Notes that one cannot be started yet.
    fn put_off(&self, name: &str, problem: &EngineError, now: Instant) {
        let mut stopped = self.lock_stopped();
        let Some(one) = stopped.iter_mut().find(|it| it.name() == name) else { return };
        let told = problem.to_string();
        if told != one.problem {
            tracing::error!(exporter = name, %problem, "exporter stopped; the others run");
        }
        one.problem = told;
        one.again = Some(now + TRY_INTERVAL);
    }

    /// Starts one where it is to go on.
    fn start_again(&self, name: &str) -> Result<(), EngineError> {
        let found = |it: &&Stopped| it.name() == name;
        // Whoever holds it up meanwhile has taken the lock on operations.
        let wanted = self.lock_stopped().iter().find(found).map(|it| (it.spec.clone(), it.latest));
        let Some((spec, latest)) = wanted else { return Ok(()) };
        let receipts = self.receipts_path();
        let kept = open_kept(
            &spec,
            (&self.log, &self.reader, &self.cursors),
            (receipts.as_deref(), latest),
        )?;
        let exporter = self.start_kept(&spec, kept)?;
        self.note_resumed(&exporter);
        Ok(())
    }

    /// Starts an exporter that was stopped, with a new pass, and returns the events that this
    /// leaves; none where none was stopped.
    pub(super) fn begin_stopped(
        &self,
        name: &str,
        new: NewPass,
    ) -> Result<Option<u64>, EngineError> {
        let found = |it: &&Stopped| it.name() == name;
        let spec = self.lock_stopped().iter().find(found).map(|it| it.spec.clone());
        let Some(spec) = spec else { return Ok(None) };
        new.permit(&spec)?;
        // A newer version's state stays for that version; a damaged store cannot be written.
        let mut left = 0;
        let last = match self.cursors.load(name) {
            Ok(Some(last)) => {
                left = new.leaves(&last, &self.reader)?;
                last
            }
            _ => traces(&spec, self.receipts_path().as_deref()).last()?,
        };
        let checkpoint = new.after(last);
        let letters = open_letters(&spec, &checkpoint, &self.log)?;
        let exporter = self.start_kept(&spec, (checkpoint, letters))?;
        exporter.watermark().touch();
        Ok(Some(left))
    }

    /// Starts one that was stopped, now that its files are open.
    fn start_kept(
        &self,
        spec: &ExporterSpec,
        (checkpoint, letters): (Checkpoint, Arc<DeadLetters>),
    ) -> Result<Arc<Exporter>, EngineError> {
        let name = &spec.settings.name;
        let (ways, workers): (Vec<Way>, _) = (ways(spec, self.workers.len())?, self.workers.len());
        let work = (self.work, self.has_receipts());
        let mut stopped = self.lock_stopped();
        let at = stopped.iter().position(|it| it.name() == name).expect("nobody else operates");
        let shared = (Arc::clone(&stopped[at].allowance), letters, self.deeds(name));
        let exporter = build(spec.clone(), checkpoint, shared, &ways, workers, work)?;
        let number = stopped[at].number;
        let new = Running { exporter: Arc::clone(&exporter), spec: spec.clone(), number };
        stopped.remove(at);
        drop(stopped);
        place(&self.workers, &new, ways);
        let mut running = running(&self.exporters);
        running.push(new);
        self.feeds.set(running.iter().map(|it| Arc::clone(&it.exporter)).collect());
        Ok(exporter)
    }

    /// The exporters that did not start.
    pub(super) fn stopped_names(&self) -> Vec<String> {
        self.lock_stopped().iter().map(|it| it.name().to_owned()).collect()
    }

    pub(super) fn lock_stopped(&self) -> MutexGuard<'_, Vec<Stopped>> {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Between two tries of an exporter whose files cannot be used.
const TRY_INTERVAL: Duration = Duration::from_secs(5);
