//! `shrike test`: an exporter over the log's own history, without touching what it has settled.

use std::fs;
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use shrike::config::{Config, Flag, Host};
use shrike::deliver::{From, Kind, OnLag};
use shrike::event::{Event, Opened, Opening, Span};
use shrike::log::{Log, LogOptions, Mark, RawBlock, RawRecord};
use shrike::pipeline::{
    Ended, Engine, EngineOptions, LetterStore, Render, Status, Wanted, Work, destinations,
};

use tokio::signal::unix::{SignalKind, signal};

use super::args::{Shared, Test};
use super::render::Shown;
use super::walk::{Met, Then, walk};
use super::{Exit, Failure, configured, failed, hint, log, position, render, say, settings};

/// Prints what an exporter would send, or sends it to a shadow endpoint.
pub(crate) fn test(shared: &Shared, args: &Test) -> Result<Exit, Failure> {
    let config = settings::load(shared, Vec::new())?;
    // The usual mistakes first, before anything is read.
    let render = render::compile(&config, &args.exporter)?;
    match &args.to {
        None => dry(&config, args, render),
        Some(url) => {
            let config = settings::load(shared, shadow(&config, &args.exporter, url)?)?;
            send(&config, args, url)
        }
    }
}

/// Visits the events that the arguments choose.
///
/// False where some of them cannot be read.
fn history(
    config: &Config,
    args: &Test,
    mut visit: impl FnMut(&RawBlock, &RawRecord) -> Result<(), Failure>,
) -> Result<bool, Failure> {
    let mut reader = log::open(&config.log.dir)?;
    let find = |text: &str| position::find(position::parse(text)?, &reader).map_err(failed);
    let to = args.until.as_deref().map_or(Ok(reader.written()), find)?;
    let from = position::begin(position::parse(&args.from)?, &reader).map_err(failed)?;
    let span = Span { from, to };
    let (mut left, mut is_whole, mut at) = (args.limit, true, span.from);
    walk(&mut reader, span, |met| {
        match met {
            Met::Block(block) => {
                for record in block.records() {
                    if left == 0 {
                        return Ok(Then::Stop);
                    }
                    left -= 1;
                    at = record.next;
                    visit(block, record)?;
                }
            }
            Met::Damaged(span, _) => {
                hint(format_args!("{} to {}: damaged", span.from, span.to));
                is_whole = false;
            }
            Met::Gone(span) => {
                hint(format_args!("{} to {}: removed meanwhile", span.from, span.to));
                is_whole = false;
            }
        }
        Ok(if left == 0 { Then::Stop } else { Then::On })
    })?;
    let rest = if left == 0 && at < to { Span { from: at, to } } else { Span { from: to, to } };
    let (limit, rest) = (args.limit, reader.count(rest).map_err(failed)?);
    if rest > 0 {
        hint(format_args!("these are the first {limit} events: {rest} more follow (--limit)"));
    }
    Ok(is_whole)
}

/// Renders, and sends nothing.
fn dry(config: &Config, args: &Test, mut render: Render) -> Result<Exit, Failure> {
    let opening = Opening::new(&config.opening_options());
    let mut out = BufWriter::new(io::stdout().lock());
    let (mut arena, mut opened, mut body) = (Vec::new(), Opened::default(), Vec::new());
    let (mut rendered, mut filtered, mut invalid, mut bytes) = (0_u64, 0_u64, 0_u64, 0_u64);
    let now = i64::try_from(position::now() / 1_000_000_000).unwrap_or(i64::MAX);
    let shown = Shown::new(args.raw);
    let mut write = |render: &Render, body: &mut Vec<u8>| {
        let written = if args.quiet { Ok(()) } else { out.write_all(&shown.of(render, body)) };
        body.clear();
        written.map_err(Failure::io("standard output"))
    };
    let is_whole = history(config, args, |block, record| {
        opening.begin(&mut arena);
        let text = block.record(record);
        if opening.open(&record.frame, text, &mut arena, &mut opened).is_err() {
            invalid += 1;
            return Ok(());
        }
        let event = Event::new(&opened, record.frame, text, &arena);
        match render.event(&event, now, &mut body) {
            true => rendered += 1,
            false => filtered += 1,
        }
        bytes += body.len() as u64;
        write(&render, &mut body)
    })?;
    render.end(now, &mut body);
    bytes += body.len() as u64;
    write(&render, &mut body)?;
    out.flush().map_err(Failure::io("standard output"))?;
    hint(format_args!(
        "{}: {rendered} events would be sent in {bytes} bytes before compression; {filtered} \
         filtered, {invalid} invalid",
        args.exporter
    ));
    Ok(if is_whole && invalid == 0 { Exit::Done } else { Exit::Failed })
}

/// The flags that point an exporter at another endpoint.
fn shadow(config: &Config, name: &str, url: &str) -> Result<Vec<Flag>, Failure> {
    let exporter = config.exporters.iter().find(|it| it.settings.name == name);
    if exporter.is_some_and(|it| it.hook.is_some()) {
        return Err(Failure::Usage(format!(
            "`{name}` is a response hook: its actions are not tried elsewhere; without --to its \
             requests are printed"
        )));
    }
    let vendor = exporter.map(|it| it.settings.vendor);
    let is_place = |kind: &Kind| matches!(kind, Kind::Url | Kind::Urls | Kind::SecretUrl);
    let key = vendor.and_then(|vendor| vendor.options.iter().find(|it| is_place(&it.kind)));
    let Some(key) = key else {
        return Err(Failure::Usage(format!(
            "exporter `{name}` has no endpoint that could be another; without --to its documents \
             are printed"
        )));
    };
    // Quoted, so that nothing in it means anything to YAML.
    let quoted = serde_json::to_string(url).map_err(failed)?;
    let mut flags = vec![Flag::Set(format!("exporters.{name}.{}={quoted}", key.key))];
    if url.starts_with("http://") {
        flags.push(Flag::Set(format!("exporters.{name}.allow_http=true")));
    }
    Ok(flags)
}

/// The host and the port that an address names.
fn place_of(url: &str) -> Option<(String, Option<u16>)> {
    let uri: http::Uri = url.parse().ok()?;
    let usual = match uri.scheme_str() {
        Some("http") => Some(80),
        Some("https") => Some(443),
        _ => None,
    };
    Some((uri.host()?.to_ascii_lowercase(), uri.port_u16().or(usual)))
}

/// Copies the events into a log of their own, and lets an engine send that.
fn send(config: &Config, args: &Test, url: &str) -> Result<Exit, Failure> {
    let name = &args.exporter;
    let place = Place::make(&config.global.state_dir)?;
    let options = options(config, args, &place)?;
    for uri in options.exporters.iter().map(destinations) {
        let uris = uri.map_err(configured)?;
        let wanted = place_of(url);
        let is_other = |uri: &&http::Uri| {
            let given = place_of(&uri.to_string());
            given.is_none() || given != wanted
        };
        if let Some(other) = uris.iter().find(is_other) {
            let host = other.host().unwrap_or("another place");
            return Err(Failure::Usage(format!(
                "`{name}` would also send to {host}, which is not the shadow endpoint; point it \
                 elsewhere with --set exporters.{name}..."
            )));
        }
    }
    let log_options =
        LogOptions { dir: place.0.join("log"), segment_bytes: SEGMENT_BYTES, ..config.log.clone() };
    let (log, _) = Log::open(log_options).map_err(failed)?;
    let appender = log.appender();
    let is_whole = history(config, args, |block, record| {
        // Copied as it is: what no exporter could open is counted as invalid here too.
        let (received_ns, checked) = (record.frame.received_ns, record.frame.checked);
        let mark = Mark { received_ns, checked, ..Mark::default() };
        appender.append(block.record(record), mark).map(drop).map_err(failed)
    })?;
    log.flush().map_err(failed)?;
    let began = Instant::now();
    let engine = Engine::start(log.clone(), options).map_err(configured)?;
    let ended = engine.drain(began + args.timeout);
    let status = engine.end();
    log.close().map_err(failed)?;
    let exit = tell(&status, ended, began, &place)?;
    Ok(if is_whole { exit } else { Exit::Failed })
}

/// One exporter, from the beginning, with nothing that outlives it.
fn options(config: &Config, args: &Test, place: &Place) -> Result<EngineOptions, Failure> {
    let mut options = config.engine_options(&Host::look());
    options.exporters.retain(|spec| spec.settings.name == args.exporter);
    options.work = Work::All;
    options.receipts = None;
    for spec in &mut options.exporters {
        // What is tried elsewhere opens and resolves nothing.
        spec.alerts = None;
        spec.threads = None;
        let settings = &mut spec.settings;
        settings.from = From::Earliest;
        settings.on_lag = OnLag::Block;
        settings.dead_letters.is_enabled = true;
        settings.dead_letters.auto_replay = false;
        settings.dead_letters.dir = place.0.join("dlq");
    }
    Ok(options)
}

/// What came of it, with what the endpoint refused.
fn tell(status: &Status, ended: Ended, began: Instant, place: &Place) -> Result<Exit, Failure> {
    let Some(exporter) = status.exporters.first() else { return Ok(Exit::Failed) };
    if let Some((_, problem)) = exporter.last_error.as_ref().filter(|_| exporter.is_stopped()) {
        return Err(failed(format!("{}: {problem}", exporter.name)));
    }
    let counts = exporter.counts;
    let seconds = began.elapsed().as_secs_f64();
    say(format_args!(
        "{}: {} events = {} delivered + {} dead-lettered + {} filtered + {} invalid + {} pending; \
         {} requests in {seconds:.1} s",
        exporter.name,
        exporter.in_range,
        counts.delivered,
        counts.dead_lettered,
        counts.filtered,
        counts.invalid,
        exporter.pending,
        exporter.requests
    ));
    let mut left = REFUSED_SHOWN;
    if let Some(mut store) = LetterStore::look(&place.0.join("dlq")).map_err(failed)? {
        let show = |_, letter: &shrike::pipeline::Letter| {
            left -= 1;
            let id = letter.event_id.as_deref().unwrap_or("-");
            say(format_args!("{id}: {} {}: {}", letter.class, letter.http_status, letter.error));
            if left > 0 {
                std::ops::ControlFlow::Continue(())
            } else {
                std::ops::ControlFlow::Break(())
            }
        };
        store.visit(&Wanted::default(), show).map_err(failed)?;
    }
    if let Some((_, error)) = exporter.last_error.as_ref().filter(|_| exporter.pending > 0) {
        say(format_args!("{}: {}: {error}", exporter.name, exporter.state));
    }
    Ok(match ended {
        Ended::Settled if counts.dead_lettered + counts.invalid == 0 => Exit::Done,
        Ended::Settled => Exit::Failed,
        Ended::Left(_) | Ended::Pending(_) => Exit::Unfinished,
    })
}

/// A directory of this command, for its owner only; gone when dropped.
struct Place(PathBuf);

impl Place {
    fn make(state_dir: &Path) -> Result<Self, Failure> {
        sweep(state_dir);
        let dir = state_dir.join(format!("test-{}-{}", std::process::id(), position::now()));
        remove_at_a_signal(dir.clone()).map_err(Failure::io("signals"))?;
        let made = fs::DirBuilder::new().mode(0o700).recursive(true).create(&dir);
        made.map_err(Failure::io(dir.display().to_string()))?;
        Ok(Self(dir))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(problem) = fs::remove_dir_all(&self.0) {
            hint(format_args!("{}: not removed: {problem}", self.0.display()));
        }
    }
}

/// Removes what was left by tests that were killed: it is a copy of events as they came in.
fn sweep(state_dir: &Path) {
    for entry in fs::read_dir(state_dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix("test-")?.split_once('-'));
        let is_over = process.is_some_and(|(id, _)| {
            id.parse::<u32>().is_ok() && !Path::new("/proc").join(id).exists()
        });
        if is_over && let Err(problem) = fs::remove_dir_all(entry.path()) {
            hint(format_args!("{}: not removed: {problem}", entry.path().display()));
        }
    }
}

/// Whoever interrupts a test leaves nothing of it behind.
fn remove_at_a_signal(dir: PathBuf) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut term = signal(SignalKind::terminate())?;
    drop(entered);
    let wait = move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = term.recv() => {}
            }
        });
        // What the engine writes meanwhile goes with the next look.
        let is_gone = (0..REMOVALS_MAX).any(|_| fs::remove_dir_all(&dir).is_ok() || !dir.exists());
        if !is_gone {
            hint(format_args!("{}: not removed", dir.display()));
        }
        std::process::exit(INTERRUPTED);
    };
    thread::Builder::new().name("shrike-signals".to_owned()).spawn(wait).map(drop)
}

/// How often the place of an interrupted test is removed.
const REMOVALS_MAX: u32 = 5;
/// What shells say of a command that SIGINT ended.
const INTERRUPTED: i32 = 130;
/// Small segments: most tests are of few events.
const SEGMENT_BYTES: u64 = 64 << 20;
/// Refused events that are shown.
const REFUSED_SHOWN: u32 = 10;
