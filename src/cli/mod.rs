//! The command line: arguments, dispatch, exit codes.

mod append;
mod args;
mod check;
mod cursor;
mod door;
mod exit;
mod log;
mod logging;
mod position;
mod progress;
mod run;
mod settings;
mod shell;
mod status;
mod table;
mod vendors;
mod walk;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Args, Command};
pub(crate) use exit::{Exit, Failure};

/// Runs the command that the arguments name.
pub(crate) fn main() -> ExitCode {
    let args = Args::parse();
    let result = match &args.command {
        Command::Run(run) => run::run(&args.shared, run),
        Command::Check => check::check(&args.shared),
        Command::Append { file } => append::append(&args.shared, file.as_deref()),
        Command::Log(command) => log::log(&args.shared, command),
        Command::Cursor(command) => cursor::cursor(&args.shared, command),
        Command::Status { json } => status::status(&args.shared, *json),
        Command::Vendors { name } => vendors::vendors(name.as_deref()),
        Command::Completions { shell } => shell::completions(*shell),
        Command::Man { dir } => shell::man(dir.as_deref()),
        _ => Ok(Exit::Failed),
    };
    match result {
        Ok(exit) => exit.code(),
        Err(failure) => failure.report(),
    }
}

/// What the engine reports, as a failure of the command.
pub(crate) fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::Engine(error.to_string())
}
