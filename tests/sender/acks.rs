//! Confirmations that a destination's restart makes doubtful.

use std::time::Duration;

use shrike::deliver::{AckId, Action, Applied, Fate, Health, TransportErrorKind, Verdict};

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
