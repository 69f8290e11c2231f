//! What the running process does for commands.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use shrike::control::{
    Access, AlertStatus, Answer, Appended, Change, CursorStatus, DigestStatus, ExporterStatus,
    Health, HookStatus, IntelStatus, LastError, LogStatus, Numbers, Observe, ReloadCounts,
    ReloadNumbers, ReloadReport, Request, Rewind, Serve, Status, ThreadStatus,
};
use shrike::event::{Checkpoint, Offset};
use shrike::intake::{Retried, WantedLines};
use shrike::log::{Cursors, Log, Read, Reader};
use shrike::pipeline::{
    self, AlertChange, AlertList, Ended, Engine, EngineOptions, NewPass, Operation, Progress,
    Reloaded, Unreadable, Wanted,
};

use super::cursor::begun;
use super::dlq::REALLY_ALERT;
use super::door::Door;
use super::inputs::Inputs;
use super::intel::Threats;
use super::position::{self, mark};
use super::reload::Reloader;

/// The engine, shared with commands until it ends.
#[derive(Clone)]
pub(crate) struct Running(Arc<RwLock<Option<Engine>>>);

impl Running {
    /// A running engine.
    pub(crate) fn new(engine: Engine) -> Self {
        Self(Arc::new(RwLock::new(Some(engine))))
    }

    /// How everything is; none once it has ended.
    pub(crate) fn status(&self) -> Option<pipeline::Status> {
        let engine = self.0.read().unwrap_or_else(PoisonError::into_inner);
        engine.as_ref().map(Engine::status)
    }

    /// As [`Engine::drain`].
    pub(crate) fn drain(&self, deadline: Instant) -> Ended {
        let engine = self.0.read().unwrap_or_else(PoisonError::into_inner);
        engine.as_ref().map_or(Ended::Settled, |engine| engine.drain(deadline))
    }

    /// As [`Engine::flush`].
    pub(crate) fn flush(&self, deadline: Instant) -> Ended {
        let engine = self.0.read().unwrap_or_else(PoisonError::into_inner);
        engine.as_ref().map_or(Ended::Settled, |engine| engine.flush(deadline))
    }

    /// As [`Engine::hurry`].
    pub(crate) fn hurry(&self) {
        let engine = self.0.read().unwrap_or_else(PoisonError::into_inner);
        engine.iter().for_each(Engine::hurry);
    }

    /// As [`Engine::rewind`].
    pub(crate) fn rewind(
        &self,
        exporter: &str,
        new: NewPass,
        deadline: Instant,
    ) -> Result<u64, String> {
        self.ask(|engine| engine.rewind(exporter, new, deadline))
    }

    /// Asks the engine, unless it has ended.
    pub(crate) fn ask<T, E: std::fmt::Display>(
        &self,
        question: impl FnOnce(&Engine) -> Result<T, E>,
    ) -> Result<T, String> {
        let engine = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let engine = engine.as_ref().ok_or_else(|| STOPPING.to_owned())?;
        question(engine).map_err(|error| error.to_string())
    }

    /// As [`Engine::reload`], waiting so long for what changed exporters have under way.
    pub(crate) fn reload(
        &self,
        options: EngineOptions,
        patience: Duration,
    ) -> Result<Reloaded, String> {
        let engine = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let engine = engine.as_ref().ok_or_else(|| STOPPING.to_owned())?;
        engine.reload(options, Instant::now() + patience).map_err(|error| error.to_string())
    }

    /// As [`Engine::start_stopped`].
    pub(crate) fn start_stopped(&self) {
        let engine = self.0.read().unwrap_or_else(PoisonError::into_inner);
        engine.iter().for_each(|engine| engine.start_stopped(Instant::now()));
    }

    /// As [`Engine::take_doubted`].
    pub(crate) fn take_doubted(&self) -> Vec<String> {
        let engine = self.0.read().unwrap_or_else(PoisonError::into_inner);
        engine.as_ref().map_or_else(Vec::new, Engine::take_doubted)
    }

    /// As [`Engine::refused`].
    pub(crate) fn refused(&self) -> Vec<String> {
        let engine = self.0.read().unwrap_or_else(PoisonError::into_inner);
        engine.as_ref().map_or_else(Vec::new, Engine::refused)
    }

    /// As [`Engine::note`].
    pub(crate) fn note(&self, operation: Operation) {
        let engine = self.0.read().unwrap_or_else(PoisonError::into_inner);
        engine.iter().for_each(|engine| engine.note(operation.clone()));
    }

    /// As [`Engine::tell_change`].
    pub(crate) fn tell_change(&self, actor: &str, changes: &[String]) {
        let engine = self.0.read().unwrap_or_else(PoisonError::into_inner);
        engine.iter().for_each(|engine| engine.tell_change(actor, changes));
    }

    /// As [`Engine::unwell`].
    pub(crate) fn unwell(&self) -> Vec<String> {
        let engine = self.0.read().unwrap_or_else(PoisonError::into_inner);
        engine.as_ref().map_or_else(Vec::new, Engine::unwell)
    }

    /// As [`Engine::defects`].
    pub(crate) fn defects(&self) -> Vec<String> {
        let engine = self.0.read().unwrap_or_else(PoisonError::into_inner);
        engine.as_ref().map_or_else(Vec::new, Engine::defects)
    }

    /// As [`Engine::take_unreadable`].
    pub(crate) fn take_unreadable(&self) -> VecDeque<Unreadable> {
        let engine = self.0.read().unwrap_or_else(PoisonError::into_inner);
        engine.as_ref().map_or_else(VecDeque::new, Engine::take_unreadable)
    }

    /// As [`Engine::end`]; commands find nothing any more.
    pub(crate) fn end(&self) -> Option<pipeline::Status> {
        let engine = self.0.write().unwrap_or_else(PoisonError::into_inner).take();
        engine.map(Engine::end)
    }
}

/// Answers commands.
pub(crate) struct Commands {
    pub(crate) running: Running,
    pub(crate) log: Log,
    pub(crate) log_dir: String,
    pub(crate) door: Arc<Door>,
    /// When the process started, nanoseconds since 1970.
    pub(crate) started: u64,
    pub(crate) inputs: Inputs,
    pub(crate) threats: Threats,
    pub(crate) reloader: Reloader,
    pub(crate) paused: Paused,
}

impl Serve for Commands {
    fn status(&self) -> Result<Status, String> {
        let Some(status) = self.running.status() else { return Err(STOPPING.to_owned()) };
        let now = position::now();
        let paused = self.paused.status(&status);
        let exporters = status.exporters.iter().chain(&paused);
        let mut exporters: Vec<ExporterStatus> =
            exporters.map(|exporter| shown(exporter, &self.log, now)).collect();
        exporters.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started: self.started,
            state: worst(exporters.iter().map(|it| it.state.as_str())).to_owned(),
            log: LogStatus {
                dir: self.log_dir.clone(),
                io: status.io.clone(),
                tail: status.oldest.bytes(),
                written: status.written.bytes(),
                durable: status.durable.bytes(),
                bytes: status.written.bytes() - status.oldest.bytes(),
            },
            inputs: self.inputs.status(),
            exporters,
            threat_intel: self.threats.intel().map(|intel| Box::new(IntelStatus::of(&intel))),
            notes: self.reloader.told().notes.into_iter().chain(self.running.unwell()).collect(),
        })
    }

    fn cursors(&self, exporter: Option<&str>) -> Result<Vec<CursorStatus>, String> {
        let Some(status) = self.running.status() else { return Err(STOPPING.to_owned()) };
        let wanted = |it: &&pipeline::ExporterStatus| exporter.is_none_or(|name| it.name == name);
        let found = status.exporters.iter().filter(wanted).map(|exporter| CursorStatus {
            exporter: exporter.name.clone(),
            pass: exporter.pass,
            start: exporter.start.bytes(),
            base: exporter.base.bytes(),
            ahead: 0,
            head: status.written.bytes(),
            alert_below: mark(exporter.alert_below),
            left: 0,
        });
        let mut found: Vec<CursorStatus> = found.collect();
        let paused = self.reloader.told().paused;
        let runs = |name: &str| status.exporters.iter().any(|it| it.name == name);
        let wanted = |name: &&String| exporter.is_none_or(|wanted| *wanted == **name);
        for name in paused.keys().filter(wanted).filter(|name| !runs(name)) {
            let Some(saved) = self.paused.saved(name) else { continue };
            found.push(CursorStatus {
                exporter: name.clone(),
                pass: saved.pass,
                start: saved.start.bytes(),
                base: saved.base.bytes(),
                ahead: saved.ahead.len(),
                head: status.written.bytes(),
                alert_below: mark(saved.alert_below),
                left: 0,
            });
        }
        found.sort_by(|a, b| a.exporter.cmp(&b.exporter));
        match (exporter, found.is_empty()) {
            (Some(name), true) => {
                let running = status.exporters.iter().map(|it| it.name.as_str());
                let names: Vec<&str> = running.chain(paused.keys().map(String::as_str)).collect();
                let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                Err(format!("no exporter `{name}`; there are: {names}"))
            }
            _ => Ok(found),
        }
    }

    fn rewind(&self, exporter: &str, wanted: Rewind) -> Result<CursorStatus, String> {
        self.runs(exporter)?;
        let new = position::new_pass(wanted, &self.log.reader())?;
        let deadline = Instant::now() + REWIND_WAIT;
        let left = self.running.rewind(exporter, new, deadline)?;
        let cursor = self.cursors(Some(exporter))?.pop().ok_or_else(|| STOPPING.to_owned())?;
        Ok(CursorStatus { left, ..cursor })
    }

    fn replay(
        &self,
        exporter: &str,
        wanted: &Wanted,
        rate: Option<u32>,
    ) -> Result<Progress, String> {
        self.runs(exporter)?;
        self.running.ask(|engine| engine.replay(exporter, wanted, rate))
    }

    fn replayed(&self, exporter: &str) -> Result<Progress, String> {
        self.runs(exporter)?;
        self.running.ask(|engine| engine.replayed(exporter))
    }

    fn purge(&self, exporter: &str, wanted: &Wanted) -> Result<u64, String> {
        self.runs(exporter)?;
        self.running.ask(|engine| engine.purge(exporter, wanted))
    }

    fn reload(&self, actor: &str) -> Result<ReloadReport, String> {
        self.reloader.reload(actor)
    }

    fn config(&self) -> Result<String, String> {
        Ok(self.reloader.told().yaml)
    }

    fn change(&self, exporter: &str, change: Change, _actor: &str) -> Result<String, String> {
        self.reloader.change(exporter, change)
    }

    fn alerts(&self, exporter: &str, prefix: &str, limit: u32) -> Result<AlertList, String> {
        self.runs(exporter)?;
        let desk = self.running.ask(|engine| engine.desk(exporter))?;
        Ok(desk.list(prefix, usize::try_from(limit).expect("32 bits fit")))
    }

    fn alert(&self, exporter: &str, key: &str, change: AlertChange) -> Result<u64, String> {
        self.runs(exporter)?;
        // The desk waits for the destination; the engine must not.
        let desk = self.running.ask(|engine| engine.desk(exporter))?;
        desk.change(key, change)
    }

    fn append(&self, lines: &[u8]) -> Result<Appended, String> {
        self.door.append(lines)
    }

    fn retry(&self, wanted: &WantedLines) -> Result<Retried, String> {
        self.door.retry(wanted)
    }

    fn note(&self, by: &str, request: &Request, outcome: &Result<Answer, String>) {
        if let Some(operation) = operation(by, request, outcome) {
            self.running.note(operation);
        }
    }
}

impl Commands {
    /// Refuses what only an exporter that runs can do.
    fn runs(&self, exporter: &str) -> Result<(), String> {
        if self.reloader.told().paused.contains_key(exporter) {
            return Err(format!(
                "exporter {exporter} is paused; `shrike exporter resume {exporter}` lets it go on"
            ));
        }
        self.cursors(Some(exporter)).map(drop)
    }
}

/// The exporters that somebody paused.
#[derive(Clone)]
pub(crate) struct Paused {
    pub(crate) reloader: Reloader,
    pub(crate) log: Log,
    pub(crate) cursors: Arc<Cursors>,
}

impl Paused {
    /// How they are, as far as their checkpoints say it; one that is just being resumed runs.
    fn status(&self, running: &pipeline::Status) -> Vec<pipeline::ExporterStatus> {
        let reader = self.log.reader();
        let runs = |name: &str| running.exporters.iter().any(|it| it.name == name);
        let paused = self.reloader.told().paused.into_iter().filter(|(name, _)| !runs(name));
        let paused = paused.map(|(name, vendor)| {
            let saved = self.saved(&name);
            pipeline::ExporterStatus::paused(&name, vendor, saved.as_ref(), &reader)
        });
        paused.collect()
    }

    /// Where one of them is to go on.
    fn saved(&self, exporter: &str) -> Option<Checkpoint> {
        self.cursors.load(exporter).ok().flatten()
    }
}

/// What the chain of receipts says of a request; nothing of those that only look.
fn operation(by: &str, request: &Request, outcome: &Result<Answer, String>) -> Option<Operation> {
    let (action, exporter) = match request {
        Request::Rewind { exporter, .. } => ("rewind", exporter.as_str()),
        Request::Replay { exporter, .. } => ("dlq_replay", exporter.as_str()),
        Request::Purge { exporter, .. } => ("dlq_purge", exporter.as_str()),
        Request::Retry { .. } => ("quarantine_retry", ""),
        Request::Change { exporter, change } => {
            let action = match change {
                Change::Pause => "pause",
                Change::Resume => "resume",
                Change::Flush => "flush",
            };
            (action, exporter.as_str())
        }
        Request::Alert { exporter, change, .. } => {
            let action = match change {
                AlertChange::Acknowledge => "alert_ack",
                AlertChange::Resolve => "alert_resolve",
            };
            (action, exporter.as_str())
        }
        _ => return None,
    };
    let detail = match outcome {
        Ok(Answer::Cursors(cursors)) => cursors.first().map_or_else(String::new, begun),
        Ok(Answer::Replay(progress)) => format!("{} letters", progress.wanted),
        Ok(Answer::Changed(state)) => format!("it is {state}"),
        Ok(Answer::Alert(0)) => "none is open".to_owned(),
        Ok(Answer::Alert(_)) => "done".to_owned(),
        Ok(Answer::Purged(letters)) => format!("{letters} letters"),
        Ok(Answer::Retried(retried)) => {
            format!("{} of {} lines are events now", retried.taken, retried.wanted)
        }
        Ok(_) => String::new(),
        Err(problem) => format!("refused: {problem}"),
    };
    let detail = match request {
        Request::Alert { key, .. } => format!("incident {key}: {detail}"),
        Request::Rewind { really_alert: true, .. } => detail + REALLY_ALERT,
        Request::Replay { wanted, .. } if wanted.really_alert => detail + REALLY_ALERT,
        _ => detail,
    };
    let (exporter, actor) = (exporter.to_owned(), by.to_owned());
    Some(Operation { action, exporter, actor, detail })
}

/// Shows the pages for monitoring.
pub(crate) struct Pages {
    pub(crate) running: Running,
    pub(crate) log: Log,
    pub(crate) door: Arc<Door>,
    pub(crate) inputs: Inputs,
    pub(crate) threats: Threats,
    pub(crate) counts: Arc<ReloadCounts>,
    pub(crate) access: Arc<Access>,
    pub(crate) paused: Paused,
}

impl Observe for Pages {
    fn numbers(&self) -> Option<Numbers> {
        let mut status = self.running.status()?;
        status.exporters.extend(self.paused.status(&status));
        let now = position::now();
        let lag = |it: &pipeline::ExporterStatus| (it.name.clone(), lag(it, &self.log, now));
        let lag_seconds = status.exporters.iter().map(lag).collect();
        let reloads = ReloadNumbers::of(&self.counts);
        let (inputs, refused) = (self.inputs.status(), self.access.refused());
        let classes = self.door.classes();
        let intel = self.threats.intel();
        Some(Numbers { status, inputs, classes, lag_seconds, reloads, refused, intel })
    }

    fn defects(&self) -> Vec<String> {
        self.running.defects()
    }

    fn unready(&self) -> Vec<String> {
        let Some(status) = self.running.status() else { return vec![STOPPING.to_owned()] };
        let is_idle = |it: &&pipeline::ExporterStatus| it.state == "starting" || it.is_stopped();
        let idle = status.exporters.iter().filter(is_idle);
        let idle = idle.map(|it| format!("exporter {} is {}", it.name, it.state));
        self.running.unwell().into_iter().chain(self.inputs.wrong()).chain(idle).collect()
    }
}

/// The age of the oldest unsettled event, in seconds.
fn lag(exporter: &pipeline::ExporterStatus, log: &Log, now: u64) -> f64 {
    let waiting = match exporter.pending {
        0 => None,
        _ => received(&mut log.reader(), exporter.base),
    };
    waiting.map_or(0, |received| now.saturating_sub(received)) as f64 / 1e9
}

fn shown(exporter: &pipeline::ExporterStatus, log: &Log, now: u64) -> ExporterStatus {
    ExporterStatus {
        name: exporter.name.clone(),
        vendor: exporter.vendor.to_owned(),
        state: exporter.state.to_owned(),
        pass: exporter.pass,
        pending: exporter.pending,
        lag_bytes: exporter.lag_bytes,
        lag_seconds: lag(exporter, log, now),
        delivered: exporter.counts.delivered,
        dead_lettered: exporter.counts.dead_lettered,
        filtered: exporter.counts.filtered,
        skipped: exporter.counts.skipped,
        invalid: exporter.counts.invalid,
        retried: exporter.retried,
        requests: exporter.requests,
        counts_lost: exporter.counts_lost,
        untimely: exporter.untimely,
        unverified: exporter.unverified,
        schema_checked: exporter.schema_checked,
        schema_invalid: exporter.schema_invalid,
        letters: exporter.letters,
        gaps: exporter.gaps,
        parked: exporter.parked,
        health: exporter.health.as_ref().map(|health| Health {
            healthy: health.is_healthy,
            text: health.text.clone(),
            latency_seconds: health.latency.as_secs_f64(),
            seconds_ago: health.age.as_secs_f64(),
        }),
        last_error: exporter
            .last_error
            .as_ref()
            .map(|(ago, text)| LastError { seconds_ago: ago.as_secs_f64(), text: text.clone() }),
        alerts: exporter.alerts.map(|alerts| AlertStatus {
            has_incidents: alerts.has_incidents,
            open: alerts.open,
            deduplicated: alerts.deduplicated,
            resolved: alerts.resolved,
            resolve_failed: alerts.resolve_failed,
            forgotten: alerts.forgotten,
            acknowledged: alerts.acknowledged,
            acknowledge_failed: alerts.acknowledge_failed,
        }),
        threads: exporter.threads.map(|threads| ThreadStatus {
            known: threads.known,
            begun: threads.begun,
            replies: threads.replies,
            lost: threads.lost,
            forgotten: threads.forgotten,
        }),
        digests: exporter.digests.map(|it| DigestStatus {
            sent: it.sent,
            events: it.events,
            stale: it.stale,
        }),
        hook: exporter.hook.map(|hook| HookStatus {
            dry_run: hook.is_dry,
            fired: hook.fired,
            succeeded: hook.succeeded,
            failed: hook.failed,
            suppressed: hook.suppressed,
            stale: hook.stale,
            not_sent: hook.dry,
        }),
    }
}

/// "Aggregate = worst state" (`pipeline.md`); healthy where there are no exporters.
fn worst<'a>(states: impl Iterator<Item = &'a str>) -> &'a str {
    let rank = |state: &&str| STATES.iter().position(|it| it == state).unwrap_or(STATES.len());
    states.max_by_key(rank).unwrap_or(STATES[0])
}

/// When the first record at or after an offset was received.
fn received(reader: &mut Reader, from: Offset) -> Option<u64> {
    // Twice, since a cold answer comes once only.
    for _ in 0..2 {
        if let Ok(Read::Block(block)) = reader.read(from, reader.written(), 1) {
            return block.records().first().map(|record| record.frame.received_ns);
        }
    }
    None
}

/// States of exporters, the worse the later: what passes by itself, what somebody did, what needs
/// somebody.
const STATES: [&str; 9] = [
    "healthy",
    "starting",
    "paused",
    "throttled",
    "degraded",
    "circuit_open",
    "auth_failed",
    "config_failed",
    "stopped",
];
const STOPPING: &str = "shrike is stopping";
/// What an exporter has under way is waited for this long before a rewind leaves it.
const REWIND_WAIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_state_is_that_of_all() {
        for (states, expected) in [
            (&[][..], "healthy"),
            (&["healthy", "healthy"], "healthy"),
            (&["healthy", "auth_failed", "paused"], "auth_failed"),
            (&["stopped", "circuit_open", "starting"], "stopped"),
        ] {
            assert_eq!(worst(states.iter().copied()), expected, "{states:?}");
        }
    }
}
