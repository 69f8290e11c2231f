//! Routes that take less than comes: how long events wait, who goes first, and digests.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use shrike::deliver::{
    Action, Applied, Batch, Fate, Fold, Item, Level, Order, RoutePlaces, RouteRate,
    TransportErrorKind,
};
use shrike::event::{Offset, Settle, Severity, Span};

use crate::Lane;

fn lane(per_minute: u64, burst: u64, of: Vec<u32>) -> Lane {
    Lane::with(|gate, sender| {
        gate.concurrency = 1;
        sender.order = Order::Loose;
        let rate = Some(RouteRate { per_minute, burst, lets_critical_pass: true });
        gate.places = RoutePlaces { of, rate };
    })
}

/// Enqueues one event.
fn enqueue(lane: &mut Lane, route: u32, severity: Severity) {
    let mut batch = Batch::new(&lane.packing, route, &lane.buffers, &lane.allowance);
    let span = Span { from: Offset::new(lane.next), to: Offset::new(lane.next + 1) };
    lane.next += 1;
    batch.push(span, 0, severity, |_, out| out.extend_from_slice(b"event"));
    batch.close();
    lane.sender.enqueue(batch);
}

/// Enqueues a digest of so many events.
fn enqueue_digest(lane: &mut Lane, events: u64, fate: Settle) {
    let mut batch = Batch::new(&lane.packing, 0, &lane.buffers, &lane.allowance);
    let span = |at: u64| Span { from: Offset::new(at), to: Offset::new(at + 1) };
    let item = |at: u64| Item { span: span(at), received_ns: 0, start: 0, end: 0 };
    batch.push(span(lane.next), 0, Severity::High, |_, out| out.extend_from_slice(b"digest"));
    batch.close();
    let fold = Arc::new(Fold { record: "digest".to_owned(), fate });
    batch.fold(fold, (lane.next..lane.next + events).map(item).collect());
    lane.next += events;
    lane.sender.enqueue(batch);
}

#[test]
fn a_digest_settles_all_its_events_as_it_says() {
    for fate in [Settle::Delivered, Settle::Filtered] {
        let mut lane = lane(60, 1, vec![0]);
        enqueue_digest(&mut lane, 50, fate);
        assert_eq!(lane.sender.pending(), 50);
        let sent = lane.send();
        assert_eq!(sent.events.len(), 50);
        lane.answer(sent.id, Fate::Delivered);
        let settled = &lane.out.settled;
        assert_eq!((settled.len(), settled[0].events, settled[0].fate), (1, 50, fate));
        let (digested, stale) = if fate == Settle::Delivered { (50, 0) } else { (0, 50) };
        let tally = lane.out.tally;
        assert_eq!((tally.digests, tally.digested, tally.stale), (1, digested, stale));
        assert!(lane.sender.is_empty());
    }
}

#[test]
fn a_digest_is_never_cut() {
    for fate in [Fate::Split, Fate::Reshape(Level::Plain)] {
        let mut lane = lane(60, 5, vec![0]);
        enqueue_digest(&mut lane, 8, Settle::Delivered);
        let sent = lane.send();
        lane.answer(sent.id, fate);
        let reshape = lane.out.reshape.pop().expect("it is rendered again");
        assert!(reshape.fold.is_some() && reshape.items.len() == 8, "as a whole");
        assert_eq!(lane.sender.pending(), 8);
    }
    for fate in [Fate::Bisect, Fate::Reject] {
        let mut lane = lane(60, 5, vec![0]);
        enqueue_digest(&mut lane, 8, Settle::Filtered);
        let sent = lane.send();
        lane.answer(sent.id, fate);
        assert_eq!(lane.dead(), (0..8).collect::<Vec<u64>>(), "each is a letter");
        assert!(lane.out.settled.is_empty() && lane.sender.is_empty());
    }
}

#[test]
fn a_digest_waits_through_an_outage_as_a_whole() {
    let mut lane = lane(60, 100, vec![0]);
    enqueue_digest(&mut lane, 8, Settle::Delivered);
    for _ in 0..5 {
        let sent = lane.send_later();
        lane.error(sent.id, TransportErrorKind::Connect, Applied::No);
    }
    // Long enough for its body to be let go, were it not the one to probe with.
    lane.wait(Duration::from_secs(29));
    let probe = lane.send_later();
    assert!(probe.is_probe && probe.events.len() == 8, "nothing is taken out of it to probe with");
    lane.answer(probe.id, Fate::Delivered);
    assert_eq!((lane.delivered(), lane.out.tally.digested), (8, 8));
}

#[test]
fn retention_takes_events_out_of_a_digest_that_waits() {
    let mut lane = lane(60, 1, vec![0]);
    enqueue(&mut lane, 0, Severity::Low);
    let sent = lane.send();
    lane.answer(sent.id, Fate::Delivered);
    enqueue_digest(&mut lane, 10, Settle::Delivered);
    lane.out.clear();
    lane.sender.give_up_below(Offset::new(5), &mut lane.out);
    assert_eq!((lane.delivered(), lane.out.settled[0].fate), (4, Settle::Skipped));
    lane.out.clear();
    let sent = lane.send_later();
    assert_eq!(sent.events.len(), 6);
    lane.answer(sent.id, Fate::Delivered);
    assert_eq!(lane.delivered(), 6);
}

#[test]
fn critical_events_go_before_others_that_wait_for_the_same_place() {
    let mut lane = lane(60, 1, vec![0, 1, 0]);
    let severities = [Severity::Low, Severity::High, Severity::Low, Severity::Critical];
    severities.into_iter().for_each(|severity| enqueue(&mut lane, 0, severity));
    enqueue(&mut lane, 1, Severity::Low);
    enqueue(&mut lane, 2, Severity::Critical);
    let order: Vec<u64> = (0..6)
        .map(|_| {
            let sent = lane.send_later();
            lane.answer(sent.id, Fate::Delivered);
            sent.events[0]
        })
        .collect();
    // Those of one place, in the log's order, and whoever has a place of its own.
    assert_eq!(order, [3, 4, 5, 0, 1, 2]);
}

#[test]
fn critical_events_pass_none_where_all_may_go_at_once() {
    let mut lane = lane(60, 4, vec![0]);
    let severities = [Severity::Low, Severity::Critical, Severity::Low, Severity::Critical];
    severities.into_iter().for_each(|severity| enqueue(&mut lane, 0, severity));
    for expected in 0..4 {
        let sent = lane.send();
        assert_eq!(sent.events, [expected]);
        lane.answer(sent.id, Fate::Delivered);
    }
}

#[test]
fn a_digest_that_is_on_its_way_is_passed_by_none() {
    let mut lane = lane(60, 1, vec![0]);
    enqueue(&mut lane, 0, Severity::Low);
    let sent = lane.send();
    lane.answer(sent.id, Fate::Delivered);
    assert_eq!(lane.sender.free_at(0, lane.now), Some(lane.now + Duration::from_secs(1)));
    enqueue_digest(&mut lane, 3, Settle::Delivered);
    enqueue(&mut lane, 0, Severity::Critical);
    assert_eq!(lane.sender.free_at(0, lane.now), None, "something waits there");
    assert_eq!(lane.send_later().events.len(), 3);
}

/// A bucket as one would draw it: what is in it, in nanoseconds of its rate.
struct Bucket {
    level: u64,
    at: u64,
    waiting: VecDeque<(u64, u64)>,
}

#[test]
fn how_long_an_event_waits_is_known_beforehand() {
    for seed in 0..200 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let places: Vec<u32> = (0..4).map(|at| rng.u32(0..=at)).collect();
        // A place is named by its first route.
        let places: Vec<u32> =
            places.iter().map(|&at| if places[at as usize] == at { at } else { 0 }).collect();
        let (per_minute, burst) = (rng.u64(1..600), rng.u64(1..8));
        let interval = 60_000_000_000 / per_minute;
        let mut lane = lane(per_minute, burst, places.clone());
        let mut buckets: Vec<Bucket> = (0..4)
            .map(|_| Bucket { level: burst * interval, at: 0, waiting: VecDeque::new() })
            .collect();
        let mut sent = 0;
        let mut added = 0;
        while sent < 60 {
            let now = (lane.now - lane.start).as_nanos() as u64;
            if added < 60 && rng.u8(..) < 100 {
                let route = rng.u32(0..4);
                let place = places[route as usize] as usize;
                let bucket = &mut buckets[place];
                // What is in the bucket by now, and what those before take out of it.
                let level = (bucket.level + (now - bucket.at)).min(burst * interval);
                let wanted = (bucket.waiting.len() as u64 + 1) * interval;
                let wait = wanted.saturating_sub(level);
                let said = lane.sender.wait_for(route, lane.now).as_nanos() as u64;
                assert_eq!(said, wait, "seed {seed}");
                bucket.waiting.push_back((lane.next, now + wait));
                enqueue(&mut lane, route, Severity::Low);
                added += 1;
                continue;
            }
            match lane.poll() {
                Action::Send { id, .. } => {
                    let event =
                        lane.sender.batch(id).expect("it is named").items()[0].span.from.bytes();
                    lane.answer(id, Fate::Delivered);
                    let bucket = buckets
                        .iter_mut()
                        .find(|it| it.waiting.front().is_some_and(|it| it.0 == event))
                        .unwrap_or_else(|| {
                            panic!("seed {seed}: {event} is not the next of its place")
                        });
                    let (_, due) = bucket.waiting.pop_front().expect("found just now");
                    assert_eq!(due, now, "seed {seed}: {event}");
                    bucket.level =
                        (bucket.level + (now - bucket.at)).min(burst * interval) - interval;
                    bucket.at = now;
                    sent += 1;
                }
                // Sometimes something comes in between.
                Action::Wait(at) if rng.bool() && added < 60 => {
                    lane.now += (at - lane.now) / rng.u32(2..9);
                }
                Action::Wait(at) => lane.now = at,
                _ => lane.wait(Duration::from_millis(rng.u64(1..500))),
            }
        }
    }
}
