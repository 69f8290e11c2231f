//! What the syslog tables make of options: priorities, slots, limits, and what they refuse.

use serde_json::{Value, json};
use shrike::config::{Config, Flags, Host, System, Text};
use shrike::deliver::Options;
use shrike::event::{Event, Frame, Opened, Opening, OpeningOptions};
use shrike::pipeline::Render;
use shrike::transform::Format;
use shrike::vendors::{self, syslog::SYSLOG};

fn load(keys: &str) -> Result<Config, String> {
    let text = format!("exporters: {{syslog: {{{keys}}}}}");
    let text = Text::File { name: "test".to_owned(), text: text.into() };
    Config::load(&text, &Flags::default(), vendors::ALL, &System).map_err(|it| it.to_string())
}

fn options(keys: &str) -> Options {
    let config = load(&format!("address: h, {keys}")).unwrap_or_else(|error| panic!("{error}"));
    config.exporters[0].settings.options.clone()
}

fn text(keys: &str, name: &str) -> Option<String> {
    let derived = (SYSLOG.derive)(&options(keys)).expect("they were checked");
    derived.texts.into_iter().find(|(known, _)| *known == name).map(|(_, text)| text)
}

#[test]
fn priorities_are_eight_times_the_facility_and_the_severity() {
    let cases = [
        ("transport: tcp", "pri.info", "<86>1"),
        ("transport: tcp", "pri.critical", "<82>1"),
        ("facility: kern", "pri.critical", "<2>1"),
        ("facility: 0, severity_mapping: {critical: 0}", "pri.critical", "<0>1"),
        ("facility: local7, severity_mapping: {info: 7}", "pri.info", "<191>1"),
        ("facility: local7", "old.high", "<187>"),
    ];
    for (keys, name, expected) in cases {
        assert_eq!(text(keys, name).as_deref(), Some(expected), "{keys}");
    }
}

#[test]
fn structured_data_is_named_by_the_enterprise() {
    assert_eq!(text("enterprise_id: 9", "syslog.sd").as_deref(), Some("[shrike@9"));
    assert_eq!(text("structured_data: false", "syslog.sd").as_deref(), Some("-"));
    let meta = text("structured_data: false, meta: true", "syslog.quality");
    assert_eq!(meta.as_deref(), Some("[timeQuality tzKnown=\"1\"]"));
}

#[test]
fn messages_are_as_long_as_their_transport_carries() {
    let cases = [
        ("transport: udp", 256, 2048),
        ("transport: udp, payload: text, max_message_bytes: 480", 256, 480),
        ("transport: tcp", 1_000, 65_536),
        ("transport: tls, max_message_bytes: 8192", 1_000, 8192),
    ];
    for (keys, events, bytes) in cases {
        let limits = (SYSLOG.narrow)(&options(keys), SYSLOG.limits);
        assert_eq!((limits.events, limits.event_bytes), (events, bytes), "{keys}");
    }
}

#[test]
fn the_payload_names_the_format_unless_that_is_written() {
    let cases = [
        ("transport: tcp", Format::Native),
        ("payload: json", Format::Native),
        ("payload: text", Format::Native),
        ("payload: ocsf", Format::Ocsf),
        ("format: cef", Format::Cef),
        ("format: native, payload: json", Format::Native),
        ("format: ecs, payload: ecs", Format::Ecs),
        ("format: rfc3164, payload: cef", Format::Cef),
        ("format: rfc5424", Format::Native),
    ];
    for (keys, expected) in cases {
        let config = load(&format!("address: h, {keys}")).unwrap_or_else(|it| panic!("{it}"));
        assert_eq!(config.exporters[0].settings.format, expected, "{keys}");
    }
}

/// What `shrike render` shows of a sample that is changed.
fn rendered(keys: &str, change: impl FnOnce(&mut Value)) -> String {
    let config = load(keys).unwrap_or_else(|error| panic!("{error}"));
    let options = config.engine_options(&Host::default());
    let mut render = Render::new(&options.exporters[0]).expect("it compiles");
    let sample = include_str!("fixtures/security-events.jsonl").lines().next().expect("a sample");
    let mut record: Value = serde_json::from_str(sample).expect("samples are JSON");
    change(&mut record);
    let (record, frame) = (record.to_string(), Frame::default());
    let (mut arena, mut opened, mut out) = (Vec::new(), Opened::default(), Vec::new());
    let opening = Opening::new(&OpeningOptions::default());
    opening.begin(&mut arena);
    opening.open(&frame, record.as_bytes(), &mut arena, &mut opened).expect("an event");
    let event = Event::new(&opened, frame, record.as_bytes(), &arena);
    assert!(render.event(&event, 0, &mut out));
    String::from_utf8(out).expect("UTF-8")
}

/// "Values cut to 255 bytes": characters beyond ASCII have more than one.
#[test]
fn structured_data_is_cut_to_bytes() {
    let message = rendered("address: h", |record| {
        record["resource"]["name"] = json!("\u{e9}".repeat(300));
        record["session"]["id"] = json!("x".repeat(300));
    });
    assert!(message.contains(&format!(" resource=\"{}\"", "\u{e9}".repeat(127))), "{message}");
    assert!(message.contains(&format!(" session=\"{}\"", "x".repeat(255))), "{message}");
}

#[test]
fn a_process_of_the_older_form_stays_between_its_brackets() {
    let message = rendered("address: h, format: rfc3164", |record| {
        record["agent"]["id"] = json!("a]b[c: d");
    });
    assert!(message.contains(" clawdstrike[a_b_c__d]: {"), "{message}");
}

/// The dry run shows what would be sent, so also what is left out for want of room.
#[test]
fn a_message_that_is_too_long_is_shown_as_it_is_sent() {
    let udp = "address: h, transport: udp";
    let message = rendered(udp, |record| {
        record["metadata"] = json!({"long": "x".repeat(1500)});
        record["decision"]["reason"] = json!("r".repeat(600));
    });
    let (count, message) = message.split_once(' ').expect("a count");
    assert_eq!(count.parse::<usize>().expect("a number"), message.len());
    assert!(message.len() <= 2048, "{}", message.len());
    let (_, document) = message.split_once("] ").expect("structured data");
    let document: Value = serde_json::from_str(document).expect("it is JSON still");
    assert_eq!(document["metadata"]["shrike"]["truncated"], true);
    // An id that is cut names nothing.
    let small = rendered("address: h, structured_data: false, max_message_bytes: 1150", |record| {
        record["metadata"] = json!({"long": "x".repeat(1500)});
        record["decision"]["reason"] = json!("r".repeat(600));
    });
    let id = "019c322d-fa80-7f99-8d84-b44109f58c77";
    assert!(small.contains(&format!("\"event_id\":\"{id}\"")), "{small}");
    assert!(small.contains(&format!("\"reason\":\"{}\"", "r".repeat(64))), "{small}");
    let long = rendered("address: h, transport: udp, max_message_bytes: 900", |_| {});
    assert!(long.ends_with("too_large: larger than the destination takes, even without metadata"));
}

/// RFC 5424, 6.1: receivers must take 480 octets, which is less than most forms need.
#[test]
fn a_bound_that_no_event_fits_is_refused() {
    let rows = [
        ("", 891),
        (", structured_data: false", 615),
        (", payload: ecs", 1164),
        (", payload: ocsf, transport: udp", 1739),
        (", payload: cef", 672),
        (", protocol: rfc3164", 589),
    ];
    for (form, least) in rows {
        let load = |bytes: u32| {
            load(&format!("address: h, hostname: h{form}, max_message_bytes: {bytes}"))
        };
        let told = load(480).map(|_| ()).expect_err(form);
        let expected = format!(
            "exporters.syslog.max_message_bytes: an event takes at least {least} bytes in this form"
        );
        assert!(told.contains(&expected), "{form}: {told}");
        assert!(load(least - 1).is_err() && load(least).is_ok(), "{form}");
    }
    for form in ["payload: text", "payload: none"] {
        load(&format!("address: h, {form}, max_message_bytes: 480")).expect(form);
    }
}

#[test]
fn what_cannot_be_sent_is_refused() {
    let cases = [
        ("transport: udp", "a receiver is required"),
        ("address: 'h:99999'", "expected a port from 1 to 65535"),
        ("address: 'https://h'", "expected a port from 1 to 65535"),
        ("address: 'a b'", "no host and port"),
        ("address: dev/log, transport: unix", "no absolute path"),
        ("address: h, facility: 24", "`24` is none; expected a number from 0 to 23"),
        ("address: h, facility: locale7", "or one of kern, user"),
        ("address: h, enterprise_id: 0", "enterprise_id"),
        ("address: h, severity_mapping: {low: 8}", "severity_mapping.low"),
        ("address: h, transport: udp, max_message_bytes: 65536", "a datagram has at most 65507"),
        ("address: h, app_name: 'a b'", "printable ASCII without blanks"),
        ("address: h, structured_data: false, payload: none", "leaves nothing to say"),
        ("address: h, meta: true, protocol: rfc3164", "which rfc3164 has none of"),
        ("address: h, meta: true, format: rfc3164", "which rfc3164 has none of"),
        ("address: h, format: text", "format"),
        ("address: h, format: ecs, payload: cef", "payload: says something else than format: ecs"),
        ("address: h, format: ecs, payload: text", "payload: says something else"),
        ("address: h, format: native, payload: text", "payload: says something else"),
        ("address: h, format: rfc3164, protocol: rfc5424", "protocol: says something else"),
        ("address: h, format: rfc5424, protocol: rfc3164", "protocol: says something else"),
        ("address: h, payload: none, utf8_bom: true", "utf8_bom"),
        ("address: h, protocol: rfc3164, utf8_bom: true", "utf8_bom"),
        ("address: h, structured_data: false, enterprise_id: 9", "enterprise_id"),
        ("address: h, protocol: rfc3164, enterprise_id: 9", "enterprise_id"),
        ("address: h, format: rfc3164, structured_data: true", "structured_data"),
        ("address: h, protocol: rfc3164, msgid: x", "msgid"),
        ("address: h, transport: sctp", "expected tcp, tls, udp or unix"),
        ("address: h, compression: gzip", "takes none"),
        ("address: h, transport: tls, framing: newline", "tls always counts octets"),
        ("address: h, transport: udp, framing: newline", "each datagram is one message"),
        ("address: dev/log, transport: unix, framing: newline", "no absolute path"),
        ("address: h, headers: {a: b}", "syslog sends no requests with headers"),
    ];
    for (keys, expected) in cases {
        let error = load(keys).map(|_| ()).expect_err(keys);
        assert!(error.contains(expected), "{keys}: {error}");
    }
}
