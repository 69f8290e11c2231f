//! The arguments.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{NonEmptyStringValueParser, PossibleValuesParser};
use clap::{Parser, Subcommand, ValueHint};
use clap_complete::Shell;
use shrike::control::ALERTS_MAX;
use shrike::event::Class;
use shrike::pipeline::Letter;

/// Ships security events from an append log to SIEMs.
///
/// Events are appended once to a log on this host. Every exporter reads that log at its own pace
/// and sends it on, so that a slow or dead destination stops nothing else.
///
/// Exit codes: 0 done; 1 something was lost, refused or damaged; 2 the arguments or the
/// configuration are wrong; 3 draining took too long and the rest is still in the log.
#[derive(Debug, Parser)]
#[command(name = "shrike", version, max_term_width = 100, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) shared: Shared,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Arguments of every command.
#[derive(Debug, clap::Args)]
pub(crate) struct Shared {
    /// Configuration file; else /etc/shrike/shrike.yaml where it exists, else an embedded default:
    /// standard input to standard output, log in ./shrike-data
    #[arg(long, short, global = true, help_heading = HEADING, value_name = "FILE")]
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Set one key of the configuration, over what the file says: a dotted path and a YAML value
    #[arg(long, global = true, help_heading = HEADING, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Directory of the event log, over what the configuration says
    #[arg(long, global = true, help_heading = HEADING, value_name = "DIR")]
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) log: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Read inputs, append to the log, and serve every exporter
    Run(Run),
    /// Report every mistake of the configuration, with its place
    Check {
        /// Ask every destination whether it would take events, and every server of indicators
        /// whether it can be read
        #[arg(long)]
        connect: bool,
        /// Add an exporter, as for `run`
        #[arg(long, value_name = "NAME[=URL]")]
        to: Vec<String>,
    },
    /// Look at the configuration
    #[command(subcommand)]
    Config(Config),
    /// Print what would be sent for events from a file or standard input
    Render {
        /// Name of the exporter
        exporter: String,
        /// File of events of any producer, one JSON object a line; else standard input
        #[arg(value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
        /// Add an exporter, as for `run`
        #[arg(long, value_name = "NAME[=URL]")]
        to: Vec<String>,
        /// Print the bytes of a body that is no text; else the JSON that says the same is shown
        #[arg(long)]
        raw: bool,
    },
    /// Print what an exporter would send of the log's own history, or send it elsewhere
    Test(Test),
    /// Append events to the log, and wait until they are durable
    Append {
        /// File of events, one JSON object a line; else standard input
        #[arg(value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
    },
    /// Read or examine the log
    #[command(subcommand)]
    Log(Log),
    /// See or move the position of an exporter
    #[command(subcommand)]
    Cursor(Cursor),
    /// See dead letters, send them again, or remove them
    #[command(subcommand)]
    Dlq(Dlq),
    /// Prove the account, or tell one event's fate
    #[command(subcommand)]
    Audit(Audit),
    /// List the kinds of destinations, or the keys of one
    Vendors {
        /// Name of the kind
        name: Option<String>,
    },
    /// Print the contract of an event, for programs that write or read them
    Schema {
        /// JSON Schema, or TypeScript types made from it
        format: SchemaFormat,
    },
    /// Have the running process read its configuration again
    ///
    /// It is checked as a whole; a wrong one changes nothing and ends with 2. Exporters that did
    /// not change keep their connections, changed ones go on where they were. Prints what changed,
    /// secrets masked.
    Reload {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Pause an exporter of the running process, let it go on, or have it send what it gathered
    #[command(subcommand)]
    Exporter(Exporter),
    /// See which incidents are open at a destination, acknowledge or resolve one
    #[command(subcommand)]
    Alerts(Alerts),
    /// Show the exporters of the running process
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print shell completions
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page
    Man {
        /// Write the pages of all commands to this directory instead
        #[arg(value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
}

/// How the contract of an event is written.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum SchemaFormat {
    /// JSON Schema, draft 2020-12
    Json,
    /// TypeScript types
    Typescript,
}

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// End once every input has ended and every event is settled
    #[arg(long)]
    pub(crate) drain: bool,
    /// Give up draining this long after the inputs have ended
    #[arg(long, value_name = "TIME", default_value = "300s", value_parser = span)]
    pub(crate) drain_timeout: Duration,
    /// Read this file once, or standard input for `-`, instead of the configured inputs
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) input: Vec<PathBuf>,
    /// Add an exporter, or point a configured one elsewhere: `elastic=https://host:9200`, `stdout`
    #[arg(long, value_name = "NAME[=URL]")]
    pub(crate) to: Vec<String>,
}

/// Arguments of `test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Test {
    /// Name of the exporter
    pub(crate) exporter: String,
    /// Begin at this time (RFC 3339), time ago (`1h`) or offset
    #[arg(long, value_name = "TIME|OFFSET")]
    pub(crate) from: String,
    /// Stop at this time, time ago or offset
    #[arg(long, value_name = "TIME|OFFSET")]
    pub(crate) until: Option<String>,
    /// Take this many events at most
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 10_000)]
    pub(crate) limit: u64,
    /// Send them to this endpoint, with the exporter's own settings; else nothing is sent
    #[arg(long, value_name = "URL")]
    pub(crate) to: Option<String>,
    /// Give up sending after this long
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = span)]
    pub(crate) timeout: Duration,
    /// Print counts only, not what would be sent
    #[arg(long)]
    pub(crate) quiet: bool,
    /// Print the bytes of a body that is no text; else the JSON that says the same is shown
    #[arg(long)]
    pub(crate) raw: bool,
}

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Print the JSON Schema of a configuration file, for editors and checks elsewhere
    Schema,
    /// Print what a start would use as YAML: defaults filled in, secrets masked
    Show {
        /// Add an exporter, as for `run`
        #[arg(long, value_name = "NAME[=URL]")]
        to: Vec<String>,
    },
}

/// What to do with the log.
#[derive(Debug, Subcommand)]
pub(crate) enum Log {
    /// Print events as lines
    Cat {
        /// Begin at this time (RFC 3339), time ago (`1h`) or offset
        #[arg(long, value_name = "TIME|OFFSET")]
        from: Option<String>,
        /// Stop at this time, time ago or offset
        #[arg(long, value_name = "TIME|OFFSET")]
        until: Option<String>,
        /// Print this many events at most
        #[arg(long, short = 'n', value_name = "COUNT")]
        limit: Option<u64>,
    },
    /// Print the log's bounds, sizes and counts
    Stat {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Read the whole log and check every record
    Verify,
    /// See lines and records that are no events, and look at them again
    #[command(subcommand)]
    Quarantine(Quarantine),
}

/// What to do with refused lines.
#[derive(Debug, Subcommand)]
pub(crate) enum Quarantine {
    /// Print refused lines, oldest first
    List {
        #[command(flatten)]
        lines: Lines,
        /// Print this many at most
        #[arg(long, short = 'n', value_name = "COUNT")]
        limit: Option<u64>,
        /// Print JSON, one line each, with all bytes that are kept
        #[arg(long)]
        json: bool,
    },
    /// Print one refused line as it came
    Show {
        /// Its id, as `list` says
        id: u64,
    },
    /// Look at refused lines again, append those that are events, and remove them here
    ///
    /// For lines that an older version or another configuration did not understand. A line of an
    /// input with a `format` is read as that; where it was the wrong one, pass what `show` prints
    /// to `shrike append`. Ends with 1 where lines stay.
    Retry {
        #[command(flatten)]
        lines: Lines,
        /// Only the line with this id
        #[arg(long, value_name = "ID")]
        id: Option<u64>,
        /// Print what would be looked at, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// Which refused lines.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Lines {
    /// Only those that came since this time (RFC 3339), or time ago (`1h`)
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only those of this class, such as `json_syntax`
    #[arg(long, value_name = "CLASS", value_parser = classes(), hide_possible_values = true)]
    pub(crate) class: Option<String>,
    /// Only those of this source: the path of a file, `append`, or `log` for records of the log
    #[arg(long, value_name = "SOURCE")]
    pub(crate) source: Option<String>,
}

/// What to do with a cursor.
#[derive(Debug, Subcommand)]
pub(crate) enum Cursor {
    /// Print where exporters are
    Show {
        /// Name of the exporter; else all
        exporter: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Begin a new pass over the log
    Rewind {
        /// Name of the exporter
        exporter: String,
        /// Where it begins: a time (RFC 3339), a time ago (`1h`), an offset, `earliest` or `latest`
        #[arg(long, value_name = "TIME|OFFSET")]
        to: String,
        /// Post or alert about each event that is in the log now, also about those that are older
        /// than `max_age`
        #[arg(long)]
        really_alert: bool,
    },
}

/// What to do with an exporter that runs.
#[derive(Debug, Subcommand)]
pub(crate) enum Exporter {
    /// Send nothing until it is resumed, or the process starts again
    ///
    /// `enabled: false` in the configuration lasts longer: a start does what is written there.
    /// Its position is kept. It does not hold the log back meanwhile: what retention removes is
    /// skipped, and told, when it goes on.
    Pause {
        /// Name of the exporter
        exporter: String,
    },
    /// Go on where it was
    Resume {
        /// Name of the exporter
        exporter: String,
    },
    /// Send what it has gathered now, however little
    Flush {
        /// Name of the exporter
        exporter: String,
    },
}

/// What to do with incidents.
#[derive(Debug, Subcommand)]
pub(crate) enum Alerts {
    /// Print the open incidents of an exporter, those that were seen last first
    List {
        /// Name of the exporter
        exporter: String,
        /// Only those whose keys begin so
        key: Option<String>,
        /// Print this many at most
        #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 100)]
        #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(ALERTS_MAX)))]
        limit: u32,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Tell the destination that somebody looks after an incident
    ///
    /// Waits for its answer. What it does not take is told, and not tried again: ask once more.
    /// Events of the incident are counted and sent as before.
    Ack {
        /// Name of the exporter
        exporter: String,
        /// Key of the incident, as `list` says
        key: String,
    },
    /// Resolve an incident; its next event opens it anew
    ///
    /// Waits for the destination's answer. What it does not take is told, and tried again.
    Resolve {
        /// Name of the exporter
        exporter: String,
        /// Key of the incident, as `list` says
        key: String,
    },
}

/// What to do with receipts.
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Check the chain of receipts, its sums, and the log's own counts
    ///
    /// Finds any line that was changed, removed or moved, and an end that was cut off, also where
    /// shrike has gone on since. Ends with 1 where something is wrong. What receipts say was
    /// settled is compared with the events that the log still has there.
    Verify {
        #[command(flatten)]
        within: Within,
        /// Receipts that were written before `audit.path` was another, instead of those of now; the
        /// ones that came after them say where they end
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
    },
    /// Print what was done: starts, rewinds, replays, reloads, and by whom
    Log {
        #[command(flatten)]
        within: Within,
        /// Print JSON, one line each
        #[arg(long)]
        json: bool,
    },
    /// Print what became of one event at every exporter
    Show {
        /// Id of the event, as its producer wrote it or as destinations have it
        #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
        event: String,
    },
}

/// A stretch of time.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Within {
    /// Only what was written since this time (RFC 3339), or time ago (`1h`)
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// Only what was written before this time, or time ago
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
}

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub(crate) enum Dlq {
    /// Print dead letters, oldest first
    List {
        #[command(flatten)]
        letters: Letters,
        /// Print this many at most
        #[arg(long, short = 'n', value_name = "COUNT")]
        limit: Option<u64>,
        /// Print JSON, one letter a line, with its event
        #[arg(long)]
        json: bool,
    },
    /// Print how many there are, why, and the last error
    Stats {
        /// Only of this exporter
        #[arg(value_name = "EXPORTER", conflicts_with = "exporter")]
        name: Option<String>,
        /// The same
        #[arg(long, value_name = "NAME")]
        exporter: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print one dead letter with its event
    Show {
        /// Id of the event, or offset of the letter
        id: String,
        /// Only of this exporter
        #[arg(long, value_name = "NAME")]
        exporter: Option<String>,
    },
    /// Send dead letters again, and remove those that arrive
    ///
    /// A running process does it, and goes on if this command is interrupted. Events keep their
    /// ids. Ends with 1 where letters stay.
    Replay {
        #[command(flatten)]
        letters: Letters,
        /// Only the letter of the event with this id, or at this offset of its store
        #[arg(long, value_name = "ID")]
        id: Option<String>,
        /// Events a second at most
        #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
        rate: Option<u32>,
        /// Post or alert about each event, also about those that are older than `max_age`
        #[arg(long)]
        really_alert: bool,
        /// Print what would be sent, and send nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove dead letters for ever
    Purge {
        #[command(flatten)]
        letters: Letters,
        /// Only the letter of the event with this id, or at this offset of its store
        #[arg(long, value_name = "ID")]
        id: Option<String>,
        /// Every letter, where nothing else narrows it
        #[arg(long)]
        all: bool,
        /// Print what would be removed, and remove nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// Which dead letters.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Letters {
    /// Only of this exporter
    #[arg(value_name = "EXPORTER", conflicts_with = "exporter")]
    pub(crate) name: Option<String>,
    /// The same
    #[arg(long, value_name = "NAME")]
    pub(crate) exporter: Option<String>,
    /// Only those given up since this time (RFC 3339), or time ago (`1h`)
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only those of this class, such as `rejected`
    #[arg(long, value_name = "CLASS", value_parser = letter_classes(), hide_possible_values = true)]
    pub(crate) class: Option<String>,
}

/// The classes that a line may be refused as; others are refused themselves, with the nearest.
fn classes() -> PossibleValuesParser {
    PossibleValuesParser::new(Class::ALL.iter().map(|class| class.name()))
}

/// The classes that an event may be given up as.
fn letter_classes() -> PossibleValuesParser {
    PossibleValuesParser::new(Letter::CLASSES)
}

/// A span of time such as `300s`.
fn span(text: &str) -> Result<Duration, String> {
    shrike::config::time::span(text).ok_or_else(|| "expected a time span such as 300s".to_owned())
}

/// Where the help shows the arguments of every command.
const HEADING: &str = "Configuration";
