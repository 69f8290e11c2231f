//! The process's own log: JSON lines on standard error, text on a terminal.
//!
//! A thread of its own writes the lines, so that whoever reads them slowly, or not at all, holds up
//! nobody else. What it cannot get rid of is counted and told. (`tracing-appender` has such a
//! thread, but says its own troubles on standard output, which is an exporter's.)

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use shrike::config::{Config, LogFormat, LogLevel};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::{Compact, Format, Json, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt, reload};

use super::Failure;

/// Writes what waits when it is dropped, as far as somebody reads it.
pub(crate) struct Logging {
    queue: SyncSender<Entry>,
}

/// What the thread is told.
enum Entry {
    Line(Vec<u8>),
    /// Answer once everything before is written.
    Flush(SyncSender<()>),
}

/// The end of the queue that takes lines.
#[derive(Clone)]
struct Lines {
    queue: SyncSender<Entry>,
    lost: Arc<AtomicU64>,
}

/// Starts logging as configured; a second call changes nothing.
pub(crate) fn start(config: &Config) -> Result<Logging, Failure> {
    IS_TEXT.store(is_text(config), Ordering::Relaxed);
    let (queue, entries) = sync_channel(WAITING_MAX);
    let lines = Lines { queue: queue.clone(), lost: Arc::default() };
    let lost = Arc::clone(&lines.lost);
    thread::Builder::new()
        .name("shrike-logging".to_owned())
        .spawn(move || write(&entries, &lost))
        .map_err(Failure::io("starting a thread for the log"))?;
    let (level, handle) = reload::Layer::new(filter(config.global.log_level));
    let layer = fmt::layer()
        .with_writer(move || lines.clone())
        // What a terminal shows may be copied and searched like any log.
        .with_ansi(false)
        .event_format(Either::new());
    let started = tracing_subscriber::registry().with(level).with(layer).try_init();
    // A subscriber that is already there is a test's or an embedder's: theirs wins.
    if started.is_ok() {
        // It started just now, so that nobody has set it before.
        let _new = LEVEL.set(handle);
    }
    Ok(Logging { queue })
}

/// Logs as this configuration says from now on.
pub(crate) fn set(config: &Config) {
    // It fails only where the subscriber is gone, and then nobody logs.
    let _gone = LEVEL.get().map(|handle| handle.reload(filter(config.global.log_level)));
    IS_TEXT.store(is_text(config), Ordering::Relaxed);
}

fn is_text(config: &Config) -> bool {
    match config.global.log_format {
        Some(format) => format == LogFormat::Text,
        None => io::stderr().is_terminal(),
    }
}

/// Both ways to write a line; which one is asked for each.
struct Either {
    text: Format<Compact>,
    json: Format<Json>,
}

impl Either {
    fn new() -> Self {
        // Spans are those of libraries, and say nothing to an operator.
        let json = fmt::format().json().flatten_event(true);
        let json = json.with_current_span(false).with_span_list(false);
        Self { text: fmt::format().compact().with_target(false), json: json.with_target(false) }
    }
}

impl<S, N> FormatEvent<S, N> for Either
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        line: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        match IS_TEXT.load(Ordering::Relaxed) {
            true => self.text.format_event(context, line, event),
            false => self.json.format_event(context, line, event),
        }
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// Writes line after line, and says how many were lost meanwhile.
fn write(entries: &Receiver<Entry>, lost: &AtomicU64) {
    let mut stderr = io::stderr();
    for entry in entries {
        match entry {
            Entry::Line(line) => {
                let _closed = stderr.write_all(&line);
            }
            Entry::Flush(answer) => {
                let _gone = answer.send(());
            }
        }
        let lines = lost.swap(0, Ordering::Relaxed);
        if lines > 0 {
            tracing::warn!(lines, "lines of this log were lost: nobody read them in time");
        }
    }
}

impl io::Write for Lines {
    /// One call is one line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Err(TrySendError::Full(_)) = self.queue.try_send(Entry::Line(line.to_vec())) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        let deadline = Instant::now() + FLUSH_WAIT;
        let (answer, answered) = sync_channel(1);
        let mut entry = Entry::Flush(answer);
        while let Err(TrySendError::Full(back)) = self.queue.try_send(entry) {
            if Instant::now() >= deadline {
                return;
            }
            entry = back;
            thread::sleep(LOOK_INTERVAL);
        }
        let _late = answered.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

/// Whether lines are text and no JSON.
static IS_TEXT: AtomicBool = AtomicBool::new(false);
/// How much is logged, once logging has started.
static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();
/// Lines that wait for their reader: about 256 KiB.
const WAITING_MAX: usize = 1024;
/// The longest that the end of the process waits for whoever reads them.
const FLUSH_WAIT: Duration = Duration::from_secs(1);
/// Between two looks whether there is room.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
