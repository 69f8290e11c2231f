//! What would do nothing is refused: nobody may believe that it does something.

use shrike::config::{Config, Flags, System, Text};
use shrike::vendors;

/// What the exporters of every destination are refused with.
fn refusal(exporter: &str) -> String {
    let text = format!("exporters: {{{exporter}}}");
    let text = Text::File { name: "test".to_owned(), text: text.into() };
    let config = Config::load(&text, &Flags::default(), vendors::ALL, &System);
    config.map_or_else(|error| error.to_string(), |_| "accepted".to_owned())
}

#[test]
fn an_option_without_effect_is_refused() {
    let cases = [
        (
            "splunk: {hec_url: 'https://h', hec_token: t, use_ack: false, ack: {timeout_secs: 60}}",
            "exporters.splunk.ack.timeout_secs: has no effect unless use_ack is true; leave it out, \
             or see to that",
        ),
        (
            "splunk: {hec_url: 'https://h', hec_token: t, ack: {timeout_secs: 60, max_pending: 9}}",
            "",
        ),
        (
            "sumo_logic: {http_source_url: 'https://h/x', format: ecs, timestamp_field: time}",
            "timestamp_field: has no effect unless format is json",
        ),
        (
            "sumo_logic: {http_source_url: 'https://h/x', format: key_value, timestamp_field: time}",
            "timestamp_field: has no effect unless format is json",
        ),
        ("sumo_logic: {http_source_url: 'https://h/x', timestamp_field: time}", ""),
        (
            "sumo_logic: {http_source_url: 'https://h/x', partitioning: {by_tenant: true}}",
            "by_tenant: has no effect unless partitioning.enabled is true",
        ),
        ("sumo_logic: {http_source_url: 'https://h/x', partitioning: {by_tenant: false}}", ""),
        (
            "sumo_logic: {http_source_url: 'https://h/x', partitioning: {enabled: true, by_guard: true}}",
            "",
        ),
        (
            "webhook: {url: 'https://h', health: {status: 204}}",
            "health.status: has no effect unless health.url is set",
        ),
        ("webhook: {url: 'https://h', health: {url: 'https://h/up', status: 204}}", ""),
        (
            "webhook: {url: 'https://h', auth: {token: t, algorithm: sha256}}",
            "auth.algorithm: has no effect unless auth.type is hmac",
        ),
        ("webhook: {url: 'https://h', auth: {secret: s, algorithm: sha256}}", ""),
        (
            "webhook: {url: 'https://h', auth: {password: x}}",
            "auth.password: belongs to `auth.type: basic`, and credentials are `none` here; leave it \
             out, or write all that it needs",
        ),
        (
            "webhook: {url: 'https://h', auth: {header_name: X-Key}}",
            "auth.header_name: belongs to `auth.type: header` or `hmac`",
        ),
        (
            "webhook: {url: 'https://h', auth: {type: none, token: x}}",
            "auth.token: belongs to `auth.type: bearer`, and credentials are `none` here",
        ),
        (
            "elastic: {auth: {type: none, api_key: 'a:b'}}",
            "auth.api_key: belongs to `auth.type: api_key`, and type is `none` here; leave it out",
        ),
        (
            "elastic: {auth: {type: basic, username: u, password: p, api_key_id: i}}",
            "auth.api_key_id: belongs to `auth.type: api_key`, and type is `basic` here",
        ),
        (
            "s3: {bucket: 192.168.1.1, access_key_id: k, secret_access_key: s}",
            "bucket: expected 3 to 63 lower-case letters, digits, hyphens and dots, and no address",
        ),
        ("s3: {bucket: 192.168.1.a, access_key_id: k, secret_access_key: s}", ""),
        (
            "elastic: {auth: {type: none}, format: native, index: {mode: data_stream}}",
            "index.mode: data_stream takes documents with @timestamp, which only format: ecs has; \
             set that, or index.mode: daily or alias",
        ),
        (
            "datadog: {api_key: k, format: ecs, logs: {include_metadata: false}}",
            "logs.include_metadata: is for format: native; another document goes without them by \
             privacy.deny: [metadata, labels]",
        ),
    ];
    for (exporter, expected) in cases {
        let found = refusal(exporter);
        let is_right = match expected {
            "" => found == "accepted",
            expected => found.contains(expected),
        };
        assert!(is_right, "{exporter}: {found}");
    }
}
