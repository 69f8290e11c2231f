//! The guides in `docs/vendors/`: every configuration in them loads, every key of a vendor has a
//! sentence.

use std::path::Path;

use shrike::config::{Config, Flags, Lookup, Text};
use shrike::deliver::{OptionValue, Vendor};
use shrike::transform::Format;
use shrike::vendors;

/// Secrets in the guides come from the environment and from files.
struct Environment;

impl Lookup for Environment {
    fn variable(&self, name: &str) -> Option<String> {
        match name {
            // eu.example$abc$def
            "ELASTIC_CLOUD_ID" => Some("label:ZXUuZXhhbXBsZSRhYmMkZGVm".to_owned()),
            // id:key
            "ELASTIC_API_KEY" => Some("aWQ6a2V5".to_owned()),
            name if name.contains("PAGERDUTY") => Some("0123456789abcdef".repeat(2)),
            name if name.ends_with("_URL") => Some("https://c.example/receiver/x".to_owned()),
            _ => Some("secret".to_owned()),
        }
    }

    fn hostname(&self) -> String {
        "edge-7".to_owned()
    }

    fn file(&self, _path: &Path) -> std::io::Result<String> {
        Ok("secret".to_owned())
    }
}

fn load(yaml: &str) -> Config {
    let text = Text::File { name: "guide".to_owned(), text: yaml.to_owned().into() };
    Config::load(&text, &Flags::default(), vendors::ALL, &Environment)
        .unwrap_or_else(|error| panic!("{error}\n{yaml}"))
}

/// The configurations of a page.
fn configurations(page: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let text = std::fs::read_to_string(path).expect("the page is there");
    let blocks = text.split("```yaml\n").skip(1);
    blocks.map(|block| block.split_once("```").expect("a block ends").0.to_owned()).collect()
}

#[test]
fn every_configuration_of_the_guides_loads() {
    let guides = [
        ("datadog", 3),
        ("elastic", 3),
        ("file", 3),
        ("opsgenie", 3),
        ("otlp", 3),
        ("pagerduty", 3),
        ("s3", 3),
        ("slack", 3),
        ("splunk", 3),
        ("sumo_logic", 3),
        ("syslog", 5),
        ("teams", 3),
        ("webhook", 4),
    ];
    for (vendor, least) in guides {
        let blocks = configurations(&format!("docs/vendors/{vendor}.md"));
        assert!(blocks.len() >= least, "{vendor}: {} configurations", blocks.len());
        for yaml in blocks {
            let config = load(&yaml);
            let exporter = config.exporters.first().expect("one exporter");
            assert_eq!(exporter.settings.vendor.name, vendor);
        }
    }
}

#[test]
fn every_configuration_of_the_front_pages_loads() {
    for page in ["README.md", "docs/configuration.md", "docs/hooks.md"] {
        let blocks = configurations(page);
        assert!(!blocks.is_empty(), "{page} shows a configuration");
        blocks.iter().for_each(|yaml| _ = load(yaml));
    }
}

#[test]
fn the_host_is_the_machine_where_none_is_set() {
    let config =
        load("exporters: {splunk: {hec_url: 'https://hec.example', hec_token: t, index: i}}");
    let host = config.exporters[0].settings.options.text("host");
    assert_eq!(host.as_deref(), Some("edge-7"));
}

#[test]
fn the_defaults_are_those_of_the_guides() {
    let config = load("exporters: {elastic: {auth: {type: none}}}");
    let settings = &config.exporters[0].settings;
    let expected = [
        ("index.name", "clawdstrike-security"),
        ("index.mode", "daily"),
        ("index.ilm_policy", "clawdstrike-policy"),
        ("index.shards", "1"),
        ("ecs_version", "8.17.0"),
        ("init.enabled", "true"),
    ];
    for (key, text) in expected {
        assert_eq!(settings.options.text(key).as_deref(), Some(text), "{key}");
    }
    assert_eq!(settings.format, Format::Ecs);
    let config = load("exporters: {splunk: {hec_url: 'https://hec.example', hec_token: t}}");
    let settings = &config.exporters[0].settings;
    assert_eq!(settings.options.value("use_ack"), Some(&OptionValue::Bool(true)));
    assert_eq!(settings.options.number("ack.timeout_secs"), Some(300_000));
    assert_eq!(settings.format, Format::Native);
    for (keys, secs) in [
        ("syslog: {address: a.example}", 10),
        ("sumo_logic: {http_source_url: 'https://c.example/x'}", 30),
        ("webhook: {url: 'https://h.example/x'}", 30),
    ] {
        let config = load(&format!("exporters: {{{keys}}}"));
        let settings = &config.exporters[0].settings;
        assert_eq!(settings.connection.timeout.as_secs(), secs, "{keys}");
    }
}

#[test]
fn every_format_is_chosen_where_the_destination_takes_it() {
    for vendor in vendors::ALL {
        for format in vendor.formats {
            let keys = match vendor.name {
                "datadog" => "api_key: k, ",
                "elastic" => "auth: {type: none}, ",
                "file" => "path: /var/log/events, ",
                "slack" => "webhook_url: 'https://hooks.example/services/T/B/X', ",
                "splunk" => "hec_url: 'https://hec.example', hec_token: t, ",
                "sumo_logic" => "http_source_url: 'https://c.example/receiver/v1/http/x', ",
                "s3" => "bucket: b-1, access_key_id: k, secret_access_key: s, ",
                "otlp" => "endpoint: 'https://otel.example', ",
                "opsgenie" => "api_key: k, ",
                "pagerduty" => "routing_key: 0123456789abcdef0123456789abcdef, ",
                "teams" => "webhook_url: 'https://flow.example/workflows/1?sig=s', ",
                "webhook" => "url: 'https://hook.example/x', ",
                "syslog" => "address: h, ",
                _ => "",
            };
            let config = load(&format!(
                "exporters: {{{}: {{{keys}format: {}}}}}",
                vendor.name,
                format.word()
            ));
            assert_eq!(config.exporters[0].settings.format, *format, "{}", vendor.name);
        }
    }
}

#[test]
fn every_key_has_a_sentence_and_a_default_that_fits() {
    for vendor in vendors::ALL {
        let vendor: &Vendor = vendor;
        assert!(!vendor.about.is_empty());
        for option in vendor.options {
            assert!(option.about.ends_with('.'), "{}.{}", vendor.name, option.key);
        }
    }
}
