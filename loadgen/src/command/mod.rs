//! The command line.

mod account;
mod append;
mod fake;
mod generate;
mod live;
mod scenario;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Seeded load, fake vendors and exact accounts for shrike.
///
/// Events go in as any producer writes them; fake vendors judge every request by the vendors'
/// documentation and count how often each event arrived.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub(crate) struct Loadgen {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Append(append::Append),
    Generate(generate::Generate),
    Fake(fake::Fake),
    Account(account::Account),
    Scenario(scenario::Run),
    Live(live::Live),
    Nemesis(scenario::Nemesis),
}

/// Runs the command that was asked for.
pub(crate) fn run(arguments: Loadgen) -> Result<ExitCode, Box<dyn Error>> {
    match arguments.command {
        Command::Append(append) => append.run(),
        Command::Generate(generate) => generate.run(),
        Command::Fake(fake) => fake.run(),
        Command::Account(account) => account.run(),
        Command::Scenario(scenario) => scenario.run(),
        Command::Live(live) => live.run(),
        Command::Nemesis(nemesis) => nemesis.run(),
    }
}
