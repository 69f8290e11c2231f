//! What the syslog tables make of options: priorities, slots, limits, and what they refuse.

use shrike::config::{Config, Flags, System, Text};
use shrike::deliver::Options;
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
        ("transport: udp, max_message_bytes: 480", 256, 480),
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
        ("format: ecs, payload: text", Format::Ecs),
        ("format: rfc3164, payload: cef", Format::Cef),
        ("format: rfc5424", Format::Native),
    ];
    for (keys, expected) in cases {
        let config = load(&format!("address: h, {keys}")).unwrap_or_else(|it| panic!("{it}"));
        assert_eq!(config.exporters[0].settings.format, expected, "{keys}");
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
        ("address: h, transport: sctp", "expected tcp, tls, udp or unix"),
        ("address: h, compression: gzip", "takes none"),
    ];
    for (keys, expected) in cases {
        let error = load(keys).map(|_| ()).expect_err(keys);
        assert!(error.contains(expected), "{keys}: {error}");
    }
}
