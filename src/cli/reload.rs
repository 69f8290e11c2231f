//! Changing the configuration of a running process: reloads, other credentials, standby tokens.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use shrike::config::{Config, Flags, Host, Lookup, System, Text};
use shrike::vendors;
use tracing::{error, info, warn};
use zeroize::Zeroizing;

use super::Failure;
use super::args::{Run, Shared};
use super::serve::Running;
use super::settings;

/// The configuration that runs, and how it is read again.
pub(crate) struct Reload {
    file: Option<PathBuf>,
    flags: Flags,
    text: Text,
    config: Config,
    host: Host,
    files: Files,
    /// The files that values came from, as they were then.
    stamps: Vec<(PathBuf, Option<Stamp>)>,
    /// Exporters whose standby credentials are in use.
    on_standby: BTreeSet<String>,
    /// When each refused exporter was last helped.
    helped: BTreeMap<String, Instant>,
    refreshed: Instant,
    looked: Instant,
}

/// What tells one content of a file from another: a link that points elsewhere shows as well.
type Stamp = (u64, u64, i64, i64, u64);

impl Reload {
    /// Reads the configuration for the first time.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub(crate) fn start(shared: &Shared, args: &Run) -> Result<Self, Failure> {
        let flags = settings::all_flags(shared, settings::flags(args));
        let text = Text::open(shared.config.as_deref())?;
        let files = Files::default();
        let config = Config::load(&text, &flags, vendors::ALL, &files)?;
        let now = Instant::now();
        let mut reload = Self {
            file: shared.config.clone(),
            flags,
            text,
            config,
            host: Host::look(),
            files,
            stamps: Vec::new(),
            on_standby: BTreeSet::new(),
            helped: BTreeMap::new(),
            refreshed: now,
            looked: now,
        };
        reload.stamp();
        Ok(reload)
    }

    /// The configuration that runs.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Reads the file again and runs what it says; a wrong one changes nothing.
    pub(crate) fn reload(&mut self, running: &Running) {
        self.files.keeps_last.replace(false);
        let read = Text::open(self.file.as_deref()).and_then(|text| {
            let config = Config::load(&text, &self.flags, vendors::ALL, &self.files)?;
            Ok((text, config))
        });
        match read {
            Ok((text, config)) => {
                if self.apply(config, running) {
                    self.text = text;
                }
            }
            Err(problem) => {
                error!(%problem, "configuration refused; the running one stays");
            }
        }
        self.stamp();
    }

    /// Looks after credentials: those whose time has come or whose files changed are read again,
    /// and refused ones are replaced where there are others.
    pub(crate) fn look(&mut self, running: &Running) {
        if self.looked.elapsed() < LOOK_INTERVAL {
            return;
        }
        self.looked = Instant::now();
        let is_due = self.refreshed.elapsed() >= self.config.credentials_interval;
        let has_changed = self.stamps.iter().any(|(path, old)| stamp(path) != *old);
        if is_due || has_changed {
            self.refresh(running);
        }
        for name in running.refused() {
            self.help(&name, running);
        }
    }

    /// An exporter's credentials were refused: reads them again, else uses its standby ones.
    fn help(&mut self, name: &str, running: &Running) {
        let helped = self.helped.get(name);
        if helped.is_some_and(|at| at.elapsed() < HELP_INTERVAL) {
            return;
        }
        self.helped.insert(name.to_owned(), Instant::now());
        if self.refresh(running) && !running.refused().iter().any(|refused| refused == name) {
            return;
        }
        let exporters = &mut self.config.exporters;
        let Some(exporter) = exporters.iter_mut().find(|it| it.settings.name == name) else {
            return;
        };
        if !exporter.settings.swap_standby() {
            return;
        }
        let is_standby = self.on_standby.insert(name.to_owned());
        if !is_standby {
            self.on_standby.remove(name);
        }
        match running.reload(self.config.engine_options(&self.host), SWAP_WAIT) {
            Ok(_) => warn!(exporter = name, is_standby, "credentials refused: others are used now"),
            Err(problem) => error!(exporter = name, problem, "standby credentials not used"),
        }
    }

    /// Reads what the configuration refers to again; says whether something changed. What cannot
    /// be read keeps its last value.
    fn refresh(&mut self, running: &Running) -> bool {
        self.refreshed = Instant::now();
        self.files.keeps_last.replace(true);
        let read = Config::load(&self.text, &self.flags, vendors::ALL, &self.files);
        self.stamp();
        match read {
            Ok(config) if self.config.shown.changes(&config.shown).is_empty() => false,
            Ok(config) => self.apply(config, running),
            Err(problem) => {
                warn!(%problem, "credentials not read again; the last ones stay");
                false
            }
        }
    }

    /// Runs another configuration; false where the engine refuses it.
    fn apply(&mut self, mut config: Config, running: &Running) -> bool {
        let changes = self.config.shown.changes(&config.shown);
        for exporter in &mut config.exporters {
            if self.on_standby.contains(&exporter.settings.name) {
                exporter.settings.swap_standby();
            }
        }
        let reloaded = match running.reload(config.engine_options(&self.host), SWAP_WAIT) {
            Ok(reloaded) => reloaded,
            Err(problem) => {
                error!(problem, "configuration refused; the running one stays");
                return false;
            }
        };
        for change in &changes {
            match needs_restart(change) {
                true => warn!(change, "takes effect after a restart"),
                false => info!(change, "configuration changed"),
            }
        }
        let (added, changed, removed) =
            (reloaded.added.join(","), reloaded.changed.join(","), reloaded.removed.join(","));
        info!(changes = changes.len(), added, changed, removed, "configuration reloaded");
        self.config = config;
        true
    }

    /// Notes how the files are whose content is in use.
    fn stamp(&mut self) {
        let paths = self.files.last.borrow();
        self.stamps = paths.keys().map(|path| (path.clone(), stamp(path))).collect();
    }
}

/// Files and environment, with the last content of every file that was read.
#[derive(Default)]
struct Files {
    last: RefCell<BTreeMap<PathBuf, Zeroizing<String>>>,
    /// Whether a file that cannot be read has its last content.
    keeps_last: RefCell<bool>,
}

impl Lookup for Files {
    fn variable(&self, name: &str) -> Option<String> {
        System.variable(name)
    }

    fn file(&self, path: &Path) -> std::io::Result<String> {
        let mut last = self.last.borrow_mut();
        match System.file(path) {
            Ok(text) => {
                last.insert(path.to_owned(), Zeroizing::new(text.clone()));
                Ok(text)
            }
            Err(problem) => match last.get(path).filter(|_| *self.keeps_last.borrow()) {
                Some(text) => {
                    let file = path.display();
                    warn!(%file, %problem, "not read again; its last content stays");
                    Ok(text.to_string())
                }
                None => Err(problem),
            },
        }
    }

    fn hostname(&self) -> String {
        System.hostname()
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = std::fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.mtime(), found.mtime_nsec(), found.len()))
}

/// Whether a changed key is one that only a start looks at.
fn needs_restart(change: &str) -> bool {
    let key = change.trim_start_matches(['+', '-', ' ']);
    let is_of_store = key.starts_with("exporters.") && key.contains(".dlq.");
    is_of_store || RESTART.iter().any(|start| key.starts_with(start))
}

/// Keys that a running process does not look at again.
const RESTART: &[&str] = &[
    "admin.",
    "global.debug",
    "global.log",
    "global.shutdown_timeout_ms",
    "global.state_dir",
    "inputs",
    "log.",
    "memory.",
    "pipeline.",
];
/// How often files and refused exporters are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How often a refused exporter is helped: each time its credentials are read again.
const HELP_INTERVAL: Duration = Duration::from_secs(5);
/// What a changed exporter has under way is waited for this long.
const SWAP_WAIT: Duration = Duration::from_secs(5);
