//! What repeats: which events are sent, which are left out since one that says the same was sent,
//! and which incidents have been quiet for so long that they are resolved.
//!
//! Events that say the same are an incident, also where the destination knows no incidents: a
//! message in a channel is one, and its repeats are told with the next.
//!
//! Every decision is written down before it is acted on. An event that is read again after a crash
//! was counted then: its place in the log tells.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::store::{Form, Size, Store, Table};
use crate::deliver::{DEDUPLICATION, Purpose, REPEATS, Settings};
use crate::event::{LeftOut, Offset, Severity};
use crate::log::LogError;
use crate::metrics::Counter;

/// How the incidents of an exporter are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertSpec {
    /// How long after an event was sent others of its incident are not.
    pub window: Duration,
    /// How long an incident is quiet before it is resolved; `None` leaves that to others.
    pub resolve_after: Option<Duration>,
    /// Whether the destination has incidents, which are resolved by their key.
    pub has_incidents: bool,
    /// Where incidents are written down.
    pub path: PathBuf,
}

/// What became of incidents, beside the fates of their events.
#[derive(Debug, Default)]
pub struct AlertCounters {
    /// Events that were left out, since one of their incident had been sent within the window.
    pub deduplicated: Counter,
    /// Incidents that were resolved.
    pub resolved: Counter,
    /// Requests to resolve that failed; they are tried again.
    pub resolve_failed: Counter,
    /// Incidents that were let go without being resolved.
    pub forgotten: Counter,
}

/// What becomes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    /// It is sent.
    Due(Place),
    /// It is not: one of its incident was.
    Deduplicated,
}

/// Where an event that is sent stands in its incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The how manieth of its incident it is.
    pub(crate) count: u64,
    /// Those before it that were left out.
    pub(crate) left_out: LeftOut,
}

/// An event as incidents see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sighting<'a> {
    /// Who is called: what requests about one incident have in common.
    pub(crate) place: Name,
    /// What joins events.
    pub(crate) key: &'a str,
    pub(crate) severity: Severity,
    pub(crate) at: At,
}

/// Where an event was read: a pass over the log, and the place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct At {
    pub(crate) pass: u32,
    pub(crate) offset: Offset,
}

/// Half of BLAKE3 over what tells something apart.
pub(crate) type Name = [u8; 16];

/// An incident that has been quiet for long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Quiet {
    pub(crate) name: Name,
    pub(crate) place: Name,
    pub(crate) key: String,
}

/// The incidents of one exporter.
#[derive(Debug)]
pub(crate) struct Alerts {
    pub(crate) spec: AlertSpec,
    store: Store<Incidents>,
}

/// One incident; times are in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Incident {
    place: Name,
    key: Box<str>,
    opened: i64,
    /// When its last event was seen.
    seen: i64,
    /// Up to where its events are counted.
    seen_at: At,
    /// When one was sent last; long ago where that was refused.
    sent: i64,
    sent_at: At,
    /// What that one told.
    sent_as: Place,
    /// How bad it was.
    severity: u8,
    /// Events so far.
    count: u64,
    /// Whether it may be resolved already.
    is_resolving: bool,
}

/// The table, by name of place and key.
#[derive(Debug, Default)]
struct Incidents {
    all: HashMap<Name, Entry>,
    /// Since when each has been quiet.
    quiet: BTreeSet<(i64, Name)>,
}

#[derive(Debug)]
struct Entry {
    incident: Incident,
    /// When it was last seen; later where resolving it has failed, so that it waits.
    since: i64,
    /// How often that has failed.
    failures: u32,
}

impl AlertSpec {
    /// How these keys keep incidents; nothing where none need be.
    #[must_use]
    pub fn of(settings: &Settings, state_dir: &Path) -> Option<Self> {
        settings.vendor.alert?;
        let options = &settings.options;
        let window = [DEDUPLICATION.key, REPEATS.key].into_iter().find_map(|it| options.number(it));
        let window = Duration::from_secs(window.unwrap_or_default());
        let after = options.number("auto_resolve.after_minutes").unwrap_or_default();
        let after = Duration::from_secs(60 * after);
        let has_incidents = settings.vendor.calls.iter().any(|it| it.purpose == Purpose::Resolve);
        let resolve_after = options.is_on("auto_resolve.enabled").then_some(after);
        let path = state_dir.join("alerts").join(&settings.name);
        let is_needed = resolve_after.is_some() || !window.is_zero();
        is_needed.then_some(Self { window, resolve_after, has_incidents, path })
    }
}

impl Alerts {
    /// The incidents that the file says; one that is not there is made for the first.
    ///
    /// # Errors
    /// When the file is of another version, or cannot be read.
    pub(crate) fn open(spec: AlertSpec) -> Result<Self, LogError> {
        let store = Store::open(&spec.path, Incidents::default())?;
        Ok(Self { spec, store })
    }

    /// What becomes of an event, written down; and how many incidents had to be let go for it.
    ///
    /// # Errors
    /// When the disk refuses; nothing is noted then.
    pub(crate) fn judge(&self, seen: &Sighting<'_>, now: i64) -> io::Result<(Judged, u64)> {
        let name = name(&[&seen.place, seen.key.as_bytes()]);
        let mut table = self.store.hold();
        let window = secs(self.spec.window);
        // Nobody asks again for a key that nothing is resolved by, and it may be long.
        let key = if self.spec.has_incidents { seen.key } else { "" };
        let (judged, next) = judge(table.of(&name), &Sighting { key, ..*seen }, window, now);
        let Some(next) = next else { return Ok((judged, 0)) };
        table.append(&next.record(&name))?;
        table.put(name, next);
        let mut forgotten = 0;
        while table.all.len() > self.bound()
            && let Some(&(_, oldest)) = table.quiet.first()
        {
            table.append(&oldest)?;
            table.remove(&oldest);
            forgotten += 1;
        }
        Ok((judged, forgotten))
    }

    /// What the event at this place tells, where it is the one of its incident that was sent last.
    pub(crate) fn told(&self, place: &Name, key: &str, at: At) -> Option<Place> {
        let table = self.store.hold();
        let incident = table.of(&name(&[place, key.as_bytes()]))?;
        (incident.sent_at == at).then_some(incident.sent_as)
    }

    /// The incident to resolve now, if one is: the one that has been quiet longest.
    pub(crate) fn due(&self, now: i64) -> Option<Quiet> {
        let after = secs(self.spec.resolve_after?);
        let table = self.store.hold();
        let &(since, name) = table.quiet.first()?;
        let is_one_too_many = table.all.len() > INCIDENTS_MAX && since <= now;
        if now.saturating_sub(since) < after && !is_one_too_many {
            return None;
        }
        let incident = table.of(&name)?;
        Some(Quiet { name, place: incident.place, key: incident.key.to_string() })
    }

    /// Writes down that an incident is being resolved: whatever comes of that, the next event of it
    /// is sent.
    ///
    /// # Errors
    /// When the disk refuses; nothing is noted then.
    pub(crate) fn begin_resolve(&self, name: &Name) -> io::Result<()> {
        let mut table = self.store.hold();
        let Some(incident) = table.of(name).filter(|it| !it.is_resolving) else { return Ok(()) };
        let next = Incident { is_resolving: true, ..incident.clone() };
        table.append(&next.record(name))?;
        table.change(name, next);
        Ok(())
    }

    /// Lets go of an incident that is resolved, or cannot be.
    ///
    /// # Errors
    /// When the disk refuses; it is let go all the same, and resolved once more after a restart.
    pub(crate) fn close(&self, name: &Name) -> io::Result<()> {
        let mut table = self.store.hold();
        table.remove(name);
        table.append(name)
    }

    /// Notes that an incident could not be resolved: it is tried again, ever less often.
    pub(crate) fn on_failure(&self, name: &Name, now: i64) {
        let after = self.spec.resolve_after.map_or(0, secs);
        self.store.hold().postpone(name, now, after);
    }

    /// Notes that the event at this place was refused: the next one of its incident is sent.
    pub(crate) fn on_refused(&self, at: At) {
        let mut table = self.store.hold();
        let found = table.all.iter().find(|(_, entry)| entry.incident.sent_at == at);
        let Some((name, incident)) = found.map(|(name, it)| (*name, it.incident.clone())) else {
            return;
        };
        let next = Incident { sent: NEVER, ..incident };
        // What cannot be written down holds at least for this run.
        if let Err(problem) = table.append(&next.record(&name)) {
            tracing::warn!(%problem, "refused event not noted");
        }
        table.change(&name, next);
    }

    /// Incidents that are open.
    pub(crate) fn len(&self) -> usize {
        self.store.hold().all.len()
    }

    /// Makes durable what was written down.
    ///
    /// # Errors
    /// When the disk refuses; it is tried again, then with a new file.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.store.sync()
    }

    /// How many incidents are kept: where they are resolved, there is time for that.
    fn bound(&self) -> usize {
        INCIDENTS_MAX + self.spec.resolve_after.map_or(0, |_| SPARE_INCIDENTS)
    }
}

/// What becomes of an event, and of its incident where that changes.
fn judge(
    known: Option<&Incident>,
    seen: &Sighting<'_>,
    window: i64,
    now: i64,
) -> (Judged, Option<Incident>) {
    let &Sighting { place, key, severity, at } = seen;
    let severity = severity as u8;
    let Some(known) = known else {
        let (opened, sent, key) = (now, now, key.into());
        let (seen_at, sent_at, is_resolving) = (at, at, false);
        let sent_as = Place { count: 1, left_out: LeftOut::default() };
        let new = Incident {
            place,
            key,
            opened,
            seen: now,
            seen_at,
            sent,
            sent_at,
            sent_as,
            severity,
            count: 1,
            is_resolving,
        };
        return (Judged::Due(sent_as), Some(new));
    };
    if at <= known.seen_at {
        // It was counted before this process. It may not have arrived, unless it was settled
        // before the incident was resolved.
        let as_before = match known.sent_at == at {
            true => Some(known.sent_as),
            false if window == 0 => {
                Some(Place { count: known.count, left_out: LeftOut::default() })
            }
            false => None,
        };
        let due = as_before.filter(|_| !known.is_resolving);
        return (due.map_or(Judged::Deduplicated, Judged::Due), None);
    }
    if known.is_resolving {
        // It may be closed: what comes now opens it anew.
        return judge(None, seen, window, now);
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
    let sent_as = Place { count, left_out };
    (Judged::Due(sent_as), Some(Incident { sent: now, sent_at: at, sent_as, severity, ..seen }))
}

impl Incidents {
    fn of(&self, name: &Name) -> Option<&Incident> {
        self.all.get(name).map(|entry| &entry.incident)
    }

    /// Puts an incident as an event has left it.
    fn put(&mut self, name: Name, incident: Incident) {
        self.remove(&name);
        let since = incident.seen;
        self.quiet.insert((since, name));
        self.all.insert(name, Entry { incident, since, failures: 0 });
    }

    /// Puts an incident that no event has changed.
    fn change(&mut self, name: &Name, incident: Incident) {
        self.all.entry(*name).and_modify(|entry| entry.incident = incident);
    }

    fn remove(&mut self, name: &Name) {
        if let Some(entry) = self.all.remove(name) {
            self.quiet.remove(&(entry.since, *name));
        }
    }

    /// Lets an incident that could not be resolved wait.
    fn postpone(&mut self, name: &Name, now: i64, after: i64) {
        let Some(entry) = self.all.get_mut(name) else { return };
        let wait = (RETRY_SECS << entry.failures.min(6)).min(RETRY_SECS_MAX);
        self.quiet.remove(&(entry.since, *name));
        entry.since = now.saturating_add(wait).saturating_sub(after);
        entry.failures = entry.failures.saturating_add(1);
        self.quiet.insert((entry.since, *name));
    }
}

impl Table for Incidents {
    const FORM: Form = Form { magic: b"shrikeal", version: 2, size: Size::Upto(RECORD_BYTES_MAX) };

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
    fn record(&self, name: &Name) -> Vec<u8> {
        let mut record = name.to_vec();
        record.extend_from_slice(&self.place);
        let at = |at: At| (at.offset.bytes(), u64::from(at.pass));
        let ((seen_at, seen_pass), (sent_at, sent_pass)) = (at(self.seen_at), at(self.sent_at));
        for time in [self.opened, self.seen, self.sent] {
            record.extend_from_slice(&time.to_le_bytes());
        }
        for number in [seen_at, seen_pass, sent_at, sent_pass, self.count] {
            record.extend_from_slice(&number.to_le_bytes());
        }
        let flags = HAS_PLACE | if self.is_resolving { IS_RESOLVING } else { 0 };
        record.extend_from_slice(&[self.severity, flags]);
        let Place { count, left_out } = self.sent_as;
        record.extend_from_slice(&count.to_le_bytes());
        record.extend_from_slice(&left_out.events.to_le_bytes());
        record.extend_from_slice(&left_out.since.to_le_bytes());
        record.extend_from_slice(self.key.as_bytes());
        record
    }

    fn parse(record: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(u64::from_le_bytes(*record.get(at..)?.first_chunk()?));
        let time = |at: usize| number(at).map(u64::cast_signed);
        let at = |at: usize| {
            let pass = u32::try_from(number(at + 8)?).ok()?;
            Some(At { pass, offset: Offset::new(number(at)?) })
        };
        let (count, flags) = (number(72)?, *record.get(81)?);
        // Version 1 had no more than the key behind them.
        let (sent_as, key_at) = match flags & HAS_PLACE {
            0 => (Place { count, left_out: LeftOut::default() }, 82),
            _ => {
                let left_out = LeftOut { events: number(90)?, since: time(98)? };
                (Place { count: number(82)?, left_out }, 106)
            }
        };
        Some(Self {
            place: *record.first_chunk()?,
            opened: time(16)?,
            seen: time(24)?,
            sent: time(32)?,
            seen_at: at(40)?,
            sent_at: at(56)?,
            sent_as,
            count,
            severity: *record.get(80)?,
            is_resolving: flags & IS_RESOLVING != 0,
            key: std::str::from_utf8(record.get(key_at..)?).ok()?.into(),
        })
    }
}

/// Half of BLAKE3 over these parts and where they end.
pub(crate) fn name(parts: &[&[u8]]) -> Name {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    *hasher.finalize().as_bytes().first_chunk().expect("a hash is longer")
}

fn secs(span: Duration) -> i64 {
    i64::try_from(span.as_secs()).unwrap_or(i64::MAX)
}

/// Incidents of one exporter; the one that has been quiet longest is resolved for more.
const INCIDENTS_MAX: usize = 100_000;
/// How many more there may be until that is done; then it is let go.
const SPARE_INCIDENTS: usize = 10_000;
/// A name, numbers, and the longest key that a vendor takes (512 bytes), with room to spare.
const RECORD_BYTES_MAX: usize = 1024;
/// Flags of a record: the incident is being resolved; what was sent last told where it stands.
const IS_RESOLVING: u8 = 1;
const HAS_PLACE: u8 = 0x80;
/// Resolving is tried again after this, twice that, and so on.
const RETRY_SECS: i64 = 30;
/// The longest of these waits.
const RETRY_SECS_MAX: i64 = 1800;
/// When an event was sent that was refused.
const NEVER: i64 = i64::MIN / 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(dir: &Path, window: u64, after: Option<u64>) -> AlertSpec {
        let window = Duration::from_secs(window);
        let resolve_after = after.map(Duration::from_secs);
        AlertSpec { window, resolve_after, has_incidents: true, path: dir.join("alerts/pager") }
    }

    fn open(spec: &AlertSpec) -> Alerts {
        Alerts::open(spec.clone()).expect("the file is ours")
    }

    fn at(offset: u64) -> At {
        At { pass: 0, offset: Offset::new(offset) }
    }

    fn take(alerts: &Alerts, key: &str, severity: Severity, offset: u64, now: i64) -> Judged {
        let seen = Sighting { place: [7; 16], key, severity, at: at(offset) };
        alerts.judge(&seen, now).expect("the disk is well").0
    }

    /// The how manieth of its incident an event is; nothing where it is left out.
    fn count(alerts: &Alerts, key: &str, severity: Severity, offset: u64, now: i64) -> Option<u64> {
        match take(alerts, key, severity, offset, now) {
            Judged::Due(place) => Some(place.count),
            Judged::Deduplicated => None,
        }
    }

    const HIGH: Severity = Severity::High;

    #[test]
    fn repeats_within_the_window_are_counted_alone_unless_they_are_worse() {
        let dir = tempfile::tempdir().expect("a directory");
        let spec = spec(dir.path(), 300, Some(1800));
        let alerts = open(&spec);
        assert_eq!(count(&alerts, "a", HIGH, 1, 1000), Some(1));
        assert_eq!(count(&alerts, "a", HIGH, 2, 1299), None);
        assert_eq!(count(&alerts, "b", HIGH, 3, 1299), Some(1));
        assert_eq!(count(&alerts, "a", Severity::Critical, 4, 1299), Some(3));
        assert_eq!(count(&alerts, "a", HIGH, 5, 1598), None);
        assert_eq!(count(&alerts, "a", HIGH, 6, 1599), Some(5));
        // The window runs from what was sent, also in the next process.
        let alerts = open(&spec);
        assert_eq!(count(&alerts, "a", HIGH, 7, 1898), None);
        assert_eq!(count(&alerts, "a", HIGH, 8, 1899), Some(7));
        // The clock was put back: a little is the same time, an hour another.
        assert_eq!(count(&alerts, "a", HIGH, 9, 1700), None);
        assert_eq!(count(&alerts, "a", HIGH, 10, 400), Some(9));
    }

    #[test]
    fn what_is_read_again_after_a_crash_is_not_counted_twice() {
        let dir = tempfile::tempdir().expect("a directory");
        let spec = spec(dir.path(), 300, Some(1800));
        let alerts = open(&spec);
        take(&alerts, "a", HIGH, 1, 1000);
        take(&alerts, "a", HIGH, 2, 1001);
        take(&alerts, "a", Severity::Critical, 3, 1002);
        let alerts = open(&spec);
        // It is covered by the worse one, which goes again.
        assert_eq!(count(&alerts, "a", HIGH, 1, 1010), None);
        assert_eq!(count(&alerts, "a", HIGH, 2, 1010), None);
        assert_eq!(count(&alerts, "a", Severity::Critical, 3, 1010), Some(3));
        assert_eq!(count(&alerts, "a", HIGH, 4, 1302), Some(4));
        // A rewind is another pass: its events are new.
        let seen = Sighting { place: [7; 16], key: "a", severity: HIGH, at: at(1) };
        let seen = Sighting { at: At { pass: 1, ..seen.at }, ..seen };
        let judged = alerts.judge(&seen, 1700).expect("the disk is well").0;
        assert!(matches!(judged, Judged::Due(Place { count: 5, .. })), "{judged:?}");
    }

    #[test]
    fn without_a_window_nothing_is_left_out() {
        let dir = tempfile::tempdir().expect("a directory");
        let spec = spec(dir.path(), 0, Some(1800));
        let alerts = open(&spec);
        for offset in 1..=3 {
            assert_eq!(count(&alerts, "a", HIGH, offset, 1000), Some(offset));
        }
        let alerts = open(&spec);
        for offset in 1..=3 {
            assert_eq!(count(&alerts, "a", HIGH, offset, 1000), Some(3), "it may be lost");
        }
    }

    #[test]
    fn the_next_that_is_sent_tells_what_was_left_out_before_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let spec = AlertSpec { has_incidents: false, ..spec(dir.path(), 60, None) };
        let key = "k".repeat(10_000);
        let left_out = |alerts: &Alerts, offset, now| match take(alerts, &key, HIGH, offset, now) {
            Judged::Due(place) => Some((place.left_out.events, place.left_out.since)),
            Judged::Deduplicated => None,
        };
        let alerts = open(&spec);
        assert_eq!(left_out(&alerts, 1, 1000), Some((0, 0)));
        assert_eq!(left_out(&alerts, 2, 1010), None);
        assert_eq!(left_out(&alerts, 3, 1059), None);
        assert_eq!(left_out(&alerts, 4, 1060), Some((2, 1000)));
        // A process that reads it again says the same.
        let alerts = open(&spec);
        assert_eq!(left_out(&alerts, 3, 1070), None);
        assert_eq!(left_out(&alerts, 4, 1070), Some((2, 1000)));
        let told = alerts.told(&[7; 16], &key, at(4)).expect("it was sent last");
        assert_eq!(told.left_out, LeftOut { events: 2, since: 1000 });
        assert_eq!(alerts.told(&[7; 16], &key, at(3)), None);
        assert_eq!(left_out(&alerts, 5, 1080), None);
        // Long after.
        assert_eq!(left_out(&alerts, 6, 90_000), Some((1, 1060)));
        assert_eq!(left_out(&alerts, 7, 99_000), Some((0, 90_000)), "nothing was left out");
        alerts.on_refused(at(7));
        assert_eq!(left_out(&alerts, 8, 99_001), Some((0, 1000)));
    }

    #[test]
    fn a_record_of_the_first_version_is_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let spec = spec(dir.path(), 300, Some(1800));
        let alerts = open(&spec);
        take(&alerts, "a", HIGH, 1, 1000);
        take(&alerts, "a", HIGH, 2, 1001);
        let mut record = None;
        alerts.store.hold().records(&mut |it| record = Some(it.to_vec()));
        let mut record = record.expect("there is one");
        // Name and numbers, then the flags, then what is new, then the key.
        record[16 + 81] = 0;
        record.drain(16 + 82..16 + 106);
        let mut incidents = Incidents::default();
        assert!(incidents.restore(&record));
        let name: Name = *record.first_chunk().expect("it begins with the name");
        let incident = incidents.of(&name).expect("it was put there");
        assert_eq!((&*incident.key, incident.count, incident.sent_as.count), ("a", 2, 2));
    }

    #[test]
    fn what_is_quiet_is_resolved_once_and_what_fails_waits() {
        let dir = tempfile::tempdir().expect("a directory");
        let spec = spec(dir.path(), 300, Some(1800));
        let alerts = open(&spec);
        take(&alerts, "a", HIGH, 1, 1000);
        take(&alerts, "b", HIGH, 2, 1100);
        take(&alerts, "a", HIGH, 3, 1200);
        assert_eq!(alerts.due(2899), None);
        let quiet = alerts.due(2900).expect("b is quiet");
        assert_eq!((quiet.key.as_str(), quiet.place), ("b", [7; 16]));
        alerts.begin_resolve(&quiet.name).expect("the disk is well");
        alerts.on_failure(&quiet.name, 2901);
        assert_eq!(alerts.due(2930), None, "it waits");
        // A crash in between resolves it once more.
        let alerts = open(&spec);
        let quiet = alerts.due(2931).expect("b is quiet");
        // What was settled before is not sent again, and opens nothing.
        assert_eq!(count(&alerts, "b", HIGH, 2, 2931), None);
        alerts.close(&quiet.name).expect("the disk is well");
        assert_eq!(open(&spec).len(), 1);
        assert_eq!(alerts.due(3000).map(|it| it.key), Some("a".to_owned()));
    }

    #[test]
    fn an_event_behind_a_resolve_opens_a_new_incident_even_within_the_window() {
        let dir = tempfile::tempdir().expect("a directory");
        let spec = spec(dir.path(), 86_400, Some(60));
        let alerts = open(&spec);
        take(&alerts, "a", HIGH, 1, 1000);
        let quiet = alerts.due(1060).expect("it is quiet");
        alerts.begin_resolve(&quiet.name).expect("the disk is well");
        assert_eq!(count(&open(&spec), "a", HIGH, 2, 1061), Some(1));
    }

    #[test]
    fn a_refused_event_keeps_none_back() {
        let dir = tempfile::tempdir().expect("a directory");
        let spec = spec(dir.path(), 300, None);
        let alerts = open(&spec);
        take(&alerts, "a", HIGH, 1, 1000);
        alerts.on_refused(at(1));
        assert_eq!(count(&open(&spec), "a", HIGH, 2, 1001), Some(2));
        assert_eq!(alerts.due(i64::MAX / 2), None, "others resolve");
    }

    #[test]
    fn for_one_too_many_the_one_that_is_quiet_longest_goes() {
        let dir = tempfile::tempdir().expect("a directory");
        let spec = spec(dir.path(), 300, Some(1800));
        let alerts = open(&spec);
        let mut forgotten = 0;
        let mut add = |number: u64| {
            let key = format!("k{number}");
            let seen = Sighting { place: [7; 16], key: &key, severity: HIGH, at: at(number) };
            let now = i64::try_from(1000 + number / 1000).expect("small");
            forgotten += alerts.judge(&seen, now).expect("the disk is well").1;
        };
        (1..=INCIDENTS_MAX as u64).for_each(&mut add);
        assert_eq!(alerts.due(1100), None);
        add(200_000);
        let first = alerts.due(1100).expect("there is one too many");
        let number: u64 = first.key[1..].parse().expect("a number");
        assert!(number < 1000, "{first:?}");
        (200_001..200_100 + SPARE_INCIDENTS as u64).for_each(&mut add);
        assert_eq!((alerts.len(), forgotten), (INCIDENTS_MAX + SPARE_INCIDENTS, 100));
        assert_eq!(open(&spec).len(), alerts.len());
    }

    /// What the machine should do, said as simply as can be: from everything that ever happened.
    #[derive(Default)]
    struct Naive {
        /// Key, severity, offset, time, whether it was sent; since the last resolve.
        seen: Vec<(u8, Severity, u64, i64, bool)>,
    }

    impl Naive {
        fn take(&mut self, key: u8, severity: Severity, offset: u64, now: i64) -> Judged {
            let own: Vec<_> = self.seen.iter().filter(|it| it.0 == key).copied().collect();
            if let Some(at) = own.iter().position(|it| it.2 == offset) {
                return match own.iter().rposition(|it| it.4) == Some(at) {
                    true => Judged::Due(Self::place(&own, at)),
                    false => Judged::Deduplicated,
                };
            }
            let last = own.iter().rfind(|it| it.4);
            let is_due = last.is_none_or(|last| severity > last.1 || now - last.3 >= 300);
            self.seen.push((key, severity, offset, now, is_due));
            match is_due {
                true => Judged::Due(Self::place(&own, own.len())),
                false => Judged::Deduplicated,
            }
        }

        /// Where the one at this position stands, from those before it.
        fn place(own: &[(u8, Severity, u64, i64, bool)], at: usize) -> Place {
            let sent = own[..at].iter().rposition(|it| it.4);
            let left_out = sent.map_or(LeftOut::default(), |sent| LeftOut {
                events: (at - sent - 1) as u64,
                since: own[sent].3,
            });
            Place { count: at as u64 + 1, left_out }
        }

        fn quiet(&self, now: i64) -> Vec<u8> {
            let last = |key: u8| self.seen.iter().rfind(|it| it.0 == key).map(|it| it.3);
            (0..8).filter(|key| last(*key).is_some_and(|last| now - last >= 1800)).collect()
        }
    }

    #[test]
    fn it_does_what_everything_that_happened_says() {
        let seed = std::env::var("SEED").map_or(0, |text| text.parse().expect("a number"));
        println!("seed {seed}");
        for round in 0..60 {
            let mut random = fastrand::Rng::with_seed(seed * 1000 + round);
            let dir = tempfile::tempdir().expect("a directory");
            let spec = spec(dir.path(), 300, Some(1800));
            let (mut alerts, mut naive) = (open(&spec), Naive::default());
            let (mut now, mut offset, mut settled) = (1000_i64, 0_u64, 0_u64);
            let mut log: Vec<(u8, Severity)> = Vec::new();
            for step in 0..400 {
                let about = format!("seed {seed}, round {round}, step {step}");
                now += random.i64(0..120);
                if random.u8(0..20) == 0 {
                    // Killed: what was not settled is read again.
                    alerts = open(&spec);
                    offset = settled;
                }
                if random.u8(0..10) == 0 {
                    alerts.store.sync().expect("the disk is well");
                }
                if random.u8(0..4) == 0 && offset == log.len() as u64 {
                    settled = offset;
                    let quiet = naive.quiet(now);
                    match alerts.due(now) {
                        None => assert!(quiet.is_empty(), "{about}: {quiet:?}"),
                        Some(it) => {
                            let key: u8 = it.key.parse().expect("a number");
                            assert!(quiet.contains(&key), "{about}: {key} is not quiet");
                            alerts.begin_resolve(&it.name).expect("the disk is well");
                            alerts.close(&it.name).expect("the disk is well");
                            naive.seen.retain(|it| it.0 != key);
                        }
                    }
                    continue;
                }
                if offset == log.len() as u64 {
                    let severity = random.choice([HIGH, Severity::Medium, Severity::Critical]);
                    log.push((random.u8(0..8), severity.expect("there are some")));
                }
                let (key, severity) = log[usize::try_from(offset).expect("small")];
                offset += 1;
                let found = take(&alerts, &key.to_string(), severity, offset, now);
                assert_eq!(found, naive.take(key, severity, offset, now), "{about}");
            }
        }
    }
}
