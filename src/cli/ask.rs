//! `shrike reload` and `shrike exporter`: the running process changes what it does.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use rustix::fs::{Access, access};
use rustix::io::Errno;
use shrike::control::{Change, Client, Error, ReloadReport, socket};

use super::args::{Exporter, Shared};
use super::{Exit, Failure, failed, settings};

/// Connects to the process that runs.
pub(crate) fn running(shared: &Shared) -> Result<Client, Failure> {
    let dir = settings::state_dir(shared)?;
    Client::connect(&dir).map_err(failed)?.ok_or_else(|| {
        let lock = shared.log.clone().unwrap_or_else(|| dir.join("log")).join("lock");
        let text = match holder(&lock) {
            Some(process) => format!(
                "process {process} runs here and is not reached: its control socket, {}, was \
                 removed or replaced, or is not made yet; it makes a removed one again within \
                 seconds: try again, its log says what it waits for",
                socket(&dir).display()
            ),
            None => {
                let waits = match access(&dir, Access::WRITE_OK) {
                    Err(Errno::ROFS) => {
                        "; one that waits until its disk can be written says so in \
                                         its log and in `/readyz`"
                    }
                    _ => "",
                };
                let dir = dir.display();
                format!(
                    "no shrike runs in {dir}; `shrike run` starts one, `--config` names \
                     another{waits}"
                )
            }
        };
        Failure::Engine(text)
    })
}

/// The process that has a log's lock file open, as that says; nothing is locked to find out, since
/// whoever starts just now would be refused.
fn holder(lock: &Path) -> Option<u32> {
    let process = fs::read_to_string(lock).ok()?.trim().parse().ok()?;
    let lock = lock.canonicalize().ok()?;
    let mut open = fs::read_dir(format!("/proc/{process}/fd")).ok()?.flatten();
    let is_open = open.any(|file| fs::read_link(file.path()).is_ok_and(|file| file == lock));
    is_open.then_some(process)
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
