//! Opening one event under rules.

use serde_json::{Value, json};
use shrike::config::{Config, Flags, System, Text};
use shrike::event::{
    Event, FieldId as F, Frame, Opened, Opening, OpeningOptions, PatternRule, Privacy, PrivacyRules,
};
use shrike::transform::{Overrides, Plan};
use shrike::{schemas, vendors};

/// 2026-02-06T12:30:00Z, in nanoseconds.
pub(crate) const NOW_NS: u64 = 1_770_381_000_000_000_000;

/// An event with everything that rules can name.
pub(crate) fn event() -> Value {
    json!({
        "schema_version": "1.0.0",
        "event_id": "019c322d-fa80-7f99-8d84-b44109f58c77",
        "event_type": "forbidden_path",
        "event_category": "file",
        "timestamp": "2026-02-06T12:00:00.123456789Z",
        "agent": {"id": "agent-7", "name": "agent-7", "version": "1.2.3", "type": "clawdstrike"},
        "session": {
            "id": "sess-1", "user_id": "alice@example.com", "tenant_id": "acme",
            "environment": "production",
        },
        "outcome": "failure",
        "action": "file_access",
        "threat": {"indicator": {"type": "file_path", "value": "/home/alice/.ssh/id_rsa"}},
        "decision": {
            "allowed": false, "guard": "forbidden_path", "severity": "high",
            "reason": "no access to /home/alice/.ssh/id_rsa", "policy_hash": "abc", "ruleset": "s",
        },
        "resource": {
            "type": "file", "name": "/home/alice/.ssh/id_rsa", "path": "/home/alice/.ssh/id_rsa",
            "host": "files.example", "port": 8443,
        },
        "metadata": {
            "command_line": "cat /home/alice/.ssh/id_rsa",
            "trace_id": "0af7651916cd43dd8448eb211c80319c",
            "user": {"name": "Alice", "roles": ["a", "b"], "id": 4711},
            "items": [{"content": "bulk", "kind": 1}, {"content": "more", "kind": 2}],
            "velar": {"request_body_preview": "{\"x\":1}", "method": "POST"},
        },
        "labels": {"team": "red", "app.io/name": "shop"},
    })
}

/// What an exporter gets of a record under these rules; `None` where no rule changed anything.
pub(crate) fn seen_record(record: &[u8], rules: &PrivacyRules) -> Option<Value> {
    let privacy = Privacy::compile(rules).expect("the rules are right");
    let options = OpeningOptions { privacy: privacy.map(Into::into), ..OpeningOptions::default() };
    let opening = Opening::new(&options);
    let frame = Frame { received_ns: NOW_NS, ..Frame::default() };
    let (mut arena, mut opened) = (Vec::new(), Opened::default());
    opening.begin(&mut arena);
    opening.open(&frame, record, &mut arena, &mut opened).expect("it is an event");
    let event = Event::new(&opened, frame, record, &arena);
    let text = rendered(&event);
    for &id in F::ALL {
        let Some(value) = event.value(id) else { continue };
        serde_json::from_slice::<Value>(value.json).expect("each value is JSON");
        assert_eq!(value.escaped, value.json.contains(&b'\\'), "{id:?}");
    }
    if !opened.concealed {
        return None;
    }
    assert!(event.record.is_empty(), "the record is out of reach");
    Some(serde_json::from_slice(&text).expect("the event is JSON"))
}

/// The canonical event.
pub(crate) fn rendered(event: &Event<'_>) -> Vec<u8> {
    let plan = Plan::compile(&[&schemas::NATIVE], &Overrides::default()).expect("it compiles");
    let mut text = Vec::new();
    plan.encode(event, &mut text);
    text
}

/// What an exporter gets of an event that rules change.
pub(crate) fn seen(event: &Value, rules: &PrivacyRules) -> Value {
    seen_record(event.to_string().as_bytes(), rules).expect("a rule changes it")
}

/// Rules of paths only, each `list: path`.
pub(crate) fn rules(paths: &[&str]) -> PrivacyRules {
    let mut rules = PrivacyRules::default();
    for path in paths {
        let (list, path) = path.split_once(": ").expect("a list and a path");
        let list = match list {
            "allow" => &mut rules.allow,
            "deny" => &mut rules.deny,
            "redact" => &mut rules.redact,
            "mask" => &mut rules.mask,
            "hash" => &mut rules.hash,
            other => panic!("no list {other}"),
        };
        list.push(path.to_owned());
    }
    rules
}

/// The rules of a configuration's `privacy` section, as options of opening.
pub(crate) fn configured(section: &str) -> OpeningOptions {
    let text = format!("privacy: {section}\nexporters: {{stdout: {{}}}}\n");
    let text = Text::File { name: "shrike.yaml".to_owned(), text: text.into() };
    let config = Config::load(&text, &Flags::default(), vendors::ALL, &System);
    config.expect("the configuration is right").opening_options()
}

/// What is seen of an event under a configuration.
pub(crate) fn seen_as(options: &OpeningOptions, event: &Value) -> Option<Value> {
    let record = event.to_string().into_bytes();
    let opening = Opening::new(options);
    let frame = Frame { received_ns: NOW_NS, ..Frame::default() };
    let (mut arena, mut opened) = (Vec::new(), Opened::default());
    opening.begin(&mut arena);
    opening.open(&frame, &record, &mut arena, &mut opened).expect("it is an event");
    let event = Event::new(&opened, frame, &record, &arena);
    let text = rendered(&event);
    let seen = serde_json::from_slice(&text).expect("the event is JSON");
    opened.concealed.then_some(seen)
}

/// A pattern of an operator.
pub(crate) fn pattern(regex: &str) -> PatternRule {
    PatternRule {
        name: "own".to_owned(),
        regex: regex.to_owned(),
        replacement: None,
        needs: shrike::event::Needs::Beginning,
        check: None,
    }
}
