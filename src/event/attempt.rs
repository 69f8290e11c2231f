//! What becomes of a defect that one event meets.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs what reads a record or an event and writes to a buffer; `None` where it panicked.
///
/// Input can never reach a panic; where it does all the same, it is one event that did, and it
/// must not harm its neighbours. The panic hook has told of it. Nothing but the buffer may be left
/// half done.
#[inline]
pub fn attempt<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}
