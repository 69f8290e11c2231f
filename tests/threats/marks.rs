//! What an event says of the values that feeds warn of.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use shrike::event::{Opened, OpeningOptions, Severity, Time};
use shrike::intel::{
    About, EscalateSpec, Intel, Listed, Marks, Rules, Sign, SignKind, Snapshot, Technique,
};

use crate::opening::{event, seen};

/// A value that a feed warns of, until the year 2100.
pub(crate) fn listed(kind: SignKind, value: &str, confidence: u8) -> Listed {
    Listed {
        sign: Sign { kind, value: value.to_owned() },
        source: "feed".into(),
        confidence,
        is_benign: false,
        until: Time { secs: 4_102_444_800, nanos: 0 },
        about: Arc::new(About {
            id: format!("indicator--{value}"),
            may_export: true,
            ..About::default()
        }),
    }
}

fn about(listed: Listed, about: About) -> Listed {
    let id = listed.about.id.clone();
    Listed { about: Arc::new(About { id, ..about }), ..listed }
}

pub(crate) fn options(listed: Vec<Listed>, escalate: Option<EscalateSpec>) -> OpeningOptions {
    let intel = Arc::new(Intel::default());
    intel.swap(Snapshot::new(listed, &Rules::default()));
    OpeningOptions {
        insight: Some(Arc::new(Marks::new(intel, escalate))),
        ..OpeningOptions::default()
    }
}

fn marked(listed: Vec<Listed>, event: &Value) -> (Opened, Value) {
    seen(&options(listed, None), event.to_string().as_bytes(), false)
}

/// The matches that an event tells of.
fn matches(listed: Vec<Listed>, event: &Value) -> Vec<Value> {
    let (opened, fields) = marked(listed, event);
    let found = fields["metadata.shrike"]["threat_intel"]["matches"].as_array().cloned();
    let found = found.unwrap_or_default();
    assert_eq!(opened.intel, !found.is_empty());
    found
}

fn values(listed: Vec<Listed>, event: &Value) -> Vec<String> {
    let text = |found: &Value| format!("{} in {}", found["value"], found["field"]).replace('"', "");
    matches(listed, event).iter().map(text).collect()
}

fn all() -> Vec<Listed> {
    vec![
        listed(SignKind::Domain, "evil.example", 60),
        listed(SignKind::Ip, "192.0.2.0/24", 70),
        listed(SignKind::Url, "http://files.example/evil", 50),
        listed(SignKind::Url, "http://files.example:8080/worse", 50),
        listed(SignKind::Url, "https://[2001:db8::7]/evil", 50),
        listed(SignKind::FileHash, &"ab".repeat(32), 90),
        listed(SignKind::FileHash, &"0".repeat(32), 90),
        listed(SignKind::FileName, "evil.sh", 40),
        listed(SignKind::Path, "/opt/evil", 40),
    ]
}

#[test]
fn each_value_of_an_event_is_looked_up() {
    let file = |path: &str| {
        let mut event = event("");
        event["resource"] = json!({"type": "file", "name": path, "path": path});
        event
    };
    let with = |pointer: &str, value: Value| {
        let mut event = event("fine.example");
        event[pointer] = value;
        event
    };
    let indicator = |kind: &str, value: &str| {
        with("threat", json!({"indicator": {"type": kind, "value": value}}))
    };
    let hash = "ab".repeat(32);
    let request = |path: &str| {
        with(
            "resource",
            json!({"type": "network", "name": "n", "host": "files.example", "path": path}),
        )
    };
    let at_port = |host: &str, port: u16, path: &str| {
        with(
            "resource",
            json!({"type": "network", "name": "n", "host": host, "port": port, "path": path}),
        )
    };
    let rows: Vec<(Value, Vec<String>)> = vec![
        (event("fine.example"), vec![]),
        (event("a.EVIL.example."), vec!["evil.example in resource.host".into()]),
        (event("192.0.2.7"), vec!["192.0.2.0/24 in resource.host".into()]),
        (file("/tmp/evil.sh"), vec!["evil.sh in resource.path".into()]),
        (file("/opt/evil/x"), vec!["/opt/evil in resource.path".into()]),
        (file("/opt/evil\\x"), vec!["/opt/evil in resource.path".into()]),
        (request("/evil/2"), vec!["http://files.example/evil in resource.path".into()]),
        (request("/other"), vec![]),
        (
            at_port("files.example", 80, "/evil"),
            vec!["http://files.example/evil in resource.path".into()],
        ),
        (at_port("files.example", 8080, "/evil"), vec![]),
        (request("/worse"), vec![]),
        (
            at_port("files.example", 8080, "/worse/2"),
            vec!["http://files.example:8080/worse in resource.path".into()],
        ),
        (
            at_port("2001:db8::7", 443, "/evil"),
            vec!["https://[2001:db8::7]/evil in resource.path".into()],
        ),
        (
            request("http://files.example/evil"),
            vec!["http://files.example/evil in resource.path".into()],
        ),
        (
            indicator("domain", "evil.example"),
            vec!["evil.example in threat.indicator.value".into()],
        ),
        (indicator("ip", "192.0.2.1"), vec!["192.0.2.0/24 in threat.indicator.value".into()]),
        (
            indicator("url", "http://files.example/evil"),
            vec!["http://files.example/evil in threat.indicator.value".into()],
        ),
        (
            indicator("file_hash", &hash.to_uppercase()),
            vec![format!("{hash} in threat.indicator.value")],
        ),
        (indicator("file_name", "evil.sh"), vec!["evil.sh in threat.indicator.value".into()]),
        (indicator("pattern", "evil.example"), vec![]),
        (with("metadata", json!({"file": {"sha256": hash}})), vec![format!("{hash} in metadata")]),
        (
            with("metadata", json!({"h": [format!("sha256:{hash}")]})),
            vec![format!("{hash} in metadata")],
        ),
        (
            with(
                "metadata",
                json!({"h": (0..999).map(|n| format!("{n:064}")).collect::<Vec<_>>(), "i": hash}),
            ),
            vec![format!("{hash} in metadata")],
        ),
        (with("metadata", json!({"h": "0".repeat(33), "i": "0".repeat(31)})), vec![]),
        (with("metadata", json!({"h": format!("x{}", "0".repeat(32))})), vec![]),
    ];
    for (event, expected) in rows {
        assert_eq!(values(all(), &event), expected, "{event}");
    }
}

#[test]
fn a_match_says_what_its_feed_says() {
    let known = About {
        name: Some("C2 \"x\"".to_owned()),
        phases: vec![
            ("mitre-attack".into(), "exfiltration".into()),
            ("lockheed".into(), "c2".into()),
        ],
        techniques: vec![Technique { id: "T1041".into(), name: "Exfiltration".into() }],
        actor: Some("Bear".to_owned()),
        campaign: Some("Winter".to_owned()),
        malware: Some("Worm".to_owned()),
        valid_until: Some(Time { secs: 4_102_444_800, nanos: 0 }),
        may_export: true,
        ..About::default()
    };
    let bad = about(listed(SignKind::Domain, "evil.example", 60), known);
    let (_, fields) = marked(vec![bad.clone()], &event("a.evil.example"));
    let expected = json!({
        "matches": [{
            "type": "domain", "value": "evil.example", "field": "resource.host", "source": "feed",
            "id": "indicator--evil.example", "name": "C2 \"x\"", "actor": "Bear",
            "campaign": "Winter", "malware": "Worm", "confidence": 60,
            "valid_until": "2100-01-01T00:00:00Z",
        }],
        "ttps": [
            {"framework": "mitre-attack", "phase": "exfiltration"},
            {"framework": "lockheed", "phase": "c2"},
        ],
        "max_confidence": 60,
        "indicator_field": "resource.host",
    });
    assert_eq!(fields["metadata.shrike"]["threat_intel"], expected);
    assert_eq!(fields["threat.indicator.value"], "a.evil.example", "as the event says it");
    let threat = |event: &Value| {
        let (_, fields) = marked(vec![bad.clone()], event);
        (fields["threat.tactic"].clone(), fields["threat.technique"].clone())
    };
    let (tactic, technique) = (json!("TA0010"), json!("T1041"));
    assert_eq!(threat(&event("evil.example")), (tactic.clone(), technique.clone()));
    let mut own = event("evil.example");
    // A technique joins only the tactic that it belongs to.
    own["threat"] = json!({"tactic": "TA0010"});
    assert_eq!(threat(&own), (tactic, technique));
    own["threat"] = json!({"tactic": "TA0001"});
    assert_eq!(threat(&own), (json!("TA0001"), Value::Null));
    own["threat"] = json!({"technique": "T1"});
    assert_eq!(threat(&own), (Value::Null, json!("T1")));
}

/// Other feeds may tell it further, this text must stay.
#[test]
fn what_may_not_leave_is_not_copied() {
    let known = About {
        name: Some("s3cr3t".to_owned()),
        phases: vec![("mitre-attack".into(), "exfiltration".into())],
        techniques: vec![Technique { id: "T1041".into(), name: "s3cr3t".into() }],
        actor: Some("s3cr3t".to_owned()),
        may_export: false,
        ..About::default()
    };
    let bad = about(listed(SignKind::Ip, "192.0.2.0/24", 60), known);
    let (opened, fields) = marked(vec![bad], &event("192.0.2.7"));
    assert!(opened.intel);
    let text = fields.to_string();
    assert!(!text.contains("s3cr3t") && !text.contains("T1041"), "{text}");
    let found = &fields["metadata.shrike"]["threat_intel"]["matches"][0];
    assert_eq!((&found["value"], &found["confidence"]), (&json!("192.0.2.7"), &json!(60)));
}

#[test]
fn the_surest_ten_are_told() {
    let of = |n: u8| listed(SignKind::Domain, &format!("{}evil.example", "x.".repeat(n.into())), n);
    let found =
        matches((0..20).map(of).collect(), &event(&format!("{}evil.example", "x.".repeat(30))));
    let confidences: Vec<u64> = found.iter().filter_map(|it| it["confidence"].as_u64()).collect();
    assert_eq!(confidences, [19, 18, 17, 16, 15, 14, 13, 12, 11, 10]);
}

/// Whoever is watched may put what is half known before what is well known.
#[test]
fn the_surest_of_many_are_told() {
    let hash = |n: u64| format!("{n:064x}");
    let of = |n: u64| listed(SignKind::FileHash, &hash(n), u8::try_from(n / 10).expect("small"));
    let mut event = event("fine.example");
    event["metadata"] = json!((1..=1000).map(hash).collect::<Vec<_>>());
    event["metadata"] = json!({"hashes": event["metadata"]});
    let found = matches((1..=1000).map(of).collect(), &event);
    let confidences: Vec<u64> = found.iter().filter_map(|it| it["confidence"].as_u64()).collect();
    assert_eq!(confidences, [100, 99, 99, 99, 99, 99, 99, 99, 99, 99]);
}

#[test]
fn a_sure_match_makes_an_event_more_severe_and_never_less() {
    let rule = EscalateSpec { confidence_min: 60, to_severity: Severity::High };
    let severity = |confidence: u8, severity: &str| {
        let mut event = event("evil.example");
        event["decision"]["severity"] = json!(severity);
        let listed = vec![listed(SignKind::Domain, "evil.example", confidence)];
        let (opened, fields) =
            seen(&options(listed, Some(rule)), event.to_string().as_bytes(), false);
        assert_eq!(fields["decision.severity"], opened.severity.word());
        let from = &fields["metadata.shrike"]["threat_intel"]["escalated_from"];
        (opened.severity, from.as_str().map(str::to_owned))
    };
    assert_eq!(severity(60, "low"), (Severity::High, Some("low".to_owned())));
    assert_eq!(severity(59, "low"), (Severity::Low, None));
    assert_eq!(severity(99, "critical"), (Severity::Critical, None));
}

/// A replay finds what held when the event came.
#[test]
fn the_time_of_receipt_decides_what_holds() {
    let over = Listed {
        until: Time { secs: 1, nanos: 0 },
        ..listed(SignKind::Domain, "evil.example", 60)
    };
    assert!(matches(vec![over], &event("evil.example")).is_empty());
}

proptest! {
    /// Whatever an event says, it stays a whole event, and is marked where a guard would be told.
    #[test]
    fn any_text_of_an_event_can_be_looked_up(
        host in "(\\PC{0,12}|[a-cEV.]{0,6}(evil\\.example|192\\.0\\.2\\.1)\\.?|\\[::1\\])",
        path in "(\\PC{0,12}|/tmp/evil\\.sh|http://files\\.example/evil/?[a-z]{0,3}|[\\\\\"]{0,4})",
        kind in "(domain|ip|url|file_hash|file_name|file_path|pattern|x)",
        value in "(\\PC{0,12}|[a-f0-9]{64}|evil\\.example)",
        is_file: bool,
    ) {
        let mut event = event(&host);
        event["resource"]["path"] = json!(path);
        event["resource"]["type"] = json!(if is_file { "file" } else { "network" });
        event["threat"] = json!({"indicator": {"type": kind, "value": value}});
        let snapshot = Snapshot::new(all(), &Rules::default());
        let now = Time { secs: 1, nanos: 0 };
        let is_known = !snapshot.check(SignKind::Domain, &host, now).is_empty();
        let found = matches(all(), &event);
        prop_assert!(!is_known || !found.is_empty(), "{event}");
        prop_assert_eq!(found.is_empty(), values(all(), &event).is_empty());
    }
}
