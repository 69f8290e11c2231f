//! Where many events lie, in a fraction of the memory that their items take.

use super::batch::Item;
use crate::event::{Offset, Span};
use crate::protobuf::{put_varint, take_varint};

/// Items, written one after the other by what each adds to the one before.
///
/// Where their bytes lay in a body is left out: it is gone.
#[derive(Debug, Default)]
pub struct PackedItems {
    bytes: Vec<u8>,
    events: u32,
    /// Where the last one ends, and when it was received.
    last: (u64, u64),
}

impl PackedItems {
    /// These items and no room for more.
    #[must_use]
    pub fn of(items: &[Item]) -> Self {
        let mut packed = Self::default();
        packed.bytes.reserve(items.len() * USUAL_BYTES);
        items.iter().for_each(|item| packed.push(item));
        packed.bytes.shrink_to_fit();
        packed
    }

    /// Adds one.
    pub fn push(&mut self, item: &Item) {
        let (at, received) = self.last;
        let (from, to) = (item.span.from.bytes(), item.span.to.bytes());
        for number in [
            // An event set aside may come behind later ones, and the clock may be set back.
            zigzag(from.wrapping_sub(at)),
            to.wrapping_sub(from),
            zigzag(item.received_ns.wrapping_sub(received)),
            item.bytes() as u64,
        ] {
            put_varint(number, &mut self.bytes);
        }
        self.last = (to, item.received_ns);
        self.events = self.events.checked_add(1).expect("a body has fewer than 4 GiB");
    }

    /// How many there are.
    #[must_use]
    pub fn events(&self) -> u64 {
        u64::from(self.events)
    }

    /// Where the last one ends.
    #[must_use]
    pub fn end(&self) -> Offset {
        Offset::new(self.last.0)
    }

    /// The memory that they take.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.bytes.capacity() as u64
    }

    /// The items; their byte ranges say only how long they were.
    pub fn iter(&self) -> impl Iterator<Item = Item> {
        let mut packed = self.bytes.as_slice();
        let (mut at, mut received_ns) = (0_u64, 0_u64);
        std::iter::from_fn(move || {
            let from = at.wrapping_add(unzigzag(take_varint(&mut packed)?));
            at = from.wrapping_add(take_varint(&mut packed)?);
            received_ns = received_ns.wrapping_add(unzigzag(take_varint(&mut packed)?));
            let end = u32::try_from(take_varint(&mut packed)?).ok()?;
            let start = 0;
            let span = Span { from: Offset::new(from), to: Offset::new(at) };
            Some(Item { span, received_ns, start, end })
        })
    }
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
            let found: Vec<Item> = PackedItems::of(items).iter().collect();
            let told = |it: &Item| (it.span, it.received_ns, it.bytes());
            assert!(found.iter().map(told).eq(items.iter().map(told)), "{items:?}: {found:?}");
        }
    }

    #[test]
    fn usual_items_take_a_fraction() {
        let one = |at: u64| item(at * 1_000, (at + 1) * 1_000, at * 1_000, 1_500);
        let items: Vec<Item> = (1_000_000..1_001_000).map(one).collect();
        assert!((PackedItems::of(&items).memory() as usize) < items.len() * size_of::<Item>() / 4);
    }

    #[test]
    fn small_differences_are_small_numbers() {
        for (difference, number) in [(0, 0), (-1, 1), (1, 2), (-2, 3), (i64::MIN, u64::MAX)] {
            assert_eq!(zigzag(i64::cast_unsigned(difference)), number);
            assert_eq!(unzigzag(number), i64::cast_unsigned(difference));
        }
    }
}
