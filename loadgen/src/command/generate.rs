//! `loadgen generate`.

use std::error::Error;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use loadgen::fake::duration;
use loadgen::generate::Stream;
use loadgen::produce::{Job, Progress, Rate, produce};

/// Write canonical events as JSON lines.
///
/// The same seed gives the same events; only ids and times differ from run to run. Ids carry the
/// sequence number and the time at which the event was due, so an account needs nothing else.
#[derive(Debug, Args)]
pub(crate) struct Generate {
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
    /// Where to write; standard output when absent
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

impl Generate {
    pub(crate) fn run(self) -> Result<ExitCode, Box<dyn Error>> {
        let mut stream = Stream::resume(self.seed, self.first);
        let rate = self.rate.map_or(Rate::Unlimited, Rate::PerSecond);
        let job = Job { events: self.events, rate, tick: self.tick };
        let mut into: Box<dyn Write> = match &self.to {
            Some(path) => Box::new(
                File::create(path).map_err(|error| format!("{}: {error}", path.display()))?,
            ),
            None => Box::new(io::stdout().lock()),
        };
        match produce(job, &mut stream, &mut into, &Progress::default()) {
            Ok(_) => Ok(ExitCode::SUCCESS),
            // Whoever reads had enough, as `head` has.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
            Err(error) => Err(error.into()),
        }
    }
}
