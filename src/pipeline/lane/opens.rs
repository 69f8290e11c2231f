//! Batches under construction: one per route, or one per set of headers where requests differ in
//! them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::stop::Stage;
use crate::deliver::{Batch, BatchSettings, Heads, Packing};
use crate::event::Offset;

/// The batches that a lane fills, by slot.
///
/// A route whose headers do not follow from events has the slot of its number; the others share the
/// slots behind those.
#[derive(Debug)]
pub(super) struct Opens {
    slots: Vec<Option<Open>>,
    routes: usize,
    places: HashMap<Box<[u8]>, usize>,
    free: Vec<usize>,
    partitions_max: usize,
    uses: u64,
    /// The slot that was pushed into last, which most events go on with.
    last: usize,
}

/// A batch under construction.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) batch: Batch,
    pub(super) since: Instant,
    /// Where the log ended when its first event came that should not linger.
    pub(super) hurries_to: Option<Offset>,
    /// Empty for a route without headers of its own.
    key: Box<[u8]>,
    used: u64,
}

/// What a lane knows when it asks which of its batches are to close.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) now: Instant,
    pub(super) stage: Stage,
    /// Nothing is left to read.
    pub(super) is_dry: bool,
    /// What is read next, where it reads a stripe.
    pub(super) at: Option<Offset>,
    /// It has read its stripe, and there is no other for it yet.
    pub(super) is_between: bool,
    /// A request could go out.
    pub(super) is_hungry: bool,
    /// One more could wait.
    pub(super) has_room: bool,
}

impl Open {
    /// Whether its time has come.
    ///
    /// One rule gives small batches when idle and full ones under load: a batch closes when a
    /// request could go out and it has lingered. While all slots are busy, it grows.
    pub(super) fn is_due(&self, settings: &BatchSettings, look: &Look) -> bool {
        let age = look.now.saturating_duration_since(self.since);
        // A severe event skips the linger. It never cuts a batch that still grows by what was there
        // before it was read; what has come since would be no end of it under load.
        let is_read = |to| look.is_dry || look.at.is_none_or(|at| at >= to);
        let is_hurried = self.hurries_to.is_some_and(is_read);
        let is_last = look.stage >= Stage::Drain && look.is_dry;
        // It grows no more before another stripe is the lane's, and that may be several away.
        let is_left = look.is_between && settings.linger <= SHORT;
        let has_lingered = age >= settings.linger || is_hurried || is_last || is_left;
        let is_overdue = settings.interval.is_some_and(|interval| age >= interval);
        has_lingered && look.is_hungry || is_overdue && look.has_room || look.stage == Stage::Flush
    }
}

/// Which batch an event goes into: its route, and the headers of its request.
#[derive(Debug, Default)]
pub(super) struct Target {
    pub(super) route: usize,
    /// The route's number and the headers as they were rendered; empty where none follow from
    /// events.
    key: Vec<u8>,
    /// The hour that the headers are of, where nothing else is in them.
    hour: Option<Hour>,
}

/// The beginning of a time as events spell it: `2026-02-06T09`.
pub(super) type Hour = [u8; 13];

impl Target {
    /// Points at a route; `render` appends the headers of an event where there are any. Where all
    /// events of an hour have the same, those of the last event may do.
    pub(super) fn aim(
        &mut self,
        route: usize,
        hour: Option<Hour>,
        render: Option<impl FnOnce(&mut Vec<u8>)>,
    ) {
        if hour.is_some() && (route, hour) == (self.route, self.hour) {
            return;
        }
        (self.route, self.hour) = (route, hour);
        self.key.clear();
        if let Some(render) = render {
            let number = u32::try_from(route).expect("routes are counted in config lines");
            self.key.extend_from_slice(&number.to_le_bytes());
            render(&mut self.key);
        }
    }

    /// The headers of an event as they were rendered.
    pub(super) fn heads(&self) -> &[u8] {
        self.key.get(ROUTE_BYTES..).unwrap_or_default()
    }

    /// How batches are made for it: as those of the route, with its own headers.
    pub(super) fn packing(&self, packing: &Arc<Packing>) -> Arc<Packing> {
        match self.key.get(ROUTE_BYTES..) {
            None => Arc::clone(packing),
            Some(heads) => {
                Arc::new(Packing { heads: Heads::parse(heads), ..Packing::clone(packing) })
            }
        }
    }
}

impl Opens {
    /// No batch for so many routes; at most so many with headers of their own at once.
    pub(super) fn new(routes: usize, partitions_max: usize) -> Self {
        Self {
            slots: (0..routes).map(|_| None).collect(),
            routes,
            places: HashMap::new(),
            free: Vec::new(),
            partitions_max: partitions_max.max(1),
            uses: 0,
            last: 0,
        }
    }

    /// The slot of the target's batch, if one is open.
    pub(super) fn find(&self, target: &Target) -> Option<usize> {
        match target.key.is_empty() {
            true => self.slots[target.route].is_some().then_some(target.route),
            false => match self.slots.get(self.last) {
                Some(Some(open)) if *open.key == *target.key => Some(self.last),
                _ => self.places.get(target.key.as_slice()).copied(),
            },
        }
    }

    /// Whether a batch may be opened for the target, or is open.
    pub(super) fn has_room(&self, target: &Target) -> bool {
        target.key.is_empty()
            || self.places.len() < self.partitions_max
            || self.find(target).is_some()
    }

    /// Puts an empty batch where the target says; there is room.
    pub(super) fn insert(&mut self, target: &Target, batch: Batch, now: Instant) -> usize {
        let slot = match (target.key.is_empty(), self.free.pop()) {
            (true, free) => {
                self.free.extend(free);
                target.route
            }
            (false, Some(slot)) => slot,
            (false, None) => {
                self.slots.push(None);
                self.slots.len() - 1
            }
        };
        let key: Box<[u8]> = target.key.as_slice().into();
        if !key.is_empty() {
            self.places.insert(key.clone(), slot);
        }
        debug_assert!(self.slots[slot].is_none(), "a batch was forgotten");
        self.slots[slot] = Some(Open { batch, since: now, hurries_to: None, key, used: self.uses });
        slot
    }

    /// The batch in a slot, for pushing.
    pub(super) fn batch(&mut self, slot: usize) -> Option<&mut Batch> {
        self.uses += 1;
        let open = self.slots.get_mut(slot)?.as_mut()?;
        open.used = self.uses;
        self.last = slot;
        Some(&mut open.batch)
    }

    /// Takes a batch out.
    pub(super) fn take(&mut self, slot: usize) -> Option<Batch> {
        let open = self.slots.get_mut(slot)?.take()?;
        if slot >= self.routes {
            self.places.remove(&open.key);
            self.free.push(slot);
        }
        Some(open.batch)
    }

    /// The slot with headers of its own that was pushed into longest ago.
    pub(super) fn least_used(&self) -> Option<usize> {
        let partitions = self.places.values().copied();
        partitions.min_by_key(|&slot| self.slots[slot].as_ref().map_or(0, |open| open.used))
    }

    /// The slot of the oldest batch that fits.
    pub(super) fn oldest(&self, fits: impl Fn(&Open) -> bool) -> Option<usize> {
        let open =
            self.slots.iter().enumerate().filter_map(|(at, open)| Some((at, open.as_ref()?)));
        open.filter(|(_, open)| fits(open)).min_by_key(|(_, open)| open.since).map(|(at, _)| at)
    }

    /// The batch in a slot.
    pub(super) fn batch_of(&self, slot: usize) -> Option<&Batch> {
        self.slots.get(slot)?.as_ref().map(|open| &open.batch)
    }

    /// The slot of the batch whose first event stands first in the log, of those that fit.
    pub(super) fn first(&self, fits: impl Fn(&Batch) -> bool) -> Option<usize> {
        let begin = |batch: &Batch| batch.items().first().map(|item| item.span.from);
        let fitting = (0..).zip(&self.slots).filter_map(|(slot, open)| {
            let batch = &open.as_ref()?.batch;
            fits(batch).then_some((slot, begin(batch)))
        });
        fitting.min_by_key(|&(_, begin)| begin).map(|(slot, _)| slot)
    }

    /// Every batch.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Open> {
        self.slots.iter().flatten()
    }

    /// Notes where the log ends for those that have an event that should not linger.
    pub(super) fn hurry(&mut self, head: Offset) {
        for open in self.slots.iter_mut().flatten().filter(|open| open.batch.is_urgent()) {
            open.hurries_to.get_or_insert(head);
        }
    }

    /// Every batch, for compressing.
    pub(super) fn batches(&mut self) -> impl Iterator<Item = &mut Batch> {
        self.slots.iter_mut().flatten().map(|open| &mut open.batch)
    }

    /// Whether there is no batch.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.iter().all(Option::is_none)
    }
}

/// Bytes of the route's number before the headers.
const ROUTE_BYTES: usize = 4;

/// Who lingers no longer than this wants it for the size of requests, not at any price; derived
/// lingers are as long at most.
const SHORT: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::{Allowance, Budget, Buffers, Encoding, Limits, Pushed, Shape};
    use crate::event::{Severity, Span};

    fn target(route: usize, heads: &[u8]) -> Target {
        let mut target = Target::default();
        let render = |out: &mut Vec<u8>| out.extend_from_slice(heads);
        target.aim(route, None, (!heads.is_empty()).then_some(render));
        target
    }

    #[test]
    fn headers_of_an_hour_are_rendered_once() {
        let mut target = Target::default();
        let mut aim = |route: usize, hour: Option<&Hour>, heads: &'static [u8]| {
            let render = |out: &mut Vec<u8>| out.extend_from_slice(heads);
            target.aim(route, hour.copied(), Some(render));
            target.heads().to_vec()
        };
        let (nine, ten) = (b"2026-02-06T09", b"2026-02-06T10");
        assert_eq!(aim(0, Some(nine), b"a"), b"a");
        assert_eq!(aim(0, Some(nine), b"b"), b"a", "of the same hour");
        assert_eq!(aim(0, Some(ten), b"c"), b"c");
        assert_eq!(aim(1, Some(ten), b"d"), b"d", "of another route");
        assert_eq!(aim(1, None, b"e"), b"e", "of any event");
        assert_eq!(aim(1, None, b"f"), b"f");
        assert_eq!(aim(1, Some(ten), b"g"), b"g");
    }

    struct Desk {
        packing: Arc<Packing>,
        allowance: Arc<Allowance>,
    }

    impl Desk {
        fn new() -> Self {
            let packing = Packing {
                framing: &Shape::BASE.framing,
                limits: Limits { events: 10, body_bytes: 1000, event_bytes: 100 },
                body_bytes: 1000,
                encoding: Encoding::Identity,
                level: 1,
                flush_on: Some(Severity::High),
                heads: Heads::default(),
                head: None,
                keeps_ids: false,
            };
            let allowance = Budget::new(1 << 20, 1).allowance();
            Self { packing: Arc::new(packing), allowance }
        }

        fn open(&self, opens: &mut Opens, target: &Target) -> usize {
            let packing = target.packing(&self.packing);
            let batch = Batch::new(&packing, 0, &Buffers::new(), &self.allowance);
            opens.insert(target, batch, Instant::now())
        }
    }

    const SETTINGS: BatchSettings = BatchSettings {
        events_max: 10,
        bytes_max: 1000,
        linger: SHORT,
        interval: None,
        flush_on: Some(Severity::High),
    };

    /// A lane whose destination waits for work, while there is more to read than it has.
    fn look(now: Instant, at: u64) -> Look {
        Look {
            now,
            stage: Stage::Run,
            is_dry: false,
            at: Some(Offset::new(at)),
            is_between: false,
            is_hungry: true,
            has_room: true,
        }
    }

    /// Pushes an event of so many bytes into the one open batch.
    fn push(opens: &mut Opens, from: u64, severity: Severity) {
        let span = Span { from: Offset::new(from), to: Offset::new(from + 100) };
        let batch = opens.batch(0).expect("it is open");
        let pushed = batch.push(span, 1, severity, |_, out| out.extend_from_slice(b"{}"));
        assert_eq!(pushed, Pushed::Fits);
    }

    #[test]
    fn a_batch_lingers_but_not_with_what_is_severe() {
        let (desk, mut opens) = (Desk::new(), Opens::new(1, 1));
        desk.open(&mut opens, &target(0, b""));
        let since = opens.iter().next().expect("it is open").since;
        let is_due =
            |opens: &Opens, look: &Look| opens.oldest(|it| it.is_due(&SETTINGS, look)) == Some(0);
        push(&mut opens, 0, Severity::Low);
        opens.hurry(Offset::new(500));
        assert!(!is_due(&opens, &look(since, 100)));
        assert!(!is_due(&opens, &Look { is_dry: true, ..look(since, 500) }), "it may linger");
        assert!(is_due(&opens, &look(since + SHORT, 100)));
        assert!(!is_due(&opens, &Look { is_hungry: false, ..look(since + SHORT, 100) }));

        push(&mut opens, 100, Severity::High);
        opens.hurry(Offset::new(500));
        // What comes later puts the end off no further.
        opens.hurry(Offset::new(900));
        assert!(!is_due(&opens, &look(since, 499)), "it grows by what was there");
        assert!(is_due(&opens, &look(since, 500)));
        assert!(is_due(&opens, &Look { at: None, ..look(since, 0) }), "its stripe is read");
        assert!(is_due(&opens, &Look { is_dry: true, ..look(since, 300) }));
    }

    #[test]
    fn what_a_stripe_leaves_waits_for_no_other_stripe() {
        let (desk, mut opens) = (Desk::new(), Opens::new(1, 1));
        desk.open(&mut opens, &target(0, b""));
        push(&mut opens, 0, Severity::Low);
        let open = opens.iter().next().expect("it is open");
        let between = Look { is_dry: true, at: None, is_between: true, ..look(open.since, 0) };
        assert!(open.is_due(&SETTINGS, &between));
        assert!(!open.is_due(&SETTINGS, &Look { is_hungry: false, ..between }));
        let patient = BatchSettings { linger: Duration::from_secs(60), ..SETTINGS };
        assert!(!open.is_due(&patient, &between), "an object store wants large ones");
    }

    #[test]
    fn events_of_other_headers_have_other_batches() {
        let desk = Desk::new();
        let mut opens = Opens::new(2, 3);
        let plain = target(1, b"");
        let acme = target(0, b"x-category:acme\nx-fields:a=b");
        let other = target(0, b"x-category:other");
        assert_eq!(desk.open(&mut opens, &plain), 1);
        let slot = desk.open(&mut opens, &acme);
        assert_ne!(desk.open(&mut opens, &other), slot);
        assert_eq!(opens.find(&acme), Some(slot));
        assert_eq!(opens.find(&target(1, b"x-category:acme\nx-fields:a=b")), None);
        let batch = opens.take(slot).expect("it is open");
        assert_eq!(batch.heads().headers["x-category"], "acme");
        assert_eq!(batch.heads().headers["x-fields"], "a=b");
        assert_eq!(opens.find(&acme), None);
        assert!(opens.take(1).expect("it is open").heads().headers.is_empty());
        assert!(!opens.is_empty());
    }

    #[test]
    fn the_least_used_is_the_one_to_close() {
        let desk = Desk::new();
        let mut opens = Opens::new(1, 2);
        let (first, second, third) = (target(0, b"a:1"), target(0, b"a:2"), target(0, b"a:3"));
        let slot = desk.open(&mut opens, &first);
        assert!(opens.has_room(&second));
        let other = desk.open(&mut opens, &second);
        assert!(!opens.has_room(&third) && opens.has_room(&first));
        assert!(opens.batch(slot).is_some());
        assert_eq!(opens.least_used(), Some(other));
        drop(opens.take(other));
        assert_eq!(desk.open(&mut opens, &third), other, "its slot is used again");
    }
}
