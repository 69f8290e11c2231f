//! Looking at segments when the log is opened: where the frames end, what the index lacks.

use std::path::Path;
use std::sync::Arc;

use crate::event::Offset;

use super::STRIPE_BYTES;
use super::control::Found;
use super::error::LogError;
use super::frame::{
    HEADER_BYTES, Parsed, SEAL, Window, rest_header, starts_stripe, stripe_end, stripe_start,
};
use super::index::{self, State, Stripe};
use super::io::LogIo;
use super::layout::{MOVED, OPEN_STRIPE};
use super::open::{reopen, write_index};
use super::shared::{Segment, index_path};

/// What was found.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scan {
    /// How many of the segments hold frames.
    pub(crate) used: usize,
    /// Behind the last whole frame.
    pub(crate) end: Offset,
    /// The stripe that `end` lies in, as far as it goes.
    pub(crate) stripe: Stripe,
    /// The last segment was ended on purpose: nothing may be appended to it.
    pub(crate) sealed: bool,
    /// The last segment's file is shorter than it was made: nothing may be appended to it.
    pub(crate) is_cut: bool,
    /// More lies behind `end` that stood on what is lost there, and has to go.
    pub(crate) is_torn: bool,
    /// Bytes behind `end` that are not zero, up to the end of the stripe.
    pub(crate) torn_bytes: u64,
    /// Stripes whose index entry was made again.
    pub(crate) rebuilt: u64,
    /// Stripes with a frame that cannot be read.
    pub(crate) damaged: u64,
}

/// Finds the end of the log and fills the indexes.
///
/// Only what lies beyond `durable`, and stripes without an index entry, are read.
pub(crate) fn scan(
    dir: &Path,
    segments: &[Arc<Segment>],
    found: Option<&Found>,
    io: &dyn LogIo,
) -> Result<Scan, LogError> {
    let shown = found.map_or(Offset::ZERO, |found| found.written);
    let durable = found.map(|found| found.durable);
    for segment in segments.iter().filter(|segment| !segment.is_missing) {
        segment.mapping().map_err(LogError::io("map", &segment.path))?;
        load_index(dir, segment);
    }
    let holds_frames = |segment: &Arc<Segment>| {
        !segment.is_missing && (segment.base < shown || frames_from(segment, segment.base))
    };
    let used = segments.iter().rposition(holds_frames).map_or(0, |index| index + 1);
    let mut scan = Scan { used, ..Scan::default() };
    let mut index = 0;
    while index < scan.used {
        let segment = &segments[index];
        index += 1;
        if segment.is_missing {
            continue;
        }
        let is_last = index == used;
        let file_end = file_end(segment)?;
        scan.is_cut = is_last && file_end < segment.capacity_end();
        // The log ends where its last file does, whatever the index says of what was behind.
        let known = if scan.is_cut { stripe_start(file_end) } else { segment.capacity_end() };
        let part = Part { segment, durable: durable.map(|it| it.min(known)), is_last };
        let repairs = scan.part(part);
        if repairs.is_torn {
            let Some(anew) = (index..used).find(|&at| begins_anew(&segments[at - 1..=at])) else {
                // Whoever asked removes what lies behind, and only then says that it ends here.
                (scan.used, scan.is_torn) = (index, true);
                break;
            };
            // The last first: none of them may come back without the one before it.
            for segment in segments[index..anew].iter().rev().filter(|it| !it.is_missing) {
                segment.seal(segment.base);
                forget_from(segment, segment.base);
                let nothing = Repairs { seal: Some(segment.base), ..Repairs::default() };
                repair(dir, segment, &nothing, io)?;
            }
            index = anew;
        }
        if repairs.is_needed {
            repair(dir, segment, &repairs, io)?;
        }
    }
    Ok(scan)
}

/// Whether the second of two neighbours needs nothing of what lies before it and was not durable:
/// it begins after a power loss, or with all of that written again.
fn begins_anew(neighbours: &[Arc<Segment>]) -> bool {
    let [before, segment] = neighbours else { return false };
    if segment.is_missing {
        return false;
    }
    let window = window(segment);
    let has_moved = match Parsed::parse(window, segment.base) {
        Parsed::Filler { next } => match Parsed::parse(window, next) {
            Parsed::Note { start, len, .. } => &window.bytes[start..start + len] == MOVED,
            _ => false,
        },
        _ => false,
    };
    has_moved || (before.capacity_end() < segment.base && !before.is_missing)
}

/// Walks frames from a stripe's start until a stripe ends, or no frame can be read.
pub(crate) fn walk_stripe(window: Window<'_>, start: Offset) -> Walk {
    let mut stripe = OPEN_STRIPE;
    let mut at = start;
    while at == start || !starts_stripe(at) {
        let stop = match Parsed::parse(window, at) {
            Parsed::Record { frame, next, crc, .. } => {
                stripe.add(frame.received_ns, crc, next);
                at = next;
                continue;
            }
            Parsed::Note { next, .. } => {
                stripe.end = next;
                stripe.has_notes = true;
                at = next;
                continue;
            }
            Parsed::Filler { next } => {
                at = next;
                continue;
            }
            Parsed::Seal => Stop::Seal,
            Parsed::Bad => {
                // Nobody knows what stood behind it.
                stripe.has_notes = true;
                Stop::Bad
            }
        };
        return Walk { stripe, at, stop };
    }
    Walk { stripe, at, stop: Stop::StripeEnd }
}

/// How a walk over a stripe went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walk {
    /// What was found in it.
    pub(crate) stripe: Stripe,
    /// Where it stopped.
    pub(crate) at: Offset,
    /// Why.
    pub(crate) stop: Stop,
}

/// Why a walk over a stripe stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    StripeEnd,
    Seal,
    Bad,
}

/// One segment to look at.
#[derive(Clone, Copy)]
struct Part<'a> {
    segment: &'a Segment,
    /// Unknown without a control page.
    durable: Option<Offset>,
    is_last: bool,
}

/// What has to be written to make a segment whole.
#[derive(Default)]
struct Repairs {
    is_needed: bool,
    /// What was not durable is torn here, and more lies behind it.
    is_torn: bool,
    /// Where the segment ends, to be said by a seal.
    seal: Option<Offset>,
}

impl Scan {
    /// Looks at one segment, from its first stripe that is not known to be whole.
    fn part(&mut self, part: Part<'_>) -> Repairs {
        let Part { segment, durable, is_last } = part;
        let trusted = durable.unwrap_or(Offset::ZERO);
        let mut repairs = Repairs::default();
        let mut at = segment.base;
        while at < segment.capacity_end() {
            let known = segment.stripes.load(segment.stripe_index(at));
            let is_settled = stripe_end(at) <= trusted;
            if is_settled && known.state != State::Unknown {
                at = stripe_end(at);
                continue;
            }
            let walk = walk_stripe(window(segment), at);
            repairs.is_needed |= is_settled || !is_last;
            self.rebuilt += u64::from(is_settled && walk.stop != Stop::Bad);
            if walk.stop == Stop::StripeEnd {
                store(segment, at, walk);
                at = walk.at;
                continue;
            }
            let is_unwritten = !is_last
                && is_unwritten(segment, walk.at)
                && !frames_from(segment, stripe_end(walk.at));
            let is_rotten = walk.at < trusted && !is_unwritten;
            // Nobody knows what was durable: what can be read is kept.
            let goes_on = durable.is_none() && frames_from(segment, stripe_end(walk.at));
            if walk.stop == Stop::Bad && (is_rotten || goes_on) {
                self.damaged += 1;
                at = stripe_end(walk.at);
                continue;
            }
            store(segment, at, walk);
            forget_from(segment, stripe_end(walk.at));
            if !is_last {
                segment.seal(walk.at);
                repairs.seal = (walk.stop == Stop::Bad).then_some(walk.at);
                repairs.is_torn = walk.stop == Stop::Bad && durable.is_some_and(|it| it <= walk.at);
            }
            self.end_at(segment, at, walk);
            return repairs;
        }
        self.end = segment.capacity_end();
        self.stripe = OPEN_STRIPE;
        repairs
    }

    fn end_at(&mut self, segment: &Segment, start: Offset, walk: Walk) {
        self.end = walk.at;
        self.sealed = walk.stop == Stop::Seal;
        self.stripe = match stripe_start(walk.at) == start {
            true => walk.stripe,
            false => continued(walk.at),
        };
        let stripe = &window(segment).bytes
            [segment.position(walk.at)..segment.position(stripe_end(walk.at))];
        let torn = stripe.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        self.torn_bytes = if self.sealed { 0 } else { torn as u64 };
    }
}

/// Stores what a walk found, also for the stripes that a long record owns.
fn store(segment: &Segment, start: Offset, walk: Walk) {
    segment.stripes.store(segment.stripe_index(start), walk.stripe);
    let mut next = stripe_end(start);
    while next < walk.at {
        segment.stripes.store(segment.stripe_index(next), continued(walk.at));
        next = stripe_end(next);
    }
}

/// Entries of stripes behind the end must not count: their bytes were lost, the index was not.
fn forget_from(segment: &Segment, end: Offset) {
    for stripe in segment.stripe_index(end)..segment.stripes.len() {
        segment.stripes.store(stripe, Stripe::default());
    }
}

fn continued(end: Offset) -> Stripe {
    Stripe { state: State::Continued, end, ..Stripe::default() }
}

/// Whether some stripe of the segment, from `at` on, starts with a whole frame.
fn frames_from(segment: &Segment, at: Offset) -> bool {
    let mapping = segment.mapping().ok();
    mapping.inspect(|mapping| mapping.expect_single_pages());
    let starts = (at.bytes()..segment.capacity_end().bytes()).step_by(STRIPE_BYTES as usize);
    let found = starts.map(Offset::new).any(|at| Parsed::parse(window(segment), at) != Parsed::Bad);
    mapping.inspect(|mapping| mapping.expect_order());
    found
}

/// Where the segment's file ends, which may be before the segment does.
fn file_end(segment: &Segment) -> Result<Offset, LogError> {
    let found = std::fs::metadata(&segment.path).map_err(LogError::io("inspect", &segment.path))?;
    Ok(Offset::new(segment.base.bytes().saturating_add(found.len())))
}

/// Whether nothing was ever written at `at`.
fn is_unwritten(segment: &Segment, at: Offset) -> bool {
    let rest = &window(segment).bytes[segment.position(at)..];
    rest.iter().take(HEADER_BYTES).all(|&byte| byte == 0)
}

/// Ends the segment where it is to end, and writes its index.
fn repair(
    dir: &Path,
    segment: &Arc<Segment>,
    repairs: &Repairs,
    io: &dyn LogIo,
) -> Result<(), LogError> {
    let active = reopen(dir, Arc::clone(segment), io)?;
    let has_room = |at: &Offset| {
        stripe_end(*at).bytes() - at.bytes() >= HEADER_BYTES as u64 && *at < segment.capacity_end()
    };
    if let Some(at) = repairs.seal.filter(has_room) {
        let position = at.bytes() - segment.base.bytes();
        let write = io.write(&active.file, position, &rest_header(SEAL, at));
        write.map_err(LogError::io("write", &segment.path))?;
        io.sync(&active.file).map_err(LogError::io("sync", &segment.path))?;
    }
    write_index(&active, io)
}

fn load_index(dir: &Path, segment: &Segment) {
    let path = index_path(dir, segment.base);
    match index::load(&path, segment.base, &segment.stripes) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            // Not readable is as good as missing: it is made again.
            tracing::warn!(path = %path.display(), %error, "cannot read an index");
        }
        _ => {}
    }
}

/// The whole segment. It was mapped by `scan`.
fn window(segment: &Segment) -> Window<'_> {
    let bytes = segment.mapping().map_or(&[][..], super::segment::Mapping::bytes);
    Window { base: segment.base, bytes }
}
