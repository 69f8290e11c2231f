//! Setting aside, for a lane, what has to wait, so that the others go on.

use std::time::Instant;

use tracing::{info, warn};

use super::super::block::Entry;
use super::super::parking::{Waits, has_room_for};
use super::Lane;
use super::fill::Taken;
use crate::deliver::{History, Item, Order, Reshape};
use crate::event::Offset;

impl Lane {
    /// Sets aside what waits for held routes, and takes back what waits no more.
    pub(super) fn park(&mut self, now: Instant) {
        let is_strict = self.exporter.settings.vendor.order == Order::Strict;
        // Where order matters what comes back would be overtaken.
        if is_strict || self.is_aside() {
            return;
        }
        let exporter = self.exporter.name();
        match self.parking.set_aside(&mut self.sender, now) {
            None => {}
            Some(Waits::ForRoute(route)) => {
                warn!(exporter, route, "route held: its events wait, the others go on");
            }
            Some(Waits::Alone(route)) => {
                warn!(exporter, route, "refused beside others: these events wait");
            }
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
        if !self.parking.has_room(self.talking.events()) {
            return Some(Taken::Full);
        }
        let item = Item { span: entry.span, received_ns: entry.received_ns, start: 0, end: 0 };
        let packing = self.target.packing(&self.exporter.routes[route].packing);
        let (items, route) = (vec![item], number(route));
        let (level, history, fold) = (None, History::default(), None);
        self.parking.crowd(Reshape { items, route, packing, level, history, fold });
        Some(Taken::Done)
    }

    fn is_crowded(&self, route: usize, now: Instant) -> bool {
        let settings = &self.exporter.settings;
        let may_pass = settings.vendor.order != Order::Strict && !self.is_aside();
        if !may_pass || settings.route_rate().is_none() {
            return false;
        }
        let place = |route: usize| self.exporter.places[route];
        let mut crowds = self.parking.crowds().map(|route| place(route as usize));
        crowds.any(|crowd| crowd == place(route)) || !has_room_for(&self.sender, number(route), now)
    }

    /// Takes back what need not wait any more, a batch at a time.
    fn unpark(&mut self, now: Instant) {
        if !self.again.is_empty() {
            return;
        }
        let age_max = self.exporter.settings.retry.age_max;
        let was_refused = self.parking.refused();
        let is_preparing = self.exporter.gate.is_preparing();
        let back = self.parking.take_back(&mut self.sender, age_max, is_preparing, now);
        if self.parking.refused() == 0 && was_refused > 0 {
            info!(exporter = self.exporter.name(), "no event waits for a route any more");
        }
        self.again.extend(back);
    }

    /// Gives up what retention needs the place of.
    pub(super) fn give_up_parked(&mut self, floor: Offset) {
        self.parking.give_up_below(floor, &mut self.outcomes.settled);
    }
}

fn number(route: usize) -> u32 {
    u32::try_from(route).expect("routes are counted in config lines")
}
