//! A bulk body read only for its ids: what a fake does when it must not be the bottleneck.

use std::sync::Arc;

use super::Elastic;
use super::answer::{Filter, Outcome};
use crate::account::Tally;
use crate::fake::{Reply, Visit};
use crate::id::{self, EventId};
use crate::seed::Random;

/// Neighbouring items of one index.
struct Piece {
    items: usize,
    tally: Arc<Tally>,
    name: String,
}

impl Elastic {
    /// Reads ids and line ends; nothing when anything is out of the ordinary, so that the full
    /// judge decides.
    ///
    /// What is taken on trust here (documents are valid JSON) is judged on every n-th request.
    pub(super) fn skim(&self, visit: &Visit<'_>, filter: &Filter) -> Option<Reply> {
        if !filter.fields.is_uniform() && visit.plan.items.is_some() {
            return None;
        }
        let (ids, pieces) = self.scan(visit.body)?;
        let mut random = Random::new(visit.seed);
        let scripted = visit.plan.items.map(|(status, _)| Outcome::scripted(status));
        let fragment = |outcome: &Outcome| {
            let mut text = String::new();
            filter.fields.item("create", "", "", outcome, &mut text);
            text.push(',');
            text
        };
        let created = fragment(&Outcome::CREATED);
        let conflict = fragment(&Outcome::conflict("id"));
        let refusal = scripted.as_ref().map(fragment).unwrap_or_default();
        let mut text = String::with_capacity(ids.len() * created.len());
        let (mut due, mut numbers) = (Vec::with_capacity(ids.len()), Vec::with_capacity(ids.len()));
        let (mut conflicts, mut refused) = (0, 0);
        let mut rest = &ids[..];
        for piece in &pieces {
            let (items, after) = rest.split_at(piece.items);
            rest = after;
            for &id in items {
                if visit.plan.items.is_some_and(|(_, share)| random.chance(share)) {
                    refused += 1;
                    text.push_str(&refusal);
                } else if piece.tally.add(id.sequence).is_some_and(|times| times > 0) {
                    conflicts += 1;
                    text.push_str(&conflict);
                } else {
                    self.book.store(id);
                    due.push(id.scheduled_ns);
                    numbers.push(id.sequence);
                    text.push_str(&created);
                }
            }
        }
        text.pop();
        self.book.note_events(due.len() as u64, conflicts, refused);
        self.book.note_order(&numbers);
        let body = filter.fields.whole(1, conflicts + refused > 0, &text);
        Some(Reply { accepted: due, ..Reply::json(200, body) })
    }

    fn scan(&self, body: &[u8]) -> Option<(Vec<EventId>, Vec<Piece>)> {
        let mut ids = Vec::with_capacity(body.len() / 1_000 + 1);
        let mut pieces: Vec<Piece> = Vec::new();
        let mut prefix: &[u8] = b"";
        let mut rest = body;
        while !rest.is_empty() {
            let (line, after) = rest.split_at(memchr::memchr(b'\n', rest)?);
            let document = &after[1..];
            let end = memchr::memchr(b'\n', document)?;
            if !document[..end].starts_with(b"{\"") || !document[..end].ends_with(b"}") {
                return None;
            }
            rest = &document[end + 1..];
            // The same index again: the line differs in its id alone.
            if !prefix.is_empty() && line.starts_with(prefix) {
                pieces.last_mut()?.items += 1;
            } else {
                let (from, name) = prefix_of(line)?;
                prefix = &line[..from];
                pieces.push(Piece { items: 1, tally: self.book.index(&name), name });
            }
            let tail = &line[prefix.len()..];
            if tail.get(id::LEN..)? != b"\"}}" {
                return None;
            }
            let id = EventId::parse(&tail[..id::LEN])?;
            if !self.book.is_ours(id) {
                return None;
            }
            ids.push(id);
        }
        let plain = pieces.iter().all(|piece| super::name::fault(&piece.name).is_none());
        (plain && !ids.is_empty()).then_some((ids, pieces))
    }
}

/// Splits `{"create":{"_index":"name","_id":"` from the id behind it; the length and the name.
fn prefix_of(line: &[u8]) -> Option<(usize, String)> {
    let name = line.strip_prefix(b"{\"create\":{\"_index\":\"")?;
    let end = memchr::memchr(b'"', name)?;
    let after = &name[end..];
    let rest = after.strip_prefix(b"\",\"_id\":\"")?;
    let text = std::str::from_utf8(&name[..end]).ok()?;
    (!text.contains('\\')).then(|| (line.len() - rest.len(), text.to_owned()))
}
