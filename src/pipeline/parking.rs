//! Events of held routes, what waits alone, and what a place cannot take yet: set aside without
//! bytes, so that the others go on.
//!
//! The log is the queue: what is set aside is only where these events lie. They stay pending, hold
//! the exporter's position where it is, and are rendered again once their time has come.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::deliver::{BatchId, Item, PackedItems, Packing, Parked, Reshape, Sender};
use crate::event::{Offset, Settle, Settled};

/// What one lane has set aside. Told the time; does no IO.
#[derive(Debug, Default)]
pub struct Parking {
    waiting: VecDeque<Kept>,
    events: u64,
    /// The memory that they take.
    bytes: u64,
    /// How many of them each route has.
    routes: BTreeMap<u32, u64>,
    /// The same of those that wait for the rates of their places.
    crowds: BTreeMap<u32, u64>,
    /// Nothing of them lies below this offset.
    floor: Offset,
    /// Kept between two turns.
    found: Vec<Parked>,
}

/// What set-aside events wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// Their route is held no more.
    Well,
    /// Alone, until then.
    Due(Instant),
    /// Few are before them at their place.
    Room,
}

/// A batch that was set aside, or several in one that no request had carried.
#[derive(Debug)]
struct Kept {
    /// What its events have in common, without them.
    like: Reshape,
    items: PackedItems,
    /// Bytes of their documents, as they were last.
    body_bytes: u64,
    until: Until,
}

impl Kept {
    fn new(mut like: Reshape, until: Until) -> Self {
        // They come in memory that may have been made for a thousand.
        let items = std::mem::take(&mut like.items);
        let body_bytes = items.iter().map(|item| item.bytes() as u64).sum();
        Self { like, items: PackedItems::of(&items), body_bytes, until }
    }

    /// Whether the events of another go with these into one batch, in the log's order.
    fn fits(&self, other: &Self) -> bool {
        let Packing { limits, body_bytes, .. } = *self.like.packing;
        let events_max = u64::from(limits.events).min(JOINED_EVENTS_MAX);
        let follows = other.items.iter().next().is_some_and(|it| it.span.from >= self.items.end());
        // Those that wait for room must not overtake others of their place.
        (self.until, other.until) == (Until::Well, Until::Well)
            && follows
            && self.items.events() + other.items.events() <= events_max
            && self.body_bytes + other.body_bytes <= u64::from(body_bytes)
            && self.like.is_like(&other.like)
    }

    fn join(&mut self, other: &Self) {
        let first = &mut self.like.history.first;
        *first = first.iter().chain(&other.like.history.first).min().copied();
        other.items.iter().for_each(|item| self.items.push(&item));
        self.body_bytes += other.body_bytes;
    }

    fn opened(self) -> Reshape {
        Reshape { items: self.items.iter().collect(), ..self.like }
    }

    fn memory(&self) -> u64 {
        let told = self.like.history.last.iter().chain(&self.like.history.shrink);
        let told: usize = told.map(|reason| reason.detail.capacity()).sum();
        self.items.memory() + (size_of::<Self>() + told) as u64
    }
}

/// Why events are set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// Their route is held.
    ForRoute(u32),
    /// They are refused while others of their route are taken.
    Alone(u32),
}

impl Parking {
    /// Events that are set aside.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Those of them that something refuses.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.events - self.crowds.values().sum::<u64>()
    }

    /// Whether some of them are for this route.
    #[must_use]
    pub fn has_route(&self, route: u32) -> bool {
        self.routes.contains_key(&route)
    }

    /// Whether some of them were in a batch up to this one.
    pub(super) fn has_any_of(&self, newest: BatchId) -> bool {
        self.waiting.iter().any(|kept| kept.like.history.is_of(newest))
    }

    /// Whether more may be set aside, where so many others wait beside them.
    pub(super) fn has_room(&self, beside: u64) -> bool {
        self.events + beside < PARKED_MAX && self.bytes < PARKED_BYTES_MAX
    }

    /// The routes of which some wait for the rates of their places.
    pub fn crowds(&self) -> impl Iterator<Item = u32> {
        self.crowds.keys().copied()
    }

    /// Sets aside what a lane has to wait with; says why, where nothing was refused before.
    pub fn set_aside(&mut self, sender: &mut Sender, now: Instant) -> Option<Waits> {
        let had_none = self.refused() == 0;
        if self.has_room(0) {
            sender.park(PARK_AFTER, now, &mut self.found);
        }
        let mut first = None;
        for Parked { until, reshape } in std::mem::take(&mut self.found) {
            let route = reshape.route;
            let waits = until.map_or(Waits::ForRoute(route), |_| Waits::Alone(route));
            first = first.or(Some(waits).filter(|_| had_none));
            self.push(reshape, until.map_or(Until::Well, Until::Due));
        }
        first
    }

    /// Sets aside what would wait for the rate of its place.
    pub fn crowd(&mut self, reshape: Reshape) {
        self.push(reshape, Until::Room);
    }

    /// Takes back the oldest events that need not wait any more, that are to be tried, or that were
    /// held for too long, a batch at a time: they are to be rendered again. Those that lacked the
    /// destination's setup wait no longer than that runs.
    pub fn take_back(
        &mut self,
        sender: &mut Sender,
        age_max: Option<Duration>,
        is_preparing: bool,
        now: Instant,
    ) -> Option<Reshape> {
        if self.events == 0 || !sender.room() {
            return None;
        }
        let at = self.due(sender, age_max, is_preparing, now)?;
        let reshape = self.remove(at)?;
        sender.unpark(&reshape);
        Some(reshape)
    }

    /// Gives up what lies below this offset.
    pub fn give_up_below(&mut self, floor: Offset, out: &mut Vec<Settled>) {
        // Asked each turn; all are looked through once.
        if self.events == 0 || self.floor == floor {
            return;
        }
        self.floor = floor;
        let is_below = |item: &Item| item.span.to <= floor;
        for mut kept in std::mem::take(&mut self.waiting) {
            let (below, left): (Vec<_>, Vec<_>) = kept.items.iter().partition(is_below);
            for item in &below {
                out.push(Settled { span: item.span, events: 1, fate: Settle::Skipped });
            }
            let before = kept.memory();
            if !below.is_empty() {
                kept.items = PackedItems::of(&left);
            }
            self.events -= below.len() as u64;
            self.take_off(&kept, below.len() as u64);
            self.bytes -= before;
            if !left.is_empty() {
                self.bytes += kept.memory();
                self.waiting.push_back(kept);
            }
        }
    }

    /// The first that has waited long enough.
    fn due(
        &self,
        sender: &Sender,
        age_max: Option<Duration>,
        is_preparing: bool,
        now: Instant,
    ) -> Option<usize> {
        let is_old = |reshape: &Reshape| {
            let since = reshape.history.failed_since.zip(age_max);
            since.is_some_and(|(at, most)| now.saturating_duration_since(at) >= most)
        };
        // Asked once for each route, since there may be many events. What the sender has may be
        // what breaks its place: then another one is tried. And retention may have taken it.
        let wanted: BTreeMap<u32, Option<u32>> =
            self.routes.keys().map(|&route| (route, sender.wants_trial(route))).collect();
        let mut may_come = self.routes.clone();
        may_come.retain(|&route, _| !sender.is_held(route) && has_room_for(sender, route, now));
        let need_not_wait = |reshape: &Reshape| {
            let is_wanted = |than: u32| reshape.history.row < than;
            may_come.contains_key(&reshape.route) || wanted[&reshape.route].is_some_and(is_wanted)
        };
        self.waiting.iter().position(|Kept { like: reshape, until, .. }| {
            let is_time = match until {
                Until::Due(_) if reshape.history.awaits_setup && !is_preparing => true,
                Until::Due(until) => *until <= now,
                Until::Well | Until::Room => need_not_wait(reshape),
            };
            is_time || is_old(reshape)
        })
    }

    fn push(&mut self, reshape: Reshape, until: Until) {
        if reshape.items.iter().any(|item| item.span.to <= self.floor) {
            self.floor = Offset::ZERO;
        }
        let kept = Kept::new(reshape, until);
        self.events += kept.items.events();
        *self.routes.entry(kept.like.route).or_default() += kept.items.events();
        if until == Until::Room {
            *self.crowds.entry(kept.like.route).or_default() += kept.items.events();
        }
        // An outage of days parks events one by one.
        let mut last = self.waiting.iter_mut().rev().take(JOIN_LOOKS);
        if let Some(like) = last.find(|last| last.fits(&kept)) {
            let before = like.memory();
            like.join(&kept);
            self.bytes += like.memory() - before;
        } else {
            self.bytes += kept.memory();
            self.waiting.push_back(kept);
        }
    }

    fn remove(&mut self, at: usize) -> Option<Reshape> {
        let kept = self.waiting.remove(at)?;
        self.events -= kept.items.events();
        self.bytes -= kept.memory();
        self.take_off(&kept, kept.items.events());
        Some(kept.opened())
    }

    /// Takes so many events off those of their route.
    fn take_off(&mut self, kept: &Kept, events: u64) {
        take_off(&mut self.routes, kept.like.route, events);
        if kept.until == Until::Room {
            take_off(&mut self.crowds, kept.like.route, events);
        }
    }
}

/// Whether an event of this route goes soon, or leaves room enough for those of other places while
/// it waits.
pub(super) fn has_room_for(sender: &Sender, route: u32, now: Instant) -> bool {
    sender.waiting(now) < WAITING_MAX || sender.wait_for(route, now).is_zero()
}

/// Takes so many events off those of a route.
fn take_off(routes: &mut BTreeMap<u32, u64>, route: u32, events: u64) {
    let Some(left) = routes.get_mut(&route) else { return };
    *left -= events;
    if *left == 0 {
        routes.remove(&route);
    }
}

/// A route is held this long before its events are set aside (`design.md` 4).
const PARK_AFTER: Duration = Duration::from_secs(10);
/// Events that one lane sets aside. Beyond, the lane reads nothing more until the route is well or
/// retention gives the oldest up.
pub(super) const PARKED_MAX: u64 = 1 << 18;
/// The memory that they may take: 80 bytes each. Those that no request has carried take 16, one
/// that was refused alone takes about 600. It is beside `memory.in_flight_bytes`: what waits for
/// one route must not keep others from being sent.
const PARKED_BYTES_MAX: u64 = 80 * PARKED_MAX;
/// Events that are joined: what is tried at a place that stays held has bytes for as long.
const JOINED_EVENTS_MAX: u64 = 128;
/// So many of those that wait are looked at for some that are alike: routes and tenants take turns.
const JOIN_LOOKS: usize = 16;
/// Messages that wait for the rates of their places: half of what a lane may have under way, so
/// that there is always room for those of other places.
pub(super) const WAITING_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::deliver::{Encoding, Framing, Heads, History, Limits, Prefix, Reason};
    use crate::event::Span;

    static LINES: Framing = Framing {
        head: "",
        prefix: Prefix::None,
        between: "",
        after: "\n",
        tail: "",
        content_type: "text/plain",
    };

    fn packing() -> Arc<Packing> {
        let limits = Limits { events: 1_000, body_bytes: 1 << 20, event_bytes: 1 << 20 };
        Arc::new(Packing {
            framing: &LINES,
            limits,
            body_bytes: limits.body_bytes,
            encoding: Encoding::Identity,
            level: 0,
            flush_on: None,
            heads: Heads::default(),
            head: None,
            keeps_ids: false,
        })
    }

    /// One event, in memory that was made for many.
    fn one(at: u64, route: u32) -> Reshape {
        let span = Span { from: Offset::new(at * 1_000), to: Offset::new(at * 1_000 + 1_000) };
        let mut items = Vec::with_capacity(64);
        items.push(Item { span, received_ns: at * 1_000_000, start: 200, end: 700 });
        let history = History { first: Some(BatchId(at)), ..History::default() };
        Reshape { items, route, packing: packing(), level: None, history, fold: None }
    }

    #[test]
    fn events_that_are_set_aside_one_by_one_take_a_few_bytes_each() {
        let mut parking = Parking::default();
        for at in 0..10_000 {
            parking.push(one(at, 1), Until::Well);
        }
        assert_eq!((parking.events(), parking.routes[&1]), (10_000, 10_000));
        assert!(parking.bytes < 10_000 * 25, "{} bytes of 10,000 events", parking.bytes);
        let mut out = Vec::new();
        parking.give_up_below(Offset::new(500_000), &mut out);
        assert_eq!((out.len(), parking.events()), (500, 9_500));
        let mut seen = 500;
        while let Some(reshape) = parking.remove(0) {
            assert!(reshape.items.len() <= 128, "more than one trial should take");
            for item in &reshape.items {
                assert_eq!((item.span.from.bytes(), item.bytes()), (seen * 1_000, 500));
                seen += 1;
            }
        }
        assert_eq!((seen, parking.events(), parking.bytes), (10_000, 0, 0));
        assert!(parking.routes.is_empty());
    }

    #[test]
    fn no_more_memory_is_taken_than_was_promised() {
        let (mut parking, start) = (Parking::default(), Instant::now());
        let mut events = 0;
        while parking.has_room(0) {
            parking.push(refused(one(events, 1)), Until::Due(start));
            events += 1;
        }
        assert!(parking.bytes < PARKED_BYTES_MAX + 1_000, "{} bytes", parking.bytes);
        assert!(events > 20_000, "{events} events, each by itself");
    }

    #[test]
    fn only_what_no_request_has_carried_waits_as_one() {
        let due = Until::Due(Instant::now());
        for (other, until, is_one) in [
            (one(1, 1), Until::Well, true),
            (one(1, 2), Until::Well, false),
            (refused(one(1, 1)), Until::Well, false),
            (refused(one(1, 1)), due, false),
            (one(1, 1), Until::Room, false),
            // Not behind the other one in the log.
            (one(0, 1), Until::Well, false),
        ] {
            let mut parking = Parking::default();
            parking.push(one(0, 1), Until::Well);
            let told = format!("{other:?} {until:?}");
            parking.push(other, until);
            assert_eq!(parking.waiting.len() == 1, is_one, "{told}");
        }
        // The halves of a batch that was cut in two.
        let mut parking = Parking::default();
        parking.push(refused(one(0, 1)), Until::Well);
        parking.push(refused(one(1, 1)), Until::Well);
        assert_eq!(parking.waiting.len(), 2);
    }

    /// The same after a request that carried it.
    fn refused(reshape: Reshape) -> Reshape {
        let last = Reason { status: 404, detail: "no such index".repeat(20), ..Reason::default() };
        let history = History { attempts: 1, last: Some(last), ..reshape.history };
        Reshape { history, ..reshape }
    }
}
