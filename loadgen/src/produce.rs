//! Events on a schedule, into lines or into a log.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use shrike::event::Offset;
use shrike::log::{AppendError, Appender, Mark};

use crate::clock;
use crate::generate::Stream;

/// How fast events come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// As fast as they are taken; an event is due when it is written.
    Unlimited,
    /// So many a second, whether they are taken or not: an event is due by the schedule, so
    /// whatever delays it counts as its lateness.
    PerSecond(f64),
}

/// What to produce.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// How many events.
    pub events: u64,
    /// How fast.
    pub rate: Rate,
    /// How long to sleep at least between two writes; shorter costs more wake-ups.
    pub tick: Duration,
}

/// How far a producer is; shared with whoever watches it.
#[derive(Debug, Default)]
pub struct Progress {
    /// Events handed over.
    pub events: AtomicU64,
    /// Bytes handed over.
    pub bytes: AtomicU64,
    /// Tells the producer to end early.
    pub stop: AtomicBool,
}

/// Where events go.
pub trait Source {
    /// Takes neighbouring events, one line each.
    fn take(&mut self, lines: &[u8]) -> io::Result<()>;
}

/// A log takes each line as a record, in one group.
#[derive(Debug)]
pub struct LogSource {
    appender: Appender,
    /// Whether records are marked as opened once, as intake marks them.
    checked: bool,
    last: Option<Offset>,
}

impl LogSource {
    /// Appends through this door.
    #[must_use]
    pub const fn new(appender: Appender, checked: bool) -> Self {
        Self { appender, checked, last: None }
    }

    /// Waits until everything that was taken is durable.
    pub fn wait_durable(&self) -> Result<(), AppendError> {
        self.last.map_or(Ok(()), |last| self.appender.wait_durable(last))
    }
}

impl Source for LogSource {
    fn take(&mut self, lines: &[u8]) -> io::Result<()> {
        let mark = Mark { received_ns: clock::now_ns(), checked: self.checked, ..Mark::default() };
        let mut group = self.appender.group();
        let mut rest = lines;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let offset = group.append(&rest[..end], mark).map_err(io::Error::other)?;
            self.last = Some(offset);
            rest = &rest[end + 1..];
        }
        Ok(())
    }
}

/// Any stream of bytes takes lines as they are.
impl<W: Write> Source for W {
    fn take(&mut self, lines: &[u8]) -> io::Result<()> {
        self.write_all(lines)
    }
}

/// Produces the events of a job; returns how many were handed over.
pub fn produce(
    job: Job,
    stream: &mut Stream,
    into: &mut impl Source,
    progress: &Progress,
) -> io::Result<u64> {
    let start_ns = clock::now_ns();
    let first = stream.sequence();
    let mut sent = 0;
    while sent < job.events && !progress.stop.load(Ordering::Relaxed) {
        let now_ns = clock::now_ns();
        let (ready, batch) = match job.rate {
            Rate::Unlimited => {
                let events_max = (job.events - sent).min(EVENTS_MAX);
                (true, Some((events_max, stream.next(events_max, BYTES_MAX, |_| now_ns))))
            }
            Rate::PerSecond(rate) => {
                let schedule = Schedule { start_ns, rate };
                let due = schedule.due_by(now_ns).min(job.events);
                let events_max = due.saturating_sub(sent).min(EVENTS_MAX);
                let due_at = |sequence: u64| schedule.due(sequence - first);
                let batch = (events_max > 0)
                    .then(|| (events_max, stream.next(events_max, BYTES_MAX, due_at)));
                (batch.is_some(), batch)
            }
        };
        if let Some((_, batch)) = batch {
            into.take(batch.lines)?;
            sent += batch.events;
            progress.events.fetch_add(batch.events, Ordering::Relaxed);
            progress.bytes.fetch_add(batch.lines.len() as u64, Ordering::Relaxed);
        }
        if !ready {
            let Rate::PerSecond(rate) = job.rate else { continue };
            let next_ns = Schedule { start_ns, rate }.due(sent);
            let wait = Duration::from_nanos(next_ns.saturating_sub(now_ns));
            std::thread::sleep(wait.max(job.tick).min(PAUSE_MAX));
        }
    }
    Ok(sent)
}

/// When each event is due.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    start_ns: u64,
    rate: f64,
}

impl Schedule {
    fn due(self, event: u64) -> u64 {
        self.start_ns + (event as f64 * NS / self.rate) as u64
    }

    /// How many events are due.
    fn due_by(self, now_ns: u64) -> u64 {
        (now_ns.saturating_sub(self.start_ns) as f64 * self.rate / NS) as u64 + 1
    }
}

/// Events of a write: few enough to fit a pipe, so that one stalled write holds few back.
const EVENTS_MAX: u64 = 256;
/// Bytes of a write.
const BYTES_MAX: usize = 256 << 10;
/// The longest sleep, so that a request to stop is seen.
const PAUSE_MAX: Duration = Duration::from_millis(100);
const NS: f64 = 1e9;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Latency;
    use crate::id::EventId;

    /// Takes lines and stalls once.
    struct Stalling {
        stalled: bool,
        latency: Latency,
    }

    impl Source for Stalling {
        fn take(&mut self, lines: &[u8]) -> io::Result<()> {
            if !self.stalled {
                self.stalled = true;
                std::thread::sleep(Duration::from_millis(200));
            }
            let now_ns = clock::now_ns();
            let key = b"\"event_id\":\"";
            for line in lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
                let at = memchr::memmem::find(line, key).expect("every event has an id");
                let text = &line[at + key.len()..][..crate::id::LEN];
                let id = EventId::parse(text).expect("our own id");
                self.latency.record(id.scheduled_ns, now_ns);
            }
            Ok(())
        }
    }

    #[test]
    fn a_stall_counts_for_every_event_that_was_due_meanwhile() {
        let mut into = Stalling { stalled: false, latency: Latency::default() };
        let job = Job { events: 400, rate: Rate::PerSecond(1_000.0), tick: Duration::ZERO };
        let sent = produce(job, &mut Stream::new(1), &mut into, &Progress::default());
        assert_eq!(sent.expect("nothing fails here"), 400);
        let ages = into.latency.percentiles();
        // Of 400 events over 400 ms, those due in the first 200 ms waited 100 ms on average: a
        // closed loop would show one late event instead.
        assert!(ages.p50_us > 1.0 && ages.mean_us > 40_000.0, "{ages:?}");
        assert!(ages.max_us >= 199_000.0, "{ages:?}");
    }

    #[test]
    fn a_schedule_has_an_event_due_exactly_when_it_says() {
        let schedule = Schedule { start_ns: 1_000, rate: 20_000.0 };
        for event in [0, 1, 7, 20_000, 123_456_789] {
            let due = schedule.due(event);
            assert!(schedule.due_by(due + 1) > event, "{event}");
            assert!(due == 1_000 || schedule.due_by(due - 2) <= event, "{event}");
        }
    }
}
