//! Requests that were accepted and are asked for one by one.

use shrike::deliver::{Sent as Told, Settling};
use shrike::event::Settled;

use super::*;

impl Lane {
    /// Notes for receipts that a request carried these events.
    pub(super) fn note(&mut self, sent: &Sent) {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&sent.events[0].to_le_bytes());
        let told = Told { attempts: 1, status: 202, bytes: sent.events.len() as u64, digest };
        self.sender.note_sent(sent.id, told);
    }

    /// The first event and the number of events of each request that settled some, as noted and as
    /// settled.
    pub(super) fn receipts(&self) -> Vec<[(u64, u64); 2]> {
        let settled = |pieces: &[Settled]| {
            (pieces[0].span.from.bytes(), pieces.iter().map(|it| it.events).sum())
        };
        let told = |Settling { sent, pieces }: &Settling| {
            let mut first = [0; 8];
            first.copy_from_slice(&sent.digest[..8]);
            let noted = (u64::from_le_bytes(first), sent.bytes);
            [noted, settled(&self.out.settled[pieces.clone()])]
        };
        self.out.requests.iter().map(told).collect()
    }

    /// Sends one event, which is accepted as a request of this name.
    fn request(&mut self, name: &str) -> BatchId {
        self.enqueue(1, 0);
        let sent = self.send();
        self.verdict(sent.id, Verdict::new(Fate::Requested(name.to_owned()), "accepted"));
        sent.id
    }

    /// The name that is asked for now, if one is.
    fn asked(&mut self) -> Option<(BatchId, String)> {
        match self.poll() {
            Action::Verify { id, request, endpoint: 0 } => Some((id, request)),
            _ => None,
        }
    }

    fn told(&mut self, id: BatchId, fate: Fate, class: &'static str) {
        let verdict = Some(Verdict::new(fate, class));
        self.sender.on_verified(id, verdict, self.now, &mut self.out);
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    fn settled(&self) -> usize {
        self.out.settled.len()
    }
}

#[test]
fn a_request_settles_when_it_is_done_and_is_asked_for_ever_less_often_until_then() {
    let mut lane = Lane::new();
    let id = lane.request("r-1");
    assert_eq!((lane.settled(), lane.sender.pending()), (0, 1));
    for wait in [1, 2, 4, 8, 8] {
        assert_eq!(lane.asked(), None, "not before {wait} s");
        lane.pass(wait);
        assert_eq!(lane.asked(), Some((id, "r-1".to_owned())));
        assert_eq!(lane.asked(), None, "one question at a time");
        lane.told(id, Fate::Retry, "unavailable");
    }
    lane.pass(6);
    // 29 seconds: it is done before nobody asks any more.
    lane.told(id, Fate::Delivered, "accepted");
    assert_eq!((lane.settled(), lane.sender.pending()), (1, 0));
    assert_eq!((lane.out.tally.unverified, lane.out.tally.answered), (0, 1));
}

#[test]
fn a_request_that_failed_is_a_dead_letter_with_its_reason() {
    let mut lane = Lane::new();
    let id = lane.request("r-1");
    lane.pass(1);
    assert!(lane.asked().is_some());
    let mut verdict = Verdict::new(Fate::Reject, "rejected");
    verdict.reason.detail = "denied".to_owned();
    lane.sender.on_verified(id, Some(verdict), lane.now, &mut lane.out);
    let letter = lane.out.dead.pop().expect("it is given up");
    assert_eq!((letter.reason.detail.as_str(), letter.attempts), ("denied", 1));
    assert!(!letter.retryable && lane.settled() == 0 && lane.sender.is_empty());
}

#[test]
fn what_is_not_told_in_time_is_delivered_and_counted() {
    let mut lane = Lane::new();
    let id = lane.request("r-1");
    lane.pass(1);
    assert!(lane.asked().is_some());
    lane.pass(29);
    assert_eq!(lane.asked(), None);
    assert_eq!((lane.settled(), lane.out.tally.unverified), (1, 1));
    // An answer that comes later changes nothing, and others are asked for again.
    lane.told(id, Fate::Reject, "rejected");
    assert!(lane.out.dead.is_empty());
    let id = lane.request("r-2");
    lane.pass(1);
    assert_eq!(lane.asked(), Some((id, "r-2".to_owned())));
}

#[test]
fn events_go_before_questions_and_a_question_that_fails_holds_nothing() {
    let mut lane = Lane::new();
    let first = lane.request("r-1");
    lane.pass(1);
    lane.enqueue(1, 0);
    let sent = lane.send();
    assert_eq!(lane.asked(), Some((first, "r-1".to_owned())));
    lane.sender.on_verified(first, None, lane.now, &mut lane.out);
    lane.verdict(sent.id, Verdict::new(Fate::Delivered, "accepted"));
    for _ in 0..20 {
        lane.pass(1);
        if let Some((id, _)) = lane.asked() {
            let hold = Fate::Hold { cause: Cause::Auth, scope: Scope::Exporter };
            lane.told(id, hold, "auth");
        }
        lane.enqueue(1, 0);
        let sent = lane.send();
        lane.verdict(sent.id, Verdict::new(Fate::Delivered, "accepted"));
    }
    assert_eq!(lane.gate.health(lane.now), Health::Healthy);
}

#[test]
fn a_throttled_question_waits_as_long_as_it_is_told() {
    let mut lane = Lane::new();
    let (first, _) = (lane.request("r-1"), lane.request("r-2"));
    lane.pass(1);
    assert!(lane.asked().is_some());
    let verdict = Verdict::new(Fate::Retry, "throttled");
    let verdict = verdict.at(Pace::Pause(Some(Duration::from_secs(20))));
    lane.sender.on_verified(first, Some(verdict), lane.now, &mut lane.out);
    lane.pass(19);
    assert_eq!(lane.asked(), None, "none at all");
    lane.pass(1);
    assert!(lane.asked().is_some());
}

#[test]
fn too_many_requests_stop_no_event() {
    let mut lane = Lane::new();
    for number in 0..300 {
        lane.request(&format!("r-{number}"));
    }
    assert_eq!((lane.delivered(), lane.out.tally.unverified, lane.sender.pending()), (44, 44, 256));
    lane.pass(30);
    assert_eq!(lane.asked(), None);
    assert_eq!((lane.out.tally.unverified, lane.sender.pending()), (300, 0));
}

/// Where too many wait, each that comes settles the oldest: not in its own name.
#[test]
fn whoever_settles_it_an_event_has_the_receipt_of_its_own_request() {
    let mut lane = Lane::new();
    for number in 0..300 {
        lane.enqueue(2, 0);
        let sent = lane.send();
        lane.note(&sent);
        lane.verdict(sent.id, Verdict::new(Fate::Requested(format!("r-{number}")), "accepted"));
    }
    assert_eq!(lane.delivered(), 88);
    let told = lane.receipts();
    assert_eq!(told.len(), 44);
    for (number, [noted, settled]) in (0..).zip(told) {
        assert_eq!((noted, settled), ((number * 2, 2), (number * 2, 2)));
    }
}
