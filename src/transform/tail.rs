//! The end of a buffer, where documents grow.
//!
//! `Vec::extend_from_slice` calls `memcpy` for a length that only the event knows. An event has
//! about 80 pieces of 2 to 70 bytes: the calls and their mispredicted branches took more than half
//! of the time of rendering. Here a short piece is copied in whole words, more than it has, and
//! only its length is counted (`benches/render.rs`: ECS 2.1 times, native 2.4 times as fast).

use std::ops::Range;

use crate::protobuf::varint;

/// The end of a buffer that grows.
///
/// Invariants, kept by every function here: `base` and `capacity` are those of `out`, `len` is at
/// most `capacity`, and the first `len` bytes are written. `out` learns its length when the tail
/// is dropped; until then it has the length it came with.
///
/// No function hands its own address on, so that a loop over a tail keeps it in registers.
#[derive(Debug)]
pub(super) struct Tail<'a> {
    out: &'a mut Vec<u8>,
    base: *mut u8,
    len: usize,
    capacity: usize,
}

impl<'a> Tail<'a> {
    /// The end of this buffer.
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        let (base, len, capacity) = (out.as_mut_ptr(), out.len(), out.capacity());
        Self { out, base, len, capacity }
    }

    /// Bytes written.
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// What was written from byte `from` on.
    #[inline(always)]
    pub(super) fn written(&self, from: usize) -> &[u8] {
        let from = from.min(self.len);
        // SAFETY: the first `len` bytes are written, and while this is borrowed nobody writes.
        unsafe { std::slice::from_raw_parts(self.base.wrapping_add(from), self.len - from) }
    }

    /// Takes back what was written from byte `len` on.
    #[inline(always)]
    pub(super) fn truncate(&mut self, len: usize) {
        debug_assert!(len <= self.len, "truncating takes back");
        self.len = self.len.min(len);
    }

    /// Appends the first `len` bytes of a window that may hold more.
    #[inline(always)]
    pub(super) fn window<const WIDTH: usize>(&mut self, window: &[u8; WIDTH], len: usize) {
        self.room(WIDTH);
        // SAFETY: `room` made the capacity at least `len + WIDTH`.
        unsafe { self.put(window, len) };
    }

    /// Appends three windows, as [`Self::window`] does, with one look at the room.
    #[inline(always)]
    pub(super) fn windows<const A: usize, const B: usize, const C: usize>(
        &mut self,
        (first, first_len): (&[u8; A], usize),
        (second, second_len): (&[u8; B], usize),
        (third, third_len): (&[u8; C], usize),
    ) {
        self.room(A + B + C);
        // SAFETY: `room` made the capacity at least `len + A + B + C`.
        unsafe { self.put(first, first_len) };
        // SAFETY: the first took `A` bytes at most.
        unsafe { self.put(second, second_len) };
        // SAFETY: the second took `B` bytes at most.
        unsafe { self.put(third, third_len) };
    }

    /// Appends the first `len` bytes of a window.
    ///
    /// # Safety
    /// The capacity must be at least `self.len + WIDTH`.
    #[inline(always)]
    unsafe fn put<const WIDTH: usize>(&mut self, window: &[u8; WIDTH], len: usize) {
        debug_assert!(len <= WIDTH, "a window holds its bytes");
        // SAFETY: `WIDTH` bytes behind `len` are inside the allocation, as the caller says; the
        // window is borrowed and cannot overlap it, as `out` is borrowed mutably.
        unsafe { self.end().cast::<[u8; WIDTH]>().write_unaligned(*window) };
        self.len += len.min(WIDTH);
    }

    /// Appends bytes.
    #[inline]
    pub(super) fn append(&mut self, bytes: &[u8]) {
        match bytes.len() {
            0 => {}
            1 => self.window(&[bytes[0]], 1),
            2..4 => self.pair::<2>(bytes),
            4..8 => self.pair::<4>(bytes),
            8..16 => self.pair::<8>(bytes),
            16..32 => self.pair::<16>(bytes),
            32..64 => self.pair::<32>(bytes),
            _ => self.long(bytes),
        }
    }

    /// Appends `WIDTH` to twice `WIDTH` bytes: the first and the last word, which may overlap.
    #[inline(always)]
    fn pair<const WIDTH: usize>(&mut self, bytes: &[u8]) {
        let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) else { return };
        self.window::<WIDTH>(first, bytes.len() - WIDTH);
        self.window::<WIDTH>(last, WIDTH);
    }

    /// Appends many bytes.
    #[inline(always)]
    pub(super) fn long(&mut self, bytes: &[u8]) {
        self.room(bytes.len());
        // SAFETY: `room` made the capacity at least `len` plus the bytes, and they are borrowed,
        // so they cannot overlap the allocation of `out`, which is borrowed mutably.
        unsafe { self.end().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        self.len += bytes.len();
    }

    /// Writes the length of all that stands behind the `room` bytes at `at` into them, as a varint;
    /// what stands there moves where that takes more bytes or fewer.
    #[inline(always)]
    pub(super) fn measure(&mut self, at: usize, room: usize) {
        let inside = self.len.saturating_sub(at + room);
        if room == 1 && inside < 0x80 && at < self.len {
            // SAFETY: byte `at` is one of the first `len`, which are written.
            return unsafe { self.base.wrapping_add(at).write(inside as u8) };
        }
        (self.base, self.len, self.capacity) = measured(self.out, self.len, at..at + room);
    }

    /// Where the next byte goes.
    #[inline(always)]
    fn end(&self) -> *mut u8 {
        self.base.wrapping_add(self.len)
    }

    /// Makes room for this many more bytes.
    #[inline(always)]
    fn room(&mut self, bytes: usize) {
        if self.capacity - self.len < bytes {
            (self.base, self.capacity) = grow(self.out, self.len, bytes);
        }
    }
}

impl Drop for Tail<'_> {
    fn drop(&mut self) {
        publish(self.out, self.len);
    }
}

/// Makes room in the buffer behind its first `len` bytes; where it lies then, and its capacity.
#[cold]
#[inline(never)]
fn grow(out: &mut Vec<u8>, len: usize, bytes: usize) -> (*mut u8, usize) {
    publish(out, len);
    out.reserve(bytes);
    (out.as_mut_ptr(), out.capacity())
}

/// Writes the length of what stands between `room` and `len` into `room`; where the buffer lies
/// then, its length and its capacity.
#[inline(never)]
fn measured(out: &mut Vec<u8>, len: usize, room: Range<usize>) -> (*mut u8, usize, usize) {
    publish(out, len);
    let (bytes, digits) = varint((len - room.end) as u64);
    if digits == room.len() {
        out[room].copy_from_slice(&bytes[..digits]);
    } else {
        out.splice(room, bytes[..digits].iter().copied());
    }
    (out.as_mut_ptr(), out.len(), out.capacity())
}

/// Tells the buffer its length.
fn publish(out: &mut Vec<u8>, len: usize) {
    debug_assert!(len <= out.capacity(), "a tail stays inside its buffer");
    // SAFETY: all callers pass the `len` of a tail, whose first `len` bytes are written and which
    // is at most the capacity, by the invariants of the type.
    unsafe { out.set_len(len) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_every_length_are_appended() {
        let source: Vec<u8> = (0..=255).cycle().take(300).collect();
        let mut out = b"before".to_vec();
        let mut expected = out.clone();
        let mut tail = Tail::new(&mut out);
        for len in 0..300 {
            tail.append(&source[300 - len..]);
            expected.extend_from_slice(&source[300 - len..]);
            tail.window::<32>(source[..32].try_into().expect("32 bytes"), len % 33);
            expected.extend_from_slice(&source[..len % 33]);
            let first: &[u8; 8] = source.first_chunk().expect("8 bytes");
            let second: &[u8; 64] = source.first_chunk().expect("64 bytes");
            tail.windows((first, len % 9), (second, len % 65), (b"\"},", len % 4));
            for piece in [&source[..len % 9], &source[..len % 65], &b"\"},"[..len % 4]] {
                expected.extend_from_slice(piece);
            }
        }
        assert_eq!(tail.len(), expected.len());
        drop(tail);
        assert_eq!(out, expected);
    }

    #[test]
    fn lengths_stand_before_what_they_measure() {
        for room in 1..=2 {
            for len in [0, 1, 127, 128, 16_383, 16_384, 40_000] {
                let mut out = b"before".to_vec();
                let mut tail = Tail::new(&mut out);
                tail.append(&[b'?'; 2][..room]);
                tail.append(&vec![b'x'; len]);
                tail.measure(6, room);
                tail.append(b"after");
                drop(tail);
                let (bytes, digits) = varint(len as u64);
                let inside = vec![b'x'; len];
                assert_eq!(out, [&b"before"[..], &bytes[..digits], &inside, b"after"].concat());
            }
        }
    }

    #[test]
    fn truncating_takes_back() {
        let mut out = Vec::new();
        let mut tail = Tail::new(&mut out);
        tail.append(b"kept, dropped");
        tail.truncate(4);
        tail.append(b"!");
        drop(tail);
        assert_eq!(out, b"kept!");
    }
}
