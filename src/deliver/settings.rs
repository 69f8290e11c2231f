//! The keys that every exporter shares, resolved.

use std::time::Duration;

use super::{Encoding, FLOOD_KEY, Options, Order, RouteRate, Secret, Vendor};
use crate::event::Severity;
use crate::transform::Format;

/// One configured exporter.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The instance's name: config key and metric label.
    pub name: String,
    /// What kind of destination it is.
    pub vendor: &'static Vendor,
    /// The vendor's own keys.
    pub options: Options,
    /// The format of its documents.
    pub format: Format,
    /// When batches close.
    pub batch: BatchSettings,
    /// Requests in flight over all lanes; `None` is two per worker, or one where order matters.
    pub concurrency: Option<usize>,
    /// Lanes; `None` is one per worker within the other limits.
    pub lanes: Option<usize>,
    /// How long an event may wait in a batch so that p99 stays below it, with the vendor's own
    /// time.
    pub latency_target: Duration,
    /// How failures are tried again.
    pub retry: RetrySettings,
    /// When attempts stop for a while.
    pub breaker: BreakerSettings,
    /// How many requests a second at most.
    pub rate: RateSettings,
    /// The content encoding and its level.
    pub encoding: Encoding,
    /// The level of the encoding.
    pub encoding_level: u32,
    /// TLS.
    pub tls: TlsSettings,
    /// Connections.
    pub connection: ConnectionSettings,
    /// Further request headers; their values are treated as secrets.
    pub headers: Vec<(String, Secret)>,
    /// How many bytes the exporter may lag behind before `on_lag` acts; `None` is the log's own
    /// bound.
    pub lag_bytes_max: Option<u64>,
    /// What happens then.
    pub on_lag: OnLag,
    /// Where a new exporter starts.
    pub from: From,
    /// What becomes of events that are given up.
    pub dead_letters: DeadLetterSettings,
    /// How often the vendor's health call runs.
    pub health_interval: Duration,
    /// How long nothing may arrive before that is told as an error.
    pub alert_after: Duration,
}

/// What becomes of events that are given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterSettings {
    /// Whether they are kept; else they are only counted.
    pub is_enabled: bool,
    /// The store's directory.
    pub dir: std::path::PathBuf,
    /// The store's bound; its oldest segment goes first.
    pub bytes_max: u64,
    /// How long they are kept.
    pub age_max: Duration,
    /// Whether those that may succeed are sent again once the destination is well.
    pub auto_replay: bool,
}

impl Settings {
    /// Whether the order of events matters.
    #[must_use]
    pub fn order(&self) -> Order {
        let is_asked = self.vendor.ordered_by.iter().any(|key| self.options.is_on(key));
        if is_asked { Order::Strict } else { self.vendor.order }
    }

    /// How many requests a minute each route takes, and how many of them at once.
    #[must_use]
    pub fn route_rate(&self) -> Option<RouteRate> {
        let (per_minute, burst) = self.vendor.route_rate?;
        let (per_minute, burst) =
            self.options.number(per_minute).zip(self.options.number(burst))?;
        // People see what matters most before what waited longer.
        let lets_critical_pass = self.options.number(FLOOD_KEY).is_some();
        Some(RouteRate { per_minute, burst, lets_critical_pass })
    }

    /// Whether events are numbered as they are sent.
    #[must_use]
    pub fn is_numbered(&self) -> bool {
        !self.vendor.ordered_by.is_empty() && self.order() == Order::Strict
    }

    /// Puts the standby credentials in the place of the others; false where there are none.
    pub fn swap_standby(&mut self) -> bool {
        let Some((first, second)) = self.vendor.standby else { return false };
        self.options.swap(first, second)
    }
}

/// When batches close.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchSettings {
    /// Events at most.
    pub events_max: u32,
    /// Bytes before compression at most.
    pub bytes_max: u32,
    /// Wait this long for more once a slot is free.
    pub linger: Duration,
    /// Close after this long in any case, where written.
    pub interval: Option<Duration>,
    /// Skip the linger for events this severe.
    pub flush_on: Option<Severity>,
}

/// How failures are tried again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetrySettings {
    /// Attempts after the first.
    pub retries_max: u32,
    /// The first wait, before jitter.
    pub initial_backoff: Duration,
    /// The longest wait.
    pub backoff_max: Duration,
    /// Each wait is this much longer than the one before, in percent (200 doubles).
    pub backoff_percent: u32,
    /// The longest `Retry-After` that is honoured.
    pub retry_after_max: Duration,
    /// Retries as a share of first attempts, in percent.
    pub budget_percent: u32,
    /// How long an event may be held before it becomes a dead letter; `None` is for ever.
    pub age_max: Option<Duration>,
}

/// When attempts stop for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BreakerSettings {
    /// Consecutive failed requests that open it; 0 switches it off.
    pub failures: u32,
    /// How long it stays open before one probe.
    pub open: Duration,
}

/// How many requests a second at most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateSettings {
    /// Requests a second; `None` is no limit.
    pub per_second: Option<u32>,
    /// Requests at once.
    pub burst: u32,
    /// Whether throttling halves the rate and success raises it again.
    pub adaptive: bool,
    /// The lowest rate that adapting reaches.
    pub per_second_min: u32,
}

/// TLS of an exporter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TlsSettings {
    /// Accept any certificate, or the one of `fingerprint`; without that it is warned about.
    pub insecure_skip_verify: bool,
    /// PEM file of the authorities to trust instead of the system's.
    pub ca_cert_path: Option<std::path::PathBuf>,
    /// PEM file of our certificate chain.
    pub client_cert_path: Option<std::path::PathBuf>,
    /// PEM file of its key.
    pub client_key_path: Option<std::path::PathBuf>,
    /// The name to verify, where it is not the URL's host.
    pub server_name: Option<String>,
    /// SHA-256 of the one certificate that is accepted.
    pub fingerprint: Option<[u8; 32]>,
    /// The oldest protocol version.
    pub min_version: TlsVersion,
}

/// A TLS protocol version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// RFC 5246.
    #[default]
    V1_2,
    /// RFC 8446.
    V1_3,
}

/// Connections of an exporter.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectionSettings {
    /// How long a connection may take to be made, TLS included.
    pub connect_timeout: Duration,
    /// How long a request may take.
    pub timeout: Duration,
    /// How long an idle connection is kept.
    pub keep_alive: Duration,
    /// Connections per endpoint, over all lanes.
    pub connections_max: usize,
    /// How long a connection is used before it is made anew, with a fresh name resolution.
    pub age_max: Duration,
    /// Which addresses a name may lead to.
    pub reach: Reach,
    /// Which HTTP version.
    pub http2: Http2,
    /// The way through a proxy.
    pub proxy: Proxy,
}

/// Which addresses a destination may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Any: an administrator wrote it.
    #[default]
    Anywhere,
    /// None of this host, of private networks, of a link or of a cloud's metadata.
    Public,
}

/// Which HTTP version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Http2 {
    /// HTTP/2 where ALPN offers it.
    #[default]
    Auto,
    /// HTTP/2 without TLS, known beforehand.
    H2c,
    /// HTTP/1.1 only.
    Off,
}

/// The way through a proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Proxy {
    /// Straight to the destination.
    #[default]
    None,
    /// As `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` say.
    Env,
    /// Through this URL; it may carry credentials.
    Url(Secret),
}

/// What happens to an exporter that lags too far behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLag {
    /// It skips the oldest events, counted and told.
    #[default]
    Skip,
    /// Inputs wait for it.
    Block,
}

/// Where a new exporter starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum From {
    /// With the oldest event in the log.
    Earliest,
    /// With the next event.
    #[default]
    Latest,
    /// With the first event received at or after this time, nanoseconds since 1970.
    Time(u64),
}
