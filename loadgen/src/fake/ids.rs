//! Ids of ours, found in a body without reading it as JSON.

use crate::account::Book;
use crate::id::{self, EventId};

/// The first id of ours in a text, wherever it stands.
pub(super) fn first(text: &[u8]) -> Option<EventId> {
    memchr::memmem::find_iter(text, &id::MARK_TEXT).find_map(|at| {
        let start = at.checked_sub(id::MARK_AT)?;
        EventId::parse(text.get(start..start + id::LEN)?)
    })
}

/// Every id of ours; nothing when there is anything else, so that the full judge decides.
///
/// An id that stands twice in one document counts once: its neighbour is itself.
pub(super) fn skim(book: &Book, body: &[u8]) -> Option<Vec<EventId>> {
    let mut ids: Vec<EventId> = Vec::with_capacity(body.len() / 1_000 + 1);
    for at in memchr::memmem::find_iter(body, &id::MARK_TEXT) {
        let start = at.wrapping_sub(id::MARK_AT);
        let Some(id) = body.get(start..start + id::LEN).and_then(EventId::parse) else {
            continue;
        };
        if !book.is_ours(id) {
            return None;
        }
        if ids.last() != Some(&id) {
            ids.push(id);
        }
    }
    (!ids.is_empty()).then_some(ids)
}

/// What one request stored.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// When its events were due.
    pub(super) due: Vec<u64>,
    numbers: Vec<u64>,
    events: u64,
}

impl Taken {
    /// Stores an event of ours.
    pub(super) fn store(&mut self, book: &Book, id: EventId) {
        book.store(id);
        self.due.push(id.scheduled_ns);
        self.numbers.push(id.sequence);
        self.events += 1;
    }

    /// Stores whatever a document holds: an event of ours, else one by a name of its own.
    pub(super) fn store_text(&mut self, book: &Book, document: &[u8], place: &str, name: &str) {
        match first(document) {
            Some(id) => self.store(book, id),
            None => {
                book.store_foreign(place, name);
                self.events += 1;
            }
        }
    }

    /// Counts an event that has no id of any kind.
    pub(super) fn store_nameless(&mut self) {
        self.events += 1;
    }

    /// Books the request.
    pub(super) fn note(&self, book: &Book) {
        book.note_events(self.events, 0, 0);
        book.note_order(&self.numbers);
    }
}
