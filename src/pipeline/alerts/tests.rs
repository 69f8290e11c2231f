//! The machine by itself, and against what everything that happened says.

use std::collections::BTreeSet;

use super::super::store::Table as _;
use super::*;

fn spec(dir: &Path, window: u64, after: Option<u64>) -> AlertSpec {
    let window = Duration::from_secs(window);
    let resolve_after = after.map(Duration::from_secs);
    AlertSpec { window, resolve_after, has_incidents: true, path: dir.join("alerts/pager") }
}

/// At a time that is behind all of a test.
fn open(spec: &AlertSpec) -> Alerts {
    open_at(spec, 1 << 40)
}

fn open_at(spec: &AlertSpec, now: i64) -> Alerts {
    Alerts::open(spec.clone(), now).expect("the file is ours")
}

impl Alerts {
    fn next_due(&self, now: i64) -> Option<Due> {
        self.due(now, &|_| true, &|_| true)
    }

    fn due(
        &self,
        now: i64,
        may_ask: &dyn Fn(&Name) -> bool,
        is_ready: &dyn Fn(&Due) -> bool,
    ) -> Option<Due> {
        let which: Which<'_> = (may_ask, is_ready);
        self.due_again(now, which).or_else(|| self.due_quiet(now, which))
    }
}

fn at(offset: u64) -> At {
    At { pass: 0, offset: Offset::new(offset) }
}

fn take(alerts: &Alerts, key: &str, severity: Severity, offset: u64, now: i64) -> Judged {
    let seen = Sighting { place: [7; 16], key, severity, at: at(offset) };
    alerts.judge(&seen, &NOTHING_SETTLED, now).expect("the disk is well").0
}

/// The how manieth of its incident an event is; nothing where it is left out.
fn count(alerts: &Alerts, key: &str, severity: Severity, offset: u64, now: i64) -> Option<u64> {
    match take(alerts, key, severity, offset, now) {
        Judged::Due(place) => Some(place.count),
        Judged::Deduplicated => None,
    }
}

const NOTHING_SETTLED: fn(At, At) -> bool = |_, _| false;
const HIGH: Severity = Severity::High;
const RESOLVE: AlertChange = AlertChange::Resolve;
const ACK: AlertChange = AlertChange::Acknowledge;

#[test]
fn a_clock_that_is_set_makes_nothing_older_or_younger() {
    let dir = tempfile::tempdir().expect("a directory");
    let spec = spec(dir.path(), 300, Some(1800));
    let alerts = open(&spec);
    assert_eq!(count(&alerts, "a", HIGH, 1, 1000), Some(1));
    assert_eq!(count(&alerts, "refused", HIGH, 2, 1000), Some(1));
    alerts.on_refused(Some((&[7; 16], "refused")), at(2));
    for (offset, step, now) in [(3, 3_600_000, 3_601_100), (4, -3_600_900, 200)] {
        alerts.shift(step);
        assert_eq!(count(&alerts, "a", HIGH, offset, now), None, "{step}");
        assert_eq!(alerts.next_due(now), None, "{step}");
    }
    assert!(alerts.list("refused", 1).alerts[0].last_sent.is_none());
    // A process that begins with a clock that was right, and is not: or the other way round.
    alerts.sync().expect("the disk is well");
    let alerts = open_at(&spec, -50_000);
    assert_eq!(count(&alerts, "a", HIGH, 5, -49_800), Some(4));
    assert_eq!(alerts.next_due(-48_301), None);
    assert_eq!(alerts.next_due(-48_300).map(|it| it.key).as_deref(), Some("refused"));
}

#[test]
fn what_arrives_beside_the_log_is_resolved_too_and_hides_nothing_of_the_log() {
    let dir = tempfile::tempdir().expect("a directory");
    let spec = spec(dir.path(), 300, Some(1800));
    let alerts = open(&spec);
    let note = |alerts: &Alerts, key: &str, now| {
        alerts.note(([7; 16], key), HIGH, now).expect("the disk is well");
    };
    note(&alerts, "a", 1000);
    assert_eq!(count(&open(&spec), "a", HIGH, 0, 1301), None, "nothing is before it");
    assert_eq!(count(&alerts, "a", HIGH, 1, 1200), None);
    assert_eq!(count(&alerts, "a", HIGH, 2, 1301), Some(3));
    note(&alerts, "a", 2000);
    assert_eq!(alerts.next_due(3799), None, "it is not quiet");
    let name = alerts.next_due(3800).expect("it is").name;
    // One that arrives while it is being resolved may have opened it anew.
    alerts.begin(&name, RESOLVE, 3800).expect("the disk is well");
    note(&alerts, "a", 3801);
    alerts.on_success(&name, RESOLVE).expect("the disk is well");
    let alerts = open(&spec);
    assert_eq!(alerts.next_due(5601).map(|it| it.key).as_deref(), Some("a"));
}

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
    // Nobody knows whether it arrived, whatever came behind it.
    assert_eq!(count(&alerts, "a", HIGH, 1, 1010), Some(1));
    assert_eq!(count(&alerts, "a", HIGH, 2, 1010), None);
    assert_eq!(count(&alerts, "a", Severity::Critical, 3, 1010), Some(3));
    assert_eq!(count(&alerts, "a", HIGH, 4, 1302), Some(4));
    // A rewind is another pass: its events are new.
    let seen = Sighting { place: [7; 16], key: "a", severity: HIGH, at: at(1) };
    let seen = Sighting { at: At { pass: 1, ..seen.at }, ..seen };
    let judged = alerts.judge(&seen, &NOTHING_SETTLED, 1700).expect("the disk is well").0;
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
    let first = alerts.told(&[7; 16], &key, at(1)).expect("it may not have arrived");
    assert_eq!((first.count, first.left_out), (1, LeftOut::default()));
    assert_eq!(left_out(&alerts, 5, 1080), None);
    // Long after.
    assert_eq!(left_out(&alerts, 6, 90_000), Some((1, 1060)));
    assert_eq!(left_out(&alerts, 7, 99_000), Some((0, 90_000)), "nothing was left out");
    alerts.on_refused(Some((&[7; 16], &key)), at(7));
    assert_eq!(left_out(&alerts, 8, 99_001), Some((0, 1000)));
}

#[test]
fn what_was_sent_and_has_not_settled_is_sent_again_after_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let spec = spec(dir.path(), 60, None);
    let alerts = open(&spec);
    let judge = |alerts: &Alerts, offset: u64, now: i64, settled: &[u64]| {
        let seen = Sighting { place: [7; 16], key: "a", severity: HIGH, at: at(offset) };
        let is_settled = |from: At, to: At| {
            (from.offset.bytes()..=to.offset.bytes()).all(|it| settled.contains(&it))
        };
        match alerts.judge(&seen, &is_settled, now).expect("the disk is well").0 {
            Judged::Due(place) => Some((place.count, place.left_out.events)),
            Judged::Deduplicated => None,
        }
    };
    let first = [(1, 1000), (2, 1030), (3, 1061), (4, 1122), (5, 1130)];
    let told = [Some((1, 0)), None, Some((3, 1)), Some((4, 0)), None];
    assert_eq!(first.map(|(offset, now)| judge(&alerts, offset, now, &[])), told);
    let alerts = open(&spec);
    assert_eq!(first.map(|(offset, _)| judge(&alerts, offset, 1140, &[])), told);
    let name = name(&[&[7; 16], b"a"]);
    let due = alerts.now(&name, ACK).expect("it is open");
    assert_eq!((due.earlier, due.sent_at), (vec![(at(1), at(1)), (at(3), at(3))], at(4)));
    // What has settled is known no longer once something else is sent.
    assert_eq!(judge(&alerts, 6, 1190, &[1, 2, 3, 4, 5]), Some((6, 1)));
    let alerts = open(&spec);
    assert_eq!(alerts.told(&[7; 16], "a", at(3)), None);
    assert_eq!(judge(&alerts, 3, 1191, &[]), None);
    // Of more than are remembered each is sent, as it may be one of those.
    for offset in 7..27 {
        assert!(judge(&alerts, offset, 1000 + 100 * offset as i64, &[]).is_some());
    }
    let alerts = open(&spec);
    for offset in 6..27 {
        assert!(judge(&alerts, offset, 9000, &[]).is_some(), "{offset}");
    }
    assert_eq!(judge(&alerts, 5, 9000, &[]), None);
    alerts.store.hold().records(&mut |record| assert!(record.len() < 600));
    let all: Vec<u64> = (1..27).collect();
    assert_eq!(judge(&alerts, 27, 9000, &all), Some((27, 0)));
    assert_eq!(alerts.now(&name, ACK).map(|due| due.earlier), Ok(Vec::new()));
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
    assert_eq!(alerts.next_due(2899), None);
    let quiet = alerts.next_due(2900).expect("b is quiet");
    assert_eq!((quiet.key.as_str(), quiet.place), ("b", [7; 16]));
    alerts.begin(&quiet.name, RESOLVE, 0).expect("the disk is well");
    let failed = alerts.on_failure(&quiet.name, RESOLVE, false, 2901);
    assert_eq!(failed.expect("the disk is well"), Failed::Again);
    assert_eq!(alerts.next_due(2930), None, "it waits");
    // A crash in between resolves it once more.
    let alerts = open(&spec);
    let quiet = alerts.next_due(2931).expect("b is quiet");
    // What was settled before is not sent again, and opens nothing.
    assert_eq!(count(&alerts, "b", HIGH, 2, 2931), None);
    alerts.close(&quiet.name).expect("the disk is well");
    assert_eq!(open(&spec).len(), 1);
    assert_eq!(alerts.next_due(3000).map(|it| it.key), Some("a".to_owned()));
}

#[test]
fn what_may_not_be_asked_keeps_no_other_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let spec = spec(dir.path(), 300, Some(1800));
    let alerts = open(&spec);
    for (key, offset) in [("a", 1), ("b", 2), ("c", 3)] {
        take(&alerts, key, HIGH, offset, 1000 + offset as i64);
    }
    let a = alerts.find("a", &[[7; 16]], ACK).remove(0);
    alerts.begin(&a.name, ACK, 1000).expect("the disk is well");
    let ready = |held: &str, due: &Due| !held.contains(&due.key);
    let next = |held| alerts.due(2802, &|_| true, &|due| ready(held, due)).map(|due| due.key);
    assert_eq!(next("").as_deref(), Some("a"));
    assert_eq!(next("a").as_deref(), Some("b"));
    assert_eq!(next("ab"), None, "c is not quiet yet");
    let elsewhere = |place: &Name| *place != [7; 16];
    assert_eq!(alerts.due(2802, &elsewhere, &|_| true), None, "its place waits");
}

#[test]
fn an_event_behind_a_resolve_opens_a_new_incident_even_within_the_window() {
    let dir = tempfile::tempdir().expect("a directory");
    let spec = spec(dir.path(), 86_400, Some(60));
    let alerts = open(&spec);
    take(&alerts, "a", HIGH, 1, 1000);
    let quiet = alerts.next_due(1060).expect("it is quiet");
    alerts.begin(&quiet.name, RESOLVE, 0).expect("the disk is well");
    assert_eq!(count(&open(&spec), "a", HIGH, 2, 1061), Some(1));
}

#[test]
fn a_refused_event_keeps_none_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let spec = spec(dir.path(), 300, None);
    let alerts = open(&spec);
    take(&alerts, "a", HIGH, 1, 1000);
    alerts.on_refused(Some((&[7; 16], "b")), at(1));
    assert_eq!(count(&alerts, "a", HIGH, 2, 1001), None, "another one was");
    alerts.on_refused(Some((&[7; 16], "a")), at(1));
    assert_eq!(count(&open(&spec), "a", HIGH, 3, 1001), Some(3));
    let alerts = open(&spec);
    alerts.on_refused(None, at(3));
    assert_eq!(count(&open(&spec), "a", HIGH, 4, 1002), Some(4));
    assert_eq!(alerts.next_due(i64::MAX / 2), None, "others resolve");
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
        forgotten += alerts.judge(&seen, &NOTHING_SETTLED, now).expect("the disk is well").1;
    };
    (1..=INCIDENTS_MAX as u64).for_each(&mut add);
    assert_eq!(alerts.next_due(1100), None);
    add(200_000);
    let first = alerts.next_due(1100).expect("there is one too many");
    let number: u64 = first.key[1..].parse().expect("a number");
    assert!(number < 1000, "{first:?}");
    (200_001..200_100 + SPARE_INCIDENTS as u64).for_each(&mut add);
    assert_eq!((alerts.len(), forgotten), (INCIDENTS_MAX + SPARE_INCIDENTS, 100));
    assert_eq!(open(&spec).len(), alerts.len());
}

#[test]
fn an_acknowledgement_is_written_down_first_and_a_kill_asks_once_more() {
    let dir = tempfile::tempdir().expect("a directory");
    let spec = spec(dir.path(), 300, None);
    let alerts = open(&spec);
    take(&alerts, "a", HIGH, 1, 1000);
    let found = alerts.find("a", &[[7; 16]], ACK);
    let name = found[0].name;
    assert_eq!((found.len(), found[0].sent_at), (1, at(1)));
    alerts.begin(&name, ACK, 1000).expect("the disk is well");
    assert_eq!(alerts.list("a", 9).alerts[0].status, "open", "it is none yet");
    let alerts = open_at(&spec, 1001);
    let again = alerts.next_due(1001).expect("nobody knows whether it was");
    assert_eq!((again.key.as_str(), again.change), ("a", ACK));
    alerts.on_success(&name, ACK).expect("the disk is well");
    let alerts = open_at(&spec, 1001);
    assert_eq!(
        (alerts.next_due(1002), alerts.list("", 9).alerts[0].status.as_str()),
        (None, "acked")
    );
    // Repeats count, and what is sent behind the window changes nothing of it.
    assert_eq!(count(&alerts, "a", HIGH, 2, 1100), None);
    assert_eq!(count(&alerts, "a", HIGH, 3, 1300), Some(3));
    assert_eq!(alerts.list("", 9).alerts[0].status, "acked");
    // One more that fails leaves it so.
    alerts.begin(&name, ACK, 1300).expect("the disk is well");
    let failed = alerts.on_failure(&name, ACK, true, 1300).expect("the disk is well");
    assert_eq!((failed, alerts.list("", 9).alerts[0].status.as_str()), (Failed::Left, "acked"));
}

#[test]
fn an_acknowledgement_that_failed_is_not_tried_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let spec = spec(dir.path(), 300, Some(1800));
    let alerts = open(&spec);
    take(&alerts, "a", HIGH, 1, 1000);
    let name = alerts.find("a", &[[7; 16]], ACK)[0].name;
    alerts.begin(&name, ACK, 1001).expect("the disk is well");
    // What comes meanwhile belongs to it.
    assert_eq!(count(&alerts, "a", HIGH, 2, 1002), None);
    let failed = alerts.on_failure(&name, ACK, false, 1003).expect("the disk is well");
    assert_eq!((failed, alerts.next_due(1100)), (Failed::Left, None));
    let alerts = open(&spec);
    assert_eq!(alerts.next_due(2801), None);
    assert_eq!(alerts.next_due(2802).map(|it| it.change), Some(RESOLVE), "quiet since 1002");
}

#[test]
fn the_newest_are_listed_and_one_of_another_place_is_found() {
    let dir = tempfile::tempdir().expect("a directory");
    let alerts = open(&spec(dir.path(), 300, None));
    for number in 0..100_u8 {
        take(&alerts, &format!("k{number:02}"), HIGH, number.into(), 1000 + i64::from(number) / 3);
    }
    let listed = |prefix, limit| {
        let AlertList { open, alerts } = alerts.list(prefix, limit);
        (open, alerts.into_iter().map(|it| it.key).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(listed("k", 4), (100, "k99 k96 k97 k98".to_owned()));
    assert_eq!(listed("k1", 2), (10, "k18 k19".to_owned()));
    assert_eq!(listed("x", 9), (0, String::new()));
    assert_eq!(listed("k0", 0), (10, String::new()));
    assert_eq!(alerts.find("k07", &[[7; 16], [8; 16], [7; 16]], ACK).len(), 1);
    assert_eq!(alerts.find("k07", &[[8; 16]], ACK).len(), 1);
    assert_eq!(alerts.find("k7", &[[7; 16]], ACK).len(), 0);
}

#[test]
fn an_acknowledgement_that_became_old_or_was_overtaken_is_not_asked_for_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let spec = spec(dir.path(), 300, None);
    let alerts = open(&spec);
    take(&alerts, "a", HIGH, 1, 1000);
    let name = alerts.find("a", &[[7; 16]], ACK)[0].name;
    alerts.begin(&name, ACK, 1000).expect("the disk is well");
    assert_eq!(open_at(&spec, 1300).next_due(1300).map(|it| it.change), Some(ACK));
    let late = open_at(&spec, 1301);
    assert_eq!((late.next_due(1301), late.list("", 9).alerts[0].status.as_str()), (None, "open"));
    // A worse one came that nobody had seen.
    let alerts = open_at(&spec, 1100);
    take(&alerts, "a", Severity::Critical, 2, 1100);
    assert_eq!(open_at(&spec, 1100).next_due(1100), None);
}

#[test]
fn what_people_resolve_is_tried_again_until_it_is_refused_for_good() {
    let dir = tempfile::tempdir().expect("a directory");
    let spec = spec(dir.path(), 300, None);
    let alerts = open(&spec);
    take(&alerts, "a", HIGH, 1, 1000);
    let name = alerts.find("a", &[[7; 16]], RESOLVE)[0].name;
    let mut now = 1000;
    alerts.begin(&name, RESOLVE, now).expect("the disk is well");
    assert_eq!(alerts.now(&name, ACK), Err("it is being resolved"));
    // Outages spend nothing of it, and the longest wait is half an hour.
    for tries in 0..20 {
        let failed = alerts.on_failure(&name, RESOLVE, false, now).expect("the disk is well");
        assert_eq!(failed, Failed::Again);
        let wait = (30 << tries.min(6)).min(1800);
        assert_eq!(alerts.next_due(now + wait - 1), None);
        now += wait;
        assert_eq!(alerts.next_due(now).map(|it| it.name), Some(name));
    }
    for tries in 1..=REFUSALS_MAX {
        let failed = alerts.on_failure(&name, RESOLVE, true, now).expect("the disk is well");
        let wanted = if tries < REFUSALS_MAX { Failed::Again } else { Failed::LetGo };
        assert_eq!(failed, wanted);
    }
    assert_eq!((alerts.len(), open(&spec).len()), (0, 0));
}

/// What the machine should do, said as simply as can be: from everything that ever happened.
#[derive(Default)]
struct Naive {
    /// Key, severity, offset, time, whether it was sent; since the last resolve.
    seen: Vec<(u8, Severity, u64, i64, bool)>,
    /// Those that somebody looks after.
    acked: BTreeSet<u8>,
}

impl Naive {
    fn take(&mut self, key: u8, severity: Severity, offset: u64, now: i64) -> Judged {
        let own: Vec<_> = self.seen.iter().filter(|it| it.0 == key).copied().collect();
        if let Some(at) = own.iter().position(|it| it.2 == offset) {
            // It may have been lost, as far as anybody knows.
            return match own[at].4 {
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

    fn resolve(&mut self, key: u8) {
        self.seen.retain(|it| it.0 != key);
        self.acked.remove(&key);
    }

    /// The table as people see it.
    fn assert_is(&self, alerts: &Alerts, about: &str) {
        let mut found = alerts.list("", 9).alerts;
        found.sort_by(|a, b| a.key.cmp(&b.key));
        let found: Vec<_> = found.into_iter().map(|it| (it.key, it.status, it.count)).collect();
        let count = |key: u8| self.seen.iter().filter(|it| it.0 == key).count() as u64;
        let status = |key: &u8| if self.acked.contains(key) { "acked" } else { "open" };
        let open = (0..8).filter(|key| count(*key) > 0);
        let wanted: Vec<_> =
            open.map(|key| (key.to_string(), status(&key).to_owned(), count(key))).collect();
        assert_eq!(found, wanted, "{about}");
    }
}

/// Somebody asks for something; the destination takes it, refuses it, or the process is killed.
fn ask(alerts: &mut Alerts, naive: &mut Naive, random: &mut fastrand::Rng, now: i64) -> Option<()> {
    let key = random.u8(0..8);
    let change = if random.bool() { ACK } else { RESOLVE };
    let Due { name, .. } = alerts.find(&key.to_string(), &[[7; 16]], change).pop()?;
    alerts.begin(&name, change, now).expect("the disk is well");
    let was_acked = naive.acked.contains(&key);
    if random.u8(0..4) == 0 {
        *alerts = open_at(&alerts.spec, now);
        let due = alerts.next_due(now).map(|it| (it.name, it.change));
        let is_over = change == ACK && was_acked;
        match is_over {
            // It was acknowledged before: nothing of that is lost.
            true => assert!(due.is_none_or(|it| it.0 != name || it.1 == RESOLVE)),
            false => assert_eq!(due, Some((name, change))),
        }
    }
    if random.u8(0..3) == 0 {
        let failed = alerts.on_failure(&name, change, false, now).expect("the disk is well");
        assert_eq!(failed, if change == ACK { Failed::Left } else { Failed::Again });
        if change == ACK {
            return Some(());
        }
        assert_eq!(alerts.next_due(now + 30).map(|it| it.name), Some(name));
    }
    alerts.on_success(&name, change).expect("the disk is well");
    match change {
        AlertChange::Acknowledge => _ = naive.acked.insert(key),
        AlertChange::Resolve => naive.resolve(key),
    }
    Some(())
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
        let (mut now, mut offset) = (1000_i64, 0_u64);
        // What is settled; as of the last checkpoint; and what ever was.
        let (mut settled, mut saved) = (BTreeSet::new(), BTreeSet::new());
        let mut ever = BTreeSet::new();
        let mut log: Vec<(u8, Severity)> = Vec::new();
        for step in 0..400 {
            let about = format!("seed {seed}, round {round}, step {step}");
            now += random.i64(0..120);
            if random.u8(0..20) == 0 {
                // Killed: what was not settled is read again.
                alerts = open_at(&spec, now);
                settled.clone_from(&saved);
                offset = 0;
            }
            if random.u8(0..3) == 0 && offset > 0 {
                let one = random.u64(1..=offset);
                settled.insert(one);
                ever.insert(one);
            }
            if random.u8(0..10) == 0 {
                saved.clone_from(&settled);
            }
            if random.u8(0..10) == 0 {
                alerts.store.sync().expect("the disk is well");
            }
            if random.u8(0..4) == 0 && offset == log.len() as u64 {
                settled = (1..=offset).collect();
                (saved, ever) = (settled.clone(), settled.clone());
                let quiet = naive.quiet(now);
                match alerts.next_due(now) {
                    None => assert!(quiet.is_empty(), "{about}: {quiet:?}"),
                    Some(it) => {
                        let key: u8 = it.key.parse().expect("a number");
                        assert!(quiet.contains(&key), "{about}: {key} is not quiet");
                        alerts.begin(&it.name, RESOLVE, now).expect("the disk is well");
                        alerts.close(&it.name).expect("the disk is well");
                        naive.resolve(key);
                    }
                }
                continue;
            }
            if random.u8(0..8) == 0 && offset == log.len() as u64 {
                settled = (1..=offset).collect();
                (saved, ever) = (settled.clone(), settled.clone());
                ask(&mut alerts, &mut naive, &mut random, now);
                naive.assert_is(&alerts, &about);
                continue;
            }
            if offset == log.len() as u64 {
                let severity = random.choice([HIGH, Severity::Medium, Severity::Critical]);
                log.push((random.u8(0..8), severity.expect("there are some")));
            }
            let (key, severity) = log[usize::try_from(offset).expect("small")];
            offset += 1;
            if settled.contains(&offset) {
                continue;
            }
            let seen = Sighting { place: [7; 16], key: &key.to_string(), severity, at: at(offset) };
            let is_settled = |from: At, to: At| {
                (from.offset.bytes()..=to.offset.bytes()).all(|it| settled.contains(&it))
            };
            let found = alerts.judge(&seen, &is_settled, now).expect("the disk is well").0;
            let wanted = naive.take(key, severity, offset, now);
            // One that had arrived may go once more, or not.
            let may_differ = ever.contains(&offset) && found == Judged::Deduplicated;
            assert!(found == wanted || may_differ, "{about}: {found:?}, not {wanted:?}");
        }
    }
}
