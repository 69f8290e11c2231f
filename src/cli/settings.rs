//! From arguments to the configuration.

use std::path::PathBuf;

use shrike::config::{Config, Exporter, Flag, Flags, Host, Places, Sources, Text};
use shrike::pipeline::Render;
use shrike::vendors;

use super::Failure;
use super::args::{Run, Shared};

/// The configuration that the arguments name, with their flags.
pub(crate) fn load(shared: &Shared, further: Vec<Flag>) -> Result<Config, Failure> {
    let text = Text::open(shared.config.as_deref())?;
    Ok(Config::load(&text, &all_flags(shared, further), vendors::ALL, &Sources::default())?)
}

/// Where things lie, for commands that look at them: they need none of the secrets.
pub(crate) fn places(shared: &Shared) -> Result<Places, Failure> {
    let text = Text::open(shared.config.as_deref())?;
    let flags = all_flags(shared, Vec::new());
    Ok(Places::read(&text, &flags, vendors::ALL, &Sources::default())?)
}

/// The directory of the process that runs; no secret is looked up for it.
pub(crate) fn state_dir(shared: &Shared) -> Result<PathBuf, Failure> {
    let text = Text::open(shared.config.as_deref())?;
    let flags = all_flags(shared, Vec::new());
    Ok(Config::state_dir(&text, &flags, vendors::ALL, &Sources::default())?)
}

/// Every flag that changes the configuration, in the order in which they are applied.
pub(crate) fn all_flags(shared: &Shared, further: Vec<Flag>) -> Flags {
    let set = shared.set.iter().map(|text| Flag::Set(text.clone()));
    let log = shared.log.iter().map(|dir| Flag::Log(dir.clone()));
    // `--set` comes last: it is the most exact.
    Flags { list: further.into_iter().chain(log).chain(set).collect() }
}

/// The flags of `run` that change the configuration.
pub(crate) fn flags(run: &Run) -> Vec<Flag> {
    let to = run.to.iter().map(|text| Flag::To(text.clone()));
    let input = run.input.iter().map(|path| Flag::Input(path.clone()));
    to.chain(input).collect()
}

/// What an operator should know of templates: those that make no body of a sample event. Events may
/// have what the sample lacks, so that this is no mistake by itself.
pub(crate) fn template_notes(config: &Config, host: &Host) -> Vec<String> {
    let note = |exporter: &Exporter| {
        let render = Render::new(&config.exporter_spec(exporter, host)).ok()?;
        let problem = render.template_problem()?;
        let name = &exporter.settings.name;
        Some(format!(
            "exporter {name}: of a sample event its template makes no body: {problem}; `shrike \
             render {name} FILE` shows what it makes of yours"
        ))
    };
    config.exporters.iter().filter_map(note).collect()
}
