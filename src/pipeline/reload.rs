//! Changes a running engine to other exporters: what did not change is not touched.
//!
//! An exporter that changed ends like one that stops, and a new one goes on where it ended, counts
//! included: the account holds across the change.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::dead_letters::DeadLetters;
use super::engine::{ABORT_WAIT, EngineOptions, Running, build, place, running, wait_until};
use super::exporter::{Exporter, ExporterSpec};
use super::kept::{checkpoint, open_letters};
use super::network::Way;
use super::receipts::{Account, ReceiptOptions};
use super::stop::Stage;
use super::stopped::Stopped;
use super::terms::Terms;
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

impl Intended {
    fn name(&self) -> &str {
        &self.spec.settings.name
    }
}

/// An exporter that did not run, with all that it keeps opened: it has only to be placed.
struct New {
    exporter: Arc<Exporter>,
    intended: Intended,
    /// Whether nobody knew of it before.
    is_first: bool,
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
    /// When an exporter cannot be compiled, what it keeps or other receipts cannot be opened, or
    /// the disk does not take where those are that go: nothing has changed then. When one that
    /// changes cannot go on all the same: it runs as before, and the others have changed.
    pub fn reload(
        &self,
        mut options: EngineOptions,
        deadline: Instant,
    ) -> Result<Reloaded, EngineError> {
        let _one_at_a_time = self.operate();
        let terms = self.other_terms(&options)?;
        let specs = std::mem::take(&mut options.exporters);
        let compiled = specs.into_iter().map(|spec| self.compiled(spec));
        let wanted = compiled.collect::<Result<Vec<_>, _>>()?;
        let runs = running(&self.exporters).clone();
        let is_of = |it: &Running, wanted: &Intended| it.exporter.name() == wanted.name();
        let is_same =
            |it: &&Running| wanted.iter().any(|wanted| is_of(it, wanted) && it.spec == wanted.spec);
        let is_ending = |it: &&Running| !terms.are_same() || !is_same(it);
        let ending: Vec<Running> = runs.iter().filter(is_ending).cloned().collect();
        let kept: Vec<String> = match terms.are_same() {
            true => Vec::new(),
            false => runs.iter().filter(is_same).map(|it| it.exporter.name().to_owned()).collect(),
        };
        let (mut wanted, new): (Vec<_>, Vec<_>) =
            wanted.into_iter().partition(|wanted| runs.iter().any(|it| is_of(it, wanted)));
        let stopped = self.stopped_names();
        let (stopped, new): (Vec<_>, Vec<_>) =
            new.into_iter().partition(|it| stopped.iter().any(|name| name == it.name()));
        self.look_at_letters(&ending, &wanted)?;
        let new = self.open_new(new, options.receipts.as_ref(), &terms)?;
        self.stop_all(&ending, deadline);
        let goes = |old: &&Running| !wanted.iter().any(|wanted| is_of(old, wanted));
        // What a disk may refuse comes before all that others would see.
        let mut leaving = ending.iter().filter(goes);
        let written = leaving.try_for_each(|old| self.save_last(old));
        if let Err(problem) = written.and_then(|()| self.agree(terms, &ending)) {
            ending.iter().for_each(|old| self.put_back(old));
            self.forget(&new);
            return Err(problem);
        }
        self.openings.set(Opening::new(&options.opening));
        self.log_bytes_max.store(options.log_bytes_max, Ordering::Relaxed);
        self.keep_receipts(options.receipts.as_ref());
        self.keep_stopped(stopped);
        let (mut reloaded, mut problem) = (Reloaded::default(), None);
        for old in &ending {
            let name = old.exporter.name().to_owned();
            let Some(at) = wanted.iter().position(|wanted| is_of(old, wanted)) else {
                self.remove(old);
                reloaded.removed.push(name);
                continue;
            };
            match self.exchange(old, wanted.swap_remove(at)) {
                // Those that only go on under other terms are as they were.
                Ok(()) if kept.contains(&name) => {}
                Ok(()) => reloaded.changed.push(name),
                // One that cannot go on must not keep the others from it.
                Err(refused) => problem = problem.or(Some(refused)),
            }
        }
        for new in new {
            reloaded.added.push(new.intended.name().to_owned());
            self.add(new);
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
        let followed = self.start_after(old, new, checkpoint);
        followed.inspect_err(|problem| {
            let name = old.exporter.name();
            // It compiled a moment ago; whatever it is, the old one must not stay ended.
            tracing::error!(exporter = name, %problem, "exporter not changed");
            self.go_on(old, self.last_of(&old.exporter));
        })
    }

    /// Has one that was to end go on as it was.
    fn put_back(&self, old: &Running) {
        let _swapping = self.swap();
        let checkpoint = self.close(&old.exporter);
        old.exporter.hand_over(checkpoint.counts);
        self.go_on(old, checkpoint);
    }

    /// Has one that has ended go on as it was; it is stopped where that cannot be.
    fn go_on(&self, old: &Running, checkpoint: Checkpoint) {
        let again = ways(&old.spec, self.workers.len()).and_then(|ways| {
            let spec = old.spec.clone();
            self.start_after(old, Intended { spec, ways }, checkpoint)
        });
        let Err(problem) = again else { return };
        if let Err(problem) = self.save(old.exporter.name(), self.last_of(&old.exporter)) {
            tracing::error!(exporter = old.exporter.name(), %problem, "checkpoint not saved");
        }
        self.take_out(old);
        let problem = format!("{problem}; once that is mended, a restart goes on where it was");
        let allowance = self.allowance(&old.exporter);
        let stopped = Stopped::new(old.spec.clone(), old.number, allowance, &problem);
        self.lock_stopped().push(stopped);
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
        if has_other_letters(&old.spec, spec) {
            return open_letters(spec, checkpoint, &self.log);
        }
        old.exporter.dead_letters.bound(&spec.settings.dead_letters);
        Ok(Arc::clone(&old.exporter.dead_letters))
    }

    /// Compiles an exporter as it is to run; nothing is opened.
    fn compiled(&self, spec: ExporterSpec) -> Result<Intended, EngineError> {
        Render::new(&spec)?;
        let ways = ways(&spec, self.workers.len())?;
        Ok(Intended { spec, ways })
    }

    /// Looks at the dead letters of exporters that are to go on with those of another place.
    fn look_at_letters(&self, ending: &[Running], wanted: &[Intended]) -> Result<(), EngineError> {
        for Intended { spec, .. } in wanted {
            let old = ending.iter().find(|it| it.spec.settings.name == spec.settings.name);
            if let Some(old) = old.filter(|old| has_other_letters(&old.spec, spec)) {
                open_letters(spec, &self.last_of(&old.exporter), &self.log)?;
            }
        }
        Ok(())
    }

    /// Opens what exporters keep that did not run.
    ///
    /// # Errors
    /// When one of them cannot be used; nobody knows of any of them then.
    fn open_new(
        &self,
        wanted: Vec<Intended>,
        receipts: Option<&ReceiptOptions>,
        terms: &Terms,
    ) -> Result<Vec<New>, EngineError> {
        let mut opened = Vec::with_capacity(wanted.len());
        for intended in wanted {
            let is_first = self.cursors.load(intended.name()).is_ok_and(|saved| saved.is_none());
            let name = intended.name().to_owned();
            match self.open(intended, receipts, terms) {
                Ok((exporter, intended)) => opened.push(New { exporter, intended, is_first }),
                Err(problem) => {
                    self.forget(&opened);
                    if is_first {
                        self.forget_cursor(&name);
                    }
                    return Err(problem);
                }
            }
        }
        Ok(opened)
    }

    fn open(
        &self,
        Intended { spec, ways }: Intended,
        receipts: Option<&ReceiptOptions>,
        terms: &Terms,
    ) -> Result<(Arc<Exporter>, Intended), EngineError> {
        let path = receipts.map(|receipts| receipts.path.as_path());
        let checkpoint =
            checkpoint(&self.cursors, &self.reader, &spec, (path, self.log.written()))?;
        let letters = open_letters(&spec, &checkpoint, &self.log)?;
        let allowance = self.budget_of(terms).allowance();
        let shared = (allowance, letters, self.deeds(&spec.settings.name));
        let work = (self.work, receipts.is_some());
        let exporter = build(spec.clone(), checkpoint, shared, &ways, self.workers.len(), work)?;
        Ok((exporter, Intended { spec, ways }))
    }

    /// Leaves no trace of exporters that were opened and are not to run.
    fn forget(&self, opened: &[New]) {
        let first = opened.iter().filter(|new| new.is_first);
        first.for_each(|new| self.forget_cursor(new.intended.name()));
    }

    /// Forgets where one was to begin: it began nowhere.
    fn forget_cursor(&self, name: &str) {
        if let Err(problem) = self.cursors.remove(name) {
            tracing::warn!(exporter = name, %problem, "its cursor stays, though it never ran");
        }
    }

    /// Saves where an exporter is that has ended, for the day when it is back.
    fn save_last(&self, old: &Running) -> Result<(), EngineError> {
        let _swapping = self.swap();
        let checkpoint = self.close(&old.exporter);
        self.save(old.exporter.name(), checkpoint)
    }

    /// Saves a checkpoint, after the receipts of what it covers.
    fn save(&self, name: &str, checkpoint: Checkpoint) -> Result<(), EngineError> {
        let anchor = self.write_receipts()?;
        Ok(self.cursors.save(name, &Checkpoint { anchor, ..checkpoint })?)
    }

    /// Takes out an exporter that has ended and whose checkpoint is saved.
    fn remove(&self, old: &Running) {
        let _swapping = self.swap();
        old.exporter.hand_over(self.last_of(&old.exporter).counts);
        self.take_out(old);
    }

    /// Takes an exporter out of those that run.
    fn take_out(&self, old: &Running) {
        let mut running = running(&self.exporters);
        running.retain(|it| it.exporter.name() != old.exporter.name());
        self.feeds.set(running.iter().map(|it| Arc::clone(&it.exporter)).collect());
    }

    /// Of the exporters that were stopped for their damaged state, keeps those that are wanted, as
    /// they are to start once it is set anew.
    fn keep_stopped(&self, wanted: Vec<Intended>) {
        let mut stopped = self.lock_stopped();
        stopped.retain(|it| wanted.iter().any(|wanted| wanted.name() == it.name()));
        for Intended { spec, .. } in wanted {
            let found = stopped.iter_mut().find(|it| it.name() == spec.settings.name);
            found.into_iter().for_each(|it| it.set_spec(spec.clone()));
        }
    }

    /// Starts an exporter that did not run.
    fn add(&self, New { exporter, intended: Intended { spec, ways }, .. }: New) {
        let _swapping = self.swap();
        let mut running = running(&self.exporters);
        let number = running.iter().map(|it| it.number + 1).max().unwrap_or(0);
        self.note_resumed(&exporter);
        let new = Running { exporter, spec, number };
        place(&self.workers, &new, ways);
        running.push(new);
        self.feeds.set(running.iter().map(|it| Arc::clone(&it.exporter)).collect());
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

/// Whether an exporter that changes so has its dead letters at another place.
fn has_other_letters(old: &ExporterSpec, new: &ExporterSpec) -> bool {
    let (before, now) = (&old.settings.dead_letters, &new.settings.dead_letters);
    (before.is_enabled, &before.dir) != (now.is_enabled, &now.dir)
}

/// An exporter that is held, or waits for other credentials, is not waited for longer.
pub(super) const HELD_WAIT: Duration = Duration::from_millis(250);
