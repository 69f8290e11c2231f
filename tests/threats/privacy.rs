//! What intelligence adds, where privacy hides what it comes from.

use std::sync::Arc;

use serde_json::{Value, json};

use shrike::event::{
    Event, FieldId as F, Frame, Narrowed, Needs, Opened, Opening, OpeningOptions, PatternRule,
    Privacy, PrivacyRules,
};
use shrike::intel::{About, Listed, SignKind};

use crate::marks::{listed, options};
use crate::opening::{event, seen};

/// A case: an event, the rules, and texts of which nothing may be left, in any letters.
struct Hidden {
    event: Value,
    rules: PrivacyRules,
    secrets: &'static [&'static str],
}

const HASH: &str = "abababababababababababababababababababababababababababababababab";

fn feed() -> Vec<Listed> {
    let told = |kind, value: &str| {
        let one = listed(kind, value, 60);
        let about = About {
            name: Some(format!("Seen at {value}")),
            actor: Some("Bear".to_owned()),
            malware: Some(format!("Worm of {}", value.to_uppercase())),
            ..(*one.about).clone()
        };
        Listed { about: Arc::new(about), ..one }
    };
    vec![
        told(SignKind::Domain, "evil.example"),
        told(SignKind::Ip, "192.0.2.0/24"),
        told(SignKind::Url, "http://files.example/evil"),
        told(SignKind::Url, "http://files.example:8081/evil"),
        told(SignKind::FileHash, HASH),
        told(SignKind::FileName, "evil.sh"),
        told(SignKind::Path, "/opt/evil"),
    ]
}

fn rules(key: &str, paths: &[&str]) -> PrivacyRules {
    let paths: Vec<String> = paths.iter().map(|&path| path.to_owned()).collect();
    let mut rules = PrivacyRules::default();
    match key {
        "allow" => rules.allow = paths,
        "deny" => rules.deny = paths,
        "redact" => rules.redact = paths,
        "mask" => rules.mask = paths,
        key => unreachable!("{key}"),
    }
    rules
}

fn file(path: &str) -> Value {
    let mut event = event("");
    event["resource"] = json!({"type": "file", "name": "n", "path": path});
    event
}

fn request() -> Value {
    let mut event = event("files.example");
    event["resource"]["path"] = json!("/evil/2");
    event
}

fn request_at(port: u16) -> Value {
    let mut request = request();
    request["resource"]["port"] = json!(port);
    request
}

fn hashed() -> Value {
    let mut event = event("fine.example");
    event["metadata"] = json!({"sha256": HASH.to_uppercase(), "other": "x"});
    event
}

fn indicator() -> Value {
    let mut event = event("fine.example");
    event["threat"] = json!({"indicator": {"type": "domain", "value": "a.evil.example"}});
    event
}

fn cases() -> Vec<Hidden> {
    let one = |event, rules, secrets| Hidden { event, rules, secrets };
    let pattern = PatternRule {
        name: "host".to_owned(),
        regex: "EVIL[.]example".to_owned(),
        replacement: None,
        needs: Needs::Beginning,
        check: None,
    };
    let mut dropped = rules("deny", &[]);
    dropped.drop_metadata = true;
    let found = PrivacyRules { patterns: vec![pattern], ..PrivacyRules::default() };
    vec![
        // A domain above the host, in other letters, behind a mask.
        one(event("a.EVIL.example."), rules("redact", &["resource.host"]), &["evil.example"]),
        one(event("EVIL.example."), rules("mask", &["resource.host"]), &["evil"]),
        one(event("EVIL.example"), found, &["evil.example"]),
        // A prefix around the address.
        one(event("192.0.2.7"), rules("redact", &["resource.host"]), &["192.0.2"]),
        one(event("192.0.2.7"), rules("deny", &["resource"]), &["192.0.2"]),
        // A URL that is put together of all, when one is hidden.
        one(request_at(8081), rules("deny", &["resource.port"]), &["8081"]),
        one(request(), rules("redact", &["resource.host"]), &["files.example"]),
        one(request(), rules("redact", &["resource.path"]), &["/evil"]),
        one(
            request(),
            rules("redact", &["resource.host", "resource.path"]),
            &["files.example", "/evil"],
        ),
        // A hash in letters of the other case.
        one(hashed(), rules("redact", &["metadata.sha256"]), &[HASH]),
        one(hashed(), rules("mask", &["metadata.*"]), &[HASH]),
        one(hashed(), dropped, &[HASH]),
        one(hashed(), rules("allow", &["threat", "metadata.other", "metadata.shrike"]), &[HASH]),
        // Parts of a path.
        one(file("/tmp/evil.sh"), rules("redact", &["resource.path"]), &["evil.sh"]),
        one(file("/opt/evil/x"), rules("mask", &["resource.path"]), &["/opt/evil"]),
        // Not named, and not allowed either.
        one(event("EVIL.example."), rules("allow", &["metadata", "threat"]), &["evil.example."]),
        one(file("/opt/evil/x"), rules("allow", &["metadata", "threat"]), &["/opt/evil"]),
        // The event's own indicator.
        one(indicator(), rules("redact", &["threat.indicator.value"]), &["evil.example"]),
    ]
}

fn assert_hidden(case: &Hidden, fields: &Value) {
    let text = fields.to_string().to_lowercase();
    for secret in case.secrets {
        let secret = secret.trim_end_matches('.');
        // What no rule concerns.
        let text = text.replace("\"resource.name\":\"evil.example.\"", "");
        assert!(!text.contains(secret), "{secret} by {:?}: {fields}", case.rules);
    }
    let told = &fields["metadata.shrike"]["threat_intel"]["matches"][0];
    if !told.is_null() {
        assert!(told["source"] == "feed" && told["confidence"] == 60, "{told}");
        assert!(told["id"].is_null() && told["name"].is_null(), "{told}");
        assert_eq!((&told["actor"], &told["malware"]), (&json!("Bear"), &Value::Null));
    }
}

#[test]
fn nothing_of_a_hidden_value_is_left_in_what_was_added() {
    for case in cases() {
        let privacy = Privacy::compile(&case.rules).expect("the rules hold").map(Arc::new);
        let options = OpeningOptions { privacy, ..options(feed(), None) };
        let (opened, fields) = seen(&options, case.event.to_string().as_bytes(), false);
        assert!(opened.intel, "it matches: {}", case.event);
        assert_hidden(&case, &fields);
    }
}

/// An exporter's own rules come after the event was marked.
#[test]
fn nothing_of_it_is_left_for_an_exporter_that_sees_less() {
    for case in cases() {
        let privacy = Privacy::compile(&case.rules).expect("the rules hold");
        let privacy = privacy.expect("they change something");
        let opening = Opening::new(&options(feed(), None));
        let (mut arena, mut opened) = (Vec::new(), Opened::default());
        opening.begin(&mut arena);
        let (frame, record) = (Frame::default(), case.event.to_string());
        opening
            .open(&frame, record.as_bytes(), &mut arena, &mut opened)
            .unwrap_or_else(|reject| panic!("{reject:?}"));
        let mut room = Narrowed::default();
        let whole = Event::new(&opened, frame, record.as_bytes(), &arena);
        let event = privacy.narrowed(whole, &mut room);
        let read = |id: F| Some((id.path().to_owned(), event.value(id)?.json));
        let fields: serde_json::Map<String, Value> = F::ALL
            .iter()
            .filter_map(|&id| read(id))
            .map(|(path, json)| (path, serde_json::from_slice(json).expect("a field is JSON")))
            .collect();
        assert_hidden(&case, &fields.into());
    }
}

/// Rules about something else leave it as it is.
#[test]
fn what_comes_from_a_field_that_stays_is_told() {
    let rows = [
        (event("a.EVIL.example"), rules("redact", &["session.id"]), "evil.example"),
        (request(), rules("redact", &["session.id"]), "http://files.example/evil"),
        (hashed(), rules("redact", &["metadata.other", "resource.host"]), HASH),
        (file("/opt/evil/x"), rules("redact", &["resource.host", "agent"]), "/opt/evil"),
        (indicator(), rules("redact", &["resource.host"]), "evil.example"),
        (event("evil.example"), rules("allow", &["resource.host", "metadata"]), "evil.example"),
    ];
    for (event, rules, value) in rows {
        let privacy = Privacy::compile(&rules).expect("the rules hold").map(Arc::new);
        let options = OpeningOptions { privacy, ..options(feed(), None) };
        let (_, fields) = seen(&options, event.to_string().as_bytes(), false);
        let told = &fields["metadata.shrike"]["threat_intel"]["matches"][0];
        assert_eq!(told["value"], value, "{rules:?}: {fields}");
        assert_eq!(told["name"], format!("Seen at {value}"));
    }
}
