//! One event that breaks the destination each time, told from an outage.

use std::time::Duration;

use shrike::deliver::{
    Action, Applied, BreakerSettings, Fate, Order, Pace, TransportErrorKind, Verdict,
};

use crate::{Lane, ROUTE, Sent, unavailable};

/// What comes back for requests with bad events.
type Breaks = fn(&mut Lane, &Sent);

const BREAKS: [Breaks; 3] = [
    |lane, sent| lane.verdict(sent.id, unavailable(500)),
    |lane, sent| lane.verdict(sent.id, unavailable(500).at(Pace::Pause(None))),
    |lane, sent| lane.error(sent.id, TransportErrorKind::Network, Applied::Maybe),
];

/// Sends the next request; whether it broke.
fn go_on(lane: &mut Lane, bad: &[u64], breaks: Breaks) -> bool {
    let sent = lane.send_later();
    lane.wait(Duration::from_millis(20));
    let is_bad = sent.events.iter().any(|event| bad.contains(event));
    match is_bad {
        true => breaks(lane, &sent),
        false => lane.answer(sent.id, Fate::Delivered),
    }
    lane.render_all();
    is_bad
}

#[test]
fn events_that_always_fail_stop_no_others() {
    for breaks in BREAKS {
        for (batches, bad) in [
            (&[10][..], &[0][..]),
            (&[10], &[0, 1, 2, 9]),
            (&[1; 10], &[0]),
            (&[1; 10], &[0, 4, 5]),
            (&[5, 5], &[0, 5]),
        ] {
            let mut lane = Lane::with(|gate, _| gate.concurrency = 1);
            batches.iter().for_each(|&events| lane.enqueue(events, 0));
            let good = 10 - bad.len() as u64;
            while lane.delivered() < good {
                go_on(&mut lane, bad, breaks);
                assert!(lane.now - lane.start < Duration::from_secs(1800), "{batches:?} {bad:?}");
            }
            assert!(lane.dead().iter().all(|event| bad.contains(event)));
            // Each one more that is accepted tells more.
            while !lane.sender.is_empty() {
                if lane.sender.room() && lane.dead().len() < bad.len() {
                    lane.enqueue(1, 0);
                }
                go_on(&mut lane, bad, breaks);
                assert!(lane.now - lane.start < Duration::from_secs(7200), "{batches:?} {bad:?}");
            }
            let mut dead = lane.dead();
            dead.sort_unstable();
            assert_eq!(dead, bad);
            assert!(lane.out.dead.iter().all(|letter| letter.retryable));
        }
    }
}

#[test]
fn where_all_has_failed_one_batch_more_is_taken_to_probe_with() {
    let mut lane = Lane::with(|gate, _| gate.concurrency = 1);
    lane.enqueue(1, 0);
    while lane.gate.held().is_none() {
        assert!(go_on(&mut lane, &[0], BREAKS[0]));
    }
    assert!(lane.sender.room() && lane.sender.is_hungry(lane.now));
    lane.enqueue(19, 0);
    assert!(!lane.sender.room() && !lane.sender.is_hungry(lane.now), "and no more");
    let probe = lane.send_later();
    assert_eq!((probe.is_probe, probe.events), (true, vec![1]));
    // Nor does a lane take another where a call tells how the destination is.
    let mut lane = Lane::out_of_reach();
    assert!(!lane.sender.room());
    let _ = lane.poll();
    assert!(!lane.sender.is_hungry(lane.now));
}

/// Memory is bounded, and so is what an outage cuts off.
#[test]
fn an_outage_of_days_cuts_off_a_few_events_and_spends_no_attempt() {
    let mut lane = Lane::new();
    let mut probed = std::collections::BTreeSet::new();
    while lane.now - lane.start < Duration::from_secs(3 * 86_400) {
        while lane.sender.room() && lane.sender.is_hungry(lane.now) {
            lane.enqueue(1000, 0);
        }
        let sent = lane.send_later();
        if sent.is_probe {
            assert_eq!(sent.events.len(), 1);
            probed.extend(sent.events);
        }
        BREAKS[0](&mut lane, &Sent { events: Vec::new(), ..sent });
        lane.render_all();
    }
    assert_eq!((lane.dead().len(), probed.len()), (0, 64));
    assert!(lane.sender.pending() <= 6000, "{}", lane.sender.pending());
    while !lane.sender.is_empty() {
        let sent = lane.send_later();
        lane.answer(sent.id, Fate::Delivered);
    }
}

/// A lane whose events may not overtake each other.
fn ordered(breaker_failures: u32) -> Lane {
    let open = Duration::from_secs(30);
    Lane::with(|gate, sender| {
        gate.breaker = BreakerSettings { failures: breaker_failures, open };
        sender.order = Order::Strict;
        sender.standstill_max = Some(Duration::from_secs(600));
    })
}

/// How long it takes until so many letters are there.
fn until_dead(lane: &mut Lane, letters: usize, bad: &[u64], breaks: Breaks) -> Duration {
    let began = lane.now;
    while lane.dead().len() < letters {
        go_on(lane, bad, breaks);
        assert!(lane.now - began < Duration::from_secs(86_400), "it stands still for ever");
    }
    lane.now - began
}

#[test]
fn where_order_matters_an_event_that_breaks_each_request_is_given_up_after_ten_minutes() {
    let minute = Duration::from_secs(60);
    for (breaker_failures, breaks) in [(5, BREAKS[0]), (0, BREAKS[1]), (5, BREAKS[2])] {
        let mut lane = ordered(breaker_failures);
        lane.enqueue(10, 0);
        let took = until_dead(&mut lane, 1, &[0, 1, 5], breaks);
        assert!((10 * minute..11 * minute).contains(&took), "{took:?}");
        assert_eq!((lane.dead(), lane.delivered()), (vec![0], 0), "nothing overtook it");
        assert!(lane.out.dead[0].retryable);
        // The next one may be one more of its kind, or it is an outage after all.
        let took = until_dead(&mut lane, 2, &[0, 1, 5], breaks);
        assert!((20 * minute..22 * minute).contains(&took), "{took:?}");
        // What is accepted ends that.
        while lane.delivered() < 3 {
            go_on(&mut lane, &[5], breaks);
        }
        let took = until_dead(&mut lane, 3, &[5], breaks);
        assert!(took < 25 * minute, "{took:?}");
        while !lane.sender.is_empty() {
            go_on(&mut lane, &[5], breaks);
        }
        assert_eq!((lane.dead(), lane.delivered()), (vec![0, 1, 5], 7));
        let order: Vec<u64> = lane.out.settled.iter().map(|it| it.span.from.bytes()).collect();
        assert!(order.is_sorted(), "{order:?}");
    }
}

/// Ten minutes until a batch is cut, and without a breaker ten for its last event: what was sent in
/// the moment of a cut, and was accepted, tells that it is the rest that breaks.
#[test]
fn where_order_matters_cutting_a_batch_again_takes_no_more_time() {
    for (breaker_failures, breaks, minutes) in
        [(5, BREAKS[0], 12), (0, BREAKS[1], 21), (5, BREAKS[2], 12)]
    {
        let mut lane = ordered(breaker_failures);
        lane.enqueue(16, 0);
        let took = until_dead(&mut lane, 1, &[15], breaks);
        assert!(took < Duration::from_secs(minutes * 60), "{took:?}");
        assert_eq!((lane.dead(), lane.delivered()), (vec![15], 15));
    }
}

#[test]
fn where_order_matters_an_outage_is_no_fault_of_the_first_event() {
    let fails: [Breaks; 6] = [
        |lane, sent| lane.error(sent.id, TransportErrorKind::Connect, Applied::No),
        |lane, sent| lane.error(sent.id, TransportErrorKind::TlsIo, Applied::No),
        |lane, sent| lane.error(sent.id, TransportErrorKind::Timeout, Applied::Maybe),
        |lane, sent| lane.verdict(sent.id, unavailable(502)),
        |lane, sent| lane.verdict(sent.id, unavailable(503)),
        |lane, sent| {
            let wait = Some(Duration::from_secs(7));
            lane.verdict(sent.id, unavailable(500).at(Pace::Pause(wait)));
        },
    ];
    for fail in fails {
        let mut lane = ordered(5);
        lane.enqueue(10, 0);
        while lane.now - lane.start < Duration::from_secs(86_400) {
            let sent = lane.send_later();
            assert!(sent.events.contains(&0));
            fail(&mut lane, &sent);
            lane.render_all();
        }
        assert_eq!((lane.dead().len(), lane.sender.pending()), (0, 10));
        // One that breaks at first when it is back has done so for no time at all.
        let sent = lane.send_later();
        BREAKS[0](&mut lane, &sent);
        assert_eq!(lane.dead(), [0; 0]);
    }
    // Without a bound, as for files, it is never told.
    let mut lane = Lane::with(|_, sender| sender.order = Order::Strict);
    lane.enqueue(1, 0);
    while lane.now - lane.start < Duration::from_secs(86_400) {
        assert!(go_on(&mut lane, &[0], BREAKS[2]));
    }
    assert_eq!(lane.dead(), [0; 0]);
}

/// The others of its own route wait behind it; other routes do not.
#[test]
fn a_probe_overtakes_nothing_of_its_own_route_where_order_is_loose() {
    let mut lane = Lane::with(|gate, sender| {
        gate.concurrency = 1;
        sender.order = Order::Loose;
    });
    for route in [1, 1, 2, 1] {
        lane.enqueue(1, route);
    }
    let mut probes = Vec::new();
    while probes.len() < 3 {
        let sent = lane.send_later();
        if sent.is_probe {
            probes.extend(sent.events.clone());
        }
        lane.verdict(sent.id, Verdict::new(Fate::Retry, "unavailable"));
        lane.render_all();
    }
    assert_eq!(probes, [2, 2, 2], "what failed less");
    assert!(matches!(lane.poll(), Action::Wait(_) | Action::Idle));
}

/// A batch that is to tell whether its route can go on may break the destination itself.
#[test]
fn a_held_route_is_tried_with_its_other_events_too() {
    let mut lane = Lane::with(|gate, _| gate.breaker.failures = 0);
    for _ in 0..4 {
        lane.enqueue(1, 1);
    }
    let sent = lane.send();
    lane.answer(sent.id, ROUTE);
    let mut tried = Vec::new();
    while lane.delivered() < 3 {
        let sent = lane.send_later();
        tried.push((lane.now - lane.start, sent.events.clone()));
        match sent.events.contains(&1) {
            true => lane.verdict(sent.id, unavailable(500)),
            false => lane.answer(sent.id, Fate::Delivered),
        }
        assert!(tried.len() < 10, "{tried:?}");
    }
    assert_eq!((&tried[0].1[..], &tried[1].1[..]), (&[1][..], &[2][..]), "{tried:?}");
    assert!(tried[1].0 - tried[0].0 <= Duration::from_secs(2));
    // Alone it waits like any other.
    let mut lane = Lane::with(|gate, _| gate.breaker.failures = 0);
    lane.enqueue(1, 1);
    let sent = lane.send();
    lane.answer(sent.id, ROUTE);
    for _ in 0..100 {
        let sent = lane.send_later();
        lane.verdict(sent.id, unavailable(500));
    }
    assert!(lane.now - lane.start > Duration::from_secs(600), "{:?}", lane.now - lane.start);
    assert_eq!((lane.sender.pending(), lane.dead().len()), (1, 0));
    // What was set aside takes its turn.
    let mut parked = Vec::new();
    lane.enqueue(1, 1);
    lane.sender.park(Duration::ZERO, lane.now, &mut parked);
    let events = |it: &shrike::deliver::Parked| it.reshape.items[0].span.from.bytes();
    assert_eq!(parked.iter().map(events).collect::<Vec<_>>(), [0]);
    parked.clear();
    let sent = lane.send_later();
    assert_eq!(sent.events, [1]);
    lane.verdict(sent.id, unavailable(500));
    assert_eq!(lane.sender.wants_trial(1), Some(1), "whatever did not fail, as this did");
}
