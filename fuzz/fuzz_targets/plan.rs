//! Any event, overrides, pattern and condition give one valid document, the same each time.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shrike::event::{
    Event, EventType, FieldId as F, Frame, IndicatorType, Opened, Outcome, Place, ResourceType,
    Severity, Time,
};
use shrike::schemas::{ECS, NATIVE, OCSF};
use shrike::transform::Source::{Doc, DocText, Event as Field, Pattern};
use shrike::transform::write::value;
use shrike::transform::{Clean, Condition, Layout, Overrides, Plan, Schema, row};

static AROUND: Schema = Schema {
    name: "around",
    layout: Layout::Table(&[
        row("index", Pattern("index", &INDEX)),
        row("id", Field(F::EventId, value)).max(5),
        row("event", Doc),
    ]),
    ..Schema::BASE
};

static QUOTED: Schema = Schema {
    name: "quoted",
    layout: Layout::Table(&[row("text", DocText)]),
    ..Schema::BASE
};

static INDEX: Clean =
    Clean { each: |char| char.to_ascii_lowercase(), not_first: "-", absent: "x", bytes_max: 64, ..Clean::BASE };

type Input<'a> = (Vec<&'a str>, [u8; 8], &'a str, &'a str, Vec<(u8, &'a str)>, [u64; 2]);

fuzz_target!(|input: Input<'_>| {
    let (texts, bytes, pattern, condition, keys, [deny, allow]) = input;
    let record = Record::new(&texts, bytes);
    let event = record.event();
    if let Ok(condition) = Condition::compile(condition) {
        assert_eq!(condition.holds(&event), condition.holds(&event));
    }
    let overrides = overrides(pattern, &keys, deny, allow, bytes[7]);
    for chain in [&[&NATIVE][..], &[&ECS], &[&OCSF], &[&AROUND, &ECS], &[&QUOTED, &NATIVE]] {
        let Ok(plan) = Plan::compile(chain, &overrides) else { continue };
        let (mut first, mut second) = (b"before".to_vec(), Vec::new());
        plan.encode(&event, &mut first);
        plan.encode(&event, &mut second);
        assert_eq!(first.strip_prefix(b"before"), Some(&second[..]), "not the same each time");
        assert!(!second.contains(&b'\n'), "a line break");
        let parsed: serde_json::Value =
            serde_json::from_slice(&second).unwrap_or_else(|error| panic!("{error}: {second:?}"));
        if let Some(text) = parsed["text"].as_str().filter(|_| std::ptr::eq(chain[0], &QUOTED)) {
            serde_json::from_str::<serde_json::Value>(text).expect("the text is a document");
        }
    }
});

/// Values one after the other, and where they lie.
struct Record {
    bytes: Vec<u8>,
    opened: Opened,
}

impl Record {
    fn new(texts: &[&str], bytes: [u8; 8]) -> Self {
        let mut record = Self { bytes: Vec::new(), opened: Opened::default() };
        for (&field, &text) in F::ALL.iter().zip(texts) {
            let quoted = serde_json::to_string(text).expect("texts are JSON");
            let json = match field {
                F::Metadata | F::Shrike | F::Labels => format!("{{{quoted}:\n{quoted}, \"a.b\":\"\"}}"),
                F::Allowed => (text.len() % 2 == 0).to_string(),
                F::ResourcePort => text.len().to_string(),
                _ => quoted,
            };
            let place = |at: usize| u32::try_from(at).expect("inputs are short");
            let (start, len) = (record.bytes.len(), json.len());
            record.bytes.extend_from_slice(json.as_bytes());
            record.opened.places[field as usize] = Place::record(place(start), place(len));
            record.opened.escaped |= if json.contains('\\') { field.bit() } else { 0 };
        }
        let [kind, outcome, severity, resource, indicator, flags, time, _] = bytes.map(usize::from);
        let opened = &mut record.opened;
        opened.event_type = EventType::ALL.get(kind).copied().unwrap_or_default();
        opened.outcome = Outcome::ALL.get(outcome).copied().unwrap_or_default();
        opened.severity = Severity::ALL[severity % Severity::ALL.len()];
        opened.resource_type = ResourceType::ALL.get(resource).copied().unwrap_or_default();
        opened.indicator_type = IndicatorType::ALL.get(indicator).copied().unwrap_or_default();
        (opened.allowed, opened.intel) = (flags & 1 != 0, flags & 2 != 0);
        opened.time = Time { secs: i64::from(bytes[6]) << (time % 50), nanos: 999_999_999 };
        record
    }

    fn event(&self) -> Event<'_> {
        let (opened, frame) = (&self.opened, Frame::default());
        Event { opened, frame, record: &self.bytes, arena: b"", context: None }
    }
}

fn overrides(pattern: &str, keys: &[(u8, &str)], deny: u64, allow: u64, flags: u8) -> Overrides {
    let fields = |bits: u64| -> Vec<F> {
        F::ALL.iter().copied().filter(|field| bits & field.bit() != 0).collect()
    };
    let (mapped, added): (Vec<_>, Vec<_>) = keys.iter().partition(|(field, _)| field % 2 == 0);
    let field = |at: u8| F::ALL[usize::from(at) % F::COUNT];
    Overrides {
        texts: vec![("index".to_owned(), pattern.to_owned())],
        mappings: mapped.iter().map(|(at, key)| (field(*at), (*key).to_owned())).collect(),
        add: added.iter().map(|(_, key)| ((*key).to_owned(), (*key).to_owned())).collect(),
        deny: fields(deny & deny.rotate_left(7)),
        allow: if flags & 1 == 0 { Vec::new() } else { fields(allow) },
        indicators_all: flags & 2 != 0,
        alert_min: (flags & 4 != 0).then_some(Severity::Low),
        raw: (flags & 8 != 0).then_some(&NATIVE),
        characters_max: u16::from(flags >> 4),
        ..Overrides::default()
    }
}
