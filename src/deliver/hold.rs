//! Whether an exporter waits, why, and who may probe: one word, changed by compare-and-swap.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Cause;

/// The held state of an exporter.
///
/// Bits 0 and 1 hold the cause (0 is not held), bit 2 says that a probe is under way, the rest is
/// the time in microseconds at which the next probe may start or this one counts as lost.
#[derive(Debug, Default)]
pub(super) struct Hold(AtomicU64);

/// A reading of [`Hold`]; times in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    No,
    /// Until the next probe at this time.
    Until(Cause, u64),
    /// A probe is under way, lost if it has not ended by this time.
    Probing(Cause, u64),
}

impl Hold {
    pub(super) fn load(&self) -> Held {
        read(self.0.load(Ordering::Acquire))
    }

    /// Holds until a probe at `probe_ns`, whatever was before; says whether it was not held.
    pub(super) fn set(&self, cause: Cause, probe_ns: u64) -> bool {
        let before = self.0.swap(word(cause, false, probe_ns), Ordering::AcqRel);
        read(before) == Held::No
    }

    /// Ends the hold where `ends` says so of its cause; says whether there was one that it ended.
    ///
    /// A hold for another cause that begins meanwhile stays.
    pub(super) fn clear(&self, ends: impl Fn(Cause) -> bool) -> bool {
        let clear = |word| match read(word) {
            Held::Until(cause, _) | Held::Probing(cause, _) if ends(cause) => Some(0),
            _ => None,
        };
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, clear).is_ok()
    }

    /// Takes the right to probe, once per probe time; it is lost again at `lost_ns`.
    pub(super) fn claim(&self, now_ns: u64, lost_ns: u64) -> bool {
        let seen = self.0.load(Ordering::Acquire);
        let cause = match read(seen) {
            Held::Until(cause, at) | Held::Probing(cause, at) if at <= now_ns => cause,
            _ => return false,
        };
        let claimed = word(cause, true, lost_ns);
        self.0.compare_exchange(seen, claimed, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

fn word(cause: Cause, is_probing: bool, at_ns: u64) -> u64 {
    let cause = match cause {
        Cause::Auth => 1,
        Cause::Config => 2,
        Cause::Outage => 3,
    };
    // Rounded up, so that a lane which waits for the time finds that it has come.
    at_ns.div_ceil(1000) << 3 | u64::from(is_probing) << 2 | cause
}

fn read(word: u64) -> Held {
    let cause = match word & 3 {
        0 => return Held::No,
        1 => Cause::Auth,
        2 => Cause::Config,
        _ => Cause::Outage,
    };
    let at_ns = (word >> 3) * 1000;
    match word & 4 {
        0 => Held::Until(cause, at_ns),
        _ => Held::Probing(cause, at_ns),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_probe_at_a_time_is_granted() {
        let hold = Hold::default();
        assert!(!hold.claim(0, 10_000), "nothing to probe for");
        assert!(hold.set(Cause::Auth, 5_000));
        assert!(!hold.set(Cause::Outage, 5_000), "it was held already");
        assert!(!hold.claim(4_000, 10_000), "too early");
        assert!(hold.claim(5_000, 10_000));
        assert!(!hold.claim(6_000, 10_000), "one is under way");
        assert_eq!(hold.load(), Held::Probing(Cause::Outage, 10_000));
        assert!(hold.claim(10_000, 20_000), "the first one is lost");
        assert!(!hold.clear(|cause| cause == Cause::Auth), "it is held for another cause");
        assert!(hold.clear(|cause| cause == Cause::Outage));
        assert!(!hold.clear(|_| true));
        assert_eq!(hold.load(), Held::No);
    }
}
