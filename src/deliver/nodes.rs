//! Which endpoint takes the next request: in turn over those that are alive, or the first of them.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::Choice;
use super::limiter::ns;

/// The endpoints of an exporter, as far as their life is known.
#[derive(Debug)]
pub(super) struct Nodes {
    nodes: Box<[Node]>,
    choice: Choice,
    /// Failures in a row after which an endpoint is dead.
    patience: u32,
    turn: AtomicUsize,
}

#[derive(Debug, Default)]
struct Node {
    /// 0 is alive; else the time from which it is tried again.
    dead_until_ns: AtomicU64,
    failures: AtomicU32,
    /// Failures in a row of one that is alive.
    row: AtomicU32,
}

impl Nodes {
    /// Endpoints that are all alive; `patience` counts only where the first is preferred.
    pub(super) fn new(count: usize, choice: Choice, patience: u32) -> Self {
        let nodes = (0..count.max(1)).map(|_| Node::default()).collect();
        let patience = match choice {
            Choice::Around => 1,
            Choice::First => patience.max(1),
        };
        Self { nodes, choice, patience, turn: AtomicUsize::new(0) }
    }

    /// The endpoint for the next request.
    ///
    /// A dead one whose time has come is given to one caller, who finds out for all. When all are
    /// dead they go round: what struck them together has most likely ended for all.
    pub(super) fn choose(&self, now_ns: u64) -> usize {
        let count = self.nodes.len();
        if count == 1 {
            return 0;
        }
        let turn = match self.choice {
            Choice::Around => self.turn.fetch_add(1, Ordering::Relaxed),
            Choice::First => 0,
        };
        for step in 0..count {
            let at = (turn + step) % count;
            let node = &self.nodes[at];
            let until = node.dead_until_ns.load(Ordering::Acquire);
            let is_alive = until == 0;
            if is_alive || (until <= now_ns && node.claim(until, now_ns)) {
                return at;
            }
        }
        match self.choice {
            Choice::Around => turn % count,
            Choice::First => self.turn.fetch_add(1, Ordering::Relaxed) % count,
        }
    }

    /// Notes an answer that says the node is well.
    pub(super) fn revive(&self, at: usize) {
        let node = &self.nodes[at];
        node.row.store(0, Ordering::Release);
        // A failure that is noted at the same time may leave its time behind without its count.
        let has_failed = node.failures.swap(0, Ordering::AcqRel) != 0;
        if has_failed || node.dead_until_ns.load(Ordering::Acquire) != 0 {
            node.dead_until_ns.store(0, Ordering::Release);
        }
    }

    /// Leaves out a node that is busy until this time: the others are as near.
    pub(super) fn spare(&self, at: usize, until_ns: u64) {
        if self.nodes.len() > 1 && self.choice == Choice::Around {
            self.nodes[at].dead_until_ns.fetch_max(until_ns, Ordering::AcqRel);
        }
    }

    /// Notes a failure of the node; says whether another one is alive.
    pub(super) fn bury(&self, at: usize, now_ns: u64) -> bool {
        if self.nodes.len() == 1 {
            return false;
        }
        let node = &self.nodes[at];
        let row = node.row.fetch_add(1, Ordering::AcqRel).saturating_add(1);
        if row < self.patience && node.failures.load(Ordering::Acquire) == 0 {
            return false;
        }
        // Requests that were under way together fail together; they count as one failure.
        let is_dead_already = node.dead_until_ns.load(Ordering::Acquire) > now_ns
            && node.failures.load(Ordering::Acquire) > 0
            && !node.is_on_trial(now_ns);
        if !is_dead_already {
            let failures = node.failures.fetch_add(1, Ordering::AcqRel).min(DOUBLINGS_MAX);
            let wait = ns(RESURRECT_MIN).saturating_mul(1 << failures).min(ns(RESURRECT_MAX));
            node.dead_until_ns.store(now_ns.saturating_add(wait), Ordering::Release);
        }
        self.alive() > 0
    }

    /// How many endpoints are alive.
    pub(super) fn alive(&self) -> usize {
        let is_alive = |node: &&Node| node.dead_until_ns.load(Ordering::Acquire) == 0;
        self.nodes.iter().filter(is_alive).count()
    }

    /// How many endpoints there are.
    pub(super) fn count(&self) -> usize {
        self.nodes.len()
    }
}

impl Node {
    /// Takes the right to try a dead node; nobody else tries it for the shortest dead time.
    fn claim(&self, until_ns: u64, now_ns: u64) -> bool {
        let trial = now_ns.saturating_add(ns(TRIAL));
        self.dead_until_ns
            .compare_exchange(until_ns, trial, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Whether its death may be the end of a trial: no longer away than a trial lasts.
    fn is_on_trial(&self, now_ns: u64) -> bool {
        self.dead_until_ns.load(Ordering::Acquire) <= now_ns.saturating_add(ns(TRIAL))
    }
}

/// How long a node stays dead after its first failure (`elastic.md`).
const RESURRECT_MIN: Duration = Duration::from_secs(60);

/// And after many.
const RESURRECT_MAX: Duration = Duration::from_secs(30 * 60);

/// How long one caller may try a dead node before another may.
const TRIAL: Duration = Duration::from_secs(30);

/// 60 s doubled five times is above 30 minutes.
const DOUBLINGS_MAX: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn requests_go_round() {
        let nodes = Nodes::new(3, Choice::Around, 5);
        let chosen: Vec<usize> = (0..6).map(|_| nodes.choose(1)).collect();
        assert_eq!(chosen, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn a_dead_node_is_left_out_and_tried_by_one_caller_after_a_minute() {
        let nodes = Nodes::new(2, Choice::Around, 5);
        assert!(nodes.bury(0, S));
        assert!(nodes.bury(0, S + 1), "a second failure of the same flight changes nothing");
        assert!((0..10).all(|_| nodes.choose(2 * S) == 1));
        let tried = (0..10).filter(|_| nodes.choose(61 * S) == 0).count();
        assert_eq!(tried, 1);
        nodes.bury(0, 62 * S);
        assert!((0..10).all(|_| nodes.choose(181 * S) == 1), "dead for two minutes now");
        assert_eq!((0..10).filter(|_| nodes.choose(182 * S) == 0).count(), 1);
        nodes.revive(0);
        assert_eq!(nodes.alive(), 2);
    }

    #[test]
    fn when_all_are_dead_they_go_round() {
        let nodes = Nodes::new(2, Choice::Around, 5);
        assert!(nodes.bury(1, S));
        assert!(!nodes.bury(0, 2 * S));
        assert_eq!(nodes.alive(), 0);
        let chosen: Vec<usize> = (0..4).map(|_| nodes.choose(3 * S)).collect();
        assert_eq!(chosen, [0, 1, 0, 1]);
    }

    #[test]
    fn the_first_is_preferred_until_it_failed_several_times_in_a_row() {
        let nodes = Nodes::new(2, Choice::First, 3);
        assert!((0..4).all(|_| nodes.choose(1) == 0));
        assert!(!nodes.bury(0, S) && !nodes.bury(0, S));
        nodes.revive(0);
        assert!(!nodes.bury(0, S) && !nodes.bury(0, S), "a success began the row anew");
        assert_eq!(nodes.choose(S), 0);
        assert!(nodes.bury(0, S), "the other one takes over");
        assert!((0..4).all(|_| nodes.choose(2 * S) == 1));
        assert_eq!(nodes.choose(61 * S), 0, "it is tried again");
        nodes.revive(0);
        assert!((0..4).all(|_| nodes.choose(62 * S) == 0));
    }

    /// Both sites are down for hours, and the second comes back first.
    #[test]
    fn when_all_are_dead_the_first_is_not_the_only_one_that_is_asked() {
        let nodes = Nodes::new(2, Choice::First, 1);
        let mut now = S;
        for _ in 0..240 {
            nodes.bury(nodes.choose(now), now);
            now += 30 * S;
        }
        assert_eq!(nodes.alive(), 0);
        let mut chosen: Vec<usize> = (0..4).map(|_| nodes.choose(now)).collect();
        chosen.sort_unstable();
        assert_eq!(chosen, [0, 0, 1, 1]);
        nodes.revive(1);
        assert!((0..4).all(|_| nodes.choose(now) == 1));
    }

    #[test]
    fn a_failure_beside_an_answer_leaves_no_node_dead_for_good() {
        let rounds: Vec<Nodes> = (0..5_000).map(|_| Nodes::new(2, Choice::Around, 5)).collect();
        let ready = [AtomicUsize::new(0), AtomicUsize::new(0)];
        let meet = |own: usize, round: usize| {
            ready[own].store(round + 1, Ordering::SeqCst);
            while ready[1 - own].load(Ordering::SeqCst) <= round {
                std::hint::spin_loop();
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                rounds.iter().enumerate().for_each(|(round, nodes)| {
                    meet(0, round);
                    nodes.bury(0, S);
                });
            });
            scope.spawn(|| {
                rounds.iter().enumerate().for_each(|(round, nodes)| {
                    meet(1, round);
                    nodes.revive(0);
                });
            });
        });
        rounds.iter().for_each(|nodes| nodes.revive(0));
        let dead = rounds.iter().filter(|nodes| nodes.alive() < 2).count();
        assert_eq!(dead, 0, "nodes that answer and count as dead");
    }

    #[test]
    fn death_never_lasts_longer_than_half_an_hour() {
        let nodes = Nodes::new(2, Choice::Around, 5);
        let mut now = S;
        for _ in 0..20 {
            nodes.bury(0, now);
            now += ns(RESURRECT_MAX);
            assert!((0..2).any(|_| nodes.choose(now) == 0));
        }
    }

    #[test]
    fn a_lone_endpoint_is_never_dead() {
        let nodes = Nodes::new(1, Choice::Around, 5);
        assert!(!nodes.bury(0, S));
        assert_eq!((nodes.choose(S), nodes.alive()), (0, 1));
    }
}
