//! Slack: messages one by one, channels that wait alone, text where blocks are refused, and what a
//! lost answer costs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use loadgen::account::Book;
use loadgen::fake::{Categories, Fake, Slack, Vendor};
use shrike::config::{Config, Flags, Host, System, Text};
use shrike::pipeline::{Engine, Status};
use shrike::vendors;

use crate::equation::assert_equation;
use crate::{assert_complete, deliver, fake, filled};

type Refusals = &'static [(&'static str, &'static str)];

fn workspace(refusals: Refusals, script: &str) -> (Fake, Categories) {
    let book = Arc::new(Book::new("slack"));
    let slack = Slack::new(Arc::clone(&book), Some("xoxb-s3cret".to_owned()));
    let slack = refusals.iter().fold(slack, |slack, (channel, code)| slack.refusing(channel, code));
    let channels = slack.channels();
    (fake(Vendor::Slack(slack), book, script), channels)
}

/// As fast as the fake takes them: people are not asked here.
const FAST: &str = "    min_severity: info\n    dedup_window_seconds: 0\n    \
                    rate_limit: {per_minute: 6000, burst: 1000}\n";

fn hook(fake: &Fake, more: &str) -> String {
    let addr = fake.addr();
    format!("    type: slack\n    webhook_url: http://{addr}/services/T/B/usual\n{FAST}{more}")
}

fn bot(fake: &Fake, more: &str) -> String {
    let addr = fake.addr();
    format!(
        "    type: slack\n    bot_token: xoxb-s3cret\n    channel: C1\n    api_base: \
         http://{addr}/api\n{FAST}{more}"
    )
}

/// Runs the engine until it says so, and ends it.
fn run(events: u64, exporter: &str, until: impl Fn(&Status) -> bool) -> Status {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let text = format!(
        "global: {{state_dir: {}, shutdown_timeout_ms: 200}}\npipeline: {{workers: 2}}\nexporters:\n  one:\n    \
         from: earliest\n    retry: {{initial_backoff_ms: 5, max_backoff_ms: 20}}\n{exporter}",
        dir.path().join("state").display()
    );
    let text = Text::File { name: "test".to_owned(), text: text.into() };
    let config = Config::load(&text, &Flags::default(), vendors::ALL, &System)
        .unwrap_or_else(|error| panic!("{error}"));
    let log = filled(&config, events);
    let engine = Engine::start(log, config.engine_options(&Host::default())).expect("it starts");
    let patience = Instant::now() + Duration::from_secs(60);
    while !until(&engine.status()) {
        assert!(Instant::now() < patience, "{:?}", engine.status());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_equation(engine.end())
}

#[test]
fn messages_arrive_by_both_transports_and_in_order() {
    let (fake, channels) = workspace(&[], "");
    let status = deliver(300, &hook(&fake, "    base_url: https://console.example\n"));
    assert_eq!(status.exporters[0].counts.delivered, 300);
    assert_complete(300, &fake.report());
    assert_eq!(fake.report().order.descents_across, 0, "people read from top to bottom");
    assert_eq!(channels.counts()["usual"], 300);
    let (fake, channels) = workspace(&[], "");
    let more = "    formatting: {color_by_severity: false}\n    identity: {username: shrike}\n";
    let status = deliver(300, &bot(&fake, more));
    assert_eq!(status.exporters[0].counts.delivered, 300);
    assert_complete(300, &fake.report());
    assert_eq!(channels.counts()["C1"], 300);
}

#[test]
fn maps_and_rules_choose_the_channel() {
    let (fake, channels) = workspace(&[], "");
    let addr = fake.addr();
    let more = format!(
        "    routing:\n      by_severity: {{critical: http://{addr}/services/T/B/critical}}\n      \
         rules:\n        - {{condition: \"severity == 'high'\", webhook_url: \
         http://{addr}/services/T/B/high}}\n"
    );
    deliver(400, &hook(&fake, &more));
    assert_complete(400, &fake.report());
    let by_hook = channels.counts();
    assert!(by_hook.len() == 3 && by_hook.values().sum::<u64>() == 400, "{by_hook:?}");
    let (fake, channels) = workspace(&[], "");
    let more = "    routing:\n      by_severity: {critical: critical, high: high}\n";
    deliver(400, &bot(&fake, more));
    let by_bot = channels.counts();
    let counts = |it: &std::collections::BTreeMap<String, u64>| (it["critical"], it["high"]);
    assert_eq!(counts(&by_hook), counts(&by_bot));
}

#[test]
fn what_is_refused_goes_once_more_as_text_and_then_to_the_dead_letters() {
    for bad in ["invalid_payload", "invalid_blocks"] {
        let refusals: Refusals = match bad {
            "invalid_blocks" => &[("usual", "invalid_blocks")],
            _ => &[("usual", "invalid_payload")],
        };
        let (fake, _) = workspace(refusals, "");
        let status = deliver(20, &hook(&fake, ""));
        assert_eq!(status.exporters[0].counts.delivered, 20, "{bad}: text is taken");
        assert_complete(20, &fake.report());
    }
    let (fake, _) = workspace(&[("usual", "no_text")], "");
    let status = deliver(5, &hook(&fake, ""));
    let counts = status.exporters[0].counts;
    assert_eq!((counts.delivered, counts.dead_lettered), (0, 5), "text is refused too");
    let (fake, _) = workspace(&[("C1", "invalid_blocks")], "");
    assert_eq!(deliver(20, &bot(&fake, "")).exporters[0].counts.delivered, 20);
}

#[test]
fn a_channel_that_is_gone_holds_its_route_alone() {
    for (code, keys) in [("is_archived", true), ("channel_not_found", true), ("no_service", false)]
    {
        let refusals: Refusals = match code {
            "is_archived" => &[("gone", "is_archived")],
            "channel_not_found" => &[("gone", "channel_not_found")],
            _ => &[("gone", "no_service")],
        };
        let (fake, channels) = workspace(refusals, "");
        let addr = fake.addr();
        let exporter = match keys {
            true => bot(&fake, "    routing: {by_severity: {critical: gone}}\n"),
            false => hook(
                &fake,
                &format!(
                    "    routing: {{by_severity: {{critical: \"http://{addr}/services/T/B/gone\"}}}}\n"
                ),
            ),
        };
        let settled = |status: &Status| {
            let exporter = &status.exporters[0];
            exporter.counts.delivered > 200
                && exporter.counts.delivered + exporter.pending == exporter.in_range
                && exporter.pending < 64
        };
        let status = run(300, &exporter, settled);
        let exporter = &status.exporters[0];
        assert_eq!(exporter.counts.dead_lettered, 0, "{code}");
        assert!(exporter.pending > 0, "{code}: critical ones wait");
        assert!(!channels.counts().contains_key("gone"));
        assert!(
            exporter.last_error.as_ref().is_some_and(|(_, it)| it.contains(code)),
            "{exporter:?}"
        );
    }
}

#[test]
fn an_answer_that_is_lost_costs_one_repeat_at_most() {
    let (fake, _) = workspace(&[], "requests 0..1 lost");
    let status = deliver(10, &hook(&fake, ""));
    assert_eq!(status.exporters[0].counts.delivered, 10);
    let report = fake.report();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    let (fake, channels) = workspace(&[], "lost");
    let keys = hook(&fake, "    circuit_breaker: {enabled: false}\n    timeout_ms: 1000\n");
    let status = run(3, &keys, |status| status.exporters[0].counts.dead_lettered == 3);
    assert_eq!(status.exporters[0].counts.delivered, 0);
    assert_eq!(channels.counts()["usual"], 6, "each was posted twice, and never again");
}

#[test]
fn each_channel_has_a_pace_of_its_own() {
    let (fake, channels) = workspace(&[], "");
    let keys = bot(&fake, "    routing: {by_severity: {info: quiet, low: quiet, medium: quiet}}\n");
    let keys = keys.replace("per_minute: 6000, burst: 1000", "per_minute: 1, burst: 3");
    let sent = |status: &Status| status.exporters[0].counts.delivered == 6;
    let status = run(200, &keys, sent);
    assert_eq!(status.exporters[0].counts.dead_lettered, 0);
    let counts = channels.counts();
    assert_eq!((counts["C1"], counts["quiet"]), (3, 3), "a burst to each");
}

#[test]
fn a_channel_that_is_throttled_goes_on_after_the_time_that_was_asked_for() {
    let (fake, _) = workspace(&[], "requests 2..4 throttle 1s");
    let began = Instant::now();
    let status = deliver(20, &hook(&fake, ""));
    assert_eq!(status.exporters[0].counts.delivered, 20);
    assert!(began.elapsed() >= Duration::from_secs(2), "twice a second: {:?}", began.elapsed());
    assert_complete(20, &fake.report());
}

#[test]
fn a_token_that_is_refused_holds_and_burns_nothing() {
    let (fake, _) = workspace(&[], "");
    let keys = bot(&fake, "").replace("xoxb-s3cret", "xoxb-0ther");
    let said = |status: &Status| status.exporters[0].last_error.is_some();
    let status = run(10, &keys, said);
    let exporter = &status.exporters[0];
    assert_eq!((exporter.counts.delivered, exporter.counts.dead_lettered), (0, 0));
    let (_, error) = exporter.last_error.clone().expect("it was waited for");
    assert!(error.contains("invalid_auth") && !error.contains("0ther"), "{error}");
}

#[test]
fn the_url_of_a_route_is_not_shown_where_an_answer_repeats_it() {
    let (fake, _) = workspace(&[("rout3key", "echo")], "");
    let addr = fake.addr();
    let more = format!(
        "    routing: {{by_severity: {{critical: \"http://{addr}/services/T/B/rout3key\"}}}}\n"
    );
    let said = |status: &Status| status.exporters[0].last_error.is_some();
    let status = run(300, &hook(&fake, &more), said);
    let (_, error) = status.exporters[0].last_error.clone().expect("it was waited for");
    assert!(error.contains("cannot POST") && !error.contains("rout3key"), "{error}");
}
