//! One bound for the bytes of all unsettled batches, divided by need.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::metrics::Counter;

/// The process-wide bound on bytes held by unsettled batches (`memory.in_flight_bytes`).
///
/// Half of it is set aside in equal shares, so that no exporter can starve another; the other half
/// goes to whoever needs it.
#[derive(Debug)]
pub struct Budget {
    bytes: u64,
    reserve: u64,
    /// Exporters that it was made for.
    parts_min: u64,
    /// Exporters that have a share.
    parts: AtomicU64,
    common: AtomicU64,
    refused: Counter,
}

/// One exporter's part of the [`Budget`], shared by its lanes.
#[derive(Debug)]
pub struct Allowance {
    budget: Arc<Budget>,
    used: AtomicU64,
}

/// Bytes taken from an [`Allowance`], given back when dropped.
#[derive(Debug)]
pub struct Charge {
    allowance: Arc<Allowance>,
    bytes: u64,
}

impl Budget {
    /// A budget of `bytes` among this many exporters.
    #[must_use]
    pub fn new(bytes: u64, exporters: usize) -> Arc<Self> {
        let exporters = u64::try_from(exporters.max(1)).unwrap_or(u64::MAX);
        Arc::new(Self {
            bytes,
            reserve: bytes / 2 / exporters,
            parts_min: exporters,
            parts: AtomicU64::new(0),
            common: AtomicU64::new(0),
            refused: Counter::default(),
        })
    }

    /// The bytes that it divides.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the shares of so many exporters are no more than what there is.
    #[must_use]
    pub fn is_enough_for(&self, exporters: usize) -> bool {
        let exporters = u64::try_from(exporters).unwrap_or(u64::MAX);
        self.reserve.saturating_mul(exporters) <= self.bytes
    }

    /// An exporter's part. The shares of more exporters than it was made for come from what all
    /// have in common.
    #[must_use]
    pub fn allowance(self: &Arc<Self>) -> Arc<Allowance> {
        self.parts.fetch_add(1, Ordering::Relaxed);
        Arc::new(Allowance { budget: Arc::clone(self), used: AtomicU64::new(0) })
    }

    /// How often bytes were refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load()
    }

    /// The part of `used` that lies beyond an exporter's own share.
    fn beyond(&self, used: u64) -> u64 {
        used.saturating_sub(self.reserve)
    }

    fn common_max(&self) -> u64 {
        let parts = self.parts.load(Ordering::Relaxed).max(self.parts_min);
        self.bytes.saturating_sub(self.reserve.saturating_mul(parts))
    }

    fn take_common(&self, bytes: u64) -> bool {
        let common_max = self.common_max();
        self.common
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |common| {
                (common + bytes <= common_max).then_some(common + bytes)
            })
            .is_ok()
    }
}

impl Allowance {
    /// Nothing taken yet.
    #[must_use]
    pub fn charge(self: &Arc<Self>) -> Charge {
        Charge { allowance: Arc::clone(self), bytes: 0 }
    }

    /// Bytes taken now.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether it is a part of this budget.
    #[must_use]
    pub fn is_of(&self, budget: &Arc<Budget>) -> bool {
        Arc::ptr_eq(&self.budget, budget)
    }

    /// Whether a step more would be granted now.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let used = self.used();
        let more = self.budget.beyond(used + STEP) - self.budget.beyond(used);
        let common = self.budget.common.load(Ordering::Relaxed);
        used == 0 || more == 0 || common + more <= self.budget.common_max()
    }

    fn take(&self, bytes: u64) -> bool {
        loop {
            let used = self.used.load(Ordering::Relaxed);
            let more = self.budget.beyond(used + bytes) - self.budget.beyond(used);
            // An exporter that holds nothing always gets its first event: else a share smaller
            // than one event would stop it for ever. The bound is then passed by that one event.
            let is_first = used == 0;
            if more > 0 && !self.budget.take_common(more) {
                if !is_first {
                    self.budget.refused.add(1);
                    return false;
                }
                self.budget.common.fetch_add(more, Ordering::Relaxed);
            }
            if self.moved(used, used + bytes) {
                return true;
            }
            self.budget.common.fetch_sub(more, Ordering::Relaxed);
        }
    }

    fn force(&self, bytes: u64) {
        loop {
            let used = self.used.load(Ordering::Relaxed);
            let more = self.budget.beyond(used + bytes) - self.budget.beyond(used);
            // First from what all have in common, as in `take`: whoever gives back what is used
            // gives it back there.
            self.budget.common.fetch_add(more, Ordering::Relaxed);
            if self.moved(used, used + bytes) {
                return;
            }
            self.budget.common.fetch_sub(more, Ordering::Relaxed);
        }
    }

    fn moved(&self, from: u64, to: u64) -> bool {
        self.used.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn give(&self, bytes: u64) {
        let used = self.used.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(used >= bytes, "more given back than was taken: {used} - {bytes}");
        let less = self.budget.beyond(used) - self.budget.beyond(used - bytes);
        let common = self.budget.common.fetch_sub(less, Ordering::Relaxed);
        debug_assert!(common >= less, "given back before it was taken: {common} - {less}");
    }
}

impl Charge {
    /// Makes the charge cover `bytes`, in steps; says whether the budget had room for them.
    pub fn cover(&mut self, bytes: u64) -> bool {
        if bytes <= self.bytes {
            return true;
        }
        let more = (bytes - self.bytes).next_multiple_of(STEP);
        let granted = self.allowance.take(more);
        if granted {
            self.bytes += more;
        }
        granted
    }

    /// Makes the charge exactly `bytes`, whatever the budget says: they are already held.
    pub fn set(&mut self, bytes: u64) {
        let (less, more) = (self.bytes.saturating_sub(bytes), bytes.saturating_sub(self.bytes));
        if less > 0 {
            self.allowance.give(less);
        }
        if more > 0 && !self.allowance.take(more) {
            self.allowance.force(more);
        }
        self.bytes = bytes;
    }

    /// The bytes taken.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where they were taken.
    #[must_use]
    pub fn allowance(&self) -> &Arc<Allowance> {
        &self.allowance
    }
}

impl Drop for Allowance {
    fn drop(&mut self) {
        self.budget.parts.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.allowance.give(self.bytes);
        }
    }
}

/// Bytes are taken in steps of this size: an event seldom touches the shared counters.
const STEP: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_needy_exporter_gets_its_share_and_the_common_half() {
        let budget = Budget::new(1 << 20, 4);
        let (needy, idle) = (budget.allowance(), budget.allowance());
        let mut taken: Vec<Charge> = Vec::new();
        loop {
            let mut charge = needy.charge();
            if !charge.cover(STEP) {
                break;
            }
            taken.push(charge);
        }
        assert_eq!(needy.used(), (1 << 19) + (1 << 17), "its eighth and the common half");
        assert_eq!(budget.refused(), 1);
        assert!(!needy.has_room());
        let mut own = idle.charge();
        assert!(own.cover(STEP) && own.cover(2 * STEP), "a share is kept for the others");
        assert!(!own.cover(3 * STEP));
        taken.clear();
        assert!(own.cover(3 * STEP), "what was given back can be taken");
        drop(own);
        assert_eq!((needy.used(), idle.used()), (0, 0));
        assert_eq!(budget.common.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn an_exporter_that_holds_nothing_gets_its_first_event() {
        let budget = Budget::new(1024, 2);
        let allowance = budget.allowance();
        let mut charge = allowance.charge();
        assert!(charge.cover(500_000));
        let mut second = allowance.charge();
        assert!(!second.cover(1));
        charge.set(100);
        assert_eq!(allowance.used(), 100);
        drop((charge, second));
        assert_eq!(budget.common.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn more_exporters_than_it_was_made_for_take_no_more_in_all() {
        let budget = Budget::new(1 << 20, 1);
        let (first, second) = (budget.allowance(), budget.allowance());
        let mut taken: Vec<Charge> = Vec::new();
        for allowance in [&first, &second] {
            loop {
                let mut charge = allowance.charge();
                if !charge.cover(STEP) {
                    break;
                }
                taken.push(charge);
            }
        }
        assert_eq!((first.used(), second.used()), (1 << 19, 1 << 19), "a share each");
        assert!(budget.is_enough_for(2) && !budget.is_enough_for(3));
        taken.clear();
        drop(second);
        let mut alone = first.charge();
        assert!(alone.cover(1 << 20), "what one leaves is there for the others");
    }

    #[test]
    fn bytes_that_must_be_held_are_never_given_back_before_they_are_taken() {
        // Nothing is left in common, so that whatever lies beyond the share is forced.
        let budget = Budget::new(4 * STEP, 1);
        let (allowance, _other) = (budget.allowance(), budget.allowance());
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..1_000_000 {
                        allowance.charge().set(3 * STEP / 2);
                    }
                });
            }
        });
        assert_eq!(budget.common.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn threads_leave_no_bytes_behind() {
        let budget = Budget::new(1 << 20, 2);
        let allowance = budget.allowance();
        std::thread::scope(|scope| {
            for seed in 0..4 {
                let allowance = &allowance;
                scope.spawn(move || {
                    let mut rng = fastrand::Rng::with_seed(seed);
                    for _ in 0..10_000 {
                        let mut charge = allowance.charge();
                        charge.cover(rng.u64(..300_000));
                        charge.set(rng.u64(..200_000));
                    }
                });
            }
        });
        assert_eq!(allowance.used(), 0);
        assert_eq!(budget.common.load(Ordering::Relaxed), 0);
    }
}
