//! Maps from a value of the event to a route, and defaults of a destination's own.

use shrike::config::{Config, json_schema, reference};
use shrike::deliver::OptionValue;
use shrike::event::{Event, Frame, Opened, Opening, OpeningOptions, Severity};

use crate::world::{BELL, load_bell};

#[track_caller]
fn bell(keys: &str) -> Config {
    load_bell(keys).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(keys: &str) -> String {
    match load_bell(keys) {
        Ok(_) => "accepted".to_owned(),
        Err(error) => error.to_string().replace("shrike.yaml:", ""),
    }
}

#[test]
fn a_destination_may_have_other_defaults_than_all() {
    let filter = |keys: &str| bell(keys).exporters[0].filter.clone();
    let own = filter("    key: a\n");
    assert_eq!((own.min_severity, own.only_denied), (Severity::High, true));
    let written = filter("    min_severity: low\n    only_denied: false\n");
    assert_eq!((written.min_severity, written.only_denied), (Severity::Low, false));
    let none = filter("    filter: {min_severity: none}\n");
    assert_eq!((none.min_severity, none.only_denied), (Severity::Info, true));
    let shown = bell("    key: a\n").shown.yaml();
    assert!(shown.contains("min_severity: \"high\"") && shown.contains("only_denied: true"));
    let schema = json_schema(&[&BELL]);
    let filter = &schema["$defs"]["exporter.bell"]["properties"]["filter"]["properties"];
    assert_eq!(filter["min_severity"]["default"], "high");
    assert_eq!(filter["only_denied"]["default"], true);
    let reference = reference(&[&BELL]);
    assert!(reference.contains("`filter.min_severity` is high, `filter.only_denied` is true."));
}

const MAPPED: &str = "    key: own
    routing:
      rules:
        - {condition: \"guard == 'leak'\", key: of-a-rule}
        - {condition: default, tone: soft}
      by_guard: {leak: \"https://tower/leak\"}
      by_severity: {Critical: of-critical, high: \"${TOKEN}\"}
";

/// The options that routes change for an event of this guard and severity.
fn changed(config: &Config, guard: &str, severity: &str) -> String {
    let record = RECORD.replace("GUARD", guard).replace("SEVERITY", severity);
    let opening = Opening::new(&OpeningOptions::default());
    let (frame, record) = (Frame::default(), record.as_bytes());
    let (mut arena, mut opened) = (Vec::new(), Opened::default());
    opening.begin(&mut arena);
    opening.open(&frame, record, &mut arena, &mut opened).expect("the record is an event");
    let event = Event::new(&opened, frame, record, &arena);
    let route = config.exporters[0].routes.iter().find(|route| route.condition.holds(&event));
    let Some(route) = route else { return String::new() };
    let text = |value: &OptionValue| match value {
        OptionValue::Text(text) => text.clone(),
        OptionValue::Secret(secret) => secret.expose().to_owned(),
        value => panic!("{value:?}"),
    };
    route.options.iter().map(|(key, value)| format!("{key}={} ", text(value))).collect()
}

#[test]
fn maps_are_asked_before_rules_in_the_order_of_the_destination() {
    let config = bell(MAPPED);
    for (guard, severity, expected) in [
        ("leak", "critical", "key=of-critical "),
        ("leak", "high", "key=s3cr3t-from-the-environment "),
        ("leak", "medium", "tower_url=https://tower/leak "),
        ("other", "medium", "tone=soft "),
    ] {
        assert_eq!(changed(&config, guard, severity), expected, "{guard} {severity}");
    }
    let listed = bell("    routing: [{condition: \"guard == 'leak'\", key: b}]\n");
    assert_eq!(changed(&listed, "leak", "high"), "key=b ");
    assert_eq!(changed(&listed, "other", "high"), "");
}

#[test]
fn maps_are_shown_without_their_secrets() {
    let shown = bell(MAPPED).shown.yaml();
    for expected in [
        "by_guard: {\"leak\": \"***\"}",
        "by_severity: {\"Critical\": \"***\", \"high\": \"***\"}",
        "key: \"***\"",
    ] {
        assert!(shown.contains(expected), "{expected}\n{shown}");
    }
    assert!(!shown.contains("of-") && !shown.contains("s3cr3t") && !shown.contains("tower/leak"));
    let changed = MAPPED.replace("of-critical", "of-others");
    let changes = bell(MAPPED).shown.changes(&bell(&changed).shown);
    assert_eq!(changes, ["exporters.bell.routing.by_severity: another secret"]);
}

#[test]
fn mistakes_in_routes_are_told_where_they_are() {
    for (keys, expected) in [
        (
            "    routing: {by_severity: {urgent: a}}\n",
            "3:15: exporters.bell.routing.by_severity.urgent: no severity is called so; expected \
             info, low, medium, high or critical",
        ),
        (
            "    routing: {by_severity: {high: }}\n",
            "3:33: exporters.bell.routing.by_severity.high: expected a secret text, found nothing",
        ),
        (
            "    routing: {by_severity: {high: wrong-1}}\n",
            "3:15: exporters.bell.routing.by_severity.high: expected another",
        ),
        (
            "    routing: {rules: [{condition: default, key: wrong-1}]}\n",
            "3:23: exporters.bell.routing.rules[0].key: expected another",
        ),
        (
            "    key: wrong-1\n    routing: {by_severity: {high: wrong-1}}\n",
            "3:5: exporters.bell.key: expected another",
        ),
        (
            "    routing: {by_guard: {leak: \"http://tower/leak\"}}\n",
            "3:15: exporters.bell.routing.by_guard.leak: plain http to another host carries events \
             and credentials readably; use https, or set `allow_http: true`",
        ),
        (
            "    tone: soft\n    routing: {by_severity: {high: a}}\n",
            "4:15: exporters.bell.routing.by_severity.high: has no effect with the other keys of \
             this exporter",
        ),
        (
            "    routing: {by_gaurd: {}}\n",
            "3:15: exporters.bell.routing.by_gaurd: unknown key; did you mean `by_guard`?",
        ),
        (
            "    routing: {by_guard: [a]}\n",
            "3:25: exporters.bell.routing.by_guard: expected a map; each entry is an http or https \
             URL, kept secret, found a list",
        ),
        (
            "    routing: {rules: [{key: a}]}\n",
            "3:23: exporters.bell.routing.rules[0]: a rule needs a `condition`",
        ),
    ] {
        assert_eq!(refused(keys), expected, "{keys}");
    }
}

const RECORD: &str = concat!(
    r#"{"schema_version":"1.0.0","event_id":"019c322d-fa80-7f99-8d84-b44109f58c77","#,
    r#""event_type":"egress_blocked","event_category":"network","#,
    r#""timestamp":"2026-02-06T12:00:00Z","#,
    r#""agent":{"id":"a-1","name":"hushd","version":"0.1.0","type":"clawdstrike"},"#,
    r#""session":{"id":"s-1"},"outcome":"failure","action":"egress","threat":{},"#,
    r#""decision":{"allowed":false,"guard":"GUARD","severity":"SEVERITY","reason":"r"},"#,
    r#""resource":{"type":"network","name":"x"},"metadata":{},"labels":{}}"#,
);
