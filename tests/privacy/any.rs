//! Any event under any rules is an event, and what was planted is not in it.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};
use shrike::event::{PrivacyRules, Salt};

use crate::world::{event, pattern, rules, seen_record};

/// A text that nothing else has.
const PLANTED: &str = "plantedQx7Zsecret";

const PATHS: &[&str] = &[
    "agent.id",
    "agent.*",
    "session",
    "session.user_id",
    "action",
    "threat.indicator.value",
    "decision.reason",
    "decision.guard",
    "resource.name",
    "resource.path",
    "resource.host",
    "resource.port",
    "metadata",
    "metadata.a",
    "metadata.a.b",
    "metadata.*",
    "metadata.*.b",
    "metadata.a[]",
    "metadata.b[].a",
    "metadata.shrike.source",
    "labels",
    "labels.a",
    "labels.*",
];

/// Texts and keys are short, so that rules meet them; some are escaped when written.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(PLANTED.to_owned()),
        "[a-b\"\\\\/\n\u{e9}]{0,4}",
        "[a-b]{0,2}".prop_map(|around| format!("{around} {PLANTED}\n\"{around}")),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map("[ab]|content|\u{e9}|c\"", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_event() -> impl Strategy<Value = Value> {
    let object = || btree_map("[abc]|shrike|output", value(), 0..4);
    (object(), btree_map("[abc]", text(), 0..4), vec((any::<Index>(), text()), 0..5), value())
        .prop_map(|(metadata, labels, texts, unknown)| {
            let mut event = event();
            event["metadata"] = json!(metadata);
            event["labels"] = json!(labels);
            event["extra"] = unknown;
            const TEXTS: &[&str] = &[
                "/agent/id",
                "/agent/name",
                "/session/user_id",
                "/action",
                "/threat/indicator/value",
                "/decision/reason",
                "/decision/guard",
                "/resource/name",
                "/resource/path",
                "/event_type",
            ];
            for (at, text) in texts {
                let place = TEXTS[at.index(TEXTS.len())];
                *event.pointer_mut(place).expect("the event has it") = json!(text);
            }
            event
        })
}

fn any_rules() -> impl Strategy<Value = PrivacyRules> {
    let lists = vec((select(vec!["deny", "redact", "mask", "hash"]), select(PATHS)), 0..4);
    let allow = prop_oneof![3 => Just(Vec::new()), 1 => vec(select(PATHS), 1..4)];
    (lists, allow, any::<[bool; 3]>()).prop_map(|(lists, allow, drops)| {
        let paths = lists.into_iter().map(|(list, path)| format!("{list}: {path}"));
        let paths: Vec<String> =
            paths.chain(allow.into_iter().map(|path| format!("allow: {path}"))).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        PrivacyRules {
            salt: Some(Salt::new(b"0123456789abcdef")),
            drop_metadata: drops[0] && drops[1],
            drop_labels: drops[1] && drops[2],
            drop_previews: drops[2],
            ..rules(&paths)
        }
    })
}

/// A record as producers may write it: characters of some texts as escapes.
fn written(event: &Value, escapes: bool) -> String {
    let text = event.to_string();
    if !escapes {
        return text;
    }
    text.replace("Qx7Z", r"\u0051x7Z").replace('\u{e9}', r"\u00e9").replace('/', r"\/")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn any_event_under_any_rules_is_an_event(
        event in any_event(), rules in any_rules(), escapes in any::<bool>(),
    ) {
        // Each value and the whole are parsed there.
        let _ = seen_record(written(&event, escapes).as_bytes(), &rules);
    }

    #[test]
    fn what_a_pattern_finds_is_nowhere(
        event in any_event(), mut rules in any_rules(), escapes in any::<bool>(),
        is_literal in any::<bool>(),
    ) {
        let regex = if is_literal { "planted[A-Z][a-z0-9]+Zsecret" } else { "(?i)[o-q]lantedqx7zsecret" };
        rules.patterns.push(pattern(regex));
        let record = written(&event, escapes);
        let has_it = event.to_string().contains(PLANTED);
        match seen_record(record.as_bytes(), &rules) {
            Some(seen) => prop_assert!(!seen.to_string().contains(PLANTED), "{seen}"),
            None => prop_assert!(!has_it, "{record}"),
        }
    }

    #[test]
    fn a_denied_text_is_nowhere(
        mut event in any_event(),
        denied in select(vec!["session.user_id", "resource.path", "resource.name", "decision.reason"]),
        op in select(vec!["deny", "redact", "mask", "hash"]), escapes in any::<bool>(),
    ) {
        // Where the event repeats the text, it is the same one; names of members are no values.
        let place = format!("/{}", denied.replace('.', "/"));
        let before = event.to_string().replace(PLANTED, "other");
        event = serde_json::from_str(&before).expect("it is JSON");
        event["metadata"]["copy"] = json!([PLANTED, {"d": format!("see {PLANTED}")}]);
        *event.pointer_mut(&place).expect("the event has it") = json!(PLANTED);
        let mut rules = rules(&[&format!("{op}: {denied}")]);
        rules.salt = Some(Salt::new(b"0123456789abcdef"));
        let seen = seen_record(written(&event, escapes).as_bytes(), &rules);
        let seen = seen.expect("the field is there").to_string();
        prop_assert!(!seen.contains(PLANTED), "{seen}");
    }
}
