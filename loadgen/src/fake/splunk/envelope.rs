//! Event envelopes judged in full, and raw lines.

use super::code::{self, Code};
use super::{Splunk, Taken};
use crate::fake::ids;
use crate::fake::json::Node;
use crate::fake::{Reply, Visit};

impl Splunk {
    /// Envelopes one after the other: "you can stack events", with or without white space between.
    pub(super) fn events(&self, visit: &Visit<'_>, taken: &mut Taken) -> Result<(), Reply> {
        if !visit.strict && self.skim(visit.body, taken) {
            return Ok(());
        }
        let mut stream = serde_json::Deserializer::from_slice(visit.body).into_iter::<Node>();
        let mut start = 0;
        for number in 0.. {
            let Some(parsed) = stream.next() else { break };
            let (node, end) = match parsed {
                Ok(node) => (node, stream.byte_offset()),
                Err(error) => {
                    let rest = &visit.body[start..];
                    self.book.note_problem(&format!("an envelope is no JSON: {error}"), rest);
                    return Err(code::of(6).at(number));
                }
            };
            let text = visit.body[start..end].trim_ascii();
            start = end;
            if let Some(code) = self.fault(&node, text) {
                self.book.note_problem(&format!("an envelope is refused: {}", code.text), text);
                return Err(code.at(number));
            }
            // The parser stops at a key it does not know and says nothing.
            if let Some(key) = unknown_key(&node) {
                let what = format!(
                    "the envelope key {key:?} is unknown: this event and all after it are lost"
                );
                self.book.note_problem(&what, text);
                return Ok(());
            }
            self.store(&node, text, taken);
        }
        Ok(())
    }

    /// Lines as they are: every line is an event.
    pub(super) fn raw(&self, visit: &Visit<'_>, taken: &mut Taken) -> Result<(), Reply> {
        let stray = visit.parameters().find(|(key, _)| !RAW_PARAMETERS.contains(&key.as_str()));
        if let Some((key, _)) = stray {
            self.book.note_problem("the raw endpoint has no such parameter", key.as_bytes());
        }
        for line in visit.body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            taken.store_text(&self.book, line, "raw", &String::from_utf8_lossy(line));
        }
        Ok(())
    }

    fn store(&self, node: &Node, text: &[u8], taken: &mut Taken) {
        let event = node.member("event");
        let id = event.and_then(|event| event.at("event_id").or_else(|| event.at("event.id")));
        let index = node.member("index").and_then(Node::text).unwrap_or_default();
        // What has neither is an event too, but nobody could tell it from another.
        if ids::first(text).is_some() || id.is_some() {
            let id = id.and_then(Node::text).unwrap_or_default();
            taken.store_text(&self.book, text, index, id);
        } else {
            taken.store_nameless();
        }
    }

    /// What the collector refuses about one envelope.
    fn fault(&self, node: &Node, text: &[u8]) -> Option<&'static Code> {
        let Node::Object(members) = node else { return Some(code::of(6)) };
        for (key, value) in members {
            let fits = match (key.as_str(), value) {
                ("time", Node::Number(_) | Node::Text(_)) => {
                    raw_member(text, "time").is_some_and(is_time)
                }
                ("host" | "source" | "sourcetype" | "index", Node::Text(_)) => true,
                ("time" | "host" | "source" | "sourcetype" | "index", _) => false,
                _ => true,
            };
            if !fits {
                return Some(code::of(6));
            }
        }
        match node.member("event") {
            None => return Some(code::of(12)),
            Some(Node::Null | Node::Bool(false)) => return Some(code::of(6)),
            Some(Node::Text(text)) if text.trim().is_empty() => return Some(code::of(13)),
            Some(_) => {}
        }
        if let Some(fields) = node.member("fields") {
            let is_metric = node.member("event").and_then(Node::text) == Some("metric");
            if !self.are_fields(fields, is_metric) {
                return Some(code::of(15));
            }
        }
        let index = node.member("index").and_then(Node::text);
        let is_allowed = index.is_none_or(|index| {
            self.rules.indexes.is_empty() || self.rules.indexes.iter().any(|one| one == index)
        });
        (!is_allowed).then(|| code::of(7))
    }

    /// "fields: flat, not nested": strings or lists of strings; a metric's measures are numbers.
    fn are_fields(&self, fields: &Node, is_metric: bool) -> bool {
        let Node::Object(members) = fields else { return false };
        members.iter().all(|(key, value)| match value {
            Node::Text(_) => true,
            Node::List(list) => list.iter().all(|one| matches!(one, Node::Text(_))),
            Node::Number(_) if is_metric && key.starts_with("metric_name:") => true,
            Node::Number(_) | Node::Bool(_) => {
                self.book.note_problem("an indexed field is no string", key.as_bytes());
                true
            }
            Node::Object(_) | Node::Null => false,
        })
    }
}

fn unknown_key(node: &Node) -> Option<&str> {
    let Node::Object(members) = node else { return None };
    members.iter().map(|(key, _)| key.as_str()).find(|key| !ENVELOPE_KEYS.contains(key))
}

/// `SECONDS.FRACTION`: epoch seconds with a fraction, or digits that read as milli- or nanoseconds;
/// a string of the same is fine, an exponent is not.
fn is_time(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or(text);
    let mut parts = text.split(|&byte| byte == b'.');
    let digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    let whole = parts.next().is_some_and(|part| digits(part) && part.len() <= TIME_DIGITS_MAX);
    let fraction = parts.next().is_none_or(|part| digits(part) && part.len() <= 9);
    whole && fraction && parts.next().is_none()
}

/// The text of a member's value, in an object that is known to be well-formed.
fn raw_member<'a>(object: &'a [u8], key: &str) -> Option<&'a [u8]> {
    let mut at = 1;
    let mut depth = 0;
    let mut name: Option<&[u8]> = None;
    let mut value = 0;
    while at < object.len() {
        match object[at] {
            b'"' => {
                let end = string_end(object, at);
                if depth == 0 && name.is_none() {
                    name = Some(&object[at + 1..end - 1]);
                }
                at = end;
                continue;
            }
            b':' if depth == 0 => value = at + 1,
            b'{' | b'[' => depth += 1,
            b',' | b'}' if depth == 0 => {
                if name == Some(key.as_bytes()) {
                    return Some(object[value..at].trim_ascii());
                }
                name = None;
            }
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    None
}

/// The position behind the quote that closes the string at `at`.
fn string_end(text: &[u8], at: usize) -> usize {
    let mut end = at + 1;
    while end < text.len() && text[end] != b'"' {
        end += if text[end] == b'\\' { 2 } else { 1 };
    }
    (end + 1).min(text.len())
}

/// The keys of an envelope ("Event metadata", "event", "fields").
const ENVELOPE_KEYS: &[&str] =
    &["time", "host", "source", "sourcetype", "index", "event", "fields"];
/// Parameters of the raw endpoint.
const RAW_PARAMETERS: &[&str] = &["channel", "index", "sourcetype", "source", "host", "time"];
/// Nanoseconds since 1970 have 19 digits.
const TIME_DIGITS_MAX: usize = 19;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_decimal_seconds_without_an_exponent() {
        for text in ["1770368407", "1770368407.987654", "\"1770368407.5\"", "1770368407987"] {
            assert!(is_time(text.as_bytes()), "{text}");
        }
        for text in ["1.7e9", "-1", "", "\"soon\"", "1.", "1.1.1", "17703684079876543210"] {
            assert!(!is_time(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_member_is_cut_out_of_its_object() {
        let object = br#"{"event":{"time":1,"s":"}\","},"time" : 2.50 ,"list":[{"time":3}]}"#;
        assert_eq!(raw_member(object, "time"), Some(&b"2.50"[..]));
        assert_eq!(raw_member(object, "list"), Some(&b"[{\"time\":3}]"[..]));
        assert_eq!(raw_member(object, "s"), None);
    }
}
