//! Digests: events that are told of together, since there are too many of them for their place, or
//! since they are too old for each to be told of.
//!
//! A digest is owed nowhere: its events are not settled before it is answered, so that whoever
//! comes after a kill reads them again and tells of them anew.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::block::Entry;
use super::super::digest::{Summary, Why, digest_record};
use super::super::exporter::Exporter;
use super::super::parking::WAITING_MAX;
use super::super::stop::Stage;
use super::fill::Taken;
use super::{Lane, Turn};
use crate::deliver::{Charge, FLOOD_KEY, Fold, History, Item, MAX_AGE_KEY, Reshape, Sender};
use crate::event::{Event, Frame, Offset, Opened, Settle, Settled, Severity, Time};

/// What one lane tells of together.
#[derive(Debug)]
pub(super) struct Gathering {
    /// How long events may wait for the rate of their place.
    wait_max: Option<Duration>,
    /// How long ago events may have been received.
    age_max: Option<Duration>,
    /// For each route the first one that leads to the same place; none where places have no rate,
    /// and those who are told may differ.
    places: Vec<u32>,
    /// At most one of each cause and place.
    digests: Vec<Digest>,
    events: u64,
    /// Whether an event was read since that is not too old.
    is_caught_up: bool,
}

/// One digest that is gathered.
#[derive(Debug)]
struct Digest {
    why: Why,
    /// That of its first event.
    route: usize,
    summary: Summary,
    items: Vec<Item>,
    charge: Charge,
    since: Instant,
}

impl Gathering {
    pub(super) fn new(exporter: &Exporter) -> Self {
        let options = &exporter.settings.options;
        let span = |key| options.number(key).map(Duration::from_millis);
        // A hook has an age of its own, and waits for its rate.
        let is_hook = exporter.hook.is_some();
        Self {
            wait_max: span(FLOOD_KEY).filter(|_| !is_hook),
            age_max: span(MAX_AGE_KEY).filter(|_| !is_hook),
            places: exporter
                .settings
                .route_rate()
                .map_or_else(Vec::new, |_| exporter.places.clone()),
            digests: Vec::new(),
            events: 0,
            is_caught_up: false,
        }
    }

    /// Events that are gathered.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// Whether nothing is.
    pub(super) fn is_empty(&self) -> bool {
        self.digests.is_empty()
    }

    /// When a digest may be due by itself.
    pub(super) fn wakes(&self, sender: &Sender, now: Instant) -> impl Iterator<Item = Instant> {
        self.digests.iter().flat_map(move |digest| {
            let free = sender.free_at(number(digest.route), now);
            [free, Some(digest.since + WAIT_MAX)].into_iter().flatten()
        })
    }

    fn find(&self, why: Why, route: usize) -> Option<usize> {
        let place = |route: usize| self.places.get(route).map_or(route, |&place| place as usize);
        let own = place(route);
        self.digests.iter().position(|it| it.why == why && place(it.route) == own)
    }
}

impl Lane {
    /// Tells of an event in a digest where it is too old; nothing where it is not.
    pub(super) fn weigh_age(
        &mut self,
        entry: &Entry<'_>,
        event: &Event<'_>,
        now: Instant,
    ) -> Option<Taken> {
        self.gathering.age_max?;
        if !self.is_stale(entry.received_ns) || self.is_asked_for(entry.span.from) {
            self.gathering.is_caught_up = true;
            return None;
        }
        self.gather(item(entry), event, (self.target.route, Why::Stale), now);
        Some(Taken::Done)
    }

    /// The same where there are too many for its place.
    pub(super) fn weigh_flood(
        &mut self,
        entry: &Entry<'_>,
        event: &Event<'_>,
        now: Instant,
    ) -> Option<Taken> {
        let route = self.target.route;
        if !self.is_flood(route, event.opened.severity, now) {
            return None;
        }
        self.gather(item(entry), event, (route, Why::Flood), now);
        Some(Taken::Done)
    }

    /// The same for one that is to be rendered again: whether it is told of in a digest instead.
    pub(super) fn gather_again(
        &mut self,
        item: Item,
        event: &Event<'_>,
        reshape: &Reshape,
        now: Instant,
    ) -> bool {
        let (route, severity) = (reshape.route as usize, event.opened.severity);
        let is_new = reshape.level.is_none() && reshape.history.attempts == 0;
        let is_stale = self.is_stale(item.received_ns) && !self.is_asked_for(item.span.from);
        let why = match is_stale {
            true => Why::Stale,
            false if is_new && self.is_flood(route, severity, now) => Why::Flood,
            false => return false,
        };
        // It opens no incident after all.
        self.on_alert_refused(Some(event), item.span);
        self.gather(item, event, (route, why), now);
        true
    }

    /// Gives the digests away whose time has come: old events once no more are read, the others
    /// once their place takes something, or after a while whatever waits there.
    pub(super) fn close_digests(&mut self, stage: Stage, turn: Turn, now: Instant) {
        while let Some(at) = self.digest_due(stage, turn, now) {
            self.close_digest(at);
            self.render_again(now);
        }
    }

    fn digest_due(&self, stage: Stage, turn: Turn, now: Instant) -> Option<usize> {
        let Gathering { digests, is_caught_up, .. } = &self.gathering;
        if digests.is_empty() || self.warming && stage < Stage::Flush {
            return None;
        }
        let may_go = self.sender.room() && !self.is_asking();
        digests.iter().position(|digest| {
            let is_overdue = now.saturating_duration_since(digest.since) >= WAIT_MAX;
            let is_whole = digest.why == Why::Flood || *is_caught_up || turn == Turn::Dry;
            let is_free =
                self.sender.free_at(number(digest.route), now).is_some_and(|at| at <= now);
            stage >= Stage::Flush || may_go && (is_overdue || is_whole && is_free)
        })
    }

    /// Gives up what retention needs the place of.
    pub(super) fn give_up_gathered(&mut self, floor: Offset) {
        let settled = &mut self.outcomes.settled;
        let before = settled.len();
        for digest in &mut self.gathering.digests {
            digest.items.retain(|item| {
                let is_below = item.span.to <= floor;
                if is_below {
                    settled.push(Settled { span: item.span, events: 1, fate: Settle::Skipped });
                }
                !is_below
            });
        }
        self.gathering.events -= (settled.len() - before) as u64;
        self.gathering.digests.retain(|digest| !digest.items.is_empty());
    }

    /// Opens a record of our own for `act`; nothing where that cannot be.
    pub(super) fn with_record<T>(
        &mut self,
        record: &str,
        act: impl FnOnce(&mut Self, &Event<'_>) -> T,
    ) -> Option<T> {
        let opening = self.bench.openings.load();
        let (mut arena, mut opened) = (Vec::new(), Opened::default());
        let frame = Frame { received_ns: Time::now().ns(), checked: true, ..Frame::default() };
        opening.begin(&mut arena);
        opening.open_prepared(&frame, record.as_bytes(), &mut arena, &mut opened).ok()?;
        Some(act(self, &Event::new(&opened, frame, record.as_bytes(), &arena)))
    }

    fn is_stale(&self, received_ns: u64) -> bool {
        let Some(age_max) = self.gathering.age_max else { return false };
        u128::from(Time::now().ns().saturating_sub(received_ns)) > age_max.as_nanos()
    }

    /// Whether an event for this route had to wait for too long. What comes behind one that had to
    /// is gathered too, so that the digest's turn comes.
    fn is_flood(&self, route: usize, severity: Severity, now: Instant) -> bool {
        let Some(wait_max) = self.gathering.wait_max else { return false };
        if severity >= Severity::Critical || self.is_aside() {
            return false;
        }
        let wait = self.sender.wait_for(number(route), now);
        wait > wait_max
            || self.gathering.find(Why::Flood, route).is_some()
            || !wait.is_zero() && self.sender.waiting(now) >= WAITING_MAX
    }

    /// Adds an event to the digest of its place.
    fn gather(&mut self, item: Item, event: &Event<'_>, of: (usize, Why), now: Instant) {
        let (route, why) = of;
        let gathering = &mut self.gathering;
        let at = gathering.find(why, route).unwrap_or_else(|| {
            let charge = self.exporter.allowance.charge();
            let (summary, items) = (Summary::new(), Vec::new());
            gathering.digests.push(Digest { why, route, summary, items, charge, since: now });
            gathering.digests.len() - 1
        });
        let digest = &mut gathering.digests[at];
        digest.summary.add(event);
        digest.items.push(item);
        gathering.events += 1;
        let has_room = digest.charge.cover(size_of_val(digest.items.as_slice()) as u64);
        if !has_room || digest.items.len() >= EVENTS_MAX {
            self.close_digest(at);
        }
    }

    /// Has the document of a digest rendered and sent.
    fn close_digest(&mut self, at: usize) {
        let Digest { why, route, summary, mut items, .. } = self.gathering.digests.swap_remove(at);
        self.gathering.events -= items.len() as u64;
        if self.gathering.digests.iter().all(|digest| digest.why != Why::Stale) {
            self.gathering.is_caught_up = false;
        }
        // Those that waited for a route come behind later ones.
        items.sort_unstable_by_key(|item| item.span.from);
        let name = self.exporter.name();
        let (first, last) = (items[0], items[items.len() - 1]);
        let (from, to, pass) = (first.span.from, last.span.to, self.exporter.pass());
        let mark = format!("{pass}:{from}:{to}:{}", first.received_ns);
        let record = digest_record(name, why, &summary, &mark, Time::now());
        let events = items.len();
        match why {
            Why::Flood => tracing::debug!(exporter = name, events, "too many events: a digest"),
            Why::Stale => tracing::info!(exporter = name, events, "old events: a digest"),
        }
        let fate = match why {
            Why::Stale => Settle::Filtered,
            Why::Flood => Settle::Delivered,
        };
        let last = last.span;
        self.with_record(&record, |lane, event| lane.note_digest(route, event, last));
        let fold = Some(Arc::new(Fold { record, fate }));
        let packing = Arc::clone(&self.exporter.routes[route].packing);
        let (route, history) = (number(route), History::default());
        let reshape = Reshape { items, route, packing, level: None, history, fold };
        self.sender.unpark(&reshape);
        self.again.push_back(reshape);
    }
}

fn item(entry: &Entry<'_>) -> Item {
    Item { span: entry.span, received_ns: entry.received_ns, start: 0, end: 0 }
}

fn number(route: usize) -> u32 {
    u32::try_from(route).expect("routes are counted in config lines")
}

/// Events of one digest: 2 MB of positions.
const EVENTS_MAX: usize = 1 << 16;
/// A digest waits no longer than this behind what is more urgent, or for more old events.
const WAIT_MAX: Duration = Duration::from_secs(60);
