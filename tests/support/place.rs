//! A directory with a configuration, and shrike's commands in it as operators run them.

use std::ffi::OsString;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::clock::Clock;
use super::equation::assert_equation_said;
use super::fed::fed;
use super::running::Running;
use super::wait::wait_until;

/// A working directory with a configuration.
pub(crate) struct Place {
    dir: TempDir,
    variables: Vec<(&'static str, OsString)>,
}

/// A configuration with these exporters, which is read again only when told.
pub(crate) fn quiet(exporters: &str) -> String {
    format!(
        "global: {{state_dir: state, watch_config: false}}\nlog: {{segment_bytes: 8MiB}}\n\
         pipeline: {{workers: 2}}\nexporters:\n{exporters}"
    )
}

impl Place {
    pub(crate) fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let place = Self { dir, variables: Vec::new() };
        place.configure(config);
        place
    }

    /// The same, where commands have this variable in their environment.
    pub(crate) fn knowing(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    /// The same with a clock of its own.
    pub(crate) fn timed(mut self) -> (Self, Clock) {
        let clock = Clock::make(self.dir.path());
        for (name, path) in clock.variables() {
            self = self.knowing(name, path);
        }
        (self, clock)
    }

    /// Something in the directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes the configuration.
    pub(crate) fn configure(&self, config: &str) {
        std::fs::write(self.path(CONFIG), config).expect("the directory is ours");
    }

    /// The configuration as it is.
    pub(crate) fn configuration(&self) -> String {
        std::fs::read_to_string(self.path(CONFIG)).expect("it is ours")
    }

    /// Changes the first such place of the configuration.
    #[track_caller]
    pub(crate) fn edit(&self, from: &str, to: &str) {
        let config = self.configuration();
        assert!(config.contains(from), "{from}: {config}");
        self.configure(&config.replacen(from, to, 1));
    }

    /// A command of shrike with this configuration.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shrike"));
        command.current_dir(&self.dir).args(["--config", CONFIG]).args(args);
        command.envs(self.variables.iter().cloned()).env_remove("COLUMNS").stdin(Stdio::null());
        command
    }

    /// Runs a command; what it printed.
    #[track_caller]
    pub(crate) fn run(&self, args: &[&str], code: i32) -> String {
        self.run_with(args, "", code)
    }

    /// The same with lines on standard input.
    #[track_caller]
    pub(crate) fn run_with(&self, args: &[&str], input: &str, code: i32) -> String {
        told(args, fed(self.command(args), input.as_bytes()), code)
    }

    /// Appends lines, each an event.
    #[track_caller]
    pub(crate) fn append_lines(&self, lines: &str) {
        self.run_with(&["append"], lines, 0);
    }

    /// The same with events.
    #[track_caller]
    pub(crate) fn append(&self, events: &[Value]) {
        let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
        self.append_lines(&lines);
    }

    /// Starts `shrike run` and waits until it takes commands.
    #[track_caller]
    pub(crate) fn start(&self) -> Running {
        let running = Running::start(self.command(&["run"]), self.path("said"));
        let socket = self.path("state/control.sock");
        wait_until("it takes commands", || UnixStream::connect(&socket).is_ok());
        running
    }

    /// What the running process says of itself.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        serde_json::from_str(&self.run(&["status", "--json"], 0)).expect("it is JSON")
    }

    /// What its exporters say of themselves.
    #[track_caller]
    pub(crate) fn exporters(&self) -> Vec<Value> {
        self.status()["exporters"].as_array().expect("a list").clone()
    }

    /// What one of them says.
    #[track_caller]
    pub(crate) fn exporter(&self, name: &str) -> Value {
        let mut exporters = self.exporters().into_iter();
        exporters.find(|it| it["name"] == name).expect("it is configured")
    }
}

#[track_caller]
fn told(args: &[&str], output: Output, code: i32) -> String {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(code), "{args:?}: {out}\n{err}");
    assert_equation_said(&err);
    out + &err
}

/// The file with the configuration.
const CONFIG: &str = "shrike.yaml";
