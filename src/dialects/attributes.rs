//! Attributes of OpenTelemetry: a list of keys and typed values.

use std::collections::HashMap;

use super::draft::{member, string};
use super::rules::{find, last_of_each};
use crate::event::{Entry, elements, entries};

/// Attributes in the order of the source.
pub(super) struct Attributes<'a> {
    /// The list as it was.
    raw: &'a [u8],
    /// Keys without quotes, and values with their types, as `{"stringValue": "..."}`.
    rows: Vec<(&'a [u8], Option<&'a [u8]>)>,
    /// What is beside keys and values, as elements of a list, each with a comma behind it.
    others: Vec<u8>,
}

impl<'a> Attributes<'a> {
    /// Reads a list; an absent one has no rows.
    pub(super) fn read(list: Option<&'a [u8]>) -> Self {
        let raw = list.unwrap_or_default();
        let elements = elements(raw);
        let mut rows = Vec::with_capacity(elements.len());
        let mut others = Vec::new();
        for element in &elements {
            let members = entries(element);
            let Some(key) = find(&members, "key").and_then(string) else {
                others.extend_from_slice(element);
                others.push(b',');
                continue;
            };
            let value = find(&members, "value").filter(|json| *json != b"null");
            rows.push((key, value));
            if members.len() > 1 + usize::from(value.is_some()) {
                put_others(&members, &mut others);
            }
        }
        Self { raw, rows, others }
    }

    /// A text, as JSON with its quotes.
    pub(super) fn text(&self, name: &str) -> Option<&'a [u8]> {
        let value = entries(self.value(name)?);
        find(&value, "stringValue").filter(|json| string(json).is_some())
    }

    /// A text, a truth value or a number, without quotes.
    pub(super) fn word(&self, name: &str) -> Option<&'a [u8]> {
        let value = entries(self.value(name)?);
        let json = value.first()?.value;
        Some(string(json).unwrap_or(json))
    }

    /// Writes them as a member: an object by key, in which rules of privacy find what they name. Of
    /// a key that comes twice it holds a list of all values, and null where there is none.
    pub(super) fn write(&self, name: &str, members: &mut Vec<u8>) {
        if !self.raw.is_empty() && self.raw.first() != Some(&b'[') {
            member(name.as_bytes(), self.raw, members);
        } else if !self.rows.is_empty() {
            let mut object = Vec::with_capacity(self.raw.len());
            for (key, values) in self.by_key() {
                match values.as_slice() {
                    [value] => member(key, value, &mut object),
                    values => member(key, &list(&values.join(&b","[..])), &mut object),
                }
            }
            member(name.as_bytes(), &[b"{", object.as_slice(), b"}"].concat(), members);
        }
    }

    /// What no such object can hold, as a list: elements without a key, and members that are
    /// neither key nor value.
    pub(super) fn others(&self) -> Option<Vec<u8>> {
        self.others.strip_suffix(b",").map(list)
    }

    /// The keys in the order of the source, each once, with their values.
    fn by_key(&self) -> Vec<(&'a [u8], Vec<&'a [u8]>)> {
        let mut places = HashMap::with_capacity(self.rows.len());
        let mut keys: Vec<(&[u8], Vec<&[u8]>)> = Vec::with_capacity(self.rows.len());
        for (key, value) in &self.rows {
            let at = *places.entry(*key).or_insert(keys.len());
            if at == keys.len() {
                keys.push((key, Vec::with_capacity(1)));
            }
            keys[at].1.push(value.unwrap_or(b"null"));
        }
        keys
    }

    /// The list without those whose keys begin so; nothing where none is left.
    pub(super) fn but(&self, prefix: &str) -> Option<Vec<u8>> {
        let is_other = |element: &&[u8]| {
            let key = find(&entries(element), "key").and_then(string);
            !key.is_some_and(|key| key.starts_with(prefix.as_bytes()))
        };
        let others: Vec<&[u8]> = elements(self.raw).into_iter().filter(is_other).collect();
        (!others.is_empty()).then(|| list(&others.join(&b","[..])))
    }

    fn value(&self, name: &str) -> Option<&'a [u8]> {
        let mut rows = self.rows.iter().rev();
        let (_, value) = rows.find(|(key, _)| *key == name.as_bytes())?;
        value.filter(|json| json.first() == Some(&b'{'))
    }
}

/// Appends what a row holds beside its value, with its key.
fn put_others(members: &[Entry<'_>], out: &mut Vec<u8>) {
    let mut object = Vec::new();
    for entry in last_of_each(members).filter(|entry| !entry.is(b"value")) {
        member(entry.key, entry.value, &mut object);
    }
    if last_of_each(members).any(|entry| !entry.is(b"value") && !entry.is(b"key")) {
        out.extend_from_slice(&[b"{", object.as_slice(), b"},"].concat());
    }
}

/// A list of what stands between its brackets.
fn list(elements: &[u8]) -> Vec<u8> {
    [b"[", elements, b"]"].concat()
}
