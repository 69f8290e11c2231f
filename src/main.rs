//! The `shrike` command.

mod cli;

use std::process::ExitCode;

/// Every allocation of the process: mimalloc returns memory of dead exporters sooner and is faster
/// across threads than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The allocator asks for pages of 2 MiB, and each is resident whole as long as anything in it
    // is in use. A kernel that knows no such pages has nothing to switch off.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    cli::main()
}
