//! The command line: arguments, dispatch, exit codes.

mod alerts;
mod append;
mod args;
mod ask;
mod audit;
mod check;
mod cursor;
mod dlq;
mod door;
mod exit;
mod front;
mod inputs;
mod intel;
mod log;
mod logging;
mod patience;
mod position;
mod progress;
mod quarantine;
mod reload;
mod render;
mod run;
mod schema;
mod serve;
mod settings;
mod shell;
mod status;
mod table;
mod trial;
mod vendors;
mod walk;

use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use shrike::pipeline::EngineError;

use args::{Args, Command};
pub(crate) use exit::{Exit, Failure};
use render::Shown;

/// Runs the command that the arguments name.
pub(crate) fn main() -> ExitCode {
    let args = Args::parse();
    let result = match &args.command {
        Command::Run(run) => run::run(&args.shared, run),
        Command::Check { connect, to } => check::check(&args.shared, to, *connect),
        Command::Config(args::Config::Schema) => schema::config(),
        Command::Schema { format } => schema::event(*format),
        Command::Config(args::Config::Show { to }) => check::show(&args.shared, to),
        Command::Render { exporter, file, to, raw } => {
            render::render(&args.shared, exporter, to, file.as_ref(), Shown::new(*raw))
        }
        Command::Test(test) => trial::test(&args.shared, test),
        Command::Append { file } => append::append(&args.shared, file.as_deref()),
        Command::Log(command) => log::log(&args.shared, command),
        Command::Cursor(command) => cursor::cursor(&args.shared, command),
        Command::Audit(command) => audit::audit(&args.shared, command),
        Command::Dlq(command) => dlq::dlq(&args.shared, command),
        Command::Reload { json } => ask::reload(&args.shared, *json),
        Command::Exporter(command) => ask::exporter(&args.shared, command),
        Command::Alerts(command) => alerts::alerts(&args.shared, command),
        Command::Status { json } => status::status(&args.shared, *json),
        Command::Vendors { name } => vendors::vendors(name.as_deref()),
        Command::Completions { shell } => shell::completions(*shell),
        Command::Man { dir } => shell::man(dir.as_deref()),
    };
    match result {
        Ok(exit) => exit.code(),
        Err(failure) => failure.report(),
    }
}

/// Prints a line of what was done. Whoever has stopped reading changes nothing of it.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// The same beside what is printed, on standard error.
pub(crate) fn hint(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// What the engine finds wrong with the configuration: the exit code says so too.
pub(crate) fn configured(error: EngineError) -> Failure {
    match error {
        EngineError::Exporter { .. } | EngineError::Transport { .. } => {
            Failure::Usage(error.to_string())
        }
        other => failed(other),
    }
}

/// What the engine reports, as a failure of the command.
pub(crate) fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::Engine(error.to_string())
}
