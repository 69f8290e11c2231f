//! What of the process can be asked: its socket for commands and its pages, also while it waits for
//! a disk.

use std::cell::{Cell, OnceCell};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use shrike::config::{AdminSettings, Config};
use shrike::control::{
    Access, Admin, Answer, Appended, Change, CursorStatus, Numbers, Observe, ReloadReport, Request,
    Rewind, Serve, Server, Status,
};
use shrike::intake::{Retried, ServerIdentity, WantedLines};
use shrike::pipeline::{AlertChange, AlertList, Progress, Wanted};
use tracing::{error, info, warn};

/// The socket and the pages. They are opened when the process is ready, or when it first waits: who
/// looks whether it lives must not end it for that.
pub(crate) struct Front<'a> {
    config: &'a Config,
    access: Arc<Access>,
    identity: Arc<ServerIdentity>,
    late: Arc<Late>,
    pages: OnceCell<Option<Admin>>,
    socket: OnceCell<Option<Server>>,
    /// Whether the log is this process's: the socket of whoever has it must not be replaced.
    has_log: Cell<bool>,
}

impl<'a> Front<'a> {
    /// Opens nothing yet.
    pub(crate) fn new(
        config: &'a Config,
        access: Arc<Access>,
        identity: Arc<ServerIdentity>,
    ) -> Self {
        Self {
            config,
            access,
            identity,
            late: Arc::default(),
            pages: OnceCell::new(),
            socket: OnceCell::new(),
            has_log: Cell::new(false),
        }
    }

    /// The log is open.
    pub(crate) fn on_log(&self) {
        self.has_log.set(true);
    }

    /// The process waits for this.
    pub(crate) fn on_wait(&self, problem: String) {
        *self.late.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
        self.open();
    }

    /// The process is ready: these answer from now on.
    pub(crate) fn on_ready(&self, pages: Arc<dyn Observe>, commands: Arc<dyn Serve>) {
        let was_early = self.late.ready.set((pages, commands)).is_err();
        debug_assert!(!was_early, "a process is ready once");
        self.open();
        if let Some(Some(server)) = self.socket.get() {
            info!(socket = %server.path().display(), "commands are answered");
        }
    }

    /// What was opened, to be closed one after the other.
    pub(crate) fn into_parts(self) -> (Option<Admin>, Option<Server>) {
        (self.pages.into_inner().flatten(), self.socket.into_inner().flatten())
    }

    fn open(&self) {
        if self.has_log.get() {
            self.socket.get_or_init(|| self.open_socket());
        }
        self.pages.get_or_init(|| self.open_pages());
    }

    /// Listens for commands; a socket that cannot be made stops nothing else.
    fn open_socket(&self) -> Option<Server> {
        let commands: Arc<dyn Serve> = self.late.clone();
        let opened = Server::open(&self.config.global.state_dir, commands);
        opened.inspect_err(|error| warn!(%error, "commands cannot reach this process")).ok()
    }

    /// Shows the pages for monitoring and the API, where an address is configured; one that is
    /// taken, or a certificate that cannot be read, stops nothing.
    fn open_pages(&self) -> Option<Admin> {
        let AdminSettings { listen, tls, .. } = self.config.admin.as_ref()?;
        if let Err(problem) = self.identity.show(tls.clone()) {
            error!(%problem, "metrics are not shown: see `admin.tls`");
            return None;
        }
        let (identity, access) = (Arc::clone(&self.identity), Arc::clone(&self.access));
        match Admin::open(*listen, identity, access, (self.late.clone(), self.late.clone())) {
            Ok(admin) => {
                info!(address = %admin.address(), "metrics are shown");
                Some(admin)
            }
            Err(problem) => {
                error!(
                    address = %listen,
                    %problem,
                    "metrics are not shown: set `admin.listen` to a free address"
                );
                None
            }
        }
    }
}

/// Answers for those who answer once the process is ready.
#[derive(Default)]
struct Late {
    ready: OnceLock<(Arc<dyn Observe>, Arc<dyn Serve>)>,
    /// What is waited for until then.
    problem: Mutex<String>,
}

impl Late {
    fn commands(&self) -> Result<&dyn Serve, String> {
        self.ready.get().map(|(_, commands)| &**commands).ok_or_else(|| self.waits())
    }

    fn waits(&self) -> String {
        let problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        format!("the disk cannot be written, the start waits until it can: {problem}")
    }
}

impl Observe for Late {
    fn numbers(&self) -> Option<Numbers> {
        self.ready.get().and_then(|(pages, _)| pages.numbers())
    }

    fn defects(&self) -> Vec<String> {
        self.ready.get().map_or_else(Vec::new, |(pages, _)| pages.defects())
    }

    fn unready(&self) -> Vec<String> {
        self.ready.get().map_or_else(|| vec![self.waits()], |(pages, _)| pages.unready())
    }
}

impl Serve for Late {
    fn status(&self) -> Result<Status, String> {
        self.commands()?.status()
    }

    fn cursors(&self, exporter: Option<&str>) -> Result<Vec<CursorStatus>, String> {
        self.commands()?.cursors(exporter)
    }

    fn rewind(&self, exporter: &str, wanted: Rewind) -> Result<CursorStatus, String> {
        self.commands()?.rewind(exporter, wanted)
    }

    fn replay(
        &self,
        exporter: &str,
        wanted: &Wanted,
        rate: Option<u32>,
    ) -> Result<Progress, String> {
        self.commands()?.replay(exporter, wanted, rate)
    }

    fn replayed(&self, exporter: &str) -> Result<Progress, String> {
        self.commands()?.replayed(exporter)
    }

    fn purge(&self, exporter: &str, wanted: &Wanted) -> Result<u64, String> {
        self.commands()?.purge(exporter, wanted)
    }

    fn reload(&self, actor: &str) -> Result<ReloadReport, String> {
        self.commands()?.reload(actor)
    }

    fn config(&self) -> Result<String, String> {
        self.commands()?.config()
    }

    fn change(&self, exporter: &str, change: Change, actor: &str) -> Result<String, String> {
        self.commands()?.change(exporter, change, actor)
    }

    fn alerts(&self, exporter: &str, prefix: &str, limit: u32) -> Result<AlertList, String> {
        self.commands()?.alerts(exporter, prefix, limit)
    }

    fn alert(&self, exporter: &str, key: &str, change: AlertChange) -> Result<u64, String> {
        self.commands()?.alert(exporter, key, change)
    }

    fn append(&self, lines: &[u8]) -> Result<Appended, String> {
        self.commands()?.append(lines)
    }

    fn retry(&self, wanted: &WantedLines) -> Result<Retried, String> {
        self.commands()?.retry(wanted)
    }

    fn note(&self, by: &str, request: &Request, outcome: &Result<Answer, String>) {
        if let Some((_, commands)) = self.ready.get() {
            commands.note(by, request, outcome);
        }
    }
}
