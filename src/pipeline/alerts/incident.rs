//! Incidents and their table: what an event, a request and its answer make of one.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::Bound;

use super::super::store::{Form, Size, Table};
use super::{AlertChange, At, Due, Judged, Name, Place, Sighting, Which};
use crate::event::{LeftOut, Offset};

/// One incident; times are in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Incident {
    pub(super) place: Name,
    pub(super) key: Box<str>,
    pub(super) opened: i64,
    /// When its last event was seen.
    pub(super) seen: i64,
    /// Up to where its events are counted.
    pub(super) seen_at: At,
    /// When one was sent last; long ago where that was refused.
    pub(super) sent: i64,
    pub(super) sent_at: At,
    /// What that one told.
    pub(super) sent_as: Place,
    /// How bad it was.
    pub(super) severity: u8,
    /// Events so far.
    pub(super) count: u64,
    pub(super) status: Status,
    /// When its acknowledgement was last asked for; 0 where it never was.
    pub(super) asked: i64,
    /// Those sent before the last that may not have arrived.
    pub(super) earlier: Earlier,
}

/// Events of an incident that were sent and may be read again, since they are not settled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Earlier {
    /// Where each was read, and what it told; the oldest first.
    places: VecDeque<(At, Place)>,
    /// From where to where there were more than fit.
    beyond: Option<(At, At)>,
}

/// Says of everything from one place to another whether it is settled.
pub(super) type IsSettled<'a> = &'a dyn Fn(At, At) -> bool;

/// How far an incident is; the numbers are those of its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// Nobody has said that they look after it.
    Open = 0,
    /// It may be resolved already: it is asked for until that was answered.
    Resolving = 1,
    /// It may be acknowledged already: it is asked for once more after a kill.
    Acking = 2,
    /// It is acknowledged.
    Acked = 3,
}

/// The table, by name of place and key.
#[derive(Debug, Default)]
pub(super) struct Incidents {
    pub(super) all: HashMap<Name, Entry>,
    /// Since when each has been quiet of which nothing is asked.
    pub(super) quiet: Order,
    /// When each is to be asked for of which something is.
    pub(super) asked: Order,
}

/// Incidents of each place by a time of theirs: one place that has to wait keeps none of another
/// from being found.
#[derive(Debug, Default)]
pub(super) struct Order(BTreeSet<(Name, i64, Name)>);

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) incident: Incident,
    /// Its time in one of the two orders.
    time: i64,
    /// How often resolving it has failed.
    failures: u32,
    /// How often that was refused for good.
    refusals: u32,
}

/// What becomes of an event, and of its incident where that changes.
pub(super) fn judge(
    known: Option<&Incident>,
    seen: &Sighting<'_>,
    (window, is_settled): (i64, IsSettled<'_>),
    now: i64,
) -> (Judged, Option<Incident>) {
    let &Sighting { place, key, severity, at } = seen;
    let severity = severity as u8;
    let Some(known) = known else {
        let new = Incident::new((place, key), severity, now, at);
        return (Judged::Due(new.sent_as), Some(new));
    };
    let is_resolving = known.status == Status::Resolving;
    if at <= known.seen_at {
        // It was counted before this process. It may not have arrived, unless it was settled
        // before the incident was resolved.
        let unknown = || {
            let was_sent = window == 0 || known.earlier.is_beyond(at);
            was_sent.then_some(Place { count: known.count, left_out: LeftOut::default() })
        };
        let as_before = known.told(at).or_else(unknown);
        let due = as_before.filter(|_| !is_resolving);
        return (due.map_or(Judged::Deduplicated, Judged::Due), None);
    }
    if is_resolving {
        // It may be closed: what comes now opens it anew.
        return judge(None, seen, (window, is_settled), now);
    }
    let count = known.count.saturating_add(1);
    let seen = Incident { seen: now, seen_at: at, count, ..known.clone() };
    // The clock may have been put back.
    let is_near = now.abs_diff(known.sent) < window.unsigned_abs();
    if is_near && severity <= known.severity {
        return (Judged::Deduplicated, Some(seen));
    }
    let left_out = LeftOut {
        events: (count - 1).saturating_sub(known.sent_as.count),
        // One that was refused counts as sent long ago.
        since: known.sent.max(known.opened),
    };
    let mut earlier = known.earlier.clone();
    // Without a window all are sent again, whoever remembers them.
    if window != 0 {
        earlier.add(known.sent_at, known.sent_as, is_settled);
    }
    let sent_as = Place { count, left_out };
    let status = match known.status {
        // Whoever asked did not know of this one: it is not asked for again.
        Status::Acking => Status::Open,
        status => status,
    };
    let next = Incident { sent: now, sent_at: at, sent_as, severity, status, earlier, ..seen };
    (Judged::Due(sent_as), Some(next))
}

impl Earlier {
    /// Adds one that was sent, and lets go of all that have settled.
    fn add(&mut self, at: At, place: Place, is_settled: IsSettled<'_>) {
        self.places.push_back((at, place));
        self.places.retain(|(at, _)| !is_settled(*at, *at));
        self.beyond.take_if(|(from, to)| is_settled(*from, *to));
        while self.places.len() > EARLIER_MAX {
            let Some((at, _)) = self.places.pop_front() else { return };
            self.beyond = Some((self.beyond.map_or(at, |(from, _)| from), at));
        }
    }

    /// Whether one that was read there may have been sent, and nobody knows any more.
    fn is_beyond(&self, at: At) -> bool {
        self.beyond.is_some_and(|(from, to)| (from..=to).contains(&at))
    }

    /// From where to where something may not have settled.
    pub(super) fn spans(&self) -> impl Iterator<Item = (At, At)> {
        self.beyond.into_iter().chain(self.places.iter().map(|(at, _)| (*at, *at)))
    }

    fn is_empty(&self) -> bool {
        self.places.is_empty() && self.beyond.is_none()
    }

    fn record(&self, record: &mut Vec<u8>) {
        let len = u8::try_from(self.places.len()).expect("there are few");
        record.extend_from_slice(&[len, u8::from(self.beyond.is_some())]);
        if let Some((from, to)) = self.beyond {
            from.record(record);
            to.record(record);
        }
        for (at, place) in &self.places {
            at.record(record);
            place.record(record);
        }
    }

    /// What stands there, and where it ends.
    fn parse(record: &[u8], mut at: usize) -> Option<(Self, usize)> {
        let &[len, has_beyond] = record.get(at..)?.first_chunk()?;
        at += 2;
        let mut beyond = None;
        if has_beyond != 0 {
            beyond = Some((At::parse(record, at)?, At::parse(record, at + AT_BYTES)?));
            at += 2 * AT_BYTES;
        }
        let mut places = VecDeque::new();
        for _ in 0..len {
            places.push_back((At::parse(record, at)?, Place::parse(record, at + AT_BYTES)?));
            at += AT_BYTES + PLACE_BYTES;
        }
        Some((Self { places, beyond }, at))
    }
}

impl At {
    const FIRST: Self = Self { pass: 0, offset: Offset::ZERO };
    /// In no pass that there is: settled long ago.
    const NOWHERE: Self = Self { pass: u32::MAX, offset: Offset::ZERO };

    fn record(self, record: &mut Vec<u8>) {
        record.extend_from_slice(&self.offset.bytes().to_le_bytes());
        record.extend_from_slice(&u64::from(self.pass).to_le_bytes());
    }

    fn parse(record: &[u8], at: usize) -> Option<Self> {
        let pass = u32::try_from(number(record, at + 8)?).ok()?;
        Some(Self { pass, offset: Offset::new(number(record, at)?) })
    }
}

impl Place {
    fn record(self, record: &mut Vec<u8>) {
        let Self { count, left_out } = self;
        record.extend_from_slice(&count.to_le_bytes());
        record.extend_from_slice(&left_out.events.to_le_bytes());
        record.extend_from_slice(&left_out.since.to_le_bytes());
    }

    fn parse(record: &[u8], at: usize) -> Option<Self> {
        let since = number(record, at + 16)?.cast_signed();
        let left_out = LeftOut { events: number(record, at + 8)?, since };
        Some(Self { count: number(record, at)?, left_out })
    }
}

fn number(record: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*record.get(at..)?.first_chunk()?))
}

impl Status {
    fn parse(number: u8) -> Option<Self> {
        let all = [Self::Open, Self::Resolving, Self::Acking, Self::Acked];
        all.into_iter().find(|it| *it as u8 == number)
    }

    /// What is asked of the destination, if something is.
    pub(super) fn asks(self) -> Option<AlertChange> {
        match self {
            Self::Open | Self::Acked => None,
            Self::Acking => Some(AlertChange::Acknowledge),
            Self::Resolving => Some(AlertChange::Resolve),
        }
    }

    /// The word for people: whoever asks for an acknowledgement has none yet.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Open | Self::Acking => "open",
            Self::Acked => "acked",
            Self::Resolving => "resolving",
        }
    }
}

impl Order {
    /// The places that have some.
    pub(super) fn places(&self) -> impl Iterator<Item = Name> {
        let mut next = self.0.first().map(|&(place, ..)| place);
        std::iter::from_fn(move || {
            let place = next?;
            let behind = (Bound::Excluded((place, i64::MAX, [u8::MAX; 16])), Bound::Unbounded);
            next = self.0.range(behind).next().map(|&(place, ..)| place);
            Some(place)
        })
    }

    /// The times and names of those of a place, the earliest first.
    pub(super) fn of(&self, place: Name) -> impl Iterator<Item = (i64, Name)> {
        let own = self.0.range((place, i64::MIN, [0; 16])..=(place, i64::MAX, [u8::MAX; 16]));
        own.map(|&(_, time, name)| (time, name))
    }

    /// All of them.
    fn all(&self) -> impl Iterator<Item = Name> {
        self.0.iter().map(|&(.., name)| name)
    }

    /// The earliest of all places.
    pub(super) fn first(&self) -> Option<Name> {
        let firsts = self.places().filter_map(|place| self.of(place).next());
        firsts.min().map(|(_, name)| name)
    }
}

impl Incidents {
    pub(super) fn of(&self, name: &Name) -> Option<&Incident> {
        self.all.get(name).map(|entry| &entry.incident)
    }

    /// The request that is due first by one of the two orders, of a place that may be asked about
    /// and of what is ready.
    pub(super) fn first(
        &self,
        order: &Order,
        is_over: &dyn Fn(i64) -> bool,
        (may_ask, is_ready): Which<'_>,
    ) -> Option<Due> {
        let due = |name: Name| {
            let incident = self.of(&name)?;
            Some(incident.due(name, incident.status.asks().unwrap_or(AlertChange::Resolve)))
        };
        let over = |place| order.of(place).take_while(|(time, _)| is_over(*time));
        let places = order.places().filter(|it| over(*it).next().is_some() && may_ask(it));
        let ready = places.filter_map(|place| {
            let dues = over(place).filter_map(|(time, name)| Some((time, due(name)?)));
            dues.take(SKIPS_MAX).find(|(_, due)| is_ready(due))
        });
        ready.min_by_key(|(time, _)| *time).map(|(_, due)| due)
    }

    /// When the newest event of all was seen.
    pub(super) fn newest(&self) -> Option<i64> {
        self.all.values().map(|entry| entry.incident.seen).max()
    }

    /// Sets all stamps so many seconds later.
    pub(super) fn shift(&mut self, secs: i64) {
        let all = std::mem::take(&mut self.all);
        (self.quiet, self.asked) = (Order::default(), Order::default());
        for (name, mut entry) in all {
            entry.shift(secs);
            self.insert(name, entry);
        }
    }

    /// Puts an incident as an event has left it, or a file has it.
    pub(super) fn put(&mut self, name: Name, incident: Incident) {
        let asked = self.all.get(&name).filter(|it| it.incident.status.asks().is_some());
        let time = match incident.status.asks() {
            None => incident.seen,
            // What an earlier process asked for is due at once.
            Some(_) => asked.map_or(AT_ONCE, |entry| entry.time),
        };
        self.insert(name, Entry { incident, time, failures: 0, refusals: 0 });
    }

    /// Puts an incident that no event has changed; what is asked of it is due at this time.
    pub(super) fn change(&mut self, name: &Name, incident: Incident, due: i64) {
        let Some(entry) = self.all.get(name) else { return };
        let time = match (incident.status.asks(), entry.incident.status.asks()) {
            (Some(_), _) => due,
            (None, None) => entry.time,
            (None, Some(_)) => incident.seen,
        };
        let &Entry { failures, refusals, .. } = entry;
        self.insert(*name, Entry { incident, time, failures, refusals });
    }

    /// Asks no more for acknowledgements that were asked for before then; says of which keys.
    pub(super) fn cancel(&mut self, before: i64) -> Vec<String> {
        let names: Vec<Name> = self.asked.all().collect();
        let mut keys = Vec::new();
        for name in names {
            let Some(incident) = self.of(&name) else { continue };
            if incident.status == Status::Acking && incident.asked < before {
                keys.push(incident.key.to_string());
                let next = Incident { status: Status::Open, asked: 0, ..incident.clone() };
                self.change(&name, next, 0);
            }
        }
        keys
    }

    /// Puts an incident of which nothing changes but what is known.
    pub(super) fn amend(&mut self, name: &Name, incident: Incident) {
        self.all.entry(*name).and_modify(|entry| entry.incident = incident);
    }

    /// Lets an incident that could not be resolved wait; says how often that was refused so far.
    pub(super) fn postpone(&mut self, name: &Name, is_refused: bool, now: i64) -> u32 {
        let Some(entry) = self.take(name) else { return 0 };
        let wait = (RETRY_SECS << entry.failures.min(6)).min(RETRY_SECS_MAX);
        let failures = entry.failures.saturating_add(1);
        let refusals = entry.refusals + u32::from(is_refused);
        let time = now.saturating_add(wait);
        self.insert(*name, Entry { time, failures, refusals, ..entry });
        refusals
    }

    pub(super) fn remove(&mut self, name: &Name) {
        self.take(name);
    }

    fn take(&mut self, name: &Name) -> Option<Entry> {
        let entry = self.all.remove(name)?;
        self.order(&entry).0.remove(&(entry.incident.place, entry.time, *name));
        Some(entry)
    }

    fn insert(&mut self, name: Name, entry: Entry) {
        self.take(&name);
        self.order(&entry).0.insert((entry.incident.place, entry.time, name));
        self.all.insert(name, entry);
    }

    fn order(&mut self, entry: &Entry) -> &mut Order {
        match entry.incident.status.asks() {
            Some(_) => &mut self.asked,
            None => &mut self.quiet,
        }
    }
}

impl Entry {
    fn shift(&mut self, secs: i64) {
        let Incident { opened, seen, sent, asked, .. } = &mut self.incident;
        for time in [opened, seen, sent, asked, &mut self.time] {
            if ![0, NEVER, AT_ONCE].contains(time) {
                *time = time.saturating_add(secs);
            }
        }
    }
}

impl Table for Incidents {
    const FORM: Form = Form { magic: b"shrikeal", version: 3, size: Size::Upto(RECORD_BYTES_MAX) };

    fn restore(&mut self, record: &[u8]) -> bool {
        let Some((name, rest)) = record.split_first_chunk::<16>() else { return false };
        if rest.is_empty() {
            self.remove(name);
            return true;
        }
        Incident::parse(rest).map(|incident| self.put(*name, incident)).is_some()
    }

    fn records(&self, each: &mut dyn FnMut(&[u8])) {
        self.all.iter().for_each(|(name, entry)| each(&entry.incident.record(name)));
    }
}

impl Incident {
    /// An incident of one event, which was read there and is sent.
    pub(super) fn new((place, key): (Name, &str), severity: u8, now: i64, at: At) -> Self {
        Self {
            place,
            key: key.into(),
            opened: now,
            seen: now,
            seen_at: at,
            sent: now,
            sent_at: at,
            sent_as: Place { count: 1, left_out: LeftOut::default() },
            severity,
            count: 1,
            status: Status::Open,
            asked: 0,
            earlier: Earlier::default(),
        }
    }

    /// What becomes of an incident, if there is one, when an event arrived that was not read from
    /// the log.
    pub(super) fn with(known: Option<&Self>, of: (Name, &str), severity: u8, now: i64) -> Self {
        match known.filter(|it| it.status != Status::Resolving) {
            Some(known) => Self { seen: now, ..known.clone() },
            // Whatever the log has of it comes behind.
            None => Self { seen_at: At::FIRST, ..Self::new(of, severity, now, At::NOWHERE) },
        }
    }

    /// What the event that was read there told, where it is known to have been sent.
    pub(super) fn told(&self, at: At) -> Option<Place> {
        let last = (self.sent_at, self.sent_as);
        let mut sent = self.earlier.places.iter().chain([&last]);
        sent.find(|(sent_at, _)| *sent_at == at).map(|(_, place)| *place)
    }

    pub(super) fn record(&self, name: &Name) -> Vec<u8> {
        let mut record = name.to_vec();
        record.extend_from_slice(&self.place);
        for time in [self.opened, self.seen, self.sent] {
            record.extend_from_slice(&time.to_le_bytes());
        }
        [self.seen_at, self.sent_at].iter().for_each(|at| at.record(&mut record));
        record.extend_from_slice(&self.count.to_le_bytes());
        let has_earlier = if self.earlier.is_empty() { 0 } else { HAS_EARLIER };
        let has_asked = if self.asked == 0 { 0 } else { HAS_ASKED };
        let flags = HAS_PLACE | has_earlier | has_asked | self.status as u8;
        record.extend_from_slice(&[self.severity, flags]);
        self.sent_as.record(&mut record);
        if has_earlier != 0 {
            self.earlier.record(&mut record);
        }
        if has_asked != 0 {
            record.extend_from_slice(&self.asked.to_le_bytes());
        }
        record.extend_from_slice(self.key.as_bytes());
        record
    }

    fn parse(record: &[u8]) -> Option<Self> {
        let time = |at: usize| number(record, at).map(u64::cast_signed);
        let (count, flags) = (number(record, 72)?, *record.get(81)?);
        // Version 1 had no more than the key behind them.
        let (sent_as, key_at) = match flags & HAS_PLACE {
            0 => (Place { count, left_out: LeftOut::default() }, 82),
            _ => (Place::parse(record, 82)?, 82 + PLACE_BYTES),
        };
        // Version 2 had none of those before the last.
        let (earlier, key_at) = match flags & HAS_EARLIER {
            0 => (Earlier::default(), key_at),
            _ => Earlier::parse(record, key_at)?,
        };
        let (asked, key_at) = match flags & HAS_ASKED {
            0 => (0, key_at),
            _ => (time(key_at)?, key_at + 8),
        };
        Some(Self {
            place: *record.first_chunk()?,
            opened: time(16)?,
            seen: time(24)?,
            sent: time(32)?,
            seen_at: At::parse(record, 40)?,
            sent_at: At::parse(record, 56)?,
            sent_as,
            count,
            severity: *record.get(80)?,
            status: Status::parse(flags & !(HAS_PLACE | HAS_EARLIER | HAS_ASKED))?,
            asked,
            earlier,
            key: std::str::from_utf8(record.get(key_at..)?).ok()?.into(),
        })
    }
}

/// A name, numbers, earlier events, and the longest key that a vendor takes (512 bytes), with room
/// to spare.
const RECORD_BYTES_MAX: usize = 2048;
/// What a place in the log takes of a record.
const AT_BYTES: usize = 16;
/// What one in an incident does.
const PLACE_BYTES: usize = 24;
/// Events of one incident of which is known that they were sent and have not settled; of those
/// before them each that is read again is sent.
const EARLIER_MAX: usize = 8;
/// The flag of a record, beside the status, that what was sent last told where it stands.
const HAS_PLACE: u8 = 0x80;
/// The same, that events before that one may not have arrived.
const HAS_EARLIER: u8 = 0x40;
/// The same, that an acknowledgement was asked for.
const HAS_ASKED: u8 = 0x20;
/// Resolving is tried again after this, twice that, and so on.
const RETRY_SECS: i64 = 30;
/// The longest of these waits.
const RETRY_SECS_MAX: i64 = 1800;
/// So many requests of a place are looked at for one that is ready: whoever judges an event waits
/// for that.
const SKIPS_MAX: usize = 1024;
/// When something is due that an earlier process asked for.
const AT_ONCE: i64 = i64::MIN;
/// When an event was sent that was refused.
pub(super) const NEVER: i64 = i64::MIN / 2;
