//! The tables themselves, and what is made from them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use shrike::config::{
    self, Config, FILTER, Flags, INPUT, Key, PATTERN, PRIVACY_OWN, ROUTING_RULE, SHARED, TOKEN,
    Text, hook_keys, keys_of, reference, server_keys, top,
};
use shrike::vendors;

use crate::world::{Fixed, TOWER};

/// Every table with its name.
fn tables() -> Vec<(String, Vec<Key>)> {
    let mut tables = vec![
        ("top".to_owned(), top()),
        ("routing rule".to_owned(), ROUTING_RULE.to_vec()),
        ("pattern".to_owned(), PATTERN.to_vec()),
        ("token".to_owned(), TOKEN.to_vec()),
        ("server".to_owned(), server_keys()),
        ("input".to_owned(), INPUT.to_vec()),
        ("response hook".to_owned(), hook_keys()),
        ("shared".to_owned(), [SHARED, FILTER, PRIVACY_OWN].concat()),
    ];
    let vendors = vendors::ALL.iter().copied().chain([&TOWER]);
    tables.extend(vendors.map(|vendor| (vendor.name.to_owned(), keys_of(vendor))));
    tables
}

#[test]
fn every_key_is_documented_and_spelled_once() {
    for (table, keys) in tables() {
        let mut spellings: Vec<&str> = Vec::new();
        for key in &keys {
            assert!(key.about.ends_with('.'), "{table}: {}: {}", key.path, key.about);
            assert!(!key.kind.expected(key.path).is_empty());
            spellings.push(key.path);
            spellings.extend(key.aliases.iter().map(|alias| alias.trim_start_matches('!')));
        }
        spellings.sort_unstable();
        let twice: Vec<_> = spellings.windows(2).filter(|pair| pair[0] == pair[1]).collect();
        assert!(twice.is_empty(), "{table}: {twice:?}");
    }
}

#[test]
fn a_hook_reads_its_own_defaults() {
    let text = "response_hooks: [{name: a, when: default, action: webhook, enabled: false}]";
    let text = Text::File { name: "x".to_owned(), text: text.to_owned().into() };
    let config = Config::load(&text, &Flags::default(), vendors::ALL, &Fixed);
    assert_eq!(config.expect("the defaults are right").disabled, ["a"]);
}

#[test]
fn every_vendor_reads_its_own_defaults() {
    // A wrong default stops a debug build where it is read.
    for vendor in vendors::ALL.iter().copied() {
        let text = format!("exporters: {{{}: {{enabled: false}}}}", vendor.name);
        let text = Text::File { name: "x".to_owned(), text: text.into() };
        let config = Config::load(&text, &Flags::default(), vendors::ALL, &Fixed);
        assert_eq!(config.expect("the defaults are right").disabled, [vendor.name]);
    }
}

#[test]
fn times_and_spans_are_read_as_written() {
    assert_eq!(config::time::parse("1970-01-01T00:00:01.5+00:00"), Some(1_500_000_000));
    assert_eq!(config::time::parse("1970-01-01T01:00:00+01:00"), Some(0));
    assert_eq!(config::time::parse("1969-01-01T00:00:00Z"), None, "before there was a log");
    assert_eq!(config::time::text(1_500_000_000), "1970-01-01T00:00:01.5Z");
    assert_eq!(config::time::parse_or_ago("1h", 3_600_000_000_001), Some(1));
    assert_eq!(config::time::parse_or_ago("1h", 1), None);
    assert_eq!(config::time::span("2m"), Some(Duration::from_secs(120)));
    for wrong in ["2", "m", "", "2 weeks", "-2s", "99999999999999999999s", "18446744073709551615d"]
    {
        assert_eq!(config::time::span(wrong), None, "{wrong}");
    }
}

#[test]
fn a_given_file_must_exist_and_the_usual_one_need_not() {
    let missing = Text::open(Some(Path::new("/nowhere/shrike.yaml"))).expect_err("it is missing");
    assert_eq!(
        missing.to_string(),
        "/nowhere/shrike.yaml: No such file or directory (os error 2); give a file that can be read"
    );
}

#[test]
fn the_reference_is_up_to_date() {
    let text = reference(vendors::ALL);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &text).expect("docs can be written");
    }
    let stale = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stale == text,
        "docs/configuration.md is stale: UPDATE_DOCS=1 cargo test --test config"
    );
}
