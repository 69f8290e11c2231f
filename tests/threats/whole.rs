//! The whole way: a feed tells, a guard is answered, events are marked wherever they go.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use shrike::event::Time;
use shrike::intel::{
    ActionSpec, CacheSpec, FeedSpec, Feeds, Intel, IntelSpec, ServerSpec, SignKind, TaxiiAuth, Tlp,
};

use crate::binary::wait_until;
use crate::opening::event;
use crate::place::{Place, Server, indicator};

const EARLY: &str = "2026-03-01T00:00:00.000001Z";
const LATE: &str = "2026-03-01T00:00:01.000001Z";

#[test]
fn a_feed_blocks_at_guards_and_marks_events_at_every_exporter() {
    let server = Server::start(0);
    server.feed.add(EARLY, &indicator("evil.example").to_string());
    let place = Place::new(server.port(), "escalate: {min_confidence: 80, to_severity: high}");
    let running = place.start();
    wait_until("it is known", || running.verdict("a.evil.example") == "block");
    assert_eq!(running.verdict("fine.example"), "none");
    assert_eq!(running.post("/v1/events", &event("a.evil.example").to_string()).0, 200);
    let has = |format: &str, text: &str| place.written(format).contains(text);
    wait_until("it is marked", || has("native", "\"threat_intel\""));
    let native: Value = serde_json::from_str(&place.written("native")).expect("one event");
    assert_eq!(native["decision"]["severity"], "high");
    let intel = &native["metadata"]["shrike"]["threat_intel"];
    assert_eq!((&intel["max_confidence"], &intel["escalated_from"]), (&json!(85), &json!("info")));
    assert_eq!(intel["matches"][0]["name"], "C2 at evil.example");
    wait_until("ECS", || has("ecs", "\"enrichments\":[{\"indicator\":{\"name\":\"evil.example\""));
    wait_until("OCSF", || has("ocsf", "\"enrichments\":[{\"name\":\"threat_intel\""));
    wait_until("CEF", || has("cef", "cn2=85 cn2Label=threatIntelConfidence"));
    // Nobody edits a list: the next poll brings what is new, and takes back what is.
    server.feed.add(LATE, &indicator("late.example").to_string());
    wait_until("what is new is known", || running.verdict("late.example") == "block");
    let mut gone = indicator("evil.example");
    gone["revoked"] = json!(true);
    gone["modified"] = json!("2026-02-01T00:00:00.000Z");
    server.feed.add("2026-03-01T00:00:02.000001Z", &gone.to_string());
    wait_until("what is taken back is gone", || running.verdict("evil.example") == "none");
    let status = place.status();
    let intel = &status["threat_intel"];
    assert_eq!(intel["feeds"][0]["indicators"], 1);
    assert!(intel["marked"].as_u64() > Some(0), "once for each opening: {status}");
    let text = place.run(&["status"], 0);
    assert!(text.contains("indicators: 1 domain; "), "{text}");
    assert_documented(&running.metrics());
    running.stop();
    server.stop();
}

/// Whether the guide names the metrics, and they have these values.
fn assert_documented(text: &str) {
    let lines = text.lines().map(|line| Ok(line.to_owned()));
    let scrape = prometheus_parse::Scrape::parse(lines).expect("Prometheus reads it");
    let ours = |it: &&prometheus_parse::Sample| it.metric.starts_with("shrike_threat_intel_");
    let samples: Vec<_> = scrape.samples.iter().filter(ours).collect();
    let guide = include_str!("../../docs/threat-intel.md");
    let name = |it: &&prometheus_parse::Sample| {
        it.metric.trim_end_matches("_sum").trim_end_matches("_count").to_owned()
    };
    let named: BTreeSet<String> = samples.iter().map(name).collect();
    assert_eq!(named.len(), 11, "{named:?}");
    for name in named {
        assert!(guide.contains(&format!("`{name}{{")), "{name} is not in the guide");
    }
    let number = |name: &str, label: &str, value: &str| {
        let is_it = |it: &&&prometheus_parse::Sample| {
            it.metric == format!("shrike_threat_intel_{name}")
                && it.labels.get(label) == Some(value)
        };
        let found = samples.iter().find(is_it).unwrap_or_else(|| panic!("{name} {label}={value}"));
        match found.value {
            prometheus_parse::Value::Counter(number) | prometheus_parse::Value::Gauge(number) => {
                number
            }
            _ => panic!("{name} is no number"),
        }
    };
    assert_eq!(number("indicators", "kind", "domain"), 1.0);
    assert_eq!(number("feed_indicators", "server", "fake"), 1.0);
    assert_eq!(number("stale", "server", "fake"), 0.0);
    assert!(number("polls_total", "result", "ok") >= 2.0);
    assert!(number("last_success_seconds", "server", "fake") > 1e9);
    for by in ["guard", "event"] {
        assert!(number("lookups_total", "by", by) >= number("hits_total", "by", by));
        assert!(number("hits_total", "by", by) >= 1.0);
    }
}

#[test]
fn what_is_known_outlives_a_kill_and_its_feed() {
    let server = Server::start(0);
    server.feed.add(EARLY, &indicator("evil.example").to_string());
    let place = Place::new(server.port(), "cache: {persistent: true, path: cache/intel}");
    let running = place.start();
    wait_until("it is known", || running.verdict("evil.example") == "block");
    wait_until("it is kept", || place.path("state/cache/intel").exists());
    running.kill();
    server.stop();
    let running = place.start();
    assert_eq!(running.verdict("evil.example"), "block", "before any poll");
    wait_until("the failure is told", || !place.feed()["problem"].is_null());
    wait_until("it is stale", || running.ask("evil.example") == ("block".to_owned(), true));
    let text = place.run(&["status"], 0);
    assert!(text.contains("stale") && text.contains("fake: threat_intel: fake: "), "{text}");
    let server = Server::start(place.feed_port);
    server.feed.add(EARLY, &indicator("evil.example").to_string());
    server.feed.add(LATE, &indicator("late.example").to_string());
    running.stop();
    let running = place.start();
    wait_until("it is read again", || running.ask("late.example") == ("block".to_owned(), false));
    running.stop();
    server.stop();
}

#[test]
fn a_damaged_cache_is_put_aside_and_stops_nothing() {
    let server = Server::start(0);
    let port = server.port();
    server.stop();
    let place = Place::new(port, "cache: {persistent: true, path: intel}");
    std::fs::create_dir(place.path("state")).expect("the directory is ours");
    std::fs::write(place.path("state/intel"), "no cache").expect("the directory is ours");
    let running = place.start();
    assert_eq!(running.verdict("evil.example"), "none");
    let names = std::fs::read_dir(place.path("state")).expect("it is there");
    let names: Vec<String> =
        names.map(|it| it.expect("it is there").file_name().to_string_lossy().into()).collect();
    assert!(names.iter().any(|name| name.starts_with("intel.corrupt")), "{names:?}");
    assert_eq!(running.post("/v1/events", &event("a.example").to_string()).0, 200);
    wait_until("others go on", || place.written("native").contains("a.example"));
    running.stop();
}

#[test]
fn a_reload_switches_it_on_and_off_and_keeps_what_is_known() {
    let server = Server::start(0);
    server.feed.add(EARLY, &indicator("evil.example").to_string());
    let place = Place::new(server.port(), "");
    let server_keys = Server::keys(place.feed_port);
    place.configure_intel("{enabled: false}");
    let running = place.start();
    let ask = r#"{"items":[{"type":"domain","value":"evil.example"}]}"#;
    assert_eq!(running.post("/v1/threat-intel/check", ask).0, 404);
    assert!(place.status().get("threat_intel").is_none());
    let reload = |intel: &str| {
        place.configure_intel(intel);
        place.run(&["reload"], 0);
    };
    let on = format!("enabled: true, servers: [{server_keys}]");
    reload(&format!("{{{on}}}"));
    wait_until("it is known", || running.verdict("evil.example") == "block");
    let polled = place.feed()["polled"].clone();
    // Another way to act, and another server beside it: the first is not asked anew.
    let other = server_keys.replace("name: fake", "name: other");
    let other = other.replace(&format!(":{}'", place.feed_port), ":1'");
    reload(&format!(
        "{{enabled: true, servers: [{server_keys}, {other}], actions: {{mode: alert_only}}}}"
    ));
    wait_until("guards are told otherwise", || running.verdict("evil.example") == "alert");
    assert_eq!(place.feed()["polled"], polled);
    reload("{enabled: false}");
    assert_eq!(running.post("/v1/threat-intel/check", ask).0, 404);
    assert_eq!(running.post("/v1/events", &event("evil.example").to_string()).0, 200);
    wait_until("it is written", || place.written("native").contains("evil.example"));
    assert!(!place.written("native").contains("threat_intel"));
    running.stop();
    server.stop();
}

#[test]
fn servers_are_asked_before_they_are_relied_on() {
    let server = Server::start(0);
    server.feed.add(EARLY, &indicator("evil.example").to_string());
    let place = Place::new(server.port(), "");
    let text = place.run(&["check", "--connect"], 0);
    assert!(text.contains("server fake: can be read, answered in "), "{text}");
    let wrong = Server::keys(place.feed_port).replace("s3cr3t-of-reader", "s3cr3t-of-nobody");
    place.configure_intel(&format!("{{enabled: true, servers: [{wrong}]}}"));
    let text = place.run(&["check", "--connect"], 2);
    assert!(text.contains("server fake: cannot be read: ") && text.contains("auth"), "{text}");
    assert!(!text.contains("s3cr3t"), "{text}");
    server.stop();
}

/// How long looking a value up takes while `goes_on`, in nanoseconds.
fn latencies(intel: &Intel, goes_on: impl Fn() -> bool) -> Histogram<u64> {
    let mut histogram = Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("bounds");
    let mut number = 0_u32;
    while goes_on() {
        number += 1;
        let value = format!("a.b{}.example", number % 1000);
        let begun = Instant::now();
        let found = intel.check(&intel.read(), SignKind::Domain, &value, Time::now()).len();
        let took = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        assert!(found <= 1);
        histogram.saturating_record(took);
    }
    histogram
}

/// Polls read, sort out, swap and save thousands of indicators in another thread; whoever looks a
/// value up waits for none of it. Medians are compared, which a busy machine hardly moves.
#[test]
fn lookups_take_as_long_during_a_poll_as_without_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Server::start(0);
    for n in 0..1000_u32 {
        let added = format!("2026-03-01T{:02}:{:02}:{:02}.000001Z", n / 3600, n / 60 % 60, n % 60);
        server.feed.add(&added, &indicator(&format!("b{n}.example")).to_string());
    }
    let of_reader =
        ["reader", "s3cr3t-of-reader"].map(|it| shrike::deliver::Secret::new(it.into()));
    let [username, password] = of_reader;
    let spec = IntelSpec {
        servers: vec![ServerSpec {
            name: "fake".into(),
            url: format!("http://127.0.0.1:{}", server.port()).parse().expect("a URL"),
            collection_id: loadgen::fake::TAXII_COLLECTION.to_owned(),
            auth: TaxiiAuth::Basic { username, password },
            requests_per_minute: 60_000,
            // Everything is read again all the time.
            feed: FeedSpec {
                interval: Duration::from_millis(1),
                full_sync: Duration::from_millis(1),
                ..FeedSpec::default()
            },
            ..ServerSpec::default()
        }],
        cache: CacheSpec { path: Some(dir.path().join("cache")), size_max: 100_000 },
        actions: ActionSpec::default(),
        never_block: Vec::new(),
        url_host_blocking: false,
        export_tlp: vec![Tlp::Clear],
        escalate: None,
    };
    let intel = Arc::new(Intel::default());
    let feeds = Feeds::start(&spec, &intel).expect("it starts");
    let polled = || intel.sources()[0].polled.load();
    wait_until("all is known", || polled() >= 1);
    let before = polled();
    let until = Instant::now() + Duration::from_secs(20);
    let during = latencies(&intel, || polled() < before + 3 && Instant::now() < until);
    assert!(polled() > before, "no poll came to its end meanwhile");
    feeds.stop();
    let until = Instant::now() + Duration::from_millis(300);
    let without = latencies(&intel, || Instant::now() < until);
    let tell = |it: &Histogram<u64>| {
        format!(
            "{} lookups, p50 {} ns, p99 {} ns, most {} ns",
            it.len(),
            it.value_at_quantile(0.5),
            it.value_at_quantile(0.99),
            it.max()
        )
    };
    println!("during polls: {}\nwithout: {}", tell(&during), tell(&without));
    // A lock that a poll holds, or a copy of the table, would take milliseconds.
    let bound = without.value_at_quantile(0.5) * 10 + 20_000;
    assert!(during.value_at_quantile(0.5) < bound, "{} / {}", tell(&during), tell(&without));
    assert!(during.value_at_quantile(0.9) < bound * 10, "{} / {}", tell(&during), tell(&without));
    server.stop();
}
