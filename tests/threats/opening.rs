//! What others know of an event, where it is opened.

use std::sync::Arc;

use serde_json::{Value, json};

use shrike::event::{
    Event, FieldId as F, Frame, IndicatorType, Insight, Known, Opened, Opening, OpeningOptions,
    Privacy, PrivacyRules, Severity,
};

/// Knows one host.
#[derive(Debug)]
struct One(Known);

impl Insight for One {
    fn of(&self, event: &Event<'_>) -> Option<Box<Known>> {
        (event.text(F::ResourceHost) == b"c2.example").then(|| Box::new(self.0.clone()))
    }
}

fn known() -> Known {
    Known {
        remark: br#"{"matches":[{"type":"domain","value":"c2.example","name":"a \"b\""}]}"#
            .to_vec(),
        indicator: Some((IndicatorType::Domain, "c2.example".to_owned())),
        tactic: Some("TA0011".to_owned()),
        technique: Some("T1071".to_owned()),
        severity: Some(Severity::Critical),
    }
}

pub(crate) fn event(host: &str) -> Value {
    json!({
        "schema_version": "1.0.0", "event_id": "019c322e-7f59-747c-92c8-1d0b3a90c468",
        "event_type": "policy_allow", "event_category": "network",
        "timestamp": "2026-02-06T12:00:00Z", "outcome": "success", "action": "egress",
        "agent": {"id": "a", "name": "a", "version": "1", "type": "coder"},
        "session": {"id": "s"},
        "decision": {"allowed": true, "guard": "g", "severity": "info", "reason": "r"},
        "resource": {"type": "network", "name": host, "host": host},
    })
}

/// What an opening makes of a record: each field that is there, and whether intelligence matched.
pub(crate) fn seen(options: &OpeningOptions, record: &[u8], is_prepared: bool) -> (Opened, Value) {
    let opening = Opening::new(options);
    let (mut arena, mut opened) = (Vec::new(), Opened::default());
    opening.begin(&mut arena);
    let frame = Frame::default();
    let done = match is_prepared {
        true => opening.open_prepared(&frame, record, &mut arena, &mut opened),
        false => opening.open(&frame, record, &mut arena, &mut opened),
    };
    done.unwrap_or_else(|reject| panic!("{reject:?}"));
    let event = Event::new(&opened, frame, record, &arena);
    let mut fields = serde_json::Map::new();
    for &id in F::ALL {
        let Some(value) = event.value(id) else { continue };
        assert_eq!(value.escaped, value.json.contains(&b'\\'), "{id:?}");
        let read = serde_json::from_slice(value.json).expect("a field is JSON");
        fields.insert(id.path().to_owned(), read);
    }
    (opened.clone(), fields.into())
}

fn options() -> OpeningOptions {
    OpeningOptions { insight: Some(Arc::new(One(known()))), ..OpeningOptions::default() }
}

fn open(event: &Value) -> (Opened, Value) {
    seen(&options(), event.to_string().as_bytes(), false)
}

#[test]
fn what_is_known_of_a_value_is_added() {
    let (opened, fields) = open(&event("c2.example"));
    assert!(opened.intel);
    assert_eq!(
        (opened.severity, opened.indicator_type),
        (Severity::Critical, IndicatorType::Domain)
    );
    assert_eq!(fields["decision.severity"], "critical");
    assert_eq!(fields["threat.indicator.value"], "c2.example");
    assert_eq!(fields["threat.indicator.type"], "domain");
    assert_eq!(
        (&fields["threat.tactic"], &fields["threat.technique"]),
        (&json!("TA0011"), &json!("T1071"))
    );
    let matched = json!({"type": "domain", "value": "c2.example", "name": "a \"b\""});
    assert_eq!(fields["metadata.shrike"], json!({"threat_intel": {"matches": [matched]}}));
}

#[test]
fn an_event_of_which_nothing_is_known_stays_as_it_is() {
    let record = event("fine.example").to_string();
    let (opened, fields) = seen(&options(), record.as_bytes(), false);
    assert!(!opened.intel);
    let (_, plain) = seen(&OpeningOptions::default(), record.as_bytes(), false);
    assert_eq!(fields, plain);
}

#[test]
fn other_remarks_stay_beside_it() {
    let mut event = event("c2.example");
    event["extra"] = json!("x\ny");
    let (_, fields) = open(&event);
    let remarks = &fields["metadata.shrike"];
    assert_eq!(remarks["source"], json!({"extra": "x\ny"}));
    assert_eq!(remarks["threat_intel"]["matches"][0]["value"], "c2.example");
}

/// A record that needs a repair is opened from what the repair made of it.
#[test]
fn a_repaired_event_is_looked_at_too() {
    let record = event("c2.example").to_string().replace("\"r\"", r#""\ud800""#);
    let (opened, fields) = seen(&options(), record.as_bytes(), false);
    assert!(opened.intel && !opened.flags.is_empty());
    assert_eq!(fields["metadata.shrike"]["threat_intel"]["matches"][0]["value"], "c2.example");
}

#[test]
fn intelligence_sees_what_privacy_hides() {
    let rules = PrivacyRules { redact: vec!["resource.host".to_owned()], ..Default::default() };
    let privacy = Privacy::compile(&rules).expect("the rules hold").map(Arc::new);
    let options = OpeningOptions { privacy, ..options() };
    let (opened, fields) = seen(&options, event("c2.example").to_string().as_bytes(), false);
    assert!(opened.intel && opened.concealed);
    assert_eq!(opened.severity, Severity::Critical);
    assert!(!fields.to_string().contains("c2.example"), "{fields}");
    assert_eq!(fields["metadata.shrike"]["threat_intel"]["matches"][0]["value"], "[REDACTED]");
}

/// Dead letters are opened as they were kept, and nobody is asked about them again.
#[test]
fn a_kept_event_still_tells_of_its_match() {
    let mut kept = event("c2.example");
    kept["metadata"] = json!({"shrike": {"threat_intel": {"matches": []}}});
    let (opened, fields) = seen(&options(), kept.to_string().as_bytes(), true);
    assert!(opened.intel);
    assert_eq!(fields["metadata.shrike"], json!({"threat_intel": {"matches": []}}));
    kept["metadata"] =
        json!({"a": 1, "shrike": {"format": "velar.audit", "flags": ["clock_skew"]}});
    let (opened, fields) = seen(&options(), kept.to_string().as_bytes(), true);
    assert!(!opened.intel);
    // Its remarks are ours, and nothing that somebody else put in their place.
    let remarks = json!({"format": "velar.audit", "flags": ["clock_skew"]});
    assert_eq!((&fields["metadata"], &fields["metadata.shrike"]), (&json!({"a": 1}), &remarks));
}

/// A producer cannot pretend that something matched.
#[test]
fn remarks_of_others_are_no_match() {
    let mut event = event("fine.example");
    event["metadata"] = json!({"shrike": {"threat_intel": {"matches": [{"value": "x"}]}}});
    let (opened, fields) = open(&event);
    assert!(!opened.intel);
    assert_eq!(fields["metadata.shrike"].get("threat_intel"), None);
}
