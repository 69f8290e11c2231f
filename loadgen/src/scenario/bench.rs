//! Settings, the directory of a run, and what can go wrong.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use crate::fake::ScriptError;

/// What every scenario can be told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The shrike binary.
    pub shrike: PathBuf,
    /// This program itself, for fakes and producers in processes of their own.
    pub loadgen: PathBuf,
    /// Events of scenarios that have a number of them.
    pub events: u64,
    /// How long scenarios run that have a length.
    pub time: Duration,
    /// Events a second where the scenario does not say.
    pub rate: Option<f64>,
    /// Worker threads of shrike; 0 is one per core.
    pub workers: u32,
    /// How often to kill.
    pub kills: u32,
    /// Every how many requests the fakes judge one in full.
    pub judge_every: u64,
    /// Whether the fakes of cost scenarios only read: no accounts, and a sibling core at rest.
    pub swallow: bool,
    /// Seed of events and faults.
    pub seed: u64,
    /// More `--set` arguments for shrike.
    pub set: Vec<String>,
}

/// One run of a scenario.
pub struct Bench {
    /// What it was told.
    pub settings: Settings,
    dir: PathBuf,
    /// The environment of shrike, beside our own.
    env: Vec<(&'static str, PathBuf)>,
}

/// Why a scenario gave no figures.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// Something of ours could not be done.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// A process ended in another way than it should.
    #[error("{what} ended with {status}; the end of what it said:\n{said}")]
    Ended {
        /// Which process.
        what: String,
        /// How.
        status: ExitStatus,
        /// The last lines of its standard error.
        said: String,
    },
    /// A process did not do its part in time.
    #[error("{what} did not {expected} within {limit:?}; the end of what it said:\n{said}")]
    Late {
        /// Which process.
        what: String,
        /// What it should have done.
        expected: &'static str,
        /// The bound.
        limit: Duration,
        /// The last lines of its standard error.
        said: String,
    },
    /// Something a fake or shrike wrote could not be read.
    #[error("cannot read {what}: {why}")]
    Unreadable {
        /// What.
        what: String,
        /// Why.
        why: String,
    },
    /// A script of ours is wrong.
    #[error(transparent)]
    Script(#[from] ScriptError),
}

impl ScenarioError {
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

impl Bench {
    /// A run in a directory that exists and is empty.
    #[must_use]
    pub const fn new(settings: Settings, dir: PathBuf) -> Self {
        Self { settings, dir, env: Vec::new() }
    }

    /// The same with more of an environment for shrike.
    pub(super) fn with_env(self, env: Vec<(&'static str, PathBuf)>) -> Self {
        Self { env, ..self }
    }

    /// The environment of shrike, beside our own.
    pub(super) fn env(&self) -> &[(&'static str, PathBuf)] {
        &self.env
    }

    /// The directory of the run.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A file or directory inside it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Events that come in `time` at a rate.
    pub(super) fn events_at(&self, rate: f64) -> u64 {
        (self.settings.time.as_secs_f64() * rate).ceil() as u64
    }

    /// Writes a file of the run.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf, ScenarioError> {
        let path = self.path(name);
        std::fs::write(&path, text)
            .map_err(ScenarioError::io(format!("write {}", path.display())))?;
        Ok(path)
    }

    /// A part of the run that starts with nothing: its own log and state.
    pub(super) fn part(&self, name: &str) -> Result<Self, ScenarioError> {
        let dir = self.path(name);
        std::fs::create_dir_all(&dir)
            .map_err(ScenarioError::io(format!("make {}", dir.display())))?;
        Ok(Self { settings: self.settings.clone(), dir, env: self.env.clone() })
    }
}
