//! The retry table of the specification, row by row: from an answer to what a lane does.

use http::{HeaderMap, HeaderValue};
use shrike::deliver::{
    Call, CallBody, Documents, Options, Purpose, Response, Responses, When, judge,
};

use super::*;

/// What a lane does after one kind of answer, however often it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// Tries again for ever: no attempt is spent, nothing is a dead letter.
    Retry,
    /// Asks for other credentials once, then holds and probes every minute.
    RefreshThenHold,
    /// Cuts in halves down to single events, which are made smaller once, then given up.
    SplitThenShrink,
    /// Gives up at once; sending it again would not help.
    Permanent,
    /// Holds until the operator has seen to it.
    Hold,
}

/// What comes back for a request.
#[derive(Clone, Copy, Debug)]
enum Back {
    Status(u16),
    After(u16, &'static str),
    Nothing(TransportErrorKind),
}

/// One row each; ranges of the table are spelled out.
const TABLE: &[(Back, Then)] = &[
    (Back::Nothing(TransportErrorKind::Network), Then::Retry),
    (Back::Nothing(TransportErrorKind::Connect), Then::Retry),
    (Back::Nothing(TransportErrorKind::Dns), Then::Retry),
    (Back::Nothing(TransportErrorKind::TlsIo), Then::Retry),
    (Back::Nothing(TransportErrorKind::Timeout), Then::Retry),
    (Back::Status(408), Then::Retry),
    (Back::Status(425), Then::Retry),
    (Back::Status(429), Then::Retry),
    (Back::After(429, "7"), Then::Retry),
    (Back::After(503, "Fri, 06 Feb 2026 09:00:07 GMT"), Then::Retry),
    (Back::After(503, "100000"), Then::Retry),
    (Back::Status(500), Then::Retry),
    (Back::Status(502), Then::Retry),
    (Back::Status(503), Then::Retry),
    (Back::Status(504), Then::Retry),
    (Back::Status(507), Then::Retry),
    (Back::Status(520), Then::Retry),
    (Back::Status(521), Then::Retry),
    (Back::Status(522), Then::Retry),
    (Back::Status(523), Then::Retry),
    (Back::Status(524), Then::Retry),
    (Back::Status(525), Then::Retry),
    (Back::Status(526), Then::Retry),
    (Back::Status(527), Then::Retry),
    (Back::Status(401), Then::RefreshThenHold),
    (Back::Status(403), Then::RefreshThenHold),
    (Back::Status(413), Then::SplitThenShrink),
    (Back::Status(301), Then::Hold),
    (Back::Status(302), Then::Hold),
    (Back::Status(307), Then::Hold),
    (Back::Status(308), Then::Hold),
    (Back::Status(400), Then::Permanent),
    (Back::Status(404), Then::Permanent),
    (Back::Status(409), Then::Permanent),
    (Back::Status(422), Then::Permanent),
    (Back::Nothing(TransportErrorKind::TlsRejected), Then::Hold),
];

static CALL: Call = Call {
    purpose: Purpose::Send,
    when: When::Always,
    method: "POST",
    path: "/",
    query: &[],
    headers: &[],
    body: CallBody::Batch,
    responses: Responses::USUAL,
};

/// Lets a request end in a way.
fn back(lane: &mut Lane, sent: &Sent, how: Back) {
    let (status, after) = match how {
        Back::Nothing(kind) => return lane.error(sent.id, kind, Applied::Maybe),
        Back::Status(status) => (status, None),
        Back::After(status, after) => (status, Some(after)),
    };
    let mut headers = HeaderMap::new();
    headers.insert("date", HeaderValue::from_static("Fri, 06 Feb 2026 09:00:00 GMT"));
    headers.extend(after.map(|it| (http::header::RETRY_AFTER, HeaderValue::from_static(it))));
    let options = Options::default();
    let response = Response {
        status,
        headers: &headers,
        body: b"",
        events: sent.events.len(),
        body_bytes: sent.body.len(),
        documents: Documents::NONE,
        acks: &[],
        options: &options,
    };
    lane.verdict(sent.id, judge(&CALL, &response));
}

/// What the lane makes of it: eight events, and the same answer for a day of the lane's time.
fn seen(how: Back) -> Then {
    let mut lane = Lane::new();
    lane.enqueue(8, 0);
    let (mut refreshes, mut sends, mut probes, mut smallest) = (0, 0, 0, 8);
    while lane.now - lane.start < Duration::from_secs(86_400) && !lane.sender.is_empty() {
        let sent = lane.send_later();
        sends += 1;
        probes += u32::from(sent.is_probe);
        smallest = smallest.min(sent.events.len());
        lane.wait(Duration::from_millis(10));
        back(&mut lane, &sent, how);
        refreshes += u32::from(lane.out.remedy.take() == Some(Remedy::Refresh));
        lane.render_all();
    }
    let health = lane.gate.health(lane.now);
    let dead = lane.dead().len();
    match (dead, health) {
        (0, Health::AuthFailed) => {
            assert_eq!(refreshes, 1, "{how:?}: once");
            // A day has 1440 minutes.
            assert!((1430..=1440).contains(&probes), "{how:?}: {probes} probes");
            Then::RefreshThenHold
        }
        (0, Health::ConfigFailed) => {
            assert!(refreshes == 0 && probes >= 1430, "{how:?}: {probes} probes");
            Then::Hold
        }
        (0, _) => {
            assert_eq!((refreshes, lane.sender.pending()), (0, 8), "{how:?}");
            assert!(sends > 20 && lane.out.tally.outage >= sends, "{how:?}: no attempt counts");
            Then::Retry
        }
        (8, _) if smallest == 8 => {
            assert_eq!((sends, lane.out.dead[0].retryable), (1, false), "{how:?}");
            Then::Permanent
        }
        (8, _) => {
            // 1 + 2 + 4 + 8 requests find that each event is too large, 8 more that a smaller
            // rendering is too.
            assert_eq!((sends, smallest), (23, 1), "{how:?}");
            Then::SplitThenShrink
        }
        other => panic!("{how:?}: {other:?}"),
    }
}

#[test]
fn every_row_of_the_retry_table_is_done() {
    for &(how, then) in TABLE {
        assert_eq!(seen(how), then, "{how:?}");
    }
}

#[test]
fn retry_after_is_waited_for_as_seconds_as_a_date_and_no_longer_than_allowed() {
    for (how, seconds) in [
        (Back::After(429, "7"), 7),
        (Back::After(503, "Fri, 06 Feb 2026 09:00:07 GMT"), 7),
        (Back::After(503, "Fri, 06 Feb 2026 08:00:00 GMT"), 0),
        (Back::After(429, "100000"), 300),
        (Back::After(503, "Sat, 07 Feb 2026 09:00:00 GMT"), 300),
    ] {
        let mut lane = Lane::new();
        lane.enqueue(1, 0);
        let sent = lane.send();
        back(&mut lane, &sent, how);
        lane.send_later();
        let waited = lane.now - lane.start;
        // A floor below the backoff: what is asked for, or up to a second more.
        let floor = Duration::from_secs(seconds);
        assert!(waited >= floor && waited <= floor.max(Duration::from_secs(1)), "{how:?}");
    }
}

#[test]
fn a_breaker_opens_after_so_many_failures_and_lets_one_probe_through() {
    for failures in [1, 5, 9] {
        let open = Duration::from_secs(30);
        let mut lane = Lane::with(|gate, _| gate.breaker = BreakerSettings { failures, open });
        for _ in 0..failures {
            assert_eq!(lane.gate.held(), None, "not before {failures}");
            lane.enqueue(1, 0);
            let sent = lane.send_later();
            back(&mut lane, &sent, Back::Status(503));
        }
        assert_eq!(lane.gate.health(lane.now), Health::CircuitOpen, "{failures}");
        let held_at = lane.now;
        let probe = lane.send_later();
        assert!(probe.is_probe && lane.now - held_at >= open, "{failures}");
        assert!(matches!(lane.poll(), Action::Wait(_)), "one probe at a time");
        lane.answer(probe.id, Fate::Delivered);
        assert_eq!(lane.gate.held(), None, "its success closes the breaker");
    }
}

/// "Per-exporter retry budget: retries <= 20 % of first attempts + 10/s": it spares a destination
/// that fails. One that answers what it refuses is well, and a batch of which it takes nothing is
/// sorted out as fast as it answers.
#[test]
fn halves_of_what_is_refused_are_no_retries() {
    for (fate, requests) in [(Fate::Bisect, 127), (Fate::Split, 127 + 64)] {
        let mut lane = Lane::new();
        lane.enqueue(1, 0);
        let sent = lane.send();
        lane.answer(sent.id, Fate::Delivered);
        lane.enqueue(64, 0);
        for _ in 0..requests {
            let sent = lane.send();
            let fate = match &fate {
                Fate::Bisect if sent.events.len() == 1 => Fate::Reject,
                fate => fate.clone(),
            };
            lane.answer(sent.id, fate);
            lane.render_all();
        }
        assert_eq!((lane.dead().len(), lane.now), (64, lane.start), "{fate:?}");
        // What fails afterwards has the budget that there was.
        lane.enqueue(1, 0);
        for _ in 0..10 {
            let sent = lane.send_later();
            back(&mut lane, &sent, Back::Nothing(TransportErrorKind::Dns));
        }
        assert_eq!(lane.gate.health(lane.now), Health::CircuitOpen, "{fate:?}");
    }
}

/// Where nothing was ever accepted, it is hardly the events that are wrong: a few become dead
/// letters, the others wait until somebody has looked at the configuration.
#[test]
fn a_destination_that_refuses_everything_is_held_before_all_is_dead() {
    let mut lane = Lane::new();
    lane.enqueue(200, 0);
    let refuse = |lane: &mut Lane, sent: &Sent| {
        let is_alone = sent.events.len() == 1;
        lane.answer(sent.id, if is_alone { Fate::Reject } else { Fate::Bisect });
    };
    while lane.gate.health(lane.now) != Health::ConfigFailed {
        let sent = lane.send();
        refuse(&mut lane, &sent);
    }
    assert_eq!(lane.dead().len(), 100);
    for more in 1..=3 {
        let sent = lane.send_later();
        assert!(sent.is_probe);
        refuse(&mut lane, &sent);
        while lane.gate.health(lane.now) != Health::ConfigFailed {
            let sent = lane.send();
            refuse(&mut lane, &sent);
        }
        assert_eq!(lane.dead().len(), 100 + more, "one a minute");
    }
    assert!(lane.now >= lane.start + Duration::from_secs(180));
    // It was mended: single refusals are those of single events again.
    let sent = lane.send_later();
    lane.answer(sent.id, Fate::Delivered);
    for _ in 0..130 {
        lane.enqueue(1, 0);
    }
    while lane.dead().len() < 100 + 3 + 130 {
        let sent = lane.send();
        refuse(&mut lane, &sent);
    }
    // It shows, and holds nothing.
    assert_eq!(lane.gate.health(lane.now), Health::Degraded);
    assert_eq!(lane.gate.requests_health(lane.now), Health::Healthy);
    // Where each event has an answer of its own, one request tells as much.
    let mut lane = Lane::new();
    lane.enqueue(100, 0);
    let sent = lane.send();
    lane.answer(sent.id, Fate::Items(vec![ItemFate::Reject(Reason::default()); 100]));
    assert_eq!(lane.gate.health(lane.now), Health::ConfigFailed);
}

/// "`adaptive: true`: halve the rate on 429/503-busy": whoever is out of order for other reasons
/// has not asked for less, and is not slower for it once it is back.
#[test]
fn the_rate_is_halved_for_those_only_who_ask_for_less() {
    for &(how, then) in TABLE.iter().filter(|(_, then)| *then == Then::Retry) {
        let asks = match how {
            Back::Status(status) => status == 429,
            Back::After(..) => true,
            Back::Nothing(_) => false,
        };
        let mut lane = Lane::with(|gate, _| {
            let (per_second, burst) = (Some(100), 10);
            gate.rate = RateSettings { per_second, burst, adaptive: true, per_second_min: 1 };
        });
        lane.enqueue(1, 0);
        let sent = lane.send();
        lane.wait(Duration::from_millis(10));
        back(&mut lane, &sent, how);
        assert_eq!(lane.gate.rate(), if asks { 50_000 } else { 100_000 }, "{how:?} {then:?}");
        let health = if asks { Health::Throttled } else { Health::Degraded };
        assert_eq!(lane.gate.health(lane.now), health, "{how:?}");
        let waits = matches!(lane.poll(), Action::Wait(at) if at > lane.now);
        assert!(waits, "{how:?}: it waits before it tries again, for whatever reason");
    }
}

/// A server that breaks, and says when it will be back, is not asked before; but not less.
#[test]
fn a_time_that_a_broken_server_names_is_waited_for_at_the_same_rate() {
    let mut lane = Lane::with(|gate, _| {
        let (per_second, burst) = (Some(100), 10);
        gate.rate = RateSettings { per_second, burst, adaptive: true, per_second_min: 1 };
    });
    lane.enqueue(1, 0);
    lane.enqueue(1, 0);
    let sent = lane.send();
    back(&mut lane, &sent, Back::After(500, "7"));
    lane.send_later();
    assert_eq!(lane.now - lane.start, Duration::from_secs(7), "for all batches");
    assert_eq!(lane.gate.rate(), 100_000);
}

/// "`Retry-After` is a floor" for probes too: a server that counts requests while it turns them
/// away never heals otherwise.
#[test]
fn a_time_that_is_named_is_a_floor_for_probes() {
    for (how, has_probe) in [(503, false), (503, true), (429, false)] {
        let mut lane = Lane::with(|_, sender| sender.has_probe = has_probe);
        for _ in 0..5 {
            lane.enqueue(1, 0);
        }
        // Five at once, but for the fifth, which finds no slot.
        let under_way: Vec<Sent> = (0..4).map(|_| lane.send()).collect();
        for sent in &under_way {
            back(&mut lane, sent, Back::After(503, "120"));
        }
        let sent = lane.send_later();
        assert_eq!(lane.now - lane.start, Duration::from_secs(120));
        back(&mut lane, &sent, Back::After(503, "120"));
        assert!(matches!(lane.gate.held(), Some((Cause::Outage, ..))));
        for probes in 2..=4 {
            let action = loop {
                match lane.poll() {
                    Action::Wait(_) | Action::Idle if lane.render_all() => {}
                    Action::Wait(at) => lane.now = at,
                    action => break action,
                }
            };
            assert_eq!(lane.now - lane.start, Duration::from_secs(120 * probes), "{how}");
            match action {
                Action::Probe { endpoint } => {
                    let wait = Duration::from_secs(120);
                    let verdict = unavailable(503).at(Pace::Pause(Some(wait)));
                    lane.sender.on_probe(endpoint, Some(verdict), lane.now, &mut lane.out);
                }
                action => {
                    let sent = lane.sent(&action).unwrap_or_else(|| panic!("{action:?}"));
                    assert!(sent.is_probe);
                    back(&mut lane, &sent, Back::After(how, "120"));
                }
            }
            let (_, _, next) = lane.gate.held().expect("the hold goes on");
            assert_eq!(next - lane.start, Duration::from_secs(120 * (probes + 1)), "it is shown");
        }
    }
}

/// "Retries <= 20 % of first attempts": they are what is bounded, and first attempts earn them.
#[test]
fn retries_that_the_budget_refuses_keep_no_first_attempt_waiting() {
    let mut lane = Lane::with(|gate, _| {
        gate.concurrency = 100;
        gate.breaker.failures = 0;
    });
    for _ in 0..40 {
        lane.enqueue(1, 0);
    }
    let sent: Vec<Sent> = (0..40).map(|_| lane.send()).collect();
    for it in &sent {
        back(&mut lane, it, Back::Nothing(TransportErrorKind::Dns));
    }
    lane.wait(Duration::from_secs(60));
    let mut retries = 0;
    while let Action::Send { .. } = lane.poll() {
        retries += 1;
    }
    assert!((10..30).contains(&retries), "{retries} retries at once");
    for _ in 0..20 {
        lane.enqueue(1, 0);
    }
    let (mut first, mut more) = (0, 0);
    while let Action::Send { attempt, .. } = lane.poll() {
        *if attempt == 1 { &mut first } else { &mut more } += 1;
    }
    assert_eq!((first, more), (20, 4), "and what they earned");
    assert!(matches!(lane.poll(), Action::Wait(at) if at > lane.now));
    // Where order matters nothing overtakes the retry.
    let mut lane = Lane::with(|gate, sender| {
        gate.retry_percent = 0;
        gate.breaker.failures = 0;
        sender.order = Order::Strict;
        sender.retry.initial_backoff = Duration::ZERO;
    });
    lane.enqueue(1, 0);
    lane.enqueue(1, 0);
    while let Action::Send { id, .. } = lane.poll() {
        assert_eq!(lane.sender.batch(id).map(|it| it.items()[0].span.from.bytes()), Some(0));
        lane.error(id, TransportErrorKind::Dns, Applied::No);
    }
}

/// "degraded (retries, partial failures)" (`pipeline.md`, Health).
#[test]
fn refused_events_show_for_half_a_minute() {
    let mut lane = Lane::new();
    lane.enqueue(2, 0);
    let sent = lane.send();
    lane.answer(
        sent.id,
        Fate::Items(vec![ItemFate::Delivered, ItemFate::Reject(reason("rejected"))]),
    );
    assert_eq!(lane.gate.health(lane.now), Health::Degraded);
    assert_eq!(lane.gate.requests_health(lane.now), Health::Healthy);
    lane.wait(Duration::from_secs(31));
    assert_eq!(lane.gate.health(lane.now), Health::Healthy);
}

#[test]
fn a_lone_endpoint_that_is_leaving_is_tried_again_within_the_backoff() {
    let leaving = || {
        let fate = Fate::Hold { cause: Cause::Outage, scope: Scope::Endpoint };
        Verdict::new(fate, "unavailable").at(Pace::Pause(None))
    };
    let mut lane = Lane::new();
    lane.enqueue(1, 0);
    let sent = lane.send();
    lane.verdict(sent.id, leaving());
    assert_eq!(lane.gate.held(), None);
    let again = lane.send_later();
    assert!(!again.is_probe && lane.now - lane.start <= Duration::from_secs(1));
    lane.answer(again.id, Fate::Delivered);
    assert_eq!((lane.delivered(), lane.out.tally.retried), (1, 1));
    // The breaker is what stops the attempts of one that stays away.
    lane.enqueue(1, 0);
    for _ in 0..5 {
        let sent = lane.send_later();
        lane.verdict(sent.id, leaving());
    }
    assert!(matches!(lane.gate.held(), Some((Cause::Outage, ..))));
    assert!(lane.dead().is_empty());
    // Another one takes it at once.
    let mut lane = Lane::with(|gate, _| gate.endpoints = 2);
    lane.enqueue(1, 0);
    let sent = lane.send();
    lane.verdict(sent.id, leaving());
    assert_ne!(lane.send().endpoint, sent.endpoint);
}

#[test]
fn a_probe_call_that_is_refused_ends_a_hold_and_one_batch_finds_out() {
    // Fluent Bit 5.1.1 takes records over OTLP and refuses a request without any.
    let mut lane = Lane::out_of_reach();
    let mut action = lane.poll();
    while let Action::Wait(at) = action {
        lane.now = at;
        action = lane.poll();
    }
    let Action::Probe { endpoint } = action else { panic!("{action:?}") };
    let refusal = Verdict::new(Fate::Reject, "rejected");
    lane.sender.on_probe(endpoint, Some(refusal), lane.now, &mut lane.out);
    assert_eq!(lane.gate.held(), None, "it answers, and says nothing of credentials or setup");
    let sent = lane.send();
    lane.poll();
    lane.render_all();
    assert!(matches!(lane.poll(), Action::Wait(_)), "one request first");
    lane.answer(sent.id, AUTH);
    lane.wait(Duration::from_millis(10));
    let again = lane.send_later();
    lane.answer(again.id, AUTH);
    assert_eq!(lane.gate.health(lane.now), Health::AuthFailed, "events are what counts");
    assert_eq!(lane.dead(), [0; 0]);
}
