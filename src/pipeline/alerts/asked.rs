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
pub(crate) struct Asks(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    asks: VecDeque<Ask>,
    /// The number of the latest; none is used twice.
    last: u64,
}

/// Takes what came of one.
type Answered = Receiver<Result<(), String>>;

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
        let at = waiting.asks.iter().position(&mut is_ready)?;
        waiting.asks.remove(at)
    }

    /// Answers all that wait with the same sentence.
    pub(crate) fn refuse(&self, why: &str) {
        for ask in self.lock().asks.drain(..) {
            // Whoever went away needs no answer.
            let _ = ask.answer.send(Err(why.to_owned()));
        }
    }

    /// Puts all of these, or none where too many wait.
    fn put(&self, wanted: &[Due]) -> Option<Vec<(u64, Answered)>> {
        let mut waiting = self.lock();
        let is_free = waiting.asks.is_empty() || waiting.asks.len() + wanted.len() <= WAITING_MAX;
        is_free.then(|| {
            let each = wanted.iter().map(|&Due { name, change, .. }| {
                let (answer, answered) = mpsc::channel();
                waiting.last += 1;
                let number = waiting.last;
                waiting.asks.push_back(Ask { name, change, answer, number });
                (number, answered)
            });
            each.collect()
        })
    }

    /// Takes back what the lane has not begun; false where it has.
    fn withdraw(&self, number: u64) -> bool {
        self.take(|ask| ask.number == number).is_some()
    }

    /// Changed by single calls, so that a panic elsewhere leaves it whole.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
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
        let places: Vec<Name> = self.0.routes.iter().map(|route| route.place).collect();
        let found = self.alerts().find(key, &places, change);
        let asked = self.alerts().asks.put(&found).ok_or_else(|| {
            format!("{WAITING_MAX} requests about incidents wait already; try later")
        })?;
        self.0.wake_all();
        let until = Instant::now() + BEGIN_WAIT;
        // Each is waited for, whatever became of the others.
        let ended: Vec<_> =
            asked.iter().map(|(number, answered)| self.wait(*number, answered, until)).collect();
        ended.into_iter().collect::<Result<Vec<()>, String>>()?;
        Ok(found.len() as u64)
    }

    fn wait(&self, number: u64, answered: &Answered, until: Instant) -> Result<(), String> {
        match answered.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(answer) => return answer,
            Err(RecvTimeoutError::Disconnected) => return Err(GONE.to_owned()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if self.alerts().asks.withdraw(number) {
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

#[cfg(test)]
mod tests {
    use super::super::At;
    use super::*;
    use crate::event::Offset;

    fn wanted(names: &[u8]) -> Vec<Due> {
        let sent_at = At { pass: 0, offset: Offset::ZERO };
        let (key, change) = (String::new(), AlertChange::Acknowledge);
        let due = |name: &u8| {
            let (name, key, earlier) = ([*name; 16], key.clone(), Vec::new());
            Due { name, place: [0; 16], key, change, sent_at, earlier }
        };
        names.iter().map(due).collect()
    }

    #[test]
    fn nobody_takes_back_what_another_asked_for() {
        let asks = Asks::default();
        let first = asks.put(&wanted(&[1])).expect("there is room").remove(0);
        asks.take(|_| true).expect("it waits");
        let second = asks.put(&wanted(&[1])).expect("there is room").remove(0);
        assert!(!asks.withdraw(first.0), "it was begun");
        assert!(asks.withdraw(second.0));
    }

    #[test]
    fn where_too_many_wait_none_is_asked_for() {
        let asks = Asks::default();
        let some = asks.put(&wanted(&[1; WAITING_MAX - 1])).expect("there is room");
        assert!(asks.put(&wanted(&[1, 2])).is_none());
        assert!(asks.put(&wanted(&[2])).is_some());
        assert_eq!(asks.lock().asks.len(), some.len() + 1);
    }
}
