//! `shrike check`.

use std::io::{self, Write as _};

use rustix::fs::statvfs;
use shrike::config::{Config, Exporter, Flag, Host, Input};
use shrike::intel;
use shrike::pipeline::{self, Render};

use super::args::Shared;
use super::{Exit, Failure, configured, settings};

/// Reads the configuration and says what it found.
pub(crate) fn check(shared: &Shared, to: &[String], connects: bool) -> Result<Exit, Failure> {
    let config = settings::load(shared, to.iter().cloned().map(Flag::To).collect())?;
    let host = Host::look();
    let looked = config.look_at_paths();
    let mut wrong: Vec<String> = looked.wrong.iter().map(ToString::to_string).collect();
    // The engine would tell the same once more, without the place.
    let is_told = |exporter: &&Exporter| looked.is_wrong_in(&exporter.place());
    for exporter in config.exporters.iter().filter(|exporter| !is_told(exporter)) {
        let spec = config.exporter_spec(exporter, &host);
        let looked = Render::new(&spec).and_then(|_| pipeline::examine(&spec));
        wrong.extend(looked.err().map(|error| error.to_string()));
    }
    let templates = settings::template_notes(&config, &host);
    if !wrong.is_empty() {
        return Err(Failure::Usage(wrong.join("\n")));
    }
    let mut out = io::stdout().lock();
    let mut print = |line: String| writeln!(out, "{line}").map_err(Failure::io("standard output"));
    let notes = config.notes.iter().chain(&looked.late).chain(&config.conversions);
    for note in notes.chain(&templates) {
        print(format!("note: {note}"))?;
    }
    for exporter in &config.exporters {
        let settings = &exporter.settings;
        print(format!(
            "exporter {}: {}, format {}",
            settings.name,
            settings.vendor.name,
            settings.format.word()
        ))?;
    }
    if let Some(spec) = &config.intel {
        for server in &spec.servers {
            print(format!("server {}: indicators from {}", server.name, server.url))?;
        }
        if !config.inputs.iter().any(|input| matches!(input, Input::Http { .. })) {
            let note = "note: guards cannot ask for indicators without an input of type http";
            print(note.to_owned())?;
        }
    }
    for name in &config.disabled {
        print(format!("exporter {name}: disabled"))?;
    }
    if let Some(note) = lacks_room(&config) {
        print(format!("note: {note}"))?;
    }
    if config.exporters.is_empty() {
        print("note: no exporter sends anything: events stay in the log".to_owned())?;
    }
    print(format!("{}: no mistakes", config.origin))?;
    if connects {
        connect(&config, &host, &mut print)?;
    }
    Ok(Exit::Done)
}

/// Says that a first start would wait for space: what is there has its space already.
fn lacks_room(config: &Config) -> Option<String> {
    let (dir, segment_bytes) = (&config.log.dir, config.log.segment_bytes);
    if dir.exists() {
        return None;
    }
    let dir = std::path::absolute(dir).ok()?;
    let space = statvfs(dir.ancestors().find(|it| it.exists())?).ok()?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let stores = config.exporters.len() as u64 + 1;
    let needed = segment_bytes.saturating_add(stores * STORE_BYTES);
    (free < needed).then(|| {
        format!(
            "log.dir: the first start makes files of {needed} bytes, and {free} are free there: it \
             would wait for the others; free space, or lower log.segment_bytes ({segment_bytes})"
        )
    })
}

/// The first segment of an exporter's dead letters, or of the quarantine.
const STORE_BYTES: u64 = 8 << 20;

/// Prints the configuration that is in effect.
pub(crate) fn show(shared: &Shared, to: &[String]) -> Result<Exit, Failure> {
    let config = settings::load(shared, to.iter().cloned().map(Flag::To).collect())?;
    let mut out = io::stdout().lock();
    out.write_all(config.shown.yaml().as_bytes()).map_err(Failure::io("standard output"))?;
    Ok(Exit::Done)
}

/// Asks every server of indicators and every destination, and prints a line for each.
fn connect(
    config: &Config,
    host: &Host,
    print: &mut impl FnMut(String) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let (mut failed, mut unread, mut servers) = (0, 0, 0);
    for server in config.intel.iter().flat_map(|spec| &spec.servers) {
        servers += 1;
        let text = match intel::probe(server) {
            Ok(took) => format!("can be read, answered in {} ms", took.as_millis()),
            Err(problem) => {
                unread += 1;
                format!("cannot be read: {problem}")
            }
        };
        print(format!("server {}: {text}", server.name))?;
    }
    for exporter in &config.exporters {
        let found = pipeline::connect(&config.exporter_spec(exporter, host));
        let text = match found.map_err(configured)? {
            None => "nothing to ask".to_owned(),
            Some(found) if found.is_healthy => {
                format!("takes events, answered in {} ms", found.latency.as_millis())
            }
            Some(found) => {
                failed += 1;
                format!("does not take events: {}", found.text)
            }
        };
        print(format!("exporter {}: {text}", exporter.settings.name))?;
    }
    let mut wrong = Vec::new();
    if failed > 0 {
        let all = config.exporters.len();
        wrong.push(format!("{failed} of {all} destinations would take no events"));
    }
    if unread > 0 {
        wrong.push(format!("{unread} of {servers} servers of indicators cannot be read"));
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Failure::Usage(format!("{}; the lines above say why", wrong.join(" and ")))),
    }
}
