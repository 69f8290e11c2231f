//! What the configuration asks of threat intelligence.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;

use super::snapshot::Allowed;
use super::stix::Tlp;
use crate::deliver::{Proxy, Secret, TlsSettings};
use crate::event::{Severity, Time};

/// `threat_intel`, where it is enabled.
#[derive(Clone, Debug, PartialEq)]
pub struct IntelSpec {
    /// `servers`: where indicators come from; at least one, each name once.
    pub servers: Vec<ServerSpec>,
    /// `cache`.
    pub cache: CacheSpec,
    /// `actions`.
    pub actions: ActionSpec,
    /// `never_block`: what no indicator applies to.
    pub never_block: Vec<Allowed>,
    /// `url_host_blocking`: whether the indicator of a URL is one of its host.
    pub url_host_blocking: bool,
    /// `export_tlp`: which markings may leave this host.
    pub export_tlp: Vec<Tlp>,
    /// `escalate`: what a sure match makes of an event's severity.
    pub escalate: Option<EscalateSpec>,
}

/// `threat_intel.cache`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheSpec {
    /// `path`, where `persistent` is on: the file that it is kept in over a restart.
    pub path: Option<PathBuf>,
    /// `max_size`: values of all feeds together.
    pub size_max: usize,
}

/// `threat_intel.actions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActionSpec {
    /// `block_egress`: domains, addresses and URLs that match are told to be blocked.
    pub block_egress: bool,
    /// `block_paths`: files that match are told to be blocked.
    pub block_paths: bool,
    /// `enrich_events`: events that match say so.
    pub enrich_events: bool,
    /// `mode`.
    pub mode: IntelMode,
}

/// `threat_intel.actions.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IntelMode {
    /// `block`: a guard that asks is told to block.
    #[default]
    Block,
    /// `alert_only`: it is told what matched, and to let it through.
    AlertOnly,
}

/// `threat_intel.escalate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EscalateSpec {
    /// `min_confidence`: from which on it applies.
    pub confidence_min: u8,
    /// `to_severity`: what an event becomes at least.
    pub to_severity: Severity,
}

/// One of `threat_intel.servers`.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerSpec {
    /// `name`: the label of what it says, and of its metrics.
    pub name: Arc<str>,
    /// `url`: where discovery begins; its scheme, host and port.
    pub url: Uri,
    /// `api_root`: a path below the host, or a whole URL on it; none asks discovery.
    pub api_root: Option<String>,
    /// `collection_id`.
    pub collection_id: String,
    /// `version`.
    pub version: TaxiiVersion,
    /// `auth`.
    pub auth: TaxiiAuth,
    /// `headers`: sent with each request.
    pub headers: Vec<(String, Secret)>,
    /// `tls`; a client certificate of `auth` is put into it.
    pub tls: TlsSettings,
    /// `proxy`.
    pub proxy: Proxy,
    /// `requests_per_minute` at most.
    pub requests_per_minute: u32,
    /// `timeout_ms`: how long one request may take.
    pub timeout: Duration,
    /// `feed`, with what the server overrides.
    pub feed: FeedSpec,
}

/// Which TAXII a server speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaxiiVersion {
    /// 2.0: pages by ranges.
    V2_0,
    /// 2.1: pages by `next`.
    #[default]
    V2_1,
}

/// `auth` of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TaxiiAuth {
    /// None, or a client certificate, which is a matter of `tls`.
    #[default]
    None,
    /// `basic`; a key as the name of a user has an empty password.
    Basic {
        /// `username`.
        username: Secret,
        /// `password`.
        password: Secret,
    },
    /// `api_key`: a header with a key.
    Header {
        /// `header_name`: `Authorization` where none is written.
        name: String,
        /// The whole value: `Bearer`, or `prefix`, and the key behind it.
        value: Secret,
    },
}

/// `threat_intel.feed`.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedSpec {
    /// `interval_minutes`: from one poll to the next.
    pub interval: Duration,
    /// `page_size`: objects of one answer.
    pub page_size: u32,
    /// `include_types`: kinds of objects that are asked for; none asks for all.
    pub include_types: Vec<String>,
    /// `min_confidence`: what is less sure is not kept.
    pub confidence_min: Option<u8>,
    /// `added_after`: where the first poll begins.
    pub added_after: Option<Time>,
    /// `cache_ttl_hours`: how long an indicator holds after the feed last told it.
    pub cache_ttl: Duration,
    /// `full_sync_hours`: how often the whole feed is read again.
    pub full_sync: Duration,
    /// `default_confidence`: of indicators that say none.
    pub confidence_default: u8,
    /// `max_pages` of one poll.
    pub pages_max: u32,
    /// `max_response_bytes` of one page.
    pub response_bytes_max: usize,
}

impl FeedSpec {
    /// What tells a feed's objects from those that another configuration would keep of it.
    pub(super) fn asked(&self) -> u64 {
        // What is less sure is not kept; how sure that is which says nothing decides that too.
        let kept = self.confidence_min.map(|min| (min, self.confidence_default));
        let asked = format!("{:?}", (&self.include_types, self.added_after, kept));
        let hash = blake3::hash(asked.as_bytes());
        let first = hash.as_bytes().first_chunk().expect("it has 32 bytes");
        u64::from_le_bytes(*first)
    }

    /// How long it may take from one poll to the next.
    #[must_use]
    pub fn interval_max(&self) -> Duration {
        self.interval.saturating_add(self.interval / 10)
    }
}

impl Default for FeedSpec {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(60 * 60),
            page_size: 100,
            include_types: vec!["indicator".to_owned()],
            confidence_min: None,
            added_after: None,
            cache_ttl: Duration::from_secs(24 * 60 * 60),
            full_sync: Duration::from_secs(12 * 60 * 60),
            confidence_default: 50,
            pages_max: 1000,
            response_bytes_max: 64 << 20,
        }
    }
}

impl Default for CacheSpec {
    fn default() -> Self {
        Self { path: None, size_max: 100_000 }
    }
}

impl Default for ActionSpec {
    fn default() -> Self {
        Self { block_egress: true, block_paths: false, enrich_events: true, mode: IntelMode::Block }
    }
}

impl Default for ServerSpec {
    fn default() -> Self {
        Self {
            name: Arc::from(""),
            url: Uri::from_static("https://localhost/"),
            api_root: None,
            collection_id: String::new(),
            version: TaxiiVersion::default(),
            auth: TaxiiAuth::default(),
            headers: Vec::new(),
            tls: TlsSettings::default(),
            proxy: Proxy::default(),
            requests_per_minute: 30,
            timeout: Duration::from_secs(60),
            feed: FeedSpec::default(),
        }
    }
}
