//! Reads RFC 5424 strictly, by its ABNF in section 6 and not as our tables have it.

#![allow(dead_code, reason = "each test crate that shares this file uses a part of it")]

use std::collections::BTreeMap;

/// A message taken apart, escapes undone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) priority: u8,
    pub(crate) timestamp: String,
    pub(crate) hostname: String,
    pub(crate) app_name: String,
    pub(crate) procid: String,
    pub(crate) msgid: String,
    /// Elements by SD-ID, each with its parameters.
    pub(crate) data: BTreeMap<String, BTreeMap<String, String>>,
    pub(crate) text: String,
}

/// Reads a message; panics where the grammar is broken.
pub(crate) fn read(message: &[u8]) -> Message {
    let text = std::str::from_utf8(message).expect("every part of ours is UTF-8");
    let rest = text.strip_prefix('<').unwrap_or_else(|| panic!("no PRI: {text}"));
    let (priority, rest) = rest.split_once('>').unwrap_or_else(|| panic!("no PRI: {text}"));
    assert!(priority.len() <= 3 && (priority == "0" || !priority.starts_with('0')), "{text}");
    let priority: u8 = priority.parse().unwrap_or_else(|_| panic!("no PRI: {text}"));
    assert!(priority <= 191, "PRI is at most 191: {text}");
    let rest = rest.strip_prefix("1 ").unwrap_or_else(|| panic!("no VERSION 1: {text}"));
    let mut rest = rest;
    let mut slot = |bytes_max: usize| {
        let (slot, after) = rest.split_once(' ').unwrap_or_else(|| panic!("it ends: {text}"));
        let is_printable = slot.bytes().all(|byte| (33..=126).contains(&byte));
        assert!((1..=bytes_max).contains(&slot.len()) && is_printable, "`{slot}` in {text}");
        rest = after;
        slot.to_owned()
    };
    let timestamp = slot(32);
    check_timestamp(&timestamp);
    let (hostname, app_name, procid, msgid) = (slot(255), slot(48), slot(128), slot(32));
    let (data, rest) = data(rest);
    let text = match rest {
        "" => "",
        rest => rest.strip_prefix(' ').unwrap_or_else(|| panic!("no blank before MSG: {text}")),
    };
    let text = text.to_owned();
    Message { priority, timestamp, hostname, app_name, procid, msgid, data, text }
}

/// `2026-02-06T09:00:00.123456Z`: at most six digits, `T` and `Z` upper case.
fn check_timestamp(text: &str) {
    let (whole, fraction) = match text.strip_suffix('Z').and_then(|text| text.split_once('.')) {
        Some(parts) => parts,
        None => (text.strip_suffix('Z').unwrap_or_else(|| panic!("not UTC: {text}")), "0"),
    };
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    assert!((1..=6).contains(&fraction.len()) && is_digits(fraction), "{text}");
    for (at, byte) in whole.bytes().enumerate() {
        let expected = match at {
            4 | 7 => byte == b'-',
            10 => byte == b'T',
            13 | 16 => byte == b':',
            _ => byte.is_ascii_digit(),
        };
        assert!(expected, "{text}");
    }
    assert_eq!(whole.len(), 19, "{text}");
}

type Data = BTreeMap<String, BTreeMap<String, String>>;

fn data(text: &str) -> (Data, &str) {
    if let Some(rest) = text.strip_prefix('-') {
        return (Data::new(), rest);
    }
    let (mut elements, mut rest) = (Data::new(), text);
    while let Some(inside) = rest.strip_prefix('[') {
        let end = inside.find([' ', ']']).unwrap_or_else(|| panic!("no end: {text}"));
        let (name, mut after) = inside.split_at(end);
        check_name(name);
        let mut parameters = BTreeMap::new();
        while let Some(parameter) = after.strip_prefix(' ') {
            let (name, value) = parameter.split_once("=\"").expect("a value in quotes");
            check_name(name);
            let (value, behind) = quoted(value);
            assert!(parameters.insert(name.to_owned(), value).is_none(), "`{name}` twice: {text}");
            after = behind;
        }
        rest = after.strip_prefix(']').unwrap_or_else(|| panic!("an element stays open: {text}"));
        assert!(elements.insert(name.to_owned(), parameters).is_none(), "`{name}` twice: {text}");
    }
    assert!(!elements.is_empty(), "no structured data: {text}");
    (elements, rest)
}

fn check_name(name: &str) {
    let fits = |byte: u8| (33..=126).contains(&byte) && !b"=]\"".contains(&byte);
    assert!((1..=32).contains(&name.len()) && name.bytes().all(fits), "no name: `{name}`");
}

/// The value up to its closing quotation mark.
fn quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return (value, &text[at + 1..]),
            ']' => panic!("a bracket that is not escaped: {text}"),
            '\\' => match chars.next() {
                Some((_, char @ ('"' | '\\' | ']'))) => value.push(char),
                other => panic!("an escape that there is not: {other:?} in {text}"),
            },
            char => value.push(char),
        }
    }
    panic!("a value stays open: {text}")
}
