//! Changing the configuration of a running process: reloads, other credentials, standby tokens.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use shrike::config::{Config, Flag, Flags, Host, Keep, Shown, Sources, Stamp, Text, USUAL_PATH};
use shrike::control::{Access, Change, ReloadCounts, ReloadReport};
use shrike::intake::{ServerIdentity, ServerTls};
use shrike::log::Log;
use shrike::pipeline::{Operation, Reloaded};
use shrike::vendors;
use tracing::{error, info, warn};

use super::Failure;
use super::args::{Run, Shared};
use super::door::Door;
use super::inputs::{self, Inputs};
use super::intel::Threats;
use super::serve::Running;
use super::settings;

/// The configuration that runs, and how it is read again.
pub(crate) struct Reload {
    file: Option<PathBuf>,
    flags: Flags,
    /// The same, and where the state lies until the process ends.
    pinned: Flags,
    text: Text,
    config: Config,
    /// What the file says, also of what only a start looks at.
    wanted: Shown,
    /// The configuration that was refused last, unless another runs by now.
    refused: Option<Refused>,
    host: Host,
    sources: Sources,
    counts: Arc<ReloadCounts>,
    /// The file itself as it was read, and as it was seen last.
    own: Option<Stamp>,
    own_seen: Option<Stamp>,
    /// Exporters whose standby credentials are in use.
    on_standby: BTreeSet<String>,
    /// What others see of it, and who may.
    shown: Arc<Mutex<Told>>,
    access: Arc<Access>,
    /// Where the pages are shown since the start, and with which certificate.
    listens: Option<SocketAddr>,
    identity: Arc<ServerIdentity>,
    /// When each refused exporter was last helped.
    helped: BTreeMap<String, Instant>,
    refreshed: Instant,
    looked: Instant,
}

/// What others see of the configuration that runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// The whole as YAML, secrets masked.
    pub(crate) yaml: String,
    /// Exporters that somebody paused, with their kinds.
    pub(crate) paused: BTreeMap<String, &'static str>,
    /// What an operator should know of it.
    pub(crate) notes: Vec<String>,
    /// How long a stopping process flushes.
    pub(crate) shutdown_timeout: Duration,
}

/// Why a configuration does not run, and when it was tried last.
struct Refused {
    problem: String,
    at: Instant,
}

impl Reload {
    /// Reads the configuration for the first time.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub(crate) fn start(shared: &Shared, args: &Run) -> Result<Self, Failure> {
        let flags = settings::all_flags(shared, settings::flags(args));
        let text = Text::open(shared.config.as_deref())?;
        let sources = Sources::default();
        sources.begin(Keep::Nothing);
        let file = shared.config.clone();
        let own = Stamp::of(file.as_deref().unwrap_or(Path::new(USUAL_PATH)));
        let config = Config::load(&text, &flags, vendors::ALL, &sources)?;
        sources.end();
        let mut pinned = flags.clone();
        pinned.list.push(Flag::StateDir(config.global.state_dir.clone()));
        let now = Instant::now();
        let listens = config.admin.as_ref().map(|admin| admin.listen);
        let reload = Self {
            file,
            flags,
            pinned,
            text,
            wanted: config.shown.clone(),
            config,
            refused: None,
            host: Host::look(),
            sources,
            counts: Arc::default(),
            own,
            own_seen: own,
            shown: Arc::default(),
            access: Arc::default(),
            listens,
            identity: Arc::default(),
            on_standby: BTreeSet::new(),
            helped: BTreeMap::new(),
            refreshed: now,
            looked: now,
        };
        reload.tell();
        Ok(reload)
    }

    /// The configuration that runs.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// What is counted about it.
    pub(crate) fn counts(&self) -> Arc<ReloadCounts> {
        Arc::clone(&self.counts)
    }

    /// Who may look and change things over HTTP.
    pub(crate) fn access(&self) -> Arc<Access> {
        Arc::clone(&self.access)
    }

    /// What the pages show to whoever connects.
    pub(crate) fn identity(&self) -> Arc<ServerIdentity> {
        Arc::clone(&self.identity)
    }

    /// Lets others see the configuration that runs.
    fn tell(&self) {
        if !self.keeps_tokens(&self.config) {
            self.access.set(self.config.admin.as_ref().map_or(&[], |admin| &admin.tokens));
        }
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.yaml = self.config.shown.yaml();
        shown.notes.clone_from(&self.config.notes);
        shown.shutdown_timeout = self.config.global.shutdown_timeout;
        let exporters = &self.config.exporters;
        shown.paused.retain(|name, _| exporters.iter().any(|it| it.settings.name == *name));
    }

    /// Pauses, resumes or flushes an exporter; says how it is then.
    fn change(&self, name: &str, change: Change, gate: &Gate) -> Result<String, String> {
        let exporters = &self.config.exporters;
        let Some(exporter) = exporters.iter().find(|it| it.settings.name == name) else {
            return Err(format!("no exporter `{name}` is configured and enabled"));
        };
        let kind = exporter.settings.vendor.name;
        let paused = gate.paused();
        match (change, paused.contains_key(name)) {
            (Change::Flush, true) => {
                return Err(format!("exporter {name} is paused; it sends nothing"));
            }
            (Change::Flush, false) => gate.flush(name)?,
            (Change::Pause, false) => {
                // Noted first and for as long as it lasts: what runs is shown as that.
                gate.shown().paused.insert(name.to_owned(), kind);
                let reloaded = gate.reload(&self.config, &self.host);
                reloaded.inspect_err(|_| gate.shown().paused = paused)?;
            }
            (Change::Resume, true) => {
                let mut others = paused;
                others.remove(name);
                gate.reload_without(&self.config, &self.host, &others)?;
                gate.shown().paused = others;
            }
            (Change::Pause, true) | (Change::Resume, false) => {}
        }
        let state = if change == Change::Pause { "paused" } else { "running" };
        Ok(state.to_owned())
    }

    /// Reads the file again and runs what it says; a wrong one changes nothing.
    fn reload(&mut self, actor: &str, gate: &Gate) -> Result<ReloadReport, String> {
        let own = self.look_at_own();
        self.sources.begin(Keep::Nothing);
        self.own = own;
        self.own_seen = own;
        let applied = self.read().and_then(|(text, config)| {
            let moved = self.other_state_dir(&text, actor);
            let mut report = self.apply(config, actor, gate)?;
            self.text = text;
            report.restart.extend(moved);
            Ok(report)
        });
        self.renew_certificates(gate);
        let refused = applied.as_ref().err().cloned();
        let refused = refused.map(|problem| Refused { problem, at: Instant::now() });
        self.counts.note_refused(refused.is_some());
        let before = std::mem::replace(&mut self.refused, refused);
        match &applied {
            Ok(report) => {
                self.sources.end();
                self.counts.reloaded.add(1);
                gate.running.note(done("reload", actor, changes(report)));
                if !report.changes.is_empty() {
                    gate.running.tell_change(actor, &report.changes);
                }
            }
            // It was tried again by itself, and is wrong as before.
            Err(problem) if before.is_some_and(|it| actor == TRIED && it.problem == *problem) => {}
            Err(problem) => {
                self.counts.refused.add(1);
                gate.running.note(done("reload", actor, format!("refused: {problem}")));
                error!(actor, problem, "configuration refused; the running one stays");
            }
        }
        applied
    }

    /// Looks whether the file changed, and after credentials: those whose time has come, whose
    /// files changed or that were refused are read again, and what is refused then is replaced
    /// where there are others.
    fn look(&mut self, gate: &Gate) {
        self.looked = Instant::now();
        let has_changed = self.sources.have_changed();
        if self.config.global.watches_config {
            // What it refers to may be there by now.
            let is_time = |it: &Refused| it.at.elapsed() >= self.config.credentials_interval;
            let tries_again = self.refused.as_ref().is_some_and(|it| has_changed || is_time(it));
            // Told and counted there.
            if self.has_new_text() {
                let _ = self.reload("file change", gate);
            } else if tries_again {
                let _ = self.reload(TRIED, gate);
            }
        }
        self.sources.renew(self.looked);
        self.renew_certificates(gate);
        gate.revive_inputs();
        let is_due = self.refreshed.elapsed() >= self.config.credentials_interval;
        let is_doubted = !gate.running.take_doubted().is_empty();
        if is_due || has_changed || is_doubted {
            self.refresh(gate);
        }
        for name in gate.running.refused() {
            self.help(&name, gate);
        }
    }

    /// The file, and what it comes to where the state lies as it does.
    fn read(&self) -> Result<(Text, Config), String> {
        let text = Text::open(self.file.as_deref()).map_err(|problem| problem.to_string())?;
        if text.is_blank() && !self.text.is_blank() {
            let name = text.name();
            return Err(format!("{name}: is empty: it is being written, or another one was meant"));
        }
        let read = Config::load(&text, &self.pinned, vendors::ALL, &self.sources);
        read.map(|config| (text, config)).map_err(|problem| problem.to_string())
    }

    /// What is said of another state directory: all that is kept lies where it did until a restart.
    fn other_state_dir(&self, text: &Text, actor: &str) -> Option<String> {
        let wanted = Config::state_dir(text, &self.flags, vendors::ALL, &self.sources).ok()?;
        let runs = &self.config.global.state_dir;
        (wanted != *runs).then(|| {
            let change = format!("{STATE_DIR}: {} -> {}", runs.display(), wanted.display());
            let reason = "everything that is kept lies there";
            warn!(actor, change, reason, "takes effect after a restart");
            format!("{change} (takes effect after a restart: {reason})")
        })
    }

    /// Whether the file is another than the one that was read, and is not just being written: two
    /// looks in a row found the same.
    fn has_new_text(&mut self) -> bool {
        let now = self.look_at_own();
        let is_still = now == self.own_seen;
        self.own_seen = now;
        is_still && now.is_some() && now != self.own && !matches!(self.text, Text::Embedded)
    }

    /// Reads certificates again whose files changed.
    fn renew_certificates(&self, gate: &Gate) {
        let mut renewed = gate.inputs.renew_certificates();
        if inputs::renew("admin", &self.identity) {
            renewed.push("admin".to_owned());
        }
        for listener in renewed {
            let detail = format!("{listener} shows another certificate");
            gate.running.note(done("certificate", "shrike", detail));
        }
    }

    /// The certificate that a configuration wants the pages to show, where it is another one and
    /// the listener is the one that it means: one that is still reached from other hosts must not
    /// become plain because its address is to change.
    fn wanted_certificate(&self, config: &Config) -> Option<Option<ServerTls>> {
        let wanted = config.admin.as_ref()?;
        let is_other = self.identity.files() != wanted.tls && self.listens == Some(wanted.listen);
        is_other.then(|| wanted.tls.clone())
    }

    /// Whether the pages ask for the tokens from before: they are still shown where a configuration
    /// without any names another address or none, and others may reach them there.
    fn keeps_tokens(&self, config: &Config) -> bool {
        let wanted = config.admin.as_ref();
        let is_here = wanted.map(|admin| admin.listen) == self.listens;
        !is_here && wanted.is_none_or(|admin| admin.tokens.is_empty())
    }

    fn look_at_own(&self) -> Option<Stamp> {
        Stamp::of(self.file.as_deref().unwrap_or(Path::new(USUAL_PATH)))
    }

    /// An exporter's credentials were refused: reads them again, else uses its standby ones.
    fn help(&mut self, name: &str, gate: &Gate) {
        let helped = self.helped.get(name);
        if helped.is_some_and(|at| at.elapsed() < HELP_INTERVAL) {
            return;
        }
        self.helped.insert(name.to_owned(), Instant::now());
        if self.refresh(gate) && !gate.running.refused().iter().any(|refused| refused == name) {
            return;
        }
        let Some(is_standby) = self.swap_standby(name) else { return };
        match gate.reload(&self.config, &self.host) {
            Ok(_) => {
                warn!(exporter = name, is_standby, "credentials refused: others are used now");
                let which = if is_standby { "standby" } else { "first" };
                let detail = format!("refused: the {which} ones are used now");
                gate.running.note(Operation::by_itself("credentials", name, detail));
            }
            Err(problem) => {
                self.swap_standby(name);
                error!(exporter = name, problem, "standby credentials not used");
            }
        }
    }

    /// Has an exporter use its other credentials, if it has some; says whether these are the
    /// standby ones.
    fn swap_standby(&mut self, name: &str) -> Option<bool> {
        let mut exporters = self.config.exporters.iter_mut();
        let exporter = exporters.find(|it| it.settings.name == name)?;
        if !exporter.settings.swap_standby() {
            return None;
        }
        let is_standby = self.on_standby.insert(name.to_owned());
        if !is_standby {
            self.on_standby.remove(name);
        }
        Some(is_standby)
    }

    /// Reads what the configuration refers to again; says whether something changed. What cannot
    /// be read keeps its last value.
    fn refresh(&mut self, gate: &Gate) -> bool {
        self.refreshed = Instant::now();
        self.sources.begin(Keep::Last);
        let kept = self.sources.kept();
        let read = Config::load(&self.text, &self.pinned, vendors::ALL, &self.sources);
        if read.is_ok() {
            self.sources.end();
        }
        let is_whole = read.is_ok() && self.sources.kept() == kept;
        match is_whole {
            true => self.counts.refreshed.add(1),
            false => self.counts.refresh_failed.add(1),
        }
        match read {
            Ok(config) if self.wanted.changes(&config.shown).is_empty() => false,
            Ok(config) => match self.apply(config, "credentials", gate) {
                Ok(report) => {
                    gate.running.note(done("credentials", "shrike", changes(&report)));
                    true
                }
                Err(problem) => {
                    error!(problem, "other credentials refused; the last ones stay");
                    let detail = format!("refused, the last ones stay: {problem}");
                    gate.running.note(done("credentials", "shrike", detail));
                    false
                }
            },
            Err(problem) => {
                warn!(%problem, "credentials not read again; the last ones stay");
                let detail = format!("not read again, the last ones stay: {problem}");
                gate.running.note(done("credentials", "shrike", detail));
                false
            }
        }
    }

    /// Runs another configuration, unless the engine refuses it.
    fn apply(
        &mut self,
        mut config: Config,
        actor: &str,
        gate: &Gate,
    ) -> Result<ReloadReport, String> {
        for exporter in &mut config.exporters {
            if self.on_standby.contains(&exporter.settings.name) {
                exporter.settings.swap_standby();
            }
        }
        let certificate = self.wanted_certificate(&config);
        if let Some(files) = &certificate {
            ServerIdentity::open(files.clone())
                .map_err(|problem| format!("admin.tls: {problem}"))?;
        }
        // What the running one names as well is no reason: it may be the disk's fault.
        let looked = config.look_at_paths_beyond(&self.config);
        looked.wrong.map_or(Ok(()), |wrong| Err(wrong.to_string()))?;
        looked.late.iter().for_each(|line| warn!(actor, "{line}"));
        if gate.may_change() == May::Exporters && config.inputs != self.config.inputs {
            return Err("inputs: shrike drains; what is read changes no more".to_owned());
        }
        gate.take_inputs(&config)?;
        let changed = gate.door.change(&config).map_err(|problem| format!("pipeline: {problem}"));
        let reloaded = changed.and_then(|()| gate.reload(&config, &self.host));
        let reloaded = reloaded.inspect_err(|_| {
            // All or nothing.
            let exporters = gate.reload(&self.config, &self.host).map(drop);
            let inputs = gate.take_inputs(&self.config);
            let door = gate.door.change(&self.config).map_err(|problem| problem.to_string());
            for problem in [exporters, inputs, door].into_iter().filter_map(Result::err) {
                error!(problem, "not all is as it was before the refused configuration");
            }
        })?;
        if let Some(Err(problem)) = certificate.map(|files| self.identity.show(files)) {
            error!(%problem, "the pages show the certificate from before");
        }
        gate.log.keep(&config.log);
        gate.threats.run(&config);
        super::logging::set(&config);
        let changes = self.config.shown.changes(&config.shown);
        let in_effect = [
            (!self.keeps_tokens(&config)).then_some("admin.tokens"),
            certificate_is_shown(&self.identity, &config).then_some("admin.tls"),
        ];
        let reason = |key: &str| restart_reason(key, &in_effect);
        let (mut restart, mut live) = (Vec::new(), Vec::new());
        for change in changes {
            match reason(change.trim_start_matches(['+', '-', ' '])) {
                Some(reason) => {
                    warn!(actor, change, reason, "takes effect after a restart");
                    restart.push(format!("{change} (takes effect after a restart: {reason})"));
                }
                None => live.push(change),
            }
        }
        let changes = live;
        changes.iter().for_each(|change| info!(actor, change, "configuration changed"));
        let (added, changed, removed) =
            (reloaded.added.join(","), reloaded.changed.join(","), reloaded.removed.join(","));
        let count = changes.len() + restart.len();
        info!(actor, changes = count, added, changed, removed, "configuration reloaded");
        self.note_news(&config, actor);
        self.wanted = config.shown.clone();
        config.shown.keep(&self.config.shown, |key| reason(key).is_some());
        self.config = config;
        self.tell();
        let (added, changed, removed) = (reloaded.added, reloaded.changed, reloaded.removed);
        Ok(ReloadReport { changes, restart, added, changed, removed })
    }

    /// Tells what an operator should know of a configuration and was not told yet.
    fn note_news(&self, config: &Config, actor: &str) {
        let known = settings::template_notes(&self.config, &self.host);
        let notes = settings::template_notes(config, &self.host);
        let is_new = |note: &&String| !self.config.notes.contains(note) && !known.contains(note);
        let news = config.notes.iter().chain(&notes).filter(is_new);
        news.for_each(|note| warn!(actor, "{note}"));
    }
}

/// How much of what runs may change; it only ever becomes less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum May {
    /// All of it.
    All,
    /// All but the inputs, which have ended.
    Exporters,
    /// The process ends.
    Nothing,
}

/// The engine as long as its configuration may change.
struct Gate {
    running: Running,
    inputs: Inputs,
    door: Arc<Door>,
    log: Log,
    threats: Threats,
    may: Arc<Mutex<May>>,
    shown: Arc<Mutex<Told>>,
}

impl Gate {
    /// How much may change; while it is held that stays so.
    fn hold(&self) -> Result<MutexGuard<'_, May>, String> {
        let may = self.may.lock().unwrap_or_else(PoisonError::into_inner);
        if *may == May::Nothing { Err(STOPPING.to_owned()) } else { Ok(may) }
    }

    fn may_change(&self) -> May {
        *self.may.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reload(&self, config: &Config, host: &Host) -> Result<Reloaded, String> {
        self.reload_without(config, host, &self.paused())
    }

    /// Has the exporters of a configuration run, but for those that are paused.
    fn reload_without(
        &self,
        config: &Config,
        host: &Host,
        paused: &BTreeMap<String, &'static str>,
    ) -> Result<Reloaded, String> {
        let _may = self.hold()?;
        let mut options = config.engine_options(host);
        self.threats.mark(config, &mut options.opening);
        options.exporters.retain(|exporter| !paused.contains_key(&exporter.settings.name));
        self.running.reload(options, SWAP_WAIT)
    }

    /// Has the inputs of a configuration run.
    fn take_inputs(&self, config: &Config) -> Result<(), String> {
        let _may = self.hold()?;
        let taken = self.inputs.reload(&config.inputs, &self.door);
        taken.map(drop).map_err(|problem| format!("inputs: {problem}"))
    }

    /// Tries to open inputs that are to run and do not.
    fn revive_inputs(&self) {
        if self.hold().is_ok_and(|may| *may == May::All) {
            self.inputs.revive(&self.door);
        }
    }

    fn flush(&self, name: &str) -> Result<(), String> {
        let _may = self.hold()?;
        let deadline = Instant::now() + SWAP_WAIT;
        self.running.ask(|engine| engine.flush_exporter(name, deadline))
    }

    fn shown(&self) -> MutexGuard<'_, Told> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn paused(&self) -> BTreeMap<String, &'static str> {
        self.shown().paused.clone()
    }
}

/// What somebody wants, and where the outcome goes.
enum Ask {
    /// The configuration is to be read again.
    Reload { actor: String, answer: Option<Sender<Result<ReloadReport, String>>> },
    /// An exporter is to run otherwise.
    Change { exporter: String, change: Change, answer: Sender<Result<String, String>> },
}

/// Asks the thread that reads the configuration again.
#[derive(Clone)]
pub(crate) struct Reloader {
    asks: Sender<Ask>,
    may: Arc<Mutex<May>>,
    shown: Arc<Mutex<Told>>,
}

impl Reloader {
    /// Starts the thread: a Vault that does not answer holds up nothing else.
    pub(crate) fn start(
        reload: Reload,
        running: &Running,
        (inputs, door, log): (&Inputs, &Arc<Door>, &Log),
        threats: &Threats,
    ) -> Result<Self, Failure> {
        let (asks, asked) = mpsc::channel();
        let may = Arc::new(Mutex::new(May::All));
        let shown = Arc::clone(&reload.shown);
        let gate = Gate {
            running: running.clone(),
            inputs: inputs.clone(),
            door: Arc::clone(door),
            log: log.clone(),
            threats: threats.clone(),
            may: Arc::clone(&may),
            shown: Arc::clone(&shown),
        };
        thread::Builder::new()
            .name("shrike-config".to_owned())
            .spawn(move || serve(reload, &gate, &asked))
            .map_err(Failure::io("configuration"))?;
        Ok(Self { asks, may, shown })
    }

    /// Has the file read again, without waiting.
    pub(crate) fn ask(&self, actor: &str) {
        // A thread that has ended is told of at its end.
        let _ = self.asks.send(Ask::Reload { actor: actor.to_owned(), answer: None });
    }

    /// Has the file read again, and waits for the outcome.
    pub(crate) fn reload(&self, actor: &str) -> Result<ReloadReport, String> {
        let (answer, answered) = mpsc::channel();
        let ask = Ask::Reload { actor: actor.to_owned(), answer: Some(answer) };
        let stopping = || STOPPING.to_owned();
        self.asks.send(ask).map_err(|_| stopping())?;
        answered.recv().map_err(|_| stopping())?
    }

    /// Has an exporter run otherwise; says how it is then.
    pub(crate) fn change(&self, exporter: &str, change: Change) -> Result<String, String> {
        let (answer, answered) = mpsc::channel();
        let ask = Ask::Change { exporter: exporter.to_owned(), change, answer };
        let stopping = || STOPPING.to_owned();
        self.asks.send(ask).map_err(|_| stopping())?;
        answered.recv().map_err(|_| stopping())?
    }

    /// What others see of the configuration that runs.
    pub(crate) fn told(&self) -> Told {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From here on nothing changes; waits for a change that is under way.
    pub(crate) fn close(&self) {
        self.only(May::Nothing);
    }

    /// The same; false where a change was under way until `is_over`.
    pub(crate) fn close_unless(&self, is_over: impl Fn() -> bool) -> bool {
        loop {
            let now = match self.may.try_lock() {
                Ok(now) => Some(now),
                Err(TryLockError::Poisoned(now)) => Some(now.into_inner()),
                Err(TryLockError::WouldBlock) => None,
            };
            if let Some(mut now) = now {
                *now = May::Nothing;
                return true;
            }
            if is_over() {
                return false;
            }
            thread::sleep(CLOSE_INTERVAL);
        }
    }

    /// From here on inputs do not change: all have ended, and the log grows no more.
    pub(crate) fn keep_inputs(&self) {
        self.only(May::Exporters);
    }

    fn only(&self, may: May) {
        let mut now = self.may.lock().unwrap_or_else(PoisonError::into_inner);
        *now = may.max(*now);
    }
}

fn serve(mut reload: Reload, gate: &Gate, asked: &Receiver<Ask>) {
    loop {
        match asked.recv_timeout(LOOK_INTERVAL.saturating_sub(reload.looked.elapsed())) {
            // Whoever went away has the outcome in the process's log.
            Ok(Ask::Reload { actor, answer }) => {
                let outcome = reload.reload(&actor, gate);
                let _ = answer.map(|answer| answer.send(outcome));
            }
            Ok(Ask::Change { exporter, change, answer }) => {
                let _ = answer.send(reload.change(&exporter, change, gate));
            }
            Err(RecvTimeoutError::Timeout) => reload.look(gate),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// What the chain of receipts says of a change.
fn done(action: &'static str, by: &str, detail: String) -> Operation {
    Operation { action, actor: by.to_owned(), detail, ..Operation::default() }
}

/// What changed, secrets masked.
fn changes(report: &ReloadReport) -> String {
    let all: Vec<&str> = report.changes.iter().chain(&report.restart).map(String::as_str).collect();
    if all.is_empty() { "nothing changed".to_owned() } else { all.join("; ") }
}

/// Whether the pages show what a configuration says.
fn certificate_is_shown(identity: &ServerIdentity, config: &Config) -> bool {
    config.admin.as_ref().is_none_or(|admin| admin.tls == identity.files())
}

/// Why a key is one that only a start looks at; nothing where it is in effect.
fn restart_reason(key: &str, in_effect: &[Option<&str>]) -> Option<&'static str> {
    if in_effect.iter().flatten().any(|start| key.starts_with(start)) {
        return None;
    }
    RESTART.iter().find(|(start, _)| key.starts_with(start)).map(|(_, reason)| *reason)
}

const STOPPING: &str = "shrike is stopping";
/// Who tries a configuration again that was refused.
const TRIED: &str = "tried again";
/// Where everything lies that is kept.
const STATE_DIR: &str = "global.state_dir";
/// Keys that a running process does not look at again, and why.
const RESTART: &[(&str, &str)] = &[
    ("admin.listen", "the address was taken at the start"),
    ("admin.tokens", "until then those from before guard the address from before"),
    ("admin.tls", "it belongs to the address that `admin.listen` names then"),
    ("log.dir", "the log is open there"),
    ("log.io", "the log was opened so"),
    ("log.realtime", "the thread that writes it began so"),
    ("log.segment_bytes", "the log was opened with it"),
    ("pipeline.workers", "the threads and the lanes on them began with the process"),
];
/// How often a change that is under way at the end is looked at.
const CLOSE_INTERVAL: Duration = Duration::from_millis(5);
/// How often files, tokens and refused exporters are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How often a refused exporter is helped: each time its credentials are read again.
const HELP_INTERVAL: Duration = Duration::from_secs(5);
/// What a changed exporter has under way is waited for this long.
const SWAP_WAIT: Duration = Duration::from_secs(5);
