//! Kills at random moments under load.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use crate::destination::{Destination, Manner};
use crate::event::id;
use crate::place::{BATCH_EVENTS, CONCURRENCY, Place, READY, events, let_run};
use crate::wait::{PATIENCE, comes_true};

#[test]
fn what_was_acknowledged_survives_every_kill() {
    let mut chance = seeded();
    let (left, right) = (Destination::start(Manner::Accept), Destination::start(Manner::Accept));
    let both = [("left", &left), ("right", &right)];
    let place = Place::new(&both, "");
    let producers = [Producer::new(&place, 0), Producer::new(&place, 1 << 28)];
    let mut windows = [0; 2];
    thread::scope(|scope| {
        for producer in &producers {
            scope.spawn(|| producer.run());
        }
        // Also when this panics: a scope waits for its threads.
        let _end = EndOnDrop(&producers);
        for _ in 0..kills() / 2 {
            let shrike = place.run(&[]);
            if chance.u8(..4) == 0 {
                // While it opens the log, or resumes what the kill before left.
                let_run(&mut chance, 0..150);
            } else {
                shrike.wait_for(READY);
                producers.iter().for_each(Producer::resume);
                let_run(&mut chance, 20..400);
            }
            producers.iter().for_each(Producer::pause);
            shrike.kill();
            // What an append had under way when it happened is not acknowledged.
            producers.iter().for_each(|producer| drop(producer.quiet()));
            for ((name, destination), window) in both.iter().zip(&mut windows) {
                *window += unsettled(&place, name, destination);
            }
        }
    });
    let last = place.drained().with(0);
    let acknowledged: BTreeSet<u32> =
        producers.iter().flat_map(|producer| producer.quiet().acknowledged.clone()).collect();
    assert!(!acknowledged.is_empty(), "no append was acknowledged between the kills");
    for ((name, destination), window) in both.iter().zip(windows) {
        let accepted = destination.accepted();
        let missing = acknowledged.iter().filter(|&&number| !accepted.contains_key(&id(number)));
        assert_eq!(missing.count(), 0, "{name} lacks acknowledged events");
        let account = last.account(name);
        assert_eq!(account.in_range, place.events_in_log(), "{name}");
        assert_eq!(account.counts.delivered, account.in_range, "{name}");
        assert_eq!(accepted.len() as u64, account.in_range, "{name}");
        assert_repeats(name, destination, window);
    }
}

#[test]
fn a_pipe_goes_on_behind_the_last_event_in_the_log_after_every_kill() {
    let mut chance = seeded();
    let (left, right) = (Destination::start(Manner::Accept), Destination::start(Manner::Accept));
    let both = [("left", &left), ("right", &right)];
    let place = Place::new(&both, "");
    let mut windows = [0; 2];
    let mut next = 0;
    let rounds = kills().div_ceil(2);
    for _ in 0..rounds {
        let mut command = place.command(&["run", "--input", "-"]);
        command.stdin(Stdio::piped());
        let mut shrike = crate::place::Shrike::start(command);
        let mut stdin = shrike.stdin();
        let writer = thread::spawn(move || {
            // The kill closes the pipe; until then it stays open, so that nothing else ends.
            let _killed = stdin.write_all(&events(next..next + ROUND_EVENTS));
            stdin
        });
        if chance.u8(..4) > 0 {
            shrike.wait_for(READY);
        }
        let_run(&mut chance, 20..400);
        shrike.kill();
        drop(writer.join().expect("a closed pipe is no panic"));
        for ((name, destination), window) in both.iter().zip(&mut windows) {
            *window += unsettled(&place, name, destination);
        }
        next = u32::try_from(place.events_in_log()).expect("few");
    }
    let mut command = place.command(&["run", "--drain", "--input", "-"]);
    command.stdin(Stdio::piped());
    let mut shrike = crate::place::Shrike::start(command);
    let mut stdin = shrike.stdin();
    stdin.write_all(&events(next..next + ROUND_EVENTS)).expect("it reads to the end");
    drop(stdin);
    let last = shrike.ended(PATIENCE).with(0);
    let sent = next + ROUND_EVENTS;
    assert_eq!(place.ids_in_log(), (0..sent).map(id).collect::<Vec<_>>(), "once, in order");
    for ((name, destination), window) in both.iter().zip(windows) {
        let account = last.account(name);
        assert_eq!(account.in_range, u64::from(sent), "{name}");
        assert_eq!(account.counts.delivered, account.in_range, "{name}");
        assert_eq!(destination.accepted().len(), sent as usize, "{name}");
        assert_repeats(name, destination, window);
    }
}

#[test]
fn a_kill_repeats_at_most_what_was_in_flight() {
    let one = Destination::start(Manner::Swallow);
    let place = Place::new(&[("one", &one)], "");
    place.fill(0..2_000);
    let shrike = place.run(&[]);
    shrike.wait_for(READY);
    // No answer ever comes, so that as much as may be is under way, and all of it arrived.
    assert!(comes_true(|| one.accepted().len() as u64 >= CONCURRENCY * BATCH_EVENTS));
    shrike.kill();
    one.settle();
    let under_way = one.accepted().len() as u64;
    assert!(under_way <= CONCURRENCY * BATCH_EVENTS, "{under_way} events were in flight");
    one.turn(Manner::Accept);
    let account = place.drained().with(0).account("one");
    assert_eq!((account.in_range, account.counts.delivered), (2_000, 2_000));
    assert_eq!(repeats(&one), under_way);
    assert_eq!(account.duplicates, under_way, "the destination tells, and they are counted");
}

/// Appends through the control socket, chunk by chunk, with ids that come once.
struct Producer<'a> {
    place: &'a Place,
    progress: Mutex<Progress>,
    is_paused: AtomicBool,
    has_ended: AtomicBool,
}

struct Progress {
    next: u32,
    acknowledged: Vec<u32>,
}

impl<'a> Producer<'a> {
    fn new(place: &'a Place, next: u32) -> Self {
        Self {
            place,
            progress: Mutex::new(Progress { next, acknowledged: Vec::new() }),
            is_paused: AtomicBool::new(true),
            has_ended: AtomicBool::new(false),
        }
    }

    fn run(&self) {
        while !self.has_ended.load(Ordering::Acquire) {
            let mut progress = self.quiet();
            if self.is_paused.load(Ordering::Acquire) {
                drop(progress);
                thread::park_timeout(Duration::from_millis(2));
                continue;
            }
            let chunk = progress.next..progress.next + CHUNK_EVENTS;
            // What was not acknowledged may be in the log or not; it is not sent again, so that
            // whatever arrives twice was sent twice by the process.
            progress.next = chunk.end;
            if self.place.append(chunk.clone()).status.success() {
                progress.acknowledged.extend(chunk);
            }
        }
    }

    fn resume(&self) {
        self.is_paused.store(false, Ordering::Release);
    }

    /// Starts no further append.
    fn pause(&self) {
        self.is_paused.store(true, Ordering::Release);
    }

    /// Waits for the end of the append that runs.
    fn quiet(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().expect("no producer panics")
    }
}

struct EndOnDrop<'a, 'b>(&'a [Producer<'b>]);

impl Drop for EndOnDrop<'_, '_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|producer| producer.has_ended.store(true, Ordering::Release));
    }
}

/// Events that a destination has and the checkpoint of a killed process does not know: all that
/// its next run may send again.
fn unsettled(place: &Place, exporter: &str, destination: &Destination) -> u64 {
    destination.settle();
    let accepted = destination.accepted().len() as u64;
    let settled = place.checkpoint(exporter).counts.total();
    assert!(settled <= accepted, "{exporter}: {settled} settled, {accepted} arrived");
    accepted - settled
}

fn assert_repeats(name: &str, destination: &Destination, window: u64) {
    let repeats = repeats(destination);
    eprintln!("{name}: {} events, {repeats} repeats of {window} unsettled", {
        destination.accepted().len()
    });
    assert!(repeats <= window, "{name}: {repeats} repeats, {window} were not settled at the kills");
}

/// How often events came that were there already.
fn repeats(destination: &Destination) -> u64 {
    destination.accepted().values().map(|&times| u64::from(times) - 1).sum()
}

/// Kills over both tests; `SHRIKE_KILLS=100` for the hundred of the promise.
pub(crate) fn kills() -> u32 {
    let wanted = std::env::var("SHRIKE_KILLS").ok().and_then(|text| text.parse().ok());
    wanted.unwrap_or(KILLS)
}

/// The moments of this run; `SHRIKE_SEED` repeats them.
pub(crate) fn seeded() -> fastrand::Rng {
    let wanted = std::env::var("SHRIKE_SEED").ok().and_then(|text| text.parse().ok());
    let seed = wanted.unwrap_or_else(|| fastrand::Rng::new().u64(..));
    eprintln!("SHRIKE_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}

/// Enough to meet opening, reading, sending and saving, few enough for every test run.
const KILLS: u32 = 12;
/// Events of one append.
const CHUNK_EVENTS: u32 = 100;
/// Events that are offered to each run of a pipe.
const ROUND_EVENTS: u32 = 1_500;
