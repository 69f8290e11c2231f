//! Digests: what one event says of many that are not told of one by one.

use std::collections::HashMap;

use serde_json::json;

use super::own_record::{OwnRecord, own_record};
use crate::event::{Event, FieldId, Severity, Time, derived_id};

/// Why events are told of together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// There were more than their destination takes.
    Flood,
    /// They were received too long ago.
    Stale,
}

/// What a digest says of its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    events: u64,
    /// Events by guard, as long as there are not too many guards.
    guards: HashMap<Box<str>, u64>,
    /// Events of the guards beyond.
    others: u64,
    severity: Severity,
    first: Time,
    last: Time,
    /// Whether every one was allowed.
    are_allowed: bool,
}

impl Summary {
    /// Of no event.
    #[must_use]
    pub fn new() -> Self {
        Self {
            events: 0,
            guards: HashMap::new(),
            others: 0,
            severity: Severity::Info,
            first: Time { secs: i64::MAX, nanos: 0 },
            last: Time { secs: i64::MIN, nanos: 0 },
            are_allowed: true,
        }
    }

    /// Counts an event, as its exporter may see it.
    pub fn add(&mut self, event: &Event<'_>) {
        self.events += 1;
        self.severity = self.severity.max(event.opened.severity);
        self.are_allowed &= event.opened.allowed;
        let time = event.opened.time;
        self.first = self.first.min(time);
        self.last = self.last.max(time);
        let guard = name(event);
        let is_known = self.guards.contains_key(guard.as_str());
        match is_known || self.guards.len() < GUARDS_MAX {
            true => *self.guards.entry(guard.into()).or_default() += 1,
            false => self.others += 1,
        }
    }

    /// How many events that are.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The worst of them.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// The guards with most events, those first, and the events of all others.
    fn most(&self) -> (Vec<(&str, u64)>, u64) {
        let mut most: Vec<(&str, u64)> =
            self.guards.iter().map(|(name, count)| (&**name, *count)).collect();
        most.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        let others = most.iter().skip(GUARDS_TOLD_MAX).map(|(_, count)| count).sum::<u64>();
        most.truncate(GUARDS_TOLD_MAX);
        (most, self.others + others)
    }

    /// The words.
    fn told(&self, why: Why) -> String {
        let (most, others) = self.most();
        let mut told = match why {
            Why::Flood => format!("{} more: ", self.events),
            Why::Stale => format!("{} old events, not told of one by one: ", self.events),
        };
        for (at, (guard, count)) in most.iter().enumerate() {
            told.push_str(if at == 0 { "" } else { ", " });
            told.push_str(&format!("{guard} x {count}"));
        }
        if others > 0 {
            told.push_str(&format!(", {others} of other guards"));
        }
        let (worst, first, last) = (self.severity.word(), self.first.text(), self.last.text());
        told.push_str(&format!("; highest severity {worst}; {first} to {last}"));
        told
    }
}

impl Default for Summary {
    fn default() -> Self {
        Self::new()
    }
}

/// The canonical event of a digest; `mark` tells it apart from others of the exporter.
///
/// The id depends only on what is told, so that what is sent again after a crash is known.
#[must_use]
pub fn digest_record(exporter: &str, why: Why, summary: &Summary, mark: &str, now: Time) -> String {
    let Summary { events, severity, first, last, are_allowed, .. } = summary;
    let (reason, told) = (why.word(), summary.told(why));
    let id =
        derived_id(EVENT_TYPE, format!("{exporter}:{reason}:{mark}").as_bytes(), told.as_bytes());
    let id = String::from_utf8_lossy(&id);
    let (most, others) = summary.most();
    let guards: serde_json::Map<String, serde_json::Value> =
        most.into_iter().map(|(name, count)| (name.to_owned(), count.into())).collect();
    own_record(&OwnRecord {
        event_type: EVENT_TYPE,
        id: &id,
        time: now,
        exporter,
        guard: GUARD,
        is_allowed: *are_allowed,
        severity: *severity,
        reason: &told,
        details: json!({
            "exporter": exporter,
            "reason": reason,
            "count": events,
            "guards": guards,
            "other_guards": others,
            "first": first.text(),
            "last": last.text(),
        }),
    })
}

impl Why {
    /// The word in digests.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Flood => "flood",
            Self::Stale => "stale",
        }
    }
}

/// The guard of an event, cut where it is longer than a name.
fn name(event: &Event<'_>) -> String {
    let Some(value) = event.value(FieldId::Guard) else { return NO_GUARD.to_owned() };
    let text = match value.escaped {
        true => serde_json::from_slice(value.json).unwrap_or_default(),
        false => String::from_utf8_lossy(value.text()).into_owned(),
    };
    match text.char_indices().nth(GUARD_CHARS_MAX) {
        Some((at, _)) => format!("{}\u{2026}", &text[..at]),
        None => text,
    }
}

/// The type of these events.
const EVENT_TYPE: &str = "export_digest";
/// Who says it.
const GUARD: &str = "shrike";
/// What stands for a guard that an exporter may not see.
const NO_GUARD: &str = "n/a";
/// Guards that are counted one by one: 16 kB of the longest names.
const GUARDS_MAX: usize = 64;
/// Guards that are told: what people read, and what the shortest reason has room for.
const GUARDS_TOLD_MAX: usize = 8;
/// Characters of a guard's name.
const GUARD_CHARS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Frame, Opened, Opening, OpeningOptions};

    /// An event as a list of what a digest may say of it.
    struct Simple {
        guard: String,
        severity: Severity,
        time: Time,
        is_allowed: bool,
    }

    fn record(event: &Simple) -> String {
        let Simple { guard, severity, time, is_allowed } = event;
        json!({
            "schema_version": "1.0.0", "event_id": "019c322d-fa80-7f99-8d84-b44109f58c77",
            "event_type": "guard_block", "event_category": "file", "timestamp": time.text(),
            "outcome": if *is_allowed { "success" } else { "failure" }, "action": "x",
            "agent": {"id": "a", "name": "n", "version": "1", "type": "clawdstrike"},
            "session": {"id": "s"}, "resource": {"type": "file", "name": "f"}, "threat": {},
            "decision": {"allowed": is_allowed, "guard": guard, "severity": severity.word(),
                "reason": "r"},
            "metadata": {}, "labels": {},
        })
        .to_string()
    }

    fn summary(events: &[Simple]) -> Summary {
        let opening = Opening::new(&OpeningOptions::default());
        let mut summary = Summary::new();
        for event in events {
            let (record, mut arena, mut opened) = (record(event), Vec::new(), Opened::default());
            opening.begin(&mut arena);
            let frame = Frame::default();
            opening.open(&frame, record.as_bytes(), &mut arena, &mut opened).expect("an event");
            summary.add(&Event::new(&opened, frame, record.as_bytes(), &arena));
        }
        summary
    }

    #[test]
    fn a_digest_says_what_its_events_say() {
        for seed in 0..300 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let guards = rng.usize(1..=GUARDS_TOLD_MAX + 4);
            let events: Vec<Simple> = (0..rng.usize(1..60))
                .map(|_| Simple {
                    guard: format!("guard \"{}\"", rng.usize(0..guards)),
                    severity: *rng.choice(Severity::ALL).expect("there are some"),
                    time: Time { secs: rng.i64(0..2_000_000_000), nanos: 0 },
                    is_allowed: rng.bool(),
                })
                .collect();
            let summary = summary(&events);
            let count = |guard: &str| events.iter().filter(|it| it.guard == guard).count() as u64;
            let (most, others) = summary.most();
            let least = most.last().expect("there is one").1;
            for (guard, told) in &most {
                assert_eq!(*told, count(guard), "seed {seed}: {guard}");
            }
            assert!(most.is_sorted_by(|a, b| a.1 >= b.1) && most.len() <= GUARDS_TOLD_MAX);
            let is_told = |it: &&Simple| most.iter().any(|(guard, _)| *guard == it.guard);
            assert!(events.iter().filter(|it| !is_told(it)).all(|it| count(&it.guard) <= least));
            let told: u64 = most.iter().map(|(_, count)| count).sum();
            assert_eq!(
                (told + others, summary.events()),
                (events.len() as u64, events.len() as u64)
            );
            let times = || events.iter().map(|it| it.time);
            assert_eq!(summary.severity(), events.iter().map(|it| it.severity).max().expect("one"));
            assert_eq!((Some(summary.first), Some(summary.last)), (times().min(), times().max()));
            assert_eq!(summary.are_allowed, events.iter().all(|it| it.is_allowed));
        }
    }

    #[test]
    fn guards_beyond_the_bound_are_counted_together() {
        let event = |n: usize| Simple {
            guard: format!("{n:03}{}", "x".repeat(100)),
            severity: Severity::Low,
            time: Time { secs: 0, nanos: 0 },
            is_allowed: false,
        };
        let events: Vec<Simple> = (0..GUARDS_MAX + 10).chain(0..5).map(event).collect();
        let summary = summary(&events);
        assert_eq!((summary.guards.len(), summary.others), (GUARDS_MAX, 10));
        let told = summary.told(Why::Flood);
        assert!(told.starts_with("79 more: 000x") && told.contains("\u{2026} x 2, "), "{told}");
        assert!(told.contains(", 66 of other guards; highest severity low; "), "{told}");
        assert!(told.len() < 1024, "what every destination takes");
        let again = digest_record("e", Why::Flood, &summary, "m", Time::default());
        assert_eq!(again, digest_record("e", Why::Flood, &summary, "m", Time::default()));
    }
}
