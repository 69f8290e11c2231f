//! Repeats are left out, and incidents that have been quiet are resolved.
//!
//! A request about an incident goes out when the incident's events have settled, and no event of an
//! incident that is being resolved is taken before that was answered: the two never overtake each
//! other. An acknowledgement keeps no event back: what comes behind it goes to the same incident.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::super::alerts::{
    AlertChange, Alerts, Ask, At, Due, Failed, Judged, Name, Place, Sighting,
};
use super::super::block::Entry;
use super::super::exporter::Exporter;
use super::super::route::Route;
use super::super::stop::Stage;
use super::exchange::Ended;
use super::fill::{Taken, UNREADABLE_WAIT};
use super::{Lane, Turn};
use crate::deliver::{
    Answer, Fate, Pace, Reason, Response, Scope, Transport as _, TransportError, Verdict, judge,
    judge_transport,
};
use crate::event::{Event, LeftOut, Settle, Severity, Span, Time, attempt};

/// What a lane knows of incidents.
#[derive(Debug, Default)]
pub(super) struct Alerting {
    /// When it first looked after incidents.
    began: Option<Instant>,
    /// What is asked about an incident.
    asking: Option<Asking>,
    rests: Rests,
    /// Where the event at hand stands in its incident.
    pub(super) place: Option<Place>,
    /// When the last event that was taken was received.
    read_to_ns: u64,
    /// Room for keys.
    room: Vec<u8>,
}

/// A request about an incident that is under way.
#[derive(Debug)]
struct Asking {
    due: Due,
    /// Who waits for the answer, if somebody does.
    answer: Option<Sender<Asked>>,
}

/// Until when nothing is asked about incidents.
#[derive(Debug, Default)]
struct Rests {
    /// Nothing by itself: the disk refused, or the destination is out of order.
    alone: Option<Instant>,
    /// How often in a row it was.
    failures: u32,
    /// Nothing at all, as the destination wishes.
    all: Option<Instant>,
    /// Nothing of these places, since they are held.
    places: BTreeMap<Name, Instant>,
}

/// The incident of a letter.
#[derive(Debug)]
pub(super) struct Arrived {
    place: Name,
    key: String,
    severity: Severity,
}

/// What came of a request, in words where that is nothing.
type Asked = Result<(), String>;

/// What the plan of keys writes.
#[derive(Deserialize)]
struct Key {
    key: String,
}

impl Alerting {
    /// What joins an event to its incident.
    fn key(&mut self, route: &Route, event: &Event<'_>) -> Option<String> {
        key_of(route, event, &mut self.room)
    }

    /// The number of the event at hand where it is a repeat, else 0.
    pub(super) fn number(&self) -> u32 {
        let count = self.place.map(|place| place.count).filter(|&count| count > 1);
        count.map_or(0, |count| u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// The repeats before the event at hand.
    pub(super) fn left_out(&self) -> LeftOut {
        self.place.map(|place| place.left_out).unwrap_or_default()
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
        self.exporter.alerts.as_ref()?;
        if self.is_aside() {
            self.hold_incident(entry.span, event);
            return None;
        }
        let exporter = Arc::clone(&self.exporter);
        let (alerts, counters) = (exporter.alerts.as_ref()?, &exporter.counters.alerts);
        let route = &exporter.routes[self.target.route];
        let key = self.alerting.key(route, event)?;
        let is_resolving = |Asking { due, .. }: &Asking| {
            due.change == AlertChange::Resolve && due.key == key && due.place == route.place
        };
        // What comes behind waits too: order is the log's.
        if self.alerting.asking.as_ref().is_some_and(is_resolving) {
            return Some(Taken::Full);
        }
        self.alerting.read_to_ns = entry.received_ns;
        let at = At { pass: exporter.pass(), offset: entry.span.from };
        let severity = event.opened.severity;
        let seen = Sighting { place: route.place, key: &key, severity, at };
        let is_settled = |from: At, to: At| exporter.has_settled(from, to);
        match alerts.judge(&seen, &is_settled, exporter.wall_secs()) {
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
        self.alerting.place = key.and_then(|key| alerts.told(&route.place, &key, at));
    }

    /// Makes the request about an incident that is due, if one is: what people ask for first, then
    /// what was asked for and not answered, then to resolve what has been quiet for long enough.
    pub(super) fn look_after_incidents(&mut self, stage: Stage, turn: Turn, now: Instant) {
        if self.is_aside() || self.alerting.asking.is_some() {
            return;
        }
        self.alerting.began.get_or_insert(now);
        let exporter = Arc::clone(&self.exporter);
        let Some(alerts) = &exporter.alerts else { return };
        if stage > Stage::Run {
            alerts.asks.refuse("the exporter is about to end or to change; ask again");
            return;
        }
        if let Some((due, route, answer)) = self.take_ask(alerts, now) {
            self.ask_about(due, route, Some(answer), now);
            return;
        }
        if self.alerting.rests.alone.is_some_and(|until| now < until) {
            return;
        }
        // Whoever is behind does not know what is quiet.
        let is_behind =
            Time::now().ns().saturating_sub(self.alerting.read_to_ns) > BEHIND.as_nanos() as u64;
        if turn != Turn::Dry && is_behind {
            return;
        }
        let is_any_kept = Cell::new(false);
        let may_ask = |place: &Name| {
            let is_kept = self.route_to(place).is_some()
                && (!self.alerting.rests.may_ask(place, now) || self.has_place(&exporter, place));
            is_any_kept.set(is_any_kept.get() || is_kept);
            !is_kept
        };
        let (secs, is_ready) = (exporter.wall_secs(), |due: &Due| self.is_settled(due));
        let due = alerts.due_again(secs, (&may_ask, &is_ready));
        let due = due.or_else(|| {
            // What went on while nobody looked may still be on its way here.
            let began = self.alerting.began?;
            let knows = now.saturating_duration_since(began) >= QUIET_AFTER_START;
            knows.then(|| alerts.due_quiet(secs, (&may_ask, &is_ready))).flatten()
        });
        let Some(due) = due else {
            // Looking through those that wait costs something.
            self.alerting.rests.alone = is_any_kept.get().then_some(now + LOOK_AGAIN);
            return;
        };
        let Some(route) = self.route_to(&due.place) else {
            self.leave_open(&due, now);
            return;
        };
        if self.sender.admit_beside(number(route), now) {
            self.ask_about(due, route, None, now);
        }
    }

    /// What somebody asks for that can be done now, and by which route; what can never be done is
    /// answered.
    fn take_ask(&self, alerts: &Alerts, now: Instant) -> Option<(Due, usize, Sender<Asked>)> {
        loop {
            let mut found = Err("");
            let ask = alerts.asks.take(|ask: &Ask| {
                found = alerts.now(&ask.name, ask.change).and_then(|due| {
                    let route = self.route_to(&due.place).ok_or(NO_ROUTE)?;
                    Ok((due, route))
                });
                match &found {
                    Ok((due, route)) => {
                        self.alerting.rests.may_ask(&due.place, now)
                            && self.is_settled(due)
                            && self.sender.admit_beside(number(*route), now)
                    }
                    Err(_) => true,
                }
            })?;
            match found {
                Ok((due, route)) => return Some((due, route, ask.answer)),
                // Whoever went away needs no answer.
                Err(why) => _ = ask.answer.send(Err(why.to_owned())),
            }
        }
    }

    /// Writes down what is asked for, and asks.
    fn ask_about(&mut self, due: Due, route: usize, answer: Option<Sender<Asked>>, now: Instant) {
        let exporter = Arc::clone(&self.exporter);
        let Some(alerts) = &exporter.alerts else { return };
        let call = match due.change {
            AlertChange::Acknowledge => &exporter.routes[route].acknowledge,
            AlertChange::Resolve => &exporter.routes[route].resolve,
        };
        let begun = match call {
            Some(call) => alerts
                .begin(&due.name, due.change, exporter.wall_secs())
                .map(|()| call.about(self.calls.via(0, 0), &due.key))
                .map_err(|problem| format!("incident not noted: {problem}")),
            None => Err("the destination has no such call".to_owned()),
        };
        let request = match begun {
            Ok(request) => request,
            Err(problem) => {
                self.alerting.rests.alone = Some(now + REST);
                tell(answer, Err(problem.clone()));
                exporter.note_error(problem, now);
                return;
            }
        };
        exporter.counters.requests.add(1);
        self.alerting.asking = Some(Asking { due, answer });
        let network = Rc::clone(&self.network);
        self.tasks.spawn_local(async move {
            Ended::Asked { route, answer: network.send(request).await }
        });
    }

    /// Takes in what was answered.
    pub(super) fn on_asked(
        &mut self,
        route: usize,
        answer: Result<Answer, TransportError>,
        now: Instant,
    ) {
        let exporter = Arc::clone(&self.exporter);
        let (Some(asking), Some(alerts)) = (self.alerting.asking.take(), &exporter.alerts) else {
            return;
        };
        exporter.measures.note_status(answer.as_ref().map_or(0, |it| it.status));
        let Asking { due: Due { name, place, key, change, .. }, answer: told } = asking;
        let route = &exporter.routes[route];
        let call = match change {
            AlertChange::Acknowledge => &route.acknowledge,
            AlertChange::Resolve => &route.resolve,
        };
        let verdict = match (answer, call) {
            (Ok(answer), Some(call)) => {
                let options = route.options(&self.calls.options);
                judge(call.call, &Response::without_events(&answer, &options))
            }
            (Ok(_), None) => return,
            (Err(error), _) => judge_transport(&error),
        };
        let wait_max = exporter.settings.retry.retry_after_max;
        self.alerting.rests.on_verdict(place, &verdict, wait_max, now);
        let counters = &exporter.counters.alerts;
        let is_taken = verdict.fate == Fate::Delivered;
        match (change, is_taken) {
            (AlertChange::Acknowledge, true) => counters.acknowledged.add(1),
            (AlertChange::Acknowledge, false) => counters.acknowledge_failed.add(1),
            (AlertChange::Resolve, true) => counters.resolved.add(1),
            (AlertChange::Resolve, false) => counters.resolve_failed.add(1),
        }
        if is_taken {
            self.note_unwritten(alerts.on_success(&name, change), now);
            tell(told, Ok(()));
            return;
        }
        let Reason { status, class, detail, .. } = &verdict.reason;
        let problem = format!("{class} (status {status}) {detail}");
        let is_refused = matches!(verdict.fate, Fate::Reject | Fate::Bisect);
        let failed = alerts.on_failure(&name, change, is_refused, exporter.wall_secs());
        let text = match failed.as_ref().unwrap_or(&Failed::Left) {
            Failed::Again => format!("incident not resolved, tried again: {problem}"),
            Failed::Left => format!("incident not acknowledged, not tried again: {problem}"),
            Failed::LetGo => {
                counters.forgotten.add(1);
                let text = format!("incident stays open, resolving it is refused: {problem}");
                tracing::warn!(exporter = exporter.name(), key, problem, "incident stays open");
                text
            }
        };
        exporter.note_error(text.clone(), now);
        tell(told, Err(text));
        self.note_unwritten(failed.map(drop), now);
    }

    /// Keeps of a letter that is sent again which incident it is of, until it has arrived.
    fn hold_incident(&mut self, span: Span, event: &Event<'_>) {
        let exporter = Arc::clone(&self.exporter);
        let route = &exporter.routes[self.target.route];
        // What is never resolved need not be kept.
        if route.resolve.is_some()
            && let Some(key) = self.alerting.key(route, event)
        {
            let severity = event.opened.severity;
            self.hold_for_letter(span, Arrived { place: route.place, key, severity });
        }
    }

    /// Notes the incidents of letters that have arrived, so that they are resolved as others are.
    pub(super) fn note_arrived(&self, arrived: &[Arrived]) {
        let Some(alerts) = &self.exporter.alerts else { return };
        for Arrived { place, key, severity } in arrived {
            let noted = alerts.note((*place, key), *severity, self.exporter.wall_secs());
            self.note_forgotten(noted);
        }
    }

    fn note_forgotten(&self, noted: io::Result<u64>) {
        let forgotten =
            noted.map(|forgotten| self.exporter.counters.alerts.forgotten.add(forgotten));
        self.note_unwritten(forgotten, Instant::now());
    }

    /// Notes that an event was refused, so that it keeps none back.
    pub(super) fn on_alert_refused(&self, event: Option<&Event<'_>>, span: Span) {
        let Some(alerts) = self.exporter.alerts.as_ref().filter(|_| !self.is_aside()) else {
            return;
        };
        let at = At { pass: self.exporter.pass(), offset: span.from };
        let known = event.and_then(|event| {
            let route = &self.exporter.routes[self.exporter.route_of(event)];
            Some((&route.place, key_of(route, event, &mut Vec::new())?))
        });
        alerts.on_refused(known.as_ref().map(|(place, key)| (*place, key.as_str())), at);
    }

    /// Lets go of what no route leads to any more, or leaves it as it was.
    fn leave_open(&self, due: &Due, now: Instant) {
        let exporter = &self.exporter;
        let Some(alerts) = &exporter.alerts else { return };
        if due.change == AlertChange::Acknowledge {
            let left = alerts.on_failure(&due.name, due.change, false, exporter.wall_secs());
            self.note_unwritten(left.map(drop), now);
            return;
        }
        let (name, key) = (exporter.name(), &due.key);
        tracing::warn!(exporter = name, key, "{NO_ROUTE}");
        exporter.counters.alerts.forgotten.add(1);
        self.note_unwritten(alerts.close(&due.name), now);
    }

    fn note_unwritten(&self, written: io::Result<()>, now: Instant) {
        if let Err(problem) = written {
            self.exporter.note_error(format!("incident not noted: {problem}"), now);
        }
    }

    /// Whether something is asked about an incident.
    pub(super) fn is_asking(&self) -> bool {
        self.alerting.asking.is_some()
    }

    /// Notes the incident that a digest is, so that it is resolved as others are. It goes out
    /// whatever is known of that incident; `span` is that of its last event.
    pub(super) fn note_digest(&mut self, route: usize, event: &Event<'_>, span: Span) {
        let exporter = Arc::clone(&self.exporter);
        let route = &exporter.routes[route];
        // What is never resolved need not be kept.
        let (Some(alerts), Some(_)) = (&exporter.alerts, &route.resolve) else { return };
        let Some(key) = key_of(route, event, &mut self.alerting.room) else { return };
        let (place, severity, now) = (route.place, event.opened.severity, exporter.wall_secs());
        self.note_forgotten(match self.is_aside() {
            true => alerts.note((place, &key), severity, now),
            false => {
                let at = At { pass: exporter.pass(), offset: span.from };
                let seen = Sighting { place, key: &key, severity, at };
                let is_settled = |from: At, to: At| exporter.has_settled(from, to);
                alerts.judge(&seen, &is_settled, now).map(|(_, forgotten)| forgotten)
            }
        });
    }

    /// A route that leads to the incidents of a place.
    fn route_to(&self, place: &Name) -> Option<usize> {
        self.exporter.routes.iter().position(|route| route.place == *place)
    }

    /// Whether the events of an incident that were sent have arrived, or never will: nothing that
    /// is asked about the incident may overtake them.
    fn is_settled(&self, due: &Due) -> bool {
        let last = (due.sent_at, due.sent_at);
        let mut sent = due.earlier.iter().chain([&last]);
        sent.all(|(from, to)| self.exporter.has_settled(*from, *to))
    }

    /// Whether anything on its way leads to the same incidents.
    fn has_place(&self, exporter: &Exporter, place: &Name) -> bool {
        let routes = (0_u32..).zip(&exporter.routes).filter(|(_, route)| route.place == *place);
        !self.gathering.is_empty()
            || routes.into_iter().any(|(number, _)| {
                self.sender.has_route(number)
                    || self.parking.has_route(number)
                    || self.again.iter().any(|it| it.route == number)
                    || self.opens.iter().any(|open| open.batch.route() == number)
            })
    }
}

impl Rests {
    /// Whether something may be asked about the incidents of a place.
    fn may_ask(&self, place: &Name, now: Instant) -> bool {
        let rest = self.all.max(self.places.get(place).copied());
        rest.is_none_or(|until| until <= now)
    }

    /// Takes in what the answer to a request about an incident of this place means.
    fn on_verdict(&mut self, place: Name, verdict: &Verdict, wait_max: Duration, now: Instant) {
        self.places.retain(|_, until| *until > now);
        let asked = match verdict.pace {
            Pace::Pause(Some(wait)) => Some(now + wait.min(wait_max).max(REST)),
            Pace::Pause(None) | Pace::Keep | Pace::Ease => None,
        };
        match (&verdict.fate, asked) {
            (Fate::Hold { scope: Scope::Route, .. }, _) => {
                self.places.insert(place, asked.unwrap_or(now + REST));
            }
            (Fate::Hold { .. }, _) => self.all = asked.or(Some(now + REST)),
            (_, Some(until)) => self.all = Some(until),
            (Fate::Retry, None) => {
                self.alone = Some(now + REST * (1 << self.failures.min(DOUBLINGS_MAX)));
                self.failures += 1;
            }
            _ => self.failures = 0,
        }
    }
}

/// What joins an event to an incident; `room` is for that.
fn key_of(route: &Route, event: &Event<'_>, room: &mut Vec<u8>) -> Option<String> {
    room.clear();
    let plan = route.alert.as_ref()?;
    attempt(|| plan.encode(event, room))?;
    let Key { key } = serde_json::from_slice(room).ok()?;
    Some(key)
}

/// Tells whoever waits.
fn tell(answer: Option<Sender<Asked>>, asked: Asked) {
    // Whoever went away needs no answer.
    let _ = answer.map(|answer| answer.send(asked));
}

fn number(route: usize) -> u32 {
    u32::try_from(route).expect("routes are counted in config lines")
}

/// Of an incident that nobody can say anything about any more.
const NO_ROUTE: &str = "incident stays open: the key that opened it is not configured any more";
/// How long at least nothing is asked after the disk refused to note it, or the destination to take
/// it: "back off at least 30 s".
const REST: Duration = Duration::from_secs(30);
/// While the destination is out of order it is asked after twice as long each time, so often.
const DOUBLINGS_MAX: u32 = 5;
/// Where all that is due has to wait it is looked at again after this.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Nothing is taken for quiet so long after a start: the inputs read first what was written while
/// they were down.
const QUIET_AFTER_START: Duration = Duration::from_secs(60);
/// Whoever has read up to so long ago knows what is quiet now.
const BEHIND: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::Cause;

    #[test]
    fn what_the_destination_wishes_is_waited_for() {
        let (mut rests, now) = (Rests::default(), Instant::now());
        let secs = Duration::from_secs;
        let mut on = |fate: Fate, pace: Pace, at: u64| {
            let verdict = Verdict { fate, pace, reason: Reason::default() };
            rests.on_verdict([1; 16], &verdict, secs(300), now + secs(at));
            let asks = |place: u8, at: u64| rests.may_ask(&[place; 16], now + secs(at));
            let from = |place| (0..1000).find(|at| asks(place, *at)).expect("it ends");
            let alone = rests.alone.map_or(0, |until| (until - now).as_secs());
            (from(1), from(2), alone)
        };
        let held = |scope| Fate::Hold { cause: Cause::Outage, scope };
        // Of one key, for as long as it says, half a minute at least.
        assert_eq!(on(held(Scope::Route), Pace::Pause(Some(secs(90))), 0), (90, 0, 0));
        assert_eq!(on(held(Scope::Route), Pace::Pause(Some(secs(1))), 100), (130, 0, 0));
        assert_eq!(on(held(Scope::Route), Pace::Keep, 200), (230, 0, 0));
        // Out of order: nothing by itself, ever less often.
        assert_eq!(on(Fate::Retry, Pace::Pause(None), 300), (0, 0, 330));
        assert_eq!(on(Fate::Retry, Pace::Pause(None), 330), (0, 0, 390));
        assert_eq!(on(Fate::Delivered, Pace::Keep, 390), (0, 0, 390));
        assert_eq!(on(Fate::Retry, Pace::Keep, 400), (0, 0, 430));
        // Of all keys.
        assert_eq!(on(held(Scope::Exporter), Pace::Keep, 500), (530, 530, 430));
        assert_eq!(on(Fate::Delivered, Pace::Pause(Some(secs(999))), 600), (900, 900, 430));
    }
}
