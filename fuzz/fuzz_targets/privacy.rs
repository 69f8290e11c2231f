//! Any pattern and path over any texts gives an event whose values are JSON, and what a literal
//! pattern finds is in none of them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use shrike::event::{
    Event, FieldId, Frame, Needs, Opened, Opening, OpeningOptions, PatternRule, Privacy,
    PrivacyRules, Salt,
};

type Input<'a> = (&'a str, &'a str, Vec<(&'a str, &'a str)>, Vec<(u8, &'a str)>, u8);

fuzz_target!(|input: Input<'_>| {
    let (literal, regex, texts, paths, flags) = input;
    let rules = rules(literal, regex, &paths, flags);
    let Ok(Some(privacy)) = Privacy::compile(&rules) else { return };
    let options = OpeningOptions { privacy: Some(privacy.into()), ..OpeningOptions::default() };
    let opening = Opening::new(&options);
    let record = event(literal, &texts).to_string().into_bytes();
    let frame = Frame::default();
    let (mut arena, mut opened) = (Vec::new(), Opened::default());
    opening.begin(&mut arena);
    if opening.open(&frame, &record, &mut arena, &mut opened).is_err() {
        return;
    }
    let event = Event::new(&opened, frame, &record, &arena);
    for &field in FieldId::ALL {
        let Some(value) = event.value(field) else { continue };
        let value: Value = serde_json::from_slice(value.json)
            .unwrap_or_else(|error| panic!("{field:?}: {error}: {:?}", value.json));
        if is_sought(literal) && PLACES.contains(&field) {
            assert!(!has(&value, literal), "{field:?}: {value}");
        }
    }
});

/// Where the literal was put; other fields are words that no rule may change.
const PLACES: &[FieldId] = &[
    FieldId::SessionUserId,
    FieldId::Reason,
    FieldId::ResourcePath,
    FieldId::Metadata,
    FieldId::Labels,
];

/// Shorter texts are in what replaces others, and so are signs of replacements.
fn is_sought(literal: &str) -> bool {
    literal.len() >= 12 && !literal.contains(['~', '*'])
}

/// A literal pattern first, which the fuzzer's own expression and paths accompany.
fn rules(literal: &str, regex: &str, paths: &[(u8, &str)], flags: u8) -> PrivacyRules {
    let rule = |name: &str, regex: String, replacement: Option<String>| PatternRule {
        name: name.to_owned(),
        regex,
        replacement,
        needs: Needs::Beginning,
        check: None,
    };
    let mut rules = PrivacyRules {
        salt: Some(Salt::new(b"0123456789abcdef")),
        drop_previews: flags & 1 != 0,
        drop_labels: flags & 2 != 0,
        // What is put in may not be what is looked for.
        replacement: String::new(),
        ..PrivacyRules::default()
    };
    if is_sought(literal) {
        let spelled: String =
            literal.chars().map(|c| format!("\\x{{{:x}}}", u32::from(c))).collect();
        rules.patterns.push(rule("literal", spelled, Some("~".to_owned())));
    }
    if flags & 4 != 0 {
        rules.patterns.push(rule("own", regex.to_owned(), Some("~".to_owned())));
    }
    for &(list, path) in paths.iter().take(8) {
        let list = match list % 5 {
            0 => &mut rules.allow,
            1 => &mut rules.deny,
            2 => &mut rules.redact,
            3 => &mut rules.mask,
            _ => &mut rules.hash,
        };
        list.push(path.to_owned());
    }
    rules
}

fn event(literal: &str, texts: &[(&str, &str)]) -> Value {
    let mut event = json!({
        "schema_version": "1.0.0",
        "event_id": "019c322d-fa80-7f99-8d84-b44109f58c77",
        "event_type": "forbidden_path",
        "event_category": "file",
        "timestamp": "2026-02-06T12:00:00Z",
        "agent": {"id": "a", "name": "a", "version": "1", "type": "clawdstrike"},
        "session": {"id": "s", "user_id": literal},
        "outcome": "failure",
        "action": "file_access",
        "decision": {
            "allowed": false, "guard": "forbidden_path", "severity": "high",
            "reason": format!("see {literal} there"),
        },
        "resource": {"type": "file", "name": "x", "path": literal},
        "metadata": {"deep": [{"content": literal}, [literal]]},
        "labels": {},
    });
    for (at, (name, text)) in texts.iter().take(16).enumerate() {
        let place = if at % 2 == 0 { "metadata" } else { "labels" };
        event[place][*name] = (*text).into();
    }
    event
}

/// Whether a text is in any value.
fn has(value: &Value, text: &str) -> bool {
    match value {
        Value::String(value) => value.contains(text),
        Value::Array(values) => values.iter().any(|value| has(value, text)),
        Value::Object(members) => members.values().any(|value| has(value, text)),
        _ => false,
    }
}
