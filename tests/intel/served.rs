//! A fake TAXII server and what asks it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use loadgen::account::Book;
use loadgen::fake::{self, Fake, TAXII_COLLECTION, Taxii, TaxiiFeed, TaxiiTerms, Vendor};
use serde_json::json;
use shrike::deliver::{Secret, TlsSettings};
use shrike::event::Time;
use shrike::intel::{
    Client, FeedSpec, Indicator, Object, PollError, Polled, Progress, ServerSpec, TaxiiAuth,
    TaxiiVersion, Told,
};

/// A running fake with its collection.
pub(crate) struct Served {
    pub(crate) fake: Fake,
    pub(crate) feed: TaxiiFeed,
    pub(crate) version: TaxiiVersion,
    is_tls: bool,
}

impl Served {
    pub(crate) fn new(terms: TaxiiTerms, script: &str) -> Self {
        let version = if terms.is_2_1 { TaxiiVersion::V2_1 } else { TaxiiVersion::V2_0 };
        let is_tls = terms.needs_certificate;
        let book = Arc::new(Book::new("taxii"));
        let taxii = Taxii::new(Arc::clone(&book), terms);
        let feed = taxii.feed();
        let options = fake::Options {
            tls: is_tls,
            ..fake::Options::playing(script).expect("the script is right")
        };
        let fake = Fake::start(Vendor::Taxii(taxii), book, options).expect("it starts");
        Self { fake, feed, version, is_tls }
    }

    /// Adds indicators of `NUMBER.example`, one a second from `from` on.
    pub(crate) fn fill(&self, numbers: std::ops::Range<u32>) {
        for n in numbers {
            self.feed.add(&added(n), &indicator(&format!("{n}.example")).to_string());
        }
    }

    pub(crate) fn spec(&self) -> ServerSpec {
        let scheme = if self.is_tls { "https" } else { "http" };
        let port = self.fake.addr().port();
        ServerSpec {
            name: "fake".into(),
            url: format!("{scheme}://localhost:{port}").parse().expect("a URL"),
            collection_id: TAXII_COLLECTION.to_owned(),
            version: self.version,
            requests_per_minute: 60_000,
            timeout: Duration::from_secs(20),
            feed: FeedSpec { page_size: 100, ..FeedSpec::default() },
            ..ServerSpec::default()
        }
    }

    /// Ends it; what was asked of it must have been right.
    pub(crate) fn end(self) {
        let report = self.fake.report();
        self.fake.stop();
        assert!(report.problems.is_empty(), "{:?}", report.problems);
    }
}

/// When an indicator was added, by its number.
pub(crate) fn added(n: u32) -> String {
    format!("2026-03-01T{:02}:{:02}:{:02}.123456Z", n / 3600, n / 60 % 60, n % 60)
}

pub(crate) fn added_at(n: u32) -> Time {
    Time::parse(added(n).as_bytes()).expect("a time")
}

pub(crate) fn indicator(domain: &str) -> serde_json::Value {
    json!({
        "type": "indicator", "spec_version": "2.1", "id": format!("indicator--{domain}"),
        "created": "2026-01-01T00:00:00.000Z", "modified": "2026-01-01T00:00:00.000Z",
        "pattern": format!("[domain-name:value = '{domain}']"), "pattern_type": "stix",
        "valid_from": "2026-01-01T00:00:00.000Z", "labels": ["malicious-activity"],
    })
}

pub(crate) fn key(text: &str) -> TaxiiAuth {
    let value = Secret::new(text.to_owned());
    TaxiiAuth::Header { name: "Authorization".to_owned(), value }
}

/// TLS that trusts the fake's authority, with a certificate of it where asked.
pub(crate) fn tls(fake: &Fake, dir: &Path, has_certificate: bool) -> TlsSettings {
    let write = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).expect("the directory is ours");
        path
    };
    let authority = fake.authority_pem().expect("it speaks TLS").to_owned();
    let mut settings =
        TlsSettings { ca_cert_path: Some(write("ca.pem", &authority)), ..TlsSettings::default() };
    if has_certificate {
        let (cert, key) = fake.client_pem().expect("it speaks TLS").expect("a certificate");
        settings.client_cert_path = Some(write("client.pem", &cert));
        settings.client_key_path = Some(write("client.key", &key));
    }
    settings
}

/// One poll, and the values that it gave.
pub(crate) fn poll(
    client: &mut Client,
    progress: Progress,
    is_full: bool,
) -> (Vec<String>, Result<Polled, PollError>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let mut values = Vec::new();
    let polled = tokio::task::LocalSet::new().block_on(&runtime, async {
        let take = |told: Told| {
            assert!(told.skipped.is_empty(), "{:?}", told.skipped);
            for object in told.objects {
                let Object::Indicator(it) = object else { panic!("{object:?}") };
                let Indicator { signs, .. } = *it;
                values.extend(signs.signs.into_iter().map(|it| it.value));
            }
        };
        client.poll(progress, is_full, Time::now(), take).await
    });
    (values, polled)
}

/// A first poll of everything.
pub(crate) fn first(spec: &ServerSpec) -> (Vec<String>, Result<Polled, PollError>) {
    let mut client = Client::open(spec).expect("it opens");
    poll(&mut client, Progress::default(), true)
}

pub(crate) fn values(numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|n| format!("{n}.example")).collect()
}
