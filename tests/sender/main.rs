//! What a lane does with each kind of end that a request can have.

mod acks;
mod floods;
mod given_up;
mod matrix;
mod poison;
mod probes;
mod routes;
mod verify;

use std::sync::Arc;
use std::time::{Duration, Instant};

use shrike::deliver::{
    AckId, AckSettings, Action, Allowance, Applied, Batch, BatchId, BreakerSettings, Budget,
    Buffers, Cause, Choice, Encoding, Fate, Framing, Gate, GateSettings, Health, ItemFate, Level,
    Limits, Order, Outcomes, Pace, Packing, Prefix, Pushed, RateSettings, Reason, Remedy, Resend,
    Reshape, RetrySettings, RoutePlaces, Scope, Sender, SenderSettings, TransportError,
    TransportErrorKind, Verdict,
};
use shrike::event::{Offset, Severity, Span};

static LINES: Framing = Framing {
    head: "",
    prefix: Prefix::None,
    between: "",
    after: "\n",
    tail: "",
    content_type: "text/plain",
};

/// One lane in front of a destination that the test plays.
struct Lane {
    sender: Sender,
    gate: Arc<Gate>,
    allowance: Arc<Allowance>,
    packing: Arc<Packing>,
    buffers: Buffers,
    start: Instant,
    now: Instant,
    out: Outcomes,
    next: u64,
}

struct Sent {
    id: BatchId,
    endpoint: usize,
    group: u32,
    events: Vec<u64>,
    body: Vec<u8>,
    is_probe: bool,
}

impl Lane {
    fn new() -> Self {
        Self::with(|_, _| {})
    }

    fn with(change: impl FnOnce(&mut GateSettings, &mut SenderSettings)) -> Self {
        let mut gate = GateSettings {
            concurrency: 4,
            endpoints: 1,
            choice: Choice::Around,
            breaker: BreakerSettings { failures: 5, open: Duration::from_secs(30) },
            rate: RateSettings { per_second: None, burst: 1, adaptive: false, per_second_min: 1 },
            retry_percent: 20,
            retry_after_max: Duration::from_secs(300),
            hold_interval: Duration::from_secs(60),
            probe_timeout: Duration::from_secs(65),
            places: RoutePlaces { of: (0..8).collect(), rate: None },
        };
        let mut settings = settings();
        change(&mut gate, &mut settings);
        let start = Instant::now();
        let gate = Arc::new(Gate::new(gate, start));
        let allowance = Budget::new(1 << 20, 1).allowance();
        let limits = Limits { events: 1000, body_bytes: 1 << 20, event_bytes: 1 << 20 };
        let encoding = Encoding::Gzip;
        let packing = Packing {
            framing: &LINES,
            limits,
            body_bytes: limits.body_bytes,
            encoding,
            level: 1,
            flush_on: None,
            heads: shrike::deliver::Heads::default(),
            head: None,
            keeps_ids: false,
        };
        Self {
            sender: Sender::new(settings, Arc::clone(&gate), Arc::clone(&allowance)),
            packing: Arc::new(packing),
            buffers: Buffers::new(),
            now: start,
            out: Outcomes::default(),
            next: 0,
            start,
            gate,
            allowance,
        }
    }

    /// Enqueues a batch of so many new events.
    fn enqueue(&mut self, events: u64, route: u32) {
        let mut batch = Batch::new(&self.packing, route, &self.buffers, &self.allowance);
        for event in self.next..self.next + events {
            push(&mut batch, event, None);
        }
        self.next += events;
        batch.close();
        self.sender.enqueue(batch);
    }

    /// Renders events again as the pipeline would.
    fn render(&mut self, reshape: &Reshape) {
        let mut batch = Batch::again(&self.packing, reshape, &self.buffers, &self.allowance);
        for item in &reshape.items {
            push(&mut batch, item.span.from.bytes(), reshape.level);
        }
        batch.close();
        self.sender.enqueue(batch);
    }

    /// One with a probe call, whose destination is out of reach.
    fn out_of_reach() -> Self {
        let mut lane = Self::with(|_, sender| sender.has_probe = true);
        for _ in 0..5 {
            lane.enqueue(1, 0);
            let sent = lane.send_later();
            lane.error(sent.id, TransportErrorKind::Dns, Applied::No);
        }
        assert_eq!(lane.gate.health(lane.now), Health::CircuitOpen);
        lane
    }

    fn poll(&mut self) -> Action {
        self.sender.poll(self.now, &mut self.out)
    }

    /// The next request; the lane must have one now, if need be after rendering events again.
    fn send(&mut self) -> Sent {
        let mut action = self.poll();
        if self.render_all() {
            action = self.poll();
        }
        self.sent(&action).unwrap_or_else(|| panic!("{action:?} at {:?}", self.now - self.start))
    }

    /// Moves the clock to when the lane wants it, until it has a request.
    fn send_later(&mut self) -> Sent {
        for _ in 0..1000 {
            let action = self.poll();
            let has_rendered = self.render_all();
            match action {
                Action::Wait(_) | Action::Idle if has_rendered => {}
                Action::Wait(at) => self.now = at,
                _ => return self.sent(&action).unwrap_or_else(|| panic!("{action:?}")),
            }
        }
        panic!("it never sends")
    }

    fn render_all(&mut self) -> bool {
        let reshapes = std::mem::take(&mut self.out.reshape);
        reshapes.iter().for_each(|reshape| self.render(reshape));
        !reshapes.is_empty()
    }

    fn sent(&self, action: &Action) -> Option<Sent> {
        let Action::Send { id, endpoint, group, is_probe, .. } = *action else { return None };
        let batch = self.sender.batch(id)?;
        let events = batch.items().iter().map(|item| item.span.from.bytes()).collect();
        let body = batch.body()?.to_vec();
        Some(Sent { id, endpoint, group, events, body, is_probe })
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    fn answer(&mut self, id: BatchId, fate: Fate) {
        self.verdict(id, Verdict::new(fate, "test"));
    }

    fn verdict(&mut self, id: BatchId, verdict: Verdict) {
        self.sender.on_verdict(id, verdict, self.now, &mut self.out);
    }

    fn error(&mut self, id: BatchId, kind: TransportErrorKind, applied: Applied) {
        let error = TransportError { kind, applied, detail: String::new() };
        self.sender.on_transport_error(id, &error, self.now, &mut self.out);
    }

    fn delivered(&self) -> u64 {
        self.out.settled.iter().map(|settled| settled.events).sum()
    }

    fn dead(&self) -> Vec<u64> {
        self.out.dead.iter().map(|letter| letter.item.span.from.bytes()).collect()
    }
}

fn settings() -> SenderSettings {
    SenderSettings {
        lane: 0,
        retry: RetrySettings {
            retries_max: 3,
            initial_backoff: Duration::from_secs(1),
            backoff_max: Duration::from_secs(30),
            backoff_percent: 200,
            retry_after_max: Duration::from_secs(300),
            budget_percent: 20,
            age_max: None,
        },
        order: Order::Any,
        resend: Resend::Ambiguous,
        ambiguous_max: None,
        acks: AckSettings::default(),
        has_probe: false,
        has_setup: false,
        has_own_places: false,
        hold_interval: Duration::from_secs(60),
        standstill_max: None,
        seed: 7,
    }
}

fn push(batch: &mut Batch, event: u64, level: Option<Level>) {
    let span = Span { from: Offset::new(event), to: Offset::new(event + 1) };
    let pushed = batch.push(span, event, Severity::Low, |_, out| {
        out.extend_from_slice(format!("event {event} {level:?}").as_bytes());
    });
    assert_eq!(pushed, Pushed::Fits);
}

fn reason(class: &'static str) -> Reason {
    Reason { class, ..Reason::default() }
}

fn unavailable(status: u16) -> Verdict {
    let mut verdict = Verdict::new(Fate::Retry, "unavailable");
    verdict.reason.status = status;
    verdict
}

const AUTH: Fate = Fate::Hold { cause: Cause::Auth, scope: Scope::Exporter };
const ROUTE: Fate = Fate::Hold { cause: Cause::Config, scope: Scope::Route };

#[test]
fn a_plain_retry_sends_the_same_bytes_within_the_backoff() {
    let mut lane = Lane::new();
    lane.enqueue(10, 0);
    let first = lane.send();
    lane.verdict(first.id, unavailable(500));
    let again = lane.send_later();
    assert_eq!(again.body, first.body);
    assert_eq!(again.id, first.id);
    assert!(lane.now - lane.start <= Duration::from_secs(1));
    lane.answer(again.id, Fate::Delivered);
    assert_eq!(lane.delivered(), 10);
    assert_eq!(lane.out.settled.len(), 1, "one run is one span");
    assert_eq!(lane.out.tally.retried, 10);
    assert!(lane.sender.is_empty());
    assert_eq!(lane.allowance.used(), 0);
}

#[test]
fn one_malformed_event_is_found_by_halving_and_the_others_are_delivered() {
    for bad in [0, 1, 31, 63] {
        let mut lane = Lane::new();
        lane.enqueue(64, 0);
        let mut sends = 0;
        while !lane.sender.is_empty() {
            let sent = lane.send_later();
            sends += 1;
            let fate = if sent.events.contains(&bad) { Fate::Bisect } else { Fate::Delivered };
            lane.answer(sent.id, fate);
        }
        assert_eq!((lane.delivered(), lane.dead()), (63, vec![bad]));
        assert!(!lane.out.dead[0].retryable);
        assert_eq!(sends, 1 + 2 * 6, "both halves of each of log2 64 cuts");
    }
}

#[test]
fn a_body_too_large_is_halved_and_a_single_event_is_shrunk_once() {
    let mut lane = Lane::new();
    lane.enqueue(2, 0);
    let both = lane.send();
    lane.answer(both.id, Fate::Split);
    let first = lane.send();
    let second = lane.send();
    assert_eq!((first.events, second.events.clone()), (vec![0], vec![1]));
    lane.answer(first.id, Fate::Delivered);
    lane.answer(second.id, Fate::Split);
    let reshape = lane.out.reshape.pop().expect("it is to be rendered smaller");
    assert_eq!(reshape.level, Some(Level::Shrink));
    assert_eq!(lane.sender.pending(), 1, "it is pending meanwhile");
    lane.render(&reshape);
    let shrunk = lane.send();
    lane.answer(shrunk.id, Fate::Split);
    assert_eq!((lane.delivered(), lane.dead()), (1, vec![1]));
}

#[test]
fn an_event_that_cannot_be_rendered_again_is_a_dead_letter() {
    let mut lane = Lane::new();
    lane.enqueue(1, 0);
    let sent = lane.send();
    lane.answer(sent.id, Fate::Reshape(Level::Plain));
    let reshape = lane.out.reshape.pop().expect("it is to be rendered plainly");
    lane.sender.give_up(reshape.items[0], &reshape, reason("too_large"), &mut lane.out);
    assert_eq!(lane.dead(), [0]);
    assert!(lane.sender.is_empty());
}

#[test]
fn refused_items_are_dead_at_once_and_the_rest_is_tried_again() {
    let mut lane = Lane::new();
    lane.enqueue(5, 0);
    let sent = lane.send();
    lane.answer(
        sent.id,
        Fate::Items(vec![
            ItemFate::Delivered,
            ItemFate::Reject(reason("rejected")),
            ItemFate::Retry(reason("throttled")),
            ItemFate::Duplicate,
            ItemFate::Degraded,
        ]),
    );
    assert_eq!((lane.delivered(), lane.dead()), (3, vec![1]));
    let spans: Vec<(u64, u64)> =
        lane.out.settled.iter().map(|s| (s.span.from.bytes(), s.events)).collect();
    assert_eq!(spans, [(0, 1), (3, 2)], "runs that are not broken");
    let tally = lane.out.tally;
    assert_eq!((tally.duplicates, tally.degraded), (1, 1));
    let rest = lane.send_later();
    assert_eq!(rest.events, [2]);
    lane.answer(rest.id, Fate::Delivered);
    assert_eq!((lane.delivered(), lane.dead()), (4, vec![1]));
}

#[test]
fn an_answer_that_leaves_events_out_delivers_none_of_them() {
    let answers =
        [Fate::Items(vec![ItemFate::Delivered]), Fate::Items(vec![]), Fate::Confirmed(vec![])];
    for fate in answers {
        let mut lane = Lane::new();
        lane.enqueue(2, 0);
        let sent = lane.send();
        lane.answer(sent.id, fate);
        assert_eq!(lane.delivered(), 0);
        assert_eq!(lane.out.tally.ambiguous, 2);
        assert_eq!(lane.send_later().events, [0, 1]);
    }
}

#[test]
fn an_outage_of_hours_spends_no_attempt_and_holds_one_event() {
    let mut lane = Lane::new();
    lane.enqueue(300, 0);
    lane.enqueue(300, 0);
    let mut probes = Vec::new();
    while lane.now - lane.start < Duration::from_secs(6 * 3600) {
        // One batch more, since both that are here might be to blame.
        if lane.gate.held().is_some() && lane.sender.room() {
            lane.enqueue(300, 0);
        }
        let sent = lane.send_later();
        if sent.is_probe {
            assert_eq!(sent.events.len(), 1);
            probes.push(lane.now);
        }
        lane.wait(Duration::from_millis(50));
        lane.error(sent.id, TransportErrorKind::Connect, Applied::No);
        lane.render_all();
    }
    assert_eq!(lane.dead(), [0; 0]);
    assert_eq!(lane.sender.pending(), 900);
    assert_eq!(lane.gate.health(lane.now), Health::CircuitOpen);
    assert!(lane.allowance.used() < 900 * 32 + 200, "spans and one event's body");
    assert!(!lane.sender.room(), "the log is the buffer");
    let gaps = probes.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(gaps.clone().all(|gap| gap >= Duration::from_secs(30)), "one probe at a time");
    assert!(gaps.max() < Some(Duration::from_secs(31)));

    // It comes back: the probe is accepted, and everything else is rendered and sent.
    let mut requests = 0;
    while !lane.sender.is_empty() {
        let sent = lane.send_later();
        requests += 1;
        let text = flate2::read::GzDecoder::new(&sent.body[..]);
        let text = std::io::read_to_string(text).expect("a whole body");
        assert!(!text.contains("Resend"), "as before: nothing is marked");
        lane.answer(sent.id, Fate::Delivered);
    }
    assert_eq!(lane.delivered(), 900);
    assert!(requests <= 64 + 3, "{requests}: what was not probed with goes as it was");
}

#[test]
fn a_batch_that_fails_while_others_are_accepted_is_halved_down_to_its_bad_event() {
    let network = |lane: &mut Lane, id| lane.error(id, TransportErrorKind::Network, Applied::Maybe);
    find_the_bad_event(network);
    // An answer that names no time holds others up less than the batch itself, or none would be
    // accepted before it goes again and nothing would tell it from an outage.
    find_the_bad_event(|lane, id| lane.verdict(id, unavailable(500).at(Pace::Pause(None))));
}

/// Sends requests until one event is given up, and fails those with event 5.
fn find_the_bad_event(fail: impl Fn(&mut Lane, BatchId)) {
    let mut lane = Lane::new();
    lane.enqueue(16, 0);
    for _ in 0..2000 {
        if lane.sender.room() {
            lane.enqueue(1, 0);
        }
        let sent = lane.send_later();
        lane.wait(Duration::from_millis(200));
        match sent.events.contains(&5) {
            true => fail(&mut lane, sent.id),
            false => lane.answer(sent.id, Fate::Delivered),
        }
        if !lane.out.dead.is_empty() {
            break;
        }
    }
    assert_eq!(lane.dead(), [5]);
    assert!(lane.out.dead[0].retryable);
    let attempts = lane.out.dead[0].attempts;
    assert!(attempts >= 4, "the first attempt and three retries at least");
    assert!(attempts <= 24, "it is soon found: {attempts} attempts");
}

#[test]
fn retry_after_is_a_floor_and_is_capped() {
    for (asked, waited) in [(7, 7), (100_000, 300)] {
        let mut lane = Lane::new();
        lane.enqueue(1, 0);
        lane.enqueue(1, 0);
        let sent = lane.send();
        let pace = Pace::Pause(Some(Duration::from_secs(asked)));
        lane.verdict(sent.id, Verdict::new(Fate::Retry, "throttled").at(pace));
        assert_eq!(lane.gate.health(lane.now), Health::Throttled);
        assert!(!lane.sender.is_hungry(lane.now));
        lane.send_later();
        assert_eq!(lane.now - lane.start, Duration::from_secs(waited), "for all batches");
    }
}

#[test]
fn throttling_never_spends_an_attempt() {
    let mut lane = Lane::new();
    lane.enqueue(1, 0);
    for _ in 0..50 {
        let sent = lane.send_later();
        lane.verdict(sent.id, Verdict::new(Fate::Retry, "throttled").at(Pace::Ease));
        lane.enqueue(1, 0);
        let other = lane.send();
        lane.answer(other.id, Fate::Delivered);
    }
    assert_eq!(lane.dead(), [0; 0]);
    assert_eq!(lane.gate.held(), None, "nor does it open the breaker");
}

#[test]
fn bad_credentials_are_refreshed_once_and_then_hold_the_exporter() {
    let mut lane = Lane::new();
    lane.enqueue(1, 0);
    lane.enqueue(1, 0);
    let (first, second) = (lane.send(), lane.send());
    lane.wait(Duration::from_millis(10));
    lane.answer(first.id, AUTH);
    assert_eq!(lane.out.remedy.take(), Some(Remedy::Refresh));
    lane.answer(second.id, AUTH);
    assert_eq!(lane.out.remedy.take(), None, "it was sent with the old credentials");
    assert_eq!(lane.gate.held(), None);
    let refused = lane.now;
    let again = lane.send_later();
    assert!(lane.now - refused > Duration::from_secs(2), "others can be read until then");
    lane.answer(again.id, AUTH);
    assert_eq!(lane.gate.health(lane.now), Health::AuthFailed);
    let held_at = lane.now;
    let probe = lane.send_later();
    assert!(probe.is_probe);
    assert_eq!(lane.now - held_at, Duration::from_secs(60));
    lane.answer(probe.id, Fate::Delivered);
    assert_eq!(lane.gate.health(lane.now), Health::Healthy);
    let last = lane.send();
    lane.answer(last.id, Fate::Delivered);
    assert_eq!((lane.delivered(), lane.dead().len()), (2, 0));
}

#[test]
fn the_vendors_probe_call_ends_a_hold() {
    let mut lane = Lane::out_of_reach();
    for verdict in [None, None, Some(Verdict::new(Fate::Delivered, "test"))] {
        let mut action = lane.poll();
        while let Action::Wait(at) = action {
            lane.now = at;
            action = lane.poll();
        }
        let Action::Probe { endpoint } = action else { panic!("{action:?}") };
        assert!(matches!(lane.poll(), Action::Wait(_)), "one at a time");
        lane.sender.on_probe(endpoint, verdict, lane.now, &mut lane.out);
    }
    assert_eq!(lane.gate.held(), None);
    let sent = lane.send();
    lane.poll();
    lane.render_all();
    assert!(matches!(lane.poll(), Action::Wait(_)), "one request first");
    lane.answer(sent.id, Fate::Delivered);
    let (a, b) = (lane.send(), lane.send());
    assert_ne!(a.id, b.id, "then more with each success");
}

#[test]
fn a_held_route_does_not_stop_the_others_and_can_be_parked() {
    let mut lane = Lane::new();
    for route in [1, 1, 2, 1] {
        lane.enqueue(1, route);
    }
    let held = lane.send();
    lane.answer(held.id, ROUTE);
    let other = lane.send();
    assert_eq!(other.events, [2], "the batches of route 1 wait");
    lane.answer(other.id, Fate::Delivered);
    assert!(lane.sender.is_hungry(lane.now));
    assert_eq!(lane.sender.held_routes().collect::<Vec<_>>(), [(1, Cause::Config)]);

    let mut parked = Vec::new();
    lane.sender.park(Duration::from_secs(10), lane.now, &mut parked);
    assert!(parked.is_empty());
    lane.wait(Duration::from_secs(10));
    lane.sender.park(Duration::from_secs(10), lane.now, &mut parked);
    let events: Vec<u64> =
        parked.iter().flat_map(|p| &p.reshape.items).map(|item| item.span.from.bytes()).collect();
    assert_eq!(events, [0, 3], "one that was not refused stays to try with");

    let tried = lane.send_later();
    assert_eq!((tried.events, lane.now - lane.start), (vec![1], Duration::from_secs(60)));
    lane.answer(tried.id, Fate::Delivered);
    assert_eq!(lane.sender.held_routes().count(), 0);
}

#[test]
fn where_order_matters_nothing_overtakes() {
    let mut lane = Lane::with(|_, sender| sender.order = Order::Strict);
    lane.enqueue(4, 0);
    lane.enqueue(1, 0);
    let first = lane.send();
    assert!(!matches!(lane.poll(), Action::Send { .. }), "one at a time");
    lane.verdict(first.id, unavailable(500));
    let again = lane.send_later();
    assert_eq!(again.events, first.events, "the later batch waits for the retry");
    lane.answer(again.id, Fate::Bisect);
    let mut order = Vec::new();
    while !lane.sender.is_empty() {
        let sent = lane.send();
        order.extend(sent.events);
        lane.answer(sent.id, Fate::Delivered);
    }
    assert_eq!(order, [0, 1, 2, 3, 4]);
}

#[test]
fn a_request_turned_away_goes_again_at_once() {
    let mut lane = Lane::new();
    lane.enqueue(1, 0);
    for _ in 0..4 {
        let sent = lane.send();
        lane.error(sent.id, TransportErrorKind::Refused, Applied::No);
    }
    assert!(matches!(lane.poll(), Action::Wait(_)), "but not for ever");
    assert_eq!(lane.out.tally.ambiguous, 0);
    assert_eq!(lane.gate.held(), None);
}

#[test]
fn a_node_that_fails_leaves_the_batch_to_the_next_one_at_once() {
    let failures: [fn(&mut Lane, BatchId); 3] = [
        |lane, id| lane.verdict(id, unavailable(503)),
        |lane, id| lane.error(id, TransportErrorKind::Connect, Applied::No),
        |lane, id| lane.error(id, TransportErrorKind::TlsRejected, Applied::No),
    ];
    for fail in failures {
        let mut lane = Lane::with(|gate, _| gate.endpoints = 2);
        lane.enqueue(1, 0);
        let sent = lane.send();
        fail(&mut lane, sent.id);
        let again = lane.send();
        assert_ne!(again.endpoint, sent.endpoint);
        lane.answer(again.id, Fate::Delivered);
        assert_eq!(lane.gate.health(lane.now), Health::Degraded);
        for _ in 0..5 {
            lane.enqueue(1, 0);
            let next = lane.send();
            assert_eq!(next.endpoint, again.endpoint);
            lane.answer(next.id, Fate::Delivered);
        }
    }
}

#[test]
fn a_certificate_that_is_not_accepted_holds_a_lone_endpoint() {
    let mut lane = Lane::new();
    lane.enqueue(1, 0);
    let sent = lane.send();
    lane.error(sent.id, TransportErrorKind::TlsRejected, Applied::No);
    assert_eq!(lane.gate.health(lane.now), Health::ConfigFailed);
    assert_eq!(lane.sender.pending(), 1);
}

#[test]
fn what_was_held_for_too_long_is_a_dead_letter() {
    let age_max = Some(Duration::from_secs(600));
    let mut lane = Lane::with(|_, sender| sender.retry.age_max = age_max);
    lane.enqueue(3, 0);
    while lane.dead().is_empty() {
        let sent = match lane.poll() {
            Action::Wait(at) => {
                lane.now = at;
                continue;
            }
            Action::Send { id, .. } => id,
            Action::Idle if !lane.dead().is_empty() => break,
            other => panic!("{other:?}"),
        };
        lane.error(sent, TransportErrorKind::Connect, Applied::No);
        lane.render_all();
    }
    assert!(lane.now - lane.start >= Duration::from_secs(600));
    assert!(lane.now - lane.start <= Duration::from_secs(660));
    assert!(lane.out.dead.iter().all(|letter| letter.retryable));
    for letter in &lane.out.dead {
        // Why it was held is what an operator has to see to.
        let Reason { class, detail, .. } = &letter.reason;
        assert_eq!(*class, "expired");
        assert!(detail.contains("retry.max_age") && detail.contains("network: "), "{detail}");
    }
}

#[test]
fn an_uncertain_request_is_resent_no_more_often_than_allowed() {
    let mut lane = Lane::with(|_, sender| sender.ambiguous_max = Some(1));
    lane.enqueue(1, 0);
    for _ in 0..2 {
        let sent = lane.send_later();
        lane.error(sent.id, TransportErrorKind::Timeout, Applied::Maybe);
    }
    assert_eq!(lane.dead(), [0]);
    assert_eq!(lane.out.tally.ambiguous, 2);
}

#[test]
fn a_balancer_without_sticky_sessions_holds_the_exporter_and_settles_nothing() {
    let mut lane = Lane::new();
    lane.enqueue(1, 0);
    let mut held = false;
    for _ in 0..100 {
        // Every server behind it begins at 0.
        let sent = lane.send_later();
        lane.answer(sent.id, Fate::Pending(AckId(0)));
        held = lane.gate.held().is_some();
        if held {
            break;
        }
        lane.enqueue(1, 0);
        lane.render_all();
    }
    assert!(held);
    assert_eq!(lane.gate.health(lane.now), Health::ConfigFailed);
    assert_eq!(lane.delivered(), 0);
    assert!(lane.out.tally.ack_resets >= 8);
    let problem = lane.out.problem.expect("an operator wants to know why");
    assert!(problem.contains("sticky sessions"), "{problem}");
}

#[test]
fn a_lane_that_finds_no_slot_is_woken_when_there_is_one() {
    let mut lane = Lane::with(|gate, _| gate.concurrency = 1);
    let settings = SenderSettings { lane: 5, ..settings() };
    let other = Sender::new(settings, Arc::clone(&lane.gate), Arc::clone(&lane.allowance));
    lane.enqueue(1, 0);
    let sent = lane.send();
    assert!(!other.is_hungry(lane.now));
    lane.answer(sent.id, Fate::Delivered);
    assert_eq!(lane.out.wake & 1 << 5, 1 << 5);
    assert!(other.is_hungry(lane.now));
}

#[test]
fn a_lane_that_is_dropped_gives_its_slots_and_memory_back() {
    let mut lane = Lane::new();
    lane.enqueue(100, 0);
    lane.enqueue(100, 0);
    lane.send();
    assert_eq!(lane.gate.in_flight(), 1);
    let Lane { sender, gate, allowance, .. } = lane;
    drop(sender);
    assert_eq!((gate.in_flight(), allowance.used()), (0, 0));
}
