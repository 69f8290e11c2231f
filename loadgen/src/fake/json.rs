//! JSON read as strictly as the vendors' parsers do.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A JSON value; objects keep their order and refuse a key that occurs twice.
///
/// Elasticsearch's parser detects duplicate keys always, and numbers keep only what the judges
/// need.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl Node {
    /// Reads one whole value; in words what is wrong with it.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(text).map_err(|error| error.to_string())
    }

    /// A member of an object.
    pub(super) fn member(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => {
                members.iter().find(|(name, _)| name == key).map(|(_, node)| node)
            }
            _ => None,
        }
    }

    /// A member under nested or dotted keys.
    pub(super) fn at(&self, path: &str) -> Option<&Self> {
        if let Some(node) = self.member(path) {
            return Some(node);
        }
        path.match_indices('.').find_map(|(dot, _)| self.member(&path[..dot])?.at(&path[dot + 1..]))
    }

    /// The text of a string.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What kind of token it starts with, in the words of Elasticsearch's parser.
    pub(super) const fn token(&self) -> &'static str {
        match self {
            Self::Null => "VALUE_NULL",
            Self::Bool(_) => "VALUE_BOOLEAN",
            Self::Number(_) => "VALUE_NUMBER",
            Self::Text(_) => "VALUE_STRING",
            Self::List(_) => "START_ARRAY",
            Self::Object(_) => "START_OBJECT",
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(Strict)
    }
}

struct Strict;

impl<'de> Visitor<'de> for Strict {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value without duplicate keys")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value as f64))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value as f64))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Number(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Node, E> {
        Ok(Node::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element()? {
            nodes.push(node);
        }
        Ok(Node::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Node, A::Error> {
        let mut members: Vec<(String, Node)> = Vec::new();
        let mut seen = HashSet::new();
        while let Some((key, node)) = object.next_entry::<String, Node>()? {
            if !seen.insert(key.clone()) {
                return Err(A::Error::custom(format_args!("Duplicate field '{key}'")));
            }
            members.push((key, node));
        }
        Ok(Node::Object(members))
    }
}

/// Writes text as a JSON string with its quotes.
pub(super) fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duplicate_key_is_refused_at_any_depth() {
        for text in ["{\"a\":1,\"a\":2}", "{\"x\":[{\"a\":1,\"\\u0061\":2}]}"] {
            let error = Node::parse(text.as_bytes()).expect_err(text);
            assert!(error.contains("Duplicate field 'a'"), "{error}");
        }
    }

    #[test]
    fn a_member_is_found_under_nested_and_dotted_keys() {
        let node = Node::parse(b"{\"a\":{\"b.c\":{\"d\":\"x\"}}}").expect("valid");
        assert_eq!(node.at("a.b.c.d").and_then(Node::text), Some("x"));
        assert_eq!(node.at("a.b"), None);
    }
}
