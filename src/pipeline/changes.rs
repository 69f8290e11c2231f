//! Telling a destination that the configuration was changed.
//!
//! Beside the events, with a connection of its own: a change that is not taken is counted and
//! logged, and nothing waits for it. The chain of receipts has it all the same.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;
use tracing::{info, warn};

use super::Engine;
use super::engine::running;
use super::exporter::Exporter;
use super::network::Network;
use crate::deliver::{
    Binding, CallBody, Channel, CompiledCall, ConfigChange, Fate, Problem, Purpose, Response,
    Transport as _, Via, judge, judge_transport,
};
use crate::event::Time;
use crate::metrics::Counter;

/// Changes that one exporter tells of.
#[derive(Debug, Default)]
pub struct ChangeCounters {
    /// Changes that were taken.
    pub sent: Counter,
    /// Changes that were not.
    pub failed: Counter,
}

/// What waits to be told.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    waiting: Mutex<VecDeque<ConfigChange>>,
    come: Notify,
}

impl Changes {
    /// Takes in a change; false where too many wait.
    fn put(&self, change: ConfigChange) -> bool {
        // Changed by single calls, so that a panic elsewhere leaves it whole.
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = waiting.len() < WAITING_MAX;
        if has_room {
            waiting.push_back(change);
            self.come.notify_one();
        }
        has_room
    }

    async fn next(&self) -> ConfigChange {
        loop {
            let come = self.come.notified();
            let next = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            match next {
                Some(change) => return change,
                None => come.await,
            }
        }
    }
}

impl Engine {
    /// Has the exporters that want to tell of the lines that a reload changed, secrets masked.
    pub fn tell_change(&self, actor: &str, changes: &[String]) {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let (time, actor) = (Time::now(), actor.to_owned());
        let change = ConfigChange { time, host, actor, changes: changes.to_vec() };
        for it in running(&self.exporters).iter().filter(|it| is_wanted(&it.exporter)) {
            if !it.exporter.changes.put(change.clone()) {
                it.exporter.counters.changes.failed.add(1);
                warn!(exporter = it.exporter.name(), "change not told: too many wait");
            }
        }
    }
}

/// Whether an exporter tells of changes; a hook that acts through one leaves that to it.
pub(super) fn is_wanted(exporter: &Exporter) -> bool {
    let settings = &exporter.settings;
    exporter.hook.is_none()
        && settings.vendor.call(Purpose::Change, &settings.options, settings.format).is_some()
}

/// Tells of changes until it is dropped with the lane that it runs beside.
pub(super) async fn run(exporter: Arc<Exporter>, network: Network) {
    let call = match compile(&exporter) {
        Ok(Some(call)) => call,
        Ok(None) => return,
        Err(problem) => {
            exporter.note_error(format!("change events: {problem}"), Instant::now());
            return;
        }
    };
    loop {
        let change = exporter.changes.next().await;
        let (name, counters) = (exporter.name(), &exporter.counters.changes);
        match tell(&call, &exporter, &network, &change).await {
            Ok(()) => {
                counters.sent.add(1);
                info!(exporter = name, "change of the configuration told");
            }
            Err(problem) => {
                counters.failed.add(1);
                warn!(exporter = name, problem, "change of the configuration not told");
            }
        }
    }
}

fn compile(exporter: &Exporter) -> Result<Option<CompiledCall>, Problem> {
    let settings = &exporter.settings;
    let credentials = (settings.vendor.auth)(&settings.options)?;
    let binding = Binding::new(settings, &exporter.derived, &credentials);
    let call = settings.vendor.call(Purpose::Change, &settings.options, settings.format);
    call.map(|call| CompiledCall::compile(call, &binding)).transpose()
}

async fn tell(
    call: &CompiledCall,
    exporter: &Exporter,
    network: &Network,
    change: &ConfigChange,
) -> Result<(), String> {
    let options = &exporter.settings.options;
    let mut body = Vec::new();
    if let CallBody::Change(_, write) = call.call.body {
        write(change, options, &exporter.derived, &mut body);
    }
    let via = Via { endpoint: 0, group: 0, channel: Channel::from_random(exporter.seed(0)) };
    let verdict = match network.send(call.carrying(via, body.into())).await {
        Ok(answer) => judge(call.call, &Response::without_events(&answer, options)),
        Err(error) => judge_transport(&error),
    };
    match (verdict.fate, verdict.reason) {
        (Fate::Delivered, _) => Ok(()),
        (_, it) => Err(format!("{} (status {}): {}", it.class, it.status, it.detail)),
    }
}

/// Changes that wait at once; reloads are few, and each is told within a timeout.
const WAITING_MAX: usize = 16;
