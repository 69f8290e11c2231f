//! Rules about paths.

use serde_json::{Value, json};
use shrike::event::{
    Event, FieldId as F, Frame, Narrowed, Opened, Opening, OpeningOptions, PatternRule, Privacy,
    PrivacyError, PrivacyRules, Salt,
};

use crate::world::{NOW_NS, event, pattern, rendered, rules, seen, seen_record};

const PATH: &str = "/home/alice/.ssh/id_rsa";
const GONE: &str = "[REDACTED]";

/// Applies rules and compares single places of what is seen; `null` is absence.
fn check(paths: &[&str], expected: &[(&str, Value)]) {
    let mut rules = rules(paths);
    rules.salt = Some(Salt::new(b"0123456789abcdef"));
    let seen = seen(&event(), &rules);
    for (pointer, value) in expected {
        assert_eq!(seen.pointer(pointer).unwrap_or(&Value::Null), value, "{paths:?}: {pointer}");
    }
}

#[test]
fn a_required_text_is_never_blank() {
    let paths = ["agent.id", "agent.name", "session.id", "action", "decision.guard"];
    let mut blank = rules(&paths.map(|path| format!("deny: {path}")).each_ref().map(|it| &**it));
    blank.replacement = " ".to_owned();
    blank.patterns = vec![PatternRule { replacement: Some(String::new()), ..pattern(".+") }];
    let seen = seen(&event(), &blank);
    for path in paths.into_iter().chain(["resource.name", "agent.version"]) {
        let text = &seen[path.split('.').next().expect("there is one")];
        let text = path.split_once('.').map_or(text, |(_, name)| &text[name]);
        assert_eq!(*text, "[REDACTED]", "{path}");
    }
    assert_eq!(seen["decision"]["reason"], "", "it may be empty");
}

#[test]
fn nothing_changes_without_rules_and_where_no_rule_fits() {
    let record = event().to_string();
    assert!(Privacy::compile(&PrivacyRules::default()).expect("no rules are right").is_none());
    for paths in
        [&["redact: metadata.absent"][..], &["mask: labels.absent"], &["deny: metadata.user.x"]]
    {
        assert_eq!(seen_record(record.as_bytes(), &rules(paths)), None, "{paths:?}");
    }
}

#[test]
fn denied_fields_go_and_required_texts_become_the_replacement() {
    check(
        &["deny: session.user_id", "deny: resource.port", "deny: action", "deny: ingested_at"],
        &[
            ("/session/user_id", Value::Null),
            ("/session/id", json!("sess-1")),
            ("/resource/port", Value::Null),
            ("/action", json!(GONE)),
            ("/ingested_at", Value::Null),
            ("/resource/path", json!(PATH)),
        ],
    );
    check(&["deny: session"], &[("/session", json!({"id": GONE}))]);
    check(
        &["deny: threat.indicator.type"],
        &[("/threat", json!({"tactic": "TA0006", "technique": "T1552"}))],
    );
}

#[test]
fn redacted_masked_and_hashed_fields_are_still_there() {
    // printf alice@example.com | openssl dgst -sha256 -hmac 0123456789abcdef
    let hash = "f3d6ddc7dbf9be2eb667360a5a9a43434c54e345f522bbb433afeba094d74aa2";
    check(&["redact: session.user_id"], &[("/session/user_id", json!(GONE))]);
    check(&["mask: session.user_id"], &[("/session/user_id", json!("****.com"))]);
    check(&["mask: session.tenant_id"], &[("/session/tenant_id", json!("****"))]);
    check(&["hash: session.user_id"], &[("/session/user_id", json!(hash))]);
}

#[test]
fn the_stronger_of_two_rules_holds() {
    let id = "/session/user_id";
    check(&["mask: session.user_id", "redact: session.user_id"], &[(id, json!(GONE))]);
    check(&["hash: session.*", "deny: session.user_id"], &[(id, Value::Null)]);
    check(
        &["mask: metadata.user.name", "redact: metadata.user.*"],
        &[("/metadata/user/name", json!(GONE)), ("/metadata/user/id", json!(GONE))],
    );
}

#[test]
fn paths_lead_into_metadata_and_labels() {
    check(
        &[
            "deny: metadata.items[].content",
            "mask: metadata.user.name",
            "redact: labels.app.io/name",
        ],
        &[
            ("/metadata/items", json!([{"kind": 1}, {"kind": 2}])),
            ("/metadata/user/name", json!("****lice")),
            ("/labels", json!({"team": "red", "app.io/name": GONE})),
        ],
    );
    check(&["deny: metadata.user.roles[]"], &[("/metadata/user/roles", json!([]))]);
    check(
        &["deny: metadata.*.name"],
        &[("/metadata/user", json!({"roles": ["a", "b"], "id": 4711}))],
    );
    check(&["deny: metadata.user"], &[("/metadata/user", Value::Null)]);
    check(&["redact: metadata.user.roles"], &[("/metadata/user/roles", json!(GONE))]);
    check(&["deny: labels.*"], &[("/labels", json!({}))]);
}

#[test]
fn fields_that_are_members_of_the_metadata_follow_it() {
    let open = |paths: &[&str]| {
        let privacy = Privacy::compile(&rules(paths)).expect("the rules are right");
        let privacy = privacy.map(Into::into);
        let opening = Opening::new(&OpeningOptions { privacy, ..OpeningOptions::default() });
        let (record, mut arena, mut opened) = (event().to_string(), Vec::new(), Opened::default());
        opening.begin(&mut arena);
        let frame = Frame { received_ns: NOW_NS, ..Frame::default() };
        opening.open(&frame, record.as_bytes(), &mut arena, &mut opened).expect("it is an event");
        let event = Event::new(&opened, frame, record.as_bytes(), &arena);
        let text = |id| String::from_utf8_lossy(event.text(id)).into_owned();
        (text(F::CommandLine), text(F::TraceId))
    };
    let trace = "0af7651916cd43dd8448eb211c80319c".to_owned();
    assert_eq!(open(&["redact: metadata.command_line"]), (GONE.to_owned(), trace.clone()));
    assert_eq!(open(&["deny: metadata.command_line"]), (String::new(), trace.clone()));
    assert_eq!(open(&["deny: metadata"]), (String::new(), String::new()));
    assert_eq!(open(&["deny: resource.path"]), ("cat [REDACTED]".to_owned(), trace));
}

#[test]
fn copies_of_a_covered_text_are_covered_with_it() {
    check(
        &["deny: resource.path"],
        &[
            ("/resource/path", Value::Null),
            ("/resource/name", json!(GONE)),
            ("/threat/indicator", Value::Null),
            ("/decision/reason", json!("no access to [REDACTED]")),
            ("/metadata/command_line", json!("cat [REDACTED]")),
            ("/resource/host", json!("files.example")),
        ],
    );
    check(
        &["mask: resource.name"],
        &[
            ("/resource/path", json!("****_rsa")),
            ("/threat/indicator/value", json!("****_rsa")),
            ("/decision/reason", json!("no access to ****_rsa")),
        ],
    );
    check(&["redact: agent.id"], &[("/agent/name", json!(GONE))]);
}

#[test]
fn what_intake_kept_of_the_source_hides_nothing() {
    let mut event = event();
    event["resource"]["path"] = json!("/secret/place");
    event["resource"]["port"] = json!(70_000);
    event["origin"] = json!({"target": "file:/secret/place", "again": "/secret/place"});
    let all = seen(&event, &rules(&["deny: resource.path"]));
    let origin = all.pointer("/metadata/shrike/source/origin").expect("unknown members are kept");
    assert_eq!(*origin, json!({"target": "file:[REDACTED]", "again": GONE}));
    let seen = seen(&event, &rules(&["deny: metadata"]));
    let remarks = seen.pointer("/metadata/shrike").and_then(Value::as_object);
    let remarks: Vec<&String> = remarks.expect("our own remarks stay").keys().collect();
    assert_eq!(remarks, ["flags"]);
}

#[test]
fn only_allowed_optional_fields_stay() {
    let restricted = ["allow: resource.path", "allow: metadata.user.name", "allow: labels.team"];
    check(
        &restricted,
        &[
            ("/session", json!({"id": "sess-1"})),
            ("/resource", json!({"type": "file", "name": PATH, "path": PATH})),
            ("/threat", json!({})),
            ("/metadata", json!({"user": {"name": "Alice"}})),
            ("/labels", json!({"team": "red"})),
            ("/ingested_at", Value::Null),
            ("/decision/reason", json!(format!("no access to {PATH}"))),
        ],
    );
    check(
        &["allow: threat.indicator.value"],
        &[
            ("/threat/indicator", json!({"type": "file_path", "value": PATH})),
            ("/metadata", json!({})),
            ("/labels", json!({})),
        ],
    );
    check(
        &["allow: metadata", "deny: metadata.items"],
        &[
            ("/metadata/user/name", json!("Alice")),
            ("/metadata/items", Value::Null),
            ("/session", json!({"id": "sess-1"})),
        ],
    );
    check(
        &["allow: metadata.items[].kind"],
        &[("/metadata", json!({"items": [{"kind": 1}, {"kind": 2}]}))],
    );
}

#[test]
fn whole_groups_are_dropped() {
    let dropped = |change: fn(&mut PrivacyRules)| {
        let mut rules = PrivacyRules::default();
        change(&mut rules);
        seen(&event(), &rules)
    };
    let seen = dropped(|rules| rules.drop_metadata = true);
    assert_eq!((&seen["metadata"], &seen["labels"]["team"]), (&json!({}), &json!("red")));
    let seen = dropped(|rules| rules.drop_labels = true);
    assert_eq!((&seen["labels"], &seen["metadata"]["user"]["id"]), (&json!({}), &json!(4711)));
    let seen = dropped(|rules| rules.drop_previews = true);
    assert_eq!(seen["metadata"]["velar"], json!({"method": "POST"}));
    assert_eq!(seen["metadata"]["items"], json!([{"kind": 1}, {"kind": 2}]));
    assert_eq!(seen["metadata"]["command_line"], json!(format!("cat {PATH}")));
}

#[test]
fn previews_go_wherever_they_lie_and_however_they_are_spelled() {
    let rules = PrivacyRules { drop_previews: true, ..PrivacyRules::default() };
    let names = "request_body_preview response_body_preview body_preview patchContent \
                 patch_content content contentBase64 content_base64 parameters output";
    for name in names.split_ascii_whitespace() {
        let escaped = format!("\\u{:04x}{}", name.as_bytes()[0], &name[1..]);
        for key in [name, &escaped] {
            let mut event = event();
            event["metadata"] = json!({"first": [{"it": {"KEY": "bulk", "kept": 1}}]});
            let record = event.to_string().replace("KEY", key);
            let seen = seen_record(record.as_bytes(), &rules).expect("something goes");
            assert_eq!(seen["metadata"], json!({"first": [{"it": {"kept": 1}}]}), "{key}");
        }
    }
}

/// Lists of OpenTelemetry name their values by a member, not by its key.
#[test]
fn previews_in_lists_of_keys_and_values_go_as_well() {
    let rules = PrivacyRules { drop_previews: true, ..PrivacyRules::default() };
    let shown = json!({"key": "shown", "value": {"stringValue": "fine"}});
    for row in [
        r#"{"key":"content","value":{"stringValue":"bulk"}}"#,
        r#"{ "value": {"stringValue":"bulk"} , "key": "prompt" }"#,
        r#"{"key":"\u0070rompt","value":"bulk"}"#,
        r#"{"key":"output","type":"x","value":[{"key":"content","value":"bulk"}]}"#,
        r#"{"key":"gen_ai.input.messages","value":{"stringValue":"bulk"}}"#,
    ] {
        for rows in [format!("[{row},{shown}]"), format!("[{shown}, {row} ]")] {
            let mut event = event();
            event["metadata"] = json!({"body": {"values": "ROWS"}, "lists": ["ROWS"]});
            let record = event.to_string().replace("\"ROWS\"", &rows);
            let seen = seen_record(record.as_bytes(), &rules).expect("something goes");
            assert_eq!(seen["metadata"]["body"]["values"], json!([shown]), "{rows}");
            assert_eq!(seen["metadata"]["lists"], json!([[shown]]), "{rows}");
        }
    }
    // What only begins like one stays.
    let mut event = event();
    event["metadata"] = json!({"rows": [
        {"key": "content"}, {"key": ["content"], "value": 1}, {"key": "b", "value": 2}]});
    assert_eq!(seen_record(event.to_string().as_bytes(), &rules), None);
}

#[test]
fn one_destination_may_see_less_than_the_others() {
    let compiled = |paths: &[&str]| {
        let compiled = Privacy::compile(&rules(paths)).expect("the rules are right");
        compiled.expect("they change something")
    };
    let (record, opening) = (event().to_string(), Opening::new(&OpeningOptions::default()));
    let (mut arena, mut opened, mut room) = (Vec::new(), Opened::default(), Narrowed::default());
    opening.begin(&mut arena);
    let frame = Frame { received_ns: NOW_NS, ..Frame::default() };
    opening.open(&frame, record.as_bytes(), &mut arena, &mut opened).expect("it is an event");
    let whole = Event::new(&opened, frame, record.as_bytes(), &arena);
    let narrow = compiled(&["deny: metadata", "redact: session.user_id"]);
    let narrowed = narrow.narrowed(whole, &mut room);
    assert!(narrowed.record.is_empty());
    let seen: Value = serde_json::from_slice(&rendered(&narrowed)).expect("it is JSON");
    assert_eq!((&seen["metadata"], &seen["session"]["user_id"]), (&json!({}), &json!(GONE)));
    // Again, from what was narrowed before.
    let mut other = Narrowed::default();
    let twice = compiled(&["deny: labels"]).narrowed(narrowed, &mut other);
    let seen: Value = serde_json::from_slice(&rendered(&twice)).expect("it is JSON");
    assert_eq!((&seen["labels"], &seen["session"]["user_id"]), (&json!({}), &json!(GONE)));
    let seen: Value = serde_json::from_slice(&rendered(&whole)).expect("it is JSON");
    assert_eq!(seen["session"]["user_id"], json!("alice@example.com"), "others see all");
}

#[test]
fn rules_that_cannot_hold_are_refused() {
    let refused = |paths: &[&str]| -> Vec<String> {
        let wrong = Privacy::compile(&rules(paths)).expect_err("they are wrong");
        wrong.iter().map(ToString::to_string).collect()
    };
    assert_eq!(refused(&["deny: resource.pth"]), ["`resource.pth` is no field of an event"]);
    assert_eq!(
        refused(&["mask: event_id", "hash: session.id"]),
        [
            "hashes without a salt can be guessed; set one, such as `${file:/path}`",
            "`event_id` cannot be changed: events are identified, ordered and judged by it"
        ]
    );
    let many: Vec<String> = (0..129).map(|n| format!("deny: metadata.m{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let wrong = Privacy::compile(&rules(&many)).expect_err("they are too many");
    assert_eq!(wrong, [PrivacyError::TooMany]);
    assert!(Privacy::compile(&rules(&many[..128])).is_ok());
    assert!(Privacy::compile(&rules(&["allow: event_id"])).is_ok(), "it stays anyway");
}
