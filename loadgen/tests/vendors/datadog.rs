//! Datadog: logs in every encoding, counts beside them, another site during an outage.

use std::sync::Arc;

use loadgen::account::Book;
use loadgen::fake::{Datadog, Fake, Points, Vendor};

use crate::{assert_complete, deliver, fake};

fn site(script: &str) -> (Fake, Points) {
    let book = Arc::new(Book::new("datadog"));
    let site = Datadog::new(Arc::clone(&book), Some("k3y".to_owned()));
    let points = site.points();
    (fake(Vendor::Datadog(site), book, script), points)
}

fn keys(fake: &Fake, more: &str) -> String {
    let addr = fake.addr();
    format!(
        "    type: datadog\n    api_key: k3y\n    endpoint: http://{addr}/api/v2/logs\n    \
         metrics_endpoint: http://{addr}\n{more}"
    )
}

#[test]
fn logs_arrive_in_every_encoding() {
    for encoding in ["gzip", "zstd", "deflate", "none"] {
        let (fake, _) = site("");
        let status = deliver(1_500, &keys(&fake, &format!("    compression: {encoding}\n")));
        assert_eq!(status.exporters[0].counts.delivered, 1_500, "{encoding}");
        assert_complete(1_500, &fake.report());
    }
}

#[test]
fn counts_are_those_of_the_delivered_events_and_no_point_replaces_another() {
    let (fake, points) = site("on api/v2/logs requests 0..2 status 503");
    let more = "    batch: {size: 100}\n    metrics: {flush_interval_secs: 1, tags: [team:red]}\n";
    deliver(5_000, &keys(&fake, more));
    assert_complete(5_000, &fake.report());
    let sum =
        |name: &str, tag: &str| points.sum(&format!("clawdstrike.security.events.{name}"), tag);
    assert_eq!(sum("total", "team:red"), 5_000.0);
    assert_eq!(sum("allowed", "") + sum("denied", ""), 5_000.0);
    for split in ["by_guard", "by_severity", "by_outcome", "by_type"] {
        assert_eq!(sum(split, ""), 5_000.0, "{split}");
    }
    assert_eq!(sum("by_outcome", "outcome:denied"), sum("denied", ""));
    let lag = points.last("clawdstrike.security.export.lag_events");
    assert_eq!(lag, Some(0.0), "it is drained");
    let p99 = points.last("clawdstrike.security.export.latency_seconds.p99").expect("it is told");
    assert!(p99 > 0.0 && p99 < 60.0, "{p99}");
}

#[test]
fn a_refused_window_is_sent_once_more_and_stops_no_log() {
    let (fake, points) = site("on api/v2/series requests 0..2 status 500");
    let more = "    metrics: {flush_interval_secs: 600, distributions: true}\n";
    let status = deliver(300, &keys(&fake, more));
    assert_eq!(status.exporters[0].counts.delivered, 300);
    assert_complete(300, &fake.report());
    let total = points.sum("clawdstrike.security.events.total", "");
    assert_eq!(total + status.exporters[0].counts_lost as f64, 300.0);
}
