//! Batches with several bad events, sent through the deciding half to strict collectors: every good
//! event is delivered once, every bad one is a dead letter, and none is taken for the other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;
use shrike::deliver::{
    AckSettings, Action, Batch, BreakerSettings, Budget, Buffers, Choice, Documents, Encoding,
    Gate, GateSettings, Limits, Options, Order, Outcomes, Packing, Part, Purpose, Pushed,
    RateSettings, Resend, Response, RetrySettings, RoutePlaces, Sender, SenderSettings, Vendor,
    judge,
};
use shrike::event::{Offset, Severity, Span};
use shrike::transform::Format;
use shrike::vendors::{elastic::ELASTIC, splunk::SPLUNK};

/// What a destination answers to these events, by number, given the bad ones; and which it took.
type Answering = fn(events: &[u64], bad: &[u64]) -> (u16, String, Vec<u64>);

/// The collector stops at the first bad event: those before it are indexed.
fn collector(events: &[u64], bad: &[u64]) -> (u16, String, Vec<u64>) {
    let Some(at) = events.iter().position(|event| bad.contains(event)) else {
        return (200, r#"{"text":"Success","code":0}"#.to_owned(), events.to_vec());
    };
    let body = format!(r#"{{"text":"Invalid data format","code":6,"invalid-event-number":{at}}}"#);
    (400, body, events[..at].to_vec())
}

/// A collector that names no event and takes none of a batch with a bad one.
fn terse_collector(events: &[u64], bad: &[u64]) -> (u16, String, Vec<u64>) {
    match events.iter().any(|event| bad.contains(event)) {
        true => (400, r#"{"text":"Invalid data format","code":6}"#.to_owned(), Vec::new()),
        false => (200, r#"{"text":"Success","code":0}"#.to_owned(), events.to_vec()),
    }
}

/// Every item has its own result.
fn bulk(events: &[u64], bad: &[u64]) -> (u16, String, Vec<u64>) {
    let item = |event: &u64| match bad.contains(event) {
        true => r#"{"create":{"status":400,"error":{"type":"document_parsing_exception"}}}"#,
        false => r#"{"create":{"status":201}}"#,
    };
    let items: Vec<_> = events.iter().map(item).collect();
    let body = format!(r#"{{"errors":{},"items":[{}]}}"#, !bad.is_empty(), items.join(","));
    let taken = events.iter().copied().filter(|event| !bad.contains(event)).collect();
    (200, body, taken)
}

/// A node that refuses the whole body for one malformed line.
fn malformed_bulk(events: &[u64], bad: &[u64]) -> (u16, String, Vec<u64>) {
    match events.iter().any(|event| bad.contains(event)) {
        true => (400, r#"{"error":{"type":"illegal_argument_exception"}}"#.to_owned(), Vec::new()),
        false => bulk(events, &[]),
    }
}

#[test]
fn every_bad_event_is_found_and_no_other_is_lost() {
    let cases: &[(&'static Vendor, Answering)] = &[
        (&SPLUNK, collector),
        (&SPLUNK, terse_collector),
        (&ELASTIC, bulk),
        (&ELASTIC, malformed_bulk),
    ];
    let bad_sets: &[&[u64]] = &[&[], &[0], &[99], &[0, 1, 2, 3, 4, 5, 6, 7], &[3, 20, 21, 60, 98]];
    for (number, &(vendor, answering)) in cases.iter().enumerate() {
        for bad in bad_sets {
            check(vendor, answering, bad, number);
        }
    }
}

fn check(vendor: &'static Vendor, answering: Answering, bad: &[u64], number: usize) {
    const EVENTS: u64 = 100;
    let options = Options::default();
    let call = vendor.call(Purpose::Send, &options, Format::Native).expect("every vendor sends");
    let mut now = Instant::now();
    let (mut sender, batch) = lane(vendor, EVENTS, now);
    sender.enqueue(batch);
    let mut outcomes = Outcomes::default();
    let mut taken: BTreeMap<u64, u32> = BTreeMap::new();
    let (mut settled, mut dead, mut requests) = (0, Vec::new(), 0);
    while !sender.is_empty() {
        match sender.poll(now, &mut outcomes) {
            Action::Send { id, .. } => {
                requests += 1;
                assert!(requests < 200, "case {number}, {bad:?}: it goes round in circles");
                let batch = sender.batch(id).expect("it is to be sent");
                let events: Vec<u64> =
                    batch.items().iter().map(|item| item.span.from.bytes()).collect();
                let (status, body, took) = answering(&events, bad);
                for event in took {
                    *taken.entry(event).or_default() += 1;
                }
                let response = Response {
                    status,
                    headers: &HeaderMap::new(),
                    body: body.as_bytes(),
                    events: events.len(),
                    body_bytes: 1000,
                    documents: Documents::NONE,
                    acks: &[],
                    options: &options,
                };
                sender.on_verdict(id, judge(call, &response), now, &mut outcomes);
            }
            Action::Wait(until) => now = until.max(now + Duration::from_millis(1)),
            other => panic!("case {number}, {bad:?}: {other:?}"),
        }
        settled += outcomes.settled.iter().map(|settled| settled.events).sum::<u64>();
        for letter in outcomes.dead.drain(..) {
            assert!(!letter.retryable, "case {number}, {bad:?}: {letter:?}");
            dead.push(letter.item.span.from.bytes());
        }
        outcomes.clear();
    }
    dead.sort_unstable();
    assert_eq!(dead, bad, "case {number}");
    assert_eq!(settled + dead.len() as u64, EVENTS, "case {number}, {bad:?}");
    let once = taken.len() as u64 == EVENTS - bad.len() as u64 && taken.values().all(|&n| n == 1);
    assert!(once, "case {number}, {bad:?}: not taken exactly once: {taken:?}");
}

/// A lane with one batch of numbered events.
fn lane(vendor: &'static Vendor, events: u64, now: Instant) -> (Sender, Batch) {
    let second = Duration::from_secs(1);
    let retry = RetrySettings {
        retries_max: 3,
        initial_backoff: second,
        backoff_max: second * 30,
        backoff_percent: 200,
        retry_after_max: second * 300,
        budget_percent: 20,
        age_max: None,
    };
    let gate = Gate::new(
        GateSettings {
            concurrency: 4,
            endpoints: 1,
            choice: Choice::Around,
            breaker: BreakerSettings { failures: 5, open: second * 30 },
            rate: RateSettings { per_second: None, burst: 1, adaptive: false, per_second_min: 1 },
            retry_percent: 20,
            retry_after_max: second * 300,
            hold_interval: second * 60,
            probe_timeout: second * 60,
            places: RoutePlaces::default(),
        },
        now,
    );
    let allowance = Budget::new(1 << 20, 1).allowance();
    let settings = SenderSettings {
        lane: 0,
        retry,
        order: Order::Any,
        resend: Resend::Ambiguous,
        ambiguous_max: None,
        acks: AckSettings::default(),
        has_probe: false,
        has_setup: false,
        has_own_places: false,
        hold_interval: second * 60,
        standstill_max: None,
        seed: 7,
    };
    let shape = vendor.shape(&Options::default(), Format::Native).expect("it has one");
    let limits = Limits { events: 1000, body_bytes: 1 << 20, event_bytes: 1 << 16 };
    let packing = Packing {
        framing: &shape.framing,
        limits,
        body_bytes: limits.body_bytes,
        encoding: Encoding::Identity,
        level: 1,
        flush_on: None,
        heads: shrike::deliver::Heads::default(),
        head: None,
        keeps_ids: false,
    };
    let mut batch = Batch::new(&Arc::new(packing), 0, &Buffers::new(), &allowance);
    for event in 0..events {
        let span = Span { from: Offset::new(event), to: Offset::new(event + 1) };
        let pushed = batch.push(span, event, Severity::Info, |part, out| {
            out.extend_from_slice(match part {
                Part::Prefix => b"{}",
                Part::Document => b"{\"event\":1}",
                Part::Id => b"",
            });
        });
        assert_eq!(pushed, Pushed::Fits);
    }
    batch.close();
    (Sender::new(settings, Arc::new(gate), allowance), batch)
}
