//! Batches that were accepted and wait until that is confirmed, in a fraction of their memory.
//!
//! At 900,000 events a second, confirmed after two seconds, two million events wait. As items they
//! would take 64 MB, more than all that may be under way; packed they take about a fifth.

use std::collections::BTreeMap;

use super::batch::{Batch, Item};
use super::delivery::BatchId;
use crate::event::{Offset, Span};
use crate::protobuf::{put_varint, take_varint};

/// The batches of a lane that wait for their confirmation.
#[derive(Debug, Default)]
pub(super) struct Awaiting {
    batches: BTreeMap<BatchId, Packed>,
    events: u64,
}

/// A batch without its body, its items written one after the other.
#[derive(Debug)]
struct Packed {
    batch: Batch,
    items: Box<[u8]>,
    events: u32,
}

impl Awaiting {
    /// Keeps a batch; its body is let go of.
    pub(super) fn insert(&mut self, id: BatchId, mut batch: Batch) {
        batch.drop_body();
        let items = pack(&batch.items);
        let events = u32::try_from(batch.events()).expect("a body has fewer than 4 GiB");
        self.events += u64::from(events);
        batch.put_items_away(items.len() as u64);
        let before = self.batches.insert(id, Packed { batch, items, events });
        debug_assert!(before.is_none(), "ids are given once");
    }

    /// Gives a batch back as it was, but for its body.
    pub(super) fn remove(&mut self, id: BatchId) -> Option<Batch> {
        let Packed { mut batch, items, events } = self.batches.remove(&id)?;
        self.events -= u64::from(events);
        batch.take_items_back(unpack(&items));
        debug_assert_eq!(batch.events(), events as usize, "all that was packed comes back");
        Some(batch)
    }

    /// The first of those that wait.
    pub(super) fn oldest(&self) -> Option<BatchId> {
        self.batches.keys().next().copied()
    }

    /// How many batches wait.
    pub(super) fn len(&self) -> usize {
        self.batches.len()
    }

    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// How many events wait.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// The route of each batch.
    pub(super) fn routes(&self) -> impl Iterator<Item = u32> {
        self.batches.values().map(|packed| packed.batch.route())
    }
}

/// Writes items by what each adds to the one before; where their bytes lay in the body is left out,
/// since the body is gone.
fn pack(items: &[Item]) -> Box<[u8]> {
    let mut out = Vec::with_capacity(items.len() * USUAL_BYTES);
    let (mut at, mut received) = (0, 0);
    for item in items {
        let (from, to) = (item.span.from.bytes(), item.span.to.bytes());
        for number in [
            // An event set aside may come behind later ones, and the clock may be set back.
            zigzag(from.wrapping_sub(at)),
            to.wrapping_sub(from),
            zigzag(item.received_ns.wrapping_sub(received)),
            item.bytes() as u64,
        ] {
            put_varint(number, &mut out);
        }
        (at, received) = (to, item.received_ns);
    }
    out.into_boxed_slice()
}

/// Reads what [`pack`] wrote.
fn unpack(mut packed: &[u8]) -> impl Iterator<Item = Item> {
    let (mut at, mut received_ns, mut end) = (0_u64, 0_u64, 0_u32);
    std::iter::from_fn(move || {
        let from = at.wrapping_add(unzigzag(take_varint(&mut packed)?));
        at = from.wrapping_add(take_varint(&mut packed)?);
        received_ns = received_ns.wrapping_add(unzigzag(take_varint(&mut packed)?));
        let bytes = u32::try_from(take_varint(&mut packed)?).ok()?;
        let start = end;
        end = start.checked_add(bytes)?;
        let span = Span { from: Offset::new(from), to: Offset::new(at) };
        Some(Item { span, received_ns, start, end })
    })
}

/// A difference, so that small ones are small numbers, whatever their sign (protobuf.dev, Encoding,
/// Signed Integers).
const fn zigzag(difference: u64) -> u64 {
    difference << 1 ^ ((difference.cast_signed() >> 63).cast_unsigned())
}

const fn unzigzag(number: u64) -> u64 {
    number >> 1 ^ (number & 1).wrapping_neg()
}

/// Bytes that most items take.
const USUAL_BYTES: usize = 9;

#[cfg(test)]
mod tests {
    use super::*;

    fn item(from: u64, to: u64, received_ns: u64, bytes: u32) -> Item {
        let span = Span { from: Offset::new(from), to: Offset::new(to) };
        Item { span, received_ns, start: 0, end: bytes }
    }

    #[test]
    fn what_was_packed_comes_back() {
        let cases: [&[Item]; 4] = [
            &[],
            &[item(64, 1_064, 1_770_368_400_000_000_000, 900)],
            // A gap, another that lies before it, a clock that was set back.
            &[item(0, 64, 50, 10), item(128, 256, 40, 0), item(64, 128, u64::MAX, 1 << 20)],
            &[item(u64::MAX - 64, u64::MAX, 0, 1), item(0, u64::MAX, u64::MAX, u32::MAX - 1)],
        ];
        for items in cases {
            let found: Vec<Item> = unpack(&pack(items)).collect();
            let told = |it: &Item| (it.span, it.received_ns, it.bytes());
            assert!(found.iter().map(told).eq(items.iter().map(told)), "{items:?}: {found:?}");
        }
    }

    #[test]
    fn usual_items_take_a_fraction() {
        let one = |at: u64| item(at * 1_000, (at + 1) * 1_000, at * 1_000, 1_500);
        let items: Vec<Item> = (1_000_000..1_001_000).map(one).collect();
        assert!(pack(&items).len() < items.len() * size_of::<Item>() / 4);
    }

    #[test]
    fn small_differences_are_small_numbers() {
        for (difference, number) in [(0, 0), (-1, 1), (1, 2), (-2, 3), (i64::MIN, u64::MAX)] {
            assert_eq!(zigzag(i64::cast_unsigned(difference)), number);
            assert_eq!(unzigzag(number), i64::cast_unsigned(difference));
        }
    }
}
