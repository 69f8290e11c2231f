//! Compares what receipts say was settled with the events that the log has there.

use std::collections::BTreeMap;

use shrike::event::{Offset, Span};
use shrike::log::Reader;
use shrike::pipeline::Receipt;

/// The pieces of the log that each exporter has settled since it last resumed.
pub(super) struct Settlements {
    reader: Reader,
    running: BTreeMap<String, Settled>,
    /// What was found in the log, by exporter and pass: a crash has events settled again.
    found: BTreeMap<(String, u32), Vec<Span>>,
    wrong: Vec<String>,
}

/// What one exporter has settled in a row: each event once.
#[derive(Default)]
struct Settled {
    pass: u32,
    /// The receipts that say so.
    first: u64,
    last: u64,
    /// Sorted and joined from time to time.
    pieces: Vec<Span>,
    /// Bytes of the pieces, each counted as often as it was named.
    bytes: u64,
    /// Events, as the receipts count them.
    events: u64,
    /// So many pieces are joined next.
    join_at: usize,
}

impl Settlements {
    /// Compares with this log.
    pub(super) fn new(reader: Reader) -> Self {
        Self { reader, running: BTreeMap::new(), found: BTreeMap::new(), wrong: Vec::new() }
    }

    /// The log.
    pub(super) fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Takes in a receipt.
    pub(super) fn take(&mut self, receipt: &Receipt) {
        let name = &receipt.exporter;
        let has_moved = self.running.get(name).is_some_and(|it| it.pass != receipt.pass);
        if receipt.kind == "resume" || has_moved {
            // What a crash took back is settled again: only what follows is in a row.
            self.compare(name);
        }
        if !matches!(receipt.kind.as_str(), "batch" | "settled") {
            return;
        }
        let pieces = receipt.settled();
        if pieces.iter().any(|piece| piece.from < self.reader.oldest()) {
            // The log has not all of them any more.
            return;
        }
        let settled = self.running.entry(name.clone()).or_default();
        if settled.first == 0 {
            (settled.first, settled.pass) = (receipt.n, receipt.pass);
        }
        settled.last = receipt.n;
        settled.events += receipt.counts().total();
        settled.bytes += pieces.iter().map(|piece| piece.bytes()).sum::<u64>();
        settled.pieces.extend(pieces);
        if settled.pieces.len() >= settled.join_at {
            settled.join();
        }
    }

    /// Compares what is left; how many events were found, and what is wrong.
    pub(super) fn end(mut self) -> (u64, Vec<String>) {
        let names: Vec<String> = self.running.keys().cloned().collect();
        names.iter().for_each(|name| self.compare(name));
        // What retention took meanwhile is not counted.
        let counted = self.found.values().flatten().filter_map(|it| self.reader.count(*it).ok());
        (counted.sum(), self.wrong)
    }

    fn compare(&mut self, name: &str) {
        let Some(mut settled) = self.running.remove(name) else { return };
        settled.join();
        let Settled { pass, first, last, pieces, bytes, events, .. } = settled;
        let joined: u64 = pieces.iter().map(|piece| piece.bytes()).sum();
        if joined != bytes {
            self.wrong
                .push(format!("receipts {first} to {last}: {name} settles some events twice"));
            return;
        }
        let counted: Result<u64, _> = pieces.iter().map(|piece| self.reader.count(*piece)).sum();
        // What retention took meanwhile can be compared with nothing.
        let is_there = pieces.first().is_none_or(|piece| piece.from >= self.reader.oldest());
        match counted {
            Ok(counted) if is_there && counted != events => self.wrong.push(format!(
                "receipts {first} to {last}: {name} settles {events} events where the log has \
                 {counted}"
            )),
            Ok(_) if is_there => {
                let found = self.found.entry((name.to_owned(), pass)).or_default();
                found.extend(pieces);
                join(found);
            }
            _ => {}
        }
    }
}

impl Settled {
    /// Makes one piece of those that touch each other.
    fn join(&mut self) {
        join(&mut self.pieces);
        self.join_at = PIECES_MAX.max(2 * self.pieces.len());
    }
}

/// Sorts pieces and makes one of those that touch each other.
fn join(pieces: &mut Vec<Span>) {
    pieces.sort_unstable();
    pieces.dedup_by(|next, last| {
        let touches = next.from <= last.to;
        if touches {
            last.to = Offset::max(last.to, next.to);
        }
        touches
    });
}

/// Pieces that are kept before they are joined: a megabyte.
const PIECES_MAX: usize = 1 << 16;
