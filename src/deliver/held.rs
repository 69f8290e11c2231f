//! What waits, and what ends that: exporters and routes that are held, probes, what is set aside.

use std::time::{Duration, Instant};

use super::act::{Ended, Failure, FailureKind};
use super::delivery::{Outcomes, Remedy, Reshape};
use super::gate::{REFRESH_WAIT, Remedied, Success};
use super::sender::{Action, Entry, Flight, Sender, State, reshape};
use super::{Cause, Fate, Pace, Scope, Verdict};

/// A route that waits alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct RouteHold {
    pub(super) route: u32,
    pub(super) cause: Cause,
    pub(super) since: Instant,
    /// When one of its batches is tried again.
    pub(super) retry_at: Instant,
}

/// Events of a held route that were taken out of a [`Sender`]; they are still pending.
#[derive(Debug)]
pub struct Parked {
    /// Why the route is held.
    pub cause: Cause,
    /// The events.
    pub reshape: Reshape,
}

impl Sender {
    /// The routes that are held, and why.
    pub fn held_routes(&self) -> impl Iterator<Item = (u32, Cause)> {
        self.routes.iter().map(|hold| (hold.route, hold.cause))
    }

    /// Takes out the batches of routes that are held for `after`, but for one each to try with.
    ///
    /// They stay pending; the caller keeps them elsewhere and brings them back by rendering them
    /// again once [`Sender::held_routes`] no longer names the route.
    pub fn park(&mut self, after: Duration, now: Instant, out: &mut Vec<Parked>) {
        for hold in self.routes.clone() {
            if now.saturating_duration_since(hold.since) < after {
                continue;
            }
            let mut is_kept = false;
            let mut at = 0;
            while at < self.entries.len() {
                let entry = &self.entries[at];
                let is_idle = !matches!(entry.state, State::Flying(_));
                let is_parked = entry.batch.route() == hold.route && is_idle && is_kept;
                is_kept |= entry.batch.route() == hold.route;
                if is_parked {
                    let batch = self.entries.remove(at).batch;
                    let level = batch.history.level;
                    out.push(Parked { cause: hold.cause, reshape: reshape(batch, level) });
                } else {
                    at += 1;
                }
            }
        }
    }

    pub(super) fn route_hold(&self, route: u32) -> Option<&RouteHold> {
        self.routes.iter().find(|hold| hold.route == route)
    }

    /// Finds out whether the hold can end: by the vendor's call, else with a single event.
    pub(super) fn probe(&mut self, now: Instant, outcomes: &mut Outcomes) -> Action {
        if self.settings.has_probe {
            self.gate.charge(now);
            self.probed = now;
            return Action::Probe { endpoint: self.gate.choose(now) };
        }
        let mut at = self.probe_entry().expect("asked before the probe was claimed");
        if self.entries[at].batch.parts() > 1 {
            let Entry { batch, .. } = self.entries.remove(at);
            let one = batch.select(|item| item == 0);
            self.insert(batch.select(|item| item != 0), State::Ready);
            let id = self.insert(one, State::Ready);
            at = self.position(id).expect("just inserted");
        }
        self.gate.admit_probe(now);
        self.send(at, true, now, outcomes)
    }

    /// The entry to probe with: of a route that is not held, if there is one, and the one that
    /// failed least by itself, so that a batch which breaks the destination does not keep the hold
    /// up.
    pub(super) fn probe_entry(&self) -> Option<usize> {
        let entries = self.entries.iter().enumerate();
        let able = entries.filter(|(_, entry)| {
            !matches!(entry.state, State::Flying(_)) && entry.batch.has_body()
        });
        let best = able.min_by_key(|(_, entry)| {
            let is_route_held = self.route_hold(entry.batch.route()).is_some();
            (is_route_held, entry.batch.history.failures)
        });
        best.map(|(at, _)| at)
    }

    /// Lets go of bodies while the exporter is held: the log has the events.
    ///
    /// One body stays to probe with. Where none is left, one event is rendered again.
    pub(super) fn slim(&mut self, now: Instant, outcomes: &mut Outcomes) {
        let Some((_, since, _)) = self.gate.held() else { return };
        if now.saturating_duration_since(since) < SLIM_AFTER {
            return;
        }
        let kept = if self.settings.has_probe { None } else { self.probe_entry() };
        for (at, entry) in self.entries.iter_mut().enumerate() {
            let is_idle = !matches!(entry.state, State::Flying(_));
            if is_idle && Some(at) != kept && entry.batch.has_body() {
                entry.batch.drop_body();
            }
        }
        let is_bare = kept.is_none() && !self.entries.is_empty() && self.reshaping == 0;
        let is_flying = self.entries.iter().any(|e| matches!(e.state, State::Flying(_)));
        if is_bare && !self.settings.has_probe && !is_flying {
            let Entry { batch, .. } = self.entries.remove(0);
            let level = batch.history.level;
            let (one, rest) = batch.split_dropped(1);
            if let Some(rest) = rest {
                self.insert(rest, State::Ready);
            }
            self.ask_again(one, level, outcomes);
        }
    }

    /// Takes in how the vendor's probe call ended; `None` is no answer.
    pub fn on_probe(
        &mut self,
        endpoint: usize,
        verdict: Option<Verdict>,
        now: Instant,
        outcomes: &mut Outcomes,
    ) {
        match verdict.map(|verdict| verdict.fate) {
            Some(Fate::Delivered) => {
                outcomes.wake |= self.gate.answered(endpoint, Success::Yes, true, self.probed);
            }
            Some(Fate::Hold { cause, .. }) => self.gate.hold(cause, now),
            // It is at work and refuses this call alone, which some do that take events: one
            // request, which is all that goes at first, finds out.
            Some(Fate::Reject) => {
                outcomes.wake |= self.gate.answered(endpoint, Success::No, true, self.probed);
            }
            Some(_) => self.gate.hold_on(now),
            None => {
                self.gate.fail(endpoint, true, now);
                self.gate.hold_on(now);
            }
        }
    }

    /// Stops what the cause stops, and keeps the batch.
    pub(super) fn on_hold(
        &mut self,
        ended: Ended,
        (cause, scope): (Cause, Scope),
        failure: Failure,
        now: Instant,
        outcomes: &mut Outcomes,
    ) {
        let Flight { ticket, sent, is_probe, .. } = ended.flight;
        if scope == Scope::Endpoint && self.gate.fail(ticket.endpoint, true, now) {
            let Ended { id, batch, .. } = ended;
            return self.again(id, batch, State::Ready);
        }
        // Nobody stands in for it: what it says now, it may not say in a moment.
        if scope == Scope::Endpoint && cause == Cause::Outage {
            return self.fail_where(ended, failure, false, now, outcomes);
        }
        let scope = if self.settings.has_own_places { Scope::Route } else { scope };
        let Ended { id, mut batch, .. } = ended;
        batch.history.failed_since.get_or_insert(now);
        batch.history.last = Some(failure.reason.clone());
        batch.history.row = batch.history.row.saturating_add(1);
        let has_remedy = match cause {
            Cause::Auth => true,
            Cause::Config => self.settings.has_setup,
            Cause::Outage => false,
        };
        let route = batch.route();
        // Others that are accepted say nothing of a route that is refused again.
        let is_again = scope == Scope::Route && self.route_hold(route).is_some();
        let remedied = match has_remedy && !is_probe && !is_again {
            true => self.gate.remedy(cause, sent, now),
            false => Remedied::InVain,
        };
        if remedied != Remedied::InVain && cause == Cause::Auth {
            // The same once more is no better, and whoever shows it again and again is locked out.
            match scope {
                Scope::Route => self.hold_route_for(route, cause, REFRESH_WAIT, now),
                Scope::Exporter | Scope::Endpoint => self.gate.await_credentials(now),
            }
        }
        match (remedied, scope) {
            (Remedied::Now, _) => {
                outcomes.remedy = Some(match cause {
                    Cause::Auth => Remedy::Refresh,
                    Cause::Config | Cause::Outage => Remedy::Setup,
                });
            }
            (Remedied::Before, _) => {}
            (Remedied::InVain, Scope::Route) => {
                self.hold_route(route, cause, failure.pace, now);
                if is_probe {
                    // The exporter is well enough to say what is wrong with one route.
                    outcomes.wake |= self.gate.answered(ticket.endpoint, Success::No, true, sent);
                }
            }
            (Remedied::InVain, Scope::Exporter | Scope::Endpoint) => {
                self.gate.adapt(failure.pace, Success::No, sent, now);
                self.gate.hold(cause, now);
            }
        }
        if let Some(batch) = self.judge(batch, &failure.reason, FailureKind::Items, now, outcomes) {
            self.again(id, batch, State::Ready);
        }
    }

    fn hold_route(&mut self, route: u32, cause: Cause, pace: Pace, now: Instant) {
        let wait = match (pace, cause) {
            (Pace::Pause(Some(wait)), _) => self.gate.capped(wait),
            (_, Cause::Outage) => self.gate.breaker_open(),
            (_, Cause::Auth | Cause::Config) => self.settings.hold_interval,
        };
        self.hold_route_for(route, cause, wait, now);
    }

    fn hold_route_for(&mut self, route: u32, cause: Cause, wait: Duration, now: Instant) {
        let retry_at = now + wait;
        match self.routes.iter_mut().find(|hold| hold.route == route) {
            Some(hold) => (hold.cause, hold.retry_at) = (cause, retry_at),
            None => self.routes.push(RouteHold { route, cause, since: now, retry_at }),
        }
    }
}

/// Bodies are kept this long into a hold: short ones then cost no rendering.
const SLIM_AFTER: Duration = Duration::from_secs(10);
