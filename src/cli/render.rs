//! `shrike render`: what an exporter would send.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use shrike::config::{Config, Flag, Host};
use shrike::event::{Event, Frame, Opened, Opening};
use shrike::pipeline::Render;

use super::args::Shared;
use super::{Exit, Failure, configured, position, settings};

/// Renders events from a file or standard input.
pub(crate) fn render(
    shared: &Shared,
    exporter: &str,
    to: &[String],
    file: Option<&PathBuf>,
) -> Result<Exit, Failure> {
    let config = settings::load(shared, to.iter().cloned().map(Flag::To).collect())?;
    let mut render = compile(&config, exporter)?;
    let (lines, name): (Box<dyn BufRead>, _) = match file.filter(|it| *it != Path::new("-")) {
        Some(path) => {
            let name = path.display().to_string();
            let file = File::open(path).map_err(Failure::io(name.clone()))?;
            (Box::new(BufReader::new(file)), name)
        }
        None => (Box::new(io::stdin().lock()), "standard input".to_owned()),
    };
    let opening = Opening::new(&config.opening_options());
    let mut out = BufWriter::new(io::stdout().lock());
    let (mut arena, mut opened, mut body) = (Vec::new(), Opened::default(), Vec::new());
    let (mut filtered, mut rejected) = (0_u64, 0_u64);
    let frame = Frame { received_ns: position::now(), ..Frame::default() };
    let now = i64::try_from(frame.received_ns / 1_000_000_000).unwrap_or(i64::MAX);
    for (number, line) in lines.split(b'\n').enumerate() {
        let line = line.map_err(Failure::io(name.clone()))?;
        let record = line.strip_suffix(b"\r").unwrap_or(&line);
        if record.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        opening.begin(&mut arena);
        if let Err(reject) = opening.open(&frame, record, &mut arena, &mut opened) {
            rejected += 1;
            eprintln!("line {}: {}", number + 1, reject.class.name());
            continue;
        }
        let event = Event::new(&opened, frame, record, &arena);
        filtered += u64::from(!render.event(&event, now, &mut body));
        out.write_all(&body).map_err(Failure::io("standard output"))?;
        body.clear();
    }
    render.end(now, &mut body);
    out.write_all(&body).and_then(|()| out.flush()).map_err(Failure::io("standard output"))?;
    if filtered > 0 {
        eprintln!("{filtered} events filtered");
    }
    Ok(if rejected == 0 { Exit::Done } else { Exit::Failed })
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
