//! Reads the log from one offset to another, on a thread that may wait for the disk.

use shrike::event::{Offset, Span};
use shrike::log::{RawBlock, Read, Reader};

use super::{Failure, failed};

/// Something met on the way.
pub(crate) enum Met<'a> {
    /// Records.
    Block(&'a RawBlock),
    /// A piece that cannot be read, and the events inside where the index knows.
    Damaged(Span, Option<u64>),
    /// A piece that retention took meanwhile.
    Gone(Span),
}

/// Whether to go on.
pub(crate) enum Then {
    /// To the next block.
    On,
    /// No further.
    Stop,
}

/// Visits everything between two offsets, in order.
pub(crate) fn walk(
    reader: &mut Reader,
    span: Span,
    mut visit: impl FnMut(Met<'_>) -> Result<Then, Failure>,
) -> Result<(), Failure> {
    let mut at = span.from;
    while at < span.to {
        let (met_to, then) = match reader.read(at, span.to, BLOCK_BYTES).map_err(failed)? {
            Read::Block(block) => (block.span().to, visit(Met::Block(&block))?),
            // The second read takes what it gets, and waits for it here.
            Read::Cold(_) => (at, Then::On),
            Read::End => return Ok(()),
            Read::Gone { oldest } => {
                (oldest, visit(Met::Gone(Span { from: at, to: oldest.min(span.to) }))?)
            }
            Read::Damaged { span, events } => (span.to, visit(Met::Damaged(span, events))?),
        };
        if let Then::Stop = then {
            return Ok(());
        }
        at = met_to;
    }
    Ok(())
}

/// The last record before an offset, if one lies within a few stripes.
pub(crate) fn last(reader: &mut Reader, end: Offset) -> Result<Option<u64>, Failure> {
    let stripe = shrike::log::STRIPE_BYTES;
    let mut from = end.bytes().saturating_sub(1) / stripe * stripe;
    for _ in 0..STRIPES_BACK {
        let mut received = None;
        let start = Offset::new(from).max(reader.oldest());
        walk(reader, Span { from: start, to: end }, |met| {
            if let Met::Block(block) = met {
                received = block.records().last().map(|it| it.frame.received_ns).or(received);
            }
            Ok(Then::On)
        })?;
        if received.is_some() || from == 0 {
            return Ok(received);
        }
        from = from.saturating_sub(stripe);
    }
    Ok(None)
}

/// Bytes read at once.
const BLOCK_BYTES: usize = 1 << 20;
/// Stripes without a record that are passed over in search of the last one: an event of 64 MiB,
/// the largest, owns as many.
const STRIPES_BACK: usize = 66;
