//! Documents of every sample event, byte for byte, and independent checks of what they say.
//!
//! `UPDATE_GOLDEN=1 cargo test --test golden` writes the files again; review them like code.

mod support;

use std::path::Path;

use serde_json::{Value, json};
use shrike::event::{
    Event, FieldId as F, Gap, GapReason, Offset, Opened, Opening, OpeningOptions, Place, Severity,
    Span, Time,
};
use shrike::pipeline::gap_record;
use shrike::schemas::{CEF, ECS, NATIVE, OCSF};
use shrike::transform::{Overrides, Plan, Schema};
use support::unique::assert_unique;
use support::{cef, ocsf};
use support::{document, opening};

const SAMPLES: &str = include_str!("fixtures/security-events.jsonl");

/// Host facts, as the process collects them.
fn facts() -> Overrides {
    let text = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    Overrides {
        texts: vec![
            text("host.name", "edge-7"),
            text("host.machine_id", "9f2c41d07ab3"),
            text("product.name", "shrike"),
            text("product.version", "0.1.0"),
        ],
        ..Overrides::default()
    }
}

/// What operators change most, all at once.
fn changed() -> Overrides {
    Overrides {
        mappings: vec![
            (F::AgentId, "observer.name".to_owned()),
            (F::SessionTenantId, "labels.tenant".to_owned()),
        ],
        deny: vec![F::PolicyHash],
        add: vec![("labels.team".to_owned(), "red \"team\"".to_owned())],
        indicators_all: true,
        alert_min: Some(Severity::High),
        raw: Some(&NATIVE),
        ..facts()
    }
}

fn plan(schema: &'static Schema, overrides: &Overrides) -> Plan {
    Plan::compile(&[schema], overrides).expect("the schemas compile with these overrides")
}

/// Compares the documents of these records with a golden file, or writes it.
fn check(name: &str, plan: &Plan, records: &[String]) -> Vec<String> {
    let opening = opening();
    let documents: Vec<String> = records
        .iter()
        .map(|record| {
            let document = document(&opening, plan, record.as_bytes());
            let document = document.unwrap_or_else(|| panic!("no event: {record}"));
            String::from_utf8(document).expect("documents are UTF-8")
        })
        .collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let text = documents.join("\n") + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).expect("the golden file can be written");
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    for (at, (document, golden)) in documents.iter().zip(golden.lines()).enumerate() {
        assert_eq!(document, golden, "{name} line {}", at + 1);
    }
    assert_eq!(golden, text, "{name}: UPDATE_GOLDEN=1 writes it");
    documents
}

fn samples() -> Vec<String> {
    SAMPLES.lines().map(str::to_owned).collect()
}

/// One event per event type and kind of resource, and an unknown one of each.
fn kinds() -> Vec<String> {
    const TYPES: [&str; 12] = [
        "policy_violation",
        "policy_allow",
        "guard_block",
        "guard_warn",
        "secret_detected",
        "egress_blocked",
        "forbidden_path",
        "patch_rejected",
        "session_start",
        "session_end",
        "export_gap",
        "something_new",
    ];
    let resources = [
        json!({"type": "file", "name": "a.tar.gz", "path": r"C:\data\a.tar.gz"}),
        json!({"type": "network", "name": "198.51.100.7", "host": "198.51.100.7", "port": 443}),
        json!({"type": "process", "name": "/usr/bin/curl -o /dev/null", "path": ""}),
        json!({"type": "tool", "name": "mcp__jira__search"}),
        json!({"type": "configuration", "name": "policy", "path": "default"}),
        json!({"type": "planet", "name": "mars"}),
    ];
    let mut records = Vec::new();
    for kind in TYPES {
        for (at, resource) in resources.iter().enumerate() {
            let allowed = ["policy_allow", "guard_warn"].contains(&kind);
            records.push(record(kind, resource, allowed, records.len(), at).to_string());
        }
    }
    records
}

fn record(kind: &str, resource: &Value, allowed: bool, number: usize, at: usize) -> Value {
    let techniques = ["T1041", "T1552.004", "Phishing", "AML.T0051", "", "T1071"];
    let outcomes = ["success", "failure", "unknown", "later"];
    json!({
        "schema_version": "1.0.0",
        "event_id": format!("019c322e-0000-7000-8000-{number:012x}"),
        "event_type": kind,
        "event_category": "tool",
        "timestamp": "2026-02-06T09:00:03.12Z",
        "agent": {"id": "a", "name": "n", "version": "1", "type": "clawdstrike"},
        "session": {"id": "s", "user_id": if at == 0 { "" } else { "u" }},
        "outcome": outcomes[number % 4],
        "action": "x",
        "threat": {
            "indicator": {"type": "ip", "value": "198.51.100.7"},
            "tactic": "TA0010",
            "technique": techniques[at],
        },
        "decision": {"allowed": allowed, "guard": "g", "severity": "medium", "reason": ""},
        "resource": resource,
        "metadata": {"traceparent": "00-8abd18d08f36d7d51832b154b1c957ab-06a328da49cbf3fa-01"},
        "labels": {"k8s.pod": "p-1", "k8s_pod": "p-2", "empty": ""},
    })
}

#[test]
fn native_documents_of_the_samples_are_golden() {
    let documents = check("native/samples.jsonl", &plan(&NATIVE, &facts()), &samples());
    for document in &documents {
        assert_unique(document);
    }
}

#[test]
fn ecs_documents_of_the_samples_are_golden() {
    let documents = check("ecs/samples.jsonl", &plan(&ECS, &facts()), &samples());
    assert!(documents.iter().all(|document| is_ecs(document)));
}

#[test]
fn ecs_documents_of_every_kind_are_golden() {
    let documents = check("ecs/kinds.jsonl", &plan(&ECS, &Overrides::default()), &kinds());
    assert!(documents.iter().all(|document| is_ecs(document)));
}

/// One gap record of each reason.
fn gaps() -> Vec<String> {
    let span = Span { from: Offset::new(4096), to: Offset::new(1 << 20) };
    let now = Time { secs: 1_770_368_400, nanos: 125_000_000 };
    let gap = |reason| gap_record("siem", 3, &Gap { span, events: 17, reason }, now);
    GapReason::ALL.map(gap).to_vec()
}

#[test]
fn gap_records_are_golden_in_every_schema() {
    let native = check("native/gaps.jsonl", &plan(&NATIVE, &Overrides::default()), &gaps());
    for (document, record) in native.iter().zip(gaps()) {
        assert_eq!(parse(document)["metadata"], parse(&record)["metadata"], "nothing is flagged");
    }
    assert!(native.iter().all(|it| parse(it)["metadata"]["export_gap"]["count"] == 17));
    check("ecs/gaps.jsonl", &plan(&ECS, &facts()), &gaps()).iter().for_each(|it| {
        assert!(is_ecs(it), "{it}");
    });
    for event in check("ocsf/gaps.jsonl", &plan(&OCSF, &facts()), &gaps()) {
        ocsf::read(&event);
    }
    for line in check("cef/gaps.txt", &plan(&CEF, &facts()), &gaps()) {
        cef::assert_known(&cef::read(&line));
    }
}

#[test]
fn ocsf_events_of_the_samples_are_golden() {
    for event in check("ocsf/samples.jsonl", &plan(&OCSF, &facts()), &samples()) {
        ocsf::read(&event);
    }
}

#[test]
fn ocsf_events_of_every_kind_are_golden() {
    for event in check("ocsf/kinds.jsonl", &plan(&OCSF, &Overrides::default()), &kinds()) {
        ocsf::read(&event);
    }
}

#[test]
fn changed_ocsf_events_of_the_samples_are_golden() {
    let overrides = Overrides {
        mappings: vec![
            (F::SessionTenantId, "cloud.account.uid".to_owned()),
            (F::Guard, "unmapped.guard".to_owned()),
        ],
        ..changed()
    };
    for event in check("ocsf/changed.jsonl", &plan(&OCSF, &overrides), &samples()) {
        assert_unique(&event);
        let event: Value = serde_json::from_str(&event).expect("checked above");
        assert_unique(event["raw_data"].as_str().expect("raw text was asked for"));
        assert!(event["unmapped"]["guard"].is_string());
        assert!(event["metadata"].get("tenant_uid").is_none());
        assert!(event.pointer("/finding_info/analytic").is_none(), "it is told by the guard");
        assert!(event.pointer("/policy/uid").is_none(), "a denied field");
    }
}

#[test]
fn what_is_asked_of_a_sample_holds_for_every_kind() {
    for schema in [&NATIVE, &ECS, &CEF, &OCSF] {
        let (plan, check) = (plan(schema, &facts()), schema.check.expect("each has one"));
        for record in kinds().into_iter().chain(samples()) {
            let document = document(&opening(), &plan, record.as_bytes());
            let document = document.expect("samples are events");
            assert!(check(&document), "{}: {}", schema.name, String::from_utf8_lossy(&document));
        }
    }
}

#[test]
fn cef_lines_of_the_samples_are_golden() {
    for line in check("cef/samples.txt", &plan(&CEF, &facts()), &samples()) {
        cef::assert_known(&cef::read(&line));
    }
}

#[test]
fn cef_lines_of_every_kind_are_golden() {
    for line in check("cef/kinds.txt", &plan(&CEF, &Overrides::default()), &kinds()) {
        cef::assert_known(&cef::read(&line));
    }
}

#[test]
fn changed_cef_lines_of_the_samples_are_golden() {
    let overrides = Overrides {
        mappings: vec![
            (F::Guard, "deviceFacility".to_owned()),
            (F::ResourceType, "fileType".to_owned()),
        ],
        add: vec![("deviceZone".to_owned(), "a=b | c".to_owned())],
        deny: vec![F::PolicyHash, F::Reason],
        ..changed()
    };
    for line in check("cef/changed.txt", &plan(&CEF, &overrides), &samples()) {
        let read = cef::read(&line);
        assert!(!line.contains("cs1Label") && !line.contains("cs5"), "{line}");
        assert!(!read.pairs.contains_key("reason") && read.pairs.contains_key("deviceFacility"));
        assert_eq!(read.pairs["deviceZone"], "a=b | c");
    }
}

#[test]
fn cef_escapes_what_its_two_syntaxes_ask_for() {
    let mut event = record("guard_block", &json!({"type": "tool", "name": "t|a=b"}), false, 0, 0);
    event["agent"]["name"] = json!("a|b\\c=d\ne");
    event["decision"]["reason"] = json!("one|two\\ three=3\nfour\r\u{0}five  ");
    event["decision"]["severity"] = json!("critical");
    let plan = plan(&CEF, &Overrides::default());
    let line = document(&opening(), &plan, event.to_string().as_bytes());
    let line = String::from_utf8(line.expect("the record is an event")).expect("UTF-8");
    let head = r"CEF:0|Clawdstrike|a\|b\\c=d e|1|guard_block|Action blocked|10|rt=1770368403120 ";
    assert!(line.starts_with(head), "{line}");
    let reason = r"one|two\\ three\=3\nfour\r five";
    assert!(line.contains(&format!(" reason={reason} msg={reason} d")), "{line}");
    assert!(line.ends_with(r" destinationServiceName=t|a\=b"), "{line}");
    assert_eq!(cef::read(&line).pairs["reason"], "one|two\\ three=3\nfour\r five");
}

/// "A `cs` or `cn` key without its Label is invalid", and a mapping brings none.
#[test]
fn no_mapping_takes_a_key_of_cef_that_needs_a_label() {
    let mapped = |key: &str| Overrides {
        mappings: vec![(F::Guard, key.to_owned())],
        ..Overrides::default()
    };
    for key in ["cs1", "cs6Label", "cn2", "flexString1", "deviceCustomDate2", "c6a2"] {
        let error = Plan::compile(&[&CEF], &mapped(key)).expect_err(key).to_string();
        assert!(error.contains(&format!("`{key}` is no key")), "{error}");
    }
    for key in ["duid", "cs", "cs1x", "csx", "sproc"] {
        assert!(Plan::compile(&[&CEF], &mapped(key)).is_ok(), "{key}");
    }
    // And takes the label of what it moves.
    let moved =
        Overrides { mappings: vec![(F::IngestedAt, "art".to_owned())], ..Overrides::default() };
    let mut event = record("guard_block", &json!({"type": "tool", "name": "t"}), false, 0, 0);
    event["ingested_at"] = json!("2026-02-06T09:00:05Z");
    let event = event.to_string();
    let line = |overrides| {
        let line = document(&opening(), &plan(&CEF, overrides), event.as_bytes());
        String::from_utf8(line.expect("the record is an event")).expect("UTF-8")
    };
    let (usual, moved) = (line(&Overrides::default()), line(&moved));
    let labelled = " deviceCustomDate1=1770368405000 deviceCustomDate1Label=ingestedAt";
    assert!(usual.contains(labelled), "{usual}");
    assert!(moved.contains(" art=") && !moved.contains("deviceCustomDate1"), "{moved}");
}

#[test]
fn an_ipv6_destination_is_no_dst_of_cef() {
    let plan = plan(&CEF, &Overrides::default());
    let cases = [
        ("192.0.2.7", " dst=192.0.2.7 "),
        ("2001:db8::17", " c6a3=2001:db8::17 c6a3Label=Destination IPv6 Address "),
        ("[2001:db8::17]", " c6a3=2001:db8::17 c6a3Label=Destination IPv6 Address "),
        ("c2.example", " dhost=c2.example "),
    ];
    for (host, expected) in cases {
        let resource = json!({"type": "network", "name": host, "host": host, "port": 443});
        let event = record("egress_blocked", &resource, false, 0, 0).to_string();
        let line = document(&opening(), &plan, event.as_bytes()).expect("the record is an event");
        let line = String::from_utf8(line).expect("UTF-8");
        cef::assert_known(&cef::read(&line));
        assert!(line.contains(expected), "{line}");
    }
}

/// What is the same in each event is bounded as what the event says.
#[test]
fn a_long_host_name_is_cut_where_the_dictionary_ends() {
    for (text, kept) in
        [("h".repeat(101), "h".repeat(100)), ("\u{e9}=".repeat(60), "\u{e9}\\=".repeat(50))]
    {
        let texts = vec![("host.name".to_owned(), text)];
        let plan = plan(&CEF, &Overrides { texts, ..Overrides::default() });
        let resource = json!({"type": "file", "name": "a"});
        let event = record("forbidden_path", &resource, false, 0, 0).to_string();
        let line = document(&opening(), &plan, event.as_bytes()).expect("the record is an event");
        let line = String::from_utf8(line).expect("UTF-8");
        assert!(line.contains(&format!(" dvchost={kept} ")), "{line}");
    }
}

#[test]
fn native_documents_of_every_kind_are_golden() {
    let documents = check("native/kinds.jsonl", &plan(&NATIVE, &Overrides::default()), &kinds());
    documents.iter().for_each(|document| assert_unique(document));
}

#[test]
fn changed_ecs_documents_of_the_samples_are_golden() {
    let documents = check("ecs/changed.jsonl", &plan(&ECS, &changed()), &samples());
    for document in &documents {
        assert!(is_ecs(document));
        let parsed: Value = serde_json::from_str(document).expect("checked above");
        let original = parsed["event"]["original"].as_str().expect("raw text was asked for");
        assert_unique(original);
        assert!(parsed["observer"]["name"].is_string() && parsed["agent"].get("id").is_none());
        assert!(!document.contains("policy_hash\":\"0x"), "a denied field: {document}");
    }
}

#[test]
fn matches_of_threat_intelligence_become_enrichments() {
    let event = record(
        "policy_allow",
        &json!({"type": "network", "name": "c2.example", "host": "c2.example", "port": 1}),
        true,
        0,
        0,
    );
    let shrike = json!({"threat_intel": {"matches": [
        {"type": "domain", "value": "c2.example", "source": "abuse-42", "confidence": 92},
        {"type": "file_hash", "value": "ab\"c", "confidence": 10.5},
    ]}});
    let (record, shrike) = (event.to_string(), shrike.to_string());
    let [ecs, ocsf] = [&ECS, &OCSF].map(|schema| plan(schema, &Overrides::default()));
    let document = |plan: &Plan| {
        support::with_event(&opening(), record.as_bytes(), |event| {
            let arena = [event.arena, shrike.as_bytes()].concat();
            let mut opened = Opened { intel: true, ..event.opened.clone() };
            let [start, len] =
                [event.arena.len(), shrike.len()].map(|n| n.try_into().expect("short"));
            opened.places[F::Shrike as usize] = Place::arena(start, len);
            let mut out = Vec::new();
            plan.encode(&Event { opened: &opened, arena: &arena, ..*event }, &mut out);
            String::from_utf8(out).expect("documents are UTF-8")
        })
    };
    let event = ocsf::read(&document(&ocsf).expect("the record is an event"));
    let enrichment = json!({
        "name": "threat_intel", "value": "c2.example", "type": "domain", "provider": "abuse-42",
        "data": {"type": "domain", "value": "c2.example", "source": "abuse-42", "confidence": 92},
    });
    assert_eq!(event["enrichments"][0], enrichment);
    assert_eq!(event["enrichments"][1]["value"], "ab\"c");
    let document = document(&ecs).expect("the record is an event");
    assert!(is_ecs(&document));
    let parsed: Value = serde_json::from_str(&document).expect("checked above");
    assert_eq!(parsed["threat"]["indicator"]["name"], "198.51.100.7", "matched events show it");
    let expected = json!([
        {
            "indicator": {
                "name": "c2.example", "type": "domain-name", "confidence": "High",
                "provider": "abuse-42",
            },
            "matched": {
                "atomic": "c2.example", "field": "destination.address",
                "type": "indicator_match_rule",
            },
        },
        {
            "indicator": {"name": "ab\"c", "type": "file", "confidence": "Low"},
            "matched": {"atomic": "ab\"c", "type": "indicator_match_rule"},
        },
    ]);
    assert_eq!(parsed["threat"]["enrichments"], expected);
}

#[test]
fn a_clean_record_comes_out_as_it_went_in() {
    let opening = Opening::new(&OpeningOptions { ingested_at: false, ..OpeningOptions::default() });
    let plan = plan(&NATIVE, &Overrides::default());
    let mut same = 0;
    for record in SAMPLES.lines() {
        let document = document(&opening, &plan, record.as_bytes()).expect("samples are events");
        let document = std::str::from_utf8(&document).expect("documents are UTF-8");
        same += usize::from(document == record);
        let (before, after) = (parse(record), parse(document));
        assert_kept(&before, &after, record);
    }
    // The other 16 get a tactic from the built-in table, or are what `assert_kept` excepts.
    assert_eq!(same, 14, "records that came out byte for byte");
}

/// Everything in `before` is in `after`, but for what opening moves or rewrites.
fn assert_kept(before: &Value, after: &Value, record: &str) {
    let Value::Object(members) = before else { return assert_eq!(before, after, "{record}") };
    for (key, value) in members {
        match key.as_str() {
            // Unknown members move to `metadata.shrike.source`; a time with an offset becomes UTC.
            "trace" => assert_eq!(&after["metadata"]["shrike"]["source"]["trace"], value),
            "timestamp" if !value.as_str().is_some_and(|text| text.ends_with('Z')) => {}
            _ => assert_kept(value, after.get(key).unwrap_or(&Value::Null), record),
        }
    }
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The values of `event.type` that ECS allows for each `event.category`.
///
/// <https://www.elastic.co/docs/reference/ecs/ecs-allowed-values-event-category>
const ALLOWED: &[(&str, &[&str])] = &[
    ("configuration", &["access", "change", "creation", "deletion", "info"]),
    ("file", &["access", "change", "creation", "deletion", "info"]),
    ("intrusion_detection", &["allowed", "denied", "info"]),
    ("network", &["access", "allowed", "connection", "denied", "end", "info", "protocol", "start"]),
    ("session", &["start", "end", "info"]),
    ("threat", &["indicator"]),
];

/// Checks what ECS and Elasticsearch ask of a document.
fn is_ecs(document: &str) -> bool {
    assert_unique(document);
    assert!(!document.contains(['\n', '\r']), "a line break: {document}");
    let parsed = parse(document);
    let texts = |value: &Value| -> Vec<String> {
        let array = value.as_array().unwrap_or_else(|| panic!("no array: {value} in {document}"));
        array.iter().map(|text| text.as_str().expect("texts").to_owned()).collect()
    };
    let event = &parsed["event"];
    let (categories, types) = (texts(&event["category"]), texts(&event["type"]));
    for kind in &types {
        let allowed = categories.iter().any(|category| {
            let row = ALLOWED.iter().find(|(name, _)| name == category);
            row.unwrap_or_else(|| panic!("no ECS category: {category}")).1.contains(&kind.as_str())
        });
        assert!(allowed, "type {kind} with categories {categories:?}");
    }
    assert!(["success", "failure", "unknown"].contains(&event["outcome"].as_str().unwrap_or("")));
    assert!(["event", "alert"].contains(&event["kind"].as_str().unwrap_or("")));
    assert_eq!(parsed["ecs"]["version"], "8.17.0");
    assert!(parsed["@timestamp"].is_string() && event["id"].is_string());
    assert!((1..=5).contains(&event["severity"].as_u64().unwrap_or(0)));
    assert_ne!(parsed["destination"]["port"], json!(0));
    for path in ["/related/user", "/related/hosts", "/related/ip", "/tags", "/threat/tactic/id"] {
        if let Some(value) = parsed.pointer(path) {
            assert!(!texts(value).is_empty(), "{path} of {document}");
        }
    }
    let mut outside = parsed.clone();
    outside["clawdstrike"]["metadata"] = Value::Null;
    assert_filled(&outside, document);
    true
}

/// No empty text, object or array anywhere.
fn assert_filled(value: &Value, document: &str) {
    match value {
        Value::String(text) => assert!(!text.is_empty(), "an empty text: {document}"),
        Value::Array(values) => {
            assert!(!values.is_empty(), "an empty array: {document}");
            values.iter().for_each(|value| assert_filled(value, document));
        }
        Value::Object(members) => {
            assert!(!members.is_empty(), "an empty object: {document}");
            members.values().for_each(|value| assert_filled(value, document));
        }
        _ => {}
    }
}
