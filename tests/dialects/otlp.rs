//! Records of OpenTelemetry: many in a line, each an event of its own.

use serde_json::{Value, json};
use shrike::event::{Class, OpeningOptions};
use shrike::intake::{Batch, Lines};

use super::{AUDIT, Again, NOW_NS, OTLP, audit_again, checker, fields, mapped};

#[test]
fn one_line_of_otlp_holds_many_events() {
    let all: Vec<Value> = mapped(OTLP).into_iter().map(|it| it.1).collect();
    for (n, expected) in [
        // An audit record of hushd, unwrapped.
        (
            0,
            json!({"event_id": serde_json::from_str::<Value>(AUDIT.lines().nth(1).expect("two"))
            .expect("JSON")["id"], "agent.name": "hushd"}),
        ),
        (
            1,
            json!({"action": "user_prompt", "agent.type": "claude_code",
            "session.user_id": "4be1c0de", "decision.reason": "claude_code.user_prompt"}),
        ),
        (2, json!({"resource.name": "claude-sonnet-4-5", "outcome": "success"})),
        (
            3,
            json!({"event_type": "policy_allow", "resource.type": "tool", "resource.name": "Bash",
            "decision.guard": "claude_code.permission", "decision.reason": "config"}),
        ),
        (
            4,
            json!({"event_type": "guard_block", "decision.allowed": false, "outcome": "failure",
            "decision.severity": "high", "decision.reason": "user_reject"}),
        ),
        (5, json!({"outcome": "failure", "decision.allowed": true, "resource.name": "Bash"})),
        (6, json!({"outcome": "failure", "timestamp": "2026-02-06T12:00:00.004000001Z"})),
        (
            7,
            json!({"timestamp": "2026-02-06T12:00:01Z", "decision.severity": "high",
            "resource.host": "db.example", "action": "connection lost", "agent.id": "billing-7",
            "outcome": "unknown"}),
        ),
        (8, json!({"decision.severity": "medium", "decision.reason": "retrying"})),
        (
            10,
            json!({"decision.severity": "critical", "resource.path": "/etc/passwd",
            "timestamp": "2026-02-06T14:30:00Z"}),
        ),
    ] {
        for (path, value) in expected.as_object().expect("an object") {
            assert_eq!(all[n][path], *value, "{path} of {n}");
        }
    }
    let mut ids: Vec<&str> = all.iter().filter_map(|it| it["event_id"].as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all.len(), "also two records that say the same are two events");
    assert_eq!(all[0]["metadata.shrike"]["format"], json!("clawdstrike.audit"));
    let resource = &all[0]["metadata.shrike"]["otlp"]["resource"];
    assert_eq!(resource["attributes"][0]["value"], json!({"stringValue": "hushd"}));
    // Packed otherwise, a record keeps its id.
    let line = OTLP.lines().nth(1).expect("two lines");
    let (head, records) = line.split_once("\"logRecords\":[").expect("it has records");
    let (first, _) = records.split_once(",{\"timeUnixNano\"").expect("more than one");
    let again = mapped(&format!("{head}\"logRecords\":[{first}]}}]}}]}}"));
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].1["event_id"], all[1]["event_id"]);
}

/// The export of one record, from the event that it became.
fn otlp_again(event: &Value) -> Value {
    let listed = |attributes: &Value| match attributes {
        Value::Object(members) => {
            let row = |key: &String, value: &Value| match value {
                Value::Null => json!({"key": key}),
                value => json!({"key": key, "value": value}),
            };
            let rows = members.iter().flat_map(|(key, values)| match values {
                // A key that came twice.
                Value::Array(values) => values.iter().map(|value| row(key, value)).collect(),
                value => vec![row(key, value)],
            });
            Some(rows.collect::<Vec<_>>().into())
        }
        Value::Null => None,
        other => Some(other.clone()),
    };
    let own = &event["metadata"]["otlp"];
    let mut again = Again::new(event);
    let (mut resource_logs, mut scope_logs, mut resource) = (
        again.out.remove("resourceLogs").unwrap_or(json!({})),
        again.out.remove("scopeLogs").unwrap_or(json!({})),
        again.out.remove("resource").unwrap_or(json!({})),
    );
    for (key, value) in own.as_object().expect("an object") {
        if !["attributes", "resource", "scope"].contains(&key.as_str()) {
            again.put(key, value.clone());
        }
    }
    if !again.is_defaulted("timestamp") {
        let time = event["timestamp"].as_str().expect("a time");
        let time = shrike::config::time::parse(time).expect("a time");
        again.put("timeUnixNano", json!(time.to_string()));
    }
    if !again.is_defaulted("decision.reason") {
        again.put("body", json!({"stringValue": event["decision"]["reason"]}));
    }
    if let Some(attributes) = listed(&own["attributes"]) {
        again.put("attributes", attributes);
    }
    // An attribute names the record, and is told there.
    again.out.remove("log.record.uid");
    scope_logs["logRecords"] = json!([again.out]);
    if let Some(scope) = own.get("scope") {
        scope_logs["scope"] = scope.clone();
    }
    if let Some(attributes) = listed(&own["resource"]) {
        resource["attributes"] = attributes;
    }
    resource_logs["scopeLogs"] = json!([scope_logs]);
    if resource != json!({}) {
        resource_logs["resource"] = resource;
    }
    resource_logs
}

/// With attributes in the order of their keys: our JSON values keep no order, the events do.
fn by_key(mut resource_logs: Value) -> Value {
    for place in ["/resource/attributes", "/scopeLogs/0/logRecords/0/attributes"] {
        let list = resource_logs.pointer_mut(place).and_then(Value::as_array_mut);
        list.into_iter().for_each(|list| list.sort_by_key(|it| it["key"].to_string()));
    }
    resource_logs
}

/// Rules of privacy name attributes: one that is odd must not hide the others from them.
#[test]
fn attributes_are_found_by_their_keys_whatever_stands_beside_them() {
    let text = |text: &str| json!({"stringValue": text});
    let rows = json!([
        {"key": "prompt", "value": text("a")},
        {"key": "x"},
        {"key": "user", "value": text("b")},
        {"key": "user", "value": text("c")},
        {"key": "tool_input", "value": text("d"), "unit": 1},
        {"name": "no key"},
    ]);
    let event = fields(&json!({"resourceLogs": [{"resource": {"attributes": rows},
        "scopeLogs": [{"logRecords": [{"attributes": rows}]}]}]}));
    let by_key = json!({"prompt": text("a"), "x": null, "user": [text("b"), text("c")],
        "tool_input": text("d")});
    let others = json!([{"key": "tool_input", "unit": 1}, {"name": "no key"}]);
    let (otlp, source) = (&event["metadata"]["otlp"], &event["metadata.shrike"]["source"]);
    assert_eq!((&otlp["attributes"], &source["attributes"]), (&by_key, &others));
    assert_eq!((&otlp["resource"], &source["resource"]["attributes"]), (&by_key, &others));
}

#[test]
fn each_record_of_otlp_can_be_built_again() {
    let mut expected = Vec::new();
    let more = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [
        // No time but that of the observation; no body but a name; nothing at all.
        {"observedTimeUnixNano": "1770379200000000001", "body": {"stringValue": "seen"}},
        {"timeUnixNano": "1770379200000000001", "eventName": "named"},
        {"timeUnixNano": 1770379200000000001_u64, "body": {"stringValue": " "}},
        {"timeUnixNano": "1770379200000000001", "body": {"intValue": "7"}},
        // Keys that come twice, and one without a value.
        {"timeUnixNano": "1770379200000000001", "attributes": [
            {"key": "a", "value": {"intValue": "1"}}, {"key": "a"}, {"key": "b"}]},
    ]}]}]})
    .to_string();
    let text = format!("{}\n{more}\n", OTLP.trim_end());
    for line in text.lines() {
        let export: Value = serde_json::from_str(line).expect("the sample is JSON");
        for resource_logs in export["resourceLogs"].as_array().expect("a list") {
            for scope_logs in resource_logs["scopeLogs"].as_array().expect("a list") {
                for record in scope_logs["logRecords"].as_array().into_iter().flatten() {
                    let (mut one, mut scope) = (resource_logs.clone(), scope_logs.clone());
                    scope["logRecords"] = json!([record]);
                    one["scopeLogs"] = json!([scope]);
                    expected.push(one);
                }
            }
        }
    }
    let mut compared = 0;
    let records: Vec<Value> = mapped(&text)
        .iter()
        .map(|(record, _)| serde_json::from_slice(record).expect("an event is JSON"))
        .collect();
    assert_eq!(records.len(), expected.len());
    for (record, expected) in records.iter().zip(&expected) {
        if record["metadata"]["shrike"]["format"] == json!("clawdstrike.audit") {
            // hushd sends its own record as a whole.
            let attributes = &expected["scopeLogs"][0]["logRecords"][0]["attributes"];
            let is_raw = |it: &&Value| it["key"] == json!("hush.audit.raw_json");
            let raw = attributes.as_array().and_then(|all| all.iter().find(is_raw));
            let raw = raw.and_then(|it| it["value"]["stringValue"].as_str()).expect("it is there");
            let raw: Value = serde_json::from_str(raw).expect("JSON");
            assert_eq!(audit_again(record), raw);
        } else {
            assert_eq!(by_key(otlp_again(record)), by_key(expected.clone()), "{record}");
        }
        compared += 1;
    }
    assert!(compared > 12, "{compared}");
}

/// "Mappings are lossless": collectors on the way add to what hushd says.
#[test]
fn what_stands_around_a_record_of_hushd_is_kept() {
    let line = OTLP.lines().next().expect("it is of hushd");
    let mut export: Value = serde_json::from_str(line).expect("the sample is JSON");
    let plain = around(&export);
    assert_eq!(plain["attributes"], Value::Null, "what hushd says twice is kept once");
    assert_eq!(plain["body"], Value::Null);
    let urls =
        ["https://opentelemetry.io/schemas/1.40.0", "https://opentelemetry.io/schemas/1.39.0"];
    let added = json!({"key": "host.ip", "value": {"stringValue": "10.0.0.7"}});
    export["resourceLogs"][0]["schemaUrl"] = json!(urls[0]);
    export["resourceLogs"][0]["scopeLogs"][0]["schemaUrl"] = json!(urls[1]);
    let record = &mut export["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0];
    record["body"] = json!({"stringValue": "another text"});
    record["attributes"].as_array_mut().expect("a list").push(added.clone());
    let kept = around(&export);
    for (path, value) in [
        ("/resourceLogs/schemaUrl", json!(urls[0])),
        ("/scopeLogs/schemaUrl", json!(urls[1])),
        ("/attributes", json!([added])),
        ("/body/stringValue", json!("another text")),
    ] {
        assert_eq!(kept.pointer(path), Some(&value), "{path}: {kept}");
    }
}

/// What an event keeps of the export around its record.
fn around(export: &Value) -> Value {
    let (record, _) = mapped(&format!("{export}\n")).remove(0);
    let event: Value = serde_json::from_slice(&record).expect("an event is JSON");
    assert_eq!(event["metadata"]["shrike"]["format"], json!("clawdstrike.audit"));
    event["metadata"]["shrike"]["otlp"].clone()
}

#[test]
fn a_record_of_otlp_that_is_none_is_refused_alone() {
    let line = json!({"resourceLogs": [{"schemaUrl": "a", "scopeLogs": [{"schemaUrl": "b", "logRecords": [
        {"timeUnixNano": "1770379200000000000", "body": {"stringValue": "first"}},
        {"timeUnixNano": "yesterday"},
        7,
        {"timeUnixNano": 1_770_379_200_000_000_000_u64, "body": {"stringValue": "last"}},
    ]}]}]});
    for (line, events, classes) in [
        (line, 2, vec![Class::BadTimestamp, Class::NotObject]),
        (json!({"resourceLogs": []}), 0, vec![]),
        (json!({"resourceLogs": "x"}), 0, vec![Class::WrongType]),
        (
            json!({"resourceLogs": [7, {"scopeLogs": 8}, {"resource": [], "scopeLogs": [9]}]}),
            0,
            vec![],
        ),
    ] {
        let (_, mut checker) = checker(OpeningOptions::default());
        let mut batch = Batch::default();
        let text = format!("{line}\n");
        Lines::new(0).take(&mut checker, text.as_bytes(), NOW_NS, &mut batch);
        let refused: Vec<Class> = batch.rejected.iter().map(|it| it.class).collect();
        assert_eq!((batch.len(), refused), (events, classes.clone()), "{line}");
        // What was refused is refused again by itself, for the same reason.
        let alone: Vec<Vec<u8>> = batch.rejected.iter().map(|it| it.kept.clone()).collect();
        let urls = |text: &str| text.matches("schemaUrl").count();
        for kept in &alone {
            assert_eq!(urls(&String::from_utf8_lossy(kept)), urls(&text), "with what is around it");
        }
        for (kept, class) in alone.into_iter().zip(classes) {
            batch.clear();
            let text = [kept.as_slice(), b"\n"].concat();
            Lines::new(0).take(&mut checker, &text, NOW_NS, &mut batch);
            assert_eq!(batch.rejected[0].class, class, "{}", String::from_utf8_lossy(&kept));
        }
    }
}

#[test]
fn a_line_of_otlp_does_not_grow_without_bound() {
    // Each event repeats its resource, so that a line of 2 MiB would become 100 GiB.
    let resource =
        json!({"attributes": [{"key": "k", "value": {"stringValue": "x".repeat(1 << 20)}}]});
    let record = json!({"body": {"stringValue": "b"}});
    let line = json!({"resourceLogs": [{"resource": resource,
        "scopeLogs": [{"logRecords": vec![record; 100_000]}]}]});
    let (_, mut checker) = checker(OpeningOptions::default());
    let mut batch = Batch::default();
    Lines::new(0).take(&mut checker, format!("{line}\n").as_bytes(), NOW_NS, &mut batch);
    let refused: Vec<Class> = batch.rejected.iter().map(|it| it.class).collect();
    assert_eq!((batch.len(), refused), (0, vec![Class::Oversize]));
}
