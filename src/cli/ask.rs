//! `shrike reload` and `shrike exporter`: the running process changes what it does.

use std::io::{self, Write as _};

use shrike::control::{Change, Client, Error, ReloadReport};

use super::args::{Exporter, Shared};
use super::{Exit, Failure, failed, settings};

/// Connects to the process that runs.
pub(crate) fn running(shared: &Shared) -> Result<Client, Failure> {
    let dir = settings::state_dir(shared)?;
    Client::connect(&dir).map_err(failed)?.ok_or_else(|| {
        let dir = dir.display();
        Failure::Engine(format!(
            "no shrike runs in {dir}; `shrike run` starts one, `--config` names another"
        ))
    })
}

/// Asks for a reload and prints what it changed.
pub(crate) fn reload(shared: &Shared, as_json: bool) -> Result<Exit, Failure> {
    let report = match running(shared)?.reload() {
        Ok(report) => report,
        Err(Error::Refused(problem)) => {
            let text = format!("refused, the running configuration stays:\n{problem}");
            return Err(Failure::Usage(text));
        }
        Err(error) => return Err(failed(error)),
    };
    let text = match as_json {
        true => serde_json::to_string(&report).map_err(failed)? + "\n",
        false => shown(&report),
    };
    io::stdout().write_all(text.as_bytes()).map_err(Failure::io("standard output"))?;
    Ok(Exit::Done)
}

/// Pauses, resumes or flushes an exporter, and prints how it is then.
pub(crate) fn exporter(shared: &Shared, command: &Exporter) -> Result<Exit, Failure> {
    let (exporter, change) = match command {
        Exporter::Pause { exporter } => (exporter, Change::Pause),
        Exporter::Resume { exporter } => (exporter, Change::Resume),
        Exporter::Flush { exporter } => (exporter, Change::Flush),
    };
    let state = running(shared)?.change(exporter, change).map_err(failed)?;
    let until = match change {
        Change::Pause => " until it is resumed or shrike starts again",
        Change::Resume | Change::Flush => "",
    };
    let text = format!("exporter {exporter} is {state}{until}\n");
    io::stdout().write_all(text.as_bytes()).map_err(Failure::io("standard output"))?;
    Ok(Exit::Done)
}

fn shown(report: &ReloadReport) -> String {
    let mut text = String::new();
    for change in &report.changes {
        text += &format!("{change}\n");
    }
    for change in &report.restart {
        text += &format!("{change}\n");
    }
    let exporters =
        [("added", &report.added), ("changed", &report.changed), ("removed", &report.removed)];
    for (what, names) in exporters.into_iter().filter(|(_, names)| !names.is_empty()) {
        text += &format!("exporters {what}: {}\n", names.join(", "));
    }
    match text.is_empty() {
        true => "nothing changed\n".to_owned(),
        false => text,
    }
}
