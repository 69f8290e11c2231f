//! Dialects: how the records of other producers are told apart and become events.

use super::tail::Mode;
use crate::event::{Class, Entry};

/// One kind of foreign record. Dialects are tables: a file names the keys and the mapping.
///
/// Canonical events need no entry: a record is opened first, and dialects are asked only when it is
/// none.
#[derive(Debug)]
pub struct Dialect {
    /// The id, as `metadata.shrike.format` writes it.
    pub name: &'static str,
    /// The keys at the top that a record of this dialect has, and what they hold.
    pub keys: &'static [(&'static str, Kind)],
    /// How its producers write their files.
    pub mode: Mode,
    /// Writes the events of a record: canonical JSON with `metadata.shrike` as the last member of
    /// the metadata. It fails with the class of the refusal.
    pub map: fn(&Source<'_>, &mut Mapped) -> Result<(), Class>,
}

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anything.
    Any,
    /// A string.
    Text,
    /// An object.
    Object,
}

/// A foreign record.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The line without its ending, well-formed JSON; of a record that is one of several in a line,
    /// what tells it from the others.
    pub line: &'a [u8],
    /// Its members.
    pub members: &'a [Entry<'a>],
    /// When it was received, nanoseconds since 1970.
    pub received_ns: u64,
    /// The name of this machine.
    pub host: &'a str,
    /// Whether a tenant is configured: it wins over one that only follows from the record.
    pub has_tenant: bool,
    /// What the record came in, as the name and the members of an object in `metadata.shrike`; none
    /// where it came by itself.
    pub wrapped: Option<(&'static str, &'a [u8])>,
}

/// The events that a record becomes; one record may hold many.
#[derive(Debug, Default)]
pub struct Mapped {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// Parts of the record that are no events, with the class of the refusal.
    refused: Vec<(Class, Vec<u8>)>,
    refused_bytes: usize,
}

/// Names of members, as far as their length and first letter tell: a set that has each name of
/// another has all its bits.
#[derive(Clone, Copy, Debug)]
struct Names(u64);

impl Names {
    fn of<'n>(names: impl Iterator<Item = &'n [u8]>) -> Self {
        let bit = |name: &[u8]| {
            let first = name.first().copied().unwrap_or_default();
            1 << ((name.len() * 5 + usize::from(first)) % 64)
        };
        Self(names.fold(0, |bits, name| bits | bit(name)))
    }
}

impl Dialect {
    /// The first of these dialects, of those that are asked, that a record with these members is
    /// of.
    #[must_use]
    pub fn of<'d>(
        dialects: &[&'d Self],
        members: &[Entry<'_>],
        is_asked: impl Fn(&Self) -> bool,
    ) -> Option<&'d Self> {
        let has = match members.iter().any(|member| member.escaped) {
            // Whatever they are.
            true => Names(u64::MAX),
            false => Names::of(members.iter().map(|member| member.key)),
        };
        let may_be = |dialect: &Self| {
            let wants = Names::of(dialect.keys.iter().map(|(key, _)| key.as_bytes()));
            wants.0 & !has.0 == 0
        };
        dialects.iter().copied().find(|it| may_be(it) && is_asked(it) && it.matches(members))
    }

    /// Whether a record with these members is of this dialect.
    #[must_use]
    pub fn matches(&self, members: &[Entry<'_>]) -> bool {
        self.keys.iter().all(|&(key, kind)| {
            let last = members.iter().rev().find(|member| member.is(key.as_bytes()));
            last.and_then(|member| member.value.first()).is_some_and(|first| match kind {
                Kind::Any => true,
                Kind::Text => *first == b'"',
                Kind::Object => *first == b'{',
            })
        })
    }
}

impl Mapped {
    /// Appends one event, which `write` writes.
    pub fn event(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    /// Refuses a part of a record that holds many; its neighbours are events all the same.
    pub fn refuse(&mut self, class: Class, part: &[u8]) {
        self.refused_bytes += part.len();
        self.refused.push((class, part.to_vec()));
    }

    /// The parts that are no events.
    pub fn refused(&self) -> impl Iterator<Item = (Class, &[u8])> {
        self.refused.iter().map(|(class, part)| (*class, part.as_slice()))
    }

    /// Whether the record became one event as a whole.
    #[must_use]
    pub fn is_one(&self) -> bool {
        self.ends.len() == 1 && self.refused.is_empty()
    }

    /// Bytes of the events and of the refused parts so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len() + self.refused_bytes
    }

    /// The events in order.
    pub fn events(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.bytes[start..end])
    }

    /// Forgets everything, keeping the room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.refused.clear();
        self.refused_bytes = 0;
    }
}
