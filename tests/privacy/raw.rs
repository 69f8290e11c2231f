//! The canonical event as text inside documents of other formats: what is hidden is not there
//! either.

use serde_json::{Value, json};
use shrike::config::{Config, Flags, Host, System, Text};
use shrike::event::{Event, Frame, Opened, Opening};
use shrike::pipeline::Render;
use shrike::vendors;

use crate::world::{NOW_NS, event};

/// What is planted, each hidden by a rule of another kind.
const PLANTED: &[(&str, &str)] = &[
    ("/decision/reason", "ghp_0123456789abcdefghijABCDEFGHIJ012345"),
    ("/session/user_id", "mallory-the-user"),
    ("/resource/host", "masked-host.example"),
    ("/session/tenant_id", "hashed-tenant"),
    ("/metadata/user/name", "denied-to-this-one"),
    ("/metadata/velar/request_body_preview", "preview of a body"),
    ("/metadata/items/0/content", "content of a file"),
    ("/labels/team", "AKIAIOSFODNN7EXAMPLE"),
];

/// The document of one exporter under a configuration.
fn document(text: &str) -> String {
    let text = Text::File { name: "shrike.yaml".to_owned(), text: text.to_owned().into() };
    let config = Config::load(&text, &Flags::default(), vendors::ALL, &System);
    let config = config.unwrap_or_else(|error| panic!("{error}"));
    let spec = config.exporter_spec(&config.exporters[0], &Host::default());
    let mut render = Render::new(&spec).expect("it compiles");
    let mut planted = event();
    for (place, text) in PLANTED {
        *planted.pointer_mut(place).expect("the event has it") = json!(text);
    }
    let record = planted.to_string().into_bytes();
    let opening = Opening::new(&config.opening_options());
    let frame = Frame { received_ns: NOW_NS, ..Frame::default() };
    let (mut arena, mut opened) = (Vec::new(), Opened::default());
    opening.begin(&mut arena);
    opening.open(&frame, &record, &mut arena, &mut opened).expect("it is an event");
    let event = Event::new(&opened, frame, &record, &arena);
    let mut body = Vec::new();
    assert!(render.event(&event, 1_770_381_000, &mut body));
    String::from_utf8(body).expect("documents are text")
}

/// The event as text that a document carries.
fn raw(document: &str, path: &str) -> Value {
    let lines = document.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let raw = lines.into_iter().find_map(|line| line.pointer(path).cloned());
    let raw = raw.unwrap_or_else(|| panic!("no {path} in {document}"));
    serde_json::from_str(raw.as_str().expect("a text")).expect("it is JSON itself")
}

#[test]
fn what_is_hidden_is_not_in_the_raw_event_either() {
    const RULES: &str = "privacy:\n  redact_fields: [session.user_id]\n  mask_fields: \
                         [resource.host]\n  hash_fields: [session.tenant_id]\n  hash_salt: \
                         0123456789abcdef\n";
    let elastic = "elastic: {nodes: 'https://a', auth: {type: none}, include_raw: true";
    for (exporter, path) in [
        ("stdout: {format: ecs", "/event/original"),
        ("stdout: {format: ocsf", "/raw_data"),
        (elastic, "/event/original"),
    ] {
        let open = document(&format!(
            "schema: {{include_raw: true}}\nprivacy: {{drop_previews: false, builtin_patterns: \
             []}}\nexporters:\n  {exporter}}}\n"
        ));
        let raw_open = raw(&open, path);
        for (place, text) in PLANTED {
            assert_eq!(raw_open.pointer(place), Some(&json!(text)), "{exporter}: {place}");
        }
        let hidden = document(&format!(
            "schema: {{include_raw: true}}\n{RULES}exporters:\n  {exporter}, privacy: {{deny: \
             [metadata.user]}}}}\n"
        ));
        let raw_hidden = raw(&hidden, path);
        assert_eq!(raw_hidden["event_id"], raw_open["event_id"], "it is the event");
        for (place, text) in PLANTED {
            assert!(!hidden.contains(text), "{exporter}: {place} in {hidden}");
        }
    }
}
