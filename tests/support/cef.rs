//! Reads CEF strictly, as its specification has it and not as our tables do.

#![allow(dead_code, reason = "each test crate that shares this file uses a part of it")]

use std::collections::BTreeMap;

/// A line taken apart, escapes undone.
#[derive(Debug)]
pub(crate) struct Line {
    /// Vendor, product, version, class, name, severity.
    pub(crate) slots: Vec<String>,
    pub(crate) pairs: BTreeMap<String, String>,
}

/// Reads a line and checks all that holds for every line.
pub(crate) fn read(line: &str) -> Line {
    let fail = |problem: &str| -> ! { panic!("{problem}: {line}") };
    let Some(rest) = line.strip_prefix("CEF:0|") else { fail("no prefix") };
    if line.contains(|char: char| char.is_ascii_control() && char != '\t') {
        fail("a control character");
    }
    let (mut slots, mut slot) = (Vec::new(), String::new());
    let mut chars = rest.char_indices();
    let extension = loop {
        match chars.next() {
            Some((_, '\\')) => match chars.next() {
                Some((_, char @ ('\\' | '|'))) => slot.push(char),
                _ => fail("an escape that a header has not"),
            },
            Some((at, '|')) => {
                slots.push(std::mem::take(&mut slot));
                if slots.len() == 6 {
                    break &rest[at + 1..];
                }
            }
            Some((_, char)) => slot.push(char),
            None => fail("the header ends early"),
        }
    };
    let severity: u8 = slots[5].parse().unwrap_or_else(|_| fail("a severity that is no number"));
    if severity > 10 || slots[..5].iter().any(String::is_empty) {
        fail("a slot that cannot be");
    }
    for (slot, most) in slots.iter().zip([63, 63, 31, 1023, 512]) {
        assert!(slot.chars().count() <= most, "over {most} characters: {slot}");
    }
    Line { slots, pairs: pairs(extension, line) }
}

/// Every unescaped `=` ends a key, which begins behind the blank before it.
fn pairs(extension: &str, line: &str) -> BTreeMap<String, String> {
    let mut marks = Vec::new();
    let mut escaped = false;
    for (at, char) in extension.char_indices() {
        match char {
            _ if escaped => {
                assert!("\\=nr".contains(char), "no escape of an extension: \\{char} in {line}");
                escaped = false;
            }
            '\\' => escaped = true,
            '=' => marks.push(at),
            _ => {}
        }
    }
    assert!(!escaped && !marks.is_empty(), "{line}");
    let key_start = |at: usize| extension[..at].rfind(' ').map_or(0, |blank| blank + 1);
    let mut pairs = BTreeMap::new();
    for (n, &at) in marks.iter().enumerate() {
        let key = &extension[key_start(at)..at];
        let is_key = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        assert!(!key.is_empty() && key.bytes().all(is_key), "no key: `{key}` in {line}");
        let end = match marks.get(n + 1) {
            Some(&next) => key_start(next).checked_sub(1).expect("a key stands behind a blank"),
            None => extension.len(),
        };
        assert!(at < end || n + 1 == marks.len(), "a key inside a value: {line}");
        let value = unescaped(&extension[(at + 1).min(end)..end]);
        assert!(pairs.insert(key.to_owned(), value).is_none(), "`{key}` twice: {line}");
    }
    assert_eq!(key_start(marks[0]), 0, "text before the first key: {line}");
    for (key, value) in &pairs {
        check(key, value, &pairs);
    }
    pairs
}

fn unescaped(text: &str) -> String {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        plain.push(match char {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some(char) => char,
                None => panic!("half an escape: {text}"),
            },
            char => char,
        });
    }
    plain
}

/// The keys of the dictionary that our events may have, and their characters at most.
const DICTIONARY: &[(&str, usize)] = &[
    ("act", 63),
    ("c6a3", 39),
    ("cat", 1023),
    ("cn1", 20),
    ("cn2", 20),
    ("cs1", 4000),
    ("cs2", 4000),
    ("cs3", 4000),
    ("cs4", 4000),
    ("cs5", 4000),
    ("cs6", 4000),
    ("destinationServiceName", 1023),
    ("deviceCustomDate1", 20),
    ("deviceExternalId", 255),
    ("dhost", 1023),
    ("dproc", 1023),
    ("dpt", 5),
    ("dst", 15),
    ("dvchost", 100),
    ("externalId", 40),
    ("filePath", 1023),
    ("flexString1", 1023),
    ("flexString2", 1023),
    ("fname", 1023),
    ("msg", 1023),
    ("outcome", 63),
    ("reason", 1023),
    ("request", 1023),
    ("rt", 20),
    ("suid", 1023),
    ("suser", 1023),
];

fn check(key: &str, value: &str, pairs: &BTreeMap<String, String>) {
    if let Some(labelled) = key.strip_suffix("Label") {
        assert!(pairs.contains_key(labelled), "a label without `{labelled}`: {pairs:?}");
        return;
    }
    let labelled = ["c6a", "cn", "cs", "deviceCustom", "flex"];
    let needs_label = labelled.iter().any(|kind| key.starts_with(kind));
    if needs_label {
        assert!(pairs.contains_key(&format!("{key}Label")), "`{key}` without a label: {pairs:?}");
    }
    if let Some((_, most)) = DICTIONARY.iter().find(|(known, _)| *known == key) {
        assert!(value.chars().count() <= *most, "`{key}` is too long: {value}");
    }
    match key {
        "dst" => assert!(value.parse::<std::net::Ipv4Addr>().is_ok(), "no IPv4 address: {value}"),
        "c6a3" => assert!(value.parse::<std::net::Ipv6Addr>().is_ok(), "no IPv6 address: {value}"),
        "rt" | "deviceCustomDate1" | "cn1" | "cn2" => {
            assert!(value.parse::<i64>().is_ok(), "`{key}` is no number: {value}");
        }
        "dpt" => assert!(value.parse::<u16>().is_ok_and(|port| port > 0), "no port: {value}"),
        _ => {}
    }
}

/// Whether every key is one of the dictionary's, as it is without mappings.
pub(crate) fn assert_known(line: &Line) {
    for key in line.pairs.keys() {
        let bare = key.strip_suffix("Label").unwrap_or(key);
        assert!(DICTIONARY.iter().any(|(known, _)| *known == bare), "no such key: {key}");
    }
}
