//! `shrike log quarantine`: see lines and records that are no events, and look at them again.

use std::io::{self, BufWriter, Write as _};
use std::ops::ControlFlow;

use serde_json::json;
use shrike::config::{Places, time};
use shrike::control::Client;
use shrike::event::Offset;
use shrike::intake::{QuarantineStore, Questions, Refused, Retried, WantedLines};
use shrike::log::Log;

use super::args::{Lines, Quarantine, Shared};
use super::door::Door;
use super::table::Table;
use super::{Exit, Failure, failed, hint, log, position, say, settings};

/// Runs a command about the quarantine. It is read beside whatever process writes it; retries go
/// through the running process, or take the log's lock where none runs.
pub(crate) fn quarantine(
    shared: &Shared,
    places: &Places,
    command: &Quarantine,
) -> Result<Exit, Failure> {
    match command {
        Quarantine::List { lines, limit, json } => {
            list(places, &wanted(lines)?, limit.unwrap_or(u64::MAX), *json)
        }
        Quarantine::Show { id } => show(places, *id),
        Quarantine::Retry { lines, id, dry_run } => {
            let wanted = WantedLines { id: *id, ..wanted(lines)? };
            match dry_run {
                true => list(places, &wanted, u64::MAX, false),
                false => retry(shared, places, &wanted),
            }
        }
    }
}

fn wanted(lines: &Lines) -> Result<WantedLines, Failure> {
    let since = lines.since.as_deref().map(position::time).transpose()?;
    let Lines { class, source, .. } = lines.clone();
    Ok(WantedLines { since, class, source, id: None })
}

/// Visits the wanted lines.
fn visit(
    places: &Places,
    wanted: &WantedLines,
    visit: impl FnMut(Offset, &Refused) -> ControlFlow<()>,
) -> Result<(), Failure> {
    match QuarantineStore::look(&places.quarantine_dir).map_err(failed)? {
        Some(mut store) => store.visit(wanted, visit).map_err(failed),
        None => log::open(&places.log_dir).map(drop),
    }
}

fn list(places: &Places, wanted: &WantedLines, limit: u64, as_json: bool) -> Result<Exit, Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut table = Table::new(&["id", "received", "class", "source", "offset", "bytes", "begins"]);
    let (mut left, mut written) = (limit, Ok(()));
    visit(places, wanted, |at, line| {
        if left == 0 {
            return ControlFlow::Break(());
        }
        left -= 1;
        let kept = line.kept();
        let text = String::from_utf8_lossy(&kept);
        if as_json {
            let line = json!({
                "id": at.bytes(), "received": time::text(line.received), "class": line.class,
                "source": line.source, "format": line.format, "offset": line.offset, "length": line.length,
                "whole": line.is_whole(), "text": text, "bytes": line.bytes,
            });
            written = writeln!(out, "{line}");
            return if written.is_ok() {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            };
        }
        table.row([
            at.bytes().to_string(),
            time::text(line.received),
            line.class.clone(),
            line.source.clone(),
            line.offset.to_string(),
            line.length.to_string(),
            text.chars().take(BEGIN_CHARS).map(printable).collect(),
        ]);
        ControlFlow::Continue(())
    })?;
    let text = if as_json { String::new() } else { table.text() };
    written
        .and_then(|()| out.write_all(text.as_bytes()))
        .and_then(|()| out.flush())
        .map_err(Failure::io("standard output"))?;
    Ok(Exit::Done)
}

/// A character as a terminal may see it: lines that nobody could read hold anything.
fn printable(character: char) -> char {
    if character.is_control() { '\u{fffd}' } else { character }
}

fn show(places: &Places, id: u64) -> Result<Exit, Failure> {
    let mut found = None;
    let wanted = WantedLines { id: Some(id), ..WantedLines::default() };
    visit(places, &wanted, |_, line| {
        found = Some(line.clone());
        ControlFlow::Break(())
    })?;
    let Some(line) = found else { return Err(unknown(id)) };
    let Refused { class, source, offset, length, received, .. } = &line;
    let received = time::text(*received);
    hint(format_args!("{class}: {length} bytes of {source} at {offset}, received {received}"));
    if !line.is_whole() {
        hint(format_args!("only the beginning is kept"));
    }
    let mut out = io::stdout().lock();
    out.write_all(&line.kept())
        .and_then(|()| out.write_all(b"\n"))
        .map_err(Failure::io("standard output"))?;
    Ok(Exit::Done)
}

fn unknown(id: u64) -> Failure {
    let list = "`shrike log quarantine list` names them";
    Failure::Engine(format!("no line {id} in quarantine; {list}"))
}

fn retry(shared: &Shared, places: &Places, wanted: &WantedLines) -> Result<Exit, Failure> {
    let client = Client::connect(&places.state_dir).map_err(failed)?;
    let retried = match client {
        Some(mut client) => client.retry(wanted).map_err(failed)?,
        None => {
            let config = settings::load(shared, Vec::new())?;
            let (log, _) = Log::open(config.log.clone()).map_err(failed)?;
            let door = Door::open(&config, &log, &Questions::default()).map_err(failed)?;
            let retried = door.retry(wanted).map_err(Failure::Engine)?;
            drop(door);
            log.close().map_err(failed)?;
            retried
        }
    };
    if let (Some(id), 0) = (wanted.id, retried.wanted) {
        return Err(unknown(id));
    }
    if retried.wanted == 0 {
        say("no such lines are in quarantine");
        return Ok(Exit::Done);
    }
    let Retried { wanted, taken, appended, duplicates, refused, cut } = retried;
    say(format_args!(
        "{taken} of {wanted} lines are events now: {appended} appended, {duplicates} repeats; \
         {refused} are still none, of {cut} only the beginning is kept"
    ));
    Ok(if taken == wanted { Exit::Done } else { Exit::Failed })
}

/// Characters of a line in a table; `show` prints it whole.
const BEGIN_CHARS: usize = 40;
