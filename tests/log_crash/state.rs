//! What an engine keeps - log, checkpoints, dead letters, receipts - on a disk that loses what was
//! not synced: one seeded schedule after another, each crashed at any write, opened again and held
//! against what the world outside was told.
//!
//! `SHRIKE_SEEDS=n` runs n schedules from the first on, `SHRIKE_FIRST=s` begins elsewhere, and
//! `SHRIKE_SEED=s` repeats one, as far as the threads of a log do the same again.

mod audit;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Instant;

use world::{Tally, World};

use crate::log_disk::{Lie, Random};

/// A way to break what the engine relies on, to see whether the auditor notices.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mutation {
    /// The disk says that it has synced these, and has not.
    Disk(#[allow(dead_code, reason = "told by Debug")] &'static str, Lie),
    /// Events are settled that were not sent.
    SettleUnsent,
    /// Dead letters are settled and not stored.
    ForgetLetters,
    /// The log is let go before checkpoints are saved.
    RetainUnsaved,
    /// What the destination was not told of lost events is taken for told.
    ForgetGaps,
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

#[test]
fn whatever_a_crash_leaves_of_the_state_is_gone_on_with() {
    let first = number("SHRIKE_FIRST").unwrap_or(0);
    let seeds = match number("SHRIKE_SEED") {
        Some(seed) => seed..seed + 1,
        None => first..first + number("SHRIKE_SEEDS").unwrap_or(SEEDS),
    };
    let (began, schedules) = (Instant::now(), seeds.end - seeds.start);
    let mut total = Tally::default();
    for seed in seeds {
        match run(seed, None) {
            Ok(tally) => total.add(&tally),
            Err(problem) => panic!("seed {seed}: {problem}\nrepeat with SHRIKE_SEED={seed}"),
        }
    }
    println!("{schedules} schedules in {:.1?}: {total:#?}", began.elapsed());
}

#[test]
fn every_broken_promise_is_noticed() {
    for mutation in MUTATIONS {
        let noticed = (0..SEEDS_BROKEN).find_map(|seed| {
            // The engine's own assertions notice some of it first.
            let ended = catch_unwind(AssertUnwindSafe(|| run(seed, Some(mutation))));
            let problem = ended.unwrap_or_else(|_| Err("the engine's assertion".to_owned())).err();
            Some((seed, problem?))
        });
        let (seed, problem) = noticed.unwrap_or_else(|| panic!("{mutation:?} goes unnoticed"));
        println!("{mutation:?}: seed {seed}: {problem}");
    }
}

/// Runs a schedule through its crashes to its end.
fn run(seed: u64, mutation: Option<Mutation>) -> Result<Tally, String> {
    let random = Random::new(seed);
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    World::new(dir.path(), random, mutation).live()
}

fn is(path: &Path, name: &str) -> bool {
    path == Path::new(name)
}

fn below(path: &Path, dir: &str, ending: &str) -> bool {
    path.starts_with(dir) && path.extension().is_some_and(|it| it == ending)
}

const MUTATIONS: [Mutation; 12] = [
    Mutation::Disk("the log's segments", |path| below(path, "log", "log")),
    Mutation::Disk("the names of segments", |path| is(path, "log")),
    Mutation::Disk("the log's control page", |path| is(path, "log/control")),
    Mutation::Disk("the bytes of checkpoints", |path| below(path, "log/cursors", "draft")),
    Mutation::Disk("the names of checkpoints", |path| is(path, "log/cursors")),
    Mutation::Disk("receipts", |path| is(path, "audit.jsonl")),
    Mutation::Disk("the names of receipts", |path| is(path, "")),
    Mutation::Disk("dead letters", |path| below(path, "dlq", "log")),
    Mutation::SettleUnsent,
    Mutation::ForgetLetters,
    Mutation::RetainUnsaved,
    Mutation::ForgetGaps,
];

/// Schedules of an ordinary test run.
const SEEDS: u64 = 12;
/// Within so many a broken promise has to be noticed; how many it takes depends on threads too.
const SEEDS_BROKEN: u64 = 1_000;
