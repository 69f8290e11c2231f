//! Opsgenie: alerts within every limit, teams by guard and severity; against a strict fake of the
//! Alert API.

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

use loadgen::account::Book;
use loadgen::fake::{Alerts, Fake, Opsgenie, PagerDuty, Vendor};
use serde_json::{Value, json};
use shrike::config::{Config, Host};
use shrike::event::{Event, Frame, Opened, Opening, OpeningOptions};
use shrike::log::Log;
use shrike::pipeline::{Engine, Render};
use shrike::vendors::opsgenie::OPSGENIE;

use engine::{append, drained};
use equation::assert_equation;
use fake::{assert_in_order, started};
use wait::wait_until;

fn load(keys: &str) -> Result<Config, String> {
    let text = format!("exporters:\n  opsgenie: {{{keys}}}\n");
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
        "threat": {"tactic": "TA0006"},
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

/// The alert that would be made for an event with these keys.
fn alert(keys: &str, event: &Value) -> Value {
    let config = load(&format!("api_key: k3y, {keys}")).expect("the keys are right");
    let spec = config.exporter_spec(&config.exporters[0], &Host::default());
    let mut render = Render::new(&spec).expect("it compiles");
    let record = event.to_string();
    let opening = Opening::new(&OpeningOptions::default());
    let (mut arena, mut opened) = (Vec::new(), Opened::default());
    opening.begin(&mut arena);
    let (frame, record) = (Frame::default(), record.as_bytes());
    opening.open(&frame, record, &mut arena, &mut opened).expect("an event");
    let mut out = Vec::new();
    assert!(render.event(&Event::new(&opened, frame, record, &arena), 0, &mut out));
    serde_json::from_slice(&out).expect("an alert is JSON")
}

#[test]
fn an_alert_says_what_happened_and_whom_it_calls() {
    let found = alert(
        "tags: [prod], user: shrike, note: see the wiki, actions: [Isolate], \
         responders: [{type: schedule, id: 8f}, {type: user, username: a@b.example}], \
         visible_to: [{type: team, name: Audit}]",
        &event(|_| {}),
    );
    let description = "Details\nGuard: secret_leak\nSeverity: critical\nReason: a key\n\n\
                       Session\nID: s-1\nUser: N/A\nTenant: N/A\nEnvironment: N/A\n\n\
                       Resource\nType: file\nName: .env\nPath: /srv/.env\nHost: N/A\n\n\
                       Policy\nRuleset: N/A\nHash: N/A\n\n\
                       Generated at: 2026-02-06T09:00:03.12Z";
    let expected = json!({
        "message": "[secret_leak] a key",
        "alias": "clawdstrike-secret_leak-s-1",
        "description": description,
        "responders": [
            {"type": "schedule", "id": "8f"},
            {"type": "user", "username": "a@b.example"},
        ],
        "visibleTo": [{"type": "team", "name": "Audit"}],
        "actions": ["Isolate"],
        "tags": ["prod", "guard:secret_leak", "severity:critical", "event_type:secret_detected"],
        "details": {
            "event_id": "019c322d-fa80-7f99-8d84-b44109f58c77",
            "event_type": "secret_detected",
            "session_id": "s-1",
            "resource_type": "file",
            "resource_name": ".env",
            "resource_path": "/srv/.env",
            "allowed": "false",
            "mitre_tactic": "TA0006",
        },
        "entity": ".env",
        "source": "clawdstrike-coder-01",
        "priority": "P1",
        "user": "shrike",
        "note": "see the wiki",
    });
    assert_eq!(found["description"], expected["description"]);
    assert_eq!(found, expected);
}

/// Characters of three bytes: what is cut at bytes would be no text.
#[test]
fn every_limit_holds_for_texts_of_several_bytes() {
    let long = "\u{20ac}".repeat(20_000);
    let tags: Vec<String> = (0..30).map(|n| format!("{n}{}", "\u{20ac}".repeat(60))).collect();
    let found = alert(
        &format!("tags: {}, alias_template: '{{resource}}'", json!(tags)),
        &event(|event| {
            for (pointer, name) in [
                ("/decision", "reason"),
                ("/decision", "guard"),
                ("/session", "id"),
                ("/resource", "name"),
                ("/resource", "path"),
                ("/resource", "host"),
                ("/agent", "id"),
            ] {
                event.pointer_mut(pointer).expect("it is there")[name] = json!(long);
            }
            event["session"]["user_id"] = json!(long);
            event["decision"]["policy_hash"] = json!(long);
        }),
    );
    let length = |key: &str| found[key].as_str().expect("a text").chars().count();
    assert_eq!((length("message"), length("entity"), length("source")), (130, 512, 100));
    assert!(length("description") <= 15_000);
    assert!(found["description"].as_str().is_some_and(|it| it.contains("Generated at: 2026")));
    let alias = found["alias"].as_str().expect("a text");
    assert!(alias.len() <= 512 && alias.chars().nth(146) == Some('~'), "{alias}");
    let tags = found["tags"].as_array().expect("tags");
    assert_eq!(tags.len(), 20, "the generated ones are kept");
    assert!(tags.iter().all(|tag| tag.as_str().is_some_and(|it| it.chars().count() <= 50)));
    assert!(tags[17].as_str().is_some_and(|tag| tag.starts_with("guard:\u{20ac}")));
    let details = found["details"].as_object().expect("details");
    let total: usize = details
        .iter()
        .map(|(key, text)| key.len() + text.as_str().expect("texts").chars().count())
        .sum();
    assert!((6_000..=8_000).contains(&total), "{total}");
}

#[test]
fn priorities_follow_severities_and_can_be_chosen() {
    let of = |keys: &str, severity: &str| {
        let event = event(|event| event["decision"]["severity"] = json!(severity));
        alert(&format!("min_severity: none, {keys}"), &event)["priority"].clone()
    };
    for (severity, expected) in
        [("critical", "P1"), ("high", "P2"), ("medium", "P3"), ("low", "P4"), ("info", "P5")]
    {
        assert_eq!(of("", severity), expected);
    }
    assert_eq!(of("priority_mapping: {high: P1}", "high"), "P1");
}

#[test]
fn teams_of_guard_and_severity_are_called_beside_the_others_and_once() {
    let keys = "responders: [{type: team, name: SecOps}], routing: {by_guard: {secret_leak: \
                [Keys, SecOps], egress: Network}, by_severity: {critical: [Duty, Keys]}}";
    let called = |guard: &str, severity: &str| {
        let event = event(|event| {
            event["decision"]["guard"] = json!(guard);
            event["decision"]["severity"] = json!(severity);
        });
        let alert = alert(keys, &event);
        let name = |it: &Value| it["name"].as_str().expect("teams have names").to_owned();
        alert["responders"].as_array().expect("some").iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(called("secret_leak", "critical"), ["SecOps", "Keys", "Duty"]);
    assert_eq!(called("secret_leak", "high"), ["SecOps", "Keys"]);
    assert_eq!(called("other", "critical"), ["SecOps", "Duty", "Keys"]);
    assert_eq!(called("egress", "critical"), ["SecOps", "Network", "Duty", "Keys"]);
    assert_eq!(called("other", "high"), ["SecOps"]);
    let bare = alert("", &event(|_| {}));
    assert!(bare.get("responders").is_none(), "{bare}");
}

#[test]
fn flavor_and_region_say_where_and_opsgenie_is_said_to_end() {
    let loaded = |keys: &str| load(&format!("api_key: k3y, {keys}")).expect("it loads");
    let place = |keys: &str| {
        let places = (OPSGENIE.endpoints)(&loaded(keys).exporters[0].settings.options);
        places.expect("a place")[0].to_string()
    };
    assert_eq!(place(""), "https://api.opsgenie.com/");
    assert_eq!(place("region: eu"), "https://api.eu.opsgenie.com/");
    assert_eq!(place("flavor: jsm"), "https://api.atlassian.com/jsm/ops/integration");
    for own in ["https://p.example/x", "https://p.example/x/v2/", "https://p.example/x/v2/alerts"] {
        assert_eq!(place(&format!("api_endpoint: '{own}'")), "https://p.example/x");
    }
    assert_eq!(
        loaded("").notes,
        ["exporter opsgenie: Opsgenie is announced to shut down on 5 April 2027; move to Jira \
          Service Management and set `flavor: jsm`"]
    );
    assert!(loaded("flavor: jsm").notes.is_empty());
}

/// "A start-up warning appears for opsgenie."
#[test]
fn a_start_warns_of_what_an_operator_should_know() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let said = |flavor: &str| {
        let config = format!(
            "global: {{state_dir: ./state}}\ninputs: [{{type: stdin}}]\nexporters:\n  opsgenie: \
             {{api_key: k3y, flavor: {flavor}, api_endpoint: 'http://127.0.0.1:1'}}\n"
        );
        std::fs::write(dir.path().join("c.yaml"), config).expect("the directory is ours");
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_shrike"))
            .args(["run", "--drain", "--config", "c.yaml"])
            .current_dir(dir.path())
            .stdin(std::process::Stdio::null())
            .output()
            .expect("the command starts");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let warned = said("opsgenie");
    let line = warned.lines().find(|line| line.contains("shut down on 5 April 2027"));
    assert!(line.is_some_and(|line| line.contains("WARN")), "{warned}");
    assert!(!said("jsm").contains("shut down"));
}

#[test]
fn mistakes_are_named() {
    for (keys, expected) in [
        ("flavor: jsm", "exporters.opsgenie.api_key: is required"),
        ("api_key: k, flavor: compass", "flavor: expected opsgenie or jsm"),
        ("api_key: k, flavor: jsm, region: eu", "region: has no effect with flavor jsm"),
        ("api_key: k, priority_mapping: {high: P6}", "priority_mapping.high: expected P1"),
        (
            "api_key: k, alias_template: '{gard}'",
            "alias_template: has no `gard`; did you mean `guard`?",
        ),
        ("api_key: k, responders: [{type: team}]", "responders: entry 1: needs id or name"),
        ("api_key: k, responders: [{type: user, name: a}]", "entry 1: needs id or username"),
        ("api_key: k, responders: [{name: a}]", "responders: entry 1: needs a type"),
        ("api_key: k, responders: [{type: group, id: a}]", "entry 1: expected the type team, user"),
        (
            "api_key: k, visible_to: [{type: schedule, id: a}]",
            "visible_to: entry 1: expected the type",
        ),
        ("api_key: k, responders: [{type: team, id: a, name: b}]", "takes a type and one of id"),
        ("api_key: k, responders: [{typ: team}]", "responders[0].typ: unknown key; did you mean"),
        ("api_key: k, routing: {by_severity: {urgent: a}}", "by_severity.urgent: no severity"),
        ("api_key: k, routing: [{condition: default}]", "routing: expected a map with by_guard or"),
        ("api_key: k, heartbeat: {interval_minutes: 0}", "heartbeat.interval_minutes: expected"),
    ] {
        let error = load(keys).map(|_| ()).expect_err(keys);
        assert!(error.contains(expected), "{keys}: {error}");
    }
    let many: Vec<Value> =
        (0..51).map(|n| json!({"type": "team", "name": format!("t{n}")})).collect();
    let error = load(&format!("api_key: k, responders: {}", json!(many))).map(|_| ());
    assert!(error.expect_err("too many").contains("responders: has 51 entries, at most 50"));
}

#[test]
fn times_are_numbers_in_the_unit_of_their_key_or_texts_with_one() {
    for (keys, key, milliseconds) in [
        ("heartbeat: {interval_minutes: 2}", "heartbeat.interval_minutes", 120_000),
        ("heartbeat: {interval_minutes: 90s}", "heartbeat.interval_minutes", 90_000),
        ("auto_resolve: {after_minutes: 4h}", "auto_resolve.after_minutes", 14_400_000),
        ("deduplication: {window_seconds: 5m}", "deduplication.window_seconds", 300_000),
    ] {
        let config = load(&format!("api_key: k, {keys}")).unwrap_or_else(|it| panic!("{it}"));
        let found = config.exporters[0].settings.options.number(key);
        assert_eq!(found, Some(milliseconds), "{keys}");
    }
    let error = load("api_key: k, heartbeat: {interval_minutes: 9s}").map(|_| ());
    assert!(error.expect_err("too often").contains("from 10s to 1d"));
}

fn opsgenie(script: &str) -> (Fake, Alerts, Arc<Book>) {
    let book = Arc::new(Book::new("opsgenie"));
    let opsgenie = Opsgenie::new(Arc::clone(&book), Some("k3y".to_owned()));
    let alerts = opsgenie.alerts();
    (started(Vendor::Opsgenie(opsgenie), &book, script), alerts, book)
}

fn engine(dir: &Path, exporters: &str) -> (Config, Log) {
    let text = format!(
        "global: {{state_dir: {}}}\nlog: {{segment_bytes: 16MiB}}\npipeline: {{workers: 2}}\n\
         exporters:\n{exporters}",
        dir.join("state").display()
    );
    let config = config::load(&text).unwrap_or_else(|error| panic!("{error}"));
    let (log, _) = Log::open(config.log.clone()).expect("the directory is ours");
    (config, log)
}

fn numbered(number: usize, session: &str) -> Value {
    event(|event| {
        event["event_id"] = json!(format!("019c322d-fa80-7f99-8d84-0000{number:08x}"));
        event["session"]["id"] = json!(session);
    })
}

#[test]
fn events_of_a_session_are_one_alert_of_either_flavor() {
    for path in ["", "/jsm/ops/integration"] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (fake, alerts, book) = opsgenie("");
        let (config, log) = engine(
            dir.path(),
            &format!(
                "  opsgenie: {{api_key: k3y, from: earliest, api_endpoint: 'http://{}{path}', \
                 routing: {{by_guard: {{secret_leak: [Keys]}}}}, \
                 deduplication: {{window_seconds: 0}}}}\n",
                fake.addr()
            ),
        );
        append(&log, [numbered(1, "s-1"), numbered(2, "s-1"), numbered(3, "s-2")]);
        let status = drained(&config, &log);
        assert_eq!(status.exporters[0].counts.delivered, 3);
        let alerts = alerts.all();
        assert_eq!(alerts["clawdstrike-secret_leak-s-1"].count, 2);
        assert_eq!(alerts["clawdstrike-secret_leak-s-2"].responders, ["team Keys"]);
        assert_in_order(&book);
        fake.stop();
    }
}

/// "Sent independently of PagerDuty: one failing never resends the other."
#[test]
fn what_fails_at_one_is_not_sent_again_to_the_other() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (fake, alerts, _) = opsgenie("on alerts from 0s to 400ms status 503");
    let book = Arc::new(Book::new("pagerduty"));
    let pagerduty = PagerDuty::new(Arc::clone(&book), Vec::new());
    let incidents = pagerduty.incidents();
    let other = started(Vendor::PagerDuty(pagerduty), &book, "");
    let (config, log) = engine(
        dir.path(),
        &format!(
            "  alerting:\n    min_severity: high\n    from: earliest\n    retry: \
             {{initial_backoff_ms: 20, max_backoff_ms: 100}}\n    circuit_breaker: {{open_ms: \
             100}}\n    opsgenie: {{api_key: k3y, api_endpoint: 'http://{}'}}\n    pagerduty: \
             {{routing_key: 0123456789abcdef0123456789abcdef, api_endpoint: 'http://{}'}}\n",
            fake.addr(),
            other.addr()
        ),
    );
    append(&log, [numbered(1, "s-1"), numbered(2, "s-2")]);
    let status = drained(&config, &log);
    assert!(status.exporters.iter().all(|exporter| exporter.counts.delivered == 2));
    assert_eq!(alerts.all().len(), 2);
    let incidents = incidents.all();
    assert_eq!(incidents.len(), 2);
    assert!(incidents.values().all(|incident| incident.triggers == 1), "{incidents:?}");
    fake.stop();
    other.stop();
}

#[test]
fn a_wrong_key_holds_and_loses_nothing() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (fake, alerts, _) = opsgenie("");
    let (config, log) = engine(
        dir.path(),
        &format!(
            "  opsgenie: {{api_key: wr0ng, from: earliest, api_endpoint: 'http://{}'}}\n",
            fake.addr()
        ),
    );
    append(&log, [numbered(1, "s-1")]);
    let engine =
        Engine::start(log.clone(), config.engine_options(&Host::default())).expect("it starts");
    wait_until("it is held", || engine.status().exporters[0].state == "auth_failed");
    let status = assert_equation(engine.end());
    assert_eq!((status.exporters[0].pending, alerts.all().len()), (1, 0));
    fake.stop();
}
