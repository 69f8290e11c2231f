//! Whether the process does its work, as one answer: for whom it has to prove that it lives.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::deliver::Health;
use crate::event::Offset;

/// What was found when somebody looked last.
#[derive(Debug, Default)]
pub(crate) struct Wellness(Mutex<Option<(Instant, Wrong)>>);

/// What is not well, one sentence each; empty where all is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wrong {
    /// What keeps the process itself from its work.
    pub(super) own: Vec<String>,
    /// What keeps events from arriving.
    pub(super) exporters: Vec<String>,
}

/// What the looks before this one saw, by exporter.
#[derive(Debug, Default)]
pub(super) struct Watch {
    exporters: BTreeMap<String, Progress>,
    /// When the disk was seen full last, and up to where the log was written then.
    full: Option<(Instant, Offset)>,
}

/// How far an exporter was, and since when.
#[derive(Debug)]
struct Progress {
    settled: u64,
    since: Instant,
}

/// An exporter at one look.
#[derive(Debug)]
pub(super) struct Seen<'a> {
    pub(super) name: &'a str,
    pub(super) health: Health,
    /// How long nothing has arrived although it was tried.
    pub(super) failing: Option<Duration>,
    /// How many events have settled.
    pub(super) settled: u64,
    /// Whether there are others.
    pub(super) has_pending: bool,
    /// How long it may deliver nothing.
    pub(super) patience: Duration,
}

impl Wellness {
    /// Keeps what is not well.
    pub(super) fn store(&self, wrong: Wrong, now: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, wrong));
    }

    /// What is not well.
    pub(super) fn wrong(&self, now: Instant) -> Wrong {
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = |what: &str| Wrong { own: vec![what.to_owned()], ..Wrong::default() };
        match &*found {
            Some((at, wrong)) if now.saturating_duration_since(*at) < LOOK_AGE_MAX => wrong.clone(),
            // Who does not look any more may be what hangs.
            Some(_) => own("checkpoints are not looked after"),
            None => own("it has just started"),
        }
    }
}

impl Wrong {
    /// All of it.
    pub(super) fn all(self) -> Vec<String> {
        self.own.into_iter().chain(self.exporters).collect()
    }
}

impl Watch {
    /// Whether the disk is full. Where nothing was written since, a refusal that is gone for the
    /// moment says only that it is just being tried again.
    pub(super) fn disk(&mut self, is_full: bool, written: Offset, now: Instant) -> bool {
        if is_full {
            self.full = Some((now, written));
        }
        self.full.is_some_and(|(seen, at)| {
            at == written && now.saturating_duration_since(seen) < FULL_AGE_MAX
        })
    }

    /// What is not well with an exporter.
    pub(super) fn look(&mut self, seen: &Seen<'_>, now: Instant) -> Option<String> {
        let progress = self.exporters.entry(seen.name.to_owned());
        let progress = progress.or_insert(Progress { settled: seen.settled, since: now });
        if progress.settled != seen.settled || !seen.has_pending {
            *progress = Progress { settled: seen.settled, since: now };
        }
        let stands = now.saturating_duration_since(progress.since);
        let name = seen.name;
        match seen.health {
            Health::AuthFailed | Health::ConfigFailed | Health::CircuitOpen => {
                Some(format!("exporter {name}: {}", seen.health.word()))
            }
            _ if seen.failing.is_some_and(|failing| failing >= seen.patience) => {
                Some(format!("exporter {name}: nothing arrives"))
            }
            _ if stands >= seen.patience => Some(format!("exporter {name}: stands still")),
            Health::Healthy | Health::Degraded | Health::Throttled => None,
        }
    }

    /// Forgets exporters that are gone.
    pub(super) fn keep(&mut self, names: &[&str]) {
        self.exporters.retain(|name, _| names.contains(&name.as_str()));
    }
}

/// A look is made every second; a disk may take its time.
const LOOK_AGE_MAX: Duration = Duration::from_secs(60);
/// Whoever waits for space tries again once a second; nobody may have to.
const FULL_AGE_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(300);

    fn seen(health: Health, settled: u64, has_pending: bool) -> Seen<'static> {
        Seen { name: "siem", health, failing: None, settled, has_pending, patience: PATIENCE }
    }

    #[test]
    fn a_held_exporter_is_not_well_and_a_slow_one_is() {
        let (mut watch, now) = (Watch::default(), Instant::now());
        for health in [Health::AuthFailed, Health::ConfigFailed, Health::CircuitOpen] {
            let wrong = watch.look(&seen(health, 0, false), now).expect("it is held");
            assert!(wrong.contains("siem") && wrong.contains(health.word()), "{wrong}");
        }
        for health in [Health::Healthy, Health::Degraded, Health::Throttled] {
            assert_eq!(watch.look(&seen(health, 0, true), now), None);
        }
        let failing = Seen { failing: Some(PATIENCE), ..seen(Health::Degraded, 0, true) };
        assert!(watch.look(&failing, now).is_some());
    }

    #[test]
    fn who_has_something_to_do_and_does_nothing_stands_still() {
        let (mut watch, begun) = (Watch::default(), Instant::now());
        let mut look = |settled, has_pending, secs| {
            let now = begun + Duration::from_secs(secs);
            watch.look(&seen(Health::Healthy, settled, has_pending), now).is_some()
        };
        assert!(!look(5, true, 0));
        assert!(!look(5, true, 299));
        assert!(look(5, true, 300));
        assert!(!look(6, true, 301), "one settled");
        assert!(!look(6, true, 600));
        assert!(!look(6, false, 700), "nothing to do is no standing still");
        assert!(!look(6, true, 900));
        assert!(look(6, true, 1000));
    }

    /// The refusal comes and goes with each try; who asks `/readyz` must not see that.
    #[test]
    fn a_disk_is_full_until_something_is_written_or_nobody_tries() {
        let (mut watch, begun) = (Watch::default(), Instant::now());
        let mut look = |is_full, written, secs| {
            watch.disk(is_full, Offset::new(written), begun + Duration::from_secs(secs))
        };
        assert!(!look(false, 64, 0));
        for secs in 1..30 {
            assert!(look(secs % 3 == 1, 64, secs), "{secs}");
        }
        assert!(!look(false, 128, 30), "written");
        assert!(look(true, 128, 31));
        assert!(look(false, 128, 40));
        assert!(!look(false, 128, 41), "nobody wants to write any more");
    }

    #[test]
    fn what_nobody_looks_at_is_not_well() {
        let (wellness, now) = (Wellness::default(), Instant::now());
        assert!(!wellness.wrong(now).own.is_empty());
        wellness.store(Wrong::default(), now);
        assert_eq!(wellness.wrong(now + Duration::from_secs(59)), Wrong::default());
        assert!(!wellness.wrong(now + LOOK_AGE_MAX).own.is_empty());
        let of = |what: &str| vec![what.to_owned()];
        let wrong = Wrong { own: of("the log"), exporters: of("exporter siem") };
        wellness.store(wrong.clone(), now);
        assert_eq!(wellness.wrong(now), wrong);
        assert_eq!(wrong.all(), ["the log", "exporter siem"]);
    }
}
