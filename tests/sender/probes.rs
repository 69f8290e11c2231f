//! What ends a hold, and whose it is: probes by call and by event, refusals that are not all's.

use std::time::Duration;

use shrike::deliver::{
    Action, Applied, Cause, Fate, Health, ItemFate, Order, Pace, Parked, Reason, Resend, Scope,
    TransportErrorKind, Verdict,
};

use crate::{AUTH, Lane, ROUTE, Sent, reason, settings, unavailable};

const CONFIG: Fate = Fate::Hold { cause: Cause::Config, scope: Scope::Exporter };

/// Moves the clock to when the lane asks by the vendor's call; to which endpoint.
#[track_caller]
fn call_later(lane: &mut Lane) -> usize {
    for _ in 0..1000 {
        let action = lane.poll();
        let has_rendered = lane.render_all();
        match action {
            Action::Wait(_) | Action::Idle if has_rendered => {}
            Action::Wait(at) => lane.now = at,
            Action::Probe { endpoint } => return endpoint,
            other => panic!("{other:?}"),
        }
    }
    panic!("it never asks")
}

/// The vendor's call and the way of events are not the same: a server that takes events may answer
/// an empty request with 500.
#[test]
fn after_a_probe_call_without_a_verdict_one_event_finds_out() {
    let mut lane = Lane::out_of_reach();
    let endpoint = call_later(&mut lane);
    lane.sender.on_probe(endpoint, Some(unavailable(500)), lane.now, &mut lane.out);
    let held_at = lane.now;
    let probe = lane.send_later();
    assert!(probe.is_probe && probe.events.len() == 1, "one event");
    assert_eq!(lane.now - held_at, Duration::from_secs(30), "when the next probe is due");
    // Where that tells nothing either, the call is asked again.
    lane.verdict(probe.id, unavailable(500));
    let endpoint = call_later(&mut lane);
    lane.sender.on_probe(endpoint, Some(unavailable(500)), lane.now, &mut lane.out);
    let probe = lane.send_later();
    assert!(probe.is_probe);
    lane.answer(probe.id, Fate::Delivered);
    assert_eq!(lane.gate.held(), None);
    while !lane.sender.is_empty() {
        let sent = lane.send_later();
        lane.answer(sent.id, Fate::Delivered);
    }
    assert_eq!((lane.delivered(), lane.dead()), (5, vec![]));
}

/// What is refused for itself must not be all that is ever asked.
#[test]
fn the_next_probe_passes_over_the_event_that_was_refused() {
    for batches in [&[3][..], &[1, 1, 1]] {
        let mut lane = Lane::new();
        batches.iter().for_each(|&events| lane.enqueue(events, 0));
        let first = lane.send();
        lane.answer(first.id, CONFIG);
        assert_eq!(lane.gate.health(lane.now), Health::ConfigFailed);
        let mut probed = Vec::new();
        for _ in 0..4 {
            let probe = lane.send_later();
            assert!(probe.is_probe && probe.events.len() == 1);
            probed.extend(probe.events);
            lane.answer(probe.id, CONFIG);
        }
        probed.sort_unstable();
        probed.dedup();
        assert_eq!(probed, [0, 1, 2], "each of them");
        assert_eq!((lane.sender.pending(), lane.dead().len()), (3, 0));
    }
}

#[test]
fn where_order_matters_the_first_event_is_the_probe_each_time() {
    let mut lane = Lane::with(|_, sender| sender.order = Order::Strict);
    lane.enqueue(1, 0);
    lane.enqueue(1, 0);
    let first = lane.send();
    lane.answer(first.id, CONFIG);
    for _ in 0..3 {
        let probe = lane.send_later();
        assert_eq!(probe.events, [0]);
        lane.answer(probe.id, CONFIG);
    }
}

/// The fates of these events where all with an odd number are refused as the destination is set up.
fn odd_ones_wait(sent: &Sent) -> Fate {
    let fate = |event: &u64| match event % 2 {
        0 => ItemFate::Delivered,
        _ => ItemFate::Hold(Cause::Config, reason("config")),
    };
    Fate::Items(sent.events.iter().map(fate).collect())
}

/// One index that is closed must not stop the others of the same exporter.
#[test]
fn events_that_are_held_while_others_are_taken_wait_alone() {
    let mut lane = Lane::new();
    lane.enqueue(4, 0);
    let sent = lane.send();
    let fates = odd_ones_wait(&sent);
    lane.answer(sent.id, fates);
    assert_eq!(lane.delivered(), 2);
    assert_eq!(lane.sender.held_routes().count(), 0, "the others go on");
    lane.enqueue(2, 0);
    let next = lane.send();
    assert_eq!(next.events, [4, 5]);
    let refused_at = lane.now;
    let fates = odd_ones_wait(&next);
    lane.answer(next.id, fates);

    // They leave the lane to others, and come back when they are due.
    let mut parked = Vec::new();
    lane.sender.park(Duration::from_secs(10), lane.now, &mut parked);
    let events = |parked: &Parked| {
        parked.reshape.items.iter().map(|item| item.span.from.bytes()).collect::<Vec<_>>()
    };
    assert_eq!(parked.iter().map(events).collect::<Vec<_>>(), [vec![1, 3], vec![5]]);
    assert!(lane.sender.is_empty());
    let until = parked[0].until.expect("no route holds them");
    assert_eq!(until - refused_at, Duration::from_secs(60));
    lane.now = until;
    for it in &parked {
        lane.sender.unpark(&it.reshape);
        lane.render(&it.reshape);
    }
    // Refused once more without any other event beside them, they still hold nothing.
    let again = lane.send();
    assert_eq!(again.events, [1, 3]);
    let fates = odd_ones_wait(&again);
    lane.answer(again.id, fates);
    assert_eq!(lane.sender.held_routes().count(), 0);
    let other = lane.send();
    assert_eq!(other.events, [5]);
    lane.answer(other.id, Fate::Delivered);
    assert_eq!((lane.delivered(), lane.sender.pending(), lane.dead().len()), (4, 2, 0));
    // Without anybody to set them aside they are tried again all the same, less often each time.
    let last = lane.send_later();
    assert_eq!((last.events.clone(), lane.now - until), (vec![1, 3], Duration::from_secs(120)));
    lane.answer(last.id, Fate::Delivered);
    assert!(lane.sender.is_empty());
}

#[test]
fn events_that_are_all_held_hold_their_route_and_another_batch_is_tried() {
    let mut lane = Lane::new();
    lane.enqueue(1, 0);
    lane.enqueue(1, 0);
    let hold = || Fate::Items(vec![ItemFate::Hold(Cause::Config, reason("config"))]);
    let first = lane.send();
    lane.answer(first.id, hold());
    assert_eq!(lane.sender.held_routes().count(), 1, "nothing tells the event from the index");
    let other = lane.send_later();
    assert_eq!((other.events, lane.now - lane.start), (vec![1], Duration::from_secs(60)));
    lane.answer(other.id, Fate::Delivered);
    assert_eq!(lane.sender.held_routes().count(), 0);
    // Now something does: another one was taken since.
    let first = lane.send();
    assert_eq!(first.events, [0]);
    lane.answer(first.id, hold());
    assert_eq!(lane.sender.held_routes().count(), 0);
    assert_eq!((lane.sender.pending(), lane.dead().len()), (1, 0));
}

/// An index that nobody may write to is a matter of the whole exporter: none is taken.
#[test]
fn a_setup_that_breaks_for_all_parks_nobody_alone() {
    let mut lane = Lane::new();
    for _ in 0..3 {
        lane.enqueue(2, 0);
    }
    for _ in 0..5 {
        let sent = lane.send_later();
        let hold = ItemFate::Hold(Cause::Config, reason("config"));
        lane.answer(sent.id, Fate::Items(vec![hold; sent.events.len()]));
        assert_eq!(lane.sender.held_routes().count(), 1);
    }
    let mut parked = Vec::new();
    lane.wait(Duration::from_secs(10));
    lane.sender.park(Duration::from_secs(10), lane.now, &mut parked);
    assert!(parked.iter().all(|it| it.until.is_none()), "they wait for their route");
    assert_eq!(parked.len(), 2, "one stays to try with");
}

#[test]
fn a_hold_is_the_routes_where_routes_lead_to_places_of_their_own() {
    for fate in [AUTH, CONFIG] {
        let mut lane = Lane::with(|_, sender| sender.has_own_places = true);
        lane.enqueue(1, 1);
        lane.enqueue(1, 0);
        let sent = lane.send();
        lane.answer(sent.id, fate.clone());
        if lane.out.remedy.take().is_some() {
            // The others go on meanwhile.
            lane.wait(Duration::from_secs(3));
            let sent = lane.send();
            lane.answer(sent.id, fate);
        }
        assert_eq!(lane.gate.held(), None);
        assert_eq!(lane.sender.held_routes().map(|(route, _)| route).collect::<Vec<_>>(), [1]);
        let other = lane.send();
        assert_eq!(other.events, [1]);
        lane.answer(other.id, Fate::Delivered);
        let tried = lane.send_later();
        assert_eq!(tried.events, [0]);
        assert!(lane.now - lane.start >= Duration::from_secs(60));
        lane.answer(tried.id, Fate::Delivered);
        assert!(lane.sender.is_empty());
    }
}

/// "408: timed out, part may be stored" (`sumo-logic.md`).
#[test]
fn halves_of_a_request_that_timed_out_are_counted_and_wait() {
    let mut lane = Lane::new();
    lane.enqueue(4, 0);
    let mut requests = 0;
    while lane.now - lane.start < Duration::from_secs(20) {
        let sent = lane.send_later();
        requests += 1;
        let fate = if sent.events.len() > 1 { Fate::Split } else { Fate::Retry };
        lane.verdict(sent.id, Verdict::new(fate, "timeout").at(Pace::Pause(None)));
    }
    assert!(lane.out.tally.ambiguous >= 4 + 2 + 2, "{:?}", lane.out.tally);
    assert!(requests <= 7 + 5, "the breaker opens: {requests} requests");
    assert!(matches!(lane.gate.held(), Some((Cause::Outage, ..))));
    assert_eq!((lane.sender.pending(), lane.dead().len()), (4, 0));
    // What is too large is no failure of anybody's.
    let mut lane = Lane::with(|_, sender| sender.resend = Resend::Ambiguous);
    lane.enqueue(2, 0);
    let sent = lane.send();
    lane.answer(sent.id, Fate::Split);
    let (one, two) = (lane.send(), lane.send());
    assert_eq!((one.events, two.events, lane.out.tally.ambiguous), (vec![0], vec![1], 0));
}

/// "429, 502, 503, 504: retry, next node" (`elastic.md`).
#[test]
fn what_a_busy_node_refused_goes_to_the_next_one() {
    let mut lane = Lane::with(|gate, _| gate.endpoints = 3);
    lane.enqueue(1, 0);
    let first = lane.send();
    let busy = Verdict::new(Fate::Retry, "throttled").at(Pace::Pause(None));
    let busy = Verdict { reason: Reason { status: 429, ..busy.reason }, ..busy };
    lane.verdict(first.id, busy);
    // Others were sent meanwhile, so that its turn alone would bring it back to the busy one.
    let mut endpoints = Vec::new();
    for _ in 0..2 {
        lane.enqueue(1, 0);
    }
    for _ in 0..3 {
        let sent = lane.send_later();
        endpoints.push(sent.endpoint);
        lane.answer(sent.id, Fate::Delivered);
    }
    assert!(!endpoints.contains(&first.endpoint), "{endpoints:?} after {}", first.endpoint);
}

/// Who waits for its own route leaves the probe to others.
#[test]
fn a_route_of_its_own_that_is_held_is_no_probe() {
    let mut lane = Lane::new();
    lane.enqueue(1, 1);
    lane.enqueue(1, 0);
    let sent = lane.send();
    lane.answer(sent.id, ROUTE);
    let sent = lane.send();
    lane.answer(sent.id, CONFIG);
    assert_eq!(lane.send_later().events, [1]);
}

/// A call that says that all is well lets several requests go, and with the breaker's number of
/// events among them that break theirs it opened again before any other was tried.
#[test]
fn where_the_call_is_well_and_all_that_goes_breaks_one_event_finds_out() {
    let mut lane = Lane::with(|gate, sender| {
        (gate.breaker.failures, gate.endpoints) = (2, 3);
        sender.has_probe = true;
        // All are due whenever the breaker closes.
        sender.retry.backoff_max = Duration::from_secs(1);
    });
    [1, 1, 6].iter().for_each(|&events| lane.enqueue(events, 0));
    while lane.sender.pending() > 0 {
        let is_late = lane.now - lane.start > Duration::from_secs(120);
        assert!(lane.delivered() > 0 || !is_late, "nothing gets through");
        let action = lane.poll();
        let has_rendered = lane.render_all();
        match action {
            Action::Wait(_) | Action::Idle if has_rendered => {}
            Action::Wait(at) => lane.now = at,
            Action::Probe { endpoint } => {
                let verdict = Some(Verdict::new(Fate::Delivered, "test"));
                lane.sender.on_probe(endpoint, verdict, lane.now, &mut lane.out);
            }
            action => {
                let sent = lane.sent(&action).unwrap_or_else(|| panic!("{action:?}"));
                lane.wait(Duration::from_millis(20));
                match sent.events.iter().any(|event| [0, 1, 4].contains(event)) {
                    true if sent.events.contains(&0) => {
                        lane.error(sent.id, TransportErrorKind::Network, Applied::Maybe)
                    }
                    true => lane.verdict(sent.id, unavailable(500)),
                    false => lane.answer(sent.id, Fate::Delivered),
                }
            }
        }
    }
    assert_eq!((lane.dead().len(), lane.delivered()), (3, 5), "{:?}", lane.dead());
}

/// After an outage of hours the one that breaks each request is not the only one that is tried,
/// whichever of two lanes asks first.
#[test]
fn lanes_that_failed_for_hours_are_probed_with_in_turn() {
    for first in [0, 1] {
        let one = Lane::with(|_, _| {});
        let other = one.beside(settings());
        let mut lanes = [one, other];
        lanes.iter_mut().for_each(|lane| lane.enqueue(1, 0));
        for failures in 0..1000 {
            let (at, sent) = next_of(&mut lanes, first);
            if at != first && failures >= 900 {
                lanes[at].answer(sent.id, Fate::Delivered);
                break;
            }
            lanes[at].error(sent.id, TransportErrorKind::Network, Applied::Maybe);
        }
        assert_eq!((lanes[first].delivered(), lanes[1 - first].delivered()), (0, 1));
    }
}

/// The next request of two lanes, and whose it is; one asks first.
fn next_of(lanes: &mut [Lane; 2], first: usize) -> (usize, Sent) {
    loop {
        let mut soonest = lanes[0].now + Duration::from_secs(3600);
        for at in [first, 1 - first] {
            let lane = &mut lanes[at];
            let mut action = lane.poll();
            if lane.render_all() {
                action = lane.poll();
            }
            match action {
                Action::Wait(until) => soonest = soonest.min(until),
                action => {
                    let sent = lane.sent(&action);
                    return (at, sent.unwrap_or_else(|| panic!("{action:?}")));
                }
            }
        }
        lanes.iter_mut().for_each(|lane| lane.now = soonest);
    }
}
