//! Opening: what holds for any bytes.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};
use shrike::event::{
    Class, Event, FieldId as F, Frame, Opened, Opening, OpeningOptions, Place, Reject,
};

const SAMPLES: &str = include_str!("fixtures/security-events.jsonl");

/// 2026-02-06T12:30:00Z, in nanoseconds: when the samples say that they are read.
const NOW_NS: u64 = 1_770_381_000_000_000_000;

/// Opens a record as it is and gives each value, after checking what any event promises.
fn open(record: &[u8]) -> Result<Vec<(F, Vec<u8>)>, Reject> {
    let opening = Opening::new(&OpeningOptions::default());
    let frame = Frame { received_ns: NOW_NS, ..Frame::default() };
    let (mut arena, mut opened) = (Vec::new(), Opened::default());
    opening.begin(&mut arena);
    let exact = opening.open_exact(&frame, record, &mut arena, &mut opened);
    if exact.is_err() {
        // What a repair makes of it keeps the promises, too.
        opening.begin(&mut arena);
        opening.open(&frame, record, &mut arena, &mut opened).or(exact)?;
    }
    let event = Event::new(&opened, frame, record, &arena);
    let mut values = Vec::new();
    for &id in F::ALL {
        let Some(value) = event.value(id) else { continue };
        let json = serde_json::from_slice::<IgnoredAny>(value.json);
        assert!(json.is_ok(), "{id:?} is no JSON: {}", String::from_utf8_lossy(value.json));
        assert_eq!(value.escaped, value.json.contains(&b'\\'), "{id:?}");
        values.push((id, value.json.to_vec()));
    }
    for required in [F::EventId, F::Timestamp, F::AgentName, F::Severity, F::Reason] {
        assert_ne!(opened.places[required as usize], Place::default(), "{required:?}");
    }
    exact.map(|()| values)
}

/// Checks the class of a record against serde_json and the standard library.
fn check_class(record: &[u8]) -> Result<(), TestCaseError> {
    let class = open(record).err().map(|reject| reject.class);
    let text = String::from_utf8_lossy(record).into_owned();
    if str::from_utf8(record).is_err() {
        prop_assert_eq!(class, Some(Class::InvalidUtf8), "{}", text);
        return Ok(());
    }
    let is_json = serde_json::from_slice::<IgnoredAny>(record).is_ok();
    let no_json = matches!(class, Some(Class::JsonSyntax | Class::TrailingData));
    prop_assert_eq!(no_json, !is_json, "{:?}: {}", class, text);
    let is_object = text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{');
    if is_json {
        prop_assert_eq!(class == Some(Class::NotObject), !is_object, "{:?}: {}", class, text);
    }
    Ok(())
}

/// A change of a text: where (a share of its length), how many bytes go, what comes.
fn change() -> impl Strategy<Value = (f64, usize, Vec<u8>)> {
    let pieces = prop_oneof![
        vec(any::<u8>(), 0..4),
        proptest::sample::select(vec![
            "\"",
            "\\",
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\\u",
            "\\ud83d",
            "\\udc00",
            "\u{0}",
            "\n",
            " ",
            "-",
            "0",
            "00",
            "1.",
            ".5",
            "1e",
            "e+",
            "true",
            "nul",
            "null",
            "é",
            "\u{2028}",
            "{}",
            "[1,]",
            "{\"a\":1,}",
            "\"id\":",
            "\"type\":\"x\",",
            "\"shrike\":{},",
            "\u{1f}",
        ])
        .prop_map(|piece| piece.as_bytes().to_vec()),
    ];
    (0.0..1.0, 0_usize..8, pieces)
}

fn changed(text: &[u8], changes: &[(f64, usize, Vec<u8>)]) -> Vec<u8> {
    let mut text = text.to_vec();
    for (share, gone, come) in changes {
        let at = (share * text.len() as f64) as usize;
        let end = (at + gone).min(text.len());
        text.splice(at..end, come.iter().copied());
    }
    text
}

/// Any JSON value.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        // Short fractions, which serde_json reads exactly.
        any::<i32>().prop_map(|eighths| Value::from(f64::from(eighths) / 8.0)),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(any::<String>(), inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// An event with every required field, some optional ones, and any texts.
fn event() -> impl Strategy<Value = Value> {
    let text = || any::<String>().prop_map(|text| format!("a{text}"));
    let optional = || proptest::option::of(any::<String>());
    let resource = (text(), optional(), proptest::option::of(1_u16..));
    let session = (text(), optional(), optional());
    let open = (btree_map("[a-z]{1,12}", value(), 0..80), btree_map("[a-z]{0,5}", text(), 0..5));
    (text(), session, resource, (text(), any::<String>()), open, any::<bool>()).prop_map(
        |(agent, session, resource, (guard, reason), (metadata, labels), allowed)| {
            let mut event = json!({
                "schema_version": "1.0.0",
                "event_id": "019c322d-fa80-7f99-8d84-b44109f58c77",
                "event_type": "guard_block",
                "event_category": "network",
                "timestamp": "2026-02-06T12:00:00.123456789Z",
                "agent": {"id": agent, "name": agent, "version": "1", "type": "clawdstrike"},
                "session": {"id": session.0},
                "outcome": "unknown",
                "action": "egress",
                "threat": {"indicator": {"type": "domain", "value": agent}},
                "decision": {"allowed": allowed, "guard": guard, "severity": "low"},
                "resource": {"type": "tool", "name": resource.0},
                "metadata": metadata,
                "labels": labels,
            });
            event["decision"]["reason"] = json!(reason);
            for (object, key, value) in [
                ("session", "user_id", session.1.map(Value::from)),
                ("session", "tenant_id", session.2.map(Value::from)),
                ("resource", "path", resource.1.map(Value::from)),
                ("resource", "port", resource.2.map(Value::from)),
            ] {
                if let Some(value) = value {
                    event[object][key] = value;
                }
            }
            event
        },
    )
}

/// Writes a value with its members turned around by `turn`, blanks between tokens, and characters
/// as escapes, as `style` says.
fn write(value: &Value, style: (usize, bool, bool), out: &mut String) {
    let (turn, blanks, escapes) = style;
    let blank = if blanks { " \r\n\t" } else { "" };
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            let middle = turn % members.len().max(1);
            members.rotate_left(middle);
            out.push('{');
            for (i, (key, value)) in members.into_iter().enumerate() {
                out.push_str(if i == 0 { blank } else { "," });
                out.push_str(blank);
                text(key, escapes && turn % 2 == 0, out);
                out.push_str(blank);
                out.push(':');
                out.push_str(blank);
                write(value, style, out);
                out.push_str(blank);
            }
            out.push('}');
        }
        Value::Array(elements) => {
            out.push('[');
            for (i, element) in elements.iter().enumerate() {
                out.push_str(if i == 0 { blank } else { "," });
                write(element, style, out);
                out.push_str(blank);
            }
            out.push(']');
        }
        Value::String(string) => text(string, escapes, out),
        other => out.push_str(&other.to_string()),
    }
}

fn text(text: &str, escapes: bool, out: &mut String) {
    if !escapes {
        out.push_str(&Value::from(text).to_string());
        return;
    }
    out.push('"');
    for unit in text.encode_utf16() {
        out.push_str(&format!("\\u{unit:04X}"));
    }
    out.push('"');
}

/// The value at the path of a field.
fn at_path(event: &Value, id: F) -> Option<&Value> {
    id.path().split('.').try_fold(event, |value, key| value.get(key))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_judged_as_serde_judges_them(record in vec(any::<u8>(), 0..200)) {
        check_class(&record)?;
    }

    #[test]
    fn any_value_is_judged_as_serde_judges_it(
        value in value(), changes in vec(change(), 0..3),
    ) {
        check_class(&changed(value.to_string().as_bytes(), &changes))?;
    }

    #[test]
    fn a_spoiled_sample_is_judged_as_serde_judges_it(
        line in 0_usize..30, changes in vec(change(), 1..4),
    ) {
        let sample = SAMPLES.lines().nth(line).expect("the samples are 30");
        check_class(&changed(sample.as_bytes(), &changes))?;
    }

    #[test]
    fn values_are_those_that_serde_finds(
        event in event(), turn in 0_usize..20, blanks in any::<bool>(), escapes in any::<bool>(),
    ) {
        let mut record = String::new();
        write(&event, (turn, blanks, escapes), &mut record);
        let values = match open(record.as_bytes()) {
            Ok(values) => values,
            // Words are compared as they are written, and times are.
            Err(reject) => {
                prop_assert_eq!((reject.class, escapes), (Class::BadTimestamp, true));
                return Ok(());
            }
        };
        for &id in F::ALL {
            let seen = values.iter().find(|(other, _)| *other == id).map(|(_, json)| json);
            let seen: Option<Value> =
                seen.map(|json| serde_json::from_slice(json).expect("checked before"));
            match id {
                F::IngestedAt | F::Shrike | F::EventId | F::Severity => {}
                F::Tactic | F::Technique => prop_assert_eq!(seen, None),
                F::TraceId | F::SpanId | F::Traceparent | F::CommandLine => {
                    let expected = at_path(&event, id).filter(|value| value.is_string());
                    prop_assert_eq!(seen.as_ref(), expected);
                }
                F::Metadata => {
                    let mut expected: Map<String, Value> =
                        event["metadata"].as_object().cloned().unwrap_or_default();
                    expected.remove("shrike");
                    prop_assert_eq!(seen, Some(Value::Object(expected)));
                }
                _ => prop_assert_eq!(seen.as_ref(), at_path(&event, id), "{:?}", id),
            }
        }
    }
}
