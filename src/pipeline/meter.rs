//! Counts of delivered events, sent beside them once per window of time.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::time::{sleep, sleep_until};
use tracing::warn;

use super::exporter::{Exporter, seed};
use super::network::Network;
use super::stop::Stage;
use crate::deliver::{
    Applied, Binding, Channel, CompiledCall, DeadLetter, Derived, Fate, Meter, Options, Purpose,
    Request, Response, Settings, Tally, Transport, Via, Window, WriteWindow, judge,
    judge_transport,
};
use crate::event::{Event, EventType, FieldId, Offset, Settle, Settled, Severity, Time};
use crate::log::Reader;
use crate::transform::json;

/// The counts of one exporter, which its lanes add to once per settled batch.
#[derive(Debug)]
pub(crate) struct Ledger {
    meter: &'static Meter,
    call: CompiledCall,
    latencies_call: Option<CompiledCall>,
    options: Options,
    derived: Derived,
    interval: Duration,
    host: String,
    endpoints: usize,
    channel: Channel,
    guards: Mutex<Guards>,
    window: Mutex<Open>,
    /// The second in which the last window ended.
    ended: AtomicI64,
    has_ended: AtomicBool,
}

/// What one lane has in batches, and under which key each event counts once it is delivered.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    /// Numbers of guards, by their text as records spell it.
    guards: HashMap<Box<[u8]>, u32>,
    events: BTreeMap<Offset, Note>,
    delivered: Counts,
    latencies_ms: Vec<u32>,
}

/// What the open window counted so far.
#[derive(Debug, Default)]
struct Open {
    counts: Counts,
    latencies: Latencies,
}

/// Milliseconds from append to delivery, in steps of at most a sixteenth of the value.
#[derive(Debug)]
struct Latencies {
    steps: Box<[u32; LATENCY_STEPS]>,
    total: u64,
}

/// The guards' names, by number; number 0 is [`OTHER`].
#[derive(Debug)]
struct Guards {
    numbers: HashMap<Arc<str>, u32>,
    names: Vec<Arc<str>>,
}

type Counts = HashMap<Key, Count>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    guard: u32,
    severity: Severity,
    event_type: EventType,
}

#[derive(Clone, Copy, Debug)]
struct Note {
    key: Key,
    denied: bool,
    received_ns: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    total: u64,
    denied: u64,
}

/// One key of a window with its guard's name.
#[derive(Debug)]
struct Row {
    guard: Arc<str>,
    key: Key,
    count: Count,
}

impl Ledger {
    /// The counts of an exporter whose vendor takes some under its options.
    pub(crate) fn compile(settings: &Settings, derived: &Derived) -> Result<Option<Self>, String> {
        let vendor = settings.vendor;
        let options = &settings.options;
        let Some(meter) = vendor.meter.filter(|it| it.when.holds(options, settings.format)) else {
            return Ok(None);
        };
        let Some(call) = vendor.call(Purpose::Metrics, options, settings.format) else {
            return Ok(None);
        };
        let credentials =
            meter.auth.unwrap_or(vendor.auth)(options).map_err(|it| it.to_string())?;
        let binding = Binding::new(settings, derived, &credentials);
        let secs = options.number(meter.interval);
        let secs = secs.ok_or_else(|| format!("{}: is required for counts", meter.interval))?;
        let compile =
            |call| CompiledCall::compile(call, &binding).map_err(|problem| problem.to_string());
        let latencies = vendor
            .call(Purpose::Latencies, options, settings.format)
            .filter(|_| meter.latencies.is_some());
        Ok(Some(Self {
            meter,
            call: compile(call)?,
            latencies_call: latencies.map(compile).transpose()?,
            options: options.clone(),
            derived: derived.clone(),
            interval: Duration::from_secs(secs.max(1)),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            endpoints: (vendor.endpoints)(options).map_err(|it| it.to_string())?.len().max(1),
            channel: Channel::from_random(seed(&settings.name, 0)),
            guards: Mutex::new(Guards::new()),
            window: Mutex::default(),
            ended: AtomicI64::new(i64::MIN),
            has_ended: AtomicBool::new(false),
        }))
    }

    /// Whether the last window was sent or given up.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    /// Adds what a lane has delivered.
    fn add(&self, delivered: impl Iterator<Item = (Key, Count)>, latencies_ms: &[u32]) {
        let mut window = lock(&self.window);
        for (key, count) in delivered {
            let sum = window.counts.entry(key).or_default();
            sum.total += count.total;
            sum.denied += count.denied;
        }
        latencies_ms.iter().for_each(|&ms| window.latencies.add(ms));
    }

    /// Ends the window: its counts, ascending by guard, severity and type, and its latencies.
    fn take(&self) -> (Vec<Row>, Vec<u32>) {
        let Open { counts, latencies } = std::mem::take(&mut *lock(&self.window));
        let guards = lock(&self.guards);
        let row = |(key, count): (Key, Count)| {
            let guard = Arc::clone(&guards.names[key.guard as usize]);
            Row { guard, key, count }
        };
        let mut rows: Vec<Row> = counts.into_iter().map(row).collect();
        rows.sort_unstable_by(|a, b| {
            let order = |row: &Row| (row.key.severity, row.key.event_type.word());
            a.guard.cmp(&b.guard).then_with(|| order(a).cmp(&order(b)))
        });
        (rows, latencies.choice())
    }

    /// When a window ends: no two in one second, where the later would replace the earlier.
    fn end(&self) -> Time {
        let now = now();
        let last = self.ended.load(Ordering::Acquire);
        let end = match now.secs > last {
            true => now,
            false => Time { secs: last + 1, nanos: 0 },
        };
        self.ended.store(end.secs, Ordering::Release);
        end
    }

    /// Sends the counts of a window that has ended.
    async fn flush(
        &self,
        length: Duration,
        lag_events: u64,
        exporter: &Exporter,
        network: &Network,
    ) {
        let (rows, latencies_ms) = self.take();
        let whole: Vec<Tally<'_>> = rows.iter().map(Row::tally).collect();
        let end = self.end();
        let window = |part: usize, tallies: Range<usize>| Window {
            end,
            length,
            host: &self.host,
            tallies: &whole[tallies],
            whole: &whole,
            part,
            lag_events,
            latencies_ms: &latencies_ms,
        };
        let write = |write: WriteWindow, window: &Window<'_>| {
            let mut body = Vec::new();
            write(window, &self.options, &self.derived, &mut body);
            bytes::Bytes::from(body)
        };
        let mut parts = parts(&rows, self.meter.tallies_max);
        if parts.is_empty() && self.meter.tells_idle {
            parts.push(0..0);
        }
        for (part, tallies) in parts.into_iter().enumerate() {
            let window = window(part, tallies);
            let body = write(self.meter.write, &window);
            let events: u64 = window.tallies.iter().map(|tally| tally.total).sum();
            self.send(&self.call, body, events, exporter, network).await;
        }
        if let (Some(call), Some(latencies)) = (&self.latencies_call, self.meter.latencies) {
            let body = write(latencies, &window(0, 0..whole.len()));
            if !body.is_empty() {
                self.send(call, body, 0, exporter, network).await;
            }
        }
    }

    /// Sends one body; once more where that fails, then never again.
    async fn send(
        &self,
        call: &CompiledCall,
        body: bytes::Bytes,
        events: u64,
        exporter: &Exporter,
        network: &Network,
    ) {
        // Until it is with the destination it counts as lost: whoever stops waiting drops it.
        let mut lost = Lost { events, exporter };
        let mut endpoint = 0;
        for attempt in 0..ATTEMPTS {
            let via = Via { endpoint, group: 0, channel: self.channel };
            let request = call.carrying(via, body.clone());
            let timeout = request.timeout.min(ANSWER_WAIT_MAX);
            let verdict = match network.send(Request { timeout, ..request }).await {
                Ok(answer) => judge(
                    call.call,
                    &Response {
                        body_bytes: body.len(),
                        ..Response::without_events(&answer, &self.options)
                    },
                ),
                Err(error) => {
                    // Counts that may have arrived are told to nobody else: a second point of the
                    // same window replaces the first there, and adds to it anywhere else.
                    if error.applied == Applied::No {
                        endpoint = (endpoint + 1) % self.endpoints;
                    }
                    judge_transport(&error)
                }
            };
            if matches!(verdict.fate, Fate::Delivered | Fate::Pending(_)) {
                exporter.counters.counts_sent.add(1);
                lost.events = 0;
                return;
            }
            let (class, detail) = (verdict.reason.class, &verdict.reason.detail);
            exporter.note_error(format!("counts not taken: {class}: {detail}"), Instant::now());
            if attempt + 1 < ATTEMPTS {
                sleep(RETRY_WAIT).await;
            }
        }
        warn!(exporter = exporter.name(), events, "counts of a window dropped");
    }
}

/// Counts a window as lost when it is dropped before it was sent.
struct Lost<'a> {
    events: u64,
    exporter: &'a Exporter,
}

impl Drop for Lost<'_> {
    fn drop(&mut self) {
        self.exporter.counters.counts_lost.add(self.events);
    }
}

impl Noted {
    /// Notes an event that went into a batch.
    pub(crate) fn note(&mut self, event: &Event<'_>, exporter: &Exporter) {
        let Some(ledger) = &exporter.ledger else { return };
        let text = event.text(FieldId::Guard);
        let guard = match self.guards.get(text) {
            Some(&guard) => guard,
            None => self.name(text, ledger),
        };
        if guard == 0 {
            exporter.counters.guards_other.add(1);
        }
        let opened = event.opened;
        let key = Key { guard, severity: opened.severity, event_type: opened.event_type };
        let (denied, received_ns) = (!opened.allowed, event.frame.received_ns);
        self.events.insert(event.frame.offset, Note { key, denied, received_ns });
    }

    /// The number of a guard that this lane meets for the first time.
    fn name(&mut self, text: &[u8], ledger: &Ledger) -> u32 {
        if text.len() > GUARD_BYTES_MAX || self.guards.len() >= GUARDS_MAX {
            return 0;
        }
        let name: String = json::characters(text).collect();
        let number = lock(&ledger.guards).number(&name);
        self.guards.insert(text.into(), number);
        number
    }

    /// Counts what was delivered, and forgets what will not be.
    pub(crate) fn settle(&mut self, settled: &[Settled], dead: &[DeadLetter], ledger: &Ledger) {
        let now = now();
        let now_ns = u64::try_from(now.secs).unwrap_or(0).saturating_mul(1_000_000_000)
            + u64::from(now.nanos);
        for letter in dead {
            self.events.remove(&letter.item.span.from);
        }
        for Settled { span, fate, .. } in settled {
            while let Some((&at, &Note { key, denied, received_ns })) =
                self.events.range(span.from..span.to).next()
            {
                self.events.remove(&at);
                if *fate == Settle::Delivered {
                    let ms = now_ns.saturating_sub(received_ns) / 1_000_000;
                    self.latencies_ms.push(u32::try_from(ms).unwrap_or(u32::MAX));
                    let count = self.delivered.entry(key).or_default();
                    count.total += 1;
                    count.denied += u64::from(denied);
                }
            }
        }
        if !self.delivered.is_empty() {
            ledger.add(self.delivered.drain(), &self.latencies_ms);
            self.latencies_ms.clear();
        }
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self { steps: Box::new([0; LATENCY_STEPS]), total: 0 }
    }
}

impl Latencies {
    fn add(&mut self, ms: u32) {
        let count = &mut self.steps[step(ms)];
        *count = count.saturating_add(1);
        self.total += 1;
    }

    /// Every value, or an even choice of [`LATENCIES_MAX`] of them, ascending.
    fn choice(&self) -> Vec<u32> {
        let wanted = self.total.min(LATENCIES_MAX as u64);
        let mut chosen = Vec::with_capacity(usize::try_from(wanted).unwrap_or(0));
        let mut passed = 0;
        for (step, &count) in self.steps.iter().enumerate() {
            passed += u64::from(count);
            // The k-th of those that are told stands for the middle of its share.
            while (chosen.len() as u64) < wanted
                && (2 * chosen.len() as u64 + 1) * self.total < passed * 2 * wanted
            {
                chosen.push(step_ms(step));
            }
        }
        chosen
    }
}

/// The step of a latency: the value itself below 16, then 16 steps for each power of two.
fn step(ms: u32) -> usize {
    if ms < 16 {
        return ms as usize;
    }
    let power = ms.ilog2();
    let within = (ms >> (power - 4)) & 15;
    (power as usize - 3) * 16 + within as usize
}

/// The least latency of a step.
fn step_ms(step: usize) -> u32 {
    let (power, within) = (step / 16, u32::try_from(step % 16).expect("below 16"));
    match power {
        0 => within,
        power => (16 + within) << (power - 1),
    }
}

impl Guards {
    fn new() -> Self {
        let other: Arc<str> = Arc::from(OTHER);
        Self { numbers: HashMap::from([(Arc::clone(&other), 0)]), names: vec![other] }
    }

    /// The number of a guard; that of [`OTHER`] where there are too many.
    fn number(&mut self, name: &str) -> u32 {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        if self.names.len() > GUARDS_MAX {
            return 0;
        }
        let number = u32::try_from(self.names.len()).expect("the bound is far below");
        let name: Arc<str> = Arc::from(name);
        self.numbers.insert(Arc::clone(&name), number);
        self.names.push(name);
        number
    }
}

impl Row {
    fn tally(&self) -> Tally<'_> {
        Tally {
            guard: &self.guard,
            severity: self.key.severity,
            event_type: self.key.event_type.word(),
            total: self.count.total,
            denied: self.count.denied,
        }
    }
}

/// Ends windows until every lane of the exporter has ended, and the last one then.
pub(super) async fn run(exporter: Arc<Exporter>, reader: Reader, network: Network) {
    let Some(ledger) = &exporter.ledger else { return };
    let mut began = Instant::now();
    while exporter.stop.stage() < Stage::Abort {
        // Asked before the counts are taken: what lanes delivered before they ended is in them.
        let is_last = exporter.lanes_have_ended();
        let now = Instant::now();
        if !is_last && now < began + ledger.interval {
            tokio::select! {
                () = exporter.aside.notified() => {}
                () = sleep_until((began + ledger.interval).into()) => {}
            }
            continue;
        }
        let length = now.saturating_duration_since(began);
        began = now;
        let lag_events = match ledger.meter.tells_idle {
            true => exporter.balance(&reader).pending,
            false => 0,
        };
        tokio::select! {
            biased;
            () = aborted(&exporter) => {}
            () = ledger.flush(length, lag_events, &exporter, &network) => {}
        }
        if is_last {
            break;
        }
    }
    // What was counted since, where the engine ends at once.
    let (rest, _) = ledger.take();
    exporter.counters.counts_lost.add(rest.iter().map(|row| row.count.total).sum());
    ledger.has_ended.store(true, Ordering::Release);
}

/// Waits until the engine ends at once.
async fn aborted(exporter: &Exporter) {
    while exporter.stop.stage() < Stage::Abort {
        exporter.aside.notified().await;
    }
}

/// Cuts a window into bodies of bounded size, between guards.
fn parts(rows: &[Row], rows_max: usize) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut start = 0;
    for end in 1..=rows.len() {
        let is_whole = end == rows.len() || rows[end].guard != rows[end - 1].guard;
        if is_whole && (end - start >= rows_max || end == rows.len()) {
            parts.push(start..end);
            start = end;
        }
    }
    parts
}

fn now() -> Time {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time { secs: i64::try_from(now.as_secs()).unwrap_or(i64::MAX), nanos: now.subsec_nanos() }
}

/// Counts are added by single calls, so that a panic elsewhere leaves them whole.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The guard of events whose own is one too many.
const OTHER: &str = "other";
/// Guards told apart: a deployment has dozens, and a hostile producer must not fill the memory.
const GUARDS_MAX: usize = 10_000;
/// Bytes of a guard's name; a longer one is none.
const GUARD_BYTES_MAX: usize = 256;
/// Steps of latencies: 16 for each power of two of a u32, and 16 for what is below.
const LATENCY_STEPS: usize = 16 * 29;
/// Latencies of one window that are told at most.
const LATENCIES_MAX: usize = 1_000;
/// "A window that fails is sent once more, then dropped."
const ATTEMPTS: usize = 2;
/// Between the two.
const RETRY_WAIT: Duration = Duration::from_millis(500);
/// An answer that takes longer does not come.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guards_beyond_the_bound_are_other() {
        let mut guards = Guards::new();
        assert_eq!(guards.number(OTHER), 0);
        let numbers: Vec<u32> =
            (0..GUARDS_MAX + 5).map(|at| guards.number(&format!("g{at}"))).collect();
        assert!(numbers[..GUARDS_MAX].iter().all(|&number| number > 0));
        assert!(numbers[GUARDS_MAX..].iter().all(|&number| number == 0));
        assert_eq!(guards.number("g0"), 1, "known ones stay known");
        assert_eq!(guards.names.len(), GUARDS_MAX + 1);
    }

    #[test]
    fn windows_are_cut_between_guards() {
        const MOST: usize = 2_000;
        let row = |guard: &str| Row {
            guard: Arc::from(guard),
            key: Key { guard: 0, severity: Severity::Low, event_type: EventType::Other },
            count: Count::default(),
        };
        let mut rows: Vec<Row> = (0..MOST + 10).map(|_| row("a")).collect();
        rows.extend([row("b"), row("c")]);
        assert_eq!(parts(&rows, MOST), [0..MOST + 10, MOST + 10..MOST + 12]);
        assert!(parts(&rows[..0], MOST).is_empty());
        assert_eq!(parts(&rows[..1], MOST), std::slice::from_ref(&(0..1)));
    }
    #[test]
    fn latencies_keep_their_value_within_a_sixteenth() {
        for ms in (0..5_000).chain([100_000, 3_600_000, u32::MAX]) {
            let found = step_ms(step(ms));
            assert!(found <= ms && ms - found <= ms / 16, "{ms} became {found}");
        }
        assert_eq!(step(u32::MAX), LATENCY_STEPS - 1);
    }

    #[test]
    fn an_even_choice_of_latencies_is_told() {
        let mut few = Latencies::default();
        [7, 3, 3].into_iter().for_each(|ms| few.add(ms));
        assert_eq!(few.choice(), [3, 3, 7]);
        let mut many = Latencies::default();
        (0..10_000).for_each(|at| many.add(if at < 9_900 { 5 } else { 1_024 }));
        let chosen = many.choice();
        assert_eq!(chosen.len(), LATENCIES_MAX);
        assert_eq!(chosen.iter().filter(|&&ms| ms == 1_024).count(), 10);
        assert_eq!(Latencies::default().choice(), [0; 0]);
    }
}
