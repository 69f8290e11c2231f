//! Attributes of OpenTelemetry: a list of keys and typed values.

use super::draft::{member, string};
use super::rules::find;
use crate::event::{elements, entries};

/// Attributes in the order of the source.
pub(super) struct Attributes<'a> {
    /// The list as it was.
    raw: &'a [u8],
    /// Keys without quotes, and values with their types, as `{"stringValue": "..."}`.
    rows: Vec<(&'a [u8], &'a [u8])>,
    /// Whether each is a row, and no key comes twice.
    is_plain: bool,
}

impl<'a> Attributes<'a> {
    /// Reads a list; an absent one has no rows.
    pub(super) fn read(list: Option<&'a [u8]>) -> Self {
        let raw = list.unwrap_or_default();
        let elements = elements(raw);
        let mut rows = Vec::with_capacity(elements.len());
        let mut is_plain = raw.is_empty() || raw.first() == Some(&b'[');
        for element in &elements {
            let members = entries(element);
            let key = find(&members, "key").and_then(string);
            match (key, find(&members, "value")) {
                (Some(key), Some(value)) if members.len() == 2 => rows.push((key, value)),
                _ => is_plain = false,
            }
        }
        let mut keys: Vec<&[u8]> = rows.iter().map(|row| row.0).collect();
        keys.sort_unstable();
        is_plain &= keys.windows(2).all(|pair| pair[0] != pair[1]);
        Self { raw, rows, is_plain }
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

    /// Writes them as a member: an object by key, or the list where it cannot be one.
    pub(super) fn write(&self, name: &str, members: &mut Vec<u8>) {
        if !self.is_plain {
            member(name.as_bytes(), self.raw, members);
        } else if !self.rows.is_empty() {
            let mut object = Vec::with_capacity(self.raw.len());
            for (key, value) in &self.rows {
                member(key, value, &mut object);
            }
            member(name.as_bytes(), &[b"{", object.as_slice(), b"}"].concat(), members);
        }
    }

    /// The list without those whose keys begin so; nothing where none is left.
    pub(super) fn but(&self, prefix: &str) -> Option<Vec<u8>> {
        let is_other = |element: &&[u8]| {
            let key = find(&entries(element), "key").and_then(string);
            !key.is_some_and(|key| key.starts_with(prefix.as_bytes()))
        };
        let others: Vec<&[u8]> = elements(self.raw).into_iter().filter(is_other).collect();
        (!others.is_empty()).then(|| [b"[", others.join(&b","[..]).as_slice(), b"]"].concat())
    }

    fn value(&self, name: &str) -> Option<&'a [u8]> {
        let mut rows = self.rows.iter().rev();
        let row = rows.find(|(key, _)| *key == name.as_bytes())?;
        (row.1.first() == Some(&b'{')).then_some(row.1)
    }
}
