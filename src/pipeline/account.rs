//! What an exporter settled, held against the events that the log has there.

use crate::event::{Checkpoint, Offset, Span, Tally};
use crate::log::{Read, Reader, STRIPE_BYTES};

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

/// A checkpoint that says itself how many events it covers, where damage has taken some of them
/// that no index counts, or the log itself was lost: they were settled, and stay in the account.
pub(super) fn with_what_is_gone(checkpoint: Checkpoint, reader: &Reader) -> Checkpoint {
    let Checkpoint { start, base, tally, .. } = checkpoint;
    let (settled, counted_to) = (checkpoint.counts.total(), tally.to.max(start));
    let is_short = settled_in_log(&checkpoint, reader).is_none_or(|in_log| in_log < settled);
    // Where nothing is damaged, something was settled twice: that must show.
    if !is_short || counted_to > base || !is_damaged(Span { from: counted_to, to: base }, reader) {
        return checkpoint;
    }
    let ahead = checkpoint.ahead.iter();
    let ahead: u64 = ahead.map(|span| reader.count(*span).unwrap_or(0)).sum();
    let tally = Tally { to: base, events: settled.saturating_sub(ahead) };
    Checkpoint { tally, ..checkpoint }
}

/// Whether records of a span cannot be read, or were there and are not.
fn is_damaged(span: Span, reader: &Reader) -> bool {
    // Retention takes nothing that is not counted, and a cursor stands behind a record.
    if span.from < span.to && !reader.holds(Offset::new(span.to.bytes() - 1)) {
        return true;
    }
    let (mut reader, mut at) = (reader.clone(), span.from);
    loop {
        match reader.read(at, span.to, STRIPE_BYTES as usize) {
            Ok(Read::Block(block)) => at = block.span().to,
            // The same offset is answered so once.
            Ok(Read::Cold(_)) => {}
            Ok(Read::Damaged { .. }) => return true,
            Ok(Read::End | Read::Gone { .. }) | Err(_) => return false,
        }
    }
}
