//! Threat intelligence of the running process: one for all inputs, workers and reloads.

use std::sync::{Arc, Mutex, PoisonError};

use shrike::config::Config;
use shrike::event::{Insight, OpeningOptions, Time};
use shrike::intake::Questions;
use shrike::intel::{Feeds, Guard, Intel, IntelSpec, Marks, Snapshot};
use tracing::warn;

/// What is known, who is told, and who finds out; clones are the same.
#[derive(Clone)]
pub(crate) struct Threats {
    intel: Arc<Intel>,
    guard: Arc<Guard>,
    feeds: Arc<Mutex<Running>>,
}

/// What runs of it.
#[derive(Default)]
struct Running {
    spec: Option<Arc<IntelSpec>>,
    feeds: Option<Feeds>,
}

impl Threats {
    /// Nothing is known, and nobody is told, until [`Threats::run`].
    pub(crate) fn new() -> Self {
        let intel = Arc::new(Intel::default());
        let guard = Arc::new(Guard::new(Arc::clone(&intel)));
        Self { intel, guard, feeds: Arc::default() }
    }

    /// Reads these feeds from now on; what was known of those that stay is kept.
    pub(crate) fn run(&self, config: &Config) {
        let mut running = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        // Feeds that could not be started are tried again.
        let is_running = running.feeds.is_some() == config.intel.is_some();
        if running.spec == config.intel && is_running {
            return;
        }
        self.guard.set(config.intel.as_ref().map(|spec| spec.actions));
        running.spec.clone_from(&config.intel);
        match (&running.feeds, &config.intel) {
            (Some(feeds), Some(spec)) => feeds.reload(spec),
            (None, Some(spec)) => match Feeds::start(spec, &self.intel) {
                Ok(feeds) => running.feeds = Some(feeds),
                // Everything else goes on: guards let through what nobody warns of.
                Err(problem) => warn!(%problem, "no feed is read: set `threat_intel.cache.path`"),
            },
            (_, None) => {
                if let Some(feeds) = running.feeds.take() {
                    feeds.stop();
                }
                self.intel.swap(Snapshot::default());
                self.intel.set_sources(&[]);
            }
        }
    }

    /// Ends the feeds; what they told is saved where it is kept.
    pub(crate) fn stop(&self) {
        let feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner).feeds.take();
        if let Some(feeds) = feeds {
            feeds.stop();
        }
    }

    /// Has events marked by what is known, where a configuration wants that.
    pub(crate) fn mark(&self, config: &Config, opening: &mut OpeningOptions) {
        let wanted = config.intel.as_ref().filter(|spec| spec.actions.enrich_events);
        opening.insight = wanted.map(|spec| {
            let marks: Arc<dyn Insight> =
                Arc::new(Marks::new(Arc::clone(&self.intel), spec.escalate));
            marks
        });
    }

    /// What answers guards.
    pub(crate) fn questions(&self) -> Questions {
        let guard = Arc::clone(&self.guard);
        Questions::new(move |body| guard.answer(body, Time::now()))
    }

    /// What is known and counted, where it is switched on.
    pub(crate) fn intel(&self) -> Option<Arc<Intel>> {
        let running = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        running.spec.as_ref().map(|_| Arc::clone(&self.intel))
    }
}
