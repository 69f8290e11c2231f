//! `loadgen scenario`.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValuesParser;
use loadgen::fake::duration;
use loadgen::say;
use loadgen::scenario::{self, Bench, Settings};

/// Run a whole scenario and print its figures beside their targets.
///
/// Starts fakes and shrike as processes of their own, feeds them, and holds the accounts against
/// what was appended. Exit code 1 when a target was missed, 2 when there are no figures.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Which; `list` says what each shows, `all` runs everything but demo and nemesis
    #[arg(value_name = "NAME", value_parser = names())]
    name: String,
    #[command(flatten)]
    options: Options,
}

/// Let everything go wrong at once, and say whether anything was lost.
///
/// A file grows while shrike is killed, stopped and frozen, its disk fills up or is read-only, its
/// wall clock is stepped, certificates change and three destinations refuse, reset, hang, throttle
/// and lie. At the end what was written is held against what the destinations have. A small disk
/// is mounted (as root), and what comes between shrike and its clock is compiled (by cc); where
/// either cannot be, that is said. Exit code 1 when something is wrong, 2 without figures.
#[derive(Debug, Args)]
pub(crate) struct Nemesis {
    #[command(flatten)]
    options: Options,
}

/// What all scenarios can be told.
#[derive(Debug, Args)]
struct Options {
    /// The shrike binary; the one beside this program when absent
    #[arg(long, value_name = "PATH")]
    shrike: Option<PathBuf>,
    /// Events, for scenarios that count
    #[arg(long, value_name = "N", default_value_t = 300_000)]
    events: u64,
    /// Length, for scenarios that last
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    time: Duration,
    /// Events a second, where the scenario does not fix them
    #[arg(long, value_name = "R")]
    rate: Option<f64>,
    /// Worker threads of shrike; 0 is one per core
    #[arg(long, value_name = "N", default_value_t = 0)]
    workers: u32,
    /// How often to kill
    #[arg(long, value_name = "N", default_value_t = 10)]
    kills: u32,
    /// The fakes judge only every N-th request in full
    #[arg(long, value_name = "N", default_value_t = 32)]
    judge_every: u64,
    /// Fakes of Elasticsearch, Splunk and webhooks that only read, in scenarios of cost: no
    /// accounts, and hardly any work beside shrike's
    #[arg(long)]
    swallow: bool,
    /// Seed of events and faults
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// One more setting for shrike; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Where to run, and leave everything behind; a temporary directory when absent
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

fn names() -> PossibleValuesParser {
    let names = scenario::ALL.iter().map(|scenario| scenario.name);
    PossibleValuesParser::new(names.chain(["all", "list"]))
}

impl Run {
    pub(crate) fn run(self) -> Result<ExitCode, Box<dyn Error>> {
        if self.name == "list" {
            for scenario in scenario::ALL {
                say(format_args!("{:<16} {}", scenario.name, scenario.about));
            }
            return Ok(ExitCode::SUCCESS);
        }
        self.options.run(|one| match self.name.as_str() {
            "all" => !["demo", "nemesis"].contains(&one),
            name => one == name,
        })
    }
}

impl Nemesis {
    pub(crate) fn run(self) -> Result<ExitCode, Box<dyn Error>> {
        self.options.run(|one| one == "nemesis")
    }
}

impl Options {
    /// Runs the scenarios whose names are wanted.
    fn run(&self, is_wanted: impl Fn(&str) -> bool) -> Result<ExitCode, Box<dyn Error>> {
        let settings = self.settings()?;
        let mut is_met = true;
        for scenario in scenario::ALL.iter().filter(|one| is_wanted(one.name)) {
            say(format_args!("{}: {}", scenario.name, scenario.about));
            // Kept until the scenario is done; with --dir nothing is removed.
            let (dir, _guard) = match &self.dir {
                Some(dir) => {
                    let dir = dir.join(scenario.name);
                    std::fs::create_dir_all(&dir)
                        .map_err(|error| format!("{}: {error}", dir.display()))?;
                    (dir.canonicalize()?, None)
                }
                None => {
                    let guard = tempfile::tempdir()?;
                    (guard.path().to_path_buf(), Some(guard))
                }
            };
            let rows = (scenario.run)(&Bench::new(settings.clone(), dir))?;
            is_met &= rows.iter().all(scenario::Row::is_met);
            say(scenario::print(&rows));
        }
        Ok(if is_met { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }

    fn settings(&self) -> Result<Settings, Box<dyn Error>> {
        let loadgen = std::env::current_exe()?;
        let shrike = self.shrike.clone().unwrap_or_else(|| loadgen.with_file_name("shrike"));
        if !shrike.is_file() {
            return Err(format!(
                "there is no shrike at {}; build it with `cargo build --release` or name it with \
                 --shrike",
                shrike.display()
            )
            .into());
        }
        Ok(Settings {
            shrike: shrike.canonicalize()?,
            loadgen,
            events: self.events,
            time: self.time,
            rate: self.rate,
            workers: self.workers,
            kills: self.kills,
            judge_every: self.judge_every,
            swallow: self.swallow,
            seed: self.seed,
            set: self.set.clone(),
        })
    }
}
