//! From arguments to the configuration.

use shrike::config::{Config, Flag, Flags, System, Text};
use shrike::vendors;

use super::Failure;
use super::args::{Run, Shared};

/// The configuration that the arguments name, with their flags.
pub(crate) fn load(shared: &Shared, further: Vec<Flag>) -> Result<Config, Failure> {
    let set = shared.set.iter().map(|text| Flag::Set(text.clone()));
    let log = shared.log.iter().map(|dir| Flag::Log(dir.clone()));
    // `--set` comes last: it is the most exact.
    let list = further.into_iter().chain(log).chain(set).collect();
    let text = Text::open(shared.config.as_deref())?;
    Ok(Config::load(&text, &Flags { list }, vendors::ALL, &System)?)
}

/// The flags of `run` that change the configuration.
pub(crate) fn flags(run: &Run) -> Vec<Flag> {
    let to = run.to.iter().map(|text| Flag::To(text.clone()));
    let input = run.input.iter().map(|path| Flag::Input(path.clone()));
    to.chain(input).collect()
}
