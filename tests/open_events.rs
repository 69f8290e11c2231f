//! Opening: what becomes of each kind of record.

use serde_json::{Value, json};
use shrike::event::{
    Category, Class, Classes, Event, EventType, FieldId as F, Frame, Opened, Opening,
    OpeningOptions, Outcome, Reject, ResourceType, Severity, Technique,
};

const SAMPLES: &str = include_str!("fixtures/security-events.jsonl");

/// 2026-02-06T12:30:00Z, in nanoseconds: when the samples say that they are read.
const NOW_NS: u64 = 1_770_381_000_000_000_000;

/// An event with every required field, to be changed.
fn event() -> Value {
    json!({
        "schema_version": "1.0.0",
        "event_id": "019c322d-fa80-7f99-8d84-b44109f58c77",
        "event_type": "guard_block",
        "event_category": "network",
        "timestamp": "2026-02-06T12:00:00Z",
        "agent": {"id": "a-1", "name": "hushd", "version": "0.1.0", "type": "clawdstrike"},
        "session": {"id": "s-1"},
        "outcome": "failure",
        "action": "egress",
        "threat": {},
        "decision": {"allowed": false, "guard": "g", "severity": "high", "reason": "r"},
        "resource": {"type": "network", "name": "x.example", "host": "x.example", "port": 443},
        "metadata": {},
        "labels": {}
    })
}

/// The event with the value at a dotted path replaced, or removed by `None`.
fn with(path: &str, value: Option<Value>) -> Value {
    let mut event = event();
    let (parents, key) = path.rsplit_once('.').unwrap_or(("", path));
    let mut object = &mut event;
    for parent in parents.split('.').filter(|parent| !parent.is_empty()) {
        object = &mut object[parent];
    }
    let object = object.as_object_mut().expect("parents of a path are objects");
    match value {
        Some(value) => object.insert(key.to_owned(), value),
        None => object.remove(key),
    };
    event
}

/// What opening made of a record, as owned values.
#[derive(Debug)]
struct Seen {
    opened: Opened,
    fields: Vec<(F, Value)>,
}

impl Seen {
    fn field(&self, id: F) -> Option<&Value> {
        self.fields.iter().find(|(other, _)| *other == id).map(|(_, value)| value)
    }

    fn flags(&self) -> Vec<&'static str> {
        self.opened.flags.iter().map(Class::name).collect()
    }
}

fn open_as(options: &OpeningOptions, frame: Frame, record: &[u8]) -> Result<Seen, Reject> {
    let opening = Opening::new(options);
    let mut arena = Vec::new();
    opening.begin(&mut arena);
    let mut opened = Opened::default();
    opening.open(&frame, record, &mut arena, &mut opened)?;
    let event = Event::new(&opened, frame, record, &arena);
    let read = |id: &F| {
        let value = event.value(*id)?;
        assert_eq!(value.escaped, value.json.contains(&b'\\'), "{id:?} of {opened:?}");
        let json = serde_json::from_slice(value.json)
            .unwrap_or_else(|error| panic!("{id:?} is no JSON: {error}: {:?}", value.json));
        Some((*id, json))
    };
    let fields = F::ALL.iter().filter_map(read).collect();
    Ok(Seen { opened, fields })
}

fn open(record: &[u8]) -> Result<Seen, Reject> {
    let frame = Frame { received_ns: NOW_NS, ..Frame::default() };
    open_as(&OpeningOptions::default(), frame, record)
}

fn open_event(event: &Value) -> Seen {
    open(event.to_string().as_bytes()).unwrap_or_else(|reject| panic!("{reject:?}: {event}"))
}

/// The value at the path of a field in an event.
fn at_path(event: &Value, id: F) -> Option<&Value> {
    id.path().split('.').try_fold(event, |value, key| value.get(key))
}

#[test]
fn each_sample_opens_to_the_values_that_serde_finds() {
    for (number, line) in SAMPLES.lines().enumerate() {
        let seen = open(line.as_bytes()).unwrap_or_else(|reject| panic!("{number}: {reject:?}"));
        let expected: Value = serde_json::from_str(line).expect("a sample is JSON");
        let respelled = expected["timestamp"].as_str().is_some_and(|time| !time.ends_with('Z'));
        let extended = expected.get("trace").is_some();
        for &id in F::ALL {
            match id {
                F::Shrike => assert_eq!(seen.field(id).is_some(), respelled || extended),
                F::IngestedAt => assert!(seen.field(id).is_some()),
                F::Timestamp if respelled => {
                    assert_eq!(seen.field(id), Some(&json!("2026-02-06T09:00:45Z")));
                }
                // Filled from the ATT&CK table; the samples' own values are kept.
                F::Tactic | F::Technique if at_path(&expected, id).is_none() => {}
                _ => assert_eq!(seen.field(id), at_path(&expected, id), "{number}: {id:?}"),
            }
        }
        let flags = if extended { vec!["unknown_schema_version"] } else { Vec::new() };
        assert_eq!(seen.flags(), flags, "{number}");
        assert_eq!(Some(seen.opened.allowed), expected["decision"]["allowed"].as_bool());
    }
}

#[test]
fn the_samples_hold_each_word_of_each_enumeration() {
    let seen: Vec<Opened> =
        SAMPLES.lines().map(|line| open(line.as_bytes()).expect("a sample opens").opened).collect();
    let all = |present: &dyn Fn(&Opened) -> bool| seen.iter().any(present);
    for &word in EventType::ALL.iter().filter(|&&word| word != EventType::ExportGap) {
        assert!(all(&|opened| opened.event_type == word), "{word:?}");
    }
    for &word in Category::ALL {
        assert!(all(&|opened| opened.category == word), "{word:?}");
    }
    for &word in Severity::ALL {
        assert!(all(&|opened| opened.severity == word), "{word:?}");
    }
    for &word in Outcome::ALL {
        assert!(all(&|opened| opened.outcome == word), "{word:?}");
    }
    for &word in ResourceType::ALL {
        assert!(all(&|opened| opened.resource_type == word), "{word:?}");
    }
}

#[test]
fn a_uuid_with_escapes_is_the_same_event() {
    let line = SAMPLES.lines().next().expect("there are samples");
    let id = json!(open(line.as_bytes()).expect("a sample opens").field(F::EventId));
    let text = id.as_str().expect("it is a text");
    for (first, escaped) in [(0, false), (0, true), (9, true)] {
        let byte = text.as_bytes()[first];
        let (before, after) = (&text[..first], &text[first + 1..]);
        let spelled = match escaped {
            true => format!("{before}\\u{byte:04X}{after}"),
            false => format!("evt_{text}"),
        };
        let seen = open(line.replace(text, &spelled).as_bytes()).expect("it opens");
        assert_eq!(seen.field(F::EventId), Some(&id), "{spelled}");
        assert_eq!(seen.field(F::Shrike).is_some(), !escaped, "{spelled}");
    }
}

#[test]
fn keys_may_come_in_any_order_and_with_any_blanks() {
    for line in SAMPLES.lines() {
        let canonical = open(line.as_bytes()).expect("a sample opens");
        // serde_json sorts the keys.
        let sorted: Value = serde_json::from_str(line).expect("a sample is JSON");
        let pretty = serde_json::to_string_pretty(&sorted).expect("a value is JSON");
        for text in [sorted.to_string(), pretty] {
            let seen = open(text.as_bytes()).expect("the order says nothing");
            assert_eq!(seen.fields, canonical.fields);
            assert_eq!(seen.opened.flags, canonical.opened.flags);
        }
    }
}

#[test]
fn keys_may_be_written_with_escapes() {
    let plain = event().to_string();
    let escaped =
        plain.replace("\"outcome\"", "\"out\\u0063ome\"").replace("\"id\"", "\"\\u0069d\"");
    let seen = open(escaped.as_bytes()).expect("a key is a string");
    assert_eq!(seen.fields, open(plain.as_bytes()).expect("an event").fields);
}

#[test]
fn what_is_not_an_event_is_rejected_with_its_class() {
    let rejected = |path: &str, value: Value| with(path, Some(value)).to_string();
    let removed = |path: &str| with(path, None).to_string();
    let nested = |levels: usize| {
        let text = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        event().to_string().replace("\"metadata\":{}", &format!("\"metadata\":{{\"x\":{text}}}"))
    };
    for (record, class, field) in [
        (String::new(), Class::JsonSyntax, None),
        ("{".to_owned(), Class::JsonSyntax, None),
        ("{}".to_owned(), Class::UnknownFormat, None),
        ("[1]".to_owned(), Class::NotObject, None),
        ("\"text\"".to_owned(), Class::NotObject, None),
        ("12".to_owned(), Class::NotObject, None),
        ("2026-02-06T12:00:10Z  INFO".to_owned(), Class::JsonSyntax, None),
        (format!("{}{}", event(), event()), Class::TrailingData, None),
        (
            event().to_string().replace("\"threat\":{}", "\"threat\":{\"tactic\":\"x\",}"),
            Class::JsonSyntax,
            None,
        ),
        (event().to_string().replace("443", "NaN"), Class::JsonSyntax, None),
        (event().to_string().replace("egress", "eg\u{1}ress"), Class::JsonSyntax, None),
        (nested(127), Class::DepthExceeded, None),
        (removed("event_id"), Class::UnknownFormat, None),
        (rejected("decision", json!("blocked")), Class::UnknownFormat, None),
        (removed("resource"), Class::MissingField, Some(F::ResourceType)),
        (removed("session.id"), Class::MissingField, Some(F::SessionId)),
        (removed("decision.reason"), Class::MissingField, Some(F::Reason)),
        (removed("agent.version"), Class::MissingField, Some(F::AgentVersion)),
        (rejected("decision.allowed", json!("false")), Class::WrongType, Some(F::Allowed)),
        (rejected("decision.reason", json!(null)), Class::WrongType, Some(F::Reason)),
        (rejected("decision.severity", json!(3)), Class::WrongType, Some(F::Severity)),
        (rejected("session", json!([])), Class::WrongType, Some(F::SessionId)),
        (rejected("timestamp", json!(1_770_379_233)), Class::WrongType, Some(F::Timestamp)),
        (rejected("timestamp", json!("yesterday")), Class::BadTimestamp, Some(F::Timestamp)),
        (rejected("timestamp", json!("")), Class::BadTimestamp, Some(F::Timestamp)),
    ] {
        let reject = open(record.as_bytes()).expect_err(&record);
        assert_eq!((reject.class, reject.field), (class, field), "{record}");
    }
    assert!(open(nested(126).as_bytes()).is_ok(), "128 levels pass");
}

/// Opens the event with one value changed and compares the flags, the field and the remarks.
fn check(path: &str, value: Value, flags: &[&str], expected: Value, remarks: Value) {
    let id = F::parse(path).expect("a canonical path");
    let case = format!("{path} = {value}");
    let seen = open_event(&with(path, Some(value)));
    assert_eq!(seen.flags(), flags, "{case}");
    assert_eq!(seen.field(id).unwrap_or(&Value::Null), &expected, "{case}");
    assert_eq!(seen.field(F::Shrike).unwrap_or(&Value::Null), &remarks, "{case}");
}

#[test]
fn what_is_not_clean_is_flagged_and_its_original_kept() {
    let flag = |class: &str| json!({"flags": [class]});
    let replaced = |path: &str| json!({"defaulted": [path], "flags": ["empty_field"]});
    for (path, value, flags, expected, remarks) in [
        ("session.id", json!(" \t"), vec!["empty_field"], json!("unknown"), replaced("session.id")),
        ("agent.id", json!(""), vec!["empty_field"], json!("unknown"), replaced("agent.id")),
        (
            "resource.name",
            json!(""),
            vec!["empty_field"],
            json!("unknown"),
            replaced("resource.name"),
        ),
        ("action", json!("\n"), vec!["empty_field"], json!("unknown"), replaced("action")),
        ("outcome", json!(""), vec!["empty_field"], json!("unknown"), replaced("outcome")),
        (
            "decision.guard",
            json!(""),
            vec!["empty_field"],
            json!("engine"),
            replaced("decision.guard"),
        ),
        ("agent.name", json!(""), vec!["empty_field"], json!("a-1"), replaced("agent.name")),
        ("decision.reason", json!(""), vec![], json!(""), Value::Null),
        (
            "event_type",
            json!("model_theft"),
            vec!["unknown_enum"],
            json!("model_theft"),
            flag("unknown_enum"),
        ),
        ("event_category", json!("Zoo"), vec!["unknown_enum"], json!("Zoo"), flag("unknown_enum")),
        (
            "schema_version",
            json!("2.0.0"),
            vec!["unknown_schema_version"],
            json!("2.0.0"),
            flag("unknown_schema_version"),
        ),
        (
            "outcome",
            json!("success"),
            vec!["inconsistent_outcome"],
            json!("success"),
            flag("inconsistent_outcome"),
        ),
        ("outcome", json!("unknown"), vec![], json!("unknown"), Value::Null),
        (
            "resource.port",
            json!(70000),
            vec!["out_of_range"],
            Value::Null,
            json!({"source": {"resource": {"port": 70000}}, "flags": ["out_of_range"]}),
        ),
        (
            "resource.port",
            json!("443"),
            vec!["out_of_range"],
            Value::Null,
            json!({"source": {"resource": {"port": "443"}}, "flags": ["out_of_range"]}),
        ),
        ("resource.port", json!(0), vec![], Value::Null, Value::Null),
        ("resource.port", json!(null), vec![], Value::Null, Value::Null),
        ("resource.port", json!(65535), vec![], json!(65535), Value::Null),
        (
            "session.user_id",
            json!(5),
            vec!["out_of_range"],
            Value::Null,
            json!({"source": {"session": {"user_id": 5}}, "flags": ["out_of_range"]}),
        ),
        ("session.user_id", json!(null), vec![], Value::Null, Value::Null),
        (
            "decision.severity",
            json!("WARN"),
            vec![],
            json!("medium"),
            json!({"source": {"decision": {"severity": "WARN"}}}),
        ),
        (
            "decision.severity",
            json!("Catastrophic"),
            vec!["unknown_enum"],
            json!("high"),
            json!({
                "source": {"decision": {"severity": "Catastrophic"}},
                "defaulted": ["decision.severity"], "flags": ["unknown_enum"],
            }),
        ),
        (
            "timestamp",
            json!("2026-02-06T12:00:30"),
            vec!["timestamp_no_zone"],
            json!("2026-02-06T12:00:30Z"),
            json!({"source": {"timestamp": "2026-02-06T12:00:30"}, "flags": ["timestamp_no_zone"]}),
        ),
        (
            "timestamp",
            json!("2026-02-06T14:00:30.5+02:00"),
            vec![],
            json!("2026-02-06T12:00:30.500Z"),
            json!({"source": {"timestamp": "2026-02-06T14:00:30.5+02:00"}}),
        ),
        (
            "timestamp",
            json!("2099-01-01T00:00:00Z"),
            vec!["clock_skew"],
            json!("2099-01-01T00:00:00Z"),
            flag("clock_skew"),
        ),
        (
            "timestamp",
            json!("2024-01-01T00:00:00Z"),
            vec!["clock_skew"],
            json!("2024-01-01T00:00:00Z"),
            flag("clock_skew"),
        ),
        (
            "ingested_at",
            json!("soon"),
            vec!["out_of_range"],
            json!("2026-02-06T12:30:00.000Z"),
            json!({"source": {"ingested_at": "soon"}, "flags": ["out_of_range"]}),
        ),
        (
            "event_id",
            json!("019C322D-FA80-7F99-8D84-B44109F58C77"),
            vec![],
            json!("019c322d-fa80-7f99-8d84-b44109f58c77"),
            Value::Null,
        ),
        (
            "event_id",
            json!("evt_019c322d-fa80-7f99-8d84-b44109f58c77"),
            vec![],
            json!("019c322d-fa80-7f99-8d84-b44109f58c77"),
            json!({"source": {"event_id": "evt_019c322d-fa80-7f99-8d84-b44109f58c77"}}),
        ),
        ("metadata", json!([1, "a"]), vec![], json!({"value": [1, "a"]}), Value::Null),
        ("metadata", json!("text"), vec![], json!({"value": "text"}), Value::Null),
        ("metadata", json!(null), vec![], Value::Null, Value::Null),
        (
            "metadata",
            json!({"shrike": {"a": 1}, "b": 2}),
            vec![],
            json!({"b": 2}),
            json!({"displaced": {"a": 1}}),
        ),
        (
            "labels",
            json!({"n": 42, "o": {"p": "q"}, "s": "t"}),
            vec!["label_type"],
            json!({"n": "42", "o": "{\"p\":\"q\"}", "s": "t"}),
            flag("label_type"),
        ),
        (
            "labels",
            json!(["a"]),
            vec!["out_of_range"],
            Value::Null,
            json!({"source": {"labels": ["a"]}, "flags": ["out_of_range"]}),
        ),
        (
            "threat.indicator.value",
            json!(7),
            vec!["out_of_range"],
            Value::Null,
            json!({"source": {"threat": {"indicator": {"value": 7}}}, "flags": ["out_of_range"]}),
        ),
    ] {
        if path.starts_with("threat.indicator") {
            let mut event = event();
            event["threat"] = json!({"indicator": {"value": value}});
            let seen = open_event(&event);
            assert_eq!((seen.flags(), seen.field(F::Shrike)), (flags, Some(&remarks)));
            continue;
        }
        check(path, value, &flags, expected, remarks);
    }
}

#[test]
fn a_missing_severity_follows_the_decision() {
    for (allowed, outcome, expected) in
        [(false, "failure", Severity::High), (true, "success", Severity::Info)]
    {
        let mut event = with("decision.severity", None);
        event["decision"]["allowed"] = json!(allowed);
        event["outcome"] = json!(outcome);
        let seen = open_event(&event);
        assert_eq!(seen.opened.severity, expected);
        assert_eq!(seen.field(F::Severity), Some(&json!(expected.word())));
        assert_eq!(seen.field(F::Shrike), Some(&json!({"defaulted": ["decision.severity"]})));
    }
}

#[test]
fn members_without_a_home_are_kept_at_their_paths() {
    let mut event = with("risk", Some(json!({"score": 0.91})));
    event["agent"]["build"] = json!("x\"y");
    let seen = open_event(&event);
    assert_eq!(seen.flags(), ["unknown_schema_version"]);
    let source = json!({"risk": {"score": 0.91}, "agent": {"build": "x\"y"}});
    assert_eq!(seen.field(F::Shrike).map(|it| &it["source"]), Some(&source));
}

#[test]
fn the_last_of_repeated_keys_wins_everywhere() {
    let plain = event().to_string();
    for (from, to, id, expected) in [
        ("\"action\":", "\"action\":\"first\",\"action\":", F::Action, json!("egress")),
        (
            "\"session\":",
            "\"session\":{\"user_id\":\"u\"},\"session\":",
            F::SessionUserId,
            Value::Null,
        ),
        ("\"port\":443", "\"port\":1,\"port\":443", F::ResourcePort, json!(443)),
        (
            "\"metadata\":{}",
            "\"metadata\":{\"a\":{\"b\":1,\"b\":2},\"trace_id\":\"x\",\"trace_id\":\"y\"}",
            F::Metadata,
            json!({"a": {"b": 2}, "trace_id": "y"}),
        ),
        ("\"metadata\":{}", "\"metadata\":{\"a\":1,\"\\u0061\":2}", F::Metadata, json!({"a": 2})),
        ("\"labels\":{}", "\"labels\":{\"a\":\"1\",\"a\":\"2\"}", F::Labels, json!({"a": "2"})),
    ] {
        let text = plain.replace(from, to);
        assert_ne!(text, plain);
        let seen = open(text.as_bytes()).expect("repeated keys are flagged only");
        assert_eq!(seen.flags(), ["duplicate_key"], "{text}");
        assert_eq!(seen.field(id).unwrap_or(&Value::Null), &expected, "{text}");
    }
}

#[test]
fn many_distinct_keys_are_no_repetition() {
    let metadata: serde_json::Map<String, Value> =
        (0..100).map(|i| (format!("key-{i}"), json!({"inner": i}))).collect();
    let seen = open_event(&with("metadata", Some(Value::Object(metadata.clone()))));
    assert_eq!(seen.flags(), Vec::<&str>::new());
    assert_eq!(seen.field(F::Metadata), Some(&Value::Object(metadata)));
}

#[test]
fn a_text_is_repaired_where_it_can_be() {
    let plain = event().to_string();
    let cut = plain.find("egress").expect("the action is there");
    let mut latin = plain.clone().into_bytes();
    latin[cut] = 0xe9;
    let surrogate = plain.replace("egress", "\\ud83d");
    let mut hole = vec![0; 16];
    hole.extend_from_slice(plain.as_bytes());
    for (record, class, action) in [
        (latin, Class::InvalidUtf8, "\u{fffd}gress"),
        (surrogate.into_bytes(), Class::LoneSurrogate, "\u{fffd}"),
        (hole, Class::NulBytes, "egress"),
    ] {
        let seen = open(&record).expect("it can be repaired");
        assert_eq!(seen.flags(), [class.name()]);
        assert_eq!(seen.field(F::Action), Some(&json!(action)));
        assert_eq!(seen.field(F::Shrike), Some(&json!({"flags": [class.name()]})));
    }
    let paired = plain.replace("egress", "\\ud83e\\udd85");
    assert_eq!(open(paired.as_bytes()).expect("a pair").flags(), Vec::<&str>::new());
    for (record, class) in [
        (&b"{\"id\":\"\xc0\xff\"\x9a:1}"[..], Class::InvalidUtf8),
        (&[0; 32][..], Class::NulBytes),
        (b"\0{\"a\":", Class::JsonSyntax),
    ] {
        assert_eq!(open(record).expect_err("nothing helps").class, class);
    }
}

#[test]
fn configured_values_fill_gaps_only() {
    let options = OpeningOptions {
        environment: Some("prod \"one\"".to_owned()),
        tenant_id: Some("acme".to_owned()),
        labels: vec![("team".to_owned(), "red".to_owned()), ("a\"b".to_owned(), "c".to_owned())],
        mitre: vec![Technique {
            key: "acme.guard".to_owned(),
            tactic: Some("TA0001".to_owned()),
            technique: Some("T1190".to_owned()),
        }],
        ..OpeningOptions::default()
    };
    let frame = Frame { received_ns: NOW_NS, ..Frame::default() };
    let open = |event: &Value| {
        open_as(&options, frame, event.to_string().as_bytes()).expect("an event opens")
    };
    let plain = open(&event());
    assert_eq!(plain.field(F::SessionEnvironment), Some(&json!("prod \"one\"")));
    assert_eq!(plain.field(F::SessionTenantId), Some(&json!("acme")));
    assert_eq!(plain.field(F::Labels), Some(&json!({"team": "red", "a\"b": "c"})));
    assert_eq!(plain.field(F::Shrike), None);

    let own =
        open(&with("session", Some(json!({"id": "s", "tenant_id": "t", "environment": "e"}))));
    assert_eq!(own.field(F::SessionEnvironment), Some(&json!("e")));
    assert_eq!(own.field(F::SessionTenantId), Some(&json!("t")));

    let labels = open(&with("labels", Some(json!({"team": "blue", "x": "y"}))));
    assert_eq!(labels.field(F::Labels), Some(&json!({"team": "blue", "x": "y", "a\"b": "c"})));

    for (guard, threat, tactic, technique) in [
        ("acme.guard", json!({}), json!("TA0001"), json!("T1190")),
        ("secret_leak", json!({}), json!("TA0010"), json!("T1048")),
        ("prompt_injection", json!({}), Value::Null, json!("AML.T0051")),
        ("secret_leak", json!({"tactic": "TA0010"}), json!("TA0010"), json!("T1048")),
        ("secret_leak", json!({"tactic": "TA0011"}), json!("TA0011"), Value::Null),
        ("secret_leak", json!({"tactic": ""}), json!("TA0010"), json!("T1048")),
        ("secret_leak", json!({"tactic": " ", "technique": "\t"}), json!("TA0010"), json!("T1048")),
        ("secret_leak", json!({"technique": " "}), json!("TA0010"), json!("T1048")),
        ("secret_leak", json!({"technique": "T9"}), Value::Null, json!("T9")),
        ("engine", json!({}), Value::Null, Value::Null),
    ] {
        let mut event = with("decision.guard", Some(json!(guard)));
        event["threat"] = threat;
        let seen = open(&event);
        let found = |id: F| seen.field(id).cloned().unwrap_or(Value::Null);
        assert_eq!((found(F::Tactic), found(F::Technique)), (tactic, technique), "{event}");
    }
}

#[test]
fn escapes_of_a_mapped_record_are_told_of_the_part_that_has_them() {
    let line = SAMPLES.lines().next().expect("there are samples");
    let mut sample: Value = serde_json::from_str(line).expect("a sample is JSON");
    let frame = Frame { received_ns: NOW_NS, mapped: true, ..Frame::default() };
    for (own, has_own) in [("\"a\":1,", false), (r#""a":"\n","#, true), (r#""\u0061":1,"#, true)] {
        for (kept, has_kept) in [("1", false), (r#""\n""#, true), (r#"{"\u0061":1}"#, true)] {
            sample["metadata"] = json!("HERE");
            let metadata = format!(
                r#"{{{own}"shrike":{{"format":"clawdstrike.audit","source":{{"b":{kept}}}}}}}"#
            );
            let record = sample.to_string().replace("\"HERE\"", &metadata);
            let seen = open_as(&OpeningOptions::default(), frame, record.as_bytes())
                .expect("a mapped record opens");
            let tells = |id: F| seen.opened.escaped & id.bit() != 0;
            assert_eq!(tells(F::Metadata), has_own, "{record}");
            assert_eq!(tells(F::Shrike), has_kept, "{record}");
        }
    }
}

#[test]
fn the_remarks_of_a_mapped_record_are_ours_and_grow() {
    let mut event = event();
    event["timestamp"] = json!("2099-01-01T00:00:00Z");
    event["metadata"] = json!({"a": 1, "shrike": {
        "format": "velar.audit", "source": {"x": 1}, "defaulted": ["session.id"],
        "flags": ["unknown_enum"], "dlq": {"attempts": 4},
    }});
    event["extra"] = json!(true);
    let frame = Frame { received_ns: NOW_NS, mapped: true, ..Frame::default() };
    let seen = open_as(&OpeningOptions::default(), frame, event.to_string().as_bytes())
        .expect("a mapped record opens");
    assert_eq!(seen.flags(), ["clock_skew", "unknown_enum", "unknown_schema_version"]);
    assert_eq!(seen.field(F::Metadata), Some(&json!({"a": 1})));
    assert_eq!(
        seen.field(F::Shrike),
        Some(&json!({
            "format": "velar.audit", "source": {"x": 1, "extra": true},
            "defaulted": ["session.id"],
            "flags": ["clock_skew", "unknown_enum", "unknown_schema_version"],
            "dlq": {"attempts": 4},
        }))
    );
}

#[test]
fn what_intake_repaired_stays_flagged() {
    let mut repaired = Classes::NONE;
    repaired.insert(Class::TrailingData);
    let frame = Frame { received_ns: NOW_NS, checked: true, repaired, ..Frame::default() };
    let seen = open_as(&OpeningOptions::default(), frame, event().to_string().as_bytes())
        .expect("an event opens");
    assert_eq!(seen.field(F::Shrike), Some(&json!({"flags": ["trailing_data"]})));
}

#[test]
fn an_id_that_is_no_uuid_gives_the_same_uuid_each_time() {
    let record = with("event_id", Some(json!("evt-1770382803111-brk3y5"))).to_string();
    let derived =
        shrike::event::derived_id("security_event", b"evt-1770382803111-brk3y5", record.as_bytes());
    let expected = json!(str::from_utf8(&derived).expect("a UUID is ASCII"));
    for _ in 0..2 {
        let seen = open(record.as_bytes()).expect("any id is taken");
        assert_eq!(seen.field(F::EventId), Some(&expected));
        let source = json!({"source": {"event_id": "evt-1770382803111-brk3y5"}});
        assert_eq!(seen.field(F::Shrike), Some(&source));
    }
}

#[test]
fn the_time_of_receipt_becomes_ingested_at_unless_the_event_has_one() {
    let seen = open_event(&event());
    assert_eq!(seen.field(F::IngestedAt), Some(&json!("2026-02-06T12:30:00.000Z")));
    let seen = open_event(&with("ingested_at", Some(json!("2026-02-06T12:00:01.5Z"))));
    assert_eq!(seen.field(F::IngestedAt), Some(&json!("2026-02-06T12:00:01.5Z")));
    let options = OpeningOptions { ingested_at: false, ..OpeningOptions::default() };
    let frame = Frame { received_ns: NOW_NS, ..Frame::default() };
    let seen = open_as(&options, frame, event().to_string().as_bytes()).expect("an event opens");
    assert_eq!(seen.field(F::IngestedAt), None);
}
