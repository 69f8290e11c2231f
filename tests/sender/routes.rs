//! Routes of one exporter: limits of their own, and waits of their own.

use std::sync::Arc;
use std::time::Duration;

use shrike::deliver::{
    Action, Applied, Buffers, Cause, Fate, Health, ItemFate, Order, Outcomes, Pace, Reason, Remedy,
    RoutePlaces, RouteRate, Scope, Sender, SenderSettings, TransportErrorKind, Verdict,
};

use crate::{Lane, settings};

impl Lane {
    /// Another lane of the same exporter, whose events come later.
    pub(crate) fn beside(&self, settings: SenderSettings) -> Self {
        let settings = SenderSettings { lane: 1, ..settings };
        Self {
            sender: Sender::new(settings, Arc::clone(&self.gate), Arc::clone(&self.allowance)),
            gate: Arc::clone(&self.gate),
            allowance: Arc::clone(&self.allowance),
            packing: Arc::clone(&self.packing),
            buffers: Buffers::new(),
            out: Outcomes::default(),
            next: self.next + 1000,
            ..*self
        }
    }
}

/// There is nothing to send now.
#[track_caller]
fn assert_idle(lane: &mut Lane) {
    let action = lane.poll();
    assert!(matches!(action, Action::Wait(_) | Action::Idle), "{action:?}");
}

#[test]
fn each_place_that_routes_lead_to_has_a_limit_of_its_own() {
    let mut lane = Lane::with(|gate, sender| {
        sender.order = Order::Loose;
        // The third route leads where the first one does.
        let rate = Some(RouteRate { per_minute: 60, burst: 2, lets_critical_pass: false });
        gate.places = RoutePlaces { of: vec![0, 1, 0], rate };
    });
    for route in [0, 2, 0, 1, 0] {
        lane.enqueue(1, route);
    }
    for expected in [0, 1, 3] {
        let sent = lane.send();
        assert_eq!(sent.events, [expected], "the burst of one place does not stop another");
        lane.answer(sent.id, Fate::Delivered);
    }
    assert!(lane.sender.room(), "what waits for its place leaves room for others");
    for expected in [2, 4] {
        assert_idle(&mut lane);
        lane.wait(Duration::from_secs(1));
        let sent = lane.send();
        assert_eq!(sent.events, [expected], "one a second, in the log's order");
        lane.answer(sent.id, Fate::Delivered);
    }
}

#[test]
fn a_throttled_route_waits_alone_for_as_long_as_it_was_asked_to() {
    let mut lane = Lane::with(|_, sender| sender.order = Order::Loose);
    for route in [1, 2, 1] {
        lane.enqueue(1, route);
    }
    let sent = lane.send();
    let hold = Fate::Hold { cause: Cause::Outage, scope: Scope::Route };
    let wait = Pace::Pause(Some(Duration::from_secs(20)));
    lane.verdict(sent.id, Verdict::new(hold, "throttled").at(wait));
    let other = lane.send();
    assert_eq!(other.events, [1]);
    lane.answer(other.id, Fate::Delivered);
    lane.wait(Duration::from_secs(19));
    assert_idle(&mut lane);
    lane.wait(Duration::from_secs(1));
    for expected in [0, 2] {
        let sent = lane.send();
        assert_eq!(sent.events, [expected]);
        lane.answer(sent.id, Fate::Delivered);
    }
}

/// That others are accepted says nothing of a key that is refused.
#[test]
fn a_route_whose_key_is_refused_waits_alone_and_shows_it_seldom() {
    let mut lane = Lane::with(|_, sender| sender.order = Order::Loose);
    lane.enqueue(1, 1);
    let (mut refused, mut refreshes) = (Vec::new(), 0);
    for second in 0..130 {
        lane.enqueue(1, 2);
        loop {
            let action = lane.poll();
            let has_rendered = lane.render_all();
            let Some(sent) = lane.sent(&action) else {
                if has_rendered {
                    continue;
                }
                break;
            };
            let hold = Fate::Hold { cause: Cause::Auth, scope: Scope::Route };
            let is_refused = sent.events == [0];
            refused.extend(is_refused.then_some(second));
            lane.answer(sent.id, if is_refused { hold } else { Fate::Delivered });
            refreshes += u32::from(lane.out.remedy.take() == Some(Remedy::Refresh));
        }
        assert_eq!(lane.delivered(), second + 1, "the others go on");
        lane.wait(Duration::from_secs(1));
    }
    assert_eq!((refused, refreshes), (vec![0, 3, 63, 123], 1));
}

/// One channel, which the second and the third route lead to.
fn one_channel() -> Lane {
    Lane::with(|gate, sender| {
        sender.order = Order::Loose;
        gate.places = RoutePlaces { of: vec![0, 1, 1], rate: None };
    })
}

fn throttled(secs: u64) -> Verdict {
    let hold = Fate::Hold { cause: Cause::Outage, scope: Scope::Route };
    Verdict::new(hold, "throttled").at(Pace::Pause(Some(Duration::from_secs(secs))))
}

#[test]
fn a_throttled_channel_waits_with_all_routes_that_lead_there_and_keeps_their_order() {
    let mut lane = one_channel();
    for route in [1, 2, 0, 1, 2] {
        lane.enqueue(1, route);
    }
    let sent = lane.send();
    lane.verdict(sent.id, throttled(20));
    let other = lane.send();
    assert_eq!(other.events, [2], "it leads elsewhere");
    lane.answer(other.id, Fate::Delivered);
    assert!(lane.sender.is_held(2) && lane.sender.has_route(2) && !lane.sender.is_held(0));
    let mut parked = Vec::new();
    lane.wait(Duration::from_secs(19));
    assert_idle(&mut lane);
    lane.sender.park(Duration::from_secs(10), lane.now, &mut parked);
    assert_eq!(parked.len(), 3, "one is left to try with");
    lane.wait(Duration::from_secs(1));
    let sent = lane.send();
    assert_eq!(sent.events, [0]);
    lane.answer(sent.id, Fate::Delivered);
    assert!(!lane.sender.is_held(2));
}

#[test]
fn lanes_share_the_limit_and_the_wait_of_a_channel() {
    let mut one = Lane::with(|gate, sender| {
        sender.order = Order::Loose;
        let rate = Some(RouteRate { per_minute: 60, burst: 2, lets_critical_pass: false });
        gate.places = RoutePlaces { of: vec![0, 1, 1], rate };
    });
    let mut other = one.beside(SenderSettings { order: Order::Loose, ..settings() });
    for lane in [&mut one, &mut other] {
        lane.enqueue(1, 1);
        lane.enqueue(1, 2);
    }
    let before = other.send();
    let sent = one.send();
    assert_idle(&mut one);
    assert_idle(&mut other);
    for lane in [&mut one, &mut other] {
        lane.wait(Duration::from_millis(1));
    }
    one.verdict(sent.id, throttled(20));
    // What was on its way before says nothing of the channel now.
    other.answer(before.id, Fate::Delivered);
    for second in 0..20 {
        assert_idle(&mut one);
        assert_idle(&mut other);
        assert!(other.sender.is_held(1), "after {second} s");
        one.wait(Duration::from_secs(1));
        other.wait(Duration::from_secs(1));
    }
    let trial = one.send();
    assert_idle(&mut other);
    one.answer(trial.id, Fate::Delivered);
    assert_eq!(one.out.wake & 2, 2, "the other lane is told");
    assert_eq!(other.send().events.len(), 1);
}

/// A lane that is gone while it tries a channel leaves that to the others.
#[test]
fn a_lane_that_is_dropped_leaves_the_trial_of_its_channel_to_others() {
    let mut one = one_channel();
    let mut other = one.beside(SenderSettings { order: Order::Loose, ..settings() });
    one.enqueue(1, 1);
    other.enqueue(1, 2);
    let sent = one.send();
    one.verdict(sent.id, throttled(20));
    for lane in [&mut one, &mut other] {
        lane.wait(Duration::from_secs(20));
    }
    one.send();
    assert_idle(&mut other);
    drop(one.sender);
    assert_eq!(other.send().events.len(), 1);
}

/// An address of its own: what it does says nothing of the others, nor they of it.
#[test]
fn a_route_whose_own_address_is_away_waits_alone_and_spends_no_attempt() {
    for order in [Order::Any, Order::Loose] {
        let mut lane =
            Lane::with(|_, sender| (sender.order, sender.has_own_places) = (order, true));
        lane.enqueue(1, 1);
        let (mut tried, mut longest) = (0, Duration::ZERO);
        let mut last = lane.now;
        while lane.now - lane.start < Duration::from_secs(3600) {
            lane.enqueue(1, 2);
            loop {
                let action = lane.poll();
                let has_rendered = lane.render_all();
                match lane.sent(&action) {
                    Some(sent) if sent.events == [0] => {
                        tried += 1;
                        lane.error(sent.id, TransportErrorKind::Connect, Applied::No);
                    }
                    Some(sent) => {
                        longest = longest.max(lane.now - last);
                        last = lane.now;
                        lane.answer(sent.id, Fate::Delivered);
                    }
                    None if has_rendered => {}
                    None => break,
                }
            }
            assert_ne!(lane.gate.health(lane.now), Health::CircuitOpen, "{order:?}");
            lane.wait(Duration::from_secs(1));
        }
        assert_eq!(lane.dead(), [0; 0], "{order:?}: an outage spends nothing");
        assert!((80..130).contains(&tried), "{order:?}: every 30 to 45 s, {tried}");
        assert!(longest <= Duration::from_secs(3), "{order:?}: the others go on, {longest:?}");
        let delivered = lane.delivered();
        let sent = loop {
            lane.wait(Duration::from_secs(1));
            let action = lane.poll();
            lane.render_all();
            if let Some(sent) = lane.sent(&action) {
                break sent;
            }
        };
        assert_eq!(sent.events, [0]);
        lane.answer(sent.id, Fate::Delivered);
        assert_eq!(lane.delivered(), delivered + 1);
    }
}

/// What else the same address takes tells that it is the event.
#[test]
fn an_event_that_breaks_at_an_own_address_which_takes_others_is_given_up() {
    let mut lane = Lane::with(|_, sender| sender.has_own_places = true);
    lane.enqueue(1, 1);
    for _ in 0..200 {
        lane.enqueue(1, 1);
        loop {
            let action = lane.poll();
            let has_rendered = lane.render_all();
            match lane.sent(&action) {
                Some(sent) if sent.events == [0] => {
                    lane.verdict(sent.id, Verdict::new(Fate::Retry, "broken"));
                }
                Some(sent) => lane.answer(sent.id, Fate::Delivered),
                None if has_rendered => {}
                None => break,
            }
        }
        lane.wait(Duration::from_secs(1));
    }
    assert_eq!(lane.dead(), [0], "the address takes what else it gets");
}

const MISSING: ItemFate = ItemFate::Hold(
    Cause::Config,
    Reason { status: 404, code: None, class: "config", detail: String::new() },
);

/// "404 index_not_found: run setup once, else hold" (`elastic.md`): before it has run, the same
/// answer says nothing.
#[test]
fn what_lacks_a_setup_waits_until_that_has_run() {
    let mut lane = Lane::with(|_, sender| sender.has_setup = true);
    for route in [1, 2, 1] {
        lane.enqueue(1, route);
    }
    let sent = lane.send();
    lane.answer(sent.id, Fate::Items(vec![MISSING]));
    assert_eq!(lane.out.remedy.take(), Some(Remedy::Setup));
    let other = lane.send();
    assert_eq!(other.events, [1], "other places go on");
    lane.answer(other.id, Fate::Delivered);
    lane.wait(Duration::from_secs(5));
    assert_idle(&mut lane);
    lane.sender.on_prepared(lane.now, &mut lane.out);
    for expected in [2, 0] {
        let sent = lane.send();
        assert_eq!(sent.events, [expected], "at once, what was not refused first");
        lane.answer(sent.id, Fate::Delivered);
    }
    assert!(lane.sender.is_empty());
}

#[test]
fn a_setup_that_does_not_help_holds_the_route() {
    let mut lane = Lane::with(|_, sender| sender.has_setup = true);
    lane.enqueue(1, 1);
    let sent = lane.send();
    lane.answer(sent.id, Fate::Items(vec![MISSING]));
    assert_eq!(lane.out.remedy.take(), Some(Remedy::Setup));
    lane.wait(Duration::from_secs(1));
    lane.sender.on_prepared(lane.now, &mut lane.out);
    let sent = lane.send();
    lane.answer(sent.id, Fate::Items(vec![MISSING]));
    assert_eq!(lane.out.remedy.take(), None, "once");
    let refused = lane.now;
    lane.send_later();
    assert_eq!(lane.now - refused, Duration::from_secs(60));
}

/// One index of many is missing: the others are no reason not to make it.
#[test]
fn what_is_refused_beside_others_has_the_setup_run_as_well() {
    let mut lane = Lane::with(|_, sender| sender.has_setup = true);
    lane.enqueue(2, 0);
    let sent = lane.send();
    lane.answer(sent.id, Fate::Items(vec![MISSING, ItemFate::Delivered]));
    assert_eq!(lane.out.remedy.take(), Some(Remedy::Setup));
    let mut parked = Vec::new();
    lane.sender.park(Duration::from_secs(10), lane.now, &mut parked);
    assert_eq!(parked.len(), 0, "it is soon known");
    assert_idle(&mut lane);
    lane.wait(Duration::from_secs(2));
    lane.sender.on_prepared(lane.now, &mut lane.out);
    let again = lane.send();
    assert_eq!(again.events, [0]);
    lane.answer(again.id, Fate::Items(vec![MISSING]));
    assert_eq!(lane.out.remedy.take(), None, "that did not help");
    lane.sender.park(Duration::from_secs(10), lane.now, &mut parked);
    assert_eq!(parked[0].until, Some(lane.now + Duration::from_secs(120)));
}

/// Others that are accepted all the while must not have a setup run for each of them.
#[test]
fn what_is_refused_beside_others_has_the_setup_run_once_a_minute_at_most() {
    let mut lane = Lane::with(|_, sender| sender.has_setup = true);
    let (mut setups, mut parked) = (0, Vec::new());
    for _ in 0..180 {
        lane.enqueue(2, 0);
        let sent = lane.send();
        lane.answer(sent.id, Fate::Items(vec![MISSING, ItemFate::Delivered]));
        if lane.out.remedy.take().is_some() {
            setups += 1;
            lane.sender.on_prepared(lane.now, &mut lane.out);
            let again = lane.send();
            lane.answer(again.id, Fate::Items(vec![MISSING]));
        }
        lane.sender.park(Duration::from_secs(10), lane.now, &mut parked);
        lane.wait(Duration::from_secs(1));
    }
    assert_eq!((setups, parked.len()), (3, 180));
}

/// The same where no breaker is wanted: that one place fails is not for the others to wait for.
#[test]
fn an_own_address_that_is_away_stops_no_other_without_a_breaker() {
    for order in [Order::Any, Order::Loose] {
        let mut lane = Lane::with(|gate, sender| {
            gate.breaker.failures = 0;
            (sender.order, sender.has_own_places) = (order, true);
        });
        let mut delivered = 0;
        for second in 0..600 {
            // As much as a lane has room for, each event with a request of its own.
            while lane.sender.room() {
                lane.enqueue(1, 1);
            }
            lane.enqueue(1, 2);
            lane.sender.park(Duration::from_secs(10), lane.now, &mut Vec::new());
            loop {
                let action = lane.poll();
                let has_rendered = lane.render_all();
                match lane.sent(&action) {
                    Some(sent) if lane.sender.batch(sent.id).is_some_and(|it| it.route() == 1) => {
                        lane.error(sent.id, TransportErrorKind::Connect, Applied::No);
                    }
                    Some(sent) => {
                        lane.answer(sent.id, Fate::Delivered);
                        delivered = second;
                    }
                    None if has_rendered => {}
                    None => break,
                }
            }
            assert!(second - delivered <= 40, "{order:?}: nothing passes since {delivered} s");
            lane.wait(Duration::from_secs(1));
        }
    }
}

/// "Nothing else for ten minutes" (`runbooks.md`): what other addresses take says nothing of this
/// one, where all waits behind its first event.
#[test]
fn an_event_that_breaks_at_an_own_address_stops_it_for_ten_minutes_only() {
    let mut lane = Lane::with(|_, sender| {
        (sender.order, sender.has_own_places) = (Order::Loose, true);
        sender.standstill_max = Some(Duration::from_secs(600));
    });
    lane.enqueue(1, 1);
    lane.enqueue(1, 1);
    for _ in 0..700 {
        lane.enqueue(1, 2);
        loop {
            let action = lane.poll();
            let has_rendered = lane.render_all();
            match lane.sent(&action) {
                Some(sent) if sent.events == [0] => {
                    let mut verdict = Verdict::new(Fate::Retry, "unavailable");
                    verdict.reason.status = 500;
                    lane.verdict(sent.id, verdict);
                }
                Some(sent) => lane.answer(sent.id, Fate::Delivered),
                None if has_rendered => {}
                None => break,
            }
        }
        lane.wait(Duration::from_secs(1));
    }
    assert_eq!(lane.dead(), [0], "nothing else got past it for ten minutes");
    assert_eq!(lane.delivered(), 701, "what came behind it goes on");
}

/// What another address took last says that it is this one alone, however long ago that was.
#[test]
fn an_own_address_that_fails_while_the_others_are_idle_stops_them_not() {
    for order in [Order::Any, Order::Loose] {
        let mut lane =
            Lane::with(|_, sender| (sender.order, sender.has_own_places) = (order, true));
        lane.wait(Duration::from_secs(1));
        lane.enqueue(1, 2);
        let sent = lane.send();
        lane.answer(sent.id, Fate::Delivered);
        lane.wait(Duration::from_secs(60));
        lane.enqueue(1, 1);
        for _ in 0..20 {
            let sent = lane.send_later();
            lane.error(sent.id, TransportErrorKind::Connect, Applied::No);
            assert_ne!(lane.gate.health(lane.now), Health::CircuitOpen, "{order:?}");
        }
        lane.enqueue(1, 2);
        assert_eq!(lane.send().events, [2], "{order:?}");
    }
}

/// Where all that is known is that one place does not answer, the next probe is to tell whether the
/// others do: after a restart everything in front may be for the one that is away.
#[test]
fn behind_a_place_that_is_away_another_one_is_looked_for_to_probe_with() {
    let mut lane = Lane::with(|gate, sender| {
        sender.has_own_places = true;
        gate.breaker.failures = 2;
    });
    for _ in 0..2 {
        lane.enqueue(1, 1);
        let sent = lane.send();
        lane.error(sent.id, TransportErrorKind::Connect, Applied::No);
    }
    assert_eq!(lane.gate.health(lane.now), Health::CircuitOpen);
    for _ in 0..10 {
        assert!(lane.sender.room(), "all that is here is for the place that is away");
        lane.enqueue(1, 1);
    }
    lane.enqueue(1, 2);
    assert!(!lane.sender.room(), "this one tells");
    let sent = lane.send_later();
    assert_eq!((sent.events, sent.is_probe), (vec![12], true));
    lane.answer(sent.id, Fate::Delivered);
    assert_ne!(lane.gate.health(lane.now), Health::CircuitOpen);
}

#[test]
fn however_many_places_are_held_others_have_memory_and_room() {
    for order in [Order::Any, Order::Loose] {
        let mut lane = Lane::with(|gate, sender| {
            (sender.order, sender.has_own_places) = (order, true);
            gate.places = RoutePlaces { of: (0..200).collect(), rate: None };
        });
        let hold = Fate::Hold { cause: Cause::Config, scope: Scope::Route };
        let mut next = 1;
        for _ in 0..15 {
            for _ in 0..10 {
                assert!(lane.sender.room(), "{order:?}: {next} places are held");
                lane.enqueue(1, next);
                let sent = lane.send();
                lane.answer(sent.id, hold.clone());
                next += 1;
            }
            lane.wait(Duration::from_secs(3));
            assert_idle(&mut lane);
        }
        lane.wait(Duration::from_secs(8));
        assert_idle(&mut lane);
        assert!(lane.allowance.used() < 64 << 10, "{order:?}: {} bytes", lane.allowance.used());
        lane.enqueue(1, 0);
        let sent = lane.send();
        assert_eq!(sent.events, [150]);
        lane.answer(sent.id, Fate::Delivered);
        // Each is tried, and goes on once it is well.
        let mut tried = 0;
        while tried < 150 {
            let sent = lane.send_later();
            lane.answer(sent.id, Fate::Delivered);
            tried += sent.events.len();
        }
        assert!(lane.sender.is_empty(), "{order:?}");
    }
}
