//! Delivery in virtual time under seeded faults: settle once, checkpoint honestly, stay within
//! memory, settle everything after healing.
//!
//! `SHRIKE_SEEDS=n` runs n schedules from the first on; `SHRIKE_SEED=s` replays one.

mod destination;
mod script;
mod world;

use std::time::Instant;

use script::Script;
use world::{Mutation, Tally, run};

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

#[test]
fn every_schedule_ends_well() {
    let seeds = match number("SHRIKE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SHRIKE_SEEDS").unwrap_or(SEEDS),
    };
    let base = Instant::now();
    let mut total = Tally::default();
    for seed in seeds.clone() {
        let script = Script::new(seed);
        match run(&script, base, None) {
            Ok(tally) => {
                total.steps += tally.steps;
                total.requests += tally.requests;
                total.crashes += tally.crashes;
                total.dead += tally.dead;
                total.innocent += tally.innocent;
                total.copies += tally.copies;
                total.virtual_ns += tally.virtual_ns / 1_000_000_000;
            }
            Err(problem) => {
                panic!("seed {seed} {problem}\nreplay with SHRIKE_SEED={seed}\n{script:#?}")
            }
        }
    }
    let took = base.elapsed();
    println!(
        "{} schedules in {took:.1?}: {total:?} (virtual time in seconds)",
        seeds.end - seeds.start
    );
}

/// The auditor is worth something: it notices when the engine is broken.
#[test]
fn every_mutation_is_noticed() {
    let base = Instant::now();
    for mutation in [
        Mutation::SettleEarly,
        Mutation::ForgetRetry,
        Mutation::CheckpointTooFar,
        Mutation::SettleTwice,
        Mutation::IgnoreDurable,
        Mutation::BurnInOutage,
        Mutation::LoseTimeout,
        Mutation::BelieveAcks,
        Mutation::IgnorePartial,
        Mutation::DropDeadLetters,
    ] {
        let noticed = (0..SEEDS).find_map(|seed| {
            let problem = run(&Script::new(seed), base, Some(mutation)).err()?;
            Some((seed, problem))
        });
        let (seed, problem) = noticed.unwrap_or_else(|| panic!("{mutation:?} goes unnoticed"));
        println!("{mutation:?}: seed {seed} {problem}");
    }
}

/// Schedules of an ordinary test run.
const SEEDS: u64 = 300;
