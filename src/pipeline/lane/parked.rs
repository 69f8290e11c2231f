//! Events of routes that are held: set aside without their bytes, so that the others go on.
//!
//! The log is the queue: what is set aside is only where these events lie. They stay pending, hold
//! the exporter's position where it is, and are rendered again once their route is well.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::Lane;
use crate::deliver::{Order, Parked, Reshape};
use crate::event::{Offset, Settle, Settled};

/// What one lane has set aside.
#[derive(Debug, Default)]
pub(super) struct Parking {
    waiting: VecDeque<Reshape>,
    events: u64,
    /// Kept between two turns.
    found: Vec<Parked>,
}

impl Parking {
    /// Events that are set aside.
    pub(super) fn events(&self) -> u64 {
        self.events
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
        for Parked { cause, reshape } in self.parking.found.drain(..) {
            if self.parking.events == 0 {
                let exporter = self.exporter.name();
                let route = reshape.route;
                warn!(exporter, route, ?cause, "route held: its events wait, the others go on");
            }
            self.parking.events += reshape.items.len() as u64;
            self.parking.waiting.push_back(reshape);
        }
        self.unpark(now);
    }

    /// Takes back the oldest events whose route is held no more, a batch at a time.
    fn unpark(&mut self, now: Instant) {
        if self.parking.events == 0 || !self.again.is_empty() || !self.sender.room() {
            return;
        }
        let age_max = self.exporter.settings.retry.age_max;
        let is_old = |reshape: &Reshape| {
            let since = reshape.history.failed_since.zip(age_max);
            since.is_some_and(|(at, most)| now.saturating_duration_since(at) >= most)
        };
        let is_held =
            |reshape: &Reshape| self.sender.held_routes().any(|(route, _)| route == reshape.route);
        let is_due = |reshape: &Reshape| is_old(reshape) || !is_held(reshape);
        let Some(at) = self.parking.waiting.iter().position(is_due) else { return };
        let Some(reshape) = self.parking.waiting.remove(at) else { return };
        self.parking.events -= reshape.items.len() as u64;
        if self.parking.events == 0 {
            info!(exporter = self.exporter.name(), "no event waits for a route any more");
        }
        self.sender.unpark(&reshape);
        self.again.push_back(reshape);
    }

    /// Gives up what retention needs the place of.
    pub(super) fn give_up_parked(&mut self, floor: Offset) {
        if self.parking.events == 0 {
            return;
        }
        let mut skipped = Vec::new();
        self.parking.waiting.retain_mut(|reshape| {
            reshape.items.retain(|item| {
                let is_below = item.span.to <= floor;
                if is_below {
                    let (span, fate) = (item.span, Settle::Skipped);
                    skipped.push(Settled { span, events: 1, fate });
                }
                !is_below
            });
            !reshape.items.is_empty()
        });
        self.parking.events -= skipped.len() as u64;
        self.outcomes.settled.extend(skipped);
    }
}

/// A route is held this long before its events are set aside (`design.md` 4).
const PARK_AFTER: Duration = Duration::from_secs(10);
/// Events that one lane sets aside: 20 MB of positions. Beyond, the lane reads nothing more until
/// the route is well or retention gives the oldest up.
pub(super) const PARKED_MAX: u64 = 1 << 18;
