//! A schedule: everything that a seed decides before the clock starts.

use std::collections::BTreeMap;

use shrike::deliver::{Encoding, Order};

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const S: u64 = 1000 * MS;

/// What is wrong with the destination for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Every request fails this way.
    Down(How),
    /// 429 to everything, perhaps with a `Retry-After` in seconds.
    Throttle(Option<u64>),
    /// So many percent of requests fail this way.
    Flaky(u8, How),
    /// So many percent of events are to be sent again.
    Partial(u8),
    /// The place of one route is set up wrongly, away, or asks for less.
    Route(u32),
    /// One endpoint cannot be reached.
    Endpoint(usize),
    /// Answers to polls are lost.
    PollsLost,
    /// Answers take this much longer.
    Slow(u64),
}

/// How a request fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Unavailable,
    /// 500.
    Broken,
    Refused,
    ResetBefore,
    ResetAfter,
    TurnedAway,
    Hang,
    Auth,
    Certificate,
    Gibberish,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Phase {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) fault: Fault,
}

/// What is wrong with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Poison {
    /// Its item is refused.
    Rejected,
    /// Its whole request is refused.
    Malformed,
    /// The destination falls over for this long.
    Crashing(u64),
    /// Its request breaks, for some hours after the destination has healed, and no other does.
    Breaking(How),
    /// Too large however it is rendered.
    Huge,
}

#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) seed: u64,
    pub(crate) events: u32,
    pub(crate) lanes: u8,
    pub(crate) concurrency: u32,
    pub(crate) endpoints: usize,
    pub(crate) routes: u32,
    /// For each route, the first one that leads to the same place.
    pub(crate) places: Vec<u32>,
    /// How many requests a minute a place takes, and at once.
    pub(crate) place_rate: Option<(u64, u64)>,
    pub(crate) order: Order,
    pub(crate) encoding: Encoding,
    pub(crate) acks: bool,
    pub(crate) has_probe: bool,
    pub(crate) idempotent: bool,
    pub(crate) retries_max: u32,
    pub(crate) breaker_failures: u32,
    pub(crate) per_second: Option<u32>,
    pub(crate) adaptive: bool,
    pub(crate) batch_events: u32,
    pub(crate) batch_bytes: u32,
    pub(crate) budget: u64,
    pub(crate) document_bytes: u64,
    pub(crate) body_bytes_max: usize,
    pub(crate) latency: u64,
    pub(crate) ack_delay: u64,
    pub(crate) arrival_gap: u64,
    pub(crate) linger: u64,
    /// Bytes of a stripe, which no record crosses.
    pub(crate) stripe: u64,
    /// How far the exporter may lag, in bytes, before it gives up.
    pub(crate) lag_bytes_max: u64,
    pub(crate) checkpoint_every: u64,
    pub(crate) phases: Vec<Phase>,
    pub(crate) restarts: Vec<u64>,
    pub(crate) crashes: Vec<(u64, Crash)>,
    /// When retention gives up what lags, and when letters are sent again.
    pub(crate) give_ups: Vec<u64>,
    pub(crate) replays: Vec<u64>,
    pub(crate) poison: BTreeMap<u32, Poison>,
    pub(crate) healed: u64,
}

/// How a process ends that was not asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    /// The machine goes on: what was written is there.
    Process,
    /// What was not synced may be gone.
    Power,
}

const CRASHES: [Crash; 2] = [Crash::Process, Crash::Power];

impl Script {
    pub(crate) fn new(seed: u64) -> Self {
        let rng = &mut fastrand::Rng::with_seed(seed);
        let strict = rng.u8(..6) == 0;
        let acks = !strict && rng.u8(..3) == 0;
        let events = rng.u32(20..160);
        let routes = if rng.u8(..4) == 0 { rng.u32(2..4) } else { 1 };
        let endpoints = if rng.u8(..3) == 0 { rng.usize(2..4) } else { 1 };
        let mut script = Self {
            seed,
            events,
            lanes: if strict { 1 } else { rng.u8(1..5) },
            concurrency: if strict { 1 } else { rng.u32(1..7) },
            endpoints,
            routes,
            places: (0..routes).collect(),
            place_rate: None,
            order: if strict { Order::Strict } else { Order::Any },
            encoding: match rng.u8(..20) {
                0 => Encoding::Gzip,
                1 => Encoding::Zstd,
                _ => Encoding::Identity,
            },
            acks,
            has_probe: rng.bool(),
            idempotent: rng.bool(),
            retries_max: rng.u32(0..5),
            breaker_failures: if rng.u8(..6) == 0 { 0 } else { rng.u32(1..7) },
            per_second: (rng.u8(..4) == 0).then(|| rng.u32(5..200)),
            adaptive: rng.bool(),
            batch_events: rng.u32(1..24),
            batch_bytes: rng.u32(300..20_000),
            budget: if rng.u8(..4) == 0 { 128 << 10 } else { 1 << 20 },
            document_bytes: 60,
            body_bytes_max: 4_000,
            latency: rng.u64(MS..80 * MS),
            ack_delay: rng.u64(10 * MS..5 * S),
            arrival_gap: rng.u64(1..40 * MS),
            linger: [0, 5 * MS, 50 * MS][rng.usize(..3)],
            stripe: [64, 128, 512, 2048][rng.usize(..4)],
            lag_bytes_max: rng.u64(40..2_500),
            checkpoint_every: [rng.u64(50 * MS..400 * MS), rng.u64(100 * MS..10 * S)]
                [rng.usize(..2)],
            phases: Vec::new(),
            restarts: Vec::new(),
            crashes: Vec::new(),
            give_ups: Vec::new(),
            replays: Vec::new(),
            poison: BTreeMap::new(),
            healed: 0,
        };
        if rng.u8(..10) == 0 {
            (script.document_bytes, script.body_bytes_max) = (2_500, 12_000);
        }
        script.batch_bytes = script.batch_bytes.max(3 * script.document_bytes as u32);
        script.trouble(rng);
        if routes > 1 && !strict {
            // Drawn apart, so that schedules without routes stay what they were.
            script.place(&mut fastrand::Rng::with_seed(seed ^ 0x91ACE));
        }
        script
    }

    /// What is peculiar to routes that lead elsewhere.
    fn place(&mut self, rng: &mut fastrand::Rng) {
        // No vendor whose routes have addresses of their own has several of each.
        self.endpoints = 1;
        if self.routes > 2 && rng.bool() {
            self.places[2] = rng.u32(..2);
        }
        if !self.acks && rng.u8(..3) == 0 {
            (self.order, self.lanes, self.concurrency) = (Order::Loose, 1, 1);
            self.place_rate = rng.bool().then(|| (rng.u64(120..600), rng.u64(1..6)));
            // As messages in a channel.
            self.batch_events = if rng.bool() { 1 } else { self.batch_events };
        }
        if rng.u8(..3) == 0 {
            // Nothing else is wrong.
            let (from, lasts) = (rng.u64(..S), rng.u64(60 * S..1200 * S));
            let fault = Fault::Route(rng.u32(..self.routes));
            self.phases = vec![Phase { from, to: from + lasts, fault }];
            self.healed = from + lasts;
            self.poison.clear();
            self.crashes.clear();
        }
    }

    /// The place of an event.
    pub(crate) fn place_of(&self, event: u32) -> u32 {
        self.places[(event % self.routes) as usize]
    }

    /// Until when something other than the places of other events may have kept this one waiting.
    pub(crate) fn hindered_until(&self, event: u32, now: u64) -> u64 {
        let own = self.place_of(event);
        let hinders = |phase: &&Phase| match phase.fault {
            _ if phase.from > now => false,
            Fault::Route(route) => self.places[route as usize] == own,
            _ => true,
        };
        let phases = self.phases.iter().filter(hinders).map(|phase| phase.to);
        // What a restart forgot is waited for, for as long as a confirmation may take.
        let restarts = self.restarts.iter().copied().filter(|&at| at <= now);
        phases.chain(restarts).map(|end| (end + RECOVERS_IN).min(now)).max().unwrap_or(0)
    }

    /// Whether only places are ever wrong, each by itself, and others may pass them.
    pub(crate) fn lets_others_pass(&self) -> bool {
        self.routes > 1 && self.order != Order::Strict && self.poison.is_empty()
    }

    /// Whether nothing but places is ever wrong.
    pub(crate) fn is_calm(&self) -> bool {
        let is_of_place = |phase: &Phase| matches!(phase.fault, Fault::Route(_));
        let is_calm = self.crashes.is_empty() && self.restarts.is_empty();
        is_calm && self.lets_others_pass() && self.phases.iter().all(is_of_place)
    }

    /// Whether something is ever wrong with a place alone. What a destination refuses for how it is
    /// set up it refuses to each route by itself, where they have addresses of their own.
    pub(crate) fn holds_places(&self) -> bool {
        let is_setup = |how| matches!(how, How::Auth | How::Certificate);
        let is_of_place = |phase: &Phase| match phase.fault {
            Fault::Route(_) => true,
            Fault::Down(how) | Fault::Flaky(_, how) => self.routes > 1 && is_setup(how),
            _ => false,
        };
        self.phases.iter().any(is_of_place)
    }

    /// Whether order is lost by right: the destination takes some events of a request, or what was
    /// given up is there again after a crash.
    pub(crate) fn may_mix(&self) -> bool {
        let is_partial = |phase: &Phase| matches!(phase.fault, Fault::Partial(_));
        !self.give_ups.is_empty() || self.phases.iter().any(is_partial)
    }

    /// Bytes of a document that nobody takes, however it is rendered.
    pub(crate) fn huge_bytes(&self) -> u64 {
        self.body_bytes_max as u64 * 5
    }

    /// Whether an innocent event may look guilty: beside one that breaks the destination, or where
    /// requests fail at random.
    pub(crate) fn may_confuse(&self) -> bool {
        let is_flaky =
            |phase: &Phase| matches!(phase.fault, Fault::Flaky(_, how) if how != How::TurnedAway);
        // Who shared a batch with one of these has failed with it, while others were accepted.
        let breaks = |poison: &Poison| matches!(poison, Poison::Crashing(_) | Poison::Breaking(_));
        // A batch may be on its way at each restart, and look as if it were the cause.
        let restarts = !self.restarts.is_empty();
        // The same at the beginning of an outage.
        let is_outage = |phase: &&Phase| {
            matches!(phase.fault, Fault::Down(_) | Fault::Endpoint(_) | Fault::Route(_))
        };
        let outages = self.phases.iter().filter(is_outage).count();
        restarts
            || outages > OUTAGES_MAX.min(self.retries_max.max(1)) as usize
            || self.may_stand_still()
            || self.poison.values().any(breaks)
            || self.phases.iter().any(is_flaky)
    }

    /// Whether, where order matters, requests break for so long that it may be the first event.
    fn may_stand_still(&self) -> bool {
        let breaks = |phase: &&Phase| {
            matches!(phase.fault, Fault::Down(How::ResetBefore | How::ResetAfter | How::Broken))
        };
        let breaking = self.phases.iter().filter(breaks).map(|phase| phase.to - phase.from);
        self.order != Order::Any && breaking.sum::<u64>() >= STANDSTILL_MAX
    }

    /// Whether an event breaks the destination for some hours alone: one that crashes an address of
    /// its own ends as well, since nobody tells it from an address that is away where no other
    /// event goes there.
    pub(crate) fn ends(&self, event: u32) -> bool {
        match self.poison.get(&event) {
            Some(Poison::Breaking(_)) => true,
            Some(Poison::Crashing(_)) => self.routes > 1,
            _ => false,
        }
    }

    /// Until when events that break their requests do so.
    pub(crate) fn breaks_until(&self) -> u64 {
        self.healed + BREAKS_FOR
    }

    /// Whether nothing ever happens that may leave two copies with the destination.
    pub(crate) fn is_unambiguous(&self) -> bool {
        let is_clear = |how| matches!(how, How::Unavailable | How::Refused | How::TurnedAway);
        let is_clear = |phase: &Phase| match phase.fault {
            Fault::Down(how) | Fault::Flaky(_, how) => is_clear(how),
            Fault::Slow(_) | Fault::PollsLost => false,
            _ => true,
        };
        !self.acks && self.crashes.is_empty() && self.phases.iter().all(is_clear)
    }

    fn trouble(&mut self, rng: &mut fastrand::Rng) {
        let mut at = rng.u64(..2 * S);
        let mut outages = 0;
        for _ in 0..rng.u32(0..6) {
            let lasts = match rng.u8(..4) {
                0 => rng.u64(..500 * MS),
                1 | 2 => rng.u64(..30 * S),
                _ => rng.u64(..1200 * S),
            };
            let fault = self.fault(rng);
            // An attempt is spent where the destination accepts otherwise; a batch that meets the
            // beginnings of four outages looks like that, and is given up by right.
            let is_outage = matches!(fault, Fault::Down(_) | Fault::Endpoint(_));
            if is_outage && outages == OUTAGES_MAX.min(self.retries_max.max(1)) {
                continue;
            }
            outages += u32::from(is_outage);
            self.phases.push(Phase { from: at, to: at + lasts, fault });
            at += lasts + rng.u64(..3 * S);
        }
        self.healed = at;
        if self.acks {
            self.restarts = (0..rng.u32(0..3)).map(|_| rng.u64(..at + 2 * S)).collect();
        }
        if rng.u8(..3) == 0 {
            let first = rng.usize(..2);
            // Half of them while events still come.
            let crash = |rng: &mut fastrand::Rng| match rng.bool() {
                true => rng.u64(..at + 3 * S),
                false => rng.u64(..4 * S),
            };
            let crashes = (0..rng.u32(1..4)).map(|_| crash(rng));
            let crashes = crashes.zip(CRASHES.into_iter().cycle().skip(first));
            self.crashes = crashes.collect();
            // The power goes while a new process has only begun.
            let (at, crash) = self.crashes[0];
            if crash == Crash::Process && rng.bool() {
                let within = [500 * MS, 5 * S][rng.usize(..2)];
                self.crashes.push((at + rng.u64(..within), Crash::Power));
            }
        }
        if rng.u8(..5) == 0 {
            self.give_ups = (0..rng.u32(1..4)).map(|_| rng.u64(..at + S)).collect();
        }
        if rng.u8(..3) == 0 {
            self.replays = (0..rng.u32(1..6)).map(|_| rng.u64(..at + 20 * S)).collect();
        }
        if rng.u8(..3) == 0 {
            for _ in 0..rng.u32(1..4) {
                let poison = match rng.u8(..4) {
                    0 => Poison::Rejected,
                    1 => Poison::Malformed,
                    2 if self.breaker_failures > 0 => {
                        self.has_probe = true;
                        Poison::Crashing(rng.u64(..10 * S))
                    }
                    _ => Poison::Huge,
                };
                self.poison.insert(rng.u32(..self.events), poison);
            }
        }
        if rng.u8(..6) == 0 {
            for _ in 0..rng.u32(1..4) {
                let how = [How::Broken, How::ResetBefore][rng.usize(..2)];
                self.poison.insert(rng.u32(..self.events), Poison::Breaking(how));
            }
        }
    }

    fn fault(&self, rng: &mut fastrand::Rng) -> Fault {
        match rng.u8(..12) {
            0..=3 => Fault::Down(how(rng)),
            4 => Fault::Throttle((rng.bool()).then(|| rng.u64(..400))),
            5 => Fault::Flaky(rng.u8(5..60), [How::Unavailable, How::ResetAfter][rng.usize(..2)]),
            6 => Fault::Flaky(rng.u8(5..60), How::TurnedAway),
            7 => Fault::Partial(rng.u8(5..70)),
            8 => Fault::Route(rng.u32(..self.routes)),
            9 if self.endpoints > 1 => Fault::Endpoint(rng.usize(..self.endpoints)),
            10 if self.acks => Fault::PollsLost,
            _ => Fault::Slow(rng.u64(..20 * S)),
        }
    }
}

fn how(rng: &mut fastrand::Rng) -> How {
    [
        How::Unavailable,
        How::Refused,
        How::ResetBefore,
        How::ResetAfter,
        How::TurnedAway,
        How::Hang,
        How::Auth,
        How::Certificate,
        How::Gibberish,
    ][rng.usize(..9)]
}

/// How long events break their requests: within less, all others are through.
const BREAKS_FOR: u64 = 3 * 3600 * S;
/// How long one event may stop all behind it.
pub(crate) const STANDSTILL_MAX: u64 = 600 * S;
/// How long after trouble has ended its traces may last: the longest time that it asks for, and
/// what follows from that.
const RECOVERS_IN: u64 = 600 * S;
/// Outages in one schedule: no batch can meet the beginning of more.
const OUTAGES_MAX: u32 = 3;
