//! `shrike run`: inputs, log and exporters until the end.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use shrike::config::{Config, Host, Text};
use shrike::deliver::Lines;
use shrike::log::{Cursors, Log};
use shrike::pipeline::{Ended, Engine, Status};
use tracing::{info, warn};

use super::args::{Run, Shared};
use super::door::Door;
use super::front::Front;
use super::inputs::Inputs;
use super::intel::Threats;
use super::patience::Patience;
use super::reload::{Reload, Reloader};
use super::serve::{Commands, Pages, Paused, Running};
use super::{Exit, Failure, configured, failed, position, settings};

/// Runs until a signal, or until everything is settled with `--drain`.
pub(crate) fn run(shared: &Shared, args: &Run) -> Result<Exit, Failure> {
    let reload = Reload::start(shared, args)?;
    let config = reload.config().clone();
    let _logging = super::logging::start(&config)?;
    // Before the disk is asked: what it refuses is told by the key that names it.
    config.look_at_paths().lines().for_each(|line| warn!("{line}"));
    // What is to be read, and is not there, leaves nothing behind.
    for path in args.input.iter().filter(|path| *path != Path::new("-")) {
        std::fs::metadata(path).map_err(Failure::io(path.display().to_string()))?;
    }
    let signals = Signals::listen()?;
    let front = Front::new(&config, reload.access(), reload.identity());
    let patience = Patience {
        is_over: || signals.count() > 0,
        until: args.drain.then(|| Instant::now() + args.drain_timeout),
        on_wait: |problem| front.on_wait(problem),
    };
    let opened = patience.with(|| Log::open(config.log.clone())).map_err(failed)?;
    let Some((log, recovery)) = opened else { return Ok(patience.in_vain()) };
    front.on_log();
    info!(
        config = config.origin,
        log = %config.log.dir.display(),
        io = %log.io(),
        priority = %log.priority(),
        exporters = config.exporters.len(),
        recovery = %recovery,
        "shrike started"
    );
    let is_log_whole = recovery.lost.is_none() && recovery.damaged_stripes == 0;
    if !is_log_whole {
        warn!(recovery = %recovery, "the log lost events; `shrike log verify` shows where");
    }
    let notes = settings::template_notes(&config, &Host::look());
    config.notes.iter().chain(&notes).for_each(|note| warn!("{note}"));
    let threats = Threats::new();
    threats.run(&config);
    let start = || {
        let mut options = config.engine_options(&Host::look());
        threats.mark(&config, &mut options.opening);
        Engine::start(log.clone(), options)
    };
    let Some(engine) = patience.with(start).map_err(configured)? else {
        return Ok(patience.in_vain());
    };
    let running = Running::new(engine);
    let Some(door) =
        patience.with(|| Door::open(&config, &log, &threats.questions())).map_err(failed)?
    else {
        return Ok(running.end().map_or(Exit::Failed, |_| patience.in_vain()));
    };
    let door = Arc::new(door);
    let inputs = Inputs::start(&config.inputs, &door).inspect_err(|_| {
        // What was opened by now ends in order.
        drop(running.end());
    })?;
    let (counts, access) = (reload.counts(), reload.access());
    let reloader = Reloader::start(reload, &running, (&inputs, &door, &log), &threats)?;
    let paused = Paused {
        reloader: reloader.clone(),
        log: log.clone(),
        cursors: Arc::new(Cursors::look(&config.log.dir)),
    };
    let commands = Commands {
        running: running.clone(),
        log: log.clone(),
        log_dir: config.log.dir.display().to_string(),
        door: Arc::clone(&door),
        started: position::now(),
        inputs: inputs.clone(),
        threats: threats.clone(),
        reloader: reloader.clone(),
        paused: paused.clone(),
    };
    let pages = Pages {
        running: running.clone(),
        log: log.clone(),
        door: Arc::clone(&door),
        inputs: inputs.clone(),
        threats: threats.clone(),
        counts,
        access,
        paused,
    };
    front.on_ready(Arc::new(pages), Arc::new(commands));
    let ended = serve(&config, args, (&running, &door), &inputs, (&signals, &reloader));
    running.take_unreadable().into_iter().for_each(|found| door.keep(found));
    let (pages, socket) = front.into_parts();
    drop(pages);
    let status = running.end();
    drop(socket);
    threats.stop();
    log.close().map_err(failed)?;
    let exit = status.map_or(Exit::Failed, |status| report(args, ended, &status));
    if inputs.rejected() > 0 {
        let (lines, dir) = (inputs.rejected(), config.pipeline.quarantine_dir.display());
        warn!(
            lines,
            quarantine = %dir,
            "lines that are no events were kept; `shrike log quarantine list` shows which and why"
        );
    }
    Ok(if inputs.have_failed() || (exit == Exit::Done && !is_log_whole) {
        Exit::Failed
    } else {
        exit
    })
}

/// Waits for the end of the inputs or a signal, then for the exporters.
fn serve(
    config: &Config,
    args: &Run,
    (engine, door): (&Running, &Door),
    inputs: &Inputs,
    (signals, reloader): (&Signals, &Reloader),
) -> Ended {
    // A service waits for a signal; a pipeline ends with its input.
    let is_pipeline = !args.input.is_empty() || config.origin == Text::Embedded.name();
    let ends_by_itself = args.drain || is_pipeline;
    if args.drain {
        for input in inputs.endless() {
            warn!(input, "has no end, so that draining does not begin: leave it out, or stop it");
        }
    }
    let mut until = None;
    while signals.count() == 0 {
        if ends_by_itself && inputs.have_ended() {
            let until = *until.get_or_insert_with(|| Instant::now() + args.drain_timeout);
            if let Some(ended) = drained(engine, inputs, reloader, until) {
                return ended;
            }
        }
        if is_pipeline && config.exporters.len() == 1 && Lines::have_no_reader() {
            warn!(
                "nobody reads the standard output any more; what is not written stays in the log"
            );
            inputs.stop();
            reloader.close();
            return engine.drain(Instant::now());
        }
        if signals.wants_reload() {
            reloader.ask("SIGHUP");
        }
        engine.start_stopped();
        engine.take_unreadable().into_iter().for_each(|found| door.keep(found));
        thread::sleep(LOOK_INTERVAL);
    }
    info!("stopping");
    let deadline = Instant::now() + reloader.told().shutdown_timeout;
    // A change that is under way may take its time, as long as there is some.
    if !reloader.close_unless(|| signals.count() > 1 || Instant::now() >= deadline) {
        engine.hurry();
    }
    inputs.stop();
    until_signal(
        signals,
        1,
        || engine.flush(deadline.min(Instant::now() + LOOK_INTERVAL * 5)),
        deadline,
    )
}

/// Sends what is in the log, once the inputs have ended; none where there is more to be done and
/// time left for it. Credentials and exporters may change until then.
fn drained(
    engine: &Running,
    inputs: &Inputs,
    reloader: &Reloader,
    until: Instant,
) -> Option<Ended> {
    reloader.keep_inputs();
    if !inputs.have_ended() {
        return None;
    }
    let drain = |until| Some(engine.drain(until)).filter(|it| !matches!(it, Ended::Pending(_)));
    let ended = drain(until.min(Instant::now() + LOOK_INTERVAL * 5));
    if ended.is_none() && Instant::now() < until {
        return None;
    }
    reloader.close();
    // An exporter that changed in the last moment is drained as well.
    match drain(Instant::now()) {
        None if Instant::now() >= until => Some(engine.drain(until)),
        ended => ended,
    }
}

/// Looks again and again until the lanes have ended, time is over, or a further signal comes.
fn until_signal(signals: &Signals, seen: u8, look: impl Fn() -> Ended, deadline: Instant) -> Ended {
    loop {
        let ended = look();
        let is_over = Instant::now() >= deadline || signals.count() > seen;
        if !matches!(ended, Ended::Pending(_)) || is_over {
            return ended;
        }
    }
}

fn report(args: &Run, ended: Ended, status: &Status) -> Exit {
    let mut is_whole = status.losses_of_removed == 0;
    for exporter in &status.exporters {
        is_whole &= !exporter.is_stopped();
        let counts = exporter.counts;
        is_whole &= exporter.losses == 0;
        info!(
            exporter = exporter.name,
            in_range = exporter.in_range,
            delivered = counts.delivered,
            dead_lettered = counts.dead_lettered,
            filtered = counts.filtered,
            skipped = counts.skipped,
            invalid = counts.invalid,
            pending = exporter.pending,
            duplicates = exporter.duplicates,
            "account"
        );
    }
    // The exit code says no more than that something is amiss.
    for exporter in status.exporters.iter().filter(|exporter| exporter.losses > 0) {
        let (name, events) = (&exporter.name, exporter.losses);
        warn!(
            exporter = name,
            events,
            "given up or lost in this run; `shrike dlq list {name}` has what was given up, \
             `shrike audit log` what was lost"
        );
    }
    match ended {
        _ if Lines::have_no_reader() => Exit::Failed,
        Ended::Pending(pending) | Ended::Left(pending) if args.drain => {
            warn!(pending, "draining did not come to its end; the rest is still in the log");
            Exit::Unfinished
        }
        _ if is_whole => Exit::Done,
        _ => Exit::Failed,
    }
}

/// How often the process was asked to stop, and whether to read its configuration again.
struct Signals {
    stops: Arc<AtomicU8>,
    reload: Arc<AtomicBool>,
}

impl Signals {
    fn listen() -> Result<Self, Failure> {
        let stops = Arc::new(AtomicU8::new(0));
        let reload = Arc::new(AtomicBool::new(false));
        let (counting, noting) = (Arc::clone(&stops), Arc::clone(&reload));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Failure::io("signals"))?;
        use tokio::signal::unix::{SignalKind, signal};
        // Before this returns: a signal that nobody expects yet would end the process.
        let entered = runtime.enter();
        let expect = |kind| signal(kind).map_err(Failure::io("signals"));
        let mut term = expect(SignalKind::terminate())?;
        let mut interrupt = expect(SignalKind::interrupt())?;
        let mut hangup = expect(SignalKind::hangup())?;
        drop(entered);
        let listen = move || {
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        _ = term.recv() => {}
                        _ = interrupt.recv() => {}
                        _ = hangup.recv() => {
                            noting.store(true, Ordering::Release);
                            continue;
                        }
                    }
                    counting.fetch_add(1, Ordering::AcqRel);
                }
            });
        };
        thread::Builder::new()
            .name("shrike-signals".to_owned())
            .spawn(listen)
            .map_err(Failure::io("signals"))?;
        Ok(Self { stops, reload })
    }

    fn count(&self) -> u8 {
        self.stops.load(Ordering::Acquire)
    }

    /// Whether to read the configuration again; asked once, it is answered.
    fn wants_reload(&self) -> bool {
        self.reload.swap(false, Ordering::AcqRel)
    }
}
/// How often inputs and signals are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
