//! The command line: arguments, dispatch, exit codes.

mod args;
mod check;
mod exit;
mod logging;
mod run;
mod settings;
mod shell;
mod vendors;

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
