//! Sumo Logic: lines of every format, partitions that are never mixed, halves after 408.

use std::sync::Arc;

use loadgen::account::Book;
use loadgen::fake::{Categories, Fake, SumoLogic, Vendor};

use crate::{assert_complete, deliver, fake};

fn collector(script: &str) -> (Fake, Categories) {
    let book = Arc::new(Book::new("sumo-logic"));
    let collector = SumoLogic::new(Arc::clone(&book), Some("s0urce".to_owned()));
    let categories = collector.categories();
    (fake(Vendor::SumoLogic(collector), book, script), categories)
}

fn keys(fake: &Fake, more: &str) -> String {
    let addr = fake.addr();
    format!(
        "    type: sumo_logic\n    http_source_url: http://{addr}/receiver/v1/http/s0urce\n    \
         source_host: edge-7\n{more}"
    )
}

#[test]
fn lines_of_every_format_arrive() {
    for more in [
        "    format: json\n",
        "    format: text\n",
        "    format: key_value\n    compression: zstd\n",
    ] {
        let (fake, _) = collector("");
        let status = deliver(1_500, &keys(&fake, more));
        assert_eq!(status.exporters[0].counts.delivered, 1_500, "{more}");
        assert_complete(1_500, &fake.report());
    }
}

#[test]
fn partitions_are_requests_of_their_own() {
    let (fake, categories) = collector("");
    let more = "    metadata_fields: [environment, tenant_id, guard, event_type, outcome]\n    \
                partitioning: {enabled: true, by_tenant: true, by_severity: true}\n    \
                max_open_partitions: 16\n";
    deliver(3_000, &keys(&fake, more));
    // The fake holds every line against the headers of its request.
    assert_complete(3_000, &fake.report());
    let counts = categories.counts();
    assert!(counts.len() > 5, "{counts:?}");
    assert_eq!(counts.values().sum::<u64>(), 3_000);
    assert!(counts.keys().all(|category| category.starts_with("security/clawdstrike/")));
}

#[test]
fn a_request_that_timed_out_is_sent_in_halves() {
    let (fake, _) = collector("requests 0..1 status 408");
    let status = deliver(1_000, &keys(&fake, "    metadata_fields: []\n"));
    assert_eq!(status.exporters[0].counts.delivered, 1_000);
    assert_complete(1_000, &fake.report());
}

#[test]
fn a_route_may_have_a_source_of_its_own() {
    let (fake, first) = collector("");
    let (other, second) = collector("");
    let more = format!(
        "    routing:\n      - {{condition: \"severity >= 'high'\", source_category: security/alerts, \
         http_source_url: \"http://{}/receiver/v1/http/s0urce\"}}\n",
        other.addr()
    );
    deliver(1_000, &keys(&fake, &more));
    let (first, second) = (first.counts(), second.counts());
    assert!(first["security/clawdstrike"] > 0 && second["security/alerts"] > 0);
    assert_eq!(first["security/clawdstrike"] + second["security/alerts"], 1_000);
    assert!(other.report().problems.is_empty(), "{:?}", other.report().problems);
}
