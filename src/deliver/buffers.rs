//! Reused memory: bodies, item lists and compressors go round instead of being made anew.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::Encoding;
use super::batch::Item;
use super::compress::Compressor;

/// A pool of the memory that batches are made of; clones share it.
///
/// One per lane. It is locked a few times per batch, never per event, and the lock is contended
/// only when a body is dropped on another thread.
#[derive(Clone, Debug, Default)]
pub struct Buffers(Arc<Mutex<Pool>>);

#[derive(Default)]
struct Pool {
    bodies: Vec<Vec<u8>>,
    items: Vec<Vec<Item>>,
    compressors: Vec<Compressor>,
}

impl Buffers {
    /// An empty pool.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty buffer, with whatever room its last use left it.
    #[must_use]
    pub fn take(&self) -> Vec<u8> {
        self.with(|pool| pool.bodies.pop()).unwrap_or_default()
    }

    /// Takes a buffer back for the next use.
    pub fn give(&self, mut bytes: Vec<u8>) {
        if bytes.capacity() == 0 || bytes.capacity() > BODY_KEPT_MAX {
            return;
        }
        bytes.clear();
        self.with(|pool| {
            let kept: usize = pool.bodies.iter().map(Vec::capacity).sum();
            if pool.bodies.len() < BODIES_MAX && kept + bytes.capacity() <= BODY_KEPT_MAX {
                pool.bodies.push(bytes);
            }
        });
    }

    /// Shares a buffer as a body; it comes back here when the last reader lets go.
    #[must_use]
    pub fn lend(&self, bytes: Vec<u8>) -> Bytes {
        Bytes::from_owner(Lent { bytes, pool: self.clone() })
    }

    pub(super) fn take_items(&self) -> Vec<Item> {
        self.with(|pool| pool.items.pop()).unwrap_or_default()
    }

    pub(super) fn give_items(&self, mut items: Vec<Item>) {
        if items.capacity() == 0 || items.capacity() > ITEMS_KEPT_MAX {
            return;
        }
        items.clear();
        self.with(|pool| {
            if pool.items.len() < BODIES_MAX {
                pool.items.push(items);
            }
        });
    }

    /// A compressor at the start of a stream; `None` where the body goes as it is.
    pub(super) fn take_compressor(&self, encoding: Encoding, level: u32) -> Option<Compressor> {
        let kept = self.with(|pool| {
            let at = pool.compressors.iter().position(|kept| kept.is(encoding, level))?;
            Some(pool.compressors.swap_remove(at))
        });
        kept.or_else(|| Compressor::new(encoding, level))
    }

    /// Takes back a compressor that has finished its stream.
    pub(super) fn give_compressor(&self, compressor: Compressor) {
        self.with(|pool| {
            let kept: usize = pool.compressors.iter().map(Compressor::memory).sum();
            let has_room = kept + compressor.memory() <= COMPRESSORS_KEPT_MAX;
            // One is always of use: the next body needs it.
            if pool.compressors.is_empty() || (has_room && pool.compressors.len() < COMPRESSORS_MAX)
            {
                pool.compressors.push(compressor);
            }
        });
    }

    fn with<T>(&self, use_it: impl FnOnce(&mut Pool) -> T) -> T {
        // A pool of empty buffers has no invariant that a panic elsewhere could break.
        use_it(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("bodies", &self.bodies.len())
            .field("items", &self.items.len())
            .field("compressors", &self.compressors.len())
            .finish()
    }
}

/// A body on loan: its buffer returns to the pool when the last `Bytes` over it is dropped.
struct Lent {
    bytes: Vec<u8>,
    pool: Buffers,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.pool.give(std::mem::take(&mut self.bytes));
    }
}

/// Buffers kept per pool: more than a lane has bodies in flight at once.
const BODIES_MAX: usize = 16;

/// Bytes kept per pool: what a lane has in flight at once with bodies of 1 MB; beyond it the
/// allocator has them. What is kept comes on top of the budget of bytes in flight.
const BODY_KEPT_MAX: usize = 8 << 20;

/// A longer item list is not kept; 32 bytes each.
const ITEMS_KEPT_MAX: usize = 1 << 15;

/// Compressors kept per pool; most are about 300 KiB.
const COMPRESSORS_MAX: usize = 8;

/// Their memory: those of zstd's high levels are tens of megabytes each.
const COMPRESSORS_KEPT_MAX: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_returns_to_the_pool_when_its_last_reader_lets_go() {
        let buffers = Buffers::new();
        let mut bytes = buffers.take();
        bytes.extend_from_slice(b"body");
        let memory = bytes.as_ptr();
        let body = buffers.lend(bytes);
        let clone = body.clone();
        drop(body);
        assert!(buffers.take().capacity() == 0, "still read by the clone");
        assert_eq!(&clone[..], b"body");
        drop(clone);
        let again = buffers.take();
        assert_eq!(again.as_ptr(), memory);
        assert!(again.is_empty());
    }

    #[test]
    fn of_giant_compressors_one_is_kept() {
        let kept = |level: u32| {
            let buffers = Buffers::new();
            let take = |_| buffers.take_compressor(Encoding::Zstd, level).expect("it compresses");
            let taken: Vec<_> = (0..4).map(take).collect();
            for mut compressor in taken {
                let mut out = Vec::new();
                compressor.write(b"x", 0, &mut out);
                buffers.give_compressor(compressor.finish(&mut out));
            }
            buffers.with(|pool| pool.compressors.len())
        };
        assert_eq!((kept(1), kept(19)), (4, 1));
    }

    #[test]
    fn a_giant_buffer_is_not_kept() {
        let buffers = Buffers::new();
        buffers.give(Vec::with_capacity(BODY_KEPT_MAX + 1));
        assert_eq!(buffers.take().capacity(), 0);
    }
}
