//! Confirmations that a destination's restart makes doubtful.

use std::time::Duration;

use shrike::deliver::{
    AckId, Action, Applied, Fate, Health, Level, Pace, TransportErrorKind, Verdict,
};

use super::Lane;

/// A lane that waits for two confirmations, has a request under way, asked, and got one.
fn asking() -> (Lane, super::Sent, (usize, u32)) {
    let (mut lane, flying, (endpoint, group)) = asked();
    confirm(&mut lane, (endpoint, group), 0);
    assert_eq!(lane.delivered(), 0, "the id may be that of the request under way");
    (lane, flying, (endpoint, group))
}

fn confirm(lane: &mut Lane, channel: (usize, u32), ack: u64) {
    confirm_all(lane, channel, &[ack]);
}

fn confirm_all(lane: &mut Lane, (endpoint, group): (usize, u32), acks: &[u64]) {
    let confirmed = Fate::Confirmed(acks.iter().copied().map(AckId).collect());
    let confirmed = Verdict::new(confirmed, "test");
    lane.sender.on_acks(endpoint, group, confirmed, lane.now, &mut lane.out);
}

/// A lane that waits for two confirmations, has a request under way, and asked.
fn asked() -> (Lane, super::Sent, (usize, u32)) {
    let mut lane = Lane::new();
    for ack in 0..2 {
        lane.enqueue(1, 0);
        let sent = lane.send();
        lane.answer(sent.id, Fate::Pending(AckId(ack)));
    }
    lane.wait(Duration::from_secs(1));
    let Action::PollAcks { endpoint, group, .. } = lane.poll() else { panic!("it asks") };
    lane.enqueue(1, 0);
    let flying = lane.send();
    assert_eq!(flying.group, group);
    (lane, flying, (endpoint, group))
}

#[test]
fn a_confirmation_counts_when_the_requests_under_way_are_answered() {
    let (mut lane, flying, _) = asking();
    // Its number goes on: no restart lies between.
    lane.answer(flying.id, Fate::Pending(AckId(2)));
    assert_eq!((lane.delivered(), lane.sender.unconfirmed()), (1, 2));
}

#[test]
fn a_confirmation_after_a_restart_settles_nothing() {
    let (mut lane, flying, _) = asking();
    // The new process began at 0, and confirmed this request and no other.
    lane.answer(flying.id, Fate::Pending(AckId(0)));
    assert_eq!((lane.delivered(), lane.out.tally.ack_resets), (0, 1));
    assert_eq!(lane.out.tally.resent, 3);
}

#[test]
fn a_confirmation_that_no_new_process_can_give_counts_at_once() {
    let (mut lane, flying, channel) = asked();
    // With one request under way, a process that began anew has numbered no more than one.
    confirm(&mut lane, channel, 1);
    assert_eq!(lane.delivered(), 1);
    // Nor when the answer to that request was lost.
    lane.error(flying.id, TransportErrorKind::Network, Applied::Maybe);
    assert_eq!((lane.delivered(), lane.out.tally.resent), (1, 0));
}

#[test]
fn what_a_new_process_can_have_numbered_waits_though_a_higher_number_is_confirmed() {
    let (mut lane, _flying, channel) = asked();
    // The higher number may be of the new process as well, and known to be.
    confirm_all(&mut lane, channel, &[0, 1]);
    assert_eq!((lane.delivered(), lane.sender.unconfirmed()), (1, 1));
}

#[test]
fn a_confirmation_beside_a_request_without_an_answer_is_not_believed() {
    let (mut lane, flying, channel) = asking();
    lane.error(flying.id, TransportErrorKind::Network, Applied::Maybe);
    // The destination says it only once, so the batch is sent again.
    assert_eq!((lane.delivered(), lane.sender.unconfirmed(), lane.out.tally.resent), (0, 1, 1));
    // The other can still be told.
    confirm(&mut lane, channel, 1);
    assert_eq!(lane.delivered(), 1);
}

#[test]
fn a_request_that_was_not_applied_makes_no_confirmation_doubtful() {
    let (mut lane, flying, _) = asking();
    lane.error(flying.id, TransportErrorKind::Network, Applied::No);
    assert_eq!(lane.delivered(), 1);
}

/// The answer to one request is what lets another one count: each has its own receipt.
#[test]
fn what_is_confirmed_by_the_answer_to_another_request_has_its_own_receipt() {
    let mut lane = Lane::new();
    for ack in 0..2 {
        lane.enqueue(3, 0);
        let sent = lane.send();
        lane.note(&sent);
        lane.answer(sent.id, Fate::Pending(AckId(ack)));
    }
    lane.wait(Duration::from_secs(1));
    let Action::PollAcks { endpoint, group, .. } = lane.poll() else { panic!("it asks") };
    lane.enqueue(5, 0);
    let flying = lane.send();
    confirm_all(&mut lane, (endpoint, group), &[0, 1]);
    assert_eq!(
        lane.receipts(),
        [[(3, 3), (3, 3)]],
        "the other may be that of the request under way"
    );
    lane.note(&flying);
    lane.answer(flying.id, Fate::Delivered);
    let all = [[(3, 3); 2], [(6, 5); 2], [(0, 3); 2]];
    assert_eq!(lane.receipts(), all, "{:?}", lane.out.settled);
}

/// Whoever refuses what is not asked for any more means something else: asked again at once, it
/// would say the same for ever.
#[test]
fn a_destination_that_refuses_an_option_which_is_off_is_held() {
    let mut lane = Lane::new();
    lane.enqueue(3, 0);
    let sent = lane.send();
    lane.answer(sent.id, Fate::Without("use_ack"));
    assert_eq!(lane.out.without, ["use_ack"]);
    assert_eq!(lane.gate.health(lane.now), Health::Healthy);
    let again = lane.send();
    assert_eq!(again.body, sent.body, "at once");
    lane.answer(again.id, Fate::Without("use_ack"));
    assert_eq!(lane.gate.health(lane.now), Health::ConfigFailed);
    assert_eq!(lane.out.without, ["use_ack"], "once");
    assert_eq!((lane.sender.pending(), lane.dead()), (3, vec![]));
    let held = lane.now;
    assert!(lane.send_later().is_probe);
    assert_eq!(lane.now - held, Duration::from_secs(60));
}

/// "Pending batches are bounded (`ack.max_pending`), then backpressure" (`splunk.md`).
#[test]
fn what_is_not_sent_yet_counts_to_what_may_wait_for_confirmation() {
    let mut lane = Lane::with(|_, sender| sender.acks.pending_max = 3);
    for ack in 0..3 {
        assert!(lane.sender.room(), "{ack} of 3");
        lane.enqueue(1, 0);
        if ack == 0 {
            let sent = lane.send();
            lane.answer(sent.id, Fate::Pending(AckId(ack)));
        }
    }
    assert!(!lane.sender.room());
}

/// A lane whose only id is confirmed, with so many requests under way on the same channel.
fn with_flights(count: usize) -> (Lane, Vec<super::Sent>, (usize, u32)) {
    let mut lane = Lane::new();
    lane.enqueue(1, 0);
    let first = lane.send();
    let channel = (first.endpoint, first.group);
    lane.answer(first.id, Fate::Pending(AckId(0)));
    confirm(&mut lane, channel, 0);
    assert_eq!(lane.delivered(), 1);
    let send = |_| {
        lane.enqueue(1, 0);
        lane.send()
    };
    let flights: Vec<_> = (0..count).map(send).collect();
    assert!(flights.iter().all(|sent| sent.group == channel.1));
    (lane, flights, channel)
}

/// The next question; there is one when the clock gets there.
fn question(lane: &mut Lane) -> (u32, Vec<AckId>) {
    loop {
        match lane.poll() {
            Action::PollAcks { group, ids, .. } => return (group, ids),
            Action::Wait(at) => lane.now = at,
            other => panic!("{other:?}"),
        }
    }
}

/// Their answers say on which channel they were accepted, and that one is asked.
#[test]
fn a_channel_that_was_left_still_confirms_what_was_under_way_on_it() {
    let (mut lane, flights, channel) = with_flights(3);
    lane.error(flights[0].id, TransportErrorKind::Network, Applied::No);
    lane.answer(flights[1].id, Fate::Pending(AckId(1)));
    lane.answer(flights[2].id, Fate::Pending(AckId(2)));
    assert_eq!((lane.out.tally.ack_resets, lane.out.tally.resent), (0, 0));
    let again = lane.send_later();
    assert_ne!(again.group, channel.1);
    lane.answer(again.id, Fate::Delivered);
    assert_eq!(question(&mut lane), (channel.1, vec![AckId(1), AckId(2)]));
    confirm_all(&mut lane, channel, &[1, 2]);
    assert_eq!((lane.delivered(), lane.sender.pending()), (4, 0));
}

/// "Unknown channel on poll = all pending unknown" (`splunk.md`): what was under way is not.
#[test]
fn a_channel_that_is_unknown_still_confirms_what_was_under_way_on_it() {
    let (mut lane, flights, (endpoint, group)) = with_flights(3);
    lane.answer(flights[0].id, Fate::Pending(AckId(1)));
    let unknown = Verdict::new(Fate::Rechannel, "test");
    lane.sender.on_acks(endpoint, group, unknown, lane.now, &mut lane.out);
    assert_eq!(lane.out.tally.resent, 1);
    lane.answer(flights[1].id, Fate::Pending(AckId(2)));
    lane.answer(flights[2].id, Fate::Pending(AckId(3)));
    assert_eq!((lane.out.tally.ack_resets, lane.out.tally.resent), (0, 1));
    let again = lane.send();
    assert_ne!(again.group, group, "nothing new goes to it");
    lane.answer(again.id, Fate::Delivered);
    confirm_all(&mut lane, (endpoint, group), &[2, 3]);
    assert_eq!((lane.delivered(), lane.sender.pending()), (4, 0));
}

/// One server that began anew is no balancer without sticky sessions, however many requests were
/// under way.
#[test]
fn ids_of_one_channel_that_begin_anew_are_counted_once() {
    let mut lane = Lane::with(|gate, _| gate.concurrency = 20);
    for _ in 0..12 {
        lane.enqueue(1, 0);
    }
    let first = lane.send();
    lane.answer(first.id, Fate::Pending(AckId(5)));
    let flights: Vec<_> = (0..10).map(|_| lane.send()).collect();
    for (ack, sent) in flights.iter().enumerate() {
        lane.answer(sent.id, Fate::Pending(AckId(ack as u64)));
    }
    assert_eq!((lane.out.tally.ack_resets, lane.gate.held()), (1, None));
    assert_eq!(lane.out.tally.resent, 11, "nobody can tell which are confirmed");
}

/// A question is a request like any other: "while held, one probe is in flight" (`design.md` 4).
#[test]
fn a_held_exporter_is_asked_for_confirmations_no_more_often_than_it_is_probed() {
    let (mut lane, flights, (endpoint, group)) = with_flights(1);
    lane.answer(flights[0].id, Fate::Pending(AckId(1)));
    let mut questions = 0;
    let end = lane.now + Duration::from_secs(200);
    while lane.now < end {
        match lane.poll() {
            Action::PollAcks { .. } => {
                questions += 1;
                let refused = Verdict::new(super::AUTH, "auth");
                lane.sender.on_acks(endpoint, group, refused, lane.now, &mut lane.out);
            }
            Action::Wait(at) => lane.now = at.min(end),
            Action::Idle => break,
            other => panic!("{other:?}"),
        }
    }
    assert!((1..=4).contains(&questions), "{questions} questions in 200 s");
}

/// "A `Retry-After` is a floor" (`pipeline.md`), whatever it came with.
#[test]
fn nothing_is_asked_before_the_time_that_the_destination_names() {
    let (mut lane, flights, (endpoint, group)) = with_flights(1);
    lane.answer(flights[0].id, Fate::Pending(AckId(1)));
    question(&mut lane);
    let asked = lane.now;
    let pause = Pace::Pause(Some(Duration::from_secs(120)));
    let busy = Verdict::new(Fate::Retry, "unavailable").at(pause);
    lane.sender.on_acks(endpoint, group, busy, lane.now, &mut lane.out);
    question(&mut lane);
    assert_eq!(lane.now - asked, Duration::from_secs(120));
}

/// What waits may be confirmed: whoever could not be asked for so long is asked once more.
#[test]
fn a_confirmation_is_asked_for_once_more_before_it_is_given_up() {
    let (mut lane, flights, channel) = with_flights(1);
    lane.answer(flights[0].id, Fate::Pending(AckId(1)));
    question(&mut lane);
    let (endpoint, group) = channel;
    let pause = Pace::Pause(Some(Duration::from_secs(300)));
    let busy = Verdict::new(Fate::Retry, "unavailable").at(pause);
    lane.sender.on_acks(endpoint, group, busy, lane.now, &mut lane.out);
    assert_eq!(question(&mut lane).1, [AckId(1)]);
    confirm(&mut lane, channel, 1);
    assert_eq!((lane.delivered(), lane.out.tally.resent), (2, 0));
}

#[test]
fn questions_that_fail_are_asked_ever_less_often() {
    let (mut lane, flights, (endpoint, group)) = with_flights(1);
    lane.answer(flights[0].id, Fate::Pending(AckId(1)));
    let mut asked = Vec::new();
    for _ in 0..8 {
        question(&mut lane);
        asked.push((lane.now - lane.start).as_secs());
        lane.sender.on_acks_error(endpoint, group, lane.now);
    }
    assert_eq!(asked, [1, 3, 7, 15, 31, 61, 91, 121]);
    question(&mut lane);
    let none = Verdict::new(Fate::Confirmed(vec![]), "test");
    lane.sender.on_acks(endpoint, group, none, lane.now, &mut lane.out);
    let answered = lane.now;
    question(&mut lane);
    assert_eq!(lane.now - answered, Duration::from_secs(1));
}

/// A proxy that takes requests and never answers, before the first id of all: no id of the
/// destination can be one of theirs, since nothing more went to their channel.
#[test]
fn requests_that_were_never_answered_make_no_later_confirmation_doubtful() {
    let mut lane = Lane::with(|gate, _| gate.breaker.failures = 0);
    lane.enqueue(1, 0);
    for _ in 0..3 {
        let sent = lane.send_later();
        lane.error(sent.id, TransportErrorKind::Timeout, Applied::Maybe);
    }
    let sent = lane.send_later();
    lane.answer(sent.id, Fate::Pending(AckId(0)));
    confirm(&mut lane, (sent.endpoint, sent.group), 0);
    assert_eq!((lane.delivered(), lane.out.tally.resent), (1, 0));
}

/// Connections are kept by channel: where nothing is confirmed, a failure costs no other one.
#[test]
fn without_confirmations_a_failure_leaves_no_channel() {
    let mut lane = Lane::with(|_, sender| sender.acks.is_used = false);
    lane.enqueue(1, 0);
    let sent = lane.send();
    lane.error(sent.id, TransportErrorKind::Timeout, Applied::Maybe);
    assert_eq!(lane.send_later().group, sent.group);
}

#[test]
fn confirmations_come_in_any_order_and_sending_never_waits_for_them() {
    let mut lane = Lane::new();
    for ack in 0..3 {
        lane.enqueue(2, 0);
        let sent = lane.send();
        lane.answer(sent.id, Fate::Pending(AckId(ack)));
    }
    assert_eq!((lane.delivered(), lane.sender.unconfirmed()), (0, 3));
    assert_eq!((lane.out.tally.awaited, lane.out.tally.answered), (6, 0));
    let used = lane.allowance.used();
    assert!((6..6 * 16).contains(&used), "no bodies and few bytes of items are kept: {used}");
    assert!(lane.sender.is_hungry(lane.now));
    lane.wait(Duration::from_secs(1));
    let Action::PollAcks { endpoint, group, ids } = lane.poll() else { panic!("it asks") };
    assert_eq!(ids, [AckId(0), AckId(1), AckId(2)], "all in one request");
    let confirmed = |ids: &[u64]| {
        Verdict::new(Fate::Confirmed(ids.iter().map(|id| AckId(*id)).collect()), "test")
    };
    lane.sender.on_acks(endpoint, group, confirmed(&[2, 0]), lane.now, &mut lane.out);
    assert_eq!(lane.delivered(), 4);
    lane.wait(Duration::from_secs(1));
    assert!(matches!(lane.poll(), Action::PollAcks { ids, .. } if ids == [AckId(1)]));
    lane.sender.on_acks_error(endpoint, group, lane.now);
    assert_eq!(lane.gate.health(lane.now), Health::Degraded);
    lane.wait(Duration::from_secs(2));
    assert!(matches!(lane.poll(), Action::PollAcks { .. }), "a poll that failed is asked again");
    assert_eq!((lane.out.tally.resent, lane.out.tally.answered), (0, 4));
    lane.sender.on_acks(endpoint, group, confirmed(&[1]), lane.now, &mut lane.out);
    assert!(lane.sender.is_empty());
    assert_eq!((lane.out.tally.awaited, lane.out.tally.answered), (6, 6));
}

#[test]
fn what_is_never_confirmed_is_rendered_again_and_marked() {
    type Loss = fn(&mut Lane, usize, u32);
    let losses: [(&str, Loss); 3] = [
        ("time", |lane, endpoint, group| {
            for wait in [300, 0] {
                let verdict = Verdict::new(Fate::Confirmed(Vec::new()), "test");
                lane.sender.on_acks(endpoint, group, verdict, lane.now, &mut lane.out);
                lane.wait(Duration::from_secs(wait));
                let asks = matches!(lane.poll(), Action::PollAcks { .. });
                assert_eq!(asks, wait > 0, "once more");
            }
        }),
        ("unknown channel", |lane, endpoint, group| {
            let verdict = Verdict::new(Fate::Reject, "test");
            lane.sender.on_acks(endpoint, group, verdict, lane.now, &mut lane.out);
        }),
        ("ids begin anew", |lane, _, _| {
            lane.enqueue(1, 0);
            let sent = lane.send();
            lane.answer(sent.id, Fate::Pending(AckId(3)));
        }),
    ];
    for (name, lose) in losses {
        let mut lane = Lane::new();
        lane.enqueue(2, 0);
        let sent = lane.send();
        lane.answer(sent.id, Fate::Pending(AckId(7)));
        lane.wait(Duration::from_secs(1));
        let Action::PollAcks { endpoint, group, .. } = lane.poll() else { panic!("it asks") };
        lose(&mut lane, endpoint, group);
        let _ = lane.poll();
        assert_eq!(lane.gate.health(lane.now), Health::Degraded, "{name}");
        let reshape = lane.out.reshape.pop().unwrap_or_else(|| panic!("{name}"));
        assert_eq!(reshape.level, Some(Level::Resend), "{name}");
        assert_eq!(reshape.items.len(), 2, "{name}");
        lane.render(&reshape);
        let again = lane.send();
        assert_eq!(again.events, [0, 1]);
        lane.answer(again.id, Fate::Delivered);
        assert_eq!(lane.delivered(), 2, "{name}");
    }
}

#[test]
fn after_a_broken_connection_ids_are_given_on_a_new_channel() {
    let mut lane = Lane::new();
    lane.enqueue(1, 0);
    let first = lane.send();
    lane.answer(first.id, Fate::Pending(AckId(0)));
    lane.enqueue(1, 0);
    let broken = lane.send();
    assert_eq!(broken.group, first.group);
    lane.error(broken.id, TransportErrorKind::Network, Applied::Maybe);
    let again = lane.send_later();
    assert_ne!(again.group, first.group, "a new process may give the same ids");
    lane.answer(again.id, Fate::Pending(AckId(0)));
    assert_eq!(lane.out.tally.ack_resets, 0);
    lane.wait(Duration::from_secs(1));
    let mut groups = Vec::new();
    while let Action::PollAcks { group, .. } = lane.poll() {
        groups.push(group);
    }
    assert_eq!(groups, [first.group, again.group], "the old channel is still asked");
}
