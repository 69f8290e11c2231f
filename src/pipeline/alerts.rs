//! What repeats: which events are sent, which are left out since one that says the same was sent,
//! and which incidents have been quiet for so long that they are resolved.
//!
//! Events that say the same are an incident, also where the destination knows no incidents: a
//! message in a channel is one, and its repeats are told with the next.
//!
//! Every decision is written down before it is acted on. An event that is read again after a crash
//! was counted then: its place in the log tells. What people ask for waits in [`asked`] until the
//! exporter's lane takes it.

mod asked;
mod incident;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::store::{Held, Store};
use crate::deliver::{DEDUPLICATION, Purpose, REPEATS, Settings};
use crate::event::{LeftOut, Offset, Severity, Time};
use crate::log::LogError;
use crate::metrics::Counter;
pub(crate) use asked::Ask;
use asked::Asks;
pub use asked::Desk;
use incident::{Incident, Incidents, NEVER, Status, judge};

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
    /// Incidents that were acknowledged.
    pub acknowledged: Counter,
    /// Requests to acknowledge that failed.
    pub acknowledge_failed: Counter,
}

/// What is asked of the destination about an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertChange {
    /// Somebody looks after it.
    Acknowledge,
    /// It is over.
    Resolve,
}

/// The open incidents of an exporter, or the last seen of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertList {
    /// How many are open.
    pub open: u64,
    /// Those that were seen last, the newest first.
    pub alerts: Vec<Alert>,
}

/// One open incident, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// What joins its events.
    pub key: String,
    /// `open`, `acked`, or `resolving` while that is asked for.
    pub status: String,
    /// How bad the event was that was sent last.
    pub severity: String,
    /// Events so far.
    pub count: u64,
    /// When its first event was seen (RFC 3339).
    pub opened_at: String,
    /// When its last event was seen.
    pub last_seen: String,
    /// When one was sent last; none where that was refused.
    pub last_sent: Option<String>,
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

/// A request about an incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) name: Name,
    pub(crate) place: Name,
    pub(crate) key: String,
    pub(crate) change: AlertChange,
    /// Where the event of it was read that was sent last.
    pub(crate) sent_at: At,
    /// From where to where others may not have settled that were sent before.
    pub(crate) earlier: Vec<(At, At)>,
}

/// Which places may be asked about, and what is ready.
pub(crate) type Which<'a> = (&'a dyn Fn(&Name) -> bool, &'a dyn Fn(&Due) -> bool);

/// What becomes of an incident when a request about it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// It is asked again, ever less often.
    Again,
    /// It stays as it was: nobody asks again by himself.
    Left,
    /// It is let go, since the destination refuses the request.
    LetGo,
}

/// The incidents of one exporter.
#[derive(Debug)]
pub(crate) struct Alerts {
    pub(crate) spec: AlertSpec,
    store: Store<Incidents>,
    /// What people wait for.
    pub(crate) asks: Asks,
}

impl AlertSpec {
    /// How these keys keep incidents; nothing where none need be.
    #[must_use]
    pub fn of(settings: &Settings, state_dir: &Path) -> Option<Self> {
        settings.vendor.alert?;
        let options = &settings.options;
        let window = [DEDUPLICATION.key, REPEATS.key].into_iter().find_map(|it| options.number(it));
        let window = Duration::from_millis(window.unwrap_or_default());
        let after = options.number("auto_resolve.after_minutes").unwrap_or_default();
        let after = Duration::from_millis(after);
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
    pub(crate) fn open(spec: AlertSpec, now: i64) -> Result<Self, LogError> {
        let store = Store::open(&spec.path, Incidents::default())?;
        let newest = store.hold().newest();
        // The clock was wrong when that was written, or is now: nobody knows how old it is.
        if let Some(ahead) = newest.map(|newest| newest.saturating_sub(now)).filter(|it| *it > 0) {
            let mut table = store.hold();
            table.shift(-ahead);
            table.rewrite();
        }
        let late = store.hold().cancel(now.saturating_sub(ACK_SECS_MAX));
        for key in late {
            tracing::warn!(
                path = %spec.path.display(),
                key,
                "acknowledgement asked for before a stop: whether it arrived is not known; it is                  too old to be asked for again, so acknowledge the incident anew if need be"
            );
        }
        Ok(Self { spec, store, asks: Asks::default() })
    }

    /// What becomes of an event, written down; and how many incidents had to be let go for it.
    /// `is_settled` says of everything from one place to another whether that is settled.
    ///
    /// # Errors
    /// When the disk refuses; nothing is noted then.
    pub(crate) fn judge(
        &self,
        seen: &Sighting<'_>,
        is_settled: &dyn Fn(At, At) -> bool,
        now: i64,
    ) -> io::Result<(Judged, u64)> {
        let name = name(&[&seen.place, seen.key.as_bytes()]);
        let mut table = self.store.hold();
        let window = secs(self.spec.window);
        // Nobody asks again for a key that nothing is resolved by, and it may be long.
        let key = if self.spec.has_incidents { seen.key } else { "" };
        let (judged, next) =
            judge(table.of(&name), &Sighting { key, ..*seen }, (window, is_settled), now);
        let Some(next) = next else { return Ok((judged, 0)) };
        Ok((judged, self.put(&mut table, name, next)?))
    }

    /// Notes that an event of an incident arrived that was not read from the log, or that many are
    /// told of together: it is open, and not quiet until now. Returns as [`Self::judge`] does.
    ///
    /// # Errors
    /// When the disk refuses; nothing is noted then.
    pub(crate) fn note(
        &self,
        (place, key): (Name, &str),
        severity: Severity,
        now: i64,
    ) -> io::Result<u64> {
        let name = name(&[&place, key.as_bytes()]);
        let mut table = self.store.hold();
        let next = Incident::with(table.of(&name), (place, key), severity as u8, now);
        self.put(&mut table, name, next)
    }

    /// Writes an incident down; how many others had to be let go for it.
    fn put(&self, table: &mut Held<'_, Incidents>, name: Name, next: Incident) -> io::Result<u64> {
        table.append(&next.record(&name))?;
        table.put(name, next);
        let mut forgotten = 0;
        while table.all.len() > self.bound()
            && let Some(oldest) = table.quiet.first().or_else(|| table.asked.first())
        {
            table.append(&oldest)?;
            table.remove(&oldest);
            forgotten += 1;
        }
        Ok(forgotten)
    }

    /// What the event at this place tells, where it is known to have been sent.
    pub(crate) fn told(&self, place: &Name, key: &str, at: At) -> Option<Place> {
        let table = self.store.hold();
        table.of(&name(&[place, key.as_bytes()]))?.told(at)
    }

    /// The request to make now that an earlier process or a failure left open, if one is due; of
    /// places that may be asked about, and of what is ready.
    pub(crate) fn due_again(&self, now: i64, which: Which<'_>) -> Option<Due> {
        let table = self.store.hold();
        table.first(&table.asked, &|time| time <= now, which)
    }

    /// The same to resolve the incident that has been quiet longest.
    pub(crate) fn due_quiet(&self, now: i64, which: Which<'_>) -> Option<Due> {
        let after = self.spec.resolve_after.map(secs)?;
        let table = self.store.hold();
        let is_one_too_many = table.all.len() > INCIDENTS_MAX;
        let is_over = |since| now.saturating_sub(since) >= after || is_one_too_many && since <= now;
        table.first(&table.quiet, &is_over, which)
    }

    /// Lets all stamps go with the clock where that was set.
    pub(crate) fn shift(&self, secs: i64) {
        let mut table = self.store.hold();
        table.shift(secs);
        table.rewrite();
    }

    /// The incidents with this key, of all places. `places` are those of today: of others it is
    /// looked for where there is none, in the whole table.
    pub(crate) fn find(&self, key: &str, places: &[Name], change: AlertChange) -> Vec<Due> {
        let names: BTreeSet<Name> =
            places.iter().map(|place| name(&[place, key.as_bytes()])).collect();
        let table = self.store.hold();
        let known = names.iter().filter_map(|name| Some(table.of(name)?.due(*name, change)));
        let known: Vec<Due> = known.collect();
        if !known.is_empty() {
            return known;
        }
        let found = table.all.iter().filter(|(_, entry)| &*entry.incident.key == key);
        found.map(|(name, entry)| entry.incident.due(*name, change)).collect()
    }

    /// The same request with what is known of its incident by now; else why there is none.
    pub(crate) fn now(&self, name: &Name, change: AlertChange) -> Result<Due, &'static str> {
        let table = self.store.hold();
        let incident = table.of(name).ok_or("the incident is over")?;
        match (change, incident.status) {
            (AlertChange::Acknowledge, Status::Resolving) => Err("it is being resolved"),
            _ => Ok(incident.due(*name, change)),
        }
    }

    /// Those whose keys begin so, at most so many.
    pub(crate) fn list(&self, prefix: &str, limit: usize) -> AlertList {
        let order =
            |a: &Incident, b: &Incident| b.seen.cmp(&a.seen).then_with(|| a.key.cmp(&b.key));
        // Whoever judges an event waits for the table: only what is shown is sorted, and outside.
        let (open, mut found) = {
            let table = self.store.hold();
            let all = table.all.values().map(|entry| &entry.incident);
            let mut found: Vec<&Incident> = all.filter(|it| it.key.starts_with(prefix)).collect();
            let open = found.len() as u64;
            if limit < found.len() {
                found.select_nth_unstable_by(limit, |a, b| order(a, b));
                found.truncate(limit);
            }
            (open, found.into_iter().cloned().collect::<Vec<Incident>>())
        };
        found.sort_by(order);
        AlertList { open, alerts: found.iter().map(Incident::shown).collect() }
    }

    /// Writes down what is asked for about an incident. Whatever comes of resolving it, the next
    /// event of it is sent. One that was acknowledged already stays so.
    ///
    /// # Errors
    /// When the disk refuses; nothing is noted then.
    pub(crate) fn begin(&self, name: &Name, change: AlertChange, now: i64) -> io::Result<()> {
        let mut table = self.store.hold();
        let Some(incident) = table.of(name) else { return Ok(()) };
        let status = match (change, incident.status) {
            (AlertChange::Acknowledge, Status::Open) => Status::Acking,
            (AlertChange::Acknowledge, status) => status,
            (AlertChange::Resolve, _) => Status::Resolving,
        };
        let asked = if status == Status::Acking { now } else { 0 };
        let next = Incident { status, asked, ..incident.clone() };
        if next != *incident {
            table.append(&next.record(name))?;
        }
        table.change(name, next, now);
        Ok(())
    }

    /// Notes that the destination took a request: the incident is acknowledged, or let go.
    ///
    /// # Errors
    /// When the disk refuses; it counts all the same, and is asked once more after a restart.
    pub(crate) fn on_success(&self, name: &Name, change: AlertChange) -> io::Result<()> {
        match change {
            AlertChange::Acknowledge => self.set(name, Status::Acked),
            // An event that arrived meanwhile has opened it anew, or will be resolved once more.
            AlertChange::Resolve if self.is_resolving(name) => self.close(name),
            AlertChange::Resolve => Ok(()),
        }
    }

    /// Notes that the destination did not take a request; `is_refused` says that it never will.
    ///
    /// Resolving is tried again, ever less often: an outage, or a key that is refused, ends. What
    /// is refused for good is tried some more times, in case the destination was confused, then let
    /// go. An acknowledgement is not tried again: it silences people, and one that arrives hours
    /// after it was asked for would silence them about what nobody has looked at.
    pub(crate) fn on_failure(
        &self,
        name: &Name,
        change: AlertChange,
        is_refused: bool,
        now: i64,
    ) -> io::Result<Failed> {
        if change == AlertChange::Acknowledge {
            let is_asked = self.store.hold().of(name).is_some_and(|it| it.status == Status::Acking);
            return match is_asked {
                true => self.set(name, Status::Open).map(|()| Failed::Left),
                false => Ok(Failed::Left),
            };
        }
        let refusals = self.store.hold().postpone(name, is_refused, now);
        match refusals < REFUSALS_MAX {
            true => Ok(Failed::Again),
            false => self.close(name).map(|()| Failed::LetGo),
        }
    }

    fn is_resolving(&self, name: &Name) -> bool {
        self.store.hold().of(name).is_some_and(|it| it.status == Status::Resolving)
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

    /// Notes that the event of an incident, its place and key, was refused: the next one is sent.
    pub(crate) fn on_refused(&self, of: Option<(&Name, &str)>, at: At) {
        let mut table = self.store.hold();
        // All are looked through where the event can be read no more, and nobody knows whose it is.
        let unknown = || table.all.iter().find(|(_, it)| it.incident.sent_at == at).map(|it| *it.0);
        let name = of.map(|(place, key)| name(&[place, key.as_bytes()])).or_else(unknown);
        let Some(name) = name else { return };
        let Some(incident) = table.of(&name).filter(|it| it.sent_at == at) else { return };
        let next = Incident { sent: NEVER, ..incident.clone() };
        // What cannot be written down holds at least for this run.
        if let Err(problem) = table.append(&next.record(&name)) {
            tracing::warn!(%problem, "refused event not noted");
        }
        table.amend(&name, next);
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

    fn set(&self, name: &Name, status: Status) -> io::Result<()> {
        let mut table = self.store.hold();
        let Some(incident) = table.of(name) else { return Ok(()) };
        let next = Incident { status, asked: 0, ..incident.clone() };
        let written = table.append(&next.record(name));
        table.change(name, next, 0);
        written
    }

    /// How many incidents are kept: where they are resolved, there is time for that.
    fn bound(&self) -> usize {
        INCIDENTS_MAX + self.spec.resolve_after.map_or(0, |_| SPARE_INCIDENTS)
    }
}

impl Incident {
    fn due(&self, name: Name, change: AlertChange) -> Due {
        let (place, key, sent_at) = (self.place, self.key.to_string(), self.sent_at);
        let earlier = self.earlier.spans().collect();
        Due { name, place, key, change, sent_at, earlier }
    }

    fn shown(&self) -> Alert {
        let time = |secs: i64| Time { secs, nanos: 0 }.text();
        let severity = Severity::ALL.iter().find(|it| **it as u8 == self.severity);
        Alert {
            key: self.key.to_string(),
            status: self.status.word().to_owned(),
            severity: severity.map_or("", |it| it.word()).to_owned(),
            count: self.count,
            opened_at: time(self.opened),
            last_seen: time(self.seen),
            last_sent: (self.sent != NEVER).then(|| time(self.sent)),
        }
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

/// Whole seconds that are not less.
fn secs(span: Duration) -> i64 {
    i64::try_from(span.as_millis().div_ceil(1_000)).unwrap_or(i64::MAX)
}

/// Incidents of one exporter; the one that has been quiet longest is resolved for more.
const INCIDENTS_MAX: usize = 100_000;
/// How many more there may be until that is done; then it is let go.
const SPARE_INCIDENTS: usize = 10_000;
/// An acknowledgement that a stop or a kill left open is asked for once more within this: later it
/// would silence people about what nobody looks after any more.
const ACK_SECS_MAX: i64 = 300;
/// Resolving that was refused for good so often, over an hour, is given up.
const REFUSALS_MAX: u32 = 8;

#[cfg(test)]
mod tests;
