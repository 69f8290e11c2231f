//! What an exporter settled, held against the events that the log has there.

use crate::event::{Checkpoint, Span};
use crate::log::Reader;

/// How many events of the log a checkpoint says are settled, as the log itself counts them: as many
/// as its counts say. `None` where retention has taken some of them.
#[must_use]
pub fn settled_in_log(checkpoint: &Checkpoint, reader: &Reader) -> Option<u64> {
    let Checkpoint { start, base, tally, ahead, .. } = checkpoint;
    let count = |from, to| reader.count(Span { from, to }).unwrap_or(0);
    let counted_to = tally.to.max(*start);
    let below = match counted_to <= *base {
        true => tally.events + count(counted_to, *base),
        false => tally.events.saturating_sub(count(*base, counted_to)),
    };
    let in_log = below + ahead.iter().map(|span| count(span.from, span.to)).sum::<u64>();
    // Looked at last: what is there now was there while it was counted.
    let is_gone = counted_to < reader.oldest() || (counted_to > *base && *base < reader.oldest());
    (!is_gone).then_some(in_log)
}
