//! Saves checkpoints, enforces retention, and gives up what lags too far: one thread, off the path.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::account::settled_in_log;
use super::engine::{Running, Shared, Work, running};
use super::exporter::Exporter;
use super::lag::{Lag, Lagging};
use super::measure::News;
use super::operations::Operation;
use super::receipts::{Account, Receipts};
use super::stopped::Stopped;
use super::wellness::{Seen, Watch, Wrong};
use crate::deliver::Health;
use crate::event::{Anchor, Checkpoint, GapReason, Offset, Settle, Settled, Span, Tally};
use crate::log::{Cursors, Log, LogError, Reader};

/// Looks after checkpoints and retention until it is told to stop.
pub(crate) struct Keeper {
    pub(crate) log: Log,
    pub(crate) reader: Reader,
    pub(crate) cursors: Arc<Cursors>,
    pub(crate) exporters: Arc<Mutex<Vec<Running>>>,
    /// Exporters whose position nobody knows.
    pub(crate) stopped: Arc<Mutex<Vec<Stopped>>>,
    /// Held while exporters are swapped, and while this looks at them.
    pub(crate) swapping: Arc<Mutex<()>>,
    /// The hard bound of the log, for exporters without one of their own.
    pub(crate) log_bytes_max: Arc<AtomicU64>,
    /// Bytes of receipts that are kept.
    pub(crate) receipts_bytes_max: Arc<AtomicU64>,
    /// What was done.
    pub(crate) shared: Arc<Shared>,
    /// What has settled, provably.
    pub(crate) receipts: Chain,
    /// What the engine does: one that only looks after letters knows too few exporters to tell
    /// what of the log is still needed.
    pub(crate) work: Work,
    /// States that were told, by exporter; one that is not here is healthy.
    pub(crate) told: BTreeMap<String, Health>,
    /// When checkpoints were last held against the log.
    pub(crate) proven: Instant,
    /// What the disk refuses at present, as it was told.
    pub(crate) refused: BTreeSet<(&'static str, String)>,
    /// What was skipped, by exporter.
    pub(crate) skips: BTreeMap<String, Skips>,
    /// Events given up in this run, as that was told last, by exporter, and when.
    pub(crate) buried: BTreeMap<String, (u64, Instant)>,
    /// How far exporters were.
    pub(crate) watch: Watch,
    /// When the checkpoint of each was last saved.
    pub(crate) saved: BTreeMap<String, Instant>,
}

/// Which checkpoints are saved, of those that moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Saves {
    All,
    /// Those whose time it is: long ones are saved less often.
    Due,
}

/// The chain of receipts, if one is kept: a reload puts another in its place.
pub(crate) type Chain = Arc<Mutex<Option<Receipts>>>;

/// What an exporter had to skip since that was told last.
#[derive(Debug, Default)]
pub(crate) struct Skips {
    /// All that a pass has lost to its lag, as the audit knows it.
    noted: (u32, u64),
    events: u64,
    is_disk_full: bool,
    told: Option<Instant>,
}

impl Keeper {
    /// Starts the thread; it ends when the sender is dropped.
    pub(crate) fn start(self) -> io::Result<(mpsc::Sender<()>, JoinHandle<()>)> {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::Builder::new().name("shrike-keeper".to_owned());
        Ok((stop, thread.spawn(move || self.run(&stopped))?))
    }

    /// Runs until the other end of `stop` goes away, then saves everything once more.
    fn run(mut self, stop: &mpsc::Receiver<()>) {
        let mut retained = Instant::now();
        let swapping = Arc::clone(&self.swapping);
        while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(SAVE_INTERVAL) {
            let _looking = swapping.lock().unwrap_or_else(PoisonError::into_inner);
            self.save(Saves::Due);
            if retained.elapsed() >= RETAIN_INTERVAL {
                retained = Instant::now();
                self.tell_states();
                self.tell_trouble();
                self.tell_letters();
                self.look_how_it_is();
                self.look_after();
            }
        }
        self.exporters().iter().for_each(|exporter| self.note_skips(exporter, None));
        self.note("stop", "", String::new());
        // What was told of letters is in the account of this run, not of the next.
        for exporter in self.exporters() {
            if let Err(problem) = exporter.dead_letters.flush() {
                exporter.note_error(format!("dead letters not durable: {problem}"), Instant::now());
            }
        }
        self.save(Saves::All);
    }

    /// Gives up what lags too far behind, and lets go what nobody needs.
    pub(super) fn look_after(&mut self) {
        if self.work == Work::All {
            self.give_up_laggards();
            self.tell_skips();
            self.retain();
        }
        self.retain_letters();
    }

    /// The exporters that did not start.
    fn stopped_names(&self) -> Vec<String> {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        stopped.iter().map(|it| it.name().to_owned()).collect()
    }

    /// The first exporter that did not start, and why.
    pub(super) fn stopped(&self) -> Option<(String, String)> {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        stopped.first().map(|it| (it.name().to_owned(), it.problem().to_owned()))
    }

    /// Notes what this did by itself.
    fn note(&self, action: &'static str, exporter: &str, detail: String) {
        self.shared.operations.note(Operation::by_itself(action, exporter, detail));
    }

    /// The exporters that run now.
    fn exporters(&self) -> Vec<Arc<Exporter>> {
        running(&self.exporters).iter().map(|running| Arc::clone(&running.exporter)).collect()
    }

    /// Saves the checkpoint of every exporter whose watermark moved, after the receipts of what it
    /// covers; whether all that had to be saved was.
    pub(super) fn save(&mut self, mut saves: Saves) -> bool {
        let durable = self.log.durable();
        let exporters = self.exporters();
        let chain = Arc::clone(&self.receipts);
        let mut chain = chain.lock().unwrap_or_else(PoisonError::into_inner);
        let done = self.shared.operations.take();
        if !done.is_empty() {
            // Anchored at once: an end that is cut off would not show else.
            saves = Saves::All;
            exporters.iter().for_each(|exporter| exporter.watermark().touch());
        }
        let mut checkpoints = Vec::new();
        for exporter in &exporters {
            if let Err(problem) = exporter.dead_letters.try_again() {
                exporter.note_error(format!("dead letter not written: {problem}"), Instant::now());
            }
            let was_stuck = exporter.is_stuck();
            exporter.apply_effects();
            // Taken under one lock, so that receipts and counts say the same.
            let (checkpoint, account) = {
                let mut watermark = exporter.watermark();
                let spans = watermark.absorb_durable(durable);
                let is_due = saves == Saves::All || self.is_due(exporter, spans);
                let checkpoint = if is_due { watermark.checkpoint(durable) } else { None };
                let (journal, counts) = (watermark.take_journal(), watermark.counts());
                let (name, pass) = (exporter.name(), watermark.pass());
                (checkpoint, Account { exporter: name, pass, journal, counts })
            };
            chain.iter_mut().for_each(|receipts| receipts.add(&account));
            if was_stuck {
                exporter.wake_all();
            }
            if exporter.watermark().has_free_gap() {
                exporter.wake_aside();
            }
            checkpoints.extend(checkpoint.map(|checkpoint| (Arc::clone(exporter), checkpoint)));
        }
        chain.iter_mut().for_each(|receipts| done.iter().for_each(|it| receipts.note(it)));
        let anchor = match self.write_receipts(chain.as_mut(), &exporters) {
            Ok(anchor) => anchor,
            Err(problem) => {
                // What has no receipt is not settled: the next save tries again.
                if self.is_news("receipts", "", true) {
                    error!(%problem, "receipts not written; no checkpoint is saved until they are");
                }
                for (exporter, _) in &checkpoints {
                    exporter.note_error(format!("receipts not written: {problem}"), Instant::now());
                    exporter.watermark().touch();
                }
                return false;
            }
        };
        if self.is_news("receipts", "", false) {
            info!("receipts are written again");
        }
        let mut is_saved = true;
        let is_time = cfg!(debug_assertions) && self.proven.elapsed() >= PROVE_INTERVAL;
        if is_time {
            checkpoints.iter().for_each(|(exporter, it)| self.prove(exporter.name(), it));
            self.proven = Instant::now();
        }
        for exporter in &exporters {
            self.sync_tables(exporter);
        }
        for (exporter, checkpoint) in checkpoints {
            let checkpoint = Checkpoint { anchor, ..checkpoint };
            let name = exporter.name();
            let saved = self.cursors.save(name, &checkpoint);
            let is_news = self.is_news("checkpoint", name, saved.is_err());
            if let Err(problem) = saved {
                // The next save tries again; until then a crash sends more events twice.
                if is_news {
                    error!(exporter = name, %problem, "checkpoint not saved; tried again");
                }
                exporter.note_error(format!("checkpoint not saved: {problem}"), Instant::now());
                exporter.watermark().touch();
                is_saved = false;
            } else {
                if is_news {
                    info!(exporter = name, "checkpoints are saved again");
                }
                exporter.dead_letters.note_saved(&checkpoint);
                self.saved.insert(name.to_owned(), Instant::now());
            }
        }
        is_saved
    }

    /// Whether it is time to save a checkpoint with so many spans.
    fn is_due(&self, exporter: &Exporter, spans: usize) -> bool {
        let saved = self.saved.get(exporter.name());
        saved.is_none_or(|saved| saved.elapsed() >= save_interval(spans))
    }

    /// Makes durable what an exporter's tables say: which actions a response hook asked for, which
    /// incidents are open, and what documents answer to.
    fn sync_tables(&mut self, exporter: &Exporter) {
        if let Some(hook) = &exporter.hook {
            self.tell_synced(exporter, "actions", hook.sync());
        }
        if let Some(alerts) = &exporter.alerts {
            self.tell_synced(exporter, "incidents", alerts.sync());
        }
        if let Some(threads) = &exporter.threads {
            self.tell_synced(exporter, "threads", threads.sync());
        }
    }

    fn tell_synced(&mut self, exporter: &Exporter, what: &'static str, synced: io::Result<()>) {
        let name = exporter.name();
        let is_news = self.is_news(what, name, synced.is_err());
        match synced {
            Ok(()) if is_news => info!(exporter = name, what, "noted durably again"),
            Ok(()) => {}
            Err(problem) => {
                if is_news {
                    error!(exporter = name, what, %problem, "not noted durably; tried again");
                }
                exporter.note_error(format!("{what} not noted: {problem}"), Instant::now());
            }
        }
    }

    /// Whether it is to be told that the disk refuses something, or does no more: it is tried again
    /// ten times a second, and told when it begins and when it is over.
    fn is_news(&mut self, what: &'static str, exporter: &str, is_refused: bool) -> bool {
        let about = (what, exporter.to_owned());
        match is_refused {
            true => self.refused.insert(about),
            false => !self.refused.is_empty() && self.refused.remove(&about),
        }
    }

    /// Holds a checkpoint against the log, in debug builds: an event too many or too few is a bug.
    fn prove(&self, name: &str, checkpoint: &Checkpoint) {
        // What damage and retention took is counted where it is skipped. Each span costs a look at
        // a stripe.
        if checkpoint.counts.skipped > 0 || checkpoint.ahead.len() > PROVEN_SPANS_MAX {
            return;
        }
        if let Some(in_log) = settled_in_log(checkpoint, &self.reader) {
            let settled = checkpoint.counts.total();
            assert_eq!(
                settled, in_log,
                "{name} settled other events than the log has: {checkpoint:?}"
            );
        }
    }

    /// Writes what waits; lanes read nothing more while too much does.
    fn write_receipts(
        &self,
        receipts: Option<&mut Receipts>,
        exporters: &[Arc<Exporter>],
    ) -> io::Result<Anchor> {
        let Some(receipts) = receipts else { return Ok(Anchor::default()) };
        // 0 where a later configuration keeps none: what is written goes on as it was.
        match self.receipts_bytes_max.load(Ordering::Relaxed) {
            0 => {}
            bytes_max => receipts.keep(bytes_max),
        }
        let mut written = receipts.flush();
        let is_full = |problem: &io::Error| {
            matches!(problem.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        };
        // Without receipts no checkpoint is saved, and without that no segment goes: a disk that
        // the log itself has filled would stay full.
        if written.as_ref().is_err_and(is_full) && self.cursors.spend_reserve() {
            written = receipts.flush();
        }
        let is_halted = receipts.waiting() > RECEIPTS_WAITING_MAX;
        exporters.iter().for_each(|it| it.is_halted.store(is_halted, Ordering::Relaxed));
        written.map(|()| receipts.head())
    }

    /// Says which exporters are in another state than when it was told last.
    fn tell_states(&mut self) {
        let now = Instant::now();
        for exporter in &self.exporters() {
            let (name, health) = (exporter.name(), exporter.condition(now));
            let before = self.told.insert(name.to_owned(), health).unwrap_or(Health::Healthy);
            if before == health {
                continue;
            }
            let (from, to) = (before.word(), health.word());
            match health {
                Health::Healthy => info!(exporter = name, from, to, "state changed"),
                // A human is needed, or may be soon; the others pass by themselves.
                Health::AuthFailed | Health::ConfigFailed | Health::CircuitOpen => {
                    let last = exporter.last_error().map(|error| error.text).unwrap_or_default();
                    warn!(exporter = name, from, to, last_error = last, "state changed");
                }
                Health::Degraded | Health::Throttled => {
                    let last = exporter.last_error().map(|error| error.text).unwrap_or_default();
                    info!(exporter = name, from, to, last_error = last, "state changed");
                }
            }
        }
    }

    /// Says which exporters have delivered nothing for long, and which do again.
    fn tell_trouble(&self) {
        let now = Instant::now();
        for exporter in &self.exporters() {
            let name = exporter.name();
            match exporter.trouble.news(exporter.settings.alert_after, now) {
                None => {}
                Some(News::Failing(lasting)) => {
                    let (seconds, last) = (lasting.as_secs(), exporter.last_error());
                    let last_error = last.map(|error| error.text).unwrap_or_default();
                    error!(exporter = name, seconds, last_error, "nothing arrives");
                    let detail = format!("nothing arrives since {seconds} s: {last_error}");
                    self.note("alert", name, detail);
                }
                Some(News::Over) => {
                    info!(exporter = name, "events arrive again");
                    self.note("alert_over", name, String::new());
                }
            }
        }
    }

    /// Says that events were given up: at once the first time, then so often at most.
    fn tell_letters(&mut self) {
        for exporter in &self.exporters() {
            let (name, buried) = (exporter.name(), exporter.counters.buried.load());
            let told = self.buried.get(name);
            let is_time = told.is_none_or(|(_, at)| at.elapsed() >= LETTERS_INTERVAL);
            let events = buried.saturating_sub(told.map_or(0, |(told, _)| *told));
            if events > 0 && is_time {
                let last = exporter.last_error().map(|error| error.text).unwrap_or_default();
                warn!(
                    exporter = name,
                    events,
                    last_error = last,
                    "given up as dead letters; `shrike dlq stats` says why"
                );
                self.buried.insert(name.to_owned(), (buried, Instant::now()));
            }
        }
    }

    /// Finds out what is not well, for whom that matters.
    fn look_how_it_is(&mut self) {
        let (now, head, exporters) = (Instant::now(), self.log.written(), self.exporters());
        let refused = |(what, about): &(_, _)| format!("{what} {about}: refused");
        let mut own: Vec<String> = self.refused.iter().map(refused).collect();
        if self.watch.disk(self.log.is_full(), head, now) {
            own.push("the log: its disk is full".to_owned());
        }
        own.extend(self.shared.defects());
        let stopped = self.stopped_names();
        let mut wrong: Vec<String> =
            stopped.iter().map(|name| format!("exporter {name}: stopped")).collect();
        for exporter in &exporters {
            let (settled, has_pending) = {
                let watermark = exporter.watermark();
                (watermark.counts().total(), watermark.base() < head)
            };
            let seen = Seen {
                name: exporter.name(),
                health: exporter.condition(now),
                failing: exporter.trouble.since(now),
                settled,
                has_pending,
                patience: exporter.settings.alert_after,
            };
            wrong.extend(self.watch.look(&seen, now));
        }
        self.watch.keep(&exporters.iter().map(|it| it.name()).collect::<Vec<_>>());
        self.shared.wellness.store(Wrong { own, exporters: wrong }, now);
    }

    /// Removes segments that no exporter needs any more.
    fn retain(&mut self) {
        let exporters = self.exporters();
        let bases = exporters.iter().map(|exporter| exporter.watermark().base());
        let pinned = match self.has_stopped() {
            // What a stopped exporter has not sent is not known: only the hard bound takes it.
            true => self.log.oldest(),
            false => bases.min().unwrap_or_else(|| self.log.written()),
        };
        let retained = self.retain_below(pinned);
        if self.is_news("retention", "", retained.is_err()) {
            match retained {
                Ok(()) => info!("retention goes on"),
                Err(problem) => error!(%problem, "retention failed; tried again"),
            }
        }
    }

    /// Removes the oldest letters of stores that are beyond their bounds.
    fn retain_letters(&mut self) {
        for exporter in &self.exporters() {
            let name = exporter.name();
            let retained = exporter.dead_letters.retain();
            let is_news = self.is_news("letters", name, retained.is_err());
            match retained {
                Ok(0) if is_news => info!(exporter = name, "retention of dead letters goes on"),
                Ok(0) => {}
                Ok(letters) => {
                    warn!(exporter = name, letters, "oldest dead letters removed");
                    self.note("dlq_evict", name, format!("{letters} letters"));
                }
                Err(problem) if is_news => {
                    error!(exporter = name, %problem, "retention of dead letters failed");
                }
                Err(_) => {}
            }
        }
    }

    fn has_stopped(&self) -> bool {
        !self.stopped.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Counts what goes for every exporter and saves that, then lets it go.
    fn retain_below(&mut self, pinned: Offset) -> Result<(), LogError> {
        let removed = self.log.remove_taken();
        if self.log.retainable(pinned)?.segments == 0 {
            return removed;
        }
        // Whatever goes was durable before; counting more than goes does no harm.
        let to = self.log.durable();
        for exporter in &self.exporters() {
            let (start, tally) = {
                let watermark = exporter.watermark();
                (watermark.start(), watermark.tally())
            };
            let from = start.max(tally.to);
            if from < to {
                let events = tally.events + self.reader.count(Span { from, to })?;
                exporter.watermark().note_tally(Tally { to, events });
            }
        }
        // What the checkpoints do not say yet would be gone without a count after a crash.
        if !self.save(Saves::All) {
            return removed;
        }
        // Beyond the bound as well: what goes before it is settled is counted by nobody. Whoever
        // may lose it has been told to skip it, and whoever blocks holds up what comes in.
        let bases = self.exporters().into_iter().map(|exporter| exporter.watermark().base());
        let passed = bases.min().unwrap_or(to);
        self.log.retain_up_to(pinned.min(to), passed.min(to))?;
        self.cursors.restock();
        removed
    }

    /// Skips what exporters lag behind more than they may, counted exactly.
    fn give_up_laggards(&mut self) {
        let head = self.log.written();
        // Without space nothing can be appended: the oldest segment goes, as at the log's bound.
        let mut full_until = self.log.full_until().unwrap_or_default();
        // Segments count whole, so that the bound on the log may come before that on the lag.
        match self.log.retainable(Offset::ZERO) {
            Ok(going) if going.segments > 0 => full_until = full_until.max(going.span.to),
            Ok(_) => {}
            Err(problem) => error!(%problem, "retention failed"),
        }
        let mut is_held = false;
        for exporter in &self.exporters() {
            let of_log = self.log_bytes_max.load(Ordering::Relaxed);
            let bytes_max = exporter.settings.lag_bytes_max.unwrap_or(of_log);
            let base = exporter.watermark().base();
            let lag = Lag { head, base, bytes_max, full_until };
            match lag.judge(exporter.settings.on_lag) {
                Lagging::Within => {}
                Lagging::HoldsUp => is_held = true,
                Lagging::GivesUp(floor) => {
                    if let Err(problem) = skip(exporter, &self.reader, floor) {
                        let (name, now) = (exporter.name(), Instant::now());
                        error!(exporter = name, %problem, "not skipped, tried again");
                        exporter.note_error(format!("not skipped: {problem}"), now);
                    }
                }
            }
            self.note_skips(exporter, Some(full_until > Offset::ZERO));
        }
        self.log.hold(is_held);
    }

    /// Notes what an exporter has lost to its lag since that was noted last.
    ///
    /// What nobody had read is given up here and now, what lanes had read a little later by them.
    fn note_skips(&mut self, exporter: &Exporter, is_disk_full: Option<bool>) {
        let (name, floor) = (exporter.name(), exporter.floor());
        let (pass, lost) = {
            let watermark = exporter.watermark();
            (watermark.pass(), watermark.lost()[GapReason::Lag as usize])
        };
        let skips = self.skips.entry(name.to_owned()).or_default();
        // A rewind begins from nothing.
        let before = if skips.noted.0 == pass { skips.noted.1 } else { 0 };
        skips.noted = (pass, lost);
        let skipped = lost.saturating_sub(before);
        if skipped == 0 {
            return;
        }
        skips.events += skipped;
        skips.is_disk_full = is_disk_full.unwrap_or(skips.is_disk_full);
        let why = if skips.is_disk_full { "the disk is full" } else { "lag bound" };
        self.note("skip", name, format!("{skipped} events below {floor}: {why}"));
    }

    /// Says what was skipped: at once the first time, then so often at most.
    fn tell_skips(&mut self) {
        for (name, skips) in &mut self.skips {
            let is_time = skips.told.is_none_or(|told| told.elapsed() >= SKIPS_INTERVAL);
            if skips.events == 0 || !is_time {
                continue;
            }
            let (events, is_disk_full) = (skips.events, skips.is_disk_full);
            warn!(exporter = name, events, is_disk_full, "lag bound reached: events skipped");
            (skips.events, skips.told) = (0, Some(Instant::now()));
        }
    }
}

/// Settles everything unread below `floor` as skipped, and tells the lanes about the rest.
///
/// # Errors
/// When the log cannot be counted now: what is left stays unread.
fn skip(exporter: &Exporter, reader: &Reader, floor: Offset) -> Result<(), LogError> {
    exporter.board.skip(floor, |span| -> Result<_, LogError> {
        let mut skipped = Vec::new();
        for span in exporter.unsettled(span) {
            skipped.push(Settled { span, events: reader.count(span)?, fate: Settle::Skipped });
        }
        // Until the stripe is finished nobody sees that.
        let mut watermark = exporter.watermark();
        watermark.settle(&skipped);
        Ok(watermark)
    })?;
    exporter.raise_floor(floor);
    Ok(())
}

/// The least time between two saves of a checkpoint with so many spans. Each event that waits for a
/// held route leaves a hole, and all spans are written anew each time, for as long as it is held.
fn save_interval(spans: usize) -> Duration {
    let spans = u32::try_from(spans).unwrap_or(u32::MAX);
    (SPAN_INTERVAL * spans).min(SAVE_INTERVAL_MAX)
}

/// Bytes of receipts that wait for a disk which refuses them; then lanes read nothing more. With
/// what is under way then they fit into what is kept aside for checkpoints.
const RECEIPTS_WAITING_MAX: usize = 512 << 10;
/// Between two saves: what a crash sends twice is at most this much and the unsettled window.
const SAVE_INTERVAL: Duration = Duration::from_millis(100);
/// A span is 16 bytes: a megabyte a second.
const SPAN_INTERVAL: Duration = Duration::from_micros(16);
/// However many there are.
const SAVE_INTERVAL_MAX: Duration = Duration::from_secs(5);
/// Between two proofs, where there are any.
const PROVE_INTERVAL: Duration = Duration::from_millis(500);
/// Between two warnings that events of an exporter were given up.
const LETTERS_INTERVAL: Duration = Duration::from_secs(60);
/// Between two warnings that events were skipped (`pipeline.md`, Buffering and overflow).
const SKIPS_INTERVAL: Duration = Duration::from_secs(10);
/// Spans ahead of a checkpoint that is proven.
const PROVEN_SPANS_MAX: usize = 4;
/// Between two looks at retention: segments fill in seconds at the highest rates.
const RETAIN_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_checkpoints_are_saved_less_often() {
        assert!(save_interval(1_000) < SAVE_INTERVAL, "an outage of one request is none");
        for spans in [10_000, 100_000, 250_000] {
            let bytes = 16.0 * spans as f64;
            let a_second = bytes / save_interval(spans).as_secs_f64();
            assert!(a_second <= 1_000_001.0, "{a_second} bytes for {spans} spans");
        }
        assert_eq!(save_interval(usize::MAX), SAVE_INTERVAL_MAX);
    }
}
