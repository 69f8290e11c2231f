//! `shrike completions` and `shrike man`: both from the arguments' own definition.

use std::io::{self, Write as _};
use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::args::Args;
use super::{Exit, Failure};

/// Prints the completions of a shell.
pub(crate) fn completions(shell: Shell) -> Result<Exit, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "shrike", &mut text);
    io::stdout().write_all(&text).map_err(Failure::io("standard output"))?;
    Ok(Exit::Done)
}

/// Prints the manual page, or writes one per command.
pub(crate) fn man(dir: Option<&Path>) -> Result<Exit, Failure> {
    let Some(dir) = dir else {
        let mut text = Vec::new();
        let page = clap_mangen::Man::new(Args::command());
        page.render(&mut text).map_err(Failure::io("the manual page"))?;
        io::stdout().write_all(&text).map_err(Failure::io("standard output"))?;
        return Ok(Exit::Done);
    };
    std::fs::create_dir_all(dir)
        .and_then(|()| clap_mangen::generate_to(Args::command(), dir))
        .map_err(Failure::io(dir.display().to_string()))?;
    Ok(Exit::Done)
}
