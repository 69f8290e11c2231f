//! Events of held routes, what waits alone, and what a place cannot take yet: set aside without
//! bytes, so that the others go on.
//!
//! The log is the queue: what is set aside is only where these events lie. They stay pending, hold
//! the exporter's position where it is, and are rendered again once their time has come.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::deliver::{BatchId, Item, Parked, Reshape, Sender};
use crate::event::{Offset, Settle, Settled};

/// What one lane has set aside. Told the time; does no IO.
#[derive(Debug, Default)]
pub struct Parking {
    waiting: VecDeque<(Reshape, Until)>,
    events: u64,
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
        self.waiting.iter().any(|(reshape, _)| reshape.history.is_of(newest))
    }

    /// The routes of which some wait for the rates of their places.
    pub fn crowds(&self) -> impl Iterator<Item = u32> {
        self.crowds.keys().copied()
    }

    /// Sets aside what a lane has to wait with; says why, where nothing was refused before.
    pub fn set_aside(&mut self, sender: &mut Sender, now: Instant) -> Option<Waits> {
        let had_none = self.refused() == 0;
        if self.events < PARKED_MAX {
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
        let (reshape, until) = self.waiting.remove(at)?;
        let events = reshape.items.len() as u64;
        self.events -= events;
        take_off(&mut self.routes, reshape.route, events);
        if until == Until::Room {
            take_off(&mut self.crowds, reshape.route, events);
        }
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
        let (before, routes, crowds) = (out.len(), &mut self.routes, &mut self.crowds);
        self.waiting.retain_mut(|(reshape, until)| {
            let is_below = |item: &Item| item.span.to <= floor;
            let items = reshape.items.len();
            for item in reshape.items.iter().filter(|item| is_below(item)) {
                out.push(Settled { span: item.span, events: 1, fate: Settle::Skipped });
            }
            reshape.items.retain(|item| !is_below(item));
            let given_up = (items - reshape.items.len()) as u64;
            take_off(routes, reshape.route, given_up);
            if *until == Until::Room {
                take_off(crowds, reshape.route, given_up);
            }
            !reshape.items.is_empty()
        });
        self.events -= (out.len() - before) as u64;
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
        self.waiting.iter().position(|(reshape, until)| {
            let is_time = match until {
                Until::Due(_) if reshape.history.awaits_setup && !is_preparing => true,
                Until::Due(until) => *until <= now,
                Until::Well | Until::Room => need_not_wait(reshape),
            };
            is_time || is_old(reshape)
        })
    }

    fn push(&mut self, reshape: Reshape, until: Until) {
        let events = reshape.items.len() as u64;
        if reshape.items.iter().any(|item| item.span.to <= self.floor) {
            self.floor = Offset::ZERO;
        }
        self.events += events;
        *self.routes.entry(reshape.route).or_default() += events;
        if until == Until::Room {
            *self.crowds.entry(reshape.route).or_default() += events;
        }
        self.waiting.push_back((reshape, until));
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
/// Events that one lane sets aside: 20 MB of positions. Beyond, the lane reads nothing more until
/// the route is well or retention gives the oldest up.
pub(super) const PARKED_MAX: u64 = 1 << 18;
/// Messages that wait for the rates of their places: half of what a lane may have under way, so
/// that there is always room for those of other places.
pub(super) const WAITING_MAX: usize = 32;
