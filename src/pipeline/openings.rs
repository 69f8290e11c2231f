//! How records are opened, which a reload may change.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::event::Opening;

/// The opening that workers use; they look at the number once per block, and take the lock only
/// where it has changed.
#[derive(Debug)]
pub(crate) struct Openings {
    current: Mutex<Arc<Opening>>,
    number: AtomicU64,
}

impl Openings {
    /// The first one.
    pub(crate) fn new(opening: Opening) -> Self {
        Self { current: Mutex::new(Arc::new(opening)), number: AtomicU64::new(0) }
    }

    /// Another one, for every block that is opened from now on.
    pub(crate) fn set(&self, opening: Opening) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(opening);
        self.number.fetch_add(1, Ordering::Release);
    }

    /// Which one it is.
    pub(crate) fn number(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }

    /// The current one.
    pub(crate) fn load(&self) -> Arc<Opening> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
