//! `shrike render`: what an exporter would send.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shrike::config::{Config, Flag, Host};
use shrike::dialects;
use shrike::event::{Event, Frame, Opened, Opening};
use shrike::intake::{Batch, Binary, CheckOptions, Checker, Lines, Unfolded};
use shrike::log::Mark;
use shrike::pipeline::Render;

use super::args::Shared;
use super::{Exit, Failure, configured, hint, position, settings};

/// Renders events from a file or standard input.
pub(crate) fn render(
    shared: &Shared,
    exporter: &str,
    to: &[String],
    file: Option<&PathBuf>,
    shown: Shown,
) -> Result<Exit, Failure> {
    let config = settings::load(shared, to.iter().cloned().map(Flag::To).collect())?;
    let mut render = compile(&config, exporter)?;
    let (lines, name): (Box<dyn BufRead>, _) = match file.filter(|it| *it != Path::new("-")) {
        Some(path) => {
            let name = path.display().to_string();
            let file = File::open(path).map_err(Failure::io(name.clone()))?;
            (Box::new(BufReader::new(Unfolded::new(file, &name))), name)
        }
        None => {
            let name = "standard input".to_owned();
            (Box::new(BufReader::new(Unfolded::new(io::stdin(), &name))), name)
        }
    };
    let opening = Arc::new(Opening::new(&config.opening_options()));
    let mut checker = checker(&config, &opening);
    let mut out = BufWriter::new(io::stdout().lock());
    let (mut arena, mut opened, mut body) = (Vec::new(), Opened::default(), Vec::new());
    let (mut filtered, mut rejected) = (0_u64, 0_u64);
    let received_ns = position::now();
    let now = i64::try_from(received_ns / 1_000_000_000).unwrap_or(i64::MAX);
    let mut batch = Batch::default();
    opening.begin(&mut arena);
    for (number, line) in lines.split(b'\n').enumerate() {
        let line = line.map_err(Failure::io(name.clone()))?;
        batch.clear();
        // Only the first line begins a file: no other may have its mark.
        Lines::new(number as u64).finish(&mut checker, &line, received_ns, &mut batch);
        for reject in &batch.rejected {
            rejected += 1;
            hint(format_args!("line {}: {}", number + 1, reject.class.name()));
        }
        for (record, Mark { received_ns, checked, mapped, repaired }) in batch.records(&line) {
            let frame = Frame { received_ns, checked, mapped, repaired, ..Frame::default() };
            opening.rewind(&mut arena);
            if let Err(reject) = opening.open(&frame, record, &mut arena, &mut opened) {
                rejected += 1;
                hint(format_args!("line {}: {}", number + 1, reject.class.name()));
                continue;
            }
            let event = Event::new(&opened, frame, record, &arena);
            filtered += u64::from(!render.event(&event, now, &mut body));
            let text = shown.of(&render, &body);
            out.write_all(&text).map_err(Failure::io("standard output"))?;
            body.clear();
        }
    }
    render.end(now, &mut body);
    out.write_all(&body).and_then(|()| out.flush()).map_err(Failure::io("standard output"))?;
    if filtered > 0 {
        hint(format_args!("{filtered} events filtered"));
    }
    Ok(if rejected == 0 { Exit::Done } else { Exit::Failed })
}

/// How bodies are shown that are no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// As the JSON that says the same, a line for each event.
    AsJson,
    /// Byte for byte.
    Raw,
}

impl Shown {
    pub(super) const fn new(raw: bool) -> Self {
        if raw { Self::Raw } else { Self::AsJson }
    }

    /// What is printed of a piece of a body.
    pub(super) fn of<'b>(self, render: &Render, body: &'b [u8]) -> Cow<'b, [u8]> {
        let Binary { content_type, decode, .. } = dialects::PROTOBUF;
        if body.is_empty() || self == Self::Raw || render.content_type() != *content_type {
            return Cow::Borrowed(body);
        }
        // What is none are the words of an event that cannot be sent.
        let mut text = decode(body, usize::MAX).unwrap_or_else(|_| body.to_vec());
        text.push(b'\n');
        Cow::Owned(text)
    }
}

/// What takes lines as an input does, of any dialect; what comes twice is shown twice.
fn checker(config: &Config, opening: &Arc<Opening>) -> Checker {
    let options = CheckOptions {
        line_bytes_max: usize::try_from(config.pipeline.event_bytes_max).unwrap_or(usize::MAX),
        dedup_window: 0,
        dialects: dialects::ALL,
        host: Host::look().name,
        ..CheckOptions::default()
    };
    Checker::new(Arc::clone(opening), options, Arc::default())
}

/// One exporter of the configuration, compiled.
pub(super) fn compile(config: &Config, name: &str) -> Result<Render, Failure> {
    let Some(exporter) = config.exporters.iter().find(|it| it.settings.name == name) else {
        let names: Vec<&str> =
            config.exporters.iter().map(|it| it.settings.name.as_str()).collect();
        return Err(Failure::Usage(format!(
            "no exporter `{name}` in {}; there are: {}; `--to {name}` adds one",
            config.origin,
            names.join(", ")
        )));
    };
    Render::new(&config.exporter_spec(exporter, &Host::look())).map_err(configured)
}
