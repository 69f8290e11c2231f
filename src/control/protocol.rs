//! What goes over the socket: requests and answers, one JSON line each.

use serde::{Deserialize, Serialize};

use super::IntelStatus;
use crate::config::time;
use crate::intake::{Retried, WantedLines};
use crate::pipeline::{AlertChange, AlertList, Progress, Wanted};

/// A request with the version of its sender.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    pub(super) v: u32,
    pub(super) request: Request,
}

/// An answer with the version of its sender.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answered {
    pub(super) v: u32,
    #[serde(flatten)]
    pub(super) answer: Outcome,
}

/// Done, or why not.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    Ok(Answer),
    Error(String),
}

/// What a command asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// How everything is.
    Status,
    /// Where an exporter is; `None` is all of them.
    Cursors {
        /// Its name.
        exporter: Option<String>,
    },
    /// Begin a new pass.
    Rewind {
        /// The exporter's name.
        exporter: String,
        /// Where the pass begins.
        to: Target,
        /// Whether each event up to the head is told of by itself, however old it is.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        really_alert: bool,
    },
    /// Send dead letters again; answered at once.
    Replay {
        /// The exporter's name.
        exporter: String,
        /// Which ones.
        wanted: Wanted,
        /// Events a second at most.
        rate: Option<u32>,
    },
    /// How far the last replay of an exporter is.
    Replayed {
        /// The exporter's name.
        exporter: String,
    },
    /// Remove dead letters for ever.
    Purge {
        /// The exporter's name.
        exporter: String,
        /// Which ones.
        wanted: Wanted,
    },
    /// Read the configuration again.
    Reload,
    /// The configuration that is in effect.
    Config,
    /// Change how an exporter runs.
    Change {
        /// The exporter's name.
        exporter: String,
        /// What to do.
        change: Change,
    },
    /// Which incidents of an exporter are open.
    Alerts {
        /// The exporter's name.
        exporter: String,
        /// What their keys begin with.
        prefix: String,
        /// How many at most; more than [`ALERTS_MAX`] are not told.
        limit: u32,
    },
    /// Ask the destination for a change of an incident; answered when it has answered.
    Alert {
        /// The exporter's name.
        exporter: String,
        /// The key of the incident.
        key: String,
        /// What to ask for.
        change: AlertChange,
    },
    /// Append the lines that follow; answered when they are durable.
    Append {
        /// How many bytes follow, at most [`APPEND_BYTES_MAX`].
        bytes: u32,
    },
    /// Look at refused lines again, and append those that are events.
    Retry {
        /// Which ones.
        wanted: WantedLines,
    },
}

/// A change of how an exporter runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It sends nothing until it is resumed, or the process starts again.
    Pause,
    /// It goes on where it was.
    Resume,
    /// What it has gathered is sent now.
    Flush,
}

/// A new pass over the log, as an operator asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewind {
    /// Where it begins.
    pub to: Target,
    /// Whether each event up to the head is told of by itself, however old it is.
    pub really_alert: bool,
}

/// A position in the log, as an operator gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The oldest event.
    Earliest,
    /// The next event.
    Latest,
    /// A byte position.
    Offset(u64),
    /// The first event received at or after this time, nanoseconds since 1970.
    Time(u64),
}

impl Target {
    /// Reads `earliest`, `latest`, an offset, an RFC 3339 time, or a span before `now` (nanoseconds
    /// since 1970) such as `1h`.
    ///
    /// # Errors
    /// A sentence, when it is none of them.
    pub fn parse(text: &str, now: u64) -> Result<Self, String> {
        match text {
            "earliest" => return Ok(Self::Earliest),
            "latest" => return Ok(Self::Latest),
            _ => {}
        }
        if let Ok(offset) = text.parse() {
            return Ok(Self::Offset(offset));
        }
        time::parse_or_ago(text, now).map(Self::Time).ok_or_else(|| {
            format!(
                "`{text}` is no position; expected earliest, latest, an offset, a time from 1970 \
                 to 2554 such as 2026-01-31T12:00:00Z, or a span before now such as 1h"
            )
        })
    }
}

/// What the process answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To [`Request::Status`].
    Status(Status),
    /// To [`Request::Cursors`] and [`Request::Rewind`].
    Cursors(Vec<CursorStatus>),
    /// To [`Request::Replay`] and [`Request::Replayed`].
    Replay(Progress),
    /// To [`Request::Purge`]: how many.
    Purged(u64),
    /// To [`Request::Reload`].
    Reloaded(ReloadReport),
    /// To [`Request::Config`]: YAML, secrets masked.
    Config(String),
    /// To [`Request::Change`]: how the exporter is now, in a word.
    Changed(String),
    /// To [`Request::Alerts`].
    Alerts(AlertList),
    /// To [`Request::Alert`]: how many incidents have this key.
    Alert(u64),
    /// To [`Request::Append`].
    Appended(Appended),
    /// To [`Request::Retry`].
    Retried(Retried),
}

/// How a running process is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of shrike.
    pub version: String,
    /// The process.
    pub pid: u32,
    /// Since when it runs, nanoseconds since 1970.
    pub started: u64,
    /// The worst state of its exporters.
    #[serde(default)]
    pub state: String,
    /// The event log.
    pub log: LogStatus,
    /// Where events come from.
    pub inputs: Vec<InputStatus>,
    /// Where they go.
    pub exporters: Vec<ExporterStatus>,
    /// Threat intelligence, where it is switched on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threat_intel: Option<Box<IntelStatus>>,
    /// What an operator should know although it is permitted.
    pub notes: Vec<String>,
}

/// How the event log is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LogStatus {
    /// Its directory.
    pub dir: String,
    /// How it is written: `io_uring` or `syscalls`.
    pub io: String,
    /// The oldest offset that is kept.
    pub tail: u64,
    /// Everything below is written.
    pub written: u64,
    /// Everything below is durable.
    pub durable: u64,
    /// Bytes on disk.
    pub bytes: u64,
}

/// How an input is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InputStatus {
    /// What it reads: a path or `stdin`.
    pub name: String,
    /// Records that were appended.
    pub appended: u64,
    /// Records that were repeats.
    pub duplicates: u64,
    /// Records that went to quarantine.
    pub rejected: u64,
    /// Times that a source was cut off where it may have held more than was read.
    #[serde(default)]
    pub gaps: u64,
    /// Whether it has come to its end.
    pub ended: bool,
    /// Whether that was before its time: nothing is read until a reload or a restart.
    #[serde(default)]
    pub failed: bool,
}

/// How an exporter is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExporterStatus {
    /// Its name.
    pub name: String,
    /// Its kind of destination.
    pub vendor: String,
    /// In a word: `starting`, `healthy`, `degraded`, `throttled`, `auth_failed`, `config_failed`,
    /// `circuit_open`, `paused`, `stopped`.
    pub state: String,
    /// Which pass over the log this is.
    pub pass: u32,
    /// Events that are not settled.
    pub pending: u64,
    /// Bytes between its position and the log's end.
    pub lag_bytes: u64,
    /// Age of its oldest unsettled event in seconds.
    pub lag_seconds: f64,
    /// Events that the destination has.
    pub delivered: u64,
    /// Events in the dead-letter store.
    pub dead_lettered: u64,
    /// Events deliberately not sent.
    pub filtered: u64,
    /// Events given up by retention.
    pub skipped: u64,
    /// Records that could not be opened.
    pub invalid: u64,
    /// Events sent again after a failure.
    pub retried: u64,
    /// Requests that were sent.
    pub requests: u64,
    /// Delivered events whose counts the destination did not take.
    #[serde(default)]
    pub counts_lost: u64,
    /// Events of an age that the destination treats in its own way.
    #[serde(default)]
    pub untimely: u64,
    /// Delivered events of which nobody told in time whether they were processed.
    #[serde(default)]
    pub unverified: u64,
    /// Documents that were looked at (`schema.validate`).
    #[serde(default)]
    pub schema_checked: u64,
    /// Those of them that lack what their schema asks for.
    #[serde(default)]
    pub schema_invalid: u64,
    /// Dead letters in the store, earlier passes included.
    #[serde(default)]
    pub letters: u64,
    /// Gaps whose record is still to be sent.
    #[serde(default)]
    pub gaps: u64,
    /// Pending events that wait while others go on: their route or they alone are refused.
    #[serde(default)]
    pub parked: u64,
    /// How the destination said it is; none where nobody asked.
    #[serde(default)]
    pub health: Option<Health>,
    /// What went wrong last.
    pub last_error: Option<LastError>,
    /// What it did as a response hook, if it is one.
    #[serde(default)]
    pub hook: Option<HookStatus>,
    /// What it left out as repeats and which incidents it keeps, if it does.
    #[serde(default)]
    pub alerts: Option<AlertStatus>,
    /// Which conversations it keeps, if it does.
    #[serde(default)]
    pub threads: Option<ThreadStatus>,
    /// What it told of in digests, if it makes some.
    #[serde(default)]
    pub digests: Option<DigestStatus>,
}

/// Conversations of an exporter; all but `known` of this run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadStatus {
    /// Conversations that are known.
    pub known: u64,
    /// Conversations that were begun.
    pub begun: u64,
    /// Documents that answered to the first of one.
    pub replies: u64,
    /// Conversations that the destination knew no more.
    pub lost: u64,
    /// Conversations that made room for newer ones.
    pub forgotten: u64,
}

/// What an exporter told of in digests in this run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestStatus {
    /// Digests that were delivered.
    pub sent: u64,
    /// Events that were delivered in them.
    pub events: u64,
    /// Events that they told of since those were too old; they count as filtered.
    pub stale: u64,
}

/// Incidents of an exporter; all but `open` of this run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertStatus {
    /// Whether the destination has incidents; else events are only left out.
    #[serde(default)]
    pub has_incidents: bool,
    /// Incidents that are open.
    pub open: u64,
    /// Events that were left out as repeats; they count as filtered.
    pub deduplicated: u64,
    /// Incidents that were resolved.
    pub resolved: u64,
    /// Requests to resolve that failed.
    pub resolve_failed: u64,
    /// Incidents that were let go without being resolved.
    pub forgotten: u64,
    /// Incidents that were acknowledged.
    #[serde(default)]
    pub acknowledged: u64,
    /// Requests to acknowledge that failed.
    #[serde(default)]
    pub acknowledge_failed: u64,
}

/// What a response hook did in this run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookStatus {
    /// Whether nothing is sent.
    pub dry_run: bool,
    /// Actions that were asked for.
    pub fired: u64,
    /// Requests for actions that were accepted.
    pub succeeded: u64,
    /// Actions that became dead letters.
    pub failed: u64,
    /// Events whose action was asked for within the cooldown.
    pub suppressed: u64,
    /// Events that were too old.
    pub stale: u64,
    /// Actions that a dry run did not ask for.
    pub not_sent: u64,
}

/// How a destination said it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// Whether it is well.
    pub healthy: bool,
    /// What is wrong, scrubbed; empty when it is well.
    pub text: String,
    /// How long it took to answer, in seconds.
    pub latency_seconds: f64,
    /// How long ago it was asked, in seconds.
    pub seconds_ago: f64,
}

/// What went wrong last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LastError {
    /// How long ago, in seconds.
    pub seconds_ago: f64,
    /// In words, scrubbed.
    pub text: String,
}

/// Where an exporter is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CursorStatus {
    /// Its name.
    pub exporter: String,
    /// Which pass over the log this is.
    pub pass: u32,
    /// Where the pass began.
    pub start: u64,
    /// Everything from there to here is settled.
    pub base: u64,
    /// Settled spans above that.
    pub ahead: usize,
    /// The log's end.
    pub head: u64,
    /// Events below are told of one by one, however old they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert_below: Option<u64>,
    /// Events that the pass before this had not settled and that lie before its beginning, as a
    /// rewind answers.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What a reload changed; secrets are masked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// Keys that are in effect, one line each.
    pub changes: Vec<String>,
    /// What takes effect after a restart only, and why.
    pub restart: Vec<String>,
    /// Exporters that did not run before.
    pub added: Vec<String>,
    /// Exporters that go on with other settings.
    pub changed: Vec<String>,
    /// Exporters that run no more; their cursors stay.
    pub removed: Vec<String>,
}

/// What became of appended lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Appended {
    /// Events in the log, durable.
    pub appended: u64,
    /// Repeats of earlier ones.
    pub duplicates: u64,
    /// Lines that are no events.
    pub rejected: u64,
    /// The first of those.
    pub first_rejected: Vec<Rejected>,
    /// Everything below this offset is durable.
    pub durable: u64,
}

/// A line that is no event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// Which line of the request, from 1.
    pub line: u64,
    /// The class of the mistake.
    pub class: String,
}

/// Version of the protocol; both sides refuse any other.
pub const VERSION: u32 = 1;
/// Bytes of lines in one append request; a longer stream is several requests.
pub const APPEND_BYTES_MAX: u32 = 8 << 20;
/// Incidents in one answer.
pub const ALERTS_MAX: u32 = 1000;
/// Bytes of a request line.
pub(super) const REQUEST_BYTES_MAX: u64 = 64 << 10;
/// Bytes of an answer line; a status of a thousand exporters fits.
pub(super) const ANSWER_BYTES_MAX: u64 = 4 << 20;
