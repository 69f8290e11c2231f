//! An exporter in virtual time under seeded faults: settle once, checkpoint honestly, stay within
//! memory, tell every loss, and settle everything after healing.
//!
//! `SHRIKE_SEEDS=n` runs n schedules from the first on, `SHRIKE_FIRST=s` begins elsewhere, and
//! `SHRIKE_SEED=s` replays one.

mod destination;
mod mutation;
mod script;
mod world;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use mutation::Mutation;
use script::Script;
use world::{Tally, run};

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

#[test]
fn every_schedule_ends_well() {
    let first = number("SHRIKE_FIRST").unwrap_or(0);
    let seeds = match number("SHRIKE_SEED") {
        Some(seed) => seed..seed + 1,
        None => first..first + number("SHRIKE_SEEDS").unwrap_or(SEEDS),
    };
    let base = Instant::now();
    let (next, has_failed) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let work = || {
        let mut total = Tally::default();
        while !has_failed.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                break;
            }
            let script = Script::new(seed);
            match run(&script, base, None) {
                Ok(tally) => total.add(&tally),
                Err(problem) => {
                    has_failed.store(true, Ordering::Relaxed);
                    panic!("seed {seed} {problem}\nreplay with SHRIKE_SEED={seed}\n{script:#?}")
                }
            }
        }
        total
    };
    let mut total = Tally::default();
    thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            total.add(&worker.join().expect("what went wrong is said above"));
        }
    });
    let (took, schedules) = (base.elapsed(), seeds.end - seeds.start);
    println!("{schedules} schedules in {took:.1?}: {total:#?} (virtual time in seconds)");
}

/// One in some hundred thousands of schedules: confirmations that a restart, and answers that
/// overtake each other, make doubtful; events that break their requests alone, some of them where
/// order matters.
#[test]
fn schedules_that_once_ended_badly_end_well() {
    let base = Instant::now();
    for seed in [
        46_311,
        222_217,
        671_077,
        713_850,
        805_708,
        815_301,
        879_328,
        954_455,
        961_136,
        1_149_074,
        1_213_425,
        1_600_658,
        7_726_300,
        8_796_374,
        101_215_880,
        201_022_110,
    ] {
        let ended = run(&Script::new(seed), base, None);
        assert!(ended.is_ok(), "seed {seed} {ended:?}");
    }
}

/// The auditor is worth something: it notices when the engine is broken.
#[test]
fn every_mutation_is_noticed() {
    let base = Instant::now();
    let check = |mutation: Mutation| {
        let noticed = (0..SEEDS / 2).find_map(|seed| {
            let problem = run(&Script::new(seed), base, Some(mutation)).err()?;
            Some((seed, problem))
        });
        let (seed, problem) = noticed.unwrap_or_else(|| panic!("{mutation:?} goes unnoticed"));
        println!("{mutation:?}: seed {seed} {problem}");
    };
    let all = Mutation::ALL.chunks(Mutation::ALL.len().div_ceil(2));
    thread::scope(|scope| {
        let halves: Vec<_> =
            all.map(|half| scope.spawn(|| half.iter().copied().for_each(check))).collect();
        halves.into_iter().for_each(|half| half.join().expect("each is noticed"));
    });
}

/// Schedules of an ordinary test run: half a minute of one core without optimisation.
const SEEDS: u64 = 10_000;
