//! Changes a running engine to other exporters: what did not change is not touched.
//!
//! An exporter that changed ends like one that stops, and a new one goes on where it ended, counts
//! included: the account holds across the change.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::dead_letters::DeadLetters;
use super::engine::{
    ABORT_WAIT, EngineOptions, Running, Stopped, build, checkpoint, open_letters, place, running,
    wait_until,
};
use super::exporter::{Exporter, ExporterSpec};
use super::network::Way;
use super::receipts::Account;
use super::stop::Stage;
use super::ways::ways;
use super::{Engine, EngineError, Render};
use crate::event::{Checkpoint, Opening};

/// What a reload changed, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Exporters that did not run before.
    pub added: Vec<String>,
    /// Exporters that go on with other settings.
    pub changed: Vec<String>,
    /// Exporters that run no more; their cursors stay.
    pub removed: Vec<String>,
}

impl Reloaded {
    /// Whether every exporter runs on as it was.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// One exporter as it is to run, and its connections.
pub(super) struct Intended {
    pub(super) spec: ExporterSpec,
    pub(super) ways: Vec<Way>,
}

impl Engine {
    /// Runs these exporters from now on. Of the options, all but the number of workers and what
    /// the exporters do are taken; these belong to the start.
    ///
    /// Exporters that did not change keep their lanes and connections, unless the budget or the
    /// place of the receipts is another. What others have under way is waited for until `deadline`,
    /// then left: it is sent again.
    ///
    /// # Errors
    /// When an exporter cannot be compiled or other receipts cannot be opened; nothing has changed
    /// then. When the state of one cannot be opened or saved; the others have changed then.
    pub fn reload(
        &self,
        options: EngineOptions,
        deadline: Instant,
    ) -> Result<Reloaded, EngineError> {
        let _one_at_a_time = self.operate();
        let workers = self.workers.len();
        let terms = self.other_terms(&options)?;
        let mut wanted = Vec::with_capacity(options.exporters.len());
        for spec in options.exporters {
            Render::new(&spec)?;
            let ways = ways(&spec, workers)?;
            wanted.push(Intended { spec, ways });
        }
        let runs = running(&self.exporters).clone();
        let is_of =
            |it: &Running, wanted: &Intended| it.exporter.name() == wanted.spec.settings.name;
        let is_same =
            |it: &&Running| wanted.iter().any(|wanted| is_of(it, wanted) && it.spec == wanted.spec);
        let is_ending = |it: &&Running| !terms.are_same() || !is_same(it);
        let ending: Vec<Running> = runs.iter().filter(is_ending).cloned().collect();
        let kept: Vec<String> = match terms.are_same() {
            true => Vec::new(),
            false => runs.iter().filter(is_same).map(|it| it.exporter.name().to_owned()).collect(),
        };
        self.openings.set(Opening::new(&options.opening));
        self.log_bytes_max.store(options.log_bytes_max, Ordering::Relaxed);
        self.keep_receipts(options.receipts.as_ref());
        self.stop_all(&ending, deadline);
        self.agree(terms, &ending);
        let is_wanted = |name: &str| wanted.iter().any(|it| it.spec.settings.name == name);
        self.lock_stopped().retain(|it| is_wanted(it.name()));
        // All of them have ended: one that cannot go on must not keep the others from it.
        let (mut reloaded, mut problem) = (Reloaded::default(), None);
        let mut note = |done: Result<bool, EngineError>, name: String, to: &mut Vec<String>| {
            to.extend(done.as_ref().is_ok_and(|&is_so| is_so).then_some(name));
            problem = problem.take().or(done.err());
        };
        for old in &ending {
            let name = old.exporter.name().to_owned();
            match wanted.iter().position(|wanted| is_of(old, wanted)) {
                Some(at) => {
                    let done = self.exchange(old, wanted.swap_remove(at));
                    // Those that only go on under other terms are as they were.
                    let is_changed = !kept.contains(&name);
                    note(done.map(|()| is_changed), name, &mut reloaded.changed);
                }
                None => note(self.remove(old).map(|()| true), name, &mut reloaded.removed),
            }
        }
        for new in wanted {
            let name = new.spec.settings.name.clone();
            let has_run = runs.iter().any(|it| it.exporter.name() == name);
            if !has_run {
                note(self.add(new), name, &mut reloaded.added);
            }
        }
        problem.map_or(Ok(reloaded), Err)
    }

    /// Sends what an exporter has gathered, however little, and waits until `deadline` for what
    /// comes of it; what takes longer goes on.
    ///
    /// # Errors
    /// When there is no such exporter that runs.
    pub fn flush_exporter(&self, name: &str, deadline: Instant) -> Result<(), EngineError> {
        let exporter = self.find(name)?;
        let (wanted, began) = (exporter.flush(), Instant::now());
        let is_stuck = || exporter.is_kept_back() && began.elapsed() > HELD_WAIT;
        wait_until(deadline, || exporter.has_flushed(wanted) || is_stuck());
        Ok(())
    }

    /// The exporters whose credentials were refused since the last call: if others are read now,
    /// they are used for what was refused. They wait for that a moment.
    #[must_use]
    pub fn take_doubted(&self) -> Vec<String> {
        let running = running(&self.exporters);
        let doubted =
            running.iter().filter(|it| it.exporter.wants_others.swap(false, Ordering::Relaxed));
        doubted.map(|it| it.exporter.name().to_owned()).collect()
    }

    /// The exporters whose credentials were refused again, and that are held until there are
    /// others.
    #[must_use]
    pub fn refused(&self) -> Vec<String> {
        let running = running(&self.exporters);
        let refused = running.iter().filter(|it| it.exporter.gate.has_bad_credentials());
        refused.map(|it| it.exporter.name().to_owned()).collect()
    }

    /// One operation that swaps exporters at a time.
    pub(super) fn operate(&self) -> MutexGuard<'_, ()> {
        self.operating.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the keeper from looking at an exporter while it is swapped.
    pub(super) fn swap(&self) -> MutexGuard<'_, ()> {
        self.swapping.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends exporters and waits until all that they settled is durable.
    pub(super) fn stop_all(&self, ending: &[Running], deadline: Instant) {
        if ending.is_empty() {
            return;
        }
        let now = Instant::now();
        let raise = |stage| ending.iter().for_each(|it| it.exporter.raise(stage));
        let is_waiting = |it: &Running| {
            let is_stuck = it.exporter.is_kept_back() && now.elapsed() > HELD_WAIT;
            !it.exporter.has_ended() && !is_stuck
        };
        raise(Stage::Flush);
        let is_hurried = || self.is_hurried.load(Ordering::Acquire);
        wait_until(deadline, || is_hurried() || !ending.iter().any(is_waiting));
        raise(Stage::Abort);
        let patience = Instant::now() + ABORT_WAIT;
        wait_until(patience, || ending.iter().all(|it| it.exporter.has_ended()));
        let head = self.log.written();
        wait_until(patience, || {
            let are_told = ending.iter().all(|it| {
                it.exporter.apply_effects();
                // The keeper writes receipts of what was settled last.
                it.exporter.dead_letters.waiting() == 0 && !it.exporter.watermark().has_journal()
            });
            are_told && self.log.durable() >= head
        });
    }

    /// Has a new exporter go on where an old one has ended.
    fn exchange(&self, old: &Running, new: Intended) -> Result<(), EngineError> {
        let _swapping = self.swap();
        let checkpoint = self.close(&old.exporter);
        old.exporter.hand_over(checkpoint.counts);
        self.follow(old, new, checkpoint)
    }

    /// Puts a new exporter in the place of an old one that has ended, while nothing else swaps.
    ///
    /// # Errors
    /// When it cannot be built: the old one goes on, or is stopped where that cannot be either.
    pub(super) fn follow(
        &self,
        old: &Running,
        new: Intended,
        checkpoint: Checkpoint,
    ) -> Result<(), EngineError> {
        let Err(problem) = self.start_after(old, new, checkpoint) else { return Ok(()) };
        let name = old.exporter.name();
        // It compiled a moment ago; whatever it is, the old one must not stay ended.
        tracing::error!(exporter = name, %problem, "exporter not changed");
        let again = ways(&old.spec, self.workers.len()).and_then(|ways| {
            let spec = old.spec.clone();
            self.start_after(old, Intended { spec, ways }, self.last_of(&old.exporter))
        });
        if again.is_err() {
            if let Err(problem) = self.take_out(old, self.last_of(&old.exporter)) {
                tracing::error!(exporter = name, %problem, "checkpoint not saved");
            }
            let problem = format!("{problem}; once that is mended, a restart goes on where it was");
            let allowance = self.allowance(&old.exporter);
            let stopped = Stopped::new(old.spec.clone(), old.number, allowance, &problem);
            self.lock_stopped().push(stopped);
        }
        Err(problem)
    }

    /// Starts an exporter at a checkpoint in the place of another.
    fn start_after(
        &self,
        old: &Running,
        new: Intended,
        checkpoint: Checkpoint,
    ) -> Result<(), EngineError> {
        let Intended { spec, ways } = new;
        let letters = self.letters(old, &spec, &checkpoint)?;
        let shared = (self.allowance(&old.exporter), letters, old.exporter.deeds());
        let work = (self.work, self.has_receipts());
        let exporter = build(spec.clone(), checkpoint, shared, &ways, self.workers.len(), work)?;
        // What had settled and was not durable settles again.
        let before = old.exporter.watermark().counts();
        if exporter.pass() == old.exporter.pass() && exporter.counts_before() != before {
            self.note_resumed(&exporter);
        }
        // A new pass is a new position, even before anything settles in it.
        exporter.watermark().touch();
        exporter.go_on_replaying(&old.exporter);
        let new = Running { exporter, spec, number: old.number };
        place(&self.workers, &new, ways);
        let mut running = running(&self.exporters);
        if let Some(slot) = running.iter_mut().find(|it| it.exporter.name() == new.exporter.name())
        {
            *slot = new;
        }
        self.feeds.set(running.iter().map(|it| Arc::clone(&it.exporter)).collect());
        Ok(())
    }

    /// The dead letters of an exporter that goes on: its own store, kept as long as its settings
    /// say now, or the one that they name.
    fn letters(
        &self,
        old: &Running,
        spec: &ExporterSpec,
        checkpoint: &Checkpoint,
    ) -> Result<Arc<DeadLetters>, EngineError> {
        let (before, now) = (&old.spec.settings.dead_letters, &spec.settings.dead_letters);
        if (before.is_enabled, &before.dir) != (now.is_enabled, &now.dir) {
            return open_letters(spec, checkpoint, &self.log);
        }
        old.exporter.dead_letters.bound(now);
        Ok(Arc::clone(&old.exporter.dead_letters))
    }

    /// Takes out an exporter that has ended; its checkpoint is saved for the day when it is back.
    fn remove(&self, old: &Running) -> Result<(), EngineError> {
        let _swapping = self.swap();
        let checkpoint = self.close(&old.exporter);
        old.exporter.hand_over(checkpoint.counts);
        self.take_out(old, checkpoint)
    }

    /// Takes an exporter out of those that run and saves where it was.
    fn take_out(&self, old: &Running, checkpoint: Checkpoint) -> Result<(), EngineError> {
        let name = old.exporter.name();
        // Receipts only grow: what was anchored stands.
        let saved = self.cursors.load(name).ok().flatten();
        let anchor = saved.map(|saved| saved.anchor).unwrap_or_default();
        let mut running = running(&self.exporters);
        running.retain(|it| it.exporter.name() != name);
        self.feeds.set(running.iter().map(|it| Arc::clone(&it.exporter)).collect());
        drop(running);
        Ok(self.cursors.save(name, &Checkpoint { anchor, ..checkpoint })?)
    }

    /// Starts an exporter that did not run; false where it was stopped for its damaged state.
    fn add(&self, new: Intended) -> Result<bool, EngineError> {
        let Intended { spec, ways } = new;
        let name = &spec.settings.name;
        if let Some(stopped) = self.lock_stopped().iter_mut().find(|it| it.name() == name) {
            stopped.set_spec(spec);
            return Ok(false);
        }
        let receipts = self.receipts_path();
        let receipts = (receipts.as_deref(), false);
        let checkpoint = checkpoint(&self.cursors, &self.reader, &spec, receipts)?;
        let letters = open_letters(&spec, &checkpoint, &self.log)?;
        let shared = (self.budget().allowance(), letters, self.deeds(name));
        let exporter = build(
            spec.clone(),
            checkpoint,
            shared,
            &ways,
            self.workers.len(),
            (self.work, self.has_receipts()),
        )?;
        let _swapping = self.swap();
        let mut running = running(&self.exporters);
        let number = running.iter().map(|it| it.number + 1).max().unwrap_or(0);
        self.note_resumed(&exporter);
        let new = Running { exporter, spec, number };
        place(&self.workers, &new, ways);
        running.push(new);
        self.feeds.set(running.iter().map(|it| Arc::clone(&it.exporter)).collect());
        Ok(true)
    }

    /// The same, once everything that it settled is in the chain of receipts.
    ///
    /// The keeper has written it, unless something settled since, or the disk stalls.
    pub(super) fn close(&self, exporter: &Exporter) -> Checkpoint {
        let last = self.last_of(exporter);
        let (pass, counts, journal) = {
            let mut watermark = exporter.watermark();
            (watermark.pass(), watermark.counts(), watermark.take_journal())
        };
        self.account(&Account { exporter: exporter.name(), pass, journal, counts });
        last
    }

    /// Where an exporter that has ended is to go on.
    pub(super) fn last_of(&self, exporter: &Exporter) -> Checkpoint {
        exporter.apply_effects();
        exporter.watermark().last(self.log.durable())
    }
}

/// An exporter that is held, or waits for other credentials, is not waited for longer.
pub(super) const HELD_WAIT: Duration = Duration::from_millis(250);
