//! `loadgen live`.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use loadgen::say;
use loadgen::scenario::{self, Bench, Settings, SplunkSearch};

/// Send events through the exporters of a configuration to real destinations, and count them there.
///
/// Asks each destination whether it takes events (`shrike check --connect`), appends generated
/// events to a log of its own, sends them with `shrike run --drain`, which ends with 0 only if all
/// were delivered to every destination, and counts them in Elasticsearch, and in Splunk where its
/// management port is given. Exit code 1 when a count is wrong, 2 when it did not come so far.
///
/// `loadgen/live/` has a configuration, and a compose file that starts Elasticsearch and Splunk.
#[derive(Debug, Args)]
pub(crate) struct Live {
    /// A configuration of shrike; its inputs, log and state directory are left alone
    #[arg(value_name = "CONFIG")]
    config: PathBuf,
    /// The shrike binary; the one beside this program when absent
    #[arg(long, value_name = "PATH")]
    shrike: Option<PathBuf>,
    /// Events
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    events: u64,
    /// Splunk's management port, where events are searched
    #[arg(long, value_name = "URL", requires = "splunk_user")]
    splunk_search: Option<String>,
    /// Who searches; the password comes from the file or variable that this names: `user:@FILE`, or
    /// `user:$VARIABLE`
    #[arg(long, value_name = "USER:PASSWORD")]
    splunk_user: Option<String>,
}

impl Live {
    pub(crate) fn run(self) -> Result<ExitCode, Box<dyn Error>> {
        let loadgen = std::env::current_exe()?;
        let shrike = self.shrike.unwrap_or_else(|| loadgen.with_file_name("shrike"));
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let settings = Settings {
            shrike: shrike
                .canonicalize()
                .map_err(|error| format!("{}: {error}", shrike.display()))?,
            loadgen,
            events: self.events,
            time: Duration::ZERO,
            rate: None,
            workers: 0,
            kills: 0,
            judge_every: 1,
            swallow: false,
            // Other events each time: those of an earlier run are there already.
            seed: u64::from(now.subsec_nanos()),
            set: Vec::new(),
        };
        let search = match (self.splunk_search, self.splunk_user) {
            (Some(url), Some(user)) => Some(SplunkSearch { url, user: with_password(&user)? }),
            _ => None,
        };
        let dir = tempfile::tempdir()?;
        let bench = Bench::new(settings, dir.path().to_path_buf());
        let rows = scenario::live(&bench, &self.config, search.as_ref())?;
        say(scenario::print(&rows));
        let is_met = rows.iter().all(scenario::Row::is_met);
        Ok(if is_met { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }
}

/// `user:password` with the password read from where it is kept; other processes see arguments.
fn with_password(user: &str) -> Result<String, Box<dyn Error>> {
    let (name, password) = user.split_once(':').ok_or("expected user:password")?;
    let password = match (password.strip_prefix('@'), password.strip_prefix('$')) {
        (Some(file), _) => std::fs::read_to_string(file)?.trim_end().to_owned(),
        (_, Some(variable)) => std::env::var(variable)?,
        _ => password.to_owned(),
    };
    Ok(format!("{name}:{password}"))
}
