//! Conditions and templates: any text compiles or is refused with a place, and what compiles gives
//! the same answer each time.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shrike::event::{Event, Frame, Opened, Opening, OpeningOptions};
use shrike::transform::{Condition, Escape, Template, TemplateText};

fuzz_target!(|input: (&str, &str, &str, u8)| {
    let (condition, template, value, flags) = input;
    let value = serde_json::Value::from(value);
    let record = EVENT.replace("\"VALUE\"", &value.to_string());
    match Condition::compile(condition) {
        Ok(condition) => holds(&condition, record.as_bytes()),
        Err(error) => {
            let characters = condition.chars().count();
            assert!((1..=characters + 1).contains(&error.column), "{error}");
            assert!(!error.expected.is_empty(), "{error}");
        }
    }
    let escape = match flags % 3 {
        0 => Escape::Json,
        1 => Escape::Form,
        _ => Escape::None,
    };
    let text = template.to_owned();
    let (is_strict, is_line) = (flags & 4 != 0, flags & 8 != 0);
    let Ok(template) = Template::compile(&TemplateText { text, escape, is_strict, is_line }) else {
        return;
    };
    let (mut first, mut second) = (Vec::new(), Vec::new());
    let rendered = template.render(record.as_bytes(), &mut first);
    assert_eq!(rendered, template.render(record.as_bytes(), &mut second));
    if rendered.is_ok() {
        assert_eq!(first, second, "not the same each time");
        if escape == Escape::Json {
            serde_json::from_slice::<serde_json::Value>(&first).expect("what is sent is JSON");
        }
    }
});

fn holds(condition: &Condition, record: &[u8]) {
    let opening = Opening::new(&OpeningOptions::default());
    let (mut arena, mut opened) = (Vec::new(), Opened::default());
    opening.begin(&mut arena);
    let frame = Frame::default();
    if opening.open(&frame, record, &mut arena, &mut opened).is_ok() {
        let event = Event::new(&opened, frame, record, &arena);
        assert_eq!(condition.holds(&event), condition.holds(&event));
    }
}

const EVENT: &str = r#"{"schema_version":"1.0.0","event_id":"019c322d-fa80-7f99-8d84-b44109f58c77",
"event_type":"guard_block","event_category":"network","timestamp":"2026-02-06T12:00:00Z",
"agent":{"id":"a","name":"a","version":"1","type":"clawdstrike"},"session":{"id":"s"},
"outcome":"failure","action":"egress","decision":{"allowed":false,"guard":"egress_allowlist",
"severity":"high","reason":"VALUE"},"resource":{"type":"network","name":"VALUE","port":443},
"metadata":{"a":{"b":"VALUE","n":5}},"labels":{"team":"VALUE"}}"#;
