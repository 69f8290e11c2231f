//! Repeats are left out, and incidents that have been quiet are resolved.
//!
//! A request that resolves goes out when nothing of its route is under way, and no event of its
//! incident is taken before it was answered: the two never overtake each other.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::super::alerts::{At, Judged, Name, Place, Quiet, Sighting};
use super::super::block::Entry;
use super::super::exporter::Exporter;
use super::super::route::Route;
use super::super::stop::Stage;
use super::exchange::Ended;
use super::fill::{Taken, UNREADABLE_WAIT};
use super::{Lane, Turn};
use crate::deliver::{Answer, Fate, Response, Transport as _, TransportError, judge};
use crate::event::{Context, Event, Settle, Span, Time};

/// What a lane knows of incidents.
#[derive(Debug, Default)]
pub(super) struct Alerting {
    /// The incident that is being resolved.
    resolving: Option<Quiet>,
    /// Where the event at hand stands in its incident.
    pub(super) place: Option<Place>,
    /// When the last event that was taken was received.
    read_to_ns: u64,
    /// Room for keys.
    room: Vec<u8>,
}

/// What the plan of keys writes.
#[derive(Deserialize)]
struct Key {
    key: String,
}

impl Alerting {
    /// What joins an event to its incident.
    fn key(&mut self, route: &Route, event: &Event<'_>) -> Option<Key> {
        self.room.clear();
        route.alert.as_ref()?.encode(event, &mut self.room);
        serde_json::from_slice(&self.room).ok()
    }

    /// The number of the event at hand where it is a repeat, else 0.
    pub(super) fn number(&self) -> u32 {
        let count = self.place.map(|place| place.count).filter(|&count| count > 1);
        count.map_or(0, |count| u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// What is known of the event at hand beside its record.
    pub(super) fn context(&self) -> Option<Context> {
        self.place.map(|Place { left_out, .. }| Context { left_out })
    }
}

impl Lane {
    /// What became of an event of an incident that is not sent now; nothing where it is.
    pub(super) fn weigh_alert(
        &mut self,
        entry: &Entry<'_>,
        event: &Event<'_>,
        now: Instant,
    ) -> Option<Taken> {
        self.alerting.place = None;
        if self.exporter.alerts.is_none() || self.is_aside() {
            return None;
        }
        let exporter = Arc::clone(&self.exporter);
        let (alerts, counters) = (exporter.alerts.as_ref()?, &exporter.counters.alerts);
        let route = &exporter.routes[self.target.route];
        let Key { key } = self.alerting.key(route, event)?;
        let is_resolving = |it: &Quiet| it.key == key && it.place == route.place;
        // What comes behind waits too: order is the log's.
        if self.alerting.resolving.as_ref().is_some_and(is_resolving) {
            return Some(Taken::Full);
        }
        self.alerting.read_to_ns = entry.received_ns;
        let at = At { pass: exporter.pass(), offset: entry.span.from };
        let severity = event.opened.severity;
        let seen = Sighting { place: route.place, key: &key, severity, at };
        match alerts.judge(&seen, Time::now().secs) {
            Ok((judged, forgotten)) => {
                counters.forgotten.add(forgotten);
                match judged {
                    Judged::Due(place) => {
                        self.alerting.place = Some(place);
                        None
                    }
                    Judged::Deduplicated => {
                        counters.deduplicated.add(1);
                        self.note(entry.span, Settle::Filtered);
                        Some(Taken::Done)
                    }
                }
            }
            Err(problem) => {
                tracing::error!(exporter = exporter.name(), %problem, "incident not noted");
                exporter.note_error(format!("incident not noted: {problem}"), now);
                self.rest(UNREADABLE_WAIT);
                Some(Taken::Full)
            }
        }
    }

    /// The same of an event that is rendered again.
    pub(super) fn place_again(&mut self, span: Span, event: &Event<'_>, route: usize) {
        self.alerting.place = None;
        if self.exporter.alerts.is_none() || self.is_aside() {
            return;
        }
        let exporter = Arc::clone(&self.exporter);
        let (Some(alerts), route) = (&exporter.alerts, &exporter.routes[route]) else { return };
        let at = At { pass: exporter.pass(), offset: span.from };
        let key = self.alerting.key(route, event);
        self.alerting.place = key.and_then(|Key { key }| alerts.told(&route.place, &key, at));
    }

    /// Asks to resolve the incident that has been quiet longest, if one has been for long enough.
    pub(super) fn resolve_quiet(&mut self, stage: Stage, turn: Turn, now: Instant) {
        if stage > Stage::Run || self.is_aside() || self.alerting.resolving.is_some() {
            return;
        }
        let exporter = Arc::clone(&self.exporter);
        let Some(alerts) = &exporter.alerts else { return };
        // Whoever is behind does not know what is quiet.
        let time = Time::now();
        let is_behind =
            time.ns().saturating_sub(self.alerting.read_to_ns) > BEHIND.as_nanos() as u64;
        if turn != Turn::Dry && is_behind {
            return;
        }
        let Some(quiet) = alerts.due(time.secs) else { return };
        let place = exporter.routes.iter().position(|route| route.place == quiet.place);
        let Some((at, call)) =
            place.and_then(|at| Some((at, exporter.routes[at].resolve.as_ref()?)))
        else {
            let (name, key) = (exporter.name(), &quiet.key);
            tracing::warn!(
                exporter = name,
                key,
                "incident stays open: the key that opened it is not configured any more"
            );
            exporter.counters.alerts.forgotten.add(1);
            self.close_incident(&quiet.name, now);
            return;
        };
        if self.has_place(&exporter, &quiet.place) {
            return;
        }
        let number = u32::try_from(at).expect("routes are counted in config lines");
        if !self.sender.admit_beside(number, now) {
            return;
        }
        if let Err(problem) = alerts.begin_resolve(&quiet.name) {
            exporter.note_error(format!("incident not noted: {problem}"), now);
            alerts.on_failure(&quiet.name, time.secs);
            return;
        }
        let request = call.about(self.calls.via(0, 0), &quiet.key);
        exporter.counters.requests.add(1);
        self.alerting.resolving = Some(quiet);
        let network = Rc::clone(&self.network);
        self.tasks.spawn_local(async move {
            Ended::Resolved { route: at, answer: network.send(request).await }
        });
    }

    /// Takes in what was answered.
    pub(super) fn on_resolved(
        &mut self,
        route: usize,
        answer: Result<Answer, TransportError>,
        now: Instant,
    ) {
        let exporter = Arc::clone(&self.exporter);
        let (Some(quiet), Some(alerts)) = (self.alerting.resolving.take(), &exporter.alerts) else {
            return;
        };
        exporter.measures.note_status(answer.as_ref().map_or(0, |it| it.status));
        let route = &exporter.routes[route];
        let verdict = answer.map_err(|error| error.to_string()).and_then(|answer| {
            let Some(call) = &route.resolve else { return Err(String::new()) };
            let options = route.options(&self.calls.options);
            let verdict = judge(call.call, &Response::without_events(&answer, &options));
            match verdict.fate {
                Fate::Delivered => Ok(()),
                _ => Err(format!("{} (status {})", verdict.reason.class, answer.status)),
            }
        });
        match verdict {
            Ok(()) => {
                exporter.counters.alerts.resolved.add(1);
                self.close_incident(&quiet.name, now);
            }
            Err(problem) => {
                exporter.counters.alerts.resolve_failed.add(1);
                exporter.note_error(format!("incident not resolved: {problem}"), now);
                alerts.on_failure(&quiet.name, Time::now().secs);
            }
        }
    }

    /// Notes that an event was refused, so that it keeps none back.
    pub(super) fn on_alert_refused(&self, span: Span) {
        if let Some(alerts) = &self.exporter.alerts {
            alerts.on_refused(At { pass: self.exporter.pass(), offset: span.from });
        }
    }

    /// Lets go of an incident.
    fn close_incident(&self, name: &Name, now: Instant) {
        let closed = self.exporter.alerts.as_ref().map_or(Ok(()), |alerts| alerts.close(name));
        if let Err(problem) = closed {
            self.exporter.note_error(format!("incident not noted: {problem}"), now);
        }
    }

    /// Whether anything on its way leads to the same incidents.
    fn has_place(&self, exporter: &Exporter, place: &Name) -> bool {
        let routes = (0_u32..).zip(&exporter.routes).filter(|(_, route)| route.place == *place);
        !self.again.is_empty()
            || self.parking.events() > 0
            || routes.into_iter().any(|(number, _)| {
                self.sender.has_route(number)
                    || self.opens.iter().any(|open| open.batch.route() == number)
            })
    }
}

/// Whoever has read up to so long ago knows what is quiet now.
const BEHIND: Duration = Duration::from_secs(30);
