//! `shrike cursor`: see or move the position of an exporter.

use std::io::{self, Write as _};

use shrike::config::Places;
use shrike::control::{Client, CursorStatus, Error, Rewind};
use shrike::event::{Checkpoint, Offset};
use shrike::log::{Cursors, LogError, Reader};
use shrike::pipeline::{NO_OLD_ACTIONS, NewPass, Traces, note_operation};

use super::args::{Cursor, Shared};
use super::dlq::{REALLY_ALERT, done};
use super::{Exit, Failure, failed, hint, log, position, settings};

/// Runs a command about cursors: through the running process where one answers.
pub(crate) fn cursor(shared: &Shared, command: &Cursor) -> Result<Exit, Failure> {
    let places = settings::places(shared)?;
    let client = Client::connect(&places.state_dir).map_err(failed)?;
    match command {
        Cursor::Show { exporter, json } => {
            let name = exporter.as_deref();
            let (cursors, exit) = match client {
                Some(mut client) => {
                    (client.cursors(name).map_err(refused(&places, name))?, Exit::Done)
                }
                None => saved(&places, name)?,
            };
            print(&cursors, *json)?;
            Ok(exit)
        }
        Cursor::Rewind { exporter, to, really_alert } => {
            let wanted = Rewind { to: position::parse(to)?, really_alert: *really_alert };
            let cursors = match client {
                Some(mut client) => {
                    client.rewind(exporter, wanted).map_err(refused(&places, Some(exporter)))?
                }
                None => vec![rewind(&places, exporter, wanted)?],
            };
            for CursorStatus { left, .. } in cursors.iter().filter(|it| it.left > 0) {
                hint(format_args!(
                    "{left} events before this were not settled, and are sent no more; a rewind to \
                     where the pass before was takes them up again"
                ));
            }
            print(&cursors, false)?;
            Ok(Exit::Done)
        }
    }
}

/// Cursors as they are saved while no process runs; one damaged file hides no other.
fn saved(places: &Places, exporter: Option<&str>) -> Result<(Vec<CursorStatus>, Exit), Failure> {
    let reader = log::open(&places.log_dir)?;
    let cursors = Cursors::look(&places.log_dir);
    let (mut found, mut exit) = (Vec::new(), Exit::Done);
    for name in names(exporter, &cursors)? {
        match cursors.load(&name) {
            Err(problem @ LogError::Damaged { .. }) => {
                hint(format_args!("{problem}"));
                exit = Exit::Failed;
            }
            loaded => {
                let checkpoint = loaded.map_err(failed)?;
                found.extend(checkpoint.map(|it| shown(name, &it, reader.written())));
            }
        }
    }
    Ok((found, exit))
}

/// What the chain of receipts says of a rewind.
pub(crate) fn begun(cursor: &CursorStatus) -> String {
    let CursorStatus { pass, start, left, .. } = cursor;
    let left = match left {
        0 => String::new(),
        left => format!("; {left} events before it were not settled"),
    };
    format!("pass {pass} begins at {start}{left}")
}

/// A name that nobody knows is wrong usage, whoever says so.
fn refused(places: &Places, name: Option<&str>) -> impl Fn(Error) -> Failure {
    let is_known = name.is_none_or(|name| places.letters.iter().any(|it| it.exporter == name));
    move |error| match error {
        Error::Refused(problem) if !is_known => Failure::Usage(problem),
        error => failed(error),
    }
}

/// Begins a new pass while no process runs.
fn rewind(places: &Places, exporter: &str, wanted: Rewind) -> Result<CursorStatus, Failure> {
    if wanted.really_alert && places.hooks.iter().any(|hook| hook == exporter) {
        return Err(failed(format!("exporter {exporter}: {NO_OLD_ACTIONS}")));
    }
    let reader = log::open(&places.log_dir)?;
    let cursors = Cursors::open(&places.log_dir).map_err(failed)?;
    let is_configured = places.letters.iter().any(|it| it.exporter == exporter);
    if !is_configured {
        names(Some(exporter), &cursors)?;
    }
    let old = match cursors.load(exporter) {
        // A rewind is what the error advises: nothing of the damaged checkpoint is of use.
        Err(LogError::Damaged { .. }) | Ok(None) => {
            let configured = places.letters.iter().find(|it| it.exporter == exporter);
            let usual = || places.state_dir.join("dlq").join(exporter);
            let letters = configured.map_or_else(usual, |it| it.dir.clone());
            let receipts = places.receipts.as_ref().map(|it| it.path.as_path());
            Traces { name: exporter, letters: &letters, receipts }.last().map_err(failed)?
        }
        loaded => loaded.map_err(failed)?.unwrap_or_default(),
    };
    let mut checkpoint = again(&old, wanted, &reader)?;
    let left = NewPass::at(checkpoint.start).leaves(&old, &reader).map_err(failed)?;
    let told = shown(exporter.to_owned(), &checkpoint, reader.written());
    let told = CursorStatus { left, ..told };
    if let Some(receipts) = &places.receipts {
        let mut detail = begun(&told);
        if wanted.really_alert {
            detail += REALLY_ALERT;
        }
        let rewind = done("rewind", exporter, detail);
        checkpoint.anchor = note_operation(receipts.clone(), &rewind, &cursors).map_err(failed)?;
    }
    cursors.save(exporter, &checkpoint).map_err(failed)?;
    Ok(told)
}

/// The checkpoint of a new pass that begins at a position.
fn again(old: &Checkpoint, wanted: Rewind, reader: &Reader) -> Result<Checkpoint, Failure> {
    let NewPass { start, alert_below } = position::new_pass(wanted, reader).map_err(failed)?;
    // A checkpoint never passes what is durable.
    let start = start.min(reader.durable());
    Ok(Checkpoint {
        pass: old.pass.saturating_add(1),
        start,
        base: start,
        alert_below,
        // What was taken is still to be told.
        gaps: old.gaps.clone(),
        removals: old.removals,
        anchor: old.anchor,
        ..Checkpoint::default()
    })
}

/// The exporter if it has a cursor, or all that have one.
fn names(exporter: Option<&str>, cursors: &Cursors) -> Result<Vec<String>, Failure> {
    let names = cursors.names().map_err(failed)?;
    match exporter {
        None => Ok(names),
        Some(name) if names.iter().any(|known| known == name) => Ok(vec![name.to_owned()]),
        Some(name) => {
            let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            Err(Failure::Usage(format!("no cursor of exporter `{name}`; there are: {known}")))
        }
    }
}

fn shown(exporter: String, checkpoint: &Checkpoint, head: Offset) -> CursorStatus {
    CursorStatus {
        exporter,
        pass: checkpoint.pass,
        start: checkpoint.start.bytes(),
        base: checkpoint.base.bytes(),
        ahead: checkpoint.ahead.len(),
        head: head.bytes(),
        alert_below: position::mark(checkpoint.alert_below),
        left: 0,
    }
}

fn print(cursors: &[CursorStatus], as_json: bool) -> Result<(), Failure> {
    let text = match as_json {
        true => serde_json::to_string(cursors).map_err(failed)? + "\n",
        false => {
            let mut table =
                super::table::Table::new(&["exporter", "pass", "start", "settled below", "head"]);
            for cursor in cursors {
                table.row([
                    cursor.exporter.clone(),
                    cursor.pass.to_string(),
                    cursor.start.to_string(),
                    cursor.base.to_string(),
                    cursor.head.to_string(),
                ]);
            }
            table.text()
        }
    };
    io::stdout().write_all(text.as_bytes()).map_err(Failure::io("standard output"))
}
