//! The `shrike` command.

mod cli;

use std::process::ExitCode;

/// Every allocation of the process: mimalloc returns memory of dead exporters sooner and is faster
/// across threads than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main()
}
