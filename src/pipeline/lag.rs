//! How far an exporter may lag behind the log's head, and what happens beyond.

use crate::deliver::OnLag;
use crate::event::Offset;

/// Where an exporter is, and how far behind it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// Where the written part of the log ends.
    pub head: Offset,
    /// Everything below is settled.
    pub base: Offset,
    /// Bytes between the two at most.
    pub bytes_max: u64,
    /// Everything below has to go, however little that is: the disk is full, or the log has reached
    /// its bound. Zero where neither is so.
    pub full_until: Offset,
}

/// What follows from a lag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lagging {
    /// Nothing: it is within its bound.
    Within,
    /// What comes in is held up until the exporter has caught up.
    HoldsUp,
    /// Everything below is given up, and counted as skipped.
    GivesUp(Offset),
}

impl Lag {
    /// Decides; no more is given up than the bounds ask for.
    #[must_use]
    pub fn judge(&self, on_lag: OnLag) -> Lagging {
        let bytes = self.head.bytes().saturating_sub(self.base.bytes());
        let is_over = bytes > self.bytes_max || self.base < self.full_until;
        match (is_over, on_lag) {
            (false, _) => Lagging::Within,
            (true, OnLag::Block) => Lagging::HoldsUp,
            (true, OnLag::Skip) => {
                let oldest = Offset::new(self.head.bytes().saturating_sub(self.bytes_max));
                Lagging::GivesUp(oldest.max(self.full_until))
            }
        }
    }
}
