//! `loadgen append`.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use loadgen::fake::duration;
use loadgen::generate::Stream;
use loadgen::hint;
use loadgen::produce::{Job, LogSource, Progress, Rate, produce};
use shrike::log::{Log, LogOptions};

/// Append events to a log by shrike's library, and wait until they are durable.
///
/// This is how a program that embeds shrike writes. Nobody else may be writing the log.
#[derive(Debug, Args)]
pub(crate) struct Append {
    /// Directory of the log
    #[arg(long, value_name = "DIR")]
    log: PathBuf,
    /// How many events
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    events: u64,
    /// Which events; its low byte is the run that the ids carry
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// The sequence number of the first event
    #[arg(long, value_name = "N", default_value_t = 0)]
    first: u64,
    /// Events a second, in an open loop; as fast as they are taken when absent
    #[arg(long, value_name = "R")]
    rate: Option<f64>,
    /// Least time between two writes at a fixed rate
    #[arg(long, value_name = "TIME", default_value = "250us", value_parser = duration)]
    tick: Duration,
    /// Mark records as not opened yet, as a program does that did not check them
    #[arg(long)]
    unchecked: bool,
}

impl Append {
    pub(crate) fn run(self) -> Result<ExitCode, Box<dyn Error>> {
        let options = LogOptions { dir: self.log, ..LogOptions::default() };
        let (log, _) = Log::open(options)?;
        let mut into = LogSource::new(log.appender(), !self.unchecked);
        let mut stream = Stream::resume(self.seed, self.first);
        let rate = self.rate.map_or(Rate::Unlimited, Rate::PerSecond);
        let job = Job { events: self.events, rate, tick: self.tick };
        let begin = Instant::now();
        let events = produce(job, &mut stream, &mut into, &Progress::default())?;
        into.wait_durable()?;
        let seconds = begin.elapsed().as_secs_f64();
        hint(format_args!(
            "{events} events durable in {seconds:.3} s, {:.0} a second",
            events as f64 / seconds
        ));
        log.close()?;
        Ok(ExitCode::SUCCESS)
    }
}
