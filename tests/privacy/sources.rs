//! What is kept of the source of a field, in `metadata.shrike.source`, is covered with the field.
//!
//! A value that is of another type than its field, and a member that no field has, stay in there at
//! their own paths.

use serde_json::{Value, json};
use shrike::event::{PrivacyRules, Salt};

use crate::world::{event, rules, seen_record};

/// What nothing else in the event is.
const PLANTED: u64 = 424_242_424_242;

/// What an exporter gets of the event with this at a place.
fn seen(pointer: &str, value: Value, rules: &PrivacyRules) -> Value {
    let mut event = event();
    let (object, name) = pointer.rsplit_once('/').expect("a pointer");
    event.pointer_mut(object).expect("the object is there")[name] = value;
    seen_record(event.to_string().as_bytes(), rules).expect("a rule changes it")
}

#[test]
fn what_a_rule_names_is_covered_whatever_type_it_has() {
    let odd = [json!(PLANTED), json!([PLANTED]), json!({"a": PLANTED}), json!([{"a": [PLANTED]}])];
    for path in [
        "session.user_id",
        "session.tenant_id",
        "threat.tactic",
        "threat.indicator.type",
        "threat.indicator.value",
        "decision.policy_hash",
        "resource.path",
        "resource.host",
        "resource.port",
        "ingested_at",
        "labels",
    ] {
        let (group, _) = path.rsplit_once('.').unwrap_or((path, ""));
        let pointer = format!("/{}", path.replace('.', "/"));
        for list in ["deny", "redact", "mask", "hash"] {
            for rule in [path, group, "*"] {
                for value in &odd {
                    let mut rules = rules(&[&format!("{list}: {rule}")]);
                    rules.salt = Some(Salt::new(b"0123456789abcdef"));
                    let is_field = path == "labels" && value.is_object();
                    let value = if is_field { json!([value]) } else { value.clone() };
                    let seen = seen(&pointer, value.clone(), &rules).to_string();
                    let is_seen = seen.contains(&PLANTED.to_string());
                    assert!(!is_seen, "{list}: {rule} of {path} {value}: {seen}");
                }
            }
        }
    }
}

#[test]
fn what_no_field_has_is_in_the_object_that_a_rule_names() {
    for (pointer, rule) in [
        ("/session/email", "session"),
        ("/session/email", "session.*"),
        ("/agent/owner", "agent"),
        ("/resource/query", "resource"),
        ("/decision/by", "decision"),
        ("/threat/actor", "threat"),
        ("/threat/indicator/seen", "threat.indicator"),
        ("/threat/indicator/seen", "threat.*"),
        ("/user", "*"),
    ] {
        for value in [json!(PLANTED), json!({"a": [PLANTED]}), json!(PLANTED.to_string())] {
            let seen = seen(pointer, value, &rules(&[&format!("deny: {rule}")])).to_string();
            assert!(!seen.contains(&PLANTED.to_string()), "{rule} of {pointer}: {seen}");
        }
    }
}

#[test]
fn what_stands_in_place_of_an_object_is_covered_with_what_would_be_in_it() {
    for (pointer, rule) in [
        ("/threat", "threat.tactic"),
        ("/threat", "threat.indicator.value"),
        ("/threat/indicator", "threat.indicator.value"),
        ("/labels", "labels.team"),
        ("/labels", "labels.*"),
    ] {
        for value in [json!(PLANTED.to_string()), json!([{"value": PLANTED}])] {
            let seen = seen(pointer, value, &rules(&[&format!("redact: {rule}")])).to_string();
            assert!(!seen.contains(&PLANTED.to_string()), "{rule} of {pointer}: {seen}");
        }
    }
}

#[test]
fn labels_that_go_are_kept_nowhere() {
    let rules = PrivacyRules { drop_labels: true, ..PrivacyRules::default() };
    let seen = seen("/labels", json!([PLANTED]), &rules).to_string();
    assert!(!seen.contains(&PLANTED.to_string()), "{seen}");
}

#[test]
fn what_is_not_allowed_is_not_kept_in_metadata_that_is() {
    let rules = rules(&["allow: metadata", "allow: session.tenant_id", "allow: labels.team"]);
    for (pointer, value) in [
        ("/session/user_id", json!(PLANTED)),
        ("/labels", json!([PLANTED])),
        ("/resource/port", json!(PLANTED)),
    ] {
        let seen = seen(pointer, value, &rules).to_string();
        assert!(!seen.contains(&PLANTED.to_string()), "{pointer}: {seen}");
    }
}

#[test]
fn what_no_rule_names_is_kept() {
    let seen = seen("/session/email", json!(PLANTED), &rules(&["deny: session.user_id"]));
    assert_eq!(seen["metadata"]["shrike"]["source"]["session"]["email"], json!(PLANTED));
    let event = event();
    let rules = rules(&["deny: session.user_id"]);
    let mut event = event;
    event["session"].as_object_mut().expect("an object").remove("user_id");
    event["extra"] = json!({"user_id": PLANTED});
    assert_eq!(seen_record(event.to_string().as_bytes(), &rules), None, "no rule is about it");
}
