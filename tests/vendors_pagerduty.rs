//! PagerDuty: triggers, keys that join them, routes by guard and tenant; against a strict fake of
//! the Events API.

#[path = "support/config.rs"]
mod config;
#[path = "support/engine.rs"]
mod engine;
#[path = "support/equation.rs"]
mod equation;
#[path = "support/fake.rs"]
mod fake;
#[path = "support/wait.rs"]
mod wait;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use loadgen::account::Book;
use loadgen::fake::{Fake, Incident, Incidents, PagerDuty, Vendor};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use shrike::config::{Config, Host};
use shrike::event::{Event, Frame, Opened, Opening, OpeningOptions};
use shrike::log::Log;
use shrike::pipeline::{Ended, Engine, Render};
use shrike::vendors::pagerduty::PAGERDUTY;

use engine::{append, drained};
use equation::assert_equation;
use fake::{assert_in_order, started};
use wait::{PATIENCE, wait_until};

const KEY: &str = "0123456789abcdef0123456789abcdef";
const LEAKS: &str = "fedcba9876543210fedcba9876543210";
const ACME: &str = "00000000aaaaaaaa00000000aaaaaaaa";

fn load(keys: &str) -> Result<Config, String> {
    let text = format!("exporters:\n  pagerduty: {{{keys}}}\n");
    config::load(&text)
}

/// An event, changed.
fn event(change: impl FnOnce(&mut Value)) -> Value {
    let mut event = json!({
        "schema_version": "1.0.0",
        "event_id": "019c322d-fa80-7f99-8d84-b44109f58c77",
        "event_type": "secret_detected",
        "event_category": "file",
        "timestamp": "2026-02-06T09:00:03.12Z",
        "agent": {"id": "coder-01", "name": "hushd", "version": "0.1.0", "type": "clawdstrike"},
        "session": {"id": "s-1"},
        "outcome": "failure",
        "action": "write",
        "threat": {"tactic": "TA0006", "technique": "T1552"},
        "decision": {
            "allowed": false, "guard": "secret_leak", "severity": "critical", "reason": "a key",
        },
        "resource": {"type": "file", "name": ".env", "path": "/srv/.env"},
        "metadata": {"size": 7},
        "labels": {},
    });
    change(&mut event);
    event
}

/// What would be sent for an event with these keys; nothing where the exporter does not take it.
fn rendered(keys: &str, event: &Value) -> Option<Value> {
    let config = load(&format!("routing_key: {KEY}, {keys}")).expect("the keys are right");
    let spec = config.exporter_spec(&config.exporters[0], &Host::default());
    let mut render = Render::new(&spec).expect("it compiles");
    let record = event.to_string();
    let opening = Opening::new(&OpeningOptions::default());
    let (mut arena, mut opened) = (Vec::new(), Opened::default());
    opening.begin(&mut arena);
    let (frame, record) = (Frame::default(), record.as_bytes());
    opening.open(&frame, record, &mut arena, &mut opened).expect("an event");
    let mut out = Vec::new();
    let is_taken = render.event(&Event::new(&opened, frame, record, &arena), 0, &mut out);
    is_taken.then(|| serde_json::from_slice(&out).expect("a trigger is JSON"))
}

fn trigger(keys: &str, event: &Value) -> Value {
    rendered(keys, event).expect("the exporter takes it")
}

#[test]
fn an_incident_says_what_happened_where_and_to_whom() {
    let found = trigger(
        "base_url: 'https://soc.example/', client_url: 'https://soc.example', \
         links: [{href: 'https://wiki.example/leaks', text: 'What to \"do\"'}], \
         images: [{src: 'https://soc.example/a.png', href: 'https://soc.example', alt: 'A \"b\"'}, \
         {src: 'https://soc.example/b.png'}]",
        &event(|_| {}),
    );
    let expected = json!({
        // Eyes do not see it.
        "routing_key": "***",
        "event_action": "trigger",
        "dedup_key": "secret_leak:s-1",
        "payload": {
            "summary": "[secret_leak] a key",
            "source": "clawdstrike-coder-01",
            "severity": "critical",
            "timestamp": "2026-02-06T09:00:03.120Z",
            "component": "secret_leak",
            "group": "default",
            "class": "secret_detected",
            "custom_details": {
                "event_id": "019c322d-fa80-7f99-8d84-b44109f58c77",
                "event_type": "secret_detected",
                "session_id": "s-1",
                "resource_type": "file",
                "resource_name": ".env",
                "resource_path": "/srv/.env",
                "allowed": false,
                "mitre_tactic": "TA0006",
                "mitre_technique": "T1552",
                "metadata": {"size": 7},
            },
        },
        "links": [
            {
                "href": "https://soc.example/events/019c322d-fa80-7f99-8d84-b44109f58c77",
                "text": "Event",
            },
            {"href": "https://wiki.example/leaks", "text": "What to \"do\""},
        ],
        "images": [
            {"src": "https://soc.example/a.png", "href": "https://soc.example", "alt": "A \"b\""},
            {"src": "https://soc.example/b.png"},
        ],
        "client": "shrike",
        "client_url": "https://soc.example",
    });
    assert_eq!(found, expected);
    let bare = trigger("custom_details: false", &event(|_| {}));
    assert!(bare["payload"].get("custom_details").is_none() && bare.get("links").is_none());
    assert!(bare.get("images").is_none());
}

#[test]
fn only_denials_that_are_severe_enough_alert() {
    let of = |allowed: bool, severity: &str| {
        event(|event| {
            event["decision"]["allowed"] = json!(allowed);
            event["decision"]["severity"] = json!(severity);
        })
    };
    let takes = |keys: &str, event: &Value| rendered(keys, event).is_some();
    assert!(takes("", &of(false, "high")) && takes("", &of(false, "critical")));
    assert!(!takes("", &of(false, "medium")) && !takes("", &of(true, "critical")));
    assert!(takes("min_severity: medium", &of(false, "medium")));
    assert!(takes("only_denied: false", &of(true, "high")));
    assert!(!takes("exclude_guards: [secret_leak]", &of(false, "critical")));
    assert!(!takes("include_guards: [other]", &of(false, "critical")));
}

#[test]
fn severities_are_those_of_pagerduty_and_can_be_chosen() {
    let of = |keys: &str, severity: &str| {
        let event = event(|event| event["decision"]["severity"] = json!(severity));
        trigger(keys, &event)["payload"]["severity"].clone()
    };
    for (severity, expected) in [
        ("critical", "critical"),
        ("high", "error"),
        ("medium", "warning"),
        ("low", "info"),
        ("info", "info"),
    ] {
        assert_eq!(of("min_severity: none", severity), expected);
    }
    assert_eq!(of("severity_mapping: {high: critical}", "high"), "critical");
}

#[test]
fn a_summary_is_one_line_of_at_most_1024_characters() {
    let of = |reason: &str| {
        let event = event(|event| event["decision"]["reason"] = json!(reason));
        let trigger = trigger("", &event);
        trigger["payload"]["summary"].as_str().expect("a text").to_owned()
    };
    assert_eq!(of("two\nlines\u{7}"), "[secret_leak] two lines ");
    assert_eq!(of(""), "[secret_leak] secret_detected");
    let long = of(&"\u{1f985}".repeat(3000));
    assert_eq!(long.chars().count(), 1024);
    assert!(long.starts_with("[secret_leak] \u{1f985}"));
}

#[test]
fn a_key_follows_from_the_event_and_stands_alone_when_it_is_long() {
    let of = |template: &str, change: &dyn Fn(&mut Value)| {
        let keys = format!("deduplication: {{key_template: \"{template}\"}}");
        trigger(&keys, &event(change))["dedup_key"].as_str().expect("a text").to_owned()
    };
    let all = "{guard}|{session_id}|{resource}|{tenant_id}|{tenant}|{event_type}|{agent_id}|\
               {environment}|{severity}|{{x}}";
    assert_eq!(
        of(all, &|_| {}),
        "secret_leak|s-1|.env|default|default|secret_detected|coder-01|default|critical|{x}"
    );
    // Put in once: what stands in a value stays as it is.
    let nested = of("{resource}", &|it| it["resource"]["name"] = json!("{guard}\n\"\u{e9}"));
    assert_eq!(nested, "{guard}_\"\u{e9}");
    let fits = of("{resource}", &|it| it["resource"]["name"] = json!("a".repeat(255)));
    assert_eq!(fits, "a".repeat(255));
    // 3 bytes a character: 60 of them are 180 bytes.
    for (char, kept) in [('a', 180), ('\u{20ac}', 60)] {
        let name: String = std::iter::repeat_n(char, 256).collect();
        let digest = Sha256::digest(name.as_bytes());
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let begin: String = std::iter::repeat_n(char, kept).collect();
        let found = of("{resource}", &|it| it["resource"]["name"] = json!(name));
        assert_eq!(found, format!("{begin}~{digest}"));
        assert!(found.len() <= 255);
    }
}

#[test]
fn what_is_hidden_is_not_said_in_the_summary_either() {
    let keys = "privacy: {fields: {deny: [decision.reason]}}";
    let found = trigger(keys, &event(|_| {}));
    assert_eq!(found["payload"]["summary"], "[secret_leak] [REDACTED]");
}

#[test]
fn mistakes_are_named() {
    for (keys, expected) in [
        ("", "exporters.pagerduty.routing_key: is required"),
        ("routing_key: abc", "exporters.pagerduty.routing_key: is no routing key; expected 32"),
        (
            "deduplication: {key_template: '{guard}:{sesion_id}'}",
            "key_template: has no `sesion_id`; did you mean `session_id`?",
        ),
        ("deduplication: {key_template: '{guard'}", "key_template: has a brace without"),
        ("deduplication: {key_template: '{date}'}", "key_template: has no `date`"),
        ("severity_mapping: {high: high}", "severity_mapping.high: expected critical, error"),
        ("links: [{text: a}]", "exporters.pagerduty.links: link 1: needs href"),
        ("links: [{href: 'ftp://a.b'}]", "links: link 1: href is no http or https URL"),
        ("images: [{alt: a}]", "exporters.pagerduty.images: image 1: needs src"),
        ("images: [{src: 'http://a.b/c.png'}]", "images: image 1: src is no https URL"),
        ("images: [{src: 'https://a.b', href: 'c'}]", "image 1: href is no http or https URL"),
        ("links: [{url: 'https://a.b'}]", "links[0].url: unknown key"),
        ("routing: {by_guard: {a: b}}", "exporters.pagerduty.routing.by_guard.a: is no routing"),
        ("deduplication: {window_seconds: 86401}", "deduplication.window_seconds: expected"),
        ("auto_resolve: {after_minutes: 0}", "auto_resolve.after_minutes: expected"),
    ] {
        let key = match keys {
            "" => String::new(),
            keys if keys.starts_with("routing_key") => keys.to_owned(),
            keys => format!("routing_key: {KEY}, {keys}"),
        };
        let error = load(&key).map(|_| ()).expect_err(keys);
        assert!(error.contains(expected), "{keys}: {error}");
        assert!(!error.contains(KEY), "{error}");
    }
}

#[test]
fn the_region_and_the_endpoint_say_where() {
    let place = |keys: &str| {
        let config = load(&format!("routing_key: {KEY}, {keys}")).expect("it loads");
        let places = (PAGERDUTY.endpoints)(&config.exporters[0].settings.options);
        places.expect("a place")[0].to_string()
    };
    assert_eq!(place(""), "https://events.pagerduty.com/");
    assert_eq!(place("region: eu"), "https://events.eu.pagerduty.com/");
    let own = "region: eu, api_endpoint: 'https://proxy.example/pd/v2/enqueue'";
    assert_eq!(place(own), "https://proxy.example/pd");
}

#[test]
fn the_group_of_the_planning_documents_is_read() {
    let text = format!(
        "exporters:\n  alerting:\n    min_severity: critical\n    exclude_guards: [noisy]\n    \
         pagerduty:\n      routing_key: {KEY}\n      dedup_key_template: '{{guard}}'\n"
    );
    let config = config::load(&text).expect("it loads");
    let exporter = &config.exporters[0];
    assert_eq!(exporter.settings.name, "pagerduty");
    assert_eq!(exporter.filter.min_severity, shrike::event::Severity::Critical);
    assert!(exporter.filter.only_denied, "the destination's own default");
    assert_eq!(
        exporter.settings.options.text("deduplication.key_template").as_deref(),
        Some("{guard}")
    );
    assert!(!config.shown.yaml().contains(KEY));
}

/// A fake that knows these integrations and plays this script.
fn fake(keys: &[&str], script: &str) -> (Fake, Incidents, Arc<Book>) {
    let book = Arc::new(Book::new("pagerduty"));
    let keys = keys.iter().map(|&key| key.to_owned()).collect();
    let pagerduty = PagerDuty::new(Arc::clone(&book), keys);
    let incidents = pagerduty.incidents();
    (started(Vendor::PagerDuty(pagerduty), &book, script), incidents, book)
}

fn engine(dir: &Path, keys: &str) -> (Config, Log) {
    // What becomes of requests is looked at: nothing is left out.
    let all = ", deduplication: {window_seconds: 0}";
    let text = format!(
        "global: {{state_dir: {}}}\nlog: {{segment_bytes: 16MiB}}\npipeline: {{workers: 2}}\n\
         exporters:\n  pagerduty: {{routing_key: {KEY}, from: earliest, {keys}{all}}}\n",
        dir.join("state").display()
    );
    let config = config::load(&text).unwrap_or_else(|error| panic!("{error}"));
    let (log, _) = Log::open(config.log.clone()).expect("the directory is ours");
    (config, log)
}

fn numbered(number: usize, guard: &str, tenant: Option<&str>, session: &str) -> Value {
    event(|event| {
        event["event_id"] = json!(format!("019c322d-fa80-7f99-8d84-0000{number:08x}"));
        event["decision"]["guard"] = json!(guard);
        event["session"]["id"] = json!(session);
        if let Some(tenant) = tenant {
            event["session"]["tenant_id"] = json!(tenant);
        }
    })
}

fn of(all: &Incidents, key: &str, dedup: &str) -> Incident {
    let found = all.all().remove(&(key.to_owned(), dedup.to_owned()));
    found.unwrap_or_else(|| panic!("no incident {key} {dedup}: {:?}", all.all()))
}

/// "E2E: critical fanout triggers exactly one incident."
#[test]
fn events_of_a_session_are_one_incident_of_the_key_that_is_for_them() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (fake, incidents, book) = fake(&[KEY, LEAKS, ACME], "");
    let keys = format!(
        "api_endpoint: 'http://{}', routing: {{by_guard: {{leak: {LEAKS}}}, by_tenant: {{acme: \
         {ACME}}}, rules: [{{condition: \"session.id == 's-9'\", routing_key: {ACME}}}]}}",
        fake.addr()
    );
    let (config, log) = engine(dir.path(), &keys);
    append(
        &log,
        [
            numbered(1, "egress", None, "s-1"),
            numbered(2, "egress", None, "s-1"),
            numbered(3, "leak", Some("acme"), "s-1"),
            numbered(4, "egress", Some("acme"), "s-1"),
            numbered(5, "egress", None, "s-9"),
            numbered(6, "leak", None, "s-9"),
            // Not severe enough.
            event(|event| event["decision"]["severity"] = json!("low")),
        ],
    );
    let status = drained(&config, &log);
    let counts = &status.exporters[0].counts;
    assert_eq!((counts.delivered, counts.filtered, counts.dead_lettered), (6, 1, 0));
    let triggers = |key, dedup| of(&incidents, key, dedup).triggers;
    assert_eq!(triggers(KEY, "egress:s-1"), 2);
    assert_eq!(triggers(LEAKS, "leak:s-1"), 1, "the guard wins over the tenant");
    assert_eq!(triggers(ACME, "egress:s-1"), 1);
    assert_eq!(triggers(ACME, "egress:s-9"), 1, "a rule");
    assert_eq!(triggers(LEAKS, "leak:s-9"), 1, "the guard wins over a rule");
    assert_eq!(incidents.all().len(), 5);
    assert_eq!(of(&incidents, KEY, "egress:s-1").opened, 1);
    assert_in_order(&book);
    fake.stop();
}

#[test]
fn a_body_above_512_kb_goes_without_metadata() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (fake, incidents, book) = fake(&[], "");
    let (config, log) = engine(dir.path(), &format!("api_endpoint: 'http://{}'", fake.addr()));
    let mut large = numbered(1, "egress", None, "s-1");
    large["metadata"] = json!({"text": "x".repeat(600_000)});
    append(&log, [large]);
    assert_eq!(drained(&config, &log).exporters[0].counts.delivered, 1);
    assert_eq!(of(&incidents, KEY, "egress:s-1").triggers, 1);
    assert_in_order(&book);
    fake.stop();
}

/// "An outage is not a failure of events."
#[test]
fn an_incident_is_opened_once_the_service_is_back() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (fake, incidents, _) = fake(&[], "on enqueue from 0s to 400ms status 503");
    let keys = format!(
        "api_endpoint: 'http://{}', retry: {{initial_backoff_ms: 20, max_backoff_ms: 100}}, \
         circuit_breaker: {{open_ms: 100}}",
        fake.addr()
    );
    let (config, log) = engine(dir.path(), &keys);
    append(&log, [numbered(1, "egress", None, "s-1"), numbered(2, "egress", None, "s-1")]);
    let status = drained(&config, &log);
    assert_eq!(status.exporters[0].counts.delivered, 2);
    assert_eq!(of(&incidents, KEY, "egress:s-1").opened, 1);
    fake.stop();
}

/// A wrong key holds what is for it, and nothing else.
#[test]
fn a_key_that_is_refused_holds_its_route_alone() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (fake, incidents, _) = fake(&[KEY], "");
    let keys =
        format!("api_endpoint: 'http://{}', routing: {{by_guard: {{leak: {LEAKS}}}}}", fake.addr());
    let (config, log) = engine(dir.path(), &keys);
    // More than a lane holds: they are set aside, so that they do not stand in the way.
    let leaks: Vec<Value> = (10..110).map(|number| numbered(number, "leak", None, "s-1")).collect();
    append(&log, leaks);
    append(&log, [numbered(2, "egress", None, "s-1")]);
    let engine =
        Engine::start(log.clone(), config.engine_options(&Host::default())).expect("it starts");
    wait_until("the other one goes", || engine.status().exporters[0].counts.delivered > 0);
    let status = assert_equation(engine.end());
    let exporter = &status.exporters[0];
    assert_eq!((exporter.counts.delivered, exporter.counts.dead_lettered), (1, 0), "{exporter:?}");
    assert_eq!(exporter.pending, 100);
    assert_eq!(of(&incidents, KEY, "egress:s-1").triggers, 1);
    let said = exporter.last_error.as_ref().map(|(_, text)| text.clone()).unwrap_or_default();
    assert!(!said.contains(LEAKS), "{said}");
    fake.stop();
}

/// "Per-key rate limit."
#[test]
fn a_key_takes_so_many_events_a_minute_and_others_go_on() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (fake, incidents, book) = fake(&[], "");
    let keys = format!(
        "api_endpoint: 'http://{}', rate_limit: {{per_key_per_minute: 60, per_key_burst: 2}}, \
         routing: {{by_guard: {{leak: {LEAKS}}}}}",
        fake.addr()
    );
    let (config, log) = engine(dir.path(), &keys);
    let mut events: Vec<Value> =
        (1..=4).map(|number| numbered(number, "leak", None, "s-1")).collect();
    events.push(numbered(5, "egress", None, "s-1"));
    append(&log, events);
    let begun = Instant::now();
    let engine =
        Engine::start(log.clone(), config.engine_options(&Host::default())).expect("it starts");
    let other = (KEY.to_owned(), "egress:s-1".to_owned());
    wait_until("the other one goes", || incidents.all().contains_key(&other));
    let ended = engine.drain(Instant::now() + PATIENCE);
    let status = assert_equation(engine.end());
    assert_eq!((ended, status.exporters[0].counts.delivered), (Ended::Settled, 5));
    assert_eq!(of(&incidents, LEAKS, "leak:s-1").triggers, 4);
    // Two at once, then one a second.
    assert!(begun.elapsed() >= Duration::from_millis(1_900), "{:?}", begun.elapsed());
    assert_in_order(&book);
    fake.stop();
}
