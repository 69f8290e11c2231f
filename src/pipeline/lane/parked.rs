//! Events of held routes, what waits alone, and what a place cannot take yet: set aside without
//! bytes, so that the others go on.
//!
//! The log is the queue: what is set aside is only where these events lie. They stay pending, hold
//! the exporter's position where it is, and are rendered again once their time has come.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::super::block::Entry;
use super::Lane;
use super::digest::WAITING_MAX;
use super::fill::Taken;
use crate::deliver::{BatchId, History, Item, Order, Parked, Reshape, Sender};
use crate::event::{Offset, Settle, Settled};

/// What one lane has set aside.
#[derive(Debug, Default)]
pub(super) struct Parking {
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

impl Parking {
    /// Events that are set aside.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// Those of them that something refuses.
    pub(super) fn refused(&self) -> u64 {
        self.events - self.crowds.values().sum::<u64>()
    }

    /// Whether some of them are for this route.
    pub(super) fn has_route(&self, route: u32) -> bool {
        self.routes.contains_key(&route)
    }

    /// Whether some of them were in a batch up to this one.
    pub(super) fn has_any_of(&self, newest: BatchId) -> bool {
        self.waiting.iter().any(|(reshape, _)| reshape.history.is_of(newest))
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

    fn remove(&mut self, at: usize) -> Option<Reshape> {
        let (reshape, until) = self.waiting.remove(at)?;
        let events = reshape.items.len() as u64;
        self.events -= events;
        take_off(&mut self.routes, reshape.route, events);
        if until == Until::Room {
            take_off(&mut self.crowds, reshape.route, events);
        }
        Some(reshape)
    }

    /// Gives up what lies below this offset.
    fn give_up_below(&mut self, floor: Offset, out: &mut Vec<Settled>) {
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
}

impl Lane {
    /// Sets aside what waits for held routes, and takes back what waits no more.
    pub(super) fn park(&mut self, now: Instant) {
        let is_strict = self.exporter.settings.vendor.order == Order::Strict;
        // Where order matters what comes back would be overtaken.
        if is_strict || self.is_aside() {
            return;
        }
        if self.parking.events < PARKED_MAX {
            self.sender.park(PARK_AFTER, now, &mut self.parking.found);
        }
        for Parked { until, reshape } in std::mem::take(&mut self.parking.found) {
            if self.parking.refused() == 0 {
                let (exporter, route) = (self.exporter.name(), reshape.route);
                match until {
                    None => warn!(exporter, route, "route held: its events wait, the others go on"),
                    Some(_) => warn!(exporter, route, "refused beside others: these events wait"),
                }
            }
            self.parking.push(reshape, until.map_or(Until::Well, Until::Due));
        }
        self.unpark(now);
    }

    /// Sets an event aside where so many wait for the rates of their places that those of others
    /// would have no room; nothing where it need not wait.
    ///
    /// What comes for the same place behind one that was set aside is too: order is the log's.
    pub(super) fn weigh_crowd(&mut self, entry: &Entry<'_>, now: Instant) -> Option<Taken> {
        let route = self.target.route;
        if !self.is_crowded(route, now) {
            return None;
        }
        if self.parking.events() + self.talking.events() >= PARKED_MAX {
            return Some(Taken::Full);
        }
        let item = Item { span: entry.span, received_ns: entry.received_ns, start: 0, end: 0 };
        let packing = self.target.packing(&self.exporter.routes[route].packing);
        let (items, route) = (vec![item], number(route));
        let (level, history, fold) = (None, History::default(), None);
        let reshape = Reshape { items, route, packing, level, history, fold };
        self.parking.push(reshape, Until::Room);
        Some(Taken::Done)
    }

    fn is_crowded(&self, route: usize, now: Instant) -> bool {
        let settings = &self.exporter.settings;
        let may_pass = settings.vendor.order != Order::Strict && !self.is_aside();
        if !may_pass || settings.route_rate().is_none() {
            return false;
        }
        let place = |route: usize| self.exporter.places[route];
        let mut crowds = self.parking.crowds.keys().map(|&route| place(route as usize));
        crowds.any(|crowd| crowd == place(route)) || !has_room_for(&self.sender, number(route), now)
    }

    /// Takes back the oldest events that need not wait any more, or are to be tried, a batch at a
    /// time.
    fn unpark(&mut self, now: Instant) {
        if self.parking.events == 0 || !self.again.is_empty() || !self.sender.room() {
            return;
        }
        let age_max = self.exporter.settings.retry.age_max;
        let is_old = |reshape: &Reshape| {
            let since = reshape.history.failed_since.zip(age_max);
            since.is_some_and(|(at, most)| now.saturating_duration_since(at) >= most)
        };
        // Asked once for each route, since there may be many events.
        let (sender, mut may_come) = (&self.sender, self.parking.routes.clone());
        may_come.retain(|&route, _| {
            let need_not_wait = !sender.is_held(route) && has_room_for(sender, route, now);
            // Retention may have taken the batch that was left to try with.
            need_not_wait || sender.lacks_trial(route, now)
        });
        let is_preparing = self.exporter.gate.is_preparing();
        let is_due = |(reshape, until): &(Reshape, Until)| {
            let is_time = match until {
                Until::Due(_) if reshape.history.awaits_setup && !is_preparing => true,
                Until::Due(until) => *until <= now,
                Until::Well | Until::Room => may_come.contains_key(&reshape.route),
            };
            is_time || is_old(reshape)
        };
        let Some(at) = self.parking.waiting.iter().position(is_due) else { return };
        let was_refused = self.parking.refused();
        let Some(reshape) = self.parking.remove(at) else { return };
        if self.parking.refused() == 0 && was_refused > 0 {
            info!(exporter = self.exporter.name(), "no event waits for a route any more");
        }
        self.sender.unpark(&reshape);
        self.again.push_back(reshape);
    }

    /// Gives up what retention needs the place of.
    pub(super) fn give_up_parked(&mut self, floor: Offset) {
        self.parking.give_up_below(floor, &mut self.outcomes.settled);
    }
}

/// Whether an event of this route goes soon, or leaves room enough for those of other places while
/// it waits.
pub(super) fn has_room_for(sender: &Sender, route: u32, now: Instant) -> bool {
    sender.waiting(now) < WAITING_MAX || sender.wait_for(route, now).is_zero()
}

fn number(route: usize) -> u32 {
    u32::try_from(route).expect("routes are counted in config lines")
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
