//! Tags: lower case, a letter first, few characters, at most a hundred.

use std::ops::Range;

use crate::deliver::{Problem, problem};
use crate::event::{Event, FieldId as F};
use crate::transform::{Encoder, json};

/// What the event's own tags are made from.
pub(super) const FIELDS: &[F] = &[
    F::EventType,
    F::Guard,
    F::Severity,
    F::Outcome,
    F::Allowed,
    F::SessionEnvironment,
    F::SessionTenantId,
    F::ResourceType,
    F::Labels,
];

/// The operator's tags as Datadog keeps them, each once.
pub(super) fn configured(tags: &[&str], key: &str) -> Result<Vec<String>, Problem> {
    if tags.len() > CONFIGURED_MAX {
        return Err(problem(key, "has more than 50 tags; a log has at most 100, labels included"));
    }
    let mut cleaned: Vec<String> = Vec::with_capacity(tags.len());
    for tag in tags {
        let name = tag.trim_start_matches(|c: char| !c.is_ascii_alphabetic());
        let tag: String = name.chars().filter_map(clean).take(CHARACTERS_MAX).collect();
        if tag.is_empty() {
            return Err(problem(key, format!("{tags:?} has a tag without a letter")));
        }
        if !cleaned.contains(&tag) {
            cleaned.push(tag);
        }
    }
    Ok(cleaned)
}

/// The event's tags behind those of the operator, which stand in the text already.
struct Tags {
    operators: Range<usize>,
    is_first: bool,
}

impl Tags {
    /// None of the event's is written yet.
    fn behind(encoder: &Encoder<'_>) -> Self {
        let end = encoder.end();
        // No tag has a quotation mark: the last one begins this text.
        let start = memchr::memrchr(b'"', encoder.written(0)).map_or(0, |at| at + 1);
        Self { operators: start..end, is_first: true }
    }

    /// Adds a tag, unless the operator gave the same.
    fn add(&mut self, encoder: &mut Encoder<'_>, write: impl FnOnce(&mut Encoder<'_>)) {
        let before = encoder.end();
        if !self.is_first {
            encoder.literal(b",");
        }
        let start = encoder.end();
        write(encoder);
        let operators = &encoder.written(self.operators.start)[..self.operators.len()];
        let tag = encoder.written(start);
        match operators.split(|&byte| byte == b',').any(|one| one == tag) {
            true => encoder.take_back(before),
            false => self.is_first = false,
        }
    }
}

/// Writes the event's tags, comma-separated.
pub(super) fn of_event(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    let mut tags = Tags::behind(encoder);
    for &(name, field) in OWN {
        let text = event.text(field);
        if !text.is_empty() {
            tags.add(encoder, |encoder| {
                encoder.raw(name);
                write(encoder, text, CHARACTERS_MAX - name.len());
            });
        }
    }
    let labels = event.value(F::Labels).map_or(&b""[..], |labels| labels.json);
    let mut said = Said::default();
    for (name, value) in json::members(labels) {
        let value = json::string(value).unwrap_or_default();
        if said.count == LABELS_MAX {
            break;
        }
        if !begins(name) || is_own(name, value, event) || said.has(name, value, labels) {
            continue;
        }
        said.note(name, value, labels);
        tags.add(encoder, |encoder| {
            let left = write(encoder, from_letter(name), CHARACTERS_MAX - 1);
            encoder.literal(b":");
            write(encoder, value, left);
        });
    }
    true
}

/// Writes cleaned text of at most so many characters; says how many are left.
fn write(encoder: &mut Encoder<'_>, text: &[u8], characters: usize) -> usize {
    if text.len() <= characters && text.iter().all(|&byte| PLAIN[usize::from(byte)]) {
        encoder.characters(text);
        return characters - text.len();
    }
    let mut left = characters;
    for c in json::characters(text).filter_map(clean).take(characters) {
        encoder.char(c);
        left -= 1;
    }
    left
}

/// Whether a tag's name has a letter to begin with.
fn begins(name: &[u8]) -> bool {
    from_letter(name).first().is_some_and(u8::is_ascii_alphabetic)
}

fn from_letter(name: &[u8]) -> &[u8] {
    let start = name.iter().position(u8::is_ascii_alphabetic).unwrap_or(name.len());
    &name[start..]
}

/// Whether it is one of the event's own tags.
fn is_own(name: &[u8], value: &[u8], event: &Event<'_>) -> bool {
    let own = |&(own, field): &(&[u8], F)| {
        same(&own[..own.len() - 1], from_letter(name)) && same(event.text(field), value)
    };
    OWN.iter().any(own)
}

/// The labels that are written, by where their names and texts begin and how long they are: what
/// was left out before is not looked at again.
struct Said {
    places: [[u32; 4]; LABELS_MAX],
    count: usize,
}

impl Default for Said {
    fn default() -> Self {
        Self { places: [[0; 4]; LABELS_MAX], count: 0 }
    }
}

impl Said {
    /// Whether the same tag is written already.
    fn has(&self, name: &[u8], value: &[u8], labels: &[u8]) -> bool {
        let piece = |start, len| labels.get(start as usize..)?.get(..len as usize);
        let is_it = |&[name_at, name_len, value_at, value_len]: &[u32; 4]| {
            let (said, text) = (piece(name_at, name_len), piece(value_at, value_len));
            same(from_letter(said.unwrap_or_default()), from_letter(name))
                && same(text.unwrap_or_default(), value)
        };
        self.places[..self.count].iter().any(is_it)
    }

    fn note(&mut self, name: &[u8], value: &[u8], labels: &[u8]) {
        let start = |piece: &[u8]| (piece.as_ptr().addr() - labels.as_ptr().addr()) as u32;
        let value_at = if value.is_empty() { 0 } else { start(value) };
        self.places[self.count] = [start(name), name.len() as u32, value_at, value.len() as u32];
        self.count += 1;
    }
}

/// Whether two texts are the same once they are cleaned.
fn same(a: &[u8], b: &[u8]) -> bool {
    json::characters(a).filter_map(clean).eq(json::characters(b).filter_map(clean))
}

/// "Allowed a-z 0-9 _ - : . /, others become _, commas removed."
fn clean(c: char) -> Option<char> {
    match c.to_ascii_lowercase() {
        ',' => None,
        c @ ('a'..='z' | '0'..='9' | '_' | '-' | ':' | '.' | '/') => Some(c),
        _ => Some('_'),
    }
}

/// The event's own tags.
const OWN: &[(&[u8], F)] = &[
    (b"event_type:", F::EventType),
    (b"guard:", F::Guard),
    (b"severity:", F::Severity),
    (b"outcome:", F::Outcome),
    (b"allowed:", F::Allowed),
    (b"env:", F::SessionEnvironment),
    (b"tenant:", F::SessionTenantId),
    (b"resource_type:", F::ResourceType),
];

/// Bytes that stand in a tag as they are.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        plain[byte] =
            matches!(byte as u8, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b':' | b'.' | b'/');
        byte += 1;
    }
    plain
};

/// Characters of a tag.
const CHARACTERS_MAX: usize = 200;
/// Of the hundred tags of a log: the operator's.
const CONFIGURED_MAX: usize = 50;
/// And labels; eight are the event's own, one tells its age.
const LABELS_MAX: usize = 40;
