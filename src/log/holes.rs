//! Segments whose files are gone, though nobody took them: they stay in the list, so that what they
//! held is counted as far as their indexes are left, and readers are told of the rest.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use crate::event::Offset;

use super::STRIPE_BYTES;
use super::frame::{HEAD_BYTES, Head, Window};
use super::index;
use super::scan::{Stop, walk_stripe};
use super::shared::{Name, Segment, index_path, indexes};

/// Puts what is missing between segments, which are ascending, into its places. A power loss may
/// have taken the head of one that begins at `durable` or above.
pub(crate) fn fill(dir: &Path, segments: Vec<Arc<Segment>>, durable: Offset) -> Vec<Arc<Segment>> {
    let mut filled: Vec<Arc<Segment>> = Vec::with_capacity(segments.len());
    for segment in segments {
        if let Some(before) = filled.last().cloned()
            && before.capacity_end() < segment.base
        {
            filled.extend(missing(dir, (&before, &segment), durable));
        }
        filled.push(segment);
    }
    filled
}

/// The segments that were between two that do not touch; usually none was: after a power loss a log
/// goes on above everything that was reserved.
fn missing(
    dir: &Path,
    (before, after): (&Segment, &Segment),
    durable: Offset,
) -> Vec<Arc<Segment>> {
    let (from, to) = (before.capacity_end(), after.base);
    // What cannot be listed says nothing of what was there.
    let mut bases = indexes(dir).unwrap_or_default();
    bases.retain(|base| (from..to).contains(base));
    let is_missing = match head(after).map(|head| head.before) {
        Some(known) if known > Offset::ZERO => known != from,
        _ => after.base < durable && (!bases.is_empty() || is_filled(before)),
    };
    if !is_missing {
        return Vec::new();
    }
    if bases.first() != Some(&from) {
        bases.insert(0, from);
    }
    let ends = bases.iter().skip(1).copied().chain([to]);
    let names = bases.iter().zip(ends);
    names.map(|(&base, end)| gone(dir, Name { base, bytes: end.bytes() - base.bytes() })).collect()
}

fn gone(dir: &Path, name: Name) -> Arc<Segment> {
    let segment = Segment::missing(dir, name);
    // Without its index nobody knows how many there were.
    let _unknown = index::load(&index_path(dir, name.base), name.base, &segment.stripes);
    Arc::new(segment)
}

fn head(segment: &Segment) -> Option<Head> {
    let mut bytes = [0; HEAD_BYTES];
    File::open(&segment.path).ok()?.read_exact_at(&mut bytes, 0).ok()?;
    Head::read(&bytes, segment.base)
}

/// Whether frames fill a segment to its end, so that the next one began there. Heads of earlier
/// builds do not say where the segment before them ends.
fn is_filled(segment: &Segment) -> bool {
    let Ok(mapping) = segment.mapping() else { return false };
    let last = Offset::new(segment.capacity_end().bytes() - STRIPE_BYTES);
    let window = Window { base: segment.base, bytes: mapping.bytes() };
    walk_stripe(window, last).stop == Stop::StripeEnd
}
