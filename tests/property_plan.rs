//! Any event and any overrides give exactly one valid document.

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};
use shrike::event::{FieldId as F, Opening, Severity};
use shrike::schemas::{CEF, ECS, NATIVE, OCSF};
use shrike::transform::Source::{Derived, Doc, DocText, Event, Part, Pattern, With};
use shrike::transform::write::{epoch_seconds, text, value};
use shrike::transform::{Clean, Layout, Overrides, Plan, Schema, Syntax, TEXT, escape_json, row};
use support::unique::assert_unique;
use support::{cef, ocsf};
use support::{document, opening};

/// An envelope that holds the next schema as an object.
static AROUND: Schema = Schema {
    name: "around",
    layout: Layout::Table(&[
        row("time", Derived(&[F::Timestamp], epoch_seconds)),
        row("event", Doc),
        row("fields.port", Event(F::ResourcePort, text)),
        row("fields.guard", Event(F::Guard, value)),
        row("fields.index", Pattern("index", &INDEX)),
    ]),
    required: &["event"],
    ..Schema::BASE
};

/// An envelope that holds the next schema as text.
static QUOTED: Schema = Schema {
    name: "quoted",
    layout: Layout::Table(&[row("text", DocText), row("id", Event(F::EventId, value))]),
    ..Schema::BASE
};

/// A template in JSON, with a document and a document as text.
static TEMPLATE: Schema = Schema {
    name: "template",
    layout: Layout::Template(
        r#"{{"a":"{guard}: {reason} {metadata}","{date}":["{labels.x}"],"doc":{document}}}"#,
    ),
    ..Schema::BASE
};

/// Pairs of keys and values on one line, with escapes that a reader can undo.
static PAIRS: Syntax = Syntax { name: "pairs", key: ("", "="), escape: escape_pair, ..pairs() };

const fn pairs() -> Syntax {
    Syntax {
        name: "",
        open: "",
        close: "",
        between: "|",
        key: ("", ""),
        names: true,
        is_key: |_| true,
        keys: "any",
        text: ("", ""),
        nests: false,
        verbatim: false,
        counts_bytes: false,
        escape: escape_json,
    }
}

fn escape_pair(byte: u8) -> Option<&'static str> {
    match byte {
        b'\\' => Some("\\\\"),
        b'|' => Some("\\p"),
        b'\n' => Some("\\n"),
        b'\r' => Some("\\r"),
        _ => None,
    }
}

static LINE: Schema = Schema {
    name: "line",
    syntax: &PAIRS,
    layout: Layout::Table(&[
        row("reason", Event(F::Reason, value)),
        row("metadata", Event(F::Metadata, value)),
        row("cut", Event(F::Reason, value)).max(7),
    ]),
    ..Schema::BASE
};

static SHORT: Schema = Schema {
    name: "short",
    layout: Layout::Table(&[
        row("cut", Event(F::Reason, value)).max(7),
        row("longer", Event(F::Reason, value)).max(21),
    ]),
    ..Schema::BASE
};

static SPACED: Schema = Schema {
    name: "spaced",
    syntax: &TEXT,
    layout: Layout::Template("<{severity}> {reason}"),
    ..Schema::BASE
};

static INDEX: Clean = Clean {
    each: |char| if char.is_ascii_alphanumeric() { char.to_ascii_lowercase() } else { '-' },
    not_first: "-_+",
    absent: "none",
    bytes_max: 40,
    ..Clean::BASE
};

/// A text, and one of the many ways in which JSON spells it.
#[derive(Clone, Debug)]
struct Spelled {
    plain: String,
    json: String,
}

fn spelled() -> impl Strategy<Value = Spelled> {
    let piece = prop_oneof![
        8 => any::<char>().prop_map(String::from),
        8 => "[a-zA-Z0-9_./ :-]{1,12}",
        4 => select(vec![
            "\"", "\\", "\\\\\"", "\n", "\r\n", "\t", "\u{0}", "\u{1f}", "\u{7f}", "\u{2028}",
            "\u{2029}", "\u{feff}", "\u{1f985}", "{", "}", "{tenant_id}", "},\"x\":{", "|", "=",
            "%s", "<!channel>", "&amp;", "C:\\a\\b", "../", "--", "e\u{301}",
        ])
        .prop_map(str::to_owned),
    ];
    let short = prop::collection::vec((piece, any::<u8>()), 0..8);
    let long = (select(vec!["x", "\"", "\\", "\u{1f985}", "\n"]), any::<u8>())
        .prop_map(|(piece, how)| vec![(piece.repeat(65_536 / piece.len()), how)]);
    prop_oneof![600 => short, 1 => long].prop_map(|pieces| {
        let mut spelled = Spelled { plain: String::new(), json: "\"".to_owned() };
        for (piece, how) in pieces {
            piece.chars().for_each(|char| spell(char, how, &mut spelled.json));
            spelled.plain.push_str(&piece);
        }
        spelled.json.push('"');
        spelled
    })
}

/// Spells a character as it is where that is allowed, or with an escape.
fn spell(char: char, how: u8, json: &mut String) {
    let short = match char {
        '\n' => Some("\\n"),
        '\r' => Some("\\r"),
        '\t' => Some("\\t"),
        '\u{8}' => Some("\\b"),
        '\u{c}' => Some("\\f"),
        '"' => Some("\\\""),
        '\\' => Some("\\\\"),
        '/' => Some("\\/"),
        _ => None,
    };
    let must = u8::try_from(char).ok().and_then(escape_json).is_some();
    match (how % 4, short) {
        (0, _) => char.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
            json.push_str(&format!("\\u{unit:04x}"));
        }),
        (1, Some(short)) => json.push_str(short),
        (_, Some(short)) if must => json.push_str(short),
        _ if must => json.push_str(&format!("\\u{:04X}", u32::from(char))),
        _ => json.push(char),
    }
}

/// The texts of a record, and the record.
#[derive(Clone, Debug)]
struct Record {
    json: String,
    reason: String,
    /// Pieces of the metadata that come out as they are written.
    verbatim: Vec<String>,
}

fn record() -> impl Strategy<Value = Record> {
    let texts = prop::collection::vec(spelled(), 20);
    let word = |words: &'static [&'static str]| select(words.to_vec());
    let kind = word(&["policy_allow", "guard_block", "secret_detected", "guard_warn", "odd"]);
    let resource = word(&["file", "network", "process", "tool", "configuration", "odd"]);
    let pieces = |pieces: &[&str]| pieces.iter().map(|piece| (*piece).to_owned()).collect();
    let metadata = prop_oneof![
        Just(("{}".to_owned(), Vec::new())),
        Just((
            "{ \"a\" : 1e400,\n\r\n\t\"b\":[ -0.0 , 18446744073709551616,\r null ] }".to_owned(),
            pieces(&["1e400", "[ -0.0 , 18446744073709551616, null ]"]),
        )),
        Just((
            format!("{{\"traceparent\":\"00-{}-{}-01\"}}", "8a".repeat(16), "0b".repeat(8)),
            Vec::new(),
        )),
        spelled().prop_map(|text| {
            let json = format!("{{\"command_line\":{},\"n\":0.10}}", text.json);
            (json, vec![text.json, "0.10".to_owned()])
        }),
        spelled().prop_map(|text| {
            let value = format!("{{\"x\":[{}]}}", text.json);
            (format!("{{\"k\\u0065y\":{value}}}"), vec![value])
        }),
    ];
    let there = any::<[bool; 7]>();
    (texts, kind, resource, metadata, any::<bool>(), there, any::<u16>()).prop_map(
        |(texts, kind, resource, (metadata, verbatim), allowed, there, number)| {
            let text = |at: usize| texts[at].json.as_str();
            let optional = |at: usize, json: String| if there[at] { json } else { String::new() };
            let threat = format!(
                r#""indicator":{{"type":"url","value":{}}},"tactic":{},"technique":{}"#,
                text(0),
                text(1),
                text(2),
            );
            let labels = format!(r#""x":{},"a.b":{},"a_b":"c",{}:"d""#, text(3), text(4), text(5));
            let session = [
                format!(r#""id":{}"#, text(10)),
                optional(0, format!(r#","user_id":{}"#, text(11))),
                optional(1, format!(r#","tenant_id":{}"#, text(12))),
            ];
            let decision = format!(
                r#""allowed":{allowed},"guard":{},"severity":"high","reason":{}"#,
                text(15),
                text(16),
            );
            let resource = [
                format!(r#""type":"{resource}","name":{}"#, text(17)),
                optional(2, format!(r#","path":{}"#, text(18))),
                optional(3, format!(r#","host":{}"#, text(19))),
                optional(4, format!(r#","port":{number}"#)),
            ];
            let members = [
                r#""schema_version":"1.0.0""#.to_owned(),
                r#""event_id":"019c322d-fa80-7f99-8d84-b44109f58c77""#.to_owned(),
                format!(r#""event_type":"{kind}","event_category":"tool""#),
                r#""timestamp":"2026-02-06T12:00:00.5Z""#.to_owned(),
                format!(r#""agent":{{"id":{},"name":{}"#, text(6), text(7)),
                format!(r#""version":{},"type":{}}}"#, text(8), text(9)),
                format!(r#""session":{{{}}}"#, session.concat()),
                format!(r#""outcome":{},"action":{}"#, text(13), text(14)),
                format!(r#""threat":{{{}}}"#, optional(5, threat)),
                format!(r#""decision":{{{decision}}},"resource":{{{}}}"#, resource.concat()),
                format!(r#""metadata":{metadata},"labels":{{{}}}"#, optional(6, labels)),
            ];
            let json = format!("{{{}}}", members.join(","));
            Record { json, reason: texts[16].plain.clone(), verbatim }
        },
    )
}

/// Overrides of any kind; some contradict the schemas and are refused.
fn overrides() -> impl Strategy<Value = Overrides> {
    let field = || any::<Index>().prop_map(|at| *at.get(F::ALL));
    let fields = |most| prop::collection::vec(field(), 0..most);
    let target = prop_oneof![
        6 => "[a-z]{1,3}(\\.[a-z]{1,3}){0,3}",
        2 => select(vec![
            "agent.id", "labels.x", "labels.a_b", "event.id", "clawdstrike.metadata.n", "user.id",
            "labels", "threat", "metadata.key", "metadata.shrike.x", "@timestamp", "deep.x.y.z.w",
        ])
        .prop_map(str::to_owned),
        1 => spelled().prop_map(|text| text.plain.chars().take(40).collect()),
    ];
    let added =
        prop::collection::vec((target.clone(), spelled().prop_map(|text| text.plain)), 0..3);
    let mapped = prop::collection::vec((field(), target), 0..3);
    let omit =
        prop::collection::vec(select(vec!["agent", "event.reason", "time", "fields.guard"]), 0..2);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), select(vec![0, 0, 0, 1, 30]));
    let allow = prop_oneof![3 => Just(Vec::new()), 1 => fields(12)];
    let all = (mapped, allow, fields(4), omit, added, flags, spelled());
    all.prop_map(
        |(mappings, allow, deny, omit, add, (indicators_all, alert, raw, characters_max), host)| {
            let texts = vec![
                ("host.name".to_owned(), host.plain),
                ("index".to_owned(), "<i-{tenant_id}-{guard}-{now/d}>".to_owned()),
            ];
            Overrides {
                texts,
                around: Vec::new(),
                mappings,
                allow,
                deny,
                omit: omit.into_iter().map(str::to_owned).collect(),
                add,
                characters_max,
                indicators_all,
                alert_min: alert.then_some(Severity::Medium),
                replaces_nul: indicators_all && alert,
                raw: raw.then_some(&NATIVE),
                checked_every: 0,
            }
        },
    )
}

fn plain() -> Overrides {
    let text = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    Overrides { texts: vec![text("index", "i-{tenant_id}-{date}")], ..Overrides::default() }
}

/// The plan of a chain without overrides, compiled once.
fn compile(chain: &[&'static Schema]) -> Arc<Plan> {
    static PLANS: Mutex<BTreeMap<Vec<&'static str>, Arc<Plan>>> = Mutex::new(BTreeMap::new());
    let names = chain.iter().map(|schema| schema.name).collect();
    let mut plans = PLANS.lock().unwrap_or_else(PoisonError::into_inner);
    let plan = || Plan::compile(chain, &plain()).expect("the schemas compile");
    plans.entry(names).or_insert_with(|| Arc::new(plan())).clone()
}

/// The document of a record; checks what holds for all of them.
fn check(opening: &Opening, plan: &Plan, record: &str) -> String {
    let first = document(opening, plan, record.as_bytes());
    let first = first.unwrap_or_else(|| panic!("no event: {record}"));
    let second = document(opening, plan, record.as_bytes());
    assert_eq!(Some(&first), second.as_ref(), "the same event, other bytes");
    let appended = support::with_event(opening, record.as_bytes(), |event| {
        let mut out = b"before".to_vec();
        plan.encode(event, &mut out);
        out
    });
    assert_eq!(appended, Some([b"before", &first[..]].concat()), "what stood before was changed");
    let first = String::from_utf8(first).expect("a document is UTF-8");
    assert!(!first.contains(['\n', '\r']), "a line break: {first}");
    first
}

fn parse(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 96,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn hostile_events_give_one_valid_document(record in record()) {
        let opening = opening();
        for chain in
            [&[&NATIVE][..], &[&ECS], &[&OCSF], &[&AROUND, &NATIVE], &[&TEMPLATE, &ECS]]
        {
            // serde_json has no number for 1e400, which is valid JSON.
            let document = check(&opening, &compile(chain), &record.json.replace("1e400", "1e40"));
            assert_unique(&document);
            if let Some(check) = chain[0].check {
                assert!(check(document.as_bytes()), "{document}");
            }
            if chain[0].name == "ocsf" {
                ocsf::read(&document);
            }
        }
    }

    #[test]
    fn any_overrides_give_one_valid_document(record in record(), overrides in overrides()) {
        let opening = opening();
        for chain in [&[&NATIVE][..], &[&ECS], &[&OCSF], &[&AROUND, &ECS]] {
            if let Ok(plan) = Plan::compile(chain, &overrides) {
                let document = check(&opening, &plan, &record.json.replace("1e400", "1e40"));
                assert_unique(&document);
            }
        }
    }

    #[test]
    fn hostile_events_give_one_valid_line(record in record(), overrides in overrides()) {
        let opening = opening();
        let text = check(&opening, &compile(&[&CEF]), &record.json);
        let line = cef::read(&text);
        cef::assert_known(&line);
        let holds = CEF.check.expect("it has one");
        prop_assert!(holds(text.as_bytes()), "{text}");
        let shown: String = record.reason.chars().take(1023).collect();
        let shown = shown.replace(|char: char| char.is_ascii_control() && !"\t\n\r".contains(char), " ");
        let read = line.pairs.get("reason").map_or("", String::as_str);
        prop_assert_eq!(read.trim_end_matches(' '), shown.trim_end_matches(' '));
        if let Ok(plan) = Plan::compile(&[&CEF], &overrides) {
            cef::read(&check(&opening, &plan, &record.json));
        }
        let around = parse(&check(&opening, &compile(&[&AROUND, &CEF]), &record.json));
        cef::read(around["event"].as_str().expect("a line is a text in JSON"));
    }

    #[test]
    fn a_document_inside_a_text_reads_back(record in record()) {
        let opening = opening();
        for inner in [&NATIVE, &ECS, &OCSF, &LINE, &CEF] {
            let quoted = parse(&check(&opening, &compile(&[&QUOTED, inner]), &record.json));
            let alone = document(&opening, &compile(&[inner]), record.json.as_bytes());
            let alone = String::from_utf8(alone.expect("checked above")).expect("UTF-8");
            prop_assert_eq!(quoted["text"].as_str(), Some(alone.as_str()));
            let twice = parse(&check(&opening, &compile(&[&QUOTED, &QUOTED, inner]), &record.json));
            let once = parse(twice["text"].as_str().expect("a text"));
            prop_assert_eq!(once["text"].as_str(), Some(alone.as_str()));
        }
    }

    #[test]
    fn another_syntax_gets_the_text_itself(record in record()) {
        let opening = opening();
        let line = document(&opening, &compile(&[&LINE]), record.json.as_bytes());
        let line = String::from_utf8(line.expect("the record is an event")).expect("UTF-8");
        let reason = line.strip_prefix("reason=").expect("the first pair");
        let reason = reason.split('|').next().expect("split has a first piece");
        let read = reason
            .replace("\\\\", "\u{0}\u{1}")
            .replace("\\p", "|")
            .replace("\\n", "\n")
            .replace("\\r", "\r")
            .replace("\u{0}\u{1}", "\\");
        prop_assume!(!record.reason.contains("\u{0}\u{1}"));
        prop_assert_eq!(&read, &record.reason);
        let spaced = check(&opening, &compile(&[&SPACED]), &record.json);
        let control = |char: char| char.is_ascii_control();
        prop_assert_eq!(spaced, format!("<high> {}", record.reason.replace(control, " ")));
    }

    #[test]
    fn limits_cut_between_characters(record in record()) {
        let opening = opening();
        let cut: String = record.reason.chars().take(7).collect();
        let short = parse(&check(&opening, &compile(&[&SHORT]), &record.json));
        prop_assert_eq!(short["cut"].as_str(), Some(cut.as_str()));
        let longer: String = record.reason.chars().take(21).collect();
        prop_assert_eq!(short["longer"].as_str(), Some(longer.as_str()));
        let line = document(&opening, &compile(&[&LINE]), record.json.as_bytes());
        let line = String::from_utf8(line.expect("the record is an event")).expect("UTF-8");
        let spelled: String = cut
            .chars()
            .map(|char| match u8::try_from(char).ok().and_then(escape_pair) {
                Some(escape) => escape.to_owned(),
                None => char.to_string(),
            })
            .collect();
        prop_assert!(line.ends_with(&format!("|cut={spelled}")), "{line}");
    }

    #[test]
    fn metadata_is_copied_as_it_was_written(record in record()) {
        let opening = opening();
        let document = check(&opening, &compile(&[&NATIVE]), &record.json);
        for piece in &record.verbatim {
            prop_assert!(document.contains(piece.as_str()), "{document} lacks {piece}");
        }
    }

    #[test]
    fn patterns_stay_clean_and_short(record in record()) {
        let opening = opening();
        let plan = compile(&[&AROUND, &NATIVE]);
        let document = parse(&check(&opening, &plan, &record.json.replace("1e400", "1")));
        let index = document["fields"]["index"].as_str().expect("the pattern has fixed text");
        let clean = |char: char| matches!(char, 'a'..='z' | '0'..='9' | '-' | '.');
        prop_assert!(index.chars().all(clean) && index.len() <= 40, "{index}");
        prop_assert!(index.starts_with("i-") && index.ends_with("-2026.02.06"), "{index}");
    }
}

#[test]
fn denied_fields_are_nowhere_in_a_document() {
    let record = json!({
        "schema_version": "1.0.0",
        "event_id": "019c322d-fa80-7f99-8d84-b44109f58c77",
        "event_type": "guard_block",
        "event_category": "file",
        "timestamp": "2026-02-06T12:00:00Z",
        "agent": {"id": "a", "name": "n", "version": "1", "type": "t"},
        "session": {"id": "s", "user_id": "SECRET", "tenant_id": "SECRET"},
        "outcome": "failure",
        "action": "x",
        "threat": {"indicator": {"type": "domain", "value": "SECRET"}},
        "decision": {"allowed": false, "guard": "g", "severity": "high", "reason": "SECRET"},
        "resource": {"type": "process", "name": "SECRET", "path": "SECRET", "host": "SECRET"},
        "metadata": {"command_line": "SECRET", "trace_id": "SECRET"},
        "labels": {"x": "SECRET"},
    });
    let record = record.to_string();
    let deny = vec![
        F::SessionUserId,
        F::SessionTenantId,
        F::IndicatorValue,
        F::Reason,
        F::ResourceName,
        F::ResourcePath,
        F::ResourceHost,
        F::Metadata,
        F::Labels,
    ];
    for chain in [&[&NATIVE][..], &[&ECS], &[&OCSF], &[&AROUND, &ECS], &[&TEMPLATE, &NATIVE]] {
        let overrides = Overrides { deny: deny.clone(), raw: Some(&NATIVE), ..plain() };
        let plan = Plan::compile(chain, &overrides).expect("the schemas compile");
        let document = check(&opening(), &plan, &record);
        assert_unique(&document);
        assert!(!document.contains("SECRET"), "{document}");
    }
    let overrides = Overrides { deny, ..plain() };
    let plan = Plan::compile(&[&CEF], &overrides).expect("the schema compiles");
    let line = check(&opening(), &plan, &record);
    assert!(!line.contains("SECRET") && !cef::read(&line).pairs.contains_key("cs3"), "{line}");
}

/// "A `cs` key without its Label is invalid", and so is a label of nothing.
#[test]
fn a_blank_text_leaves_neither_key_nor_label_in_cef() {
    let record = include_str!("fixtures/security-events.jsonl").lines().next();
    let plan = Plan::compile(&[&CEF], &plain()).expect("the schema compiles");
    for (tenant, expected) in [("", None), (" ", None), ("   ", None), (" a ", Some(" a"))] {
        let mut record = parse(record.expect("the samples have 30 lines"));
        record["session"]["tenant_id"] = tenant.into();
        let line = check(&opening(), &plan, &record.to_string());
        let pairs = cef::read(&line).pairs;
        let expected = expected.map(str::to_owned);
        assert_eq!(pairs.get("cs3").cloned(), expected, "{line}");
        assert_eq!(pairs.contains_key("cs3Label"), expected.is_some(), "{line}");
    }
}

#[test]
fn a_member_spelled_with_escapes_yields_to_a_mapped_key() {
    let record = include_str!("fixtures/security-events.jsonl").lines().next();
    let mut record = parse(record.expect("the samples have 30 lines"));
    record["metadata"] = json!({"key": 1, "other": 2});
    let record = record.to_string().replace("\"key\"", "\"k\\u0065y\"");
    let mappings = vec![(F::EventType, "metadata.key".to_owned())];
    let plan = Plan::compile(&[&NATIVE], &Overrides { mappings, ..plain() });
    let document = check(&opening(), &plan.expect("the schema compiles"), &record);
    assert_unique(&document);
    assert_eq!(parse(&document)["metadata"], json!({"key": "session_start", "other": 2}));
}

#[test]
fn allowed_fields_and_required_targets_are_all_that_is_left() {
    let record = include_str!("fixtures/security-events.jsonl").lines().nth(3);
    let record = record.expect("the samples have 30 lines");
    let overrides = Overrides { allow: vec![F::Reason, F::ResourceHost], ..plain() };
    let plan = Plan::compile(&[&NATIVE], &overrides).expect("the schema compiles");
    let expected = concat!(
        r#"{"event_id":"019c322e-19b3-74cc-9a69-6aabdf855d7c","#,
        r#""timestamp":"2026-02-06T09:00:07.987654321Z","#,
        r#""decision":{"reason":"destination exfil.example is outside the allowlist"},"#,
        r#""resource":{"host":"exfil.example"}}"#,
    );
    assert_eq!(check(&opening(), &plan, record), expected);
}

#[test]
fn an_event_without_any_field_left_is_an_empty_document() {
    static ONE: Schema = Schema {
        name: "one",
        layout: Layout::Table(&[row("host", Event(F::ResourceHost, value))]),
        ..Schema::BASE
    };
    let record = include_str!("fixtures/security-events.jsonl").lines().next();
    let overrides = Overrides { allow: vec![F::ResourcePort], ..plain() };
    let plan = Plan::compile(&[&ONE], &overrides).expect("the schema compiles");
    assert_eq!(check(&opening(), &plan, record.expect("the samples have 30 lines")), "{}");
}

#[test]
fn the_operators_limit_cuts_every_text() {
    let record = include_str!("fixtures/security-events.jsonl").lines().nth(3);
    let overrides = Overrides { characters_max: 12, ..plain() };
    let plan = Plan::compile(&[&ECS], &overrides).expect("the schema compiles");
    let document = parse(&check(&opening(), &plan, record.expect("there are 30 lines")));
    assert_eq!(document["message"], "destination ");
    assert_eq!(document["event"]["dataset"], "clawdstrike.security", "made of a short text");
    assert_eq!(document["destination"]["port"], 8443);
}

/// What a smaller document leaves of the resource is cut as well, each text by itself.
#[test]
fn the_operators_limit_cuts_every_text_among_members() {
    let record = include_str!("fixtures/security-events.jsonl").lines().nth(3);
    let mut record = parse(record.expect("the samples have 30 lines"));
    record["resource"]["path"] = Value::from("/a".repeat(100));
    record["labels"] = json!({"a.b": "label of twenty-one", "plain": "another one of those"});
    let overrides = Overrides { characters_max: 12, ..plain() };
    let document = |schema| {
        let plan = Plan::compile(&[schema], &overrides).expect("the schema compiles");
        parse(&check(&opening(), &plan, &record.to_string()))
    };
    let resource = &document(&OCSF)["unmapped"]["resource"];
    assert_eq!(resource["path"], "/a/a/a/a/a/a");
    let labels = json!({"a_b": "label of twe", "plain": "another one ", "site": "eu.1"});
    assert_eq!(document(&ECS)["labels"], labels);
}

#[test]
fn a_derived_row_is_asked_without_its_fields_and_a_part_is_not() {
    static ROWS: Schema = Schema {
        name: "rows",
        layout: Layout::Table(&[
            row(
                "derived",
                Derived(&[F::ResourcePort], |encoder, _| {
                    encoder.quoted(b"none");
                    true
                }),
            ),
            row(
                "in.part",
                Part(&[F::ResourcePort], |encoder, _| {
                    encoder.quoted(b"some");
                    true
                }),
            ),
            row("in.with", With(&[F::ResourcePort], "1")),
        ]),
        ..Schema::BASE
    };
    let mut samples = include_str!("fixtures/security-events.jsonl").lines();
    let plan = compile(&[&ROWS]);
    let without = samples.next().expect("the samples have 30 lines");
    let with = samples.nth(1).expect("the samples have 30 lines");
    assert_eq!(check(&opening(), &plan, without), r#"{"derived":"none"}"#);
    let expected = r#"{"derived":"none","in":{"part":"some","with":1}}"#;
    assert_eq!(check(&opening(), &plan, with), expected);
}

#[test]
fn contradictions_are_refused_with_what_to_do() {
    let mapped =
        |field, key: &str| Overrides { mappings: vec![(field, key.to_owned())], ..plain() };
    let added = |key: &str| Overrides { add: vec![(key.to_owned(), "x".to_owned())], ..plain() };
    let omitted = |key: &str| Overrides { omit: vec![key.to_owned()], ..plain() };
    let index = |text: &str| Overrides {
        texts: vec![("index".to_owned(), text.to_owned())],
        ..Overrides::default()
    };
    let path = "a.".repeat(20);
    let row = |name: &str| (format!("{path}{name}"), "x".to_owned());
    let deep = Overrides { add: vec![row("b"), row("c")], ..plain() };
    let cases: [(&[&'static Schema], Overrides, &str); 15] = [
        (&[], plain(), "a plan needs at least one schema"),
        (&[&NATIVE, &ECS], plain(), "no row of the schema before it asks for a document"),
        (&[&AROUND], plain(), "it asks for a document and is the last of its chain"),
        (&[&ECS], mapped(F::AgentId, "agent.name"), "two sources write `agent.name`"),
        (&[&ECS], mapped(F::AgentId, "message.x"), "`message` is a value and cannot hold"),
        (&[&ECS], mapped(F::AgentId, "event"), "`event` is a value and cannot hold"),
        (&[&ECS], mapped(F::EventId, "id"), "`event.id` is required; a mapping (`event_id: id`)"),
        (&[&ECS], added("a..b"), "`a..b` is no key; expected names joined by dots"),
        (&[&CEF], mapped(F::AgentId, "observer.name"), "expected letters, digits and `_`"),
        (&[&CEF], mapped(F::EventId, "id"), "`externalId` is required"),
        (&[&ECS], omitted("event.reson"), "did you mean `event.reason`?"),
        (&[&ECS], omitted("@timestamp"), "`@timestamp` is required; leaving it out"),
        (
            &[&ECS],
            Overrides { deny: vec![F::CommandLine], ..plain() },
            "`metadata.command_line` is part of `metadata`",
        ),
        (&[&AROUND, &ECS], index("a-{tenat_id}"), "`index`, character 3: unknown name `tenat_id`"),
        (&[&ECS], deep, "objects nest deeper than 16"),
    ];
    for (chain, overrides, expected) in cases {
        let error = Plan::compile(chain, &overrides).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error} lacks {expected}");
    }
}
