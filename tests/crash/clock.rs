//! A wall clock that leaps under the process: durations, order and account do not care.

use crate::destination::{Destination, Manner};
use crate::event::id;
use crate::leaping::Clock;
use crate::place::{Place, READY};
use crate::wait::{PATIENCE, comes_true};

#[test]
fn a_wall_clock_that_leaps_loses_and_repeats_nothing() {
    let one = Destination::start(Manner::Refuse('7'));
    let place = Place::new(&[("one", &one)], "");
    let clock = Clock::make(&place.path(""));
    let start = || {
        let mut command = place.command(&["run"]);
        command.envs(clock.variables());
        crate::place::Shrike::start(command)
    };
    let mut shrike = start();
    shrike.wait_for(READY);
    let refused = |upto: u32| (0..upto).filter(|number| number % 16 == 7).count();
    // Forwards beyond every age that something is kept for, backwards behind the first record, and
    // a start at either.
    for (round, &seconds) in (0..).zip(STEPS_S) {
        clock.set(seconds);
        if round % 3 == 2 {
            drop(shrike.kill());
            shrike = start();
            shrike.wait_for(READY);
        }
        place.fill(round * 64..(round + 1) * 64);
        let upto = (round + 1) * 64;
        let expected = upto as usize - refused(upto);
        let arrived = comes_true(|| one.accepted().len() == expected);
        assert!(arrived, "{seconds} s: {} of {expected}", one.accepted().len());
    }
    one.turn(Manner::Accept);
    let list = || {
        let list = place.ran(&["dlq", "list", "--json"]);
        String::from_utf8_lossy(&list.stdout).into_owned()
    };
    let letters = || list().lines().count();
    let events = STEPS_S.len() as u32 * 64;
    assert!(comes_true(|| letters() == refused(events)), "{} letters", letters());
    // The process did see that clock: a quarter of a century behind. When a letter failed says
    // less: what was not settled before a kill fails once more behind it.
    assert!(list().contains("\"ingested_at\":\"200"), "{}", list());
    let replay = place.ran(&["dlq", "replay", "--exporter", "one"]);
    assert!(replay.status.success(), "{}", String::from_utf8_lossy(&replay.stderr));
    shrike.terminate();
    let ended = shrike.ended(PATIENCE);
    let account = ended.account("one");
    let (in_range, delivered) = (account.in_range, account.counts.delivered);
    assert_eq!((in_range, delivered), (events.into(), events.into()), "{}", ended.said);
    assert!((0..events).all(|number| one.accepted().contains_key(&id(number))));
    let audit = place.ran(&["audit", "verify"]);
    assert!(audit.status.success(), "{}", String::from_utf8_lossy(&audit.stdout));
    // Times of the log go back and forth; a time is still found, and all behind it is sent again.
    let cat = |from: &str| place.ran(&["log", "cat", "--from", from]).stdout;
    let lines = |text: &[u8]| text.iter().filter(|&&byte| byte == b'\n').count() as u32;
    assert_eq!(lines(&cat("1999-01-01T00:00:00Z")), events, "from the first record on");
    assert!(lines(&cat("2100-01-01T00:00:00Z")) == 0, "nothing is that late");
}

const DAY_S: i64 = 86_400;
/// How far the clock is from the machine's, one after the other.
const STEPS_S: &[i64] =
    &[0, 3_600, -3_600, 40 * DAY_S, -40 * DAY_S, -9_000 * DAY_S, 400 * DAY_S, 1, -1, 0];
