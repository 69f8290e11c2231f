//! The places that the routes of one exporter lead to: how much each takes, and what holds it.
//!
//! Whoever sends to a channel or with a key meets its limits together with all others that do: the
//! routes that lead there, and the lanes of an exporter. Like the gate these are atomics, changed a
//! few times per request.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Cause;
use super::gate::{Success, time_after};
use super::hold::{Held, Hold};
use super::limiter::{Bucket, ns};

/// How many requests each place of an exporter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteRate {
    /// Requests a minute, at least 1.
    pub per_minute: u64,
    /// Requests at once after a quiet time.
    pub burst: u64,
    /// Whether critical events go before the others that wait for the same place.
    pub lets_critical_pass: bool,
}

/// Where the routes of an exporter lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutePlaces {
    /// For each route, the base settings first, the first one that leads to the same place.
    pub of: Vec<u32>,
    /// How many requests a place takes; `None` is as many as there are.
    pub rate: Option<RouteRate>,
}

impl Default for RoutePlaces {
    fn default() -> Self {
        Self { of: vec![0], rate: None }
    }
}

/// The places of one exporter.
#[derive(Debug)]
pub(super) struct Places {
    epoch: Instant,
    routes: RoutePlaces,
    /// As many as there are routes: where two lead to one place, the first one's counts.
    all: Vec<Place>,
}

/// One place.
#[derive(Debug, Default)]
struct Place {
    bucket: Bucket,
    hold: Hold,
    held_since_ns: AtomicU64,
    /// Lanes that wait for the end of the hold, by bit.
    waiting: AtomicU64,
    /// Requests in a row that failed in a way that may be an outage.
    failures: AtomicU32,
    failed_ns: AtomicU64,
    /// When the latest of the requests was sent that it accepted.
    accepted_ns: AtomicU64,
}

/// A place that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PlaceHold {
    pub(super) cause: Cause,
    pub(super) since: Instant,
    /// When one batch for it is tried, or the one that is being tried counts as lost.
    pub(super) retry_at: Instant,
}

impl Places {
    /// Places that nothing holds.
    pub(super) fn new(routes: RoutePlaces, epoch: Instant) -> Self {
        let all = routes.of.iter().map(|_| Place::default()).collect();
        Self { epoch, routes, all }
    }

    /// Whether two routes lead to one place.
    pub(super) fn is_same(&self, one: u32, other: u32) -> bool {
        self.number(one) == self.number(other)
    }

    /// The number of a route's place.
    pub(super) fn number(&self, route: u32) -> u32 {
        self.routes.of[usize::try_from(route).expect("routes are counted in config lines")]
    }

    /// The routes whose places are held, and why.
    pub(super) fn held_routes(&self) -> impl Iterator<Item = (u32, Cause)> {
        (0..).zip(&self.routes.of).filter_map(|(route, _)| Some((route, self.held(route)?.cause)))
    }

    /// What holds a route's place.
    pub(super) fn held(&self, route: u32) -> Option<PlaceHold> {
        let place = self.place(route);
        let (cause, at_ns) = match place.hold.load() {
            Held::No => return None,
            Held::Until(cause, at_ns) | Held::Probing(cause, at_ns) => (cause, at_ns),
        };
        let since = self.time(place.held_since_ns.load(Ordering::Relaxed));
        Some(PlaceHold { cause, since, retry_at: self.time(at_ns) })
    }

    /// Holds a route's place until one batch is tried at this time, or when it was to be anyway.
    pub(super) fn hold(&self, route: u32, cause: Cause, retry_at: Instant, now: Instant) {
        let place = self.place(route);
        let at_ns = match place.hold.load() {
            Held::Until(_, at_ns) => at_ns.max(self.ns(retry_at)),
            Held::No | Held::Probing(..) => self.ns(retry_at),
        };
        // First, since whoever reads the hold wants to know.
        if place.hold.load() == Held::No {
            place.held_since_ns.store(self.ns(now), Ordering::Relaxed);
        }
        place.hold.set(cause, at_ns);
    }

    /// Lets a place that is held wait for longer.
    pub(super) fn hold_on(&self, route: u32, retry_at: Instant, now: Instant) {
        if let Some(PlaceHold { cause, .. }) = self.held(route) {
            self.hold(route, cause, retry_at, now);
        }
    }

    /// Lets the places that are held for this cause be tried now; says which lanes to wake.
    pub(super) fn hasten(&self, cause: Cause, now: Instant) -> u64 {
        let held = self.all.iter().filter(|place| match place.hold.load() {
            Held::Until(why, at_ns) => why == cause && at_ns > self.ns(now),
            Held::No | Held::Probing(..) => false,
        });
        held.fold(0, |woken, place| {
            place.hold.set(cause, self.ns(now));
            woken | place.waiting.swap(0, Ordering::AcqRel)
        })
    }

    /// Notes that a place is at work, and whether it accepted what was sent then; says which lanes
    /// to wake.
    ///
    /// That ends its hold, unless the request was under way before: of now it says nothing then.
    pub(super) fn answered(&self, route: u32, success: Success, sent: Instant) -> u64 {
        let place = self.place(route);
        place.failures.store(0, Ordering::Release);
        if success == Success::Yes {
            place.accepted_ns.fetch_max(self.ns(sent), Ordering::AcqRel);
        }
        let is_held = place.hold.load() != Held::No;
        if !is_held || place.held_since_ns.load(Ordering::Relaxed) > self.ns(sent) {
            return 0;
        }
        place.hold.clear(|_| true);
        place.waiting.swap(0, Ordering::AcqRel)
    }

    /// Takes the right to try one batch at a held place; it is lost again after this long. Whoever
    /// does not get it waits.
    pub(super) fn claim(&self, route: u32, lost_after: Duration, now: Instant) -> bool {
        let now_ns = self.ns(now);
        self.place(route).hold.claim(now_ns, now_ns.saturating_add(ns(lost_after)))
    }

    /// Gives that right back: whatever comes of it is told with what follows.
    pub(super) fn unclaim(&self, route: u32, sent: Instant) {
        let place = self.place(route);
        if let Held::Probing(cause, _) = place.hold.load() {
            place.hold.set(cause, self.ns(sent));
        }
    }

    /// Has a lane woken when the hold of a route's place ends; whether others wait for that too.
    pub(super) fn wait(&self, route: u32, lane: u8) -> bool {
        let own = 1 << (lane % 64);
        self.place(route).waiting.fetch_or(own, Ordering::AcqRel) & !own != 0
    }

    /// Notes a failure that may be an outage of the place; says how many there were in a row.
    pub(super) fn fail(&self, route: u32, now: Instant) -> u32 {
        let place = self.place(route);
        place.failed_ns.fetch_max(self.ns(now).max(1), Ordering::AcqRel);
        place.failures.fetch_add(1, Ordering::AcqRel).saturating_add(1)
    }

    /// Whether a place accepted something that was sent after this time.
    pub(super) fn took_since(&self, route: u32, at: Instant) -> bool {
        self.place(route).accepted_ns.load(Ordering::Acquire) > self.ns(at)
    }

    /// Whether a place is at work, as far as anybody knows: it accepted what was sent when it had
    /// failed, or later.
    pub(super) fn is_well(&self, route: u32) -> bool {
        let place = self.place(route);
        let failed_ns = place.failed_ns.load(Ordering::Acquire);
        failed_ns == 0 || place.accepted_ns.load(Ordering::Acquire) >= failed_ns
    }

    /// Whether some other place is at work, and has been.
    pub(super) fn is_another_well(&self, route: u32) -> bool {
        let own = self.number(route);
        let others = (0..).zip(&self.all).filter(|(number, _)| *number != own);
        others.into_iter().any(|(_, place)| {
            let accepted_ns = place.accepted_ns.load(Ordering::Acquire);
            accepted_ns > place.failed_ns.load(Ordering::Acquire)
        })
    }

    /// When a route may be used again by its place's rate, if not now.
    pub(super) fn busy_until(&self, route: u32, now: Instant) -> Option<Instant> {
        let rate = self.routes.rate?;
        let free_ns = self.place(route).bucket.free_at(rate.interval_ns(), rate.burst);
        (free_ns > self.ns(now)).then(|| self.time(free_ns))
    }

    /// Counts a request, whether it may go or must.
    pub(super) fn take(&self, route: u32, now: Instant) {
        if let Some(rate) = self.routes.rate {
            self.place(route).bucket.charge(self.ns(now), rate.interval_ns());
        }
    }

    /// How long a request to this route waits behind so many others.
    pub(super) fn delay(&self, route: u32, before: u64, now: Instant) -> Duration {
        let Some(rate) = self.routes.rate else { return Duration::ZERO };
        let bucket = &self.place(route).bucket;
        Duration::from_nanos(bucket.delay(before, self.ns(now), rate.interval_ns(), rate.burst))
    }

    /// Whether critical events go first.
    pub(super) fn lets_pass(&self) -> bool {
        self.routes.rate.is_some_and(|rate| rate.lets_critical_pass)
    }

    fn place(&self, route: u32) -> &Place {
        &self.all[usize::try_from(self.number(route)).expect("as many as routes")]
    }

    fn ns(&self, time: Instant) -> u64 {
        ns(time.saturating_duration_since(self.epoch))
    }

    fn time(&self, ns: u64) -> Instant {
        time_after(self.epoch, ns)
    }
}

impl RouteRate {
    fn interval_ns(self) -> u64 {
        MINUTE_NS / self.per_minute.max(1)
    }
}

const MINUTE_NS: u64 = 60_000_000_000;
