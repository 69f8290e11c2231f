//! loadgen: seeded load, fake vendors and exact accounts for shrike.

mod command;

use std::process::ExitCode;

use clap::Parser;
use loadgen::hint;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match command::run(command::Loadgen::parse()) {
        Ok(code) => code,
        Err(error) => {
            hint(format_args!("loadgen: {error}"));
            ExitCode::from(2)
        }
    }
}
