//! The vendors that can be played.

use http::HeaderMap;

use super::body::Encoding;
use super::{
    Datadog, Elastic, Opsgenie, Otlp, PagerDuty, Reply, S3, Slack, Splunk, SumoLogic, Taxii, Teams,
    Visit, Webhook,
};

/// A fake vendor.
#[derive(Debug)]
pub enum Vendor {
    /// Datadog's intake and API.
    Datadog(Datadog),
    /// Elasticsearch.
    Elastic(Elastic),
    /// Opsgenie's Alert API.
    Opsgenie(Opsgenie),
    /// An OTLP/HTTP receiver.
    Otlp(Otlp),
    /// PagerDuty's Events API.
    PagerDuty(PagerDuty),
    /// Amazon S3's object store.
    S3(S3),
    /// A workspace of Slack.
    Slack(Slack),
    /// Splunk's HTTP Event Collector.
    Splunk(Splunk),
    /// Sumo Logic's HTTP sources.
    SumoLogic(SumoLogic),
    /// A TAXII server, which is read from.
    Taxii(Taxii),
    /// Webhooks of Microsoft Teams.
    Teams(Teams),
    /// Any endpoint.
    Webhook(Webhook),
}

impl Vendor {
    /// Answers a request.
    pub(super) fn answer(&self, visit: &Visit<'_>) -> Reply {
        match self {
            Self::Datadog(datadog) => datadog.answer(visit),
            Self::Elastic(elastic) => elastic.answer(visit),
            Self::Opsgenie(opsgenie) => opsgenie.answer(visit),
            Self::Otlp(otlp) => otlp.answer(visit),
            Self::PagerDuty(pagerduty) => pagerduty.answer(visit),
            Self::S3(s3) => s3.answer(visit),
            Self::Slack(slack) => slack.answer(visit),
            Self::Splunk(splunk) => splunk.answer(visit),
            Self::SumoLogic(sumo) => sumo.answer(visit),
            Self::Taxii(taxii) => taxii.answer(visit),
            Self::Teams(teams) => teams.answer(visit),
            Self::Webhook(webhook) => webhook.answer(visit),
        }
    }

    /// Answers as if it had taken everything, at next to no cost.
    pub(super) fn swallow(&self, body: &[u8]) -> Reply {
        match self {
            Self::Elastic(_) => Elastic::swallow(body),
            Self::Splunk(_) => Splunk::swallow(),
            Self::Opsgenie(_) | Self::PagerDuty(_) => Reply { status: 202, ..Reply::default() },
            // The others say all with their status.
            Self::Datadog(_)
            | Self::Otlp(_)
            | Self::S3(_)
            | Self::Slack(_)
            | Self::SumoLogic(_)
            | Self::Taxii(_)
            | Self::Teams(_)
            | Self::Webhook(_) => Reply { status: 200, ..Reply::default() },
        }
    }

    /// Whether an answer that looks at nothing still has to know the events of a body.
    pub(super) fn counts_what_it_swallows(&self) -> bool {
        matches!(self, Self::Elastic(_))
    }

    /// What the vendor says with a failing status, when the request itself is not to blame.
    pub(super) fn refuse(&self, status: u16, headers: &HeaderMap) -> Reply {
        match self {
            Self::Datadog(_) => Datadog::refuse(status),
            Self::Elastic(_) => Elastic::refuse(status),
            Self::Opsgenie(_) => Opsgenie::refuse(status),
            Self::Otlp(_) => Otlp::refuse(status, headers),
            Self::PagerDuty(_) => PagerDuty::refuse(status),
            Self::S3(_) => S3::refuse(status),
            Self::Slack(_) => Slack::refuse(status),
            Self::Splunk(_) => Splunk::refuse(status),
            Self::SumoLogic(_) => SumoLogic::refuse(status),
            Self::Taxii(_) => Taxii::refuse(status),
            Self::Teams(_) => Teams::refuse(status),
            Self::Webhook(_) => Webhook::refuse(status),
        }
    }

    /// The server process starts again.
    pub(super) fn restart(&self) {
        match self {
            // Everything it holds survives a restart.
            Self::Datadog(_)
            | Self::Elastic(_)
            | Self::Opsgenie(_)
            | Self::Otlp(_)
            | Self::PagerDuty(_)
            | Self::S3(_)
            | Self::Slack(_)
            | Self::SumoLogic(_)
            | Self::Taxii(_)
            | Self::Teams(_)
            | Self::Webhook(_) => {}
            Self::Splunk(splunk) => splunk.restart(),
        }
    }

    /// Whether clients have to show a certificate of the fake's authority.
    pub(super) const fn needs_certificate(&self) -> bool {
        match self {
            Self::Taxii(taxii) => taxii.needs_certificate(),
            _ => false,
        }
    }

    /// Content encodings that the vendor decodes.
    pub(super) const fn encodings(&self) -> &'static [Encoding] {
        match self {
            // "Content-Encoding: deflate, gzip, zstd1" (Send logs, header parameters).
            Self::Datadog(_) | Self::SumoLogic(_) | Self::Webhook(_) => {
                &[Encoding::Gzip, Encoding::Deflate, Encoding::Zstd]
            }
            Self::Elastic(_) | Self::Otlp(_) | Self::Splunk(_) => &[Encoding::Gzip],
            // They take bodies as they come.
            Self::Opsgenie(_)
            | Self::PagerDuty(_)
            | Self::Slack(_)
            | Self::Taxii(_)
            | Self::Teams(_) => &[],
            // It stores what it gets.
            Self::S3(_) => &[],
        }
    }

    /// Whether bodies stay as they come, whatever their encoding.
    pub(super) const fn keeps_encodings(&self) -> bool {
        matches!(self, Self::S3(_))
    }

    /// Bytes of the largest body.
    pub(super) const fn body_bytes_max(&self) -> usize {
        match self {
            // "Maximum content size per payload (uncompressed): 5MB."
            Self::Datadog(_) => 5_000_000,
            // "http.max_content_length: Maximum size of an HTTP request body. Defaults to 100mb."
            Self::Elastic(_) => 100 << 20,
            // limits.conf, [http_input] max_content_length: 838860800 since 8.1.
            Self::Splunk(_) => 838_860_800,
            // The collector's receiver: max_request_body_size, 20 MiB.
            Self::Otlp(_) => 20 << 20,
            // Nothing is said; every field has a bound, and this is far above their sum.
            Self::Opsgenie(_) => 1 << 20,
            // "The event must be no larger than 512 KB."
            Self::PagerDuty(_) => 512_000,
            // PutObject takes 5 GB; this bounds the memory.
            Self::S3(_) => 128 << 20,
            // Every text in a message has a bound; this one bounds the memory.
            Self::Slack(_) | Self::Taxii(_) | Self::Teams(_) => 1 << 20,
            // Nothing is said but that a megabyte is the most that is recommended; the judge notes
            // what is larger, and this bounds the memory.
            Self::SumoLogic(_) | Self::Webhook(_) => 16 << 20,
        }
    }
}
