//! What people ask for about incidents, until the exporter's lane takes it.

use std::collections::VecDeque;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::super::exporter::Exporter;
use super::super::{Engine, EngineError};
use super::{AlertChange, AlertList, Alerts, Due, Name};

/// What waits for the lane.
#[derive(Debug, Default)]
pub(crate) struct Asks(Mutex<VecDeque<Ask>>);

/// One thing that somebody waits for.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) name: Name,
    pub(crate) change: AlertChange,
    /// Takes what came of it, as a sentence where that is nothing.
    pub(crate) answer: Sender<Result<(), String>>,
    number: u64,
}

/// Where people ask for the incidents of one exporter.
#[derive(Clone, Debug)]
pub struct Desk(Arc<Exporter>);

impl Asks {
    /// Takes out the first of which this finds that it can be done now.
    pub(crate) fn take(&self, mut is_ready: impl FnMut(&Ask) -> bool) -> Option<Ask> {
        let mut waiting = self.lock();
        let at = waiting.iter().position(&mut is_ready)?;
        waiting.remove(at)
    }

    /// Answers all that wait with the same sentence.
    pub(crate) fn refuse(&self, why: &str) {
        for ask in self.lock().drain(..) {
            // Whoever went away needs no answer.
            let _ = ask.answer.send(Err(why.to_owned()));
        }
    }

    fn put(&self, name: Name, change: AlertChange) -> Option<(u64, Receiver<Result<(), String>>)> {
        let mut waiting = self.lock();
        let number = waiting.back().map_or(0, |last| last.number + 1);
        let (answer, answered) = mpsc::channel();
        (waiting.len() < WAITING_MAX)
            .then(|| waiting.push_back(Ask { name, change, answer, number }))?;
        Some((number, answered))
    }

    /// Takes back what the lane has not begun; false where it has.
    fn withdraw(&self, number: u64, name: &Name) -> bool {
        self.take(|ask| ask.number == number && ask.name == *name).is_some()
    }

    /// Changed by single calls, so that a panic elsewhere leaves it whole.
    fn lock(&self) -> MutexGuard<'_, VecDeque<Ask>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Where people ask for the incidents of an exporter.
    ///
    /// # Errors
    /// When there is no such exporter that runs, or it keeps no incidents.
    pub fn desk(&self, exporter: &str) -> Result<Desk, EngineError> {
        let found = self.find(exporter)?;
        match found.alerts.as_ref().is_some_and(|alerts| alerts.spec.has_incidents) {
            true => Ok(Desk(found)),
            false => {
                let (name, problem) = (exporter.to_owned(), NONE_KEPT.to_owned());
                Err(EngineError::Exporter { name, problem })
            }
        }
    }
}

impl Desk {
    /// The open incidents whose keys begin so, those that were seen last first.
    #[must_use]
    pub fn list(&self, prefix: &str, limit: usize) -> AlertList {
        self.alerts().list(prefix, limit)
    }

    /// Asks the destination for a change of the incidents with this key, and waits for its answer;
    /// says how many there are.
    ///
    /// # Errors
    /// When it is not asked, or does not take it; in words that say whether it is tried again.
    pub fn change(&self, key: &str, change: AlertChange) -> Result<u64, String> {
        let found = self.alerts().find(key, change);
        let asked: Vec<_> = found.iter().map(|due| self.ask(due)).collect::<Result<_, _>>()?;
        let until = Instant::now() + BEGIN_WAIT;
        // Each is waited for, whatever became of the others.
        let ended: Vec<_> = found
            .iter()
            .zip(asked)
            .map(|(due, (number, answered))| self.wait(due, number, &answered, until))
            .collect();
        ended.into_iter().collect::<Result<Vec<()>, String>>()?;
        Ok(found.len() as u64)
    }

    fn ask(&self, due: &Due) -> Result<(u64, Receiver<Result<(), String>>), String> {
        let asked = self.alerts().asks.put(due.name, due.change);
        self.0.wake_all();
        asked.ok_or_else(|| {
            format!("{WAITING_MAX} requests about incidents wait already; try later")
        })
    }

    fn wait(
        &self,
        due: &Due,
        number: u64,
        answered: &Receiver<Result<(), String>>,
        until: Instant,
    ) -> Result<(), String> {
        match answered.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(answer) => return answer,
            Err(RecvTimeoutError::Disconnected) => return Err(GONE.to_owned()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if self.alerts().asks.withdraw(number, &due.name) {
            let state = self.0.condition(Instant::now()).word();
            return Err(format!(
                "not asked within {} s, since the exporter ({state}) cannot send or has not sent \
                 the incident's last event yet; nothing has changed, ask again",
                BEGIN_WAIT.as_secs()
            ));
        }
        let patience = self.0.settings.connection.timeout + ANSWER_SPARE;
        match answered.recv_timeout(patience) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Disconnected) => Err(GONE.to_owned()),
            Err(RecvTimeoutError::Timeout) => Err("asked, and not answered yet".to_owned()),
        }
    }

    fn alerts(&self) -> &Alerts {
        self.0.alerts.as_ref().expect("a desk is made where there are incidents alone")
    }
}

/// Requests that wait at once; people and scripts need few.
const WAITING_MAX: usize = 64;
/// How long a request waits until it can be sent.
const BEGIN_WAIT: Duration = Duration::from_secs(15);
/// How much longer than a request may take its answer is waited for.
const ANSWER_SPARE: Duration = Duration::from_secs(5);
/// Where an exporter has no table of incidents.
const NONE_KEPT: &str = "it keeps no incidents; exporters of types that open some do, unless \
                         `deduplication.window_seconds` is 0 and `auto_resolve.enabled` is false";
/// What is told where the exporter is no more.
const GONE: &str = "the exporter was changed or ended before the answer came; what was asked by \
                    then is asked once more when it goes on";
