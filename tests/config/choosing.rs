//! Which events go where: `filtering`, `filter` and top-level rules.

use shrike::config::{Config, Host};
use shrike::event::{Event, Frame, Opened, Opening, OpeningOptions, Severity};

use crate::world::{load, refusal};

/// A denied event of high severity, guard `egress`, to api.example.com.
const RECORD: &str = concat!(
    r#"{"schema_version":"1.0.0","event_id":"019c322d-fa80-7f99-8d84-b44109f58c77","#,
    r#""event_type":"egress_blocked","event_category":"network","#,
    r#""timestamp":"2026-02-06T12:00:00Z","#,
    r#""agent":{"id":"a-1","name":"hushd","version":"0.1.0","type":"clawdstrike"},"#,
    r#""session":{"id":"s-1","tenant_id":"acme"},"#,
    r#""outcome":"failure","action":"egress","threat":{},"#,
    r#""decision":{"allowed":false,"guard":"egress","severity":"high","reason":"r"},"#,
    r#""resource":{"type":"network","name":"x","host":"api.example.com","path":"/v1"},"#,
    r#""metadata":{},"labels":{}}"#,
);

#[track_caller]
fn whole(text: &str) -> Config {
    load(text).unwrap_or_else(|error| panic!("{error}"))
}

/// The exporters that take the event.
#[track_caller]
fn takers(text: &str) -> Vec<String> {
    let exporters = "exporters: {stdout_a: {}, stdout_b: {}, stdout_off: {enabled: false}}";
    let config = whole(&format!("{exporters}\n{text}"));
    let (frame, record) = (Frame::default(), RECORD.as_bytes());
    let opening = Opening::new(&OpeningOptions::default());
    let (mut arena, mut opened) = (Vec::new(), Opened::default());
    opening.begin(&mut arena);
    opening.open(&frame, record, &mut arena, &mut opened).expect("the record is an event");
    let event = Event::new(&opened, frame, record, &arena);
    let takes = |exporter: &&shrike::config::Exporter| {
        config.exporter_spec(exporter, &Host::default()).filter.passes(&event)
    };
    let takers = config.exporters.iter().filter(takes);
    takers.map(|exporter| exporter.settings.name.clone()).collect()
}

#[test]
fn filtering_holds_for_all_exporters_beside_their_own() {
    let both: &[&str] = &["stdout_a", "stdout_b"];
    for (text, expected) in [
        ("", both),
        ("filtering: {min_severity: high}", both),
        ("filtering: {min_severity: critical}", &[]),
        ("filtering: {include_types: [egress_blocked]}", both),
        ("filtering: {exclude_types: egress_blocked}", &[]),
        ("filtering: {include_guards: [egress], exclude_guards: [other]}", both),
        ("filtering: {include_tenants: [other]}", &[]),
        ("filtering: {exclude_tenants: [acme]}", &[]),
        ("filtering: {only_denied: true}", both),
        ("filtering: {min_sanitized_count: 1}", &[]),
        ("filtering: {domains: ['*.EXAMPLE.com']}", both),
        ("filtering: {exclude_paths: [/v1]}", &[]),
        ("filtering: {exclude_internal: true}", both),
    ] {
        assert_eq!(takers(text), expected, "{text}");
    }
    let config = whole(
        "filtering: {min_severity: low}\n\
         exporters: {stdout: {min_severity: high, filter: {domains: [a]}}}",
    );
    assert_eq!(config.filtering.min_severity, Severity::Low);
    assert_eq!(config.exporters[0].filter.min_severity, Severity::High);
    assert_eq!(config.exporters[0].filter.domains, ["a"]);
}

#[test]
fn rules_choose_exporters() {
    let rule = |text: &str| takers(&format!("routing: {{rules: [{text}]}}"));
    let (a, b) = (vec!["stdout_a".to_owned()], vec!["stdout_b".to_owned()]);
    let both = [a.clone(), b.clone()].concat();
    assert_eq!(rule("{condition: severity == 'high', exporters: [stdout_a]}"), a);
    assert_eq!(rule("{condition: severity == 'low', exporters: [stdout_a]}"), both);
    assert_eq!(rule("{condition: default, exporters: stdout_b}"), b);
    assert_eq!(rule("{condition: not allowed, exporters: [stdout_off]}"), Vec::<String>::new());
    let two = "{condition: guard == 'egress', exporters: [stdout_a], stop: false}, \
               {condition: default, exporters: [stdout_b]}";
    assert_eq!(rule(two), both);
    assert_eq!(rule(&two.replace("stop: false", "stop: true")), a);
    let text = "routing: {rules: [{condition: allowed, exporters: [stdout_a]}], \
                default: [stdout_b]}";
    assert_eq!(takers(text), b);
    assert_eq!(takers("routing: {default: [stdout_a]}"), a);
}

#[test]
fn mistakes_in_rules_have_place_and_column() {
    let exporters = "exporters: {stdout_a: {}, stdout_off: {enabled: false}}";
    for (text, expected) in [
        (
            "routing: {rules: [{condition: severty == 'high', exporters: [stdout_a]}]}",
            "2:20: routing.rules[0].condition: column 1: expected a name: a field, `labels.X` or \
             `metadata.a.b`; did you mean `severity`?",
        ),
        (
            "routing: {rules: [{condition: guard = 'a', exporters: [stdout_a]}]}",
            "2:20: routing.rules[0].condition: column 7: expected a name, a quoted text or an \
             operator; did you mean `==`?",
        ),
        (
            "routing:\n  rules:\n    - {condition: default, exporters: [stdot_a]}",
            "4:28: routing.rules[0].exporters: no exporter `stdot_a`; did you mean `stdout_a`?",
        ),
        (
            "routing: {default: [zebra]}",
            "2:11: routing.default: no exporter `zebra`; there are: stdout_a, stdout_off",
        ),
        (
            "routing: {rules: [{exporters: [stdout_a]}]}",
            "2:19: routing.rules[0]: a rule needs `condition`",
        ),
        (
            "routing: {rules: [{condition: default}]}",
            "2:19: routing.rules[0]: a rule needs `exporters`",
        ),
        (
            "routing: {rules: {condition: default}}",
            "2:18: routing.rules: expected a list of {condition, ...} maps, found a map",
        ),
        (
            "filtering: {min_severity: hgh}",
            "2:27: filtering.min_severity: expected info, low, medium, high, critical or none, \
             found `hgh`; did you mean `high`?",
        ),
        (
            "filtering: {include_type: [a]}",
            "2:13: filtering.include_type: unknown key; did you mean `include_types`?",
        ),
    ] {
        assert_eq!(refusal(&format!("{exporters}\n{text}")), expected);
    }
}

#[test]
fn a_misspelled_event_type_is_noted() {
    let config = whole("filtering: {exclude_types: [sesion_start, our_own]}");
    assert_eq!(
        config.notes,
        ["shrike.yaml:1:13: filtering.exclude_types: `sesion_start` is no event type of ours; \
          did you mean `session_start`?"]
    );
}
