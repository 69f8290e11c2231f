//! Webhooks: modes and methods, templates, signatures, one effect per key whatever happens.

use std::sync::Arc;

use loadgen::account::Book;
use loadgen::fake::{Categories, Fake, Manners, Vendor, Webhook};

use crate::{assert_complete, deliver, fake};

fn endpoint(manners: Manners, script: &str) -> Fake {
    endpoint_with_paths(manners, script).0
}

fn endpoint_with_paths(manners: Manners, script: &str) -> (Fake, Categories) {
    let book = Arc::new(Book::new("webhook"));
    let endpoint = Webhook::new(Arc::clone(&book), manners);
    let paths = endpoint.paths();
    (fake(Vendor::Webhook(endpoint), book, script), paths)
}

fn keys(fake: &Fake, more: &str) -> String {
    format!("    type: webhook\n    url: http://{}/hook?key=s3cret\n{more}", fake.addr())
}

#[test]
fn events_arrive_in_every_mode_and_by_every_method() {
    let cases: &[(&'static str, u64, &str)] = &[
        ("POST", 2_000, "    mode: array\n"),
        ("PUT", 2_000, "    mode: ndjson\n    format: native\n    method: PUT\n"),
        (
            "PATCH",
            2_000,
            "    mode: array\n    envelope: true\n    method: PATCH\n    format: ocsf\n",
        ),
        ("POST", 300, "    mode: event\n    format: ecs\n"),
        ("PUT", 300, "    mode: event\n    format: native\n    method: PUT\n"),
    ];
    for &(method, events, more) in cases {
        let manners = Manners { method: Some(method), ..Manners::default() };
        let fake = endpoint(manners, "");
        let status = deliver(events, &keys(&fake, more));
        assert_eq!(status.exporters[0].counts.delivered, events, "{more}");
        assert_complete(events, &fake.report());
    }
}

#[test]
fn a_signature_holds_for_the_body_as_it_came() {
    for more in ["    mode: array\n", "    mode: event\n"] {
        let manners = Manners { signed: Some("k3y".to_owned()), ..Manners::default() };
        let fake = endpoint(manners, "");
        let more = format!("{more}    auth: {{secret: k3y}}\n");
        deliver(200, &keys(&fake, &more));
        assert_complete(200, &fake.report());
    }
}

#[test]
fn a_template_makes_one_body_per_event() {
    let manners = Manners { bearer: Some("t0ken".to_owned()), ..Manners::default() };
    let fake = endpoint(manners, "");
    let more = "    format: native\n    auth: {token: t0ken}\n    template: |\n      \
                {\"id\":\"{{event_id}}\",\"text\":\"{{upper decision.severity}}: {{decision.reason}}\",\n      \
                \"labels\":{{json labels}}{{#unless decision.allowed}},\"denied\":true{{/unless}}}\n";
    let status = deliver(300, &keys(&fake, more));
    assert_eq!(status.exporters[0].counts.delivered, 300);
    assert_complete(300, &fake.report());
}

#[test]
fn an_event_that_a_template_cannot_render_is_a_dead_letter_and_no_other() {
    let fake = endpoint(Manners::default(), "");
    let more = "    format: native\n    mode: ndjson\n    template: |\n      \
                {\"id\":\"{{event_id}}\",\"host\":{{#if resource.host}}\"{{resource.host}}\"{{/if}}}\n";
    let status = deliver(500, &keys(&fake, more));
    let counts = status.exporters[0].counts;
    assert!(counts.dead_lettered > 0 && counts.delivered > 0, "{counts:?}");
    assert_eq!(counts.dead_lettered + counts.delivered, 500);
    let report = fake.report();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
}

#[test]
fn a_request_that_was_applied_and_not_answered_has_one_effect() {
    let fake = endpoint(Manners::default(), "requests 0..3 lost");
    deliver(200, &keys(&fake, "    mode: event\n    format: native\n"));
    assert_complete(200, &fake.report());
    let comparison = loadgen::account::compare(200, &fake.report());
    assert_eq!(comparison.totals.more, 0, "{comparison:?}");
}

#[test]
fn statuses_mean_what_the_operator_says() {
    let fake = endpoint(Manners::default(), "requests 0..2 status 409");
    deliver(300, &keys(&fake, "    mode: array\n    retry_status: [409]\n"));
    assert_complete(300, &fake.report());
}

#[test]
fn each_path_has_requests_of_its_own() {
    for more in ["    mode: array\n", "    mode: ndjson\n", "    mode: array\n    envelope: true\n"]
    {
        let (fake, paths) = endpoint_with_paths(Manners::default(), "");
        let more =
            format!("{more}    format: native\n    path_template: '/{{severity}}/{{tenant_id}}'\n");
        deliver(2_000, &keys(&fake, &more));
        assert_complete(2_000, &fake.report());
        let counts = paths.counts();
        assert_eq!(counts.values().sum::<u64>(), 2_000);
        assert!(counts.len() > 4, "{counts:?}");
        let mut severities: Vec<&str> = counts
            .keys()
            .filter_map(|path| path.strip_prefix("/hook/")?.split('/').next())
            .collect();
        severities.dedup();
        assert_eq!(severities, ["critical", "high", "info", "low", "medium"], "{counts:?}");
    }
}

#[test]
fn events_that_the_answer_lists_are_sent_again_and_no_other() {
    let fake = endpoint(Manners::default(), "requests 0..2 items 500 0.2");
    let more = "    mode: array\n    format: ocsf\n    compression: gzip\n    \
                batch: {size: 500}\n    partial_path: /result/failed\n";
    let status = deliver(2_000, &keys(&fake, more));
    assert_eq!(status.exporters[0].counts.delivered, 2_000);
    assert!(status.exporters[0].retried > 0, "{status:?}");
    assert_complete(2_000, &fake.report());
    let comparison = loadgen::account::compare(2_000, &fake.report());
    assert_eq!(comparison.totals.more, 0, "{comparison:?}");
}

#[test]
fn an_ordered_webhook_keeps_the_logs_order_whatever_fails() {
    let fake = endpoint(Manners::default(), "requests 1..3 status 503\nrequests 5..7 lost");
    let more = "    mode: array\n    format: native\n    ordered: true\n    batch: {size: 50}\n";
    deliver(2_000, &keys(&fake, more));
    let report = fake.report();
    assert_complete(2_000, &report);
    assert_eq!(report.order.descents_across, 0, "{:?}", report.order);
}
