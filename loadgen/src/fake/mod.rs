//! Fake vendors: servers that judge requests by the vendors' documentation and keep the account.
//!
//! Nothing here knows shrike. A misreading of the documentation in shrike must not agree with
//! itself, so the rules are written down a second time, from the vendors' pages.

mod body;
mod cut;
mod datadog;
mod elastic;
mod ids;
mod json;
mod opsgenie;
mod otlp;
mod pagerduty;
mod posts;
mod s3;
mod script;
mod server;
mod slack;
mod splunk;
mod sumo_logic;
pub mod syslog;
mod taxii;
mod teams;
mod tls;
mod vendor;
mod webhook;

use bytes::Bytes;
use http::HeaderMap;

pub use datadog::{Datadog, Points};
pub use elastic::{Auth, Elastic};
pub use opsgenie::{Alert, Alerts, Opsgenie, Pings, Requests};
pub use otlp::Otlp;
pub use pagerduty::{Change, Changes, Incident, Incidents, PagerDuty};
pub use posts::{Post, Posts};
pub use s3::{Account, Objects, S3};
pub use script::{Fault, Plan, Script, ScriptError, duration};
pub use server::{Fake, FakeError, Options, write_account};
pub use slack::Slack;
pub use splunk::{Rules, Splunk};
pub use sumo_logic::{Categories, SumoLogic};
pub use taxii::{TAXII_COLLECTION, Taxii, TaxiiFeed, TaxiiManner, TaxiiTerms};
pub use teams::{QUERY as TEAMS_QUERY, Teams, TeamsManner};
pub use tls::TlsError;
pub use vendor::Vendor;
pub use webhook::{Manners, Webhook};

/// A request as a vendor judges it: read whole, decompressed, faults aside.
#[derive(Clone, Copy, Debug)]
pub struct Visit<'a> {
    /// The method.
    pub method: &'a http::Method,
    /// The path without its query.
    pub path: &'a str,
    /// The query, still encoded.
    pub query: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The plain body.
    pub body: &'a [u8],
    /// What the fault script has in store.
    pub plan: &'a Plan,
    /// Draws for faults of single items.
    pub seed: u64,
    /// Whether each item is to be judged in full.
    pub strict: bool,
}

impl Visit<'_> {
    /// A header's value; empty when it is absent or no text.
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The parameters of the query, decoded.
    fn parameters(&self) -> impl Iterator<Item = (String, String)> {
        self.query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decode(key), percent_decode(value))
        })
    }
}

/// What a vendor answers.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Headers beyond the content type.
    pub headers: Vec<(&'static str, String)>,
    /// The content type.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
    /// When the events that this answer accepts were due.
    pub accepted: Vec<u64>,
}

impl Reply {
    /// A JSON answer.
    fn json(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, content_type: "application/json", body: body.into(), ..Self::default() }
    }
}

/// Undoes `%41` and `+`; what is no escape stays.
fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).and_then(|two| std::str::from_utf8(two).ok());
        let escape = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
        match (bytes[at], escape) {
            (b'%', Some(byte)) => {
                plain.push(byte);
                at += 2;
            }
            (b'+', _) => plain.push(b' '),
            (byte, _) => plain.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&plain).into_owned()
}
