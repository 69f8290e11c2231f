//! A whole configuration, every value of its final type.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::paths::Named;
use super::{AdminSettings, Shown};

use crate::deliver::{OptionValue, Settings};
use crate::event::{FieldId, Privacy, Technique};
use crate::intake::{Bearer, Mode, ServerTls, Token};
use crate::intel::IntelSpec;
use crate::log::LogOptions;
use crate::pipeline::{HookSpec, ReceiptOptions};
use crate::transform::{Condition, FilterRules, Format};

/// A configuration without mistakes, defaults filled in.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it was read from, for people.
    pub origin: String,
    /// Who and where we are.
    pub global: Global,
    /// What nobody downstream may see.
    pub privacy: Option<Arc<Privacy>>,
    /// What documents look like.
    pub schema: SchemaSettings,
    /// What is added to events.
    pub enrichment: Enrichment,
    /// The way through the process.
    pub pipeline: PipelineSettings,
    /// Bytes of unsettled batches over all exporters.
    pub in_flight_bytes: u64,
    /// The event log.
    pub log: LogOptions,
    /// Where receipts are kept, if anywhere.
    pub receipts: Option<ReceiptOptions>,
    /// Where the pages for monitoring and the admin API are, if anywhere.
    pub admin: Option<AdminSettings>,
    /// Where events come from.
    pub inputs: Vec<Input>,
    /// Which feeds of indicators are read and what a match does, where that is switched on.
    pub intel: Option<Arc<IntelSpec>>,
    /// Which events any exporter takes.
    pub filtering: FilterRules,
    /// Which exporters take an event.
    pub routing: Vec<RoutingRule>,
    /// The exporters of events that no rule is for; none is all of them.
    pub routing_default: Vec<String>,
    /// Where events go, enabled ones only, sorted by name.
    pub exporters: Vec<Exporter>,
    /// Names of configured exporters that are switched off.
    pub disabled: Vec<String>,
    /// How often credentials are read again.
    pub credentials_interval: Duration,
    /// Every key as it is in effect, secrets masked.
    pub shown: Shown,
    /// What an operator should know although it is permitted.
    pub notes: Vec<String>,
    /// What was read in another form or under another name than the reference gives.
    pub conversions: Vec<String>,
    /// Every path that it names, and where: [`Config::look_at_paths`].
    pub(super) paths: Vec<Named>,
}

/// Who and where we are.
#[derive(Clone, Debug)]
pub struct Global {
    /// Environment of events that name none.
    pub environment: Option<String>,
    /// Tenant of events that name none.
    pub tenant_id: Option<String>,
    /// Labels added to every event, those of `enrichment.tags` included.
    pub labels: Vec<(String, String)>,
    /// How much the process logs.
    pub log_level: LogLevel,
    /// How it logs; `None` is text on a terminal, else JSON.
    pub log_format: Option<LogFormat>,
    /// Whether a configuration file that changes is read again by itself.
    pub watches_config: bool,
    /// Directory for everything that outlives the process.
    pub state_dir: PathBuf,
    /// How long a stopping process flushes.
    pub shutdown_timeout: Duration,
}

/// How much the process logs about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Only failures.
    Error,
    /// And what looks wrong.
    Warn,
    /// And changes of state.
    Info,
    /// And a line per batch.
    Debug,
    /// And everything else.
    Trace,
}

/// How the process logs about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For eyes.
    Text,
}

/// What documents look like.
#[derive(Clone, Debug)]
pub struct SchemaSettings {
    /// Format for destinations that prefer none.
    pub default_format: Option<Format>,
    /// Whether documents carry the canonical event as text.
    pub include_raw: bool,
    /// Whether threat indicators are written for permitted events too.
    pub indicators_all: bool,
    /// Fields that are written under another key.
    pub field_mappings: Vec<(FieldId, String)>,
    /// The version that ECS documents name.
    pub ecs_version: String,
    /// One of so many documents is looked at while they are sent; 0 is none.
    pub checked_every: u32,
    /// The version that OCSF documents name.
    pub ocsf_version: String,
}

/// What is added to events.
#[derive(Clone, Debug)]
pub struct Enrichment {
    /// The host's name and id.
    pub host: bool,
    /// The version of shrike.
    pub product_version: bool,
    /// ATT&CK by guard or event type.
    pub mitre: Vec<Technique>,
}

/// The way through the process.
#[derive(Clone, Debug)]
pub struct PipelineSettings {
    /// Longer records are quarantined.
    pub event_bytes_max: u64,
    /// Events that inputs remember.
    pub dedup_window: usize,
    /// Directory for records that cannot be read.
    pub quarantine_dir: PathBuf,
    /// Its bound.
    pub quarantine_bytes_max: u64,
    /// Worker threads; `None` is one per core.
    pub workers: Option<usize>,
}

/// Where events come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Standard input, to its end.
    Stdin {
        /// The dialect of all lines; `None` lets each line tell.
        format: Option<&'static str>,
    },
    /// A file.
    File {
        /// Its path.
        path: PathBuf,
        /// Whether to wait for more at its end.
        follow: bool,
        /// The dialect of all lines; `None` lets each line tell.
        format: Option<&'static str>,
        /// How it is written; `None` is told by its beginning.
        mode: Option<Mode>,
        /// Whether what is in it at the first start is passed over.
        from_end: bool,
    },
    /// `POST /v1/events`.
    Http {
        /// Where to listen.
        listen: SocketAddr,
        /// What senders have to show.
        token: Option<Token>,
        /// Bytes of a body at most.
        body_bytes_max: usize,
        /// The certificate to show.
        tls: Option<ServerTls>,
        /// The dialect of all records; `None` lets each one tell.
        format: Option<&'static str>,
    },
    /// The API of hushd.
    Hushd {
        /// Where it is.
        url: http::Uri,
        /// What it wants to be shown.
        token: Option<Bearer>,
        /// How often it is asked without a hint.
        interval: Duration,
        /// The authorities that are trusted; the system's when absent.
        ca_cert_path: Option<PathBuf>,
        /// Whether what is there at the first start is passed over.
        from_end: bool,
    },
    /// The ledger of hushd.
    Sqlite {
        /// The database.
        path: PathBuf,
        /// Whether what is in it at the first start is passed over.
        from_end: bool,
    },
    /// Lines over a Unix socket.
    Unix {
        /// The socket.
        path: PathBuf,
        /// The dialect of all lines; `None` lets each line tell.
        format: Option<&'static str>,
    },
}

impl Input {
    /// Whether it is standard input.
    #[must_use]
    pub const fn is_stdin(&self) -> bool {
        matches!(self, Self::Stdin { .. })
    }

    /// Whether the input comes to an end by itself.
    #[must_use]
    pub const fn is_finite(&self) -> bool {
        matches!(self, Self::Stdin { .. } | Self::File { follow: false, .. })
    }
}

/// Where events go: a destination, what goes there, and the routes inside it.
#[derive(Clone, Debug)]
pub struct Exporter {
    /// The destination and how it is served.
    pub settings: Settings,
    /// Which events go there.
    pub filter: FilterRules,
    /// What it sees less than the others.
    pub privacy: Option<Arc<Privacy>>,
    /// What a matching event overrides; the first match holds.
    pub routes: Vec<RouteSettings>,
    /// What it is as a response hook, if it is one.
    pub hook: Option<HookSettings>,
}

/// What makes an exporter a response hook.
#[derive(Clone, Debug)]
pub struct HookSettings {
    /// Which events it answers.
    pub when: Condition,
    /// When it acts.
    pub spec: HookSpec,
    /// Where it stands in the file.
    pub place: String,
}

impl Exporter {
    /// Where its keys stand in the file.
    #[must_use]
    pub fn place(&self) -> String {
        match &self.hook {
            Some(hook) => hook.place.clone(),
            None => format!("exporters.{}", self.settings.name),
        }
    }
}

/// One rule of an exporter's `routing`.
#[derive(Clone, Debug)]
pub struct RouteSettings {
    /// Which events.
    pub condition: Condition,
    /// What it overrides.
    pub options: Vec<(&'static str, OptionValue)>,
}

/// One of the top-level rules.
#[derive(Clone, Debug)]
pub struct RoutingRule {
    /// Which events it is for.
    pub condition: Condition,
    /// The exporters that take them.
    pub exporters: Vec<String>,
    /// Whether later rules are not asked about them.
    pub stops: bool,
}
