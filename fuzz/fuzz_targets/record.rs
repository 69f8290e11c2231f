//! Frames from a disk that lies: parsing never panics, never looks outside, always goes on.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shrike::event::Offset;
use shrike::log::{Parsed, STRIPE_BYTES, Window, laid};

fuzz_target!(|input: (u32, u64, Vec<u8>, Vec<u8>)| {
    let (at, received_ns, hostile, record) = input;
    walk(Offset::new(u64::from(at)), &hostile);

    // What was written comes back, wherever it lies, and one flipped bit is seen.
    let at = Offset::new(u64::from(at) / 8 * 8 + (u64::from(at) << 20));
    let mut bytes = laid(at, received_ns, &record);
    let window = Window { base: at, bytes: &bytes };
    let room = STRIPE_BYTES - at.bytes() % STRIPE_BYTES;
    let fits = bytes.len() as u64 <= room || at.bytes().is_multiple_of(STRIPE_BYTES);
    match Parsed::parse(window, at) {
        Parsed::Record { frame, start, len, next, .. } => {
            assert!(fits);
            assert_eq!(&bytes[start..start + len], record);
            assert_eq!((frame.offset, frame.received_ns), (at, received_ns));
            assert_eq!(next.bytes() - at.bytes(), bytes.len() as u64);
        }
        // No header fits, so nothing is ever laid there.
        Parsed::Filler { next } => assert!(room < 24 && next.bytes() == at.bytes() + room),
        other => assert!(!fits, "{other:?}"),
    }
    let covered = 24 + record.len();
    let bit = received_ns as usize % (covered * 8);
    bytes[bit / 8] ^= 1 << (bit % 8);
    let damaged = Parsed::parse(Window { base: at, bytes: &bytes }, at);
    assert!(!matches!(damaged, Parsed::Record { .. }), "a flipped bit passed");
    walk(at, &bytes);
});

/// Walks as readers do: each step goes on, inside the window.
fn walk(base: Offset, bytes: &[u8]) {
    let window = Window { base, bytes };
    let end = base.bytes() + bytes.len() as u64;
    let mut at = base;
    while at.bytes() < end {
        let next = match Parsed::parse(window, at) {
            Parsed::Record { start, len, next, .. } | Parsed::Note { start, len, next } => {
                assert!(start + len <= bytes.len());
                next
            }
            Parsed::Filler { next } => next,
            Parsed::Seal | Parsed::Bad => return,
        };
        assert!(next > at);
        at = next;
    }
}
