//! Records of other producers: each becomes the event that the specification says, and can be built
//! again from it.

#[path = "dialects/otlp.rs"]
mod otlp;
#[path = "dialects/protobuf.rs"]
mod protobuf;

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use shrike::dialects;
use shrike::event::{Class, Event, FieldId as F, Frame, Opened, Opening, OpeningOptions};
use shrike::intake::{Batch, CheckOptions, Checker, IntakeCounts, Lines, Mode};
use shrike::log::Mark;

const AUDIT: &str = include_str!("fixtures/clawdstrike-audit.jsonl");
const OPENCLAW: &str = include_str!("fixtures/openclaw-audit.jsonl");
const POLICY: &str = include_str!("fixtures/policy-events.jsonl");
const VELAR: &str = include_str!("fixtures/velar-audit.jsonl");
const OTLP: &str = include_str!("fixtures/otlp-logs.jsonl");
const FALCO: &str = include_str!("fixtures/falco-alerts.jsonl");
const FRAMES: &str = include_str!("fixtures/hushd-events.sse");

/// 2026-02-06T14:30:00Z, in nanoseconds.
const NOW_NS: u64 = 1_770_388_200_000_000_000;

fn checker(options: OpeningOptions) -> (Arc<Opening>, Checker) {
    let opening = Arc::new(Opening::new(&options));
    let check = CheckOptions {
        dialects: dialects::ALL,
        host: "dev-machine-1".to_owned(),
        ..CheckOptions::default()
    };
    let counts = Arc::new(IntakeCounts::default());
    (Arc::clone(&opening), Checker::new(opening, check, counts))
}

/// The records that lines become, and what a worker finds in them.
fn mapped_with(text: &str, options: OpeningOptions) -> Vec<(Vec<u8>, Value)> {
    let (opening, mut checker) = checker(options);
    let mut batch = Batch::default();
    let text = format!("{}\n", text.trim_end());
    Lines::new(0).take(&mut checker, text.as_bytes(), NOW_NS, &mut batch);
    assert_eq!(batch.rejected, [], "{text}");
    let (mut arena, mut opened) = (Vec::new(), Opened::default());
    opening.begin(&mut arena);
    let mut all = Vec::new();
    for (record, mark) in batch.records(text.as_bytes()) {
        let Mark { received_ns, checked, mapped, repaired } = mark;
        let frame = Frame { received_ns, checked, mapped, repaired, ..Frame::default() };
        opening.rewind(&mut arena);
        opening.open_exact(&frame, record, &mut arena, &mut opened).expect("opens as it is");
        let event = Event::new(&opened, frame, record, &arena);
        let mut fields = Map::new();
        for &id in F::ALL {
            if let Some(value) = event.value(id) {
                // Numbers beyond 64 bits are JSON as well, and stay text.
                let text = || json!(String::from_utf8_lossy(value.json));
                let value = serde_json::from_slice(value.json).unwrap_or_else(|_| text());
                fields.insert(id.path().to_owned(), value);
            }
        }
        all.push((record.to_vec(), Value::Object(fields)));
    }
    all
}

fn mapped(text: &str) -> Vec<(Vec<u8>, Value)> {
    mapped_with(text, OpeningOptions::default())
}

fn fields(line: &Value) -> Value {
    let mut all = mapped(&line.to_string());
    assert_eq!(all.len(), 1, "{line}");
    all.remove(0).1
}

#[test]
fn samples_become_the_events_that_were_reviewed() {
    let frames = frames(FRAMES);
    for (name, text, events) in [
        ("clawdstrike-audit", AUDIT, AUDIT.lines().count()),
        ("openclaw-audit", OPENCLAW, OPENCLAW.lines().count()),
        ("policy-events", POLICY, POLICY.lines().count()),
        ("velar-audit", VELAR, VELAR.lines().count()),
        ("hushd-events", &frames, frames.lines().count()),
        ("otlp-logs", OTLP, 11),
        ("falco-alerts", FALCO, FALCO.lines().count()),
    ] {
        let all = mapped(text);
        assert_eq!(all.len(), events, "{name}");
        let mut out = Vec::new();
        for (record, _) in &all {
            out.extend_from_slice(record);
            out.push(b'\n');
        }
        let path = Path::new("tests/golden/dialects").join(format!("{name}.jsonl"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all("tests/golden/dialects").expect("the checkout is ours");
            std::fs::write(&path, &out).expect("the checkout is ours");
        }
        let golden = std::fs::read(&path).expect("UPDATE_GOLDEN=1 writes it");
        assert!(out == golden, "{name} differs; UPDATE_GOLDEN=1 and a review show how");
        // The same lines give the same events, whatever came before.
        assert!(mapped(text).iter().map(|(record, _)| record).eq(all.iter().map(|it| &it.0)));
    }
}

/// The frames of a stream, as a reader hands them on.
fn frames(stream: &str) -> String {
    let mut lines = String::new();
    for frame in stream.split("\n\n") {
        let member = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name));
        if let (Some(name), Some(data)) = (member("event: "), member("data: ")) {
            let data: Value = serde_json::from_str(data).expect("the sample's data is JSON");
            lines += &json!({"event": name, "data": data}).to_string();
            lines.push('\n');
        }
    }
    lines
}

#[test]
fn ids_are_the_ones_of_the_specification() {
    for (text, line, expected) in [
        (VELAR, 10, "8d64985d-6f24-8887-8d33-cb085ee9493e"),
        (OPENCLAW, 4, "33ac4e23-dfb8-8a0a-bc6f-48dabcb202cb"),
        (AUDIT, 31, "2b142f71-9c8c-8eb4-94a4-abce5bbf09e8"),
    ] {
        let text = text.lines().nth(line - 1).expect("the line is there");
        assert_eq!(mapped(text)[0].1["event_id"], json!(expected), "{text}");
    }
}

#[test]
fn the_examples_of_the_specification_hold() {
    let audit = &mapped(AUDIT.lines().nth(3).expect("line 4"))[0].1;
    assert_eq!(audit["resource.name"], json!("registry.example"));
    assert_eq!(audit["resource.host"], json!("registry.example"));
    assert_eq!(audit["resource.port"], json!(443));
    assert_eq!(
        audit["metadata.shrike"],
        json!({"format": "clawdstrike.audit", "source": {"target": "registry.example"}})
    );
    let openclaw = &mapped(OPENCLAW.lines().nth(3).expect("line 4"))[0].1;
    for (path, value) in [
        ("event_type", json!("egress_blocked")),
        ("event_category", json!("network")),
        ("agent.id", json!("openclaw")),
        ("session.id", json!("run-2026-02-06-a")),
        ("outcome", json!("failure")),
        ("action", json!("egress")),
        ("threat.indicator.type", json!("domain")),
        ("threat.indicator.value", json!("evil.example")),
        ("decision.allowed", json!(false)),
        ("decision.guard", json!("egress")),
        ("decision.severity", json!("high")),
        ("resource.host", json!("evil.example")),
        ("resource.port", json!(443)),
        ("timestamp", json!("2026-02-06T13:00:03.111Z")),
        (
            "metadata.shrike",
            json!({
                "format": "clawdstrike.openclaw",
                "source": {"id": "evt-1770382803111-brk3y5",
                    "resource": "https://evil.example/exfil?q=1", "type": "network"},
                "defaulted": ["agent.id", "decision.severity"],
            }),
        ),
    ] {
        assert_eq!(openclaw[path], value, "{path}");
    }
    let velar = &mapped(VELAR.lines().nth(13).expect("line 14"))[0].1;
    for (path, value) in [
        ("event_type", json!("guard_warn")),
        ("agent.id", json!("velar")),
        ("agent.version", json!("unknown")),
        ("session.id", json!("velar:dev-machine-1")),
        ("decision.guard", json!("velar.sanitizer")),
        ("decision.severity", json!("low")),
        ("resource.path", json!("/v1/chat/completions")),
    ] {
        assert_eq!(velar[path], value, "{path}");
    }
    let metadata = &velar["metadata"]["velar"];
    assert_eq!(metadata["kind"], json!("inspected"));
    assert_eq!(metadata["rule_id"], json!("mitm-openai"));
    assert_eq!(metadata["sanitized_count"], json!(1));
    assert_eq!(metadata["sanitized_types"], json!(["email"]));
    assert_eq!(
        velar["metadata.shrike"]["defaulted"],
        json!(["agent.id", "session.id", "decision.severity"])
    );
}

#[test]
fn each_source_record_can_be_built_again() {
    let mut lines = 0;
    for (text, build) in [
        (AUDIT, audit_again as fn(&Value) -> Value),
        (OPENCLAW, openclaw_again),
        (POLICY, policy_again),
        (VELAR, velar_again),
        (FALCO, falco_again),
    ] {
        for line in text.lines() {
            let source: Value = serde_json::from_str(line).expect("the sample is JSON");
            let record: Value =
                serde_json::from_slice(&mapped(line)[0].0).expect("an event is JSON");
            assert_eq!(build(&record), source, "{record}");
            lines += 1;
        }
    }
    assert_eq!(lines, 108 + FALCO.lines().count());
}

/// A record under construction, from what `metadata.shrike` says of it.
struct Again<'a> {
    event: &'a Value,
    shrike: &'a Value,
    out: Map<String, Value>,
}

impl<'a> Again<'a> {
    fn new(event: &'a Value) -> Self {
        let shrike = &event["metadata"]["shrike"];
        let out = shrike["source"].as_object().cloned().unwrap_or_default();
        Self { event, shrike, out }
    }

    fn is_defaulted(&self, path: &str) -> bool {
        let listed = self.shrike["defaulted"].as_array();
        listed.is_some_and(|listed| listed.contains(&json!(path)))
    }

    /// A member that is the field at this path, unless it was kept or filled in.
    fn field(&mut self, key: &str, path: &str) {
        let pointer = format!("/{}", path.replace('.', "/"));
        let value = self.event.pointer(&pointer).cloned();
        if let (Some(value), false) = (value, self.is_defaulted(path)) {
            self.put(key, value);
        }
    }

    fn put(&mut self, key: &str, value: Value) {
        self.out.entry(key).or_insert(value);
    }

    fn target(&self) -> Option<Value> {
        let resource = &self.event["resource"];
        match resource["type"].as_str()? {
            "network" => {
                let host = resource["host"].as_str()?;
                let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
                Some(json!(format!("{host}:{}", resource["port"])))
            }
            "file" | "configuration" => resource.get("path").cloned(),
            _ => Some(resource["name"].clone()),
        }
    }

    fn metadata(&mut self) {
        if self.is_defaulted("metadata") {
            return;
        }
        let mut metadata = self.event["metadata"].as_object().cloned().expect("an object");
        metadata.remove("shrike");
        self.put("metadata", Value::Object(metadata));
    }
}

fn audit_again(event: &Value) -> Value {
    let mut again = Again::new(event);
    again.field("id", "event_id");
    again.field("timestamp", "timestamp");
    let allowed = event["decision"]["allowed"] == json!(true);
    let kind = event["event_type"].as_str().expect("a word");
    let kind = match kind {
        "session_start" | "session_end" => kind,
        _ if allowed => "check",
        _ => "violation",
    };
    again.put("event_type", json!(kind));
    again.field("action_type", "action");
    if let Some(target) = again.target() {
        again.put("target", target);
    }
    again.put("decision", json!(if allowed { "allowed" } else { "blocked" }));
    again.field("guard", "decision.guard");
    if !again.is_defaulted("decision.severity") {
        let word = match event["decision"]["severity"].as_str().expect("a word") {
            "info" => "Info",
            "medium" => "Warning",
            "high" => "Error",
            "critical" => "Critical",
            other => other,
        };
        again.put("severity", json!(word));
    }
    again.field("message", "decision.reason");
    again.field("session_id", "session.id");
    again.field("agent_id", "agent.id");
    again.metadata();
    Value::Object(again.out)
}

fn openclaw_again(event: &Value) -> Value {
    let mut again = Again::new(event);
    let millis = |text: &str| -> i128 {
        let format = time::format_description::well_known::Rfc3339;
        let at = time::OffsetDateTime::parse(text, &format).expect("a time");
        at.unix_timestamp_nanos() / 1_000_000
    };
    let at = millis(event["timestamp"].as_str().expect("a time"));
    again.put("timestamp", json!(i64::try_from(at).expect("a time of our age")));
    let kind = match event["action"].as_str().expect("a word") {
        "file_access" => "file_read",
        "egress" => "network_egress",
        "shell" => "command_exec",
        "mcp_tool" => "tool_call",
        "patch" => "patch_apply",
        other => other,
    };
    again.put("type", json!(kind));
    let allowed = event["decision"]["allowed"] == json!(true);
    again.put("decision", json!(if allowed { "allowed" } else { "denied" }));
    if let Some(target) = again.target() {
        again.put("resource", target);
    }
    again.field("guard", "decision.guard");
    again.field("reason", "decision.reason");
    again.field("runId", "session.id");
    Value::Object(again.out)
}

fn policy_again(event: &Value) -> Value {
    let mut again = Again::new(event);
    again.field("eventId", "event_id");
    again.field("timestamp", "timestamp");
    again.field("sessionId", "session.id");
    let kind = match event["action"].as_str().expect("a word") {
        "file_access" => "file_read",
        "egress" => "network_egress",
        "shell" => "command_exec",
        "mcp_tool" => "tool_call",
        "patch" => "patch_apply",
        other => other,
    };
    again.put("eventType", json!(kind));
    again.metadata();
    Value::Object(again.out)
}

fn velar_again(event: &Value) -> Value {
    let mut again = Again::new(event);
    for (key, path) in [
        ("timestamp", "timestamp"),
        ("host", "resource.host"),
        ("path", "resource.path"),
        ("reason", "decision.reason"),
    ] {
        again.field(key, path);
    }
    let own = event["metadata"]["velar"].as_object().expect("an object").clone();
    const DERIVED: [&str; 4] = ["kind", "rule_id", "sanitized_count", "sanitized_types"];
    for (key, value) in own.into_iter().filter(|(key, _)| !DERIVED.contains(&key.as_str())) {
        again.put(&key, value);
    }
    Value::Object(again.out)
}

fn falco_again(event: &Value) -> Value {
    let mut again = Again::new(event);
    for (key, path) in [
        ("uuid", "event_id"),
        ("time", "timestamp"),
        ("rule", "decision.guard"),
        ("output", "decision.reason"),
        ("hostname", "agent.id"),
    ] {
        // Ids that were derived from the line are of version 8.
        if path != "event_id" || event["event_id"].as_str().is_some_and(|id| &id[14..15] != "8") {
            again.field(key, path);
        }
    }
    let own = event["metadata"]["falco"].as_object().expect("an object").clone();
    own.into_iter().for_each(|(key, value)| again.put(&key, value));
    Value::Object(again.out)
}

#[test]
fn alerts_of_falco_have_their_severity_resource_and_technique() {
    let all: Vec<Value> = mapped(FALCO).into_iter().map(|it| it.1).collect();
    for (n, expected) in [
        json!({"event_id": "3f0c4a38-6a0b-4f0e-9f1c-8d7e6a5b4c3d", "decision.severity": "medium",
            "resource.type": "file", "resource.path": "/etc/shadow", "action": "openat",
            "threat.tactic": "credential_access", "threat.technique": "T1555",
            "session.id": "falco:node-1", "session.user_id": "root", "agent.id": "node-1",
            "decision.allowed": true, "event_type": "guard_warn"}),
        json!({"decision.severity": "low", "resource.type": "process", "resource.name": "bash",
            "threat.technique": "T1059", "session.id": "3ad7b26ded6d",
            "decision.guard": "Terminal shell in container"}),
        json!({"decision.severity": "critical", "resource.host": "203.0.113.9",
            "resource.port": 4444, "resource.type": "network"}),
        json!({"decision.severity": "info", "resource.name": "settings", "agent.id": "falco",
            "action": "alert"}),
        json!({"decision.severity": "medium"}),
    ]
    .iter()
    .enumerate()
    {
        for (path, value) in expected.as_object().expect("an object") {
            assert_eq!(all[n][path], *value, "{path} of {n}");
        }
    }
    assert_eq!(all[1].get("session.user_id"), None, "<NA> is nobody");
    assert_eq!(all[4]["metadata.shrike"]["flags"], json!(["unknown_enum"]));
}

/// A hushd record with these members instead of the usual ones.
fn audit(changes: Value) -> Value {
    let mut record = json!({
        "id": "019c32d0-0000-7000-8000-000000000001", "timestamp": "2026-02-06T12:00:01Z",
        "event_type": "check", "action_type": "shell", "target": "ls", "decision": "allowed",
        "guard": "g", "severity": "Info", "message": "m", "session_id": "s", "agent_id": "a",
    });
    for (key, value) in changes.as_object().expect("an object") {
        match value {
            Value::String(word) if word == "absent" => {
                drop(record.as_object_mut().map(|it| it.remove(key)))
            }
            value => record[key] = value.clone(),
        }
    }
    record
}

#[test]
fn decisions_follow_their_table() {
    for (changes, event_type, severity) in [
        (json!({"severity": "WARN"}), "guard_warn", "medium"),
        (json!({"severity": "Warning"}), "guard_warn", "medium"),
        (json!({"severity": "absent"}), "policy_allow", "info"),
        (json!({"decision": "blocked", "severity": "absent"}), "guard_block", "high"),
        (
            json!({"decision": "blocked", "guard": "secret_leak", "action_type": "egress"}),
            "secret_detected",
            "info",
        ),
        (
            json!({"decision": "blocked", "action_type": "egress", "guard": "forbidden_path"}),
            "egress_blocked",
            "info",
        ),
        (
            json!({"decision": "blocked", "guard": "forbidden_path", "action_type": "patch"}),
            "forbidden_path",
            "info",
        ),
        (json!({"decision": "blocked", "guard": "patch_integrity"}), "patch_rejected", "info"),
        (json!({"decision": "no", "severity": "Error"}), "guard_block", "high"),
        (json!({"event_type": "session_end", "decision": "blocked"}), "session_end", "info"),
    ] {
        let fields = fields(&audit(changes.clone()));
        assert_eq!(fields["event_type"], json!(event_type), "{changes}");
        assert_eq!(fields["decision.severity"], json!(severity), "{changes}");
    }
}

#[test]
fn administrative_events_have_their_category() {
    for (event_type, category) in [
        ("user_session_created", "authentication"),
        ("saml_session_created", "authentication"),
        ("webhook_okta", "authentication"),
        ("rbac_role_deleted", "authorization"),
        ("session_posture_transition", "session"),
        ("policy_reload", "configuration"),
        ("session_start", "session"),
    ] {
        let fields = fields(&audit(json!({"event_type": event_type, "action_type": "admin"})));
        assert_eq!(fields["event_category"], json!(category), "{event_type}");
        assert_eq!(fields["resource.type"], json!("configuration"));
    }
}

#[test]
fn users_and_tenants_come_from_the_principal() {
    let record = audit(json!({"metadata": {
        "policy_hash": "abc",
        "principal": {"id": "okta|1", "organization_id": "acme", "roles": []},
        "shrike": {"mine": true},
    }}));
    let own = fields(&record);
    assert_eq!(own["session.user_id"], json!("okta|1"));
    assert_eq!(own["session.tenant_id"], json!("acme"));
    assert_eq!(own["decision.policy_hash"], json!("abc"));
    assert_eq!(own["metadata.shrike"]["displaced"], json!({"mine": true}));
    assert_eq!(own["metadata"].get("shrike"), None);
    let options =
        OpeningOptions { tenant_id: Some("ours".to_owned()), ..OpeningOptions::default() };
    let configured = &mapped_with(&record.to_string(), options)[0].1;
    assert_eq!(configured["session.tenant_id"], json!("ours"), "it only follows from the record");
}

#[test]
fn odd_metadata_is_kept() {
    for (metadata, expected) in [
        (json!([1, "a"]), json!({"value": [1, "a"]})),
        (json!("text"), json!({"value": "text"})),
        (json!(null), json!({})),
        (json!({}), json!({})),
    ] {
        let fields = fields(&audit(json!({"metadata": metadata})));
        assert_eq!(fields["metadata"], expected, "{metadata}");
    }
    let big = r#"{"big":123456789012345678901234567890,"exp":1e400}"#;
    let line = audit(json!({"metadata": "HERE"})).to_string().replace("\"HERE\"", big);
    let record = String::from_utf8(mapped(&line)[0].0.clone()).expect("UTF-8");
    assert!(record.contains(&big[1..big.len() - 1]), "verbatim: {record}");
}

#[test]
fn the_other_dialects_say_what_their_table_says() {
    let adapter = |kind: &str, rest: Value| {
        let mut record = json!({"id": "evt-1", "type": kind, "contextId": "c",
            "timestamp": "2026-02-06T12:00:00.123Z", "sessionId": "s"});
        for (key, value) in rest.as_object().expect("an object") {
            record[key] = value.clone();
        }
        record
    };
    let v2 = json!({"eventId": "evt_019c32d2-d1ae-7f7d-b24b-9b3673942cdf",
        "timestamp": "2026-02-06T12:00:02.990112233Z", "sessionId": "s-1", "agentId": "a",
        "organizationId": "acme", "sequence": 17, "integrity": {"contentHash": "x"},
        "action": {"type": "mcp_tool", "resource": "tool", "parameters": {"path": "a"}},
        "decision": {"allowed": false, "guard": "mcp_tool", "severity": "error", "reason": "no",
            "policyHash": "sha256:9b"}});
    let row = json!({"event_id": "evt_019c32d2-d1ae-7f7d-b24b-9b3673942cdf", "content_hash": "h",
        "timestamp": "2026-02-06T12:00:02Z", "session_id": "s-1", "action_type": "egress",
        "action_resource": "a.example:1", "decision_allowed": 0, "sequence": 1});
    let irm = json!({"event_id": "i", "event_type": "net_connect", "run_id": "r",
        "timestamp": "2026-02-06T12:00:00Z", "decision": {"decision": "deny", "reason": "why"},
        "data": {"function": "connect", "args": {"host": "h.example", "port": 99}}});
    let receipt = json!({"receipt": {"version": "1.0.0", "content_hash": "0xab",
        "timestamp": "2026-02-06T12:00:00+00:00", "verdict": {"passed": false, "gate_id": "gate"},
        "provenance": {"policy_hash": "0xp", "violations": [
            {"guard": "g", "severity": "warning", "message": "one"},
            {"guard": "g", "severity": "critical", "message": "two"}]}},
        "signatures": {"signer": "ff"}});
    let letter = json!({"exporter": "splunk", "failed_at": "2026-02-06T09:00:09.120Z",
        "attempts": 4, "event": serde_json::from_slice::<Value>(
            &mapped(AUDIT.lines().nth(1).expect("line 2"))[0].0).expect("an event")});
    for (record, expected) in [
        (
            adapter(
                "tool_call_blocked",
                json!({"toolName": "bash", "decision":
            {"status": "deny", "guard": "g", "severity": "critical", "reason": "r"}}),
            ),
            json!({"event_type": "guard_block", "decision.severity": "critical",
                "resource.type": "tool", "resource.name": "bash", "outcome": "failure"}),
        ),
        (
            adapter("prompt_security_jailbreak", json!({"details": {"blocked": true}})),
            json!({"event_type": "policy_violation", "decision.severity": "high"}),
        ),
        (
            adapter("tool_call_warning", json!({"decision": {"status": "warn"}})),
            json!({"event_type": "guard_warn", "decision.severity": "medium"}),
        ),
        (
            adapter("session_end", json!({})),
            json!({"event_type": "session_end", "event_category": "session"}),
        ),
        (
            v2,
            json!({"event_id": "019c32d2-d1ae-7f7d-b24b-9b3673942cdf",
            "event_type": "guard_block", "session.tenant_id": "acme",
            "decision.severity": "high", "decision.policy_hash": "sha256:9b",
            "metadata": {"audit_v2": {"sequence": 17, "integrity": {"contentHash": "x"},
                "parameters": {"path": "a"}}},
            "metadata.shrike": {"format": "clawdstrike.audit_v2"}}),
        ),
        (
            row,
            json!({"event_type": "egress_blocked", "resource.port": 1,
            "metadata": {"audit_v2": {"content_hash": "h", "sequence": 1}}}),
        ),
        (
            irm,
            json!({"event_type": "egress_blocked", "resource.host": "h.example",
            "session.id": "r", "decision.reason": "why", "decision.severity": "high"}),
        ),
        (
            receipt,
            json!({"event_type": "policy_violation", "decision.severity": "critical",
            "decision.reason": "two", "decision.guard": "gate", "resource.name": "0xab",
            "timestamp": "2026-02-06T12:00:00Z"}),
        ),
        (letter, json!({"event_type": "policy_allow", "agent.id": "coder-01"})),
    ] {
        let fields = fields(&record);
        for (path, value) in expected.as_object().expect("an object") {
            assert_eq!(fields[path], *value, "{path} of {record}");
        }
        if record.get("exporter").is_some() {
            assert_eq!(fields["metadata.shrike"]["dlq"]["attempts"], json!(4));
        }
    }
}

#[test]
fn many_members_cost_no_more_than_their_number() {
    // Looking at each pair would take minutes, of this thread's own time: others' is not counted.
    let cpu_s = || rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime).tv_sec;
    let long: String = (0..100_000).map(|n| format!(",\"member {n}\":{n}")).collect();
    for line in [VELAR, AUDIT, OPENCLAW, POLICY].map(|text| text.lines().next().expect("a line")) {
        let begun = cpu_s();
        let line = format!("{}{long}}}", line.strip_suffix('}').expect("an object"));
        let all = mapped(&line);
        assert_eq!(all.len(), 1);
        assert!(String::from_utf8_lossy(&all[0].0).contains("\"member 99999\":99999"));
        let took = cpu_s() - begun;
        assert!(took < 20, "{took} s");
    }
}

#[test]
fn a_time_with_an_exponent_is_none() {
    for time in ["1.770382803111e12", "1770382803E3"] {
        let line = format!(
            "{{\"id\":\"e\",\"type\":\"file_read\",\"timestamp\":{time},\"decision\":\"allowed\",\
             \"resource\":\"/a\"}}\n"
        );
        let (_, mut checker) = checker(OpeningOptions::default());
        let mut batch = Batch::default();
        Lines::new(0).take(&mut checker, line.as_bytes(), NOW_NS, &mut batch);
        let classes: Vec<Class> = batch.rejected.iter().map(|rejected| rejected.class).collect();
        assert_eq!(classes, [Class::BadTimestamp], "{line}");
    }
}

#[test]
fn a_destination_without_a_host_is_kept() {
    for target in [":443", "[]:80"] {
        let line = json!({"id": "e", "type": "network_egress", "timestamp": 1_770_382_803_111_u64,
            "decision": "denied", "resource": target});
        let all = mapped(&line.to_string());
        assert!(String::from_utf8_lossy(&all[0].0).contains(target), "{target}");
    }
}

#[test]
fn what_is_blank_is_as_good_as_absent() {
    let record = audit(json!({"agent_id": " ", "session_id": "", "guard": " "}));
    let said = fields(&record);
    for (path, expected) in
        [("agent.id", "hushd"), ("session.id", "unknown"), ("decision.guard", "engine")]
    {
        assert_eq!(said[path], json!(expected), "{path}");
    }
    assert_eq!(said["metadata.shrike"]["flags"], json!(["empty_field"]));
    let kept = json!({"agent_id": " ", "session_id": "", "guard": " "});
    assert_eq!(said["metadata.shrike"]["source"], kept);
    for action in ["egress", "file_access", "patch"] {
        let said = fields(&audit(json!({"action_type": action, "target": "  "})));
        assert_eq!(said["resource.name"], json!("unknown"), "{action}");
        for path in ["resource.host", "resource.port", "resource.path", "threat.indicator.value"] {
            assert_eq!(said.get(path), None, "{path} of {action}");
        }
        assert_eq!(said["metadata.shrike"]["source"]["target"], json!("  "), "{action}");
    }
}

#[test]
fn what_velar_masked_may_be_told_by_number_and_kind_alone() {
    let record = |more: Value| {
        let mut record = json!({"timestamp": "2026-02-06T10:00:00Z", "method": "POST",
            "host": "a.example", "path": "/v1", "decision": "allow", "reason": "default (default)"});
        record.as_object_mut().expect("an object").extend(more.as_object().expect("one").clone());
        fields(&record)
    };
    for (more, event_type, count) in [
        (
            json!({"sanitized_count": 2, "sanitized_types": ["api_key", "email"]}),
            "secret_detected",
            2,
        ),
        (json!({"sanitized_types": ["email"]}), "guard_warn", 1),
        (json!({"sanitized_count": 3}), "guard_warn", 3),
        (json!({"sanitized": true, "sanitized_items": []}), "guard_warn", 0),
    ] {
        let said = record(more.clone());
        assert_eq!(said["event_type"], json!(event_type), "{more}");
        assert_eq!(said["decision.guard"], json!("velar.sanitizer"), "{more}");
        assert_eq!(said["metadata"]["velar"]["sanitized_count"], json!(count), "{more}");
    }
    let none = record(json!({"sanitized_count": 0, "sanitized_types": []}));
    assert_eq!(none["event_type"], json!("policy_allow"));
}

#[test]
fn a_frame_of_the_stream_is_thin() {
    for (_, fields) in mapped(&frames(FRAMES)) {
        assert_eq!(fields["metadata.shrike"]["flags"], json!(["thin"]));
        assert_eq!(fields["timestamp"], json!("2026-02-06T14:30:00.000Z"));
        let id = fields["event_id"].as_str().expect("an id");
        assert_eq!(id.as_bytes()[14], b'7', "{id}");
    }
}

#[test]
fn files_are_read_as_their_producer_writes_them() {
    for (text, mode) in [
        (AUDIT, Mode::Append),
        (VELAR, Mode::Append),
        (OPENCLAW, Mode::Rewrite),
        (POLICY, Mode::PerRun),
        (OTLP, Mode::Append),
        (FALCO, Mode::Append),
        ("{\"receipt\":{},\"signatures\":{}}\n", Mode::Document),
        ("no json\n", Mode::Append),
    ] {
        assert_eq!(dialects::mode(text.lines().next().unwrap_or_default().as_bytes()), mode);
    }
}
