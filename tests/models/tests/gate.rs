//! What the lanes of an exporter share, in every order of two lanes' steps.

use std::sync::Arc;
use std::time::{Duration, Instant};

use loom::thread;
use models::deliver::budget::{Allowance, Budget};
use models::deliver::gate::{Gate, GateSettings, Pass, Refused, Success};
use models::deliver::nodes::Nodes;
use models::deliver::places::RoutePlaces;
use models::deliver::{BreakerSettings, Cause, Choice, RateSettings};

fn gate(epoch: Instant) -> Arc<Gate> {
    let settings = GateSettings {
        concurrency: 1,
        endpoints: 1,
        choice: Choice::Around,
        breaker: BreakerSettings { failures: 5, open: Duration::from_secs(30) },
        rate: RateSettings { per_second: None, burst: 1, adaptive: false, per_second_min: 1 },
        retry_percent: 20,
        retry_after_max: Duration::from_secs(300),
        hold_interval: Duration::from_secs(60),
        probe_timeout: Duration::from_secs(60),
        places: RoutePlaces::default(),
    };
    Arc::new(Gate::new(settings, epoch))
}

/// Runs two things at once on what they share; gives what they say.
fn both<T, A, B>(shared: &Arc<T>, one: fn(&T) -> A, two: fn(&T) -> B) -> (A, B)
where
    T: Send + Sync + 'static,
    A: 'static,
    B: 'static,
{
    let other = Arc::clone(shared);
    let thread = thread::spawn(move || two(&other));
    let one = one(shared);
    (one, thread.join().expect("no lane fails"))
}

#[test]
fn a_lane_without_a_slot_is_woken_by_the_one_that_gives_it_back() {
    loom::model(|| {
        let now = Instant::now();
        let gate = gate(now);
        gate.admit(0, now).expect("there is a slot");
        let (woken, refused) =
            both(&gate, Gate::release, |gate| gate.admit(1, Instant::now()).err());
        assert!(refused.is_none() || woken == 1 << 1, "{refused:?}, woken: {woken:b}");
        assert!(refused.is_none() || refused == Some(Refused::Slots));
    });
}

#[test]
fn a_lane_that_asks_for_a_slot_is_woken_by_the_one_that_gives_it_back() {
    loom::model(|| {
        let now = Instant::now();
        let gate = gate(now);
        gate.admit(0, now).expect("there is a slot");
        let (woken, is_open) = both(&gate, Gate::release, |gate| gate.is_open(1, Instant::now()));
        assert!(is_open || woken == 1 << 1, "woken: {woken:b}");
    });
}

#[test]
fn a_held_lane_is_woken_when_the_hold_ends() {
    loom::model(|| {
        let now = Instant::now();
        let gate = gate(now);
        gate.hold(Cause::Outage, now);
        let (woken, pass) = both(
            &gate,
            |gate| gate.answered(0, Success::Yes, true, Instant::now()),
            |gate| gate.pass(1, None, Instant::now()),
        );
        assert!(pass == Pass::Free || woken == 1 << 1, "{pass:?}, woken: {woken:b}");
    });
}

#[test]
fn one_of_two_lanes_probes() {
    loom::model(|| {
        let now = Instant::now();
        let gate = gate(now);
        gate.hold(Cause::Outage, now);
        let probes = |gate: &Gate| {
            let later = Instant::now() + Duration::from_secs(31);
            gate.pass(0, Some(Duration::ZERO), later) == Pass::Probe
        };
        let (one, two) = both(&gate, probes, probes);
        assert!(one != two, "{one} {two}");
    });
}

#[test]
fn the_answer_that_ends_an_outage_leaves_a_hold_that_begins_beside_it() {
    loom::model(|| {
        let now = Instant::now();
        let gate = gate(now);
        gate.hold(Cause::Outage, now);
        both(
            &gate,
            |gate| gate.answered(0, Success::Yes, false, Instant::now()),
            |gate| gate.hold(Cause::Auth, Instant::now()),
        );
        assert!(gate.has_bad_credentials());
    });
}

#[test]
fn a_failure_beside_an_answer_leaves_no_node_dead_for_good() {
    loom::model(|| {
        let nodes = Arc::new(Nodes::new(2, Choice::Around, 5));
        both(&nodes, |nodes| nodes.bury(0, 1_000_000_000), |nodes| nodes.revive(0));
        nodes.revive(0);
        assert_eq!(nodes.alive(), 2);
    });
}

#[test]
fn what_two_lanes_hold_is_given_back_exactly() {
    const SHARE: u64 = 64 << 10;
    loom::model(|| {
        // Two exporters where one was expected: nothing is left in common.
        let budget = Budget::new(2 * SHARE, 1);
        let (allowance, _other) = (budget.allowance(), budget.allowance());
        let work = |allowance: &Arc<Allowance>| {
            let mut charge = allowance.charge();
            charge.set(3 * SHARE / 4);
        };
        let allowance = Arc::new(allowance);
        both(&allowance, work, work);
        assert_eq!(allowance.used(), 0);
        let mut all = allowance.charge();
        assert!(all.cover(SHARE), "the share is free again");
    });
}
