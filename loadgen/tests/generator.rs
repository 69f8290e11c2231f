//! Generated events: valid by canonical-event.md, all kinds, the right size, the same by seed.

use std::collections::{BTreeMap, BTreeSet};

use loadgen::clock;
use loadgen::generate::{Pool, Stream};
use loadgen::id::EventId;
use serde_json::Value;

/// As many events as a pool holds, and a few from its second round.
const EVENTS: u64 = 4_200;
const START_NS: u64 = 1_795_191_846_123_456_789;

fn lines(seed: u64, start_ns: u64) -> Vec<Vec<u8>> {
    let mut stream = Stream::new(seed);
    (0..EVENTS).map(|event| stream.one(start_ns + event * 1_000).to_vec()).collect()
}

#[test]
fn every_event_is_valid() {
    for (number, line) in lines(1, START_NS).iter().enumerate() {
        let event: Value = serde_json::from_slice(line)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(line)));
        check(&event, number as u64);
        assert!(!line.contains(&b'\n'), "event {number} spans lines");
    }
}

/// The rules of the field table, row by row.
fn check(event: &Value, number: u64) {
    let at = |path: &str| path.split('.').try_fold(event, |value, key| value.get(key));
    let text = |path: &str| at(path).and_then(Value::as_str);
    for path in REQUIRED {
        assert!(text(path).is_some_and(|text| !text.trim().is_empty()), "{path}: {event}");
    }
    assert_eq!(text("schema_version"), Some("1.0.0"));
    let id = EventId::parse(text("event_id").unwrap_or_default().as_bytes()).expect("an id");
    assert_eq!(id.sequence, number);
    let time = clock::parse(text("timestamp").unwrap_or_default().as_bytes()).expect("a time");
    let due = i128::from(START_NS + number * 1_000);
    assert!((due - 1_000_000_000..=due).contains(&time), "{event}");
    for (path, words) in ENUMS {
        if let Some(word) = text(path) {
            assert!(words.contains(&word), "{path} is {word}");
        }
    }
    let allowed = at("decision.allowed").and_then(Value::as_bool).expect("a judgement");
    assert!(text("decision.reason").is_some());
    let contradicts = if allowed { "failure" } else { "success" };
    assert_ne!(text("outcome"), Some(contradicts));
    assert_eq!(at("threat.indicator.type").is_some(), at("threat.indicator.value").is_some());
    if let Some(port) = at("resource.port") {
        assert!(port.as_u64().is_some_and(|port| (1..=65_535).contains(&port)), "{event}");
    }
    assert!(at("metadata").is_none_or(Value::is_object));
    let labels = at("labels").and_then(Value::as_object).into_iter().flatten();
    assert!(labels.map(|(_, label)| label).all(Value::is_string));
}

#[test]
fn every_type_comes_with_every_resource() {
    let mut seen = BTreeMap::<(String, String), u64>::new();
    for line in lines(1, START_NS) {
        let event: Value = serde_json::from_slice(&line).expect("valid");
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let pair = (word(&event["event_type"]), word(&event["resource"]["type"]));
        *seen.entry(pair).or_default() += 1;
    }
    assert_eq!(seen.len(), 10 * 5, "{seen:?}");
}

#[test]
fn hostile_text_is_in_there() {
    let all = lines(1, START_NS).concat();
    let has = |part: &[u8]| all.windows(part.len()).any(|window| window == part);
    let parts: &[&[u8]] = &[
        "\u{2028}".as_bytes(),
        "\u{1f512}".as_bytes(),
        "\u{feff}".as_bytes(),
        b"\\u0000",
        b"\\ud83d\\ude80",
        b"\\\\",
        b"\\\"",
        b"\\/",
        b"C:\\\\",
        b"123456789012345678901234567890",
    ];
    for part in parts {
        assert!(has(part), "{}", String::from_utf8_lossy(part));
    }
}

#[test]
fn sizes_are_spread_around_a_thousand_bytes() {
    for seed in 1..=5 {
        let mean = Pool::new(seed).bytes_mean();
        assert!((950.0..1_050.0).contains(&mean), "seed {seed}: {mean}");
        let sizes: BTreeSet<usize> = lines(seed, START_NS).iter().map(Vec::len).collect();
        let (least, most) = (sizes.first().copied(), sizes.last().copied());
        assert!(least.is_some_and(|bytes| bytes < 400), "seed {seed}: {least:?}");
        let full = 64 * 1_024 - 200..=64 * 1_024 + 200;
        assert!(most.is_some_and(|bytes| full.contains(&bytes)), "seed {seed}: {most:?}");
        assert!(sizes.len() > 500, "seed {seed}: {} different sizes", sizes.len());
    }
}

#[test]
fn the_same_seed_gives_the_same_events() {
    assert_eq!(lines(9, START_NS), lines(9, START_NS));
    assert_ne!(lines(9, START_NS), lines(10, START_NS));
    let mut later = Stream::resume(9, 4_097);
    assert_eq!(later.one(START_NS + 4_097 * 1_000), &lines(9, START_NS)[4_097][..]);
}

#[test]
fn a_batch_is_the_same_events_in_one_piece() {
    let mut stream = Stream::new(3);
    let mut joined = Vec::new();
    let mut events = 0;
    while events < EVENTS {
        let batch = stream.next(EVENTS - events, 100_000, |event| START_NS + event * 1_000);
        assert!(batch.events > 0 && (batch.lines.len() <= 100_000 || batch.events == 1));
        joined.extend_from_slice(batch.lines);
        events += batch.events;
    }
    let single: Vec<u8> = lines(3, START_NS).join(&b'\n');
    assert_eq!(joined.strip_suffix(b"\n"), Some(&single[..]));
}

const REQUIRED: &[&str] = &[
    "schema_version",
    "event_id",
    "event_type",
    "event_category",
    "timestamp",
    "agent.id",
    "agent.name",
    "agent.version",
    "agent.type",
    "session.id",
    "outcome",
    "action",
    "decision.guard",
    "decision.severity",
    "resource.type",
    "resource.name",
];

const ENUMS: &[(&str, &[&str])] = &[
    (
        "event_type",
        &[
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
        ],
    ),
    (
        "event_category",
        &[
            "authentication",
            "authorization",
            "file",
            "network",
            "process",
            "configuration",
            "tool",
            "session",
        ],
    ),
    ("outcome", &["success", "failure", "unknown"]),
    ("agent.type", &["clawdstrike", "velar"]),
    ("decision.severity", &["info", "low", "medium", "high", "critical"]),
    ("resource.type", &["file", "network", "process", "tool", "configuration"]),
    ("threat.indicator.type", &["domain", "file_path", "pattern"]),
];
